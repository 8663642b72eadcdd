//! Python packages by name, with any Python that has pip; nothing of the package is ever run.
//!
//! pip says where a wheel is (its index, certificates, proxies and credentials are honoured) without downloading it;
//! the bytes come through [`http`](crate::http()), which resumes. Where that does not work, as with an index that
//! wants a password or a pip too old to report, pip downloads by itself.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::disk::{beside, parent_of};
use crate::error::NO_INDEX;
use crate::{FetchError, Fetched, Observer, Progress, http};

/// Whether what a package requires is wanted, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deps {
    /// Only the packages that are named.
    Leave,
    /// Also everything they require.
    Follow,
}

/// A wheel as pip found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wheel {
    /// The package.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where the file is.
    pub url: String,
    /// Its sha256, when the index publishes it.
    pub sha256: Option<String>,
    /// What the package requires, as its metadata say it.
    pub requires: Vec<String>,
}

/// Every Python that may be meant, best first: `$PYTHON` alone when it is set, else that of the active virtual
/// environment, `python3`, `python`. They exist, but need not have pip.
pub fn candidates() -> Vec<PathBuf> {
    if let Some(python) = set("PYTHON") {
        return which(&python).into_iter().collect();
    }
    let mut found = Vec::new();
    if let Some(venv) = set("VIRTUAL_ENV") {
        found.extend(which(&Path::new(&venv).join("bin/python").into_os_string()));
    }
    for name in ["python3", "python"] {
        found.extend(which(&OsString::from(name)));
    }
    found.dedup();
    found
}

/// The first of the [`candidates`] that has pip.
///
/// # Errors
/// When there is none; the error says what was tried and what to install.
pub fn find() -> Result<PathBuf, FetchError> {
    let mut tried = Vec::new();
    for python in candidates() {
        match run(&python, &["-m", "pip", "--version"]) {
            Ok(output) if output.status.success() => return Ok(python),
            Ok(_) => tried.push(format!("`{}` has no pip", python.display())),
            Err(error) => tried.push(format!("`{}`: {error}", python.display())),
        }
    }
    if tried.is_empty() {
        let named = set("PYTHON").map(|p| p.to_string_lossy().into_owned());
        tried.push(format!("no `{}` on this machine", named.as_deref().unwrap_or("python3")));
    }
    Err(FetchError::NoPython { tried: tried.join(", ") })
}

/// Brings the wheel of `requirement` (`name==version`) into `dir`, resumably, and returns it.
///
/// # Errors
/// See [`wheels`].
pub fn wheel(
    python: &Path,
    requirement: &str,
    dir: &Path,
    observe: Observer<'_>,
) -> Result<Fetched, FetchError> {
    let mut files = wheels(python, &[requirement], Deps::Leave, dir, observe)?;
    files.pop().ok_or_else(|| no_report(requirement, "an empty report"))
}

/// Brings the wheels of `requirements` into `dir`, resumably, and returns them in pip's order.
///
/// # Errors
/// When pip can neither find nor get one of them, or the bytes are not those that the index promises.
pub fn wheels(
    python: &Path,
    requirements: &[&str],
    deps: Deps,
    dir: &Path,
    observe: Observer<'_>,
) -> Result<Vec<Fetched>, FetchError> {
    let found = resolve(python, requirements, deps)
        .and_then(|wheels| wheels.iter().map(|wheel| fetch(wheel, dir, observe)).collect());
    match found {
        Err(error) if !is_final(&error) => pip_download(python, requirements, deps, dir, observe),
        done => done,
    }
}

/// Asks pip where the wheels of `requirements` are; downloads next to nothing.
///
/// # Errors
/// When there is no such package or version for this Python, the index cannot be reached, or this pip cannot report.
pub fn resolve(python: &Path, requirements: &[&str], deps: Deps) -> Result<Vec<Wheel>, FetchError> {
    // `fast-deps` reads metadata out of a remote wheel by range requests; without it pip may fetch the whole wheel.
    match ask(python, requirements, deps, &["--use-feature=fast-deps"]) {
        Err(error) if !is_final(&error) => ask(python, requirements, deps, &[]),
        done => done,
    }
}

/// Brings one wheel into `dir`, resumably.
///
/// # Errors
/// See [`http`](crate::http()).
pub fn fetch(wheel: &Wheel, dir: &Path, observe: Observer<'_>) -> Result<Fetched, FetchError> {
    let path = wheel.url.split(['?', '#']).next().unwrap_or(&wheel.url);
    let name = decode(path.rsplit('/').next().unwrap_or(path));
    // A name from elsewhere must stay a name.
    let name = Path::new(&name).file_name().map_or_else(|| wheel.name.clone().into(), ToOwned::to_owned);
    let dest = dir.join(name);
    match path.strip_prefix("file://") {
        Some(local) => copy(Path::new(&decode(local)), &dest, wheel.sha256.as_deref(), observe),
        None => http(&wheel.url, &dest, wheel.sha256.as_deref(), observe),
    }
}

/// Has pip itself download `requirements` into `dir`: not resumable, but it works wherever pip does.
///
/// # Errors
/// When pip fails.
pub fn pip_download(
    python: &Path,
    requirements: &[&str],
    deps: Deps,
    dir: &Path,
    observe: Observer<'_>,
) -> Result<Vec<Fetched>, FetchError> {
    fs::create_dir_all(dir).map_err(|e| FetchError::io("make", dir, e))?;
    let staging = tempfile::tempdir_in(dir).map_err(|e| FetchError::io("make", dir, e))?;
    let what = requirements.join(" ");
    observe(Progress::Start { what: &what, total: None, at: 0 });
    let staged = staging.path().to_string_lossy();
    let mut args = vec!["-m", "pip", "download", "--quiet", "--only-binary=:all:", "--dest", &staged];
    if deps == Deps::Leave {
        args.push("--no-deps");
    }
    args.extend(requirements);
    let output = run(python, &args).map_err(|e| FetchError::io("run", python, e))?;
    if !output.status.success() {
        return Err(failure(&what, &output));
    }
    let mut files = Vec::new();
    let entries = fs::read_dir(staging.path()).map_err(|e| FetchError::io("read", staging.path(), e))?;
    for entry in entries.flatten() {
        let dest = dir.join(entry.file_name());
        fs::rename(entry.path(), &dest).map_err(|e| FetchError::io("move", &dest, e))?;
        files.push(Fetched::of(&dest)?);
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    observe(Progress::Finish);
    Ok(files)
}

fn ask(python: &Path, requirements: &[&str], deps: Deps, more: &[&str]) -> Result<Vec<Wheel>, FetchError> {
    let what = requirements.join(" ");
    let folder = tempfile::tempdir().map_err(|e| FetchError::io("make", &env::temp_dir(), e))?;
    let report = folder.path().join("report.json");
    let path = report.to_string_lossy();
    let mut args = vec!["-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"];
    args.extend(["--only-binary=:all:", "--report", &path]);
    if deps == Deps::Leave {
        args.push("--no-deps");
    }
    args.extend(more);
    args.extend(requirements);
    let output = run(python, &args).map_err(|e| FetchError::io("run", python, e))?;
    if !output.status.success() {
        return Err(failure(&what, &output));
    }
    let text = fs::read(&report).map_err(|e| FetchError::io("read", &report, e))?;
    read_report(&text).ok_or_else(|| no_report(&what, "a report that cannot be read"))
}

fn read_report(text: &[u8]) -> Option<Vec<Wheel>> {
    let report: Value = serde_json::from_slice(text).ok()?;
    report.get("install")?.as_array()?.iter().map(read_item).collect()
}

fn read_item(item: &Value) -> Option<Wheel> {
    let field = |pointer: &str| item.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let requires = item.pointer("/metadata/requires_dist").and_then(Value::as_array);
    Some(Wheel {
        name: field("/metadata/name")?,
        version: field("/metadata/version")?,
        url: field("/download_info/url")?,
        sha256: field("/download_info/archive_info/hashes/sha256")
            .or_else(|| Some(field("/download_info/archive_info/hash")?.strip_prefix("sha256=")?.to_owned())),
        requires: requires
            .map(|list| list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            .unwrap_or_default(),
    })
}

fn no_report(requirement: &str, detail: &str) -> FetchError {
    let (requirement, detail) = (requirement.to_owned(), detail.to_owned());
    FetchError::Pip { requirement, detail, hint: "update pip: `python3 -m pip install --upgrade pip`" }
}

const NO_SUCH_VERSION: &str =
    "is there such a version for this Python and platform? try another one with `PYTHON=...`";
fn failure(requirement: &str, output: &Output) -> FetchError {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let offline =
        ["NewConnectionError", "NameResolutionError", "ConnectTimeoutError", "Max retries exceeded"];
    let absent = ["No matching distribution", "Could not find a version"];
    let hint = if offline.iter().any(|s| text.contains(s)) {
        NO_INDEX
    } else if absent.iter().any(|s| text.contains(s)) {
        NO_SUCH_VERSION
    } else {
        "what does `python3 -m pip download --no-deps` say to it?"
    };
    FetchError::Pip { requirement: requirement.to_owned(), detail: last_words(&text), hint }
}

/// pip's last error line; its notices say nothing about the failure.
fn last_words(text: &str) -> String {
    let lines = || text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with("[notice]"));
    let last = lines().rfind(|l| l.starts_with("ERROR:")).or_else(|| lines().next_back());
    let last = last.unwrap_or("it said nothing").trim_start_matches("ERROR:").trim();
    last.chars().take(300).collect()
}

/// Whether another way to the same package must fail, too.
fn is_final(error: &FetchError) -> bool {
    match error {
        FetchError::Pip { hint, .. } => *hint == NO_SUCH_VERSION || error.is_offline(),
        FetchError::Io { action, .. } => *action == "write",
        _ => false,
    }
}

/// Runs Python with nothing to ask a person, and nothing that pip could refuse without having been asked to install.
fn run(python: &Path, args: &[&str]) -> std::io::Result<Output> {
    Command::new(python)
        .args(args)
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        .env("PIP_NO_INPUT", "1")
        .env("PIP_REQUIRE_VIRTUALENV", "0")
        .stdin(Stdio::null())
        .output()
}

fn copy(
    from: &Path,
    dest: &Path,
    sha256: Option<&str>,
    observe: Observer<'_>,
) -> Result<Fetched, FetchError> {
    let bytes = fs::metadata(from).map_err(|e| FetchError::io("read", from, e))?.len();
    let what = from.file_name().unwrap_or(from.as_os_str()).to_string_lossy();
    observe(Progress::Start { what: &what, total: Some(bytes), at: 0 });
    parent_of(dest)?;
    let part = beside(dest, ".part");
    fs::copy(from, &part).map_err(|e| FetchError::io("copy", from, e))?;
    let got = Fetched::of(&part)?;
    if let Some(expected) = sha256
        && !expected.eq_ignore_ascii_case(&got.sha256)
    {
        fs::remove_file(&part).map_err(|e| FetchError::io("remove", &part, e))?;
        let (what, expected) = (from.display().to_string(), expected.to_owned());
        return Err(FetchError::Sha256 { what, expected, got: got.sha256 });
    }
    fs::rename(&part, dest).map_err(|e| FetchError::io("write", dest, e))?;
    observe(Progress::Finish);
    Ok(Fetched { path: dest.to_owned(), ..got })
}

/// Undoes percent-encoding; what is none stays.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut i) = (Vec::with_capacity(bytes.len()), 0);
    while i < bytes.len() {
        let hex = bytes.get(i + 1..i + 3).and_then(|h| std::str::from_utf8(h).ok());
        match (bytes[i], hex.and_then(|h| u8::from_str_radix(h, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                i += 3;
            }
            (byte, _) => {
                out.push(byte);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn set(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|v| !v.is_empty())
}

/// `program` as a path: as it is when it has a folder, else where `PATH` has it.
fn which(program: &OsString) -> Option<PathBuf> {
    let path = PathBuf::from(program);
    if path.components().count() > 1 {
        return path.is_file().then_some(path);
    }
    env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join(program)).find(|p| p.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quiet;

    const REPORT: &str = r#"{"version": "1", "install": [{
        "download_info": {"url": "https://files.test/a/torch-2.0%2Bcpu-cp311.whl",
                          "archive_info": {"hash": "sha256=ab", "hashes": {"sha256": "ab"}}},
        "metadata": {"name": "torch", "version": "2.0+cpu", "requires_dist": ["numpy; extra == \"x\""]}}]}"#;

    #[test]
    fn a_report_is_read() {
        let wheels = read_report(REPORT.as_bytes()).unwrap();
        assert_eq!(wheels[0].sha256.as_deref(), Some("ab"));
        assert_eq!((wheels[0].name.as_str(), wheels[0].requires.len()), ("torch", 1));
        assert_eq!(read_report(b"{}"), None);
        assert_eq!(read_report(b"not json"), None);
    }

    #[test]
    fn percent_encoding_is_undone() {
        assert_eq!(decode("torch-2.0%2Bcpu.whl"), "torch-2.0+cpu.whl");
        assert_eq!(decode("100%-%zz%"), "100%-%zz%");
    }

    #[test]
    fn a_local_wheel_is_copied_and_checked() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("a b-1.0-py3-none-any.whl");
        fs::write(&from, b"abc").unwrap();
        let sha256 = crate::sha256_file(&from).unwrap();
        let mut wheel = Wheel {
            name: "a-b".to_owned(),
            version: "1.0".to_owned(),
            url: format!("file://{}", from.display()).replace(' ', "%20"),
            sha256: Some(sha256),
            requires: Vec::new(),
        };
        let out = dir.path().join("out");
        let got = fetch(&wheel, &out, &quiet).unwrap();
        assert_eq!(fs::read(&got.path).unwrap(), b"abc");
        assert_eq!(got.path, out.join("a b-1.0-py3-none-any.whl"));

        wheel.sha256 = Some("0".repeat(64));
        fs::remove_file(&got.path).unwrap();
        assert!(matches!(fetch(&wheel, &out, &quiet), Err(FetchError::Sha256 { .. })));
        assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
    }

    /// A `python` that is a shell script; `$*` are its arguments.
    #[cfg(unix)]
    fn fake_python(dir: &Path, script: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = dir.join("python");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    #[cfg(unix)]
    fn a_pip_that_cannot_report_downloads_by_itself() {
        let dir = tempfile::tempdir().unwrap();
        let script = r#"case "$*" in
            *" install "*) echo "ERROR: no such option: --report" >&2; exit 2;;
            *) while [ "$1" != --dest ]; do shift; done; printf abc > "$2/a-1.0-py3-none-any.whl";; esac"#;
        let python = fake_python(dir.path(), script);
        let out = dir.path().join("out");
        let got = wheel(&python, "a==1.0", &out, &quiet).unwrap();
        assert_eq!(got.path, out.join("a-1.0-py3-none-any.whl"));
        assert_eq!(got.bytes, 3);
        assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
    }

    #[test]
    #[cfg(unix)]
    fn a_version_that_does_not_exist_is_asked_for_once() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let script = format!(
            "echo x >> {}; echo 'ERROR: No matching distribution found for a==9' >&2; exit 1",
            log.display()
        );
        let python = fake_python(dir.path(), &script);
        let error = wheel(&python, "a==9", dir.path(), &quiet).unwrap_err().to_string();
        assert!(error.contains("`a==9`: No matching distribution found"), "{error}");
        assert!(error.contains("hint: is there such a version"), "{error}");
        assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 1);
    }

    #[test]
    #[cfg(unix)]
    fn an_index_that_cannot_be_reached_is_told_from_a_missing_version() {
        let dir = tempfile::tempdir().unwrap();
        let script = "echo 'WARNING: Retrying: NewConnectionError' >&2; echo 'ERROR: No matching distribution' >&2; exit 1";
        let error = resolve(&fake_python(dir.path(), script), &["a"], Deps::Leave).unwrap_err();
        assert!(error.is_offline(), "{error}");
    }

    #[test]
    fn the_last_words_are_the_error() {
        let text = "WARNING: x\nERROR: Could not find a version\nERROR: No matching distribution found for y\n\n[notice] new";
        assert_eq!(last_words(text), "No matching distribution found for y");
        assert_eq!(last_words(""), "it said nothing");
    }
}

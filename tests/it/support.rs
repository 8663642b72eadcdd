//! The program under test and small image folders to give it.

use std::fs;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// What a finished command left.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    pub(crate) fn expect_success(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    /// A clear refusal: exit code 1, `error:` and these texts in it, no panic, no C++ stack.
    pub(crate) fn expect_error(self, texts: &[&str]) -> Self {
        self.expect_refusal(1, texts)
    }

    /// The same of words that do not go together: exit code 2.
    pub(crate) fn expect_usage_error(self, texts: &[&str]) -> Self {
        self.expect_refusal(2, texts)
    }

    fn expect_refusal(self, code: i32, texts: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        assert!(self.stderr.contains("error: "), "{}", self.stderr);
        for text in texts {
            assert!(self.stderr.contains(text), "`{text}` is not in:\n{}", self.stderr);
        }
        for never in ["panicked", "internal error", "frame #", "RUST_BACKTRACE"] {
            assert!(!self.stderr.contains(never), "{}", self.stderr);
        }
        self
    }
}

/// The top of the checkout.
pub(crate) fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned())
}

/// The built program; cargo decides whether there is anything to build.
pub(crate) fn tl() -> Command {
    static TL: OnceLock<PathBuf> = OnceLock::new();
    let path = TL.get_or_init(|| {
        // target/<profile>/deps/it-… -> target/<profile>
        let profile_dir = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned();
        let mut build = Command::new(env!("CARGO"));
        build.current_dir(root()).args(["build", "--quiet", "--package", "tl-cli"]);
        if profile_dir.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success());
        profile_dir.join("tl")
    });
    Command::new(path)
}

/// Runs `tl` in `dir` to its end.
pub(crate) fn run(dir: &Path, args: &[&str]) -> Output {
    finish(tl().current_dir(dir).args(exact(args)))
}

/// With a precision for a new run that has none: the fastest is found by a clock, and tests compare bits.
pub(crate) fn exact<'a>(args: &[&'a str]) -> Vec<&'a str> {
    let chosen = ["--precision", "--config", "--resume"].iter().any(|option| args.contains(option));
    let more: &[&str] =
        if args.first() == Some(&"finetune") && !chosen { &["--precision", "f32"] } else { &[] };
    [args, more].concat()
}

pub(crate) fn finish(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap();
    Output {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Starts `tl`, waits for a line of its log that `is_it`, sends the signal that Ctrl-C sends, and waits for its end.
pub(crate) fn interrupt(dir: &Path, args: &[&str], is_it: impl Fn(&str) -> bool) -> Output {
    let mut child = tl()
        .current_dir(dir)
        .args(exact(args))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = String::new();
    let mut sent = false;
    for line in std::io::BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        if !sent && is_it(&line) {
            sent = true;
            let pid = child.id().to_string();
            assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        }
        stderr.push_str(&line);
        stderr.push('\n');
    }
    let output = child.wait_with_output().unwrap();
    assert!(sent, "{stderr}");
    Output { code: output.status.code(), stdout: String::from_utf8(output.stdout).unwrap(), stderr }
}

/// Whether a line of the log is an epoch of this phase, and not a line of the plan.
pub(crate) fn is_epoch(line: &str, phase: &str) -> bool {
    let mut words = line.split_whitespace();
    words.next() == Some(phase)
        && words.next().is_some_and(|word| word.parse::<u32>().is_ok())
        && words.next().is_some_and(|word| word.parse::<f64>().is_ok())
}

/// A folder with the first `train` and `val` images of each of these classes of the project's own dataset.
pub(crate) fn small_set(dir: &Path, classes: &[&str], train: usize, val: usize) -> PathBuf {
    let data = dir.join("data");
    for (part, n) in [("train", train), ("val", val)] {
        for class in classes {
            let from = root().join("datasets/fashion-mnist-small").join(part).join(class);
            let to = data.join(part).join(class);
            fs::create_dir_all(&to).unwrap();
            let mut files: Vec<PathBuf> = fs::read_dir(from).unwrap().map(|e| e.unwrap().path()).collect();
            files.sort();
            for file in &files[..n] {
                fs::copy(file, to.join(file.file_name().unwrap())).unwrap();
            }
        }
    }
    data
}

pub(crate) fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The epochs of a run, without what depends on the clock.
pub(crate) fn epochs(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let rows = text.lines().map(|line| {
        let mut row: Value = serde_json::from_str(line).unwrap();
        let fields = row.as_object_mut().unwrap();
        for time in ["seconds", "images_per_second", "wait_seconds"] {
            assert!(fields.remove(time).is_some(), "{time}");
        }
        row
    });
    rows.collect()
}

pub(crate) fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

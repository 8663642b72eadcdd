//! What a build needs: libtorch, a C++ compiler, Rust, and Python where packages are to be fetched.

use std::env;
use std::fs;
use std::process::{Command, Stdio};

use super::Check;
use crate::message_and_hints;
use crate::setup::{self, Device, VERSION};
use crate::workspace::Workspace;

pub(super) fn all(workspace: &Workspace) -> Vec<Check> {
    vec![libtorch(workspace), compiler(), rust(workspace), python(workspace), gpu(workspace)]
}

fn libtorch(workspace: &Workspace) -> Check {
    const NAME: &str = "libtorch";
    match setup::current(workspace) {
        Ok(Some(found)) => {
            let missing = setup::missing_libraries(&found.dir);
            if missing.is_empty() {
                let (dir, source) = (found.dir.display(), found.source);
                return Check::ok(NAME, format!("{VERSION} at `{dir}` ({source}), complete"));
            }
            let detail = format!("`{}` would not load: {}", found.dir.display(), missing.join("; "));
            Check::problem(NAME, detail, "`cargo xtask setup --force`")
        }
        Ok(None) => {
            Check::problem(NAME, format!("{VERSION} is not here, or not complete"), "`cargo xtask setup`")
        }
        Err(error) => {
            let (detail, hints) = message_and_hints(&error);
            Check::problem(NAME, detail, hints.first().map_or("`cargo xtask setup --force`", String::as_str))
        }
    }
}

fn compiler() -> Check {
    const NAME: &str = "C++ compiler";
    let program = env::var("CXX").ok().filter(|v| !v.is_empty()).unwrap_or_else(|| "c++".to_owned());
    match first_line(&program, &["--version"]) {
        Some(line) => Check::ok(NAME, line),
        None => {
            let mend = if cfg!(target_os = "macos") {
                "`xcode-select --install`"
            } else {
                "`apt install g++` (Debian, Ubuntu), `dnf install gcc-c++` (Fedora)"
            };
            Check::problem(NAME, format!("`{program}` does not run"), mend)
        }
    }
}

fn rust(workspace: &Workspace) -> Check {
    const NAME: &str = "Rust";
    let manifest = fs::read_to_string(workspace.root().join("Cargo.toml")).unwrap_or_default();
    let wanted = manifest.lines().find_map(|l| l.strip_prefix("rust-version = \"")?.strip_suffix('"'));
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let Some(line) = first_line(&rustc, &["--version"]) else {
        return Check::problem(NAME, format!("`{rustc}` does not run"), "`rustup default stable`");
    };
    let got = line.split(' ').nth(1).unwrap_or_default();
    match wanted {
        Some(wanted) if numbers(got) < numbers(wanted) => {
            Check::problem(NAME, format!("{line}; {wanted} is needed"), "`rustup update`")
        }
        Some(wanted) => Check::ok(NAME, format!("{line}; {wanted} is needed")),
        None => Check::ok(NAME, line),
    }
}

/// The numbers of a version: what follows them does not count.
fn numbers(version: &str) -> Vec<u32> {
    version.split(['.', '-', '+']).map_while(|part| part.parse().ok()).collect()
}

fn python(workspace: &Workspace) -> Check {
    const NAME: &str = "Python, pip";
    match tl_fetch::python::find() {
        Ok(python) => {
            let pip = first_line(&python.to_string_lossy(), &["-m", "pip", "--version"]).unwrap_or_default();
            let pip = pip.split(" from ").next().unwrap_or_default().to_owned();
            Check::ok(NAME, format!("`{}`, {pip}", python.display()))
        }
        Err(error) => {
            let text = error.to_string();
            let (detail, mend) =
                text.split_once("\n\nhint: ").unwrap_or((&text, "install Python 3 with pip"));
            let what = match setup::current(workspace) {
                Ok(Some(_)) => "weights that come as a package cannot be fetched",
                _ => "setup has to take the official archive",
            };
            Check::warning(NAME, format!("{detail}; {what}"), mend)
        }
    }
}

fn gpu(workspace: &Workspace) -> Check {
    const NAME: &str = "GPU";
    let query = ["--query-gpu=name,driver_version", "--format=csv,noheader"];
    match first_line("nvidia-smi", &query) {
        Some(gpu) => match setup::current(workspace) {
            Ok(Some(found)) if found.device == Device::Cpu => {
                let detail = format!("{gpu}; this libtorch does not use it");
                Check::warning(NAME, detail, "`cargo xtask setup --device cuda`")
            }
            _ => Check::ok(NAME, gpu),
        },
        None => Check::ok(NAME, "none that `nvidia-smi` knows; the CPU is used"),
    }
}

/// The first line that a command prints, if it succeeds.
pub(super) fn first_line(program: &str, args: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    let output = command.args(args).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().next().filter(|_| output.status.success()).map(|line| line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert!(numbers("1.100.0") > numbers("1.88"));
        assert!(numbers("1.87.0-nightly") < numbers("1.88"));
        assert!(numbers("1.88.0") >= numbers("1.88"));
    }
}

//! The Python environments that peers run in: one each, made by pip, in the build folder.
//!
//! The decision behind it: an environment is a folder that nothing else sees. Python's own places for packages
//! (`PYTHONPATH`, the user's site packages) are shut for all that is started in it, and it counts as made only when a file
//! in it names the packages that were asked for, so that one that was cut short is made anew.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};

/// Python packages that live together.
pub(crate) struct Environment {
    pub(crate) name: &'static str,
    pub(crate) packages: &'static [&'static str],
    /// What runs in it.
    pub(crate) scripts: &'static [Script],
    /// What the packages take when they are unpacked, and what pip has to have beside that meanwhile.
    pub(crate) bytes: u64,
}

/// A program that measures.
pub(crate) struct Script {
    /// In the workspace.
    pub(crate) path: &'static str,
    /// The first words of the names that it knows.
    pub(crate) kinds: &'static [&'static str],
}

pub(crate) static ENVIRONMENTS: [Environment; 2] = [
    Environment {
        name: "torch",
        packages: &[
            "torch==2.11.0",
            "torchvision==0.26.0",
            "timm==1.0.*",
            "transformers==5.*",
            "accelerate==1.*",
            "setuptools",
        ],
        scripts: &[
            Script {
                path: "xtask/peers/torch_rows.py",
                kinds: &["forward", "step", "cached", "loader", "run"],
            },
            Script { path: "xtask/peers/hf_rows.py", kinds: &["forward", "step", "embed"] },
        ],
        bytes: 8_500_000_000,
    },
    Environment {
        name: "keras",
        packages: &["keras==3.*", "tensorflow-cpu==2.*", "pillow", "scipy"],
        scripts: &[Script {
            path: "xtask/peers/keras_rows.py",
            kinds: &["forward", "step", "cached", "loader"],
        }],
        bytes: 2_500_000_000,
    },
];

impl Environment {
    /// The Python of this environment in `parent`; the environment is made if it is not there.
    ///
    /// # Errors
    /// No Python with venv and pip, too little room, or packages that pip cannot get.
    pub(crate) fn python(&self, parent: &Path) -> Result<PathBuf> {
        let dir = parent.join(self.name);
        let python = dir.join("bin/python");
        if self.is_made(&dir) {
            return Ok(python);
        }
        fs::create_dir_all(parent).with_context(|| format!("cannot make `{}`", parent.display()))?;
        let host = tl_fetch::python::find()?;
        self.need(parent)?;
        eprintln!("getting    {} into {}", self.packages.join(" "), dir.display());
        let made = run(command(&host).args(["-m", "venv", "--clear"]).arg(&dir))?;
        if !made.status.success() {
            bail!(
                "`{} -m venv` failed: {}\n\nhint: install Python's venv (on Debian and Ubuntu the package \
                 `python3-venv`), or name Pythons that have the packages with --torch and --keras",
                host.display(),
                last_lines(&made)
            );
        }
        // One package at a time is no faster, and pip finds versions that fit only when it sees all.
        let pip = ["-m", "pip", "install", "--quiet", "--no-cache-dir", "--disable-pip-version-check"];
        let got = run(command(&python).args(pip).args(self.packages))?;
        if !got.status.success() {
            bail!(
                "pip could not get the packages of `{}`: {}\n\nhint: look at network and proxy, or name a Python that \
                 has them with --{}",
                self.name,
                last_lines(&got),
                self.name
            );
        }
        fs::write(dir.join("made"), self.wanted())?;
        Ok(python)
    }

    fn wanted(&self) -> String {
        self.packages.join(" ")
    }

    fn is_made(&self, dir: &Path) -> bool {
        fs::read_to_string(dir.join("made")).is_ok_and(|found| found == self.wanted())
    }

    fn need(&self, parent: &Path) -> Result<()> {
        let gb = |bytes: u64| bytes as f64 / 1e9;
        match tl_fetch::free_bytes(parent) {
            Some(free) if free < self.bytes => bail!(
                "`{}` has {:.1} GB free, the packages of `{}` need about {:.1} GB\n\nhint: free some space, set \
                 `CARGO_TARGET_DIR` to a folder on a larger disk, or name a Python that has them with --{}",
                parent.display(),
                gb(free),
                self.name,
                gb(self.bytes),
                self.name
            ),
            _ => Ok(()),
        }
    }
}

/// A Python that sees the packages of its own environment and no others.
pub(crate) fn command(python: &Path) -> Command {
    let mut command = Command::new(python);
    for name in ["PYTHONPATH", "PYTHONHOME", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_REQUIRE_VIRTUALENV"]
    {
        command.env_remove(name);
    }
    command.env("PYTHONNOUSERSITE", "1");
    command
}

fn run(command: &mut Command) -> Result<Output> {
    let program = command.get_program().to_owned();
    command.output().with_context(|| format!("cannot run `{}`", OsStr::to_string_lossy(&program)))
}

/// What a program said last, in a line.
fn last_lines(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stderr).into_owned();
    if text.trim().is_empty() {
        text = String::from_utf8_lossy(&output.stdout).into_owned();
    }
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(2)..].join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Environment = Environment { name: "none", packages: &["a", "b==1"], scripts: &[], bytes: 0 };

    #[test]
    fn an_environment_counts_as_made_when_it_names_what_is_wanted() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("none");
        fs::create_dir(&folder).unwrap();
        assert!(!NONE.is_made(&folder));
        fs::write(folder.join("made"), "a b==0").unwrap();
        assert!(!NONE.is_made(&folder));
        fs::write(folder.join("made"), "a b==1").unwrap();
        assert_eq!(NONE.python(dir.path()).unwrap(), folder.join("bin/python"));
    }

    #[test]
    fn too_little_room_is_said_before_anything_is_got() {
        let dir = tempfile::tempdir().unwrap();
        let error = Environment { bytes: u64::MAX, ..NONE }.need(dir.path()).unwrap_err().to_string();
        assert!(error.contains("the packages of `none` need about") && error.contains("hint:"), "{error}");
        NONE.need(dir.path()).unwrap();
    }

    #[test]
    fn failures_are_told_in_a_line() {
        let output = run(Command::new("sh").args(["-c", "echo one >&2; echo; echo two >&2; echo three >&2"]));
        assert_eq!(last_lines(&output.unwrap()), "two; three");
        let error = run(&mut command(Path::new("/nowhere/python"))).unwrap_err().to_string();
        assert!(error.contains("cannot run `/nowhere/python`"), "{error}");
    }
}

//! An installed Python torch of the right version, used where it lies: a small folder of links into it.
//!
//! torch is never imported; Python only says where it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use tl_fetch::python::candidates;

use super::place::{Place, python_name, symlink};
use super::progress::Ui;
use super::stamp::Stamp;
use super::{VERSION, layout, libtorch};

const WHERE: &str = "import importlib.util as u; s = u.find_spec('torch'); print(s.origin if s else '')";

/// Links an installed torch.
pub(crate) fn make(place: &Place, ui: &Ui) -> Result<PathBuf> {
    let mut reasons = Vec::new();
    for python in candidates() {
        let Some(torch) = installed(&python) else { continue };
        match link(place, &torch) {
            Ok(target) => {
                ui.step(&format!("using the torch of `{}`", python.display()));
                return Ok(target);
            }
            Err(error) => reasons.push(format!("`{}`: {error:#}", torch.display())),
        }
    }
    if reasons.is_empty() {
        bail!("there is none");
    }
    bail!("{}", reasons.join("; "));
}

/// The folder of the torch that `python` would import.
fn installed(python: &Path) -> Option<PathBuf> {
    let mut command = Command::new(python);
    // Not here: a folder of that name in the current one would be found first.
    command.args(["-c", WHERE]).current_dir("/").stdin(Stdio::null());
    let output = command.output().ok().filter(|o| o.status.success())?;
    let origin = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    Some(origin.parent().filter(|dir| dir.is_dir() && dir.is_absolute())?.to_owned())
}

/// The version that an installed torch says.
fn version(torch: &Path) -> Option<String> {
    let text = fs::read_to_string(torch.join("version.py")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("__version__")?.trim().strip_prefix('='))?;
    Some(line.trim().trim_matches(['\'', '"']).to_owned())
}

/// A folder of links to what a build needs of `torch`.
pub(crate) fn link(place: &Place, torch: &Path) -> Result<PathBuf> {
    let version = version(torch).context("it does not say its version")?;
    if !libtorch::is_right(&version) {
        bail!("it is version {version}, not {VERSION}");
    }
    let made = place.temporary()?;
    let lib = made.path().join("torch/lib");
    fs::create_dir_all(&lib)?;
    symlink(&torch.join("include"), &made.path().join("torch/include"))?;
    for entry in fs::read_dir(torch.join("lib")).context("it has no `lib`")? {
        let name = entry?.file_name();
        if let Some(here) = layout::place_of_library(place.device(), &name.to_string_lossy()) {
            let here = made.path().join(here);
            here.parent().map_or(Ok(()), fs::create_dir_all)?;
            symlink(&torch.join("lib").join(&name), &here)?;
        }
    }
    // What the libraries look for beside their folder.
    let site = torch.parent().context("it lies nowhere")?;
    for name in ["nvidia", "torch.libs"] {
        if site.join(name).is_dir() {
            symlink(&site.join(name), &made.path().join(name))?;
        }
    }
    layout::complete(made.path(), place.device())?;
    let source = format!("links into `{}`", torch.display());
    Stamp::write(made.path(), place.device(), source, Vec::new())?;
    place.settle(made, &python_name(place.device()))
}

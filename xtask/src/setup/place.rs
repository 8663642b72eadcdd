//! Where setup puts what it makes: one folder for each version and device, behind a lock.
//!
//! Setup deletes only what lies under names of its own: its temporary folders, its downloads, its own older folder.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tl_fetch::Lock;

use super::progress::Ui;
use super::stamp::Stamp;
use super::{Device, VERSION};
use crate::workspace::Workspace;

const TEMPORARY: &str = "tmp-setup-";

/// The project's home, held by this process alone.
pub(crate) struct Place {
    home: PathBuf,
    device: Device,
    _lock: Lock,
}

impl Place {
    /// Takes the home, waiting for another setup to end, and clears what a killed one left.
    pub(crate) fn open(home: PathBuf, device: Device, ui: &Ui) -> Result<Self> {
        let lock = Lock::acquire(&home.join("setup.lock"), &|| ui.step("waiting for another setup to end"))?;
        let place = Self { home, device, _lock: lock };
        for entry in fs::read_dir(&place.home)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                fs::remove_dir_all(entry.path())
                    .with_context(|| format!("cannot remove `{}`", entry.path().display()))?;
            }
        }
        Ok(place)
    }

    pub(crate) fn device(&self) -> Device {
        self.device
    }

    /// What an earlier setup made for this device, if it is complete.
    pub(crate) fn existing(&self) -> Option<PathBuf> {
        let names = [self.device.name().to_owned(), python_name(self.device)];
        names
            .iter()
            .map(|name| self.named(name))
            .find(|dir| Stamp::read(dir).is_some_and(|stamp| stamp.is_complete(dir)))
    }

    /// Where downloads lie until they are unpacked.
    pub(crate) fn downloads(&self) -> PathBuf {
        self.home.join("downloads")
    }

    /// An empty folder, removed unless it is [settled](Self::settle).
    pub(crate) fn temporary(&self) -> Result<TempDir> {
        let dir = tempfile::Builder::new().prefix(TEMPORARY).tempdir_in(&self.home);
        dir.with_context(|| format!("cannot write in `{}`", self.home.display()))
    }

    /// Gives a complete folder its name; an older one of that name goes.
    pub(crate) fn settle(&self, made: TempDir, name: &str) -> Result<PathBuf> {
        let target = self.named(name);
        let old = self.temporary()?;
        if target.symlink_metadata().is_ok() {
            if Stamp::read(&target).is_none() {
                bail!(
                    "`{}` was not made by setup\n\nhint: move it away, then run it again",
                    target.display()
                );
            }
            fs::rename(&target, old.path().join("old"))?;
        }
        fs::rename(made.path(), &target).with_context(|| format!("cannot write `{}`", target.display()))?;
        // The folder has its new name; there is nothing left to remove.
        let _ = made.keep();
        Ok(target)
    }

    /// Fails unless `bytes` more fit on the disk; downloads that are here already count.
    pub(crate) fn need(&self, bytes: u64) -> Result<()> {
        let mut here = 0;
        for entry in fs::read_dir(self.downloads()).into_iter().flatten().flatten() {
            here += entry.metadata().map_or(0, |m| m.len());
        }
        let need = bytes.saturating_sub(here);
        match tl_fetch::free_bytes(&self.home) {
            Some(free) if free < need => Err(NoSpace { path: self.home.clone(), need, free }.into()),
            _ => Ok(()),
        }
    }

    fn named(&self, name: &str) -> PathBuf {
        self.home.join(format!("libtorch-{VERSION}-{name}"))
    }
}

/// The name of a folder of links into an installed Python torch.
pub(crate) fn python_name(device: Device) -> String {
    match device {
        Device::Cpu => "python".to_owned(),
        Device::Cuda => "python-cuda".to_owned(),
    }
}

/// The disk is too small.
#[derive(Debug)]
pub(crate) struct NoSpace {
    path: PathBuf,
    need: u64,
    free: u64,
}

impl fmt::Display for NoSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gb = |bytes: u64| bytes as f64 / 1e9;
        write!(
            f,
            "`{}` has {:.1} GB free, {:.1} GB are needed: {:.1} GB are missing\n\n\
             hint: set `TL_HOME` to a folder on a larger disk",
            self.path.display(),
            gb(self.free),
            gb(self.need),
            gb(self.need - self.free)
        )
    }
}

impl std::error::Error for NoSpace {}

/// Points the checkout's link to `target`, in one step.
pub(crate) fn link(workspace: &Workspace, target: &Path) -> Result<()> {
    let link = workspace.link();
    match link.symlink_metadata() {
        Ok(meta) if !meta.is_symlink() => bail!(
            "`{}` is no link: setup did not make it\n\nhint: move it away, then run it again",
            link.display()
        ),
        Ok(_) if link.canonicalize().is_ok_and(|t| target.canonicalize().is_ok_and(|u| t == u)) => {
            return Ok(());
        }
        _ => {}
    }
    let fresh = workspace.root().join(format!(".libtorch-{}", std::process::id()));
    symlink(target, &fresh)?;
    fs::rename(&fresh, &link).with_context(|| format!("cannot write `{}`", link.display()))?;
    rebuild_bindings(workspace)
}

/// `LIBTORCH` stays the same text when the link moves, so cargo would keep bindings to what it led to before.
fn rebuild_bindings(workspace: &Workspace) -> Result<()> {
    let release = workspace.release_dir()?;
    for (profile, flag) in [("release", Some("--release")), ("debug", None)] {
        if release.parent().is_some_and(|target| has_bindings(&target.join(profile))) {
            let mut cargo = workspace.cargo();
            cargo.args(["clean", "--quiet", "--package", "torch-sys"]).args(flag);
            if !cargo.status().is_ok_and(|status| status.success()) {
                bail!("cannot discard the old bindings\n\nhint: `cargo clean --release`");
            }
        }
    }
    Ok(())
}

/// Whether bindings to a libtorch were made in a folder of builds: cargo keeps what a build script that succeeded said.
pub(crate) fn has_bindings(builds: &Path) -> bool {
    let entries = fs::read_dir(builds.join("build")).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("torch-sys-"))
        .any(|entry| entry.path().join("output").exists())
}

#[cfg(unix)]
pub(crate) fn symlink(target: &Path, link: &Path) -> Result<()> {
    std::os::unix::fs::symlink(target, link)
        .with_context(|| format!("cannot make the link `{}`", link.display()))
}

#[cfg(not(unix))]
pub(crate) fn symlink(_: &Path, link: &Path) -> Result<()> {
    bail!("cannot make the link `{}`: Windows is not supported yet", link.display())
}

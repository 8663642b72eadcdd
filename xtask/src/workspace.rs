//! Where this checkout is, and how cargo is called in it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// This checkout.
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The checkout that cargo runs this program from.
    pub(crate) fn find() -> Result<Self> {
        let manifest = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let start = manifest.map_or_else(env::current_dir, Ok)?;
        let root = start.ancestors().find(|p| p.join("xtask/Cargo.toml").is_file());
        let root = root.context("not inside the checkout\n\nhint: run `cargo xtask` in it")?.to_owned();
        Ok(Self { root })
    }

    /// A checkout elsewhere, for tests.
    #[cfg(test)]
    pub(crate) fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The link to libtorch that [`setup`](crate::setup) makes.
    pub(crate) fn link(&self) -> PathBuf {
        self.root.join(".libtorch")
    }

    /// The libtorch that the user named. `.cargo/config.toml` sets the same variable for everything that cargo starts,
    /// this program included: that value is not theirs.
    pub(crate) fn users_libtorch(&self) -> Option<PathBuf> {
        let value = PathBuf::from(env::var_os("LIBTORCH").filter(|v| !v.is_empty())?);
        (value != self.link().join("torch")).then_some(value)
    }

    /// `cargo`, as it would run if the user had started it in the checkout.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = xtask_start::cargo();
        command.current_dir(&self.root);
        if self.users_libtorch().is_none() {
            command.env_remove("LIBTORCH");
        }
        command
    }

    /// The folder of release builds: this program lies in it, and so does `tl`.
    pub(crate) fn release_dir(&self) -> Result<PathBuf> {
        let exe = env::current_exe().context("cannot find this program")?;
        Ok(exe.parent().context("this program lies nowhere")?.to_owned())
    }
}

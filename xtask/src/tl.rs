//! Everything that is not this program's own: build `tl` in release and become it.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use xtask_start::{become_it, coloured, run_quietly_at_first};

use crate::ahead::Ahead;
use crate::setup;
use crate::workspace::Workspace;

/// Builds `tl` and runs it with `args` in the current folder; its exit code is ours.
pub(crate) fn command(workspace: &Workspace, args: &[OsString]) -> Result<ExitCode> {
    let ahead = Ahead::begin(workspace)?;
    setup::ensure(workspace)?;
    ahead.map_or(Ok(()), Ahead::finish)?;
    build(workspace)?;
    let tl = workspace.release_dir()?.join("tl");
    let mut command = Command::new(&tl);
    command.args(args);
    become_it(command).with_context(|| format!("cannot run `{}`", tl.display()))
}

fn build(workspace: &Workspace) -> Result<()> {
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--release", "--package", "tl-cli"]);
    coloured(&mut cargo);
    if !run_quietly_at_first(&mut cargo).context("cannot run `cargo`")? {
        bail!("`tl` was not built\n\nhint: `cargo xtask doctor` says what is missing");
    }
    Ok(())
}

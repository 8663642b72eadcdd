//! Everything that is not this program's own: build `tl` in release and become it.
//!
//! cargo's output is held back for a moment, so that a build with nothing to do stays silent and one that takes time
//! shows itself.

use std::ffi::OsString;
use std::io::{IsTerminal, Read, Write};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::setup;
use crate::workspace::Workspace;

const PATIENCE: Duration = Duration::from_millis(1200);

/// Builds `tl` and runs it with `args` in the current folder; its exit code is ours.
pub(crate) fn command(workspace: &Workspace, args: &[OsString]) -> Result<ExitCode> {
    setup::ensure(workspace)?;
    build(workspace)?;
    let tl = workspace.release_dir()?.join("tl");
    let mut command = Command::new(&tl);
    command.args(args);
    become_it(command).with_context(|| format!("cannot run `{}`", tl.display()))
}

#[cfg(unix)]
fn become_it(mut command: Command) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    Err(command.exec().into())
}

#[cfg(not(unix))]
fn become_it(mut command: Command) -> Result<ExitCode> {
    let status = command.status()?;
    Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)))
}

fn build(workspace: &Workspace) -> Result<()> {
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--release", "--package", "tl-cli"]).stdin(Stdio::null());
    if std::io::stderr().is_terminal() {
        cargo.env("CARGO_TERM_COLOR", "always");
        cargo.envs([("CARGO_TERM_PROGRESS_WHEN", "always"), ("CARGO_TERM_PROGRESS_WIDTH", "80")]);
    }
    if !run_quietly_at_first(&mut cargo)? {
        bail!("`tl` was not built\n\nhint: `cargo xtask doctor` says what is missing");
    }
    Ok(())
}

/// Runs `command`; its stderr appears once it takes longer than [`PATIENCE`], or fails.
fn run_quietly_at_first(command: &mut Command) -> Result<bool> {
    let mut child = command.stderr(Stdio::piped()).spawn().context("cannot run `cargo`")?;
    let mut stderr = child.stderr.take().context("cargo has no stderr")?;
    let (send, receive) = mpsc::channel::<Vec<u8>>();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(n) = stderr.read(&mut buffer) {
            if n == 0 || send.send(buffer[..n].to_vec()).is_err() {
                break;
            }
        }
    });
    let (start, mut held, mut out) = (Instant::now(), Vec::new(), std::io::stderr());
    let mut shown = false;
    loop {
        let left = if shown { Duration::MAX } else { PATIENCE.saturating_sub(start.elapsed()) };
        match receive.recv_timeout(left.min(Duration::from_secs(3600))) {
            Ok(bytes) => held.extend(bytes),
            Err(RecvTimeoutError::Timeout) => shown = true,
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if shown {
            out.write_all(&held)?;
            held.clear();
        }
    }
    let success = child.wait()?.success();
    if !success {
        out.write_all(&held)?;
    }
    Ok(success)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn the_result_of_the_command_counts() {
        let run = |script: &str| run_quietly_at_first(Command::new("sh").args(["-c", script])).unwrap();
        assert!(run("echo quiet >&2"));
        assert!(!run("exit 3"));
    }
}

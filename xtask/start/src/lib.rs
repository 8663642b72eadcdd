//! Running cargo for a person: silent while there is nothing to do.
//!
//! cargo's output is held back for a moment, so that a build with nothing to do stays silent and one that takes time
//! shows itself.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read, Write};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_millis(1200);

/// `cargo`, as the one that started this program.
#[must_use]
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
}

/// Lets cargo draw its progress on a pipe, if a person will see it.
pub fn coloured(cargo: &mut Command) {
    if io::stderr().is_terminal() {
        cargo.env("CARGO_TERM_COLOR", "always");
        cargo.envs([("CARGO_TERM_PROGRESS_WHEN", "always"), ("CARGO_TERM_PROGRESS_WIDTH", "80")]);
    }
}

/// Runs `command`; its stderr appears once it takes longer than a moment, or fails. Returns whether it succeeded.
///
/// # Errors
/// The command cannot be started, or stderr cannot be written.
pub fn run_quietly_at_first(command: &mut Command) -> io::Result<bool> {
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut stderr = child.stderr.take().ok_or_else(|| io::Error::other("cargo has no stderr"))?;
    let (send, receive) = mpsc::channel::<Vec<u8>>();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(n) = stderr.read(&mut buffer) {
            if n == 0 || send.send(buffer[..n].to_vec()).is_err() {
                break;
            }
        }
    });
    let (start, mut held, mut out) = (Instant::now(), Vec::new(), io::stderr());
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

/// Becomes `command`; where a process cannot, runs it and passes its exit code on.
///
/// # Errors
/// The command cannot be started.
#[cfg(unix)]
pub fn become_it(mut command: Command) -> io::Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    Err(command.exec())
}

/// Becomes `command`; where a process cannot, runs it and passes its exit code on.
///
/// # Errors
/// The command cannot be started.
#[cfg(not(unix))]
pub fn become_it(mut command: Command) -> io::Result<ExitCode> {
    let status = command.status()?;
    Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)))
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

//! The build of `tl`, begun while libtorch is still on its way.
//!
//! It is one ordinary `cargo build`, in which only what needs libtorch waits: cargo runs rustc through this program, and
//! this program holds the build script of `torch-sys` back until setup lets go of a lock. So nothing is compiled twice,
//! and bindings begin the moment that they can. Whether it succeeds is of no interest: the build that follows it finds
//! everything done, or says what is wrong.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use tl_fetch::Lock;
use xtask_start::{become_it, coloured};

use crate::setup;
use crate::workspace::Workspace;

/// The crate whose build script needs libtorch.
const HELD: &str = "torch-sys";
/// Names the lock to the copies of this program that cargo runs rustc through.
const VARIABLE: &str = "TL_LIBTORCH_COMES";
/// cargo runs rustc through the program that this names.
const WRAPPER: &str = "RUSTC_WRAPPER";

/// A build that has begun. Dropped, it ends.
pub(crate) struct Ahead {
    cargo: Child,
    reader: Option<JoinHandle<()>>,
    shown: Arc<AtomicBool>,
    lock: Option<Lock>,
}

impl Ahead {
    /// Begins the build, if libtorch has to be got first and nothing was built with one before.
    pub(crate) fn begin(workspace: &Workspace) -> Result<Option<Self>> {
        let release = workspace.release_dir()?;
        // Somebody else's wrapper stays in its place.
        let taken = std::env::var_os(WRAPPER).is_some();
        if taken || setup::current(workspace)?.is_some() || setup::has_bindings(&release) {
            return Ok(None);
        }
        let path = release.join("libtorch-comes.lock");
        let lock = Lock::acquire(&path, &|| ())?;
        let mut command = workspace.cargo();
        command.args(["build", "--release", "--package", "tl-cli"]);
        // The job that waits takes a place.
        let jobs = thread::available_parallelism().map_or(2, usize::from) + 1;
        command.args(["--jobs", &jobs.to_string()]);
        command.env(VARIABLE, &path).env(WRAPPER, std::env::current_exe()?);
        coloured(&mut command);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut cargo = command.spawn().context("cannot run `cargo`")?;
        let shown = Arc::new(AtomicBool::new(false));
        let reader = cargo.stderr.take().map(|stderr| {
            let shown = Arc::clone(&shown);
            thread::spawn(move || pass_on(stderr, &shown))
        });
        Ok(Some(Self { cargo, reader, shown, lock: Some(lock) }))
    }

    /// Lets what needs libtorch begin, shows from here on what cargo does, and waits until it is done.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.shown.store(true, Ordering::Relaxed);
        self.lock = None;
        self.cargo.wait().context("cannot wait for `cargo`")?;
        if let Some(reader) = self.reader.take() {
            // Its last words have been read when the pipe is closed.
            let _ = reader.join();
        }
        Ok(())
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        // Nothing to end where `finish` has waited for it.
        let _ = self.cargo.kill();
        let _ = self.cargo.wait();
    }
}

/// What cargo says, once it may be shown. Its errors are repeated by the build that follows.
fn pass_on(mut stderr: impl Read, shown: &AtomicBool) {
    let mut buffer = [0; 4096];
    while let Ok(n) = stderr.read(&mut buffer) {
        if n == 0 {
            break;
        }
        if shown.load(Ordering::Relaxed) && std::io::stderr().write_all(&buffer[..n]).is_err() {
            break;
        }
    }
}

/// Whether this process stands between cargo and rustc: then it is to become rustc, at once or when libtorch is here.
pub(crate) fn is_wrapper() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// Becomes the rustc that `args` begin with.
pub(crate) fn wrap(args: &[OsString]) -> Result<ExitCode> {
    let (rustc, rest) = args.split_first().context("cargo names no rustc")?;
    let package = std::env::var("CARGO_PKG_NAME").unwrap_or_default();
    if package == HELD && rest.iter().any(|arg| arg == "build_script_build") {
        let path = std::env::var_os(VARIABLE).context("cargo names no lock")?;
        // Free when setup is done, and when it has failed or was killed: then this fails by itself.
        drop(Lock::acquire(Path::new(&path), &|| ())?);
    }
    let mut command = Command::new(rustc);
    command.args(rest).env_remove(VARIABLE);
    become_it(command).with_context(|| format!("cannot run `{}`", rustc.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn what_does_not_need_libtorch_does_not_wait() {
        // The test's own process is no wrapper: nobody set the variable.
        assert!(!is_wrapper());
        assert!(wrap(&[]).is_err());
        let error = wrap(&["/nowhere/rustc".into(), "-vV".into()]).unwrap_err();
        assert!(error.to_string().contains("/nowhere/rustc"), "{error:#}");
    }

    #[test]
    #[cfg(unix)]
    fn output_is_shown_only_from_when_it_may_be() {
        let shown = AtomicBool::new(false);
        // Reads to the end without a word.
        pass_on(&b"error: no libtorch\n"[..], &shown);
        assert!(!shown.load(Ordering::Relaxed));
    }
}

//! What can go wrong with a run directory.

use std::io;
use std::path::{Path, PathBuf};

/// An error of writing or reading a run's files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The directory is there already and is never written into.
    #[error(
        "run directory `{}` exists\n\nhint: give another with --run DIR; an earlier run is never overwritten", .path.display()
    )]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// Another process is writing to it.
    #[error("run directory `{}` is in use: the run is still going on", .path.display())]
    Busy {
        /// The directory.
        path: PathBuf,
    },
    /// It is not there.
    #[error("there is no directory `{}`", .path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// It holds no run.
    #[error("`{}` is not the directory of a run: it has no manifest.json and spec.json", .path.display())]
    NoRun {
        /// The directory.
        path: PathBuf,
    },
    /// A newer version wrote it.
    #[error(
        "the run in `{}` has format {format}, this version knows up to {newest}\n\nhint: use a newer `tl`", .path.display()
    )]
    Newer {
        /// The directory.
        path: PathBuf,
        /// Its format.
        format: u64,
        /// The newest that is known.
        newest: u64,
    },
    /// The disk is full.
    #[error(
        "no space left on the disk while writing `{}`\n\nhint: free some space or give a directory elsewhere with --run DIR",
        .path.display()
    )]
    NoSpace {
        /// The file.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("failed to {action} `{}`", .path.display())]
    Io {
        /// What was tried: `write`, `create`, `read`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A file of a run is not what it should be.
    #[error("`{}` is not a valid {what}: {reason}", .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// Where it departs from that.
        reason: String,
    },
}

impl RunError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { path },
            _ => Self::Io { action, path, source },
        }
    }
}

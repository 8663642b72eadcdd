//! Bytes from elsewhere onto this machine, whole or not at all.
//!
#![doc = include_str!("../README.md")]
//!
//! Three ways in: [`http`] (resumable, checked), [`python`] packages by name (pip decides where they are, and its
//! configuration is honoured), and archives: [`unzip`] for members of one's choice, [`extract`] for all of one. The one
//! decision: a file appears under its own name only when its length and, where known, its sha256 are right. Until then
//! it is `NAME.part`, which a later call goes on with, even in another process.
//!
//! Nothing here prints: a caller that wants to show progress passes an [`Observer`].

mod archive;
mod disk;
mod error;
mod extract;
mod http;
pub mod python;
mod tarball;

use std::env;
use std::path::{Path, PathBuf};

pub use archive::unzip;
pub use disk::{Lock, free_bytes, md5_file, sha256_file, write_whole};
pub use error::FetchError;
pub use extract::{Extracted, Limits, extract};
pub use http::{http, reachable};

/// What a transfer reports while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// Something begins: `at` is where it goes on from, `total` its length; both in bytes.
    Start {
        /// What is transferred, for a person.
        what: &'a str,
        /// The length in bytes, when known.
        total: Option<u64>,
        /// Bytes that are here already.
        at: u64,
    },
    /// `at` bytes are here; less than before when a transfer had to start over.
    Advance {
        /// Bytes that are here.
        at: u64,
    },
    /// The transfer that began last is complete.
    Finish,
}

/// Told of every [`Progress`]; [`quiet`] is the one that does nothing.
pub type Observer<'a> = &'a dyn Fn(Progress<'_>);

/// An [`Observer`] that does nothing.
pub fn quiet(_: Progress<'_>) {}

/// A file that has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Where it lies.
    pub path: PathBuf,
    /// Its sha256, in lower-case hex.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
}

impl Fetched {
    /// Describes a complete file on this machine.
    ///
    /// # Errors
    /// When `path` cannot be read.
    pub fn of(path: &Path) -> Result<Self, FetchError> {
        let bytes = std::fs::metadata(path).map_err(|e| FetchError::io("read", path, e))?.len();
        Ok(Self { path: path.to_owned(), sha256: sha256_file(path)?, bytes })
    }
}

/// The folder of everything that this project downloads: `$TL_HOME`, else `transfer-learning` in `$XDG_CACHE_HOME`,
/// else in `~/.cache` (`~/Library/Caches` on macOS). It is not created here.
///
/// # Errors
/// When none of these variables is set, nor `HOME`.
pub fn home() -> Result<PathBuf, FetchError> {
    home_from(&|name| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from))
}

fn home_from(var: &dyn Fn(&str) -> Option<PathBuf>) -> Result<PathBuf, FetchError> {
    let caches = if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" };
    let home = var("TL_HOME")
        .or_else(|| Some(var("XDG_CACHE_HOME")?.join("transfer-learning")))
        .or_else(|| Some(var("HOME")?.join(caches).join("transfer-learning")))
        .ok_or(FetchError::NoHome)?;
    std::path::absolute(&home).map_err(|e| FetchError::io("find", &home, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_prefers_the_project_variable() {
        let vars = |set: &'static [(&str, &str)]| {
            move |name: &str| set.iter().find(|(k, _)| *k == name).map(|(_, v)| PathBuf::from(v))
        };
        let all = vars(&[("TL_HOME", "/a"), ("XDG_CACHE_HOME", "/b"), ("HOME", "/c")]);
        assert_eq!(home_from(&all).unwrap(), PathBuf::from("/a"));
        let cache = vars(&[("XDG_CACHE_HOME", "/b"), ("HOME", "/c")]);
        assert_eq!(home_from(&cache).unwrap(), PathBuf::from("/b/transfer-learning"));
        assert!(home_from(&vars(&[("HOME", "/c")])).unwrap().starts_with("/c"));
        assert!(matches!(home_from(&vars(&[])), Err(FetchError::NoHome)));
    }
}

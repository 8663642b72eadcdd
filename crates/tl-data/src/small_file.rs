//! Reading a list or a split that somebody wrote: whole, as text.
//!
//! The one decision: a path may be anything, so only a regular file of a sensible size is read. A pipe would
//! wait for ever, a device never end.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use crate::error::DataError;

/// The largest file that is read whole, in bytes: 256 MiB, some millions of names.
const MOST: u64 = 256 << 20;

/// The bytes of a regular file.
///
/// # Errors
/// The file cannot be read, is not a regular one, or has more than 256 MiB.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    let refuse = |detail: String| io::Error::new(io::ErrorKind::InvalidInput, detail);
    let read = || {
        if !fs::metadata(path)?.is_file() {
            return Err(refuse("it is not a regular file".to_owned()));
        }
        let mut bytes = Vec::new();
        File::open(path)?.take(MOST + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MOST {
            return Err(refuse(format!("it is too large (expected at most {} MiB)", MOST >> 20)));
        }
        Ok(bytes)
    };
    read().map_err(|source| DataError::Read { path: path.to_owned(), source })
}

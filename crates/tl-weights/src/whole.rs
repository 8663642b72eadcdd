//! Files that appear whole or not at all. The decision: bytes go to a temporary file in the folder of the future one,
//! are hashed on the way, and get their name only after fsync, so that a name always means a complete file; what is
//! dropped before leaves nothing.

use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::error::{WeightsError, io_error};

/// A file that has been written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its length.
    pub bytes: u64,
    /// Its sha256, in lower-case hex.
    pub sha256: String,
}

/// What becomes of a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    Replace,
    Keep,
}

/// A file that has no name yet.
#[derive(Debug)]
pub(crate) struct Whole {
    path: PathBuf,
    out: BufWriter<NamedTempFile>,
    hash: Sha256,
    bytes: u64,
}

impl Whole {
    /// Begins the file `path`, in a folder that is there.
    pub(crate) fn begin(path: &Path) -> Result<Self, WeightsError> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = temporary_file(folder).map_err(io_error("write", path))?;
        let out = BufWriter::with_capacity(1 << 18, file);
        Ok(Self { path: path.to_owned(), out, hash: Sha256::new(), bytes: 0 })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), WeightsError> {
        self.out.write_all(bytes).map_err(|error| io_error("write", &self.path)(error))?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// The future name.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes so far; those of a write that failed do not count.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The sha256 of the bytes so far.
    pub(crate) fn sha256(&self) -> String {
        self.hash.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Gives the file its name.
    pub(crate) fn settle(self, existing: Existing) -> Result<Written, WeightsError> {
        let written = Written { bytes: self.bytes, sha256: self.sha256() };
        let Self { path, out, .. } = self;
        let failed = || io_error("write", &path);
        let file = out.into_inner().map_err(|error| failed()(error.into_error()))?;
        file.as_file().sync_all().map_err(failed())?;
        let named = match existing {
            Existing::Replace => file.persist(&path),
            Existing::Keep => file.persist_noclobber(&path),
        };
        match named {
            Ok(_) => Ok(written),
            Err(error) if error.error.kind() == ErrorKind::AlreadyExists => {
                Err(WeightsError::Exists { path })
            }
            Err(error) => Err(failed()(error.error)),
        }
    }
}

/// A temporary file that will have the usual permissions, not those of a secret.
fn temporary_file(folder: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.prefix(".weights-").tempfile_in(folder)
}

//! The file-system half: sha256, whole-file writes, free space, and a lock between processes.
//!
//! The lock is `flock` on a small file that is removed by its last holder, so nothing is left lying beside a download.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::FetchError;

/// The sha256 of a file, in lower-case hex.
///
/// # Errors
/// When `path` cannot be read.
pub fn sha256_file(path: &Path) -> Result<String, FetchError> {
    digest::<Sha256>(path)
}

/// The MD5 of a file, in lower-case hex: what older publishers state. It finds damage, not malice.
///
/// # Errors
/// When `path` cannot be read.
pub fn md5_file(path: &Path) -> Result<String, FetchError> {
    digest::<md5::Md5>(path)
}

fn digest<D: Digest>(path: &Path) -> Result<String, FetchError> {
    let mut file = File::open(path).map_err(|e| FetchError::io("read", path, e))?;
    let mut hash = D::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        let n = file.read(&mut buffer).map_err(|e| FetchError::io("read", path, e))?;
        if n == 0 {
            break;
        }
        hash.update(&buffer[..n]);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Writes a small file whole or not at all: temporary file, fsync, rename. Parent folders are made.
///
/// # Errors
/// When the folder cannot be written.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), FetchError> {
    let error = |e| FetchError::io("write", path, e);
    let parent = parent_of(path)?;
    let mut file = temporary(parent).map_err(error)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(error)?;
    file.persist(path).map_err(|e| error(e.error))?;
    Ok(())
}

/// A temporary file that, once it has its name, others may read, as with any other file.
pub(crate) fn temporary(dir: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(dir)
}

/// The folder of `path`, which is made when it is not there.
pub(crate) fn parent_of(path: &Path) -> Result<&Path, FetchError> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(|e| FetchError::io("make", parent, e))?;
    Ok(parent)
}

/// `path` with `suffix` put behind its file name.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Bytes that may still be written where `path` is or will be; `None` where the system does not tell.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let there = path.ancestors().find(|p| p.exists())?;
    #[cfg(unix)]
    {
        let stat = rustix::fs::statvfs(there).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = there;
        None
    }
}

/// Keeps other processes that want the same lock file waiting, until it is dropped (or this process ends).
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Takes the lock; `busy` is called once if another process has it.
    ///
    /// # Errors
    /// When `path` cannot be made or locked.
    pub fn acquire(path: &Path, busy: &dyn Fn()) -> Result<Self, FetchError> {
        let error = |e| FetchError::io("lock", path, e);
        parent_of(path)?;
        loop {
            let file = File::options().create(true).truncate(false).write(true).open(path).map_err(error)?;
            lock(&file, busy).map_err(error)?;
            // The holder before us may have removed the file that we waited for.
            if is_still(&file, path) {
                return Ok(Self { path: path.to_owned(), _file: file });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Still locked, so nobody else holds it; if it cannot be removed, an empty file stays. That harms nobody.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(unix)]
fn lock(file: &File, busy: &dyn Fn()) -> std::io::Result<()> {
    use rustix::fs::{FlockOperation, flock};
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => {
            busy();
            loop {
                match flock(file, FlockOperation::LockExclusive) {
                    Err(rustix::io::Errno::INTR) => {}
                    done => return Ok(done?),
                }
            }
        }
        // Some network file systems have no locks: go on without.
        Err(rustix::io::Errno::NOTSUP | rustix::io::Errno::NOSYS) => Ok(()),
        done => Ok(done?),
    }
}

#[cfg(unix)]
fn is_still(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(there)) => ours.ino() == there.ino() && ours.dev() == there.dev(),
        _ => false,
    }
}

#[cfg(not(unix))]
fn lock(_: &File, _: &dyn Fn()) -> std::io::Result<()> {
    Ok(())
}

#[cfg(not(unix))]
fn is_still(_: &File, _: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;

    #[test]
    fn sha256_of_known_text() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("abc");
        write_whole(&path, b"abc").unwrap();
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_file(&path).unwrap(), known);
        assert_eq!(md5_file(&path).unwrap(), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn free_space_of_a_folder_that_is_not_there_yet() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(free_bytes(&dir.path().join("a/b")).is_some(), cfg!(unix));
    }

    #[test]
    #[cfg(unix)]
    fn the_second_one_waits_and_nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        let first = Lock::acquire(&path, &|| ()).unwrap();
        let waited = std::thread::scope(|scope| {
            let second = scope.spawn(|| {
                let waited = Cell::new(false);
                let _lock = Lock::acquire(&path, &|| waited.set(true)).unwrap();
                waited.get()
            });
            std::thread::sleep(Duration::from_millis(100));
            drop(first);
            second.join().unwrap()
        });
        assert!(waited);
        assert!(!path.exists());
    }
}

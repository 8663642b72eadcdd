//! Writing a file whole or not at all.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::error::RunError;

/// Lets `write` fill a temporary file beside `path`, syncs it to disk, and only then gives it its name.
///
/// # Errors
/// Anything that `write` or the disk reports; `path` is then as it was before.
pub fn write_whole(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), RunError> {
    let failed = |error| RunError::io("write", path, error);
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temp = tempfile::Builder::new().prefix(".tmp-").tempfile_in(dir).map_err(failed)?;
    write(temp.as_file_mut()).map_err(failed)?;
    temp.as_file().sync_all().map_err(failed)?;
    make_readable(temp.as_file()).map_err(failed)?;
    temp.persist(path).map_err(|error| failed(error.error))?;
    // The rename itself must survive a power cut; not every file system can sync a directory, so a refusal is no error.
    if let Ok(dir) = File::open(dir) {
        let _ = dir.sync_all();
    }
    Ok(())
}

/// Temporary files are private to their owner; a run's files are as readable as others.
#[cfg(unix)]
fn make_readable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn make_readable(_: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("summary.json");
        write_whole(&path, |file| file.write_all(b"old")).unwrap();
        let error = write_whole(&path, |file| {
            file.write_all(b"new but")?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        })
        .unwrap_err();
        assert!(matches!(error, RunError::NoSpace { .. }), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}

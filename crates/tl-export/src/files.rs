//! Files and folders that appear whole or not at all. The decision: a file is written under a name of its own in the
//! folder where it will be, and renamed; a new folder likewise. A folder that is there is never removed: of what it holds
//! only files of the same names are replaced, each whole, and only if that was asked for.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tl_weights::Written;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::error::{ExportError, io};

/// What becomes of a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and the export fails.
    Keep,
    /// The new one takes its place.
    Replace,
}

/// Writes `path`: `write` gets the name of an empty file to fill.
///
/// # Errors
/// The file is there and stays; the disk refuses; `write` fails. `path` is then as it was.
pub fn write_file(
    path: &Path,
    existing: Existing,
    write: impl FnOnce(&Path) -> Result<(), ExportError>,
) -> Result<Written, ExportError> {
    free(path, existing)?;
    let folder = parent(path);
    let file = temporary(0o666).tempfile_in(folder).map_err(io("write", path))?;
    write(file.path())?;
    let written = measure(file.path())?;
    // Opened anew: `write` may have put another file in the place of the first.
    fs::File::open(file.path()).and_then(|file| file.sync_all()).map_err(io("write", path))?;
    let settled = match existing {
        Existing::Replace => file.persist(path).map(drop),
        Existing::Keep => file.persist_noclobber(path).map(drop),
    };
    settled.map_err(|error| match error.error.kind() {
        std::io::ErrorKind::AlreadyExists => ExportError::Exists { path: path.to_owned() },
        _ => io("write", path)(error.error),
    })?;
    Ok(written)
}

/// A folder of files that appears whole.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    existing: Existing,
    held: TempDir,
    files: Vec<(String, Written)>,
}

impl Folder {
    /// Begins the folder `path`.
    ///
    /// # Errors
    /// It is there, is not empty and stays; it is a file; the disk refuses.
    pub fn begin(path: &Path, existing: Existing) -> Result<Self, ExportError> {
        let empty = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
        let replaced = path.is_dir() && existing == Existing::Replace;
        if path.symlink_metadata().is_ok() && !empty && !replaced {
            return Err(ExportError::Exists { path: path.to_owned() });
        }
        let held = temporary(0o777).tempdir_in(parent(path)).map_err(io("write", path))?;
        Ok(Self { path: path.to_owned(), existing, held, files: Vec::new() })
    }

    /// Begins a folder that becomes the file `path`, with [`Folder::zip`].
    ///
    /// # Errors
    /// There is something of that name, which stays; the disk refuses.
    pub fn in_file(path: &Path, existing: Existing) -> Result<Self, ExportError> {
        free(path, existing)?;
        let held = temporary(0o777).tempdir_in(parent(path)).map_err(io("write", path))?;
        Ok(Self { path: path.to_owned(), existing, held, files: Vec::new() })
    }

    /// Writes all of it as one zip file, in a folder of the file's name without its ending. The bytes are a function of the
    /// files.
    ///
    /// # Errors
    /// The disk refuses; the file is there and stays.
    pub fn zip(self) -> Result<Written, ExportError> {
        let Self { path, existing, held, files } = self;
        let top = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        write_file(&path, existing, |to| {
            let failed = |error: zip::result::ZipError| io("write", to)(error.into());
            let mut zip = ZipWriter::new(fs::File::create(to).map_err(io("write", to))?);
            for (name, written) in &files {
                // Weights do not shrink, and a zip that need not be unpacked is read as fast as a folder.
                let method = match name.ends_with(".safetensors") {
                    true => CompressionMethod::Stored,
                    false => CompressionMethod::Deflated,
                };
                let options = SimpleFileOptions::default().compression_method(method).unix_permissions(0o644);
                let options = options.large_file(written.bytes >= u64::from(u32::MAX));
                zip.start_file(format!("{top}/{name}"), options).map_err(failed)?;
                let from = held.path().join(name);
                let mut file = fs::File::open(&from).map_err(io("read", &from))?;
                std::io::copy(&mut file, &mut zip).map_err(io("write", to))?;
            }
            zip.finish().map_err(failed)?;
            Ok(())
        })
    }

    /// Adds a file, which may lie in a folder of its own (`a/b`): `write` gets the name to write to.
    ///
    /// # Errors
    /// `write` fails, or the disk refuses.
    pub fn add<E>(&mut self, name: &str, write: impl FnOnce(&Path) -> Result<(), E>) -> Result<(), E>
    where
        E: From<ExportError>,
    {
        let path = self.held.path().join(name);
        fs::create_dir_all(parent(&path)).map_err(io("write", &path))?;
        write(&path)?;
        self.files.push((name.to_owned(), measure(&path)?));
        Ok(())
    }

    /// Adds a file of text.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn add_text(&mut self, name: &str, text: &str) -> Result<(), ExportError> {
        let write = |path: &Path| {
            let mut file = fs::File::create(path).map_err(io("write", path))?;
            file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io("write", path))
        };
        self.add(name, write)
    }

    /// Gives the folder its name, and says what is in it.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn settle(self) -> Result<Vec<(String, Written)>, ExportError> {
        let Self { path, existing, held, files } = self;
        if path.is_dir() && existing == Existing::Replace {
            for (name, _) in &files {
                let to = path.join(name);
                fs::create_dir_all(parent(&to)).map_err(io("write", &to))?;
                fs::rename(held.path().join(name), &to).map_err(io("write", &to))?;
            }
            return Ok(files);
        }
        let held = held.keep();
        // An empty folder gives way; a full one does not.
        fs::rename(&held, &path).map_err(|error| {
            let _ = fs::remove_dir_all(&held);
            io("write", &path)(error)
        })?;
        Ok(files)
    }
}

/// Fails if there is something of that name, unless a file may be replaced.
fn free(path: &Path, existing: Existing) -> Result<(), ExportError> {
    match fs::symlink_metadata(path) {
        Ok(found) if existing == Existing::Keep || found.is_dir() => {
            Err(ExportError::Exists { path: path.to_owned() })
        }
        _ => Ok(()),
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// With the usual permissions, less what the user's mask takes away, and not those of a secret.
fn temporary<'a, 'b>(mode: u32) -> tempfile::Builder<'a, 'b> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".export-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(mode));
    }
    #[cfg(not(unix))]
    let _ = mode;
    builder
}

fn measure(path: &Path) -> Result<Written, ExportError> {
    let mut file = fs::File::open(path).map_err(io("read", path))?;
    let (mut hash, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 18]);
    loop {
        let n = file.read(&mut buffer).map_err(io("read", path))?;
        if n == 0 {
            break;
        }
        hash.update(&buffer[..n]);
        bytes += n as u64;
    }
    let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Written { bytes, sha256 })
}

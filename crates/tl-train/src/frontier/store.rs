//! Activations on disk, by what they were computed from: a second run finds what the first has computed.
//!
//! The decision behind it: a file is named by the sha256 of everything that its values depend on, so nothing in here can
//! be stale, only unused; what was used longest ago goes when room is needed. A file gets its name when it is whole, and
//! its values are believed only after their checksum. Rows are read where they lie, not mapped into memory: a file that
//! someone cuts short is then an error and not the end of the process.

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::error::TrainError;

const MAGIC: &[u8; 8] = b"TLFEAT01";
/// Magic, number of rows, values in a row.
const HEADER: usize = 24;
const CHECKSUM: usize = 4;
const EXTENSION: &str = "features";
/// How the names of files begin that are not whole.
const UNNAMED: &str = ".tmp-";

/// A folder of activations, and how much may be in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureStore {
    dir: PathBuf,
    budget: u64,
    /// What besides weights and images decides the last bits: processor, threads, version of libtorch.
    machine: String,
}

/// Rows of values in a file.
#[derive(Debug)]
pub(crate) struct StoredRows {
    file: File,
    path: PathBuf,
    rows: u64,
    width: u64,
}

/// Rows that are being written.
#[derive(Debug)]
pub(crate) struct RowWriter {
    out: BufWriter<NamedTempFile>,
    checksum: crc32fast::Hasher,
    path: PathBuf,
}

impl FeatureStore {
    /// The store in `dir`, which is made if it is not there, with at most `budget` bytes in it. `machine` names what
    /// besides weights and images decides the last bits of activations.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(dir: &Path, budget: u64, machine: &str) -> Result<Self, TrainError> {
        fs::create_dir_all(dir).map_err(|error| refused(dir, "make", &error))?;
        clean(dir);
        Ok(Self { dir: dir.to_owned(), budget, machine: machine.to_owned() })
    }

    /// The most bytes that may be in it.
    #[must_use]
    pub fn budget(&self) -> u64 {
        self.budget
    }

    /// The name of what depends on these parts and on the machine.
    pub(crate) fn key(&self, parts: &[&str]) -> String {
        let mut hash = Sha256::new();
        for part in [self.machine.as_str()].iter().chain(parts) {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Rows that are there, whole, and of this number and width. Anything else in their place is removed.
    pub(crate) fn get(&self, key: &str, (rows, width): (u64, u64)) -> Option<StoredRows> {
        let path = self.path(key);
        let mut file = File::open(&path).ok()?;
        if !is_whole(&mut file, (rows, width)).unwrap_or(false) {
            let _ = fs::remove_file(&path);
            return None;
        }
        // What was used last goes last; a folder that cannot be written to still serves.
        let _ = file.set_modified(SystemTime::now());
        Some(StoredRows { file, path, rows, width })
    }

    /// Begins to write rows, if there is room for them when others go.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn writer(
        &self,
        key: &str,
        (rows, width): (u64, u64),
    ) -> Result<Option<RowWriter>, TrainError> {
        let bytes = file_bytes(rows, width);
        if bytes > self.budget || tl_fetch::free_bytes(&self.dir).is_some_and(|free| free < bytes * 2) {
            return Ok(None);
        }
        self.make_room(bytes);
        let refused = |error| refused(&self.dir, "write to", &error);
        let file = tempfile::Builder::new().prefix(UNNAMED).tempfile_in(&self.dir).map_err(refused)?;
        let mut out = BufWriter::with_capacity(1 << 18, file);
        let header = [*MAGIC, rows.to_le_bytes(), width.to_le_bytes()].concat();
        out.write_all(&header).map_err(refused)?;
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&header);
        Ok(Some(RowWriter { out, checksum, path: self.path(key) }))
    }

    /// Removes what was used longest ago until so many bytes fit.
    fn make_room(&self, bytes: u64) {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let mut files: Vec<(SystemTime, PathBuf, u64)> = entries
            .filter(|entry| entry.path().extension().is_some_and(|extension| extension == EXTENSION))
            .filter_map(|entry| {
                let about = entry.metadata().ok()?;
                Some((about.modified().ok()?, entry.path(), about.len()))
            })
            .collect();
        files.sort();
        let mut held: u64 = files.iter().map(|(.., len)| len).sum();
        for (_, path, len) in files {
            if held.saturating_add(bytes) <= self.budget {
                break;
            }
            if fs::remove_file(path).is_ok() {
                held -= len;
            }
        }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.dir.join(format!("{key}.{EXTENSION}"))
    }
}

impl RowWriter {
    /// Adds rows.
    pub(crate) fn write(&mut self, values: &[f32]) -> Result<(), TrainError> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.checksum.update(&bytes);
        self.out.write_all(&bytes).map_err(|error| refused(&self.path, "write", &error))
    }

    /// Gives the file its name. Not synced to the disk: after a power cut the checksum tells.
    pub(crate) fn finish(mut self) -> Result<(), TrainError> {
        let refused = |error| refused(&self.path, "write", &error);
        self.out.write_all(&self.checksum.finalize().to_le_bytes()).map_err(refused)?;
        let file = self.out.into_inner().map_err(|error| refused(error.into_error()))?;
        file.persist(&self.path).map_err(|error| refused(error.error))?;
        Ok(())
    }
}

impl StoredRows {
    /// The values of these runs of rows, given by their first row and their number, one after the other.
    pub(crate) fn read(&self, runs: &[(u64, u64)]) -> Result<Vec<f32>, TrainError> {
        let row = self.width as usize * size_of::<f32>();
        let rows: u64 = runs.iter().map(|(_, len)| *len).sum();
        let mut values = Vec::with_capacity(rows as usize * self.width as usize);
        let mut bytes = Vec::new();
        for &(start, len) in runs {
            bytes.resize(len as usize * row, 0);
            let at = HEADER as u64 + start * row as u64;
            read_at(&self.file, &mut bytes, at).map_err(|error| refused(&self.path, "read", &error))?;
            values.extend(bytes.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)));
        }
        Ok(values)
    }

    /// All rows in order, handed on a few at a time.
    pub(crate) fn each(&self, mut take: impl FnMut(u64, Vec<f32>)) -> Result<(), TrainError> {
        const AT_ONCE: u64 = 64;
        for start in (0..self.rows).step_by(AT_ONCE as usize) {
            take(start, self.read(&[(start, AT_ONCE.min(self.rows - start))])?);
        }
        Ok(())
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.rows * self.width * size_of::<f32>() as u64
    }
}

/// Removes what a process that was killed had begun to write, if it can be no one's any more.
fn clean(dir: &Path) {
    const OLD: Duration = Duration::from_secs(24 * 3600);
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let age =
            entry.metadata().and_then(|about| about.modified()).ok().and_then(|time| time.elapsed().ok());
        if entry.file_name().to_string_lossy().starts_with(UNNAMED) && age.is_some_and(|age| age > OLD) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn file_bytes(rows: u64, width: u64) -> u64 {
    HEADER as u64 + rows * width * size_of::<f32>() as u64 + CHECKSUM as u64
}

/// Whether the file is what its header and its checksum say.
fn is_whole(file: &mut File, (rows, width): (u64, u64)) -> std::io::Result<bool> {
    if file.metadata()?.len() != file_bytes(rows, width) {
        return Ok(false);
    }
    let mut left = file_bytes(rows, width) - CHECKSUM as u64;
    let (mut checksum, mut buffer) = (crc32fast::Hasher::new(), vec![0; 1 << 20]);
    let mut first = true;
    while left > 0 {
        let n = left.min(buffer.len() as u64) as usize;
        file.read_exact(&mut buffer[..n])?;
        if first && buffer[..HEADER] != [*MAGIC, rows.to_le_bytes(), width.to_le_bytes()].concat() {
            return Ok(false);
        }
        (first, left) = (false, left - n as u64);
        checksum.update(&buffer[..n]);
    }
    let mut stored = [0; CHECKSUM];
    file.read_exact(&mut stored)?;
    Ok(stored == checksum.finalize().to_le_bytes())
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], at: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

#[cfg(not(unix))]
fn read_at(file: &File, bytes: &mut [u8], at: u64) -> std::io::Result<()> {
    use std::io::{Seek, SeekFrom};
    let mut file = file.try_clone()?;
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(bytes)
}

fn refused(path: &Path, what: &'static str, error: &std::io::Error) -> TrainError {
    TrainError::Store { path: path.to_owned(), what, reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(store: &FeatureStore, key: &str, value: f32) {
        let mut writer = store.writer(key, (3, 2)).unwrap().unwrap();
        writer.write(&[value, 1.0]).unwrap();
        writer.write(&[2.0, 3.0, 4.0, -0.0]).unwrap();
        writer.finish().unwrap();
    }

    #[test]
    fn rows_come_back_and_damage_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let store = FeatureStore::open(&dir.path().join("a/b"), 1000, "cpu").unwrap();
        let key = store.key(&["net", "images"]);
        assert!(store.get(&key, (3, 2)).is_none());
        put(&store, &key, 0.5);
        let rows = store.get(&key, (3, 2)).unwrap();
        assert_eq!(rows.read(&[(2, 1), (0, 1)]).unwrap(), [4.0, -0.0, 0.5, 1.0]);
        let mut all = Vec::new();
        rows.each(|at, values| all.push((at, values))).unwrap();
        assert_eq!(all, [(0, vec![0.5, 1.0, 2.0, 3.0, 4.0, -0.0])]);

        let path = store.path(&key);
        let mut bytes = fs::read(&path).unwrap();
        bytes[HEADER + 1] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert!(store.get(&key, (3, 2)).is_none() && !path.exists());
        put(&store, &key, 0.5);
        assert!(store.get(&key, (2, 3)).is_none(), "another shape");
    }

    #[test]
    fn what_was_used_longest_ago_goes() {
        let dir = tempfile::tempdir().unwrap();
        let one = file_bytes(3, 2);
        let store = FeatureStore::open(dir.path(), 2 * one, "cpu").unwrap();
        for (age, key) in [(30, "old"), (20, "older-but-used"), (10, "new")] {
            put(&store, key, 1.0);
            let time = SystemTime::now() - std::time::Duration::from_secs(age);
            File::open(store.path(key)).unwrap().set_modified(time).unwrap();
            if key == "older-but-used" {
                fs::remove_file(store.path("old")).unwrap();
            }
        }
        assert!(store.get("older-but-used", (3, 2)).is_some());
        put(&store, "newest", 1.0);
        let names = ["older-but-used", "new", "newest"];
        assert_eq!(names.map(|key| store.path(key).exists()), [true, false, true]);
        // More than all of the room is never begun.
        assert!(store.writer("large", (100, 100)).unwrap().is_none());
    }

    #[test]
    fn a_key_tells_parts_and_machines_apart() {
        let dir = tempfile::tempdir().unwrap();
        let on = |machine| FeatureStore::open(dir.path(), 1, machine).unwrap();
        assert_ne!(on("a").key(&["bc", "d"]), on("a").key(&["b", "cd"]));
        assert_ne!(on("a").key(&["b"]), on("c").key(&["b"]));
        assert_eq!(on("a").key(&["b"]), on("a").key(&["b"]));
    }
}

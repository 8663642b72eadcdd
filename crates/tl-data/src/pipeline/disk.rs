//! Decoded images as files.
//!
//! The one decision: the folder is a cache and nothing else, so nothing in it is ever believed. A file has a checksum of
//! its pixels, appears under its name only when it is whole, and one that is odd in any way is as good as not there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use image::RgbImage;
use sha2::{Digest, Sha256};

use crate::decode::MAX_SIDE;
use crate::error::DataError;
use crate::scratch::Scratch;

/// Ends with the version of what is in the pixels: one more whenever decoding or shrinking gives other ones.
const MAGIC: [u8; 8] = *b"tlrgb001";
/// Magic, width, height, checksum.
const HEADER: usize = 20;
const EXTENSION: &str = "tlrgb";

#[derive(Debug)]
pub(super) struct DiskStore {
    dir: PathBuf,
    budget: u64,
    hits: AtomicU64,
    /// Tells temporary files of this process apart.
    written: AtomicU64,
    state: Mutex<State>,
}

/// What is in the folder, as far as this process knows.
#[derive(Debug, Default)]
struct State {
    /// Bytes by name.
    files: BTreeMap<String, u64>,
    bytes: u64,
    /// Files of earlier runs that this one has not used, oldest first.
    unused: BTreeSet<(SystemTime, String)>,
    times: BTreeMap<String, SystemTime>,
}

impl State {
    fn use_up(&mut self, name: &str) {
        if let Some(time) = self.times.remove(name) {
            self.unused.remove(&(time, name.to_owned()));
        }
    }

    fn forget(&mut self, name: &str) {
        self.use_up(name);
        self.bytes -= self.files.remove(name).unwrap_or(0);
    }
}

impl DiskStore {
    pub(super) fn open(dir: &Path, budget: u64) -> Result<Self, DataError> {
        let failed = |source| DataError::Read { path: dir.to_owned(), source };
        fs::create_dir_all(dir).map_err(failed)?;
        let mut state = State::default();
        for entry in fs::read_dir(dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let Ok(metadata) = entry.metadata() else { continue };
            let time = metadata.modified().unwrap_or(UNIX_EPOCH);
            if metadata.is_file() && is_left_over(&name, time) {
                let _ = fs::remove_file(entry.path());
            }
            if !metadata.is_file() || !is_entry(&name) {
                continue;
            }
            state.bytes += metadata.len();
            state.unused.insert((time, name.clone()));
            state.times.insert(name.clone(), time);
            state.files.insert(name, metadata.len());
        }
        let (hits, written, state) = (AtomicU64::new(0), AtomicU64::new(0), Mutex::new(state));
        Ok(Self { dir: dir.to_owned(), budget, hits, written, state })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.state.lock().map_or(0, |state| state.bytes)
    }

    pub(super) fn images(&self) -> usize {
        self.state.lock().map_or(0, |state| state.files.len())
    }

    pub(super) fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    pub(super) fn get(&self, path: &Path, shrink: Option<u32>, scratch: &mut Scratch) -> Option<RgbImage> {
        let name = name_of(path, shrink)?;
        if !self.state.lock().ok()?.files.contains_key(&name) {
            return None;
        }
        let image = read(&self.dir.join(&name), scratch);
        let mut state = self.state.lock().ok()?;
        if image.is_none() {
            // It will be written anew.
            state.forget(&name);
            return None;
        }
        state.use_up(&name);
        self.hits.fetch_add(1, Ordering::Relaxed);
        image
    }

    /// Writes the image if there is room. A failure leaves no file and no trace: it is only a cache.
    pub(super) fn put(&self, path: &Path, shrink: Option<u32>, image: &RgbImage) {
        let size = (HEADER + image.as_raw().len()) as u64;
        let Some(name) = name_of(path, shrink) else { return };
        if !self.make_room(&name, size) {
            return;
        }
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let temporary = self.dir.join(format!(".{name}.{}.{number}", std::process::id()));
        let written = write(&temporary, image).and_then(|()| fs::rename(&temporary, self.dir.join(&name)));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
            if let Ok(mut state) = self.state.lock() {
                state.forget(&name);
            }
        }
    }

    /// Counts the file as there, taking away others where they must give way; false if it does not fit, or is there.
    fn make_room(&self, name: &str, size: u64) -> bool {
        let Ok(mut state) = self.state.lock() else { return false };
        if state.files.contains_key(name) || size > self.budget {
            return false;
        }
        while state.bytes + size > self.budget {
            let Some((_, oldest)) = state.unused.pop_first() else { return false };
            if fs::remove_file(self.dir.join(&oldest)).is_err() && self.dir.join(&oldest).exists() {
                return false;
            }
            state.forget(&oldest);
        }
        state.bytes += size;
        state.files.insert(name.to_owned(), size);
        true
    }
}

fn is_entry(name: &str) -> bool {
    let stem = name.strip_suffix(EXTENSION).and_then(|stem| stem.strip_suffix('.'));
    stem.is_some_and(|stem| stem.len() == 40 && stem.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Whether it is a temporary file of a process that was killed: no image takes an hour to write.
fn is_left_over(name: &str, time: SystemTime) -> bool {
    let part = name.strip_prefix('.').and_then(|rest| rest.get(..41 + EXTENSION.len()));
    part.is_some_and(is_entry) && time.elapsed().is_ok_and(|age| age > Duration::from_secs(3600))
}

/// A name for a file's content as far as its path, size and time tell; `None` if it is not there.
fn name_of(path: &Path, shrink: Option<u32>) -> Option<String> {
    let metadata = path.metadata().ok()?;
    let time = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    let mut hash = Sha256::new();
    hash.update(MAGIC);
    hash.update(path.canonicalize().ok()?.as_os_str().as_encoded_bytes());
    for number in [metadata.len(), time.as_secs(), time.subsec_nanos().into(), shrink.unwrap_or(0).into()] {
        hash.update(number.to_le_bytes());
    }
    let hex: String = hash.finalize().iter().take(20).map(|byte| format!("{byte:02x}")).collect();
    Some(format!("{hex}.{EXTENSION}"))
}

fn write(path: &Path, image: &RgbImage) -> std::io::Result<()> {
    let mut file = File::options().write(true).create_new(true).open(path)?;
    let mut header = MAGIC.to_vec();
    for number in [image.width(), image.height(), crc32fast::hash(image.as_raw())] {
        header.extend(number.to_le_bytes());
    }
    file.write_all(&header)?;
    file.write_all(image.as_raw())
}

fn read(path: &Path, scratch: &mut Scratch) -> Option<RgbImage> {
    let mut file = File::open(path).ok()?;
    let mut header = [0; HEADER];
    file.read_exact(&mut header).ok()?;
    let number = |at: usize| Some(u32::from_le_bytes(header[at..at + 4].try_into().ok()?));
    let (width, height, checksum) = (number(8)?, number(12)?, number(16)?);
    let sides = 1..=MAX_SIDE;
    let fits = sides.contains(&width) && sides.contains(&height);
    let pixels = if fits { 3 * u64::from(width) * u64::from(height) } else { return None };
    if header[..8] != MAGIC || file.metadata().ok()?.len() != HEADER as u64 + pixels {
        return None;
    }
    let mut image = scratch.image(width, height);
    if file.read_exact(&mut image).is_err() || crc32fast::hash(&image) != checksum {
        scratch.recycle(image);
        return None;
    }
    Some(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(dir: &Path, name: &str) -> PathBuf {
        let path = dir.join(name);
        fs::write(&path, name).unwrap();
        path
    }

    #[test]
    fn files_outlive_the_process_and_odd_ones_are_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let (a, store) = (source(dir.path(), "a.jpg"), dir.path().join("cache"));
        let image = RgbImage::from_fn(7, 5, |x, y| image::Rgb([x as u8, y as u8, 9]));
        let mut scratch = Scratch::default();
        let first = DiskStore::open(&store, 1000).unwrap();
        assert!(first.get(&a, None, &mut scratch).is_none());
        first.put(&a, None, &image);
        assert_eq!((first.images(), first.bytes()), (1, 125));
        fs::write(store.join("mine.txt"), "not of the cache").unwrap();
        let left = store.join(format!(".{}.77.0", name_of(&a, None).unwrap()));
        let old = SystemTime::now() - Duration::from_secs(7200);
        File::create(&left).unwrap().set_modified(old).unwrap();

        let second = DiskStore::open(&store, 1000).unwrap();
        assert!(!left.exists());
        assert_eq!(second.get(&a, None, &mut scratch).unwrap(), image);
        assert!(second.get(&a, Some(4), &mut scratch).is_none());
        assert_eq!((second.images(), second.hits()), (1, 1));

        let file = store.join(name_of(&a, None).unwrap());
        let whole = fs::read(&file).unwrap();
        let flipped =
            |at: usize| whole.iter().enumerate().map(|(i, byte)| byte ^ u8::from(i == at)).collect();
        let nothing = [&MAGIC[..], &[0; 12]].concat();
        let huge = [&MAGIC[..], &[255; 12]].concat();
        let damaged: [Vec<u8>; 6] = [flipped(0), flipped(9), flipped(60), flipped(124), nothing, huge];
        for bytes in damaged {
            fs::write(&file, &bytes).unwrap();
            let third = DiskStore::open(&store, 1000).unwrap();
            assert!(third.get(&a, None, &mut scratch).is_none());
            third.put(&a, None, &image);
            assert_eq!(third.get(&a, None, &mut scratch).unwrap(), image);
        }
        // A changed source has another name.
        fs::write(&a, "another picture").unwrap();
        assert!(second.get(&a, None, &mut scratch).is_none());
        assert!(store.join("mine.txt").exists());
    }

    #[test]
    fn what_this_run_used_stays_and_the_oldest_of_others_goes() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("cache");
        let image = RgbImage::new(10, 10);
        let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| source(dir.path(), name));
        let mut scratch = Scratch::default();
        let first = DiskStore::open(&store, 2 * 320).unwrap();
        for path in [&a, &b, &c] {
            first.put(path, None, &image);
        }
        assert_eq!((first.images(), first.get(&c, None, &mut scratch).is_some()), (2, false));
        let second = DiskStore::open(&store, 2 * 320).unwrap();
        assert!(second.get(&a, None, &mut scratch).is_some());
        second.put(&c, None, &image);
        second.put(&d, None, &image);
        let there = [&a, &b, &c, &d].map(|path| second.get(path, None, &mut scratch).is_some());
        assert_eq!(there, [true, false, true, false]);
        assert_eq!(fs::read_dir(&store).unwrap().count(), 2);
    }
}

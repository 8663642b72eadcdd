//! Decoded images, kept in memory or on disk for the next epoch.
//!
//! The one decision: what is in stays in, and what does not fit stays out. Every epoch visits all images, so a cache that
//! drops the oldest for the newest would miss all of them; one that keeps what it has serves its share in every epoch.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use image::RgbImage;

use super::disk::DiskStore;
use crate::error::DataError;
use crate::scratch::Scratch;

/// Bytes that an entry takes beside its pixels, roughly.
const ENTRY: u64 = 256;

/// A handle to decoded images within a budget of bytes; clones share them. Lend it to every loader of a run.
///
/// An image is known by its path, and by the side that [`crate::LoaderOptions::shrink`] says. In memory, a file that
/// changes while it is in the cache is not read again; on disk, time and size of the file count as well. Batches are the
/// same with and without a cache.
#[derive(Debug, Clone)]
pub struct DecodedCache {
    store: Arc<Store>,
}

#[derive(Debug)]
enum Store {
    Memory(Kept),
    Disk(DiskStore),
}

/// A decoded image, of the cache or of this thread.
pub(super) enum Decoded {
    Shared(Arc<RgbImage>),
    Own(RgbImage),
}

impl Decoded {
    pub(super) fn image(&self) -> &RgbImage {
        match self {
            Self::Shared(image) => image,
            Self::Own(image) => image,
        }
    }
}

type ByPath = BTreeMap<PathBuf, Arc<RgbImage>>;

#[derive(Debug)]
struct Kept {
    budget: u64,
    bytes: AtomicU64,
    hits: AtomicU64,
    images: RwLock<BTreeMap<Option<u32>, ByPath>>,
}

impl DecodedCache {
    /// An empty cache in memory of at most `budget` bytes; an image takes 3 bytes a pixel.
    pub fn new(budget: u64) -> Self {
        let (bytes, hits) = (AtomicU64::new(0), AtomicU64::new(0));
        let kept = Kept { budget, bytes, hits, images: RwLock::default() };
        Self { store: Arc::new(Store::Memory(kept)) }
    }

    /// A cache of files in `dir` of at most `budget` bytes, with what earlier runs left there. Files of theirs that this
    /// one has not used make room, the oldest first; other files in the folder are not touched.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub fn on_disk(dir: &Path, budget: u64) -> Result<Self, DataError> {
        Ok(Self { store: Arc::new(Store::Disk(DiskStore::open(dir, budget)?)) })
    }

    /// Bytes in use.
    pub fn bytes(&self) -> u64 {
        match &*self.store {
            Store::Memory(kept) => kept.bytes.load(Ordering::Relaxed),
            Store::Disk(disk) => disk.bytes(),
        }
    }

    /// Images held.
    pub fn images(&self) -> usize {
        match &*self.store {
            Store::Memory(kept) => {
                kept.images.read().map_or(0, |images| images.values().map(BTreeMap::len).sum())
            }
            Store::Disk(disk) => disk.images(),
        }
    }

    /// How often an image was found here.
    pub fn hits(&self) -> u64 {
        match &*self.store {
            Store::Memory(kept) => kept.hits.load(Ordering::Relaxed),
            Store::Disk(disk) => disk.hits(),
        }
    }

    pub(super) fn get(&self, path: &Path, shrink: Option<u32>, scratch: &mut Scratch) -> Option<Decoded> {
        match &*self.store {
            Store::Memory(kept) => kept.get(path, shrink).map(Decoded::Shared),
            Store::Disk(disk) => disk.get(path, shrink, scratch).map(Decoded::Own),
        }
    }

    /// Takes the image in if there is room for it.
    pub(super) fn put(&self, path: &Path, shrink: Option<u32>, image: RgbImage) -> Decoded {
        match &*self.store {
            Store::Memory(kept) => kept.put(path, shrink, image).map_or_else(Decoded::Own, Decoded::Shared),
            Store::Disk(disk) => {
                disk.put(path, shrink, &image);
                Decoded::Own(image)
            }
        }
    }
}

impl Kept {
    fn get(&self, path: &Path, shrink: Option<u32>) -> Option<Arc<RgbImage>> {
        let images = self.images.read().ok()?;
        let found = images.get(&shrink)?.get(path).map(Arc::clone)?;
        self.hits.fetch_add(1, Ordering::Relaxed);
        Some(found)
    }

    /// Takes the image in, or gives it back if there is no room for it.
    fn put(&self, path: &Path, shrink: Option<u32>, image: RgbImage) -> Result<Arc<RgbImage>, RgbImage> {
        // A buffer that was used before may be larger than its image.
        let size = image.as_raw().len() as u64 + ENTRY;
        let room = |bytes: u64| bytes.checked_add(size).filter(|bytes| *bytes <= self.budget);
        let reserved = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room);
        let (Ok(_), Ok(mut images)) = (reserved, self.images.write()) else { return Err(image) };
        let (width, height) = image.dimensions();
        let mut raw = image.into_raw();
        raw.shrink_to_fit();
        let image = Arc::new(RgbImage::from_raw(width, height, raw).unwrap_or_default());
        let old = images.entry(shrink).or_default().insert(path.to_owned(), Arc::clone(&image));
        if old.is_some() {
            // Another thread was faster.
            self.bytes.fetch_sub(size, Ordering::Relaxed);
        }
        Ok(image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_what_fits_and_no_more() {
        let size = 300 + ENTRY;
        let cache = DecodedCache::new(2 * size + 10);
        let image = || RgbImage::new(10, 10);
        let mut scratch = Scratch::default();
        let shared = |decoded: Decoded| matches!(decoded, Decoded::Shared(_));
        assert!(shared(cache.put("a".as_ref(), None, image())));
        assert!(shared(cache.put("a".as_ref(), Some(8), image())));
        assert!(!shared(cache.put("b".as_ref(), None, image())));
        assert!(cache.clone().get("a".as_ref(), None, &mut scratch).is_some());
        assert!(cache.get("b".as_ref(), None, &mut scratch).is_none());
        assert_eq!((cache.images(), cache.bytes(), cache.hits()), (2, 2 * size, 1));
        let same = DecodedCache::new(2 * size);
        assert!(shared(same.put("a".as_ref(), None, image())));
        assert!(shared(same.put("a".as_ref(), None, image())));
        assert_eq!((same.images(), same.bytes()), (1, size));
    }
}

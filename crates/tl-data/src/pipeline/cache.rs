//! Decoded images, kept in memory for the next epoch.
//!
//! The one decision: what is in stays in, and what does not fit stays out. Every epoch visits all images, so a cache that
//! drops the oldest for the newest would miss all of them; one that keeps what it has serves its share in every epoch.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use image::RgbImage;

/// Bytes that an entry takes beside its pixels, roughly.
const ENTRY: u64 = 256;

/// A handle to decoded images within a budget of bytes; clones share them. Lend it to every loader of a run.
///
/// An image is known by its path, and by the side that [`crate::LoaderOptions::shrink`] says; a file that changes while
/// it is in the cache is not read again. Batches are the same with and without a cache.
#[derive(Debug, Clone)]
pub struct DecodedCache {
    kept: Arc<Kept>,
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
    /// An empty cache of at most `budget` bytes; an image takes 3 bytes a pixel.
    pub fn new(budget: u64) -> Self {
        let (bytes, hits) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { kept: Arc::new(Kept { budget, bytes, hits, images: RwLock::default() }) }
    }

    /// Bytes in use.
    pub fn bytes(&self) -> u64 {
        self.kept.bytes.load(Ordering::Relaxed)
    }

    /// Images held.
    pub fn images(&self) -> usize {
        self.kept.images.read().map_or(0, |images| images.values().map(BTreeMap::len).sum())
    }

    /// How often an image was found here.
    pub fn hits(&self) -> u64 {
        self.kept.hits.load(Ordering::Relaxed)
    }

    pub(super) fn get(&self, path: &Path, shrink: Option<u32>) -> Option<Arc<RgbImage>> {
        let images = self.kept.images.read().ok()?;
        let found = images.get(&shrink)?.get(path).map(Arc::clone)?;
        self.kept.hits.fetch_add(1, Ordering::Relaxed);
        Some(found)
    }

    /// Takes the image in, or gives it back if there is no room for it.
    pub(super) fn put(
        &self,
        path: &Path,
        shrink: Option<u32>,
        image: RgbImage,
    ) -> Result<Arc<RgbImage>, RgbImage> {
        // A buffer that was used before may be larger than its image.
        let size = image.as_raw().len() as u64 + ENTRY;
        let room = |bytes: u64| bytes.checked_add(size).filter(|bytes| *bytes <= self.kept.budget);
        let reserved = self.kept.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room);
        let (Ok(_), Ok(mut images)) = (reserved, self.kept.images.write()) else { return Err(image) };
        let (width, height) = image.dimensions();
        let mut raw = image.into_raw();
        raw.shrink_to_fit();
        let image = Arc::new(RgbImage::from_raw(width, height, raw).unwrap_or_default());
        let old = images.entry(shrink).or_default().insert(path.to_owned(), Arc::clone(&image));
        if old.is_some() {
            // Another thread was faster.
            self.kept.bytes.fetch_sub(size, Ordering::Relaxed);
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
        assert!(cache.put("a".as_ref(), None, image()).is_ok());
        assert!(cache.put("a".as_ref(), Some(8), image()).is_ok());
        assert!(cache.put("b".as_ref(), None, image()).is_err());
        assert!(cache.clone().get("a".as_ref(), None).is_some());
        assert!(cache.get("b".as_ref(), None).is_none());
        assert_eq!((cache.images(), cache.bytes(), cache.hits()), (2, 2 * size, 1));
        let same = DecodedCache::new(2 * size);
        assert!(same.put("a".as_ref(), None, image()).is_ok());
        assert!(same.put("a".as_ref(), None, image()).is_ok());
        assert_eq!((same.images(), same.bytes()), (1, size));
    }
}

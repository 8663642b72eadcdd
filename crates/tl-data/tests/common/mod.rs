//! Folders of small images for the tests.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses its part; helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tl_data::RgbImage;

/// An image whose pixels depend on `seed`.
pub(crate) fn picture(width: u32, height: u32, seed: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let noise = (x * 31 + y * 17 + seed * 101).wrapping_mul(2_654_435_761) >> 27;
        image::Rgb([(x * 5 + seed * 40) as u8, (y * 7) as u8, (x + y + noise) as u8])
    })
}

/// Writes an image, with the folders above it.
pub(crate) fn put(dir: &Path, rel: &str, image: &RgbImage) -> PathBuf {
    let path = dir.join(rel);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image.save(&path).unwrap();
    path
}

/// Writes a file, with the folders above it.
pub(crate) fn put_bytes(dir: &Path, rel: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(rel);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

/// A new folder with a tiny image at each of `rels`.
pub(crate) fn tree(rels: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (i, rel) in rels.iter().enumerate() {
        put(dir.path(), rel, &picture(3, 2, i as u32));
    }
    dir
}

/// A new folder with `n` images of changing size in each of the classes `a` and `b`.
pub(crate) fn two_classes(n: u32) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..n {
        for (class, offset) in [("a", 0), ("b", 1000)] {
            let image = picture(40 + i % 7 * 9, 50 - i % 5 * 4, i + offset);
            put(dir.path(), &format!("{class}/{i:03}.jpg"), &image);
        }
    }
    dir
}

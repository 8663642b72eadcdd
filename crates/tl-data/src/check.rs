//! Looking at images before a run: do they all decode, and how large are they?
//!
//! The one decision: a run decodes every image once up front ([`verify`]) and names all the bad ones
//! together, rather than stopping at the first of them an hour later.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::decode::{DecodeWarning, decode_checked, dimensions, read};
use crate::error::DataError;
use crate::folder::Sample;
use crate::pool::DataPool;

/// How many headers [`probe`] reads at most.
const PROBED: usize = 200;

/// An image that cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadImage {
    /// The file.
    pub path: PathBuf,
    /// Why, in one line.
    pub reason: String,
}

/// Decodes every image in full and returns those that fail, or lack a part of their pixels, in the order of `samples`.
///
/// `progress` is called from the worker threads with the number of images done so far, once for each image.
/// The result does not depend on the number of threads.
pub fn verify(samples: &[Sample], pool: &DataPool, progress: &(dyn Fn(usize) + Sync)) -> Vec<BadImage> {
    let done = AtomicUsize::new(0);
    let check = |sample: &Sample| {
        let result = whole(&sample.path);
        progress(done.fetch_add(1, Ordering::Relaxed) + 1);
        result.err().map(|reason| BadImage { path: sample.path.clone(), reason })
    };
    pool.install(|| samples.par_iter().with_max_len(1).filter_map(check).collect())
}

/// Decodes a file; what is missing of a JPEG, which a decoder would fill with grey, is a fault here.
fn whole(path: &Path) -> Result<(), String> {
    let decoded = read(path).and_then(|bytes| decode_checked(&bytes)).map_err(|reason| reason.to_string())?;
    let missing =
        decoded.warnings.iter().find(|warning| matches!(warning, DecodeWarning::MissingBlocks { .. }));
    missing.map_or(Ok(()), |warning| Err(warning.to_string()))
}

/// The sizes of some images of a dataset, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeStats {
    /// The median of the shorter sides.
    pub median_short_side: u32,
    /// The smallest of the shorter sides.
    pub min: u32,
    /// The largest of the shorter sides.
    pub max: u32,
    /// How many images were looked at.
    pub images: usize,
}

/// Reads the headers of up to 200 evenly spaced images; images that cannot be read are left out.
///
/// # Errors
/// No image could be read; the error is that of the first.
pub fn probe(samples: &[Sample]) -> Result<SizeStats, DataError> {
    let count = samples.len().min(PROBED);
    let mut sides = Vec::with_capacity(count);
    let mut failure = None;
    for i in 0..count {
        match dimensions(&samples[i * samples.len() / count].path) {
            Ok((width, height)) => sides.push(width.min(height)),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    sides.sort_unstable();
    match (sides.first(), sides.last(), failure) {
        (Some(&min), Some(&max), _) => {
            Ok(SizeStats { median_short_side: sides[sides.len() / 2], min, max, images: sides.len() })
        }
        (.., Some(error)) => Err(error.into()),
        _ => Err(DataError::Option {
            option: "samples",
            got: "an empty list".to_owned(),
            expected: "at least one image".to_owned(),
        }),
    }
}

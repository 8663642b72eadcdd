//! One number for a dataset: which files, which bytes, which classes.
//!
//! The one decision: it is the sha256 of a listing made of what `sha256sum` writes and of class names, so it can
//! be made again without this program.

use std::fs::File;
use std::io;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::Sample;
use crate::error::DataError;
use crate::pool::DataPool;

/// The sha256, in hex, of one line `class NAME` per class followed by one line `SHA256  PATH`, NUL, `CLASS` per
/// sample, sorted by [`Sample::rel`]. Neither the order of the samples nor the number of threads matters.
///
/// This is version 2. Version 1 had no class behind the path, so that two tables with the same images and other
/// labels had the same sum.
///
/// # Errors
/// A label is no place in `classes`; or a file cannot be read, of several the first in the order of `samples` is
/// named.
pub fn fingerprint<'a>(
    samples: impl IntoIterator<Item = &'a Sample>,
    classes: &[String],
    pool: &DataPool,
) -> Result<String, DataError> {
    let samples: Vec<&Sample> = samples.into_iter().collect();
    let line = |sample: &&Sample| -> Result<(String, String, &str), DataError> {
        let Some(class) = classes.get(sample.label as usize) else {
            let (got, expected) = (sample.label.to_string(), format!("less than {}", classes.len()));
            return Err(DataError::Option { option: "label", got, expected });
        };
        let mut hasher = Sha256::new();
        File::open(&sample.path)
            .and_then(|mut file| io::copy(&mut file, &mut hasher))
            .map_err(|source| DataError::Read { path: sample.path.clone(), source })?;
        Ok((sample.rel.clone(), hex(&hasher.finalize()), class))
    };
    let results: Vec<_> = pool.install(|| samples.par_iter().with_max_len(1).map(line).collect());
    let mut lines = results.into_iter().collect::<Result<Vec<_>, _>>()?;
    lines.sort_unstable();

    let mut hasher = Sha256::new();
    for class in classes {
        hasher.update(format!("class {class}\n"));
    }
    for (rel, sha256, class) in &lines {
        hasher.update(format!("{sha256}  {rel}\0{class}\n"));
    }
    Ok(hex(&hasher.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

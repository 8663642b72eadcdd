//! One number for a dataset: which files, which bytes, which classes.
//!
//! The one decision: it is the sha256 of a listing made of what `sha256sum` writes and of class names, so it can
//! be made again without this program.

use std::borrow::Cow;
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
/// In place of its class a sample with a row of targets has another NUL and the values, parted by spaces, each as the
/// eight hex digits of its 32-bit float (`3f800000` is 1; there is no `-0`).
///
/// This is version 2. Version 1 had no class behind the path, so that two tables with the same images and other
/// labels had the same sum.
///
/// # Errors
/// A label is no place in `classes`, or a row of targets has not a value for each; or a file cannot be read, of several
/// the first in the order of `samples` is named.
pub fn fingerprint<'a>(
    samples: impl IntoIterator<Item = &'a Sample>,
    classes: &[String],
    pool: &DataPool,
) -> Result<String, DataError> {
    let samples: Vec<&Sample> = samples.into_iter().collect();
    let line = |sample: &&Sample| -> Result<(String, String, Cow<'_, str>), DataError> {
        let answer = answer(sample, classes)?;
        let mut hasher = Sha256::new();
        File::open(&sample.path)
            .and_then(|mut file| io::copy(&mut file, &mut hasher))
            .map_err(|source| DataError::Read { path: sample.path.clone(), source })?;
        Ok((sample.rel.clone(), hex(&hasher.finalize()), answer))
    };
    let results: Vec<_> = pool.install(|| samples.par_iter().with_max_len(1).map(line).collect());
    let mut lines = results.into_iter().collect::<Result<Vec<_>, _>>()?;
    lines.sort_unstable();

    let mut hasher = Sha256::new();
    for class in classes {
        hasher.update(format!("class {class}\n"));
    }
    for (rel, sha256, answer) in &lines {
        hasher.update(format!("{sha256}  {rel}\0{answer}\n"));
    }
    Ok(hex(&hasher.finalize()))
}

/// What stands behind the path: the class, or the row of targets.
fn answer<'a>(sample: &Sample, classes: &'a [String]) -> Result<Cow<'a, str>, DataError> {
    let Some(row) = &sample.target else {
        let class = classes.get(sample.label as usize).map(|class| Cow::Borrowed(class.as_str()));
        return class.ok_or_else(|| {
            let (got, expected) = (sample.label.to_string(), format!("less than {}", classes.len()));
            DataError::Option { option: "label", got, expected }
        });
    };
    if row.len() != classes.len() {
        let (got, expected) = (format!("{} values", row.len()), format!("one for each of {}", classes.len()));
        return Err(DataError::Option { option: "target", got, expected });
    }
    // Zero has one sign only.
    let digits: Vec<String> = row.iter().map(|value| format!("{:08x}", (value + 0.0).to_bits())).collect();
    Ok(Cow::Owned(format!("\0{}", digits.join(" "))))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

//! Rows of targets: how many images have each label, what presence counts in the loss, and the scale of numbers.
//!
//! The one decision: all of it is reckoned from the samples that are given, so that a caller who gives the training
//! images alone learns nothing of the others.

use serde::{Deserialize, Serialize};

use crate::error::DataError;
use crate::folder::Sample;

/// The least and the most that [`pos_weights`] gives. Beyond the most, a single image of a rare label would move the net
/// more than the rest of its batch.
pub const POS_WEIGHTS: (f64, f64) = (0.05, 20.0);

fn refuse<T>(option: &'static str, got: String, expected: &str) -> Result<T, DataError> {
    Err(DataError::Option { option, got, expected: expected.to_owned() })
}

/// The rows of targets of some samples, each of `columns` values.
fn rows(samples: &[Sample], columns: usize) -> Result<Vec<&[f32]>, DataError> {
    let row = |sample: &'_ Sample| match sample.target.as_deref() {
        Some(row) if row.len() == columns => Ok(()),
        Some(row) => refuse(
            "samples",
            format!("a list with {} targets for `{}`", row.len(), sample.rel),
            &format!("{columns} targets"),
        ),
        None => refuse(
            "samples",
            format!("a list with no targets for `{}`", sample.rel),
            "samples with a row of targets each",
        ),
    };
    samples.iter().try_for_each(row)?;
    Ok(samples.iter().filter_map(|sample| sample.target.as_deref()).collect())
}

/// How many images have each of `labels` labels: those with more than 0 in its column.
///
/// # Errors
/// A sample has no row of targets, or one of another length.
pub fn label_counts(samples: &[Sample], labels: usize) -> Result<Vec<u64>, DataError> {
    let mut counts = vec![0; labels];
    for row in rows(samples, labels)? {
        for (count, value) in counts.iter_mut().zip(row) {
            *count += u64::from(*value > 0.0);
        }
    }
    Ok(counts)
}

/// For each label how much its presence counts in the loss, where its absence counts 1: the images without it over those
/// with it, as PyTorch's `pos_weight` is commonly chosen, but never outside of [`POS_WEIGHTS`]. A label that no image has
/// gets 1, as there is no presence to weigh.
///
/// `counts` are those of [`label_counts`] over `images` images.
///
/// # Errors
/// A count is larger than `images`.
pub fn pos_weights(counts: &[u64], images: u64) -> Result<Vec<f64>, DataError> {
    let (least, most) = POS_WEIGHTS;
    let weight = |&count: &u64| match images.checked_sub(count) {
        None => refuse("counts", format!("a list with {count}"), &format!("at most {images}")),
        Some(_) if count == 0 => Ok(1.0),
        Some(without) => Ok((without as f64 / count as f64).clamp(least, most)),
    };
    counts.iter().map(weight).collect()
}

/// Mean and standard deviation of each target.
///
/// As JSON: `{"mean":[31.5],"std":[4.25]}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetStats {
    /// The means.
    pub mean: Vec<f64>,
    /// The standard deviations of these samples (divided by their number); 1 where all values are the same, so that one
    /// can divide by it.
    pub std: Vec<f64>,
}

/// Mean and standard deviation of each target, to standardise numbers before a net learns them: `(y - mean) / std`.
///
/// # Errors
/// There are no samples; or one has no row of targets, one of another length than the first, or a value that is not finite.
pub fn target_stats(samples: &[Sample]) -> Result<TargetStats, DataError> {
    let Some(first) = samples.first() else {
        return refuse("samples", "an empty list".to_owned(), "at least one sample");
    };
    let columns = first.target.as_ref().map_or(0, |row| row.len());
    let rows = rows(samples, columns)?;
    if let Some((sample, _)) = samples.iter().zip(&rows).find(|(_, row)| !row.iter().all(|x| x.is_finite())) {
        let got =
            format!("a list with {:?} for `{}`", sample.target.as_deref().unwrap_or_default(), sample.rel);
        return refuse("samples", got, "finite numbers");
    }
    let column = |column: usize| {
        let values = || rows.iter().map(|row| f64::from(row[column]));
        let mean = values().sum::<f64>() / rows.len() as f64;
        let variance = values().map(|value| (value - mean).powi(2)).sum::<f64>() / rows.len() as f64;
        // Not by the variance, which rounding may keep from being 0.
        let same = rows.iter().all(|row| row[column] == rows[0][column]);
        if same { (f64::from(rows[0][column]), 1.0) } else { (mean, variance.sqrt()) }
    };
    let (mean, std) = (0..columns).map(column).unzip();
    Ok(TargetStats { mean, std })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(rows: &[&[f32]]) -> Vec<Sample> {
        let sample = |(i, row): (usize, &&[f32])| {
            let name = format!("{i}.png");
            Sample { target: Some((*row).into()), ..Sample::new(name.clone().into(), 0, name) }
        };
        rows.iter().enumerate().map(sample).collect()
    }

    #[test]
    fn presence_is_weighed_within_bounds() {
        let with = samples(&[&[1.0, 0.0, 1.0], &[1.0, 0.0, 0.0], &[1.0, 0.0, 0.0], &[1.0, 0.0, 0.0]]);
        let counts = label_counts(&with, 3).unwrap();
        assert_eq!(counts, [4, 0, 1]);
        assert_eq!(pos_weights(&counts, 4).unwrap(), [POS_WEIGHTS.0, 1.0, 3.0]);
        assert_eq!(pos_weights(&[1, 50, 500], 1000).unwrap(), [POS_WEIGHTS.1, 19.0, 1.0]);
        let error = pos_weights(&[5], 4).unwrap_err().to_string();
        assert_eq!(error, "option `counts` is a list with 5 (expected at most 4)");
        let error = label_counts(&with, 2).unwrap_err().to_string();
        assert_eq!(error, "option `samples` is a list with 3 targets for `0.png` (expected 2 targets)");
    }

    #[test]
    fn numbers_have_a_scale() {
        // numpy: mean and std (ddof 0) of [1, 2, 6] and of [0.1, 0.1, 0.1].
        let stats = target_stats(&samples(&[&[1.0, 0.1], &[2.0, 0.1], &[6.0, 0.1]])).unwrap();
        assert_eq!((stats.mean[0], stats.std[1]), (3.0, 1.0));
        assert!((stats.std[0] - 2.160_246_899_469_287).abs() < 1e-12, "{stats:?}");
        assert_eq!(stats.mean[1], f64::from(0.1_f32));
        let large = target_stats(&samples(&[&[3e38], &[-3e38]])).unwrap();
        assert!(large.mean[0] == 0.0 && (large.std[0] / 3e38 - 1.0).abs() < 1e-6, "{large:?}");

        let mut bad = samples(&[&[1.0], &[f32::NAN]]);
        let error = target_stats(&bad).unwrap_err().to_string();
        assert_eq!(error, "option `samples` is a list with [NaN] for `1.png` (expected finite numbers)");
        bad[1].target = None;
        let error = target_stats(&bad).unwrap_err().to_string();
        assert!(
            error.contains("no targets for `1.png` (expected samples with a row of targets each)"),
            "{error}"
        );
        assert!(target_stats(&[]).is_err());
    }
}

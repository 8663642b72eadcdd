//! Metrics of answers that are numbers; of several targets the mean over them.
//!
//! The decision behind it: nothing is said of a target in its own units beyond the mean, because targets may have
//! different ones; whoever wants one target passes its column.

use super::{mean, width};

/// `[image][target]`.
type Rows<'a> = &'a [Vec<f32>];

/// Mean absolute error.
#[must_use]
pub fn mae(predicted: Rows<'_>, targets: Rows<'_>) -> Option<f64> {
    mean(&columns(predicted, targets, |pairs| mean(&errors(pairs).map(f64::abs).collect::<Vec<_>>()))?)
}

/// Root of the mean squared error; of several targets the mean of the roots.
#[must_use]
pub fn rmse(predicted: Rows<'_>, targets: Rows<'_>) -> Option<f64> {
    let root = |pairs: &[(f64, f64)]| Some((squares(errors(pairs)) / pairs.len() as f64).sqrt());
    mean(&columns(predicted, targets, root)?)
}

/// Coefficient of determination, at most 1: the share of the targets' variance that is explained; 0 for what says the
/// mean. A target that is the same for all images has no variance and is left out.
#[must_use]
pub fn r2(predicted: Rows<'_>, targets: Rows<'_>) -> Option<f64> {
    let explained = |pairs: &[(f64, f64)]| {
        let values: Vec<f64> = pairs.iter().map(|(_, target)| *target).collect();
        // By comparison, since a mean of equal numbers need not be that number.
        if values.windows(2).all(|pair| pair[0] == pair[1]) {
            return None;
        }
        let centre = mean(&values)?;
        Some(1.0 - squares(errors(pairs)) / squares(values.iter().map(|value| value - centre)))
    };
    mean(&columns(predicted, targets, explained)?)
}

/// What `of` says of each target, where it says anything.
fn columns(
    predicted: Rows<'_>,
    targets: Rows<'_>,
    of: impl Fn(&[(f64, f64)]) -> Option<f64>,
) -> Option<Vec<f64>> {
    let columns = width(predicted, targets.len())?;
    if width(targets, predicted.len())? != columns {
        return None;
    }
    let column = |i: usize| -> Vec<(f64, f64)> {
        let rows = predicted.iter().zip(targets);
        rows.map(|(predicted, target)| (f64::from(predicted[i]), f64::from(target[i]))).collect()
    };
    Some((0..columns).filter_map(|i| of(&column(i))).collect())
}

fn errors(pairs: &[(f64, f64)]) -> impl Iterator<Item = f64> {
    pairs.iter().map(|(predicted, target)| predicted - target)
}

fn squares(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum()
}

//! Classes of very different sizes: counts, class weights for the loss, and orders that draw rare classes more
//! often.
//!
//! The one decision: an order is a function of (seed, epoch) and of what it draws from, as every random thing
//! here is, and a class is drawn by whole numbers alone, so no rounding can favour one.

use std::collections::BTreeMap;

use crate::draw::{Operation, Stream};
use crate::error::DataError;
use crate::folder::Sample;

/// How much each class counts in the loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ClassWeighting {
    /// `n / (k * count)` for `n` images in `k` classes: each class counts the same in total, and the mean over
    /// the images is 1.
    Balanced,
    /// `(1 - beta) / (1 - beta^count)`, scaled so that the weights sum to the number of classes: the effective
    /// number of samples of Cui et al. 2019 (arXiv:1901.05555). 0 weighs all classes the same; near 1 it comes
    /// to weights in proportion to `1 / count`.
    EffectiveNumber {
        /// In 0..1 without 1; the paper takes 0.9 to 0.9999.
        beta: f64,
    },
}

fn refuse<T>(option: &'static str, got: String, expected: &str) -> Result<T, DataError> {
    Err(DataError::Option { option, got, expected: expected.to_owned() })
}

/// The class of each sample, to count or to draw evenly.
///
/// # Errors
/// A sample has a row of targets in place of a class: an image may have several labels or numbers, so that none of them
/// says how often it should be drawn.
pub fn class_labels(samples: &[Sample]) -> Result<Vec<u32>, DataError> {
    match samples.iter().find(|sample| sample.target.is_some()) {
        None => Ok(samples.iter().map(|sample| sample.label).collect()),
        Some(sample) => refuse(
            "samples",
            format!("a list with labels or numbers for `{}`", sample.rel),
            "one class for each image, as only classes can be drawn evenly",
        ),
    }
}

/// How many images each of `classes` classes has.
///
/// # Errors
/// A label is not below `classes`.
pub fn class_counts(labels: impl IntoIterator<Item = u32>, classes: usize) -> Result<Vec<u64>, DataError> {
    let mut counts = vec![0; classes];
    for label in labels {
        match counts.get_mut(label as usize) {
            Some(count) => *count += 1,
            None => return refuse("labels", format!("a list with {label}"), &format!("less than {classes}")),
        }
    }
    Ok(counts)
}

/// A weight for each class, from how many images it has.
///
/// # Errors
/// There are no classes, a class has no images, or `beta` is out of range.
pub fn class_weights(counts: &[u64], weighting: ClassWeighting) -> Result<Vec<f64>, DataError> {
    if let Some(class) = counts.iter().position(|&count| count == 0) {
        return refuse("counts", format!("0 for class {class}"), "at least one image of each class");
    }
    if counts.is_empty() {
        return refuse("counts", "an empty list".to_owned(), "at least one class");
    }
    let classes = counts.len() as f64;
    match weighting {
        ClassWeighting::Balanced => {
            let images: u64 = counts.iter().sum();
            Ok(counts.iter().map(|&count| images as f64 / (classes * count as f64)).collect())
        }
        ClassWeighting::EffectiveNumber { beta } if (0.0..1.0).contains(&beta) => {
            let raw: Vec<f64> =
                counts.iter().map(|&count| (1.0 - beta) / (1.0 - power(beta, count))).collect();
            let sum: f64 = raw.iter().sum();
            Ok(raw.iter().map(|weight| weight * classes / sum).collect())
        }
        ClassWeighting::EffectiveNumber { beta } => {
            refuse("beta", beta.to_string(), "at least 0 and less than 1")
        }
    }
}

/// `base` to the power of a whole number, from products alone, so that it is the same on every machine.
fn power(mut base: f64, mut exponent: u64) -> f64 {
    let mut product = 1.0;
    while exponent > 0 {
        if exponent & 1 == 1 {
            product *= base;
        }
        base *= base;
        exponent >>= 1;
    }
    product
}

/// `n` places in `labels`, as many of each class as of any other (give or take one), in random order. Within a class
/// every image comes as often as any other: none a second time before all have come once. Classes that no label has are
/// never drawn. A function of (labels, seed, epoch) alone.
///
/// # Errors
/// There are no labels, or more than 32 bits can number, and `n` is not 0.
pub fn balanced_order(labels: &[u32], n: usize, seed: u64, epoch: u64) -> Result<Vec<u32>, DataError> {
    check_places(labels.len(), n)?;
    let mut places: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (place, &label) in (0_u32..).zip(labels) {
        places.entry(label).or_default().push(place);
    }
    let mut classes: Vec<Vec<u32>> = places.into_values().collect();
    let mut stream = Stream::new(seed, epoch, 0, Operation::BalancedOrder);
    // Who gets one more is drawn as well.
    mix_up(&mut classes, &mut stream);
    let mut order = Vec::with_capacity(n);
    let (each, more) = (n / classes.len().max(1), n % classes.len().max(1));
    for (i, mut class) in classes.into_iter().enumerate() {
        let mut left = each + usize::from(i < more);
        while left > 0 {
            mix_up(&mut class, &mut stream);
            let taken = left.min(class.len());
            order.extend(&class[..taken]);
            left -= taken;
        }
    }
    mix_up(&mut order, &mut stream);
    Ok(order)
}

/// Fisher and Yates.
fn mix_up<T>(items: &mut [T], stream: &mut Stream) {
    for last in (1..items.len()).rev() {
        items.swap(last, stream.below(last as u32 + 1) as usize);
    }
}

/// `n` places in `weights`, drawn with replacement, each in proportion to its weight; a weight of 0 is never
/// drawn. A function of (weights, seed, epoch) alone.
///
/// # Errors
/// A weight is negative or not finite, all are 0, or there are more than 32 bits can number, and `n` is not 0.
pub fn weighted_order(weights: &[f64], n: usize, seed: u64, epoch: u64) -> Result<Vec<u32>, DataError> {
    check_places(weights.len(), n)?;
    if let Some(weight) = weights.iter().find(|weight| !(weight.is_finite() && **weight >= 0.0)) {
        return refuse("weights", format!("a list with {weight}"), "finite numbers from 0 on");
    }
    let sums: Vec<f64> = weights
        .iter()
        .scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        })
        .collect();
    let total = sums.last().copied().unwrap_or_default();
    // The last place with a weight, should the product below round up to the total.
    let last = weights.iter().rposition(|&weight| weight > 0.0);
    let (true, Some(last)) = (total.is_finite(), last) else {
        return if n == 0 {
            Ok(Vec::new())
        } else {
            refuse("weights", format!("a list of sum {total}"), "a finite sum above 0")
        };
    };
    let mut stream = Stream::new(seed, epoch, 0, Operation::WeightedOrder);
    let mut draw = || {
        let at = stream.unit() * total;
        sums.partition_point(|&sum| sum <= at).min(last) as u32
    };
    Ok((0..n).map(|_| draw()).collect())
}

/// Weights of images scaled so that their mean is 1; reckoned in 64 bits, so no sum is too large.
///
/// # Errors
/// A weight is negative or not finite, all are 0, or there are none.
pub fn mean_one(weights: &[f32]) -> Result<Vec<f32>, DataError> {
    if let Some(weight) = weights.iter().find(|weight| !(weight.is_finite() && **weight >= 0.0)) {
        return refuse("weights", format!("a list with {weight}"), "finite numbers from 0 on");
    }
    let sum: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
    if sum <= 0.0 {
        return refuse("weights", format!("a list of sum {sum}"), "a sum above 0");
    }
    let mean = sum / weights.len() as f64;
    Ok(weights.iter().map(|&weight| (f64::from(weight) / mean) as f32).collect())
}

fn check_places(places: usize, n: usize) -> Result<(), DataError> {
    if n > 0 && places == 0 {
        return refuse("samples", "an empty list".to_owned(), "at least one sample");
    }
    if u32::try_from(places).is_err() {
        return refuse("samples", format!("{places} samples"), "at most 2^32 - 1");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_orders_of_a_seed_never_change() {
        let labels = [0, 0, 0, 0, 0, 1, 7, 7];
        assert_eq!(balanced_order(&labels, 10, 42, 0).unwrap(), [6, 7, 4, 5, 5, 6, 5, 1, 7, 2]);
        assert_eq!(weighted_order(&[1.0, 0.0, 3.0], 10, 42, 0).unwrap(), [2, 0, 0, 0, 2, 2, 0, 2, 2, 2]);
    }

    #[test]
    fn only_classes_are_drawn_evenly() {
        let mut samples = [1, 0].map(|label| Sample::new("x.png".into(), label, "x.png".to_owned()));
        assert_eq!(class_labels(&samples).unwrap(), [1, 0]);
        samples[1].target = Some([1.0, 0.0].into());
        assert_eq!(
            class_labels(&samples).unwrap_err().to_string(),
            "option `samples` is a list with labels or numbers for `x.png` (expected one class for each image, as only \
             classes can be drawn evenly)"
        );
    }

    #[test]
    fn classes_are_drawn_alike() {
        let labels: Vec<u32> = (0..1000).map(|i| if i < 990 { 3 } else { 9 }).collect();
        let order = balanced_order(&labels, 20_000, 1, 2).unwrap();
        let rare = order.iter().filter(|&&place| place >= 990).count();
        assert_eq!(rare, 10_000);
        let times = |place: u32| order.iter().filter(|&&p| p == place).count();
        assert!((990..1000).all(|place| times(place) == 1000));
        assert!((0..990).all(|place| (10..=11).contains(&times(place))));
        assert_ne!(order, balanced_order(&labels, 20_000, 1, 3).unwrap());
        assert_ne!(order, balanced_order(&labels, 20_000, 2, 2).unwrap());
        assert_eq!(order, balanced_order(&labels, 20_000, 1, 2).unwrap());
        assert!(balanced_order(&[], 0, 1, 1).unwrap().is_empty());
        assert!(balanced_order(&[], 1, 1, 1).is_err());
    }

    #[test]
    fn weights_are_proportions() {
        let order = weighted_order(&[0.0, 1.0, 0.0, 3.0, 0.0], 40_000, 5, 0).unwrap();
        let count = |place: u32| order.iter().filter(|&&p| p == place).count();
        assert_eq!((count(0), count(2), count(4)), (0, 0, 0));
        assert!((9_700..10_300).contains(&count(1)), "{}", count(1));
        for bad in [&[1.0, -1.0][..], &[f64::NAN], &[f64::INFINITY], &[0.0, 0.0], &[f64::MAX, f64::MAX], &[]]
        {
            assert!(weighted_order(bad, 3, 0, 0).is_err(), "{bad:?}");
        }
        assert!(weighted_order(&[], 0, 0, 0).unwrap().is_empty());
    }

    #[test]
    fn weights_of_mean_one() {
        assert_eq!(mean_one(&[0.0, 1.0, 3.0]).unwrap(), [0.0, 0.75, 2.25]);
        assert_eq!(mean_one(&[f32::MAX; 3]).unwrap(), [1.0; 3]);
        for bad in [&[][..], &[0.0, 0.0], &[1.0, -1.0], &[f32::NAN], &[f32::INFINITY]] {
            assert!(mean_one(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn class_weights_are_those_of_the_papers() {
        assert_eq!(class_counts([0, 2, 2], 3).unwrap(), [1, 0, 2]);
        assert!(class_counts([3], 3).unwrap_err().to_string().contains("expected less than 3"));
        // scikit-learn: compute_class_weight("balanced", classes=[0, 1], y=[0] * 8 + [1] * 2).
        assert_eq!(class_weights(&[8, 2], ClassWeighting::Balanced).unwrap(), [0.625, 2.5]);
        let effective = |beta| class_weights(&[1, 2, 1000], ClassWeighting::EffectiveNumber { beta });
        assert_eq!(effective(0.0).unwrap(), [1.0; 3]);
        // (1 - 0.9) / (1 - 0.9^n) for n = 1, 2 and 1000 is 1, 1 / 1.9 and 0.1.
        let (weights, sum) = (effective(0.9).unwrap(), 1.0 + 1.0 / 1.9 + 0.1);
        for (weight, raw) in weights.iter().zip([1.0, 1.0 / 1.9, 0.1]) {
            assert!((weight - raw * 3.0 / sum).abs() < 1e-12, "{weights:?}");
        }
        let nearly = effective(1.0 - 1e-9).unwrap();
        assert!((nearly[0] / nearly[1] - 2.0).abs() < 1e-6);
        for beta in [1.0, -0.1, f64::NAN] {
            assert!(effective(beta).is_err());
        }
        for counts in [&[][..], &[1, 0]] {
            assert!(class_weights(counts, ClassWeighting::Balanced).is_err());
        }
    }
}

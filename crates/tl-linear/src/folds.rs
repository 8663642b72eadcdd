//! Folds for cross-validation, with the classes as even as can be.
//!
//! The one decision: the order within a class is a function of (seed, place) alone, and classes are dealt out one
//! behind the other, so that sizes differ by at most one.

/// The fold of each row, `0..k`.
///
/// The counts of a class in the folds differ by at most one, and so do their sizes.
pub fn stratified_folds(labels: &[u32], k: u32, seed: u64) -> Vec<u32> {
    let mut order: Vec<(u32, u64, usize)> =
        labels.iter().enumerate().map(|(row, &label)| (label, mixed(seed, row as u64), row)).collect();
    order.sort_unstable();
    let mut folds = vec![0; labels.len()];
    for ((_, _, row), fold) in order.into_iter().zip((0..k.max(1)).cycle()) {
        folds[row] = fold;
    }
    folds
}

/// Two rounds of SplitMix64 (Steele, Lea, Flood 2014).
fn mixed(seed: u64, row: u64) -> u64 {
    let mix = |value: u64| {
        let z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    mix(mix(seed) ^ row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_and_sizes_are_even() {
        let labels: Vec<u32> = (0..103).map(|i| if i % 7 == 0 { 2 } else { i % 2 }).collect();
        let folds = stratified_folds(&labels, 5, 1);
        let spread = |wanted: Option<u32>| {
            let count = |fold| {
                (0..103).filter(|&i| folds[i] == fold && wanted.is_none_or(|c| labels[i] == c)).count()
            };
            let counts = [0, 1, 2, 3, 4].map(count);
            counts.iter().max().unwrap() - counts.iter().min().unwrap()
        };
        assert!([None, Some(0), Some(1), Some(2)].into_iter().all(|wanted| spread(wanted) <= 1));
        assert_ne!(folds, stratified_folds(&labels, 5, 2));
        assert_eq!(folds, stratified_folds(&labels, 5, 1));
    }
}

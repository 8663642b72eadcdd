//! Numbers as labels: quantile bins, so that each side of a split gets small and large values alike.
//!
//! The one decision: equal values share a bin, however many there are of them, so a bin never depends on
//! the order of the rows.

/// At most this many bins for each column.
const MOST: usize = 10;

/// How many bins to make of `items` values, of which the smallest side of the split gets the part `smallest`:
/// so many that each bin has at least one value for that side, and no more than 10.
pub(super) fn bin_count(items: usize, smallest: f64) -> usize {
    ((items as f64 * smallest) as usize).clamp(1, MOST)
}

/// The bin of each value, `0..bins`.
pub(super) fn quantile_bins(values: &[f32], bins: usize) -> Vec<u32> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    let bin = |value: &f32| {
        let below = sorted.partition_point(|other| other.total_cmp(value).is_lt());
        (below * bins / sorted.len().max(1)) as u32
    };
    values.iter().map(bin).collect()
}

/// For rows of several numbers, one label for each column: `column * bins + bin`.
pub(super) fn column_bins(rows: &[&[f32]], bins: usize) -> Vec<Vec<u32>> {
    let columns = rows.iter().map(|row| row.len()).max().unwrap_or_default();
    let mut labels = vec![Vec::with_capacity(columns); rows.len()];
    for column in 0..columns {
        let values: Vec<f32> = rows.iter().map(|row| row.get(column).copied().unwrap_or_default()).collect();
        for (labels, bin) in labels.iter_mut().zip(quantile_bins(&values, bins)) {
            labels.push((column * bins) as u32 + bin);
        }
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_even_and_ties_stay_together() {
        let values: Vec<f32> = (0..100).map(|i| (i * 37 % 100) as f32).collect();
        let bins = quantile_bins(&values, 4);
        for bin in 0..4 {
            assert_eq!(bins.iter().filter(|&&b| b == bin).count(), 25);
        }
        assert_eq!(quantile_bins(&[1.0, 1.0, 1.0, 2.0], 2), [0, 0, 0, 1]);
        assert!(quantile_bins(&[], 3).is_empty());
        assert_eq!((bin_count(100, 0.2), bin_count(20, 0.2), bin_count(3, 0.1)), (10, 4, 1));
    }

    #[test]
    fn columns_have_labels_of_their_own() {
        let rows: [&[f32]; 2] = [&[1.0, 9.0], &[2.0, 8.0]];
        assert_eq!(column_bins(&rows, 2), [[0, 3], [1, 2]]);
    }
}

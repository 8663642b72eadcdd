//! Numbers to predict: their range, mean, and how they lie in it.
//!
//! The one decision: all parts together, in bins of equal width, so that a typing error at one end is seen as an empty
//! stretch before it.

use serde::{Deserialize, Serialize};

use crate::folder::Sample;

/// Bins of a histogram.
const BINS: usize = 16;

/// The numbers of one column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NumberSummary {
    /// The name of the column.
    pub name: String,
    /// The smallest.
    pub min: f64,
    /// The mean.
    pub mean: f64,
    /// The largest.
    pub max: f64,
    /// The standard deviation, divided by the number of images.
    pub std: f64,
    /// How many there are in each of 16 bins of equal width from the smallest to the largest; a single bin where all are
    /// the same.
    pub histogram: Vec<usize>,
}

/// Summaries of the columns of rows of targets; none without images.
pub(super) fn summaries(names: &[String], samples: &[&Sample]) -> Vec<NumberSummary> {
    let column = |(place, name): (usize, &String)| {
        let of = |sample: &&Sample| sample.target.as_ref().and_then(|row| row.get(place).copied());
        summary(name, &samples.iter().filter_map(of).map(f64::from).collect::<Vec<_>>())
    };
    names.iter().enumerate().filter_map(column).collect()
}

fn summary(name: &str, values: &[f64]) -> Option<NumberSummary> {
    let min = values.iter().copied().min_by(f64::total_cmp)?;
    let max = values.iter().copied().max_by(f64::total_cmp)?;
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let std = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
    let bins = if min < max { BINS } else { 1 };
    let mut histogram = vec![0; bins];
    for value in values {
        let at = (value - min) / (max - min) * bins as f64;
        // The largest value is in the last bin; with one bin there is nothing to divide by.
        histogram[(at as usize).min(bins - 1)] += 1;
    }
    Some(NumberSummary { name: name.to_owned(), min, mean, max, std, histogram })
}

impl NumberSummary {
    /// The histogram as bars, a space for an empty bin.
    pub(super) fn bars(&self) -> String {
        const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let most = self.histogram.iter().copied().max().unwrap_or(0).max(1);
        let bar = |&count: &usize| match count {
            0 => ' ',
            _ => BARS[(count * BARS.len()).div_ceil(most).clamp(1, BARS.len()) - 1],
        };
        self.histogram.iter().map(bar).collect()
    }
}

/// A number in at most ten columns, with four significant digits or all before the point.
pub(crate) fn short(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    if !(1e-3..1e7).contains(&size) {
        return format!("{value:.2e}");
    }
    let digits = (3 - size.log10().floor() as i32).clamp(0, 6) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_few_columns() {
        for (value, text) in [
            (0.0, "0"),
            (35.0, "35"),
            (-2.5, "-2.5"),
            (0.012_345, "0.01235"),
            (1234.56, "1235"),
            (1_234_567.0, "1234567"),
            (3e38, "3.00e38"),
            (-1e-5, "-1.00e-5"),
        ] {
            assert_eq!(short(value), text);
        }
    }

    #[test]
    fn a_histogram_in_a_line() {
        let values: Vec<f64> =
            (0..16).flat_map(|i| vec![f64::from(i); if i == 3 { 0 } else { 8 - i as usize / 2 }]).collect();
        let summary = summary("x", &values).unwrap();
        assert_eq!((summary.min, summary.max, summary.histogram.len()), (0.0, 15.0, BINS));
        assert_eq!(summary.bars(), "██▇ ▆▆▅▅▄▄▃▃▂▂▁▁");
        let same = super::summary("x", &[7.0, 7.0]).unwrap();
        assert_eq!((same.histogram.as_slice(), same.std, same.bars().as_str()), (&[2][..], 0.0, "█"));
        assert!(super::summary("x", &[]).is_none());
    }
}

//! Figures that stand out from the rest.
//!
//! The one decision: robust scores, by the median and the median absolute deviation (B. Iglewicz, D. Hoaglin,
//! "How to Detect and Handle Outliers", 1993), so that the outliers do not hide themselves; and beside the score
//! a least difference, so that a dataset of equal sizes does not make an outlier of every picture a pixel wider.

/// Fewer figures than this have no outliers.
const FEWEST: usize = 20;

/// What counts as standing out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    /// The smallest score: `0.6745 * (value - median) / MAD`, without its sign.
    pub(super) score: f64,
    /// The smallest difference from the median.
    pub(super) difference: f64,
    /// The smallest MAD, where there is less or none.
    pub(super) spread: f64,
}

/// A figure that stands out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Outlier {
    /// The place in the list.
    pub(super) place: usize,
    /// The score, with its sign, to one digit.
    pub(super) score: f64,
}

/// The figures that stand out, in order, and the median of all.
pub(super) fn outliers(values: &[f64], rule: Rule) -> (f64, Vec<Outlier>) {
    if values.len() < FEWEST {
        return (0.0, Vec::new());
    }
    let middle = median(values.to_vec());
    let mad = median(values.iter().map(|value| (value - middle).abs()).collect());
    let mad = mad.max(rule.spread);
    let found = values.iter().enumerate().filter_map(|(place, value)| {
        let score = 0.6745 * (value - middle) / mad;
        let far = (value - middle).abs() >= rule.difference && score.abs() >= rule.score;
        far.then_some(Outlier { place, score: (score * 10.0).round() / 10.0 })
    });
    (middle, found.collect())
}

/// The median; of an even number the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len() % 2 == 1 { values[half] } else { (values[half - 1] + values[half]) / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_out() {
        let rule = Rule { score: 3.5, difference: 5.0, spread: 0.5 };
        let mut values: Vec<f64> = (0..30).map(|i| 100.0 + f64::from(i % 5)).collect();
        assert_eq!(outliers(&values, rule), (102.0, vec![]));
        values[7] = 150.0;
        values[8] = 90.0;
        // A score above 3.5, but a small difference.
        values[9] = 98.0;
        let (middle, found) = outliers(&values, rule);
        assert_eq!(middle, 102.0);
        assert_eq!(found.iter().map(|o| o.place).collect::<Vec<_>>(), [7, 8]);
        assert_eq!(found[0].score, 32.4);
        assert!(found[1].score < 0.0);
        assert!(outliers(&values[..10], rule).1.is_empty());
    }

    #[test]
    fn equal_figures_have_no_spread() {
        let rule = Rule { score: 3.5, difference: 5.0, spread: 0.5 };
        let mut values = vec![10.0; 40];
        values[3] = 11.0;
        assert!(outliers(&values, rule).1.is_empty());
        values[3] = 16.0;
        assert_eq!(outliers(&values, rule).1, [Outlier { place: 3, score: 8.1 }]);
    }
}

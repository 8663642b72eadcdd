//! ROC and precision-recall curves.
//!
//! The decision behind it: equal scores share one threshold and one point, as in scikit-learn, so that no curve depends on
//! the order of the images. What is kept of a long curve is enough to draw it; its areas are those of all of it.

use serde::{Deserialize, Serialize};

/// Points that are kept of a curve.
const MOST: usize = 200;

/// How well a score tells those that are from those that are not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ranking {
    /// The class or label.
    pub name: String,
    /// Images that are or have it.
    pub positives: usize,
    /// Area under the ROC curve.
    pub auroc: f64,
    /// Average precision.
    pub average_precision: f64,
    /// (false positive rate, true positive rate), from (0, 0) to (1, 1).
    pub roc: Vec<(f64, f64)>,
    /// (recall, precision), recall rising; the first point is (0, 1).
    pub precision_recall: Vec<(f64, f64)>,
}

impl Ranking {
    /// None unless there are images that are and that are not.
    pub(super) fn new(name: &str, scores: &[f32], positive: &[bool]) -> Option<Self> {
        let positives = positive.iter().filter(|is| **is).count();
        let negatives = positive.len() - positives;
        if positives == 0 || negatives == 0 || scores.len() != positive.len() {
            return None;
        }
        let mut pairs: Vec<(f32, bool)> = scores.iter().copied().zip(positive.iter().copied()).collect();
        pairs.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let (mut hits, mut alarms) = (0usize, 0usize);
        let (mut roc, mut curve) = (vec![(0.0, 0.0)], vec![(0.0, 1.0)]);
        let (mut area, mut precision) = (0.0, 0.0);
        for equal in pairs.chunk_by(|(a, _), (b, _)| a == b) {
            let more = equal.iter().filter(|(_, is)| *is).count();
            hits += more;
            alarms += equal.len() - more;
            let point = (alarms as f64 / negatives as f64, hits as f64 / positives as f64);
            let before = roc[roc.len() - 1];
            area += (point.0 - before.0) * f64::midpoint(point.1, before.1);
            roc.push(point);
            let right = hits as f64 / (hits + alarms) as f64;
            precision += more as f64 / positives as f64 * right;
            curve.push((point.1, right));
        }
        Some(Self {
            name: name.to_owned(),
            positives,
            auroc: area,
            average_precision: precision,
            roc: thinned(roc),
            precision_recall: thinned(curve),
        })
    }
}

/// Evenly chosen points, both ends among them.
fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    if points.len() <= MOST {
        return points;
    }
    (0..MOST).map(|i| points[i * (points.len() - 1) / (MOST - 1)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_scores_are_one_point() {
        let curve = Ranking::new("a", &[0.5, 0.5, 0.25], &[true, false, false]).unwrap();
        assert_eq!(curve.roc, [(0.0, 0.0), (0.5, 1.0), (1.0, 1.0)]);
        assert_eq!((curve.auroc, curve.average_precision), (0.75, 0.5));
        assert_eq!(Ranking::new("a", &[0.5], &[true]), None);
        let scores: Vec<f32> = (0..1000u16).map(f32::from).collect();
        let positive: Vec<bool> = (0..1000).map(|i| i % 3 == 0).collect();
        let long = Ranking::new("a", &scores, &positive).unwrap();
        assert_eq!((long.roc.len(), long.roc[MOST - 1]), (MOST, (1.0, 1.0)));
    }
}

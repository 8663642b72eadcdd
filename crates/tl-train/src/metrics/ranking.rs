//! How well a score tells those that are from those that are not, whatever the threshold.
//!
//! The decision behind it: equal scores share one threshold, so that no result depends on the order of the images.

/// Area under the ROC curve: the chance that one that is has a higher score than one that is not, a tie counting half
/// (Hanley and McNeil 1982). None unless there are both.
#[must_use]
pub fn auroc(scores: &[f32], positive: &[bool]) -> Option<f64> {
    let (mut below, mut won) = (0.0, 0.0);
    let (mut positives, mut negatives) = (0.0, 0.0);
    for (yes, no) in thresholds(scores, positive)?.into_iter().rev() {
        won += yes * (below + no / 2.0);
        below += no;
        positives += yes;
        negatives += no;
    }
    (positives > 0.0 && negatives > 0.0).then(|| won / (positives * negatives))
}

/// Average precision: the mean over those that are of the precision at their score, without interpolation. None if there
/// are none.
#[must_use]
pub fn average_precision(scores: &[f32], positive: &[bool]) -> Option<f64> {
    let (mut right, mut said, mut sum) = (0.0, 0.0, 0.0);
    for (yes, no) in thresholds(scores, positive)? {
        right += yes;
        said += yes + no;
        sum += yes * (right / said);
    }
    (right > 0.0).then(|| sum / right)
}

/// For each score, highest first, how many that are and that are not have it.
fn thresholds(scores: &[f32], positive: &[bool]) -> Option<Vec<(f64, f64)>> {
    if scores.len() != positive.len() || !scores.iter().all(|score| score.is_finite()) {
        return None;
    }
    let mut pairs: Vec<(f32, bool)> = scores.iter().copied().zip(positive.iter().copied()).collect();
    pairs.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let count = |pairs: &[(f32, bool)]| {
        let yes = pairs.iter().filter(|(_, positive)| *positive).count();
        (yes as f64, (pairs.len() - yes) as f64)
    };
    Some(pairs.chunk_by(|(a, _), (b, _)| a == b).map(count).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_count_half_in_any_order() {
        assert_eq!(auroc(&[0.5; 4], &[true, false, false, true]), Some(0.5));
        assert_eq!(auroc(&[0.5, 0.5, 0.25], &[true, false, false]), Some(0.75));
        assert_eq!(auroc(&[0.5, 0.25, 0.5], &[false, false, true]), Some(0.75));
        assert_eq!(average_precision(&[0.5; 4], &[true, false, false, false]), Some(0.25));
        assert_eq!(auroc(&[0.0, -0.0], &[true, false]), Some(0.5));
    }

    #[test]
    fn what_cannot_be_said_is_none() {
        assert_eq!(auroc(&[0.5, 0.25], &[true, true]), None);
        assert_eq!(auroc(&[], &[]), None);
        assert_eq!(auroc(&[f32::NAN, 0.25], &[true, false]), None);
        assert_eq!(auroc(&[0.5], &[true, false]), None);
        assert_eq!(average_precision(&[0.5, 0.25], &[false, false]), None);
        assert_eq!(average_precision(&[0.5, 0.25], &[true, true]), Some(1.0));
    }
}

//! Single images that are worth a look: the answers that cost most, and the wrong ones that were given most surely.
//!
//! The decision behind it: lists are short, because a person looks at them.

use serde::{Deserialize, Serialize};

use super::{Answered, highest};

/// At most so many images of a kind.
pub(super) const MOST: usize = 12;

/// An answer and what is right.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// Name of the image.
    pub file: String,
    /// What is right.
    pub right: String,
    /// What was said.
    pub said: String,
    /// Probability of what was said; none of numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f32>,
    /// Cross-entropy of the answer, or of numbers the squared error in units of their variance among these images.
    pub loss: f64,
}

fn cross_entropy(p: f32) -> f64 {
    -f64::from(p).max(f64::EPSILON).ln()
}

/// The places of the highest losses, highest first.
fn worst(losses: &[f64], most: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..losses.len()).collect();
    order.sort_by(|&a, &b| losses[b].total_cmp(&losses[a]).then(a.cmp(&b)));
    order.truncate(most);
    order
}

/// The costliest, and the surest of the wrong ones that are not among them.
pub(super) fn of_classes(answered: &Answered<'_>, labels: &[u32]) -> (Vec<Case>, Vec<Case>) {
    let Answered { names, files, rows, .. } = answered;
    let losses: Vec<f64> =
        rows.iter().zip(labels).map(|(row, label)| cross_entropy(row[*label as usize])).collect();
    let case = |i: usize| {
        let said = highest(&rows[i]);
        Case {
            file: files[i].to_owned(),
            right: names[labels[i] as usize].clone(),
            said: names[said].clone(),
            probability: Some(rows[i][said]),
            loss: losses[i],
        }
    };
    let costly = worst(&losses, MOST);
    let sure: Vec<f64> = (rows.iter().zip(labels).enumerate())
        .map(|(i, (row, label))| {
            let said = highest(row);
            let new = said != *label as usize && !costly.contains(&i);
            if new { f64::from(row[said]) } else { -1.0 }
        })
        .collect();
    let sure = worst(&sure, MOST).into_iter().filter(|&i| sure[i] >= 0.0).map(case).collect();
    (costly.iter().map(|&i| case(i)).collect(), sure)
}

/// For each image its costliest label.
pub(super) fn of_labels(answered: &Answered<'_>, present: &[Vec<bool>]) -> Vec<Case> {
    let Answered { names, files, rows, .. } = answered;
    let loss = |i: usize, label: usize| {
        cross_entropy(if present[i][label] { rows[i][label] } else { 1.0 - rows[i][label] })
    };
    let costliest = |i: usize| {
        let labels = 0..rows[i].len();
        labels.max_by(|&a, &b| loss(i, a).total_cmp(&loss(i, b))).unwrap_or(0)
    };
    let losses: Vec<f64> = (0..rows.len()).map(|i| loss(i, costliest(i))).collect();
    let with = |has: bool, name: &str| if has { name.to_owned() } else { format!("no {name}") };
    let case = |i: usize| {
        let label = costliest(i);
        let (p, name) = (rows[i][label], names[label].as_str());
        let said = p >= 0.5;
        Case {
            file: files[i].to_owned(),
            right: with(present[i][label], name),
            said: with(said, name),
            probability: Some(if said { p } else { 1.0 - p }),
            loss: losses[i],
        }
    };
    worst(&losses, MOST).into_iter().map(case).collect()
}

/// For each image its number that is farthest off, by the spread of that number.
pub(super) fn of_numbers(answered: &Answered<'_>, right: &[Vec<f32>]) -> Vec<Case> {
    let Answered { names, files, rows, .. } = answered;
    let variances: Vec<f64> = (0..names.len()).map(|i| variance(right, i)).collect();
    let loss = |i: usize, number: usize| {
        let error = f64::from(rows[i][number]) - f64::from(right[i][number]);
        error * error / variances[number]
    };
    let farthest = |i: usize| {
        let numbers = 0..names.len();
        numbers.max_by(|&a, &b| loss(i, a).total_cmp(&loss(i, b))).unwrap_or(0)
    };
    let losses: Vec<f64> = (0..rows.len()).map(|i| loss(i, farthest(i))).collect();
    let case = |i: usize| {
        let number = farthest(i);
        let text = |value: f32| match names.len() {
            1 => digits(value),
            _ => format!("{} {}", names[number], digits(value)),
        };
        Case {
            file: files[i].to_owned(),
            right: text(right[i][number]),
            said: text(rows[i][number]),
            probability: None,
            loss: losses[i],
        }
    };
    worst(&losses, MOST).into_iter().map(case).collect()
}

/// A number with about four digits that count, as it would be said.
#[must_use]
pub fn digits(value: f32) -> String {
    const DIGITS: i32 = 4;
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let places = DIGITS - 1 - value.abs().log10().floor() as i32;
    match places {
        ..=0 => format!("{value:.0}"),
        1..=8 => {
            let text = format!("{value:.*}", places as usize);
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        _ => format!("{value:.3e}"),
    }
}

/// Of a number that never changes 1, so that its errors are what they are.
fn variance(rows: &[Vec<f32>], i: usize) -> f64 {
    let n = rows.len().max(1) as f64;
    let mean = rows.iter().map(|row| f64::from(row[i])).sum::<f64>() / n;
    let variance = rows.iter().map(|row| (f64::from(row[i]) - mean).powi(2)).sum::<f64>() / n;
    if variance > 0.0 { variance } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::digits;

    #[test]
    fn numbers_have_the_digits_that_count() {
        let said = [0.0, 2.0, 79.104645, -7.3495398, 1234567.0, 0.00123456, 1e-12, 100.04].map(digits);
        assert_eq!(said, ["0", "2", "79.1", "-7.35", "1234567", "0.001235", "1.000e-12", "100"]);
    }
}

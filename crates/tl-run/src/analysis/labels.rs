//! Labels that look wrong, by confident learning (Northcutt et al. 2021, arXiv:1911.00068).
//!
//! The decision behind it: only images that the model did not learn from are looked at, since it has learned the labels of
//! the others, wrong ones too.

use serde::{Deserialize, Serialize};

use super::{Answered, column};

/// An image whose label is in doubt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suspect {
    /// Name of the image.
    pub file: String,
    /// Its label.
    pub label: String,
    /// What it seems to be.
    pub likely: String,
    /// Probability of its label.
    pub label_probability: f32,
    /// Probability of what it seems to be.
    pub likely_probability: f32,
}

/// Images that are counted off the diagonal of the confident joint: another class than their label has a probability of at
/// least what images labelled with that class have on average, and the highest of those that do. Sorted by how much more
/// probable it is than the label.
pub(super) fn suspects(answered: &Answered<'_>, labels: &[u32]) -> Vec<Suspect> {
    let Answered { names, files, rows, .. } = answered;
    let thresholds: Vec<Option<f64>> =
        (0..names.len()).map(|class| threshold(&column(rows, class), labels, class)).collect();
    let mut found = Vec::new();
    for ((row, label), file) in rows.iter().zip(labels).zip(files) {
        let label = *label as usize;
        let reaches = |class: &usize| thresholds[*class].is_some_and(|t| f64::from(row[*class]) >= t - 1e-6);
        let better = |best: usize, class: usize| if row[class] > row[best] { class } else { best };
        let likely = (0..names.len()).filter(reaches).reduce(better);
        if let Some(likely) = likely.filter(|likely| *likely != label) {
            found.push(Suspect {
                file: (*file).to_owned(),
                label: names[label].clone(),
                likely: names[likely].clone(),
                label_probability: row[label],
                likely_probability: row[likely],
            });
        }
    }
    let margin = |suspect: &Suspect| suspect.likely_probability - suspect.label_probability;
    found.sort_by(|a, b| margin(b).total_cmp(&margin(a)));
    found
}

/// The mean probability of a class on the images labelled with it; none without such images.
fn threshold(column: &[f32], labels: &[u32], class: usize) -> Option<f64> {
    let own = column.iter().zip(labels).filter(|(_, label)| **label as usize == class);
    let own: Vec<f64> = own.map(|(p, _)| f64::from(*p)).collect();
    (!own.is_empty()).then(|| own.iter().sum::<f64>() / own.len() as f64)
}

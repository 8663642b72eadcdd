//! What can be seen in a model's answers beyond single figures: where it errs, how sure it is, and which labels look wrong.
//!
//! The decision behind it: numbers and names in, numbers and names out. Nothing here knows a net or an image, so a report
//! can be made of any answers, and what is computed is compared with scikit-learn, SciPy and cleanlab.

mod calibration;
mod cases;
mod labels;
mod paired;
mod ranking;
mod sentences;
mod words;

#[cfg(test)]
mod golden_tests;

use serde::{Deserialize, Serialize};

pub use calibration::{Bin, Calibration};
pub use cases::{Case, digits};
pub use labels::Suspect;
pub use paired::{Difference, McNemar, mcnemar, mean_interval, paired_difference};
pub use ranking::Ranking;
pub use sentences::{Sentence, Span};
pub use words::{CostlyWord, WordAnswer};

/// A model's answers for some images, beside what is right.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered<'a> {
    /// Which set: `val`, `test`, or what it is called.
    pub set: &'a str,
    /// Names of classes in label order, of labels, or of numbers.
    pub names: &'a [String],
    /// Names of the images.
    pub files: Vec<&'a str>,
    /// What is right.
    pub truth: Truth,
    /// `[image][name]`: probabilities, which of classes sum to 1; or numbers.
    pub rows: &'a [Vec<f32>],
}

/// What is right for each image.
#[derive(Clone, Debug, PartialEq)]
pub enum Truth {
    /// The class.
    Classes(Vec<u32>),
    /// `[image][label]`, whether it has it.
    Labels(Vec<Vec<bool>>),
    /// `[image][number]`.
    Numbers(Vec<Vec<f32>>),
}

/// What stands in `analysis.json` for each set of images.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// Which set.
    pub set: String,
    /// Number of images.
    pub images: usize,
    /// How probabilities and truth agree, where there are classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// Classes that are taken for each other, most images first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub confused: Vec<Confused>,
    /// Of two classes that of the second, of labels that of each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rankings: Vec<Ranking>,
    /// The answers that cost most, worst first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub costly: Vec<Case>,
    /// Wrong answers that were given most surely, where they are others than the costliest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sure_and_wrong: Vec<Case>,
    /// Images whose label looks wrong, most suspicious first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suspects: Vec<Suspect>,
    /// Sentences whose tags cost most, worst first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sentences: Vec<Sentence>,
    /// Words whose tags cost most, worst first, where each word has a tag of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<CostlyWord>,
    /// Said beside right, of each number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub numbers: Vec<Points>,
}

/// Images of one class that were taken for another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confused {
    /// What they are.
    pub label: String,
    /// What was said.
    pub predicted: String,
    /// How many.
    pub images: u32,
    /// Of so many of the class.
    pub of: u32,
}

/// One number: what is right and what was said, of evenly chosen images if there are many.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Points {
    /// Its name.
    pub name: String,
    /// (right, said).
    pub pairs: Vec<(f32, f32)>,
}

/// At most so many pairs of classes and rows of a list are kept.
const MOST: usize = 20;
/// At most so many points are drawn of a number.
const MOST_POINTS: usize = 2000;

impl Analysis {
    /// Looks at the answers. `temperature` is that of other images, if there is one; else it is fitted on these.
    ///
    /// What cannot be said is left out: nothing of answers of which one is not finite.
    #[must_use]
    pub fn new(answered: &Answered<'_>, temperature: Option<f64>) -> Self {
        let Answered { set, rows, names, files, .. } = answered;
        let mut analysis = Self { set: (*set).to_owned(), images: rows.len(), ..Self::default() };
        let sound = |row: &Vec<f32>| row.len() == names.len() && row.iter().all(|value| value.is_finite());
        if rows.len() != files.len() || !rows.iter().all(sound) {
            return analysis;
        }
        match &answered.truth {
            Truth::Classes(labels) => {
                let known = |label: &u32| (*label as usize) < names.len();
                if labels.len() != rows.len() || !labels.iter().all(known) {
                    return analysis;
                }
                analysis.calibration = Calibration::new(rows, labels, temperature);
                analysis.confused = confused(rows, labels, names);
                if let [_, second] = names {
                    let is: Vec<bool> = labels.iter().map(|label| *label == 1).collect();
                    analysis.rankings.extend(Ranking::new(second, &column(rows, 1), &is));
                }
                (analysis.costly, analysis.sure_and_wrong) = cases::of_classes(answered, labels);
                analysis.suspects = labels::suspects(answered, labels);
            }
            Truth::Labels(present) if present.len() == rows.len() => {
                for (i, name) in names.iter().enumerate() {
                    let is: Vec<bool> = present.iter().map(|row| row[i]).collect();
                    analysis.rankings.extend(Ranking::new(name, &column(rows, i), &is));
                }
                analysis.costly = cases::of_labels(answered, present);
            }
            Truth::Numbers(right) if right.len() == rows.len() => {
                let step = rows.len().div_ceil(MOST_POINTS).max(1);
                let pairs =
                    |i| right.iter().zip(*rows).step_by(step).map(move |(a, b)| (a[i], b[i])).collect();
                let points = names.iter().enumerate();
                analysis.numbers =
                    points.map(|(i, name)| Points { name: name.clone(), pairs: pairs(i) }).collect();
                analysis.costly = cases::of_numbers(answered, right);
            }
            Truth::Labels(_) | Truth::Numbers(_) => {}
        }
        analysis
    }

    /// The names of all images that are named, each once.
    #[must_use]
    pub fn files(&self) -> std::collections::BTreeSet<&str> {
        let cases = self.costly.iter().chain(&self.sure_and_wrong).map(|case| case.file.as_str());
        cases.chain(self.suspects.iter().take(cases::MOST).map(|suspect| suspect.file.as_str())).collect()
    }

    /// How many of a list are shown with their picture.
    #[must_use]
    pub fn most_pictures() -> usize {
        cases::MOST
    }
}

fn confused(rows: &[Vec<f32>], labels: &[u32], names: &[String]) -> Vec<Confused> {
    let mut counts = vec![vec![0u32; names.len()]; names.len()];
    for (row, label) in rows.iter().zip(labels) {
        counts[*label as usize][highest(row)] += 1;
    }
    let mut pairs = Vec::new();
    for (i, row) in counts.iter().enumerate() {
        let of = row.iter().sum();
        let others = row.iter().enumerate().filter(|(j, images)| *j != i && **images > 0);
        pairs.extend(others.map(|(j, images)| Confused {
            label: names[i].clone(),
            predicted: names[j].clone(),
            images: *images,
            of,
        }));
    }
    pairs.sort_by(|a, b| b.images.cmp(&a.images).then(a.of.cmp(&b.of)));
    pairs.truncate(MOST);
    pairs
}

/// The place of the highest value, the first of equals.
fn highest(row: &[f32]) -> usize {
    let better = |best: usize, i: usize| if row[i] > row[best] { i } else { best };
    (0..row.len()).reduce(better).unwrap_or(0)
}

fn column(rows: &[Vec<f32>], i: usize) -> Vec<f32> {
    rows.iter().map(|row| row[i]).collect()
}

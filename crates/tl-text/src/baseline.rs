//! TF-IDF and logistic regression: what any larger model has to beat.
//!
//! The one decision: the strength of the penalty is chosen by cross-validation on the training texts alone, so that the
//! figures on the others are what they seem.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use tl_linear::{LogisticOptions, LogisticRegression, Matrix, ProbeOptions, ProbePoint, probe};

use crate::dataset::TextSample;
use crate::error::TextError;
use crate::model::{FORMAT, TextModel};
use crate::tfidf::{Frequency, Tfidf, TfidfOptions};

/// How to make a baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct BaselineOptions {
    /// How terms are found and weighed.
    pub tfidf: TfidfOptions,
    /// The values of `c` to choose from; a single one is taken as it is.
    pub grid: Vec<f64>,
    /// How many folds choose.
    pub folds: u32,
    /// The seed of the folds.
    pub seed: u64,
    /// How to fit; its `c` does not count.
    pub logistic: LogisticOptions,
    /// How many of the most telling words of each class are reported.
    pub telling: usize,
}

impl Default for BaselineOptions {
    /// Words and pairs of words that are in two texts or more, with 1 + ln n in place of n, and four values of `c` on
    /// four folds.
    fn default() -> Self {
        let min_df = Frequency::Count(2);
        let tfidf = TfidfOptions { ngrams: (1, 2), min_df, sublinear_tf: true, ..TfidfOptions::default() };
        Self {
            tfidf,
            grid: vec![1.0, 3.0, 10.0, 30.0],
            folds: 4,
            seed: 0,
            // A slope is a mean over all texts, and a term is in few of them.
            logistic: LogisticOptions { tol: 1e-5, max_iter: 200, ..LogisticOptions::default() },
            telling: 10,
        }
    }
}

/// How good predictions are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// How many texts there are.
    pub texts: usize,
    /// The part that is right.
    pub accuracy: f64,
    /// The mean over the classes that are there of the part of each that is right.
    pub balanced_accuracy: f64,
    /// The mean of F1 over the classes that are there or are predicted.
    pub macro_f1: f64,
}

impl Scores {
    /// Compares predictions with labels in `0..classes`; all are 0 where there are none.
    pub fn new(predicted: &[u32], labels: &[u32], classes: usize) -> Self {
        let most = predicted.iter().chain(labels).max().map_or(0, |&most| most as usize + 1);
        let classes = classes.max(most);
        let (mut right, mut said, mut there) = (vec![0.0; classes], vec![0.0; classes], vec![0.0; classes]);
        for (&got, &label) in predicted.iter().zip(labels) {
            said[got as usize] += 1.0;
            there[label as usize] += 1.0;
            right[label as usize] += f64::from(u8::from(got == label));
        }
        let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let recall = (0..classes).filter(|&c| there[c] > 0.0).map(|c| right[c] / there[c]).collect();
        let f1 = (0..classes).filter(|&c| there[c] + said[c] > 0.0);
        let f1 = f1.map(|c| 2.0 * right[c] / (there[c] + said[c])).collect();
        Self {
            texts: labels.len(),
            accuracy: right.iter().sum::<f64>() / labels.len().max(1) as f64,
            balanced_accuracy: mean(recall),
            macro_f1: mean(f1),
        }
    }
}

/// The words that speak for a class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Telling {
    /// The class.
    pub class: String,
    /// The terms and their coefficients, the largest first; of rows that are scaled by their terms' weights.
    pub terms: Vec<(String, f64)>,
}

/// What a baseline came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaselineReport {
    /// The value of `c` that was chosen.
    pub c: f64,
    /// What the folds gave for each value of the grid; empty where there was no choice.
    pub points: Vec<ProbePoint>,
    /// How many training texts there are.
    pub train_texts: usize,
    /// How many terms the vocabulary has.
    pub terms: usize,
    /// How many steps the last fit took, and whether it reached the tolerance.
    pub steps: usize,
    /// Whether it reached the tolerance.
    pub converged: bool,
    /// How good the predictions for the validation texts are.
    pub val: Scores,
    /// Of the validation texts those that always saying the most frequent class of the training texts would get.
    pub majority_accuracy: f64,
    /// The words that speak for each class.
    pub telling: Vec<Telling>,
    /// How long it all took, in seconds.
    pub seconds: f64,
}

/// Fits TF-IDF and a logistic regression to the training texts, and measures them on the validation texts.
///
/// # Errors
/// An option is out of range; a text has a row of targets in place of a class; no terms are left; or the training texts
/// are of a single class.
pub fn baseline(
    train: &[TextSample],
    val: &[TextSample],
    classes: &[String],
    options: &BaselineOptions,
) -> Result<(TextModel, BaselineReport), TextError> {
    let start = Instant::now();
    if let Some(sample) = train.iter().chain(val).find(|sample| sample.target.is_some()) {
        let got = format!("labels or numbers at {}", sample.place());
        return Err(TextError::option("target", got, "one class for each text"));
    }
    if let Some(sample) = train.iter().chain(val).find(|sample| sample.label as usize >= classes.len()) {
        let expected = format!("less than {}", classes.len());
        return Err(TextError::option("label", format!("{} at {}", sample.label, sample.place()), &expected));
    }
    let labels = |samples: &[TextSample]| samples.iter().map(|sample| sample.label).collect::<Vec<u32>>();
    let (train_labels, val_labels) = (labels(train), labels(val));
    let texts: Vec<String> = train.iter().map(TextSample::joined).collect();
    let tfidf = Tfidf::fit(&texts, &options.tfidf)?;
    let rows = Matrix::from(tfidf.transform(&texts)?);
    let points = choose(&rows, &train_labels, classes.len(), options)?;
    let c = match &points {
        Some((points, best)) => points[*best].c,
        None => options.grid.first().copied().unwrap_or(options.logistic.c),
    };
    let logistic = LogisticOptions { c, ..options.logistic.clone() };
    let linear = LogisticRegression::fit(&rows, &train_labels, classes.len(), None, &logistic)?;
    let model = TextModel { format: FORMAT, classes: classes.to_vec(), tfidf, linear };
    let predicted = model.predict(&val.iter().map(TextSample::joined).collect::<Vec<String>>())?;
    let mut counts = vec![0_usize; classes.len()];
    train_labels.iter().for_each(|&label| counts[label as usize] += 1);
    let most = (0..counts.len()).rev().max_by_key(|&class| counts[class]).unwrap_or_default();
    let majority = val_labels.iter().filter(|&&label| label as usize == most).count();
    let report = BaselineReport {
        c,
        points: points.map(|(points, _)| points).unwrap_or_default(),
        train_texts: train.len(),
        terms: model.tfidf.terms().len(),
        steps: model.linear.steps,
        converged: model.linear.converged,
        val: Scores::new(&predicted, &val_labels, classes.len()),
        majority_accuracy: majority as f64 / val.len().max(1) as f64,
        telling: model.telling(options.telling),
        seconds: start.elapsed().as_secs_f64(),
    };
    Ok((model, report))
}

/// The points of the grid and the best of them; `None` where there is nothing to choose, or too little to choose by.
fn choose(
    rows: &Matrix,
    labels: &[u32],
    classes: usize,
    options: &BaselineOptions,
) -> Result<Option<(Vec<ProbePoint>, usize)>, TextError> {
    if options.grid.len() < 2 || rows.rows() < 2 * options.folds as usize {
        return Ok(None);
    }
    let probe_options = ProbeOptions {
        grid: options.grid.clone(),
        folds: options.folds,
        seed: options.seed,
        standardize: false,
        logistic: options.logistic.clone(),
    };
    let found = probe(rows, labels, classes, &probe_options)?;
    Ok(Some((found.points, found.best)))
}

impl TextSample {
    /// The text, and its pair behind a line feed.
    pub fn joined(&self) -> String {
        match &self.pair {
            Some(pair) => format!("{}\n{pair}", self.text),
            None => self.text.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_what_they_are_called() {
        // scikit-learn 1.9: accuracy_score, balanced_accuracy_score, f1_score(average="macro").
        let scores = Scores::new(&[0, 1, 1, 3, 1, 0], &[0, 1, 0, 1, 1, 0], 5);
        let near = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!(near(scores.accuracy, 4.0 / 6.0), "{scores:?}");
        assert!(near(scores.balanced_accuracy, 2.0 / 3.0), "{scores:?}");
        assert!(near(scores.macro_f1, (0.8 + 2.0 / 3.0 + 0.0) / 3.0), "{scores:?}");
    }
}

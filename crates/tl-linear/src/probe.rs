//! Linear probes: how well a logistic regression on fixed features does, by cross-validation.
//!
//! The one decision: the strength of the penalty is chosen by the same folds that measure it, from a small grid.
//! That favours the best a little, all features alike, which is fair for choosing between features.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::LinearError;
use crate::folds::stratified_folds;
use crate::logistic::{LogisticOptions, LogisticRegression, check_labels};
use crate::matrix::Matrix;
use crate::scaler::Scaler;

/// How to probe.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeOptions {
    /// The values of `c` to try, in ascending order for speed.
    pub grid: Vec<f64>,
    /// How many folds there are, from 2 on.
    pub folds: u32,
    /// The seed of the folds.
    pub seed: u64,
    /// Whether columns of dense rows are brought to mean 0 and variance 1, by the training folds.
    pub standardize: bool,
    /// All else; its `c` does not count.
    pub logistic: LogisticOptions,
}

impl Default for ProbeOptions {
    fn default() -> Self {
        Self {
            grid: vec![0.01, 0.1, 1.0, 10.0],
            folds: 5,
            seed: 0,
            standardize: false,
            logistic: LogisticOptions::default(),
        }
    }
}

/// What one value of `c` gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbePoint {
    /// The value.
    pub c: f64,
    /// The mean accuracy of the folds, 0..1.
    pub accuracy: f64,
    /// The standard error of that mean: the deviation of the folds' accuracies over the root of their number.
    pub standard_error: f64,
    /// How many of the fits did not reach the tolerance.
    pub unconverged: usize,
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// One for each value of the grid, in its order.
    pub points: Vec<ProbePoint>,
    /// The place of the best among them: of equals the smallest `c`.
    pub best: usize,
    /// Whether the best has each row right, `[N]`, each fitted on the folds that the row is not in. With it two probes
    /// of the same rows are compared row by row.
    pub right: Vec<bool>,
}

impl Probe {
    /// The best point.
    pub fn best(&self) -> &ProbePoint {
        &self.points[self.best]
    }
}

/// Cross-validates a logistic regression of rows `[N, F]` to labels in `0..classes`, for each `c` of a grid.
///
/// # Errors
/// The grid is empty; fewer than 2 folds, or more than rows; the training folds of one have fewer than two classes;
/// and those of [`LogisticRegression::fit`].
pub fn probe(
    rows: &Matrix,
    labels: &[u32],
    classes: usize,
    options: &ProbeOptions,
) -> Result<Probe, LinearError> {
    check_labels(rows, labels, classes)?;
    rows.check_finite()?;
    check(rows, options)?;
    let folds = stratified_folds(labels, options.folds, options.seed);
    let of_fold = |fold: u32| held_out(rows, labels, classes, (&folds, fold), options);
    let results: Vec<Vec<HeldOut>> =
        (0..options.folds).into_par_iter().map(of_fold).collect::<Result<_, _>>()?;
    let points: Vec<ProbePoint> = options
        .grid
        .iter()
        .enumerate()
        .map(|(place, &c)| {
            let (n, each) = (results.len() as f64, results.iter().map(|of_fold| &of_fold[place]));
            let accuracy = each.clone().map(HeldOut::accuracy).sum::<f64>() / n;
            let spread: f64 =
                each.clone().map(|one| (one.accuracy() - accuracy).powi(2)).sum::<f64>() / (n - 1.0);
            let unconverged = each.filter(|one| !one.converged).count();
            ProbePoint { c, accuracy, standard_error: (spread / n).sqrt(), unconverged }
        })
        .collect();
    let better = |best: usize, next: usize| {
        let key = |place: usize| (points[place].accuracy, -points[place].c);
        if key(next) > key(best) { next } else { best }
    };
    let best = (0..points.len()).fold(0, better);
    let mut right = vec![false; rows.rows()];
    for (fold, of_fold) in (0..options.folds).zip(&results) {
        let held_out = (0..rows.rows()).filter(|&row| folds[row] == fold);
        held_out.zip(&of_fold[best].right).for_each(|(row, own)| right[row] = *own);
    }
    Ok(Probe { points, best, right })
}

/// What one fit gave on its held-out fold.
struct HeldOut {
    /// Whether each row of the fold is right.
    right: Vec<bool>,
    /// Whether the fit reached the tolerance.
    converged: bool,
}

impl HeldOut {
    fn accuracy(&self) -> f64 {
        self.right.iter().filter(|right| **right).count() as f64 / self.right.len() as f64
    }
}

fn check(rows: &Matrix, options: &ProbeOptions) -> Result<(), LinearError> {
    for &c in &options.grid {
        LogisticOptions { c, ..options.logistic.clone() }.check()?;
    }
    let refuse = |option, got: String, expected| Err(LinearError::Option { option, got, expected });
    if options.grid.is_empty() {
        return refuse("grid", "empty".to_owned(), "a value or more");
    }
    if options.folds < 2 || options.folds as usize > rows.rows() {
        return refuse("folds", options.folds.to_string(), "2 to the number of rows");
    }
    if options.standardize && matches!(rows, Matrix::Sparse(_)) {
        return refuse("standardize", "true".to_owned(), "false for sparse rows, which it would fill");
    }
    Ok(())
}

/// What each `c` gave on one fold.
fn held_out(
    rows: &Matrix,
    labels: &[u32],
    classes: usize,
    (folds, fold): (&[u32], u32),
    options: &ProbeOptions,
) -> Result<Vec<HeldOut>, LinearError> {
    let (val, train): (Vec<usize>, Vec<usize>) = (0..rows.rows()).partition(|&row| folds[row] == fold);
    let labels_of = |places: &[usize]| places.iter().map(|&row| labels[row]).collect::<Vec<u32>>();
    let (train_labels, val_labels) = (labels_of(&train), labels_of(&val));
    let (mut train, mut val) = (rows.select(&train), rows.select(&val));
    if let (true, Matrix::Dense(train), Matrix::Dense(val)) = (options.standardize, &mut train, &mut val) {
        let scaler = Scaler::fit(train);
        scaler.apply(train)?;
        scaler.apply(val)?;
    }
    let mut last: Option<LogisticRegression> = None;
    let mut results = Vec::with_capacity(options.grid.len());
    for &c in &options.grid {
        let options = LogisticOptions { c, ..options.logistic.clone() };
        let fitted =
            LogisticRegression::fit_from(&train, &train_labels, classes, None, &options, last.as_ref())?;
        let right = fitted.predict(&val)?.iter().zip(&val_labels).map(|(got, own)| got == own).collect();
        results.push(HeldOut { right, converged: fitted.converged });
        last = Some(fitted);
    }
    Ok(results)
}

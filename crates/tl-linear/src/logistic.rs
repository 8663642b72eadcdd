//! Logistic regression: two classes with one sigmoid, more with a softmax over all.
//!
//! The one decision: the conventions are scikit-learn's, so that `c`, class weights and the tolerance mean what
//! people know. The intercept is not penalised.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::LinearError;
use crate::fit::{Objective, scores, sigmoid, soft_max};
use crate::lbfgs::minimise;
use crate::matrix::Matrix;

/// How much the rows of a class count.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClassWeights {
    /// As much as any other.
    #[default]
    None,
    /// So much that all classes count the same: rows / (classes with rows * rows of the class), rows counted by
    /// their weights.
    Balanced,
    /// A factor for each class, from 0 on.
    Given(Vec<f64>),
}

/// How to fit a [`LogisticRegression`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogisticOptions {
    /// The inverse of the strength of the penalty, above 0: what is minimised is `c` times the sum of the losses
    /// plus half of the sum of squared coefficients.
    pub c: f64,
    /// How much the rows of a class count.
    pub class_weights: ClassWeights,
    /// Whether each output has an intercept.
    pub intercept: bool,
    /// The largest slope that counts as none; of the objective divided by `c` and the sum of the weights.
    pub tol: f64,
    /// The most steps of L-BFGS.
    pub max_iter: usize,
}

impl Default for LogisticOptions {
    fn default() -> Self {
        Self { c: 1.0, class_weights: ClassWeights::None, intercept: true, tol: 1e-4, max_iter: 100 }
    }
}

impl LogisticOptions {
    pub(crate) fn check(&self) -> Result<(), LinearError> {
        let above = |option, value: f64| match value.is_finite() && value > 0.0 {
            true => Ok(()),
            false => Err(LinearError::Option { option, got: value.to_string(), expected: "above 0" }),
        };
        above("c", self.c)?;
        above("tol", self.tol)
    }
}

/// A fitted logistic regression.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogisticRegression {
    classes: usize,
    /// The classes that had rows, which are all it can tell apart, in ascending order.
    present: Vec<u32>,
    columns: usize,
    intercept: bool,
    /// `[columns, outputs]` and then the intercepts.
    parameters: Vec<f64>,
    /// How many steps the fit took.
    pub steps: usize,
    /// Whether it reached the tolerance.
    pub converged: bool,
}

impl LogisticRegression {
    /// Fits rows `[N, F]` to labels in `0..classes`; `weights` say how much each row counts. A class without rows has
    /// a probability of 0.
    ///
    /// # Errors
    /// An option is out of range; lists differ in length; a value or weight is not finite, a weight negative, a label
    /// no class; or fewer than two classes have rows.
    pub fn fit(
        rows: &Matrix,
        labels: &[u32],
        classes: usize,
        weights: Option<&[f64]>,
        options: &LogisticOptions,
    ) -> Result<Self, LinearError> {
        Self::fit_from(rows, labels, classes, weights, options, None)
    }

    /// [`fit`](Self::fit), beginning at another fit of rows with the same columns, such as one of another `c`. Where
    /// that does not fit it begins at zeros.
    ///
    /// # Errors
    /// Those of [`fit`](Self::fit).
    pub fn fit_from(
        rows: &Matrix,
        labels: &[u32],
        classes: usize,
        weights: Option<&[f64]>,
        options: &LogisticOptions,
        start: Option<&Self>,
    ) -> Result<Self, LinearError> {
        options.check()?;
        check_labels(rows, labels, classes)?;
        rows.check_finite()?;
        let own = vec![1.0; labels.len()];
        let weights = check_weights(weights.unwrap_or(&own), labels)?;
        let mut counts = vec![0.0; classes];
        labels.iter().zip(weights).for_each(|(&label, weight)| counts[label as usize] += weight);
        let present: Vec<u32> =
            (0..).zip(&counts).filter(|(_, n)| **n > 0.0).map(|(class, _)| class).collect();
        let factors = factors(&options.class_weights, &counts, present.len())?;
        let present: Vec<u32> = present.into_iter().filter(|&class| factors[class as usize] > 0.0).collect();
        if present.len() < 2 {
            return Err(LinearError::OneClass { present: present.len() });
        }
        let outputs = if present.len() == 2 { 1 } else { present.len() };
        let mut weights: Vec<f64> =
            labels.iter().zip(weights).map(|(&label, weight)| weight * factors[label as usize]).collect();
        let sum: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= sum);
        // A row whose class counts nothing has no place; with a weight of 0 any will do.
        let place = |label: &u32| present.binary_search(label).unwrap_or_default() as u32;
        let places: Vec<u32> = labels.iter().map(place).collect();
        let l2 = 1.0 / (options.c * sum);
        let objective = Objective::new(rows, (&places, &weights), outputs, options.intercept, l2);
        let start = start.filter(|start| {
            start.parameters.len() == objective.len()
                && start.present == present
                && start.intercept == options.intercept
        });
        let start = start.map_or_else(|| vec![0.0; objective.len()], |start| start.parameters.clone());
        let stop = (options.tol, options.max_iter);
        let found = minimise(start, stop, |at, slope| objective.value(at, slope));
        Ok(Self {
            classes,
            present,
            columns: rows.columns(),
            intercept: options.intercept,
            parameters: found.at,
            steps: found.steps,
            converged: found.converged,
        })
    }

    /// How many classes there are, with rows or without.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Whether its parts fit each other, for one that was read from somewhere.
    pub fn is_whole(&self) -> bool {
        let rising = self.present.windows(2).all(|pair| pair[0] < pair[1]);
        let known = self.present.last().is_some_and(|&last| (last as usize) < self.classes);
        let expected = (self.columns + usize::from(self.intercept)) * self.outputs();
        rising && known && self.present.len() > 1 && self.parameters.len() == expected
    }

    /// How many columns its rows have.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The classes that it can tell apart, in ascending order.
    pub fn present(&self) -> &[u32] {
        &self.present
    }

    /// The coefficient of a column for a class: of two classes those of the second are what is fitted, and the first has
    /// them with the other sign. 0 for a class or column that it does not know.
    pub fn coefficient(&self, class: u32, column: usize) -> f64 {
        self.parameter(class, column).filter(|_| column < self.columns).unwrap_or_default()
    }

    /// The intercept of a class, signed as [`coefficient`](Self::coefficient) is; 0 without one.
    pub fn intercept(&self, class: u32) -> f64 {
        self.parameter(class, self.columns).unwrap_or_default()
    }

    fn parameter(&self, class: u32, row: usize) -> Option<f64> {
        let place = self.present.binary_search(&class).ok()?;
        let outputs = self.outputs();
        let (output, sign) =
            if outputs > 1 { (place, 1.0) } else { (0, if place == 1 { 1.0 } else { -1.0 }) };
        self.parameters.get(row * outputs + output).map(|value| sign * value)
    }

    /// The scores `[N, outputs]`, row by row: of two classes that of the second alone, or else one for each class of
    /// [`present`](Self::present).
    ///
    /// # Errors
    /// The rows have another number of columns.
    pub fn decision_function(&self, rows: &Matrix) -> Result<Vec<f64>, LinearError> {
        if rows.columns() != self.columns {
            let (got, expected) = (rows.columns(), self.columns);
            return Err(LinearError::Length { what: "columns", got, expected });
        }
        Ok(scores(rows, &self.parameters, self.outputs(), self.intercept))
    }

    /// The probabilities `[N, classes]`, row by row.
    ///
    /// # Errors
    /// The rows have another number of columns.
    pub fn predict_proba(&self, rows: &Matrix) -> Result<Vec<f64>, LinearError> {
        let outputs = self.outputs();
        let mut scores = self.decision_function(rows)?;
        let mut all = vec![0.0; rows.rows() * self.classes];
        let each = all.par_chunks_mut(self.classes).zip(scores.par_chunks_mut(outputs)).with_min_len(256);
        each.for_each(|(of_row, scores)| {
            if let [score] = scores {
                of_row[self.present[1] as usize] = sigmoid(*score);
                of_row[self.present[0] as usize] = sigmoid(-*score);
            } else {
                soft_max(scores);
                let places = self.present.iter().zip(scores);
                places.for_each(|(&class, score)| of_row[class as usize] = *score);
            }
        });
        Ok(all)
    }

    /// The most probable class of each row; of equals the first.
    ///
    /// # Errors
    /// The rows have another number of columns.
    pub fn predict(&self, rows: &Matrix) -> Result<Vec<u32>, LinearError> {
        Ok(self.predict_proba(rows)?.chunks(self.classes).map(best).collect())
    }

    fn outputs(&self) -> usize {
        if self.present.len() == 2 { 1 } else { self.present.len() }
    }
}

/// The place of the largest value; of equals the first.
pub(crate) fn best(values: &[f64]) -> u32 {
    let better = |best: (u32, f64), next: (u32, f64)| if next.1 > best.1 { next } else { best };
    (0..).zip(values.iter().copied()).fold((0, f64::NEG_INFINITY), better).0
}

pub(crate) fn check_labels(rows: &Matrix, labels: &[u32], classes: usize) -> Result<(), LinearError> {
    if labels.len() != rows.rows() {
        return Err(LinearError::Length { what: "labels", got: labels.len(), expected: rows.rows() });
    }
    match labels.iter().position(|&label| label as usize >= classes) {
        Some(row) => Err(LinearError::Label { row, label: labels[row], classes }),
        None => Ok(()),
    }
}

fn check_weights<'a>(weights: &'a [f64], labels: &[u32]) -> Result<&'a [f64], LinearError> {
    if weights.len() != labels.len() {
        return Err(LinearError::Length { what: "weights", got: weights.len(), expected: labels.len() });
    }
    match weights.iter().position(|weight| !weight.is_finite() || *weight < 0.0) {
        Some(row) => Err(LinearError::Weight { row, weight: weights[row].to_string() }),
        None => Ok(weights),
    }
}

/// How much each class counts, from the sums of the weights of its rows.
fn factors(given: &ClassWeights, counts: &[f64], present: usize) -> Result<Vec<f64>, LinearError> {
    let all: f64 = counts.iter().sum();
    match given {
        ClassWeights::None => Ok(vec![1.0; counts.len()]),
        ClassWeights::Balanced => {
            let factor = |count: &f64| if *count > 0.0 { all / (present as f64 * count) } else { 0.0 };
            Ok(counts.iter().map(factor).collect())
        }
        ClassWeights::Given(factors) => {
            if factors.len() != counts.len() {
                let (got, expected) = (factors.len(), counts.len());
                return Err(LinearError::Length { what: "class weights", got, expected });
            }
            match factors.iter().find(|factor| !factor.is_finite() || **factor < 0.0) {
                Some(factor) => Err(LinearError::Option {
                    option: "class_weights",
                    got: factor.to_string(),
                    expected: "finite numbers from 0 on",
                }),
                None => Ok(factors.clone()),
            }
        }
    }
}

//! The loss of logistic regression and its gradient, over sparse or dense rows.
//!
//! The one decision: sparse rows are kept a second time by columns, so that each entry of the gradient is one sum
//! in the order of the rows; dense rows are summed in a fixed number of blocks. Either way threads do not matter.

use rayon::prelude::*;

use crate::matrix::{Csr, Dense, Matrix, dot};

/// Rows that a task takes at least.
const AT_LEAST: usize = 256;
/// Into how many blocks dense rows are cut for sums over them.
const BLOCKS: usize = 32;

/// What is minimised: the weighted mean of the losses of all rows, and the penalty on the coefficients.
///
/// Parameters are `[columns, outputs]`, one row for each column, and then the intercepts, if there are any.
pub(crate) struct Objective<'a> {
    pub(crate) rows: &'a Matrix,
    /// The same by columns, if it is sparse.
    by_column: Option<Csr>,
    /// The class of each row, `0..classes`.
    pub(crate) labels: &'a [u32],
    /// How much each row counts; the sum is 1.
    pub(crate) weights: &'a [f64],
    /// 1 for two classes, or else the number of classes.
    pub(crate) outputs: usize,
    pub(crate) intercept: bool,
    /// The penalty is half of this times the sum of squares.
    pub(crate) l2: f64,
}

impl<'a> Objective<'a> {
    pub(crate) fn new(
        rows: &'a Matrix,
        (labels, weights): (&'a [u32], &'a [f64]),
        outputs: usize,
        intercept: bool,
        l2: f64,
    ) -> Self {
        let by_column = match rows {
            Matrix::Sparse(sparse) => Some(sparse.transposed()),
            Matrix::Dense(_) => None,
        };
        Self { rows, by_column, labels, weights, outputs, intercept, l2 }
    }

    /// How many parameters there are.
    pub(crate) fn len(&self) -> usize {
        (self.rows.columns() + usize::from(self.intercept)) * self.outputs
    }

    /// The value at `at`; its gradient is written to `slope`.
    pub(crate) fn value(&self, at: &[f64], slope: &mut [f64]) -> f64 {
        let outputs = self.outputs;
        let mut scores = scores(self.rows, at, outputs, self.intercept);
        let mut losses = vec![0.0; self.rows.rows()];
        let each = scores.par_chunks_mut(outputs).zip(&mut losses).enumerate().with_min_len(AT_LEAST);
        each.for_each(|(row, (scores, loss))| *loss = self.row(row, scores));
        // What were scores are now the slopes of the losses by them.
        let (coefficients, intercepts) = slope.split_at_mut(self.rows.columns() * outputs);
        match (self.rows, &self.by_column) {
            (Matrix::Dense(dense), _) => dense_sums(dense, &scores, outputs, coefficients),
            (Matrix::Sparse(_), Some(by_column)) => sparse_sums(by_column, &scores, outputs, coefficients),
            (Matrix::Sparse(_), None) => {}
        }
        intercepts.fill(0.0);
        for of_row in scores.chunks(outputs).filter(|_| self.intercept) {
            intercepts.iter_mut().zip(of_row).for_each(|(sum, slope)| *sum += slope);
        }
        let own = &at[..coefficients.len()];
        coefficients.iter_mut().zip(own).for_each(|(slope, value)| *slope += self.l2 * value);
        losses.iter().sum::<f64>() + 0.5 * self.l2 * dot(own, own)
    }

    /// The weighted loss of a row; its scores become the slopes.
    fn row(&self, row: usize, scores: &mut [f64]) -> f64 {
        let (label, weight) = (self.labels[row] as usize, self.weights[row]);
        if let [score] = scores {
            let (target, z) = (label as f64, *score);
            let loss = log_one_plus_exp(z) - target * z;
            *score = weight * (sigmoid(z) - target);
            return weight * loss;
        }
        let own = scores[label];
        let log_sum = soft_max(scores);
        scores[label] -= 1.0;
        scores.iter_mut().for_each(|slope| *slope *= weight);
        weight * (log_sum - own)
    }
}

/// The scores `[rows, outputs]` of all rows.
pub(crate) fn scores(rows: &Matrix, at: &[f64], outputs: usize, intercept: bool) -> Vec<f64> {
    let (coefficients, intercepts) = at.split_at(rows.columns() * outputs);
    let mut scores = vec![0.0; rows.rows() * outputs];
    let turned = match rows {
        // One row of coefficients for each output, to go through in step with the values.
        Matrix::Dense(dense) => turned(coefficients, dense.columns(), outputs),
        Matrix::Sparse(_) => Vec::new(),
    };
    let each = scores.par_chunks_mut(outputs).enumerate().with_min_len(AT_LEAST);
    each.for_each(|(row, scores)| {
        if intercept {
            scores.copy_from_slice(intercepts);
        }
        match rows {
            Matrix::Dense(dense) => {
                let values = dense.row(row);
                let of_output = turned.chunks(dense.columns().max(1));
                scores.iter_mut().zip(of_output).for_each(|(score, own)| *score += dot(values, own));
            }
            Matrix::Sparse(sparse) => {
                let (columns, values) = sparse.row(row);
                for (&column, value) in columns.iter().zip(values) {
                    let own = &coefficients[column as usize * outputs..][..outputs];
                    scores.iter_mut().zip(own).for_each(|(score, own)| *score += value * own);
                }
            }
        }
    });
    scores
}

fn turned(coefficients: &[f64], columns: usize, outputs: usize) -> Vec<f64> {
    let mut turned = vec![0.0; coefficients.len()];
    for (column, own) in coefficients.chunks(outputs.max(1)).enumerate() {
        own.iter().enumerate().for_each(|(output, value)| turned[output * columns + column] = *value);
    }
    turned
}

/// For each column and output the sum over the rows of value times slope.
fn sparse_sums(by_column: &Csr, slopes: &[f64], outputs: usize, sums: &mut [f64]) {
    sums.par_chunks_mut(outputs).enumerate().with_min_len(AT_LEAST).for_each(|(column, sums)| {
        sums.fill(0.0);
        let (rows, values) = by_column.row(column);
        for (&row, value) in rows.iter().zip(values) {
            let of_row = &slopes[row as usize * outputs..][..outputs];
            sums.iter_mut().zip(of_row).for_each(|(sum, slope)| *sum += value * slope);
        }
    });
}

fn dense_sums(dense: &Dense, slopes: &[f64], outputs: usize, sums: &mut [f64]) {
    let (rows, columns) = (dense.rows(), dense.columns());
    let block = rows.div_ceil(BLOCKS).max(1);
    let of_block = |first: usize| {
        let mut sums = vec![0.0; columns * outputs];
        for row in first..(first + block).min(rows) {
            let values = dense.row(row);
            for (output, slope) in slopes[row * outputs..][..outputs].iter().enumerate() {
                let own = &mut sums[output * columns..][..columns];
                own.iter_mut().zip(values).for_each(|(sum, value)| *sum += slope * value);
            }
        }
        sums
    };
    let firsts: Vec<usize> = (0..rows).step_by(block).collect();
    let blocks: Vec<Vec<f64>> = firsts.into_par_iter().map(of_block).collect();
    sums.fill(0.0);
    for of_block in blocks {
        for (output, own) in of_block.chunks(columns.max(1)).enumerate() {
            own.iter().enumerate().for_each(|(column, sum)| sums[column * outputs + output] += sum);
        }
    }
}

/// Scores to probabilities; returns the logarithm of the sum of their exponentials.
pub(crate) fn soft_max(scores: &mut [f64]) -> f64 {
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - most).exp();
        sum += *score;
    }
    scores.iter_mut().for_each(|score| *score /= sum);
    most + sum.ln()
}

pub(crate) fn sigmoid(z: f64) -> f64 {
    if z >= 0.0 {
        1.0 / (1.0 + (-z).exp())
    } else {
        let e = z.exp();
        e / (1.0 + e)
    }
}

fn log_one_plus_exp(z: f64) -> f64 {
    z.max(0.0) + (-z.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The gradient is the one that differences show, for both kinds of rows and both kinds of loss.
    #[test]
    fn the_gradient_is_true() {
        let values: Vec<f64> = (0..40).map(|i| if i % 3 == 0 { 0.0 } else { f64::from(i).sin() }).collect();
        let dense = Dense::new(10, 4, values.clone()).unwrap();
        let (mut starts, mut indices, mut kept) = (vec![0], Vec::new(), Vec::new());
        for row in values.chunks(4) {
            for (column, value) in row.iter().enumerate().filter(|(_, value)| **value != 0.0) {
                indices.push(column as u32);
                kept.push(*value);
            }
            starts.push(indices.len());
        }
        let sparse = Csr::new(4, starts, indices, kept).unwrap();
        let weights: Vec<f64> = (1..=10).map(|i| f64::from(i) / 55.0).collect();
        for (outputs, classes) in [(1, 2), (3, 3)] {
            let labels: Vec<u32> = (0..10).map(|i| i * 7 % classes).collect();
            let mut slopes: Vec<Vec<f64>> = Vec::new();
            for rows in [Matrix::from(dense.clone()), Matrix::from(sparse.clone())] {
                let objective = Objective::new(&rows, (&labels, &weights), outputs, true, 0.3);
                let at: Vec<f64> = (0..objective.len()).map(|i| (i as f64 * 1.7).cos()).collect();
                let mut slope = vec![0.0; at.len()];
                objective.value(&at, &mut slope);
                let mut unused = slope.clone();
                for place in 0..at.len() {
                    let mut shifted = |by: f64| {
                        let mut at = at.clone();
                        at[place] += by;
                        objective.value(&at, &mut unused)
                    };
                    let difference = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
                    assert!(
                        (difference - slope[place]).abs() < 1e-9,
                        "{place}: {difference} {}",
                        slope[place]
                    );
                }
                slopes.push(slope);
            }
            assert!(slopes[0].iter().zip(&slopes[1]).all(|(a, b)| (a - b).abs() < 1e-14));
        }
    }
}

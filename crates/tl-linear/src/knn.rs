//! The vote of the nearest neighbours.
//!
//! The one decision: all distances are computed, exactly; of equally near rows the earlier counts.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::LinearError;
use crate::logistic::{best, check_labels};
use crate::matrix::{Matrix, dot};

/// How far rows are from each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Distance {
    /// 1 minus the cosine of the angle; 1 from a row of zeros.
    #[default]
    Cosine,
    /// The length of the difference.
    Euclid,
}

/// How much a neighbour counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Vote {
    /// As much as any other.
    #[default]
    Uniform,
    /// By the inverse of its distance; where some are at distance 0, only those count.
    Distance,
}

/// How to vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnnOptions {
    /// How many neighbours vote, from 1 to the number of rows.
    pub k: usize,
    /// How far rows are from each other.
    pub distance: Distance,
    /// How much a neighbour counts.
    pub vote: Vote,
}

impl Default for KnnOptions {
    fn default() -> Self {
        Self { k: 5, distance: Distance::Cosine, vote: Vote::Uniform }
    }
}

/// Rows to be neighbours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Knn {
    rows: Matrix,
    labels: Vec<u32>,
    classes: usize,
    options: KnnOptions,
    /// The sum of the squares of each row.
    squares: Vec<f64>,
}

impl Knn {
    /// Keeps rows `[N, F]` with labels in `0..classes`.
    ///
    /// # Errors
    /// `k` is out of range, lists differ in length, a value is not finite, or a label is no class.
    pub fn fit(
        rows: Matrix,
        labels: Vec<u32>,
        classes: usize,
        options: KnnOptions,
    ) -> Result<Self, LinearError> {
        check_labels(&rows, &labels, classes)?;
        rows.check_finite()?;
        if options.k == 0 || options.k > rows.rows() {
            let (got, expected) = (options.k.to_string(), "1 to the number of rows");
            return Err(LinearError::Option { option: "k", got, expected });
        }
        let squares = squares(&rows);
        Ok(Self { rows, labels, classes, options, squares })
    }

    /// The neighbours of each of `rows` and their distances, from near to far.
    ///
    /// # Errors
    /// The rows have another number of columns, or a value that is not finite.
    pub fn neighbours(&self, rows: &Matrix) -> Result<Vec<Vec<(usize, f64)>>, LinearError> {
        if rows.columns() != self.rows.columns() {
            let (got, expected) = (rows.columns(), self.rows.columns());
            return Err(LinearError::Length { what: "columns", got, expected });
        }
        rows.check_finite()?;
        let of_row = |row: usize| {
            let filled = rows.filled(row);
            let square = dot(&filled, &filled);
            let distance = |(other, of_other): (usize, &f64)| {
                let product = self.rows.dot(other, &filled);
                (other, self.distance(product, square, *of_other))
            };
            let mut all: Vec<(usize, f64)> = self.squares.iter().enumerate().map(distance).collect();
            let nearer = |a: &(usize, f64), b: &(usize, f64)| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0));
            if self.options.k < all.len() {
                all.select_nth_unstable_by(self.options.k - 1, nearer);
                all.truncate(self.options.k);
            }
            all.sort_unstable_by(nearer);
            all
        };
        Ok((0..rows.rows()).into_par_iter().map(of_row).collect())
    }

    fn distance(&self, product: f64, square: f64, of_other: f64) -> f64 {
        match self.options.distance {
            // Products of a row with itself and of its copy are computed differently: hence the lower end.
            Distance::Euclid => (square + of_other - 2.0 * product).max(0.0).sqrt(),
            Distance::Cosine => {
                let lengths = (square * of_other).sqrt();
                if lengths > 0.0 { (1.0 - product / lengths).clamp(0.0, 2.0) } else { 1.0 }
            }
        }
    }

    /// The shares of the votes `[N, classes]`, row by row.
    ///
    /// # Errors
    /// Those of [`neighbours`](Self::neighbours).
    pub fn predict_proba(&self, rows: &Matrix) -> Result<Vec<f64>, LinearError> {
        // Below this the difference of two rows is rounding.
        const SAME: f64 = 1e-12;
        let mut all = vec![0.0; rows.rows() * self.classes];
        for (neighbours, shares) in self.neighbours(rows)?.iter().zip(all.chunks_mut(self.classes)) {
            let same = neighbours.iter().any(|(_, distance)| *distance <= SAME);
            let mut sum = 0.0;
            for &(other, distance) in neighbours {
                let vote = match self.options.vote {
                    Vote::Uniform => 1.0,
                    Vote::Distance if same => f64::from(u8::from(distance <= SAME)),
                    Vote::Distance => 1.0 / distance,
                };
                shares[self.labels[other] as usize] += vote;
                sum += vote;
            }
            shares.iter_mut().for_each(|share| *share /= sum);
        }
        Ok(all)
    }

    /// The class with the most votes; of equals the first.
    ///
    /// # Errors
    /// Those of [`neighbours`](Self::neighbours).
    pub fn predict(&self, rows: &Matrix) -> Result<Vec<u32>, LinearError> {
        Ok(self.predict_proba(rows)?.chunks(self.classes).map(best).collect())
    }
}

fn squares(rows: &Matrix) -> Vec<f64> {
    (0..rows.rows()).map(|row| dot(rows.kept(row), rows.kept(row))).collect()
}

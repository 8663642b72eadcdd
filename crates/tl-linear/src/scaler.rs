//! Columns brought to mean 0 and variance 1.
//!
//! The one decision: a column that is the same in all rows becomes 0 and nothing is divided by 0.

use serde::{Deserialize, Serialize};

use crate::error::LinearError;
use crate::matrix::Dense;

/// The mean and standard deviation of each column of some rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scaler {
    mean: Vec<f64>,
    /// The standard deviation (of N rows, not N - 1); 1 for a column of equals.
    scale: Vec<f64>,
}

impl Scaler {
    /// Measures rows.
    pub fn fit(rows: &Dense) -> Self {
        let count = rows.rows().max(1) as f64;
        let mut mean = vec![0.0; rows.columns()];
        for row in 0..rows.rows() {
            mean.iter_mut().zip(rows.row(row)).for_each(|(sum, value)| *sum += value / count);
        }
        let mut scale = vec![0.0; rows.columns()];
        for row in 0..rows.rows() {
            let each = scale.iter_mut().zip(rows.row(row)).zip(&mean);
            each.for_each(|((sum, value), mean)| *sum += (value - mean).powi(2) / count);
        }
        for (scale, mean) in scale.iter_mut().zip(&mean) {
            let deviation = scale.sqrt();
            // What is left of equal values by rounding is no spread.
            *scale = if deviation > 10.0 * f64::EPSILON * mean.abs() { deviation } else { 1.0 };
        }
        Self { mean, scale }
    }

    /// Brings rows to the scale, in place.
    ///
    /// # Errors
    /// The rows have another number of columns.
    pub fn apply(&self, rows: &mut Dense) -> Result<(), LinearError> {
        let (got, expected) = (rows.columns(), self.mean.len());
        if got != expected {
            return Err(LinearError::Length { what: "columns", got, expected });
        }
        for row in rows.values_mut().chunks_mut(expected.max(1)) {
            let each = row.iter_mut().zip(&self.mean).zip(&self.scale);
            each.for_each(|((value, mean), scale)| *value = (*value - mean) / scale);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_0_and_variance_1() {
        let mut rows = Dense::new(3, 2, vec![1.0, 0.1, 2.0, 0.1, 6.0, 0.1]).unwrap();
        let scaler = Scaler::fit(&rows);
        scaler.apply(&mut rows).unwrap();
        let column = |at: usize| (0..3).map(|row| rows.row(row)[at]).collect::<Vec<f64>>();
        assert!(column(0).iter().sum::<f64>().abs() < 1e-12);
        assert!((column(0).iter().map(|x| x * x).sum::<f64>() - 3.0).abs() < 1e-12);
        assert!(column(1).iter().all(|x| x.abs() < 1e-12));
        assert!(scaler.apply(&mut Dense::new(1, 1, vec![1.0]).unwrap()).is_err());
    }
}

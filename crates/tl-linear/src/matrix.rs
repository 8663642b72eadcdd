//! Rows of numbers, dense or sparse.
//!
//! The one decision: both kinds are 64-bit floats in plain vectors, so that any crate can make them without
//! sharing a library of arrays.

use serde::{Deserialize, Serialize};

use crate::error::LinearError;

/// Rows without zeros (compressed sparse rows).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawCsr")]
pub struct Csr {
    columns: usize,
    /// Where each row starts in the lists below, and where the last one ends.
    starts: Vec<usize>,
    indices: Vec<u32>,
    values: Vec<f64>,
}

/// What is read of a [`Csr`], before it is checked.
#[derive(Deserialize)]
struct RawCsr {
    columns: usize,
    starts: Vec<usize>,
    indices: Vec<u32>,
    values: Vec<f64>,
}

impl TryFrom<RawCsr> for Csr {
    type Error = LinearError;

    fn try_from(raw: RawCsr) -> Result<Self, LinearError> {
        Self::new(raw.columns, raw.starts, raw.indices, raw.values)
    }
}

impl Csr {
    /// A matrix `[starts.len() - 1, columns]`: row `i` has the values from `starts[i]` to `starts[i + 1]`, in
    /// the columns that `indices` says, which ascend in each row.
    ///
    /// # Errors
    /// The lists contradict each other, or a column is out of range.
    pub fn new(
        columns: usize,
        starts: Vec<usize>,
        indices: Vec<u32>,
        values: Vec<f64>,
    ) -> Result<Self, LinearError> {
        if indices.len() != values.len() {
            let (got, expected) = (values.len(), indices.len());
            return Err(LinearError::Length { what: "values", got, expected });
        }
        let ends = (starts.first().copied(), starts.last().copied());
        if ends != (Some(0), Some(indices.len())) {
            return Err(LinearError::Sparse { row: 0, detail: "its starts do not cover the values" });
        }
        for (row, span) in starts.windows(2).enumerate() {
            let broken = |detail| Err(LinearError::Sparse { row, detail });
            let Some(of_row) = indices.get(span[0]..span[1]) else {
                return broken("its start is behind its end");
            };
            if of_row.windows(2).any(|pair| pair[0] >= pair[1]) {
                return broken("its columns do not ascend");
            }
            if of_row.last().is_some_and(|&last| last as usize >= columns) {
                return broken("it has a column out of range");
            }
        }
        Ok(Self { columns, starts, indices, values })
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// How many columns there are.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// How many values are kept.
    pub fn nonzeros(&self) -> usize {
        self.values.len()
    }

    /// The columns and values of a row.
    pub fn row(&self, row: usize) -> (&[u32], &[f64]) {
        let span = self.starts[row]..self.starts[row + 1];
        (&self.indices[span.clone()], &self.values[span])
    }

    /// The rows of some places, in their order.
    pub fn select(&self, rows: &[usize]) -> Self {
        let mut picked = Self { columns: self.columns, starts: vec![0], ..Self::default() };
        for &row in rows {
            let (indices, values) = self.row(row);
            picked.indices.extend_from_slice(indices);
            picked.values.extend_from_slice(values);
            picked.starts.push(picked.indices.len());
        }
        picked
    }

    /// The matrix with rows and columns exchanged.
    pub fn transposed(&self) -> Self {
        let mut starts = vec![0; self.columns + 1];
        for &column in &self.indices {
            starts[column as usize + 1] += 1;
        }
        for column in 0..self.columns {
            starts[column + 1] += starts[column];
        }
        let mut next = starts.clone();
        let (mut indices, mut values) = (vec![0; self.indices.len()], vec![0.0; self.values.len()]);
        for row in 0..self.rows() {
            let (columns, of_row) = self.row(row);
            for (&column, &value) in columns.iter().zip(of_row) {
                let at = &mut next[column as usize];
                (indices[*at], values[*at]) = (row as u32, value);
                *at += 1;
            }
        }
        Self { columns: self.rows(), starts, indices, values }
    }
}

/// Rows with a value in each column.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawDense")]
pub struct Dense {
    rows: usize,
    columns: usize,
    values: Vec<f64>,
}

/// What is read of a [`Dense`], before it is checked.
#[derive(Deserialize)]
struct RawDense {
    rows: usize,
    columns: usize,
    values: Vec<f64>,
}

impl TryFrom<RawDense> for Dense {
    type Error = LinearError;

    fn try_from(raw: RawDense) -> Result<Self, LinearError> {
        Self::new(raw.rows, raw.columns, raw.values)
    }
}

impl Dense {
    /// A matrix `[rows, columns]` of values row by row.
    ///
    /// # Errors
    /// There are not `rows * columns` values.
    pub fn new(rows: usize, columns: usize, values: Vec<f64>) -> Result<Self, LinearError> {
        let expected = rows.saturating_mul(columns);
        if values.len() != expected {
            return Err(LinearError::Length { what: "values", got: values.len(), expected });
        }
        Ok(Self { rows, columns, values })
    }

    /// [`new`](Self::new) of 32-bit floats, as nets put them out.
    ///
    /// # Errors
    /// There are not `rows * columns` values.
    pub fn from_f32(rows: usize, columns: usize, values: &[f32]) -> Result<Self, LinearError> {
        Self::new(rows, columns, values.iter().map(|&value| f64::from(value)).collect())
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many columns there are.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The values of a row.
    pub fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.columns..(row + 1) * self.columns]
    }

    /// The rows of some places, in their order.
    pub fn select(&self, rows: &[usize]) -> Self {
        let values = rows.iter().flat_map(|&row| self.row(row)).copied().collect();
        Self { rows: rows.len(), columns: self.columns, values }
    }

    pub(crate) fn values_mut(&mut self) -> &mut [f64] {
        &mut self.values
    }
}

/// Rows, dense or sparse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Matrix {
    /// A value in each column.
    Dense(Dense),
    /// No zeros.
    Sparse(Csr),
}

impl From<Dense> for Matrix {
    fn from(dense: Dense) -> Self {
        Self::Dense(dense)
    }
}

impl From<Csr> for Matrix {
    fn from(sparse: Csr) -> Self {
        Self::Sparse(sparse)
    }
}

impl Matrix {
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        match self {
            Self::Dense(dense) => dense.rows(),
            Self::Sparse(sparse) => sparse.rows(),
        }
    }

    /// How many columns there are.
    pub fn columns(&self) -> usize {
        match self {
            Self::Dense(dense) => dense.columns(),
            Self::Sparse(sparse) => sparse.columns(),
        }
    }

    /// The rows of some places, in their order.
    pub fn select(&self, rows: &[usize]) -> Self {
        match self {
            Self::Dense(dense) => dense.select(rows).into(),
            Self::Sparse(sparse) => sparse.select(rows).into(),
        }
    }

    /// The sum of the products of a row and a vector with a value for each column.
    pub(crate) fn dot(&self, row: usize, vector: &[f64]) -> f64 {
        match self {
            Self::Dense(dense) => dot(dense.row(row), vector),
            Self::Sparse(sparse) => {
                let (columns, values) = sparse.row(row);
                columns.iter().zip(values).map(|(&column, &value)| value * vector[column as usize]).sum()
            }
        }
    }

    /// A row with its zeros.
    pub(crate) fn filled(&self, row: usize) -> Vec<f64> {
        match self {
            Self::Dense(dense) => dense.row(row).to_vec(),
            Self::Sparse(sparse) => {
                let mut filled = vec![0.0; sparse.columns()];
                let (columns, values) = sparse.row(row);
                columns.iter().zip(values).for_each(|(&column, &value)| filled[column as usize] = value);
                filled
            }
        }
    }

    /// The values of a row that are kept.
    pub(crate) fn kept(&self, row: usize) -> &[f64] {
        match self {
            Self::Dense(dense) => dense.row(row),
            Self::Sparse(sparse) => sparse.row(row).1,
        }
    }

    pub(crate) fn check_finite(&self) -> Result<(), LinearError> {
        let bad = |row: &usize| self.kept(*row).iter().any(|value| !value.is_finite());
        match (0..self.rows()).find(bad) {
            None => Ok(()),
            Some(row) => {
                let of_row = |row| self.kept(row).iter().filter(|value| !value.is_finite()).count();
                let count = (row..self.rows()).map(of_row).sum();
                Err(LinearError::NotFinite { what: "values", count, row })
            }
        }
    }
}

/// The sum of products, in eight interleaved sums, so that it can be computed in vectors.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 8;
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f64 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(a, b)| a * b).sum();
    let mut sums = [0.0; LANES];
    for (a, b) in a_chunks.zip(b_chunks) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_lists_are_refused() {
        let make = |starts: &[usize], indices: &[u32], values: usize| {
            Csr::new(3, starts.to_vec(), indices.to_vec(), vec![1.0; values])
        };
        assert!(make(&[0, 2, 3], &[0, 2, 1], 3).is_ok());
        for (starts, indices, values, wanted) in [
            (&[0, 2][..], &[0, 2][..], 1, "there are 1 values (expected 2)"),
            (&[0, 1], &[0, 2], 2, "row 0 of the sparse matrix is broken: its starts do not cover the values"),
            (&[0, 2], &[2, 0], 2, "row 0 of the sparse matrix is broken: its columns do not ascend"),
            (&[0, 1, 2], &[0, 3], 2, "row 1 of the sparse matrix is broken: it has a column out of range"),
            (&[0, 2, 1, 2], &[0, 1], 2, "row 1 of the sparse matrix is broken: its start is behind its end"),
        ] {
            assert_eq!(make(starts, indices, values).unwrap_err().to_string(), wanted);
        }
        assert!(Dense::new(2, 2, vec![1.0; 3]).is_err());
        let read = |text: &str| serde_json::from_str::<Matrix>(text).map_err(|error| error.to_string());
        let text = r#"{"sparse":{"columns":3,"starts":[0,1],"indices":[7],"values":[1.0]}}"#;
        assert!(read(text).unwrap_err().contains("it has a column out of range"));
        assert!(read(&text.replace('7', "2")).is_ok());
        assert!(read(r#"{"dense":{"rows":2,"columns":2,"values":[1.0]}}"#).is_err());
    }

    #[test]
    fn columns_become_rows() {
        let csr = Csr::new(3, vec![0, 2, 2, 3], vec![0, 2, 2], vec![1.0, 2.0, 3.0]).unwrap();
        let turned = csr.transposed();
        assert_eq!((turned.rows(), turned.columns()), (3, 3));
        assert_eq!(turned.row(2), (&[0, 2][..], &[2.0, 3.0][..]));
        assert_eq!(turned.transposed(), csr);
        assert_eq!(csr.select(&[2, 0]).row(1), csr.row(0));
    }
}

//! Kept activations, and the order of their rows.
//!
//! The decision behind it: of images and pooled features a row is a sample, of texts below a row is a token, so that
//! nothing is kept for what only fills up a batch. Rows stand in the order in which a pass has them, which is a function
//! of the lengths alone.

use tch::{Device, Tensor};
use tl_text::tokens::Encoded;
use tl_torch::upload;

use super::store::StoredRows;
use crate::error::TrainError;
use crate::feed;

/// Activations of one pass at one level.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(super) rows: Rows,
    /// Of a row: channels, height and width; or tokens and channels; or channels of a token; or the length of the pooled
    /// vector.
    pub(super) shape: Vec<i64>,
    /// Where each text is; none of images, which stand in their order.
    pub(super) layout: Option<Layout>,
}

/// Channels innermost, so that rows can be picked without losing that layout.
#[derive(Debug)]
pub(super) enum Rows {
    /// `[rows, …]`, in the computer's memory, of which there is more than on a GPU.
    Memory(Tensor),
    Disk(StoredRows),
}

/// The rows of each text: where they begin and how many they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    start: Vec<u32>,
    len: Vec<u32>,
    /// Whether a row is a token, else a text.
    tokens: bool,
}

/// Activations of some samples.
#[derive(Debug)]
pub(crate) struct Picked {
    /// `[N, C, H, W]`, `[N, T, C]`, or `[N, D]` at the last level.
    pub(crate) xs: Tensor,
    /// Which tokens are real, bool `[N, T]`; none where all are.
    pub(crate) mask: Option<Tensor>,
}

impl Layout {
    /// Of the passes over these texts; of their tokens, or of one row for each.
    pub(super) fn new(encoded: &Encoded, tokens: bool) -> Self {
        let lengths = encoded.lengths();
        let rows = |place: usize| if tokens { lengths[place] as u32 } else { 1 };
        let mut start = vec![0; lengths.len()];
        let mut at = 0;
        for place in feed::text_batches(encoded).into_iter().flatten() {
            start[place as usize] = at;
            at += rows(place as usize);
        }
        Self { start, len: (0..lengths.len()).map(rows).collect(), tokens }
    }

    /// The rows of these texts one after the other: where each begins, and how many it has.
    fn runs(&self, indices: &[u32]) -> Vec<(u64, u64)> {
        let run = |&i: &u32| (u64::from(self.start[i as usize]), u64::from(self.len[i as usize]));
        indices.iter().map(run).collect()
    }
}

impl Kept {
    /// The activations of these samples.
    pub(crate) fn pick(&self, indices: &[u32], device: Device) -> Result<Picked, TrainError> {
        let n = indices.len() as i64;
        let runs: Vec<(u64, u64)> = match &self.layout {
            None => indices.iter().map(|&i| (u64::from(i), 1)).collect(),
            Some(layout) => layout.runs(indices),
        };
        let width = runs.iter().map(|(_, len)| *len).max().unwrap_or(1);
        let (rows, starts): (_, Vec<u64>) = match &self.rows {
            Rows::Memory(rows) => (rows.shallow_clone(), runs.iter().map(|(start, _)| *start).collect()),
            Rows::Disk(rows) => {
                let values = Tensor::from_slice(&rows.read(&runs)?);
                let starts = runs.iter().scan(0, |at, (_, len)| {
                    *at += len;
                    Some(*at - len)
                });
                (values.view([-1, self.shape.iter().product()]), starts.collect())
            }
        };
        // What fills up a text is its first token once more: anything finite will do.
        let row = |(start, (_, len)): (&u64, &(u64, u64))| {
            let (start, len) = (*start, *len);
            (0..width).map(move |i| (start + if i < len { i } else { 0 }) as i64)
        };
        let numbers: Vec<i64> = starts.iter().zip(&runs).flat_map(row).collect();
        let rows = upload(rows.index_select(0, &Tensor::from_slice(&numbers)), device);
        let xs = match (self.shape.as_slice(), &self.layout) {
            (&[c], Some(Layout { tokens: true, .. })) => rows.view([n, -1, c]),
            (&[c, h, w], _) => rows.view([n, h, w, c]).permute([0, 3, 1, 2]),
            (&[t, c], _) => rows.view([n, t, c]),
            _ => rows,
        };
        let lengths = runs.iter().map(|(_, len)| *len as i64).collect();
        Ok(Picked { xs, mask: feed::mask(lengths, width as i64, device) })
    }

    /// Bytes in memory or on disk.
    pub(super) fn bytes(&self) -> u64 {
        match &self.rows {
            Rows::Memory(rows) => (rows.numel() * size_of::<f32>()) as u64,
            Rows::Disk(rows) => rows.bytes(),
        }
    }
}

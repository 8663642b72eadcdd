//! A batch, and the memory it lives in.
//!
//! The one decision: pixels know where their memory came from and take it back there when they are dropped, so that an
//! epoch allocates as many batches as there are at a time and no more.

use std::mem;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex};

use ndarray::{Array2, Array4};

use crate::augment::Mix;
use crate::error::DataError;

/// Images and their labels, ready for a net.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Normalised images, `[N, 3, H, W]`, in standard layout.
    pub images: Pixels,
    /// The class of each image, `[N]`; 0 where it has targets.
    pub labels: Vec<u32>,
    /// The row of targets of each image, `[N, targets]`, where the samples have them; not mixed, whatever the images are.
    pub targets: Option<Array2<f32>>,
    /// The place of each image in the list of samples, `[N]`.
    pub indices: Vec<u32>,
    /// How the images are mixed, if they are; then the labels or targets alone are not what they show.
    pub mix: Option<Mix>,
    /// How much each image counts in the loss, `[N]`, where weights were given.
    pub weights: Option<Vec<f32>>,
}

impl Batch {
    /// What the images show, `[N, classes]`: the part of each class, in rows that sum to 1; or the rows of targets,
    /// mixed as the images are.
    ///
    /// # Errors
    /// A label is not below `classes`, or there are not that many targets.
    pub fn soft_targets(&self, classes: usize) -> Result<Array2<f32>, DataError> {
        if let Some(targets) = &self.targets {
            return self.mixed(targets, classes);
        }
        if let Some(label) = self.labels.iter().find(|label| **label as usize >= classes) {
            let expected = format!("less than the number of classes, {classes}");
            return Err(DataError::Option { option: "labels", got: label.to_string(), expected });
        }
        let mut targets = Array2::zeros((self.labels.len(), classes));
        let mut add = |row: usize, of: usize, part: f32| {
            let label = self.labels.get(of).map(|&label| label as usize);
            if let Some(target) = label.and_then(|label| targets.get_mut((row, label))) {
                *target += part;
            }
        };
        for row in 0..self.labels.len() {
            match &self.mix {
                None => add(row, row, 1.0),
                Some(mix) => {
                    add(row, row, mix.lambda);
                    let partner = mix.partner.get(row).map_or(row, |&partner| partner as usize);
                    add(row, partner, 1.0 - mix.lambda);
                }
            }
        }
        Ok(targets)
    }

    /// Rows of targets, mixed as the images are.
    fn mixed(&self, targets: &Array2<f32>, columns: usize) -> Result<Array2<f32>, DataError> {
        if targets.ncols() != columns {
            let (got, expected) = (format!("{} columns", targets.ncols()), columns.to_string());
            return Err(DataError::Option { option: "targets", got, expected });
        }
        let Some(Mix { partner, lambda, .. }) = &self.mix else { return Ok(targets.clone()) };
        Ok(Array2::from_shape_fn(targets.dim(), |(row, column)| {
            let own = targets[(row, column)];
            let other = partner.get(row).and_then(|&other| targets.get((other as usize, column)));
            lambda * own + (1.0 - lambda) * other.copied().unwrap_or(own)
        }))
    }
}

/// The pixels of a batch: an array whose memory goes back to its loader when it is dropped.
#[derive(Debug)]
pub struct Pixels {
    array: Array4<f32>,
    home: Option<Arc<Buffers>>,
}

impl Pixels {
    pub(super) fn new(array: Array4<f32>, home: &Arc<Buffers>) -> Self {
        Self { array, home: Some(Arc::clone(home)) }
    }

    /// The array, to keep.
    pub fn into_array(mut self) -> Array4<f32> {
        self.home = None;
        mem::take(&mut self.array)
    }
}

impl Deref for Pixels {
    type Target = Array4<f32>;

    fn deref(&self) -> &Array4<f32> {
        &self.array
    }
}

impl DerefMut for Pixels {
    fn deref_mut(&mut self) -> &mut Array4<f32> {
        &mut self.array
    }
}

impl From<Array4<f32>> for Pixels {
    fn from(array: Array4<f32>) -> Self {
        Self { array, home: None }
    }
}

impl Clone for Pixels {
    fn clone(&self) -> Self {
        self.array.clone().into()
    }
}

impl PartialEq for Pixels {
    fn eq(&self, other: &Self) -> bool {
        self.array == other.array
    }
}

impl Drop for Pixels {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.put(mem::take(&mut self.array).into_raw_vec_and_offset().0);
        }
    }
}

/// Memory of batches that are no longer used.
#[derive(Debug)]
pub(super) struct Buffers {
    free: Mutex<Vec<Vec<f32>>>,
    most: usize,
}

impl Buffers {
    /// Keeps up to `most` buffers.
    pub(super) fn new(most: usize) -> Self {
        Self { free: Mutex::default(), most }
    }

    /// A buffer of this length and of unknown content.
    pub(super) fn take(&self, length: usize) -> Vec<f32> {
        let free = self.free.lock().ok().and_then(|mut free| free.pop());
        match free {
            Some(mut buffer) => {
                buffer.resize(length, 0.0);
                buffer
            }
            // Zeros from the allocator are not touched until they are written.
            None => vec![0.0; length],
        }
    }

    pub(super) fn put(&self, buffer: Vec<f32>) {
        if let Ok(mut free) = self.free.lock()
            && free.len() < self.most
        {
            free.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_once_and_only_so_much_of_it() {
        let home = Arc::new(Buffers::new(1));
        let pixels = |home| Pixels::new(Array4::zeros((2, 3, 4, 4)), home);
        let (a, b) = (pixels(&home), pixels(&home));
        let (copy, place) = (a.clone(), a.as_ptr());
        drop((a, b));
        assert_eq!(home.free.lock().unwrap().len(), 1);
        let taken = home.take(90);
        assert_eq!((taken.as_ptr(), taken.len()), (place, 90));
        drop(copy);
        let kept = pixels(&home).into_array();
        assert_eq!((kept.len(), home.free.lock().unwrap().len()), (96, 0));
        assert_eq!(home.take(5), [0.0; 5]);
    }

    #[test]
    fn soft_targets_are_mixtures() {
        let images: Pixels = Array4::zeros((3, 3, 1, 1)).into();
        let (labels, indices) = (vec![0, 2, 1], vec![7, 8, 9]);
        let mut batch = Batch { images, labels, targets: None, indices, mix: None, weights: None };
        let rows = |batch: &Batch| batch.soft_targets(3).unwrap().into_raw_vec_and_offset().0;
        assert_eq!(rows(&batch), [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
        batch.mix = Some(Mix { partner: vec![2, 1, 0], lambda: 0.75, window: None });
        assert_eq!(rows(&batch), [0.75, 0.25, 0.0, 0.0, 0.0, 1.0, 0.25, 0.75, 0.0]);
        assert!(batch.soft_targets(2).unwrap_err().to_string().contains("less than the number of classes"));

        // Rows of targets instead: the same mixture of labels, or of numbers.
        batch.targets = Some(Array2::from_shape_vec((3, 2), vec![1.0, 1.0, 0.0, 1.0, -4.0, 8.0]).unwrap());
        assert_eq!(
            batch.soft_targets(2).unwrap().into_raw_vec_and_offset().0,
            [-0.25, 2.75, 0.0, 1.0, -2.75, 6.25]
        );
        assert!(
            batch.soft_targets(3).unwrap_err().to_string().contains("`targets` is 2 columns (expected 3)")
        );
        batch.mix = None;
        assert_eq!(batch.soft_targets(2).ok(), batch.targets);
    }
}

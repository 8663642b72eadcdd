//! What a loader goes through, and how it prepares it.
//!
//! The one decision: all of it is plain values that are checked once, together, before the work starts.

use std::sync::Arc;

use super::cache::DecodedCache;
use super::view::View;
use crate::error::DataError;
use crate::options::Checks;

/// What a [`crate::Loader`] goes through.
#[derive(Debug, Clone)]
pub struct LoaderOptions {
    /// Images in a batch; the last batch may be smaller.
    pub batch: usize,
    /// Batches prepared ahead of the one that is being used; with 0 nothing happens between batches.
    pub prefetch: usize,
    /// Which samples, in which order; places in the list of samples, repeats allowed.
    pub order: Vec<u32>,
    /// The seed of the run.
    pub seed: u64,
    /// The epoch, from 0.
    pub epoch: u64,
    /// How many batches at the beginning of the order to leave out: those that follow are what they would have been.
    pub start_batch: usize,
    /// How much each sample counts in the loss, `[samples]`; batches then carry the weights of their images.
    pub weights: Option<Arc<[f32]>>,
    /// Where to keep decoded images. It changes nothing but the time.
    pub cache: Option<DecodedCache>,
    /// Shrinks every image right after decoding so that its short side has this many pixels, bilinear and antialiased,
    /// if it has more; with or without a cache. It changes pixels a little, and crops of large images become cheaper.
    /// [`View::shrink_side`] says what loses nothing that the net would see.
    pub shrink: Option<u32>,
}

impl Default for LoaderOptions {
    /// No samples, batches of one, two batches ahead, seed and epoch 0.
    fn default() -> Self {
        Self {
            batch: 1,
            prefetch: 2,
            order: Vec::new(),
            seed: 0,
            epoch: 0,
            start_batch: 0,
            weights: None,
            cache: None,
            shrink: None,
        }
    }
}

impl LoaderOptions {
    /// All of `samples` samples from first to last, two batches ahead, seed and epoch 0.
    pub fn in_order(samples: usize, batch: usize) -> Self {
        Self { batch, order: (0..samples as u32).collect(), ..Self::default() }
    }

    /// How many batches the order holds, those left out included.
    pub fn batches(&self) -> usize {
        self.order.len().div_ceil(self.batch.max(1))
    }

    pub(super) fn check(&self, view: &View, samples: usize) -> Result<(), DataError> {
        let mut checks = Checks::default();
        view.note(&mut checks);
        checks.require(self.batch > 0, "batch", &self.batch, "at least 1");
        if let Some(index) = self.order.iter().find(|&&index| index as usize >= samples) {
            let expected = format!("less than the number of samples, {samples}");
            checks.require(false, "order", index, &expected);
        }
        let batches = self.batches();
        let expected = format!("at most the number of batches, {batches}");
        checks.require(self.start_batch <= batches, "start_batch", &self.start_batch, &expected);
        if let Some(weights) = &self.weights {
            let expected = format!("one for each of {samples} samples");
            checks.require(weights.len() == samples, "weights", &weights.len(), &expected);
            let bad = weights.iter().find(|weight| !(weight.is_finite() && **weight >= 0.0));
            checks.require(bad.is_none(), "weights", &bad, "finite numbers from 0");
        }
        checks.require(self.shrink != Some(0), "shrink", &self.shrink, "at least 1 pixel");
        checks.finish()
    }
}

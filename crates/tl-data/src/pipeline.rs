//! Samples to batches, in a given order, on several threads and in bounded memory.
//!
//! The one decision: one task makes one whole batch, and each image writes straight into its own part of it.
//! Batches come out in order; no more than `prefetch + 1` of them exist at a time, however many images there
//! are.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};

use ndarray::Array4;
use rayon::prelude::*;

use crate::augment::{Augment, Key};
use crate::decode::decode_rgb;
use crate::error::DataError;
use crate::folder::Sample;
use crate::pool::DataPool;
use crate::preprocess::{Normaliser, Preprocess};

/// Images and their labels, ready for a net.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Normalised images, `[N, 3, H, W]`, in standard layout.
    pub images: Array4<f32>,
    /// The class of each image, `[N]`.
    pub labels: Vec<u32>,
    /// The place of each image in the list of samples, `[N]`.
    pub indices: Vec<u32>,
}

/// How images are prepared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum View {
    /// The validation transform; the seed and the epoch do not matter.
    Eval(Preprocess),
    /// Augmented images, another view of each in every epoch.
    Train(Preprocess, Augment),
}

impl View {
    fn preprocess(&self) -> &Preprocess {
        match self {
            Self::Eval(preprocess) | Self::Train(preprocess, _) => preprocess,
        }
    }

    fn check(&self) -> Result<(), DataError> {
        self.preprocess().check()?;
        match self {
            Self::Eval(_) => Ok(()),
            Self::Train(_, augment) => augment.check(),
        }
    }
}

/// What a [`Loader`] goes through.
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
}

impl LoaderOptions {
    /// All of `samples` samples from first to last, two batches ahead, seed and epoch 0.
    pub fn in_order(samples: usize, batch: usize) -> Self {
        Self { batch, prefetch: 2, order: (0..samples as u32).collect(), seed: 0, epoch: 0 }
    }
}

/// An iterator over the batches of one epoch.
///
/// The batches are the same for any number of threads and any `prefetch`. After an error it ends. Dropping it
/// early stops the work within one image per thread and waits for that. Do not call it from inside of the
/// pool's own threads: it would wait for itself.
#[derive(Debug)]
pub struct Loader {
    shared: Arc<Shared>,
    pool: DataPool,
    /// The batches that are being made, oldest first.
    pending: VecDeque<Receiver<Result<Batch, DataError>>>,
    /// Number of the next batch to start.
    next: usize,
    /// Number of batches in the epoch.
    batches: usize,
}

/// What the tasks of one loader share.
#[derive(Debug)]
struct Shared {
    samples: Arc<[Sample]>,
    view: View,
    normaliser: Normaliser,
    options: LoaderOptions,
    stop: AtomicBool,
    /// Images begun so far: lets a test see how far ahead the work is.
    begun: AtomicUsize,
}

impl Loader {
    /// Prepares to go through `options.order`; the work starts with the first call of `next`.
    ///
    /// # Errors
    /// `batch` is 0, a place in `order` is beyond the samples, or a field of the view is out of range.
    pub fn new(
        samples: impl Into<Arc<[Sample]>>,
        view: View,
        options: LoaderOptions,
        pool: &DataPool,
    ) -> Result<Self, DataError> {
        let samples = samples.into();
        view.check()?;
        if options.batch == 0 {
            let (got, expected) = ("0".to_owned(), "at least 1".to_owned());
            return Err(DataError::Option { option: "batch", got, expected });
        }
        if let Some(&index) = options.order.iter().find(|&&index| index as usize >= samples.len()) {
            let expected = format!("less than the number of samples, {}", samples.len());
            return Err(DataError::Option { option: "order", got: index.to_string(), expected });
        }
        let batches = options.order.len().div_ceil(options.batch);
        let normaliser = view.preprocess().normaliser();
        let (stop, begun) = (AtomicBool::new(false), AtomicUsize::new(0));
        let shared = Arc::new(Shared { samples, view, normaliser, options, stop, begun });
        Ok(Self { shared, pool: pool.clone(), pending: VecDeque::new(), next: 0, batches })
    }

    /// Starts batches until `ahead` of them are pending.
    fn fill(&mut self, ahead: usize) {
        while self.pending.len() < ahead && self.next < self.batches {
            let (sender, receiver) = channel();
            let (shared, number) = (Arc::clone(&self.shared), self.next);
            self.pool.spawn(move || {
                // A panic that left the task would end the process; here it drops the sender, which `next`
                // sees.
                let result = catch_unwind(AssertUnwindSafe(|| shared.make(number)));
                // Before the sender goes: who waits for that may count on nothing being left behind.
                drop(shared);
                if let Ok(Some(result)) = result {
                    let _ = sender.send(result);
                }
            });
            self.pending.push_back(receiver);
            self.next += 1;
        }
    }

    /// Ends the iteration and waits for the tasks.
    fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.next = self.batches;
        for receiver in self.pending.drain(..) {
            let _ = receiver.recv();
        }
    }
}

impl Iterator for Loader {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let prefetch = self.shared.options.prefetch;
        self.fill(prefetch.max(1));
        let number = self.next - self.pending.len();
        let oldest = self.pending.pop_front()?;
        self.fill(prefetch);
        let batch = oldest.recv().unwrap_or(Err(DataError::WorkerLost { batch: number }));
        if batch.is_err() {
            self.stop();
        }
        Some(batch)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.batches - self.next + self.pending.len();
        (0, Some(left))
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    /// Makes one batch, or nothing when the loader was stopped. Of several bad images the first is reported.
    fn make(&self, number: usize) -> Option<Result<Batch, DataError>> {
        let LoaderOptions { batch, order, .. } = &self.options;
        let from = number * batch;
        let indices = order[from..order.len().min(from.saturating_add(*batch))].to_vec();
        let side = self.view.preprocess().input as usize;
        let length = 3 * side * side;
        if self.stop.load(Ordering::Relaxed) {
            return None;
        }

        let mut images = vec![0.0; indices.len() * length];
        let results: Vec<Option<Result<(), DataError>>> = images
            .par_chunks_mut(length)
            .zip(indices.par_iter())
            .with_max_len(1)
            .map(|(out, &index)| self.prepare(&self.samples[index as usize], out))
            .collect();
        for result in results {
            if let Err(error) = result? {
                return Some(Err(error));
            }
        }
        let labels = indices.iter().map(|&index| self.samples[index as usize].label).collect();
        let images = Array4::from_shape_vec((indices.len(), 3, side, side), images).ok()?;
        Some(Ok(Batch { images, labels, indices }))
    }

    /// Writes one image as `[3, H, W]`, or nothing when the loader was stopped.
    fn prepare(&self, sample: &Sample, out: &mut [f32]) -> Option<Result<(), DataError>> {
        if self.stop.load(Ordering::Relaxed) {
            return None;
        }
        self.begun.fetch_add(1, Ordering::Relaxed);
        let write = |out: &mut [f32]| {
            let image = decode_rgb(&sample.path)?;
            let input = match &self.view {
                View::Eval(preprocess) => preprocess.eval_transform(&image)?,
                View::Train(preprocess, augment) => {
                    let LoaderOptions { seed, epoch, .. } = self.options;
                    let key = Key { seed, epoch, sample_id: sample.id };
                    augment.sample(key, image.width(), image.height()).apply(&image, preprocess)?
                }
            };
            self.normaliser.normalise(&input, out)
        };
        Some(write(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::Augment;
    use image::RgbImage;
    use std::time::Duration;

    /// However slow the user is, the work stays within `prefetch` batches ahead.
    #[test]
    fn memory_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1.png");
        RgbImage::new(20, 20).save(&path).unwrap();
        let samples = vec![Sample::new(path, 0, "1.png".to_owned())];
        for (prefetch, threads) in [(0, 2), (1, 1), (2, 16)] {
            let pool = DataPool::new(threads).unwrap();
            let order = vec![0; 400];
            let options = LoaderOptions { batch: 10, prefetch, order, seed: 0, epoch: 0 };
            let view = View::Train(Preprocess::imagenet(8), Augment::basic());
            let mut loader = Loader::new(samples.clone(), view, options, &pool).unwrap();
            assert_eq!(loader.size_hint(), (0, Some(40)));
            for taken in 1..=40 {
                loader.next().unwrap().unwrap();
                std::thread::sleep(Duration::from_millis(2));
                let begun = loader.shared.begun.load(Ordering::Relaxed);
                assert!(begun <= (taken + prefetch) * 10, "{begun} images begun after {taken} batches");
                assert!(loader.pending.len() <= prefetch);
            }
            assert!(loader.next().is_none());
            assert_eq!(loader.shared.begun.load(Ordering::Relaxed), 400);
        }
    }
}

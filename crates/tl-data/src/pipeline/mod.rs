//! Samples to batches, in a given order, on several threads and in bounded memory.
//!
//! The one decision: one task makes one whole batch, and each image writes straight into its own part of it.
//! Batches come out in order; no more than `prefetch + 1` of them exist at a time, however many images there
//! are, and their memory is used again.

mod batch;
mod cache;
mod disk;
mod options;
mod prepare;
mod view;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};

use ndarray::{Array2, Array4};
use rayon::prelude::*;

use crate::decode::panic_text;
use crate::error::{DataError, DecodeError, DecodeReason};
use crate::folder::Sample;
use crate::pool::DataPool;
use batch::Buffers;
use prepare::Images;

pub use batch::{Batch, Pixels};
pub use cache::DecodedCache;
pub use options::LoaderOptions;
pub use view::{Augmentation, View};

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
    images: Images,
    options: LoaderOptions,
    /// For each place of the order how often its sample came before; nothing if none comes twice.
    repeats: Vec<u32>,
    buffers: Arc<Buffers>,
    stop: AtomicBool,
    /// Images begun so far: lets a test see how far ahead the work is.
    begun: AtomicUsize,
}

impl Loader {
    /// Prepares to go through `options.order`; the work starts with the first call of `next`.
    ///
    /// # Errors
    /// All options and fields of the view that are out of range; or the samples have rows of targets of several lengths,
    /// or only some have one.
    pub fn new(
        samples: impl Into<Arc<[Sample]>>,
        view: View,
        options: LoaderOptions,
        pool: &DataPool,
    ) -> Result<Self, DataError> {
        let samples = samples.into();
        options.check(&view, samples.len())?;
        check_targets(&samples)?;
        let (batches, next) = (options.batches(), options.start_batch);
        let images = Images::new(view, &options);
        let buffers = Arc::new(Buffers::new(options.prefetch.saturating_add(1)));
        let (stop, begun) = (AtomicBool::new(false), AtomicUsize::new(0));
        let repeats = repeats(&options.order, samples.len());
        let shared = Arc::new(Shared { samples, images, options, repeats, buffers, stop, begun });
        Ok(Self { shared, pool: pool.clone(), pending: VecDeque::new(), next, batches })
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
        let side = self.images.side();
        let length = 3 * side * side;
        if self.stop.load(Ordering::Relaxed) {
            return None;
        }

        let mut pixels = self.buffers.take(indices.len() * length);
        let results: Vec<Option<Result<(), DataError>>> = pixels
            .par_chunks_exact_mut(length)
            .zip(indices.par_iter().enumerate())
            .with_max_len(1)
            .map(|(out, (at, &index))| {
                let repeat = self.repeats.get(from + at).copied().unwrap_or(0);
                self.prepare(&self.samples[index as usize], repeat, out)
            })
            .collect();
        for result in results {
            if let Err(error) = result? {
                self.buffers.put(pixels);
                return Some(Err(error));
            }
        }
        let mix = self.images.mix(number as u64, indices.len());
        if let Some(mix) = &mix {
            mix.apply(&mut pixels, length, side);
        }
        let labels = indices.iter().map(|&index| self.samples[index as usize].label).collect();
        let targets = self.targets(&indices);
        let weights = &self.options.weights;
        let weights = weights.as_ref().map(|all| indices.iter().map(|&index| all[index as usize]).collect());
        let array = Array4::from_shape_vec((indices.len(), 3, side, side), pixels).ok()?;
        let images = Pixels::new(array, &self.buffers);
        Some(Ok(Batch { images, labels, targets, indices, mix, weights }))
    }

    /// The rows of targets of some samples, if they have any.
    fn targets(&self, indices: &[u32]) -> Option<Array2<f32>> {
        let rows = indices.iter().map(|&index| self.samples[index as usize].target.as_deref());
        let rows: Vec<&[f32]> = rows.collect::<Option<_>>()?;
        let columns = rows.first()?.len();
        Array2::from_shape_vec((rows.len(), columns), rows.concat()).ok()
    }

    /// Writes one image as `[3, H, W]`, or nothing when the loader was stopped.
    fn prepare(&self, sample: &Sample, repeat: u32, out: &mut [f32]) -> Option<Result<(), DataError>> {
        if self.stop.load(Ordering::Relaxed) {
            return None;
        }
        self.begun.fetch_add(1, Ordering::Relaxed);
        let written = catch_unwind(AssertUnwindSafe(|| self.images.write(sample, repeat, out)));
        Some(written.unwrap_or_else(|panic| {
            let reason = DecodeReason::Panicked { detail: panic_text(&*panic) };
            Err(DecodeError { path: sample.path.clone(), reason }.into())
        }))
    }
}

/// Whether all samples have as many targets, or none.
fn check_targets(samples: &[Sample]) -> Result<(), DataError> {
    let count = |sample: &Sample| sample.target.as_ref().map(|row| row.len());
    let words =
        |count: Option<usize>| count.map_or("no targets".to_owned(), |count| format!("{count} targets"));
    let Some(first) = samples.first().map(count) else { return Ok(()) };
    match samples.iter().find(|sample| count(sample) != first) {
        None => Ok(()),
        Some(odd) => Err(DataError::Option {
            option: "samples",
            got: format!("a list with {} for `{}`", words(count(odd)), odd.rel),
            expected: format!("{}, as the first has", words(first)),
        }),
    }
}

/// For each place how often its sample came before; empty if none comes twice.
fn repeats(order: &[u32], samples: usize) -> Vec<u32> {
    let mut seen = vec![0_u32; samples];
    let mut before = |&index: &u32| {
        let times = &mut seen[index as usize];
        *times += 1;
        *times - 1
    };
    let repeats: Vec<u32> = order.iter().map(&mut before).collect();
    if repeats.iter().all(|times| *times == 0) { Vec::new() } else { repeats }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::Augment;
    use crate::preprocess::Preprocess;
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
            let options = LoaderOptions { batch: 10, prefetch, order, ..LoaderOptions::default() };
            let view = View::train(Preprocess::imagenet(8), Augment::basic());
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

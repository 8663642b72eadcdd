//! The batches of an epoch at the frontier of its phase: picked from kept activations, or images run through the prefix.

use std::cell::Cell;
use std::time::Instant;

use tch::Tensor;
use tl_data::{Loader, LoaderOptions, View, balanced_order, class_labels, shuffle};
use tl_finetune::PlannedPhase;

use super::{Images, Options};
use crate::answers::Answers;
use crate::error::TrainError;
use crate::evaluate::batch_tensor;
use crate::frontier::{Cache, Kept, Pass};
use crate::loss::Shown;
use crate::model::Model;

/// One batch at the frontier of its phase.
pub(super) struct Step {
    pub(super) xs: Tensor,
    pub(super) shown: Shown,
}

/// Which epoch, and where in it to begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Epoch {
    /// Finished epochs of the run.
    pub(super) of_run: u32,
    /// Finished epochs of the phase.
    pub(super) of_phase: u32,
    /// Batches that are done.
    pub(super) start: usize,
}

/// What batches are made of.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) model: &'a Model,
    pub(super) images: &'a Images<'a>,
    pub(super) options: &'a Options,
    pub(super) cache: &'a Cache,
}

type Steps<'a> = Box<dyn Iterator<Item = Result<Step, TrainError>> + 'a>;

impl<'a> Source<'a> {
    /// The epoch's batches in its order, from where it is to begin. The time in which there was nothing to do but wait for
    /// the images is added up.
    pub(super) fn batches(
        self,
        phase: &'a PlannedPhase,
        epoch: Epoch,
        waited: &'a Cell<f64>,
    ) -> Result<Steps<'a>, TrainError> {
        let Self { model, images, options, cache } = self;
        let order = self.order(u64::from(epoch.of_run))?;
        let pass = Pass::of_epoch(phase, epoch.of_phase);
        if let Some(kept) = pass.and_then(|pass| cache.get(pass, phase.frontier)) {
            return Ok(Box::new(self.kept(kept, order, epoch.start)));
        }
        let (view, shrink) = match phase.augment {
            true => (View::train(model.preprocess, images.augmentation.clone()), images.shrink),
            false => (View::Eval(model.preprocess), None),
        };
        // A view is how the epoch of that number would see the images.
        let view_epoch = pass.and_then(|pass| pass.view).map_or(u64::from(epoch.of_run), u64::from);
        let loading = LoaderOptions {
            batch: options.batch,
            order,
            seed: options.seed,
            epoch: view_epoch,
            start_batch: epoch.start,
            weights: images.weights.cloned(),
            cache: images.decoded.cloned(),
            shrink,
            ..LoaderOptions::default()
        };
        let mut loader = Loader::new(images.train.clone(), view, loading, images.pool)?;
        let in_all = images.train.len() * phase.epochs as usize;
        let prefix = model.runner(0..phase.frontier, options.batch, in_all);
        let timed = std::iter::from_fn(move || {
            let start = Instant::now();
            let batch = loader.next();
            waited.set(waited.get() + start.elapsed().as_secs_f64());
            batch
        });
        Ok(Box::new(timed.map(move |batch| {
            let batch = batch?;
            let xs = batch_tensor(&batch, model.device);
            let xs = if phase.frontier > 0 { prefix.run(&xs)? } else { xs };
            let answers = Answers::of_batch(&batch);
            Ok(Step { xs, shown: Shown { answers, weights: batch.weights, mix: batch.mix } })
        })))
    }

    fn order(self, epoch: u64) -> Result<Vec<u32>, TrainError> {
        let (samples, seed) = (self.images.train, self.options.seed);
        if !self.options.balanced_sampling {
            return Ok(shuffle(samples.len() as u32, seed, epoch));
        }
        Ok(balanced_order(&class_labels(samples)?, samples.len(), seed, epoch)?)
    }

    fn kept(
        self,
        kept: &'a Kept,
        order: Vec<u32>,
        start: usize,
    ) -> impl Iterator<Item = Result<Step, TrainError>> + 'a {
        let samples = self.images.train;
        let batch = self.options.batch;
        let starts = (0..order.len()).step_by(batch).skip(start);
        starts.map(move |start| {
            let indices = &order[start..order.len().min(start + batch)];
            let answers = Answers::of(self.model.task, indices.iter().map(|&i| &samples[i as usize]));
            let weights =
                self.images.weights.map(|weights| indices.iter().map(|&i| weights[i as usize]).collect());
            let xs = kept.pick(indices, self.model.device)?;
            Ok(Step { xs, shown: Shown { answers, weights, mix: None } })
        })
    }
}

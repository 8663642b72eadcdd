//! The batches of an epoch at the frontier of its phase: picked from kept activations, or inputs run through the prefix.

use std::cell::Cell;
use std::time::Instant;

use tch::Tensor;
use tl_data::{Loader, LoaderOptions, View, balanced_order, class_labels, shuffle};
use tl_finetune::PlannedPhase;
use tl_text::tokens::Encoded;

use super::Options;
use crate::answers::Answers;
use crate::error::TrainError;
use crate::evaluate::batch_tensor;
use crate::feed::{Feed, Images, Inputs, text_tensor, training_batches};
use crate::frontier::{Cache, Kept, Pass, Picked, Set};
use crate::loss::Shown;
use crate::model::Model;

/// One batch at the frontier of its phase.
pub(super) struct Step {
    pub(super) xs: Tensor,
    /// Which tokens are real; none where all are, and of images.
    pub(super) mask: Option<Tensor>,
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
    pub(super) feed: &'a Feed<'a>,
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
        let order = self.order(u64::from(epoch.of_run))?;
        let pass = Pass::of_epoch(phase, epoch.of_phase);
        if let Some(kept) = pass.and_then(|pass| self.cache.get(pass, phase.frontier)) {
            let batches = self.parted(phase, order, epoch);
            return Ok(Box::new(self.kept(kept, batches, epoch.start)));
        }
        match self.feed.inputs {
            Inputs::Images(images) => self.images(images, (phase, epoch, order), waited),
            Inputs::Texts(texts) => {
                let batches = self.parted(phase, order, epoch);
                Ok(Box::new(self.texts(texts.train, phase, batches, epoch.start)))
            }
        }
    }

    /// The samples of each batch.
    fn parted(self, phase: &PlannedPhase, order: Vec<u32>, epoch: Epoch) -> Vec<Vec<u32>> {
        let batch = self.options.batch;
        match self.feed.texts(Set::Train) {
            // Of pooled features all rows are alike.
            Some(encoded) if self.model.has_tokens(phase.frontier) => {
                training_batches(encoded, order, batch, (self.options.seed, u64::from(epoch.of_run)))
            }
            _ => order.chunks(batch).map(<[u32]>::to_vec).collect(),
        }
    }

    /// Images, decoded beside the training.
    fn images(
        self,
        images: Images<'a>,
        (phase, epoch, order): (&'a PlannedPhase, Epoch, Vec<u32>),
        waited: &'a Cell<f64>,
    ) -> Result<Steps<'a>, TrainError> {
        let Self { model, feed, options, .. } = self;
        let pass = Pass::of_epoch(phase, epoch.of_phase);
        let preprocess = model.preprocess()?;
        let (view, shrink) = match phase.augment {
            true => (View::train(preprocess, images.augmentation.clone()), images.shrink),
            false => (View::Eval(preprocess), None),
        };
        // A view is how the epoch of that number would see the images.
        let view_epoch = pass.and_then(|pass| pass.view).map_or(u64::from(epoch.of_run), u64::from);
        let loading = LoaderOptions {
            batch: options.batch,
            order,
            seed: options.seed,
            epoch: view_epoch,
            start_batch: epoch.start,
            weights: feed.weights.cloned(),
            cache: images.decoded.cloned(),
            shrink,
            ..LoaderOptions::default()
        };
        let mut loader = Loader::new(feed.train.clone(), view, loading, images.pool)?;
        let in_all = feed.train.len() * phase.epochs as usize;
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
            Ok(Step {
                xs,
                mask: None,
                shown: Shown { weights: batch.weights, mix: batch.mix, ..Shown::plain(answers) },
            })
        })))
    }

    /// Texts, through what does not train.
    fn texts(
        self,
        encoded: &'a Encoded,
        phase: &'a PlannedPhase,
        batches: Vec<Vec<u32>>,
        start: usize,
    ) -> impl Iterator<Item = Result<Step, TrainError>> + 'a {
        let model = self.model;
        let in_all = self.feed.train.len() * phase.epochs as usize;
        let prefix = model.runner(0..phase.frontier, self.options.batch, in_all);
        batches.into_iter().skip(start).map(move |places| {
            let input = text_tensor(encoded, &places, model.device)?;
            let xs = match phase.frontier {
                0 => input.xs,
                _ => prefix.run_masked(&input.xs, input.mask.as_ref())?,
            };
            // What is pooled has no tokens any more.
            let mask = input.mask.filter(|_| model.has_tokens(phase.frontier));
            Ok(Step { xs, mask, shown: self.shown(&places) })
        })
    }

    fn order(self, epoch: u64) -> Result<Vec<u32>, TrainError> {
        let (samples, seed) = (self.feed.train, self.options.seed);
        if !self.options.balanced_sampling {
            return Ok(shuffle(samples.len() as u32, seed, epoch));
        }
        Ok(balanced_order(&class_labels(samples)?, samples.len(), seed, epoch)?)
    }

    fn kept(
        self,
        kept: &'a Kept,
        batches: Vec<Vec<u32>>,
        start: usize,
    ) -> impl Iterator<Item = Result<Step, TrainError>> + 'a {
        batches.into_iter().skip(start).map(move |places| {
            let Picked { xs, mask } = kept.pick(&places, self.model.device)?;
            Ok(Step { xs, mask, shown: self.shown(&places) })
        })
    }

    /// What is right for the samples at these places, unmixed.
    fn shown(self, places: &[u32]) -> Shown {
        let samples = self.feed.train;
        let answers = Answers::of(self.model.task, places.iter().map(|&i| &samples[i as usize]));
        let weights = self.feed.weights.map(|weights| places.iter().map(|&i| weights[i as usize]).collect());
        let encoded = self.feed.texts(Set::Train);
        let words = encoded.and_then(|encoded| self.model.words(encoded, places));
        Shown { weights, words, ..Shown::plain(answers) }
    }
}

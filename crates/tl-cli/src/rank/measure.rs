//! One net: its features of the images, and what a linear probe and the nearest neighbours make of them.
//!
//! The decision behind it: features are computed as `finetune` and `tl features` compute them, so that the images a
//! second are those of a run.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde::Serialize;
use tch::Device;
use tl_backbones::Card;
use tl_data::{DataPool, Loader, LoaderOptions, Sample, View};
use tl_heads::Task as HeadTask;
use tl_linear::{Dense, Knn, KnnOptions, Matrix, ProbeOptions, probe, stratified_folds};
use tl_torch::Fill;
use tl_train::{EVAL_BATCH, Model, NewHead, SetInputs};
use tl_weights::Cache;

use crate::args::RankArgs;
use crate::errors::Exit;
use crate::interrupt::EXIT_CODE;
use crate::predict::floats;
use crate::prepare::{self, Chosen};
use crate::ui::Ui;

/// Strengths of the penalty that are tried, of features with mean 0 and variance 1: with more columns than rows a strong
/// penalty is the usual best.
const GRID: [f64; 3] = [0.001, 0.01, 0.1];

/// What is the same for all nets.
pub(super) struct Task<'a> {
    pub(super) args: &'a RankArgs,
    pub(super) samples: &'a Arc<[Sample]>,
    pub(super) classes: usize,
    pub(super) pool: &'a DataPool,
    /// Pixels of the shorter sides.
    pub(super) median: u32,
    pub(super) start: Instant,
}

/// What is known of a net.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Measured {
    pub(super) backbone: String,
    pub(super) weights: String,
    /// Of the linear probe, the mean of the folds.
    pub(super) accuracy: f64,
    pub(super) standard_error: f64,
    /// The penalty that was best.
    pub(super) c: f64,
    /// Of the vote of the five nearest neighbours.
    pub(super) knn_accuracy: f64,
    /// Images that were looked at; fewer than the others where the budget ended.
    pub(super) images: usize,
    pub(super) images_per_second: f64,
    pub(super) parameters: usize,
    pub(super) features: usize,
    pub(super) image_size: u32,
    /// Size of the file of weights.
    pub(super) weights_bytes: u64,
    /// Whether the weights were on this disk already.
    pub(super) cached: bool,
    /// For features and probe together.
    pub(super) seconds: f64,
    #[serde(skip)]
    pub(super) macs: u64,
    /// Of each image, whether the probe has it right.
    #[serde(skip)]
    pub(super) right: Vec<bool>,
}

/// Rows of features, and how they came about.
struct Features {
    values: Vec<f32>,
    width: usize,
    images: usize,
    rate: f64,
}

impl Task<'_> {
    /// Seconds that a net will take at the least, by what the last one took: features cost by the square root of the
    /// multiply-accumulates, since nets with few are the furthest from what a machine can do, all else by the number of
    /// features. One that takes longer is left out when the budget ends, so this may be too low but not too high.
    pub(super) fn estimate(&self, card: &Card, last: &Measured) -> f64 {
        let features = self.samples.len() as f64 / last.images_per_second.max(f64::MIN_POSITIVE);
        let rest = (last.seconds - features).max(0.0);
        let ratio = |a: u64, b: u64| a as f64 / (b as f64).max(1.0);
        features * ratio(card.macs, last.macs).max(1.0).sqrt()
            + rest * ratio(card.features as u64, last.features as u64)
    }

    /// Probes a net. The first one ends with what it has when the budget does; any other is then left out.
    pub(super) fn measure(
        &self,
        card: &'static Card,
        chosen: &Chosen,
        (first, cached): (bool, bool),
        (stop, ui): (&AtomicBool, &RefCell<Ui>),
    ) -> anyhow::Result<Option<Measured>> {
        let begun = Instant::now();
        let loaded = chosen.load(card, false, (None, Device::Cpu), ui)?;
        let (usual, weights) = (loaded.weights.input.size, loaded.weights);
        let size = self.args.image_size.unwrap_or_else(|| prepare::input_size(card, usual, self.median));
        let preprocess = prepare::preprocess(weights.input, size);
        let spec = prepare::default_head(card);
        let head = NewHead { spec, task: HeadTask::Binary, dropout: 0.0, fill: Fill::Later };
        let names = ["0", "1"].map(str::to_owned).to_vec();
        let mut model = Model::new(loaded.backbone, head, names, preprocess, Device::Cpu)?;
        let precision = self.args.precision.unwrap_or_default();
        model.compute =
            tl_train::choose(&mut model, None, (self.samples, SetInputs::Images(self.pool)), precision)?
                .compute;
        let Some(features) = self.features(&model, first, (stop, ui))? else { return Ok(None) };
        let labels: Vec<u32> = self.samples[..features.images].iter().map(|sample| sample.label).collect();
        let rows = Matrix::Dense(Dense::from_f32(features.images, features.width, &features.values)?);
        let (folds, seed) = (self.args.cv, self.args.seed);
        let options =
            ProbeOptions { grid: GRID.to_vec(), folds, seed, standardize: true, ..ProbeOptions::default() };
        let probed = probe(&rows, &labels, self.classes, &options)?;
        let knn_accuracy = self.neighbours(&rows, &labels)?;
        let best = probed.best();
        Ok(Some(Measured {
            backbone: card.name.to_owned(),
            weights: weights.name.to_owned(),
            accuracy: best.accuracy,
            standard_error: best.standard_error,
            c: best.c,
            knn_accuracy,
            images: features.images,
            images_per_second: features.rate,
            parameters: card.params,
            features: features.width,
            image_size: size,
            weights_bytes: chosen.located.bytes,
            cached,
            seconds: begun.elapsed().as_secs_f64(),
            macs: card.macs,
            right: probed.right,
        }))
    }

    /// Pooled features of the images; none when the budget ends before they do, or few where they are all there is.
    fn features(
        &self,
        model: &Model,
        first: bool,
        (stop, ui): (&AtomicBool, &RefCell<Ui>),
    ) -> anyhow::Result<Option<Features>> {
        let total = self.samples.len();
        let least = (4 * self.args.cv as usize * self.classes).min(total);
        ui.borrow_mut().start(model.backbone.name(), total as u64, false);
        let runner = model.runner(0..model.stages(), EVAL_BATCH, total);
        let (begun, mut values, mut images) = (Instant::now(), Vec::new(), 0);
        let options = LoaderOptions::in_order(total, EVAL_BATCH);
        for batch in Loader::new(self.samples.clone(), View::Eval(model.preprocess()?), options, self.pool)? {
            let batch = batch?;
            if stop.load(Ordering::SeqCst) {
                return Err(Exit(EXIT_CODE).into());
            }
            values.extend(floats(&runner.run(&tl_train::batch_tensor(&batch, Device::Cpu))?));
            images += batch.labels.len();
            ui.borrow().at(images as u64);
            if self.start.elapsed().as_secs_f64() > self.args.budget && images < total {
                if !first {
                    ui.borrow_mut().stop();
                    return Ok(None);
                }
                if images >= least {
                    break;
                }
            }
        }
        ui.borrow_mut().stop();
        let rate = images as f64 / begun.elapsed().as_secs_f64().max(f64::MIN_POSITIVE);
        Ok(Some(Features { width: values.len() / images.max(1), values, images, rate }))
    }

    /// The share of images that their nearest neighbours in the other folds have right.
    fn neighbours(&self, rows: &Matrix, labels: &[u32]) -> anyhow::Result<f64> {
        let folds = stratified_folds(labels, self.args.cv, self.args.seed);
        let mut right = 0;
        for fold in 0..self.args.cv {
            let (held_out, others): (Vec<usize>, Vec<usize>) =
                (0..labels.len()).partition(|&row| folds[row] == fold);
            let known: Vec<u32> = others.iter().map(|&row| labels[row]).collect();
            let options =
                KnnOptions { k: KnnOptions::default().k.min(others.len()), ..KnnOptions::default() };
            let knn = Knn::fit(rows.select(&others), known, self.classes, options)?;
            let said = knn.predict(&rows.select(&held_out))?;
            right += held_out.iter().zip(said).filter(|(row, said)| labels[**row] == *said).count();
        }
        Ok(right as f64 / labels.len().max(1) as f64)
    }
}

/// Whether the card's default weights are on this disk.
pub(super) fn is_here(card: &Card, cache: &Cache) -> bool {
    card.weights.first().is_some_and(|row| cache.cached(&row.source).is_some())
}

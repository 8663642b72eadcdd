//! Running a model over images it does not train on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tch::{Device, Kind, Tensor};
use tl_data::{Batch, DataPool, Loader, LoaderOptions, Sample, View};
use tl_finetune::Metric;
use tl_heads::Task;
use tl_torch::image_batch;

use crate::error::TrainError;
use crate::loss::{Loss, Shown};
use crate::metrics::{Judged, Scores};
use crate::model::Model;

/// Images in one forward pass without gradients. On 2 cores EfficientNet-Lite0 runs at 140 images/s with 8 or 16 and at
/// 110 with 32, whose activations no longer stay in the processor's caches.
pub const EVAL_BATCH: usize = 16;

/// A model's answers for a list of images.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// Mean loss, without weights and label smoothing.
    pub loss: f64,
    /// Against the labels of the samples.
    pub scores: Scores,
    /// The labels.
    pub labels: Vec<u32>,
    /// `[image][class]`; each row sums to 1, since a model has one class an image.
    pub probabilities: Vec<Vec<f32>>,
}

impl Scored {
    /// Number of images.
    #[must_use]
    pub fn images(&self) -> usize {
        self.probabilities.len()
    }

    /// The metric; none if it cannot be said, see [`Judged::value`].
    #[must_use]
    pub fn value(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::Loss => Some(self.loss),
            _ => Judged::Classes { probabilities: &self.probabilities, labels: &self.labels }.value(metric),
        }
    }

    /// The class with the highest probability of each image; the first of equals.
    pub fn predicted(&self) -> impl Iterator<Item = u32> {
        self.probabilities.iter().map(|row| highest(row))
    }
}

fn highest(row: &[f32]) -> u32 {
    let best =
        row.iter().enumerate().fold((0, f32::MIN), |best, (i, &p)| if p > best.1 { (i, p) } else { best });
    best.0 as u32
}

/// Runs the model over `samples` in order; `progress` is told the number of images done. Ends early, with what it has,
/// when `stop` is set.
///
/// # Errors
/// An image cannot be read.
pub fn evaluate(
    model: &Model,
    samples: &Arc<[Sample]>,
    pool: &DataPool,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(usize),
) -> Result<Scored, TrainError> {
    let mut tally = Tally::new(model.task);
    let options = LoaderOptions::in_order(samples.len(), EVAL_BATCH);
    for batch in Loader::new(samples.clone(), View::Eval(model.preprocess), options, pool)? {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let batch = batch?;
        let logits = model.logits(&batch_tensor(&batch, model.device), 0);
        tally.add(&logits, &Shown::plain(batch.labels));
        progress(tally.probabilities.len());
    }
    Ok(tally.finish(model.classes.len()))
}

/// A batch of images as a net takes it, on `device`.
///
/// # Shapes
/// `[N, 3, H, W]`.
pub fn batch_tensor(batch: &Batch, device: Device) -> Tensor {
    let (n, c, h, w) = batch.images.dim();
    let data = batch.images.as_slice().unwrap_or_default();
    image_batch(data, [n as i64, c as i64, h as i64, w as i64], device)
}

/// The sum of the losses of a batch, every image alike and without label smoothing, and how many images are right. A
/// mixed image has the losses of both its labels by their parts, and is right if the label of the larger part is found.
///
/// # Shapes
/// `logits` is `[N, outputs]`.
pub(crate) fn judge(task: Task, logits: &Tensor, shown: &Shown) -> (f64, u64) {
    let mut tally = Tally::new(task);
    tally.add(logits, shown);
    let right =
        tally.probabilities.iter().zip(&tally.labels).filter(|(row, label)| highest(row) == **label).count();
    (tally.loss_sum, right as u64)
}

/// Collects batches of logits.
#[derive(Debug)]
pub(crate) struct Tally {
    task: Task,
    loss_sum: f64,
    labels: Vec<u32>,
    pub(crate) probabilities: Vec<Vec<f32>>,
}

impl Tally {
    pub(crate) fn new(task: Task) -> Self {
        Self { task, loss_sum: 0.0, labels: Vec::new(), probabilities: Vec::new() }
    }

    /// Counts a batch, see [`judge`].
    ///
    /// # Shapes
    /// `logits` is `[N, outputs]`.
    pub(crate) fn add(&mut self, logits: &Tensor, shown: &Shown) {
        let task = self.task;
        let names = task.names() as usize;
        let logits = logits.to_device(Device::Cpu).to_kind(Kind::Double);
        let loss = Loss { task, label_smoothing: 0.0, class_weights: None, focal: 0.0 };
        let unweighted = Shown { labels: shown.labels.clone(), weights: None, mix: shown.mix.clone() };
        self.loss_sum += loss.of(&logits, &unweighted).sum(Kind::Double).double_value(&[]);
        let labels = shown.mostly();
        let rows = task.probabilities(&logits).to_kind(Kind::Float).contiguous().view([-1]);
        let mut flat = vec![0f32; labels.len() * names];
        let n = flat.len();
        rows.copy_data(&mut flat, n);
        self.probabilities.extend(flat.chunks(names).map(<[f32]>::to_vec));
        self.labels.extend(labels);
    }

    pub(crate) fn finish(self, classes: usize) -> Scored {
        let Self { loss_sum, labels, probabilities, .. } = self;
        let pairs = labels.iter().copied().zip(probabilities.iter().map(|row| highest(row)));
        let scores = Scores::new(loss_sum, pairs, classes);
        Scored { loss: scores.loss, scores, labels, probabilities }
    }
}

//! Running a model over images it does not train on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tch::{Device, Kind, Tensor};
use tl_data::{Batch, DataPool, Loader, LoaderOptions, Preprocess, Sample, View};
use tl_finetune::Metric;
use tl_heads::Task;
use tl_text::entities::EntityScores;
use tl_text::tokens::Encoded;
use tl_torch::{channels_last, image_batch};

use crate::answers::{self, Answers};
use crate::error::TrainError;
use crate::feed::{SetInputs, text_batches};
use crate::loss::{Loss, Shown};
use crate::metrics::{self, Judged, Scores};
use crate::model::Model;
use crate::words::{self, Words};

/// Images in one forward pass without gradients. On 2 cores EfficientNet-Lite0 runs at 140 images/s with 8 or 16 and at
/// 110 with 32, whose activations no longer stay in the processor's caches.
pub const EVAL_BATCH: usize = 16;

/// A model's answers for a list of images.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// What the answers are.
    pub task: Task,
    /// Mean loss, without weights and label smoothing; of numbers in units of the training set's variance.
    pub loss: f64,
    /// Against the classes of the samples, where there is one an image.
    pub scores: Option<Scores>,
    /// Against the tags of the words, where there are any. Words that were cut off count as outside of
    /// entities, or as wrong where tags mark none.
    pub tags: Option<EntityScores>,
    /// What is right.
    pub answers: Answers,
    /// `[image][class]` or `[image][label]`: probabilities, which of classes sum to 1. Or `[image][target]`: numbers, in
    /// their own units. Of tagged texts `words * tags` probabilities, which are 0 for words that were cut off.
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
        match (metric, &self.tags) {
            (Metric::Loss, _) => Some(self.loss),
            (Metric::EntityF1, Some(tags)) => self.marks_entities().then(|| tags.all().f1()),
            (Metric::WordAccuracy, Some(tags)) => Some(tags.word_accuracy()),
            (Metric::MacroF1, Some(tags)) => Some(tags.macro_f1()),
            _ => self.judged(|judged| judged.value(metric)),
        }
    }

    /// What can be said of labels and numbers, by name: what they have a metric for, `micro-f1` of labels and `rmse` of
    /// numbers; of several numbers no errors, which have different units; of entities precision and recall as well, and the
    /// F1 of seqeval's strict mode; of other tags of words their accuracy and macro F1. Of classes nothing, see
    /// [`Scored::scores`].
    #[must_use]
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        if let Some(tags) = &self.tags {
            let all = tags.all();
            if !self.marks_entities() {
                let named = [
                    (Metric::WordAccuracy.name(), tags.word_accuracy()),
                    (Metric::MacroF1.name(), tags.macro_f1()),
                ];
                return named.map(|(name, value)| (name.to_owned(), value)).into();
            }
            let named = [
                (Metric::EntityF1.name(), all.f1()),
                ("precision", all.precision()),
                ("recall", all.recall()),
                ("strict-f1", tags.strict.f1()),
                (Metric::WordAccuracy.name(), tags.word_accuracy()),
            ];
            return named.map(|(name, value)| (name.to_owned(), value)).into();
        }
        let more = match (self.task, &self.answers) {
            (Task::MultiLabel { .. }, _) => {
                ("micro-f1", metrics::micro_f1(&self.probabilities, &self.present()))
            }
            (Task::Regression { .. }, Answers::Rows(rows)) => {
                ("rmse", metrics::rmse(&self.probabilities, rows))
            }
            _ => return BTreeMap::new(),
        };
        let single = matches!(self.task, Task::MultiLabel { .. } | Task::Regression { targets: 1 });
        let said = |name: &str| single || name == Metric::R2.name();
        let named = metrics::measured(self.task).iter().filter(|metric| **metric != Metric::Loss);
        let named = named.map(|metric| (metric.name(), self.value(*metric))).chain([more]);
        named.filter_map(|(name, value)| Some((name.to_owned(), value.filter(|_| said(name))?))).collect()
    }

    fn marks_entities(&self) -> bool {
        matches!(self.task, Task::Tagging { entities: true, .. })
    }

    /// One label or number alone, as if the model answered nothing else. The loss stays that of all.
    #[must_use]
    pub fn one(&self, name: usize) -> Self {
        let column = |rows: &[Vec<f32>]| -> Vec<Vec<f32>> {
            rows.iter().map(|row| row.iter().skip(name).take(1).copied().collect()).collect()
        };
        let (Answers::Rows(rows), probabilities) = (&self.answers, column(&self.probabilities)) else {
            return self.clone();
        };
        let task = match self.task {
            Task::Regression { .. } => Task::Regression { targets: 1 },
            _ => Task::MultiLabel { labels: 1 },
        };
        let answers = Answers::Rows(column(rows));
        Self { task, loss: self.loss, scores: None, tags: None, answers, probabilities }
    }

    /// Whether each image has each label, `[image][label]`; empty where there are none.
    #[must_use]
    pub fn present(&self) -> Vec<Vec<bool>> {
        match &self.answers {
            Answers::Rows(rows) => {
                rows.iter().map(|row| row.iter().map(|value| *value > 0.0).collect()).collect()
            }
            Answers::Classes(_) | Answers::Tags(_) => Vec::new(),
        }
    }

    /// The same answers with logits divided by a temperature: of classes the T-th roots of their probabilities, which sum
    /// to 1 again (Guo et al. 2017, arXiv:1706.04599). What is said stays, how surely changes, and so does the loss. Answers
    /// that are no choice between classes stay as they are.
    ///
    /// Equals what the net would have said to about 1e-6, save where a probability was below 1e-38.
    #[must_use]
    pub fn calibrated(&self, temperature: f64) -> Self {
        let Answers::Classes(labels) = &self.answers else { return self.clone() };
        let scaled = |row: &Vec<f32>| -> Vec<f64> {
            let logs: Vec<f64> = row.iter().map(|p| f64::from(p.max(f32::MIN_POSITIVE)).ln()).collect();
            let most = logs.iter().copied().fold(f64::MIN, f64::max);
            let roots: Vec<f64> = logs.iter().map(|log| ((log - most) / temperature).exp()).collect();
            let sum: f64 = roots.iter().sum();
            roots.iter().map(|root| root / sum).collect()
        };
        let rows: Vec<Vec<f64>> = self.probabilities.iter().map(scaled).collect();
        let losses =
            rows.iter().zip(labels).map(|(row, label)| -row[*label as usize].max(f64::MIN_POSITIVE).ln());
        let loss = losses.sum::<f64>() / rows.len().max(1) as f64;
        let narrow = |row: &Vec<f64>| row.iter().map(|p| *p as f32).collect();
        Self { loss, probabilities: rows.iter().map(narrow).collect(), ..self.clone() }
    }

    fn judged<T>(&self, say: impl FnOnce(Judged<'_>) -> T) -> T {
        let probabilities = &self.probabilities;
        match (&self.answers, self.task) {
            (Answers::Classes(labels), _) => say(Judged::Classes { probabilities, labels }),
            (Answers::Rows(targets), Task::Regression { .. }) => {
                say(Judged::Values { predicted: probabilities, targets })
            }
            (Answers::Rows(_), _) => say(Judged::Labels { probabilities, present: &self.present() }),
            // They have scores of their own.
            (Answers::Tags(_), _) => say(Judged::Classes { probabilities: &[], labels: &[] }),
        }
    }

    /// The class with the highest probability of each image; the first of equals.
    pub fn predicted(&self) -> impl Iterator<Item = u32> {
        self.probabilities.iter().map(|row| highest(row))
    }
}

pub(crate) fn highest(row: &[f32]) -> u32 {
    let best =
        row.iter().enumerate().fold((0, f32::MIN), |best, (i, &p)| if p > best.1 { (i, p) } else { best });
    best.0 as u32
}

/// Runs the model over `samples` in order; `progress` is told the number of images done. Ends early, with what it has,
/// when `stop` is set.
///
/// # Errors
/// A sample has not what the model answers, the inputs are not what the net takes, or an image cannot be read.
pub fn evaluate(
    model: &Model,
    samples: &Arc<[Sample]>,
    inputs: SetInputs<'_>,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(usize),
) -> Result<Scored, TrainError> {
    answers::check(model.task, samples)?;
    inputs.check(model, samples)?;
    let mut tally = Tally::new(model);
    let pool = match inputs {
        SetInputs::Images(pool) => pool,
        SetInputs::Texts(encoded) => return evaluate_texts(tally, (samples, encoded), stop, progress),
    };
    let runner = model.runner(0..model.stages(), EVAL_BATCH, samples.len());
    let options = LoaderOptions::in_order(samples.len(), EVAL_BATCH);
    for batch in Loader::new(samples.clone(), View::Eval(model.preprocess()?), options, pool)? {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let batch = batch?;
        let logits = model.classify(&runner.run(&batch_tensor(&batch, model.device))?);
        tally.add(&logits, &Shown::plain(Answers::of_batch(&batch)));
        progress(tally.probabilities.len());
    }
    Ok(tally.finish())
}

/// Longest texts first, and the answers in the order of the samples.
fn evaluate_texts(
    mut tally: Tally<'_>,
    (samples, encoded): (&Arc<[Sample]>, &Encoded),
    stop: &AtomicBool,
    progress: &mut dyn FnMut(usize),
) -> Result<Scored, TrainError> {
    let model = tally.model;
    let mut order = Vec::new();
    for places in text_batches(encoded) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let answers = Answers::of(model.task, places.iter().map(|&place| &samples[place as usize]));
        let shown = Shown { words: model.words(encoded, &places), ..Shown::plain(answers) };
        let logits = model.classify(&shown.asked(model.pooled_texts(encoded, &places)?));
        tally.add(&logits, &shown);
        order.extend(places);
        progress(order.len());
    }
    Ok(tally.finish_in(&order))
}

/// The same for texts of which nothing is known: what the model says of each, in their order, see [`Model::answers`]; or
/// its outputs as they are, with `raw`. Of tagged texts `words * tags` values, up to the last word that has a token.
///
/// # Errors
/// The net does not take texts, or not so long ones.
pub fn predict_texts(
    model: &Model,
    encoded: &Encoded,
    raw: bool,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<Vec<f32>>, TrainError> {
    let mut rows = vec![Vec::new(); encoded.texts.len()];
    let mut done = 0;
    for places in text_batches(encoded) {
        let words = model.words(encoded, &places);
        let pooled = model.pooled_texts(encoded, &places)?;
        let pooled = words.as_ref().map_or_else(|| pooled.shallow_clone(), |words| words.pick(&pooled));
        let logits = model.classify(&pooled);
        let said = if raw { floats(&logits) } else { model.answers(&logits) };
        let said = match words {
            Some(words) => words.by_text(said, None),
            None => said,
        };
        done += places.len();
        places.iter().zip(said).for_each(|(&place, row)| rows[place as usize] = row);
        progress(done);
    }
    Ok(rows)
}

/// The pooled features of texts, in their order.
///
/// # Errors
/// As [`predict_texts`].
pub fn embed_texts(
    model: &Model,
    encoded: &Encoded,
    progress: &mut dyn FnMut(usize) -> bool,
) -> Result<Vec<Vec<f32>>, TrainError> {
    let mut rows = vec![Vec::new(); encoded.texts.len()];
    let mut done = 0;
    for places in text_batches(encoded) {
        done += places.len();
        let said = floats(&model.pooled_texts(encoded, &places)?);
        places.iter().zip(said).for_each(|(&place, row)| rows[place as usize] = row);
        if !progress(done) {
            break;
        }
    }
    Ok(rows)
}

/// The rows of a matrix.
fn floats(xs: &Tensor) -> Vec<Vec<f32>> {
    let xs = xs.to_device(Device::Cpu).to_kind(Kind::Float).contiguous();
    let mut flat = vec![0f32; xs.numel()];
    let n = flat.len();
    xs.view([-1]).copy_data(&mut flat, n);
    flat.chunks((n / xs.size()[0].max(1) as usize).max(1)).map(<[f32]>::to_vec).collect()
}

/// The same for images of which nothing is known: what the model says, see [`Model::answers`].
///
/// # Errors
/// An image cannot be read.
pub fn predict(
    model: &Model,
    samples: &Arc<[Sample]>,
    pool: &DataPool,
    looks: Looks,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<Vec<f32>>, TrainError> {
    let mut rows = Vec::new();
    let runner = model.runner(0..model.stages(), EVAL_BATCH, samples.len());
    let options = LoaderOptions::in_order(samples.len(), EVAL_BATCH);
    let view = View::Eval(looks.preprocess(model.preprocess()?));
    for batch in Loader::new(samples.clone(), view, options, pool)? {
        let batch = batch_tensor(&batch?, model.device);
        let mut said = Vec::new();
        for look in looks.of(&batch, model.preprocess()?.input) {
            said.push(model.answers(&model.classify(&runner.run(&look)?)));
        }
        rows.extend(mean_rows(&said));
        progress(rows.len());
    }
    Ok(rows)
}

/// What is looked at of an image when it is asked about. Answers are the mean over the looks: of probabilities, or of
/// numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Looks {
    /// As in validation.
    #[default]
    One,
    /// That, and its mirror image.
    Flip,
    /// The four corners and the centre of all that is left before the centre crop, each also mirrored, as in AlexNet
    /// (Krizhevsky et al. 2012). The mirror image alone where there is nothing beyond the crop.
    Crops,
}

impl Looks {
    /// What images are decoded to.
    #[must_use]
    pub fn preprocess(self, of: Preprocess) -> Preprocess {
        match self {
            Self::Crops if of.resize > of.input => Preprocess { input: of.resize, ..of },
            _ => of,
        }
    }

    /// The inputs of a net that takes `input` by `input` pixels.
    ///
    /// # Shapes
    /// Each of `[N, 3, input, input]`.
    #[must_use]
    pub fn of(self, batch: &Tensor, input: u32) -> Vec<Tensor> {
        let (side, whole) = (i64::from(input), batch.size()[3]);
        let far = whole - side;
        let corners = match self {
            Self::Crops if far > 0 => vec![(far / 2, far / 2), (0, 0), (0, far), (far, 0), (far, far)],
            _ => vec![(0, 0)],
        };
        let cut = |(top, left)| channels_last(&batch.narrow(2, top, side).narrow(3, left, side));
        let crops: Vec<Tensor> = corners.into_iter().map(cut).collect();
        match self {
            Self::One => crops,
            Self::Flip | Self::Crops => {
                let mirrored: Vec<Tensor> = crops.iter().map(|crop| channels_last(&crop.flip([3]))).collect();
                crops.into_iter().chain(mirrored).collect()
            }
        }
    }
}

/// The mean over the looks, row by row.
#[must_use]
pub fn mean_rows(looks: &[Vec<Vec<f32>>]) -> Vec<Vec<f32>> {
    let [first, others @ ..] = looks else { return Vec::new() };
    let mut sum = first.clone();
    for rows in others {
        for (sum, row) in sum.iter_mut().zip(rows) {
            sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
    }
    sum.iter_mut().flatten().for_each(|value| *value /= looks.len() as f32);
    sum
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
/// Of labels and numbers no image is counted as right.
///
/// # Shapes
/// `logits` is `[N, outputs]`.
pub(crate) fn judge(model: &Model, logits: &Tensor, shown: &Shown) -> (f64, u64) {
    let mut tally = Tally::new(model);
    tally.add(logits, shown);
    let right = match &tally.answers {
        Answers::Classes(labels) => {
            tally.probabilities.iter().zip(labels).filter(|(row, label)| highest(row) == **label).count()
        }
        Answers::Rows(_) | Answers::Tags(_) => 0,
    };
    // Of words the mean of the batch, which is what it is trained on.
    let loss_sum = tally.loss_sum * shown.len() as f64 / tally.terms.max(1) as f64;
    (if shown.words.is_some() { loss_sum } else { tally.loss_sum }, right as u64)
}

/// Collects batches of logits.
#[derive(Debug)]
pub(crate) struct Tally<'a> {
    model: &'a Model,
    loss_sum: f64,
    /// Images, texts, or words that have a loss.
    terms: usize,
    answers: Answers,
    pub(crate) probabilities: Vec<Vec<f32>>,
}

impl<'a> Tally<'a> {
    pub(crate) fn new(model: &'a Model) -> Self {
        let answers = Answers::none(model.task);
        Self { model, loss_sum: 0.0, terms: 0, answers, probabilities: Vec::new() }
    }

    /// Counts a batch, see [`judge`].
    ///
    /// # Shapes
    /// `logits` is `[N, outputs]`.
    pub(crate) fn add(&mut self, logits: &Tensor, shown: &Shown) {
        let logits = logits.to_device(Device::Cpu).to_kind(Kind::Double);
        let loss = Loss::plain(self.model.task, self.model.target_stats.as_ref());
        let (answers, mix, words) = (shown.answers.clone(), shown.mix.clone(), shown.words.clone());
        let unweighted = Shown { answers, weights: None, mix, words };
        self.loss_sum += loss.of(&logits, &unweighted).sum(Kind::Double).double_value(&[]);
        self.terms += shown.words.as_ref().map_or(shown.len(), Words::len);
        let rows = self.model.answers(&logits);
        match (&shown.words, &shown.answers) {
            (Some(words), Answers::Tags(tags)) => {
                let lengths: Vec<usize> = tags.iter().map(Vec::len).collect();
                self.probabilities.extend(words.by_text(rows, Some(&lengths)));
            }
            _ => self.probabilities.extend(rows),
        }
        self.answers.extend(shown.mostly());
    }

    /// What was counted as `order` says, with the answers in their own order.
    pub(crate) fn finish_in(mut self, order: &[u32]) -> Scored {
        let mut places = vec![0; order.len()];
        order.iter().zip(0..).for_each(|(&of, at)| {
            if let Some(place) = places.get_mut(of as usize) {
                *place = at;
            }
        });
        // One that was stopped has a part of the answers, in no order.
        if self.probabilities.len() == order.len() && order.iter().all(|&of| (of as usize) < order.len()) {
            self.answers = self.answers.pick(&places);
            let mut rows: Vec<Vec<f32>> = std::mem::take(&mut self.probabilities);
            self.probabilities = places.iter().map(|&at| std::mem::take(&mut rows[at as usize])).collect();
        }
        self.finish()
    }

    pub(crate) fn finish(self) -> Scored {
        let Self { model, loss_sum, terms, answers, probabilities } = self;
        let scores = match &answers {
            Answers::Classes(labels) => {
                let pairs = labels.iter().copied().zip(probabilities.iter().map(|row| highest(row)));
                Some(Scores::new(loss_sum, pairs, model.classes.len()))
            }
            Answers::Rows(_) | Answers::Tags(_) => None,
        };
        let tags = match &answers {
            Answers::Tags(tags) => words::entity_scores(&model.classes, tags, &probabilities),
            _ => None,
        };
        let loss = loss_sum / terms.max(1) as f64;
        Scored { task: model.task, loss, scores, tags, answers, probabilities }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_a_temperature_the_same_is_said_less_surely() {
        let scored = Scored {
            task: Task::Softmax { classes: 2 },
            loss: 0.0,
            scores: None,
            tags: None,
            answers: Answers::Classes(vec![0, 1]),
            probabilities: vec![vec![0.8, 0.2], vec![1.0, 0.0]],
        };
        let scaled = scored.calibrated(2.0);
        // 0.8 to 0.2 is 4 to 1, and 2 to 1 at twice the temperature.
        assert!((scaled.probabilities[0][0] - 2.0 / 3.0).abs() < 1e-6);
        assert!(scaled.probabilities.iter().all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-6));
        assert!(scaled.loss.is_finite() && scaled.loss > 1.0, "a sure mistake costs much");
        assert_eq!(scaled.predicted().collect::<Vec<_>>(), scored.predicted().collect::<Vec<_>>());
        let labels = Scored { answers: Answers::Rows(vec![vec![1.0, 0.0]; 2]), ..scored.clone() };
        assert_eq!(labels.calibrated(2.0), labels);
    }

    #[test]
    fn looks_are_cut_and_mirrored() {
        let image = Tensor::arange(16, (Kind::Float, Device::Cpu)).view([1, 1, 4, 4]);
        let values = |looks: Looks, input| {
            let rows = looks.of(&image, input).into_iter();
            rows.map(|look| Vec::<f32>::try_from(look.contiguous().view([-1])).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(values(Looks::One, 4).len(), 1);
        assert_eq!(values(Looks::Flip, 4)[1][..5], [3., 2., 1., 0., 7.]);
        let crops = values(Looks::Crops, 2);
        // torchvision's ten_crop, the centre first.
        assert_eq!(
            crops[..5],
            [[5., 6., 9., 10.], [0., 1., 4., 5.], [2., 3., 6., 7.], [8., 9., 12., 13.], [10., 11., 14., 15.]]
        );
        assert_eq!((crops.len(), &crops[5][..]), (10, &[6., 5., 10., 9.][..]));
        assert_eq!(values(Looks::Crops, 4).len(), 2, "nothing beyond the crop");
        let net = Preprocess::imagenet(224);
        assert_eq!(Looks::Crops.preprocess(net).input, 256);
        assert_eq!(Looks::Flip.preprocess(net), net);
        assert_eq!(mean_rows(&[vec![vec![1.0, 2.0]], vec![vec![3.0, 6.0]]]), [[2.0, 4.0]]);
    }
}

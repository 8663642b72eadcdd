//! The records of a run, as they stand in its files.
//!
//! The decision behind it: what only one class an image has (accuracy, confusion) keeps its name and is absent for labels
//! and numbers, whose figures are by name in `metrics`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One line of `metrics.jsonl`. Everything but the times is the same for the same seed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochRow {
    /// Counted over the whole run, from 1.
    pub epoch: u32,
    /// Name of the phase.
    pub phase: String,
    /// Counted in the phase, from 1.
    pub phase_epoch: u32,
    /// Mean loss over the training images as they were seen: cross-entropy, or of numbers the squared error in units of
    /// the training set's variance.
    pub train_loss: f64,
    /// Fraction of them classified right as they were seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_accuracy: Option<f64>,
    /// Mean loss over the validation images.
    pub val_loss: f64,
    /// Fraction of validation images classified right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_accuracy: Option<f64>,
    /// Mean over the classes of the fraction classified right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_balanced_accuracy: Option<f64>,
    /// What else can be said of the validation images, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
    /// What the best weights are picked by.
    #[serde(default)]
    pub monitor: String,
    /// That of the validation images; none if it cannot be said.
    #[serde(default)]
    pub monitored: Option<f64>,
    /// Learning rate of the head at the end of the epoch.
    pub rate_head: Option<f64>,
    /// Learning rate of the highest stage that trains.
    pub rate_last_stage: Option<f64>,
    /// Wall time of the epoch with its evaluation.
    pub seconds: f64,
    /// Training images per second, evaluation not counted.
    pub images_per_second: f64,
    /// The part of the training's wall time in which the net waited for images.
    pub wait_seconds: f64,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// All phases ran.
    Finished,
    /// Something failed after the first epoch, such as reading an image.
    Failed,
    /// Stopped on request; the model is the best so far.
    Interrupted,
    /// Ended by a loss that was not a number; the model is the best so far.
    Diverged,
}

/// The best epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Counted over the whole run.
    pub epoch: u32,
    /// Its phase.
    pub phase: String,
    /// What it is the best by.
    #[serde(default)]
    pub monitor: String,
    /// That of the validation images, as the training saw it; none if it could not be said.
    #[serde(default)]
    pub monitored: Option<f64>,
    /// Its validation accuracy, where there are classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_accuracy: Option<f64>,
    /// Its validation loss.
    pub val_loss: f64,
}

/// Results of the saved model on one set of images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Which set: `val` or `test`.
    pub set: String,
    /// Number of images.
    pub images: usize,
    /// Fraction classified right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Lower end of its 95 % interval (Wilson 1927).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy_low: Option<f64>,
    /// Upper end of its 95 % interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy_high: Option<f64>,
    /// Mean over the classes present of the fraction classified right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balanced_accuracy: Option<f64>,
    /// Mean loss: cross-entropy, or of numbers the squared error in units of the training set's variance.
    pub loss: f64,
    /// `confusion[label][predicted]`, counts; of tags, those of words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub confusion: Vec<Vec<u32>>,
    /// What else can be said of all answers together, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
    /// Of each class.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<LabelResult>,
    /// Of each label, or of each kind of entity, where what is counted as images are entities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<LabelResult>,
    /// Of each number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<TargetResult>,
}

/// A metric's name as it is written in prose.
#[must_use]
pub fn metric_title(name: &str) -> &str {
    match name {
        "macro-f1" => "macro-F1",
        "micro-f1" => "micro-F1",
        "f1" => "F1",
        "auroc" => "AUROC",
        "average-precision" => "average precision",
        "balanced-accuracy" => "balanced accuracy",
        "top5-accuracy" => "top-5 accuracy",
        "log-loss" => "log loss",
        "ece" => "ECE",
        "mae" => "MAE",
        "rmse" => "RMSE",
        "r2" => "R²",
        "entity-f1" => "entity F1",
        "strict-f1" => "strict F1",
        "word-accuracy" => "word accuracy",
        other => other,
    }
}

/// The epochs as a table: names of columns, and a row an epoch. What cannot be said is an empty cell. `unit` is what
/// samples are called.
pub(crate) fn history(rows: &[EpochRow], unit: &str) -> (Vec<String>, Vec<Vec<String>>) {
    let names: std::collections::BTreeSet<&String> = rows.iter().flat_map(|row| row.metrics.keys()).collect();
    let fixed = format!(
        "epoch,phase,phase_epoch,train_loss,train_accuracy,val_loss,val_accuracy,val_balanced_accuracy,monitor,\
         monitored,rate_head,rate_last_stage,seconds,{unit}_per_second,wait_seconds"
    );
    let header = fixed.split(',').map(str::to_owned).chain(names.iter().map(|name| format!("val_{name}")));
    let cell = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    let line = |row: &EpochRow| {
        let mut cells = vec![row.epoch.to_string(), row.phase.clone(), row.phase_epoch.to_string()];
        cells.extend(
            [Some(row.train_loss), row.train_accuracy, Some(row.val_loss), row.val_accuracy].map(cell),
        );
        cells.extend([cell(row.val_balanced_accuracy), row.monitor.clone(), cell(row.monitored)]);
        let times = [row.seconds, row.images_per_second, row.wait_seconds].map(Some);
        cells.extend([row.rate_head, row.rate_last_stage].into_iter().chain(times).map(cell));
        cells.extend(names.iter().map(|name| cell(row.metrics.get(*name).copied())));
        cells
    };
    (header.collect(), rows.iter().map(line).collect())
}

/// How one class or label fares. A label is said from a probability of one half.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LabelResult {
    /// Its name.
    pub label: String,
    /// Images that have it.
    pub images: usize,
    /// Images that are said to have it.
    pub predicted: usize,
    /// Images that have it and are said to.
    pub right: usize,
    /// What can be said of it, by name.
    pub metrics: BTreeMap<String, f64>,
}

/// How one number fares, in its own units.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TargetResult {
    /// Its name.
    pub target: String,
    /// What can be said of it, by name.
    pub metrics: BTreeMap<String, f64>,
}

/// Seconds of one part of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseTime {
    /// `features` or the name of a phase.
    pub phase: String,
    /// Wall time.
    pub seconds: f64,
}

/// An image that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Path relative to the data folder.
    pub file: String,
    /// Why.
    pub reason: String,
}

/// A simpler model on the same split, and what it costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// What it is.
    pub what: String,
    /// Its accuracy on the validation samples.
    pub val_accuracy: f64,
    /// The mean over the classes.
    pub val_balanced_accuracy: f64,
    /// Its accuracy on the test samples, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_accuracy: Option<f64>,
    /// F1 of its entities in the validation samples, where words have tags; accuracies are then those of words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_f1: Option<f64>,
    /// The same of the test samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_f1: Option<f64>,
    /// Wall time.
    pub seconds: f64,
}

impl Baseline {
    /// In a line.
    #[must_use]
    pub fn line(&self) -> String {
        let (metric, val, test) = self.result();
        let test = test.map_or_else(String::new, |test| format!(", {test:.4} on test"));
        format!("baseline   {val:.4} {metric} on val{test}: {}, {:.1} s", self.what, self.seconds)
    }

    /// What it is judged by, of validation and test samples.
    #[must_use]
    pub fn result(&self) -> (&'static str, f64, Option<f64>) {
        match self.val_f1 {
            Some(f1) => ("entity F1", f1, self.test_f1),
            None => ("accuracy", self.val_accuracy, self.test_accuracy),
        }
    }
}

/// `summary.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How the run ended.
    pub status: Status,
    /// The epoch whose weights were kept.
    pub best: Best,
    /// Validation accuracy of the saved model, read back from disk, where there are classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_accuracy: Option<f64>,
    /// Results of the saved model.
    pub evaluations: Vec<Evaluation>,
    /// Epochs that ran.
    pub epochs: u32,
    /// Wall time of the parts.
    pub phases: Vec<PhaseTime>,
    /// Wall time of the whole command.
    pub seconds: f64,
    /// Training images per second over all epochs, evaluation not counted.
    pub images_per_second: f64,
    /// The part of the training's wall time in which the net waited for images.
    pub wait_seconds: f64,
    /// Bytes of activations held at the frontier.
    pub cache_bytes: u64,
    /// Largest resident memory of the process, bytes; absent where the system does not say.
    pub peak_memory_bytes: Option<u64>,
    /// sha256 of `model.safetensors`.
    pub model_sha256: String,
    /// What a simpler model says of the same split, of texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
    /// Images left out.
    pub skipped: Vec<Skipped>,
    /// What a person should know about the result.
    pub warnings: Vec<String>,
}

/// What a run read its images from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFacts {
    /// The folder, as given.
    pub path: String,
    /// sha256 over names and bytes of the training images.
    pub train_sha256: String,
    /// The same of the validation images.
    pub val_sha256: String,
    /// Number of training images.
    pub train_images: usize,
    /// Number of validation images.
    pub val_images: usize,
    /// Number of test images.
    pub test_images: usize,
    /// Whether the folder came split or how it was split.
    pub split: String,
}

/// Where the pretrained weights came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightsFacts {
    /// Name in the card.
    pub name: String,
    /// Package, hub repository or file.
    pub source: String,
    /// Of the file.
    pub sha256: String,
    /// SPDX identifier.
    pub licence: String,
}

/// The machine and its software.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Operating system and processor family.
    pub platform: String,
    /// Processor model, where the system says.
    pub cpu: String,
    /// Logical processors.
    pub cores: usize,
    /// Threads used for the net.
    pub threads: usize,
    /// Threads used for the images.
    pub data_threads: usize,
    /// Where the net ran: `cpu`, or `cuda:0` and so on.
    pub device: String,
    /// The GPU, where it ran on one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<String>,
    /// Version of libtorch.
    pub libtorch: String,
}

/// `manifest.json`: what is needed to tell whether two runs should agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the program, with the commit it was built from where known.
    pub version: String,
    /// Start, UTC.
    pub started: String,
    /// When it went on after it had been stopped, UTC.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resumed: Vec<String>,
    /// The command line.
    pub command: Vec<String>,
    /// The images.
    pub data: DataFacts,
    /// The pretrained weights.
    pub weights: WeightsFacts,
    /// The machine.
    pub machine: Machine,
    /// How the net is computed and what was measured of that, in words; empty where the spec already said it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compute: Vec<String>,
}

/// One line of `val_predictions.csv`, where there is one class an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Path relative to the data folder.
    pub file: String,
    /// The class of its folder.
    pub label: String,
    /// The class with the highest probability.
    pub predicted: String,
    /// That probability.
    pub probability: f32,
}

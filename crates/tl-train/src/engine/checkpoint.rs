//! A run's [`State`] in one file, `checkpoint.safetensors`, from which it goes on.
//!
//! The decision behind it: one file with the numbers in its metadata, so that tensors and numbers cannot come from two
//! moments. It is written beside the training by a thread of its own and takes its name when it is whole; the run does
//! not wait for the disk, and whenever it is killed the last whole one is there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use tl_weights::{DType, WeightFile};

use super::state::{Progress, State, from_stage};
use crate::error::TrainError;
use crate::model::Model;
use crate::optimizer::Optimizer;
use crate::saved::little_endian;

/// Name of the file in a run's directory.
pub const CHECKPOINT: &str = "checkpoint.safetensors";

const FORMAT: u32 = 1;
/// The key of the numbers in the metadata.
const KEY: &str = "tl";
const WEIGHTS: &str = "weights";
const BEST: &str = "best";
const AVERAGE: &str = "average";
const OPTIMIZER: &str = "optimizer";

/// Where checkpoints are written, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpointing {
    /// The file is in this folder.
    pub dir: PathBuf,
    /// At least so much time lies between two, but at the end of a phase; between epochs it is a tenth. With none there is
    /// one after every step, and the run waits for the disk.
    pub every: Duration,
}

/// A checkpoint that has been read.
#[derive(Debug)]
pub struct Checkpoint {
    /// The position and the figures.
    pub progress: Progress,
    path: PathBuf,
    file: WeightFile,
    rule: Option<tl_finetune::Optimizer>,
}

/// The numbers of a checkpoint.
#[derive(Debug, Serialize, Deserialize)]
struct Numbers {
    format: u32,
    progress: Progress,
    optimizer: tl_finetune::Optimizer,
}

/// When a checkpoint could be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    Step,
    Epoch,
    /// Nothing is due after it for a while, or ever.
    Last,
}

/// Writes checkpoints, one at a time.
#[derive(Debug)]
pub(super) struct Writer {
    settings: Option<Checkpointing>,
    last: Instant,
    worker: Option<JoinHandle<Result<(), TrainError>>>,
}

impl Writer {
    pub(super) fn new(settings: Option<Checkpointing>) -> Self {
        Self { settings, last: Instant::now(), worker: None }
    }

    /// Takes a checkpoint if it is time for one. What went wrong with the last one is returned; the run goes on.
    pub(super) fn offer(&mut self, model: &Model, state: &State, moment: Moment) -> Option<TrainError> {
        let settings = self.settings.as_ref()?;
        let wait = match moment {
            Moment::Step => settings.every,
            Moment::Epoch => settings.every / 10,
            Moment::Last => Duration::ZERO,
        };
        let busy = self.worker.as_ref().is_some_and(|worker| !worker.is_finished());
        // At the end of a phase or of the run it is worth the wait for the one that is being written.
        let waits = moment == Moment::Last || settings.every.is_zero();
        if self.last.elapsed() < wait || (busy && !waits) {
            return None;
        }
        let path = settings.dir.join(CHECKPOINT);
        let problem = self.join();
        let (numbers, tensors) = snapshot(model, state);
        self.worker = Some(std::thread::spawn(move || write(&path, &numbers, tensors)));
        self.last = Instant::now();
        problem
    }

    /// Waits until nothing more is written.
    pub(super) fn join(&mut self) -> Option<TrainError> {
        // A thread that panicked has left no file behind, as one that was killed.
        self.worker.take()?.join().ok()?.err()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.join();
    }
}

type Named = Vec<(String, Tensor)>;

/// Copies, so that the next step may change what is being written.
fn snapshot(model: &Model, state: &State) -> (Numbers, Named) {
    let copy = |tensor: &Tensor| tch::no_grad(|| tensor.copy());
    let named = |group: &str, name: &str, tensor: &Tensor| (format!("{group}/{name}"), copy(tensor));
    let now = from_stage(model, state.progress.lowest_frontier);
    let mut tensors: Named = now.map(|param| named(WEIGHTS, &param.name, &param.tensor)).collect();
    for (group, values) in [(BEST, &state.best), (AVERAGE, &state.average)] {
        tensors.extend(values.iter().flatten().map(|(name, tensor)| named(group, name, tensor)));
    }
    tensors.extend(state.optimizer.state().map(|(name, slot, tensor)| {
        let group = format!("{OPTIMIZER}/{slot}");
        named(&group, name, tensor)
    }));
    let steps = state.optimizer.steps().map(|(name, steps)| (name.to_owned(), steps)).collect();
    let progress = Progress { optimizer_steps: steps, ..state.progress.clone() };
    (Numbers { format: FORMAT, progress, optimizer: state.optimizer.rule() }, tensors)
}

fn write(path: &Path, numbers: &Numbers, tensors: Named) -> Result<(), TrainError> {
    let refused = |error: serde_json::Error| unusable(path, error.to_string());
    let text = serde_json::to_string(numbers).map_err(refused)?;
    let tensors = tensors.into_iter().map(|(name, tensor)| {
        let shape = tensor.size().iter().map(|&n| n as usize).collect();
        (name, DType::F32, shape, little_endian(&tensor))
    });
    let metadata = BTreeMap::from([(KEY.to_owned(), text)]);
    tl_weights::write_safetensors(path, tensors, &metadata)?;
    Ok(())
}

impl Checkpoint {
    /// Reads the checkpoint of a run; none if it has none.
    ///
    /// # Errors
    /// The file is damaged or from a newer version.
    pub fn read(dir: &Path) -> Result<Option<Self>, TrainError> {
        let path = dir.join(CHECKPOINT);
        if !path.exists() {
            return Ok(None);
        }
        let file = WeightFile::open(&path)?;
        let text =
            file.metadata().get(KEY).ok_or_else(|| unusable(&path, "it is no checkpoint".to_owned()))?;
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(|error| unusable(&path, error.to_string()))?;
        let format = value.get("format").and_then(serde_json::Value::as_u64).unwrap_or(0);
        if format != u64::from(FORMAT) {
            return Err(unusable(&path, format!("it has format {format}, this version knows {FORMAT}")));
        }
        let Numbers { progress, optimizer, .. } =
            serde_json::from_value(value).map_err(|error| unusable(&path, error.to_string()))?;
        Ok(Some(Self { progress, path, file, rule: Some(optimizer) }))
    }

    /// Puts the weights into the model, and returns what the run remembered.
    pub(super) fn restore(self, model: &Model) -> Result<State, TrainError> {
        let lowest = self.progress.lowest_frontier;
        if lowest > model.stages() {
            return Err(unusable(&self.path, "its net has more stages".to_owned()));
        }
        let mut state = State::new(model);
        let params: BTreeMap<&str, &Tensor> =
            model.tensors().map(|param| (param.name.as_str(), &param.tensor)).collect();
        let now: Vec<String> = from_stage(model, lowest).map(|param| param.name.clone()).collect();
        let (mut best, mut average) = (BTreeMap::new(), BTreeMap::new());
        for name in self.file.names() {
            let Some((group, param)) = name.split_once('/') else {
                return Err(unusable(&self.path, format!("it has a tensor `{name}`")));
            };
            let (group, values) = match group {
                BEST => (group, &mut best),
                AVERAGE => (group, &mut average),
                _ => continue,
            };
            let like = params
                .get(param)
                .ok_or_else(|| unusable(&self.path, format!("its net has a tensor `{param}` ({group})")))?;
            let value = self.tensor(name, like)?;
            // As the model's tensors lie in memory.
            let copy = tch::no_grad(|| {
                let mut copy = like.zeros_like();
                copy.copy_(&value);
                copy
            });
            values.insert(param.to_owned(), copy);
        }
        // Everything is read before anything is changed.
        let weights: Vec<(String, Tensor)> = now
            .into_iter()
            .map(|name| {
                let value = self.tensor(&format!("{WEIGHTS}/{name}"), params[name.as_str()])?;
                Ok((name, value))
            })
            .collect::<Result<_, TrainError>>()?;
        let rule = self.rule.unwrap_or(tl_finetune::Optimizer::ADAMW);
        state.optimizer = Optimizer::new(rule);
        let slot = |param: &str, slot: &str| {
            self.tensor(&format!("{OPTIMIZER}/{slot}/{param}"), params.get(param)?).ok()
        };
        state
            .optimizer
            .restore(
                params.iter().map(|(name, tensor)| (*name, *tensor)),
                &self.progress.optimizer_steps,
                slot,
            )
            .map_err(|error| unusable(&self.path, error.to_string()))?;
        for (name, value) in &weights {
            tch::no_grad(|| params[name.as_str()].shallow_clone().copy_(value));
        }
        state.best = self.progress.best.is_some().then_some(best);
        state.average = (!average.is_empty()).then_some(average);
        state.progress = self.progress;
        Ok(state)
    }

    fn tensor(&self, name: &str, like: &Tensor) -> Result<Tensor, TrainError> {
        let shape: Vec<i64> = self
            .file
            .info(name)
            .ok_or_else(|| unusable(&self.path, format!("it has no tensor `{name}`")))?
            .shape
            .iter()
            .map(|&n| n as i64)
            .collect();
        if shape != like.size() {
            let (expected, got) = (like.size(), shape);
            return Err(unusable(&self.path, format!("`{name}` has shape {got:?}, expected {expected:?}")));
        }
        let values = Tensor::from_slice(&self.file.read_f32(name)?);
        Ok(values.view(&shape[..]).to_kind(Kind::Float).to_device(like.device()))
    }
}

fn unusable(path: &Path, reason: String) -> TrainError {
    let hint = "a checkpoint fits the run that wrote it and the version of `tl` that ran it; start the run anew with \
                --config and its spec.json";
    TrainError::Saved { path: path.to_owned(), reason, hint }
}

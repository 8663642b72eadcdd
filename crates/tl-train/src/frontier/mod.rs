//! The frontier cache: activations of the frozen prefix, computed once.
//!
//! Activations are kept by level (level `i` is the input of stage `i`, the last level the pooled features) and by view of
//! the images. One pass over the images fills every level that the coming phases need and that no phase in between
//! changes. What fits neither memory nor disk is not kept, and its phase runs the prefix again in every epoch: slower,
//! with the same results but for rounding.

mod needs;
mod store;

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor};
use tl_data::{Loader, LoaderOptions, View};
use tl_finetune::Plan;
use tl_torch::upload;

use crate::compute::Runner;
use crate::engine::{Images, Observer, Tick};
use crate::error::TrainError;
use crate::evaluate::{EVAL_BATCH, batch_tensor};
use crate::model::Model;

pub(crate) use needs::{Budgets, Pass, Set};
use needs::{Need, Tier};
pub use store::FeatureStore;
use store::{RowWriter, StoredRows};

/// The activations of a run.
#[derive(Debug)]
pub(crate) struct Cache {
    /// What is kept in each phase.
    phases: Vec<BTreeMap<Need, Tier>>,
    kept: BTreeMap<Need, Kept>,
    store: Option<FeatureStore>,
    seed: u64,
    /// All levels that are kept in some phase. The prefix is always computed from one to the next, so that a level has the
    /// same bits whichever others are missing.
    cuts: Vec<usize>,
    /// Images that all passes of the plan have together.
    images: usize,
    /// By level the sha256 of the prefix below it, which no phase changes as long as the level is kept.
    prefixes: BTreeMap<usize, String>,
}

/// Activations of one pass at one level.
#[derive(Debug)]
pub(crate) struct Kept {
    rows: Rows,
    /// Channels, height and width; or tokens and channels; or the length of the pooled vector.
    shape: Vec<i64>,
}

/// One row an image, channels innermost, so that rows can be picked without losing that layout.
#[derive(Debug)]
enum Rows {
    /// `[N, …]`, in the computer's memory, of which there is more than on a GPU.
    Memory(Tensor),
    Disk(StoredRows),
}

/// Where a pass puts the activations of one level.
struct Sink {
    need: Need,
    memory: Option<Tensor>,
    file: Option<RowWriter>,
    key: Option<String>,
    shape: Vec<i64>,
}

impl Kept {
    /// The activations of these images.
    ///
    /// # Shapes
    /// `[indices, C, H, W]`, `[indices, T, C]`, or `[indices, D]` at the last level.
    pub(crate) fn pick(&self, indices: &[u32], device: Device) -> Result<Tensor, TrainError> {
        let n = indices.len() as i64;
        let rows = match &self.rows {
            Rows::Memory(rows) => {
                let indices: Vec<i64> = indices.iter().map(|&i| i64::from(i)).collect();
                rows.index_select(0, &Tensor::from_slice(&indices))
            }
            Rows::Disk(rows) => Tensor::from_slice(&rows.read(indices)?).view([n, -1]),
        };
        let rows = upload(rows, device);
        Ok(match self.shape[..] {
            [c, h, w] => rows.view([n, h, w, c]).permute([0, 3, 1, 2]),
            [t, c] => rows.view([n, t, c]),
            _ => rows,
        })
    }
}

impl Cache {
    /// Decides what will be kept; computes nothing yet.
    pub(crate) fn new(
        (model, plan): (&Model, &Plan),
        images: &Images<'_>,
        (memory, store): (u64, Option<FeatureStore>),
        seed: u64,
    ) -> Self {
        let bytes =
            |need: Need| images.samples(need.pass.set).len() as u64 * bytes_per_image(model, need.level);
        let disk = store.as_ref().map_or(0, FeatureStore::budget);
        let phases = needs::kept_by_phase(plan, bytes, Budgets { memory, disk });
        let needs = || phases.iter().flat_map(BTreeMap::keys);
        let levels: BTreeSet<usize> = needs().map(|need| need.level).collect();
        let passes: BTreeSet<Pass> = needs().map(|need| need.pass).collect();
        let in_all = passes.iter().map(|pass| images.samples(pass.set).len()).sum();
        let cuts = levels.into_iter().collect();
        Self { phases, kept: BTreeMap::new(), store, seed, cuts, images: in_all, prefixes: BTreeMap::new() }
    }

    /// Images that all passes of the plan have together.
    pub(crate) fn images(&self) -> usize {
        self.images
    }

    pub(crate) fn get(&self, pass: Pass, level: usize) -> Option<&Kept> {
        self.kept.get(&Need { pass, level })
    }

    /// Whether phase `phase` keeps the activations of a pass.
    pub(crate) fn keeps(&self, phase: usize, pass: Pass, level: usize) -> bool {
        self.phases[phase].contains_key(&Need { pass, level })
    }

    /// The passes that phase `phase` is the first to need, each with the highest level that it fills.
    pub(crate) fn new_passes(&self, phase: usize) -> Vec<(Pass, usize)> {
        let before = phase.checked_sub(1).map(|before| &self.phases[before]);
        let mut passes = BTreeMap::new();
        for need in
            self.phases[phase].keys().filter(|need| before.is_none_or(|held| !held.contains_key(need)))
        {
            let top = passes.entry(need.pass).or_insert(need.level);
            *top = need.level.max(*top);
        }
        passes.into_iter().collect()
    }

    /// Bytes that phase `phase` keeps.
    pub(crate) fn planned_bytes(&self, phase: usize, model: &Model, images: &Images<'_>) -> u64 {
        let bytes =
            |need: &Need| images.samples(need.pass.set).len() as u64 * bytes_per_image(model, need.level);
        self.phases[phase].keys().map(bytes).sum()
    }

    /// Drops what phase `phase` does not keep.
    pub(crate) fn enter(&mut self, phase: usize) {
        self.kept.retain(|need, _| self.phases[phase].contains_key(need));
    }

    /// Drops what training from stage `frontier` upwards has made untrue.
    pub(crate) fn retain_below(&mut self, frontier: usize) {
        self.kept.retain(|need, _| need.level <= frontier);
        self.prefixes.retain(|level, _| *level <= frontier);
    }

    /// Bytes in memory and on disk.
    pub(crate) fn bytes(&self) -> u64 {
        let bytes = |kept: &Kept| match &kept.rows {
            Rows::Memory(rows) => (rows.numel() * size_of::<f32>()) as u64,
            Rows::Disk(rows) => rows.bytes(),
        };
        self.kept.values().map(bytes).sum()
    }

    /// Computes, or finds on disk, all levels of `pass` that phase `phase` keeps. Returns `false` if it was stopped.
    pub(crate) fn fill(
        &mut self,
        model: &Model,
        (phase, pass): (usize, Pass),
        images: &Images<'_>,
        observer: &mut dyn Observer,
    ) -> Result<bool, TrainError> {
        let missing: Vec<(Need, Tier)> = self.phases[phase]
            .iter()
            .filter(|(need, _)| need.pass == pass && !self.kept.contains_key(need))
            .map(|(need, tier)| (*need, *tier))
            .collect();
        let mut sinks = Vec::new();
        for (need, tier) in missing {
            let key = self.key(model, need, images);
            match self.found(model, (need, tier), key.as_deref(), images)? {
                Some(kept) => {
                    self.kept.insert(need, kept);
                }
                None => sinks.extend(self.sink(model, (need, tier), key, images)?),
            }
        }
        if sinks.is_empty() {
            return Ok(true);
        }
        if !self.pass(model, pass, &mut sinks, images, observer)? {
            return Ok(false);
        }
        for Sink { need, memory, file, key, shape } in sinks {
            if let Some(Err(error)) = file.map(RowWriter::finish) {
                observer.note(&format!("activations are not kept on disk: {error}"));
            }
            let size = self.size(model, need, images);
            let stored = || key.as_ref().and_then(|key| self.store.as_ref()?.get(key, size));
            if let Some(rows) = memory.map(Rows::Memory).or_else(|| stored().map(Rows::Disk)) {
                self.kept.insert(need, Kept { rows, shape });
            }
        }
        Ok(true)
    }

    fn size(&self, model: &Model, need: Need, images: &Images<'_>) -> (u64, u64) {
        (
            images.samples(need.pass.set).len() as u64,
            bytes_per_image(model, need.level) / size_of::<f32>() as u64,
        )
    }

    /// What an earlier run has left.
    fn found(
        &self,
        model: &Model,
        (need, tier): (Need, Tier),
        key: Option<&str>,
        images: &Images<'_>,
    ) -> Result<Option<Kept>, TrainError> {
        let (Some(store), Some(key)) = (&self.store, key) else { return Ok(None) };
        let (rows, width) = self.size(model, need, images);
        let Some(stored) = store.get(key, (rows, width)) else { return Ok(None) };
        let shape = shape(model, need.level);
        if tier == Tier::Disk {
            return Ok(Some(Kept { rows: Rows::Disk(stored), shape }));
        }
        let memory = Tensor::empty([rows as i64, width as i64], (Kind::Float, Device::Cpu));
        stored.each(|start, values| {
            let n = values.len() as i64 / width.max(1) as i64;
            let values = Tensor::from_slice(&values).view([n, -1]);
            tch::no_grad(|| memory.narrow(0, start as i64, n).copy_(&values));
        })?;
        Ok(Some(Kept { rows: Rows::Memory(memory), shape }))
    }

    /// Where to put what has to be computed; nowhere if there is no room after all.
    fn sink(
        &self,
        model: &Model,
        (need, tier): (Need, Tier),
        key: Option<String>,
        images: &Images<'_>,
    ) -> Result<Option<Sink>, TrainError> {
        let size = self.size(model, need, images);
        let file = match (&self.store, &key) {
            (Some(store), Some(key)) => store.writer(key, size)?,
            _ => None,
        };
        let memory = (tier == Tier::Memory)
            .then(|| Tensor::empty([size.0 as i64, size.1 as i64], (Kind::Float, Device::Cpu)));
        let shape = shape(model, need.level);
        Ok((file.is_some() || memory.is_some()).then_some(Sink { need, memory, file, key, shape }))
    }

    /// Runs the prefix over the images.
    fn pass(
        &self,
        model: &Model,
        pass: Pass,
        sinks: &mut [Sink],
        images: &Images<'_>,
        observer: &mut dyn Observer,
    ) -> Result<bool, TrainError> {
        let samples = images.samples(pass.set);
        let mut options = LoaderOptions::in_order(samples.len(), EVAL_BATCH);
        let view = match pass.view {
            None => View::Eval(model.preprocess),
            Some(view) => {
                // As the epoch of this number would see the images.
                (options.seed, options.epoch) = (self.seed, u64::from(view));
                (options.shrink, options.cache) = (images.shrink, images.decoded.cloned());
                View::train(model.preprocess, images.augmentation.clone())
            }
        };
        let top = sinks.iter().map(|sink| sink.need.level).max().unwrap_or(0);
        let starts = [0].iter().chain(&self.cuts);
        let parts: Vec<(usize, Runner<'_>)> = starts
            .zip(&self.cuts)
            .filter(|(_, to)| **to <= top)
            .map(|(from, to)| (*to, model.runner(*from..*to, EVAL_BATCH, self.images)))
            .collect();
        let mut done = 0;
        for batch in Loader::new(samples.clone(), view, options, images.pool)? {
            let batch = batch?;
            let mut xs = batch_tensor(&batch, model.device);
            for (level, part) in &parts {
                xs = part.run(&xs)?;
                for sink in sinks.iter_mut().filter(|sink| sink.need.level == *level) {
                    if let Err(error) = sink.take(&xs, done) {
                        // A cache that cannot be written costs time and no result.
                        observer.note(&format!("activations are not kept on disk: {error}"));
                    }
                }
            }
            done += batch.labels.len();
            observer.tick(Tick { what: "features", done, of: samples.len() });
            if images.stopped() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The name of activations in the store: a hash of all that they depend on.
    fn key(&mut self, model: &Model, need: Need, images: &Images<'_>) -> Option<String> {
        let store = self.store.as_ref()?;
        let of_set = images.ids.map(|ids| match need.pass.set {
            Set::Train => ids.0,
            Set::Val => ids.1,
        })?;
        let prefix = self.prefixes.entry(need.level).or_insert_with(|| prefix_hash(model, need.level));
        let view = match need.pass.view {
            None => "validation".to_owned(),
            Some(view) => {
                let augmentation = serde_json::to_string(images.augmentation).ok()?;
                format!("view {view}, seed {}, shrink {:?}, {augmentation}", self.seed, images.shrink)
            }
        };
        let preprocess = serde_json::to_string(&model.preprocess).ok()?;
        let below: Vec<usize> = self.cuts.iter().copied().filter(|cut| *cut <= need.level).collect();
        let level = match (model.compute.bf16, model.compute.compiled, model.device) {
            // Step by step in f32 it does not matter where the prefix is cut.
            (false, false, Device::Cpu) => need.level.to_string(),
            (bf16, _, Device::Cuda(_)) => format!("{}, bf16 {bf16}, on a GPU", need.level),
            (bf16, compiled, _) => {
                format!(
                    "{}, bf16 {bf16}, compiled {compiled} for {} images, cut at {below:?}",
                    need.level, self.images
                )
            }
        };
        Some(store.key(&[model.backbone.name(), prefix, &level, &preprocess, of_set, &view]))
    }
}

impl Sink {
    /// Keeps a batch. After an error nothing more goes to the file.
    fn take(&mut self, xs: &Tensor, start: usize) -> Result<(), TrainError> {
        let batch = xs.size()[0];
        let rows = match xs.dim() {
            4 => xs.permute([0, 2, 3, 1]).contiguous().view([batch, -1]),
            _ => xs.contiguous().view([batch, -1]),
        };
        if let Some(memory) = &self.memory {
            tch::no_grad(|| memory.narrow(0, start as i64, batch).copy_(&rows));
        }
        if let Some(mut file) = self.file.take() {
            let flat = rows.to_device(Device::Cpu).view([-1]);
            let mut values = vec![0f32; flat.numel()];
            let n = values.len();
            flat.copy_data(&mut values, n);
            file.write(&values)?;
            self.file = Some(file);
        }
        Ok(())
    }
}

/// The shape of one image's activations at a level.
pub(crate) fn shape(model: &Model, level: usize) -> Vec<i64> {
    match level == model.stages() {
        true => vec![model.head.pooled_width()],
        false => model.observed.shapes[level].clone(),
    }
}

/// sha256 of everything below a level: names and values of the tensors, and the pooling.
fn prefix_hash(model: &Model, level: usize) -> String {
    let mut hash = Sha256::new();
    let top = level == model.stages();
    let end = match top {
        // What stands between pooling and head comes behind the stages.
        true => model.backbone.store.iter().len(),
        false => model.backbone.stages[level].params().start,
    };
    for param in model.backbone.store.slice(0..end) {
        hash.update(param.name.as_bytes());
        hash.update(crate::saved::little_endian(&param.tensor));
    }
    if top {
        hash.update(format!("{:?}", model.head.spec.pool).as_bytes());
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Most bytes of activations that a run of `plan` keeps in memory and on disk if its budgets allow.
#[must_use]
pub fn cache_bytes(model: &Model, plan: &Plan, train: usize, val: usize) -> u64 {
    let bytes = |need: Need| {
        let n = if need.pass.set == Set::Train { train } else { val };
        n as u64 * bytes_per_image(model, need.level)
    };
    let phases = needs::kept_by_phase(plan, bytes, Budgets { memory: u64::MAX, disk: 0 });
    phases.iter().map(|kept| kept.keys().map(|need| bytes(*need)).sum()).max().unwrap_or(0)
}

/// Bytes of one image's activations at a level.
fn bytes_per_image(model: &Model, level: usize) -> u64 {
    let values: i64 = shape(model, level).iter().product();
    values.unsigned_abs() * size_of::<f32>() as u64
}

//! The frontier cache: activations of the frozen prefix, computed once.
//!
//! Activations are kept by level (level `i` is the input of stage `i`, the last level the pooled features) and by view of
//! the images. One pass over the images or texts fills every level that the coming phases need and that no phase in between
//! changes. What fits neither memory nor disk is not kept, and its phase runs the prefix again in every epoch: slower,
//! with the same results but for rounding.

mod needs;
mod rows;
mod store;

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor};
use tl_data::{Loader, LoaderOptions, View};
use tl_finetune::Plan;

use crate::compute::Runner;
use crate::engine::{Observer, Tick};
use crate::error::TrainError;
use crate::evaluate::{EVAL_BATCH, batch_tensor};
use crate::feed::{Feed, Images, Inputs, text_batches, text_tensor};
use crate::model::{Model, Reads};

pub(crate) use needs::{Budgets, Pass, Set};
use needs::{Need, Tier};
pub(crate) use rows::{Kept, Picked};
use rows::{Layout, Rows};
pub use store::FeatureStore;
use store::RowWriter;

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
    /// Samples that all passes of the plan have together.
    samples: usize,
    /// By level the sha256 of the prefix below it, which no phase changes as long as the level is kept.
    prefixes: BTreeMap<usize, String>,
}

/// Where a pass puts the activations of one level.
struct Sink {
    need: Need,
    memory: Option<Tensor>,
    file: Option<RowWriter>,
    key: Option<String>,
    shape: Vec<i64>,
    /// Rows that are there.
    done: i64,
}

/// The activations of a batch at one level, real tokens and others.
struct Made<'t> {
    xs: &'t Tensor,
    mask: Option<&'t Tensor>,
}

impl Cache {
    /// Decides what will be kept; computes nothing yet.
    pub(crate) fn new(
        (model, plan): (&Model, &Plan),
        feed: &Feed<'_>,
        (memory, store): (u64, Option<FeatureStore>),
        seed: u64,
    ) -> Self {
        let bytes = |need: Need| bytes(model, feed, need);
        let disk = store.as_ref().map_or(0, FeatureStore::budget);
        let phases = needs::kept_by_phase(plan, bytes, Budgets { memory, disk });
        let needs = || phases.iter().flat_map(BTreeMap::keys);
        let levels: BTreeSet<usize> = needs().map(|need| need.level).collect();
        let passes: BTreeSet<Pass> = needs().map(|need| need.pass).collect();
        let in_all = passes.iter().map(|pass| feed.samples(pass.set).len()).sum();
        let cuts = levels.into_iter().collect();
        Self { phases, kept: BTreeMap::new(), store, seed, cuts, samples: in_all, prefixes: BTreeMap::new() }
    }

    /// Samples that all passes of the plan have together.
    pub(crate) fn samples(&self) -> usize {
        self.samples
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
    pub(crate) fn planned_bytes(&self, phase: usize, model: &Model, feed: &Feed<'_>) -> u64 {
        self.phases[phase].keys().map(|need| bytes(model, feed, *need)).sum()
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
        self.kept.values().map(Kept::bytes).sum()
    }

    /// Computes, or finds on disk, all levels of `pass` that phase `phase` keeps. Returns `false` if it was stopped.
    pub(crate) fn fill(
        &mut self,
        model: &Model,
        (phase, pass): (usize, Pass),
        feed: &Feed<'_>,
        observer: &mut dyn Observer,
    ) -> Result<bool, TrainError> {
        let missing: Vec<(Need, Tier)> = self.phases[phase]
            .iter()
            .filter(|(need, _)| need.pass == pass && !self.kept.contains_key(need))
            .map(|(need, tier)| (*need, *tier))
            .collect();
        let mut sinks = Vec::new();
        for (need, tier) in missing {
            let key = self.key(model, need, feed);
            match self.found(model, (need, tier), key.as_deref(), feed)? {
                Some(kept) => {
                    self.kept.insert(need, kept);
                }
                None => sinks.extend(self.sink(model, (need, tier), key, feed)?),
            }
        }
        if sinks.is_empty() {
            return Ok(true);
        }
        if !self.pass(model, pass, &mut sinks, feed, observer)? {
            return Ok(false);
        }
        for Sink { need, memory, file, key, shape, .. } in sinks {
            if let Some(Err(error)) = file.map(RowWriter::finish) {
                observer.note(&format!("activations are not kept on disk: {error}"));
            }
            let size = size(model, feed, need);
            let stored = || key.as_ref().and_then(|key| self.store.as_ref()?.get(key, size));
            if let Some(rows) = memory.map(Rows::Memory).or_else(|| stored().map(Rows::Disk)) {
                self.kept.insert(need, Kept { rows, shape, layout: layout(model, feed, need) });
            }
        }
        Ok(true)
    }

    /// What an earlier run has left.
    fn found(
        &self,
        model: &Model,
        (need, tier): (Need, Tier),
        key: Option<&str>,
        feed: &Feed<'_>,
    ) -> Result<Option<Kept>, TrainError> {
        let (Some(store), Some(key)) = (&self.store, key) else { return Ok(None) };
        let (rows, width) = size(model, feed, need);
        let Some(stored) = store.get(key, (rows, width)) else { return Ok(None) };
        let (shape, layout) = (shape(model, need.level), layout(model, feed, need));
        if tier == Tier::Disk {
            return Ok(Some(Kept { rows: Rows::Disk(stored), shape, layout }));
        }
        let memory = Tensor::empty([rows as i64, width as i64], (Kind::Float, Device::Cpu));
        stored.each(|start, values| {
            let n = values.len() as i64 / width.max(1) as i64;
            let values = Tensor::from_slice(&values).view([n, -1]);
            tch::no_grad(|| memory.narrow(0, start as i64, n).copy_(&values));
        })?;
        Ok(Some(Kept { rows: Rows::Memory(memory), shape, layout }))
    }

    /// Where to put what has to be computed; nowhere if there is no room after all.
    fn sink(
        &self,
        model: &Model,
        (need, tier): (Need, Tier),
        key: Option<String>,
        feed: &Feed<'_>,
    ) -> Result<Option<Sink>, TrainError> {
        let size = size(model, feed, need);
        let file = match (&self.store, &key) {
            (Some(store), Some(key)) => store.writer(key, size)?,
            _ => None,
        };
        let memory = (tier == Tier::Memory)
            .then(|| Tensor::empty([size.0 as i64, size.1 as i64], (Kind::Float, Device::Cpu)));
        let shape = shape(model, need.level);
        Ok((file.is_some() || memory.is_some()).then_some(Sink { need, memory, file, key, shape, done: 0 }))
    }

    /// Runs the prefix over the images or texts.
    fn pass(
        &self,
        model: &Model,
        pass: Pass,
        sinks: &mut [Sink],
        feed: &Feed<'_>,
        observer: &mut dyn Observer,
    ) -> Result<bool, TrainError> {
        let of = feed.samples(pass.set).len();
        let top = sinks.iter().map(|sink| sink.need.level).max().unwrap_or(0);
        let starts = [0].iter().chain(&self.cuts);
        let parts: Vec<(usize, Runner<'_>)> = starts
            .zip(&self.cuts)
            .filter(|(_, to)| **to <= top)
            .map(|(from, to)| (*to, model.runner(*from..*to, EVAL_BATCH, self.samples)))
            .collect();
        let mut done = 0;
        let mut through = |xs: Tensor, mask: Option<&Tensor>, n: usize| -> Result<bool, TrainError> {
            let mut xs = xs;
            for (level, part) in &parts {
                xs = part.run_masked(&xs, mask)?;
                let mask = mask.filter(|_| model.has_tokens(*level));
                for sink in sinks.iter_mut().filter(|sink| sink.need.level == *level) {
                    if let Err(error) = sink.take(&Made { xs: &xs, mask }, feed) {
                        // A cache that cannot be written costs time and no result.
                        observer.note(&format!("activations are not kept on disk: {error}"));
                    }
                }
            }
            done += n;
            observer.tick(Tick { what: "features", done, of });
            Ok(!feed.stopped())
        };
        match feed.inputs {
            Inputs::Images(images) => {
                for batch in self.loader(model, pass, (feed, images))? {
                    let batch = batch?;
                    if !through(batch_tensor(&batch, model.device), None, batch.labels.len())? {
                        return Ok(false);
                    }
                }
            }
            Inputs::Texts(_) => {
                let Some(encoded) = feed.texts(pass.set) else { return Ok(true) };
                for places in text_batches(encoded) {
                    let input = text_tensor(encoded, &places, model.device)?;
                    if !through(input.xs, input.mask.as_ref(), places.len())? {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    /// The images of a pass.
    fn loader(
        &self,
        model: &Model,
        pass: Pass,
        (feed, images): (&Feed<'_>, Images<'_>),
    ) -> Result<Loader, TrainError> {
        let samples = feed.samples(pass.set);
        let mut options = LoaderOptions::in_order(samples.len(), EVAL_BATCH);
        let view = match pass.view {
            None => View::Eval(model.preprocess()?),
            Some(view) => {
                // As the epoch of this number would see the images.
                (options.seed, options.epoch) = (self.seed, u64::from(view));
                (options.shrink, options.cache) = (images.shrink, images.decoded.cloned());
                View::train(model.preprocess()?, images.augmentation.clone())
            }
        };
        Ok(Loader::new(samples.clone(), view, options, images.pool)?)
    }

    /// The name of activations in the store: a hash of all that they depend on.
    fn key(&mut self, model: &Model, need: Need, feed: &Feed<'_>) -> Option<String> {
        let store = self.store.as_ref()?;
        let of_set = feed.ids.map(|ids| match need.pass.set {
            Set::Train => ids.0,
            Set::Val => ids.1,
        })?;
        let prefix = self.prefixes.entry(need.level).or_insert_with(|| prefix_hash(model, need.level));
        let view = match need.pass.view {
            None => "validation".to_owned(),
            Some(view) => {
                let Inputs::Images(images) = feed.inputs else { return None };
                let augmentation = serde_json::to_string(images.augmentation).ok()?;
                format!("view {view}, seed {}, shrink {:?}, {augmentation}", self.seed, images.shrink)
            }
        };
        let preprocess = match &model.reads {
            Reads::Images(preprocess) => serde_json::to_string(preprocess).ok()?,
            // The tokens say the rest.
            Reads::Texts { .. } => "texts".to_owned(),
        };
        let below: Vec<usize> = self.cuts.iter().copied().filter(|cut| *cut <= need.level).collect();
        let level = match (model.compute.bf16, model.compute.compiled, model.device) {
            // Step by step in f32 it does not matter where the prefix is cut.
            (false, false, Device::Cpu) => need.level.to_string(),
            (bf16, _, Device::Cuda(_)) => format!("{}, bf16 {bf16}, on a GPU", need.level),
            (bf16, compiled, _) => {
                format!(
                    "{}, bf16 {bf16}, compiled {compiled} for {} images, cut at {below:?}",
                    need.level, self.samples
                )
            }
        };
        Some(store.key(&[model.backbone.name(), prefix, &level, &preprocess, of_set, &view]))
    }
}

impl Sink {
    /// Keeps a batch. After an error nothing more goes to the file.
    fn take(&mut self, made: &Made<'_>, feed: &Feed<'_>) -> Result<(), TrainError> {
        let (xs, batch) = (made.xs, made.xs.size()[0]);
        let texts = matches!(feed.inputs, Inputs::Texts(_));
        let rows = match xs.dim() {
            4 => xs.permute([0, 2, 3, 1]).contiguous().view([batch, -1]),
            // Of texts each token is a row, and what only fills up is not kept.
            3 if texts => {
                let tokens = xs.contiguous().view([-1, xs.size()[2]]);
                match made.mask {
                    Some(mask) => tokens.index_select(0, &mask.view([-1]).nonzero().squeeze_dim(1)),
                    None => tokens,
                }
            }
            _ => xs.contiguous().view([batch, -1]),
        };
        let n = rows.size()[0];
        if let Some(memory) = &self.memory {
            tch::no_grad(|| memory.narrow(0, self.done, n).copy_(&rows));
        }
        self.done += n;
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

/// The shape of one row of activations at a level: of an image's; of a token's; of a text's pooled features.
pub(crate) fn shape(model: &Model, level: usize) -> Vec<i64> {
    match (level == model.stages(), model.reads) {
        (true, _) => vec![model.head.pooled_width()],
        (false, Reads::Images(_)) => model.observed.shapes[level].clone(),
        (false, Reads::Texts { .. }) => model.observed.shapes[level].last().copied().into_iter().collect(),
    }
}

/// Rows of a pass at a level, and values in each.
fn size(model: &Model, feed: &Feed<'_>, need: Need) -> (u64, u64) {
    let rows = match feed.texts(need.pass.set).filter(|_| model.has_tokens(need.level)) {
        Some(encoded) => encoded.lengths().iter().sum(),
        None => feed.samples(need.pass.set).len(),
    };
    (rows as u64, shape(model, need.level).iter().product::<i64>().unsigned_abs())
}

fn bytes(model: &Model, feed: &Feed<'_>, need: Need) -> u64 {
    let (rows, width) = size(model, feed, need);
    rows * width * size_of::<f32>() as u64
}

/// Where the rows of texts are.
fn layout(model: &Model, feed: &Feed<'_>, need: Need) -> Option<Layout> {
    Some(Layout::new(feed.texts(need.pass.set)?, model.has_tokens(need.level)))
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
    // What adapters add is scaled.
    if let Some(lora) = model.backbone.text_net().and_then(|net| net.lora.as_ref()) {
        hash.update((lora.alpha / lora.rank as f64).to_le_bytes());
    }
    if top {
        hash.update(format!("{:?}", model.head.spec.pool).as_bytes());
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Most bytes of activations that a run of `plan` keeps in memory and on disk if its budgets allow.
#[must_use]
pub fn cache_bytes(model: &Model, plan: &Plan, feed: &Feed<'_>) -> u64 {
    let bytes = |need: Need| bytes(model, feed, need);
    let phases = needs::kept_by_phase(plan, bytes, Budgets { memory: u64::MAX, disk: 0 });
    phases.iter().map(|kept| kept.keys().map(|need| bytes(*need)).sum()).max().unwrap_or(0)
}

//! The frontier cache: activations of the frozen prefix, computed once.
//!
//! Activations are kept by level (level `i` is the input of stage `i`, the last level the pooled features). One pass
//! over the images fills every level that the coming phases need and that no phase in between changes; after a phase,
//! the levels above anything that has trained are dropped. What does not fit the budget is not kept, and its phase runs
//! the prefix again in every epoch: slower, with the same results.

use std::collections::BTreeMap;

use tch::{Kind, Tensor};
use tl_backbones::Mode;
use tl_data::{Loader, LoaderOptions, View};
use tl_finetune::Plan;

use crate::error::TrainError;
use crate::evaluate::{EVAL_BATCH, batch_tensor};
use crate::model::Model;
use crate::trainer::{Images, Observer, Tick};

/// One set of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Set {
    Train,
    Val,
}

/// Activations by level and set, `[images, …]` each.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    kept: BTreeMap<(usize, Set), Kept>,
}

/// Activations of one set at one level.
#[derive(Debug)]
pub(crate) struct Kept {
    /// One row an image, `[N, …]` with channels innermost, so that rows can be picked without losing that layout.
    rows: Tensor,
    /// Channels, height and width; or tokens and channels; or the length of the pooled vector.
    shape: Vec<i64>,
}

impl Kept {
    /// The activations of these images.
    ///
    /// # Shapes
    /// `[indices, C, H, W]`, `[indices, T, C]`, or `[indices, D]` at the last level.
    pub(crate) fn pick(&self, indices: &[u32]) -> Tensor {
        let indices: Vec<i64> = indices.iter().map(|&i| i64::from(i)).collect();
        let n = indices.len() as i64;
        let rows = self.rows.index_select(0, &Tensor::from_slice(&indices).to_device(self.rows.device()));
        match self.shape[..] {
            [c, h, w] => rows.view([n, h, w, c]).permute([0, 3, 1, 2]),
            [t, c] => rows.view([n, t, c]),
            _ => rows,
        }
    }
}

impl Cache {
    pub(crate) fn get(&self, level: usize, set: Set) -> Option<&Kept> {
        self.kept.get(&(level, set))
    }

    /// Drops what training from stage `frontier` upwards has made untrue.
    pub(crate) fn retain_below(&mut self, frontier: usize) {
        self.kept.retain(|(level, _), _| *level <= frontier);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.kept.values().map(|kept| (kept.rows.numel() * size_of::<f32>()) as u64).sum()
    }

    /// Computes what phase `phase` and those after it need, as far as it holds until then and fits the budget.
    /// Returns `false` if it was stopped.
    pub(crate) fn fill(
        &mut self,
        model: &Model,
        (plan, phase): (&Plan, usize),
        images: &Images<'_>,
        budget: u64,
        observer: &mut dyn Observer,
    ) -> Result<bool, TrainError> {
        let mut room = budget.saturating_sub(self.bytes());
        for set in [Set::Train, Set::Val] {
            let n = images.samples(set).len();
            let mut levels = Vec::new();
            for level in needed(plan, phase, set) {
                let bytes = n as u64 * bytes_per_image(model, level);
                if !self.kept.contains_key(&(level, set)) && bytes <= room {
                    room -= bytes;
                    levels.push(level);
                }
            }
            levels.sort_unstable();
            if !levels.is_empty() && !self.pass(model, set, &levels, images, observer)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn pass(
        &mut self,
        model: &Model,
        set: Set,
        levels: &[usize],
        images: &Images<'_>,
        observer: &mut dyn Observer,
    ) -> Result<bool, TrainError> {
        let samples = images.samples(set);
        let options = LoaderOptions::in_order(samples.len(), EVAL_BATCH);
        let mut done = 0;
        for batch in Loader::new(samples.clone(), View::Eval(model.preprocess), options, images.pool)? {
            let batch = batch?;
            let mut xs = batch_tensor(&batch, model.device);
            let mut from = 0;
            for &level in levels {
                xs = tch::no_grad(|| model.forward(&xs, from, level, |_| Mode::EVAL));
                from = level;
                self.store((level, set), &xs, done, samples.len());
            }
            done += batch.labels.len();
            observer.tick(Tick { what: "features", done, of: samples.len() });
            if images.stopped() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn store(&mut self, key: (usize, Set), xs: &Tensor, start: usize, n: usize) {
        let batch = xs.size()[0];
        let rows = match xs.dim() {
            4 => xs.permute([0, 2, 3, 1]).contiguous().view([batch, -1]),
            _ => xs.contiguous().view([batch, -1]),
        };
        let kept = self.kept.entry(key).or_insert_with(|| Kept {
            rows: Tensor::empty([n as i64, rows.size()[1]], (Kind::Float, xs.device())),
            shape: xs.size()[1..].to_vec(),
        });
        tch::no_grad(|| kept.rows.narrow(0, start as i64, batch).copy_(&rows));
    }
}

/// The levels of `set` that can be computed before phase `phase` and still hold when their phase comes, first needed
/// first. Level 0 is the images themselves and never kept.
fn needed(plan: &Plan, phase: usize, set: Set) -> Vec<usize> {
    let mut lowest = plan.phases[..phase].iter().map(|p| p.frontier).min().unwrap_or(usize::MAX);
    let mut levels = Vec::new();
    for (i, later) in plan.phases.iter().enumerate().skip(phase) {
        let wanted = later.frontier > 0 && (set == Set::Val || !later.augment);
        if wanted && (i == phase || later.frontier <= lowest) && !levels.contains(&later.frontier) {
            levels.push(later.frontier);
        }
        lowest = lowest.min(later.frontier);
    }
    levels
}

/// Most bytes that a run of `plan` holds at the frontier if its budget allows.
#[must_use]
pub fn cache_bytes(model: &Model, plan: &Plan, train: usize, val: usize) -> u64 {
    let of = |set, n: usize| {
        let levels: std::collections::BTreeSet<usize> =
            (0..plan.phases.len()).flat_map(|phase| needed(plan, phase, set)).collect();
        levels.iter().map(|&level| n as u64 * bytes_per_image(model, level)).sum::<u64>()
    };
    of(Set::Train, train) + of(Set::Val, val)
}

/// Bytes of one image's activations at a level.
fn bytes_per_image(model: &Model, level: usize) -> u64 {
    let values = match level == model.stages() {
        true => model.head.pooled_width(),
        false => model.observed.shapes[level].iter().product(),
    };
    values.unsigned_abs() * size_of::<f32>() as u64
}

#[cfg(test)]
mod tests {
    use tl_finetune::{LayerInfo, NetInfo, Preset, PresetOptions, Schedule, StageInfo};

    use super::*;

    fn plan(order: &[&str]) -> Plan {
        let stage = |i| StageInfo { name: format!("stage{i}"), blocks: vec![format!("block{i}")] };
        let layer =
            |i| LayerInfo { name: format!("conv{i}"), stage: i, block: 0, params: 10, norm_params: 0 };
        let net = NetInfo { stages: (0..4).map(stage).collect(), layers: (0..4).map(layer).collect() };
        let Schedule { phases } = Preset::Gradual.schedule(&net, &PresetOptions::default()).unwrap();
        let pick = |name: &&str| phases.iter().find(|phase| phase.name == **name).unwrap().clone();
        let mut phases: Vec<_> = order.iter().map(pick).collect();
        for (i, phase) in phases.iter_mut().enumerate() {
            phase.name = format!("{i}");
        }
        Schedule { phases }.plan(&net, 5).unwrap()
    }

    #[test]
    fn one_pass_serves_all_phases_of_gradual_unfreezing() {
        let plan = plan(&["head", "last-stage", "all"]);
        assert_eq!(needed(&plan, 0, Set::Train), [4, 3]);
        assert_eq!(needed(&plan, 0, Set::Val), [4, 3]);
        assert_eq!(needed(&plan, 2, Set::Train), [0usize; 0]);
    }

    #[test]
    fn what_a_phase_in_between_changes_is_not_computed_before_it() {
        let plan = plan(&["last-stage", "head", "all", "head"]);
        // Level 4 lies above the stage that the first phase trains: only the level below is good for now.
        assert_eq!(needed(&plan, 0, Set::Train), [3]);
        assert_eq!(needed(&plan, 1, Set::Train), [4]);
        assert_eq!(needed(&plan, 3, Set::Val), [4]);
    }
}

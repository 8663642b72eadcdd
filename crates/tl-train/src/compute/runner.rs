//! The net between two levels, without gradients.
//!
//! The decision behind it: images do not meet before the head, so on a few threads each computes a part of a batch by
//! itself, through a compiled net that serves all of them or through a twin of the backbone. Threads that share every
//! operation wait for the slower one at the end of each. Texts are not parted: their operations are large enough.

use std::ops::Range;
use std::sync::Arc;

use tch::{Device, Kind, Tensor};
use tl_backbones::text::Packs;
use tl_backbones::{Backbone, Mode};
use tl_torch::{Autocast, Frozen, TorchError, channels_last, side_by_side, threads_side_by_side};

use super::WORTH_COMPILING;
use crate::error::TrainError;
use crate::model::{Model, Reads, pool};

/// Threads up to which each has a part of its own.
pub(crate) const MOST_PARTS: usize = 4;

/// Images of a part, at least.
const LEAST: usize = 2;

/// The net between two levels, without gradients, for batches of up to a fixed size.
#[derive(Debug)]
pub struct Runner<'m> {
    model: &'m Model,
    levels: Range<usize>,
    batch: usize,
    /// Parts of a whole batch.
    parts: usize,
    /// Whether the last level is pooled.
    pooled: bool,
    compiled: Option<Arc<Frozen>>,
    packs: Option<Arc<Packs>>,
}

impl<'m> Runner<'m> {
    /// Step by step; of texts with the layers that are packed.
    pub(super) fn plain(model: &'m Model, levels: Range<usize>, batch: usize) -> Self {
        let threads = threads_side_by_side();
        let images = matches!(model.reads, Reads::Images(_)) && model.device == Device::Cpu;
        let parts = if images && threads <= MOST_PARTS { threads.min(batch / LEAST).max(1) } else { 1 };
        Self { model, levels, batch, parts, pooled: true, compiled: None, packs: model.packs() }
    }

    /// All stages step by step, without pooling and what comes behind it.
    pub(super) fn maps(model: &'m Model, batch: usize) -> Self {
        Self { pooled: false, ..Self::plain(model, 0..model.stages(), batch) }
    }

    /// Compiled, if that pays for so many images.
    pub(super) fn new(model: &'m Model, levels: Range<usize>, batch: usize, images: usize) -> Self {
        let wanted = model.compute.compiled
            && images >= WORTH_COMPILING
            && !levels.is_empty()
            && matches!(model.reads, Reads::Images(_))
            && model.device == Device::Cpu;
        let mut runner = Self::plain(model, levels, batch);
        if wanted {
            let rows = batch.div_ceil(runner.parts);
            runner.compiled = model.compile(&runner.levels, rows, runner.parts > 1).ok();
        }
        runner
    }

    /// Whether it is compiled: there are images enough, and libtorch could.
    #[must_use]
    pub fn is_compiled(&self) -> bool {
        self.compiled.is_some() || self.packs.is_some()
    }

    /// From the activations at the lower level to those at the upper.
    ///
    /// # Shapes
    /// As [`Model::forward`], in f32.
    ///
    /// # Errors
    /// There are more images than a batch has, or libtorch refuses.
    pub fn run(&self, xs: &Tensor) -> Result<Tensor, TrainError> {
        self.run_masked(xs, None)
    }

    /// The same of texts, of whose tokens those that the mask names are real.
    ///
    /// # Shapes
    /// The mask is bool `[N, T]`.
    ///
    /// # Errors
    /// As [`Runner::run`].
    pub fn run_masked(&self, xs: &Tensor, mask: Option<&Tensor>) -> Result<Tensor, TrainError> {
        match &self.compiled {
            Some(net) => Ok(self.compiled(net, xs)?),
            None => Ok(self.step_by_step(xs, mask)),
        }
    }

    /// One shape is compiled, so a part that is short is filled up with zeros.
    fn compiled(&self, net: &Frozen, xs: &Tensor) -> Result<Tensor, TorchError> {
        let (n, rows) = (xs.size()[0], net.shape()[0]);
        if n > self.batch as i64 {
            let mut expected = net.shape().to_vec();
            expected[0] = self.batch as i64;
            return Err(TorchError::Shape { name: "input".to_owned(), expected, got: xs.size() });
        }
        let xs = channels_last(xs);
        let part = |i: usize| {
            let first = (i as i64 * rows).min(n);
            let there = rows.min(n - first);
            // Something comes out of nothing too: a tensor without rows.
            (there > 0 || i == 0).then(|| (filled(&xs.narrow(0, first, there), rows), there))
        };
        let work = (0..self.parts).map(part).map(|part| {
            move || part.map(|(xs, there)| net.run(&xs).map(|ys| ys.narrow(0, 0, there))).transpose()
        });
        let done: Result<Vec<_>, _> = side_by_side(work.collect()).into_iter().collect();
        Ok(joined(done?.into_iter().flatten().collect()))
    }

    pub(super) fn step_by_step(&self, xs: &Tensor, mask: Option<&Tensor>) -> Tensor {
        let Range { start: from, end: to } = self.levels;
        let parts = self.parts.min(xs.size()[0] as usize / LEAST);
        let bf16 = || Autocast::bf16(self.model.compute.bf16, self.model.device);
        if parts > 1 && from < to {
            let mut twins = self.model.twins(parts);
            if let Some(twins) = twins.get_mut(..parts) {
                let ys = joined(side_by_side(self.parts_of(xs, twins).collect()));
                if to < self.model.stages() || !self.pooled {
                    return ys.to_kind(Kind::Float);
                }
                let _bf16 = bf16();
                let pooled = || pool(&self.model.backbone, &self.model.head, &ys, None).to_kind(Kind::Float);
                return tch::no_grad(pooled);
            }
        }
        tch::no_grad(|| {
            let _bf16 = bf16();
            let mode = Mode { mask, packs: self.packs.as_deref(), ..Mode::EVAL };
            let ys = match self.pooled {
                true => self.model.forward(xs, from, to, |_| mode),
                false => self.model.backbone.forward(xs, from..to, |_| mode),
            };
            ys.to_kind(Kind::Float)
        })
    }

    /// The work on each part of a batch, from level to level without what comes behind the last stage.
    fn parts_of<'t>(
        &self,
        xs: &Tensor,
        twins: &'t mut [Backbone],
    ) -> impl Iterator<Item = impl FnOnce() -> Tensor + Send + use<'t>> {
        let (n, parts) = (xs.size()[0], twins.len() as i64);
        let (levels, bf16) = (self.levels.clone(), self.model.compute.bf16);
        let xs = xs.shallow_clone();
        twins.iter_mut().zip(0..).map(move |(twin, i)| {
            let (first, end) = (n * i / parts, n * (i + 1) / parts);
            let (xs, levels) = (xs.narrow(0, first, end - first), levels.clone());
            move || {
                tch::no_grad(|| {
                    let _bf16 = Autocast::bf16(bf16, Device::Cpu);
                    twin.forward(&xs, levels, |_| Mode::EVAL)
                })
            }
        })
    }
}

/// `[N, …]` with zeros behind it, `[rows, …]`.
fn filled(xs: &Tensor, rows: i64) -> Tensor {
    let mut rest = xs.size();
    rest[0] = rows - rest[0];
    if rest[0] == 0 {
        return xs.shallow_clone();
    }
    channels_last(&Tensor::cat(&[xs.shallow_clone(), Tensor::zeros(&rest[..], (xs.kind(), xs.device()))], 0))
}

/// One behind the other.
fn joined(mut parts: Vec<Tensor>) -> Tensor {
    match parts.len() {
        1 => parts.remove(0),
        _ => Tensor::cat(&parts, 0),
    }
}

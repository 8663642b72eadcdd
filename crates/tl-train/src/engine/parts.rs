//! The stages that train, for parts of a batch side by side, one thread each.
//!
//! The decision: a part is computed by a twin of the backbone, which shares its values and has gradients of its own, and
//! these are added in the order of the parts. So a step is the same from run to run, and but for rounding the same as of
//! the whole batch: masks of dropout are those of the whole, and head and loss see all of it at once. Only for few threads,
//! since every twin has its gradients, and only where samples do not meet before the head, as they do in batch-norm.

use std::cell::RefCell;

use tch::{Device, Kind, Tensor};
use tl_backbones::{Backbone, DropPath, Dropout, Mode, NormMode};
use tl_finetune::PlannedPhase;
use tl_torch::{Autocast, add_gradients, side_by_side, threads_side_by_side};

use super::batches::Step;
use crate::compute::MOST_PARTS;
use crate::model::{Model, pool};

/// Samples of a part, at least.
const LEAST: i64 = 4;

/// Bytes of gradients that all twins may have. In nets with more the operations are large enough to be shared.
const MOST_BYTES: usize = 512 << 20;

/// How the stages that train behave in a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Behaviour<'a> {
    pub(super) norm: NormMode,
    /// By place in the backbone's store, whether a tensor belongs to a layer that trains.
    pub(super) layers: &'a [bool],
    pub(super) drop_path: Option<DropPath>,
    pub(super) dropout: Option<Dropout>,
    /// Computed in bf16.
    pub(super) bf16: bool,
}

impl Behaviour<'_> {
    /// Of a stage, given which tokens are real and where in the batch the samples begin.
    fn mode<'m>(
        &'m self,
        backbone: &Backbone,
        stage: usize,
        mask: Option<&'m Tensor>,
        first: i64,
    ) -> Mode<'m> {
        let Self { norm, layers, drop_path, dropout, .. } = *self;
        match layers[backbone.stages[stage].params()].contains(&true) {
            true => Mode { norm, layers: Some(layers), drop_path, dropout, first, mask, ..Mode::EVAL },
            false => Mode { mask, ..Mode::EVAL },
        }
    }
}

/// What a phase computes side by side.
pub(super) struct Parts {
    frontier: usize,
    /// Made for the first step, when it is known what trains.
    twins: RefCell<Vec<Backbone>>,
}

/// What the parts of a step wait for.
pub(super) enum Open<'a> {
    /// Nothing: there are no parts.
    Whole,
    /// The gradient of what came out of the stages.
    Parts { of: &'a Parts, outputs: Vec<Tensor>, joined: Tensor },
}

impl Parts {
    pub(super) fn new(phase: &PlannedPhase) -> Self {
        Self { frontier: phase.frontier, twins: RefCell::default() }
    }

    /// Pooled features, in f32, and what is to be called once their gradient is there.
    pub(super) fn forward(&self, model: &Model, batch: &Step, how: Behaviour<'_>) -> (Tensor, Open<'_>) {
        let rows = batch.xs.size()[0];
        // One for each thread, since within a part an operation has one.
        let parts = threads_side_by_side();
        let enough = rows >= LEAST * parts as i64 && (2..=MOST_PARTS).contains(&parts);
        if !(enough && self.can_part(model, how) && self.has_twins(model, parts)) {
            let mask = batch.mask.as_ref();
            let _bf16 = Autocast::bf16(how.bf16, model.device);
            let mode = |stage: usize| how.mode(&model.backbone, stage, mask, 0);
            let pooled = model.forward(&batch.xs, self.frontier, model.stages(), mode);
            return (pooled.to_kind(Kind::Float), Open::Whole);
        }
        let (mut twins, range) = (self.twins.borrow_mut(), self.frontier..model.stages());
        let work = twins.iter_mut().enumerate().map(|(i, twin)| {
            let (first, end) = (rows * i as i64 / parts as i64, rows * (i as i64 + 1) / parts as i64);
            let of_part = |xs: &Tensor| xs.narrow(0, first, end - first);
            let (xs, mask, range) = (of_part(&batch.xs), batch.mask.as_ref().map(of_part), range.clone());
            move || {
                let twin = &*twin;
                let _bf16 = Autocast::bf16(how.bf16, Device::Cpu);
                twin.forward(&xs, range, |stage| how.mode(twin, stage, mask.as_ref(), first))
            }
        });
        let outputs = side_by_side(work.collect());
        let joined = tch::no_grad(|| Tensor::cat(&outputs, 0)).set_requires_grad(true);
        let pooled = {
            let _bf16 = Autocast::bf16(how.bf16, model.device);
            pool(&model.backbone, &model.head, &joined, batch.mask.as_ref()).to_kind(Kind::Float)
        };
        (pooled, Open::Parts { of: self, outputs, joined })
    }

    /// Whether the samples of a batch do not meet before the head, and something is computed for each of them.
    fn can_part(&self, model: &Model, how: Behaviour<'_>) -> bool {
        let apart = model.backbone.text_net().is_some() || how.norm == NormMode::Frozen;
        apart && self.frontier < model.stages() && model.device == Device::Cpu
    }

    /// Makes the twins, if they are not there. Without them a batch is computed whole.
    fn has_twins(&self, model: &Model, parts: usize) -> bool {
        let mut twins = self.twins.borrow_mut();
        if twins.len() != parts {
            let trains = model.backbone.store.iter().filter(|param| param.tensor.requires_grad());
            let values: usize = trains.map(|param| param.tensor.numel()).sum();
            if values * size_of::<f32>() * parts > MOST_BYTES {
                return false;
            }
            *twins = (0..parts).map_while(|_| model.backbone.twin().ok()).collect();
            for twin in twins.iter() {
                for (param, own) in twin.store.iter().zip(model.backbone.store.iter()) {
                    let _ = param.tensor.set_requires_grad(own.tensor.requires_grad());
                }
            }
        }
        twins.len() == parts
    }
}

impl Open<'_> {
    /// Brings the gradients of the parts, behind that of what came out of them, to the model.
    pub(super) fn backward(self, model: &Model) {
        let Self::Parts { of, outputs, joined } = self else { return };
        let (gradient, mut first) = (joined.grad(), 0);
        let work = outputs.into_iter().map(|ys| {
            let n = ys.size()[0];
            let gradient = gradient.narrow(0, first, n);
            first += n;
            move || {
                // Nothing before it does where the norm between pooling and head trains alone.
                if ys.requires_grad() {
                    // The gradient of this sum is the one that is to be handed on.
                    (ys * gradient).sum(None::<Kind>).backward();
                }
            }
        });
        side_by_side(work.collect::<Vec<_>>());
        for twin in of.twins.borrow().iter() {
            for (param, own) in twin.store.iter().zip(model.backbone.store.iter()) {
                let _ = add_gradients(&own.tensor, &param.tensor);
            }
        }
    }
}

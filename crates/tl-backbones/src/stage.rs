//! A stage: the unit that freezes, trains, and is cached at its border.
//!
//! A stage's `forward` is the only place where its layers are called, and the mode is an argument of that call:
//! nothing in a net remembers whether it is training.

use std::ops::Range;

use tch::Tensor;
use tl_torch::Scope;

use crate::layers::Tag;
use crate::trace::Trace;

/// What normalisation layers do in a forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormMode {
    /// Running statistics are used and never changed. The only mode in which a frozen stage is a pure function.
    Frozen,
    /// Batch statistics are used and the running ones follow them.
    Batch,
}

/// How a stage is to behave in one forward pass.
#[derive(Clone, Copy, Debug)]
pub struct Mode<'a> {
    /// What batch-norm does in the layers that train.
    pub norm: NormMode,
    /// By place in the net's store, whether a tensor belongs to a layer that trains. In the other layers batch-norm is
    /// frozen, whatever `norm` says. `None`: all train.
    pub layers: Option<&'a [bool]>,
    /// Is told of every layer's output.
    pub trace: Option<&'a Trace>,
}

impl Mode<'_> {
    /// Inference, and every frozen stage: running statistics, which stay as they are.
    pub const EVAL: Mode<'static> = Mode { norm: NormMode::Frozen, layers: None, trace: None };

    pub(crate) fn norm_of(&self, tag: &Tag) -> NormMode {
        let trains = |layers: &[bool]| layers.get(tag.params.start).copied().unwrap_or(true);
        if self.layers.is_none_or(trains) { self.norm } else { NormMode::Frozen }
    }
}

/// One repeated unit of a stage, the finer grain of freezing.
pub trait Block: std::fmt::Debug + Send {
    /// Runs the block.
    ///
    /// # Shapes
    /// `[N, C_in, H, W]` to `[N, C_out, H / stride, W / stride]`, or tokens `[N, T, C]` to the same.
    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor;
}

#[derive(Debug)]
pub(crate) struct NamedBlock {
    pub(crate) name: String,
    pub(crate) block: Box<dyn Block>,
    pub(crate) params: Range<usize>,
}

/// A named run of blocks; stages in order are the net.
#[derive(Debug)]
pub struct Stage {
    /// Unique in its net: `stem`, `stage1`, …
    pub name: &'static str,
    /// Channels of its output.
    pub out_channels: i64,
    /// How much it divides height and width by, borders apart; for the stem of a transformer the side of a patch.
    pub stride: i64,
    pub(crate) blocks: Vec<NamedBlock>,
}

/// Names of the stages after the stem.
pub(crate) const STAGES: [&str; 7] = ["stage1", "stage2", "stage3", "stage4", "stage5", "stage6", "stage7"];

impl Stage {
    pub(crate) fn new(name: &'static str, out_channels: i64, stride: i64) -> Self {
        Self { name, out_channels, stride, blocks: Vec::new() }
    }

    /// Appends a block and notes which parameters of `scope` it defined.
    pub(crate) fn push<B: Block + 'static>(
        &mut self,
        scope: &Scope<'_>,
        name: impl Into<String>,
        define: impl FnOnce(&Scope<'_>) -> B,
    ) {
        let start = scope.defined();
        let block = Box::new(define(scope));
        self.blocks.push(NamedBlock { name: name.into(), block, params: start..scope.defined() });
    }

    /// Runs the stage.
    ///
    /// # Shapes
    /// `[N, C_in, H, W]` to `[N, out_channels, H / stride, W / stride]`, or tokens `[N, T, C]` to the same.
    pub fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        let mut xs = xs.shallow_clone();
        for (i, named) in self.blocks.iter().enumerate() {
            if let Some(trace) = mode.trace {
                trace.enter_block(i);
            }
            xs = named.block.forward(&xs, mode);
        }
        xs
    }

    /// Where the stage's parameters stand in the net's store.
    #[must_use]
    pub fn params(&self) -> Range<usize> {
        match (self.blocks.first(), self.blocks.last()) {
            (Some(first), Some(last)) => first.params.start..last.params.end,
            _ => 0..0,
        }
    }

    /// Names of its blocks, in order.
    pub fn blocks(&self) -> impl Iterator<Item = &str> {
        self.blocks.iter().map(|named| named.name.as_str())
    }

    /// Where the parameters of its block `i` stand in the net's store.
    #[must_use]
    pub fn block_params(&self, i: usize) -> Range<usize> {
        self.blocks.get(i).map_or(0..0, |named| named.params.clone())
    }
}

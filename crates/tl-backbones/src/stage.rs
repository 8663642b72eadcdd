//! A stage: the unit that freezes, trains, and is cached at its border.
//!
//! A stage's `forward` is the only place where its layers are called, and the mode is an argument of that call:
//! nothing in a net remembers whether it is training.

use std::borrow::Cow;
use std::ops::Range;

use tch::Tensor;
use tl_torch::Scope;

use crate::layers::Tag;
use crate::text::Packs;
use crate::trace::Trace;

/// What normalisation layers do in a forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormMode {
    /// Running statistics are used and never changed. The only mode in which a frozen stage is a pure function.
    Frozen,
    /// Batch statistics are used and the running ones follow them.
    Batch,
}

/// Stochastic depth (Huang et al. 2016, arXiv:1603.09382): a residual block in which something trains leaves out its
/// branch for some images of a batch and is the identity (or the shortcut's convolution) for them. What stays is divided
/// by its chance to stay. That is torchvision's `StochasticDepth` in mode `row`, and timm's `DropPath`.
///
/// The chance rises in a line over the net: of n residual blocks, the i-th from 0 has `rate · i / (n − 1)`. A block
/// counts if it ends in a sum with its input or a convolution of it ([`Backbone::residual_blocks`]), frozen or not;
/// blocks of MobileNet v2, v3 and EfficientNet that change width or stride have no sum. An encoder layer of a
/// transformer is one block of two branches, which are left out independently by the layer's chance.
///
/// [`Backbone::residual_blocks`]: crate::Backbone::residual_blocks
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DropPath {
    /// Chance at the net's last residual block, `0..1`.
    pub rate: f64,
    /// Seed of the step. What is left out is a function of it and of the name of the sum, so of block and branch.
    pub seed: u64,
}

/// Dropout (Srivastava et al. 2014) in text nets, as their papers have it: a block in which something trains zeroes
/// values by chance, the others grow to `1 / (1 − p)`. Frozen blocks, and image nets, drop nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Chance of a value of the embeddings and of the branches, `0..1`; published as
    /// [`TextConfig::dropout`](crate::text::TextConfig::dropout).
    pub hidden: f64,
    /// Chance of a weight of attention, `0..1`; published as
    /// [`TextConfig::attention_dropout`](crate::text::TextConfig::attention_dropout). Above 0 attention is not computed
    /// by the fused kernel.
    pub attention: f64,
    /// Seed of the step. What is dropped is a function of it and of the name of the place.
    pub seed: u64,
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
    /// Stochastic depth. What [`Stage::forward`] hands on to a block has the block's own rate, or is `None` if the block
    /// does not drop.
    pub drop_path: Option<DropPath>,
    /// Dropout in text nets.
    pub dropout: Option<Dropout>,
    /// The row of the batch that is the first here. A part of a batch drops what the whole batch would drop of it.
    pub first: i64,
    /// In text nets, bool `[N, T]`: which tokens are real. Others may stand only at the end of a row. `None`: all are.
    pub mask: Option<&'a Tensor>,
    /// In text nets, int64 `[1, T]`: the places of tokens, from 0 on, which are looked up one by one. A recording whose
    /// length stays open has them; `None`, the same places as a slice of the table, is faster.
    pub positions: Option<&'a Tensor>,
    /// In text nets, for a pass without gradients: linear layers as oneDNN has them. What goes from layer to layer then
    /// has the kind that they have.
    pub packs: Option<&'a Packs>,
}

impl Mode<'_> {
    /// Inference, and every frozen stage: running statistics, which stay as they are.
    pub const EVAL: Mode<'static> = Mode {
        norm: NormMode::Frozen,
        layers: None,
        trace: None,
        drop_path: None,
        dropout: None,
        first: 0,
        mask: None,
        positions: None,
        packs: None,
    };

    pub(crate) fn norm_of(&self, tag: &Tag) -> NormMode {
        if self.trains(tag.params.start) { self.norm } else { NormMode::Frozen }
    }

    /// Whether the tensor at that place in the store belongs to a layer that trains.
    fn trains(&self, param: usize) -> bool {
        self.layers.is_none_or(|layers| layers.get(param).copied().unwrap_or(true))
    }
}

/// One repeated unit of a stage, the finer grain of freezing.
pub trait Block: std::fmt::Debug + Send {
    /// Runs the block.
    ///
    /// # Shapes
    /// `[N, C_in, H, W]` to `[N, C_out, H / stride, W / stride]`, or tokens `[N, T, C]` to the same; the first block of
    /// a text net takes int64 `[N, T, 2]`, ids of tokens and of segments.
    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor;

    /// Whether it ends in a sum with its input, so that [`DropPath`] can leave out the rest.
    fn is_residual(&self) -> bool {
        false
    }
}

#[derive(Debug)]
pub(crate) struct NamedBlock {
    pub(crate) name: String,
    pub(crate) block: Box<dyn Block>,
    pub(crate) params: Range<usize>,
    /// Of a residual block: its part of the drop-path rate, 0 at the net's first and 1 at its last.
    drop_path: Option<f64>,
}

impl NamedBlock {
    fn mode<'m>(&self, mode: Mode<'m>) -> Mode<'m> {
        let trains = || self.params.clone().any(|param| mode.trains(param));
        let drop_path = match (mode.drop_path, self.drop_path) {
            (Some(path), Some(part)) if trains() => Some(DropPath { rate: path.rate * part, ..path }),
            _ => None,
        };
        Mode { drop_path, dropout: mode.dropout.filter(|_| trains()), ..mode }
    }
}

/// Tells the residual blocks of a net their part of the drop-path rate.
pub(crate) fn grade_drop_path(stages: &mut [Stage]) {
    let blocks = stages.iter_mut().flat_map(|stage| &mut stage.blocks);
    let residual: Vec<_> = blocks.filter(|named| named.block.is_residual()).collect();
    let last = residual.len().saturating_sub(1).max(1);
    for (i, named) in residual.into_iter().enumerate() {
        named.drop_path = Some(i as f64 / last as f64);
    }
}

/// A named run of blocks; stages in order are the net.
#[derive(Debug)]
pub struct Stage {
    /// Unique in its net: `stem`, `stage1`, … or `embeddings`, `layer0`, …
    pub name: Cow<'static, str>,
    /// Channels of its output.
    pub out_channels: i64,
    /// How much it divides height and width by, borders apart; for the stem of a transformer the side of a patch.
    pub stride: i64,
    pub(crate) blocks: Vec<NamedBlock>,
    /// Where tensors stand in the store that it reads and that belong to an earlier stage.
    pub(crate) shared: Range<usize>,
}

/// Names of the stages after the stem.
pub(crate) const STAGES: [&str; 7] = ["stage1", "stage2", "stage3", "stage4", "stage5", "stage6", "stage7"];

impl Stage {
    /// One without blocks yet; `stride` is what it divides height and width by.
    #[must_use]
    pub fn new(name: impl Into<Cow<'static, str>>, out_channels: i64, stride: i64) -> Self {
        Self { name: name.into(), out_channels, stride, blocks: Vec::new(), shared: 0..0 }
    }

    /// Appends a block and notes which parameters of `scope` it defined.
    pub fn push<B: Block + 'static>(
        &mut self,
        scope: &Scope<'_>,
        name: impl Into<String>,
        define: impl FnOnce(&Scope<'_>) -> B,
    ) {
        let start = scope.defined();
        let block = Box::new(define(scope));
        let params = start..scope.defined();
        self.blocks.push(NamedBlock { name: name.into(), block, params, drop_path: None });
    }

    /// Runs the stage.
    ///
    /// # Shapes
    /// `[N, C_in, H, W]` to `[N, out_channels, H / stride, W / stride]`, or tokens `[N, T, C]` to the same.
    pub fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        self.forward_blocks(xs, 0..self.blocks.len(), mode)
    }

    /// Runs some of its blocks, `0..` the number of [`Stage::blocks`]; what is beyond them is left out.
    ///
    /// # Shapes
    /// The input of the first of them to the output of the last.
    pub fn forward_blocks(&self, xs: &Tensor, range: Range<usize>, mode: Mode<'_>) -> Tensor {
        let mut xs = xs.shallow_clone();
        for (i, named) in self.blocks.iter().enumerate().filter(|(i, _)| range.contains(i)) {
            if let Some(trace) = mode.trace {
                trace.enter_block(i);
            }
            xs = named.block.forward(&xs, named.mode(mode));
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

    /// Where the parameters of an earlier stage stand in the net's store that this one reads, too: T5's table of
    /// distances. Empty in all other nets.
    #[must_use]
    pub fn shared(&self) -> Range<usize> {
        self.shared.clone()
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

//! A list of a net's layers, made by watching one image go through it.
//!
//! The decision: what a layer puts out and costs is observed and not declared a second time beside its code. A layer is
//! whatever has an output of its own: a convolution, a linear layer, a normalisation, pooling, attention, a position
//! embedding, a scale, a product, an addition, a concatenation, or an activation; but an activation directly behind a
//! convolution or linear layer belongs to it. For VGG and ResNet that makes exactly the list of Keras's `model.layers`,
//! the input and the padding of ResNet's stem included.

use std::cell::{Cell, RefCell};
use std::ops::Range;

use tch::Tensor;

use crate::layers::Tag;

/// A layer of a net, as one image met it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Unique in the net: `layer4.2.conv1`.
    pub name: String,
    /// What it is: `Conv2d`, `BatchNorm2d`, `Add`, …
    pub kind: &'static str,
    /// Index of its stage.
    pub stage: usize,
    /// Index of its block in that stage.
    pub block: usize,
    /// Shape of its output for one image, without the batch dimension: `[C, H, W]` or `[T, C]`.
    pub output: Vec<i64>,
    /// Where its parameters stand in the net's store; empty if it has none.
    pub params: Range<usize>,
    /// Multiply-accumulates for one image.
    pub macs: u64,
}

/// Collects the layers of one forward pass.
#[derive(Debug, Default)]
pub struct Trace {
    place: Cell<(usize, usize)>,
    layers: RefCell<Vec<Layer>>,
}

impl Trace {
    pub(crate) fn enter_stage(&self, stage: usize) {
        self.place.set((stage, 0));
    }

    pub(crate) fn enter_block(&self, block: usize) {
        self.place.set((self.place.get().0, block));
    }

    pub(crate) fn note(&self, tag: &Tag, kind: &'static str, ys: &Tensor, macs: i64) {
        self.note_shape(tag, kind, &ys.size(), macs);
    }

    /// `shape` is that of the output, batch dimension included.
    pub(crate) fn note_shape(&self, tag: &Tag, kind: &'static str, shape: &[i64], macs: i64) {
        let (stage, block) = self.place.get();
        self.layers.borrow_mut().push(Layer {
            name: tag.name.clone(),
            kind,
            stage,
            block,
            output: shape[1..].to_vec(),
            params: tag.params.clone(),
            macs: macs.unsigned_abs(),
        });
    }

    /// Two branches that are each a convolution and its norm: Keras lists both convolutions first, then both norms.
    pub(crate) fn interleave_last_two_branches(&self) {
        let mut layers = self.layers.borrow_mut();
        if let Some(last) = layers.len().checked_sub(4) {
            layers.swap(last + 1, last + 2);
        }
    }

    /// How many layers there are so far.
    pub(crate) fn len(&self) -> usize {
        self.layers.borrow().len()
    }

    /// The layers from `first` on come `times` times, and cost as much.
    pub(crate) fn repeat(&self, first: usize, times: usize) {
        for layer in self.layers.borrow_mut().iter_mut().skip(first) {
            layer.macs *= times as u64;
        }
    }

    pub(crate) fn into_layers(self) -> Vec<Layer> {
        self.layers.into_inner()
    }
}

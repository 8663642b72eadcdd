//! A card: everything published about a net, as one row of data.

use tl_torch::Scope;
use tl_weights::{Rename, Source};

use crate::stage::Stage;

/// A net as published: how to build it, what it expects, where its weights are.
#[derive(Debug)]
pub struct Card {
    /// Kebab-case and unique: `efficientnet-lite0`.
    pub name: &'static str,
    /// The paper, as `arXiv:NUMBER`.
    pub paper: &'static str,
    /// Defines the stages, in forward order.
    pub stages: fn(&Scope<'_>) -> Vec<Stage>,
    /// Channels of the last stage's output.
    pub features: i64,
    /// Number of trainable values in all stages.
    pub params: usize,
    /// Name of the published linear classifier on average-pooled features.
    pub classifier: &'static str,
    /// What the published weights expect as input.
    pub input: Input,
    /// Published weights; the first is the default.
    pub weights: &'static [Weights],
}

/// Preprocessing that goes with published weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Input {
    /// Height and width of the centre crop, pixels.
    pub size: u32,
    /// Length of the short side before the crop, pixels.
    pub resize: u32,
    /// Filter of that resize.
    pub interpolation: Interpolation,
    /// Mean per channel (red, green, blue) in `0..=1`.
    pub mean: [f32; 3],
    /// Standard deviation per channel in `0..=1`.
    pub std: [f32; 3],
}

/// Filter of a resize, antialiased as Pillow does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    /// Triangle filter.
    Bilinear,
    /// Cubic convolution, a = −0.5.
    Bicubic,
}

/// One set of published weights.
#[derive(Debug)]
pub struct Weights {
    /// Unique in the card: `in1k`.
    pub name: &'static str,
    /// Where they come from.
    pub source: Source,
    /// Of the file, where known.
    pub sha256: Option<&'static str>,
    /// From the file's names to this net's.
    pub rename: fn(&str) -> Rename,
    /// SPDX identifier.
    pub licence: &'static str,
    /// Classes of the published classifier.
    pub classes: i64,
    /// ImageNet-1k top-1 accuracy in percent, as published.
    pub top1: f32,
}

/// For files that use this net's own names.
#[must_use]
pub(crate) fn as_published(name: &str) -> Rename {
    if name.ends_with("num_batches_tracked") { Rename::Ignore } else { Rename::To(name.to_owned()) }
}

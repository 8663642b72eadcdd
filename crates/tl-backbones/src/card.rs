//! A card: everything published about a net, as one row of data.

use tl_torch::Scope;
use tl_weights::{Rename, Source};

use crate::error::BackboneError;
use crate::layers::Act;
use crate::stage::Stage;

/// Images of this side already take gigabytes at the first layers.
pub(crate) const MAX_SIZE: u32 = 4096;

/// Defines a net's stages, in forward order.
pub type Net = fn(&Scope<'_>) -> Vec<Stage>;

/// A net as published: how to build it, what it expects, where its weights are.
#[derive(Debug)]
pub struct Card {
    /// Kebab-case and unique: `efficientnet-lite0`.
    pub name: &'static str,
    /// The paper, as `arXiv:NUMBER`.
    pub paper: &'static str,
    /// The net.
    pub stages: Net,
    /// What is on pooled features before any head; part of the last stage.
    pub neck: Option<Neck>,
    /// Channels of the last stage's output.
    pub features: i64,
    /// Number of trainable values in all stages.
    pub params: usize,
    /// Multiply-accumulates of all stages for one image of the default weights' size.
    pub macs: u64,
    /// The published classifier; none for a net trained without labels.
    pub top: Option<Top>,
    /// What flows between the stages: tokens in a transformer, else maps.
    pub tokens: Option<Tokens>,
    /// Smallest height and width of an image, pixels.
    pub min_size: u32,
    /// Published weights; the first is the default.
    pub weights: &'static [Weights],
}

/// A layer norm on pooled features.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neck {
    /// Its name: `head.norm`.
    pub name: &'static str,
    /// Added to the variance.
    pub eps: f64,
}

/// The tokens of a transformer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Side of the square of pixels that makes a token; height and width of images are multiples of it.
    pub patch: u32,
    /// Tokens before those of the patches; the first is the class token.
    pub prefix: i64,
}

/// A published classifier: pooling, hidden linear layers, one linear layer.
#[derive(Clone, Copy, Debug)]
pub struct Top {
    /// How the features become a vector.
    pub pool: TopPool,
    /// Name, width and activation of the hidden layers.
    pub hidden: &'static [(&'static str, i64, Act)],
    /// Name of the last layer.
    pub last: &'static str,
}

/// How a published classifier pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopPool {
    /// Mean over height and width.
    Average,
    /// Means over a grid of so many cells a side, flattened.
    Grid(i64),
    /// The class token.
    Class,
}

impl Top {
    /// One linear layer on the mean over height and width.
    #[must_use]
    pub const fn linear(last: &'static str) -> Self {
        Self { pool: TopPool::Average, hidden: &[], last }
    }

    /// Whether a parameter of that name belongs to it.
    #[must_use]
    pub fn owns(&self, name: &str) -> bool {
        let layers = self.hidden.iter().map(|(name, ..)| *name).chain([self.last]);
        layers.into_iter().any(|layer| name.strip_prefix(layer).is_some_and(|rest| rest.starts_with('.')))
    }
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

impl Input {
    /// 224 pixels out of 256, bilinear, ImageNet's mean and deviation: torchvision's for most of its nets.
    pub const TORCHVISION: Self = Self {
        size: 224,
        resize: 256,
        interpolation: Interpolation::Bilinear,
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
    };

    /// The same, bicubic.
    pub(crate) const BICUBIC: Self = Self { interpolation: Interpolation::Bicubic, ..Self::TORCHVISION };

    /// With another size.
    pub(crate) const fn sized(self, size: u32, resize: u32) -> Self {
        Self { size, resize, ..self }
    }

    /// To `-1..=1`.
    pub(crate) const fn halves(self) -> Self {
        Self { mean: [0.5; 3], std: [0.5; 3], ..self }
    }
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
    /// Of the file, where known; or its first digits.
    pub sha256: Option<&'static str>,
    /// From the file's names to this net's.
    pub rename: fn(&str) -> Rename,
    /// The net, where these weights were trained with a detail (an epsilon) other than the card's.
    pub net: Option<Net>,
    /// SPDX identifier.
    pub licence: &'static str,
    /// Classes of the published classifier; 0 if there is none.
    pub classes: i64,
    /// What they expect as input.
    pub input: Input,
    /// ImageNet-1k top-1 accuracy in percent, as published; none for weights without a classifier.
    pub top1: Option<f32>,
}

impl Weights {
    /// ImageNet's 1,000 classes, on the hub, under this net's own names.
    pub(crate) const fn hub(
        name: &'static str,
        repo: &'static str,
        licence: &'static str,
        input: Input,
        top1: f32,
    ) -> Self {
        Self {
            name,
            source: Source::hub(repo, "main", "model.safetensors"),
            sha256: None,
            rename: as_published,
            net: None,
            licence,
            classes: 1000,
            input,
            top1: Some(top1),
        }
    }

    /// torchvision's own file, whose name ends in the first digits of its sha256.
    pub(crate) const fn torchvision(
        name: &'static str,
        (url, sha256): (&'static str, &'static str),
        rename: fn(&str) -> Rename,
        input: Input,
        top1: f32,
    ) -> Self {
        Self {
            name,
            source: Source::url(url),
            sha256: Some(sha256),
            rename,
            net: None,
            licence: "BSD-3-Clause",
            classes: 1000,
            input,
            top1: Some(top1),
        }
    }
}

impl Card {
    /// The weights of that name; the first if it is empty.
    #[must_use]
    pub fn find_weights(&self, name: &str) -> Option<&'static Weights> {
        let weights = self.weights;
        if name.is_empty() { weights.first() } else { weights.iter().find(|weights| weights.name == name) }
    }

    /// What the default weights expect.
    #[must_use]
    pub fn input(&self) -> Input {
        self.weights[0].input
    }

    /// The side that images have to be a multiple of.
    #[must_use]
    pub fn multiple(&self) -> u32 {
        self.tokens.map_or(1, |tokens| tokens.patch)
    }

    /// Refuses images of `size` × `size` pixels that the net cannot take.
    ///
    /// # Errors
    /// Too small, above 4096 pixels, or not a multiple of the patch.
    pub fn check_size(&self, size: u32) -> Result<(), BackboneError> {
        let multiple = self.multiple();
        if (self.min_size..=MAX_SIZE).contains(&size) && size.is_multiple_of(multiple) {
            return Ok(());
        }
        Err(BackboneError::Size { backbone: self.name, size, least: self.min_size, multiple })
    }
}

/// For files that use this net's own names.
pub(crate) fn as_published(name: &str) -> Rename {
    if name.ends_with("num_batches_tracked") { Rename::Ignore } else { Rename::To(name.to_owned()) }
}

/// With the first prefix that fits exchanged for the other; `num_batches_tracked` is not needed.
pub(crate) fn swap_prefix(name: &str, prefixes: &[(&str, &str)]) -> Rename {
    if name.ends_with("num_batches_tracked") {
        return Rename::Ignore;
    }
    let swapped =
        prefixes.iter().find_map(|(from, to)| name.strip_prefix(from).map(|rest| format!("{to}{rest}")));
    Rename::To(swapped.unwrap_or_else(|| name.to_owned()))
}

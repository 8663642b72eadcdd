//! Random changes to training images.
//!
//! The one decision: what to do ([`Augment::sample`]) and doing it ([`Params::apply`]) are separate pure
//! functions. Each operation draws from its own stream, so adding one does not change what the others draw.
//!
//! ```
//! use tl_data::{Augment, Key, Preprocess, RgbImage};
//!
//! # fn main() -> Result<(), tl_data::DataError> {
//! let image = RgbImage::new(500, 375);
//! let augment = Augment { vertical_flip: true, ..Augment::basic() };
//! augment.check()?;
//! let params = augment.sample(Key { seed: 42, epoch: 0, sample_id: 7 }, image.width(), image.height());
//! let input = params.apply(&image, &Preprocess::imagenet(224))?; // 224 x 224
//! # Ok(())
//! # }
//! ```

mod bilinear;
mod blur;
mod colour;
mod crop;
mod hue;
mod mix;
mod params;
mod policy;
mod preset;
mod recipe;
mod warp;

use serde::{Deserialize, Serialize};

use crate::draw::{Operation, Stream};
use crate::error::DataError;
use crate::options::Checks;

pub use crop::{Crop, RandomResizedCrop};
pub use mix::Mix;
pub use params::{AffineParams, Erase, EraseFill, Length, Op, Params};
pub use policy::Policy;
pub use preset::{AugmentPreset, UnknownPreset};
pub use recipe::{
    ColorJitter, ErasingFill, GaussianBlur, Mixing, Posterize, RandomAffine, RandomErasing, Sharpness,
    Solarize,
};

/// Which sample, in which epoch, of which run: all that a random choice depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The seed of the run.
    pub seed: u64,
    /// The epoch, from 0.
    pub epoch: u64,
    /// [`crate::Sample::id`].
    pub sample_id: u64,
}

/// The random changes to make to training images: a recipe.
///
/// In this order, whatever the order of the fields: `affine`, `random_resized_crop` and the resizing to the net's input,
/// `flip`, `vertical_flip`, `policy`, `color_jitter`, `invert`, `posterize`, `solarize`, `autocontrast`, `equalize`,
/// `sharpness`, `grayscale`, `gaussian_blur`, `random_erasing`; then, on whole batches, `mixing`. All geometry that
/// comes before the first change of colour is one resampling.
///
/// As JSON every field may be left out; what is left out does nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// Mirror left and right with probability 0.5.
    pub flip: bool,
    /// Cut out a random part instead of the centre.
    pub random_resized_crop: Option<RandomResizedCrop>,
    /// Mirror top and bottom with probability 0.5: for images without an up, such as those from above.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub vertical_flip: bool,
    /// Turn, shift, scale and shear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affine: Option<RandomAffine>,
    /// TrivialAugment or RandAugment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
    /// Change brightness, contrast, saturation and hue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color_jitter: Option<ColorJitter>,
    /// How often to invert all colours, in 0..=1.
    #[serde(skip_serializing_if = "is_never")]
    pub invert: f32,
    /// Keep the upper bits only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub posterize: Option<Posterize>,
    /// Invert what is bright.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub solarize: Option<Solarize>,
    /// How often to stretch each channel to its full range, in 0..=1.
    #[serde(skip_serializing_if = "is_never")]
    pub autocontrast: f32,
    /// How often to even out the histogram of each channel, in 0..=1.
    #[serde(skip_serializing_if = "is_never")]
    pub equalize: f32,
    /// Sharpen or soften.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sharpness: Option<Sharpness>,
    /// How often to take the colours away, in 0..=1.
    #[serde(skip_serializing_if = "is_never")]
    pub grayscale: f32,
    /// Blur.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gaussian_blur: Option<GaussianBlur>,
    /// Cover a rectangle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_erasing: Option<RandomErasing>,
    /// MixUp and CutMix, on whole batches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mixing: Option<Mixing>,
}

fn is_never(probability: &f32) -> bool {
    *probability == 0.0
}

impl Augment {
    /// No change at all: training images are prepared as validation images are.
    pub fn none() -> Self {
        Self::default()
    }

    /// A flip and a crop of 35 % to 100 % of the area, 3:4 to 4:3.
    ///
    /// ImageNet training goes down to 8 % of the area; with few images and a pretrained net that cuts the
    /// subject away too often.
    pub fn basic() -> Self {
        let crop = RandomResizedCrop { scale: (0.35, 1.0), ratio: (3.0 / 4.0, 4.0 / 3.0) };
        Self { flip: true, random_resized_crop: Some(crop), ..Self::none() }
    }

    /// The preset for this many training images; see [`AugmentPreset`] for what they hold and why.
    pub fn preset(images: usize, classes: usize) -> AugmentPreset {
        AugmentPreset::for_size(images, classes)
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// All fields that are out of range.
    pub fn check(&self) -> Result<(), DataError> {
        let mut checks = Checks::default();
        self.note(&mut checks);
        checks.finish()
    }

    pub(crate) fn note(&self, checks: &mut Checks) {
        if let Some(crop) = &self.random_resized_crop {
            crop.check(checks);
        }
        if let Some(affine) = &self.affine {
            affine.check(checks);
        }
        if let Some(policy) = &self.policy {
            policy.check(checks);
        }
        if let Some(jitter) = &self.color_jitter {
            jitter.check(checks);
        }
        let often = |part: Option<f32>| part.unwrap_or(0.0);
        for (name, probability) in [
            ("invert", self.invert),
            ("autocontrast", self.autocontrast),
            ("equalize", self.equalize),
            ("grayscale", self.grayscale),
            ("posterize.probability", often(self.posterize.map(|part| part.probability))),
            ("solarize.probability", often(self.solarize.map(|part| part.probability))),
            ("sharpness.probability", often(self.sharpness.map(|part| part.probability))),
        ] {
            checks.between(name, probability, 0.0, 1.0);
        }
        if let Some(Posterize { bits, .. }) = &self.posterize {
            checks.require((1..=8).contains(bits), "posterize.bits", bits, "1 to 8");
        }
        if let Some(Solarize { threshold, .. }) = self.solarize {
            checks.between("solarize.threshold", threshold, 0.0, 256.0);
        }
        if let Some(Sharpness { factor, .. }) = self.sharpness {
            checks.between("sharpness.factor", factor, 0.0, 10.0);
        }
        if let Some(blur) = &self.gaussian_blur {
            blur.check(checks);
        }
        if let Some(erasing) = &self.random_erasing {
            erasing.check(checks);
        }
        if let Some(mixing) = &self.mixing {
            mixing.check(checks);
        }
    }

    /// Draws what to do with one image of `width` x `height` pixels. `mixing` is drawn for whole batches instead, by
    /// [`Mixing::sample`].
    pub fn sample(&self, key: Key, width: u32, height: u32) -> Params {
        let stream = |operation| Stream::new(key.seed, key.epoch, key.sample_id, operation);
        let crop = self
            .random_resized_crop
            .map(|crop| crop.sample(&mut stream(Operation::RandomResizedCrop), width, height));
        let erasing = self.random_erasing;
        Params {
            crop,
            flip: self.flip && stream(Operation::HorizontalFlip).unit() < 0.5,
            vertical_flip: self.vertical_flip && stream(Operation::VerticalFlip).unit() < 0.5,
            affine: self.affine.and_then(|affine| affine.sample(&mut stream(Operation::Affine))),
            ops: self.sample_ops(&stream),
            erase: erasing.and_then(|erasing| erasing.sample(&mut stream(Operation::Erasing))),
        }
    }

    fn sample_ops(&self, stream: &dyn Fn(Operation) -> Stream) -> Vec<Op> {
        let mut ops = Vec::new();
        if let Some(policy) = &self.policy {
            let operation = match policy {
                Policy::TrivialAugmentWide => Operation::TrivialAugment,
                Policy::RandAugment { .. } => Operation::RandAugment,
            };
            policy.sample(&mut stream(operation), &mut ops);
        }
        if let Some(jitter) = &self.color_jitter {
            jitter.sample(&mut stream(Operation::ColorJitter), &mut ops);
        }
        let mut maybe = |probability: f32, operation, op| {
            if probability > 0.0 && recipe::hits(&mut stream(operation), probability) {
                ops.push(op);
            }
        };
        maybe(self.invert, Operation::Invert, Op::Invert);
        if let Some(Posterize { probability, bits }) = self.posterize {
            maybe(probability, Operation::Posterize, Op::Posterize(bits));
        }
        if let Some(Solarize { probability, threshold }) = self.solarize {
            maybe(probability, Operation::Solarize, Op::Solarize(threshold.into()));
        }
        maybe(self.autocontrast, Operation::Autocontrast, Op::Autocontrast);
        maybe(self.equalize, Operation::Equalize, Op::Equalize);
        if let Some(Sharpness { probability, factor }) = self.sharpness {
            maybe(probability, Operation::Sharpness, Op::Sharpness(factor.into()));
        }
        maybe(self.grayscale, Operation::Grayscale, Op::Grayscale);
        ops.extend(self.gaussian_blur.and_then(|blur| blur.sample(&mut stream(Operation::GaussianBlur))));
        ops
    }
}

/// The numbers `0..n` in a random order that depends on `seed` and `epoch` alone (Fisher and Yates).
pub fn shuffle(n: u32, seed: u64, epoch: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..n).collect();
    let mut stream = Stream::new(seed, epoch, 0, Operation::Shuffle);
    for last in (1..n).rev() {
        order.swap(last as usize, stream.below(last + 1) as usize);
    }
    order
}

#[cfg(test)]
mod tests;

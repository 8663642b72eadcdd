//! One file to one part of a batch.
//!
//! The one decision: everything between the file and the batch lies in buffers of the thread. Only what goes into the
//! cache is allocated anew.
//!
//! Large JPEGs are decoded whole, see [`crate::decode`] for why; [`crate::LoaderOptions::shrink`] with a cache pays for that
//! once.

use image::RgbImage;

use super::cache::{Decoded, DecodedCache};
use super::options::LoaderOptions;
use super::view::{Augmentation, View};
use crate::augment::{Augment, Crop, Key, Mix};
use crate::decode::{decode_window, decode_with};
use crate::error::DataError;
use crate::folder::Sample;
use crate::preprocess::{Interpolation, Normaliser, Preprocess};
use crate::resample::{Axis, resample};
use crate::scratch::Scratch;

/// How the images of an epoch are made.
#[derive(Debug)]
pub(super) struct Images {
    view: View,
    normaliser: Normaliser,
    seed: u64,
    epoch: u64,
    cache: Option<DecodedCache>,
    shrink: Option<u32>,
}

impl Images {
    pub(super) fn new(view: View, options: &LoaderOptions) -> Self {
        let normaliser = view.preprocess().normaliser();
        let LoaderOptions { seed, epoch, shrink, .. } = *options;
        Self { view, normaliser, seed, epoch, cache: options.cache.clone(), shrink }
    }

    /// Height and width of the images made.
    pub(super) fn side(&self) -> usize {
        self.view.preprocess().input as usize
    }

    /// How to mix a batch of this number.
    pub(super) fn mix(&self, number: u64, images: usize) -> Option<Mix> {
        match &self.view {
            View::Train(preprocess, Augmentation::Recipe(augment)) => {
                augment.mixing?.sample((self.seed, self.epoch, number), images, preprocess.input)
            }
            View::Train(_, Augmentation::Generator(_)) | View::Eval(_) => None,
        }
    }

    /// Writes one image as `[3, H, W]`.
    ///
    /// `repeat` says how often the sample came before in this epoch: each time is another view.
    pub(super) fn write(&self, sample: &Sample, repeat: u32, out: &mut [f32]) -> Result<(), DataError> {
        let key = Key { seed: self.seed, epoch: self.epoch, sample_id: again(sample.id, repeat) };
        Scratch::with(|scratch| {
            let input = match &self.view {
                View::Train(preprocess, Augmentation::Recipe(augment)) if !self.keeps() => {
                    in_view(sample, (augment, key), preprocess, scratch)?
                }
                view => self.whole(sample, key, view, scratch)?,
            };
            self.normaliser.normalise(&input, out)?;
            scratch.recycle(input);
            Ok(())
        })
    }

    /// Whether decoded images are used for more than one view, or changed before it.
    fn keeps(&self) -> bool {
        self.cache.is_some() || self.shrink.is_some()
    }

    fn whole(
        &self,
        sample: &Sample,
        key: Key,
        view: &View,
        scratch: &mut Scratch,
    ) -> Result<RgbImage, DataError> {
        let decoded = self.decoded(sample, scratch)?;
        let input = match view {
            View::Eval(preprocess) => preprocess.eval_with(decoded.image(), scratch)?,
            View::Train(preprocess, augmentation) => {
                augmentation.apply_with(decoded.image(), key, preprocess, scratch)?
            }
        };
        if let Decoded::Own(image) = decoded {
            scratch.recycle(image);
        }
        Ok(input)
    }

    fn decoded(&self, sample: &Sample, scratch: &mut Scratch) -> Result<Decoded, DataError> {
        let path = &sample.path;
        if let Some(cache) = &self.cache
            && let Some(found) = cache.get(path, self.shrink, scratch)
        {
            return Ok(found);
        }
        let mut image = decode_with(path, scratch)?;
        if let Some(side) = self.shrink
            && side < image.width().min(image.height())
        {
            let small = shrunk(&image, side, scratch)?;
            scratch.recycle(std::mem::replace(&mut image, small));
        }
        Ok(match &self.cache {
            None => Decoded::Own(image),
            Some(cache) => cache.put(path, self.shrink, image),
        })
    }
}

/// A view of the sample, of which no more is decoded than the view shows.
fn in_view(
    sample: &Sample,
    (augment, key): (&Augment, Key),
    preprocess: &Preprocess,
    scratch: &mut Scratch,
) -> Result<RgbImage, DataError> {
    let mut drawn = None;
    let image = decode_window(&sample.path, scratch, |width, height| {
        drawn.insert(augment.sample(key, width, height)).window(width, height)
    })?;
    let params = drawn.unwrap_or_else(|| augment.sample(key, image.width(), image.height()));
    let input = params.apply_with(&image, preprocess, scratch)?;
    scratch.recycle(image);
    Ok(input)
}

/// An identity for the sample's `repeat`-th return (SplitMix64); its first is its own.
fn again(id: u64, repeat: u32) -> u64 {
    if repeat == 0 {
        return id;
    }
    let mut hash = id ^ u64::from(repeat).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

impl Augmentation {
    /// One view of an image, `input` x `input`.
    ///
    /// # Errors
    /// The image is empty.
    pub fn apply(&self, image: &RgbImage, key: Key, preprocess: &Preprocess) -> Result<RgbImage, DataError> {
        Scratch::with(|scratch| self.apply_with(image, key, preprocess, scratch))
    }

    fn apply_with(
        &self,
        image: &RgbImage,
        key: Key,
        preprocess: &Preprocess,
        scratch: &mut Scratch,
    ) -> Result<RgbImage, DataError> {
        match self {
            Self::Recipe(augment) => {
                let params = augment.sample(key, image.width(), image.height());
                params.apply_with(image, preprocess, scratch)
            }
            Self::Generator(generator) => {
                let side = preprocess.input;
                let (width, height) = image.dimensions();
                let whole = Crop { x: 0, y: 0, width, height };
                let axes = (Axis::whole(width, side), Axis::whole(height, side));
                let small = resample(image, whole, axes.0, axes.1, preprocess.interpolation, scratch)?;
                let params = generator.sample(key, side as usize, side as usize);
                let changed = generator.apply_rgb8(&small, &params);
                scratch.recycle(small);
                Ok(changed)
            }
        }
    }

    /// What is drawn for an image of this size, as JSON.
    pub fn parameters(
        &self,
        key: Key,
        (width, height): (u32, u32),
        preprocess: &Preprocess,
    ) -> serde_json::Value {
        let side = preprocess.input as usize;
        let value = match self {
            Self::Recipe(augment) => serde_json::to_value(augment.sample(key, width, height)),
            Self::Generator(generator) => serde_json::to_value(generator.sample(key, side, side)),
        };
        value.unwrap_or_default()
    }
}

/// The image with a short side of `side` pixels.
fn shrunk(image: &RgbImage, side: u32, scratch: &mut Scratch) -> Result<RgbImage, DataError> {
    let (width, height) = image.dimensions();
    let short = u64::from(width.min(height).max(1));
    let axis = |length: u32| {
        let scaled = (u64::from(length) * u64::from(side) + short / 2) / short;
        Axis::whole(length, scaled as u32)
    };
    let whole = Crop { x: 0, y: 0, width, height };
    resample(image, whole, axis(width), axis(height), Interpolation::Bilinear, scratch)
}

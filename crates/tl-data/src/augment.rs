//! Random changes to training images.
//!
//! The one decision: what to do ([`Augment::sample`]) and doing it ([`Params::apply`]) are separate pure
//! functions. Each operation draws from its own stream, so adding one does not change what the others draw.

use image::RgbImage;
use image::imageops::flip_horizontal_in_place;
use serde::{Deserialize, Serialize};

use crate::draw::{Operation, Stream, exp, ln};
use crate::error::DataError;
use crate::preprocess::Preprocess;

/// How often a crop is drawn again before the centre is taken.
const CROP_TRIES: usize = 10;

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

/// The random changes to make to training images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Augment {
    /// Mirror left and right with probability 0.5.
    pub flip: bool,
    /// Cut out a random part instead of the centre.
    pub random_resized_crop: Option<RandomResizedCrop>,
}

/// Inception's crop (Szegedy et al. 2014, arXiv:1409.4842), as torchvision draws it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomResizedCrop {
    /// The part of the area kept, from and to, in 0..=1; drawn evenly.
    pub scale: (f32, f32),
    /// Width divided by height, from and to; drawn evenly in its logarithm.
    pub ratio: (f32, f32),
}

impl RandomResizedCrop {
    fn check(&self) -> Result<(), DataError> {
        let fail = |option, got: (f32, f32), expected: &str| {
            Err(DataError::Option { option, got: format!("{got:?}"), expected: expected.to_owned() })
        };
        let in_order = |(low, high): (f32, f32)| low > 0.0 && low <= high;
        if !in_order(self.scale) || self.scale.1 > 1.0 {
            return fail("scale", self.scale, "two rising numbers above 0 and up to 1");
        }
        if !in_order(self.ratio) || self.ratio.0 < 0.01 || self.ratio.1 > 100.0 {
            return fail("ratio", self.ratio, "two rising numbers from 0.01 to 100");
        }
        Ok(())
    }

    /// The algorithm of torchvision's `RandomResizedCrop.get_params`.
    fn sample(&self, stream: &mut Stream, width: u32, height: u32) -> Crop {
        let area = f64::from(width) * f64::from(height);
        let (low, high) = (f64::from(self.scale.0), f64::from(self.scale.1));
        let (narrow, wide) = (f64::from(self.ratio.0), f64::from(self.ratio.1));
        let (ln_narrow, ln_wide) = (ln(narrow), ln(wide));
        for _ in 0..CROP_TRIES {
            let target = area * stream.uniform(low, high);
            let ratio = exp(stream.uniform(ln_narrow, ln_wide));
            let w = (target * ratio).sqrt().round_ties_even() as u32;
            let h = (target / ratio).sqrt().round_ties_even() as u32;
            if (1..=width).contains(&w) && (1..=height).contains(&h) {
                let y = stream.below(height - h + 1);
                return Crop { x: stream.below(width - w + 1), y, width: w, height: h };
            }
        }
        centre(width, height, narrow, wide)
    }
}

/// The largest window in the middle whose ratio is within the bounds.
fn centre(width: u32, height: u32, narrow: f64, wide: f64) -> Crop {
    let ratio = f64::from(width) / f64::from(height.max(1));
    let (mut w, mut h) = (width, height);
    if ratio < narrow {
        h = (f64::from(width) / narrow).round_ties_even().clamp(1.0, f64::from(height)) as u32;
    } else if ratio > wide {
        w = (f64::from(height) * wide).round_ties_even().clamp(1.0, f64::from(width)) as u32;
    }
    Crop { x: (width - w) / 2, y: (height - h) / 2, width: w, height: h }
}

impl Augment {
    /// No change at all: training images are prepared as validation images are.
    pub fn none() -> Self {
        Self { flip: false, random_resized_crop: None }
    }

    /// A flip and a crop of 35 % to 100 % of the area, 3:4 to 4:3.
    ///
    /// ImageNet training goes down to 8 % of the area; with few images and a pretrained net that cuts the
    /// subject away too often.
    pub fn basic() -> Self {
        let crop = RandomResizedCrop { scale: (0.35, 1.0), ratio: (3.0 / 4.0, 4.0 / 3.0) };
        Self { flip: true, random_resized_crop: Some(crop) }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn check(&self) -> Result<(), DataError> {
        self.random_resized_crop.map_or(Ok(()), |crop| crop.check())
    }

    /// Draws what to do with one image of `width` x `height` pixels.
    pub fn sample(&self, key: Key, width: u32, height: u32) -> Params {
        let stream = |operation| Stream::new(key.seed, key.epoch, key.sample_id, operation);
        let crop = self
            .random_resized_crop
            .map(|crop| crop.sample(&mut stream(Operation::RandomResizedCrop), width, height));
        let flip = self.flip && stream(Operation::HorizontalFlip).unit() < 0.5;
        Params { crop, flip }
    }
}

/// A window of whole pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crop {
    /// Left edge, in pixels.
    pub x: u32,
    /// Upper edge, in pixels.
    pub y: u32,
    /// Width, in pixels.
    pub width: u32,
    /// Height, in pixels.
    pub height: u32,
}

/// What to do with one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    /// The window to resize to the input, or `None` for the validation transform.
    pub crop: Option<Crop>,
    /// Mirror left and right.
    pub flip: bool,
}

impl Params {
    /// Does it: an image of any size to `input` x `input` pixels.
    ///
    /// # Errors
    /// The image has no pixels, or the window is not inside it.
    pub fn apply(&self, image: &RgbImage, preprocess: &Preprocess) -> Result<RgbImage, DataError> {
        let mut out = match self.crop {
            Some(crop) => preprocess.resize_window(image, crop)?,
            None => preprocess.eval_transform(image)?,
        };
        if self.flip {
            flip_horizontal_in_place(&mut out);
        }
        Ok(out)
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
mod tests {
    use super::*;
    use image::Rgb;

    fn key(sample_id: u64) -> Key {
        Key { seed: 1, epoch: 2, sample_id }
    }

    #[test]
    fn the_numbers_of_a_seed_never_change() {
        assert_eq!(shuffle(10, 42, 0), [7, 6, 5, 1, 0, 4, 8, 9, 2, 3]);
        let params = Augment::basic().sample(key(3), 500, 375);
        assert_eq!(params, Params { crop: Some(Crop { x: 18, y: 2, width: 382, height: 353 }), flip: false });
    }

    #[test]
    fn a_shuffle_is_a_permutation_and_depends_on_its_key() {
        assert!(shuffle(0, 1, 1).is_empty());
        assert_eq!(shuffle(1, 1, 1), [0]);
        let mut order = shuffle(1000, 7, 3);
        assert_ne!(order, shuffle(1000, 7, 4));
        assert_ne!(order, shuffle(1000, 8, 3));
        order.sort_unstable();
        assert!(order.iter().enumerate().all(|(i, &n)| i == n as usize));
    }

    #[test]
    fn crops_stay_inside_and_within_their_bounds() {
        let augment = Augment::basic();
        let (mut flips, mut areas) = (0, 0.0);
        for id in 0..4000 {
            let params = augment.sample(key(id), 500, 375);
            let Crop { x, y, width, height } = params.crop.unwrap();
            assert!(width > 0 && height > 0 && x + width <= 500 && y + height <= 375);
            let ratio = f64::from(width) / f64::from(height);
            assert!((0.74..1.35).contains(&ratio), "{ratio}");
            let area = f64::from(width * height) / (500.0 * 375.0);
            assert!((0.34..1.001).contains(&area), "{area}");
            areas += area;
            flips += u32::from(params.flip);
        }
        assert!((1850..2150).contains(&flips), "{flips}");
        assert!((0.54..0.61).contains(&(areas / 4000.0)), "{areas}");
    }

    #[test]
    fn hopeless_shapes_fall_back_to_the_centre() {
        let augment = Augment::basic();
        let crop = |w, h| augment.sample(key(5), w, h).crop.unwrap();
        assert_eq!(crop(1, 3000), Crop { x: 0, y: 1499, width: 1, height: 1 });
        assert_eq!(crop(3000, 9), Crop { x: 1494, y: 0, width: 12, height: 9 });
        assert_eq!(crop(1, 1), Crop { x: 0, y: 0, width: 1, height: 1 });
    }

    #[test]
    fn without_a_crop_it_is_the_validation_transform() {
        let image = RgbImage::from_fn(50, 40, |x, y| Rgb([x as u8 * 5, y as u8 * 6, 7]));
        let preprocess = Preprocess::imagenet(16);
        let plain = Augment::none().sample(key(1), 50, 40);
        assert_eq!(plain, Params { crop: None, flip: false });
        let eval = preprocess.eval_transform(&image).unwrap();
        assert_eq!(plain.apply(&image, &preprocess).unwrap(), eval);
        let flipped = Params { crop: None, flip: true }.apply(&image, &preprocess).unwrap();
        assert_eq!(flipped, image::imageops::flip_horizontal(&eval));
    }

    #[test]
    fn nothing_outside_of_the_window_counts() {
        let inside = |x: u32, y: u32| (10..30).contains(&x) && (5..35).contains(&y);
        let image =
            RgbImage::from_fn(50, 40, |x, y| if inside(x, y) { Rgb([7, 8, 9]) } else { Rgb([255; 3]) });
        let params = Params { crop: Some(Crop { x: 10, y: 5, width: 20, height: 30 }), flip: true };
        let out = params.apply(&image, &Preprocess::imagenet(16)).unwrap();
        assert!(out.pixels().all(|pixel| *pixel == Rgb([7, 8, 9])));
        let outside = Params { crop: Some(Crop { x: 40, y: 5, width: 20, height: 30 }), flip: false };
        assert!(outside.apply(&image, &Preprocess::imagenet(16)).is_err());
    }

    #[test]
    fn ranges_are_checked() {
        Augment::basic().check().unwrap();
        let crop = |scale, ratio| Augment {
            flip: true,
            random_resized_crop: Some(RandomResizedCrop { scale, ratio }),
        };
        for bad in [
            crop((0.0, 1.0), (0.75, 1.3)),
            crop((0.5, 0.4), (0.75, 1.3)),
            crop((0.5, 1.1), (0.75, 1.3)),
            crop((f32::NAN, 1.0), (0.75, 1.3)),
            crop((0.5, 1.0), (0.0, 1.3)),
            crop((0.5, 1.0), (1.3, f32::NAN)),
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}

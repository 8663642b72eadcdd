//! What to do with one image, and doing it.
//!
//! The one decision: everything here is plain numbers that do not know the size of the net's input, so a choice can be
//! written down, read back and applied at any size. Geometry comes first and is one resampling; operations on colours
//! follow at the size of the input.

use image::RgbImage;
use serde::{Deserialize, Serialize};

use super::blur::{gaussian_blur, sharpness};
use super::colour;
use super::crop::Crop;
use super::hue::hue;
use super::warp::{Map, Warp, warp};
use crate::draw::{Operation, Stream, sin_cos};
use crate::error::DataError;
use crate::preprocess::Preprocess;
use crate::scratch::Scratch;

/// What to do with one image; the default changes nothing.
///
/// In this order: `affine`, `crop` and resizing, `flip`, `vertical_flip`, `ops`, `erase`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// The window to resize to the input, or `None` for the validation transform.
    pub crop: Option<Crop>,
    /// Mirror left and right.
    pub flip: bool,
    /// Mirror top and bottom.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub vertical_flip: bool,
    /// Turn, shift, scale and shear about the centre of the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affine: Option<AffineParams>,
    /// Operations at the size of the input, first to last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ops: Vec<Op>,
    /// A rectangle to cover.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub erase: Option<Erase>,
}

/// An affine change about the centre of the window, as torchvision's `affine` has it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AffineParams {
    /// Rotation, clockwise, in degrees.
    pub degrees: f64,
    /// Shift to the right and down, in parts of the window's width and height.
    pub translate: (f64, f64),
    /// Enlargement.
    pub scale: f64,
    /// Shear along x and along y, in degrees.
    pub shear: (f64, f64),
    /// The colour beyond the edges of the image.
    pub fill: [u8; 3],
}

/// One operation on an image of the size of the net's input. Signs and strengths are torchvision's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Op {
    /// Each row moves left by this part of its distance from the top; black comes in.
    ShearX(f64),
    /// Each column moves up by this part of its distance from the left; black comes in.
    ShearY(f64),
    /// A shift to the right; black comes in.
    TranslateX(Length),
    /// A shift down; black comes in.
    TranslateY(Length),
    /// A rotation about the centre, anticlockwise, in degrees; black comes in.
    Rotate(f64),
    /// A factor from black.
    Brightness(f64),
    /// A factor from the mean grey.
    Contrast(f64),
    /// A factor from grey.
    Saturation(f64),
    /// A factor from the smoothed image.
    Sharpness(f64),
    /// A shift in parts of the circle of hues, -0.5..=0.5.
    Hue(f64),
    /// The upper bits that stay, 0..=8.
    Posterize(u8),
    /// Levels from this one on are inverted.
    Solarize(f64),
    /// Each channel is stretched to 0..=255.
    Autocontrast,
    /// Each channel gets an even histogram.
    Equalize,
    /// 255 minus the level.
    Invert,
    /// Three equal channels.
    Grayscale,
    /// A Gaussian blur.
    GaussianBlur {
        /// Height and width of the kernel in pixels; odd, 1..=255.
        kernel: u32,
        /// Standard deviation in pixels, above 0.
        sigma: f64,
    },
}

/// How far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Length {
    /// Pixels of the input.
    Pixels(i32),
    /// A part of the input's side, cut down to whole pixels.
    Part(f64),
}

/// A rectangle to cover.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erase {
    /// Its upper edge, in parts of the room there is for it, 0..1.
    pub top: f64,
    /// Its left edge, likewise.
    pub left: f64,
    /// Its height, in parts of the input's.
    pub height: f64,
    /// Its width, in parts of the input's.
    pub width: f64,
    /// What is put there.
    pub fill: EraseFill,
}

/// What covers a rectangle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EraseFill {
    /// The mean colour of the net's input, rounded to a level.
    Mean,
    /// Levels drawn evenly, from this seed.
    Noise(u64),
}

impl Params {
    /// Prepares a training image: `input` x `input` pixels.
    ///
    /// # Errors
    /// `preprocess` is out of range, the image has no pixels, the window is not inside of it, or a number of the
    /// geometry is not finite.
    pub fn apply(&self, image: &RgbImage, preprocess: &Preprocess) -> Result<RgbImage, DataError> {
        preprocess.check()?;
        Scratch::with(|scratch| self.apply_with(image, preprocess, scratch))
    }

    /// The part of an image of this size that the input is made of.
    pub(crate) fn window(&self, width: u32, height: u32) -> Crop {
        match (self.crop, self.affine) {
            (Some(crop), None) => crop,
            _ => Crop { x: 0, y: 0, width, height },
        }
    }

    /// [`Params::apply`] with buffers to use again.
    pub(crate) fn apply_with(
        &self,
        image: &RgbImage,
        preprocess: &Preprocess,
        scratch: &mut Scratch,
    ) -> Result<RgbImage, DataError> {
        let geometric = self.ops.iter().take_while(|op| op.is_geometric()).count();
        let mut out = if self.affine.is_none() && geometric == 0 {
            self.cut_out(image, preprocess, scratch)?
        } else {
            let plan = self.warp_plan(image, preprocess, &self.ops[..geometric]);
            warp(image, &plan, preprocess.interpolation, scratch)?
        };
        let mut rest = &self.ops[geometric..];
        while let Some((op, later)) = rest.split_first() {
            if op.is_geometric() {
                let run = rest.iter().take_while(|op| op.is_geometric()).count();
                let mut plan = Warp::new(preprocess.input, [0; 3]);
                plan.add(&rest[..run]);
                let next = warp(&out, &plan, preprocess.interpolation, scratch)?;
                scratch.recycle(std::mem::replace(&mut out, next));
                rest = &rest[run..];
            } else {
                op.change(&mut out, scratch);
                rest = later;
            }
        }
        if let Some(erase) = &self.erase {
            erase.cover(&mut out, preprocess);
        }
        Ok(out)
    }

    /// Window, size and mirroring: no pixel is blended but by the resizing.
    fn cut_out(
        &self,
        image: &RgbImage,
        preprocess: &Preprocess,
        scratch: &mut Scratch,
    ) -> Result<RgbImage, DataError> {
        let mut out = match self.crop {
            Some(window) => preprocess.resize_window(image, window, scratch)?,
            None => preprocess.eval_with(image, scratch)?,
        };
        let row = 3 * out.width() as usize;
        if self.flip {
            out.chunks_exact_mut(row).for_each(|line| line.as_chunks_mut::<3>().0.reverse());
        }
        if self.vertical_flip {
            let half = out.height() as usize / 2 * row;
            let (upper, lower) = out.split_at_mut(half);
            let pairs = upper.chunks_exact_mut(row).zip(lower.rchunks_exact_mut(row));
            pairs.for_each(|(above, below)| above.swap_with_slice(below));
        }
        Ok(out)
    }

    /// The whole way from a pixel of the input to the pixels of the image.
    fn warp_plan(&self, image: &RgbImage, preprocess: &Preprocess, ops: &[Op]) -> Warp {
        let side = f64::from(preprocess.input);
        let (x, y, width, height) = match self.crop {
            Some(Crop { x, y, width, height }) => (x.into(), y.into(), width.into(), height.into()),
            None => preprocess.eval_window(image.width(), image.height()),
        };
        let mut plan = Warp::new(preprocess.input, self.affine.map_or([0; 3], |affine| affine.fill));
        plan.add(ops);
        if self.flip {
            plan.precede(Map { xx: -1.0, x0: side, ..Map::IDENTITY });
        }
        if self.vertical_flip {
            plan.precede(Map { yy: -1.0, y0: side, ..Map::IDENTITY });
        }
        plan.precede(Map { xx: width / side, x0: x, yy: height / side, y0: y, ..Map::IDENTITY });
        if let Some(affine) = &self.affine {
            plan.precede(affine.inverse((x, y), (width, height)));
        }
        plan.bounds = self.crop.filter(|_| self.affine.is_none());
        plan
    }
}

impl AffineParams {
    /// From pixels of the result to pixels of the image, for a window at `corner` of `size`.
    ///
    /// torchvision's matrix: rotation, then both shears, then the scale, about the centre of the window.
    fn inverse(&self, corner: (f64, f64), size: (f64, f64)) -> Map {
        let (sin_x, cos_x) = sin_cos(self.shear.0);
        let (_, cos_y) = sin_cos(self.shear.1);
        let (sin, cos) = sin_cos(self.degrees - self.shear.1);
        let (rotation_sin, rotation_cos) = sin_cos(self.degrees);
        let tan_x = sin_x / cos_x;
        let (a, c) = (cos / cos_y, sin / cos_y);
        let (b, d) = (-a * tan_x - rotation_sin, -c * tan_x + rotation_cos);
        // The determinant of this matrix is 1, so its inverse needs no division but by the scale.
        let centre = (corner.0 + 0.5 * size.0, corner.1 + 0.5 * size.1);
        let from = (centre.0 + self.translate.0 * size.0, centre.1 + self.translate.1 * size.1);
        let (xx, xy, yx, yy) = (d / self.scale, -b / self.scale, -c / self.scale, a / self.scale);
        Map {
            xx,
            xy,
            x0: centre.0 - xx * from.0 - xy * from.1,
            yx,
            yy,
            y0: centre.1 - yx * from.0 - yy * from.1,
        }
    }
}

impl Op {
    fn is_geometric(&self) -> bool {
        self.inverse(1.0).is_some()
    }

    /// From pixels of the result to pixels before it, of an image of this side; none for colours.
    pub(super) fn inverse(&self, side: f64) -> Option<Map> {
        Some(match *self {
            Self::ShearX(part) => Map { xy: part, ..Map::IDENTITY },
            Self::ShearY(part) => Map { yx: part, ..Map::IDENTITY },
            Self::TranslateX(length) => Map { x0: -length.pixels(side), ..Map::IDENTITY },
            Self::TranslateY(length) => Map { y0: -length.pixels(side), ..Map::IDENTITY },
            Self::Rotate(degrees) => {
                let (sin, cos) = sin_cos(degrees);
                let half = 0.5 * side;
                let x0 = half - cos * half + sin * half;
                let y0 = half - sin * half - cos * half;
                Map { xx: cos, xy: -sin, x0, yx: sin, yy: cos, y0 }
            }
            _ => return None,
        })
    }

    /// Changes colours in place.
    fn change(&self, image: &mut RgbImage, scratch: &mut Scratch) {
        match *self {
            Self::Brightness(factor) => colour::brightness(image, factor as f32),
            Self::Contrast(factor) => colour::contrast(image, factor as f32),
            Self::Saturation(factor) => colour::saturation(image, factor as f32),
            Self::Sharpness(factor) => sharpness(image, factor as f32, scratch),
            Self::Hue(part) => hue(image, part),
            Self::Posterize(bits) => colour::posterize(image, bits),
            Self::Solarize(threshold) => colour::solarize(image, threshold),
            Self::Autocontrast => colour::autocontrast(image),
            Self::Equalize => colour::equalize(image),
            Self::Invert => colour::invert(image),
            Self::Grayscale => colour::grayscale(image),
            Self::GaussianBlur { kernel, sigma } => gaussian_blur(image, kernel, sigma, scratch),
            Self::ShearX(_) | Self::ShearY(_) | Self::Rotate(_) => {}
            Self::TranslateX(_) | Self::TranslateY(_) => {}
        }
    }
}

impl Length {
    fn pixels(self, side: f64) -> f64 {
        match self {
            Self::Pixels(pixels) => f64::from(pixels),
            // In f32 as torchvision has it: 150 / 331 of 331 pixels are 150.
            Self::Part(part) => f64::from((part * side) as f32).trunc(),
        }
    }
}

impl Erase {
    /// Left, upper, right and lower edge in an image of this side.
    pub(super) fn edges(&self, side: u32) -> [u32; 4] {
        // torchvision draws again what would cover a whole side after rounding; here it is one pixel less.
        let most = |part: f64| if part < 1.0 { side.saturating_sub(1) } else { side };
        let length = |part: f64| ((part * f64::from(side)).round_ties_even() as u32).min(most(part));
        let start = |part: f64, length: u32| {
            let room = side - length;
            ((part * f64::from(room + 1)) as u32).min(room)
        };
        let (width, height) = (length(self.width), length(self.height));
        let (left, top) = (start(self.left, width), start(self.top, height));
        [left, top, left + width, top + height]
    }

    fn cover(&self, image: &mut RgbImage, preprocess: &Preprocess) {
        let [left, top, right, bottom] = self.edges(image.width()).map(|edge| edge as usize);
        let row = 3 * image.width() as usize;
        let mean = preprocess.mean.map(|mean| (mean * 255.0).round() as u8);
        let mut noise = match self.fill {
            EraseFill::Mean => None,
            EraseFill::Noise(seed) => Some(Stream::new(seed, 0, 0, Operation::ErasingNoise)),
        };
        for line in image.chunks_exact_mut(row).take(bottom).skip(top) {
            let line = &mut line[3 * left..3 * right];
            match &mut noise {
                None => line.as_chunks_mut().0.fill(mean),
                Some(stream) => stream.fill(line),
            }
        }
    }
}

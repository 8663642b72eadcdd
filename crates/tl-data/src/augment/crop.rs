//! A random window of the image.
//!
//! The one decision: a window is whole pixels of the image, so what lies outside of it cannot count.

use serde::{Deserialize, Serialize};

use crate::draw::{Stream, exp, ln};
use crate::options::Checks;

/// How often a crop is drawn again before the centre is taken.
const CROP_TRIES: usize = 10;

/// Inception's crop (Szegedy et al. 2014, arXiv:1409.4842), as torchvision draws it; the defaults are torchvision's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RandomResizedCrop {
    /// The part of the area kept, from and to, in 0..=1; drawn evenly.
    pub scale: (f32, f32),
    /// Width divided by height, from and to; drawn evenly in its logarithm.
    pub ratio: (f32, f32),
}

/// A window of whole pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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

impl Default for RandomResizedCrop {
    fn default() -> Self {
        Self { scale: (0.08, 1.0), ratio: (3.0 / 4.0, 4.0 / 3.0) }
    }
}

impl RandomResizedCrop {
    pub(super) fn check(&self, checks: &mut Checks) {
        let (low, high) = self.scale;
        let expected = "two rising numbers above 0 and up to 1";
        let holds = low > 0.0 && low <= high && high <= 1.0;
        checks.require(holds, "random_resized_crop.scale", &self.scale, expected);
        checks.rising("random_resized_crop.ratio", self.ratio, 0.01, 100.0);
    }

    /// The algorithm of torchvision's `RandomResizedCrop.get_params`.
    pub(super) fn sample(&self, stream: &mut Stream, width: u32, height: u32) -> Crop {
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
        h = (f64::from(width) / narrow).round_ties_even().max(1.0).min(f64::from(height)) as u32;
    } else if ratio > wide {
        w = (f64::from(height) * wide).round_ties_even().max(1.0).min(f64::from(width)) as u32;
    }
    Crop { x: (width - w) / 2, y: (height - h) / 2, width: w, height: h }
}

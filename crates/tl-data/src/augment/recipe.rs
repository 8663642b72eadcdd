//! The parts of a recipe: what may happen to a training image, how often and how strongly.
//!
//! The one decision: a part draws everything it could need whether or not it uses it, so that changing one of its
//! numbers changes nothing else: with more saturation the brightness stays what it was.

use serde::{Deserialize, Serialize};

use super::params::{AffineParams, Erase, EraseFill, Op};
use crate::draw::{Stream, exp, ln};
use crate::options::Checks;

/// How often a rectangle to erase is drawn again before nothing is erased.
const ERASE_TRIES: usize = 10;

/// Rotation, shift, scale and shear about the centre of the window that is cut out, as torchvision's `RandomAffine`.
///
/// It happens in the image before the window is cut out, so that what turns into view is the image where there is more
/// of it, and `fill` beyond its edges. All of it is one resampling together with the crop and the resizing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RandomAffine {
    /// How often, in 0..=1.
    pub probability: f32,
    /// The largest rotation to either side, in degrees, 0..=180.
    pub degrees: f32,
    /// The largest shift, in parts of the window's width and height, 0..=1. torchvision rounds it to whole pixels; here it
    /// is not, as everything is one resampling anyway.
    pub translate: (f32, f32),
    /// Enlargement, from and to, 0.05..=20.
    pub scale: (f32, f32),
    /// The largest shear along x and along y, in degrees, 0..=80.
    pub shear: (f32, f32),
    /// The colour beyond the edges of the image.
    pub fill: [u8; 3],
}

impl Default for RandomAffine {
    fn default() -> Self {
        Self {
            probability: 1.0,
            degrees: 0.0,
            translate: (0.0, 0.0),
            scale: (1.0, 1.0),
            shear: (0.0, 0.0),
            fill: [0; 3],
        }
    }
}

impl RandomAffine {
    pub(super) fn check(&self, checks: &mut Checks) {
        checks.between("affine.probability", self.probability, 0.0, 1.0);
        checks.between("affine.degrees", self.degrees, 0.0, 180.0);
        for part in [self.translate.0, self.translate.1] {
            checks.between("affine.translate", part, 0.0, 1.0);
        }
        checks.rising("affine.scale", self.scale, 0.05, 20.0);
        for degrees in [self.shear.0, self.shear.1] {
            checks.between("affine.shear", degrees, 0.0, 80.0);
        }
    }

    pub(super) fn sample(&self, stream: &mut Stream) -> Option<AffineParams> {
        let wanted = hits(stream, self.probability);
        let degrees = either_side(stream, self.degrees);
        let translate = (either_side(stream, self.translate.0), either_side(stream, self.translate.1));
        let scale = stream.uniform(f64::from(self.scale.0), f64::from(self.scale.1));
        let shear = (either_side(stream, self.shear.0), either_side(stream, self.shear.1));
        wanted.then_some(AffineParams { degrees, translate, scale, shear, fill: self.fill })
    }
}

/// Brightness, contrast, saturation and hue in a random order, as torchvision's `ColorJitter`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ColorJitter {
    /// How often, in 0..=1.
    pub probability: f32,
    /// The factor is drawn evenly between `max(0, 1 - brightness)` and `1 + brightness`; 0..=10.
    pub brightness: f32,
    /// As `brightness`; 0..=10.
    pub contrast: f32,
    /// As `brightness`; 0..=10.
    pub saturation: f32,
    /// The largest shift to either side, in parts of the circle of hues, 0..=0.5.
    pub hue: f32,
}

impl Default for ColorJitter {
    fn default() -> Self {
        Self { probability: 1.0, brightness: 0.0, contrast: 0.0, saturation: 0.0, hue: 0.0 }
    }
}

impl ColorJitter {
    pub(super) fn check(&self, checks: &mut Checks) {
        checks.between("color_jitter.probability", self.probability, 0.0, 1.0);
        checks.between("color_jitter.brightness", self.brightness, 0.0, 10.0);
        checks.between("color_jitter.contrast", self.contrast, 0.0, 10.0);
        checks.between("color_jitter.saturation", self.saturation, 0.0, 10.0);
        checks.between("color_jitter.hue", self.hue, 0.0, 0.5);
    }

    pub(super) fn sample(&self, stream: &mut Stream, ops: &mut Vec<Op>) {
        let wanted = hits(stream, self.probability);
        let mut order = [0, 1, 2, 3];
        for last in (1..4_u32).rev() {
            order.swap(last as usize, stream.below(last + 1) as usize);
        }
        let mut factor = |width: f32| {
            let width = f64::from(width);
            stream.uniform((1.0 - width).max(0.0), 1.0 + width)
        };
        let (brightness, contrast, saturation) =
            (factor(self.brightness), factor(self.contrast), factor(self.saturation));
        let hue = either_side(stream, self.hue);
        let changes = [
            (self.brightness, Op::Brightness(brightness)),
            (self.contrast, Op::Contrast(contrast)),
            (self.saturation, Op::Saturation(saturation)),
            (self.hue, Op::Hue(hue)),
        ];
        let used = order.into_iter().map(|i: usize| changes[i]).filter(|(width, _)| *width > 0.0);
        if wanted {
            ops.extend(used.map(|(_, op)| op));
        }
    }
}

/// Keeps the upper bits of each channel, as torchvision's `RandomPosterize`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Posterize {
    /// How often, in 0..=1; as JSON 0.5 if left out, as by torchvision.
    #[serde(default = "half")]
    pub probability: f32,
    /// Bits kept, 1..=8.
    pub bits: u8,
}

/// Inverts what is bright, as torchvision's `RandomSolarize`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Solarize {
    /// How often, in 0..=1; as JSON 0.5 if left out, as by torchvision.
    #[serde(default = "half")]
    pub probability: f32,
    /// Levels from this one on are inverted, 0..=256.
    pub threshold: f32,
}

/// Sharpens or softens, as torchvision's `RandomAdjustSharpness`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sharpness {
    /// How often, in 0..=1; as JSON 0.5 if left out, as by torchvision.
    #[serde(default = "half")]
    pub probability: f32,
    /// 0 softens, 1 changes nothing, 2 sharpens; 0..=10.
    pub factor: f32,
}

/// Gaussian blur with a random deviation, as torchvision's `GaussianBlur`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GaussianBlur {
    /// How often, in 0..=1; as JSON 1 if left out, as by torchvision.
    #[serde(default = "always")]
    pub probability: f32,
    /// Height and width of the kernel in pixels of the net's input; odd, 1..=255. SimCLR (arXiv:2002.05709) takes a
    /// tenth of the input.
    pub kernel: u32,
    /// Standard deviation in pixels, from and to, 0.01..=100; drawn evenly. As JSON 0.1 to 2 if left out, as by
    /// torchvision.
    #[serde(default = "usual_sigma")]
    pub sigma: (f32, f32),
}

impl GaussianBlur {
    pub(super) fn check(&self, checks: &mut Checks) {
        checks.between("gaussian_blur.probability", self.probability, 0.0, 1.0);
        let holds = self.kernel % 2 == 1 && self.kernel <= 255;
        checks.require(holds, "gaussian_blur.kernel", &self.kernel, "an odd number, 1 to 255");
        checks.rising("gaussian_blur.sigma", self.sigma, 0.01, 100.0);
    }

    pub(super) fn sample(&self, stream: &mut Stream) -> Option<Op> {
        let wanted = hits(stream, self.probability);
        let sigma = stream.uniform(f64::from(self.sigma.0), f64::from(self.sigma.1));
        wanted.then_some(Op::GaussianBlur { kernel: self.kernel, sigma })
    }
}

/// Covers a random rectangle (Zhong et al. 2017, arXiv:1708.04896), drawn as torchvision's `RandomErasing` draws it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RandomErasing {
    /// How often, in 0..=1.
    pub probability: f32,
    /// The part of the area covered, from and to, in 0..=1; drawn evenly.
    pub scale: (f32, f32),
    /// Height divided by width, from and to, 0.01..=100; drawn evenly in its logarithm.
    pub ratio: (f32, f32),
    /// What is put there.
    pub fill: ErasingFill,
}

/// What covers an erased rectangle.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErasingFill {
    /// The mean colour of the net's input, rounded to a level: torchvision's default, 0 after normalising.
    #[default]
    Mean,
    /// Another level for every pixel and channel, evenly from 0 to 255: the paper's best.
    Noise,
}

impl Default for RandomErasing {
    fn default() -> Self {
        Self { probability: 0.25, scale: (0.02, 0.33), ratio: (0.3, 3.3), fill: ErasingFill::Mean }
    }
}

impl RandomErasing {
    pub(super) fn check(&self, checks: &mut Checks) {
        checks.between("random_erasing.probability", self.probability, 0.0, 1.0);
        checks.rising("random_erasing.scale", self.scale, 0.0, 1.0);
        checks.rising("random_erasing.ratio", self.ratio, 0.01, 100.0);
    }

    pub(super) fn sample(&self, stream: &mut Stream) -> Option<Erase> {
        // The seed of the noise comes first, so that it does not depend on how many tries there are.
        let seed = (stream.unit() * (1_u64 << 53) as f64) as u64;
        if !hits(stream, self.probability) {
            return None;
        }
        let fill = match self.fill {
            ErasingFill::Mean => EraseFill::Mean,
            ErasingFill::Noise => EraseFill::Noise(seed),
        };
        let (flat, tall) = (ln(f64::from(self.ratio.0)), ln(f64::from(self.ratio.1)));
        for _ in 0..ERASE_TRIES {
            let area = stream.uniform(f64::from(self.scale.0), f64::from(self.scale.1));
            let ratio = exp(stream.uniform(flat, tall));
            let (height, width) = ((area * ratio).sqrt(), (area / ratio).sqrt());
            if height < 1.0 && width < 1.0 {
                return Some(Erase { top: stream.unit(), left: stream.unit(), height, width, fill });
            }
        }
        None
    }
}

/// Mixing two images of a batch and their labels: MixUp (Zhang et al. 2017, arXiv:1710.09412) and CutMix (Yun et al.
/// 2019, arXiv:1905.04899). With both, each batch gets one of them, chosen evenly, as in torchvision's reference
/// training.
///
/// Whoever trains on such batches has to use the soft targets of [`crate::Batch::mix`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mixing {
    /// How many of the batches are mixed, in 0..=1.
    pub probability: f32,
    /// MixUp's part of the own image is drawn from Beta(alpha, alpha); 0.01..=100, or 0 for no MixUp.
    pub mixup_alpha: f32,
    /// CutMix's part of the own image, likewise; 0 for no CutMix.
    pub cutmix_alpha: f32,
}

impl Default for Mixing {
    fn default() -> Self {
        Self { probability: 1.0, mixup_alpha: 0.0, cutmix_alpha: 0.0 }
    }
}

impl Mixing {
    pub(super) fn check(&self, checks: &mut Checks) {
        checks.between("mixing.probability", self.probability, 0.0, 1.0);
        let alphas = [("mixing.mixup_alpha", self.mixup_alpha), ("mixing.cutmix_alpha", self.cutmix_alpha)];
        for (name, alpha) in alphas {
            let holds = alpha == 0.0 || (0.01..=100.0).contains(&alpha);
            checks.require(holds, name, &alpha, "0, or 0.01 to 100");
        }
        if alphas.iter().all(|(_, alpha)| *alpha == 0.0) {
            checks.require(false, "mixing", &"without an alpha", "`mixup_alpha` or `cutmix_alpha` above 0");
        }
    }
}

fn half() -> f32 {
    0.5
}

fn always() -> f32 {
    1.0
}

fn usual_sigma() -> (f32, f32) {
    (0.1, 2.0)
}

/// True with this probability.
pub(super) fn hits(stream: &mut Stream, probability: f32) -> bool {
    stream.unit() < f64::from(probability)
}

/// Uniform in `-width..width`.
fn either_side(stream: &mut Stream, width: f32) -> f64 {
    let width = f64::from(width);
    stream.uniform(-width, width)
}

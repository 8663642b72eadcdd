//! Random numbers as a pure function of (seed, epoch, sample, operation).
//!
//! The one decision: nothing here uses the C library's `exp` or `ln`, nor a `usize`, nor a distribution of
//! another crate, so the same key gives the same numbers on every machine and with every compiler.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// What a stream of random numbers is for. The numbers are part of what a seed means: never reuse one.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Operation {
    Shuffle = 0,
    RandomResizedCrop = 1,
    HorizontalFlip = 2,
    IdgRotation = 100,
    IdgShiftX = 101,
    IdgShiftY = 102,
    IdgShear = 103,
    IdgZoom = 104,
    IdgFlipHorizontal = 105,
    IdgFlipVertical = 106,
    IdgChannelShift = 107,
    IdgBrightness = 108,
    BalancedOrder = 320,
    WeightedOrder = 321,
    VerticalFlip = 200,
    Affine = 201,
    TrivialAugment = 202,
    RandAugment = 203,
    ColorJitter = 204,
    Invert = 205,
    Posterize = 206,
    Solarize = 207,
    Autocontrast = 208,
    Equalize = 209,
    Sharpness = 210,
    Grayscale = 211,
    GaussianBlur = 212,
    Erasing = 213,
    ErasingNoise = 214,
    Mixing = 215,
}

/// The random numbers of one operation on one sample in one epoch.
pub(crate) struct Stream(ChaCha8Rng);

impl Stream {
    /// The key is the four numbers, little-endian, in this order.
    pub(crate) fn new(seed: u64, epoch: u64, sample_id: u64, operation: Operation) -> Self {
        let mut key = [0_u8; 32];
        for (bytes, word) in key.chunks_exact_mut(8).zip([seed, epoch, sample_id, operation as u64]) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// Uniform in `0.0..1.0`, in steps of 2^-53.
    pub(crate) fn unit(&mut self) -> f64 {
        const STEP: f64 = 1.0 / (1_u64 << 53) as f64;
        (self.0.next_u64() >> 11) as f64 * STEP
    }

    /// Fills with bytes, each uniform in 0..=255.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    /// Uniform in `low..high`.
    pub(crate) fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Uniform in `0..n`, and 0 for `n == 0`; the bias is below `n / 2^64`.
    pub(crate) fn below(&mut self, n: u32) -> u32 {
        ((u128::from(self.0.next_u64()) * u128::from(n)) >> 64) as u32
    }
}

/// e to the power of x, to about 1e-13 relative for `|x| < 20`, from sums and products alone.
pub(crate) fn exp(x: f64) -> f64 {
    let small = x / 256.0;
    let mut sum = 1.0;
    for k in (1..=9).rev() {
        sum = 1.0 + sum * small / f64::from(k);
    }
    for _ in 0..8 {
        sum *= sum;
    }
    sum
}

/// The natural logarithm of a positive number between about 1e-8 and 1e8: Halley's iteration on [`exp`].
pub(crate) fn ln(x: f64) -> f64 {
    let mut y = 0.0;
    for _ in 0..40 {
        let e = exp(y);
        y += 2.0 * (x - e) / (x + e);
    }
    y
}

/// Sine and cosine of an angle in degrees, to about 1e-15 for `|degrees| <= 360`, from sums and products alone; exact
/// for multiples of 90.
pub(crate) fn sin_cos(degrees: f64) -> (f64, f64) {
    let quarters = (degrees / 90.0).round();
    let x = (degrees - 90.0 * quarters) * (std::f64::consts::PI / 180.0);
    let (mut sin, mut cos) = (1.0, 1.0);
    for k in (1..=9).rev() {
        let k = 2.0 * f64::from(k);
        cos = 1.0 - cos * x * x / (k * (k - 1.0));
        sin = 1.0 - sin * x * x / (k * (k + 1.0));
    }
    sin *= x;
    match (quarters as i64).rem_euclid(4) {
        0 => (sin, cos),
        1 => (cos, -sin),
        2 => (-sin, -cos),
        _ => (-cos, sin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_and_ln_agree_with_the_library() {
        for x in [-4.0, -0.3, -1e-9, 0.0, 0.28, 1.0, 5.0_f64] {
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-12, "{x}");
        }
        for x in [1e-6, 0.1, 0.75, 1.0, 4.0 / 3.0, 7.5, 1e6_f64] {
            assert!((ln(x) - x.ln()).abs() < 1e-11, "{x} {} {}", ln(x), x.ln());
        }
    }

    #[test]
    fn sin_and_cos_agree_with_the_library() {
        for degrees in [-360.0, -135.0, -44.9, -1e-3, 0.0, 30.0, 45.0, 89.9, 90.0, 180.0, 271.3_f64] {
            let (sin, cos) = sin_cos(degrees);
            let (s, c) = degrees.to_radians().sin_cos();
            assert!((sin - s).abs() < 2e-15 && (cos - c).abs() < 2e-15, "{degrees}: {sin} {cos}");
        }
        assert_eq!((sin_cos(90.0), sin_cos(-180.0)), ((1.0, 0.0), (0.0, -1.0)));
    }

    #[test]
    fn streams_differ_and_repeat() {
        let draw = |seed, epoch, id, op| Stream::new(seed, epoch, id, op).0.next_u64();
        let all = [
            draw(1, 0, 0, Operation::Shuffle),
            draw(0, 1, 0, Operation::Shuffle),
            draw(0, 0, 1, Operation::Shuffle),
            draw(0, 0, 0, Operation::RandomResizedCrop),
            draw(0, 0, 0, Operation::HorizontalFlip),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b));
        }
        assert_eq!(all[0], draw(1, 0, 0, Operation::Shuffle));
    }

    #[test]
    fn below_covers_its_range_evenly() {
        let mut stream = Stream::new(7, 0, 0, Operation::Shuffle);
        let mut counts = [0_u32; 5];
        for _ in 0..50_000 {
            counts[stream.below(5) as usize] += 1;
        }
        assert!(counts.iter().all(|&n| (9_700..10_300).contains(&n)), "{counts:?}");
        assert_eq!(stream.below(1), 0);
    }
}

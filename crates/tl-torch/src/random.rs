//! Seeded values for new parameters, and masks of dropout, drawn on the Rust side.
//!
//! A value is a function of (seed, name), so that a net's initialisation depends neither on the order in which its
//! parameters are made nor on libtorch's generator or the device.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use tch::Tensor;

/// Which mask of dropout it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw<'a> {
    /// Seed of the step.
    pub seed: u64,
    /// Where in the net it acts.
    pub name: &'a str,
    /// The row of the batch that is the first here: of a part of a batch, masks are those of the same rows of the whole.
    pub first: i64,
}

/// `n` values, uniform in `-bound..bound`, for the parameter `name`.
#[must_use]
pub fn uniform(seed: u64, name: &str, n: usize, bound: f64) -> Vec<f32> {
    values(stream(seed, name), n, bound)
}

fn values(mut rng: ChaCha8Rng, n: usize, bound: f64) -> Vec<f32> {
    (0..n)
        .map(|_| {
            // 53 random bits make a double in 0..1.
            let unit = (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
            ((2.0 * unit - 1.0) * bound) as f32
        })
        .collect()
}

/// Dropout (Srivastava et al. 2014): each value is zeroed with probability `p` (`0..1`), the others grow to `1 / (1 − p)`.
/// The mask is a function of `seed`; libtorch's own draws from a generator that the whole process shares.
///
/// # Shapes
/// Any, to the same.
pub fn dropout(xs: &Tensor, p: f64, seed: u64) -> Tensor {
    xs * mask(p, stream(seed, "dropout"), &xs.size()).to_device(xs.device())
}

/// The same for whole rows: all of `xs[i]` is zeroed or all of it grows to `1 / (1 − p)`. With `p` = 1 everything is
/// zeroed. The mask is a function of `draw`.
///
/// # Shapes
/// `[N, …]` to the same.
pub fn drop_rows(xs: &Tensor, p: f64, draw: Draw<'_>) -> Tensor {
    let mut shape = vec![1; xs.dim()];
    shape[..1].copy_from_slice(&xs.size()[..1]);
    let mut rng = stream(draw.seed, draw.name);
    // A draw is two words of the generator.
    rng.set_word_pos(2 * draw.first.unsigned_abs() as u128);
    // In the kind of `xs`: a product with f32 would widen half precision.
    xs * mask(p, rng, &shape).to_kind(xs.kind()).to_device(xs.device())
}

/// Dropout whose mask is a function of `draw`, in the kind of `xs`; `p` is met to 1 / 65536. For large tensors: 16 random
/// bits decide on a value.
///
/// # Shapes
/// `[N, …]` to the same.
pub fn drop_values(xs: &Tensor, p: f64, draw: Draw<'_>) -> Tensor {
    if p <= 0.0 {
        return xs.shallow_clone();
    }
    let threshold = (p * 65536.0).round() as u32;
    let keep = if p < 1.0 { (1.0 / (1.0 - p)) as f32 } else { 0.0 };
    // A word of the generator decides on two values.
    let row = xs.size().iter().skip(1).product::<i64>().unsigned_abs() as u128;
    let skipped = row * draw.first.unsigned_abs() as u128;
    let mut rng = stream(draw.seed, draw.name);
    rng.set_word_pos(skipped / 2);
    let begin = 2 * (skipped % 2) as usize;
    let mut bytes = vec![0; begin + 2 * xs.numel()];
    rng.fill_bytes(&mut bytes);
    let draws = bytes[begin..].chunks_exact(2).map(|pair| u32::from(u16::from_le_bytes([pair[0], pair[1]])));
    let mask: Vec<f32> = draws.map(|draw| if draw < threshold { 0.0 } else { keep }).collect();
    let mask = Tensor::from_slice(&mask).view(&xs.size()[..]);
    xs * mask.to_kind(xs.kind()).to_device(xs.device())
}

/// Zeros by chance `p`, the rest `1 / (1 − p)`.
fn mask(p: f64, rng: ChaCha8Rng, shape: &[i64]) -> Tensor {
    let threshold = (2.0 * p - 1.0) as f32;
    // Where all is dropped, a draw that f32 rounds up to 1 must not stay as infinity.
    let keep = if p < 1.0 { (1.0 / (1.0 - p)) as f32 } else { 0.0 };
    let n: i64 = shape.iter().product();
    let draws = values(rng, n as usize, 1.0);
    let mask: Vec<f32> = draws.into_iter().map(|draw| if draw < threshold { 0.0 } else { keep }).collect();
    Tensor::from_slice(&mask).view(shape)
}

/// A generator keyed by the seed and FNV-1a of the name.
fn stream(seed: u64, name: &str) -> ChaCha8Rng {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&hash.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    fn draw(seed: u64, name: &str) -> Draw<'_> {
        Draw { seed, name, first: 0 }
    }

    #[test]
    fn dropout_keeps_the_mean_and_follows_its_seed() {
        let ones = Tensor::ones([100, 100], (Kind::Float, Device::Cpu));
        let ys = dropout(&ones, 0.2, 7);
        let zeros = ys.eq(0.0).to_kind(Kind::Double).mean(Kind::Double).double_value(&[]);
        assert!((zeros - 0.2).abs() < 0.02, "{zeros}");
        assert!((ys.mean(Kind::Float).double_value(&[]) - 1.0).abs() < 0.02);
        assert!(ys.equal(&dropout(&ones, 0.2, 7)) && !ys.equal(&dropout(&ones, 0.2, 8)));
        assert!(dropout(&ones, 0.0, 7).equal(&ones));
    }

    #[test]
    fn rows_are_dropped_whole() {
        let ones = Tensor::ones([1000, 3, 2], (Kind::BFloat16, Device::Cpu));
        let ys = drop_rows(&ones, 0.25, draw(7, "add"));
        assert_eq!((ys.kind(), ys.size()), (Kind::BFloat16, ones.size()));
        let rows = ys.to_kind(Kind::Double).view([1000, 6]);
        let kept = rows.select(1, 0);
        assert!(rows.equal(&kept.unsqueeze(1).expand([1000, 6], false)));
        assert!(
            (kept.ne(0.0).to_kind(Kind::Double).mean(Kind::Double).double_value(&[]) - 0.75).abs() < 0.05
        );
        assert!((kept.max().double_value(&[]) - 4.0 / 3.0).abs() < 0.01);
        assert!(ys.equal(&drop_rows(&ones, 0.25, draw(7, "add"))));
        assert!(
            !ys.equal(&drop_rows(&ones, 0.25, draw(8, "add")))
                && !ys.equal(&drop_rows(&ones, 0.25, draw(7, "sum")))
        );
        assert!(drop_rows(&ones, 0.0, draw(7, "add")).equal(&ones));
        assert!(drop_rows(&ones, 1.0, draw(7, "add")).equal(&ones.zeros_like()));
        let none = Tensor::ones([0, 3], (Kind::Float, Device::Cpu));
        assert_eq!(drop_rows(&none, 0.5, draw(7, "add")).size(), [0, 3]);
    }

    #[test]
    fn values_are_dropped_by_seed_and_name() {
        let ones = Tensor::ones([100, 300], (Kind::BFloat16, Device::Cpu));
        let ys = drop_values(&ones, 0.25, draw(7, "a"));
        assert_eq!((ys.kind(), ys.size()), (Kind::BFloat16, ones.size()));
        let kept = ys.ne(0.0).to_kind(Kind::Double).mean(Kind::Double).double_value(&[]);
        assert!((kept - 0.75).abs() < 0.01, "{kept}");
        assert!((ys.max().double_value(&[]) - 4.0 / 3.0).abs() < 0.01);
        assert!(ys.equal(&drop_values(&ones, 0.25, draw(7, "a"))));
        assert!(
            !ys.equal(&drop_values(&ones, 0.25, draw(8, "a")))
                && !ys.equal(&drop_values(&ones, 0.25, draw(7, "b")))
        );
        assert!(drop_values(&ones, 0.0, draw(7, "a")).equal(&ones));
        assert!(drop_values(&ones, 1.0, draw(7, "a")).equal(&ones.zeros_like()));
    }

    #[test]
    fn a_part_of_a_batch_has_the_masks_of_its_rows() {
        let at = |name, first| Draw { seed: 7, name, first };
        for shape in [[7, 3, 5], [7, 2, 4], [7, 1, 1]] {
            let ones = Tensor::ones(shape, (Kind::Float, Device::Cpu));
            let (values, rows) = (drop_values(&ones, 0.4, at("a", 0)), drop_rows(&ones, 0.4, at("a", 0)));
            for first in [1, 2, 5] {
                let part = |xs: &Tensor| xs.narrow(0, first, 7 - first);
                assert!(part(&values).equal(&drop_values(&part(&ones), 0.4, at("a", first))));
                assert!(part(&rows).equal(&drop_rows(&part(&ones), 0.4, at("a", first))));
            }
        }
    }

    #[test]
    fn depends_on_seed_and_name_only() {
        assert_eq!(uniform(1, "fc.weight", 5, 0.1), uniform(1, "fc.weight", 9, 0.1)[..5]);
        assert_ne!(uniform(1, "fc.weight", 5, 0.1), uniform(2, "fc.weight", 5, 0.1));
        assert_ne!(uniform(1, "fc.weight", 5, 0.1), uniform(1, "fc.bias", 5, 0.1));
        let many = uniform(3, "x", 100_000, 0.5);
        let mean = many.iter().sum::<f32>() / 1e5;
        let var = many.iter().map(|x| x * x).sum::<f32>() / 1e5;
        assert!(mean.abs() < 0.005 && (var - 1.0 / 12.0).abs() < 0.001, "{mean} {var}");
        assert!(many.iter().all(|x| x.abs() <= 0.5));
    }
}

//! A net that does not change any more, compiled: recorded once, everything but its input folded to constants, and its
//! operations fused by oneDNN graph.
//!
//! The decision behind it: a compiled net takes inputs of one shape and is warm before its first answer. libtorch profiles
//! the first run and fuses before the second; had the first batch of a run another rounding than the rest, its numbers
//! would depend on where it stands.

#![expect(unsafe_code, reason = "the seam is a C interface")]

use std::ffi::c_char;
use std::sync::{Mutex, PoisonError};

use tch::{Device, Tensor};

use crate::error::TorchError;
use crate::recording::Module;
use crate::seam::check;
use crate::side_by_side::alone;

unsafe extern "C" {
    fn tl_autocast(cuda: bool, on: bool) -> bool;
    fn tl_autocast_clear();
    fn tl_fuse(on: bool) -> *mut c_char;
}

/// What is fused, libtorch keeps in lists of the process that have no lock; they are read when a module runs for the first
/// times.
static FUSING: Mutex<()> = Mutex::new(());

/// How a frozen net is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct How {
    /// Convolutions and matrix products in bf16.
    pub bf16: bool,
    /// Operations fused by oneDNN graph.
    pub fused: bool,
    /// Planned for one thread: for runs by [`side_by_side`](crate::side_by_side) or [`alone`](crate::alone).
    pub alone: bool,
}

/// In bf16 what autocast does in bf16, as long as it lives; for this thread.
#[derive(Debug)]
pub struct Autocast {
    cuda: bool,
    was: bool,
}

impl Autocast {
    /// Begins on that device, if `on`.
    #[must_use]
    pub fn bf16(on: bool, device: Device) -> Self {
        let cuda = device.is_cuda();
        // SAFETY: sets numbers of this thread.
        Self { cuda, was: unsafe { tl_autocast(cuda, on) } }
    }
}

impl Drop for Autocast {
    fn drop(&mut self) {
        // SAFETY: as above; the copies belong to this thread.
        unsafe {
            tl_autocast(self.cuda, self.was);
            if !self.was {
                tl_autocast_clear();
            }
        }
    }
}

/// A compiled net.
#[derive(Debug)]
pub struct Frozen {
    module: Module,
    shape: Vec<i64>,
}

impl Frozen {
    /// Records what `forward` does to `example`, and compiles it for inputs of that shape. Whatever else `forward` uses is
    /// a constant from now on, and must not require gradients.
    ///
    /// # Errors
    /// libtorch cannot record it: something requires gradients, or the output does not depend on the input.
    pub fn compile(
        example: &Tensor,
        how: How,
        forward: impl FnOnce(&Tensor) -> Tensor,
    ) -> Result<Self, TorchError> {
        tch::no_grad(|| {
            let module = {
                let _autocast = Autocast::bf16(how.bf16, Device::Cpu);
                Module::record(example, forward)?
            };
            let frozen = Self { module, shape: example.size() };
            let _fusing = FUSING.lock().unwrap_or_else(PoisonError::into_inner);
            // SAFETY: changes lists of the process, which nobody else reads or changes while the lock is held.
            check(unsafe { tl_fuse(how.fused) })?;
            let warm = || (0..3).try_for_each(|_| frozen.module.run(example).map(drop));
            if how.alone { alone(warm) } else { warm() }?;
            Ok(frozen)
        })
    }

    /// The shape of its inputs.
    #[must_use]
    pub fn shape(&self) -> &[i64] {
        &self.shape
    }

    /// Runs it without gradients.
    ///
    /// # Errors
    /// The input has another shape.
    pub fn run(&self, input: &Tensor) -> Result<Tensor, TorchError> {
        if input.size() != self.shape {
            let (expected, got) = (self.shape.clone(), input.size());
            return Err(TorchError::Shape { name: "input".to_owned(), expected, got });
        }
        self.module.run(input)
    }
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;
    use crate::layout::channels_last;

    fn example(n: i64) -> Tensor {
        let values = crate::uniform(1, "x", (n * 8 * 12 * 12) as usize, 1.0);
        channels_last(&Tensor::from_slice(&values).view([n, 8, 12, 12]))
    }

    /// Convolution, relu6 in place, grouped convolution, sum, mean, product: what nets are made of.
    fn net(xs: &Tensor, weights: &[Tensor; 3]) -> Tensor {
        let [a, b, c] = weights;
        let ys = xs.conv2d(a, None::<Tensor>, [1, 1], [1, 1], [1, 1], 1).relu6_();
        let ys = ys.conv2d(b, None::<Tensor>, [1, 1], [1, 1], [1, 1], 8) + xs;
        ys.mean_dim(&[2_i64, 3][..], false, None::<Kind>).matmul(c)
    }

    fn weights() -> [Tensor; 3] {
        let of = |name: &str, shape: &[i64]| {
            let n = shape.iter().product::<i64>() as usize;
            Tensor::from_slice(&crate::uniform(2, name, n, 0.5)).view(shape)
        };
        [of("a", &[8, 8, 3, 3]), of("b", &[8, 1, 3, 3]), of("c", &[8, 5])]
    }

    #[test]
    fn a_compiled_net_equals_the_plain_one() {
        let (xs, weights) = (example(4), weights());
        let plain = net(&xs, &weights);
        for (how, tolerance) in [
            (How { bf16: false, fused: false, alone: false }, 1e-6),
            (How { bf16: false, fused: true, alone: false }, 1e-5),
            (How { bf16: true, fused: false, alone: false }, 2e-2),
            (How { bf16: true, fused: true, alone: false }, 2e-2),
        ] {
            let compiled = Frozen::compile(&xs, how, |xs| net(xs, &weights)).unwrap();
            for xs in [&xs, &channels_last(&(&xs * 0.5))] {
                let (expected, got) = (net(xs, &weights), compiled.run(xs).unwrap());
                assert_eq!((got.kind(), got.size()), (Kind::Float, expected.size()));
                let error = ((&got - &expected).norm() / expected.norm()).double_value(&[]);
                assert!(error < tolerance, "{how:?}: {error}");
            }
            let again = compiled.run(&xs).unwrap();
            assert!(again.equal(&compiled.run(&xs).unwrap()), "{how:?}");
        }
        assert!(plain.equal(&net(&xs, &weights)), "autocast ended with the recording");
    }

    #[test]
    fn one_net_serves_several_threads_at_a_time() {
        let weights = weights();
        for bf16 in [false, true] {
            let how = How { bf16, fused: true, alone: true };
            let compiled = Frozen::compile(&example(4), how, |xs| net(xs, &weights)).unwrap();
            let (a, b) = (example(4), channels_last(&(example(4) * 0.5)));
            let both = || {
                let inputs = [a.shallow_clone(), b.shallow_clone()];
                let net = &compiled;
                crate::side_by_side(inputs.map(|xs| move || net.run(&xs).unwrap()).into())
            };
            let first = both();
            for (xs, got) in [&a, &b].into_iter().zip(&first) {
                let expected = net(xs, &weights);
                let error = ((got - &expected).norm() / expected.norm()).double_value(&[]);
                assert!(error < if bf16 { 2e-2 } else { 1e-5 }, "{error}");
            }
            for _ in 0..20 {
                assert!(both().iter().zip(&first).all(|(got, first)| got.equal(first)), "bit for bit");
            }
            assert!(alone(|| compiled.run(&a).unwrap()).equal(&first[0]), "and so alone");
        }
    }

    #[test]
    fn what_cannot_be_compiled_is_an_error_and_leaves_nothing_behind() {
        let (xs, weights) = (example(2), weights());
        let how = How { bf16: false, fused: true, alone: false };
        let compiled = Frozen::compile(&xs, how, |xs| net(xs, &weights)).unwrap();
        let error = compiled.run(&example(3)).unwrap_err().to_string();
        assert!(error.contains("[2, 8, 12, 12]") && error.contains("[3, 8, 12, 12]"), "{error}");
        let trains = weights[0].set_requires_grad(true);
        let error = Frozen::compile(&xs, how, |xs| net(xs, &weights)).unwrap_err().to_string();
        assert!(error.contains("requires grad") && !error.contains("frame #"), "{error}");
        let _ = trains.set_requires_grad(false);
        let error = Frozen::compile(&xs, how, |_| panic!("on purpose")).unwrap_err().to_string();
        assert_eq!(error, "libtorch: on purpose");
        // The recordings that failed are over.
        assert!(Frozen::compile(&xs, how, |xs| net(xs, &weights)).is_ok());
    }

    #[test]
    fn autocast_ends_where_it_began() {
        let (xs, [a, ..]) = (example(1), weights());
        let conv = || xs.conv2d(&a, None::<Tensor>, [1, 1], [1, 1], [1, 1], 1).kind();
        {
            let _bf16 = Autocast::bf16(true, Device::Cpu);
            assert_eq!(conv(), Kind::BFloat16);
            {
                let _f32 = Autocast::bf16(false, Device::Cpu);
                assert_eq!(conv(), Kind::Float);
            }
            assert_eq!(conv(), Kind::BFloat16);
        }
        assert_eq!(conv(), Kind::Float);
    }
}

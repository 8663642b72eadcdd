//! A step of Adam in one pass over memory.
//!
//! The decision behind it: written out in tensor operations a step reads and writes every parameter about twenty times,
//! which for a large net is a tenth of the whole training step. libtorch has it as one kernel, that tch does not pass on.

#![expect(unsafe_code, reason = "the seam is a C interface")]

use std::ffi::c_char;

use tch::Tensor;
use torch_sys::C_tensor;

use crate::error::TorchError;
use crate::seam::check;

unsafe extern "C" {
    fn tl_adam(
        param: *const C_tensor,
        grad: *const C_tensor,
        mean: *const C_tensor,
        square: *const C_tensor,
        step: f64,
        rate: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        epsilon: f64,
        decoupled: bool,
    ) -> *mut c_char;
}

/// Settings of a step, by the names of Kingma and Ba 2014 (arXiv:1412.6980).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Which step of this parameter it is, from 1.
    pub step: u64,
    /// Learning rate.
    pub rate: f64,
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of their squares.
    pub beta2: f64,
    /// Added to the denominator.
    pub epsilon: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Whether weight decay acts on the weights (AdamW, arXiv:1711.05101) and not on the gradient.
    pub decoupled: bool,
}

/// Changes `param` and the two moments in place.
///
/// # Errors
/// The four tensors differ in shape, layout or type.
pub fn adam(
    param: &Tensor,
    grad: &Tensor,
    (mean, square): (&Tensor, &Tensor),
    with: Adam,
) -> Result<(), TorchError> {
    let Adam { step, rate, beta1, beta2, epsilon, weight_decay, decoupled } = with;
    // SAFETY: the tensors are alive, and the function writes to memory of theirs alone.
    check(unsafe {
        tl_adam(
            param.as_ptr(),
            grad.as_ptr(),
            mean.as_ptr(),
            square.as_ptr(),
            step as f64,
            rate,
            beta1,
            beta2,
            weight_decay,
            epsilon,
            decoupled,
        )
    })
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn one_pass_equals_the_formula_and_other_layouts_are_refused() {
        let of = |name: &str| Tensor::from_slice(&crate::uniform(1, name, 24, 1.0)).view([2, 3, 2, 2]);
        for decoupled in [false, true] {
            let (param, mean, square) = (of("p"), of("m"), of("s").square());
            let (grad, before) = (of("g"), param.copy());
            let with = Adam {
                step: 3,
                rate: 0.1,
                beta1: 0.8,
                beta2: 0.9,
                epsilon: 1e-3,
                weight_decay: 0.2,
                decoupled,
            };
            let decayed = if decoupled { &before * (1.0 - 0.1 * 0.2) } else { before.shallow_clone() };
            let g = if decoupled { grad.copy() } else { &grad + &before * 0.2 };
            let m = &mean * 0.8 + &g * 0.2;
            let s = &square * 0.9 + g.square() * 0.1;
            let bias = |beta: f64| 1.0 - beta.powi(3);
            let expected = decayed - &m / bias(0.8) / ((&s / bias(0.9)).sqrt() + 1e-3) * 0.1;
            let writes = param.internal_version();
            adam(&param, &grad, (&mean, &square), with).unwrap();
            assert!(param.internal_version() > writes, "a step is a write");
            for (got, expected) in [(&param, &expected), (&mean, &m), (&square, &s)] {
                assert!((got - expected).abs().max().double_value(&[]) < 1e-6, "{decoupled}");
            }
            let other = crate::channels_last(&grad);
            let error = adam(&param, &other, (&mean, &square), with).unwrap_err().to_string();
            assert!(error.contains("another layout"), "{error}");
            let other = Tensor::zeros([2, 3], (Kind::Float, Device::Cpu));
            assert!(adam(&param, &grad, (&other, &square), with).is_err());
        }
    }
}

//! A linear layer that does not change any more: its weight laid out as oneDNN reads it, its activation or a sum with
//! another tensor in the same pass.
//!
//! The decision behind it: a compiled net ([`Frozen`](crate::Frozen)) takes one shape, and texts have many. This is the
//! part of compiling that does not depend on the shape.

#![expect(unsafe_code, reason = "the seam is a C interface")]

use std::ffi::{CStr, c_char};
use std::ptr::{null, null_mut};

use tch::{Kind, Tensor};
use torch_sys::C_tensor;

use crate::error::TorchError;
use crate::seam::check;

unsafe extern "C" {
    fn tl_pack_linear(weight: *const C_tensor, rows: i64, packed: *mut *mut C_tensor) -> *mut c_char;
    fn tl_packed_linear(
        xs: *const C_tensor,
        packed: *const C_tensor,
        bias: *const C_tensor,
        act: *const c_char,
        algorithm: *const c_char,
        result: *mut *mut C_tensor,
    ) -> *mut c_char;
    fn tl_packed_linear_add(
        xs: *const C_tensor,
        packed: *const C_tensor,
        bias: *const C_tensor,
        other: *const C_tensor,
        result: *mut *mut C_tensor,
    ) -> *mut c_char;
}

/// What comes behind a packed layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    None,
    /// `max(x, 0)`.
    Relu,
    /// `x · Φ(x)`.
    Gelu,
    /// The same by a hyperbolic tangent.
    GeluTanh,
    /// `x · sigmoid(x)`.
    Silu,
    /// The hyperbolic tangent.
    Tanh,
}

impl Activation {
    /// oneDNN's names of it and of the way it is computed.
    fn names(self) -> (&'static CStr, &'static CStr) {
        match self {
            Self::None => (c"none", c""),
            Self::Relu => (c"relu", c""),
            Self::Gelu => (c"gelu", c"none"),
            Self::GeluTanh => (c"gelu", c"tanh"),
            Self::Silu => (c"swish", c""),
            Self::Tanh => (c"tanh", c""),
        }
    }
}

/// The layer, in f32 or bf16.
#[derive(Debug)]
pub struct PackedLinear {
    weight: Tensor,
    bias: Option<Tensor>,
    kind: Kind,
    act: Activation,
}

// SAFETY: its tensors are its own and are never written to, and libtorch lets threads read a tensor at the same time.
unsafe impl Sync for PackedLinear {}

impl PackedLinear {
    /// Of a weight `[outputs, inputs]` and a bias `[outputs]`, both f32, computed in `kind` (f32 or bf16), for about `rows`
    /// rows at a time. They are copied: what is written to them later does not count.
    ///
    /// # Errors
    /// This libtorch has no oneDNN, or oneDNN cannot compute in that kind here.
    pub fn new(
        weight: &Tensor,
        bias: Option<&Tensor>,
        (kind, act): (Kind, Activation),
        rows: i64,
    ) -> Result<Self, TorchError> {
        let cast = |tensor: &Tensor| tensor.detach().to_kind(kind).contiguous();
        let (weight, bias) = (cast(weight), bias.map(cast));
        let mut packed = null_mut();
        // SAFETY: the tensor is alive, and `packed` is written before it is read.
        check(unsafe { tl_pack_linear(weight.as_ptr(), rows, &raw mut packed) })?;
        // SAFETY: the seam made a tensor that is ours.
        Ok(Self { weight: unsafe { Tensor::from_ptr(packed) }, bias, kind, act })
    }

    /// What it takes and gives.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    fn bias(&self) -> *const C_tensor {
        self.bias.as_ref().map_or(null(), |bias| bias.as_ptr())
    }

    /// `[…, inputs]` to `[…, outputs]`, without gradients, both of its kind.
    ///
    /// # Errors
    /// The input has another width or kind.
    pub fn forward(&self, xs: &Tensor) -> Result<Tensor, TorchError> {
        let (act, algorithm) = self.act.names();
        let mut result = null_mut();
        // SAFETY: tensors and texts are alive, and `result` is written before it is read.
        check(unsafe {
            let (act, algorithm) = (act.as_ptr(), algorithm.as_ptr());
            tl_packed_linear(xs.as_ptr(), self.weight.as_ptr(), self.bias(), act, algorithm, &raw mut result)
        })?;
        // SAFETY: the seam made a tensor that is ours.
        Ok(unsafe { Tensor::from_ptr(result) })
    }

    /// The same plus `other`, `[…, outputs]`, of its kind, for a layer without an activation.
    ///
    /// # Errors
    /// As [`PackedLinear::forward`]; or it has an activation.
    pub fn forward_add(&self, xs: &Tensor, other: &Tensor) -> Result<Tensor, TorchError> {
        if self.act != Activation::None {
            return Err(TorchError::Torch(
                "a packed layer with an activation has no sum behind it".to_owned(),
            ));
        }
        let mut result = null_mut();
        // SAFETY: as above.
        check(unsafe {
            let (xs, weight, other) = (xs.as_ptr(), self.weight.as_ptr(), other.as_ptr());
            tl_packed_linear_add(xs, weight, self.bias(), other, &raw mut result)
        })?;
        // SAFETY: the seam made a tensor that is ours.
        Ok(unsafe { Tensor::from_ptr(result) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(name: &str, shape: &[i64]) -> Tensor {
        let n = shape.iter().product::<i64>() as usize;
        Tensor::from_slice(&crate::uniform(3, name, n, 1.0)).view(shape)
    }

    fn plain(xs: &Tensor, act: Activation) -> Tensor {
        match act {
            Activation::None => xs.shallow_clone(),
            Activation::Relu => xs.relu(),
            Activation::Gelu => xs.gelu("none"),
            Activation::GeluTanh => xs.gelu("tanh"),
            Activation::Silu => xs.silu(),
            Activation::Tanh => xs.tanh(),
        }
    }

    fn off(said: &Tensor, exact: &Tensor) -> f64 {
        ((said.to_kind(Kind::Float) - exact).norm() / exact.norm()).double_value(&[])
    }

    #[test]
    fn equals_the_plain_layer() {
        let weight = values("weight", &[24, 40]);
        let bias = values("bias", &[24]);
        let acts = [
            Activation::None,
            Activation::Relu,
            Activation::Gelu,
            Activation::GeluTanh,
            Activation::Silu,
            Activation::Tanh,
        ];
        for (kind, most) in [(Kind::Float, 1e-6), (Kind::BFloat16, 0.01)] {
            for act in acts {
                for bias in [None, Some(&bias)] {
                    let layer = match PackedLinear::new(&weight, bias, (kind, act), 64) {
                        Ok(layer) => layer,
                        // oneDNN wants wider vectors for it than some processors have.
                        Err(error) if kind == Kind::BFloat16 => {
                            assert!(error.to_string().contains("bf16 path needs"), "{error}");
                            continue;
                        }
                        Err(error) => panic!("{error}"),
                    };
                    assert_eq!(layer.kind(), kind);
                    // Other numbers of rows than it was packed for.
                    for shape in [[1, 1, 40], [3, 7, 40], [2, 100, 40]] {
                        let xs = values("xs", &shape);
                        let exact = plain(&xs.linear(&weight, bias), act);
                        let said = layer.forward(&xs.to_kind(kind)).unwrap();
                        assert_eq!((said.kind(), said.size()), (kind, exact.size()));
                        assert!(off(&said, &exact) < most, "{kind:?} {act:?}: {}", off(&said, &exact));
                        if act == Activation::None {
                            let other = values("other", &exact.size());
                            let said = layer.forward_add(&xs.to_kind(kind), &other.to_kind(kind)).unwrap();
                            assert!(off(&said, &(exact + other)) < most);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let weight = values("weight", &[24, 40]);
        let layer = PackedLinear::new(&weight, None, (Kind::Float, Activation::Relu), 8).unwrap();
        assert!(layer.forward(&values("xs", &[2, 41])).is_err());
        let (xs, other) = (values("xs", &[2, 40]), values("other", &[2, 24]));
        assert!(layer.forward_add(&xs, &other).unwrap_err().to_string().contains("activation"));
    }

    #[test]
    fn later_changes_of_the_weight_do_not_count() {
        let mut weight = values("weight", &[8, 8]);
        let xs = values("xs", &[5, 8]);
        let exact = xs.linear(&weight, None::<&Tensor>);
        let layer = PackedLinear::new(&weight, None, (Kind::Float, Activation::None), 5).unwrap();
        let _ = weight.fill_(0.0);
        assert!(off(&layer.forward(&xs).unwrap(), &exact) < 1e-6);
    }
}

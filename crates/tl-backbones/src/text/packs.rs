//! The linear layers of a text net laid out for passes without gradients. The decision: which layers there are is found in
//! the first pass and not declared, so a net of any family is packed by the code that computes it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tch::{Device, Kind, Tensor};
use tl_torch::{Activation, PackedLinear, TorchError};

/// Tokens of a pass, which oneDNN wants to know when it chooses a layout: 32 texts of 128. Other numbers are computed too.
const ROWS: i64 = 4096;

/// Copies of weights in the layout of oneDNN, in f32 or bf16, for passes on the CPU. They are good as long as the weights
/// of the net are what they were.
#[derive(Debug, Default)]
pub struct Packs {
    bf16: bool,
    /// By the place of their first parameter in the net's store; none where oneDNN has no such layer.
    layers: Mutex<BTreeMap<usize, Option<Arc<PackedLinear>>>>,
}

impl Packs {
    /// Without copies yet: each layer is copied when it is met.
    ///
    /// # Errors
    /// oneDNN has no such layers in that precision on this processor.
    pub fn new(bf16: bool) -> Result<Self, TorchError> {
        let packs = Self { bf16, layers: Mutex::default() };
        let weight = Tensor::zeros([16, 16], (Kind::Float, Device::Cpu));
        PackedLinear::new(&weight, None, (packs.kind(), Activation::None), ROWS)?;
        Ok(packs)
    }

    /// What goes from layer to layer.
    pub(super) fn kind(&self) -> Kind {
        if self.bf16 { Kind::BFloat16 } else { Kind::Float }
    }

    /// The layer whose parameters begin at `place`, made by `make` from a number of rows when it is met first.
    pub(super) fn layer(
        &self,
        place: usize,
        make: impl FnOnce(Kind, i64) -> Option<PackedLinear>,
    ) -> Option<Arc<PackedLinear>> {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        layers.entry(place).or_insert_with(|| make(self.kind(), ROWS).map(Arc::new)).clone()
    }

    /// As [`PackedLinear::forward`]; what oneDNN refuses is left to the plain layer.
    pub(super) fn run(&self, layer: &PackedLinear, xs: &Tensor, other: Option<&Tensor>) -> Option<Tensor> {
        let xs = xs.to_kind(self.kind());
        match other {
            Some(other) => layer.forward_add(&xs, &other.to_kind(self.kind())).ok(),
            None => layer.forward(&xs).ok(),
        }
    }
}

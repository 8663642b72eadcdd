//! A built head: its parameters and its two steps, [`Head::pool`] and [`Head::forward`].

use tch::{Device, Kind, Tensor};
use tl_torch::{Fill, Init, ParamStore, Role, Scope, TorchError, dropout};

use crate::spec::{HeadSpec, Pool};

/// Pooling and dense layers with their parameters (`head.0.weight`, `head.0.bias`, …).
#[derive(Debug)]
pub struct Head {
    /// What it was built from.
    pub spec: HeadSpec,
    /// Probability with which an input of the last layer is dropped in training (Srivastava et al. 2014), `0..1`.
    pub dropout: f64,
    /// Its parameters.
    pub store: ParamStore,
    layers: Vec<Dense>,
}

#[derive(Debug)]
struct Dense {
    weight: Tensor,
    bias: Tensor,
}

impl Head {
    /// Builds the head for feature maps of `features` channels and `side` × `side` positions.
    /// New weights are Glorot-uniform, biases zero, as in Keras's dense layers.
    ///
    /// # Errors
    /// A fault in the head's definition.
    pub fn new(
        spec: HeadSpec,
        (features, side): (i64, i64),
        classes: i64,
        dropout: f64,
        (device, fill): (Device, Fill),
    ) -> Result<Self, TorchError> {
        let inputs = match spec.pool {
            Pool::Average => features,
            Pool::Flatten => features * side * side,
        };
        let mut widths = vec![inputs];
        widths.extend(&spec.hidden);
        widths.push(classes);
        let define = |scope: &Scope<'_>| {
            let head = scope.sub("head");
            widths.windows(2).enumerate().map(|(i, w)| Dense::new(&head.sub(i), w[0], w[1])).collect()
        };
        let (layers, store) = ParamStore::build(device, fill, define)?;
        Ok(Self { spec, dropout, store, layers })
    }

    /// The step without parameters.
    ///
    /// # Shapes
    /// `[N, C, H, W]` to `[N, C]` (average) or `[N, C · H · W]` (flatten, in that order).
    pub fn pool(&self, features: &Tensor) -> Tensor {
        match self.spec.pool {
            Pool::Average => features.mean_dim(&[2i64, 3][..], false, Kind::Float),
            Pool::Flatten => features.contiguous().flatten(1, -1),
        }
    }

    /// The dense layers; with a seed for this step, dropout before the last one.
    ///
    /// # Shapes
    /// Pooled features `[N, D]` to logits `[N, classes]`.
    pub fn forward(&self, pooled: &Tensor, dropout_seed: Option<u64>) -> Tensor {
        let mut xs = pooled.shallow_clone();
        for (i, layer) in self.layers.iter().enumerate() {
            if let Some(seed) = dropout_seed
                && i + 1 == self.layers.len()
                && self.dropout > 0.0
            {
                xs = dropout(&xs, self.dropout, seed);
            }
            xs = xs.linear(&layer.weight, Some(&layer.bias));
            if i + 1 < self.layers.len() {
                xs = xs.relu();
            }
        }
        xs
    }
}

impl Dense {
    fn new(scope: &Scope<'_>, inputs: i64, outputs: i64) -> Self {
        let init = Init::Glorot { fan_in: inputs, fan_out: outputs };
        Self {
            weight: scope.param("weight", &[outputs, inputs], Role::Weight, init),
            bias: scope.param("bias", &[outputs], Role::Bias, Init::Zeros),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(spec: &str, side: i64) -> Head {
        let place = (Device::Cpu, Fill::Seed(1));
        Head::new(spec.parse().unwrap(), (512, side), 1, 0.5, place).unwrap()
    }

    #[test]
    fn sizes_are_those_of_the_tutorials() {
        // Keras: VGG16 base (512 × 7 × 7), Flatten, Dense(256), Dense(1); GAP, Dense(1024), Dense(1).
        assert_eq!(head("flatten-256", 7).store.count(), 512 * 49 * 256 + 256 + 256 + 1);
        assert_eq!(head("gap-1024", 7).store.count(), 512 * 1024 + 1024 + 1024 + 1);
        assert_eq!(head("gap", 7).store.count(), 513);
    }

    #[test]
    fn forward_is_pool_then_dense() {
        let features = Tensor::randn([2, 512, 3, 3], (Kind::Float, Device::Cpu));
        let head = head("gap-16", 3);
        let layer = |i: usize, xs: &Tensor| {
            let get = |name: &str| &head.store.get(&format!("head.{i}.{name}")).unwrap().tensor;
            xs.matmul(&get("weight").tr()) + get("bias")
        };
        let expected = layer(1, &layer(0, &features.mean_dim(&[2i64, 3][..], false, Kind::Float)).relu());
        let got = head.forward(&head.pool(&features), None);
        assert!(got.allclose(&expected, 1e-5, 1e-6, false));
    }

    #[test]
    fn dropout_acts_in_training_only() {
        let pooled = Tensor::ones([4, 512], (Kind::Float, Device::Cpu));
        let head = head("gap", 1);
        assert!(head.forward(&pooled, None).equal(&head.forward(&pooled, None)));
        assert!(!head.forward(&pooled, Some(1)).equal(&head.forward(&pooled, None)));
    }
}

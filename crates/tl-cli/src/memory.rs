//! How much memory a net takes, estimated from its layers. An estimate on the safe side: what libtorch keeps for the
//! backward pass is taken to be every output that is a tensor of its own.

use tl_backbones::Layer;
use tl_finetune::Plan;
use tl_train::Model;

const FLOAT: u64 = size_of::<f32>() as u64;

/// What is known of a net.
#[derive(Clone, Debug)]
pub(crate) struct Net {
    /// Values of all tensors.
    pub(crate) values: u64,
    /// Of those, the ones that train.
    pub(crate) trainable: u64,
    /// Values of the layers' outputs for one image, in forward order.
    pub(crate) outputs: Vec<u64>,
    /// The first layer that trains; none if only the head does.
    pub(crate) first: Option<usize>,
}

impl Net {
    fn weights(&self) -> u64 {
        self.values.saturating_mul(FLOAT)
    }

    fn widest(&self, batch: u64) -> u64 {
        let widest = self.outputs.windows(2).map(|pair| pair[0] + pair[1]).max().unwrap_or(0);
        widest.saturating_mul(FLOAT).saturating_mul(batch)
    }

    /// Weights, and the input and output of a layer.
    pub(crate) fn inference(&self, batch: u64) -> u64 {
        self.weights().saturating_add(self.widest(batch))
    }

    /// Weights, gradients and two moments of what trains, and all outputs from the first layer that trains on.
    pub(crate) fn training(&self, batch: u64) -> u64 {
        let first = self.first.unwrap_or(self.outputs.len());
        let kept: u64 = self.outputs[first..].iter().sum();
        let kept = kept.saturating_mul(FLOAT).saturating_mul(batch).max(self.widest(batch));
        self.weights().saturating_add(3 * self.trainable * FLOAT).saturating_add(kept)
    }
}

/// Values of a layer's output that take memory of their own. A norm behind a convolution is folded into it while it is
/// frozen, and ReLU works in place.
pub(crate) fn output_values(layer: &Layer) -> u64 {
    match layer.kind {
        "BatchNorm2d" | "ReLU" | "ReLU6" | "ZeroPad2d" | "Input" => 0,
        _ => layer.output.iter().product::<i64>().unsigned_abs(),
    }
}

/// The phase of a plan that takes most, and how much that is.
pub(crate) fn most(model: &Model, plan: &Plan, batch: u64) -> Option<(String, u64)> {
    let phases = plan.phases.iter().enumerate();
    let all = phases.map(|(i, phase)| (phase.name.clone(), of_phase(model, plan, i, batch)));
    all.max_by_key(|(_, bytes)| *bytes)
}

/// How much a phase of a plan takes, kept activations not counted.
pub(crate) fn of_phase(model: &Model, plan: &Plan, phase: usize, batch: u64) -> u64 {
    let outputs: Vec<u64> = model.observed.layers.iter().map(output_values).collect();
    let values = model.tensors().map(|param| param.tensor.numel() as u64).sum();
    let phase = &plan.phases[phase];
    let first = phase.layer_rates.iter().position(Option::is_some);
    let net = Net { values, trainable: phase.params as u64, outputs, first };
    // The best weights so far and their moving average are kept beside those that train, and a checkpoint copies all.
    let copies = 1 + u64::from(phase.ema.is_some()) + 4;
    net.training(batch).saturating_add(phase.params as u64 * FLOAT * copies)
}

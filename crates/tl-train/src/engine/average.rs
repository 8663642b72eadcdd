//! The moving average of the weights (Polyak and Juditsky 1992; with a decay a step as in Tarvainen and Valpola 2017,
//! arXiv:1703.01780).
//!
//! The decision behind it: the average follows only what the phase trains and is put in the place of the weights for
//! every validation, so that what is judged is what would be kept. Running statistics stay those of the weights.

use crate::model::Model;

use super::state::{Values, copies, put};

/// The average at the start of a phase: the weights themselves.
pub(super) fn start(model: &Model) -> Values {
    copies(model.tensors().filter(|param| param.tensor.requires_grad()))
}

/// One step after the weights. The first steps count more, `(1 + t) / (10 + t)` being the most that is kept of the
/// average after `t` of them, or a short phase would end near to where it began.
pub(super) fn follow(model: &Model, values: &mut Values, decay: f64, steps: u64) {
    let decay = decay.min((1 + steps) as f64 / (10 + steps) as f64);
    tch::no_grad(|| {
        for param in model.tensors() {
            if let Some(value) = values.get_mut(&param.name) {
                let _ = value.lerp_(&param.tensor, 1.0 - decay);
            }
        }
    });
}

/// Runs `work` with the average in the place of the weights, and puts those back.
pub(super) fn instead<T>(model: &Model, values: Option<&Values>, work: impl FnOnce() -> T) -> T {
    let Some(values) = values else { return work() };
    let raw = copies(model.tensors().filter(|param| values.contains_key(&param.name)));
    put(model, values);
    let result = work();
    put(model, &raw);
    result
}

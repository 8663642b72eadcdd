//! AdamW with its state in our hands (Loshchilov and Hutter 2017, arXiv:1711.05101).
//!
//! libtorch's optimizers, as tch exposes them, can neither save their state nor let go of a parameter. Here the state
//! is a map from parameter names to moments: what joins starts at zero, what leaves is dropped, all can be saved.

use std::collections::BTreeMap;

use tch::Tensor;

/// A parameter that trains in a step.
#[derive(Debug)]
pub struct Target<'a> {
    /// Its name, the key of its state.
    pub name: &'a str,
    /// Its value; its gradient has been computed.
    pub tensor: &'a Tensor,
    /// Learning rate of this step.
    pub rate: f64,
    /// Decoupled weight decay; 0 for biases and norms.
    pub weight_decay: f64,
}

/// Adam with decoupled weight decay; betas 0.9 and 0.999, epsilon 1e-8 as in PyTorch.
#[derive(Debug, Default)]
pub struct AdamW {
    moments: BTreeMap<String, Moments>,
}

#[derive(Debug)]
struct Moments {
    step: i32,
    mean: Tensor,
    square: Tensor,
}

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

impl AdamW {
    /// Forgets the moments of everything that `keeps` does not name.
    pub fn retain(&mut self, keeps: impl Fn(&str) -> bool) {
        self.moments.retain(|name, _| keeps(name));
    }

    /// One update of each target; a target without a gradient is left as it is.
    pub fn step<'a>(&mut self, targets: impl Iterator<Item = Target<'a>>) {
        tch::no_grad(|| targets.for_each(|target| self.update(&target)));
    }

    fn update(&mut self, target: &Target<'_>) {
        let grad = target.tensor.grad();
        if !grad.defined() {
            return;
        }
        let state = self.moments.entry(target.name.to_owned()).or_insert_with(|| Moments {
            step: 0,
            mean: target.tensor.zeros_like(),
            square: target.tensor.zeros_like(),
        });
        state.step += 1;
        let _ = state.mean.lerp_(&grad, 1.0 - BETA1);
        let _ = state.square.g_mul_scalar_(BETA2);
        let _ = state.square.g_add_(&(grad.square() * (1.0 - BETA2)));
        let (correction1, correction2) = (1.0 - BETA1.powi(state.step), 1.0 - BETA2.powi(state.step));
        let denominator = state.square.sqrt() / correction2.sqrt() + EPSILON;
        let mut value = target.tensor.shallow_clone();
        let _ = value.g_mul_scalar_(1.0 - target.rate * target.weight_decay);
        let _ = value.g_sub_(&(&state.mean / denominator * (target.rate / correction1)));
    }
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    #[test]
    fn equals_pytorch() {
        // torch 2.11: p = [1., -2., 0.5]; AdamW(lr=0.1, weight_decay=0.05); loss = (p**3).sum(); 20 steps
        let expected = [-0.240_447_45, -3.818_401_3, -0.913_855_97];
        let mut p = Tensor::from_slice(&[1f32, -2., 0.5]).set_requires_grad(true);
        let mut adam = AdamW::default();
        for _ in 0..20 {
            p.zero_grad();
            p.pow_tensor_scalar(3).sum(Kind::Float).backward();
            adam.step([Target { name: "p", tensor: &p, rate: 0.1, weight_decay: 0.05 }].into_iter());
        }
        let got = Vec::<f32>::try_from(&p).unwrap();
        assert!(got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{got:?}");
    }

    #[test]
    fn what_leaves_is_forgotten() {
        let p = Tensor::from_slice(&[1f32]).set_requires_grad(true);
        p.sum(Kind::Float).backward();
        let mut adam = AdamW::default();
        adam.step([Target { name: "p", tensor: &p, rate: 0.1, weight_decay: 0.0 }].into_iter());
        adam.retain(|name| name != "p");
        assert!(adam.moments.is_empty());
    }
}

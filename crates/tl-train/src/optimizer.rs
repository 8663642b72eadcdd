//! Optimizers as PyTorch defines them, with their state in our hands.
//!
//! libtorch's optimizers, as tch exposes them, can neither save their state nor let go of a parameter. Here the state
//! is a map from parameter names to step counts and tensors: what joins starts at zero, what leaves is dropped, and all
//! can be saved and put back exactly. A step count belongs to a parameter and not to the optimizer, because parameters
//! join in the middle of a run, and the moments of each are corrected for its own age.

use std::collections::BTreeMap;

use tch::Tensor;
use tl_finetune::Optimizer as Rule;

/// A parameter that trains in a step.
#[derive(Debug)]
pub struct Target<'a> {
    /// Its name, the key of its state.
    pub name: &'a str,
    /// Its value; its gradient has been computed.
    pub tensor: &'a Tensor,
    /// Learning rate of this step.
    pub rate: f64,
    /// Weight decay, see [`decouples_weight_decay`](Rule::decouples_weight_decay); 0 for biases and norms.
    pub weight_decay: f64,
}

/// A rule, and what it remembers of each parameter.
///
/// SGD, Adam, AdamW and RMSprop are those of `torch.optim`. Lion is that of its paper (Chen et al. 2023,
/// arXiv:2302.06675) and of timm. LAMB (You et al. 2019, arXiv:1904.00962) is timm's with its clipping of gradients
/// turned off, which is a setting of the phase here: weight decay is part of the step that is scaled by the ratio of
/// norms, and parameters without weight decay are not scaled.
#[derive(Debug)]
pub struct Optimizer {
    rule: Rule,
    states: BTreeMap<String, State>,
}

/// What is remembered of a parameter.
#[derive(Debug, Default)]
struct State {
    steps: u64,
    /// By PyTorch's names, see [`slots`].
    slots: BTreeMap<&'static str, Tensor>,
}

/// State that cannot be put back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Nothing that trains has this name.
    #[error("the state of the optimizer has parameter `{param}`, which the model has not\n\n{HINT}")]
    UnknownParam {
        /// The parameter.
        param: String,
    },
    /// A tensor is missing.
    #[error(
        "the state of the optimizer has no `{slot}` for parameter `{param}`, which {optimizer} needs\n\n{HINT}"
    )]
    Missing {
        /// The parameter.
        param: String,
        /// What is missing.
        slot: &'static str,
        /// Name of the optimizer.
        optimizer: &'static str,
    },
    /// A tensor has another shape or type than the parameter.
    #[error(
        "the state of the optimizer has `{slot}` for parameter `{param}` as {got}, expected {expected}\n\n{HINT}"
    )]
    Misshapen {
        /// The parameter.
        param: String,
        /// Which tensor.
        slot: &'static str,
        /// Its shape and type.
        got: String,
        /// Those of the parameter.
        expected: String,
    },
}

const HINT: &str = "hint: state fits the run that saved it, with the same net, head and optimizer";

const MOMENTUM: &str = "momentum_buffer";
const MEAN: &str = "exp_avg";
const SQUARE: &str = "exp_avg_sq";
const MEAN_SQUARE: &str = "square_avg";

/// What a rule remembers of a parameter, besides its steps.
fn slots(rule: Rule) -> &'static [&'static str] {
    match rule {
        Rule::Sgd { momentum, .. } if momentum > 0.0 => &[MOMENTUM],
        Rule::Sgd { .. } => &[],
        Rule::Adam { .. } | Rule::AdamW { .. } | Rule::Lamb { .. } => &[MEAN, SQUARE],
        Rule::RmsProp { momentum, .. } if momentum > 0.0 => &[MEAN_SQUARE, MOMENTUM],
        Rule::RmsProp { .. } => &[MEAN_SQUARE],
        Rule::Lion { .. } => &[MEAN],
    }
}

impl Optimizer {
    /// One that remembers nothing yet.
    #[must_use]
    pub fn new(rule: Rule) -> Self {
        Self { rule, states: BTreeMap::new() }
    }

    /// The rule.
    #[must_use]
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// Goes on by another rule. What is remembered is kept if the two differ in their settings only.
    pub fn set_rule(&mut self, rule: Rule) {
        if rule.name() != self.rule.name() {
            self.states.clear();
        }
        for state in self.states.values_mut() {
            state.slots.retain(|slot, _| slots(rule).contains(slot));
        }
        self.rule = rule;
    }

    /// Forgets everything that `keeps` does not name.
    pub fn retain(&mut self, keeps: impl Fn(&str) -> bool) {
        self.states.retain(|name, _| keeps(name));
    }

    /// One update of each target; a target without a gradient is left as it is. `momentum` takes the place of the rule's
    /// own momentum, or first decay, for this step, as in [`with_momentum`](Rule::with_momentum).
    pub fn step<'a>(&mut self, targets: impl Iterator<Item = Target<'a>>, momentum: Option<f64>) {
        let rule = momentum.map_or(self.rule, |momentum| self.rule.with_momentum(momentum));
        tch::no_grad(|| {
            for target in targets {
                let grad = target.tensor.grad();
                if grad.defined() {
                    self.states.entry(target.name.to_owned()).or_default().update(rule, &target, &grad);
                }
            }
        });
    }

    /// Everything remembered in tensors: name of the parameter, PyTorch's name of what it is, and the tensor, which has
    /// the shape of the parameter. Sorted.
    pub fn state(&self) -> impl Iterator<Item = (&str, &'static str, &Tensor)> {
        self.states
            .iter()
            .flat_map(|(name, state)| state.slots.iter().map(|(slot, tensor)| (name.as_str(), *slot, tensor)))
    }

    /// How many steps each parameter has taken, by its name. Parameters that are not here have no state.
    pub fn steps(&self) -> impl Iterator<Item = (&str, u64)> {
        self.states.iter().map(|(name, state)| (name.as_str(), state.steps))
    }

    /// Puts back what [`Optimizer::state`] and [`Optimizer::steps`] gave, in place of everything there is. `params` has
    /// all parameters that may be in it, `slot` gives the tensor by name of the parameter and of what it is.
    ///
    /// # Errors
    /// A parameter is not there, a tensor is missing, or has another shape or type than its parameter. Nothing is changed
    /// then.
    pub fn restore<'a>(
        &mut self,
        params: impl Iterator<Item = (&'a str, &'a Tensor)>,
        steps: &BTreeMap<String, u64>,
        slot: impl Fn(&str, &str) -> Option<Tensor>,
    ) -> Result<(), StateError> {
        let params: BTreeMap<&str, &Tensor> = params.collect();
        let restored = steps.iter().map(|(name, steps)| {
            let param = name.clone();
            let Some(like) = params.get(name.as_str()) else {
                return Err(StateError::UnknownParam { param });
            };
            let tensors = slots(self.rule).iter().map(|&key| {
                let Some(saved) = slot(name, key) else {
                    let (param, slot, optimizer) = (param.clone(), key, self.rule.name());
                    return Err(StateError::Missing { param, slot, optimizer });
                };
                Ok((key, copy_like(like, &saved, (&param, key))?))
            });
            Ok((param.clone(), State { steps: *steps, slots: tensors.collect::<Result<_, _>>()? }))
        });
        self.states = restored.collect::<Result<_, _>>()?;
        Ok(())
    }
}

/// A copy of `saved` with the device and the layout in memory of `like`, since sums depend on the latter in their last
/// digits.
fn copy_like(
    like: &Tensor,
    saved: &Tensor,
    (param, slot): (&str, &'static str),
) -> Result<Tensor, StateError> {
    let of = |tensor: &Tensor| (tensor.size(), tensor.kind());
    if of(saved) != of(like) {
        let text = |tensor: &Tensor| format!("{:?} {:?}", tensor.size(), tensor.kind());
        let (got, expected) = (text(saved), text(like));
        return Err(StateError::Misshapen { param: param.to_owned(), slot, got, expected });
    }
    Ok(tch::no_grad(|| {
        let mut copy = like.zeros_like();
        copy.copy_(saved);
        copy
    }))
}

impl State {
    /// A tensor of the state, of zeros if it is new; laid out as the parameter, whatever the gradient is. What is done to
    /// the tensor is done to the state.
    fn slot(&mut self, name: &'static str, param: &Tensor) -> Tensor {
        self.slots.entry(name).or_insert_with(|| param.zeros_like()).shallow_clone()
    }

    fn update(&mut self, rule: Rule, target: &Target<'_>, grad: &Tensor) {
        self.steps += 1;
        if self.fused_adam(rule, target, grad) {
            return;
        }
        let Target { rate, weight_decay, .. } = *target;
        let mut value = target.tensor.shallow_clone();
        let coupled = !rule.decouples_weight_decay() && weight_decay != 0.0;
        let grad = &(if coupled { grad + &value * weight_decay } else { grad.shallow_clone() });
        let both = (target.tensor, grad);
        let direction = match rule {
            Rule::Sgd { momentum, nesterov } => self.descent(both, momentum, nesterov),
            Rule::Adam { beta1, beta2, epsilon } => self.adam(both, (beta1, beta2), epsilon),
            Rule::AdamW { beta1, beta2, epsilon } => {
                let _ = value.g_mul_scalar_(1.0 - rate * weight_decay);
                self.adam(both, (beta1, beta2), epsilon)
            }
            Rule::RmsProp { alpha, epsilon, momentum } => self.rms_prop(both, alpha, epsilon, momentum),
            Rule::Lamb { beta1, beta2, epsilon } => {
                let direction = self.adam(both, (beta1, beta2), epsilon);
                if weight_decay == 0.0 {
                    direction
                } else {
                    trusted(&value, direction + &value * weight_decay)
                }
            }
            Rule::Lion { beta1, beta2 } => {
                let _ = value.g_mul_scalar_(1.0 - rate * weight_decay);
                self.lion(both, beta1, beta2)
            }
        };
        let _ = value.g_sub_(&(direction * rate));
    }

    /// Adam and AdamW in one pass over memory; `false` if that cannot be, with nothing changed.
    fn fused_adam(&mut self, rule: Rule, target: &Target<'_>, grad: &Tensor) -> bool {
        let (Rule::Adam { beta1, beta2, epsilon } | Rule::AdamW { beta1, beta2, epsilon }) = rule else {
            return false;
        };
        let param = target.tensor;
        let (mean, square) = (self.slot(MEAN, param), self.slot(SQUARE, param));
        // A gradient of another layout is brought into that of the parameter.
        let grad = match grad.stride() == param.stride() {
            true => grad.shallow_clone(),
            false => {
                let mut same = param.zeros_like();
                same.copy_(grad);
                same
            }
        };
        let with = tl_torch::Adam {
            step: self.steps,
            rate: target.rate,
            beta1,
            beta2,
            epsilon,
            weight_decay: target.weight_decay,
            decoupled: rule.decouples_weight_decay(),
        };
        tl_torch::adam(param, &grad, (&mean, &square), with).is_ok()
    }

    fn descent(&mut self, (param, grad): (&Tensor, &Tensor), momentum: f64, nesterov: bool) -> Tensor {
        if momentum == 0.0 {
            return grad.shallow_clone();
        }
        let buffer = self.slot(MOMENTUM, param).g_mul_scalar_(momentum).g_add_(grad);
        if nesterov { grad + buffer * momentum } else { buffer }
    }

    fn adam(
        &mut self,
        (param, grad): (&Tensor, &Tensor),
        (beta1, beta2): (f64, f64),
        epsilon: f64,
    ) -> Tensor {
        let mean = self.slot(MEAN, param).lerp_(grad, 1.0 - beta1);
        let square = self.mean_square(SQUARE, (param, grad), beta2);
        let power = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let (correction1, correction2) = (1.0 - beta1.powi(power), 1.0 - beta2.powi(power));
        let mut denominator = square.sqrt();
        let _ = denominator.g_div_scalar_(correction2.sqrt());
        let _ = denominator.g_add_scalar_(epsilon);
        mean / denominator / correction1
    }

    fn rms_prop(
        &mut self,
        (param, grad): (&Tensor, &Tensor),
        alpha: f64,
        epsilon: f64,
        momentum: f64,
    ) -> Tensor {
        let square = self.mean_square(MEAN_SQUARE, (param, grad), alpha);
        let scaled = grad / (square.sqrt() + epsilon);
        if momentum == 0.0 {
            return scaled;
        }
        self.slot(MOMENTUM, param).g_mul_scalar_(momentum).g_add_(&scaled)
    }

    fn lion(&mut self, (param, grad): (&Tensor, &Tensor), beta1: f64, beta2: f64) -> Tensor {
        let mut mean = self.slot(MEAN, param);
        let direction = mean.lerp(grad, 1.0 - beta1).sign();
        let _ = mean.lerp_(grad, 1.0 - beta2);
        direction
    }

    fn mean_square(&mut self, name: &'static str, (param, grad): (&Tensor, &Tensor), decay: f64) -> Tensor {
        self.slot(name, param).g_mul_scalar_(decay).g_add_(&(grad.square() * (1.0 - decay)))
    }
}

/// The direction as long as the value is; as it is where one of the two is zero. Without reading the norms, which would
/// wait for an accelerator.
fn trusted(value: &Tensor, direction: Tensor) -> Tensor {
    let (of_value, of_direction) = (value.norm(), direction.norm());
    let both = of_value.gt(0.0).logical_and(&of_direction.gt(0.0));
    let ratio = (&of_value / &of_direction).where_self(&both, &of_value.ones_like());
    direction * ratio
}

#[cfg(test)]
#[path = "optimizer_tests.rs"]
mod tests;

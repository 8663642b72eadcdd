//! A head in the words of transformers' classes with a head, as far as they go.
//!
//! The decision behind it: such a class has a dense layer of the net's width between the first token and the classes. A
//! model without one still is of that class if the layer passes on what the next one needs: the logits themselves, small
//! enough for a hyperbolic tangent to be a straight line in f32, or with both signs, of which a ReLU and a GELU leave the
//! sum as it was.

use tch::{Kind, Tensor};
use tl_backbones::text::{Family, TextConfig};
use tl_data::TargetStats;
use tl_heads::{Activation, Part, Pool, Task};
use tl_train::Model;

use super::refusal;
use crate::error::ExportError;

/// What batch-norms of heads add to the variance.
const EPS: f64 = 1e-5;
/// So small are logits that pass a hyperbolic tangent: of one of 20 no more than half a millionth is lost. A power of 2,
/// so that nothing is rounded on the way.
const SMALL: f64 = 1.0 / 16384.0;

/// A dense layer, with the batch-norms before it folded in; f64.
#[derive(Debug)]
pub(super) struct Layer {
    /// `[outputs, inputs]`.
    pub(super) weight: Tensor,
    /// `[outputs]`.
    pub(super) bias: Tensor,
    pub(super) activation: Activation,
}

/// What a class has beside the net.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) tensors: Vec<(String, Tensor)>,
    /// Whether it is one for tokens.
    pub(super) token: bool,
    pub(super) passes_on: bool,
}

/// The layers of a head. The last one leaves numbers as they were learned; [`in_units`] is what is missing.
pub(super) fn layers(model: &Model) -> Result<Vec<Layer>, ExportError> {
    let tensor = |name: String| match model.head.store.get(&name) {
        Some(param) => Ok(param.tensor.detach().to_kind(Kind::Double)),
        None => Err(refusal(format!("its head has no `{name}`"), super::OTHERWISE)),
    };
    let (mut layers, mut norms) = (Vec::new(), 0);
    // What stands before the next dense layer: x · scale + shift.
    let mut before: Option<(Tensor, Tensor)> = None;
    let last = Part::Dense { width: model.task.outputs(), activation: Activation::None };
    for part in model.head.spec.parts().iter().chain([&last]) {
        match *part {
            Part::Dropout(_) => {}
            Part::BatchNorm => {
                let of = |word: &str| tensor(format!("head.bn{norms}.{word}"));
                let scale = of("weight")? / (of("running_var")? + EPS).sqrt();
                let shift = of("bias")? - of("running_mean")? * &scale;
                norms += 1;
                before = Some(match before {
                    None => (scale, shift),
                    Some((s, t)) => (&scale * s, &scale * t + shift),
                });
            }
            Part::Dense { activation, .. } => {
                let i = layers.len();
                let (weight, bias) = (tensor(format!("head.{i}.weight"))?, tensor(format!("head.{i}.bias"))?);
                let layer = match before.take() {
                    None => Layer { weight, bias, activation },
                    Some((scale, shift)) => {
                        let bias = bias + weight.mv(&shift);
                        Layer { weight: weight * scale, bias, activation }
                    }
                };
                layers.push(layer);
            }
        }
    }
    Ok(layers)
}

/// What the outputs of a head say in the words of others: numbers in their own units, and two classes by one output as
/// two logits of which the first is 0. A matrix and a shift.
fn in_units(model: &Model) -> (Tensor, Tensor) {
    let n = model.task.outputs();
    let eye = Tensor::eye(n, (Kind::Double, model.device));
    let zeros = Tensor::zeros([n], (Kind::Double, model.device));
    let of = |values: &[f64]| Tensor::from_slice(values).to_device(model.device);
    match (model.task, &model.target_stats) {
        (Task::Binary, _) => (of(&[0.0, 1.0]).view([2, 1]), of(&[0.0, 0.0])),
        (_, Some(TargetStats { mean, std })) => (eye * of(std).unsqueeze(1), of(mean)),
        _ => (eye, zeros),
    }
}

/// A layer behind which its outputs are said in the words of others.
pub(super) fn said(model: &Model, layer: &Layer) -> Layer {
    let (matrix, shift) = in_units(model);
    let bias = matrix.mv(&layer.bias) + shift;
    Layer { weight: matrix.matmul(&layer.weight), bias, activation: layer.activation }
}

/// The activation of the dense layer that a family's class has, and the names of it and of the layer of classes.
fn class_of(family: Family) -> Option<(Activation, &'static str, &'static str)> {
    match family {
        Family::Bert => Some((Activation::Tanh, "bert.pooler.dense", "classifier")),
        Family::Albert => Some((Activation::Tanh, "albert.pooler", "classifier")),
        Family::Roberta | Family::XlmRoberta | Family::Camembert => {
            Some((Activation::Tanh, "classifier.dense", "classifier.out_proj"))
        }
        Family::Electra => Some((Activation::Gelu, "classifier.dense", "classifier.out_proj")),
        Family::DistilBert => Some((Activation::Relu, "pre_classifier", "classifier")),
        // Its class has no bias, and reads the last token by an id.
        Family::Gpt2 => None,
        // Its class has a decoder.
        Family::T5 | Family::Mt5 => None,
    }
}

/// The head as transformers' class has it, if it has it.
pub(super) fn published_head(
    model: &Model,
    config: &TextConfig,
    layers: &[Layer],
) -> Result<Option<Published>, ExportError> {
    let named = |name: &str, layer: &Layer| {
        [
            (format!("{name}.weight"), layer.weight.shallow_clone()),
            (format!("{name}.bias"), layer.bias.shallow_clone()),
        ]
    };
    if model.head.spec.pool == Pool::Tokens {
        let [only] = layers else {
            return Err(refusal(
                format!(
                    "its head `{}` has hidden layers, and transformers' class for tokens has none",
                    model.head.spec
                ),
                super::OTHERWISE,
            ));
        };
        let tensors = named("classifier", &said(model, only)).into();
        return Ok(Some(Published { tensors, token: true, passes_on: false }));
    }
    let Some((activation, dense, classes)) = class_of(config.family) else { return Ok(None) };
    if model.head.spec.pool != Pool::Class {
        return Ok(None);
    }
    let (first, second, passes_on) = match layers {
        [first, second] if first.activation == activation && first.bias.size() == [config.width] => {
            let first =
                Layer { weight: first.weight.shallow_clone(), bias: first.bias.shallow_clone(), activation };
            (first, said(model, second), false)
        }
        // Numbers as large as they come are no straight line.
        [only] if model.target_stats.is_some() || !matches!(model.task, Task::Regression { .. }) => {
            match passing_on(only, activation, config.width) {
                Some((first, second)) => (first, said(model, &second), true),
                None => return Ok(None),
            }
        }
        _ => return Ok(None),
    };
    let tensors = named(dense, &first).into_iter().chain(named(classes, &second)).collect();
    Ok(Some(Published { tensors, token: false, passes_on }))
}

/// One layer as two with an activation between them, the first of `width` outputs; none where they are too few.
fn passing_on(only: &Layer, activation: Activation, width: i64) -> Option<(Layer, Layer)> {
    let outputs = only.bias.size()[0];
    let options = (Kind::Double, only.weight.device());
    let eye = Tensor::eye(outputs, options);
    let (weight, bias, back) = match activation {
        Activation::Tanh => (&only.weight * SMALL, &only.bias * SMALL, eye / SMALL),
        _ => {
            // f(z) − f(−z) is z.
            let both = |xs: &Tensor| Tensor::cat(&[xs, &xs.neg()], 0);
            (both(&only.weight), both(&only.bias), Tensor::cat(&[&eye, &eye.neg()], 1))
        }
    };
    let used = bias.size()[0];
    let rest = width - used;
    if rest < 0 {
        return None;
    }
    let first = Layer {
        weight: weight.constant_pad_nd([0, 0, 0, rest]),
        bias: bias.constant_pad_nd([0, rest]),
        activation,
    };
    let second = Layer {
        weight: back.constant_pad_nd([0, rest]),
        bias: Tensor::zeros([outputs], options),
        activation: Activation::None,
    };
    Some((first, second))
}

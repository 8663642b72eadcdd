//! Grad-CAM against pytorch-grad-cam (`tests/golden/make_explain.py` at the top of the project), and on every kind of net.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are part of it")]

use serde::Deserialize;
use tch::{Device, Tensor};
use tl_backbones::{Backbone, CARDS, find};
use tl_data::Preprocess;
use tl_heads::{HeadSpec, Pool, Task};
use tl_torch::{Fill, ParamStore, channels_last};
use tl_train::{Model, NewHead, Place, TrainError, grad_cam};

#[derive(Deserialize)]
struct Case {
    card: String,
    layer: String,
    input: Vec<i64>,
    class: usize,
    logits: Vec<f64>,
    map: Vec<usize>,
    values: Vec<f32>,
}

/// The formulas of the script.
fn wave(name: &str, shape: &[i64], value: impl Fn(f64) -> f64) -> Tensor {
    const PERIOD: u64 = 7919;
    let phase: u64 = name.bytes().enumerate().map(|(i, b)| (i as u64 + 1) * u64::from(b)).sum();
    let one = |i: u64| value(((phase % 997) as f64 + 0.7 * i as f64).sin()) as f32;
    let table: Vec<f32> = (0..PERIOD).map(one).collect();
    let n = shape.iter().product::<i64>() as u64;
    let values: Vec<f32> = (0..n).map(|i| table[(i * i % PERIOD) as usize]).collect();
    Tensor::from_slice(&values).view(shape)
}

fn fill(store: &ParamStore) {
    for param in store.iter() {
        let (name, shape) = (param.name.as_str(), param.tensor.size());
        let fan_in: i64 = shape[1..].iter().product();
        let (offset, scale) = match name {
            _ if name.ends_with("running_var") => (1.0, 0.2),
            _ if name.ends_with("running_mean") || name.ends_with("bias") => (0.0, 0.1),
            "cls_token" | "pos_embed" => (0.0, 0.5),
            _ if shape.len() == 1 => (1.0, 0.1),
            _ => (0.0, (4.0 / fan_in as f64).sqrt()),
        };
        store.set(name, &wave(name, &shape, |w| offset + scale * w)).unwrap();
    }
}

fn model(card: &str, pool: &str, task: Task, size: u32) -> Model {
    let backbone = Backbone::new(find(card).unwrap(), Device::Cpu, Fill::Seed(1)).unwrap();
    let spec: HeadSpec = pool.parse().unwrap();
    let names = (0..task.names()).map(|i| i.to_string()).collect();
    let head = NewHead { spec, task, dropout: 0.0, fill: Fill::Seed(1) };
    Model::new(backbone, head, names, Preprocess::imagenet(size), Device::Cpu).unwrap()
}

#[test]
fn maps_are_those_of_pytorch_grad_cam() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("data/explain.json")).unwrap();
    assert!(cases.len() >= 12);
    let mut filled: Option<(String, Model)> = None;
    for case in cases {
        let Case { card, layer, input, class, logits, map, values } = case;
        if filled.as_ref().is_none_or(|(name, _)| *name != card) {
            let pool = if card.starts_with("vit") { "cls" } else { "gap" };
            let model = model(&card, pool, Task::Softmax { classes: 3 }, 64);
            fill(&model.backbone.store);
            fill(&model.head.store);
            filled = Some((card.clone(), model));
        }
        let model = &filled.as_ref().unwrap().1;
        let xs = channels_last(&wave("input", &input, |w| w));
        let place = match layer.as_str() {
            "" => Place::usual(&model.backbone),
            layer => Place::find(&model.backbone, layer).unwrap(),
        };
        let got = model.logits(&xs, 0);
        for (i, expected) in logits.iter().enumerate() {
            let logit = got.double_value(&[i as i64, class as i64]);
            assert!((logit - expected).abs() < 1e-3 * expected.abs().max(1.0), "{card}: {logit} {expected}");
        }
        let heats = grad_cam(model, &xs, place, &vec![Some(class); input[0] as usize]).unwrap();
        let flat: Vec<f32> = heats.iter().flat_map(|heat| heat.values.clone()).collect();
        assert_eq!((heats.len(), heats[0].height, heats[0].width), (map[0], map[1], map[2]), "{card}");
        let peak = values.iter().copied().fold(0.0, f32::max);
        let worst = flat.iter().zip(&values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst <= 2e-3 * peak, "{card} {layer} {class}: {worst} of {peak}");
        let sum: f64 = model.answers(&got)[0].iter().map(|p| f64::from(*p)).sum();
        assert!((sum - 1.0).abs() < 1e-5);
    }
}

/// Of every family: nets of more than 30 million weights are deeper or wider ones of the same blocks.
#[test]
fn every_kind_of_net_has_a_map() {
    for card in CARDS.iter().filter(|card| card.params < 30_000_000) {
        let size = card.min_size.max(64).next_multiple_of(card.multiple());
        let pool = if card.tokens.is_some() { Pool::Class } else { Pool::Average };
        let spec = HeadSpec::from(pool).to_string();
        let model = model(card.name, &spec, Task::Binary, size);
        let side = i64::from(size);
        let xs = channels_last(&wave("input", &[2, 3, side, side], |w| w));
        let before: Vec<Tensor> = model.tensors().map(|param| param.tensor.copy()).collect();
        let place = Place::usual(&model.backbone);
        let [against, of] = [0, 1].map(|class| grad_cam(&model, &xs, place, &[Some(class); 2]).unwrap());
        let logits = model.logits(&xs, 0);
        for (i, (against, of)) in against.iter().zip(&of).enumerate() {
            let cells = of.height * of.width;
            assert!(cells >= 1 && of.values.len() == cells && against.values.len() == cells, "{}", card.name);
            assert!(of.peak() + against.peak() > 0.0, "{}", card.name);
            let sum = |map: &[f32]| map.iter().map(|value| f64::from(*value)).sum::<f64>();
            let (sum, logit) = (sum(&of.values) - sum(&against.values), logits.double_value(&[i as i64, 0]));
            match card.tokens {
                Some(tokens) => assert_eq!(of.width as u32, size / tokens.patch, "{}", card.name),
                // The head is linear on the mean over the map: what speaks for and against adds up to the answer.
                None if card.neck.is_none() => {
                    assert!(
                        (sum - logit).abs() < 1e-3 * logit.abs().max(0.01),
                        "{}: {sum} {logit}",
                        card.name
                    );
                }
                None => assert!(sum.is_finite(), "{}", card.name),
            }
        }
        let same = model.tensors().zip(&before).all(|(param, before)| param.tensor.equal(before));
        assert!(same && model.tensors().all(|param| !param.tensor.grad().defined()), "{}", card.name);
    }
}

#[test]
fn what_is_asked_about_decides_the_map() {
    let xs = channels_last(&wave("input", &[1, 3, 64, 64], |w| w));
    let of = |model: &Model, name| {
        grad_cam(model, &xs, Place::usual(&model.backbone), &[name]).map(|heats| heats[0].clone())
    };
    // One output for two classes: what speaks for one speaks against the other.
    let two = model("resnet18", "gap", Task::Binary, 64);
    let (first, second) = (of(&two, Some(0)).unwrap(), of(&two, Some(1)).unwrap());
    assert!(first.values.iter().zip(&second.values).all(|(a, b)| *a == 0.0 || *b == 0.0));
    assert!(first.peak() > 0.0 || second.peak() > 0.0);
    assert!((first.answer + second.answer - 1.0).abs() < 1e-6);
    let said = of(&two, None).unwrap();
    assert_eq!(said.name, usize::from(second.answer > first.answer));
    let numbers = model("resnet18", "flatten-8", Task::Regression { targets: 2 }, 64);
    assert_eq!(of(&numbers, None).unwrap().name, 0);
    assert!(matches!(of(&numbers, Some(2)), Err(TrainError::Explain { .. })));
    let error = Place::find(&two.backbone, "layer9").unwrap_err().to_string();
    assert!(error.contains("`layer9`") && error.contains("stem, stage1"), "{error}");
    let early = Place::find(&two.backbone, "stage1").unwrap();
    let fine = grad_cam(&two, &xs, early, &[None]).unwrap();
    assert_eq!((fine[0].height, early.name(&two.backbone)), (16, "layer1.1"));
}

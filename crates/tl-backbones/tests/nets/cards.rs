//! What must hold for every net in the table, checked without any code of its own.

use std::collections::{BTreeMap, BTreeSet};

use tch::{Device, Kind, Tensor};
use tl_backbones::{Backbone, CARDS, Card, Mode, NormMode, Observed, find};
use tl_torch::{Fill, Role};

/// The shapes alone.
fn shapes_of(card: &'static Card) -> Backbone {
    Backbone::new(card, Device::Cpu, Fill::Shapes).unwrap()
}

/// With weights that a step can change.
fn build(card: &'static Card) -> Backbone {
    let net = Backbone::new(card, Device::Cpu, Fill::Later).unwrap();
    crate::formula::fill(&net.store);
    net
}

fn image(side: i64) -> Tensor {
    crate::formula::image(&[4, 3, side, side])
}

#[test]
fn names_are_unique_and_kebab_case() {
    let names: BTreeSet<&str> = CARDS.iter().map(|card| card.name).collect();
    assert_eq!(names.len(), CARDS.len());
    let kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    assert!(names.iter().all(|name| name.chars().all(kebab)));
    for card in CARDS {
        let weights: BTreeSet<&str> = card.weights.iter().map(|weights| weights.name).collect();
        assert_eq!(weights.len(), card.weights.len(), "{}", card.name);
        assert!(!weights.is_empty(), "{}", card.name);
    }
}

#[test]
fn declared_sizes_are_true() {
    let mut wrong = Vec::new();
    for card in CARDS {
        let net = shapes_of(card);
        let size = card.input().size;
        let Observed { layers, shapes } = net.observe(size);
        for (stage, pair) in net.stages.iter().zip(shapes.windows(2)) {
            let place = format!("{} {} {pair:?}", card.name, stage.name);
            match (&pair[0][..], &pair[1][..]) {
                ([_, side, _], [channels, got, _]) => {
                    // Convolutions without padding take a few rows.
                    assert!((side / stage.stride - got).abs() <= 3, "{place}");
                    assert_eq!(*channels, stage.out_channels, "{place}");
                }
                ([_, side, _], [tokens, channels]) => {
                    let patches = (side / stage.stride) * (side / stage.stride);
                    assert_eq!((*tokens, *channels), (patches + 1, stage.out_channels), "{place}");
                }
                (before, after) => assert_eq!(before, after, "{place}"),
            }
        }
        assert_eq!(net.stages.last().unwrap().out_channels, card.features, "{}", card.name);
        let macs: u64 = layers.iter().map(|layer| layer.macs).sum();
        if (net.store.count(), macs) != (card.params, card.macs) {
            wrong.push(format!("{}: {} parameters, {macs} MACs", card.name, net.store.count()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn layers_have_unique_names_and_all_parameters() {
    for card in CARDS {
        let net = shapes_of(card);
        let layers = net.observe(small(card) as u32).layers;
        let names: BTreeSet<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
        assert_eq!(names.len(), layers.len(), "{}", card.name);
        let mut owners = vec![0; net.store.iter().len()];
        for layer in &layers {
            let stage = &net.stages[layer.stage];
            let block = stage.block_params(layer.block);
            for i in layer.params.clone() {
                owners[i] += 1;
                assert!(block.contains(&i), "{} {}: not in its block", card.name, layer.name);
            }
        }
        assert!(owners.iter().all(|owners| *owners == 1), "{}: {owners:?}", card.name);
    }
}

#[test]
fn every_parameter_is_in_exactly_one_stage() {
    for card in CARDS {
        let net = shapes_of(card);
        let mut next = 0;
        for stage in &net.stages {
            assert_eq!(stage.params().start, next, "{} {}", card.name, stage.name);
            assert!(!stage.params().is_empty() && stage.blocks().count() > 0, "{} {}", card.name, stage.name);
            let blocks: usize = (0..stage.blocks().count()).map(|i| stage.block_params(i).len()).sum();
            assert_eq!(blocks, stage.params().len(), "{} {}", card.name, stage.name);
            next = stage.params().end;
        }
        assert_eq!(next, net.store.iter().len(), "{}", card.name);
        let names: BTreeSet<&str> = net.stages.iter().map(|stage| &*stage.name).collect();
        assert_eq!(names.len(), net.stages.len(), "{}", card.name);
    }
}

/// A side that the net takes, about 40 pixels.
pub(crate) fn small(card: &Card) -> i64 {
    i64::from(card.min_size.max(40 / card.multiple() * card.multiple()))
}

/// Fixed numbers of that shape: what a norm evens out must not cancel in the sum.
fn weights(xs: &Tensor) -> Tensor {
    Tensor::arange(xs.numel() as i64, (Kind::Float, Device::Cpu)).sin().view(&xs.size()[..])
}

/// One step of plain gradient descent with batch statistics, in the layers whose tensors `trains` says.
fn step(net: &Backbone, trains: &[bool]) {
    for (param, trains) in net.store.iter().zip(trains) {
        let _ = param.tensor.set_requires_grad(*trains && param.role != Role::Buffer);
    }
    let mode = |i: usize| match trains[net.stages[i].params()].contains(&true) {
        true => Mode { norm: NormMode::Batch, layers: Some(trains), ..Mode::EVAL },
        false => Mode::EVAL,
    };
    let features = net.forward(&image(small(net.card().unwrap())), 0..net.stages.len(), mode);
    // The neck comes after pooling, and only there.
    let pooled = match features.dim() {
        4 => features.mean_dim(&[2i64, 3][..], false, Kind::Float),
        _ => features,
    };
    (net.neck(&pooled) * weights(&pooled)).sum(Kind::Float).backward();
    for param in net.store.iter().filter(|param| param.tensor.requires_grad()) {
        let mut tensor = param.tensor.shallow_clone();
        let _ = tch::no_grad(|| tensor.g_sub_(&(tensor.grad() * 0.1)));
        tensor.zero_grad();
    }
}

/// Takes a step and checks that exactly what was to stay has stayed, bit for bit, running statistics included.
fn check_frozen(net: &Backbone, before: &BTreeMap<String, Tensor>, trains: &[bool], place: &str) {
    step(net, trains);
    let mut moved = false;
    for (param, trains) in net.store.iter().zip(trains) {
        let old = &before[&param.name];
        let same = param.tensor.equal(old);
        assert!(*trains || same, "{} {place}: {} changed", net.name(), param.name);
        // Not each of them: what lies behind a ReLU that is shut has no gradient.
        moved |= !same && param.role != Role::Buffer;
        if !same {
            net.store.set(&param.name, old).unwrap();
        }
    }
    assert!(moved, "{} {place}: nothing trained", net.name());
}

/// From every boundary; and a block in the middle alone, with what comes before it in its stage and after it frozen.
#[test]
fn what_is_frozen_stays_bit_identical() {
    for card in CARDS {
        let net = build(card);
        let before = net.store.snapshot();
        let all = net.store.iter().len();
        for stage in &net.stages {
            let trains: Vec<bool> = (0..all).map(|i| i >= stage.params().start).collect();
            check_frozen(&net, &before, &trains, &format!("from {}", stage.name));
        }
        let stage = &net.stages[net.stages.len() / 2];
        let block = stage.block_params(stage.blocks().count() / 2);
        let trains: Vec<bool> = (0..all).map(|i| block.contains(&i)).collect();
        if trains.contains(&true) {
            check_frozen(&net, &before, &trains, &format!("a block of {}", stage.name));
        }
    }
}

#[test]
fn an_unknown_name_gets_a_suggestion() {
    let error = find("efficientnet-lite-0").unwrap_err().to_string();
    assert!(error.contains("did you mean `efficientnet-lite0`?"), "{error}");
    let error = find("squeezenet").unwrap_err().to_string();
    assert!(
        error.starts_with("there is no backbone `squeezenet`") && error.contains("there are: "),
        "{error}"
    );
}

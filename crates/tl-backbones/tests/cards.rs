//! What must hold for every net in the table, checked without any code of its own.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;

use tch::{Device, Kind, Tensor};
use tl_backbones::{Backbone, CARDS, Card, Mode, NormMode, find};
use tl_torch::{Fill, Role, channels_last};

fn build(card: &'static Card) -> Backbone {
    Backbone::new(card, Device::Cpu, Fill::Seed(1)).unwrap()
}

fn image(side: i64) -> Tensor {
    channels_last(&Tensor::rand([2, 3, side, side], (Kind::Float, Device::Cpu)))
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
    for card in CARDS {
        let net = build(card);
        assert_eq!(net.store.count(), card.params, "{}", card.name);
        let mut xs = image(67);
        for (i, stage) in net.stages.iter().enumerate() {
            let side = xs.size()[2];
            xs = tch::no_grad(|| net.forward(&xs, i..i + 1, |_| Mode::EVAL));
            let expected = (side + stage.stride - 1) / stage.stride;
            assert_eq!(
                xs.size(),
                [2, stage.out_channels, expected, expected],
                "{} {}",
                card.name,
                stage.name
            );
        }
        assert_eq!(xs.size()[1], card.features, "{}", card.name);
    }
}

#[test]
fn every_parameter_is_in_exactly_one_stage() {
    for card in CARDS {
        let net = build(card);
        let mut next = 0;
        for stage in &net.stages {
            assert_eq!(stage.params().start, next, "{} {}", card.name, stage.name);
            assert!(!stage.params().is_empty() && stage.blocks().count() > 0, "{} {}", card.name, stage.name);
            next = stage.params().end;
        }
        assert_eq!(next, net.store.iter().len(), "{}", card.name);
        let names: BTreeSet<&str> = net.stages.iter().map(|stage| stage.name).collect();
        assert_eq!(names.len(), net.stages.len(), "{}", card.name);
    }
}

/// One step of plain gradient descent with batch statistics, from every boundary.
#[test]
fn what_lies_below_the_frontier_stays_bit_identical() {
    for card in CARDS {
        let net = build(card);
        for frontier in 0..net.stages.len() {
            let before = net.store.snapshot();
            let trains = net.stages[frontier].params().start..net.store.iter().len();
            for (i, param) in net.store.iter().enumerate() {
                let _ = param.tensor.set_requires_grad(trains.contains(&i) && param.role != Role::Buffer);
            }
            let mode = |i: usize| match i >= frontier {
                true => Mode { train: true, norm: NormMode::Batch },
                false => Mode::EVAL,
            };
            net.forward(&image(64), 0..net.stages.len(), mode).square().mean(Kind::Float).backward();
            for param in net.store.iter().filter(|param| param.tensor.requires_grad()) {
                let mut tensor = param.tensor.shallow_clone();
                let _ = tch::no_grad(|| tensor.g_sub_(&(tensor.grad() * 0.1)));
                tensor.zero_grad();
            }
            for (i, param) in net.store.iter().enumerate() {
                let same = param.tensor.equal(&before[&param.name]);
                let place = format!("{} from {}: {}", card.name, net.stages[frontier].name, param.name);
                assert!(trains.contains(&i) || same, "{place} changed");
                assert!(!trains.contains(&i) || !same, "{place} did not train");
            }
        }
    }
}

#[test]
fn an_unknown_name_gets_a_suggestion() {
    let error = find("efficientnet-lite-0").unwrap_err().to_string();
    assert!(error.contains("did you mean `efficientnet-lite0`?"), "{error}");
    let error = find("alexnet").unwrap_err().to_string();
    assert!(error.starts_with("there is no backbone `alexnet`") && error.contains("there are: "), "{error}");
}

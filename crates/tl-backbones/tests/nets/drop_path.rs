//! Stochastic depth. What a block without its branch, or with twice its branch, puts out is not taken from the code under
//! test: the weights at the end of the branch are set to zero, or doubled, and the plain net is run.

use std::collections::BTreeSet;

use tch::{Device, Kind, Tensor};
use tl_backbones::{Backbone, CARDS, DropPath, Mode, NormMode, find};
use tl_torch::{Fill, Role};

use crate::cards::small;
use crate::formula::{fill, image};

/// A net of each family, its last residual block, and by branch of it the tensors that the branch is linear in.
const FAMILIES: [(&str, &str, &[&[&str]]); 8] = [
    ("resnet18", "layer4.1", &[&["bn2.weight", "bn2.bias"]]),
    ("resnet50", "layer4.2", &[&["bn3.weight", "bn3.bias"]]),
    ("mobilenet-v2", "blocks.5.2", &[&["bn3.weight", "bn3.bias"]]),
    ("mobilenet-v3-small", "blocks.4.2", &[&["bn3.weight", "bn3.bias"]]),
    ("efficientnet-b0", "blocks.5.3", &[&["bn3.weight", "bn3.bias"]]),
    ("convnext-tiny", "stages.3.blocks.2", &[&["gamma"]]),
    (
        "vit-small-patch16",
        "blocks.11",
        &[&["attn.proj.weight", "attn.proj.bias"], &["mlp.fc2.weight", "mlp.fc2.bias"]],
    ),
    ("dinov2-small", "blocks.11", &[&["ls1.gamma"], &["ls2.gamma"]]),
];

fn build(name: &str) -> Backbone {
    let net = Backbone::new(find(name).unwrap(), Device::Cpu, Fill::Later).unwrap();
    fill(&net.store);
    net
}

/// The stage of a block, and by tensor whether it is the block's.
fn only(net: &Backbone, block: &str) -> (usize, Vec<bool>) {
    let places = net.stages.iter().enumerate().flat_map(|(i, stage)| {
        stage.blocks().enumerate().map(move |(j, name)| (i, name, stage.block_params(j)))
    });
    let (stage, _, params) = places.into_iter().find(|(_, name, _)| *name == block).unwrap();
    (stage, (0..net.store.iter().len()).map(|i| params.contains(&i)).collect())
}

fn drop_path(rate: f64, seed: u64) -> Mode<'static> {
    Mode { drop_path: Some(DropPath { rate, seed }), ..Mode::EVAL }
}

/// From `stage` to the end.
fn run(net: &Backbone, xs: &Tensor, stage: usize, mode: Mode<'_>) -> Tensor {
    tch::no_grad(|| net.forward(xs, stage..net.stages.len(), |_| mode))
}

/// The plain net with the tensors of a branch of a block multiplied.
fn run_scaled(net: &Backbone, xs: &Tensor, stage: usize, factors: &[(String, f64)]) -> Tensor {
    let value = |name: &str| net.store.get(name).unwrap().tensor.detach().copy();
    let old: Vec<Tensor> = factors.iter().map(|(name, _)| value(name)).collect();
    factors.iter().for_each(|(name, factor)| net.store.set(name, &(value(name) * *factor)).unwrap());
    let ys = run(net, xs, stage, Mode::EVAL);
    factors.iter().zip(&old).for_each(|((name, _), old)| net.store.set(name, old).unwrap());
    ys
}

/// By image, whether two outputs agree.
fn agree(a: &Tensor, b: &Tensor) -> Vec<bool> {
    let largest = b.abs().max().double_value(&[]);
    let worst = (a - b).abs().flatten(1, -1).amax(1, false);
    Vec::<f64>::try_from(worst.to_kind(Kind::Double)).unwrap().iter().map(|d| *d <= 1e-5 * largest).collect()
}

fn finite(xs: &Tensor) -> bool {
    xs.isfinite().all().int64_value(&[]) == 1
}

#[test]
fn residual_blocks_are_those_with_a_sum() {
    for card in CARDS {
        let net = Backbone::new(card, Device::Cpu, Fill::Shapes).unwrap();
        let layers = net.observe(small(card) as u32).layers;
        let sums: BTreeSet<_> = layers
            .iter()
            .filter(|layer| layer.kind == "Add")
            .map(|layer| (layer.stage, layer.block))
            .collect();
        assert_eq!(net.residual_blocks(), sums.len(), "{}", card.name);
    }
    for (name, blocks) in [
        ("resnet50", 16),
        ("mobilenet-v1", 0),
        ("mobilenet-v2", 10),
        ("efficientnet-b0", 9),
        ("convnext-tiny", 18),
        ("vit-small-patch16", 12),
        ("vgg16", 0),
        ("alexnet", 0),
        ("inception-v3", 0),
        ("googlenet", 0),
        ("densenet121", 0),
    ] {
        let net = Backbone::new(find(name).unwrap(), Device::Cpu, Fill::Shapes).unwrap();
        assert_eq!(net.residual_blocks(), blocks, "{name}");
    }
}

/// At a rate of ½ every image has each branch of the block either not at all or twice.
#[test]
fn a_branch_is_left_out_or_grows() {
    for (name, block, branches) in FAMILIES {
        let net = build(name);
        let (stage, layers) = only(&net, block);
        let side = small(net.card().unwrap());
        let xs = tch::no_grad(|| net.forward(&image(&[16, 3, side, side]), 0..stage, |_| Mode::EVAL));
        let dropped =
            |rate, seed| run(&net, &xs, stage, Mode { layers: Some(&layers), ..drop_path(rate, seed) });
        let scaled = |factors: &[f64]| {
            let pairs = branches.iter().zip(factors);
            let pairs = pairs.flat_map(|(tensors, factor)| tensors.iter().map(move |name| (name, *factor)));
            let pairs: Vec<_> = pairs.map(|(name, factor)| (format!("{block}.{name}"), factor)).collect();
            run_scaled(&net, &xs, stage, &pairs)
        };
        let combinations: &[&[f64]] = match branches.len() {
            1 => &[&[0.0], &[2.0]],
            _ => &[&[0.0, 0.0], &[0.0, 2.0], &[2.0, 0.0], &[2.0, 2.0]],
        };
        let half = dropped(0.5, 5);
        let matches: Vec<_> = combinations.iter().map(|factors| agree(&half, &scaled(factors))).collect();
        for i in 0..16 {
            let hits = matches.iter().filter(|matches| matches[i]).count();
            assert_eq!(hits, 1, "{name}, image {i}: {matches:?}");
        }
        assert!(matches.iter().all(|matches| matches.contains(&true)), "{name}: {matches:?}");
        assert!(dropped(1.0, 1).allclose(&scaled(combinations[0]), 1e-5, 1e-6, false), "{name}");

        assert!(dropped(0.5, 5).equal(&half) && !dropped(0.5, 6).equal(&half), "{name}");
        let plain = run(&net, &xs, stage, Mode::EVAL);
        assert!(dropped(0.0, 1).equal(&plain), "{name}");
    }
}

/// A quarter of the images lose both branches; were it one draw for both, half would.
#[test]
fn branches_of_an_encoder_layer_drop_independently() {
    let net = build("vit-small-patch16");
    let (stage, layers) = only(&net, "blocks.11");
    let xs = image(&[200, 2, 384]);
    let run = |rate, seed| run(&net, &xs, stage, Mode { layers: Some(&layers), ..drop_path(rate, seed) });
    let without = run(1.0, 0);
    let counts: Vec<usize> =
        (0..8).map(|seed| agree(&run(0.5, seed), &without).iter().filter(|same| **same).count()).collect();
    let all: usize = counts.iter().sum();
    assert!((350..450).contains(&all), "{counts:?}");
}

#[test]
fn the_chance_rises_in_a_line_over_the_net() {
    let net = build("mobilenet-v2");
    for (i, block, input) in [
        (0, "blocks.1.1", [300, 16, 8, 8]),
        (3, "blocks.3.1", [300, 32, 4, 4]),
        (6, "blocks.4.1", [300, 64, 2, 2]),
        (9, "blocks.5.2", [300, 96, 2, 2]),
    ] {
        let (stage, layers) = only(&net, block);
        let xs = image(&input);
        let ys = run(&net, &xs, stage, Mode { layers: Some(&layers), ..drop_path(1.0, 11) });
        let ends = ["bn3.weight", "bn3.bias"].map(|name| (format!("{block}.{name}"), 0.0));
        let same = agree(&ys, &run_scaled(&net, &xs, stage, &ends)).into_iter().filter(|same| *same).count();
        let expected = 300.0 * f64::from(i) / 9.0;
        assert!((same as f64 - expected).abs() < 25.0, "{block}: {same} and not {expected}");
        assert!(i != 0 || same == 0 && ys.equal(&run(&net, &xs, stage, Mode::EVAL)));
        assert!(i != 9 || same == 300);
    }
}

#[test]
fn over_many_seeds_the_mean_is_the_plain_output() {
    let net = build("convnext-tiny");
    let (stage, layers) = only(&net, "stages.3.blocks.2");
    let xs = image(&[4, 384, 2, 2]);
    let at = |mode| run(&net, &xs, stage, mode).to_kind(Kind::Double);
    let dropped = |rate, seed| at(Mode { layers: Some(&layers), ..drop_path(rate, seed) });
    let (plain, without) = (at(Mode::EVAL), dropped(1.0, 0));
    let n = 400;
    let sum = (0..n).map(|seed| dropped(0.3, seed)).reduce(|a, b| a + b).unwrap();
    // One branch's deviation is √(0.3 / 0.7) of it; of the mean of 400 a twentieth of that.
    let error = (sum / n as f64 - &plain).abs().flatten(1, -1).amax(1, false);
    let branch = (plain - without).abs().flatten(1, -1).amax(1, false);
    let worst = (error / branch).max().double_value(&[]);
    assert!(worst < 0.12, "{worst}");
}

#[test]
fn frozen_blocks_do_not_drop() {
    for name in ["resnet18", "efficientnet-lite0", "convnext-tiny", "vit-small-patch16"] {
        let net = build(name);
        let side = small(net.card().unwrap());
        let xs = image(&[8, 3, side, side]);
        let plain = run(&net, &xs, 0, Mode::EVAL);
        let all = net.store.iter().len();
        let with = |layers: &[bool]| run(&net, &xs, 0, Mode { layers: Some(layers), ..drop_path(0.9, 2) });
        assert!(with(&vec![false; all]).equal(&plain), "{name}");
        // The stem has no sum; what is above it and frozen must not drop either.
        let stem = net.stages[0].params();
        let stem: Vec<bool> = (0..all).map(|i| stem.contains(&i)).collect();
        assert!(with(&stem).equal(&plain), "{name}");
        assert!(!with(&vec![true; all]).equal(&plain), "{name}");
        // One layer is enough.
        let mut one = vec![false; all];
        one[net.stages[3].block_params(1).end - 1] = true;
        assert!(!with(&one).equal(&plain), "{name}");
        assert!(run(&net, &xs, 0, Mode { layers: None, ..drop_path(0.0, 2) }).equal(&plain), "{name}");
    }
}

#[test]
fn a_net_without_sums_is_as_it_was() {
    let net = build("alexnet");
    let xs = image(&[2, 3, 63, 63]);
    assert!(run(&net, &xs, 0, drop_path(0.9, 2)).equal(&run(&net, &xs, 0, Mode::EVAL)));
}

/// An image that was left out teaches the branch nothing, the others teach it twice as much.
#[test]
fn gradients_of_a_branch_are_those_of_the_images_that_kept_it() {
    let net = build("convnext-tiny");
    let (stage, layers) = only(&net, "stages.3.blocks.2");
    let names = ["conv_dw.weight", "norm.bias", "mlp.fc1.weight", "gamma"];
    let params = names.map(|name| &net.store.get(&format!("stages.3.blocks.2.{name}")).unwrap().tensor);
    params.iter().for_each(|param| drop(param.set_requires_grad(true)));
    let xs = image(&[16, 384, 2, 2]);
    let run = |mode| net.forward(&xs, stage..net.stages.len(), |_| mode);
    let at = |rate| run(Mode { layers: Some(&layers), ..drop_path(rate, 4) });
    // Weights of the sum, so that no image is like another; by image 1 or 0.
    let gradients = |ys: &Tensor, images: &Tensor| {
        let weights =
            Tensor::arange(ys.numel() as i64, (Kind::Float, Device::Cpu)).sin().view(&ys.size()[..]);
        (ys * weights * images.view([-1, 1, 1, 1])).sum(Kind::Float).backward();
        params.map(|param| {
            let grad = param.grad().copy();
            param.shallow_clone().zero_grad();
            grad
        })
    };
    let everyone = Tensor::ones([16], (Kind::Float, Device::Cpu));
    let (half, without) = (at(0.5), at(1.0));
    let left_out = agree(&half, &without);
    assert!(left_out.contains(&true) && left_out.contains(&false));
    let kept: Vec<f32> = left_out.iter().map(|out| if *out { 0.0 } else { 1.0 }).collect();
    let kept = Tensor::from_slice(&kept);
    let zero = gradients(&half, &(1.0 - &kept));
    assert!(zero.iter().all(|grad| grad.count_nonzero(None).int64_value(&[]) == 0));
    assert!(gradients(&without, &everyone).iter().all(|grad| grad.count_nonzero(None).int64_value(&[]) == 0));
    let (got, plain) = (gradients(&at(0.5), &everyone), gradients(&run(Mode::EVAL), &kept));
    for ((name, got), plain) in names.iter().zip(&got).zip(&plain) {
        let scale = plain.abs().max().double_value(&[]);
        assert!(scale > 0.0 && got.allclose(&(plain * 2.0), 1e-4, 1e-5 * scale, false), "{name}");
    }
}

#[test]
fn a_step_of_a_whole_net_is_finite() {
    for (name, ..) in FAMILIES {
        let net = build(name);
        for param in net.store.iter() {
            let _ = param.tensor.set_requires_grad(param.role != Role::Buffer);
        }
        let side = small(net.card().unwrap());
        let xs = image(&[4, 3, side, side]);
        let plain = run(&net, &xs, 0, Mode::EVAL);
        let mode = Mode { norm: NormMode::Batch, ..drop_path(0.5, 1) };
        let ys = net.forward(&xs, 0..net.stages.len(), |_| mode);
        assert!(ys.size() == plain.size() && finite(&ys), "{name}");
        ys.square().mean(Kind::Float).backward();
        for param in net.store.iter().filter(|param| param.role != Role::Buffer) {
            let grad = param.tensor.grad();
            assert!(!grad.defined() || finite(&grad), "{name} {}", param.name);
        }
    }
}

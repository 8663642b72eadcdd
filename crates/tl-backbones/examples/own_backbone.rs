//! A net of one's own as stages, with the weights of a file of one's own: no change to any crate.
//!
//! ```text
//! cargo run --release -p tl-backbones --example own_backbone [FILE]
//! ```
//!
//! The one decision: a net is a card, which is data, and a function that defines its stages. What the program offers for
//! any net (layers observed, stages frozen alone, strict loading) comes from these two. FILE is a `.safetensors` or `.pth`
//! with the net's names, all of them and no others; without one the net is untrained.
#![allow(clippy::print_stdout, reason = "a program that reports to a person")]

use std::error::Error;
use std::path::Path;

use tch::{Device, Kind, Tensor};
use tl_backbones::layers::{Act, Add, ConvNorm, ConvSpec, NormSpec, Pool, PoolSpec};
use tl_backbones::{Backbone, Block, Card, Input, Load, Mode, NormMode, Stage, Weights, load};
use tl_torch::{Fill, Scope};
use tl_weights::{Rename, Source};

/// A residual net of one block a stage, for small images.
static TINY: Card = Card {
    name: "tiny-resnet",
    paper: "arXiv:1512.03385",
    stages,
    neck: None,
    features: 64,
    params: 112_032,
    macs: 11_501_568,
    top: None,
    tokens: None,
    min_size: 16,
    weights: &[Weights {
        name: "own",
        source: Source::url("file:///nowhere"),
        sha256: None,
        rename: |name| Rename::To(name.to_owned()),
        net: None,
        licence: "MIT",
        classes: 0,
        input: Input { size: 32, resize: 32, ..Input::TORCHVISION },
        top1: None,
    }],
};

fn stages(scope: &Scope<'_>) -> Vec<Stage> {
    let mut stem = Stage::new("stem", 32, 1);
    stem.push(scope, "conv1", |scope| conv(scope, ("conv1", "bn1"), ConvSpec::new(3, 32, 3), Act::Relu));
    let mut first = Stage::new("stage1", 32, 2);
    first.push(scope, "pool", |scope| Pool::new(scope, "pool", PoolSpec::max(2, 2, 0)));
    first.push(scope, "layer1", |scope| Residual::new(&scope.sub("layer1"), 32));
    let mut second = Stage::new("stage2", 64, 2);
    let wider = ConvSpec::new(32, 64, 3).stride(2);
    second.push(scope, "conv2", |scope| conv(scope, ("conv2", "bn2"), wider, Act::Relu));
    second.push(scope, "layer2", |scope| Residual::new(&scope.sub("layer2"), 64));
    vec![stem, first, second]
}

fn conv(scope: &Scope<'_>, names: (&str, &str), spec: ConvSpec, act: Act) -> ConvNorm {
    ConvNorm::new(scope, names, spec, NormSpec::TORCH, act)
}

/// Two convolutions and their input.
#[derive(Debug)]
struct Residual {
    convs: [ConvNorm; 2],
    sum: Add,
}

impl Residual {
    fn new(scope: &Scope<'_>, width: i64) -> Self {
        let spec = ConvSpec::new(width, width, 3);
        let convs =
            [conv(scope, ("conv1", "bn1"), spec, Act::Relu), conv(scope, ("conv2", "bn2"), spec, Act::None)];
        Self { convs, sum: Add::new(scope, Act::Relu) }
    }
}

impl Block for Residual {
    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        let branch = self.convs.iter().fold(xs.shallow_clone(), |xs, conv| conv.forward(&xs, mode));
        self.sum.forward(branch, xs, mode)
    }

    fn is_residual(&self) -> bool {
        true
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let net = match std::env::args().nth(1) {
        Some(file) => {
            let options = Load { device: Device::Cpu, classifier: false, partial: None };
            load(&TINY, Some(&TINY.weights[0]), Path::new(&file), options)?.backbone
        }
        None => Backbone::new(&TINY, Device::Cpu, Fill::Seed(42))?,
    };
    for layer in net.observe(32).layers {
        println!("{:18} {:12} {:?}", layer.name, layer.kind, layer.output);
    }
    // The last stage trains with batch statistics; what is below is frozen, whatever it holds.
    let images = tl_torch::channels_last(&Tensor::rand([4, 3, 32, 32], (Kind::Float, Device::Cpu)));
    let mode = |stage| if stage == 2 { Mode { norm: NormMode::Batch, ..Mode::EVAL } } else { Mode::EVAL };
    println!("features {:?}", net.forward(&images, 0..net.stages.len(), mode).size());
    Ok(())
}

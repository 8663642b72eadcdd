//! VGG (Simonyan and Zisserman 2014, arXiv:1409.1556), plain and with batch-norm.
//!
//! Five stages of 3×3 convolutions, each ended by max-pooling, as Keras's `block1` to `block5`. Each convolution is a
//! block of its own. Names are torchvision's: places in one long list, activations and pooling counted.

use tch::Tensor;
use tl_torch::Scope;
use tl_weights::{Rename, Source};

use crate::card::{Card, Input, Top, TopPool, Weights, as_published, swap_prefix};
use crate::layers::{Act, Conv, ConvNorm, ConvSpec, NormSpec, Pool, PoolSpec};
use crate::stage::{Block, Mode, STAGES, Stage};

/// Convolutions of each stage.
type Depths = [usize; 5];
const WIDTHS: [i64; 5] = [64, 128, 256, 512, 512];

const VGG11_DEPTHS: Depths = [1, 1, 2, 2, 2];
const VGG13_DEPTHS: Depths = [2, 2, 2, 2, 2];
const VGG16_DEPTHS: Depths = [2, 2, 3, 3, 3];
const VGG19_DEPTHS: Depths = [2, 2, 4, 4, 4];

const TOP: Top = Top {
    pool: TopPool::Grid(7),
    hidden: &[("classifier.0", 4096, Act::Relu), ("classifier.3", 4096, Act::Relu)],
    last: "classifier.6",
};

macro_rules! card {
    ($card:ident, $name:literal, $net:ident, $params:literal, $macs:literal, $timm:literal, $file:literal, $sha:literal, $top1:literal) => {
        pub(crate) static $card: Card = Card {
            name: $name,
            paper: "arXiv:1409.1556",
            stages: $net,
            neck: None,
            features: 512,
            params: $params,
            macs: $macs,
            top: Some(TOP),
            tokens: None,
            min_size: 32,
            weights: &[
                Weights {
                    name: "tv-in1k",
                    source: Source::hub(concat!("timm/", $timm, ".tv_in1k"), "main", "model.safetensors"),
                    sha256: None,
                    rename: from_timm,
                    net: None,
                    licence: "BSD-3-Clause",
                    classes: 1000,
                    input: Input::TORCHVISION,
                    top1: Some($top1),
                },
                Weights::torchvision(
                    "torchvision-v1",
                    (concat!("https://download.pytorch.org/models/", $file, "-", $sha, ".pth"), $sha),
                    as_published,
                    Input::TORCHVISION,
                    $top1,
                ),
            ],
        };
    };
}

card!(VGG11, "vgg11", vgg11, 9_220_480, 7_485_456_384, "vgg11", "vgg11", "8a719046", 69.020);
card!(VGG13, "vgg13", vgg13, 9_404_992, 11_184_832_512, "vgg13", "vgg13", "19584684", 69.928);
card!(VGG16, "vgg16", vgg16, 14_714_688, 15_346_630_656, "vgg16", "vgg16", "397923af", 71.592);
card!(VGG19, "vgg19", vgg19, 20_024_384, 19_508_428_800, "vgg19", "vgg19", "dcbb9e9d", 72.376);
card!(VGG11_BN, "vgg11-bn", vgg11_bn, 9_225_984, 7_485_456_384, "vgg11_bn", "vgg11_bn", "6002323d", 70.370);
card!(VGG13_BN, "vgg13-bn", vgg13_bn, 9_410_880, 11_184_832_512, "vgg13_bn", "vgg13_bn", "abd245e5", 71.586);
card!(VGG16_BN, "vgg16-bn", vgg16_bn, 14_723_136, 15_346_630_656, "vgg16_bn", "vgg16_bn", "6c64b313", 73.360);
card!(VGG19_BN, "vgg19-bn", vgg19_bn, 20_035_392, 19_508_428_800, "vgg19_bn", "vgg19_bn", "c79401a0", 74.218);

fn vgg11(scope: &Scope<'_>) -> Vec<Stage> {
    stages(scope, VGG11_DEPTHS, false)
}

fn vgg13(scope: &Scope<'_>) -> Vec<Stage> {
    stages(scope, VGG13_DEPTHS, false)
}

fn vgg16(scope: &Scope<'_>) -> Vec<Stage> {
    stages(scope, VGG16_DEPTHS, false)
}

fn vgg19(scope: &Scope<'_>) -> Vec<Stage> {
    stages(scope, VGG19_DEPTHS, false)
}

fn vgg11_bn(scope: &Scope<'_>) -> Vec<Stage> {
    stages(scope, VGG11_DEPTHS, true)
}

fn vgg13_bn(scope: &Scope<'_>) -> Vec<Stage> {
    stages(scope, VGG13_DEPTHS, true)
}

fn vgg16_bn(scope: &Scope<'_>) -> Vec<Stage> {
    stages(scope, VGG16_DEPTHS, true)
}

fn vgg19_bn(scope: &Scope<'_>) -> Vec<Stage> {
    stages(scope, VGG19_DEPTHS, true)
}

/// A convolution, and pooling if it ends its stage.
#[derive(Debug)]
struct Unit {
    conv: Box<dyn Block>,
    pool: Option<Pool>,
}

impl Block for Unit {
    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        let ys = self.conv.forward(xs, mode);
        self.pool.as_ref().map_or_else(|| ys.shallow_clone(), |pool| pool.forward(&ys, mode))
    }
}

fn stages(scope: &Scope<'_>, depths: Depths, norm: bool) -> Vec<Stage> {
    let (mut inputs, mut at) = (3, 0);
    let mut stages = Vec::new();
    for (i, (depth, width)) in depths.into_iter().zip(WIDTHS).enumerate() {
        let mut stage = Stage::new(STAGES[i], width, 2);
        for j in 0..depth {
            let spec = ConvSpec::new(inputs, width, 3);
            let (conv, pool) = (at, at + if norm { 3 } else { 2 });
            stage.push(scope, format!("features.{conv}"), |scope| {
                let features = scope.sub("features");
                let last = j + 1 == depth;
                Unit {
                    conv: unit(&features, conv, spec, norm),
                    pool: last.then(|| Pool::new(&features, &pool.to_string(), PoolSpec::max(2, 2, 0))),
                }
            });
            at = pool;
            inputs = width;
        }
        at += 1;
        stages.push(stage);
    }
    stages
}

fn unit(features: &Scope<'_>, at: usize, spec: ConvSpec, norm: bool) -> Box<dyn Block> {
    let names = (at.to_string(), (at + 1).to_string());
    match norm {
        true => {
            Box::new(ConvNorm::with_bias(features, (&names.0, &names.1), spec, NormSpec::TORCH, Act::Relu))
        }
        false => Box::new(Conv::new(features, &names.0, spec, Act::Relu)),
    }
}

/// timm makes convolutions of the first two linear layers.
fn from_timm(name: &str) -> Rename {
    swap_prefix(
        name,
        &[
            ("pre_logits.fc1.", "classifier.0."),
            ("pre_logits.fc2.", "classifier.3."),
            ("head.fc.", "classifier.6."),
        ],
    )
}

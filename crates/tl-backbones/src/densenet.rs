//! DenseNet (Huang et al. 2016, arXiv:1608.06993).
//!
//! Every layer's output is appended to its input. A stage is a dense block and the transition behind it; the last norm
//! belongs to the last stage. Names are torchvision's, which timm uses as well.

use tch::Tensor;
use tl_torch::Scope;
use tl_weights::Rename;

use crate::card::{Card, Input, Top, Weights, as_published};
use crate::layers::{Act, BareConv, BatchNorm, Concat, ConvNorm, ConvSpec, NormSpec, Pool, PoolSpec};
use crate::stage::{Block, Mode, STAGES, Stage};

const GROWTH: i64 = 32;
/// Channels between the two convolutions of a layer.
const BOTTLENECK: i64 = 4 * GROWTH;
const STEM: i64 = 64;

macro_rules! card {
    ($card:ident, $name:literal, $net:ident, $depths:expr, $features:literal, $params:literal, $macs:literal, $bicubic:literal, $top1:literal, $sha:literal) => {
        fn $net(scope: &Scope<'_>) -> Vec<Stage> {
            stages(scope, $depths)
        }

        pub(crate) static $card: Card = Card {
            name: $name,
            paper: "arXiv:1608.06993",
            stages: $net,
            neck: None,
            features: $features,
            params: $params,
            macs: $macs,
            top: Some(Top::linear("classifier")),
            tokens: None,
            min_size: 32,
            weights: &[
                Weights::hub(
                    "tv-in1k",
                    concat!("timm/", $name, ".tv_in1k"),
                    "Apache-2.0",
                    Input::BICUBIC,
                    $bicubic,
                ),
                Weights::torchvision(
                    "torchvision-v1",
                    (concat!("https://download.pytorch.org/models/", $name, "-", $sha, ".pth"), $sha),
                    with_numbers_apart,
                    Input::TORCHVISION,
                    $top1,
                ),
            ],
        };
    };
}

card!(
    DENSENET121,
    "densenet121",
    densenet121,
    [6, 12, 24, 16],
    1024,
    6_953_856,
    2_833_137_664,
    74.764,
    74.434,
    "a639ec97"
);
card!(
    DENSENET169,
    "densenet169",
    densenet169,
    [6, 12, 32, 32],
    1664,
    12_484_480,
    3_358_179_328,
    75.900,
    75.600,
    "b2777c0a"
);

/// Norm, convolution to the bottleneck, norm, convolution; the result is appended to the input.
#[derive(Debug)]
struct Dense {
    norm: BatchNorm,
    bottleneck: ConvNorm,
    conv: BareConv,
    concat: Concat,
}

impl Block for Dense {
    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        let ys = self.norm.forward(xs, mode);
        let ys = self.conv.forward(&self.bottleneck.forward(&ys, mode), mode);
        self.concat.forward(&[xs.shallow_clone(), ys], mode)
    }
}

#[derive(Debug)]
struct Transition {
    norm: BatchNorm,
    conv: BareConv,
    pool: Pool,
}

impl Block for Transition {
    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        self.pool.forward(&self.conv.forward(&self.norm.forward(xs, mode), mode), mode)
    }
}

fn stages(scope: &Scope<'_>, depths: [usize; 4]) -> Vec<Stage> {
    let features = scope.sub("features");
    let mut stem = Stage::new("stem", STEM, 4);
    stem.push(&features, "features.conv0", |scope| {
        let spec = ConvSpec::new(3, STEM, 7).stride(2);
        ConvNorm::new(scope, ("conv0", "norm0"), spec, NormSpec::TORCH, Act::Relu)
    });
    stem.push(&features, "features.pool0", |scope| Pool::new(scope, "pool0", PoolSpec::max(3, 2, 1)));
    let mut stages = vec![stem];
    let mut channels = STEM;
    for (i, depth) in depths.into_iter().enumerate() {
        let grown = channels + depth as i64 * GROWTH;
        let last = i + 1 == depths.len();
        let outputs = if last { grown } else { grown / 2 };
        let mut stage = Stage::new(STAGES[i], outputs, if last { 1 } else { 2 });
        for j in 0..depth {
            let name = format!("denseblock{}.denselayer{}", i + 1, j + 1);
            let inputs = channels + j as i64 * GROWTH;
            stage.push(&features, format!("features.{name}"), |scope| dense(&scope.sub(&name), inputs));
        }
        if last {
            stage.push(&features, "features.norm5", |scope| {
                BatchNorm::with_act(scope, "norm5", grown, NormSpec::TORCH, Act::Relu)
            });
        } else {
            let name = format!("transition{}", i + 1);
            stage.push(&features, format!("features.{name}"), |scope| transition(&scope.sub(&name), grown));
        }
        stages.push(stage);
        channels = outputs;
    }
    stages
}

fn dense(scope: &Scope<'_>, inputs: i64) -> Dense {
    let reduce = ConvSpec::new(inputs, BOTTLENECK, 1);
    Dense {
        norm: BatchNorm::with_act(scope, "norm1", inputs, NormSpec::TORCH, Act::Relu),
        bottleneck: ConvNorm::new(scope, ("conv1", "norm2"), reduce, NormSpec::TORCH, Act::Relu),
        conv: BareConv::new(scope, "conv2", ConvSpec::new(BOTTLENECK, GROWTH, 3)),
        concat: Concat::new(scope),
    }
}

fn transition(scope: &Scope<'_>, channels: i64) -> Transition {
    Transition {
        norm: BatchNorm::with_act(scope, "norm", channels, NormSpec::TORCH, Act::Relu),
        conv: BareConv::new(scope, "conv", ConvSpec::new(channels, channels / 2, 1)),
        pool: Pool::new(scope, "pool", PoolSpec::average(2, 2, 0)),
    }
}

/// torchvision's oldest files write `norm.1` for `norm1`.
fn with_numbers_apart(name: &str) -> Rename {
    let joined = ["norm", "conv"].iter().fold(name.to_owned(), |name, layer| {
        let joined = name.replace(&format!(".{layer}.1."), &format!(".{layer}1."));
        joined.replace(&format!(".{layer}.2."), &format!(".{layer}2."))
    });
    as_published(&joined)
}

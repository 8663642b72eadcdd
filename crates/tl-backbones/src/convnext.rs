//! ConvNeXt (Liu et al. 2022, arXiv:2201.03545).
//!
//! Its classifier has a layer norm behind pooling. That norm is pretrained too and belongs to the last stage; new heads
//! come behind it. Names are timm's.

use tch::Tensor;
use tl_torch::Scope;
use tl_weights::Rename;

use crate::card::{Card, Input, Neck, Net, Top, Weights, swap_prefix};
use crate::layers::{Act, Add, Conv, ConvSpec, LayerNorm, Linear, LinearSpec, Scale};
use crate::stage::{Block, Mode, STAGES, Stage};

const EPS: f64 = 1e-6;

const fn card(name: &'static str, stages: Net, (features, params, macs): (i64, usize, u64)) -> Card {
    Card {
        name,
        paper: "arXiv:2201.03545",
        stages,
        neck: Some(Neck { name: "head.norm", eps: EPS }),
        features,
        params,
        macs,
        top: Some(Top::linear("head.fc")),
        tokens: None,
        min_size: 32,
        weights: &[],
    }
}

pub(crate) static TINY: Card = Card {
    weights: &[
        Weights::hub("fb-in1k", "timm/convnext_tiny.fb_in1k", "Apache-2.0", Input::BICUBIC, 82.066),
        Weights::hub(
            "fb-in22k-ft-in1k",
            "timm/convnext_tiny.fb_in22k_ft_in1k",
            "Apache-2.0",
            Input::BICUBIC,
            82.898,
        ),
        Weights::torchvision(
            "torchvision-v1",
            ("https://download.pytorch.org/models/convnext_tiny-983f1562.pth", "983f1562"),
            from_torchvision,
            Input::TORCHVISION.sized(224, 236),
            82.520,
        ),
    ],
    ..card("convnext-tiny", tiny, (768, 27_820_128, 4_454_763_264))
};
pub(crate) static SMALL: Card = Card {
    weights: &[
        Weights::hub("fb-in1k", "timm/convnext_small.fb_in1k", "Apache-2.0", Input::BICUBIC, 83.142),
        Weights::hub(
            "fb-in22k-ft-in1k",
            "timm/convnext_small.fb_in22k_ft_in1k",
            "Apache-2.0",
            Input::BICUBIC,
            84.562,
        ),
        Weights::torchvision(
            "torchvision-v1",
            ("https://download.pytorch.org/models/convnext_small-0c510722.pth", "0c510722"),
            from_torchvision,
            Input::TORCHVISION.sized(224, 230),
            83.616,
        ),
    ],
    ..card("convnext-small", small, (768, 49_454_688, 8_682_944_256))
};
pub(crate) static BASE: Card = Card {
    weights: &[
        Weights::hub("fb-in1k", "timm/convnext_base.fb_in1k", "Apache-2.0", Input::BICUBIC, 83.820),
        Weights::hub(
            "fb-in22k-ft-in1k",
            "timm/convnext_base.fb_in22k_ft_in1k",
            "Apache-2.0",
            Input::BICUBIC,
            85.822,
        ),
        Weights::torchvision(
            "torchvision-v1",
            ("https://download.pytorch.org/models/convnext_base-6075fbad.pth", "6075fbad"),
            from_torchvision,
            Input::TORCHVISION.sized(224, 232),
            84.062,
        ),
    ],
    ..card("convnext-base", base, (1024, 87_566_464, 15_353_705_472))
};

fn tiny(scope: &Scope<'_>) -> Vec<Stage> {
    stages(scope, [3, 3, 9, 3], 96)
}

fn small(scope: &Scope<'_>) -> Vec<Stage> {
    stages(scope, [3, 3, 27, 3], 96)
}

fn base(scope: &Scope<'_>) -> Vec<Stage> {
    stages(scope, [3, 3, 27, 3], 128)
}

/// The first convolution, with the norm behind it.
#[derive(Debug)]
struct Patches {
    conv: Conv,
    norm: LayerNorm,
}

impl Block for Patches {
    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        self.norm.forward(&self.conv.forward(xs, mode), mode)
    }
}

/// Between stages, with the norm before it.
#[derive(Debug)]
struct Downsample {
    norm: LayerNorm,
    conv: Conv,
}

impl Block for Downsample {
    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        self.conv.forward(&self.norm.forward(xs, mode), mode)
    }
}

#[derive(Debug)]
struct Residual {
    conv: Conv,
    norm: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    scale: Scale,
    add: Add,
}

impl Block for Residual {
    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        // Channels are innermost in memory already: the permutations move nothing.
        let ys = self.conv.forward(xs, mode).permute([0, 2, 3, 1]);
        let ys = self.fc1.forward(&self.norm.over_last(&ys, mode), mode);
        let ys = self.scale.forward(&self.fc2.forward(&ys, mode), mode);
        self.add.forward(ys.permute([0, 3, 1, 2]), xs, mode)
    }

    fn is_residual(&self) -> bool {
        true
    }
}

fn stages(scope: &Scope<'_>, depths: [usize; 4], width: i64) -> Vec<Stage> {
    let mut stem = Stage::new("stem", width, 4);
    stem.push(scope, "stem", |scope| {
        let scope = scope.sub("stem");
        let conv = Conv::new(&scope, "0", ConvSpec::new(3, width, 4).stride(4).unpadded(), Act::None);
        Patches { conv, norm: LayerNorm::new(&scope, "1", width, EPS) }
    });
    let mut stages = vec![stem];
    for (i, depth) in depths.into_iter().enumerate() {
        let channels = width << i;
        let mut stage = Stage::new(STAGES[i], channels, if i == 0 { 1 } else { 2 });
        if i > 0 {
            let name = format!("stages.{i}.downsample");
            stage.push(scope, name.clone(), |scope| downsample(&scope.sub(&name), channels / 2));
        }
        for j in 0..depth {
            let name = format!("stages.{i}.blocks.{j}");
            stage.push(scope, name.clone(), |scope| residual(&scope.sub(&name), channels));
        }
        stages.push(stage);
    }
    stages
}

fn downsample(scope: &Scope<'_>, inputs: i64) -> Downsample {
    let norm = LayerNorm::new(scope, "0", inputs, EPS);
    let spec = ConvSpec::new(inputs, 2 * inputs, 2).stride(2).unpadded();
    Downsample { norm, conv: Conv::new(scope, "1", spec, Act::None) }
}

fn residual(scope: &Scope<'_>, channels: i64) -> Residual {
    let linear = |name, inputs, outputs, act| Linear::new(scope, name, LinearSpec { inputs, outputs, act });
    Residual {
        conv: Conv::new(scope, "conv_dw", ConvSpec::new(channels, channels, 7).groups(channels), Act::None),
        norm: LayerNorm::new(scope, "norm", channels, EPS),
        fc1: linear("mlp.fc1", channels, 4 * channels, Act::Gelu),
        fc2: linear("mlp.fc2", 4 * channels, channels, Act::None),
        scale: Scale::new(scope, channels),
        add: Add::new(scope, Act::None),
    }
}

/// torchvision numbers stages and downsampling alike, from the stem on, and the layers of a block.
fn from_torchvision(name: &str) -> Rename {
    match renamed(name) {
        Some(renamed) => Rename::To(renamed),
        None => swap_prefix(name, &[("classifier.0.", "head.norm."), ("classifier.2.", "head.fc.")]),
    }
}

fn renamed(name: &str) -> Option<String> {
    let (part, rest) = name.strip_prefix("features.")?.split_once('.')?;
    match part.parse::<usize>().ok()? {
        0 => Some(format!("stem.{rest}")),
        part if part % 2 == 0 => Some(format!("stages.{}.downsample.{rest}", part / 2)),
        part => {
            let (block, rest) = rest.split_once('.')?;
            let layer = match rest.strip_prefix("block.") {
                None => rest.replace("layer_scale", "gamma"),
                Some(rest) => {
                    let (layer, rest) = rest.split_once('.')?;
                    let layer = match layer {
                        "0" => "conv_dw",
                        "2" => "norm",
                        "3" => "mlp.fc1",
                        "5" => "mlp.fc2",
                        _ => return None,
                    };
                    format!("{layer}.{rest}")
                }
            };
            Some(format!("stages.{}.blocks.{block}.{layer}", part / 2))
        }
    }
}

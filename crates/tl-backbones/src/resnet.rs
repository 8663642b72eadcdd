//! ResNet (He et al. 2015, arXiv:1512.03385) and its wider kin: ResNeXt (Xie et al. 2016, arXiv:1611.05431) and Wide
//! ResNet (Zagoruyko and Komodakis 2016, arXiv:1605.07146).
//!
//! As torchvision has them: where a bottleneck halves the map, its 3×3 convolution does ("version 1.5"); in Keras the
//! first 1×1 convolution does. Layers and their order are the same. timm uses torchvision's names.

use tch::Tensor;
use tl_torch::Scope;

use crate::card::{Card, Input, Top, Weights};
use crate::layers::{Act, Add, ConvNorm, ConvSpec, NormSpec, Pad, Pool, PoolSpec};
use crate::stage::{Block, Mode, STAGES, Stage};

/// What tells one ResNet from another.
#[derive(Clone, Copy, Debug)]
struct Shape {
    depths: [usize; 4],
    bottleneck: bool,
    groups: i64,
    /// Channels of the 3×3 convolutions of a bottleneck in the first stage.
    width: i64,
}

const fn plain(depths: [usize; 4], bottleneck: bool) -> Shape {
    Shape { depths, bottleneck, groups: 1, width: 64 }
}

macro_rules! card {
    ($card:ident, $name:literal, $paper:literal, $net:ident, $shape:expr, $features:literal, $params:literal, $macs:literal, [$($weights:expr),+ $(,)?]) => {
        fn $net(scope: &Scope<'_>) -> Vec<Stage> {
            stages(scope, $shape)
        }

        pub(crate) static $card: Card = Card {
            name: $name,
            paper: $paper,
            stages: $net,
            neck: None,
            features: $features,
            params: $params,
            macs: $macs,
            top: Some(Top::linear("fc")),
            tokens: None,
            min_size: 32,
            weights: &[$($weights),+],
        };
    };
}

const V1: Input = Input::TORCHVISION;
/// torchvision's second recipe: a larger resize before the crop.
const V2: Input = Input::TORCHVISION.sized(224, 232);
const BSD: &str = "BSD-3-Clause";

card!(
    RESNET18,
    "resnet18",
    "arXiv:1512.03385",
    resnet18,
    plain([2, 2, 2, 2], false),
    512,
    11_176_512,
    1_813_561_344,
    [Weights::hub("tv-in1k", "timm/resnet18.tv_in1k", BSD, V1, 69.758),]
);
card!(
    RESNET34,
    "resnet34",
    "arXiv:1512.03385",
    resnet34,
    plain([3, 4, 6, 3], false),
    512,
    21_284_672,
    3_663_249_408,
    [Weights::hub("tv-in1k", "timm/resnet34.tv_in1k", BSD, V1, 73.314),]
);
card!(
    RESNET50,
    "resnet50",
    "arXiv:1512.03385",
    resnet50,
    plain([3, 4, 6, 3], true),
    2048,
    23_508_032,
    4_087_136_256,
    [
        Weights::hub("tv-in1k", "timm/resnet50.tv_in1k", BSD, V1, 76.130),
        Weights::hub("tv2-in1k", "timm/resnet50.tv2_in1k", BSD, V2, 80.858),
    ]
);
card!(
    RESNET101,
    "resnet101",
    "arXiv:1512.03385",
    resnet101,
    plain([3, 4, 23, 3], true),
    2048,
    42_500_160,
    7_799_357_440,
    [
        Weights::hub("tv-in1k", "timm/resnet101.tv_in1k", BSD, V1, 77.374),
        Weights::hub("tv2-in1k", "timm/resnet101.tv2_in1k", BSD, V2, 81.886),
    ]
);
card!(
    RESNET152,
    "resnet152",
    "arXiv:1512.03385",
    resnet152,
    plain([3, 8, 36, 3], true),
    2048,
    58_143_808,
    11_511_578_624,
    [
        Weights::hub("tv-in1k", "timm/resnet152.tv_in1k", BSD, V1, 78.312),
        Weights::hub("tv2-in1k", "timm/resnet152.tv2_in1k", BSD, V2, 82.284),
    ]
);
card!(
    RESNEXT50,
    "resnext50-32x4d",
    "arXiv:1611.05431",
    resnext50,
    Shape { groups: 32, width: 128, ..plain([3, 4, 6, 3], true) },
    2048,
    22_979_904,
    4_228_431_872,
    [
        Weights::hub("tv-in1k", "timm/resnext50_32x4d.tv_in1k", BSD, V1, 77.618),
        Weights::hub("tv2-in1k", "timm/resnext50_32x4d.tv2_in1k", BSD, V2, 81.198),
    ]
);
card!(
    RESNEXT101_32,
    "resnext101-32x8d",
    "arXiv:1611.05431",
    resnext101_32,
    Shape { groups: 32, width: 256, ..plain([3, 4, 23, 3], true) },
    2048,
    86_742_336,
    16_411_967_488,
    [
        Weights::hub("tv-in1k", "timm/resnext101_32x8d.tv_in1k", BSD, V1, 79.312),
        Weights::hub("tv2-in1k", "timm/resnext101_32x8d.tv2_in1k", BSD, V2, 82.834),
    ]
);
card!(
    RESNEXT101_64,
    "resnext101-64x4d",
    "arXiv:1611.05431",
    resnext101_64,
    Shape { groups: 64, width: 256, ..plain([3, 4, 23, 3], true) },
    2048,
    81_406_272,
    15_458_222_080,
    [Weights::hub("tv-in1k", "timm/resnext101_64x4d.tv_in1k", BSD, V2, 83.246),]
);
card!(
    WIDE_RESNET50,
    "wide-resnet50-2",
    "arXiv:1605.07146",
    wide_resnet50,
    Shape { width: 128, ..plain([3, 4, 6, 3], true) },
    2048,
    66_834_240,
    11_395_973_120,
    [
        Weights::hub("tv-in1k", "timm/wide_resnet50_2.tv_in1k", BSD, V1, 78.468),
        Weights::hub("tv2-in1k", "timm/wide_resnet50_2.tv2_in1k", BSD, V2, 81.602),
    ]
);

#[derive(Debug)]
struct Stem {
    pads: [Pad; 2],
    conv: ConvNorm,
    pool: Pool,
}

impl Block for Stem {
    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        self.pads[0].note(xs, 3, mode);
        let ys = self.conv.forward(xs, mode);
        self.pads[1].note(&ys, 1, mode);
        self.pool.forward(&ys, mode)
    }
}

/// Convolutions of a branch, and a convolution of the shortcut where shapes differ.
#[derive(Debug)]
struct Residual {
    branch: Vec<ConvNorm>,
    shortcut: Option<ConvNorm>,
    add: Add,
}

impl Block for Residual {
    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        let Some((last, first)) = self.branch.split_last() else { return xs.shallow_clone() };
        let ys = first.iter().fold(xs.shallow_clone(), |ys, conv| conv.forward(&ys, mode));
        let Some(shortcut) = &self.shortcut else {
            return self.add.forward(last.forward(&ys, mode), xs, mode);
        };
        let through = shortcut.forward(xs, mode);
        let ys = last.forward(&ys, mode);
        if let Some(trace) = mode.trace {
            trace.interleave_last_two_branches();
        }
        self.add.forward(ys, &through, mode)
    }

    fn is_residual(&self) -> bool {
        true
    }
}

fn stages(scope: &Scope<'_>, shape: Shape) -> Vec<Stage> {
    let mut stem = Stage::new("stem", 64, 4);
    stem.push(scope, "conv1", |scope| Stem {
        pads: [Pad::new(scope, "conv1_pad"), Pad::new(scope, "maxpool_pad")],
        conv: ConvNorm::new(
            scope,
            ("conv1", "bn1"),
            ConvSpec::new(3, 64, 7).stride(2),
            NormSpec::TORCH,
            Act::Relu,
        ),
        pool: Pool::new(scope, "maxpool", PoolSpec::max(3, 2, 1)),
    });
    let mut stages = vec![stem];
    let mut inputs = 64;
    for (i, depth) in shape.depths.into_iter().enumerate() {
        let planes = 64 << i;
        let outputs = if shape.bottleneck { planes * 4 } else { planes };
        let stride = if i == 0 { 1 } else { 2 };
        let mut stage = Stage::new(STAGES[i], outputs, stride);
        for j in 0..depth {
            let name = format!("layer{}.{j}", i + 1);
            let stride = if j == 0 { stride } else { 1 };
            stage.push(scope, name.clone(), |scope| {
                residual(&scope.sub(&name), shape, inputs, planes, stride)
            });
            inputs = outputs;
        }
        stages.push(stage);
    }
    stages
}

fn residual(scope: &Scope<'_>, shape: Shape, inputs: i64, planes: i64, stride: i64) -> Residual {
    let conv = |i: usize, spec, act| {
        ConvNorm::new(scope, (&format!("conv{i}"), &format!("bn{i}")), spec, NormSpec::TORCH, act)
    };
    let (branch, outputs) = match shape.bottleneck {
        false => {
            let second = ConvSpec::new(planes, planes, 3);
            let first = ConvSpec::new(inputs, planes, 3).stride(stride);
            (vec![conv(1, first, Act::Relu), conv(2, second, Act::None)], planes)
        }
        true => {
            let (width, outputs) = (planes * shape.width / 64, planes * 4);
            let second = ConvSpec::new(width, width, 3).stride(stride).groups(shape.groups);
            let branch = vec![
                conv(1, ConvSpec::new(inputs, width, 1), Act::Relu),
                conv(2, second, Act::Relu),
                conv(3, ConvSpec::new(width, outputs, 1), Act::None),
            ];
            (branch, outputs)
        }
    };
    let shortcut = (stride != 1 || inputs != outputs).then(|| {
        let spec = ConvSpec::new(inputs, outputs, 1).stride(stride);
        ConvNorm::new(scope, ("downsample.0", "downsample.1"), spec, NormSpec::TORCH, Act::None)
    });
    Residual { branch, shortcut, add: Add::new(scope, Act::Relu) }
}

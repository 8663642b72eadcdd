//! MobileNets: v1 (Howard et al. 2017, arXiv:1704.04861), v2 (Sandler et al. 2018, arXiv:1801.04381) and v3 (Howard et
//! al. 2019, arXiv:1905.02244).
//!
//! Names are timm's. torchvision and timm trained MobileNet v3 with different epsilons in its norms, so the weights say
//! which one is meant.

use tl_torch::Scope;
use tl_weights::{Rename, Source};

use crate::card::{Card, Input, Top, TopPool, Weights, as_published, swap_prefix};
use crate::layers::{Act, Gate, NormSpec};
use crate::mobile::{BlockShape, Head, Layout, Style, rename};
use crate::stage::Stage;

const STYLE: Style = Style {
    norm: NormSpec::TORCH,
    same: false,
    gate: Gate::HardSigmoid,
    squeeze_act: Some(Act::Relu),
    first_generation: false,
};

pub(crate) static V1: Card = Card {
    name: "mobilenet-v1",
    paper: "arXiv:1704.04861",
    stages: v1,
    neck: None,
    features: 1024,
    params: 3_206_976,
    macs: 567_716_352,
    top: Some(Top::linear("classifier")),
    tokens: None,
    min_size: 32,
    weights: &[Weights {
        name: "ra4-in1k",
        source: Source::hub("timm/mobilenetv1_100.ra4_e3600_r224_in1k", "main", "model.safetensors"),
        sha256: None,
        rename: as_published,
        net: None,
        licence: "Apache-2.0",
        classes: 1000,
        input: Input::BICUBIC.halves(),
        top1: Some(75.382),
    }],
};

pub(crate) static V2: Card = Card {
    name: "mobilenet-v2",
    paper: "arXiv:1801.04381",
    stages: v2,
    neck: None,
    features: 1280,
    params: 2_223_872,
    macs: 299_494_272,
    top: Some(Top::linear("classifier")),
    tokens: None,
    min_size: 32,
    weights: &[
        Weights {
            name: "ra-in1k",
            source: Source::hub("timm/mobilenetv2_100.ra_in1k", "main", "model.safetensors"),
            sha256: None,
            rename: as_published,
            net: None,
            licence: "Apache-2.0",
            classes: 1000,
            input: Input::BICUBIC,
            top1: Some(72.976),
        },
        Weights::torchvision(
            "torchvision-v1",
            ("https://download.pytorch.org/models/mobilenet_v2-b0353104.pth", "b0353104"),
            v2_names,
            Input::TORCHVISION.sized(224, 256),
            71.878,
        ),
        Weights::torchvision(
            "torchvision-v2",
            ("https://download.pytorch.org/models/mobilenet_v2-7ebf99e0.pth", "7ebf99e0"),
            v2_names,
            Input::TORCHVISION.sized(224, 232),
            72.154,
        ),
    ],
};

pub(crate) static V3_LARGE: Card = Card {
    name: "mobilenet-v3-large",
    paper: "arXiv:1905.02244",
    stages: v3_large,
    neck: None,
    features: 960,
    params: 2_971_952,
    macs: 214_080_960,
    top: Some(Top {
        pool: TopPool::Average,
        hidden: &[("conv_head", 1280, Act::HardSwish)],
        last: "classifier",
    }),
    tokens: None,
    min_size: 32,
    weights: &[
        Weights {
            name: "ra-in1k",
            source: Source::hub("timm/mobilenetv3_large_100.ra_in1k", "main", "model.safetensors"),
            sha256: None,
            rename: as_published,
            net: Some(v3_large_timm),
            licence: "Apache-2.0",
            classes: 1000,
            input: Input::BICUBIC,
            top1: Some(75.766),
        },
        Weights::torchvision(
            "torchvision-v1",
            ("https://download.pytorch.org/models/mobilenet_v3_large-8738ca79.pth", "8738ca79"),
            v3_large_names,
            Input::TORCHVISION.sized(224, 256),
            74.042,
        ),
        Weights::torchvision(
            "torchvision-v2",
            ("https://download.pytorch.org/models/mobilenet_v3_large-5c1a4163.pth", "5c1a4163"),
            v3_large_names,
            Input::TORCHVISION.sized(224, 232),
            75.274,
        ),
    ],
};

pub(crate) static V3_SMALL: Card = Card {
    name: "mobilenet-v3-small",
    paper: "arXiv:1905.02244",
    stages: v3_small,
    neck: None,
    features: 576,
    params: 927_008,
    macs: 54_896_576,
    top: Some(Top {
        pool: TopPool::Average,
        hidden: &[("conv_head", 1024, Act::HardSwish)],
        last: "classifier",
    }),
    tokens: None,
    min_size: 32,
    weights: &[
        Weights {
            name: "lamb-in1k",
            source: Source::hub("timm/mobilenetv3_small_100.lamb_in1k", "main", "model.safetensors"),
            sha256: None,
            rename: as_published,
            net: Some(v3_small_timm),
            licence: "Apache-2.0",
            classes: 1000,
            input: Input::BICUBIC,
            top1: Some(67.656),
        },
        Weights::torchvision(
            "torchvision-v1",
            ("https://download.pytorch.org/models/mobilenet_v3_small-047dcff4.pth", "047dcff4"),
            v3_small_names,
            Input::TORCHVISION.sized(224, 256),
            67.668,
        ),
    ],
};

fn v1(scope: &Scope<'_>) -> Vec<Stage> {
    const STAGES: [(usize, i64, i64); 5] = [(1, 1, 64), (2, 2, 128), (2, 2, 256), (6, 2, 512), (2, 2, 1024)];
    let mut inputs = 32;
    let mut stages = Vec::new();
    for (repeats, stride, outputs) in STAGES {
        let block = |j: usize| {
            let (stride, width) = if j == 0 { (stride, inputs) } else { (1, outputs) };
            BlockShape { kernel: 3, stride, width, outputs, squeeze: 0, act: Act::Relu6 }
        };
        stages.push((0..repeats).map(block).collect());
        inputs = outputs;
    }
    let style = Style { first_generation: true, ..STYLE };
    Layout { style, stem: 32, act: Act::Relu6, stages, head: Head::None }.define(scope)
}

fn v2_layout() -> Layout {
    const STAGES: [(usize, i64, i64, i64); 7] = [
        (1, 1, 1, 16),
        (2, 2, 6, 24),
        (3, 2, 6, 32),
        (4, 2, 6, 64),
        (3, 1, 6, 96),
        (3, 2, 6, 160),
        (1, 1, 6, 320),
    ];
    let mut inputs = 32;
    let mut stages = Vec::new();
    for (repeats, stride, expansion, outputs) in STAGES {
        let block = |j: usize| {
            let (stride, inputs) = if j == 0 { (stride, inputs) } else { (1, outputs) };
            let width = inputs * expansion;
            BlockShape { kernel: 3, stride, width, outputs, squeeze: 0, act: Act::Relu6 }
        };
        stages.push((0..repeats).map(block).collect());
        inputs = outputs;
    }
    Layout { style: STYLE, stem: 32, act: Act::Relu6, stages, head: Head::Conv(1280) }
}

fn v2(scope: &Scope<'_>) -> Vec<Stage> {
    v2_layout().define(scope)
}

fn v2_names(name: &str) -> Rename {
    let renamed = v2_layout().torchvision_name("conv", false, name);
    rename(
        name,
        renamed.or_else(|| name.strip_prefix("classifier.1.").map(|rest| format!("classifier.{rest}"))),
    )
}

/// Kernel, stride, expanded width, output channels, whether it squeezes, whether its activation is hard swish.
type Row = (i64, i64, i64, i64, bool, bool);

const LARGE: [&[Row]; 6] = [
    &[(3, 1, 16, 16, false, false)],
    &[(3, 2, 64, 24, false, false), (3, 1, 72, 24, false, false)],
    &[(5, 2, 72, 40, true, false), (5, 1, 120, 40, true, false), (5, 1, 120, 40, true, false)],
    &[
        (3, 2, 240, 80, false, true),
        (3, 1, 200, 80, false, true),
        (3, 1, 184, 80, false, true),
        (3, 1, 184, 80, false, true),
    ],
    &[(3, 1, 480, 112, true, true), (3, 1, 672, 112, true, true)],
    &[(5, 2, 672, 160, true, true), (5, 1, 960, 160, true, true), (5, 1, 960, 160, true, true)],
];

const SMALL: [&[Row]; 5] = [
    &[(3, 2, 16, 16, true, false)],
    &[(3, 2, 72, 24, false, false), (3, 1, 88, 24, false, false)],
    &[(5, 2, 96, 40, true, true), (5, 1, 240, 40, true, true), (5, 1, 240, 40, true, true)],
    &[(5, 1, 120, 48, true, true), (5, 1, 144, 48, true, true)],
    &[(5, 2, 288, 96, true, true), (5, 1, 576, 96, true, true), (5, 1, 576, 96, true, true)],
];

fn v3_layout(rows: &[&[Row]], head: i64, norm: NormSpec) -> Layout {
    let block = |&(kernel, stride, width, outputs, squeezes, hard): &Row| BlockShape {
        kernel,
        stride,
        width,
        outputs,
        squeeze: if squeezes { crate::mobile::round_channels(width as f64 / 4.0) } else { 0 },
        act: if hard { Act::HardSwish } else { Act::Relu },
    };
    let stages = rows.iter().map(|rows| rows.iter().map(block).collect()).collect();
    Layout { style: Style { norm, ..STYLE }, stem: 16, act: Act::HardSwish, stages, head: Head::Block(head) }
}

fn v3_large(scope: &Scope<'_>) -> Vec<Stage> {
    v3_layout(&LARGE, 960, NormSpec::TENSORFLOW).define(scope)
}

fn v3_large_timm(scope: &Scope<'_>) -> Vec<Stage> {
    v3_layout(&LARGE, 960, NormSpec::TORCH).define(scope)
}

fn v3_small(scope: &Scope<'_>) -> Vec<Stage> {
    v3_layout(&SMALL, 576, NormSpec::TENSORFLOW).define(scope)
}

fn v3_small_timm(scope: &Scope<'_>) -> Vec<Stage> {
    v3_layout(&SMALL, 576, NormSpec::TORCH).define(scope)
}

fn v3_large_names(name: &str) -> Rename {
    v3_names(&v3_layout(&LARGE, 960, NormSpec::TENSORFLOW), name)
}

fn v3_small_names(name: &str) -> Rename {
    v3_names(&v3_layout(&SMALL, 576, NormSpec::TENSORFLOW), name)
}

fn v3_names(layout: &Layout, name: &str) -> Rename {
    match layout.torchvision_name("block", false, name) {
        Some(renamed) => rename(name, Some(renamed)),
        None => swap_prefix(name, &[("classifier.0.", "conv_head."), ("classifier.3.", "classifier.")]),
    }
}

//! Inception v3 (Szegedy et al. 2015, arXiv:1512.00567), as torchvision and timm have it.
//!
//! Most of its convolutions are not padded, so maps are a little smaller than the stride says: 299 pixels become
//! 35, 17 and 8. The auxiliary classifier of the files is not used.

use tl_torch::Scope;
use tl_weights::{Rename, Source};

use crate::card::{Card, Input, Top, Weights, as_published};
use crate::layers::{Act, Branch, Branches, Concat, ConvNorm, ConvSpec, NormSpec, Pool, PoolSpec};
use crate::stage::{Block, STAGES, Stage};

/// Trained on inputs from -1 to 1; torchvision converts ImageNet's normalisation inside the net.
const INPUT: Input = Input::TORCHVISION.sized(299, 342).halves();

pub(crate) static INCEPTION_V3: Card = Card {
    name: "inception-v3",
    paper: "arXiv:1512.00567",
    stages,
    neck: None,
    features: 2048,
    params: 21_785_568,
    macs: 5_711_168_096,
    top: Some(Top::linear("fc")),
    tokens: None,
    min_size: 75,
    weights: &[Weights {
        name: "tv-in1k",
        source: Source::hub("timm/inception_v3.tv_in1k", "main", "model.safetensors"),
        sha256: None,
        rename: without_auxiliaries,
        net: None,
        licence: "Apache-2.0",
        classes: 1000,
        input: INPUT,
        top1: Some(77.294),
    }],
};

const NORM: NormSpec = NormSpec { eps: 1e-3, momentum: 0.1 };

fn stages(scope: &Scope<'_>) -> Vec<Stage> {
    let mut stem = Stage::new("stem", 192, 8);
    let mut push = |name: &'static str, spec: ConvSpec| {
        stem.push(scope, name, |scope| conv(scope, name, spec));
    };
    push("Conv2d_1a_3x3", ConvSpec::new(3, 32, 3).stride(2).unpadded());
    push("Conv2d_2a_3x3", ConvSpec::new(32, 32, 3).unpadded());
    push("Conv2d_2b_3x3", ConvSpec::new(32, 64, 3));
    let pool = |stage: &mut Stage, name: &'static str| {
        stage.push(scope, name, |scope| Pool::new(scope, name, PoolSpec::max(3, 2, 0)));
    };
    pool(&mut stem, "maxpool1");
    let mut push = |name: &'static str, spec: ConvSpec| {
        stem.push(scope, name, |scope| conv(scope, name, spec));
    };
    push("Conv2d_3b_1x1", ConvSpec::new(64, 80, 1));
    push("Conv2d_4a_3x3", ConvSpec::new(80, 192, 3).unpadded());
    pool(&mut stem, "maxpool2");

    let mut stage1 = Stage::new(STAGES[0], 288, 1);
    for (name, inputs, pooled) in [("Mixed_5b", 192, 32), ("Mixed_5c", 256, 64), ("Mixed_5d", 288, 64)] {
        stage1.push(scope, name, |scope| module_a(&scope.sub(name), inputs, pooled));
    }
    let mut stage2 = Stage::new(STAGES[1], 768, 2);
    stage2.push(scope, "Mixed_6a", |scope| module_b(&scope.sub("Mixed_6a")));
    for (name, width) in [("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)] {
        stage2.push(scope, name, |scope| module_c(&scope.sub(name), width));
    }
    let mut stage3 = Stage::new(STAGES[2], 2048, 2);
    stage3.push(scope, "Mixed_7a", |scope| module_d(&scope.sub("Mixed_7a")));
    for (name, inputs) in [("Mixed_7b", 1280), ("Mixed_7c", 2048)] {
        stage3.push(scope, name, |scope| module_e(&scope.sub(name), inputs));
    }
    vec![stem, stage1, stage2, stage3]
}

fn conv(scope: &Scope<'_>, name: &str, spec: ConvSpec) -> ConvNorm {
    ConvNorm::new(&scope.sub(name), ("conv", "bn"), spec, NORM, Act::Relu)
}

fn one(inputs: i64, outputs: i64) -> ConvSpec {
    ConvSpec::new(inputs, outputs, 1)
}

fn square(inputs: i64, outputs: i64) -> ConvSpec {
    ConvSpec::new(inputs, outputs, 3)
}

fn halving(inputs: i64, outputs: i64) -> ConvSpec {
    ConvSpec::new(inputs, outputs, 3).stride(2).unpadded()
}

fn row(inputs: i64, outputs: i64, length: i64) -> ConvSpec {
    ConvSpec::oblong(inputs, outputs, (1, length))
}

fn column(inputs: i64, outputs: i64, length: i64) -> ConvSpec {
    ConvSpec::oblong(inputs, outputs, (length, 1))
}

/// Convolutions one after another: `NAME_1`, `NAME_2`, …, or `NAME` alone.
fn chain(scope: &Scope<'_>, name: &str, specs: &[ConvSpec]) -> Branch {
    let step = |(i, spec): (usize, &ConvSpec)| -> Box<dyn Block> {
        match specs.len() {
            1 => Box::new(conv(scope, name, *spec)),
            _ => Box::new(conv(scope, &format!("{name}_{}", i + 1), *spec)),
        }
    };
    specs.iter().enumerate().map(step).collect()
}

fn pooled(scope: &Scope<'_>, inputs: i64, outputs: i64) -> Branch {
    let pool = Pool::new(scope, "avg_pool", PoolSpec::average(3, 1, 1));
    vec![Box::new(pool), Box::new(conv(scope, "branch_pool", one(inputs, outputs)))]
}

fn shrunk(scope: &Scope<'_>) -> Branch {
    vec![Box::new(Pool::new(scope, "max_pool", PoolSpec::max(3, 2, 0)))]
}

fn join(scope: &Scope<'_>, branches: Vec<Branch>) -> Branches {
    Branches { branches, concat: Concat::new(scope) }
}

fn module_a(scope: &Scope<'_>, inputs: i64, pool: i64) -> Branches {
    let branches = vec![
        chain(scope, "branch1x1", &[one(inputs, 64)]),
        chain(scope, "branch5x5", &[one(inputs, 48), ConvSpec::new(48, 64, 5)]),
        chain(scope, "branch3x3dbl", &[one(inputs, 64), square(64, 96), square(96, 96)]),
        pooled(scope, inputs, pool),
    ];
    join(scope, branches)
}

fn module_b(scope: &Scope<'_>) -> Branches {
    let branches = vec![
        chain(scope, "branch3x3", &[halving(288, 384)]),
        chain(scope, "branch3x3dbl", &[one(288, 64), square(64, 96), halving(96, 96)]),
        shrunk(scope),
    ];
    join(scope, branches)
}

fn module_c(scope: &Scope<'_>, width: i64) -> Branches {
    let long = [
        one(768, width),
        column(width, width, 7),
        row(width, width, 7),
        column(width, width, 7),
        row(width, 192, 7),
    ];
    let branches = vec![
        chain(scope, "branch1x1", &[one(768, 192)]),
        chain(scope, "branch7x7", &[one(768, width), row(width, width, 7), column(width, 192, 7)]),
        chain(scope, "branch7x7dbl", &long),
        pooled(scope, 768, 192),
    ];
    join(scope, branches)
}

fn module_d(scope: &Scope<'_>) -> Branches {
    let long = [one(768, 192), row(192, 192, 7), column(192, 192, 7), halving(192, 192)];
    let branches = vec![
        chain(scope, "branch3x3", &[one(768, 192), halving(192, 320)]),
        chain(scope, "branch7x7x3", &long),
        shrunk(scope),
    ];
    join(scope, branches)
}

fn module_e(scope: &Scope<'_>, inputs: i64) -> Branches {
    // Two convolutions of the same input, joined.
    let fork = |name: &str, last: u8| -> Box<dyn Block> {
        let part = |letter: &str, spec| -> Branch {
            vec![Box::new(conv(scope, &format!("{name}_{last}{letter}"), spec))]
        };
        let branches = vec![part("a", row(384, 384, 3)), part("b", column(384, 384, 3))];
        Box::new(join(&scope.sub(name), branches))
    };
    let mut branch3: Branch = vec![Box::new(conv(scope, "branch3x3_1", one(inputs, 384)))];
    branch3.push(fork("branch3x3", 2));
    let mut double = chain(scope, "branch3x3dbl", &[one(inputs, 448), square(448, 384)]);
    double.push(fork("branch3x3dbl", 3));
    let first = chain(scope, "branch1x1", &[one(inputs, 320)]);
    join(scope, vec![first, branch3, double, pooled(scope, inputs, 192)])
}

fn without_auxiliaries(name: &str) -> Rename {
    if name.starts_with("AuxLogits.") { Rename::Ignore } else { as_published(name) }
}

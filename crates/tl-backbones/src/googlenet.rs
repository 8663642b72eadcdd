//! GoogLeNet, also called Inception v1 (Szegedy et al. 2014, arXiv:1409.4842), with batch-norm, as torchvision has it
//! (its "5×5" branch is 3×3, as in the weights that it was ported from).
//!
//! A stage ends where the map is halved. The auxiliary classifiers of the files are not used.

use tl_torch::Scope;
use tl_weights::{Rename, Source};

use crate::card::{Card, Input, Top, Weights, as_published};
use crate::layers::{Act, Branches, Concat, ConvNorm, ConvSpec, NormSpec, Pool, PoolSpec};
use crate::stage::{Block, STAGES, Stage};

pub(crate) static GOOGLENET: Card = Card {
    name: "googlenet",
    paper: "arXiv:1409.4842",
    stages,
    neck: None,
    features: 1024,
    params: 5_599_904,
    macs: 1_497_352_192,
    top: Some(Top::linear("fc")),
    tokens: None,
    min_size: 32,
    weights: &[Weights {
        name: "torchvision-v1",
        source: Source::url("https://download.pytorch.org/models/googlenet-1378be20.pth"),
        sha256: Some("1378be20"),
        rename: without_auxiliaries,
        net: None,
        licence: "BSD-3-Clause",
        classes: 1000,
        // These weights were trained on inputs from -1 to 1; torchvision converts ImageNet's normalisation inside the net.
        input: Input::TORCHVISION.halves(),
        top1: Some(69.778),
    }],
};

const NORM: NormSpec = NormSpec { eps: 1e-3, momentum: 0.1 };

/// Name, input channels, then output channels: 1×1; reduction and 3×3; reduction and "5×5"; 1×1 behind pooling.
type Row = (&'static str, i64, [i64; 6]);

const MODULES: [&[Row]; 3] = [
    &[("inception3a", 192, [64, 96, 128, 16, 32, 32]), ("inception3b", 256, [128, 128, 192, 32, 96, 64])],
    &[
        ("inception4a", 480, [192, 96, 208, 16, 48, 64]),
        ("inception4b", 512, [160, 112, 224, 24, 64, 64]),
        ("inception4c", 512, [128, 128, 256, 24, 64, 64]),
        ("inception4d", 512, [112, 144, 288, 32, 64, 64]),
        ("inception4e", 528, [256, 160, 320, 32, 128, 128]),
    ],
    &[
        ("inception5a", 832, [256, 160, 320, 32, 128, 128]),
        ("inception5b", 832, [384, 192, 384, 48, 128, 128]),
    ],
];

fn stages(scope: &Scope<'_>) -> Vec<Stage> {
    let mut stem = Stage::new("stem", 192, 8);
    stem.push(scope, "conv1", |scope| conv(scope, "conv1", ConvSpec::new(3, 64, 7).stride(2)));
    stem.push(scope, "maxpool1", |scope| Pool::new(scope, "maxpool1", PoolSpec::max(3, 2, 0).ceil()));
    stem.push(scope, "conv2", |scope| conv(scope, "conv2", ConvSpec::new(64, 64, 1)));
    stem.push(scope, "conv3", |scope| conv(scope, "conv3", ConvSpec::new(64, 192, 3)));
    stem.push(scope, "maxpool2", |scope| Pool::new(scope, "maxpool2", PoolSpec::max(3, 2, 0).ceil()));
    let mut stages = vec![stem];
    for (i, rows) in MODULES.into_iter().enumerate() {
        let outputs = |(_, _, [a, _, b, _, c, d]): &Row| a + b + c + d;
        let pool =
            [("maxpool3", PoolSpec::max(3, 2, 0)), ("maxpool4", PoolSpec::max(2, 2, 0))].get(i).copied();
        let mut stage =
            Stage::new(STAGES[i], rows.last().map_or(0, outputs), if pool.is_some() { 2 } else { 1 });
        for row in rows {
            stage.push(scope, row.0, |scope| inception(&scope.sub(row.0), row));
        }
        if let Some((name, spec)) = pool {
            stage.push(scope, name, |scope| Pool::new(scope, name, spec.ceil()));
        }
        stages.push(stage);
    }
    stages
}

fn conv(scope: &Scope<'_>, name: &str, spec: ConvSpec) -> ConvNorm {
    ConvNorm::new(&scope.sub(name), ("conv", "bn"), spec, NORM, Act::Relu)
}

fn inception(scope: &Scope<'_>, &(_, inputs, [one, reduce3, three, reduce5, five, pool]): &Row) -> Branches {
    let step = |name: &str, spec| -> Box<dyn Block> { Box::new(conv(scope, name, spec)) };
    Branches {
        branches: vec![
            vec![step("branch1", ConvSpec::new(inputs, one, 1))],
            vec![
                step("branch2.0", ConvSpec::new(inputs, reduce3, 1)),
                step("branch2.1", ConvSpec::new(reduce3, three, 3)),
            ],
            vec![
                step("branch3.0", ConvSpec::new(inputs, reduce5, 1)),
                step("branch3.1", ConvSpec::new(reduce5, five, 3)),
            ],
            vec![
                Box::new(Pool::new(scope, "branch4.0", PoolSpec::max(3, 1, 1).ceil())),
                step("branch4.1", ConvSpec::new(inputs, pool, 1)),
            ],
        ],
        concat: Concat::new(scope),
    }
}

fn without_auxiliaries(name: &str) -> Rename {
    if name.starts_with("aux1.") || name.starts_with("aux2.") { Rename::Ignore } else { as_published(name) }
}

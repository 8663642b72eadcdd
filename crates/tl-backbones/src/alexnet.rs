//! AlexNet (Krizhevsky et al. 2012), in the form of Krizhevsky 2014, arXiv:1404.5997, as torchvision has it.
//!
//! Five convolutions. A stage ends where the map is halved, so the last three convolutions are one stage. This is the
//! smallest file of a family, and the one that `CONTRIBUTING.md` explains.

use tl_torch::Scope;

use crate::card::{Card, Input, Top, TopPool, Weights, as_published};
use crate::layers::{Act, Conv, ConvSpec, Padding, Pool, PoolSpec};
use crate::stage::{STAGES, Stage};

pub(crate) static ALEXNET: Card = Card {
    name: "alexnet",
    paper: "arXiv:1404.5997",
    stages,
    neck: None,
    features: 256,
    params: 2_469_696,
    macs: 655_566_528,
    top: Some(Top {
        pool: TopPool::Grid(6),
        hidden: &[("classifier.1", 4096, Act::Relu), ("classifier.4", 4096, Act::Relu)],
        last: "classifier.6",
    }),
    tokens: None,
    min_size: 63,
    weights: &[Weights::torchvision(
        "torchvision-v1",
        ("https://download.pytorch.org/models/alexnet-owt-7be5be79.pth", "7be5be79"),
        as_published,
        Input::TORCHVISION,
        56.522,
    )],
};

/// What torchvision calls a convolution, its channels and its kernel.
type Row = (&'static str, ConvSpec);

fn stages(scope: &Scope<'_>) -> Vec<Stage> {
    let first = ConvSpec::new(3, 64, 11).stride(4).padding(Padding::Of(2, 2));
    vec![
        stage(scope, STAGES[0], &[("0", first)], "2"),
        stage(scope, STAGES[1], &[("3", ConvSpec::new(64, 192, 5))], "5"),
        stage(
            scope,
            STAGES[2],
            &[
                ("6", ConvSpec::new(192, 384, 3)),
                ("8", ConvSpec::new(384, 256, 3)),
                ("10", ConvSpec::new(256, 256, 3)),
            ],
            "12",
        ),
    ]
}

/// Convolutions and the pooling behind them, each a block of its own.
fn stage(scope: &Scope<'_>, name: &'static str, convs: &[Row], pool: &str) -> Stage {
    let features = scope.sub("features");
    let outputs = convs.last().map_or(0, |(_, spec)| spec.outputs);
    let stride = convs.iter().map(|(_, spec)| spec.stride).product::<i64>() * 2;
    let mut stage = Stage::new(name, outputs, stride);
    for (name, spec) in convs {
        stage.push(&features, format!("features.{name}"), |scope| Conv::new(scope, name, *spec, Act::Relu));
    }
    stage.push(&features, format!("features.{pool}"), |scope| Pool::new(scope, pool, PoolSpec::max(3, 2, 0)));
    stage
}

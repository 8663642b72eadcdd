//! What a person reads before a run.

use super::{WIDTH, wrap};
use crate::nets::{resnet, tiny, vgg16};
use crate::*;

fn text(schedule: &Schedule, net: &NetInfo) -> String {
    schedule.plan(net, 55).unwrap_or_else(|errors| panic!("{errors}")).to_string()
}

fn preset(preset: Preset, net: &NetInfo) -> Schedule {
    preset.schedule(net, &PresetOptions::default()).unwrap()
}

#[test]
fn the_table_reads_well() {
    let net = tiny();
    let expected = "\
phase       epochs  trains        parameters  rate head  rate stages   batch-norm  images
head        24      head          55          1e-3       -             frozen      6 views, cached
last-stage  12      stage2, head  3055        6e-4       2e-4          frozen      6 views, cached
all         2       stem..head    3265        6e-5       1.1e-6..2e-5  frozen      augmented

phase       frozen below  optimizer  weight decay  curve
head        head          adamw      0.01          cosine
last-stage  stage2        adamw      0.01          cosine, warm-up 10%
all         -             adamw      0.01          cosine, warm-up 10%
";
    assert_eq!(text(&preset(Preset::Gradual, &net), &net), expected);
}

#[test]
fn wide_columns_are_broken() {
    let net = resnet();
    let train = ["conv1", "layer2.1", "layer3..", "head"].map(|part| PartRate::new(part, 1e-4)).to_vec();
    let phases = vec![
        Phase {
            early_stopping: Some(EarlyStopping { patience: 3, min_delta: 0.0, metric: None }),
            augment: true,
            views: 4,
            clip_norm: Some(1.0),
            accumulate: 4,
            ..Phase::new("head", vec![PartRate::new("head", 1e-3)], 30)
        },
        Phase {
            early_stopping: Some(EarlyStopping {
                patience: 1,
                min_delta: 0.0,
                metric: Some(Metric::MacroF1),
            }),
            curve: Curve::Plateau { factor: 0.1, patience: 0, min_delta: 0.0, metric: Metric::Loss },
            optimizer: Optimizer::Sgd { momentum: 0.9, nesterov: true },
            optimizer_state: OptimizerState::Keep,
            weight_decay: 1e-4,
            ema: Some(0.999),
            batch_norm: BatchNorm::Statistics,
            dropout: Some(0.3),
            drop_path: 0.1,
            label_smoothing: Some(0.1),
            restore_best: false,
            ..Phase::new("unfreeze", train, 5)
        },
    ];
    let expected = "\
phase     epochs    trains           parameters  rate head  rate stages  batch-norm  images
head      up to 30  head             55          1e-3       -            frozen      4 views, cached
unfreeze  up to 5   stem (1 of 2     1935        1e-4       1e-4         statistics  plain
                    layers), layer2
                    (4 of 10
                    layers),
                    layer3..head

phase     frozen below  optimizer                    weight decay  curve
head      head          adamw                        0.01          cosine, warm-up 10%
unfreeze  -             sgd, momentum 0.9, nesterov  0.0001        plateau of loss, times 0.1

phase     also
head      stops after 3 epochs without gain, gradients clipped at 1, 4 batches a step
unfreeze  stops after an epoch without better macro-f1, moments kept, weights averaged with 0.999,
          dropout 0.3, drop-path 0.1, label smoothing 0.1, last weights kept
";
    assert_eq!(text(&Schedule { phases }, &net), expected);
    assert!(expected.lines().all(|line| line.chars().count() <= WIDTH));
}

#[test]
fn every_preset_fits_a_terminal() {
    for net in [tiny(), vgg16(), resnet()] {
        for name in Preset::ALL {
            let text = text(&preset(name, &net), &net);
            assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        }
    }
}

#[test]
fn words_are_not_broken() {
    assert_eq!(wrap("stem (1 of 2 layers), head", 10), ["stem (1 of", "2 layers),", "head"]);
    assert_eq!(wrap("layer4.0.downsample head", 4), ["layer4.0.downsample", "head"]);
    assert_eq!(wrap("", 4), [""]);
}

//! Plans of nets whose numbers can be added up by hand, and schedules with everything wrong at once.

use crate::nets::{resnet, tiny, vgg16};
use crate::*;

fn plan(schedule: &Schedule, net: &NetInfo) -> Plan {
    schedule.plan(net, 55).unwrap_or_else(|errors| panic!("{errors}"))
}

fn part(part: &str, rate: f64) -> PartRate {
    PartRate::new(part, rate)
}

fn preset(preset: Preset, net: &NetInfo) -> Schedule {
    preset.schedule(net, &PresetOptions::default()).unwrap()
}

/// The phase `all` of a preset with other parts.
fn phase(train: &[&str]) -> Schedule {
    let mut schedule = preset(Preset::Full, &tiny());
    schedule.phases[0].train = train.iter().map(|name| part(name, 1e-4)).collect();
    schedule
}

#[test]
fn rates_are_by_layer_and_layers_without_parameters_have_none() {
    let net = vgg16();
    let mut schedule = phase(&["last-4-layers", "head"]);
    schedule.phases[0].train.push(part("block4_conv3", 1e-5));
    let plan = plan(&schedule, &net);
    let phase = &plan.phases[0];
    let mut expected = vec![None; 18];
    expected[12] = Some(1e-5);
    expected[14..17].fill(Some(1e-4));
    assert_eq!(phase.layer_rates, expected);
    assert_eq!((phase.frontier, phase.head_rate), (3, Some(1e-4)));
    assert_eq!(phase.params, 4 * (9 * 512 * 512 + 512) + 55);
    assert_eq!(phase.trained(&net), "stage4 (1 of 3 layers), stage5, head");
    assert_eq!(phase.stage_rate(&net, 3), Some((1e-5, 1e-5)));
    assert_eq!(phase.stage_rate_range(), Some((1e-5, 1e-4)));
    assert_eq!((2..6).map(|i| phase.trains_whole(&net, i)).collect::<Vec<_>>(), [false, false, true, false]);
}

#[test]
fn frozen_norms_are_not_counted_as_trained() {
    let net = tiny();
    let mut schedule = preset(Preset::Full, &net);
    schedule.phases[0].batch_norm = BatchNorm::Train;
    assert_eq!(plan(&schedule, &net).phases[0].params, 55 + 11 + 202 + 3003);
}

#[test]
fn what_trains_is_told_by_stage() {
    let net = resnet();
    for (parts, expected) in [
        (&["layer4", "head"][..], "layer4, head"),
        (&["layer3..", "head"], "layer3..head"),
        (&["stem..layer1", "head"], "stem, layer1, head"),
        (&["layer4.1", "head"], "layer4 (4 of 10 layers), head"),
        (&["*.conv1", "head"], "layer1..layer4 (8 of 40 layers), head"),
        (
            &["conv1", "layer2.1", "layer3..", "head"],
            "stem (1 of 2 layers), layer2 (4 of 10 layers), layer3..head",
        ),
        (&["layer3.1", "layer1", "head"], "layer1, layer3 (4 of 10 layers), head"),
    ] {
        assert_eq!(plan(&phase(parts), &net).phases[0].trained(&net), expected);
    }
}

#[test]
fn all_errors_are_reported_together() {
    let net = tiny();
    let mut schedule = preset(Preset::Gradual, &net);
    schedule.phases[0].train.clear();
    schedule.phases[1].name = "head".to_owned();
    schedule.phases[1].epochs = 0;
    schedule.phases[1].train[0].part = "stagee2".to_owned();
    schedule.phases[1].train.extend([
        part("last-4-stages", 1.0),
        part("*.act", 1.0),
        part("layers[3:3]", 11.0),
    ]);
    schedule.phases[2].train[0].rate = f64::NAN;
    schedule.phases[2].curve = Curve::Cosine { warmup: 1.0 };
    schedule.phases[2].train.extend([part("stage1", 1.0), part(" head", 1.0), part("*conv", 1.0)]);
    let errors = schedule.plan(&net, 55).unwrap_err();
    let expected = [
        "phase `head`: nothing trains; expected at least one part of the net or `head` in `train`",
        "phase `head`: the name is used twice",
        "phase `head`: `epochs` is 0, expected at least 1",
        "phase `head`: `rate of layers[3:3]` is 11, expected above 0, at most 10",
        "phase `head`: part `stagee2`: no stage, block or layer has this name, did you mean `stage2`? The stages \
         are stem, stage1, stage2",
        "phase `head`: part `last-4-stages`: the net has only 3 stages",
        "phase `head`: part `*.act`: it has no parameters, so there is nothing to train",
        "phase `head`: part `layers[3:3]`: it covers no layer; hint: `layers[A:B]` goes from layer A to the one \
         before B",
        "phase `all`: `curve.warmup` is 1, expected 0 or more, below 1",
        "phase `all`: `rate of stem` is NaN, expected above 0, at most 10",
        "phase `all`: part `stage1` is listed twice",
        "phase `all`: part `head` is listed twice",
        "phase `all`: parts `stem` and `*conv` both cover layer `stem.conv`",
        "phase `all`: parts `stage1` and `*conv` both cover layer `stage1.conv`",
        "phase `all`: parts `stage2` and `*conv` both cover layer `stage2.conv`",
    ];
    assert_eq!(errors.to_string().lines().collect::<Vec<_>>(), expected);
    let none = Schedule { phases: Vec::new() }.plan(&net, 55).unwrap_err();
    assert_eq!(none.0, [PlanError::NoPhases]);
}

#[test]
fn parts_that_share_layers_are_named_with_the_first_of_them() {
    let net = vgg16();
    let errors = phase(&["stage4..", "block1_conv1", "last-4-layers", "head"]).plan(&net, 55).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "phase `all`: parts `stage4..` and `last-4-layers` both cover layer `block5_conv1` and 2 more"
    );
}

#[test]
fn norms_alone_train_only_if_they_may() {
    let net = resnet();
    // With the head, too: a part that trains nothing is not what was meant.
    let mut schedule = phase(&["*.bn1", "head"]);
    let errors = schedule.plan(&net, 55).unwrap_err();
    let (phase, part) = ("all".to_owned(), "*.bn1".to_owned());
    assert_eq!(errors.0, [PlanError::NormsOnly { phase, part }]);
    assert!(errors.to_string().contains("part `*.bn1` holds only batch-norms, which stay as they are"));
    schedule.phases[0].batch_norm = BatchNorm::Train;
    assert_eq!(plan(&schedule, &net).phases[0].params, 8 * 8 + 55);
}

#[test]
fn a_head_that_never_trains_is_refused() {
    assert_eq!(phase(&["stage1"]).plan(&tiny(), 55).unwrap_err().0, [PlanError::HeadNeverTrains]);
}

#[test]
fn every_number_has_its_range() {
    let numbers = |phase: Phase| -> Vec<String> {
        let errors = Schedule { phases: vec![phase] }.plan(&tiny(), 55).unwrap_err();
        errors.0.iter().map(ToString::to_string).collect()
    };
    let head = || Phase::new("head", vec![part("head", 1e-3)], 5);
    let out =
        |key: &str, got: &str, expected: &str| format!("phase `head`: `{key}` is {got}, expected {expected}");
    let stopping = EarlyStopping { patience: 0, min_delta: -1.0, metric: None };
    let wrong = Phase {
        epochs: 0,
        early_stopping: Some(stopping),
        weight_decay: 1.0,
        clip_norm: Some(0.0),
        accumulate: 0,
        ema: Some(1.0),
        dropout: Some(1.0),
        drop_path: -0.1,
        label_smoothing: Some(f64::NAN),
        ..head()
    };
    assert_eq!(
        numbers(wrong),
        [
            out("epochs", "0", "at least 1"),
            out("weight_decay", "1", "0 or more, below 1"),
            out("accumulate", "0", "at least 1"),
            out("drop_path", "-0.1", "0 or more, below 1"),
            out("clip_norm", "0", "above 0"),
            out("ema", "1", "above 0, below 1"),
            out("dropout", "1", "0 or more, below 1"),
            out("label_smoothing", "NaN", "0 or more, below 1"),
            out("early_stopping.patience", "0", "at least 1"),
            out("early_stopping.min_delta", "-1", "0 or more"),
        ]
    );
    let curves = [
        (
            Curve::Step { every: 0, gamma: 0.0 },
            vec![("every", "0", "at least 1"), ("gamma", "0", "above 0, at most 1")],
        ),
        (Curve::Exponential { gamma: 1.1 }, vec![("gamma", "1.1", "above 0, at most 1")]),
        (Curve::Cosine { warmup: -0.1 }, vec![("warmup", "-0.1", "0 or more, below 1")]),
        (Curve::Linear { warmup: 1.0 }, vec![("warmup", "1", "0 or more, below 1")]),
        (
            Curve::OneCycle { start: 1.1, div: 0.5, final_div: f64::INFINITY, cycle_momentum: true },
            vec![
                ("start", "1.1", "0 or more, at most 1"),
                ("div", "0.5", "at least 1"),
                ("final_div", "inf", "at least 1"),
            ],
        ),
        (
            Curve::SlantedTriangular { cut: 0.0, ratio: 0.0 },
            vec![("cut", "0", "above 0, below 1"), ("ratio", "0", "at least 1")],
        ),
        (
            Curve::Plateau { factor: 1.0, patience: 0, min_delta: -1.0, metric: Metric::Loss },
            vec![("factor", "1", "above 0, below 1"), ("min_delta", "-1", "0 or more")],
        ),
    ];
    for (curve, expected) in curves {
        let expected: Vec<String> =
            expected.into_iter().map(|(key, got, range)| out(&format!("curve.{key}"), got, range)).collect();
        assert_eq!(numbers(Phase { curve, ..head() }), expected);
    }
    let below = "0 or more, below 1";
    let optimizers = [
        (Optimizer::Sgd { momentum: 1.0, nesterov: false }, vec![("momentum", "1", below)]),
        (Optimizer::Sgd { momentum: 0.0, nesterov: true }, vec![("momentum", "0", "above 0, below 1")]),
        (
            Optimizer::Adam { beta1: 1.0, beta2: -0.5, epsilon: 0.0 },
            vec![("beta1", "1", below), ("beta2", "-0.5", below), ("epsilon", "0", "above 0")],
        ),
        (Optimizer::AdamW { beta1: 2.0, beta2: 0.5, epsilon: 1.0 }, vec![("beta1", "2", below)]),
        (Optimizer::Lamb { beta1: 0.5, beta2: 2.0, epsilon: 1.0 }, vec![("beta2", "2", below)]),
        (
            Optimizer::RmsProp { alpha: 1.0, epsilon: -1.0, momentum: 1.0 },
            vec![("alpha", "1", below), ("epsilon", "-1", "above 0"), ("momentum", "1", below)],
        ),
        (Optimizer::Lion { beta1: 1.0, beta2: 1.0 }, vec![("beta1", "1", below), ("beta2", "1", below)]),
    ];
    for (optimizer, expected) in optimizers {
        let expected: Vec<String> = expected
            .into_iter()
            .map(|(key, got, range)| out(&format!("optimizer.{key}"), got, range))
            .collect();
        assert_eq!(numbers(Phase { optimizer, ..head() }), expected);
    }
    let decay = |part: &str, factor| PartRate {
        decay: Some(Decay { factor, by: DecayBy::Stage }),
        ..PartRate::new(part, 1e-3)
    };
    assert_eq!(
        numbers(Phase { train: vec![decay("all", 0.0), part("head", 0.0)], ..head() }),
        [out("rate of head", "0", "above 0, at most 10"), out("decay of all", "0", "above 0, at most 1")]
            .into_iter()
            .rev()
            .collect::<Vec<_>>()
    );
    assert_eq!(
        numbers(Phase { name: " ".to_owned(), train: vec![decay("head", 0.5)], views: 3, ..head() }),
        [
            "phase 1: it has no name; expected a few letters, such as `head`",
            "phase ` `: `views` is 3 and `augment` is false, so that all views of an image would be the same; expected \
             `augment` to be true, or no `views`",
            "phase ` `: part `head` has a `decay`, and there is no group below it in the head",
        ]
    );
}

#[test]
fn decay_falls_from_the_top_of_the_part() {
    let rates = |net: &NetInfo, text: &str, factor, by| -> Vec<(String, f64)> {
        let decayed = PartRate { decay: Some(Decay { factor, by }), ..part(text, 1.0) };
        let schedule = Schedule { phases: vec![Phase::new("all", vec![decayed, part("head", 1.0)], 1)] };
        let rates = plan(&schedule, net).phases.remove(0).layer_rates;
        let layers = net.layers.iter().zip(rates);
        layers.filter_map(|(layer, rate)| Some((layer.name.clone(), rate?))).collect()
    };
    let net = resnet();
    let of = |rates: &[(String, f64)], name: &str| rates.iter().find(|(layer, _)| layer == name).unwrap().1;
    let all = rates(&net, "all", 0.5, DecayBy::Stage);
    // The stage that only pools is no step.
    for (layer, rate) in
        [("layer4.1.conv2", 1.0), ("layer4.0.conv1", 1.0), ("layer3.0.bn1", 0.5), ("conv1", 0.0625)]
    {
        assert_eq!(of(&all, layer), rate, "{layer}");
    }
    let all = rates(&net, "all", 0.5, DecayBy::Block);
    for (layer, rate) in [
        ("layer4.1.conv2", 1.0),
        ("layer4.0.conv1", 0.5),
        ("layer3.1.bn1", 0.25),
        ("conv1", 2.0_f64.powi(-8)),
    ] {
        assert_eq!(of(&all, layer), rate, "{layer}");
    }
    let some = rates(&net, "layer1..layer3", 0.5, DecayBy::Stage);
    assert_eq!((of(&some, "layer3.0.conv1"), of(&some, "layer1.0.conv1")), (1.0, 0.25));
    // What lies between counts, so that a layer's rate depends on its depth.
    let some = rates(&net, "layer*.0.conv*", 0.5, DecayBy::Block);
    assert_eq!((of(&some, "layer4.0.conv1"), of(&some, "layer3.0.conv2")), (1.0, 0.25));
    assert!(rates(&vgg16(), "stage4..", 1.0, DecayBy::Block).iter().all(|(_, rate)| *rate == 1.0));
}

//! Plans of nets whose numbers can be added up by hand, and schedules with everything wrong at once.

use crate::nets::{resnet, tiny, vgg16};
use crate::*;

fn plan(schedule: &Schedule, net: &NetInfo) -> Plan {
    schedule.plan(net, 55).unwrap_or_else(|errors| panic!("{errors}"))
}

fn part(part: &str, rate: f64) -> PartRate {
    PartRate { part: part.to_owned(), rate }
}

/// The phase `all` of a preset with other parts.
fn phase(train: &[&str]) -> Schedule {
    let mut schedule = Preset::Full.schedule(&tiny());
    schedule.phases.remove(0);
    schedule.phases[0].train = train.iter().map(|name| part(name, 1e-4)).collect();
    schedule
}

#[test]
fn every_preset_plans() {
    for net in [tiny(), vgg16(), resnet()] {
        for preset in Preset::ALL {
            let plan = plan(&preset.schedule(&net), &net);
            assert_eq!(preset.name().parse::<Preset>().unwrap(), preset);
            assert_eq!((plan.phases[0].frontier, plan.phases[0].params), (net.stages.len(), 55));
        }
    }
}

#[test]
fn gradual_moves_the_frontier_down_with_falling_rates() {
    let net = tiny();
    let plan = plan(&Preset::Gradual.schedule(&net), &net);
    let frontiers: Vec<usize> = plan.phases.iter().map(|phase| phase.frontier).collect();
    assert_eq!(frontiers, [3, 2, 0]);
    let params: Vec<usize> = plan.phases.iter().map(|phase| phase.params).collect();
    assert_eq!(params, [55, 3055, 3265]);
    let rates: Vec<f64> = plan.phases.iter().filter_map(|phase| phase.head_rate).collect();
    assert!(rates.windows(2).all(|pair| pair[0] > pair[1]), "{rates:?}");
    let all = &plan.phases[2];
    let stages: Vec<(f64, f64)> = (0..3).filter_map(|stage| all.stage_rate(&net, stage)).collect();
    assert!(stages.iter().all(|(low, high)| low == high), "{stages:?}");
    assert!(stages.windows(2).all(|pair| pair[0].1 < pair[1].0), "{stages:?}");
    assert_eq!(all.stage_rate_range(), Some((stages[0].0, stages[2].1)));
    assert_eq!(all.trained(&net), "stem..head");
    assert_eq!(plan.phases[1].trained(&net), "stage2, head");
}

/// The numbers that the presets had when a phase had one rate a stage.
#[test]
fn presets_are_what_they_were() {
    let net = tiny();
    let span = 2.6_f64.powi(3);
    let rates = |preset: Preset| -> Vec<Vec<(String, f64)>> {
        let of = |phase: Phase| phase.train.into_iter().map(|entry| (entry.part, entry.rate)).collect();
        preset.schedule(&net).phases.into_iter().map(of).collect()
    };
    let close = |got: &[(String, f64)], expected: &[(&str, f64)]| {
        assert_eq!(got.len(), expected.len());
        for ((part, rate), (name, expected)) in got.iter().zip(expected) {
            assert!(
                part == name && (rate / expected - 1.0).abs() < 1e-12,
                "{part} {rate}, {name} {expected}"
            );
        }
    };
    let head = [("head", 1e-3)];
    let all = |rate: f64| {
        [("stem", rate / span), ("stage1", rate / span.sqrt()), ("stage2", rate), ("head", 3.0 * rate)]
    };
    close(&rates(Preset::FeatureExtraction)[0], &head);
    let gradual = rates(Preset::Gradual);
    close(&gradual[0], &head);
    close(&gradual[1], &[("stage2", 2e-4), ("head", 6e-4)]);
    close(&gradual[2], &all(1.5e-4));
    close(&rates(Preset::Full)[1], &all(2e-4));
}

#[test]
fn presets_leave_out_stages_without_parameters() {
    let net = resnet();
    let plan = plan(&Preset::Gradual.schedule(&net), &net);
    let all = &plan.phases[2];
    assert!(all.stage_rate(&net, 1).is_none() && !all.trains_whole(&net, 1));
    assert_eq!(all.trained(&net), "stem..head");
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
    let mut schedule = Preset::Full.schedule(&net);
    schedule.phases[1].batch_norm = BatchNorm::Train;
    assert_eq!(plan(&schedule, &net).phases[1].params, 55 + 11 + 202 + 3003);
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
fn the_table_reads_well() {
    let net = tiny();
    let text = plan(&Preset::Gradual.schedule(&net), &net).to_string();
    let expected = "\
phase       epochs  trains        parameters  rate head  rate stages     batch-norm  images
head        30      head          55          1e-3       -               frozen      plain, cached
last-stage  5       stage2, head  3055        6e-4       2e-4            frozen      plain, cached
all         2       stem..head    3265        4.5e-4     8.5e-6..1.5e-4  frozen      augmented
";
    assert_eq!(text, expected);
    let net = vgg16();
    let text = plan(&two_step(&net, "last-3-layers"), &net).to_string();
    let expected = "\
phase     epochs  trains                        parameters  rate head  rate stages  batch-norm  images
head      30      head                          55          1e-3       -            frozen      plain, cached
unfreeze  5       stage5 (2 of 3 layers), head  4719671     3e-4       1e-4         frozen      plain, cached
";
    assert_eq!(text, expected);
}

#[test]
fn two_steps_are_the_head_and_then_the_part_with_it() {
    let net = vgg16();
    let schedule = two_step(&net, "last-4-layers");
    assert_eq!(schedule.phases[0], Preset::FeatureExtraction.schedule(&net).phases[0]);
    let second = &schedule.phases[1];
    assert_eq!((second.name.as_str(), second.epochs, second.augment), ("unfreeze", 5, false));
    assert_eq!(second.train, [part("last-4-layers", 1e-4), part("head", 3e-4)]);
    assert_eq!(second.curve, Curve::Cosine { warmup: 0.1 });
    assert!(two_step(&net, "stage4..").phases[1].augment);
    assert!(!two_step(&net, "block5_conv2").phases[1].augment);
    assert_eq!(two_step(&net, " head ").phases.len(), 1);
    let errors = two_step(&net, "last-9-stages").plan(&net, 55).unwrap_err();
    assert_eq!(errors.to_string(), "phase `unfreeze`: part `last-9-stages`: the net has only 5 stages");
}

#[test]
fn all_errors_are_reported_together() {
    let net = tiny();
    let mut schedule = Preset::Gradual.schedule(&net);
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
        "phase `all`: `rate of stem` is NaN, expected above 0, at most 10",
        "phase `all`: `warmup` is 1, expected 0 or more, below 1",
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
fn a_schedule_survives_json() {
    let schedule = Preset::Gradual.schedule(&tiny());
    let json = serde_json::to_string(&schedule).unwrap();
    assert!(json.contains("{\"part\":\"head\",\"rate\":0.001}"), "{json}");
    assert_eq!(serde_json::from_str::<Schedule>(&json).unwrap(), schedule);
    let old = json.replace("\"part\"", "\"stage\"");
    assert_eq!(serde_json::from_str::<Schedule>(&old).unwrap(), schedule);
    let wrong = json.replacen("\"epochs\"", "\"epoch\"", 1);
    assert!(
        serde_json::from_str::<Schedule>(&wrong).unwrap_err().to_string().contains("unknown field `epoch`")
    );
}

//! Presets against the numbers of their sources.

use crate::nets::{resnet, tiny, vgg16};
use crate::*;

fn schedule(preset: Preset, net: &NetInfo) -> Schedule {
    preset.schedule(net, &PresetOptions::default()).unwrap()
}

fn with(preset: Preset, net: &NetInfo, part: &str) -> Schedule {
    let options = PresetOptions { part: Some(part.to_owned()), ..PresetOptions::default() };
    preset.schedule(net, &options).unwrap()
}

fn plan(schedule: &Schedule, net: &NetInfo) -> Plan {
    schedule.plan(net, 55).unwrap_or_else(|errors| panic!("{errors}"))
}

fn names(schedule: &Schedule) -> Vec<&str> {
    schedule.phases.iter().map(|phase| phase.name.as_str()).collect()
}

fn trained(schedule: &Schedule, net: &NetInfo) -> Vec<String> {
    plan(schedule, net).phases.iter().map(|phase| phase.trained(net)).collect()
}

/// Peak rates of the stages with parameters, then of the head.
fn rates(phase: &PlannedPhase, net: &NetInfo) -> Vec<f64> {
    let stages = (0..net.stages.len()).filter_map(|stage| phase.stage_rate(net, stage));
    stages.inspect(|(low, high)| assert_eq!(low, high)).map(|(rate, _)| rate).chain(phase.head_rate).collect()
}

fn assert_close(got: &[f64], expected: &[f64]) {
    let close = |(got, expected): (&f64, &f64)| (got / expected - 1.0).abs() < 1e-12;
    assert!(
        got.len() == expected.len() && got.iter().zip(expected).all(close),
        "{got:?}, expected {expected:?}"
    );
}

#[test]
fn every_preset_plans() {
    for net in [tiny(), vgg16(), resnet()] {
        for preset in Preset::ALL {
            let plan = plan(&schedule(preset, &net), &net);
            assert_eq!(preset.name().parse::<Preset>().unwrap(), preset);
            assert_eq!(serde_json::to_string(&preset).unwrap(), format!("\"{}\"", preset.name()));
            assert!(!preset.summary().is_empty());
            if preset != Preset::Full {
                assert_eq!((plan.phases[0].frontier, plan.phases[0].params), (net.stages.len(), 55));
            }
            assert!(plan.phases.iter().all(|phase| phase.batch_norm == BatchNorm::Frozen));
        }
    }
    assert_eq!(
        "gradua".parse::<Preset>().unwrap_err().to_string(),
        "there is no preset `gradua`\n\nhint: there are: feature-extraction, two-step, fine-tune, gradual, ulmfit, \
         chain-thaw, lp-ft, surgical, full"
    );
}

#[test]
fn a_net_without_stages_gets_a_head() {
    for preset in Preset::ALL {
        let schedule = schedule(preset, &NetInfo::default());
        assert!(plan(&schedule, &NetInfo::default()).phases.iter().all(|phase| phase.params == 55));
    }
}

#[test]
fn rates_fall_towards_the_input() {
    let net = tiny();
    let span = 2.6_f64.powi(3);
    let all = |rate: f64| [rate / span, rate / span.sqrt(), rate, 3.0 * rate];
    let of = |preset: Preset| plan(&schedule(preset, &net), &net).phases;
    assert_close(&rates(&of(Preset::FeatureExtraction)[0], &net), &[1e-3]);
    let gradual = of(Preset::Gradual);
    assert_close(&rates(&gradual[0], &net), &[1e-3]);
    assert_close(&rates(&gradual[1], &net), &[2e-4, 6e-4]);
    assert_close(&rates(&gradual[2], &net), &all(2e-5));
    let of_phases = |phases: &[PlannedPhase]| -> Vec<(u32, bool, u32)> {
        phases.iter().map(|phase| (phase.epochs, phase.augment, phase.views)).collect()
    };
    assert_eq!(of_phases(&gradual), [(24, true, 6), (12, true, 6), (2, true, 0)]);
    let plain = PresetOptions { views: Some(0), ..PresetOptions::default() };
    let plain = plan(&Preset::Gradual.schedule(&net, &plain).unwrap(), &net).phases;
    assert_eq!(of_phases(&plain), [(30, false, 0), (5, false, 0), (2, true, 0)]);
    let lp_ft = of(Preset::LpFt);
    assert_close(&rates(&lp_ft[0], &net), &[1e-3]);
    assert_close(&rates(&lp_ft[1], &net), &all(2e-4));
    assert_eq!(names(&schedule(Preset::LpFt, &net)), ["head", "all"]);
    let many = PresetOptions { images: Some(MANY_IMAGES), ..PresetOptions::default() };
    let many = plan(&Preset::Gradual.schedule(&net, &many).unwrap(), &net).phases;
    assert_eq!(of_phases(&many), [(12, false, 0), (2, true, 0), (3, true, 0)]);
    assert_close(&rates(&many[2], &net), &all(2e-4));
    for phases in [gradual, lp_ft] {
        assert_eq!(phases[0].curve, Curve::Cosine { warmup: 0.0 });
        assert!(phases[1..].iter().all(|phase| phase.curve == Curve::Cosine { warmup: 0.1 }));
        assert!(phases.iter().all(|phase| phase.optimizer == Optimizer::ADAMW && phase.weight_decay == 1e-2));
    }
}

#[test]
fn gradual_moves_the_frontier_down_with_falling_rates() {
    let net = tiny();
    let plan = plan(&schedule(Preset::Gradual, &net), &net);
    let frontiers: Vec<usize> = plan.phases.iter().map(|phase| phase.frontier).collect();
    assert_eq!(frontiers, [3, 2, 0]);
    let params: Vec<usize> = plan.phases.iter().map(|phase| phase.params).collect();
    assert_eq!(params, [55, 3055, 3265]);
    let heads: Vec<f64> = plan.phases.iter().filter_map(|phase| phase.head_rate).collect();
    assert!(heads.windows(2).all(|pair| pair[0] > pair[1]), "{heads:?}");
    let all = &plan.phases[2];
    assert!(rates(all, &net).windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(all.trained(&net), "stem..head");
    assert_eq!(plan.phases[1].trained(&net), "stage2, head");
}

#[test]
fn presets_leave_out_stages_with_nothing_to_train() {
    let mut net = resnet();
    // A stage of one norm, as the end of a DenseNet is.
    net.stages.push(StageInfo { name: "norm5".to_owned(), blocks: vec!["norm5".to_owned()] });
    let norm = LayerInfo { name: "norm5".to_owned(), stage: 6, block: 0, params: 9, norm_params: 9 };
    net.layers.push(norm);
    for preset in Preset::ALL {
        plan(&schedule(preset, &net), &net);
    }
    let net = resnet();
    let plan = plan(&schedule(Preset::Gradual, &net), &net);
    let all = &plan.phases[2];
    assert!(all.stage_rate(&net, 1).is_none() && !all.trains_whole(&net, 1));
    assert_eq!(all.trained(&net), "stem..head");
}

#[test]
fn two_steps_are_the_head_and_then_the_part_with_it() {
    let net = vgg16();
    let steps = with(Preset::TwoStep, &net, "last-4-layers");
    assert_eq!(steps.phases[0], schedule(Preset::FeatureExtraction, &net).phases[0]);
    let second = &steps.phases[1];
    assert_eq!((second.name.as_str(), second.epochs, second.augment), ("unfreeze", 5, false));
    assert_eq!(second.train, [PartRate::new("last-4-layers", 1e-4), PartRate::new("head", 3e-4)]);
    assert_eq!(second.curve, Curve::Cosine { warmup: 0.1 });
    assert!(with(Preset::TwoStep, &net, "stage4..").phases[1].augment);
    assert!(!with(Preset::TwoStep, &net, "block5_conv2").phases[1].augment);
    assert_eq!(with(Preset::TwoStep, &net, " head ").phases.len(), 1);
    assert_eq!(schedule(Preset::TwoStep, &net).phases[1].train[0].part, "stage5");
    let errors = with(Preset::TwoStep, &net, "last-9-stages").plan(&net, 55).unwrap_err();
    assert_eq!(errors.to_string(), "phase `unfreeze`: part `last-9-stages`: the net has only 5 stages");
}

/// `fine_tune` of fastai: `base_lr=2e-3, freeze_epochs=1, lr_mult=100, pct_start=0.3, div=5.0`.
#[test]
fn fine_tune_is_that_of_fastai() {
    let net = vgg16();
    let schedule = schedule(Preset::FineTune, &net);
    assert_eq!(names(&schedule), ["head", "all"]);
    let plan = plan(&schedule, &net);
    let [head, all] = [&plan.phases[0], &plan.phases[1]];
    assert_eq!(head.epochs, 1);
    assert_close(&rates(head, &net), &[2e-3]);
    // numpy.geomspace(1e-5, 1e-3, 6), as `slice` spaces the groups.
    let q = 100.0_f64.powf(0.2);
    assert_close(&rates(all, &net), &[1e-5, 1e-5 * q, 1e-5 * q * q, 1e-3 / q / q, 1e-3 / q, 1e-3]);
    let at = |step| At { step, steps_per_epoch: 100, epochs: 5, history: &[] };
    assert_close(
        &[all.curve.factor(at(0)), all.curve.factor(at(149)), all.curve.factor(at(499))],
        &[0.2, 1.0, 1e-5],
    );
    let betas = |momentum| Optimizer::AdamW { beta1: momentum, beta2: 0.99, epsilon: 1e-5 };
    assert_eq!((all.optimizer_at(at(0)), all.optimizer_at(at(149))), (betas(0.95), betas(0.85)));
    let last = At { step: 99, steps_per_epoch: 100, epochs: 1, history: &[] };
    assert_close(&[head.curve.factor(At { step: 0, ..last }), head.curve.factor(last)], &[0.04, 1e-5]);
}

#[test]
fn ulmfit_thaws_a_stage_in_each_phase() {
    let net = resnet();
    let schedule = schedule(Preset::Ulmfit, &net);
    assert_eq!(names(&schedule), ["head", "layer4", "layer3", "layer2", "layer1", "all"]);
    let trains = ["head", "layer4, head", "layer3..head", "layer2..head", "layer1..head", "stem..head"];
    assert_eq!(trained(&schedule, &net), trains);
    let plan = plan(&schedule, &net);
    let expected: Vec<f64> = (0..6).rev().map(|below| 1e-3 / 2.6_f64.powi(below)).collect();
    for (i, phase) in plan.phases.iter().enumerate() {
        assert_close(&rates(phase, &net), &expected[5 - i..]);
        assert_eq!(phase.curve, Curve::SlantedTriangular { cut: 0.1, ratio: 32.0 });
    }
}

#[test]
fn chain_thaw_takes_each_stage_alone_from_below() {
    let net = resnet();
    let schedule = schedule(Preset::ChainThaw, &net);
    assert_eq!(names(&schedule), ["head", "stem", "layer1", "layer2", "layer3", "layer4", "all"]);
    let trains = ["head", "stem", "layer1", "layer2", "layer3", "layer4", "stem..head"];
    assert_eq!(trained(&schedule, &net), trains);
    assert!(schedule.phases.iter().all(|phase| phase.early_stopping.is_some() && phase.restore_best));
}

#[test]
fn surgical_and_full() {
    let net = resnet();
    assert_eq!(trained(&schedule(Preset::Surgical, &net), &net), ["head", "stem"]);
    assert_eq!(trained(&with(Preset::Surgical, &net, "layer2"), &net), ["head", "layer2"]);
    assert_eq!(trained(&schedule(Preset::Full, &net), &net), ["stem..head"]);
}

#[test]
fn options_change_rates_and_epochs() {
    let net = tiny();
    for preset in Preset::ALL {
        let usual = plan(&schedule(preset, &net), &net);
        let options = PresetOptions { rate: Some(0.07), ..PresetOptions::default() };
        let other = plan(&preset.schedule(&net, &options).unwrap(), &net);
        let all =
            |plan: &Plan| -> Vec<f64> { plan.phases.iter().flat_map(|phase| rates(phase, &net)).collect() };
        let (usual, other) = (all(&usual), all(&other));
        let highest = |rates: &[f64]| rates.iter().copied().fold(0.0, f64::max);
        assert_eq!(highest(&other), 0.07);
        let ratio: Vec<f64> = usual.iter().map(|rate| rate / highest(&usual) * 0.07).collect();
        assert_close(&other, &ratio);
    }
    let options = PresetOptions { epochs: Some(vec![1, 2, 3]), ..PresetOptions::default() };
    let epochs = |preset: Preset| {
        let schedule = preset.schedule(&net, &options)?;
        Ok::<_, PresetError>(schedule.phases.iter().map(|phase| phase.epochs).collect::<Vec<_>>())
    };
    assert_eq!(epochs(Preset::Gradual), Ok(vec![1, 2, 3]));
    assert_eq!(
        epochs(Preset::FineTune).unwrap_err().to_string(),
        "preset `fine-tune`: 3 numbers of epochs were given, and there are 2 phases: head, all"
    );
    let options = PresetOptions { rate: Some(f64::NAN), ..PresetOptions::default() };
    assert!(Preset::Full.schedule(&net, &options).unwrap().plan(&net, 55).is_err());
}

#[test]
fn a_part_is_for_those_that_take_one() {
    let options = PresetOptions { part: Some("stage2".to_owned()), ..PresetOptions::default() };
    for preset in Preset::ALL {
        assert_eq!(preset.schedule(&tiny(), &options).is_ok(), preset.takes_part());
    }
    assert_eq!(
        Preset::Gradual.schedule(&tiny(), &options).unwrap_err().to_string(),
        "preset `gradual` takes no part, and got `stage2`\n\nhint: these take one: two-step, surgical"
    );
}

#[test]
fn texts_are_not_augmented_and_have_the_rates_of_transformers() {
    let net = tiny();
    let options = PresetOptions { texts: true, ..PresetOptions::default() };
    for preset in Preset::ALL {
        let plan = plan(&preset.schedule(&net, &options).unwrap(), &net);
        for phase in &plan.phases {
            assert!(!phase.augment && phase.views == 0 && phase.clip_norm == Some(1.0), "{preset:?}");
            let highest = phase.layer_rates.iter().flatten().copied().fold(0.0, f64::max);
            assert!(highest <= 1.5e-4 + 1e-12, "{preset:?} {highest}");
        }
    }
    let gradual = plan(&Preset::Gradual.schedule(&net, &options).unwrap(), &net);
    let frontiers: Vec<usize> = gradual.phases.iter().map(|phase| phase.frontier).collect();
    assert_eq!(frontiers, [net.stages.len(), 1], "the first stage, the embeddings, never trains");
}

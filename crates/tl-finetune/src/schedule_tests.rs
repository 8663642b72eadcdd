//! Schedules as a person writes them.

use crate::nets::tiny;
use crate::*;

fn fault(text: &str) -> String {
    Schedule::from_json(text).unwrap_err().to_string()
}

#[test]
fn name_parts_and_epochs_are_enough() {
    let schedule =
        Schedule::from_json(r#"[{"name": "head", "train": [{"part": "head", "rate": 1e-3}], "epochs": 5}]"#);
    let phase = Phase::new("head", vec![PartRate::new("head", 1e-3)], 5);
    assert_eq!(schedule.unwrap().phases, std::slice::from_ref(&phase));
    assert_eq!((phase.curve, phase.optimizer), (Curve::Cosine { warmup: 0.1 }, Optimizer::ADAMW));
}

#[test]
fn everything_can_be_said() {
    let text = r#"[{
        "name": "all",
        "train": [
            {"part": "stage1..", "rate": 1e-4, "decay": {"factor": 0.7, "by": "stage"}},
            {"part": "stem", "rate": 1e-5, "decay": {"factor": 0.7}},
            {"stage": "head", "rate": 1e-3}
        ],
        "epochs": 20,
        "early_stopping": {"patience": 4, "min_delta": 0.01, "metric": "macro-f1"},
        "curve": {"shape": "plateau", "patience": 1, "metric": "top5-accuracy"},
        "optimizer": {"name": "rmsprop", "momentum": 0.9},
        "optimizer_state": "keep",
        "weight_decay": 0,
        "clip_norm": 1,
        "accumulate": 4,
        "ema": 0.999,
        "batch_norm": "statistics",
        "dropout": 0.3,
        "drop_path": 0.1,
        "label_smoothing": 0.1,
        "augment": true,
        "views": 3,
        "restore_best": false
    }]"#;
    let schedule = Schedule::from_json(text).unwrap();
    let expected = Phase {
        early_stopping: Some(EarlyStopping { patience: 4, min_delta: 0.01, metric: Some(Metric::MacroF1) }),
        curve: Curve::Plateau { factor: 0.1, patience: 1, min_delta: 1e-4, metric: Metric::Top5Accuracy },
        optimizer: Optimizer::RmsProp { alpha: 0.99, epsilon: 1e-8, momentum: 0.9 },
        optimizer_state: OptimizerState::Keep,
        weight_decay: 0.0,
        clip_norm: Some(1.0),
        accumulate: 4,
        ema: Some(0.999),
        batch_norm: BatchNorm::Statistics,
        dropout: Some(0.3),
        drop_path: 0.1,
        label_smoothing: Some(0.1),
        augment: true,
        views: 3,
        restore_best: false,
        ..Phase::new(
            "all",
            vec![
                PartRate {
                    decay: Some(Decay { factor: 0.7, by: DecayBy::Stage }),
                    ..PartRate::new("stage1..", 1e-4)
                },
                PartRate {
                    decay: Some(Decay { factor: 0.7, by: DecayBy::Block }),
                    ..PartRate::new("stem", 1e-5)
                },
                PartRate::new("head", 1e-3),
            ],
            20,
        )
    };
    assert_eq!(schedule.phases, std::slice::from_ref(&expected));
    let json = serde_json::to_string(&schedule).unwrap();
    assert_eq!(Schedule::from_json(&json).unwrap(), schedule);
    // The plan has all of it.
    let plan = schedule.plan(&tiny(), 55).unwrap();
    let phase = &plan.phases[0];
    assert_eq!((phase.early_stopping, phase.curve), (expected.early_stopping, expected.curve));
    assert_eq!((phase.optimizer, phase.optimizer_state), (expected.optimizer, OptimizerState::Keep));
    assert_eq!((phase.clip_norm, phase.accumulate, phase.ema), (Some(1.0), 4, Some(0.999)));
    assert_eq!((phase.dropout, phase.drop_path, phase.label_smoothing), (Some(0.3), 0.1, Some(0.1)));
    assert_eq!((phase.augment, phase.views, phase.restore_best), (true, 3, false));
    assert_eq!((phase.weight_decay, phase.batch_norm, phase.epochs), (0.0, BatchNorm::Statistics, 20));
    assert_eq!([9, 8, 1, 0].map(|batches| phase.steps_per_epoch(batches)), [3, 2, 1, 0]);
}

#[test]
fn presets_survive_json() {
    for preset in Preset::ALL {
        let schedule = preset.schedule(&tiny(), &PresetOptions::default()).unwrap();
        let json = serde_json::to_string(&schedule).unwrap();
        assert_eq!(Schedule::from_json(&json).unwrap(), schedule);
        let old = json.replace("\"part\"", "\"stage\"");
        assert_eq!(Schedule::from_json(&old).unwrap(), schedule);
    }
    let json = serde_json::to_string(&Preset::Gradual.schedule(&tiny(), &PresetOptions::default()).unwrap());
    assert!(json.unwrap().contains("{\"part\":\"head\",\"rate\":0.001}"));
}

#[test]
fn curves_and_optimizers_by_name() {
    let of = |more: &str| {
        let text = format!(r#"[{{"name": "a", "train": [], "epochs": 1, {more}}}]"#);
        let mut schedule = Schedule::from_json(&text).map_err(|error| error.to_string())?;
        let phase = schedule.phases.remove(0);
        Ok::<_, String>((phase.curve, phase.optimizer))
    };
    let (curve, optimizer) = of(r#""curve": "one-cycle", "optimizer": "lion""#).unwrap();
    assert_eq!(curve, Curve::OneCycle { start: 0.3, div: 25.0, final_div: 1e4, cycle_momentum: true });
    assert_eq!(optimizer, Optimizer::Lion { beta1: 0.9, beta2: 0.99 });
    let expected = [
        (r#""curve": "cosin""#, "`[0].curve`: unknown variant `cosin`, expected one of `constant`, `step`"),
        (r#""curve": "step""#, "`[0].curve`: missing field `every`"),
        (r#""curve": {"warmup": 0.1}"#, "`[0].curve`: missing field `shape`"),
        (
            r#""curve": {"shape": "cosine", "warm": 0.1}"#,
            "`[0].curve`: unknown field `warm`, expected `warmup`",
        ),
        (
            r#""curve": 3"#,
            "`[0].curve`: invalid type: integer `3`, expected a curve by its name, or an object with its `shape`",
        ),
        (r#""optimizer": "fresh""#, "`[0].optimizer`: unknown variant `fresh`, expected one of `sgd`"),
        (
            r#""optimizer": ["sgd"]"#,
            "`[0].optimizer`: invalid type: sequence, expected an optimizer by its name, or an object with its `name`",
        ),
    ];
    for (more, error) in expected {
        let got = of(more).unwrap_err();
        assert!(got.starts_with(error), "{got}");
    }
}

#[test]
fn errors_have_the_key() {
    let text = r#"[{"name": "head", "train": [{"part": "head", "rate": 1e-3}], "epochs": 5}]"#;
    for (from, to, expected) in [
        (
            "1e-3",
            "\"low\"",
            "`[0].train[0].rate`: invalid type: string \"low\", expected f64 at line 1 column",
        ),
        (
            "\"epochs\": 5",
            "\"epochs\": 5, \"patience\": 3",
            "`[0].patience`: unknown field `patience`, expected one of `name`",
        ),
        (
            "\"rate\"",
            "\"lr\"",
            "`[0].train[0].lr`: unknown field `lr`, expected one of `part`, `stage`, `rate`, `decay`",
        ),
        (", \"epochs\": 5", "", "`[0]`: missing field `epochs`"),
        ("5", "-5", "`[0].epochs`: invalid value: integer `-5`, expected u32"),
        (
            "5",
            "5, \"batch_norm\": \"off\"",
            "`[0].batch_norm`: unknown variant `off`, expected one of `frozen`",
        ),
        (
            "5",
            "5, \"early_stopping\": {\"patience\": 2, \"metric\": \"f1\"}",
            "`[0].early_stopping.metric`: unknown variant `f1`, expected one of `loss`",
        ),
        ("5}", "5", "`[0]"),
        ("5}]", "5}] []", "trailing characters at line 1"),
    ] {
        let got = fault(&text.replacen(from, to, 1));
        assert!(got.starts_with(expected), "{got}");
    }
    assert!(fault("").starts_with("EOF while parsing"), "{}", fault(""));
    assert!(fault("{}").starts_with("invalid type: map, expected a sequence"), "{}", fault("{}"));
}

//! One schedule for each warning, and presets without any.

use crate::nets::{resnet, tiny, vgg16};
use crate::*;

fn phase(name: &str, train: &[(&str, f64)]) -> Phase {
    let train = train.iter().map(|(part, rate)| PartRate::new(part, *rate)).collect();
    Phase::new(name, train, 5)
}

fn warnings(phases: Vec<Phase>) -> Vec<String> {
    let plan = Schedule { phases }.plan(&tiny(), 55).unwrap_or_else(|errors| panic!("{errors}"));
    plan.warnings().iter().map(ToString::to_string).collect()
}

fn head() -> Phase {
    phase("head", &[("head", 1e-3)])
}

fn all() -> Phase {
    phase("all", &[("all", 1e-4), ("head", 1e-3)])
}

#[test]
fn presets_are_not_odd() {
    for net in [tiny(), vgg16(), resnet()] {
        for preset in Preset::ALL {
            let schedule = preset.schedule(&net, &PresetOptions::default()).unwrap();
            assert_eq!(schedule.plan(&net, 55).unwrap().warnings(), [], "{}", preset.name());
        }
    }
}

#[test]
fn rates_that_are_high_for_the_optimizer() {
    for (optimizer, rate, expected) in [
        (Optimizer::ADAMW, 0.1, None),
        (Optimizer::ADAMW, 0.2, Some("phase `head`: a rate of 0.2 is high for adamw; usual is at most 0.1")),
        (Optimizer::Sgd { momentum: 0.9, nesterov: false }, 1.0, None),
        (
            Optimizer::Lion { beta1: 0.9, beta2: 0.99 },
            0.02,
            Some("phase `head`: a rate of 0.02 is high for lion; usual is at most 0.01"),
        ),
    ] {
        let odd = Phase { optimizer, weight_decay: 0.0, ..phase("head", &[("head", rate)]) };
        assert_eq!(warnings(vec![odd]), Vec::from_iter(expected));
    }
}

#[test]
fn rates_that_a_decay_brings_down_to_nothing() {
    let decayed = |factor| {
        let mut odd = all();
        odd.train[0].decay = Some(Decay { factor, by: DecayBy::Stage });
        warnings(vec![odd])
    };
    assert_eq!(decayed(0.1), [""; 0]);
    assert_eq!(
        decayed(1e-4),
        ["phase `all`: layer `stem.conv` has a rate of 1e-12, which is as good as frozen and costs more"]
    );
}

#[test]
fn rates_that_fall_towards_the_head() {
    let odd = phase("all", &[("stem", 1e-4), ("stage1", 1e-3), ("stage2", 1e-4), ("head", 1e-3)]);
    assert_eq!(
        warnings(vec![odd]),
        ["phase `all`: stage `stage1` has a higher rate than stage `stage2` above it"]
    );
}

#[test]
fn phases_that_train_less_than_before() {
    let stage2 = || phase("again", &[("stage2", 1e-4), ("head", 1e-4)]);
    let expected = ["phase `again`: it trains less than phase `all` before it"];
    assert_eq!(warnings(vec![head(), all(), stage2()]), expected);
    assert_eq!(warnings(vec![head(), stage2(), all()]), [""; 0]);
    let other = phase("other", &[("stage1", 1e-4), ("head", 1e-4)]);
    assert_eq!(warnings(vec![stage2(), other]), [""; 0], "another part is not less");
}

#[test]
fn weight_decay_that_is_added_to_the_gradient() {
    let optimizer = Optimizer::Sgd { momentum: 0.9, nesterov: true };
    assert_eq!(
        warnings(vec![Phase { optimizer, ..head() }]),
        ["phase `head`: sgd adds the weight decay of 0.01 to the gradient, where 0.0001 is usual"]
    );
    assert_eq!(warnings(vec![Phase { optimizer, weight_decay: 5e-4, ..head() }]), [""; 0]);
}

#[test]
fn moments_that_are_not_there() {
    let optimizer = Optimizer::Lion { beta1: 0.9, beta2: 0.99 };
    let keep = |phase| Phase { optimizer_state: OptimizerState::Keep, ..phase };
    assert_eq!(warnings(vec![head(), keep(all())]), [""; 0]);
    assert_eq!(
        warnings(vec![keep(head()), keep(Phase { optimizer, ..all() })]),
        [
            "phase `head`: there are no moments of adamw to keep from the phase before",
            "phase `all`: there are no moments of lion to keep from the phase before"
        ]
    );
}

#[test]
fn phases_that_are_too_short_for_what_they_wait_for() {
    let plateau = |patience| Curve::Plateau { factor: 0.1, patience, min_delta: 0.0, metric: Metric::Loss };
    let stop = |patience, metric| Some(EarlyStopping { patience, min_delta: 0.0, metric });
    let never = |key: &str| format!("phase `head`: `{key}` is 5, which never comes about in 5 epochs");
    let before = |stop, fall| {
        format!(
            "phase `head`: it ends after {stop} epochs without gain, and the rate would fall after {fall}; expected a \
             higher `early_stopping.patience` than that"
        )
    };
    for (curve, early_stopping, expected) in [
        (Curve::Step { every: 4, gamma: 0.1 }, None, vec![]),
        (Curve::Step { every: 5, gamma: 0.1 }, None, vec![never("curve.every")]),
        (plateau(4), None, vec![]),
        (plateau(5), None, vec![never("curve.patience")]),
        (Curve::Constant {}, stop(5, None), vec![never("early_stopping.patience")]),
        (plateau(1), stop(3, Some(Metric::Loss)), vec![]),
        (plateau(1), stop(2, Some(Metric::Loss)), vec![before(2, 2)]),
        (plateau(2), stop(2, None), vec![before(2, 3)]),
        (plateau(2), stop(2, Some(Metric::Accuracy)), vec![]),
    ] {
        assert_eq!(warnings(vec![Phase { curve, early_stopping, ..head() }]), expected, "{curve:?}");
    }
}

#[test]
fn views_that_are_not_used() {
    let odd = Phase { augment: true, views: 6, ..head() };
    assert_eq!(
        warnings(vec![odd]),
        ["phase `head`: of 6 views of each image only 5 are used, one in each epoch"]
    );
}

#[test]
fn settings_without_effect() {
    let none = |phase: &str, key: &str, because: &str| {
        format!("phase `{phase}`: `{key}` has no effect, because {because}")
    };
    let cycle = Curve::OneCycle { start: 0.3, div: 25.0, final_div: 1e4, cycle_momentum: true };
    for (phase, expected) in [
        (
            Phase { augment: true, views: 2, ..all() },
            none("all", "views", "no stage is frozen whose outputs could be kept"),
        ),
        (Phase { drop_path: 0.1, ..head() }, none("head", "drop_path", "no block of the net trains")),
        (
            Phase { batch_norm: BatchNorm::Train, ..head() },
            none("head", "batch_norm", "no batch-norm lies among the layers that train"),
        ),
        (
            Phase {
                curve: cycle,
                optimizer: Optimizer::Sgd { momentum: 0.0, nesterov: false },
                weight_decay: 0.0,
                ..head()
            },
            none("head", "curve.cycle_momentum", "the optimizer has no momentum"),
        ),
    ] {
        assert_eq!(warnings(vec![phase]), [expected]);
    }
    assert_eq!(
        warnings(vec![Phase { batch_norm: BatchNorm::Train, drop_path: 0.1, curve: cycle, ..all() }]),
        [""; 0]
    );
}

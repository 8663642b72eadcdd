//! Frozen means frozen: what a phase does not train is bit-identical after it, running statistics included.

#![expect(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{Epochs, model, model_of, options, run, run_from, run_with, short};
use tl_finetune::{BatchNorm, Curve, Metric, Optimizer, PartRate, Phase, Preset, Schedule};
use tl_torch::Role;
use tl_train::{Ended, Model, Options};

/// One phase that trains these stages and the head, and ends with its last weights.
fn only(stages: &[&str], batch_norm: BatchNorm, model: &Model) -> Schedule {
    let mut phase: Phase = short(Preset::FeatureExtraction, model).phases.remove(0);
    phase.batch_norm = batch_norm;
    phase.train = stages.iter().chain(&["head"]).map(|part| PartRate::new(part, 1e-2)).collect();
    Schedule { phases: vec![phase] }
}

/// Names of the stages in which a tensor of this role has changed.
fn changed(
    model: &Model,
    before: &std::collections::BTreeMap<String, tch::Tensor>,
    role: Role,
) -> Vec<String> {
    let stages = model.backbone.stages.iter();
    let differs = |stage: &&tl_backbones::Stage| {
        let params = model.backbone.store.slice(stage.params());
        params.iter().any(|p| p.role == role && !p.tensor.equal(&before[&p.name]))
    };
    stages.filter(differs).map(|stage| stage.name.to_string()).collect()
}

#[test]
fn only_what_a_phase_names_changes() {
    let cases: [(&[&str], BatchNorm); 4] = [
        (&[], BatchNorm::Train),
        (&["stage7"], BatchNorm::Frozen),
        (&["stage2"], BatchNorm::Statistics),
        (&["stem", "stage5"], BatchNorm::Train),
    ];
    for (stages, batch_norm) in cases {
        let model = model();
        let before = model.backbone.store.snapshot();
        let schedule = only(stages, batch_norm, &model);
        let (outcome, _) = run(&model, &schedule, 1 << 30);
        assert_eq!(outcome.ended, Ended::Finished);
        assert_eq!(changed(&model, &before, Role::Weight), stages, "{batch_norm:?}");
        let norms = if batch_norm == BatchNorm::Train { stages } else { &[] };
        assert_eq!(changed(&model, &before, Role::Norm), norms, "{batch_norm:?}");
        let statistics = if batch_norm == BatchNorm::Frozen { &[] } else { stages };
        assert_eq!(changed(&model, &before, Role::Buffer), statistics, "{batch_norm:?}");
    }
}

#[test]
fn running_statistics_survive_every_preset() {
    for preset in Preset::ALL {
        let model = model();
        let before = model.backbone.store.snapshot();
        let (outcome, epochs) = run(&model, &short(preset, &model), 1 << 30);
        assert_eq!(outcome.epochs as usize, epochs.len());
        assert_eq!(changed(&model, &before, Role::Buffer), [""; 0], "{preset:?}");
        assert_eq!(changed(&model, &before, Role::Norm), [""; 0], "{preset:?}");
    }
}

#[test]
fn the_model_ends_with_its_best_epoch_whatever_came_after() {
    let model = model();
    let mut schedule = short(Preset::Gradual, &model);
    // The last phase wrecks the net; the best epoch lies before it.
    schedule.phases[2].train.iter_mut().for_each(|rate| rate.rate = 5.0);
    let (outcome, epochs) = run(&model, &schedule, 1 << 30);
    let best = outcome.best.unwrap();
    let last = epochs.iter().rev().find(|epoch| epoch.best).unwrap();
    assert_eq!(last.epoch, best.epoch);
    assert!(best.epoch <= 4, "{best:?}");
    // A run that stops before the last phase has the same weights.
    let shorter = self::model();
    schedule.phases.pop();
    run(&shorter, &schedule, 1 << 30);
    for (a, b) in model.tensors().zip(shorter.tensors()) {
        assert!(a.tensor.equal(&b.tensor), "{}", a.name);
    }
}

#[test]
fn a_loss_that_is_not_a_number_ends_the_run_and_keeps_the_best() {
    let model = model();
    let weight = model.head.store.get("head.0.weight").unwrap().tensor.shallow_clone();
    let mut epochs = Epochs { poison: Some((3, weight)), ..Epochs::default() };
    let outcome = run_with(&model, &short(Preset::Gradual, &model), 1 << 30, &mut epochs);
    assert_eq!(outcome.ended, Ended::Diverged { phase: "last-stage".to_owned(), epoch: 4, step: 1 });
    assert_eq!((outcome.epochs, epochs.results.len()), (3, 3));
    assert!(outcome.best.unwrap().loss.is_finite());
    assert!(model.tensors().all(|param| bool::try_from(param.tensor.isfinite().all()).unwrap()));
}

#[test]
fn single_layers_and_blocks_train_and_nothing_else_changes() {
    let parts = ["blocks.5.2", "blocks.4.*.conv_pwl", "last-6-layers", "blocks.2.0.conv_dw"];
    for part in parts {
        for batch_norm in [BatchNorm::Frozen, BatchNorm::Statistics, BatchNorm::Train] {
            let model = model();
            let before = model.backbone.store.snapshot();
            let selected = tl_finetune::select(&model.net_info(), part).unwrap();
            run(&model, &only(&[part], batch_norm, &model), 1 << 30);
            for (param, layer) in model.params_by_layer() {
                let may_change = match param.role {
                    Role::Norm => batch_norm == BatchNorm::Train,
                    Role::Buffer => batch_norm != BatchNorm::Frozen,
                    _ => true,
                };
                let changed = !param.tensor.equal(&before[&param.name]);
                assert_eq!(changed, selected[layer] && may_change, "{part} {batch_norm:?} {}", param.name);
            }
        }
    }
}

/// Half batches, computed side by side, have no gradient to hand on where the norm behind the pooling trains alone.
#[test]
fn the_norm_between_pooling_and_head_trains_by_itself() {
    let model = model_of("convnext-tiny", "gap");
    let before = model.backbone.store.snapshot();
    let selected = tl_finetune::select(&model.net_info(), "last-1-layers").unwrap();
    let schedule = only(&["last-1-layers"], BatchNorm::Train, &model);
    let options = Options { batch: 8, ..options(1 << 30) };
    run_from(&model, &schedule, &options, None, &mut Epochs::default());
    for (param, layer) in model.params_by_layer() {
        assert_eq!(!param.tensor.equal(&before[&param.name]), selected[layer], "{}", param.name);
    }
    assert_eq!(selected.iter().filter(|selected| **selected).count(), 1);
}

/// Kept activations are those that the net would compute: maps, tokens, and what comes behind a norm after pooling.
#[test]
fn results_do_not_depend_on_the_cache() {
    for (net, head) in [("convnext-tiny", "gap"), ("vit-small-patch16", "cls"), ("resnet18", "flatten-8-bn")]
    {
        let trained = |budget: u64| {
            let model = model_of(net, head);
            let mut schedule = short(Preset::Gradual, &model);
            schedule.phases.pop();
            let (outcome, epochs) = run(&model, &schedule, budget);
            assert_eq!(outcome.cache_bytes > 0, budget > 0);
            // What is known of the validation images at the end is of the best weights, and free.
            let best = outcome.best.unwrap().loss;
            let known = outcome.val.map(|val| (val.loss - best).abs() < 1e-4 * best.abs().max(1.0));
            assert_eq!(known, (budget > 0).then_some(true), "{net}");
            (model, epochs.last().unwrap().val.loss)
        };
        let ((kept, a), (computed, b)) = (trained(1 << 30), trained(0));
        assert!((a - b).abs() < 1e-4 * a.abs().max(1.0), "{net}: {a} {b}");
        for (x, y) in kept.tensors().zip(computed.tensors()) {
            assert!(x.tensor.allclose(&y.tensor, 1e-3, 1e-4, false), "{net} {}", x.name);
        }
    }
}

/// What a plateau watches is what the validation epochs gave, and the momentum of one cycle reaches the optimizer.
#[test]
fn curves_and_optimizers_are_those_of_the_phase() {
    let rates = |curve: Curve| -> Vec<f64> {
        let model = model();
        let mut schedule = only(&[], BatchNorm::Frozen, &model);
        (schedule.phases[0].curve, schedule.phases[0].epochs) = (curve, 4);
        let (_, epochs) = run(&model, &schedule, 1 << 30);
        epochs.iter().map(|epoch| epoch.rate_head.unwrap()).collect()
    };
    // No epoch gains 2: the first counts as a gain, each one after it halves the rate.
    let plateau = |metric| Curve::Plateau { factor: 0.5, patience: 0, min_delta: 2.0, metric };
    assert_eq!(rates(plateau(Metric::Auroc)), [1e-2, 1e-2, 0.5e-2, 0.25e-2]);
    // What has no value for classes is never a gain.
    assert_eq!(rates(plateau(Metric::Mae)), [1e-2, 0.5e-2, 0.25e-2, 0.125e-2]);

    let trained = |optimizer: Optimizer, cycle_momentum: bool| {
        let model = model();
        let mut schedule = only(&[], BatchNorm::Frozen, &model);
        schedule.phases[0].optimizer = optimizer;
        schedule.phases[0].curve = Curve::OneCycle { start: 0.3, div: 25.0, final_div: 1e4, cycle_momentum };
        schedule.phases[0].restore_best = false;
        let (outcome, epochs) = run(&model, &schedule, 1 << 30);
        assert_eq!(outcome.ended, Ended::Finished);
        epochs.last().unwrap().val.loss
    };
    let mut losses = Vec::new();
    for optimizer in [
        Optimizer::Sgd { momentum: 0.9, nesterov: true },
        Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
        Optimizer::ADAMW,
        Optimizer::RmsProp { alpha: 0.99, epsilon: 1e-8, momentum: 0.9 },
        Optimizer::Lamb { beta1: 0.9, beta2: 0.999, epsilon: 1e-6 },
        Optimizer::Lion { beta1: 0.9, beta2: 0.99 },
    ] {
        losses.extend([trained(optimizer, true), trained(optimizer, false)]);
    }
    losses.sort_by(f64::total_cmp);
    losses.dedup();
    assert_eq!(losses.len(), 12, "{losses:?}");
}

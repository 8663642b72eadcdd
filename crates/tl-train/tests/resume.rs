//! A run that is taken up again ends as if it had never been stopped, to the bit.

#![expect(clippy::unwrap_used, reason = "a test")]

mod common;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use common::{Epochs, model, often, options, run_from, store};
use tl_finetune::{
    BatchNorm, Curve, EarlyStopping, Metric, Optimizer, OptimizerState, PartRate, Phase, Schedule,
};
use tl_train::{CHECKPOINT, Checkpoint, Ended, EpochResult, Model, Options};

/// The bits are promised for one run at a time in a process, as the program has it.
static ALONE: Mutex<()> = Mutex::new(());

/// Every kind of phase: kept views, moving average and early stopping; new views, sums of batches, clipping and
/// stochastic depth; statistics that move; moments that are kept.
fn schedule() -> Schedule {
    let head = Phase {
        augment: true,
        views: 2,
        ema: Some(0.9),
        early_stopping: Some(EarlyStopping { patience: 2, min_delta: 0.5, metric: Some(Metric::Loss) }),
        ..Phase::new("head", vec![PartRate::new("head", 1e-2)], 9)
    };
    let parts =
        |stages: &[&str], rate| stages.iter().chain(&["head"]).map(|p| PartRate::new(p, rate)).collect();
    let top = Phase {
        augment: true,
        accumulate: 2,
        clip_norm: Some(0.5),
        drop_path: 0.3,
        batch_norm: BatchNorm::Train,
        curve: Curve::Plateau { factor: 0.5, patience: 0, min_delta: 0.1, metric: Metric::Loss },
        restore_best: false,
        ..Phase::new("top", parts(&["stage7", "stage6"], 1e-3), 2)
    };
    let more = Phase {
        optimizer: Optimizer::ADAMW,
        optimizer_state: OptimizerState::Keep,
        dropout: Some(0.4),
        label_smoothing: Some(0.0),
        ema: Some(0.5),
        ..Phase::new("more", parts(&["stage7", "stage6", "stage5"], 5e-4), 2)
    };
    let heavy = Phase {
        optimizer: Optimizer::Sgd { momentum: 0.9, nesterov: true },
        curve: Curve::OneCycle { start: 0.3, div: 25.0, final_div: 1e4, cycle_momentum: true },
        ..Phase::new("heavy", parts(&["stage7"], 1e-2), 1)
    };
    Schedule { phases: vec![head, top, more, heavy] }
}

fn figures(results: &[EpochResult]) -> Vec<(u32, String, u64, u64, u64, bool)> {
    let of = |result: &EpochResult| {
        let (train, val) = (result.train.loss_sum.to_bits(), result.val.loss.to_bits());
        (result.epoch, result.phase.clone(), train, val, result.train.right, result.best)
    };
    results.iter().map(of).collect()
}

/// The whole run, and copies of the checkpoints that were there on the way.
fn whole(options: &Options, dir: &Path) -> (Model, Vec<EpochResult>, Vec<PathBuf>) {
    let points = dir.join("points");
    std::fs::create_dir(&points).unwrap();
    let (from, to) = (dir.join(CHECKPOINT), points.clone());
    let mut last = Vec::new();
    let copy = move |_| {
        let Ok(bytes) = std::fs::read(&from) else { return };
        if bytes != last {
            let place = to.join(format!("{:03}", std::fs::read_dir(&to).unwrap().count()));
            std::fs::create_dir(&place).unwrap();
            std::fs::write(place.join(CHECKPOINT), &bytes).unwrap();
            last = bytes;
        }
    };
    let mut epochs = Epochs { at_tick: Some(Box::new(copy)), ..Epochs::default() };
    let model = model();
    let options = Options { checkpoints: often(dir), ..options.clone() };
    let outcome = run_from(&model, &schedule(), &options, None, &mut epochs);
    assert_eq!(outcome.ended, Ended::Finished);
    assert_eq!(epochs.notes, [""; 0]);
    let mut points: Vec<PathBuf> =
        std::fs::read_dir(points).unwrap().map(|entry| entry.unwrap().path()).collect();
    points.sort();
    (model, epochs.results, points)
}

#[test]
fn a_run_goes_on_from_every_checkpoint_as_if_nothing_had_happened() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().unwrap();
    // Activations come from memory, from disk, or are computed again: never is that a difference.
    let plain = options(1 << 30);
    let (expected, results, points) = whole(&plain, dir.path());
    // The first phase is stopped early, and every phase has a part in the result.
    let of_phase = |name: &str| results.iter().filter(|result| result.phase == name).count();
    assert!(of_phase("head") < 9 && of_phase("heavy") == 1, "{:?}", figures(&results));
    assert!(points.len() > 12, "{}", points.len());
    let mut inside = 0;
    // As many as take a few seconds, spread over the run.
    let every = (points.len() / 14).max(1);
    for (i, point) in points.iter().step_by(every).enumerate() {
        let checkpoint = Checkpoint::read(point).unwrap().unwrap();
        let done = checkpoint.progress.epochs as usize;
        inside += usize::from(checkpoint.progress.batches > 0);
        let (mut epochs, again) = (Epochs::default(), model());
        let features = store(&dir.path().join("features"));
        let options = match i % 3 {
            0 => plain.clone(),
            1 => Options { store: features, ..plain.clone() },
            _ => Options { checkpoints: often(point), ..plain.clone() },
        };
        let outcome = run_from(&again, &schedule(), &options, Some(checkpoint), &mut epochs);
        assert_eq!(outcome.ended, Ended::Finished);
        assert_eq!(figures(&epochs.results), figures(&results)[done..], "from checkpoint {i}");
        for (a, b) in expected.tensors().zip(again.tensors()) {
            assert!(a.tensor.equal(&b.tensor), "{} from checkpoint {i}", a.name);
        }
    }
    assert!(inside > 3, "{inside} checkpoints in the middle of an epoch");
}

#[test]
fn a_checkpoint_of_another_net_or_a_damaged_one_is_refused() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().unwrap();
    assert!(Checkpoint::read(dir.path()).unwrap().is_none());
    let mut epochs = Epochs::default();
    let options = Options { checkpoints: often(dir.path()), ..options(1 << 30) };
    run_from(&model(), &schedule(), &options, None, &mut epochs);
    let path = dir.path().join(CHECKPOINT);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let error = Checkpoint::read(dir.path()).unwrap_err().to_string();
    assert!(error.contains(CHECKPOINT), "{error}");
    std::fs::write(&path, b"{}").unwrap();
    assert!(Checkpoint::read(dir.path()).is_err());
}

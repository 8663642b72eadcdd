//! Runs that are stopped, killed, taken up again and repeated.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json as value};

use crate::support::{epochs, interrupt, is_epoch, json, run, small_set, tl};

/// Every kind of phase, short.
fn schedule() -> Value {
    value!([
        {
            "name": "head", "train": [{ "part": "head", "rate": 0.01 }], "epochs": 6, "augment": true, "views": 2,
            "ema": 0.9, "early_stopping": { "patience": 3, "min_delta": 0.02, "metric": "loss" }
        },
        {
            "name": "top", "epochs": 2, "augment": true, "accumulate": 2, "clip_norm": 1.0, "drop_path": 0.2,
            "batch_norm": "train", "dropout": 0.4, "restore_best": false,
            "train": [{ "part": "stage6..", "rate": 0.0005 }, { "part": "head", "rate": 0.001 }],
            "curve": { "shape": "plateau", "patience": 0, "factor": 0.5 }
        },
        {
            "name": "more", "epochs": 2, "optimizer_state": "keep", "ema": 0.5, "label_smoothing": 0.0,
            "train": [
                { "part": "stage5..", "rate": 0.0002, "decay": { "factor": 0.5, "by": "stage" } },
                { "part": "head", "rate": 0.0005 }
            ]
        }
    ])
}

fn words<'a>(name: &'a str, every: &'a str) -> Vec<&'a str> {
    let mut words = vec!["finetune", "--data", "data", "--schedule", "phases.json", "--run", name];
    words.extend([
        "--batch",
        "4",
        "--checkpoint-every",
        every,
        "--feature-cache",
        "0",
        "--precision",
        "bf16",
    ]);
    words
}

/// Everything that two runs have in common if they are the same.
fn figures(run: &Path) -> (Vec<Value>, Value, Value, Value, String) {
    let summary = json(&run.join("summary.json"));
    let of = |key: &str| summary[key].clone();
    let predictions = fs::read_to_string(run.join("val_predictions.csv")).unwrap();
    (epochs(run), of("model_sha256"), of("best"), of("evaluations"), predictions)
}

fn prepare(dir: &Path) {
    small_set(dir, &["bag", "sneaker"], 8, 5);
    fs::write(dir.join("phases.json"), schedule().to_string()).unwrap();
}

#[test]
fn a_run_that_is_killed_ends_as_one_that_was_not() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    prepare(dir);
    let start = std::time::Instant::now();
    run(dir, &words("whole", "0")).expect_success();
    let whole = start.elapsed();
    let compute = &json(&dir.join("whole/spec.json"))["compute"];
    assert_eq!(compute["training_bf16"], serde_json::json!([true, true, true]), "{compute}");
    let expected = figures(&dir.join("whole"));
    for part in [0.5, 0.8] {
        let name = format!("killed-{part}");
        let mut child = tl()
            .current_dir(dir)
            .args(words(&name, "0"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_secs_f64(whole.as_secs_f64() * part));
        // SIGKILL.
        child.kill().unwrap();
        child.wait().unwrap();
        let killed = dir.join(&name);
        // Before it has written anything there is nothing to go on with.
        let again = match killed.join("spec.json").exists() {
            true => vec!["finetune", "--resume", &name, "--feature-cache", "0"],
            false => words(&name, "0"),
        };
        if !killed.join("summary.json").exists() {
            run(dir, &again).expect_success();
        }
        assert_eq!(figures(&killed), expected, "killed after {part} of the time");
        assert!(!killed.join("checkpoint.safetensors").exists() && !killed.join("run.lock").exists());
    }
}

#[test]
fn a_run_that_is_interrupted_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    prepare(dir);
    run(dir, &words("whole", "0")).expect_success();
    // In the middle of an epoch nothing is written but for the interrupt.
    let long = words("stopped", "1000");
    let output = interrupt(dir, &long, |line| is_epoch(line, "top"));
    assert_eq!(output.code, Some(130), "{}", output.stderr);
    assert!(output.stderr.contains("go on with: tl finetune --resume stopped"), "{}", output.stderr);
    // It can be used as it is, and goes on.
    assert!(dir.join("stopped/model.safetensors").exists());
    assert!(!dir.join("stopped/run.lock").exists());
    let output = run(dir, &["finetune", "--resume", "stopped", "--json"]).expect_success();
    assert!(output.stderr.contains("resumed    in phase top"), "{}", output.stderr);
    let end: Value = serde_json::from_str(output.stdout.lines().last().unwrap()).unwrap();
    assert_eq!((&end["event"], &end["summary"]["status"]), (&"end".into(), &"finished".into()));
    assert_eq!(figures(&dir.join("stopped")), figures(&dir.join("whole")));
    assert_eq!(json(&dir.join("stopped/manifest.json"))["resumed"].as_array().unwrap().len(), 1);

    run(dir, &["finetune", "--resume", "stopped"]).expect_error(&["is finished", "--config"]);
}

#[test]
fn what_cannot_go_on_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    prepare(dir);
    run(dir, &["finetune", "--resume", "data"]).expect_error(&["`data` is not the directory of a run"]);
    run(dir, &["finetune", "--resume", "data", "--seed", "3"]).expect_error(&["other settings"]);
    interrupt(dir, &words("stopped", "0"), |line| is_epoch(line, "head"));
    let first = fs::read_dir(dir.join("data/train/bag")).unwrap().next().unwrap().unwrap().path();
    let bytes = fs::read(&first).unwrap();
    fs::copy(fs::read_dir(dir.join("data/val/bag")).unwrap().next().unwrap().unwrap().path(), &first)
        .unwrap();
    let hint = "the training images are no longer those that the run began with";
    run(dir, &["finetune", "--resume", "stopped"]).expect_error(&[hint]);
    fs::write(&first, bytes).unwrap();
    let checkpoint = dir.join("stopped/checkpoint.safetensors");
    let bytes = fs::read(&checkpoint).unwrap();
    fs::write(&checkpoint, &bytes[..1000]).unwrap();
    run(dir, &["finetune", "--resume", "stopped"]).expect_error(&["checkpoint.safetensors"]);
    fs::write(&checkpoint, bytes).unwrap();
    run(dir, &["finetune", "--resume", "stopped"]).expect_success();
}

#[test]
fn a_run_is_reproduced_or_it_is_said_what_differs() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    prepare(dir);
    run(dir, &words("first", "0")).expect_success();
    let output = run(dir, &["runs", "reproduce", "first"]).expect_success();
    assert!(output.stdout.contains("reproduced every figure of"), "{}", output.stdout);
    assert_eq!(figures(&dir.join("first-again")), figures(&dir.join("first")));
    let first = fs::read_dir(dir.join("data/train/bag")).unwrap().next().unwrap().unwrap().path();
    fs::copy(fs::read_dir(dir.join("data/val/bag")).unwrap().next().unwrap().unwrap().path(), &first)
        .unwrap();
    let output = run(dir, &["runs", "reproduce", "first", "--to", "other"]);
    assert_eq!(output.code, Some(1));
    for text in ["not reproduced: first", "from epoch 1 on", "training data: "] {
        assert!(output.stdout.contains(text), "{}", output.stdout);
    }
    run(dir, &["runs", "reproduce", "data"]).expect_error(&["is not the directory of a run"]);
}

#[test]
fn a_plan_is_printed_edited_and_run_and_rates_are_tried() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    prepare(dir);
    let output = run(dir, &["plan", "--data", "data", "--preset", "two-step"]).expect_success();
    for text in ["an epoch", "in all at most", "memory"] {
        assert!(output.stdout.contains(text), "{}", output.stdout);
    }
    let output = run(dir, &["plan", "--preset", "two-step", "--epochs", "2,1", "--json"]).expect_success();
    fs::write(dir.join("edited.json"), output.stdout).unwrap();
    run(dir, &["finetune", "--data", "data", "--schedule", "edited.json", "--run", "a"]).expect_success();
    run(dir, &["finetune", "--data", "data", "--preset", "two-step", "--epochs", "2,1", "--run", "b"])
        .expect_success();
    assert_eq!(figures(&dir.join("a")), figures(&dir.join("b")));
    fs::write(dir.join("edited.json"), "[{\"name\": \"x\", \"train\": [], \"epochs\": 1, \"speed\": 3}]")
        .unwrap();
    run(dir, &["finetune", "--data", "data", "--schedule", "edited.json"]).expect_error(&[
        "edited.json",
        "unknown field `speed`",
        "tl plan",
    ]);

    let before = crate::support::names(dir);
    let output = run(dir, &["lr-find", "--data", "data", "--steps", "40", "--json"]).expect_success();
    let found: Value = serde_json::from_str(&output.stdout).unwrap();
    assert!(found["tried"].as_array().unwrap().len() > 10, "{found}");
    assert_eq!(crate::support::names(dir), before, "it leaves nothing");
    run(dir, &["lr-find", "--data", "data", "--phase", "nose", "--from", "1", "--to", "0.1"])
        .expect_error(&["--from is 1 and --to is 0.1"]);
    run(dir, &["lr-find", "--data", "data", "--phase", "nose"]).expect_error(&["there is no phase `nose`"]);
}

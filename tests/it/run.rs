//! A run from images to predictions.

use std::fs;
use std::path::Path;

use crate::support::{epochs, finish, interrupt, is_epoch, json, names, run, small_set, tl};

const CLASSES: [&str; 3] = ["bag", "sneaker", "trouser"];

fn finetune(dir: &Path, name: &str, more: &[&str]) {
    let mut args = vec!["finetune", "--data", "data", "--run", name, "--epochs", "5,2,1"];
    args.extend(more);
    run(dir, &args).expect_success();
}

#[test]
fn a_run_can_be_repeated_and_its_model_used() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    small_set(dir, &CLASSES, 12, 6);
    finetune(dir, "first", &["--data-threads", "1"]);
    let first = dir.join("first");
    let files = [
        "analysis.json",
        "classes.txt",
        "events.out.tfevents.tl",
        "history.csv",
        "manifest.json",
        "metrics.jsonl",
        "model.json",
        "model.safetensors",
        "plan.txt",
        "plots",
        "report.html",
        "spec.json",
        "split.json",
        "summary.json",
        "val_predictions.csv",
    ];
    assert_eq!(names(&first), files);
    let summary = json(&first.join("summary.json"));
    assert!(summary["val_accuracy"].as_f64().unwrap() >= 0.8, "{summary}");
    assert_eq!(summary["val_accuracy"], summary["best"]["val_accuracy"]);
    assert_eq!(fs::read_to_string(first.join("classes.txt")).unwrap(), "bag\nsneaker\ntrouser\n");
    let phases: Vec<String> =
        epochs(&first).iter().map(|row| row["phase"].as_str().unwrap().into()).collect();
    assert_eq!(phases, [vec!["head"; 5], vec!["last-stage"; 2], vec!["all"]].concat());

    // The same seed again, with another number of data threads, and from the spec: the same run.
    finetune(dir, "second", &["--data-threads", "2"]);
    run(dir, &["finetune", "--config", "first/spec.json", "--run", "third"]).expect_success();
    for again in ["second", "third"] {
        let again = dir.join(again);
        assert_eq!(epochs(&again), epochs(&first));
        assert_eq!(json(&again.join("summary.json"))["model_sha256"], summary["model_sha256"]);
        assert_eq!(
            fs::read_to_string(again.join("spec.json")).unwrap(),
            fs::read_to_string(first.join("spec.json")).unwrap()
        );
    }
    finetune(dir, "other-seed", &["--seed", "7"]);
    assert_ne!(json(&dir.join("other-seed/summary.json"))["model_sha256"], summary["model_sha256"]);

    what_a_person_sees(dir, &summary);
    runs_are_compared(dir);
    the_model_is_enough(dir, &summary);
}

/// The report, the plots and the tables say what the records say.
fn what_a_person_sees(dir: &Path, summary: &serde_json::Value) {
    let first = dir.join("first");
    let page = fs::read_to_string(first.join("report.html")).unwrap();
    let accuracy = summary["val_accuracy"].as_f64().unwrap();
    for text in [&format!("{:.1} %", accuracy * 100.0), "Confusion", "data:image/jpeg;base64,", "sneaker"] {
        assert!(page.contains(text), "{text}");
    }
    assert!(!page.contains("<script") && !page.contains("src=\"http"));
    let plots = ["accuracy.svg", "learning-rate.svg", "loss.svg", "val-reliability.svg"];
    assert_eq!(names(&first.join("plots")), plots);
    let history = fs::read_to_string(first.join("history.csv")).unwrap();
    assert!(history.starts_with("epoch,phase,") && history.lines().count() == 9, "{history}");
    let analysis = &json(&first.join("analysis.json"))[0];
    assert_eq!((&analysis["set"], &analysis["images"]), (&"val".into(), &18.into()));
    let ece = analysis["calibration"]["ece"].as_f64().unwrap();
    let said = summary["evaluations"][0]["metrics"]["ece"].as_f64().unwrap();
    assert!((ece - said).abs() < 1e-9, "two ways to the same error: {ece} {said}");

    let args = ["evaluate", "first", "data", "--report", "val.html", "--json", "--analysis"];
    let said = run(dir, &args).expect_success().stdout;
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["analysis"]["costly"], analysis["costly"]);
    let page = fs::read_to_string(dir.join("val.html")).unwrap();
    assert!(page.contains("Top losses") && page.contains("data:image/jpeg"), "{page}");
    run(dir, &args).expect_error(&["`val.html` exists"]);
    let text = run(dir, &["evaluate", "first", "data"]).expect_success().stdout;
    assert!(text.contains("precision") && text.contains("calibration error"), "{text}");
}

/// Listed, shown, compared and deleted.
fn runs_are_compared(dir: &Path) {
    let table = run(dir, &["runs", "list", "."]).expect_success().stdout;
    assert_eq!(table.lines().count(), 5, "{table}");
    let rows = run(dir, &["runs", "list", ".", "--json"]).expect_success().stdout;
    let rows: serde_json::Value = serde_json::from_str(&rows).unwrap();
    assert_eq!((&rows[0]["run"], &rows[0]["state"]), (&"first".into(), &"finished".into()));
    let shown = run(dir, &["runs", "show", "first"]).expect_success().stdout;
    assert!(shown.contains("last-stage") && shown.contains("val        "), "{shown}");

    let args = ["runs", "compare", "first", "second", "other-seed", "--out", "compare.html"];
    let text = run(dir, &args).expect_success().stdout;
    for there in
        ["differ by seed alone", "second less first", "McNemar p 1.000: within noise", "seed: 42 and 7"]
    {
        assert!(text.contains(there), "`{there}` is not in\n{text}");
    }
    assert!(fs::read_to_string(dir.join("compare.html")).unwrap().contains("<svg"));
    run(dir, &args).expect_error(&["`compare.html` exists"]);
    run(dir, &["runs", "compare", "first", "data"]).expect_error(&["`data` is not the directory of a run"]);

    fs::create_dir(dir.join("newer")).unwrap();
    fs::copy(dir.join("first/manifest.json"), dir.join("newer/manifest.json")).unwrap();
    fs::write(dir.join("newer/spec.json"), r#"{ "format": 99 }"#).unwrap();
    run(dir, &["runs", "show", "newer"]).expect_error(&["format 99", "use a newer `tl`"]);
    run(dir, &["runs", "list", "."]).expect_error(&["format 99"]);

    run(dir, &["runs", "rm", "data", "--yes"]).expect_error(&["`data` is not the directory of a run"]);
    run(dir, &["runs", "rm", "newer"]).expect_error(&["nobody can be asked", "say --yes"]);
    run(dir, &["runs", "rm", "newer", "third", "--yes"]).expect_success();
    assert!(!dir.join("newer").exists() && !dir.join("third").exists() && dir.join("data").exists());
}

/// `evaluate` and `predict` need the two model files only, and say what the run said.
fn the_model_is_enough(dir: &Path, summary: &serde_json::Value) {
    let alone = dir.join("alone");
    fs::create_dir(&alone).unwrap();
    for file in ["model.json", "model.safetensors"] {
        fs::copy(dir.join("first").join(file), alone.join(file)).unwrap();
    }
    // No home with weights, and no network.
    let mut evaluate = tl();
    evaluate
        .current_dir(dir)
        .args(["evaluate", "alone", "data", "--json"])
        .env("TL_HOME", dir.join("nowhere"));
    let output = finish(&mut evaluate).expect_success();
    let evaluation: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(evaluation, summary["evaluations"][0]);

    let output = run(dir, &["predict", "alone", "data/val", "--top", "1", "--json"]).expect_success();
    let rows = fs::read_to_string(dir.join("first/val_predictions.csv")).unwrap();
    let rows: Vec<Vec<&str>> = rows.lines().skip(1).map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 18);
    let said: Vec<serde_json::Value> =
        output.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(said.len(), rows.len());
    for row in rows {
        let [file, _, class, probability] = row[..] else { panic!("{row:?}") };
        let same = said.iter().find(|said| said["file"].as_str().unwrap().ends_with(file)).unwrap();
        assert_eq!(same["top"][0]["class"], *class);
        let difference =
            same["top"][0]["probability"].as_f64().unwrap() - probability.parse::<f64>().unwrap();
        assert!(difference.abs() < 1e-5, "{row:?} {same}");
    }
}

#[test]
fn every_preset_and_head_trains() {
    let dir = tempfile::tempdir().unwrap();
    small_set(dir.path(), &CLASSES, 8, 4);
    let cases = [
        ("feature-extraction", "3", "gap-32"),
        ("lp-ft", "2,1", "flatten-16"),
        ("gradual", "1,1,1", "gap"),
        ("full", "2", "gap"),
    ];
    for (preset, epochs, head) in cases {
        let args = ["finetune", "--data", "data", "--run", preset, "--preset", preset, "--epochs", epochs];
        run(dir.path(), &[&args[..], &["--head", head]].concat()).expect_success();
        let model = json(&dir.path().join(preset).join("model.json"));
        assert_eq!(model["head"], head);
    }
}

#[test]
fn activations_beyond_the_budget_change_nothing_but_time() {
    let dir = tempfile::tempdir().unwrap();
    small_set(dir.path(), &CLASSES, 8, 4);
    let args = ["finetune", "--data", "data", "--epochs", "3,1,1"];
    run(dir.path(), &[&args[..], &["--run", "kept"]].concat()).expect_success();
    run(
        dir.path(),
        &[&args[..], &["--run", "computed", "--cache-budget", "0", "--feature-cache", "0"]].concat(),
    )
    .expect_success();
    let summary = |name: &str| json(&dir.path().join(name).join("summary.json"));
    assert!(summary("kept")["cache_bytes"].as_u64().unwrap() > 0);
    assert_eq!(summary("computed")["cache_bytes"], 0);
    let (kept, computed) = (epochs(&dir.path().join("kept")), epochs(&dir.path().join("computed")));
    for (a, b) in kept.iter().zip(&computed) {
        let difference = a["val_loss"].as_f64().unwrap() - b["val_loss"].as_f64().unwrap();
        assert!(difference.abs() < 1e-3, "{a} {b}");
    }
}

#[test]
fn a_folder_without_a_split_is_split_by_the_seed() {
    let dir = tempfile::tempdir().unwrap();
    let data = small_set(dir.path(), &CLASSES, 10, 1);
    let args =
        ["finetune", "--data", data.join("train").to_str().unwrap(), "--epochs", "1,1,1"].map(str::to_owned);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    run(dir.path(), &[&args[..], &["--run", "a", "--val-fraction", "0.3"]].concat()).expect_success();
    let facts = &json(&dir.path().join("a/manifest.json"))["data"];
    assert_eq!((&facts["train_images"], &facts["val_images"]), (&21.into(), &9.into()));
    assert!(facts["split"].as_str().unwrap().contains("seed 42"), "{facts}");
}

#[test]
fn ctrl_c_keeps_the_best_weights() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    small_set(dir, &CLASSES, 12, 6);
    let args = ["finetune", "--data", "data", "--run", "stopped", "--epochs", "3,2,500"];
    let output = interrupt(dir, &args, |line| line.starts_with("all "));
    // The first line that starts with `all` is the plan's: the run has hardly begun, or is in its first epochs.
    assert_eq!(output.code, Some(130), "{}", output.stderr);
    let args = ["finetune", "--data", "data", "--run", "later", "--epochs", "3,2,500"];
    let output = interrupt(dir, &args, |line| is_epoch(line, "all"));
    assert_eq!(output.code, Some(130), "{}", output.stderr);
    assert!(output.stderr.contains("stopped after epoch"), "{}", output.stderr);
    assert_eq!(json(&dir.join("later/summary.json"))["status"], "interrupted");
    run(dir, &["evaluate", "later", "data"]).expect_success();
}

#[test]
fn the_pretrained_net_itself_answers() {
    let dir = tempfile::tempdir().unwrap();
    small_set(dir.path(), &["bag"], 2, 1);
    let args = ["predict", "--backbone", "efficientnet-lite0", "data/train", "--json"];
    let output = run(dir.path(), &args).expect_success();
    assert_eq!(output.stdout.lines().count(), 2);
    let first: serde_json::Value = serde_json::from_str(output.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(first["top"].as_array().unwrap().len(), 5);
    let output = run(dir.path(), &["backbones", "--json"]).expect_success();
    let table: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(table[0]["backbone"], "efficientnet-lite0");
    assert!(table[0]["weights"][0]["cached"].is_string());
}

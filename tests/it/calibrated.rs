//! Probabilities at the temperature of a run.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::serve::{ask, parsed, serve_with};
use crate::support::{run, small_set};

/// Probabilities of each image, by class.
fn said(dir: &Path, more: &[&str]) -> Vec<Vec<(String, f64)>> {
    let args = [&["predict", "run", "data/val", "--json", "--precision", "f32"], more].concat();
    let output = run(dir, &args).expect_success();
    let row = |line: &str| {
        let top = parsed(line)["top"].as_array().unwrap().clone();
        let pair =
            |one: Value| (one["class"].as_str().unwrap().to_owned(), one["probability"].as_f64().unwrap());
        top.into_iter().map(pair).collect()
    };
    output.stdout.lines().map(row).collect()
}

fn with_temperature(dir: &Path, temperature: Value) {
    let path = dir.join("run/model.json");
    let mut model = parsed(&fs::read_to_string(&path).unwrap());
    match temperature.is_null() {
        true => drop(model.as_object_mut().unwrap().remove("temperature")),
        false => model["temperature"] = temperature,
    }
    fs::write(path, model.to_string()).unwrap();
}

#[test]
fn logits_are_divided_by_the_temperature_on_request() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    // Hard to tell apart, so that some answers are wrong and there is something to fit.
    small_set(dir, &["coat", "pullover", "shirt"], 12, 12);
    let args = ["finetune", "--data", "data", "--preset", "feature-extraction", "--epochs", "3"];
    run(dir, &[&args[..], &["--precision", "f32", "--run", "run"]].concat()).expect_success();
    let model = parsed(&fs::read_to_string(dir.join("run/model.json")).unwrap());
    let analysis = parsed(&fs::read_to_string(dir.join("run/analysis.json")).unwrap());
    let fitted = model["temperature"].as_f64().unwrap();
    assert_eq!(Some(fitted), analysis[0]["calibration"]["temperature"].as_f64());

    let args = ["evaluate", "run", "data", "--json", "--analysis", "--calibrated", "--precision", "f32"];
    let measured = parsed(&run(dir, &args).expect_success().stdout);
    let (before, after) = (&analysis[0]["calibration"], &measured["calibrated"]);
    let near = |a: &Value, b: &Value| (a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-3;
    assert!(near(&after["ece_before"], &before["ece"]), "{after} {before}");
    assert!(near(&after["ece_after"], &before["ece_scaled"]), "{after} {before}");
    assert!(near(&measured["metrics"]["ece"], &after["ece_after"]), "{measured}");
    assert!(near(&measured["loss"], &before["nll_scaled"]), "{measured}");
    assert_eq!(measured["analysis"]["calibration"]["applied"], true);
    let text =
        run(dir, &["evaluate", "run", "data", "--calibrated", "--report", "page.html"]).expect_success();
    assert!(text.stdout.contains("before the temperature of"), "{}", text.stdout);
    assert!(fs::read_to_string(dir.join("page.html")).unwrap().contains("are those after it"));

    with_temperature(dir, json!(2.0));
    let (plain, scaled) = (said(dir, &[]), said(dir, &["--calibrated"]));
    for (plain, scaled) in plain.iter().zip(&scaled) {
        let sum: f64 = plain.iter().map(|(_, p)| p.sqrt()).sum();
        for ((class, p), (same, q)) in plain.iter().zip(scaled) {
            assert!(class == same && (p.sqrt() / sum - q).abs() < 1e-4, "{class} {p} {same} {q}");
        }
    }
    served(dir, &scaled[0]);
    exported(dir);
    refused(dir);
}

fn served(dir: &Path, expected: &[(String, f64)]) {
    let (mut server, address, _log) = serve_with(dir, "run", &["--calibrated"]);
    let first = crate::support::names(&dir.join("data/val/coat")).remove(0);
    let body = fs::read(dir.join("data/val/coat").join(first)).unwrap();
    let top = parsed(&ask(&address, "POST /predict", &body).1)["predictions"][0]["top"].clone();
    assert!((top[0]["probability"].as_f64().unwrap() - expected[0].1).abs() < 1e-4, "{top}");
    assert_eq!(parsed(&ask(&address, "GET /model", b"").1)["temperature"], 2.0);
    assert!(ask(&address, "GET /", b"").1.contains("trained to tell: coat, pullover, shirt"));
    server.kill().unwrap();
    server.wait().unwrap();
}

fn exported(dir: &Path) {
    let args = ["export", "run", "--format", "onnx", "--probabilities", "--json"];
    let about = |more: &[&str]| {
        parsed(&run(dir, &[&args[..], more].concat()).expect_success().stdout)["about"].clone()
    };
    assert_eq!(about(&["--out", "scaled.onnx", "--calibrated"])["temperature"], 2.0);
    assert!(about(&["--out", "plain.onnx"]).get("temperature").is_none());
    assert_ne!(fs::read(dir.join("scaled.onnx")).unwrap(), fs::read(dir.join("plain.onnx")).unwrap());
    run(dir, &["export", "run", "--format", "onnx", "--calibrated"]).expect_usage_error(&["--probabilities"]);
}

fn refused(dir: &Path) {
    run(dir, &["predict", "run", "data/val", "--calibrated", "--raw"]).expect_usage_error(&["--raw"]);
    with_temperature(dir, Value::Null);
    // The run knows it all the same.
    run(dir, &["predict", "run", "data/val", "--calibrated"]).expect_success();
    fs::remove_file(dir.join("run/analysis.json")).unwrap();
    let refused = ["has no temperature", "leave --calibrated out"];
    for args in [["predict", "run", "data/val"], ["evaluate", "run", "data"]] {
        run(dir, &[&args[..], &["--calibrated"]].concat()).expect_error(&refused);
    }
    with_temperature(dir, json!(-1.0));
    run(dir, &["predict", "run", "data/val", "--calibrated"]).expect_error(&["a temperature of -1"]);
}

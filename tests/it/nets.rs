//! The pretrained nets as a user meets them: what is in them, what comes out of them, what of them trains.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{interrupt, json, names, run, small_set};

const CLASSES: [&str; 2] = ["bag", "sneaker"];

fn report(dir: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&run(dir, args).expect_success().stdout).unwrap()
}

/// The default net's weights as a file; the first call fetches them.
fn weights_file(dir: &Path) -> String {
    run(dir, &["predict", "--backbone", "efficientnet-lite0", "data/val"]).expect_success();
    let table = report(dir, &["backbones", "--json"]);
    let cards = table.as_array().unwrap();
    assert!(cards.len() >= 42);
    let lite0 = cards.iter().find(|card| card["backbone"] == "efficientnet-lite0").unwrap();
    assert_eq!(lite0["stages"][7]["channels"], 1280);
    assert_eq!(lite0["weights"][0]["input"]["resize"], 256);
    lite0["weights"][0]["cached"].as_str().unwrap().to_owned()
}

#[test]
fn summary_counts_what_keras_counts() {
    let dir = tempfile::tempdir().unwrap();
    let count = |args: &[&str]| {
        let summary = report(dir.path(), &[&["summary", "--backbone"], args, &["--json"]].concat());
        let totals = &summary["totals"];
        (totals["parameters"].as_u64().unwrap(), totals["trainable"].as_u64().unwrap())
    };
    // Keras 3.15: VGG16(include_top=False), then with the two heads of the tutorials, layers[:-4] frozen.
    let flatten = ["vgg16", "--head", "flatten-256", "--classes", "binary", "--unfreeze"];
    let gap = ["vgg16", "--head", "gap-1024", "--classes", "binary", "--unfreeze"];
    assert_eq!(count(&["vgg16"]), (14_714_688, 14_714_688));
    for part in ["last-4-layers", "layers[-4:]", "layers[15:19]", "stage5"] {
        assert_eq!(count(&[&flatten[..], &[part]].concat()), (21_137_729, 13_502_465), "{part}");
        assert_eq!(count(&[&gap[..], &[part]].concat()), (15_241_025, 7_605_761), "{part}");
    }
    assert_eq!(count(&[&flatten[..], &["head"]].concat()), (21_137_729, 6_423_041));
    assert_eq!(
        count(&["vgg16", "--image-size", "150", "--head", "flatten-256", "--classes", "1"]).0,
        16_812_353
    );

    let text = run(dir.path(), &["summary", "--backbone", "resnet50", "--unfreeze", "layers[143:]"]);
    let text = text.expect_success().stdout;
    assert!(text.contains("174  layer4.2.act") && text.contains("stay frozen, as by default"), "{text}");
}

#[test]
fn features_go_to_files_that_others_read() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    small_set(dir, &CLASSES, 3, 1);
    let net = ["features", "--backbone", "efficientnet-lite0", "--image-size", "64", "data/train"];
    let features = |more: &[&str]| run(dir, &[&net[..], more].concat());

    features(&["--out", "pooled.npy"]).expect_success();
    let bytes = fs::read(dir.join("pooled.npy")).unwrap();
    assert!(bytes.starts_with(b"\x93NUMPY\x01\x00"));
    let header = String::from_utf8_lossy(&bytes[10..128]).into_owned();
    assert!(header.contains("'descr': '<f4'") && header.contains("'shape': (6, 1280)"), "{header}");
    assert_eq!(bytes.len(), 128 + 6 * 1280 * 4);
    let list = fs::read_to_string(dir.join("pooled.files.txt")).unwrap();
    assert_eq!(list.lines().count(), 6);
    assert!(list.lines().next().unwrap().starts_with("data/train/bag/"), "{list}");

    let raw = features(&["--out", "maps.safetensors", "--raw", "--json"]).expect_success();
    let raw: Value = serde_json::from_str(&raw.stdout).unwrap();
    assert_eq!(raw["shape"], serde_json::json!([6, 1280, 2, 2]));
    let bytes = fs::read(dir.join("maps.safetensors")).unwrap();
    let header = String::from_utf8_lossy(&bytes[8..900]).into_owned();
    assert!(header.contains("\"shape\":[6,1280,2,2]") && header.contains("data/train/sneaker/"), "{header}");

    // Means of the maps are the pooled features.
    let floats = |bytes: &[u8]| -> Vec<f32> {
        bytes.chunks(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
    };
    let pooled = floats(&fs::read(dir.join("pooled.npy")).unwrap()[128..]);
    let maps = floats(&bytes[bytes.len() - 6 * 1280 * 4 * 4..]);
    for (mean, map) in pooled.iter().zip(maps.chunks(4)) {
        assert!((mean - map.iter().sum::<f32>() / 4.0).abs() < 1e-5);
    }

    let stage =
        features(&["--stage", "stage3", "--pool", "max", "--out", "s.npy", "--json"]).expect_success();
    assert_eq!(serde_json::from_str::<Value>(&stage.stdout).unwrap()["shape"], serde_json::json!([6, 40]));

    let before = names(dir);
    features(&["--out", "pooled.npy"]).expect_error(&["`pooled.npy` exists"]);
    features(&["--out", "a.txt"]).expect_error(&["`a.txt`, expected a name in .npy or .safetensors"]);
    features(&["--out", "a.npy", "--stage", "stage9"])
        .expect_error(&["no stage `stage9`", "it has stem, stage1"]);
    features(&["--out", "a.npy", "--pool", "cls"]).expect_error(&["takes the class token"]);
    features(&["--out", "a.npy", "--pool", "gap-10"]).expect_error(&["--pool is `gap-10`"]);
    features(&["--out", "no-folder/a.npy"]).expect_error(&["no-folder/a.npy"]);
    fs::write(dir.join("data/train/bag/broken.png"), b"not an image").unwrap();
    features(&["--out", "a.npy"]).expect_error(&["1 image", "broken.png", "--skip-bad"]);
    assert_eq!(names(dir), before);
    features(&["--out", "a.npy", "--skip-bad"]).expect_success();
    assert_eq!(fs::read_to_string(dir.join("a.files.txt")).unwrap(), list);
}

#[test]
fn an_interrupted_command_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    small_set(dir, &["bag", "coat", "dress", "sandal", "sneaker", "trouser"], 90, 1);
    let args = ["features", "--backbone", "efficientnet-lite0", "--out", "a.npy", "data/train"];
    let before = names(dir);
    let output = interrupt(dir, &args, |line| line.starts_with("features   540 images"));
    assert_eq!(output.code, Some(130), "{}", output.stderr);
    assert!(!output.stderr.contains("internal error"), "{}", output.stderr);
    assert_eq!(names(dir), before);
}

#[test]
fn raw_outputs_are_what_probabilities_are_made_of() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    small_set(dir, &CLASSES, 1, 1);
    let file = weights_file(dir);
    let net = ["predict", "--backbone", "efficientnet-lite0", "--weights", &file, "--json", "data/val/bag"];
    let raw = report(dir, &[&net[..], &["--raw"]].concat());
    let outputs: Vec<f64> = raw["outputs"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    assert_eq!(outputs.len(), 1000);
    let top = report(dir, &[&net[..], &["--top", "1"]].concat())["top"][0]["probability"].as_f64().unwrap();
    let largest = outputs.iter().copied().fold(f64::MIN, f64::max);
    let softmax = 1.0 / outputs.iter().map(|x| (x - largest).exp()).sum::<f64>();
    assert!((softmax - top).abs() < 1e-5, "{softmax} {top}");

    run(dir, &["predict", "--backbone", "dinov2-small", "data/val"])
        .expect_error(&["has no classifier", "tl features"]);
}

#[test]
fn weights_that_fit_only_in_part_are_an_error_unless_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    small_set(dir, &CLASSES, 1, 1);
    // One tensor of the net, and one that it does not have.
    let header = r#"{"conv_stem.weight":{"dtype":"F32","shape":[32,3,3,3],"data_offsets":[0,3456]},"extra":{"dtype":"F32","shape":[1],"data_offsets":[3456,3460]}}"#;
    let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 3460]].concat();
    fs::write(dir.join("part.safetensors"), bytes).unwrap();
    let args = ["features", "--backbone", "efficientnet-lite1", "--weights", "part.safetensors"];
    let args = [&args[..], &["--out", "a.npy", "data"]].concat();
    run(dir, &args).expect_error(&[
        "weights `part.safetensors` do not fit backbone `efficientnet-lite1`",
        "1 tensors fit",
        "missing in the file",
        "left over in the file:\n  `extra`",
    ]);
    let output = run(dir, &[&args[..], &["--partial-weights"]].concat()).expect_success();
    assert!(
        output.stderr.contains("fit only in part, what is missing starts anew: 1 tensors fit"),
        "{}",
        output.stderr
    );
}

#[test]
fn the_last_layers_train_under_a_sigmoid() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    small_set(dir, &CLASSES, 12, 6);
    let args = ["finetune", "--data", "data", "--run", "run", "--epochs", "8,2"];
    let more = ["--unfreeze", "last-7-layers", "--classes", "binary", "--head", "concat-bn-drop0.25-32"];
    run(dir, &[&args[..], &more].concat()).expect_success();
    let plan = fs::read_to_string(dir.join("run/plan.txt")).unwrap();
    assert!(plan.contains("unfreeze") && plan.contains("stage7 ("), "{plan}");
    let model = json(&dir.join("run/model.json"));
    assert_eq!((&model["outputs"]["kind"], &model["head"]), (&"binary".into(), &more[5].into()));
    let summary = json(&dir.join("run/summary.json"));
    assert!(summary["val_accuracy"].as_f64().unwrap() >= 0.8, "{summary}");
    let again = report(dir, &["evaluate", "run", "data", "--json"]);
    assert_eq!(again, summary["evaluations"][0]);
    let raw = run(dir, &["predict", "run", "data/val/bag", "--raw", "--json"]).expect_success().stdout;
    let raw: Value = serde_json::from_str(raw.lines().next().unwrap()).unwrap();
    assert_eq!(raw["classes"], serde_json::json!(["sneaker"]));
    assert_eq!(raw["outputs"].as_array().unwrap().len(), 1);

    // Repeated from its spec; and with another net, which takes neither weights nor schedule nor size from it.
    run(dir, &["finetune", "--config", "run/spec.json", "--run", "again"]).expect_success();
    assert_eq!(json(&dir.join("again/summary.json"))["model_sha256"], summary["model_sha256"]);
    let other =
        ["finetune", "--config", "run/spec.json", "--backbone", "inception-v3", "--weights", "none.pth"];
    run(dir, &other).expect_error(&["inception-v3", "no file of that name"]);
    let spec = json(&dir.join("run/spec.json"));
    fs::write(dir.join("newer.json"), spec.to_string().replace("\"format\":6", "\"format\":99")).unwrap();
    run(dir, &["finetune", "--config", "newer.json"]).expect_error(&["format 99", "use a newer `tl`"]);

    let rows = run(dir, &["predict", "run", "data/val", "--json"]).expect_success().stdout;
    let row: Value = serde_json::from_str(rows.lines().next().unwrap()).unwrap();
    assert_eq!(row["top"].as_array().unwrap().len(), 2);
}

#[test]
fn parts_and_outputs_that_cannot_be_are_reported_together() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    small_set(dir, &["bag", "sneaker", "trouser"], 2, 1);
    let before = names(dir);
    let args = ["finetune", "--data", "data", "--preset", "full", "--head", "cls"];
    let more =
        ["--unfreeze", "stage77", "--classes", "multi-label", "--backbone", "resnet18", "--image-size", "8"];
    run(dir, &[&args[..], &more].concat()).expect_error(&[
        "--preset and --unfreeze are both given",
        "part `stage77`: no stage, block or layer has this name, did you mean `stage",
        "takes the class token",
        "which cannot say several labels for each image",
        "cannot take images of 8 × 8 pixels",
    ]);
    run(dir, &["finetune", "--data", "data", "--classes", "binary"])
        .expect_error(&["--classes binary is for two classes, the folder has 3"]);
    run(dir, &["finetune", "--data", "data", "--classes", "4", "--epochs", "1,1"]).expect_error(&[
        "--classes is 4, the folder has 3 classes",
        "--epochs: 2 numbers of epochs were given, and there are 3 phases",
    ]);
    run(dir, &["finetune", "--data", "data", "--unfreeze", "last-2-layers", "--partial-weights"])
        .expect_error(&["part `last-2-layers` holds only batch-norms", "--partial-weights without a file"]);
    run(dir, &["finetune", "--data", "data", "--weights", "mine.pht"])
        .expect_error(&["no published weights `mine.pht`, and there is no file of that name"]);
    for size in ["8", "3000000000"] {
        run(dir, &["summary", "--backbone", "vgg16", "--image-size", size]).expect_error(&["32 to 4096"]);
    }
    run(dir, &["summary", "--backbone", "dinov2-small", "--image-size", "224"]).expect_success();
    run(dir, &["summary", "--backbone", "dinov2-small", "--image-size", "225"])
        .expect_error(&["a multiple of 14"]);
    assert_eq!(names(dir), before);
}

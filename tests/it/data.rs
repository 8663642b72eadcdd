//! Data as people have it: tables, groups, folds, copies, skewed classes.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{epochs, json, names, run, small_set};

const CLASSES: [&str; 2] = ["bag", "sneaker"];

fn files(dir: &Path) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    for class in CLASSES {
        for name in names(&dir.join("data/train").join(class)) {
            rows.push((format!("train/{class}/{name}"), class.to_owned()));
        }
    }
    rows
}

#[test]
fn a_table_trains_as_its_folders_do() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    small_set(dir, &CLASSES, 10, 2);
    let rows: Vec<String> = files(dir).into_iter().map(|(file, class)| format!("{file},{class}")).collect();
    fs::write(dir.join("data/labels.csv"), format!("image,label\n{}\n", rows.join("\n"))).unwrap();
    let args = ["finetune", "--data", "data/labels.csv", "--preset", "feature-extraction", "--epochs", "4"];
    run(dir, &[&args[..], &["--run", "a"]].concat()).expect_success();
    let split = json(&dir.join("a/split.json"));
    assert_eq!(split["train"].as_array().unwrap().len() + split["val"].as_array().unwrap().len(), 20);

    // The split of that run again, and the spec of it.
    run(dir, &[&args[..], &["--run", "b", "--split", "a/split.json", "--seed", "9"]].concat())
        .expect_success();
    assert_eq!(json(&dir.join("b/split.json"))["sha256"], split["sha256"]);
    run(dir, &["finetune", "--config", "a/spec.json", "--run", "c"]).expect_success();
    assert_eq!(epochs(&dir.join("c")), epochs(&dir.join("a")));

    let held_out = |fold: &str| {
        let run_name = format!("fold{fold}");
        let more = ["--run", &run_name, "--folds", "2", "--fold", fold, "--epochs", "1"];
        run(dir, &[&args[..5], &more].concat()).expect_success();
        json(&dir.join(run_name).join("split.json"))["val"].as_array().unwrap().clone()
    };
    let (first, second) = (held_out("0"), held_out("1"));
    assert_eq!(first.len() + second.len(), 20);
    assert!(first.iter().all(|file| !second.contains(file)));

    // The model measured on the table, and asked about a list.
    let lines: Vec<String> = files(dir).into_iter().map(|(file, _)| file).collect();
    fs::write(dir.join("data/list.txt"), lines.join("\n") + "\n").unwrap();
    let answers = run(dir, &["predict", "a", "data/list.txt", "--json"]).expect_success().stdout;
    assert_eq!(answers.lines().count(), 20);
    let measured = run(dir, &["evaluate", "a", "data/labels.csv", "--json"]).expect_success().stdout;
    let measured: Value = serde_json::from_str(&measured).unwrap();
    let right = answers.lines().zip(files(dir)).filter(|(line, (_, class))| {
        let answer: Value = serde_json::from_str(line).unwrap();
        answer["top"][0]["class"] == class.as_str()
    });
    assert_eq!(
        (&measured["images"], &measured["accuracy"]),
        (&20.into(), &(right.count() as f64 / 20.0).into())
    );

    let before = names(dir);
    fs::write(dir.join("data/bad.csv"), "image,label\ntrain/bag/none.png,bag\n,sneaker\n").unwrap();
    let bad = ["finetune", "--data", "data/bad.csv", "--label-column", "lable", "--run", "x"];
    run(dir, &bad).expect_error(&["bad.csv", "lable"]);
    run(dir, &["finetune", "--data", "data/bad.csv", "--run", "x"]).expect_error(&["bad.csv", "none.png"]);
    run(dir, &["finetune", "--data", "data", "--label-column", "label", "--run", "x"])
        .expect_error(&["--label-column is for a table"]);
    // What is wrong with the words, the list and the table is said at once.
    let wrong =
        ["--split", "none.json", "--folds", "3", "--fold", "7", "--exclude", "none.txt", "--run", "x"];
    run(dir, &[&["finetune", "--data", "data/bad.csv"], &wrong[..]].concat()).expect_error(&[
        "--split and --folds",
        "none.txt",
        "none.png",
    ]);
    run(dir, &["finetune", "--data", "data", "--folds", "3", "--fold", "3", "--run", "x"])
        .expect_error(&["--fold is 3, expected 0 to 2"]);
    assert_eq!(names(dir), before);
}

#[test]
fn the_doctor_finds_copies_and_the_run_leaves_them_out() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    small_set(dir, &CLASSES, 8, 3);
    let first = |class: &str| dir.join("data/train").join(class).join("0000.png");
    // The same picture in training and validation, and one under two labels.
    fs::copy(first("bag"), dir.join("data/val/bag/leak.png")).unwrap();
    fs::copy(first("sneaker"), dir.join("data/train/bag/wrong.png")).unwrap();
    fs::write(dir.join("data/train/bag/broken.png"), b"no image").unwrap();
    let output = run(dir, &["data", "doctor", "data", "--quarantine", "bad.txt", "--json"]);
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    let report: Value = serde_json::from_str(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let problems: Vec<_> = findings.iter().map(|finding| finding["problem"].as_str().unwrap()).collect();
    assert_eq!(problems, ["broken", "conflict", "leak"], "{report}");
    let list = fs::read_to_string(dir.join("bad.txt")).unwrap();
    for file in
        ["train/bag/0000.png", "train/bag/wrong.png", "train/sneaker/0000.png", "train/bag/broken.png"]
    {
        assert!(list.contains(file), "{list}");
    }
    assert!(!list.lines().any(|line| line.starts_with("val/")), "{list}");

    let args =
        ["finetune", "--data", "data", "--preset", "feature-extraction", "--epochs", "2", "--run", "run"];
    run(dir, &args).expect_error(&["broken.png", "--skip-bad"]);
    run(dir, &[&args[..], &["--exclude", "bad.txt"]].concat()).expect_success();
    let split = json(&dir.join("run/split.json"));
    assert!(!split["train"].to_string().contains("wrong.png"), "{split}");
    assert!(split["left_out"].to_string().contains("wrong.png"), "{split}");
    // The run repeats without the list, for it has its own copy.
    fs::rename(dir.join("bad.txt"), dir.join("moved.txt")).unwrap();
    run(dir, &["finetune", "--config", "run/spec.json", "--run", "again"]).expect_success();
    assert_eq!(epochs(&dir.join("again")), epochs(&dir.join("run")));
    fs::write(dir.join("stale.txt"), "train/bag/gone.png\n").unwrap();
    run(dir, &["finetune", "--data", "data", "--exclude", "stale.txt"])
        .expect_error(&["files that are not in the data", "gone.png"]);

    let seen = run(dir, &["data", "inspect", "data", "--sheet", "classes.png", "--json"]).expect_success();
    let seen: Value = serde_json::from_str(&seen.stdout).unwrap();
    assert_eq!(seen["images"], 25);
    assert!(fs::read(dir.join("classes.png")).unwrap().starts_with(b"\x89PNG"));
    run(dir, &["data", "inspect", "data", "--sheet", "classes.png"]).expect_error(&["`classes.png` exists"]);
    fs::write(dir.join("other-2.png"), "").unwrap();
    run(dir, &["data", "inspect", "data", "--sheet", "other.png"]).expect_error(&["`other-2.png` exists"]);
    run(dir, &["data", "doctor", "data", "--quarantine", "none/bad.txt"]).expect_error(&["no folder `none`"]);
}

#[test]
fn the_doctor_sees_the_sick() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    small_set(dir, &CLASSES, 8, 3);
    fs::write(dir.join("data/train/bag/broken.png"), b"no image").unwrap();
    fs::write(dir.join("data/train/bag/notes.txt"), b"no image").unwrap();
    fs::write(dir.join("data/train/bag/phone.heic"), b"\0\0\0\x18ftypheic\0\0\0\0").unwrap();
    let rows: Vec<String> = files(dir).into_iter().map(|(file, class)| format!("{file},{class}")).collect();
    let text = format!(
        "image,label\n{}\ntrain/bag/gone.png,bag\n",
        rows.join("\n").replace("notes.txt", "none.png")
    );
    fs::write(dir.join("data/labels.csv"), text.replace(".heic", ".png")).unwrap();
    let output = run(dir, &["data", "doctor", "data/labels.csv"]);
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    for line in ["error: cannot be read (3)", "error: broken (1)", "  train/bag/gone.png: it does not exist"]
    {
        assert!(output.stdout.lines().any(|l| l == line), "{line}\n{}", output.stdout);
    }
    assert!(
        output.stdout.ends_with("\nsee all: --json; leave out: --quarantine FILE\n"),
        "{}",
        output.stdout
    );

    #[cfg(unix)]
    std::os::unix::fs::symlink("nowhere.png", dir.join("data/train/bag/lost.png")).unwrap();
    let output = run(dir, &["data", "doctor", "data"]);
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    assert!(output.stdout.contains("broken.png") && output.stdout.contains("phone.heic: it is HEIC"));
    assert_eq!(output.stdout.contains("lost.png"), cfg!(unix), "{}", output.stdout);
    let ignored = "ignored: 2 files that are no images by name: train/bag/notes.txt, train/bag/phone.heic";
    assert!(output.stderr.contains(ignored), "{}", output.stderr);
}

#[test]
fn columns_of_weights_and_groups_are_used_when_named() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    small_set(dir, &CLASSES, 12, 2);
    let rows: Vec<String> = files(dir)
        .into_iter()
        .enumerate()
        .map(|(i, (file, class))| format!("{file},{class},p{},{}", i % 4, 1 + i % 3))
        .collect();
    let table = format!("image,label,patient,weight\n{}\n", rows.join("\n"));
    fs::write(dir.join("data/labels.csv"), table).unwrap();
    let args =
        ["finetune", "--data", "data/labels.csv", "--preset", "feature-extraction", "--epochs", "2", "--run"];
    run(dir, &[&args[..], &["plain"]].concat()).expect_success();
    run(dir, &[&args[..], &["weighed", "--weight-column", "weight"]].concat()).expect_success();
    // The same images, another loss to go down.
    assert_eq!(
        json(&dir.join("plain/split.json"))["sha256"],
        json(&dir.join("weighed/split.json"))["sha256"]
    );
    assert_ne!(epochs(&dir.join("plain")), epochs(&dir.join("weighed")));

    run(dir, &[&args[..], &["grouped", "--group", "patient"]].concat()).expect_success();
    let split = json(&dir.join("grouped/split.json"));
    let patients = |part: &str| -> std::collections::BTreeSet<usize> {
        let all = files(dir);
        let place = |file: &str| all.iter().position(|(name, _)| name == file).unwrap() % 4;
        split[part].as_array().unwrap().iter().map(|file| place(file.as_str().unwrap())).collect()
    };
    assert!(patients("train").is_disjoint(&patients("val")), "{split}");
    assert_eq!(patients("train").len() + patients("val").len(), 4);
}

#[test]
fn augmentation_weights_and_sampling_reach_the_run_and_repeat() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    small_set(dir, &CLASSES, 10, 4);
    for i in 3..10 {
        fs::remove_file(dir.join(format!("data/train/bag/{i:04}.png"))).unwrap();
    }
    let args = ["finetune", "--data", "data", "--epochs", "2,1,1", "--batch", "4", "--augment", "strong"];
    let more = ["--class-weights", "balanced", "--balanced-sampling", "--run"];
    run(dir, &[&args[..], &more, &["a", "--data-threads", "1"]].concat()).expect_success();
    run(dir, &[&args[..], &more, &["b", "--data-threads", "2"]].concat()).expect_success();
    assert_eq!(epochs(&dir.join("a")), epochs(&dir.join("b")));
    let spec = json(&dir.join("a/spec.json"));
    assert_eq!((&spec["class_weights"], &spec["balanced_sampling"]), (&"balanced".into(), &true.into()));
    assert_eq!(spec["augment"]["policy"], "trivial-augment-wide");
    assert!(spec["augment"]["mixing"].is_object(), "{spec}");
    run(dir, &["finetune", "--config", "a/spec.json", "--run", "c"]).expect_success();
    assert_eq!(epochs(&dir.join("c")), epochs(&dir.join("a")));

    // The arguments of an ImageDataGenerator as they are, and a folder that keeps decoded images.
    let keras =
        r#"{ "rotation_range": 20, "width_shift_range": 0.1, "horizontal_flip": true, "rescale": 0.00392 }"#;
    fs::write(dir.join("keras.json"), keras).unwrap();
    let args = ["finetune", "--data", "data", "--epochs", "2,1,1", "--batch", "4", "--augment", "keras.json"];
    let first = run(dir, &[&args[..], &["--run", "k1", "--image-cache", "0"]].concat()).expect_success();
    assert!(first.stderr.contains("`rescale`: not used"), "{}", first.stderr);
    for name in ["k2", "k3"] {
        run(dir, &[&args[..], &["--run", name, "--image-cache-dir", "decoded"]].concat()).expect_success();
        assert_eq!(epochs(&dir.join(name)), epochs(&dir.join("k1")));
    }
    assert_eq!(names(&dir.join("decoded")).len(), 13);
    let drawn =
        ["augment", "data/train", "--augment", "keras.json", "--out", "keras.png", "--most", "1", "--json"];
    let drawn = run(dir, &drawn).expect_success().stdout;
    assert!(drawn.lines().count() == 7 && drawn.contains("theta"), "{drawn}");

    let sheet =
        ["augment", "data/train", "--augment", "medium", "--out", "sheet.png", "--most", "2", "--json"];
    let drawn = run(dir, &sheet).expect_success().stdout;
    assert_eq!(drawn.lines().count(), 14);
    let drawn: Vec<Value> = drawn.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_ne!(drawn[0]["parameters"], drawn[7]["parameters"]);
    fs::write(dir.join("recipe.json"), r#"{ "flip": true, "rotate": 3 }"#).unwrap();
    run(dir, &["finetune", "--data", "data", "--augment", "recipe.json"])
        .expect_error(&["recipe.json", "unknown field `rotate`"]);
    run(dir, &["finetune", "--data", "data", "--augment", "mild", "--class-weights", "some"])
        .expect_error(&["--augment is `mild`", "--class-weights is `some`"]);
}

#[test]
fn tables_of_labels_and_numbers_are_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    small_set(dir, &CLASSES, 8, 2);
    let files = files(dir);
    let write = |name: &str, header: &str, cells: &dyn Fn(usize) -> String| {
        let rows = files.iter().enumerate().map(|(i, (file, _))| format!("{file},{}\n", cells(i)));
        fs::write(dir.join(name), format!("file,{header}\n{}", rows.collect::<String>())).unwrap();
    };
    write("data/labels.csv", "tags", &|i| if i % 4 == 0 { "dark;small" } else { "small" }.to_owned());
    write("data/numbers.csv", "age,height", &|i| format!("{i},{}", 100 - i));

    let args = ["data", "inspect", "data/labels.csv", "--classes", "multi-label", "--label-separator", ";"];
    let text = run(dir, &[&args[..], &["--sheet", "labels.png"]].concat()).expect_success().stdout;
    let squeezed = |text: &str| {
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
    };
    assert!(squeezed(&text).contains(&"dark 3 1 0".to_owned()), "{text}");
    assert!(fs::read(dir.join("labels.png")).unwrap().starts_with(b"\x89PNG"));
    let seen = run(dir, &[&args[..], &["--json"]].concat()).expect_success().stdout;
    let seen: Value = serde_json::from_str(&seen).unwrap();
    assert_eq!((&seen["task"], &seen["classes"][1]["train"]), (&"multi-label".into(), &13.into()), "{seen}");

    let numbers =
        ["data/numbers.csv", "--classes", "regression", "--label-column", "age", "--label-column", "height"];
    let text = run(dir, &[&["data", "inspect"][..], &numbers].concat()).expect_success().stdout;
    assert!(squeezed(&text).iter().any(|line| line.starts_with("age 0 7.5 15 4.61")), "{text}");

    // A copy with the same labels, and another number.
    fs::copy(dir.join("data").join(&files[1].0), dir.join("data").join(&files[2].0)).unwrap();
    let found = |args: &[&str]| {
        let report = run(dir, &[&["data", "doctor", "--exact", "--json"][..], args].concat());
        let report: Value = serde_json::from_str(&report.stdout).unwrap();
        report["findings"][0]["problem"].as_str().unwrap().to_owned()
    };
    assert_eq!(found(&args[2..]), "duplicate");
    assert_eq!(found(&numbers), "conflict");

    run(dir, &["data", "inspect", "data", "--classes", "multi-label"])
        .expect_error(&["is a folder", "hint: give a table"]);
    run(dir, &["data", "doctor", "data/labels.csv", "--classes", "regression"])
        .expect_error(&["no column has a known name for the numbers"]);
    run(dir, &["data", "inspect", "data/labels.csv", "--classes", "labels"])
        .expect_error(&["expected `multi-label` or `regression`"]);
}

//! Words with tags, from a file of columns to entities in a text, on a tiny net with random weights.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{epochs, interrupt, is_epoch, json, run};
use crate::texts::tiny_net;

/// A folder of sentences in which praise and blame are entities, some of two words. One in eight is long.
fn sentences(dir: &Path) {
    const FRAME: [&[&str]; 3] =
        [&["the", "film", "is"], &["it", "was"], &["one", "scene", "of", "the", "end", "is"]];
    const KINDS: [(&str, [&str; 4]); 2] =
        [("GOOD", ["good", "great", "fine", "moving"]), ("BAD", ["bad", "dull", "slow", "poor"])];
    fs::create_dir(dir.join("set")).unwrap();
    for (part, n, from) in [("train", 90, 0), ("dev", 24, 1), ("test", 16, 5)] {
        let mut text = "-DOCSTART- O\n\n".to_owned();
        for i in (from..).take(n) {
            let mut word = |word: &str, tag: &str| writeln!(text, "{word} {tag}").unwrap();
            let (kind, words) = KINDS[i % 2];
            FRAME[i % 3].iter().for_each(|frame| word(frame, "O"));
            let double = i % 5 < 2;
            if double {
                word("very", &format!("B-{kind}"));
            }
            word(words[i / 2 % 4], &format!("{}-{kind}", if double { "I" } else { "B" }));
            if i % 8 == 7 {
                ["and", "the", "plot", "of", "the", "story", "is", "in", "it"]
                    .iter()
                    .for_each(|frame| word(frame, "O"));
                word("good", "B-GOOD");
            }
            text.push('\n');
        }
        fs::write(dir.join("set").join(format!("{part}.txt")), text).unwrap();
    }
}

const WORDS: [&str; 9] =
    ["finetune", "--task", "text", "--data", "set", "--backbone", "tiny", "--max-length", "14"];

#[test]
fn tags_go_from_columns_to_entities() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    tiny_net(dir);
    sentences(dir);
    // Its weights are random: usual rates would take long.
    let phases = serde_json::json!([
        { "name": "head", "train": [{ "stage": "head", "rate": 0.05 }], "epochs": 8, "augment": false,
          "restore_best": true },
        { "name": "layers", "epochs": 12, "augment": false, "restore_best": true,
          "train": [{ "stage": "layer0..", "rate": 0.005 }, { "stage": "head", "rate": 0.01 }] }
    ]);
    fs::write(dir.join("phases.json"), phases.to_string()).unwrap();
    let fit = [&WORDS[..], &["--run", "r", "--schedule", "phases.json", "--batch", "8"]].concat();
    let output = run(dir, &fit).expect_success();
    for said in
        ["tags are IOB2", "5 tags: O, B-BAD, I-BAD, B-GOOD, I-GOOD", "entities to learn from: BAD 45, GOOD"]
    {
        assert!(output.stderr.contains(said), "{said} is not in:\n{}", output.stderr);
    }
    assert!(output.stderr.contains("words have no token") && output.stdout.contains("entity F1 on val"));
    let summary = json(&dir.join("r/summary.json"));
    let val = &summary["evaluations"][0];
    let f1 = val["metrics"]["entity-f1"].as_f64().unwrap();
    assert!(f1 > 0.7 && val["labels"].as_array().unwrap().len() == 2, "{val}");
    assert!(summary["baseline"]["val_f1"].as_f64().unwrap() > 0.5, "{summary}");
    let report = fs::read_to_string(dir.join("r/report.html")).unwrap();
    assert!(
        report.contains("<mark") && report.contains("the most frequent tag") && !report.contains("<script")
    );
    let words = fs::read_to_string(dir.join("r/val_predictions.csv")).unwrap();
    assert!(words.starts_with("file,place,word,tag,predicted,probability\ndev.txt:"), "{words}");

    // The folder of the model alone is enough.
    fs::rename(dir.join("tiny"), dir.join("gone")).unwrap();
    let measured = run(dir, &["evaluate", "r", "set", "--json", "--precision", "f32", "--report", "e.html"]);
    let measured: Value = serde_json::from_str(&measured.expect_success().stdout).unwrap();
    assert_eq!(measured["metrics"], summary["evaluations"][1]["metrics"]);
    let text = run(dir, &["evaluate", "r", "set/dev.txt"]).expect_success().stdout;
    assert!(text.contains("24 texts") && text.contains("GOOD") && text.contains("B-GOOD"), "{text}");
    let say = |more: &[&str]| {
        run(dir, &[&["predict", "r", "The film is good"], more].concat()).expect_success().stdout
    };
    let said: Value = serde_json::from_str(&say(&["--json"])).unwrap();
    assert_eq!(said["words"].as_array().unwrap().len(), 4, "{said}");
    let found: Vec<(&str, u64, u64)> = said["entities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (one["text"].as_str().unwrap(), one["start"].as_u64().unwrap(), one["end"].as_u64().unwrap())
        })
        .collect();
    assert!(found.contains(&("good", 12, 16)), "{said}");
    assert!(say(&["--format", "csv"]).starts_with("text,entity,type,start,end,probability\n"));
    assert!(say(&["--format", "table"]).contains("12..16") && say(&["--threshold", "1"]).ends_with("\t-\n"));
    let lines = run(dir, &["predict", "r", "set/test.txt"]).expect_success().stdout;
    assert_eq!(lines.lines().count(), 16);
    run(dir, &["features", "r", "it was good", "--out", "f.npy"]).expect_success();
    fs::rename(dir.join("gone"), dir.join("tiny")).unwrap();
    run(dir, &["text", "doctor", "--data", "set"]);
    run(dir, &["runs", "reproduce", "r"]).expect_success();

    // What means nothing is said.
    run(dir, &[&WORDS[..], &["--head", "cls", "--class-weights", "balanced", "--group", "x"]].concat())
        .expect_error(&[
            "--head cls answers for each text, and a run with --classes tags needs an answer for each word",
            "--class-weights is given",
            "--group is given",
        ]);
    run(dir, &["predict", "r", "it was", "--top", "2"]).expect_error(&["--raw and --top are for texts"]);
    fs::write(dir.join("other.conll"), "Bonn B-LOC\n").unwrap();
    run(dir, &["evaluate", "r", "other.conll"]).expect_error(&["other.conll:1", "LOC"]);
}

#[test]
fn a_run_on_tags_that_was_stopped_ends_as_if_it_had_not_been() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    tiny_net(dir);
    sentences(dir);
    let more = ["--epochs", "2,10", "--batch", "4", "--checkpoint-every", "0", "--run"];
    let words = |run: &'static str| [&WORDS[..], &more, &[run]].concat();
    run(dir, &words("whole")).expect_success();
    let stopped = interrupt(dir, &words("stopped"), |line| is_epoch(line, "layers"));
    assert_eq!(stopped.code, Some(130), "{}", stopped.stderr);
    run(dir, &["finetune", "--resume", "stopped"]).expect_success();
    assert_eq!(epochs(&dir.join("stopped")), epochs(&dir.join("whole")));
    let model = |run: &str| fs::read(dir.join(run).join("model.safetensors")).unwrap();
    assert!(model("stopped") == model("whole"), "other bits");
}

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

#[test]
fn parts_of_speech_are_tags_of_single_words() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    tiny_net(dir);
    fs::create_dir(dir.join("set")).unwrap();
    let sentences = |n: usize, from: usize| {
        let praise = ["good", "great", "fine", "moving", "bad", "dull", "slow", "poor"];
        let things = ["film", "plot", "story", "cast", "scene"];
        (from..from + n).fold(String::new(), |mut text, i| {
            let (praise, thing) = (praise[i % 8], things[i % 5]);
            // What follows `the` is a thing, and what follows `very` is praise: `end` is both.
            let last = if i % 4 == 0 { "end" } else { praise };
            write!(text, "the DET\n{thing} NOUN\nis VERB\nvery ADV\n{last} ADJ\n\n").unwrap();
            write!(text, "the DET\nend NOUN\nwas VERB\n{praise} ADJ\n\n").unwrap();
            text
        })
    };
    for (part, n, from) in [("train", 60, 0), ("dev", 12, 3), ("test", 8, 7)] {
        fs::write(dir.join("set").join(format!("{part}.txt")), sentences(n, from)).unwrap();
    }
    let phases = serde_json::json!([
        { "name": "head", "train": [{ "stage": "head", "rate": 0.05 }], "epochs": 6, "augment": false,
          "restore_best": true },
        { "name": "layers", "epochs": 6, "augment": false, "restore_best": true,
          "train": [{ "stage": "layer0..", "rate": 0.005 }, { "stage": "head", "rate": 0.01 }] }
    ]);
    fs::write(dir.join("phases.json"), phases.to_string()).unwrap();
    let words = |run: &'static str| {
        [&WORDS[..], &["--schedule", "phases.json", "--batch", "8", "--checkpoint-every", "0", "--run", run]]
            .concat()
    };
    let output = run(dir, &words("r")).expect_success();
    for said in [
        "tags mark no entities",
        "5 tags: ADJ, ADV, DET, NOUN, VERB",
        "words to learn from: ADJ 120, ADV 60, DET 120",
    ] {
        assert!(output.stderr.contains(said), "{said} is not in:\n{}", output.stderr);
    }
    assert!(
        output.stdout.contains("accuracy on val") && !output.stdout.contains("entit"),
        "{}",
        output.stdout
    );
    let summary = json(&dir.join("r/summary.json"));
    let val = &summary["evaluations"][0];
    assert!(val["metrics"]["word-accuracy"].as_f64().unwrap() > 0.9, "{val}");
    assert!(val["metrics"]["macro-f1"].as_f64().is_some() && val["metrics"]["entity-f1"].is_null(), "{val}");
    assert_eq!(val["labels"].as_array().unwrap().len(), 5);
    // `end` is NOUN most often, so the baseline errs where it is ADJ; it does not err elsewhere.
    let baseline = &summary["baseline"];
    assert!(baseline["val_f1"].is_null(), "{baseline}");
    let wrong = (1.0 - baseline["val_accuracy"].as_f64().unwrap()) * 12.0 * 9.0;
    assert!((wrong - 3.0).abs() < 1e-6, "{wrong}");
    let model = json(&dir.join("r/model.json"));
    assert!(model.to_string().contains(r#""entities":false"#), "{model}");
    let report = fs::read_to_string(dir.join("r/report.html")).unwrap();
    assert!(report.contains("<h3>Tags</h3>") && !report.contains("<h3>Entities</h3>"));

    let measured = run(dir, &["evaluate", "r", "set", "--json", "--precision", "f32"]).expect_success();
    let measured: Value = serde_json::from_str(&measured.stdout).unwrap();
    assert_eq!(measured["metrics"], summary["evaluations"][1]["metrics"]);
    let text = run(dir, &["evaluate", "r", "set/dev.txt"]).expect_success().stdout;
    assert!(text.contains("word accuracy") && text.lines().any(|line| line.starts_with("tag ")), "{text}");
    let say = |more: &[&str]| {
        run(dir, &[&["predict", "r", "the film is good"], more].concat()).expect_success().stdout
    };
    let said: Value = serde_json::from_str(&say(&["--json"])).unwrap();
    let tags = said["tags"].as_array().unwrap();
    assert_eq!(tags.len(), 4, "{said}");
    assert_eq!(
        (&tags[1]["text"], &tags[1]["tag"], &tags[1]["start"]),
        (&"film".into(), &"NOUN".into(), &4.into())
    );
    assert!(say(&[]).contains("the/DET film/NOUN is/VERB good/ADJ"));
    assert!(say(&["--format", "csv"]).starts_with("text,word,tag,start,end,probability\n"));
    // A word that was cut off has no answer, and that is said.
    let cut = run(dir, &["predict", "r", &"the film is good ".repeat(6)]).expect_success();
    assert!(cut.stderr.contains("words have no token and no answer"), "{}", cut.stderr);
    run(dir, &["export", "r", "--format", "transformers", "--out", "x"]).expect_success();
    let config = json(&dir.join("x/config.json"));
    assert_eq!(config["id2label"]["2"], "DET", "{config}");
    assert_eq!(config["architectures"][0], "BertForTokenClassification", "{config}");
    run(dir, &[&WORDS[..], &["--monitor", "entity-f1"]].concat()).expect_error(&[
        "cannot be measured with --classes tags that mark no entities",
        "word-accuracy, macro-f1",
    ]);

    let stopped = interrupt(dir, &words("stopped"), |line| is_epoch(line, "layers"));
    assert_eq!(stopped.code, Some(130), "{}", stopped.stderr);
    run(dir, &["finetune", "--resume", "stopped"]).expect_success();
    assert_eq!(epochs(&dir.join("stopped")), epochs(&dir.join("r")));
}

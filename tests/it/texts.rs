//! `--task text` from a table to answers, on a tiny net with random weights.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{epochs, interrupt, is_epoch, json, run};

const WORDS: [&str; 24] = [
    "a", "the", "film", "plot", "is", "was", "and", "very", "good", "great", "fine", "moving", "bad", "dull",
    "slow", "poor", "story", "cast", "scene", "end", "it", "of", "in", "one",
];

/// A tensor of small numbers that look drawn.
pub(crate) fn tensor(name: &str, shape: &[usize]) -> (String, Vec<usize>, Vec<f32>) {
    let n: usize = shape.iter().product();
    let mut state = name.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let norm = name.contains("LayerNorm.weight");
    let values = (0..n).map(|_| if norm { 1.0 } else { 0.4 * draw() }).collect();
    (name.to_owned(), shape.to_vec(), values)
}

/// A BERT of two layers in the files of a published one.
pub(crate) fn tiny_net(dir: &Path) -> PathBuf {
    net(dir, "tiny", false)
}

/// The same under another name, with or without the pooler of a BERT.
pub(crate) fn net(dir: &Path, name: &str, pooler: bool) -> PathBuf {
    let (width, inner, net) = (16, 32, dir.join(name));
    fs::create_dir(&net).unwrap();
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    let words: Vec<&str> = special.into_iter().chain(WORDS).collect();
    fs::write(net.join("vocab.txt"), words.join("\n")).unwrap();
    let config = serde_json::json!({ "model_type": "bert", "vocab_size": words.len(), "hidden_size": width,
        "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": inner,
        "max_position_embeddings": 40, "type_vocab_size": 2 });
    fs::write(net.join("config.json"), config.to_string()).unwrap();
    let mut tensors = vec![
        tensor("embeddings.word_embeddings.weight", &[words.len(), width]),
        tensor("embeddings.position_embeddings.weight", &[40, width]),
        tensor("embeddings.token_type_embeddings.weight", &[2, width]),
    ];
    let mut pair = |name: &str, shape: &[usize]| {
        tensors.push(tensor(&format!("{name}.weight"), shape));
        tensors.push(tensor(&format!("{name}.bias"), &shape[..1]));
    };
    pair("embeddings.LayerNorm", &[width]);
    for i in 0..2 {
        let layer = |name: &str| format!("encoder.layer.{i}.{name}");
        for name in ["self.query", "self.key", "self.value", "output.dense"] {
            pair(&layer(&format!("attention.{name}")), &[width, width]);
        }
        pair(&layer("attention.output.LayerNorm"), &[width]);
        pair(&layer("intermediate.dense"), &[inner, width]);
        pair(&layer("output.dense"), &[width, inner]);
        pair(&layer("output.LayerNorm"), &[width]);
    }
    if pooler {
        pair("pooler.dense", &[width, width]);
    }
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, shape, values) in tensors {
        let start = data.len();
        data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        let about =
            serde_json::json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, data.len()] });
        header.insert(name, about);
    }
    let header = serde_json::Value::Object(header).to_string();
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat();
    fs::write(net.join("model.safetensors"), bytes).unwrap();
    net
}

/// A table of texts that a few of their words decide, every fifth for validation and every seventh to test.
pub(crate) fn table(dir: &Path, n: usize) -> PathBuf {
    let mut text = "sentence,label,score,split\n".to_owned();
    for i in 0..n {
        let good = i % 2 == 0;
        let word = WORDS[if good { 8 } else { 12 } + i / 2 % 4];
        let (before, after) = (WORDS[16 + i % 8], WORDS[i * 7 % 8]);
        let long = if i % 3 == 0 { " and it was one of the scene in the end" } else { "" };
        let part = if i % 5 == 4 {
            "val"
        } else if i % 7 == 6 {
            "test"
        } else {
            "train"
        };
        let class = if good { "good" } else { "bad" };
        let score = if good { 3.5 } else { 1.0 };
        writeln!(text, "the {before} {after} is {word}{long},{class},{score},{part}").unwrap();
    }
    let path = dir.join("reviews.csv");
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn texts_go_from_a_table_to_answers() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    tiny_net(dir);
    table(dir, 70);
    let words =
        ["finetune", "--task", "text", "--data", "reviews.csv", "--backbone", "tiny", "--max-length", "12"];
    let run_as = |more: &[&str]| run(dir, &[&words[..], more].concat());
    let output = run_as(&["--run", "r", "--epochs", "3,2", "--batch", "8"]).expect_success();
    assert!(output.stderr.contains("texts have more than 12 tokens and were cut"), "{}", output.stderr);
    assert!(
        output.stdout.contains("baseline ") && output.stdout.contains("tl predict r TEXT"),
        "{}",
        output.stdout
    );
    let summary = json(&dir.join("r/summary.json"));
    assert!(summary["baseline"]["val_accuracy"].as_f64().unwrap() > 0.9, "{summary}");
    let report = fs::read_to_string(dir.join("r/report.html")).unwrap();
    assert!(report.contains("<blockquote>") && report.contains("TF-IDF and logistic regression"));
    // The folder of the model alone is enough.
    fs::rename(dir.join("tiny"), dir.join("gone")).unwrap();
    let measured =
        run(dir, &["evaluate", "r", "reviews.csv", "--json", "--precision", "f32"]).expect_success();
    let measured: serde_json::Value = serde_json::from_str(&measured.stdout).unwrap();
    let test = &summary["evaluations"][1];
    assert_eq!((&measured["accuracy"], &measured["images"]), (&test["accuracy"], &test["images"]));
    let said =
        run(dir, &["predict", "r", "reviews.csv", "the film is good", "--format", "csv"]).expect_success();
    assert_eq!(said.stdout.lines().count(), 72, "{}", said.stdout);
    let last = said.stdout.lines().last().unwrap();
    assert!(
        said.stdout.starts_with("text,class,probability,bad,good\n") && last.starts_with("the film is good,")
    );
    run(dir, &["predict", "r", "nowhere.csv"]).expect_error(&["there is no file `nowhere.csv`"]);
    run(dir, &["features", "r", "reviews.csv", "--normalize", "--out", "f.npy"]).expect_success();
    assert_eq!(fs::metadata(dir.join("f.npy")).unwrap().len() as usize, 128 + 70 * 16 * 4);
    fs::rename(dir.join("gone"), dir.join("tiny")).unwrap();

    // Numbers, and a run again.
    let numbers = ["--classes", "regression", "--label-column", "score", "--run", "n", "--epochs", "2,1"];
    run_as(&numbers).expect_success();
    assert!(json(&dir.join("n/summary.json"))["evaluations"][0]["metrics"]["mae"].is_number());
    run(dir, &["runs", "reproduce", "n"]).expect_success();
    // What means nothing is said, all of it.
    let odd = ["--augment", "light", "--views", "3", "--max-length", "99"];
    run(dir, &[&words[..words.len() - 2], &odd].concat()).expect_error(&[
        "--augment is for images",
        "--views is for images",
        "--max-length is 99, expected 3 to 40",
    ]);
    run(dir, &["finetune", "--data", "reviews.csv", "--max-length", "9"])
        .expect_error(&["--max-length is for texts"]);
}

#[test]
fn a_run_on_texts_that_was_stopped_ends_as_if_it_had_not_been() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    tiny_net(dir);
    table(dir, 60);
    let words = |run: &'static str| {
        let words = [
            "finetune",
            "--task",
            "text",
            "--data",
            "reviews.csv",
            "--backbone",
            "tiny",
            "--preset",
            "ulmfit",
        ];
        [&words[..], &["--epochs", "2,2,2,60", "--batch", "4", "--checkpoint-every", "0", "--run", run]]
            .concat()
    };
    run(dir, &words("whole")).expect_success();
    let stopped = interrupt(dir, &words("stopped"), |line| is_epoch(line, "layer0"));
    assert_eq!(stopped.code, Some(130), "{}", stopped.stderr);
    run(dir, &["finetune", "--resume", "stopped"]).expect_success();
    assert_eq!(epochs(&dir.join("stopped")), epochs(&dir.join("whole")));
    let model = |run: &str| fs::read(dir.join(run).join("model.safetensors")).unwrap();
    assert!(model("stopped") == model("whole"), "other bits");
}

/// Pairs, several labels and numbers, as tables and JSON lines, to answers.
#[test]
fn pairs_labels_and_numbers_are_learned_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    tiny_net(dir);
    let (mut pairs, mut labels) = ("sentence1\tsentence2\tlabel\n".to_owned(), String::new());
    for i in 0..60 {
        let word = |i: usize| WORDS[if i.is_multiple_of(2) { 8 } else { 12 } + i / 2 % 4];
        let (first, second) = (i, i * 7 / 3);
        let same = first % 2 == second % 2;
        writeln!(
            pairs,
            "it is {}\tthe film was {}\t{}",
            word(first),
            word(second),
            if same { "same" } else { "other" }
        )
        .unwrap();
        let mut has: Vec<&str> = Vec::new();
        has.extend((i % 2 == 0).then_some("good"));
        has.extend((i % 3 == 0).then_some("long"));
        let long = if i % 3 == 0 { " and it was one of the scene in the end" } else { "" };
        let text = format!("the film is {}{long}", word(i));
        let line = serde_json::json!({ "text": text, "labels": has, "score": i % 2, "length": i % 3 });
        writeln!(labels, "{line}").unwrap();
    }
    fs::write(dir.join("pairs.tsv"), pairs).unwrap();
    fs::write(dir.join("labels.jsonl"), labels).unwrap();
    let fit = |data: &str, name: &str, more: &[&str]| {
        let words = ["finetune", "--task", "text", "--data", data, "--backbone", "tiny", "--run", name];
        run(dir, &[&words[..], &["--epochs", "4,2", "--batch", "8"], more].concat()).expect_success();
        let report = fs::read_to_string(dir.join(name).join("report.html")).unwrap();
        assert!(report.contains("<blockquote>") && !report.contains(" images<"), "{name}");
        json(&dir.join(name).join("summary.json"))
    };
    fit("pairs.tsv", "p", &[]);
    let said = run(dir, &["predict", "p", "pairs.tsv", "--json"]).expect_success().stdout;
    let first: serde_json::Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert_eq!((&first["text"], &first["pair"]), (&"it is good".into(), &"the film was good".into()));
    let csv = run(dir, &["predict", "p", "pairs.tsv", "--format", "csv"]).expect_success().stdout;
    assert!(
        csv.starts_with("text,pair,class,probability,other,same\nit is good,the film was good,"),
        "{csv}"
    );
    let summary = fit("labels.jsonl", "l", &["--classes", "multi-label"]);
    assert!(summary["evaluations"][0]["labels"].as_array().unwrap().len() == 2, "{summary}");
    let measured = run(dir, &["evaluate", "l", "labels.jsonl"]).expect_success().stdout;
    assert!(measured.contains("(60 texts)") && measured.contains("label   texts"), "{measured}");
    let numbers = ["--classes", "regression", "--label-column", "score", "--label-column", "length"];
    let summary = fit("labels.jsonl", "n", &numbers);
    assert_eq!(summary["evaluations"][0]["targets"].as_array().unwrap().len(), 2);
    let said = run(dir, &["predict", "n", "the film is good", "--format", "lines"]).expect_success().stdout;
    assert!(said.starts_with("the film is good\tscore = ") && said.contains(", length = "), "{said}");
    run(dir, &["runs", "reproduce", "l"]).expect_success();
}

//! Asking a model: forms of output, several looks, names on standard input, what cannot be read; and what the command line
//! says of itself.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use crate::support::{finish, names, run, small_set, tl};

const NET: [&str; 3] = ["predict", "--backbone", "efficientnet-lite0"];

#[test]
fn answers_come_in_every_form_and_from_every_list() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    small_set(dir, &["bag"], 2, 1);
    let ask = |more: &[&str]| run(dir, &[&NET[..], more].concat());
    let images = names(&dir.join("data/train/bag"));
    let files: Vec<String> = images.iter().map(|name| format!("data/train/bag/{name}")).collect();

    let lines = ask(&["data/train", "--top-k", "2"]).expect_success().stdout;
    assert!(lines.lines().zip(&files).all(|(line, file)| line.starts_with(&format!("{file}\t"))), "{lines}");
    let table = ask(&["data/train", "--format", "table"]).expect_success().stdout;
    assert!(table.starts_with("file ") && table.lines().count() == 3, "{table}");
    let csv = ask(&["data/train", "--format", "csv", "--top", "2"]).expect_success().stdout;
    assert!(csv.starts_with("file,class 1,probability 1,class 2,probability 2\n"), "{csv}");
    let sure = ask(&["data/train", "--threshold", "1"]).expect_success().stdout;
    assert!(sure.lines().all(|line| line.ends_with("\t-")), "{sure}");
    ask(&["data/train", "--threshold", "2"]).expect_error(&["--threshold is 2, expected 0 to 1"]);

    let mut child = tl()
        .current_dir(dir)
        .args(NET)
        .args(["-", "--top", "2"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all((files.join("\n") + "\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), lines);
    ask(&["-"]).expect_error(&["the list on standard input is empty"]);

    // What cannot be read is named, the rest is answered.
    fs::write(dir.join("data/train/bag/zz.png"), "no image").unwrap();
    let output = ask(&["data/train", "--top", "2"]);
    assert_eq!((output.code, output.stdout.as_str()), (Some(1), lines.as_str()));
    assert!(
        output.stderr.contains("zz.png") && output.stderr.contains("cannot be decoded"),
        "{}",
        output.stderr
    );
    let output = ask(&["data/train/bag/zz.png"]);
    assert_eq!((output.code, output.stdout.as_str()), (Some(1), ""), "{}", output.stderr);
}

#[test]
fn several_looks_are_the_mean_of_their_answers() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    // Its left half is its right half mirrored.
    let mut even = b"P6 64 64 255\n".to_vec();
    even.extend((0..64 * 64u32).flat_map(|at| {
        let (x, y) = (at % 64, at / 64);
        [(x.min(63 - x) * 8) as u8, (y * 4) as u8, (x.min(63 - x) * y / 8) as u8]
    }));
    fs::write(dir.join("even.ppm"), even).unwrap();
    let bag = small_set(dir, &["bag"], 1, 1).join("train/bag");
    let bag = bag.join(&names(&bag)[0]);
    let ask = |image: &str, more: &[&str]| -> Vec<(String, f64)> {
        let args = [&NET[..], &[image, "--json", "--top", "1000"], more].concat();
        let answer: Value = serde_json::from_str(&run(dir, &args).expect_success().stdout).unwrap();
        let top = answer["top"].as_array().unwrap().iter();
        let mut all: Vec<(String, f64)> = top
            .map(|one| (one["class"].as_str().unwrap().to_owned(), one["probability"].as_f64().unwrap()))
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    };
    let distance = |a: &[(String, f64)], b: &[(String, f64)]| {
        a.iter().zip(b).map(|(a, b)| (a.1 - b.1).abs()).fold(0.0, f64::max)
    };
    let (plain, flipped) = (ask("even.ppm", &[]), ask("even.ppm", &["--tta"]));
    assert!(distance(&plain, &flipped) < 1e-4, "an even image is its mirror image");
    let bag = bag.to_str().unwrap();
    let (plain, flipped, crops) = (ask(bag, &[]), ask(bag, &["--tta=flip"]), ask(bag, &["--tta=crops"]));
    assert!(distance(&plain, &flipped) > 1e-4 && distance(&flipped, &crops) > 1e-4);
    let sum: f64 = crops.iter().map(|one| one.1).sum();
    assert!((sum - 1.0).abs() < 1e-3, "{sum}");
}

#[test]
fn a_run_is_a_stream_of_events_and_can_be_quiet() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    small_set(dir, &["bag", "sneaker"], 6, 3);
    let args =
        ["finetune", "--data", "data", "--preset", "feature-extraction", "--epochs", "3", "--run", "run"];
    let output = run(dir, &[&args[..], &["--json", "--quiet"]].concat()).expect_success();
    let events: Vec<Value> = output.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["start", "epoch", "epoch", "epoch", "end"]);
    assert_eq!((&events[0]["phases"][0]["epochs"], &events[2]["epoch"]), (&3.into(), &2.into()));
    assert!(events[4]["summary"]["val_accuracy"].is_number());
    let odd = output.stderr.lines().find(|line| !line.starts_with("warning") && !line.starts_with("error"));
    assert_eq!(odd, None, "{}", output.stderr);
    assert!(!output.stderr.contains('\u{1b}'), "no colours where nobody looks");
}

#[test]
fn shells_and_man_know_every_command() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let mut command = tl();
        let script = finish(command.args(["completions", shell])).expect_success().stdout;
        assert!(script.contains("finetune") && script.contains("reproduce"), "{shell}");
    }
    run(dir.path(), &["man", "--out", "man"]).expect_success();
    let pages = names(&dir.path().join("man"));
    for page in ["tl.1", "tl-finetune.1", "tl-runs-compare.1", "tl-data-inspect.1"] {
        assert!(pages.contains(&page.to_owned()), "{pages:?}");
    }
    let page = fs::read_to_string(dir.path().join("man/tl-finetune.1")).unwrap();
    assert!(page.starts_with(".ie") && page.contains("gradual"), "{page}");
}

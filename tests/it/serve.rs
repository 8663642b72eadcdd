//! `tl rank`, `tl explain` and `tl serve`, as a user meets them.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::{names, root, run, small_set, tl};

pub(crate) fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn nets_are_ranked_and_the_winner_can_be_trained() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    small_set(dir, &["bag", "sneaker"], 20, 4);
    // One whose weights are here, and one whose cannot be had from a hub that is not asked.
    let args = [
        "rank",
        "--data",
        "data",
        "--backbones",
        "resnet18,efficientnet-lite0",
        "--precision",
        "f32",
        "--json",
    ];
    let mut offline = tl();
    offline.current_dir(dir).args(args).env("HF_HUB_OFFLINE", "1").env("HF_HOME", dir.join("hub"));
    let said = parsed(&crate::support::finish(&mut offline).expect_success().stdout);
    assert_eq!(said["recommended"], "efficientnet-lite0");
    assert_eq!((&said["images"], &said["train_images"], &said["folds"]), (&40.into(), &40.into(), &5.into()));
    let first = &said["ranked"][0];
    assert!(first["accuracy"].as_f64().unwrap() >= 0.9, "{first}");
    assert!(first["knn_accuracy"].as_f64().unwrap() >= 0.8 && first["cached"] == true, "{first}");
    assert_eq!(said["skipped"][0]["backbone"], "resnet18");
    let reason = said["skipped"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("cannot be had"), "{reason}");

    let args = [
        "rank",
        "--data",
        "data",
        "--most",
        "20",
        "--cv",
        "2",
        "--backbones",
        "efficientnet-lite0",
        "--then",
        "finetune",
        "--",
    ];
    let more = ["--preset", "feature-extraction", "--epochs", "2", "--precision", "f32", "--run", "run"];
    let output = run(dir, &[&args[..], &more[..]].concat()).expect_success();
    assert!(output.stdout.contains("use        efficientnet-lite0"), "{}", output.stdout);
    assert!(dir.join("run/model.json").exists());

    let wrong = [
        "rank",
        "--data",
        "data",
        "--backbones",
        "resnet",
        "--cv",
        "1",
        "--then",
        "finetune",
        "--",
        "--data",
        "x",
    ];
    run(dir, &wrong).expect_error(&["--cv is 1", "`resnet`", "behind -- stands --data"]);
    let rows: String = crate::support::names(&dir.join("data/train/bag"))
        .iter()
        .enumerate()
        .map(|(i, name)| format!("data/train/bag/{name},{}.5\n", i.min(12)))
        .collect();
    fs::write(dir.join("ages.csv"), format!("file,age\n{rows}")).unwrap();
    let ages = ["rank", "--data", "ages.csv", "--label-column", "age", "--val-fraction", "0.1"];
    run(dir, &ages).expect_error(&["one class an image"]);
    run(dir, &["rank", "--data", "nowhere"]).expect_error(&["nowhere"]);
}

/// A small model in `dir/run`.
fn trained(dir: &Path) {
    small_set(dir, &["bag", "sneaker"], 8, 4);
    let args =
        ["finetune", "--data", "data", "--preset", "feature-extraction", "--epochs", "3", "--run", "run"];
    run(dir, &args).expect_success();
}

#[test]
fn a_model_shows_where_it_looked() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    trained(dir);
    let page = fs::read_to_string(dir.join("run/report.html")).unwrap();
    assert!(page.contains("Where it looked") && page.contains("Right answers"));
    let output = run(dir, &["explain", "run", "data/val", "--out", "seen", "--json"]).expect_success();
    let lines: Vec<Value> = output.stdout.lines().map(parsed).collect();
    assert_eq!((lines.len(), names(&dir.join("seen")).len()), (8, 8));
    for line in &lines {
        let picture = fs::read(dir.join(line["picture"].as_str().unwrap())).unwrap();
        assert!(picture.starts_with(b"\x89PNG"));
        let rows = line["map"].as_array().unwrap();
        assert!(rows.len() >= 3 && rows.len() == rows[0].as_array().unwrap().len(), "{line}");
        let peak = rows
            .iter()
            .flat_map(|row| row.as_array().unwrap())
            .map(|v| v.as_f64().unwrap())
            .fold(0.0, f64::max);
        assert!((peak - line["peak"].as_f64().unwrap()).abs() < 1e-6);
    }
    // What is said is what `predict` says.
    let said = run(dir, &["predict", "run", "data/val", "--top", "1", "--json", "--precision", "f32"])
        .expect_success();
    for (seen, said) in lines.iter().zip(said.stdout.lines().map(parsed)) {
        assert_eq!((&seen["file"], &seen["class"]), (&said["file"], &said["top"][0]["class"]));
    }
    let args = ["explain", "run", "data/val", "--out", "seen"];
    run(dir, &args).expect_error(&["8 files would be written over"]);
    run(dir, &["explain", "run", "data/val", "--class", "cat", "--out", "x"])
        .expect_error(&["`cat`", "bag, sneaker"]);
    run(dir, &["explain", "run", "data/val", "--layer", "x", "--out", "x"])
        .expect_error(&["no stage or block `x`"]);
    let bag = ["explain", "run", "data/val/sneaker", "--class", "bag", "--layer", "stage5", "--out", "why"];
    assert!(run(dir, &bag).expect_success().stdout.contains("bag 0."));
}

/// A server in `dir`, and where it listens.
pub(crate) fn serve(dir: &Path, run: &str) -> (Child, String, BufReader<std::process::ChildStderr>) {
    serve_with(dir, run, &[])
}

#[expect(clippy::zombie_processes, reason = "whoever asked for it waits for its end")]
pub(crate) fn serve_with(
    dir: &Path,
    run: &str,
    more: &[&str],
) -> (Child, String, BufReader<std::process::ChildStderr>) {
    let mut child = tl()
        .current_dir(dir)
        .args(["serve", run, "--port", "0", "--precision", "f32", "--batch", "4", "--max-body", "1"])
        .args(more)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let (mut line, mut all) = (String::new(), String::new());
    loop {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "{all}");
        all.push_str(&line);
        if let Some((_, address)) = line.trim().split_once("http://") {
            return (child, address.to_owned(), lines);
        }
    }
}

/// Status and body of one request.
pub(crate) fn ask(address: &str, head: &str, body: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let head =
        format!("{head} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn a_model_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    trained(dir);
    let said = run(dir, &["predict", "run", "data/val", "--json", "--precision", "f32"]).expect_success();
    let (mut server, address, mut log) = serve(dir, "run");
    let images: Vec<Value> = said.stdout.lines().map(parsed).collect();
    std::thread::scope(|scope| {
        for image in &images {
            let (address, dir) = (&address, &dir);
            scope.spawn(move || {
                let bytes = fs::read(dir.join(image["file"].as_str().unwrap())).unwrap();
                let (status, body) = ask(address, "POST /predict", &bytes);
                let got = parsed(&body)["predictions"][0]["top"].clone();
                assert_eq!(status, 200);
                for (got, said) in got.as_array().unwrap().iter().zip(image["top"].as_array().unwrap()) {
                    assert_eq!(got["class"], said["class"]);
                    let difference =
                        got["probability"].as_f64().unwrap() - said["probability"].as_f64().unwrap();
                    assert!(difference.abs() < 1e-4, "{got} {said}");
                }
            });
        }
    });
    assert_eq!(ask(&address, "POST /predict", b"no image").0, 415);
    let bag = fs::read(dir.join(images[0]["file"].as_str().unwrap())).unwrap();
    assert_eq!(ask(&address, "POST /predict", &bag[..bag.len() / 2]).0, 400);
    assert_eq!(ask(&address, "POST /predict?top=0", &bag).0, 400);
    assert_eq!(ask(&address, "POST /predict", &vec![0; 1 << 21]).0, 413);
    assert_eq!(parsed(&ask(&address, "GET /model", b"").1)["classes"], serde_json::json!(["bag", "sneaker"]));
    let page = ask(&address, "GET /", b"").1;
    assert!(page.contains("<main>") && !page.contains("http://") && !page.contains("https://"));
    assert!(ask(&address, "GET /metrics", b"").1.contains("tl_batch_inputs_count"));
    assert!(Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap().success());
    assert_eq!(server.wait().unwrap().code(), Some(0));
    let mut rest = String::new();
    log.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("all that was asked is answered"), "{rest}");
    run(dir, &["serve", root().to_str().unwrap()]).expect_error(&["model.json"]);
    run(dir, &["serve", "run", "--batch", "0"]).expect_error(&["`batch` is 0"]);
}

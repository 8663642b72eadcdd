//! Text nets from a hub: a server on the loopback interface that has what a folder has.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

use crate::support::{Output, finish, json, tl};
use crate::texts::{table, tiny_net};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Answers `/OWNER/NAME/resolve/REVISION/FILE` with the file of that name in `folder`.
struct Hub {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

fn serve(folder: PathBuf) -> Hub {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = requests.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let Some(request) = head.first() else { continue };
            seen.lock().unwrap().push(request.clone());
            answer(request, &folder, stream);
        }
    });
    Hub { url, requests }
}

fn answer(request: &str, folder: &Path, mut stream: TcpStream) {
    let (method, path) = request.split_once(' ').unwrap();
    let path = path.split(' ').next().unwrap();
    let refused = |status: &str, code: &str| {
        format!("HTTP/1.1 {status}\r\nX-Error-Code: {code}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    };
    let file = path.split_once("/resolve/").and_then(|(_, rest)| rest.split_once('/'));
    let (head, body) = match file {
        _ if path.starts_with("/owner/gated/") => (refused("401 Unauthorized", "GatedRepo"), Vec::new()),
        _ if !path.starts_with("/owner/net/") => (refused("401 Unauthorized", "RepoNotFound"), Vec::new()),
        Some((revision, _)) if !["main", "v1"].contains(&revision) => {
            (refused("404 Not Found", "RevisionNotFound"), Vec::new())
        }
        Some((_, file)) if folder.join(file).is_file() => {
            let body = fs::read(folder.join(file)).unwrap();
            let etag: String = Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
            let about =
                format!("X-Repo-Commit: {COMMIT}\r\nETag: \"{etag}\"\r\nContent-Length: {}", body.len());
            (format!("HTTP/1.1 200 OK\r\n{about}\r\nConnection: close\r\n\r\n"), body)
        }
        _ => (refused("404 Not Found", "EntryNotFound"), Vec::new()),
    };
    let body = if method == "HEAD" { &[][..] } else { &body };
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

/// Cuts a file of weights into two and an index.
fn shard(net: &Path) {
    let bytes = fs::read(net.join("model.safetensors")).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let mut map = serde_json::Map::new();
    for (i, name) in ["a.safetensors", "b.safetensors"].into_iter().enumerate() {
        let (mut part, mut data) = (serde_json::Map::new(), Vec::new());
        for (tensor, about) in header.iter().skip(i).step_by(2) {
            let at = |i: usize| 8 + length + about["data_offsets"][i].as_u64().unwrap() as usize;
            let start = data.len();
            data.extend_from_slice(&bytes[at(0)..at(1)]);
            let mut about = about.clone();
            about["data_offsets"] = serde_json::json!([start, data.len()]);
            part.insert(tensor.clone(), about);
            map.insert(tensor.clone(), name.into());
        }
        let text = serde_json::Value::Object(part).to_string();
        let whole = [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &data].concat();
        fs::write(net.join(name), whole).unwrap();
    }
    let index = serde_json::json!({ "metadata": { "total_size": 1 }, "weight_map": map });
    fs::write(net.join("model.safetensors.index.json"), index.to_string()).unwrap();
    fs::remove_file(net.join("model.safetensors")).unwrap();
}

/// Runs `tl` with downloads of its own.
fn run(dir: &Path, hub: &str, offline: bool, args: &[&str]) -> Output {
    let mut command = tl();
    command.current_dir(dir).args(args).env("HF_ENDPOINT", hub);
    command.env("TL_HOME", dir.join("home")).env("HF_HOME", dir.join("hf")).env_remove("HF_TOKEN");
    command.env("HF_HUB_OFFLINE", if offline { "1" } else { "0" });
    finish(&mut command)
}

#[test]
fn a_net_of_the_hub_in_shards_is_fetched_once() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let net = tiny_net(dir);
    table(dir, 30);
    let features = |hub: &str, offline, backbone: &str, out: &str| {
        run(dir, hub, offline, &["features", "--backbone", backbone, "reviews.csv", "--out", out])
    };
    features("http://127.0.0.1:9", true, "tiny", "whole.npy").expect_success();
    shard(&net);
    features("http://127.0.0.1:9", true, "tiny", "sharded.npy").expect_success();
    // It says how its sentences are pooled.
    fs::create_dir(net.join("1_Pooling")).unwrap();
    fs::write(net.join("1_Pooling/config.json"), r#"{"pooling_mode_mean_tokens": true}"#).unwrap();
    features("http://127.0.0.1:9", true, "tiny", "mean.npy").expect_success();
    let hub = serve(net);
    // Neither a summary nor a plan that measures nothing needs weights.
    let plan =
        ["plan", "--task", "text", "--data", "reviews.csv", "--backbone", "owner/net", "--lora", "--json"];
    run(dir, &hub.url, false, &plan).expect_success();
    let said = run(dir, &hub.url, false, &["summary", "owner/net", "--json"]).expect_success();
    let summary: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(summary["stages"][1]["output"], serde_json::json!(["N", 40, 16]));
    assert!(!hub.requests.lock().unwrap().iter().any(|request| request.contains("safetensors")));
    features(&hub.url, false, "hf://owner/net", "hub.npy").expect_success();
    let bytes = |name: &str| fs::read(dir.join(name)).unwrap();
    assert!(bytes("hub.npy") == bytes("mean.npy") && bytes("sharded.npy") == bytes("whole.npy"));
    assert!(bytes("mean.npy") != bytes("whole.npy"));
    // From then on without a network.
    let asked = hub.requests.lock().unwrap().len();
    features(&hub.url, true, "owner/net", "again.npy").expect_success();
    assert_eq!(hub.requests.lock().unwrap().len(), asked);

    let words = ["finetune", "--task", "text", "--data", "reviews.csv", "--preset", "feature-extraction"];
    let words = [&words[..], &["--epochs", "1", "--run", "r", "--backbone", "owner/net@v1"]].concat();
    run(dir, &hub.url, false, &words).expect_success();
    let weights = &json(&dir.join("r/manifest.json"))["weights"];
    assert_eq!(weights["source"], "hub owner/net@v1: model.safetensors.index.json");
    run(dir, &hub.url, false, &["predict", "r", "the film is good"]).expect_success();
}

#[test]
fn what_a_hub_refuses_is_one_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let net = tiny_net(dir);
    let hub = serve(net.clone());
    let fails = |offline, backbone: &str, texts: &[&str]| {
        run(dir, &hub.url, offline, &["features", "--backbone", backbone, "a film", "--out", "f.npy"])
            .expect_error(texts);
    };
    fails(
        false,
        "owner/gated",
        &["no files for `owner/gated`", "a licence to be accepted", "set `HF_TOKEN`"],
    );
    fails(false, "owner/other", &["the repository does not exist, or is private", "check the name"]);
    fails(false, "owner/net@v9", &["no such revision", "check the names of repository, revision"]);
    fails(true, "owner/net", &["`HF_HUB_OFFLINE` is set", "unset `HF_HUB_OFFLINE`, or give the path"]);
    fs::remove_file(net.join("model.safetensors")).unwrap();
    fails(
        false,
        "owner/net",
        &["has none of model.safetensors, model.safetensors.index.json, pytorch_model.bin"],
    );
    fs::write(net.join("config.json"), "{}").unwrap();
    fails(false, "owner/net@v1", &["no `model_type`"]);
}

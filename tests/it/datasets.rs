//! Public datasets, from a server on this machine.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::support::{finish, names, root, tl};

/// One member of a tar archive.
fn member(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut header = vec![0u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..107].copy_from_slice(b"0000644");
    header[124..135].copy_from_slice(format!("{:011o}", bytes.len()).as_bytes());
    header[156] = b'0';
    header[257..263].copy_from_slice(b"ustar\0");
    header[263..265].copy_from_slice(b"00");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    header.extend_from_slice(bytes);
    header.resize(header.len().next_multiple_of(512), 0);
    header
}

/// Six pictures whose classes are in their names.
fn archive() -> Vec<u8> {
    let mut tar = Vec::new();
    for (class, name) in [("bag", "big_bag"), ("sneaker", "sneaker")] {
        for i in 0..3 {
            let from = root().join("datasets/fashion-mnist-small/train").join(class);
            let bytes = fs::read(from.join(format!("{i:04}.png"))).unwrap();
            tar.extend(member(&format!("set/images/{name}_{i}.png"), &bytes));
        }
    }
    tar.extend(member("set/images/readme.txt", b"hello"));
    tar.resize(tar.len() + 1024, 0);
    tar
}

/// A seventh picture, in an archive of its own.
fn more() -> Vec<u8> {
    let picture = root().join("datasets/fashion-mnist-small/train/bag/0003.png");
    let mut tar = member("set/images/big_bag_9.png", &fs::read(picture).unwrap());
    tar.resize(tar.len() + 1024, 0);
    tar
}

/// Serves these files; the first answer with one breaks off half way. Returns the address and what was asked for.
fn serve(files: Vec<(&'static str, Vec<u8>)>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&requests);
    std::thread::spawn(move || {
        let mut answers = 0;
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines: Vec<String> = BufReader::new(&stream)
                .lines()
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty())
                .collect();
            let path = lines[0].split(' ').nth(1).unwrap().to_owned();
            let body = files.iter().find(|(name, _)| *name == path).map(|(_, body)| body);
            log.lock().unwrap().push(path);
            let Some(body) = body else {
                let _ = stream
                    .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                continue;
            };
            answers += 1;
            let range = lines.iter().find_map(|line| {
                let line = line.to_ascii_lowercase();
                line.strip_prefix("range: bytes=")?.strip_suffix('-')?.parse::<usize>().ok()
            });
            let from = range.unwrap_or(0);
            let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Range: bytes {from}-{}/{}\r\nETag: \"v1\"\r\n\
                 Accept-Ranges: bytes\r\nConnection: close\r\n\r\n",
                body.len() - from,
                body.len() - 1,
                body.len()
            );
            let end = if answers == 1 { body.len() / 2 } else { body.len() };
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body[from..end]));
        }
    });
    (address, requests)
}

fn cards(dir: &Path, urls: &[String], folder: &str, md5: Option<&str>) {
    let archives: Vec<_> = urls.iter().map(|url| serde_json::json!({ "url": url, "md5": md5 })).collect();
    let card = serde_json::json!([{
        "name": "tiny", "title": "six pictures", "home": "here", "licence": "MIT", "classes": 2, "images": 6,
        "archives": archives, "folder": folder, "class_from": "name-before-last-underscore",
    }]);
    fs::write(dir.join("cards.json"), card.to_string()).unwrap();
}

#[test]
fn a_dataset_arrives_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (address, requests) = serve(vec![("/a.tar", archive()), ("/more.tar", more())]);
    let fetch = |more: &[&str]| {
        let mut command = tl();
        command.current_dir(dir).env("TL_HOME", dir.join("home"));
        finish(command.args(["data", "fetch", "tiny", "--cards", "cards.json"]).args(more))
    };
    let asked = || std::mem::take(&mut *requests.lock().unwrap());
    let urls =
        |names: &[&str]| -> Vec<String> { names.iter().map(|name| format!("{address}{name}")).collect() };
    let both = urls(&["/a.tar", "/more.tar"]);

    // Nothing is asked for again that is here, whatever goes wrong later.
    cards(dir, &urls(&["/a.tar", "/absent.tar"]), "set/images", None);
    fetch(&["--dir", "tiny"]).expect_error(&["does not exist (HTTP 404)"]);
    assert_eq!(asked(), ["/a.tar", "/a.tar", "/absent.tar"], "the first answer broke off");
    cards(dir, &both, "set/pictures", None);
    fetch(&["--dir", "tiny"]).expect_error(&["has no folder `set/pictures`"]);
    assert_eq!(asked(), ["/more.tar"]);
    cards(dir, &both, "set/images", Some(&"0".repeat(32)));
    fetch(&["--dir", "tiny"]).expect_error(&["has MD5", "expected 0000"]);
    assert_eq!(asked(), ["/a.tar"]);
    assert!(!dir.join("tiny").exists());

    fs::create_dir_all(dir.join(".tiny.part/.extract-old/set")).unwrap();
    cards(dir, &both, "set/images", None);
    let output = fetch(&["--dir", "tiny"]).expect_success();
    assert_eq!(asked(), ["/a.tar"]);
    assert_eq!(output.stdout, "tiny\n");
    let said = |text: &str| assert!(output.stderr.contains(text), "{}", output.stderr);
    said("getting    0-a.tar");
    said("extracting 0-a.tar");
    said("`tiny` has 7 images of 2 classes (expected 6 of 2)");
    assert_eq!(names(&dir.join("tiny")), ["big_bag", "readme.txt", "sneaker"]);
    assert_eq!(names(&dir.join("tiny/big_bag")).len(), 4);
    assert!(!names(dir).iter().any(|name| name.contains(".part")), "{:?}", names(dir));
    fetch(&["--dir", "tiny"]).expect_error(&["`tiny` exists"]);
    let spaced = fetch(&["--dir", "my photos"]).expect_success();
    assert!(spaced.stderr.contains("tl finetune --data 'my photos'"), "{}", spaced.stderr);
    asked();

    // Without a place of its own it goes to the folder of downloads, and is found there.
    fetch(&[]).expect_success();
    let here = fetch(&[]).expect_success();
    assert!(here.stderr.contains("is here already") && here.stdout.ends_with("home/datasets/tiny\n"));

    let mut unknown = tl();
    unknown.args(["data", "fetch", "imagenet"]);
    finish(&mut unknown).expect_error(&["no dataset `imagenet`", "there are: hymenoptera, flower-photos"]);
    let mut list = tl();
    let list = finish(list.args(["data", "list"])).expect_success().stdout;
    assert!(list.contains("download: 755.") && list.ends_with("\nfetch one: tl data fetch NAME\n"), "{list}");
    assert!(list.contains("oxford-pets") && list.contains("licence: CC-BY-SA-4.0"), "{list}");
}

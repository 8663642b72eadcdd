//! The hub against a hand-written server on the loopback interface.

use tl_fetch::quiet;

use super::*;
use crate::loopback::{Server, chain, content, nobody, send, send_file, serve, sha256};
use crate::{Cache, Source};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

impl Server {
    fn hub(&self, home: &Path) -> Hub {
        Hub {
            endpoint: Some(format!("{}/", self.url)),
            cache: Some(hf_hub::Cache::new(home.join("hub"))),
            token: None,
            offline: false,
            silence: SILENCE,
        }
    }
}

fn headers(content: &[u8]) -> String {
    format!(
        "Content-Length: {}\r\nX-Repo-Commit: {COMMIT}\r\nETag: \"{}\"\r\n",
        content.len(),
        sha256(content)
    )
}

/// A hub that hands out `content` itself.
fn plain_hub() -> Server {
    serve(Box::new(|head, _, stream| {
        let content = content();
        let body = if head.starts_with("head ") { &[][..] } else { &content };
        send(stream, "200 OK", &headers(&content), body);
    }))
}

const SOURCE: Source = Source::hub("owner/net", "main", "onnx/model.safetensors");

#[test]
fn a_file_is_fetched_once_and_lies_where_python_looks() {
    let (server, home) = (plain_hub(), tempfile::tempdir().unwrap());
    let cache = Cache::with_hub(home.path().join("weights"), server.hub(home.path()));
    assert_eq!(cache.cached(&SOURCE), None);
    let expected = sha256(&content());
    let first = cache.fetch(&SOURCE, Some(&expected), &quiet).unwrap();
    assert_eq!(fs::read(&first.path).unwrap(), content());
    assert_eq!((first.sha256.as_str(), first.bytes), (expected.as_str(), 400_000));
    assert_eq!(first.source, "hub owner/net@main: onnx/model.safetensors");
    let base = home.path().join("hub/models--owner--net");
    assert_eq!(first.path, base.join(format!("snapshots/{COMMIT}/onnx/model.safetensors")));
    assert!(base.join("blobs").join(&expected).is_file());
    assert_eq!(fs::read_to_string(base.join("refs/main")).unwrap(), COMMIT);
    assert!(server.heads()[0].starts_with("head /owner/net/resolve/main/onnx/model.safetensors "));
    let requests = server.heads().len();
    assert_eq!(cache.fetch(&SOURCE, Some(&expected), &quiet).unwrap(), first);
    assert_eq!(cache.cached(&SOURCE), Some(first));
    assert_eq!(server.heads().len(), requests);
}

#[test]
fn damage_is_noticed_and_mended() {
    let (server, home) = (plain_hub(), tempfile::tempdir().unwrap());
    let root = home.path().join("weights");
    let cache = Cache::with_hub(&root, server.hub(home.path()));
    let first = cache.fetch(&SOURCE, None, &quiet).unwrap();
    // Another length.
    fs::write(&first.path, b"short").unwrap();
    assert_eq!(cache.cached(&SOURCE), None);
    assert_eq!(cache.fetch(&SOURCE, None, &quiet).unwrap(), first);
    assert_eq!(fs::read(&first.path).unwrap(), content());
    // No record, and one that is garbage: made again, without a request.
    let requests = server.heads().len();
    let folder = fs::read_dir(root.join("hub")).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(folder.join("record.json")).unwrap();
    assert_eq!(cache.fetch(&SOURCE, None, &quiet).unwrap(), first);
    fs::write(folder.join("record.json"), b"{garbage").unwrap();
    assert_eq!(cache.fetch(&SOURCE, None, &quiet).unwrap(), first);
    assert!(fs::read_to_string(folder.join("record.json")).unwrap().contains(&first.sha256));
    assert_eq!(server.heads().len(), requests);
    // Another sha256 than expected: fetched once more, then an error.
    let error = cache.fetch(&SOURCE, Some(&"0".repeat(64)), &quiet).unwrap_err();
    assert!(matches!(error, WeightsError::Sha256 { .. }), "{error}");
    assert!(server.heads().len() > requests);
}

#[test]
fn the_token_is_for_the_hub_alone() {
    let store = serve(Box::new(|_, _, stream| {
        let content = content();
        send(stream, "200 OK", &format!("Content-Length: {}\r\n", content.len()), &content);
    }));
    let location = format!("{}/signed?key=1", store.url);
    let server = serve(Box::new(move |head, _, stream| {
        if head.starts_with("head /owner/") {
            // First to another address of the hub itself, as for small files.
            send(
                stream,
                "307 Temporary Redirect",
                "Location: /api/resolve-cache/x\r\nContent-Length: 0\r\n",
                b"",
            );
        } else {
            let sha256 = sha256(&content());
            let headers = format!(
                "Location: {location}\r\nX-Repo-Commit: {COMMIT}\r\nX-Linked-ETag: \"{sha256}\"\r\nContent-Length: 0\r\n"
            );
            send(stream, "302 Found", &headers, b"");
        }
    }));
    let home = tempfile::tempdir().unwrap();
    let hub = Hub { token: Some("hf_secret".into()), ..server.hub(home.path()) };
    let cache = Cache::with_hub(home.path().join("weights"), hub);
    let located = cache.fetch(&SOURCE, None, &quiet).unwrap();
    assert_eq!(fs::read(located.path).unwrap(), content());
    assert!(server.heads().iter().all(|head| head.contains("authorization: bearer hf_secret")));
    assert_eq!(store.heads().len(), 1);
    assert!(!store.heads()[0].contains("authorization"), "{:?}", store.heads());
}

#[test]
fn a_closed_repository_is_read_with_the_token() {
    let server = serve(Box::new(|head, _, stream| {
        let content = content();
        match (head.contains("authorization: bearer right"), head.starts_with("head ")) {
            (false, _) => {
                send(stream, "401 Unauthorized", "X-Error-Code: GatedRepo\r\nContent-Length: 0\r\n", b"")
            }
            (true, true) => send(stream, "200 OK", &headers(&content), b""),
            (true, false) => send(stream, "200 OK", &headers(&content), &content),
        }
    }));
    let home = tempfile::tempdir().unwrap();
    let fetch = |token: Option<&str>| {
        let hub = Hub { token: token.map(Into::into), ..server.hub(home.path()) };
        Cache::with_hub(home.path().join("weights"), hub).fetch(&SOURCE, None, &quiet)
    };
    let none = fetch(None).unwrap_err().to_string();
    assert!(none.contains("its owner wants a licence to be accepted first"), "{none}");
    assert!(none.contains("\n\nhint: log in where it is published"), "{none}");
    let wrong = fetch(Some("wrong")).unwrap_err().to_string();
    assert!(wrong.contains("hint: the token in `HF_TOKEN` may not read it"), "{wrong}");
    let located = fetch(Some("right")).unwrap();
    assert_eq!(located.sha256, sha256(&content()));
}

#[test]
fn refusals_say_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    for (status, headers, what, hint) in [
        (
            "404 Not Found",
            "X-Error-Code: EntryNotFound\r\n",
            "the repository has no such file",
            "check the names",
        ),
        ("404 Not Found", "X-Error-Code: RevisionNotFound\r\n", "no such revision", "check the names"),
        ("404 Not Found", "", "does not exist (HTTP 404)", "check the names"),
        (
            "401 Unauthorized",
            "X-Error-Code: RepoNotFound\r\n",
            "does not exist, or is private",
            "check the name; for",
        ),
        ("401 Unauthorized", "", "access is denied (HTTP 401)", "log in where it is"),
        ("403 Forbidden", "", "access is denied (HTTP 403)", "log in where it is"),
        ("418 Teapot", "", "it answers HTTP 418", "try again later"),
        ("302 Found", "Location: /round\r\n", "from one address to the next", "check `HF_ENDPOINT`"),
    ] {
        let server = serve(Box::new(move |_, _, stream| {
            send(stream, status, &format!("{headers}Content-Length: 0\r\n"), b"");
        }));
        let cache = Cache::with_hub(home.path().join("weights"), server.hub(home.path()));
        let error = cache.fetch(&SOURCE, None, &quiet).unwrap_err().to_string();
        assert!(
            error.starts_with("failed to get `onnx/model.safetensors` of `owner/net` from the hub: "),
            "{error}"
        );
        assert!(error.contains(what) && error.contains(&format!("\n\nhint: {hint}")), "{error}");
    }
}

#[test]
fn a_dropped_connection_is_taken_up_again() {
    let server = serve(Box::new(|head, _, stream| {
        let content = content();
        if head.starts_with("head ") || head.contains("range:") {
            let about = format!("X-Repo-Commit: {COMMIT}\r\nETag: \"{}\"\r\n", sha256(&content));
            send_file(head, stream, &about, &content);
        } else {
            send(stream, "200 OK", &headers(&content), &content[..150_000]);
        }
    }));
    let home = tempfile::tempdir().unwrap();
    let cache = Cache::with_hub(home.path().join("weights"), server.hub(home.path()));
    let located = cache.fetch(&SOURCE, None, &quiet).unwrap();
    assert_eq!(fs::read(located.path).unwrap(), content());
    assert!(server.heads().iter().any(|head| head.contains("range: bytes=150000-")), "{:?}", server.heads());
}

#[test]
fn a_mirror_that_says_little_is_enough() {
    let server = serve(Box::new(|head, _, stream| match head.starts_with("head ") {
        true => send(stream, "405 Method Not Allowed", "Content-Length: 0\r\n", b""),
        false => send(stream, "200 OK", "Content-Length: 4\r\n", b"tiny"),
    }));
    let home = tempfile::tempdir().unwrap();
    let cache = Cache::with_hub(home.path().join("weights"), server.hub(home.path()));
    let located = cache.fetch(&SOURCE, None, &quiet).unwrap();
    assert_eq!(fs::read(&located.path).unwrap(), b"tiny");
    assert!(located.path.starts_with(cache.root()));
    let requests = server.heads().len();
    assert_eq!(cache.fetch(&SOURCE, None, &quiet).unwrap(), located);
    assert_eq!(server.heads().len(), requests);
}

#[test]
fn without_a_network() {
    let home = tempfile::tempdir().unwrap();
    let server = nobody();
    let fetch = |offline| {
        let hub = Hub { offline, ..server.hub(home.path()) };
        Cache::with_hub(home.path().join("weights"), hub).fetch(&SOURCE, None, &quiet)
    };
    let error = fetch(false).unwrap_err().to_string();
    assert!(
        error.contains("cannot reach the hub") && error.contains("hint: is this machine online?"),
        "{error}"
    );
    let error = fetch(true).unwrap_err().to_string();
    assert!(error.contains("`HF_HUB_OFFLINE` is set") && error.contains("hint: unset"), "{error}");
    // What Python has put there is found.
    let base = home.path().join("hub/models--owner--net");
    fs::create_dir_all(base.join(format!("snapshots/{COMMIT}/onnx"))).unwrap();
    fs::create_dir_all(base.join("refs")).unwrap();
    fs::write(base.join(format!("snapshots/{COMMIT}/onnx/model.safetensors")), b"by python").unwrap();
    fs::write(base.join("refs/main"), COMMIT).unwrap();
    assert_eq!(fetch(true).unwrap().bytes, 9);
    let pinned = Source::Hub {
        repo: "owner/net".into(),
        revision: COMMIT.into(),
        file: "onnx/model.safetensors".into(),
    };
    let hub = Hub { offline: true, ..server.hub(home.path()) };
    let cache = Cache::with_hub(home.path().join("weights"), hub);
    assert_eq!(cache.fetch(&pinned, None, &quiet).unwrap().bytes, 9);
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let (server, home) = (plain_hub(), tempfile::tempdir().unwrap());
    let cache = Cache::with_hub(home.path().join("weights"), server.hub(home.path()));
    for (repo, file) in
        [("owner/net", "../../x"), ("owner/net", "/etc/passwd"), ("../x", "a"), ("owner/net", "")]
    {
        let source = Source::Hub { repo: repo.into(), revision: "main".into(), file: file.into() };
        let error = cache.fetch(&source, None, &quiet).unwrap_err().to_string();
        assert!(error.contains("the name leads out of its folder"), "{error}");
        assert_eq!(cache.cached(&source), None);
    }
    assert!(server.heads().is_empty());
}

#[test]
fn the_environment_is_heard() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().to_str().unwrap().to_owned();
    fs::write(dir.path().join("token"), "from_file\n").unwrap();
    let hub = |vars: &'static [(&str, &str)]| {
        let home = home.clone();
        Hub::from_vars(&move |name| match name {
            "HF_HOME" => Some(home.clone()),
            _ => vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()),
        })
    };
    let plain = hub(&[("HF_HUB_OFFLINE", "0")]);
    assert_eq!(
        (plain.token.as_deref(), plain.offline, plain.endpoint.as_deref()),
        (Some("from_file"), false, None)
    );
    assert_eq!(plain.cache.as_ref().unwrap().path(), &dir.path().join("hub"));
    let url = plain.url("owner/net", "refs/pr/1", "a/b.bin").unwrap();
    assert!(url.ends_with("/owner/net/resolve/refs%2Fpr%2F1/a/b.bin"), "{url}");
    let full = hub(&[("HF_TOKEN", "t"), ("HF_HUB_OFFLINE", "TRUE"), ("HF_ENDPOINT", "http://mirror.test/")]);
    assert_eq!((full.token.as_deref(), full.offline), (Some("t"), true));
    assert_eq!(full.url("a/b", "main", "c").unwrap(), "http://mirror.test/a/b/resolve/main/c");
}

#[test]
fn origins() {
    assert_eq!(origin("https://host:1/a/b?c"), "https://host:1");
    assert_eq!(origin("https://host"), "https://host");
    assert_eq!(plain_etag("W/\"abcdef12-3\"").as_deref(), Some("abcdef12-3"));
    assert_eq!(plain_etag("\"../../x12345\""), None);
}

/// A small file as the hub has it: no sha256 in its etag.
const CONFIG: &[u8] = b"{\"architecture\": \"net\"}";
const GIT_ETAG: &str = "89abcdef0123456789abcdef0123456789abcdef";

#[test]
fn a_small_repository() {
    let store = serve(Box::new(|head, _, stream| send_file(head, stream, "ETag: \"x\"\r\n", &content())));
    let location = format!("{}/signed?key=1", store.url);
    let server = serve(Box::new(move |head, _, stream| {
        if head.contains("/config.json ") {
            let headers = format!("X-Repo-Commit: {COMMIT}\r\nETag: \"{GIT_ETAG}\"\r\n");
            send_file(head, stream, &headers, CONFIG);
        } else if head.contains("/net.safetensors ") {
            let sha256 = sha256(&content());
            let headers = format!(
                "Location: {location}\r\nX-Repo-Commit: {COMMIT}\r\nX-Linked-ETag: \"{sha256}\"\r\n\
                 X-Linked-Size: 400000\r\nContent-Length: 0\r\n"
            );
            send(stream, "302 Found", &headers, b"");
        } else {
            let headers = "X-Error-Code: EntryNotFound\r\nContent-Length: 0\r\n";
            send(stream, "404 Not Found", headers, b"");
        }
    }));
    let home = tempfile::tempdir().unwrap();
    let cache = Cache::with_hub(home.path().join("weights"), server.hub(home.path()));
    let source = |file| Source::hub("owner/net", "v1.0", file);
    let config = cache.fetch(&source("config.json"), None, &quiet).unwrap();
    let weights = cache.fetch(&source("net.safetensors"), Some(&sha256(&content())[..8]), &quiet).unwrap();
    assert_eq!((fs::read(&config.path).unwrap(), config.bytes), (CONFIG.to_vec(), CONFIG.len() as u64));
    assert_eq!(fs::read(&weights.path).unwrap(), content());
    // Recorded is the sha256 of what came, whatever the etag is.
    assert_eq!((&config.sha256, &weights.sha256), (&sha256(CONFIG), &sha256(&content())));
    let base = home.path().join("hub/models--owner--net");
    assert_eq!(config.path, base.join(format!("snapshots/{COMMIT}/config.json")));
    assert_eq!(weights.path, base.join(format!("snapshots/{COMMIT}/net.safetensors")));
    assert!(base.join("blobs").join(GIT_ETAG).is_file());
    assert_eq!(fs::read_dir(base.join("blobs")).unwrap().count(), 2);
    assert_eq!(fs::read_to_string(base.join("refs/v1.0")).unwrap(), COMMIT);
    let error = cache.fetch(&source("none.json"), None, &quiet).unwrap_err().to_string();
    assert!(error.contains("the repository has no such file"), "{error}");

    // Another program, offline: the hub's cache is enough.
    let hub = Hub { offline: true, ..server.hub(home.path()) };
    let other = Cache::with_hub(home.path().join("other"), hub);
    let requests = server.heads().len();
    assert_eq!(other.fetch(&source("config.json"), None, &quiet).unwrap(), config);
    assert_eq!(other.fetch(&source("net.safetensors"), None, &quiet).unwrap(), weights);
    assert_eq!(server.heads().len(), requests);
}

/// Tries to fetch, and checks that nothing is left that could be taken for the file.
fn fails(server: &Server, token: Option<&str>) -> String {
    let home = tempfile::tempdir().unwrap();
    let silence = Duration::from_millis(150);
    let hub = Hub { token: token.map(Into::into), silence, ..server.hub(home.path()) };
    let cache = Cache::with_hub(home.path().join("weights"), hub);
    let error = cache.fetch(&SOURCE, None, &quiet).unwrap_err();
    assert_eq!(cache.cached(&SOURCE), None);
    let base = home.path().join("hub/models--owner--net");
    assert!(!base.join("snapshots").exists());
    let blobs = fs::read_dir(base.join("blobs")).into_iter().flatten();
    let names = blobs.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<_> = names.filter(|name| !name.contains(".part")).collect();
    assert!(left.is_empty(), "{left:?}");
    chain(&error)
}

#[test]
fn a_length_that_is_announced_too_long() {
    let server = serve(Box::new(|head, _, stream| {
        let headers =
            format!("X-Repo-Commit: {COMMIT}\r\nETag: \"{GIT_ETAG}\"\r\nContent-Length: 401000\r\n");
        let body = if head.starts_with("head ") { Vec::new() } else { content() };
        send(stream, "200 OK", &headers, &body);
    }));
    let error = fails(&server, None);
    assert!(error.contains("sent 400000 bytes, but announced 401000"), "{error}");
    let error = fails(&server, Some("token"));
    assert!(error.contains("the download broke off at byte 400000"), "{error}");
}

#[test]
fn a_length_that_is_announced_too_short() {
    for (etag, what) in [
        (GIT_ETAG.to_owned(), "it announced 400000 bytes, and sent 1000"),
        (sha256(&content()), "has sha256 `"),
    ] {
        let server = serve(Box::new(move |head, _, stream| {
            let about =
                format!("X-Repo-Commit: {COMMIT}\r\nETag: \"{etag}\"\r\nX-Linked-ETag: \"{etag}\"\r\n");
            match head.starts_with("head ") {
                true => send(stream, "200 OK", &format!("{about}Content-Length: 400000\r\n"), b""),
                false => send(stream, "200 OK", &format!("{about}Content-Length: 1000\r\n"), &content()),
            }
        }));
        for token in [None, Some("token")] {
            let error = fails(&server, token);
            assert!(error.contains(what), "{error}");
        }
    }
}

#[test]
fn other_bytes_than_the_hub_promised() {
    let promised = "5".repeat(64);
    let server = serve(Box::new(move |head, _, stream| {
        let headers =
            format!("X-Repo-Commit: {COMMIT}\r\nX-Linked-ETag: \"{promised}\"\r\nX-Linked-Size: 400000\r\n");
        send_file(head, stream, &headers, &content());
    }));
    for token in [None, Some("token")] {
        let error = fails(&server, token);
        assert!(error.contains(&format!("has sha256 `{}`", sha256(&content()))), "{error}");
        assert!(error.contains(&"5".repeat(64)), "{error}");
    }
}

#[test]
fn silence_is_not_waited_for() {
    // Before the answer.
    let mute = serve(Box::new(|_, _, stream| {
        // On a thread of its own, so that the next request is silence, too, and not a queue.
        let stream = stream.try_clone().unwrap();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_secs(5));
            drop(stream);
        });
    }));
    let start = std::time::Instant::now();
    let error = fails(&mute, None);
    assert!(error.contains("cannot reach the hub (timeout"), "{error}");
    assert!(error.contains("hint: is this machine online?"), "{error}");
    assert_eq!(mute.heads().len(), ATTEMPTS as usize);
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());

    // In the middle of a file that needs the token.
    let stuck = serve(Box::new(|head, _, stream| {
        send(
            stream,
            "200 OK",
            &headers(&content()),
            if head.starts_with("head ") { &[] } else { &[1; 1000] },
        );
        if !head.starts_with("head ") {
            std::thread::sleep(Duration::from_secs(1));
        }
    }));
    let error = fails(&stuck, Some("token"));
    assert!(error.contains("the download broke off at byte 1000 (timeout"), "{error}");
}

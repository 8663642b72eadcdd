//! The hub against a hand-written server on the loopback interface.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use tl_fetch::quiet;

use super::*;
use crate::{Cache, Source};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Answers a request, whose head is given in lower case; the second argument is its number.
type Answer = Box<dyn Fn(&str, usize, &mut TcpStream) + Send>;

struct Server {
    url: String,
    heads: Arc<Mutex<Vec<String>>>,
}

fn serve(answer: Answer) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = heads.clone();
    std::thread::spawn(move || {
        for (n, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
            let head = head.join("\n").to_ascii_lowercase();
            seen.lock().unwrap().push(head.clone());
            answer(&head, n, &mut stream);
        }
    });
    Server { url, heads }
}

impl Server {
    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    fn hub(&self, home: &Path) -> Hub {
        Hub {
            endpoint: Some(format!("{}/", self.url)),
            cache: Some(hf_hub::Cache::new(home.join("hub"))),
            token: None,
            offline: false,
        }
    }
}

fn send(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n");
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

fn content() -> Vec<u8> {
    (0..100_000u32).flat_map(u32::to_le_bytes).collect()
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
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
        let range = head.lines().find_map(|line| line.strip_prefix("range: bytes=")?.strip_suffix('-'));
        match range.and_then(|from| from.parse::<usize>().ok()) {
            _ if head.starts_with("head ") => send(stream, "200 OK", &headers(&content), b""),
            None => send(stream, "200 OK", &headers(&content), &content[..150_000]),
            Some(from) => {
                let (rest, all) = (&content[from..], content.len());
                let range = format!("Content-Range: bytes {from}-{}/{all}\r\n", all - 1);
                let etag = sha256(&content);
                let headers = format!("{range}Content-Length: {}\r\nETag: \"{etag}\"\r\n", rest.len());
                send(stream, "206 Partial Content", &headers, rest);
            }
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
    // A port on which nobody listens.
    let url = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let server = Server { url, heads: Arc::default() };
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

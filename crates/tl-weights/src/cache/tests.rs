//! Files at an address, against a server on the loopback interface.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tl_fetch::quiet;

use super::*;
use crate::loopback::{Server, chain, content, send, send_file, serve, sha256};

const ETAG: &str = "ETag: \"a\"\r\n";

/// A server with one file.
fn honest() -> Server {
    serve(Box::new(|head, _, stream| send_file(head, stream, ETAG, &content())))
}

fn source(server: &Server) -> Source {
    Source::Url { url: format!("{}/models/net-1378be20.pth", server.url).into() }
}

fn cache() -> (Cache, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Cache::open(dir.path().join("weights")), dir)
}

fn names(folder: &Path) -> Vec<String> {
    let read = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = read.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_file_is_fetched_once() {
    static TABLE: Source = Source::url("https://download.test/models/net-1378be20.pth");
    assert_eq!(TABLE.to_string(), "url https://download.test/models/net-1378be20.pth");

    let (server, (cache, dir)) = (honest(), cache());
    let source = source(&server);
    assert_eq!(cache.cached(&source), None);
    // As many digits as torchvision tells.
    let whole = sha256(&content());
    let located = cache.fetch(&source, Some(&whole[..8]), &quiet).unwrap();
    assert_eq!(fs::read(&located.path).unwrap(), content());
    assert_eq!((located.sha256.as_str(), located.bytes), (whole.as_str(), 400_000));
    assert_eq!(located.source, format!("url {}/models/net-1378be20.pth", server.url));
    let folder = located.path.parent().unwrap();
    assert_eq!(names(folder), ["net-1378be20.pth", "record.json"]);
    assert!(folder.starts_with(cache.root().join("url")));

    // From now on without the server.
    assert_eq!(server.heads().len(), 1);
    for expected in [None, Some(whole.as_str()), Some(&whole[..20]), Some(&whole[..8].to_uppercase())] {
        assert_eq!(cache.fetch(&source, expected, &quiet).unwrap(), located);
    }
    assert_eq!(Cache::open(dir.path().join("weights")).cached(&source), Some(located.clone()));
    fs::remove_file(folder.join("record.json")).unwrap();
    assert_eq!(cache.cached(&source), Some(located.clone()));
    assert_eq!(names(folder), ["net-1378be20.pth", "record.json"]);
    assert_eq!(server.heads().len(), 1);

    // Damage is mended.
    fs::write(&located.path, b"short").unwrap();
    assert_eq!(cache.cached(&source), None);
    assert_eq!(cache.fetch(&source, None, &quiet).unwrap(), located);
    assert_eq!(server.heads().len(), 2);
}

#[test]
fn the_first_digits_of_a_sha256_are_enough() {
    let (cache, dir) = cache();
    let path = dir.path().join("abc");
    fs::write(&path, b"abc").unwrap();
    let (source, whole) = (Source::File(path), sha256(b"abc"));
    let right = |expected: &str| match cache.fetch(&source, Some(expected), &quiet) {
        Ok(located) => {
            assert_eq!(located.sha256, whole);
            true
        }
        Err(WeightsError::Sha256 { got, .. }) if got == whole => false,
        Err(error) => panic!("{error}"),
    };
    assert!(right("ba7816bf") && right("BA7816BF8") && right(&whole));
    for expected in ["ba7816b", "ba7816be", "", "a7816bf8", "ba7816b\u{e4}", &format!("{whole}0")] {
        assert!(!right(expected), "{expected}");
    }
}

#[test]
fn a_dropped_connection_is_taken_up_again() {
    // Once the server gives a validator, once the sha256 alone tells that the pieces belong together.
    for (headers, digits) in [(ETAG, 8), ("", 64)] {
        let server = serve(Box::new(move |head, n, stream| match n {
            0 => {
                let headers = format!("{headers}Content-Length: 400000\r\n");
                send(stream, "200 OK", &headers, &content()[..150_000]);
            }
            _ => send_file(head, stream, headers, &content()),
        }));
        let ((cache, _dir), expected) = (cache(), sha256(&content()));
        let located = cache.fetch(&source(&server), Some(&expected[..digits]), &quiet).unwrap();
        assert_eq!(fs::read(located.path).unwrap(), content());
        assert!(server.heads()[1].contains("range: bytes=150000-"), "{:?}", server.heads());
    }
}

#[test]
fn another_file_than_expected_is_an_error() {
    let (server, (cache, _dir)) = (honest(), cache());
    let source = source(&server);
    for expected in ["0".repeat(8), "0".repeat(64)] {
        let error = cache.fetch(&source, Some(&expected), &quiet).unwrap_err();
        let WeightsError::Sha256 { what, expected: shown, got, .. } = &error else { panic!("{error}") };
        assert_eq!((what, shown, got), (&source.to_string(), &expected, &sha256(&content())));
        assert!(error.to_string().contains("\n\nhint: it has changed where it is published"), "{error}");
    }
    assert_eq!(server.heads().len(), 2);
}

#[test]
fn a_lie_about_the_length_is_found_out() {
    // Too long: it stops before the announced end, every time.
    let server = serve(Box::new(|_, _, stream| {
        send(stream, "200 OK", &format!("{ETAG}Content-Length: 401000\r\n"), &content());
    }));
    let (cache, _dir) = cache();
    let error = cache.fetch(&source(&server), None, &quiet).unwrap_err();
    assert!(chain(&error).contains("sent 400000 bytes, but announced 401000"), "{}", chain(&error));
    assert_eq!(cache.cached(&source(&server)), None);

    // Too short: what lies beyond is never seen, but the sha256 is another.
    let server = serve(Box::new(|_, _, stream| {
        send(stream, "200 OK", &format!("{ETAG}Content-Length: 1000\r\n"), &content());
    }));
    let expected = sha256(&content());
    for digits in [8, 64] {
        let error = cache.fetch(&source(&server), Some(&expected[..digits]), &quiet).unwrap_err();
        assert!(matches!(&error, WeightsError::Sha256 { got, .. } if *got == sha256(&content()[..1000])));
    }
}

#[test]
fn refusals_name_the_address() {
    let (cache, _dir) = cache();
    let fails = |source: &Source| {
        let error = cache.fetch(source, None, &quiet).unwrap_err();
        assert!(matches!(error, WeightsError::Fetch { .. }), "{error:?}");
        assert_eq!(cache.cached(source), None);
        chain(&error)
    };
    let server = serve(Box::new(|_, _, stream| send(stream, "404 Not Found", "Content-Length: 0\r\n", b"")));
    let error = fails(&source(&server));
    assert!(error.starts_with("failed to get weights `url http://127.0.0.1:"), "{error}");
    assert!(error.contains("/models/net-1378be20.pth` does not exist (HTTP 404)"), "{error}");
    assert_eq!(server.heads().len(), 1);
    for address in ["nonsense", "", "https://", "file:///etc/passwd", "ftp://127.0.0.1/x", "http://a b/.."] {
        fails(&Source::Url { url: address.into() });
    }
}

#[test]
fn two_at_once_download_once() {
    let requests = AtomicUsize::new(0);
    let server = serve(Box::new(move |head, _, stream| {
        // Long enough for the other one to come.
        std::thread::sleep(Duration::from_millis(200));
        let headers = format!("ETag: \"{}\"\r\n", requests.fetch_add(1, Ordering::Relaxed));
        send_file(head, stream, &headers, &content());
    }));
    let (_, dir) = cache();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let cache = Cache::open(dir.path().join("weights"));
                let located = cache.fetch(&source(&server), None, &quiet).unwrap();
                assert_eq!(located.sha256, sha256(&content()));
            });
        }
    });
    assert_eq!(server.heads().len(), 1);
}

#[test]
fn addresses_have_file_names() {
    for (url, name) in [
        ("https://host/a/net-1378be20.pth", "net-1378be20.pth"),
        ("https://host/a/net.pth?download=true#x", "net.pth"),
        ("https://host/a/?x=/b", "file"),
        ("https://host/a/record.json", "file"),
        ("https://host/..", "file"),
    ] {
        assert_eq!(url_name(url), name);
    }
}

//! Transfers against a hand-written server on the loopback interface that misbehaves on purpose.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::*;
use crate::quiet;

const HASTE: Patience =
    Patience { fruitless: 3, pause: Duration::from_millis(2), idle: Duration::from_millis(400) };

/// What the server does with one request: its head is given, the answer is written.
type Answer = Box<dyn Fn(&str, &mut TcpStream) + Send>;

struct Server {
    url: String,
    heads: Arc<Mutex<Vec<String>>>,
}

/// Answers the n-th request with the n-th answer, and all later ones with the last.
fn serve(answers: Vec<Answer>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/file.bin", listener.local_addr().unwrap());
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = heads.clone();
    std::thread::spawn(move || {
        for (n, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let head: Vec<String> = BufReader::new(&stream)
                .lines()
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty())
                .map(|line| line.to_ascii_lowercase())
                .collect();
            let head = head.join("\n");
            seen.lock().unwrap().push(head.clone());
            answers[n.min(answers.len() - 1)](&head, &mut stream);
        }
    });
    Server { url, heads }
}

impl Server {
    fn requests(&self) -> usize {
        self.heads.lock().unwrap().len()
    }

    fn head(&self, n: usize) -> String {
        self.heads.lock().unwrap()[n].clone()
    }
}

fn send(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n");
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

fn content() -> Vec<u8> {
    (0..300_000u32).flat_map(|i| i.to_le_bytes()).collect()
}

fn sha(bytes: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    fs::write(&path, bytes).unwrap();
    sha256_file(&path).unwrap()
}

/// The whole file, or, asked with `Range`, its rest.
fn honest(etag: &'static str) -> Answer {
    Box::new(move |head, stream| {
        let body = content();
        let from = head.lines().find_map(|l| l.strip_prefix("range: bytes=")?.strip_suffix('-'));
        match from.and_then(|n| n.parse::<usize>().ok()) {
            Some(from) => {
                let range = format!("bytes {from}-{}/{}", body.len() - 1, body.len());
                let headers = format!(
                    "ETag: {etag}\r\nContent-Range: {range}\r\nContent-Length: {}\r\n",
                    body.len() - from
                );
                send(stream, "206 Partial Content", &headers, &body[from..]);
            }
            None => {
                let headers = format!("ETag: {etag}\r\nContent-Length: {}\r\n", body.len());
                send(stream, "200 OK", &headers, &body);
            }
        }
    })
}

/// Announces everything, sends the first `n` bytes and hangs up.
fn drops_after(n: usize, etag: &'static str) -> Answer {
    Box::new(move |_, stream| {
        let body = content();
        let headers = format!("ETag: {etag}\r\nContent-Length: {}\r\n", body.len());
        send(stream, "200 OK", &headers, &body[..n]);
    })
}

fn status(line: &'static str) -> Answer {
    Box::new(move |_, stream| send(stream, line, "Content-Length: 0\r\n", b""))
}

struct Place {
    dir: tempfile::TempDir,
    dest: PathBuf,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let dest = dir.path().join("sub/file.bin");
    Place { dir, dest }
}

impl Place {
    fn names(&self) -> Vec<String> {
        let read = fs::read_dir(self.dir.path().join("sub")).unwrap();
        read.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }
}

#[test]
fn a_whole_file_with_its_progress() {
    let (server, place) = (serve(vec![honest("\"a\"")]), place());
    let seen = Mutex::new((None, 0, false));
    let observe = |p: Progress<'_>| {
        let mut seen = seen.lock().unwrap();
        match p {
            Progress::Start { total, .. } => seen.0 = total,
            Progress::Advance { at } => seen.1 = at,
            Progress::Finish => seen.2 = true,
        }
    };
    let got = get(&server.url, &place.dest, None, &observe, &HASTE).unwrap();
    let length = content().len() as u64;
    assert_eq!((got.bytes, got.sha256), (length, sha(&content())));
    assert_eq!(*seen.lock().unwrap(), (Some(length), length, true));
    assert_eq!(fs::read(&place.dest).unwrap(), content());
    assert_eq!(place.names(), ["file.bin"]);
}

#[test]
fn a_file_that_is_there_is_not_asked_for() {
    let (server, place) = (serve(vec![status("500 No")]), place());
    fs::create_dir_all(place.dest.parent().unwrap()).unwrap();
    fs::write(&place.dest, content()).unwrap();
    get(&server.url, &place.dest, Some(&sha(&content()).to_uppercase()), &quiet, &HASTE).unwrap();
    assert_eq!(server.requests(), 0);
}

#[test]
fn a_dropped_connection_is_taken_up_where_it_broke() {
    let server = serve(vec![drops_after(500_000, "\"a\""), honest("\"a\"")]);
    let place = place();
    get(&server.url, &place.dest, None, &quiet, &HASTE).unwrap();
    assert_eq!(server.requests(), 2);
    assert!(!server.head(0).contains("range:"));
    assert!(server.head(1).contains("range: bytes=500000-"), "{}", server.head(1));
    assert!(server.head(1).contains("if-range: \"a\""));
    assert_eq!(fs::read(&place.dest).unwrap(), content());
}

#[test]
fn silence_counts_as_a_dropped_connection() {
    let silent: Answer = Box::new(|_, stream| {
        let headers = format!("ETag: \"a\"\r\nContent-Length: {}\r\n", content().len());
        send(stream, "200 OK", &headers, &content()[..1000]);
        std::thread::sleep(Duration::from_millis(900));
    });
    let (server, place) = (serve(vec![silent, honest("\"a\"")]), place());
    get(&server.url, &place.dest, None, &quiet, &HASTE).unwrap();
    assert!(server.head(1).contains("range: bytes=1000-"));
    assert_eq!(fs::read(&place.dest).unwrap(), content());
}

#[test]
fn a_file_that_changed_meanwhile_starts_over() {
    let server = serve(vec![drops_after(500_000, "\"old\""), honest("\"new\""), honest("\"new\"")]);
    let place = place();
    get(&server.url, &place.dest, None, &quiet, &HASTE).unwrap();
    assert_eq!(server.requests(), 3);
    assert!(!server.head(2).contains("range:"));
    assert_eq!(fs::read(&place.dest).unwrap(), content());
}

#[test]
fn a_server_that_ignores_range_sends_everything_again() {
    let whole: Answer = Box::new(|_, stream| {
        let body = content();
        send(stream, "200 OK", &format!("ETag: \"a\"\r\nContent-Length: {}\r\n", body.len()), &body);
    });
    let (server, place) = (serve(vec![drops_after(500_000, "\"a\""), whole]), place());
    get(&server.url, &place.dest, Some(&sha(&content())), &quiet, &HASTE).unwrap();
    assert!(server.head(1).contains("range:"));
    assert_eq!(fs::read(&place.dest).unwrap(), content());
}

#[test]
fn an_earlier_process_left_a_part() {
    let place = place();
    let expected = sha(&content());
    let broken = serve(vec![drops_after(700_000, "\"a\""), status("404 Gone")]);
    get(&broken.url, &place.dest, Some(&expected), &quiet, &HASTE).unwrap_err();
    let mut left = place.names();
    left.sort();
    assert_eq!(left, ["file.bin.part", "file.bin.part.json"]);

    // A new server has a new port, so the note is made to fit.
    let server = serve(vec![honest("\"a\"")]);
    let note = place.dest.with_extension("bin.part.json");
    let text = fs::read_to_string(&note).unwrap().replace(&broken.url, &server.url);
    fs::write(&note, text).unwrap();
    get(&server.url, &place.dest, Some(&expected), &quiet, &HASTE).unwrap();
    assert!(server.head(0).contains("range: bytes=700000-"));
    assert_eq!(fs::read(&place.dest).unwrap(), content());
    assert_eq!(place.names(), ["file.bin"]);
}

#[test]
fn a_spoilt_part_costs_one_more_transfer() {
    let place = place();
    let server = serve(vec![honest("\"a\"")]);
    fs::create_dir_all(place.dest.parent().unwrap()).unwrap();
    fs::write(place.dest.with_extension("bin.part"), vec![7; 1000]).unwrap();
    let origin = Origin { url: server.url.clone(), sha256: Some(sha(&content())), ..Origin::default() };
    fs::write(place.dest.with_extension("bin.part.json"), serde_json::to_vec(&origin).unwrap()).unwrap();
    get(&server.url, &place.dest, Some(&sha(&content())), &quiet, &HASTE).unwrap();
    assert_eq!(server.requests(), 2);
    assert_eq!(fs::read(&place.dest).unwrap(), content());
}

#[test]
fn the_wrong_bytes_are_an_error_and_leave_nothing() {
    let (server, place) = (serve(vec![honest("\"a\"")]), place());
    let wrong = "0".repeat(64);
    let error = get(&server.url, &place.dest, Some(&wrong), &quiet, &HASTE).unwrap_err();
    assert!(matches!(error, FetchError::Sha256 { .. }), "{error}");
    assert_eq!(server.requests(), 1);
    assert!(place.names().is_empty());
}

#[test]
fn refusals_are_told_apart_and_not_retried() {
    let place = place();
    for (line, wanted) in [("401 No", "permission"), ("403 No", "permission"), ("404 No", "does not exist")] {
        let server = serve(vec![status(line)]);
        let error = get(&server.url, &place.dest, None, &quiet, &HASTE).unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}");
        assert_eq!(server.requests(), 1);
        assert!(!place.dest.exists());
    }
}

#[test]
fn a_busy_server_is_asked_again() {
    let busy: Answer = Box::new(|_, stream| {
        send(stream, "503 Busy", "Retry-After: 0\r\nContent-Length: 0\r\n", b"");
    });
    let (server, place) = (serve(vec![busy, status("429 Slow"), honest("\"a\"")]), place());
    get(&server.url, &place.dest, None, &quiet, &HASTE).unwrap();
    assert_eq!(server.requests(), 3);
}

#[test]
fn a_lie_about_the_length_is_an_error_in_the_end() {
    let lies: Answer = Box::new(|_, stream| send(stream, "200 OK", "Content-Length: 5000\r\n", &[1; 4000]));
    let (server, place) = (serve(vec![lies]), place());
    let error = get(&server.url, &place.dest, None, &quiet, &HASTE).unwrap_err();
    assert!(
        matches!(error, FetchError::Length { expected: 5000, got: 4000, .. } | FetchError::Dropped { .. }),
        "{error}"
    );
    assert_eq!(server.requests(), 1 + HASTE.fruitless as usize);
    assert!(!place.dest.exists());
}

#[test]
fn nobody_listens() {
    let place = place();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}/x");
    let error = get(&url, &place.dest, None, &quiet, &HASTE).unwrap_err();
    assert!(matches!(error, FetchError::Offline { .. }), "{error}");
    assert!(reachable(&url, Duration::from_secs(1)).is_err());
    assert!(matches!(
        get("nonsense", &place.dest, None, &quiet, &HASTE),
        Err(FetchError::Url { .. } | FetchError::Offline { .. })
    ));
}

#[test]
fn two_at_once_get_the_same_file() {
    let (server, place) = (serve(vec![honest("\"a\"")]), place());
    let expected = sha(&content());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let got = get(&server.url, &place.dest, Some(&expected), &quiet, &HASTE);
                got.unwrap();
            });
        }
    });
    assert_eq!(server.requests(), 1);
    assert_eq!(place.names(), ["file.bin"]);
}

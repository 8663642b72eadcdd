//! A server on loopback, asked by real clients and by some that misbehave. The model adds up bytes.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are part of it")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tl_serve::{Item, Options, Refusal, ServeError, Service, serve};

struct Sums;

impl Service for Sums {
    type Input = u64;
    type Output = u64;
    type Wish = u64;

    fn wish(&self, query: &[(String, String)]) -> Result<u64, Refusal> {
        match query {
            [] => Ok(1),
            [(name, value)] if name == "times" => value.parse().map_err(|_| Refusal::new(400, "odd times")),
            _ => Err(Refusal::new(400, "unknown").hint("times")),
        }
    }

    fn takes(&self, media: Option<&str>) -> bool {
        media.is_none_or(|media| media == "application/octet-stream")
    }

    fn read(&self, item: &Item) -> Result<u64, Refusal> {
        if item.bytes.starts_with(b"bad") {
            return Err(Refusal::new(400, "it is bad"));
        }
        Ok(item.bytes.iter().map(|byte| u64::from(*byte)).sum())
    }

    fn say(&self, name: &str, output: &u64, wish: &u64) -> Value {
        json!({ "file": name, "sum": output * wish })
    }

    fn about(&self) -> Value {
        json!({ "model": "sums" })
    }

    fn page(&self) -> (&str, &str) {
        ("<!DOCTYPE html>", "default-src 'none'")
    }
}

struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    most: Arc<AtomicUsize>,
    thread: JoinHandle<Result<(), ServeError>>,
}

impl Server {
    /// One whose model takes `pause` for a batch.
    fn start(options: Options, pause: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, most) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (flag, seen) = (Arc::clone(&stop), Arc::clone(&most));
        let thread = std::thread::spawn(move || {
            serve(listener, Sums, &options, &flag, |inputs| {
                std::thread::sleep(pause);
                seen.fetch_max(inputs.len(), Ordering::SeqCst);
                if inputs.contains(&1) { Err("one is too few".to_owned()) } else { Ok(inputs) }
            })
        });
        Self { address, stop, most, thread }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Status and body of a POST with a real client.
    fn post(&self, path: &str, media: &str, body: &[u8]) -> (u16, Value) {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut response = agent.post(&self.url(path)).header("content-type", media).send(body).unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        (response.status().as_u16(), serde_json::from_str(&text).unwrap())
    }

    fn get(&self, path: &str) -> (u16, String) {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut response = agent.get(&self.url(path)).call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }

    /// Everything that comes back for these bytes, until the server closes.
    fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let _ = stream.write_all(bytes);
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap().unwrap();
        assert!(TcpStream::connect(self.address).is_err(), "nobody listens any longer");
    }
}

const BYTES: &str = "application/octet-stream";

#[test]
fn what_is_asked_is_answered_and_what_is_wrong_is_said() {
    let options = Options { max_body: 1000, ..Options::default() };
    let server = Server::start(options, Duration::ZERO);
    let (status, said) = server.post("/predict", BYTES, &[2, 3]);
    assert_eq!((status, said), (200, json!({ "predictions": [{ "file": "body", "sum": 5 }] })));
    assert_eq!(server.post("/predict?times=10", BYTES, &[2, 3]).1["predictions"][0]["sum"], 50);
    // Two good ones and a bad one in a form, and a wish among its fields.
    let part =
        |head: &str, body: &str| format!("--x\r\ncontent-disposition: form-data; {head}\r\n\r\n{body}\r\n");
    let form = [
        part("name=\"image\"; filename=\"a.bin\"", "A"),
        part("name=\"image\"; filename=\"b.bin\"", "bad"),
        part("name=\"times\"", "2"),
        part("name=\"image\"; filename=\"\"", "B"),
        "--x--\r\n".to_owned(),
    ];
    let (status, said) = server.post("/predict", "multipart/form-data; boundary=x", form.concat().as_bytes());
    let expected = json!({ "predictions": [{ "file": "a.bin", "sum": 130 }, { "error": "it is bad", "file": "b.bin" },
        { "file": "image", "sum": 132 }] });
    assert_eq!((status, said), (200, expected));

    let refused = |path: &str, media: &str, body: &[u8], status: u16, text: &str| {
        let (got, said) = server.post(path, media, body);
        assert_eq!(got, status, "{said}");
        assert!(said["error"].as_str().unwrap().contains(text), "{said}");
    };
    refused("/predict", BYTES, b"bad", 400, "it is bad");
    refused("/predict", BYTES, b"", 400, "nothing to answer");
    refused("/predict?x=1", BYTES, b"a", 400, "unknown");
    refused("/predict", "text/html", b"a", 415, "text/html");
    refused("/predict", "multipart/form-data", b"a", 400, "multipart");
    refused("/predict", "multipart/form-data; boundary=x", b"--x\r\nhalf", 400, "multipart");
    refused("/predict", BYTES, &[7; 1001], 413, "more than 1000 bytes");
    refused("/predict", BYTES, &[1], 500, "one is too few");
    refused("/nowhere", BYTES, b"a", 404, "nothing here");
    refused("/model", BYTES, b"a", 405, "/model is for GET");
    assert_eq!(server.get("/predict").0, 405);
    assert_eq!(server.get("/model").1, "{\"model\":\"sums\"}\n");
    assert_eq!(server.get("/healthz").0, 200);
    assert!(server.get("/").1.starts_with("<!DOCTYPE"));
    let metrics = server.get("/metrics").1;
    for line in [
        "tl_requests_total{status=\"413\"} 1",
        "tl_requests_total{status=\"415\"} 1",
        "tl_queue_inputs 0",
        "tl_body_bytes 0",
    ] {
        assert!(metrics.lines().any(|there| there == line), "`{line}` is not in\n{metrics}");
    }
    // What is no HTTP, and a length that is a lie in chunks.
    assert!(server.raw(b"\x16\x03\x01garbage\r\n\r\n").starts_with("HTTP/1.1 400"));
    let chunked = "POST /predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    let long = format!("{chunked}5dc\r\n{}\r\n0\r\n\r\n", "a".repeat(1500));
    assert!(server.raw(long.as_bytes()).starts_with("HTTP/1.1 413"));
    let huge = format!("GET / HTTP/1.1\r\nhost: {}\r\n\r\n", "x".repeat(200_000));
    assert!(server.raw(huge.as_bytes()).starts_with("HTTP/1.1 431"));
    server.stop();
}

#[test]
fn slow_and_vanishing_clients_cost_nothing() {
    let options = Options {
        timeout: Duration::from_millis(400),
        head_timeout: Duration::from_millis(400),
        connections: 4,
        ..Options::default()
    };
    let server = Server::start(options, Duration::ZERO);
    let begun = Instant::now();
    // A head that never ends, a body that never comes, and a connection that says nothing.
    assert!(!server.raw(b"GET / HTTP/1.1\r\nhost: ").contains("200 OK"));
    let half = server.raw(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf");
    assert!(half.starts_with("HTTP/1.1 408"), "{half}");
    assert_eq!(server.raw(b""), "");
    assert!(begun.elapsed() < Duration::from_secs(15));
    // More of them than there are connections; they go away in the middle.
    for _ in 0..20 {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nha").unwrap();
    }
    assert_eq!(server.post("/predict", BYTES, &[9]).0, 200);
    let metrics = server.get("/metrics").1;
    assert!(metrics.contains("tl_body_bytes 0\n") && metrics.contains("tl_queue_inputs 0\n"), "{metrics}");
    server.stop();
}

#[test]
fn many_at_once_are_batched_and_too_many_are_sent_away() {
    let options = Options { batch: 8, queue: 8, connections: 64, ..Options::default() };
    let server = Arc::new(Server::start(options, Duration::from_millis(300)));
    let clients: Vec<_> = (0..24)
        .map(|_| {
            let server = Arc::clone(&server);
            std::thread::spawn(move || server.post("/predict", BYTES, &[5]).0)
        })
        .collect();
    let statuses: Vec<u16> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    let count = |status: u16| statuses.iter().filter(|got| **got == status).count();
    assert_eq!(count(200) + count(503), 24, "{statuses:?}");
    assert!(count(200) >= 8 && count(503) >= 1, "{statuses:?}");
    assert!(server.most.load(Ordering::SeqCst) >= 4, "{}", server.most.load(Ordering::SeqCst));
    let text = "POST /predict HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 1\r\n\r\n\u{9}";
    assert!(server.raw(text.as_bytes()).starts_with("HTTP/1.1 200"));
    Arc::into_inner(server).unwrap().stop();
}

#[test]
fn what_was_asked_before_the_end_is_answered() {
    let server = Server::start(Options::default(), Duration::from_millis(500));
    let (address, stop) = (server.address, Arc::clone(&server.stop));
    let asking = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n\x09").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    });
    std::thread::sleep(Duration::from_millis(200));
    stop.store(true, Ordering::SeqCst);
    let said = asking.join().unwrap();
    assert!(said.starts_with("HTTP/1.1 200") && said.contains("\"sum\":9"), "{said}");
    server.stop();
}

#[test]
fn ten_thousand_requests() {
    let server = Arc::new(Server::start(Options::default(), Duration::ZERO));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let server = Arc::clone(&server);
            std::thread::spawn(move || {
                let mut stream = TcpStream::connect(server.address).unwrap();
                stream.set_nodelay(true).unwrap();
                let ask = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n\x02\x03";
                let (mut buffer, mut right) = ([0; 4096], 0);
                for _ in 0..1250 {
                    stream.write_all(ask).unwrap();
                    let mut said = Vec::new();
                    while !said.ends_with(b"}]}\n") {
                        let n = stream.read(&mut buffer).unwrap();
                        assert!(n > 0, "closed early: {}", String::from_utf8_lossy(&said));
                        said.extend_from_slice(&buffer[..n]);
                    }
                    right += usize::from(said.starts_with(b"HTTP/1.1 200"));
                }
                right
            })
        })
        .collect();
    assert_eq!(clients.into_iter().map(|client| client.join().unwrap()).sum::<usize>(), 10_000);
    assert!(server.get("/metrics").1.contains("tl_requests_total{status=\"200\"} 10000"));
    Arc::into_inner(server).unwrap().stop();
}

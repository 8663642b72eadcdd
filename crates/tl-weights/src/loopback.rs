//! For tests: a hand-written server on the loopback interface. The decision: the test writes each answer byte for byte,
//! because what matters here is servers that misbehave, and no HTTP library lets one lie.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

/// Answers a request, whose head is given in lower case; the second argument is its number.
pub(crate) type Answer = Box<dyn Fn(&str, usize, &mut TcpStream) + Send>;

pub(crate) struct Server {
    pub(crate) url: String,
    heads: Arc<Mutex<Vec<String>>>,
}

pub(crate) fn serve(answer: Answer) -> Server {
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

/// An address at which nobody listens.
pub(crate) fn nobody() -> Server {
    let url = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    Server { url, heads: Arc::default() }
}

impl Server {
    /// The requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

pub(crate) fn send(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n");
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

/// Sends `body`, or the rest of it where the request asks for that, or only the headers.
pub(crate) fn send_file(head: &str, stream: &mut TcpStream, headers: &str, body: &[u8]) {
    let range = head.lines().find_map(|line| line.strip_prefix("range: bytes=")?.strip_suffix('-'));
    let from = range.and_then(|from| from.parse::<usize>().ok()).unwrap_or(0);
    let (rest, all) = (&body[from..], body.len());
    let headers = format!("{headers}Content-Length: {}\r\n", rest.len());
    if head.starts_with("head ") {
        send(stream, "200 OK", &headers, b"");
    } else if from == 0 {
        send(stream, "200 OK", &headers, body);
    } else {
        let range = format!("Content-Range: bytes {from}-{}/{all}\r\n", all - 1);
        send(stream, "206 Partial Content", &format!("{range}{headers}"), rest);
    }
}

/// 400,000 bytes.
pub(crate) fn content() -> Vec<u8> {
    (0..100_000u32).flat_map(u32::to_le_bytes).collect()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The messages of an error and of all that caused it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

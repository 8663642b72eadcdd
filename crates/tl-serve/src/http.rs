//! Requests to responses: which path has which answer. The decision: five routes need no framework.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::metrics::Metrics;
use crate::options::Options;
use crate::predict::predict;
use crate::queue::Queue;
use crate::service::{Refusal, Service};

/// What all connections share.
pub(crate) struct Shared<S: Service> {
    pub(crate) service: Arc<S>,
    pub(crate) options: Options,
    pub(crate) queue: Queue<S::Input, S::Output>,
    pub(crate) metrics: Arc<Metrics>,
    /// Bytes of bodies in memory.
    pub(crate) held: AtomicU64,
    /// Open connections.
    pub(crate) connections: AtomicUsize,
}

/// A status, a media type, a body.
type Answer = (u16, &'static str, String);

const JSON: &str = "application/json";

pub(crate) async fn answer<S: Service>(
    shared: Arc<Shared<S>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let begun = Instant::now();
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let prediction = path == "/predict";
    let allowed = match path.as_str() {
        "/predict" => Some("POST"),
        "/" | "/model" | "/healthz" | "/metrics" => Some("GET, HEAD"),
        _ => None,
    };
    let get = head.method == Method::GET || head.method == Method::HEAD;
    let (status, media, text) = match (path.as_str(), get) {
        ("/predict", _) if head.method == Method::POST => {
            let wishes = pairs(head.uri.query().unwrap_or_default());
            match predict(&shared, &head.headers, wishes, body).await {
                Ok(value) => (200, JSON, line(&value)),
                Err(refusal) => refused(&refusal),
            }
        }
        ("/", true) => (200, "text/html; charset=utf-8", shared.service.page().0.to_owned()),
        ("/model", true) => (200, JSON, line(&shared.service.about())),
        ("/healthz", true) => (200, JSON, line(&json!({ "status": "ok" }))),
        ("/metrics", true) => (200, "text/plain; version=0.0.4; charset=utf-8", metrics(&shared)),
        _ => match allowed {
            Some(allowed) => refused(&Refusal::new(405, format!("{path} is for {allowed}"))),
            None => refused(
                &Refusal::new(404, "there is nothing here")
                    .hint("POST /predict; GET /, /model, /healthz or /metrics"),
            ),
        },
    };
    shared.metrics.request(status, prediction.then(|| begun.elapsed()));
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let (405, Some(allowed)) = (status, allowed) {
        headers.insert(ALLOW, HeaderValue::from_static(allowed));
    }
    if status == 503 {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if matches!(status, 400 | 408 | 413) {
        // What is left of the body is not a request.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let ("/", Ok(policy)) = (path.as_str(), HeaderValue::from_str(shared.service.page().1)) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    Ok(response)
}

fn metrics<S: Service>(shared: &Shared<S>) -> String {
    let (connections, held) = (&shared.connections, &shared.held);
    shared.metrics.text(
        shared.queue.waiting(),
        connections.load(Ordering::Relaxed),
        held.load(Ordering::Relaxed),
    )
}

fn line(value: &Value) -> String {
    format!("{value}\n")
}

fn refused(refusal: &Refusal) -> Answer {
    (refusal.status, JSON, line(&refusal.json()))
}

/// The names and values of a query.
fn pairs(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(a, b)| (plain(a), plain(b))).collect()
}

/// With `+` and `%` as what they stand for.
fn plain(text: &str) -> String {
    let (bytes, mut plain) = (text.as_bytes(), Vec::new());
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                plain.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', ..) => plain.push(b' '),
            _ => plain.push(*byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            pairs("top=3&&name=a%20b+c%2&x"),
            [pair("top", "3"), pair("name", "a b c%2"), pair("x", "")]
        );
    }
}

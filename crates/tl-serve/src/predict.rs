//! `POST /predict`: from a body to answers.
//!
//! The decision: what can be answered is, and what cannot is said beside it, as the command line does; only where nothing
//! can be answered is the status that of the first refusal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyDataStream, BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderMap};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::http::Shared;
use crate::queue::Job;
use crate::service::{Item, Refusal, Service};

/// So much more of a body that is refused is read and thrown away, that the client may read why.
const DRAINED: u64 = 64 << 20;
/// And for so long.
const DRAINING: Duration = Duration::from_secs(2);

/// Bytes of a body that count as held until it is gone.
pub(crate) struct Held<'a> {
    all: &'a AtomicU64,
    own: u64,
}

impl<'a> Held<'a> {
    fn new(all: &'a AtomicU64) -> Self {
        Self { all, own: 0 }
    }

    fn add(&mut self, bytes: u64) -> u64 {
        self.own += bytes;
        self.all.fetch_add(bytes, Ordering::Relaxed) + bytes
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(self.own, Ordering::Relaxed);
    }
}

pub(crate) async fn predict<S: Service>(
    shared: &Shared<S>,
    headers: &HeaderMap,
    mut query: Vec<(String, String)>,
    body: Incoming,
) -> Result<Value, Refusal> {
    let mut held = Held::new(&shared.held);
    let media = media(headers);
    let boundary = boundary(headers, media.as_deref())?;
    if boundary.is_none() && !shared.service.takes(media.as_deref()) {
        drain(body).await;
        return Err(unsupported(media.as_deref().unwrap_or("nothing"), shared));
    }
    let bytes = read_body(shared, headers, body, &mut held).await?;
    let items = match boundary {
        Some(boundary) => parts(shared, bytes, boundary, &mut query).await?,
        None if bytes.is_empty() => Vec::new(),
        None => taken_apart(shared, Item { name: "body".to_owned(), media, bytes }, &mut query).await?,
    };
    let wish = shared.service.wish(&query)?;
    if items.is_empty() {
        let hint = shared.service.words().send;
        return Err(Refusal::new(400, "the request holds nothing to answer").hint(hint));
    }
    if items.len() > shared.queue.size() {
        let most = shared.queue.size();
        return Err(Refusal::new(
            413,
            format!("{} inputs in one request (expected at most {most})", items.len()),
        ));
    }
    let Some(places) = shared.queue.places(items.len()) else {
        return Err(Refusal::new(503, "the queue is full").hint("try again in a second"));
    };
    let deadline = Instant::now() + shared.options.timeout;
    let asked: Vec<_> = items.into_iter().zip(places).map(|(item, place)| ask(shared, item, place)).collect();
    let (mut said, mut first, mut answered) = (Vec::new(), None, false);
    for (name, answer) in asked {
        let late = || Refusal::new(503, "the answer did not come in time").hint("try again in a second");
        match timeout_at(deadline, answer).await.unwrap_or_else(|_| Err(late())) {
            Ok(output) => {
                answered = true;
                said.push(shared.service.say(&name, &output, &wish));
            }
            Err(refusal) => {
                let mut object = refusal.json();
                object[shared.service.words().key] = name.into();
                said.push(object);
                first.get_or_insert(refusal);
            }
        }
    }
    match first {
        Some(refusal) if !answered => Err(refusal),
        _ => Ok(json!({ "predictions": said })),
    }
}

/// Has one item read and answered; its place is given back with the answer, or as soon as it cannot be read.
fn ask<S: Service>(
    shared: &Shared<S>,
    item: Item,
    place: OwnedSemaphorePermit,
) -> (String, impl Future<Output = Result<S::Output, Refusal>> + use<S>) {
    let name = item.name.clone();
    let (service, queue) = (Arc::clone(&shared.service), shared.queue.clone());
    let metrics = Arc::clone(&shared.metrics);
    // Begun now, so that the items of a request are read side by side.
    let reading = tokio::task::spawn_blocking(move || {
        let input = service.read(&item).inspect_err(|_| metrics.refused())?;
        drop(item);
        let (reply, answer) = oneshot::channel();
        queue.push(Job { input, reply, place });
        Ok::<_, Refusal>(answer)
    });
    let answer = async move {
        let broken = || Refusal::new(500, "internal error");
        let answer = reading.await.map_err(|_| broken())??;
        match answer.await {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(error)) => Err(Refusal::new(500, error)),
            Err(_) => Err(Refusal::new(503, "the server is stopping")),
        }
    };
    (name, answer)
}

/// The media type without parameters.
fn media(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// What stands between the parts, if there are any.
fn boundary(headers: &HeaderMap, media: Option<&str>) -> Result<Option<String>, Refusal> {
    if media != Some("multipart/form-data") {
        return Ok(None);
    }
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    multer::parse_boundary(text).map(Some).map_err(|error| Refusal::new(400, format!("multipart: {error}")))
}

fn unsupported<S: Service>(media: &str, shared: &Shared<S>) -> Refusal {
    Refusal::new(415, format!("bodies of type {media} are not taken")).hint(shared.service.words().types)
}

/// What is in a body that is no form; on a reader's thread, since it may be long.
async fn taken_apart<S: Service>(
    shared: &Shared<S>,
    body: Item,
    query: &mut Vec<(String, String)>,
) -> Result<Vec<Item>, Refusal> {
    let service = Arc::clone(&shared.service);
    let work = move || {
        let mut wishes = Vec::new();
        service.items(body, &mut wishes).map(|items| (items, wishes))
    };
    let done = tokio::task::spawn_blocking(work).await;
    let (items, wishes) = done.map_err(|_| Refusal::new(500, "internal error"))??;
    query.extend(wishes);
    Ok(items)
}

/// The whole body, within its limits of size and time.
async fn read_body<S: Service>(
    shared: &Shared<S>,
    headers: &HeaderMap,
    mut body: Incoming,
    held: &mut Held<'_>,
) -> Result<Bytes, Refusal> {
    let limit = shared.options.max_body;
    let too_large = || {
        Refusal::new(413, format!("the body has more than {limit} bytes"))
            .hint(shared.service.words().smaller)
    };
    let said = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|length| length > limit) {
        // Whoever asks before sending has sent nothing, and need not.
        if !headers.contains_key(EXPECT) {
            drain(body).await;
        }
        return Err(too_large());
    }
    let deadline = Instant::now() + shared.options.timeout;
    let mut bytes = Vec::with_capacity(said.unwrap_or(0).min(1 << 20) as usize);
    loop {
        let frame = timeout_at(deadline, body.frame()).await;
        let frame = frame.map_err(|_| Refusal::new(408, "the body did not come in time"))?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| Refusal::new(400, format!("the body broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if held.add(data.len() as u64) > shared.options.max_held {
            drain(body).await;
            return Err(Refusal::new(503, "too many bodies at once").hint("try again in a second"));
        }
        if (bytes.len() + data.len()) as u64 > limit {
            drain(body).await;
            return Err(too_large());
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.into())
}

/// Reads on for a moment: whoever is cut off while sending does not read the answer.
async fn drain(mut body: Incoming) {
    let mut left = DRAINED;
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64));
            if left == 0 || body.is_end_stream() {
                break;
            }
        }
    };
    let _ = timeout(DRAINING, reading).await;
}

/// The files among the parts of a form; its other fields are wishes, as in a query.
async fn parts<S: Service>(
    shared: &Shared<S>,
    bytes: Bytes,
    boundary: String,
    query: &mut Vec<(String, String)>,
) -> Result<Vec<Item>, Refusal> {
    let refused = |error: multer::Error| Refusal::new(400, format!("multipart: {error}"));
    let mut form = multer::Multipart::new(BodyDataStream::new(Full::new(bytes)), boundary);
    let mut items = Vec::new();
    while let Some(field) = form.next_field().await.map_err(refused)? {
        let media = field.content_type().map(|media| media.essence_str().to_ascii_lowercase());
        let (file, name) = (field.file_name().map(str::to_owned), field.name().map(str::to_owned));
        if file.is_none() && media.is_none() {
            let value = field.text().await.map_err(refused)?;
            query.extend(name.map(|name| (name, value)));
            continue;
        }
        let place = items.len() + 1;
        let name = file.filter(|file| !file.is_empty()).or(name).unwrap_or_else(|| place.to_string());
        if !shared.service.takes(media.as_deref()) {
            return Err(unsupported(media.as_deref().unwrap_or("nothing"), shared));
        }
        items.push(Item { name, media, bytes: field.bytes().await.map_err(refused)? });
    }
    Ok(items)
}

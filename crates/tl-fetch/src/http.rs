//! HTTP(S) GET into a file, resumable.
//!
//! Until it is complete a file is `NAME.part`; `NAME.part.json` says what it is a part of. It is gone on with only if
//! that can be checked: by a validator of the server (`ETag`, `Last-Modified`) or by the sha256 of the whole.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use ureq::http::{HeaderMap, Response, Uri, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use crate::disk::{beside, parent_of};
use crate::error::shown;
use crate::{FetchError, Fetched, Lock, Observer, Progress, sha256_file, write_whole};

/// How long to go on trying.
struct Patience {
    /// Attempts in a row that brought not one new byte.
    fruitless: u32,
    /// The pause after the first of them; it doubles.
    pause: Duration,
    /// The longest silence of a server.
    idle: Duration,
}

const PATIENCE: Patience =
    Patience { fruitless: 4, pause: Duration::from_millis(500), idle: Duration::from_secs(30) };
/// However much each attempt brings.
const MOST_ATTEMPTS: u32 = 100;
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(15);

/// Downloads `url` to `dest` and returns what came.
///
/// A `dest` that has the wanted `sha256` already is returned as it is, without a request. A dropped connection is taken
/// up again where it broke, here or in a later process. Proxies are read from `HTTPS_PROXY`, `ALL_PROXY` and
/// `NO_PROXY`, certificates from the system or `SSL_CERT_FILE`.
///
/// # Errors
/// When the server refuses, cannot be reached or keeps dropping the connection, or when the bytes are not those asked
/// for. Then nothing lies at `dest` that was not there before.
pub fn http(
    url: &str,
    dest: &Path,
    sha256: Option<&str>,
    observe: Observer<'_>,
) -> Result<Fetched, FetchError> {
    get(url, dest, sha256, observe, &PATIENCE)
}

/// Asks `url` for its headers only and returns the HTTP status, whatever it is; a check that a host can be reached.
///
/// # Errors
/// When no answer comes within `timeout`.
pub fn reachable(url: &str, timeout: Duration) -> Result<u16, FetchError> {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(timeout))
        .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
        .proxy(proxy_for(url))
        .build();
    match config.new_agent().head(url).call() {
        Ok(response) => Ok(response.status().as_u16()),
        Err(source) => Err(FetchError::Offline { url: shown(url), source: Box::new(source) }),
    }
}

fn get(
    url: &str,
    dest: &Path,
    sha256: Option<&str>,
    observe: Observer<'_>,
    patience: &Patience,
) -> Result<Fetched, FetchError> {
    parent_of(dest)?;
    let part = beside(dest, ".part");
    let _lock = Lock::acquire(&beside(&part, ".lock"), &|| ())?;
    if let Some(expected) = sha256
        && dest.is_file()
    {
        let there = Fetched::of(dest)?;
        if there.sha256.eq_ignore_ascii_case(expected) {
            return Ok(there);
        }
    }
    let mut transfer = Transfer::new(url, dest, part, sha256, observe, patience);
    transfer.run(patience)?;
    let mut got = sha256_file(&transfer.part)?;
    if sha256.is_some_and(|s| !s.eq_ignore_ascii_case(&got)) && transfer.resumed {
        // The piece from an earlier attempt may be what is wrong.
        transfer.start_over()?;
        transfer.run(patience)?;
        got = sha256_file(&transfer.part)?;
    }
    if let Some(expected) = sha256
        && !expected.eq_ignore_ascii_case(&got)
    {
        transfer.start_over()?;
        return Err(FetchError::Sha256 { what: shown(url), expected: expected.to_owned(), got });
    }
    transfer.settle(dest)?;
    observe(Progress::Finish);
    Ok(Fetched { path: dest.to_owned(), sha256: got, bytes: transfer.at })
}

/// What a `.part` file is a part of.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Origin {
    url: String,
    sha256: Option<String>,
    etag: Option<String>,
    modified: Option<String>,
    total: Option<u64>,
}

/// Why an attempt ended early.
enum Failure {
    Fatal(FetchError),
    Retry { error: FetchError, after: Option<Duration> },
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        Self::Fatal(error)
    }
}

fn retry(error: FetchError) -> Failure {
    Failure::Retry { error, after: None }
}

struct Transfer<'a> {
    url: &'a str,
    what: String,
    part: PathBuf,
    sidecar: PathBuf,
    origin: Origin,
    /// Bytes in `part`.
    at: u64,
    /// Whether some of them came with an earlier request.
    resumed: bool,
    attempts: u32,
    observe: Observer<'a>,
    agent: Agent,
    idle: Duration,
}

impl<'a> Transfer<'a> {
    fn new(
        url: &'a str,
        dest: &Path,
        part: PathBuf,
        sha256: Option<&str>,
        observe: Observer<'a>,
        patience: &Patience,
    ) -> Self {
        let sidecar = beside(&part, ".json");
        let (address, sha256) = (shown(url), sha256.map(str::to_ascii_lowercase));
        let earlier = fs::read(&sidecar).ok().and_then(|bytes| serde_json::from_slice::<Origin>(&bytes).ok());
        let here = fs::metadata(&part).map_or(0, |m| m.len());
        let fresh = Origin { url: address, sha256, ..Origin::default() };
        let (origin, at) = match earlier {
            Some(o) if o.url == fresh.url && o.sha256 == fresh.sha256 && can_check(&o) => (o, here),
            _ => (fresh, 0),
        };
        let what = dest.file_name().unwrap_or(dest.as_os_str()).to_string_lossy().into_owned();
        let agent = agent(url, RootCerts::PlatformVerifier, patience.idle);
        Self {
            url,
            what,
            part,
            sidecar,
            origin,
            at,
            resumed: at > 0,
            attempts: 0,
            observe,
            agent,
            idle: patience.idle,
        }
    }

    /// Attempts until `part` is complete.
    fn run(&mut self, patience: &Patience) -> Result<(), FetchError> {
        let (mut furthest, mut fruitless) = (self.at, 0);
        loop {
            self.attempts += 1;
            let (error, after) = match self.attempt() {
                Ok(()) => return Ok(()),
                Err(Failure::Fatal(error)) => return Err(error),
                Err(Failure::Retry { error, after }) => (error, after),
            };
            fruitless = if self.at > furthest { 0 } else { fruitless + 1 };
            furthest = furthest.max(self.at);
            if fruitless >= patience.fruitless || self.attempts >= MOST_ATTEMPTS {
                return Err(error);
            }
            let pause = after.unwrap_or(patience.pause * 2u32.saturating_pow(fruitless.saturating_sub(1)));
            std::thread::sleep(pause.min(LONGEST_PAUSE));
        }
    }

    /// One request: brings `part` as far as the connection holds.
    fn attempt(&mut self) -> Result<(), Failure> {
        if self.at > 0 && self.origin.total == Some(self.at) {
            self.announce();
            return Ok(());
        }
        if self.at > 0 && !can_check(&self.origin) {
            self.start_over()?;
        }
        let response = self.request()?;
        match response.status().as_u16() {
            200 => self.begin(response.headers())?,
            206 => self.go_on(response.headers())?,
            416 if complete_length(response.headers()) == Some(self.at) => return Ok(()),
            416 => {
                self.start_over()?;
                return Err(retry(FetchError::Status { url: shown(self.url), status: 416 }));
            }
            status => return Err(refusal(shown(self.url), status, response.headers())),
        }
        self.body(response)
    }

    fn request(&mut self) -> Result<Response<Body>, Failure> {
        let mut roots_left = true;
        loop {
            let mut request = self.agent.get(self.url);
            if self.at > 0 {
                request = request.header(header::RANGE, format!("bytes={}-", self.at));
                let strong = self.origin.etag.as_deref().filter(|tag| !tag.starts_with("W/"));
                if let Some(validator) = strong.or(self.origin.modified.as_deref()) {
                    request = request.header(header::IF_RANGE, validator);
                }
            }
            match request.call() {
                // A system without any certificates: use those that are built in.
                Err(ureq::Error::Rustls(_)) if roots_left => {
                    roots_left = false;
                    self.agent = agent(self.url, RootCerts::WebPki, self.idle);
                }
                Err(error) => return Err(self.dropped(error)),
                Ok(response) => return Ok(response),
            }
        }
    }

    fn dropped(&self, source: ureq::Error) -> Failure {
        let (url, at, attempts) = (shown(self.url), self.at, self.attempts);
        let passing = match &source {
            ureq::Error::Io(e) => e.kind() != std::io::ErrorKind::InvalidData,
            ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed | ureq::Error::Protocol(_) => true,
            _ => false,
        };
        let bad_address =
            matches!(source, ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::InvalidProxyUrl);
        let source = Box::new(source);
        match (passing, at) {
            (true, 0) => retry(FetchError::Offline { url, source }),
            (true, _) => retry(FetchError::Dropped { url, at, attempts, source }),
            (false, _) if bad_address => FetchError::Url { url, source }.into(),
            (false, _) => FetchError::Offline { url, source }.into(),
        }
    }

    /// The whole file comes: whatever is here is replaced.
    fn begin(&mut self, headers: &HeaderMap) -> Result<(), FetchError> {
        self.start_over()?;
        self.origin.etag = text(headers, header::ETAG);
        self.origin.modified = text(headers, header::LAST_MODIFIED);
        self.origin.total = text(headers, header::CONTENT_LENGTH).and_then(|n| n.parse().ok());
        let sidecar = serde_json::to_vec(&self.origin).unwrap_or_default();
        write_whole(&self.sidecar, &sidecar)?;
        self.announce();
        Ok(())
    }

    fn announce(&self) {
        (self.observe)(Progress::Start { what: &self.what, total: self.origin.total, at: self.at });
    }

    /// The rest comes, if it is the rest of what is here.
    fn go_on(&mut self, headers: &HeaderMap) -> Result<(), Failure> {
        let starts = text(headers, header::CONTENT_RANGE)
            .and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok());
        let etag = text(headers, header::ETAG);
        let changed = etag.is_some() && self.origin.etag.is_some() && etag != self.origin.etag;
        let total = complete_length(headers);
        let resized = total.is_some() && self.origin.total.is_some() && total != self.origin.total;
        if starts != Some(self.at) || changed || resized {
            self.start_over()?;
            return Err(retry(FetchError::Status { url: shown(self.url), status: 206 }));
        }
        self.origin.total = self.origin.total.or(total);
        self.resumed = true;
        self.announce();
        Ok(())
    }

    fn body(&mut self, response: Response<Body>) -> Result<(), Failure> {
        let error = |e| FetchError::io("write", &self.part, e);
        let mut file = File::options().create(true).append(true).open(&self.part).map_err(error)?;
        let mut body = response.into_body().into_with_config().limit(u64::MAX).reader();
        let mut buffer = vec![0; 1 << 17];
        loop {
            match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => {
                    file.write_all(&buffer[..n]).map_err(|e| FetchError::io("write", &self.part, e))?;
                    self.at += n as u64;
                    (self.observe)(Progress::Advance { at: self.at });
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.cut_short(e)),
            }
        }
        match self.origin.total {
            Some(expected) if expected != self.at => {
                Err(retry(FetchError::Length { url: shown(self.url), expected, got: self.at }))
            }
            _ => Ok(()),
        }
    }

    fn cut_short(&self, error: std::io::Error) -> Failure {
        match (error.kind(), self.origin.total) {
            // A server that closes politely too early lied about the length.
            (std::io::ErrorKind::UnexpectedEof, Some(expected)) => {
                retry(FetchError::Length { url: shown(self.url), expected, got: self.at })
            }
            _ => {
                let source = Box::new(ureq::Error::from(error));
                let (url, at, attempts) = (shown(self.url), self.at, self.attempts);
                retry(FetchError::Dropped { url, at, attempts, source })
            }
        }
    }

    fn start_over(&mut self) -> Result<(), FetchError> {
        for path in [&self.part, &self.sidecar] {
            match fs::remove_file(path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(FetchError::io("remove", path, e));
                }
                _ => {}
            }
        }
        let Origin { url, sha256, .. } = std::mem::take(&mut self.origin);
        self.origin = Origin { url, sha256, ..Origin::default() };
        self.at = 0;
        self.resumed = false;
        Ok(())
    }

    /// Gives the complete file its name.
    fn settle(&self, dest: &Path) -> Result<(), FetchError> {
        let error = |e| FetchError::io("write", dest, e);
        let file = File::options().append(true).create(true).open(&self.part).map_err(error)?;
        file.sync_all().map_err(error)?;
        fs::rename(&self.part, dest).map_err(error)?;
        // It only describes the part; a stale one is recognised.
        let _ = fs::remove_file(&self.sidecar);
        Ok(())
    }
}

/// Whether what is added to a part can be told to belong to it.
fn can_check(origin: &Origin) -> bool {
    origin.etag.is_some() || origin.modified.is_some() || origin.sha256.is_some()
}

fn refusal(url: String, status: u16, headers: &HeaderMap) -> Failure {
    match status {
        401 | 403 => FetchError::Denied { url, status }.into(),
        404 | 410 => FetchError::Missing { url, status }.into(),
        408 | 425 | 429 | 500..=599 => {
            let after =
                text(headers, header::RETRY_AFTER).and_then(|s| s.parse().ok()).map(Duration::from_secs);
            Failure::Retry { error: FetchError::Status { url, status }, after }
        }
        _ => FetchError::Status { url, status }.into(),
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// The length of the whole file according to `Content-Range`.
fn complete_length(headers: &HeaderMap) -> Option<u64> {
    text(headers, header::CONTENT_RANGE)?.rsplit('/').next()?.parse().ok()
}

fn agent(url: &str, roots: RootCerts, idle: Duration) -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .user_agent(concat!("transfer-learning/", env!("CARGO_PKG_VERSION")))
        // A length in bytes of the file, not of its compressed form.
        .accept_encoding("identity")
        .timeout_connect(Some(CONNECT))
        .timeout_per_read(Some(idle))
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .proxy(proxy_for(url))
        .build()
        .new_agent()
}

/// The proxy of the environment; none for this very machine.
fn proxy_for(url: &str) -> Option<ureq::Proxy> {
    let uri: Uri = url.parse().ok()?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if here { None } else { ureq::Proxy::try_from_env() }
}

#[cfg(test)]
mod tests;

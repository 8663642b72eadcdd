//! The Hugging Face hub. The decision: the `hf-hub` crate says where things are (addresses, and the cache that is
//! shared with Python), but the bytes come through `tl-fetch`: `hf-hub`'s own client has no time-outs, ignores
//! `HF_TOKEN` and `HF_HUB_OFFLINE`, and panics on some answers.
//!
//! A request without redirects comes first. It carries the token, and its answer names the commit, the sha256 and the
//! address of the bytes, which is on another host, already signed, and never sees the token.

use std::env;
use std::fs;
use std::io::{ErrorKind, Read};
use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use hf_hub::api::sync::ApiBuilder;
use hf_hub::{CacheRepo, Repo, RepoType};
use tl_fetch::{Observer, Progress};
use ureq::http::{HeaderMap, Response, Uri};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use crate::error::{WeightsError, io_error};
use crate::whole::{Existing, Whole};

const CONNECT: Duration = Duration::from_secs(15);
const SILENCE: Duration = Duration::from_secs(30);
/// How often the first request is made, and the pause in between.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);
const MAX_REDIRECTS: usize = 5;

/// How the hub is reached.
#[derive(Clone, Debug)]
pub(crate) struct Hub {
    /// `None`: the public one.
    pub(crate) endpoint: Option<String>,
    /// `hub` in `$HF_HOME`; `None` on a machine without a home folder.
    pub(crate) cache: Option<hf_hub::Cache>,
    pub(crate) token: Option<String>,
    pub(crate) offline: bool,
    /// The longest silence that is waited for, where the bytes do not come through `tl-fetch`.
    pub(crate) silence: Duration,
}

/// What the hub says about a file.
struct Answer {
    /// Where the bytes are.
    url: String,
    /// Whether that is a place that wants the token.
    authorize: bool,
    commit: Option<String>,
    /// Names the content in the cache.
    etag: Option<String>,
    /// Known of large files, whose etag it is.
    sha256: Option<String>,
    /// The length of the file.
    size: Option<u64>,
}

impl Hub {
    pub(crate) fn from_env() -> Self {
        Self::from_vars(&|name| env::var(name).ok())
    }

    fn from_vars(var: &dyn Fn(&str) -> Option<String>) -> Self {
        let set = |name| var(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let cache = match set("HF_HOME") {
            Some(home) => Some(hf_hub::Cache::new(PathBuf::from(home).join("hub"))),
            // Its default panics where there is no home folder.
            None => env::home_dir().map(|_| hf_hub::Cache::default()),
        };
        let token = set("HF_TOKEN").or_else(|| cache.as_ref()?.token());
        let yes = |value: String| matches!(value.to_ascii_lowercase().as_str(), "1" | "on" | "yes" | "true");
        let offline = set("HF_HUB_OFFLINE").is_some_and(yes);
        Self { endpoint: set("HF_ENDPOINT"), cache, token, offline, silence: SILENCE }
    }

    /// The file in the hub's cache, if it is there.
    pub(crate) fn cached(&self, repo: &str, revision: &str, file: &str) -> Option<PathBuf> {
        let cache = self.repo(repo, revision)?;
        if !stays_inside(file) {
            return None;
        }
        if is_commit(revision) { Some(cache.pointer_path(revision).join(file)) } else { cache.get(file) }
            .filter(|path| path.is_file())
    }

    /// Downloads the file into the hub's cache; to `own` where the hub does not say enough for that.
    pub(crate) fn fetch(
        &self,
        repo: &str,
        revision: &str,
        file: &str,
        own: &Path,
        observe: Observer<'_>,
    ) -> Result<PathBuf, WeightsError> {
        let refused = |what: &str, hint: &str| WeightsError::Hub {
            repo: repo.into(),
            file: file.into(),
            what: what.into(),
            hint: hint.into(),
            absent: false,
        };
        if !stays_inside(file) || !stays_inside(repo) {
            return Err(refused("the name leads out of its folder", "check the name"));
        }
        if self.offline {
            let hint = "unset `HF_HUB_OFFLINE`, or give the path of a file that is on this machine";
            return Err(refused("`HF_HUB_OFFLINE` is set, and the file is not in the cache", hint));
        }
        let url = self.url(repo, revision, file).map_err(|what| refused(&what, "check `HF_ENDPOINT`"))?;
        let answer = self.ask(&url, &|what, hint| refused(&what, &hint))?;
        let download = |dest: &Path| {
            let failed = |source| {
                let wanted = format!("hub {repo}@{revision}: {file}");
                WeightsError::Fetch { wanted, source: Box::new(source) }
            };
            let got = match (answer.authorize, &self.token) {
                (true, Some(token)) => self.download_with(token, &answer, dest, observe, &refused)?,
                _ => {
                    let fetched = tl_fetch::http(&answer.url, dest, answer.sha256.as_deref(), observe);
                    fetched.map_err(failed)?.bytes
                }
            };
            // Of small files the hub tells no sha256, so their length is all that there is to check.
            match answer.size {
                Some(size) if size != got => {
                    let _ = fs::remove_file(dest);
                    Err(refused(&format!("it announced {size} bytes, and sent {got}"), "try again later"))
                }
                _ => Ok(()),
            }
        };

        let cache = self.repo(repo, revision);
        let (Some(cache), Some(commit), Some(etag)) = (cache, &answer.commit, &answer.etag) else {
            download(own)?;
            return Ok(own.to_owned());
        };
        let blob = cache.blob_path(etag);
        download(&blob)?;
        let pointer = cache.pointer_path(commit).join(file);
        point(&pointer, &blob, Path::new(file).components().count() + 1)?;
        if !is_commit(revision) {
            cache.create_ref(commit).map_err(io_error("write", &pointer))?;
        }
        Ok(pointer)
    }

    fn repo(&self, repo: &str, revision: &str) -> Option<CacheRepo> {
        let repo = Repo::with_revision(repo.into(), RepoType::Model, revision.into());
        stays_inside(revision).then(|| self.cache.as_ref().map(|cache| cache.repo(repo)))?
    }

    fn url(&self, repo: &str, revision: &str, file: &str) -> Result<String, String> {
        // The cache is not used by this call; without one the builder would look for a home folder.
        let mut builder = ApiBuilder::from_cache(hf_hub::Cache::new(PathBuf::new())).with_progress(false);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
        }
        let api = builder.build().map_err(|error| error.to_string())?;
        let repo = Repo::with_revision(repo.into(), RepoType::Model, revision.into());
        let url = api.repo(repo).url(file);
        url.parse::<Uri>().map_err(|error| format!("`{url}` is no address: {error}"))?;
        Ok(url)
    }

    /// The first request.
    fn ask(
        &self,
        url: &str,
        refused: &dyn Fn(String, String) -> WeightsError,
    ) -> Result<Answer, WeightsError> {
        let mut url = url.to_owned();
        let (mut commit, mut etag, mut sha256, mut size) = (None, None, None, None);
        for _ in 0..MAX_REDIRECTS {
            let response = self.head(&url).map_err(|error| {
                let hint = "is this machine online? `HF_ENDPOINT` names a mirror, `HTTPS_PROXY` a proxy; \
                            a file that is on this machine can be given by its path";
                refused(format!("cannot reach the hub ({error})"), hint.into())
            })?;
            let headers = response.headers();
            commit = commit.or_else(|| header(headers, "x-repo-commit").filter(|commit| is_commit(commit)));
            let linked = header(headers, "x-linked-etag").and_then(|tag| plain_etag(&tag));
            sha256 = linked.clone().filter(|tag| tag.len() == 64).or(sha256);
            etag = linked.or(etag);
            let length = |name| header(headers, name).and_then(|n| n.parse().ok()).filter(|&n| n > 0);
            size = length("x-linked-size").or(size);
            let status = response.status();
            if status.is_success() {
                size = size.or_else(|| length("content-length"));
                etag = etag.or_else(|| header(headers, "etag").and_then(|tag| plain_etag(&tag)));
            }
            // 405, 501: a mirror that does not know the method. The download will show what is there.
            if status.is_success() || matches!(status.as_u16(), 405 | 501) {
                return Ok(Answer { url, authorize: self.token.is_some(), commit, etag, sha256, size });
            }
            if !status.is_redirection() {
                let (what, hint) = self.explain(status.as_u16(), headers);
                let mut error = refused(what, hint);
                let code = header(headers, "x-error-code");
                if let WeightsError::Hub { absent, .. } = &mut error {
                    // Mirrors say no code.
                    *absent = status.as_u16() == 404 && code.is_none_or(|code| code == "EntryNotFound");
                }
                return Err(error);
            }
            let Some(location) = header(headers, "location") else { break };
            match location.strip_prefix('/').filter(|rest| !rest.starts_with('/')) {
                Some(_) => url = format!("{}{location}", origin(&url)),
                // On this very host, too: it is still ours to ask.
                None if origin(&location) == origin(&url) => url = location,
                None => return Ok(Answer { url: location, authorize: false, commit, etag, sha256, size }),
            }
        }
        Err(refused("it sends from one address to the next".into(), "check `HF_ENDPOINT`".into()))
    }

    fn explain(&self, status: u16, headers: &HeaderMap) -> (String, String) {
        let code = header(headers, "x-error-code").unwrap_or_default();
        let what = match (code.as_str(), status) {
            ("GatedRepo", _) => "its owner wants a licence to be accepted first".into(),
            ("EntryNotFound", _) => "the repository has no such file".into(),
            ("RevisionNotFound", _) => "the repository has no such revision".into(),
            ("RepoNotFound", _) => "the repository does not exist, or is private".into(),
            (_, 401 | 403) => format!("access is denied (HTTP {status})"),
            (_, 404) => "the repository or the file does not exist (HTTP 404)".into(),
            _ => format!("it answers HTTP {status}"),
        };
        let hint = match (status, &self.token) {
            (401 | 403, None) if code == "RepoNotFound" => {
                "check the name; for a private repository set `HF_TOKEN` to a token of yours"
            }
            (401 | 403, None) => {
                "log in where it is published, accept its licence, and set `HF_TOKEN` to a token of yours"
            }
            (401 | 403, Some(_)) => {
                "the token in `HF_TOKEN` may not read it: accept the licence, or use another token"
            }
            (404, _) => "check the names of repository, revision and file",
            _ => "try again later",
        };
        (what, hint.into())
    }

    fn head(&self, url: &str) -> Result<Response<Body>, ureq::Error> {
        let mut failures = 0;
        let mut agent = agent(url, RootCerts::PlatformVerifier, self.silence);
        loop {
            let mut request = agent.head(url);
            if let Some(token) = &self.token {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            failures += 1;
            match request.call() {
                Ok(response) if failures < ATTEMPTS && is_passing(response.status().as_u16()) => {}
                Err(ureq::Error::Io(_) | ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed)
                    if failures < ATTEMPTS => {}
                // A system without any certificates: use those that are built in.
                Err(ureq::Error::Rustls(_)) if failures < ATTEMPTS => {
                    agent = self::agent(url, RootCerts::WebPki, self.silence)
                }
                done => return done,
            }
            std::thread::sleep(PAUSE * failures);
        }
    }

    /// A download that needs the token: small files of closed repositories, so without taking up where it broke off.
    /// Returns the length.
    fn download_with(
        &self,
        token: &str,
        answer: &Answer,
        dest: &Path,
        observe: Observer<'_>,
        refused: &dyn Fn(&str, &str) -> WeightsError,
    ) -> Result<u64, WeightsError> {
        let failed = |what: String| refused(&what, "try again");
        let request = agent(&answer.url, RootCerts::PlatformVerifier, self.silence).get(&answer.url);
        let response = request.header("authorization", format!("Bearer {token}")).call();
        let response = response.map_err(|error| failed(error.to_string()))?;
        if !response.status().is_success() {
            let (what, hint) = self.explain(response.status().as_u16(), response.headers());
            return Err(refused(&what, &hint));
        }
        let total = header(response.headers(), "content-length").and_then(|n| n.parse().ok());
        let folder = dest.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(io_error("make", folder))?;
        let mut out = Whole::begin(dest)?;
        let what = dest.file_name().unwrap_or_default().to_string_lossy();
        observe(Progress::Start { what: &what, total, at: 0 });
        let mut body = response.into_body().into_with_config().limit(u64::MAX).reader();
        let mut buffer = vec![0; 1 << 17];
        loop {
            match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => {
                    out.write(&buffer[..n])?;
                    observe(Progress::Advance { at: out.bytes() });
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(failed(format!("the download broke off at byte {} ({error})", out.bytes())));
                }
            }
        }
        if total.is_some_and(|total| total != out.bytes()) {
            return Err(failed(format!("the download broke off at byte {}", out.bytes())));
        }
        if let Some(expected) = &answer.sha256
            && !expected.eq_ignore_ascii_case(&out.sha256())
        {
            return Err(failed(format!("what came has sha256 `{}`, not `{expected}`", out.sha256())));
        }
        let written = out.settle(Existing::Replace)?;
        observe(Progress::Finish);
        Ok(written.bytes)
    }
}

/// Makes `pointer` a link to `blob`, as the hub's cache has it: relative, so that the cache can be moved as a whole.
/// `up` is the number of folders between them.
fn point(pointer: &Path, blob: &Path, up: usize) -> Result<(), WeightsError> {
    let failed = || io_error("write", pointer);
    let folder = pointer.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(failed())?;
    if fs::canonicalize(pointer).is_ok_and(|there| fs::canonicalize(blob).is_ok_and(|blob| blob == there)) {
        return Ok(());
    }
    // Made beside its place and renamed: another process never sees it missing.
    let fresh = tempfile::Builder::new().prefix(".link-").tempdir_in(folder).map_err(failed())?;
    let link = fresh.path().join("link");
    #[cfg(unix)]
    {
        let name = blob.file_name().unwrap_or_default();
        let target = PathBuf::from("../".repeat(up)).join("blobs").join(name);
        std::os::unix::fs::symlink(target, &link).map_err(failed())?;
    }
    #[cfg(not(unix))]
    {
        let _ = up;
        fs::copy(blob, &link).map_err(failed())?;
    }
    fs::rename(&link, pointer).map_err(failed())
}

fn agent(url: &str, roots: RootCerts, silence: Duration) -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("transfer-learning/", env!("CARGO_PKG_VERSION")))
        .accept_encoding("identity")
        .timeout_connect(Some(CONNECT))
        .timeout_per_read(Some(silence))
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .proxy(if is_here(url) { None } else { ureq::Proxy::try_from_env() })
        .build()
        .new_agent()
}

/// Whether `url` is on this very machine.
fn is_here(url: &str) -> bool {
    let uri: Option<Uri> = url.parse().ok();
    let host = uri.as_ref().and_then(Uri::host).unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502..=504)
}

/// `https://host:port` of `url`.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |at| host + at);
    &url[..end]
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// An etag that is fit to be a file name.
fn plain_etag(tag: &str) -> Option<String> {
    let tag = tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"');
    let plain = tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (plain && (8..=128).contains(&tag.len())).then(|| tag.to_owned())
}

fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn stays_inside(path: &str) -> bool {
    !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests;

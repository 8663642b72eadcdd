//! Everything that can go wrong on the way of a file to this machine.
//!
//! URLs are shown without user names, passwords and query strings, because errors end up in logs and issues.

use std::path::{Path, PathBuf};

/// A file did not arrive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Neither `TL_HOME` nor `XDG_CACHE_HOME` nor `HOME` is set.
    #[error("no home folder for downloads: `HOME` is not set\n\nhint: set `TL_HOME` to a folder")]
    NoHome,
    /// The host cannot be reached at all.
    #[error("cannot reach `{url}`\n\nhint: is this machine online? a proxy is read from `HTTPS_PROXY`")]
    Offline {
        /// The address.
        url: String,
        /// What the network said.
        #[source]
        source: Box<ureq::Error>,
    },
    /// 401 or 403.
    #[error(
        "`{url}` needs permission (HTTP {status})\n\nhint: log in, or accept the licence where it is published"
    )]
    Denied {
        /// The address.
        url: String,
        /// 401 or 403.
        status: u16,
    },
    /// 404 or 410.
    #[error("`{url}` does not exist (HTTP {status})")]
    Missing {
        /// The address.
        url: String,
        /// 404 or 410.
        status: u16,
    },
    /// Any other status that is no success.
    #[error("`{url}` answered HTTP {status}")]
    Status {
        /// The address.
        url: String,
        /// The status.
        status: u16,
    },
    /// The connection dropped again and again.
    #[error(
        "`{url}` stopped at byte {at} after {attempts} attempts\n\nhint: run it again, it goes on from there"
    )]
    Dropped {
        /// The address.
        url: String,
        /// Bytes that are here.
        at: u64,
        /// How often it was tried.
        attempts: u32,
        /// What the network said last.
        #[source]
        source: Box<ureq::Error>,
    },
    /// The server sent another number of bytes than it announced.
    #[error("`{url}` sent {got} bytes, but announced {expected}")]
    Length {
        /// The address.
        url: String,
        /// What was announced.
        expected: u64,
        /// What came.
        got: u64,
    },
    /// The bytes are not those that were asked for.
    #[error("`{what}` has sha256 `{got}`, expected `{expected}`")]
    Sha256 {
        /// The address or the file.
        what: String,
        /// What was asked for.
        expected: String,
        /// What came.
        got: String,
    },
    /// The address cannot be used.
    #[error("`{url}` is no address to download from")]
    Url {
        /// The address.
        url: String,
        /// What is wrong with it.
        #[source]
        source: Box<ureq::Error>,
    },
    /// A file could not be read, written, moved or locked.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was attempted: a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// An archive is damaged.
    #[error("`{path}` is no readable zip archive")]
    Zip {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: zip::result::ZipError,
    },
    /// An archive wants to write outside its folder, or holds a link or the like.
    #[error("`{path}` holds `{member}`, {why}: refused")]
    Unsafe {
        /// The archive.
        path: PathBuf,
        /// The member, shortened.
        member: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Not an archive of a kind that is known.
    #[error("`{path}` is no zip, tar or tar.gz archive")]
    NoArchive {
        /// The file.
        path: PathBuf,
    },
    /// An archive holds more than it honestly can, or than is wanted.
    #[error("`{path}` holds more than {files} files or {bytes} bytes: refused")]
    TooLarge {
        /// The archive.
        path: PathBuf,
        /// Most files.
        files: u64,
        /// Most bytes.
        bytes: u64,
    },
    /// There is no Python that has pip.
    #[error(
        "no Python with pip ({tried})\n\nhint: install one (Debian, Ubuntu: `apt install python3-pip`; \
         macOS: `brew install python`), or set `PYTHON` to one"
    )]
    NoPython {
        /// What was tried and why it does not do.
        tried: String,
    },
    /// pip could not get a package.
    #[error("pip cannot get `{requirement}`: {detail}\n\nhint: {hint}")]
    Pip {
        /// The package, as pip was asked for it.
        requirement: String,
        /// pip's last words.
        detail: String,
        /// What can be done.
        hint: &'static str,
    },
}

/// What is wrong with a member that must not be written.
pub(crate) const LEADS_OUT: &str = "which is a link or leads out of its folder";

/// A member's name as it may be shown: archives of unknown origin hold names of any length, with anything in them.
pub(crate) fn shortened(member: &str) -> String {
    const SHOWN: usize = 100;
    let shown: String = member.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if member.chars().nth(SHOWN).is_some() { shown + "…" } else { shown }
}

/// pip's hint when it cannot reach its index.
pub(crate) const NO_INDEX: &str =
    "is this machine online? pip reads a proxy from `HTTPS_PROXY` and an index from its configuration";

impl FetchError {
    /// Whether nothing could be reached: another source elsewhere will hardly do better.
    pub fn is_offline(&self) -> bool {
        match self {
            Self::Offline { .. } => true,
            Self::Pip { hint, .. } => *hint == NO_INDEX,
            _ => false,
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }
}

/// `url` as it may be shown: no user, no password, no query.
pub(crate) fn shown(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or(url);
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            if path.is_empty() { format!("{scheme}://{host}") } else { format!("{scheme}://{host}/{path}") }
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn secrets_are_not_shown() {
        assert_eq!(shown("https://me:secret@host.test/a/b.bin?token=1#x"), "https://host.test/a/b.bin");
        assert_eq!(shown("http://127.0.0.1:8080"), "http://127.0.0.1:8080");
        assert_eq!(shown("http://host/a@b"), "http://host/a@b");
    }
}

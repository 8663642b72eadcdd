//! What is wrong with the folders of a dataset, files aside.
//!
//! The one decision: the walk follows links as opening a dataset does, and says what that passes over in
//! silence: links in a loop, and images whose names do not end like one.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::report::{Finding, Involved, Problem};
use crate::folder::EXTENSIONS;
use crate::inspect::Format;

/// The findings below a folder.
pub(super) fn findings(root: &Path) -> Vec<Finding> {
    let mut walk = Walk { entered: BTreeSet::new(), inside: Vec::new(), findings: Vec::new() };
    walk.folder(root, "");
    walk.findings
}

struct Walk {
    /// Every folder entered so far, links resolved.
    entered: BTreeSet<PathBuf>,
    /// The folders from the root down to the present one, links resolved.
    inside: Vec<PathBuf>,
    findings: Vec<Finding>,
}

impl Walk {
    fn report(&mut self, rel: &str, problem: Problem) {
        let rel = if rel.is_empty() { "." } else { rel };
        let file = Involved { rel: rel.to_owned(), part: None, class: None };
        self.findings.push(Finding::new(problem, vec![file], Vec::new()));
    }

    fn folder(&mut self, dir: &Path, rel: &str) {
        let listed = dir.canonicalize().and_then(|real| {
            let entries = fs::read_dir(dir)?.collect::<std::io::Result<Vec<_>>>()?;
            Ok((real, entries.into_iter().map(|entry| entry.file_name()).collect::<BTreeSet<_>>()))
        });
        let (real, names) = match listed {
            Ok(listed) => listed,
            Err(error) => return self.report(rel, Problem::Unreadable { reason: error.to_string() }),
        };
        if self.inside.iter().any(|outer| outer.starts_with(&real)) {
            return self.report(rel, Problem::LinkLoop);
        }
        if !self.entered.insert(real.clone()) {
            return;
        }
        self.inside.push(real);
        for name in names.iter().filter(|name| !is_hidden(name)) {
            let path = dir.join(name);
            let rel = if rel.is_empty() { escaped(name) } else { format!("{rel}/{}", escaped(name)) };
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => self.folder(&path, &rel),
                Ok(metadata) if metadata.is_file() => self.file(&path, &rel),
                Ok(_) => {}
                Err(error) if fs::symlink_metadata(&path).is_ok_and(|link| link.is_symlink()) => {
                    // A link to itself is a loop, too, but one that the system notices.
                    let missing = error.kind() == std::io::ErrorKind::NotFound;
                    self.report(&rel, if missing { Problem::BrokenLink } else { Problem::LinkLoop });
                }
                Err(error) => self.report(&rel, Problem::Unreadable { reason: error.to_string() }),
            }
        }
        self.inside.pop();
    }

    /// Files that are images by their names are looked at elsewhere.
    fn file(&mut self, path: &Path, rel: &str) {
        let extension = path.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase);
        if extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str())) {
            return;
        }
        let mut start = Vec::new();
        let read = File::open(path).and_then(|file| file.take(64).read_to_end(&mut start));
        if let (Ok(_), Some(format)) = (read, Format::of(&start)) {
            self.report(rel, Problem::NotListed { format });
        }
    }
}

/// Hidden files, and what operating systems and archivers leave behind.
fn is_hidden(name: &OsStr) -> bool {
    const LITTER: [&str; 3] = ["thumbs.db", "desktop.ini", "__macosx"];
    name.as_encoded_bytes().starts_with(b".") || LITTER.iter().any(|litter| name.eq_ignore_ascii_case(litter))
}

/// A file name as text: bytes that are not UTF-8 as `\xFF`, as in [`crate::Sample::rel`].
fn escaped(name: &OsStr) -> String {
    let mut text = String::new();
    for chunk in name.as_encoded_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02X}"));
        }
    }
    text
}

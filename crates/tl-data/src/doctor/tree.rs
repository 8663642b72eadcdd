//! What is wrong with the folders of a dataset, files aside.
//!
//! The one decision: the walk follows links as opening a dataset does, and says what that passes over in
//! silence: links in a loop, images whose names do not end like one, and images in formats that are not decoded.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::report::{Finding, Involved, Problem};
use crate::folder::{escaped, is_hidden, is_image};
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
        if is_image(path) {
            return;
        }
        let mut start = Vec::new();
        let read = File::open(path).and_then(|file| file.take(START).read_to_end(&mut start));
        if read.is_err() {
            return;
        }
        if let Some(format) = Format::of(&start) {
            self.report(rel, Problem::NotListed { format: format.name().to_owned(), decoded: true });
        } else if let Some(format) = foreign(&start) {
            self.report(rel, Problem::NotListed { format: format.to_owned(), decoded: false });
        }
    }
}

/// How many bytes tell a format.
const START: u64 = 132;

/// The image format that is not decoded here, by the first bytes of a file.
fn foreign(start: &[u8]) -> Option<&'static str> {
    // Brands of the ISO base media format, which videos have as well.
    const HEIC: [&[u8]; 8] = [b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"];
    let text = start.trim_ascii_start();
    let brand = start.strip_prefix(b"\0\0\0").and_then(|rest| rest.get(1..)?.strip_prefix(b"ftyp")?.get(..4));
    Some(match brand {
        Some(brand) if HEIC.contains(&brand) => "HEIC",
        Some(b"avif" | b"avis") => "AVIF",
        Some(b"crx ") => "a raw photo",
        _ if start.starts_with(b"\0\0\0\x0CjP  \r\n") || start.starts_with(b"\xFF\x4F\xFF\x51") => {
            "JPEG 2000"
        }
        _ if start.starts_with(b"\xFF\x0A") || start.starts_with(b"\0\0\0\x0CJXL ") => "JPEG XL",
        _ if start.starts_with(b"8BPS") => "PSD",
        _ if start.get(128..132) == Some(b"DICM") => "DICOM",
        _ if text.starts_with(b"<svg") || text.starts_with(b"<?xml") && has(text, b"<svg") => "SVG",
        _ => return None,
    })
}

fn has(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|part| part == wanted)
}

//! From the name in a table to a file.
//!
//! The one decision: a name becomes a path by text alone, so that identities (`rel`, id, split) do not depend
//! on what lies on the disk; only an absolute name is compared with where the root really is. Looking for the file
//! is a step of its own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::problem::TableFault;
use crate::folder::{EXTENSIONS, is_image};

/// What a file is, whatever it is called: device and number of the inode.
#[cfg(unix)]
pub(super) type FileKey = (u64, u64);
/// What a file is, whatever it is called: its path with links resolved.
#[cfg(not(unix))]
pub(super) type FileKey = PathBuf;

#[cfg(unix)]
fn key(_: &Path, metadata: &fs::Metadata) -> Option<FileKey> {
    use std::os::unix::fs::MetadataExt;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn key(path: &Path, _: &fs::Metadata) -> Option<FileKey> {
    path.canonicalize().ok()
}

/// How names become paths.
#[derive(Debug)]
pub(super) struct Files {
    /// The folder that names are relative to.
    pub(super) root: PathBuf,
    /// The root from the top of the file system, as it was given and with links resolved; each ends with `/`.
    tops: Vec<String>,
    /// What to append to a name without an image extension, with its dot.
    extension: Option<String>,
    check: bool,
}

impl Files {
    pub(super) fn new(root: PathBuf, extension: Option<&str>, check: bool) -> Self {
        let extension = extension.map(|extension| format!(".{}", extension.trim_start_matches('.')));
        let here = if root.as_os_str().is_empty() { Path::new(".") } else { root.as_path() };
        let tops = [std::path::absolute(here), here.canonicalize()].into_iter().flatten();
        let tops = tops.filter_map(|top| top.to_str().map(plain)).map(|mut top| {
            if !top.ends_with('/') {
                top.push('/');
            }
            top
        });
        let tops = tops.collect();
        Self { root, tops, extension, check }
    }

    /// The path below the root, `/`-separated, without `.`, empty steps and steps that are taken back; a path that
    /// is not below the root stays whole.
    pub(super) fn rel(&self, name: &str) -> String {
        let name = plain(name);
        let below = self.tops.iter().find_map(|top| name.strip_prefix(top.as_str()));
        let mut rel = below.filter(|below| !below.is_empty()).unwrap_or(&name).to_owned();
        match &self.extension {
            Some(extension) if !is_image(rel.as_ref()) => rel.push_str(extension),
            _ => {}
        }
        rel
    }

    /// Where the file is.
    pub(super) fn path(&self, rel: &str) -> PathBuf {
        self.root.join(rel)
    }

    /// Which file it is, or what is wrong with it, if it is looked for.
    pub(super) fn look(&self, path: &Path) -> Result<Option<FileKey>, impl FnOnce() -> TableFault> {
        if !self.check {
            return Ok(None);
        }
        let error = match fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => return Ok(key(path, &metadata)),
            Ok(_) => None,
            Err(error) => Some(error),
        };
        let path = path.to_owned();
        Err(move || match error {
            None => TableFault::NotAFile { what: format!("the image `{}`", path.display()) },
            Some(error) if is_missing(&error) => {
                let hint = self.hint(&path);
                TableFault::NoImage { path, hint }
            }
            Some(source) => TableFault::ImageRead { path, source },
        })
    }

    fn hint(&self, path: &Path) -> String {
        let text = path.to_string_lossy();
        if text.contains('\\') && self.root.join(text.replace('\\', "/")).is_file() {
            return "write `/`, not `\\`, between folders".to_owned();
        }
        let with = |extension: &&&str| Path::new(&format!("{text}.{extension}")).is_file();
        if let Some(extension) = EXTENSIONS.iter().find(with) {
            return format!("the names lack their extension; give `{extension}` as the one to append");
        }
        let here = self.root.as_os_str().is_empty();
        let root = if here { ".".to_owned() } else { self.root.display().to_string() };
        format!("names are relative to `{root}`; give the folder of the images if they lie elsewhere")
    }
}

/// A path without `.`, empty steps, and steps that the next one takes back.
fn plain(name: &str) -> String {
    let top = name.starts_with('/');
    let mut steps: Vec<&str> = Vec::new();
    for step in name.split('/').filter(|step| !step.is_empty() && *step != ".") {
        match (step, steps.last()) {
            ("..", Some(&last)) if last != ".." => {
                steps.pop();
            }
            // Above the top there is only the top.
            ("..", None) if top => {}
            _ => steps.push(step),
        }
    }
    format!("{}{}", if top { "/" } else { "" }, steps.join("/"))
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_paths() {
        let files = Files::new("data/x".into(), Some(".jpg"), false);
        for (name, rel) in [
            ("a/1.png", "a/1.png"),
            ("./a//1.PNG", "a/1.PNG"),
            ("1.2.840", "1.2.840.jpg"),
            ("../b/1", "../b/1.jpg"),
            ("/elsewhere/1.png", "/elsewhere/1.png"),
            ("dog/../cat/./1.png", "cat/1.png"),
            ("a/../../b/1.png", "../b/1.png"),
            ("/../b/1.png", "/b/1.png"),
        ] {
            assert_eq!(files.rel(name), rel);
        }
        let files = Files::new("/data".into(), None, false);
        assert_eq!(
            (files.rel("/data/a/1"), files.rel("data/a"), files.rel("/")),
            ("a/1".into(), "data/a".into(), "/".into())
        );
        assert_eq!(files.path("a/1"), Path::new("/data/a/1"));
        assert_eq!(
            (files.rel("/data/../data/x"), files.rel("/database/x")),
            ("x".into(), "/database/x".into())
        );
        let here = std::env::current_dir().unwrap();
        for (root, name) in [("", "a/1"), ("data", "data/a/1"), ("./x/../data/", "data/a/1")] {
            let files = Files::new(root.into(), None, false);
            assert_eq!(files.rel(here.join(name).to_str().unwrap()), "a/1", "{root}");
        }
    }
}

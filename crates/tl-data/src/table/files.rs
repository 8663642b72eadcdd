//! From the name in a table to a file.
//!
//! The one decision: a name becomes a path by text alone, so that identities (`rel`, id, split) do not depend
//! on what lies on the disk; looking for the file is a step of its own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::problem::TableFault;
use crate::folder::{EXTENSIONS, is_image};

/// How names become paths.
#[derive(Debug)]
pub(super) struct Files {
    /// The folder that names are relative to.
    pub(super) root: PathBuf,
    /// What to append to a name without an image extension, with its dot.
    extension: Option<String>,
    check: bool,
}

impl Files {
    pub(super) fn new(root: PathBuf, extension: Option<&str>, check: bool) -> Self {
        let extension = extension.map(|extension| format!(".{}", extension.trim_start_matches('.')));
        Self { root, extension, check }
    }

    /// The path below the root, `/`-separated, without `.` and empty steps; a path that is not below the root
    /// stays whole.
    pub(super) fn rel(&self, name: &str) -> String {
        let below = Path::new(name).strip_prefix(&self.root).ok().filter(|_| Path::new(name).is_absolute());
        let name = below.and_then(Path::to_str).unwrap_or(name);
        let mut rel = String::with_capacity(name.len() + 4);
        if name.starts_with('/') {
            rel.push('/');
        }
        for step in name.split('/').filter(|step| !step.is_empty() && *step != ".") {
            if !rel.is_empty() && !rel.ends_with('/') {
                rel.push('/');
            }
            rel.push_str(step);
        }
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

    /// What is wrong with the file, if it is looked for.
    pub(super) fn fault(&self, path: &Path) -> Option<impl FnOnce() -> TableFault> {
        if !self.check {
            return None;
        }
        let error = match fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => return None,
            Ok(_) => None,
            Err(error) => Some(error),
        };
        let path = path.to_owned();
        Some(move || match error {
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
        ] {
            assert_eq!(files.rel(name), rel);
        }
        let files = Files::new("/data".into(), None, false);
        assert_eq!(
            (files.rel("/data/a/1"), files.rel("data/a"), files.rel("/")),
            ("a/1".into(), "data/a".into(), "/".into())
        );
        assert_eq!(files.path("a/1"), Path::new("/data/a/1"));
    }
}

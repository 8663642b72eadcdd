//! Walking the folders of a dataset.
//!
//! The one decision: a walk never stops at the first thing it dislikes; problems are collected, and the
//! caller decides.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::{EXTENSIONS, IGNORED_NAMES, Ignored};
use crate::error::FolderProblem;
use crate::split::Part;

/// An image file found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) rel: String,
}

/// The images of each class, in the order of the class names.
pub(super) type Classes = BTreeMap<String, Vec<Found>>;

/// How the folders of a dataset are arranged.
#[derive(Debug)]
pub(super) enum Layout {
    /// One folder for each part, by name.
    Split { train: OsString, val: Option<OsString>, test: Option<OsString> },
    /// Class folders.
    Flat,
}

/// One entry of a folder.
pub(super) struct Entry {
    pub(super) name: OsString,
    pub(super) path: PathBuf,
    pub(super) is_dir: bool,
}

impl Entry {
    /// The part of the data that its name means.
    fn part(&self) -> Option<Part> {
        self.name.to_str().and_then(Part::from_name)
    }
}

/// A walk through a folder and those below. Links make loops: a folder is entered once, and a folder that
/// encloses the present one never.
#[derive(Debug, Default)]
struct Walk {
    /// Every folder entered so far, links resolved.
    entered: BTreeSet<PathBuf>,
    /// The folders from the first down to the present one, links resolved.
    inside: Vec<PathBuf>,
    files: Vec<Found>,
}

/// What was come across so far.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) ignored: Ignored,
    pub(super) problems: Vec<FolderProblem>,
    pub(super) warnings: Vec<String>,
    /// Images that lie beside the class folders.
    pub(super) loose: usize,
    /// Entries seen, hidden ones left out.
    pub(super) entries: usize,
    /// The folder of each class, the first seen.
    folders: BTreeMap<String, PathBuf>,
}

impl Scan {
    /// Tells split folders from class folders; `None` when the folder cannot be listed.
    pub(super) fn layout(&mut self, dir: &Path) -> Option<Layout> {
        let mut top = Self::default();
        let Some(entries) = top.list(dir) else {
            self.problems.append(&mut top.problems);
            return None;
        };
        let (dirs, files): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(|entry| entry.is_dir);
        // `train` with images and no folders inside is a class of vehicles.
        let Some(train) = self.part(&dirs, Part::Train).filter(|name| has_folders(&dir.join(name))) else {
            self.problems.extend(parts_as_classes(&dirs));
            return Some(Layout::Flat);
        };
        let val = self.part(&dirs, Part::Val);
        let test = self.part(&dirs, Part::Test);
        self.ignored.hidden += top.ignored.hidden;
        // Among what cannot be looked at there may be the validation folder.
        self.problems.append(&mut top.problems);
        // A README, a licence or a list beside the parts is no news; an image is.
        let images = files.iter().filter(|file| is_image(&file.path));
        images.for_each(|file| self.ignore(escaped(&file.name)));
        for entry in &dirs {
            if ![Some(&train), val.as_ref(), test.as_ref()].contains(&Some(&entry.name)) {
                let name = escaped(&entry.name);
                self.warnings.push(format!("folder `{name}` beside `{}` is not used", escaped(&train)));
            }
        }
        Some(Layout::Split { train, val, test })
    }

    /// The folder to evaluate on, test before validation, when `dir` has parts inside rather than `classes`.
    pub(super) fn held_out(&mut self, dir: &Path, classes: &[String]) -> Option<OsString> {
        let mut top = Self::default();
        let mut dirs = top.list(dir)?;
        dirs.retain(|entry| {
            entry.is_dir && !classes.contains(&escaped(&entry.name)) && has_folders(&entry.path)
        });
        let part = self.part(&dirs, Part::Test).or_else(|| self.part(&dirs, Part::Val))?;
        // The folder itself is not listed again, and what cannot be looked at may be a better part.
        self.problems.append(&mut top.problems);
        Some(part)
    }

    /// The folder for one part of the data.
    fn part(&mut self, dirs: &[Entry], part: Part) -> Option<OsString> {
        let is_part = |entry: &&Entry| entry.part() == Some(part);
        let mut found = dirs.iter().filter(is_part).map(|entry| entry.name.clone());
        let first = found.next()?;
        if let Some(second) = found.next() {
            let (first, second) = (escaped(&first), escaped(&second));
            self.problems.push(FolderProblem::Ambiguous { part: part.word(), first, second });
        }
        Some(first)
    }

    /// The class folders of `dir` and all images in them; `prefix` goes before each relative path.
    pub(super) fn classes(&mut self, dir: &Path, prefix: &str) -> Classes {
        let mut classes = Classes::new();
        let mut loose = 0;
        for entry in self.list(dir).unwrap_or_default() {
            self.entries += 1;
            let name = escaped(&entry.name);
            let rel = format!("{prefix}{name}");
            if entry.is_dir {
                let files = self.images(&entry.path, &rel);
                self.folders.entry(name.clone()).or_insert(entry.path);
                classes.insert(name, files);
            } else if is_image(&entry.path) {
                loose += 1;
            }
        }
        if loose > 0 && !classes.is_empty() {
            self.warnings
                .push(format!("{loose} images beside the class folders of `{}` are not used", dir.display()));
        }
        self.loose += loose;
        classes
    }

    /// The folder a class was found in.
    pub(super) fn folder_of(&self, class: &str) -> Option<PathBuf> {
        self.folders.get(class).cloned()
    }

    /// All images in `dir` and below, sorted; `rel` goes before each relative path.
    pub(super) fn images(&mut self, dir: &Path, rel: &str) -> Vec<Found> {
        let mut walk = Walk::default();
        self.walk(dir, rel, &mut walk);
        walk.files.sort_by(|a, b| a.rel.cmp(&b.rel));
        walk.files
    }

    fn walk(&mut self, dir: &Path, rel: &str, walk: &mut Walk) {
        let real = match dir.canonicalize() {
            Ok(real) => real,
            Err(source) => return self.unreadable(dir, source),
        };
        let encloses_us = walk.inside.iter().any(|outer| outer.starts_with(&real));
        if encloses_us || !walk.entered.insert(real.clone()) {
            return;
        }
        walk.inside.push(real);
        for entry in self.list(dir).unwrap_or_default() {
            let rel = format!("{rel}/{}", escaped(&entry.name));
            if entry.is_dir {
                self.walk(&entry.path, &rel, walk);
            } else if is_image(&entry.path) {
                walk.files.push(Found { path: entry.path, rel });
            } else {
                self.ignore(rel);
            }
        }
        walk.inside.pop();
    }

    /// The entries of a folder in the order of their names, without the hidden ones.
    pub(super) fn list(&mut self, dir: &Path) -> Option<Vec<Entry>> {
        let names = match fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Ok(entries) => entries.into_iter().map(|entry| entry.file_name()).collect::<BTreeSet<_>>(),
            Err(source) => {
                let path = dir.to_owned();
                self.problems.push(match source.kind() {
                    io::ErrorKind::NotFound => FolderProblem::Missing { path },
                    io::ErrorKind::NotADirectory => FolderProblem::NotAFolder { path },
                    _ => FolderProblem::Unreadable { path, source },
                });
                return None;
            }
        };
        let mut entries = Vec::with_capacity(names.len());
        for name in names {
            let path = dir.join(&name);
            if is_hidden(&name) {
                self.ignored.hidden += 1;
                continue;
            }
            match fs::metadata(&path) {
                Ok(metadata) => entries.push(Entry { name, path, is_dir: metadata.is_dir() }),
                Err(source) => self.unreadable(&path, source),
            }
        }
        Some(entries)
    }

    /// Makes warnings of some problems.
    pub(super) fn forgive(&mut self, which: impl Fn(&FolderProblem) -> bool) {
        let (forgiven, problems) = std::mem::take(&mut self.problems).into_iter().partition(which);
        self.problems = problems;
        let forgiven: Vec<FolderProblem> = forgiven;
        self.warnings.extend(forgiven.iter().map(FolderProblem::to_string));
    }

    fn unreadable(&mut self, path: &Path, source: io::Error) {
        self.problems.push(FolderProblem::Unreadable { path: path.to_owned(), source });
    }

    fn ignore(&mut self, rel: String) {
        self.ignored.files += 1;
        if self.ignored.first.len() < IGNORED_NAMES {
            self.ignored.first.push(rel);
        }
    }
}

/// Whether the extension is one of [`EXTENSIONS`].
pub(crate) fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str);
    extension.is_some_and(|extension| EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension)))
}

/// Hidden files, and what operating systems and archivers leave behind.
pub(crate) fn is_hidden(name: &OsStr) -> bool {
    const LITTER: [&str; 3] = ["thumbs.db", "desktop.ini", "__macosx"];
    name.as_encoded_bytes().starts_with(b".") || LITTER.iter().any(|litter| name.eq_ignore_ascii_case(litter))
}

fn has_folders(dir: &Path) -> bool {
    !folders_of(dir).is_empty()
}

/// A problem if folders that would be classes are parts of the data, as far as their names or what is in them
/// tell: a net would learn to tell the validation images from the test images.
fn parts_as_classes(dirs: &[Entry]) -> Option<FolderProblem> {
    let names = |found: Vec<&Entry>| found.into_iter().map(|entry| escaped(&entry.name)).collect();
    let named: Vec<&Entry> = dirs.iter().filter(|entry| entry.part().is_some()).collect();
    let parts: BTreeSet<Part> = named.iter().filter_map(|entry| entry.part()).collect();
    if parts.len() > 1 {
        return Some(FolderProblem::LookLikeParts { names: names(named), inside: false });
    }
    // `test` with the classes inside that lie beside it.
    let beside: BTreeSet<&OsString> = dirs.iter().map(|entry| &entry.name).collect();
    let has_classes = |entry: &&Entry| folders_of(&entry.path).iter().any(|name| beside.contains(name));
    let holding: Vec<&Entry> = named.into_iter().filter(has_classes).collect();
    if !holding.is_empty() {
        return Some(FolderProblem::LookLikeParts { names: names(holding), inside: false });
    }
    let mut seen: BTreeMap<OsString, usize> = BTreeMap::new();
    for dir in dirs {
        let entries = Scan::default().list(&dir.path)?;
        // One class with images of its own is enough: these are classes. So most datasets are listed once.
        if entries.iter().any(|entry| !entry.is_dir && is_image(&entry.path)) {
            return None;
        }
        for entry in entries.into_iter().filter(|entry| entry.is_dir) {
            *seen.entry(entry.name).or_default() += 1;
        }
    }
    // Classes come in twos at least.
    let shared: Vec<&OsString> = seen.iter().filter(|(_, count)| **count > 1).map(|(name, _)| name).collect();
    let inside = shared.iter().all(|name| name.to_str().and_then(Part::from_name).is_some());
    (shared.len() > 1).then(|| FolderProblem::LookLikeParts { names: names(dirs.iter().collect()), inside })
}

/// The names of the folders in a folder.
fn folders_of(dir: &Path) -> Vec<OsString> {
    let entries = Scan::default().list(dir).unwrap_or_default();
    entries.into_iter().filter(|entry| entry.is_dir).map(|entry| entry.name).collect()
}

/// Where the classes seem to be when a dataset has only the class folder `dir`: the first folder below with
/// several folders inside.
pub(super) fn dataset_below(dir: &Path) -> Option<PathBuf> {
    let mut below = dir.to_owned();
    for _ in 0..4 {
        let entries = Scan::default().list(&below)?;
        let mut dirs = entries.into_iter().filter(|entry| entry.is_dir);
        let first = dirs.next()?;
        if dirs.next().is_some() {
            return Some(below);
        }
        below = first.path;
    }
    None
}

/// A file name as text: bytes that are not UTF-8 as `\xFF`, and a backslash as two, so that no two names become the
/// same.
pub(crate) fn escaped(name: &OsStr) -> String {
    let mut text = String::new();
    for chunk in name.as_encoded_bytes().utf8_chunks() {
        text.push_str(&chunk.valid().replace('\\', "\\\\"));
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Format;

    #[test]
    fn what_is_decoded_is_listed() {
        use Format::{Bmp, Gif, Jpeg, Png, Pnm, Tiff, WebP};
        let all = [Bmp, Gif, Jpeg, Png, Pnm, Tiff, WebP].map(Format::extensions).concat();
        assert_eq!(BTreeSet::from_iter(all), BTreeSet::from(EXTENSIONS));
        assert!(EXTENSIONS.is_sorted());
    }

    #[test]
    #[cfg(unix)]
    fn no_two_names_become_the_same() {
        use std::os::unix::ffi::OsStrExt;
        assert_eq!(escaped(OsStr::from_bytes(b"\xE4.png")), "\\xE4.png");
        assert_eq!(escaped(OsStr::new("\\xE4.png")), "\\\\xE4.png");
        assert_eq!(escaped(OsStr::new("größe")), "größe");
    }
}

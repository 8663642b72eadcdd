//! A folder of texts: tables by part, or a file for each text in a folder for each class.
//!
//! The one decision: nothing depends on the order in which the file system lists a folder; all is sorted by bytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tl_data::folder::path_text;
use tl_data::table::{Names, TableFault};
use tl_data::{Part, Target, TargetSpec, Task};

use super::options::TextOptions;
use super::rows::read_text;
use super::{Record, Report, Texts, table};
use crate::error::TextFault;

const TABLES: &[&str] = &["csv", "tsv", "tab", "jsonl", "ndjson", "json"];

/// Reads a folder; `None` where nothing can be made of it.
pub(super) fn read(dir: &Path, options: &TextOptions, report: &mut Report) -> Option<Texts> {
    let entries = list(dir, report)?;
    let tables = tables(dir, (&entries, TABLES), report);
    if tables.iter().any(|(_, part)| *part == Some(Part::Train)) {
        return table::read(dir, &tables, options, report);
    }
    if !matches!(options.target, TargetSpec::Class { column: None } | TargetSpec::ParentFolder) {
        report.whole(dir, TextFault::NoTexts);
        return None;
    }
    let part_of = |entry: &Entry| Part::from_name(&entry.name).filter(|_| entry.is_dir);
    let split = entries.iter().any(|entry| {
        part_of(entry) == Some(Part::Train)
            && list(&entry.path, report).is_some_and(|e| e.iter().any(|e| e.is_dir))
    });
    let mut walk = Walk { root: dir, files: BTreeMap::new(), passed: 0 };
    let mut notes = Vec::new();
    for entry in entries.iter().filter(|entry| entry.is_dir) {
        match part_of(entry) {
            Some(part) if split => {
                let below = list(&entry.path, report).unwrap_or_default();
                for class in below.iter().filter(|class| class.is_dir) {
                    walk.class(&class.path, &class.name, Some(part), report);
                }
            }
            _ if split => notes.push(format!("folder `{}` beside the parts is not used", entry.name)),
            _ => walk.class(&entry.path, &entry.name, None, report),
        }
    }
    if walk.passed > 0 {
        notes.push(format!("files that are no `.txt` and were passed over: {}", walk.passed));
    }
    texts(walk, notes, options, report)
}

/// The files with these endings whose names are parts of the data, in the order of the parts.
pub(super) fn files_by_part(
    dir: &Path,
    extensions: &[&str],
    report: &mut Report,
) -> Vec<(PathBuf, Option<Part>)> {
    let entries = list(dir, report).unwrap_or_default();
    tables(dir, (&entries, extensions), report)
}

struct Entry {
    name: String,
    path: PathBuf,
    is_dir: bool,
}

/// What is in a folder, hidden entries left out, sorted.
fn list(dir: &Path, report: &mut Report) -> Option<Vec<Entry>> {
    let read = || -> std::io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let name = path.file_name().map(|name| path_text(Path::new(name))).unwrap_or_default();
            if !name.starts_with('.') {
                entries.push(Entry { is_dir: path.is_dir(), name, path });
            }
        }
        entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    };
    match read() {
        Ok(entries) => Some(entries),
        Err(source) => {
            report.whole(dir, TableFault::Read { source });
            None
        }
    }
}

/// The tables whose names are parts of the data, in the order of the parts.
fn tables(
    dir: &Path,
    (entries, extensions): (&[Entry], &[&str]),
    report: &mut Report,
) -> Vec<(PathBuf, Option<Part>)> {
    let mut by_part: BTreeMap<Part, &Entry> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| !entry.is_dir) {
        let extension = entry.path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        let stem = entry.path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let Some(part) = Part::from_name(stem).filter(|_| extensions.contains(&extension)) else { continue };
        if let Some(first) = by_part.insert(part, entry) {
            let (first, second) = (first.name.clone(), entry.name.clone());
            report.whole(dir, TextFault::TwoTables { first, second, part: part.name() });
        }
    }
    by_part.into_iter().map(|(part, entry)| (entry.path.clone(), Some(part))).collect()
}

/// A file of a text.
struct Found {
    path: PathBuf,
    class: String,
    part: Option<Part>,
}

/// The files found so far, by their paths below the folder.
struct Walk<'a> {
    root: &'a Path,
    files: BTreeMap<String, Found>,
    passed: usize,
}

impl Walk<'_> {
    /// Takes all `.txt` files of a class, in folders inside as well; links to folders are not followed.
    fn class(&mut self, dir: &Path, class: &str, part: Option<Part>, report: &mut Report) {
        for entry in list(dir, report).unwrap_or_default() {
            if entry.is_dir {
                if !entry.path.is_symlink() {
                    self.class(&entry.path, class, part, report);
                }
            } else if entry.path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("txt")) {
                let below = entry.path.strip_prefix(self.root).unwrap_or(&entry.path);
                let name = path_text(below).replace(std::path::MAIN_SEPARATOR, "/");
                self.files.insert(name, Found { path: entry.path, class: class.to_owned(), part });
            } else {
                self.passed += 1;
            }
        }
    }
}

fn texts(walk: Walk<'_>, notes: Vec<String>, options: &TextOptions, report: &mut Report) -> Option<Texts> {
    if walk.files.is_empty() {
        if report.problems.is_empty() {
            report.whole(walk.root, TextFault::NoTexts);
        }
        return None;
    }
    let mut names = Names::new(options.classes.as_deref());
    let mut records = Vec::with_capacity(walk.files.len());
    for (name, Found { path, class, part }) in walk.files {
        let text = read_text(&path, report);
        let Some(number) = names.number(&class) else {
            let near = names.nearest(&class);
            report.whole(&path, TableFault::UnknownClass { class, near });
            continue;
        };
        let Some(text) = text else { continue };
        records.push(Record {
            text,
            pair: None,
            target: Target::Class(number),
            weight: 1.0,
            group: None,
            part,
            name,
            file: path.into(),
            line: None,
            tagged: None,
        });
    }
    let (names, numbers) = names.finish();
    for record in &mut records {
        if let Target::Class(class) = &mut record.target {
            *class = numbers[*class as usize];
        }
    }
    Some(Texts {
        path: walk.root.to_owned(),
        task: Task::Class,
        names,
        records,
        left_out: Vec::new(),
        by_column: false,
        columns: Vec::new(),
        notes,
        warnings: Vec::new(),
        tagging: None,
    })
}

//! The list of files to leave out: one path on a line, the reason behind a tab.
//!
//! The one decision: the list is a file that a person reads and edits, so it is checked as such: every line at
//! fault is named by its number, and a path that fits no file is reported, not passed over. What is there by
//! likeness alone, which may be wrong, is a comment: it counts once a person removes the number sign.
//!
//! A path is only compared with those of the dataset, never opened; so it may be any that a table may name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::report::{Finding, Report};
use crate::error::DataError;
use crate::folder::Dataset;
use crate::shown;
use crate::small_file;

/// A file to leave out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineEntry {
    /// The path below the dataset's folder, as [`Sample::rel`](crate::Sample::rel).
    pub rel: String,
    /// Why; may be empty.
    pub reason: String,
    /// The line of the list it was read from, from 1; 0 if it was not read.
    pub line: usize,
}

/// Files to leave out. As text it is the list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quarantine {
    /// The files, in the order of the list; each once.
    pub entries: Vec<QuarantineEntry>,
    /// Files to look at first: in the list they are comments. A list that is read has none.
    pub doubtful: Vec<QuarantineEntry>,
}

/// A list that cannot be used.
#[derive(Debug, Error)]
#[error("the list of files to leave out{} cannot be used: {problems}", in_file(path.as_deref()))]
pub struct QuarantineError {
    /// The file it was read from.
    pub path: Option<PathBuf>,
    /// All that is wrong with it.
    pub problems: QuarantineProblems,
}

fn in_file(path: Option<&Path>) -> String {
    path.map(|path| format!(" `{}`", path.display())).unwrap_or_default()
}

/// All that is wrong with a list, by line; never empty.
#[derive(Debug, PartialEq, Eq)]
pub struct QuarantineProblems(pub Vec<(usize, QuarantineProblem)>);

impl fmt::Display for QuarantineProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [(line, problem)] = self.0.as_slice() {
            write!(f, "line {line}: {problem}")?;
        } else {
            write!(f, "{} problems", self.0.len())?;
            for (line, problem) in &self.0 {
                write!(f, "\n  - line {line}: {problem}")?;
            }
        }
        write!(f, "\n\nhint: one path below the dataset's folder on each line, the reason behind a tab")
    }
}

/// What is wrong with a line.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum QuarantineProblem {
    /// A tab and a reason, but nothing before them.
    #[error("there is no path before the tab")]
    NoPath,
    /// Bytes that are not UTF-8.
    #[error("it is not UTF-8 text")]
    NotText,
}

impl Quarantine {
    /// The files that a report says to leave out, in the order of their paths, each with its gravest reason.
    pub fn of(report: &Report) -> Self {
        let mut sure: BTreeMap<&str, String> = BTreeMap::new();
        let mut doubtful: BTreeMap<&str, String> = BTreeMap::new();
        for finding in &report.findings {
            let reasons = if finding.problem.is_near() { &mut doubtful } else { &mut sure };
            for rel in &finding.leave_out {
                reasons.entry(rel).or_insert_with(|| reason(finding, rel));
            }
        }
        doubtful.retain(|rel, _| !sure.contains_key(rel));
        let entry = |(rel, reason): (&str, String)| QuarantineEntry { rel: rel.to_owned(), reason, line: 0 };
        let entries = |reasons: BTreeMap<&str, String>| reasons.into_iter().map(entry).collect();
        Self { entries: entries(sure), doubtful: entries(doubtful) }
    }

    /// Reads a list. Empty lines, lines that begin with `#`, and repetitions are passed over.
    ///
    /// In a path `\t`, `\n`, `\r` and `\\` stand for a tab, line breaks and a backslash, and `\#` at the
    /// beginning for a number sign.
    ///
    /// # Errors
    /// Every line without a usable path.
    pub fn parse(text: &str) -> Result<Self, QuarantineError> {
        let (mut entries, mut problems) = (Vec::new(), Vec::new());
        let mut known = BTreeSet::new();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (line, content) in (1..).zip(text.lines()) {
            if content.trim().is_empty() || content.starts_with('#') {
                continue;
            }
            let (path, reason) = content.split_once('\t').unwrap_or((content, ""));
            let rel = unescaped(path);
            if rel.trim().is_empty() {
                problems.push((line, QuarantineProblem::NoPath));
            } else if known.insert(rel.clone()) {
                entries.push(QuarantineEntry { rel, reason: reason.trim().to_owned(), line });
            }
        }
        if problems.is_empty() {
            return Ok(Self { entries, doubtful: Vec::new() });
        }
        Err(QuarantineError { path: None, problems: QuarantineProblems(problems) })
    }

    /// Reads a list from a file.
    ///
    /// # Errors
    /// The file cannot be read, is not a regular one or larger than 256 MiB, or a line of it cannot be used.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let named = |error: QuarantineError| QuarantineError { path: Some(path.to_owned()), ..error };
        let bytes = small_file::read(path)?;
        match std::str::from_utf8(&bytes) {
            Ok(text) => Self::parse(text).map_err(|error| named(error).into()),
            Err(error) => {
                let line = 1 + bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count();
                let problems = QuarantineProblems(vec![(line, QuarantineProblem::NotText)]);
                Err(named(QuarantineError { path: None, problems }).into())
            }
        }
    }

    /// The names, as [`Dataset::open_without`] takes them: files go before a dataset is split.
    pub fn names(&self) -> BTreeSet<String> {
        self.entries.iter().map(|entry| entry.rel.clone()).collect()
    }

    /// The entries that fit no file which was left out of the dataset: a sign that the list is of other data.
    pub fn unmatched(&self, dataset: &Dataset) -> Vec<&QuarantineEntry> {
        self.entries.iter().filter(|entry| !dataset.left_out.contains_key(&entry.rel)).collect()
    }
}

/// Why a file is left out, in one line.
fn reason(finding: &Finding, rel: &str) -> String {
    let others = || finding.files.iter().map(|file| file.rel.as_str()).filter(|other| *other != rel);
    let title = finding.problem.title();
    match (finding.kept.as_deref(), others().next(), others().count()) {
        (Some(kept), ..) => format!("{title}: {kept}"),
        (None, Some(other), 1) => format!("{title}: {other}"),
        (None, Some(other), count) => format!("{title}: {other} and {} more", count - 1),
        (None, None, _) => format!("{title}: {}", finding.problem.detail()),
    }
}

impl fmt::Display for Quarantine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Files to leave out: a path below the dataset's folder, a tab, the reason.")?;
        writeln!(f, "# Remove a line to keep its file. Lines that begin with a number sign do not count.")?;
        let line = |entry: &QuarantineEntry| {
            format!("{}\t{}", escaped(&entry.rel), shown(&entry.reason.replace(['\t', '\n', '\r'], " ")))
        };
        for entry in &self.entries {
            writeln!(f, "{}", line(entry))?;
        }
        if !self.doubtful.is_empty() {
            writeln!(
                f,
                "# Nearly the same as others. Look at them, and remove the number sign to leave one out."
            )?;
        }
        for entry in &self.doubtful {
            writeln!(f, "#{}", line(entry))?;
        }
        Ok(())
    }
}

fn escaped(rel: &str) -> String {
    let mut text = String::with_capacity(rel.len());
    for (at, letter) in rel.char_indices() {
        match letter {
            '\\' => text.push_str("\\\\"),
            '\t' => text.push_str("\\t"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '#' if at == 0 => text.push_str("\\#"),
            letter => text.push(letter),
        }
    }
    text
}

/// The path meant; a backslash before anything else is one, as in `\xFF`.
fn unescaped(text: &str) -> String {
    let mut rel = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let meant = match (letter, letters.peek()) {
            ('\\', Some('\\')) => '\\',
            ('\\', Some('t')) => '\t',
            ('\\', Some('n')) => '\n',
            ('\\', Some('r')) => '\r',
            ('\\', Some('#')) => '#',
            _ => {
                rel.push(letter);
                continue;
            }
        };
        letters.next();
        rel.push(meant);
    }
    rel
}

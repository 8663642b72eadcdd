//! A split written down, so that it stays what it was when files are added.
//!
//! The one decision: the file carries a sha256 over what it says, as a listing that any language can make
//! again, so a split that was edited by hand or cut short is not taken for the one that was published. Files
//! that the split was made without are in it too, so that it speaks of all the files there were.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Part, SplitProblem, SplitProblems};
use crate::error::DataError;
use crate::small_file;
use crate::table::reader::{CsvRows, Row};

/// Why a file of the data is in no part of a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftOut {
    /// Somebody said so. Data that is used with the split must leave it out too, or not have it.
    Listed,
    /// It could not be decoded. It is left out wherever the split is used, whether it is there or not.
    Unreadable,
}

impl LeftOut {
    /// The word in files.
    fn name(self) -> &'static str {
        match self {
            Self::Listed => "left-out",
            Self::Unreadable => "unreadable",
        }
    }
}

/// Where a saved split has a file.
enum Place {
    In(Part),
    Out(LeftOut),
}

impl Place {
    fn from_name(name: &str) -> Option<Self> {
        let out = [LeftOut::Listed, LeftOut::Unreadable].into_iter().find(|out| out.name() == name);
        Part::from_name(name).map(Self::In).or(out.map(Self::Out))
    }
}

/// Which file is in which part.
///
/// Writing it whole or not at all is the caller's business: [`SplitFile::to_json`] and [`SplitFile::to_csv`]
/// give the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitFile {
    /// How the split was made, in words.
    pub made: String,
    /// The part of each file, by its path below the dataset's folder.
    pub parts: BTreeMap<String, Part>,
    /// The files that are in none, by the same paths; no path is in both.
    pub left_out: BTreeMap<String, LeftOut>,
}

const FORMAT: u32 = 1;
const CSV_HEADER: &str = "file,split";
const CSV_SUM: &str = "# sha256 ";

/// The JSON as it is in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Json {
    format: u32,
    made: String,
    sha256: String,
    train: Vec<String>,
    val: Vec<String>,
    test: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unreadable: Vec<String>,
}

impl SplitFile {
    /// Writes down the parts of some files, and the files that are in none.
    ///
    /// # Errors
    /// A name is there twice, or there are not as many parts as names.
    pub fn new<'a>(
        names: impl IntoIterator<Item = &'a str>,
        parts: &[Part],
        left_out: BTreeMap<String, LeftOut>,
        made: &str,
    ) -> Result<Self, DataError> {
        let names: Vec<&str> = names.into_iter().collect();
        if names.len() != parts.len() {
            let (got, expected) =
                (format!("{} entries", parts.len()), format!("one for each of {} names", names.len()));
            return Err(DataError::Option { option: "parts", got, expected });
        }
        let mut problems = SplitProblems::default();
        let parts = names.into_iter().zip(parts).map(|(name, part)| (name.to_owned(), Place::In(*part)));
        let out = left_out.into_iter().map(|(name, why)| (name, Place::Out(why)));
        let file = Self::unique(parts.chain(out), made.to_owned(), &mut problems);
        give(file, problems)
    }

    /// Reads a split from a file, JSON or CSV, whichever it is.
    ///
    /// # Errors
    /// The file cannot be read, is not a regular one or larger than 256 MiB; and those of
    /// [`SplitFile::from_json`] and [`SplitFile::from_csv`], with the file named.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let bytes = small_file::read(path)?;
        let read = match std::str::from_utf8(&bytes) {
            Ok(text) if text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']).starts_with('{') => {
                Self::from_json(text)
            }
            Ok(text) => Self::from_csv(text),
            Err(_) => Err(unreadable("it is not UTF-8 text".to_owned())),
        };
        read.map_err(|error| match error {
            DataError::Split { problems } => DataError::SplitFile { path: path.to_owned(), problems },
            other => other,
        })
    }

    /// The sha256, in hex, of one `NAME`, NUL, `train`, `val`, `test`, `left-out` or `unreadable`, line feed for
    /// each file, sorted by the bytes of the names.
    pub fn sha256(&self) -> String {
        let mut hasher = Sha256::new();
        for (name, place) in self.places() {
            hasher.update(format!("{name}\0{place}\n"));
        }
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Every file and the word for where it is, sorted by the bytes of the names.
    fn places(&self) -> BTreeMap<&str, &'static str> {
        let parts = self.parts.iter().map(|(name, part)| (name.as_str(), part.name()));
        parts.chain(self.left_out.iter().map(|(name, why)| (name.as_str(), why.name()))).collect()
    }

    /// The split as JSON: `format`, `made`, `sha256`, and the sorted names in `train`, `val` and `test`, and in
    /// `left_out` and `unreadable` where there are such.
    pub fn to_json(&self) -> String {
        let list = |wanted: Part| {
            let of_part = self.parts.iter().filter(|(_, part)| **part == wanted);
            of_part.map(|(name, _)| name.clone()).collect()
        };
        let out = |wanted: LeftOut| {
            let of_kind = self.left_out.iter().filter(|(_, why)| **why == wanted);
            of_kind.map(|(name, _)| name.clone()).collect()
        };
        let json = Json {
            format: FORMAT,
            made: self.made.clone(),
            sha256: self.sha256(),
            train: list(Part::Train),
            val: list(Part::Val),
            test: list(Part::Test),
            left_out: out(LeftOut::Listed),
            unreadable: out(LeftOut::Unreadable),
        };
        // Strings and numbers alone: there is nothing in it that JSON cannot say.
        let mut text = serde_json::to_string_pretty(&json).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Reads what [`SplitFile::to_json`] wrote.
    ///
    /// # Errors
    /// The text is no such JSON, a name is there twice, or the sha256 is another than the file names.
    pub fn from_json(text: &str) -> Result<Self, DataError> {
        let mut problems = SplitProblems::default();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let json: Json = match serde_json::from_str(text) {
            Ok(json) => json,
            Err(error) => return Err(unreadable(error.to_string())),
        };
        if json.format != FORMAT {
            return Err(unreadable(format!("its format is {} (expected {FORMAT})", json.format)));
        }
        let lists = [
            (json.train, "train"),
            (json.val, "val"),
            (json.test, "test"),
            (json.left_out, LeftOut::Listed.name()),
            (json.unreadable, LeftOut::Unreadable.name()),
        ];
        let pairs = lists.into_iter().flat_map(|(names, place)| {
            names.into_iter().filter_map(move |name| Some((name, Place::from_name(place)?)))
        });
        let file = Self::unique(pairs, json.made, &mut problems);
        file.check_sum(&json.sha256, &mut problems);
        give(file, problems)
    }

    /// The split as CSV: a line `# sha256 …`, the header `file,split`, and one line for each file. A name with
    /// a carriage return in it does not come back from CSV, which the sha256 shows; JSON takes any name.
    pub fn to_csv(&self) -> String {
        let mut text = format!("{CSV_SUM}{}\n{CSV_HEADER}\n", self.sha256());
        for (name, place) in self.places() {
            if name.contains([',', '"', '\n', '\r', '#']) || name.trim() != name {
                text.push_str(&format!("\"{}\",{place}\n", name.replace('"', "\"\"")));
            } else {
                text.push_str(&format!("{name},{place}\n"));
            }
        }
        text
    }

    /// Reads what [`SplitFile::to_csv`] wrote, or a list `file,split` of one's own without the line of the
    /// sha256, which is then not checked.
    ///
    /// # Errors
    /// A line is not a name and a part, a name is there twice, or the sha256 is another than the file names.
    pub fn from_csv(text: &str) -> Result<Self, DataError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let (sum, body) = match text.strip_prefix(CSV_SUM) {
            Some(rest) => {
                let (sum, body) = rest.split_once('\n').unwrap_or((rest, ""));
                (Some(sum.trim()), body)
            }
            None => (None, text),
        };
        let mut problems = SplitProblems::default();
        let pairs = csv_pairs(body, 1 + u64::from(sum.is_some()), &mut problems);
        let file = Self::unique(pairs.into_iter(), "read from a CSV file".to_owned(), &mut problems);
        if let (Some(sum), true) = (sum, problems.is_empty()) {
            file.check_sum(sum, &mut problems);
        }
        give(file, problems)
    }

    /// The part of each of `names`, in their order. Names of the split that are in `absent` need not be there.
    ///
    /// # Errors
    /// The names that the split does not have or has in no part, and the names of its parts that are neither among
    /// them nor in `absent`.
    pub fn parts_of(&self, names: &[&str], absent: &BTreeSet<&str>) -> Result<Vec<Part>, DataError> {
        let mut problems = SplitProblems::default();
        let mut parts = Vec::with_capacity(names.len());
        for name in names {
            match self.parts.get(*name) {
                Some(&part) => parts.push(part),
                None if self.left_out.contains_key(*name) => {
                    problems.push(|| SplitProblem::NoPart { name: (*name).to_owned() });
                }
                None => problems.push(|| SplitProblem::NotInFile { name: (*name).to_owned() }),
            }
        }
        let mut sorted = names.to_vec();
        sorted.sort_unstable();
        for same in sorted.chunk_by(|a, b| a == b).filter(|same| same.len() > 1) {
            problems.push(|| SplitProblem::Repeated { name: same[0].to_owned() });
        }
        let is_there = |name: &str| sorted.binary_search(&name).is_ok() || absent.contains(name);
        for name in self.parts.keys().filter(|name| !is_there(name)) {
            problems.push(|| SplitProblem::NotInData { name: name.clone() });
        }
        give(parts, problems)
    }

    /// The files that are left out wherever the split is used.
    pub(crate) fn unreadable(&self) -> impl Iterator<Item = &str> {
        let unreadable = self.left_out.iter().filter(|(_, why)| **why == LeftOut::Unreadable);
        unreadable.map(|(name, _)| name.as_str())
    }

    fn unique(
        places: impl Iterator<Item = (String, Place)>,
        made: String,
        problems: &mut SplitProblems,
    ) -> Self {
        let mut file = Self { made, parts: BTreeMap::new(), left_out: BTreeMap::new() };
        for (name, place) in places {
            let elsewhere = match place {
                Place::In(_) => file.left_out.contains_key(&name),
                Place::Out(_) => file.parts.contains_key(&name),
            };
            let repeated = match place {
                _ if elsewhere => Some(name),
                Place::In(part) => insert(&mut file.parts, name, part),
                Place::Out(why) => insert(&mut file.left_out, name, why),
            };
            if let Some(name) = repeated {
                problems.push(|| SplitProblem::Repeated { name });
            }
        }
        file
    }

    fn check_sum(&self, named: &str, problems: &mut SplitProblems) {
        let got = self.sha256();
        if !named.eq_ignore_ascii_case(&got) {
            problems.push(|| SplitProblem::Sum { named: named.to_owned(), got });
        }
    }
}

/// The names and parts of a CSV text whose first line has the number `first`.
fn csv_pairs(text: &str, first: u64, problems: &mut SplitProblems) -> Vec<(String, Place)> {
    let mut rows = CsvRows::new(text.as_bytes(), b',');
    let (mut row, mut pairs, mut header) = (Row::default(), Vec::new(), true);
    loop {
        match rows.next(&mut row) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                problems.push(|| SplitProblem::Unreadable { detail: error.to_string() });
                break;
            }
        }
        let line = row.line + first - 1;
        let mut refuse = |got: String, expected| problems.push(|| SplitProblem::Line { line, got, expected });
        // The text was UTF-8, and so is each cell of it.
        let cells: Vec<&str> = row.cells.iter().flat_map(std::str::from_utf8).collect();
        match cells[..] {
            _ if row.unclosed => refuse("a quote that is never closed".to_owned(), "a name and a part"),
            [file, split] if std::mem::take(&mut header) => {
                if format!("{},{}", file.trim(), split.trim()) != CSV_HEADER {
                    refuse(format!("`{file},{split}`"), "the header `file,split`");
                }
            }
            [name, part] => match Place::from_name(part.trim()) {
                Some(place) => pairs.push((name.to_owned(), place)),
                None => refuse(format!("`{part}`"), "`train`, `val` or `test`"),
            },
            _ => refuse(format!("{} cells", cells.len()), "a name and a part"),
        }
    }
    if header && problems.is_empty() {
        problems.push(|| SplitProblem::Unreadable { detail: "it is empty".to_owned() });
    }
    pairs
}

/// Returns the name if it is there already.
fn insert<T>(map: &mut BTreeMap<String, T>, name: String, value: T) -> Option<String> {
    match map.entry(name) {
        Entry::Vacant(entry) => {
            entry.insert(value);
            None
        }
        Entry::Occupied(entry) => Some(entry.key().clone()),
    }
}

fn unreadable(detail: String) -> DataError {
    let mut problems = SplitProblems::default();
    problems.push(|| SplitProblem::Unreadable { detail });
    DataError::Split { problems }
}

fn give<T>(value: T, problems: SplitProblems) -> Result<T, DataError> {
    if problems.is_empty() { Ok(value) } else { Err(DataError::Split { problems }) }
}

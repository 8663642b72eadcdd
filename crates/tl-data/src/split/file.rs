//! A split written down, so that it stays what it was when files are added.
//!
//! The one decision: the file carries a sha256 over what it says, as a listing that any language can make
//! again, so a split that was edited by hand or cut short is not taken for the one that was published.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Part, SplitProblem, SplitProblems};
use crate::error::DataError;
use crate::table::reader::{CsvRows, Row};

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
}

impl SplitFile {
    /// Writes down the parts of some files.
    ///
    /// # Errors
    /// A name is there twice, or there are not as many parts as names.
    pub fn new<'a>(
        names: impl IntoIterator<Item = &'a str>,
        parts: &[Part],
        made: &str,
    ) -> Result<Self, DataError> {
        let names: Vec<&str> = names.into_iter().collect();
        if names.len() != parts.len() {
            let (got, expected) =
                (format!("{} entries", parts.len()), format!("one for each of {} names", names.len()));
            return Err(DataError::Option { option: "parts", got, expected });
        }
        let mut problems = SplitProblems::default();
        let pairs = names.into_iter().zip(parts.iter().copied());
        let parts = unique(pairs.map(|(name, part)| (name.to_owned(), part)), &mut problems);
        give(Self { made: made.to_owned(), parts }, problems)
    }

    /// The sha256, in hex, of one `NAME`, NUL, `train`, `val` or `test`, line feed for each file, sorted by
    /// the bytes of the names.
    pub fn sha256(&self) -> String {
        let mut hasher = Sha256::new();
        for (name, part) in &self.parts {
            hasher.update(format!("{name}\0{part}\n"));
        }
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The split as JSON: `format`, `made`, `sha256`, and the sorted names in `train`, `val` and `test`.
    pub fn to_json(&self) -> String {
        let list = |wanted: Part| {
            let of_part = self.parts.iter().filter(|(_, part)| **part == wanted);
            of_part.map(|(name, _)| name.clone()).collect()
        };
        let json = Json {
            format: FORMAT,
            made: self.made.clone(),
            sha256: self.sha256(),
            train: list(Part::Train),
            val: list(Part::Val),
            test: list(Part::Test),
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
        let json: Json = match serde_json::from_str(text) {
            Ok(json) => json,
            Err(error) => return Err(unreadable(error.to_string())),
        };
        if json.format != FORMAT {
            return Err(unreadable(format!("its format is {} (expected {FORMAT})", json.format)));
        }
        let lists = [(json.train, Part::Train), (json.val, Part::Val), (json.test, Part::Test)];
        let pairs =
            lists.into_iter().flat_map(|(names, part)| names.into_iter().map(move |name| (name, part)));
        let parts = unique(pairs, &mut problems);
        let file = Self { made: json.made, parts };
        file.check_sum(&json.sha256, &mut problems);
        give(file, problems)
    }

    /// The split as CSV: a line `# sha256 …`, the header `file,split`, and one line for each file. A name with
    /// a carriage return in it does not come back from CSV, which the sha256 shows; JSON takes any name.
    pub fn to_csv(&self) -> String {
        let mut text = format!("{CSV_SUM}{}\n{CSV_HEADER}\n", self.sha256());
        for (name, part) in &self.parts {
            if name.contains([',', '"', '\n', '\r', '#']) || name.trim() != name {
                text.push_str(&format!("\"{}\",{part}\n", name.replace('"', "\"\"")));
            } else {
                text.push_str(&format!("{name},{part}\n"));
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
        let parts = unique(pairs.into_iter(), &mut problems);
        let file = Self { made: "read from a CSV file".to_owned(), parts };
        if let (Some(sum), true) = (sum, problems.is_empty()) {
            file.check_sum(sum, &mut problems);
        }
        give(file, problems)
    }

    /// The part of each of `names`, in their order.
    ///
    /// # Errors
    /// The names that the split does not have, and the names of the split that are not among them.
    pub fn parts_of(&self, names: &[&str]) -> Result<Vec<Part>, DataError> {
        let mut problems = SplitProblems::default();
        let mut parts = Vec::with_capacity(names.len());
        for name in names {
            match self.parts.get(*name) {
                Some(&part) => parts.push(part),
                None => problems.push(|| SplitProblem::NotInFile { name: (*name).to_owned() }),
            }
        }
        let mut sorted = names.to_vec();
        sorted.sort_unstable();
        for same in sorted.chunk_by(|a, b| a == b).filter(|same| same.len() > 1) {
            problems.push(|| SplitProblem::Repeated { name: same[0].to_owned() });
        }
        for name in self.parts.keys().filter(|name| sorted.binary_search(&name.as_str()).is_err()) {
            problems.push(|| SplitProblem::NotInData { name: name.clone() });
        }
        give(parts, problems)
    }

    fn check_sum(&self, named: &str, problems: &mut SplitProblems) {
        let got = self.sha256();
        if !named.eq_ignore_ascii_case(&got) {
            problems.push(|| SplitProblem::Sum { named: named.to_owned(), got });
        }
    }
}

/// The names and parts of a CSV text whose first line has the number `first`.
fn csv_pairs(text: &str, first: u64, problems: &mut SplitProblems) -> Vec<(String, Part)> {
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
            [name, part] => match Part::from_name(part.trim()) {
                Some(part) => pairs.push((name.to_owned(), part)),
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

fn unique(
    pairs: impl Iterator<Item = (String, Part)>,
    problems: &mut SplitProblems,
) -> BTreeMap<String, Part> {
    let mut parts = BTreeMap::new();
    for (name, part) in pairs {
        match parts.entry(name) {
            Entry::Vacant(entry) => {
                entry.insert(part);
            }
            Entry::Occupied(entry) => {
                problems.push(|| SplitProblem::Repeated { name: entry.key().clone() });
            }
        }
    }
    parts
}

fn unreadable(detail: String) -> DataError {
    let mut problems = SplitProblems::default();
    problems.push(|| SplitProblem::Unreadable { detail });
    DataError::Split { problems }
}

fn give<T>(value: T, problems: SplitProblems) -> Result<T, DataError> {
    if problems.is_empty() { Ok(value) } else { Err(DataError::Split { problems }) }
}

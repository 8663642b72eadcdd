//! Labelled texts in files: CSV, TSV, JSON lines, or a folder of `.txt` files for each class.
//!
//! ```text
//! texts.csv     text,label           train.tsv dev.tsv test.tsv     DIR/<class>/*.txt
//! texts.jsonl   {"text": …, …}       in one folder: a part each      DIR/{train,val,test}/<class>/*.txt
//! ```
//!
//! The words for columns, targets, splits, weights and groups are those of tables of images ([`tl_data::table`]), and
//! mean the same.
//!
//! The one decision: a text is named by its content, so that a split, and a list of texts to leave out, hold whatever
//! order the rows are in. Of several rows with the same text the later ones get `-2`, `-3` behind the name. Files of a
//! folder have names already.

mod columns;
mod folder;
mod options;
mod rows;
mod table;
mod tagged;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use options::{TextFormat, TextOptions};
pub use tagged::Tagging;

use rayon::prelude::*;
use sha2::{Digest, Sha256};
use tl_data::split::{self, LeftOut, SplitInput, Strata};
use tl_data::table::{ColumnUse, TableFault};
use tl_data::{Part, Split, SplitFile, SplitOptions, Target, Task};

use crate::entities::Tagged;
use crate::error::{TextError, TextFault, TextProblem, TextProblems, of_texts};

/// One text, or pair of texts, and what is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The text, as it is in the file.
    pub text: String,
    /// The second text.
    pub pair: Option<String>,
    /// What is to be learned.
    pub target: Target,
    /// How much it counts, from 0 on.
    pub weight: f32,
    /// The group it belongs to.
    pub group: Option<String>,
    /// The part that the data has it in.
    pub part: Option<Part>,
    /// The first 16 hex digits of the sha256 of the text (and of NUL and the pair), or the path below the folder; none
    /// twice.
    pub name: String,
    /// The file it is from.
    pub file: Arc<Path>,
    /// The line of the file, from 1; `None` where the file is the text.
    pub line: Option<u64>,
    /// Its words and their tags, of a tagged sentence; the text is the words with spaces between.
    pub tagged: Option<Arc<Tagged>>,
}

impl Record {
    /// Where it is from: file and line.
    pub fn place(&self) -> String {
        match self.line {
            Some(line) => format!("{}:{line}", self.file.display()),
            None => self.file.display().to_string(),
        }
    }

    /// Whether there is nothing but white space in the text, or in the pair.
    pub fn is_empty(&self) -> bool {
        self.text.trim().is_empty() || self.pair.as_ref().is_some_and(|pair| pair.trim().is_empty())
    }
}

/// Texts, read and checked, not yet split.
#[derive(Debug, Clone, PartialEq)]
pub struct Texts {
    /// The file or folder as it was given.
    pub path: PathBuf,
    /// What is to be learned.
    pub task: Task,
    /// The names of the classes, sorted by their bytes or as given; or of the labels; or of the columns of numbers.
    pub names: Vec<String>,
    /// The texts in the order of files and rows.
    pub records: Vec<Record>,
    /// Those that [`Texts::leave_out`] took away.
    pub left_out: Vec<Record>,
    /// Whether a column says the parts, rather than files or folders.
    pub by_column: bool,
    /// Which column is used for what.
    pub columns: Vec<ColumnUse>,
    /// How the source was understood, one line each.
    pub notes: Vec<String>,
    /// What a person should look at, one line each.
    pub warnings: Vec<String>,
    /// How its sentences are tagged, if they are; [`Texts::names`] are then the kinds of entities.
    pub tagging: Option<Tagging>,
}

/// Where the problems of a source are collected.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) problems: TextProblems,
}

impl Report {
    pub(crate) fn whole(&mut self, file: &Path, fault: impl Into<TextFault>) {
        self.add(file, None, None, fault.into());
    }

    pub(crate) fn line(&mut self, file: &Path, line: u64, fault: impl Into<TextFault>) {
        self.add(file, Some(line), None, fault.into());
    }

    pub(crate) fn cell(&mut self, file: &Path, line: u64, column: &str, fault: impl Into<TextFault>) {
        self.add(file, Some(line), Some(column.to_owned()), fault.into());
    }

    fn add(&mut self, file: &Path, line: Option<u64>, column: Option<String>, fault: TextFault) {
        self.problems.push(|| TextProblem { file: file.to_owned(), line, column, fault });
    }
}

impl Texts {
    /// Reads a file of texts, a folder with a table for each part, or a folder of `.txt` files.
    ///
    /// # Errors
    /// An option is out of range; a file is missing, cannot be read, or is not UTF-8 text; a column is not there, there
    /// twice, or could be one of several; a row has too few or too many cells; a cell stands for a missing value
    /// (such as `NaN`, where a class or group should be), is no number, not finite, a negative weight, or names a class
    /// or part that is not known; there is a single class. All that is wrong is reported together, with file and line.
    /// Empty texts are not reported here but by [`Texts::check`], so that they can be left out before.
    pub fn read(path: &Path, options: &TextOptions) -> Result<Self, TextError> {
        options.check()?;
        let mut report = Report::default();
        let texts = if path.is_dir() {
            folder::read(path, options, &mut report)
        } else {
            table::read(path, &[(path.to_owned(), None)], options, &mut report)
        };
        Self::checked(path, texts, options, report)
    }

    /// Reads sentences with a tag for each word: a file of columns (a word on each line, its tag in the last column, an empty
    /// line between sentences), a file of JSON lines with lists of words and tags, or a folder with such a file for each
    /// part. Of the options the columns of texts and classes, numbered from 1 in files of columns, are those of words and
    /// tags; `classes` are the tags of a model.
    ///
    /// # Errors
    /// A file is missing, cannot be read, or is not UTF-8 text; a line has too few or too many columns, or what is no tag; a
    /// sentence has not as many tags as words, or a kind of entity that is not known; there are no entities. All that is
    /// wrong is reported together, with file and line.
    pub fn read_tagged(path: &Path, options: &TextOptions) -> Result<Self, TextError> {
        options.check()?;
        let mut report = Report::default();
        let texts = tagged::read(path, options, &mut report);
        Self::checked(path, texts, options, report)
    }

    /// Whether [`read_tagged`](Self::read_tagged) is for this file or folder, by the first 64 KiB of it: every line has a tag
    /// in its last column, or the first object has lists of words and tags.
    pub fn is_tagged(path: &Path) -> bool {
        tagged::is_tagged(path)
    }

    fn checked(
        path: &Path,
        texts: Option<Self>,
        options: &TextOptions,
        mut report: Report,
    ) -> Result<Self, TextError> {
        match texts {
            Some(mut texts) if report.problems.is_empty() => {
                check_whole(&texts, options, &mut report);
                if report.problems.is_empty() {
                    texts.warnings.extend(warnings(&texts));
                    return Ok(texts);
                }
            }
            _ => {}
        }
        Err(TextError::Source { path: path.to_owned(), problems: report.problems })
    }

    /// Takes texts away, by [`Record::name`], so that no split has them; they go to [`Texts::left_out`]. Returns the
    /// names that fit none.
    pub fn leave_out(&mut self, names: &BTreeSet<String>) -> Vec<String> {
        let records = std::mem::take(&mut self.records);
        let (out, kept): (Vec<Record>, Vec<Record>) =
            records.into_iter().partition(|record| names.contains(&record.name));
        self.records = kept;
        self.left_out.extend(out);
        let found: BTreeSet<&str> = self.left_out.iter().map(|record| record.name.as_str()).collect();
        names.iter().filter(|name| !found.contains(name.as_str())).cloned().collect()
    }

    /// Checks that no text is empty.
    ///
    /// # Errors
    /// Those that are, with file and line.
    pub fn check(&self) -> Result<(), TextError> {
        let mut report = Report::default();
        for record in self.records.iter().filter(|record| record.is_empty()) {
            report.add(&record.file, record.line, None, TextFault::EmptyText);
        }
        if report.problems.is_empty() {
            return Ok(());
        }
        Err(TextError::Source { path: self.path.clone(), problems: report.problems })
    }

    /// How many texts have each class or label; empty for other tasks.
    pub fn counts(&self) -> Vec<u64> {
        if !matches!(self.task, Task::Class | Task::MultiLabel) {
            return Vec::new();
        }
        let mut counts = vec![0; self.names.len()];
        for record in &self.records {
            match &record.target {
                Target::Class(class) => counts[*class as usize] += 1,
                Target::Labels(labels) => labels.iter().for_each(|&label| counts[label as usize] += 1),
                _ => {}
            }
        }
        counts
    }

    /// The part of each record, in the order of [`Texts::records`]: as [`tl_data::Table::split`] has it for images.
    ///
    /// # Errors
    /// An option is out of range; a saved split does not fit; a text has no group; a class would validate or test
    /// without training; nothing trains or validates. All that is wrong is reported together.
    pub fn split(&self, options: &SplitOptions) -> Result<Split, TextError> {
        let given = self.records.iter().map(|record| record.part).collect();
        let class = |target: &Target| match target {
            Target::Class(class) => Some(*class),
            _ => None,
        };
        let gone = |record: &Record| split::Gone { class: class(&record.target), part: record.part };
        let named = matches!(self.task, Task::Class | Task::MultiLabel);
        let data = split::Data {
            input: self.split_input(),
            classes: if named { self.names.as_slice() } else { &[] },
            given,
            column: self.by_column,
            left_out: self.left_out.iter().map(|record| (record.name.as_str(), gone(record))).collect(),
            place: &|place| self.records[place].place(),
        };
        let mut split = split::plan(data, options).map_err(|error| TextError::split(&error))?;
        split.warnings.iter_mut().for_each(|warning| *warning = of_texts(warning));
        Ok(split)
    }

    /// The texts as [`split::parts`] and [`split::folds`] take them.
    pub fn split_input(&self) -> SplitInput<'_> {
        let targets = || self.records.iter().map(|record| &record.target);
        let strata = match self.task {
            Task::Class => Strata::Classes(
                targets().map(|target| if let Target::Class(class) = target { *class } else { 0 }).collect(),
            ),
            Task::MultiLabel => Strata::Labels(
                targets().map(|t| if let Target::Labels(l) = t { l.as_slice() } else { &[] }).collect(),
            ),
            Task::Number => Strata::Numbers(
                targets().map(|t| if let Target::Numbers(n) = t { n.as_slice() } else { &[] }).collect(),
            ),
            Task::Nothing => Strata::None,
        };
        let groups = self.records.iter().map(|record| record.group.as_deref()).collect();
        SplitInput { names: self.records.iter().map(|record| record.name.as_str()).collect(), strata, groups }
    }

    /// A split of these texts, to be saved.
    ///
    /// # Errors
    /// `split` is not one of these texts.
    pub fn split_file(&self, split: &Split) -> Result<SplitFile, TextError> {
        let out: BTreeMap<String, LeftOut> =
            self.left_out.iter().map(|record| (record.name.clone(), LeftOut::Listed)).collect();
        let names = self.records.iter().map(|record| record.name.as_str());
        SplitFile::new(names, &split.parts, out, &split.source.to_string())
            .map_err(|error| TextError::split(&error))
    }
}

/// The sha256 of a text, or of a text, NUL and its pair.
pub(crate) fn digest(text: &str, pair: Option<&str>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(text.as_bytes());
    if let Some(pair) = pair {
        hasher.update([0]);
        hasher.update(pair.as_bytes());
    }
    hasher.finalize().into()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Names texts by their content.
fn name_all(records: &mut [Record]) {
    records.par_iter_mut().for_each(|record| {
        record.name = hex(&digest(&record.text, record.pair.as_deref())[..8]);
    });
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for record in records {
        let times = seen.entry(record.name.clone()).or_default();
        *times += 1;
        if *times > 1 {
            record.name = format!("{}-{times}", record.name);
        }
    }
}

/// Reports texts that leave nothing to learn.
fn check_whole(texts: &Texts, options: &TextOptions, report: &mut Report) {
    let counts = texts.counts();
    let mut present = texts.names.iter().zip(&counts).filter(|(_, count)| **count > 0);
    match texts.task {
        _ if texts.records.is_empty() => report.whole(&texts.path, TableFault::NoRows),
        Task::Class => {
            if let (Some((class, _)), None) = (present.next(), present.next()) {
                report.whole(&texts.path, TableFault::OneClass { class: class.clone() });
            }
        }
        Task::MultiLabel if present.next().is_none() => report.whole(&texts.path, TableFault::NoLabels),
        _ => {}
    }
    let weighed = !matches!(options.weight, tl_data::ColumnChoice::Guess | tl_data::ColumnChoice::Unused);
    if weighed && texts.records.iter().all(|record| record.weight == 0.0) {
        report.whole(&texts.path, TableFault::NoWeight);
    }
}

/// What a person should look at.
fn warnings(texts: &Texts) -> Vec<String> {
    const MANY: usize = 10;
    let (counts, rows) = (texts.counts(), texts.records.len());
    let none =
        texts.names.iter().zip(&counts).filter(|(_, count)| **count == 0).map(|(name, _)| name.as_str());
    let mut warnings = Vec::new();
    if !counts.is_empty() && none.clone().next().is_some() {
        warnings.push(format!("no rows of {}", tl_data::collected::some_names(none)));
    }
    if texts.task == Task::Class && counts.len() >= MANY && counts.len() * 2 > rows {
        let classes = counts.len();
        warnings.push(format!("there are {classes} classes in {rows} texts: are they numbers to predict?"));
    }
    let mut by_lower: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for name in texts.names.iter().filter(|_| !counts.is_empty()) {
        by_lower.entry(name.to_lowercase()).or_default().push(name);
    }
    let same: Vec<&str> = by_lower.into_values().filter(|same| same.len() > 1).flatten().collect();
    if !same.is_empty() {
        warnings.push(format!("classes that differ only in case: {}", tl_data::collected::some_names(same)));
    }
    warnings
}

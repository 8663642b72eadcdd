//! Which column of a table is used for what.
//!
//! The one decision: a wrong guess for the files is found at once, as the files are looked for, so the first
//! well-known name wins; a wrong guess for the target would train on something else, so two candidates are
//! an error. A split is told by its cells, and weights and groups are for a person to name.

use std::collections::BTreeMap;

use super::options::{ColumnChoice, TableOptions, TargetSpec};
use super::problem::{Report, TableFault};
use super::source::Source;
use crate::collected::some_names;

/// A column in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnUse {
    /// What it is used for, such as `the files`.
    pub role: &'static str,
    /// Its name.
    pub column: String,
    /// Whether its name alone was the reason.
    pub guessed: bool,
}

/// A column by its place.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) index: usize,
    pub(super) name: String,
}

/// Where the target stands.
#[derive(Debug)]
pub(super) enum TargetColumns {
    Class(Column),
    Labels(Column),
    Flags(Vec<Column>),
    Numbers(Vec<Column>),
    ParentFolder,
    Nothing,
}

/// The columns of a table; those that could not be found are `None`, and a problem.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub(super) file: Option<Column>,
    pub(super) target: Option<TargetColumns>,
    pub(super) weight: Option<Column>,
    pub(super) split: Option<Column>,
    pub(super) group: Option<Column>,
    /// Columns that are the split if their cells are parts.
    pub(super) maybe_split: Vec<Column>,
    pub(super) uses: Vec<ColumnUse>,
    pub(super) unused: Vec<String>,
    pub(super) notes: Vec<String>,
}

const FILE: &str = "the files";
const CLASS: &str = "the classes";
const LABELS: &str = "the labels";
const NUMBERS: &str = "the numbers";
const WEIGHT: &str = "the weights";
const SPLIT: &str = "the split";
const GROUP: &str = "the groups";

pub(super) const FILES: &[&str] = &[
    "filename",
    "file_name",
    "file",
    "filepath",
    "file_path",
    "path",
    "image_path",
    "img_path",
    "image_file",
    "image_filename",
    "image_name",
    "img_name",
    "image",
    "img",
    "image_id",
    "img_id",
    "imageid",
    "id",
];
const CLASSES: &[&str] = &["label", "class", "class_name", "category", "category_name", "target", "species"];
const CELLS: &[&str] = &["labels", "classes", "tags", "categories", "targets", "label", "class", "target"];
const VALUES: &[&str] = &["target", "value", "y", "label", "score"];
const WEIGHTS: &[&str] = &["sample_weight", "weight"];
const SPLITS: &[&str] = &["split", "subset", "partition", "set"];
const GROUPS: &[&str] = &["group", "group_id", "patient", "patient_id", "subject", "subject_id"];

/// A column name without case and punctuation.
pub(super) fn plain(name: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    name.trim().chars().map(plain).collect()
}

/// Whether a column has a well-known name for cells of several labels.
pub(super) fn has_cell_of_labels(header: &[String]) -> bool {
    header.iter().any(|name| CELLS.contains(&plain(name).as_str()))
}

/// Finds the columns for what `options` ask for; those of a plain list have their names from us.
pub(super) fn resolve(source: &Source, options: &TableOptions, report: &mut Report) -> Columns {
    let (header, line, list) = (source.header.as_slice(), source.header_line, source.is_list());
    let mut finder =
        Finder { header, line, list, report, taken: BTreeMap::new(), columns: Columns::default() };
    // What is named first, so that no guess takes it.
    let mut target = finder.named_target(&options.target);
    let mut file = finder.named(FILE, &options.file);
    let weight = finder.named(WEIGHT, &options.weight);
    let split = finder.named(SPLIT, &options.split);
    let group = finder.named(GROUP, &options.group);
    if options.file == ColumnChoice::Guess {
        file = finder.guess_file();
    }
    if options.split == ColumnChoice::Guess {
        finder.columns.maybe_split = finder.set_aside(SPLIT, SPLITS);
    }
    for (choice, role, names) in [(&options.group, GROUP, GROUPS), (&options.weight, WEIGHT, WEIGHTS)] {
        if *choice == ColumnChoice::Guess {
            for Column { name, .. } in finder.set_aside(role, names) {
                finder
                    .columns
                    .notes
                    .push(format!("column `{name}` is not used; name it to use it for {role}"));
            }
        }
    }
    if target.is_none() {
        target = finder.guess_target(&options.target);
    }
    let taken = finder.taken;
    let unused = header.iter().enumerate().filter(|(index, _)| !taken.contains_key(index));
    let unused = unused.map(|(_, name)| name.clone()).collect();
    Columns { file, target, weight, split, group, unused, ..finder.columns }
}

struct Finder<'a> {
    header: &'a [String],
    /// The line that the header is on.
    line: u64,
    list: bool,
    report: &'a mut Report,
    /// What each column is used for.
    taken: BTreeMap<usize, &'static str>,
    columns: Columns,
}

impl Columns {
    /// The column turned out to be the split.
    pub(super) fn take_split(&mut self, column: Column) {
        self.uses.push(ColumnUse { role: SPLIT, column: column.name.clone(), guessed: true });
        self.split = Some(column);
    }

    /// Several columns could be the split.
    pub(super) fn several_splits(names: Vec<String>) -> TableFault {
        TableFault::Ambiguous { role: SPLIT, names }
    }
}

impl Finder<'_> {
    fn take(&mut self, index: usize, role: &'static str, guessed: bool) -> Column {
        let name = self.header[index].clone();
        self.taken.insert(index, role);
        self.columns.uses.push(ColumnUse { role, column: name.clone(), guessed });
        Column { index, name }
    }

    /// The column of an exact name.
    fn by_name(&mut self, role: &'static str, name: &str) -> Option<Column> {
        let mut places = (0..self.header.len()).filter(|&index| self.header[index] == name);
        let Some(index) = places.next() else {
            let known = self.header.to_vec();
            self.report.line(self.line, || TableFault::NoColumn { role, name: name.to_owned(), known });
            return None;
        };
        if let Some(second) = places.next() {
            let (first, second) = (index + 1, second + 1);
            self.report.cell(self.line, name, || TableFault::TwoColumns { first, second });
        }
        if let Some(first) = self.taken.get(&index).copied() {
            self.report.cell(self.line, name, || TableFault::TwoUses { first, second: role });
        }
        Some(self.take(index, role, false))
    }

    fn named(&mut self, role: &'static str, choice: &ColumnChoice) -> Option<Column> {
        match choice {
            ColumnChoice::Named(name) => self.by_name(role, name),
            _ => None,
        }
    }

    fn by_names(&mut self, role: &'static str, names: &[String]) -> Vec<Column> {
        names.iter().filter_map(|name| self.by_name(role, name)).collect()
    }

    fn named_target(&mut self, spec: &TargetSpec) -> Option<TargetColumns> {
        Some(match spec {
            TargetSpec::Class { column: Some(name) } => TargetColumns::Class(self.by_name(CLASS, name)?),
            TargetSpec::Labels { column: Some(name), .. } => {
                TargetColumns::Labels(self.by_name(LABELS, name)?)
            }
            TargetSpec::Flags { columns: Some(names) } => TargetColumns::Flags(self.by_names(LABELS, names)),
            TargetSpec::Numbers { columns: Some(names) } => {
                TargetColumns::Numbers(self.by_names(NUMBERS, names))
            }
            TargetSpec::ParentFolder => TargetColumns::ParentFolder,
            TargetSpec::Nothing => TargetColumns::Nothing,
            _ => return None,
        })
    }

    /// The places of free columns with one of `names`, in the order of `names`.
    fn candidates(&self, names: &[&str]) -> Vec<usize> {
        let free = (0..self.header.len()).filter(|index| !self.taken.contains_key(index));
        let place = |index: usize| {
            let plain = plain(&self.header[index]);
            names.iter().position(|name| *name == plain).map(|place| (place, index))
        };
        let mut found: Vec<(usize, usize)> = free.filter_map(place).collect();
        found.sort_unstable();
        found.into_iter().map(|(_, index)| index).collect()
    }

    fn no_guess(&mut self, role: &'static str, expected: &'static [&'static str]) {
        if self.list {
            return self.report.line(self.line, || TableFault::NoLabel { role });
        }
        let known = self.header.to_vec();
        let headless = known.iter().any(|name| crate::folder::is_image(name.as_ref()));
        self.report.line(self.line, || TableFault::NoGuess { role, expected, known, headless });
    }

    fn guess_file(&mut self) -> Option<Column> {
        let found = self.candidates(FILES);
        let Some(&first) = found.first() else {
            self.no_guess(FILE, FILES);
            return None;
        };
        if found.len() > 1 {
            let others = some_names(found[1..].iter().map(|&index| self.header[index].as_str()));
            let name = &self.header[first];
            self.columns.notes.push(format!("column `{name}` is taken for the files, not {others}"));
        }
        Some(self.take(first, FILE, true))
    }

    /// Columns that no other guess may take, though they may not be used.
    fn set_aside(&mut self, role: &'static str, names: &[&str]) -> Vec<Column> {
        let found = self.candidates(names);
        self.taken.extend(found.iter().map(|&index| (index, role)));
        found.into_iter().map(|index| Column { index, name: self.header[index].clone() }).collect()
    }

    fn sole(&mut self, role: &'static str, found: &[usize]) -> Option<Column> {
        if found.len() > 1 {
            let names = found.iter().map(|&index| self.header[index].clone()).collect();
            self.report.line(self.line, || TableFault::Ambiguous { role, names });
        }
        Some(self.take(*found.first()?, role, true))
    }

    /// A column that has to be there.
    fn need(&mut self, role: &'static str, names: &'static [&'static str]) -> Option<Column> {
        let found = self.candidates(names);
        if found.is_empty() {
            self.no_guess(role, names);
        }
        self.sole(role, &found)
    }

    fn guess_target(&mut self, spec: &TargetSpec) -> Option<TargetColumns> {
        Some(match spec {
            TargetSpec::Class { column: None } => TargetColumns::Class(self.need(CLASS, CLASSES)?),
            TargetSpec::Labels { column: None, .. } => TargetColumns::Labels(self.need(LABELS, CELLS)?),
            TargetSpec::Flags { columns: None } => TargetColumns::Flags(self.rest(LABELS)?),
            TargetSpec::Numbers { columns: None } if self.list => TargetColumns::Numbers(self.rest(NUMBERS)?),
            TargetSpec::Numbers { columns: None } => {
                TargetColumns::Numbers(vec![self.need(NUMBERS, VALUES)?])
            }
            _ => return None,
        })
    }

    /// All columns that are not in use; those without a name, such as the row numbers that pandas writes, stay
    /// unused.
    fn rest(&mut self, role: &'static str) -> Option<Vec<Column>> {
        let free = |index: &usize| !self.taken.contains_key(index) && !self.header[*index].is_empty();
        let free: Vec<usize> = (0..self.header.len()).filter(free).collect();
        if free.is_empty() {
            self.report.line(self.line, || TableFault::NothingLeft { role });
            return None;
        }
        let mut columns: Vec<Column> = Vec::with_capacity(free.len());
        for index in free {
            let column = self.take(index, role, true);
            if let Some(same) = columns.iter().find(|other| other.name == column.name) {
                let (first, second) = (same.index + 1, index + 1);
                self.report.cell(self.line, &column.name, || TableFault::TwoColumns { first, second });
            }
            columns.push(column);
        }
        Some(columns)
    }
}

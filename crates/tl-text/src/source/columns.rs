//! Which column of a table is used for what.
//!
//! The one decision: as for images, what is named is taken first, two candidates for the target are an error, a split is
//! told by its cells, and weights and groups are for a person to name. A second text is only guessed beside its partner.

use std::collections::BTreeMap;
use std::path::Path;

use tl_data::collected::some_names;
use tl_data::table::{ColumnUse, TableFault};
use tl_data::{ColumnChoice, TargetSpec};

use super::Report;
use super::options::TextOptions;
use super::rows::Sheet;
use crate::error::TextFault;

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
    Nothing,
}

/// The columns of a table; those that could not be found are `None`, and a problem.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub(super) text: Option<Column>,
    pub(super) pair: Option<Column>,
    pub(super) target: Option<TargetColumns>,
    pub(super) weight: Option<Column>,
    pub(super) split: Option<Column>,
    pub(super) group: Option<Column>,
    /// Columns that are the split if their cells are parts.
    pub(super) maybe_split: Vec<Column>,
    pub(super) uses: Vec<ColumnUse>,
    pub(super) notes: Vec<String>,
}

const TEXT: &str = "the texts";
const PAIR: &str = "the second texts";
const CLASS: &str = "the classes";
const LABELS: &str = "the labels";
const NUMBERS: &str = "the numbers";
const WEIGHT: &str = "the weights";
const SPLIT: &str = "the split";
const GROUP: &str = "the groups";

const TEXTS: &[&str] = &[
    "text",
    "sentence",
    "review",
    "content",
    "comment",
    "comment_text",
    "review_text",
    "tweet",
    "message",
    "document",
    "body",
    "utterance",
    "query",
    "sentence1",
    "premise",
    "question1",
    "text_a",
    "text1",
    "question",
    "title",
    "headline",
    "description",
];
/// A text and the one that goes with it.
const PAIRS: &[(&str, &str)] = &[
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("text_a", "text_b"),
    ("text1", "text2"),
    ("text", "text_pair"),
];
const CLASSES: &[&str] =
    &["label", "class", "class_name", "category", "category_name", "target", "sentiment", "intent"];
const CELLS: &[&str] = &["labels", "classes", "tags", "categories", "targets", "label", "class", "target"];
const VALUES: &[&str] = &["target", "value", "y", "label", "score", "rating", "stars"];
const WEIGHTS: &[&str] = &["sample_weight", "weight"];
const SPLITS: &[&str] = &["split", "subset", "partition", "set"];
const GROUPS: &[&str] = &["group", "group_id", "author", "author_id", "user", "user_id", "speaker"];

/// A column name without case and punctuation.
fn plain(name: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    name.trim().chars().map(plain).collect()
}

/// Whether a first line has a name that is well known, or asked for.
pub(super) fn is_header(first: &[String], options: &TextOptions) -> bool {
    let asked = |name: &str| {
        let choices = [&options.text, &options.pair, &options.weight, &options.split, &options.group];
        let of_target = match &options.target {
            TargetSpec::Class { column } | TargetSpec::Labels { column, .. } => {
                column.as_deref() == Some(name)
            }
            TargetSpec::Flags { columns: Some(columns) } | TargetSpec::Numbers { columns: Some(columns) } => {
                columns.iter().any(|column| column == name)
            }
            _ => false,
        };
        of_target || choices.iter().any(|c| matches!(c, ColumnChoice::Named(named) if named == name))
    };
    let known = [TEXTS, CLASSES, CELLS, VALUES];
    first.iter().any(|name| asked(name) || known.iter().any(|names| names.contains(&plain(name).as_str())))
}

/// Finds the columns for what `options` ask for.
pub(super) fn resolve(path: &Path, sheet: &Sheet, options: &TextOptions, report: &mut Report) -> Columns {
    let mut finder = Finder { path, sheet, report, taken: BTreeMap::new(), columns: Columns::default() };
    let mut target = finder.named_target(&options.target);
    let mut text = finder.named(TEXT, &options.text);
    let mut pair = finder.named(PAIR, &options.pair);
    let weight = finder.named(WEIGHT, &options.weight);
    let split = finder.named(SPLIT, &options.split);
    let group = finder.named(GROUP, &options.group);
    if options.text == ColumnChoice::Guess {
        text = finder.guess_text();
    }
    if let (ColumnChoice::Guess, Some(text)) = (&options.pair, &text) {
        let partner = PAIRS.iter().find(|(first, _)| *first == plain(&text.name)).map(|(_, second)| *second);
        let found = partner.map(|partner| finder.candidates(&[partner])).unwrap_or_default();
        pair = found.first().map(|&index| finder.take(index, PAIR, true));
    }
    if options.split == ColumnChoice::Guess {
        finder.columns.maybe_split = finder.set_aside(SPLIT, SPLITS);
    }
    for (choice, role, names) in [(&options.group, GROUP, GROUPS), (&options.weight, WEIGHT, WEIGHTS)] {
        if *choice == ColumnChoice::Guess {
            for Column { name, .. } in finder.set_aside(role, names) {
                let note = format!("column `{name}` is not used; name it to use it for {role}");
                finder.columns.notes.push(note);
            }
        }
    }
    if target.is_none() {
        target = finder.guess_target(&options.target);
    }
    let taken = finder.taken;
    let mut columns = finder.columns;
    let unused = sheet.header.iter().enumerate().filter(|(index, _)| !taken.contains_key(index));
    let unused: Vec<&str> = unused.map(|(_, name)| name.as_str()).collect();
    for guess in columns.uses.iter().filter(|used| used.guessed) {
        columns.notes.push(format!("`{}` taken for {}, by name", guess.column, guess.role));
    }
    if !unused.is_empty() {
        columns.notes.push(format!("columns that are not used: {}", some_names(unused)));
    }
    Columns { text, pair, target, weight, split, group, ..columns }
}

impl Columns {
    /// The names of the columns of labels or numbers, where there are several or one of numbers.
    pub(super) fn target_names(&self) -> Vec<String> {
        match &self.target {
            Some(TargetColumns::Flags(columns) | TargetColumns::Numbers(columns)) => {
                columns.iter().map(|column| column.name.clone()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The column turned out to be the split.
    pub(super) fn take_split(&mut self, column: &Column) {
        self.uses.push(ColumnUse { role: SPLIT, column: column.name.clone(), guessed: true });
        self.notes.push(format!("`{}` taken for {SPLIT}, by name", column.name));
    }
}

struct Finder<'a> {
    path: &'a Path,
    sheet: &'a Sheet,
    report: &'a mut Report,
    /// What each column is used for.
    taken: BTreeMap<usize, &'static str>,
    columns: Columns,
}

impl Finder<'_> {
    fn problem(&mut self, fault: impl Into<TextFault>) {
        self.report.line(self.path, self.sheet.header_line, fault);
    }

    fn take(&mut self, index: usize, role: &'static str, guessed: bool) -> Column {
        let name = self.sheet.header[index].clone();
        self.taken.insert(index, role);
        self.columns.uses.push(ColumnUse { role, column: name.clone(), guessed });
        Column { index, name }
    }

    /// The column of an exact name.
    fn by_name(&mut self, role: &'static str, name: &str) -> Option<Column> {
        let header = &self.sheet.header;
        let places: Vec<usize> = (0..header.len()).filter(|&index| header[index] == name).collect();
        let Some(&index) = places.first() else {
            self.problem(TableFault::NoColumn { role, name: name.to_owned(), known: header.clone() });
            return None;
        };
        if let Some(second) = places.get(1) {
            self.problem(TableFault::TwoColumns { first: index + 1, second: second + 1 });
        }
        if let Some(first) = self.taken.get(&index).copied() {
            self.problem(TableFault::TwoUses { first, second: role });
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
            TargetSpec::Nothing => TargetColumns::Nothing,
            _ => return None,
        })
    }

    /// The places of free columns with one of `names`, in the order of `names`.
    fn candidates(&self, names: &[&str]) -> Vec<usize> {
        let header = &self.sheet.header;
        let free = (0..header.len()).filter(|index| !self.taken.contains_key(index));
        let place = |index: usize| {
            let plain = plain(&header[index]);
            names.iter().position(|name| *name == plain).map(|place| (place, index))
        };
        let mut found: Vec<(usize, usize)> = free.filter_map(place).collect();
        found.sort_unstable();
        found.into_iter().map(|(_, index)| index).collect()
    }

    fn guess_text(&mut self) -> Option<Column> {
        let found = self.candidates(TEXTS);
        let Some(&first) = found.first() else {
            let known = self.sheet.header.clone();
            self.problem(TextFault::NoGuess { role: TEXT, expected: TEXTS, known });
            return None;
        };
        let name = &self.sheet.header[first];
        let partner = PAIRS.iter().find(|pair| pair.0 == plain(name)).map(|pair| pair.1);
        let others = found[1..].iter().map(|&index| self.sheet.header[index].as_str());
        let others: Vec<&str> = others.filter(|other| Some(plain(other).as_str()) != partner).collect();
        if !others.is_empty() {
            let note = format!("column `{name}` is taken for the texts, not {}", some_names(others));
            self.columns.notes.push(note);
        }
        Some(self.take(first, TEXT, true))
    }

    /// Columns that no other guess may take, though they may not be used.
    fn set_aside(&mut self, role: &'static str, names: &[&str]) -> Vec<Column> {
        let found = self.candidates(names);
        self.taken.extend(found.iter().map(|&index| (index, role)));
        found.into_iter().map(|index| Column { index, name: self.sheet.header[index].clone() }).collect()
    }

    /// A column that has to be there.
    fn need(&mut self, role: &'static str, names: &'static [&'static str]) -> Option<Column> {
        let found = self.candidates(names);
        if found.is_empty() {
            let known = self.sheet.header.clone();
            self.problem(TextFault::NoGuess { role, expected: names, known });
        }
        if found.len() > 1 {
            let names = found.iter().map(|&index| self.sheet.header[index].clone()).collect();
            self.problem(TableFault::Ambiguous { role, names });
        }
        Some(self.take(*found.first()?, role, true))
    }

    fn guess_target(&mut self, spec: &TargetSpec) -> Option<TargetColumns> {
        Some(match spec {
            TargetSpec::Class { column: None } => TargetColumns::Class(self.need(CLASS, CLASSES)?),
            TargetSpec::Labels { column: None, .. } => TargetColumns::Labels(self.need(LABELS, CELLS)?),
            TargetSpec::Flags { columns: None } => TargetColumns::Flags(self.rest(LABELS)?),
            TargetSpec::Numbers { columns: None } => {
                TargetColumns::Numbers(vec![self.need(NUMBERS, VALUES)?])
            }
            _ => return None,
        })
    }

    /// All columns that are not in use and have a name.
    fn rest(&mut self, role: &'static str) -> Option<Vec<Column>> {
        let free = |index: &usize| !self.taken.contains_key(index) && !self.sheet.header[*index].is_empty();
        let free: Vec<usize> = (0..self.sheet.header.len()).filter(free).collect();
        if free.is_empty() {
            self.problem(TableFault::NothingLeft { role });
            return None;
        }
        Some(free.into_iter().map(|index| self.take(index, role, true)).collect())
    }
}

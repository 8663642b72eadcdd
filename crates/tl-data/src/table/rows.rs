//! Rows to records, and what can only be said at the end of a table.
//!
//! The one decision: records are made even after the first problem, because duplicates are only seen among
//! all of them.

use std::collections::BTreeMap;
use std::path::Path;

use super::cells;
use super::columns::{self, Column, Columns, TargetColumns};
use super::files::{FileKey, Files};
use super::names::Names;
use super::options::{TableOptions, TargetSpec};
use super::problem::{Report, TableFault};
use super::reader::Row;
use super::source::{Source, shown};
use super::{Record, Table, Target, Task, whole};
use crate::collected::{LISTED, some_names};
use crate::split::Part;

/// Reads a table; `None` where nothing can be made of it.
pub(super) fn read(path: &Path, options: &TableOptions, report: &mut Report) -> Option<Table> {
    let mut source = Source::open(path, options, report)?;
    let columns = columns::resolve(&source, options, report);
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let root = options.images.clone().unwrap_or(folder);
    let files = Files::new(root, options.extension.as_deref(), options.check_files);
    let cells = match options.target {
        TargetSpec::Labels { separator, allow_empty, .. } => (separator, allow_empty),
        _ => ('|', false),
    };
    let names = Names::new(options.classes.as_deref());
    let guesses = columns.maybe_split.iter().cloned().map(SplitGuess::new).collect();
    let (records, keys) = (Vec::new(), Vec::new());
    let mut builder = Builder { files, columns, cells, names, records, keys, guesses, rows: 0 };
    let mut row = Row::default();
    while source.next(&mut row, report) {
        builder.row(&row, &source, report);
    }
    builder.settle_split(report);
    builder.notes(&source.written);
    builder.finish(options, report)
}

struct Builder {
    files: Files,
    columns: Columns,
    /// The separator of labels in a cell, and whether the cell may be empty.
    cells: (char, bool),
    names: Names,
    records: Vec<Record>,
    /// Which file each record is, as far as files are looked for.
    keys: Vec<Option<FileKey>>,
    guesses: Vec<SplitGuess>,
    rows: u64,
}

/// A column that is the split if its cells are parts.
struct SplitGuess {
    column: Column,
    /// One for each record.
    parts: Vec<Option<Part>>,
    any: bool,
    /// The cells that are no parts, with their lines; only the first.
    others: Vec<(u64, String)>,
}

impl SplitGuess {
    fn new(column: Column) -> Self {
        Self { column, parts: Vec::new(), any: false, others: Vec::new() }
    }

    fn part(&mut self, row: &Row) -> Option<Part> {
        let cell = row.cells.get(self.column.index).unwrap_or_default();
        let text = std::str::from_utf8(cell).map_or_else(|_| shown(cell), |text| text.trim().to_owned());
        let part = Part::from_name(&text);
        self.any |= part.is_some();
        if part.is_none() && self.others.len() < LISTED {
            self.others.push((row.line, text));
        }
        part
    }
}

impl Builder {
    fn row(&mut self, row: &Row, source: &Source, report: &mut Report) {
        self.rows += 1;
        if row.unclosed {
            return report.line(row.line, || TableFault::Unclosed);
        }
        let (got, expected) = (row.cells.len(), source.header.len());
        if got != expected {
            let last_line = (row.last_line > row.line).then_some(row.last_line);
            return report.line(row.line, || match source.is_list() {
                true => TableFault::Uneven { got, expected },
                false => TableFault::Ragged { got, expected, last_line },
            });
        }
        let columns = &self.columns;
        let name = columns.file.as_ref().and_then(|column| cells::filled(row, column, "a file name", report));
        let record = name.map(|name| {
            let rel = self.files.rel(name);
            let record = Record::new(self.files.path(&rel), rel, row.line);
            let key = match (self.files.look(&record.path), &columns.file) {
                (Ok(key), _) => key,
                (Err(fault), Some(column)) => {
                    report.cell(row.line, &column.name, fault);
                    None
                }
                (Err(_), None) => None,
            };
            (record, key)
        });
        let rel = record.as_ref().map(|(record, _)| record.rel.as_str());
        let target = target(row, rel, columns.target.as_ref(), (self.cells, &mut self.names), report);
        let weight = match &columns.weight {
            Some(column) => cells::weight(row, column, report),
            None => Some(1.0),
        };
        let split = columns.split.as_ref().and_then(|column| cells::part(row, column, report));
        let group = columns.group.as_ref().and_then(|column| cells::group(row, column, report));
        let guessed: Vec<Option<Part>> = self.guesses.iter_mut().map(|guess| guess.part(row)).collect();
        if let Some((mut record, key)) = record {
            record.target = target.unwrap_or(Target::None);
            record.weight = weight.unwrap_or(1.0);
            record.split = split;
            record.group = group.map(str::to_owned);
            self.records.push(record);
            self.keys.push(key);
            self.guesses.iter_mut().zip(guessed).for_each(|(guess, part)| guess.parts.push(part));
        }
    }

    /// Takes the one column for the split that has nothing but parts in it. One that has some among other things is
    /// an error: with a misspelt part the split that was meant would be passed over.
    fn settle_split(&mut self, report: &mut Report) {
        let (mut whole, others): (Vec<SplitGuess>, Vec<SplitGuess>) = std::mem::take(&mut self.guesses)
            .into_iter()
            .partition(|guess| guess.any && guess.others.is_empty());
        if whole.len() > 1 {
            let names = whole.iter().map(|guess| guess.column.name.clone()).collect();
            report.whole(|| Columns::several_splits(names));
        }
        let taken = whole.pop();
        for SplitGuess { column, any, others, .. } in others {
            let name = &column.name;
            if any && taken.is_none() {
                for (line, text) in others {
                    report.cell(line, name, || TableFault::Part { text });
                }
                continue;
            }
            let note = format!("column `{name}` is not taken for the split: not all of its cells name parts");
            self.columns.notes.push(note);
        }
        if let Some(SplitGuess { column, parts, .. }) = taken {
            self.records.iter_mut().zip(parts).for_each(|(record, part)| record.split = part);
            self.columns.take_split(column);
        }
    }

    /// How the table was understood.
    fn notes(&mut self, written: &str) {
        let Columns { uses, unused, notes, .. } = &mut self.columns;
        let mut all = vec![written.to_owned()];
        let mut guesses: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for guess in uses.iter().filter(|used| used.guessed) {
            guesses.entry(guess.role).or_default().push(&guess.column);
        }
        for (role, columns) in guesses {
            all.push(format!("{} taken for {role}, by name", some_names(columns)));
        }
        all.append(notes);
        if !unused.is_empty() {
            all.push(format!("columns that are not used: {}", some_names(unused.iter().map(String::as_str))));
        }
        *notes = all;
    }

    fn finish(mut self, options: &TableOptions, report: &mut Report) -> Option<Table> {
        if self.rows == 0 && report.problems.is_empty() {
            report.whole(|| TableFault::NoRows);
        }
        duplicates(&self.records, &self.keys, report);
        let task = match self.columns.target.as_ref()? {
            TargetColumns::Class(_) | TargetColumns::ParentFolder => Task::Class,
            TargetColumns::Labels(_) | TargetColumns::Flags(_) => Task::MultiLabel,
            TargetColumns::Numbers(_) => Task::Number,
            TargetColumns::Nothing => Task::Nothing,
        };
        let (mut names, numbers) = self.names.finish();
        if let Some(TargetColumns::Flags(columns) | TargetColumns::Numbers(columns)) = &self.columns.target {
            names = columns.iter().map(|column| column.name.clone()).collect();
        } else {
            renumber(&mut self.records, &numbers);
        }
        let table = Table {
            path: report.table.clone(),
            root: self.files.root,
            task,
            names,
            records: self.records,
            left_out: Vec::new(),
            columns: self.columns.uses,
            notes: self.columns.notes,
            warnings: Vec::new(),
        };
        // With rows left out, what the rows have in common says nothing.
        if !report.problems.is_empty() {
            return None;
        }
        let weighed = self.columns.weight.is_some();
        whole::check(&table, weighed, options.classes.is_some(), report);
        let warnings = whole::warnings(&table, &options.target);
        let numbered = whole::numbered(&table).filter(|_| options.classes.is_none());
        let notes = [table.notes, numbered.into_iter().collect()].concat();
        Some(Table { warnings, notes, ..table })
    }
}

/// What is to be learned of one row.
fn target(
    row: &Row,
    rel: Option<&str>,
    columns: Option<&TargetColumns>,
    (cell, names): ((char, bool), &mut Names),
    report: &mut Report,
) -> Option<Target> {
    Some(match columns? {
        TargetColumns::Nothing => Target::None,
        TargetColumns::Class(column) => {
            let name = cells::filled(row, column, "a class", report)?;
            Target::Class(cells::class(name, names, (row, column), report)?)
        }
        TargetColumns::Labels(column) => Target::Labels(cells::labels(row, column, cell, names, report)?),
        TargetColumns::Flags(columns) => {
            let flags: Vec<Option<bool>> =
                columns.iter().map(|column| cells::flag(row, column, report)).collect();
            let flags = flags.into_iter().collect::<Option<Vec<bool>>>()?;
            Target::Labels((0..).zip(flags).filter(|(_, set)| *set).map(|(label, _)| label).collect())
        }
        TargetColumns::Numbers(columns) => {
            let numbers: Vec<Option<f32>> =
                columns.iter().map(|column| cells::number(row, column, report)).collect();
            Target::Numbers(numbers.into_iter().collect::<Option<Vec<f32>>>()?)
        }
        TargetColumns::ParentFolder => {
            let rel = rel?;
            let folder = rel.rsplit('/').nth(1).filter(|folder| !folder.is_empty() && *folder != "..");
            let Some(folder) = folder else {
                report.line(row.line, || TableFault::NoFolder { name: rel.to_owned() });
                return None;
            };
            let Some(class) = names.number(folder) else {
                let near = names.nearest(folder);
                report.line(row.line, || TableFault::UnknownClass { class: folder.to_owned(), near });
                return None;
            };
            Target::Class(class)
        }
    })
}

/// Numbers of first appearance to final ones.
fn renumber(records: &mut [Record], numbers: &[u32]) {
    for record in records {
        match &mut record.target {
            Target::Class(class) => *class = numbers[*class as usize],
            Target::Labels(labels) => {
                labels.iter_mut().for_each(|label| *label = numbers[*label as usize]);
                labels.sort_unstable();
            }
            _ => {}
        }
    }
}

/// Reports each image that an earlier row has, by the same name or by another one.
fn duplicates(records: &[Record], keys: &[Option<FileKey>], report: &mut Report) {
    let mut order: Vec<usize> = (0..records.len()).collect();
    let key = |index: usize| (records[index].id, records[index].rel.as_str(), records[index].line);
    order.sort_unstable_by(|&a, &b| key(a).cmp(&key(b)));
    let mut repeated: BTreeMap<usize, usize> = BTreeMap::new();
    for same in order.chunk_by(|&a, &b| records[a].rel == records[b].rel) {
        repeated.extend(same[1..].iter().map(|&index| (index, same[0])));
    }
    order.retain(|&index| keys[index].is_some());
    order.sort_unstable_by(|&a, &b| (&keys[a], a).cmp(&(&keys[b], b)));
    for same in order.chunk_by(|&a, &b| keys[a] == keys[b]) {
        for &index in &same[1..] {
            repeated.entry(index).or_insert(same[0]);
        }
    }
    for (index, first) in repeated {
        let (Record { rel, line, .. }, earlier) = (&records[index], &records[first]);
        let (rel, other, first) = (rel.clone(), earlier.rel.clone(), earlier.line);
        report.line(*line, || {
            if rel == other {
                TableFault::Duplicate { rel, first }
            } else {
                TableFault::SameFile { rel, other, first }
            }
        });
    }
}

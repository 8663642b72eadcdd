//! Rows to records, and what can only be said at the end of a table.
//!
//! The one decision: records are made even after the first problem, because duplicates are only seen among
//! all of them.

use std::collections::BTreeMap;
use std::path::Path;

use super::cells;
use super::columns::{self, Columns, TargetColumns};
use super::files::Files;
use super::names::Names;
use super::options::{TableOptions, TargetSpec};
use super::problem::{Report, TableFault};
use super::reader::Row;
use super::source::Source;
use super::{Record, Table, Target, Task, whole};
use crate::collected::some_names;

/// Reads a table; `None` where nothing can be made of it.
pub(super) fn read(path: &Path, options: &TableOptions, report: &mut Report) -> Option<Table> {
    let mut source = Source::open(path, options, report)?;
    let columns = columns::resolve(&source.header, source.is_list(), options, report);
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let root = options.images.clone().unwrap_or(folder);
    let files = Files::new(root, options.extension.as_deref(), options.check_files);
    let cells = match options.target {
        TargetSpec::Labels { separator, allow_empty, .. } => (separator, allow_empty),
        _ => ('|', false),
    };
    let names = Names::new(options.classes.as_deref());
    let mut builder = Builder { files, columns, cells, names, records: Vec::new(), rows: 0 };
    let mut row = Row::default();
    while source.next(&mut row, report) {
        builder.row(&row, &source, report);
    }
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
    rows: u64,
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
            if let (Some(fault), Some(column)) = (self.files.fault(&record.path), &columns.file) {
                report.cell(row.line, &column.name, fault);
            }
            record
        });
        let rel = record.as_ref().map(|record| record.rel.as_str());
        let target = target(row, rel, columns.target.as_ref(), (self.cells, &mut self.names), report);
        let weight = match &columns.weight {
            Some(column) => cells::weight(row, column, report),
            None => Some(1.0),
        };
        let split = columns.split.as_ref().and_then(|column| cells::part(row, column, report));
        let group = columns.group.as_ref().and_then(|column| cells::filled(row, column, "a group", report));
        if let Some(mut record) = record {
            record.target = target.unwrap_or(Target::None);
            record.weight = weight.unwrap_or(1.0);
            record.split = split;
            record.group = group.map(str::to_owned);
            self.records.push(record);
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
        duplicates(&self.records, report);
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

/// Reports each image that an earlier row has.
fn duplicates(records: &[Record], report: &mut Report) {
    let mut order: Vec<usize> = (0..records.len()).collect();
    let key = |index: usize| (records[index].id, records[index].rel.as_str(), records[index].line);
    order.sort_unstable_by(|&a, &b| key(a).cmp(&key(b)));
    let mut repeated: Vec<(usize, u64)> = Vec::new();
    for same in order.chunk_by(|&a, &b| records[a].rel == records[b].rel) {
        repeated.extend(same[1..].iter().map(|&index| (index, records[same[0]].line)));
    }
    repeated.sort_unstable();
    for (index, first) in repeated {
        let Record { rel, line, .. } = &records[index];
        report.line(*line, || TableFault::Duplicate { rel: rel.clone(), first });
    }
}

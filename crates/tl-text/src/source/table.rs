//! Tables of texts: one, or one for each part of the data.
//!
//! The one decision: the tables of several parts are read as one, with one list of classes, so that a label that only
//! the test part has is seen before anything trains.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tl_data::table::{Names, TableFault};
use tl_data::{ColumnChoice, Part, Target, TargetSpec, Task};

use super::columns::{self, Column, Columns, TargetColumns};
use super::options::TextOptions;
use super::rows::{self, Cell, Sheet};
use super::values::{self, At};
use super::{Record, Report, Texts, name_all};
use crate::error::TextFault;

/// Reads tables, each with the part that its name says; `None` where nothing can be made of them.
pub(super) fn read(
    root: &Path,
    files: &[(PathBuf, Option<Part>)],
    options: &TextOptions,
    report: &mut Report,
) -> Option<Texts> {
    if options.target == TargetSpec::ParentFolder {
        let fault = TableFault::NothingLeft { role: "classes by folder, which a table does not have" };
        report.whole(root, fault);
        return None;
    }
    let of_labels = match options.target {
        TargetSpec::Labels { separator, allow_empty, .. } => (separator, allow_empty),
        _ => ('|', false),
    };
    let names = Names::new(options.classes.as_deref());
    let mut reader = Reader { options, of_labels, names, records: Vec::new(), all: None, by_column: false };
    for (file, part) in files {
        let part_options = TextOptions {
            split: if part.is_some() { ColumnChoice::Unused } else { options.split.clone() },
            ..options.clone()
        };
        if let Some(sheet) = rows::read(file, options, report) {
            let columns = columns::resolve(file, &sheet, &part_options, report);
            reader.file(file, *part, sheet, columns, report);
        }
    }
    reader.finish(root, report)
}

struct Reader<'a> {
    options: &'a TextOptions,
    of_labels: (char, bool),
    names: Names,
    records: Vec<Record>,
    /// The columns of the first file.
    all: Option<(Columns, Vec<String>)>,
    by_column: bool,
}

impl Reader<'_> {
    fn file(
        &mut self,
        file: &Path,
        part: Option<Part>,
        sheet: Sheet,
        mut columns: Columns,
        report: &mut Report,
    ) {
        let shared: Arc<Path> = file.into();
        if let Some((first, _)) = &self.all {
            let (got, expected) = (columns.target_names(), first.target_names());
            if got != expected && columns.target.is_some() {
                report.line(file, sheet.header_line, TextFault::OtherColumns { got, expected });
            }
        }
        let parts = split_column(file, &sheet, &mut columns, report);
        self.by_column |= parts.is_some();
        for (place, (line, cells)) in sheet.rows.into_iter().enumerate() {
            let part = part.or_else(|| parts.as_ref().and_then(|parts| parts.get(place).copied().flatten()));
            if let Some(record) = self.row((&shared, line), part, &cells, &columns, report) {
                self.records.push(record);
            }
        }
        if self.all.is_none() {
            self.all = Some((columns, sheet.notes));
        }
    }

    fn row(
        &mut self,
        (file, line): (&Arc<Path>, u64),
        part: Option<Part>,
        cells: &[Cell],
        columns: &Columns,
        report: &mut Report,
    ) -> Option<Record> {
        let at = At::in_row(file, line, cells);
        let text = columns.text.as_ref().map(|column| at(column).text(report).map(str::to_owned));
        let pair = columns.pair.as_ref().map(|column| at(column).text(report).map(str::to_owned));
        let target = columns.target.as_ref().and_then(|columns| {
            values::target((file, line, cells), columns, self.of_labels, &mut self.names, report)
        });
        let weight = columns.weight.as_ref().map_or(Some(1.0), |column| at(column).weight(report));
        let group = columns.group.as_ref().and_then(|column| at(column).group(report));
        Some(Record {
            text: text??,
            pair: match pair {
                Some(pair) => Some(pair?),
                None => None,
            },
            target: target?,
            weight: weight?,
            group,
            part,
            name: String::new(),
            file: file.clone(),
            line: Some(line),
            tagged: None,
        })
    }

    fn finish(mut self, root: &Path, report: &mut Report) -> Option<Texts> {
        if !report.problems.is_empty() {
            return None;
        }
        let (columns, notes) = self.all?;
        let task = match columns.target.as_ref()? {
            TargetColumns::Class(_) => Task::Class,
            TargetColumns::Labels(_) | TargetColumns::Flags(_) => Task::MultiLabel,
            TargetColumns::Numbers(_) => Task::Number,
            TargetColumns::Nothing => Task::Nothing,
        };
        let (mut names, numbers) = self.names.finish();
        if let Some(TargetColumns::Flags(of_names) | TargetColumns::Numbers(of_names)) = &columns.target {
            names = of_names.iter().map(|column| column.name.clone()).collect();
        } else {
            renumber(&mut self.records, &numbers);
        }
        name_all(&mut self.records);
        let mut notes = [notes, columns.notes].concat();
        let is_number = |name: &String| name.parse::<u32>().is_ok();
        if task == Task::Class && self.options.classes.is_none() && names.iter().all(is_number) {
            let mut places = (0..).zip(&names);
            if let Some((place, name)) = places.find(|(place, name)| name.parse::<u32>() != Ok(*place)) {
                let why = "classes are sorted as text, unless a list is given";
                notes.push(format!("class `{name}` has the number {place}: {why}"));
            }
        }
        Some(Texts {
            path: root.to_owned(),
            task,
            names,
            records: self.records,
            left_out: Vec::new(),
            by_column: self.by_column,
            columns: columns.uses,
            notes,
            warnings: Vec::new(),
            tagging: None,
        })
    }
}

/// The parts of all rows by the column of the split: the one that is named, or one with a well-known name that has
/// nothing but parts in it. One that has some parts among other things is an error, as a misspelt part would be passed
/// over.
fn split_column(
    file: &Path,
    sheet: &Sheet,
    columns: &mut Columns,
    report: &mut Report,
) -> Option<Vec<Option<Part>>> {
    let read = |column: &Column, report: &mut Report| -> Vec<Option<Part>> {
        sheet.rows.iter().map(|(line, cells)| At::new(file, *line, column, cells).part(report)).collect()
    };
    if let Some(column) = &columns.split {
        return Some(read(column, report));
    }
    let mut taken = None;
    for column in std::mem::take(&mut columns.maybe_split) {
        let mut unsaid = Report::default();
        let parts = read(&column, &mut unsaid);
        if parts.iter().all(Option::is_none) {
            let note =
                format!("column `{}` is not taken for the split: its cells name no parts", column.name);
            columns.notes.push(note);
        } else if taken.is_some() {
            let names = vec![column.name.clone()];
            report.line(file, sheet.header_line, TableFault::Ambiguous { role: "the split", names });
        } else {
            if !unsaid.problems.is_empty() {
                read(&column, report);
            }
            columns.take_split(&column);
            taken = Some(parts);
        }
    }
    taken
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

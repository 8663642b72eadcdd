//! What can be said of a table once all its rows are read.
//!
//! The one decision: what makes training impossible is a problem, what looks like an oversight a warning.

use std::collections::BTreeMap;

use super::options::TargetSpec;
use super::problem::{Report, TableFault};
use super::{Record, Table, Target, Task};
use crate::collected::some_names;

/// Reports a table of one class, of no labels at all, or of weights that leave nothing.
pub(super) fn check(table: &Table, weighed: bool, listed: bool, report: &mut Report) {
    match (table.task, table.names.as_slice()) {
        (Task::Class, [class]) => report.whole(|| TableFault::OneClass { class: class.clone() }),
        // A list may have names beyond those that are there; a single one is still nothing to tell apart.
        (Task::Class, _) if listed => {
            let counts = table.counts();
            let mut present = table.names.iter().zip(&counts).filter(|(_, count)| **count > 0);
            if let (Some((class, _)), None) = (present.next(), present.next()) {
                report.whole(|| TableFault::OneClass { class: class.clone() });
            }
        }
        (Task::MultiLabel, _) if table.counts().iter().all(|&count| count == 0) => {
            report.whole(|| TableFault::NoLabels);
        }
        _ => {}
    }
    if weighed && table.records.iter().all(|record| record.weight == 0.0) {
        report.whole(|| TableFault::NoWeight);
    }
}

/// What a person should look at.
pub(super) fn warnings(table: &Table, target: &TargetSpec) -> Vec<String> {
    let mut warnings = Vec::new();
    match table.task {
        Task::Class | Task::MultiLabel => {
            warnings.extend(of_counts(table));
            warnings.extend(same_but_case(&table.names));
            if !matches!(target, TargetSpec::Flags { .. }) {
                warnings.extend(joined(&table.names, target));
                warnings.extend(without_labels(table));
                warnings.extend(flags_as_labels(table));
            }
        }
        Task::Number => warnings.extend(constant(table)),
        Task::Nothing => {}
    }
    let absolute = table.records.iter().filter(|record| record.rel.starts_with('/')).count();
    if absolute > 0 {
        let what = "images have absolute paths outside of the folder";
        warnings.push(format!("{absolute} {what}: splits of them depend on where they lie"));
    }
    warnings
}

/// That classes called by numbers have other ones, as `10` sorts before `2`.
pub(super) fn numbered(table: &Table) -> Option<String> {
    let is_number = |name: &String| name.parse::<u32>().is_ok();
    if table.task != Task::Class || !table.names.iter().all(is_number) {
        return None;
    }
    let (place, name) = (0..).zip(&table.names).find(|(place, name)| name.parse::<u32>() != Ok(*place))?;
    Some(format!("class `{name}` has the number {place}: classes are sorted as text, unless a list is given"))
}

/// Classes without rows, labels that say nothing, and rows with a class each.
fn of_counts(table: &Table) -> Vec<String> {
    const MANY: usize = 10;
    let (counts, rows) = (table.counts(), table.records.len());
    let with = |wanted: u64| {
        let found = table.names.iter().zip(&counts).filter(move |(_, count)| **count == wanted);
        found.map(|(name, _)| name.as_str()).collect::<Vec<_>>()
    };
    let mut warnings = Vec::new();
    let (none, all) = (with(0), with(rows as u64));
    if !none.is_empty() {
        warnings.push(format!("no rows of {}", some_names(none)));
    }
    if table.task == Task::MultiLabel && !all.is_empty() {
        warnings.push(format!("all rows have {}", some_names(all)));
    }
    if table.task == Task::Class && table.names.len() >= MANY && table.names.len() * 2 > rows {
        let classes = table.names.len();
        warnings.push(format!("there are {classes} classes in {rows} rows: are they numbers to predict?"));
    }
    warnings
}

/// Rows whose cell of labels is empty: said, as an oversight looks the same.
fn without_labels(table: &Table) -> Option<String> {
    let empty = |record: &&Record| matches!(&record.target, Target::Labels(labels) if labels.is_empty());
    let rows: Vec<&Record> = table.records.iter().filter(empty).collect();
    let first = rows.first()?;
    let rows = rows.len();
    Some(format!(
        "rows without any label: {rows}, the first in line {}; none of the labels is there",
        first.line
    ))
}

/// A column of 0 and 1 that was taken for cells of labels.
fn flags_as_labels(table: &Table) -> Option<String> {
    let flags = table.task == Task::MultiLabel && table.names.iter().all(|name| name == "0" || name == "1");
    flags.then(|| {
        "the only labels are `0` and `1`: if the column is itself a label, name several such columns"
            .to_owned()
    })
}

fn same_but_case(names: &[String]) -> Option<String> {
    let mut by_lower: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for name in names {
        by_lower.entry(name.to_lowercase()).or_default().push(name);
    }
    let same: Vec<&str> = by_lower.into_values().filter(|same| same.len() > 1).flatten().collect();
    (!same.is_empty()).then(|| format!("classes that differ only in case: {}", some_names(same)))
}

/// Classes that look like several labels.
fn joined(names: &[String], target: &TargetSpec) -> Option<String> {
    let given = match target {
        TargetSpec::Labels { separator, .. } => Some(*separator),
        _ => None,
    };
    let separator =
        ['|', ';'].into_iter().find(|c| Some(*c) != given && names.iter().any(|n| n.contains(*c)))?;
    let found = names.iter().map(String::as_str).filter(|name| name.contains(separator));
    let found = some_names(found);
    Some(format!("some classes have a `{separator}` in them: {found}; if it separates labels, say so"))
}

/// Columns of numbers that are the same in all rows.
fn constant(table: &Table) -> Option<String> {
    let number = |row: usize, column: usize| match &table.records[row].target {
        Target::Numbers(numbers) => numbers.get(column).copied(),
        _ => None,
    };
    let same =
        |column: &usize| (1..table.records.len()).all(|row| number(row, *column) == number(0, *column));
    let columns: Vec<usize> = (0..table.names.len()).filter(same).collect();
    let names = columns.iter().map(|&column| table.names[column].as_str());
    (!columns.is_empty() && table.records.len() > 1)
        .then(|| format!("the same number in all rows: {}", some_names(names)))
}

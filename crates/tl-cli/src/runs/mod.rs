//! `tl runs`: what can be done with runs that are there.

mod compare;
mod list;
mod remove;
mod reproduce;

use std::path::Path;

use tl_run::Run;

use crate::args::{RunsArgs, RunsCommand};
use crate::interrupt::Interrupt;

pub(crate) fn run(args: &RunsArgs, interrupt: &Interrupt) -> anyhow::Result<()> {
    match &args.command {
        RunsCommand::List(args) => list::run(args),
        RunsCommand::Show(args) => list::show(args),
        RunsCommand::Compare(args) => compare::run(args),
        RunsCommand::Rm(args) => remove::run(args),
        RunsCommand::Reproduce(args) => reproduce::run(args, interrupt),
    }
}

/// The newest format of a run's spec.
const NEWEST: u64 = crate::spec::FORMAT as u64;

fn open(path: &Path) -> anyhow::Result<Run> {
    Ok(Run::open(path, NEWEST)?)
}

/// Rows of cells below a head, in columns; the first of them at the left, numbers at the right.
fn columns(head: &[String], rows: &[Vec<String>]) -> String {
    let all = || std::iter::once(head).chain(rows.iter().map(Vec::as_slice));
    let width =
        |i: usize| all().filter_map(|row| row.get(i)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let number = |i: usize| {
        let cells = rows.iter().filter_map(|row| row.get(i));
        cells
            .filter(|cell| *cell != "-")
            .all(|cell| cell.starts_with(|c: char| c.is_ascii_digit() || c == '-'))
    };
    let numbers: Vec<bool> = (0..head.len()).map(|i| i > 0 && number(i)).collect();
    let mut text = String::new();
    for row in all() {
        let cells = row.iter().zip(&widths).zip(&numbers).map(|((cell, width), number)| match number {
            true => format!("{cell:>width$}"),
            false => format!("{cell:width$}"),
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A field of a spec or a dash.
fn field(run: &Run, name: &str) -> String {
    match run.spec.get(name) {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(serde_json::Value::Null) | None => "-".to_owned(),
        Some(value) => value.to_string(),
    }
}

/// What a run has learned from, several of them.
fn unit(run: &Run) -> &'static str {
    let of_texts = run.spec.get("text").is_some_and(|text| !text.is_null());
    if of_texts { "texts" } else { "images" }
}

/// The folder or file that a run has learned from, without those above it.
fn data_name(run: &Run) -> String {
    // The manifest has the folder that files are relative to, which of a table may be any.
    let (asked, found) = (field(run, "data"), &run.manifest.data.path);
    let mut paths = [asked.as_str(), found.as_str()].into_iter().filter(|path| *path != "-");
    let name = paths.find_map(|path| Path::new(path).file_name());
    name.map_or_else(|| found.clone(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::columns;

    #[test]
    fn numbers_stand_at_the_right() {
        let head = ["run", "accuracy", "state"].map(str::to_owned);
        let rows =
            [["a", "0.9", "finished"], ["longer", "-", "stopped"]].map(|row| row.map(str::to_owned).to_vec());
        let expected = "run     accuracy  state\na            0.9  finished\nlonger         -  stopped\n";
        assert_eq!(columns(&head, &rows), expected);
    }
}

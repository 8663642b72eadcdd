//! A file as a header and rows of values, whichever way it is written.
//!
//! The one decision: the file is read whole and checked to be UTF-8 before it is taken apart, so that every bad line is
//! named, whatever comes of its cells.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tl_data::TargetSpec;
use tl_data::table::{CsvRows, Row, TableFault};

use super::options::{TextFormat, TextOptions};
use super::{Report, columns};
use crate::error::TextFault;

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Text(String),
    /// Nothing is there: an absent key, or `null`.
    Missing,
    /// A list of texts or numbers.
    Many(Vec<String>),
    /// An object, or a list with other lists or objects in it.
    Other,
}

/// A file, read.
#[derive(Debug)]
pub(super) struct Sheet {
    pub(super) header: Vec<String>,
    /// The line that the header is on.
    pub(super) header_line: u64,
    /// The rows and their lines; each has a cell for each name of the header.
    pub(super) rows: Vec<(u64, Vec<Cell>)>,
    /// How it was understood, one line each.
    pub(super) notes: Vec<String>,
}

/// Reads a file; problems are reported, and `None` is a file that cannot be taken apart.
pub(super) fn read(path: &Path, options: &TextOptions, report: &mut Report) -> Option<Sheet> {
    let text = read_text(path, report)?;
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    let tabs = ["tsv", "tab"].contains(&extension.as_str());
    let format = options.format.unwrap_or(match extension.as_str() {
        "jsonl" | "ndjson" | "json" => TextFormat::JsonLines,
        "txt" => TextFormat::Lines,
        _ => TextFormat::Csv { delimiter: None },
    });
    match format {
        TextFormat::JsonLines => json_lines(path, &text, report),
        TextFormat::Lines => {
            let line = |(number, line): (u64, &str)| (number, vec![Cell::Text(line.to_owned())]);
            let rows =
                (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()).map(line).collect();
            let notes = vec!["each line is a text".to_owned()];
            Some(Sheet { header: vec!["text".to_owned()], header_line: 1, rows, notes })
        }
        TextFormat::Csv { delimiter } => {
            let delimiter = delimiter.unwrap_or_else(|| if tabs { b'\t' } else { guess_delimiter(&text) });
            let quotes = options.quotes.unwrap_or(!tabs);
            let raw = if quotes {
                quoted(path, &text, delimiter, report)
            } else {
                (1..)
                    .zip(text.lines())
                    .filter(|(_, line)| !line.trim().is_empty())
                    .map(|(n, line)| (n, plain(line, delimiter)))
                    .collect()
            };
            sheet(path, raw, delimiter, options, report)
        }
    }
}

/// The text of a file, without a byte order mark.
pub(super) fn read_text(path: &Path, report: &mut Report) -> Option<String> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => {
            report.whole(path, TableFault::NotAFile { what: "it".to_owned() });
            return None;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            report.whole(path, TextFault::Missing);
            return None;
        }
        _ => {}
    }
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(source) => {
            report.whole(path, TableFault::Read { source });
            return None;
        }
    };
    if let Some(found) = no_text(&bytes) {
        report.whole(path, TableFault::NotText { found });
        return None;
    }
    match String::from_utf8(bytes) {
        Ok(text) if text.contains('\0') => {
            let lines = (1..).zip(text.split('\n')).filter(|(_, line)| line.contains('\0'));
            lines.for_each(|(number, _)| report.line(path, number, TextFault::ZeroByte));
            None
        }
        Ok(text) => Some(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)),
        Err(error) => {
            for (number, line) in (1..).zip(error.as_bytes().split(|&byte| byte == b'\n')) {
                if std::str::from_utf8(line).is_err() {
                    report.line(path, number, TextFault::NotUtf8 { shown: shown(line) });
                }
            }
            None
        }
    }
}

fn no_text(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"\xD0\xCF\x11\xE0") {
        return Some("an Excel or zip file");
    }
    if bytes.starts_with(b"PAR1") {
        return Some("a Parquet file");
    }
    if bytes.starts_with(b"\x1F\x8B") {
        return Some("a gzip file");
    }
    if bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF") {
        return Some("text in UTF-16");
    }
    // A stray zero byte in what else is text is named by its line.
    let zero = bytes[..bytes.len().min(1 << 16)].contains(&0);
    (zero && std::str::from_utf8(bytes).is_err()).then_some("a binary file")
}

/// The first bytes that are not UTF-8, with some text before them.
fn shown(line: &[u8]) -> String {
    const BEFORE: usize = 20;
    let mut before = String::new();
    for chunk in line.utf8_chunks() {
        before.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            let skip = before.chars().count().saturating_sub(BEFORE);
            let bytes: String = chunk.invalid().iter().map(|byte| format!("\\x{byte:02X}")).collect();
            return before.chars().skip(skip).collect::<String>() + &bytes;
        }
    }
    before
}

/// A comma if the first line has one outside of quotes, or else whatever of tab, `;` and `|` it has most of.
fn guess_delimiter(text: &str) -> u8 {
    let (mut in_quotes, mut counts) = (false, [0_usize; 4]);
    const KNOWN: [u8; 4] = *b",\t;|";
    for byte in text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().bytes() {
        in_quotes ^= byte == b'"';
        if let (false, Some(place)) = (in_quotes, KNOWN.iter().position(|&known| known == byte)) {
            counts[place] += 1;
        }
    }
    // With a tab in the first line commas are part of a text.
    if counts[1] > 0 {
        return KNOWN[1];
    }
    let most = (0..KNOWN.len()).rev().max_by_key(|&place| counts[place]).unwrap_or_default();
    if counts[most] > 0 { KNOWN[most] } else { KNOWN[0] }
}

type RawRow = (u64, Vec<String>);

fn quoted(path: &Path, text: &str, delimiter: u8, report: &mut Report) -> Vec<RawRow> {
    let (mut rows, mut row, mut all) = (CsvRows::new(text.as_bytes(), delimiter), Row::default(), Vec::new());
    // Reading from memory does not fail.
    while rows.next(&mut row).unwrap_or_default() {
        if row.unclosed {
            report.line(path, row.line, TableFault::Unclosed);
            break;
        }
        all.push((
            row.line,
            row.cells.iter().map(|cell| String::from_utf8_lossy(cell).into_owned()).collect(),
        ));
    }
    all
}

/// The cells of a line in which quotes are text, unless a whole cell is quoted as a program would.
fn plain(line: &str, delimiter: u8) -> Vec<String> {
    let cell = |cell: &str| {
        let inside = cell.strip_prefix('"').and_then(|cell| cell.strip_suffix('"'));
        match inside {
            Some(inside) if !inside.replace("\"\"", "").contains('"') => inside.replace("\"\"", "\""),
            _ => cell.to_owned(),
        }
    };
    line.split(char::from(delimiter)).map(cell).collect()
}

fn sheet(
    path: &Path,
    raw: Vec<RawRow>,
    delimiter: u8,
    options: &TextOptions,
    report: &mut Report,
) -> Option<Sheet> {
    let mut rows = raw.into_iter().peekable();
    let Some((header_line, first)) = rows.peek().cloned() else {
        if report.problems.is_empty() {
            report.whole(path, TableFault::NoRows);
        }
        return None;
    };
    let mut notes = vec![match delimiter {
        b'\t' => "cells are separated by tabs".to_owned(),
        other => format!("cells are separated by `{}`", char::from(other)),
    }];
    let named: Vec<String> = first.iter().map(|name| name.trim().to_owned()).collect();
    let header = match &options.header {
        Some(header) => header.clone(),
        None if first.len() == 2 && !columns::is_header(&named, options) => {
            let label = label_column(rows.clone().map(|(_, cells)| cells));
            let learned = options.classes.is_none() && matches!(options.target, TargetSpec::Class { .. });
            if learned
                && looks_like_header(&first[label], rows.clone().skip(1).map(|(_, cells)| cells), label)
            {
                report.line(path, header_line, TextFault::PerhapsHeader { class: first[label].clone() });
            }
            notes.push(format!("there is no header; the classes are in column {}", label + 1));
            if label == 0 {
                vec!["label".to_owned(), "text".to_owned()]
            } else {
                vec!["text".to_owned(), "label".to_owned()]
            }
        }
        None => {
            rows.next();
            named
        }
    };
    let mut kept = Vec::new();
    for (line, cells) in rows {
        let (got, expected) = (cells.len(), header.len());
        if got == expected {
            kept.push((line, cells.into_iter().map(Cell::Text).collect()));
        } else {
            report.line(path, line, TableFault::Ragged { got, expected, last_line: None });
        }
    }
    Some(Sheet { header, header_line, rows: kept, notes })
}

/// Of two columns the one with fewer different cells; of equals the one with shorter ones.
fn label_column(rows: impl Iterator<Item = Vec<String>>) -> usize {
    let mut seen = [std::collections::BTreeSet::new(), std::collections::BTreeSet::new()];
    let mut bytes = [0; 2];
    for row in rows {
        for (place, cell) in row.into_iter().take(2).enumerate() {
            bytes[place] += cell.len();
            seen[place].insert(cell);
        }
    }
    usize::from((seen[1].len(), bytes[1]) <= (seen[0].len(), bytes[0]))
}

/// Whether the first cell of a column of classes is in it once, where all others come again.
fn looks_like_header(first: &str, rest: impl Iterator<Item = Vec<String>>, label: usize) -> bool {
    const ENOUGH: usize = 8;
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for class in rest.filter_map(|cells| cells.into_iter().nth(label)) {
        *counts.entry(class).or_insert(0) += 1;
    }
    counts.values().sum::<usize>() >= ENOUGH
        && !counts.contains_key(first)
        && counts.values().all(|count| *count > 1)
}

fn json_lines(path: &Path, text: &str, report: &mut Report) -> Option<Sheet> {
    let mut header: Vec<String> = Vec::new();
    let mut objects = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        match serde_json::from_str::<Value>(line) {
            Ok(Value::Object(object)) => {
                for key in object.keys().filter(|key| !header.contains(key)).cloned().collect::<Vec<_>>() {
                    header.push(key);
                }
                objects.push((number, object));
            }
            Ok(other) => {
                let kind = match other {
                    Value::Array(_) => "a list",
                    Value::String(_) => "a text",
                    _ => "some other value",
                };
                report.line(path, number, TextFault::Json { detail: format!("it is {kind}") })
            }
            Err(error) => {
                // The line of the file is said before; that of the JSON is always 1.
                let detail = error.to_string();
                let detail = detail.split(" at line").next().unwrap_or_default().to_owned();
                let detail = format!("{detail} (column {})", error.column());
                report.line(path, number, TextFault::Json { detail });
            }
        }
    }
    if objects.is_empty() {
        // There are no keys to look for columns in.
        if report.problems.is_empty() {
            report.whole(path, TableFault::NoRows);
        }
        return None;
    }
    let header_line = objects.first().map_or(1, |(line, _)| *line);
    let row = |(line, mut object): (u64, serde_json::Map<String, Value>)| {
        (line, header.iter().map(|key| object.remove(key).map_or(Cell::Missing, cell)).collect())
    };
    let rows = objects.into_iter().map(row).collect();
    Some(Sheet { rows, header, header_line, notes: vec!["each line is a JSON object".to_owned()] })
}

fn cell(value: Value) -> Cell {
    match scalar(&value) {
        Some(text) => return Cell::Text(text),
        None if value.is_null() => return Cell::Missing,
        None => {}
    }
    match value {
        Value::Array(values) => {
            values.iter().map(scalar).collect::<Option<_>>().map_or(Cell::Other, Cell::Many)
        }
        _ => Cell::Other,
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_in_tabs_are_text() {
        assert_eq!(plain("\"a\tb\"", b'\t'), ["\"a", "b\""]);
        assert_eq!(plain("\"say \"\"b\"\"\"\t\"x\" or \"y\"", b'\t'), ["say \"b\"", "\"x\" or \"y\""]);
    }

    #[test]
    fn how_it_is_written() {
        assert_eq!(guess_delimiter("text,label\n"), b',');
        assert_eq!(guess_delimiter("\nwell, now\t1\n"), b'\t');
        assert_eq!(guess_delimiter("\"a,b\";c"), b';');
        let rows = |rows: &[[&str; 2]]| label_column(rows.iter().map(|row| row.map(str::to_owned).to_vec()));
        assert_eq!(rows(&[["ham", "see you"], ["spam", "win"], ["ham", "ok"]]), 0);
        assert_eq!(rows(&[["see you", "ham"], ["win", "spam"]]), 1);
    }

    #[test]
    fn what_is_not_utf_8_is_shown() {
        assert_eq!(shown(b"the long caf\xE9 in the street"), "the long caf\\xE9");
    }
}

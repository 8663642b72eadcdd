//! A table file as a header and rows, whichever way it is written.
//!
//! The one decision: a plain list is read as a table of the columns `file` and `label`, so that all that is
//! checked of a table is checked of a list.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};
use std::path::Path;

use csv::ByteRecord;

use super::columns::{FILES, plain};
use super::options::{TableFormat, TableOptions, TargetSpec};
use super::problem::{Report, TableFault};
use super::reader::{Clean, CsvRows, Row};
use crate::folder::EXTENSIONS;

type Text = Chain<Cursor<Vec<u8>>, File>;

/// How much of a file is looked at to tell how it is written.
const HEAD: u64 = 1 << 16;

/// The rows of a table after its header.
pub(super) struct Source {
    rows: Rows,
    /// The names of the columns, without white space at their ends.
    pub(super) header: Vec<String>,
    /// The line that the header is on, or the first row of a list.
    pub(super) header_line: u64,
    /// The first row of a list, which is no header.
    first: Option<Row>,
    /// How it is written, in words.
    pub(super) written: String,
    ended: bool,
}

enum Rows {
    Csv(CsvRows<Text>),
    List { lines: BufReader<Clean<Text>>, line: u64, split: LabelSplit },
}

/// How the lines of a list are taken apart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LabelSplit {
    /// Path and label; a label may have spaces, but a path without an image extension none that counts.
    Label,
    /// Path and several labels or numbers.
    Many,
    /// Path and numbers, each a cell of its own.
    Numbers,
}

impl Source {
    /// Opens a table; what is wrong with it as a whole is reported.
    pub(super) fn open(path: &Path, options: &TableOptions, report: &mut Report) -> Option<Self> {
        let (text, head) = open_text(path, report)?;
        let format = options.format.unwrap_or_else(|| guess_format(path, &head));
        let rows = match format {
            TableFormat::Csv { delimiter } => {
                let delimiter = delimiter.unwrap_or_else(|| guess_delimiter(path, &head));
                let written = match delimiter {
                    b'\t' => "cells are separated by tabs".to_owned(),
                    other => format!("cells are separated by `{}`", char::from(other)),
                };
                (Rows::Csv(CsvRows::new(text, delimiter)), written)
            }
            TableFormat::List => {
                let split = match options.target {
                    TargetSpec::Numbers { .. } => LabelSplit::Numbers,
                    TargetSpec::Labels { .. } => LabelSplit::Many,
                    _ => LabelSplit::Label,
                };
                let lines = BufReader::with_capacity(HEAD as usize, Clean::new(text, b""));
                (Rows::List { lines, line: 0, split }, "each line is a path and a label".to_owned())
            }
        };
        let mut source = Self {
            rows: rows.0,
            header: Vec::new(),
            header_line: 1,
            first: None,
            written: rows.1,
            ended: false,
        };
        source.read_header(report).then_some(source)
    }

    fn read_header(&mut self, report: &mut Report) -> bool {
        let mut row = Row::default();
        if !self.read(&mut row, report) {
            if report.problems.is_empty() {
                report.whole(|| TableFault::NoRows);
            }
            return false;
        }
        self.header_line = row.line;
        if let Rows::List { split, .. } = self.rows {
            self.header = list_header(row.cells.len(), split);
            self.first = Some(row);
            return true;
        }
        for (number, cell) in row.cells.iter().enumerate() {
            let name = String::from_utf8_lossy(cell).trim().to_owned();
            if std::str::from_utf8(cell).is_err() {
                let column = format!("{}", number + 1);
                report.cell(row.line, &column, || TableFault::Encoding { shown: shown(cell) });
            }
            self.header.push(name);
        }
        if row.unclosed {
            report.line(row.line, || TableFault::Unclosed);
        }
        true
    }

    /// Whether it is a plain list.
    pub(super) fn is_list(&self) -> bool {
        matches!(self.rows, Rows::List { .. })
    }

    /// The next row; `false` after the last, or when no more can be read.
    pub(super) fn next(&mut self, row: &mut Row, report: &mut Report) -> bool {
        match self.first.take() {
            Some(first) => {
                *row = first;
                true
            }
            None => self.read(row, report),
        }
    }

    fn read(&mut self, row: &mut Row, report: &mut Report) -> bool {
        if self.ended {
            return false;
        }
        let read = match &mut self.rows {
            Rows::Csv(rows) => rows.next(row),
            Rows::List { lines, line, split } => next_line(lines, line, *split, row),
        };
        match read {
            Ok(more) => more,
            Err(source) => {
                self.ended = true;
                report.whole(|| TableFault::Read { source });
                false
            }
        }
    }
}

/// Bytes as text, with those that are not UTF-8 as `\xFF`, and not too much of it.
pub(super) fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 60;
    let mut text = String::new();
    for chunk in bytes[..bytes.len().min(MOST)].utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02X}")));
    }
    if bytes.len() > MOST {
        text.push('…');
    }
    text
}

/// The text behind a byte order mark, and the first of it.
fn open_text(path: &Path, report: &mut Report) -> Option<(Text, Vec<u8>)> {
    let open = || -> io::Result<Option<(File, Vec<u8>)>> {
        if !fs::metadata(path)?.is_file() {
            return Ok(None);
        }
        let file = File::open(path)?;
        let mut head = Vec::new();
        (&file).take(HEAD).read_to_end(&mut head)?;
        Ok(Some((file, head)))
    };
    let (file, mut head) = match open() {
        Ok(Some(opened)) => opened,
        Ok(None) => {
            report.whole(|| TableFault::NotAFile { what: "it".to_owned() });
            return None;
        }
        Err(source) => {
            report.whole(|| TableFault::Read { source });
            return None;
        }
    };
    if let Some(found) = no_text(&head) {
        report.whole(|| TableFault::NotText { found });
        return None;
    }
    if head.starts_with(b"\xEF\xBB\xBF") {
        head.drain(..3);
    }
    Some((Cursor::new(head.clone()).chain(file), head))
}

fn no_text(head: &[u8]) -> Option<&'static str> {
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"\xD0\xCF\x11\xE0") {
        return Some("an Excel or zip file");
    }
    if head.starts_with(b"PAR1") {
        return Some("a Parquet file");
    }
    if head.starts_with(b"\xFF\xFE") || head.starts_with(b"\xFE\xFF") {
        return Some("text in UTF-16");
    }
    head.contains(&0).then_some("a binary file")
}

fn extension(path: &Path) -> String {
    path.extension().and_then(|extension| extension.to_str()).unwrap_or_default().to_ascii_lowercase()
}

/// The first line with something on it.
fn first_line(head: &[u8]) -> &[u8] {
    let mut lines = head.split(|&byte| byte == b'\n' || byte == b'\r');
    lines.find(|line| !line.trim_ascii().is_empty()).unwrap_or_default()
}

/// By the extension; and for others, a header with a well-known name for the files makes a table.
fn guess_format(path: &Path, head: &[u8]) -> TableFormat {
    let csv = TableFormat::Csv { delimiter: None };
    if ["csv", "tsv", "tab"].contains(&extension(path).as_str()) {
        return csv;
    }
    let line = String::from_utf8_lossy(first_line(head)).into_owned();
    let cells = || line.split([',', ';', '\t', '|']);
    let known = |cell: &str| FILES.contains(&plain(cell.trim_matches(['"', ' '])).as_str());
    if cells().count() > 1 && cells().any(known) { csv } else { TableFormat::List }
}

/// A tab for `.tsv` and `.tab`; else a comma if the header has one outside of quotes, or else whatever of `;`,
/// tab and `|` it has most of.
fn guess_delimiter(path: &Path, head: &[u8]) -> u8 {
    if ["tsv", "tab"].contains(&extension(path).as_str()) {
        return b'\t';
    }
    let (mut quoted, mut counts) = (false, [0_usize; 4]);
    const KNOWN: [u8; 4] = *b",;\t|";
    for &byte in first_line(head) {
        quoted ^= byte == b'"';
        if let (false, Some(place)) = (quoted, KNOWN.iter().position(|&known| known == byte)) {
            counts[place] += 1;
        }
    }
    if counts[0] > 0 {
        return KNOWN[0];
    }
    let most = (1..KNOWN.len()).rev().max_by_key(|&place| counts[place]).unwrap_or_default();
    if counts[most] > 0 { KNOWN[most] } else { KNOWN[0] }
}

fn list_header(cells: usize, split: LabelSplit) -> Vec<String> {
    let label = |number: usize| match split {
        LabelSplit::Numbers if cells > 2 => format!("number {number}"),
        LabelSplit::Numbers => "value".to_owned(),
        _ => "label".to_owned(),
    };
    std::iter::once("file".to_owned()).chain((1..cells).map(label)).collect()
}

fn next_line(
    lines: &mut BufReader<Clean<Text>>,
    number: &mut u64,
    split: LabelSplit,
    row: &mut Row,
) -> io::Result<bool> {
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        if lines.read_until(b'\n', &mut bytes)? == 0 {
            return Ok(false);
        }
        *number += 1;
        let line = bytes.trim_ascii();
        if !line.is_empty() {
            let (path, label) = split_line(line, split);
            row.cells = ByteRecord::from(vec![path]);
            match split {
                LabelSplit::Numbers => label
                    .split(u8::is_ascii_whitespace)
                    .filter(|cell| !cell.is_empty())
                    .for_each(|cell| row.cells.push_field(cell)),
                _ if label.is_empty() => {}
                _ => row.cells.push_field(label),
            }
            (row.line, row.last_line, row.unclosed) = (*number, *number, false);
            return Ok(true);
        }
    }
}

/// The path and the rest of a line: parted by a tab, or behind the first image extension, or else at the last
/// space (the first, where several things follow the path).
fn split_line(line: &[u8], split: LabelSplit) -> (&[u8], &[u8]) {
    let part = |at: usize| (line[..at].trim_ascii(), line[at..].trim_ascii());
    if let Some(tab) = line.iter().position(|&byte| byte == b'\t') {
        return part(tab);
    }
    let is_path = |end: usize| ends_as_image(&line[..end]);
    let mut spaces = (0..line.len()).filter(|&at| line[at].is_ascii_whitespace());
    if let Some(at) = spaces.clone().find(|&at| is_path(at)) {
        return part(at);
    }
    if is_path(line.len()) {
        return (line, b"");
    }
    let at = if split == LabelSplit::Label { spaces.next_back() } else { spaces.next() };
    at.map_or((line, b""), part)
}

/// Whether the last few bytes are a dot and an image extension.
fn ends_as_image(path: &[u8]) -> bool {
    const LONGEST: usize = 5;
    let end = &path[path.len().saturating_sub(LONGEST)..];
    let dot = end.iter().rposition(|&byte| byte == b'.');
    let extension = dot.map_or(&b""[..], |dot| &end[dot + 1..]);
    EXTENSIONS.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(extension))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_lists() {
        let label = |line: &'static str| {
            let (path, label) = split_line(line.as_bytes(), LabelSplit::Label);
            (std::str::from_utf8(path).unwrap(), std::str::from_utf8(label).unwrap())
        };
        assert_eq!(label("a/1.jpg 3"), ("a/1.jpg", "3"));
        assert_eq!(label("my photo.JPG great dane"), ("my photo.JPG", "great dane"));
        assert_eq!(label("my photo.jpg"), ("my photo.jpg", ""));
        assert_eq!(label("my photo\tgreat dane"), ("my photo", "great dane"));
        assert_eq!(label("2008_000008  -1"), ("2008_000008", "-1"));
        assert_eq!(label("a"), ("a", ""));
        assert_eq!(split_line(b"x 1 2", LabelSplit::Numbers), (&b"x"[..], &b"1 2"[..]));
    }

    #[test]
    fn how_it_is_written() {
        let delimiter = |name: &str, head: &str| guess_delimiter(name.as_ref(), head.as_bytes());
        assert_eq!(delimiter("a.csv", "file,label\n1;2;3"), b',');
        assert_eq!(delimiter("a.csv", "\r\nfile;label;x,"), b',');
        assert_eq!(delimiter("a.csv", "file;\"a,b\";x"), b';');
        assert_eq!(delimiter("a.csv", "file|label"), b'|');
        assert_eq!(delimiter("a.TSV", "file,label"), b'\t');
        assert_eq!(delimiter("a.csv", "file"), b',');
        let csv = TableFormat::Csv { delimiter: None };
        assert_eq!(guess_format("a.txt".as_ref(), b"Image_ID,Label\n"), csv);
        assert_eq!(guess_format("a.txt".as_ref(), b"a,b.jpg 3\n"), TableFormat::List);
        assert_eq!(guess_format("a.csv".as_ref(), b"a b"), csv);
    }
}

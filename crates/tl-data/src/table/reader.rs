//! Rows of delimited text with the lines they stand on.
//!
//! The one decision: line ends are made `\n` before the `csv` crate sees the text, and a last row that no
//! table has is put behind it. So line numbers are right after blank lines and for every kind of line end,
//! and a quote that is never closed is seen, as it swallows that last row.

use std::io::{self, Read};

use csv::ByteRecord;

/// The row behind the last one: bytes that are no delimiter and that text does not have.
const END: &[u8] = b"\n\0\x01\x02\n";
const CHUNK: usize = 1 << 16;

/// One row.
#[derive(Debug, Default)]
pub struct Row {
    /// The cells, without their quotes.
    pub cells: ByteRecord,
    /// The line it begins on, from 1.
    pub line: u64,
    /// The line it ends on: another one where a quoted cell has line breaks.
    pub last_line: u64,
    /// Whether a quote in it is never closed, so that it holds all the rest of the table.
    pub unclosed: bool,
}

/// An iterator over rows that lends them out.
pub struct CsvRows<R> {
    reader: csv::Reader<Clean<R>>,
    ended: bool,
}

impl<R: Read> CsvRows<R> {
    /// Reads text without a byte order mark.
    pub fn new(text: R, delimiter: u8) -> Self {
        let mut builder = csv::ReaderBuilder::new();
        builder.has_headers(false).flexible(true).delimiter(delimiter).buffer_capacity(CHUNK);
        Self { reader: builder.from_reader(Clean::new(text, END)), ended: false }
    }

    /// Reads the next row, blank lines left out; `false` after the last.
    ///
    /// # Errors
    /// The text cannot be read.
    pub fn next(&mut self, row: &mut Row) -> io::Result<bool> {
        loop {
            if self.ended || !self.reader.read_byte_record(&mut row.cells).map_err(io::Error::from)? {
                return Ok(false);
            }
            // The reader passes over empty lines; one of spaces is no row either.
            if row.cells.len() > 1 || !row.cells.get(0).unwrap_or_default().trim_ascii().is_empty() {
                break;
            }
        }
        let last = row.cells.len().saturating_sub(1);
        let last_cell = row.cells.get(last).unwrap_or_default();
        if row.cells.len() == 1 && last_cell == END.trim_ascii() {
            self.ended = true;
            return Ok(false);
        }
        row.unclosed = last_cell.ends_with(END);
        let breaks: usize =
            row.cells.iter().map(|cell| cell.iter().filter(|&&byte| byte == b'\n').count()).sum();
        let line = self.reader.position().line();
        // A row that ends has taken its line feed along.
        row.last_line = if row.unclosed { line - 2 } else { line - 1 };
        row.line = (line - u64::from(!row.unclosed)).saturating_sub(breaks as u64);
        Ok(true)
    }
}

/// Text with all line ends as `\n`, and something behind its end.
#[derive(Debug)]
pub(crate) struct Clean<R> {
    inner: R,
    end: &'static [u8],
    raw: Vec<u8>,
    clean: Vec<u8>,
    at: usize,
    after_cr: bool,
    ended: bool,
}

impl<R: Read> Clean<R> {
    pub(crate) fn new(inner: R, end: &'static [u8]) -> Self {
        Self { inner, end, raw: vec![0; CHUNK], clean: Vec::new(), at: 0, after_cr: false, ended: false }
    }

    fn fill(&mut self) -> io::Result<()> {
        self.clean.clear();
        self.at = 0;
        while self.clean.is_empty() && !self.ended {
            let got = match self.inner.read(&mut self.raw) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                got => got?,
            };
            for &byte in &self.raw[..got] {
                match byte {
                    b'\n' if self.after_cr => {}
                    b'\r' => self.clean.push(b'\n'),
                    _ => self.clean.push(byte),
                }
                self.after_cr = byte == b'\r';
            }
            if got == 0 {
                self.ended = true;
                self.clean.extend_from_slice(self.end);
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for Clean<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.clean.len() {
            self.fill()?;
        }
        let got = out.len().min(self.clean.len() - self.at);
        out[..got].copy_from_slice(&self.clean[self.at..self.at + got]);
        self.at += got;
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<(u64, u64, bool, Vec<String>)> {
        let mut rows = CsvRows::new(text.as_bytes(), b',');
        let (mut row, mut all) = (Row::default(), Vec::new());
        while rows.next(&mut row).unwrap() {
            let cells =
                row.cells.iter().map(|cell| String::from_utf8_lossy(cell).replace('\0', "0")).collect();
            all.push((row.line, row.last_line, row.unclosed, cells));
        }
        all
    }

    #[test]
    fn blank_lines_are_no_rows() {
        let rows = rows("  \n\na,b\n \t\n\"\"\n1,2\n ");
        assert_eq!(rows.iter().map(|row| row.0).collect::<Vec<_>>(), [3, 6]);
    }

    #[test]
    fn lines_are_right_whatever_ends_them() {
        for end in ["\n", "\r\n", "\r"] {
            let text = format!("{end}a,b{end}{end}{end}1,\"x{end}y\"{end}2,z");
            for text in [text.clone(), text + end] {
                let rows = rows(&text);
                let lines: Vec<(u64, u64)> = rows.iter().map(|row| (row.0, row.1)).collect();
                assert_eq!(lines, [(2, 2), (5, 6), (7, 7)], "{text:?}");
                assert_eq!(rows[1].3, ["1", "x\ny"]);
                assert!(rows.iter().all(|row| !row.2));
            }
        }
        assert!(rows("").is_empty() && rows("\n\n").is_empty());
    }

    #[test]
    fn a_quote_that_is_not_closed() {
        let rows = rows("a,b\n1,\"x\n2,y\n");
        assert_eq!((rows[1].0, rows[1].1, rows[1].2), (2, 4, true));
        assert_eq!(super::tests::rows("a,\"b\"\"c\"\n")[0].3, ["a", "b\"c"]);
        let at_the_end = super::tests::rows("a\n\"");
        assert_eq!((at_the_end[1].0, at_the_end[1].2), (2, true));
    }

    #[test]
    fn line_ends_across_chunks() {
        let long = "x".repeat(CHUNK - 1);
        let rows = rows(&format!("{long}\r\nb\r\n"));
        assert_eq!((rows.len(), rows[1].0), (2, 2));
    }
}

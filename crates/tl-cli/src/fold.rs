//! Tables and sentences on a terminal that is too narrow for them.
//!
//! The decision behind it: a terminal would break each row at its edge, and nothing stands below its heading then. So the
//! columns that do not fit follow as a table of their own, with the first column once more. Sentences are broken between
//! words, and go on below their beginning.

use console::measure_text_width;

/// Columns are set apart by so many spaces at least.
const GAP: usize = 2;

/// The text, its tables folded to `width`. A table is what stands between blank lines and has three columns or more;
/// anything else is wrapped.
pub(crate) fn fold(text: &str, width: usize) -> String {
    let mut folded = String::new();
    let mut lines = text.split_inclusive('\n').peekable();
    while let Some(line) = lines.next() {
        let mut block = vec![line];
        if !line.trim().is_empty() {
            while let Some(next) = lines.next_if(|next| !next.trim().is_empty()) {
                block.push(next);
            }
        }
        match table(&block, width) {
            Some(table) => folded.push_str(&table),
            None => block.iter().for_each(|line| folded.push_str(&wrapped(line, width))),
        }
    }
    folded
}

/// Lines that are a command are for pasting, and stay whole.
const COMMANDS: [&str; 3] = ["try it ", "command ", "go on with "];
/// A word at the beginning of a line, with the spaces behind it, is no longer than this.
const WORD: usize = 16;

/// All lines of the text, broken between words where they are wider than `width`.
pub(crate) fn wrap(text: &str, width: usize) -> String {
    text.split_inclusive('\n').map(|line| wrapped(line, width)).collect()
}

fn wrapped(line: &str, width: usize) -> String {
    let whole = measure_text_width(line.trim_end()) <= width;
    if whole || COMMANDS.iter().any(|command| line.starts_with(command)) {
        return line.to_owned();
    }
    hang(line, width, indent(line, width))
}

/// A line broken between words, of which all but the first begin at `indent`.
pub(crate) fn hang(line: &str, width: usize, indent: usize) -> String {
    let (mut text, mut at) = (String::new(), 0);
    for piece in line.split_inclusive(' ') {
        if at > indent && at + measure_text_width(piece.trim_end()) > width {
            text.truncate(text.trim_end().len());
            text.push('\n');
            text.push_str(&" ".repeat(indent));
            at = indent;
        }
        text.push_str(piece);
        at += measure_text_width(piece);
    }
    text
}

/// Where a line goes on below itself: behind the word at its beginning that is set apart by spaces, else a little to the
/// right of where it begins.
fn indent(line: &str, width: usize) -> usize {
    let begin = line.len() - line.trim_start_matches(' ').len();
    let key = line[begin..].find("  ").map(|end| {
        let rest = &line[begin + end..];
        let at = begin + end + (rest.len() - rest.trim_start_matches(' ').len());
        measure_text_width(&line[..at])
    });
    let apart = key.filter(|at| *at <= begin.max(WORD));
    // What is set far to the right goes on below its own beginning.
    let indent = apart.unwrap_or(if begin >= 4 { begin } else { begin + 2 });
    if indent * 2 > width { 2.min(width / 4) } else { indent }
}

/// The lines as several tables below each other, if they are a table that is too wide.
fn table(lines: &[&str], width: usize) -> Option<String> {
    let rows: Vec<Vec<char>> = lines.iter().map(|line| line.trim_end().chars().collect()).collect();
    if rows.len() < 2 || lines.iter().all(|line| measure_text_width(line.trim_end()) <= width) {
        return None;
    }
    let columns = columns(&rows);
    let ([first, others @ ..], true) = (&columns[..], columns.len() >= 3) else { return None };
    let size = |column: &(usize, usize)| GAP + column.1 - column.0;
    let mut parts: Vec<Vec<(usize, usize)>> = vec![vec![*first]];
    for column in others {
        let last = parts.last_mut()?;
        let taken: usize = last.iter().map(size).sum();
        if last.len() > 1 && taken + size(column) > width + GAP {
            parts.push(vec![*first, *column]);
        } else {
            last.push(*column);
        }
    }
    let mut text = String::new();
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            text.push('\n');
        }
        for row in &rows {
            let cell = |&(from, to): &(usize, usize)| -> String {
                let cell: String = row.iter().skip(from).take(to - from).collect();
                format!("{cell:width$}", width = to - from)
            };
            let line = part.iter().map(cell).collect::<Vec<_>>().join(&" ".repeat(GAP));
            // A row that goes on with the one above it may have nothing in these columns.
            if !line.trim().is_empty() {
                text.push_str(line.trim_end());
                text.push('\n');
            }
        }
    }
    if !lines.last()?.ends_with('\n') {
        text.truncate(text.trim_end().len());
    }
    Some(text)
}

/// Where each column begins and ends: what lies between is blank in every row.
fn columns(rows: &[Vec<char>]) -> Vec<(usize, usize)> {
    let width = rows.iter().map(Vec::len).max().unwrap_or(0);
    let blank = |at: usize| rows.iter().all(|row| row.get(at).is_none_or(|c| *c == ' '));
    let mut columns: Vec<(usize, usize)> = Vec::new();
    for at in (0..width).filter(|at| !blank(*at)) {
        match columns.last_mut() {
            Some((_, end)) if at < *end + GAP => *end = at + 1,
            _ => columns.push((at, at + 1)),
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::{fold, wrap};

    const TABLE: &str = "phase  epochs  trains\nhead       24  head only\nall         2  stem..head\n";

    #[test]
    fn what_does_not_fit_follows_below_with_the_first_column() {
        let narrow = "phase  epochs\nhead       24\nall         2\n\nphase  trains\nhead   head only\nall    stem..head\n";
        assert_eq!(fold(TABLE, 17), narrow);
        assert_eq!(fold(TABLE.trim_end(), 17), narrow.trim_end());
        let around = format!("a sentence that is long\n\n{TABLE}\nend");
        assert_eq!(fold(&around, 17), format!("a sentence that\n  is long\n\n{narrow}\nend"));
    }

    #[test]
    fn rows_that_have_nothing_in_a_part_are_left_out_of_it() {
        let table = "net    layers  weights  input\nlite0       8  a        224\n               b        240\nlite1       8  c        300\n";
        let narrow = "net    layers\nlite0       8\nlite1       8\n\nnet    weights  input\nlite0  a        224\n       b        240\nlite1  c        300\n";
        assert_eq!(fold(table, 21), narrow);
    }

    #[test]
    fn what_fits_is_left_as_it_is() {
        assert_eq!(fold(TABLE, 25), TABLE);
        assert_eq!(fold("", 20), "");
        for command in
            ["try it     tl predict runs/a-long-name IMAGE\n", "go on with tl finetune --data photos\n"]
        {
            assert_eq!(fold(command, 20), command);
        }
    }

    #[test]
    fn sentences_go_on_below_their_beginning() {
        let words = "data       a folder with a long name\n           244 images\nhead       gap\n";
        let narrow =
            "data       a folder with\n           a long name\n           244 images\nhead       gap\n";
        assert_eq!(fold(words, 24), narrow);
        assert_eq!(wrap("warning: 3 texts were cut\n", 16), "warning: 3 texts\n  were cut\n");
        assert_eq!(wrap("a-word-that-is-too-long here", 10), "a-word-that-is-too-long\n  here");
        assert_eq!(wrap("grüße an alle", 8), "grüße an\n  alle");
    }
}

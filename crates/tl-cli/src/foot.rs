//! The foot of a terminal, where a bar or the view of a training stands.
//!
//! The decision behind it: `indicatif` says what the lines are, and they are put there and taken away here. It counts what it
//! drew by the width that the terminal had then, and parts lines by filling them up. A terminal that becomes narrower breaks
//! its lines anew, and what was drawn has more of them: stale pieces would stay, and rows of the log above would go.
//! So each line ends with a line break, and how many lines the old ones have become is told by the width of now.
//! A terminal may tell its new width only after it has broken its lines anew. What is drawn in between is cut off at its edge,
//! not broken: then the last line stays where it is, and what there is to clear above it is the same as if nothing was drawn.
//! The cursor rests at the beginning of the last line and not behind its end: there the `^C` that a terminal shows for
//! Ctrl-C would begin a line that nobody knows of.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use console::{Term, measure_text_width, truncate_str};
use indicatif::{ProgressDrawTarget, TermLike};

#[derive(Debug)]
struct Foot {
    term: Term,
    lines: Mutex<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    /// What `indicatif` has written since it last flushed.
    next: Vec<String>,
    /// Columns of the lines that are on the terminal.
    shown: Vec<usize>,
    /// Since when there are any.
    since: Option<Instant>,
}

/// Where bars are drawn, at most `hz` times a second.
pub(crate) fn draw_target(hz: u8) -> ProgressDrawTarget {
    let foot = Foot { term: Term::buffered_stderr(), lines: Mutex::default() };
    ProgressDrawTarget::term_like_with_hz(Box::new(foot), hz)
}

/// Columns that a line at the foot may have: the last stays free, since a terminal would begin a new line after it.
pub(crate) fn columns() -> usize {
    usize::from(Term::stderr().size().1).saturating_sub(1)
}

/// A terminal tells its new width within this time; tmux takes a quarter of a second.
const TELLS_WIDTH: Duration = Duration::from_millis(300);
/// Lines are cut off at the edge of the terminal, or go on below themselves as usual.
const CUT_OFF: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";

/// How far above the cursor, which is at the beginning of the last of these lines, the first of them begins now, and how many
/// rows there are in all.
fn rows(shown: &[usize], width: usize, breaks_anew: bool) -> (usize, usize) {
    let rows = |columns: &usize| if breaks_anew { columns.div_ceil(width.max(1)).max(1) } else { 1 };
    let last = shown.last().map_or(0, rows);
    let all: usize = shown.iter().map(rows).sum();
    (all - last, all)
}

/// Whether the terminal breaks lines anew when its width changes. Most do; these cut them off.
fn breaks_anew() -> bool {
    let is = |name: &str, start: &str| std::env::var(name).is_ok_and(|value| value.starts_with(start));
    let tmux = std::env::var_os("TMUX").is_some();
    !(is("XTERM_VERSION", "") || is("TERM", "linux") || is("TERM", "screen") && !tmux)
}

impl Foot {
    /// Puts `next` in the place of what is shown.
    fn draw(&self) -> io::Result<()> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let width = usize::from(self.term.size().1);
        let next: Vec<String> = std::mem::take(&mut lines.next)
            .iter()
            .map(|line| truncate_str(line.trim_end(), width.saturating_sub(1), "…").into_owned())
            .collect();
        if !lines.shown.is_empty() {
            // Rows of the log that came since the lines were broken anew are worth more than a clean screen.
            let long_there = lines.since.is_some_and(|since| since.elapsed() > TELLS_WIDTH);
            let (above, rows) = rows(&lines.shown, width, long_there && breaks_anew());
            self.term.write_str("\r")?;
            self.term.move_cursor_up(above)?;
            // Row by row, since clearing a whole screen at once would put it into the history of some terminals; and whole
            // rows, since cells of the old line behind the new one are broken anew as well.
            for row in 0..rows {
                self.term.move_cursor_down(usize::from(row > 0))?;
                self.term.clear_line()?;
            }
            self.term.move_cursor_up(rows - 1)?;
        }
        if next.is_empty() {
            lines.since = None;
        } else {
            self.term.write_str(&format!("{CUT_OFF}{}\r{WRAP}", next.join("\n")))?;
            lines.since.get_or_insert_with(Instant::now);
        }
        lines.shown = next.iter().map(|line| measure_text_width(line)).collect();
        self.term.flush()
    }
}

/// Where the cursor goes and what is cleared is decided in [`Foot::draw`] alone.
impl TermLike for Foot {
    fn width(&self) -> u16 {
        self.term.size().1.saturating_sub(1)
    }

    fn height(&self) -> u16 {
        self.term.size().0
    }

    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)
    }

    /// A line, or what fills it up.
    fn write_str(&self, text: &str) -> io::Result<()> {
        if !text.trim().is_empty() {
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.next.push(text.to_owned());
        }
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.draw()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};

    use indicatif::{ProgressBar, ProgressStyle};

    use super::*;

    #[test]
    fn a_narrower_terminal_has_more_lines_to_clear() {
        // The last line counts from where the cursor rests in it.
        let shown = [80, 30, 80];
        assert_eq!(rows(&shown, 100, true), (2, 3));
        assert_eq!(rows(&shown, 80, true), (2, 3));
        assert_eq!(rows(&shown, 79, true), (3, 5));
        assert_eq!(rows(&shown, 20, true), (4 + 2, 4 + 2 + 4));
        assert_eq!(rows(&shown, 20, false), (2, 3));
        assert_eq!(rows(&[], 20, true), (0, 0));
        assert_eq!(rows(&[7], 0, true), (0, 7));
    }

    #[test]
    #[cfg(unix)]
    fn lines_are_set_apart_by_line_breaks_and_leave_nothing_behind() {
        let mut file = tempfile::tempfile().unwrap();
        let [read, write] = [(); 2].map(|()| file.try_clone().unwrap());
        let foot = Foot { term: Term::read_write_pair(read, write), lines: Mutex::default() };
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::term_like(Box::new(foot)))
            .with_style(ProgressStyle::with_template("{msg}").unwrap());
        bar.set_message("one\ntwo");
        bar.finish_and_clear();
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        assert!(text.contains("\u{1b}[?7lone\ntwo\r\u{1b}[?7h"), "{text:?}");
        let cleared = "\r\u{1b}[1A\r\u{1b}[2K\u{1b}[1B\r\u{1b}[2K\u{1b}[1A";
        assert!(text.ends_with(cleared), "{text:?}");
        assert!(!text.contains("  "), "nothing is filled up: {text:?}");
    }
}

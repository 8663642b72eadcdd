//! The foot of a terminal, where a bar or the view of a training stands.
//!
//! The decision behind it: the cursor rests at the beginning of the last line and not behind its end. There the `^C` that a
//! terminal shows for Ctrl-C would begin a line that the bar knows nothing of, and what it then clears is one line too low.
//! Terminals break what is there anew when they become narrower, so before a bar is drawn again what it had grown to is
//! cleared.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use console::{Term, measure_text_width};
use indicatif::{ProgressDrawTarget, TermLike};

#[derive(Debug)]
struct Foot(Term, Mutex<Drawn>);

/// What stands at the foot.
#[derive(Debug, Default)]
struct Drawn {
    /// Widths of the lines that stand there, the last of which has the cursor.
    there: Vec<usize>,
    /// The same of those that are being written.
    lines: Vec<usize>,
    /// Width of what has been written of the last of them.
    last: usize,
    /// Whether nothing has moved since the last line was written.
    rests: bool,
}

impl Drawn {
    /// Lines that a terminal of that width shows more above the cursor than were written, as the cursor leaves it for the
    /// line `up` above; none if that is not the first.
    fn grown(&mut self, up: usize, width: usize) -> Option<usize> {
        let rests = std::mem::replace(&mut self.rests, false);
        let (_, above) = self.there.split_last()?;
        let shown = |line: &usize| line.div_ceil(width.max(1)).max(1);
        (rests && above.len() == up).then(|| above.iter().map(shown).sum::<usize>() - up)
    }

    /// All is written.
    fn settle(&mut self) {
        self.lines.push(std::mem::take(&mut self.last));
        self.there = std::mem::take(&mut self.lines);
        self.rests = true;
    }
}

impl Foot {
    fn drawn(&self) -> MutexGuard<'_, Drawn> {
        self.1.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where bars are drawn, at most `hz` times a second.
pub(crate) fn draw_target(hz: u8) -> ProgressDrawTarget {
    ProgressDrawTarget::term_like_with_hz(Box::new(Foot(Term::buffered_stderr(), Mutex::default())), hz)
}

impl TermLike for Foot {
    fn width(&self) -> u16 {
        self.0.size().1
    }

    fn height(&self) -> u16 {
        self.0.size().0
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        let grown = self.drawn().grown(n, self.width().into());
        match grown {
            Some(more) => {
                self.0.move_cursor_up(n + more)?;
                self.0.clear_to_end_of_screen()
            }
            None => self.0.move_cursor_up(n),
        }
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_down(n)
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_right(n)
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_left(n)
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        let mut drawn = self.drawn();
        let width = std::mem::take(&mut drawn.last) + measure_text_width(text);
        drawn.lines.push(width);
        self.0.write_line(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.drawn().last += measure_text_width(text.trim_end());
        self.0.write_str(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.0.clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        self.drawn().settle();
        self.0.write_str("\r")?;
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::Drawn;

    #[test]
    fn lines_that_a_narrower_terminal_broke_are_counted() {
        let mut drawn = Drawn { lines: vec![70, 20], last: 60, ..Drawn::default() };
        drawn.settle();
        assert_eq!(drawn.grown(2, 80), Some(0));
        assert_eq!(drawn.grown(2, 40), None, "it has moved since");
        drawn.rests = true;
        assert_eq!(drawn.grown(2, 40), Some(1));
        drawn.rests = true;
        assert_eq!(drawn.grown(1, 40), None, "not where it begins");
        let mut nothing = Drawn::default();
        assert_eq!(nothing.grown(0, 40), None);
    }
}

//! The foot of a terminal, where a bar or the view of a training stands.
//!
//! The decision behind it: the cursor rests at the beginning of the last line and not behind its end. There the `^C` that a
//! terminal shows for Ctrl-C would begin a line that the bar knows nothing of, and what it then clears is one line too low.

use std::io;

use console::Term;
use indicatif::{ProgressDrawTarget, TermLike};

#[derive(Debug)]
struct Foot(Term);

/// Where bars are drawn, at most `hz` times a second.
pub(crate) fn draw_target(hz: u8) -> ProgressDrawTarget {
    ProgressDrawTarget::term_like_with_hz(Box::new(Foot(Term::buffered_stderr())), hz)
}

impl TermLike for Foot {
    fn width(&self) -> u16 {
        self.0.size().1
    }

    fn height(&self) -> u16 {
        self.0.size().0
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_up(n)
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
        self.0.write_line(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.0.write_str(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.0.clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        self.0.write_str("\r")?;
        self.0.flush()
    }
}

//! What a person sees while it works: log lines and one progress bar, on stderr. stdout is for results.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tl_fetch::Progress;
use tl_train::{Tick, Training};

use crate::fold::{fold, wrap};
use crate::foot;
use crate::live::Live;

/// The one writer to stderr; lines and the bar take turns.
#[derive(Debug)]
pub(crate) struct Ui {
    bar: ProgressBar,
    /// What the bar of a net at work is about.
    ticking: &'static str,
    /// Nothing but results, warnings and errors.
    quiet: bool,
    /// The view of a training, while there is one.
    live: Option<Live>,
}

/// Whether stderr is something that lines can be drawn anew on.
fn is_terminal() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

impl Ui {
    pub(crate) fn new() -> Self {
        Self { bar: ProgressBar::hidden(), ticking: "", quiet: false, live: None }
    }

    /// One that says nothing but warnings and errors, if `quiet`.
    pub(crate) fn quiet(quiet: bool) -> Self {
        Self { quiet, ..Self::new() }
    }

    /// A log line.
    pub(crate) fn line(&self, text: &str) {
        if self.quiet && !["warning", "error"].iter().any(|word| text.starts_with(word)) {
            return;
        }
        self.bar.suspend(|| {
            // A closed stderr must not end a run.
            let _ = writeln!(std::io::stderr().lock(), "{}", for_stderr(text));
        });
    }

    /// A row of a table as a log line; on a terminal that is too narrow for it without its last columns. `mark` stands
    /// behind it in any case.
    pub(crate) fn row(&self, text: &str, mark: &str) {
        let width = match is_terminal() {
            true => usize::from(console::Term::stderr().size().1).max(40),
            false => usize::MAX,
        };
        self.line(&format!("{}{mark}", without_last_columns(text, width.saturating_sub(3))));
    }

    /// Tables as log lines, folded where the terminal is too narrow for them.
    pub(crate) fn tables(&self, text: &str) {
        match is_terminal() {
            true => self.line(&fold(text, usize::from(console::Term::stderr().size().1))),
            false => self.line(text),
        }
    }

    /// A line of results, on stdout.
    pub(crate) fn result(&self, text: &str) -> anyhow::Result<()> {
        self.bar.suspend(|| print(text))
    }

    /// From here on a training is shown by its own view, on a terminal.
    pub(crate) fn watch(&mut self, live: Live) {
        self.stop();
        if is_terminal() && !self.quiet {
            let target = foot::draw_target(20);
            let style =
                ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
            self.bar = ProgressBar::with_draw_target(None, target).with_style(style);
            self.live = Some(live);
        }
    }

    /// A batch was trained on.
    pub(crate) fn training(&mut self, now: &Training<'_>) {
        if let Some(live) = &mut self.live {
            live.training(now);
        }
    }

    /// An epoch has ended.
    pub(crate) fn epoch(&mut self, row: &tl_run::EpochRow) {
        if let Some(live) = &mut self.live {
            live.epoch(&row.phase, row.epoch, row.monitored, row.seconds);
        }
    }

    /// Starts a bar over `total` things; it shows on a terminal only.
    pub(crate) fn start(&mut self, what: &str, total: u64, bytes: bool) {
        self.bar.finish_and_clear();
        let target = match is_terminal() && !self.quiet {
            true => foot::draw_target(10),
            false => ProgressDrawTarget::hidden(),
        };
        let counts = match bytes {
            true => "{bytes}/{total_bytes} {bytes_per_sec}",
            false => "{human_pos}/{human_len}",
        };
        let template = format!("{{msg:16}} {{wide_bar}} {counts} {{eta}}");
        let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
        self.bar = ProgressBar::with_draw_target(Some(total), target).with_style(style);
        self.bar.set_message(what.to_owned());
        self.bar.enable_steady_tick(Duration::from_millis(200));
    }

    /// The bar, for other threads.
    pub(crate) fn handle(&self) -> ProgressBar {
        self.bar.clone()
    }

    pub(crate) fn at(&self, position: u64) {
        self.bar.set_position(position);
    }

    pub(crate) fn stop(&mut self) {
        self.bar.finish_and_clear();
        self.bar = ProgressBar::hidden();
        self.ticking = "";
        self.live = None;
    }

    /// Shows how far a net at work is, by one bar after the other.
    pub(crate) fn tick(&mut self, tick: Tick) {
        if let Some(live) = &mut self.live {
            if let Some(lines) = live.lines(tick, foot::columns().max(20)) {
                self.bar.set_message(lines);
            }
            return;
        }
        if self.ticking != tick.what {
            self.start(tick.what, tick.of as u64, false);
            self.ticking = tick.what;
        }
        self.at(tick.done as u64);
        if tick.done == tick.of {
            self.stop();
        }
    }
}

/// The columns that fit; they are set apart by two spaces or more.
fn without_last_columns(text: &str, width: usize) -> &str {
    let mut text = text.trim_end();
    while console::measure_text_width(text) > width {
        let Some(at) = text.rfind("  ") else { break };
        text = text[..at].trim_end();
    }
    text
}

/// Shows downloads.
pub(crate) fn show_fetch(ui: &std::cell::RefCell<Ui>) -> impl Fn(Progress<'_>) {
    show(ui, "getting")
}

/// Shows what is read or written, and what is done with it.
pub(crate) fn show(ui: &std::cell::RefCell<Ui>, doing: &'static str) -> impl Fn(Progress<'_>) {
    let said = std::cell::RefCell::new(String::new());
    move |progress| match progress {
        Progress::Start { what, total, at } => {
            let mut ui = ui.borrow_mut();
            // Finding a file, getting it and unpacking it may each start anew under the same name.
            if said.replace(what.to_owned()) != what {
                ui.line(&format!("{doing:<10} {what}"));
            }
            ui.start(doing, total.unwrap_or(0), true);
            ui.at(at);
        }
        Progress::Advance { at } => ui.borrow().at(at),
        Progress::Finish => ui.borrow_mut().stop(),
    }
}

/// A path as one word of a command that may be pasted into a shell.
pub(crate) fn word(path: &std::path::Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:,@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// `1,234.5 KiB` and the like.
pub(crate) fn bytes(n: u64) -> String {
    indicatif::BinaryBytes(n).to_string()
}

/// `0.3 s`, `12 s`, `4 min 10 s`, `2 h 05 min`.
pub(crate) fn seconds(n: f64) -> String {
    let whole = n.round() as u64;
    match whole {
        0..10 => format!("{n:.1} s"),
        10..100 => format!("{whole} s"),
        100..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// A line on stderr before there is a display.
pub(crate) fn note(text: &str) {
    // Nobody may be listening.
    let _ = writeln!(std::io::stderr().lock(), "{}", for_stderr(text));
}

/// A text with its lines broken between words where stderr is a terminal.
fn for_stderr(text: &str) -> String {
    match is_terminal() {
        true => wrap(text, usize::from(console::Term::stderr().size().1)),
        false => text.to_owned(),
    }
}

/// Columns of stdout, if it is a terminal.
pub(crate) fn width() -> Option<usize> {
    std::io::stdout().is_terminal().then(|| usize::from(console::Term::stdout().size().1))
}

/// Prints what is for people to stdout, tables folded and sentences wrapped where it is a terminal.
pub(crate) fn print_tables(text: &str) -> anyhow::Result<()> {
    match width() {
        Some(width) => print(&fold(text, width)),
        None => print(text),
    }
}

/// Prints a result as JSON to stdout: for a person with a line for each field, for a program in one line.
pub(crate) fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let text = match std::io::stdout().is_terminal() {
        true => serde_json::to_string_pretty(value)?,
        false => serde_json::to_string(value)?,
    };
    print(&(text + "\n"))
}

/// Prints results to stdout; a reader that went away is no error.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("failed to write to stdout"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{without_last_columns, word};

    #[test]
    fn columns_go_from_the_right() {
        let row = "all       1   0.5000   12.5";
        assert_eq!(without_last_columns(row, 100), row);
        assert_eq!(without_last_columns(row, 26), "all       1   0.5000");
        assert_eq!(without_last_columns(row, 12), "all       1");
        assert_eq!(without_last_columns("onelongword", 3), "onelongword");
    }

    #[test]
    fn paths_are_one_word() {
        for (path, expected) in [
            ("a/b.txt", "a/b.txt"),
            ("my photos", "'my photos'"),
            ("it's", "'it'\\''s'"),
            ("", "''"),
            ("größe", "größe"),
        ] {
            assert_eq!(word(path.as_ref()), expected);
        }
    }
}

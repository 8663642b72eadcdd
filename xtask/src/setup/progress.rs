//! Progress on stderr: a bar on a terminal, else one line for each step.

use std::cell::{Cell, RefCell};
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use tl_fetch::Progress;

/// Shows what setup does.
pub(crate) struct Ui {
    bar: ProgressBar,
    terminal: bool,
    verb: Cell<&'static str>,
    last: RefCell<String>,
}

impl Ui {
    pub(crate) fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = if terminal { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        Self { bar, terminal, verb: Cell::new(""), last: RefCell::default() }
    }

    /// A step without a length.
    pub(crate) fn step(&self, what: &str) {
        if self.terminal {
            self.bar.set_style(ProgressStyle::default_spinner());
            self.bar.enable_steady_tick(Duration::from_millis(120));
            self.bar.set_message(what.to_owned());
        } else {
            eprintln!("{what}");
        }
    }

    /// What the transfers that follow do.
    pub(crate) fn verb(&self, verb: &'static str) {
        self.verb.set(verb);
    }

    /// Takes what a transfer reports.
    pub(crate) fn observe(&self, progress: Progress<'_>) {
        match progress {
            Progress::Start { what, total, at } => {
                let line = format!("{} {}", self.verb.get(), short(what));
                // A transfer that starts over, or learns its length, is no new step.
                if !self.terminal && *self.last.borrow() != line {
                    let size = total.map(|n| format!(" ({})", HumanBytes(n))).unwrap_or_default();
                    let from =
                        if at > 0 { format!(", going on at {}", HumanBytes(at)) } else { String::new() };
                    eprintln!("{line}{size}{from}");
                }
                self.start(&line, total, at);
                self.last.replace(line);
            }
            Progress::Advance { at } => self.bar.set_position(at),
            Progress::Finish => {}
        }
    }

    fn start(&self, line: &str, total: Option<u64>, at: u64) {
        let template = match total {
            Some(_) => "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            None => "{spinner} {msg} {bytes}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
        if let Some(total) = total {
            self.bar.set_length(total);
        }
        self.bar.set_position(at);
        self.bar.reset_eta();
        self.bar.set_message(line.to_owned());
    }
}

/// A wheel's name without the platforms it is for; any other name as it is.
fn short(what: &str) -> String {
    match what.strip_suffix(".whl") {
        Some(wheel) => wheel.splitn(3, '-').take(2).collect::<Vec<_>>().join("-"),
        None => what.to_owned(),
    }
}

impl Drop for Ui {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn wheels_have_long_names() {
        assert_eq!(super::short("torch-2.11.0-cp311-cp311-manylinux_2_28_x86_64.whl"), "torch-2.11.0");
        assert_eq!(super::short("libtorch-x.zip"), "libtorch-x.zip");
    }
}

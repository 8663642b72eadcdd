//! Ctrl-C: before anything is written it ends the program at once; while a net trains it asks the loop to end after
//! the current step; a second one always ends the program.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use indicatif::ProgressBar;

use crate::ui::Ui;

/// What Ctrl-C does now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt {
    /// Set when the loop is to end.
    pub(crate) stop: Arc<AtomicBool>,
    graceful: Arc<AtomicBool>,
    /// What is on the terminal and has to make room for a line.
    bar: Arc<Mutex<Option<ProgressBar>>>,
    /// What is said when the loop is to end, if not the usual.
    words: Arc<Mutex<Option<&'static str>>>,
}

/// What a shell reports for a program ended by Ctrl-C.
pub(crate) const EXIT_CODE: u8 = 130;

impl Interrupt {
    pub(crate) fn install() -> anyhow::Result<Self> {
        let interrupt = Self::default();
        let this = interrupt.clone();
        ctrlc::set_handler(move || this.pressed())?;
        Ok(interrupt)
    }

    /// From here on there is something to save.
    pub(crate) fn be_graceful(&self) {
        self.graceful.store(true, Ordering::SeqCst);
    }

    /// Says this when the loop is to end.
    pub(crate) fn say_at_stop(&self, words: &'static str) {
        if let Ok(mut place) = self.words.lock() {
            *place = Some(words);
        }
    }

    /// Lines from here take turns with this bar.
    pub(crate) fn beside(&self, bar: ProgressBar) {
        if let Ok(mut place) = self.bar.lock() {
            *place = Some(bar);
        }
    }

    fn say(&self, text: &str) {
        match self.bar.lock().ok().and_then(|bar| bar.clone()) {
            Some(bar) => bar.suspend(|| Ui::new().line(text)),
            None => Ui::new().line(text),
        }
    }

    /// Says this as the last line: what is on the terminal goes.
    fn say_last(&self, text: &str) {
        if let Some(bar) = self.bar.lock().ok().and_then(|bar| bar.clone()) {
            bar.finish_and_clear();
        }
        Ui::new().line(text);
    }

    fn pressed(&self) {
        let asked_before = self.stop.swap(true, Ordering::SeqCst);
        if self.graceful.load(Ordering::SeqCst) && !asked_before {
            let words = self.words.lock().ok().and_then(|words| *words);
            self.say(words.unwrap_or("stopping after this step; press Ctrl-C again to stop at once"));
        } else {
            self.say_last("stopped");
            tl_torch::leave_at_once(EXIT_CODE);
        }
    }
}

//! Ctrl-C: before anything is written it ends the program at once; while a net trains it asks the loop to end after
//! the current step; a second one always ends the program.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::ui::Ui;

/// What Ctrl-C does now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt {
    /// Set when the loop is to end.
    pub(crate) stop: Arc<AtomicBool>,
    graceful: Arc<AtomicBool>,
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

    fn pressed(&self) {
        let asked_before = self.stop.swap(true, Ordering::SeqCst);
        if self.graceful.load(Ordering::SeqCst) && !asked_before {
            Ui::new().line("stopping after this step; press Ctrl-C again to stop at once");
        } else {
            Ui::new().line("stopped");
            tl_torch::leave_at_once(EXIT_CODE);
        }
    }
}

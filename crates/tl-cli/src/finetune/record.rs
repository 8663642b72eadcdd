//! Writing every epoch down, and showing it.

use std::cell::RefCell;
use std::error::Error;

use tl_run::{EpochRow, Manifest, RunDir};
use tl_train::{EpochResult, Observer, Tick};

use crate::ui::Ui;

/// A run directory and what has been recorded in it.
pub(super) struct Run {
    pub(super) dir: RunDir,
    pub(super) manifest: Manifest,
    pub(super) epochs: Vec<EpochRow>,
    /// Epochs that were recorded before the run was taken up again.
    pub(super) before: usize,
}

pub(super) const EPOCH_HEADER: &str =
    "phase         epoch   train loss  accuracy   val loss  accuracy  balanced   seconds  images/s";

/// Writes every epoch down and shows it.
pub(super) struct Recorder<'a> {
    pub(super) run: &'a mut Run,
    pub(super) ui: &'a RefCell<Ui>,
    pub(super) showing: &'static str,
}

impl Observer for Recorder<'_> {
    fn tick(&mut self, tick: Tick) {
        let mut ui = self.ui.borrow_mut();
        if self.showing != tick.what {
            ui.start(tick.what, tick.of as u64, false);
            self.showing = tick.what;
        }
        ui.at(tick.done as u64);
        if tick.done == tick.of {
            ui.stop();
            self.showing = "";
        }
    }

    fn epoch(&mut self, result: &EpochResult) -> Result<(), Box<dyn Error + Send + Sync>> {
        let row = epoch_row(result);
        self.run.dir.add_epoch(&row)?;
        let mark = if result.best { " *" } else { "" };
        self.ui.borrow().line(&format!("{}{mark}", line(&row)));
        self.run.epochs.push(row);
        Ok(())
    }

    fn note(&mut self, text: &str) {
        self.ui.borrow().line(&format!("warning: {text}"));
    }
}

/// An epoch as a line below [`EPOCH_HEADER`].
pub(super) fn line(row: &EpochRow) -> String {
    let EpochRow { phase, epoch, train_loss, train_accuracy, val_loss, val_accuracy, .. } = row;
    format!(
        "{phase:12}  {epoch:5}  {train_loss:11.4}  {train_accuracy:8.4}  {val_loss:9.4}  {val_accuracy:8.4}  {:8.4}  \
         {:8.2}  {:8.0}",
        row.val_balanced_accuracy, row.seconds, row.images_per_second,
    )
}

fn epoch_row(result: &EpochResult) -> EpochRow {
    EpochRow {
        epoch: result.epoch,
        phase: result.phase.clone(),
        phase_epoch: result.phase_epoch,
        train_loss: result.train.loss(),
        train_accuracy: result.train.accuracy(),
        val_loss: result.val.loss,
        val_accuracy: result.val.scores.accuracy(),
        val_balanced_accuracy: result.val.scores.balanced_accuracy(),
        monitor: result.monitor.to_string(),
        monitored: result.monitored,
        rate_head: result.rate_head,
        rate_last_stage: result.rate_last_stage,
        seconds: result.seconds,
        images_per_second: result.train.images as f64 / result.train_seconds.max(f64::MIN_POSITIVE),
        wait_seconds: result.wait_seconds,
    }
}

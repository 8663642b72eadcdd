//! Writing every epoch down, and showing it.

use std::cell::RefCell;
use std::error::Error;

use tl_heads::Task;
use tl_run::{EpochRow, Manifest, RunDir};
use tl_train::{EpochResult, Observer, Scores, Tick, Training};

use crate::ui::Ui;

/// A run directory and what has been recorded in it.
pub(super) struct Run {
    pub(super) dir: RunDir,
    pub(super) manifest: Manifest,
    pub(super) epochs: Vec<EpochRow>,
    /// Epochs that were recorded before the run was taken up again.
    pub(super) before: usize,
}

/// Writes every epoch down and shows it.
pub(super) struct Recorder<'a> {
    pub(super) run: &'a mut Run,
    pub(super) ui: &'a RefCell<Ui>,
    /// Epochs go to stdout as well, an object a line.
    pub(super) json: bool,
}

impl Observer for Recorder<'_> {
    fn tick(&mut self, tick: Tick) {
        self.ui.borrow_mut().tick(tick);
    }

    fn training(&mut self, now: &Training<'_>) {
        self.ui.borrow_mut().training(now);
    }

    fn epoch(&mut self, result: &EpochResult) -> Result<(), Box<dyn Error + Send + Sync>> {
        let row = epoch_row(result);
        self.run.dir.add_epoch(&row)?;
        self.ui.borrow_mut().epoch(&row);
        if self.json {
            let mut event = serde_json::to_value(&row)?;
            event["event"] = "epoch".into();
            event["best"] = result.best.into();
            self.ui.borrow().result(&format!("{event}\n"))?;
        }
        let mark = if result.best { " *" } else { "" };
        self.ui.borrow().row(&line(&row, result.val.task), mark);
        self.run.epochs.push(row);
        Ok(())
    }

    fn note(&mut self, text: &str) {
        self.ui.borrow().line(&format!("warning: {text}"));
    }
}

/// The metrics of a table of epochs, of labels and numbers.
fn metrics(task: Task) -> &'static [&'static str] {
    match task {
        Task::Softmax { .. } | Task::Binary => &[],
        Task::MultiLabel { .. } => &["macro-f1", "micro-f1", "auroc", "average-precision"],
        Task::Regression { targets: 1 } => &["mae", "rmse", "r2"],
        Task::Regression { .. } => &["r2"],
        Task::Tagging { entities: true, .. } => &["precision", "recall", "entity-f1", "word-accuracy"],
        Task::Tagging { entities: false, .. } => &["word-accuracy", "macro-f1"],
    }
}

fn width(title: &str) -> usize {
    title.chars().count().max(9)
}

/// The metric by which the best epoch is picked, where it has no column of its own.
fn extra(task: Task, monitor: &str) -> Option<&str> {
    let shown = match metrics(task) {
        [] => &["accuracy", "balanced-accuracy", "loss"][..],
        metrics => metrics,
    };
    (monitor != "loss" && !shown.contains(&monitor)).then_some(monitor)
}

/// What stands above the lines of the epochs of a run that is judged by `monitor`.
pub(super) fn header(task: Task, monitor: &str, unit: &str) -> String {
    let extra = extra(task, monitor).map(tl_run::metric_title);
    let extra = extra.map_or_else(String::new, |title| format!("  {title:>0$}", width(title)));
    let metrics = metrics(task);
    if metrics.is_empty() {
        return format!(
            "phase         epoch   train loss  accuracy   val loss  accuracy  balanced{extra}   seconds  {unit:>6}/s"
        );
    }
    let titles = metrics.iter().map(|name| tl_run::metric_title(name));
    let titles: String = titles.map(|title| format!("  {title:>0$}", width(title))).collect();
    format!("phase         epoch   train loss   val loss{titles}{extra}   seconds  {unit:>6}/s")
}

/// An epoch as a line below [`header`].
pub(super) fn line(row: &EpochRow, task: Task) -> String {
    let EpochRow { phase, epoch, train_loss, val_loss, seconds, images_per_second, .. } = row;
    let metrics = metrics(task);
    let extra = extra(task, &row.monitor).map(|name| {
        let value = row.monitored.map_or("-".to_owned(), |value| format!("{value:.4}"));
        format!("  {value:>0$}", width(tl_run::metric_title(name)))
    });
    let extra = extra.unwrap_or_default();
    if metrics.is_empty() {
        let figure = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.4}"));
        let (train, val) = (figure(row.train_accuracy), figure(row.val_accuracy));
        let balanced = figure(row.val_balanced_accuracy);
        return format!(
            "{phase:12}  {epoch:5}  {train_loss:11.4}  {train:>8}  {val_loss:9.4}  {val:>8}  {balanced:>8}{extra}  \
             {seconds:8.2}  {images_per_second:8.0}"
        );
    }
    let figure = |name: &&str| {
        let value = row.metrics.get(*name).map_or("-".to_owned(), |value| format!("{value:.4}"));
        format!("  {value:>0$}", width(tl_run::metric_title(name)))
    };
    let figures: String = metrics.iter().map(figure).collect();
    format!(
        "{phase:12}  {epoch:5}  {train_loss:11.4}  {val_loss:9.4}{figures}{extra}  {seconds:8.2}  {images_per_second:8.0}"
    )
}

fn epoch_row(result: &EpochResult) -> EpochRow {
    let scores = result.val.scores.as_ref();
    EpochRow {
        epoch: result.epoch,
        phase: result.phase.clone(),
        phase_epoch: result.phase_epoch,
        train_loss: result.train.loss(),
        train_accuracy: result.train_accuracy(),
        val_loss: result.val.loss,
        val_accuracy: scores.map(Scores::accuracy),
        val_balanced_accuracy: scores.map(Scores::balanced_accuracy),
        metrics: result.val.metrics(),
        monitor: result.monitor.to_string(),
        monitored: result.monitored,
        rate_head: result.rate_head,
        rate_last_stage: result.rate_last_stage,
        seconds: result.seconds,
        images_per_second: result.train.images as f64 / result.train_seconds.max(f64::MIN_POSITIVE),
        wait_seconds: result.wait_seconds,
    }
}

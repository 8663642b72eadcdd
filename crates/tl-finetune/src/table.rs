//! A plan as text, because it is read in a terminal before a run: what trains in a line a phase, and below it how.
//!
//! Neighbours are joined: stages that train as a whole become `stage7..head`, stages that train in part one range with
//! one count. What is wider than a terminal is broken at spaces, in the widest column first. Settings that few phases
//! have come last, and only where there are any.

use std::fmt::Write as _;

use crate::net::NetInfo;
use crate::plan::{Plan, PlannedPhase};
use crate::schedule::{BatchNorm, OptimizerState};

/// Neighbouring stages (and the head) that all train as a whole, or all in part.
struct Run<'a> {
    first: &'a str,
    last: &'a str,
    length: usize,
    /// Layers that train,
    trained: usize,
    /// of so many with parameters.
    of: usize,
}

impl Run<'_> {
    fn text(&self) -> String {
        let Self { first, last, length, trained, of } = self;
        match (trained == of, length) {
            (true, 1) => (*first).to_owned(),
            (true, 2) => format!("{first}, {last}"),
            (true, _) => format!("{first}..{last}"),
            (false, 1) => format!("{first} ({trained} of {of} layers)"),
            (false, _) => format!("{first}..{last} ({trained} of {of} layers)"),
        }
    }
}

impl PlannedPhase {
    /// What trains, by stage: `stage7..head`, or `stage5 (3 of 4 layers)` where a stage trains in part. Layers without
    /// parameters are not counted.
    #[must_use]
    pub fn trained(&self, net: &NetInfo) -> String {
        let count = |stage: usize| (net.stages[stage].name.as_str(), self.count(net, stage));
        let stages = net.stages_with_params().into_iter().map(count);
        let mut runs: Vec<Run<'_>> = Vec::new();
        let mut before = None;
        for (name, (trained, of)) in stages.chain([("head", (usize::from(self.head_rate.is_some()), 1))]) {
            let whole = (trained > 0).then_some(trained == of);
            match runs.last_mut() {
                _ if whole.is_none() => {}
                Some(run) if whole == before => {
                    run.last = name;
                    run.length += 1;
                    run.trained += trained;
                    run.of += of;
                }
                _ => runs.push(Run { first: name, last: name, length: 1, trained, of }),
            }
            before = whole;
        }
        runs.iter().map(Run::text).collect::<Vec<_>>().join(", ")
    }
}

/// Columns of a terminal.
const WIDTH: usize = 100;
/// Spaces between columns.
const GAP: usize = 2;

impl std::fmt::Display for Plan {
    /// What is printed before a run and kept as `plan.txt`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let header =
            ["phase", "epochs", "trains", "parameters", "rate head", "rate stages", "batch-norm", "images"];
        let mut rows = vec![header.map(str::to_owned)];
        rows.extend(self.phases.iter().map(|phase| what(phase, &self.net)));
        if self.net.texts {
            rows[0][7] = "texts".to_owned();
            // Text nets have none.
            write!(f, "{}", table(&rows.into_iter().map(without_batch_norm).collect::<Vec<_>>()))?;
        } else {
            write!(f, "{}", table(&rows))?;
        }
        let mut rows =
            vec![["phase", "frozen below", "optimizer", "weight decay", "curve"].map(str::to_owned)];
        rows.extend(self.phases.iter().map(|phase| how(phase, &self.net)));
        write!(f, "\n{}", table(&rows))?;
        let mut rows = vec![["phase", "also"].map(str::to_owned)];
        rows.extend(self.phases.iter().filter_map(also));
        if rows.len() > 1 { write!(f, "\n{}", table(&rows)) } else { Ok(()) }
    }
}

fn short(rate: f64) -> String {
    format!("{rate:.1e}").replace(".0e", "e")
}

fn what(phase: &PlannedPhase, net: &NetInfo) -> [String; 8] {
    let rate = |rate: Option<f64>| rate.map_or("-".to_owned(), short);
    let stages = match phase.stage_rate_range() {
        Some((low, high)) if low < high => format!("{}..{}", short(low), short(high)),
        range => rate(range.map(|(low, _)| low)),
    };
    let norm = match phase.batch_norm {
        BatchNorm::Frozen => "frozen",
        BatchNorm::Statistics => "statistics",
        BatchNorm::Train => "train",
    };
    let views = match phase.views {
        1 => "1 view".to_owned(),
        views => format!("{views} views"),
    };
    let images = match (phase.augment, phase.views, phase.frontier) {
        (true, 0, _) => "augmented".to_owned(),
        (true, _, 0) => views,
        (true, _, _) => format!("{views}, cached"),
        (false, _, 0) => "plain".to_owned(),
        (false, _, _) => "plain, cached".to_owned(),
    };
    let epochs = match phase.early_stopping {
        Some(_) => format!("up to {}", phase.epochs),
        None => phase.epochs.to_string(),
    };
    [
        phase.name.clone(),
        epochs,
        phase.trained(net),
        phase.params.to_string(),
        rate(phase.head_rate),
        stages,
        norm.to_owned(),
        images,
    ]
}

fn without_batch_norm(row: [String; 8]) -> [String; 7] {
    let [phase, epochs, trains, params, head, stages, _, input] = row;
    [phase, epochs, trains, params, head, stages, input]
}

fn how(phase: &PlannedPhase, net: &NetInfo) -> [String; 5] {
    let below = match phase.frontier {
        0 => "-",
        stage => net.stages.get(stage).map_or("head", |stage| stage.name.as_str()),
    };
    [
        phase.name.clone(),
        below.to_owned(),
        phase.optimizer.to_string(),
        phase.weight_decay.to_string(),
        phase.curve.to_string(),
    ]
}

/// What is not as it usually is.
fn also(phase: &PlannedPhase) -> Option<[String; 2]> {
    let stops = phase.early_stopping.map(|stopping| {
        let gain = stopping.metric.map_or("gain".to_owned(), |metric| format!("better {metric}"));
        match stopping.patience {
            1 => format!("stops after an epoch without {gain}"),
            patience => format!("stops after {patience} epochs without {gain}"),
        }
    });
    let said = |holds: bool, text: &str| holds.then(|| text.to_owned());
    let all = [
        stops,
        said(phase.optimizer_state == OptimizerState::Keep, "moments kept"),
        phase.clip_norm.map(|norm| format!("gradients clipped at {norm}")),
        (phase.accumulate > 1).then(|| format!("{} batches a step", phase.accumulate)),
        phase.ema.map(|decay| format!("weights averaged with {decay}")),
        phase.dropout.map(|rate| format!("dropout {rate}")),
        (phase.drop_path > 0.0).then(|| format!("drop-path {}", phase.drop_path)),
        phase.label_smoothing.map(|smoothing| format!("label smoothing {smoothing}")),
        said(!phase.restore_best, "last weights kept"),
    ];
    let all: Vec<String> = all.into_iter().flatten().collect();
    (!all.is_empty()).then(|| [phase.name.clone(), all.join(", ")])
}

fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let longest = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or(0);
    let length = |text: &str| text.chars().count();
    let mut widths: [usize; N] =
        std::array::from_fn(|i| longest(&mut rows.iter().map(|row| length(&row[i]))));
    let least: [usize; N] =
        std::array::from_fn(|i| longest(&mut rows.iter().flat_map(|row| row[i].split(' ')).map(length)));
    while widths.iter().sum::<usize>() + GAP * N.saturating_sub(1) > WIDTH {
        let can_shrink = (0..N).filter(|i| widths[*i] > least[*i]);
        let Some(widest) = can_shrink.max_by_key(|i| widths[*i]) else { break };
        widths[widest] -= 1;
    }
    let mut text = String::new();
    for row in rows {
        let cells: [Vec<String>; N] = std::array::from_fn(|i| wrap(&row[i], widths[i]));
        for n in 0..cells.iter().map(Vec::len).max().unwrap_or(0) {
            let mut line = String::new();
            for (cell, width) in cells.iter().zip(&widths) {
                let cell = cell.get(n).map_or("", String::as_str);
                let _ = write!(line, "{cell:width$}{:GAP$}", "");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    text
}

/// Breaks at spaces into lines of at most `width` characters, where words are no longer than that.
fn wrap(cell: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in cell.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;

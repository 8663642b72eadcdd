//! A plan as text: one line a phase, as narrow as it goes, because it is read in a terminal before a run.
//!
//! Neighbours are joined: stages that train as a whole become `stage7..head`, stages that train in part one range with
//! one count.

use std::fmt::Write as _;

use crate::net::NetInfo;
use crate::plan::{Plan, PlannedPhase};
use crate::schedule::BatchNorm;

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

impl std::fmt::Display for Plan {
    /// The table that is printed before a run and kept as `plan.txt`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let header =
            ["phase", "epochs", "trains", "parameters", "rate head", "rate stages", "batch-norm", "images"];
        let mut rows = vec![header.map(str::to_owned)];
        rows.extend(self.phases.iter().map(|phase| row(phase, &self.net)));
        f.write_str(&table(&rows))
    }
}

fn row(phase: &PlannedPhase, net: &NetInfo) -> [String; 8] {
    let short = |rate: f64| format!("{rate:.1e}").replace(".0e", "e");
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
    let images = match (phase.augment, phase.frontier) {
        (true, _) => "augmented",
        (false, 0) => "plain",
        (false, _) => "plain, cached",
    };
    [
        phase.name.clone(),
        phase.epochs.to_string(),
        phase.trained(net),
        phase.params.to_string(),
        rate(phase.head_rate),
        stages,
        norm.to_owned(),
        images.to_owned(),
    ]
}

fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |i: usize| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

//! The live view of a training in a terminal: three lines that stay at its foot while the log scrolls above them.
//!
//! The decision behind it: the lines are made here as plain text for a given width, and the bar of `ui` only puts them
//! there, so that log lines and view take turns and nothing is wider than the terminal.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use console::{measure_text_width, style, truncate_str};
use tl_finetune::Plan;
use tl_train::{Tick, Training};

use crate::machine;
use crate::ui;

/// The view is drawn anew at most so often.
const EVERY: Duration = Duration::from_millis(80);
/// Epochs that the sparkline shows.
const SPARKS: usize = 24;

/// A phase as it is shown.
#[derive(Clone, Debug)]
struct Phase {
    name: String,
    epochs: u32,
    /// What trains in it, and what does not.
    parts: String,
}

/// What is known so far.
#[derive(Debug)]
pub(crate) struct Live {
    phases: Vec<Phase>,
    monitor: String,
    lower_is_better: bool,
    /// What the run is judged by, of the last epochs.
    history: VecDeque<f64>,
    best: Option<(f64, u32)>,
    /// Seconds of an epoch of the phase, on average.
    epoch_seconds: Option<(String, f64, u32)>,
    /// Since when the work of the first line goes on, and where it then stood.
    since: (Instant, &'static str, usize),
    /// How far it was when it was last heard of.
    done: usize,
    state: Option<State>,
    drawn: Option<Instant>,
    /// What is counted.
    unit: &'static str,
}

/// Where the training stands.
#[derive(Clone, Debug)]
struct State {
    phase: String,
    phase_epoch: u32,
    epoch: u32,
    loss: f64,
    rate: Option<f64>,
}

impl Live {
    pub(crate) fn new(plan: &Plan, monitor: &str) -> Self {
        let net = &plan.net;
        let phase = |phase: &tl_finetune::PlannedPhase| {
            let frozen = match phase.frontier {
                0 => String::new(),
                1 => format!(", frozen {}", net.stages[0].name),
                n => {
                    let last = net.stages.get(n - 1).map_or("", |stage| stage.name.as_str());
                    format!(", frozen {}..{last}", net.stages[0].name)
                }
            };
            let parts = format!("trains {}{frozen}", phase.trained(net));
            Phase { name: phase.name.clone(), epochs: phase.epochs, parts }
        };
        Self {
            phases: plan.phases.iter().map(phase).collect(),
            monitor: monitor.to_owned(),
            lower_is_better: ["loss", "log-loss", "ece", "mae", "rmse"].contains(&monitor),
            history: VecDeque::new(),
            best: None,
            epoch_seconds: None,
            since: (Instant::now(), "", 0),
            done: 0,
            state: None,
            drawn: None,
            unit: "images",
        }
    }

    /// The same of what is called `unit`, several of them.
    pub(crate) fn of(self, unit: &'static str) -> Self {
        Self { unit, ..self }
    }

    /// A batch was trained on.
    pub(crate) fn training(&mut self, now: &Training<'_>) {
        let state = State {
            phase: now.phase.to_owned(),
            phase_epoch: now.phase_epoch,
            epoch: now.epoch,
            loss: now.loss,
            rate: now.rate,
        };
        self.state = Some(state);
    }

    /// An epoch has ended.
    pub(crate) fn epoch(&mut self, phase: &str, epoch: u32, monitored: Option<f64>, seconds: f64) {
        if let Some(value) = monitored {
            self.history.push_back(value);
            while self.history.len() > SPARKS {
                self.history.pop_front();
            }
            let better = |best: f64| if self.lower_is_better { value < best } else { value > best };
            if self.best.is_none_or(|(best, _)| better(best)) {
                self.best = Some((value, epoch));
            }
        }
        self.epoch_seconds = Some(match self.epoch_seconds.take() {
            Some((name, sum, n)) if name == phase => (name, sum + seconds, n + 1),
            _ => (phase.to_owned(), seconds, 1),
        });
    }

    /// The lines at this moment, if it is time to draw them again.
    pub(crate) fn lines(&mut self, tick: Tick, width: usize) -> Option<String> {
        let now = Instant::now();
        // What was done before is done again in the next epoch.
        if self.since.1 != tick.what || tick.done <= self.done {
            self.since = (now, tick.what, tick.done);
        }
        self.done = tick.done;
        let ended = tick.done == tick.of;
        if !ended && self.drawn.is_some_and(|drawn| now - drawn < EVERY) {
            return None;
        }
        self.drawn = Some(now);
        let lines = [Some(self.first(tick, now, width)), self.second(tick, now), self.third()];
        let lines = lines.into_iter().flatten().map(|line| truncate_str(&line, width, "…").into_owned());
        Some(lines.collect::<Vec<_>>().join("\n"))
    }

    /// What goes on, how far it is, and how long the phase still takes.
    fn first(&self, tick: Tick, now: Instant, width: usize) -> String {
        let state = self.state.as_ref().filter(|_| tick.what != "features");
        let (left, what) = match state {
            Some(state) => {
                let phase = self.phases.iter().find(|phase| phase.name == state.phase);
                let epochs = phase.map_or(0, |phase| phase.epochs);
                let what = if tick.what == "validation" { ", validation" } else { "" };
                (
                    style(&state.phase).for_stderr().bold().to_string(),
                    format!(" epoch {} of {epochs}{what}", state.phase_epoch),
                )
            }
            None => (style(tick.what).for_stderr().bold().to_string(), String::new()),
        };
        let counts = format!("{} of {} {}", tick.done, tick.of, self.unit);
        let remaining = self
            .remaining(tick, now)
            .map_or_else(String::new, |left| format!("  {} left", ui::seconds(left)));
        let head = format!("{left}{what}  ");
        let foot = format!("  {counts}{remaining}");
        let taken = measure_text_width(&head) + measure_text_width(&foot);
        // What there is no room for is not a bar but a stump.
        let room = width.saturating_sub(taken).min(60);
        let bar = if room < 8 { String::new() } else { bar(tick.done as f64 / tick.of.max(1) as f64, room) };
        format!("{head}{bar}{foot}")
    }

    /// Seconds until the phase ends, or the work of the first line where nothing more is known.
    fn remaining(&self, tick: Tick, now: Instant) -> Option<f64> {
        let done = tick.done.saturating_sub(self.since.2);
        let spent = (now - self.since.0).as_secs_f64();
        let here = (done > 0).then(|| spent / done as f64 * (tick.of - tick.done.min(tick.of)) as f64);
        let (Some(state), "training") = (&self.state, tick.what) else { return here.filter(|_| spent > 1.0) };
        let epochs = self.phases.iter().find(|phase| phase.name == state.phase)?.epochs;
        let more = f64::from(epochs.saturating_sub(state.phase_epoch));
        let whole = match &self.epoch_seconds {
            Some((name, sum, n)) if *name == state.phase => sum / f64::from(*n),
            _ => here? + spent,
        };
        Some(here.unwrap_or(0.0) + more * whole).filter(|left| *left >= 1.0)
    }

    /// Loss, rate, speed, memory, and what trains.
    fn second(&self, tick: Tick, now: Instant) -> Option<String> {
        // Loss and rate are those of the training, and not of what is done for it.
        let state = self.state.as_ref().filter(|_| tick.what != "features");
        let spent = (now - self.since.0).as_secs_f64();
        let done = tick.done.saturating_sub(self.since.2);
        let mut parts: Vec<String> =
            state.map(|state| format!("loss {:.4}", state.loss)).into_iter().collect();
        parts.extend(state.and_then(|state| state.rate).map(|rate| format!("rate {rate:.1e}")));
        parts
            .extend((done > 0 && spent > 0.0).then(|| format!("{:.0} {}/s", done as f64 / spent, self.unit)));
        parts.extend(machine::memory().map(ui::bytes));
        let phase = state.and_then(|state| self.phases.iter().find(|phase| phase.name == state.phase));
        parts.extend(phase.map(|phase| phase.parts.clone()));
        (!parts.is_empty()).then(|| parts.join("  "))
    }

    /// What the run is judged by.
    fn third(&self) -> Option<String> {
        let last = self.history.back()?;
        let title = tl_run::metric_title(&self.monitor);
        let sparks = sparkline(self.history.iter().copied());
        let best =
            self.best.map_or_else(String::new, |(best, epoch)| format!(", best {best:.4} in epoch {epoch}"));
        let epoch = self.state.as_ref().map_or(0, |state| state.epoch);
        let of: u32 = self.phases.iter().map(|phase| phase.epochs).sum();
        Some(format!(
            "{title} {} {last:.4}{best}  (epoch {epoch} of at most {of})",
            style(sparks).for_stderr().cyan()
        ))
    }
}

/// Of `width` columns, both ends among them.
fn bar(share: f64, width: usize) -> String {
    let room = width.saturating_sub(2);
    let filled = (share.clamp(0.0, 1.0) * room as f64).round() as usize;
    format!("[{}{}]", "=".repeat(filled), " ".repeat(room - filled))
}

/// Eight heights between the lowest and the highest value.
pub(crate) fn sparkline(values: impl Iterator<Item = f64> + Clone) -> String {
    const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let (low, high) =
        values.clone().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    let height = |value: f64| match high > low {
        true => HEIGHTS[((value - low) / (high - low) * 7.0).round() as usize],
        false => HEIGHTS[3],
    };
    values.map(height).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> Live {
        Live {
            phases: vec![Phase {
                name: "head".to_owned(),
                epochs: 4,
                parts: "trains head, frozen stem..stage7".to_owned(),
            }],
            monitor: "accuracy".to_owned(),
            lower_is_better: false,
            history: VecDeque::new(),
            best: None,
            epoch_seconds: None,
            since: (Instant::now(), "", 0),
            done: 0,
            state: None,
            drawn: None,
            unit: "images",
        }
    }

    #[test]
    fn the_view_fits_every_terminal() {
        for width in [20, 40, 80, 200] {
            let mut live = live();
            live.training(&Training { phase: "head", phase_epoch: 2, epoch: 2, rate: Some(1e-3), loss: 0.5 });
            live.epoch("head", 1, Some(0.75), 10.0);
            let lines = live.lines(Tick { what: "training", done: 32, of: 64 }, width).unwrap();
            let lines: Vec<&str> = lines.lines().collect();
            assert_eq!(lines.len(), 3);
            assert!(lines.iter().all(|line| measure_text_width(line) <= width), "{lines:?}");
            if width >= 80 {
                assert!(
                    lines[0].contains("epoch 2 of 4") && lines[0].contains("32 of 64 images"),
                    "{lines:?}"
                );
                assert!(
                    lines[0].contains("20 s left") && lines[0].contains("=]") || lines[0].contains("= "),
                    "{lines:?}"
                );
                assert!(lines[1].contains("loss 0.5000  rate 1.0e-3"), "{lines:?}");
                assert!(lines[2].contains("best 0.7500 in epoch 1"), "{lines:?}");
            }
        }
    }

    #[test]
    fn the_speed_is_that_of_this_epoch() {
        let mut live = live();
        for _ in 0..2 {
            let before = Instant::now();
            for done in [32, 64] {
                live.lines(Tick { what: "training", done, of: 64 }, 80);
            }
            assert!(live.since.0 >= before && live.since.2 == 32);
        }
    }

    #[test]
    fn sparks_stand_between_the_lowest_and_the_highest() {
        assert_eq!(sparkline([0.0, 0.5, 1.0].into_iter()), "▁▅█");
        assert_eq!(sparkline([2.0, 2.0].into_iter()), "▄▄");
        assert_eq!(sparkline(std::iter::empty()), "");
        assert_eq!(bar(0.5, 10), "[====    ]");
        assert_eq!(bar(7.0, 4), "[==]");
    }
}

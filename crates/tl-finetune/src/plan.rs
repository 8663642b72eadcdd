//! A plan: a schedule resolved against a net's stages, with everything that was wrong with it reported together.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;

use crate::curve::Curve;
use crate::schedule::{BatchNorm, OptimizerState, Phase, Schedule, StageRate};

/// A stage as a plan needs to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageInfo {
    /// Its name, unique in the net.
    pub name: String,
    /// Number of its parameters, norms included.
    pub params: usize,
    /// Number of scales and shifts of its norms.
    pub norm_params: usize,
}

/// Phases that are known to fit the net.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// In the order in which they run.
    pub phases: Vec<PlannedPhase>,
    /// The net's stages, in forward order.
    pub stages: Vec<StageInfo>,
    /// Number of the head's parameters.
    pub head_params: usize,
}

/// A phase with its rates by stage.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedPhase {
    /// Unique in the plan.
    pub name: String,
    /// Peak rate of each stage, in forward order; `None` is frozen.
    pub stage_rates: Vec<Option<f64>>,
    /// Peak rate of the head; `None` is frozen.
    pub head_rate: Option<f64>,
    /// How the rates move over the phase.
    pub curve: Curve,
    /// Passes over the training images, at least 1.
    pub epochs: u32,
    /// Whether training images are augmented.
    pub augment: bool,
    /// Batch-norm of the stages that train.
    pub batch_norm: BatchNorm,
    /// Moments at the start of the phase.
    pub optimizer: OptimizerState,
    /// Whether the best weights so far are put back before the next phase.
    pub restore_best: bool,
    /// Decoupled weight decay of kernels and matrices.
    pub weight_decay: f64,
    /// The first stage that trains: what lies below is a pure function. The number of stages if only the head trains.
    pub frontier: usize,
    /// Number of parameters that train.
    pub params: usize,
}

/// One thing wrong with a schedule.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// There are no phases.
    #[error("the schedule has no phases")]
    NoPhases,
    /// Two phases have one name.
    #[error("phase `{phase}`: the name is used twice")]
    DuplicatePhase {
        /// The phase.
        phase: String,
    },
    /// A phase trains nothing.
    #[error("phase `{phase}`: nothing trains; expected at least one stage or `head` in `train`")]
    EmptyPhase {
        /// The phase.
        phase: String,
    },
    /// The net has no such stage.
    #[error("phase `{phase}`: the net has no stage `{stage}`{}", hint(.did_you_mean, .known))]
    UnknownStage {
        /// The phase.
        phase: String,
        /// The name given.
        stage: String,
        /// The nearest name, if one is near.
        did_you_mean: Option<String>,
        /// All names.
        known: String,
    },
    /// A stage has two rates.
    #[error("phase `{phase}`: stage `{stage}` is listed twice")]
    DuplicateStage {
        /// The phase.
        phase: String,
        /// The stage.
        stage: String,
    },
    /// A number is out of its range.
    #[error("phase `{phase}`: `{key}` is {got}, expected {expected}")]
    OutOfRange {
        /// The phase.
        phase: String,
        /// The key.
        key: String,
        /// The value given.
        got: f64,
        /// The range.
        expected: &'static str,
    },
    /// The head is new, so something must train it.
    #[error("no phase trains `head`, which is new and would stay random")]
    HeadNeverTrains,
}

/// Everything wrong with a schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanErrors(pub Vec<PlanError>);

impl std::error::Error for PlanErrors {}

impl std::fmt::Display for PlanErrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

fn hint(did_you_mean: &Option<String>, known: &str) -> String {
    match did_you_mean {
        Some(name) => format!(", did you mean `{name}`? It has: {known}"),
        None => format!(", it has: {known}"),
    }
}

impl Schedule {
    /// Checks the schedule against a net (stages in forward order) and resolves it.
    ///
    /// # Errors
    /// Everything wrong with it, together.
    pub fn plan(&self, stages: &[StageInfo], head_params: usize) -> Result<Plan, PlanErrors> {
        let mut errors = Vec::new();
        if self.phases.is_empty() {
            errors.push(PlanError::NoPhases);
        }
        let mut names = BTreeSet::new();
        let mut phases = Vec::new();
        for phase in &self.phases {
            if !names.insert(&phase.name) {
                errors.push(PlanError::DuplicatePhase { phase: phase.name.clone() });
            }
            check_numbers(phase, &mut errors);
            phases.push(resolve(phase, stages, head_params, &mut errors));
        }
        let trains_head = |phase: &PlannedPhase| phase.head_rate.is_some();
        if !phases.is_empty() && !phases.iter().any(trains_head) {
            errors.push(PlanError::HeadNeverTrains);
        }
        if errors.is_empty() {
            Ok(Plan { phases, stages: stages.to_vec(), head_params })
        } else {
            Err(PlanErrors(errors))
        }
    }
}

fn check_numbers(phase: &Phase, errors: &mut Vec<PlanError>) {
    let mut check = |key: String, got: f64, holds: bool, expected| {
        if !holds {
            errors.push(PlanError::OutOfRange { phase: phase.name.clone(), key, got, expected });
        }
    };
    check("epochs".into(), f64::from(phase.epochs), phase.epochs > 0, "at least 1");
    let decay = phase.weight_decay;
    check("weight_decay".into(), decay, (0.0..1.0).contains(&decay), "0 or more, below 1");
    for StageRate { stage, rate } in &phase.train {
        check(format!("rate of {stage}"), *rate, *rate > 0.0 && *rate <= 10.0, "above 0, at most 10");
    }
    if let Curve::Cosine { warmup } = phase.curve {
        check("warmup".into(), warmup, (0.0..1.0).contains(&warmup), "0 or more, below 1");
    }
}

fn resolve(
    phase: &Phase,
    stages: &[StageInfo],
    head_params: usize,
    errors: &mut Vec<PlanError>,
) -> PlannedPhase {
    let mut stage_rates = vec![None; stages.len()];
    let mut head_rate = None;
    if phase.train.is_empty() {
        errors.push(PlanError::EmptyPhase { phase: phase.name.clone() });
    }
    for StageRate { stage, rate } in &phase.train {
        let slot = match stages.iter().position(|info| info.name == *stage) {
            Some(i) => &mut stage_rates[i],
            None if stage == "head" => &mut head_rate,
            None => {
                errors.push(unknown_stage(&phase.name, stage, stages));
                continue;
            }
        };
        if slot.replace(*rate).is_some() {
            errors.push(PlanError::DuplicateStage { phase: phase.name.clone(), stage: stage.clone() });
        }
    }
    let trained = |i: &usize| stage_rates[*i].is_some();
    let frontier = (0..stages.len()).find(trained).unwrap_or(stages.len());
    let trainable = |i: usize| match phase.batch_norm {
        BatchNorm::Train => stages[i].params,
        BatchNorm::Frozen | BatchNorm::Statistics => stages[i].params - stages[i].norm_params,
    };
    let params = (0..stages.len()).filter(trained).map(trainable).sum::<usize>()
        + head_rate.map_or(0, |_| head_params);
    PlannedPhase {
        name: phase.name.clone(),
        stage_rates,
        head_rate,
        curve: phase.curve,
        epochs: phase.epochs,
        augment: phase.augment,
        batch_norm: phase.batch_norm,
        optimizer: phase.optimizer,
        restore_best: phase.restore_best,
        weight_decay: phase.weight_decay,
        frontier,
        params,
    }
}

fn unknown_stage(phase: &str, stage: &str, stages: &[StageInfo]) -> PlanError {
    let names = || stages.iter().map(|info| info.name.as_str()).chain(["head"]);
    let nearest = names()
        .map(|name| (strsim::normalized_damerau_levenshtein(stage, name), name))
        .filter(|(likeness, _)| *likeness > 0.5)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    PlanError::UnknownStage {
        phase: phase.to_owned(),
        stage: stage.to_owned(),
        did_you_mean: nearest.map(|(_, name)| name.to_owned()),
        known: names().collect::<Vec<_>>().join(", "),
    }
}

impl PlannedPhase {
    /// The stages that train as a range of names: `stage7..head`.
    #[must_use]
    pub fn trained(&self, stages: &[StageInfo]) -> String {
        let mut runs: Vec<Range<usize>> = Vec::new();
        let rates = self.stage_rates.iter().chain([&self.head_rate]);
        for i in rates.enumerate().filter_map(|(i, rate)| rate.map(|_| i)) {
            match runs.last_mut() {
                Some(run) if run.end == i => run.end = i + 1,
                _ => runs.push(i..i + 1),
            }
        }
        let name = |i: usize| stages.get(i).map_or("head", |info| info.name.as_str());
        let text = |run: &Range<usize>| match run.len() {
            1 => name(run.start).to_owned(),
            2 => format!("{}, {}", name(run.start), name(run.start + 1)),
            _ => format!("{}..{}", name(run.start), name(run.end - 1)),
        };
        runs.iter().map(text).collect::<Vec<_>>().join(", ")
    }

    /// Lowest and highest peak rate of the stages that train, the head not counted.
    #[must_use]
    pub fn stage_rate_range(&self) -> Option<(f64, f64)> {
        let rates = || self.stage_rates.iter().flatten().copied();
        let lowest = rates().min_by(f64::total_cmp)?;
        Some((lowest, rates().max_by(f64::total_cmp)?))
    }
}

impl std::fmt::Display for Plan {
    /// The table that is printed before a run and kept as `plan.txt`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let header =
            ["phase", "epochs", "trains", "parameters", "rate head", "rate stages", "batch-norm", "images"];
        let mut rows = vec![header.map(str::to_owned)];
        for phase in &self.phases {
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
            rows.push([
                phase.name.clone(),
                phase.epochs.to_string(),
                phase.trained(&self.stages),
                phase.params.to_string(),
                rate(phase.head_rate),
                stages,
                norm.to_owned(),
                images.to_owned(),
            ]);
        }
        f.write_str(&table(&rows))
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preset::Preset;

    fn stages() -> Vec<StageInfo> {
        [("stem", 11), ("stage1", 202), ("stage2", 3003)]
            .map(|(name, params)| StageInfo { name: name.to_owned(), params, norm_params: params % 10 })
            .to_vec()
    }

    #[test]
    fn every_preset_plans() {
        for preset in Preset::ALL {
            let plan = preset.schedule(&stages()).plan(&stages(), 55).unwrap();
            assert_eq!(preset.name().parse::<Preset>().unwrap(), preset);
            assert_eq!((plan.phases[0].frontier, plan.phases[0].params), (3, 55));
        }
    }

    #[test]
    fn gradual_moves_the_frontier_down_with_falling_rates() {
        let plan = Preset::Gradual.schedule(&stages()).plan(&stages(), 55).unwrap();
        let frontiers: Vec<usize> = plan.phases.iter().map(|phase| phase.frontier).collect();
        assert_eq!(frontiers, [3, 2, 0]);
        let params: Vec<usize> = plan.phases.iter().map(|phase| phase.params).collect();
        assert_eq!(params, [55, 3055, 3265]);
        let rates: Vec<f64> = plan.phases.iter().filter_map(|phase| phase.head_rate).collect();
        assert!(rates.windows(2).all(|pair| pair[0] > pair[1]), "{rates:?}");
        let all = &plan.phases[2];
        assert!(all.stage_rates.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", all.stage_rates);
        assert_eq!(all.trained(&plan.stages), "stem..head");
        assert_eq!(plan.phases[1].trained(&plan.stages), "stage2, head");
    }

    #[test]
    fn frozen_norms_are_not_counted_as_trained() {
        let mut schedule = Preset::Full.schedule(&stages());
        schedule.phases[1].batch_norm = BatchNorm::Train;
        assert_eq!(schedule.plan(&stages(), 55).unwrap().phases[1].params, 55 + 11 + 202 + 3003);
    }

    #[test]
    fn the_table_reads_well() {
        let plan = Preset::Gradual.schedule(&stages()).plan(&stages(), 55).unwrap();
        let text = plan.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(
            lines[1],
            "head        30      head          55          1e-3       -               frozen      plain, cached"
        );
        assert_eq!(lines.iter().position(|line| line.contains("augmented")), Some(3), "{text}");
    }

    #[test]
    fn all_errors_are_reported_together() {
        let mut schedule = Preset::Gradual.schedule(&stages());
        schedule.phases[0].train.clear();
        schedule.phases[1].name = "head".to_owned();
        schedule.phases[1].epochs = 0;
        schedule.phases[1].train[0].stage = "stagee2".to_owned();
        schedule.phases[2].train[0].rate = f64::NAN;
        schedule.phases[2].curve = Curve::Cosine { warmup: 1.0 };
        let again = schedule.phases[2].train[1].clone();
        schedule.phases[2].train.push(again);
        let errors = schedule.plan(&stages(), 55).unwrap_err();
        let expected = [
            "phase `head`: nothing trains; expected at least one stage or `head` in `train`",
            "phase `head`: the name is used twice",
            "phase `head`: `epochs` is 0, expected at least 1",
            "phase `head`: the net has no stage `stagee2`, did you mean `stage2`? It has: stem, stage1, stage2, head",
            "phase `all`: `rate of stem` is NaN, expected above 0, at most 10",
            "phase `all`: `warmup` is 1, expected 0 or more, below 1",
            "phase `all`: stage `stage1` is listed twice",
        ];
        assert_eq!(errors.to_string().lines().collect::<Vec<_>>(), expected);
        let none = Schedule { phases: Vec::new() }.plan(&stages(), 55).unwrap_err();
        assert_eq!(none.0, [PlanError::NoPhases]);
    }

    #[test]
    fn a_head_that_never_trains_is_refused() {
        let mut schedule = Preset::FeatureExtraction.schedule(&stages());
        schedule.phases[0].train[0].stage = "stage1".to_owned();
        assert_eq!(schedule.plan(&stages(), 55).unwrap_err().0, [PlanError::HeadNeverTrains]);
    }

    #[test]
    fn a_schedule_survives_json() {
        let schedule = Preset::Gradual.schedule(&stages());
        let json = serde_json::to_string(&schedule).unwrap();
        assert_eq!(serde_json::from_str::<Schedule>(&json).unwrap(), schedule);
        let wrong = json.replacen("\"epochs\"", "\"epoch\"", 1);
        assert!(
            serde_json::from_str::<Schedule>(&wrong)
                .unwrap_err()
                .to_string()
                .contains("unknown field `epoch`")
        );
    }
}

//! Runs that are there: read from their directories, and compared.
//!
//! The decision behind it: a run is what its records say. Nothing is kept beside them, so runs can be moved, copied and
//! deleted like any folder.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use crate::analysis::{Difference, McNemar, mcnemar, paired_difference};
use crate::error::RunError;
use crate::records::{EpochRow, Evaluation, Manifest, Status, Summary};
use crate::run_dir::{LOCK, RunDir};

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// All phases ran.
    Finished,
    /// Stopped on request; it can go on.
    Interrupted,
    /// Something failed after the first epoch; it can go on.
    Failed,
    /// Its loss was no longer a number.
    Diverged,
    /// A process is writing to it.
    Running,
    /// It was killed before its end; it can go on.
    Stopped,
}

impl State {
    /// In a word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
            Self::Diverged => "diverged",
            Self::Running => "running",
            Self::Stopped => "stopped",
        }
    }
}

/// A run and its records.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its directory.
    pub path: PathBuf,
    /// Where it stands.
    pub state: State,
    /// Every setting, as in `spec.json`.
    pub spec: Value,
    /// Its circumstances.
    pub manifest: Manifest,
    /// Its result, where it has ended.
    pub summary: Option<Summary>,
    /// Its epochs so far.
    pub epochs: Vec<EpochRow>,
}

impl Run {
    /// Whether the directory looks like that of a run.
    #[must_use]
    pub fn is_at(path: &Path) -> bool {
        path.join("manifest.json").is_file() && path.join("spec.json").is_file()
    }

    /// Reads a run. `newest` is the newest format of `spec.json` that is understood.
    ///
    /// # Errors
    /// It is not the directory of a run, a record cannot be read, or the run is from a newer version.
    pub fn open(path: &Path, newest: u64) -> Result<Self, RunError> {
        if path.symlink_metadata().is_err() {
            return Err(RunError::Missing { path: path.to_owned() });
        }
        if !Self::is_at(path) {
            return Err(RunError::NoRun { path: path.to_owned() });
        }
        let spec: Value = RunDir::read_json(&path.join("spec.json"), "run specification")?;
        let format = spec.get("format").and_then(Value::as_u64).unwrap_or(0);
        if format > newest {
            return Err(RunError::Newer { path: path.to_owned(), format, newest });
        }
        let summary = path.join("summary.json");
        let summary: Option<Summary> = match summary.is_file() {
            true => Some(RunDir::read_json(&summary, "summary of a run")?),
            false => None,
        };
        let running = File::open(path.join(LOCK))
            .is_ok_and(|lock| matches!(lock.try_lock(), Err(fs::TryLockError::WouldBlock)));
        let state = match summary.as_ref().map(|summary| summary.status) {
            _ if running => State::Running,
            None => State::Stopped,
            Some(Status::Finished) => State::Finished,
            Some(Status::Interrupted) => State::Interrupted,
            Some(Status::Failed) => State::Failed,
            Some(Status::Diverged) => State::Diverged,
        };
        Ok(Self {
            path: path.to_owned(),
            state,
            spec,
            manifest: RunDir::read_json(&path.join("manifest.json"), "record of a run")?,
            summary,
            epochs: RunDir::read_epochs(path)?,
        })
    }

    /// All runs in `dir`, in the order of their start, and what cannot be read.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn all_in(dir: &Path, newest: u64) -> Result<(Vec<Self>, Vec<RunError>), RunError> {
        let failed = |error| RunError::io("read", dir, error);
        let (mut runs, mut problems) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if Self::is_at(&path) {
                match Self::open(&path, newest) {
                    Ok(run) => runs.push(run),
                    Err(error) => problems.push(error),
                }
            }
        }
        runs.sort_by(|a, b| a.manifest.started.cmp(&b.manifest.started).then(a.path.cmp(&b.path)));
        Ok((runs, problems))
    }

    /// The last part of its path.
    #[must_use]
    pub fn name(&self) -> String {
        let whole = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        whole
            .file_name()
            .map_or_else(|| self.path.display().to_string(), |name| name.to_string_lossy().into())
    }

    /// The names of its phases.
    #[must_use]
    pub fn phases(&self) -> Vec<&str> {
        let phases = self.spec.get("schedule").and_then(Value::as_array).into_iter().flatten();
        phases.filter_map(|phase| phase.get("name")?.as_str()).collect()
    }

    /// What it is judged by and how it stands in that: of the saved model where there is one, else the last epoch's.
    #[must_use]
    pub fn score(&self) -> Option<(String, f64)> {
        let Some(summary) = &self.summary else {
            let last = self.epochs.last()?;
            return Some((last.monitor.clone(), last.monitored?));
        };
        let val = self.evaluation("val")?;
        let by = match val.accuracy {
            // One figure for all runs with classes.
            Some(accuracy) => return Some(("accuracy".to_owned(), accuracy)),
            None => summary.best.monitor.clone(),
        };
        let value = val.metrics.get(&by).copied().or(summary.best.monitored)?;
        Some((by, value))
    }

    /// The saved model on one set of images.
    #[must_use]
    pub fn evaluation(&self, set: &str) -> Option<&Evaluation> {
        self.summary.as_ref()?.evaluations.iter().find(|evaluation| evaluation.set == set)
    }

    /// Its settings but the seed and what was found of the machine: runs that share them differ by chance.
    #[must_use]
    pub fn settings(&self) -> Value {
        let mut spec = self.spec.clone();
        if let Some(fields) = spec.as_object_mut() {
            ["seed", "compute", "precision"].iter().for_each(|name| {
                fields.remove(*name);
            });
        }
        spec
    }

    /// The settings in which it differs from another: name, its own value, the other's.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<(String, String, String)> {
        let mut found = Vec::new();
        let name = |key: &str| key.to_owned();
        let (Some(a), Some(b)) = (self.spec.as_object(), other.spec.as_object()) else { return found };
        let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        let text = |value: Option<&Value>| match value {
            None | Some(Value::Null) => "-".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(value @ Value::Array(_)) => {
                let phases = value.as_array().into_iter().flatten();
                let names: Vec<String> = phases
                    .map(|phase| {
                        let name = phase.get("name").and_then(Value::as_str).unwrap_or("?");
                        format!("{name} {}", phase.get("epochs").cloned().unwrap_or(Value::Null))
                    })
                    .collect();
                names.join(", ")
            }
            Some(value) => value.to_string(),
        };
        for key in keys.into_iter().filter(|key| !["compute", "format"].contains(&key.as_str())) {
            if a.get(key) != b.get(key) {
                found.push((name(key), text(a.get(key)), text(b.get(key))));
            }
        }
        found
    }

    /// How each validation image fares, by its name; none where the predictions cannot be read.
    fn by_image(&self) -> Option<(Kind, BTreeMap<String, f64>)> {
        let mut csv = csv::Reader::from_path(self.path.join("val_predictions.csv")).ok()?;
        let header: Vec<String> = csv.headers().ok()?.iter().map(str::to_owned).collect();
        let kind = match header.get(1..3)? {
            [label, predicted] if label == "label" && predicted == "predicted" => Kind::Right,
            [labels, predicted] if labels == "labels" && predicted == "predicted" => Kind::Labels,
            [_, _] if header.len() == 3 => Kind::Error,
            _ => return None,
        };
        let mut values = BTreeMap::new();
        for row in csv.records() {
            let row = row.ok()?;
            let (file, right, said) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let value = match kind {
                Kind::Right => f64::from(u8::from(right == said)),
                Kind::Error => (right.parse::<f64>().ok()? - said.parse::<f64>().ok()?).abs(),
                Kind::Labels => {
                    let set = |text: &'_ str| -> std::collections::BTreeSet<String> {
                        text.split('|').filter(|one| !one.is_empty()).map(str::to_owned).collect()
                    };
                    let wrong = set(right).symmetric_difference(&set(said)).count();
                    1.0 - wrong as f64 / (header.len() - 3).max(1) as f64
                }
            };
            values.insert(file.to_owned(), value);
        }
        Some((kind, values))
    }
}

/// What is known of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Right,
    Labels,
    Error,
}

/// Two runs on the same validation images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Paired {
    /// What is compared: `accuracy`, `labels right` or `absolute error`.
    pub what: &'static str,
    /// Validation images that both answered.
    pub images: usize,
    /// Second less first, with the bootstrap's interval.
    pub difference: Difference,
    /// Of classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mcnemar: Option<McNemar>,
    /// Whether the difference may well be chance.
    pub within_noise: bool,
}

/// Compares two runs image by image; none unless both kept their predictions of the same images.
#[must_use]
pub fn paired(first: &Run, second: &Run) -> Option<Paired> {
    let ((kind, a), (other, b)) = (first.by_image()?, second.by_image()?);
    if kind != other || a.is_empty() || !a.keys().eq(b.keys()) {
        return None;
    }
    let values = |of: &BTreeMap<String, f64>| of.values().copied().collect::<Vec<f64>>();
    let (a, b) = (values(&a), values(&b));
    let difference = paired_difference(&a, &b)?;
    let right = |of: &[f64]| of.iter().map(|value| *value > 0.5).collect::<Vec<bool>>();
    let mcnemar = (kind == Kind::Right).then(|| mcnemar(&right(&a), &right(&b)));
    Some(Paired {
        what: match kind {
            Kind::Right => "accuracy",
            Kind::Labels => "labels right",
            Kind::Error => "absolute error",
        },
        images: a.len(),
        difference,
        mcnemar,
        // The test is exact, the interval is not.
        within_noise: mcnemar.map_or_else(|| difference.within_noise(), |test| test.p >= 0.05),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(dir: &Path, name: &str, predictions: &str) -> Run {
        let path = dir.join(name);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("val_predictions.csv"), predictions).unwrap();
        let manifest = crate::report::sample_manifest();
        let spec = serde_json::json!({ "format": 5, "seed": 1, "batch": 16 });
        fs::write(path.join("spec.json"), spec.to_string()).unwrap();
        fs::write(path.join("manifest.json"), serde_json::to_string(&manifest).unwrap()).unwrap();
        Run::open(&path, 5).unwrap()
    }

    #[test]
    fn the_same_images_are_compared_one_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let rows = |said: &[&str]| {
            let rows = said.iter().enumerate().map(|(i, said)| format!("{i}.png,a,{said},0.9\n"));
            format!("file,label,predicted,probability\n{}", rows.collect::<String>())
        };
        let a = run(dir.path(), "a", &rows(&["a", "a", "b", "b", "b", "b", "b", "b", "b", "b"]));
        let b = run(dir.path(), "b", &rows(&["a", "a", "a", "a", "a", "a", "a", "a", "a", "a"]));
        assert_eq!((a.state, a.name()), (State::Stopped, "a".to_owned()));
        let both = paired(&a, &b).unwrap();
        let test = both.mcnemar.unwrap();
        assert_eq!((both.images, test.only_first, test.only_second), (10, 0, 8));
        assert!(!both.within_noise && (both.difference.mean - 0.8).abs() < 1e-12, "{both:?}");
        assert!(paired(&a, &a).unwrap().within_noise);
        let other = run(dir.path(), "c", "file,label,predicted,probability\nz.png,a,a,1\n");
        assert_eq!(paired(&a, &other), None);
        let numbers = "file,n,predicted n\n0.png,1,2\n1.png,3,3.5\n";
        let numbers = run(dir.path(), "d", numbers);
        assert_eq!(paired(&numbers, &numbers).unwrap().what, "absolute error");
        let labels = "file,labels,predicted,x,y\n0.png,x|y,x,0.9,0.1\n1.png,,,0.1,0.1\n";
        let labels = run(dir.path(), "e", labels);
        assert_eq!(labels.by_image().unwrap().1.values().copied().collect::<Vec<_>>(), [0.5, 1.0]);
        assert_eq!(a.differences(&b), []);
    }

    #[test]
    fn what_is_no_run_or_from_a_newer_version_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let error = Run::open(dir.path(), 5).unwrap_err().to_string();
        assert!(error.contains("is not the directory of a run"), "{error}");
        let error = Run::open(&dir.path().join("none"), 5).unwrap_err().to_string();
        assert!(error.starts_with("there is no directory `"), "{error}");
        run(dir.path(), "a", "");
        let error = Run::open(&dir.path().join("a"), 4).unwrap_err().to_string();
        assert!(error.contains("has format 5, this version knows up to 4"), "{error}");
        let (runs, problems) = Run::all_in(dir.path(), 4).unwrap();
        assert_eq!((runs.len(), problems.len()), (0, 1));
        assert_eq!(Run::all_in(dir.path(), 5).unwrap().0.len(), 1);
    }
}

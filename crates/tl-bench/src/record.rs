//! Figures, their file, and the comparison with an earlier one.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// What one call of the program found.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// Processor, threads, libtorch.
    pub(crate) machine: String,
    pub(crate) figures: Vec<Figure>,
}

/// One of them.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) rounds: Vec<f64>,
}

impl Record {
    pub(crate) fn new() -> Self {
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let cpu = model.map_or("an unknown processor", |(_, name)| name);
        let threads = tch::get_num_threads();
        let machine = format!("{cpu}, {threads} threads, libtorch {}", tl_torch::LIBTORCH);
        Self { machine, figures: Vec::new() }
    }

    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("--against `{}` cannot be read", path.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("--against `{}` is no file that --json has written", path.display()))
    }

    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(path, text).with_context(|| format!("`{}` cannot be written", path.display()))
    }
}

impl Figure {
    pub(crate) fn new(name: &str, unit: &str, rounds: Vec<f64>) -> Self {
        let mut sorted = rounds.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |i: usize| sorted.get(i).copied().unwrap_or(f64::NAN);
        let n = sorted.len();
        // Of an even number the mean of the middle two.
        let median = f64::midpoint(at(n.saturating_sub(1) / 2), at(n / 2));
        let (low, high) = (at(0), at(n.saturating_sub(1)));
        Self { name: name.to_owned(), unit: unit.to_owned(), median, low, high, rounds }
    }

    /// A line of the table, with the ratio to the figure of that name in `old`.
    pub(crate) fn line(&self, old: Option<&Record>) -> String {
        let Self { name, unit, median, low, high, .. } = self;
        let mut line = format!("{name:44} {median:10.1} {unit:9} ({low:.1} to {high:.1})");
        if let Some(old) = old {
            let before = old.figures.iter().find(|figure| figure.name == *name);
            let _ = match before {
                Some(before) => write!(line, "  {:.2} times {:.1}", median / before.median, before.median),
                None => write!(line, "  not there before"),
            };
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_the_rounds_counts_and_is_compared() {
        let odd = Figure::new("a", "images/s", vec![3.0, 1.0, 2.0]);
        assert_eq!((odd.median, odd.low, odd.high), (2.0, 1.0, 3.0));
        assert_eq!(Figure::new("b", "runs/s", vec![4.0, 1.0, 2.0, 3.0]).median, 2.5);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("figures.json");
        let old = Record { machine: "m".to_owned(), figures: vec![odd] };
        old.write(&path).unwrap();
        let old = Record::read(&path).unwrap();
        let now = Figure::new("a", "images/s", vec![5.0]);
        assert!(now.line(Some(&old)).ends_with("2.50 times 2.0"), "{}", now.line(Some(&old)));
        assert!(Figure::new("c", "images/s", vec![5.0]).line(Some(&old)).ends_with("not there before"));
        std::fs::write(&path, "{}").unwrap();
        assert!(Record::read(&path).unwrap_err().to_string().contains("figures.json"));
    }
}

//! Figures, their file, and the comparison with an earlier one.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

/// The version of the file.
const VERSION: u32 = 1;

/// What one call of the program found.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// Of the file.
    pub(crate) version: u32,
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
        Self { version: VERSION, machine, figures: Vec::new() }
    }

    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("--against `{}` cannot be read", path.display()))?;
        let none = || format!("--against `{}` is no file that --json has written", path.display());
        let value: serde_json::Value = serde_json::from_str(&text).with_context(none)?;
        match value.get("version").and_then(serde_json::Value::as_u64) {
            Some(version) if version == u64::from(VERSION) => {
                serde_json::from_value(value).with_context(none)
            }
            Some(version) => bail!(
                "--against `{}` is of version {version}, this program reads version {VERSION}\n\nhint: write it anew with \
                 --json, by the program of this checkout",
                path.display()
            ),
            None => bail!("{}: it has no `version`", none()),
        }
    }

    /// How many figures lie apart from those of `old`, in a line.
    pub(crate) fn against(&self, old: &Self) -> String {
        let pair = |figure: &Figure| {
            Some(figure.verdict(old.figures.iter().find(|before| before.name == figure.name)?))
        };
        let verdicts: Vec<&str> = self.figures.iter().filter_map(pair).collect();
        let count = |word: &str| verdicts.iter().filter(|verdict| verdict.trim() == word).count();
        format!(
            "{} of {} figures are slower than before in every round, {} faster; the others differ by no more than rounds do",
            count("SLOWER"),
            verdicts.len(),
            count("faster")
        )
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

    /// Whether the rounds of both lie apart, which is more than they differ among each other.
    fn verdict(&self, before: &Self) -> &'static str {
        match (self.high < before.low, self.low > before.high) {
            (true, _) => "  SLOWER",
            (_, true) => "  faster",
            _ => "",
        }
    }

    /// A line of the table, with the ratio to the figure of that name in `old`.
    pub(crate) fn line(&self, old: Option<&Record>) -> String {
        let Self { name, unit, median, low, high, .. } = self;
        let mut line = format!("{name:44} {median:10.1} {unit:9} ({low:.1} to {high:.1})");
        if let Some(old) = old {
            let before = old.figures.iter().find(|figure| figure.name == *name);
            let _ = match before {
                Some(before) => write!(
                    line,
                    "  {:.2} times {:.1}{}",
                    median / before.median,
                    before.median,
                    self.verdict(before)
                ),
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
        let old = Record { version: VERSION, machine: "m".to_owned(), figures: vec![odd] };
        old.write(&path).unwrap();
        let old = Record::read(&path).unwrap();
        let now = Figure::new("a", "images/s", vec![5.0]);
        assert!(now.line(Some(&old)).ends_with("2.50 times 2.0  faster"), "{}", now.line(Some(&old)));
        let slower = Figure::new("a", "images/s", vec![0.5, 0.9]).line(Some(&old));
        assert!(slower.ends_with("  SLOWER"), "{slower}");
        let same = Figure::new("a", "images/s", vec![0.5, 1.0]).line(Some(&old));
        assert!(same.ends_with("times 2.0"), "{same}");
        assert!(Figure::new("c", "images/s", vec![5.0]).line(Some(&old)).ends_with("not there before"));
        std::fs::write(&path, "{}").unwrap();
        assert!(Record::read(&path).unwrap_err().to_string().contains("figures.json"));
        std::fs::write(&path, r#"{ "version": 9, "machine": "m", "figures": [] }"#).unwrap();
        let error = Record::read(&path).unwrap_err().to_string();
        assert!(error.contains("is of version 9, this program reads version 1"), "{error}");
    }
}

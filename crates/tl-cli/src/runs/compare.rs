//! `tl runs compare`: a table, what is more than chance, and curves.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use tl_run::analysis::mean_interval;
use tl_run::{CompareReport, Run, metric_title, paired};

use super::{columns, data_name, field};
use crate::args::CompareArgs;
use crate::errors::Problems;
use crate::machine;
use crate::output::fresh;
use crate::ui;

pub(super) fn run(args: &CompareArgs) -> anyhow::Result<()> {
    let mut problems = Problems::default();
    let kind = args.out.as_deref().map(|path| problems.take(kind_of(path)));
    let runs: Vec<Run> = args.runs.iter().filter_map(|path| problems.take(super::open(path))).collect();
    let mut places: Vec<_> = runs.iter().filter_map(|run| run.path.canonicalize().ok()).collect();
    places.sort();
    if let Some(twice) = places.windows(2).find(|two| two[0] == two[1]) {
        problems.add(anyhow::anyhow!("`{}` is given twice", twice[0].display()));
    }
    problems.check()?;
    let (head, rows) = table(&runs);
    let groups = groups(&runs);
    let mut remarks: Vec<String> = groups.iter().map(|group| group.text.clone()).collect();
    let pairs = pairs(&runs);
    remarks.extend(pairs.iter().map(|(text, _)| text.clone()));
    if let (Some(path), Some(Some(page))) = (&args.out, kind) {
        let report = CompareReport { runs: &runs, table: (&head, &rows), remarks: &remarks };
        let content = match page {
            true => report.html(&machine::version()),
            false => report.plots().into_iter().next().map(|plot| plot.svg).unwrap_or_default(),
        };
        tl_run::write_whole(path, |file| file.write_all(content.as_bytes()))?;
    }
    if args.json {
        let all: Vec<Value> = rows
            .iter()
            .map(|row| head.iter().cloned().zip(row.iter().map(|cell| json!(cell))).collect())
            .collect();
        let value = json!({
            "runs": all,
            "seeds": groups.iter().map(|group| &group.value).collect::<Vec<_>>(),
            "differences": pairs.iter().map(|(_, value)| value).collect::<Vec<_>>(),
        });
        return ui::print_json(&value);
    }
    let mut text = columns(&head, &rows);
    if !remarks.is_empty() {
        text.push_str(&format!("\n{}\n", remarks.join("\n")));
    }
    if let Some(path) = &args.out {
        text.push_str(&format!("\nwritten    {}\n", path.display()));
    }
    ui::print_tables(&text)
}

/// Whether the file is to be a page; a plot otherwise.
fn kind_of(path: &Path) -> anyhow::Result<bool> {
    fresh("--out", path)?;
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("html") => Ok(true),
        Some("svg") => Ok(false),
        _ => anyhow::bail!("--out is `{}`, expected a name that ends in .html or .svg", path.display()),
    }
}

fn table(runs: &[Run]) -> (Vec<String>, Vec<Vec<String>>) {
    let head = [
        "run", "data", "net", "phases", "seed", "metric", "val", "interval", "test", "epochs", "seconds",
        "state",
    ];
    let row = |run: &Run| {
        let score = run.score();
        let val = run.evaluation("val");
        let interval = val.and_then(|val| val.accuracy_low.zip(val.accuracy_high));
        let by = score.as_ref().map(|(name, _)| name.clone()).unwrap_or_default();
        let test = run.evaluation("test").and_then(|test| test.accuracy.or(test.metrics.get(&by).copied()));
        let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.4}"));
        vec![
            run.name(),
            data_name(run),
            field(run, "backbone"),
            run.phases().join("+"),
            field(run, "seed"),
            metric_title(&by).to_owned(),
            number(score.map(|(_, value)| value)),
            interval.map_or("-".to_owned(), |(low, high)| format!("{low:.3} to {high:.3}")),
            number(test),
            run.epochs.len().to_string(),
            run.summary.as_ref().map_or("-".to_owned(), |summary| format!("{:.1}", summary.seconds)),
            run.state.word().to_owned(),
        ]
    };
    (head.map(str::to_owned).to_vec(), runs.iter().map(row).collect())
}

/// Runs that differ only by their seed.
struct Group {
    text: String,
    value: Value,
}

fn groups(runs: &[Run]) -> Vec<Group> {
    let mut found = Vec::new();
    let mut taken: BTreeSet<usize> = BTreeSet::new();
    for (i, run) in runs.iter().enumerate() {
        if taken.contains(&i) {
            continue;
        }
        let settings = run.settings();
        let alike = |other: &Run| {
            other.settings() == settings && other.manifest.data.train_sha256 == run.manifest.data.train_sha256
        };
        let members: Vec<usize> = (i..runs.len()).filter(|&j| alike(&runs[j])).collect();
        let seeds: BTreeSet<String> = members.iter().map(|&j| field(&runs[j], "seed")).collect();
        let scores: Vec<f64> = members.iter().filter_map(|&j| Some(runs[j].score()?.1)).collect();
        let Some((mean, half)) = mean_interval(&scores).filter(|_| seeds.len() > 1) else { continue };
        taken.extend(members.iter().copied());
        let names: Vec<String> = members.iter().map(|&j| runs[j].name()).collect();
        let metric = run.score().map_or_else(String::new, |(name, _)| metric_title(&name).to_owned());
        let range = half.map_or(String::new(), |half| {
            // A normal interval of what lies between 0 and 1 knows nothing of that.
            let most =
                if scores.iter().all(|score| (0.0..=1.0).contains(score)) { 1.0 } else { f64::INFINITY };
            let least = if most.is_finite() { 0.0 } else { f64::NEG_INFINITY };
            format!(" (95 % interval {:.4} to {:.4})", (mean - half).max(least), (mean + half).min(most))
        });
        found.push(Group {
            text: format!(
                "{} differ by seed alone: {metric} {mean:.4} in the mean of {}{range}",
                names.join(", "),
                names.len()
            ),
            value: json!({ "runs": names, "metric": metric, "mean": mean, "half_width": half }),
        });
    }
    found
}

/// Each run beside the first.
fn pairs(runs: &[Run]) -> Vec<(String, Value)> {
    let Some((first, others)) = runs.split_first() else { return Vec::new() };
    let mut found = Vec::new();
    let unit = super::unit(first);
    for run in others {
        let (a, b) = (first.name(), run.name());
        let settings: Vec<String> =
            first.differences(run).iter().map(|(name, a, b)| format!("{name}: {a} and {b}")).collect();
        let mut text = String::new();
        let mut value = json!({ "first": a, "second": b, "settings": first.differences(run) });
        if let Some(both) = paired(first, run) {
            let verdict = if both.within_noise { "within noise" } else { "more than chance" };
            let difference = both.difference;
            text = format!(
                "{b} less {a}: {} {:+.4} (95 % interval {:+.4} to {:+.4}, the same {} {unit})",
                both.what, difference.mean, difference.low, difference.high, both.images
            );
            if let Some(test) = both.mcnemar {
                text.push_str(&format!(
                    "; only {a} is right on {}, only {b} on {}, McNemar p {:.3}",
                    test.only_first, test.only_second, test.p
                ));
            }
            text.push_str(&format!(": {verdict}"));
            value["paired"] = json!(both);
        } else if let Some(apart) = intervals_apart(first, run) {
            let verdict = if apart { "more than chance" } else { "within noise" };
            text = format!(
                "{b} and {a} answered other {unit}; by their 95 % intervals the difference is {verdict}"
            );
            value["intervals_apart"] = json!(apart);
        }
        if !settings.is_empty() {
            let gap = if text.is_empty() { format!("{b} and {a}") } else { "\n  settings".to_owned() };
            text.push_str(&format!("{gap} differ in {}", settings.join("; ")));
        }
        found.push((text, value));
    }
    found
}

/// Whether the difference of two accuracies is larger than its 95 % interval (Newcombe 1998, from the two Wilson intervals).
fn intervals_apart(first: &Run, second: &Run) -> Option<bool> {
    let of = |run: &Run| {
        let val = run.evaluation("val")?;
        Some((val.accuracy?, val.accuracy_low?, val.accuracy_high?))
    };
    let ((a, a_low, a_high), (b, b_low, b_high)) = (of(first)?, of(second)?);
    let room = match a > b {
        true => (a - a_low).hypot(b_high - b),
        false => (a_high - a).hypot(b - b_low),
    };
    Some((a - b).abs() > room)
}

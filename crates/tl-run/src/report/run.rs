//! What there is to say of a run besides its answers.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::answers::percent;
use super::{RunReport, answers, figure, number, scroll, table_of_facts};
use crate::plot;
use crate::records::{EpochRow, Manifest, Status, Summary, metric_title};

pub(super) fn result(report: &RunReport<'_>) -> Markup {
    let Summary { best, status, warnings, seconds, images_per_second, baseline, .. } = report.summary;
    html! {
        div.cards { @for set in report.sets() { (answers::card(&set)) } }
        p {
            "Weights of epoch " (best.epoch) " (phase " (best.phase) "), the best by " (metric_title(&best.monitor))
            ". The whole command took " (duration(*seconds)) ", training ran at " (format!("{images_per_second:.0}"))
            " " (report.unit) "/s."
        }
        @if let Some(baseline) = baseline {
            p {
                @let (metric, val, test) = baseline.result();
                "For comparison, " (baseline.what) " on the same split: " (percent(val)) " % " (metric) " on validation"
                @if let Some(test) = test { ", " (percent(test)) " % on test" }
                ", in " (duration(baseline.seconds)) "."
            }
        }
        @if *status != Status::Finished {
            p.warning { "The run was stopped before its end; these are its best weights." }
        }
        @for warning in warnings { p.warning { (warning) } }
    }
}

/// `54.6 s`, `12 min 05 s`.
pub(super) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..100 => format!("{seconds:.1} s"),
        100..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// A word at the beginning.
pub(super) fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

pub(super) fn training(report: &RunReport<'_>) -> Markup {
    html! {
        @if report.epochs.windows(2).any(|pair| pair[0].phase != pair[1].phase) {
            p { "Dashed lines: a phase begins." }
        }
        div.plots { @for plot in plot::training_plots(report.epochs) { (figure(&plot, "")) } }
        details {
            summary { "All " (report.epochs.len()) " epochs" }
            (scroll("epochs", &epochs(report)))
        }
    }
}

/// The columns of the table of epochs: a heading, and the cell of an epoch.
type Column<'a> = (&'a str, Box<dyn Fn(&EpochRow) -> String + 'a>);

fn epochs(report: &RunReport<'_>) -> Markup {
    let rows = report.epochs;
    let classes = rows.iter().any(|row| row.val_accuracy.is_some());
    let names: BTreeSet<&str> = rows.iter().flat_map(|row| row.metrics.keys()).map(String::as_str).collect();
    let speed = format!("{}/s", report.unit);
    let mut columns: Vec<Column<'_>> = vec![
        ("phase", Box::new(|row| row.phase.clone())),
        ("train loss", Box::new(|row| number(Some(row.train_loss)))),
    ];
    if classes {
        columns.push(("train accuracy", Box::new(|row| number(row.train_accuracy))));
    }
    columns.push(("val loss", Box::new(|row| number(Some(row.val_loss)))));
    if classes {
        columns.push(("val accuracy", Box::new(|row| number(row.val_accuracy))));
        columns.push(("val balanced", Box::new(|row| number(row.val_balanced_accuracy))));
    }
    for name in names {
        columns.push((metric_title(name), Box::new(move |row| number(row.metrics.get(name).copied()))));
    }
    let rate = |rate: Option<f64>| rate.map_or("–".to_owned(), |rate| format!("{rate:.1e}"));
    columns.push(("rate head", Box::new(move |row| rate(row.rate_head))));
    columns.push(("rate last stage", Box::new(move |row| rate(row.rate_last_stage))));
    columns.push(("seconds", Box::new(|row| format!("{:.2}", row.seconds))));
    columns.push((&speed, Box::new(|row| format!("{:.0}", row.images_per_second))));
    html! {
        table {
            thead { tr { th scope="col" { "epoch" } @for (head, _) in &columns { th scope="col" { (head) } } } }
            tbody {
                @for row in rows {
                    tr.best[row.epoch == report.summary.best.epoch] {
                        th scope="row" { (row.epoch) }
                        @for (_, cell) in &columns { td { (cell(row)) } }
                    }
                }
            }
        }
    }
}

pub(super) fn time(report: &RunReport<'_>) -> Markup {
    let Summary { phases, seconds, wait_seconds, .. } = report.summary;
    let rest = (seconds - phases.iter().map(|part| part.seconds).sum::<f64>()).max(0.0);
    let parts: Vec<(&str, f64)> = phases.iter().map(|part| (part.phase.as_str(), part.seconds)).collect();
    let parts = parts.into_iter().chain([("checks, loading, final evaluation", rest)]);
    let table = html! {
        table {
            thead { tr { th scope="col" { "part" } th scope="col" { "seconds" } th scope="col" { "share" } td.fill {} } }
            tbody {
                @for (name, took) in parts {
                    @let share = took / seconds.max(f64::MIN_POSITIVE) * 100.0;
                    tr {
                        th scope="row" { (name) }
                        td { (format!("{took:.1}")) }
                        td { (format!("{share:.0}")) " %" }
                        td.fill { span.bar style=(format!("width:{share:.1}%")) {} }
                    }
                }
            }
        }
    };
    html! {
        (scroll("time by part", &table))
        p { "Of the training the net waited " (format!("{wait_seconds:.1}")) " s for " (report.unit) "." }
    }
}

pub(super) fn skipped(report: &RunReport<'_>) -> Markup {
    table_of_facts(
        report.summary.skipped.iter().map(|skipped| (skipped.file.clone(), skipped.reason.clone())),
    )
}

pub(super) fn environment(report: &RunReport<'_>) -> Markup {
    let Manifest { version, started, resumed, command, data, weights, machine, compute } = report.manifest;
    let Summary { seconds, peak_memory_bytes, cache_bytes, model_sha256, .. } = report.summary;
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    let rows = [
        ("command", command.join(" ")),
        ("started", std::iter::once(started).chain(resumed).cloned().collect::<Vec<_>>().join(", went on ")),
        ("whole command", format!("{seconds:.1} s")),
        ("data", data.path.clone()),
        (
            report.unit,
            format!("{} train, {} validation, {} test", data.train_images, data.val_images, data.test_images),
        ),
        ("split", data.split.clone()),
        ("training data", format!("sha256 {}", data.train_sha256)),
        ("validation data", format!("sha256 {}", data.val_sha256)),
        (
            "pretrained weights",
            format!("{} ({}), sha256 {}", weights.source, weights.licence, weights.sha256),
        ),
        ("model", format!("sha256 {model_sha256}")),
        ("machine", format!("{}, {} cores, {}", machine.cpu, machine.cores, machine.platform)),
        (
            "ran on",
            format!(
                "{}, {} threads, libtorch {}",
                machine
                    .gpu
                    .as_ref()
                    .map_or(machine.device.clone(), |gpu| format!("{}, {gpu}", machine.device)),
                machine.threads,
                machine.libtorch
            ),
        ),
        ("computed", if compute.is_empty() { "as the spec says".to_owned() } else { compute.join("; ") }),
        ("peak memory", peak_memory_bytes.map_or("unknown".to_owned(), mib)),
        ("activations kept", mib(*cache_bytes)),
        ("version", version.clone()),
    ];
    table_of_facts(rows.into_iter().map(|(name, value)| (name.to_owned(), value)))
}

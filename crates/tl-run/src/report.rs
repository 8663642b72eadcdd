//! `report.html`: one self-contained page, without scripts and without network.
//!
//! It is a pure function of the run's records, so it can be made again from the run directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::records::{EpochRow, Evaluation, Manifest, Status, Summary, metric_title};

/// What the page is made from.
#[derive(Clone, Copy, Debug)]
pub struct ReportData<'a> {
    /// Shown as the title.
    pub title: &'a str,
    /// Names of classes in label order, of labels, or of numbers.
    pub classes: &'a [String],
    /// The plan as text.
    pub plan: &'a str,
    /// All epochs.
    pub epochs: &'a [EpochRow],
    /// The result.
    pub summary: &'a Summary,
    /// The circumstances.
    pub manifest: &'a Manifest,
    /// The command that repeats the run.
    pub repeat: &'a str,
}

const STYLE: &str = "
:root { color-scheme: light dark; --line: #8884; --accent: #2a6fdb; --mark: #d9822b; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.figure { font-size: 2.6rem; font-weight: 650; line-height: 1.1; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .2rem .5rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
td:first-child, th:first-child { text-align: left; }
td.words { text-align: left; white-space: normal; overflow-wrap: anywhere; }
tr.best td { font-weight: 650; }
pre { overflow-x: auto; padding: .8rem; border: 1px solid var(--line); border-radius: 6px; font-size: .85rem; }
.warning { border-left: 4px solid var(--mark); padding-left: .8rem; }
svg { width: 100%; height: auto; } svg text { font-size: 12px; fill: currentColor; }
";

/// The whole page.
#[must_use]
pub fn html(data: &ReportData<'_>) -> String {
    let mut page = String::new();
    let title = escape(data.title);
    let _ = writeln!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>"
    );
    headline(&mut page, data);
    section(&mut page, "Plan", &format!("<pre>{}</pre>", escape(data.plan)));
    let (what, curves) = curves(data);
    section(&mut page, &format!("{what} by epoch"), &curves);
    section(&mut page, "Epochs", &epochs(data));
    for evaluation in &data.summary.evaluations {
        let (what, table) = details(evaluation, data.classes);
        section(&mut page, &format!("{what}, {} images", set_name(&evaluation.set)), &table);
    }
    if !data.summary.skipped.is_empty() {
        let rows = data.summary.skipped.iter().map(|s| [escape(&s.file), escape(&s.reason)]);
        section(&mut page, "Images left out", &facts(rows));
    }
    section(&mut page, "Circumstances", &facts(circumstances(data)));
    section(&mut page, "Run it again", &format!("<pre>{}</pre>", escape(data.repeat)));
    page.push_str("</body>\n</html>\n");
    page
}

fn section(page: &mut String, heading: &str, body: &str) {
    let _ = writeln!(page, "<h2>{}</h2>\n<div class=\"scroll\">{body}</div>", escape(heading));
}

fn set_name(set: &str) -> &str {
    match set {
        "val" => "validation",
        other => other,
    }
}

fn headline(page: &mut String, data: &ReportData<'_>) {
    let Summary { best, evaluations, status, .. } = data.summary;
    for evaluation in evaluations {
        let text = match evaluation.accuracy {
            Some(accuracy) => accuracy_text(evaluation, accuracy),
            None => metrics_text(evaluation, &best.monitor),
        };
        let _ = writeln!(page, "<p>{text}</p>");
    }
    let _ = writeln!(page, "<p>Weights of epoch {} (phase {}).</p>", best.epoch, escape(&best.phase));
    if *status != Status::Finished {
        page.push_str(
            "<p class=\"warning\">The run was stopped before its end; these are its best weights.</p>\n",
        );
    }
    for warning in &data.summary.warnings {
        let _ = writeln!(page, "<p class=\"warning\">{}</p>", escape(warning));
    }
}

fn accuracy_text(evaluation: &Evaluation, accuracy: f64) -> String {
    let Evaluation { set, images, accuracy_low, accuracy_high, balanced_accuracy, .. } = evaluation;
    let percent = |value: &Option<f64>| value.map_or("?".to_owned(), |value| format!("{:.1}", value * 100.));
    format!(
        "<span class=\"figure\">{:.1} %</span> {} accuracy on {images} images<br>\
         95 % interval {} to {} %, balanced accuracy {} %",
        accuracy * 100.,
        set_name(set),
        percent(accuracy_low),
        percent(accuracy_high),
        percent(balanced_accuracy),
    )
}

/// What the run was judged by, then the rest.
fn metrics_text(evaluation: &Evaluation, monitor: &str) -> String {
    let Evaluation { set, images, metrics, loss, .. } = evaluation;
    let first = metrics.get_key_value(monitor).map_or(("loss", *loss), |(name, value)| (name, *value));
    let others = metrics.iter().map(|(name, value)| (name.as_str(), *value)).chain([("loss", *loss)]);
    let rest: Vec<String> = others
        .filter(|(name, _)| *name != first.0)
        .map(|(name, value)| format!("{} {value:.4}", metric_title(name)))
        .collect();
    format!(
        "<span class=\"figure\">{:.4}</span> {} {} on {images} images<br>{}",
        first.1,
        set_name(set),
        metric_title(first.0),
        rest.join(", ")
    )
}

fn epochs(data: &ReportData<'_>) -> String {
    let classes = data.epochs.iter().any(|row| row.val_accuracy.is_some());
    let names: BTreeSet<&str> =
        data.epochs.iter().flat_map(|row| row.metrics.keys()).map(String::as_str).collect();
    let mut columns = vec!["phase", "epoch", "train loss"];
    columns.extend(classes.then_some("train accuracy"));
    columns.push("val loss");
    columns.extend(["val accuracy", "val balanced"].iter().filter(|_| classes));
    columns.extend(names.iter().copied().map(metric_title));
    columns.extend(["seconds", "images/s"]);
    let number = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.4}"));
    let mut table = String::from("<table><tr>");
    columns.iter().for_each(|name| table.push_str(&format!("<th>{name}</th>")));
    table.push_str("</tr>\n");
    for row in data.epochs {
        let class = if row.epoch == data.summary.best.epoch { " class=\"best\"" } else { "" };
        let mut cells = vec![escape(&row.phase), row.epoch.to_string(), number(Some(row.train_loss))];
        cells.extend(classes.then(|| number(row.train_accuracy)));
        cells.push(number(Some(row.val_loss)));
        let of_classes = [row.val_accuracy, row.val_balanced_accuracy].into_iter().filter(|_| classes);
        cells.extend(of_classes.map(number));
        cells.extend(names.iter().map(|name| number(row.metrics.get(*name).copied())));
        cells.extend([format!("{:.2}", row.seconds), format!("{:.0}", row.images_per_second)]);
        let _ = writeln!(table, "<tr{class}><td>{}</td></tr>", cells.join("</td><td>"));
    }
    table.push_str("</table>");
    table
}

/// One figure of an epoch, if it can be said.
type Figure = fn(&EpochRow) -> Option<f64>;

/// Training and validation accuracy as two lines; of labels and numbers, what the run was judged by. With a mark where
/// each phase begins.
fn curves(data: &ReportData<'_>) -> (String, String) {
    let epochs = data.epochs;
    let (train, val): (Figure, Figure) = (|row| row.train_accuracy, |row| row.val_accuracy);
    if epochs.iter().any(|row| row.val_accuracy.is_some()) {
        let values = epochs.iter().flat_map(|row| [train(row), val(row)]).flatten();
        let floor = (values.fold(1.0, f64::min) * 10.).floor() / 10.;
        let legend = "Blue: validation. Grey: training. Dashed: a phase begins.";
        let lines = [(train, TRAINING), (val, VALIDATION)];
        let chart = chart(epochs, (floor, floor + (1.0 - floor).max(0.1)), &lines);
        return ("Accuracy".to_owned(), format!("{chart}<p>{legend}</p>"));
    }
    let monitored: Figure = |row| row.monitored;
    let values = || epochs.iter().filter_map(monitored);
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    // A line that is nearly flat stays in the middle.
    let margin = ((high - low) * 0.05).max(high.abs() * 1e-3).max(1e-6);
    let chart = match low.is_finite() && high.is_finite() {
        true => chart(epochs, (low - margin, high + margin), &[(monitored, VALIDATION)]),
        false => String::new(),
    };
    let mut title = metric_title(&data.summary.best.monitor).chars();
    let title = title.next().map(|first| first.to_uppercase().chain(title).collect());
    (title.unwrap_or_default(), format!("{chart}<p>Of the validation images. Dashed: a phase begins.</p>"))
}

const TRAINING: &str = "stroke=\"currentColor\" stroke-opacity=\".45\"";
const VALIDATION: &str = "stroke=\"var(--accent)\"";

/// Lines over the epochs, between these values; an epoch without a value is passed over.
fn chart(epochs: &[EpochRow], (low, high): (f64, f64), lines: &[(Figure, &str)]) -> String {
    const W: f64 = 720.;
    const H: f64 = 240.;
    const LEFT: f64 = 44.;
    const BOTTOM: f64 = 24.;
    let (floor, span) = (low, high - low);
    let x = |i: usize| LEFT + (W - LEFT - 8.) * i as f64 / (epochs.len().max(2) - 1) as f64;
    let y = |value: f64| 8. + (H - BOTTOM - 8.) * (high - value) / span;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {W} {H}\" role=\"img\" aria-label=\"by epoch\">\
         <g stroke=\"currentColor\" stroke-opacity=\".2\">"
    );
    for i in 0..=4 {
        let at = y(floor + span * f64::from(i) / 4.);
        let _ = write!(svg, "<line x1=\"{LEFT}\" x2=\"{W}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>");
    }
    svg.push_str("</g>");
    for i in 0..=4 {
        let value = floor + span * f64::from(i) / 4.;
        let _ = write!(svg, "<text x=\"4\" y=\"{:.1}\">{}</text>", y(value) + 4., short(value, span));
    }
    for (i, row) in epochs.iter().enumerate().filter(|(_, row)| row.phase_epoch == 1) {
        let at = x(i);
        let _ = write!(
            svg,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"8\" y2=\"{:.1}\" stroke=\"var(--mark)\" stroke-dasharray=\"3 3\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            H - BOTTOM,
            at + 3.,
            H - 8.,
            escape(&row.phase)
        );
    }
    for (value, style) in lines {
        let points: Vec<String> = epochs
            .iter()
            .enumerate()
            .filter_map(|(i, row)| Some(format!("{:.1},{:.1}", x(i), y(value(row)?))))
            .collect();
        let points = points.join(" ");
        let _ = write!(svg, "<polyline fill=\"none\" stroke-width=\"2\" {style} points=\"{points}\"/>");
    }
    svg.push_str("</svg>");
    svg
}

/// A value on an axis, with as many decimals as tell its neighbours apart.
fn short(value: f64, span: f64) -> String {
    let decimals = (1.0 - (span / 4.0).log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{value:.decimals$}")
}

/// What there is to say of single classes, labels or numbers, with its heading.
fn details(evaluation: &Evaluation, classes: &[String]) -> (&'static str, String) {
    if !evaluation.labels.is_empty() {
        let rows = evaluation.labels.iter().map(|row| {
            let counts = [("images", row.images), ("predicted", row.predicted), ("right", row.right)];
            (row.label.as_str(), counts.map(|(name, count)| (name, count.to_string())).to_vec(), &row.metrics)
        });
        return ("Labels", metrics_table("label", rows));
    }
    if !evaluation.targets.is_empty() {
        let rows = evaluation.targets.iter().map(|row| (row.target.as_str(), Vec::new(), &row.metrics));
        return ("Numbers", metrics_table("number", rows));
    }
    ("Confusion", confusion(evaluation, classes))
}

/// Name, counts by name, and metrics.
type NamedRow<'a> = (&'a str, Vec<(&'static str, String)>, &'a BTreeMap<String, f64>);

fn metrics_table<'a>(what: &str, rows: impl Iterator<Item = NamedRow<'a>>) -> String {
    let rows: Vec<NamedRow<'a>> = rows.collect();
    let counts = rows.iter().take(1).flat_map(|row| &row.1).map(|(name, _)| *name);
    let names: BTreeSet<&str> = rows.iter().flat_map(|row| row.2.keys()).map(String::as_str).collect();
    let heads = counts.chain(names.iter().copied().map(metric_title));
    let mut table = format!("<table><tr><th>{what}</th>");
    heads.for_each(|name| table.push_str(&format!("<th>{name}</th>")));
    table.push_str("</tr>\n");
    for (name, counts, metrics) in &rows {
        let values = names
            .iter()
            .map(|name| metrics.get(*name).map_or("–".to_owned(), |value| format!("{value:.4}")));
        let cells = counts.iter().map(|(_, count)| count.clone()).chain(values);
        let cells: Vec<String> = std::iter::once(escape(name)).chain(cells).collect();
        let _ = writeln!(table, "<tr><td>{}</td></tr>", cells.join("</td><td>"));
    }
    table.push_str("</table>");
    table
}

fn confusion(evaluation: &Evaluation, classes: &[String]) -> String {
    let mut table = String::from("<table><tr><th>label \\ predicted</th>");
    for class in classes {
        let _ = write!(table, "<th>{}</th>", escape(class));
    }
    table.push_str("</tr>\n");
    for (class, row) in classes.iter().zip(&evaluation.confusion) {
        let _ = write!(table, "<tr><td>{}</td>", escape(class));
        let total = row.iter().sum::<u32>().max(1);
        for count in row {
            let share = f64::from(*count) / f64::from(total) * 0.55;
            let _ = write!(table, "<td style=\"background: rgb(42 111 219 / {share:.2})\">{count}</td>");
        }
        table.push_str("</tr>\n");
    }
    table.push_str("</table>");
    table
}

fn facts(rows: impl Iterator<Item = [String; 2]>) -> String {
    let rows: Vec<String> = rows
        .map(|[name, value]| format!("<tr><td>{name}</td><td class=\"words\">{value}</td></tr>"))
        .collect();
    format!("<table>{}</table>", rows.join("\n"))
}

fn circumstances(data: &ReportData<'_>) -> impl Iterator<Item = [String; 2]> {
    let Manifest { version, started, resumed, command, data: images, weights, machine, compute } =
        data.manifest;
    let peak =
        data.summary.peak_memory_bytes.map_or("unknown".to_owned(), |bytes| format!("{} MiB", bytes >> 20));
    [
        ("command", command.join(" ")),
        ("started", std::iter::once(started).chain(resumed).cloned().collect::<Vec<_>>().join(", went on ")),
        ("whole command", format!("{:.1} s", data.summary.seconds)),
        (
            "images",
            format!(
                "{} train, {} validation, {} test",
                images.train_images, images.val_images, images.test_images
            ),
        ),
        ("split", images.split.clone()),
        ("training images", format!("sha256 {}", images.train_sha256)),
        (
            "pretrained weights",
            format!("{} ({}), sha256 {}", weights.source, weights.licence, weights.sha256),
        ),
        ("model", format!("sha256 {}", data.summary.model_sha256)),
        ("machine", format!("{}, {} cores, {}", machine.cpu, machine.cores, machine.platform)),
        ("ran on", format!("{}, {} threads, libtorch {}", machine.device, machine.threads, machine.libtorch)),
        ("computed", if compute.is_empty() { "as the spec says".to_owned() } else { compute.join("; ") }),
        ("peak memory", peak),
        ("version", version.clone()),
    ]
    .map(|(name, value)| [name.to_owned(), escape(&value)])
    .into_iter()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

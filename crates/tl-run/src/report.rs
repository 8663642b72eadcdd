//! `report.html`: one self-contained page, without scripts and without network.
//!
//! It is a pure function of the run's records, so it can be made again from the run directory.

use std::fmt::Write as _;

use crate::records::{EpochRow, Evaluation, Manifest, Status, Summary};

/// What the page is made from.
#[derive(Clone, Copy, Debug)]
pub struct ReportData<'a> {
    /// Shown as the title.
    pub title: &'a str,
    /// Class names in label order.
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
    section(&mut page, "Accuracy by epoch", &curves(data.epochs));
    section(&mut page, "Epochs", &epochs(data));
    for evaluation in &data.summary.evaluations {
        let heading = format!("Confusion, {} images", set_name(&evaluation.set));
        section(&mut page, &heading, &confusion(evaluation, data.classes));
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
        let Evaluation { images, accuracy, accuracy_low, accuracy_high, balanced_accuracy, .. } = evaluation;
        let _ = writeln!(
            page,
            "<p><span class=\"figure\">{:.1} %</span> {} accuracy on {images} images<br>\
             95 % interval {:.1} to {:.1} %, balanced accuracy {:.1} %</p>",
            accuracy * 100.,
            set_name(&evaluation.set),
            accuracy_low * 100.,
            accuracy_high * 100.,
            balanced_accuracy * 100.,
        );
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

fn epochs(data: &ReportData<'_>) -> String {
    let mut table = String::from(
        "<table><tr><th>phase</th><th>epoch</th><th>train loss</th><th>train accuracy</th><th>val loss</th>\
         <th>val accuracy</th><th>val balanced</th><th>seconds</th><th>images/s</th></tr>\n",
    );
    for row in data.epochs {
        let class = if row.epoch == data.summary.best.epoch { " class=\"best\"" } else { "" };
        let _ = writeln!(
            table,
            "<tr{class}><td>{}</td><td>{}</td><td>{:.4}</td><td>{:.4}</td><td>{:.4}</td><td>{:.4}</td>\
             <td>{:.4}</td><td>{:.2}</td><td>{:.0}</td></tr>",
            escape(&row.phase),
            row.epoch,
            row.train_loss,
            row.train_accuracy,
            row.val_loss,
            row.val_accuracy,
            row.val_balanced_accuracy,
            row.seconds,
            row.images_per_second,
        );
    }
    table.push_str("</table>");
    table
}

/// Training and validation accuracy as two lines, with a mark where each phase begins.
fn curves(epochs: &[EpochRow]) -> String {
    const W: f64 = 720.;
    const H: f64 = 240.;
    const LEFT: f64 = 44.;
    const BOTTOM: f64 = 24.;
    let values = epochs.iter().flat_map(|row| [row.train_accuracy, row.val_accuracy]);
    let floor = (values.fold(1.0, f64::min) * 10.).floor() / 10.;
    let span = (1.0 - floor).max(0.1);
    let x = |i: usize| LEFT + (W - LEFT - 8.) * i as f64 / (epochs.len().max(2) - 1) as f64;
    let y = |value: f64| 8. + (H - BOTTOM - 8.) * (1.0 - value) / span;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {W} {H}\" role=\"img\" aria-label=\"accuracy by epoch\">\
         <g stroke=\"currentColor\" stroke-opacity=\".2\">"
    );
    for i in 0..=4 {
        let at = y(floor + span * f64::from(i) / 4.);
        let _ = write!(svg, "<line x1=\"{LEFT}\" x2=\"{W}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>");
    }
    svg.push_str("</g>");
    for i in 0..=4 {
        let value = floor + span * f64::from(i) / 4.;
        let _ = write!(svg, "<text x=\"4\" y=\"{:.1}\">{value:.2}</text>", y(value) + 4.);
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
    let line = |value: fn(&EpochRow) -> f64, style: &str| {
        let points: Vec<String> =
            epochs.iter().enumerate().map(|(i, row)| format!("{:.1},{:.1}", x(i), y(value(row)))).collect();
        format!("<polyline fill=\"none\" stroke-width=\"2\" {style} points=\"{}\"/>", points.join(" "))
    };
    svg.push_str(&line(|row| row.train_accuracy, "stroke=\"currentColor\" stroke-opacity=\".45\""));
    svg.push_str(&line(|row| row.val_accuracy, "stroke=\"var(--accent)\""));
    svg.push_str("</svg><p>Blue: validation. Grey: training. Dashed: a phase begins.</p>");
    svg
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
        .map(|[name, value]| format!("<tr><td>{name}</td><td style=\"text-align: left\">{value}</td></tr>"))
        .collect();
    format!("<table>{}</table>", rows.join("\n"))
}

fn circumstances(data: &ReportData<'_>) -> impl Iterator<Item = [String; 2]> {
    let Manifest { version, started, resumed, command, data: images, weights, machine } = data.manifest;
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
        ("peak memory", peak),
        ("version", version.clone()),
    ]
    .map(|(name, value)| [name.to_owned(), escape(&value)])
    .into_iter()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

//! What there is to say of a model's answers for one set of images.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::{Look, Section, SetReport, data_uri, figure, number, scroll, sentences, set_name, set_plots};
use crate::analysis::{Analysis, Calibration, Case};
use crate::records::{Evaluation, LabelResult, TargetResult, metric_title};

/// Above so many classes only the most confused ones are in the table.
const MOST_CLASSES: usize = 25;
/// So many labels that look wrong are listed; `analysis.json` has all of them.
const MOST_SUSPECTS: usize = 50;

/// The headline of one set.
pub(super) fn card(set: &SetReport<'_>) -> Markup {
    let Evaluation { accuracy, images, metrics, loss, balanced_accuracy, .. } = set.evaluation;
    let name = set_name(&set.evaluation.set);
    let Some(accuracy) = accuracy else { return metric_card(set) };
    let right = (accuracy * *images as f64).round();
    let interval = set.evaluation.accuracy_low.zip(set.evaluation.accuracy_high);
    let others = ["macro-f1", "top5-accuracy", "auroc", "average-precision", "log-loss", "ece"];
    html! {
        div.card {
            p.figure { (percent(*accuracy)) " %" }
            p { strong { (name) " accuracy" } ": " (right) " of " (images) " " (set.unit) }
            @if let Some((low, high)) = interval { (interval_bar(*accuracy, low, high)) }
            dl.stats {
                @if let Some(balanced) = balanced_accuracy { (stat("balanced accuracy", &number(Some(*balanced)))) }
                @for name in others {
                    @if let Some(value) = metrics.get(name) { (stat(metric_title(name), &number(Some(*value)))) }
                }
                @if !metrics.contains_key("log-loss") { (stat("loss", &number(Some(*loss)))) }
            }
        }
    }
}

/// Of labels and numbers: what the run was judged by, then the rest.
fn metric_card(set: &SetReport<'_>) -> Markup {
    let Evaluation { metrics, loss, images, .. } = set.evaluation;
    let first = metrics.get_key_value(set.monitor).or_else(|| metrics.iter().next());
    let (name, value) = first.map_or(("loss", *loss), |(name, value)| (name.as_str(), *value));
    html! {
        div.card {
            p.figure { (number(Some(value))) }
            p { strong { (set_name(&set.evaluation.set)) " " (metric_title(name)) } ", on " (images) " " (set.unit) }
            dl.stats {
                @for (other, value) in metrics {
                    @if other != name { (stat(metric_title(other), &number(Some(*value)))) }
                }
                @if name != "loss" { (stat("loss", &number(Some(*loss)))) }
            }
        }
    }
}

fn stat(name: &str, value: &str) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.1}", share * 100.0)
}

/// The interval on a scale from 0 to 100 %.
fn interval_bar(at: f64, low: f64, high: f64) -> Markup {
    let (from, wide) = (low * 100.0, (high - low) * 100.0);
    html! {
        div.interval aria-hidden="true" {
            span style=(format!("left:{from:.1}%;width:{wide:.1}%")) {}
            i style=(format!("left:{:.1}%", at * 100.0)) {}
        }
        div.ends aria-hidden="true" { span { "0 %" } span { "100 %" } }
        p.soft { "95 % interval " (percent(low)) " to " (percent(high)) " % (Wilson)" }
    }
}

/// All of one set.
pub(super) fn section(set: &SetReport<'_>) -> Section {
    let SetReport { evaluation, analysis, .. } = set;
    let id = format!("set-{}", evaluation.set);
    let heading = match evaluation.set.as_str() {
        "val" => format!("Validation {}", set.unit),
        "test" => format!("Test {}", set.unit),
        "data" => "Answers".to_owned(),
        other => format!("{} of {other}", super::run::capital(set.unit)),
    };
    // Of words with tags, labels are kinds of entities, or the tags themselves.
    let tagged = !evaluation.labels.is_empty() && !evaluation.confusion.is_empty();
    let plots = set_plots(analysis);
    let plot = |name: &str| plots.iter().find(|plot| plot.name == format!("{}-{name}", evaluation.set));
    // Names tell the tables of this set from those of others.
    let wide = |what: &str, table: &Markup| scroll(&format!("{what}, {heading}"), table);
    let body = html! {
        @if !evaluation.confusion.is_empty() {
            h3 { "Confusion" }
            (confusion(set, &heading))
        }
        @if !analysis.confused.is_empty() {
            h3 { "Most confused" }
            (wide("most confused", &confused(analysis, if tagged { "words" } else { set.unit })))
        }
        @if !evaluation.classes.is_empty() { h3 { "Classes" } (wide("classes", &label_table("class", &evaluation.classes, set.unit))) }
        @if tagged && evaluation.metrics.contains_key("entity-f1") { h3 { "Entities" } (wide("entities", &label_table("entity", &evaluation.labels, "there"))) }
        @else if tagged { h3 { "Tags" } (wide("tags", &label_table("tag", &evaluation.labels, "there"))) }
        @else if !evaluation.labels.is_empty() { h3 { "Labels" } (wide("labels", &label_table("label", &evaluation.labels, set.unit))) }
        @if !evaluation.targets.is_empty() { h3 { "Numbers" } (wide("numbers", &target_table(&evaluation.targets))) }
        @if !analysis.numbers.is_empty() {
            div.plots { @for plot in &plots { (figure(plot, "")) } }
        }
        @if let (Some(roc), Some(precision)) = (plot("roc"), plot("precision-recall")) {
            h3 { "Thresholds" }
            p { (rankings_text(analysis, set.unit)) }
            div.plots { (figure(roc, "ROC")) (figure(precision, "Precision over recall")) }
        }
        @if let Some(calibration) = &analysis.calibration {
            h3 { "Calibration" }
            (calibration_text(calibration, set.unit))
            @if let Some(plot) = plot("reliability") { div.plots { (figure(plot, "")) } }
        }
        @if !analysis.costly.is_empty() {
            h3 { "Top losses" }
            p { "The answers that cost most; of a wrong one, what was right and what was said." }
            (gallery(set, &analysis.costly))
        }
        @if !analysis.words.is_empty() {
            h3 { "Words that cost most" }
            p { "The cross-entropy of a word's tags, over all its occurrences, and its most frequent mistake." }
            (wide("words", &sentences::words(&analysis.words)))
        }
        @if !analysis.sentences.is_empty() {
            h3 { "Top losses" }
            p { "The sentences whose tags cost most: as they are tagged, and what was said. What is framed stands in one of the two only." }
            (sentences::list(&analysis.sentences))
        }
        @if !analysis.sure_and_wrong.is_empty() {
            h3 { "Most confident mistakes" }
            p { "Wrong answers that were given most surely, beyond those above." }
            (gallery(set, &analysis.sure_and_wrong))
        }
        @if !set.looks.is_empty() { h3 { "Where it looked" } (looks(set.looks)) }
        @if analysis.calibration.is_some() { h3 { "Labels that look wrong" } (suspects(set, &heading)) }
    };
    (id, heading, body)
}

/// Rows are labels, columns what was said; of many classes those of the most confused pairs.
fn confusion(set: &SetReport<'_>, heading: &str) -> Markup {
    let SetReport { evaluation, analysis, names, .. } = set;
    let all = names.len() <= MOST_CLASSES;
    let involved: BTreeSet<&str> =
        (analysis.confused.iter()).flat_map(|pair| [pair.label.as_str(), pair.predicted.as_str()]).collect();
    let shown: Vec<usize> = (0..names.len())
        .filter(|&i| all || involved.contains(names[i].as_str()))
        .take(MOST_CLASSES)
        .collect();
    let short = names.iter().map(|name| name.chars().count()).sum::<usize>() <= 40;
    let table = html! {
        table.heat {
            caption {
                "Rows: what is right. Columns: what was said, " (if short { "by name" } else { "by number" }) "."
                @if !all { " Of " (names.len()) " classes the " (shown.len()) " that are confused most." }
            }
            thead {
                tr {
                    th scope="col" { "right \\ said" }
                    @for &i in &shown {
                        th scope="col" {
                            @if short { (names[i]) } @else { abbr title=(names[i]) { (i + 1) } }
                        }
                    }
                }
            }
            tbody {
                @for &i in &shown {
                    @let row = &evaluation.confusion[i];
                    @let total = f64::from(row.iter().sum::<u32>().max(1));
                    tr {
                        th scope="row" { @if !short { (i + 1) " " } (names[i]) }
                        @for &j in &shown {
                            @let share = f64::from(row[j]) / total;
                            @let colour = if i == j { "var(--accent)" } else { "var(--bad)" };
                            td style=(tint(colour, share)) { (row[j]) }
                        }
                    }
                }
            }
        }
    };
    if shown.is_empty() {
        html! { p { "No class is taken for another." } }
    } else {
        scroll(&format!("confusion, {heading}"), &table)
    }
}

/// At most so strong that text stays legible on it.
fn tint(colour: &str, share: f64) -> String {
    match share {
        0.0 => String::new(),
        _ => format!("background:color-mix(in srgb,{colour} {:.0}%,transparent)", 8.0 + share * 30.0),
    }
}

fn confused(analysis: &Analysis, unit: &str) -> Markup {
    html! {
        table {
            thead { tr { th scope="col" { "right" } th.words scope="col" { "said" } th scope="col" { (unit) } th scope="col" { "of its class" } } }
            tbody {
                @for pair in analysis.confused.iter().take(12) {
                    tr {
                        th scope="row" { (pair.label) }
                        td.words { (pair.predicted) }
                        td { (pair.images) }
                        td { (percent(f64::from(pair.images) / f64::from(pair.of.max(1)))) " %" }
                    }
                }
            }
        }
    }
}

fn label_table(what: &str, rows: &[LabelResult], unit: &str) -> Markup {
    let known = ["precision", "recall", "f1", "auroc", "average-precision"];
    let metrics: Vec<&str> =
        known.into_iter().filter(|name| rows.iter().any(|row| row.metrics.contains_key(*name))).collect();
    html! {
        table {
            thead {
                tr {
                    @for head in [what, unit, "said", "right"] { th scope="col" { (head) } }
                    @for name in &metrics { th scope="col" { (metric_title(name)) } }
                }
            }
            tbody {
                @for row in rows {
                    tr {
                        th scope="row" { (row.label) }
                        @for count in [row.images, row.predicted, row.right] { td { (count) } }
                        @for name in &metrics { td { (number(row.metrics.get(*name).copied())) } }
                    }
                }
            }
        }
    }
}

fn target_table(rows: &[TargetResult]) -> Markup {
    let names: BTreeSet<&String> = rows.iter().flat_map(|row| row.metrics.keys()).collect();
    html! {
        table {
            thead { tr { th scope="col" { "number" } @for name in &names { th scope="col" { (metric_title(name)) } } } }
            tbody {
                @for row in rows {
                    tr {
                        th scope="row" { (row.target) }
                        @for name in &names { td { (number(row.metrics.get(*name).copied())) } }
                    }
                }
            }
        }
    }
}

fn rankings_text(analysis: &Analysis, unit: &str) -> String {
    match &analysis.rankings[..] {
        [one] => format!(
            "How well the probability of {} tells {unit} apart, whatever the threshold: AUROC {:.4}, average precision {:.4} \
             ({} of {} {unit} are positive).",
            one.name, one.auroc, one.average_precision, one.positives, analysis.images
        ),
        several if several.len() > 6 => format!("Of the first 6 of {} labels.", several.len()),
        _ => format!("How well each probability tells {unit} apart, whatever the threshold."),
    }
}

fn calibration_text(calibration: &Calibration, unit: &str) -> Markup {
    let Calibration { ece, nll, temperature, ece_scaled, nll_scaled, fitted_here, applied, .. } = calibration;
    html! {
        p {
            "Whether a probability means what it says. Expected calibration error " strong { (number(Some(*ece))) }
            " over 15 bins (arXiv:1706.04599), log loss " (number(Some(*nll))) "."
        }
        @if let (Some(temperature), Some(ece_scaled), Some(nll_scaled)) = (temperature, ece_scaled, nll_scaled) {
            p {
                "Logits divided by a temperature of " strong { (format!("{temperature:.3}")) } " ("
                (if *temperature > 1.0 { "the model is too sure" } else { "the model is not sure enough" })
                ") " (if *applied { "bring" } else { "would bring" }) " the error to " strong { (number(Some(*ece_scaled))) } " and the log loss to "
                (number(Some(*nll_scaled))) ". "
                (if *fitted_here {
                    format!("The temperature was fitted on these very {unit}, so its gain is a little flattered.")
                } else {
                    format!("The temperature was fitted on the validation {unit}.")
                })
                @if *applied { " All other figures on this page are those after it." }
            }
        } @else {
            p { "No temperature was fitted: there is none that is best, as where every answer is right." }
        }
    }
}

fn gallery(set: &SetReport<'_>, cases: &[Case]) -> Markup {
    html! {
        ul.gallery.texts[!set.texts.is_empty()] {
            @for case in cases {
                @let sure = case.probability.map_or(String::new(), |p| format!(" at {p:.3}"));
                li {
                    figure {
                        (picture(set, &case.file, &format!("{}, said {}{sure}", case.right, case.said)))
                        (text(set, &case.file))
                        figcaption {
                            @if case.right == case.said {
                                b { (case.right) } " " (sure.trim_start())
                            } @else {
                                b { (case.right) } ", said " b { (case.said) } (sure)
                            }
                            br; (case.file)
                        }
                    }
                }
            }
        }
    }
}

/// Answers with what spoke for them.
fn looks(looks: &[Look]) -> Markup {
    let mut groups: Vec<&str> = Vec::new();
    for look in looks {
        if !groups.contains(&look.group.as_str()) {
            groups.push(&look.group);
        }
    }
    html! {
        p {
            "Beside each image, as the net sees it, what spoke for the class or label below it, or raised the number: Grad-CAM "
            "(arXiv:1610.02391) on the last map, from dark to light. What is light moved the answer; that does not say that "
            "it should have."
        }
        @for group in groups {
            h4 { (group) }
            ul.gallery.wide {
                @for look in looks.iter().filter(|look| look.group == group) { (one_look(look)) }
            }
        }
    }
}

fn one_look(look: &Look) -> Markup {
    let Look { file, name, text, jpeg, .. } = look;
    html! {
        li {
            figure {
                img src=(data_uri(jpeg)) alt=(format!("{file}, and where the net found {name}"));
                figcaption { b { (name) } " " (text) br; (file) }
            }
        }
    }
}

fn picture(set: &SetReport<'_>, file: &str, text: &str) -> Markup {
    html! {
        @if let Some(jpeg) = set.pictures.get(file) {
            img src=(data_uri(jpeg)) alt=(text);
        }
    }
}

/// The text of that name, if it is one; what is very long is cut.
fn text(set: &SetReport<'_>, file: &str) -> Markup {
    const MOST: usize = 600;
    html! {
        @if let Some(text) = set.texts.get(file) {
            blockquote {
                (text.chars().take(MOST).collect::<String>())
                @if text.chars().count() > MOST { "…" }
            }
        }
    }
}

fn suspects(set: &SetReport<'_>, heading: &str) -> Markup {
    let all = &set.analysis.suspects;
    let pictured = all.iter().take(Analysis::most_pictures());
    let rest = all.iter().take(MOST_SUSPECTS).skip(Analysis::most_pictures());
    html! {
        p {
            "Found by confident learning (arXiv:1911.00068): another class is as probable as it is on average for " (set.unit) " of "
            "that class, and more so than the label. It is a list to look through, not a verdict: hard " (set.unit) " are on it too."
        }
        @if all.is_empty() { p { "None." } } @else {
            p { (all.len()) " of " (set.analysis.images) " " (set.unit) ", most suspicious first." }
            ul.gallery.texts[!set.texts.is_empty()] {
                @for suspect in pictured {
                    @let text_of = format!("labelled {}, likely {}", suspect.label, suspect.likely);
                    li {
                        figure {
                            (picture(set, &suspect.file, &text_of))
                            (text(set, &suspect.file))
                            figcaption {
                                "labelled " b { (suspect.label) } (format!(" ({:.3})", suspect.label_probability))
                                ", likely " b { (suspect.likely) } (format!(" ({:.3})", suspect.likely_probability))
                                br; (suspect.file)
                            }
                        }
                    }
                }
            }
            @if all.len() > Analysis::most_pictures() {
                details {
                    summary { "More of them" }
                    (scroll(&format!("more labels that look wrong, {heading}"), &html! {
                        table {
                            thead { tr { th scope="col" { (set.unit.trim_end_matches('s')) } th.words scope="col" { "label" } th.words scope="col" { "likely" } th scope="col" { "label p" } th scope="col" { "likely p" } } }
                            tbody {
                                @for suspect in rest {
                                    tr {
                                        th scope="row" { (suspect.file) }
                                        td.words { (suspect.label) }
                                        td.words { (suspect.likely) }
                                        td { (format!("{:.3}", suspect.label_probability)) }
                                        td { (format!("{:.3}", suspect.likely_probability)) }
                                    }
                                }
                            }
                        }
                    }))
                }
            }
        }
    }
}

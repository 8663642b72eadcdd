//! `report.html`: one self-contained page, without scripts and without network.
//!
//! The decision behind it: the page is a function of records, analyses and small pictures, and knows no images or nets.
//! All text goes through the template, which escapes it. What a person wants first stands first.

mod answers;
mod compare;
mod run;
mod sentences;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::analysis::Analysis;
use crate::plot::{self, PlotFile};
use crate::records::{EpochRow, Evaluation, Manifest, Summary};

pub use compare::CompareReport;

const STYLE: &str = include_str!("style.css");

/// What the page of a run is made from.
#[derive(Clone, Copy, Debug)]
pub struct RunReport<'a> {
    /// Shown as the title.
    pub title: &'a str,
    /// Names of classes in label order, of labels, or of numbers.
    pub names: &'a [String],
    /// The plan as text.
    pub plan: &'a str,
    /// All epochs.
    pub epochs: &'a [EpochRow],
    /// The result.
    pub summary: &'a Summary,
    /// The circumstances.
    pub manifest: &'a Manifest,
    /// The commands that repeat the run.
    pub repeat: &'a str,
    /// What was found in the answers, for each set of the summary.
    pub analyses: &'a [Analysis],
    /// Small JPEG pictures by the name of the image.
    pub pictures: &'a BTreeMap<String, Vec<u8>>,
    /// Texts by their names.
    pub texts: &'a BTreeMap<String, String>,
    /// What a sample is called, several of them: `images` or `texts`.
    pub unit: &'a str,
    /// Where some answers came from, by the name of the set.
    pub looks: &'a BTreeMap<String, Vec<Look>>,
}

/// An answer, and where in the image it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// Name of the image.
    pub file: String,
    /// Heading of the answers that it stands among, such as `Wrong answers`.
    pub group: String,
    /// What the picture is about: a class, label or number.
    pub name: String,
    /// What was said of it, and what is right.
    pub text: String,
    /// The image and beside it what spoke for the answer, as the content of a JPEG file.
    pub jpeg: Vec<u8>,
}

/// What the page of an evaluation is made from.
#[derive(Clone, Copy, Debug)]
pub struct EvaluationReport<'a> {
    /// Shown as the title.
    pub title: &'a str,
    /// What was measured, and how to do it again: names and values.
    pub facts: &'a [(&'static str, String)],
    /// The set.
    pub set: SetReport<'a>,
}

/// One set of images.
#[derive(Clone, Copy, Debug)]
pub struct SetReport<'a> {
    /// Names of classes in label order, of labels, or of numbers.
    pub names: &'a [String],
    /// Its figures.
    pub evaluation: &'a Evaluation,
    /// What was found in the answers.
    pub analysis: &'a Analysis,
    /// Small JPEG pictures by the name of the image.
    pub pictures: &'a BTreeMap<String, Vec<u8>>,
    /// Texts by their names.
    pub texts: &'a BTreeMap<String, String>,
    /// What a sample is called, several of them: `images` or `texts`.
    pub unit: &'a str,
    /// What the run was judged by.
    pub monitor: &'a str,
    /// Where some answers came from; may be none.
    pub looks: &'a [Look],
}

impl RunReport<'_> {
    fn sets(&self) -> impl Iterator<Item = SetReport<'_>> {
        let pairs = self.summary.evaluations.iter().zip(self.analyses);
        pairs.map(|(evaluation, analysis)| SetReport {
            names: self.names,
            evaluation,
            analysis,
            pictures: self.pictures,
            texts: self.texts,
            unit: self.unit,
            monitor: &self.summary.best.monitor,
            looks: self.looks.get(&evaluation.set).map(Vec::as_slice).unwrap_or_default(),
        })
    }

    /// All plots of the page.
    #[must_use]
    pub fn plots(&self) -> Vec<PlotFile> {
        let of_sets = self.analyses.iter().flat_map(set_plots);
        plot::training_plots(self.epochs).into_iter().chain(of_sets).collect()
    }

    /// The whole page.
    #[must_use]
    pub fn html(&self) -> String {
        let mut sections = vec![
            ("result".to_owned(), "Result".to_owned(), run::result(self)),
            ("training".to_owned(), "Training".to_owned(), run::training(self)),
        ];
        sections.extend(self.sets().map(|set| answers::section(&set)));
        sections.push(("plan".to_owned(), "Plan".to_owned(), code(self.plan, "the plan")));
        sections.push(("time".to_owned(), "Where time went".to_owned(), run::time(self)));
        if !self.summary.skipped.is_empty() {
            sections.push((
                "skipped".to_owned(),
                format!("{} left out", run::capital(self.unit)),
                run::skipped(self),
            ));
        }
        sections.push(("environment".to_owned(), "Environment".to_owned(), run::environment(self)));
        sections.push(("again".to_owned(), "Run it again".to_owned(), code(self.repeat, "commands")));
        let below = format!(
            "{}; {} epochs in {}",
            self.manifest.started,
            self.summary.epochs,
            run::duration(self.summary.seconds)
        );
        page(self.title, &below, &sections, &self.manifest.version)
    }
}

impl EvaluationReport<'_> {
    /// The whole page.
    #[must_use]
    pub fn html(&self, version: &str) -> String {
        let facts = self.facts.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let sections = [
            ("result".to_owned(), "Result".to_owned(), html! { div.cards { (answers::card(&self.set)) } }),
            answers::section(&self.set),
            ("environment".to_owned(), "Environment".to_owned(), table_of_facts(facts)),
        ];
        page(self.title, "", &sections, version)
    }
}

/// The plots of one set.
fn set_plots(analysis: &Analysis) -> Vec<PlotFile> {
    let set = &analysis.set;
    let calibration =
        analysis.calibration.as_ref().and_then(|calibration| plot::reliability_plot(set, calibration));
    let curves =
        [plot::roc_plot(set, &analysis.rankings), plot::precision_recall_plot(set, &analysis.rankings)];
    let numbers = analysis.numbers.iter().enumerate();
    let numbers = numbers.flat_map(|(place, points)| plot::number_plots(set, points, place));
    calibration.into_iter().chain(curves.into_iter().flatten()).chain(numbers).collect()
}

/// The name of an anchor, a heading, and what follows it.
type Section = (String, String, Markup);

fn page(title: &str, below: &str, sections: &[Section], version: &str) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (title) }
                    @if !below.is_empty() { p { (below) } }
                }
                nav aria-label="Contents" {
                    ul { @for (id, heading, _) in sections { li { a href={ "#" (id) } { (heading) } } } }
                }
                main {
                    @for (id, heading, body) in sections {
                        section id=(id) aria-labelledby={ (id) "-heading" } {
                            h2 id={ (id) "-heading" } { (heading) }
                            (body)
                        }
                    }
                }
                footer { p { "Written by tl " (version) ". This page needs nothing but itself." } }
            }
        }
    };
    page.into_string()
}

/// A plot as part of the page: it is read out as its sentence.
fn figure(plot: &PlotFile, caption: &str) -> Markup {
    let svg = plot.svg.replacen("<svg ", "<svg aria-hidden=\"true\" focusable=\"false\" ", 1);
    html! {
        figure {
            div role="img" aria-label=(plot.text) { (PreEscaped(svg)) }
            @if !caption.is_empty() { figcaption { (caption) } }
        }
    }
}

/// What may be wider than the page scrolls by itself, with the keyboard too.
fn scroll(what: &str, body: &Markup) -> Markup {
    html! { div.scroll role="region" aria-label=(what) tabindex="0" { (body) } }
}

fn code(text: &str, what: &str) -> Markup {
    html! { pre role="region" aria-label=(what) tabindex="0" { (text.trim_end()) } }
}

fn table_of_facts(rows: impl Iterator<Item = (String, String)>) -> Markup {
    html! {
        table.facts {
            tbody { @for (name, value) in rows { tr { th scope="row" { (name) } td { (value) } } } }
        }
    }
}

fn data_uri(jpeg: &[u8]) -> String {
    format!("data:image/jpeg;base64,{}", STANDARD.encode(jpeg))
}

/// A figure, or a dash where it cannot be said.
fn number(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), |value| match value.abs() {
        big if big >= 1000.0 => format!("{value:.1}"),
        _ => format!("{value:.4}"),
    })
}

fn set_name(set: &str) -> &str {
    match set {
        "val" => "validation",
        "data" => "the",
        other => other,
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::manifest as sample_manifest;

//! Are the texts sound? Copies, leaks between the parts, contradicting labels, broken encodings, outliers.
//!
//! The one decision: texts are the same if they are once case, white space and the forms of Unicode (NFKC) do not
//! count; which of several to leave out is decided as for images: of contradicting labels all, else all but one, which
//! is that in the test data before validation before training, then the first.

mod encoding;
mod near;
mod report;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use rayon::prelude::*;
use tl_data::{Part, Target};
use unicode_normalization::UnicodeNormalization;

pub use report::{Finding, Involved, Problem, Report};

use crate::error::TextError;
use crate::source::{Record, Texts};

/// How to look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DoctorOptions {
    /// The Jaccard similarity of runs of three words from which on two texts are nearly the same, 0.5 to 1; `None`
    /// finds the same texts alone.
    pub near: Option<f64>,
    /// How many times shorter or longer than the median a text has to be to stand out, in words; above 1.
    pub length: f64,
}

impl Default for DoctorOptions {
    /// 0.8, and 16 times.
    fn default() -> Self {
        Self { near: Some(0.8), length: 16.0 }
    }
}

/// Looks at all texts. `parts` are those that a split gives them, in the order of [`Texts::records`], or none: then what
/// the data says counts.
///
/// # Errors
/// An option is out of range, or there are not as many parts as texts.
pub fn examine(texts: &Texts, parts: Option<&[Part]>, options: &DoctorOptions) -> Result<Report, TextError> {
    if let Some(near) = options.near.filter(|near| !(0.5..=1.0).contains(near)) {
        return Err(TextError::option("near", near, "0.5 to 1"));
    }
    if !(options.length.is_finite() && options.length > 1.0) {
        return Err(TextError::option("length", options.length, "a number above 1"));
    }
    if let Some(parts) = parts.filter(|parts| parts.len() != texts.records.len()) {
        let expected = format!("one for each of {} texts", texts.records.len());
        return Err(TextError::option("parts", format!("{} entries", parts.len()), &expected));
    }
    let plain: Vec<String> = texts.records.par_iter().map(plain).collect();
    let words: Vec<usize> = plain.par_iter().map(|text| text.split_whitespace().count()).collect();
    let mut sorted = words.clone();
    sorted.sort_unstable();
    let at = |place: usize| sorted.get(place).copied().unwrap_or_default();
    let median = at(sorted.len() / 2);
    let look = Look { texts, parts, plain };
    let mut findings = look.each(&words, median, options.length);
    let groups = look.same(&mut findings);
    if let Some(least) = options.near {
        look.near(&groups, least, &mut findings);
    }
    findings.sort_by_key(|finding| (finding.problem.severity(), order(&finding.problem)));
    let words = [at(0), median, at(sorted.len().saturating_sub(1))];
    Ok(Report { texts: texts.records.len(), words, findings })
}

/// The order of problems of one severity.
fn order(problem: &Problem) -> u8 {
    match problem {
        Problem::Empty => 0,
        Problem::Conflict { .. } => 1,
        Problem::Leak { .. } => 2,
        Problem::Duplicate { .. } => 3,
        Problem::Encoding { .. } => 4,
        Problem::NoWords => 5,
        Problem::Length { .. } => 6,
    }
}

/// A text and its pair without case, and with single spaces.
fn plain(record: &Record) -> String {
    let plain = |text: &str| {
        let text: String = text.nfkc().collect();
        text.to_lowercase().split_whitespace().collect::<Vec<&str>>().join(" ")
    };
    match &record.pair {
        Some(pair) => format!("{}\0{}", plain(&record.text), plain(pair)),
        None => plain(&record.text),
    }
}

struct Look<'a> {
    texts: &'a Texts,
    parts: Option<&'a [Part]>,
    plain: Vec<String>,
}

impl Look<'_> {
    fn part(&self, place: usize) -> Option<Part> {
        self.parts.map(|parts| parts[place]).or(self.texts.records[place].part)
    }

    fn involved(&self, place: usize) -> Involved {
        const SHOWN: usize = 60;
        let record = &self.texts.records[place];
        let text = record.text.split_whitespace().collect::<Vec<&str>>().join(" ");
        let mut excerpt: String = text.chars().take(SHOWN).collect();
        if excerpt.len() < text.len() {
            excerpt.push('…');
        }
        let name =
            |label: &u32| self.texts.names.get(*label as usize).map(String::as_str).unwrap_or_default();
        let label = match &record.target {
            Target::Class(class) => name(class).to_owned(),
            Target::Labels(labels) => labels.iter().map(name).collect::<Vec<&str>>().join(", "),
            Target::Numbers(numbers) => numbers.iter().map(f32::to_string).collect::<Vec<String>>().join(" "),
            Target::None => String::new(),
        };
        // Below the folder of the data, where that can be said.
        let root =
            if self.texts.path.is_dir() { Some(self.texts.path.as_path()) } else { self.texts.path.parent() };
        let file = root.and_then(|root| record.file.strip_prefix(root).ok()).unwrap_or(&record.file);
        let line = record.line.map(|line| format!(":{line}")).unwrap_or_default();
        let at = format!("{}{line}", file.display());
        Involved { name: record.name.clone(), place: at, label, part: self.part(place), excerpt }
    }

    fn finding(&self, problem: Problem, places: &[usize], leave_out: &[usize], doubtful: bool) -> Finding {
        let name = |place: &usize| self.texts.records[*place].name.clone();
        Finding {
            problem,
            texts: places.iter().map(|&place| self.involved(place)).collect(),
            leave_out: leave_out.iter().map(name).collect(),
            doubtful,
        }
    }

    /// What is odd about single texts.
    fn each(&self, words: &[usize], median: usize, times: f64) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (place, record) in self.texts.records.iter().enumerate() {
            let own = [place];
            if record.is_empty() {
                findings.push(self.finding(Problem::Empty, &own, &own, false));
                continue;
            }
            let joined = format!("{}\n{}", record.text, record.pair.as_deref().unwrap_or_default());
            if let Some(odd) = encoding::odd(&joined) {
                let problem = Problem::Encoding { what: odd.what.to_owned(), first: odd.shown };
                findings.push(self.finding(problem, &own, &[], false));
            }
            let ratio = words[place] as f64 / median.max(1) as f64;
            if !joined.chars().any(char::is_alphanumeric) {
                findings.push(self.finding(Problem::NoWords, &own, &own, true));
            } else if ratio > times || ratio < 1.0 / times {
                let problem = Problem::Length { words: words[place], median };
                findings.push(self.finding(problem, &own, &[], false));
            }
        }
        findings
    }

    /// Groups of the same texts, each by its places; empty texts are in none.
    fn same(&self, findings: &mut Vec<Finding>) -> Vec<Vec<usize>> {
        let mut by_text: BTreeMap<&str, usize> = BTreeMap::new();
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for (place, text) in self.plain.iter().enumerate() {
            if self.texts.records[place].is_empty() {
                continue;
            }
            let group = *by_text.entry(text).or_insert(groups.len());
            match groups.get_mut(group) {
                Some(group) => group.push(place),
                None => groups.push(vec![place]),
            }
        }
        for group in groups.iter().filter(|group| group.len() > 1) {
            let problem = self.kind(group, None);
            let leave_out = match problem {
                Problem::Conflict { .. } => group.clone(),
                _ => self.all_but_best(group),
            };
            findings.push(self.finding(problem, group, &leave_out, false));
        }
        groups
    }

    fn kind(&self, places: &[usize], near: Option<f64>) -> Problem {
        let target = |place: &usize| &self.texts.records[*place].target;
        let tags = |place: &usize| self.texts.records[*place].tagged.as_ref().map(|tagged| &tagged.tags);
        let differ = |a: &usize, b: &usize| match (target(a), target(b)) {
            // Of the same words every tag counts; other words have other tags.
            (Target::Labels(_), Target::Labels(_)) if near.is_none() && tags(a) != tags(b) => true,
            // Two people rarely give the same number.
            (Target::Numbers(_), Target::Numbers(_)) => false,
            (a, b) => a != b,
        };
        let first = places[0];
        if places.iter().any(|place| differ(&first, place)) {
            Problem::Conflict { near }
        } else if places.iter().any(|&place| self.part(place) != self.part(first)) {
            Problem::Leak { near }
        } else {
            Problem::Duplicate { near }
        }
    }

    /// All but the one in the best part, of equals the first.
    fn all_but_best(&self, places: &[usize]) -> Vec<usize> {
        let best = places.iter().copied().min_by_key(|&place| (Reverse(self.part(place)), place));
        places.iter().copied().filter(|&place| Some(place) != best).collect()
    }

    /// Texts that are nearly the same, one of each group.
    fn near(&self, groups: &[Vec<usize>], least: f64, findings: &mut Vec<Finding>) {
        let firsts: Vec<usize> = groups.iter().map(|group| group[0]).collect();
        let texts: Vec<String> =
            firsts.iter().map(|&place| self.plain[place].replace('\0', " \0 ")).collect();
        for (a, b, similarity) in near::pairs(&texts, least) {
            let pair = [firsts[a], firsts[b]];
            let problem = self.kind(&pair, Some(similarity));
            let leave_out = match problem {
                Problem::Conflict { .. } => pair.to_vec(),
                Problem::Leak { .. } => self.all_but_best(&pair),
                _ => Vec::new(),
            };
            findings.push(self.finding(problem, &pair, &leave_out, true));
        }
    }
}

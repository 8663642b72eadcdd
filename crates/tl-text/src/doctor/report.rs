//! What the doctor found, and the list of texts to leave out.
//!
//! The one decision: as for images, a finding is data first; the text for a person and the list are made of it, and the
//! list is the same kind of file ([`tl_data::Quarantine`]).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use tl_data::doctor::{QuarantineEntry, Severity};
use tl_data::{Part, Quarantine, shown};

/// What is wrong, or odd.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "problem")]
#[non_exhaustive]
pub enum Problem {
    /// A text of white space alone.
    Empty,
    /// The same text under several labels; case and white space do not count.
    Conflict {
        /// The similarity of texts that are nearly the same, 0..1; `None` for the same.
        near: Option<f64>,
    },
    /// The same text in several parts of the data.
    Leak {
        /// The similarity of texts that are nearly the same, 0..1; `None` for the same.
        near: Option<f64>,
    },
    /// The same text several times, with the same label and in one part.
    Duplicate {
        /// The similarity of texts that are nearly the same, 0..1; `None` for the same.
        near: Option<f64>,
    },
    /// Characters that come of a wrong encoding.
    Encoding {
        /// What it is.
        what: String,
        /// The first of it.
        first: String,
    },
    /// A text without a letter or digit.
    NoWords,
    /// A text much shorter or longer than the others.
    Length {
        /// Its words.
        words: usize,
        /// The words of the median text.
        median: usize,
    },
}

impl Problem {
    /// What it is, in a few words.
    pub fn title(&self) -> &'static str {
        match self {
            Self::Empty => "empty text",
            Self::Conflict { near: None } => "same text, other label",
            Self::Conflict { near: Some(_) } => "nearly the same text, other label",
            Self::Leak { near: None } => "same text in another part",
            Self::Leak { near: Some(_) } => "nearly the same text in another part",
            Self::Duplicate { near: None } => "same text",
            Self::Duplicate { near: Some(_) } => "nearly the same text",
            Self::Encoding { .. } => "wrong encoding",
            Self::NoWords => "no words",
            Self::Length { words, median } if words > median => "very long text",
            Self::Length { .. } => "very short text",
        }
    }

    /// How bad it is.
    pub fn severity(&self) -> Severity {
        match self {
            Self::Empty | Self::Conflict { near: None } | Self::Leak { near: None } => Severity::Error,
            Self::Duplicate { near: Some(_) } | Self::NoWords | Self::Length { .. } => Severity::Note,
            _ => Severity::Warning,
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Conflict { near: Some(near) }
            | Self::Leak { near: Some(near) }
            | Self::Duplicate { near: Some(near) } => {
                format!("{:.0} % alike", near * 100.0)
            }
            Self::Encoding { what, first } => format!("{what}: {first}"),
            Self::Length { words, median } => {
                let s = if *words == 1 { "" } else { "s" };
                format!("{words} word{s} (the median text has {median})")
            }
            _ => String::new(),
        }
    }
}

/// A text that a finding is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Involved {
    /// Its name, as in splits and lists.
    pub name: String,
    /// File and line, below the folder of the data.
    pub place: String,
    /// Its class, labels or numbers, in words.
    pub label: String,
    /// The part that it is in, if there are parts.
    pub part: Option<Part>,
    /// How it begins.
    pub excerpt: String,
}

/// One thing found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is.
    #[serde(flatten)]
    pub problem: Problem,
    /// The texts it is about, in order.
    pub texts: Vec<Involved>,
    /// Which of them to leave out, by name.
    pub leave_out: Vec<String>,
    /// Whether a person should look before they are left out.
    pub doubtful: bool,
}

/// What a set of texts looks like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// How many texts were looked at.
    pub texts: usize,
    /// Their words: fewest, median, most.
    pub words: [usize; 3],
    /// What was found, the worst first.
    pub findings: Vec<Finding>,
}

impl Report {
    /// How many findings have a severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.problem.severity() == severity).count()
    }

    /// The texts to leave out, each once, the worst reason first; those that a person should look at are comments.
    pub fn quarantine(&self) -> Quarantine {
        let mut lists: [Vec<QuarantineEntry>; 2] = Default::default();
        let mut known: BTreeMap<&str, ()> = BTreeMap::new();
        for doubtful in [false, true] {
            for finding in self.findings.iter().filter(|finding| finding.doubtful == doubtful) {
                for name in &finding.leave_out {
                    if known.insert(name, ()).is_none() {
                        let entry =
                            QuarantineEntry { rel: name.clone(), reason: reason(finding, name), line: 0 };
                        lists[usize::from(doubtful)].push(entry);
                    }
                }
            }
        }
        let [entries, doubtful] = lists;
        Quarantine { entries, doubtful }
    }
}

/// Why a text is left out, where it is, and how it begins.
fn reason(finding: &Finding, name: &str) -> String {
    let own = finding.texts.iter().find(|text| text.name == name);
    let mut others = finding.texts.iter().filter(|text| text.name != name);
    let mut reason = finding.problem.title().to_owned();
    match (others.next(), others.count()) {
        (Some(other), 0) => reason.push_str(&format!(": {}", other.place)),
        (Some(other), more) => reason.push_str(&format!(": {} and {more} more", other.place)),
        (None, _) => {}
    }
    if let Some(own) = own {
        reason.push_str(&format!("; {}, {}: \"{}\"", own.place, own.label, own.excerpt));
    }
    reason
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 10;
        let [fewest, median, most] = self.words;
        writeln!(f, "{} texts of {fewest} to {most} words, the median {median}", self.texts)?;
        let mut by_title: Vec<(&str, Vec<&Finding>)> = Vec::new();
        for finding in &self.findings {
            let title = finding.problem.title();
            match by_title.iter_mut().find(|(known, _)| *known == title) {
                Some((_, all)) => all.push(finding),
                None => by_title.push((title, vec![finding])),
            }
        }
        for (title, findings) in by_title {
            let severity = findings[0].problem.severity().name();
            writeln!(f, "{severity}: {title}: {}", findings.len())?;
            for finding in findings.iter().take(SHOWN) {
                let detail = finding.problem.detail();
                if !detail.is_empty() {
                    writeln!(f, "  {}", shown(&detail))?;
                }
                for text in finding.texts.iter().take(4) {
                    let part = text.part.map(|part| format!(" {part}")).unwrap_or_default();
                    writeln!(
                        f,
                        "    {}{part} {}: {}",
                        shown(&text.place),
                        shown(&text.label),
                        shown(&text.excerpt)
                    )?;
                }
                if finding.texts.len() > 4 {
                    writeln!(f, "    and {} more", finding.texts.len() - 4)?;
                }
            }
            if findings.len() > SHOWN {
                writeln!(f, "  and {} more", findings.len() - SHOWN)?;
            }
        }
        if self.findings.is_empty() {
            writeln!(f, "nothing found")?;
        }
        let list = self.quarantine();
        let (sure, doubtful) = (list.entries.len(), list.doubtful.len());
        if sure + doubtful > 0 {
            writeln!(f, "to leave out: {sure}, and {doubtful} to look at first")?;
        }
        Ok(())
    }
}

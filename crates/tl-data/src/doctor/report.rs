//! What the doctor found.
//!
//! The one decision: a finding is data first: what it is, how bad, which files, what to do. The text that a
//! person reads and the list of files to leave out are both made of that.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::groups::Same;
use crate::inspect::Format;
use crate::shown;
use crate::split::Part;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// A run fails, or its figures mean nothing.
    Error,
    /// Results are likely to be worse, or better on paper than they are.
    Warning,
    /// Worth a look.
    Note,
}

impl Severity {
    /// `error`, `warning` or `note`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// What is wrong, or odd.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "problem")]
#[non_exhaustive]
pub enum Problem {
    /// A file or folder that cannot be opened or read.
    Unreadable {
        /// Why, in one line.
        reason: String,
    },
    /// A file that cannot be decoded: truncated, damaged, or no image.
    Broken {
        /// Why, in one line.
        reason: String,
    },
    /// A sound file of a kind that is not decoded here.
    Unsupported {
        /// What it is, in one line.
        reason: String,
    },
    /// A JPEG whose data ends early or is damaged although its end marker is there.
    MissingBlocks {
        /// Blocks of 8x8 coefficients that cannot be read.
        missing: u64,
        /// Blocks that the picture consists of.
        blocks: u64,
    },
    /// An image with a side too short to show anything.
    Tiny {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// The same picture under several labels.
    Conflict {
        /// How the files are the same.
        same: Same,
        /// The classes in order, or what else the images are said to be: lists of labels, or numbers.
        classes: Vec<String>,
    },
    /// The same picture in several parts of the data.
    Leak {
        /// How the files are the same.
        same: Same,
    },
    /// The same picture several times, of one class and in one part.
    Duplicate {
        /// How the files are the same.
        same: Same,
    },
    /// An image of nearly one colour.
    Uniform {
        /// Standard deviation of the luma, in levels of 0 to 255.
        deviation: f64,
    },
    /// A link that leads back to a folder above it.
    LinkLoop,
    /// A link to nothing.
    BrokenLink,
    /// An image by its content, passed over because its name does not end like one that is decoded.
    NotListed {
        /// The format by content.
        format: String,
        /// Whether it is decoded here, under another name.
        decoded: bool,
    },
    /// A TIFF with further pages, of which only the first is used.
    MorePages,
    /// A JPEG that has all its pixels, but no end marker.
    NoEndMarker,
    /// A name that ends like another format.
    WrongExtension {
        /// The format by content.
        format: Format,
    },
    /// A name that is not UTF-8.
    NotUtf8,
    /// A size far from that of the others.
    Size {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// The robust score of the area.
        score: f64,
    },
    /// A shape far from that of the others.
    Aspect {
        /// Long over short side.
        elongation: f64,
        /// That of the median image.
        median: f64,
        /// The robust score.
        score: f64,
    },
    /// Far darker or brighter than the others.
    Brightness {
        /// Mean luma, 0 to 255.
        brightness: f64,
        /// That of the median image.
        median: f64,
        /// The robust score.
        score: f64,
    },
}

impl Problem {
    /// How bad it is.
    pub fn severity(&self) -> Severity {
        match self {
            Self::Unreadable { .. } | Self::Broken { .. } | Self::Unsupported { .. } => Severity::Error,
            // A run does not begin with one.
            Self::BrokenLink => Severity::Error,
            // The last block alone is missing from the files of some cameras.
            Self::MissingBlocks { missing, blocks } if missing * 100 >= *blocks => Severity::Error,
            Self::Tiny { width: 1, height: 1 } => Severity::Error,
            Self::Conflict { same: Same::Bytes | Same::Pixels, .. } => Severity::Error,
            Self::Leak { same: Same::Bytes | Same::Pixels } => Severity::Error,
            Self::MissingBlocks { .. } | Self::Tiny { .. } | Self::Conflict { .. } | Self::Leak { .. } => {
                Severity::Warning
            }
            Self::Duplicate { same: Same::Bytes | Same::Pixels } => Severity::Warning,
            Self::Uniform { .. } | Self::LinkLoop | Self::NotListed { .. } => Severity::Warning,
            _ => Severity::Note,
        }
    }

    /// What it is, in a few words, without a number.
    pub fn title(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "cannot be read",
            Self::Broken { .. } => "broken",
            Self::Unsupported { .. } => "not supported",
            Self::MissingBlocks { .. } => "damaged inside, filled with grey",
            Self::Tiny { .. } => "too small",
            Self::Conflict { same: Same::Bytes, .. } => "the same file under several labels",
            Self::Conflict { same: Same::Pixels, .. } => "the same pixels under several labels",
            Self::Conflict { same: Same::Near, .. } => "nearly the same picture under several labels",
            Self::Leak { same: Same::Bytes } => "the same file in several parts of the data",
            Self::Leak { same: Same::Pixels } => "the same pixels in several parts of the data",
            Self::Leak { same: Same::Near } => "nearly the same picture in several parts of the data",
            Self::Duplicate { same: Same::Bytes } => "the same file several times",
            Self::Duplicate { same: Same::Pixels } => "the same pixels several times",
            Self::Duplicate { same: Same::Near } => "nearly the same picture several times",
            Self::Uniform { .. } => "nearly of one colour",
            Self::LinkLoop => "a link in a loop",
            Self::BrokenLink => "a link to nothing",
            Self::NotListed { .. } => "an image that is not used",
            Self::MorePages => "a TIFF of which only the first page is used",
            Self::NoEndMarker => "a JPEG without its end marker",
            Self::WrongExtension { .. } => "a name that ends like another format",
            Self::NotUtf8 => "a name that is not UTF-8",
            Self::Size { .. } => "an unusual size",
            Self::Aspect { .. } => "an unusual shape",
            Self::Brightness { .. } => "unusually dark or bright",
        }
    }

    /// What to do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "check that it exists and that you may read it (`chmod +r`)",
            Self::Broken { .. } => "copy or download it again, or leave it out",
            Self::Unsupported { .. } => "convert it to PNG or 8-bit TIFF",
            Self::MissingBlocks { .. } => "look at it; copy or download it again, or leave it out",
            Self::Tiny { .. } => "leave it out, unless the images are meant to be so small",
            Self::Conflict { .. } => "decide on a label; until then leave out all of them",
            Self::Leak { .. } => "keep it in one part only: a net knows by heart what it was trained on",
            Self::Duplicate { same: Same::Near } => {
                "fine in small numbers; many make a class look larger than it is"
            }
            Self::Duplicate { .. } => "keep one: copies count several times",
            Self::Uniform { .. } => "look at it: an empty page, a covered lens, a failed export?",
            Self::LinkLoop => "remove the link; it is not followed",
            Self::BrokenLink => "mend or remove the link",
            Self::NotListed { decoded: true, .. } => "rename it if it should be used",
            Self::NotListed { decoded: false, .. } => "convert it to JPEG or PNG if it should be used",
            Self::MorePages => "store each page as a file if they should be used",
            Self::NoEndMarker => "nothing is missing, but other programs may refuse it; store it again",
            Self::WrongExtension { .. } => "rename it: the content decides here, but not in every program",
            Self::NotUtf8 => "rename it: lists write such bytes as `\\xFF`",
            Self::Size { .. } | Self::Aspect { .. } | Self::Brightness { .. } => {
                "look at it: does it belong here?"
            }
        }
    }

    /// What differs from file to file.
    pub fn detail(&self) -> String {
        match self {
            Self::Unreadable { reason } | Self::Broken { reason } | Self::Unsupported { reason } => {
                reason.clone()
            }
            Self::MissingBlocks { missing, blocks } => {
                format!("{:.1} % of the blocks are missing", *missing as f64 * 100.0 / *blocks as f64)
            }
            Self::Tiny { width, height } => format!("{width}x{height} pixels"),
            Self::Conflict { classes, .. } => {
                classes.iter().map(|class| format!("`{class}`")).collect::<Vec<_>>().join(", ")
            }
            Self::Uniform { deviation } => format!("a deviation of {deviation:.1} levels"),
            Self::NotListed { format, .. } => format!("it is {format}"),
            Self::WrongExtension { format } => format!("it is {}", format.name()),
            Self::Size { width, height, score } => format!("{width}x{height} pixels (score {score:.1})"),
            Self::Aspect { elongation, median, score } => {
                format!("long over short side {elongation:.2}, median {median:.2} (score {score:.1})")
            }
            Self::Brightness { brightness, median, score } => {
                format!("brightness {brightness:.0}, median {median:.0} (score {score:.1})")
            }
            _ => String::new(),
        }
    }
}

impl Problem {
    /// Whether it rests on likeness, which may be wrong.
    pub(super) fn is_near(&self) -> bool {
        matches!(
            self,
            Self::Conflict { same: Same::Near, .. }
                | Self::Leak { same: Same::Near }
                | Self::Duplicate { same: Same::Near }
        )
    }

    /// How far it stands out.
    fn score(&self) -> f64 {
        match self {
            Self::Size { score, .. } | Self::Aspect { score, .. } | Self::Brightness { score, .. } => {
                score.abs()
            }
            _ => 0.0,
        }
    }
}

/// A file of a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Involved {
    /// The path below the dataset's folder, `/`-separated. Bytes that are not UTF-8 are written as `\xFF`.
    pub rel: String,
    /// The part of the data it is in; `None` for what is no sample, and where parts are drawn at random.
    pub part: Option<Part>,
    /// Its class, its labels or its numbers.
    pub class: Option<String>,
}

/// One thing found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is.
    #[serde(flatten)]
    pub problem: Problem,
    /// The files, sorted as the samples are; never empty.
    pub files: Vec<Involved>,
    /// What to do about it.
    pub advice: String,
    /// Which of the files to leave out, by their `rel`; may be empty.
    pub leave_out: Vec<String>,
    /// Which of several copies to keep, by its `rel`.
    #[serde(default)]
    pub kept: Option<String>,
}

impl Finding {
    pub(super) fn new(problem: Problem, files: Vec<Involved>, leave_out: Vec<String>) -> Self {
        let (severity, advice) = (problem.severity(), problem.advice().to_owned());
        Self { severity, problem, files, advice, leave_out, kept: None }
    }

    pub(super) fn keeping(self, kept: String) -> Self {
        Self { kept: Some(kept), ..self }
    }
}

/// All that was found, the most serious first. As text it is grouped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// How many images were looked at.
    pub images: usize,
    /// Whether nearly the same pictures were looked for.
    #[serde(default)]
    pub near: bool,
    /// How many images have too little detail to be compared with others; 0 where that was not tried.
    #[serde(default)]
    pub without_detail: usize,
    /// What a person should know before leaving anything out, one line each.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What was found, sorted by severity, kind, how much it stands out, and file.
    pub findings: Vec<Finding>,
}

/// How many findings of a kind are printed.
const PRINTED: usize = 20;

/// How many files of a finding are printed.
const FILES: usize = 6;

/// Which copies are found, and which not.
const FOUND: &str = "copies were looked for that are of another size, quality or brightness, or mirrored; not \
                     those that are cropped or turned";

impl Report {
    /// The report of these findings, sorted: severity, then kind in the order of [`Problem`], then the larger
    /// score or the more files, then by name.
    pub(super) fn new(images: usize, mut findings: Vec<Finding>) -> Self {
        findings.sort_by(|a, b| {
            let files = |finding: &Finding| finding.files.len();
            let names = |finding: &Finding| -> Vec<String> {
                finding.files.iter().map(|file| file.rel.clone()).collect()
            };
            (a.severity, rank(&a.problem))
                .cmp(&(b.severity, rank(&b.problem)))
                .then_with(|| b.problem.score().total_cmp(&a.problem.score()))
                .then_with(|| files(b).cmp(&files(a)))
                .then_with(|| names(a).cmp(&names(b)))
        });
        Self { images, near: false, without_detail: 0, warnings: Vec::new(), findings }
    }

    /// How many findings are of a severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }
}

/// The order of kinds within a severity: what matters most comes first.
fn rank(problem: &Problem) -> usize {
    match problem {
        Problem::Unreadable { .. } => 0,
        Problem::BrokenLink => 1,
        Problem::Broken { .. } => 2,
        Problem::Unsupported { .. } => 3,
        Problem::MissingBlocks { .. } => 4,
        Problem::Tiny { .. } => 5,
        Problem::Conflict { same, .. } => 6 + *same as usize,
        Problem::Leak { same } => 9 + *same as usize,
        Problem::Duplicate { same } => 12 + *same as usize,
        Problem::Uniform { .. } => 15,
        Problem::LinkLoop => 16,
        Problem::NotListed { decoded: true, .. } => 17,
        Problem::NotListed { decoded: false, .. } => 18,
        Problem::MorePages => 19,
        Problem::NoEndMarker => 20,
        Problem::WrongExtension { .. } => 21,
        Problem::NotUtf8 => 22,
        Problem::Size { .. } => 23,
        Problem::Aspect { .. } => 24,
        Problem::Brightness { .. } => 25,
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted: Vec<String> = [Severity::Error, Severity::Warning, Severity::Note]
            .into_iter()
            .map(|severity| (self.count(severity), severity.name()))
            .filter(|(count, _)| *count > 0)
            .map(|(count, name)| format!("{count} {name}{}", if count == 1 { "" } else { "s" }))
            .collect();
        let counted = if counted.is_empty() { "nothing found".to_owned() } else { counted.join(", ") };
        writeln!(f, "{} images: {counted}", self.images)?;
        if self.near && self.findings.is_empty() {
            writeln!(f, "{FOUND}")?;
        }
        if self.without_detail > 0 {
            writeln!(f, "images with too little detail to be compared with others: {}", self.without_detail)?;
        }
        let same_kind =
            |a: &Finding, b: &Finding| (a.severity, rank(&a.problem)) == (b.severity, rank(&b.problem));
        for group in self.findings.chunk_by(same_kind) {
            print_group(f, group)?;
        }
        for (i, warning) in self.warnings.iter().enumerate() {
            writeln!(f, "{}WARNING: {}", if i == 0 { "\n" } else { "" }, shown(warning))?;
        }
        Ok(())
    }
}

fn print_group(f: &mut fmt::Formatter<'_>, group: &[Finding]) -> fmt::Result {
    let Some(first) = group.first() else { return Ok(()) };
    writeln!(f, "\n{}: {} ({})", first.severity.name(), first.problem.title(), group.len())?;
    for finding in group.iter().take(PRINTED) {
        // The one to keep is always among those named.
        let kept = finding.kept.as_deref();
        let others = finding.files.iter().map(|file| file.rel.as_str()).filter(|rel| Some(*rel) != kept);
        let named: Vec<_> = kept.into_iter().chain(others).take(FILES).map(shown).collect();
        let more = finding.files.len().saturating_sub(named.len());
        let between = if finding.problem.is_near() { " ~ " } else { " = " };
        write!(f, "  {}", named.join(between))?;
        if more > 0 {
            write!(f, "{between}{more} more")?;
        }
        let detail = finding.problem.detail();
        if !detail.is_empty() {
            write!(f, ": {}", shown(&detail))?;
        }
        writeln!(f, "{}", if kept.is_some() { " (the first is kept)" } else { "" })?;
    }
    if group.len() > PRINTED {
        writeln!(f, "  … and {} more", group.len() - PRINTED)?;
    }
    writeln!(f, "  -> {}", first.advice)
}

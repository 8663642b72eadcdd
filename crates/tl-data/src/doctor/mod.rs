//! Is the dataset sound? Broken files, copies, leaks between the parts, contradicting labels, outliers.
//!
//! The one decision: every file is read and decoded once, in parallel, and everything else is worked out from
//! what was kept of it, in the order of the samples. So a report is the same for one thread and for sixteen.
//!
//! ```no_run
//! use tl_data::doctor::{DoctorOptions, Quarantine, examine};
//! use tl_data::inspect::Contents;
//! use tl_data::{DataPool, Dataset, SplitMode, SplitOptions};
//!
//! # fn main() -> Result<(), tl_data::DataError> {
//! let as_it_is = SplitOptions { mode: SplitMode::None, ..SplitOptions::default() };
//! let folder = Dataset::open("photos".as_ref(), &as_it_is)?;
//! let pool = DataPool::new(4)?;
//! let options = DoctorOptions::default();
//! let report = examine(&Contents::from(&folder), Some(&folder.root), &options, &pool, &|_done| {})?;
//! let text = report.to_string(); // for a person
//! let list = Quarantine::of(&report).to_string(); // for `Quarantine::read`, later
//! # Ok(())
//! # }
//! ```

mod answers;
mod groups;
mod hash;
mod index;
mod look;
mod outliers;
mod quarantine;
mod report;
mod tree;

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use image::RgbImage;
use rayon::prelude::*;

use crate::decode::DecodeWarning;
use crate::error::DataError;
use crate::folder::Sample;
use crate::inspect::Contents;
use crate::pool::DataPool;
use crate::split::Part;
use crate::table::Task;
use answers::Answers;
use groups::{Group, Kind, Near, Star};
use hash::Tone;
use look::{Look, Seen};
use outliers::{Rule, outliers};

pub use groups::Same;
pub use quarantine::{Quarantine, QuarantineEntry, QuarantineError, QuarantineProblem, QuarantineProblems};
pub use report::{Finding, Involved, Problem, Report, Severity};

/// How to look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DoctorOptions {
    /// The largest distance of the 64-bit perceptual hashes of two pictures that are compared further, 0 to 15
    /// bits; `None` finds exact copies alone.
    pub near: Option<u32>,
    /// The robust score from which on a size, a shape or a brightness stands out; above 0.
    pub score: f64,
    /// The shortest side that is not too small, in pixels; at least 1.
    pub min_side: u32,
}

impl Default for DoctorOptions {
    /// 10 bits; a score of 3.5 (Iglewicz and Hoaglin, 1993); 8 pixels.
    fn default() -> Self {
        Self { near: Some(10), score: 3.5, min_side: 8 }
    }
}

impl DoctorOptions {
    /// Checks the ranges.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn check(&self) -> Result<(), DataError> {
        let fail = |option, got: String, expected: String| Err(DataError::Option { option, got, expected });
        if let Some(bits) = self.near.filter(|&bits| bits > index::MOST_BITS) {
            return fail("near", bits.to_string(), format!("0 to {} bits", index::MOST_BITS));
        }
        if !(self.score.is_finite() && self.score > 0.0) {
            return fail("score", self.score.to_string(), "a number above 0".to_owned());
        }
        if self.min_side == 0 {
            return fail("min_side", "0".to_owned(), "at least 1 pixel".to_owned());
        }
        Ok(())
    }
}

/// A loss of more than one in this many images is worth a warning.
const MUCH: usize = 20;

/// Standard deviation of the luma, in levels, below which an image is nearly of one colour.
const UNIFORM: f64 = 3.0;

/// A size stands out if its area differs from the median by this factor; the logarithm to base 2.
const AREA: Rule = Rule { score: 0.0, difference: 2.0, spread: 0.1 };

/// A shape stands out if long over short side differs from the median by a factor of 2: portraits among
/// landscapes are no news.
const ASPECT: Rule = Rule { score: 0.0, difference: 1.0, spread: 0.1 };

/// A brightness stands out if it differs from the median by this many levels.
const BRIGHTNESS: Rule = Rule { score: 0.0, difference: 40.0, spread: 2.0 };

/// The 64-bit perceptual hash of a picture, that of Python's `imagehash.phash` up to the way pictures are made
/// small: few bits differ between copies. `None` for a picture without pixels.
pub fn perceptual_hash(image: &RgbImage) -> Option<u64> {
    hash::perceptual_hash(image)
}

/// Looks at all files of a dataset, and at the folders below `root` if there is one.
///
/// `progress` is called from the worker threads with the number of images done so far, once for each image.
///
/// Labels contradict each other where classes or rows of labels differ, or numbers by more than a thousandth of their
/// usual span.
///
/// Which of several copies to leave out: of contradicting labels all; otherwise all but one, which is that in
/// the test data before validation before training, then the one with the most pixels, then the first by path.
/// Of pictures that are only nearly the same those are left out that are like one in a better part, or like one
/// with another label; within one part they stay. Parts that were drawn at random ([`Contents::drawn`]) count as
/// one: there, copies are no leaks yet, but would be, so all but one are left out.
///
/// # Errors
/// An option is out of range.
pub fn examine(
    contents: &Contents<'_>,
    root: Option<&Path>,
    options: &DoctorOptions,
    pool: &DataPool,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Report, DataError> {
    options.check()?;
    let samples: Vec<(Part, &Sample)> = contents.samples().collect();
    let done = AtomicUsize::new(0);
    let look = |(_, sample): &(Part, &Sample)| {
        let look = Look::at(sample, options.near.is_some());
        progress(done.fetch_add(1, Ordering::Relaxed) + 1);
        look
    };
    let looks: Vec<Look> = pool.install(|| samples.par_iter().with_max_len(1).map(look).collect());
    let answers = Answers::new(contents, samples.iter().map(|(_, sample)| *sample));
    let examined = Examined { contents, samples, looks, answers };
    let mut findings = root.map(tree::findings).unwrap_or_default();
    findings.extend(examined.single(options));
    for group in groups::exact(&examined.looks) {
        findings.extend(examined.of_exact(&group));
    }
    if let Some(bits) = options.near {
        let (kinds, ranks) = (examined.kinds(), examined.ranks());
        findings.extend(examined.of_near(groups::near(&examined.looks, &kinds, &ranks, bits, pool)));
    }
    findings.extend(examined.outliers(options));
    let warnings = examined.losses(&findings);
    let plain = |look: &&Look| look.image().is_some_and(|seen| seen.likeness.is_none());
    Ok(Report {
        near: options.near.is_some(),
        without_detail: options.near.map_or(0, |_| examined.looks.iter().filter(plain).count()),
        warnings,
        ..Report::new(examined.samples.len(), findings)
    })
}

/// The samples, and what was seen of each.
struct Examined<'a> {
    contents: &'a Contents<'a>,
    samples: Vec<(Part, &'a Sample)>,
    looks: Vec<Look>,
    answers: Answers<'a>,
}

impl Examined<'_> {
    /// The part that a file is in for good.
    fn part(&self, place: usize) -> Option<Part> {
        let part = self.samples[place].0;
        (!self.contents.drawn.contains(&part)).then_some(part)
    }

    /// Part and answer of each file; parts that were drawn at random are one, the least.
    fn kinds(&self) -> Vec<Kind> {
        let kind = |place: usize| (self.part(place).unwrap_or(Part::Train), self.answers.id(place));
        (0..self.samples.len()).map(kind).collect()
    }

    fn involved(&self, place: usize) -> Involved {
        let sample = self.samples[place].1;
        let class = Some(self.contents.answer(sample));
        Involved { rel: sample.rel.clone(), part: self.part(place), class }
    }

    fn rel(&self, place: usize) -> String {
        self.samples[place].1.rel.clone()
    }

    /// What a file shows by itself.
    fn single(&self, options: &DoctorOptions) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (place, look) in self.looks.iter().enumerate() {
            let mut add = |problem: Problem, leave_out: bool| {
                let leave_out = if leave_out { vec![self.rel(place)] } else { Vec::new() };
                findings.push(Finding::new(problem, vec![self.involved(place)], leave_out));
            };
            if self.samples[place].1.path.to_str().is_none() {
                add(Problem::NotUtf8, false);
            }
            match look {
                Look::Unreadable(reason) => add(Problem::Unreadable { reason: reason.clone() }, true),
                Look::Broken(reason) => add(Problem::Broken { reason: reason.clone() }, true),
                Look::Unsupported(reason) => add(Problem::Unsupported { reason: reason.clone() }, true),
                Look::Image(seen) => single_image(seen, self.samples[place].1, options, &mut add),
            }
        }
        findings
    }

    /// A finding about several files; all but the one kept are left out, or none.
    fn finding(
        &self,
        problem: Problem,
        mut places: Vec<usize>,
        kept: Option<usize>,
        leave_out: bool,
    ) -> Finding {
        places.sort_unstable();
        let out = places.iter().filter(|&&place| leave_out && Some(place) != kept);
        let out = out.map(|&place| self.rel(place)).collect();
        let finding = Finding::new(problem, places.iter().map(|&place| self.involved(place)).collect(), out);
        match kept {
            Some(kept) => finding.keeping(self.rel(kept)),
            None => finding,
        }
    }

    fn conflict(&self, same: Same, places: Vec<usize>) -> Finding {
        let answer = |&place: &usize| (self.answers.id(place), self.contents.answer(self.samples[place].1));
        let answers: BTreeSet<(u32, String)> = places.iter().map(answer).collect();
        let classes = answers.into_iter().map(|(_, answer)| answer).collect();
        self.finding(Problem::Conflict { same, classes }, places, None, true)
    }

    /// What several files of the same pixels mean.
    fn of_exact(&self, group: &Group) -> Vec<Finding> {
        let Group { same, members } = group;
        let labels_differ = self.answers.differ(members);
        let parts_differ = members.iter().any(|&place| self.part(place) != self.part(members[0]));
        let kept = members.iter().copied().min_by_key(|&place| self.preference(place));
        let mut findings = Vec::new();
        if labels_differ {
            findings.push(self.conflict(*same, members.clone()));
        }
        if parts_differ {
            findings.push(self.finding(Problem::Leak { same: *same }, members.clone(), kept, true));
        } else if !labels_differ {
            findings.push(self.finding(Problem::Duplicate { same: *same }, members.clone(), kept, true));
        }
        findings
    }

    /// What files mean that look alike.
    fn of_near(&self, near: Near) -> Vec<Finding> {
        let conflicts = near.conflicts.into_iter().filter(|places| self.answers.differ(places));
        let mut findings: Vec<Finding> = conflicts.map(|places| self.conflict(Same::Near, places)).collect();
        let all = |star: Star| ([star.others, vec![star.kept]].concat(), Some(star.kept));
        for star in near.leaks {
            let (places, kept) = all(star);
            findings.push(self.finding(Problem::Leak { same: Same::Near }, places, kept, true));
        }
        for star in near.copies {
            let drawn = self.part(star.kept).is_none();
            let (places, kept) = all(star);
            let kept = kept.filter(|_| drawn);
            findings.push(self.finding(Problem::Duplicate { same: Same::Near }, places, kept, drawn));
        }
        findings
    }

    /// Which of several copies to keep: the smallest by this.
    fn preference(&self, place: usize) -> (Reverse<Option<Part>>, Reverse<u64>, &str) {
        let pixels = self.looks[place].image().map_or(0, |s| u64::from(s.size.0) * u64::from(s.size.1));
        (Reverse(self.part(place)), Reverse(pixels), &self.samples[place].1.rel)
    }

    /// The place of each file in the order of preference.
    fn ranks(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.samples.len()).collect();
        order.sort_by(|&a, &b| self.preference(a).cmp(&self.preference(b)));
        let mut ranks = vec![0; order.len()];
        for (rank, place) in order.into_iter().enumerate() {
            ranks[place] = rank;
        }
        ranks
    }

    /// What a person should think of before leaving out what is listed: much of the data, or a whole class.
    fn losses(&self, findings: &[Finding]) -> Vec<String> {
        let (sure, near): (Vec<&Finding>, Vec<&Finding>) =
            findings.iter().partition(|finding| !finding.problem.is_near());
        let mut warnings = Vec::new();
        for (findings, what) in [(sure, "what is listed"), (near, "all that are nearly the same")] {
            let out: BTreeSet<&str> =
                findings.iter().flat_map(|finding| &finding.leave_out).map(String::as_str).collect();
            let is_out = |sample: &Sample| out.contains(sample.rel.as_str());
            let gone = self.samples.iter().filter(|(_, sample)| is_out(sample)).count();
            if gone * MUCH > self.samples.len() {
                let share = gone as f64 * 100.0 / self.samples.len() as f64;
                let of = self.samples.len();
                warnings.push(format!("leaving out {what} takes {gone} of {of} images ({share:.1} %)"));
            }
            let names = |sample: &Sample| self.contents.names_of(sample);
            let all: BTreeSet<u32> = self.samples.iter().flat_map(|(_, sample)| names(sample)).collect();
            let kept = self.samples.iter().filter(|(_, sample)| !is_out(sample));
            let kept: BTreeSet<u32> = kept.flat_map(|(_, sample)| names(sample)).collect();
            let noun = if self.contents.task == Task::MultiLabel { "label" } else { "class" };
            for label in all.difference(&kept) {
                let class = self.contents.class(*label);
                warnings.push(format!("leaving out {what} takes all images of {noun} `{class}`"));
            }
        }
        warnings
    }

    /// What stands out from the rest.
    fn outliers(&self, options: &DoctorOptions) -> Vec<Finding> {
        let usable = |seen: &&Seen| seen.size.0.min(seen.size.1) >= options.min_side;
        let images: Vec<(usize, &Seen)> = self
            .looks
            .iter()
            .enumerate()
            .filter_map(|(place, look)| Some((place, look.image().filter(usable)?)))
            .collect();
        let figures =
            |of: &dyn Fn(&Seen) -> f64| -> Vec<f64> { images.iter().map(|(_, seen)| of(seen)).collect() };
        let mut findings = Vec::new();
        let mut add = |at: usize, problem: Problem| {
            findings.push(Finding::new(problem, vec![self.involved(images[at].0)], Vec::new()));
        };
        let rule = |rule: Rule| Rule { score: options.score, ..rule };
        let elongation = |seen: &Seen| {
            let (width, height) = seen.size;
            f64::from(width.max(height)) / f64::from(width.min(height))
        };

        let areas = figures(&|seen| (f64::from(seen.size.0) * f64::from(seen.size.1)).log2());
        for found in outliers(&areas, rule(AREA)).1 {
            let (width, height) = images[found.place].1.size;
            add(found.place, Problem::Size { width, height, score: found.score });
        }
        let (middle, shapes) = outliers(&figures(&|seen| elongation(seen).log2()), rule(ASPECT));
        for found in shapes {
            let (elongation, median) = (elongation(images[found.place].1), middle.exp2());
            add(found.place, Problem::Aspect { elongation, median, score: found.score });
        }
        let (median, tones) = outliers(&figures(&|seen| seen.tone.brightness), rule(BRIGHTNESS));
        for found in tones {
            let Tone { brightness, deviation } = images[found.place].1.tone;
            // A blank page has been reported as such.
            if deviation < UNIFORM {
                continue;
            }
            add(found.place, Problem::Brightness { brightness, median, score: found.score });
        }
        findings
    }
}

fn single_image(seen: &Seen, sample: &Sample, options: &DoctorOptions, add: &mut dyn FnMut(Problem, bool)) {
    for warning in &seen.warnings {
        match *warning {
            DecodeWarning::NoEndMarker => add(Problem::NoEndMarker, false),
            DecodeWarning::MissingBlocks { missing, blocks } => {
                let problem = Problem::MissingBlocks { missing, blocks };
                let leave_out = problem.severity() == Severity::Error;
                add(problem, leave_out);
            }
        }
    }
    if seen.pages {
        add(Problem::MorePages, false);
    }
    let (width, height) = seen.size;
    if width.min(height) < options.min_side {
        add(Problem::Tiny { width, height }, (width, height) == (1, 1));
    } else if seen.tone.deviation < UNIFORM {
        add(Problem::Uniform { deviation: seen.tone.deviation }, false);
    }
    let extension = sample.path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    if let (Some(format), Some(extension)) = (seen.format, extension)
        && !format.extensions().contains(&extension.as_str())
    {
        add(Problem::WrongExtension { format }, false);
    }
}

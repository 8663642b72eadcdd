//! What is in a dataset: how many images of each class, how large, of which kinds.
//!
//! The one decision: only headers are read, never pixels, so that the answer comes at once; whether the pixels
//! are any good is for [`crate::doctor`].

pub mod header;
mod numbers;
mod table;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::decode::caught;
use crate::error::DecodeReason;
use crate::folder::{Dataset, Sample};
use crate::pool::DataPool;
use crate::split::{Part, SplitSource};
use crate::table::Task;
pub use header::{Colour, Format, Header, parse_header, read_header};
pub use numbers::NumberSummary;
pub(crate) use numbers::short;

/// From this ratio of the largest to the smallest class on, a dataset counts as skewed.
pub const SKEWED: f64 = 2.0;

/// With fewer training images than this a class counts as small.
pub const FEW: usize = 10;

/// How many unreadable or animated files a report names at most.
const NAMED: usize = 10;

/// The images to look at, by part.
#[derive(Debug, Clone)]
pub struct Contents<'a> {
    /// What the images are labelled with.
    pub task: Task,
    /// The names of the classes, labels or numbers; a label is a place in this list.
    pub classes: &'a [String],
    /// The images of each part; a part may come more than once, or not at all.
    pub parts: Vec<(Part, &'a [Sample])>,
    /// The parts that were drawn at random from the same images, and would be others with another seed: for
    /// [`crate::doctor`] they are one.
    pub drawn: Vec<Part>,
}

impl<'a> From<&'a Dataset> for Contents<'a> {
    fn from(dataset: &'a Dataset) -> Self {
        let parts =
            vec![(Part::Train, &*dataset.train), (Part::Val, &*dataset.val), (Part::Test, &*dataset.test)];
        let drawn = match dataset.split {
            SplitSource::Given { .. } | SplitSource::Saved { .. } | SplitSource::None => Vec::new(),
            SplitSource::Made { test, .. } if test > 0.0 => Part::ALL.to_vec(),
            SplitSource::Made { .. } | SplitSource::Fold { .. } => vec![Part::Train, Part::Val],
        };
        Self { task: dataset.task, classes: &dataset.classes, parts, drawn }
    }
}

impl<'a> Contents<'a> {
    /// Each image with its part, in order.
    pub fn samples(&self) -> impl Iterator<Item = (Part, &'a Sample)> {
        self.parts.iter().flat_map(|&(part, samples)| samples.iter().map(move |sample| (part, sample)))
    }

    /// How many images there are.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|(_, samples)| samples.len()).sum()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The name of a class.
    pub(crate) fn class(&self, label: u32) -> String {
        self.classes.get(label as usize).cloned().unwrap_or_else(|| format!("class {label}"))
    }

    /// The places in the list of the image's class, or of its labels; numbers have none.
    pub(crate) fn names_of(&self, sample: &Sample) -> Vec<u32> {
        let row = sample.target.as_deref().unwrap_or_default();
        match self.task {
            Task::Class | Task::Nothing => vec![sample.label],
            Task::MultiLabel => {
                (0..).zip(row).filter(|(_, value)| **value > 0.0).map(|(label, _)| label).collect()
            }
            Task::Number => Vec::new(),
        }
    }

    /// What the image is said to be, for a person: its class, its labels, or its numbers with their names.
    pub(crate) fn answer(&self, sample: &Sample) -> String {
        if self.task == Task::Number {
            let row = sample.target.as_deref().unwrap_or_default();
            let each = self.classes.iter().zip(row).map(|(name, value)| format!("{name} {value}"));
            return each.collect::<Vec<_>>().join(", ");
        }
        let names: Vec<String> = self.names_of(sample).into_iter().map(|label| self.class(label)).collect();
        if names.is_empty() { "no label".to_owned() } else { names.join(", ") }
    }
}

/// How many images are in each part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartCounts {
    /// Training images.
    pub train: usize,
    /// Validation images.
    pub val: usize,
    /// Test images.
    pub test: usize,
}

impl PartCounts {
    fn of(parts: impl Iterator<Item = Part>) -> Self {
        let mut counts = Self::default();
        for part in parts {
            match part {
                Part::Train => counts.train += 1,
                Part::Val => counts.val += 1,
                Part::Test => counts.test += 1,
            }
        }
        counts
    }
}

/// The images of a class, or with a label, in each part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassCount {
    /// The name of the class or label.
    pub class: String,
    /// Training images.
    pub train: usize,
    /// Validation images.
    pub val: usize,
    /// Test images.
    pub test: usize,
}

/// Smallest, median and largest of a figure; the median of an even number is the upper of the two.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread<T> {
    /// The smallest.
    pub min: T,
    /// The median.
    pub median: T,
    /// The largest.
    pub max: T,
}

impl<T: Copy> Spread<T> {
    fn of(mut values: Vec<T>, order: impl Fn(&T, &T) -> std::cmp::Ordering) -> Option<Self> {
        values.sort_unstable_by(order);
        let median = *values.get(values.len() / 2)?;
        Some(Self { min: *values.first()?, median, max: *values.last()? })
    }
}

/// Sizes of the images when they are upright.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sizes {
    /// Width in pixels.
    pub width: Spread<u32>,
    /// Height in pixels.
    pub height: Spread<u32>,
    /// Width over height.
    pub aspect: Spread<f64>,
}

/// How many images are of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindCount {
    /// Such as `JPEG`, or `grey, 16 bits`.
    pub kind: String,
    /// How many.
    pub images: usize,
}

/// An image file whose header cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// The path below the dataset's folder.
    pub rel: String,
    /// Why, in one line.
    pub reason: String,
}

/// What is in a dataset. As text it is a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    /// How many image files there are.
    pub images: usize,
    /// Their sizes together, in bytes.
    pub bytes: u64,
    /// What they are labelled with.
    #[serde(default)]
    pub task: Task,
    /// How many there are in each part.
    #[serde(default)]
    pub parts: PartCounts,
    /// The images of each class, in the order of the classes, or with each label; empty for numbers.
    pub classes: Vec<ClassCount>,
    /// The images without any label, where they may have several.
    #[serde(default)]
    pub unlabelled: PartCounts,
    /// The numbers to predict, column by column.
    #[serde(default)]
    pub numbers: Vec<NumberSummary>,
    /// Training images of the largest class, or label, over those of the smallest; `None` with fewer than two, or
    /// one without any.
    pub balance: Option<f64>,
    /// Sizes of the images; `None` when no header could be read.
    pub sizes: Option<Sizes>,
    /// Formats by content, the most frequent first.
    pub formats: Vec<KindCount>,
    /// Kinds of colour, the most frequent first.
    pub colours: Vec<KindCount>,
    /// For each EXIF orientation other than upright (2 to 8), how many images have it.
    pub rotated: BTreeMap<u8, usize>,
    /// How many files have frames that play; only the first is used.
    pub animated: usize,
    /// The first of them, as paths below the dataset's folder; up to 10.
    pub first_animated: Vec<String>,
    /// How many TIFF files have further pages; only the first is used.
    #[serde(default)]
    pub paged: usize,
    /// How many headers could not be read.
    pub unreadable: usize,
    /// The first of them; up to 10.
    pub first_unreadable: Vec<Unreadable>,
    /// What a person should know, one line each.
    pub warnings: Vec<String>,
}

/// Reads the headers of all images.
///
/// `progress` is called from the worker threads with the number of images done so far, once for each image.
/// The result does not depend on the number of threads.
pub fn inspect(contents: &Contents<'_>, pool: &DataPool, progress: &(dyn Fn(usize) + Sync)) -> Inspection {
    let samples: Vec<(Part, &Sample)> = contents.samples().collect();
    let done = AtomicUsize::new(0);
    let look = |(_, sample): &(Part, &Sample)| {
        let bytes = sample.path.metadata().map_or(0, |metadata| metadata.len());
        let seen = (bytes, caught(|| read_header(&sample.path)));
        progress(done.fetch_add(1, Ordering::Relaxed) + 1);
        seen
    };
    let seen: Vec<(u64, Result<Header, DecodeReason>)> =
        pool.install(|| samples.par_iter().with_max_len(16).map(look).collect());
    let classes = count_classes(contents);
    let bytes = seen.iter().map(|(bytes, _)| bytes).sum();
    let readable = || samples.iter().zip(&seen).filter_map(|((_, s), (_, h))| Some((*s, h.as_ref().ok()?)));
    let headers: Vec<Header> = readable().map(|(_, header)| *header).collect();
    let rels_of_animated: Vec<String> =
        readable().filter(|(_, header)| header.animated).map(|(sample, _)| sample.rel.clone()).collect();
    let failed = samples.iter().zip(&seen).filter_map(|((_, sample), (_, header))| {
        let reason = header.as_ref().err()?.to_string();
        Some(Unreadable { rel: sample.rel.clone(), reason })
    });
    let mut rotated = BTreeMap::new();
    for header in headers.iter().filter(|header| header.orientation != 1) {
        *rotated.entry(header.orientation).or_insert(0) += 1;
    }
    let of_all: Vec<&Sample> = samples.iter().map(|(_, sample)| *sample).collect();
    let numbers = match contents.task {
        Task::Number => numbers::summaries(contents.classes, &of_all),
        _ => Vec::new(),
    };
    let several = contents.task == Task::MultiLabel;
    let unlabelled = samples.iter().filter(|(_, sample)| several && contents.names_of(sample).is_empty());
    let mut found = Inspection {
        images: samples.len(),
        bytes,
        task: contents.task,
        parts: PartCounts::of(samples.iter().map(|(part, _)| *part)),
        unlabelled: PartCounts::of(unlabelled.map(|(part, _)| *part)),
        numbers,
        balance: balance(&classes),
        classes,
        sizes: sizes(&headers),
        formats: kinds(&headers, |header| header.format.name().to_owned()),
        colours: kinds(&headers, Header::kind),
        rotated,
        animated: rels_of_animated.len(),
        first_animated: rels_of_animated.into_iter().take(NAMED).collect(),
        paged: headers.iter().filter(|header| header.pages).count(),
        unreadable: seen.len() - headers.len(),
        first_unreadable: failed.take(NAMED).collect(),
        warnings: Vec::new(),
    };
    found.warnings = warnings(&found);
    found
}

fn count_classes(contents: &Contents<'_>) -> Vec<ClassCount> {
    if contents.task == Task::Number {
        return Vec::new();
    }
    let mut counts: BTreeMap<u32, [usize; 3]> = BTreeMap::new();
    for (label, _) in (0..).zip(contents.classes) {
        counts.insert(label, [0; 3]);
    }
    for (part, sample) in contents.samples() {
        for label in contents.names_of(sample) {
            counts.entry(label).or_default()[part as usize] += 1;
        }
    }
    let counted = counts.into_iter().map(|(label, [train, val, test])| ClassCount {
        class: contents.class(label),
        train,
        val,
        test,
    });
    counted.collect()
}

fn balance(classes: &[ClassCount]) -> Option<f64> {
    let smallest = classes.iter().map(|class| class.train).min().filter(|&count| count > 0)?;
    let largest = classes.iter().map(|class| class.train).max()?;
    (classes.len() > 1).then(|| largest as f64 / smallest as f64)
}

fn sizes(headers: &[Header]) -> Option<Sizes> {
    let upright: Vec<(u32, u32)> = headers.iter().map(Header::upright).collect();
    let aspect = |&(width, height): &(u32, u32)| f64::from(width) / f64::from(height);
    Some(Sizes {
        width: Spread::of(upright.iter().map(|size| size.0).collect(), u32::cmp)?,
        height: Spread::of(upright.iter().map(|size| size.1).collect(), u32::cmp)?,
        aspect: Spread::of(upright.iter().map(aspect).collect(), f64::total_cmp)?,
    })
}

/// Counts kinds, the most frequent first, by name where they are equally frequent.
fn kinds(headers: &[Header], name: impl Fn(&Header) -> String) -> Vec<KindCount> {
    let mut counts = BTreeMap::new();
    for header in headers {
        *counts.entry(name(header)).or_insert(0) += 1;
    }
    let mut kinds: Vec<KindCount> =
        counts.into_iter().map(|(kind, images)| KindCount { kind, images }).collect();
    kinds.sort_by_key(|kind| std::cmp::Reverse(kind.images));
    kinds
}

fn warnings(found: &Inspection) -> Vec<String> {
    let mut warnings = Vec::new();
    let largest = found.classes.iter().rev().max_by_key(|class| class.train);
    let smallest = found.classes.iter().min_by_key(|class| class.train);
    if let (Some(ratio), Some(largest), Some(smallest)) = (found.balance, largest, smallest)
        && ratio >= SKEWED
    {
        let (what, look) = match found.task {
            Task::MultiLabel => ("labels", "the average precision of each label, not at their mean alone"),
            _ => ("classes", "the recall of each class, not at the accuracy alone"),
        };
        warnings.push(format!(
            "the {what} are skewed: {} training images of `{}`, {} of `{}` ({ratio:.1} times as many); look at {look}",
            largest.train, largest.class, smallest.train, smallest.class
        ));
    }
    let few: Vec<String> = found
        .classes
        .iter()
        .filter(|class| class.train < FEW)
        .map(|class| format!("`{}` ({})", class.class, class.train))
        .collect();
    if !few.is_empty() {
        let more = if few.len() > NAMED { ", …" } else { "" };
        let named = few.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
        warnings.push(format!("fewer than {FEW} training images of {named}{more}"));
    }
    if found.animated > 0 {
        warnings.push(format!("animated files: {} (only the first frame of each is used)", found.animated));
    }
    if found.paged > 0 {
        warnings
            .push(format!("TIFF files with several pages: {} (only the first page is used)", found.paged));
    }
    if found.unreadable > 0 {
        warnings.push(format!("files that are no readable images: {}", found.unreadable));
    }
    warnings
}

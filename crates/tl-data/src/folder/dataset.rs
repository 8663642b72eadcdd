//! Samples in three sets, whatever they were read from: class folders or a table.
//!
//! The one decision: files that somebody wants to leave out are gone before the data is split, so that the
//! split, and what is saved of it, are those of the images that are used.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::scan::Scan;
use super::{Ignored, Parts, Sample, missing_classes, read_checked, samples};
use crate::collected::some_names;
use crate::error::DataError;
use crate::split::{
    self, LeftOut, Part, Split, SplitFile, SplitInput, SplitMode, SplitOptions, SplitSource, Strata,
};
use crate::table::Task;

/// Labelled images, ready to train on.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// The folder that [`Sample::rel`] is relative to.
    pub root: PathBuf,
    /// What is to be learned of each image; never [`Task::Nothing`].
    pub task: Task,
    /// The names of the classes, of the labels, or of the numbers to predict; a label is a place in this list, and
    /// [`Sample::target`] has a value for each.
    pub classes: Vec<String>,
    /// Training images, sorted by class and path; by path alone where they have no class.
    pub train: Vec<Sample>,
    /// Validation images, sorted as those.
    pub val: Vec<Sample>,
    /// Test images, sorted as those; may be empty.
    pub test: Vec<Sample>,
    /// How much each training image counts, in the order of `train`, if they do not all count the same; the mean
    /// is 1.
    pub train_weights: Option<Vec<f32>>,
    /// Where the split came from.
    pub split: SplitSource,
    /// Images that are there and in no part, by their paths below the folder.
    pub left_out: BTreeMap<String, LeftOut>,
    /// Files of a folder that were passed over.
    pub ignored: Ignored,
    /// How the data was understood, one line each.
    pub notes: Vec<String>,
    /// What a person should know, one line each.
    pub warnings: Vec<String>,
}

impl Dataset {
    /// Lists class folders, and splits them in any of the ways of [`SplitOptions`]; no image is opened.
    ///
    /// Split folders may also be called `training`; `valid`, `validation`, `dev`; `testing`; each with `set` behind
    /// it, as in `test_set`; in any case. Without a validation folder a part of the training images validates.
    /// Class folders may have folders inside.
    ///
    /// A saved split, or folds, may divide the images of `train` and `val` folders anew; names are the paths
    /// below `dir`, as in [`Sample::rel`].
    ///
    /// # Errors
    /// The folder is missing, unreadable, empty, has no images or a single class, a class of `train` has no
    /// images, a class of `val` or `test` is not in `train`, or class folders look like parts of the data; all that
    /// is wrong is reported together. And those of [`Table::split`](crate::table::Table::split).
    pub fn open(dir: &Path, options: &SplitOptions) -> Result<Self, DataError> {
        Self::open_without(dir, options, &BTreeSet::new())
    }

    /// [`open`](Self::open) without the images of some names. Those that were there are in
    /// [`left_out`](Self::left_out); a name that fits no image is the caller's business.
    ///
    /// # Errors
    /// Those of [`open`](Self::open), and a class has no training images left.
    pub fn open_without(
        dir: &Path,
        options: &SplitOptions,
        names: &BTreeSet<String>,
    ) -> Result<Self, DataError> {
        Self::open_as(dir, options, names, false)
    }

    /// [`open_without`](Self::open_without) for a dataset that may be in disorder, to look at it: links to nothing,
    /// folders that cannot be read, classes without images and classes without training images become warnings.
    ///
    /// # Errors
    /// The others of [`open_without`](Self::open_without).
    pub fn open_leniently(
        dir: &Path,
        options: &SplitOptions,
        names: &BTreeSet<String>,
    ) -> Result<Self, DataError> {
        Self::open_as(dir, options, names, true)
    }

    fn open_as(
        dir: &Path,
        options: &SplitOptions,
        names: &BTreeSet<String>,
        lenient: bool,
    ) -> Result<Self, DataError> {
        let mut scan = Scan::default();
        let (parts, classes) = read_checked(dir, &mut scan, lenient)?;
        let missing: Vec<String> =
            parts.held_out().filter_map(|(name, _, found)| missing_classes(name, found, &classes)).collect();
        let Parts { train, val, test } = parts;
        let by_folder = val.is_some() || test.is_some();
        let sets = [Some(train), val.map(|part| part.1), test.map(|part| part.1)];
        let why = Why::new(names, options);
        let (mut all, mut given, mut out): (Vec<Sample>, Vec<Part>, Vec<(Sample, Part)>) = Default::default();
        for (set, part) in sets.into_iter().zip(Part::ALL) {
            for sample in set.map(|set| samples(set, &classes)).unwrap_or_default() {
                if why.of(&sample.rel).is_some() {
                    out.push((sample, part));
                } else {
                    given.push(part);
                    all.push(sample);
                }
            }
        }
        let gone = |sample: &Sample, part| split::Gone {
            class: Some(sample.label),
            part: by_folder.then_some(part),
        };
        let input = SplitInput {
            names: all.iter().map(|sample| sample.rel.as_str()).collect(),
            strata: Strata::Classes(all.iter().map(|sample| sample.label).collect()),
            groups: None,
        };
        let data = split::Data {
            input,
            classes: &classes,
            given: by_folder.then_some(given),
            column: false,
            left_out: out.iter().map(|(sample, part)| (sample.rel.as_str(), gone(sample, *part))).collect(),
            place: &|place| all[place].path.display().to_string(),
        };
        let Split { parts, source, warnings: of_split } = split::plan(data, options)?;

        let left_out = why.all(out.into_iter().map(|(sample, _)| sample.rel));
        let mut warnings = scan.warnings;
        for warning in missing.into_iter().chain(unreadable(&left_out)).chain(of_split) {
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
        let [train, val, test] = in_parts(all, &parts);
        Ok(Self {
            root: dir.to_owned(),
            task: Task::Class,
            classes,
            train,
            val,
            test,
            train_weights: None,
            split: source,
            left_out,
            ignored: scan.ignored,
            notes: Vec::new(),
            warnings,
        })
    }

    /// The split, to be saved: every image that is there, in its part or left out. Images of `unreadable`, which
    /// turned out to be no images, are left out too.
    ///
    /// # Errors
    /// A path is there twice.
    pub fn split_file(&self, unreadable: &BTreeSet<String>) -> Result<SplitFile, DataError> {
        let (mut names, mut parts) = (Vec::new(), Vec::new());
        let mut left_out = self.left_out.clone();
        for (samples, part) in [&self.train, &self.val, &self.test].into_iter().zip(Part::ALL) {
            for sample in samples {
                if unreadable.contains(&sample.rel) {
                    left_out.insert(sample.rel.clone(), LeftOut::Unreadable);
                } else {
                    names.push(sample.rel.as_str());
                    parts.push(part);
                }
            }
        }
        SplitFile::new(names, &parts, left_out, &self.split.to_string())
    }
}

/// What is left out, and why: what somebody listed, and what a saved split leaves out wherever it is used.
pub(crate) struct Why<'a> {
    listed: &'a BTreeSet<String>,
    unreadable: BTreeSet<&'a str>,
}

impl<'a> Why<'a> {
    pub(crate) fn new(listed: &'a BTreeSet<String>, options: &'a SplitOptions) -> Self {
        let unreadable = match &options.mode {
            SplitMode::Saved(file) => file.unreadable().collect(),
            _ => BTreeSet::new(),
        };
        Self { listed, unreadable }
    }

    /// Why an image is left out, if it is.
    pub(crate) fn of(&self, rel: &str) -> Option<LeftOut> {
        let unreadable = self.unreadable.contains(rel).then_some(LeftOut::Unreadable);
        unreadable.or(self.listed.contains(rel).then_some(LeftOut::Listed))
    }

    pub(crate) fn all(&self, rels: impl Iterator<Item = String>) -> BTreeMap<String, LeftOut> {
        rels.filter_map(|rel| self.of(&rel).map(|why| (rel, why))).collect()
    }
}

/// A warning for the images that only the saved split leaves out.
pub(crate) fn unreadable(left_out: &BTreeMap<String, LeftOut>) -> Option<String> {
    let names = left_out.iter().filter(|(_, why)| **why == LeftOut::Unreadable);
    let names: Vec<&str> = names.map(|(name, _)| name.as_str()).collect();
    (!names.is_empty()).then(|| {
        format!("left out, as the saved split has them as unreadable: {}", some_names(names.iter().copied()))
    })
}

/// Samples in their parts, sorted by class and path.
fn in_parts(samples: Vec<Sample>, parts: &[Part]) -> [Vec<Sample>; 3] {
    let mut sets: [Vec<Sample>; 3] = Default::default();
    for (sample, part) in samples.into_iter().zip(parts) {
        sets[*part as usize].push(sample);
    }
    for set in &mut sets {
        set.sort_unstable_by(|a, b| (a.label, &a.rel).cmp(&(b.label, &b.rel)));
    }
    sets
}

//! Samples in three sets, whatever they were read from: class folders or a table.
//!
//! The one decision: it has the fields of [`ImageFolder`], and says in full where its split came from, so that
//! what trains on the one trains on the other.

use std::path::{Path, PathBuf};

use super::scan::Scan;
use super::{Ignored, ImageFolder, Parts, Sample, SplitOrigin, missing_classes, read_checked, samples};
use crate::error::DataError;
use crate::split::{self, Part, Split, SplitInput, SplitOptions, SplitSource, Strata};

/// Labelled images, ready to train on.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// The folder that [`Sample::rel`] is relative to.
    pub root: PathBuf,
    /// The names of the classes; a label is a place in this list.
    pub classes: Vec<String>,
    /// Training images, sorted by class and path.
    pub train: Vec<Sample>,
    /// Validation images, sorted by class and path.
    pub val: Vec<Sample>,
    /// Test images, sorted by class and path; may be empty.
    pub test: Vec<Sample>,
    /// How much each training image counts, in the order of `train`, if they do not all count the same.
    pub train_weights: Option<Vec<f32>>,
    /// Where the split came from.
    pub split: SplitSource,
    /// Files of a folder that were passed over.
    pub ignored: Ignored,
    /// What a person should know, one line each.
    pub warnings: Vec<String>,
}

impl Dataset {
    /// Lists class folders as [`ImageFolder::open`] does, and splits them in any of the ways of
    /// [`SplitOptions`]. By default, and for the same seed and fraction, the split is that of `ImageFolder`.
    ///
    /// A saved split, or folds, may divide the images of `train` and `val` folders anew; names are the paths
    /// below `dir`, as in [`Sample::rel`].
    ///
    /// # Errors
    /// Those of [`ImageFolder::open`], and those of [`Table::split`](crate::table::Table::split).
    pub fn open(dir: &Path, options: &SplitOptions) -> Result<Self, DataError> {
        Self::open_as(dir, options, false)
    }

    /// [`Dataset::open`] for a dataset that may be in disorder, to look at it: links to nothing, folders that cannot
    /// be read, classes without images and classes without training images become warnings.
    ///
    /// # Errors
    /// The others of [`Dataset::open`].
    pub fn open_leniently(dir: &Path, options: &SplitOptions) -> Result<Self, DataError> {
        Self::open_as(dir, options, true)
    }

    fn open_as(dir: &Path, options: &SplitOptions, lenient: bool) -> Result<Self, DataError> {
        let mut scan = Scan::default();
        let (parts, classes) = read_checked(dir, &mut scan, lenient)?;
        let missing: Vec<String> =
            parts.held_out().filter_map(|(name, _, found)| missing_classes(name, found, &classes)).collect();
        let Parts { train, val, test } = parts;
        let by_folder = val.is_some() || test.is_some();
        let sets = [Some(train), val.map(|part| part.1), test.map(|part| part.1)];
        let mut all: Vec<Sample> = Vec::new();
        let mut given = Vec::new();
        for (set, part) in sets.into_iter().zip(Part::ALL) {
            let found = set.map(|set| samples(set, &classes)).unwrap_or_default();
            given.extend(std::iter::repeat_n(part, found.len()));
            all.extend(found);
        }
        let input = SplitInput {
            names: all.iter().map(|sample| sample.rel.as_str()).collect(),
            strata: Strata::Classes(all.iter().map(|sample| sample.label).collect()),
            groups: None,
        };
        let given = by_folder.then_some(given);
        let data = split::Data { input, classes: &classes, given, column: false };
        let Split { parts, source, warnings: of_split } = split::plan(data, options)?;

        let mut warnings = scan.warnings;
        for warning in missing.into_iter().chain(of_split) {
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
        let [train, val, test] = in_parts(all, &parts);
        Ok(Self {
            root: dir.to_owned(),
            classes,
            train,
            val,
            test,
            train_weights: None,
            split: source,
            ignored: scan.ignored,
            warnings,
        })
    }

    /// The same images as an [`ImageFolder`], which knows less: sample weights are left out, and every split
    /// that was not made by plain fractions counts as [`SplitOrigin::Folders`].
    pub fn into_image_folder(self) -> ImageFolder {
        let split = match self.split {
            SplitSource::Made { val, test: 0.0, seed, grouped: false, .. } => {
                SplitOrigin::Made { fraction: val, seed }
            }
            _ => SplitOrigin::Folders,
        };
        let Self { root, classes, train, val, test, ignored, warnings, .. } = self;
        ImageFolder { root, classes, train, val, test, split, ignored, warnings }
    }
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

//! From a table to parts, and to the lists of samples that training takes.
//!
//! The one decision: samples are sorted by class and path, as those of class folders are, so that the order
//! of the rows has no part in what is trained.

use super::{Record, Table, Target, Task};
use crate::error::DataError;
use crate::folder::{Dataset, Ignored, Sample};
use crate::split::{self, Part, Split, SplitFile, SplitInput, SplitOptions, Strata};

impl Table {
    /// The images as [`split::parts`] and [`split::folds`] take them.
    pub fn split_input(&self) -> SplitInput<'_> {
        let targets = || self.records.iter().map(|record| &record.target);
        let class = |target: &Target| match target {
            Target::Class(class) => *class,
            _ => 0,
        };
        let strata = match self.task {
            Task::Class => Strata::Classes(targets().map(class).collect()),
            Task::MultiLabel => Strata::Labels(targets().map(Target::labels).collect()),
            Task::Number => Strata::Numbers(targets().map(Target::numbers).collect()),
            Task::Nothing => Strata::None,
        };
        let groups = self.records.iter().map(|record| record.group.as_deref()).collect();
        SplitInput { names: self.rels(), strata, groups }
    }

    /// The part of each record, in the order of [`Table::records`].
    ///
    /// The table's column of the split decides, if it has one; where that has no validation images, some of
    /// the training images validate. Without such a column a split is made, by classes, labels or numbers, and
    /// by the groups of the table or of `options`.
    ///
    /// # Errors
    /// An option is out of range; a saved split does not fit; an image has no group; a class would validate or
    /// test without training; nothing trains or validates. All that is wrong is reported together.
    pub fn split(&self, options: &SplitOptions) -> Result<Split, DataError> {
        let given = self.records.iter().map(|record| record.split).collect();
        let named = matches!(self.task, Task::Class | Task::MultiLabel);
        let classes = if named { self.names.as_slice() } else { &[] };
        split::plan(split::Data { input: self.split_input(), classes, given, column: true }, options)
    }

    /// A split of this table, to be saved.
    ///
    /// # Errors
    /// `split` is not one of this table.
    pub fn split_file(&self, split: &Split) -> Result<SplitFile, DataError> {
        SplitFile::new(self.rels(), &split.parts, &split.source.to_string())
    }

    /// The samples of a table of classes, in three sets, as class folders give them.
    ///
    /// # Errors
    /// Those of [`Table::split`]; and the table has other targets than one class for each image.
    pub fn into_folder(self, options: &SplitOptions) -> Result<Dataset, DataError> {
        if self.task != Task::Class {
            let got = match self.task {
                Task::MultiLabel => "labels",
                Task::Number => "numbers",
                _ => "nothing",
            };
            let expected = "one class for each image".to_owned();
            return Err(DataError::Option { option: "target", got: got.to_owned(), expected });
        }
        let Split { parts, source, warnings } = self.split(options)?;
        let weighed = self.records.iter().any(|record| record.weight != 1.0);
        let mut sets: [Vec<(Sample, f32)>; 3] = Default::default();
        for (record, part) in self.records.into_iter().zip(parts) {
            let Record { path, rel, id, target: Target::Class(label), weight, .. } = record else { continue };
            sets[part as usize].push((Sample { path, label, id, rel }, weight));
        }
        for set in &mut sets {
            set.sort_unstable_by(|(a, _), (b, _)| (a.label, &a.rel).cmp(&(b.label, &b.rel)));
        }
        let [train, val, test] = sets;
        let samples = |set: Vec<(Sample, f32)>| set.into_iter().map(|(sample, _)| sample).collect();
        let train_weights = weighed.then(|| train.iter().map(|(_, weight)| *weight).collect());
        Ok(Dataset {
            root: self.root,
            classes: self.names,
            train: samples(train),
            val: samples(val),
            test: samples(test),
            train_weights,
            split: source,
            ignored: Ignored::default(),
            warnings: [self.warnings, warnings].concat(),
        })
    }

    fn rels(&self) -> Vec<&str> {
        self.records.iter().map(|record| record.rel.as_str()).collect()
    }
}

/// The place of a part in a list of three.
const _: () = assert!(Part::Train as usize == 0 && Part::Val as usize == 1 && Part::Test as usize == 2);

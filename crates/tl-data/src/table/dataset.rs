//! From a table to parts, and to the lists of samples that training takes.
//!
//! The one decision: samples are sorted by class and path, as those of class folders are, so that the order
//! of the rows has no part in what is trained. Labels and numbers become rows of targets, and their samples are sorted by
//! path alone.

use std::collections::BTreeSet;

use super::problem::{Report, TableFault};
use super::{Record, Table, Target, Task};
use crate::balance;
use crate::error::DataError;
use crate::folder::{Dataset, Ignored, Sample, Why, unreadable};
use crate::split::{self, LeftOut, Part, Split, SplitFile, SplitInput, SplitOptions, Strata};

impl Table {
    /// Takes the rows of some images away, by [`Record::rel`], so that no split has them; they go to
    /// [`Table::left_out`]. Returns the names that fit no row.
    pub fn leave_out(&mut self, names: &BTreeSet<String>) -> Vec<String> {
        let records = std::mem::take(&mut self.records);
        let (out, kept): (Vec<Record>, Vec<Record>) =
            records.into_iter().partition(|record| names.contains(&record.rel));
        self.records = kept;
        let found: BTreeSet<&str> = out.iter().map(|record| record.rel.as_str()).collect();
        let unknown = names.iter().filter(|name| !found.contains(name.as_str())).cloned().collect();
        self.left_out.extend(out);
        unknown
    }

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
        let class = |target: &Target| match target {
            Target::Class(class) => Some(*class),
            _ => None,
        };
        let gone = |record: &Record| split::Gone { class: class(&record.target), part: record.split };
        let left_out = self.left_out.iter().map(|record| (record.rel.as_str(), gone(record)));
        let data = split::Data {
            input: self.split_input(),
            classes,
            given,
            column: true,
            left_out: left_out.collect(),
            place: &|place| format!("{}:{}", self.path.display(), self.records[place].line),
        };
        split::plan(data, options)
    }

    /// A split of this table, to be saved.
    ///
    /// # Errors
    /// `split` is not one of this table.
    pub fn split_file(&self, split: &Split) -> Result<SplitFile, DataError> {
        let left_out = self.left_out.iter().map(|record| (record.rel.clone(), LeftOut::Listed)).collect();
        SplitFile::new(self.rels(), &split.parts, left_out, &split.source.to_string())
    }

    /// The samples of a table, in three sets, as class folders give them.
    ///
    /// Several labels for each image, and numbers, are in [`Sample::target`].
    ///
    /// # Errors
    /// Those of [`Table::split`]; the table has nothing to learn ([`Task::Nothing`]); or the weights of all training images
    /// are 0.
    pub fn into_dataset(mut self, options: &SplitOptions) -> Result<Dataset, DataError> {
        if self.task == Task::Nothing {
            let (got, expected) = ("nothing".to_owned(), "classes, labels or numbers".to_owned());
            return Err(DataError::Option { option: "target", got, expected });
        }
        let names = self.names.len();
        let listed: BTreeSet<String> = self.left_out.iter().map(|record| record.rel.clone()).collect();
        let why = Why::new(&listed, options);
        let gone = self.records.iter().filter(|record| why.of(&record.rel).is_some());
        let gone = gone.map(|record| record.rel.clone()).collect();
        self.leave_out(&gone);
        let Split { parts, source, warnings } = self.split(options)?;
        let left_out = why.all(self.left_out.into_iter().map(|record| record.rel));
        let mut sets: [Vec<(Sample, f32)>; 3] = Default::default();
        for (record, part) in self.records.into_iter().zip(parts) {
            let weight = record.weight;
            sets[part as usize].push((record.into_sample(names), weight));
        }
        for set in &mut sets {
            set.sort_unstable_by(|(a, _), (b, _)| (a.label, &a.rel).cmp(&(b.label, &b.rel)));
        }
        let [train, val, test] = sets;
        let samples = |set: Vec<(Sample, f32)>| set.into_iter().map(|(sample, _)| sample).collect();
        let weights: Vec<f32> = train.iter().map(|(_, weight)| *weight).collect();
        if !weights.iter().any(|&weight| weight > 0.0) && !weights.is_empty() {
            let mut report = Report::new(self.path);
            report.whole(|| TableFault::NoTrainWeight);
            return Err(report.into_error());
        }
        let weighed = weights.iter().any(|weight| *weight != weights[0]);
        let train_weights = if weighed { Some(balance::mean_one(&weights)?) } else { None };
        Ok(Dataset {
            root: self.root,
            task: self.task,
            classes: self.names,
            train: samples(train),
            val: samples(val),
            test: samples(test),
            train_weights,
            split: source,
            warnings: [self.warnings, unreadable(&left_out).into_iter().collect(), warnings].concat(),
            left_out,
            ignored: Ignored::default(),
            notes: self.notes,
        })
    }

    fn rels(&self) -> Vec<&str> {
        self.records.iter().map(|record| record.rel.as_str()).collect()
    }
}

/// The place of a part in a list of three.
const _: () = assert!(Part::Train as usize == 0 && Part::Val as usize == 1 && Part::Test as usize == 2);

//! Splits of a dataset into training, validation and test images, and into folds.
//!
//! ```text
//! classes    stratified           of each class the same part
//! labels     iterative            several labels per image (Sechidis et al. 2011); each label trains
//! numbers    quantile bins        small and large values on every side
//! groups     greedy               no group on two sides, labels as even as that allows
//! ```
//!
//! The one decision: a split is a function of (seed, names, strata, groups). Neither the order of the images
//! nor the machine matters, so a seed is enough to repeat it, and a [`SplitFile`] to pin it against new files.
//!
//! What is done to an image is no part of a split: validation and test images go through
//! [`Preprocess`](crate::Preprocess), a type of its own without augmentation, whatever the training images
//! go through.

mod bins;
mod file;
mod group;
mod grouped;
mod iterative;
mod part;
mod plan;
mod problem;
mod stratified;

pub use file::{LeftOut, SplitFile};
pub use group::GroupPattern;
pub use part::Part;
pub use plan::{Data, Gone, Split, SplitMode, SplitOptions, SplitSource, Stratified, plan};
pub use problem::SplitProblem;

use crate::collected::Problems;
use crate::error::DataError;
use crate::options::Checks;
use grouped::Grouping;
use stratified::stratified;

/// All that is wrong with a split.
pub type SplitProblems = Problems<SplitProblem>;

/// How much of the images validates and tests; the rest trains.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fractions {
    /// The part that validates, in 0..1 without the ends.
    pub val: f64,
    /// The part that tests, from 0 on; with `val` less than 1.
    pub test: f64,
}

impl Fractions {
    fn check(self) -> Result<Self, DataError> {
        let (val, test) = (self.val, self.test);
        let mut checks = Checks::default();
        checks.require(val > 0.0 && val < 1.0, "val_fraction", &val, "between 0 and 1");
        let left = test >= 0.0 && (test == 0.0 || val + test < 1.0);
        checks.require(left, "test_fraction", &test, "at least 0, and less than 1 with `val_fraction`");
        checks.finish()?;
        Ok(self)
    }
}

/// What should be alike on all sides of a split; one entry for each image.
#[derive(Debug, Clone)]
pub enum Strata<'a> {
    /// Nothing but the number of images.
    None,
    /// The number of the class.
    Classes(Vec<u32>),
    /// The numbers of the labels, in any order, none twice.
    Labels(Vec<&'a [u32]>),
    /// Numbers to predict, as many for each image.
    Numbers(Vec<&'a [f32]>),
}

/// The images to split.
#[derive(Debug, Clone)]
pub struct SplitInput<'a> {
    /// A name for each image, none twice: the path below the dataset's folder.
    pub names: Vec<&'a str>,
    /// What should be alike on all sides.
    pub strata: Strata<'a>,
    /// The group of each image: images of a group stay together.
    pub groups: Option<Vec<&'a str>>,
}

impl<'a> SplitInput<'a> {
    fn check(&self) -> Result<(), DataError> {
        let strata = match &self.strata {
            Strata::None => self.names.len(),
            Strata::Classes(classes) => classes.len(),
            Strata::Labels(labels) => labels.len(),
            Strata::Numbers(numbers) => numbers.len(),
        };
        let groups = self.groups.as_ref().map_or(self.names.len(), Vec::len);
        for (option, got) in [("strata", strata), ("groups", groups)] {
            if got != self.names.len() {
                let expected = format!("one entry for each of {} names", self.names.len());
                return Err(DataError::Option { option, got: format!("{got} entries"), expected });
            }
        }
        let mut names = self.names.clone();
        names.sort_unstable();
        let mut problems = Problems::default();
        for same in names.chunk_by(|a, b| a == b).filter(|same| same.len() > 1) {
            problems.push(|| SplitProblem::Repeated { name: same[0].to_owned() });
        }
        if problems.is_empty() { Ok(()) } else { Err(DataError::Split { problems }) }
    }

    /// Each image's labels as the algorithms want them, and how many labels there are.
    fn labels(&'a self, smallest: f64) -> Labels<'a> {
        match &self.strata {
            Strata::None => Labels::own(vec![Vec::new(); self.names.len()]),
            Strata::Classes(classes) => Labels::own(classes.iter().map(|&class| vec![class]).collect()),
            Strata::Labels(labels) => Labels::Borrowed(labels),
            Strata::Numbers(rows) => {
                Labels::own(bins::column_bins(rows, bins::bin_count(rows.len(), smallest)))
            }
        }
    }

    /// One class for each image, where a single one says it all.
    fn classes(&self, smallest: f64) -> Option<Vec<u32>> {
        match &self.strata {
            Strata::None => Some(vec![0; self.names.len()]),
            Strata::Classes(classes) => Some(classes.clone()),
            Strata::Numbers(rows) if rows.iter().all(|row| row.len() == 1) => {
                let values: Vec<f32> = rows.iter().map(|row| row[0]).collect();
                Some(bins::quantile_bins(&values, bins::bin_count(rows.len(), smallest)))
            }
            _ => None,
        }
    }

    /// All images in the order of their ranks.
    fn order(&self, seed: u64) -> Vec<u32> {
        let ranked = self.names.iter().map(|name| stratified::rank(seed, name)).zip(0_u32..);
        let mut order: Vec<([u8; 32], u32)> = ranked.collect();
        order.sort_unstable();
        order.into_iter().map(|(_, item)| item).collect()
    }

    fn grouping(&self, groups: &[&str], smallest: f64, seed: u64) -> Grouping {
        let labels = self.labels(smallest);
        let labels = labels.slices();
        Grouping::new(groups, &labels, label_count(&labels), seed)
    }
}

/// Labels of images, borrowed or made.
enum Labels<'a> {
    Borrowed(&'a [&'a [u32]]),
    Own(Vec<Vec<u32>>),
}

impl<'a> Labels<'a> {
    fn own(labels: Vec<Vec<u32>>) -> Self {
        Self::Own(labels)
    }

    fn slices(&self) -> Vec<&[u32]> {
        match self {
            Self::Borrowed(labels) => labels.to_vec(),
            Self::Own(labels) => labels.iter().map(Vec::as_slice).collect(),
        }
    }
}

fn label_count(labels: &[&[u32]]) -> usize {
    labels.iter().flat_map(|labels| labels.iter()).max().map_or(0, |&most| most as usize + 1)
}

/// The part of each image, in the order given.
///
/// Classes: of each class `val` and `test`, rounded, at least one image each as long as one stays to train
/// on; a class of one image trains. Numbers in one column are classes by quantile bins, of which there are 10
/// or as many as leave each part one value in each. Labels, and numbers in several columns, are split by
/// iterative stratification; each label that an image has trains, unless that leaves a part empty. With groups, see [`GroupPattern`] and the greedy algorithm of this module: groups
/// are placed from large to small where they are wanted most; a label that only one group has trains.
///
/// # Errors
/// The fractions are out of range, lists differ in length, a name is there twice, or groups cannot be kept
/// whole without an empty part or a label that does not train.
pub fn parts(input: &SplitInput<'_>, fractions: Fractions, seed: u64) -> Result<Vec<Part>, DataError> {
    let Fractions { val, test } = fractions.check()?;
    input.check()?;
    let ratios = [1.0 - val - test, val, test];
    let smallest = ratios.into_iter().filter(|&ratio| ratio > 0.0).fold(1.0, f64::min);
    if let Some(groups) = &input.groups {
        let mut grouping = input.grouping(groups, smallest, seed);
        let owners = grouping.sole_owners();
        grouping.place(&ratios, &owners);
        if !grouping.repair() {
            let mut problems = Problems::default();
            problems.push(|| SplitProblem::Groups { groups: grouping.len() });
            return Err(DataError::Split { problems });
        }
        return Ok(grouping.sides().into_iter().map(part_of).collect());
    }
    if let Some(classes) = input.classes(smallest) {
        return Ok(stratified(&input.names, &classes, fractions, seed));
    }
    let (labels, order) = (input.labels(smallest), input.order(seed));
    let labels = labels.slices();
    let mut subsets = iterative::iterative(&labels, label_count(&labels), &ratios, &order);
    iterative::fill_empty(&mut subsets, &ratios, &order);
    if matches!(input.strata, Strata::Labels(_)) {
        iterative::train_each(&mut subsets, &labels, &order);
    }
    Ok(subsets.into_iter().map(part_of).collect())
}

fn part_of(side: u32) -> Part {
    Part::ALL[side as usize % Part::ALL.len()]
}

/// The fold of each image, `0..k`, in the order given; no fold is empty.
///
/// The counts of a class in the folds, and the sizes of the folds, differ by at most one; with groups, and for
/// labels, by as little as the algorithms of [`parts`] get. Unlike a split by fractions, folds are dealt: a
/// file that is added may move others.
///
/// # Errors
/// `k` is less than 2 or more than there are images or groups, lists differ in length, or a name is there
/// twice.
pub fn folds(input: &SplitInput<'_>, k: u32, seed: u64) -> Result<Vec<u32>, DataError> {
    if k < 2 {
        let expected = "at least 2".to_owned();
        return Err(DataError::Option { option: "folds", got: k.to_string(), expected });
    }
    input.check()?;
    let too_many = |items: usize, what| {
        let mut problems = Problems::default();
        problems.push(|| SplitProblem::Folds { items, what, folds: k });
        Err(DataError::Split { problems })
    };
    if input.names.len() < k as usize {
        return too_many(input.names.len(), "images");
    }
    let smallest = 1.0 / f64::from(k);
    let ratios = vec![smallest; k as usize];
    if let Some(groups) = &input.groups {
        let mut grouping = input.grouping(groups, smallest, seed);
        if grouping.len() < k as usize {
            return too_many(grouping.len(), "groups");
        }
        grouping.place(&ratios, &[]);
        return Ok(grouping.sides());
    }
    if let Some(classes) = input.classes(smallest) {
        return Ok(stratified::stratified_folds(&input.names, &classes, k, seed));
    }
    let (labels, order) = (input.labels(smallest), input.order(seed));
    let labels = labels.slices();
    let mut folds = iterative::iterative(&labels, label_count(&labels), &ratios, &order);
    iterative::fill_empty(&mut folds, &ratios, &order);
    Ok(folds)
}

/// The parts for one round of cross-validation: fold `held_out` validates, the others train.
pub fn fold_parts(folds: &[u32], held_out: u32) -> Vec<Part> {
    folds.iter().map(|&fold| if fold == held_out { Part::Val } else { Part::Train }).collect()
}

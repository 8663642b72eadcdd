//! Which split of a dataset to take: the one it comes with, a saved one, a round of cross-validation, or a new
//! one.
//!
//! The one decision: whatever the split comes from, it is checked in the same way. Every class that
//! validates or tests has to train, and something has to train and to validate. Only [`SplitMode::None`], for
//! looking at data, is not checked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{
    Fractions, GroupPattern, Part, SplitFile, SplitInput, SplitProblem, SplitProblems, Strata, fold_parts,
    folds, parts,
};
use crate::collected::some_names;
use crate::error::DataError;

/// Where the parts come from.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum SplitMode {
    /// From the data, and by fractions where the data does not say.
    #[default]
    Fractions,
    /// One round of cross-validation. Images that the data has as test images stay that and are in no fold.
    Fold {
        /// How many folds there are.
        folds: u32,
        /// The one that validates, from 0.
        held_out: u32,
    },
    /// From a saved split, whatever the data says.
    Saved(SplitFile),
    /// None, for looking at the data: parts that the data says stay, all other images train, and none has to
    /// validate.
    None,
}

/// How to split a dataset.
#[derive(Debug, Clone)]
pub struct SplitOptions {
    /// Where the parts come from.
    pub mode: SplitMode,
    /// The part that validates, for [`SplitMode::Fractions`], in 0..1.
    pub val_fraction: f64,
    /// The part that tests, for [`SplitMode::Fractions`] of data without test images; 0 for none.
    pub test_fraction: f64,
    /// The seed of every choice.
    pub seed: u64,
    /// What names the group of an image, in the place of the groups that the data has.
    pub group: Option<GroupPattern>,
}

impl Default for SplitOptions {
    fn default() -> Self {
        Self { mode: SplitMode::default(), val_fraction: 0.2, test_fraction: 0.0, seed: 0, group: None }
    }
}

/// What a split that was made keeps alike on all sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stratified {
    /// The classes, or nothing but the number of images.
    Classes,
    /// Several labels for each image, by iterative stratification; with groups as even as those allow.
    Labels,
    /// Numbers, by quantile bins: of the one there is, or iteratively of each.
    Quantiles,
}

impl Stratified {
    fn of(strata: &Strata<'_>) -> Self {
        match strata {
            Strata::None | Strata::Classes(_) => Self::Classes,
            Strata::Labels(_) => Self::Labels,
            Strata::Numbers(_) => Self::Quantiles,
        }
    }

    /// What is said of it behind the fraction or fold; nothing of what is usual.
    fn words(self) -> &'static str {
        match self {
            Self::Classes => "",
            Self::Labels => ", stratified by labels",
            Self::Quantiles => ", stratified by quantiles",
        }
    }
}

/// Where a split came from.
#[derive(Debug, Clone, PartialEq)]
pub enum SplitSource {
    /// The data: its folders, or a column of its table.
    Given {
        /// Whether that is a column rather than folders.
        column: bool,
    },
    /// Made by fractions.
    Made {
        /// The part that validates.
        val: f64,
        /// The part that tests.
        test: f64,
        /// The seed.
        seed: u64,
        /// Whether groups were kept together.
        grouped: bool,
        /// Whether only the training images of the data were split.
        within_train: bool,
        /// What is alike in its parts.
        stratified: Stratified,
    },
    /// A round of cross-validation.
    Fold {
        /// How many folds there are.
        folds: u32,
        /// The one that validates, from 0.
        held_out: u32,
        /// The seed.
        seed: u64,
        /// Whether groups were kept together.
        grouped: bool,
        /// What is alike in its folds.
        stratified: Stratified,
    },
    /// A saved split.
    Saved {
        /// Its [`SplitFile::sha256`].
        sha256: String,
    },
    /// Not split at all.
    None,
}

impl fmt::Display for SplitSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let together = |grouped: &bool| if *grouped { ", groups kept together" } else { "" };
        match self {
            Self::Given { column: true } => f.write_str("as in the table"),
            Self::Given { column: false } => f.write_str("as in the folder"),
            Self::Made { val, test, seed, grouped, within_train, stratified } => {
                write!(f, "{val} for validation")?;
                if *test > 0.0 {
                    write!(f, " and {test} for test")?;
                }
                let of = if *within_train { " of the training part" } else { "" };
                write!(f, "{of}{}, seed {seed}{}", stratified.words(), together(grouped))
            }
            Self::Fold { folds, held_out, seed, grouped, stratified } => {
                let (by, together) = (stratified.words(), together(grouped));
                write!(f, "fold {held_out} of 0..{folds} for validation{by}, seed {seed}{together}")
            }
            Self::Saved { sha256 } => write!(f, "saved, sha256 {sha256}"),
            Self::None => f.write_str("none"),
        }
    }
}

/// A split of a dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// The part of each image, in the order of the images.
    pub parts: Vec<Part>,
    /// Where it came from.
    pub source: SplitSource,
    /// What a person should know, one line each.
    pub warnings: Vec<String>,
}

/// A dataset to split: images, or samples of any other kind.
pub struct Data<'a> {
    /// The images.
    pub input: SplitInput<'a>,
    /// The names of the classes or labels; empty for other tasks.
    pub classes: &'a [String],
    /// The parts that the data says; all or none.
    pub given: Option<Vec<Part>>,
    /// Whether a column says them.
    pub column: bool,
    /// The files that were left out before.
    pub left_out: BTreeMap<&'a str, Gone>,
    /// Where an image comes from: the line of its table, or its path.
    pub place: &'a dyn Fn(usize) -> String,
}

/// What is known of a file that was left out.
#[derive(Debug, Clone, Copy)]
pub struct Gone {
    /// Its class, for data of classes.
    pub class: Option<u32>,
    /// The part that the data has it in.
    pub part: Option<Part>,
}

impl Data<'_> {
    /// The classes that files which were left out were of.
    fn thinned(&self) -> BTreeSet<u32> {
        self.left_out.values().filter_map(|gone| gone.class).collect()
    }
}

/// Splits a dataset as the options say, and checks the result.
///
/// # Errors
/// An option is out of range; a saved split does not fit; a sample has no group; a class would validate or test
/// without training; nothing trains or validates. All that is wrong is reported together.
pub fn plan(mut data: Data<'_>, options: &SplitOptions) -> Result<Split, DataError> {
    if let Some(pattern) = &options.group {
        data.input.groups = Some(pattern.groups(&data.input.names)?);
    }
    let mut warnings = Vec::new();
    let planned = match &options.mode {
        SplitMode::Saved(file) => saved(&data, file, &mut warnings),
        SplitMode::Fold { folds, held_out } => {
            by_fold(&data, (*folds, *held_out), options.seed, &mut warnings)
        }
        SplitMode::Fractions => by_fractions(&data, options),
        SplitMode::None => Ok(undivided(&data)),
    };
    let (parts, source) = match planned {
        Ok(planned) => planned,
        // Without these classes much else goes wrong, which is not the cause.
        Err(error) => return Err(emptied(&data).unwrap_or(error)),
    };
    if options.mode != SplitMode::None {
        check(&data, &parts)?;
    }
    warnings.extend(missing(&data.input, data.classes, &parts));
    warnings.extend(leaks(&data.input, &parts));
    Ok(Split { parts, source, warnings })
}

type Planned = (Vec<Part>, SplitSource);

fn undivided(data: &Data<'_>) -> Planned {
    match data.given.clone() {
        Some(given) => (given, SplitSource::Given { column: data.column }),
        None => (vec![Part::Train; data.input.names.len()], SplitSource::None),
    }
}

fn saved(data: &Data<'_>, file: &SplitFile, warnings: &mut Vec<String>) -> Result<Planned, DataError> {
    if data.given.is_some() {
        let what = if data.column { "column" } else { "folders" };
        warnings.push(format!("the split is the saved one; the {what} of the data do not count"));
    }
    let absent: BTreeSet<&str> = data.left_out.keys().copied().collect();
    Ok((file.parts_of(&data.input.names, &absent)?, SplitSource::Saved { sha256: file.sha256() }))
}

fn by_fold(
    data: &Data<'_>,
    (count, held_out): (u32, u32),
    seed: u64,
    warnings: &mut Vec<String>,
) -> Result<Planned, DataError> {
    let input = &data.input;
    if held_out >= count {
        let expected = format!("less than the number of folds, {count}");
        return Err(DataError::Option { option: "fold", got: held_out.to_string(), expected });
    }
    let mut parts = data.given.clone().unwrap_or_else(|| vec![Part::Train; input.names.len()]);
    if parts.contains(&Part::Val) {
        let what = if data.column { "column" } else { "folders" };
        warnings.push(format!(
            "the folds are made of training and validation images together; of the {what} of the data only the \
             test images count"
        ));
    }
    let places: Vec<usize> = (0..parts.len()).filter(|&place| parts[place] != Part::Test).collect();
    let folds = folds(&some_of(input, &places), count, seed)?;
    for (place, part) in places.into_iter().zip(fold_parts(&folds, held_out)) {
        parts[place] = part;
    }
    let (grouped, stratified) = (input.groups.is_some(), Stratified::of(&input.strata));
    Ok((parts, SplitSource::Fold { folds: count, held_out, seed, grouped, stratified }))
}

fn by_fractions(data: &Data<'_>, options: &SplitOptions) -> Result<Planned, DataError> {
    let input = &data.input;
    let fractions = Fractions { val: options.val_fraction, test: options.test_fraction };
    fractions.check()?;
    let (seed, grouped, stratified) = (options.seed, input.groups.is_some(), Stratified::of(&input.strata));
    let made = |test, within_train| {
        let val = fractions.val;
        SplitSource::Made { val, test, seed, grouped, within_train, stratified }
    };
    let Some(mut given) = data.given.clone() else {
        return Ok((parts(input, fractions, seed)?, made(fractions.test, false)));
    };
    // Without training images there is nothing to take from, and with all the validation images left out others
    // are not what is asked for; the checks say so.
    let val_left_out = data.left_out.values().any(|gone| gone.part == Some(Part::Val));
    if val_left_out || given.contains(&Part::Val) || !given.contains(&Part::Train) {
        return Ok((given, SplitSource::Given { column: data.column }));
    }
    let test = if given.contains(&Part::Test) { 0.0 } else { fractions.test };
    let places: Vec<usize> = (0..given.len()).filter(|&place| given[place] == Part::Train).collect();
    let made_parts = parts(&some_of(input, &places), Fractions { test, ..fractions }, seed)?;
    for (place, part) in places.into_iter().zip(made_parts) {
        given[place] = part;
    }
    Ok((given, made(test, true)))
}

/// The images at some places.
fn some_of<'a>(input: &SplitInput<'a>, places: &[usize]) -> SplitInput<'a> {
    fn pick<T: Copy>(all: &[T], places: &[usize]) -> Vec<T> {
        places.iter().map(|&place| all[place]).collect()
    }
    let strata = match &input.strata {
        Strata::None => Strata::None,
        Strata::Classes(classes) => Strata::Classes(pick(classes, places)),
        Strata::Labels(labels) => Strata::Labels(pick(labels, places)),
        Strata::Numbers(numbers) => Strata::Numbers(pick(numbers, places)),
    };
    let groups = input.groups.as_ref().map(|groups| pick(groups, places));
    SplitInput { names: pick(&input.names, places), strata, groups }
}

/// Images of each class or label in each part.
fn counts(input: &SplitInput<'_>, classes: usize, parts: &[Part]) -> Vec<[u64; 3]> {
    let mut counts = vec![[0; 3]; classes];
    let mut count = |label: &u32, part: Part| {
        if let Some(count) = counts.get_mut(*label as usize) {
            count[part as usize] += 1;
        }
    };
    match &input.strata {
        Strata::Classes(labels) => labels.iter().zip(parts).for_each(|(label, &part)| count(label, part)),
        Strata::Labels(labels) => {
            let each = labels.iter().zip(parts);
            each.for_each(|(labels, &part)| labels.iter().for_each(|label| count(label, part)));
        }
        _ => {}
    }
    counts
}

/// Classes of which nothing is left because files were left out.
fn emptied(data: &Data<'_>) -> Option<DataError> {
    let Strata::Classes(labels) = &data.input.strata else { return None };
    let there: BTreeSet<u32> = labels.iter().copied().collect();
    let gone = data.thinned().into_iter().filter(|class| !there.contains(class));
    let classes = gone.filter_map(|class| data.classes.get(class as usize).cloned()).collect();
    left_out(classes)
}

fn left_out(classes: Vec<String>) -> Option<DataError> {
    let mut problems = SplitProblems::default();
    if !classes.is_empty() {
        problems.push(|| SplitProblem::LeftOut { classes });
    }
    (!problems.is_empty()).then_some(DataError::Split { problems })
}

fn check(data: &Data<'_>, parts: &[Part]) -> Result<(), DataError> {
    let input = &data.input;
    let mut problems = SplitProblems::default();
    for part in [Part::Train, Part::Val] {
        if !parts.contains(&part) {
            problems.push(|| SplitProblem::EmptyPart { part });
        }
    }
    // A label without training images is a warning: the others of the image are still learned.
    let Strata::Classes(labels) = &input.strata else {
        return if problems.is_empty() { Ok(()) } else { Err(DataError::Split { problems }) };
    };
    let thinned = data.thinned();
    let mut emptied = Vec::new();
    for ((label, class), count) in (0..).zip(data.classes).zip(counts(input, data.classes.len(), parts)) {
        let class = || class.clone();
        let part = match count {
            [0, ..] if thinned.contains(&label) => {
                emptied.push(class());
                continue;
            }
            [0, 0, 0] => {
                problems.push(|| SplitProblem::NoImages { class: class() });
                continue;
            }
            [0, 0, _] => Part::Test,
            [0, ..] => Part::Val,
            _ => continue,
        };
        problems.push(|| {
            let is_first = |&place: &usize| labels[place] == label && parts[place] == part;
            let first = (0..parts.len()).find(is_first).map(data.place).unwrap_or_default();
            SplitProblem::Untrained { class: class(), part, first }
        });
    }
    if let Some(error) = left_out(emptied) {
        return Err(error);
    }
    if problems.is_empty() { Ok(()) } else { Err(DataError::Split { problems }) }
}

/// A warning for the classes or labels without images in a part that has some.
fn missing(input: &SplitInput<'_>, classes: &[String], parts: &[Part]) -> Vec<String> {
    let counts = counts(input, classes.len(), parts);
    let there = Part::ALL.into_iter().filter(|part| parts.contains(part));
    let warning = |part: Part| {
        let without = classes.iter().zip(&counts).filter(|(_, count)| count[part as usize] == 0);
        let names: Vec<&str> = without.map(|(class, _)| class.as_str()).collect();
        (!names.is_empty()).then(|| format!("no {} images of {}", part.word(), some_names(names)))
    };
    there.filter_map(warning).collect()
}

/// A warning for the groups with images in more than one part.
fn leaks(input: &SplitInput<'_>, parts: &[Part]) -> Option<String> {
    let mut first: BTreeMap<&str, (Part, bool)> = BTreeMap::new();
    for (&group, &part) in input.groups.as_ref()?.iter().zip(parts) {
        let (seen, divided) = first.entry(group).or_insert((part, false));
        *divided |= *seen != part;
    }
    let divided: Vec<&str> =
        first.iter().filter(|(_, (_, divided))| *divided).map(|(group, _)| *group).collect();
    let names = some_names(divided.iter().copied());
    (!divided.is_empty()).then(|| format!("groups with images in more than one part: {names}"))
}

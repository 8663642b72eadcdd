//! From `--data` to a dataset: a folder of class folders, or a table that names files and labels; and the ways to split
//! either.
//!
//! The one decision: every command opens data through here, so that what `inspect` shows is what `finetune` trains on.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tl_data::{
    ColumnChoice, Dataset, GroupPattern, Part, Quarantine, Sample, SplitFile, SplitMode, SplitOptions, Table,
    TableOptions, Target, TargetSpec,
};

use crate::args::{ColumnArgs, SourceArgs};
use crate::errors::Problems;

/// How the data is read and split, as a run keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Source {
    /// The folder that a table's file names are relative to.
    pub(crate) images: Option<PathBuf>,
    pub(crate) file_column: Option<String>,
    pub(crate) label_column: Option<String>,
    pub(crate) weight_column: Option<String>,
    /// A column, or `none`.
    pub(crate) split_column: Option<String>,
    pub(crate) extension: Option<String>,
    /// A column, or a regular expression over file names.
    pub(crate) group: Option<String>,
    pub(crate) folds: Option<u32>,
    pub(crate) fold: Option<u32>,
    /// A saved split; in a run's `spec.json` relative to it.
    pub(crate) split: Option<PathBuf>,
    /// A list of files to leave out; in a run's `spec.json` relative to it.
    pub(crate) exclude: Option<PathBuf>,
}

impl Source {
    /// What is given here, else what was given before. Other data has nothing of the old table's columns, and another
    /// way to split takes the place of the old one.
    pub(crate) fn merged(args: &SourceArgs, base: &Self, same_data: bool) -> Self {
        let nothing = Self::default();
        let table = if same_data { base } else { &nothing };
        let splits = args.split.is_some() || args.folds.is_some() || args.fold.is_some() || !same_data;
        let split = if splits { &nothing } else { base };
        let path = |new: &Option<PathBuf>, old: &Option<PathBuf>| {
            new.as_deref().map(absolute).or_else(|| old.clone())
        };
        let word = |new: &Option<String>, old: &Option<String>| new.clone().or_else(|| old.clone());
        let columns = &args.columns;
        Self {
            images: path(&columns.images, &table.images),
            file_column: word(&columns.file_column, &table.file_column),
            label_column: word(&columns.label_column, &table.label_column),
            weight_column: word(&columns.weight_column, &table.weight_column),
            split_column: word(&columns.split_column, &table.split_column),
            extension: word(&columns.extension, &table.extension),
            group: word(&args.group, &table.group),
            folds: args.folds.or(split.folds),
            fold: args.fold.or(split.fold),
            split: path(&args.split, &split.split),
            exclude: path(&args.exclude, &table.exclude),
        }
    }

    /// The same with the paths of a run's own files made whole.
    pub(crate) fn relative_to(mut self, folder: &Path) -> Self {
        for path in [&mut self.split, &mut self.exclude].into_iter().flatten() {
            *path = absolute(&folder.join(&path));
        }
        self
    }

    /// Names that cannot be written into `spec.json`.
    pub(crate) fn check_names(&self, problems: &mut Problems) {
        let paths = [("--images", &self.images), ("--split", &self.split), ("--exclude", &self.exclude)];
        for (flag, path) in paths {
            if let Some(path) = path.as_ref().filter(|path| path.to_str().is_none()) {
                let hint = "hint: rename it, or give a link to it";
                problems.add(anyhow::anyhow!("{flag} `{}` is not a name in UTF-8\n\n{hint}", path.display()));
            }
        }
    }
}

/// A path from the root on. Links stay as they are: a table is looked for beside its link's own name.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Opens `data` as the words say; what is wrong joins the problems.
pub(crate) fn open(
    data: &Path,
    args: &SourceArgs,
    val_fraction: f64,
    seed: u64,
    problems: &mut Problems,
) -> Option<Dataset> {
    let source = Source::merged(args, &Source::default(), true);
    open_source(&absolute(data), &source, val_fraction, seed, problems)
}

/// Opens `data` to look at what is wrong with it: what a run would refuse for single files is passed over.
pub(crate) fn open_leniently(data: &Path, args: &SourceArgs, problems: &mut Problems) -> Option<Dataset> {
    let source = Source::merged(args, &Source::default(), true);
    open_as(&absolute(data), &source, (0.2, 42), true, problems)
}

/// Opens `data`, splits it, and takes out what is listed; what is wrong joins the problems.
pub(crate) fn open_source(
    data: &Path,
    source: &Source,
    val_fraction: f64,
    seed: u64,
    problems: &mut Problems,
) -> Option<Dataset> {
    open_as(data, source, (val_fraction, seed), false, problems)
}

fn open_as(
    data: &Path,
    source: &Source,
    (val_fraction, seed): (f64, u64),
    lenient: bool,
    problems: &mut Problems,
) -> Option<Dataset> {
    let table = data.is_file();
    if data.is_dir() {
        let given = [
            ("--images", source.images.is_some()),
            ("--file-column", source.file_column.is_some()),
            ("--label-column", source.label_column.is_some()),
            ("--weight-column", source.weight_column.is_some()),
            ("--split-column", source.split_column.is_some()),
            ("--extension", source.extension.is_some()),
        ];
        for (flag, _) in given.into_iter().filter(|(_, given)| *given) {
            problems.add(anyhow::anyhow!("{flag} is for a table, and `{}` is a folder", data.display()));
        }
    }
    let exclude = match &source.exclude {
        Some(path) => problems.take(Quarantine::read(path).map_err(anyhow::Error::from)),
        None => Some(Quarantine::default()),
    };
    let names = exclude.as_ref().map(Quarantine::names).unwrap_or_default();
    // What is wrong with the table is said with what is wrong with the words.
    let opened = match table {
        true => {
            let table = group_choice(data, source).and_then(|group| {
                let options = TableOptions { check_files: !lenient, ..table_options(source, group.column) };
                let mut table = Table::open(data, &options)?;
                table.leave_out(&names);
                Ok((Some(table), group.pattern))
            });
            problems.take(table)
        }
        false => Some((None, source.group.clone())),
    };
    let mode = problems.take(split_mode(source));
    let (exclude, (table, pattern), mode) = (exclude?, opened?, mode?);
    let group =
        problems.take(pattern.as_deref().map(GroupPattern::new).transpose().map_err(anyhow::Error::from))?;
    let split = SplitOptions { mode, val_fraction, seed, group, ..SplitOptions::default() };
    let opened = match table {
        Some(table) => table.into_folder(&split),
        None if lenient => Dataset::open_leniently(data, &split, &names),
        None => Dataset::open_without(data, &split, &names),
    };
    let dataset = problems.take(opened.map_err(anyhow::Error::from))?;
    problems.take(all_left_out(&exclude, &dataset))?;
    Some(dataset)
}

fn split_mode(source: &Source) -> anyhow::Result<SplitMode> {
    match (&source.split, source.folds, source.fold) {
        (None, None, None) => Ok(SplitMode::Fractions),
        (Some(path), None, None) => Ok(SplitMode::Saved(SplitFile::read(path)?)),
        (Some(_), ..) => anyhow::bail!("--split and --folds are both given\n\nhint: leave one of them out"),
        (None, Some(folds), Some(fold)) => {
            anyhow::ensure!(folds >= 2, "--folds is {folds}, expected 2 or more");
            anyhow::ensure!(
                fold < folds,
                "--fold is {fold}, expected 0 to {} for --folds {folds}",
                folds - 1
            );
            Ok(SplitMode::Fold { folds, held_out: fold })
        }
        (None, Some(_), None) => {
            anyhow::bail!("--folds says how many; --fold has to say which validates, from 0")
        }
        (None, None, Some(_)) => anyhow::bail!("--fold needs --folds, the number of folds"),
    }
}

/// What `--group` means for a table.
#[derive(Default)]
struct GroupChoice {
    column: Option<String>,
    pattern: Option<String>,
}

/// In a table a name of a column is that column, whatever is in it; else a pattern has parentheses.
fn group_choice(data: &Path, source: &Source) -> anyhow::Result<GroupChoice> {
    let Some(group) = &source.group else { return Ok(GroupChoice::default()) };
    let is_column = !group.contains('(') || Table::has_column(data, &table_options(source, None), group)?;
    let group = Some(group.clone());
    Ok(match is_column {
        true => GroupChoice { column: group, pattern: None },
        false => GroupChoice { column: None, pattern: group },
    })
}

fn table_options(source: &Source, group: Option<String>) -> TableOptions {
    let column = |name: &Option<String>| match name.as_deref() {
        Some("none") => ColumnChoice::Unused,
        Some(name) => ColumnChoice::Named(name.to_owned()),
        None => ColumnChoice::Guess,
    };
    let unless_named = |name: &Option<String>| match column(name) {
        ColumnChoice::Guess => ColumnChoice::Unused,
        choice => choice,
    };
    TableOptions {
        images: source.images.clone(),
        extension: source.extension.clone(),
        file: column(&source.file_column),
        target: TargetSpec::Class { column: source.label_column.clone() },
        weight: unless_named(&source.weight_column),
        split: column(&source.split_column),
        group: unless_named(&group),
        ..TableOptions::default()
    }
}

/// A list that names files which are not there was made for other data.
fn all_left_out(list: &Quarantine, dataset: &Dataset) -> anyhow::Result<()> {
    let unknown = list.unmatched(dataset);
    let names: Vec<String> =
        unknown.iter().take(5).map(|entry| format!("line {}: `{}`", entry.line, entry.rel)).collect();
    anyhow::ensure!(
        unknown.is_empty(),
        "--exclude lists {} files that are not in the data: {}",
        unknown.len(),
        names.join(", ")
    );
    Ok(())
}

/// Labelled images of a table, for a model with these classes: its test part, else its validation part, else all; and
/// the name of that part.
pub(crate) fn labelled_table(
    path: &Path,
    columns: &ColumnArgs,
    classes: &[String],
) -> anyhow::Result<(Vec<Sample>, Option<&'static str>)> {
    let args = SourceArgs { columns: columns.clone(), ..SourceArgs::default() };
    let source = Source::merged(&args, &Source::default(), true);
    let options = TableOptions { classes: Some(classes.to_vec()), ..table_options(&source, None) };
    let table = Table::open(&absolute(path), &options)?;
    let has = |part| table.records.iter().any(|record| record.split == Some(part));
    let part = [Part::Test, Part::Val].into_iter().find(|part| has(*part));
    let records = table.records.into_iter().filter(|record| part.is_none() || record.split == part);
    let samples = records.filter_map(|record| match record.target {
        Target::Class(label) => Some(Sample { path: record.path, label, id: record.id, rel: record.rel }),
        _ => None,
    });
    Ok((samples.collect(), part.map(Part::name)))
}

/// Images, folders of images, and tables or lists of them, as paths of images.
pub(crate) fn list(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let is_table = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        ["csv", "tsv", "txt"].contains(&extension.to_ascii_lowercase().as_str()) && path.is_file()
    };
    let mut problems = Problems::default();
    let mut images = Vec::new();
    // In the order given, neighbours of a kind together.
    for group in paths.chunk_by(|a, b| is_table(a) == is_table(b)) {
        if !group.first().is_some_and(is_table) {
            images.extend(
                problems.take(tl_data::list_images(group).map_err(anyhow::Error::from)).unwrap_or_default(),
            );
            continue;
        }
        for path in group {
            let options = TableOptions { target: TargetSpec::Nothing, ..TableOptions::default() };
            let table = problems.take(Table::open(path, &options).map_err(anyhow::Error::from));
            images.extend(table.into_iter().flat_map(|table| table.records).map(|record| record.path));
        }
    }
    problems.check()?;
    Ok(images)
}

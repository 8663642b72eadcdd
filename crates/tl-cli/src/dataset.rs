//! From `--data` to a dataset: a folder of class folders, or a table that names files and labels; and the ways to split
//! either.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tl_data::{
    ColumnChoice, Dataset, GroupPattern, Quarantine, SplitFile, SplitMode, SplitOptions, Table, TableOptions,
    TargetSpec,
};

use crate::args::SourceArgs;
use crate::errors::Problems;

/// How the data is read and split, as a run keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Source {
    /// The folder that a table's file names are relative to.
    pub(crate) images: Option<PathBuf>,
    pub(crate) file_column: Option<String>,
    pub(crate) label_column: Option<String>,
    /// A column, or a regular expression over file names.
    pub(crate) group: Option<String>,
    pub(crate) folds: Option<u32>,
    pub(crate) fold: Option<u32>,
    /// A saved split.
    pub(crate) split: Option<PathBuf>,
    /// A list of files to leave out.
    pub(crate) exclude: Option<PathBuf>,
}

impl Source {
    /// What is given here, else what was given before.
    pub(crate) fn merged(args: &SourceArgs, base: &Self) -> Self {
        let whole = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
        let path =
            |new: &Option<PathBuf>, old: &Option<PathBuf>| new.as_ref().map(whole).or_else(|| old.clone());
        Self {
            images: path(&args.images, &base.images),
            file_column: args.file_column.clone().or_else(|| base.file_column.clone()),
            label_column: args.label_column.clone().or_else(|| base.label_column.clone()),
            group: args.group.clone().or_else(|| base.group.clone()),
            folds: args.folds.or(base.folds),
            fold: args.fold.or(base.fold),
            split: path(&args.split, &base.split),
            exclude: path(&args.exclude, &base.exclude),
        }
    }
}

/// Opens `data` as the words say; what is wrong joins the problems.
pub(crate) fn open(
    data: &Path,
    args: &SourceArgs,
    val_fraction: f64,
    seed: u64,
    problems: &mut Problems,
) -> Option<Dataset> {
    open_source(data, &Source::merged(args, &Source::default()), val_fraction, seed, problems)
}

/// Opens `data` to look at what is wrong with it: what a run would refuse for single files is passed over.
pub(crate) fn open_leniently(data: &Path, args: &SourceArgs, problems: &mut Problems) -> Option<Dataset> {
    open_as(data, &Source::merged(args, &Source::default()), (0.2, 42), true, problems)
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
    if !table {
        let given = [
            ("--images", source.images.is_some()),
            ("--file-column", source.file_column.is_some()),
            ("--label-column", source.label_column.is_some()),
        ];
        for (flag, _) in given.into_iter().filter(|(_, given)| *given) {
            problems.add(anyhow::anyhow!("{flag} is for a table, and `{}` is none", data.display()));
        }
    }
    let split = problems.take(split_options(source, table, val_fraction, seed))?;
    let exclude = match &source.exclude {
        Some(path) => Some(problems.take(Quarantine::read(path).map_err(anyhow::Error::from))?),
        None => None,
    };
    let opened = match table {
        true => Table::open(data, &TableOptions { check_files: !lenient, ..table_options(source) }).and_then(
            |table| {
                // How the columns were understood is for the person to see.
                let notes = table.notes.clone();
                let mut dataset = table.into_folder(&split)?;
                dataset.warnings.splice(0..0, notes);
                Ok(dataset)
            },
        ),
        false if lenient => Dataset::open_leniently(data, &split),
        false => Dataset::open(data, &split),
    };
    let mut dataset = problems.take(opened.map_err(anyhow::Error::from))?;
    if let Some(list) = exclude {
        problems.take(leave_out(&list, &mut dataset));
    }
    Some(dataset)
}

fn split_options(source: &Source, table: bool, val_fraction: f64, seed: u64) -> anyhow::Result<SplitOptions> {
    let mode = match (&source.split, source.folds, source.fold) {
        (Some(_), Some(_), _) => anyhow::bail!("--split and --folds are both given"),
        (Some(path), None, None) => SplitMode::Saved(read_split(path)?),
        (None, Some(folds), Some(held_out)) => SplitMode::Fold { folds, held_out },
        (None, Some(_), None) => {
            anyhow::bail!("--folds says how many; --fold has to say which validates, from 0")
        }
        (_, None, Some(_)) => anyhow::bail!("--fold needs --folds, the number of folds"),
        (None, None, None) => SplitMode::Fractions,
    };
    // In a table a plain word is a column; a pattern has parentheses.
    let pattern = source.group.as_deref().filter(|group| !table || group.contains('('));
    let group = pattern.map(GroupPattern::new).transpose()?;
    Ok(SplitOptions { mode, val_fraction, seed, group, ..SplitOptions::default() })
}

fn read_split(path: &Path) -> anyhow::Result<SplitFile> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("failed to read `{}`", path.display()))?;
    let csv = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
    let read = if csv { SplitFile::from_csv(&text) } else { SplitFile::from_json(&text) };
    read.with_context(|| format!("split `{}`", path.display()))
}

fn table_options(source: &Source) -> TableOptions {
    let column = |name: &Option<String>| match name {
        Some(name) => ColumnChoice::Named(name.clone()),
        None => ColumnChoice::default(),
    };
    let group = source.group.clone().filter(|group| !group.contains('('));
    TableOptions {
        images: source.images.clone(),
        file: column(&source.file_column),
        target: TargetSpec::Class { column: source.label_column.clone() },
        group: column(&group),
        ..TableOptions::default()
    }
}

/// A list that names files which are not there was made for other data.
fn leave_out(list: &Quarantine, dataset: &mut Dataset) -> anyhow::Result<()> {
    let unknown = list.exclude_from(dataset);
    let names: Vec<String> =
        unknown.iter().take(5).map(|entry| format!("line {}: `{}`", entry.line, entry.rel)).collect();
    anyhow::ensure!(
        unknown.is_empty(),
        "--exclude lists {} files that are not in the data: {}",
        unknown.len(),
        names.join(", ")
    );
    anyhow::ensure!(
        !dataset.train.is_empty() && !dataset.val.is_empty(),
        "--exclude leaves no images to train or validate on"
    );
    Ok(())
}

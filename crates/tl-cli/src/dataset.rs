//! From `--data` to a dataset: a folder of class folders, or a table that names files and labels; and the ways to split
//! either.
//!
//! The one decision: every command opens data through here, so that what `inspect` shows is what `finetune` trains on.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tl_data::{
    ColumnChoice, Dataset, GroupPattern, Part, Quarantine, Sample, SplitFile, SplitMode, SplitOptions, Table,
    TableOptions, TargetSpec, Task,
};

use crate::args::{ColumnArgs, SourceArgs};
use crate::errors::Problems;

/// A name, or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Names {
    One(String),
    Several(Vec<String>),
}

impl Names {
    fn of(names: &[String]) -> Option<Self> {
        match names {
            [] => None,
            [name] => Some(Self::One(name.clone())),
            _ => Some(Self::Several(names.to_vec())),
        }
    }

    fn as_slice(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }
}

/// How the data is read and split, as a run keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Source {
    /// What is to be learned of each image. Not among the words of a source: `--classes` says it.
    pub(crate) task: Task,
    /// The folder that a table's file names are relative to.
    pub(crate) images: Option<PathBuf>,
    pub(crate) file_column: Option<String>,
    pub(crate) label_column: Option<Names>,
    /// What stands between several labels in a cell.
    pub(crate) label_separator: Option<char>,
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
    /// way to split takes the place of the old one. The task stays what it was.
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
            task: base.task,
            images: path(&columns.images, &table.images),
            file_column: word(&columns.file_column, &table.file_column),
            label_column: Names::of(&columns.label_column).or_else(|| table.label_column.clone()),
            label_separator: columns.label_separator.or(table.label_separator),
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

    /// The columns of what is to be learned.
    pub(crate) fn label_columns(&self) -> &[String] {
        self.label_column.as_ref().map(Names::as_slice).unwrap_or_default()
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

/// What `--classes` says of data that is only looked at.
pub(crate) fn parse_task(text: Option<&str>) -> anyhow::Result<Task> {
    match text {
        None => Ok(Task::Class),
        Some("multi-label") => Ok(Task::MultiLabel),
        Some("regression") => Ok(Task::Number),
        Some(text) => anyhow::bail!(
            "--classes is `{text}`, expected `multi-label` or `regression`\n\nhint: leave it out for one class an image"
        ),
    }
}

/// What a model with this head learned of each image.
pub(crate) fn task_of(task: tl_heads::Task) -> Task {
    match task {
        tl_heads::Task::Softmax { .. } | tl_heads::Task::Binary => Task::Class,
        tl_heads::Task::MultiLabel { .. } | tl_heads::Task::Tagging { .. } => Task::MultiLabel,
        tl_heads::Task::Regression { .. } => Task::Number,
    }
}

/// Opens `data` as the words say; what is wrong joins the problems.
pub(crate) fn open(
    data: &Path,
    args: &SourceArgs,
    task: Task,
    (val_fraction, seed): (f64, u64),
    problems: &mut Problems,
) -> Option<Dataset> {
    let source = Source { task, ..Source::merged(args, &Source::default(), true) };
    open_source(&absolute(data), &source, val_fraction, seed, problems)
}

/// Opens `data` to look at what is wrong with it: what a run would refuse for single files is passed over.
pub(crate) fn open_leniently(
    data: &Path,
    args: &SourceArgs,
    task: Task,
    problems: &mut Problems,
) -> Option<Dataset> {
    let source = Source { task, ..Source::merged(args, &Source::default(), true) };
    open_as(&absolute(data), &source, (0.2, 42), true, problems)
}

/// Several labels and numbers are in tables alone.
pub(crate) fn needs_table(data: &Path, task: Task) -> anyhow::Result<()> {
    let what = match task {
        Task::MultiLabel => "several labels for each image",
        Task::Number => "numbers for each image",
        Task::Class | Task::Nothing => return Ok(()),
    };
    anyhow::ensure!(
        !data.is_dir(),
        "`{}` is a folder, which cannot say {what}\n\nhint: give a table of files and labels",
        data.display()
    );
    Ok(())
}

/// Opens `data`, splits it, and takes out what is listed; what is wrong joins the problems.
///
/// `source.task` says what there is for each image; labels and numbers are in [`Sample::target`].
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
            ("--label-separator", source.label_separator.is_some()),
            ("--weight-column", source.weight_column.is_some()),
            ("--split-column", source.split_column.is_some()),
            ("--extension", source.extension.is_some()),
        ];
        for (flag, _) in given.into_iter().filter(|(_, given)| *given) {
            problems.add(anyhow::anyhow!("{flag} is for a table, and `{}` is a folder", data.display()));
        }
    }
    problems.take(needs_table(data, source.task))?;
    let exclude = match &source.exclude {
        Some(path) => problems.take(Quarantine::read(path).map_err(anyhow::Error::from)),
        None => Some(Quarantine::default()),
    };
    let names = exclude.as_ref().map(Quarantine::names).unwrap_or_default();
    // What is wrong with the table is said with what is wrong with the words.
    let opened = match table {
        true => {
            let table = group_choice(data, source).and_then(|group| {
                let target = target(data, source, None)?;
                let options =
                    TableOptions { check_files: !lenient, ..table_options(source, target, group.column) };
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
        Some(table) => table.into_dataset(&split),
        None if lenient => Dataset::open_leniently(data, &split, &names),
        None => Dataset::open_without(data, &split, &names),
    };
    let dataset = problems.take(opened.map_err(anyhow::Error::from))?;
    problems.take(all_left_out(&exclude, &dataset))?;
    Some(dataset)
}

pub(crate) fn split_mode(source: &Source) -> anyhow::Result<SplitMode> {
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
    let is_column = !group.contains('(')
        || Table::has_column(data, &table_options(source, TargetSpec::default(), None), group)?;
    let group = Some(group.clone());
    Ok(match is_column {
        true => GroupChoice { column: group, pattern: None },
        false => GroupChoice { column: None, pattern: group },
    })
}

/// Where a table has what is to be learned. A trained model has `names` for it.
fn target(data: &Path, source: &Source, names: Option<&[String]>) -> anyhow::Result<TargetSpec> {
    let columns = source.label_columns();
    let separator = source.label_separator;
    anyhow::ensure!(
        separator.is_none() || source.task == Task::MultiLabel,
        "--label-separator is for several labels for each image\n\nhint: say so with --classes multi-label"
    );
    match source.task {
        Task::Class => {
            anyhow::ensure!(
                columns.len() < 2,
                "--label-column is given {} times, and one class for each image has one column\n\n\
                 hint: several columns are for --classes multi-label or --classes regression",
                columns.len()
            );
            Ok(TargetSpec::Class { column: columns.first().cloned() })
        }
        Task::MultiLabel => {
            anyhow::ensure!(
                columns.len() < 2 || separator.is_none(),
                "--label-separator is for one column of labels, and --label-column is given {} times",
                columns.len()
            );
            let options = table_options(source, TargetSpec::default(), None);
            Ok(Table::multi_label_target(data, &options, columns, separator, names)?)
        }
        Task::Number => Ok(TargetSpec::Numbers { columns: (!columns.is_empty()).then(|| columns.to_vec()) }),
        Task::Nothing => Ok(TargetSpec::Nothing),
    }
}

fn table_options(source: &Source, target: TargetSpec, group: Option<String>) -> TableOptions {
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
        target,
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

/// Labelled images of a table, for a model of this task with these names of classes, labels or numbers: its test part,
/// else its validation part, else all; and the name of that part.
///
/// Labels in columns, and numbers, are in columns called as the model calls them, in any order; of a single number the
/// column may be another, by `--label-column`.
pub(crate) fn labelled_table(
    path: &Path,
    columns: &ColumnArgs,
    (task, names): (Task, &[String]),
) -> anyhow::Result<(Vec<Sample>, Option<&'static str>)> {
    let args = SourceArgs { columns: columns.clone(), ..SourceArgs::default() };
    let source = Source { task, ..Source::merged(&args, &Source::default(), true) };
    let path = absolute(path);
    let (target, classes) = match target(&path, &source, Some(names))? {
        TargetSpec::Flags { columns } => {
            (TargetSpec::Flags { columns: Some(model_columns(columns, names)?) }, None)
        }
        TargetSpec::Numbers { columns } => {
            (TargetSpec::Numbers { columns: Some(model_columns(columns, names)?) }, None)
        }
        in_cells => (in_cells, Some(names.to_vec())),
    };
    let table = Table::open(&path, &TableOptions { classes, ..table_options(&source, target, None) })?;
    let has = |part| table.records.iter().any(|record| record.split == Some(part));
    let part = [Part::Test, Part::Val].into_iter().find(|part| has(*part));
    let records = table.records.into_iter().filter(|record| part.is_none() || record.split == part);
    Ok((records.map(|record| record.into_sample(names.len())).collect(), part.map(Part::name)))
}

/// The columns of a model's labels or numbers, in its order.
fn model_columns(given: Option<Vec<String>>, names: &[String]) -> anyhow::Result<Vec<String>> {
    match given.as_deref() {
        Some([column]) if names.len() == 1 => Ok(vec![column.clone()]),
        Some(given) if !(given.len() == names.len() && names.iter().all(|name| given.contains(name))) => {
            let all: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            anyhow::bail!("--label-column names other columns than the model has: {}", all.join(", "))
        }
        _ => Ok(names.to_vec()),
    }
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

#[cfg(test)]
mod tests;

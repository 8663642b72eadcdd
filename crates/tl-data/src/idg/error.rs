//! What can go wrong with an `ImageDataGenerator` and its flows.
//!
//! The one decision: as with a folder, everything that is wrong with a set of arguments is reported at once
//! ([`IdgProblems`]), so that a configuration taken over from Python is mended in one go.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::error::DecodeError;

/// An error of an [`ImageDataGenerator`](super::ImageDataGenerator).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IdgError {
    /// Arguments that cannot be used.
    #[error("the arguments of `{of}` cannot be used: {problems}")]
    Arguments {
        /// `ImageDataGenerator`, `flow`, `flow_from_directory` or `flow_from_dataframe`.
        of: &'static str,
        /// All that is wrong with them.
        problems: IdgProblems,
    },
    /// A featurewise option without statistics.
    #[error("`{option}` needs statistics of the data\n\nhint: call `fit` with sample images first")]
    NotFitted {
        /// The option.
        option: &'static str,
    },
    /// An array of another shape than needed.
    #[error("`{what}` has the shape {got:?} (expected {expected})")]
    Shape {
        /// The array.
        what: &'static str,
        /// Its shape.
        got: Vec<usize>,
        /// What was expected.
        expected: String,
    },
    /// An image file that cannot be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Several image files of a batch that cannot be decoded.
    #[error("{errors}")]
    Images {
        /// All of them, in the order of the batch.
        errors: DecodeErrors,
    },
    /// An image with a value that is no finite number.
    #[error("image {image} of `{what}` has a value that is no finite number")]
    NotFinite {
        /// The array.
        what: &'static str,
        /// The place of the image in it, from 0.
        image: usize,
    },
    /// Arguments that are no JSON object.
    #[error("the arguments cannot be read: {detail}")]
    Json {
        /// What the parser says.
        detail: String,
    },
    /// A file of `save_to_dir` that cannot be written.
    #[error("image `{}` cannot be saved: {reason}", path.display())]
    Save {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A batch beyond the end of the epoch.
    #[error("there is no batch {index} (expected less than {batches})")]
    Batch {
        /// The batch asked for, from 0.
        index: usize,
        /// Batches in an epoch.
        batches: usize,
    },
}

/// Image files that cannot be decoded; never empty.
#[derive(Debug)]
pub struct DecodeErrors(pub Vec<DecodeError>);

impl fmt::Display for DecodeErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} images of the batch cannot be decoded", self.0.len())?;
        for DecodeError { path, reason } in self.0.iter().take(LISTED) {
            write!(f, "\n  - `{}`: {reason}", path.display())?;
        }
        match self.0.len().checked_sub(LISTED) {
            Some(more) if more > 0 => write!(f, "\n  - and {more} more"),
            _ => Ok(()),
        }
    }
}

/// All that is wrong with some arguments, in the order of the checks; never empty.
#[derive(Debug)]
pub struct IdgProblems(pub Vec<IdgProblem>);

impl fmt::Display for IdgProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.0.as_slice() {
            write!(f, "{only}")?;
        } else {
            write!(f, "{} problems", self.0.len())?;
            for problem in self.0.iter().take(LISTED) {
                write!(f, "\n  - {problem}")?;
            }
            if let Some(more) = self.0.len().checked_sub(LISTED).filter(|&more| more > 0) {
                write!(f, "\n  - and {more} more")?;
            }
        }
        let mut hints: Vec<String> = Vec::new();
        for hint in self.0.iter().filter_map(IdgProblem::hint) {
            if !hints.contains(&hint) {
                hints.push(hint);
            }
        }
        for (i, hint) in hints.iter().enumerate() {
            write!(f, "{}hint: {hint}", if i == 0 { "\n\n" } else { "\n" })?;
        }
        Ok(())
    }
}

/// How many problems a message lists: a table of a thousand missing files needs no thousand lines.
const LISTED: usize = 30;

/// One thing wrong with some arguments.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IdgProblem {
    /// No such argument.
    #[error("there is no argument `{name}`")]
    Unknown {
        /// The name given.
        name: String,
        /// The name that was probably meant.
        nearest: Option<&'static str>,
    },
    /// An argument of another kind or outside of its range.
    #[error("`{name}` is {got} (expected {expected})")]
    Value {
        /// The argument.
        name: &'static str,
        /// The value given.
        got: String,
        /// What is allowed.
        expected: String,
    },
    /// A value that is none of those known.
    #[error("`{name}` is `{got}` (expected one of {})", quoted(known))]
    Choice {
        /// The argument.
        name: &'static str,
        /// The value given.
        got: String,
        /// The values known.
        known: &'static [&'static str],
        /// The value that was probably meant.
        nearest: Option<&'static str>,
    },
    /// An argument given more than once.
    #[error("`{name}` is given twice")]
    Twice {
        /// The argument.
        name: String,
    },
    /// A subset without images, although there are some.
    #[error("the {subset} part of {of} images is empty, with a `validation_split` of {split}")]
    EmptyPart {
        /// `training` or `validation`.
        subset: &'static str,
        /// How many images there are.
        of: usize,
        /// The `validation_split`.
        split: f64,
    },
    /// Numbers that are not finite.
    #[error("{what} has values that are no finite numbers, in {}", listed(rows))]
    NotFinite {
        /// The column or array.
        what: String,
        /// The rows, from 0.
        rows: Vec<usize>,
    },
    /// `subset` without a split.
    #[error("`subset` is given, but `validation_split` is 0")]
    NoSplit,
    /// A folder that cannot be listed.
    #[error("folder `{}` cannot be read: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A class without a folder.
    #[error("class `{class}` has no folder `{}`", path.display())]
    NoClassFolder {
        /// The class.
        class: String,
        /// The folder looked for.
        path: PathBuf,
    },
    /// A class named twice, or a name that is a path.
    #[error("`classes` has `{class}` {why}")]
    ClassName {
        /// The class.
        class: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// `class_mode="binary"` without exactly two classes.
    #[error("`class_mode` is `binary`, but there are {classes} classes")]
    NotBinary {
        /// How many classes there are.
        classes: usize,
    },
    /// Nothing to make batches of.
    #[error("`{}` holds no images", path.display())]
    NoImages {
        /// The folder.
        path: PathBuf,
    },
    /// A table without rows that can be used.
    #[error("no row of the table can be used")]
    NoRows,
    /// No such column.
    #[error("there is no column `{column}`, which `{argument}` names")]
    NoColumn {
        /// The argument that names it.
        argument: &'static str,
        /// The column.
        column: String,
        /// The columns there are.
        columns: Vec<String>,
    },
    /// A column of another kind than needed.
    #[error("column `{column}` has to hold {expected}")]
    ColumnKind {
        /// The column.
        column: String,
        /// What it has to hold.
        expected: &'static str,
    },
    /// Columns of different lengths, or one name for two of them.
    #[error("column `{column}` {why}")]
    Column {
        /// The column.
        column: String,
        /// What is wrong with it.
        why: String,
    },
    /// A row whose file is not there.
    #[error("row {row}: there is no file `{}`", path.display())]
    NoFile {
        /// The row, from 0.
        row: usize,
        /// The file.
        path: PathBuf,
    },
    /// A row whose file has another extension.
    #[error("row {row}: `{name}` does not end as an image file that Keras takes")]
    Extension {
        /// The row, from 0.
        row: usize,
        /// The name in the table.
        name: String,
    },
    /// Arrays that do not have one entry for each image.
    #[error("`{what}` has {got} entries, but there are {expected} images")]
    Length {
        /// The array.
        what: &'static str,
        /// Its length.
        got: usize,
        /// The number of images.
        expected: usize,
    },
    /// The two parts of a split do not have the same labels.
    #[error("the training and validation parts of `y` do not have the same labels")]
    SplitLabels,
}

impl IdgProblem {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        let mean = |name: &str| format!("did you mean `{name}`?");
        match self {
            Self::Unknown { nearest, .. } | Self::Choice { nearest, .. } => nearest.map(mean),
            Self::NoSplit => Some("give the generator a `validation_split` between 0 and 1".to_owned()),
            Self::EmptyPart { .. } => Some("take another `validation_split`, or add images".to_owned()),
            Self::NotFinite { .. } => Some("leave these rows out, or give them a number".to_owned()),
            Self::NoClassFolder { .. } => Some("make the folder, or leave the class out".to_owned()),
            Self::NoImages { .. } => {
                Some(format!("put files ending in {} into `DIR/<class>/`", super::EXTENSIONS.join(", ")))
            }
            Self::NoColumn { column, columns, .. } => nearest(column, columns.iter().map(String::as_str))
                .map(mean)
                .or_else(|| Some(format!("the columns are {}", quoted(columns)))),
            Self::NoFile { .. } => {
                Some("`directory` goes before every name; `compat` `keras3` drops such rows".to_owned())
            }
            Self::Extension { .. } => Some(format!("names have to end in {}", super::EXTENSIONS.join(", "))),
            Self::SplitLabels => Some(
                "shuffle the arrays first, or set `ignore_class_split` if these are no classes".to_owned(),
            ),
            _ => None,
        }
    }
}

/// The first of some rows.
fn listed(rows: &[usize]) -> String {
    const SHOWN: usize = 10;
    let shown: Vec<String> = rows.iter().take(SHOWN).map(usize::to_string).collect();
    let more = rows.len().saturating_sub(SHOWN);
    let (noun, more) = (
        if rows.len() == 1 { "row" } else { "rows" },
        if more > 0 { format!(" and {more} more") } else { String::new() },
    );
    format!("{noun} {}{more}", shown.join(", "))
}

fn quoted<S: AsRef<str>>(names: &[S]) -> String {
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}

/// The name that was probably meant: the most similar one, if it is similar at all.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const SIMILAR: f64 = 0.8;
    let lower = name.to_ascii_lowercase();
    let score = |other: &str| {
        let within = lower.len() > 2 && (other.contains(&lower) || lower.contains(other));
        strsim::jaro_winkler(&lower, other).max(if within { SIMILAR } else { 0.0 })
    };
    let scored = known.into_iter().map(|other| (score(other), other));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(score, _)| *score >= SIMILAR).map(|(_, other)| other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_listed_with_their_hints() {
        let unknown = |name: &str| IdgProblem::Unknown {
            name: name.to_owned(),
            nearest: nearest(name, ["rotation_range", "zoom_range"])
                .map(|n| if n == "zoom_range" { "zoom_range" } else { "rotation_range" }),
        };
        let one = IdgProblems(vec![unknown("rotaton_range")]).to_string();
        assert_eq!(one, "there is no argument `rotaton_range`\n\nhint: did you mean `rotation_range`?");
        let two = IdgProblems(vec![unknown("xyzzy"), IdgProblem::NoSplit]).to_string();
        assert!(two.starts_with("2 problems\n  - there is no argument `xyzzy`\n  - `subset`"), "{two}");
        let many = IdgProblems((0..40).map(|_| IdgProblem::NoRows).collect()).to_string();
        assert!(many.ends_with("  - and 10 more"), "{many}");
    }
}

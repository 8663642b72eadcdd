//! What can be wrong with a split.
//!
//! The one decision: a problem names the file or the class it is about, so that it can be mended without
//! looking at the code.

use thiserror::Error;

use super::Part;
use crate::collected::{Problem, nearest, some_names};

/// One thing wrong with a split.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SplitProblem {
    /// A file of the data that the saved split does not have.
    #[error("`{name}` is not in the saved split")]
    NotInFile {
        /// The path below the dataset's folder.
        name: String,
    },
    /// A file of the data that the saved split names, but in no part.
    #[error("`{name}` was left out when the split was saved, and is in no part of it")]
    NoPart {
        /// The path below the dataset's folder.
        name: String,
    },
    /// A file of the saved split that the data does not have.
    #[error("`{name}` is in the saved split, but not in the data")]
    NotInData {
        /// The path below the dataset's folder.
        name: String,
    },
    /// A name that is there twice.
    #[error("`{name}` is there twice")]
    Repeated {
        /// The path below the dataset's folder.
        name: String,
    },
    /// A file name that the group pattern does not match.
    #[error("`{name}` has no group (expected a match of `{pattern}`)")]
    NoGroup {
        /// The path below the dataset's folder.
        name: String,
        /// The pattern.
        pattern: String,
    },
    /// A class that would be asked for without having been taught.
    #[error("class `{class}` has {} images, the first is `{first}`, but no training images", part.word())]
    Untrained {
        /// The class.
        class: String,
        /// Where it has images.
        part: Part,
        /// The first of them: the line of its table, or its path.
        first: String,
    },
    /// Classes whose training images were all left out.
    #[error("the files that are left out leave no training images of {}", some_names(classes.iter().map(String::as_str)))]
    LeftOut {
        /// The classes.
        classes: Vec<String>,
    },
    /// A class of an explicit list without images.
    #[error("class `{class}` has no images")]
    NoImages {
        /// The class.
        class: String,
    },
    /// A part that has to have images, and has none.
    #[error("there are no {} images", part.word())]
    EmptyPart {
        /// The part.
        part: Part,
    },
    /// Groups that cannot be kept whole and still leave something on each side.
    #[error(
        "{groups} groups cannot be split so that none is divided, every class trains and no part is empty"
    )]
    Groups {
        /// How many groups there are.
        groups: usize,
    },
    /// More folds than there are images, or groups, to put into them.
    #[error("{items} {what} cannot be dealt out to {folds} folds")]
    Folds {
        /// How many images or groups there are.
        items: usize,
        /// `images` or `groups`.
        what: &'static str,
        /// How many folds were asked for.
        folds: u32,
    },
    /// A saved split that cannot be read.
    #[error("the saved split cannot be read: {detail}")]
    Unreadable {
        /// Where and why.
        detail: String,
    },
    /// A line of a saved split that is no name and part.
    #[error("line {line} of the saved split has {got} (expected {expected})")]
    Line {
        /// The line, from 1.
        line: u64,
        /// What it has.
        got: String,
        /// What it should have.
        expected: &'static str,
    },
    /// A saved split that was changed after it was written.
    #[error("the saved split does not have the sha256 that it names, `{named}`, but `{got}`")]
    Sum {
        /// The sum in the file.
        named: String,
        /// The sum of its names and parts.
        got: String,
    },
}

impl Problem for SplitProblem {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NotInFile { .. } | Self::NotInData { .. } => {
                Some("make a new split, or give the data that the split was made for".to_owned())
            }
            Self::NoPart { .. } => Some("leave it out again, or make a new split".to_owned()),
            Self::LeftOut { .. } => Some(
                "keep some of their images, or take the folders or rows of these classes away".to_owned(),
            ),
            Self::NoGroup { .. } => Some(
                "a pattern with a `/` is matched against the path, any other against the file name"
                    .to_owned(),
            ),
            Self::Untrained { .. } => Some("move some of its images to the training part".to_owned()),
            Self::NoImages { .. } => Some("remove it from the list of classes, or add images".to_owned()),
            Self::Groups { .. } => Some("use finer groups, or give the split in a column".to_owned()),
            Self::Folds { what: "groups", .. } => Some("use fewer folds, or finer groups".to_owned()),
            Self::Folds { .. } => Some("use fewer folds".to_owned()),
            Self::Sum { .. } => Some("restore the file, or make a new split".to_owned()),
            Self::Line { got, .. } => {
                let known = Part::ALL.map(Part::name);
                nearest(got.trim_matches('`'), known).map(|near| format!("did you mean `{near}`?"))
            }
            _ => None,
        }
    }
}

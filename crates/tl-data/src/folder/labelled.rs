//! Labelled images to evaluate a trained net on.
//!
//! The one decision: the classes are those of the net. A folder with another class is an error, not a new
//! class.

use std::path::{Path, PathBuf};

use super::scan::{Classes, Scan, escaped};
use super::{Ignored, Sample, missing_classes, unknown_classes};
use crate::error::{DataError, FolderProblem, FolderProblems};

/// A class-per-folder tree read against a given list of classes.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledFolder {
    /// The folder as it was given.
    pub root: PathBuf,
    /// The folder inside it that was taken, such as `test`, or `None` for the folder itself.
    pub part: Option<String>,
    /// The images, sorted by class and path.
    pub samples: Vec<Sample>,
    /// Files that were passed over.
    pub ignored: Ignored,
    /// What a person should know, one line each.
    pub warnings: Vec<String>,
}

impl LabelledFolder {
    /// Lists `DIR/<class>/*`, or of a split dataset its test folder, or else its validation folder.
    ///
    /// Labels are places in `classes`, which need not be sorted and may have no images here.
    ///
    /// # Errors
    /// The folder is missing, unreadable or without images, or a class folder is not one of `classes`; all
    /// that is wrong is reported together.
    pub fn open(dir: &Path, classes: &[String]) -> Result<Self, DataError> {
        let mut scan = Scan::default();
        let part = scan.held_out(dir, classes);
        let (path, prefix) = match &part {
            Some(name) => (dir.join(name), format!("{}/", escaped(name))),
            None => (dir.to_owned(), String::new()),
        };
        let found = if scan.problems.is_empty() { scan.classes(&path, &prefix) } else { Classes::new() };
        if scan.problems.is_empty() {
            let mut known = classes.to_vec();
            known.sort();
            scan.problems = unknown_classes(&path, &found, &known);
            if found.values().all(Vec::is_empty) {
                let (images, path) = (scan.loose, path.clone());
                scan.problems.push(match images {
                    0 => FolderProblem::NoImages { path },
                    images => FolderProblem::NoClasses { path, images },
                });
            }
        }
        if !scan.problems.is_empty() {
            return Err(DataError::Folder { path: dir.to_owned(), problems: FolderProblems(scan.problems) });
        }
        let mut warnings = scan.warnings;
        warnings.extend(missing_classes("labelled", &found, classes));
        let part = part.as_deref().map(escaped);
        let samples = labelled(found, classes);
        Ok(Self { root: dir.to_owned(), part, samples, ignored: scan.ignored, warnings })
    }
}

fn labelled(mut found: Classes, classes: &[String]) -> Vec<Sample> {
    let mut samples = Vec::new();
    for (label, class) in (0_u32..).zip(classes) {
        for file in found.remove(class).unwrap_or_default() {
            samples.push(Sample::new(file.path, label, file.rel));
        }
    }
    samples
}

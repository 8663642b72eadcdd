//! Batches of the images in one folder for each class: Keras's `flow_from_directory`.
//!
//! The one decision: classes, files and splits are Keras's to the last file, also where this crate's own
//! [`Dataset`](crate::Dataset) does otherwise, so that a split made by Keras is found again: every
//! folder is a class, even a hidden or an empty one (with a warning), and validation is the first part of each.

use std::collections::BTreeSet;
use std::path::Path;

use super::listing::{images_below, subfolders};
use super::{Batching, ClassMode, FileOptions, Flow, Labels, Source, TargetSource};
use crate::Sample;
use crate::idg::ImageDataGenerator;
use crate::idg::args::{Args, Choice, Reader, fail_if_any};
use crate::idg::error::{IdgError, IdgProblem};
use crate::idg::options::Compat;

const OF: &str = "flow_from_directory";

/// The further arguments of Keras's `flow_from_directory`.
#[derive(Debug, Clone, PartialEq)]
pub struct DirectoryOptions {
    /// How images are put together.
    pub batching: Batching,
    /// How files become images.
    pub files: FileOptions,
    /// The folders that are classes, in the order of their numbers; all of them, sorted, with `None`.
    pub classes: Option<Vec<String>>,
    /// What the targets are; none with `None`.
    pub class_mode: Option<ClassMode>,
    /// Whether to go into folders that are links. A class folder itself may always be one.
    pub follow_links: bool,
}

impl Default for DirectoryOptions {
    fn default() -> Self {
        Self {
            batching: Batching::default(),
            files: FileOptions::default(),
            classes: None,
            class_mode: Some(ClassMode::Categorical),
            follow_links: false,
        }
    }
}

impl DirectoryOptions {
    /// Reads Keras's keyword arguments of `flow_from_directory`, without the directory.
    ///
    /// # Errors
    /// Names that are not arguments and values that cannot be used, together.
    pub fn from_args(args: Args) -> Result<Self, IdgError> {
        let mut r = Reader::new(args);
        let options = Self {
            batching: Batching::read(&mut r),
            files: FileOptions::read(&mut r),
            classes: r.optional_texts("classes"),
            class_mode: r.optional_choice("class_mode", Some(ClassMode::Categorical)),
            follow_links: r.flag("follow_links", false),
        };
        r.finish(OF, options)
    }

    fn problems(&self, generator: &ImageDataGenerator) -> Vec<IdgProblem> {
        let mut found = self.batching.problems(generator);
        found.extend(self.files.problems(generator));
        if let Some(mode @ (ClassMode::Raw | ClassMode::MultiOutput)) = self.class_mode {
            let (got, expected) =
                (format!("`{}`", mode.name()), "a mode for classes, `input` or null".to_owned());
            found.push(IdgProblem::Value { name: "class_mode", got, expected });
        }
        let mut seen = BTreeSet::new();
        for class in self.classes.iter().flatten() {
            let path = is_path(class);
            let why = if path { "where a folder's name is expected" } else { "twice" };
            if path || !seen.insert(class) {
                found.push(IdgProblem::ClassName { class: class.clone(), why });
            }
        }
        found
    }
}

/// Whether this is something else than the name of a folder.
fn is_path(class: &str) -> bool {
    class.is_empty() || class.contains(['/', '\\']) || class == "." || class == ".."
}

impl ImageDataGenerator {
    /// Batches of the images in the folders of `directory`, as Keras's `flow_from_directory`. No image is
    /// opened before its batch.
    ///
    /// The flow's [`Flow::filenames`] are paths below `directory`, `/`-separated. A subset is cut off class by
    /// class from the sorted files.
    ///
    /// # Errors
    /// Folders that cannot be read, a class of `classes` without a folder, no images at all, `binary` with
    /// other than two classes, and arguments out of range; all together. With [`Compat::Keras3`] the middle
    /// three are warnings, as Keras lets them pass.
    pub fn flow_from_directory(
        &self,
        directory: &Path,
        options: &DirectoryOptions,
    ) -> Result<Flow, IdgError> {
        let mut problems = options.problems(self);
        let mut warnings = self.warnings();
        let classes = match &options.classes {
            Some(classes) if !classes.is_empty() => classes.clone(),
            _ => subfolders(directory).unwrap_or_else(|problem| {
                problems.push(problem);
                Vec::new()
            }),
        };
        let lenient = self.options.compat == Compat::Keras3;
        let mut complain = |problem: IdgProblem| {
            if lenient { warnings.push(problem.to_string()) } else { problems.push(problem) }
        };
        if options.class_mode == Some(ClassMode::Binary) && classes.len() != 2 {
            complain(IdgProblem::NotBinary { classes: classes.len() });
        }
        let mut samples = Vec::new();
        let mut remarks = Vec::new();
        for (label, class) in (0_u32..).zip(&classes) {
            let folder = directory.join(class);
            if !folder.is_dir() {
                if is_path(class) {
                    continue;
                }
                complain(IdgProblem::NoClassFolder { class: class.clone(), path: folder });
                continue;
            }
            let files = images_below(&folder, class, options.follow_links, &mut complain);
            if files.is_empty() || class.starts_with('.') {
                let what = if files.is_empty() { "has no images" } else { "is hidden" };
                remarks.push(format!("folder `{class}` {what}, but is a class nevertheless, as in Keras"));
            }
            let part = options.batching.part(files.len(), self.options.validation_split);
            samples.extend(
                files[part].iter().map(|file| Sample::new(file.path.clone(), label, file.name.clone())),
            );
        }
        if samples.is_empty() {
            complain(IdgProblem::NoImages { path: directory.to_owned() });
        }
        fail_if_any(OF, problems)?;
        warnings.extend(remarks);
        Ok(self.directory_flow(samples, classes, warnings, options))
    }

    fn directory_flow(
        &self,
        samples: Vec<Sample>,
        classes: Vec<String>,
        warnings: Vec<String>,
        options: &DirectoryOptions,
    ) -> Flow {
        Flow {
            generator: self.clone(),
            targets: TargetSource::Classes(options.class_mode),
            labels: Labels::One(samples.iter().map(|sample| sample.label).collect()),
            classes,
            filenames: samples.iter().map(|sample| sample.rel.clone()).collect(),
            ids: samples.iter().map(|sample| sample.id).collect(),
            source: Source::Files {
                paths: samples.into_iter().map(|sample| sample.path).collect(),
                loading: options.files.loading(self.options.compat),
            },
            weights: None,
            misc: Vec::new(),
            batching: options.batching.clone(),
            warnings,
            pool: None,
            next: (0, 0),
            order: None,
        }
    }
}

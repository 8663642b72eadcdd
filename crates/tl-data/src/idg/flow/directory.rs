//! Batches of the images in one folder for each class: Keras's `flow_from_directory`.
//!
//! The one decision: classes, files and splits are Keras's to the last file, also where this crate's own
//! [`Dataset`](crate::Dataset) does otherwise, so that a split made by Keras is found again: every
//! folder is a class, even a hidden or an empty one (with a warning), and validation is the first part of each.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::listing::{File, images_below, subfolders};
use super::{Batching, ClassMode, FileOptions, Flow, Labels, Source, TargetSource};
use crate::folder::escaped;
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
    /// The folder, if it came with the arguments; then it has to be the one that is flowed from.
    pub directory: Option<PathBuf>,
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
            directory: None,
            classes: None,
            class_mode: Some(ClassMode::Categorical),
            follow_links: false,
        }
    }
}

impl DirectoryOptions {
    /// Reads Keras's keyword arguments of `flow_from_directory`.
    ///
    /// # Errors
    /// Names that are not arguments and values that cannot be used, together.
    pub fn from_args(args: Args) -> Result<Self, IdgError> {
        let mut r = Reader::new(args);
        let options = Self {
            batching: Batching::read(&mut r),
            files: FileOptions::read(&mut r),
            directory: r.optional_text("directory").map(PathBuf::from),
            classes: r.optional_texts("classes"),
            class_mode: r.optional_choice("class_mode", Some(ClassMode::Categorical)),
            follow_links: r.flag("follow_links", false),
        };
        r.finish(OF, options)
    }

    fn problems(&self, generator: &ImageDataGenerator, directory: &Path) -> Vec<IdgProblem> {
        let mut found = self.batching.problems(generator);
        found.extend(self.files.problems(generator));
        let mut refuse = |name, got, expected| found.push(IdgProblem::Value { name, got, expected });
        if let Some(other) = self.directory.as_ref().filter(|other| *other != directory) {
            let expected = format!("`{}`, which is flowed from", directory.display());
            refuse("directory", format!("`{}`", other.display()), expected);
        }
        if let Some(mode @ (ClassMode::Raw | ClassMode::MultiOutput)) = self.class_mode {
            let expected = "a mode for classes, `input` or null".to_owned();
            refuse("class_mode", format!("`{}`", mode.name()), expected);
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

/// What a directory holds.
#[derive(Default)]
struct Found {
    /// Each file of the part with its class and its place among all files.
    samples: Vec<(File, u32, u64)>,
    /// Files with those of the other part.
    files: usize,
    remarks: Vec<String>,
    /// What Keras lets pass.
    lenient: Vec<IdgProblem>,
}

impl Found {
    fn add_class(&mut self, label: u32, name: &str, folder: &Path, options: &DirectoryOptions, split: f64) {
        let listing = images_below(folder, name, options.follow_links);
        self.lenient.extend(listing.problems);
        let n = listing.files.len();
        if n == 0 || name.starts_with('.') {
            let what = if n == 0 { "has no images" } else { "is hidden" };
            self.remarks.push(format!("folder `{name}` {what}, but is a class nevertheless, as in Keras"));
        }
        for link in listing.again {
            self.remarks.push(format!(
                "`{link}` leads to a folder that is listed already, and is left out; Keras lists it once more"
            ));
        }
        let part = options.batching.part(n, split);
        if part.is_empty() && n > 0 {
            let subset = options.batching.part_name();
            self.remarks.push(format!(
                "class `{name}` has no images in the {subset} part: {n} of them, `validation_split` {split}"
            ));
        }
        let first = self.files;
        let files = listing.files.into_iter().enumerate().filter(|(at, _)| part.contains(at));
        self.samples.extend(files.map(|(at, file)| (file, label, (first + at) as u64)));
        self.files += n;
    }
}

impl ImageDataGenerator {
    /// Batches of the images in the folders of `directory`, as Keras's `flow_from_directory`. No image is
    /// opened before its batch.
    ///
    /// The flow's [`Flow::filenames`] are paths below `directory`, `/`-separated. A subset is cut off class by
    /// class from the sorted files. The random changes depend on the seed and on the place of a file among
    /// all, so two folders of the same structure, as images and masks, are changed alike.
    ///
    /// # Errors
    /// Folders that cannot be read, a class of `classes` without a folder, no images at all or none in the
    /// subset, `binary` with other than two classes, and arguments out of range; all together. With
    /// [`Compat::Keras3`] all but the first and the last are warnings, as Keras lets them pass, and so are
    /// folders below a class that cannot be read.
    pub fn flow_from_directory(
        &self,
        directory: &Path,
        options: &DirectoryOptions,
    ) -> Result<Flow, IdgError> {
        let mut problems = options.problems(self, directory);
        let folders: Vec<OsString> = match &options.classes {
            Some(classes) if !classes.is_empty() => classes.iter().map(OsString::from).collect(),
            _ => subfolders(directory, &mut problems),
        };
        let classes: Vec<String> = folders.iter().map(|folder| escaped(folder)).collect();
        let split = self.options.validation_split;
        let mut found = Found::default();
        if options.class_mode == Some(ClassMode::Binary) && classes.len() != 2 {
            found.lenient.push(IdgProblem::NotBinary { classes: classes.len() });
        }
        for (label, (folder, class)) in (0_u32..).zip(folders.iter().zip(&classes)) {
            if options.classes.is_some() && is_path(class) {
                continue;
            }
            let path = directory.join(folder);
            if path.is_dir() {
                found.add_class(label, class, &path, options, split);
            } else {
                found.lenient.push(IdgProblem::NoClassFolder { class: class.clone(), path });
            }
        }
        if found.files == 0 {
            found.lenient.push(IdgProblem::NoImages { path: directory.to_owned() });
        } else if found.samples.is_empty() {
            found.lenient.push(options.batching.empty_part(found.files, split));
        }
        problems.extend(options.files.too_many(&options.batching, found.samples.len()));
        let mut warnings = self.warnings();
        if self.options.compat == Compat::Keras3 {
            warnings.extend(found.lenient.iter().map(ToString::to_string));
        } else {
            problems.append(&mut found.lenient);
        }
        fail_if_any(OF, problems)?;
        warnings.append(&mut found.remarks);
        Ok(self.directory_flow(found.samples, classes, warnings, options))
    }

    fn directory_flow(
        &self,
        samples: Vec<(File, u32, u64)>,
        classes: Vec<String>,
        warnings: Vec<String>,
        options: &DirectoryOptions,
    ) -> Flow {
        let (mut paths, mut filenames) = (Vec::new(), Vec::new());
        let (mut labels, mut ids) = (Vec::new(), Vec::new());
        for (file, label, id) in samples {
            paths.push(file.path);
            filenames.push(file.name);
            labels.push(label);
            ids.push(id);
        }
        let loading = options.files.loading(self.options.compat);
        Flow {
            targets: TargetSource::Classes(options.class_mode),
            labels: Labels::One(labels),
            classes,
            filenames,
            warnings,
            ..Flow::new(self, Source::Files { paths, loading }, ids, &options.batching)
        }
    }
}

//! A dataset with one folder per class.
//!
//! ```text
//! DIR/train/<class>/*  DIR/val/<class>/*  [DIR/test/<class>/*]      split by the user
//! DIR/<class>/*                                                     split by us, stratified and seeded
//! ```
//!
//! The one decision: nothing depends on the order in which the file system lists a folder. Classes and files
//! are sorted by their bytes, a made split is a function of (seed, file name), and a sample's id of its path.

mod dataset;
mod fingerprint;
mod labelled;
mod list;
mod scan;

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::{DataError, FolderProblem, FolderProblems};
use crate::split::{Fractions, Part, stratified};
use scan::{Classes, Layout, Scan};

pub use dataset::Dataset;
pub use fingerprint::fingerprint;
pub use labelled::LabelledFolder;
pub use list::list_images;
pub(crate) use scan::{escaped, is_hidden, is_image};

/// File name extensions that count as images, in lower case: those of the formats that are decoded.
pub const EXTENSIONS: [&str; 17] = [
    "apng", "bmp", "dib", "gif", "jfif", "jpe", "jpeg", "jpg", "pam", "pbm", "pgm", "png", "pnm", "ppm",
    "tif", "tiff", "webp",
];

/// How many names [`Ignored::first`] holds at most.
pub const IGNORED_NAMES: usize = 10;

/// One labelled image file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Where the file is.
    pub path: PathBuf,
    /// The number of its class.
    pub label: u32,
    /// The first 64 bits of the sha256 of `rel`, little-endian: the same on every machine.
    pub id: u64,
    /// The path below the dataset's folder, `/`-separated. In names of files that were found, bytes that are not
    /// UTF-8 are written as `\xFF`, and a backslash as two.
    pub rel: String,
}

impl Sample {
    pub(crate) fn new(path: PathBuf, label: u32, rel: String) -> Self {
        let digest: [u8; 32] = Sha256::digest(rel.as_bytes()).into();
        let id = digest.iter().take(8).rev().fold(0, |id, &byte| id << 8 | u64::from(byte));
        Self { path, label, id, rel }
    }
}

/// Where the split into training and validation images comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SplitOrigin {
    /// From the folders `train` and `val`.
    Folders,
    /// Made here: of each class the same part, chosen by seed and file name.
    Made {
        /// The part of each class that validates, in 0..1.
        fraction: f64,
        /// The seed of the choice.
        seed: u64,
    },
}

/// Files that were passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ignored {
    /// Files among the images that are not images by their extension; a README or a list beside the class folders is
    /// not counted.
    pub files: usize,
    /// The first of them, as paths below the dataset's folder; up to [`IGNORED_NAMES`].
    pub first: Vec<String>,
    /// Hidden files and folders and those that operating systems leave behind, such as `Thumbs.db`.
    pub hidden: usize,
}

/// How to open an [`ImageFolder`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OpenOptions {
    /// The part of each class that validates when there is no validation folder, in 0..1.
    pub val_fraction: f64,
    /// The seed of that choice.
    pub seed: u64,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { val_fraction: 0.2, seed: 0 }
    }
}

/// A dataset with one folder per class.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageFolder {
    /// The folder as it was given.
    pub root: PathBuf,
    /// The names of the classes, sorted by their bytes; a label is a place in this list.
    pub classes: Vec<String>,
    /// Training images, sorted by class and path.
    pub train: Vec<Sample>,
    /// Validation images, sorted by class and path.
    pub val: Vec<Sample>,
    /// Test images, sorted by class and path; empty without a test folder.
    pub test: Vec<Sample>,
    /// Where the split comes from.
    pub split: SplitOrigin,
    /// Files that were passed over.
    pub ignored: Ignored,
    /// What a person should know, one line each.
    pub warnings: Vec<String>,
}

impl ImageFolder {
    /// Lists a dataset; no image is opened.
    ///
    /// Split folders may also be called `training`; `valid`, `validation`, `dev`; `testing`; in any case.
    /// Without a validation folder a part of the training images validates. Class folders may have folders
    /// inside.
    ///
    /// # Errors
    /// The folder is missing, unreadable, empty, has no images or a single class, a class of `train` has no
    /// images, or a class of `val` or `test` is not in `train`; all that is wrong is reported together.
    pub fn open(dir: &Path, options: &OpenOptions) -> Result<Self, DataError> {
        let OpenOptions { val_fraction: fraction, seed } = *options;
        if !(fraction > 0.0 && fraction < 1.0) {
            let expected = "between 0 and 1".to_owned();
            return Err(DataError::Option { option: "val_fraction", got: fraction.to_string(), expected });
        }
        let mut scan = Scan::default();
        let (read, known) = read_checked(dir, &mut scan, false)?;
        let mut warnings = scan.warnings;
        for (name, _, classes) in read.held_out() {
            warnings.extend(missing_classes(name, classes, &known));
        }
        let train = samples(read.train, &known);
        let test = read.test.map(|part| samples(part.1, &known)).unwrap_or_default();
        let (train, val, split) = match read.val {
            Some(part) => (train, samples(part.1, &known), SplitOrigin::Folders),
            None => {
                let (train, val) = divide(train, fraction, seed);
                (train, val, SplitOrigin::Made { fraction, seed })
            }
        };
        if let SplitOrigin::Made { .. } = split {
            warnings.extend(alone(&train, &val, &known));
        }
        Ok(Self {
            root: dir.to_owned(),
            classes: known,
            train,
            val,
            test,
            split,
            ignored: scan.ignored,
            warnings,
        })
    }
}

/// The class folders of each part of a dataset.
struct Parts {
    train: Classes,
    /// The folder and what is in it.
    val: Option<(PathBuf, Classes)>,
    test: Option<(PathBuf, Classes)>,
}

impl Parts {
    fn held_out(&self) -> impl Iterator<Item = (&'static str, &PathBuf, &Classes)> {
        let val = self.val.iter().map(|(path, classes)| ("validation", path, classes));
        val.chain(self.test.iter().map(|(path, classes)| ("test", path, classes)))
    }
}

/// The folders of a dataset and the names of its classes; all that is wrong is the error.
///
/// `lenient` takes what can be read: links to nothing, unreadable folders, and classes without images or of no
/// training image, become warnings.
fn read_checked(dir: &Path, scan: &mut Scan, lenient: bool) -> Result<(Parts, Vec<String>), DataError> {
    let read = read_parts(dir, scan);
    if lenient {
        let below = |problem: &FolderProblem| matches!(problem, FolderProblem::Unreadable { path, .. } if path != dir);
        scan.forgive(below);
    }
    let known: Vec<String> = read.train.keys().cloned().collect();
    if scan.problems.is_empty() {
        check_train(dir, &read, scan);
        for (_, path, classes) in read.held_out() {
            scan.problems.extend(unknown_classes(path, classes, &known));
            if classes.values().all(Vec::is_empty) {
                scan.problems.push(FolderProblem::NoImages { path: path.clone() });
            }
        }
    }
    if lenient {
        scan.forgive(|problem| {
            matches!(problem, FolderProblem::EmptyClass { .. } | FolderProblem::UnknownClass { .. })
        });
    }
    if scan.problems.is_empty() {
        return Ok((read, known));
    }
    let problems = FolderProblems(std::mem::take(&mut scan.problems));
    Err(DataError::Folder { path: dir.to_owned(), problems })
}

/// Takes a part of each class to validate on. Returns (train, val), each in the order given.
fn divide(samples: Vec<Sample>, val: f64, seed: u64) -> (Vec<Sample>, Vec<Sample>) {
    let names: Vec<&str> = samples.iter().map(|sample| sample.rel.as_str()).collect();
    let classes: Vec<u32> = samples.iter().map(|sample| sample.label).collect();
    let parts = stratified(&names, &classes, Fractions { val, test: 0.0 }, seed);
    let (mut train, mut held_out) = (Vec::new(), Vec::new());
    for (sample, part) in samples.into_iter().zip(parts) {
        if part == Part::Val { &mut held_out } else { &mut train }.push(sample);
    }
    (train, held_out)
}

fn read_parts(dir: &Path, scan: &mut Scan) -> Parts {
    match scan.layout(dir) {
        Some(Layout::Split { train, val, test }) => {
            let train = scan.classes(&dir.join(&train), &format!("{}/", scan::escaped(&train)));
            let mut read = |name: std::ffi::OsString| {
                let path = dir.join(&name);
                let classes = scan.classes(&path, &format!("{}/", scan::escaped(&name)));
                (path, classes)
            };
            Parts { train, val: val.map(&mut read), test: test.map(&mut read) }
        }
        Some(Layout::Flat) => Parts { train: scan.classes(dir, ""), val: None, test: None },
        None => Parts { train: Classes::new(), val: None, test: None },
    }
}

fn check_train(dir: &Path, parts: &Parts, scan: &mut Scan) {
    let classes = &parts.train;
    if classes.values().all(Vec::is_empty) {
        let path = dir.to_owned();
        scan.problems.push(if scan.loose > 0 {
            FolderProblem::NoClasses { path, images: scan.loose }
        } else if scan.entries == 0 {
            FolderProblem::Empty { path }
        } else {
            FolderProblem::NoImages { path }
        });
        return;
    }
    if let (1, Some(class)) = (classes.len(), classes.keys().next()) {
        let instead = scan.folder_of(class).and_then(|folder| scan::dataset_below(&folder));
        scan.problems.push(FolderProblem::OneClass { class: class.clone(), instead });
    }
    for (class, files) in classes {
        if files.is_empty() {
            let path = scan.folder_of(class).unwrap_or_else(|| dir.join(class));
            scan.problems.push(FolderProblem::EmptyClass { class: class.clone(), path });
        }
    }
}

/// One problem for each class that is not known.
fn unknown_classes(path: &Path, classes: &Classes, known: &[String]) -> Vec<FolderProblem> {
    let unknown = classes.keys().filter(|class| known.binary_search(class).is_err());
    let problem = |class: &String| FolderProblem::UnknownClass {
        class: class.clone(),
        path: path.to_owned(),
        known: known.to_vec(),
    };
    unknown.map(problem).collect()
}

/// A warning for the known classes without images in one part.
fn missing_classes(part: &str, classes: &Classes, known: &[String]) -> Option<String> {
    let missing = |class: &&String| classes.get(*class).is_none_or(Vec::is_empty);
    let names: Vec<String> = known.iter().filter(missing).map(|class| format!("`{class}`")).collect();
    (!names.is_empty()).then(|| format!("no {part} images of {}", names.join(", ")))
}

/// A warning for the classes that are too small to split.
fn alone(train: &[Sample], val: &[Sample], classes: &[String]) -> Option<String> {
    let in_val = |label: usize| val.iter().any(|sample| sample.label as usize == label);
    let in_train = |label: usize| train.iter().any(|sample| sample.label as usize == label);
    let names: Vec<String> = (0..classes.len())
        .filter(|&label| in_train(label) && !in_val(label))
        .map(|label| format!("`{}`", classes[label]))
        .collect();
    (!names.is_empty()).then(|| format!("no validation images of {} (a single image each)", names.join(", ")))
}

/// The images of each class, numbered by its place in `known`, which is sorted.
fn samples(classes: Classes, known: &[String]) -> Vec<Sample> {
    let mut samples = Vec::new();
    for (class, files) in classes {
        // A class that is not known was a problem before this.
        let Ok(label) = known.binary_search(&class) else { continue };
        samples.extend(files.into_iter().map(|file| Sample::new(file.path, label as u32, file.rel)));
    }
    samples
}

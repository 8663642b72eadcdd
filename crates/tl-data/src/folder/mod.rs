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
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::error::{DataError, FolderProblem, FolderProblems};
use scan::{Classes, Layout, Scan};

pub use dataset::Dataset;
pub(crate) use dataset::{Why, unreadable};
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
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Where the file is.
    pub path: PathBuf,
    /// The number of its class.
    pub label: u32,
    /// A row of targets in place of a class: 1 for each label the image has and 0 for the others, or its numbers;
    /// `label` is then 0.
    pub target: Option<Arc<[f32]>>,
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
        Self { path, label, target: None, id, rel }
    }
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

/// A path as text: bytes that are no UTF-8 as `\xFF`, so that no two paths become the same.
pub fn path_text(path: &Path) -> String {
    scan::escaped(path.as_os_str())
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

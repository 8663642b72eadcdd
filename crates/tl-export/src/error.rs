//! Why a model cannot leave.

use std::path::PathBuf;

use tl_backbones::BackboneError;
use tl_torch::TorchError;
use tl_train::TrainError;
use tl_weights::WeightsError;

/// An error of an export.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// There is something of that name.
    #[error("`{}` exists\n\nhint: give another name with --out, or say --force to replace it", .path.display())]
    Exists {
        /// The file or folder.
        path: PathBuf,
    },
    /// The system says no.
    #[error("failed to {action} `{}`: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// libtorch refused.
    #[error(transparent)]
    Torch(#[from] TorchError),
    /// The net has no such thing.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// The model is not one of images.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A tensor file could not be written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The recording does something else than the net.
    #[error(
        "the recorded net differs from the net itself by {difference:.1e} of its outputs; nothing was written\n\n\
         hint: this is a fault of the program; please report it with the command you ran"
    )]
    Differs {
        /// Root mean square of the difference by that of the outputs.
        difference: f64,
    },
    /// ONNX cannot say what the net does.
    #[error(
        "the net cannot be written as ONNX: operation `{op}` {reason}\n\nhint: --format torchscript takes every net"
    )]
    Onnx {
        /// libtorch's name of the operation.
        op: String,
        /// Why not.
        reason: String,
    },
    /// timm has no such net.
    #[error("the model cannot be written for timm: {reason}\n\nhint: {hint}")]
    Timm {
        /// Why not.
        reason: String,
        /// What would work.
        hint: &'static str,
    },
    /// transformers has no such net.
    #[error("the model cannot be written for transformers: {reason}\n\nhint: {hint}")]
    Transformers {
        /// Why not.
        reason: String,
        /// What would work.
        hint: &'static str,
    },
    /// A file of that format ends at 2 GiB.
    #[error(
        "the net is {bytes} bytes as ONNX, and such a file has 2147483647 at most\n\nhint: --format torchscript has no limit"
    )]
    OnnxSize {
        /// What it would have.
        bytes: usize,
    },
}

/// For `map_err`.
pub(crate) fn io(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> ExportError {
    let path = path.to_owned();
    move |source| ExportError::Io { action, path, source }
}

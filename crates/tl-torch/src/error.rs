//! What can go wrong at the seam, in words a person can read.
//!
//! libtorch's messages carry whole C++ stack traces and sometimes whole tensors; [`short`] keeps the sentence.

/// An error of the parameter store or of libtorch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TorchError {
    /// Two parameters of one net were given the same name; a fault of the net's definition.
    #[error("parameter `{name}` is defined twice")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A tensor was to be stored under a name the net does not have.
    #[error("the net has no parameter `{name}`")]
    Unknown {
        /// The name.
        name: String,
    },
    /// A tensor's shape is not the parameter's.
    #[error("parameter `{name}` has shape {expected:?}, the tensor given has {got:?}")]
    Shape {
        /// The parameter.
        name: String,
        /// Its shape.
        expected: Vec<i64>,
        /// The shape given.
        got: Vec<i64>,
    },
    /// There is no GPU, or nothing to use it with.
    #[error("{0}")]
    Gpu(String),
    /// libtorch refused.
    #[error("libtorch: {0}")]
    Torch(String),
}

impl From<tch::TchError> for TorchError {
    fn from(error: tch::TchError) -> Self {
        Self::Torch(short(&error.to_string()))
    }
}

/// The sentence of a libtorch message that says what is wrong, by default the first: no stack frames, no printed tensors, at
/// most 300 characters.
#[must_use]
pub fn short(message: &str) -> String {
    // A compiled net says where it failed, and only then what.
    let message = message.split_once("\nRuntimeError: ").map_or(message, |(_, reason)| reason);
    let line = message
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with("Exception raised from"))
        .unwrap_or("unknown error");
    let line = line.split(" (function ").next().unwrap_or(line);
    let mut text: String = line.chars().take(300).collect();
    if line.chars().count() > 300 {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_sentence_and_drops_the_trace() {
        let error = tch::Tensor::from_slice(&[1f32, 2.]).f_view([3]).unwrap_err();
        let text = short(&error.to_string());
        assert!(text.contains("invalid for input of size 2"), "{text}");
        assert!(!text.contains("frame #") && !text.contains('\n'), "{text}");
        let compiled = "The following operation failed in the TorchScript interpreter.\nTraceback of TorchScript (most \
                        recent call last):\nRuntimeError: dimensions are invalid\n\n";
        assert_eq!(short(compiled), "dimensions are invalid");
    }
}

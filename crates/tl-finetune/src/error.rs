//! What can be wrong with a schedule. A list and not the first fault, so that a schedule is repaired in one go.

use crate::part::PartError;

/// One thing wrong with a schedule.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// There are no phases.
    #[error("the schedule has no phases")]
    NoPhases,
    /// A phase has no name.
    #[error("phase {number}: it has no name; expected a few letters, such as `head`")]
    Unnamed {
        /// Which one, from 1.
        number: usize,
    },
    /// Two phases have one name.
    #[error("phase `{phase}`: the name is used twice")]
    DuplicatePhase {
        /// The phase.
        phase: String,
    },
    /// A phase trains nothing.
    #[error("phase `{phase}`: nothing trains; expected at least one part of the net or `head` in `train`")]
    EmptyPhase {
        /// The phase.
        phase: String,
    },
    /// A part has no other parameters than those of norms, which the phase keeps as they are.
    #[error(
        "phase `{phase}`: part `{part}` holds only batch-norms, which stay as they are; expected a part with a \
         convolution or linear layer in it, or `batch_norm` set to `train`"
    )]
    NormsOnly {
        /// The phase.
        phase: String,
        /// The part.
        part: String,
    },
    /// A part cannot be found in the net.
    #[error("phase `{phase}`: {error}")]
    Part {
        /// The phase.
        phase: String,
        /// What is wrong with the part, which it names.
        error: PartError,
    },
    /// A part is listed twice.
    #[error("phase `{phase}`: part `{part}` is listed twice")]
    DuplicatePart {
        /// The phase.
        phase: String,
        /// The part.
        part: String,
    },
    /// Layers have two rates.
    #[error("phase `{phase}`: parts `{first}` and `{second}` both cover layer `{layer}`{}", and_more(*.layers))]
    Overlap {
        /// The phase.
        phase: String,
        /// The part listed first.
        first: String,
        /// The other part.
        second: String,
        /// The first layer that both cover.
        layer: String,
        /// How many layers both cover.
        layers: usize,
    },
    /// A number is out of its range.
    #[error("phase `{phase}`: `{key}` is {got}, expected {expected}")]
    OutOfRange {
        /// The phase.
        phase: String,
        /// The key.
        key: String,
        /// The value given.
        got: f64,
        /// The range.
        expected: &'static str,
    },
    /// The head is one group.
    #[error("phase `{phase}`: part `head` has a `decay`, and there is no group below it in the head")]
    HeadDecay {
        /// The phase.
        phase: String,
    },
    /// Views are of augmented images.
    #[error(
        "phase `{phase}`: `views` is {views} and `augment` is false, so that all views of an image would be the same; \
         expected `augment` to be true, or no `views`"
    )]
    ViewsOfNothing {
        /// The phase.
        phase: String,
        /// How many.
        views: u32,
    },
    /// The head is new, so something must train it.
    #[error("no phase trains `head`, which is new and would stay random")]
    HeadNeverTrains,
}

/// Everything wrong with a schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanErrors(pub Vec<PlanError>);

impl std::error::Error for PlanErrors {}

impl std::fmt::Display for PlanErrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

fn and_more(layers: usize) -> String {
    match layers.saturating_sub(1) {
        0 => String::new(),
        more => format!(" and {more} more"),
    }
}

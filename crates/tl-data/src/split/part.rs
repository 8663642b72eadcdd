//! The three parts of a dataset and their names.
//!
//! The one decision: folders and tables are read with the same names for a part, in any case.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an image is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// To train on.
    Train,
    /// To choose by: when to stop, which weights to keep.
    Val,
    /// To report on, once.
    Test,
}

const TRAIN: &[&str] = &["train", "training"];
const VAL: &[&str] = &["dev", "val", "valid", "validation"];
const TEST: &[&str] = &["test", "testing"];

impl Part {
    /// All three, in their order.
    pub const ALL: [Self; 3] = [Self::Train, Self::Val, Self::Test];

    /// The part that `name` means, in any case: `train`, `training`; `val`, `valid`, `validation`, `dev`;
    /// `test`, `testing`; each also with `set` behind it, as in `test_set`, `test-set`, `test set` or `testset`.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let base = name.strip_suffix("set").map(|base| base.strip_suffix(['_', '-', ' ']).unwrap_or(base));
        let base = base.unwrap_or(&name);
        [(TRAIN, Self::Train), (VAL, Self::Val), (TEST, Self::Test)]
            .into_iter()
            .find(|(names, _)| names.contains(&base))
            .map(|(_, part)| part)
    }

    /// The name in files: `train`, `val` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
        }
    }

    /// The word in messages.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Train => "training",
            Self::Val => "validation",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_names() {
        for (name, part) in [
            ("Train", Some(Part::Train)),
            ("training_set", Some(Part::Train)),
            ("TrainSet", Some(Part::Train)),
            ("validation-set", Some(Part::Val)),
            ("dev set", Some(Part::Val)),
            ("TESTING", Some(Part::Test)),
            ("test_set", Some(Part::Test)),
            ("set", None),
            ("test__set", None),
            ("trainer", None),
        ] {
            assert_eq!(Part::from_name(name), part, "{name}");
        }
    }
}

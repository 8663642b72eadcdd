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

pub(crate) const TRAIN: &[&str] = &["train", "training"];
pub(crate) const VAL: &[&str] = &["dev", "val", "valid", "validation"];
pub(crate) const TEST: &[&str] = &["test", "testing"];

impl Part {
    /// All three, in their order.
    pub const ALL: [Self; 3] = [Self::Train, Self::Val, Self::Test];

    /// The part that `name` means, in any case: `train`, `training`; `val`, `valid`, `validation`, `dev`;
    /// `test`, `testing`.
    pub fn from_name(name: &str) -> Option<Self> {
        let is_one_of = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
        [(TRAIN, Self::Train), (VAL, Self::Val), (TEST, Self::Test)]
            .into_iter()
            .find(|(names, _)| is_one_of(names))
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

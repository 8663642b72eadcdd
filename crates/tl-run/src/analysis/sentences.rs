//! Sentences with the entities that are right and those that were said.
//!
//! The decision behind it: words are kept beside their entities, so that a page can be made of the analysis alone.

use serde::{Deserialize, Serialize};

use super::cases;

/// A sentence and its entities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sentence {
    /// Its name.
    pub file: String,
    /// The mean cross-entropy of its words.
    pub loss: f64,
    /// Its words.
    pub words: Vec<String>,
    /// Words that the model did not see, because the sentence was cut.
    #[serde(default)]
    pub unseen: usize,
    /// The entities that are right, in their order.
    pub right: Vec<Span>,
    /// Those that were said.
    pub said: Vec<Span>,
}

/// An entity in a sentence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// What it is.
    pub kind: String,
    /// Its first word, from 0.
    pub start: u32,
    /// The word behind its last.
    pub end: u32,
    /// The mean probability of its tags, of what was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f32>,
}

impl Sentence {
    /// The costliest, worst first, at most as many as there are of other cases.
    #[must_use]
    pub fn worst(mut sentences: Vec<Self>) -> Vec<Self> {
        sentences.sort_by(|a, b| b.loss.total_cmp(&a.loss).then_with(|| a.file.cmp(&b.file)));
        sentences.truncate(cases::MOST);
        sentences
    }
}

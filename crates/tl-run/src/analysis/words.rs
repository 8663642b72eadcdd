//! Words that cost most, where each word has a tag of its own.
//!
//! The decision behind it: all occurrences of a word count together, so that a word that is often a little wrong stands
//! above one that is once very wrong.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::MOST;

/// What was said of one word in one place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WordAnswer<'a> {
    /// The word.
    pub word: &'a str,
    /// Its tag.
    pub tag: &'a str,
    /// The tag that was said.
    pub predicted: &'a str,
    /// Its cross-entropy.
    pub loss: f64,
}

/// A word, and how its tags fare.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CostlyWord {
    /// The word.
    pub word: String,
    /// How often it is there.
    pub there: usize,
    /// How often its tag is wrong.
    pub wrong: usize,
    /// The cross-entropy of all its occurrences together.
    pub loss: f64,
    /// The mistake that is made most often with it: the tag, and what was said. Of equally frequent ones the first by name.
    pub tag: String,
    /// See `tag`.
    pub predicted: String,
}

impl CostlyWord {
    /// Those that cost most, worst first; words without a mistake are left out.
    #[must_use]
    pub fn worst<'a>(answers: impl Iterator<Item = WordAnswer<'a>>) -> Vec<Self> {
        #[derive(Default)]
        struct Sum<'a> {
            there: usize,
            loss: f64,
            mistakes: BTreeMap<(&'a str, &'a str), usize>,
        }
        let mut words: BTreeMap<&str, Sum<'_>> = BTreeMap::new();
        for WordAnswer { word, tag, predicted, loss } in answers {
            let sum = words.entry(word).or_default();
            sum.there += 1;
            sum.loss += loss;
            if tag != predicted {
                *sum.mistakes.entry((tag, predicted)).or_default() += 1;
            }
        }
        let word = |(word, sum): (&str, Sum<'_>)| {
            let most = sum.mistakes.iter().max_by_key(|(tags, n)| (**n, std::cmp::Reverse(**tags)));
            let ((tag, predicted), _) = most?;
            Some(Self {
                word: word.to_owned(),
                there: sum.there,
                wrong: sum.mistakes.values().sum(),
                loss: sum.loss,
                tag: (*tag).to_owned(),
                predicted: (*predicted).to_owned(),
            })
        };
        let mut words: Vec<Self> = words.into_iter().filter_map(word).collect();
        words.sort_by(|a, b| b.loss.total_cmp(&a.loss).then_with(|| a.word.cmp(&b.word)));
        words.truncate(MOST);
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn occurrences_count_together() {
        let answer = |word, tag, predicted, loss| WordAnswer { word, tag, predicted, loss };
        let answers = [
            answer("run", "VERB", "NOUN", 2.0),
            answer("the", "DET", "DET", 9.0),
            answer("that", "DET", "SCONJ", 1.5),
            answer("that", "PRON", "SCONJ", 1.5),
            answer("that", "PRON", "PRON", 0.5),
        ];
        let words = CostlyWord::worst(answers.into_iter());
        let said: Vec<_> =
            words.iter().map(|word| (word.word.as_str(), word.there, word.wrong, word.loss)).collect();
        assert_eq!(said, [("that", 3, 2, 3.5), ("run", 1, 1, 2.0)]);
        assert_eq!((words[0].tag.as_str(), words[0].predicted.as_str()), ("DET", "SCONJ"));
    }
}

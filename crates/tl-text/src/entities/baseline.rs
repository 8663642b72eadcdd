//! What a model that knows no context says: for each word its most frequent tag.
//!
//! The one decision: of equally frequent tags the first of the set is taken, so that nothing depends on the order of the
//! sentences. A word that was not seen is outside of entities, or where tags mark none, what most words are.

use std::collections::BTreeMap;

use super::{TagSet, Tagged};

/// The most frequent tag of each word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MostFrequent {
    of_word: BTreeMap<String, u32>,
    of_others: u32,
}

impl MostFrequent {
    /// Counts the tags of words.
    pub fn fit<'a>(set: &TagSet, sentences: impl Iterator<Item = &'a Tagged>) -> Self {
        let mut counts: BTreeMap<&str, BTreeMap<u32, u32>> = BTreeMap::new();
        let mut all = BTreeMap::new();
        for sentence in sentences {
            for (word, tag) in sentence.words.iter().zip(&sentence.tags) {
                *counts.entry(word).or_default().entry(*tag).or_default() += 1;
                *all.entry(*tag).or_default() += 1;
            }
        }
        let most = |tags: BTreeMap<u32, u32>| {
            let best = tags.into_iter().max_by_key(|(tag, count)| (*count, std::cmp::Reverse(*tag)));
            best.map_or(0, |(tag, _)| tag)
        };
        let of_others = if set.marks_entities() { 0 } else { most(all) };
        Self {
            of_others,
            of_word: counts.into_iter().map(|(word, tags)| (word.to_owned(), most(tags))).collect(),
        }
    }

    /// The tags of words.
    pub fn tags(&self, words: &[String]) -> Vec<u32> {
        words.iter().map(|word| self.of_word.get(word).copied().unwrap_or(self.of_others)).collect()
    }

    /// How many words it has seen.
    pub fn words(&self) -> usize {
        self.of_word.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_tag_and_of_equals_the_first() {
        let sentence = |words: &str, tags: &[u32]| Tagged {
            words: words.split(' ').map(str::to_owned).collect(),
            tags: tags.to_vec(),
        };
        let sentences =
            [sentence("May said may", &[1, 0, 0]), sentence("in May", &[0, 3]), sentence("May", &[3])];
        let set = TagSet::iob2(["A", "B"]);
        let model = MostFrequent::fit(&set, sentences.iter());
        assert_eq!(model.tags(&sentence("May may in June", &[]).words), [3, 0, 0, 0]);
        assert_eq!(MostFrequent::fit(&set, sentences[..2].iter()).tags(&["May".to_owned()]), [1]);
        assert_eq!(model.words(), 4);
        let plain = MostFrequent::fit(&TagSet::plain(["a", "b", "c", "d"]), sentences[1..].iter());
        assert_eq!(plain.tags(&["in", "June"].map(str::to_owned)), [0, 3]);
    }
}

//! The words of tagged texts: what a head of tags is asked about.
//!
//! The one decision: a word is answered by its first token, as is usual since BERT (arXiv:1810.04805); its other tokens,
//! and the special ones, have no answer and no loss. So a batch of texts becomes one of words before the head, and loss and
//! answers are those of any choice between classes.

use tch::{Kind, Tensor};
use tl_text::entities::{EntityScores, TagSet};
use tl_text::tokens::Encoded;

/// The words of some texts that have tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Words {
    /// Of each text the words that have tokens, and the first token of each.
    firsts: Vec<Vec<(u32, u32)>>,
}

impl Words {
    /// Of the texts at these places.
    pub(crate) fn of(encoded: &Encoded, places: &[u32]) -> Self {
        Self { firsts: places.iter().map(|&place| encoded.texts[place as usize].firsts()).collect() }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.firsts.iter().map(Vec::len).sum()
    }

    /// The features of the words, text by text.
    ///
    /// # Shapes
    /// `[N, T, D]` to `[words, D]`.
    pub(crate) fn pick(&self, tokens: &Tensor) -> Tensor {
        let size = tokens.size();
        let (width, channels) = (size[1], size[2]);
        let of_text = |(text, firsts): (i64, &Vec<(u32, u32)>)| {
            firsts.iter().map(move |(_, token)| text * width + i64::from(*token)).collect::<Vec<_>>()
        };
        let places: Vec<i64> = (0..).zip(&self.firsts).flat_map(of_text).collect();
        let places = Tensor::from_slice(&places).to_kind(Kind::Int64).to_device(tokens.device());
        tokens.reshape([-1, channels]).index_select(0, &places)
    }

    /// The tags of those words, of the tags of all words of the texts.
    pub(crate) fn tags(&self, tags: &[Vec<u32>]) -> Vec<i64> {
        let of_text = |(firsts, tags): (&Vec<(u32, u32)>, &Vec<u32>)| {
            let tag = |(word, _): &(u32, u32)| tags.get(*word as usize).copied().map_or(0, i64::from);
            firsts.iter().map(tag).collect::<Vec<_>>()
        };
        self.firsts.iter().zip(tags).flat_map(of_text).collect()
    }

    /// What stands for a text, for each of its words.
    pub(crate) fn repeat(&self, of_texts: &[f32]) -> Vec<f32> {
        let texts = self.firsts.iter().zip(of_texts);
        texts.flat_map(|(firsts, value)| std::iter::repeat_n(*value, firsts.len())).collect()
    }

    /// The answers for words, put together by text: `words * tags` values, which are 0 for words without tokens. `lengths` has
    /// the number of words of each text; without it they end with the last that has a token.
    pub(crate) fn by_text(&self, rows: Vec<Vec<f32>>, lengths: Option<&[usize]>) -> Vec<Vec<f32>> {
        let width = rows.first().map_or(0, Vec::len);
        let mut rows = rows.into_iter();
        let text = |(place, firsts): (usize, &Vec<(u32, u32)>)| {
            let seen = firsts.last().map_or(0, |(word, _)| *word as usize + 1);
            let words = lengths.and_then(|lengths| lengths.get(place)).copied().unwrap_or(seen).max(seen);
            let mut values = vec![0.0; words * width];
            for (word, _) in firsts {
                if let Some(row) = rows.next() {
                    values[*word as usize * width..][..width].copy_from_slice(&row);
                }
            }
            values
        };
        self.firsts.iter().enumerate().map(text).collect()
    }
}

/// The likeliest tag of each word, of the answers for a text; of a word without tokens [`TagSet::unsaid`].
#[must_use]
pub fn likeliest_tags(row: &[f32], set: &TagSet) -> Vec<u32> {
    let likeliest = |word: &[f32]| match word.iter().any(|p| *p > 0.0) {
        true => crate::evaluate::highest(word),
        false => set.unsaid(),
    };
    row.chunks(set.names().len().max(1)).map(likeliest).collect()
}

/// What the answers for texts amount to.
pub(crate) fn entity_scores(names: &[String], tags: &[Vec<u32>], rows: &[Vec<f32>]) -> Option<EntityScores> {
    let set = TagSet::of(names).ok()?;
    let said: Vec<Vec<u32>> = rows.iter().map(|row| likeliest_tags(row, &set)).collect();
    Some(EntityScores::new(&set, tags.iter().map(Vec::as_slice).zip(said.iter().map(Vec::as_slice))))
}

#[cfg(test)]
mod tests {
    use tch::Device;
    use tl_text::entities::UNSAID;
    use tl_text::tokens::Tokens;

    use super::*;

    #[test]
    fn words_are_answered_by_their_first_tokens() {
        // Two words of two pieces and one, the second text with its second word cut off.
        let tokens = |words: &[i64]| Tokens {
            ids: vec![0; words.len()],
            types: vec![0; words.len()],
            words: words.iter().map(|word| u32::try_from(*word).ok()).collect(),
            cut: false,
        };
        let texts = vec![tokens(&[-1, 0, 0, 2, -1]), tokens(&[-1, 0, -1])];
        let words = Words::of(&Encoded { texts, pad: 0 }, &[0, 1]);
        assert_eq!(words.len(), 3);
        let xs = Tensor::arange(2 * 5 * 2, (Kind::Float, Device::Cpu)).view([2, 5, 2]);
        let picked = Vec::<f32>::try_from(words.pick(&xs).view([-1])).unwrap();
        assert_eq!(picked, [2.0, 3.0, 6.0, 7.0, 12.0, 13.0]);
        let tags = [vec![1, 2, 0], vec![2, 1]];
        assert_eq!(words.tags(&tags), [1, 0, 2]);
        assert_eq!(words.repeat(&[0.5, 2.0]), [0.5, 0.5, 2.0]);
        let rows = vec![vec![0.1, 0.7, 0.2], vec![0.8, 0.1, 0.1], vec![0.0, 0.0, 1.0]];
        let by_text = words.by_text(rows, Some(&[3, 2]));
        assert_eq!(by_text[0], [0.1, 0.7, 0.2, 0.0, 0.0, 0.0, 0.8, 0.1, 0.1]);
        let names = ["O", "B-A", "B-C"].map(str::to_owned);
        assert_eq!(likeliest_tags(&by_text[1], &TagSet::of(&names).unwrap()), [2, 0]);
        let scores = entity_scores(&names, &tags, &by_text).unwrap();
        // What was cut off counts as `O`, so its entity is missed.
        assert_eq!((scores.words, scores.right, scores.all().there, scores.all().right), (5, 3, 4, 2));
        // Where tags mark no entities, what was cut off is wrong, whichever tag is right.
        let names = ["DET", "NOUN", "VERB"].map(str::to_owned);
        assert_eq!(likeliest_tags(&by_text[1], &TagSet::of(&names).unwrap()), [2, UNSAID]);
        let scores = entity_scores(&names, &[tags[0].clone(), vec![2, 0]], &by_text).unwrap();
        assert_eq!((scores.words, scores.right, scores.all().there, scores.all().said), (5, 3, 5, 3));
    }
}

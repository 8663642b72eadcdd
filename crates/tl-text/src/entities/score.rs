//! What said tags amount to: precision, recall and F1 of entities.
//!
//! The one decision: counts are kept, and every figure is made of them, so that figures of all kinds together and of one
//! kind cannot disagree. An entity is right if kind, first and last word are.

use super::{Entity, TagSet};

/// Entities of one kind, or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KindCounts {
    /// How many there are.
    pub there: usize,
    /// How many were said.
    pub said: usize,
    /// How many of those are right.
    pub right: usize,
}

impl KindCounts {
    /// The share of what was said that is right, `0..=1`; 0 where nothing was said, as in seqeval.
    pub fn precision(self) -> f64 {
        share(self.right, self.said)
    }

    /// The share of what is there that was said, `0..=1`; 0 where nothing is there.
    pub fn recall(self) -> f64 {
        share(self.right, self.there)
    }

    /// The harmonic mean of both, `0..=1`.
    pub fn f1(self) -> f64 {
        share(2 * self.right, self.said + self.there)
    }

    fn add(&mut self, other: Self) {
        self.there += other.there;
        self.said += other.said;
        self.right += other.right;
    }
}

fn share(part: usize, of: usize) -> f64 {
    if of == 0 { 0.0 } else { part as f64 / of as f64 }
}

/// What the tags of some sentences amount to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityScores {
    /// Words in all.
    pub words: usize,
    /// Words whose tag is right.
    pub right: usize,
    /// The entities of each kind, in the order of [`TagSet::kinds`], as `conlleval` counts them.
    pub kinds: Vec<KindCounts>,
    /// The entities of all kinds as seqeval's strict mode counts them.
    pub strict: KindCounts,
    /// `confusion[tag][said]`, words; those of which nothing was said are in none.
    pub confusion: Vec<Vec<u32>>,
}

impl EntityScores {
    /// Of sentences: the tags that are right, and those that were said. Where fewer were said than there are, the rest
    /// counts as [`TagSet::unsaid`].
    pub fn new<'a>(set: &TagSet, sentences: impl Iterator<Item = (&'a [u32], &'a [u32])>) -> Self {
        let tags = set.names().len();
        let mut scores = Self {
            words: 0,
            right: 0,
            kinds: vec![KindCounts::default(); set.kinds().len()],
            strict: KindCounts::default(),
            confusion: vec![vec![0; tags]; tags],
        };
        for (right, said) in sentences {
            for (at, tag) in right.iter().enumerate() {
                let said = said.get(at).copied().unwrap_or(set.unsaid());
                scores.words += 1;
                scores.right += usize::from(*tag == said);
                let cell = scores.confusion.get_mut(*tag as usize).and_then(|row| row.get_mut(said as usize));
                cell.into_iter().for_each(|count| *count += 1);
            }
            scores.count(&set.entities(right), &set.entities(said));
            let (there, said) = (set.strict(right), set.strict(said));
            let right = said.iter().filter(|entity| there.contains(entity)).count();
            scores.strict.add(KindCounts { there: there.len(), said: said.len(), right });
        }
        scores
    }

    fn count(&mut self, there: &[Entity], said: &[Entity]) {
        let mut kind = |entity: &Entity, counts: KindCounts| {
            if let Some(of_kind) = self.kinds.get_mut(entity.kind as usize) {
                of_kind.add(counts);
            }
        };
        for entity in there {
            kind(entity, KindCounts { there: 1, ..KindCounts::default() });
        }
        for entity in said {
            kind(entity, KindCounts { there: 0, said: 1, right: usize::from(there.contains(entity)) });
        }
    }

    /// Entities of all kinds together.
    pub fn all(&self) -> KindCounts {
        let mut all = KindCounts::default();
        self.kinds.iter().for_each(|kind| all.add(*kind));
        all
    }

    /// The mean over the tags that are there of the share of their words that is right, `0..=1`.
    pub fn balanced_accuracy(&self) -> f64 {
        let rows = self.confusion.iter().enumerate();
        let rows = rows.map(|(tag, row)| (row[tag] as usize, row.iter().sum::<u32>() as usize));
        let shares: Vec<f64> = rows.filter(|(_, of)| *of > 0).map(|(right, of)| share(right, of)).collect();
        shares.iter().sum::<f64>() / shares.len().max(1) as f64
    }

    /// The mean of F1 over the kinds that are there or were said, `0..=1`: scikit-learn's macro F1.
    pub fn macro_f1(&self) -> f64 {
        let met = self.kinds.iter().filter(|kind| kind.there + kind.said > 0);
        let values: Vec<f64> = met.map(|kind| kind.f1()).collect();
        values.iter().sum::<f64>() / values.len().max(1) as f64
    }

    /// The share of words whose tag is right, `0..=1`.
    pub fn word_accuracy(&self) -> f64 {
        share(self.right, self.words)
    }
}

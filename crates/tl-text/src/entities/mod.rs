//! Words with tags, and the entities that tags mark.
//!
//! The one decision: whichever way a file marks entities, they are learned and measured as IOB2 (`B-PER`, `I-PER`, `O`).
//! Entities are read from tags as `conlleval` and seqeval's default mode do, so that an answer that begins with `I-` is
//! an entity and not lost; what seqeval's strict mode would say is counted beside it. Tags that mark no entities, as parts
//! of speech, are kept as they are: each word is then a unit of its own, and all that is counted of entities holds for it.

mod baseline;
pub(crate) mod scheme;
mod score;
mod words;

pub use baseline::MostFrequent;
pub use scheme::{Scheme, UnknownTag};
pub use score::{EntityScores, KindCounts};
pub use words::{Word, join, split_words};

use std::collections::BTreeSet;

/// What stands outside of entities.
pub const OUTSIDE: &str = "O";

/// What is said of a word without an answer, where no tag means that.
pub const UNSAID: u32 = u32::MAX;

/// The words of a sentence, each with its tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tagged {
    /// The words, in their order.
    pub words: Vec<String>,
    /// The tag of each, by its place in [`TagSet::names`].
    pub tags: Vec<u32>,
}

/// A run of words that is an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entity {
    /// Its kind, by its place in [`TagSet::kinds`].
    pub kind: u32,
    /// Its first word.
    pub start: u32,
    /// The word behind its last.
    pub end: u32,
}

/// A tag, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    /// `B`, `I`, `E`, `S` or `O`.
    prefix: u8,
    /// Nothing of `O`.
    kind: Option<u32>,
}

/// The tags that words can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagSet {
    names: Vec<String>,
    kinds: Vec<String>,
    parts: Vec<Part>,
    /// Whether words are marked as parts of entities, and not each for itself.
    marks: bool,
}

impl TagSet {
    /// The IOB2 tags of some kinds of entities: `O`, then `B-` and `I-` of each, in the order of their bytes.
    pub fn iob2<'a>(kinds: impl IntoIterator<Item = &'a str>) -> Self {
        let kinds: BTreeSet<&str> = kinds.into_iter().collect();
        let of_kind = |kind: &&str| [format!("B-{kind}"), format!("I-{kind}")];
        let names = std::iter::once(OUTSIDE.to_owned()).chain(kinds.iter().flat_map(of_kind)).collect();
        let part = |prefix: u8| move |kind: usize| Part { prefix, kind: Some(kind as u32) };
        let pairs = (0..kinds.len()).flat_map(|kind| [part(b'B')(kind), part(b'I')(kind)]);
        let parts = std::iter::once(Part { prefix: b'O', kind: None }).chain(pairs).collect();
        Self { names, kinds: kinds.into_iter().map(str::to_owned).collect(), parts, marks: true }
    }

    /// Tags that mark no entities, in the order of their bytes: each is a kind of words.
    pub fn plain<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let names: BTreeSet<&str> = names.into_iter().collect();
        Self::of_words(names.into_iter().map(str::to_owned).collect())
    }

    fn of_words(names: Vec<String>) -> Self {
        let parts = (0..names.len() as u32).map(|kind| Part { prefix: b'S', kind: Some(kind) }).collect();
        Self { kinds: names.clone(), names, parts, marks: false }
    }

    /// Any tags with the prefixes B, I, E and S, in the order of a list; or tags that mark no entities, of which none is
    /// `O` and none has a prefix.
    ///
    /// # Errors
    /// The first that is no tag.
    pub fn of(names: &[String]) -> Result<Self, UnknownTag> {
        if scheme::is_plain(names.iter()) {
            return Ok(Self::of_words(names.to_vec()));
        }
        let read: Vec<(u8, &str)> =
            names.iter().map(|name| scheme::read(name)).collect::<Result<_, UnknownTag>>()?;
        let kinds: BTreeSet<&str> =
            read.iter().filter(|(prefix, _)| *prefix != b'O').map(|(_, kind)| *kind).collect();
        let kinds: Vec<String> = kinds.into_iter().map(str::to_owned).collect();
        let place = |kind: &str| kinds.iter().position(|known| known == kind).map(|place| place as u32);
        let part = |(prefix, kind): &(u8, &str)| Part {
            prefix: scheme::plain(*prefix),
            kind: if *prefix == b'O' { None } else { place(kind) },
        };
        let parts = read.iter().map(part).collect();
        Ok(Self { names: names.to_vec(), kinds, parts, marks: true })
    }

    /// Whether the tags mark entities. If not, [`TagSet::kinds`] are the tags themselves, and every word is an
    /// [`Entity`] of its own.
    pub fn marks_entities(&self) -> bool {
        self.marks
    }

    /// What a word counts as that has no answer: as outside of entities, or as [`UNSAID`].
    pub fn unsaid(&self) -> u32 {
        if self.marks { 0 } else { UNSAID }
    }

    /// The tags, in the order of their numbers.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The kinds of entities, sorted by their bytes.
    pub fn kinds(&self) -> &[String] {
        &self.kinds
    }

    /// The number of a tag.
    pub fn number(&self, name: &str) -> Option<u32> {
        self.names.iter().position(|known| known == name).map(|place| place as u32)
    }

    /// The kind of entity that a tag is of; none of `O`.
    pub fn kind_of(&self, tag: u32) -> Option<&str> {
        let kind = self.parts.get(tag as usize)?.kind?;
        self.kinds.get(kind as usize).map(String::as_str)
    }

    fn part(&self, tag: u32) -> Part {
        self.parts.get(tag as usize).copied().unwrap_or(Part { prefix: b'O', kind: None })
    }

    /// The entities in the tags of a sentence, as `conlleval` reads them: one begins at `B` or `S`, and also where a tag of
    /// a kind follows one of another kind or `O`.
    pub fn entities(&self, tags: &[u32]) -> Vec<Entity> {
        let parts = tags.iter().map(|tag| self.part(*tag)).chain([Part { prefix: b'O', kind: None }]);
        let (mut found, mut start) = (Vec::new(), 0);
        let mut before = Part { prefix: b'O', kind: None };
        for (at, part) in (0..).zip(parts) {
            if let Some(kind) = before.kind.filter(|_| ends(before, part)) {
                found.push(Entity { kind, start, end: at });
            }
            if begins(before, part) {
                start = at;
            }
            before = part;
        }
        found
    }

    /// The entities in IOB2 tags, as seqeval's strict mode reads them: one begins at `B` and nowhere else, and goes on with
    /// `I` of its kind.
    pub fn strict(&self, tags: &[u32]) -> Vec<Entity> {
        let mut found: Vec<Entity> = Vec::new();
        for (at, tag) in (0..).zip(tags) {
            let part = self.part(*tag);
            match (part.prefix, part.kind, found.last_mut()) {
                (b'B' | b'S', Some(kind), _) if part.prefix == b'B' || !self.marks => {
                    found.push(Entity { kind, start: at, end: at + 1 })
                }
                (b'I', Some(kind), Some(last)) if last.kind == kind && last.end == at => last.end += 1,
                _ => {}
            }
        }
        found
    }
}

/// Whether an entity ends between two tags.
fn ends(before: Part, part: Part) -> bool {
    match (before.prefix, part.prefix) {
        (b'O', _) => false,
        (b'E' | b'S', _) | (b'B' | b'I', b'B' | b'S' | b'O') => true,
        _ => before.kind != part.kind,
    }
}

/// Whether an entity begins at the second of two tags.
fn begins(before: Part, part: Part) -> bool {
    match (before.prefix, part.prefix) {
        (_, b'O') => false,
        (_, b'B' | b'S') | (b'E' | b'S' | b'O', b'E' | b'I') => true,
        _ => before.kind != part.kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_entities_begin_with_b() {
        let tags = TagSet::iob2(["PER", "LOC"]);
        assert_eq!(tags.names(), ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]);
        let entity = |kind, start, end| Entity { kind, start, end };
        let sentence = [4, 4, 0, 3, 4, 2, 1, 1, 2];
        assert_eq!(
            tags.entities(&sentence),
            [entity(1, 0, 2), entity(1, 3, 5), entity(0, 5, 6), entity(0, 6, 7), entity(0, 7, 9)]
        );
        assert_eq!(tags.strict(&sentence), [entity(1, 3, 5), entity(0, 6, 7), entity(0, 7, 9)]);
    }

    #[test]
    fn tags_without_entities_are_units_of_a_word() {
        let set = |names: &str| TagSet::of(&names.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let tags = set("NOUN VERB -LRB- .").unwrap();
        assert!(!tags.marks_entities() && tags.kinds() == tags.names() && tags.unsaid() == UNSAID);
        let entity = |kind, start| Entity { kind, start, end: start + 1 };
        let expected = [entity(1, 0), entity(1, 1), entity(3, 3)];
        assert_eq!(tags.entities(&[1, 1, UNSAID, 3]), expected);
        assert_eq!(tags.strict(&[1, 1, UNSAID, 3]), expected);
        assert_eq!(TagSet::plain(["VERB", "NOUN", "VERB"]).names(), ["NOUN", "VERB"]);
        // One tag that marks an entity, and all do; so do the bare prefixes.
        for names in ["O", "O B-X", "B-X I-X", "B M E S"] {
            assert!(set(names).unwrap().marks_entities(), "{names}");
        }
        assert_eq!(set("NOUN B-X").unwrap_err().tag, "NOUN");
        assert_eq!(set("O NOUN").unwrap_err().tag, "NOUN");
    }
}

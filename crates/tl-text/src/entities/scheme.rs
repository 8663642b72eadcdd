//! The ways of marking entities, told from the tags of a file.
//!
//! The one decision: the first way that explains every tag is taken. Tags that none explains are read as `conlleval`
//! reads them, and how many are out of place is said.

use std::fmt;

use thiserror::Error;

use super::{OUTSIDE, TagSet};

/// How the tags of a file mark entities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Every entity begins with `B-`.
    Iob2,
    /// `B-` stands only where an entity directly follows another of its kind.
    Iob1,
    /// The last word has `E-`, and an entity of one word `S-`; or `L-` and `U-`.
    Iobes,
    /// Tags are kinds alone, and neighbours of the same kind are one entity.
    Io,
    /// Tags mark no entities: each says what its word is, as parts of speech do.
    Words,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Iob2 => "IOB2",
            Self::Iob1 => "IOB1",
            Self::Iobes => "IOBES",
            Self::Io => "IO",
            Self::Words => "of single words",
        })
    }
}

/// What is not a tag.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{tag}` is no tag (expected `O`, or one of `B`, `I`, `E`, `S`, a dash and a kind, such as `B-PER`)")]
pub struct UnknownTag {
    /// As it was written.
    pub tag: String,
}

/// What a tag without a kind is an entity of.
const ANY: &str = "entity";

/// The prefix and the kind of a tag; nothing of `O`.
pub(super) fn read(tag: &str) -> Result<(u8, &str), UnknownTag> {
    let unknown = || UnknownTag { tag: tag.to_owned() };
    if tag == OUTSIDE {
        return Ok((b'O', ""));
    }
    let (prefix, kind) = match tag.split_once('-') {
        Some((prefix, kind)) => (prefix, kind),
        None => (tag, ANY),
    };
    match (prefix.as_bytes(), kind.is_empty()) {
        ([prefix], false) if b"BIESLUM".contains(prefix) => Ok((*prefix, kind)),
        _ => Err(unknown()),
    }
}

/// Whether a cell can be a tag.
pub(crate) fn is_tag(cell: &str) -> bool {
    read(cell).is_ok()
}

/// Whether tags mark no entities: none is `O`, none has a prefix and a kind, and they are neither all prefixes alone nor all
/// numbers, of which nobody knows what they mean.
pub(crate) fn is_plain<'a>(tags: impl Iterator<Item = &'a String> + Clone) -> bool {
    let marks = |tag: &str| tag == OUTSIDE || (tag.contains('-') && is_tag(tag));
    let other = |tag: &str| !is_tag(tag) && tag.parse::<u64>().is_err();
    !tags.clone().any(|tag| marks(tag)) && tags.clone().any(|tag| other(tag))
}

/// `L` is another word for `E`, `U` for `S`, and `M` for `I`.
pub(super) fn plain(prefix: u8) -> u8 {
    match prefix {
        b'L' => b'E',
        b'U' => b'S',
        b'M' => b'I',
        other => other,
    }
}

/// What was found in the tags of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) scheme: Scheme,
    /// Tags that the scheme does not allow where they stand.
    pub(crate) odd: usize,
}

/// The scheme of sentences; `None` where there are tags that are none, which the errors of [`TagSet::of`] name.
pub(crate) fn find<'a>(sentences: impl Iterator<Item = &'a [String]> + Clone) -> Option<Found> {
    let tags = || sentences.clone().flatten();
    if is_plain(tags()) {
        return Some(Found { scheme: Scheme::Words, odd: 0 });
    }
    if !tags().all(|tag| is_tag(tag)) {
        let plain = |tag: &String| tag == OUTSIDE || !tag.contains('-');
        let io = tags().all(plain) && tags().any(|tag| tag == OUTSIDE);
        return io.then_some(Found { scheme: Scheme::Io, odd: 0 });
    }
    let prefixes = |of: &[u8]| tags().any(|tag| of.contains(&tag.as_bytes()[0]));
    if prefixes(b"ESLU") {
        return Some(Found { scheme: Scheme::Iobes, odd: count(sentences, odd_in_iobes) });
    }
    let two = count(sentences.clone(), odd_in_iob2);
    let one = count(sentences, odd_in_iob1);
    Some(match (two, one) {
        (0, _) => Found { scheme: Scheme::Iob2, odd: 0 },
        (_, 0) => Found { scheme: Scheme::Iob1, odd: 0 },
        (odd, _) => Found { scheme: Scheme::Iob2, odd },
    })
}

type Read<'a> = (u8, &'a str);

/// How many neighbours of all sentences are odd; before and behind a sentence stands `O`.
fn count<'a>(sentences: impl Iterator<Item = &'a [String]>, odd: fn(Read<'_>, Read<'_>) -> bool) -> usize {
    let outside = (b'O', "");
    let read = |tag: &'a String| read(tag).map_or(outside, |(prefix, kind)| (plain(prefix), kind));
    let in_sentence = |tags: &'a [String]| {
        let tags: Vec<Read<'a>> =
            [outside].into_iter().chain(tags.iter().map(read)).chain([outside]).collect();
        tags.windows(2).filter(|pair| odd(pair[0], pair[1])).count()
    };
    sentences.map(in_sentence).sum()
}

fn odd_in_iob2((before, kind): Read<'_>, (prefix, of): Read<'_>) -> bool {
    prefix == b'I' && (before == b'O' || kind != of)
}

fn odd_in_iob1((before, kind): Read<'_>, (prefix, of): Read<'_>) -> bool {
    prefix == b'B' && (before == b'O' || kind != of)
}

fn odd_in_iobes((before, kind): Read<'_>, (prefix, of): Read<'_>) -> bool {
    let open = matches!(before, b'B' | b'I');
    let goes_on = matches!(prefix, b'I' | b'E');
    open != goes_on || (open && kind != of)
}

/// Tags of a file in IOB2, or as they are where they mark no entities, each by its number in `set`; `None` where one is not
/// in it.
pub(crate) fn to_numbers(tags: &[String], scheme: Scheme, set: &TagSet) -> Option<Vec<u32>> {
    if scheme == Scheme::Words {
        return tags.iter().map(|tag| set.number(tag)).collect();
    }
    let number = |name: &str, kind: &str| set.number(&format!("{name}-{kind}"));
    let mut numbers = vec![set.number(OUTSIDE)?; tags.len()];
    if scheme == Scheme::Io {
        for (at, tag) in tags.iter().enumerate().filter(|(_, tag)| *tag != OUTSIDE) {
            let goes_on = at > 0 && tags[at - 1] == *tag;
            numbers[at] = number(if goes_on { "I" } else { "B" }, tag)?;
        }
        return Some(numbers);
    }
    let own = TagSet::of(tags).ok()?;
    let places: Vec<u32> = (0..tags.len() as u32).collect();
    for entity in own.entities(&places) {
        let kind = &own.kinds()[entity.kind as usize];
        for at in entity.start..entity.end {
            numbers[at as usize] = number(if at == entity.start { "B" } else { "I" }, kind)?;
        }
    }
    Some(numbers)
}

/// The kinds of entities in a tag.
pub(crate) fn kind(tag: &str, scheme: Scheme) -> Option<&str> {
    match scheme {
        Scheme::Io => (tag != OUTSIDE).then_some(tag),
        Scheme::Words => Some(tag),
        _ => read(tag).ok().filter(|(prefix, _)| *prefix != b'O').map(|(_, kind)| kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(tags: &str) -> Vec<String> {
        tags.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn the_same_entities_in_every_scheme() {
        let same = [
            ("B-A I-A O B-B B-B I-B O B-A I-A", Scheme::Iob2, 0),
            ("I-A I-A O I-B B-B I-B O I-A I-A", Scheme::Iob1, 0),
            ("B-A E-A O S-B B-B E-B O B-A E-A", Scheme::Iobes, 0),
            ("B-A L-A O U-B B-B L-B O B-A L-A", Scheme::Iobes, 0),
            ("B-A I-A O B-B B-B I-B O I-A I-A", Scheme::Iob2, 1),
        ];
        let set = TagSet::iob2(["A", "B"]);
        for (tags, scheme, odd) in same {
            let tags = sentence(tags);
            let found = find([&tags[..]].into_iter()).unwrap();
            assert_eq!(found, Found { scheme, odd }, "{tags:?}");
            let numbers = to_numbers(&tags, scheme, &set).unwrap();
            assert_eq!(numbers, [1, 2, 0, 3, 3, 4, 0, 1, 2], "{tags:?}");
        }
        let io = sentence("A A O B O");
        assert_eq!(find([&io[..]].into_iter()).map(|found| found.scheme), Some(Scheme::Io));
        assert_eq!(to_numbers(&io, Scheme::Io, &set).unwrap(), [1, 2, 0, 3, 0]);
        assert_eq!(to_numbers(&sentence("B-C"), Scheme::Iob2, &set), None);
        assert_eq!(find([&sentence("NN VB")[..]].into_iter()), Some(Found { scheme: Scheme::Words, odd: 0 }));
        // Nobody knows what numbers mean.
        assert_eq!(find([&sentence("1 2")[..]].into_iter()), None);
        assert_eq!(find([&sentence("B I O")[..]].into_iter()).map(|found| found.scheme), Some(Scheme::Iob2));
        assert!(!is_tag("X-PER") && !is_tag("B-") && !is_tag("") && is_tag("B-geo-loc"));
    }
}

//! Which files show the same picture?
//!
//! The one decision: what is the same by its bytes or pixels is put together first, and only one of each such
//! group is compared with others. Likeness is no equality: of three frames of a film the first may be like the
//! second and the second like the third, and no more. So nothing is concluded from chains: whatever is said of a
//! file holds for it and another that it was itself compared with.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::hash::Likeness;
use super::index::Index;
use super::look::Look;
use crate::pool::DataPool;
use crate::split::Part;

/// How two files are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Same {
    /// Byte for byte.
    Bytes,
    /// Other bytes, but the same pixels.
    Pixels,
    /// The same picture in another size, compression, brightness or the like, or seen in a mirror.
    Near,
}

/// What a file is in the dataset: its part and its answer.
pub(super) type Kind = (Part, u32);

/// Files that show the same picture.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) same: Same,
    /// Places in the list of samples, ascending; two or more.
    pub(super) members: Vec<usize>,
}

/// A file, and others that look like it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Star {
    pub(super) kept: usize,
    /// Ascending; each was compared with the one kept, or with an exact copy of it.
    pub(super) others: Vec<usize>,
}

/// Files that look alike.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Near {
    /// One file and those like it in parts that matter less.
    pub(super) leaks: Vec<Star>,
    /// Files that each look like another of these with another label.
    pub(super) conflicts: Vec<Vec<usize>>,
    /// Files of one part and label.
    pub(super) copies: Vec<Star>,
    /// How many comparisons it took.
    pub(super) compared: usize,
}

/// After this many pictures whose hash is close but that look different, a picture is not compared further.
const FUTILE: usize = 2000;

/// Groups the files of the same pixels; each file is in at most one group.
pub(super) fn exact(looks: &[Look]) -> Vec<Group> {
    let groups = by_pixels(looks).into_iter().filter(|members| members.len() > 1);
    groups.map(|members| Group { same: exactness(looks, &members), members }).collect()
}

/// Places of the same pixels, sorted.
fn by_pixels(looks: &[Look]) -> Vec<Vec<usize>> {
    let mut by_pixels: BTreeMap<[u8; 32], Vec<usize>> = BTreeMap::new();
    for (place, look) in looks.iter().enumerate() {
        if let Some(seen) = look.image() {
            by_pixels.entry(seen.pixels).or_default().push(place);
        }
    }
    let mut exact: Vec<Vec<usize>> = by_pixels.into_values().collect();
    exact.sort();
    exact
}

fn exactness(looks: &[Look], members: &[usize]) -> Same {
    let bytes = |place: &usize| looks[*place].image().map(|seen| seen.bytes);
    let all_equal = members.windows(2).all(|pair| bytes(&pair[0]) == bytes(&pair[1]));
    if all_equal { Same::Bytes } else { Same::Pixels }
}

/// Finds what looks alike and differs in its pixels.
///
/// `kinds` are those of the files, `ranks` tell which of several to keep (the smallest), `bits` is the largest
/// distance of hashes that are compared further.
pub(super) fn near(looks: &[Look], kinds: &[Kind], ranks: &[usize], bits: u32, pool: &DataPool) -> Near {
    let pictures: Vec<Picture<'_>> = by_pixels(looks)
        .into_iter()
        .filter_map(|members| {
            let likeness = looks[*members.first()?].image()?.likeness.as_ref()?;
            Some(Picture::new(likeness, &members, kinds, ranks))
        })
        .collect();
    let hashes: Vec<u64> = pictures.iter().map(|picture| picture.likeness.hash).collect();
    let gallery = Gallery {
        index: Index::new(&hashes, bits),
        pictures: &pictures,
        kinds: kinds.iter().collect::<BTreeSet<_>>().len().min(FUTILE),
    };
    let alike: Vec<(BTreeMap<Kind, usize>, usize)> = pool.install(|| {
        (0..pictures.len()).into_par_iter().with_max_len(64).map(|at| gallery.one_of_each_kind(at)).collect()
    });
    let mut near = Near { compared: alike.iter().map(|(_, compared)| compared).sum(), ..Near::default() };

    let mut leaks: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut conflicts = Sets::new(looks.len());
    for (picture, (found, _)) in pictures.iter().zip(&alike) {
        for (&(part, label), members) in &picture.members {
            let better = found.iter().filter(|((other, _), _)| *other > part);
            let kept = better.max_by_key(|((part, _), place)| (*part, std::cmp::Reverse(ranks[**place])));
            if let Some((_, &kept)) = kept {
                leaks.entry(kept).or_default().extend(members);
            }
            let others = found.iter().filter(|((_, other), _)| *other != label).map(|(_, &place)| place);
            if let Some(other) = others.min_by_key(|&place| ranks[place]) {
                members.iter().for_each(|&member| conflicts.join(member, other));
            }
        }
    }
    near.leaks = stars(leaks);
    near.conflicts = conflicts.larger_than_one();
    let repeated = |at: &usize| pictures[*at].members.keys().any(|kind| alike[*at].0.contains_key(kind));
    let repeated: Vec<usize> = (0..pictures.len()).filter(repeated).collect();
    near.copies = gallery.copies(repeated, &mut near.compared);
    near
}

fn stars(by_kept: BTreeMap<usize, Vec<usize>>) -> Vec<Star> {
    let star = |(kept, mut others): (usize, Vec<usize>)| {
        others.sort_unstable();
        Star { kept, others }
    };
    by_kept.into_iter().map(star).collect()
}

/// Files of the same pixels.
struct Picture<'a> {
    likeness: &'a Likeness,
    /// By kind, the one to keep first; none is empty.
    members: BTreeMap<Kind, Vec<usize>>,
    /// The smallest of the members.
    rank: usize,
}

impl<'a> Picture<'a> {
    fn new(likeness: &'a Likeness, places: &[usize], kinds: &[Kind], ranks: &[usize]) -> Self {
        let mut sorted = places.to_vec();
        sorted.sort_unstable_by_key(|&place| ranks[place]);
        let rank = sorted.first().map_or(usize::MAX, |&place| ranks[place]);
        let mut members: BTreeMap<Kind, Vec<usize>> = BTreeMap::new();
        for place in sorted {
            members.entry(kinds[place]).or_default().push(place);
        }
        Self { likeness, members, rank }
    }
}

/// All pictures, to be searched.
struct Gallery<'a> {
    pictures: &'a [Picture<'a>],
    index: Index<'a>,
    /// How many kinds there are, or many: with numbers to predict nearly every file may be of its own.
    kinds: usize,
}

impl Gallery<'_> {
    /// Of each kind the first file met that looks like this picture, and how many comparisons it took. As soon as a
    /// kind has one, others of it are passed over: a film of one class takes one comparison for each frame.
    fn one_of_each_kind(&self, at: usize) -> (BTreeMap<Kind, usize>, usize) {
        let mut found: BTreeMap<Kind, usize> = BTreeMap::new();
        let mut compared = 0;
        self.alike(at, |other, same| {
            let members = &self.pictures[other].members;
            if members.keys().all(|kind| found.contains_key(kind)) {
                return true;
            }
            compared += 1;
            if same() {
                for (kind, places) in members {
                    found.entry(*kind).or_insert(places[0]);
                }
            }
            found.len() < self.kinds && compared < FUTILE + self.kinds
        });
        (found, compared)
    }

    /// Stars of one kind among these pictures: the best to keep first, each picture joins the first star whose
    /// middle looks like it, or becomes one.
    fn copies(&self, mut of: Vec<usize>, compared: &mut usize) -> Vec<Star> {
        of.sort_unstable_by_key(|&at| self.pictures[at].rank);
        let mut middle = vec![false; self.pictures.len()];
        let mut joined: BTreeMap<(usize, Kind), Vec<usize>> = BTreeMap::new();
        for at in of {
            let own = &self.pictures[at].members;
            let (mut star, mut futile) = (None, 0);
            self.alike(at, |other, same| {
                let is_kind = |kind: &Kind| own.contains_key(kind);
                if !middle[other] || !self.pictures[other].members.keys().any(is_kind) {
                    return true;
                }
                *compared += 1;
                futile += 1;
                if same() {
                    star = Some(other);
                }
                star.is_none() && futile < FUTILE
            });
            let Some(star) = star else {
                middle[at] = true;
                continue;
            };
            for (kind, places) in own {
                if let Some(first) = self.pictures[star].members.get(kind) {
                    let others = joined.entry((star, *kind)).or_insert_with(|| first[1..].to_vec());
                    others.extend(places);
                }
            }
        }
        let mut stars: Vec<Star> = joined
            .into_iter()
            .map(|((star, kind), mut others)| {
                others.sort_unstable();
                Star { kept: self.pictures[star].members[&kind][0], others }
            })
            .collect();
        stars.sort_unstable_by_key(|star| star.kept);
        stars
    }

    /// Goes through the pictures whose hash is close, until `visit` says that it is enough; it gets the picture
    /// and what tells whether it looks the same.
    fn alike(&self, at: usize, mut visit: impl FnMut(usize, &dyn Fn() -> bool) -> bool) {
        let own = self.pictures[at].likeness;
        let mut go_on = true;
        for (hash, mirrored) in [(own.hash, false), (own.mirrored, true)] {
            if !go_on {
                return;
            }
            self.index.near(hash, |other| {
                let same = || own.is_same(self.pictures[other].likeness, mirrored);
                go_on = other == at || visit(other, &same);
                go_on
            });
        }
    }
}

/// Disjoint sets of numbers; each is named by its smallest member.
struct Sets {
    above: Vec<usize>,
}

impl Sets {
    fn new(count: usize) -> Self {
        Self { above: (0..count).collect() }
    }

    fn name(&mut self, mut at: usize) -> usize {
        while self.above[at] != at {
            self.above[at] = self.above[self.above[at]];
            at = self.above[at];
        }
        at
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.name(a), self.name(b));
        self.above[a.max(b)] = a.min(b);
    }

    fn larger_than_one(mut self) -> Vec<Vec<usize>> {
        let mut sets: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for at in 0..self.above.len() {
            let name = self.name(at);
            sets.entry(name).or_default().push(at);
        }
        sets.into_values().filter(|set| set.len() > 1).collect()
    }
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};

    use super::super::hash::Tone;
    use super::super::look::Seen;
    use super::*;

    #[test]
    fn sets_join() {
        let mut sets = Sets::new(7);
        for (a, b) in [(5, 3), (1, 2), (3, 6), (6, 5)] {
            sets.join(a, b);
        }
        assert_eq!(sets.larger_than_one(), [vec![1, 2], vec![3, 5, 6]]);
    }

    /// Frames of a camera that moves: `step` says how far.
    fn frame(number: usize, step: f64) -> Look {
        let moved = number as f64 * step;
        let image = RgbImage::from_fn(64, 64, |x, y| {
            let (x, y) = (f64::from(x) / 64.0 + moved, f64::from(y) / 64.0);
            let wave = (x * 17.0 + (y * 9.0).sin() * 3.0).sin() * (y * 23.0 + (x * 5.0).cos() * 3.0).cos();
            Rgb([(127.0 + 100.0 * wave) as u8; 3])
        });
        let mut pixels = [0; 32];
        pixels[..8].copy_from_slice(&number.to_be_bytes());
        Look::Image(Box::new(Seen {
            format: None,
            pages: false,
            size: (64, 64),
            bytes: pixels,
            pixels,
            tone: Tone::of(&image),
            likeness: Likeness::of(&image),
            warnings: Vec::new(),
        }))
    }

    fn near_of(looks: &[Look], kind: impl Fn(usize) -> Kind) -> Near {
        let kinds: Vec<Kind> = (0..looks.len()).map(kind).collect();
        let mut order: Vec<usize> = (0..looks.len()).collect();
        order.sort_by_key(|&place| (std::cmp::Reverse(kinds[place].0), place));
        let mut ranks = vec![0; looks.len()];
        order.iter().enumerate().for_each(|(rank, &place)| ranks[place] = rank);
        near(looks, &kinds, &ranks, 10, &DataPool::new(2).unwrap())
    }

    #[test]
    fn thousands_of_the_same_scene_take_few_comparisons() {
        let looks: Vec<Look> = (0..3000).map(|number| frame(number, 1e-6)).collect();
        let near_all = near_of(&looks, |_| (Part::Train, 0));
        assert_eq!(near_all.copies, [Star { kept: 0, others: (1..3000).collect() }]);
        assert!(near_all.compared <= 2 * looks.len(), "{}", near_all.compared);

        let near_all = near_of(&looks, |at| (if at < 2900 { Part::Train } else { Part::Val }, at as u32 % 2));
        let leaked: usize = near_all.leaks.iter().map(|star| star.others.len()).sum();
        assert_eq!((leaked, near_all.conflicts.concat().len()), (2900, 3000));
        assert!(near_all.compared <= 6 * looks.len(), "{}", near_all.compared);
    }

    #[test]
    fn nothing_is_concluded_from_chains() {
        let looks: Vec<Look> = (0..40).map(|number| frame(number, 0.005)).collect();
        let like = |a: usize, b: usize| {
            let of = |at: usize| looks[at].image().unwrap().likeness.as_ref().unwrap();
            (of(a).hash ^ of(b).hash).count_ones() <= 10 && of(a).is_same(of(b), false)
        };
        assert!(like(0, 1) && !like(0, 39), "a camera that moves");
        let first = |at: usize| at < 20;
        let near_all =
            near_of(&looks, |at| (if first(at) { Part::Train } else { Part::Test }, u32::from(first(at))));
        assert!(!near_all.leaks.is_empty());
        for star in near_all.leaks.iter().chain(&near_all.copies) {
            assert!(star.others.iter().all(|&other| like(star.kept, other)), "{star:?}");
        }
        let left_out: Vec<usize> = near_all.leaks.iter().flat_map(|star| star.others.clone()).collect();
        let direct: Vec<usize> = (0..20).filter(|&a| (20..40).any(|b| like(a, b))).collect();
        assert_eq!(left_out.len(), direct.len());
        assert!(direct.iter().all(|at| left_out.contains(at)) && direct.len() < 20, "{direct:?}");
        let conflict = near_all.conflicts.concat();
        assert!(conflict.iter().all(|&a| (0..40).any(|b| first(a) != first(b) && like(a, b))));
        assert!(near_all.copies.len() > 1);
    }
}

//! Which files show the same picture?
//!
//! The one decision: what is the same by its bytes or pixels is put together first, and only one of each such
//! group is compared with others; so a thousand copies of one file cost no more than one.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::hash::Likeness;
use super::index::Index;
use super::look::Look;
use crate::pool::DataPool;

/// How two files are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Same {
    /// Byte for byte.
    Bytes,
    /// Other bytes, but the same pixels.
    Pixels,
    /// The same picture in another size, compression, brightness or the like.
    Near,
}

/// Files that show the same picture.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) same: Same,
    /// Places in the list of samples, ascending; two or more.
    pub(super) members: Vec<usize>,
}

/// After this many pictures that look like it, a picture is not compared further. Only then could a group be
/// reported in two pieces.
const ENOUGH: usize = 64;

/// Groups the files; each file is in at most one group of the same pixels and one of near pictures. A group of
/// near pictures has at least two that differ in their pixels.
///
/// `bits` is the largest distance of hashes that are compared further; `None` for exact copies alone.
pub(super) fn groups(looks: &[Look], bits: Option<u32>, pool: &DataPool) -> Vec<Group> {
    let mut by_pixels: BTreeMap<[u8; 32], Vec<usize>> = BTreeMap::new();
    for (place, look) in looks.iter().enumerate() {
        if let Some(seen) = look.image() {
            by_pixels.entry(seen.pixels).or_default().push(place);
        }
    }
    let mut exact: Vec<Vec<usize>> = by_pixels.into_values().collect();
    exact.sort();
    let mut groups: Vec<Group> = exact
        .iter()
        .filter(|members| members.len() > 1)
        .map(|members| Group { same: exactness(looks, members), members: members.clone() })
        .collect();
    if let Some(bits) = bits {
        for near in near(looks, &exact, bits, pool) {
            let mut members: Vec<usize> = near.iter().flat_map(|&group| exact[group].clone()).collect();
            members.sort_unstable();
            groups.push(Group { same: Same::Near, members });
        }
    }
    groups
}

fn exactness(looks: &[Look], members: &[usize]) -> Same {
    let bytes = |place: &usize| looks[*place].image().map(|seen| seen.bytes);
    let all_equal = members.windows(2).all(|pair| bytes(&pair[0]) == bytes(&pair[1]));
    if all_equal { Same::Bytes } else { Same::Pixels }
}

/// Sets of two or more groups whose pictures look the same.
fn near(looks: &[Look], exact: &[Vec<usize>], bits: u32, pool: &DataPool) -> Vec<Vec<usize>> {
    let (mut numbers, mut likenesses): (Vec<usize>, Vec<&Likeness>) = (Vec::new(), Vec::new());
    for (number, members) in exact.iter().enumerate() {
        let first = members.first().and_then(|&place| looks[place].image());
        if let Some(likeness) = first.and_then(|seen| seen.likeness.as_ref()) {
            numbers.push(number);
            likenesses.push(likeness);
        }
    }
    let hashes: Vec<u64> = likenesses.iter().map(|likeness| likeness.hash).collect();
    let index = Index::new(&hashes, bits);
    let alike = |place: usize| -> Vec<u32> {
        let close = index.before(place).into_iter();
        close.filter(|&other| likenesses[other as usize].is_same(likenesses[place])).take(ENOUGH).collect()
    };
    let pairs: Vec<Vec<u32>> =
        pool.install(|| (0..hashes.len()).into_par_iter().with_max_len(64).map(alike).collect());
    let mut sets = Sets::new(hashes.len());
    for (place, others) in pairs.iter().enumerate() {
        others.iter().for_each(|&other| sets.join(place, other as usize));
    }
    sets.larger_than_one()
        .into_iter()
        .map(|set| set.into_iter().map(|place| numbers[place]).collect())
        .collect()
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
    use super::*;

    #[test]
    fn sets_join() {
        let mut sets = Sets::new(7);
        for (a, b) in [(5, 3), (1, 2), (3, 6), (6, 5)] {
            sets.join(a, b);
        }
        assert_eq!(sets.larger_than_one(), [vec![1, 2], vec![3, 5, 6]]);
    }
}

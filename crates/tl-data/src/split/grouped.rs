//! Splits that keep a group, such as the photos of one animal, on one side.
//!
//! The one decision: greedy and deterministic. Groups are taken from the largest to the smallest (equal ones
//! in the order of their ranks), and each goes to the side where the counts of its labels, and of images,
//! come nearest to what that side should have. Deviations are squared and divided by the label's total, so a
//! rare label counts as much as a common one. Nothing is moved afterwards, except what a split cannot do
//! without: each label has to train, and no side may be empty.

use std::collections::BTreeMap;

use super::stratified::rank;

/// A group as the algorithm sees it.
struct Unit {
    size: u64,
    /// How many of its images have each label; the last label stands for all images.
    counts: Vec<(usize, u64)>,
    rank: [u8; 32],
}

/// Groups, and which side each is on.
pub(super) struct Grouping {
    units: Vec<Unit>,
    /// The unit of each item.
    of_item: Vec<u32>,
    /// Images of each label over all units; the last entry is that of all images.
    totals: Vec<u64>,
    sides: Vec<usize>,
    /// Images of each label on each side, `[side][label]`.
    have: Vec<Vec<u64>>,
    ratios: Vec<f64>,
}

const NOWHERE: usize = usize::MAX;

impl Grouping {
    /// Collects the groups of the items. `labels` are the labels of each item, each below `label_count`.
    pub(super) fn new(groups: &[&str], labels: &[&[u32]], label_count: usize, seed: u64) -> Self {
        let mut by_name: BTreeMap<&str, BTreeMap<usize, u64>> = BTreeMap::new();
        for (&group, labels) in groups.iter().zip(labels) {
            let counts = by_name.entry(group).or_default();
            let labels = labels.iter().map(|&label| label as usize);
            labels.chain([label_count]).for_each(|label| *counts.entry(label).or_default() += 1);
        }
        let numbers: BTreeMap<&str, u32> = by_name.keys().copied().zip(0..).collect();
        let of_item = groups.iter().map(|group| numbers[group]).collect();
        let mut totals = vec![0; label_count + 1];
        let mut units = Vec::with_capacity(by_name.len());
        for (name, counts) in by_name {
            counts.iter().for_each(|(&label, &count)| totals[label] += count);
            let size = counts.get(&label_count).copied().unwrap_or_default();
            units.push(Unit { size, counts: counts.into_iter().collect(), rank: rank(seed, name) });
        }
        let sides = vec![NOWHERE; units.len()];
        Self { units, of_item, totals, sides, have: Vec::new(), ratios: Vec::new() }
    }

    /// How many groups there are.
    pub(super) fn len(&self) -> usize {
        self.units.len()
    }

    /// The side of each item, `0..ratios.len()`.
    pub(super) fn place(&mut self, ratios: &[f64], pinned: &[u32]) {
        self.ratios = ratios.to_vec();
        self.have = vec![vec![0; self.totals.len()]; ratios.len()];
        for &unit in pinned {
            self.put(unit as usize, 0);
        }
        let mut order: Vec<usize> =
            (0..self.units.len()).filter(|&unit| self.sides[unit] == NOWHERE).collect();
        order.sort_unstable_by(|&a, &b| {
            let (a, b) = (&self.units[a], &self.units[b]);
            b.size.cmp(&a.size).then(a.rank.cmp(&b.rank))
        });
        for unit in order {
            let open = (0..ratios.len()).filter(|&side| ratios[side] > 0.0);
            let best = open.map(|side| (self.cost(unit, side), side)).min_by(|a, b| a.0.total_cmp(&b.0));
            self.put(unit, best.map_or(0, |(_, side)| side));
        }
    }

    /// The groups that hold all images of some label: such a label trains only if they do.
    pub(super) fn sole_owners(&self) -> Vec<u32> {
        let labels = self.totals.len() - 1;
        let owns = |unit: &Unit| {
            unit.counts.iter().any(|&(label, count)| label < labels && count == self.totals[label])
        };
        (0..).zip(&self.units).filter(|(_, unit)| owns(unit)).map(|(number, _)| number).collect()
    }

    /// Moves groups to side 0 until every label has images there, then one to each side that has none though
    /// its ratio is not 0. Returns whether that was possible.
    pub(super) fn repair(&mut self) -> bool {
        for label in 0..self.totals.len() {
            if self.have[0][label] > 0 || self.totals[label] == 0 {
                continue;
            }
            let holds = |unit: &Unit| unit.counts.iter().any(|&(own, _)| own == label);
            if let Some(unit) = self.smallest(|number, unit| self.sides[number] != 0 && holds(unit)) {
                self.shift(unit, 0);
            }
        }
        let all = self.totals.len() - 1;
        for side in 1..self.ratios.len() {
            if self.ratios[side] <= 0.0 || self.have[side][all] > 0 {
                continue;
            }
            match self.smallest(|number, unit| self.spare(number, unit)) {
                Some(unit) => self.shift(unit, side),
                None => return false,
            }
        }
        true
    }

    /// The side of each item.
    pub(super) fn sides(&self) -> Vec<u32> {
        self.of_item.iter().map(|&unit| self.sides[unit as usize] as u32).collect()
    }

    /// Whether a unit can leave its side: something stays there, and on side 0 something of each label.
    fn spare(&self, number: usize, unit: &Unit) -> bool {
        let side = self.sides[number];
        let labels = self.totals.len() - 1;
        let mut needed = unit.counts.iter().filter(|(label, _)| side == 0 || *label == labels);
        needed.all(|&(label, count)| self.have[side][label] > count)
    }

    fn smallest(&self, may: impl Fn(usize, &Unit) -> bool) -> Option<usize> {
        let units = self.units.iter().enumerate().filter(|(number, unit)| may(*number, unit));
        units.min_by_key(|(_, unit)| (unit.size, unit.rank)).map(|(number, _)| number)
    }

    /// What the sum of squared deviations grows by when `unit` comes to `side`.
    fn cost(&self, unit: usize, side: usize) -> f64 {
        let grow = |&(label, count): &(usize, u64)| {
            let (total, count) = (self.totals[label] as f64, count as f64);
            let missing = total * self.ratios[side] - self.have[side][label] as f64;
            count * (count - 2.0 * missing) / total
        };
        self.units[unit].counts.iter().map(grow).sum()
    }

    fn put(&mut self, unit: usize, side: usize) {
        self.sides[unit] = side;
        for &(label, count) in &self.units[unit].counts {
            self.have[side][label] += count;
        }
    }

    fn shift(&mut self, unit: usize, side: usize) {
        let from = self.sides[unit];
        for &(label, count) in &self.units[unit].counts {
            self.have[from][label] -= count;
        }
        self.put(unit, side);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sides(groups: &[&str], labels: &[&[u32]], ratios: &[f64]) -> (Vec<u32>, bool) {
        let mut grouping = Grouping::new(groups, labels, 2, 0);
        let pinned = grouping.sole_owners();
        grouping.place(ratios, &pinned);
        let possible = grouping.repair();
        (grouping.sides(), possible)
    }

    #[test]
    fn large_groups_first_and_each_to_where_it_is_wanted() {
        // 4 images of label 0 and 4 of label 1 in groups of two: one group of each label per side.
        let groups = ["a", "a", "b", "b", "c", "c", "d", "d"];
        let labels: [&[u32]; 8] = [&[0], &[0], &[0], &[0], &[1], &[1], &[1], &[1]];
        let (sides, possible) = sides(&groups, &labels, &[0.5, 0.5]);
        assert!(possible && sides[0] != sides[2] && sides[4] != sides[6]);
        assert!(
            groups.iter().zip(&sides).all(|(g, s)| groups.iter().zip(&sides).all(|(h, t)| g != h || s == t))
        );
    }

    #[test]
    fn a_label_of_one_group_trains() {
        let groups = ["a", "a", "a", "b", "c"];
        let labels: [&[u32]; 5] = [&[0], &[0], &[0], &[1], &[0]];
        let (sides, possible) = sides(&groups, &labels, &[0.1, 0.9]);
        assert!(possible);
        assert_eq!(sides[3], 0);
    }

    #[test]
    fn what_cannot_be_split() {
        let two: [&[u32]; 2] = [&[0], &[1]];
        assert!(!sides(&["a", "a"], &two, &[0.8, 0.2]).1);
        assert!(!sides(&["a", "b"], &two, &[0.8, 0.2]).1, "each group is all there is of a label");
        let (sides, possible) = sides(&["a", "b"], &[&[0], &[0]], &[0.9, 0.1]);
        assert!(possible && sides[0] != sides[1]);
    }
}

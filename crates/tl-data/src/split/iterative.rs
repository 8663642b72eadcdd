//! Several labels per image: iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011, "On the
//! Stratification of Multi-Label Data").
//!
//! The one decision: where the paper breaks ties at random, the first subset wins; the seed acts through the
//! order in which the images of a label are taken, which is that of their ranks.

use std::collections::BTreeSet;

/// The subset of each item, `0..ratios.len()`.
///
/// `labels` are the labels of each item, each below `label_count`; `ratios` sum to 1; `order` lists the items
/// in the order they are taken. The label with the fewest images left goes first, and each of its images goes
/// where that label is wanted most, then where most images are wanted. Images without a label come last.
pub(super) fn iterative(labels: &[&[u32]], label_count: usize, ratios: &[f64], order: &[u32]) -> Vec<u32> {
    let mut lists: Vec<Vec<u32>> = vec![Vec::new(); label_count];
    for &item in order {
        for &label in labels[item as usize] {
            lists[label as usize].push(item);
        }
    }
    let mut left: Vec<usize> = lists.iter().map(Vec::len).collect();
    let wanted = |count: usize| ratios.iter().map(move |ratio| count as f64 * ratio);
    let mut want = Want {
        of_label: left.iter().map(|&count| wanted(count).collect()).collect(),
        of_all: wanted(order.len()).collect(),
    };

    let mut subsets = vec![u32::MAX; labels.len()];
    let rarest = |left: &[usize]| (0..label_count).filter(|&l| left[l] > 0).min_by_key(|&l| left[l]);
    while let Some(label) = rarest(&left) {
        for item in std::mem::take(&mut lists[label]) {
            if subsets[item as usize] != u32::MAX {
                continue;
            }
            let subset = want.most(Some(label));
            subsets[item as usize] = subset as u32;
            want.of_all[subset] -= 1.0;
            for &own in labels[item as usize] {
                left[own as usize] -= 1;
                want.of_label[own as usize][subset] -= 1.0;
            }
        }
    }
    for &item in order.iter().filter(|&&item| labels[item as usize].is_empty()) {
        let subset = want.most(None);
        subsets[item as usize] = subset as u32;
        want.of_all[subset] -= 1.0;
    }
    subsets
}

/// How many images each subset still wants.
struct Want {
    of_label: Vec<Vec<f64>>,
    of_all: Vec<f64>,
}

impl Want {
    fn most(&self, label: Option<usize>) -> usize {
        let key =
            |subset: usize| (label.map_or(0.0, |label| self.of_label[label][subset]), self.of_all[subset]);
        let mut best = 0;
        for subset in 1..self.of_all.len() {
            if key(subset) > key(best) {
                best = subset;
            }
        }
        best
    }
}

/// Moves one item into each subset that is empty though its ratio is not 0, from the largest subset.
pub(super) fn fill_empty(subsets: &mut [u32], ratios: &[f64], order: &[u32]) {
    for (empty, &ratio) in (0_u32..).zip(ratios) {
        let mut sizes = vec![0_usize; ratios.len()];
        subsets.iter().for_each(|&subset| sizes[subset as usize] += 1);
        if ratio <= 0.0 || sizes[empty as usize] > 0 {
            continue;
        }
        let largest = (0..sizes.len()).rev().max_by_key(|&subset| sizes[subset]).unwrap_or_default();
        let of_largest = |item: &&u32| subsets[**item as usize] as usize == largest;
        if let (Some(&item), true) = (order.iter().find(of_largest), sizes[largest] > 1) {
            subsets[item as usize] = empty;
        }
    }
}

/// Moves one image of each label that subset 0 does not have there, the first in `order` whose subset keeps another.
pub(super) fn train_each(subsets: &mut [u32], labels: &[&[u32]], order: &[u32]) {
    let mut sizes: Vec<usize> = Vec::new();
    for &subset in subsets.iter() {
        sizes.resize(sizes.len().max(subset as usize + 1), 0);
        sizes[subset as usize] += 1;
    }
    let of_train = labels.iter().zip(subsets.iter()).filter(|(_, subset)| **subset == 0);
    let mut trained: BTreeSet<u32> = of_train.flat_map(|(labels, _)| labels.iter().copied()).collect();
    for &item in order {
        let (own, subset) = (labels[item as usize], subsets[item as usize]);
        if subset == 0 || sizes[subset as usize] < 2 || own.iter().all(|label| trained.contains(label)) {
            continue;
        }
        sizes[subset as usize] -= 1;
        subsets[item as usize] = 0;
        trained.extend(own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_label_trains() {
        let labels: [&[u32]; 5] = [&[0], &[1], &[1], &[2, 3], &[]];
        let mut subsets = [0, 1, 1, 1, 0];
        train_each(&mut subsets, &labels, &[0, 1, 2, 3, 4]);
        assert_eq!(subsets, [0, 0, 1, 0, 0]);
        // A part keeps its last image.
        let mut subsets = [0, 1, 1, 2, 0];
        train_each(&mut subsets, &labels, &[4, 3, 2, 1, 0]);
        assert_eq!(subsets, [0, 1, 0, 2, 0]);
    }

    #[test]
    fn a_worked_example() {
        // Label 1 is the rarer: its two images go to different subsets, then label 0 evens out.
        let labels: [&[u32]; 6] = [&[0], &[0, 1], &[0], &[0, 1], &[], &[]];
        let subsets = iterative(&labels, 2, &[0.5, 0.5], &[0, 1, 2, 3, 4, 5]);
        assert_eq!(subsets, [0, 0, 1, 1, 0, 1]);
    }

    #[test]
    fn empty_subsets_get_one() {
        let mut subsets = [0, 0, 0, 0];
        fill_empty(&mut subsets, &[0.9, 0.1, 0.0], &[2, 0, 1, 3]);
        assert_eq!(subsets, [0, 0, 1, 0]);
        let mut one = [0];
        fill_empty(&mut one, &[0.5, 0.5], &[0]);
        assert_eq!(one, [0]);
    }
}

//! Of each class the same part.
//!
//! The one decision: each file gets a rank from the sha256 of (seed, name), and the lowest ranks of a class
//! validate. So the split is the same on every machine, and a file that is added moves hardly any other.

use sha2::{Digest, Sha256};

use super::{Fractions, Part};

/// The place of a name in the order of a seed.
pub(super) fn rank(seed: u64, name: &str) -> [u8; 32] {
    Sha256::new().chain_update(seed.to_le_bytes()).chain_update(name.as_bytes()).finalize().into()
}

/// Takes `val` of each class, rounded, to validate on: at least one image and at most all but one. Then takes
/// `test` of it, rounded, at least one image, as long as one stays to train on. A single image trains.
pub(super) fn stratified(names: &[&str], classes: &[u32], fractions: Fractions, seed: u64) -> Vec<Part> {
    let mut parts = vec![Part::Train; names.len()];
    for class in by_class(names, classes, seed).chunk_by(|a, b| a.class == b.class) {
        let wanted = |fraction: f64| (class.len() as f64 * fraction).round() as usize;
        let val = wanted(fractions.val).max(1).min(class.len() - 1);
        let test = if fractions.test > 0.0 { wanted(fractions.test).max(1) } else { 0 };
        let test = test.min((class.len() - val).saturating_sub(1));
        for (place, item) in class.iter().take(val + test).enumerate() {
            parts[item.index] = if place < val { Part::Val } else { Part::Test };
        }
    }
    parts
}

/// Deals each class out to `k` folds in the order of its ranks, each class going on where the last one ended:
/// the folds' counts of a class differ by at most one, and so do their sizes.
pub(super) fn stratified_folds(names: &[&str], classes: &[u32], k: u32, seed: u64) -> Vec<u32> {
    let mut folds = vec![0; names.len()];
    let dealt = (0..k).cycle();
    for (item, fold) in by_class(names, classes, seed).iter().zip(dealt) {
        folds[item.index] = fold;
    }
    folds
}

/// One item in the order of (class, rank).
struct Ranked {
    class: u32,
    rank: [u8; 32],
    index: usize,
}

fn by_class(names: &[&str], classes: &[u32], seed: u64) -> Vec<Ranked> {
    let item =
        |(index, (name, &class)): (usize, (&&str, &u32))| Ranked { class, rank: rank(seed, name), index };
    let mut items: Vec<Ranked> = names.iter().zip(classes).enumerate().map(item).collect();
    items.sort_unstable_by(|a, b| (a.class, &a.rank, a.index).cmp(&(b.class, &b.rank, b.index)));
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(label: u32, n: usize) -> Vec<(String, u32)> {
        (0..n).map(|i| (format!("{label}/{i}.png"), label)).collect()
    }

    fn split(items: &[(String, u32)], val: f64, test: f64, seed: u64) -> Vec<Part> {
        let names: Vec<&str> = items.iter().map(|item| item.0.as_str()).collect();
        let classes: Vec<u32> = items.iter().map(|item| item.1).collect();
        stratified(&names, &classes, Fractions { val, test }, seed)
    }

    fn val_of(items: &[(String, u32)], fraction: f64, seed: u64) -> Vec<String> {
        let parts = split(items, fraction, 0.0, seed);
        let val = items.iter().zip(parts).filter(|(_, part)| *part == Part::Val);
        let mut names: Vec<String> = val.map(|(item, _)| item.0.clone()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_split_of_a_seed_never_changes() {
        assert_eq!(val_of(&class(0, 10), 0.2, 0), ["0/3.png", "0/4.png"]);
    }

    #[test]
    fn each_class_gives_its_part() {
        let items = [class(0, 1), class(1, 2), class(2, 4), class(3, 100)].concat();
        let count = |val, test, part, label| {
            let parts = split(&items, val, test, 5);
            items.iter().zip(parts).filter(|(item, p)| item.1 == label && *p == part).count()
        };
        let counts = |val, test, part| [0, 1, 2, 3].map(|label| count(val, test, part, label));
        assert_eq!(counts(0.2, 0.0, Part::Val), [0, 1, 1, 20]);
        assert_eq!(counts(0.99, 0.0, Part::Val), [0, 1, 3, 99]);
        assert_eq!(counts(0.001, 0.0, Part::Val), [0, 1, 1, 1]);
        assert_eq!(counts(0.2, 0.1, Part::Val), [0, 1, 1, 20]);
        assert_eq!(counts(0.2, 0.1, Part::Test), [0, 0, 1, 10]);
        assert_eq!(counts(0.2, 0.0, Part::Test), [0; 4]);
    }

    #[test]
    fn the_seed_matters_and_a_new_file_moves_few() {
        let items = class(0, 200);
        let before = val_of(&items, 0.2, 1);
        assert_ne!(before, val_of(&items, 0.2, 2));
        let more = [items, vec![("0/new.png".to_owned(), 0)]].concat();
        let after = val_of(&more, 0.2, 1);
        assert!(before.iter().filter(|name| !after.contains(name)).count() <= 1);
    }
}

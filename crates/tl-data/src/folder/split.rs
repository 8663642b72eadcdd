//! A split into training and validation images where the folder has none.
//!
//! The one decision: each file gets a rank from the sha256 of (seed, path), and the lowest ranks of a class
//! validate. So the split is the same on every machine, and a file that is added moves hardly any other.

use sha2::{Digest, Sha256};

use super::Sample;

/// Takes `fraction` of each class, rounded, out of `samples`: at least one image and at most all but one. A
/// single image stays to train on. Returns (train, val), each in the order given.
pub(super) fn stratified(samples: Vec<Sample>, fraction: f64, seed: u64) -> (Vec<Sample>, Vec<Sample>) {
    let (mut train, mut val) = (Vec::new(), Vec::new());
    for class in samples.chunk_by(|a, b| a.label == b.label) {
        let wanted = (class.len() as f64 * fraction).round() as usize;
        let wanted = wanted.max(1).min(class.len() - 1);
        let mut ranks: Vec<[u8; 32]> = class.iter().map(|sample| rank(seed, sample)).collect();
        let own = ranks.clone();
        ranks.sort_unstable();
        for (sample, rank) in class.iter().zip(own) {
            let part = if wanted > 0 && rank <= ranks[wanted - 1] { &mut val } else { &mut train };
            part.push(sample.clone());
        }
    }
    (train, val)
}

fn rank(seed: u64, sample: &Sample) -> [u8; 32] {
    Sha256::new().chain_update(seed.to_le_bytes()).chain_update(sample.rel.as_bytes()).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(label: u32, n: usize) -> Vec<Sample> {
        let mut names: Vec<String> = (0..n).map(|i| format!("{label}/{i}.png")).collect();
        names.sort();
        names.into_iter().map(|name| Sample::new(name.clone().into(), label, name)).collect()
    }

    fn val_of(samples: &[Sample], fraction: f64, seed: u64) -> Vec<String> {
        let (train, val) = stratified(samples.to_vec(), fraction, seed);
        assert_eq!(train.len() + val.len(), samples.len());
        val.into_iter().map(|sample| sample.rel).collect()
    }

    #[test]
    fn the_split_of_a_seed_never_changes() {
        assert_eq!(val_of(&class(0, 10), 0.2, 0), ["0/3.png", "0/4.png"]);
    }

    #[test]
    fn each_class_gives_its_part() {
        let samples = [class(0, 1), class(1, 2), class(2, 4), class(3, 100)].concat();
        let count = |fraction, label| {
            let (_, val) = stratified(samples.clone(), fraction, 5);
            val.iter().filter(|sample| sample.label == label).count()
        };
        assert_eq!([0, 1, 2, 3].map(|label| count(0.2, label)), [0, 1, 1, 20]);
        assert_eq!([0, 1, 2, 3].map(|label| count(0.99, label)), [0, 1, 3, 99]);
        assert_eq!([0, 1, 2, 3].map(|label| count(0.001, label)), [0, 1, 1, 1]);
    }

    #[test]
    fn the_seed_matters_and_a_new_file_moves_few() {
        let samples = class(0, 200);
        let before = val_of(&samples, 0.2, 1);
        assert_ne!(before, val_of(&samples, 0.2, 2));
        let more = [samples, vec![Sample::new("new".into(), 0, "0/new.png".to_owned())]].concat();
        let after = val_of(&more, 0.2, 1);
        assert!(before.iter().filter(|name| !after.contains(name)).count() <= 1);
    }
}

//! Texts that are nearly the same: MinHash over shingles of words, and a check of what it finds.
//!
//! The one decision: MinHash (Broder 1997) with bands only finds candidates; whether two texts are alike is said by the
//! Jaccard similarity of their shingles, so nothing is reported by chance, and a text of few words has to be close.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

/// Words of a shingle; shorter texts have one shingle.
const WORDS: usize = 3;
/// Bands and rows: a pair of similarity 0.8 is found with a probability of 0.9996, one of 0.5 with 0.47.
const BANDS: usize = 20;
const ROWS: usize = 5;
/// Later texts of a bucket that a text is compared with: of hundreds that are nearly the same not all pairs are said.
const MOST: usize = 50;

/// Pairs of texts with a similarity from `least` on: the smaller place first, sorted; with the similarity.
pub(super) fn pairs(texts: &[String], least: f64) -> Vec<(usize, usize, f64)> {
    let shingled: Vec<Vec<u64>> = texts.par_iter().map(|text| shingles(text)).collect();
    let signatures: Vec<Vec<u64>> = shingled.par_iter().map(|shingles| signature(shingles)).collect();
    let of_band = |band: usize| {
        let mut buckets: BTreeMap<&[u64], Vec<usize>> = BTreeMap::new();
        for (place, signature) in signatures.iter().enumerate().filter(|(_, signature)| !signature.is_empty())
        {
            buckets.entry(&signature[band * ROWS..(band + 1) * ROWS]).or_default().push(place);
        }
        let mut candidates = Vec::new();
        for bucket in buckets.values() {
            // Each with its neighbours in the bucket: in one of many thousand all pairs would never end.
            for (at, &place) in bucket.iter().enumerate() {
                candidates.extend(bucket[at + 1..].iter().take(MOST).map(|&other| (place, other)));
            }
        }
        candidates
    };
    let candidates: Vec<Vec<(usize, usize)>> = (0..BANDS).into_par_iter().map(of_band).collect();
    let unique: BTreeSet<(usize, usize)> = candidates.into_iter().flatten().collect();
    let unique: Vec<(usize, usize)> = unique.into_iter().collect();
    let similar = |&(a, b): &(usize, usize)| {
        let similarity = jaccard(&shingled[a], &shingled[b]);
        (similarity >= least).then_some((a, b, similarity))
    };
    unique.par_iter().filter_map(similar).collect()
}

/// The hashes of all runs of words, sorted, none twice.
fn shingles(text: &str) -> Vec<u64> {
    let words: Vec<u64> = text.split(' ').filter(|word| !word.is_empty()).map(hash).collect();
    let join = |run: &[u64]| run.iter().fold(0, |all, &word| mix(all ^ word));
    let mut found: Vec<u64> = match words.len() {
        0 => Vec::new(),
        count if count <= WORDS => vec![join(&words)],
        _ => words.windows(WORDS).map(join).collect(),
    };
    found.sort_unstable();
    found.dedup();
    found
}

fn signature(shingles: &[u64]) -> Vec<u64> {
    if shingles.is_empty() {
        return Vec::new();
    }
    let least =
        |row: u64| shingles.iter().map(|&shingle| mix(shingle ^ mix(row + 1))).min().unwrap_or_default();
    (0..(BANDS * ROWS) as u64).map(least).collect()
}

/// Of two sorted lists the part of all that both have.
fn jaccard(a: &[u64], b: &[u64]) -> f64 {
    let both = a.iter().filter(|shingle| b.binary_search(shingle).is_ok()).count();
    both as f64 / (a.len() + b.len() - both).max(1) as f64
}

/// FNV-1a of the bytes, mixed.
fn hash(word: &str) -> u64 {
    mix(word
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)))
}

/// The last step of SplitMix64.
fn mix(value: u64) -> u64 {
    let z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All pairs that a comparison of all with all finds, and no others.
    #[test]
    fn what_is_alike_is_found() {
        let text = |i: u64| (0..30).map(|w| format!("w{}", mix(i * 100 + w) % 500)).collect::<Vec<String>>();
        let mut texts: Vec<String> = (0..300).map(|i| text(i).join(" ")).collect();
        for i in 0..100 {
            let mut words = text(i);
            words[(i % 30) as usize] = "other".to_owned();
            texts.push(words.join(" "));
        }
        texts.push(String::new());
        let shingled: Vec<Vec<u64>> = texts.iter().map(|text| shingles(text)).collect();
        let mut wanted = Vec::new();
        for a in 0..texts.len() {
            for b in a + 1..texts.len() {
                if jaccard(&shingled[a], &shingled[b]) >= 0.8 {
                    wanted.push((a, b));
                }
            }
        }
        let found: Vec<(usize, usize)> = pairs(&texts, 0.8).into_iter().map(|(a, b, _)| (a, b)).collect();
        assert!(wanted.len() >= 95, "{}", wanted.len());
        assert_eq!(found, wanted);
    }
}

//! The perceptual hash against the package imagehash.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are part of it")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use tl_data::decode_rgb;
use tl_data::doctor::perceptual_hash;

/// The hashes come from `tests/golden/make_phash.py`.
#[test]
fn the_hash_of_imagehash() {
    let dir: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/data"].iter().collect();
    let known: BTreeMap<String, String> =
        serde_json::from_str(&std::fs::read_to_string(dir.join("phash.json")).unwrap()).unwrap();
    assert!(known.len() > 5);
    for (name, hash) in known {
        let theirs = u64::from_str_radix(&hash, 16).unwrap();
        let ours = perceptual_hash(&decode_rgb(&dir.join(&name)).unwrap()).unwrap();
        let differ = (ours ^ theirs).count_ones();
        assert!(differ <= 6, "{name}: {differ} bits, {ours:016x} {theirs:016x}");
    }
}

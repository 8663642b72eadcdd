//! The same ids as Python's `tokenizers`; `tests/golden/make_tokenizer.py` made the data.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are part of it")]

use std::fs;
use std::io::Read;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use tl_text::tokens::{TokenOptions, Tokenizer, Tokens};

/// Ranges of code points, and words: those of `make_tokenizer.py`.
const POOLS: [(u32, u64); 38] = [
    (0x61, 26),
    (0x61, 26),
    (0x61, 26),
    (0x41, 26),
    (0x20, 1),
    (0x20, 1),
    (0x21, 15),
    (0x30, 10),
    (0x00, 32),
    (0x7F, 34),
    (0xC0, 64),
    (0x100, 128),
    (0x300, 112),
    (0x370, 144),
    (0x400, 256),
    (0x5D0, 27),
    (0x621, 58),
    (0x900, 128),
    (0xE01, 90),
    (0x1100, 200),
    (0x1E00, 256),
    (0x2000, 112),
    (0x2190, 100),
    (0x3041, 180),
    (0x4E00, 20000),
    (0xAC00, 11000),
    (0xE000, 100),
    (0xF900, 300),
    (0xFB00, 30),
    (0xFE00, 16),
    (0xFF01, 150),
    (0xFFF0, 14),
    (0x1F1E6, 26),
    (0x1F300, 700),
    (0x20000, 1000),
    (0xE0100, 100),
    (0x1D400, 500),
    (0xFDD0, 32),
];
const WORDS: [&str; 13] = [
    "the", "movie", "un", "believ", "able", "##ing", "[SEP]", "[CLS]", "[MASK]", "[UNK]", "don't", "e.g.",
    "Ünder",
];
const COUNT: u64 = 3000;

fn string(seed: u64) -> String {
    let mut state = seed;
    let mut draw = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    let length = if seed == 7 { 100_000 } else { draw() % if seed.is_multiple_of(10) { 300 } else { 40 } };
    let pools = if seed.is_multiple_of(3) { 9 } else { POOLS.len() as u64 };
    let mut text = String::new();
    for _ in 0..length {
        if draw() % 12 == 0 {
            text.push_str(WORDS[(draw() % WORDS.len() as u64) as usize]);
            text.push(' ');
            continue;
        }
        let (first, count) = POOLS[(draw() % pools) as usize];
        text.push(char::from_u32(first + (draw() % count) as u32).unwrap());
    }
    text
}

fn unpacked(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/minilm").join(format!("{name}.gz"));
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(fs::File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    bytes
}

/// Two folders: one with the `tokenizer.json`, one with the `vocab.txt`.
fn folders() -> [TempDir; 2] {
    let [json, text] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let vocabulary = String::from_utf8(unpacked("vocab.txt")).unwrap();
    let mut config: Value = serde_json::from_slice(&unpacked("tokenizer.json")).unwrap();
    let ids = vocabulary.lines().zip(0..).map(|(token, id)| (token.to_owned(), Value::from(id))).collect();
    config["model"]["vocab"] = Value::Object(ids);
    fs::write(json.path().join("tokenizer.json"), config.to_string()).unwrap();
    fs::write(text.path().join("vocab.txt"), vocabulary).unwrap();
    [json, text]
}

fn add(crc: &mut crc32fast::Hasher, ids: impl IntoIterator<Item = u32>) {
    ids.into_iter().for_each(|id| crc.update(&id.to_le_bytes()));
    crc.update(b"|");
}

fn numbers(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as u32).collect()
}

#[test]
fn ids_are_those_of_the_python_package() {
    let data: Value = serde_json::from_str(include_str!("data/tokens.json")).unwrap();
    let strings: Vec<String> = (0..COUNT).map(string).collect();
    assert_eq!(data["strings_crc"], crc32fast::hash(strings.join("\n").as_bytes()), "other strings");
    let group = data["group"].as_u64().unwrap() as usize;
    let (whole, pairs) = (numbers(&data["whole"]), numbers(&data["pairs"]));
    let max_length = data["max_length"].as_u64().unwrap() as usize;
    for folder in folders() {
        let open = |max_length| {
            Tokenizer::open(folder.path(), TokenOptions { max_length, special_tokens: true }).unwrap()
        };
        let (plain, cut) = (open(1 << 20), open(max_length));
        let (mut truncated, mut wrong) = (0, Vec::new());
        for (number, seeds) in (0..COUNT as usize).collect::<Vec<_>>().chunks(group).enumerate() {
            let (mut of_whole, mut of_pairs) = (crc32fast::Hasher::new(), crc32fast::Hasher::new());
            for &seed in seeds {
                let tokens = plain.encode(&strings[seed], None).unwrap();
                assert!(!tokens.cut && tokens.types.iter().all(|&kind| kind == 0));
                add(&mut of_whole, tokens.ids);
                let pair = &strings[(seed * 7 + 1) % COUNT as usize];
                let Tokens { ids, types, words, cut } = cut.encode(&strings[seed], Some(pair)).unwrap();
                assert!(ids.len() <= max_length);
                add(&mut of_pairs, ids);
                add(&mut of_pairs, types);
                add(&mut of_pairs, words.into_iter().map(|word| word.unwrap_or(u32::MAX)));
                truncated += usize::from(cut);
            }
            if of_whole.finalize() != whole[number] {
                wrong.push(format!("strings from {} on", seeds[0]));
            }
            if of_pairs.finalize() != pairs[number] {
                wrong.push(format!("pairs from {} on", seeds[0]));
            }
        }
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!(data["cut"], truncated);
        let words: Vec<String> = serde_json::from_value(data["words"].clone()).unwrap();
        let tokens = plain.encode_words(&words).unwrap();
        assert_eq!(tokens.ids, numbers(&data["words_ids"]));
        assert_eq!(serde_json::json!(tokens.words), data["words_places"]);
    }
}

#[test]
fn what_is_no_tokenizer_is_said() {
    let [json, text] = folders();
    let open = |path: &Path, max_length| {
        Tokenizer::open(path, TokenOptions { max_length, special_tokens: true })
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(open(json.path(), 4), "option `max_length` is 4 (expected at least 5)");
    fs::write(text.path().join("vocab.txt"), "[UNK]\n[CLS]\na\n").unwrap();
    assert!(open(text.path(), 16).ends_with("cannot be used as a tokenizer: it has no `[SEP]`"));
    fs::write(text.path().join("vocab.txt"), "[UNK]\n[CLS]\n[SEP]\na\n").unwrap();
    assert!(open(text.path(), 16).ends_with("it has no token to fill up with, `[PAD]` or `<pad>`"));
    fs::write(json.path().join("tokenizer.json"), "{}").unwrap();
    assert!(open(json.path(), 16).contains("cannot be used as a tokenizer: "));
    let empty = tempfile::tempdir().unwrap();
    assert!(open(empty.path(), 16).ends_with("there is neither a `tokenizer.json` nor a `vocab.txt` in it"));
    assert!(open(&empty.path().join("no.txt"), 16).ends_with("cannot be read"));
}

/// What `tokenizer_config.json` says of a `vocab.txt` counts.
#[test]
fn a_cased_vocabulary_stays_cased() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("vocab.txt"), "[PAD]\n[UNK]\n[CLS]\n[SEP]\nBig\nbig\ncafe\ncafé\n").unwrap();
    let ids = || {
        let tokenizer = Tokenizer::open(folder.path(), TokenOptions::default()).unwrap();
        tokenizer.encode("Big big café [SEP]", None).unwrap().ids
    };
    assert_eq!(ids(), [2, 5, 5, 6, 3, 3]);
    fs::write(
        folder.path().join("tokenizer_config.json"),
        r#"{"do_lower_case": false, "model_max_length": 512}"#,
    )
    .unwrap();
    assert_eq!(ids(), [2, 4, 5, 7, 3, 3]);
}

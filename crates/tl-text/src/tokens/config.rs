//! The files that a tokenizer is in.
//!
//! The one decision: a `tokenizer.json` says all by itself; a `vocab.txt` is BERT's WordPiece, with what
//! `tokenizer_config.json` says of it.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::{AddedToken, Tokenizer};

use crate::error::TextError;

fn refuse(path: &Path, detail: impl ToString) -> TextError {
    TextError::Format { path: path.to_owned(), what: "a tokenizer", detail: detail.to_string() }
}

/// The file to read: the one given, or the first that there is in a folder.
pub(super) fn file(path: &Path) -> Result<PathBuf, TextError> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let found =
        ["tokenizer.json", "vocab.txt"].map(|name| path.join(name)).into_iter().find(|path| path.is_file());
    found.ok_or_else(|| refuse(path, "there is neither a `tokenizer.json` nor a `vocab.txt` in it"))
}

fn read(path: &Path) -> Result<Vec<u8>, TextError> {
    fs::read(path).map_err(|source| TextError::Read { path: path.to_owned(), source })
}

pub(super) fn from_json(path: &Path) -> Result<Tokenizer, TextError> {
    Tokenizer::from_bytes(read(path)?).map_err(|error| refuse(path, error))
}

/// What a `tokenizer_config.json` says of WordPiece; all else in it is passed over.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    do_lower_case: Option<bool>,
    strip_accents: Option<bool>,
    tokenize_chinese_chars: Option<bool>,
}

pub(super) fn word_piece(path: &Path) -> Result<Tokenizer, TextError> {
    let beside = path.with_file_name("tokenizer_config.json");
    let config: Config = match beside.is_file() {
        true => serde_json::from_slice(&read(&beside)?).map_err(|error| refuse(&beside, error))?,
        false => Config::default(),
    };
    let vocabulary = WordPiece::read_bytes(&read(path)?).map_err(|error| refuse(path, error))?;
    let model = WordPiece::builder().vocab(vocabulary).unk_token("[UNK]".to_owned()).build();
    let mut tokenizer = Tokenizer::new(model.map_err(|error| refuse(path, error))?);
    let id = |tokenizer: &Tokenizer, token: &str| {
        tokenizer.token_to_id(token).ok_or_else(|| refuse(path, format!("it has no `{token}`")))
    };
    let (unknown, sep, cls) = (id(&tokenizer, "[UNK]"), id(&tokenizer, "[SEP]")?, id(&tokenizer, "[CLS]")?);
    unknown?;
    let normalizer = BertNormalizer::new(
        true,
        config.tokenize_chinese_chars.unwrap_or(true),
        config.strip_accents,
        config.do_lower_case.unwrap_or(true),
    );
    tokenizer.with_normalizer(Some(normalizer)).map_err(|error| refuse(path, error))?;
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
    let processing = BertProcessing::new(("[SEP]".to_owned(), sep), ("[CLS]".to_owned(), cls));
    tokenizer.with_post_processor(Some(processing));
    // In a text they are what they say, as in the tokenizers that models are published with.
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].into_iter();
    let special: Vec<AddedToken> = special
        .filter(|token| tokenizer.token_to_id(token).is_some())
        .map(|token| AddedToken::from(token, true))
        .collect();
    tokenizer.add_special_tokens(special).map_err(|error| refuse(path, error))?;
    Ok(tokenizer)
}

//! Texts to token ids, as the tokenizer that a model was published with does it.
//!
//! The one decision: truncation and padding that a `tokenizer.json` asks for do not count. How long a text may be is
//! for the caller to say, how many were cut is counted, and a batch is only as wide as its longest text.

mod batch;
mod config;

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use tokenizers::{Encoding, InputSequence, TruncationDirection, TruncationParams, TruncationStrategy};

pub use batch::{BatchOptions, Batching, TokenBatch, bucketed, plan_batches};

use crate::dataset::TextSample;
use crate::error::TextError;

/// How texts become tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenOptions {
    /// How many tokens a text, or a pair, has at most, special tokens counted. Of a pair the longer text is cut first.
    pub max_length: usize,
    /// Whether special tokens are added, as the model was trained.
    pub special_tokens: bool,
}

impl Default for TokenOptions {
    fn default() -> Self {
        Self { max_length: 128, special_tokens: true }
    }
}

/// The tokens of a text, or of a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// The ids.
    pub ids: Vec<u32>,
    /// 0 for the first text, 1 for the second, as the tokenizer says.
    pub types: Vec<u32>,
    /// The word of each token: its place in the text as the tokenizer parts it, or in the words given; `None` for special
    /// tokens. Of a pair both texts count from 0.
    pub words: Vec<Option<u32>>,
    /// Whether some of it was cut off.
    pub cut: bool,
}

/// The tokens of many texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// In the order of the texts.
    pub texts: Vec<Tokens>,
    /// The id that fills up short texts.
    pub pad: u32,
}

impl Encoded {
    /// How many texts were cut.
    pub fn truncated(&self) -> usize {
        self.texts.iter().filter(|tokens| tokens.cut).count()
    }

    /// How many tokens each text has.
    pub fn lengths(&self) -> Vec<usize> {
        self.texts.iter().map(|tokens| tokens.ids.len()).collect()
    }
}

/// A tokenizer that a model was published with.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    /// It cuts.
    inner: tokenizers::Tokenizer,
    /// It does not.
    whole: tokenizers::Tokenizer,
    options: TokenOptions,
    pad: u32,
    /// Whether words that are given need a space before them.
    spaced: bool,
    path: PathBuf,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`, or a `vocab.txt` of BERT's WordPiece; or whichever of them is in a folder, the first if
    /// both are. Beside a `vocab.txt`, `tokenizer_config.json` says whether texts are put in lower case
    /// (`do_lower_case`, without it they are), and what becomes of accents and Chinese characters.
    ///
    /// # Errors
    /// A file cannot be read or is no tokenizer; it has no token to fill up with (`[PAD]` or `<pad>`); or `max_length`
    /// leaves no place beside the special tokens of a pair.
    pub fn open(path: &Path, options: TokenOptions) -> Result<Self, TextError> {
        let file = config::file(path)?;
        let inner = if file.extension().is_some_and(|extension| extension == "txt") {
            config::word_piece(&file)?
        } else {
            config::from_json(&file)?
        };
        Self::of(inner, file, options)
    }

    fn of(mut inner: tokenizers::Tokenizer, path: PathBuf, options: TokenOptions) -> Result<Self, TextError> {
        let refuse = |detail: String| TextError::Format { path: path.clone(), what: "a tokenizer", detail };
        let padding = inner.get_padding().map(|padding| padding.pad_id);
        let known = || ["[PAD]", "<pad>"].into_iter().find_map(|token| inner.token_to_id(token));
        let Some(pad) = padding.or_else(known) else {
            return Err(refuse("it has no token to fill up with, `[PAD]` or `<pad>`".to_owned()));
        };
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|error| refuse(error.to_string()))?;
        let whole = inner.clone();
        let special = if options.special_tokens { added_to_pair(&whole).map_err(refuse)? } else { 0 };
        if options.max_length <= special + 1 {
            let expected = format!("at least {}", special + 2);
            return Err(TextError::option("max_length", options.max_length, &expected));
        }
        let truncation = TruncationParams {
            direction: TruncationDirection::Right,
            max_length: options.max_length,
            strategy: TruncationStrategy::LongestFirst,
            stride: 0,
        };
        inner.with_truncation(Some(truncation)).map_err(|error| refuse(error.to_string()))?;
        let spaced = needs_spaces(&whole);
        Ok(Self { inner, whole, options, pad, spaced, path })
    }

    /// How texts become tokens.
    pub fn options(&self) -> TokenOptions {
        self.options
    }

    /// The id that fills up short texts.
    pub fn pad(&self) -> u32 {
        self.pad
    }

    /// How many ids there are.
    pub fn vocabulary(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The token of an id.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The text of a `tokenizer.json` that parts texts in the same way, without cutting or filling up.
    ///
    /// # Errors
    /// It holds what cannot be written.
    pub fn to_json(&self) -> Result<String, TextError> {
        let detail = |error: tokenizers::Error| error.to_string();
        self.whole.to_string(true).map_err(|error| TextError::Format {
            path: self.path.clone(),
            what: "a tokenizer that can be written",
            detail: detail(error),
        })
    }

    /// The tokens of one text, or pair.
    ///
    /// # Errors
    /// The tokenizer cannot tell what a part of the text is, and has no token for that.
    pub fn encode(&self, text: &str, pair: Option<&str>) -> Result<Tokens, TextError> {
        self.tokens(text.into(), pair)
    }

    /// The tokens of words that were parted before, such as those with a label each: [`Tokens::words`] are places in
    /// the list.
    ///
    /// # Errors
    /// Those of [`encode`](Self::encode).
    pub fn encode_words(&self, words: &[String]) -> Result<Tokens, TextError> {
        // As if each stood behind a space: byte-level tokens know that, and were trained on texts.
        let words = match self.spaced {
            true => words.iter().map(|word| format!(" {word}")).collect(),
            false => words.to_vec(),
        };
        self.tokens(words.into(), None)
    }

    /// The tokens of samples, on all threads of the present pool.
    ///
    /// # Errors
    /// Those of [`encode`](Self::encode); of several the first in the order of the samples.
    pub fn encode_all(&self, samples: &[TextSample]) -> Result<Encoded, TextError> {
        let each = samples.par_iter().with_min_len(16);
        let texts: Vec<Result<Tokens, TextError>> = each
            .map(|sample| match &sample.tagged {
                Some(tagged) => self.encode_words(&tagged.words),
                None => self.encode(&sample.text, sample.pair.as_deref()),
            })
            .collect();
        Ok(Encoded { texts: texts.into_iter().collect::<Result<_, _>>()?, pad: self.pad })
    }

    /// Tokens are cut once both texts have all of theirs: the library itself cuts each text before, and then no longer
    /// knows which was the longer one.
    fn tokens(&self, text: InputSequence<'_>, pair: Option<&str>) -> Result<Tokens, TextError> {
        let whole = |text: InputSequence<'_>| self.whole.encode(text, false);
        let encode = || {
            let (text, pair) = (whole(text)?, pair.map(|pair| whole(pair.into())).transpose()?);
            self.inner.post_process(text, pair, self.options.special_tokens)
        };
        match encode() {
            Ok(encoding) => Ok(Tokens::of(&encoding)),
            Err(error) => {
                let detail = error.to_string();
                Err(TextError::Format { path: self.path.clone(), what: "a tokenizer of this text", detail })
            }
        }
    }
}

impl Tokens {
    /// The first token of each word that has any: pairs of word and token, in the order of the words. Words that were cut
    /// off have none, nor have those of which a tokenizer leaves nothing.
    pub fn firsts(&self) -> Vec<(u32, u32)> {
        let mut firsts: Vec<(u32, u32)> = Vec::new();
        for (word, token) in self.words.iter().zip(0..) {
            if let Some(word) = word.filter(|word| firsts.last().is_none_or(|(last, _)| last < word)) {
                firsts.push((word, token));
            }
        }
        firsts
    }

    fn of(encoding: &Encoding) -> Self {
        Self {
            ids: encoding.get_ids().to_vec(),
            types: encoding.get_type_ids().to_vec(),
            words: encoding.get_word_ids().to_vec(),
            cut: !encoding.get_overflowing().is_empty(),
        }
    }
}

/// Whether a tokenizer parts texts into bytes and does not put a space before them itself.
fn needs_spaces(whole: &tokenizers::Tokenizer) -> bool {
    use tokenizers::pre_tokenizers::PreTokenizerWrapper as Pre;
    fn bare(pre: &Pre) -> bool {
        match pre {
            Pre::ByteLevel(bytes) => !bytes.add_prefix_space,
            Pre::Sequence(parts) => parts.as_ref().iter().any(bare),
            _ => false,
        }
    }
    whole.get_pre_tokenizer().is_some_and(bare)
}

/// How many special tokens a pair gets.
fn added_to_pair(whole: &tokenizers::Tokenizer) -> Result<usize, String> {
    let count = |special: bool| whole.encode(("a", "a"), special).map(|encoding| encoding.len());
    let (with, without) = (count(true), count(false));
    match (with, without) {
        (Ok(with), Ok(without)) => Ok(with.saturating_sub(without)),
        (Err(error), _) | (_, Err(error)) => Err(error.to_string()),
    }
}

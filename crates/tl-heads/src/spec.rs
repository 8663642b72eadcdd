//! A head in words: `gap`, `gap-1024`, `flatten-256`, `concat-bn-drop0.25-512-bn-drop0.5`.
//!
//! The decision behind it: the words say the layers in their order and nothing else, so that a text means the same head
//! for ever. A [`HeadSpec`] comes from words only, so every one of them is sound.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::pool::Pool;

/// Pooling, then layers, then (with dropout before it) a dense layer that gives the task's outputs.
///
/// Written and serialised as `POOL[-PART…]`:
///
/// | word | is |
/// |---|---|
/// | `gap` (or `avg`), `max`, `concat`, `gem`, `flatten`, `cls`, `last`, `tokens` | the [`Pool`] |
/// | `1024` | a dense layer of that width (1 to 65536) with ReLU |
/// | `1024-gelu` | the same with another [`Activation`]: `relu`, `gelu`, `silu`, `tanh`, `elu`, `leaky`, `none` |
/// | `bn` | batch-norm (Ioffe and Szegedy 2015, arXiv:1502.03167) |
/// | `drop0.5` | dropout (Srivastava et al. 2014) with that probability, 0 up to but not 1 |
///
/// `concat-bn-drop0.25-512-bn-drop0.5` is fastai's head, whose ReLU, too, comes before the batch-norm; but fastai's
/// dense layers have no bias, and these do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HeadSpec {
    /// How features become a vector.
    pub pool: Pool,
    parts: Vec<Part>,
}

/// One layer of a head.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Part {
    /// A dense layer.
    Dense {
        /// Its outputs, 1 to 65536.
        width: i64,
        /// What follows it.
        activation: Activation,
    },
    /// Batch-norm.
    BatchNorm,
    /// Dropout with this probability, `0..1`.
    Dropout(f64),
}

/// The function after a dense layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `max(x, 0)`.
    Relu,
    /// `x · Φ(x)`, exact and not its tanh approximation (arXiv:1606.08415).
    Gelu,
    /// `x · σ(x)` (arXiv:1702.03118), also called swish.
    Silu,
    /// The hyperbolic tangent.
    Tanh,
    /// `x`, below zero `eˣ − 1` (arXiv:1511.07289).
    Elu,
    /// `x`, below zero `0.01 · x`: PyTorch's slope, Keras's is another.
    Leaky,
    /// `x`.
    None,
}

/// The text is not a head.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a head: {reason}\n\nhint: write POOL[-PART…]: POOL is {}, PART a width, `bn`, `drop0.5` or, right after a width, an activation; as in `gap`, `gap-1024-gelu`, `concat-bn-drop0.25-512-bn-drop0.5`",
    pools()
)]
pub struct InvalidHead {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

const MAX_WIDTH: i64 = 65_536;

impl HeadSpec {
    /// The layers between pooling and the last dense layer, in order.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }
}

/// Pooling, and only the last dense layer after it.
impl From<Pool> for HeadSpec {
    fn from(pool: Pool) -> Self {
        Self { pool, parts: Vec::new() }
    }
}

impl Activation {
    const WORDS: [(&'static str, Self); 7] = [
        ("relu", Self::Relu),
        ("gelu", Self::Gelu),
        ("silu", Self::Silu),
        ("tanh", Self::Tanh),
        ("elu", Self::Elu),
        ("leaky", Self::Leaky),
        ("none", Self::None),
    ];

    /// The word for it in a [`HeadSpec`].
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Relu => "relu",
            Self::Gelu => "gelu",
            Self::Silu => "silu",
            Self::Tanh => "tanh",
            Self::Elu => "elu",
            Self::Leaky => "leaky",
            Self::None => "none",
        }
    }
}

impl FromStr for HeadSpec {
    type Err = InvalidHead;

    fn from_str(text: &str) -> Result<Self, InvalidHead> {
        let (pool, parts) = text.split_once('-').map_or((text, None), |(pool, rest)| (pool, Some(rest)));
        let read = || {
            let parts = parts.map_or(Ok(Vec::new()), read_parts)?;
            Ok(Self { pool: read_pool(pool)?, parts })
        };
        read().map_err(|reason| InvalidHead { text: text.to_owned(), reason })
    }
}

fn read_pool(word: &str) -> Result<Pool, String> {
    let word = if word == "avg" { "gap" } else { word };
    find(&Pool::WORDS, word).ok_or_else(|| format!("there is no pooling `{word}`; expected {}", pools()))
}

fn read_parts(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    // Whether the last word is a width, whose activation may follow.
    let mut open = false;
    for word in text.split('-') {
        let Some(chosen) = find(&Activation::WORDS, word) else {
            let part = read_part(word)?;
            open = matches!(part, Part::Dense { .. });
            parts.push(part);
            continue;
        };
        match parts.last_mut() {
            Some(Part::Dense { activation, .. }) if open => *activation = chosen,
            _ => {
                return Err(format!("activation `{word}` must come right after a width, as in `256-{word}`"));
            }
        }
        open = false;
    }
    Ok(parts)
}

fn read_part(word: &str) -> Result<Part, String> {
    if word == "bn" {
        return Ok(Part::BatchNorm);
    }
    if let Some(p) = word.strip_prefix("drop") {
        return read_dropout(p).ok_or_else(|| {
            format!("`{word}` is not a dropout; expected `dropP`, P from 0 up to but not 1, as in `drop0.5`")
        });
    }
    if word.is_empty() {
        return Err(
            "there is nothing after a `-`; expected a width, `bn`, `dropP` or an activation".to_owned()
        );
    }
    // Like a number, so that is what was meant.
    if word.starts_with(|c: char| c.is_ascii_digit() || c == '+' || c == '.') {
        let width = digits(word).and_then(|word| word.parse().ok()).filter(|w| (1..=MAX_WIDTH).contains(w));
        return width
            .map(|width| Part::Dense { width, activation: Activation::Relu })
            .ok_or_else(|| format!("`{word}` is not a width from 1 to {MAX_WIDTH}"));
    }
    let activations = list(&Activation::WORDS);
    Err(format!(
        "there is no part `{word}`; expected a width from 1 to {MAX_WIDTH}, `bn`, `dropP` or, right after a width, {activations}"
    ))
}

/// `None` when it is not a plain decimal number from 0 up to but not 1.
fn read_dropout(text: &str) -> Option<Part> {
    let plain = text.chars().all(|c| c.is_ascii_digit() || c == '.');
    let p: f64 = text.parse().ok().filter(|_| plain)?;
    // What rounds to 1 in the arithmetic of the mask would drop everything.
    ((p as f32) < 1.0).then_some(Part::Dropout(p))
}

fn digits(word: &str) -> Option<&str> {
    word.bytes().all(|b| b.is_ascii_digit()).then_some(word)
}

fn find<T: Copy>(words: &[(&str, T)], word: &str) -> Option<T> {
    words.iter().find(|(w, _)| *w == word).map(|(_, value)| *value)
}

fn pools() -> String {
    list(&Pool::WORDS)
}

/// `` `a`, `b` or `c` ``.
fn list<T>(words: &[(&str, T)]) -> String {
    let mut text = String::new();
    for (i, (word, _)) in words.iter().enumerate() {
        let separator = match i {
            0 => "",
            _ if i + 1 == words.len() => " or ",
            _ => ", ",
        };
        text.push_str(&format!("{separator}`{word}`"));
    }
    text
}

impl fmt::Display for HeadSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.pool.word())?;
        self.parts.iter().try_for_each(|part| match part {
            Part::Dense { width, activation: Activation::Relu } => write!(f, "-{width}"),
            Part::Dense { width, activation } => write!(f, "-{width}-{}", activation.word()),
            Part::BatchNorm => f.write_str("-bn"),
            Part::Dropout(p) => write!(f, "-drop{p}"),
        })
    }
}

impl TryFrom<String> for HeadSpec {
    type Error = InvalidHead;

    fn try_from(text: String) -> Result<Self, InvalidHead> {
        text.parse()
    }
}

impl From<HeadSpec> for String {
    fn from(spec: HeadSpec) -> Self {
        spec.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_read_and_write_alike() {
        for text in [
            "gap",
            "gap-1024",
            "flatten-256",
            "flatten-512-128",
            "max",
            "gem-bn",
            "cls-drop0.1",
            "last-768-tanh",
            "tokens-drop0.1",
            "concat-bn-drop0.25-512-bn-drop0.5",
            "gap-1024-gelu-256-none-8-leaky-bn-4-silu-3-tanh-2-elu",
            "gap-drop0.0000001",
        ] {
            let spec: HeadSpec = text.parse().unwrap();
            assert_eq!(spec.to_string(), text);
            let json = serde_json::to_string(&spec).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<HeadSpec>(&json).unwrap(), spec);
        }
        for (text, shown) in [("avg-0016-relu", "gap-16"), ("gap-drop0.50-drop0", "gap-drop0.5-drop0")] {
            assert_eq!(text.parse::<HeadSpec>().unwrap().to_string(), shown);
        }
        for (pool, word) in Pool::WORDS.map(|(word, pool)| (pool, word)) {
            assert_eq!(HeadSpec::from(pool).to_string(), word);
        }
    }

    #[test]
    fn words_are_layers_in_order() {
        let spec: HeadSpec = "concat-bn-drop0.25-512-8-gelu".parse().unwrap();
        assert_eq!(spec.pool, Pool::Concat);
        let dense = |width, activation| Part::Dense { width, activation };
        let parts =
            [Part::BatchNorm, Part::Dropout(0.25), dense(512, Activation::Relu), dense(8, Activation::Gelu)];
        assert_eq!(spec.parts(), parts);
    }

    #[test]
    fn errors_say_what_was_expected() {
        let pools = "expected `gap`, `max`, `concat`, `gem`, `flatten`, `cls`, `last` or `tokens`";
        let dropout = "expected `dropP`, P from 0 up to but not 1, as in `drop0.5`";
        let empty = "there is nothing after a `-`; expected a width, `bn`, `dropP` or an activation";
        let part = "expected a width from 1 to 65536, `bn`, `dropP` or, right after a width, `relu`, `gelu`, `silu`, `tanh`, `elu`, `leaky` or `none`";
        for (text, reason) in [
            ("maxx", &*format!("there is no pooling `maxx`; {pools}")),
            ("", &*format!("there is no pooling ``; {pools}")),
            ("GAP-16", &*format!("there is no pooling `GAP`; {pools}")),
            ("gap-", empty),
            ("gap--16", empty),
            ("gap-0", "`0` is not a width from 1 to 65536"),
            ("gap-65537", "`65537` is not a width from 1 to 65536"),
            ("gap-99999999999999999999", "`99999999999999999999` is not a width from 1 to 65536"),
            ("gap-+5", "`+5` is not a width from 1 to 65536"),
            ("flatten-1e3", "`1e3` is not a width from 1 to 65536"),
            ("gap-drop", &*format!("`drop` is not a dropout; {dropout}")),
            ("gap-drop1", &*format!("`drop1` is not a dropout; {dropout}")),
            ("gap-drop0.99999999999", &*format!("`drop0.99999999999` is not a dropout; {dropout}")),
            ("gap-dropnan", &*format!("`dropnan` is not a dropout; {dropout}")),
            ("gap-drop+0.5", &*format!("`drop+0.5` is not a dropout; {dropout}")),
            ("gap-relu", "activation `relu` must come right after a width, as in `256-relu`"),
            ("gap-16-bn-elu", "activation `elu` must come right after a width, as in `256-elu`"),
            ("gap-16-relu-gelu", "activation `gelu` must come right after a width, as in `256-gelu`"),
            ("gap-swish", &*format!("there is no part `swish`; {part}")),
        ] {
            assert_eq!(text.parse::<HeadSpec>().unwrap_err().reason, reason, "{text}");
        }
        let error = serde_json::from_str::<HeadSpec>("\"gap-0\"").unwrap_err().to_string();
        assert!(error.starts_with("`gap-0` is not a head: `0` is not a width"), "{error}");
    }
}

//! A head in words: `gap`, `gap-1024`, `flatten-256`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How a feature map becomes a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// Mean over height and width (Lin et al. 2013, arXiv:1312.4400): `[N, C, H, W]` to `[N, C]`.
    Average,
    /// All values: `[N, C, H, W]` to `[N, C · H · W]`. Fixes the image size.
    Flatten,
}

/// Pooling, then dense layers of these widths with ReLU, then (with dropout before it) one output per class.
/// Written and serialised as `POOL[-WIDTH…]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HeadSpec {
    /// How features become a vector.
    pub pool: Pool,
    /// Widths of the hidden dense layers.
    pub hidden: Vec<i64>,
}

/// The text is not a head.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a head: {reason}\n\nhint: write POOL[-WIDTH…], with POOL `gap` or `flatten`: `gap`, `gap-1024`, `flatten-256`"
)]
pub struct InvalidHead {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

const MAX_WIDTH: i64 = 65_536;

impl FromStr for HeadSpec {
    type Err = InvalidHead;

    fn from_str(text: &str) -> Result<Self, InvalidHead> {
        let invalid = |reason: String| InvalidHead { text: text.to_owned(), reason };
        let mut parts = text.split('-');
        let pool = match parts.next() {
            Some("gap") => Pool::Average,
            Some("flatten") => Pool::Flatten,
            other => return Err(invalid(format!("there is no pooling `{}`", other.unwrap_or("")))),
        };
        let width = |part: &str| match part.parse::<i64>() {
            Ok(width) if (1..=MAX_WIDTH).contains(&width) => Ok(width),
            _ => Err(invalid(format!("`{part}` is not a width from 1 to {MAX_WIDTH}"))),
        };
        Ok(Self { pool, hidden: parts.map(width).collect::<Result<_, _>>()? })
    }
}

impl fmt::Display for HeadSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.pool {
            Pool::Average => "gap",
            Pool::Flatten => "flatten",
        })?;
        self.hidden.iter().try_for_each(|width| write!(f, "-{width}"))
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
        for text in ["gap", "gap-1024", "flatten-256", "flatten-512-128"] {
            assert_eq!(text.parse::<HeadSpec>().unwrap().to_string(), text);
        }
        for (text, reason) in [
            ("max", "there is no pooling `max`"),
            ("", "there is no pooling ``"),
            ("gap-", "`` is not a width from 1 to 65536"),
            ("gap-0", "`0` is not a width from 1 to 65536"),
            ("flatten-1e3", "`1e3` is not a width from 1 to 65536"),
        ] {
            assert_eq!(text.parse::<HeadSpec>().unwrap_err().reason, reason);
        }
    }
}

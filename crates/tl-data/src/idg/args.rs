//! Arguments by name, as they stand in a JSON object, and reading them one by one.
//!
//! The one decision: reading never stops at the first fault. Every argument is read to the end with its
//! default in the place of a bad value, the problems pile up, and whatever name nobody asked for is a problem
//! as well, with the name that was probably meant.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::{IdgError, IdgProblem, IdgProblems, nearest};

/// The value of an argument: what JSON can hold. Whole numbers and others are told apart, as Keras does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Arg {
    /// `None`.
    Null,
    /// `True` or `False`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A string.
    Text(String),
    /// A list or a tuple.
    List(Vec<Arg>),
    /// An object; no argument takes one.
    Object(BTreeMap<String, Arg>),
}

/// Arguments by name.
pub type Args = BTreeMap<String, Arg>;

impl Arg {
    /// As it goes into a message.
    fn shown(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Float(value) => format!("{value:?}"),
            Self::Text(text) => format!("the text `{text}`"),
            Self::List(items) => {
                format!("[{}]", items.iter().map(Self::shown).collect::<Vec<_>>().join(", "))
            }
            Self::Object(_) => "an object".to_owned(),
        }
    }

    /// Any number; truth values are none.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// Two numbers.
    pub(super) fn pair(&self) -> Option<(f64, f64)> {
        match self {
            Self::List(items) => match items.as_slice() {
                [a, b] => a.number().zip(b.number()),
                _ => None,
            },
            _ => None,
        }
    }

    /// Two whole numbers.
    fn size(&self) -> Option<(u32, u32)> {
        let side = |arg: &Arg| match arg {
            Self::Int(value) => u32::try_from(*value).ok(),
            _ => None,
        };
        match self {
            Self::List(items) => match items.as_slice() {
                [a, b] => side(a).zip(side(b)),
                _ => None,
            },
            _ => None,
        }
    }

    fn texts(&self) -> Option<Vec<String>> {
        match self {
            Self::List(items) => items.iter().map(|item| item.text().map(str::to_owned)).collect(),
            _ => None,
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// A value that is one of a few words.
pub(super) trait Choice: Copy + PartialEq + 'static {
    /// The words, in the order of [`Choice::VALUES`].
    const NAMES: &'static [&'static str];
    /// What they mean.
    const VALUES: &'static [Self];

    /// The word for a value.
    fn name(self) -> &'static str {
        let at = Self::VALUES.iter().position(|value| *value == self);
        at.map_or("", |at| Self::NAMES[at])
    }
}

/// Makes [`Choice`] out of a list of values and words.
macro_rules! choice {
    ($type:ty: $($value:ident = $name:literal),+ $(,)?) => {
        impl $crate::idg::args::Choice for $type {
            const NAMES: &'static [&'static str] = &[$($name),+];
            const VALUES: &'static [Self] = &[$(Self::$value),+];
        }
    };
}
pub(super) use choice;

/// Reads arguments by name.
pub(super) struct Reader {
    args: Args,
    asked: Vec<&'static str>,
    pub(super) problems: Vec<IdgProblem>,
}

impl Reader {
    pub(super) fn new(args: Args) -> Self {
        Self { args, asked: Vec::new(), problems: Vec::new() }
    }

    /// The value of `name`, or the default where it is not given, or is null, or is refused.
    pub(super) fn take<T>(
        &mut self,
        name: &'static str,
        default: T,
        expected: &str,
        read: impl FnOnce(&Arg) -> Option<T>,
    ) -> T {
        self.asked.push(name);
        let Some(arg) = self.args.remove(name) else { return default };
        match read(&arg) {
            Some(value) => value,
            None => {
                let problem = IdgProblem::Value { name, got: arg.shown(), expected: expected.to_owned() };
                self.problems.push(problem);
                default
            }
        }
    }

    pub(super) fn flag(&mut self, name: &'static str, default: bool) -> bool {
        self.take(name, default, "true or false", |arg| match arg {
            Arg::Bool(value) => Some(*value),
            _ => None,
        })
    }

    pub(super) fn number(&mut self, name: &'static str, default: f64) -> f64 {
        self.take(name, default, "a number", Arg::number)
    }

    pub(super) fn optional_number(&mut self, name: &'static str) -> Option<f64> {
        self.take(name, None, "a number or null", |arg| match arg {
            Arg::Null => Some(None),
            other => other.number().map(Some),
        })
    }

    pub(super) fn whole(&mut self, name: &'static str, default: u64) -> u64 {
        self.take(name, default, "a whole number from 0", |arg| match arg {
            Arg::Null => Some(default),
            Arg::Int(value) => u64::try_from(*value).ok(),
            _ => None,
        })
    }

    pub(super) fn size(&mut self, name: &'static str, default: (u32, u32)) -> (u32, u32) {
        self.take(name, default, "[height, width] in pixels", Arg::size)
    }

    pub(super) fn text(&mut self, name: &'static str, default: &str) -> String {
        self.take(name, default.to_owned(), "a text", |arg| arg.text().map(str::to_owned))
    }

    pub(super) fn optional_text(&mut self, name: &'static str) -> Option<String> {
        self.take(name, None, "a text or null", |arg| match arg {
            Arg::Null => Some(None),
            other => other.text().map(|text| Some(text.to_owned())),
        })
    }

    pub(super) fn optional_texts(&mut self, name: &'static str) -> Option<Vec<String>> {
        self.take(name, None, "a list of texts or null", |arg| match arg {
            Arg::Null => Some(None),
            other => other.texts().map(Some),
        })
    }

    /// One text or several.
    pub(super) fn text_or_texts(&mut self, name: &'static str, default: &str) -> Vec<String> {
        self.take(name, vec![default.to_owned()], "a text or a list of texts", |arg| match arg {
            Arg::Text(text) => Some(vec![text.clone()]),
            other => other.texts(),
        })
    }

    /// One of a few words; null means the default.
    pub(super) fn choice<T: Choice>(&mut self, name: &'static str, default: T) -> T {
        self.optional_choice(name, Some(default)).unwrap_or(default)
    }

    /// One of a few words, or null.
    pub(super) fn optional_choice<T: Choice>(&mut self, name: &'static str, default: Option<T>) -> Option<T> {
        let expected = format!("one of {}, or null", T::NAMES.join(", "));
        let word =
            self.take(name, default.map(|value| value.name().to_owned()), &expected, |arg| match arg {
                Arg::Null => Some(None),
                other => other.text().map(|text| Some(text.to_owned())),
            })?;
        match T::NAMES.iter().position(|known| *known == word) {
            Some(at) => Some(T::VALUES[at]),
            None => {
                let nearest = nearest(&word, T::NAMES.iter().copied());
                self.problems.push(IdgProblem::Choice { name, got: word, known: T::NAMES, nearest });
                default
            }
        }
    }

    /// Ends the reading: what is left over is unknown.
    pub(super) fn finish<T>(mut self, of: &'static str, value: T) -> Result<T, IdgError> {
        for name in self.args.into_keys() {
            let nearest = nearest(&name, self.asked.iter().copied());
            self.problems.push(IdgProblem::Unknown { name, nearest });
        }
        fail_if_any(of, self.problems).map(|()| value)
    }
}

/// An error if there are problems.
pub(super) fn fail_if_any(of: &'static str, problems: Vec<IdgProblem>) -> Result<(), IdgError> {
    if problems.is_empty() {
        return Ok(());
    }
    Err(IdgError::Arguments { of, problems: IdgProblems(problems) })
}

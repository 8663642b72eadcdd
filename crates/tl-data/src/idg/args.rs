//! Arguments by name, as they stand in a JSON object, and reading them one by one.
//!
//! The one decision: reading never stops at the first fault. Every argument is read to the end with its
//! default in the place of a bad value, the problems pile up, and whatever name nobody asked for is a problem
//! as well, with the name that was probably meant.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

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
    /// A whole number beyond those, as a seed may be.
    UInt(u64),
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

/// Reads arguments from a JSON object.
///
/// # Errors
/// The text is no JSON object, or names are in it twice: which of the two counts would be a guess.
pub fn args_from_json(json: &str) -> Result<Args, IdgError> {
    let found: Named =
        serde_json::from_str(json).map_err(|error| IdgError::Json { detail: error.to_string() })?;
    found.unique("a JSON object")
}

/// Arguments as they are written down, with the names that are there twice.
pub(super) struct Named {
    args: Args,
    twice: Vec<String>,
}

impl Named {
    /// The arguments, if each is there once.
    pub(super) fn unique(self, of: &'static str) -> Result<Args, IdgError> {
        let problems = self.twice.into_iter().map(|name| IdgProblem::Twice { name }).collect();
        fail_if_any(of, problems).map(|()| self.args)
    }
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Named;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of arguments by name")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Named, M::Error> {
                let mut found = Named { args: Args::new(), twice: Vec::new() };
                while let Some((name, arg)) = map.next_entry::<String, Arg>()? {
                    if found.args.insert(name.clone(), arg).is_some() && !found.twice.contains(&name) {
                        found.twice.push(name);
                    }
                }
                Ok(found)
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

impl Arg {
    /// As it goes into a message.
    fn shown(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::UInt(value) => value.to_string(),
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
            Self::UInt(value) => Some(*value as f64),
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

    pub(super) fn texts(&self) -> Option<Vec<String>> {
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
        // Keras's own defaults are often `None` or mean the same.
        if self.args.get(name) == Some(&Arg::Null) {
            self.args.remove(name);
        }
        self.take_or_null(name, default, expected, read)
    }

    /// [`Reader::take`] for arguments whose default is not what null means.
    pub(super) fn take_or_null<T>(
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

    /// True or false; as in Python, 1 and 0 are the same, and null is false.
    pub(super) fn flag(&mut self, name: &'static str, default: bool) -> bool {
        self.take_or_null(name, default, "true or false", |arg| match arg {
            Arg::Bool(value) => Some(*value),
            Arg::Int(0) | Arg::Null => Some(false),
            Arg::Int(1) => Some(true),
            _ => None,
        })
    }

    pub(super) fn number(&mut self, name: &'static str, default: f64) -> f64 {
        self.take(name, default, "a number", Arg::number)
    }

    pub(super) fn optional_number(&mut self, name: &'static str) -> Option<f64> {
        self.take(name, None, "a number or null", |arg| arg.number().map(Some))
    }

    pub(super) fn whole(&mut self, name: &'static str, default: u64) -> u64 {
        self.take(name, default, "a whole number from 0", |arg| match arg {
            Arg::Int(value) => u64::try_from(*value).ok(),
            Arg::UInt(value) => Some(*value),
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
        self.take(name, None, "a text or null", |arg| arg.text().map(|text| Some(text.to_owned())))
    }

    pub(super) fn optional_texts(&mut self, name: &'static str) -> Option<Vec<String>> {
        self.take(name, None, "a list of texts or null", |arg| arg.texts().map(Some))
    }

    /// One of a few words; null means the default.
    pub(super) fn choice<T: Choice>(&mut self, name: &'static str, default: T) -> T {
        self.optional_choice(name, Some(default)).unwrap_or(default)
    }

    /// One of a few words, or null.
    pub(super) fn optional_choice<T: Choice>(&mut self, name: &'static str, default: Option<T>) -> Option<T> {
        let expected = format!("one of {}, or null", T::NAMES.join(", "));
        let word = self.take_or_null(
            name,
            default.map(|value| value.name().to_owned()),
            &expected,
            |arg| match arg {
                Arg::Null => Some(None),
                other => other.text().map(|text| Some(text.to_owned())),
            },
        )?;
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

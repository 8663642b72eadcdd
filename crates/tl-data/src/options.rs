//! Checking ranges: all that is wrong with a configuration, reported together.
//!
//! The one decision: a check never stops at the first problem. One problem keeps its own short message; several become
//! a list.

use std::fmt;

use crate::error::DataError;

/// One option or field outside its range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionProblem {
    /// The name of the option or field; fields of a part are written `part.field`.
    pub option: &'static str,
    /// The value given.
    pub got: String,
    /// The range allowed.
    pub expected: String,
}

impl fmt::Display for OptionProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "option `{}` is {} (expected {})", self.option, self.got, self.expected)
    }
}

/// Two or more options outside their ranges, in the order of the checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionProblems(pub Vec<OptionProblem>);

impl fmt::Display for OptionProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} problems", self.0.len())?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
    }
}

/// Collects problems.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    found: Vec<OptionProblem>,
}

impl Checks {
    /// Notes a problem unless the condition holds.
    pub(crate) fn require(
        &mut self,
        holds: bool,
        option: &'static str,
        got: &dyn fmt::Debug,
        expected: &str,
    ) {
        if !holds {
            self.found.push(OptionProblem { option, got: format!("{got:?}"), expected: expected.to_owned() });
        }
    }

    /// Requires a number between two others, which both are allowed; never true of NaN.
    pub(crate) fn between(&mut self, option: &'static str, got: f32, low: f32, high: f32) {
        self.require((low..=high).contains(&got), option, &got, &format!("{low} to {high}"));
    }

    /// Requires two rising numbers between two others.
    pub(crate) fn rising(&mut self, option: &'static str, got: (f32, f32), low: f32, high: f32) {
        let holds = got.0 >= low && got.0 <= got.1 && got.1 <= high;
        self.require(holds, option, &got, &format!("two rising numbers from {low} to {high}"));
    }

    /// Whether nothing was wrong.
    ///
    /// # Errors
    /// All that was.
    pub(crate) fn finish(mut self) -> Result<(), DataError> {
        match (self.found.pop(), self.found.is_empty()) {
            (None, _) => Ok(()),
            (Some(OptionProblem { option, got, expected }), true) => {
                Err(DataError::Option { option, got, expected })
            }
            (Some(last), false) => {
                self.found.push(last);
                Err(DataError::Options { problems: OptionProblems(self.found) })
            }
        }
    }
}

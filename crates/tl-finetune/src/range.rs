//! Ranges of the numbers of a phase, as a table: each has its test and its words in one place, so that what is checked
//! and what a message says cannot differ. Nothing that is not a number lies in any of them.

/// Where a number has to lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Range {
    /// `0 <= x < 1`.
    BelowOne,
    /// `0 < x < 1`.
    Between,
    /// `0 < x <= 1`.
    Factor,
    /// `0 <= x <= 1`.
    Fraction,
    /// `0 < x <= 10`.
    Rate,
    /// `0 < x`.
    Positive,
    /// `0 <= x`.
    NotNegative,
    /// `1 <= x`.
    FromOne,
}

impl Range {
    pub(crate) fn holds(self, x: f64) -> bool {
        x.is_finite()
            && match self {
                Self::BelowOne => (0.0..1.0).contains(&x),
                Self::Between => x > 0.0 && x < 1.0,
                Self::Factor => x > 0.0 && x <= 1.0,
                Self::Fraction => (0.0..=1.0).contains(&x),
                Self::Rate => x > 0.0 && x <= 10.0,
                Self::Positive => x > 0.0,
                Self::NotNegative => x >= 0.0,
                Self::FromOne => x >= 1.0,
            }
    }

    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::BelowOne => "0 or more, below 1",
            Self::Between => "above 0, below 1",
            Self::Factor => "above 0, at most 1",
            Self::Fraction => "0 or more, at most 1",
            Self::Rate => "above 0, at most 10",
            Self::Positive => "above 0",
            Self::NotNegative => "0 or more",
            Self::FromOne => "at least 1",
        }
    }
}

/// A number by its key, and where it has to lie.
pub(crate) type Number = (&'static str, f64, Range);

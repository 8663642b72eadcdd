//! Problems of one input, collected so that they are reported together.
//!
//! The one decision: a table may have a million bad rows, so only the first [`LISTED`] problems are kept with
//! their text; the rest are counted, and the message says how many.

use std::fmt;

/// How many problems are listed in full; the rest are counted.
pub const LISTED: usize = 50;

/// How many different hints one message gives.
const HINTS: usize = 4;

/// Something wrong that a person can mend.
pub trait Problem: fmt::Display {
    /// What to do about it, where something can be said.
    fn hint(&self) -> Option<String>;
}

/// All that is wrong with one input, in the order it was found.
#[derive(Debug)]
pub struct Problems<P> {
    listed: Vec<P>,
    more: u64,
}

impl<P> Default for Problems<P> {
    fn default() -> Self {
        Self { listed: Vec::new(), more: 0 }
    }
}

impl<P> Problems<P> {
    /// The first problems, at most [`LISTED`].
    pub fn listed(&self) -> &[P] {
        &self.listed
    }

    /// How many there are beyond those listed.
    pub fn more(&self) -> u64 {
        self.more
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// Adds a problem, which is only made if it is going to be listed.
    pub fn push(&mut self, problem: impl FnOnce() -> P) {
        if self.listed.len() < LISTED {
            self.listed.push(problem());
        } else {
            self.more += 1;
        }
    }
}

impl<P: Problem> fmt::Display for Problems<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let ([only], 0) = (self.listed.as_slice(), self.more) {
            write!(f, "{only}")?;
        } else {
            write!(f, "{} problems", self.listed.len() as u64 + self.more)?;
            for problem in &self.listed {
                write!(f, "\n  - {problem}")?;
            }
            if self.more > 0 {
                write!(f, "\n  - and {} more", self.more)?;
            }
        }
        let mut hints: Vec<String> = Vec::new();
        for hint in self.listed.iter().filter_map(P::hint) {
            if hints.len() < HINTS && !hints.contains(&hint) {
                hints.push(hint);
            }
        }
        for (i, hint) in hints.iter().enumerate() {
            write!(f, "{}hint: {hint}", if i == 0 { "\n\n" } else { "\n" })?;
        }
        Ok(())
    }
}

/// The one of `known` that `name` was most likely meant to be, if any comes close.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const CLOSE: f64 = 0.6;
    let name = name.to_lowercase();
    let likeness =
        |known: &'a str| (strsim::normalized_damerau_levenshtein(&name, &known.to_lowercase()), known);
    let best = known.into_iter().map(likeness).max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(a.1)))?;
    (best.0 >= CLOSE).then_some(best.1)
}

/// Some names in backticks, and how many more there are.
pub fn some_names<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 12;
    let names: Vec<&str> = names.into_iter().collect();
    let mut text: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    if names.len() > SHOWN {
        text.push(format!("and {} more", names.len() - SHOWN));
    }
    text.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Row(u32);

    impl fmt::Display for Row {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "row {}", self.0)
        }
    }

    impl Problem for Row {
        fn hint(&self) -> Option<String> {
            Some(format!("mend {}", self.0 % 2))
        }
    }

    #[test]
    fn the_rest_is_counted() {
        let mut problems = Problems::default();
        problems.push(|| Row(0));
        assert_eq!(problems.to_string(), "row 0\n\nhint: mend 0");
        for i in 1..60 {
            problems.push(|| Row(i));
        }
        let text = problems.to_string();
        assert!(text.starts_with("60 problems\n  - row 0\n") && text.contains("row 49\n  - and 10 more"));
        assert!(text.ends_with("\n\nhint: mend 0\nhint: mend 1"), "{text}");
        assert_eq!((problems.listed().len(), problems.more()), (50, 10));
    }

    #[test]
    fn names_that_come_close() {
        assert_eq!(nearest("Lable", ["file", "label"]), Some("label"));
        assert_eq!(nearest("xyz", ["file", "label"]), None);
        assert_eq!(nearest("x", []), None);
        let many: Vec<String> = (0..14).map(|i| i.to_string()).collect();
        assert!(some_names(many.iter().map(String::as_str)).ends_with("`11`, and 2 more"));
    }
}

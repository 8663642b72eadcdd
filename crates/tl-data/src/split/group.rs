//! Which images belong together, read off their file names.
//!
//! The one decision: the group is what the first pair of parentheses that takes part in a match has matched,
//! so that `^cat_(\d+)|^dog_(\d+)` works; and a name that does not match is an error, as an image without a group
//! could leak from one side to the other.

use regex::Regex;

use super::problem::SplitProblem;
use crate::collected::Problems;
use crate::error::DataError;

/// A regular expression whose first capture group that takes part in the match is the group of an image.
///
/// A pattern with a `/` in it is searched for in the path below the dataset's folder, any other in the file
/// name alone.
#[derive(Debug, Clone)]
pub struct GroupPattern {
    regex: Regex,
    whole_path: bool,
}

impl GroupPattern {
    /// Compiles a pattern, such as `^(\d+)_` for `0017_left.jpg`.
    ///
    /// # Errors
    /// The pattern is no regular expression, or has no capture group.
    pub fn new(pattern: &str) -> Result<Self, DataError> {
        let refuse = |detail: String| DataError::Pattern { pattern: pattern.to_owned(), detail };
        let regex = Regex::new(pattern).map_err(|error| refuse(error.to_string()))?;
        if regex.captures_len() < 2 {
            let detail = "it has no parentheses around what names the group";
            return Err(refuse(detail.to_owned()));
        }
        Ok(Self { regex, whole_path: pattern.contains('/') })
    }

    /// The pattern as it was given.
    pub fn pattern(&self) -> &str {
        self.regex.as_str()
    }

    /// The group of an image, or `None` when the pattern does not match or its group is empty.
    pub fn group<'a>(&self, name: &'a str) -> Option<&'a str> {
        let text = if self.whole_path { name } else { name.rsplit('/').next().unwrap_or(name) };
        let group = self.regex.captures(text)?.iter().skip(1).flatten().next()?.as_str();
        (!group.is_empty()).then_some(group)
    }

    /// The group of each image.
    ///
    /// # Errors
    /// The names without a group.
    pub fn groups<'a>(&self, names: &[&'a str]) -> Result<Vec<&'a str>, DataError> {
        let mut problems = Problems::default();
        let mut groups = Vec::with_capacity(names.len());
        for name in names {
            match self.group(name) {
                Some(group) => groups.push(group),
                None => problems.push(|| SplitProblem::NoGroup {
                    name: (*name).to_owned(),
                    pattern: self.pattern().to_owned(),
                }),
            }
        }
        if problems.is_empty() { Ok(groups) } else { Err(DataError::Split { problems }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_capture_group() {
        let file = GroupPattern::new(r"^([a-z]+)\d*_(\d)").unwrap();
        assert_eq!(file.group("x/y/tom12_3.jpg"), Some("tom"));
        assert_eq!(file.group("tom/12.jpg"), None);
        assert_eq!(GroupPattern::new(r"^([^/]+)/").unwrap().group("p1/a/2.jpg"), Some("p1"));
        assert_eq!(GroupPattern::new(r"a()b").unwrap().group("ab"), None);
        assert_eq!(GroupPattern::new(r"^(\w)").unwrap().group("über"), Some("ü"));
        let either = GroupPattern::new(r"^cat_(\d+)|^dog_(\d+)").unwrap();
        assert_eq!((either.group("cat_7.jpg"), either.group("dog_8.jpg")), (Some("7"), Some("8")));
        let error = GroupPattern::new("a+").unwrap_err().to_string();
        assert!(error.contains("pattern `a+` cannot be used: it has no parentheses"), "{error}");
        assert!(GroupPattern::new("(a").unwrap_err().to_string().contains("unclosed group"));
    }

    #[test]
    fn names_without_a_group_are_listed() {
        let pattern = GroupPattern::new(r"^(\d+)_").unwrap();
        assert_eq!(pattern.groups(&["1_a", "2_b"]).unwrap(), ["1", "2"]);
        let error = pattern.groups(&["1_a", "x", "y"]).unwrap_err().to_string();
        assert!(error.contains("2 problems\n  - `x` has no group"), "{error}");
    }
}

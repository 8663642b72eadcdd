//! A text to its terms: words, runs of words, or runs of characters.
//!
//! The one decision: letters, digits, and white space are what Python takes for them, so that the terms are
//! scikit-learn's for any text.

use std::collections::BTreeSet;

use regex::Regex;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::canonical_combining_class;
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

use super::TfidfOptions;
use crate::error::TextError;

/// What terms are made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Analyzer {
    /// Words: runs of letters, digits and `_` of at least [`TfidfOptions::shortest`] characters, or what
    /// [`TfidfOptions::token_pattern`] finds.
    #[default]
    Word,
    /// Characters, across words.
    Char,
    /// Characters within words, each with a space at both ends.
    CharWb,
}

/// What becomes of accents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StripAccents {
    /// Characters are decomposed (NFKD), and what is not ASCII is left out.
    Ascii,
    /// Characters are decomposed (NFKD), and marks are left out.
    Unicode,
}

/// How texts become terms, made ready.
#[derive(Debug, Clone)]
pub(super) struct Analysis {
    pub(super) options: TfidfOptions,
    stop: BTreeSet<String>,
    pattern: Option<Regex>,
}

impl Analysis {
    /// # Errors
    /// An option is out of range, or the pattern is none.
    pub(super) fn new(options: &TfidfOptions) -> Result<Self, TextError> {
        options.check()?;
        let pattern = options.token_pattern.as_ref().map(|pattern| compiled(pattern)).transpose()?;
        Ok(Self { options: options.clone(), stop: options.stop_words.iter().cloned().collect(), pattern })
    }

    /// The words of a text, stop words left out.
    fn words<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let wanted = |word: &&str| !self.stop.contains(*word);
        match &self.pattern {
            None => words(text, self.options.shortest).filter(wanted).collect(),
            Some(pattern) => {
                let group = pattern.captures_len() - 1;
                let found = pattern.captures_iter(text).filter_map(|found| found.get(group));
                found.map(|found| found.as_str()).filter(wanted).collect()
            }
        }
    }
}

fn compiled(pattern: &str) -> Result<Regex, TextError> {
    let refuse = |expected: &str| TextError::option("token_pattern", format!("`{pattern}`"), expected);
    // Python's flag for Unicode, which is always on.
    let plain = pattern.strip_prefix("(?u)").unwrap_or(pattern);
    let regex = Regex::new(plain).map_err(|error| {
        let error = error.to_string();
        let why = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
        refuse(&format!("a regular expression: {why}"))
    })?;
    if regex.captures_len() > 2 {
        return Err(refuse("at most one group"));
    }
    Ok(regex)
}

/// Calls `each` with every term of a text, as often as it is there.
pub(super) fn terms(text: &str, analysis: &Analysis, mut each: impl FnMut(&str)) {
    let options = &analysis.options;
    let lower = if options.lowercase { text.to_lowercase() } else { text.to_owned() };
    let text = match options.strip_accents {
        None => lower,
        Some(StripAccents::Ascii) => lower.nfkd().filter(char::is_ascii).collect(),
        Some(StripAccents::Unicode) => lower.nfkd().filter(|c| canonical_combining_class(*c) == 0).collect(),
    };
    let (fewest, most) = options.ngrams;
    match options.analyzer {
        Analyzer::Word => {
            let words = analysis.words(&text);
            let mut joined = String::new();
            for n in fewest..=most {
                for run in words.windows(n) {
                    match run {
                        [word] => each(word),
                        _ => {
                            joined.clear();
                            for (place, word) in run.iter().enumerate() {
                                if place > 0 {
                                    joined.push(' ');
                                }
                                joined.push_str(word);
                            }
                            each(&joined);
                        }
                    }
                }
            }
        }
        Analyzer::Char => {
            let text = narrowed(&text);
            let ends = ends(&text);
            for n in fewest..=most {
                runs(&text, &ends, n, &mut each);
            }
        }
        Analyzer::CharWb => {
            for word in text.split(is_space).filter(|word| !word.is_empty()) {
                let word = format!(" {word} ");
                let ends = ends(&word);
                for n in fewest..=most {
                    if n + 1 > ends.len() {
                        // A short word counts once.
                        each(&word);
                        break;
                    }
                    runs(&word, &ends, n, &mut each);
                    if n + 1 == ends.len() {
                        break;
                    }
                }
            }
        }
    }
}

/// Where characters begin, and the end of the text.
fn ends(text: &str) -> Vec<usize> {
    text.char_indices().map(|(at, _)| at).chain([text.len()]).collect()
}

fn runs(text: &str, ends: &[usize], n: usize, each: &mut impl FnMut(&str)) {
    for run in ends.windows(n + 1) {
        each(&text[run[0]..run[n]]);
    }
}

/// Two and more white spaces in a row as one space; a single one stays.
fn narrowed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut spaces: Vec<char> = Vec::new();
    let close = |spaces: &mut Vec<char>, out: &mut String| {
        match spaces.as_slice() {
            [] => {}
            [only] => out.push(*only),
            _ => out.push(' '),
        }
        spaces.clear();
    };
    for c in text.chars() {
        if is_space(c) {
            spaces.push(c);
        } else {
            close(&mut spaces, &mut out);
            out.push(c);
        }
    }
    close(&mut spaces, &mut out);
    out
}

/// Runs of word characters, `shortest` and more of them.
fn words(text: &str, shortest: usize) -> impl Iterator<Item = &str> {
    text.split(|c: char| !is_word(c)).filter(move |word| {
        // Most words are long enough by their bytes alone.
        !word.is_empty() && (word.is_ascii() && word.len() >= shortest || word.chars().count() >= shortest)
    })
}

fn is_word(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || c == '_';
    }
    matches!(c.general_category_group(), GeneralCategoryGroup::Letter | GeneralCategoryGroup::Number)
}

fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str, options: &TfidfOptions) -> Vec<String> {
        let mut found = Vec::new();
        let analysis = Analysis::new(options).unwrap();
        terms(text, &analysis, |term| found.push(term.to_owned()));
        found
    }

    #[test]
    fn words_and_runs_of_words() {
        let options =
            TfidfOptions { ngrams: (1, 2), stop_words: vec!["the".to_owned()], ..TfidfOptions::default() };
        assert_eq!(all("The big, A BIG_dog!", &options), ["big", "big_dog", "big big_dog"]);
        assert_eq!(all("It's 4 o’clock", &TfidfOptions::default()), ["it", "clock"]);
        let one = TfidfOptions { shortest: 1, ..TfidfOptions::default() };
        assert_eq!(all("½ é 世 \u{0301}", &one), ["½", "é", "世"]);
    }

    #[test]
    fn runs_of_characters() {
        let options = TfidfOptions { analyzer: Analyzer::CharWb, ngrams: (2, 4), ..TfidfOptions::default() };
        // As in scikit-learn, what is longer than the word does not come again.
        assert_eq!(all("ab \t c", &options), [" a", "ab", "b ", " ab", "ab ", " ab ", " c", "c ", " c "]);
        let options = TfidfOptions { analyzer: Analyzer::Char, ngrams: (3, 3), ..TfidfOptions::default() };
        assert_eq!(all("a \n b\nc", &options), ["a b", " b\n", "b\nc"]);
    }

    #[test]
    fn accents() {
        let of = |strip| TfidfOptions { strip_accents: Some(strip), ..TfidfOptions::default() };
        assert_eq!(all("Ünïcode ﬁne straße", &of(StripAccents::Ascii)), ["unicode", "fine", "strae"]);
        assert_eq!(all("Ünïcode ﬁne straße", &of(StripAccents::Unicode)), ["unicode", "fine", "straße"]);
    }
}

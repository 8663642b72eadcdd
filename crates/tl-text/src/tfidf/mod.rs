//! Term frequencies times inverse document frequencies, as scikit-learn's `TfidfVectorizer` computes them.
//!
//! The one decision: texts are gone through twice, once for the vocabulary and once for the rows, so that a set of texts
//! never has to be kept as words.

mod analyse;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tl_linear::Csr;

use analyse::Analysis;
pub use analyse::{Analyzer, StripAccents};

use crate::error::TextError;

/// Terms are looked up often and are in no order that reaches an output: what is listed is sorted.
#[allow(clippy::disallowed_types, reason = "only looked up and summed; what is listed is sorted first")]
type ByTerm<T> = std::collections::HashMap<String, T>;

/// In how many texts a term is: a number of texts, or a part of them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Frequency {
    /// So many texts.
    Count(usize),
    /// This part of the texts, 0..1.
    Fraction(f64),
}

impl Frequency {
    fn of(self, texts: usize) -> f64 {
        match self {
            Self::Count(count) => count as f64,
            Self::Fraction(fraction) => fraction * texts as f64,
        }
    }
}

/// What is made 1 of each row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Norm {
    /// The sum of absolute values.
    L1,
    /// The root of the sum of squares.
    #[default]
    L2,
    /// Nothing.
    None,
}

/// How terms are found and weighed. The defaults are scikit-learn's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TfidfOptions {
    /// What terms are made of.
    pub analyzer: Analyzer,
    /// The fewest and the most words, or characters, of a term; from 1 on.
    pub ngrams: (usize, usize),
    /// Whether texts are put in lower case.
    pub lowercase: bool,
    /// What becomes of accents, after that.
    pub strip_accents: Option<StripAccents>,
    /// How many characters a word has at least; from 1 on. The token pattern `(?u)\b\w\w+\b` is 2.
    pub shortest: usize,
    /// What a word is, as a regular expression; its group, if it has one, is the word. `None` for words as
    /// [`shortest`](Self::shortest) has them, which is faster. In an expression `\w` also is any mark, unlike in Python.
    pub token_pattern: Option<String>,
    /// Words to pass over, as they are after the steps before.
    pub stop_words: Vec<String>,
    /// Terms in fewer texts are passed over.
    pub min_df: Frequency,
    /// Terms in more texts are passed over.
    pub max_df: Frequency,
    /// How many terms there are at most: those that are there most often, of equals the first in order.
    pub max_features: Option<usize>,
    /// Whether a term counts once in a text, however often it is there.
    pub binary: bool,
    /// Whether a term that is there n times counts 1 + ln n.
    pub sublinear_tf: bool,
    /// Whether counts are multiplied by ln(texts / texts with the term) + 1.
    pub use_idf: bool,
    /// Whether one is added to both numbers of texts.
    pub smooth_idf: bool,
    /// What is made 1 of each row.
    pub norm: Norm,
}

impl Default for TfidfOptions {
    fn default() -> Self {
        Self {
            analyzer: Analyzer::Word,
            ngrams: (1, 1),
            lowercase: true,
            strip_accents: None,
            shortest: 2,
            token_pattern: None,
            stop_words: Vec::new(),
            min_df: Frequency::Count(1),
            max_df: Frequency::Fraction(1.0),
            max_features: None,
            binary: false,
            sublinear_tf: false,
            use_idf: true,
            smooth_idf: true,
            norm: Norm::L2,
        }
    }
}

impl TfidfOptions {
    /// Checks the ranges.
    ///
    /// # Errors
    /// The first option that is out of range.
    pub fn check(&self) -> Result<(), TextError> {
        let (fewest, most) = self.ngrams;
        if fewest == 0 || most < fewest {
            let expected = "two rising numbers from 1 on";
            return Err(TextError::option("ngrams", format!("{fewest} to {most}"), expected));
        }
        if self.shortest == 0 {
            return Err(TextError::option("shortest", 0, "at least 1"));
        }
        for (option, frequency) in [("min_df", self.min_df), ("max_df", self.max_df)] {
            match frequency {
                Frequency::Fraction(part) if !(0.0..=1.0).contains(&part) => {
                    return Err(TextError::option(option, part, "0 to 1, or a number of texts"));
                }
                _ => {}
            }
        }
        if self.max_features == Some(0) {
            return Err(TextError::option("max_features", 0, "at least 1"));
        }
        Ok(())
    }
}

/// A vocabulary and the weights of its terms.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Kept", into = "Kept")]
pub struct Tfidf {
    analysis: Analysis,
    /// Sorted.
    terms: Vec<String>,
    idf: Vec<f64>,
    places: ByTerm<u32>,
}

impl PartialEq for Tfidf {
    fn eq(&self, other: &Self) -> bool {
        (self.options(), &self.terms, &self.idf) == (other.options(), &other.terms, &other.idf)
    }
}

/// What is written of a vocabulary.
#[derive(Serialize, Deserialize)]
struct Kept {
    options: TfidfOptions,
    terms: Vec<String>,
    idf: Vec<f64>,
}

impl From<Tfidf> for Kept {
    fn from(tfidf: Tfidf) -> Self {
        Self { options: tfidf.analysis.options, terms: tfidf.terms, idf: tfidf.idf }
    }
}

impl TryFrom<Kept> for Tfidf {
    type Error = TextError;

    fn try_from(Kept { options, terms, idf }: Kept) -> Result<Self, TextError> {
        if terms.len() != idf.len() {
            return Err(TextError::option("idf", format!("{} values", idf.len()), "one for each term"));
        }
        let places = terms.iter().cloned().zip(0..).collect();
        Ok(Self { analysis: Analysis::new(&options)?, terms, idf, places })
    }
}

/// Of one term: the texts that it is in, and how often it is there.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    texts: u32,
    times: u64,
    /// The text it was last seen in, from 1.
    last: usize,
}

/// Texts of which one task counts the terms.
const BLOCK: usize = 512;

impl Tfidf {
    /// Finds the terms of some texts.
    ///
    /// # Errors
    /// An option is out of range, or no terms are left.
    pub fn fit<T: AsRef<str> + Sync>(texts: &[T], options: &TfidfOptions) -> Result<Self, TextError> {
        let analysis = Analysis::new(options)?;
        let count = |block: &[T]| {
            let mut seen: ByTerm<Seen> = ByTerm::new();
            for (number, text) in (1..).zip(block) {
                analyse::terms(text.as_ref(), &analysis, |term| {
                    let of_term = match seen.get_mut(term) {
                        Some(of_term) => of_term,
                        None => seen.entry(term.to_owned()).or_default(),
                    };
                    of_term.texts += u32::from(of_term.last != number);
                    of_term.times += u64::from(of_term.last != number || !options.binary);
                    of_term.last = number;
                });
            }
            seen
        };
        let merge = |mut all: ByTerm<Seen>, block: ByTerm<Seen>| {
            if all.len() < block.len() {
                return merged(block, all);
            }
            all = merged(all, block);
            all
        };
        let seen = texts.par_chunks(BLOCK).map(count).reduce(ByTerm::new, merge);
        Self::of(seen, texts.len(), options)
    }

    fn of(seen: ByTerm<Seen>, texts: usize, options: &TfidfOptions) -> Result<Self, TextError> {
        if seen.is_empty() {
            return Err(TextError::NoTerms { why: "the texts have only stop words or very short words" });
        }
        let (low, high) = (options.min_df.of(texts), options.max_df.of(texts));
        if high < low {
            return Err(TextError::option("max_df", high, "no fewer texts than `min_df`"));
        }
        let mut all: Vec<(String, Seen)> = seen.into_iter().collect();
        all.retain(|(_, seen)| (low..=high).contains(&f64::from(seen.texts)));
        all.par_sort_unstable_by(|a, b| a.0.cmp(&b.0));
        if let Some(most) = options.max_features.filter(|&most| most < all.len()) {
            all.sort_by_key(|(_, seen)| std::cmp::Reverse(seen.times));
            all.truncate(most);
            all.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        }
        if all.is_empty() {
            return Err(TextError::NoTerms { why: "take a lower `min_df` or a higher `max_df`" });
        }
        let (extra, texts) = (f64::from(u8::from(options.smooth_idf)), texts as f64);
        let idf = |seen: &Seen| ((texts + extra) / (f64::from(seen.texts) + extra)).ln() + 1.0;
        let idf = all.iter().map(|(_, seen)| if options.use_idf { idf(seen) } else { 1.0 }).collect();
        let terms = all.into_iter().map(|(term, _)| term).collect();
        Kept { options: options.clone(), terms, idf }.try_into()
    }

    /// The terms, sorted: one for each column.
    pub fn terms(&self) -> &[String] {
        &self.terms
    }

    /// The weight of each term.
    pub fn idf(&self) -> &[f64] {
        &self.idf
    }

    /// How terms are found.
    pub fn options(&self) -> &TfidfOptions {
        &self.analysis.options
    }

    /// Rows `[texts, terms]`; terms that are not in the vocabulary are passed over.
    ///
    /// # Errors
    /// Those of [`Csr::new`], which no texts should give.
    pub fn transform<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Result<Csr, TextError> {
        let rows: Vec<Vec<(u32, f64)>> =
            texts.par_iter().with_min_len(64).map(|text| self.row(text.as_ref())).collect();
        let mut starts = Vec::with_capacity(texts.len() + 1);
        starts.push(0);
        let all = rows.iter().map(Vec::len).sum();
        let (mut indices, mut values) = (Vec::with_capacity(all), Vec::with_capacity(all));
        for row in rows {
            for (column, value) in row {
                indices.push(column);
                values.push(value);
            }
            starts.push(indices.len());
        }
        Ok(Csr::new(self.terms.len(), starts, indices, values)?)
    }

    fn row(&self, text: &str) -> Vec<(u32, f64)> {
        let options = self.options();
        let mut found = Vec::new();
        analyse::terms(text, &self.analysis, |term| found.extend(self.places.get(term).copied()));
        found.sort_unstable();
        let value = |same: &[u32]| {
            let times = if options.binary { 1.0 } else { same.len() as f64 };
            let times = if options.sublinear_tf { times.ln() + 1.0 } else { times };
            (same[0], times * self.idf[same[0] as usize])
        };
        let mut row: Vec<(u32, f64)> = found.chunk_by(|a, b| a == b).map(value).collect();
        let length = match options.norm {
            Norm::L1 => row.iter().map(|(_, value)| value.abs()).sum::<f64>(),
            Norm::L2 => row.iter().map(|(_, value)| value * value).sum::<f64>().sqrt(),
            Norm::None => 1.0,
        };
        row.iter_mut().for_each(|(_, value)| *value /= length);
        row
    }
}

fn merged(mut all: ByTerm<Seen>, block: ByTerm<Seen>) -> ByTerm<Seen> {
    for (term, seen) in block {
        let of_term = all.entry(term).or_default();
        of_term.texts += seen.texts;
        of_term.times += seen.times;
    }
    all
}

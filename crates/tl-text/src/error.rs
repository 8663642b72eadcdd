//! What can go wrong with texts.
//!
//! The one decision: a source reports everything that is wrong with it at once, each problem with file and line.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;
use tl_data::collected::{Problem, Problems, nearest, some_names};
use tl_data::table::TableFault;

/// An error of this crate.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TextError {
    /// A source that cannot be used.
    #[error("`{}` cannot be used as labelled texts: {problems}", path.display())]
    Source {
        /// The file or folder as it was given.
        path: PathBuf,
        /// All that is wrong with it.
        problems: TextProblems,
    },
    /// A split that cannot be made or used.
    #[error("{said}")]
    Split {
        /// What is wrong, of texts.
        said: String,
    },
    /// An option outside its range.
    #[error("option `{option}` is {got} (expected {expected})")]
    Option {
        /// The name of the option.
        option: &'static str,
        /// The value given.
        got: String,
        /// The range allowed.
        expected: String,
    },
    /// A file that cannot be read.
    #[error("file `{}` cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file that cannot be written.
    #[error("file `{}` cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file of a vocabulary, a tokenizer or a model that says something else than it should.
    #[error("`{}` cannot be used as {what}: {detail}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// Where and why.
        detail: String,
    },
    /// Texts that leave no terms to count.
    #[error("the texts leave no terms{}", hint(why))]
    NoTerms {
        /// What may be the reason.
        why: &'static str,
    },
    /// A logistic regression that cannot be fitted.
    #[error(transparent)]
    Linear(#[from] tl_linear::LinearError),
}

fn hint(hint: &str) -> String {
    format!("\n\nhint: {hint}")
}

impl TextError {
    pub(crate) fn option(option: &'static str, got: impl fmt::Display, expected: &str) -> Self {
        Self::Option { option, got: got.to_string(), expected: expected.to_owned() }
    }

    /// An error of a split, which was made for images.
    pub(crate) fn split(error: &tl_data::DataError) -> Self {
        Self::Split { said: of_texts(&error.to_string()) }
    }
}

/// What is said of images, said of texts: names, which stand in backticks, stay as they are.
pub(crate) fn of_texts(said: &str) -> String {
    let part = |(place, part): (usize, &str)| match place % 2 {
        0 => part.replace("images", "texts").replace("image", "text"),
        _ => part.to_owned(),
    };
    said.split('`').enumerate().map(part).collect::<Vec<String>>().join("`")
}

/// All that is wrong with a source.
pub type TextProblems = Problems<TextProblem>;

/// One thing wrong with a source, and where.
#[derive(Debug)]
pub struct TextProblem {
    /// The file or folder.
    pub file: PathBuf,
    /// The line, from 1; `None` for the file as a whole.
    pub line: Option<u64>,
    /// The name of the column; `None` for the row as a whole.
    pub column: Option<String>,
    /// What is wrong.
    pub fault: TextFault,
}

impl fmt::Display for TextProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        f.write_str("`")?;
        if let Some(column) = &self.column {
            write!(f, ", column `{column}`")?;
        }
        write!(f, ": {}", self.fault)
    }
}

impl Problem for TextProblem {
    fn hint(&self) -> Option<String> {
        self.fault.hint()
    }
}

/// What is wrong with a source, a row or a cell.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TextFault {
    /// What a table of images can have wrong as well.
    #[error(transparent)]
    Table(#[from] TableFault),
    /// No such file or folder.
    #[error("it does not exist")]
    Missing,
    /// Bytes that are not UTF-8.
    #[error("it is not UTF-8 text: `{shown}`")]
    NotUtf8 {
        /// The text around, with other bytes as `\xFF`.
        shown: String,
    },
    /// A byte that is in no text.
    #[error("there is a zero byte in it")]
    ZeroByte,
    /// A first line of unknown names, which reads as a text with a class of its own.
    #[error("it seems to be a header with other names: no other line has the class `{class}`")]
    PerhapsHeader {
        /// What would be its class.
        class: String,
    },
    /// A line that is no JSON object.
    #[error("it is no JSON object: {detail}")]
    Json {
        /// Where and why.
        detail: String,
    },
    /// A value of JSON that is of another kind.
    #[error("the value is {got} (expected {expected})")]
    Kind {
        /// What it is.
        got: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A text without anything but white space.
    #[error("the text is empty")]
    EmptyText,
    /// No column has a well-known name.
    #[error("no column has a known name for {role} (the columns are {})", some_names(known.iter().map(String::as_str)))]
    NoGuess {
        /// What it was looked for.
        role: &'static str,
        /// The names that are known.
        expected: &'static [&'static str],
        /// The columns that are there.
        known: Vec<String>,
    },
    /// A folder in which nothing can be used.
    #[error(
        "there are neither tables (`train.tsv`, `train.csv`, `train.jsonl`) nor folders of `.txt` files in it"
    )]
    NoTexts,
    /// Tables of two parts that have other labels or numbers.
    #[error(
        "the labels or numbers are in {} (expected {}, as in the first table)",
        some_names(got.iter().map(String::as_str)),
        some_names(expected.iter().map(String::as_str))
    )]
    OtherColumns {
        /// The columns of this table.
        got: Vec<String>,
        /// Those of the first.
        expected: Vec<String>,
    },
    /// No files of tagged words.
    #[error("there are no files of tagged words in it (`train.conll`, `train.txt`, `train.jsonl`)")]
    NoTagged,
    /// A line with a word alone.
    #[error("there is a single column (expected a word, and its tag in the last column)")]
    OneColumn,
    /// What should be a tag.
    #[error(
        "`{tag}` is no tag (expected `O`, or one of `B`, `I`, `E`, `S`, a dash and a kind, such as `B-PER`)"
    )]
    Tag {
        /// As it was written.
        tag: String,
    },
    /// The tags of a model, of which one is none.
    #[error(transparent)]
    UnknownTag(#[from] crate::entities::UnknownTag),
    /// Words and tags that do not go together.
    #[error("there are {words} words and {tags} tags")]
    Unequal {
        /// How many words.
        words: usize,
        /// How many tags.
        tags: usize,
    },
    /// Two tables for one part.
    #[error("`{first}` and `{second}` are both the {part} part")]
    TwoTables {
        /// A file.
        first: String,
        /// Another.
        second: String,
        /// Their part.
        part: &'static str,
    },
}

impl TextFault {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Table(TableFault::Ragged { .. }) => Some(
                "texts with the delimiter or line breaks in them stand in quotes; in `.tsv` files quotes count only \
                 if the option `quotes` says so"
                    .to_owned(),
            ),
            Self::Table(TableFault::NotText { .. }) => Some("save the file as text in UTF-8".to_owned()),
            Self::Table(fault) => fault.hint(),
            Self::ZeroByte => Some("take the byte out, or save the file as text in UTF-8".to_owned()),
            Self::PerhapsHeader { .. } => Some(
                "call the columns `text` and `label`, or name those that are there; if the line is a text, put such \
                 a header above it"
                    .to_owned(),
            ),
            Self::NotUtf8 { .. } => Some("save the file as UTF-8".to_owned()),
            Self::Json { .. } => Some("write one object on each line, as in `{\"text\": \"…\", \"label\": \"…\"}`".to_owned()),
            Self::EmptyText => Some("fill in the text, or leave the row out".to_owned()),
            Self::NoGuess { role, expected, known } => {
                let near = expected.iter().find_map(|name| nearest(name, known.iter().map(String::as_str)));
                let near = near.map(|near| format!(" (is it `{near}`?)")).unwrap_or_default();
                let names = some_names(expected.iter().copied());
                Some(format!(
                    "name the column for {role}{near}, call it one of {names}, or name the columns of a file \
                     without a header"
                ))
            }
            Self::OtherColumns { .. } => Some("name the columns of the labels or numbers".to_owned()),
            Self::Tag { tag } if tag.parse::<u64>().is_ok() => {
                Some("numbers do not say what they mean: write the names of the tags in their place".to_owned())
            }
            Self::TwoTables { .. } => Some("give one of the files, or take one away".to_owned()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_texts_except_in_names() {
        let said = of_texts("class `images` has 3 test images, the first is `a image`; no image");
        assert_eq!(said, "class `images` has 3 test texts, the first is `a image`; no text");
    }
}

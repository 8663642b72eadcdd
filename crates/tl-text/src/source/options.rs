//! How to read labelled texts.
//!
//! The one decision: the options are those of a table of images, with the same names; only what an image is called is
//! another.

use tl_data::{ColumnChoice, TargetSpec};

use crate::error::TextError;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextFormat {
    /// Cells between delimiters.
    Csv {
        /// The byte between cells, or `None` to tell it by the name and the first line.
        delimiter: Option<u8>,
    },
    /// A JSON object on each line.
    JsonLines,
    /// A text on each line, and nothing else.
    Lines,
}

/// How to read labelled texts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextOptions {
    /// How files are written; `None` to tell it by the extension.
    pub format: Option<TextFormat>,
    /// The names of the columns of a file without a header. `None` takes the first line for a header, unless it has two
    /// cells of which none has a well-known name.
    pub header: Option<Vec<String>>,
    /// Whether cells may be quoted as in RFC 4180; `None` for all but `.tsv` and `.tab` files. Without it a cell that is
    /// quoted from end to end is unquoted all the same, and any other quote is text.
    pub quotes: Option<bool>,
    /// The column of the text; [`ColumnChoice::Unused`] is refused.
    pub text: ColumnChoice,
    /// The column of the second text.
    pub pair: ColumnChoice,
    /// What is to be learned; [`TargetSpec::ParentFolder`] is for folders alone.
    pub target: TargetSpec,
    /// The column of sample weights: numbers from 0 on.
    pub weight: ColumnChoice,
    /// The column of `train`, `val` and `test`.
    pub split: ColumnChoice,
    /// The column of groups: texts of a group stay on one side of a split.
    pub group: ColumnChoice,
    /// The classes or labels, in the order of their numbers; `None` for those found, sorted by their bytes.
    pub classes: Option<Vec<String>>,
}

impl TextOptions {
    /// Checks the ranges.
    ///
    /// # Errors
    /// The first option that is out of range.
    pub fn check(&self) -> Result<(), TextError> {
        if self.text == ColumnChoice::Unused {
            return Err(TextError::option("text", "unused", "a column of texts"));
        }
        if let TargetSpec::Labels { separator, .. } = self.target
            && (separator.is_alphanumeric() || separator == '"')
        {
            let expected = "a character that is in no label, such as `|`";
            return Err(TextError::option("separator", format!("`{separator}`"), expected));
        }
        if let TargetSpec::Flags { columns: Some(names) } | TargetSpec::Numbers { columns: Some(names) } =
            &self.target
            && names.is_empty()
        {
            return Err(TextError::option("columns", "an empty list", "a column or more"));
        }
        let Some(classes) = &self.classes else { return Ok(()) };
        let mut sorted: Vec<&str> = classes.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        if let Some(same) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(TextError::option(
                "classes",
                format!("a list with `{}` twice", same[0]),
                "each name once",
            ));
        }
        if sorted.is_empty() {
            return Err(TextError::option("classes", "an empty list", "at least one name"));
        }
        Ok(())
    }
}

//! How to read a table.
//!
//! The one decision: every column can be named or left alone, and what was guessed is written down in the result.
//! Weights and groups are never guessed, as they change what is trained without a sign of it.

use std::path::PathBuf;

use crate::error::DataError;
use crate::options::Checks;

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableFormat {
    /// Cells between delimiters, with a header.
    Csv {
        /// The byte between cells, or `None` to tell it by the header.
        delimiter: Option<u8>,
    },
    /// `path` or `path label` on each line, without a header, as torchvision and Caffe have it.
    List,
}

/// Which column is used for something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ColumnChoice {
    /// One with a well-known name, if there is one. For the split its cells have to be names of parts as well;
    /// for weights and groups it is only noted that there is one.
    #[default]
    Guess,
    /// The one of this name.
    Named(String),
    /// None, whatever the columns are called.
    Unused,
}

/// What is to be learned, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetSpec {
    /// One class for each image, in this column or one with a well-known name.
    Class {
        /// The column.
        column: Option<String>,
    },
    /// Several labels for each image in one cell.
    Labels {
        /// The column; `None` for one with a well-known name.
        column: Option<String>,
        /// What stands between labels, such as `|` or `;`; a space stands for any white space.
        separator: char,
        /// Whether an empty cell means an image without labels, rather than a mistake.
        allow_empty: bool,
    },
    /// Several labels for each image, each in a column of 0 and 1.
    Flags {
        /// The columns; `None` for all that are not used for anything else.
        columns: Option<Vec<String>>,
    },
    /// Numbers to predict, each in a column.
    Numbers {
        /// The columns; `None` for one with a well-known name, or all numbers of a list.
        columns: Option<Vec<String>>,
    },
    /// One class for each image: the name of the folder that it lies in.
    ParentFolder,
    /// Nothing: images to predict on.
    Nothing,
}

impl Default for TargetSpec {
    fn default() -> Self {
        Self::Class { column: None }
    }
}

/// How to open a [`Table`](super::Table).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableOptions {
    /// How it is written; `None` to tell it by the extension and the first line.
    pub format: Option<TableFormat>,
    /// The folder that paths are relative to; `None` for the folder of the table.
    pub images: Option<PathBuf>,
    /// What to append to file names that do not end with an image extension, such as `jpg`.
    pub extension: Option<String>,
    /// The column of file names; [`ColumnChoice::Unused`] is refused.
    pub file: ColumnChoice,
    /// What is to be learned.
    pub target: TargetSpec,
    /// The column of sample weights: numbers from 0 on.
    pub weight: ColumnChoice,
    /// The column of `train`, `val` and `test`, or other names that [`Part::from_name`](crate::Part::from_name)
    /// knows.
    pub split: ColumnChoice,
    /// The column of groups: images of a group stay on one side of a split.
    pub group: ColumnChoice,
    /// The classes or labels, in the order of their numbers; `None` for those found, sorted by their bytes.
    pub classes: Option<Vec<String>>,
    /// Whether to look for each file.
    pub check_files: bool,
}

impl Default for TableOptions {
    fn default() -> Self {
        Self {
            format: None,
            images: None,
            extension: None,
            file: ColumnChoice::Guess,
            target: TargetSpec::default(),
            weight: ColumnChoice::Guess,
            split: ColumnChoice::Guess,
            group: ColumnChoice::Guess,
            classes: None,
            check_files: true,
        }
    }
}

impl TableOptions {
    pub(super) fn check(&self) -> Result<(), DataError> {
        let mut checks = Checks::default();
        if let Some(TableFormat::Csv { delimiter: Some(byte) }) = self.format {
            let holds = matches!(byte, b'\t' | b' '..=b'!' | b'#'..=b'~');
            let expected = "an ASCII character other than a quote";
            checks.require(holds, "delimiter", &format_args!("byte {byte}"), expected);
        }
        if let Some(extension) = &self.extension {
            let bare = extension.trim_start_matches('.');
            let holds = !bare.is_empty() && !bare.contains(['/', '\\']);
            checks.require(holds, "extension", &format_args!("`{extension}`"), "an extension such as `jpg`");
        }
        let has_file = self.file != ColumnChoice::Unused;
        checks.require(has_file, "file", &format_args!("unused"), "a column of file names");
        self.check_target(&mut checks);
        self.check_classes(&mut checks);
        checks.finish()
    }

    fn check_target(&self, checks: &mut Checks) {
        match &self.target {
            TargetSpec::Labels { separator, .. } => {
                let holds = !separator.is_alphanumeric() && *separator != '"';
                let expected = "a character that is in no label, such as `|`";
                checks.require(holds, "separator", &format_args!("`{separator}`"), expected);
            }
            TargetSpec::Flags { columns: Some(columns) } | TargetSpec::Numbers { columns: Some(columns) } => {
                checks.require(
                    !columns.is_empty(),
                    "columns",
                    &format_args!("an empty list"),
                    "a column or more",
                );
            }
            _ => {}
        }
    }

    fn check_classes(&self, checks: &mut Checks) {
        let Some(classes) = &self.classes else { return };
        let of_cells = matches!(
            self.target,
            TargetSpec::Class { .. } | TargetSpec::Labels { .. } | TargetSpec::ParentFolder
        );
        let expected = "none, as the target is neither a class nor a cell of labels";
        checks.require(of_cells, "classes", &format_args!("a list"), expected);
        checks.require(!classes.is_empty(), "classes", &format_args!("an empty list"), "at least one name");
        let mut sorted: Vec<&str> = classes.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        for same in sorted.chunk_by(|a, b| a == b).filter(|same| same.len() > 1) {
            checks.require(
                false,
                "classes",
                &format_args!("a list with `{}` twice", same[0]),
                "each name once",
            );
        }
        for name in sorted.iter().filter(|name| name.trim().is_empty() || name.trim() != **name) {
            let expected = "names without white space at their ends";
            checks.require(false, "classes", &format_args!("a list with `{name}`"), expected);
        }
    }
}

//! The words about texts, shared by the commands that read them.

use clap::{Args, ValueEnum};

/// What the data is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Of {
    /// Labelled images
    Image,
    /// Labelled texts
    Text,
}

/// What is said of texts.
#[derive(Clone, Debug, Default, PartialEq, Args)]
pub(crate) struct TextWords {
    /// What the data is of: image, or text (a table .csv, .tsv or .jsonl with a text on each row, a folder of such tables
    /// named train, val and test, folders of .txt files by class, or words with tags: CoNLL columns, or JSON lines with
    /// lists of tokens and tags) [default: image]
    #[arg(long, value_enum, value_name = "image|text")]
    pub(crate) task: Option<Of>,
    /// Of texts: the most tokens of a text, special tokens counted; longer ones are cut, and counted [default: 128]
    #[arg(long, value_name = "N")]
    pub(crate) max_length: Option<usize>,
    #[command(flatten)]
    pub(crate) columns: TextColumns,
}

/// Columns of a table of texts.
#[derive(Clone, Debug, Default, PartialEq, Args)]
pub(crate) struct TextColumns {
    /// Column of the texts; of words with tags by its number, from 1 [default: one with a well-known name, or the first]
    #[arg(long, value_name = "NAME")]
    pub(crate) text_column: Option<String>,
    /// Column of the second text of a pair; none for no pairs [default: one with a well-known name]
    #[arg(long, value_name = "NAME|none")]
    pub(crate) pair_column: Option<String>,
}

impl TextWords {
    /// The words that are given and mean nothing for images.
    pub(crate) fn given(&self) -> Vec<&'static str> {
        let mut given = self.columns.given();
        given.extend(self.max_length.map(|_| "--max-length"));
        given
    }
}

impl TextColumns {
    pub(crate) fn given(&self) -> Vec<&'static str> {
        let flags = [("--text-column", &self.text_column), ("--pair-column", &self.pair_column)];
        flags.into_iter().filter(|(_, value)| value.is_some()).map(|(flag, _)| flag).collect()
    }
}

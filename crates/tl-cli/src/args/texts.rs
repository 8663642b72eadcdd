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
    /// Of texts: how tokens become one vector: mean, cls (the first token), max, last (the last token), or pooler (the
    /// pretrained dense layer on the first token, where the weights have one; it trains with the head). The rest of the
    /// head is one layer; --head says more [default: what the net was trained with]
    #[arg(long, value_enum, value_name = "POOL")]
    pub(crate) pooling: Option<Pooling>,
    #[command(flatten)]
    pub(crate) lora: LoraWords,
}

/// How tokens become a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pooling {
    Mean,
    Cls,
    Max,
    Last,
    Pooler,
}

/// What is said of adapters.
#[derive(Clone, Debug, Default, PartialEq, Args)]
pub(crate) struct LoraWords {
    /// Of texts: the net's weights stay, and low-rank adapters beside them train with the head (LoRA, arXiv:2106.09685), at
    /// the schedule's phases. R is their rank. The model has them merged in; adapter/ in the run is for peft
    /// [default of R: 8]
    #[arg(long, value_name = "R", num_args = 0..=1, default_missing_value = "8")]
    pub(crate) lora: Option<i64>,
    /// What adapters add is multiplied by ALPHA / R [default: 8]
    #[arg(long, value_name = "ALPHA", allow_negative_numbers = true)]
    pub(crate) lora_alpha: Option<f64>,
    /// Dropout of an adapter's input in training, 0 to below 1 [default: 0]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub(crate) lora_dropout: Option<f64>,
    /// Linear layers that get an adapter, by the ends of their names (`tl summary` lists them), or all-linear
    /// [default: queries and values, as in peft: query,value of BERT]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub(crate) lora_targets: Vec<String>,
}

impl LoraWords {
    pub(crate) fn given(&self) -> Vec<&'static str> {
        let given = [
            ("--lora", self.lora.is_some()),
            ("--lora-alpha", self.lora_alpha.is_some()),
            ("--lora-dropout", self.lora_dropout.is_some()),
            ("--lora-targets", !self.lora_targets.is_empty()),
        ];
        given.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag).collect()
    }
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
        given.extend(self.lora.given());
        given.extend(self.pooling.map(|_| "--pooling"));
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

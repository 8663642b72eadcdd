//! The words of `tl text`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct TextArgs {
    #[command(subcommand)]
    pub(crate) command: TextCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TextCommand {
    /// Fit TF-IDF and logistic regression to labelled texts, and measure them.
    #[command(after_help = FIT_EXAMPLES)]
    Fit(TextFitArgs),
    /// Say the class of texts.
    #[command(after_help = PREDICT_EXAMPLES)]
    Predict(TextPredictArgs),
    /// Find texts that are the same, in several parts or under several labels, empty, or wrongly encoded.
    Doctor(TextDoctorArgs),
}

const FIT_EXAMPLES: &str = "Examples:
  tl text fit                                            the set of the project
  tl text fit --data reviews.csv --out reviews.json
  tl text fit --data questions.tsv --text-column question --label-column topic";

const PREDICT_EXAMPLES: &str = "Examples:
  tl text predict reviews.json \"A wonderful film.\"
  tl text predict reviews.json --json - < texts.txt      a text on each line";

/// Where texts are.
#[derive(Debug, Args)]
pub(crate) struct TextSourceArgs {
    /// Table (.csv, .tsv, .jsonl) with a text and a class on each row, folder of such tables named train, val and test, or
    /// folder of .txt files for each class [default: the set that comes with the project]
    #[arg(long, value_name = "PATH")]
    pub(crate) data: Option<PathBuf>,
    /// Column of the texts [default: one with a well-known name]
    #[arg(long, value_name = "NAME")]
    pub(crate) text_column: Option<String>,
    /// Column of the second text of a pair; none for no pairs [default: one with a well-known name]
    #[arg(long, value_name = "NAME|none")]
    pub(crate) pair_column: Option<String>,
    /// Column of the classes [default: one with a well-known name]
    #[arg(long, value_name = "NAME")]
    pub(crate) label_column: Option<String>,
    /// Column that says train, val or test; none for a split of its own [default: one with a well-known name]
    #[arg(long, value_name = "NAME|none")]
    pub(crate) split_column: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct TextFitArgs {
    #[command(flatten)]
    pub(crate) source: TextSourceArgs,
    /// List of texts to leave out, as `tl text doctor --quarantine` writes it
    #[arg(long, value_name = "FILE")]
    pub(crate) exclude: Option<PathBuf>,
    /// Part of the texts that validates, where the data says nothing about it
    #[arg(long, value_name = "F", default_value_t = 0.2)]
    pub(crate) val_fraction: f64,
    /// Seed of the split and of the folds
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub(crate) seed: u64,
    /// Write the model to this JSON file, which must not exist
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Print the figures as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TextPredictArgs {
    /// A model that `tl text fit --out` wrote
    #[arg(value_name = "MODEL")]
    pub(crate) model: PathBuf,
    /// Texts; - for those on standard input, one a line
    #[arg(value_name = "TEXT", required = true)]
    pub(crate) texts: Vec<String>,
    /// Print one JSON object a text
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TextDoctorArgs {
    #[command(flatten)]
    pub(crate) source: TextSourceArgs,
    /// Write the texts to leave out to this file, which must not exist, for `tl text fit --exclude`
    #[arg(long, value_name = "FILE")]
    pub(crate) quarantine: Option<PathBuf>,
    /// Print everything as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

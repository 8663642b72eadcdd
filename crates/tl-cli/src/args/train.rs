//! The settings of a run, shared by the commands that train, price or try one.

use std::path::PathBuf;

use clap::Args;
use tl_train::Precision;

use super::texts::TextWords;
use crate::device::DeviceChoice;

/// Everything that decides a run but where it is written.
#[derive(Clone, Debug, Default, PartialEq, Args)]
pub(crate) struct Settings {
    /// Folder of labelled images, or a table (.csv, .tsv, .txt) of files and labels; with --task text, of texts
    #[arg(long, value_name = "DIR|FILE")]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) texts: TextWords,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Random changes to training images in phases that augment: none, basic, light, medium, strong, auto (by the number of
    /// images), or a JSON file: a recipe, or the arguments of a Keras ImageDataGenerator (`tl augment` shows what they do)
    /// [default: basic]
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) augment: Option<String>,
    /// Shrink images to this short side, in pixels, before they are augmented; 0 for never [default: where photos are more
    /// than twice as large as any crop needs, to what it needs]
    #[arg(long, value_name = "PX")]
    pub(crate) shrink: Option<u32>,
    /// How much each class counts in the loss: none, balanced (all classes alike; the presence of a label as much as its
    /// absence), or effective (arXiv:1901.05555) [default: none]
    #[arg(long, value_name = "KIND")]
    pub(crate) class_weights: Option<String>,
    /// Draw images of rare classes more often, so that each epoch sees all classes alike
    #[arg(long)]
    pub(crate) balanced_sampling: bool,
    /// Pretrained net (`tl backbones` lists them) [default: efficientnet-lite0]. With --task text: a name of that list, a
    /// repository of the hub (OWNER/NAME), or a folder with config.json, weights and tokenizer [default: minilm]
    #[arg(long, value_name = "NAME")]
    pub(crate) backbone: Option<String>,
    /// Its weights: a name from `tl backbones`, or a .safetensors or .pth file [default: the first published]
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) weights: Option<String>,
    /// Go on where a file of weights fits the net only in part; what it lacks is listed, starts anew and has to train
    #[arg(long)]
    pub(crate) partial_weights: bool,
    /// What trains when: feature-extraction, two-step, fine-tune, gradual, ulmfit, chain-thaw, lp-ft, surgical or full
    /// [default: gradual]
    #[arg(long, value_name = "NAME")]
    pub(crate) preset: Option<String>,
    /// In place of a preset: train the head, then this part of the net with it (with --preset surgical: this part alone): a
    /// stage, block or layer (`tl summary` lists them), last-4-layers, last-1-stages, stage3.., `layers[100:]`, …
    #[arg(long, value_name = "PART")]
    pub(crate) unfreeze: Option<String>,
    /// In place of a preset: the phases in this JSON file, as `tl plan --json` prints them
    #[arg(long, value_name = "FILE")]
    pub(crate) schedule: Option<PathBuf>,
    /// Epochs of each phase, as `30,5,2`
    #[arg(long, value_name = "N,…")]
    pub(crate) epochs: Option<String>,
    /// In phases that augment, keep the activations of K augmented views of each image and use them in turn, one an epoch;
    /// 0 for new views in every epoch, which run the frozen part again [default: as the preset says]
    #[arg(long, value_name = "K")]
    pub(crate) views: Option<u32>,
    /// What the best weights are picked by: accuracy, balanced-accuracy, macro-f1, auroc, average-precision, log-loss, loss,
    /// ece, mae, r2, … [default: accuracy, or balanced-accuracy where one class has over 1.5 times the images of another; of
    /// labels average-precision, of a number mae, of several r2, of tags entity-f1, or word-accuracy where
    /// they mark no entities]
    #[arg(long, value_name = "METRIC")]
    pub(crate) monitor: Option<String>,
    /// What is put on the net: gap, gap-1024, flatten-256, concat-bn-drop0.25-512-bn-drop0.5, … [default: gap, or cls for
    /// transformers]. POOL is gap, max, concat, gem, flatten or cls; a PART is a width, an activation behind it (relu, gelu,
    /// silu, tanh, elu, leaky, none), bn or dropP
    #[arg(long, value_name = "POOL[-PART…]")]
    pub(crate) head: Option<String>,
    /// What its outputs mean: softmax (one probability a class), binary (one sigmoid for two classes), or the number of
    /// classes, to be checked; of a table also multi-label (any number of labels for each image) or regression (numbers), and of texts tags
    /// (a tag for each word, which is also seen in the files)
    /// [default: softmax]
    #[arg(long, value_name = "softmax|binary|multi-label|regression|tags|N")]
    pub(crate) classes: Option<String>,
    /// Dropout before the last layer, 0 to below 1 [default: 0.2, of texts 0.1, or 0 where the head drops out itself]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub(crate) dropout: Option<f64>,
    /// Height and width of the net's input in pixels [default: the net's own, smaller if the images are tiny]
    #[arg(long, value_name = "PX")]
    pub(crate) image_size: Option<u32>,
    /// Images or texts in a training step [default: 16]
    #[arg(long, value_name = "N")]
    pub(crate) batch: Option<usize>,
    /// Label smoothing, 0 to below 1 [default: 0.1 for classes, 0 for labels, numbers and tags]
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
    pub(crate) label_smoothing: Option<f64>,
    /// Focal loss (arXiv:1708.02002): images that are easily told count less, the more so the higher this is; 2 is usual
    /// [default: 0, plain cross-entropy]
    #[arg(long, value_name = "GAMMA", allow_negative_numbers = true)]
    pub(crate) focal: Option<f64>,
    /// Part of each class kept for validation, where the folder has no val/ [default: 0.2]
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    pub(crate) val_fraction: Option<f64>,
    /// What the net is computed in: auto (what is fastest here, by trying; bf16 only if the activations stay within a tenth),
    /// f32 or bf16. Weights, gradients and the head are f32 in any case [default: auto]
    #[arg(long, value_name = "auto|f32|bf16")]
    pub(crate) precision: Option<Precision>,
    /// Everything random is derived from it [default: 42]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Go on without the images that cannot be decoded; the report lists them
    #[arg(long)]
    pub(crate) skip_bad: bool,
    /// Most memory for activations of the frozen part, in MiB [default: 4096]
    #[arg(long, value_name = "MIB")]
    pub(crate) cache_budget: Option<u64>,
    /// Take everything not given here from the spec.json of an earlier run; of another net than --backbone neither
    /// weights, image size nor schedule
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) caches: CacheArgs,
    #[command(flatten)]
    pub(crate) threads: ThreadArgs,
}

/// What is kept for the next epoch or the next run. Results do not depend on it.
#[derive(Clone, Debug, Default, PartialEq, Args)]
pub(crate) struct CacheArgs {
    /// Most memory for decoded images, kept from epoch to epoch in phases that augment, in MiB; 0 for none. Results do not
    /// depend on it [default: 1024, at most a quarter of what is free]
    #[arg(long, value_name = "MIB")]
    pub(crate) image_cache: Option<u64>,
    /// Keep decoded images in this folder instead, for later runs as well; --image-cache then says how much of the disk
    #[arg(long, value_name = "DIR")]
    pub(crate) image_cache_dir: Option<PathBuf>,
    /// Most disk for activations of the frozen part, kept for later runs, in MiB; 0 for none. They are in TL_HOME/features, and
    /// what was used longest ago goes first [default: 4096]
    #[arg(long, value_name = "MIB")]
    pub(crate) feature_cache: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Args)]
pub(crate) struct FinetuneArgs {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// Run directory, which must not exist [default: runs/BACKBONE-DATA-sSEED-TIME]
    #[arg(long, value_name = "DIR")]
    pub(crate) run: Option<PathBuf>,
    /// Go on with a run that was stopped, from its last checkpoint; it ends as it would have ended. Nothing else is given
    /// beside it
    #[arg(long, value_name = "RUN")]
    pub(crate) resume: Option<PathBuf>,
    /// Seconds between two checkpoints in the middle of an epoch; 0 for one after every step [default: 30]
    #[arg(long, value_name = "S")]
    pub(crate) checkpoint_every: Option<u64>,
    /// Say nothing but warnings, errors and the result
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// Print one JSON object a line on stdout: the start, every epoch, and the end with the summary
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// Print the phases as JSON, as `finetune --schedule` reads them; nothing is measured
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LrFindArgs {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// The phase whose rates are tried, with the net as it is before the first phase [default: the first]
    #[arg(long, value_name = "NAME")]
    pub(crate) phase: Option<String>,
    /// The first rate, of what has the highest rate in the phase; the rest keeps its proportion [default: 1e-7]
    #[arg(long, value_name = "RATE")]
    pub(crate) from: Option<f64>,
    /// The last rate [default: 1]
    #[arg(long, value_name = "RATE")]
    pub(crate) to: Option<f64>,
    /// How many rates; one step is made at each [default: 100]
    #[arg(long, value_name = "N")]
    pub(crate) steps: Option<usize>,
    /// Write the plot to this .svg, which must not exist
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// How a table is read.
#[derive(Clone, Debug, Default, PartialEq, Args)]
pub(crate) struct ColumnArgs {
    /// Folder that a table's file names are relative to [default: the table's own]
    #[arg(long, value_name = "DIR")]
    pub(crate) images: Option<PathBuf>,
    /// Column of a table with the file names [default: one with a well-known name]
    #[arg(long, value_name = "NAME")]
    pub(crate) file_column: Option<String>,
    /// Column of a table with the classes, labels or numbers; given several times for several columns: of 0 and 1, one a
    /// label, or of numbers [default: one with a well-known name; for several labels else all columns that are not used]
    #[arg(long, value_name = "NAME")]
    pub(crate) label_column: Vec<String>,
    /// What stands between several labels in one cell of a table; a space for any white space [default: |, or a space in
    /// a list]
    #[arg(long, value_name = "C")]
    pub(crate) label_separator: Option<char>,
    /// Column of a table with how much each image counts in the loss [default: none]
    #[arg(long, value_name = "NAME")]
    pub(crate) weight_column: Option<String>,
    /// Column of a table that says train, val or test; none for a split of its own [default: one with a well-known name]
    #[arg(long, value_name = "NAME|none")]
    pub(crate) split_column: Option<String>,
    /// Extension to append to file names of a table that have none, such as jpg
    #[arg(long, value_name = "EXT")]
    pub(crate) extension: Option<String>,
}

/// How data is read and split.
#[derive(Clone, Debug, Default, PartialEq, Args)]
pub(crate) struct SourceArgs {
    #[command(flatten)]
    pub(crate) columns: ColumnArgs,
    /// What belongs together and is not split: a column, or a regular expression over file names whose first parentheses
    /// are the group, such as '^(patient[0-9]+)_'
    #[arg(long, value_name = "COLUMN|REGEX")]
    pub(crate) group: Option<String>,
    /// Cross-validation: number of folds
    #[arg(long, value_name = "K", requires = "fold")]
    pub(crate) folds: Option<u32>,
    /// Cross-validation: the fold that validates, from 0
    #[arg(long, value_name = "I")]
    pub(crate) fold: Option<u32>,
    /// A saved split (split.json of a run, or a CSV), which has to fit the data
    #[arg(long, value_name = "FILE")]
    pub(crate) split: Option<PathBuf>,
    /// A list of files to leave out, as `tl data doctor --quarantine` writes it
    #[arg(long, value_name = "FILE")]
    pub(crate) exclude: Option<PathBuf>,
}

/// What of the machine is used.
#[derive(Clone, Debug, Default, PartialEq, Args)]
pub(crate) struct ThreadArgs {
    /// What computes the net: auto (a GPU, if there is one that libtorch can use), cpu, cuda, or cuda:N for the GPU of that
    /// number [default: auto]
    #[arg(long, value_name = "auto|cpu|cuda[:N]")]
    pub(crate) device: Option<DeviceChoice>,
    /// Threads of the net; results are the same only for the same number [default: all cores]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Threads that decode and augment; the results do not depend on it [default: of up to 4 cores all, of more
    /// half, 4 to 32; no more than --threads; all where a GPU computes the net]
    #[arg(long, value_name = "N")]
    pub(crate) data_threads: Option<usize>,
}

//! The words of `tl rank`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tl_train::Precision;

use super::{SourceArgs, ThreadArgs};

pub(super) const EXAMPLES: &str = "Examples:
  tl rank --data photos                                      all nets whose weights are on this disk
  tl rank --data photos --backbones resnet18,resnet50,dinov2-small --budget 300
  tl rank --data photos --then finetune -- --preset two-step --run runs/best

Each net computes its features of some training images once; a logistic regression and a vote of the nearest neighbours on
them are cross-validated. That says which net suits the images, not how good a fine-tuned one will be, which is usually
better. It is for one class an image, not for several labels or for numbers.";

#[derive(Debug, Args)]
pub(crate) struct RankArgs {
    /// Folder of labelled images, or a table of files and classes; the images that would train are looked at [default: the
    /// small set that comes with the project]
    #[arg(long, value_name = "DIR|FILE")]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// The nets, with commas between them; all for every net there is, whose weights are then fetched [default: those whose
    /// weights are on this disk, and efficientnet-lite0]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub(crate) backbones: Vec<String>,
    /// Seconds for all of it. Small nets come first; what would go beyond is left out, and said
    #[arg(long, value_name = "S", default_value_t = 300.0)]
    pub(crate) budget: f64,
    /// Most images to look at, of each class in its share
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) most: usize,
    /// Folds of the cross-validation
    #[arg(long, value_name = "K", default_value_t = 5)]
    pub(crate) cv: u32,
    /// Height and width of the nets' input in pixels [default: as `finetune` would choose for each net]
    #[arg(long, value_name = "PX")]
    pub(crate) image_size: Option<u32>,
    /// Part of each class kept for validation and not looked at, where the folder has no val/
    #[arg(long, value_name = "F", default_value_t = 0.2)]
    pub(crate) val_fraction: f64,
    /// What the nets are computed in: auto (what is fastest here, by trying), f32 or bf16 [default: auto]
    #[arg(long, value_name = "auto|f32|bf16")]
    pub(crate) precision: Option<Precision>,
    /// Everything random is derived from it
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub(crate) seed: u64,
    /// Go on without the images that cannot be decoded
    #[arg(long)]
    pub(crate) skip_bad: bool,
    #[command(flatten)]
    pub(crate) threads: ThreadArgs,
    /// Go on with the net that is recommended; behind -- stands what else `finetune` is told
    #[arg(long, value_enum, value_name = "finetune")]
    pub(crate) then: Option<Then>,
    /// Arguments of what comes then
    #[arg(last = true, value_name = "ARG", requires = "then")]
    pub(crate) more: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What comes after the ranking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Then {
    Finetune,
}

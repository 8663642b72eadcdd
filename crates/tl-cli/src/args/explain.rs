//! The words of `tl explain`.

use std::path::PathBuf;

use clap::Args;

use super::ThreadArgs;

pub(super) const EXAMPLES: &str = "Examples:
  tl explain runs/ants photo.jpg more-photos/ --out seen
  tl explain runs/ants photo.jpg --class bee --out why-bee       what would speak for another class
  tl explain runs/ants photo.jpg --layer stage4 --out finer      a finer map, less sure of what it means

The picture shows the part of the image that the net sees, and beside it in light colours what spoke for the answer
(of several labels or numbers in the order of the lines that are printed; of a number what raised it):
Grad-CAM (arXiv:1610.02391) on the last map of the net; of a transformer on the patch tokens that enter its last layer.";

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// Run directory, then images, folders of images, tables or lists of them, and - for names on standard input
    #[arg(value_name = "RUN IMAGE", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Folder for the pictures, made if it is not there; no file in it is written over
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// The class, label or number that is asked about [default: the likeliest class; each label that is found, or the
    /// likeliest; each number]
    #[arg(long, value_name = "NAME")]
    pub(crate) class: Option<String>,
    /// Look at the output of this stage or block (`tl summary` lists them) [default: the last map, or the tokens that enter
    /// the last layer of a transformer]
    #[arg(long, visible_alias = "stage", value_name = "NAME")]
    pub(crate) layer: Option<String>,
    #[command(flatten)]
    pub(crate) threads: ThreadArgs,
    /// Print one JSON object a line, with the map
    #[arg(long)]
    pub(crate) json: bool,
}

//! The words of `tl runs`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

pub(super) const EXAMPLES: &str = "Examples:
  tl runs list                                      all runs in the folder runs
  tl runs show runs/ants
  tl runs compare runs/ants runs/bees --out compare.html
  tl runs reproduce runs/ants                       the same bits?
  tl runs rm runs/ants";

#[derive(Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// List the runs in a folder, in the order of their start.
    List(ListArgs),
    /// Say what a run is, how it went, and what it left.
    Show(ShowArgs),
    /// Put runs side by side, and say which differences are more than chance.
    ///
    /// Runs that differ only by their seed are put together, with mean and 95 % interval. Runs that answered the same
    /// validation images are compared image by image with the first: McNemar's exact test of classes, a paired bootstrap of
    /// all else.
    Compare(CompareArgs),
    /// Delete runs.
    Rm(RemoveArgs),
    /// Run a run's spec again, and say whether every number is the same, and if not, what differs.
    Reproduce(ReproduceArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Folder with runs in it
    #[arg(value_name = "DIR", default_value = "runs")]
    pub(crate) dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Directory of a run
    #[arg(value_name = "RUN")]
    pub(crate) run: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// Directories of runs
    #[arg(value_name = "RUN", required = true, num_args = 2..)]
    pub(crate) runs: Vec<PathBuf>,
    /// Write a page (.html) or the curves alone (.svg) to this file, which must not exist
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// Directories of runs
    #[arg(value_name = "RUN", required = true)]
    pub(crate) runs: Vec<PathBuf>,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Print what was deleted as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReproduceArgs {
    /// Directory of a run that has ended
    #[arg(value_name = "RUN")]
    pub(crate) run: PathBuf,
    /// Directory of the new run, which must not exist [default: RUN-again]
    #[arg(long, value_name = "DIR")]
    pub(crate) to: Option<PathBuf>,
    /// Threads of the net [default: those of the run]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Print one JSON object a line: the events of the new run, and at the end what came of it
    #[arg(long)]
    pub(crate) json: bool,
}

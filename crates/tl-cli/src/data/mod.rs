//! `tl data`: datasets that can be fetched, and what is in a folder of images.

mod cards;
mod fetch;

use crate::args::{DataArgs, DataCommand};

pub(crate) fn run(args: &DataArgs) -> anyhow::Result<()> {
    match &args.command {
        DataCommand::List(args) => fetch::list(args),
        DataCommand::Fetch(args) => fetch::run(args),
    }
}

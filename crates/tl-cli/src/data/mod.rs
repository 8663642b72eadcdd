//! `tl data`: what is in a dataset, whether it is sound, and public ones to fetch.

mod cards;
mod fetch;
pub(crate) mod look;

use crate::args::{DataArgs, DataCommand};

pub(crate) fn run(args: &DataArgs) -> anyhow::Result<()> {
    match &args.command {
        DataCommand::Inspect(args) => look::inspection(args),
        DataCommand::Doctor(args) => look::doctor(args),
        DataCommand::List(args) => fetch::list(args),
        DataCommand::Fetch(args) => fetch::run(args),
    }
}

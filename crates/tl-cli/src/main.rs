//! The command `tl`: arguments in, runs out. The only crate that prints.

mod args;
mod augment;
mod backbones;
mod data;
mod dataset;
mod device;
mod errors;
mod evaluate;
mod explain;
mod export;
mod features;
mod finetune;
mod fit;
mod fold;
mod foot;
mod help;
mod interrupt;
mod judge;
mod live;
mod looks;
mod lr_find;
mod machine;
mod manual;
mod memory;
mod output;
mod packed;
mod plan;
mod predict;
mod prepare;
mod rank;
mod remembered;
mod runs;
mod serve;
mod spec;
mod spin;
mod summary;
mod text;
mod texts;
mod ui;

use std::any::Any;
use std::io::Write;
use std::sync::Mutex;

use crate::args::{Cli, Command};
use crate::errors::Exit;
use crate::interrupt::Interrupt;
use crate::ui::Ui;

/// Where the last panic was; decoders may panic on hostile files and are caught, so a panic alone says nothing yet.
static PLACE: Mutex<String> = Mutex::new(String::new());

fn main() {
    std::panic::set_hook(Box::new(|panic| {
        if let (Ok(mut place), Some(at)) = (PLACE.lock(), panic.location()) {
            *place = format!(" at {}:{}", at.file(), at.line());
        }
    }));
    let cli = help::parse();
    spin::settle(&cli.command);
    tl_torch::keep_pages();
    let code = match std::panic::catch_unwind(|| dispatch(cli)) {
        Ok(Ok(())) => 0,
        Ok(Err(error)) => match error.downcast_ref::<Exit>() {
            Some(Exit(code)) => *code,
            None => {
                Ui::new().line(&format!("error: {}", errors::text(&error)));
                1
            }
        },
        Err(payload) => {
            Ui::new().line(&internal_error(payload.as_ref()));
            101
        }
    };
    let _ = std::io::stdout().flush();
    // All that is ours is written and gone; libtorch would take a fifth of a second to tidy up its tables.
    tl_torch::leave_at_once(code)
}

fn dispatch(mut cli: Cli) -> anyhow::Result<()> {
    let interrupt = Interrupt::install()?;
    let _held = packed::open(&mut cli.command)?;
    match &cli.command {
        Command::Finetune(args) => finetune::run(args, &interrupt),
        Command::Plan(args) => plan::run(args),
        Command::LrFind(args) => lr_find::run(args, &interrupt),
        Command::Rank(args) => rank::run(args, &interrupt),
        Command::Runs(args) => runs::run(args, &interrupt),
        Command::Evaluate(args) => evaluate::run(args),
        Command::Predict(args) => predict::run(args),
        Command::Serve(args) => serve::run(args, &interrupt),
        Command::Explain(args) => explain::run(args),
        Command::Features(args) => features::run(args, &interrupt),
        Command::Export(args) => export::run(args),
        Command::Summary(args) => summary::run(args),
        Command::Data(args) => data::run(args),
        Command::Text(args) => text::run(&args.command),
        Command::Augment(args) => augment::run(args),
        Command::Backbones(args) => backbones::run(args),
        Command::Completions(args) => manual::completions(args),
        Command::Man(args) => manual::pages(args),
    }
}

/// A fault of ours, without the stack of C++ frames that libtorch adds to its messages.
fn internal_error(payload: &(dyn Any + Send)) -> String {
    let message = payload.downcast_ref::<String>().map(String::as_str);
    let message = message.or(payload.downcast_ref::<&str>().copied()).unwrap_or("unknown");
    let place = PLACE.lock().map(|place| place.clone()).unwrap_or_default();
    format!(
        "internal error{place}: {}\n\nhint: this is a fault of the program; please report it with the command you ran",
        tl_torch::short(message)
    )
}

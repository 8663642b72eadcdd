//! A package in one file, in the place of a run.
//!
//! The decision behind it: it is taken apart before a command begins, into a folder that goes when the command ends, so that
//! no command knows of it. What is in the file is not believed: a name that leads out, a link, or far more than the file
//! could honestly hold is refused, and nothing of it is run.

use std::cell::RefCell;
use std::path::PathBuf;

use anyhow::Context;
use tempfile::TempDir;
use tl_fetch::{Limits, extract};

use crate::args::Command;
use crate::ui::{Ui, show_fetch};

/// A package has a dozen files; weights hardly shrink.
const LIMITS: Limits = Limits { files: 1000, bytes: 64 << 30, ratio: 100 };

/// Puts a folder in the place of a file, where a command is given one. The folder is there as long as what is returned.
pub(crate) fn open(command: &mut Command) -> anyhow::Result<Option<TempDir>> {
    let run = match command {
        Command::Predict(args) if args.backbone.is_none() => args.paths.first_mut(),
        Command::Features(args) if args.backbone.is_none() => args.paths.first_mut(),
        Command::Explain(args) => args.paths.first_mut(),
        Command::Evaluate(args) => Some(&mut args.run),
        Command::Serve(args) => Some(&mut args.run),
        Command::Export(args) => args.run.as_mut(),
        _ => None,
    };
    let is_zip = |run: &PathBuf| {
        run.is_file() && run.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("zip"))
    };
    let Some(run) = run.filter(|run| is_zip(run)) else { return Ok(None) };
    let held = TempDir::with_prefix("tl-").context("failed to make a temporary folder")?;
    let whole = held.path().join(run.file_stem().unwrap_or_default());
    let ui = RefCell::new(Ui::new());
    let taken = extract(run, &whole, LIMITS, &show_fetch(&ui));
    ui.borrow_mut().stop();
    taken?;
    let inside = std::fs::read_dir(&whole).into_iter().flatten().flatten().map(|entry| entry.path());
    let found = std::iter::once(whole.clone()).chain(inside).find(|place| place.join("model.json").is_file());
    *run = found.with_context(|| {
        format!(
            "there is no `model.json` in `{}`\n\nhint: `tl export RUN --format zip` makes such a file of a run",
            run.display()
        )
    })?;
    Ok(Some(held))
}

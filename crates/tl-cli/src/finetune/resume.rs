//! `tl finetune --resume RUN`: the rest of a run that was stopped.
//!
//! The decision behind it: everything comes from the run's own files, and what would make the rest another run (other
//! images, other weights) is refused. The number of the net's threads is the run's own as well, since the last bits
//! depend on it.

use std::cell::RefCell;
use std::path::Path;

use tl_run::{Manifest, RunDir, Status, Summary};
use tl_train::Checkpoint;

use super::record::Run;
use super::{Job, go};
use crate::args::{CacheArgs, FinetuneArgs, Settings, ThreadArgs};
use crate::interrupt::Interrupt;
use crate::machine;
use crate::ui::Ui;

pub(super) fn run(
    path: &Path,
    args: &FinetuneArgs,
    interrupt: &Interrupt,
    ui: &RefCell<Ui>,
) -> anyhow::Result<()> {
    refuse_others(args)?;
    let spec = path.join("spec.json");
    anyhow::ensure!(
        !RunDir::never_began(path),
        "the run in `{}` was killed before it had begun\n\n\
         hint: give the command it was begun with again; it may use the same --run",
        path.display()
    );
    anyhow::ensure!(
        spec.is_file(),
        "`{}` is not the directory of a run: it has no spec.json\n\nhint: give the directory that was named with --run, \
         or one below runs/",
        path.display()
    );
    refuse_finished(path)?;
    let mut dir = RunDir::reopen(path)?;
    let mut manifest: Manifest = RunDir::read_json(&path.join("manifest.json"), "record of a run")?;
    let checkpoint = Checkpoint::read(path)?;
    let epochs = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.progress.epochs);
    let rows = dir.keep_epochs(epochs)?;
    let given = &args.settings;
    let device = manifest.machine.device.parse().ok();
    let threads = ThreadArgs { device, threads: Some(manifest.machine.threads), ..given.threads.clone() };
    let settings =
        Settings { config: Some(spec), threads, caches: given.caches.clone(), ..Settings::default() };
    let mut job = Job::from_args(&settings, None, ui)?;
    same_run(&job, &manifest)?;
    job.announce(ui);
    job.choose(&interrupt.stop, ui)?;
    job.make_baseline(ui)?;
    say_where(&job, checkpoint.as_ref(), ui);
    if manifest.version != machine::version() {
        ui.borrow().line(&format!(
            "warning: the run was begun by version {}, this is {}; what follows may differ in the last digits",
            manifest.version,
            machine::version()
        ));
    }
    manifest.resumed.push(tl_run::utc_now()["long"].clone());
    dir.write_json("manifest.json", &manifest)?;
    let before = rows.len();
    let run = Run { dir, manifest, epochs: rows, before };
    go(&job, run, checkpoint, (args, interrupt), ui)
}

/// A run goes on as it began.
fn refuse_others(args: &FinetuneArgs) -> anyhow::Result<()> {
    let settings = &args.settings;
    let rest = Settings {
        caches: CacheArgs::default(),
        threads: ThreadArgs { data_threads: None, ..settings.threads.clone() },
        ..settings.clone()
    };
    anyhow::ensure!(
        rest == Settings::default() && args.run.is_none(),
        "--resume goes on with the run as it was begun, and other settings are given beside it\n\n\
         hint: leave them out, or begin a new run with --config RUN/spec.json and the new settings"
    );
    Ok(())
}

fn refuse_finished(path: &Path) -> anyhow::Result<()> {
    let summary = path.join("summary.json");
    if !summary.exists() {
        return Ok(());
    }
    let summary: Summary = RunDir::read_json(&summary, "summary of a run")?;
    let ended = match summary.status {
        Status::Finished => "is finished",
        Status::Diverged => "ended because its loss was no longer a number, and would again",
        Status::Failed | Status::Interrupted => return Ok(()),
    };
    anyhow::bail!(
        "the run in `{}` {ended}: there is nothing to go on with\n\nhint: a new run with other settings: \
         tl finetune --config {} …",
        path.display(),
        path.join("spec.json").display()
    )
}

/// Images and weights have to be those that the run began with.
fn same_run(job: &Job, manifest: &Manifest) -> anyhow::Result<()> {
    let (now, then) = (&job.data.facts, &manifest.data);
    let unit = job.inputs.unit();
    let mut changed = Vec::new();
    for (what, now, then) in [
        (format!("the training {unit}"), &now.train_sha256, &then.train_sha256),
        (format!("the validation {unit}"), &now.val_sha256, &then.val_sha256),
        ("the pretrained weights".to_owned(), &job.origin.pretrained.sha256, &manifest.weights.sha256),
    ] {
        if now != then {
            changed.push(what);
        }
    }
    anyhow::ensure!(
        changed.is_empty(),
        "{} are no longer those that the run began with, so it cannot go on\n\n\
         hint: put back what was there, or begin a new run with --config and its spec.json",
        changed.join(" and ")
    );
    Ok(())
}

fn say_where(job: &Job, checkpoint: Option<&Checkpoint>, ui: &RefCell<Ui>) {
    let ui = ui.borrow();
    let Some(progress) = checkpoint.map(|checkpoint| &checkpoint.progress) else {
        ui.line("resumed    from the beginning: no checkpoint had been written");
        return;
    };
    match job.plan.phases.get(progress.phase) {
        Some(phase) => ui.line(&format!(
            "resumed    in phase {}, epoch {}, after {} of its batches",
            phase.name,
            progress.epochs + 1,
            progress.batches
        )),
        None => ui.line("resumed    after the last phase"),
    }
    ui.line("");
}

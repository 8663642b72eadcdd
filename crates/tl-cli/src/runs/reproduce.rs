//! `tl runs reproduce`: runs a spec again and compares every number.

use std::path::{Path, PathBuf};

use tl_run::{EpochRow, Manifest, RunDir, Summary};

use crate::args::{FinetuneArgs, ReproduceArgs, Settings, ThreadArgs};
use crate::errors::Exit;
use crate::finetune;
use crate::interrupt::Interrupt;
use crate::ui;

/// A run's records.
struct Records {
    manifest: Manifest,
    summary: Summary,
    epochs: Vec<EpochRow>,
}

impl Records {
    fn read(run: &Path) -> anyhow::Result<Self> {
        super::open(run)?;
        anyhow::ensure!(
            run.join("summary.json").is_file(),
            "the run in `{}` has not ended: it has no summary.json\n\nhint: tl finetune --resume {}",
            run.display(),
            ui::word(run)
        );
        let mut epochs = RunDir::read_epochs(run)?;
        epochs.iter_mut().for_each(without_times);
        Ok(Self {
            manifest: RunDir::read_json(&run.join("manifest.json"), "record of a run")?,
            summary: RunDir::read_json(&run.join("summary.json"), "summary of a run")?,
            epochs,
        })
    }
}

fn without_times(row: &mut EpochRow) {
    (row.seconds, row.images_per_second, row.wait_seconds) = (0.0, 0.0, 0.0);
}

pub(super) fn run(args: &ReproduceArgs, interrupt: &Interrupt) -> anyhow::Result<()> {
    let then = Records::read(&args.run)?;
    let dir = args.to.clone().unwrap_or_else(|| beside(&args.run));
    let threads = args.threads.unwrap_or(then.manifest.machine.threads);
    let settings = Settings {
        config: Some(args.run.join("spec.json")),
        threads: ThreadArgs {
            device: then.manifest.machine.device.parse().ok(),
            threads: Some(threads),
            data_threads: None,
        },
        ..Settings::default()
    };
    let words = FinetuneArgs { settings, run: Some(dir.clone()), json: args.json, ..FinetuneArgs::default() };
    finetune::run(&words, interrupt)?;
    let now = Records::read(&dir)?;
    let same_model = then.summary.model_sha256 == now.summary.model_sha256;
    let same_epochs = then.epochs == now.epochs;
    if args.json {
        let differences = environment(&then.manifest, &now.manifest);
        let value = serde_json::json!({
            "event": "compared",
            "reproduced": same_model && same_epochs,
            "run": args.run,
            "again": dir,
            "epochs": now.epochs.len(),
            "model_sha256": now.summary.model_sha256,
            "first_difference": (!(same_model && same_epochs)).then(|| first_difference(&then, &now).trim_end().to_owned()),
            "environment": differences.iter().map(|line| line.trim()).collect::<Vec<_>>(),
        });
        ui::print(&format!("{value}\n"))?;
        return if same_model && same_epochs { Ok(()) } else { Err(Exit(1).into()) };
    }
    if same_model && same_epochs {
        return ui::print(&format!(
            "\nreproduced every figure of {} epochs and the model's bits ({}) are those of {}\n",
            now.epochs.len(),
            now.summary.model_sha256,
            args.run.display()
        ));
    }
    let mut text = format!("\nnot reproduced: {}\n", args.run.display());
    text.push_str(&first_difference(&then, &now));
    let differences = environment(&then.manifest, &now.manifest);
    match differences.is_empty() {
        true => text.push_str("nothing that is recorded of the environment differs\n"),
        false => text.push_str(&format!("what differs in the environment:\n{}", differences.concat())),
    }
    ui::print_tables(&text)?;
    Err(Exit(1).into())
}

/// `RUN-again`, or the first of `RUN-again-2`, … that is not there.
fn beside(run: &Path) -> PathBuf {
    let name = run.file_name().map_or_else(|| "run".into(), |name| name.to_string_lossy().into_owned());
    let base = run.with_file_name(format!("{name}-again"));
    let numbered = (2..).map(|i| run.with_file_name(format!("{name}-again-{i}")));
    std::iter::once(base).chain(numbered).find(|path| !path.exists()).unwrap_or_default()
}

/// Where the two part.
fn first_difference(then: &Records, now: &Records) -> String {
    let pairs = then.epochs.iter().zip(&now.epochs);
    if let Some((a, b)) = pairs.into_iter().find(|(a, b)| a != b) {
        return format!(
            "from epoch {} on, phase {}: training loss {} then and {} now, validation loss {} and {}\n",
            a.epoch, a.phase, a.train_loss, b.train_loss, a.val_loss, b.val_loss
        );
    }
    if then.epochs.len() != now.epochs.len() {
        return format!("{} epochs then, {} now\n", then.epochs.len(), now.epochs.len());
    }
    format!("the model is {} then, {} now\n", then.summary.model_sha256, now.summary.model_sha256)
}

fn environment(then: &Manifest, now: &Manifest) -> Vec<String> {
    let (a, b) = (&then.machine, &now.machine);
    let pairs = [
        ("version", then.version.clone(), now.version.clone()),
        ("training data", then.data.train_sha256.clone(), now.data.train_sha256.clone()),
        ("validation data", then.data.val_sha256.clone(), now.data.val_sha256.clone()),
        ("pretrained weights", then.weights.sha256.clone(), now.weights.sha256.clone()),
        ("platform", a.platform.clone(), b.platform.clone()),
        ("processor", a.cpu.clone(), b.cpu.clone()),
        ("threads of the net", a.threads.to_string(), b.threads.to_string()),
        ("device", a.device.clone(), b.device.clone()),
        ("libtorch", a.libtorch.clone(), b.libtorch.clone()),
    ];
    pairs
        .into_iter()
        .filter(|(_, then, now)| then != now)
        .map(|(what, then, now)| format!("  {what}: {then} then, {now} now\n"))
        .collect()
}

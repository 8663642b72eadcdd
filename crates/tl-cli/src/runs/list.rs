//! `tl runs list` and `tl runs show`.

use serde_json::{Value, json};
use tl_run::{Run, metric_title};

use super::{NEWEST, columns, data_name, field};
use crate::args::{ListArgs, ShowArgs};
use crate::errors::{self, Exit};
use crate::evaluate;
use crate::ui::{self, Ui};

pub(super) fn run(args: &ListArgs) -> anyhow::Result<()> {
    anyhow::ensure!(
        args.dir.is_dir(),
        "there is no folder `{}`\n\nhint: give the folder that your runs are in: tl runs list DIR",
        args.dir.display()
    );
    let (runs, problems) = Run::all_in(&args.dir, NEWEST)?;
    let bad = !problems.is_empty();
    for problem in problems {
        Ui::new().line(&format!("error: {}", errors::text(&problem.into())));
    }
    if args.json {
        let rows: Vec<Value> = runs.iter().map(facts).collect();
        ui::print_json(&rows)?;
    } else if runs.is_empty() {
        ui::print(&format!("no runs in {}\n", args.dir.display()))?;
    } else {
        let head = ["run", "started", "data", "net", "phases", "metric", "value", "seconds", "state"];
        let rows: Vec<Vec<String>> = runs.iter().map(row).collect();
        ui::print_tables(&columns(&head.map(str::to_owned), &rows))?;
    }
    if bad { Err(Exit(1).into()) } else { Ok(()) }
}

fn row(run: &Run) -> Vec<String> {
    let score = run.score();
    vec![
        run.name(),
        run.manifest.started.replace('T', " ").chars().take(16).collect(),
        data_name(run),
        field(run, "backbone"),
        run.phases().join("+"),
        score.as_ref().map_or("-".to_owned(), |(name, _)| metric_title(name).to_owned()),
        score.map_or("-".to_owned(), |(_, value)| format!("{value:.4}")),
        run.summary.as_ref().map_or("-".to_owned(), |summary| format!("{:.0}", summary.seconds)),
        run.state.word().to_owned(),
    ]
}

fn facts(run: &Run) -> Value {
    let score = run.score();
    json!({
        "run": run.name(),
        "path": run.path,
        "started": run.manifest.started,
        "data": run.manifest.data.path,
        "backbone": run.spec.get("backbone"),
        "phases": run.phases(),
        "seed": run.spec.get("seed"),
        "metric": score.as_ref().map(|(name, _)| name),
        "value": score.as_ref().map(|(_, value)| value),
        "epochs": run.epochs.len(),
        "seconds": run.summary.as_ref().map(|summary| summary.seconds),
        "state": run.state,
    })
}

pub(super) fn show(args: &ShowArgs) -> anyhow::Result<()> {
    let run = super::open(&args.run)?;
    if args.json {
        let mut value = facts(&run);
        value["summary"] = serde_json::to_value(&run.summary)?;
        value["manifest"] = serde_json::to_value(&run.manifest)?;
        value["spec"] = run.spec.clone();
        return ui::print_json(&value);
    }
    let manifest = &run.manifest;
    let data = &manifest.data;
    let unit = super::unit(&run);
    let mut lines = vec![
        format!("run        {}", args.run.display()),
        format!("state      {}", run.state.word()),
        format!("started    {}", manifest.started),
        format!("data       {}", data.path),
        format!(
            "           {} train, {} validation, {} test {unit}; split {}",
            data.train_images, data.val_images, data.test_images, data.split
        ),
        format!("backbone   {}, weights from {}", field(&run, "backbone"), manifest.weights.source),
        format!("machine    {}, {} threads", manifest.machine.cpu, manifest.machine.threads),
        format!("command    {}", manifest.command.join(" ")),
        String::new(),
    ];
    if let Ok(plan) = std::fs::read_to_string(args.run.join("plan.txt")) {
        lines.extend([plan.trim_end().to_owned(), String::new()]);
    }
    match &run.summary {
        Some(summary) => {
            lines.extend(summary.evaluations.iter().flat_map(|evaluation| evaluate::lines(evaluation, unit)));
            let best = &summary.best;
            lines
                .push(format!("best       epoch {} of {}, phase {}", best.epoch, summary.epochs, best.phase));
            let parts: Vec<String> =
                summary.phases.iter().map(|part| format!("{} {:.1}", part.phase, part.seconds)).collect();
            lines.push(format!("time       {:.1} s: {}", summary.seconds, parts.join(", ")));
            lines.extend(summary.warnings.iter().map(|warning| format!("note       {warning}")));
            let report = args.run.join("report.html");
            lines.extend(report.is_file().then(|| format!("report     {}", report.display())));
        }
        None => {
            let score = run.score().map_or(String::new(), |(name, value)| {
                format!(", {} {value:.4} after the last", metric_title(&name))
            });
            lines.push(format!("so far     {} epochs{score}", run.epochs.len()));
            if run.state == tl_run::State::Stopped {
                lines.push(format!("go on      tl finetune --resume {}", ui::word(&args.run)));
            }
        }
    }
    ui::print_tables(&(lines.join("\n") + "\n"))
}

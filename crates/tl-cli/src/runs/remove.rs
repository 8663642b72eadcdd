//! `tl runs rm`: deletes runs, and nothing that is no run.

use std::io::{BufRead, IsTerminal, Write};

use tl_run::{Run, State};

use crate::args::RemoveArgs;
use crate::errors::{Exit, Problems};
use crate::ui;

pub(super) fn run(args: &RemoveArgs) -> anyhow::Result<()> {
    let mut problems = Problems::default();
    for path in &args.runs {
        // A link is deleted by whoever made it.
        if path.is_symlink() {
            problems.add(anyhow::anyhow!("`{}` is a link and not the directory of a run", path.display()));
        } else if !Run::is_at(path) {
            problems.add(tl_run::RunError::NoRun { path: path.clone() }.into());
        } else if Run::open(path, u64::MAX).is_ok_and(|run| run.state == State::Running) {
            problems.add(tl_run::RunError::Busy { path: path.clone() }.into());
        }
    }
    problems.check()?;
    if !args.yes && !asked(args)? {
        return Err(Exit(1).into());
    }
    for path in &args.runs {
        tl_run::remove_run(path)?;
    }
    if args.json {
        return ui::print(&(serde_json::json!({ "deleted": args.runs }).to_string() + "\n"));
    }
    ui::print(&args.runs.iter().map(|path| format!("deleted {}\n", path.display())).collect::<String>())
}

fn asked(args: &RemoveArgs) -> anyhow::Result<bool> {
    let runs: Vec<String> = args.runs.iter().map(|path| path.display().to_string()).collect();
    anyhow::ensure!(
        std::io::stdin().is_terminal(),
        "nobody can be asked whether to delete {}\n\nhint: say --yes",
        runs.join(", ")
    );
    let mut out = std::io::stderr().lock();
    write!(out, "delete {} and all in it? [y/N] ", runs.join(", "))?;
    out.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

//! How long threads of libtorch's OpenMP spin before they sleep.
//!
//! The decision behind it: by default they spin so long that a net becomes several times slower as soon as anything else
//! runs on the machine. The library reads the setting before `main` begins, so a command that computes starts itself once
//! more with it, in the same process; that costs as long as loading libtorch, a fifth of a second.

use crate::args::{Command, RunsArgs, RunsCommand};

/// Goes on in a process that has the setting, unless the user made one.
pub(crate) fn settle(command: &Command) {
    let computes = match command {
        Command::Finetune(_)
        | Command::Plan(_)
        | Command::LrFind(_)
        | Command::Rank(_)
        | Command::Runs(RunsArgs { command: RunsCommand::Reproduce(_) })
        | Command::Evaluate(_)
        | Command::Predict(_)
        | Command::Explain(_)
        | Command::Serve(_)
        | Command::Export(_)
        | Command::Features(_) => true,
        Command::Summary(_)
        | Command::Data(_)
        | Command::Text(_)
        | Command::Augment(_)
        | Command::Backbones(_)
        | Command::Runs(_)
        | Command::Completions(_)
        | Command::Man(_) => false,
    };
    if computes {
        again();
    }
}

#[cfg(target_os = "linux")]
fn again() {
    use std::env;
    use std::os::unix::process::CommandExt;

    const SPIN: &str = "GOMP_SPINCOUNT";
    if env::var_os(SPIN).is_some() || env::var_os("OMP_WAIT_POLICY").is_some() {
        return;
    }
    let Ok(program) = env::current_exe() else { return };
    let mut words = env::args_os();
    let name = words.next().unwrap_or_else(|| program.clone().into());
    // Only comes back if it failed; then the run is slower on a busy machine, and nothing else.
    let _ = std::process::Command::new(program).arg0(name).args(words).env(SPIN, "1000").exec();
}

#[cfg(not(target_os = "linux"))]
fn again() {}

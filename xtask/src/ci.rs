//! `test`, `lint` and `ci`: cargo, in the order in which a mistake shows soonest.

use std::ffi::OsString;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;
use crate::{setup, tidy};

/// `cargo test --release --workspace` and what the user adds.
pub(crate) fn test(workspace: &Workspace, args: &[OsString]) -> Result<ExitCode> {
    setup::ensure(workspace)?;
    let status = tests(workspace).args(args).status().context("cannot run `cargo`")?;
    Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)))
}

fn tests(workspace: &Workspace) -> Command {
    cargo(workspace, &["test", "--release", "--workspace"])
}

fn cargo(workspace: &Workspace, args: &[&str]) -> Command {
    let mut command = workspace.cargo();
    command.args(args);
    command
}

/// Which steps of a check run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All but the tests.
    Lint,
    /// Everything that a change has to pass.
    Ci,
}

/// Runs the steps; the first that fails is the last.
pub(crate) fn command(workspace: &Workspace, args: &[String], extent: Extent) -> Result<ExitCode> {
    if let Some(arg) = args.first() {
        bail!("`lint` and `ci` take no arguments, got `{arg}`");
    }
    setup::ensure(workspace)?;
    let lints =
        ["clippy", "--release", "--workspace", "--all-targets", "--", "--deny", "warnings"].as_slice();
    let mut docs = cargo(workspace, &["doc", "--release", "--no-deps", "--workspace"]);
    docs.env("RUSTDOCFLAGS", "-D warnings");
    let mut steps = vec![
        ("format", cargo(workspace, &["fmt", "--all", "--check"])),
        ("lints", cargo(workspace, lints)),
        ("docs", docs),
    ];
    if extent == Extent::Ci {
        steps.push(("tests", tests(workspace)));
    }

    let begun = Instant::now();
    let mut times = Vec::new();
    let mut step = |name: &'static str, work: &mut dyn FnMut() -> Result<bool>| {
        eprintln!("== {name}");
        let start = Instant::now();
        let passed = work()?;
        let seconds = start.elapsed().as_secs_f64();
        eprintln!("== {name}: {} in {seconds:.1} s", if passed { "passed" } else { "FAILED" });
        if !passed {
            bail!("ci stopped at `{name}`");
        }
        times.push(format!("{name} {seconds:.1} s"));
        Ok(())
    };
    step("tidy", &mut || tidy::passes(workspace))?;
    for (name, mut command) in steps {
        step(name, &mut || Ok(command.status().context("cannot run `cargo`")?.success()))?;
    }
    let mut deny = cargo(workspace, &["deny", "check", "licenses", "bans", "sources"]);
    if is_installed(workspace, "deny") {
        step("dependencies", &mut || Ok(deny.status()?.success()))?;
    } else {
        eprintln!("== dependencies: skipped, cargo-deny is not installed (`cargo install cargo-deny`)");
    }
    eprintln!("passed in {:.1} s: {}", begun.elapsed().as_secs_f64(), times.join(", "));
    Ok(ExitCode::SUCCESS)
}

fn is_installed(workspace: &Workspace, tool: &str) -> bool {
    let mut command = cargo(workspace, &[tool, "--version"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|s| s.success())
}

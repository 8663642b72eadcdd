//! `cargo xtask bench`: this program's figures, and with `--peers` those of the Python stacks beside them.
//!
//! The decision behind it: our figures are a program's own business (`tl-bench`); what is here takes turns between it and
//! the peers.

mod environment;
mod peers;

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::setup;
use crate::workspace::Workspace;

const HELP: &str = "\
Measure how fast nets, training steps, images, texts and whole runs are on this machine.

Usage: cargo xtask bench [WORD…] [--rounds N] [--threads N] [--json FILE] [--against FILE]
       cargo xtask bench --peers [NAME…] [--rounds N] [--turns N] [--json FILE] [--torch PYTHON] [--keras PYTHON]

  WORD             only figures whose names contain one of these: forward, step, embed, loader, cached, run, a net, bf16
                   (which is left out where the processor is not faster in it)
  --rounds N       rounds, of which the median counts [default: 5; with --peers 3 in each turn]
  --threads N      threads of the net [default: all cores]
  --json FILE      write the figures to this file; with --peers after every NAME
  --against FILE   compare with the figures in this file
  --peers          the same work in PyTorch (eager, bf16, oneDNN graph, torch.compile), transformers and Keras, in turn with
                   ours. Gets the packages with pip, some gigabytes. NAME is `forward NET`, `step NET PART` (last stage, half,
                   all), `embed minilm`, `loader KIND` (validation, crop and flip, generator), `cached` or `run`
                   [default: 24 of them, which takes more than an hour]
  --turns N        turns between the sides; ratios are those of a turn, their median and range count [default: 2]
  --torch PYTHON   a Python that has torch, torchvision, timm, transformers and accelerate already
  --keras PYTHON   a Python that has keras, tensorflow, pillow and scipy already
";

pub(crate) fn command(workspace: &Workspace, args: &[OsString]) -> Result<ExitCode> {
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        print!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    }
    setup::ensure(workspace)?;
    let mut build = workspace.cargo();
    build.args(["build", "--release", "--package", "tl-bench", "--package", "tl-cli"]);
    if !build.status().context("cannot run `cargo`")?.success() {
        bail!("the benchmarks were not built");
    }
    let bench = workspace.release_dir()?.join("tl-bench");
    if let Some(at) = args.iter().position(|arg| arg == "--peers") {
        let rest = [&args[..at], &args[at + 1..]].concat();
        let rest: Vec<String> = rest.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
        return peers::compare(workspace, &bench, &peers::Options::parse(&rest)?);
    }
    let status = Command::new(&bench).args(args).status();
    let status = status.with_context(|| format!("cannot run `{}`", bench.display()))?;
    Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)))
}

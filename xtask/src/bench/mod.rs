//! `cargo xtask bench`: this program's figures, and with `--peers` those of the Python stacks beside them.
//!
//! The decision behind it: peers do the same work on the same machine in the same quarter of an hour, in turn with ours,
//! and only ratios are of interest. They live in environments of their own in the build folder.

mod environment;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::bench::environment::ENVIRONMENTS;
use crate::setup;
use crate::workspace::Workspace;

/// What is compared with peers where nobody says what.
const COMPARED: [&str; 10] = [
    "forward resnet50",
    "forward mobilenet-v2",
    "forward efficientnet-lite0",
    "forward vgg16",
    "forward inception-v3",
    "forward convnext-tiny",
    "forward vit-small-patch16",
    "step resnet50 last stage",
    "step resnet50 half",
    "step resnet50 all",
];

const HELP: &str = "\
Measure how fast nets, training steps, images and whole runs are on this machine.

Usage: cargo xtask bench [WORD…] [--rounds N] [--threads N] [--json FILE] [--against FILE]
       cargo xtask bench --peers [NAME…] [--rounds N] [--torch PYTHON] [--keras PYTHON]

  WORD             only figures whose names contain one of these: forward, step, loader, cached, run, a net
  --rounds N       rounds, of which the median counts [default: 5; with --peers 3, twice]
  --threads N      threads of the net [default: all cores]
  --json FILE      write the figures to this file
  --against FILE   compare with the figures in this file
  --peers          the same work in PyTorch (eager, bf16, oneDNN graph, torch.compile), transformers and Keras, in turn with
                   ours; NAME is `forward NET` or `step NET PART` (last stage, half, all). Gets the packages with pip, some
                   gigabytes
  --torch PYTHON   a Python that has torch, torchvision, timm, transformers and accelerate already
  --keras PYTHON   a Python that has keras and tensorflow already
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
        return peers(workspace, &bench, &Options::parse(&rest)?);
    }
    let status = Command::new(&bench).args(args).status();
    let status = status.with_context(|| format!("cannot run `{}`", bench.display()))?;
    Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)))
}

/// What is said after `--peers`.
#[derive(Debug, PartialEq)]
struct Options {
    names: Vec<String>,
    rounds: usize,
    pythons: BTreeMap<&'static str, PathBuf>,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self> {
        let (mut names, mut rounds, mut pythons) = (Vec::new(), 3, BTreeMap::new());
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} is given without a value"));
            match arg.as_str() {
                "--rounds" => {
                    let text = value()?;
                    rounds =
                        text.parse().ok().filter(|n| *n > 0).with_context(|| {
                            format!("--rounds is `{text}`, expected a whole number from 1")
                        })?;
                }
                "--torch" => drop(pythons.insert("torch", PathBuf::from(value()?))),
                "--keras" => drop(pythons.insert("keras", PathBuf::from(value()?))),
                name if name.starts_with("forward ") || name.starts_with("step ") => {
                    names.push(name.to_owned())
                }
                other => bail!(
                    "`{other}` cannot be compared with peers, expected names such as `forward resnet50`\n\n\
                     hint: cargo xtask bench --help"
                ),
            }
        }
        if names.is_empty() {
            names = COMPARED.map(str::to_owned).to_vec();
        }
        Ok(Self { names, rounds, pythons })
    }
}

/// Rates by name of the figure.
type Rates = BTreeMap<String, Vec<f64>>;

fn peers(workspace: &Workspace, bench: &Path, options: &Options) -> Result<ExitCode> {
    let parent = workspace.release_dir()?.with_file_name("peers");
    let mut peers = Vec::new();
    for environment in &ENVIRONMENTS {
        let python = match options.pythons.get(environment.name) {
            Some(python) => python.clone(),
            None => environment.python(&parent)?,
        };
        peers.extend(environment.scripts.iter().map(|script| (python.clone(), *script)));
    }
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("figures.json");
    let rounds = options.rounds.to_string();
    for name in &options.names {
        let (mut ours, mut theirs) = (Rates::new(), Rates::new());
        for round in 1..=2 {
            eprintln!("measuring  {name}, {round} of 2: here, then PyTorch, transformers and Keras");
            let mut command = Command::new(bench);
            command.args([name, "--rounds", &rounds, "--json"]).arg(&out);
            collect(command, &out, &mut ours)?;
            for (python, script) in &peers {
                let mut command = environment::command(python);
                command.arg(workspace.root().join(script)).arg(&rounds).arg(&out).arg(name);
                collect(command, &out, &mut theirs).with_context(|| format!("`{script}` failed"))?;
            }
        }
        print!("{}", table(name, &ours, &theirs));
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs a program that writes its figures to `out`, and adds them.
fn collect(mut command: Command, out: &Path, rates: &mut Rates) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run `{program}`"))?;
    if !output.status.success() {
        bail!("`{program}` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = std::fs::read_to_string(out).with_context(|| format!("`{program}` left no figures"))?;
    let record: Value = serde_json::from_str(&text)?;
    for figure in record["figures"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let found = figure["rounds"].as_array().map(Vec::as_slice).unwrap_or_default();
        let name = figure["name"].as_str().unwrap_or_default().to_owned();
        rates.entry(name).or_default().extend(found.iter().filter_map(Value::as_f64));
    }
    Ok(())
}

/// Every row with its median and what our best is to it.
fn table(name: &str, ours: &Rates, theirs: &Rates) -> String {
    let best = ours.values().map(|rates| median(rates)).fold(0.0, f64::max);
    let mut text = format!("\n{name}, images/s\n");
    let rows = ours.iter().map(|row| ("here ", row)).chain(theirs.iter().map(|row| ("", row)));
    for (whose, (row, rates)) in rows {
        let row = format!("{whose}{}", row.strip_prefix(name).unwrap_or(row).trim());
        let rate = median(rates);
        text.push_str(&format!("  {row:44} {rate:9.1}   our best is {:5.2} times that\n", best / rate));
    }
    text
}

fn median(rates: &[f64]) -> f64 {
    let mut sorted = rates.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |i: usize| sorted.get(i).copied().unwrap_or(f64::NAN);
    f64::midpoint(at(sorted.len().saturating_sub(1) / 2), at(sorted.len() / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options> {
        Options::parse(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn words_after_peers() {
        let options = parse(&["forward resnet50", "--rounds", "2", "--torch", "py"]).unwrap();
        assert_eq!((options.names, options.rounds), (vec!["forward resnet50".to_owned()], 2));
        assert_eq!(options.pythons, BTreeMap::from([("torch", PathBuf::from("py"))]));
        assert_eq!(parse(&[]).unwrap().names.len(), COMPARED.len());
        for (args, words) in [
            (&["loader"][..], "cannot be compared with peers"),
            (&["--rounds", "0"], "--rounds is `0`"),
            (&["--keras"], "--keras is given without a value"),
        ] {
            let error = parse(args).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn the_best_of_ours_is_set_against_every_row() {
        let rates = |name: &str, rates: &[f64]| (name.to_owned(), rates.to_vec());
        let ours =
            Rates::from([rates("forward x f32", &[10.0, 30.0, 20.0]), rates("forward x bf16", &[60.0])]);
        let theirs = Rates::from([rates("forward x torch eager", &[15.0, 25.0])]);
        let text = table("forward x", &ours, &theirs);
        assert!(
            text.contains("  here f32 ")
                && text.contains("  torch eager ")
                && text.contains("20.0   our best is  3.00 times that"),
            "{text}"
        );
    }

    #[test]
    fn figures_are_read_from_the_file_and_failures_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("figures.json");
        let figures = serde_json::json!({ "figures": [{ "name": "a", "rounds": [1.5, 2.5] }] });
        std::fs::write(&out, figures.to_string()).unwrap();
        let mut rates = Rates::new();
        collect(Command::new("true"), &out, &mut rates).unwrap();
        collect(Command::new("true"), &out, &mut rates).unwrap();
        assert_eq!(rates["a"], [1.5, 2.5, 1.5, 2.5]);
        let error = collect(Command::new("false"), &out, &mut rates).unwrap_err().to_string();
        assert!(error.contains("`false` failed"), "{error}");
    }
}

//! The front door: `cargo xtask <command>`.
//!
//! It owns what comes before the program runs (libtorch, tests, checks); every other command is built and passed to
//! `tl`. It links no libtorch and knows no images, so that it is compiled in seconds on a machine that has nothing.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

mod ahead;
mod bench;
mod ci;
mod doctor;
mod setup;
mod tidy;
mod tl;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;

use workspace::Workspace;

const HELP: &str = "\
Transfer learning: from a folder of labelled images to a fine-tuned model.

Usage: cargo xtask <command> [options]

Commands of this front door:
  setup [--device cpu|cuda] [--force]   get libtorch (every command does so when it is missing)
  doctor [--json]                       what this machine has, and the line that mends what it lacks
  test [cargo test options]             all tests, in release
  lint                                  format, lints, docs, house rules
  bench [--peers]                       how fast it is here, also beside PyTorch and Keras
  ci                                    everything a change has to pass: lint, then the tests
  tidy                                  house rules that no compiler checks
  help                                  this text

Every other command goes to `tl`, which is built first:
  cargo xtask finetune                           a first run, on the dataset that comes along
  cargo xtask finetune --data DIR                your own images: DIR/<class>/*.jpg
  cargo xtask predict RUN image.jpg              what an image shows
  cargo xtask explain RUN image.jpg --out DIR    where in it the answer was found
  cargo xtask serve RUN                          the same over HTTP, with a page
  cargo xtask rank --data DIR                    which pretrained net suits your images
  cargo xtask evaluate RUN DIR                   how good a model is on labelled images
  cargo xtask backbones                          the pretrained nets; also `summary` and `features` of one
  cargo xtask tl --help                          all commands of `tl`

LIBTORCH, if you set it, names the libtorch to use; TL_HOME the folder for everything downloaded.
";

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let done = if ahead::is_wrapper() { ahead::wrap(&args) } else { run(&args) };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{}", report(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[OsString]) -> anyhow::Result<ExitCode> {
    let Some((command, rest)) = args.split_first() else {
        print!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    };
    let command = command.to_string_lossy();
    if ["help", "--help", "-h"].contains(&&*command) {
        print!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    }
    let workspace = Workspace::find()?;
    let texts: Vec<String> = rest.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    match &*command {
        "setup" => setup::command(&workspace, &texts),
        "doctor" => doctor::command(&workspace, &texts),
        "test" => ci::test(&workspace, rest),
        "lint" => ci::command(&workspace, &texts, ci::Extent::Lint),
        "ci" => ci::command(&workspace, &texts, ci::Extent::Ci),
        "bench" => bench::command(&workspace, rest),
        "tidy" => tidy::command(&workspace, &texts),
        "tl" => tl::command(&workspace, rest),
        _ => tl::command(&workspace, args),
    }
}

/// An error with its causes on one line, and the hints of all of them after it.
fn report(error: &anyhow::Error) -> String {
    let (message, hints) = message_and_hints(error);
    let hints = hints.iter().map(|hint| format!("\n\nhint: {hint}"));
    format!("error: {message}{}", hints.collect::<String>())
}

/// The messages of an error and its causes on one line, and their hints.
fn message_and_hints(error: &anyhow::Error) -> (String, Vec<String>) {
    let (mut messages, mut hints) = (Vec::new(), Vec::new());
    for cause in error.chain() {
        let text = cause.to_string();
        let mut parts = text.split("\n\nhint: ");
        messages.extend(parts.next().map(str::to_owned));
        hints.extend(parts.map(str::to_owned));
    }
    (messages.join(": "), hints)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    #[test]
    fn hints_come_last() {
        let error = anyhow::anyhow!("no `x`\n\nhint: get it").context("cannot do `y`\n\nhint: or not");
        assert_eq!(super::report(&error), "error: cannot do `y`: no `x`\n\nhint: or not\n\nhint: get it");
        let plain = Err::<(), _>(anyhow::anyhow!("no")).context("why").unwrap_err();
        assert_eq!(super::report(&plain), "error: why: no");
    }

    #[test]
    fn the_help_names_every_command_of_its_own() {
        for command in ["setup", "doctor", "test", "lint", "ci", "tidy", "help"] {
            assert!(super::HELP.contains(&format!("\n  {command} ")), "{command}");
        }
    }
}

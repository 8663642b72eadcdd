//! `tl completions` and `tl man`: what a shell and `man` want to know of the command line, made from the same words as
//! `--help`.

use std::path::Path;

use anyhow::Context;
use clap::CommandFactory;
use clap_mangen::Man;

use crate::args::{Cli, CompletionsArgs, ManArgs};
use crate::ui;

/// The script for a shell, on stdout.
pub(crate) fn completions(args: &CompletionsArgs) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tl", &mut script);
    ui::print(&String::from_utf8(script)?)
}

/// A page for each command.
pub(crate) fn pages(args: &ManArgs) -> anyhow::Result<()> {
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("failed to create `{}`", args.out.display()))?;
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut written = 0;
    write(&command, &args.out, &mut written)?;
    ui::print(&format!("{written} pages in {}\n", args.out.display()))
}

fn write(command: &clap::Command, dir: &Path, written: &mut usize) -> anyhow::Result<()> {
    for command in command.get_subcommands() {
        write(command, dir, written)?;
    }
    let page = Man::new(command.clone());
    tl_run::write_whole(&dir.join(page.get_filename()), |file| page.render(file))?;
    *written += 1;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_command_line_are_consistent() {
        Cli::command().debug_assert();
    }
}

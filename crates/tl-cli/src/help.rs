//! `--help` on a terminal of any width.
//!
//! The decision behind it: what stands behind the options of a command is laid out here and not by `clap`, which knows
//! lines only. Examples keep their remarks beside them where all fit, and have them below where not; a command that is too
//! long is broken so that it can still be pasted; all else is paragraphs.

use std::io::IsTerminal;

use clap::{Command, CommandFactory, FromArgMatches};
use console::{Term, measure_text_width};

use crate::args::Cli;
use crate::fold::hang;

/// Lines of help are no wider than this.
const WIDEST: usize = 100;
/// Where a remark begins that stands below its example, and where a broken command goes on.
const BELOW: usize = 6;

/// The command line of this process. Help and errors of usage are printed, and end it.
pub(crate) fn parse() -> Cli {
    let width = columns();
    let matches = laid_out(Cli::command().term_width(width), width).get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// Help that is piped is mostly piped to a pager on the same terminal.
fn columns() -> usize {
    let terminal = [Term::stdout(), Term::stderr()];
    let there = [std::io::stdout().is_terminal(), std::io::stderr().is_terminal()];
    let sizes = terminal.iter().zip(there).filter(|(_, there)| *there);
    sizes.map(|(term, _)| usize::from(term.size().1)).next().unwrap_or(WIDEST).min(WIDEST)
}

/// The same with what follows the options laid out for `width` columns, in all subcommands.
fn laid_out(command: Command, width: usize) -> Command {
    let after = command.get_after_help().map(|text| after(&text.to_string(), width));
    let command = command.mut_subcommands(|command| laid_out(command, width));
    match after {
        Some(text) => command.after_help(text),
        None => command,
    }
}

/// Examples are lines that begin with two spaces; what stands between them and blank lines is paragraphs.
fn after(text: &str, width: usize) -> String {
    let mut blocks: Vec<String> = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let is_example = |line: &str| line.starts_with("  ");
        let mut block = vec![line];
        while let Some(next) =
            lines.next_if(|next| !line.is_empty() && !next.is_empty() && is_example(next) == is_example(line))
        {
            block.push(next);
        }
        blocks.push(if is_example(line) {
            examples(&block, width)
        } else {
            hang(&block.join(" "), width, 0)
        });
    }
    blocks.join("\n")
}

fn examples(lines: &[&str], width: usize) -> String {
    let parts = lines.iter().map(|line| {
        let line = line.trim();
        // A remark is set apart from its example.
        line.split_once("  ").map_or((line, ""), |(command, remark)| (command, remark.trim_start()))
    });
    let parts: Vec<(&str, &str)> = parts.collect();
    let beside = parts.iter().filter(|(_, remark)| !remark.is_empty());
    let column = beside.map(|(command, _)| measure_text_width(command)).max().unwrap_or(0) + 3;
    let fits =
        |(_, remark): &(&str, &str)| remark.is_empty() || 2 + column + measure_text_width(remark) <= width;
    let fit = parts.iter().all(fits);
    let texts = parts.iter().map(|(command, remark)| match (remark.is_empty(), fit) {
        (true, _) => whole(command, width),
        (false, true) => format!("  {command:column$}{remark}"),
        (false, false) => {
            format!("{}\n{}", whole(command, width), hang(&format!("{:BELOW$}{remark}", ""), width, BELOW))
        }
    });
    texts.collect::<Vec<_>>().join("\n")
}

/// A command, broken before words that do not fit, as a shell reads it.
fn whole(command: &str, width: usize) -> String {
    let (mut text, mut at) = (" ".to_owned(), 1);
    let words = words(command);
    for (i, word) in words.iter().enumerate() {
        // Behind all but the last word there has to be room for what says that the command goes on.
        let room = if i + 1 < words.len() { 2 } else { 0 };
        if at > BELOW && at + 1 + measure_text_width(word) + room > width {
            text.push_str(" \\\n");
            text.push_str(&" ".repeat(BELOW - 1));
            at = BELOW - 1;
        }
        text.push(' ');
        text.push_str(word);
        at += 1 + measure_text_width(word);
    }
    text
}

/// What a shell takes for words, with their quotes.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut quote) = (vec![String::new()], None);
    for c in command.chars() {
        match (c, quote) {
            (' ', None) => words.push(String::new()),
            _ => {
                quote = match (c, quote) {
                    ('\'' | '"', None) => Some(c),
                    (_, Some(open)) if c == open => None,
                    _ => quote,
                };
                words.last_mut().into_iter().for_each(|word| word.push(c));
            }
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_stand_beside_examples_where_all_fit_and_else_below() {
        let text = "Examples:\n  tl a          short\n  tl bb         a longer remark\n  tl c\n\nA sentence\nof two lines.";
        let wide =
            "Examples:\n  tl a    short\n  tl bb   a longer remark\n  tl c\n\nA sentence of two lines.";
        assert_eq!(after(text, 60), wide);
        let narrow = "Examples:\n  tl a\n      short\n  tl bb\n      a longer\n      remark\n  tl c\n\nA sentence of\ntwo lines.";
        assert_eq!(after(text, 16), narrow);
    }

    #[test]
    fn long_commands_can_be_pasted() {
        assert_eq!(whole("tl a --json '{ \"a\": 1 }' b", 22), "  tl a --json \\\n      '{ \"a\": 1 }' b");
        assert_eq!(whole("tl a b", 80), "  tl a b");
    }

    #[test]
    fn no_help_is_wider_than_the_terminal_but_for_what_cannot_be_broken() {
        fn check(command: &Command, width: usize) {
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in after.lines() {
                let fits = measure_text_width(line) <= width;
                let one = words(line.trim_end_matches('\\')).len() == 1;
                assert!(fits || one, "{}, {width} columns: {line}", command.get_name());
            }
            command.get_subcommands().for_each(|command| check(command, width));
        }
        for width in [40, 80, 100] {
            check(&laid_out(Cli::command(), width), width);
        }
    }
}

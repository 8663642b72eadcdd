//! House rules that no compiler checks: documents at the top, sizes, which crate may use which.
//!
//! All violations are reported together. It is a test, too, so `cargo test` is enough to find them.

mod code;
mod deps;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

const LONGEST_FILE: usize = 600;

/// Words that do not belong in code, and why.
const BANNED: &[(&str, &str)] = &[
    ("#[ignore", "a test runs, or is not there"),
    ("todo!(", "nothing is a stub"),
    ("unimplemented!(", "nothing is a stub"),
    ("dbg!(", "left from debugging"),
];

/// `tidy`.
pub(crate) fn command(workspace: &Workspace, args: &[String]) -> Result<ExitCode> {
    if let Some(arg) = args.first() {
        bail!("`tidy` takes no arguments, got `{arg}`");
    }
    Ok(if passes(workspace)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints all violations; `true` when there are none.
pub(crate) fn passes(workspace: &Workspace) -> Result<bool> {
    let violations = violations(workspace)?;
    for violation in &violations {
        eprintln!("{violation}");
    }
    if !violations.is_empty() {
        eprintln!("tidy: violations: {}", violations.len());
    }
    Ok(violations.is_empty())
}

fn violations(workspace: &Workspace) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for path in files(workspace.root())? {
        let name = path.strip_prefix(workspace.root())?.to_string_lossy().replace('\\', "/");
        if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read `{name}`"))?;
            check_file(&name, &text, &mut found);
        } else if !name.starts_with("crates/tl-torch/") {
            found.push(format!("{name}:1: C++ belongs in `tl-torch`"));
        }
    }
    found.extend(deps::violations(workspace)?);
    Ok(found)
}

/// All Rust and C++ files of this project, in order.
fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for dir in ["crates", "xtask", "tests"] {
        collect(&root.join(dir), &mut files)?;
    }
    files.sort();
    Ok(files)
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !dir.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read `{}`", dir.display()))? {
        let path = entry?.path();
        let extension = path.extension().unwrap_or_default();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, files)?;
        } else if ["rs", "cpp", "cc", "h"].iter().any(|e| extension == *e) {
            files.push(path);
        }
    }
    Ok(())
}

fn check_file(name: &str, text: &str, found: &mut Vec<String>) {
    let mut report = |line: usize, what: &str| found.push(format!("{name}:{line}: {what}"));
    if !text.starts_with("//!") {
        report(1, "a file starts with `//!`: what it is, and the decision behind it");
    }
    let lines = text.lines().count();
    if lines > LONGEST_FILE {
        report(lines, &format!("{lines} lines; {LONGEST_FILE} is the most"));
    }
    if !text.ends_with('\n') {
        report(lines.max(1), "no newline at the end");
    }
    for (n, line) in text.lines().enumerate() {
        if line.ends_with([' ', '\t', '\r']) {
            report(n + 1, "space at the end of a line");
        }
    }
    let may_be_unsafe = name.starts_with("crates/tl-torch/");
    for (n, line) in code::only(text).lines().enumerate() {
        for (word, why) in BANNED {
            if line.contains(word) {
                report(n + 1, &format!("`{word}`: {why}"));
            }
        }
        if !may_be_unsafe && code::has_word(line, "unsafe") {
            report(n + 1, "`unsafe` belongs in `tl-torch`");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let found = violations(&Workspace::find().unwrap()).unwrap();
        assert!(found.is_empty(), "\n{}", found.join("\n"));
    }

    #[test]
    fn every_rule_finds_its_violation() {
        let check = |name: &str, text: &str| {
            let mut found = Vec::new();
            check_file(name, text, &mut found);
            found
        };
        assert!(check("crates/a/src/lib.rs", "//! Fine.\nfn f() {}\n").is_empty());
        assert!(
            check("a.rs", "//! It says \"todo!(\".\nconst A: &str = \"dbg!(\"; // unsafe {\n").is_empty()
        );
        for (text, wanted) in [
            ("fn f() {}\n", "a.rs:1: a file starts"),
            ("//! x\nlet a = 1; \n", "a.rs:2: space"),
            ("//! x", "a.rs:1: no newline"),
            ("//! x\nfn f() {\n    todo!()\n}\n", "a.rs:3: `todo!(`"),
            ("//! x\nunsafe { f() }\n", "a.rs:2: `unsafe`"),
            ("//! x\n#[ignore]\n", "a.rs:2: `#[ignore`"),
        ] {
            let found = check("a.rs", text);
            assert!(found.len() == 1 && found[0].starts_with(wanted), "{text:?}: {found:?}");
        }
        assert!(check("crates/tl-torch/src/a.rs", "//! x\nunsafe { f() }\n").is_empty());
        let long = format!("//! x\n{}", "\n".repeat(LONGEST_FILE));
        assert!(check("a.rs", &long)[0].contains("601 lines"));
    }
}

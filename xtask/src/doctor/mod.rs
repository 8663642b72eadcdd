//! What this machine has, and for everything it lacks the exact line that mends it.
//!
//! A `problem` stops the main job (build, then fine-tune on the data that comes along); a `warning` makes it slower or
//! stops something else.

mod machine;
mod tools;

use std::process::ExitCode;

use anyhow::{Result, bail};
use serde::Serialize;

use crate::workspace::Workspace;

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Ok,
    Warning,
    Problem,
}

/// One line of the report.
#[derive(Debug, Serialize)]
pub(crate) struct Check {
    name: &'static str,
    state: State,
    detail: String,
    /// What to type.
    mend: Option<String>,
}

impl Check {
    pub(crate) fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, state: State::Ok, detail: detail.into(), mend: None }
    }

    pub(crate) fn warning(name: &'static str, detail: impl Into<String>, mend: &str) -> Self {
        Self { name, state: State::Warning, detail: detail.into(), mend: Some(mend.to_owned()) }
    }

    pub(crate) fn problem(name: &'static str, detail: impl Into<String>, mend: &str) -> Self {
        Self { name, state: State::Problem, detail: detail.into(), mend: Some(mend.to_owned()) }
    }
}

/// `doctor [--json]`; exit code 1 when there is a problem.
pub(crate) fn command(workspace: &Workspace, args: &[String]) -> Result<ExitCode> {
    let json = match args {
        [] => false,
        [flag] if flag == "--json" => true,
        _ => bail!("`doctor` takes only `--json`"),
    };
    // The hub may take seconds to answer, so it is asked meanwhile.
    let checks = std::thread::scope(|scope| {
        let hub = scope.spawn(machine::hub);
        let mut checks = tools::all(workspace);
        checks.extend(machine::all());
        checks.extend(hub.join().ok());
        checks
    });
    let ok = checks.iter().all(|check| check.state != State::Problem);
    if json {
        println!("{}", serde_json::to_string_pretty(&serde_json::json!({ "ok": ok, "checks": checks }))?);
    } else {
        print!("{}", text(&checks));
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn text(checks: &[Check]) -> String {
    let mut out = String::new();
    for check in checks {
        let state = match check.state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Problem => "PROBLEM",
        };
        out.push_str(&format!("{state:<8}{:<13}{}\n", check.name, check.detail));
        if let Some(mend) = &check.mend {
            out.push_str(&format!("{:21}mend: {mend}\n", ""));
        }
    }
    let count = |state| checks.iter().filter(|check| check.state == state).count();
    let (problems, warnings) = (count(State::Problem), count(State::Warning));
    out.push_str(&match (problems, warnings) {
        (0, 0) => "everything is there\n".to_owned(),
        (0, n) => format!("ready; warnings: {n}\n"),
        (n, _) => format!("not ready; problems: {n}\n"),
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_shows_its_line() {
        let checks = [Check::ok("a", "fine"), Check::problem("b", "gone", "`get b`")];
        let text = text(&checks);
        assert!(text.contains("PROBLEM b            gone\n                     mend: `get b`\n"), "{text}");
        assert!(text.ends_with("not ready; problems: 1\n"));
    }
}

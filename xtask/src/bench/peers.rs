//! `cargo xtask bench --peers`: the same work here and in the Python stacks.
//!
//! The decision behind it: both sides take turns on the same machine, within minutes, and only the ratios within a turn are of
//! interest: their median over the turns, and how far they lie apart. What one peer cannot do is said under the table and
//! stops nobody else. Peers live in environments of their own in the build folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::environment::{self, ENVIRONMENTS, Environment, Script};
use crate::workspace::Workspace;

/// What is compared where nobody says what.
const COMPARED: [&str; 24] = [
    "forward resnet50",
    "forward mobilenet-v2",
    "forward efficientnet-lite0",
    "forward vgg16",
    "forward inception-v3",
    "forward convnext-tiny",
    "forward vit-small-patch16",
    "forward minilm",
    "embed minilm",
    "step resnet50 last stage",
    "step resnet50 half",
    "step resnet50 all",
    "step mobilenet-v2 last stage",
    "step mobilenet-v2 half",
    "step mobilenet-v2 all",
    "step efficientnet-lite0 last stage",
    "step efficientnet-lite0 half",
    "step efficientnet-lite0 all",
    "step minilm all",
    "cached",
    "loader validation",
    "loader crop and flip",
    "loader generator",
    "run",
];

/// What names begin with.
const KINDS: [&str; 6] = ["forward", "step", "embed", "loader", "cached", "run"];

/// What is said after `--peers`.
#[derive(Debug, PartialEq)]
pub(super) struct Options {
    names: Vec<String>,
    rounds: usize,
    turns: usize,
    json: Option<PathBuf>,
    pythons: BTreeMap<&'static str, PathBuf>,
}

impl Options {
    pub(super) fn parse(args: &[String]) -> Result<Self> {
        let mut options =
            Self { names: Vec::new(), rounds: 3, turns: 2, json: None, pythons: BTreeMap::new() };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} is given without a value"));
            let number = |text: &String| {
                let number = text.parse().ok().filter(|n| *n > 0);
                number.with_context(|| format!("{arg} is `{text}`, expected a whole number from 1"))
            };
            match arg.as_str() {
                "--rounds" => options.rounds = number(value()?)?,
                "--turns" => options.turns = number(value()?)?,
                "--json" => options.json = Some(PathBuf::from(value()?)),
                "--torch" => drop(options.pythons.insert("torch", PathBuf::from(value()?))),
                "--keras" => drop(options.pythons.insert("keras", PathBuf::from(value()?))),
                name if KINDS.contains(&kind(name)) => options.names.push(name.to_owned()),
                other => bail!(
                    "`{other}` cannot be compared with peers, expected names such as `forward resnet50`\n\n\
                     hint: cargo xtask bench --help"
                ),
            }
        }
        if options.names.is_empty() {
            options.names = COMPARED.map(str::to_owned).to_vec();
        }
        Ok(options)
    }
}

/// The first word of a name.
fn kind(name: &str) -> &str {
    name.split(' ').next().unwrap_or_default()
}

/// What one program found of a name in one turn.
#[derive(Debug, Default)]
struct Found {
    unit: String,
    machine: String,
    /// By row the rate of every round.
    rates: Vec<(String, Vec<f64>)>,
    /// By row why it could not be measured.
    failed: Vec<(String, String)>,
}

/// One way of doing the work.
#[derive(Debug)]
struct Row {
    ours: bool,
    name: String,
    /// By turn the median of its rounds; none where it was not measured.
    turns: Vec<Option<f64>>,
    rounds: Vec<f64>,
}

/// All that is known of a name.
#[derive(Debug, Default)]
struct Comparison {
    unit: String,
    machines: Vec<String>,
    rows: Vec<Row>,
    failed: Vec<(String, String)>,
}

pub(super) fn compare(workspace: &Workspace, bench: &Path, options: &Options) -> Result<ExitCode> {
    check(&options.names, &measurable(bench)?)?;
    let (peers, missing) = peers(workspace, options)?;
    let dir = tempfile::tempdir()?;
    let (out, photos) = (dir.path().join("figures.json"), dir.path().join("photos"));
    let rounds = options.rounds.to_string();
    let mut all = Vec::new();
    for name in &options.names {
        let mut comparison = Comparison::default();
        for turn in 0..options.turns {
            eprintln!("measuring  {name}, turn {} of {}: here, then the peers", turn + 1, options.turns);
            let mut command = Command::new(bench);
            command.args([name, "--rounds", &rounds, "--json"]).arg(&out).arg("--photos").arg(&photos);
            comparison.add(true, name, turn, collect(command, &out)?);
            for (python, script) in peers.iter().filter(|(_, script)| script.kinds.contains(&kind(name))) {
                let mut command = environment::command(python);
                command.arg(workspace.root().join(script.path)).args([&rounds]);
                command.args([&out, &photos]).arg(name);
                let found = collect(command, &out).unwrap_or_else(|error| Found {
                    failed: vec![(script.path.to_owned(), format!("{error:#}"))],
                    ..Found::default()
                });
                comparison.add(false, name, turn, found);
            }
        }
        comparison.failed.extend(missing.iter().cloned());
        print!("{}", comparison.table(name));
        all.push(comparison.json(name));
        if let Some(path) = &options.json {
            // After every name, so that what was measured is there if the rest is not.
            let text = serde_json::to_string_pretty(&json!({ "peers": 1, "compared": all }))? + "\n";
            fs::write(path, text).with_context(|| format!("`{}` cannot be written", path.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The names of our figures.
fn measurable(bench: &Path) -> Result<Vec<String>> {
    let output = Command::new(bench).arg("--list").output();
    let output = output.with_context(|| format!("cannot run `{}`", bench.display()))?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// Whether each is the name of a figure, or that of all ways of computing one.
fn check(names: &[String], figures: &[String]) -> Result<()> {
    let known = |name: &str| {
        figures
            .iter()
            .any(|figure| figure.strip_prefix(name).is_some_and(|way| way.is_empty() || way.starts_with(' ')))
    };
    let unknown: Vec<String> =
        names.iter().filter(|name| !known(name)).map(|name| format!("`{name}`")).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    bail!(
        "nothing that can be compared is called {}; there are:\n{}",
        unknown.join(", "),
        figures.iter().map(|figure| format!("  {figure}")).collect::<Vec<_>>().join("\n")
    )
}

/// The scripts with the Python of each, and which environments could not be had.
#[expect(clippy::type_complexity, reason = "two lists of pairs")]
fn peers(
    workspace: &Workspace,
    options: &Options,
) -> Result<(Vec<(PathBuf, &'static Script)>, Vec<(String, String)>)> {
    let parent = workspace.release_dir()?.with_file_name("peers");
    let (mut peers, mut missing) = (Vec::new(), Vec::new());
    let wanted = |script: &Script| options.names.iter().any(|name| script.kinds.contains(&kind(name)));
    let python = |environment: &Environment| match options.pythons.get(environment.name) {
        Some(python) => Ok(python.clone()),
        None => environment.python(&parent),
    };
    for environment in ENVIRONMENTS.iter().filter(|environment| environment.scripts.iter().any(wanted)) {
        match python(environment) {
            Ok(python) => {
                peers.extend(environment.scripts.iter().map(|script| (python.clone(), script)));
            }
            Err(error) => {
                eprintln!("left out   all of `{}`: {error:#}", environment.name);
                missing.push((format!("all of `{}`", environment.name), one_line(&format!("{error:#}"))));
            }
        }
    }
    if peers.is_empty() {
        bail!(
            "no peer can be measured\n\nhint: name Pythons that have the packages with --torch and --keras"
        );
    }
    Ok((peers, missing))
}

/// The first line.
fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// Runs a program that writes its figures to `out`.
fn collect(mut command: Command, out: &Path) -> Result<Found> {
    let program = command.get_program().to_string_lossy().into_owned();
    // What another program left there is not this one's.
    let _ = fs::remove_file(out);
    // A backtrace would stand where the reason does.
    let output = command.env("RUST_BACKTRACE", "0").output();
    let output = output.with_context(|| format!("cannot run `{program}`"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        // The last line has the reason, in Python at least.
        let last = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it said nothing");
        bail!("`{program}` failed ({}): {last}", output.status);
    }
    let text = fs::read_to_string(out).with_context(|| format!("`{program}` left no figures"))?;
    let record: Value = serde_json::from_str(&text)
        .with_context(|| format!("`{program}` left no figures that can be read"))?;
    let list = |key: &str| record[key].as_array().cloned().unwrap_or_default();
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut found = Found { machine: word(&record["machine"]), ..Found::default() };
    for figure in list("figures") {
        let rounds = figure["rounds"].as_array().into_iter().flatten().filter_map(Value::as_f64);
        found.unit = word(&figure["unit"]);
        found.rates.push((word(&figure["name"]), rounds.collect()));
    }
    found.failed = list("failed").iter().map(|row| (word(&row["name"]), word(&row["reason"]))).collect();
    Ok(found)
}

impl Comparison {
    fn add(&mut self, ours: bool, name: &str, turn: usize, found: Found) {
        if !found.rates.is_empty() && !self.machines.contains(&found.machine) {
            self.machines.push(found.machine);
        }
        for (row, rates) in found.rates {
            self.unit.clone_from(&found.unit);
            let row = row.strip_prefix(name).unwrap_or(&row).trim().to_owned();
            let at = self.rows.iter().position(|known| known.ours == ours && known.name == row);
            let at = at.unwrap_or_else(|| {
                self.rows.push(Row { ours, name: row, turns: Vec::new(), rounds: Vec::new() });
                self.rows.len() - 1
            });
            let row = &mut self.rows[at];
            row.turns.resize(turn, None);
            row.turns.push(median(&rates));
            row.rounds.extend(rates);
        }
        for (row, reason) in found.failed {
            let failed = (row.strip_prefix(name).unwrap_or(&row).trim().to_owned(), reason);
            if !self.failed.contains(&failed) {
                self.failed.push(failed);
            }
        }
    }

    /// Our fastest way.
    fn best(&self) -> Option<&Row> {
        let rate = |row: &&Row| median(&row.rounds).unwrap_or(0.0);
        self.rows.iter().filter(|row| row.ours).max_by(|a, b| rate(a).total_cmp(&rate(b)))
    }

    /// How many times as fast as a row our best is, in each turn that has both.
    fn ratios(&self, row: &Row) -> Vec<f64> {
        let Some(best) = self.best() else { return Vec::new() };
        best.turns.iter().zip(&row.turns).filter_map(|(ours, theirs)| Some((*ours)? / (*theirs)?)).collect()
    }

    /// Every row with its median, and what our best is to it.
    fn table(&self, name: &str) -> String {
        let mut text = format!("\n{name}, {} ({})\n", self.unit, self.machines.join("; "));
        for row in &self.rows {
            let whose = if row.ours { "here " } else { "" };
            let rate = median(&row.rounds).unwrap_or(f64::NAN);
            text.push_str(&format!("  {:52} {rate:9.1}", format!("{whose}{}", row.name)));
            let ratios = self.ratios(row);
            if let Some(ratio) = median(&ratios) {
                let low = ratios.iter().copied().fold(f64::INFINITY, f64::min);
                let high = ratios.iter().copied().fold(0.0, f64::max);
                text.push_str(&format!("   our best is {ratio:5.2} times that ({low:.2} to {high:.2})"));
            }
            text.push('\n');
        }
        for (row, reason) in &self.failed {
            text.push_str(&format!("  not measured: {row}: {}\n", one_line(reason)));
        }
        text
    }

    fn json(&self, name: &str) -> Value {
        let row = |row: &Row| {
            json!({
                "ours": row.ours, "row": row.name, "median": median(&row.rounds), "turns": row.turns,
                "rounds": row.rounds, "our_best_to_it": median(&self.ratios(row)),
            })
        };
        json!({
            "name": name, "unit": self.unit, "machines": self.machines,
            "rows": self.rows.iter().map(row).collect::<Vec<_>>(),
            "not_measured": self.failed.iter().map(|(row, reason)| json!({ "row": row, "reason": reason }))
                .collect::<Vec<_>>(),
        })
    }
}

/// Of an even number the mean of the middle two; nothing of nothing.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2)?;
    let lower = sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(*lower, *upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options> {
        Options::parse(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn names_are_those_of_figures() {
        let figures = ["forward resnet50 f32", "forward resnet50 f32 compiled", "cached"].map(str::to_owned);
        let known = ["forward resnet50", "forward resnet50 f32", "cached"].map(str::to_owned);
        assert!(check(&known, &figures).is_ok());
        let error =
            check(&["forward resnet5".to_owned(), "run".to_owned()], &figures).unwrap_err().to_string();
        assert!(error.contains("`forward resnet5`, `run`") && error.contains("\n  cached"), "{error}");
    }

    #[test]
    fn words_after_peers() {
        let options = parse(&[
            "forward resnet50",
            "--rounds",
            "2",
            "--turns",
            "5",
            "--torch",
            "py",
            "run",
            "--json",
            "f",
        ]);
        let options = options.unwrap();
        assert_eq!(options.names, ["forward resnet50", "run"]);
        assert_eq!((options.rounds, options.turns, options.json), (2, 5, Some(PathBuf::from("f"))));
        assert_eq!(options.pythons, BTreeMap::from([("torch", PathBuf::from("py"))]));
        assert_eq!(parse(&[]).unwrap().names, COMPARED);
        for (args, words) in [
            (&["resnet50"][..], "cannot be compared with peers"),
            (&["--rounds", "0"], "--rounds is `0`"),
            (&["--turns", "x"], "--turns is `x`"),
            (&["--keras"], "--keras is given without a value"),
        ] {
            let error = parse(args).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn every_name_is_for_some_script() {
        let scripts = || ENVIRONMENTS.iter().flat_map(|environment| environment.scripts);
        for name in COMPARED {
            assert!(scripts().any(|script| script.kinds.contains(&kind(name))), "{name}");
        }
        for script in scripts() {
            assert!(script.kinds.iter().all(|kind| KINDS.contains(kind)), "{}", script.path);
        }
    }

    fn found(rows: &[(&str, &[f64])]) -> Found {
        let rates = rows.iter().map(|(row, rates)| ((*row).to_owned(), rates.to_vec())).collect();
        Found { unit: "images/s".to_owned(), machine: "m".to_owned(), rates, failed: Vec::new() }
    }

    #[test]
    fn the_best_of_ours_is_set_against_every_row_turn_by_turn() {
        let mut comparison = Comparison::default();
        comparison.add(
            true,
            "forward x",
            0,
            found(&[("forward x f32", &[10.0]), ("forward x bf16", &[60.0])]),
        );
        comparison.add(false, "forward x", 0, found(&[("forward x eager", &[15.0, 25.0])]));
        // The machine is busy in the second turn, and a peer fails.
        comparison.add(
            true,
            "forward x",
            1,
            found(&[("forward x f32", &[5.0]), ("forward x bf16", &[40.0])]),
        );
        comparison.add(false, "forward x", 1, found(&[("forward x eager", &[10.0])]));
        let failed = vec![("forward x compiled".to_owned(), "no compiler\nat all".to_owned())];
        for _ in 0..2 {
            comparison.add(false, "forward x", 1, Found { failed: failed.clone(), ..Found::default() });
        }
        let text = comparison.table("forward x");
        assert!(text.contains("\nforward x, images/s (m)\n  here f32 "), "{text}");
        assert!(text.contains("15.0   our best is  3.50 times that (3.00 to 4.00)\n"), "{text}");
        assert!(text.ends_with("\n  not measured: compiled: no compiler\n"), "{text}");
        let json = comparison.json("forward x");
        assert_eq!(json["rows"][2]["our_best_to_it"], 3.5);
        assert_eq!(json["rows"][2]["turns"], json!([20.0, 10.0]));
        assert_eq!(json["not_measured"][0]["row"], "compiled");
    }

    #[test]
    fn a_turn_that_a_row_missed_has_no_ratio() {
        let mut comparison = Comparison::default();
        for turn in 0..2 {
            comparison.add(true, "run", turn, found(&[("run tl", &[4.0])]));
        }
        comparison.add(false, "run", 1, found(&[("run torch", &[2.0])]));
        let row = comparison.rows.iter().find(|row| !row.ours).unwrap();
        assert_eq!((row.turns.as_slice(), comparison.ratios(row)), (&[None, Some(2.0)][..], vec![2.0]));
    }

    #[test]
    fn figures_are_read_from_the_file_and_failures_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("figures.json");
        let sh = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script, "sh"]).arg(&out);
            collect(command, &out)
        };
        let figures = json!({
            "machine": "m", "figures": [{ "name": "a", "unit": "u", "rounds": [1.5, 2.5] }],
            "failed": [{ "name": "b", "reason": "no" }],
        });
        let found = sh(&format!("echo '{figures}' > $1")).unwrap();
        assert_eq!(found.rates, [("a".to_owned(), vec![1.5, 2.5])]);
        assert_eq!((found.unit.as_str(), found.failed), ("u", vec![("b".to_owned(), "no".to_owned())]));
        // What was there before is not taken for what this program found.
        let error = sh("true").unwrap_err().to_string();
        assert!(error.contains("left no figures"), "{error}");
        let error = sh("echo one >&2; echo 'ImportError: no torch' >&2; exit 1").unwrap_err().to_string();
        assert!(error.contains("`sh` failed") && error.ends_with("ImportError: no torch"), "{error}");
        let error = sh("echo { > $1").unwrap_err().to_string();
        assert!(error.contains("left no figures that can be read"), "{error}");
    }
}

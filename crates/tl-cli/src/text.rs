//! `tl text`: texts by TF-IDF and logistic regression, and what is wrong with a set of them.
//!
//! The decision behind it: this is the whole of the classical route, from a table to answers, without a net; a net for
//! texts has to beat it on the same split.

use std::collections::BTreeSet;
use std::io::{BufRead, IsTerminal};
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use serde_json::json;
use tl_data::doctor::Severity;
use tl_data::{ColumnChoice, Quarantine, Sample, SplitOptions, TargetSpec};
use tl_text::baseline::Scores;
use tl_text::doctor::{DoctorOptions, examine};
use tl_text::{BaselineOptions, BaselineReport, TextDataset, TextModel, TextOptions, Texts, baseline};

use crate::args::{TextCommand, TextDoctorArgs, TextFitArgs, TextPredictArgs, TextSourceArgs};
use crate::errors::{Exit, Problems};
use crate::output::fresh;
use crate::predict::{self, Format, Saying};
use crate::spec::embedded;
use crate::texts::TEXTS;
use crate::ui::{self, Ui};

pub(crate) fn run(command: &TextCommand) -> anyhow::Result<()> {
    match command {
        TextCommand::Fit(args) => fit(args),
        TextCommand::Predict(args) => predict(args),
        TextCommand::Doctor(args) => doctor(args),
    }
}

/// Where the texts are, and how to read them.
fn source(args: &TextSourceArgs) -> anyhow::Result<(std::path::PathBuf, TextOptions)> {
    let path = match &args.data {
        Some(path) => path.clone(),
        None => embedded(TEXTS, "labelled texts")?,
    };
    let choice = |name: &Option<String>| match name.as_deref() {
        None => ColumnChoice::Guess,
        Some("none") => ColumnChoice::Unused,
        Some(name) => ColumnChoice::Named(name.to_owned()),
    };
    let options = TextOptions {
        text: choice(&args.text_column),
        pair: choice(&args.pair_column),
        split: choice(&args.split_column),
        target: TargetSpec::Class { column: args.label_column.clone() },
        ..TextOptions::default()
    };
    Ok((path, options))
}

fn fit(args: &TextFitArgs) -> anyhow::Result<()> {
    let (start, ui) = (Instant::now(), Ui::new());
    let mut problems = Problems::default();
    let opened = problems.take(open(args));
    if let Some(out) = &args.out {
        problems.take(fresh("--out", out));
    }
    problems.check()?;
    let Some((data, unknown)) = opened else { return Err(Exit(1).into()) };
    for line in data.warnings.iter().chain(&unknown) {
        ui.line(&format!("warning: {line}"));
    }
    let options = BaselineOptions { seed: args.seed, ..BaselineOptions::default() };
    let (model, report) = baseline(&data.train, &data.val, &data.classes, &options)?;
    let test = match data.test.is_empty() {
        true => None,
        false => {
            let texts: Vec<String> = data.test.iter().map(tl_text::TextSample::joined).collect();
            let labels: Vec<u32> = data.test.iter().map(|sample| sample.label).collect();
            Some(Scores::new(&model.predict(&texts)?, &labels, data.classes.len()))
        }
    };
    if let Some(out) = &args.out {
        model.save(out)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    if args.json {
        let found = json!({ "data": data.path, "fingerprint": data.fingerprint(), "classes": data.classes,
            "split": data.split.to_string(), "seed": args.seed, "baseline": report, "test": test,
            "seconds": seconds, "model": args.out });
        return ui::print_json(&found);
    }
    ui::print_tables(&summary(&data, (&report, test), (args.out.as_deref(), seconds)))
}

/// The texts, and the names in a list that fit none of them.
fn open(args: &TextFitArgs) -> anyhow::Result<(TextDataset, Option<String>)> {
    let (path, options) = source(&args.source)?;
    let names: BTreeSet<String> = match &args.exclude {
        Some(list) => Quarantine::read(list)?.names(),
        None => BTreeSet::new(),
    };
    anyhow::ensure!(
        !Texts::is_tagged(&path),
        "`{}` has words with tags, and TF-IDF is of whole texts\n\nhint: tl finetune --task text --data {}",
        path.display(),
        ui::word(&path)
    );
    let mut texts = Texts::read(&path, &options)?;
    let unknown = texts.leave_out(&names);
    let split = SplitOptions { val_fraction: args.val_fraction, seed: args.seed, ..SplitOptions::default() };
    let data = texts.into_dataset(&split)?;
    let unknown = unknown.first().map(|first| {
        format!("{} of {} texts to leave out are not there, such as `{first}`", unknown.len(), names.len())
    });
    Ok((data, unknown))
}

fn summary(
    data: &TextDataset,
    (report, test): (&BaselineReport, Option<Scores>),
    (out, seconds): (Option<&Path>, f64),
) -> String {
    let (train, val) = (data.train.len(), data.val.len());
    let mut lines = vec![
        format!("data       {}", data.path.display()),
        format!("           {train} train, {val} validation, {} test texts; {}", data.test.len(), data.split),
        format!("           {} classes: {}", data.classes.len(), data.classes.join(", ")),
        format!(
            "model      logistic regression on TF-IDF of {} words and pairs, C {} of {} tried on 4 folds",
            report.terms,
            report.c,
            report.points.len().max(1)
        ),
    ];
    if !report.converged {
        lines.push(format!("note       the fit had not converged after {} steps", report.steps));
    }
    lines.push(String::new());
    lines.extend(report.telling.iter().map(|telling| {
        let terms: Vec<&str> = telling.terms.iter().map(|(term, _)| term.as_str()).collect();
        format!("{:<10} {}", telling.class, terms.join(", "))
    }));
    lines.push(String::new());
    for (set, scores) in [("val", Some(report.val)), ("test", test)] {
        let Some(Scores { texts, accuracy, balanced_accuracy, macro_f1 }) = scores else { continue };
        let (low, high) = tl_train::wilson((accuracy * texts as f64).round() as usize, texts);
        lines.push(format!(
            "{set:<10} {accuracy:.4} accuracy of {texts} texts (95 % interval {low:.3} to {high:.3}), balanced \
             {balanced_accuracy:.4}, macro F1 {macro_f1:.4}"
        ));
    }
    lines.push(format!("majority   {:.4} accuracy on val", report.majority_accuracy));
    lines.push(format!("time       {seconds:.1} s"));
    lines.push(match out {
        Some(out) => format!("try it     tl text predict {} TEXT…", ui::word(out)),
        None => "model      not kept; --out FILE writes it".to_owned(),
    });
    lines.join("\n") + "\n"
}

fn predict(args: &TextPredictArgs) -> anyhow::Result<()> {
    let model = TextModel::read(&args.model)
        .map_err(|error| anyhow::anyhow!("{error}\n\nhint: give a file that `tl text fit --out` wrote"))?;
    let mut texts = Vec::new();
    for text in &args.texts {
        if text == "-" {
            for (i, line) in std::io::stdin().lock().lines().enumerate() {
                texts.push(
                    line.with_context(|| format!("line {} of standard input is no UTF-8 text", i + 1))?,
                );
            }
        } else {
            texts.push(text.clone());
        }
    }
    anyhow::ensure!(!texts.is_empty(), "there are no texts on standard input (expected one on each line)");
    let probabilities = model.predict_proba(&texts)?;
    let classes = model.classes.len();
    if !args.json && std::io::stdout().is_terminal() {
        let sample = |text: &String| Sample { rel: text.clone(), ..predict::unlabelled("".into()) };
        let samples: Vec<Sample> = texts.iter().map(sample).collect();
        let row = |row: &[f64]| row.iter().map(|&p| p as f32).collect();
        let rows: Vec<Vec<f32>> = probabilities.chunks(classes.max(1)).map(row).collect();
        let names = &model.classes;
        let saying = Saying { names, task: None, raw: false, top: None, threshold: None, key: "text" };
        return ui::print(&saying.text(Format::Table, &samples, &rows)?);
    }
    let line = |(text, row): (&String, &[f64])| {
        let mut order: Vec<usize> = (0..classes).collect();
        order.sort_by(|&a, &b| row[b].total_cmp(&row[a]).then(a.cmp(&b)));
        if args.json {
            let top = order.iter().map(|&i| json!({ "class": model.classes[i], "probability": row[i] }));
            return json!({ "text": text, "top": top.collect::<Vec<_>>() }).to_string() + "\n";
        }
        let top: Vec<String> =
            order.iter().take(5).map(|&i| format!("{} {:.4}", model.classes[i], row[i])).collect();
        format!("{}\t{}\n", top.join(", "), tl_data::shown(text))
    };
    ui::print(&texts.iter().zip(probabilities.chunks(classes.max(1))).map(line).collect::<String>())
}

fn doctor(args: &TextDoctorArgs) -> anyhow::Result<()> {
    let mut problems = Problems::default();
    let texts =
        problems.take(source(&args.source).and_then(|(path, options)| match Texts::is_tagged(&path) {
            true => Ok(Texts::read_tagged(&path, &options)?),
            false => Ok(Texts::read(&path, &options)?),
        }));
    if let Some(list) = &args.quarantine {
        problems.take(fresh("--quarantine", list));
    }
    problems.check()?;
    let Some(texts) = texts else { return Err(Exit(1).into()) };
    let report = examine(&texts, None, &DoctorOptions::default())?;
    match args.json {
        true => ui::print_json(&report)?,
        false => ui::print_tables(&report.to_string())?,
    }
    if let Some(path) = &args.quarantine {
        tl_fetch::write_whole(path, report.quarantine().to_string().as_bytes())?;
        let data = ui::word(&texts.path);
        let command = if texts.tagging.is_some() { "finetune --task text" } else { "text fit" };
        Ui::new().line(&format!("leave out  tl {command} --data {data} --exclude {}", ui::word(path)));
    }
    // For scripts: whether something is wrong.
    if report.count(Severity::Error) > 0 { Err(Exit(1).into()) } else { Ok(()) }
}

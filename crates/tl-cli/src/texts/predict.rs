//! `tl predict` and `tl evaluate` of a model of texts.

use std::cell::RefCell;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use tl_data::{ColumnChoice, Sample, TargetSpec};
use tl_heads::Task;
use tl_text::tokens::Encoded;
use tl_text::{TextOptions, TextSample, Texts, Tokenizer};
use tl_train::{Model, SavedModel, SavedText, SetInputs};

use super::{TextSpec, data, tokenizer_of};
use crate::args::{EvaluateArgs, PredictArgs, SourceArgs, TextColumns};
use crate::dataset::{self, Source};
use crate::predict::{Format, PAIR, Saying};
use crate::ui::{self, Ui};

/// What a model is asked to measure.
pub(crate) struct Asked {
    pub(crate) samples: Arc<[Sample]>,
    pub(crate) texts: Vec<TextSample>,
    pub(crate) encoded: Encoded,
    /// The part of a split that it is.
    pub(crate) part: Option<&'static str>,
}

/// The labelled texts that `tl evaluate` is given, as the model's own tokenizer cuts them.
pub(crate) fn asked(
    args: &EvaluateArgs,
    (saved, text): (&SavedModel, &SavedText),
    task: Task,
) -> anyhow::Result<Asked> {
    let columns = SourceArgs { columns: args.columns.clone(), ..SourceArgs::default() };
    let source =
        Source { task: dataset::task_of(task), ..Source::merged(&columns, &Source::default(), true) };
    let TextColumns { text_column, pair_column } = args.texts.clone();
    let spec = TextSpec { max_length: text.max_length, text_column, pair_column, ..TextSpec::default() };
    let path = dataset::absolute(&args.data);
    let tags = matches!(task, Task::Tagging { .. }).then_some(data::Tags);
    let (texts, part) = data::labelled(&path, (&source, tags), &spec, &saved.classes)?;
    let samples = data::samples(&texts, &path);
    let encoded = tokenizer_of(&args.run, text)?.encode_all(&texts)?;
    Ok(Asked { samples, texts, encoded, part })
}

/// Says how many texts were cut.
pub(crate) fn say_cut(encoded: &Encoded, samples: &[Sample], tokenizer_length: usize, ui: &RefCell<Ui>) {
    let (cut, all) = (encoded.truncated(), encoded.texts.len());
    super::tags::say_cut(encoded, samples, ui);
    if cut > 0 {
        ui.borrow().line(&format!(
            "warning: {cut} of {all} texts have more than {tokenizer_length} tokens and were cut"
        ));
    }
}

/// What a model of texts says of texts.
pub(crate) fn run(
    args: &PredictArgs,
    (saved, mut model): (SavedModel, Model),
    (run, words): (&Path, &[PathBuf]),
    machine: &tl_run::Machine,
    ui: &RefCell<Ui>,
) -> anyhow::Result<()> {
    let Some(text) = saved.text.clone() else { anyhow::bail!("the model does not take texts") };
    anyhow::ensure!(args.tta.is_none(), "--tta is for images, and this model takes texts");
    let tokenizer = tokenizer_of(run, &text)?;
    if let Task::Tagging { .. } = model.task {
        return super::tags::say(args, (&saved, &mut model), (words, &tokenizer), machine, ui);
    }
    let (samples, encoded) = given(words, &args.texts, &tokenizer)?;
    say_cut(&encoded, &[], text.max_length, ui);
    let inputs = SetInputs::Texts(&encoded);
    crate::evaluate::choose((&mut model, &saved.sha256), (&samples, inputs), args.precision, machine, ui)?;
    let numbers = matches!(model.task, Task::Regression { .. });
    let raw = args.raw && !numbers;
    ui.borrow_mut().start("predicting", samples.len() as u64, false);
    let rows = tl_train::predict_texts(&model, &encoded, raw, &mut |done| ui.borrow().at(done as u64));
    ui.borrow_mut().stop();
    let names = match model.task {
        // One output: how much more likely the second class is.
        Task::Binary if raw => saved.classes[1..].to_vec(),
        _ => saved.classes,
    };
    let saying = Saying {
        names: &names,
        task: Some(model.task),
        raw: args.raw,
        top: args.top,
        threshold: args.threshold,
        key: "text",
    };
    ui::print(&saying.text(format(args), &samples, &rows?)?)
}

/// The form of the output.
pub(super) fn format(args: &PredictArgs) -> Format {
    match args.format {
        _ if args.json => Format::Json,
        Some(format) => format,
        None if std::io::stdout().is_terminal() => Format::Table,
        None => Format::Lines,
    }
}

/// The texts that are meant by words: those of files, of standard input for `-`, and else the words themselves. Samples are
/// called by their texts.
pub(super) fn given(
    words: &[PathBuf],
    columns: &TextColumns,
    tokenizer: &Tokenizer,
) -> anyhow::Result<(Arc<[Sample]>, Encoded)> {
    let texts = texts_of(words, columns)?;
    let sample = |(text, pair): &(String, Option<String>)| {
        let rel = match pair {
            Some(pair) => format!("{text}{PAIR}{pair}"),
            None => text.clone(),
        };
        Sample { path: PathBuf::new(), label: 0, target: None, id: 0, rel }
    };
    let samples = texts.iter().map(sample).collect();
    let tokens: Result<Vec<_>, _> =
        texts.iter().map(|(text, pair)| tokenizer.encode(text, pair.as_deref())).collect();
    Ok((samples, Encoded { texts: tokens?, pad: tokenizer.pad() }))
}

/// The texts, or pairs of them, that are meant by words.
pub(super) fn texts_of(
    words: &[PathBuf],
    columns: &TextColumns,
) -> anyhow::Result<Vec<(String, Option<String>)>> {
    let mut texts: Vec<(String, Option<String>)> = Vec::new();
    for word in words {
        if word.as_os_str() == "-" {
            let mut all = String::new();
            std::io::stdin().lock().read_to_string(&mut all).context("failed to read standard input")?;
            texts.extend(
                all.lines().filter(|line| !line.trim().is_empty()).map(|line| (line.to_owned(), None)),
            );
        } else if word.exists() {
            texts.extend(of_file(word, columns)?);
        } else {
            let text = word.to_str().with_context(|| format!("`{}` is no text in UTF-8", word.display()))?;
            let extension = word.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
            let a_file = ["csv", "tsv", "tab", "txt", "jsonl", "json"].contains(&extension);
            anyhow::ensure!(
                !a_file || text.contains(char::is_whitespace),
                "there is no file `{text}`\n\nhint: texts themselves are given as words in quotes, files by their names, \
                 and - is for lines on standard input"
            );
            texts.push((text.to_owned(), None));
        }
    }
    anyhow::ensure!(!texts.is_empty(), "there are no texts");
    Ok(texts)
}

/// The texts of a table, a list of lines, or a folder.
fn of_file(path: &Path, columns: &TextColumns) -> anyhow::Result<Vec<(String, Option<String>)>> {
    let choice = |name: &Option<String>| match name.as_deref() {
        None => ColumnChoice::Guess,
        Some("none") => ColumnChoice::Unused,
        Some(name) => ColumnChoice::Named(name.to_owned()),
    };
    let options = TextOptions {
        text: choice(&columns.text_column),
        pair: choice(&columns.pair_column),
        target: TargetSpec::Nothing,
        ..TextOptions::default()
    };
    let texts = Texts::read(path, &options)?;
    texts.check()?;
    Ok(texts.records.into_iter().map(|record| (record.text, record.pair)).collect())
}

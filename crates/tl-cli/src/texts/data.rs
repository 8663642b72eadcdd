//! Texts from a table or a folder, as samples and tokens.
//!
//! The one decision: a sample is called by where its text is (file and line), because that is where a person looks; the
//! split names it by its content.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tl_data::split::SplitMode;
use tl_data::{ColumnChoice, Part, Quarantine, Sample, SplitOptions, TargetSpec, Task};
use tl_run::DataFacts;
use tl_text::tokens::Encoded;
use tl_text::{TextDataset, TextOptions, TextSample, Texts, Tokenizer};

use super::TextSpec;
use crate::dataset::{self, Source};
use crate::errors::Problems;
use crate::prepare::Samples;
use crate::spec::{Outputs, Spec};

/// The tokens of three sets.
#[derive(Debug)]
pub(crate) struct Sets {
    pub(crate) train: Encoded,
    pub(crate) val: Encoded,
    pub(crate) test: Encoded,
}

/// Labelled texts, read and split.
#[derive(Debug)]
pub(crate) struct TextData {
    pub(crate) dataset: TextDataset,
}

/// Opens the texts of a spec; what is wrong with them joins the problems.
pub(crate) fn open_data(spec: &Spec, problems: &mut Problems) -> Option<TextData> {
    let text = spec.text.clone().unwrap_or_default();
    let mode = problems.take(dataset::split_mode(&spec.source));
    let exclude = match &spec.source.exclude {
        Some(path) => problems.take(Quarantine::read(path).map_err(anyhow::Error::from)),
        None => Some(Quarantine::default()),
    };
    let tags = (spec.outputs == Outputs::Tags).then_some(Tags);
    let texts = problems.take(read(&spec.data, (&spec.source, tags), &text, None));
    let (mode, exclude, mut texts): (SplitMode, _, _) = (mode?, exclude?, texts?);
    let unknown = texts.leave_out(&exclude.names());
    if let Some(first) = unknown.first() {
        let n = unknown.len();
        problems
            .add(anyhow::anyhow!("--exclude lists {n} texts that are not in the data, such as `{first}`"));
    }
    let split =
        SplitOptions { mode, val_fraction: spec.val_fraction, seed: spec.seed, ..SplitOptions::default() };
    let dataset = problems.take(texts.into_dataset(&split).map_err(anyhow::Error::from))?;
    Some(TextData { dataset })
}

/// The words of the texts have tags.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tags;

/// Reads texts as the words say. A trained model has `names` of what it answers about.
fn read(
    data: &Path,
    (source, tags): (&Source, Option<Tags>),
    text: &TextSpec,
    names: Option<&[String]>,
) -> anyhow::Result<Texts> {
    let choice = |name: &Option<String>| match name.as_deref() {
        None => ColumnChoice::Guess,
        Some("none") => ColumnChoice::Unused,
        Some(name) => ColumnChoice::Named(name.to_owned()),
    };
    let unless_named = |name: &Option<String>| match choice(name) {
        ColumnChoice::Guess => ColumnChoice::Unused,
        choice => choice,
    };
    let options = TextOptions {
        text: choice(&text.text_column),
        pair: choice(&text.pair_column),
        weight: unless_named(&source.weight_column),
        split: choice(&source.split_column),
        group: unless_named(&source.group),
        // Numbers have columns, in the order of the model; classes and labels are cells.
        classes: names.filter(|_| source.task != Task::Number).map(<[String]>::to_vec),
        ..TextOptions::default()
    };
    if tags.is_some() {
        anyhow::ensure!(
            source.label_columns().len() < 2
                && source.label_separator.is_none()
                && text.pair_column.is_none(),
            "words have one tag each\n\nhint: leave out --label-separator, --pair-column and all but one --label-column"
        );
        let target = TargetSpec::Class { column: source.label_columns().first().cloned() };
        return Ok(Texts::read_tagged(data, &TextOptions { target, ..options })?);
    }
    let target = target(source, names)?;
    let labels = matches!(target, TargetSpec::Labels { .. });
    let open = |target| Texts::read(data, &TextOptions { target, ..options.clone() });
    let guess = labels && source.label_column.is_none() && source.label_separator.is_none();
    match open(target) {
        Ok(texts) => Ok(texts),
        // Without a cell of labels there may be a column for each.
        Err(error) if guess => {
            let columns = names.map(<[String]>::to_vec);
            let open = |classes| {
                let target = TargetSpec::Flags { columns: columns.clone() };
                Texts::read(data, &TextOptions { target, classes, ..options.clone() })
            };
            open(None).map_err(|_| error.into())
        }
        Err(error) => Err(error.into()),
    }
}

fn target(source: &Source, names: Option<&[String]>) -> anyhow::Result<TargetSpec> {
    let columns = source.label_columns();
    anyhow::ensure!(
        source.label_separator.is_none() || source.task == Task::MultiLabel,
        "--label-separator is for several labels for each text\n\nhint: say so with --classes multi-label"
    );
    Ok(match source.task {
        Task::Class => {
            anyhow::ensure!(
                columns.len() < 2,
                "--label-column is given {} times, and one class for each text has one column\n\n\
                 hint: several columns are for --classes multi-label or --classes regression",
                columns.len()
            );
            TargetSpec::Class { column: columns.first().cloned() }
        }
        Task::MultiLabel if columns.len() > 1 => {
            anyhow::ensure!(
                source.label_separator.is_none(),
                "--label-separator is for one column of labels, and --label-column is given {} times",
                columns.len()
            );
            TargetSpec::Flags { columns: Some(columns.to_vec()) }
        }
        Task::MultiLabel => TargetSpec::Labels {
            column: columns.first().cloned(),
            separator: source.label_separator.unwrap_or('|'),
            allow_empty: true,
        },
        Task::Number => {
            let own = names.filter(|names| columns.is_empty() || names.len() > 1).map(<[String]>::to_vec);
            TargetSpec::Numbers { columns: own.or_else(|| (!columns.is_empty()).then(|| columns.to_vec())) }
        }
        Task::Nothing => TargetSpec::Nothing,
    })
}

/// Labelled texts for a model with these names of what it answers about: the test part, else the validation part, else
/// all; and the name of that part.
pub(crate) fn labelled(
    data: &Path,
    source: (&Source, Option<Tags>),
    text: &TextSpec,
    names: &[String],
) -> anyhow::Result<(Vec<TextSample>, Option<&'static str>)> {
    let texts = read(data, source, text, Some(names))?;
    texts.check()?;
    let has = |part| texts.records.iter().any(|record| record.part == Some(part));
    let part = [Part::Test, Part::Val].into_iter().find(|part| has(*part));
    let records = texts.records.into_iter().filter(|record| part.is_none() || record.part == part);
    let kinds = texts.names.len();
    let samples = records.map(|record| TextSample::new(record, kinds)).collect();
    Ok((samples, part.map(Part::name)))
}

/// Texts as the trainer takes samples, called by their places below `root`.
pub(crate) fn samples(texts: &[TextSample], root: &Path) -> Arc<[Sample]> {
    let folder = if root.is_dir() { root } else { root.parent().unwrap_or(Path::new("")) };
    let sample = |text: &TextSample| {
        let file = tl_data::folder::path_text(text.file.strip_prefix(folder).unwrap_or(&text.file));
        let rel = text.line.map_or_else(|| file.clone(), |line| format!("{file}:{line}"));
        let id = u64::from_le_bytes(first_bytes(&text.name));
        Sample { path: text.file.to_path_buf(), label: text.label, target: target_of(text), id, rel }
    };
    texts.iter().map(sample).collect()
}

/// What is right for a text: its labels or numbers, or the tag of each of its words.
fn target_of(text: &TextSample) -> Option<Arc<[f32]>> {
    match &text.tagged {
        Some(tagged) => Some(tagged.tags.iter().map(|tag| *tag as f32).collect()),
        None => text.target.clone(),
    }
}

fn first_bytes(text: &str) -> [u8; 8] {
    let digest = Sha256::digest(text.as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    bytes
}

impl TextData {
    /// What there is to answer about: classes, labels, numbers or tags.
    pub(crate) fn names(&self) -> &[String] {
        match &self.dataset.tagging {
            Some(tagging) => tagging.tags.names(),
            None => &self.dataset.classes,
        }
    }

    /// The samples and their tokens. Whatever the trainer computes depends on no more of the texts than is in the two sums
    /// of [`DataFacts`].
    pub(crate) fn into_samples(self, tokenizer: &Tokenizer) -> anyhow::Result<(Samples, Sets, TextDataset)> {
        let names = self.names().to_vec();
        let data = self.dataset;
        let sets = Sets {
            train: tokenizer.encode_all(&data.train)?,
            val: tokenizer.encode_all(&data.val)?,
            test: tokenizer.encode_all(&data.test)?,
        };
        let samples = |texts: &[TextSample]| samples(texts, &data.path);
        let (train, val, test) = (samples(&data.train), samples(&data.val), samples(&data.test));
        let facts = DataFacts {
            path: data.path.display().to_string(),
            train_sha256: fingerprint((&data.train, &sets.train), &names),
            val_sha256: fingerprint((&data.val, &sets.val), &names),
            train_images: train.len(),
            val_images: val.len(),
            test_images: test.len(),
            split: data.split.to_string(),
        };
        let mut warnings = data.warnings.clone();
        warnings.extend(cut(&sets, &data, tokenizer));
        let mut notes = data.notes.clone();
        notes.extend(super::tags::note(&data));
        let samples = Samples {
            classes: names,
            train,
            weights: data.train_weights.clone().map(Into::into),
            val,
            test,
            saved_split: data.split_file()?.to_json(),
            skipped: Vec::new(),
            notes,
            warnings,
            facts,
        };
        Ok((samples, sets, data))
    }
}

/// How many texts were cut, where any were, and how many words.
fn cut(sets: &Sets, data: &TextDataset, tokenizer: &Tokenizer) -> Option<String> {
    let all = [&sets.train, &sets.val, &sets.test];
    let cut: usize = all.iter().map(|set| set.truncated()).sum();
    let texts: usize = all.iter().map(|set| set.texts.len()).sum();
    let most = tokenizer.options().max_length;
    let pairs = [(&data.train, &sets.train), (&data.val, &sets.val), (&data.test, &sets.test)];
    let words = pairs.iter().flat_map(|(texts, set)| texts.iter().zip(&set.texts));
    let words: Vec<(usize, usize)> = words
        .filter_map(|(text, tokens)| Some((text.tagged.as_ref()?.words.len(), tokens.firsts().len())))
        .collect();
    let (there, seen): (usize, usize) = words.iter().fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1));
    if there > seen {
        return Some(format!(
            "{} of {there} words have no token, as {cut} of {texts} texts have more than {most} and were cut: nothing is \
             learned from them, and they are answered `O`; --max-length keeps more",
            there - seen
        ));
    }
    (cut > 0).then(|| {
        format!("{cut} of {texts} texts have more than {most} tokens and were cut; --max-length keeps more")
    })
}

/// The sha256 of classes, and of names, answers and tokens of the texts in their order.
fn fingerprint((texts, encoded): (&[TextSample], &Encoded), classes: &[String]) -> String {
    let mut hash = Sha256::new();
    let mut put = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    classes.iter().for_each(|class| put(class.as_bytes()));
    for (text, tokens) in texts.iter().zip(&encoded.texts) {
        put(text.name.as_bytes());
        put(&text.label.to_le_bytes());
        let target = target_of(text);
        let target = target.as_deref().unwrap_or_default();
        put(&target.iter().flat_map(|value| value.to_bits().to_le_bytes()).collect::<Vec<u8>>());
        let numbers = tokens.ids.iter().chain(&tokens.types);
        put(&numbers.flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>());
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The texts that are named, by the names of their samples.
pub(crate) fn named(
    wanted: &BTreeSet<&str>,
    sets: &[(&[Sample], &[TextSample])],
) -> BTreeMap<String, String> {
    let pairs = sets.iter().flat_map(|(samples, texts)| samples.iter().zip(*texts));
    let pairs = pairs.filter(|(sample, _)| wanted.contains(sample.rel.as_str()));
    pairs.map(|(sample, text)| (sample.rel.clone(), text.joined())).collect()
}

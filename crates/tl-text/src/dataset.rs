//! Texts in three sets, ready to train on.
//!
//! The one decision: samples are sorted by class and name, so that the order of the rows has no part in what is
//! trained, and texts that somebody wants to leave out are gone before the data is split.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use sha2::{Digest, Sha256};
use tl_data::split::{LeftOut, Split, SplitFile, SplitSource};
use tl_data::{Part, SplitOptions, Target, Task};

use crate::entities::Tagged;
use crate::error::TextError;
use crate::source::{Record, Tagging, TextOptions, Texts, digest, hex};

/// One labelled text, or pair of texts.
#[derive(Debug, Clone, PartialEq)]
pub struct TextSample {
    /// The text, as it is in the file.
    pub text: String,
    /// The second text.
    pub pair: Option<String>,
    /// The number of its class; 0 where it has a row of targets.
    pub label: u32,
    /// A row of targets in place of a class: 1 for each label and 0 for the others, or its numbers.
    pub target: Option<Arc<[f32]>>,
    /// As [`Record::name`].
    pub name: String,
    /// The file it is from.
    pub file: Arc<Path>,
    /// The line of the file, from 1; `None` where the file is the text.
    pub line: Option<u64>,
    /// Its words and their tags, of a tagged sentence.
    pub tagged: Option<Arc<Tagged>>,
}

impl TextSample {
    /// A record that is to be learned from; `names` is how many classes, labels or numbers there are.
    pub fn new(record: Record, names: usize) -> Self {
        let Record { text, pair, target, name, file, line, tagged, .. } = record;
        let (label, target) = match target {
            Target::Class(class) => (class, None),
            Target::None => (0, None),
            rows => (0, Some(rows.to_row(names).into())),
        };
        Self { text, pair, label, target, name, file, line, tagged }
    }

    /// Where it is from: file and line.
    pub fn place(&self) -> String {
        match self.line {
            Some(line) => format!("{}:{line}", self.file.display()),
            None => self.file.display().to_string(),
        }
    }
}

/// Labelled texts, ready to train on.
#[derive(Debug, Clone, PartialEq)]
pub struct TextDataset {
    /// The file or folder as it was given.
    pub path: PathBuf,
    /// What is to be learned of each text; never [`Task::Nothing`].
    pub task: Task,
    /// The names of the classes, of the labels, or of the numbers to predict.
    pub classes: Vec<String>,
    /// Training texts, sorted by class and name; by name alone where they have no class.
    pub train: Vec<TextSample>,
    /// Validation texts, sorted as those.
    pub val: Vec<TextSample>,
    /// Test texts, sorted as those; may be empty.
    pub test: Vec<TextSample>,
    /// How much each training text counts, in the order of `train`, if they do not all count the same; the mean is 1.
    pub train_weights: Option<Vec<f32>>,
    /// Where the split came from.
    pub split: SplitSource,
    /// Texts that are there and in no part, by name.
    pub left_out: BTreeMap<String, LeftOut>,
    /// How the data was understood, one line each.
    pub notes: Vec<String>,
    /// What a person should know, one line each.
    pub warnings: Vec<String>,
    /// How its sentences are tagged, if they are; the classes are then the kinds of entities.
    pub tagging: Option<Tagging>,
}

impl TextDataset {
    /// Reads and splits labelled texts.
    ///
    /// # Errors
    /// Those of [`Texts::read`], [`Texts::check`] and [`Texts::into_dataset`].
    pub fn open(path: &Path, options: &TextOptions, split: &SplitOptions) -> Result<Self, TextError> {
        Self::open_without(path, options, split, &BTreeSet::new())
    }

    /// [`open`](Self::open) without the texts of some names, such as those of a [`tl_data::Quarantine`].
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn open_without(
        path: &Path,
        options: &TextOptions,
        split: &SplitOptions,
        names: &BTreeSet<String>,
    ) -> Result<Self, TextError> {
        let mut texts = Texts::read(path, options)?;
        texts.leave_out(names);
        texts.into_dataset(split)
    }

    /// The sha256, in hex, of one line `class NAME` per class followed by one line `SHA256  NAME`, NUL, `CLASS` per
    /// text of all parts, sorted. The sha256 is that of the text, or of the text, NUL and its pair; in place of its class
    /// a text with a row of targets has another NUL and the values, each as the eight hex digits of its 32-bit float,
    /// parted by spaces. Neither the order of the rows nor the split matters.
    pub fn fingerprint(&self) -> String {
        let all: Vec<&TextSample> = [&self.train, &self.val, &self.test].into_iter().flatten().collect();
        let line = |sample: &&TextSample| {
            let answer = match &sample.target {
                None => self.classes.get(sample.label as usize).cloned().unwrap_or_default(),
                Some(row) => {
                    // Zero has one sign only.
                    let digits = row.iter().map(|value| format!("{:08x}", (value + 0.0).to_bits()));
                    format!("\0{}", digits.collect::<Vec<String>>().join(" "))
                }
            };
            let sum = hex(&digest(&sample.text, sample.pair.as_deref()));
            format!("{sum}  {}\0{answer}\n", sample.name)
        };
        let mut lines: Vec<String> = all.par_iter().map(line).collect();
        lines.par_sort_unstable();
        let mut hasher = Sha256::new();
        self.classes.iter().for_each(|class| hasher.update(format!("class {class}\n")));
        lines.iter().for_each(|line| hasher.update(line));
        hex(&hasher.finalize())
    }

    /// The split, to be saved: every text that is there, in its part or left out.
    ///
    /// # Errors
    /// A name is there twice.
    pub fn split_file(&self) -> Result<SplitFile, TextError> {
        let (mut names, mut parts) = (Vec::new(), Vec::new());
        for (samples, part) in [&self.train, &self.val, &self.test].into_iter().zip(Part::ALL) {
            names.extend(samples.iter().map(|sample| sample.name.as_str()));
            parts.resize(names.len(), part);
        }
        SplitFile::new(names, &parts, self.left_out.clone(), &self.split.to_string())
            .map_err(|error| TextError::split(&error))
    }
}

impl Texts {
    /// The texts in three sets.
    ///
    /// # Errors
    /// Those of [`Texts::check`] and [`Texts::split`]; the data has nothing to learn; or the weights of all training
    /// texts are 0.
    pub fn into_dataset(self, options: &SplitOptions) -> Result<TextDataset, TextError> {
        if self.task == Task::Nothing {
            return Err(TextError::option("target", "nothing", "classes, labels or numbers"));
        }
        self.check()?;
        let Split { parts, source, warnings } = self.split(options)?;
        let names = self.names.len();
        let mut sets: [Vec<(TextSample, f32)>; 3] = Default::default();
        for (record, part) in self.records.into_iter().zip(parts) {
            let weight = record.weight;
            sets[part as usize].push((TextSample::new(record, names), weight));
        }
        for set in &mut sets {
            set.sort_unstable_by(|(a, _), (b, _)| (a.label, &a.name).cmp(&(b.label, &b.name)));
        }
        let weights: Vec<f32> = sets[0].iter().map(|(_, weight)| *weight).collect();
        let [train, val, test] = sets.map(|set| set.into_iter().map(|(sample, _)| sample).collect());
        Ok(TextDataset {
            path: self.path,
            task: self.task,
            classes: self.names,
            train,
            val,
            test,
            train_weights: mean_one(&weights)?,
            split: source,
            left_out: self.left_out.into_iter().map(|record| (record.name, LeftOut::Listed)).collect(),
            notes: self.notes,
            warnings: [self.warnings, warnings].concat(),
            tagging: self.tagging,
        })
    }
}

/// Weights with a mean of 1, unless they are all the same.
fn mean_one(weights: &[f32]) -> Result<Option<Vec<f32>>, TextError> {
    if !weights.is_empty() && weights.iter().all(|&weight| weight == 0.0) {
        return Err(TextError::option("weight", "0 for all training texts", "some above 0"));
    }
    if weights.windows(2).all(|pair| pair[0] == pair[1]) {
        return Ok(None);
    }
    tl_data::mean_one(weights).map(Some).map_err(|error| TextError::split(&error))
}

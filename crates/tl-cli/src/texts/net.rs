//! Text nets by name, and the files that belong to one.
//!
//! The decision behind it: what decides whether a plan fits a net is its configuration, so that is brought here when a name
//! is looked up, with all other words; weights and tokenizer only when something is to be computed.

use std::cell::RefCell;
use std::path::Path;

use anyhow::Context;
use tch::Device;
use tl_backbones::Backbone;
use tl_backbones::text::{self, TextCard, TextConfig, TextPool, TextSource};
use tl_heads::Pool;
use tl_text::{TokenOptions, Tokenizer};
use tl_train::{Pretrained, SavedText};
use tl_weights::{Cache, Located, Source};

use crate::ui::{Ui, show_fetch};

pub(crate) const DEFAULT_BACKBONE: &str = "minilm";

/// A text net whose configuration is here.
#[derive(Clone, Debug)]
pub(crate) struct TextNet {
    pub(crate) name: String,
    pub(crate) config: TextConfig,
    /// How its tokens become a vector where nobody says.
    pub(crate) pool: Pool,
    source: TextSource,
}

/// The weights and the tokenizer that a run begins with.
#[derive(Debug)]
pub(crate) struct Fetched {
    weights: Located,
    pub(crate) tokenizer_files: Vec<TokenizerFile>,
}

/// A file of a tokenizer, as it is called beside a model.
#[derive(Debug)]
pub(crate) struct TokenizerFile {
    pub(crate) name: String,
    pub(crate) path: std::path::PathBuf,
    pub(crate) sha256: String,
}

/// Whether a name can be that of a text net: a row of the table, a folder of files, or a repository of the hub.
pub(crate) fn is_text_net(name: &str) -> bool {
    tl_backbones::find(name).is_err() && TextSource::resolve(name).is_ok()
}

/// The net of this name, without its weights.
///
/// # Errors
/// There is none, its configuration cannot be had, or cannot be used.
pub(crate) fn find(name: &str) -> anyhow::Result<TextNet> {
    let (source, cache) = (TextSource::resolve(name)?, Cache::default_location()?);
    let ui = RefCell::new(Ui::new());
    let located = source.fetch_config(&cache, &show_fetch(&ui));
    ui.borrow_mut().stop();
    let path = located.with_context(|| format!("no files for `{name}`"))?.path;
    let json = std::fs::read(&path).with_context(|| format!("failed to read `{}`", path.display()))?;
    let config = TextConfig::parse(&json).with_context(|| format!("backbone `{name}`"))?;
    let pool = match source.pool(&config, &cache) {
        TextPool::Mean => Pool::Average,
        TextPool::First => Pool::Class,
        TextPool::Last => Pool::Last,
    };
    Ok(TextNet { name: source.name.clone(), config, pool, source })
}

impl TextNet {
    /// Its row of the table.
    pub(crate) fn card(&self) -> Option<&'static TextCard> {
        self.source.card
    }

    /// The file of its weights, or the one that is named.
    pub(crate) fn weights(&self, weights: &str, ui: &RefCell<Ui>) -> anyhow::Result<Located> {
        let cache = Cache::default_location()?;
        if !weights.is_empty() {
            return Ok(cache.fetch(&Source::File(weights.into()), None, &show_fetch(ui))?);
        }
        let located = self.source.fetch_weights(&cache, &show_fetch(ui));
        ui.borrow_mut().stop();
        located.with_context(|| format!("no files for `{}`", self.name))
    }

    /// Its files, with other weights if a file of them is named.
    pub(crate) fn fetch(&self, weights: &str, ui: &RefCell<Ui>) -> anyhow::Result<Fetched> {
        let tokenizer = self.source.fetch_tokenizer(&Cache::default_location()?, &show_fetch(ui));
        ui.borrow_mut().stop();
        let tokenizer = tokenizer.with_context(|| format!("no files for `{}`", self.name))?;
        let weights = self.weights(weights, ui)?;
        let Located { path, sha256, .. } = tokenizer;
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let mut tokenizer_files = vec![TokenizerFile { name, path: path.clone(), sha256 }];
        // Beside a list of words stands what is done to texts before.
        let words = path.extension().is_some_and(|extension| extension == "txt");
        let beside = path.with_file_name("tokenizer_config.json");
        if words && beside.is_file() {
            let sha256 = tl_fetch::sha256_file(&beside)?;
            let name = "tokenizer_config.json".to_owned();
            tokenizer_files.push(TokenizerFile { name, path: beside, sha256 });
        }
        Ok(Fetched { weights, tokenizer_files })
    }

    /// Where it is published, as transformers finds it, and the revision where one was named.
    pub(crate) fn published(&self) -> (String, Option<&str>) {
        if Path::new(&self.name).is_dir() {
            return (crate::dataset::absolute(Path::new(&self.name)).display().to_string(), None);
        }
        match self.name.split_once('@') {
            Some((repo, revision)) => (repo.to_owned(), Some(revision)),
            None => (text::find(&self.name).map_or(&*self.name, |card| card.hub_name()).to_owned(), None),
        }
    }

    /// The net with its weights.
    pub(crate) fn load(&self, fetched: &Fetched, device: Device) -> anyhow::Result<Backbone> {
        let loaded = Backbone::load_text(&self.name, &self.config, &fetched.weights.path, device)?;
        Ok(loaded.backbone)
    }
}

impl Fetched {
    pub(crate) fn tokenizer(&self, options: TokenOptions) -> anyhow::Result<Tokenizer> {
        let file = self.tokenizer_files.first().context("there is no tokenizer")?;
        Ok(Tokenizer::open(&file.path, options)?)
    }

    /// A tokenizer with more tokens than the net has rows belongs to another net.
    pub(crate) fn check_vocabulary(&self, tokenizer: &Tokenizer, config: &TextConfig) -> anyhow::Result<()> {
        let (tokens, rows) = (tokenizer.vocabulary() as i64, config.vocabulary);
        anyhow::ensure!(
            tokens <= rows,
            "the tokenizer has {tokens} tokens and the net {rows}: they do not belong together"
        );
        Ok(())
    }

    /// For the manifest and the model's description.
    pub(crate) fn pretrained(&self, net: &TextNet) -> Pretrained {
        Pretrained {
            name: net.name.clone(),
            source: self.weights.source.clone(),
            sha256: self.weights.sha256.clone(),
            licence: net.card().map_or("unknown", |card| card.licence).to_owned(),
        }
    }
}

/// The tokenizer that lies beside a saved model.
///
/// # Errors
/// A file is missing, or not the one that the model was saved with.
pub(crate) fn tokenizer_of(run: &Path, saved: &SavedText) -> anyhow::Result<Tokenizer> {
    for (name, sha256) in &saved.tokenizer {
        let path = run.join(name);
        let found = tl_fetch::sha256_file(&path)
            .with_context(|| format!("the tokenizer of the model in `{}`", run.display()))?;
        anyhow::ensure!(
            found == *sha256,
            "`{}` is not the file that the model was saved with\n\nhint: copy it again from its run",
            path.display()
        );
    }
    let (first, _) = saved.tokenizer.first().context("the model names no tokenizer")?;
    let options = TokenOptions { max_length: saved.max_length, special_tokens: true };
    Ok(Tokenizer::open(&run.join(first), options)?)
}

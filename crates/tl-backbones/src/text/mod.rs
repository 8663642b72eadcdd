//! Text nets: BERT and its kin, GPT-2, the encoder of T5, as ordered stages: `embeddings`, then one for each layer.
//!
//! The decision: a text net is its configuration ([`TextConfig`], the `config.json` that it is published with), and not a
//! row of a table, because nets of one family differ in nothing else and are too many to list. What the table has
//! ([`TEXT_CARDS`]) is where well-known ones are published.
//!
//! Level 0 is int64 `[N, T, 2]`, ids of tokens and of segments; every other level is `[N, T, C]`. Which tokens are real
//! is [`Mode::mask`](crate::Mode::mask); what fills up stands at the end. Positions are counted from the first token.
//! Values at places that are filled up mean nothing, and are finite.

mod bert;
mod cards;
mod config;
mod gpt2;
mod layers;
mod load;
mod lora;
mod packs;
mod rows;
mod t5;

use tch::{Device, Kind, Tensor};
use tl_torch::{Fill, ParamStore, Scope};

use crate::backbone::{Backbone, Definition, Observed, TextNet};
use crate::error::BackboneError;
use crate::stage::{Stage, grade_drop_path};

pub use cards::{TEXT_CARDS, TextCard, TextFiles, TextPool, TextSource, default_pool, find};
pub use config::{Family, TextConfig};
pub use load::{LoadedText, Pooler};
pub use lora::Lora;
pub use packs::Packs;

use lora::Build;

impl Backbone {
    /// Builds a text net with new (untrained) parameters, or with blanks that a file is about to fill. `name` is what it
    /// is called.
    ///
    /// # Errors
    /// A fault in the net's definition.
    pub fn text(name: &str, config: &TextConfig, device: Device, fill: Fill) -> Result<Self, BackboneError> {
        let net = TextNet { name: name.to_owned(), config: config.clone(), lora: None };
        Self::text_of(net, device, fill)
    }

    /// The same with new adapters, for looking at: without values.
    ///
    /// # Errors
    /// The adapters do not fit the net, as [`Backbone::with_lora`] says.
    pub fn text_shapes(name: &str, config: &TextConfig, lora: Option<&Lora>) -> Result<Self, BackboneError> {
        let plain = Self::text(name, config, Device::Cpu, Fill::Shapes)?;
        match lora {
            Some(lora) => Self::text_of(plain.adapted(lora)?, Device::Cpu, Fill::Shapes),
            None => Ok(plain),
        }
    }

    /// The same, adapters included where `net` has some.
    pub(crate) fn text_of(net: TextNet, device: Device, fill: Fill) -> Result<Self, BackboneError> {
        let (stages, mut store) = ParamStore::build(device, fill, |scope| define(scope, &net))?;
        if net.lora.is_some() {
            store.fix_all_but_adapters();
        }
        Ok(Self::assemble(Definition::Text(Box::new(net)), stages, store))
    }

    pub(crate) fn text_twin(&self, net: &TextNet) -> Result<Self, BackboneError> {
        let (stages, store) = self.store.twin(|scope| define(scope, net))?;
        Ok(Self::assemble(Definition::Text(Box::new(net.clone())), stages, store))
    }

    /// As [`Backbone::observe`], for one text of `tokens` tokens, from 1 to [`TextConfig::max_tokens`].
    #[must_use]
    pub fn observe_text(&self, tokens: i64) -> Observed {
        self.observe_on(&Tensor::zeros([1, tokens, 2], (Kind::Int64, self.device())))
    }

    pub(crate) fn device(&self) -> Device {
        self.store.iter().next().map_or(Device::Cpu, |param| param.tensor.device())
    }
}

fn define(scope: &Scope<'_>, net: &TextNet) -> Vec<Stage> {
    let build = Build::new(net);
    let mut stages = match net.config.family {
        Family::Gpt2 => gpt2::stages(scope, &build),
        Family::T5 | Family::Mt5 => t5::stages(scope, &build),
        _ => bert::stages(scope, &build),
    };
    grade_drop_path(&mut stages);
    stages
}

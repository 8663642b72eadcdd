//! How tokens become one vector, and the pretrained pooler that some weights have.
//!
//! The decision: a pooler is the first layer of a head that begins where the pretrained one ended. So it trains with the
//! head, as it does in transformers, and pooled features can be kept without it.

use std::cell::RefCell;

use anyhow::Context;
use tl_backbones::Act;
use tl_backbones::text::Pooler;
use tl_heads::{HeadSpec, Pool};
use tl_torch::ParamStore;

use super::{TextNet, TextSpec};
use crate::args::{Pooling, Settings};
use crate::errors::Problems;
use crate::ui::Ui;

/// The pooling that is asked for, here or in an earlier spec.
pub(crate) fn pooling(args: &Settings, base: Option<&TextSpec>, problems: &mut Problems) -> Option<Pooling> {
    if let (Some(_), Some(head)) = (args.texts.pooling, &args.head) {
        problems.add(anyhow::anyhow!(
            "--pooling and --head {head} both say how tokens become a vector\n\nhint: give one of them; the first word of a head is its pooling, as \
             in gap-256"
        ));
    }
    let before = base.is_some_and(|base| base.pooler) && args.head.is_none();
    args.texts.pooling.or(before.then_some(Pooling::Pooler))
}

impl Pooling {
    /// The step without parameters.
    pub(crate) fn pool(self) -> Pool {
        match self {
            Self::Mean => Pool::Average,
            Self::Cls | Self::Pooler => Pool::Class,
            Self::Max => Pool::Max,
            Self::Last => Pool::Last,
        }
    }
}

impl TextNet {
    /// The head of a pooling.
    ///
    /// # Errors
    /// The weights have no pooler, or cannot be read.
    pub(crate) fn head(&self, pooling: Pooling, weights: &str) -> anyhow::Result<HeadSpec> {
        Ok(match pooling {
            Pooling::Pooler => {
                let pooler = self.pooler(weights)?;
                let act = match pooler.act {
                    Act::Gelu => "gelu",
                    Act::Relu => "relu",
                    _ => "tanh",
                };
                format!("cls-{}-{act}", self.config.width).parse()?
            }
            other => other.pool().into(),
        })
    }

    fn pooler(&self, weights: &str) -> anyhow::Result<Pooler> {
        let path = self.weights(weights, &RefCell::new(Ui::new()))?.path;
        let found = Pooler::read(&self.config, &path).with_context(|| format!("backbone `{}`", self.name))?;
        found.with_context(|| {
            format!(
                "the weights of `{}` have no pretrained pooler\n\nhint: mean, cls, max or last; BERT and ALBERT have one, \
                 and so have classifiers of RoBERTa, ELECTRA and DistilBERT that were trained before",
                self.name
            )
        })
    }

    /// Puts the pretrained pooler into the first layer of a head.
    pub(crate) fn put_pooler(&self, weights: &str, head: &ParamStore) -> anyhow::Result<()> {
        let pooler = self.pooler(weights)?;
        head.set("head.0.weight", &pooler.weight)?;
        Ok(head.set("head.0.bias", &pooler.bias)?)
    }
}

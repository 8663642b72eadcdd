//! Low-rank adapters (LoRA; Hu et al. 2021, arXiv:2106.09685): beside a linear layer `W x` comes `α / r · B A x`, with A
//! `[r, inputs]` and B `[outputs, r]`, and only these train.
//!
//! The decision: an adapter is a layer of its own, behind the one that it adapts (`….query.lora`), with parameters in the
//! net's store. So a plan names adapters as it names any layer (`*.lora`), and a net with its adapters merged is the plain
//! net again, under the published names.

use std::ops::Deref;

use serde::{Deserialize, Serialize};
use tch::Tensor;
use tl_torch::{Draw, Fill, Init, Role, Scope, drop_values, uniform};

use super::config::{Family, TextConfig};
use crate::backbone::{Backbone, TextNet};
use crate::error::BackboneError;
use crate::layers::Tag;
use crate::stage::Mode;

const A: &str = "lora_A.weight";
const B: &str = "lora_B.weight";

/// What adapters are like, and where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lora {
    /// r, from 1 to the width of the net.
    pub rank: i64,
    /// α, above 0: what an adapter adds is multiplied by `alpha / rank`.
    pub alpha: f64,
    /// Dropout of an adapter's input in training, `0..1`.
    pub dropout: f64,
    /// Linear layers, by the ends of their names (`query`, `attention.output.dense`), or [`Lora::ALL`].
    pub targets: Vec<String>,
}

impl Lora {
    /// The target that means all linear layers, as in peft.
    pub const ALL: &'static str = "all-linear";

    /// Rank 8, α 8, no dropout, on queries and values: what peft takes where nobody says.
    #[must_use]
    pub fn usual(family: Family) -> Self {
        let targets: &[&str] = match family {
            Family::DistilBert => &["q_lin", "v_lin"],
            Family::Gpt2 => &["c_attn"],
            Family::T5 | Family::Mt5 => &["q", "v"],
            _ => &["query", "value"],
        };
        let targets = targets.iter().map(|&target| target.to_owned()).collect();
        Self { rank: 8, alpha: 8.0, dropout: 0.0, targets }
    }

    fn is_at(&self, layer: &str) -> bool {
        self.targets.iter().any(|target| target == Self::ALL || ends_with(layer, target))
    }

    fn scale(&self) -> f64 {
        self.alpha / self.rank as f64
    }
}

/// Whether a name is `target` or ends in it behind a dot.
fn ends_with(layer: &str, target: &str) -> bool {
    layer.strip_suffix(target).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// What a net is built from: its sizes, and where adapters belong.
pub(super) struct Build<'a> {
    net: &'a TextNet,
}

impl<'a> Build<'a> {
    pub(super) fn new(net: &'a TextNet) -> Self {
        Self { net }
    }

    /// The adapter of the linear layer of this scope, if it has one.
    pub(super) fn adapter(&self, scope: &Scope<'_>, [inputs, outputs]: [i64; 2]) -> Option<Adapter> {
        let lora = self.net.lora.as_ref().filter(|lora| lora.is_at(scope.path()))?;
        let start = scope.defined();
        let init = Init::FanIn { gain: GAIN, fan_in: inputs };
        let a = scope.param(A, &[lora.rank, inputs], Role::Adapter, init);
        let b = scope.param(B, &[outputs, lora.rank], Role::Adapter, Init::Zeros);
        let name = scope.sub("lora").path().to_owned();
        let tag = Tag { name, params: start..scope.defined() };
        Some(Adapter { tag, a, b, scale: lora.scale(), dropout: lora.dropout })
    }
}

/// 1/√3: uniform in ±1/√inputs, as PyTorch's linear layers.
const GAIN: f64 = 0.577_350_269_189_625_8;

impl Deref for Build<'_> {
    type Target = TextConfig;

    fn deref(&self) -> &TextConfig {
        &self.net.config
    }
}

/// Two small matrices beside a linear layer.
#[derive(Debug)]
pub(super) struct Adapter {
    tag: Tag,
    a: Tensor,
    b: Tensor,
    scale: f64,
    dropout: f64,
}

impl Adapter {
    /// `[…, inputs]` to `[…, outputs]`.
    pub(super) fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        let none = None::<&Tensor>;
        let xs = match mode.dropout {
            Some(dropout) => {
                let draw = Draw { seed: dropout.seed, name: &self.tag.name, first: mode.first };
                &drop_values(xs, self.dropout, draw)
            }
            None => xs,
        };
        let ys = xs.linear(&self.a, none).linear(&self.b, none) * self.scale;
        let rows = ys.size()[1..ys.dim() - 1].iter().product::<i64>();
        self.tag.note("LoRA", &ys, rows * (self.a.numel() + self.b.numel()) as i64, mode);
        ys
    }
}

impl Backbone {
    /// What the net is with these adapters, or all that is wrong with them.
    pub(super) fn adapted(&self, lora: &Lora) -> Result<TextNet, BackboneError> {
        let mut problems = Vec::new();
        let plain = match self.text_net() {
            Some(net) if net.lora.is_none() => Some(net),
            Some(_) => {
                problems.push("the net has adapters already".to_owned());
                None
            }
            None => {
                problems.push(format!("`{}` is no text net", self.name()));
                None
            }
        };
        let width = self.width();
        if !(1..=width).contains(&lora.rank) {
            problems.push(format!("rank {}, expected 1 to {width}", lora.rank));
        }
        if !(lora.alpha.is_finite() && lora.alpha > 0.0) {
            problems.push(format!("alpha {}, expected a number above 0", lora.alpha));
        }
        if !(0.0..1.0).contains(&lora.dropout) {
            problems.push(format!("dropout {}, expected 0 up to but not 1", lora.dropout));
        }
        if lora.targets.is_empty() {
            problems.push("no target is named".to_owned());
        }
        let layers = self.linear_layers();
        for target in &lora.targets {
            if target != Lora::ALL && !layers.iter().any(|layer| ends_with(layer, target)) {
                let known = last_parts(&layers);
                problems.push(format!("no linear layer is called `{target}`, there are {known}"));
            }
        }
        match plain.filter(|_| problems.is_empty()) {
            Some(net) => Ok(TextNet { lora: Some(lora.clone()), ..net.clone() }),
            None => Err(BackboneError::Lora { problems }),
        }
    }

    /// The same text net with new adapters: A drawn from `seed`, B zero, so that at first it computes the same. Weights
    /// are copied, and are [fixed](tl_torch::Role::Fixed) from then on.
    ///
    /// # Errors
    /// It is no text net, has adapters already, or they do not fit: rank, α or dropout out of their ranges, a target
    /// that no linear layer has; all of it together.
    pub fn with_lora(&self, lora: &Lora, seed: u64) -> Result<Self, BackboneError> {
        let adapted = Self::text_of(self.adapted(lora)?, self.device(), Fill::Later)?;
        for param in adapted.store.iter() {
            match self.store.get(&param.name) {
                Some(own) => adapted.store.set(&param.name, &own.tensor)?,
                None if param.name.ends_with(A) => {
                    let shape = param.tensor.size();
                    let bound = (shape[1] as f64).powf(-0.5);
                    let values = uniform(seed, &param.name, param.tensor.numel(), bound);
                    adapted.store.set(&param.name, &Tensor::from_slice(&values).view(&shape[..]))?;
                }
                None => {}
            }
        }
        Ok(adapted)
    }

    /// The plain net that computes the same: what adapters add is added to the weights. A net without adapters is copied.
    ///
    /// # Errors
    /// It is no text net.
    pub fn merged(&self) -> Result<Self, BackboneError> {
        let Some(net) = self.text_net() else {
            return Err(BackboneError::Lora { problems: vec![format!("`{}` is no text net", self.name())] });
        };
        let scale = net.lora.as_ref().map_or(0.0, Lora::scale);
        let plain = Self::text_of(TextNet { lora: None, ..net.clone() }, self.device(), Fill::Later)?;
        let own = |name: &str| self.store.get(name).map(|param| param.tensor.detach());
        for param in plain.store.iter() {
            let Some(weight) = own(&param.name) else { continue };
            let layer = param.name.strip_suffix("weight").unwrap_or_default();
            let value = match own(&format!("{layer}{A}")).zip(own(&format!("{layer}{B}"))) {
                Some((a, b)) if !layer.is_empty() => {
                    let added = b.matmul(&a) * scale;
                    // GPT-2's are transposed.
                    let transposed = net.config.family == Family::Gpt2;
                    weight + if transposed { added.tr() } else { added }
                }
                _ => weight,
            };
            plain.store.set(&param.name, &value)?;
        }
        Ok(plain)
    }

    /// Names of layers with a matrix that adapters can stand beside.
    fn linear_layers(&self) -> Vec<String> {
        let layers = self.observe_text_if();
        let names = layers.into_iter().filter(|layer| layer.kind == "Linear").map(|layer| layer.name);
        names.collect()
    }

    fn observe_text_if(&self) -> Vec<crate::trace::Layer> {
        if self.text_net().is_some() { self.observe_text(1).layers } else { Vec::new() }
    }
}

/// The different ends of names.
fn last_parts(layers: &[String]) -> String {
    let ends = layers.iter().filter_map(|layer| layer.rsplit('.').next());
    let ends: std::collections::BTreeSet<&str> = ends.collect();
    ends.into_iter().collect::<Vec<_>>().join(", ")
}

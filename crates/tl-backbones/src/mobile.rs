//! What MobileNets and EfficientNets share: blocks around a depthwise convolution, described as rows of numbers.
//!
//! Parameter names are timm's. The last 1×1 convolution belongs to the last stage: unfreezing "the last stage" then
//! means the last block and the features made of it, as in the other nets.

use tch::Tensor;
use tl_torch::Scope;
use tl_weights::Rename;

use crate::layers::{Act, Add, ConvNorm, ConvSpec, Gate, NormSpec, Padding, SqueezeExcite};
use crate::stage::{Block, Mode, STAGES, Stage};

/// What all blocks of a net have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    pub(crate) norm: NormSpec,
    /// TensorFlow's padding.
    pub(crate) same: bool,
    pub(crate) gate: Gate,
    /// Of the squeeze; none: the block's own.
    pub(crate) squeeze_act: Option<Act>,
    /// MobileNet v1: an activation behind the last convolution, and no sum.
    pub(crate) first_generation: bool,
}

/// A block around a depthwise convolution. Where `width` is the number of its inputs there is no expansion.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockShape {
    pub(crate) kernel: i64,
    pub(crate) stride: i64,
    /// Channels of the depthwise convolution.
    pub(crate) width: i64,
    pub(crate) outputs: i64,
    /// Channels that squeeze and excitation squeezes to; 0 for none.
    pub(crate) squeeze: i64,
    pub(crate) act: Act,
}

/// The 1×1 convolution at the end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Head {
    None,
    /// `conv_head`, `bn2`.
    Conv(i64),
    /// `blocks.N.0.conv`, `blocks.N.0.bn1`.
    Block(i64),
}

/// A net in numbers.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) style: Style,
    /// Channels of the first convolution.
    pub(crate) stem: i64,
    /// Activation of the first and the last convolution.
    pub(crate) act: Act,
    pub(crate) stages: Vec<Vec<BlockShape>>,
    pub(crate) head: Head,
}

/// The nearest multiple of 8, at least 8, and no more than a tenth below.
pub(crate) fn round_channels(channels: f64) -> i64 {
    let rounded = ((channels + 4.0) as i64 / 8 * 8).max(8);
    if (rounded as f64) < 0.9 * channels { rounded + 8 } else { rounded }
}

impl Style {
    fn conv(&self, inputs: i64, outputs: i64, kernel: i64, stride: i64) -> ConvSpec {
        let spec = ConvSpec::new(inputs, outputs, kernel).stride(stride);
        if self.same { spec.padding(Padding::Same) } else { spec }
    }
}

impl Layout {
    pub(crate) fn define(&self, scope: &Scope<'_>) -> Vec<Stage> {
        let style = self.style;
        let mut stem = Stage::new("stem", self.stem, 2);
        let spec = style.conv(3, self.stem, 3, 2);
        stem.push(scope, "conv_stem", |scope| {
            ConvNorm::new(scope, ("conv_stem", "bn1"), spec, style.norm, self.act)
        });
        let mut stages = vec![stem];
        let mut inputs = self.stem;
        for (i, blocks) in self.stages.iter().enumerate() {
            let stride = blocks.iter().map(|block| block.stride).product();
            let mut stage = Stage::new(STAGES[i], blocks.last().map_or(0, |block| block.outputs), stride);
            for (j, block) in blocks.iter().enumerate() {
                let name = format!("blocks.{i}.{j}");
                stage.push(scope, name.clone(), |scope| Mobile::new(&scope.sub(&name), style, inputs, block));
                inputs = block.outputs;
            }
            stages.push(stage);
        }
        if let Some(last) = stages.last_mut() {
            self.push_head(scope, last, inputs);
        }
        stages
    }

    fn push_head(&self, scope: &Scope<'_>, stage: &mut Stage, inputs: i64) {
        let (outputs, block) = match self.head {
            Head::None => return,
            Head::Conv(outputs) => (outputs, "conv_head".to_owned()),
            Head::Block(outputs) => (outputs, format!("blocks.{}.0", self.stages.len())),
        };
        let spec = ConvSpec::new(inputs, outputs, 1);
        stage.out_channels = outputs;
        stage.push(scope, block.clone(), |scope| match self.head {
            Head::Block(_) => {
                ConvNorm::new(&scope.sub(&block), ("conv", "bn1"), spec, self.style.norm, self.act)
            }
            _ => ConvNorm::new(scope, ("conv_head", "bn2"), spec, self.style.norm, self.act),
        });
    }

    /// torchvision's names: `features.0` is the stem, then come the blocks, numbered through or by stage, then the last
    /// convolution; in a block, layers are numbered. `block` is what it calls their list: `conv` or `block`.
    pub(crate) fn torchvision_name(&self, block: &str, by_stage: bool, name: &str) -> Option<String> {
        let rest = name.strip_prefix("features.")?;
        let (number, rest) = number(rest)?;
        if number == 0 {
            return stem_or_head(rest, "conv_stem", "bn1");
        }
        let (place, rest) = match by_stage {
            true if number <= self.stages.len() => {
                let (j, rest) = self::number(rest)?;
                (Some((number - 1, j)), rest)
            }
            true => (None, rest),
            false => (self.place(number - 1), rest),
        };
        let Some((i, j)) = place else {
            return match self.head {
                Head::Block(_) => {
                    let prefix = format!("blocks.{}.0", self.stages.len());
                    stem_or_head(rest, &format!("{prefix}.conv"), &format!("{prefix}.bn1"))
                }
                _ => stem_or_head(rest, "conv_head", "bn2"),
            };
        };
        let rest = rest.strip_prefix(block)?.strip_prefix('.')?;
        let layer = self.layer(i, j)?.torchvision(rest)?;
        Some(format!("blocks.{i}.{j}.{layer}"))
    }

    /// Stage and place in it of block `n`.
    fn place(&self, mut n: usize) -> Option<(usize, usize)> {
        for (i, blocks) in self.stages.iter().enumerate() {
            if n < blocks.len() {
                return Some((i, n));
            }
            n -= blocks.len();
        }
        None
    }

    fn layer(&self, i: usize, j: usize) -> Option<Layers> {
        let block = self.stages.get(i)?.get(j)?;
        let before = self.stages[..i].iter().flatten().chain(&self.stages[i][..j]).next_back();
        let inputs = before.map_or(self.stem, |block| block.outputs);
        Some(Layers { expands: block.width != inputs, squeezes: block.squeeze > 0 })
    }
}

/// What a block is made of.
struct Layers {
    expands: bool,
    squeezes: bool,
}

impl Layers {
    /// `1.0.weight` to `conv_dw.weight`, and so on.
    fn torchvision(&self, rest: &str) -> Option<String> {
        let (at, rest) = number(rest)?;
        let mut order = Vec::new();
        let named = names(self.expands);
        if self.expands {
            order.push(named[0]);
        }
        order.push(named[1]);
        if self.squeezes {
            order.push(("se", ""));
        }
        order.push(named[2]);
        match order.get(at) {
            Some(("se", _)) => {
                let (layer, value) = rest.split_once('.')?;
                let layer = match layer {
                    "fc1" => "conv_reduce",
                    "fc2" => "conv_expand",
                    _ => return None,
                };
                Some(format!("se.{layer}.{value}"))
            }
            Some((conv, norm)) => match number(rest) {
                Some(_) => stem_or_head(rest, conv, norm),
                // MobileNet v2 does not wrap its last convolution: its norm is the next entry.
                None => Some(format!("{conv}.{rest}")),
            },
            None if at == order.len() => order.last().map(|(_, norm)| format!("{norm}.{rest}")),
            None => None,
        }
    }
}

/// What timm calls a block's convolutions and their norms: expansion (none without), depthwise, projection.
fn names(expands: bool) -> [(&'static str, &'static str); 3] {
    match expands {
        true => [("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3")],
        false => [("", ""), ("conv_dw", "bn1"), ("conv_pw", "bn2")],
    }
}

/// `0.weight` is the convolution's, `1.weight` the norm's.
fn stem_or_head(rest: &str, conv: &str, norm: &str) -> Option<String> {
    match number(rest)? {
        (0, rest) => Some(format!("{conv}.{rest}")),
        (1, rest) => Some(format!("{norm}.{rest}")),
        _ => None,
    }
}

/// A number and what follows its dot.
fn number(text: &str) -> Option<(usize, &str)> {
    let (number, rest) = text.split_once('.')?;
    Some((number.parse().ok()?, rest))
}

/// `renamed`, or the name as it is, to be reported as left over; `num_batches_tracked` is not needed.
pub(crate) fn rename(name: &str, renamed: Option<String>) -> Rename {
    if name.ends_with("num_batches_tracked") {
        return Rename::Ignore;
    }
    Rename::To(renamed.unwrap_or_else(|| name.to_owned()))
}

/// Inverted residual (Sandler et al. 2018, arXiv:1801.04381): expansion, depthwise convolution, gate, projection; added
/// to its input where shapes allow. Without expansion it is MobileNet v1's separable convolution.
#[derive(Debug)]
struct Mobile {
    expand: Option<ConvNorm>,
    depthwise: ConvNorm,
    squeeze: Option<SqueezeExcite>,
    project: ConvNorm,
    add: Option<Add>,
}

impl Mobile {
    fn new(scope: &Scope<'_>, style: Style, inputs: i64, shape: &BlockShape) -> Self {
        let BlockShape { kernel, stride, width, outputs, squeeze, act } = *shape;
        let expands = width != inputs;
        let names = names(expands);
        let conv = |names, spec, act| ConvNorm::new(scope, names, spec, style.norm, act);
        let last = if style.first_generation { act } else { Act::None };
        let adds = stride == 1 && inputs == outputs && !style.first_generation;
        Self {
            expand: expands.then(|| conv(names[0], ConvSpec::new(inputs, width, 1), act)),
            depthwise: conv(names[1], style.conv(width, width, kernel, stride).groups(width), act),
            squeeze: (squeeze > 0).then(|| {
                let squeeze_act = style.squeeze_act.unwrap_or(act);
                SqueezeExcite::new(&scope.sub("se"), width, squeeze, squeeze_act, style.gate)
            }),
            project: conv(names[2], ConvSpec::new(width, outputs, 1), last),
            add: adds.then(|| Add::new(scope, Act::None)),
        }
    }
}

impl Block for Mobile {
    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        let expanded = self.expand.as_ref().map(|conv| conv.forward(xs, mode));
        let mut ys = self.depthwise.forward(expanded.as_ref().unwrap_or(xs), mode);
        if let Some(squeeze) = &self.squeeze {
            ys = squeeze.forward(&ys, mode);
        }
        let ys = self.project.forward(&ys, mode);
        match &self.add {
            Some(add) => add.forward(ys, xs, mode),
            None => ys,
        }
    }

    fn is_residual(&self) -> bool {
        self.add.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_round_as_in_the_papers() {
        for (channels, rounded) in
            [(32.0 * 1.2, 40), (40.0 * 1.4, 56), (24.0 * 1.1, 24), (3.0, 8), (10.0, 16)]
        {
            assert_eq!(round_channels(channels), rounded, "{channels}");
        }
    }
}

//! A built net: its stages and their parameters, and what flows through them. The decision: what a net is (its stages)
//! and what acts behind them (neck, published classifier) are kept apart, so that any head can come behind any stage.

use std::ops::Range;

use tch::{Device, Kind, Tensor};
use tl_torch::{Fill, ParamStore, Scope};

use crate::card::{Card, Net, Top, TopPool, Weights};
use crate::error::BackboneError;
use crate::layers::{Act, LayerNorm, Linear, LinearSpec};
use crate::stage::{Block, Mode, Stage, grade_drop_path};
use crate::text::{Lora, TextConfig};
use crate::trace::{Layer, Trace};

/// A net without its classifier.
#[derive(Debug)]
pub struct Backbone {
    /// What it was built from.
    pub definition: Definition,
    /// In forward order.
    pub stages: Vec<Stage>,
    /// All parameters and running statistics.
    pub store: ParamStore,
    neck: Option<LayerNorm>,
    /// What defines the stages of an image net, which differs with its weights.
    net: Option<Net>,
}

/// What a net was built from: a row of the table of image nets, or the configuration of a text net.
#[derive(Debug)]
pub enum Definition {
    /// An image net.
    Image(&'static Card),
    /// A text net.
    Text(Box<TextNet>),
}

/// A text net: what it is called and its sizes.
#[derive(Clone, Debug, PartialEq)]
pub struct TextNet {
    /// As it was asked for: a name of [`TEXT_CARDS`](crate::text::TEXT_CARDS), of the hub, or of a folder.
    pub name: String,
    /// Family and sizes.
    pub config: TextConfig,
    /// Its adapters.
    pub lora: Option<Lora>,
}

/// A published classifier.
#[derive(Debug)]
pub struct Classifier {
    pool: TopPool,
    layers: Vec<Linear>,
}

/// A net as one image met it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// In forward order, the input first.
    pub layers: Vec<Layer>,
    /// Of the image or text and of every stage's output, without the batch dimension: `[C, H, W]` or `[T, C]`; of a text
    /// `[T, 2]`.
    pub shapes: Vec<Vec<i64>>,
}

/// Stands for the neck in the last stage: its parameters belong there, but it acts after pooling.
#[derive(Debug)]
struct Deferred;

impl Block for Deferred {
    fn forward(&self, xs: &Tensor, _: Mode<'_>) -> Tensor {
        xs.shallow_clone()
    }
}

impl Backbone {
    /// Builds the net with new (untrained) parameters, or with blanks that a file is about to fill.
    ///
    /// # Errors
    /// A fault in the net's definition.
    pub fn new(card: &'static Card, device: Device, fill: Fill) -> Result<Self, BackboneError> {
        Self::of(card, card.stages, device, fill)
    }

    /// The same, as the details of these weights have it.
    ///
    /// # Errors
    /// As [`Backbone::new`].
    pub fn for_weights(
        card: &'static Card,
        weights: &Weights,
        device: Device,
        fill: Fill,
    ) -> Result<Self, BackboneError> {
        Self::of(card, weights.net.unwrap_or(card.stages), device, fill)
    }

    /// The same with `net` for the card's own.
    pub(crate) fn of(
        card: &'static Card,
        net: Net,
        device: Device,
        fill: Fill,
    ) -> Result<Self, BackboneError> {
        let ((stages, neck), store) = ParamStore::build(device, fill, |scope| define(card, net, scope))?;
        Ok(Self { definition: Definition::Image(card), stages, store, neck, net: Some(net) })
    }

    /// The same net once more, in the same memory, with gradients of its own: for computing parts of a batch side by side.
    ///
    /// # Errors
    /// A fault in the net's definition; it was built with its classifier.
    pub fn twin(&self) -> Result<Self, BackboneError> {
        match (&self.definition, self.net) {
            (Definition::Image(card), Some(net)) => {
                let ((stages, neck), store) = self.store.twin(|scope| define(card, net, scope))?;
                Ok(Self { definition: Definition::Image(card), stages, store, neck, net: self.net })
            }
            (Definition::Image(card), None) => Err(BackboneError::NoTwin { backbone: card.name }),
            (Definition::Text(net), _) => self.text_twin(net),
        }
    }

    /// The same with the classifier that the card describes, for `classes` classes; its parameters are in the net's
    /// store, behind those of the stages.
    ///
    /// # Errors
    /// A fault in the net's definition; the card describes no classifier.
    pub fn with_classifier(
        card: &'static Card,
        weights: &Weights,
        classes: i64,
        (device, fill): (Device, Fill),
    ) -> Result<(Self, Classifier), BackboneError> {
        let net = weights.net.unwrap_or(card.stages);
        let top = card.top.as_ref().ok_or(BackboneError::NoClassifier { backbone: card.name })?;
        let define = |scope: &Scope<'_>| {
            (define(card, net, scope), Classifier::define(top, card.features, classes, scope))
        };
        let (((stages, neck), classifier), store) = ParamStore::build(device, fill, define)?;
        let definition = Definition::Image(card);
        Ok((Self { definition, stages, store, neck, net: None }, classifier))
    }

    /// The row of the table, of an image net.
    #[must_use]
    pub fn card(&self) -> Option<&'static Card> {
        match &self.definition {
            Definition::Image(card) => Some(card),
            Definition::Text(_) => None,
        }
    }

    /// Name and sizes, of a text net.
    #[must_use]
    pub fn text_net(&self) -> Option<&TextNet> {
        match &self.definition {
            Definition::Image(_) => None,
            Definition::Text(net) => Some(net),
        }
    }

    /// The card's name, or that of the text net.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.definition {
            Definition::Image(card) => card.name,
            Definition::Text(net) => &net.name,
        }
    }

    /// Channels of the last stage's output.
    #[must_use]
    pub fn width(&self) -> i64 {
        match &self.definition {
            Definition::Image(card) => card.features,
            Definition::Text(net) => net.config.width,
        }
    }

    /// How many tokens of an image stand before those of its patches; none where maps flow, and for texts.
    #[must_use]
    pub fn prefix(&self) -> Option<i64> {
        self.card()?.tokens.map(|tokens| tokens.prefix)
    }

    /// Refuses images of `size` × `size` pixels that the net cannot take.
    ///
    /// # Errors
    /// As [`Card::check_size`]; the net reads texts.
    pub fn check_size(&self, size: u32) -> Result<(), BackboneError> {
        match &self.definition {
            Definition::Image(card) => card.check_size(size),
            Definition::Text(net) => Err(BackboneError::ReadsText { backbone: net.name.clone() }),
        }
    }

    /// Runs the stages in `range`, each in its own mode.
    ///
    /// # Shapes
    /// `[N, 3, H, W]`, normalised (or the output of the stage before the range), to the output of the last of them.
    pub fn forward<'m>(&self, xs: &Tensor, range: Range<usize>, mode: impl Fn(usize) -> Mode<'m>) -> Tensor {
        range.fold(xs.shallow_clone(), |xs, i| {
            let mode = mode(i);
            if let Some(trace) = mode.trace {
                trace.enter_stage(i);
            }
            self.stages[i].forward(&xs, mode)
        })
    }

    /// Output of the last stage in inference mode, without gradients.
    ///
    /// # Shapes
    /// `[N, 3, H, W]`, normalised, to `[N, features, H / 32, W / 32]` or `[N, T, features]`.
    pub fn features(&self, xs: &Tensor) -> Tensor {
        tch::no_grad(|| self.forward(xs, 0..self.stages.len(), |_| Mode::EVAL))
    }

    /// Whether something comes between pooling and head.
    #[must_use]
    pub fn has_neck(&self) -> bool {
        self.neck.is_some()
    }

    /// What comes between pooling and head; nothing in most nets. On a map or on tokens it acts per position, for heads
    /// that do not pool to one value a channel.
    ///
    /// # Shapes
    /// `[N, features]`, `[N, features, H, W]` or `[N, T, features]`, to the same.
    pub fn neck(&self, xs: &Tensor) -> Tensor {
        self.neck_in(xs, Mode::EVAL)
    }

    fn neck_in(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        match &self.neck {
            Some(neck) => neck.forward(xs, mode),
            None => xs.shallow_clone(),
        }
    }

    /// How many blocks [`DropPath`](crate::DropPath) can act on; none in nets without sums, such as VGG, AlexNet,
    /// DenseNet, GoogLeNet and Inception.
    #[must_use]
    pub fn residual_blocks(&self) -> usize {
        let blocks = self.stages.iter().flat_map(|stage| &stage.blocks);
        blocks.filter(|named| named.block.is_residual()).count()
    }

    /// The stage of that name.
    #[must_use]
    pub fn stage_idx(&self, name: &str) -> Option<usize> {
        self.stages.iter().position(|stage| stage.name == name)
    }

    /// What images of `size` × `size` pixels meet on their way: all layers in forward order, the input first, and the
    /// shapes at the stages' borders. One image of zeros goes through the net.
    #[must_use]
    pub fn observe(&self, size: u32) -> Observed {
        self.observe_on(&self.blank(size))
    }

    /// What `input`, a batch of one, meets on its way.
    pub(crate) fn observe_on(&self, input: &Tensor) -> Observed {
        let trace = Trace::default();
        let mode = Mode { trace: Some(&trace), ..Mode::EVAL };
        let mut xs = input.shallow_clone();
        let mut shapes = vec![xs.size()[1..].to_vec()];
        tch::no_grad(|| {
            for i in 0..self.stages.len() {
                xs = self.forward(&xs, i..i + 1, |_| mode);
                shapes.push(xs.size()[1..].to_vec());
            }
            if let Some(last) = self.stages.last().filter(|_| self.neck.is_some()) {
                trace.enter_block(last.blocks.len() - 1);
                let _ = self.neck_in(&average(&xs), mode);
            }
        });
        let input = Layer {
            name: "input".to_owned(),
            kind: "Input",
            stage: 0,
            block: 0,
            output: shapes[0].clone(),
            params: 0..0,
            macs: 0,
        };
        Observed { layers: std::iter::once(input).chain(trace.into_layers()).collect(), shapes }
    }

    /// A net whose stages are built, without a neck.
    pub(crate) fn assemble(definition: Definition, stages: Vec<Stage>, store: ParamStore) -> Self {
        Self { definition, stages, store, neck: None, net: None }
    }

    fn blank(&self, size: u32) -> Tensor {
        let side = i64::from(size);
        tl_torch::channels_last(&Tensor::zeros([1, 3, side, side], (Kind::Float, self.device())))
    }
}

fn define(card: &Card, net: Net, scope: &Scope<'_>) -> (Vec<Stage>, Option<LayerNorm>) {
    let mut stages = net(scope);
    let neck = card.neck.and_then(|neck| {
        let mut norm = None;
        stages.last_mut()?.push(scope, neck.name, |scope| {
            norm = Some(LayerNorm::new(scope, neck.name, card.features, neck.eps));
            Deferred
        });
        norm
    });
    grade_drop_path(&mut stages);
    (stages, neck)
}

impl Classifier {
    fn define(top: &Top, features: i64, classes: i64, scope: &Scope<'_>) -> Self {
        let mut inputs = match top.pool {
            TopPool::Grid(side) => features * side * side,
            TopPool::Average | TopPool::Class => features,
        };
        let layers = top.hidden.iter().copied().chain([(top.last, classes, Act::None)]);
        let mut linear = |(name, outputs, act): (&str, i64, Act)| {
            let spec = LinearSpec { inputs, outputs, act };
            inputs = outputs;
            Linear::new(scope, name, spec)
        };
        Self { pool: top.pool, layers: layers.map(&mut linear).collect() }
    }

    /// Scores of the published classes.
    ///
    /// # Shapes
    /// Features `[N, C, H, W]` or `[N, T, C]` to logits `[N, classes]`.
    pub fn forward(&self, backbone: &Backbone, features: &Tensor) -> Tensor {
        let pooled = match self.pool {
            TopPool::Average => average(features),
            TopPool::Grid(side) => features.adaptive_avg_pool2d([side, side]).contiguous().flatten(1, -1),
            TopPool::Class => features.select(1, 0),
        };
        let pooled = backbone.neck(&pooled);
        self.layers.iter().fold(pooled, |xs, layer| layer.forward(&xs, Mode::EVAL))
    }
}

fn average(features: &Tensor) -> Tensor {
    features.mean_dim(&[2i64, 3][..], false, None::<Kind>)
}

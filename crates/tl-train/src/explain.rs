//! Where in an image a model found its answer: Grad-CAM (Selvaraju et al. 2016, arXiv:1610.02391).
//!
//! The decision behind it: one method for every net. The channels of a feature map are weighted by how much the mean
//! over its positions of each moves the answer, and what speaks for the answer is kept. A transformer's patch tokens are
//! such a map as well; they are taken where they enter the last encoder layer, because behind it only the class token
//! counts and no other one has a gradient. Nothing but gradients of the answer is needed, so any head will do.

use tch::{Kind, Tensor};
use tl_backbones::{Backbone, Mode};
use tl_heads::Task;

use crate::error::TrainError;
use crate::model::{Model, pool};

/// A place in a net: behind some blocks of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The stage, from 0.
    stage: usize,
    /// How many of its blocks have run, from 1.
    blocks: usize,
}

/// What spoke for an answer, by place in the image.
#[derive(Clone, Debug, PartialEq)]
pub struct Heat {
    /// Rows of the map.
    pub height: usize,
    /// Columns of the map.
    pub width: usize,
    /// Row by row, 0 or above; all 0 where nothing there speaks for the answer.
    pub values: Vec<f32>,
    /// What was asked about: the index of a class, label or number.
    pub name: usize,
    /// What the model says of it: a probability, or a number in its own units.
    pub answer: f32,
}

impl Heat {
    /// The highest value.
    #[must_use]
    pub fn peak(&self) -> f32 {
        self.values.iter().copied().fold(0.0, f32::max)
    }
}

impl Place {
    /// Where a net is looked at if nobody says: the last map, or the tokens that enter the last encoder layer.
    #[must_use]
    pub fn usual(backbone: &Backbone) -> Self {
        let last = backbone.stages.len().saturating_sub(1);
        let blocks = |stage: usize| backbone.stages.get(stage).map_or(0, |stage| stage.blocks().count());
        if backbone.prefix().is_none() {
            return Self { stage: last, blocks: blocks(last) };
        }
        // Behind the last encoder layer comes a norm; before it, if its stage has no other, another stage.
        match blocks(last) {
            n if n > 2 => Self { stage: last, blocks: n - 2 },
            _ => Self { stage: last.saturating_sub(1), blocks: blocks(last.saturating_sub(1)) },
        }
    }

    /// The output of the stage or block of that name.
    ///
    /// # Errors
    /// The net has none.
    pub fn find(backbone: &Backbone, name: &str) -> Result<Self, TrainError> {
        for (i, stage) in backbone.stages.iter().enumerate() {
            if stage.name == name {
                return Ok(Self { stage: i, blocks: stage.blocks().count() });
            }
            if let Some(block) = stage.blocks().position(|block| block == name) {
                return Ok(Self { stage: i, blocks: block + 1 });
            }
        }
        Err(TrainError::NoPlace {
            backbone: backbone.name().to_owned(),
            name: name.to_owned(),
            stages: backbone.stages.iter().map(|stage| stage.name.to_string()).collect(),
        })
    }

    /// The name of the block whose output it is.
    #[must_use]
    pub fn name<'b>(&self, backbone: &'b Backbone) -> &'b str {
        let stage = backbone.stages.get(self.stage);
        stage.and_then(|stage| stage.blocks().nth(self.blocks.saturating_sub(1))).unwrap_or_default()
    }
}

/// What speaks for an answer in each image: for the class, label or number that is wanted, or for what the model finds
/// likeliest (of numbers the first). Computed in f32, whatever the model is computed in otherwise; its weights stay as
/// they are. The outputs of `N` images are kept at once.
///
/// # Shapes
/// `xs` is `[N, 3, H, W]`, normalised; `wanted` is `[N]`. The maps are those of the place.
///
/// # Errors
/// A name is out of range; there is no map at the place (it is behind pooling), or it does not act on the answer; or
/// libtorch refuses.
pub fn grad_cam(
    model: &Model,
    xs: &Tensor,
    place: Place,
    wanted: &[Option<usize>],
) -> Result<Vec<Heat>, TrainError> {
    let refused = |reason: String| TrainError::Explain { reason };
    let names = model.task.names() as usize;
    if let Some(odd) = wanted.iter().flatten().find(|name| **name >= names) {
        return Err(refused(format!("there is no class {odd}, expected 0 to {}", names - 1)));
    }
    let before = tch::no_grad(|| {
        let below = model.backbone.forward(xs, 0..place.stage, |_| Mode::EVAL);
        model.backbone.stages[place.stage].forward_blocks(&below, 0..place.blocks, Mode::EVAL)
    });
    let here = before.detach().set_requires_grad(true);
    let logits = tch::with_grad(|| {
        let stage = &model.backbone.stages[place.stage];
        let rest = stage.forward_blocks(&here, place.blocks..stage.blocks().count(), Mode::EVAL);
        let last = model.backbone.forward(&rest, place.stage + 1..model.stages(), |_| Mode::EVAL);
        model.head.forward(&pool(&model.backbone, &model.head, &last, None), None)
    });
    let answers = model.answers(&logits.detach());
    let likeliest = |row: &[f32]| {
        let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
        best.map_or(0, |(i, _)| i)
    };
    let names: Vec<usize> = (wanted.iter().zip(&answers))
        .map(|(wanted, row)| match (wanted, model.task) {
            (Some(name), _) => *name,
            (None, Task::Regression { .. }) => 0,
            (None, _) => likeliest(row),
        })
        .collect();
    let score = tch::with_grad(|| scores(model.task, &logits, &names));
    let gradients = Tensor::f_run_backward(&[score], &[&here], false, false);
    let gradients = gradients.map_err(|error| refused(tl_torch::short(&error.to_string())))?;
    let (Some(gradient), maps) = (gradients.first(), before) else {
        return Err(refused("the answer does not depend on it".to_owned()));
    };
    let heat = tch::no_grad(|| heat(model, (&maps, gradient), xs))?;
    let size = heat.size();
    let (height, width) = (size[1] as usize, size[2] as usize);
    let mut flat = vec![0f32; heat.numel()];
    let n = flat.len();
    heat.contiguous().view([-1]).copy_data(&mut flat, n);
    let of_image = |(i, values): (usize, &[f32])| Heat {
        height,
        width,
        values: values.to_vec(),
        name: names[i],
        answer: answers[i][names[i]],
    };
    Ok(flat.chunks(height * width).enumerate().map(of_image).collect())
}

/// The sum over the images of the output that is asked about: each image's gradient is its own.
fn scores(task: Task, logits: &Tensor, names: &[usize]) -> Tensor {
    let (outputs, signs): (Vec<i64>, Vec<f32>) = match task {
        // One output: the log-odds of the second class.
        Task::Binary => names.iter().map(|name| (0, if *name == 1 { 1.0 } else { -1.0 })).unzip(),
        _ => names.iter().map(|name| (*name as i64, 1.0)).unzip(),
    };
    let outputs = Tensor::from_slice(&outputs).view([-1, 1]).to_device(logits.device());
    let signs = Tensor::from_slice(&signs).to_device(logits.device());
    (logits.gather(1, &outputs, false).squeeze_dim(1) * signs).sum(Kind::Float)
}

/// `[N, C, h, w]` or `[N, T, C]` and its gradient to `[N, h, w]`.
fn heat(model: &Model, (maps, gradient): (&Tensor, &Tensor), xs: &Tensor) -> Result<Tensor, TrainError> {
    let as_map = |xs: &Tensor, size: (i64, i64)| match (xs.dim(), model.backbone.prefix()) {
        (3, Some(prefix)) => {
            let (n, c) = (xs.size()[0], xs.size()[2]);
            let patches = xs.narrow(1, prefix, size.0 * size.1);
            patches.transpose(1, 2).reshape([n, c, size.0, size.1])
        }
        _ => xs.shallow_clone(),
    };
    let Some(card) = model.backbone.card() else {
        return Err(TrainError::Explain { reason: "the net does not take images".to_owned() });
    };
    let patch = i64::from(card.multiple());
    let grid = (xs.size()[2] / patch, xs.size()[3] / patch);
    let (maps, gradient) = (as_map(maps, grid), as_map(gradient, grid));
    if maps.dim() != 4 {
        return Err(TrainError::Explain { reason: format!("it has no map, but {:?}", maps.size()) });
    }
    let weights = gradient.mean_dim([2i64, 3].as_slice(), true, Kind::Float);
    Ok((maps * weights).sum_dim_intlist([1i64].as_slice(), false, Kind::Float).relu())
}

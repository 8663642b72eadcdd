//! Nets on random weights and random images: forward in every way they can be computed, and steps of training.

use std::path::PathBuf;
use std::rc::Rc;

use tch::{Device, Kind, Tensor};
use tl_backbones::{Backbone, Mode, find};
use tl_data::{Preprocess, Sample};
use tl_finetune::{Metric, PartRate, Phase, Schedule};
use tl_heads::Task;
use tl_torch::{Fill, channels_last};
use tl_train::{Compute, EVAL_BATCH, Model, NewHead, Options, Repeat, TextInput};

use crate::{Group, Work, rate};

/// The nets that tutorials take, one or two of each kind.
const FORWARD: [&str; 7] = [
    "resnet50",
    "mobilenet-v2",
    "efficientnet-lite0",
    "vgg16",
    "inception-v3",
    "convnext-tiny",
    "vit-small-patch16",
];
/// Slow, fast and in between.
const STEPS: [&str; 3] = ["resnet50", "mobilenet-v2", "efficientnet-lite0"];
/// Ways of computing a pass: in bf16, compiled.
pub(crate) const WAYS: [(&str, bool, bool); 4] = [
    ("f32", false, false),
    ("f32 compiled", false, true),
    ("bf16", true, false),
    ("bf16 compiled", true, true),
];
const SIZE: u32 = 224;

fn model(name: &str) -> anyhow::Result<Model> {
    let card = find(name)?;
    let backbone = Backbone::new(card, Device::Cpu, Fill::Seed(1))?;
    let head = NewHead {
        spec: if card.tokens.is_some() { tl_heads::Pool::Class } else { tl_heads::Pool::Average }.into(),
        task: Task::Softmax { classes: 10 },
        dropout: 0.0,
        fill: Fill::Seed(1),
    };
    let classes = (0..10).map(|i| i.to_string()).collect();
    let model = Model::new(backbone, head, classes, Preprocess::imagenet(SIZE), Device::Cpu)?;
    for param in model.tensors() {
        let _ = param.tensor.set_requires_grad(false);
    }
    Ok(model)
}

fn images() -> Tensor {
    let shape = [EVAL_BATCH as i64, 3, i64::from(SIZE), i64::from(SIZE)];
    channels_last(&Tensor::rand(shape, (Kind::Float, Device::Cpu)))
}

/// From images to pooled features, without gradients.
pub(crate) fn forward() -> Vec<Group> {
    let group = |net: &'static str| Group {
        names: WAYS.iter().map(|(way, ..)| format!("forward {net} {way}")).collect(),
        unit: "images/s",
        make: Box::new(move |chosen| {
            let wanted = WAYS.iter().zip(chosen).filter(|(_, chosen)| **chosen);
            wanted.map(|((_, bf16, compiled), _)| forward_in(net, *bf16, *compiled)).collect()
        }),
    };
    FORWARD.into_iter().map(group).collect()
}

fn forward_in(net: &str, bf16: bool, compiled: bool) -> anyhow::Result<Work> {
    let mut model = model(net)?;
    model.compute = Compute { bf16, compiled, ..Compute::default() };
    let xs = images();
    Ok(Box::new(move || {
        let runner = model.runner(0..model.stages(), EVAL_BATCH, usize::MAX);
        rate(EVAL_BATCH, || {
            let _ = runner.run(&xs)?.sum(Kind::Float).double_value(&[]);
            Ok(())
        })
    }))
}

/// A step of AdamW on the head and the stages from some stage on, on kept activations of what is below.
pub(crate) fn steps() -> Vec<Group> {
    let input = |model: &Model, from: usize| {
        let xs = tch::no_grad(|| model.forward(&images(), 0, from, |_| Mode::EVAL));
        Ok(TextInput { xs, mask: None })
    };
    let groups = |net: &'static str| step_groups(net, "images/s", move || model(net), input);
    STEPS.into_iter().flat_map(groups).collect()
}

/// Steps of the last stage, half of the stages and all of them, in f32 and bf16. `input` makes what comes in at a stage.
pub(crate) fn step_groups(
    net: &'static str,
    unit: &'static str,
    model: impl Fn() -> anyhow::Result<Model> + Copy + 'static,
    input: impl Fn(&Model, usize) -> anyhow::Result<TextInput> + Copy + 'static,
) -> Vec<Group> {
    let group = |part: &'static str| Group {
        names: ["f32", "bf16"].iter().map(|way| format!("step {net} {part} {way}")).collect(),
        unit,
        make: Box::new(move |chosen| {
            let mut model = model()?;
            // By phase: the two differ by this alone.
            model.compute.training_bf16 = vec![false, true];
            let model = Rc::new(model);
            let stages = model.stages();
            let from = match part {
                "all" => 0,
                "half" => stages / 2,
                _ => stages - 1,
            };
            let ways = [0, 1].into_iter().zip(chosen).filter(|(_, chosen)| **chosen);
            ways.map(|(phase, _)| step(&model, from, phase, input)).collect()
        }),
    };
    ["last stage", "half", "all"].map(group).into()
}

/// Steps as a run does them.
fn step(
    model: &Rc<Model>,
    from: usize,
    phase: usize,
    input: impl Fn(&Model, usize) -> anyhow::Result<TextInput>,
) -> anyhow::Result<Work> {
    let part = format!("{}..", model.backbone.stages[from].name);
    let train = vec![PartRate::new(&part, 1e-5), PartRate::new("head", 1e-5)];
    let phases = ["f32", "bf16"].map(|way| Phase::new(way, train.clone(), 1)).into();
    let plan = Schedule { phases }.plan(&model.net_info(), model.head.store.count())?;
    let input = input(model, from)?;
    let classes = model.classes.len();
    let sample = |i: usize| Sample {
        path: PathBuf::new(),
        label: (i % classes) as u32,
        target: None,
        id: i as u64,
        rel: i.to_string(),
    };
    let samples: Vec<Sample> = (0..input.xs.size()[0] as usize).map(sample).collect();
    let options = Options {
        seed: 1,
        batch: samples.len(),
        label_smoothing: 0.0,
        class_weights: None,
        focal: 0.0,
        balanced_sampling: false,
        monitor: Metric::Accuracy,
        cache_budget: 0,
        store: None,
        checkpoints: None,
    };
    let model = Rc::clone(model);
    Ok(Box::new(move || {
        let input =
            TextInput { xs: input.xs.shallow_clone(), mask: input.mask.as_ref().map(Tensor::shallow_clone) };
        let mut steps = Repeat::new(&model, (&plan.phases[phase], phase), &options, input, &samples)?;
        let mut step = || {
            anyhow::ensure!(steps.step(), "the loss is none that can be learned from");
            Ok(())
        };
        // The first sets up what the others use.
        step()?;
        rate(samples.len(), step)
    }))
}

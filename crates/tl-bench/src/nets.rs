//! Nets on random weights and random images: forward in every way they can be computed, and steps of training.

use std::rc::Rc;

use tch::{Device, Kind, Tensor};
use tl_backbones::{Backbone, Mode, find};
use tl_data::Preprocess;
use tl_finetune::Optimizer as Rule;
use tl_heads::Task;
use tl_torch::{Autocast, Fill, Role, channels_last};
use tl_train::{Compute, EVAL_BATCH, Model, NewHead, Optimizer, Target};

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
const WAYS: [(&str, bool, bool); 4] = [
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
    let mut groups = Vec::new();
    for net in STEPS {
        for part in ["last stage", "half", "all"] {
            groups.push(Group {
                names: ["f32", "bf16"].iter().map(|way| format!("step {net} {part} {way}")).collect(),
                unit: "images/s",
                make: Box::new(move |chosen| {
                    let model = Rc::new(model(net)?);
                    let stages = model.stages();
                    let from = match part {
                        "all" => 0,
                        "half" => stages / 2,
                        _ => stages - 1,
                    };
                    let ways = [false, true].into_iter().zip(chosen).filter(|(_, chosen)| **chosen);
                    Ok(ways.map(|(bf16, _)| step(&model, from, bf16)).collect())
                }),
            });
        }
    }
    groups
}

fn step(model: &Rc<Model>, from: usize, bf16: bool) -> Work {
    let xs = tch::no_grad(|| model.forward(&images(), 0, from, |_| Mode::EVAL));
    let labels = Tensor::arange(EVAL_BATCH as i64, (Kind::Int64, Device::Cpu)).remainder(10);
    train(model, from, bf16, labels, move |model, _| model.forward(&xs, from, model.stages(), |_| Mode::EVAL))
}

/// Steps of AdamW on the head and the stages from `from` on; `pooled` makes the features of a batch, and is told the
/// number of the step.
pub(crate) fn train(
    model: &Rc<Model>,
    from: usize,
    bf16: bool,
    labels: Tensor,
    pooled: impl Fn(&Model, u64) -> Tensor + 'static,
) -> Work {
    let model = Rc::clone(model);
    let start = model.backbone.stages[from].params().start;
    let store = &model.backbone.store;
    let trains = |role: Role| matches!(role, Role::Weight | Role::Bias | Role::Undecayed);
    let trained = store.slice(start..store.iter().len()).iter().chain(model.head.store.iter());
    for param in trained.filter(|param| trains(param.role)) {
        let _ = param.tensor.set_requires_grad(true);
    }
    let mut optimizer = Optimizer::new(Rule::ADAMW);
    let mut number = 0;
    Box::new(move || {
        rate(labels.numel(), || {
            number += 1;
            let pooled = {
                let _bf16 = Autocast::bf16(bf16, Device::Cpu);
                pooled(&model, number).to_kind(Kind::Float)
            };
            model.head.forward(&pooled, None).cross_entropy_for_logits(&labels).backward();
            let trained = || model.tensors().filter(|param| param.tensor.requires_grad());
            let target = |param: &tl_torch::Param| (param.name.clone(), param.tensor.shallow_clone());
            let tensors: Vec<(String, Tensor)> = trained().map(target).collect();
            let targets =
                tensors.iter().map(|(name, tensor)| Target { name, tensor, rate: 1e-5, weight_decay: 0.01 });
            optimizer.step(targets, None);
            for (_, mut tensor) in tensors {
                tensor.zero_grad();
            }
            Ok(())
        })
    })
}

//! Every family of nets as ONNX: what is written is read back, every value has one maker that comes before its users, and
//! only operations of the opset are used. That outputs are the same is shown with onnxruntime by `tests/export/check.py`.

use std::collections::BTreeSet;

use prost::Message;
use tch::Device;
use tl_heads::Task;
use tl_train::Model;

use super::proto::ModelProto;
use super::*;
use crate::net::tests::{model, saved};
use crate::net::{ABOUT, About, Net};

/// What nets and heads come down to.
const OPS: &[&str] = &[
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Clip",
    "Concat",
    "Conv",
    "Div",
    "Elu",
    "Erf",
    "Expand",
    "Flatten",
    "Gather",
    "Gemm",
    "GlobalAveragePool",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "LayerNormalization",
    "LeakyRelu",
    "MatMul",
    "MaxPool",
    "Mul",
    "Neg",
    "Pow",
    "ReduceMax",
    "ReduceMean",
    "Relu",
    "Reshape",
    "Shape",
    "Sigmoid",
    "Slice",
    "Softmax",
    "Sub",
    "Tanh",
    "Transpose",
];

/// The file, if it holds together.
fn written(model: &Model, probabilities: bool) -> ModelProto {
    let saved = saved(model);
    let net = Net::trained(&saved, model, probabilities).unwrap();
    let recorded = net.record().unwrap();
    assert!(recorded.difference < 1e-4, "{}: {}", saved.backbone, recorded.difference);
    let file = ModelProto::decode(&recorded.onnx_bytes().unwrap()[..]).unwrap();
    let graph = file.graph.as_ref().unwrap();
    let mut made: BTreeSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(made.len(), graph.initializer.len(), "{}", saved.backbone);
    made.extend(graph.input.iter().map(|input| input.name.as_str()));
    for node in &graph.node {
        assert!(OPS.contains(&node.op_type.as_str()), "{}: {}", saved.backbone, node.op_type);
        for input in node.input.iter().filter(|input| !input.is_empty()) {
            assert!(made.contains(input.as_str()), "{}: {} takes {input}", saved.backbone, node.name);
        }
        for output in &node.output {
            assert!(made.insert(output), "{}: {output} is made twice", saved.backbone);
        }
    }
    assert!(graph.output.iter().all(|output| made.contains(output.name.as_str())));
    let about: About = serde_json::from_str(&file.metadata_props[0].value).unwrap();
    assert_eq!((file.metadata_props[0].key.as_str(), &about), (ABOUT, &net.about));
    file
}

#[test]
fn every_family_can_be_written() {
    let softmax = Task::Softmax { classes: 3 };
    for (net, side) in [
        ("efficientnet-lite0", 64),
        ("efficientnet-b0", 64),
        ("mobilenet-v2", 64),
        ("mobilenet-v3-small", 64),
        ("resnet18", 64),
        ("densenet121", 64),
        ("googlenet", 64),
        ("inception-v3", 96),
        ("vgg11-bn", 32),
        ("alexnet", 64),
        ("convnext-tiny", 64),
    ] {
        written(&model(net, "gap", softmax, side), false);
    }
    written(&model("vit-small-patch16", "cls", softmax, 32), false);
    // The position embedding is resized, which is a constant.
    let file = written(&model("dinov2-small", "gap", softmax, 28), false);
    let [output] = &file.graph.unwrap().output[..] else { unreachable!() };
    let shape = output.kind.clone().unwrap().tensor.unwrap().shape.unwrap();
    assert_eq!((output.name.as_str(), shape.dim.len()), ("logits", 2));
    assert_eq!((shape.dim[0].param.as_deref(), shape.dim[1].value), (Some("N"), Some(3)));
}

#[test]
fn every_head_and_answer_can_be_written() {
    for head in ["max-8-gelu", "concat-bn-drop0.25-8-silu-bn", "gem-8-tanh-8-elu", "flatten-8-leaky-8-none"] {
        written(&model("resnet18", head, Task::Binary, 64), false);
    }
    for (task, name, width) in [
        (Task::Softmax { classes: 3 }, "probabilities", 3),
        (Task::Binary, "probabilities", 2),
        (Task::MultiLabel { labels: 4 }, "probabilities", 4),
        (Task::Regression { targets: 1 }, "numbers", 1),
    ] {
        let file = written(&model("resnet18", "gap", task, 64), true);
        let output = &file.graph.as_ref().unwrap().output[0];
        let shape = output.kind.clone().unwrap().tensor.unwrap().shape.unwrap();
        assert_eq!((output.name.as_str(), shape.dim[1].value), (name, Some(width)), "{task:?}");
    }
}

#[test]
fn what_onnx_cannot_say_is_named() {
    let xs = tch::Tensor::zeros([2, 3, 4, 4], (tch::Kind::Float, Device::Cpu));
    let traced = tl_torch::Traced::record(&xs, |xs| xs.cumsum(2, None::<tch::Kind>)).unwrap();
    let shape = Shape { input: [3, 4, 4], output: ("logits", 3) };
    let error = write(&traced.graph(&xs).unwrap(), &shape, (ABOUT, "{}")).unwrap_err().to_string();
    assert!(error.contains("operation `aten::cumsum` has no counterpart"), "{error}");
    assert!(error.contains("hint: --format torchscript"), "{error}");
}

//! Every family of nets as ONNX: what is written is read back, every value has one maker that comes before its users, and
//! only operations of the opset are used. That outputs are the same is shown with onnxruntime by `tests/export/check.py`.

use std::collections::BTreeSet;

use prost::Message;
use serde_json::json;
use tch::Device;
use tl_heads::Task;
use tl_train::Model;

use super::proto::ModelProto;
use super::*;
use crate::about::{ABOUT, About};
use crate::net::Net;
use crate::net::tests::{model, saved};
use crate::text::tests::{bert, model as text_model, pretrained};

/// What nets and heads come down to.
const OPS: &[&str] = &[
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "Clip",
    "Concat",
    "Conv",
    "CumSum",
    "Div",
    "Elu",
    "Erf",
    "Expand",
    "Flatten",
    "Gather",
    "GatherElements",
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
    "Not",
    "Pow",
    "ReduceMax",
    "Reciprocal",
    "ReduceMean",
    "ReduceSum",
    "Relu",
    "Reshape",
    "Shape",
    "Sigmoid",
    "Slice",
    "Softmax",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Tanh",
    "Transpose",
    "Trilu",
    "Unsqueeze",
    "Where",
];

/// The file, if it holds together.
fn written(model: &Model, probabilities: bool) -> ModelProto {
    let saved = saved(model);
    checked(&Net::trained(&saved, model, probabilities).unwrap())
}

fn checked(net: &Net<'_>) -> ModelProto {
    let backbone = &net.about.backbone;
    let recorded = net.record().unwrap();
    assert!(recorded.difference < 1e-4, "{}: {}", backbone, recorded.difference);
    let file = ModelProto::decode(&recorded.onnx_bytes().unwrap()[..]).unwrap();
    let graph = file.graph.as_ref().unwrap();
    let mut made: BTreeSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(made.len(), graph.initializer.len(), "{}", backbone);
    made.extend(graph.input.iter().map(|input| input.name.as_str()));
    for node in &graph.node {
        assert!(OPS.contains(&node.op_type.as_str()), "{}: {}", backbone, node.op_type);
        for input in node.input.iter().filter(|input| !input.is_empty()) {
            assert!(made.contains(input.as_str()), "{}: {} takes {input}", backbone, node.name);
        }
        for output in &node.output {
            assert!(made.insert(output), "{}: {output} is made twice", backbone);
        }
    }
    assert!(graph.output.iter().all(|output| made.contains(output.name.as_str())));
    let about: About = serde_json::from_str(&file.metadata_props[0].value).unwrap();
    assert_eq!((file.metadata_props[0].key.as_str(), &about), (ABOUT, &net.about));
    file
}

/// Numbers and lengths of texts stay open, and nothing in the graph is a size of the recording.
#[test]
fn every_family_of_text_nets_can_be_written() {
    let mut nets: Vec<(serde_json::Value, &str)> =
        ["bert", "roberta", "xlm-roberta", "camembert", "electra", "albert"]
            .map(|family| (bert(family), "cls"))
            .into();
    nets.push((
        json!({ "model_type": "distilbert", "vocab_size": 50, "dim": 16, "n_layers": 2, "n_heads": 2,
            "hidden_dim": 24, "max_position_embeddings": 40, "pad_token_id": 0 }),
        "concat-8-silu",
    ));
    let gpt2 = json!({ "model_type": "gpt2", "vocab_size": 50, "n_embd": 16, "n_layer": 2, "n_head": 2,
        "n_positions": 40 });
    nets.extend([(gpt2.clone(), "last"), (gpt2, "gem")]);
    for (family, form) in [("t5", "relu"), ("mt5", "gated-gelu")] {
        let t5 = json!({ "model_type": family, "vocab_size": 50, "d_model": 16, "d_kv": 6, "d_ff": 24,
            "num_layers": 2, "num_heads": 2, "feed_forward_proj": form });
        nets.push((t5, "gap-bn"));
    }
    for (config, head) in nets {
        let model = text_model(&config, head, Task::Softmax { classes: 3 });
        let net = Net::of(&model, pretrained(), "0.1.0", false).unwrap();
        let graph = checked(&net).graph.unwrap();
        let params = |value: &super::proto::ValueInfo| -> Vec<Option<String>> {
            let shape = value.kind.clone().unwrap().tensor.unwrap().shape.unwrap();
            shape.dim.into_iter().map(|dim| dim.param).collect()
        };
        let open = |name: &str| Some(name.to_owned());
        assert!(graph.input.iter().all(|input| params(input) == [open("N"), open("T")]), "{config}");
        assert_eq!(params(&graph.output[0]), [open("N"), None], "{config}");
        checked(&Net::embeddings(&model, pretrained(), "0.1.0").unwrap());
    }
    // An answer for each token.
    let model = text_model(&bert("bert"), "tokens", Task::Softmax { classes: 3 });
    let file = checked(&Net::of(&model, pretrained(), "0.1.0", true).unwrap());
    let shape = file.graph.unwrap().output[0].kind.clone().unwrap().tensor.unwrap().shape.unwrap();
    assert_eq!((shape.dim.len(), shape.dim[1].param.as_deref()), (3, Some("T")));
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
    let traced = tl_torch::Traced::record(&xs, |xs| xs.logcumsumexp(2)).unwrap();
    let (inputs, output) = ([Value::floats("images", &[Dim::Of(3)])], Value::floats("logits", &[Dim::Of(3)]));
    let graph = traced.graph(&[&xs]).unwrap();
    let error = write(&graph, (&inputs, &output), (ABOUT, "{}")).unwrap_err().to_string();
    assert!(error.contains("operation `aten::logcumsumexp` has no counterpart"), "{error}");
    assert!(error.contains("hint: --format torchscript"), "{error}");
}

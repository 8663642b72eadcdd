//! The names that transformers saves of text nets, with and without heads: each file fits its net with nothing missing
//! and nothing left over. The list is made by `tests/golden/make_text_nets.py`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use tch::{Device, Tensor};
use tl_backbones::Backbone;
use tl_weights::{DType, write_safetensors};

use crate::text::config;

/// Names and shapes of tensors.
type Tensors = Vec<(String, Vec<usize>)>;

/// By net and class.
fn saved() -> Vec<(String, Tensors)> {
    let mut text = String::new();
    let zipped = include_bytes!("../data/text_names.txt.gz");
    flate2::read::GzDecoder::new(&zipped[..]).read_to_string(&mut text).unwrap();
    let mut files: Vec<(String, Tensors)> = Vec::new();
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("# ") {
            files.push((head.to_owned(), Vec::new()));
            continue;
        }
        let (name, shape) = line.split_once(' ').unwrap();
        let shape = shape.split(',').filter(|n| !n.is_empty()).map(|n| n.parse().unwrap()).collect();
        files.last_mut().unwrap().1.push((name.to_owned(), shape));
    }
    files
}

/// Every tensor of the file has the value 0.5.
fn write(path: &Path, tensors: &[(String, Vec<usize>)]) {
    let tensors = tensors.iter().map(|(name, shape)| {
        let n: usize = shape.iter().product();
        (name.clone(), DType::F32, shape.clone(), 0.5f32.to_le_bytes().repeat(n))
    });
    write_safetensors(path, tensors, &BTreeMap::new()).unwrap();
}

#[test]
fn files_of_transformers_fit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let mut poolers = 0;
    for (head, tensors) in saved() {
        let (net, class) = head.split_once(' ').unwrap();
        write(&path, &tensors);
        let loaded = Backbone::load_text(net, &config(net), &path, Device::Cpu);
        let loaded = loaded.unwrap_or_else(|error| panic!("{head}: {error}"));
        let half = Tensor::from(0.5f32);
        assert!(
            loaded.backbone.store.iter().all(|p| p.tensor.equal(&half.expand(p.tensor.size(), false))),
            "{head}"
        );
        let has_head = class.contains("For") || class.contains("LMHead") || loaded.pooler.is_some();
        assert_eq!(!loaded.set_aside.is_empty(), has_head, "{head}: {:?}", loaded.set_aside);
        poolers += usize::from(loaded.pooler.is_some());
    }
    assert!(poolers >= 4);
}

#[test]
fn old_names_are_understood_and_others_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let (_, tensors) = saved().into_iter().find(|(head, _)| head == "bert BertForPreTraining").unwrap();
    let old = |(name, shape): &(String, Vec<usize>)| {
        let name =
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta");
        (name, shape.clone())
    };
    let mut tensors: Vec<_> = tensors.iter().map(old).collect();
    tensors.push(("bert.embeddings.position_ids".to_owned(), vec![1, 40]));
    write(&path, &tensors);
    Backbone::load_text("bert", &config("bert"), &path, Device::Cpu).unwrap();

    tensors.retain(|(name, _)| name != "bert.encoder.layer.1.output.dense.bias");
    tensors.push(("bert.encoder.layer.7.output.dense.bias".to_owned(), vec![32]));
    write(&path, &tensors);
    let error = Backbone::load_text("bert", &config("bert"), &path, Device::Cpu).unwrap_err().to_string();
    assert!(error.contains("`encoder.layer.1.output.dense.bias`"), "{error}");
    assert!(error.contains("`bert.encoder.layer.7.output.dense.bias`"), "{error}");
}

//! The names that torchvision and timm save, for every net that they have: each file's tensors fit exactly one net's,
//! with nothing missing and nothing left over. The list is made by `tests/golden/make_backbones.py`.

use std::collections::BTreeMap;
use std::io::Read;

use tch::Device;
use tl_backbones::{Backbone, CARDS, Card, Weights, find};
use tl_torch::Fill;
use tl_weights::{Rename, Source};

/// What a library saves of a net.
struct Saved {
    card: String,
    library: String,
    /// Names and shapes.
    tensors: Vec<(String, Vec<i64>)>,
}

fn published() -> Vec<Saved> {
    let mut text = String::new();
    let zipped = include_bytes!("../data/names.txt.gz");
    flate2::read::GzDecoder::new(&zipped[..]).read_to_string(&mut text).unwrap();
    let mut files: Vec<Saved> = Vec::new();
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("# ") {
            let (card, library) = head.split_once(' ').unwrap();
            let (card, library) = (card.to_owned(), library.to_owned());
            files.push(Saved { card, library, tensors: Vec::new() });
            continue;
        }
        let (name, shape) = line.split_once(' ').unwrap();
        let shape = shape.split(',').filter(|n| !n.is_empty()).map(|n| n.parse().unwrap()).collect();
        files.last_mut().unwrap().tensors.push((name.to_owned(), shape));
    }
    files
}

/// Rows of the card whose files that library writes.
fn rows<'a>(card: &'a Card, library: &'a str) -> impl Iterator<Item = &'a Weights> {
    card.weights.iter().filter(move |weights| match &weights.source {
        Source::Hub { .. } => library == "timm",
        Source::Url { .. } => library == "torchvision",
        _ => false,
    })
}

#[test]
fn published_files_fit_with_nothing_missing_and_nothing_left_over() {
    let mut seen = 0;
    for Saved { card: name, library, tensors } in published() {
        let card = find(&name).unwrap();
        let net = match card.top {
            Some(_) => {
                Backbone::with_classifier(card, &card.weights[0], 1000, (Device::Cpu, Fill::Later)).unwrap().0
            }
            None => Backbone::new(card, Device::Cpu, Fill::Later).unwrap(),
        };
        let numel = |shape: &[i64]| shape.iter().product::<i64>();
        let expected: BTreeMap<&str, i64> =
            net.store.iter().map(|param| (param.name.as_str(), param.tensor.numel() as i64)).collect();
        // ResNet, DenseNet and Inception are saved under the same names by both.
        let mut checked: Vec<&Weights> = rows(card, &library).collect();
        if checked.is_empty() {
            checked = card.weights.iter().collect();
        }
        for weights in checked {
            let mut got = BTreeMap::new();
            for (file_name, shape) in &tensors {
                if let Rename::To(renamed) = (weights.rename)(file_name) {
                    let before = got.insert(renamed, numel(shape));
                    assert!(before.is_none(), "{name} {}: {file_name} comes twice", weights.name);
                }
            }
            let got: BTreeMap<&str, i64> = got.iter().map(|(name, n)| (name.as_str(), *n)).collect();
            let odd: Vec<_> = got
                .iter()
                .filter(|(name, n)| expected.get(*name) != Some(n))
                .chain(expected.iter().filter(|(name, n)| got.get(*name) != Some(n)))
                .take(5)
                .collect();
            assert!(odd.is_empty(), "{name} {library} {}: {odd:?}", weights.name);
            seen += 1;
        }
    }
    assert!(seen >= CARDS.len());
}

/// torchvision's oldest files, which its current code does not write any more.
#[test]
fn old_spellings_are_understood() {
    let rename = |card: &str, name: &str| {
        let weights = find(card).unwrap().weights.iter().find(|weights| weights.name == "torchvision-v1");
        (weights.unwrap().rename)(name)
    };
    let to = |name: &str| Rename::To(name.to_owned());
    assert_eq!(
        rename("densenet121", "features.denseblock1.denselayer2.norm.1.running_mean"),
        to("features.denseblock1.denselayer2.norm1.running_mean")
    );
    assert_eq!(
        rename("vit-base-patch16", "encoder.layers.encoder_layer_11.mlp.linear_2.bias"),
        to("blocks.11.mlp.fc2.bias")
    );
}

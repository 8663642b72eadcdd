//! What leaves: a net from a batch of normalised images to its answers, and what has to be known to use it.
//!
//! The decision behind it: the recording takes batches of any size and images of one size, and is compared with the net
//! itself, on another number of images than it was recorded with, before anything is written.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use tl_backbones::{BackboneError, Card, Loaded, Mode};
use tl_data::{Preprocess, TargetStats};
use tl_heads::Task;
use tl_torch::Traced;
use tl_train::{Model, Pretrained, SavedModel};
use tl_weights::Written;

use crate::error::{ExportError, io};
use crate::files::{Existing, write_file};
use crate::onnx;

/// Name of the description inside a TorchScript file, and its key among the metadata of an ONNX file.
pub const ABOUT: &str = "tl.json";
/// Name of the input of an ONNX net.
pub const INPUT: &str = "images";
/// The most that a recording may differ from the net; rounding makes about 1e-6.
const TOLERANCE: f64 = 1e-3;

/// What the outputs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outputs {
    /// As they come from the last layer: `[N, classes]`, `[N, labels]`, or `[N, 1]`, the log-odds of the second class.
    Logits,
    /// Of each class or label, `[N, classes]`.
    Probabilities,
    /// In their own units, `[N, numbers]`.
    Numbers,
}

impl Outputs {
    /// The name of the output of an ONNX net.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Logits => "logits",
            Self::Probabilities => "probabilities",
            Self::Numbers => "numbers",
        }
    }
}

/// What has to be known to use an exported net: `tl.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// Version of this format.
    pub format: u32,
    /// What the model does: `image-classification`, `image-multi-label-classification` or `image-regression`.
    pub task: String,
    /// Name of the net.
    pub backbone: String,
    /// What the outputs are.
    pub outputs: Outputs,
    /// Names of what it answers about: classes in label order, labels, or numbers. With one output for two classes, the
    /// output is about the second.
    pub classes: Vec<String>,
    /// What the net takes.
    pub input: Input,
    /// How an image becomes that: short side to `resize`, centre crop of `input`, values to 0..1, minus `mean`, by `std`.
    pub preprocess: Preprocess,
    /// What the net started from, with the licence.
    pub pretrained: Pretrained,
    /// Version of the program that wrote it.
    pub version: String,
}

/// The input of a net.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Its dimensions in order, without their sizes.
    pub layout: String,
    /// What the channels are.
    pub channels: String,
    /// Type of its values.
    pub dtype: String,
    /// Sizes of the dimensions behind the first, which is the number of images: any.
    pub shape: [i64; 3],
}

impl Input {
    fn of(side: u32) -> Self {
        let side = i64::from(side);
        let [layout, channels, dtype] = ["NCHW", "RGB", "float32"].map(str::to_owned);
        Self { layout, channels, dtype, shape: [3, side, side] }
    }
}

/// A net that is to leave.
pub struct Net<'a> {
    /// What has to be known to use it.
    pub about: About,
    forward: Box<dyn Fn(&Tensor) -> Tensor + 'a>,
    device: Device,
}

impl std::fmt::Debug for Net<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Net").field("about", &self.about).finish_non_exhaustive()
    }
}

impl<'a> Net<'a> {
    /// A model that was saved, with its description.
    ///
    /// # Errors
    /// It does not take images.
    pub fn trained(saved: &SavedModel, model: &'a Model, probabilities: bool) -> Result<Self, ExportError> {
        let net = Self::of(model, saved.pretrained.clone(), &saved.version, probabilities)?;
        let about = About { backbone: saved.backbone.clone(), task: saved.task.clone(), ..net.about };
        Ok(Self { about, ..net })
    }

    /// A model. Numbers leave in their own units, whatever `probabilities` says; `version` is that of the program.
    ///
    /// # Errors
    /// It does not take images.
    pub fn of(
        model: &'a Model,
        pretrained: Pretrained,
        version: &str,
        probabilities: bool,
    ) -> Result<Self, ExportError> {
        let preprocess = model.preprocess()?;
        let outputs = match model.task {
            Task::Regression { .. } => Outputs::Numbers,
            _ if probabilities => Outputs::Probabilities,
            _ => Outputs::Logits,
        };
        let task = match model.task {
            Task::Softmax { .. } | Task::Binary => "image-classification",
            Task::MultiLabel { .. } => "image-multi-label-classification",
            Task::Regression { .. } => "image-regression",
            // Such a net takes no images, and was refused above.
            Task::Tagging { .. } => "token-classification",
        };
        let about = About {
            format: 1,
            task: task.to_owned(),
            backbone: model.backbone.name().to_owned(),
            outputs,
            classes: model.classes.clone(),
            input: Input::of(preprocess.input),
            preprocess,
            pretrained,
            version: version.to_owned(),
        };
        let forward = move |xs: &Tensor| {
            let features = model.forward(xs, 0, model.stages(), |_| Mode::EVAL);
            answers(model, outputs, &model.head.forward(&features, None))
        };
        Ok(Self { about, forward: Box::new(forward), device: model.device })
    }

    /// A published net with its own classifier.
    ///
    /// # Errors
    /// It was loaded without one.
    pub fn published(
        (card, loaded): (&'static Card, &'a Loaded),
        (classes, preprocess): (Vec<String>, Preprocess),
        (pretrained, version): (Pretrained, &str),
        probabilities: bool,
    ) -> Result<Self, ExportError> {
        let classifier =
            loaded.classifier.as_ref().ok_or(BackboneError::NoClassifier { backbone: card.name })?;
        let outputs = if probabilities { Outputs::Probabilities } else { Outputs::Logits };
        let about = About {
            format: 1,
            task: "image-classification".to_owned(),
            backbone: card.name.to_owned(),
            outputs,
            classes,
            input: Input::of(preprocess.input),
            preprocess,
            pretrained,
            version: version.to_owned(),
        };
        let forward = move |xs: &Tensor| {
            let logits = classifier.forward(&loaded.backbone, &loaded.backbone.features(xs));
            if probabilities { logits.softmax(1, None::<Kind>) } else { logits }
        };
        let device = loaded.backbone.store.iter().next().map_or(Device::Cpu, |param| param.tensor.device());
        Ok(Self { about, forward: Box::new(forward), device })
    }

    /// Answers, without gradients.
    ///
    /// # Shapes
    /// Normalised images `[N, 3, S, S]` to `[N, outputs]`.
    pub fn forward(&self, images: &Tensor) -> Tensor {
        tch::no_grad(|| (self.forward)(images))
    }

    /// Records it, and compares the recording with the net.
    ///
    /// # Errors
    /// libtorch cannot record it, or the recording differs.
    pub fn record(&self) -> Result<Recorded<'_>, ExportError> {
        let traced = Traced::record(&self.images(2, "record"), &self.forward)?;
        // Another number of images than was recorded, so that a net that has taken it for a constant is found out.
        let images = self.images(3, "compare");
        let (expected, got) = (self.forward(&images), traced.run(&images)?);
        let difference = if got.size() == expected.size() {
            let root = |xs: &Tensor| xs.square().mean(Kind::Double).sqrt().double_value(&[]);
            root(&(&got - &expected)) / root(&expected).max(f64::MIN_POSITIVE)
        } else {
            f64::INFINITY
        };
        if difference.is_nan() || difference > TOLERANCE {
            return Err(ExportError::Differs { difference });
        }
        Ok(Recorded { net: self, traced, difference })
    }

    fn images(&self, n: i64, name: &str) -> Tensor {
        let [c, h, w] = self.about.input.shape;
        let values = tl_torch::uniform(1, name, (n * c * h * w) as usize, 2.0);
        Tensor::from_slice(&values).view([n, c, h, w]).to_device(self.device)
    }
}

/// What a model says of its outputs.
fn answers(model: &Model, outputs: Outputs, logits: &Tensor) -> Tensor {
    match (outputs, &model.target_stats) {
        (Outputs::Logits, _) | (Outputs::Numbers, None) => logits.shallow_clone(),
        (Outputs::Probabilities, _) => model.task.probabilities(logits),
        (Outputs::Numbers, Some(TargetStats { mean, std })) => {
            let row =
                |values: &[f64]| Tensor::from_slice(values).to_kind(Kind::Float).to_device(model.device);
            logits * row(std) + row(mean)
        }
    }
}

/// A net as libtorch recorded it.
#[derive(Debug)]
pub struct Recorded<'a> {
    net: &'a Net<'a>,
    traced: Traced,
    /// Root mean square of its difference from the net, by that of the outputs.
    pub difference: f64,
}

impl Recorded<'_> {
    /// Writes TorchScript, for `torch.jit.load` and libtorch, with the description inside as the extra file [`ABOUT`].
    /// Its `forward` takes float32 `[N, 3, S, S]`, in either memory layout.
    ///
    /// # Errors
    /// The file exists and stays; the disk refuses.
    pub fn torchscript(&self, path: &Path, existing: Existing) -> Result<Written, ExportError> {
        let about = self.about();
        write_file(path, existing, |path| Ok(self.traced.save(path, ABOUT, &about)?))
    }

    /// Writes ONNX (opset 17), with the description among the metadata as [`ABOUT`].
    ///
    /// # Errors
    /// An operation has no counterpart; the file exists and stays; the disk refuses.
    pub fn onnx(&self, path: &Path, existing: Existing) -> Result<Written, ExportError> {
        let bytes = self.onnx_bytes()?;
        write_file(path, existing, |path| std::fs::write(path, &bytes).map_err(io("write", path)))
    }

    /// The bytes of that file.
    ///
    /// # Errors
    /// An operation has no counterpart.
    pub fn onnx_bytes(&self) -> Result<Vec<u8>, ExportError> {
        let (about, example) = (&self.net.about, self.net.images(1, "example"));
        let width = self.traced.run(&example)?.size()[1];
        let shape = onnx::Shape { input: about.input.shape, output: (about.outputs.name(), width) };
        onnx::write(&self.traced.graph(&example)?, &shape, (ABOUT, &self.about()))
    }

    fn about(&self) -> String {
        serde_json::to_string_pretty(&self.net.about).unwrap_or_default()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use tl_backbones::{Backbone, find};
    use tl_torch::Fill;
    use tl_train::NewHead;

    use super::*;

    /// A description as a run would have left it.
    pub(crate) fn saved(model: &Model) -> SavedModel {
        let pretrained = Pretrained {
            name: "in1k".to_owned(),
            source: "package x".to_owned(),
            sha256: "0".repeat(64),
            licence: "Apache-2.0".to_owned(),
        };
        SavedModel {
            format: 3,
            task: "image-classification".to_owned(),
            backbone: model.backbone.name().to_owned(),
            weights: String::new(),
            head: model.head.spec.clone(),
            outputs: Some(model.task),
            dropout: model.head.dropout,
            classes: model.classes.clone(),
            target_stats: model.target_stats.clone(),
            preprocess: model.preprocess().ok(),
            text: None,
            pretrained,
            sha256: "0".repeat(64),
            version: "0.1.0".to_owned(),
        }
    }

    pub(crate) fn model(net: &str, head: &str, task: Task, side: u32) -> Model {
        let backbone = Backbone::new(find(net).unwrap(), Device::Cpu, Fill::Seed(1)).unwrap();
        let names = (0..task.names()).map(|i| format!("class {i}")).collect();
        let head = NewHead { spec: head.parse().unwrap(), task, dropout: 0.1, fill: Fill::Seed(2) };
        Model::new(backbone, head, names, Preprocess::imagenet(side), Device::Cpu).unwrap()
    }

    #[test]
    fn torchscript_comes_back_with_the_same_outputs_for_any_batch() {
        let dir = tempfile::tempdir().unwrap();
        for (net, head, side) in [("efficientnet-lite0", "gap", 64), ("vit-small-patch16", "cls", 32)] {
            let model = model(net, head, Task::Softmax { classes: 3 }, side);
            let saved = saved(&model);
            let net = Net::trained(&saved, &model, true).unwrap();
            let path = dir.path().join(format!("{}.pt", saved.backbone));
            net.record().unwrap().torchscript(&path, Existing::Keep).unwrap();
            let (loaded, text) = Traced::load(&path, ABOUT).unwrap();
            assert_eq!(serde_json::from_str::<About>(&text).unwrap(), net.about);
            for n in [1, 5] {
                let images = net.images(n, "test");
                let (expected, got) = (net.forward(&images), loaded.run(&images).unwrap());
                assert!(expected.allclose(&got, 1e-4, 1e-6, false), "{}", saved.backbone);
                assert!(
                    (got.sum_dim_intlist(1, false, Kind::Float) - 1.0).abs().max().double_value(&[]) < 1e-5
                );
            }
            let error = net.record().unwrap().torchscript(&path, Existing::Keep).unwrap_err().to_string();
            assert!(error.contains("exists") && error.contains("--force"), "{error}");
            net.record().unwrap().torchscript(&path, Existing::Replace).unwrap();
        }
        let left: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }

    #[test]
    fn numbers_leave_in_their_own_units() {
        let stats = TargetStats { mean: vec![30.0], std: vec![7.0] };
        let model =
            model("resnet18", "gap", Task::Regression { targets: 1 }, 64).with_target_stats(stats).unwrap();
        let saved = saved(&model);
        let net = Net::trained(&saved, &model, false).unwrap();
        let images = net.images(2, "test");
        let logits = model.classify(&model.forward(&images, 0, model.stages(), |_| Mode::EVAL));
        assert_eq!(net.about.outputs, Outputs::Numbers);
        let (expected, got) = (model.answers(&logits), net.forward(&images));
        for (i, row) in expected.iter().enumerate() {
            assert!((f64::from(row[0]) - got.double_value(&[i as i64, 0])).abs() < 1e-4);
        }
    }
}

//! What leaves: a net from a batch of inputs to its answers.
//!
//! The decision behind it: the recording takes batches of any size, images of one size and texts of any length, and is
//! compared with the net itself, on other sizes than it was recorded with, before anything is written.

use std::path::Path;

use tch::{Device, Kind, Tensor};
use tl_backbones::{BackboneError, Card, Loaded, Mode};
use tl_data::{Preprocess, TargetStats};
use tl_heads::Task;
use tl_torch::Traced;
use tl_train::{Model, Pretrained, Reads, SavedModel};
use tl_weights::Written;

use crate::about::{ABOUT, About, INPUT, Input, Outputs, TextInput};
use crate::error::{ExportError, io};
use crate::files::{Existing, write_file};
use crate::onnx;
use crate::text::{Tokens, embed};

/// The most that a recording may differ from the net; rounding makes about 1e-6.
const TOLERANCE: f64 = 1e-3;

/// From inputs to answers.
type Pass<'a> = dyn Fn(&[Tensor]) -> Tensor + 'a;

/// A net that is to leave.
pub struct Net<'a> {
    /// What has to be known to use it.
    pub about: About,
    forward: Box<Pass<'a>>,
    takes: Takes,
    device: Device,
}

/// What stands for inputs when a net is recorded.
enum Takes {
    /// Of this side.
    Images(i64),
    Texts(Tokens),
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
    /// It does not take what the description says.
    pub fn trained(saved: &SavedModel, model: &'a Model, probabilities: bool) -> Result<Self, ExportError> {
        let mut net = Self::of(model, saved.pretrained.clone(), &saved.version, probabilities)?;
        net.about.backbone.clone_from(&saved.backbone);
        net.about.task.clone_from(&saved.task);
        if let (Some(input), Some(text)) = (&mut net.about.text, &saved.text) {
            input.tokenizer.clone_from(&text.tokenizer);
        }
        Ok(net)
    }

    /// A model of images or texts. Numbers leave in their own units, whatever `probabilities` says; probabilities are those
    /// at the model's temperature, logits are not divided by it. `version` is that of the program.
    ///
    /// # Errors
    /// It takes neither images nor texts.
    pub fn of(
        model: &'a Model,
        pretrained: Pretrained,
        version: &str,
        probabilities: bool,
    ) -> Result<Self, ExportError> {
        let outputs = match model.task {
            Task::Regression { .. } => Outputs::Numbers,
            _ if probabilities => Outputs::Probabilities,
            _ => Outputs::Logits,
        };
        let does = match model.task {
            Task::Softmax { .. } | Task::Binary => "classification",
            Task::MultiLabel { .. } => "multi-label-classification",
            Task::Regression { .. } => "regression",
            Task::Tagging { .. } => "token-classification",
        };
        if let Some(text) = model.backbone.text_net() {
            let input = TextInput::of(&text.config, max_length(model), Vec::new());
            let says = (format!("text-{does}"), outputs, model.classes.clone());
            let said = answers(model, outputs);
            let head = move |pooled: &Tensor| said(&model.head.forward(pooled, None));
            return Ok(Self::texts(model, input, says, (pretrained, version), Box::new(head)));
        }
        let preprocess = model.preprocess()?;
        let about = About {
            format: 1,
            task: format!("image-{does}"),
            backbone: model.backbone.name().to_owned(),
            outputs,
            temperature: temperature(model, outputs),
            classes: model.classes.clone(),
            input: Some(Input::of(preprocess.input)),
            preprocess: Some(preprocess),
            text: None,
            pretrained,
            version: version.to_owned(),
        };
        let said = answers(model, outputs);
        let forward = move |inputs: &[Tensor]| {
            let features = model.forward(&inputs[0], 0, model.stages(), |_| Mode::EVAL);
            said(&model.head.forward(&features, None))
        };
        let takes = Takes::Images(preprocess.input.into());
        Ok(Self { about, forward: Box::new(forward), takes, device: model.device })
    }

    /// The pooled features of a model of texts, in place of its answers.
    ///
    /// # Errors
    /// It takes images.
    pub fn embeddings(model: &'a Model, pretrained: Pretrained, version: &str) -> Result<Self, ExportError> {
        let Some(text) = model.backbone.text_net() else {
            return Err(ExportError::Transformers {
                reason: format!("`{}` takes images", model.backbone.name()),
                hint: "`tl features` writes pooled features of images",
            });
        };
        let input = TextInput::of(&text.config, max_length(model), Vec::new());
        let says = ("text-embedding".to_owned(), Outputs::Embeddings, Vec::new());
        Ok(Self::texts(model, input, says, (pretrained, version), Box::new(Tensor::shallow_clone)))
    }

    fn texts(
        model: &'a Model,
        input: TextInput,
        (task, outputs, classes): (String, Outputs, Vec<String>),
        (pretrained, version): (Pretrained, &str),
        head: Box<dyn Fn(&Tensor) -> Tensor + 'a>,
    ) -> Self {
        let config = model.backbone.text_net().map(|net| &net.config);
        let takes = Takes::Texts(Tokens {
            vocabulary: config.map_or(1, |config| config.vocabulary),
            most: config.and_then(|config| config.max_tokens()).unwrap_or(i64::MAX),
            types: input.has_types(),
        });
        let forward = move |inputs: &[Tensor]| head(&embed(model, inputs));
        let about = About {
            format: 1,
            task,
            backbone: model.backbone.name().to_owned(),
            outputs,
            temperature: temperature(model, outputs),
            classes,
            input: None,
            preprocess: None,
            text: Some(input),
            pretrained,
            version: version.to_owned(),
        };
        Self { about, forward: Box::new(forward), takes, device: model.device }
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
            temperature: None,
            classes,
            input: Some(Input::of(preprocess.input)),
            preprocess: Some(preprocess),
            text: None,
            pretrained,
            version: version.to_owned(),
        };
        let forward = move |inputs: &[Tensor]| {
            let logits = classifier.forward(&loaded.backbone, &loaded.backbone.features(&inputs[0]));
            if probabilities { logits.softmax(1, None::<Kind>) } else { logits }
        };
        let device = loaded.backbone.store.iter().next().map_or(Device::Cpu, |param| param.tensor.device());
        let takes = Takes::Images(preprocess.input.into());
        Ok(Self { about, forward: Box::new(forward), takes, device })
    }

    /// Answers, without gradients.
    ///
    /// # Shapes
    /// Normalised images `[N, 3, S, S]`, or the inputs of [`TextInput::inputs`], to `[N, outputs]`.
    pub fn forward(&self, inputs: &[Tensor]) -> Tensor {
        tch::no_grad(|| (self.forward)(inputs))
    }

    /// Records it, and compares the recording with the net.
    ///
    /// # Errors
    /// libtorch cannot record it, or the recording differs.
    pub fn record(&self) -> Result<Recorded<'_>, ExportError> {
        let examples = self.inputs((2, 7), "record");
        let named: Vec<(&str, &Tensor)> = self.names().into_iter().zip(&examples).collect();
        let traced = Traced::record_named(&named, &self.forward)?;
        // Other sizes than were recorded, so that a net that has taken one for a constant is found out.
        let inputs = self.inputs((3, 11), "compare");
        let (expected, got) = (self.forward(&inputs), traced.run_all(&inputs.iter().collect::<Vec<_>>())?);
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

    /// The names of its inputs.
    fn names(&self) -> Vec<&str> {
        match &self.about.text {
            Some(text) => text.inputs.iter().map(String::as_str).collect(),
            None => vec![INPUT],
        }
    }

    /// So many inputs; texts of up to so many tokens.
    fn inputs(&self, (n, tokens): (i64, i64), name: &str) -> Vec<Tensor> {
        match &self.takes {
            Takes::Images(side) => {
                let values = tl_torch::uniform(1, name, (n * 3 * side * side) as usize, 2.0);
                vec![Tensor::from_slice(&values).view([n, 3, *side, *side]).to_device(self.device)]
            }
            Takes::Texts(texts) => texts.inputs(n, tokens, name, self.device),
        }
    }
}

/// The most tokens of a text that a model was made for.
fn max_length(model: &Model) -> usize {
    match model.reads {
        Reads::Texts { max_length } => max_length,
        Reads::Images(_) => 0,
    }
}

/// What the logits are divided by where probabilities leave.
fn temperature(model: &Model, outputs: Outputs) -> Option<f64> {
    model.temperature.filter(|_| outputs == Outputs::Probabilities)
}

/// What a model says of its outputs. The scale of numbers is made here and not while a net is recorded, which would take it
/// for zeros.
fn answers(model: &Model, outputs: Outputs) -> impl Fn(&Tensor) -> Tensor {
    let row = |values: &[f64]| Tensor::from_slice(values).to_kind(Kind::Float).to_device(model.device);
    let scale = match (&model.target_stats, outputs) {
        (Some(TargetStats { mean, std }), Outputs::Numbers) => Some((row(mean), row(std))),
        _ => None,
    };
    let (task, temperature) = (model.task, temperature(model, outputs));
    move |logits| match (outputs, &scale) {
        (Outputs::Probabilities, _) => match temperature {
            Some(temperature) => task.probabilities(&(logits / temperature)),
            None => task.probabilities(logits),
        },
        (_, Some((mean, std))) => logits * std + mean,
        (_, None) => logits.shallow_clone(),
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
    /// Its `forward` takes float32 `[N, 3, S, S]`, in either memory layout; of texts int64 `[N, T]`, as named in
    /// [`TextInput::inputs`].
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
        let examples = self.net.inputs((1, 5), "example");
        let examples: Vec<&Tensor> = examples.iter().collect();
        let graph = self.traced.graph(&examples)?;
        let size = self.traced.run_all(&examples)?.size();
        let last = size.last().copied().unwrap_or_default();
        let inputs = match self.net.takes {
            Takes::Images(side) => {
                vec![onnx::Value::floats(INPUT, &[side_of(3), side_of(side), side_of(side)])]
            }
            Takes::Texts(_) => self
                .net
                .names()
                .into_iter()
                .map(|name| onnx::Value::integers(name, &[onnx::tokens()]))
                .collect(),
        };
        // Answers for each token have one dimension more.
        let rest = if size.len() == 3 { vec![onnx::tokens(), side_of(last)] } else { vec![side_of(last)] };
        let output = onnx::Value::floats(self.net.about.outputs.name(), &rest);
        onnx::write(&graph, (&inputs, &output), (ABOUT, &self.about()))
    }

    fn about(&self) -> String {
        serde_json::to_string_pretty(&self.net.about).unwrap_or_default()
    }
}

/// A dimension of that size.
fn side_of(size: i64) -> onnx::Dim {
    onnx::Dim::Of(size)
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
            temperature: None,
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
                let images = net.inputs((n, 0), "test");
                let (expected, got) = (net.forward(&images), loaded.run(&images[0]).unwrap());
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
        let images = net.inputs((2, 0), "test");
        let logits = model.classify(&model.forward(&images[0], 0, model.stages(), |_| Mode::EVAL));
        assert_eq!(net.about.outputs, Outputs::Numbers);
        let (expected, got) = (model.answers(&logits), net.forward(&images));
        let recorded = net.record().unwrap().traced.run(&images[0]).unwrap();
        for (i, row) in expected.iter().enumerate() {
            for got in [&got, &recorded] {
                assert!((f64::from(row[0]) - got.double_value(&[i as i64, 0])).abs() < 1e-4);
            }
        }
    }
}

//! A folder that transformers, or sentence-transformers, loads: `config.json`, `model.safetensors`, the tokenizer.
//!
//! The decision behind it: a model is written as the class of transformers that computes the same, and where there is
//! none, because the class has another pooling or fewer layers, as the modules of sentence-transformers, which can be
//! strung together. What neither can say is an error; nothing is approximated.

mod head;
mod sentence;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tch::Tensor;
use tl_backbones::text::{Family, TextConfig};
use tl_heads::Task;
use tl_train::Model;
use tl_weights::DType;

use crate::about::{ABOUT, About, IDS, MASK, TYPES};
use crate::error::ExportError;
use crate::files::Folder;
use crate::timm::CONFIG;
use crate::values::bytes;
use head::{Layer, layers, published_head};

const TENSORS: &str = "model.safetensors";
const OTHERWISE: &str = "--format torchscript and --format onnx take every net and every head";

/// What loads the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `AutoModelForSequenceClassification`.
    Sequence,
    /// `AutoModelForTokenClassification`.
    Token,
    /// `SentenceTransformer`; the net alone is an `AutoModel`.
    Sentence,
}

/// A model in the words of transformers.
#[derive(Debug)]
pub struct Transformers {
    /// What loads it.
    pub layout: Layout,
    /// The class of transformers that its `config.json` names.
    pub architecture: String,
    /// `config.json`.
    pub config: Value,
    /// Whether a dense layer of that class, which the model has not, was filled so that it passes on what it gets.
    pub passes_on: bool,
    tensors: Vec<(String, Tensor)>,
    modules: Vec<sentence::Module>,
    family: Family,
}

impl Transformers {
    /// A model with its head. Numbers leave in their own units, and two classes with one output as two logits, the first
    /// of them 0.
    ///
    /// # Errors
    /// It takes images; neither transformers nor sentence-transformers has such a head.
    pub fn of(model: &Model) -> Result<Self, ExportError> {
        let config = config_of(model)?;
        let layers = layers(model)?;
        match published_head(model, config, &layers)? {
            Some(head) => {
                let token = head.token;
                let task = if token { "TokenClassification" } else { "SequenceClassification" };
                let architecture = format!("{}For{task}", class_prefix(config.family));
                let prefix = base_prefix(config.family);
                let encoder = encoder(model)?.into_iter().map(|(name, xs)| (format!("{prefix}{name}"), xs));
                let tensors = encoder.chain(head.tensors).collect();
                let layout = if token { Layout::Token } else { Layout::Sequence };
                let config = with_labels(written(config, &architecture), model);
                let (modules, family) = (Vec::new(), model_family(model)?);
                let passes_on = head.passes_on;
                Ok(Self { layout, architecture, config, passes_on, tensors, modules, family })
            }
            None => {
                let config = with_labels(written(config, base_class(config.family)), model);
                Self::sentence(model, config, &layers)
            }
        }
    }

    /// The net and its pooling, without what a head has behind it: embeddings of sentences.
    ///
    /// # Errors
    /// It takes images; sentence-transformers has no such pooling.
    pub fn embeddings(model: &Model) -> Result<Self, ExportError> {
        let config = config_of(model)?;
        Self::sentence(model, written(config, base_class(config.family)), &[])
    }

    fn sentence(model: &Model, config: Value, layers: &[Layer]) -> Result<Self, ExportError> {
        let family = model_family(model)?;
        Ok(Self {
            layout: Layout::Sentence,
            architecture: base_class(family).to_owned(),
            config,
            passes_on: false,
            tensors: encoder(model)?,
            modules: sentence::modules(model, layers)?,
            family,
        })
    }

    /// Adds its files to a folder, with [`ABOUT`]. `tokenizer` is the text of a `tokenizer.json`.
    ///
    /// # Errors
    /// The disk refuses; the tokenizer is no JSON.
    pub fn write(&self, about: &About, tokenizer: &str, folder: &mut Folder) -> Result<(), ExportError> {
        let parsed: Value = serde_json::from_str(tokenizer)
            .map_err(|error| refusal(format!("its tokenizer is no JSON ({error})"), OTHERWISE))?;
        let max_length = about.text.as_ref().map_or(0, |text| text.max_length);
        tensors(folder, TENSORS, &self.tensors)?;
        folder.add_text(CONFIG, &text(&self.config))?;
        folder.add_text("tokenizer.json", tokenizer)?;
        let special = special_tokens(&parsed);
        let mut config = Map::from_iter(special.clone());
        config.extend([
            ("tokenizer_class".to_owned(), "PreTrainedTokenizerFast".into()),
            ("model_max_length".to_owned(), max_length.into()),
            ("padding_side".to_owned(), "right".into()),
            ("truncation_side".to_owned(), "right".into()),
            ("clean_up_tokenization_spaces".to_owned(), false.into()),
            ("model_input_names".to_owned(), self.input_names(about).into()),
        ]);
        folder.add_text("tokenizer_config.json", &text(&Value::Object(config)))?;
        folder.add_text("special_tokens_map.json", &text(&Value::Object(special)))?;
        if self.layout == Layout::Sentence {
            sentence::write(folder, &self.modules, max_length)?;
        }
        folder.add_text(ABOUT, &text(&serde_json::to_value(about).unwrap_or_default()))
    }

    /// What the class of transformers takes.
    fn input_names(&self, about: &About) -> Vec<&'static str> {
        let types = about.text.as_ref().is_some_and(|text| text.has_types());
        let knows = !matches!(self.family, Family::DistilBert | Family::T5 | Family::Mt5);
        if types && knows { vec![IDS, TYPES, MASK] } else { vec![IDS, MASK] }
    }
}

fn text(value: &Value) -> String {
    format!("{value:#}\n")
}

fn refusal(reason: String, hint: &'static str) -> ExportError {
    ExportError::Transformers { reason, hint }
}

fn config_of(model: &Model) -> Result<&TextConfig, ExportError> {
    match model.backbone.text_net() {
        Some(net) => Ok(&net.config),
        None => Err(refusal(
            format!("`{}` takes images", model.backbone.name()),
            "--format safetensors is for images, in timm's names",
        )),
    }
}

fn model_family(model: &Model) -> Result<Family, ExportError> {
    Ok(config_of(model)?.family)
}

/// How the classes of a family begin.
fn class_prefix(family: Family) -> &'static str {
    match family {
        Family::Bert => "Bert",
        Family::DistilBert => "DistilBert",
        Family::Roberta => "Roberta",
        Family::XlmRoberta => "XLMRoberta",
        Family::Camembert => "Camembert",
        Family::Electra => "Electra",
        Family::Albert => "Albert",
        Family::Gpt2 => "GPT2",
        Family::T5 => "T5",
        Family::Mt5 => "MT5",
    }
}

/// The class of the net without a head.
fn base_class(family: Family) -> &'static str {
    match family {
        Family::Bert => "BertModel",
        Family::DistilBert => "DistilBertModel",
        Family::Roberta => "RobertaModel",
        Family::XlmRoberta => "XLMRobertaModel",
        Family::Camembert => "CamembertModel",
        Family::Electra => "ElectraModel",
        Family::Albert => "AlbertModel",
        Family::Gpt2 => "GPT2Model",
        Family::T5 => "T5EncoderModel",
        Family::Mt5 => "MT5EncoderModel",
    }
}

/// What stands before the net's names in a class with a head.
fn base_prefix(family: Family) -> &'static str {
    match family {
        Family::Bert => "bert.",
        Family::DistilBert => "distilbert.",
        Family::Roberta | Family::XlmRoberta | Family::Camembert => "roberta.",
        Family::Electra => "electra.",
        Family::Albert => "albert.",
        Family::Gpt2 | Family::T5 | Family::Mt5 => "transformer.",
    }
}

/// The net's tensors: ours have the names of transformers. Adapters are merged.
fn encoder(model: &Model) -> Result<Vec<(String, Tensor)>, ExportError> {
    let adapted = model.backbone.text_net().is_some_and(|net| net.lora.is_some());
    let merged = if adapted { Some(model.backbone.merged()?) } else { None };
    let store = &merged.as_ref().unwrap_or(&model.backbone).store;
    Ok(store.iter().map(|param| (param.name.clone(), param.tensor.shallow_clone())).collect())
}

fn written(config: &TextConfig, architecture: &str) -> Value {
    let mut json = config.to_json();
    json["architectures"] = json!([architecture]);
    json["dtype"] = "float32".into();
    json
}

/// The same with what the outputs are called.
fn with_labels(mut config: Value, model: &Model) -> Value {
    let names = model.classes.iter().enumerate();
    let by_id: Map<String, Value> =
        names.clone().map(|(i, name)| (i.to_string(), name.as_str().into())).collect();
    let by_label: Map<String, Value> = names.map(|(i, name)| (name.clone(), i.into())).collect();
    config["id2label"] = by_id.into();
    config["label2id"] = by_label.into();
    config["problem_type"] = match model.task {
        Task::Softmax { .. } | Task::Binary => "single_label_classification",
        Task::MultiLabel { .. } => "multi_label_classification",
        Task::Regression { .. } => "regression",
        // Not a word for what is said of each token.
        Task::Tagging { .. } => return config,
    }
    .into();
    config
}

/// Adds a file of tensors.
fn tensors(folder: &mut Folder, name: &str, tensors: &[(String, Tensor)]) -> Result<(), ExportError> {
    let rows = tensors.iter().map(|(name, tensor)| {
        let shape = tensor.size().iter().map(|&n| n as usize).collect();
        (name.clone(), DType::F32, shape, bytes(tensor))
    });
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    folder.add(name, |path| -> Result<(), ExportError> {
        tl_weights::write_safetensors(path, rows, &metadata)?;
        Ok(())
    })
}

/// The tokens that a tokenizer has for a purpose of their own, by the name of that.
fn special_tokens(tokenizer: &Value) -> Map<String, Value> {
    const ROLES: [(&str, &[&str]); 7] = [
        ("pad_token", &["[PAD]", "<pad>"]),
        ("unk_token", &["[UNK]", "<unk>"]),
        ("cls_token", &["[CLS]", "<s>"]),
        ("sep_token", &["[SEP]", "</s>"]),
        ("mask_token", &["[MASK]", "<mask>"]),
        ("bos_token", &["<s>", "<|endoftext|>"]),
        ("eos_token", &["</s>", "<|endoftext|>"]),
    ];
    let added = tokenizer["added_tokens"].as_array().map(Vec::as_slice).unwrap_or_default();
    let known: Vec<&str> = added.iter().filter_map(|token| token["content"].as_str()).collect();
    let found = ROLES.iter().filter_map(|(role, words)| {
        let word = words.iter().find(|word| known.contains(word))?;
        Some(((*role).to_owned(), Value::from(*word)))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use tl_data::TargetStats;

    use super::*;
    use crate::Existing;
    use crate::net::Net;
    use crate::text::tests::{bert, model, pretrained};

    fn tensor(made: &Transformers, name: &str) -> Tensor {
        let found = made.tensors.iter().find(|(found, _)| found == name);
        found.unwrap_or_else(|| panic!("{name}")).1.shallow_clone()
    }

    /// What transformers' class makes of the hidden states that the head gets.
    fn published(
        made: &Transformers,
        dense: &str,
        classes: &str,
        act: fn(&Tensor) -> Tensor,
        xs: &Tensor,
    ) -> Tensor {
        let f32 = |name: String| tensor(made, &name).to_kind(tch::Kind::Float);
        let linear = |name: &str, xs: &Tensor| {
            xs.linear(&f32(format!("{name}.weight")), Some(&f32(format!("{name}.bias"))))
        };
        linear(classes, &act(&linear(dense, xs)))
    }

    #[test]
    fn heads_of_published_classes_say_the_same() {
        let xs = Tensor::from_slice(&tl_torch::uniform(3, "xs", 5 * 16, 4.0)).view([5, 16]);
        let softmax = Task::Softmax { classes: 3 };
        for (family, head, dense, classes, act) in [
            ("bert", "cls", "bert.pooler.dense", "classifier", Tensor::tanh as fn(&Tensor) -> Tensor),
            ("bert", "cls-bn-16-tanh-drop0.1-bn", "bert.pooler.dense", "classifier", Tensor::tanh),
            ("albert", "cls", "albert.pooler", "classifier", Tensor::tanh),
            ("roberta", "cls-16-tanh", "classifier.dense", "classifier.out_proj", Tensor::tanh),
            ("electra", "cls", "classifier.dense", "classifier.out_proj", |xs| xs.gelu("none")),
        ] {
            let model = model(&bert(family), head, softmax);
            let made = Transformers::of(&model).unwrap();
            assert_eq!((made.layout, made.passes_on), (Layout::Sequence, head == "cls"), "{family} {head}");
            assert!(made.architecture.ends_with("ForSequenceClassification"));
            let expected = model.head.forward(&xs, None);
            let got = published(&made, dense, classes, act, &xs);
            assert!(got.allclose(&expected, 1e-5, 1e-5, false), "{family} {head}");
        }
        // Two classes by one output, and numbers in their own units.
        let two = model(&bert("bert"), "cls", Task::Binary);
        let got =
            published(&Transformers::of(&two).unwrap(), "bert.pooler.dense", "classifier", Tensor::tanh, &xs);
        let expected = two.head.forward(&xs, None);
        assert_eq!((got.size(), got.select(1, 0).abs().max().double_value(&[])), (vec![5, 2], 0.0));
        assert!(got.select(1, 1).unsqueeze(1).allclose(&expected, 1e-5, 1e-5, false));
        let stats = TargetStats { mean: vec![3e5], std: vec![7e4] };
        let number =
            model(&bert("bert"), "cls", Task::Regression { targets: 1 }).with_target_stats(stats).unwrap();
        let got = published(
            &Transformers::of(&number).unwrap(),
            "bert.pooler.dense",
            "classifier",
            Tensor::tanh,
            &xs,
        );
        assert!(got.allclose(&(number.head.forward(&xs, None) * 7e4 + 3e5), 1e-5, 1e-5, false));
    }

    #[test]
    fn what_has_no_class_is_modules_or_an_error() {
        let three = Task::Softmax { classes: 3 };
        let small = model(&bert("bert"), "gap-8-gelu", three);
        let made = Transformers::of(&small).unwrap();
        assert_eq!(
            (made.layout, made.modules.len(), &*made.architecture),
            (Layout::Sentence, 3, "BertModel")
        );
        let dir = tempfile::tempdir().unwrap();
        let net = Net::of(&small, pretrained(), "0.1.0", false).unwrap();
        let tokenizer =
            json!({ "added_tokens": [{ "content": "[PAD]" }, { "content": "</s>" }] }).to_string();
        for existing in [Existing::Keep, Existing::Replace] {
            let mut folder = Folder::begin(&dir.path().join("out"), existing).unwrap();
            made.write(&net.about, &tokenizer, &mut folder).unwrap();
            folder.settle().unwrap();
        }
        let read = |name: &str| -> Value {
            serde_json::from_slice(&std::fs::read(dir.path().join("out").join(name)).unwrap()).unwrap()
        };
        assert_eq!(read("modules.json")[2]["path"], "2_Dense");
        assert_eq!(read("3_Dense/config.json")["out_features"], 3);
        assert_eq!(read("1_Pooling/config.json")["pooling_mode_mean_tokens"], true);
        let tokenizer = read("tokenizer_config.json");
        assert_eq!((&tokenizer["pad_token"], &tokenizer["model_max_length"]), (&"[PAD]".into(), &24.into()));
        assert_eq!(
            read("special_tokens_map.json"),
            json!({ "pad_token": "[PAD]", "sep_token": "</s>", "eos_token": "</s>" })
        );
        assert_eq!(read("config.json")["id2label"]["2"], "class 2");

        assert_eq!(Transformers::of(&model(&bert("bert"), "tokens", three)).unwrap().layout, Layout::Token);
        let too_many = model(&bert("electra"), "cls", Task::Softmax { classes: 9 });
        assert_eq!(Transformers::of(&too_many).unwrap().layout, Layout::Sentence, "18 of 16");
        for head in ["gem", "tokens-8"] {
            let error = Transformers::of(&model(&bert("bert"), head, three)).unwrap_err().to_string();
            assert!(
                error.contains("cannot be written for transformers") && error.contains("hint: "),
                "{error}"
            );
        }
    }
}

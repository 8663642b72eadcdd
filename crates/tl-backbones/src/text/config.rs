//! What a `config.json` says of a text net. The decision: every family's words are read into one set of sizes, and what
//! would make the net another one than is built here is an error and never passed over.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::error::BackboneError;
use crate::layers::Act;

/// How a net is put together, and what its parameters are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Devlin et al. 2018, arXiv:1810.04805.
    Bert,
    /// Sanh et al. 2019, arXiv:1910.01108.
    DistilBert,
    /// Liu et al. 2019, arXiv:1907.11692.
    Roberta,
    /// XLM-R (Conneau et al. 2019, arXiv:1911.02116): RoBERTa on many languages.
    XlmRoberta,
    /// CamemBERT (Martin et al. 2019, arXiv:1911.03894): RoBERTa in French.
    Camembert,
    /// The discriminator of Clark et al. 2020, arXiv:2003.10555.
    Electra,
    /// Lan et al. 2019, arXiv:1909.11942. All layers have the same weights, so they are one stage.
    Albert,
    /// Radford et al. 2019. A token sees those before it only.
    Gpt2,
    /// The encoder of Raffel et al. 2019, arXiv:1910.10683, versions 1.0 and 1.1.
    T5,
    /// The encoder of mT5 (Xue et al. 2020, arXiv:2010.11934): T5 1.1 on many languages.
    Mt5,
}

impl Family {
    const ALL: [(Self, &'static str); 10] = [
        (Self::Bert, "bert"),
        (Self::DistilBert, "distilbert"),
        (Self::Roberta, "roberta"),
        (Self::XlmRoberta, "xlm-roberta"),
        (Self::Camembert, "camembert"),
        (Self::Electra, "electra"),
        (Self::Albert, "albert"),
        (Self::Gpt2, "gpt2"),
        (Self::T5, "t5"),
        (Self::Mt5, "mt5"),
    ];

    /// As `model_type` has it.
    #[must_use]
    pub fn model_type(self) -> &'static str {
        Self::ALL.iter().find(|(family, _)| *family == self).map_or("", |(_, name)| name)
    }

    /// Whether positions are counted from behind the id that fills up.
    fn counts_from_pad(self) -> bool {
        matches!(self, Self::Roberta | Self::XlmRoberta | Self::Camembert)
    }

    /// Whether positions are told by their distances and not by a table.
    fn relative(self) -> bool {
        matches!(self, Self::T5 | Self::Mt5)
    }
}

/// Family and sizes of a text net. Read from, and written as, the `config.json` of transformers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
#[non_exhaustive]
pub struct TextConfig {
    /// How it is put together.
    pub family: Family,
    /// Rows of the table of tokens.
    pub vocabulary: i64,
    /// Channels between stages.
    pub width: i64,
    /// Encoder layers, each a stage; in ALBERT all of them are one.
    pub layers: usize,
    /// Heads of attention in each.
    pub heads: i64,
    /// Channels of a head.
    pub head_width: i64,
    /// Channels inside of the perceptron of a layer.
    pub inner: i64,
    /// Rows of the table of positions; 0 where there is none.
    pub positions: i64,
    /// Rows of the table of segments; 0 where there is none.
    pub types: i64,
    /// Channels of the tables; other than `width` in ALBERT and small ELECTRA.
    pub embedding: i64,
    /// The id that fills up.
    pub pad: i64,
    /// Added to the variance in norms.
    pub eps: f64,
    /// The activation of the perceptron.
    pub act: Act,
    /// Whether the perceptron has a gate (Shazeer 2020, arXiv:2002.05202).
    pub gated: bool,
    /// Published dropout of embeddings and branches, `0..1`.
    pub dropout: f64,
    /// Published dropout of the weights of attention, `0..1`.
    pub attention_dropout: f64,
    /// Distances that are told apart, and the one from which on they are not; 0 where positions have a table.
    pub distances: (i64, i64),
}

impl TextConfig {
    /// Reads the text of a `config.json`.
    ///
    /// # Errors
    /// It is no JSON object, of a family that is not known here, lacks a size, or has sizes that do not fit or are
    /// beyond all that is published; all of it together.
    pub fn parse(json: &[u8]) -> Result<Self, BackboneError> {
        let value: Value = serde_json::from_slice(json)
            .map_err(|error| BackboneError::Config { problems: vec![format!("it is no JSON: {error}")] })?;
        Self::read(&value)
    }

    /// The most tokens a text may have, those that begin and end it included; no limit where positions are told by
    /// distances.
    #[must_use]
    pub fn max_tokens(&self) -> Option<i64> {
        (self.positions > 0).then(|| self.positions - self.first_position())
    }

    /// The row of the table of positions that belongs to the first token.
    pub(crate) fn first_position(&self) -> i64 {
        if self.family.counts_from_pad() { self.pad + 1 } else { 0 }
    }

    fn read(value: &Value) -> Result<Self, BackboneError> {
        let Some(object) = value.as_object() else {
            return Err(BackboneError::Config { problems: vec!["it is no JSON object".to_owned()] });
        };
        let mut reader = Reader { object, problems: Vec::new() };
        let model_type = object.get("model_type").and_then(Value::as_str).unwrap_or_default();
        let Some((family, _)) = Family::ALL.iter().find(|(_, name)| *name == model_type) else {
            let known: Vec<_> = Family::ALL.iter().map(|(_, name)| *name).collect();
            let what = if model_type.is_empty() { "it has no `model_type`" } else { "unknown" };
            let problem =
                format!("`model_type` `{model_type}`: {what}, expected one of {}", known.join(", "));
            return Err(BackboneError::Config { problems: vec![problem] });
        };
        let mut config = reader.family(*family);
        if !family.relative() {
            config.head_width = config.width / config.heads;
        }
        reader.check(&config);
        match reader.problems {
            problems if problems.is_empty() => Ok(config),
            problems => Err(BackboneError::Config { problems }),
        }
    }

    /// As transformers writes it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let Self { vocabulary, width, layers, heads, inner, positions, types, eps, .. } = self;
        let (pad, dropout, attention) = (self.pad, self.dropout, self.attention_dropout);
        let mut json = match self.family {
            Family::DistilBert => json!({ "vocab_size": vocabulary, "dim": width, "n_layers": layers,
                "n_heads": heads, "hidden_dim": inner, "max_position_embeddings": positions, "pad_token_id": pad,
                "activation": act_word(self.act), "dropout": dropout, "attention_dropout": attention }),
            Family::Gpt2 => {
                json!({ "vocab_size": vocabulary, "n_embd": width, "n_layer": layers, "n_head": heads,
                "n_inner": inner, "n_positions": positions, "layer_norm_epsilon": eps,
                "activation_function": act_word(self.act), "embd_pdrop": dropout, "resid_pdrop": dropout,
                "attn_pdrop": attention })
            }
            Family::T5 | Family::Mt5 => {
                json!({ "vocab_size": vocabulary, "d_model": width, "num_layers": layers,
                "num_heads": heads, "d_kv": self.head_width, "d_ff": inner, "pad_token_id": pad,
                "feed_forward_proj": self.feed_forward(), "layer_norm_epsilon": eps, "dropout_rate": dropout,
                "relative_attention_num_buckets": self.distances.0,
                "relative_attention_max_distance": self.distances.1 })
            }
            _ => json!({ "vocab_size": vocabulary, "hidden_size": width, "num_hidden_layers": layers,
                "num_attention_heads": heads, "intermediate_size": inner, "max_position_embeddings": positions,
                "type_vocab_size": types, "layer_norm_eps": eps, "pad_token_id": pad,
                "hidden_act": act_word(self.act), "hidden_dropout_prob": dropout,
                "attention_probs_dropout_prob": attention }),
        };
        json["model_type"] = self.family.model_type().into();
        if matches!(self.family, Family::Electra | Family::Albert) {
            json["embedding_size"] = self.embedding.into();
        }
        json
    }

    fn feed_forward(&self) -> String {
        match (self.gated, self.act) {
            (true, Act::GeluTanh) => "gated-gelu".to_owned(),
            (true, act) => format!("gated-{}", act_word(act)),
            (false, act) => act_word(act).to_owned(),
        }
    }
}

impl TryFrom<Value> for TextConfig {
    type Error = BackboneError;

    fn try_from(value: Value) -> Result<Self, BackboneError> {
        Self::read(&value)
    }
}

impl From<TextConfig> for Value {
    fn from(config: TextConfig) -> Self {
        config.to_json()
    }
}

/// Names of activations, the one that is written first.
const ACTS: [(&str, Act); 9] = [
    ("gelu", Act::Gelu),
    ("gelu_new", Act::GeluTanh),
    ("gelu_fast", Act::GeluTanh),
    ("gelu_pytorch_tanh", Act::GeluTanh),
    ("relu", Act::Relu),
    ("silu", Act::Silu),
    ("swish", Act::Silu),
    ("relu6", Act::Relu6),
    ("tanh", Act::Tanh),
];

fn act_word(act: Act) -> &'static str {
    ACTS.iter().find(|(_, a)| *a == act).map_or("", |(word, _)| word)
}

/// Reads values and collects what is wrong.
struct Reader<'a> {
    object: &'a Map<String, Value>,
    problems: Vec<String>,
}

impl Reader<'_> {
    fn family(&mut self, family: Family) -> TextConfig {
        match family {
            Family::DistilBert => {
                let width = self.size("dim", MAX_WIDTH);
                TextConfig {
                    layers: self.size("n_layers", MAX_LAYERS) as usize,
                    heads: self.size("n_heads", MAX_WIDTH),
                    inner: self.size("hidden_dim", MAX_WIDTH),
                    positions: self.size("max_position_embeddings", MAX_ROWS),
                    types: 0,
                    eps: 1e-12,
                    act: self.act("activation", "gelu"),
                    dropout: self.chance("dropout"),
                    attention_dropout: self.chance("attention_dropout"),
                    ..self.common(family, width)
                }
            }
            Family::Gpt2 => {
                self.only("scale_attn_weights", true);
                self.only("scale_attn_by_inverse_layer_idx", false);
                self.only("add_cross_attention", false);
                let width = self.size("n_embd", MAX_WIDTH);
                let inner = match self.object.get("n_inner") {
                    None | Some(Value::Null) => 4 * width,
                    Some(_) => self.size("n_inner", MAX_WIDTH),
                };
                TextConfig {
                    layers: self.size("n_layer", MAX_LAYERS) as usize,
                    heads: self.size("n_head", MAX_WIDTH),
                    inner,
                    positions: self.size("n_positions", MAX_ROWS),
                    types: 0,
                    eps: self.number("layer_norm_epsilon", 1e-5),
                    act: self.act("activation_function", "gelu_new"),
                    dropout: self.chance("resid_pdrop"),
                    attention_dropout: self.chance("attn_pdrop"),
                    ..self.common(family, width)
                }
            }
            Family::T5 | Family::Mt5 => self.t5(family),
            _ => self.bert(family),
        }
    }

    fn bert(&mut self, family: Family) -> TextConfig {
        if let Some(kind) = self.object.get("position_embedding_type").and_then(Value::as_str)
            && kind != "absolute"
        {
            self.problems
                .push(format!("`position_embedding_type` is `{kind}`, only `absolute` is known here"));
        }
        self.only("is_decoder", false);
        self.only("add_cross_attention", false);
        let width = self.size("hidden_size", MAX_WIDTH);
        let factored = matches!(family, Family::Electra | Family::Albert);
        let albert = family == Family::Albert;
        for key in ["num_hidden_groups", "inner_group_num"] {
            match self.object.get(key).filter(|_| albert) {
                Some(n) if n.as_i64() != Some(1) => {
                    self.problems.push(format!("`{key}` is {n}, only 1 is known here"));
                }
                _ => {}
            }
        }
        let usual = if albert { 0.0 } else { 0.1 };
        TextConfig {
            layers: self.size("num_hidden_layers", MAX_LAYERS) as usize,
            heads: self.size("num_attention_heads", MAX_WIDTH),
            inner: self.size("intermediate_size", MAX_WIDTH),
            positions: self.size("max_position_embeddings", MAX_ROWS),
            types: self.size("type_vocab_size", MAX_ROWS),
            embedding: if factored { self.size("embedding_size", MAX_WIDTH) } else { width },
            eps: self.number("layer_norm_eps", 1e-12),
            act: self.act("hidden_act", if albert { "gelu_new" } else { "gelu" }),
            dropout: self.chance_or("hidden_dropout_prob", usual),
            attention_dropout: self.chance_or("attention_probs_dropout_prob", usual),
            ..self.common(family, width)
        }
    }

    fn t5(&mut self, family: Family) -> TextConfig {
        let width = self.size("d_model", MAX_WIDTH);
        let proj = self.object.get("feed_forward_proj").and_then(Value::as_str).unwrap_or("relu").to_owned();
        let (gated, word) = proj.strip_prefix("gated-").map_or((false, &*proj), |word| (true, word));
        // What is called a gated GELU is the approximation.
        let word = if gated && word == "gelu" { "gelu_new" } else { word };
        let dropout = self.chance_or("dropout_rate", 0.1);
        let of = |reader: &mut Self, key, default| {
            if reader.object.contains_key(key) { reader.size(key, MAX_ROWS) } else { default }
        };
        let distances = (
            of(self, "relative_attention_num_buckets", 32),
            of(self, "relative_attention_max_distance", 128),
        );
        TextConfig {
            layers: self.size("num_layers", MAX_LAYERS) as usize,
            heads: self.size("num_heads", MAX_WIDTH),
            head_width: self.size("d_kv", MAX_WIDTH),
            inner: self.size("d_ff", MAX_WIDTH),
            positions: 0,
            types: 0,
            eps: self.number("layer_norm_epsilon", 1e-6),
            act: self.act_named("feed_forward_proj", word),
            gated,
            dropout,
            attention_dropout: dropout,
            distances,
            ..self.common(family, width)
        }
    }

    /// What all families have; the rest is a blank.
    fn common(&mut self, family: Family, width: i64) -> TextConfig {
        let pad = self.object.get("pad_token_id").and_then(Value::as_i64);
        TextConfig {
            family,
            vocabulary: self.size("vocab_size", MAX_ROWS),
            width,
            layers: 0,
            heads: 0,
            head_width: 0,
            inner: 0,
            positions: 0,
            types: 0,
            embedding: width,
            pad: pad.unwrap_or(if family.counts_from_pad() { 1 } else { 0 }),
            eps: 0.0,
            act: Act::None,
            gated: false,
            dropout: 0.0,
            attention_dropout: 0.0,
            distances: (0, 0),
        }
    }

    /// What several values say together.
    fn check(&mut self, config: &TextConfig) {
        let TextConfig { width, heads, vocabulary, pad, positions, distances, .. } = *config;
        if config.family.relative() {
            if distances.0 % 4 != 0 || distances.1 <= distances.0 / 4 {
                self.problems.push(format!(
                    "{} buckets for distances up to {}: expected a multiple of 4, less than 4 times the distance",
                    distances.0, distances.1
                ));
            }
        } else if heads > 0 && width % heads != 0 {
            self.problems.push(format!("{width} channels cannot be divided among {heads} heads"));
        }
        if vocabulary > 0 && !(0..vocabulary).contains(&pad) {
            self.problems.push(format!("`pad_token_id` is {pad}, and there are {vocabulary} tokens"));
        }
        if positions > 0 && config.first_position() >= positions {
            self.problems.push(format!("{positions} positions leave no room behind `pad_token_id` {pad}"));
        }
    }

    fn size(&mut self, key: &str, most: i64) -> i64 {
        match self.object.get(key) {
            None => self.problems.push(format!("`{key}` is missing")),
            Some(value) => match value.as_i64().filter(|n| (1..=most).contains(n)) {
                Some(n) => return n,
                None => self.problems.push(format!("`{key}` is {value}, expected 1 to {most}")),
            },
        }
        // A divisor of everything: what is said of it is said already.
        1
    }

    fn number(&mut self, key: &str, default: f64) -> f64 {
        let Some(value) = self.object.get(key) else { return default };
        value.as_f64().filter(|eps| *eps > 0.0 && *eps < 1.0).unwrap_or_else(|| {
            self.problems.push(format!("`{key}` is {value}, expected a small number above 0"));
            default
        })
    }

    fn chance(&mut self, key: &str) -> f64 {
        self.chance_or(key, 0.1)
    }

    fn chance_or(&mut self, key: &str, default: f64) -> f64 {
        let Some(value) = self.object.get(key) else { return default };
        value.as_f64().filter(|p| (0.0..1.0).contains(p)).unwrap_or_else(|| {
            self.problems.push(format!("`{key}` is {value}, expected 0 up to but not 1"));
            default
        })
    }

    fn act(&mut self, key: &str, default: &str) -> Act {
        let word = self.object.get(key).and_then(Value::as_str).unwrap_or(default).to_owned();
        self.act_named(key, &word)
    }

    fn act_named(&mut self, key: &str, word: &str) -> Act {
        if let Some((_, act)) = ACTS.iter().find(|(name, _)| *name == word) {
            return *act;
        }
        let known: Vec<_> = ACTS.iter().map(|(name, _)| *name).collect();
        self.problems.push(format!("`{key}` is `{word}`, expected one of {}", known.join(", ")));
        Act::None
    }

    /// A switch that is known in one position.
    fn only(&mut self, key: &str, expected: bool) {
        if let Some(value) = self.object.get(key).and_then(Value::as_bool)
            && value != expected
        {
            self.problems.push(format!("`{key}` is {value}, only {expected} is known here"));
        }
    }
}

/// Beyond all that is published.
const MAX_WIDTH: i64 = 1 << 16;
const MAX_LAYERS: i64 = 1 << 10;
const MAX_ROWS: i64 = 1 << 22;

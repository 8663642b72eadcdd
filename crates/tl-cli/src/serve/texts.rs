//! Texts as a server is asked about them: from the bytes of a request to tokens, and from probabilities to JSON.
//!
//! The decision behind it: what `tl predict` does to a text is done here too, by the same code. A text beyond the length
//! that the model was trained for is cut, as everywhere, and the answer says so.

use std::path::Path;
use std::time::Instant;

use serde_json::{Map, Value, json};
use tl_heads::{Pool, Task};
use tl_serve::{Item, Refusal, Service, Words};
use tl_text::Tokenizer;
use tl_text::tokens::{Encoded, Tokens};
use tl_train::{Compute, Model, Precision, SavedModel, TrainError};

use super::images::POLICY;
use super::page;
use super::wish::Wish;

const PAGE: &str = include_str!("text.html");
const JSON: &str = "application/json";
const SEND: &str = "{\"text\": \"…\"}, {\"texts\": [\"…\", \"…\"]}, or a text as text/plain";

/// All about the model but the net.
pub(super) struct Texts {
    names: Vec<String>,
    task: Task,
    tokenizer: Tokenizer,
    max_text: usize,
    about: Value,
    page: String,
}

/// What the model says of a text.
pub(super) struct Answer {
    row: Vec<f32>,
    /// Whether some of the text was cut off.
    cut: bool,
}

/// A text, or a pair of them.
type Pair = (String, Option<String>);

impl Texts {
    /// # Errors
    /// The model takes images, or answers for each token; its tokenizer is not beside it.
    pub(super) fn new(
        run: &Path,
        saved: &SavedModel,
        model: &Model,
        max_text: usize,
    ) -> anyhow::Result<Self> {
        let Some(text) = &saved.text else { anyhow::bail!("the model takes images") };
        anyhow::ensure!(
            saved.head.pool != Pool::Tokens,
            "`{}` answers for each token, and such models cannot be served",
            run.display()
        );
        let tokenizer = crate::texts::tokenizer_of(run, text)?;
        let about = json!({
            "task": saved.task, "backbone": saved.backbone, "weights": saved.pretrained, "head": saved.head.to_string(),
            "classes": saved.classes, "max_length": text.max_length, "sha256": saved.sha256, "version": saved.version,
            "temperature": model.temperature,
        });
        Ok(Self {
            names: saved.classes.clone(),
            task: model.task,
            tokenizer,
            max_text,
            about,
            page: page::whole(PAGE, saved, model),
        })
    }

    /// The id that fills up.
    pub(super) fn pad(&self) -> u32 {
        self.tokenizer.pad()
    }

    fn tokens(&self, (text, pair): &Pair) -> Result<Tokens, Refusal> {
        let (bytes, most) = (text.len() + pair.as_ref().map_or(0, String::len), self.max_text);
        if bytes > most {
            let reason = format!("the text has {bytes} bytes (expected at most {most})");
            return Err(Refusal::new(413, reason).hint("send its beginning: the model sees no more of it"));
        }
        if text.trim().is_empty() {
            return Err(Refusal::new(400, "the text is empty"));
        }
        self.tokenizer.encode(text, pair.as_deref()).map_err(|error| Refusal::new(400, error.to_string()))
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, Refusal> {
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        Refusal::new(400, format!("the body is no text in UTF-8 (byte {at} is none)"))
    })
}

/// Whether a body is JSON: as it says, or, where it says nothing of use, as it begins.
fn is_json(media: Option<&str>, text: &str) -> bool {
    match media {
        Some(JSON) => true,
        Some(media) if media.starts_with("text/") => false,
        _ => text.trim_start().starts_with('{'),
    }
}

/// An item that [`Service::read`] makes a text of.
fn item((text, pair): &Pair) -> Item {
    let name = pair.as_ref().map_or_else(|| text.clone(), |pair| format!("{text}\t{pair}"));
    Item { name, media: Some(JSON.to_owned()), bytes: json!([text, pair]).to_string().into() }
}

/// A text of a list: a text, a list of two, or an object.
fn pair_of(value: &Value, place: &str) -> Result<Pair, Refusal> {
    let odd = || {
        Refusal::new(400, format!("{place} is no text"))
            .hint("a text, [text, text] or {\"text\": …, \"pair\": …}")
    };
    let word = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(odd);
    match value {
        Value::String(text) => Ok((text.clone(), None)),
        Value::Array(two) => match &two[..] {
            [text, pair] => Ok((word(text)?, Some(word(pair)?))),
            _ => Err(odd()),
        },
        Value::Object(object) if object.keys().all(|key| key == "text" || key == "pair") => {
            let pair = object.get("pair").filter(|pair| !pair.is_null()).map(word).transpose()?;
            Ok((word(object.get("text").unwrap_or(&Value::Null))?, pair))
        }
        _ => Err(odd()),
    }
}

/// What an object asks about, and its wishes.
fn asked(mut object: Map<String, Value>, query: &mut Vec<(String, String)>) -> Result<Vec<Pair>, Refusal> {
    for wish in ["top", "threshold"] {
        if let Some(value) = object.remove(wish) {
            query.push((wish.to_owned(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
        }
    }
    match object.remove("texts") {
        Some(Value::Array(list)) if object.is_empty() => {
            list.iter().enumerate().map(|(i, value)| pair_of(value, &format!("`texts[{i}]`"))).collect()
        }
        None if object.contains_key("text") => Ok(vec![pair_of(&object.into(), "the body")?]),
        _ => Err(Refusal::new(400, "the body has neither `text` nor a list of `texts`, or more than that")
            .hint(SEND)),
    }
}

impl Service for Texts {
    type Input = Tokens;
    type Output = Answer;
    type Wish = Wish;

    fn wish(&self, query: &[(String, String)]) -> Result<Wish, Refusal> {
        Wish::read(query, self.task)
    }

    fn takes(&self, media: Option<&str>) -> bool {
        // `curl -d` says that it sends a form; how the bytes begin decides what they are.
        let any = [JSON, "text/plain", "application/octet-stream", "application/x-www-form-urlencoded"];
        media.is_none_or(|media| any.contains(&media))
    }

    fn items(&self, body: Item, query: &mut Vec<(String, String)>) -> Result<Vec<Item>, Refusal> {
        let text = utf8(&body.bytes)?;
        if !is_json(body.media.as_deref(), text) {
            return Ok(vec![item(&(text.trim().to_owned(), None))]);
        }
        let value: Value = serde_json::from_str(text)
            .map_err(|error| Refusal::new(400, format!("the body is no JSON: {error}")).hint(SEND))?;
        let Value::Object(object) = value else {
            return Err(Refusal::new(400, "the body is no JSON object").hint(SEND));
        };
        Ok(asked(object, query)?.iter().map(item).collect())
    }

    fn words(&self) -> Words {
        Words {
            key: "text",
            send: SEND,
            types: "send application/json or text/plain, or text files as multipart/form-data",
            smaller: "send fewer texts at a time",
        }
    }

    fn read(&self, item: &Item) -> Result<Tokens, Refusal> {
        // Parts of forms are files of text; all else has been made into JSON.
        let text = utf8(&item.bytes)?;
        match item.media.as_deref() {
            Some(JSON) => {
                let value: Value = serde_json::from_str(text)
                    .map_err(|error| Refusal::new(400, format!("it is no JSON: {error}")))?;
                let pair = match &value {
                    Value::Array(two) if two.get(1).is_some_and(Value::is_null) => pair_of(&two[0], "it")?,
                    value => pair_of(value, "it")?,
                };
                self.tokens(&pair)
            }
            _ => self.tokens(&(text.trim().to_owned(), None)),
        }
    }

    fn say(&self, name: &str, output: &Answer, wish: &Wish) -> Value {
        let mut said = wish.saying(&self.names, self.task, "text").value(name, &output.row);
        if output.cut {
            said["cut"] = true.into();
        }
        said
    }

    fn about(&self) -> Value {
        self.about.clone()
    }

    fn page(&self) -> (&str, &str) {
        (&self.page, POLICY)
    }
}

/// What is computed while the precision is chosen: sentences of several lengths, as people write.
const SENTENCES: [&str; 8] = [
    "Not bad.",
    "The parcel came a day late and the box was torn.",
    "I asked twice for the invoice and still have not got it; please send it to the address below.",
    "A quiet film about two sisters who sell their mother's house and find out what each of them wanted from the other.",
    "Works as described.",
    "What time does the last train leave on Sundays?",
    "We stayed for three nights. The room was clean and the people were kind, but the street is loud until two in the \
     morning, and the window does not close. We would come back in winter, when nobody sits outside.",
    "The minister said on Tuesday that the bridge would be closed for repairs from May to September.",
];

/// Most relative error of the features (by their norms) that bf16 may have under `auto`; as for a run.
const TOLERANCE: f64 = 0.1;

/// The faster of f32 and, where it is allowed and close enough, bf16, on sentences; and why.
pub(super) fn choose(
    model: &mut Model,
    texts: &Texts,
    precision: Precision,
) -> anyhow::Result<(Compute, String)> {
    // Laying out the layers takes a moment, once.
    let f32 = Compute { compiled: true, ..Compute::default() };
    let bf16 = Compute { bf16: true, ..f32.clone() };
    match precision {
        Precision::F32 => return Ok((f32, "f32".to_owned())),
        Precision::Bf16 => return Ok((bf16, "bf16".to_owned())),
        Precision::Auto if !tl_train::bf16_pays(model.device)? => {
            return Ok((f32, "f32: this processor is not faster in bf16".to_owned()));
        }
        Precision::Auto => {}
    }
    // Several of each, as a full batch has them.
    let sentences = SENTENCES.iter().cycle().take(SENTENCES.len() * 4);
    let tokens = sentences.map(|text| texts.tokenizer.encode(text, None)).collect::<Result<_, _>>()?;
    let encoded = Encoded { texts: tokens, pad: texts.pad() };
    let mut timed = |compute: &Compute| -> Result<(f64, Vec<Vec<f32>>), TrainError> {
        model.compute = compute.clone();
        let (mut best, mut features) = (f64::INFINITY, Vec::new());
        for _ in 0..4 {
            let begun = Instant::now();
            features = tl_train::embed_texts(model, &encoded, &mut |_| true)?;
            best = best.min(begun.elapsed().as_secs_f64());
        }
        Ok((encoded.texts.len() as f64 / best, features))
    };
    let ((slow, exact), (fast, rounded)) = (timed(&f32)?, timed(&bf16)?);
    let square = |sum: f64, value: f32| sum + f64::from(value) * f64::from(value);
    let pairs = exact.iter().flatten().zip(rounded.iter().flatten());
    let error = pairs.map(|(a, b)| a - b).fold(0.0, square).sqrt()
        / exact.iter().flatten().copied().fold(0.0, square).sqrt().max(1e-12);
    let percent = error * 100.0;
    Ok(match (error <= TOLERANCE, fast > slow) {
        (true, true) => {
            (bf16, format!("bf16: {fast:.0} texts/s ({slow:.0} in f32), features within {percent:.1} %"))
        }
        (true, false) => (f32, format!("f32: {slow:.0} texts/s ({fast:.0} in bf16)")),
        (false, _) => (f32, format!("f32: {slow:.0} texts/s; bf16 is off by {percent:.0} %")),
    })
}

/// What the model says of each text. Those of a like length go through the net together, and what fills up the shorter ones
/// costs next to nothing (`tl_backbones::text`).
pub(super) fn answer(model: &Model, texts: Vec<Tokens>, pad: u32) -> Result<Vec<Answer>, TrainError> {
    let cut: Vec<bool> = texts.iter().map(|tokens| tokens.cut).collect();
    let rows = tl_train::predict_texts(model, &Encoded { texts, pad }, false, &mut |_| ())?;
    Ok(rows.into_iter().zip(cut).map(|(row, cut)| Answer { row, cut }).collect())
}

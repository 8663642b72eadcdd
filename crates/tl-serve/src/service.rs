//! What a server serves. The decision: reading, answering and saying are apart, because the first runs on many threads,
//! the second on one, and the third differs by request.

use bytes::Bytes;
use serde_json::{Value, json};

/// One thing that is asked about: an image, a text.
#[derive(Clone, Debug)]
pub struct Item {
    /// What the request calls it: the name of its file, or what it is by its place.
    pub name: String,
    /// The media type that the request gives, without parameters, in lower case.
    pub media: Option<String>,
    /// Its content.
    pub bytes: Bytes,
}

/// Why something is not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status: 400, 413, 415, …
    pub status: u16,
    /// In one line.
    pub reason: String,
    /// What can be done about it.
    pub hint: Option<String>,
}

impl Refusal {
    /// A refusal without a hint.
    #[must_use]
    pub fn new(status: u16, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into(), hint: None }
    }

    /// The same with what can be done about it.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub(crate) fn json(&self) -> Value {
        match &self.hint {
            Some(hint) => json!({ "error": self.reason, "hint": hint }),
            None => json!({ "error": self.reason }),
        }
    }
}

/// What people are told of the inputs of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    /// Under which name answers have that of an item.
    pub key: &'static str,
    /// How to send one.
    pub send: &'static str,
    /// In which media types.
    pub types: &'static str,
    /// What to do about a body that is too large.
    pub smaller: &'static str,
}

/// All about a model but the model.
pub trait Service: Send + Sync + 'static {
    /// What the model takes.
    type Input: Send + 'static;
    /// What it gives for one input.
    type Output: Send + 'static;
    /// What a request wants to know.
    type Wish: Clone + Send + Sync + 'static;

    /// What a request wants to know, by the names and values of its query.
    ///
    /// # Errors
    /// A name that is not known, or a value out of range.
    fn wish(&self, query: &[(String, String)]) -> Result<Self::Wish, Refusal>;

    /// Whether a body or a part of that media type may be one of its inputs; `None` if the request does not say.
    fn takes(&self, media: Option<&str>) -> bool;

    /// The items in a body, where it may hold several: those of a list in JSON. What else it says are wishes, as in a
    /// query. Runs on several threads.
    ///
    /// # Errors
    /// The body is nothing of the kind.
    fn items(&self, body: Item, _query: &mut Vec<(String, String)>) -> Result<Vec<Item>, Refusal> {
        Ok(vec![body])
    }

    /// What an item is called in an answer, and how to send one.
    fn words(&self) -> Words {
        Words {
            key: "file",
            send: "curl --data-binary @photo.jpg, or curl -F image=@photo.jpg",
            types: "send the file as it is, with its own type or application/octet-stream, or as multipart/form-data",
            smaller: "send a smaller file",
        }
    }

    /// Makes an input of an item. Runs on several threads.
    ///
    /// # Errors
    /// It is damaged, too large, or nothing of the kind.
    fn read(&self, item: &Item) -> Result<Self::Input, Refusal>;

    /// The answer as JSON: an object.
    fn say(&self, name: &str, output: &Self::Output, wish: &Self::Wish) -> Value;

    /// What the model is.
    fn about(&self) -> Value;

    /// The page for people, and its content security policy.
    fn page(&self) -> (&str, &str);
}

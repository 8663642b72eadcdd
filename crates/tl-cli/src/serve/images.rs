//! Images as a server is asked about them: from the bytes of a request to an input, and from probabilities to JSON.
//!
//! The decision behind it: the same code as `tl predict` decodes, cuts and says, so that both give the same answers.

use serde_json::{Value, json};
use tl_data::decode::{decode_bytes, dimensions_of};
use tl_data::{DecodeReason, Normaliser, Preprocess};
use tl_heads::Task;
use tl_serve::{Item, Refusal, Service};
use tl_train::{Model, SavedModel};

use super::batches::Input;
use super::page;
use super::wish::Wish;

const PAGE: &str = include_str!("page.html");
/// Nothing comes from elsewhere, and nothing goes there.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                      img-src blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// All about the model but the net.
pub(super) struct Images {
    names: Vec<String>,
    task: Task,
    preprocess: Preprocess,
    normaliser: Normaliser,
    max_pixels: u64,
    about: Value,
    page: String,
}

impl Images {
    /// # Errors
    /// The model does not take images.
    pub(super) fn new(saved: &SavedModel, model: &Model, max_pixels: u64) -> anyhow::Result<Self> {
        let Some(preprocess) = saved.preprocess else {
            anyhow::bail!("the model takes texts");
        };
        let about = json!({
            "task": saved.task, "backbone": saved.backbone, "weights": saved.pretrained, "head": saved.head.to_string(),
            "classes": saved.classes, "preprocess": saved.preprocess, "sha256": saved.sha256, "version": saved.version,
            "temperature": model.temperature,
        });
        Ok(Self {
            names: saved.classes.clone(),
            task: model.task,
            preprocess,
            normaliser: preprocess.normaliser(),
            max_pixels,
            about,
            page: page::whole(PAGE, saved, model),
        })
    }
}

impl Service for Images {
    type Input = Input;
    type Output = Vec<f32>;
    type Wish = Wish;

    fn wish(&self, query: &[(String, String)]) -> Result<Wish, Refusal> {
        Wish::read(query, self.task)
    }

    fn takes(&self, media: Option<&str>) -> bool {
        // `curl --data-binary` says that it sends a form; the bytes decide what they are.
        let any = ["application/octet-stream", "binary/octet-stream", "application/x-www-form-urlencoded"];
        media.is_none_or(|media| media.starts_with("image/") || any.contains(&media))
    }

    fn read(&self, item: &Item) -> Result<Input, Refusal> {
        let bytes = &item.bytes;
        if let Some((width, height)) = dimensions_of(bytes) {
            let pixels = u64::from(width) * u64::from(height);
            if pixels > self.max_pixels {
                let most = self.max_pixels;
                return Err(Refusal::new(
                    413,
                    format!("the image has {width} x {height} pixels (expected at most {most})"),
                ));
            }
        }
        let image = decode_bytes(bytes).map_err(|reason| refusal(&reason))?;
        let image = self.preprocess.eval_transform(&image);
        let image = image.map_err(|error| Refusal::new(400, error.to_string()))?;
        let mut input = vec![0f32; image.as_raw().len()];
        let normalised = self.normaliser.normalise_hwc(&image, &mut input);
        normalised.map_err(|error| Refusal::new(500, error.to_string()))?;
        Ok(input)
    }

    fn say(&self, name: &str, output: &Vec<f32>, wish: &Wish) -> Value {
        wish.saying(&self.names, self.task, "file").value(name, output)
    }

    fn about(&self) -> Value {
        self.about.clone()
    }

    fn page(&self) -> (&str, &str) {
        (&self.page, POLICY)
    }
}

fn refusal(reason: &DecodeReason) -> Refusal {
    let status = match reason {
        DecodeReason::Format { .. } | DecodeReason::Unsupported { .. } => 415,
        DecodeReason::TooLarge { .. } => 413,
        _ => 400,
    };
    let refusal = Refusal::new(status, format!("the image cannot be decoded: {reason}"));
    match reason.hint() {
        Some(hint) => refusal.hint(hint),
        None => refusal,
    }
}

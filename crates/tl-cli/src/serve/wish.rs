//! What a request wants to know: how many classes, and how sure. The decision: images and texts take the same words, those
//! of `tl predict`.

use tl_heads::Task;
use tl_serve::Refusal;

use crate::predict::Saying;

/// What is to be said.
#[derive(Clone, Debug, Default)]
pub(super) struct Wish {
    top: Option<usize>,
    threshold: Option<f32>,
}

impl Wish {
    /// From the names and values of a query.
    pub(super) fn read(query: &[(String, String)], task: Task) -> Result<Self, Refusal> {
        let mut wish = Self::default();
        let numbers = matches!(task, Task::Regression { .. });
        for (name, value) in query {
            let odd =
                |expected: &str| Refusal::new(400, format!("`{name}` is `{value}` (expected {expected})"));
            match name.as_str() {
                "top" | "threshold" if numbers => {
                    return Err(Refusal::new(
                        400,
                        format!("`{name}` is for classes and labels, and this model says numbers"),
                    ));
                }
                "top" => {
                    let top = value.parse().ok().filter(|top| *top >= 1);
                    wish.top = Some(top.ok_or_else(|| odd("a number from 1 on"))?);
                }
                "threshold" => {
                    let threshold = value.parse().ok().filter(|p| (0.0..=1.0).contains(p));
                    wish.threshold = Some(threshold.ok_or_else(|| odd("0 to 1"))?);
                }
                _ => {
                    return Err(
                        Refusal::new(400, format!("`{name}` is not known")).hint("top and threshold are")
                    );
                }
            }
        }
        Ok(wish)
    }

    /// How that is said.
    pub(super) fn saying<'a>(&self, names: &'a [String], task: Task, key: &'static str) -> Saying<'a> {
        Saying { names, task: Some(task), raw: false, top: self.top, threshold: self.threshold, key }
    }
}

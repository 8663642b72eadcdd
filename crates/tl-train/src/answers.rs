//! What is right for each image: a class, or a row of labels or numbers.
//!
//! The one decision: numbers are kept as a person wrote them. What the net learns of them is a matter of the loss, and
//! what is measured and said is in their own units.

use tl_data::{Batch, Sample};
use tl_heads::Task;

use crate::error::TrainError;

/// What is right for each of some images.
#[derive(Clone, Debug, PartialEq)]
pub enum Answers {
    /// The class of each image.
    Classes(Vec<u32>),
    /// `[image][label]`, 1 where an image has a label and 0 where not; or `[image][target]`, numbers.
    Rows(Vec<Vec<f32>>),
    /// `[text][word]`, the tag of each word.
    Tags(Vec<Vec<u32>>),
}

impl Answers {
    /// Of no images.
    pub(crate) fn none(task: Task) -> Self {
        match task {
            Task::Softmax { .. } | Task::Binary => Self::Classes(Vec::new()),
            Task::MultiLabel { .. } | Task::Regression { .. } => Self::Rows(Vec::new()),
            Task::Tagging { .. } => Self::Tags(Vec::new()),
        }
    }

    /// Of samples that [`check`] has found to have them.
    pub(crate) fn of<'a>(task: Task, samples: impl Iterator<Item = &'a Sample>) -> Self {
        match Self::none(task) {
            Self::Classes(_) => Self::Classes(samples.map(|sample| sample.label).collect()),
            Self::Rows(_) => {
                let row = |sample: &Sample| sample.target.as_deref().map(<[f32]>::to_vec).unwrap_or_default();
                Self::Rows(samples.map(row).collect())
            }
            Self::Tags(_) => {
                let tags = |sample: &Sample| {
                    sample.target.iter().flat_map(|tags| tags.iter()).map(|tag| *tag as u32).collect()
                };
                Self::Tags(samples.map(tags).collect())
            }
        }
    }

    /// Of a batch, as its samples have them: not mixed.
    pub(crate) fn of_batch(batch: &Batch) -> Self {
        match &batch.targets {
            None => Self::Classes(batch.labels.clone()),
            Some(targets) => Self::Rows(targets.rows().into_iter().map(|row| row.to_vec()).collect()),
        }
    }

    /// Number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Classes(labels) => labels.len(),
            Self::Rows(rows) => rows.len(),
            Self::Tags(texts) => texts.len(),
        }
    }

    /// Whether there are no images.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those of the images at these places.
    pub(crate) fn pick(&self, places: &[u32]) -> Self {
        let places = places.iter().map(|&place| place as usize);
        match self {
            Self::Classes(labels) => Self::Classes(places.map(|place| labels[place]).collect()),
            Self::Rows(rows) => Self::Rows(places.map(|place| rows[place].clone()).collect()),
            Self::Tags(texts) => Self::Tags(places.map(|place| texts[place].clone()).collect()),
        }
    }

    /// Adds those of more images of the same kind.
    pub(crate) fn extend(&mut self, more: Self) {
        match (self, more) {
            (Self::Classes(labels), Self::Classes(more)) => labels.extend(more),
            (Self::Rows(rows), Self::Rows(more)) => rows.extend(more),
            (Self::Tags(texts), Self::Tags(more)) => texts.extend(more),
            // Samples are checked before the first batch.
            (Self::Classes(_) | Self::Rows(_) | Self::Tags(_), _) => {}
        }
    }
}

/// Whether every sample has what a model of this task answers.
///
/// # Errors
/// One has a class where there should be labels or numbers, or the other way round, or something out of range.
pub(crate) fn check(task: Task, samples: &[Sample]) -> Result<(), TrainError> {
    let names = task.names();
    let rows = matches!(Answers::none(task), Answers::Rows(_));
    let tag = |value: &f32| *value >= 0.0 && *value < names as f32 && value.fract() == 0.0;
    let fits = |sample: &Sample| match &sample.target {
        Some(row) if matches!(task, Task::Tagging { .. }) => row.iter().all(tag),
        None => !rows && !matches!(task, Task::Tagging { .. }) && i64::from(sample.label) < names,
        Some(row) => rows && row.len() as i64 == names && row.iter().all(|value| value.is_finite()),
    };
    match samples.iter().find(|sample| !fits(sample)) {
        None => Ok(()),
        Some(sample) => Err(TrainError::Answer {
            file: sample.rel.clone(),
            got: match &sample.target {
                None => format!("class {}", sample.label),
                Some(row) => format!("{row:?}"),
            },
            expected: match task {
                Task::Softmax { .. } | Task::Binary => format!("a class below {names}"),
                Task::MultiLabel { .. } => format!("a row of {names} labels"),
                Task::Regression { .. } => format!("a row of {names} finite numbers"),
                Task::Tagging { .. } => format!("the number of a tag below {names} for each word"),
            },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_that_do_not_fit_the_task_are_named() {
        let sample = |label: u32, target: Option<&[f32]>| {
            let target = target.map(Into::into);
            Sample { path: "a.png".into(), label, target, id: 0, rel: "a.png".to_owned() }
        };
        let (softmax, labels) = (Task::Softmax { classes: 2 }, Task::MultiLabel { labels: 2 });
        let numbers = Task::Regression { targets: 1 };
        for (task, sample) in [
            (softmax, sample(1, None)),
            (Task::Binary, sample(1, None)),
            (labels, sample(0, Some(&[0.0, 1.0]))),
            (numbers, sample(0, Some(&[-3.5]))),
        ] {
            check(task, &[sample]).unwrap();
        }
        for (task, sample, text) in [
            (softmax, sample(2, None), "image `a.png` has class 2, expected a class below 2"),
            (softmax, sample(0, Some(&[1.0, 0.0])), "image `a.png` has [1.0, 0.0], expected a class below 2"),
            (labels, sample(0, None), "image `a.png` has class 0, expected a row of 2 labels"),
            (labels, sample(0, Some(&[1.0])), "image `a.png` has [1.0], expected a row of 2 labels"),
            (
                numbers,
                sample(0, Some(&[f32::NAN])),
                "image `a.png` has [NaN], expected a row of 1 finite numbers",
            ),
        ] {
            assert_eq!(check(task, &[sample]).unwrap_err().to_string(), text);
        }
    }
}

//! Every metric by its name, for each kind of answer.
//!
//! The decision behind it: what cannot be said is `None` and never 0 or NaN, because an epoch without a value must not
//! be taken for a bad one or a good one. A mean over classes is over those of which the value can be said.

use tl_finetune::Metric;
use tl_heads::Task;

use super::classes::{self, Confusion};
use super::{ranking, values};

/// Answers beside what is right, of one pass over a set of images.
#[derive(Clone, Copy, Debug)]
pub enum Judged<'a> {
    /// One class an image.
    Classes {
        /// `[image][class]`, each row summing to 1.
        probabilities: &'a [Vec<f32>],
        /// The class of each image.
        labels: &'a [u32],
    },
    /// Any number of labels an image.
    Labels {
        /// `[image][label]`, `0..=1`.
        probabilities: &'a [Vec<f32>],
        /// `[image][label]`.
        present: &'a [Vec<bool>],
    },
    /// Numbers.
    Values {
        /// `[image][target]`.
        predicted: &'a [Vec<f32>],
        /// `[image][target]`.
        targets: &'a [Vec<f32>],
    },
}

impl Judged<'_> {
    /// The metric; none if it is not one of [`measured`] for this kind of answer, if there is no image, no class with
    /// what it needs, or a number that is not finite, and for [`Metric::Loss`], which only the training knows.
    #[must_use]
    pub fn value(&self, metric: Metric) -> Option<f64> {
        match *self {
            Self::Classes { probabilities, labels } => of_classes(metric, probabilities, labels),
            Self::Labels { probabilities, present } => match metric {
                Metric::MacroF1 => mean(label_counts(probabilities, present)?.into_iter().map(Counts::f1)),
                Metric::Auroc => over_columns(probabilities, present, ranking::auroc),
                Metric::AveragePrecision => over_columns(probabilities, present, ranking::average_precision),
                _ => None,
            },
            Self::Values { predicted, targets } => match metric {
                Metric::Mae => values::mae(predicted, targets),
                Metric::R2 => values::r2(predicted, targets),
                _ => None,
            },
        }
    }
}

/// What can be measured of answers to a task, [`Metric::Loss`] first.
#[must_use]
pub fn measured(task: Task) -> &'static [Metric] {
    match task {
        Task::Softmax { .. } | Task::Binary => &[
            Metric::Loss,
            Metric::Accuracy,
            Metric::BalancedAccuracy,
            Metric::Top5Accuracy,
            Metric::MacroF1,
            Metric::Auroc,
            Metric::AveragePrecision,
            Metric::LogLoss,
            Metric::Ece,
        ],
        Task::MultiLabel { .. } => &[Metric::Loss, Metric::MacroF1, Metric::Auroc, Metric::AveragePrecision],
        Task::Regression { .. } => &[Metric::Loss, Metric::Mae, Metric::R2],
        Task::Tagging { entities: true, .. } => &[Metric::Loss, Metric::EntityF1, Metric::WordAccuracy],
        Task::Tagging { entities: false, .. } => &[Metric::Loss, Metric::WordAccuracy, Metric::MacroF1],
    }
}

/// What to judge a run by where nobody says. `counts` has the number of images of each class: accuracy hides what
/// happens to the small ones once the largest has more than one and a half times the images of the smallest. Errors of
/// several numbers have different units and no mean that says anything.
#[must_use]
pub fn default_metric(task: Task, counts: &[usize]) -> Metric {
    match task {
        Task::Softmax { .. } | Task::Binary => {
            let (smallest, largest) = (counts.iter().min(), counts.iter().max());
            let uneven = smallest.zip(largest).is_some_and(|(low, high)| *high as f64 > 1.5 * *low as f64);
            if uneven { Metric::BalancedAccuracy } else { Metric::Accuracy }
        }
        Task::MultiLabel { .. } => Metric::AveragePrecision,
        Task::Regression { targets: 1 } => Metric::Mae,
        Task::Regression { .. } => Metric::R2,
        Task::Tagging { entities: true, .. } => Metric::EntityF1,
        Task::Tagging { entities: false, .. } => Metric::WordAccuracy,
    }
}

/// Harmonic mean of precision and recall over all labels of all images together; a label counts as said from a
/// probability of one half. None if there is nothing to say, or nothing was said nor is there.
#[must_use]
pub fn micro_f1(probabilities: &[Vec<f32>], present: &[Vec<bool>]) -> Option<f64> {
    let counts = label_counts(probabilities, present)?;
    let sum = |a: Counts, b: Counts| Counts { right: a.right + b.right, wrong: a.wrong + b.wrong };
    counts.into_iter().reduce(sum)?.f1()
}

fn of_classes(metric: Metric, probabilities: &[Vec<f32>], labels: &[u32]) -> Option<f64> {
    let confusion = || Confusion::new(probabilities, labels);
    match metric {
        Metric::Accuracy => confusion()?.accuracy(),
        Metric::BalancedAccuracy => confusion()?.balanced_accuracy(),
        Metric::MacroF1 => confusion()?.macro_f1(),
        Metric::Top5Accuracy => classes::top_accuracy(probabilities, labels, 5),
        Metric::LogLoss => classes::log_loss(probabilities, labels),
        Metric::Ece => classes::calibration_error(probabilities, labels),
        Metric::Auroc => one_against_rest(probabilities, labels, ranking::auroc),
        Metric::AveragePrecision => one_against_rest(probabilities, labels, ranking::average_precision),
        Metric::Loss | Metric::Mae | Metric::R2 | Metric::EntityF1 | Metric::WordAccuracy => None,
    }
}

/// Of two classes that of the second, else the mean over the classes.
fn one_against_rest(
    probabilities: &[Vec<f32>],
    labels: &[u32],
    of: fn(&[f32], &[bool]) -> Option<f64>,
) -> Option<f64> {
    let classes = super::width(probabilities, labels.len())?;
    let one = |class: usize| of(&column(probabilities, class), &is(labels, class));
    if classes == 2 { one(1) } else { mean((0..classes).map(one)) }
}

fn is(labels: &[u32], class: usize) -> Vec<bool> {
    labels.iter().map(|label| *label as usize == class).collect()
}

fn column<T: Copy>(rows: &[Vec<T>], i: usize) -> Vec<T> {
    rows.iter().map(|row| row[i]).collect()
}

fn over_columns(
    probabilities: &[Vec<f32>],
    present: &[Vec<bool>],
    of: fn(&[f32], &[bool]) -> Option<f64>,
) -> Option<f64> {
    let labels = paired(probabilities, present)?;
    mean((0..labels).map(|i| of(&column(probabilities, i), &column(present, i))))
}

/// Number of labels, if both have the same of each.
fn paired(probabilities: &[Vec<f32>], present: &[Vec<bool>]) -> Option<usize> {
    let labels = super::width(probabilities, present.len())?;
    present.iter().all(|row| row.len() == labels).then_some(labels)
}

/// The mean of what there is.
fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    super::mean(&values.flatten().collect::<Vec<_>>())
}

/// How often a label was said rightly, and how often it was said or missed wrongly.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    right: u64,
    wrong: u64,
}

impl Counts {
    fn f1(self) -> Option<f64> {
        let of = 2 * self.right + self.wrong;
        (of > 0).then(|| 2.0 * self.right as f64 / of as f64)
    }
}

fn label_counts(probabilities: &[Vec<f32>], present: &[Vec<bool>]) -> Option<Vec<Counts>> {
    let mut counts = vec![Counts::default(); paired(probabilities, present)?];
    for (probabilities, present) in probabilities.iter().zip(present) {
        for (count, (p, there)) in counts.iter_mut().zip(probabilities.iter().zip(present)) {
            let said = *p >= 0.5;
            count.right += u64::from(said && *there);
            count.wrong += u64::from(said != *there);
        }
    }
    Some(counts)
}

#[cfg(test)]
#[path = "golden_tests.rs"]
mod tests;

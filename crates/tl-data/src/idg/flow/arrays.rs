//! Batches of images that are in memory already: Keras's `flow`.
//!
//! The one decision: labels are numbers in an array with one row for each image, whatever they mean; classes
//! are none of this flow's business, but for the one check that a split has the same on both sides.

use std::collections::BTreeSet;

use ndarray::{Array4, ArrayD, Axis, Slice};

use super::{Batching, Flow, Source, TargetSource, Values};
use crate::idg::ImageDataGenerator;
use crate::idg::args::{Args, Reader, fail_if_any};
use crate::idg::error::{IdgError, IdgProblem};
use crate::idg::layout::dimensions;
use crate::idg::options::Compat;

const OF: &str = "flow";

/// Images in memory and what belongs to them.
#[derive(Debug, Clone, PartialEq)]
pub struct ArrayData {
    /// Images, `[N, H, W, C]`, or `[N, C, H, W]` with `channels_first`.
    pub x: Array4<f32>,
    /// Labels, `[N]` or `[N, K]` or more, handed on as they are.
    pub y: Option<ArrayD<f64>>,
    /// A weight for each image. Keras 3 does not cut the weights with a subset, so that its first ones go with
    /// whatever images there are.
    pub sample_weight: Option<Vec<f32>>,
    /// Other inputs of the net, `[N, ...]` each, handed on as they are.
    pub misc: Vec<ArrayD<f32>>,
}

impl ArrayData {
    /// Images alone.
    pub fn new(x: Array4<f32>) -> Self {
        Self { x, y: None, sample_weight: None, misc: Vec::new() }
    }

    /// With labels.
    #[must_use]
    pub fn with_labels(self, y: ArrayD<f64>) -> Self {
        Self { y: Some(y), ..self }
    }
}

/// The further arguments of Keras's `flow`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ArrayOptions {
    /// How images are put together.
    pub batching: Batching,
    /// With a subset: do not check that both parts have the same labels, as for numbers that are no classes.
    pub ignore_class_split: bool,
}

impl ArrayOptions {
    /// Reads Keras's keyword arguments of `flow`, without the arrays.
    ///
    /// # Errors
    /// Names that are not arguments and values that cannot be used, together.
    pub fn from_args(args: Args) -> Result<Self, IdgError> {
        let mut r = Reader::new(args);
        let batching = Batching::read(&mut r);
        let ignore_class_split = r.flag("ignore_class_split", false);
        r.finish(OF, Self { batching, ignore_class_split })
    }
}

impl ImageDataGenerator {
    /// Batches of images in memory, as Keras's `flow`. A subset is cut off in the order given.
    ///
    /// # Errors
    /// No images, arrays of different lengths or with numbers that are not finite, a subset without a split or
    /// without images, and parts of a split that do not have the same labels; all together. With
    /// [`Compat::Keras3`] an empty subset and such numbers are warnings, as Keras lets them pass.
    pub fn flow(&self, data: ArrayData, options: &ArrayOptions) -> Result<Flow, IdgError> {
        let ArrayData { x, y, sample_weight, misc } = data;
        let n = x.dim().0;
        let mut problems = options.batching.problems(self);
        if x.is_empty() {
            let (got, expected) = (format!("{:?} in shape", x.shape()), "at least one pixel".to_owned());
            problems.push(IdgProblem::Value { name: "x", got, expected });
        }
        problems.extend(y.as_ref().and_then(|y| length_problem("y", y.shape(), n)));
        problems.extend(
            sample_weight.as_ref().and_then(|weights| length_problem("sample_weight", &[weights.len()], n)),
        );
        problems.extend(misc.iter().filter_map(|misc| length_problem("misc", misc.shape(), n)));
        let split = self.options.validation_split;
        let part = options.batching.part(n, split);
        let mut lenient = Vec::new();
        if problems.is_empty() && part.is_empty() {
            lenient.push(options.batching.empty_part(n, split));
        }
        let strict = self.options.compat == Compat::Documented;
        let compared = options.batching.subset.is_some() && !options.ignore_class_split;
        if problems.is_empty() && compared && !(strict && part.is_empty()) {
            let first = (split * n as f64) as usize;
            let differ = |y: &ArrayD<f64>| !same_labels(y, first, self.options.compat);
            problems.extend(y.as_ref().filter(|y| differ(y)).map(|_| IdgProblem::SplitLabels));
        }
        if problems.is_empty() {
            let rows = |y: &ArrayD<f64>| {
                y.axis_iter(Axis(0)).map(|row| row.iter().all(|value| value.is_finite())).collect()
            };
            lenient.extend(y.as_ref().and_then(|y| not_finite("`y`", rows(y))));
            let finite = |weights: &Vec<f32>| weights.iter().map(|weight| weight.is_finite()).collect();
            lenient.extend(
                sample_weight.as_ref().and_then(|weights| not_finite("`sample_weight`", finite(weights))),
            );
        }
        let mut warnings = self.array_warnings(&x);
        if strict {
            problems.append(&mut lenient);
        }
        warnings.extend(lenient.iter().map(ToString::to_string));
        fail_if_any(OF, problems)?;

        let cut = Slice::from(part.clone());
        let whole = part.len() == n;
        let mut differences = Vec::new();
        if !whole && sample_weight.is_some() {
            differences.push(
                "`sample_weight` with a subset: documented as the weight of each image; Keras 3 takes the first \
                 weights for either part"
                    .to_owned(),
            );
        }
        let weights = sample_weight.map(|weights| match self.options.compat {
            Compat::Documented => weights[part.clone()].to_vec(),
            Compat::Keras3 => weights[..part.len()].to_vec(),
        });
        let ids = part.map(|at| at as u64).collect();
        let x = if whole { x } else { x.slice_axis(Axis(0), cut).to_owned() };
        let y = y.map(|y| if whole { y } else { y.slice_axis(Axis(0), cut).to_owned() });
        Ok(Flow {
            warnings,
            targets: y.map_or(TargetSource::Classes(None), |y| TargetSource::Raw(Values::Numbers(y))),
            weights,
            misc: misc.iter().map(|misc| misc.slice_axis(Axis(0), cut).to_owned()).collect(),
            differences,
            ..Flow::new(self, Source::Arrays(x), ids, &options.batching)
        })
    }

    fn array_warnings(&self, x: &Array4<f32>) -> Vec<String> {
        let mut lines = self.warnings();
        let (_, a, b, c) = x.dim();
        let channels = dimensions([a, b, c], self.options.data_format).2;
        if ![1, 3, 4].contains(&channels) {
            lines
                .push(format!("the images have {channels} channels (expected 1, 3 or 4); see `data_format`"));
        }
        lines
    }
}

/// What is wrong with the length of an array beside the images.
fn length_problem(what: &'static str, shape: &[usize], expected: usize) -> Option<IdgProblem> {
    match shape.first() {
        None => Some(IdgProblem::Value {
            name: what,
            got: "a single number".to_owned(),
            expected: "an array with an entry for each image".to_owned(),
        }),
        Some(&got) => (got != expected).then_some(IdgProblem::Length { what, got, expected }),
    }
}

/// The rows that are not finite, if there are any.
fn not_finite(what: &str, finite: Vec<bool>) -> Option<IdgProblem> {
    let rows: Vec<usize> =
        finite.iter().enumerate().filter(|(_, finite)| !**finite).map(|(row, _)| row).collect();
    (!rows.is_empty()).then(|| IdgProblem::NotFinite { what: what.to_owned(), rows })
}

/// Whether both sides of a split have the same labels.
///
/// Rows of one-hot labels count by their class; Keras 3 looks at the single numbers of `y`, which are always 0
/// and 1 then, and so sees nothing.
fn same_labels(y: &ArrayD<f64>, first: usize, compat: Compat) -> bool {
    let (before, after) = y.view().split_at(Axis(0), first);
    let one_hot = |row: &ndarray::ArrayViewD<f64>| {
        row.iter().filter(|&&value| value == 1.0).count() == 1 && row.iter().all(|&v| v == 0.0 || v == 1.0)
    };
    let by_class = compat == Compat::Documented
        && y.ndim() == 2
        && y.shape()[1] > 1
        && y.axis_iter(Axis(0)).all(|row| one_hot(&row));
    let set = |part: ndarray::ArrayViewD<f64>| -> BTreeSet<u64> {
        if by_class {
            let class = |row: ndarray::ArrayViewD<f64>| {
                row.iter().position(|&value| value == 1.0).unwrap_or(0) as u64
            };
            part.axis_iter(Axis(0)).map(class).collect()
        } else {
            // The bits of a number; 0 has two signs.
            part.iter().map(|value| (value + 0.0).to_bits()).collect()
        }
    };
    set(before) == set(after)
}

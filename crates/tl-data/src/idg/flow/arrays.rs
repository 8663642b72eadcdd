//! Batches of images that are in memory already: Keras's `flow`.
//!
//! The one decision: labels are numbers in an array with one row for each image, whatever they mean; classes
//! are none of this flow's business, but for the one check that a split has the same on both sides.

use std::collections::BTreeSet;

use ndarray::{Array4, ArrayD, Axis, Slice};

use super::{Batching, Flow, Labels, Source, TargetSource, Values};
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
    /// A weight for each image.
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
    /// Arrays of different lengths, a subset without a split, and parts of a split that do not have the same
    /// labels; all together.
    pub fn flow(&self, data: ArrayData, options: &ArrayOptions) -> Result<Flow, IdgError> {
        let n = data.x.dim().0;
        let mut problems = options.batching.problems(self);
        let lengths = [
            ("y", data.y.as_ref().map(|y| y.shape().first().copied().unwrap_or(0))),
            ("sample_weight", data.sample_weight.as_ref().map(Vec::len)),
        ];
        let misc = data.misc.iter().map(|m| ("misc", Some(m.shape().first().copied().unwrap_or(0))));
        for (what, got) in lengths.into_iter().chain(misc) {
            if let Some(got) = got.filter(|&got| got != n) {
                problems.push(IdgProblem::Length { what, got, expected: n });
            }
        }
        let split = self.options.validation_split;
        if problems.is_empty() && options.batching.subset.is_some() && !options.ignore_class_split {
            let first = (split * n as f64) as usize;
            let differ = |y: &ArrayD<f64>| !same_labels(y, first, self.options.compat);
            problems.extend(data.y.as_ref().filter(|y| differ(y)).map(|_| IdgProblem::SplitLabels));
        }
        fail_if_any(OF, problems)?;

        let part = options.batching.part(n, split);
        let cut = Slice::from(part.clone());
        let x = data.x.slice_axis(Axis(0), cut).to_owned();
        let y = data.y.map(|y| y.slice_axis(Axis(0), cut).to_owned());
        Ok(Flow {
            generator: self.clone(),
            warnings: self.array_warnings(&x),
            source: Source::Arrays(x),
            targets: y.map_or(TargetSource::Classes(None), |y| TargetSource::Raw(Values::Numbers(y))),
            labels: Labels::None,
            classes: Vec::new(),
            filenames: Vec::new(),
            ids: part.clone().map(|at| at as u64).collect(),
            weights: data.sample_weight.map(|weights| weights[part].to_vec()),
            misc: data.misc.iter().map(|misc| misc.slice_axis(Axis(0), cut).to_owned()).collect(),
            batching: options.batching.clone(),
            pool: None,
            next: (0, 0),
            order: None,
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

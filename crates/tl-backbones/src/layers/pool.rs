//! Pooling between layers of a net.

use tch::Tensor;
use tl_torch::Scope;

use super::Tag;
use crate::stage::{Block, Mode};

/// How a pooling layer goes over a map.
#[derive(Clone, Copy, Debug)]
pub struct PoolSpec {
    /// The largest, or the mean.
    pub max: bool,
    /// Height and width of the window.
    pub kernel: i64,
    /// Along both axes.
    pub stride: i64,
    /// Rows and columns added on each side.
    pub padding: i64,
    /// Whether a window that does not fit whole counts.
    pub ceil: bool,
}

impl PoolSpec {
    /// The largest of a window.
    #[must_use]
    pub fn max(kernel: i64, stride: i64, padding: i64) -> Self {
        Self { max: true, kernel, stride, padding, ceil: false }
    }

    /// The mean of a window.
    #[must_use]
    pub fn average(kernel: i64, stride: i64, padding: i64) -> Self {
        Self { max: false, ..Self::max(kernel, stride, padding) }
    }

    /// With windows that do not fit whole.
    #[must_use]
    pub fn ceil(self) -> Self {
        Self { ceil: true, ..self }
    }
}

/// The layer.
#[derive(Debug)]
pub struct Pool {
    tag: Tag,
    spec: PoolSpec,
}

impl Pool {
    /// Called `name` in `scope`.
    #[must_use]
    pub fn new(scope: &Scope<'_>, name: &str, spec: PoolSpec) -> Self {
        Self { tag: Tag::bare(scope, name), spec }
    }
}

impl Block for Pool {
    fn forward(&self, xs: &Tensor, mode: Mode<'_>) -> Tensor {
        let PoolSpec { max, kernel, stride, padding, ceil } = self.spec;
        let (kernel, stride, padding) = ([kernel; 2], [stride; 2], [padding; 2]);
        let ys = match max {
            true => xs.max_pool2d(kernel, stride, padding, [1, 1], ceil),
            // Padding counts as zeros, as torchvision's Inception has it.
            false => xs.avg_pool2d(kernel, stride, padding, ceil, true, None),
        };
        self.tag.note(if max { "MaxPool2d" } else { "AvgPool2d" }, &ys, 0, mode);
        ys
    }
}

/// Padding that the layer behind it does itself. Keras lists it as a layer, and so it is counted.
#[derive(Debug)]
pub(crate) struct Pad(Tag);

impl Pad {
    pub(crate) fn new(scope: &Scope<'_>, name: &str) -> Self {
        Self(Tag::bare(scope, name))
    }

    /// `width` rows and columns on every side of `xs`.
    pub(crate) fn note(&self, xs: &Tensor, width: i64, mode: Mode<'_>) {
        if let Some(trace) = mode.trace {
            let mut shape = xs.size();
            shape.iter_mut().skip(2).for_each(|side| *side += 2 * width);
            trace.note_shape(&self.0, "ZeroPad2d", &shape, 0);
        }
    }
}

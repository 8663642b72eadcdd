//! The order of axes at the border of this module.
//!
//! The one decision: inside, images are always `[H, W, C]` in standard layout; `channels_first` is a matter of
//! what comes in and goes out.

use ndarray::{Array3, ArrayView3, CowArray, Ix3};

use super::options::DataFormat;

/// The image as `[H, W, C]` in standard layout, copied only if it is not so already.
pub(super) fn hwc<'a>(image: &ArrayView3<'a, f32>, format: DataFormat) -> CowArray<'a, f32, Ix3> {
    let view = match format {
        DataFormat::ChannelsLast => *image,
        DataFormat::ChannelsFirst => image.permuted_axes([1, 2, 0]),
    };
    if view.is_standard_layout() { view.into() } else { view.as_standard_layout().into_owned().into() }
}

/// From `[H, W, C]` back.
pub(super) fn from_hwc(image: Array3<f32>, format: DataFormat) -> Array3<f32> {
    match format {
        DataFormat::ChannelsLast => image,
        DataFormat::ChannelsFirst => image.permuted_axes([2, 0, 1]).as_standard_layout().into_owned(),
    }
}

/// Height, width and channels of an image, or of the images, with these last three axes.
pub(super) fn dimensions(axes: [usize; 3], format: DataFormat) -> (usize, usize, usize) {
    let [a, b, c] = axes;
    match format {
        DataFormat::ChannelsLast => (a, b, c),
        DataFormat::ChannelsFirst => (b, c, a),
    }
}

//! Memory layout: images and convolution weights are kept channels-last.
//!
//! On CPUs oneDNN's convolutions run about 1.3 times faster on channels-last tensors than on contiguous ones (measured
//! on ResNet-50 and MobileNetV2), and on GPUs tensor cores want them too, so there is one layout and no option.

use tch::{Device, Kind, Tensor};

/// `[N, C, H, W]` with channels innermost in memory; other ranks are made contiguous. Values and shape are unchanged.
pub fn channels_last(xs: &Tensor) -> Tensor {
    if xs.dim() == 4 { xs.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]) } else { xs.contiguous() }
}

/// A batch for the net from values in `[N, C, H, W]` order, as f32, channels-last, on `device`.
///
/// # Panics
/// When `data` does not hold `shape`'s number of values; the caller owns both.
pub fn image_batch(data: &[f32], shape: [i64; 4], device: Device) -> Tensor {
    let flat = Tensor::from_slice(data).view(shape).to_kind(Kind::Float);
    channels_last(&flat.to_device(device))
}

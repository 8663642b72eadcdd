//! The values of a tensor, whatever its layout in memory.

use tch::kind::Element;
use tch::{Device, Kind, Tensor};

/// In row-major order.
pub(crate) fn flat<T: Element + Clone + Default>(tensor: &Tensor, kind: Kind) -> Vec<T> {
    let flat = tensor.to_device(Device::Cpu).to_kind(kind).contiguous().view([-1]);
    let mut values = vec![T::default(); flat.numel()];
    let n = values.len();
    flat.copy_data(&mut values, n);
    values
}

/// The same as the bytes of f32, little-endian.
pub(crate) fn bytes(tensor: &Tensor) -> Vec<u8> {
    flat::<f32>(tensor, Kind::Float).iter().flat_map(|value| value.to_le_bytes()).collect()
}

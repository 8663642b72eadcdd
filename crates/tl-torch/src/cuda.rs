//! GPUs: which there are, libtorch's part for them, and the way to them.
//!
//! The decision behind it: that part is gigabytes, so it is not linked but loaded when a GPU is to be used, and the
//! driver alone is asked whether there is one. A program that runs on the CPU starts as fast as without it.

#![expect(unsafe_code, reason = "the seam is a C interface")]

use std::ffi::{c_char, c_int};
use std::fmt;
use std::ptr::null_mut;

use tch::{Device, Tensor};
use torch_sys::C_tensor;

use crate::error::{TorchError, short};
use crate::seam::{check, take};

unsafe extern "C" {
    fn tl_gpus(lines: *mut *mut c_char) -> *mut c_char;
    fn tl_cuda_load() -> *mut c_char;
    fn tl_upload(xs: *const C_tensor, gpu: c_int, copy: *mut *mut C_tensor) -> *mut c_char;
}

/// A GPU that the driver knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpu {
    /// As its maker calls it: `NVIDIA H100 80GB HBM3`.
    pub name: String,
    /// Memory in bytes.
    pub memory: u64,
    /// Compute capability, major and minor; from 8.0 on there is bf16 in the matrix units.
    pub capability: (u32, u32),
}

impl fmt::Display for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:.0} GiB)", self.name, self.memory as f64 / (1u64 << 30) as f64)
    }
}

/// The GPUs, in the driver's order, of which `CUDA_VISIBLE_DEVICES` may hide some. Loads nothing of libtorch.
///
/// # Errors
/// There is no driver, or it does not start; on a machine without a GPU that is as it should be.
pub fn gpus() -> Result<Vec<Gpu>, TorchError> {
    let mut lines = null_mut();
    // SAFETY: `lines` is a place for a pointer, which is set where there is no error.
    let error = unsafe { tl_gpus(&raw mut lines) };
    match take(error) {
        Some(words) => Err(TorchError::Gpu(short(&words))),
        None => Ok(take(lines).unwrap_or_default().lines().filter_map(parse).collect()),
    }
}

fn parse(line: &str) -> Option<Gpu> {
    let mut parts = line.split('\t');
    let name = parts.next()?.to_owned();
    let memory = parts.next()?.parse().ok()?;
    let capability = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some(Gpu { name, memory, capability })
}

/// Loads libtorch's part for GPUs. From then on tensors can be on [`Device::Cuda`], and convolutions there are computed in
/// ways that give the same bits each time. Must come before anything else asks libtorch about GPUs: libtorch looks once.
///
/// # Errors
/// There is no driver, libtorch is here for the CPU only, its libraries do not load, or it finds no GPU that it can use.
pub fn load_cuda() -> Result<(), TorchError> {
    // SAFETY: loads libraries, which run initialisers of libtorch's own.
    take(unsafe { tl_cuda_load() }).map_or(Ok(()), |words| Err(TorchError::Gpu(short(&words))))
}

/// A tensor in the computer's memory, on `device`. To a GPU it is copied from locked memory, while the program goes on.
pub fn upload(xs: Tensor, device: Device) -> Tensor {
    let Device::Cuda(gpu) = device else { return xs.to_device(device) };
    // Where no memory can be locked, the program waits for the copy.
    locked(&xs, gpu).unwrap_or_else(|_| xs.to_device(device))
}

/// By the seam, because tch names a device with the wish for locked memory, and libtorch warns of that at every batch.
fn locked(xs: &Tensor, gpu: usize) -> Result<Tensor, TorchError> {
    let mut copy = null_mut();
    // SAFETY: the tensor is alive, and `copy` is written before it is read.
    check(unsafe { tl_upload(xs.as_ptr(), gpu as c_int, &raw mut copy) })?;
    // SAFETY: the seam made a tensor that is ours.
    Ok(unsafe { Tensor::from_ptr(copy) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_is_read_from_its_line() {
        let gpu = parse("NVIDIA H100 80GB HBM3\t85017624576\t9\t0").unwrap();
        assert_eq!((gpu.to_string().as_str(), gpu.capability), ("NVIDIA H100 80GB HBM3 (79 GiB)", (9, 0)));
        assert_eq!(parse("x\ty"), None);
    }

    #[test]
    fn what_is_missing_is_said_in_a_sentence() {
        if let Err(error) = gpus() {
            let words = error.to_string();
            assert!(words.starts_with("the") && !words.contains('\n'), "{words}");
            assert!(load_cuda().is_err());
        }
    }

    #[test]
    fn a_copy_to_where_no_gpu_is_fails_with_a_sentence() {
        let xs = Tensor::from_slice(&[1f32, 2.0]);
        assert!(upload(xs.shallow_clone(), Device::Cpu).equal(&xs));
        if gpus().is_err() {
            let words = locked(&xs, 0).unwrap_err().to_string();
            assert!(!words.is_empty() && !words.contains('\n'), "{words}");
        }
    }
}

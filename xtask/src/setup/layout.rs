//! Which files of a torch package a build needs, and what has to be added to them.
//!
//! The libraries look for each other by relative paths (`X/torch/lib`, `X/nvidia/cu13/lib`), so the packages' layout is
//! kept. The wheel's own `libtorch.so` pulls in CUDA and with it gigabytes; a linker script of that name takes its place.
//! What is for CUDA lies where the linker does not look, in `X/cuda/lib`: a program that is linked to it would load it at
//! every start, whether it uses a GPU or not. `tl` loads it when it does.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::libtorch::{self, check, missing_libraries};
use super::place::symlink;
use super::{Device, VERSION};

/// The folder of what is for GPUs alone, beside `torch`.
pub(crate) const CUDA: &str = "cuda/lib";

const LINKER_SCRIPT: &str = "GROUP ( libtorch_cpu.so libc10.so )\n";

/// Where a member of a wheel goes, if a build needs it.
pub(crate) fn keep(device: Device, member: &str) -> Option<PathBuf> {
    let parts: Vec<&str> = member.split('/').collect();
    let keep = match parts.as_slice() {
        ["torch", "include", ..] | ["torch.libs", _] => true,
        ["torch", "lib", name] => return place_of_library(device, name),
        ["nvidia", .., "lib", name] => keep_nvidia(device, name),
        [info, .., name] if info.ends_with(".dist-info") => {
            ["LICENSE", "NOTICE", "License.txt"].iter().any(|prefix| name.starts_with(prefix))
        }
        _ => false,
    };
    keep.then(|| PathBuf::from(member))
}

/// Where a file of `torch/lib` goes, if it is needed.
pub(crate) fn place_of_library(device: Device, name: &str) -> Option<PathBuf> {
    let library = name.contains(".so") || name.ends_with(".dylib");
    let python = ["libtorch_python", "libshm"].iter().any(|p| name.starts_with(p));
    let replaced = cfg!(target_os = "linux") && ["libtorch.so", "libtorch_global_deps.so"].contains(&name);
    let needed = library && !python && !replaced && (device == Device::Cuda || !is_cuda(name));
    let apart = is_cuda(name) && cfg!(target_os = "linux");
    needed.then(|| Path::new(if apart { CUDA } else { "torch/lib" }).join(name))
}

/// Whether a library of torch is for GPUs alone.
fn is_cuda(name: &str) -> bool {
    let names = ["libtorch_cuda", "libc10_cuda", "libcaffe2_nvrtc", "libtorch_nvshmem"];
    names.iter().any(|prefix| name.starts_with(prefix))
}

/// libtorch_cpu itself wants two of CUDA's libraries: the runtime and the profiler.
fn keep_nvidia(device: Device, name: &str) -> bool {
    let cpu = ["libcudart.so", "libcupti.so"].iter().any(|p| name.starts_with(p));
    name.contains(".so") && (device == Device::Cuda || cpu)
}

/// Adds what is missing to an unpacked or linked package, and checks the whole.
pub(crate) fn complete(folder: &Path, device: Device) -> Result<()> {
    let lib = folder.join("torch/lib");
    if cfg!(target_os = "linux") {
        if !lib.join("libtorch.so").exists() {
            fs::write(lib.join("libtorch.so"), LINKER_SCRIPT).context("cannot write `libtorch.so`")?;
        }
        if lib.join("libgomp.so.1").exists() && !lib.join("libgomp.so").exists() {
            symlink(Path::new("libgomp.so.1"), &lib.join("libgomp.so"))?;
        }
    }
    let torch = folder.join("torch");
    check(&torch)?;
    if device == Device::Cuda && libtorch::cuda(&torch).is_none() {
        bail!("this libtorch {VERSION} is for the CPU only");
    }
    let missing = missing_libraries(&torch);
    if !missing.is_empty() {
        bail!("libtorch would not load: {}", missing.join("; "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_build_needs_little_of_the_wheel() {
        let kept = |name: &str| keep(Device::Cpu, name).is_some();
        assert!(kept("torch/include/torch/script.h"));
        assert!(kept("torch/lib/libtorch_cpu.so") && kept("torch/lib/libgomp.so.1"));
        assert!(kept("nvidia/cu13/lib/libcudart.so.13") && kept("torch-2.11.0.dist-info/LICENSE"));
        assert!(!kept("torch/lib/libtorch_cuda.so") && !kept("torch/lib/libtorch_python.so"));
        assert!(!kept("torch/__init__.py") && !kept("torch/lib/libshm/x.h"));
        assert!(!kept("nvidia/cu13/lib/libnvperf_host.so") && !kept("nvidia/cu13/include/cuda.h"));
        assert_eq!(kept("torch/lib/libtorch.so"), cfg!(not(target_os = "linux")));
        let cuda = keep(Device::Cuda, "torch/lib/libtorch_cuda.so");
        let apart = if cfg!(target_os = "linux") { "cuda/lib" } else { "torch/lib" };
        assert_eq!(cuda, Some(Path::new(apart).join("libtorch_cuda.so")));
        assert!(keep(Device::Cuda, "nvidia/cudnn/lib/libcudnn.so.9").is_some());
        assert!(keep(Device::Cuda, "nvidia/cu13/lib/libcudart_static.a").is_none());
    }
}

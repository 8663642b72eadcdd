//! libtorch out of the Python packages: a torch wheel has headers and libraries, and any Python with pip can get it.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use tl_fetch::python::{self, Deps};
use tl_fetch::{FetchError, Fetched};

use super::layout;
use super::place::Place;
use super::progress::Ui;
use super::stamp::{Item, Stamp};
use super::{Device, VERSION};

/// What torch's own library for the CPU wants on Linux x86-64.
const CPU: &[&str] = &["nvidia-cuda-runtime==13.0.*", "nvidia-cuda-cupti==13.0.*"];
/// What torch requires on Linux for CUDA, without what only Python needs.
const CUDA: &[&str] = &[
    "cuda-toolkit[cublas,cudart,cufft,cufile,cupti,curand,cusolver,cusparse,nvjitlink,nvrtc,nvtx]==13.0.2",
    "nvidia-cudnn-cu13==9.19.0.56",
    "nvidia-cusparselt-cu13==0.8.0",
    "nvidia-nccl-cu13==2.28.9",
    "nvidia-nvshmem-cu13==3.4.5",
];

/// Downloads and unpacks the packages.
pub(crate) fn make(place: &Place, ui: &Ui) -> Result<PathBuf> {
    let device = place.device();
    // Wheels and what is unpacked of them, together, and some room.
    place.need(match device {
        Device::Cpu => 1_300_000_000,
        Device::Cuda => 6_800_000_000,
    })?;
    let files = download(place, ui)?;
    let made = place.temporary()?;
    ui.verb("unpacking");
    for file in &files {
        tl_fetch::unzip(&file.path, made.path(), &|member| layout::keep(device, member), &|p| ui.observe(p))?;
    }
    layout::complete(made.path(), device)?;
    let item = |f: &Fetched| Item {
        file: f.path.file_name().unwrap_or(f.path.as_os_str()).to_string_lossy().into_owned(),
        sha256: f.sha256.clone(),
        bytes: f.bytes,
    };
    Stamp::write(made.path(), device, "from pip".to_owned(), files.iter().map(item).collect())?;
    let target = place.settle(made, device.name())?;
    for file in &files {
        fs::remove_file(&file.path)?;
    }
    // Empty now, unless something else is being fetched.
    let _ = fs::remove_dir(place.downloads());
    Ok(target)
}

fn download(place: &Place, ui: &Ui) -> Result<Vec<Fetched>> {
    let dir = place.downloads();
    let python = python::find()?;
    let torch = format!("torch=={VERSION}");
    let get = |requirements: &[&str], deps| {
        ui.step(&format!("asking pip for {}", short(requirements)));
        ui.verb("downloading");
        python::wheels(&python, requirements, deps, &dir, &|p| ui.observe(p))
    };
    if place.device() == Device::Cuda {
        let mut files = get(&[&torch], Deps::Leave)?;
        files.extend(get(CUDA, Deps::Follow)?);
        return Ok(files);
    }
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Ok(get(&[&torch], Deps::Leave)?);
    }
    let all: Vec<&str> = std::iter::once(&*torch).chain(CPU.iter().copied()).collect();
    match get(&all, Deps::Leave) {
        // An index of CPU-only wheels has no CUDA packages, and its torch does not want them.
        Err(error @ FetchError::Pip { .. }) if !error.is_offline() => Ok(get(&[&torch], Deps::Leave)?),
        done => Ok(done?),
    }
}

/// The names in `requirements`, for a person.
fn short(requirements: &[&str]) -> String {
    let names = requirements.iter().map(|r| r.split(['=', '[']).next().unwrap_or(r));
    names.collect::<Vec<_>>().join(", ")
}

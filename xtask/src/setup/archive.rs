//! The official libtorch archive, where there is no pip; or one that the user names in `TL_LIBTORCH_ARCHIVE`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use tl_fetch::Fetched;

use super::layout;
use super::place::Place;
use super::progress::Ui;
use super::stamp::{Item, Stamp};
use super::{Device, VERSION};

const VARIABLE: &str = "TL_LIBTORCH_ARCHIVE";

/// Whether the user names an archive.
pub(crate) fn is_named() -> bool {
    named().is_some()
}

fn named() -> Option<String> {
    env::var(VARIABLE).ok().filter(|v| !v.is_empty())
}

/// Downloads and unpacks the archive.
pub(crate) fn make(place: &Place, ui: &Ui) -> Result<PathBuf> {
    let address = match named() {
        Some(address) => address,
        None => official(place.device())?,
    };
    make_from(place, ui, &address)
}

/// Downloads and unpacks the archive at `address`, which may be a file.
pub(crate) fn make_from(place: &Place, ui: &Ui, address: &str) -> Result<PathBuf> {
    let device = place.device();
    let local = address.strip_prefix("file://").unwrap_or(address);
    let file = if local.contains("://") {
        place.need(match device {
            Device::Cpu => 1_300_000_000,
            Device::Cuda => 8_500_000_000,
        })?;
        let name =
            address.split(['?', '#']).next().and_then(|a| a.rsplit('/').next()).unwrap_or("libtorch.zip");
        ui.verb("downloading");
        tl_fetch::http(address, &place.downloads().join(name), None, &|p| ui.observe(p))?
    } else {
        Fetched::of(Path::new(local))?
    };

    let made = place.temporary()?;
    ui.verb("unpacking");
    tl_fetch::unzip(&file.path, made.path(), &keep, &|p| ui.observe(p))?;
    layout::complete(made.path(), device)?;
    let item = Item { file: address.to_owned(), sha256: file.sha256, bytes: file.bytes };
    Stamp::write(made.path(), device, "from an archive".to_owned(), vec![item])?;
    let target = place.settle(made, device.name())?;
    if file.path.starts_with(place.downloads()) {
        fs::remove_file(&file.path)?;
        let _ = fs::remove_dir(place.downloads());
    }
    Ok(target)
}

/// Where a member of an archive goes: its one folder becomes `torch`.
fn keep(member: &str) -> Option<PathBuf> {
    let (_, inside) = member.split_once('/')?;
    let library = inside.starts_with("lib/") && (inside.contains(".so") || inside.ends_with(".dylib"));
    (library || inside.starts_with("include/") || inside == "build-version")
        .then(|| Path::new("torch").join(inside))
}

/// The archive that is published for this machine.
fn official(device: Device) -> Result<String> {
    const BASE: &str = "https://download.pytorch.org/libtorch";
    match (env::consts::OS, env::consts::ARCH, device) {
        ("linux", "x86_64", Device::Cpu) => {
            Ok(format!("{BASE}/cpu/libtorch-shared-with-deps-{VERSION}%2Bcpu.zip"))
        }
        ("linux", "x86_64", Device::Cuda) => {
            Ok(format!("{BASE}/cu130/libtorch-shared-with-deps-{VERSION}%2Bcu130.zip"))
        }
        ("macos", "aarch64", Device::Cpu) => Ok(format!("{BASE}/cpu/libtorch-macos-arm64-{VERSION}.zip")),
        (os, arch, device) => bail!("none is published for {os} {arch} {}", device.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_folder_becomes_torch() {
        assert_eq!(keep("libtorch/lib/libc10.so"), Some(PathBuf::from("torch/lib/libc10.so")));
        assert_eq!(keep("libtorch/build-version"), Some(PathBuf::from("torch/build-version")));
        assert_eq!(keep("libtorch/lib/libdnnl.a"), None);
        assert_eq!(keep("libtorch/share/x.cmake"), None);
        assert!(keep("libtorch/include/../../../x").is_some(), "refused by `unzip`");
    }
}

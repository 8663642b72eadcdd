//! `ok.json`, written last into what setup makes: a folder that has it, and files of the sizes it names, is complete.
//!
//! Sizes, not hashes: the check runs before every command and has to take milliseconds.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{Device, Libtorch, VERSION, layout};

const NAME: &str = "ok.json";

/// What a folder that setup made consists of.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    pub(crate) version: String,
    pub(crate) device: String,
    /// How it came here, for a person.
    pub(crate) source: String,
    /// What was fetched for it.
    pub(crate) fetched: Vec<Item>,
    /// Length of each library, and of a few headers, by its path in the folder.
    pub(crate) files: BTreeMap<String, u64>,
}

/// A file that was fetched.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Item {
    pub(crate) file: String,
    pub(crate) sha256: String,
    pub(crate) bytes: u64,
}

impl Stamp {
    /// The stamp of `folder`, if setup made it.
    pub(crate) fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(folder.join(NAME)).ok()?).ok()
    }

    /// Measures `folder` and writes its stamp.
    pub(crate) fn write(folder: &Path, device: Device, source: String, fetched: Vec<Item>) -> Result<()> {
        let mut files = BTreeMap::new();
        for place in ["torch/lib", layout::CUDA, "torch.libs", "nvidia"] {
            measure(folder, &folder.join(place), &mut files)?;
        }
        for header in ["torch/include/torch/script.h", "torch/include/c10/core/Device.h"] {
            if let Ok(meta) = fs::metadata(folder.join(header)) {
                files.insert(header.to_owned(), meta.len());
            }
        }
        let device = device.name().to_owned();
        let stamp = Self { version: VERSION.to_owned(), device, source, fetched, files };
        tl_fetch::write_whole(&folder.join(NAME), &serde_json::to_vec_pretty(&stamp)?)?;
        Ok(())
    }

    /// Whether every file is there with its size.
    pub(crate) fn is_complete(&self, folder: &Path) -> bool {
        let there = |(name, bytes): (&String, &u64)| {
            fs::metadata(folder.join(name)).is_ok_and(|meta| meta.len() == *bytes)
        };
        self.version == VERSION && !self.files.is_empty() && self.files.iter().all(there)
    }

    pub(crate) fn describe(&self, folder: &Path) -> Libtorch {
        let device = if self.device == "cuda" { Device::Cuda } else { Device::Cpu };
        let source = format!("{}, {}", self.source, device.name());
        Libtorch { dir: folder.join("torch"), source, device }
    }
}

/// The length of every library in `dir`; a link counts as what it leads to.
fn measure(folder: &Path, dir: &Path, files: &mut BTreeMap<String, u64>) -> Result<()> {
    if !dir.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read `{}`", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            measure(folder, &path, files)?;
        } else if path.to_string_lossy().contains(".so") || path.extension().is_some_and(|e| e == "dylib") {
            let name = path.strip_prefix(folder)?.to_string_lossy().into_owned();
            files.insert(name, fs::metadata(&path)?.len());
        }
    }
    Ok(())
}

//! Whether a folder is a libtorch that this project can be built with; told from its files, without running it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use super::VERSION;
use super::layout::CUDA;

/// Checks that `torch` has headers and libraries of the right version.
pub(crate) fn check(torch: &Path) -> Result<()> {
    for name in ["include/torch/script.h", "lib"] {
        if !torch.join(name).exists() {
            bail!("there is no `{}`", torch.join(name).display());
        }
    }
    for name in ["torch_cpu", "c10", "torch"] {
        let file = library(name);
        if !torch.join("lib").join(&file).exists() {
            bail!("there is no `{}`", torch.join("lib").join(file).display());
        }
    }
    match version(torch) {
        Some(version) if is_right(&version) => Ok(()),
        Some(version) => bail!("it is version {version}, this project needs {VERSION}"),
        None => bail!("it does not say its version: there is neither `build-version` nor `version.h`"),
    }
}

/// Whether a version is ours; `+cpu` and the like do not matter.
pub(crate) fn is_right(version: &str) -> bool {
    version.split('+').next() == Some(VERSION)
}

/// The file name of a library on this system.
pub(crate) fn library(name: &str) -> String {
    format!("lib{name}.{}", if cfg!(target_os = "macos") { "dylib" } else { "so" })
}

/// The version that the files in `torch` say.
pub(crate) fn version(torch: &Path) -> Option<String> {
    if let Ok(text) = fs::read_to_string(torch.join("build-version")) {
        return Some(text.trim().to_owned());
    }
    ["include/torch/headeronly/version.h", "include/torch/csrc/api/include/torch/version.h"]
        .iter()
        .find_map(|header| version_in(&fs::read_to_string(torch.join(header)).ok()?))
}

/// The version that the macros of a header say.
fn version_in(header: &str) -> Option<String> {
    let part = |name: &str| {
        header
            .lines()
            .find_map(|line| line.strip_prefix("#define ")?.trim().strip_prefix(name)?.trim().parse().ok())
    };
    let (major, minor, patch): (u32, u32, u32) =
        (part("TORCH_VERSION_MAJOR ")?, part("TORCH_VERSION_MINOR ")?, part("TORCH_VERSION_PATCH ")?);
    Some(format!("{major}.{minor}.{patch}"))
}

/// What is for GPUs: beside the rest, or apart.
pub(crate) fn cuda(torch: &Path) -> Option<PathBuf> {
    let apart = torch.parent()?.join(CUDA);
    [torch.join("lib"), apart]
        .into_iter()
        .map(|dir| dir.join(library("torch_cuda")))
        .find(|file| file.exists())
}

/// What the libraries in `torch` want and the loader does not find; empty where there is no `ldd` to ask.
pub(crate) fn missing_libraries(torch: &Path) -> Vec<String> {
    let mut missing = Vec::new();
    let lib = torch.join("lib");
    for file in [Some(lib.join(library("torch_cpu"))), cuda(torch)].into_iter().flatten() {
        if !cfg!(target_os = "linux") || !file.exists() {
            continue;
        }
        let mut ldd = Command::new("ldd");
        match file.parent() == Some(&lib) {
            true => ldd.env_remove("LD_LIBRARY_PATH"),
            // What lies apart is loaded when the rest is there already.
            false => ldd.env("LD_LIBRARY_PATH", &lib),
        };
        let Ok(output) = ldd.arg(&file).stdin(Stdio::null()).output() else {
            continue;
        };
        let text = [output.stdout, output.stderr].concat();
        let lines = String::from_utf8_lossy(&text).into_owned();
        missing.extend(lines.lines().filter(|l| l.contains("not found")).map(|l| l.trim().to_owned()));
    }
    missing.sort();
    missing.dedup();
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_in_the_macros() {
        let header = "#pragma once\n/// x\n#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR 11\n\
                      #define TORCH_VERSION_PATCH 0\n#define TORCH_VERSION \\\n  \"2.11.0\"\n";
        assert_eq!(version_in(header).as_deref(), Some("2.11.0"));
        assert_eq!(version_in("#define TORCH_VERSION_MAJOR 2"), None);
        assert!(is_right("2.11.0+cu130") && is_right("2.11.0") && !is_right("2.11.1"));
    }
}

//! What the machine is: processor, memory, disk, and whether the hub can be reached.

use std::env;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::Check;
use super::tools::first_line;
use crate::message_and_hints;

const HUB: &str = "https://huggingface.co";
const GB: f64 = 1e9;

pub(super) fn all() -> Vec<Check> {
    let mut checks = vec![cpu(), memory()];
    checks.extend(home());
    checks
}

fn cpu() -> Check {
    const NAME: &str = "CPU";
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        info.lines().find(|l| l.starts_with(name)).and_then(|l| l.split_once(':')).map(|(_, v)| v.trim())
    };
    let brand = || first_line("sysctl", &["-n", "machdep.cpu.brand_string"]);
    let model = field("model name").map(str::to_owned).or_else(brand);
    let model = model.unwrap_or_else(|| env::consts::ARCH.to_owned());
    let flags: Vec<&str> = field("flags").unwrap_or_default().split_whitespace().collect();
    let features = ["avx2", "avx512f", "avx512_bf16", "amx_bf16"];
    let found: Vec<&str> = features.into_iter().filter(|f| flags.contains(f)).collect();
    let bf16 = found.iter().any(|f| f.ends_with("bf16"));
    let detail = format!("{model}, {cores} threads, {}", listed(&found));
    if cfg!(target_arch = "x86_64") && !flags.is_empty() && !flags.contains(&"avx2") {
        return Check::warning(NAME, detail, "without AVX2 training is several times slower");
    }
    Check::ok(NAME, format!("{detail}{}", if bf16 { ": fast bf16" } else { "" }))
}

fn listed(features: &[&str]) -> String {
    if features.is_empty() { "no special features".to_owned() } else { features.join(" ") }
}

fn memory() -> Check {
    const NAME: &str = "memory";
    let Some((total, free)) = memory_bytes() else {
        return Check::ok(NAME, "unknown on this system");
    };
    let detail = format!("{:.1} GB, {:.1} GB available", total as f64 / GB, free as f64 / GB);
    if free < 2_000_000_000 {
        return Check::warning(NAME, detail, "close other programs, or train with a smaller batch");
    }
    Check::ok(NAME, detail)
}

/// Bytes of memory, and those available; a container's limit counts.
fn memory_bytes() -> Option<(u64, u64)> {
    if cfg!(target_os = "macos") {
        let total = first_line("sysctl", &["-n", "hw.memsize"])?.parse().ok()?;
        return Some((total, total));
    }
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let field = |name: &str| -> Option<u64> {
        let line = info.lines().find_map(|l| l.strip_prefix(name))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
    };
    let (total, free) = (field("MemTotal:")?, field("MemAvailable:")?);
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let limit = number("/sys/fs/cgroup/memory.max").filter(|limit| *limit < total);
    let Some(limit) = limit else { return Some((total, free)) };
    let used = number("/sys/fs/cgroup/memory.current").unwrap_or(0);
    Some((limit, free.min(limit.saturating_sub(used))))
}

fn home() -> Vec<Check> {
    let home = match tl_fetch::home() {
        Ok(home) => home,
        Err(error) => {
            let (detail, hints) = message_and_hints(&error.into());
            return vec![Check::problem("home", detail, hints.first().map_or("", String::as_str))];
        }
    };
    let mut parts: Vec<String> = Vec::new();
    let mut entries: Vec<_> = fs::read_dir(&home).into_iter().flatten().flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries.iter().filter(|entry| entry.path().is_dir()) {
        let gb = size(&entry.path()) as f64 / GB;
        parts.push(format!("{} {gb:.2} GB", entry.file_name().to_string_lossy()));
    }
    let content = if parts.is_empty() { "empty".to_owned() } else { parts.join(", ") };
    vec![Check::ok("home", format!("`{}`: {content}", home.display())), disk(&home)]
}

/// Bytes of the files in `dir`; links are not followed.
fn size(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => size(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}

fn disk(home: &Path) -> Check {
    const NAME: &str = "disk";
    match tl_fetch::free_bytes(home) {
        Some(free) if free < 2_000_000_000 => {
            let detail = format!("{:.1} GB free at `{}`", free as f64 / GB, home.display());
            Check::warning(NAME, detail, "free some, or `export TL_HOME=DIR` on a larger disk")
        }
        Some(free) => Check::ok(NAME, format!("{:.1} GB free", free as f64 / GB)),
        None => Check::ok(NAME, "free space unknown on this system"),
    }
}

/// Whether weights can be had from the hub.
pub(super) fn hub() -> Check {
    const NAME: &str = "hub";
    let set = |name: &str| env::var(name).ok().filter(|v| !v.is_empty());
    let offline = set("HF_HUB_OFFLINE")
        .is_some_and(|v| ["1", "true", "yes", "on"].contains(&v.to_ascii_lowercase().as_str()));
    if offline {
        return Check::ok(NAME, "not asked: `HF_HUB_OFFLINE` is set");
    }
    let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| HUB.to_owned());
    match tl_fetch::reachable(&endpoint, Duration::from_secs(3)) {
        Ok(status) if status < 500 => Check::ok(NAME, format!("`{endpoint}` answers")),
        Ok(status) => Check::warning(NAME, format!("`{endpoint}` answers HTTP {status}"), "try again later"),
        Err(_) => Check::warning(
            NAME,
            format!("`{endpoint}` cannot be reached; weights from a package or a file still work"),
            "`export HF_ENDPOINT=URL` of a mirror, or `export HTTPS_PROXY=URL`",
        ),
    }
}

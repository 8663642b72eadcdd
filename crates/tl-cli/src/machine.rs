//! What this process runs on, for the manifest and the summary.

use std::fs;
use std::num::NonZero;
use std::path::Path;

use tl_run::Machine;

use crate::args::ThreadArgs;
use crate::device::{self, DeviceChoice};

/// Sets libtorch's threads, finds the device, and describes the machine.
pub(crate) fn set_up(args: &ThreadArgs) -> anyhow::Result<Machine> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let found = device::find(args.device.unwrap_or_default())?;
    let Threads { net: threads, data: data_threads } = Threads::split(cores, args, found.device);
    for (flag, n) in [("threads", threads), ("data-threads", data_threads)] {
        anyhow::ensure!((1..=1024).contains(&n), "--{flag} is {n}, expected 1 to 1024");
    }
    tch::set_num_threads(threads as i32);
    if let Some(note) = &found.note {
        crate::ui::note(note);
    }
    Ok(Machine {
        platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        cpu: cpu_model().unwrap_or_else(|| "unknown".to_owned()),
        cores,
        threads,
        data_threads,
        device: found.device.to_string(),
        gpu: found.gpu.map(|gpu| gpu.to_string()),
        libtorch: tl_torch::LIBTORCH.to_owned(),
    })
}

/// How the cores are shared between the net and what decodes and augments for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Threads {
    net: usize,
    data: usize,
}

impl Threads {
    /// Images are decoded while the net computes, and a core decodes several times as many as it computes. So of up to 4
    /// cores both have all, and whichever waits leaves them to the other; of more, decoding has half, since threads of a
    /// net that are moved aside by others hold up all the rest of them. Where the user gives the net fewer, decoding takes
    /// no more than that.
    ///
    /// `cores` are those that this process may use: its affinity and its control group's share are taken off already.
    fn split(cores: usize, args: &ThreadArgs, device: DeviceChoice) -> Self {
        const BOTH: usize = 4;
        const MOST_DATA: usize = 32;
        let net = args.threads.unwrap_or(cores);
        let share = if cores <= BOTH { cores } else { (cores / 2).clamp(BOTH, MOST_DATA) };
        let data = match device {
            // The cores have nothing else to do.
            DeviceChoice::Cuda(_) => cores.min(MOST_DATA),
            DeviceChoice::Auto | DeviceChoice::Cpu => share.min(net.max(1)),
        };
        Self { net, data: args.data_threads.unwrap_or(data) }
    }
}

/// [`set_up`] for what has no way to a GPU.
///
/// # Errors
/// A GPU is asked for.
pub(crate) fn set_up_cpu(args: &ThreadArgs) -> anyhow::Result<Machine> {
    if let Some(device @ DeviceChoice::Cuda(_)) = args.device {
        anyhow::bail!("--device is {device}, and this command computes on the CPU\n\nhint: leave it out");
    }
    set_up(&ThreadArgs { device: Some(DeviceChoice::Cpu), ..args.clone() })
}

/// The device that [`set_up`] found.
pub(crate) fn device(machine: &Machine) -> tch::Device {
    machine.device.parse::<DeviceChoice>().unwrap_or_default().device()
}

fn cpu_model() -> Option<String> {
    value_of("/proc/cpuinfo", "model name")
}

/// Largest resident memory of this process so far, in bytes.
pub(crate) fn peak_memory() -> Option<u64> {
    let text = value_of("/proc/self/status", "VmHWM")?;
    let kib: u64 = text.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// Resident memory of this process, in bytes.
pub(crate) fn memory() -> Option<u64> {
    let text = value_of("/proc/self/status", "VmRSS")?;
    let kib: u64 = text.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// Memory that a program can still take without others being moved out, in bytes.
pub(crate) fn available_memory() -> Option<u64> {
    let text = value_of("/proc/meminfo", "MemAvailable")?;
    let kib: u64 = text.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// The value of the first `key: value` line of a file that the system keeps.
fn value_of(path: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Version, with the commit it was built from where there is one.
pub(crate) fn version() -> String {
    match option_env!("TL_COMMIT") {
        Some(commit) => format!("{} ({commit})", env!("CARGO_PKG_VERSION")),
        None => env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Refuses a disk that will not hold the run.
pub(crate) fn check_space(dir: &Path, needed: u64) -> anyhow::Result<()> {
    let there = dir.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("."));
    match tl_fetch::free_bytes(there) {
        Some(free) if free < needed => Err(anyhow::anyhow!(
            "the disk that holds `{}` has {} free, the run needs about {}\n\n\
             hint: free some space or give a directory elsewhere with --run DIR",
            there.display(),
            crate::ui::bytes(free),
            crate::ui::bytes(needed)
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_cores_are_shared_and_many_are_split() {
        let split = |cores| {
            let Threads { net, data } = Threads::split(cores, &ThreadArgs::default(), DeviceChoice::Cpu);
            (net, data)
        };
        for (cores, data) in [(1, 1), (2, 2), (4, 4), (6, 4), (8, 4), (16, 8), (64, 32), (256, 32)] {
            assert_eq!(split(cores), (cores, data), "{cores} cores");
        }
    }

    #[test]
    fn what_the_user_says_counts() {
        let args = |threads, data_threads| ThreadArgs { threads, data_threads, device: None };
        let on_cpu = |cores, args| Threads::split(cores, &args, DeviceChoice::Cpu);
        assert_eq!(on_cpu(64, args(Some(8), None)), Threads { net: 8, data: 8 });
        assert_eq!(on_cpu(64, args(Some(8), Some(3))), Threads { net: 8, data: 3 });
        assert_eq!(on_cpu(2, args(None, Some(6))), Threads { net: 2, data: 6 });
        let on_gpu = Threads::split(16, &args(Some(1), None), DeviceChoice::Cuda(0));
        assert_eq!(on_gpu, Threads { net: 1, data: 16 });
    }
}

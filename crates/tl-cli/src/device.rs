//! Which device computes the net.
//!
//! The decision behind it: `auto` never fails. It takes the first GPU that can be used, says in a line why there is none
//! where a driver says there is a GPU, and goes on on the CPU. Whoever names a GPU gets that GPU or an error.

use std::fmt;
use std::str::FromStr;

use tch::Device;
use tl_torch::Gpu;

/// What `--device` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum DeviceChoice {
    /// A GPU, if there is one that can be used.
    #[default]
    Auto,
    Cpu,
    /// The GPU of this number.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let gpu = |number: &str| number.parse().map(Self::Cuda).ok();
        let choice = match text {
            "auto" => Some(Self::Auto),
            "cpu" => Some(Self::Cpu),
            "cuda" => Some(Self::Cuda(0)),
            _ => text.strip_prefix("cuda:").and_then(gpu),
        };
        choice.ok_or_else(|| format!("`{text}` is no device, expected auto, cpu, cuda or cuda:N"))
    }
}

/// As the manifest has it: `cpu`, `cuda:0`.
impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl DeviceChoice {
    /// What libtorch calls it.
    pub(crate) fn device(self) -> Device {
        match self {
            Self::Cuda(number) => Device::Cuda(number),
            Self::Auto | Self::Cpu => Device::Cpu,
        }
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    /// The CPU, or one GPU.
    pub(crate) device: DeviceChoice,
    /// The GPU.
    pub(crate) gpu: Option<Gpu>,
    /// Why there is a GPU and it is not used.
    pub(crate) note: Option<String>,
}

const HINT: &str =
    "hint: `cargo xtask doctor` says what is there; `cargo xtask setup --device cuda` gets libtorch for GPUs";

/// Finds what was asked for, and loads libtorch's part for GPUs where one is used.
///
/// # Errors
/// A GPU was named that is not there or cannot be used.
pub(crate) fn find(choice: DeviceChoice) -> anyhow::Result<Found> {
    let cpu = |note| Found { device: DeviceChoice::Cpu, gpu: None, note };
    let number = match choice {
        DeviceChoice::Cpu => return Ok(cpu(None)),
        DeviceChoice::Auto => 0,
        DeviceChoice::Cuda(number) => number,
    };
    let gpus = match (tl_torch::gpus(), choice) {
        (Ok(gpus), _) => gpus,
        (Err(_), DeviceChoice::Auto) => return Ok(cpu(None)),
        (Err(error), _) => anyhow::bail!("--device {choice}: {error}\n\n{HINT}"),
    };
    let Some(gpu) = gpus.get(number).cloned() else {
        anyhow::ensure!(
            choice == DeviceChoice::Auto,
            "--device {choice}: the driver knows {} GPUs, numbered from 0\n\n{HINT}",
            gpus.len()
        );
        return Ok(cpu(None));
    };
    match (tl_torch::load_cuda(), choice) {
        (Ok(()), _) => Ok(Found { device: DeviceChoice::Cuda(number), gpu: Some(gpu), note: None }),
        (Err(error), DeviceChoice::Auto) => {
            let way = "`cargo xtask setup --device cuda` gets libtorch for it, --device cpu ends this note";
            Ok(cpu(Some(format!("note: the {gpu} is not used: {error}; {way}"))))
        }
        (Err(error), _) => anyhow::bail!("--device {choice}: {error}\n\n{HINT}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_as_torch_names_them() {
        let parse = |text: &str| text.parse::<DeviceChoice>();
        assert_eq!(parse("cuda"), Ok(DeviceChoice::Cuda(0)));
        for text in ["auto", "cpu", "cuda:0", "cuda:3"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        assert_eq!(parse("cuda:3").unwrap().device(), Device::Cuda(3));
        for text in ["", "gpu", "cuda:", "cuda:x", "cuda:-1"] {
            assert!(parse(text).unwrap_err().contains("expected auto, cpu, cuda or cuda:N"), "{text}");
        }
    }

    #[test]
    fn the_cpu_is_always_there() {
        assert_eq!(find(DeviceChoice::Cpu).unwrap().device, DeviceChoice::Cpu);
        let found = find(DeviceChoice::Auto).unwrap();
        assert_eq!(found.gpu.is_some(), matches!(found.device, DeviceChoice::Cuda(_)));
        let error = find(DeviceChoice::Cuda(9999)).unwrap_err().to_string();
        assert!(error.starts_with("--device cuda:9999: ") && error.contains("hint: "), "{error}");
    }
}

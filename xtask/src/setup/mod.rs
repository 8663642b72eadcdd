//! libtorch, found or fetched, so that nobody has to know about it.
//!
//! In this order: the one that `LIBTORCH` names; what an earlier setup made; an installed Python torch of the right
//! version; the Python packages through pip; the official archive. What is made lies in
//! [`home`](tl_fetch::home()) under its version, shared by all checkouts; `.libtorch` in the checkout is a link to it.
//! A folder gets its name by one rename after everything in it was checked, so a half is never seen; downloads go on
//! where they broke.

mod archive;
mod layout;
mod libtorch;
mod packages;
mod place;
mod progress;
mod python;
mod stamp;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::message_and_hints;
use crate::workspace::Workspace;
pub(crate) use libtorch::missing_libraries;
use place::Place;
pub(crate) use place::has_bindings;
use progress::Ui;
use stamp::Stamp;

/// The version that tch 0.24 goes with, and no other.
pub(crate) const VERSION: &str = "2.11.0";

/// What libtorch is to run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Device {
    Cpu,
    Cuda,
}

impl Device {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        }
    }
}

/// A libtorch that can be used.
#[derive(Debug, Clone)]
pub(crate) struct Libtorch {
    /// The folder with `include` and `lib`.
    pub(crate) dir: PathBuf,
    /// How it came here, for a person.
    pub(crate) source: String,
    /// What it runs on.
    pub(crate) device: Device,
}

/// What the user asks of `setup`.
struct Wish {
    device: Option<Device>,
    force: bool,
}

/// `setup [--device cpu|cuda] [--force]`.
pub(crate) fn command(workspace: &Workspace, args: &[String]) -> Result<ExitCode> {
    let wish = parse(args)?;
    let start = Instant::now();
    let found = match (current(workspace)?, &wish) {
        (Some(found), Wish { device, force: false }) if device.is_none_or(|d| found.device == d) => found,
        _ => run(workspace, &wish)?,
    };
    println!(
        "libtorch {VERSION} is at `{}` ({}), {:.1} s",
        found.dir.display(),
        found.source,
        start.elapsed().as_secs_f64()
    );
    Ok(ExitCode::SUCCESS)
}

/// Makes sure that there is a libtorch: silent and quick when there is.
pub(crate) fn ensure(workspace: &Workspace) -> Result<Libtorch> {
    match current(workspace)? {
        Some(found) => Ok(found),
        None => run(workspace, &Wish { device: None, force: false }),
    }
}

/// The libtorch that a build would use now. Takes milliseconds: nothing big is read.
pub(crate) fn current(workspace: &Workspace) -> Result<Option<Libtorch>> {
    if let Some(dir) = workspace.users_libtorch() {
        libtorch::check(&dir).with_context(|| {
            format!(
                "`LIBTORCH` names `{}`, which cannot be used\n\nhint: `unset LIBTORCH`, and \
                 `cargo xtask setup` gets libtorch {VERSION}",
                dir.display()
            )
        })?;
        return Ok(Some(Libtorch::by_hand(dir, "named by `LIBTORCH`")));
    }
    linked(&workspace.link())
}

/// What the link in the checkout leads to, if that is complete.
fn linked(link: &Path) -> Result<Option<Libtorch>> {
    let Ok(target) = link.canonicalize() else { return Ok(None) };
    if let Some(stamp) = Stamp::read(&target) {
        return Ok(stamp.is_complete(&target).then(|| stamp.describe(&target)));
    }
    // Not made by setup. It may be used, but not replaced.
    let dir = target.join("torch");
    libtorch::check(&dir).with_context(|| {
        format!(
            "`{}` is not made by setup and cannot be used\n\nhint: remove it: `rm -r {}`",
            link.display(),
            link.display()
        )
    })?;
    Ok(Some(Libtorch::by_hand(dir, "linked by hand")))
}

impl Libtorch {
    /// One that setup did not make.
    fn by_hand(dir: PathBuf, source: &str) -> Self {
        let device = if libtorch::cuda(&dir).is_some() { Device::Cuda } else { Device::Cpu };
        Self { source: format!("{source}, {}", device.name()), dir, device }
    }
}

fn parse(args: &[String]) -> Result<Wish> {
    let mut wish = Wish { device: None, force: false };
    let mut args = args.iter().map(String::as_str);
    while let Some(arg) = args.next() {
        let device = match arg {
            "--force" => {
                wish.force = true;
                continue;
            }
            "--device" => args.next().context("`--device` wants `cpu` or `cuda`")?,
            _ => match arg.strip_prefix("--device=") {
                Some(device) => device,
                None => bail!("`setup` does not know `{arg}`\n\nhint: setup [--device cpu|cuda] [--force]"),
            },
        };
        wish.device = Some(match device {
            "cpu" => Device::Cpu,
            "cuda" | "gpu" => Device::Cuda,
            other => bail!("`--device` wants `cpu` or `cuda`, got `{other}`"),
        });
    }
    Ok(wish)
}

/// Finds or gets a libtorch and links it into the checkout.
fn run(workspace: &Workspace, wish: &Wish) -> Result<Libtorch> {
    if cfg!(not(unix)) {
        bail!("Windows is not supported yet\n\nhint: use WSL");
    }
    let device = wish.device.unwrap_or(Device::Cpu);
    if let Some(found) = current(workspace)?.filter(|_| workspace.users_libtorch().is_some()) {
        if wish.device.is_some_and(|d| d != found.device) {
            bail!("`LIBTORCH` names a libtorch for {}\n\nhint: `unset LIBTORCH`", found.device.name());
        }
        return Ok(found);
    }
    if device == Device::Cuda && cfg!(target_os = "macos") {
        bail!("there is no CUDA on macOS\n\nhint: `cargo xtask setup --device cpu`");
    }
    let ui = Ui::new();
    let place = Place::open(tl_fetch::home()?, device, &ui)?;
    let target = match place.existing().filter(|_| !wish.force) {
        Some(target) => target,
        None => make(&place, &ui)?,
    };
    place::link(workspace, &target)?;
    linked(&workspace.link())?.with_context(|| format!("`{}` is damaged after setup", target.display()))
}

/// Tries every way to a libtorch until one works.
fn make(place: &Place, ui: &Ui) -> Result<PathBuf> {
    type Route = (&'static str, fn(&Place, &Ui) -> Result<PathBuf>);
    let routes: &[Route] = if archive::is_named() {
        &[("archive", archive::make)]
    } else {
        &[
            ("installed Python torch", python::make),
            ("pip", packages::make),
            ("official archive", archive::make),
        ]
    };
    let (mut failures, mut hints) = (String::new(), Vec::new());
    for (name, route) in routes {
        match route(place, ui) {
            Ok(target) => return Ok(target),
            // What is full now is full for the next way, too.
            Err(error) if error.is::<place::NoSpace>() => return Err(error),
            Err(error) => {
                let (message, more) = message_and_hints(&error);
                failures.push_str(&format!("\n  {name}: {message}"));
                hints.extend(more);
            }
        }
    }
    hints.push(
        "with a libtorch of your own: `export LIBTORCH=DIR`; with its zip archive: \
         `TL_LIBTORCH_ARCHIVE=FILE cargo xtask setup`"
            .to_owned(),
    );
    hints.dedup();
    let hints = hints.iter().map(|hint| format!("\n\nhint: {hint}")).collect::<String>();
    bail!("no libtorch {VERSION} for {}:{failures}{hints}", place.device().name())
}

#[cfg(test)]
mod tests;

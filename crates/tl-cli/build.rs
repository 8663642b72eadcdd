//! Gives `tl` the run path of libtorch, and the commit it is built from.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if let Some(lib) = std::env::var_os("DEP_TL_TORCH_LIBTORCH_LIB") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{}", lib.to_string_lossy());
    }
    // The log changes with every commit and checkout; without it (an archive of the sources) there is no commit to tell.
    let log = Path::new("../../.git/logs/HEAD");
    if log.exists() {
        println!("cargo::rerun-if-changed={}", log.display());
        let output = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output();
        if let Ok(output) = output
            && output.status.success()
        {
            println!("cargo::rustc-env=TL_COMMIT={}", String::from_utf8_lossy(&output.stdout).trim());
        }
    }
}

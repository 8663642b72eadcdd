//! Passes libtorch's folder on to the crates that link it, and gives this crate's tests a run path.
//!
//! Link arguments do not travel from a dependency to the executable, so every crate that makes one (tests included)
//! sets its own run path from the `DEP_TL_TORCH_LIBTORCH_LIB` that is printed here.

use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if let Some(lib) = std::env::var_os("DEP_TCH_LIBTORCH_LIB") {
        // The real folder, so that an executable still finds it when the checkout that built it is gone.
        let lib = PathBuf::from(lib);
        let lib = lib.canonicalize().unwrap_or(lib);
        println!("cargo::metadata=libtorch_lib={}", lib.display());
        println!("cargo::rustc-link-arg=-Wl,-rpath,{}", lib.display());
    }
}

//! Compiles the C++ seam, passes libtorch's folder on to the crates that link it, and gives this crate's tests a run path.
//!
//! Link arguments do not travel from a dependency to the executable, so every crate that makes one (tests included)
//! sets its own run path from the `DEP_TL_TORCH_LIBTORCH_LIB` that is printed here.

use std::env::var_os;
use std::path::PathBuf;

fn main() {
    for path in ["build.rs", "cpp"] {
        println!("cargo::rerun-if-changed={path}");
    }
    let Some(lib) = var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from) else { return };
    // The real folder, so that an executable still finds it when the checkout that built it is gone.
    let lib = lib.canonicalize().unwrap_or(lib);
    println!("cargo::metadata=libtorch_lib={}", lib.display());
    println!("cargo::rustc-link-arg=-Wl,-rpath,{}", lib.display());
    seam(&lib);
}

/// With the headers and the ABI that torch-sys compiles its own part with.
fn seam(lib: &std::path::Path) {
    for name in ["LIBTORCH_INCLUDE", "LIBTORCH_CXX11_ABI"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let include = match var_os("LIBTORCH_INCLUDE") {
        Some(root) => PathBuf::from(root).join("include"),
        None => lib.join("../include"),
    };
    let abi = var_os("LIBTORCH_CXX11_ABI").map_or("1".to_owned(), |abi| abi.to_string_lossy().into_owned());
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .define("_GLIBCXX_USE_CXX11_ABI", &*abi)
        .include(include.join("torch/csrc/api/include"))
        // The headers of libtorch are not ours to warn about.
        .flag(format!("-isystem{}", include.display()))
        // One unit for all of it: nearly all of its time goes into reading libtorch's headers.
        .file("cpp/all.cpp")
        .compile("tl_seam");
}

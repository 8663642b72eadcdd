//! `cargo xtask` until the front door stands: a word to the person who waits, then cargo.
//!
//! It needs no library, so that it is compiled and speaks within seconds. And it has cargo build the front door as one
//! of the whole workspace: only then do its libraries have the features that they have in `tl`, and are compiled once
//! for both. `cargo run --package` knows one package, so an alias alone cannot do that.

#![expect(clippy::print_stderr, reason = "a program for people")]

use std::ffi::OsString;
use std::io;
use std::process::{Command, ExitCode};

use xtask_start::{become_it, cargo, coloured, run_quietly_at_first};

const FIRST: &str = "\
First time here: this builds the front door, in a minute or two. The first command that needs `tl` then gets libtorch
(500 MB) and builds it, 10 to 15 minutes on 2 cores in all. After that commands start at once.";

fn main() -> ExitCode {
    match start() {
        Ok(code) => code,
        Err(error) => {
            eprintln!(
                "error: cannot start `xtask`: {error}\n\nhint: `cargo --version` has to work in this folder"
            );
            ExitCode::FAILURE
        }
    }
}

fn start() -> io::Result<ExitCode> {
    let door = std::env::current_exe()?.with_file_name(format!("xtask{}", std::env::consts::EXE_SUFFIX));
    if !door.exists() {
        eprintln!("{FIRST}");
    }
    let mut build = cargo();
    build.args(["build", "--release", "--workspace", "--bin", "xtask"]);
    build.current_dir(env!("CARGO_MANIFEST_DIR"));
    coloured(&mut build);
    if !run_quietly_at_first(&mut build)? {
        return Ok(ExitCode::FAILURE);
    }
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let mut command = Command::new(door);
    command.args(args);
    become_it(command)
}

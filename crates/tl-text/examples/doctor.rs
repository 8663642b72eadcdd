//! What is wrong with labelled texts: `cargo run --release -p tl-text --example doctor -- PATH [LIST]`. The list of texts
//! to leave out is written to LIST.
#![allow(clippy::print_stdout, reason = "an example is a program")]

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use tl_text::doctor::{DoctorOptions, examine};
use tl_text::{TextError, TextOptions, Texts};

fn main() -> Result<(), TextError> {
    let mut args = std::env::args().skip(1).map(PathBuf::from);
    let path = args.next().unwrap_or_default();
    let start = Instant::now();
    let texts = Texts::read(&path, &TextOptions::default())?;
    let report = examine(&texts, None, &DoctorOptions::default())?;
    println!("{report}{:.3} s", start.elapsed().as_secs_f64());
    if let Some(list) = args.next() {
        let text = report.quarantine().to_string();
        fs::write(&list, text).map_err(|source| TextError::Write { path: list, source })?;
    }
    Ok(())
}

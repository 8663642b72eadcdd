//! The baseline on a file or folder of labelled texts: `cargo run --release -p tl-text --example baseline -- PATH`.
//! With a test part that is what is measured, else the validation part.
#![allow(clippy::print_stdout, reason = "an example is a program")]

use std::path::PathBuf;
use std::time::Instant;

use tl_data::SplitOptions;
use tl_text::{BaselineOptions, TextDataset, TextError, TextOptions, baseline};

fn main() -> Result<(), TextError> {
    let path = std::env::args().nth(1).map(PathBuf::from).unwrap_or_default();
    let start = Instant::now();
    let data = TextDataset::open(&path, &TextOptions::default(), &SplitOptions::default())?;
    data.notes.iter().chain(&data.warnings).for_each(|line| println!("{line}"));
    println!("train {}, val {}, test {}: {}", data.train.len(), data.val.len(), data.test.len(), data.split);
    println!("fingerprint {}, {:.3} s to read", data.fingerprint(), start.elapsed().as_secs_f64());
    let held_out = if data.test.is_empty() { &data.val } else { &data.test };
    let (_, report) = baseline(&data.train, held_out, &data.classes, &BaselineOptions::default())?;
    for point in &report.points {
        println!("c {:<6} {:.4} ± {:.4}", point.c, point.accuracy, point.standard_error);
    }
    println!(
        "{} terms, c {}, {} steps, converged {}",
        report.terms, report.c, report.steps, report.converged
    );
    println!("{:?}, majority {:.4}, {:.3} s", report.val, report.majority_accuracy, report.seconds);
    for telling in &report.telling {
        let terms: Vec<&str> = telling.terms.iter().map(|(term, _)| term.as_str()).collect();
        println!("{}: {}", telling.class, terms.join(", "));
    }
    println!("{:.3} s in all", start.elapsed().as_secs_f64());
    Ok(())
}

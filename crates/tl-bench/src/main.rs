//! `tl-bench`: how fast it is on this machine. `cargo xtask bench` builds and runs it.
//!
//! The decision behind it: what is to be compared is measured in turn, round by round, in one process, and the median of
//! the rounds counts. Other work on the machine then weighs on all alike.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports to a person")]

mod data;
mod nets;
mod record;
mod runs;
mod texts;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use clap::Parser;
use tch::Device;

use record::{Figure, Record};

/// Measure how fast nets, training steps, images, texts and whole runs are on this machine.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", max_term_width = 100)]
struct Args {
    /// Only figures whose names contain one of these words: forward, step, embed, loader, cached, run, a net's name, or bf16,
    /// which is left out where the processor is not faster in it
    #[arg(value_name = "WORD")]
    words: Vec<String>,
    /// Rounds; the median counts
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// Threads of the net [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<i32>,
    /// Write the figures to this JSON file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Compare with the figures in this JSON file
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Print the names of all figures and measure nothing
    #[arg(long)]
    list: bool,
    /// Keep the photos that the loader reads in this folder, and read those that are there
    #[arg(long, value_name = "DIR")]
    photos: Option<PathBuf>,
}

/// One thing that is measured: does some of it and says how much a second that was.
type Work = Box<dyn FnMut() -> anyhow::Result<f64>>;

/// Builds what is measured, one for each of the names that are wanted.
type Make = Box<dyn Fn(&[bool]) -> anyhow::Result<Vec<Work>>>;

/// Things that are measured in turn.
struct Group {
    /// Names of the figures.
    names: Vec<String>,
    /// What they count.
    unit: &'static str,
    make: Make,
}

fn main() -> anyhow::Result<()> {
    tl_torch::keep_pages();
    let args = Args::parse();
    if args.list {
        for name in groups(&args).iter().flat_map(|group| &group.names) {
            println!("{name}");
        }
        return Ok(());
    }
    anyhow::ensure!(args.rounds > 0, "--rounds is 0, expected 1 or more");
    if let Some(threads) = args.threads {
        anyhow::ensure!(threads > 0, "--threads is {threads}, expected 1 or more");
        tch::set_num_threads(threads);
    }
    let old = args.against.as_deref().map(Record::read).transpose()?;
    let mut record = Record::new();
    println!("{}", record.machine);
    if let Some(old) = old.as_ref().filter(|old| old.machine != record.machine) {
        println!("against    {}: another machine, so ratios say little about the program", old.machine);
    }
    // Where a processor lacks bf16 it is computed all the same, and a round takes minutes.
    let bf16 = args.words.iter().any(|word| word.contains("bf16")) || tl_train::bf16_pays(Device::Cpu)?;
    let named = |name: &str| args.words.is_empty() || args.words.iter().any(|word| name.contains(word));
    let wanted = |name: &str| named(name) && (bf16 || !name.contains("bf16"));
    if !bf16 {
        eprintln!(
            "bf16 is left out: this processor is faster in f32; the word `bf16` measures it all the same"
        );
    }
    for group in groups(&args) {
        let chosen: Vec<bool> = group.names.iter().map(|name| wanted(name)).collect();
        if chosen.contains(&true) {
            let figures = measure(&group, &chosen, args.rounds)?;
            for figure in figures {
                println!("{}", figure.line(old.as_ref()));
                record.figures.push(figure);
            }
        }
    }
    anyhow::ensure!(
        !record.figures.is_empty(),
        "no figure has a name with `{}` in it; --list names all",
        args.words.join("` or `")
    );
    if let Some(old) = &old {
        println!("{}", record.against(old));
    }
    if let Some(path) = &args.json {
        record.write(path)?;
        eprintln!("written to {}", path.display());
    }
    Ok(())
}

/// All that can be measured.
fn groups(args: &Args) -> Vec<Group> {
    let nets = nets::forward().into_iter().chain(nets::steps()).chain(texts::groups());
    nets.chain(data::groups(args.photos.as_deref())).chain(runs::groups()).collect()
}

/// Round by round, each in turn.
fn measure(group: &Group, chosen: &[bool], rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let names: Vec<&String> =
        group.names.iter().zip(chosen).filter(|(_, chosen)| **chosen).map(|(name, _)| name).collect();
    let mut works = (group.make)(chosen).with_context(|| format!("`{}` cannot be measured", names[0]))?;
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); works.len()];
    // The first round pays for what is set up once and does not count.
    for round in 0..=rounds {
        for (work, rates) in works.iter_mut().zip(&mut rates) {
            let rate = work()?;
            if round > 0 {
                rates.push(rate);
            }
        }
    }
    let figures = names.into_iter().zip(rates).map(|(name, rates)| Figure::new(name, group.unit, rates));
    Ok(figures.collect())
}

/// How many images a second `once` does, each time of `images`, for about half a second.
fn rate(images: usize, mut once: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    const ENOUGH: f64 = 0.5;
    let (start, mut done) = (Instant::now(), 0);
    loop {
        once()?;
        done += images;
        let seconds = start.elapsed().as_secs_f64();
        if seconds >= ENOUGH {
            return Ok(done as f64 / seconds);
        }
    }
}

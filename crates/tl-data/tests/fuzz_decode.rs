//! Damaged files of every kind: an error or an image, but no panic, no endless work and no flood of memory.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are part of it")]

mod common;

use std::io::Cursor;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::picture;
use image::{DynamicImage, ImageFormat};
use tl_data::DecodeReason;
use tl_data::decode::decode_checked;
use tl_data::inspect::parse_header;

/// One damaged file may not take longer than this; the largest that can be promised is about a gigabyte.
const LONGEST: Duration = Duration::from_secs(20);

/// What the whole process may take at its peak, in KiB: twice the largest image allowed, and some.
const MOST_MEMORY: u64 = 3 << 20;

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

/// The odd files of the golden data, and one of every format as this crate writes it.
fn files() -> Vec<(String, Vec<u8>)> {
    let dir: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/data"].iter().collect();
    let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("decode_"))
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap()))
        .collect();
    let image = DynamicImage::from(picture(40, 30, 5));
    for format in [
        ImageFormat::Jpeg,
        ImageFormat::Png,
        ImageFormat::Bmp,
        ImageFormat::Gif,
        ImageFormat::Tiff,
        ImageFormat::WebP,
        ImageFormat::Pnm,
    ] {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        files.push((format!("{format:?}"), bytes.into_inner()));
    }
    files.sort();
    assert!(files.len() > 40);
    files
}

fn survives(name: &str, bytes: &[u8]) {
    let started = Instant::now();
    let header = parse_header(Cursor::new(bytes)).map(|_| ());
    for result in [header, decode_checked(bytes).map(|_| ())] {
        match result {
            Ok(()) => {}
            Err(DecodeReason::Panicked { detail }) => panic!("{name}: {detail}"),
            Err(reason) => assert!(!reason.to_string().contains('\n'), "{name}: {reason}"),
        }
    }
    assert!(started.elapsed() < LONGEST, "{name}: {:?}", started.elapsed());
}

#[test]
fn random_damage() {
    let mut random = Random(12_345);
    for (name, bytes) in files() {
        for round in 0..250 {
            let mut damaged = bytes.clone();
            for _ in 0..=round % 8 {
                // Half of the damage goes to the header.
                let reach = if random.below(2) == 0 { damaged.len().min(100) } else { damaged.len() };
                let at = random.below(reach);
                if round % 2 == 0 {
                    damaged[at] = random.below(256) as u8;
                } else {
                    damaged[at] ^= 1 << random.below(8);
                }
            }
            if round % 5 == 0 {
                damaged.truncate(random.below(damaged.len()));
            }
            survives(&name, &damaged);
        }
    }
    check_memory();
}

#[test]
fn every_truncation_and_strange_ends() {
    let mut random = Random(99);
    for (name, bytes) in files() {
        let step = (bytes.len() / 150).max(1);
        for cut in (0..bytes.len()).step_by(step) {
            survives(&name, &bytes[..cut]);
        }
        // Parts doubled, dropped and swapped.
        for _ in 0..30 {
            let (a, b) = (random.below(bytes.len()), random.below(bytes.len()));
            let (a, b) = (a.min(b), a.max(b));
            survives(&name, &[&bytes[..b], &bytes[a..]].concat());
            survives(&name, &[&bytes[..a], &bytes[b..]].concat());
            survives(&name, &[&bytes[..a], &bytes[b..], &bytes[a..b]].concat());
        }
    }
    check_memory();
}

/// The peak of this process, where the system tells.
fn check_memory() {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return };
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < MOST_MEMORY, "{kib} KiB");
}

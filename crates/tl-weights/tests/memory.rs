//! A tensor that is larger than the memory it may take. Alone in its process, because it looks at the memory of all.

use std::collections::BTreeMap;
use std::fs;

use tl_weights::{TensorWriter, WeightFile};

const ROW: usize = 1 << 10;
const ROWS: usize = 24 << 10;

/// Most memory this process has had, in MiB; 0 where it cannot be told.
fn peak_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

#[test]
fn large_tensors_pass_through_little_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.safetensors");
    let before = peak_mib();
    // 96 MiB.
    let mut writer =
        TensorWriter::safetensors(&path, "features", &[ROWS, ROW], Vec::new(), &BTreeMap::new()).unwrap();
    for row in 0..ROWS {
        writer.write(&[row as f32; ROW]).unwrap();
    }
    writer.finish().unwrap();
    let file = WeightFile::open(&path).unwrap();
    let mut elements = 0;
    file.read_f32_chunks("features", 3 * ROW, &mut |first, values| {
        for (i, &value) in values.iter().enumerate() {
            assert_eq!(value, ((first + i) / ROW) as f32);
        }
        elements += values.len();
    })
    .unwrap();
    assert_eq!(elements, ROWS * ROW);
    assert!(peak_mib() - before < 16, "{} MiB", peak_mib() - before);

    // The whole of it: once for the result, and little else.
    assert_eq!(file.read_f32("features").unwrap().len(), ROWS * ROW);
    assert!(peak_mib() - before < 96 + 16, "{} MiB", peak_mib() - before);
}

//! Loading a large net takes little more memory than the net. The only test of this binary, so that the peak is its own.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test")]

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;

use tch::Device;
use tl_backbones::{Backbone, Load, find, load};
use tl_torch::Fill;

/// A value of this process in KiB.
fn kib(key: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn the_largest_file_takes_at_most_2_2_times_its_size() {
    let card = find("vgg19-bn").unwrap();
    let (net, _) =
        Backbone::with_classifier(card, &card.weights[0], 1000, (Device::Cpu, Fill::Shapes)).unwrap();
    let (mut rows, mut at) = (Vec::new(), 0);
    for param in net.store.iter() {
        let end = at + param.tensor.numel() * size_of::<f32>();
        let shape = param.tensor.size();
        let mut row = String::new();
        write!(row, r#""{}":{{"dtype":"F32","shape":{shape:?},"data_offsets":[{at},{end}]}}"#, param.name)
            .unwrap();
        rows.push(row);
        at = end;
    }
    let header = format!("{{{}}}", rows.join(","));
    let file = tempfile::Builder::new().suffix(".safetensors").tempfile().unwrap();
    let mut out: &File = file.as_file();
    out.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    out.write_all(header.as_bytes()).unwrap();
    // The tensors are a hole in the file: zeros that take no space on disk.
    let bytes = 8 + header.len() + at;
    out.set_len(bytes as u64).unwrap();
    assert!(bytes > 570_000_000);

    let before = kib("VmRSS");
    let options = Load { device: Device::Cpu, classifier: true, partial: None };
    let loaded = load(card, None, file.path(), options).unwrap();
    assert_eq!(loaded.classes, 1000);
    let grown = (kib("VmHWM") - before) * 1024.0 / bytes as f64;
    assert!(grown < 2.2, "{grown:.2} times the file");
}

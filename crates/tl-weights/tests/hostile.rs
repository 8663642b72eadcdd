//! Damaged and hostile files: an error, never a panic, never much memory, and nothing is ever run.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};

use tl_weights::{WeightFile, WeightsError};

const FIXTURES: [&str; 6] = [
    "plain.zip.pth",
    "plain.legacy.pth",
    "plain.protocol4.pth",
    "nested.protocol5.legacy.pth",
    "parallel.legacy.pth",
    "evil.zip.pth",
];

fn data(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)).unwrap()
}

/// A small safetensors file.
fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    bytes
}

fn plain_safetensors() -> Vec<u8> {
    let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[],"data_offsets":[8,9]}}"#;
    safetensors(header, &[1; 9])
}

struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("x.pth")
    }

    /// Opens `bytes` as a file and reads all of it.
    fn read(&self, bytes: &[u8]) -> Result<usize, WeightsError> {
        // Some file systems write a file through to the disk when it replaces its own content.
        let _ = fs::remove_file(self.path());
        fs::write(self.path(), bytes).unwrap();
        let file = WeightFile::open(self.path())?;
        let mut total = 0;
        for name in file.names() {
            total += file.bytes(name)?.len();
            file.read_f32(name)?;
        }
        Ok(total)
    }
}

/// Most memory this process has had, in MiB; 0 where it cannot be told.
fn peak_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

#[test]
fn every_truncation_is_an_error() {
    let bench = Bench::new();
    let mut all: Vec<_> = FIXTURES.iter().map(|name| (*name, data(name))).collect();
    all.push(("safetensors", plain_safetensors()));
    for (name, bytes) in all {
        for end in 0..bytes.len() {
            let result = bench.read(&bytes[..end]);
            assert!(result.is_err(), "{name} cut to {end} bytes was read");
        }
    }
}

#[test]
fn a_truncation_says_how_much_is_missing() {
    let bench = Bench::new();
    for bytes in [tensor("4", "0", "I4\n", "I1\n"), plain_safetensors()] {
        let error = bench.read(&bytes[..bytes.len() - 5]).unwrap_err();
        assert!(matches!(error, WeightsError::Truncated { missing: Some(5), .. }), "{error:?}");
        assert!(error.to_string().contains("lacks at least 5 bytes, and the file has"), "{error}");
    }
    let bytes = data("plain.zip.pth");
    let error = bench.read(&bytes[..bytes.len() / 2]).unwrap_err();
    assert!(error.to_string().contains("the directory that ends a zip archive is missing"), "{error}");
}

/// A small generator: the test must do the same every time.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn random_damage_neither_panics_nor_takes_memory() {
    let bench = Bench::new();
    let mut state = 0x9e37_79b9_7f4a_7c15;
    let before = peak_mib();
    let mut all: Vec<_> = FIXTURES.iter().map(|name| data(name)).collect();
    all.push(plain_safetensors());
    for original in &all {
        for _ in 0..1500 {
            let mut bytes = original.clone();
            for _ in 0..1 + next(&mut state) % 4 {
                let at = (next(&mut state) % bytes.len() as u64) as usize;
                bytes[at] = match next(&mut state) % 3 {
                    0 => bytes[at] ^ (1 << (next(&mut state) % 8)),
                    1 => [0x00, 0xff, 0x7f, 0x80, b'.', b'(', b'R', b't'][(next(&mut state) % 8) as usize],
                    _ => next(&mut state) as u8,
                };
            }
            let _ = bench.read(&bytes);
        }
    }
    assert!(peak_mib() - before < 64, "{} MiB", peak_mib() - before);
    assert!(!Path::new("tl-weights-was-here").exists());
}

/// The legacy form around `object`.
fn legacy(object: &[u8]) -> Vec<u8> {
    let magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
    [magic.as_slice(), b"\x80\x02M\xe9\x03.", b"\x80\x02}.", b"\x80\x02", object, b".", b"\x80\x02]."]
        .concat()
}

#[test]
fn hostile_pickles_are_refused() {
    let bench = Bench::new();
    let refused = |object: &[u8], what: &str| {
        let error = bench.read(&legacy(object)).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    };
    refused(b"cos\nsystem\n(X\x02\x00\x00\x00lstR", "wants to call `os.system`");
    refused(b"(S'ls'\nios\nsystem\n", "wants to call `os.system`");
    refused(b"(cos\nsystem\nS'ls'\no", "wants to call `os.system`");
    refused(b"cbuiltins\nobject\n)\x81", "wants to call `builtins.object`");
    refused(b"cbuiltins\nobject\n)}\x92", "wants to call `builtins.object`");
    refused(b"\x8c\x02os\x8c\x06system\x93)R", "wants to call `os.system`");
    refused(b"cnumpy.core.multiarray\nscalar\n)R", "wants to call `numpy.core.multiarray.scalar`");
    refused(b"ctorch._utils\n_rebuild_tensor_v3\n)R", "_rebuild_tensor_v3`");
    refused(b"\x82\x01", "extension registry");
    // A name that is not called is only a name.
    refused(b"cos\nsystem\n", "without named tensors");
    refused(b"}X\x01\x00\x00\x00acos\nsystem\nb", "state is given");
    refused(b"R", "taken from an empty stack");
    refused(b"(0t", "a mark is missing");
    refused(b"h\x05", "memo 5 is read before it is written");
    refused(b"]K\x01K\x02s", "an entry is added");
    refused(b"Pfoo\n", "persistent id");
    refused(b"\xf0", "0xf0 is no opcode");
    refused(b"\x80\x09N", "protocol 9");
    refused(b"X\xff\xff\xff\xff", "lacks at least");
    refused(b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff", "lacks at least");
    refused(b"\x8b\xff\xff\xff\x7f", "lacks at least");
}

#[test]
fn bombs_do_not_go_off() {
    let bench = Bench::new();
    let before = peak_mib();
    // A tuple in a tuple in a tuple …: dropping it must not overflow the stack.
    let mut deep = b")".to_vec();
    deep.resize(2_000_000, 0x85);
    let mut doubling = b"}".to_vec();
    // A dict that has the one before twice, 60 times over.
    for slot in 0u8..60 {
        doubling.extend_from_slice(&[
            b'q', slot, b'0', b'}', b'(', b'U', 1, b'a', b'h', slot, b'U', 1, b'b', b'h', slot, b'u',
        ]);
    }
    let mut cycle = b"}q\x00".to_vec();
    cycle.extend_from_slice(b"X\x01\x00\x00\x00ah\x00s");
    for object in [deep, doubling, cycle, vec![b'}'; 3_000_000], vec![b'('; 3_000_000], vec![b'N'; 3_000_000]]
    {
        assert!(bench.read(&legacy(&object)).is_err());
    }
    assert!(peak_mib() - before < 600, "{} MiB", peak_mib() - before);
}

/// A state dict with one tensor of a storage of four floats.
fn tensor(numel: &str, offset: &str, shape: &str, strides: &str) -> Vec<u8> {
    let object = format!(
        "}}S'w'\nctorch._utils\n_rebuild_tensor_v2\n((S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI{numel}\ntQ\
         I{offset}\n({shape}t({strides}tI00\n}}tRs"
    );
    let mut file = legacy(object.as_bytes());
    file.truncate(file.len() - 4);
    file.extend_from_slice(b"\x80\x02](S'0'\ne.");
    file.extend_from_slice(&4u64.to_le_bytes());
    file.extend_from_slice(&[0; 16]);
    file
}

#[test]
fn tensors_stay_inside_their_storage() {
    let bench = Bench::new();
    let read = |numel, offset, shape, strides| bench.read(&tensor(numel, offset, shape, strides));
    let max = "I9223372036854775807\n";
    let (twice, often) = (max.repeat(2), max.repeat(4));
    assert_eq!(read("4", "0", "I2\nI2\n", "I2\nI1\n").unwrap(), 16);
    assert_eq!(read("4", "3", "I1\n", "I9\n").unwrap(), 4);
    assert_eq!(read("4", "0", "I0\nI5\n", "I5\nI1\n").unwrap(), 0);
    assert_eq!(read("4", "0", "I3\nI4\n", "I0\nI1\n").unwrap(), 48);
    for (offset, shape, strides) in [
        ("1", "I2\nI2\n", "I2\nI1\n"),
        ("4", "I1\n", "I1\n"),
        ("9223372036854775807", "I2\n", "I1\n"),
        ("0", max, "I1\n"),
        ("0", "I2\n", max),
        ("0", &twice, "I0\nI0\n"),
        ("0", &often, &often),
        ("0", "I99999999\nI4\n", "I0\nI1\n"),
    ] {
        let error = read("4", offset, shape, strides).unwrap_err().to_string();
        assert!(error.contains("tensor `w` reaches beyond its storage of 4 elements"), "{error}");
    }
    for (numel, offset, shape, strides, what) in [
        ("5", "0", "I1\n", "I1\n", "has 4 elements, and should have 5"),
        ("9223372036854775807", "0", "I1\n", "I1\n", "has 4 elements"),
        ("-1", "0", "I1\n", "I1\n", "negative size"),
        ("4", "-1", "I1\n", "I1\n", "negative offset"),
        ("4", "0", "I-1\n", "I1\n", "no tuple of counts"),
        ("4", "0", "I1\n", "I-1\n", "no tuple of counts"),
        ("4", "0", "I1\n", "", "more or fewer strides"),
        ("4", "0", &"I1\n".repeat(40), &"I1\n".repeat(40), "no tuple of counts"),
    ] {
        let error = read(numel, offset, shape, strides).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
}

#[test]
fn lying_safetensors_headers_are_found_out() {
    let bench = Bench::new();
    let says = |bytes: &[u8], what: &str| {
        let error = bench.read(bytes).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    };
    let row = |dtype: &str, shape: &str, offsets: &str| {
        format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
    };
    let mut huge = plain_safetensors();
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    says(&huge, "the header claims to have 18446744073709551615 bytes");
    huge[..8].copy_from_slice(&99_999_999u64.to_le_bytes());
    says(&huge, "the header lacks at least");
    says(&safetensors(&row("F32", "[2]", "[0,4]"), &[0; 4]), "the header is invalid");
    says(&safetensors(&row("F32", "[2]", "[4,12]"), &[0; 12]), "the header is invalid");
    says(&safetensors(&row("F32", "[4611686018427387904,16]", "[0,0]"), &[]), "the header is invalid");
    says(
        &safetensors(&row("F32", "[1000000000000]", "[0,4000000000000]"), &[0; 4]),
        "lacks at least 3999999999996 bytes",
    );
    says(&safetensors(&row("F32", "[1]", "[0,4]"), &[0; 9]), "5 bytes follow the last tensor");
    says(&safetensors(&row("F8_E4M3", "[1]", "[0,1]"), &[0]), "tensor `a` is of type F8_E4M3");
    says(&safetensors("{\"a\":", &[]), "the header is invalid");
}

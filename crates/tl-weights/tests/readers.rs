//! Every format against what PyTorch itself reads from it. The fixtures are made by `tests/golden/make_pth.py`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tl_weights::{DType, Format, TensorInfo, WeightFile, WeightsError, write_safetensors};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

struct Golden {
    name: String,
    dtype: DType,
    shape: Vec<usize>,
    values: Vec<f64>,
}

fn golden(which: &str) -> Vec<Golden> {
    let all: Value = serde_json::from_slice(&fs::read(data("expected.json")).unwrap()).unwrap();
    let rows = all[which].as_array().unwrap();
    rows.iter()
        .map(|row| Golden {
            name: row["name"].as_str().unwrap().into(),
            dtype: match row["dtype"].as_str().unwrap() {
                "float32" => DType::F32,
                "float16" => DType::F16,
                "bfloat16" => DType::BF16,
                "float64" => DType::F64,
                "int64" => DType::I64,
                "int32" => DType::I32,
                "int16" => DType::I16,
                "int8" => DType::I8,
                "uint8" => DType::U8,
                "bool" => DType::Bool,
                other => panic!("{other}"),
            },
            shape: row["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect(),
            values: row["values"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect(),
        })
        .collect()
}

fn check(name: &str, format: Format, which: &str) {
    let file = WeightFile::open(data(name)).unwrap();
    let golden = golden(which);
    assert_eq!(file.format(), format, "{name}");
    let names: Vec<_> = golden.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(file.names().collect::<Vec<_>>(), names, "{name}");
    for row in golden {
        let info = TensorInfo { dtype: row.dtype, shape: row.shape };
        assert_eq!(file.info(&row.name), Some(&info), "{name}: {}", row.name);
        let values: Vec<f32> = row.values.iter().map(|&v| v as f32).collect();
        assert_eq!(file.read_f32(&row.name).unwrap(), values, "{name}: {}", row.name);
        let bytes = file.bytes(&row.name).unwrap();
        assert_eq!(bytes.len(), values.len() * row.dtype.size(), "{name}: {}", row.name);
    }
}

/// All elements of `name`, read `chunk` at a time.
fn in_chunks(file: &WeightFile, name: &str, chunk: usize) -> Vec<f32> {
    let (mut all, mut full) = (Vec::new(), true);
    file.read_f32_chunks(name, chunk, &mut |first, values| {
        assert_eq!(first, all.len(), "{name} by {chunk}");
        // Only the last may be shorter.
        assert!(full && !values.is_empty() && values.len() <= chunk.max(1), "{name} by {chunk}");
        full = values.len() == chunk.max(1);
        all.extend_from_slice(values);
    })
    .unwrap();
    all
}

#[test]
fn chunks_make_the_whole() {
    let dir = tempfile::tempdir().unwrap();
    let written = rewritten(dir.path(), "a.safetensors", false);
    let fixtures = ["plain.zip.pth", "plain.legacy.pth", "nested.zip.pth"];
    let mut dtypes = BTreeSet::new();
    for path in fixtures.map(data).into_iter().chain([written]) {
        let file = WeightFile::open(path).unwrap();
        for name in file.names() {
            dtypes.insert(file.info(name).unwrap().dtype);
            let whole = file.read_f32(name).unwrap();
            for chunk in [0, 1, 2, 3, 5, 7, 64, whole.len().max(1), whole.len() + 1, usize::MAX] {
                assert_eq!(in_chunks(&file, name, chunk), whole, "{name} by {chunk}");
            }
        }
    }
    assert_eq!(dtypes.len(), 10);
}

#[test]
fn chunks_of_a_longer_tensor() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.safetensors");
    let values: Vec<f32> = (0..200_001u32).map(|i| i as f32 / 7.0).collect();
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let halves: Vec<u8> = (0..200_001u32).flat_map(|i| ((i % 60_000) as i16).to_le_bytes()).collect();
    let rows = [("f", DType::F32, vec![200_001], bytes), ("i", DType::I16, vec![3, 66_667], halves)];
    write_safetensors(&path, rows, &BTreeMap::new()).unwrap();
    let file = WeightFile::open(&path).unwrap();
    let shorts: Vec<f32> = (0..200_001u32).map(|i| f32::from((i % 60_000) as i16)).collect();
    for (name, expected) in [("f", &values), ("i", &shorts)] {
        assert_eq!(&file.read_f32(name).unwrap(), expected);
        for chunk in [1 << 16, 66_667, 99_991] {
            assert_eq!(&in_chunks(&file, name, chunk), expected);
        }
    }
    // Reading meanwhile does not block.
    let mut first = Vec::new();
    file.read_f32_chunks("i", 100_000, &mut |at, _| first.push(file.read_f32("f").unwrap()[at])).unwrap();
    assert_eq!(first, [values[0], values[100_000], values[200_000]]);
    // A file that shrinks while it is read.
    let error = file.read_f32_chunks("i", 100_000, &mut |_, _| {
        fs::File::options().write(true).open(&path).unwrap().set_len(1_000_000).unwrap();
    });
    assert!(matches!(error.unwrap_err(), WeightsError::Truncated { .. }));
    let error = file.read_f32_chunks("no", 1, &mut |_, _| ()).unwrap_err();
    assert!(matches!(error, WeightsError::NoTensor { .. }), "{error}");
}

#[test]
fn every_dtype_and_layout() {
    check("plain.zip.pth", Format::PthZip, "plain");
    check("plain.legacy.pth", Format::PthLegacy, "plain");
    check("plain.protocol4.pth", Format::PthZip, "plain");
}

#[test]
fn checkpoints_are_unwrapped() {
    for name in ["nested", "parallel"] {
        check(&format!("{name}.zip.pth"), Format::PthZip, "net");
        check(&format!("{name}.legacy.pth"), Format::PthLegacy, "net");
    }
    check("nested.protocol5.legacy.pth", Format::PthLegacy, "net");
}

#[test]
fn calls_are_refused_by_name_and_not_made() {
    for name in ["evil.zip.pth", "evil.legacy.pth"] {
        let error = WeightFile::open(data(name)).unwrap_err();
        assert!(matches!(&error, WeightsError::Refused { name, .. } if name == "posix.system"), "{error}");
        assert!(
            error
                .to_string()
                .contains("wants to call `posix.system`, which is refused; only tensors are read")
        );
        assert!(!Path::new("tl-weights-was-here").exists());
    }
    let error = WeightFile::open(data("whole_model.zip.pth")).unwrap_err().to_string();
    assert!(error.contains("`torch.nn.modules.container.Sequential`"), "{error}");
    assert!(error.contains("hint: the file holds a whole model; save `model.state_dict()`"), "{error}");
}

fn rewritten(dir: &Path, name: &str, reverse: bool) -> PathBuf {
    let file = WeightFile::open(data("plain.zip.pth")).unwrap();
    let mut rows: Vec<_> = file
        .names()
        .map(|name| {
            let TensorInfo { dtype, shape } = file.info(name).unwrap().clone();
            (name, dtype, shape, file.bytes(name).unwrap())
        })
        .collect();
    if reverse {
        rows.reverse();
    }
    let metadata: BTreeMap<_, _> =
        ["format", "net", "a \"quoted\" key"].map(|key| (key.to_owned(), "pt\n".to_owned())).into();
    let path = dir.join(name);
    let written = write_safetensors(&path, rows, &metadata).unwrap();
    assert_eq!(written.bytes, fs::metadata(&path).unwrap().len());
    assert_eq!(written.sha256, tl_fetch::sha256_file(&path).unwrap());
    path
}

#[test]
fn safetensors_come_back_as_they_went() {
    let dir = tempfile::tempdir().unwrap();
    let path = rewritten(dir.path(), "a.safetensors", false);
    let file = WeightFile::open(&path).unwrap();
    assert_eq!(file.format(), Format::Safetensors);
    assert_eq!(file.metadata().len(), 3);
    assert_eq!(file.metadata()["a \"quoted\" key"], "pt\n");
    for row in golden("plain") {
        let values: Vec<f32> = row.values.iter().map(|&v| v as f32).collect();
        assert_eq!(file.read_f32(&row.name).unwrap(), values, "{}", row.name);
        assert_eq!(file.info(&row.name).unwrap().shape, row.shape);
    }
    // The order in which tensors are given does not matter, and nothing is left beside the file.
    let other = rewritten(dir.path(), "b.safetensors", true);
    assert_eq!(fs::read(&path).unwrap(), fs::read(other).unwrap());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    // The reference implementation agrees.
    let bytes = fs::read(&path).unwrap();
    let reference = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(reference.len(), file.names().count());
    assert_eq!(reference.tensor("f32").unwrap().data(), &*file.bytes("f32").unwrap());
}

#[test]
fn what_does_not_fit_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.safetensors");
    let none = BTreeMap::new();
    let twice = [("a", DType::U8, vec![1], [0]), ("a", DType::U8, vec![1], [0])];
    let error = write_safetensors(&path, twice, &none).unwrap_err();
    assert_eq!(error.to_string(), "tensor `a` cannot be written: its name is taken");
    let short = [("a", DType::F32, vec![2, usize::MAX], [0; 4])];
    let error = write_safetensors(&path, short, &none).unwrap_err();
    assert!(error.to_string().contains("4 bytes do not make F32 [2, "), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn unknown_names_are_an_error() {
    let file = WeightFile::open(data("plain.legacy.pth")).unwrap();
    assert!(file.info("no").is_none());
    let error = file.bytes("no").unwrap_err();
    assert!(error.to_string().ends_with("have no tensor `no`"), "{error}");
}

#[test]
fn tensors_are_read_from_several_threads() {
    let file = WeightFile::open(data("plain.zip.pth")).unwrap();
    let once = file.read_f32("transposed").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..50).for_each(|_| assert_eq!(file.read_f32("transposed").unwrap(), once)));
        }
    });
}

#[test]
fn what_is_no_weights_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let says = |content: &[u8], what: &str| {
        let path = dir.path().join("weights.pth");
        fs::write(&path, content).unwrap();
        let error = WeightFile::open(&path).unwrap_err();
        assert!(matches!(error, WeightsError::NotWeights { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(what) && text.contains("\n\nhint: "), "{text}");
    };
    says(b"", "an empty file");
    says(b"<!DOCTYPE html><html>", "an HTML or XML page");
    says(b"\n  <html>", "an HTML or XML page");
    says(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "a Git LFS pointer");
    says(b"\x89HDF\r\n\x1a\n", "Keras");
    says(b"{\"error\": \"not found\"}", "JSON");
    says(b"hello, world {", "a text file");
    says(b"12345678{ looks like a header, but is text", "a text file");
    says(&[7; 600], "of no known format");
    says(b"\x80\x02K\x01.", "a pickle that `torch.save` did not make");
    let folder = WeightFile::open(dir.path()).unwrap_err().to_string();
    assert!(folder.contains("it is a folder"), "{folder}");
    let gone = WeightFile::open(dir.path().join("gone")).unwrap_err().to_string();
    assert!(gone.starts_with("failed to open `"), "{gone}");
}

#[test]
fn zip_archives_of_others_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("weights.pth");
    let archive = |members: &[(&str, &[u8], zip::CompressionMethod)]| {
        let mut writer = zip::ZipWriter::new(fs::File::create(&path).unwrap());
        for (name, content, method) in members {
            let options = zip::write::SimpleFileOptions::default().compression_method(*method);
            writer.start_file(*name, options).unwrap();
            std::io::Write::write_all(&mut writer, content).unwrap();
        }
        writer.finish().unwrap();
        WeightFile::open(&path).unwrap_err().to_string()
    };
    let (stored, deflated) = (zip::CompressionMethod::Stored, zip::CompressionMethod::Deflated);
    assert!(archive(&[("model.weights.h5", b"x", stored)]).contains("a Keras model"));
    assert!(archive(&[("a.txt", b"x", stored)]).contains("without `data.pkl`"));
    assert!(archive(&[("x/data.pkl", b"\x80\x02}.", deflated)]).contains("compressed or encrypted"));
    assert!(archive(&[("x/data.pkl", b"\x80\x02}.", stored)]).contains("without named tensors"));
    let big = archive(&[("x/data.pkl", b"\x80\x02}.", stored), ("x/byteorder", b"big", stored)]);
    assert!(big.contains("big-endian"), "{big}");
}

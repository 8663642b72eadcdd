//! Tensors written row by row.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tl_weights::{DType, TensorWriter, WeightFile, WeightsError, write_safetensors};

fn metadata() -> BTreeMap<String, String> {
    BTreeMap::from([("net".to_owned(), "resnet18".to_owned())])
}

fn count(dir: &Path) -> usize {
    fs::read_dir(dir).unwrap().count()
}

#[test]
fn npy_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("features.npy");
    let mut writer = TensorWriter::npy(&path, &[2, 3]).unwrap();
    assert_eq!(writer.path(), path);
    writer.write(&[1.0, -2.0, 0.5]).unwrap();
    writer.write(&[]).unwrap();
    // Nothing has its name yet.
    assert!(!path.exists());
    writer.write(&[f32::NAN, f32::INFINITY, 3e38]).unwrap();
    let written = writer.finish().unwrap();

    let mut expected = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    expected.extend_from_slice(b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }");
    expected.resize(127, b' ');
    expected.push(b'\n');
    for value in [1.0, -2.0, 0.5, f32::NAN, f32::INFINITY, 3e38] {
        expected.extend_from_slice(&value.to_le_bytes());
    }
    assert_eq!(fs::read(&path).unwrap(), expected);
    assert_eq!(written.bytes, expected.len() as u64);
    assert_eq!(written.sha256, tl_fetch::sha256_file(&path).unwrap());
    assert_eq!(count(dir.path()), 1);
}

#[test]
fn npy_of_other_shapes() {
    let dir = tempfile::tempdir().unwrap();
    for (i, (shape, shown)) in
        [(&[][..], "()"), (&[5], "(5,)"), (&[0, 4], "(0, 4)"), (&[1, 2, 2], "(1, 2, 2)")]
            .into_iter()
            .enumerate()
    {
        let path = dir.path().join(format!("{i}.npy"));
        let mut writer = TensorWriter::npy(&path, shape).unwrap();
        let n: usize = shape.iter().product();
        writer.write(&vec![1.5; n]).unwrap();
        let written = writer.finish().unwrap();
        let bytes = fs::read(&path).unwrap();
        let header = String::from_utf8_lossy(&bytes[10..128]);
        assert!(header.contains(&format!("'shape': {shown}, }}")), "{header}");
        assert_eq!((bytes.len(), written.bytes), (128 + 4 * n, 128 + 4 * n as u64));
    }
}

#[test]
fn safetensors_as_if_written_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let values: Vec<f32> = (0..50_000).map(|i| i as f32 * 0.25).collect();
    // On both sides of the values: wider and narrower types, names before and after.
    let extra = || {
        vec![
            ("paths".to_owned(), DType::U8, vec![2, 3], b"abcdef".to_vec()),
            ("labels".to_owned(), DType::I64, vec![2], [1i64.to_le_bytes(), 2i64.to_le_bytes()].concat()),
            ("zoom".to_owned(), DType::F32, vec![1], 2f32.to_le_bytes().to_vec()),
            ("area".to_owned(), DType::F32, vec![1], 9f32.to_le_bytes().to_vec()),
            ("none".to_owned(), DType::I32, vec![0], Vec::new()),
        ]
    };
    let path = dir.path().join("streamed.safetensors");
    let mut writer =
        TensorWriter::safetensors(&path, "features", &[2, 25_000], extra(), &metadata()).unwrap();
    for part in values.chunks(16_385) {
        writer.write(part).unwrap();
    }
    let written = writer.finish().unwrap();

    let file = WeightFile::open(&path).unwrap();
    assert_eq!(file.read_f32("features").unwrap(), values);
    assert_eq!(file.info("features").unwrap().shape, [2, 25_000]);
    assert_eq!(file.read_f32("labels").unwrap(), [1.0, 2.0]);
    assert_eq!(&*file.bytes("paths").unwrap(), b"abcdef");
    assert_eq!((file.read_f32("area").unwrap(), file.read_f32("zoom").unwrap()), (vec![9.0], vec![2.0]));
    assert_eq!(file.metadata(), &metadata());

    let whole = dir.path().join("whole.safetensors");
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let mut rows = extra();
    rows.push(("features".to_owned(), DType::F32, vec![2, 25_000], bytes));
    assert_eq!(write_safetensors(&whole, rows, &metadata()).unwrap(), written);
    assert_eq!(fs::read(&path).unwrap(), fs::read(&whole).unwrap());
    // The reference implementation agrees.
    let bytes = fs::read(&path).unwrap();
    let reference = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(reference.len(), 6);
    assert_eq!(reference.tensor("features").unwrap().shape(), [2, 25_000]);
}

#[test]
fn the_number_of_values_has_to_be_right() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.npy");
    let mut few = TensorWriter::npy(&path, &[2, 3]).unwrap();
    few.write(&[0.0; 5]).unwrap();
    let error = few.finish().unwrap_err().to_string();
    assert_eq!(error, "tensor `x.npy` cannot be written: got 5 values, and [2, 3] has 6");

    let mut many = TensorWriter::safetensors(&path, "f", &[2, 3], Vec::new(), &metadata()).unwrap();
    many.write(&[0.0; 6]).unwrap();
    let error = many.write(&[0.0]).unwrap_err().to_string();
    assert_eq!(error, "tensor `f` cannot be written: got 7 values, and [2, 3] has 6");
    // An error that was not heeded comes again.
    assert!(many.finish().is_err());

    drop(TensorWriter::npy(&path, &[2, 3]).unwrap());
    assert_eq!(count(dir.path()), 0);
}

#[test]
fn what_cannot_be_written_is_said_before() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.safetensors");
    let begin = |name: &str, shape: &[usize], extra| {
        TensorWriter::safetensors(&path, name, shape, extra, &metadata()).unwrap_err().to_string()
    };
    let extra = |name: &str| vec![(name.to_owned(), DType::F32, vec![1], vec![0; 4])];
    assert!(begin("f", &[3], extra("f")).ends_with("its name is taken"));
    assert!(begin("__metadata__", &[3], Vec::new()).ends_with("its name is taken"));
    assert!(begin("f", &[usize::MAX, 2], Vec::new()).ends_with("is larger than any file"));
    let short = vec![("a".to_owned(), DType::I64, vec![2], vec![0; 8])];
    assert!(begin("f", &[3], short).contains("tensor `a` cannot be written: 8 bytes do not make I64 [2]"));
    let error = TensorWriter::npy(dir.path().join("x.npy"), &[1; 40_000]).unwrap_err().to_string();
    assert!(error.ends_with("is larger than any file"), "{:.100}", error);
    let error = TensorWriter::npy(dir.path().join("no/x.npy"), &[1]).unwrap_err();
    assert!(matches!(error, WeightsError::Io { action: "write", .. }), "{error}");
    assert_eq!(count(dir.path()), 0);
}

#[test]
fn a_file_that_exists_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.npy");
    // It comes between beginning and end.
    let mut writer = TensorWriter::npy(&path, &[1]).unwrap();
    writer.write(&[1.0]).unwrap();
    fs::write(&path, b"of somebody else").unwrap();
    let late = writer.finish().unwrap_err();
    // It is there from the beginning.
    let early = TensorWriter::npy(&path, &[1]).unwrap_err();
    for error in [late, early] {
        assert!(matches!(&error, WeightsError::Exists { path: shown } if *shown == path), "{error}");
        let expected = "exists, and is not overwritten\n\nhint: give another name, or remove it";
        assert!(error.to_string().ends_with(expected), "{error}");
    }
    assert_eq!(fs::read(&path).unwrap(), b"of somebody else");
    assert_eq!(count(dir.path()), 1);
    // Nor are folders, and links to nowhere.
    assert!(matches!(TensorWriter::npy(dir.path(), &[1]), Err(WeightsError::Exists { .. })));
    #[cfg(unix)]
    {
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        assert!(matches!(TensorWriter::npy(&link, &[1]), Err(WeightsError::Exists { .. })));
    }
}

#[test]
#[cfg(unix)]
fn others_may_read_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let (path, plain) = (dir.path().join("x.npy"), dir.path().join("plain"));
    TensorWriter::npy(&path, &[0]).unwrap().finish().unwrap();
    fs::write(&plain, b"").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&path), mode(&plain));
}

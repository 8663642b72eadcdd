//! safetensors: reading the header, writing whole files. The decision: the `safetensors` crate parses and validates
//! the header (no gaps, no overlaps, sizes that fit), but the file is written here, because its own writer keeps
//! metadata in a random order and two equal models must be equal files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::Metadata;
use sha2::{Digest, Sha256};

use crate::dtype::DType;
use crate::error::{WeightsError, io_error};
use crate::file::{Entry, Format, Table, TensorInfo};

/// Longest header, as in the reference implementation.
const MAX_HEADER: u64 = 100_000_000;

/// Reads the header of `file`.
pub(crate) fn table(path: &Path, mut file: &File, len: u64) -> Result<Table, WeightsError> {
    let malformed = |what: String| WeightsError::Malformed { path: path.to_owned(), what };
    let truncated = |what: &str, missing: u64| WeightsError::Truncated {
        path: path.to_owned(),
        what: what.into(),
        missing: Some(missing),
        len,
    };
    file.seek(SeekFrom::Start(0)).map_err(io_error("read", path))?;
    let mut prefix = [0; 8];
    file.read_exact(&mut prefix).map_err(io_error("read", path))?;
    let n = u64::from_le_bytes(prefix);
    if n > MAX_HEADER {
        return Err(malformed(format!(
            "the header claims to have {n} bytes, more than the {MAX_HEADER} allowed"
        )));
    }
    let data = 8 + n;
    if data > len {
        return Err(truncated("the header", data - len));
    }
    let mut header = vec![0; n as usize];
    file.read_exact(&mut header).map_err(io_error("read", path))?;
    let parsed: Metadata = serde_json::from_slice(&header)
        .map_err(|error| malformed(format!("the header is invalid: {error}")))?;
    let end = data.saturating_add(parsed.data_len() as u64);
    if end > len {
        return Err(truncated("the last tensor", end - len));
    }
    if end < len {
        return Err(malformed(format!("{} bytes follow the last tensor", len - end)));
    }

    let mut entries = Vec::new();
    for name in parsed.offset_keys() {
        let Some(info) = parsed.info(&name) else { continue };
        let dtype = DType::ALL.into_iter().find(|&dtype| to_crate(dtype) == info.dtype).ok_or_else(|| {
            WeightsError::Unsupported {
                path: path.to_owned(),
                what: format!("tensor `{name}` is of type {}", info.dtype),
                hint: "convert the tensors to F32, F16 or BF16",
            }
        })?;
        let (start, stop) = info.data_offsets;
        entries.push(Entry {
            name,
            info: TensorInfo { dtype, shape: info.shape.clone() },
            start: data + start as u64,
            span: stop - start,
            strides: None,
        });
    }
    let metadata =
        parsed.metadata().iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
    Ok(Table { format: Format::Safetensors, entries, metadata })
}

fn to_crate(dtype: DType) -> Dtype {
    match dtype {
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::F32 => Dtype::F32,
        DType::F64 => Dtype::F64,
        DType::I8 => Dtype::I8,
        DType::I16 => Dtype::I16,
        DType::I32 => Dtype::I32,
        DType::I64 => Dtype::I64,
        DType::U8 => Dtype::U8,
        DType::Bool => Dtype::BOOL,
    }
}

/// A file that has been written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its length.
    pub bytes: u64,
    /// Its sha256, in lower-case hex.
    pub sha256: String,
}

/// Writes `tensors`, each `(name, element type, shape, row-major little-endian elements)`, to `path`.
///
/// The file depends on the content only, not on the order of `tensors`: the widest element types come first (which
/// keeps them aligned), then names decide. It appears whole or not at all: a temporary file in the same folder,
/// fsync, rename.
///
/// # Errors
/// When a name comes twice, the number of bytes does not fit the shape, or the file cannot be written.
pub fn write_safetensors<N, B>(
    path: impl AsRef<Path>,
    tensors: impl IntoIterator<Item = (N, DType, Vec<usize>, B)>,
    metadata: &BTreeMap<String, String>,
) -> Result<Written, WeightsError>
where
    N: Into<String>,
    B: AsRef<[u8]>,
{
    let path = path.as_ref();
    let mut tensors: Vec<_> = tensors.into_iter().map(|(name, d, s, b)| (name.into(), d, s, b)).collect();
    let rank = |dtype: DType| DType::ALL.iter().position(|&other| other == dtype);
    tensors.sort_by(|a, b| rank(a.1).cmp(&rank(b.1)).then_with(|| a.0.cmp(&b.0)));
    let header = header(&tensors, metadata)?;

    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = temporary_file(folder).map_err(io_error("write", path))?;
    let written = write_all(temporary.as_file(), &header, &tensors).map_err(io_error("write", path))?;
    temporary.persist(path).map_err(|error| io_error("write", path)(error.error))?;
    Ok(written)
}

type Row<B> = (String, DType, Vec<usize>, B);

fn write_all<B: AsRef<[u8]>>(file: &File, header: &[u8], tensors: &[Row<B>]) -> std::io::Result<Written> {
    let mut out = Hashing { inner: BufWriter::with_capacity(1 << 20, file), hash: Sha256::new(), n: 0 };
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(header)?;
    for (_, _, _, bytes) in tensors {
        out.write_all(bytes.as_ref())?;
    }
    out.flush()?;
    file.sync_all()?;
    let hash = out.hash.finalize();
    Ok(Written { bytes: out.n, sha256: hash.iter().map(|byte| format!("{byte:02x}")).collect() })
}

fn header<B: AsRef<[u8]>>(
    tensors: &[Row<B>],
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>, WeightsError> {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut rows = Vec::with_capacity(tensors.len() + 1);
    if !metadata.is_empty() {
        let pairs: Vec<_> = metadata.iter().map(|(k, v)| format!("{}:{}", quoted(k), quoted(v))).collect();
        rows.push(format!("\"__metadata__\":{{{}}}", pairs.join(",")));
    }
    let (mut seen, mut at) = (BTreeSet::from(["__metadata__"]), 0);
    for (name, dtype, shape, bytes) in tensors {
        let bytes = bytes.as_ref().len();
        let unwritable = |what: String| Err(WeightsError::Unwritable { name: name.clone(), what });
        if !seen.insert(name) {
            return unwritable("its name is taken".into());
        }
        let expected = shape.iter().try_fold(dtype.size(), |n, &d| n.checked_mul(d));
        if expected != Some(bytes) {
            return unwritable(format!("{bytes} bytes do not make {dtype} {shape:?}"));
        }
        let dims: Vec<_> = shape.iter().map(usize::to_string).collect();
        let (name, dims, end) = (quoted(name), dims.join(","), at + bytes);
        rows.push(format!(
            "{name}:{{\"dtype\":\"{dtype}\",\"shape\":[{dims}],\"data_offsets\":[{at},{end}]}}"
        ));
        at = end;
    }
    let mut header = format!("{{{}}}", rows.join(",")).into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}

/// A temporary file that will have the usual permissions, not those of a secret.
fn temporary_file(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.prefix(".weights-").tempfile_in(folder)
}

struct Hashing<W> {
    inner: W,
    hash: Sha256,
    n: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        let n = self.inner.write(buffer)?;
        self.hash.update(&buffer[..n]);
        self.n += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

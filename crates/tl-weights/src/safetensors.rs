//! safetensors: reading the header, writing whole files. The decision: the `safetensors` crate parses and validates
//! the header (no gaps, no overlaps, sizes that fit), but the file is written here, because its own writer keeps
//! metadata in a random order and two equal models must be equal files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::Metadata;

use crate::dtype::DType;
use crate::error::{WeightsError, io_error};
use crate::file::{Entry, Format, Table, TensorInfo};
use crate::whole::{Existing, Whole, Written};

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

/// One tensor to be written, without its bytes.
pub(crate) struct Row<'a> {
    pub(crate) name: &'a str,
    pub(crate) dtype: DType,
    pub(crate) shape: &'a [usize],
    /// How many bytes there are.
    pub(crate) bytes: usize,
}

impl Row<'_> {
    /// The order in a file: the widest element types come first (which keeps them aligned), then names decide.
    pub(crate) fn rank(&self) -> (usize, &str) {
        let width = DType::ALL.iter().position(|&dtype| dtype == self.dtype);
        (width.unwrap_or(DType::ALL.len()), self.name)
    }
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
    let tensors: Vec<_> = tensors.into_iter().map(|(name, d, s, b)| (name.into(), d, s, b)).collect();
    let mut rows: Vec<_> = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| {
            let bytes = bytes.as_ref();
            (Row { name, dtype: *dtype, shape, bytes: bytes.len() }, bytes)
        })
        .collect();
    rows.sort_by(|a, b| a.0.rank().cmp(&b.0.rank()));
    let mut out = Whole::begin(path.as_ref())?;
    out.write(&header(rows.iter().map(|(row, _)| row), metadata)?)?;
    for (_, bytes) in rows {
        out.write(bytes)?;
    }
    out.settle(Existing::Replace)
}

/// The length of the header and the header of a file with these rows, which are in order.
pub(crate) fn header<'a>(
    tensors: impl IntoIterator<Item = &'a Row<'a>>,
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>, WeightsError> {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut rows = Vec::new();
    if !metadata.is_empty() {
        let pairs: Vec<_> = metadata.iter().map(|(k, v)| format!("{}:{}", quoted(k), quoted(v))).collect();
        rows.push(format!("\"__metadata__\":{{{}}}", pairs.join(",")));
    }
    let (mut seen, mut at) = (BTreeSet::from(["__metadata__"]), 0usize);
    for &Row { name, dtype, shape, bytes } in tensors {
        let unwritable = |what: String| WeightsError::Unwritable { name: name.to_owned(), what };
        if !seen.insert(name) {
            return Err(unwritable("its name is taken".into()));
        }
        if shape.iter().try_fold(dtype.size(), |n, &d| n.checked_mul(d)) != Some(bytes) {
            return Err(unwritable(format!("{bytes} bytes do not make {dtype} {shape:?}")));
        }
        let end = at.checked_add(bytes).ok_or_else(|| unwritable("the file would be too long".into()))?;
        let dims: Vec<_> = shape.iter().map(usize::to_string).collect();
        let (name, dims) = (quoted(name), dims.join(","));
        rows.push(format!(
            "{name}:{{\"dtype\":\"{dtype}\",\"shape\":[{dims}],\"data_offsets\":[{at},{end}]}}"
        ));
        at = end;
    }
    let json = format!("{{{}}}", rows.join(","));
    let length = json.len().next_multiple_of(8);
    let mut header = (length as u64).to_le_bytes().to_vec();
    header.extend_from_slice(json.as_bytes());
    header.resize(8 + length, b' ');
    Ok(header)
}

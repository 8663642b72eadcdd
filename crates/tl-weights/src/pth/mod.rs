//! `.pth` files, both forms of `torch.save`. The decision: the two forms differ only in where the storages lie; what
//! the pickle means ([`state`]) and how a strided view of a storage is checked ([`entry`]) is said once.

mod legacy;
mod state;
mod zip;

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{WeightsError, io_error};
use crate::file::{Entry, Format, Table, TensorInfo};
use crate::pickle::{Heap, PickleError, Storage, Tensor, Value};

pub(crate) use legacy::legacy;
pub(crate) use zip::zip;

/// A tensor that shows one element many times (`expand`) may become this large; any other is as large as its storage.
const MAX_EXPANDED: u64 = 1 << 24;

/// Where the bytes of a storage lie in the file; the range has been checked.
#[derive(Clone, Copy)]
struct Place {
    start: u64,
    /// Elements there.
    numel: u64,
}

/// Checks a tensor against its storage.
fn entry(
    path: &Path,
    name: String,
    tensor: &Tensor,
    storage: &Storage,
    place: Place,
) -> Result<Entry, WeightsError> {
    let outside = |name: &str| WeightsError::Malformed {
        path: path.to_owned(),
        what: format!("tensor `{name}` reaches beyond its storage of {} elements", place.numel),
    };
    let (base, numel) = match storage.view {
        Some((base, n)) if base.checked_add(n).is_some_and(|end| end <= place.numel) => (base, n),
        Some(_) => return Err(outside(&name)),
        None => (0, place.numel),
    };
    let size = storage.dtype.size() as u64;
    let count = tensor.shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d)).ok_or_else(|| outside(&name))?;
    let shape: Vec<usize> = tensor.shape.iter().map(|&d| d as usize).collect();
    let info = TensorInfo { dtype: storage.dtype, shape };
    if count == 0 {
        return Ok(Entry { name, info, start: place.start, span: 0, strides: None });
    }
    let last = tensor.shape.iter().zip(&tensor.strides).try_fold(tensor.offset, |at, (&n, &stride)| {
        (n - 1).checked_mul(stride).and_then(|reach| at.checked_add(reach))
    });
    let Some(last) = last.filter(|&last| last < numel) else {
        return Err(outside(&name));
    };
    if count > numel && count.checked_mul(size).is_none_or(|bytes| bytes > MAX_EXPANDED) {
        return Err(outside(&name));
    }
    let strides = (!is_row_major(&tensor.shape, &tensor.strides)).then(|| {
        tensor.strides.iter().zip(&tensor.shape).map(|(&s, &n)| if n == 1 { 0 } else { s as usize }).collect()
    });
    // In bounds: `last < numel`, and the whole storage lies in the file.
    let start = place.start + (base + tensor.offset) * size;
    Ok(Entry { name, info, start, span: ((last - tensor.offset + 1) * size) as usize, strides })
}

fn is_row_major(shape: &[u64], strides: &[u64]) -> bool {
    let mut expected = 1;
    shape.iter().zip(strides).rev().all(|(&n, &stride)| {
        let right = n == 1 || stride == expected;
        expected *= n;
        right
    })
}

/// Makes the table of all tensors of a checkpoint; `place` finds the storage that a tensor needs.
fn table<'a>(
    path: &Path,
    heap: &'a Heap,
    root: Value,
    format: Format,
    mut place: impl FnMut(&'a Storage, &str) -> Result<Place, WeightsError>,
) -> Result<Table, WeightsError> {
    let named = state::tensors(heap, root).map_err(|state::TooLarge| WeightsError::Malformed {
        path: path.to_owned(),
        what: "it has more tensors than any net".into(),
    })?;
    if named.is_empty() {
        return Err(WeightsError::NotWeights {
            path: path.to_owned(),
            found: "a PyTorch file without named tensors".into(),
            hint: "save the weights with `torch.save(model.state_dict(), path)`",
        });
    }
    let mut entries = Vec::with_capacity(named.len());
    for (name, tensor) in named {
        let Some(storage) = heap.storage(tensor.storage) else { continue };
        let place = place(storage, &name)?;
        entries.push(entry(path, name, tensor, storage, place)?);
    }
    Ok(Table { format, entries, metadata: BTreeMap::new() })
}

/// Gives an error of the pickle machine its file.
fn pickle_error(path: &Path, len: u64, part: &str) -> impl Fn(PickleError) -> WeightsError {
    move |error| match error {
        PickleError::Truncated { at, missing } => WeightsError::Truncated {
            path: path.to_owned(),
            what: format!("{part}, at byte {at},"),
            missing: Some(missing),
            len,
        },
        PickleError::Malformed { at, what } => {
            WeightsError::Malformed { path: path.to_owned(), what: format!("{what} ({part}, byte {at})") }
        }
        PickleError::Refused { name } => WeightsError::Refused { path: path.to_owned(), name },
        PickleError::Unsupported { what } => WeightsError::Unsupported {
            path: path.to_owned(),
            what,
            hint: "convert the tensors to `torch.float32` before saving them",
        },
        PickleError::Io(error) => io_error("read", path)(error),
    }
}

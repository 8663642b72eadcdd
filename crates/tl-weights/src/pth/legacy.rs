//! The form before PyTorch 1.6: five pickles (a magic number, the protocol, the machine, the object, the keys of the
//! storages), then each storage as a count and raw elements. The decision: the storages are passed over by seeking,
//! so opening a file reads only its pickles, however large it is.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use super::{Place, pickle_error};
use crate::error::{WeightsError, io_error};
use crate::file::{Format, Table};
use crate::pickle::{self, Heap, Node, Source, Value};

/// 0x1950a86a20f9469cfc6c.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const PROTOCOL: i64 = 1001;

/// Reads the table of a legacy-form `file`.
pub(crate) fn legacy(path: &Path, mut file: &File, len: u64) -> Result<Table, WeightsError> {
    let malformed = |what: String| WeightsError::Malformed { path: path.to_owned(), what };
    file.seek(SeekFrom::Start(0)).map_err(io_error("read", path))?;
    let mut source = Source::new(BufReader::new(file), 0, len);
    let mut heap = Heap::new(len);
    let mut next = |part: &'static str, heap: &mut Heap| {
        pickle::run(&mut source, heap).map_err(pickle_error(path, len, part))
    };

    let magic = next("its magic number", &mut heap)?;
    if !matches!(heap.node(magic), Some(Node::Long(bytes)) if *bytes == MAGIC) {
        return Err(WeightsError::NotWeights {
            path: path.to_owned(),
            found: "a pickle that `torch.save` did not make".into(),
            hint: "save it with `torch.save(model.state_dict(), path)`",
        });
    }
    match next("its protocol number", &mut heap)? {
        Value::Int(PROTOCOL) => {}
        _ => return Err(malformed("its protocol number is not 1001".into())),
    }
    let machine = next("its description of the machine", &mut heap)?;
    if is_big_endian(&heap, machine) {
        return Err(WeightsError::Unsupported {
            path: path.to_owned(),
            what: "it was saved on a big-endian machine".into(),
            hint: "load and save it again with PyTorch",
        });
    }
    let root = next("its pickle", &mut heap)?;
    let keys = next("its list of storages", &mut heap)?;
    let at = source.at();
    let places = places(path, file, &heap, keys, at, len)?;

    super::table(path, &heap, root, Format::PthLegacy, |storage, name| {
        let place = places.get(storage.key.as_str()).copied();
        place.ok_or_else(|| malformed(format!("the storage of tensor `{name}` is not in its list")))
    })
}

fn is_big_endian(heap: &Heap, machine: Value) -> bool {
    let items = heap.dict(machine).unwrap_or_default();
    items
        .iter()
        .any(|&(key, value)| heap.str(key) == Some("little_endian") && matches!(value, Value::Bool(false)))
}

/// Finds the storages, which begin at `at`.
fn places<'a>(
    path: &Path,
    mut file: &File,
    heap: &'a Heap,
    keys: Value,
    mut at: u64,
    len: u64,
) -> Result<BTreeMap<&'a str, Place>, WeightsError> {
    let malformed = |what: String| WeightsError::Malformed { path: path.to_owned(), what };
    let truncated = |key: &str, end: u64| WeightsError::Truncated {
        path: path.to_owned(),
        what: format!("storage `{key}`, at byte {at},", at = end.min(len)),
        missing: Some(end - len),
        len,
    };
    let mut declared = BTreeMap::new();
    for storage in heap.storages() {
        let known = *declared.entry(storage.key.as_str()).or_insert((storage.dtype, storage.numel));
        if known != (storage.dtype, storage.numel) {
            return Err(malformed(format!("storage `{}` is described in two ways", storage.key)));
        }
    }
    let mut places = BTreeMap::new();
    for &key in heap.items(keys).ok_or_else(|| malformed("its list of storages is no list".into()))? {
        let key = heap.str(key).ok_or_else(|| malformed("the key of a storage is no string".into()))?;
        let &(dtype, numel) = declared
            .get(key)
            .ok_or_else(|| malformed(format!("storage `{key}` is in its list, but in no tensor")))?;
        let start = at.saturating_add(8);
        if start > len {
            return Err(truncated(key, start));
        }
        let mut count = [0; 8];
        file.seek(SeekFrom::Start(at)).map_err(io_error("read", path))?;
        file.read_exact(&mut count).map_err(io_error("read", path))?;
        let count = u64::from_le_bytes(count);
        if count != numel {
            return Err(malformed(format!("storage `{key}` has {count} elements, and should have {numel}")));
        }
        let end = numel.checked_mul(dtype.size() as u64).and_then(|bytes| start.checked_add(bytes));
        let end = end.ok_or_else(|| malformed(format!("storage `{key}` claims {numel} elements")))?;
        if end > len {
            return Err(truncated(key, end));
        }
        places.insert(key, Place { start, numel });
        at = end;
    }
    Ok(places)
}

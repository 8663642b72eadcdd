//! The zip form: `NAME/data.pkl` and one stored (never compressed) entry `NAME/data/KEY` per storage. The decision:
//! the archive is only asked where entries begin; tensors are then read from the file itself.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use zip::read::{ArchiveOffset, Config};
use zip::{CompressionMethod, ZipArchive};

use super::{Place, pickle_error};
use crate::error::{WeightsError, io_error};
use crate::file::{Format, Table};
use crate::pickle::{self, Heap, Source};

/// Longest `data.pkl`; 100,000 tensors make about 15 MB.
const MAX_PICKLE: u64 = 1 << 28;

type Archive<'a> = ZipArchive<BufReader<&'a File>>;

/// Reads the table of a zip-form `file`.
pub(crate) fn zip(path: &Path, mut file: &File, len: u64) -> Result<Table, WeightsError> {
    let malformed = |what: String| WeightsError::Malformed { path: path.to_owned(), what };
    let config = Config { archive_offset: ArchiveOffset::Known(0) };
    let mut archive = match ZipArchive::with_config(config, BufReader::new(file)) {
        Ok(archive) => archive,
        Err(zip::result::ZipError::Io(source)) => return Err(io_error("read", path)(source)),
        Err(_) => {
            let what = "the directory that ends a zip archive".into();
            return Err(WeightsError::Truncated { path: path.to_owned(), what, missing: None, len });
        }
    };
    let Some(pickle_name) = pickle_name(&archive) else {
        return Err(not_torch(path, &archive));
    };
    let top = pickle_name.trim_end_matches("data.pkl").to_owned();

    if let Some(place) = stored(path, &mut archive, &format!("{top}byteorder"), len)? {
        let order = read(path, file, place.start, place.numel.min(16))?;
        if order.trim_ascii() != b"little" {
            return Err(WeightsError::Unsupported {
                path: path.to_owned(),
                what: "it was saved on a big-endian machine".into(),
                hint: "load and save it again with PyTorch",
            });
        }
    }
    let place = stored(path, &mut archive, &pickle_name, len)?
        .ok_or_else(|| malformed(format!("`{pickle_name}` cannot be found")))?;
    if place.numel > MAX_PICKLE {
        return Err(malformed(format!("`{pickle_name}` has {} bytes", place.numel)));
    }
    file.seek(SeekFrom::Start(place.start)).map_err(io_error("read", path))?;
    let mut heap = Heap::new(place.numel);
    let mut source =
        Source::new(BufReader::new(file.take(place.numel)), place.start, place.start + place.numel);
    let root = pickle::run(&mut source, &mut heap).map_err(pickle_error(path, len, "its pickle"))?;
    drop(source);

    let mut places: BTreeMap<&str, Place> = BTreeMap::new();
    super::table(path, &heap, root, Format::PthZip, |storage, name| {
        let member = || format!("{top}data/{}", storage.key);
        let bytes = match places.get(storage.key.as_str()) {
            Some(&place) => place,
            None => {
                let place = stored(path, &mut archive, &member(), len)?.ok_or_else(|| {
                    malformed(format!("it has no `{}`, which tensor `{name}` needs", member()))
                })?;
                places.insert(&storage.key, place);
                place
            }
        };
        let elements = bytes.numel / storage.dtype.size() as u64;
        if elements < storage.numel {
            let what = format!("`{}` has {elements} elements, and should have {}", member(), storage.numel);
            return Err(malformed(what));
        }
        Ok(Place { start: bytes.start, numel: storage.numel })
    })
}

/// `data.pkl` in the one folder at the top, whatever its name.
fn pickle_name(archive: &Archive<'_>) -> Option<String> {
    let names = archive.file_names().filter_map(Result::ok);
    names.map(|name| name.into_owned()).find(|name| match name.rsplit_once('/') {
        Some((folder, file)) => file == "data.pkl" && !folder.contains('/'),
        None => name == "data.pkl",
    })
}

fn not_torch(path: &Path, archive: &Archive<'_>) -> WeightsError {
    let has = |what: &str| archive.file_names().flatten().any(|name| name.ends_with(what));
    let (found, hint) = if has(".weights.h5") {
        ("a Keras model", "Keras weights are not read; use the net's PyTorch or safetensors weights")
    } else if has(".npy") {
        ("a NumPy archive", "convert it to safetensors")
    } else if has(".pth") || has(".pt") || has(".bin") || has(".safetensors") {
        ("a zip archive with weights in it", "unpack it first")
    } else {
        ("a zip archive without `data.pkl`", "give a file made by `torch.save(model.state_dict(), path)`")
    };
    WeightsError::NotWeights { path: path.to_owned(), found: found.into(), hint }
}

/// Where the bytes of `member` lie, counted in bytes; `None` where there is no such member.
fn stored(
    path: &Path,
    archive: &mut Archive<'_>,
    member: &str,
    len: u64,
) -> Result<Option<Place>, WeightsError> {
    let Some(index) = archive.index_for_name(member) else {
        return Ok(None);
    };
    let malformed = || WeightsError::Malformed {
        path: path.to_owned(),
        what: format!("zip entry `{member}` is not where it should be"),
    };
    let found = archive.by_index_raw(index).map_err(|_| malformed())?;
    if found.compression() != CompressionMethod::Stored || found.encrypted() {
        return Err(WeightsError::Unsupported {
            path: path.to_owned(),
            what: format!("zip entry `{member}` is compressed or encrypted"),
            hint: "load and save it again with PyTorch, which stores its entries as they are",
        });
    }
    let (start, numel) = (found.data_start().ok_or_else(malformed)?, found.size());
    match start.checked_add(numel) {
        Some(end) if end <= len => Ok(Some(Place { start, numel })),
        _ => Err(malformed()),
    }
}

fn read(path: &Path, mut file: &File, start: u64, n: u64) -> Result<Vec<u8>, WeightsError> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(start)).map_err(io_error("read", path))?;
    file.take(n).read_to_end(&mut bytes).map_err(io_error("read", path))?;
    Ok(bytes)
}

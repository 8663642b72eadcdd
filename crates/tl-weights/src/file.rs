//! One view of every weight file. The decision: a format only contributes a table (name, shape, element type, where
//! the bytes lie, strides); from then on all formats are read by the same few lines, one tensor at a time straight
//! from the file, so that a file is never held in memory as a whole.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::dtype::DType;
use crate::error::{WeightsError, io_error};
use crate::{detect, pth, safetensors, shards};

/// Elements that are converted at a time: few enough to stay in the processor's cache.
const CHUNK: usize = 1 << 16;

/// How the bytes of a file are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// A JSON header and raw tensors.
    Safetensors,
    /// `torch.save` since PyTorch 1.6: a pickle and raw storages in a zip archive.
    PthZip,
    /// `torch.save` before: several pickles and raw storages, one after another.
    PthLegacy,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Safetensors => "safetensors",
            Format::PthZip => "pth (zip)",
            Format::PthLegacy => "pth (legacy)",
        })
    }
}

/// Element type and shape of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// The type of the elements.
    pub dtype: DType,
    /// The dimensions, outermost first; none for a scalar.
    pub shape: Vec<usize>,
}

/// One row of a file's table. Its ranges have been checked against the length of the file.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) info: TensorInfo,
    /// Where the first element lies in the file.
    pub(crate) start: u64,
    /// Bytes from the first element to the end of the last.
    pub(crate) span: usize,
    /// Distances between neighbours in elements, for tensors that are not row-major as they lie.
    pub(crate) strides: Option<Vec<usize>>,
}

impl Entry {
    fn numel(&self) -> usize {
        match self.strides {
            None => self.span / self.info.dtype.size(),
            Some(_) => self.info.shape.iter().product(),
        }
    }
}

/// The table of a file.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) format: Format,
    pub(crate) entries: Vec<Entry>,
    pub(crate) metadata: BTreeMap<String, String>,
}

/// An open file of weights, in any format.
///
/// Tensors are read when asked for; two threads may ask at once.
#[derive(Debug)]
pub struct WeightFile {
    path: PathBuf,
    /// One, but for an index of several.
    parts: Vec<Part>,
    /// The place of the part and of the entry in it.
    by_name: BTreeMap<String, (usize, usize)>,
}

/// A file with tensors.
#[derive(Debug)]
struct Part {
    path: PathBuf,
    file: Mutex<File>,
    table: Table,
}

impl Part {
    fn open(path: &Path) -> Result<Self, WeightsError> {
        let file = File::open(path).map_err(io_error("open", path))?;
        let about = file.metadata().map_err(io_error("open", path))?;
        if about.is_dir() {
            return Err(detect::folder(path));
        }
        let table = match detect::format(path, &file, about.len())? {
            Format::Safetensors => safetensors::table(path, &file, about.len())?,
            Format::PthZip => pth::zip(path, &file, about.len())?,
            Format::PthLegacy => pth::legacy(path, &file, about.len())?,
        };
        Ok(Self { path: path.to_owned(), file: Mutex::new(file), table })
    }
}

impl WeightFile {
    /// Opens `path` and reads its table; what it is gets decided by its content, not by its name.
    ///
    /// An index of several files (`model.safetensors.index.json`) is read as one file with all their tensors; they lie
    /// beside it.
    ///
    /// # Errors
    /// When the file cannot be read, is no file of weights, is damaged or cut short, has tensors of a type that is not
    /// in [`DType`], or is a pickle that wants to run code. Nothing of it is ever run.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, WeightsError> {
        let path = path.as_ref();
        let path_of = |shard: &String| path.with_file_name(shard);
        let parts = match shards::read(path)? {
            Some(index) => {
                index.files().map(|shard| Part::open(&path_of(shard))).collect::<Result<_, _>>()?
            }
            None => vec![Part::open(path)?],
        };
        let mut by_name = BTreeMap::new();
        for (i, part) in parts.iter().enumerate() {
            for (j, entry) in part.table.entries.iter().enumerate() {
                if by_name.insert(entry.name.clone(), (i, j)).is_some() && parts.len() > 1 {
                    let what = format!("tensor `{}` is in several of its files", entry.name);
                    return Err(WeightsError::Malformed { path: path.to_owned(), what });
                }
            }
        }
        Ok(Self { path: path.to_owned(), parts, by_name })
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The format that was found.
    pub fn format(&self) -> Format {
        self.parts[0].table.format
    }

    /// The names of all tensors, in the order of the file.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().flat_map(|part| &part.table.entries).map(|entry| entry.name.as_str())
    }

    /// Element type and shape of the tensor `name`.
    pub fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.entry(name).map(|(_, entry)| &entry.info)
    }

    /// The free-text metadata of the file; only safetensors has any.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.parts[0].table.metadata
    }

    /// The elements of `name`: little-endian, row-major, without gaps.
    ///
    /// # Errors
    /// When there is no such tensor, or the file cannot be read any more.
    pub fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>, WeightsError> {
        let (part, entry) = self.entry(name).ok_or_else(|| self.no_tensor(name))?;
        let mut raw = Vec::new();
        part.read(entry, 0, entry.span, &mut raw)?;
        let Some(strides) = &entry.strides else { return Ok(Cow::Owned(raw)) };
        let size = entry.info.dtype.size();
        let mut out = Vec::with_capacity(entry.numel() * size);
        gather(&raw, &entry.info.shape, strides, size, |element| out.extend_from_slice(element));
        Ok(Cow::Owned(out))
    }

    /// The elements of `name` as `f32`, whatever their type; 8-byte types are rounded.
    ///
    /// Besides the result it needs little memory; for a tensor that does not lie row-major in the file, as much as
    /// the tensor spans there.
    ///
    /// # Errors
    /// See [`WeightFile::bytes`].
    pub fn read_f32(&self, name: &str) -> Result<Vec<f32>, WeightsError> {
        let (_, entry) = self.entry(name).ok_or_else(|| self.no_tensor(name))?;
        let mut out = Vec::with_capacity(entry.numel());
        self.read_f32_chunks(name, CHUNK, &mut |_, values| out.extend_from_slice(values))?;
        Ok(out)
    }

    /// The same elements, `chunk` at a time (0 counts as 1; the last may be fewer), for tensors that are not to be in
    /// memory as a whole. `each` gets the number of the first element in row-major order, and the elements; it is not
    /// called for a tensor without any, and it may read other tensors.
    ///
    /// Memory for `chunk` elements is enough, except for a tensor that does not lie row-major in the file: what it
    /// spans there is read at once.
    ///
    /// # Errors
    /// See [`WeightFile::bytes`]. `each` may have been called before.
    pub fn read_f32_chunks(
        &self,
        name: &str,
        chunk: usize,
        each: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<(), WeightsError> {
        let (source, entry) = self.entry(name).ok_or_else(|| self.no_tensor(name))?;
        let (dtype, numel) = (entry.info.dtype, entry.numel());
        let (size, chunk) = (dtype.size(), chunk.clamp(1, numel.max(1)));
        let (mut raw, mut values) = (Vec::new(), Vec::with_capacity(chunk));
        let Some(strides) = &entry.strides else {
            for first in (0..numel).step_by(chunk) {
                // Locked for this long only: `each` is free to read.
                source.read(entry, first * size, chunk.min(numel - first) * size, &mut raw)?;
                dtype.to_f32(&raw, &mut values);
                each(first, &values);
            }
            return Ok(());
        };
        source.read(entry, 0, entry.span, &mut raw)?;
        let (mut part, mut first) = (Vec::with_capacity(chunk * size), 0);
        gather(&raw, &entry.info.shape, strides, size, |element| {
            part.extend_from_slice(element);
            if part.len() == chunk.min(numel - first) * size {
                dtype.to_f32(&part, &mut values);
                each(first, &values);
                first += values.len();
                part.clear();
            }
        });
        Ok(())
    }

    fn entry(&self, name: &str) -> Option<(&Part, &Entry)> {
        let (part, entry) = *self.by_name.get(name)?;
        let part = self.parts.get(part)?;
        Some((part, part.table.entries.get(entry)?))
    }

    fn no_tensor(&self, name: &str) -> WeightsError {
        WeightsError::NoTensor { path: self.path.clone(), name: name.to_owned() }
    }
}

impl Part {
    /// Replaces what is in `raw` by the `n` bytes at `from` of a tensor.
    fn read(&self, entry: &Entry, from: usize, n: usize, raw: &mut Vec<u8>) -> Result<(), WeightsError> {
        raw.clear();
        raw.reserve(n);
        let start = entry.start + from as u64;
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(start)).map_err(|error| io_error("read", &self.path)(error))?;
        file.by_ref().take(n as u64).read_to_end(raw).map_err(|error| io_error("read", &self.path)(error))?;
        if raw.len() < n {
            // The file has shrunk since it was opened.
            return Err(WeightsError::Truncated {
                path: self.path.clone(),
                what: format!("tensor `{}`", entry.name),
                missing: Some((n - raw.len()) as u64),
                len: start + raw.len() as u64,
            });
        }
        Ok(())
    }
}

/// Calls `each` with every element of a strided tensor, in row-major order. `raw` begins with the first element and
/// reaches to the last.
fn gather(raw: &[u8], shape: &[usize], strides: &[usize], size: usize, mut each: impl FnMut(&[u8])) {
    let (Some((&columns, outer)), Some((&step, outer_strides))) = (shape.split_last(), strides.split_last())
    else {
        return each(raw);
    };
    let mut index = vec![0; outer.len()];
    let mut row = 0;
    for _ in 0..outer.iter().product() {
        for column in 0..columns {
            let at = (row + column * step) * size;
            each(raw.get(at..at + size).unwrap_or_default());
        }
        // The next row: count up like an odometer.
        for ((i, &n), &stride) in index.iter_mut().zip(outer).zip(outer_strides).rev() {
            *i += 1;
            row += stride;
            if *i < n {
                break;
            }
            row -= *i * stride;
            *i = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn gathers_any_order() {
        let gather = |raw: &[u8], shape: &[usize], strides: &[usize], size| {
            let mut out = Vec::new();
            super::gather(raw, shape, strides, size, |element| out.extend_from_slice(element));
            out
        };
        let raw: Vec<u8> = (0..24).collect();
        assert_eq!(gather(&raw, &[3, 2], &[1, 3], 1), [0, 3, 1, 4, 2, 5]);
        assert_eq!(gather(&raw, &[2, 2], &[0, 1], 1), [0, 1, 0, 1]);
        assert_eq!(gather(&raw, &[2, 1, 2], &[2, 9, 1], 2), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(gather(&raw, &[3], &[4], 1), [0, 4, 8]);
        assert_eq!(gather(&raw[..4], &[], &[], 4), [0, 1, 2, 3]);
        let moved: Vec<u8> = (0..4).flat_map(|i| (0..6).map(move |j| 4 * j + i)).collect();
        assert_eq!(gather(&raw, &[4, 6], &[1, 4], 1), moved);
    }
}

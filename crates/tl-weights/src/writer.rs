//! Writing one large tensor whose values come bit by bit, such as the features of all images. The decision: the shape
//! is known beforehand, so the header goes first and the values behind it, in one pass and in little memory; and a
//! file that exists is never touched, because features are an export, not a state to keep up.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::dtype::DType;
use crate::error::WeightsError;
use crate::safetensors::{Row, header};
use crate::whole::{Existing, Whole, Written};

/// Values that are converted at a time.
const CHUNK: usize = 1 << 14;

/// Writes one `f32` tensor, row by row.
///
/// The file appears whole or not at all, when [`finish`](Self::finish) is called: until then it is a temporary file in
/// the same folder, which goes away when the writer is dropped.
#[derive(Debug)]
#[must_use = "there is no file before `finish`"]
pub struct TensorWriter {
    out: Whole,
    name: String,
    shape: Vec<usize>,
    /// Bytes that the values make.
    expected: usize,
    /// Length of the file before the values.
    start: u64,
    /// Values that were handed in, whether or not there was room for them.
    given: usize,
    /// What comes behind the values.
    tail: Vec<Vec<u8>>,
    buffer: Vec<u8>,
}

impl TensorWriter {
    /// Begins a NumPy file: format version 1.0, `<f4`, C order.
    ///
    /// # Errors
    /// When `path` exists, its folder does not or cannot be written, or the shape is too large.
    pub fn npy(path: impl AsRef<Path>, shape: &[usize]) -> Result<Self, WeightsError> {
        let path = path.as_ref();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let expected = byte_count(&name, shape)?;
        let header = npy_header(shape).ok_or_else(|| too_large(&name, shape))?;
        Self::begin(path, &name, shape, expected, &header)
    }

    /// Begins a safetensors file with the tensor `name`, whose values follow, and with `extra` tensors: (name, element
    /// type, shape, row-major little-endian elements). It becomes the same file that
    /// [`write_safetensors`](crate::write_safetensors) would write.
    ///
    /// # Errors
    /// When `path` exists, its folder does not or cannot be written, a name comes twice, or bytes do not fit a shape.
    pub fn safetensors(
        path: impl AsRef<Path>,
        name: &str,
        shape: &[usize],
        mut extra: Vec<(String, DType, Vec<usize>, Vec<u8>)>,
        metadata: &BTreeMap<String, String>,
    ) -> Result<Self, WeightsError> {
        let main = Row { name, dtype: DType::F32, shape, bytes: byte_count(name, shape)? };
        extra.sort_by(|a, b| row(a).rank().cmp(&row(b).rank()));
        // A name that comes twice is an error in the header, on whichever side it is.
        let before = extra.partition_point(|extra| row(extra).rank().cmp(&main.rank()) == Ordering::Less);
        let (head, tail) = extra.split_at(before);
        let rows: Vec<_> = head.iter().map(row).chain([main]).chain(tail.iter().map(row)).collect();
        let header = header(&rows, metadata)?;
        let mut writer = Self::begin(path.as_ref(), name, shape, rows[before].bytes, &header)?;
        drop(rows);
        for (_, _, _, bytes) in head {
            writer.out.write(bytes)?;
        }
        writer.start = writer.out.bytes();
        writer.tail = extra.drain(before..).map(|(_, _, _, bytes)| bytes).collect();
        Ok(writer)
    }

    fn begin(
        path: &Path,
        name: &str,
        shape: &[usize],
        expected: usize,
        header: &[u8],
    ) -> Result<Self, WeightsError> {
        // Also a link that leads nowhere. Looked at once more in the end, but better an error now than in an hour.
        if fs::symlink_metadata(path).is_ok() {
            return Err(WeightsError::Exists { path: path.to_owned() });
        }
        let mut out = Whole::begin(path)?;
        out.write(header)?;
        Ok(Self {
            name: name.to_owned(),
            shape: shape.to_owned(),
            expected,
            start: out.bytes(),
            given: 0,
            tail: Vec::new(),
            buffer: Vec::with_capacity(4 * CHUNK),
            out,
        })
    }

    /// The future file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.out.path()
    }

    /// Adds values, in row-major order; any number at a time.
    ///
    /// # Errors
    /// When there are more than the shape has room for, or they cannot be written. No file comes of it then.
    pub fn write(&mut self, values: &[f32]) -> Result<(), WeightsError> {
        self.given = self.given.saturating_add(values.len());
        if self.given > self.expected / 4 {
            return Err(self.miscounted());
        }
        for chunk in values.chunks(CHUNK) {
            self.buffer.resize(4 * chunk.len(), 0);
            let (places, _) = self.buffer.as_chunks_mut::<4>();
            for (place, value) in places.iter_mut().zip(chunk) {
                *place = value.to_le_bytes();
            }
            self.out.write(&self.buffer)?;
        }
        Ok(())
    }

    /// Gives the complete file its name.
    ///
    /// # Errors
    /// When there were more or fewer values than the shape asks for, the path exists by now, or the file cannot be
    /// written. There is no file then.
    pub fn finish(mut self) -> Result<Written, WeightsError> {
        if self.given != self.expected / 4 {
            return Err(self.miscounted());
        }
        if self.out.bytes() != self.start + self.expected as u64 {
            return Err(unwritable(&self.name, "some of its values could not be written".into()));
        }
        for bytes in std::mem::take(&mut self.tail) {
            self.out.write(&bytes)?;
        }
        self.out.settle(Existing::Keep)
    }

    fn miscounted(&self) -> WeightsError {
        let Self { name, shape, given, expected, .. } = self;
        unwritable(name, format!("got {given} values, and {shape:?} has {}", expected / 4))
    }
}

fn row((name, dtype, shape, bytes): &(String, DType, Vec<usize>, Vec<u8>)) -> Row<'_> {
    Row { name, dtype: *dtype, shape, bytes: bytes.len() }
}

fn unwritable(name: &str, what: String) -> WeightsError {
    WeightsError::Unwritable { name: name.to_owned(), what }
}

fn too_large(name: &str, shape: &[usize]) -> WeightsError {
    unwritable(name, format!("{shape:?} is larger than any file"))
}

fn byte_count(name: &str, shape: &[usize]) -> Result<usize, WeightsError> {
    let bytes = shape.iter().try_fold(4usize, |n, &d| n.checked_mul(d));
    // Files have signed lengths.
    bytes.filter(|&n| i64::try_from(n).is_ok()).ok_or_else(|| too_large(name, shape))
}

/// Magic, version, length, and the description as Python would show it, padded so that the values are aligned.
fn npy_header(shape: &[usize]) -> Option<Vec<u8>> {
    let dims: Vec<_> = shape.iter().map(usize::to_string).collect();
    // A tuple of one needs its comma.
    let comma = if shape.len() == 1 { "," } else { "" };
    let about =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}{comma}), }}", dims.join(", "));
    let prefix = 10;
    let length = (prefix + about.len() + 1).next_multiple_of(64) - prefix;
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend_from_slice(&u16::try_from(length).ok()?.to_le_bytes());
    header.extend_from_slice(about.as_bytes());
    header.resize(prefix + length - 1, b' ');
    header.push(b'\n');
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header_of(shape: &[usize]) -> String {
        let header = npy_header(shape).unwrap();
        assert!(header.starts_with(b"\x93NUMPY\x01\x00") && header.ends_with(b"\n"));
        assert_eq!(header.len() % 64, 0);
        assert_eq!(usize::from(u16::from_le_bytes([header[8], header[9]])), header.len() - 10);
        String::from_utf8_lossy(&header[10..]).trim_end().to_owned()
    }

    #[test]
    fn shapes_are_python_tuples() {
        for (shape, shown) in
            [(&[][..], "()"), (&[7], "(7,)"), (&[0, 4], "(0, 4)"), (&[2, 3, 4], "(2, 3, 4)")]
        {
            let expected = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shown}, }}");
            assert_eq!(header_of(shape), expected);
        }
        // However long the description is, there is room for its end.
        for digits in 1..80 {
            header_of(&vec![1; digits]);
        }
        assert!(npy_header(&vec![1; 40_000]).is_none());
    }

    #[test]
    fn no_overflow() {
        for shape in [&[usize::MAX][..], &[1 << 40, 1 << 40], &[1 << 61]] {
            let error = byte_count("x", shape).unwrap_err().to_string();
            assert!(error.starts_with("tensor `x` cannot be written: ["), "{error}");
        }
        assert_eq!(byte_count("x", &[]).unwrap(), 4);
        assert_eq!(byte_count("x", &[0, usize::MAX]).unwrap(), 0);
    }
}

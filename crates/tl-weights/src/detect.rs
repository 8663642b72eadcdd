//! What a file is, by its first bytes. The decision: names lie (`.bin` is used for three formats, and a failed
//! download is often an HTML page called `.pth`), so only content counts, and what is recognised but not read gets a
//! hint of its own.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use crate::error::{WeightsError, io_error};
use crate::file::Format;

const ANY: &str = "give a safetensors file, or a `.pth` file made by `torch.save(model.state_dict(), path)`";
const KERAS: &str = "Keras weights are not read; use the net's PyTorch or safetensors weights";
const CONVERT: &str = "convert it to safetensors";

/// Files that people mistake for weights: first bytes, what they are, what to do.
const OTHERS: &[(&[u8], &str, &str)] = &[
    (b"\x89HDF", "an HDF5 file", KERAS),
    (b"GGUF", "a GGUF file", CONVERT),
    (b"\x93NUMPY", "a NumPy array", CONVERT),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (b"BZh", "a bzip2 archive", "unpack it first"),
    (b"\xfd7zXZ", "an xz archive", "unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", "unpack it first"),
    (
        b"version https://git-lfs",
        "a Git LFS pointer, which only names the real file",
        "run `git lfs pull` where it was cloned, or download the file itself",
    ),
    (b"<", "an HTML or XML page", "the download was answered with a web page: check the address, or log in"),
    (b"{", "JSON text", ANY),
];

pub(crate) fn folder(path: &Path) -> WeightsError {
    other(path, "a folder", "give the file of weights in it")
}

fn other(path: &Path, found: impl Into<String>, hint: &'static str) -> WeightsError {
    WeightsError::NotWeights { path: path.to_owned(), found: found.into(), hint }
}

/// Decides by content; leaves `file` anywhere.
pub(crate) fn format(path: &Path, mut file: &File, len: u64) -> Result<Format, WeightsError> {
    let mut start = Vec::with_capacity(512);
    file.seek(SeekFrom::Start(0)).map_err(io_error("read", path))?;
    file.take(512).read_to_end(&mut start).map_err(|error| match error.kind() {
        ErrorKind::IsADirectory => folder(path),
        _ => io_error("read", path)(error),
    })?;
    if len == 0 || start.is_empty() {
        return Err(other(path, "an empty file", "fetch or copy the file again"));
    }
    if start.starts_with(b"PK\x03\x04") {
        return Ok(Format::PthZip);
    }
    // A length that no text has, then the JSON header.
    if start.get(8) == Some(&b'{') && !start[..8].iter().all(|byte| (b' '..0x7f).contains(byte)) {
        return Ok(Format::Safetensors);
    }
    if start[0] == 0x80 {
        return Ok(Format::PthLegacy);
    }
    let text = start.trim_ascii_start();
    for &(magic, found, hint) in OTHERS {
        if start.starts_with(magic) || text.starts_with(magic) {
            return Err(other(path, found, hint));
        }
    }
    if start.get(257..262) == Some(b"ustar") {
        return Err(other(path, "a tar archive, as PyTorch before 0.1.10 saved it", CONVERT));
    }
    let letters = text.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
    Err(other(path, if letters { "a text file" } else { "of no known format" }, ANY))
}

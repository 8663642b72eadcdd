//! What tar archives say between their files: long names and attributes.
//!
//! The decision: nothing is read for which the archive itself states a length without a limit of our own, and all that
//! comes out of the decompressor is counted, whether it is kept or passed over.

use std::io::{self, Read};

use tar::{Entry, EntryType, Header, PaxExtensions};

/// Most bytes of a long name, or of the attributes of a member.
const LONGEST_NOTE: u64 = 64 << 10;

/// What describes the next member.
#[derive(Debug, Default)]
pub(crate) struct Note {
    /// Its name, where it has one of its own.
    long: Option<Vec<u8>>,
    /// Its length, if attributes state it.
    size: Option<u64>,
    /// The name, once known.
    pub(crate) name: String,
    /// Why the member is refused.
    pub(crate) why: Option<&'static str>,
}

impl Note {
    /// Takes up what this entry says of the next; `false` when it is a member itself.
    pub(crate) fn add<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> io::Result<bool> {
        let kind = entry.header().entry_type();
        match kind {
            EntryType::GNULongLink => return Ok(true),
            EntryType::GNULongName | EntryType::XHeader => {}
            _ => return Ok(false),
        }
        let mut body = Vec::new();
        entry.take(LONGEST_NOTE + 1).read_to_end(&mut body)?;
        if body.len() as u64 > LONGEST_NOTE {
            self.why = Some("whose name is too long");
        } else if kind == EntryType::GNULongName {
            let end = body.iter().rposition(|&byte| byte != 0).map_or(0, |at| at + 1);
            body.truncate(end);
            self.long = Some(body);
        } else {
            for attribute in PaxExtensions::new(&body) {
                let attribute = attribute?;
                match attribute.key_bytes() {
                    b"path" if self.long.is_none() => self.long = Some(attribute.value_bytes().to_owned()),
                    b"size" => self.size = attribute.value().ok().and_then(|size| size.parse().ok()),
                    key if key.starts_with(b"GNU.sparse.") => self.why = Some("which is a sparse file"),
                    _ => {}
                }
            }
        }
        Ok(true)
    }

    /// The name of the member with this header, and whether it is refused.
    pub(crate) fn of(mut self, header: &Header) -> Self {
        let name = self.long.take().unwrap_or_else(|| header.path_bytes().into_owned());
        self.name = String::from_utf8_lossy(&name).into_owned();
        if header.entry_type() == EntryType::GNUSparse {
            self.why = Some("which is a sparse file");
        }
        // Only files beyond 8 GiB need the second one, and programs disagree on which counts.
        if self.size.is_some_and(|size| header.entry_size().ok() != Some(size)) {
            self.why = Some("a file of two lengths");
        }
        self
    }
}

/// A reader that fails once too much has passed.
pub(crate) struct Budget<R> {
    inner: R,
    left: u64,
}

impl<R> Budget<R> {
    pub(crate) fn new(inner: R, left: u64) -> Self {
        Self { inner, left }
    }
}

impl<R: Read> Read for Budget<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(n as u64).ok_or_else(|| io::Error::other(Spent))?;
        Ok(n)
    }
}

/// More bytes came out of an archive than it can honestly hold.
#[derive(Debug, thiserror::Error)]
#[error("too many bytes")]
struct Spent;

/// Whether a [`Budget`] is the reason.
pub(crate) fn is_spent(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|source| source.is::<Spent>())
}

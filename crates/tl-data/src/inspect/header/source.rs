//! Numbers out of a file at given places.
//!
//! The one decision: a read past the end is the error "the data ends early", whatever was read for, so the
//! parsers of formats need no length checks of their own.

use std::io::{ErrorKind, Read, Seek, SeekFrom};

use super::Format;
use crate::error::DecodeReason;

/// A file of a known format.
pub(crate) struct Source<R> {
    reader: R,
    pub(super) format: Format,
}

impl<R: Read + Seek> Source<R> {
    pub(crate) fn new(reader: R, format: Format) -> Self {
        Self { reader, format }
    }

    /// Goes to a place, in bytes from the beginning.
    pub(super) fn go_to(&mut self, at: u64) -> Result<(), DecodeReason> {
        self.reader.seek(SeekFrom::Start(at)).map(drop).map_err(|source| DecodeReason::Read { source })
    }

    /// Passes over some bytes.
    pub(super) fn skip(&mut self, bytes: u32) -> Result<(), DecodeReason> {
        self.reader.seek_relative(i64::from(bytes)).map_err(|source| DecodeReason::Read { source })
    }

    /// The next `N` bytes.
    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeReason> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// The next `length` bytes, of which there are no more than 2^24.
    pub(super) fn take_vec(&mut self, length: u32) -> Result<Vec<u8>, DecodeReason> {
        if length >= 1 << 24 {
            return Err(self.corrupt(&format!("a block of {length} bytes in the header")));
        }
        let mut bytes = vec![0; length as usize];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn byte(&mut self) -> Result<u8, DecodeReason> {
        Ok(self.take::<1>()?[0])
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), DecodeReason> {
        self.reader.read_exact(bytes).map_err(|source| match source.kind() {
            ErrorKind::UnexpectedEof => DecodeReason::Truncated { format: self.format.name() },
            _ => DecodeReason::Read { source },
        })
    }

    pub(super) fn corrupt(&self, detail: &str) -> DecodeReason {
        DecodeReason::Corrupt { format: self.format.name(), detail: detail.to_owned() }
    }
}

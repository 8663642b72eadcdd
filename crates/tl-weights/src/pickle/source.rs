//! Counted reading. The decision: every length is compared with the bytes that are left before anything is
//! allocated, and the position is known at all times, because in the legacy format data follows the last pickle.

use std::io::{ErrorKind, Read};

use super::PickleError;

/// Bytes from `at` to `end`.
#[derive(Debug)]
pub(crate) struct Source<R> {
    inner: R,
    at: u64,
    end: u64,
}

impl<R: Read> Source<R> {
    /// `inner` gives the bytes from `at` on; the file ends at `end`.
    pub(crate) fn new(inner: R, at: u64, end: u64) -> Self {
        Self { inner, at, end }
    }

    /// Where the next byte is.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> u64 {
        self.end.saturating_sub(self.at)
    }

    fn check(&self, wanted: u64) -> Result<(), PickleError> {
        match wanted.checked_sub(self.left()) {
            None | Some(0) => Ok(()),
            Some(missing) => Err(PickleError::Truncated { at: self.at, missing }),
        }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), PickleError> {
        self.check(buffer.len() as u64)?;
        self.inner.read_exact(buffer).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => PickleError::Truncated { at: self.at, missing: 1 },
            _ => PickleError::Io(error),
        })?;
        self.at += buffer.len() as u64;
        Ok(())
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let mut buffer = [0; N];
        self.fill(&mut buffer)?;
        Ok(buffer)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, PickleError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, PickleError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, PickleError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// The next `n` bytes, of which at most `limit`.
    pub(crate) fn take(&mut self, n: u64, limit: u64) -> Result<Vec<u8>, PickleError> {
        self.check(n)?;
        if n > limit {
            let what = format!("an item of {n} bytes, more than the {limit} allowed");
            return Err(PickleError::Malformed { at: self.at, what });
        }
        let mut buffer = vec![0; n as usize];
        self.fill(&mut buffer)?;
        Ok(buffer)
    }

    /// Passes over `n` bytes without keeping them.
    pub(crate) fn skip(&mut self, n: u64) -> Result<(), PickleError> {
        self.check(n)?;
        let copied =
            std::io::copy(&mut self.inner.by_ref().take(n), &mut std::io::sink()).map_err(PickleError::Io)?;
        self.at += copied;
        if copied < n { Err(PickleError::Truncated { at: self.at, missing: n - copied }) } else { Ok(()) }
    }

    /// The bytes up to the next line feed, without it.
    pub(crate) fn line(&mut self, limit: usize) -> Result<Vec<u8>, PickleError> {
        let mut line = Vec::new();
        loop {
            match self.byte()? {
                b'\n' => return Ok(line),
                _ if line.len() >= limit => {
                    let what = format!("a line of more than {limit} bytes");
                    return Err(PickleError::Malformed { at: self.at, what });
                }
                byte => line.push(byte),
            }
        }
    }
}

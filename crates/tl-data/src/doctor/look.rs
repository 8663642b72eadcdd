//! One look at one file.
//!
//! The one decision: a file is read and decoded once, and what is kept of it is small (about a kilobyte), so
//! that a hundred thousand images fit into memory.

use std::io::{Cursor, ErrorKind};

use sha2::{Digest, Sha256};

use super::hash::{Likeness, Tone};
use crate::decode::{DecodeWarning, HEIC, caught, decode_checked, read};
use crate::error::DecodeReason;
use crate::folder::Sample;
use crate::inspect::{Format, Header, parse_header};

/// What was seen of a file.
#[derive(Debug)]
pub(super) enum Look {
    /// It cannot be opened or read.
    Unreadable(String),
    /// It is no image, or a damaged one.
    Broken(String),
    /// It is sound, but of a kind that is not decoded here.
    Unsupported(String),
    Image(Box<Seen>),
}

/// What is kept of an image.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) format: Option<Format>,
    /// Whether it is a TIFF with further pages.
    pub(super) pages: bool,
    /// Width and height in pixels, upright.
    pub(super) size: (u32, u32),
    /// The sha256 of the file.
    pub(super) bytes: [u8; 32],
    /// The sha256 of the size and the pixels.
    pub(super) pixels: [u8; 32],
    pub(super) tone: Tone,
    /// `None` where there is too little to compare.
    pub(super) likeness: Option<Likeness>,
    pub(super) warnings: Vec<DecodeWarning>,
}

impl Look {
    /// Looks at the file of a sample.
    pub(super) fn at(sample: &Sample, compare: bool) -> Self {
        let bytes = match read(&sample.path) {
            Ok(bytes) => bytes,
            Err(reason) => return Self::failed(&reason, &[]),
        };
        let decoded = match decode_checked(&bytes) {
            Ok(decoded) => decoded,
            Err(reason) => return Self::failed(&reason, &bytes),
        };
        let image = decoded.image;
        let format = Format::of(&bytes[..bytes.len().min(64)]);
        let size = image.dimensions();
        let mut pixels = Sha256::new();
        pixels.update(size.0.to_le_bytes());
        pixels.update(size.1.to_le_bytes());
        pixels.update(image.as_raw());
        Self::Image(Box::new(Seen {
            format,
            pages: format == Some(Format::Tiff) && header_of(&bytes).is_some_and(|header| header.pages),
            size,
            bytes: Sha256::digest(&bytes).into(),
            pixels: pixels.finalize().into(),
            tone: Tone::of(&image),
            likeness: if compare { Likeness::of(&image) } else { None },
            warnings: decoded.warnings,
        }))
    }

    fn failed(reason: &DecodeReason, bytes: &[u8]) -> Self {
        match reason {
            DecodeReason::Read { source } if source.kind() == ErrorKind::NotFound => {
                Self::Unreadable("it does not exist".to_owned())
            }
            DecodeReason::Read { source } => Self::Unreadable(source.to_string()),
            // In words of our own: a decoder's are for its programmers.
            DecodeReason::Unsupported { format, .. } => Self::Unsupported(match header_of(bytes) {
                Some(header) => format!("a {format} of kind {}", header.kind()),
                None => format!("a kind of {format}"),
            }),
            DecodeReason::Format { found } if *found == HEIC => Self::Unsupported(HEIC.to_owned()),
            reason => Self::Broken(reason.to_string()),
        }
    }

    pub(super) fn image(&self) -> Option<&Seen> {
        match self {
            Self::Image(seen) => Some(seen),
            _ => None,
        }
    }
}

fn header_of(bytes: &[u8]) -> Option<Header> {
    caught(|| parse_header(Cursor::new(bytes))).ok()
}

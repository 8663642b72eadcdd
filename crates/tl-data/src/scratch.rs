//! Buffers that a thread uses again for the next image.
//!
//! The one decision: a buffer is taken out, used as an ordinary value and put back. Whoever forgets to put it back, or
//! panics, costs an allocation and nothing else.

use std::cell::RefCell;

use fast_image_resize::Resizer;
use image::RgbImage;

/// Bytes of a single buffer beyond which it is not kept: one huge image must not hold its memory for good. A photo of 16
/// million pixels stays below.
const KEPT: usize = 64 << 20;

/// How many buffers of a kind are kept: no step of preparing an image has more in use at a time.
const SPARE: usize = 4;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Buffers for preparing one image at a time.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    bytes: Vec<Vec<u8>>,
    /// Apart from `bytes`, as they are smaller, and any buffer grows to the largest of its kind.
    planes: Vec<Vec<u8>>,
    floats: Vec<Vec<f32>>,
    words: Vec<Vec<u64>>,
    pub(crate) resizer: Resizer,
}

impl Scratch {
    /// Runs `work` with the buffers of this thread.
    pub(crate) fn with<R>(work: impl FnOnce(&mut Self) -> R) -> R {
        SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
            Ok(mut scratch) => work(&mut scratch),
            Err(_) => work(&mut Self::default()),
        })
    }

    /// A buffer of unknown content and length.
    pub(crate) fn bytes(&mut self) -> Vec<u8> {
        self.bytes.pop().unwrap_or_default()
    }

    /// A buffer of unknown content and length, for a part of what a file holds.
    pub(crate) fn plane(&mut self) -> Vec<u8> {
        self.planes.pop().unwrap_or_default()
    }

    /// A buffer of unknown content and length.
    pub(crate) fn floats(&mut self) -> Vec<f32> {
        self.floats.pop().unwrap_or_default()
    }

    /// A buffer of unknown content and length.
    pub(crate) fn words(&mut self) -> Vec<u64> {
        self.words.pop().unwrap_or_default()
    }

    /// A buffer of this many zeros.
    pub(crate) fn zeros(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = self.bytes();
        bytes.clear();
        bytes.resize(length, 0);
        bytes
    }

    /// An image of unknown content.
    pub(crate) fn image(&mut self, width: u32, height: u32) -> RgbImage {
        let mut bytes = self.bytes();
        bytes.resize(3 * width as usize * height as usize, 0);
        RgbImage::from_raw(width, height, bytes).unwrap_or_else(|| RgbImage::new(width, height))
    }

    /// Takes an image back.
    pub(crate) fn recycle(&mut self, image: RgbImage) {
        self.recycle_bytes(image.into_raw());
    }

    /// Takes a buffer back.
    pub(crate) fn recycle_bytes(&mut self, bytes: Vec<u8>) {
        if self.bytes.len() < SPARE && bytes.capacity() <= KEPT {
            self.bytes.push(bytes);
        }
    }

    /// Takes a buffer back.
    pub(crate) fn recycle_plane(&mut self, plane: Vec<u8>) {
        if self.planes.len() < SPARE && plane.capacity() <= KEPT {
            self.planes.push(plane);
        }
    }

    /// Takes a buffer back.
    pub(crate) fn recycle_floats(&mut self, floats: Vec<f32>) {
        if self.floats.len() < SPARE && floats.capacity() <= KEPT / size_of::<f32>() {
            self.floats.push(floats);
        }
    }

    /// Takes a buffer back.
    pub(crate) fn recycle_words(&mut self, words: Vec<u64>) {
        if self.words.len() < SPARE && words.capacity() <= KEPT / size_of::<u64>() {
            self.words.push(words);
        }
    }
}

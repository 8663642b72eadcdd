//! What lies around the first frame of a GIF that is smaller than the screen.
//!
//! The one decision: as Pillow does it, that is the colour which the frame's palette has for its transparent index, or
//! for index 0; the background colour of the header counts no more than it does in a browser.

use image::RgbImage;

use crate::augment::Crop;

/// Reads numbers from the start of a file.
struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn short(&mut self) -> Option<u32> {
        self.take(2).map(|bytes| u32::from(bytes[0]) | u32::from(bytes[1]) << 8)
    }

    /// The colours that these flags announce; none, if they do not.
    fn palette(&mut self, flags: u8) -> Option<&'a [u8]> {
        self.take(if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) })
    }

    /// A block of data, and all that follow it; what the first one holds.
    fn blocks(&mut self) -> Option<&'a [u8]> {
        let length = self.byte()?;
        let first = self.take(length.into())?;
        let mut length = length;
        while length > 0 {
            length = self.byte()?;
            self.take(length.into())?;
        }
        Some(first)
    }
}

/// Where the first frame lies, and the colour around it.
fn first_frame(bytes: &[u8]) -> Option<(Crop, [u8; 3])> {
    let mut reader = Reader { bytes: bytes.get(10..)? };
    let flags = reader.byte()?;
    reader.take(2)?;
    let global = reader.palette(flags)?;
    let mut transparent = 0;
    loop {
        match reader.byte()? {
            0x21 => {
                let control = reader.byte()? == 0xF9;
                if let (true, [flags, _, _, index, ..]) = (control, reader.blocks()?)
                    && flags & 1 == 1
                {
                    transparent = *index;
                }
            }
            0x2C => {
                let (x, y) = (reader.short()?, reader.short()?);
                let frame = Crop { x, y, width: reader.short()?, height: reader.short()? };
                let flags = reader.byte()?;
                let local = reader.palette(flags)?;
                let palette = if local.is_empty() { global } else { local };
                let colour = match palette.get(3 * usize::from(transparent)..) {
                    _ if palette.is_empty() => [transparent; 3],
                    Some([r, g, b, ..]) => [*r, *g, *b],
                    _ => [0; 3],
                };
                return Some((frame, colour));
            }
            _ => return None,
        }
    }
}

/// Paints what lies around the first frame.
pub(super) fn paint_around(bytes: &[u8], image: &mut RgbImage) {
    let Some((frame, colour)) = first_frame(bytes) else { return };
    let (width, height) = image.dimensions();
    if frame.x == 0 && frame.y == 0 && frame.width >= width && frame.height >= height {
        return;
    }
    let (columns, rows) = (frame.x..frame.x + frame.width, frame.y..frame.y + frame.height);
    for (x, y, pixel) in image.enumerate_pixels_mut() {
        if !(columns.contains(&x) && rows.contains(&y)) {
            pixel.0 = colour;
        }
    }
}

//! Planes of levels to RGB.
//!
//! The one decision: as in `idct`, the arithmetic is that of the decoder for all other files, bit for bit. Colour planes of
//! half the size are blended 3 to 1 with the nearer neighbours, first down and then along.

use super::Plane;

/// Factors of ITU-R BT.601 over the whole range of 8 bits, with 14 bits behind the point.
const ONE: i32 = 1 << 14;
const RED: i32 = 22_970;
const BLUE: i32 = 29_032;
const GREEN_OF_RED: i32 = -11_700;
const GREEN_OF_BLUE: i32 = -5_638;
const HALF: i32 = ONE / 2 - 1;

/// One row of pixels.
#[inline(always)]
pub(super) fn write(out: &mut [u8], y: &[u8], cb: &[u8], cr: &[u8]) {
    let pixels = out.as_chunks_mut::<3>().0.iter_mut();
    for (((pixel, &y), &cb), &cr) in pixels.zip(y).zip(cb).zip(cr) {
        let (cb, cr) = (i32::from(cb) - 128, i32::from(cr) - 128);
        let y = i32::from(y) * ONE + HALF;
        let r = (y + cr * RED) >> 14;
        let g = (y + cr * GREEN_OF_RED + cb * GREEN_OF_BLUE) >> 14;
        let b = (y + cb * BLUE) >> 14;
        *pixel = [r, g, b].map(|level| level.clamp(0, 255) as u8);
    }
}

/// A row of a colour plane at the full size; `row` is the row of the picture, and `wide` and `tall` are buffers.
#[inline(always)]
pub(super) fn row<'a>(
    plane: &'a Plane,
    row: usize,
    shrunk: (bool, bool),
    (wide, tall): (&'a mut Vec<u8>, &mut Vec<u8>),
) -> Option<&'a [u8]> {
    let near: &[u8] = match shrunk {
        (false, _) => return plane.row(row),
        (true, false) => plane.row(row)?,
        (true, true) => {
            let near = row / 2;
            let far = if row.is_multiple_of(2) {
                near.max(plane.rows.start + 1) - 1
            } else {
                (near + 1).min(plane.rows.end - 1)
            };
            blend(plane.row(near)?, plane.row(far)?, tall);
            tall
        }
    };
    widen(near, wide);
    Some(wide)
}

/// Three parts of one row and one of the other.
#[inline(always)]
fn blend(near: &[u8], far: &[u8], out: &mut Vec<u8>) {
    out.resize(near.len(), 0);
    for ((out, &near), &far) in out.iter_mut().zip(near).zip(far) {
        *out = ((3 * u16::from(near) + 2 + u16::from(far)) >> 2) as u8;
    }
}

/// Twice as many levels, each of three parts of the nearer and one of the other neighbour.
#[inline(always)]
fn widen(near: &[u8], out: &mut Vec<u8>) {
    out.resize(2 * near.len(), 0);
    let last = near.len() - 1;
    let pairs = out.as_chunks_mut::<2>().0;
    for (pair, three) in pairs[1..last].iter_mut().zip(near.windows(3)) {
        let [left, middle, right] = [three[0], three[1], three[2]].map(u16::from);
        let most = 3 * middle + 2;
        *pair = [((most + left) >> 2) as u8, ((most + right) >> 2) as u8];
    }
    let side = |near: u8, far: u8| ((3 * u16::from(near) + u16::from(far) + 2) >> 2) as u8;
    pairs[0] = [near[0], side(near[0], near[1])];
    pairs[last] = [side(near[last], near[last - 1]), near[last]];
}

//! Huffman codes of a scan, one look at a table for each.
//!
//! The one decision: stuffed bytes are taken out before the first code is read, so that bits are fetched eight bytes at a
//! time without a question asked. Whether more bits were used than there are is asked at the end of an interval.
//!
//! Names and procedures are those of ITU-T T.81, annex F.

use std::ops::Range;

/// How many bits a look takes.
const LOOK: u32 = 10;

/// The most bits of a number, so that two codes with theirs fit in what is always held.
const MOST_EXTRA: u8 = 11;

/// A Huffman table.
///
/// An entry says of a code: in its lowest byte how many bits it takes with the number behind it, in the next how many it
/// takes alone, then how many the number takes, and in the highest how many zeros come before it.
#[derive(Debug, Clone)]
pub(super) struct Huffman {
    /// For each start of [`LOOK`] bits; 0 where the code is longer.
    quick: Box<[u32; 1 << LOOK]>,
    /// For each length: one more than the largest code, moved to the top of 16 bits, and what turns a code into the place
    /// of its symbol.
    longer: [(u32, i32); 17],
    symbols: Vec<u8>,
}

impl Huffman {
    /// A table of a `DHT` segment; `None` where it is none, or one for more than 8 bits.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        if symbols.iter().any(|symbol| symbol & 15 > MOST_EXTRA) {
            return None;
        }
        let mut quick: Box<[u32; 1 << LOOK]> = vec![0; 1 << LOOK].try_into().ok()?;
        let mut longer = [(0, 0); 17];
        let (mut code, mut next) = (0_u32, 0_usize);
        for (length, &count) in (1_u32..).zip(counts) {
            longer[length as usize].1 = next as i32 - code as i32;
            for _ in 0..count {
                // A code of ones alone is none.
                if code + 1 >= 1 << length {
                    return None;
                }
                let symbol = *symbols.get(next)?;
                if length <= LOOK {
                    let first = (code << (LOOK - length)) as usize;
                    quick[first..first + (1 << (LOOK - length))].fill(entry(length, symbol));
                }
                code += 1;
                next += 1;
            }
            longer[length as usize].0 = code << (16 - length);
            code <<= 1;
        }
        Some(Self { quick, longer, symbols: symbols.to_vec() })
    }

    /// The entry for a code that is longer than a look; 0 where there is none.
    #[cold]
    #[inline(never)]
    fn long(&self, held: u64) -> u32 {
        let ahead = (held >> 48) as u32;
        for length in LOOK + 1..=16 {
            let (end, place) = self.longer[length as usize];
            if ahead < end {
                let at = (ahead >> (16 - length)) as i32 + place;
                return self.symbols.get(at as usize).map_or(0, |&symbol| entry(length, symbol));
            }
        }
        0
    }
}

fn entry(length: u32, symbol: u8) -> u32 {
    let extra = u32::from(symbol & 15);
    (length + extra) | length << 8 | extra << 16 | u32::from(symbol >> 4) << 24
}

/// What to do with the coefficients of a block, in the order they come: the place in the block, and below it what to multiply
/// by. Behind the last one there are as many as zeros can lead to.
#[derive(Debug)]
pub(super) struct Places([u32; 128]);

impl Places {
    /// From the numbers of a `DQT` segment.
    pub(super) fn new(quanta: &[u8; 64]) -> Self {
        let mut places = [0; 128];
        for ((place, at), &quantum) in places.iter_mut().zip(ZIGZAG).zip(quanta) {
            *place = u32::from(at) << 16 | u32::from(quantum);
        }
        Self(places)
    }
}

/// What is taken from a number of so many bits that begins with a 0, to make it negative (T.81, figure F.12).
const NEGATIVE: [i32; 16] = {
    let mut less = [0; 16];
    let mut bits = 0;
    while bits < 16 {
        less[bits] = 1 - (1 << bits);
        bits += 1;
    }
    less
};

/// Compressed data without stuffed bytes.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) bytes: Vec<u8>,
    /// The bytes between restart markers.
    pub(super) intervals: Vec<Range<usize>>,
}

impl Scan {
    /// The scan whose data begins at `data`; `None` where it does not end with an end-of-image marker, or its restart
    /// markers are not in order. `bytes` is a buffer to use.
    pub(super) fn new(data: &[u8], mut bytes: Vec<u8>) -> Option<Self> {
        bytes.clear();
        bytes.reserve(data.len());
        let (mut intervals, mut begun, mut rest) = (Vec::new(), 0, data);
        loop {
            let found = memchr::memchr(0xFF, rest)?;
            match *rest.get(found + 1)? {
                0x00 => bytes.extend_from_slice(&rest[..=found]),
                marker @ (0xD0..=0xD7 | 0xD9) => {
                    bytes.extend_from_slice(&rest[..found]);
                    intervals.push(begun..bytes.len());
                    begun = bytes.len();
                    if marker == 0xD9 {
                        return Some(Self { bytes, intervals });
                    }
                    if usize::from(marker - 0xD0) != (intervals.len() - 1) % 8 {
                        return None;
                    }
                }
                _ => return None,
            }
            rest = &rest[found + 2..];
        }
    }
}

/// The bits of an interval.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// The next byte to fetch.
    at: usize,
    /// The bits to read next, from the top.
    held: u64,
    /// How many of them count, in the lowest 6 bits; what is above means nothing.
    count: u32,
    /// Where the interval ends.
    end: usize,
}

impl<'a> Bits<'a> {
    pub(super) fn new(scan: &'a Scan, interval: usize) -> Option<Self> {
        let Range { start, end } = scan.intervals.get(interval)?.clone();
        Some(Self { bytes: &scan.bytes, at: start, held: 0, count: 0, end })
    }

    /// Bits read since the first byte of the scan.
    fn read(&self) -> usize {
        8 * self.at - (self.count & 63) as usize
    }

    /// Whether no more bits were read than there are.
    pub(super) fn within(&self) -> bool {
        self.read() <= 8 * self.end
    }

    /// Whether the interval was read to its last byte, and no further.
    pub(super) fn done(&self) -> bool {
        self.within() && self.read() + 8 > 8 * self.end
    }

    /// Sees to it that at least 56 bits are held; behind the last byte they are zeros.
    #[inline(always)]
    fn fill(&mut self) {
        let next = match self.bytes.get(self.at..).and_then(<[u8]>::first_chunk::<8>) {
            Some(next) => u64::from_be_bytes(*next),
            None => last(self.bytes, self.at),
        };
        // The bits that do not count yet are the same ones that are fetched again next time.
        self.held |= next >> (self.count & 63);
        self.at += ((!self.count & 63) >> 3) as usize;
        self.count |= 56;
    }

    #[inline(always)]
    fn entry(&self, quick: &[u32; 1 << LOOK]) -> u32 {
        quick[(self.held >> (64 - LOOK)) as usize]
    }

    /// Goes on behind a code and its number.
    #[inline(always)]
    fn pass(&mut self, entry: u32) {
        self.held <<= entry & 63;
        self.count = self.count.wrapping_sub(entry);
    }

    /// The number behind a code, which has at least one bit.
    #[inline(always)]
    fn number(&self, entry: u32) -> i32 {
        let top = self.held << (entry >> 8 & 63);
        let extra = entry >> 16 & 15;
        let positive = (top as i64 >> 63) as i32;
        (top >> ((64 - extra) & 63)) as i32 + (NEGATIVE[extra as usize] & !positive)
    }

    /// Reads a block of 8x8 coefficients into `block`, which is all zeros, multiplied, and returns how many of them it
    /// reaches. With `KEEP` off only the mean is followed.
    #[inline(always)]
    pub(super) fn block<const KEEP: bool>(
        &mut self,
        (dc, ac): (&Huffman, &Huffman),
        mean: &mut i32,
        places: &Places,
        block: &mut [i32; 64],
    ) -> Option<usize> {
        self.fill();
        let mut entry = self.entry(&dc.quick);
        if entry == 0 {
            entry = dc.long(self.held);
            if entry == 0 {
                return None;
            }
        }
        if entry >> 16 & 15 != 0 {
            *mean = mean.wrapping_add(self.number(entry));
        }
        self.pass(entry);
        if KEEP {
            block[0] = mean.wrapping_mul((places.0[0] & 0xFFFF) as i32);
        }
        // One code more fits in what is held, and then two each time.
        let (mut at, quick, places) = (1, &*ac.quick, &places.0);
        while self.coefficient::<KEEP>((ac, quick), places, block, &mut at) {
            self.fill();
            if !self.coefficient::<KEEP>((ac, quick), places, block, &mut at) {
                break;
            }
        }
        (at <= 64).then_some(at)
    }

    /// Reads one more coefficient, and says whether there may be others. `at` is behind it, or beyond 64 where it made no
    /// sense.
    #[inline(always)]
    fn coefficient<const KEEP: bool>(
        &mut self,
        (ac, quick): (&Huffman, &[u32; 1 << LOOK]),
        places: &[u32; 128],
        block: &mut [i32; 64],
        at: &mut usize,
    ) -> bool {
        let mut entry = self.entry(quick);
        if entry >> 16 & 15 == 0 {
            if entry == 0 {
                entry = ac.long(self.held);
                if entry == 0 {
                    *at = 65;
                    return false;
                }
            }
            if entry >> 16 & 15 == 0 {
                self.pass(entry);
                if entry >> 24 < 15 {
                    return false;
                }
                *at += 16;
                return *at < 64;
            }
        }
        *at += (entry >> 24) as usize;
        if KEEP {
            let place = places[*at & 127];
            let value = self.number(entry).wrapping_mul((place & 0xFFFF) as i32);
            block[(place >> 16) as usize & 63] = value;
        }
        self.pass(entry);
        *at += 1;
        *at < 64
    }
}

/// The last bytes, with zeros behind them.
#[cold]
#[inline(never)]
fn last(bytes: &[u8], at: usize) -> u64 {
    let mut last = [0; 8];
    let rest = bytes.get(at..).unwrap_or_default();
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    u64::from_be_bytes(last)
}

/// Where the coefficients lie in the block, in the order they come (T.81, figure A.6).
#[rustfmt::skip]
const ZIGZAG: [u8; 64] = [
     0,  1,  8, 16,  9,  2,  3, 10, 17, 24, 32, 25, 18, 11,  4,  5,
    12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13,  6,  7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
    58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

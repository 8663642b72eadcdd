//! What a JPEG file holds, told without decoding its pixels.
//!
//! The one decision: whether the picture is whole is counted, not guessed. The Huffman codes of a sequential
//! JPEG are walked through and its blocks of 8x8 coefficients counted, so a file that merely lacks its end
//! marker is told from one that lacks pixels. A progressive file cannot be judged that way: a later scan that
//! is missing leaves no trace, so there the end marker stays the only proof.
//!
//! Names and procedures are those of ITU-T T.81, annexes B (segments) and F (sequential Huffman coding).

/// One component of a frame, such as luma.
#[derive(Debug, Clone, Copy)]
pub(super) struct Component {
    pub(super) id: u8,
    /// Horizontal and vertical sampling factors, 1 to 4.
    pub(super) sampling: (u32, u32),
}

/// The frame header.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    /// The start-of-frame marker, 0xC0 to 0xCF.
    marker: u8,
    /// In pixels.
    pub(crate) width: u32,
    /// In pixels.
    pub(crate) height: u32,
    pub(super) components: Vec<Component>,
}

impl Frame {
    /// The first frame header of a file; `None` when there is none, or one without pixels.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        Segments::new(bytes).find_map(|(marker, body)| is_frame(marker).then(|| Self::parse(marker, body)))?
    }

    pub(super) fn parse(marker: u8, body: &[u8]) -> Option<Self> {
        let [_, h1, h2, w1, w2, count, rest @ ..] = body else { return None };
        let (width, height) = (u16::from_be_bytes([*w1, *w2]), u16::from_be_bytes([*h1, *h2]));
        let components: Vec<Component> = rest
            .chunks_exact(3)
            .take(usize::from(*count))
            .map(|c| Component { id: c[0], sampling: (u32::from(c[1] >> 4), u32::from(c[1] & 15)) })
            .collect();
        let fine = |c: &Component| (1..=4).contains(&c.sampling.0) && (1..=4).contains(&c.sampling.1);
        let whole = !components.is_empty() && components.len() == usize::from(*count);
        let usable = whole && width > 0 && height > 0 && components.iter().all(fine);
        usable.then(|| Self { marker, width: u32::from(width), height: u32::from(height), components })
    }

    /// Whether the coefficients come in several passes.
    fn is_progressive(&self) -> bool {
        matches!(self.marker, 0xC2 | 0xC6 | 0xCA | 0xCE)
    }

    fn largest_sampling(&self) -> (u32, u32) {
        let h = self.components.iter().map(|c| c.sampling.0).max();
        (h.unwrap_or(1), self.components.iter().map(|c| c.sampling.1).max().unwrap_or(1))
    }

    /// Minimum coded units of a scan with several components.
    fn units(&self) -> u64 {
        let (h, v) = self.largest_sampling();
        u64::from(self.width.div_ceil(8 * h)) * u64::from(self.height.div_ceil(8 * v))
    }

    /// Blocks of a component in a scan of its own, which leaves out the padding.
    fn own_blocks(&self, component: &Component) -> u64 {
        let (h, v) = self.largest_sampling();
        let samples = |side: u32, factor: u32, largest: u32| (side * factor).div_ceil(largest).div_ceil(8);
        let across = samples(self.width, component.sampling.0, h);
        u64::from(across) * u64::from(samples(self.height, component.sampling.1, v))
    }

    /// The fewest blocks of 8x8 coefficients that the picture can consist of.
    pub(crate) fn least_blocks(&self) -> u64 {
        self.components.iter().map(|c| self.own_blocks(c)).sum()
    }

    /// How many bytes a decoder keeps beside the picture: with several passes all coefficients, 2 bytes each.
    pub(crate) fn working_memory(&self) -> u64 {
        if !self.is_progressive() {
            return 0;
        }
        let blocks: u64 = self.components.iter().map(|c| u64::from(c.sampling.0 * c.sampling.1)).sum();
        self.units() * blocks * 64 * 2
    }
}

pub(super) fn is_frame(marker: u8) -> bool {
    (0xC0..=0xCF).contains(&marker) && !matches!(marker, 0xC4 | 0xC8 | 0xCC)
}

/// The segments of a file up to the end marker; compressed data is passed over.
pub(super) struct Segments<'a> {
    bytes: &'a [u8],
    /// The place behind the last segment.
    pub(super) at: usize,
}

impl<'a> Segments<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 2 }
    }

    /// The next marker that is not inside of a segment; `self.at` is behind it.
    fn marker(&mut self) -> Option<u8> {
        loop {
            self.at += self.bytes.get(self.at..)?.iter().position(|&byte| byte == 0xFF)?;
            self.at += self.bytes.get(self.at..)?.iter().position(|&byte| byte != 0xFF)?;
            self.at += 1;
            match self.bytes[self.at - 1] {
                // A stuffed 0xFF, or a marker without a body.
                0x00 | 0x01 | 0xD0..=0xD8 => {}
                marker => return Some(marker),
            }
        }
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = (u8, &'a [u8]);

    /// The next segment, by its marker; `self.at` is behind it.
    fn next(&mut self) -> Option<Self::Item> {
        let marker = self.marker()?;
        if marker == 0xD9 {
            return None;
        }
        let length = u16::from_be_bytes([*self.bytes.get(self.at)?, *self.bytes.get(self.at + 1)?]);
        let body = self.bytes.get(self.at + 2..self.at + usize::from(length))?;
        self.at += usize::from(length);
        Some((marker, body))
    }
}

/// Whether there is an end-of-image marker. Zeros or other data after it do no harm.
pub(crate) fn has_end_marker(bytes: &[u8]) -> bool {
    let used = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    bytes[..used].ends_with(&[0xFF, 0xD9]) || end_marker(bytes).is_some()
}

/// The offset of the first end-of-image marker that is not inside a segment, such as that of a thumbnail.
fn end_marker(bytes: &[u8]) -> Option<usize> {
    let mut segments = Segments::new(bytes);
    loop {
        if segments.marker()? == 0xD9 {
            return Some(segments.at - 2);
        }
        let length = [*bytes.get(segments.at)?, *bytes.get(segments.at + 1)?];
        segments.at += usize::from(u16::from_be_bytes(length));
    }
}

/// How much of a sequential JPEG is there, in blocks of 8x8 coefficients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Blocks {
    /// Blocks that the frame header asks for.
    pub(crate) expected: u64,
    /// Blocks that could be read.
    pub(crate) found: u64,
}

impl Blocks {
    pub(crate) fn is_whole(&self) -> bool {
        self.found >= self.expected
    }

    /// Counts the blocks; `None` for a file that cannot be judged, such as a progressive one.
    pub(crate) fn count(bytes: &[u8]) -> Option<Self> {
        let mut walk = Walk::default();
        let mut segments = Segments::new(bytes);
        while let Some((marker, body)) = segments.next() {
            match marker {
                0xC4 => walk.tables(body)?,
                // Extended sequential has the same codes as baseline.
                0xC0 | 0xC1 if walk.frame.is_none() => walk.frame = Some(Frame::parse(marker, body)?),
                0xC0..=0xCF => return None,
                0xDD => walk.restart = u32::from(u16::from_be_bytes([*body.first()?, *body.get(1)?])),
                0xDA => segments.at = walk.scan(body, bytes, segments.at)?,
                _ => {}
            }
        }
        let expected = walk.expected + walk.not_scanned()?;
        Some(Self { expected, found: walk.found })
    }
}

/// The tables and counts so far.
#[derive(Default)]
struct Walk {
    frame: Option<Frame>,
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
    /// Units between restart markers; 0 for none.
    restart: u32,
    /// The components that have had a scan, by their ids.
    scanned: Vec<u8>,
    /// Blocks that the scans so far should hold.
    expected: u64,
    found: u64,
}

/// A component within a scan: its blocks in each unit, and its tables.
struct Coded<'a> {
    blocks: u32,
    dc: &'a Huffman,
    ac: &'a Huffman,
}

impl Walk {
    /// A segment of Huffman tables.
    fn tables(&mut self, mut body: &[u8]) -> Option<()> {
        while let [kind, rest @ ..] = body {
            let counts = rest.get(..16)?;
            let total: usize = counts.iter().map(|&count| usize::from(count)).sum();
            let table = Huffman::new(counts, rest.get(16..16 + total)?)?;
            let tables = if kind >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            *tables.get_mut(usize::from(kind & 15))? = Some(table);
            body = &rest[16 + total..];
        }
        Some(())
    }

    /// Walks through one scan and returns where its data ends.
    fn scan(&mut self, body: &[u8], bytes: &[u8], from: usize) -> Option<usize> {
        let frame = self.frame.as_ref()?;
        let count = usize::from(*body.first()?);
        let named: Vec<(&Component, u8)> = body
            .get(1..1 + 2 * count)?
            .chunks_exact(2)
            .map(|pair| Some((frame.components.iter().find(|c| c.id == pair[0])?, pair[1])))
            .collect::<Option<_>>()?;
        let mut coded = Vec::with_capacity(count);
        for (component, tables) in &named {
            let blocks = if count == 1 { 1 } else { component.sampling.0 * component.sampling.1 };
            let dc = self.dc.get(usize::from(tables >> 4))?.as_ref()?;
            let ac = self.ac.get(usize::from(tables & 15))?.as_ref()?;
            coded.push(Coded { blocks, dc, ac });
        }
        let units = match named.as_slice() {
            [] => return None,
            [(only, _)] => frame.own_blocks(only),
            _ => frame.units(),
        };
        let per_unit: u64 = coded.iter().map(|c| u64::from(c.blocks)).sum();
        let ids: Vec<u8> = named.iter().map(|(component, _)| component.id).collect();
        let mut bits = Bits { bytes, at: from, held: 0, count: 0, ended: false };
        self.expected += units * per_unit;
        self.found += units_in(&mut bits, &coded, units, self.restart) * per_unit;
        self.scanned.extend(ids);
        Some(bits.at)
    }

    /// The blocks of components that no scan has held.
    fn not_scanned(&self) -> Option<u64> {
        let frame = self.frame.as_ref()?;
        let left = frame.components.iter().filter(|c| !self.scanned.contains(&c.id));
        Some(left.map(|c| frame.own_blocks(c)).sum())
    }
}

/// How many units can be read whole.
fn units_in(bits: &mut Bits<'_>, coded: &[Coded<'_>], units: u64, restart: u32) -> u64 {
    let interval = if restart == 0 { units } else { u64::from(restart) };
    let (mut found, mut begun) = (0, 0);
    while begun < units {
        let here = interval.min(units - begun);
        found += (0..here).take_while(|_| unit(bits, coded).is_some()).count() as u64;
        begun += here;
        if begun < units && !bits.next_interval() {
            break;
        }
    }
    found
}

/// Reads one unit; `None` when the data ends or makes no sense.
fn unit(bits: &mut Bits<'_>, coded: &[Coded<'_>]) -> Option<()> {
    for part in coded {
        for _ in 0..part.blocks {
            let size = bits.symbol(part.dc)?;
            bits.skip(u32::from(size))?;
            let mut at = 1;
            while at < 64 {
                let symbol = bits.symbol(part.ac)?;
                let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
                match (run, size) {
                    (15, 0) => at += 16,
                    (_, 0) => break,
                    _ => {
                        at += run + 1;
                        bits.skip(size)?;
                    }
                }
            }
            if at > 64 {
                return None;
            }
        }
    }
    Some(())
}

/// How many bits the first look at a code takes.
const QUICK: u32 = 9;

/// A Huffman table, as T.81 F.2.2.3 decodes it, with a short cut for short codes.
struct Huffman {
    /// Length and symbol for each start of `QUICK` bits; length 0 where the code is longer.
    quick: Vec<(u8, u8)>,
    /// For each length above `QUICK`: one more than the largest code, and where its symbols end.
    longer: [(u32, usize); 17],
    symbols: Vec<u8>,
}

impl Huffman {
    fn new(counts: &[u8], symbols: &[u8]) -> Option<Self> {
        let mut table =
            Self { quick: vec![(0, 0); 1 << QUICK], longer: [(0, 0); 17], symbols: symbols.to_vec() };
        let (mut code, mut next) = (0_u32, 0_usize);
        for (length, &count) in (1_u32..).zip(counts) {
            for _ in 0..count {
                if code >= 1 << length {
                    return None;
                }
                if length <= QUICK {
                    let first = (code << (QUICK - length)) as usize;
                    table.quick[first..first + (1 << (QUICK - length))].fill((length as u8, symbols[next]));
                }
                code += 1;
                next += 1;
            }
            table.longer[length as usize] = (code, next);
            code <<= 1;
        }
        Some(table)
    }
}

/// The bits of compressed data up to the next marker or the end of the file.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The lowest `count` bits are yet to be read.
    held: u64,
    count: u32,
    ended: bool,
}

impl Bits<'_> {
    fn fill(&mut self) {
        if let Some(&next) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<8>())
            && !next.contains(&0xFF)
            && self.count <= 56
        {
            let taken = (64 - self.count) / 8;
            // Two shifts, as one by 64 is none.
            let word = u64::from_be_bytes(next) >> (64 - 8 * taken);
            self.held = self.held << (4 * taken) << (4 * taken) | word;
            self.count += 8 * taken;
            self.at += taken as usize;
            return;
        }
        while self.count <= 56 && !self.ended {
            let next = match (self.bytes.get(self.at), self.bytes.get(self.at + 1)) {
                (Some(0xFF), Some(0x00)) => {
                    self.at += 1;
                    0xFF
                }
                // A marker, or half of one.
                (Some(0xFF) | None, _) => {
                    self.ended = true;
                    return;
                }
                (Some(&byte), _) => byte,
            };
            self.at += 1;
            self.held = self.held << 8 | u64::from(next);
            self.count += 8;
        }
    }

    fn skip(&mut self, bits: u32) -> Option<()> {
        if self.count < bits {
            self.fill();
        }
        self.count = self.count.checked_sub(bits)?;
        Some(())
    }

    fn symbol(&mut self, table: &Huffman) -> Option<u8> {
        if self.count < 16 {
            self.fill();
        }
        // Behind the end there are ones, which are never a code of their own.
        let ones = (1_u64 << 16) - 1;
        let ahead = match self.count.checked_sub(16) {
            Some(behind) => (self.held >> behind) & ones,
            None => (self.held << (16 - self.count) | ones >> self.count) & ones,
        } as u32;
        let (length, symbol) = table.quick[(ahead >> (16 - QUICK)) as usize];
        if length > 0 {
            self.count = self.count.checked_sub(u32::from(length))?;
            return Some(symbol);
        }
        for length in QUICK + 1..=16 {
            let code = ahead >> (16 - length);
            let (end, behind) = table.longer[length as usize];
            if code < end {
                self.count = self.count.checked_sub(length)?;
                return table.symbols.get(behind.checked_sub((end - code) as usize)?).copied();
            }
        }
        None
    }

    /// Goes on behind the next restart marker; `false` when another marker or the end comes first.
    fn next_interval(&mut self) -> bool {
        (self.held, self.count) = (0, 0);
        loop {
            let Some(step) = self.bytes.get(self.at..).and_then(|rest| rest.iter().position(|&b| b == 0xFF))
            else {
                self.at = self.bytes.len();
                return false;
            };
            self.at += step;
            match self.bytes.get(self.at + 1) {
                Some(0xD0..=0xD7) => {
                    self.at += 2;
                    self.ended = false;
                    return true;
                }
                Some(0x00 | 0xFF) => self.at += 1,
                _ => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_marker_of_a_thumbnail_does_not_count() {
        // SOI, an APP1 of 6 bytes that holds EOI, SOS, data with a stuffed 0xFF, EOI.
        let head =
            [0xFF, 0xD8, 0xFF, 0xE1, 0, 6, 0xFF, 0xD9, 1, 2, 0xFF, 0xDA, 0, 2, 9, 0xFF, 0, 0xFF, 0xD0, 7];
        assert_eq!(end_marker(&head), None);
        assert_eq!(end_marker(&[&head[..], &[0xFF, 0xFF, 0xD9, 5, 5]].concat()), Some(21));
        assert!(has_end_marker(&[&head[..], &[0xFF, 0xD9, 0, 0, 0]].concat()));
    }
}

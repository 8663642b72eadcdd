//! Which hashes are within a few bits of each other?
//!
//! The one decision: multi-index hashing (M. Norouzi, A. Punjani, D. Fleet, "Fast Search in Hamming Space with
//! Multi-Index Hashing", CVPR 2012). A hash is cut into 4 pieces of 16 bits. Two hashes within `r` bits agree in
//! at least one piece up to `r / 4` bits, so only the few lists of such pieces are looked through.

/// The largest distance that is searched for, in bits.
pub(super) const MOST_BITS: u32 = 15;

const PIECES: usize = 4;

/// All hashes, by each of their pieces.
pub(super) struct Index<'a> {
    hashes: &'a [u64],
    lists: [Lists; PIECES],
    /// The differences of a piece that are tried.
    masks: Vec<u16>,
    bits: u32,
}

/// The places of hashes by the value of one piece: those of value `v` are `places[starts[v]..starts[v + 1]]`.
struct Lists {
    starts: Vec<u32>,
    places: Vec<u32>,
}

fn piece(hash: u64, which: usize) -> u16 {
    (hash >> (16 * which)) as u16
}

impl Lists {
    fn new(hashes: &[u64], which: usize) -> Self {
        let mut starts = vec![0_u32; (1 << 16) + 1];
        for &hash in hashes {
            starts[usize::from(piece(hash, which)) + 1] += 1;
        }
        for value in 0..1 << 16 {
            starts[value + 1] += starts[value];
        }
        let mut places = vec![0; hashes.len()];
        let mut next = starts.clone();
        for (place, &hash) in (0_u32..).zip(hashes) {
            let slot = &mut next[usize::from(piece(hash, which))];
            places[*slot as usize] = place;
            *slot += 1;
        }
        Self { starts, places }
    }

    fn of(&self, value: u16) -> &[u32] {
        let value = usize::from(value);
        &self.places[self.starts[value] as usize..self.starts[value + 1] as usize]
    }
}

impl<'a> Index<'a> {
    /// An index to search for distances up to `bits`, at most [`MOST_BITS`].
    pub(super) fn new(hashes: &'a [u64], bits: u32) -> Self {
        let bits = bits.min(MOST_BITS);
        let masks = (0..=u16::MAX).filter(|mask| mask.count_ones() <= bits / PIECES as u32).collect();
        Self { hashes, lists: std::array::from_fn(|which| Lists::new(hashes, which)), masks, bits }
    }

    /// Goes through the places whose hashes are close to `hash`, each once, until `visit` says that it is enough
    /// (`false`). Nothing is collected: among many pictures that look alike there may be as many as pictures.
    pub(super) fn near(&self, hash: u64, mut visit: impl FnMut(usize) -> bool) {
        let most = self.bits / PIECES as u32;
        for (which, lists) in self.lists.iter().enumerate() {
            let own = piece(hash, which);
            for mask in &self.masks {
                for &place in lists.of(own ^ mask) {
                    let difference = self.hashes[place as usize] ^ hash;
                    // One that agrees in several pieces has been met by the first of them.
                    let met = (0..which).any(|earlier| piece(difference, earlier).count_ones() <= most);
                    if difference.count_ones() <= self.bits && !met && !visit(place as usize) {
                        return;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(n: usize, mut state: u64) -> Vec<u64> {
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        (0..n).map(|_| next()).collect()
    }

    fn near(index: &Index<'_>, hash: u64) -> Vec<usize> {
        let mut found = Vec::new();
        index.near(hash, |place| {
            found.push(place);
            true
        });
        found.sort_unstable();
        found
    }

    #[test]
    fn it_stops_when_told() {
        let hashes = vec![7; 1000];
        let mut visited = 0;
        Index::new(&hashes, 10).near(7, |_| {
            visited += 1;
            visited < 5
        });
        assert_eq!(visited, 5);
    }

    #[test]
    fn the_same_as_looking_at_all_pairs() {
        let mut hashes = random(300, 7);
        // Neighbours at every distance up to 20 bits.
        for (i, noise) in random(300, 99).into_iter().enumerate() {
            let mut near = hashes[i];
            for bit in 0..i % 21 {
                near ^= 1 << ((noise as usize + bit * 29) % 64);
            }
            hashes.push(near);
        }
        for bits in [0, 3, 4, 10, 15] {
            let index = Index::new(&hashes, bits);
            for place in 0..hashes.len() {
                let close = |&other: &usize| (hashes[other] ^ hashes[place]).count_ones() <= bits;
                let all: Vec<usize> = (0..hashes.len()).filter(close).collect();
                assert_eq!(near(&index, hashes[place]), all);
            }
        }
    }

    #[test]
    fn a_hundred_thousand_take_seconds() {
        let hashes = random(100_000, 3);
        let index = Index::new(&hashes, 10);
        let started = std::time::Instant::now();
        let close: usize = hashes.iter().map(|&hash| near(&index, hash).len() - 1).sum();
        // By chance about 50 of the 5 billion pairs, each seen from both.
        assert!((40..200).contains(&close), "{close}");
        assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
    }
}

//! Blocks of coefficients to levels.
//!
//! The one decision: the arithmetic is that of the decoder for all other files (integers of 12 bits behind the point, down the
//! columns and then along the rows), bit for bit, so that it never matters which of the two decoded a picture.
//!
//! The factoring is that of Loeffler, Ligtenberg and Moschytz, "Practical fast 1-D DCT algorithms with 11 multiplications",
//! 1989.

/// Rounding and shift of the first pass, whose results keep 2 bits behind the point.
const FIRST: i32 = 1 << 9;
const FIRST_SHIFT: i32 = 10;

/// The same of the second, which takes off all bits, the eightfold of the two passes, and adds the middle level, 128.
const SECOND: i32 = (1 << 9) + (1 << 16) + (128 << 17);
const SECOND_SHIFT: i32 = 17;

/// Levels of a block, row by row.
pub(super) type Levels = [[u8; 8]; 8];

/// What the processor at hand computes with.
#[derive(Debug, Clone, Copy)]
pub(super) enum Vector {
    #[cfg(target_arch = "x86_64")]
    V3(pulp::x86::V3),
    Any,
}

impl Vector {
    #[inline(always)]
    pub(super) fn here() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(simd) = pulp::x86::V3::try_new() {
            return Self::V3(simd);
        }
        Self::Any
    }

    /// Coefficients, row by row, to levels.
    #[inline(always)]
    fn levels(self, block: &[[i32; 8]; 8]) -> Levels {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::V3(simd) => {
                let columns = pass::<_, FIRST_SHIFT>(v3::rows(simd, block), FIRST);
                v3::packed(simd, pass::<_, SECOND_SHIFT>(v3::turned(simd, columns), SECOND))
            }
            Self::Any => {
                let columns = pass::<_, FIRST_SHIFT>(block.map(Plain), FIRST);
                let rows = std::array::from_fn(|j| Plain(columns.map(|row| row.0[j])));
                let columns = pass::<_, SECOND_SHIFT>(rows, SECOND);
                std::array::from_fn(|j| columns.map(|column| level(column.0[j])))
            }
        }
    }
}

/// Writes the levels of a block to 8 rows of `plane`, which begin at `at` and are `stride` apart. `reached` is how many
/// coefficients, in the order they come, may be other than 0.
#[inline(always)]
pub(super) fn write(
    block: &[i32; 64],
    reached: usize,
    vector: Vector,
    plane: &mut [u8],
    at: usize,
    stride: usize,
) -> Option<()> {
    let levels = if reached <= 1 {
        [[level(block[0].wrapping_add(4 + 1024) >> 3); 8]; 8]
    } else {
        vector.levels(block.as_chunks().0.first_chunk()?)
    };
    let mut lines = plane.get_mut(at..)?.chunks_mut(stride);
    for row in &levels {
        lines.next()?.first_chunk_mut::<8>()?.copy_from_slice(row);
    }
    Some(())
}

fn level(value: i32) -> u8 {
    value.clamp(0, 255) as u8
}

/// The same number of eight columns.
trait Eight: Copy {
    fn plus(self, other: Self) -> Self;
    fn plus_all(self, other: i32) -> Self;
    fn minus(self, other: Self) -> Self;
    fn times(self, factor: i32) -> Self;
    fn left<const BITS: i32>(self) -> Self;
    fn right<const BITS: i32>(self) -> Self;
}

/// The transform of eight columns at once; factors have 12 bits behind the point.
#[inline(always)]
fn pass<T: Eight, const SHIFT: i32>(i: [T; 8], round: i32) -> [T; 8] {
    // The even coefficients.
    let turn = i[2].plus(i[6]).times(2217);
    let (t2, t3) = (turn.plus(i[6].times(-7567)), turn.plus(i[2].times(3135)));
    let t0 = i[0].plus(i[4]).left::<12>().plus_all(round);
    let t1 = i[0].minus(i[4]).left::<12>().plus_all(round);
    let even = [t0.plus(t3), t1.plus(t2), t1.minus(t2), t0.minus(t3)];
    // The odd ones.
    let (p3, p4) = (i[7].plus(i[3]), i[5].plus(i[1]));
    let p5 = p3.plus(p4).times(4816);
    let p1 = p5.plus(i[7].plus(i[1]).times(-3685));
    let p2 = p5.plus(i[5].plus(i[3]).times(-10497));
    let (p3, p4) = (p3.times(-8034), p4.times(-1597));
    let odd = [
        i[1].times(6149).plus(p1.plus(p4)),
        i[3].times(12586).plus(p2.plus(p3)),
        i[5].times(8410).plus(p2.plus(p4)),
        i[7].times(1223).plus(p1.plus(p3)),
    ];
    [
        even[0].plus(odd[0]).right::<SHIFT>(),
        even[1].plus(odd[1]).right::<SHIFT>(),
        even[2].plus(odd[2]).right::<SHIFT>(),
        even[3].plus(odd[3]).right::<SHIFT>(),
        even[3].minus(odd[3]).right::<SHIFT>(),
        even[2].minus(odd[2]).right::<SHIFT>(),
        even[1].minus(odd[1]).right::<SHIFT>(),
        even[0].minus(odd[0]).right::<SHIFT>(),
    ]
}

/// For processors that nothing more is known of.
#[derive(Clone, Copy)]
struct Plain([i32; 8]);

impl Plain {
    #[inline(always)]
    fn with(mut self, other: Self, join: impl Fn(i32, i32) -> i32) -> Self {
        for (value, other) in self.0.iter_mut().zip(other.0) {
            *value = join(*value, other);
        }
        self
    }
}

impl Eight for Plain {
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.with(other, i32::wrapping_add)
    }

    #[inline(always)]
    fn plus_all(self, other: i32) -> Self {
        self.plus(Self([other; 8]))
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        self.with(other, i32::wrapping_sub)
    }

    #[inline(always)]
    fn times(self, factor: i32) -> Self {
        self.with(Self([factor; 8]), i32::wrapping_mul)
    }

    #[inline(always)]
    fn left<const BITS: i32>(self) -> Self {
        self.with(self, |value, _| value << BITS)
    }

    #[inline(always)]
    fn right<const BITS: i32>(self) -> Self {
        self.with(self, |value, _| value >> BITS)
    }
}

/// For processors with AVX2. No closures here: they would be compiled for all processors.
#[cfg(target_arch = "x86_64")]
mod v3 {
    use std::arch::x86_64::__m256i;

    use pulp::x86::V3;

    use super::{Eight, Levels};

    #[derive(Clone, Copy)]
    pub(super) struct Lanes(V3, __m256i);

    impl Eight for Lanes {
        #[inline(always)]
        fn plus(self, other: Self) -> Self {
            Self(self.0, self.0.avx2._mm256_add_epi32(self.1, other.1))
        }

        #[inline(always)]
        fn plus_all(self, other: i32) -> Self {
            Self(self.0, self.0.avx2._mm256_add_epi32(self.1, self.0.avx._mm256_set1_epi32(other)))
        }

        #[inline(always)]
        fn minus(self, other: Self) -> Self {
            Self(self.0, self.0.avx2._mm256_sub_epi32(self.1, other.1))
        }

        #[inline(always)]
        fn times(self, factor: i32) -> Self {
            Self(self.0, self.0.avx2._mm256_mullo_epi32(self.1, self.0.avx._mm256_set1_epi32(factor)))
        }

        #[inline(always)]
        fn left<const BITS: i32>(self) -> Self {
            Self(self.0, self.0.avx2._mm256_slli_epi32::<BITS>(self.1))
        }

        #[inline(always)]
        fn right<const BITS: i32>(self) -> Self {
            Self(self.0, self.0.avx2._mm256_srai_epi32::<BITS>(self.1))
        }
    }

    #[inline(always)]
    pub(super) fn rows(simd: V3, block: &[[i32; 8]; 8]) -> [Lanes; 8] {
        let [a, b, c, d, e, f, g, h] = *block;
        [
            Lanes(simd, pulp::cast(a)),
            Lanes(simd, pulp::cast(b)),
            Lanes(simd, pulp::cast(c)),
            Lanes(simd, pulp::cast(d)),
            Lanes(simd, pulp::cast(e)),
            Lanes(simd, pulp::cast(f)),
            Lanes(simd, pulp::cast(g)),
            Lanes(simd, pulp::cast(h)),
        ]
    }

    /// Rows become columns.
    #[inline(always)]
    pub(super) fn turned(simd: V3, [a, b, c, d, e, f, g, h]: [Lanes; 8]) -> [Lanes; 8] {
        let [a, b, c, d] = quads(simd, a.1, b.1, c.1, d.1);
        let [e, f, g, h] = quads(simd, e.1, f.1, g.1, h.1);
        let avx2 = simd.avx2;
        [
            Lanes(simd, avx2._mm256_permute2x128_si256::<0x20>(a, e)),
            Lanes(simd, avx2._mm256_permute2x128_si256::<0x20>(b, f)),
            Lanes(simd, avx2._mm256_permute2x128_si256::<0x20>(c, g)),
            Lanes(simd, avx2._mm256_permute2x128_si256::<0x20>(d, h)),
            Lanes(simd, avx2._mm256_permute2x128_si256::<0x31>(a, e)),
            Lanes(simd, avx2._mm256_permute2x128_si256::<0x31>(b, f)),
            Lanes(simd, avx2._mm256_permute2x128_si256::<0x31>(c, g)),
            Lanes(simd, avx2._mm256_permute2x128_si256::<0x31>(d, h)),
        ]
    }

    /// Four rows to their columns: column k in the lower half, column k + 4 in the upper.
    #[inline(always)]
    fn quads(simd: V3, a: __m256i, b: __m256i, c: __m256i, d: __m256i) -> [__m256i; 4] {
        let avx2 = simd.avx2;
        let (ab, cd) = (avx2._mm256_unpacklo_epi32(a, b), avx2._mm256_unpacklo_epi32(c, d));
        let (ab_high, cd_high) = (avx2._mm256_unpackhi_epi32(a, b), avx2._mm256_unpackhi_epi32(c, d));
        [
            avx2._mm256_unpacklo_epi64(ab, cd),
            avx2._mm256_unpackhi_epi64(ab, cd),
            avx2._mm256_unpacklo_epi64(ab_high, cd_high),
            avx2._mm256_unpackhi_epi64(ab_high, cd_high),
        ]
    }

    /// Columns become rows of levels; what does not fit is cut off.
    #[inline(always)]
    pub(super) fn packed(simd: V3, [a, b, c, d, e, f, g, h]: [Lanes; 8]) -> Levels {
        let avx2 = simd.avx2;
        let left = quarters(simd, a.1, b.1, c.1, d.1);
        let right = quarters(simd, e.1, f.1, g.1, h.1);
        let even: [[u8; 8]; 4] = pulp::cast(avx2._mm256_unpacklo_epi32(left, right));
        let odd: [[u8; 8]; 4] = pulp::cast(avx2._mm256_unpackhi_epi32(left, right));
        [even[0], even[1], odd[0], odd[1], even[2], even[3], odd[2], odd[3]]
    }

    /// Four columns to four levels of each row.
    #[inline(always)]
    fn quarters(simd: V3, a: __m256i, b: __m256i, c: __m256i, d: __m256i) -> __m256i {
        let avx2 = simd.avx2;
        let (ab, cd) = (avx2._mm256_packs_epi32(a, b), avx2._mm256_packs_epi32(c, d));
        avx2._mm256_shuffle_epi8(avx2._mm256_packus_epi16(ab, cd), pulp::cast([TURN, TURN]))
    }

    /// Four columns of four bytes to four rows.
    const TURN: [u8; 16] = [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15];
}

#[cfg(test)]
mod tests {
    use super::Vector;

    #[test]
    fn every_processor_gives_the_same_levels() {
        let mut state = 1_u32;
        for round in 0..500 {
            let block = [[0; 8]; 8].map(|row| {
                row.map(|_: i32| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    // Few coefficients or many, usual ones or such as only a damaged file has.
                    let size = [4, 64, 2048, i32::MAX][round % 4];
                    if state >> 28 > (round % 16) as u32 { 0 } else { (state as i32) % size }
                })
            });
            assert_eq!(Vector::here().levels(&block), Vector::Any.levels(&block));
        }
    }
}

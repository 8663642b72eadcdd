//! The real tokens of a batch, without what fills up its shorter texts. The decision: linear layers and norms see one row a
//! token and do not care which text it is of, so only attention needs the batch as it was; texts of unlike lengths can go
//! together then, at the price of their tokens.

use tch::{Kind, Tensor};

use crate::stage::Mode;

/// Where they are.
pub(super) struct Rows {
    /// int64 `[R]`, places in `N · T`.
    places: Tensor,
    /// int64 `[N · T]`, the row of each place; of what fills up the row before it.
    rows: Tensor,
    n: i64,
    t: i64,
}

impl Rows {
    /// Of a pass with packed layers in which a tenth or more fills up: taking the rest out has its price too. Elsewhere the
    /// layers are wanted as they are published, or have gradients.
    pub(super) fn of(mode: Mode<'_>) -> Option<Self> {
        let mask = mode.packs.and(mode.mask)?;
        let (n, t) = mask.size2().ok()?;
        let real = mask.flatten(0, 1);
        let places = real.nonzero().squeeze_dim(1);
        let there = places.size()[0];
        if there == 0 || there * 10 > n * t * 9 {
            return None;
        }
        let rows = (real.cumsum(0, Kind::Int64) - 1).clamp_min(0);
        Some(Self { places, rows, n, t })
    }

    /// `[N, T, C]` to `[R, C]`; as it is without rows.
    pub(super) fn take(rows: Option<&Self>, xs: &Tensor) -> Tensor {
        match rows {
            Some(rows) => xs.flatten(0, 1).index_select(0, &rows.places),
            None => xs.shallow_clone(),
        }
    }

    /// `[R, C]` to `[N, T, C]`, with a copy of some row where it fills up, which nobody looks at; as it is without rows.
    pub(super) fn put(rows: Option<&Self>, ys: Tensor) -> Tensor {
        match rows {
            Some(Self { rows, n, t, .. }) => ys.index_select(0, rows).unflatten(0, [*n, *t]),
            None => ys,
        }
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::text::Packs;

    /// `[3, 5]`, with texts of these lengths.
    fn mask(lengths: [i64; 3]) -> Tensor {
        let lengths = Tensor::from_slice(&lengths).unsqueeze(1);
        Tensor::arange(5, (Kind::Int64, Device::Cpu)).unsqueeze(0).lt_tensor(&lengths)
    }

    #[test]
    fn real_tokens_come_back_to_their_places() {
        let packs = Packs::new(false).unwrap();
        let mask = mask([2, 5, 1]);
        let mode = Mode { mask: Some(&mask), packs: Some(&packs), ..Mode::EVAL };
        let rows = Rows::of(mode).unwrap();
        let xs = Tensor::arange(3 * 5 * 2, (Kind::Float, Device::Cpu)).view([3, 5, 2]);
        let ys = Rows::take(Some(&rows), &xs);
        assert_eq!(ys.size(), [8, 2]);
        assert_eq!(Vec::<f32>::try_from(ys.select(1, 0)).unwrap(), [0., 2., 10., 12., 14., 16., 18., 20.]);
        let back = Rows::put(Some(&rows), ys);
        let real = mask.unsqueeze(2);
        assert_eq!(back.size(), xs.size());
        assert_eq!(&back * &real, &xs * &real);
        assert_eq!(back.isfinite().all().int64_value(&[]), 1);
    }

    #[test]
    fn where_nothing_is_to_be_gained_all_stay() {
        let packs = Packs::new(false).unwrap();
        for lengths in [[5, 5, 5], [5, 5, 4], [0, 0, 0]] {
            let mask = mask(lengths);
            assert!(
                Rows::of(Mode { mask: Some(&mask), packs: Some(&packs), ..Mode::EVAL }).is_none(),
                "{lengths:?}"
            );
        }
        let mask = mask([2, 5, 1]);
        assert!(Rows::of(Mode { mask: Some(&mask), ..Mode::EVAL }).is_none(), "layers with gradients");
    }
}

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
        if places.size()[0] * 10 > n * t * 9 {
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

//! Vector code for the processor at hand.
//!
//! The one decision: the program is built for every processor of its kind, and loops that profit are compiled a second
//! time for those with wider vectors and chosen when it runs. Only the width differs: no operation is fused or
//! reordered, so the bits are the same everywhere.

/// Runs `work` as compiled for this processor. What is to profit has to be inlined into it.
#[inline]
pub(crate) fn wide<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

//! Features to predictions: pooling, then dense layers.
//!
//! The decision behind it: pooling has no parameters, so it is a separate step that can run once with the frozen
//! prefix; what a head phase then reads per image is a vector and not a feature map.

mod head;
mod spec;

pub use head::Head;
pub use spec::{HeadSpec, InvalidHead, Pool};

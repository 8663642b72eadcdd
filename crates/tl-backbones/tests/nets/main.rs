//! All nets against what others publish of them, and against the table's own promises. One test binary, so that libtorch
//! is linked once; how much memory loading takes is measured in one of its own.

#![expect(clippy::unwrap_used, reason = "a test")]

mod cards;
mod drop_path;
mod formula;
mod golden;
mod gradients;
mod keras;
mod names;
mod text;
mod text_lora;
mod text_names;

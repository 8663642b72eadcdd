//! `tl` as a user meets it: real weights, real images, the built program. One test binary, one module a subject.

#![expect(clippy::unwrap_used, reason = "a test")]

mod ask;
mod bad_input;
mod calibrated;
mod data;
mod datasets;
mod export;
mod hub;
mod lora;
mod nets;
mod pooling;
mod resume;
mod run;
mod serve;
mod support;
mod tags;
mod tasks;
mod text;
mod text_out;
mod texts;

//! `tl` as a user meets it: real weights, real images, the built program. One test binary, one module a subject.

mod bad_input;
mod run;
mod support;

//! The seam to libtorch: parameters by name, and what tch does not expose.

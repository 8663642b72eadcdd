//! Image folders to seeded, augmented batches.

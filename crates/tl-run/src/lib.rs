//! The run directory: spec, manifest, metrics, model, report.

//! Runs a Plan on a Model.

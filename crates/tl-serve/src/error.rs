//! What can keep a server from running.

use thiserror::Error;

/// An error of this crate.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// An option outside its range.
    #[error("option `{option}` is {got} (expected {expected})")]
    Option {
        /// The name of the option.
        option: &'static str,
        /// The value given.
        got: String,
        /// The range allowed.
        expected: &'static str,
    },
    /// The system refuses a thread, a socket or a signal.
    #[error("failed to {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// The thread of the connections ended by a fault.
    #[error("the thread that answers connections broke down")]
    Broken,
}

//! A small HTTP server in front of one model.
//!
#![doc = include_str!("../README.md")]
//!
//! The one decision: this crate knows neither nets nor images. A [`Service`] reads what is asked about, on several
//! threads; the model is a closure that answers batches on the thread that called [`serve`], so it need not be shared
//! between threads; all that is HTTP, queue and limits lies between them.

mod error;
mod http;
mod metrics;
mod options;
mod predict;
mod queue;
mod server;
mod service;

pub use error::ServeError;
pub use options::Options;
pub use server::serve;
pub use service::{Item, Refusal, Service, Words};

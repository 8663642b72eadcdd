//! Pretrained nets as ordered, named stages.
//!
#![doc = include_str!("../README.md")]
//!
//! The decision behind it: a net is a list of [`Stage`]s and nothing else, so that any suffix can train while the
//! prefix below stays a pure function, and so that a mode (train or not, which batch-norm) is given per stage and not
//! per net. What is published about a net (paper, weights, preprocessing, size) is a [`Card`]: a row of a `static`
//! table, checked by table-driven tests.

mod alexnet;
mod backbone;
mod card;
mod cards;
mod convnext;
mod densenet;
mod efficientnet;
mod error;
mod googlenet;
mod inception_v3;
mod labels;
pub mod layers;
mod load;
mod mobile;
mod mobilenet;
mod resnet;
mod stage;
pub mod text;
mod trace;
mod vgg;
mod vit;

pub use backbone::{Backbone, Classifier, Definition, Observed, TextNet};
pub use card::{Card, Input, Interpolation, Neck, Net, Tokens, Top, TopPool, Weights};
pub use cards::{CARDS, find};
pub use error::BackboneError;
pub use labels::class_names;
pub use layers::Act;
pub use load::{Load, Loaded, load};
pub use stage::{Block, DropPath, Dropout, Mode, NormMode, Stage};
pub use trace::{Layer, Trace};

//! A model in the formats of others: TorchScript, ONNX, and safetensors as timm and transformers name them.
//!
#![doc = include_str!("../README.md")]
//!
//! The decision behind it: TorchScript and ONNX are both written from one recording of the net ([`Recorded`]), which is
//! compared with the net before it leaves. So what leaves is what was trained, and a new net or head needs no line here
//! unless it brings an operation that ONNX has to be told about. What timm reads is a list of tensors, and there it is the
//! card of the net that knows the names.
//!
//! Every file appears whole or not at all, and none is replaced unless that was asked for.

mod about;
mod error;
mod files;
mod net;
mod onnx;
mod text;
mod timm;
mod transformers;
mod values;

pub use about::{ABOUT, About, INPUT, Input, Outputs, TextInput};
pub use error::ExportError;
pub use files::{Existing, Folder, write_file};
pub use net::{Net, Recorded};
pub use timm::{CONFIG, Timm};
pub use transformers::{Layout, Transformers};

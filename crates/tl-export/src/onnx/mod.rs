//! ONNX from a recorded net.
//!
//! The decision behind it: the graph is libtorch's own recording, in which batch-norm is folded and constants are
//! computed, so this is a table of operations and not of nets. An operation that the table lacks is an error that names
//! it; nothing is approximated. Opset 17 (2022) is the first with layer norm, and read by every runtime in use.

mod lower;
mod ops;
mod proto;
#[cfg(test)]
mod tests;
mod texts;

use prost::Message;
use tl_torch::Graph;

use crate::error::ExportError;
use lower::Lowering;
use proto::{GraphProto, ModelProto, OperatorSet, StringEntry, TensorProto, ValueInfo};

/// The version of the file format that came with opset 17.
const IR_VERSION: i64 = 8;
const OPSET: i64 = 17;

/// The most bytes of a message.
const MOST: usize = i32::MAX as usize;

/// What goes in or comes out: name, kind, and the dimensions behind the first, which is that of the batch.
pub(crate) struct Value<'a> {
    name: &'a str,
    kind: i32,
    dims: Vec<Dim>,
}

/// A dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dim {
    /// Of that size.
    Of(i64),
    /// Of any size, by name.
    Open(&'static str),
}

/// The number of tokens.
pub(crate) const fn tokens() -> Dim {
    Dim::Open("T")
}

impl<'a> Value<'a> {
    pub(crate) fn floats(name: &'a str, dims: &[Dim]) -> Self {
        Self { name, kind: TensorProto::FLOAT, dims: dims.to_vec() }
    }

    pub(crate) fn integers(name: &'a str, dims: &[Dim]) -> Self {
        Self { name, kind: TensorProto::INT64, dims: dims.to_vec() }
    }

    fn info(&self) -> ValueInfo {
        ValueInfo::batch(self.name, self.kind, &self.dims)
    }
}

/// The bytes of an ONNX file.
pub(crate) fn write(
    graph: &Graph,
    (inputs, output): (&[Value<'_>], &Value<'_>),
    (key, about): (&str, &str),
) -> Result<Vec<u8>, ExportError> {
    let model = model(graph, (inputs, output), (key, about))?;
    let bytes = model.encoded_len();
    if bytes > MOST {
        return Err(ExportError::OnnxSize { bytes });
    }
    Ok(model.encode_to_vec())
}

fn model(
    graph: &Graph,
    (inputs, output): (&[Value<'_>], &Value<'_>),
    (key, about): (&str, &str),
) -> Result<ModelProto, ExportError> {
    let names: Vec<&str> = inputs.iter().map(|input| input.name).collect();
    let mut lowering = Lowering::new(graph, &names, output.name);
    for node in &graph.nodes {
        ops::lower(&mut lowering, node)?;
    }
    let (node, initializer) = lowering.finish(output.name)?;
    let graph = GraphProto {
        node,
        name: "net".to_owned(),
        initializer,
        input: inputs.iter().map(Value::info).collect(),
        output: vec![output.info()],
    };
    Ok(ModelProto {
        ir_version: IR_VERSION,
        producer_name: env!("CARGO_PKG_NAME").to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(graph),
        opset_import: vec![OperatorSet { domain: String::new(), version: OPSET }],
        metadata_props: vec![StringEntry { key: key.to_owned(), value: about.to_owned() }],
    })
}

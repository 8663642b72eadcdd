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

use prost::Message;
use tl_torch::Graph;

use crate::error::ExportError;
use crate::net::INPUT;
use lower::Lowering;
use proto::{GraphProto, ModelProto, OperatorSet, StringEntry, ValueInfo};

/// The version of the file format that came with opset 17.
const IR_VERSION: i64 = 8;
const OPSET: i64 = 17;

/// What goes in and what comes out.
pub(crate) struct Shape<'a> {
    /// Of one image.
    pub(crate) input: [i64; 3],
    /// Name, and length of a row.
    pub(crate) output: (&'a str, i64),
}

/// The bytes of an ONNX file.
pub(crate) fn write(
    graph: &Graph,
    shape: &Shape<'_>,
    (key, about): (&str, &str),
) -> Result<Vec<u8>, ExportError> {
    Ok(model(graph, shape, (key, about))?.encode_to_vec())
}

fn model(graph: &Graph, shape: &Shape<'_>, (key, about): (&str, &str)) -> Result<ModelProto, ExportError> {
    let (output, width) = shape.output;
    let mut lowering = Lowering::new(graph, INPUT, output);
    for node in &graph.nodes {
        ops::lower(&mut lowering, node)?;
    }
    let (node, initializer) = lowering.finish(output)?;
    let graph = GraphProto {
        node,
        name: "net".to_owned(),
        initializer,
        input: vec![ValueInfo::batch(INPUT, &shape.input)],
        output: vec![ValueInfo::batch(output, &[width])],
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

//! What the table of operations is written with: arguments in, nodes and initializers out.
//!
//! The decision behind it: a constant becomes an initializer when something uses it as a tensor, and not before; most
//! constants of a recording are numbers that end up in attributes.

use std::collections::BTreeMap;

use tch::{Kind, Tensor};
use tl_torch::{Constant, Graph, GraphNode};

use super::proto::{Attribute, NodeProto, TensorProto};
use crate::error::ExportError;
use crate::values::flat;

/// A graph on its way to ONNX.
pub(super) struct Lowering<'g> {
    graph: &'g Graph,
    /// Values that have a name in ONNX.
    names: BTreeMap<usize, String>,
    /// Lists of values.
    lists: BTreeMap<usize, &'g [usize]>,
    /// Lists that a node makes, which are no values here: what takes their elements looks at the node.
    makers: BTreeMap<usize, &'g GraphNode>,
    /// Shapes in the recording; the first dimension is the number of images there.
    shapes: BTreeMap<usize, &'g [i64]>,
    /// libtorch's names of the kinds of tensors.
    kinds: BTreeMap<usize, &'g str>,
    /// Weights that are kept transposed, by their values.
    transposed: BTreeMap<usize, String>,
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    fresh: usize,
}

/// The arguments of one operation.
#[derive(Clone, Copy)]
pub(super) struct Args<'g> {
    graph: &'g Graph,
    pub(super) node: &'g GraphNode,
}

impl<'g> Args<'g> {
    pub(super) fn refuse<T>(self, reason: impl Into<String>) -> Result<T, ExportError> {
        Err(ExportError::Onnx { op: self.node.op.clone(), reason: reason.into() })
    }

    pub(super) fn len(self) -> usize {
        self.node.inputs.len()
    }

    /// The value that is argument `i`.
    pub(super) fn id(self, i: usize) -> Result<usize, ExportError> {
        match self.node.inputs.get(i) {
            Some(&id) => Ok(id),
            None => self.refuse(format!("has {} arguments, expected more than {i}", self.len())),
        }
    }

    fn constant(self, i: usize) -> Result<&'g Constant, ExportError> {
        match self.graph.constants.get(&self.id(i)?) {
            Some(constant) => Ok(constant),
            None => self.refuse(format!("computes its argument {i}, expected a constant")),
        }
    }

    pub(super) fn is_none(self, i: usize) -> bool {
        self.node.inputs.get(i).is_none_or(|id| matches!(self.graph.constants.get(id), Some(Constant::None)))
    }

    pub(super) fn int(self, i: usize) -> Result<i64, ExportError> {
        match self.constant(i)? {
            Constant::Int(n) => Ok(*n),
            other => self.refuse(format!("has {other:?} for argument {i}, expected an integer")),
        }
    }

    pub(super) fn float(self, i: usize) -> Result<f64, ExportError> {
        match self.constant(i)? {
            Constant::Int(n) => Ok(*n as f64),
            Constant::Float(n) => Ok(*n),
            other => self.refuse(format!("has {other:?} for argument {i}, expected a number")),
        }
    }

    pub(super) fn bool(self, i: usize) -> Result<bool, ExportError> {
        match self.constant(i)? {
            Constant::Bool(yes) => Ok(*yes),
            other => self.refuse(format!("has {other:?} for argument {i}, expected yes or no")),
        }
    }

    pub(super) fn text(self, i: usize) -> Result<&'g str, ExportError> {
        match self.constant(i)? {
            Constant::Text(text) => Ok(text),
            other => self.refuse(format!("has {other:?} for argument {i}, expected a word")),
        }
    }

    /// A list of integers, or one of them.
    pub(super) fn ints(self, i: usize) -> Result<Vec<i64>, ExportError> {
        match self.constant(i)? {
            Constant::Ints(list) => Ok(list.clone()),
            Constant::Int(n) => Ok(vec![*n]),
            other => self.refuse(format!("has {other:?} for argument {i}, expected integers")),
        }
    }

    /// For height and width.
    pub(super) fn pair(self, i: usize) -> Result<[i64; 2], ExportError> {
        match self.ints(i)?[..] {
            [both] => Ok([both; 2]),
            [h, w] => Ok([h, w]),
            _ => self.refuse(format!("has no height and width for argument {i}")),
        }
    }

    /// A constant tensor.
    pub(super) fn weight(self, i: usize) -> Result<&'g Tensor, ExportError> {
        match self.constant(i)? {
            Constant::Tensor(tensor) => Ok(tensor),
            other => self.refuse(format!("has {other:?} for argument {i}, expected a tensor")),
        }
    }
}

impl<'g> Lowering<'g> {
    pub(super) fn new(graph: &'g Graph, inputs: &[&str], output: &str) -> Self {
        let named = graph.inputs.iter().zip(inputs).map(|((id, _), name)| (*id, (*name).to_owned()));
        let names = named.chain([(graph.output, output.to_owned())]).collect();
        let shape = |node: &'g GraphNode| Some((node.output, node.shape.as_deref()?));
        let shapes = graph.nodes.iter().filter_map(shape).collect();
        let kind = |node: &'g GraphNode| Some((node.output, node.kind.as_deref()?));
        let kinds = graph.nodes.iter().filter_map(kind);
        let kinds = kinds.chain(graph.inputs.iter().map(|(id, kind)| (*id, kind.as_str()))).collect();
        let (lists, makers, transposed) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let (nodes, initializers, fresh) = (Vec::new(), Vec::new(), 0);
        Self { graph, names, lists, makers, shapes, kinds, transposed, nodes, initializers, fresh }
    }

    pub(super) fn args(&self, node: &'g GraphNode) -> Args<'g> {
        Args { graph: self.graph, node }
    }

    /// The shape of argument `i` in the recording.
    pub(super) fn shape(&self, args: Args<'g>, i: usize) -> Result<&'g [i64], ExportError> {
        let id = args.id(i)?;
        match self.shapes.get(&id) {
            Some(shape) => Ok(shape),
            None => args.refuse(format!("needs the shape of its argument {i}, which libtorch does not say")),
        }
    }

    /// libtorch's name of the kind of argument `i`, where that is a tensor.
    pub(super) fn kind(&self, args: Args<'g>, i: usize) -> Option<&'g str> {
        let id = args.id(i).ok()?;
        if let Some(Constant::Tensor(tensor)) = self.graph.constants.get(&id) {
            return Some(if matches!(tensor.kind(), Kind::Int64 | Kind::Int) { "Long" } else { "Float" });
        }
        self.kinds.get(&id).copied()
    }

    /// Whether one of two arguments is of integers, so that a number beside it is one, too.
    pub(super) fn of_integers(&self, args: Args<'g>) -> bool {
        (0..args.len().min(2)).any(|i| self.kind(args, i) == Some("Long"))
    }

    /// The name of argument `i`, a tensor or a number among integers or others.
    pub(super) fn operand(&mut self, args: Args<'g>, i: usize) -> Result<String, ExportError> {
        match self.graph.constants.get(&args.id(i)?) {
            Some(Constant::Int(n)) if self.of_integers(args) => self.integer(args, *n),
            _ => self.tensor(args, i),
        }
    }

    /// Sets a list aside whose elements others take; nothing is written.
    pub(super) fn set_aside(&mut self, node: &'g GraphNode) {
        self.makers.insert(node.output, node);
    }

    /// What makes argument `i`, if that is a list that was set aside.
    pub(super) fn maker(&self, args: Args<'g>, i: usize) -> Option<Args<'g>> {
        self.makers.get(&args.id(i).ok()?).map(|node| self.args(node))
    }

    /// Makes a list of values; nothing is written.
    pub(super) fn list(&mut self, node: &'g GraphNode) {
        self.lists.insert(node.output, &node.inputs);
    }

    /// The values in the list that is argument `i`.
    pub(super) fn listed(&self, args: Args<'g>, i: usize) -> Result<&'g [usize], ExportError> {
        match self.lists.get(&args.id(i)?) {
            Some(list) => Ok(list),
            None => args.refuse(format!("has no list for argument {i}")),
        }
    }

    /// The name of the tensor that is argument `i`.
    pub(super) fn tensor(&mut self, args: Args<'g>, i: usize) -> Result<String, ExportError> {
        self.value(args, args.id(i)?)
    }

    /// The name of a value.
    pub(super) fn value(&mut self, args: Args<'g>, id: usize) -> Result<String, ExportError> {
        if let Some(name) = self.names.get(&id) {
            return Ok(name.clone());
        }
        let name = match self.graph.constants.get(&id) {
            Some(Constant::Tensor(tensor)) => {
                let name = format!("w{id}");
                self.keep(args, name.clone(), tensor)?;
                name
            }
            Some(&Constant::Float(n)) => self.scalar(n),
            Some(&Constant::Int(n)) => self.scalar(n as f64),
            Some(other) => return args.refuse(format!("takes {other:?} where a tensor is expected")),
            None => return args.refuse("takes a value that nothing makes"),
        };
        self.names.insert(id, name.clone());
        Ok(name)
    }

    /// An initializer with the values of a tensor.
    pub(super) fn keep(&mut self, args: Args<'g>, name: String, tensor: &Tensor) -> Result<(), ExportError> {
        let (data_type, raw_data) = match tensor.kind() {
            Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16 => {
                let values: Vec<f32> = flat(tensor, Kind::Float);
                (TensorProto::FLOAT, values.iter().flat_map(|value| value.to_le_bytes()).collect())
            }
            Kind::Int64 | Kind::Int => {
                let values: Vec<i64> = flat(tensor, Kind::Int64);
                (TensorProto::INT64, values.iter().flat_map(|value| value.to_le_bytes()).collect())
            }
            other => return args.refuse(format!("takes a constant of kind {other:?}")),
        };
        self.initializers.push(TensorProto { dims: tensor.size(), data_type, name, raw_data });
        Ok(())
    }

    /// An initializer with one number.
    pub(super) fn scalar(&mut self, value: f64) -> String {
        let name = self.name("c");
        let raw_data = (value as f32).to_le_bytes().to_vec();
        let tensor =
            TensorProto { dims: Vec::new(), data_type: TensorProto::FLOAT, name: name.clone(), raw_data };
        self.initializers.push(tensor);
        name
    }

    /// An initializer with one integer.
    pub(super) fn integer(&mut self, args: Args<'g>, value: i64) -> Result<String, ExportError> {
        let name = self.name("c");
        self.keep(args, name.clone(), &Tensor::from(value))?;
        Ok(name)
    }

    /// The name of argument `i`, a constant matrix, transposed.
    pub(super) fn transposed(&mut self, args: Args<'g>, i: usize) -> Result<String, ExportError> {
        let id = args.id(i)?;
        if let Some(name) = self.transposed.get(&id) {
            return Ok(name.clone());
        }
        let name = self.name("w");
        self.keep(args, name.clone(), &args.weight(i)?.transpose(0, 1))?;
        self.transposed.insert(id, name.clone());
        Ok(name)
    }

    /// An initializer with integers: a shape, axes.
    pub(super) fn integers(&mut self, values: &[i64]) -> String {
        let name = self.name("c");
        let raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let dims = vec![values.len() as i64];
        self.initializers.push(TensorProto {
            dims,
            data_type: TensorProto::INT64,
            name: name.clone(),
            raw_data,
        });
        name
    }

    /// A name that nothing else has.
    pub(super) fn name(&mut self, kind: &str) -> String {
        self.fresh += 1;
        format!("{kind}_{}", self.fresh)
    }

    /// A step on the way to what an operation makes; returns its name.
    pub(super) fn step(&mut self, op: &str, inputs: &[&str], attributes: Vec<Attribute>) -> String {
        let output = self.name("t");
        self.push(op, inputs, attributes, output.clone());
        output
    }

    /// The last step of an operation, which makes its value.
    pub(super) fn make(&mut self, args: Args<'g>, op: &str, inputs: &[&str], attributes: Vec<Attribute>) {
        let id = args.node.output;
        let output = self.names.entry(id).or_insert_with(|| format!("v{id}")).clone();
        self.push(op, inputs, attributes, output);
    }

    /// An operation that changes nothing: its value has the name of argument 0.
    pub(super) fn pass(&mut self, args: Args<'g>) -> Result<(), ExportError> {
        let id = args.id(0)?;
        self.rename(args, id)
    }

    /// Its value is another one.
    pub(super) fn rename(&mut self, args: Args<'g>, id: usize) -> Result<(), ExportError> {
        let input = self.value(args, id)?;
        if args.node.output == self.graph.output {
            self.make(args, "Identity", &[&input], Vec::new());
        } else {
            self.names.insert(args.node.output, input);
            if let Some(shape) = self.shapes.get(&id).copied() {
                self.shapes.insert(args.node.output, shape);
            }
        }
        Ok(())
    }

    fn push(&mut self, op: &str, inputs: &[&str], attribute: Vec<Attribute>, output: String) {
        self.nodes.push(NodeProto {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            name: format!("{op}_{}", self.nodes.len()),
            output: vec![output],
            op_type: op.to_owned(),
            attribute,
        });
    }

    /// Nodes and initializers, if something makes the output.
    pub(super) fn finish(self, output: &str) -> Result<(Vec<NodeProto>, Vec<TensorProto>), ExportError> {
        if self.nodes.iter().any(|node| node.output.iter().any(|name| name == output)) {
            return Ok((self.nodes, self.initializers));
        }
        let op = self.graph.nodes.last().map_or_else(String::new, |node| node.op.clone());
        Err(ExportError::Onnx { op, reason: "does not make the output of the net".to_owned() })
    }
}

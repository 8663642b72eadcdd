//! A reader of pickles that cannot run anything. The decision: a pickle is a program, so this is an interpreter of the
//! part of that language that `torch.save` uses, whose only callables are a closed list of tensor constructors
//! ([`calls`]). A `GLOBAL` is only ever a name; calling any other name is an error that says which.
//!
//! All compound values live in one arena and refer to one another by index, so that neither depth nor cycles in a
//! hostile pickle can overflow the stack, and one budget bounds the memory of all of it.

mod calls;
mod machine;
mod source;

use crate::dtype::DType;

pub(crate) use machine::run;
pub(crate) use source::Source;

/// Why a pickle could not be read. `at` is the position in the file or member.
#[derive(Debug)]
pub(crate) enum PickleError {
    /// The bytes end too early.
    Truncated { at: u64, missing: u64 },
    /// It is no pickle, or one that no writer of tensors makes.
    Malformed { at: u64, what: String },
    /// It wants to call something.
    Refused { name: String },
    /// It holds tensors of a kind that is not read.
    Unsupported { what: String },
    /// The bytes cannot be read.
    Io(std::io::Error),
}

/// A value; compound ones by index into the [`Heap`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Node(usize),
    /// Anything that no tensor depends on: floats, bytes, sets, devices.
    Opaque,
}

/// A compound value.
#[derive(Debug)]
pub(crate) enum Node {
    Str(String),
    /// An integer that does not fit an `i64`, little-endian.
    Long(Vec<u8>),
    Name(String),
    Tuple(Vec<Value>),
    List(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    Storage(Storage),
    Tensor(Tensor),
}

/// A storage, as the persistent id names it; the bytes are elsewhere in the file.
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    pub(crate) key: String,
    pub(crate) dtype: DType,
    /// Elements in the storage.
    pub(crate) numel: u64,
    /// First element and number of elements of a view, which old files have instead of an offset in the tensor.
    pub(crate) view: Option<(u64, u64)>,
}

/// A tensor: a strided window of a storage. Nothing is checked yet.
#[derive(Clone, Debug)]
pub(crate) struct Tensor {
    pub(crate) storage: usize,
    pub(crate) offset: u64,
    pub(crate) shape: Vec<u64>,
    pub(crate) strides: Vec<u64>,
}

/// The arena of all compound values.
#[derive(Debug)]
pub(crate) struct Heap {
    nodes: Vec<Node>,
    budget: u64,
}

impl Heap {
    /// An arena for pickles of at most `len` bytes: a real one needs about 10 bytes of memory for each of its own.
    pub(crate) fn new(len: u64) -> Self {
        Self { nodes: Vec::new(), budget: len.saturating_mul(64).clamp(1 << 20, 1 << 30) }
    }

    pub(crate) fn node(&self, value: Value) -> Option<&Node> {
        match value {
            Value::Node(id) => self.nodes.get(id),
            _ => None,
        }
    }

    pub(crate) fn str(&self, value: Value) -> Option<&str> {
        match self.node(value)? {
            Node::Str(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn dict(&self, value: Value) -> Option<&[(Value, Value)]> {
        match self.node(value)? {
            Node::Dict(items) => Some(items),
            _ => None,
        }
    }

    pub(crate) fn tensor(&self, value: Value) -> Option<&Tensor> {
        match self.node(value)? {
            Node::Tensor(tensor) => Some(tensor),
            _ => None,
        }
    }

    /// The items of a tuple or a list.
    pub(crate) fn items(&self, value: Value) -> Option<&[Value]> {
        match self.node(value)? {
            Node::Tuple(items) | Node::List(items) => Some(items),
            _ => None,
        }
    }

    pub(crate) fn storage(&self, id: usize) -> Option<&Storage> {
        match self.nodes.get(id)? {
            Node::Storage(storage) => Some(storage),
            _ => None,
        }
    }

    pub(crate) fn storages(&self) -> impl Iterator<Item = &Storage> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Storage(storage) => Some(storage),
            _ => None,
        })
    }

    fn spend(&mut self, bytes: usize) -> Option<()> {
        self.budget = self.budget.checked_sub(bytes as u64)?;
        Some(())
    }

    /// Adds a node; `None` when the budget is spent.
    fn add(&mut self, node: Node) -> Option<Value> {
        let held = match &node {
            Node::Str(text) | Node::Name(text) => text.len(),
            Node::Long(bytes) => bytes.len(),
            Node::Tuple(items) | Node::List(items) => size_of_val(items.as_slice()),
            Node::Dict(items) => size_of_val(items.as_slice()),
            Node::Storage(storage) => storage.key.len(),
            Node::Tensor(tensor) => 16 * tensor.shape.len(),
        };
        self.spend(size_of::<Node>() + held)?;
        self.nodes.push(node);
        Some(Value::Node(self.nodes.len() - 1))
    }
}

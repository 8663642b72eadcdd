//! The closed list of what a pickle may call, and the storages it may name. The decision: each row builds inert data
//! here, in Rust; no row looks anything up, and everything that is not in the list is refused by name.

use super::{Heap, Node, PickleError, Storage, Tensor, Value};
use crate::dtype::DType;

/// More dimensions than any weight has.
const MAX_DIMS: usize = 32;

/// No constructor looks at more arguments than this.
const MAX_ARGS: usize = 8;

/// Why a call failed; the machine adds the position.
pub(super) enum CallError {
    /// The arguments are not those of the constructor.
    Arguments(&'static str),
    /// No room is left.
    Full,
    /// Passed on as it is.
    Other(PickleError),
}

fn wrong(what: &'static str) -> CallError {
    CallError::Arguments(what)
}

/// Calls `callee` with the tuple `args`.
pub(super) fn call(heap: &mut Heap, callee: Value, args: Value) -> Result<Value, CallError> {
    let Some(Node::Name(name)) = heap.node(callee) else {
        return Err(wrong("a call of something that is not a name"));
    };
    let name = name.clone();
    let args = match heap.node(args) {
        Some(Node::Tuple(args)) => args.iter().take(MAX_ARGS).copied().collect::<Vec<_>>(),
        _ => return Err(wrong("a call without a tuple of arguments")),
    };
    match name.as_str() {
        "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2" => {
            let tensor = rebuild(heap, &args)?;
            heap.add(Node::Tensor(tensor)).ok_or(CallError::Full)
        }
        "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state" => {
            match args.first() {
                Some(&data) if heap.tensor(data).is_some() => Ok(data),
                _ => Err(wrong("a parameter without a tensor")),
            }
        }
        "collections.OrderedDict" => {
            let items = match args.first() {
                None => Vec::new(),
                Some(&pairs) => {
                    pairs_of(heap, pairs).ok_or(wrong("an `OrderedDict` of something else than pairs"))?
                }
            };
            heap.add(Node::Dict(items)).ok_or(CallError::Full)
        }
        "torch.Size" => match args.first() {
            Some(&sizes) if heap.items(sizes).is_some() => Ok(sizes),
            _ => Err(wrong("a `torch.Size` of something else than a tuple")),
        },
        "torch.device" => Ok(Value::Opaque),
        _ => Err(CallError::Other(PickleError::Refused { name })),
    }
}

fn pairs_of(heap: &Heap, value: Value) -> Option<Vec<(Value, Value)>> {
    if let Some(items) = heap.dict(value) {
        return Some(items.to_vec());
    }
    let pair = |&item: &Value| match heap.items(item)? {
        &[key, value] => Some((key, value)),
        _ => None,
    };
    heap.items(value)?.iter().map(pair).collect()
}

/// `(storage, offset, size, stride, …)`.
fn rebuild(heap: &Heap, args: &[Value]) -> Result<Tensor, CallError> {
    let &[storage, Value::Int(offset), size, stride, ..] = args else {
        return Err(wrong("a tensor with too few arguments"));
    };
    let Value::Node(id) = storage else {
        return Err(wrong("a tensor without a storage"));
    };
    if heap.storage(id).is_none() {
        return Err(wrong("a tensor without a storage"));
    }
    let offset = u64::try_from(offset).map_err(|_| wrong("a tensor with a negative offset"))?;
    let shape = counts(heap, size).ok_or(wrong("a tensor with a shape that is no tuple of counts"))?;
    let strides = counts(heap, stride).ok_or(wrong("a tensor with strides that are no tuple of counts"))?;
    if shape.len() != strides.len() {
        return Err(wrong("a tensor with more or fewer strides than dimensions"));
    }
    Ok(Tensor { storage: id, offset, shape, strides })
}

fn counts(heap: &Heap, value: Value) -> Option<Vec<u64>> {
    let items = heap.items(value)?;
    if items.len() > MAX_DIMS {
        return None;
    }
    let count = |item: &Value| match *item {
        Value::Int(n) => u64::try_from(n).ok(),
        _ => None,
    };
    items.iter().map(count).collect()
}

/// The object that a persistent id stands for: always a storage, or the class of a module.
pub(super) fn persistent(heap: &mut Heap, id: Value) -> Result<Value, CallError> {
    let Some(parts) = heap.items(id) else {
        return Err(wrong("a persistent id that is no tuple"));
    };
    match (parts.first().and_then(|&kind| heap.str(kind)), parts) {
        (Some("storage"), &[_, kind, key, _, Value::Int(numel), ref rest @ ..]) => {
            let Some(Node::Name(kind)) = heap.node(kind) else {
                return Err(wrong("a storage without a type"));
            };
            let dtype = storage_dtype(kind).ok_or_else(|| {
                CallError::Other(PickleError::Unsupported { what: format!("it has tensors in a `{kind}`") })
            })?;
            let key = heap.str(key).ok_or(wrong("a storage without a key"))?.to_owned();
            let numel = u64::try_from(numel).map_err(|_| wrong("a storage of negative size"))?;
            let view = match rest.first() {
                None | Some(Value::None) => None,
                Some(&view) => {
                    Some(view_of(heap, view).ok_or(wrong("a storage with a view that is no triple"))?)
                }
            };
            heap.add(Node::Storage(Storage { key, dtype, numel, view })).ok_or(CallError::Full)
        }
        // `('module', class, source file, source)`: the class is a name, and calling it will be refused.
        (Some("module"), &[_, class, ..]) => Ok(class),
        _ => Err(wrong("a persistent id that is no storage")),
    }
}

fn view_of(heap: &Heap, view: Value) -> Option<(u64, u64)> {
    match heap.items(view)? {
        &[_, Value::Int(offset), Value::Int(numel)] => {
            Some((u64::try_from(offset).ok()?, u64::try_from(numel).ok()?))
        }
        _ => None,
    }
}

fn storage_dtype(name: &str) -> Option<DType> {
    let kind = name
        .strip_prefix("torch.storage.")
        .or_else(|| name.strip_prefix("torch.cuda."))
        .or_else(|| name.strip_prefix("torch."))?;
    match kind {
        "FloatStorage" => Some(DType::F32),
        "DoubleStorage" => Some(DType::F64),
        "HalfStorage" => Some(DType::F16),
        "BFloat16Storage" => Some(DType::BF16),
        "LongStorage" => Some(DType::I64),
        "IntStorage" => Some(DType::I32),
        "ShortStorage" => Some(DType::I16),
        "CharStorage" => Some(DType::I8),
        "ByteStorage" | "UntypedStorage" => Some(DType::U8),
        "BoolStorage" => Some(DType::Bool),
        _ => None,
    }
}

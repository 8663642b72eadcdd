//! The rows of the table that nets of texts need beside those of images: tables, masks, attention, integers.
//!
//! The decision behind it: lengths are open, so no shape of a recording is written as a constant here.

use super::lower::{Args, Lowering};
use super::ops::{Done, cut, reshape_to, unary};
use super::proto::{Attribute, TensorProto};

/// Added to the scores of later tokens, as to those of what fills up.
const MASKED: f64 = -1e9;

/// ONNX's number for one of libtorch's kinds.
fn element(args: Args<'_>, kind: Option<&str>) -> Result<i64, crate::error::ExportError> {
    match kind {
        Some("Float") => Ok(TensorProto::FLOAT.into()),
        Some("Long") => Ok(TensorProto::INT64.into()),
        Some("Bool") => Ok(TensorProto::BOOL.into()),
        other => args.refuse(format!("makes numbers of kind {}", other.unwrap_or("unknown"))),
    }
}

/// `scaled_dot_product_attention(q, k, v, mask, dropout, causal, scale, grouped)` on `[N, heads, T, d]`:
/// `softmax(q · kᵀ · scale + mask) · v`.
pub(super) fn attention<'g>(to: &mut Lowering<'g>, args: Args<'g>) -> Done {
    if args.float(4)? != 0.0 || (args.len() > 7 && args.bool(7)?) {
        return args.refuse("has dropout or grouped queries");
    }
    if !args.is_none(3) && to.kind(args, 3) != Some("Float") {
        return args.refuse("has a mask that is not added to the scores");
    }
    let shape = to.shape(args, 0)?;
    let &[_, _, _, width] = shape else {
        return args.refuse(format!("has queries of shape {shape:?}, expected four dimensions"));
    };
    let scale = if args.is_none(6) { 1.0 / (width as f64).sqrt() } else { args.float(6)? };
    let scale = to.scalar(scale);
    let (q, k, v) = (to.tensor(args, 0)?, to.tensor(args, 1)?, to.tensor(args, 2)?);
    let q = to.step("Mul", &[&q, &scale], Vec::new());
    let k = to.step("Transpose", &[&k], vec![Attribute::ints("perm", &[0, 1, 3, 2])]);
    let mut scores = to.step("MatMul", &[&q, &k], Vec::new());
    if !args.is_none(3) {
        let mask = to.tensor(args, 3)?;
        scores = to.step("Add", &[&scores, &mask], Vec::new());
    }
    if args.bool(5)? {
        let (shape, masked) = (to.step("Shape", &[&scores], Vec::new()), to.scalar(MASKED));
        let all = to.step("Expand", &[&masked, &shape], Vec::new());
        let above = to.integer(args, 1)?;
        let later = to.step("Trilu", &[&all, &above], vec![Attribute::int("upper", 1)]);
        scores = to.step("Add", &[&scores, &later], Vec::new());
    }
    let weights = to.step("Softmax", &[&scores], vec![Attribute::int("axis", -1)]);
    to.make(args, "MatMul", &[&weights, &v], Vec::new());
    Ok(())
}

/// `embedding(weight, ids, padding, scale, sparse)`.
pub(super) fn embedding<'g>(to: &mut Lowering<'g>, args: Args<'g>) -> Done {
    let (table, ids) = (to.tensor(args, 0)?, to.tensor(args, 1)?);
    to.make(args, "Gather", &[&table, &ids], vec![Attribute::int("axis", 0)]);
    Ok(())
}

/// `ones_like(input, …)`, `zeros_like(input, …)`.
pub(super) fn filled<'g>(to: &mut Lowering<'g>, args: Args<'g>, value: i64) -> Done {
    let xs = to.tensor(args, 0)?;
    let shape = to.step("Shape", &[&xs], Vec::new());
    let value = match args.node.kind.as_deref() {
        Some("Long") => to.integer(args, value)?,
        Some("Float") => to.scalar(value as f64),
        other => return args.refuse(format!("makes numbers of kind {}", other.unwrap_or("unknown"))),
    };
    to.make(args, "Expand", &[&value, &shape], Vec::new());
    Ok(())
}

/// `cumsum(input, dim, dtype)`.
pub(super) fn cumulated<'g>(to: &mut Lowering<'g>, args: Args<'g>) -> Done {
    if to.kind(args, 0) != args.node.kind.as_deref() {
        return args.refuse("makes another kind of number");
    }
    let (xs, axis) = (to.tensor(args, 0)?, to.integer(args, args.int(1)?)?);
    to.make(args, "CumSum", &[&xs, &axis], Vec::new());
    Ok(())
}

/// `sum(input, dims, keep, dtype)`.
pub(super) fn sum<'g>(to: &mut Lowering<'g>, args: Args<'g>) -> Done {
    if args.len() != 4 {
        return args.refuse("is over all dimensions, those of the batch included");
    }
    let mut xs = to.tensor(args, 0)?;
    let kind = args.node.kind.as_deref();
    if to.kind(args, 0) != kind {
        let kind = element(args, kind)?;
        xs = to.step("Cast", &[&xs], vec![Attribute::int("to", kind)]);
    }
    let axes = to.integers(&args.ints(1)?);
    to.make(args, "ReduceSum", &[&xs, &axes], vec![Attribute::int("keepdims", args.bool(2)?.into())]);
    Ok(())
}

/// `masked_fill(input, mask, value)`.
pub(super) fn masked_fill<'g>(to: &mut Lowering<'g>, args: Args<'g>) -> Done {
    let (xs, mask, value) = (to.tensor(args, 0)?, to.tensor(args, 1)?, to.tensor(args, 2)?);
    to.make(args, "Where", &[&mask, &value, &xs], Vec::new());
    Ok(())
}

/// `gather(input, dim, index, sparse)`.
pub(super) fn gather<'g>(to: &mut Lowering<'g>, args: Args<'g>) -> Done {
    let (xs, index) = (to.tensor(args, 0)?, to.tensor(args, 2)?);
    to.make(args, "GatherElements", &[&xs, &index], vec![Attribute::int("axis", args.int(1)?)]);
    Ok(())
}

/// `expand(input, sizes, implicit)`. A size of -1 is that of the input, which a 1 leaves as it is.
pub(super) fn expand<'g>(to: &mut Lowering<'g>, args: Args<'g>) -> Done {
    let xs = to.tensor(args, 0)?;
    let shape: Vec<i64> = args.ints(1)?.into_iter().map(|n| if n == -1 { 1 } else { n }).collect();
    let shape = to.integers(&shape);
    to.make(args, "Expand", &[&xs, &shape], Vec::new());
    Ok(())
}

/// `unflatten(input, dim, sizes)`, of the last dimension.
pub(super) fn unflatten<'g>(to: &mut Lowering<'g>, args: Args<'g>) -> Done {
    let (dim, sizes) = (args.int(1)?, args.ints(2)?);
    let rank = args.node.shape.as_ref().map_or(0, Vec::len) as i64;
    if dim + sizes.len() as i64 != rank {
        return args.refuse("takes apart another dimension than the last");
    }
    // 0 is what the input has there.
    let shape: Vec<i64> = std::iter::repeat_n(0, dim as usize).chain(sizes).collect();
    reshape_to(to, args, &shape)
}

/// `x · x`.
pub(super) fn square<'g>(to: &mut Lowering<'g>, args: Args<'g>) -> Done {
    let xs = to.tensor(args, 0)?;
    to.make(args, "Mul", &[&xs, &xs], Vec::new());
    Ok(())
}

/// `1 / √x`.
pub(super) fn reciprocal_root<'g>(to: &mut Lowering<'g>, args: Args<'g>) -> Done {
    let xs = to.tensor(args, 0)?;
    let root = to.step("Sqrt", &[&xs], Vec::new());
    to.make(args, "Reciprocal", &[&root], Vec::new());
    Ok(())
}

/// `x / 2 · (1 + tanh(√(2 / π) · (x + 0.044715 x³)))`.
pub(super) fn gelu_tanh<'g>(to: &mut Lowering<'g>, args: Args<'g>) -> Done {
    let xs = to.tensor(args, 0)?;
    let [cubic, root, one, half] =
        [0.044715, (2.0 / std::f64::consts::PI).sqrt(), 1.0, 0.5].map(|n| to.scalar(n));
    let ys = to.step("Mul", &[&xs, &xs], Vec::new());
    let ys = to.step("Mul", &[&ys, &xs], Vec::new());
    let ys = to.step("Mul", &[&ys, &cubic], Vec::new());
    let ys = to.step("Add", &[&xs, &ys], Vec::new());
    let ys = to.step("Mul", &[&ys, &root], Vec::new());
    let ys = to.step("Tanh", &[&ys], Vec::new());
    let ys = to.step("Add", &[&ys, &one], Vec::new());
    let ys = to.step("Mul", &[&xs, &ys], Vec::new());
    to.make(args, "Mul", &[&ys, &half], Vec::new());
    Ok(())
}

/// `to(input, dtype, …)`: the same, or other numbers.
pub(super) fn to_kind<'g>(to: &mut Lowering<'g>, args: Args<'g>) -> Done {
    let (from, kind) = (to.kind(args, 0), args.node.kind.as_deref());
    if from == kind && kind.is_some() {
        return to.pass(args);
    }
    let kind = element(args, kind)?;
    unary(to, args, "Cast", vec![Attribute::int("to", kind)])
}

/// `select(stack(tensors, dim), dim, index)` is one of the tensors.
pub(super) fn stacked<'g>(to: &mut Lowering<'g>, args: Args<'g>, stack: Args<'g>) -> Done {
    if stack.node.op != "aten::stack" || stack.int(1)? != args.int(1)? {
        return args.refuse("takes part of a list");
    }
    let tensors = to.listed(stack, 0)?;
    let place = usize::try_from(args.int(2)?).ok().and_then(|place| tensors.get(place));
    match place {
        Some(&id) => to.rename(args, id),
        None => args.refuse("takes what is not in the list"),
    }
}

/// Part `place` of `chunk(input, parts, dim)`.
pub(super) fn part<'g>(to: &mut Lowering<'g>, args: Args<'g>, place: &str) -> Done {
    let (Some(chunk), Ok(place)) = (to.maker(args, 0), place.parse::<i64>()) else {
        return args.refuse("takes part of a list");
    };
    if chunk.node.op != "aten::chunk" {
        return args.refuse("takes part of a list");
    }
    let whole = to.shape(chunk, 0)?;
    let (parts, dim) = (chunk.int(1)?, chunk.int(2)?);
    let size = whole.get(dim.rem_euclid(whole.len().max(1) as i64) as usize).copied().unwrap_or(0);
    if parts < 1 || size % parts != 0 {
        return args.refuse(format!("takes apart {size} values into {parts} parts of different sizes"));
    }
    let each = size / parts;
    cut(to, args, (chunk, dim), (place * each, (place + 1) * each, 1))
}

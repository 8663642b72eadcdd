//! The table: what each of libtorch's operations is in ONNX.
//!
//! Arguments are numbered as libtorch's schemas have them, given beside each.

use tch::{Kind, Tensor};
use tl_torch::GraphNode;

use super::lower::{Args, Lowering};
use super::proto::Attribute;
use super::texts;
use crate::error::ExportError;

pub(super) type Done = Result<(), ExportError>;

/// libtorch's number for float32.
const FLOAT: i64 = 6;

/// Writes one operation.
pub(super) fn lower<'g>(to: &mut Lowering<'g>, node: &'g GraphNode) -> Done {
    if node.op == "prim::ListConstruct" {
        to.list(node);
        return Ok(());
    }
    let args = to.args(node);
    if let Some(place) = node.op.strip_prefix("prim::ListUnpack/") {
        return texts::part(to, args, place);
    }
    let name = node.op.strip_prefix("aten::").unwrap_or(&node.op);
    // What changes its argument in place makes a new value here: in a recording nothing looks at the old one.
    let name = if name.starts_with('_') { name } else { name.trim_end_matches('_') };
    match name {
        "_convolution" | "conv2d" => convolution(to, args),
        "batch_norm" => batch_norm(to, args),
        "layer_norm" => layer_norm(to, args),
        "linear" => linear(to, args),
        "matmul" => binary(to, args, "MatMul"),
        "scaled_dot_product_attention" => texts::attention(to, args),
        "embedding" => texts::embedding(to, args),
        "ones_like" => texts::filled(to, args, 1),
        "zeros_like" => texts::filled(to, args, 0),
        "cumsum" => texts::cumulated(to, args),
        "sum" => texts::sum(to, args),
        "masked_fill" => texts::masked_fill(to, args),
        "gather" => texts::gather(to, args),
        "expand" => texts::expand(to, args),
        "unflatten" => texts::unflatten(to, args),
        "square" => texts::square(to, args),
        "rsqrt" => texts::reciprocal_root(to, args),
        "logical_not" => unary(to, args, "Not", Vec::new()),
        // What takes elements of these looks at what made them.
        "stack" | "chunk" => {
            to.set_aside(node);
            Ok(())
        }
        "max_pool2d" => max_pool(to, args),
        "avg_pool2d" => average_pool(to, args),
        "adaptive_avg_pool2d" => adaptive_pool(to, args),
        "mean" => mean(to, args),
        "amax" => reduce(to, args, "ReduceMax"),
        "relu" => unary(to, args, "Relu", Vec::new()),
        "sigmoid" => unary(to, args, "Sigmoid", Vec::new()),
        "tanh" => unary(to, args, "Tanh", Vec::new()),
        "neg" => unary(to, args, "Neg", Vec::new()),
        "hardswish" => unary(to, args, "HardSwish", Vec::new()),
        "hardsigmoid" => {
            let attributes = vec![Attribute::float("alpha", 1.0 / 6.0), Attribute::float("beta", 0.5)];
            unary(to, args, "HardSigmoid", attributes)
        }
        "leaky_relu" => {
            let slope = Attribute::float("alpha", args.float(1)?);
            unary(to, args, "LeakyRelu", vec![slope])
        }
        "softmax" => {
            let axis = Attribute::int("axis", args.int(1)?);
            unary(to, args, "Softmax", vec![axis])
        }
        "elu" => elu(to, args),
        "silu" => silu(to, args),
        "gelu" => gelu(to, args),
        "hardtanh" | "clamp" => clip(to, args, !args.is_none(2)),
        "clamp_min" => clip(to, args, false),
        "pow" => binary(to, args, "Pow"),
        "add" => scaled(to, args, "Add", false),
        "sub" => scaled(to, args, "Sub", false),
        "rsub" => scaled(to, args, "Sub", true),
        "mul" => binary(to, args, "Mul"),
        "div" if args.len() == 2 => binary(to, args, "Div"),
        "cat" => concat(to, args),
        "flatten" => flatten(to, args),
        "view" | "reshape" | "_unsafe_view" => reshape(to, args),
        "permute" => permute(to, args),
        "transpose" => transpose(to, args),
        "select" => select(to, args),
        "slice" => slice(to, args),
        "narrow" => narrow(to, args),
        "expand_as" => expand_as(to, args),
        "squeeze" | "unsqueeze" if args.len() == 2 => axes(to, args, name),
        "contiguous" | "detach" | "clone" | "alias" => to.pass(args),
        "to" => texts::to_kind(to, args),
        "dropout" | "feature_dropout" if !args.bool(2)? => to.pass(args),
        _ => args.refuse("has no counterpart here"),
    }
}

pub(super) fn unary<'g>(to: &mut Lowering<'g>, args: Args<'g>, op: &str, attributes: Vec<Attribute>) -> Done {
    let xs = to.tensor(args, 0)?;
    to.make(args, op, &[&xs], attributes);
    Ok(())
}

fn binary<'g>(to: &mut Lowering<'g>, args: Args<'g>, op: &str) -> Done {
    let (a, b) = (to.operand(args, 0)?, to.operand(args, 1)?);
    to.make(args, op, &[&a, &b], Vec::new());
    Ok(())
}

/// `add(a, b, alpha)`: `a + alpha · b`, and the like.
fn scaled<'g>(to: &mut Lowering<'g>, args: Args<'g>, op: &str, reversed: bool) -> Done {
    if args.len() > 2 && args.float(2)? != 1.0 {
        return args.refuse("multiplies one of its arguments");
    }
    let (a, b) = (to.operand(args, 0)?, to.operand(args, 1)?);
    let inputs = if reversed { [&b, &a] } else { [&a, &b] };
    to.make(args, op, &inputs.map(String::as_str), Vec::new());
    Ok(())
}

/// `_convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups, …)`,
/// `conv2d(input, weight, bias, stride, padding, dilation, groups)`.
fn convolution<'g>(to: &mut Lowering<'g>, args: Args<'g>) -> Done {
    let whole = args.node.op == "aten::_convolution";
    if whole && args.bool(6)? {
        return args.refuse("is transposed");
    }
    let kernel = args.weight(1)?.size();
    let [_, _, h, w] = kernel[..] else {
        return args.refuse(format!("has a kernel of shape {kernel:?}, expected two sides"));
    };
    let [top, left] = args.pair(4)?;
    let attributes = vec![
        Attribute::ints("kernel_shape", &[h, w]),
        Attribute::ints("strides", &args.pair(3)?),
        Attribute::ints("pads", &[top, left, top, left]),
        Attribute::ints("dilations", &args.pair(5)?),
        Attribute::int("group", args.int(if whole { 8 } else { 6 })?),
    ];
    let mut inputs = vec![to.tensor(args, 0)?, to.tensor(args, 1)?];
    if !args.is_none(2) {
        inputs.push(to.tensor(args, 2)?);
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    to.make(args, "Conv", &inputs, attributes);
    Ok(())
}

/// `batch_norm(input, weight, bias, mean, var, training, momentum, eps, cudnn)`.
fn batch_norm<'g>(to: &mut Lowering<'g>, args: Args<'g>) -> Done {
    if args.bool(5)? {
        return args.refuse("uses the statistics of the batch");
    }
    let inputs: Result<Vec<String>, _> = (0..5).map(|i| to.tensor(args, i)).collect();
    let inputs = inputs?;
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    to.make(args, "BatchNormalization", &inputs, vec![Attribute::float("epsilon", args.float(7)?)]);
    Ok(())
}

/// `layer_norm(input, shape, weight, bias, eps, cudnn)`.
fn layer_norm<'g>(to: &mut Lowering<'g>, args: Args<'g>) -> Done {
    let axis = -(args.ints(1)?.len() as i64);
    let (xs, weight, bias) = (to.tensor(args, 0)?, to.tensor(args, 2)?, to.tensor(args, 3)?);
    let attributes = vec![Attribute::int("axis", axis), Attribute::float("epsilon", args.float(4)?)];
    to.make(args, "LayerNormalization", &[&xs, &weight, &bias], attributes);
    Ok(())
}

/// `linear(input, weight, bias)`.
fn linear<'g>(to: &mut Lowering<'g>, args: Args<'g>) -> Done {
    let xs = to.tensor(args, 0)?;
    let bias = if args.is_none(2) { None } else { Some(to.tensor(args, 2)?) };
    if args.node.shape.as_ref().is_some_and(|shape| shape.len() == 2) {
        let weight = to.tensor(args, 1)?;
        let mut inputs = vec![xs.as_str(), weight.as_str()];
        inputs.extend(bias.as_deref());
        to.make(args, "Gemm", &inputs, vec![Attribute::int("transB", 1)]);
        return Ok(());
    }
    // A product over the last dimension of anything, which `Gemm` is not.
    let weight = to.transposed(args, 1)?;
    match bias {
        None => to.make(args, "MatMul", &[&xs, &weight], Vec::new()),
        Some(bias) => {
            let ys = to.step("MatMul", &[&xs, &weight], Vec::new());
            to.make(args, "Add", &[&ys, &bias], Vec::new());
        }
    }
    Ok(())
}

/// Kernel, stride (of the kernel's size where there is none) and padding of `pool(input, kernel, stride, padding, …)`.
fn window(args: Args<'_>) -> Result<Vec<Attribute>, ExportError> {
    let kernel = args.pair(1)?;
    let stride = if args.ints(2)?.is_empty() { kernel } else { args.pair(2)? };
    let [top, left] = args.pair(3)?;
    Ok(vec![
        Attribute::ints("kernel_shape", &kernel),
        Attribute::ints("strides", &stride),
        Attribute::ints("pads", &[top, left, top, left]),
    ])
}

/// `max_pool2d(input, kernel, stride, padding, dilation, ceil)`.
fn max_pool<'g>(to: &mut Lowering<'g>, args: Args<'g>) -> Done {
    let mut attributes = window(args)?;
    attributes.push(Attribute::ints("dilations", &args.pair(4)?));
    attributes.push(Attribute::int("ceil_mode", args.bool(5)?.into()));
    unary(to, args, "MaxPool", attributes)
}

/// `avg_pool2d(input, kernel, stride, padding, ceil, count_include_pad, divisor)`.
fn average_pool<'g>(to: &mut Lowering<'g>, args: Args<'g>) -> Done {
    if args.bool(4)? || !args.is_none(6) {
        return args.refuse("has a divisor of its own, or counts windows that do not fit whole");
    }
    let mut attributes = window(args)?;
    attributes.push(Attribute::int("count_include_pad", args.bool(5)?.into()));
    unary(to, args, "AveragePool", attributes)
}

/// `adaptive_avg_pool2d(input, size)`: cell `i` of `n` is the mean from `⌊i · side / n⌋` to `⌈(i + 1) · side / n⌉`.
fn adaptive_pool<'g>(to: &mut Lowering<'g>, args: Args<'g>) -> Done {
    let cells = args.pair(1)?;
    if cells == [1, 1] {
        return unary(to, args, "GlobalAveragePool", Vec::new());
    }
    let shape = to.shape(args, 0)?;
    let &[_, _, height, width] = shape else {
        return args.refuse(format!("has an input of shape {shape:?}, expected maps"));
    };
    if height % cells[0] == 0 && width % cells[1] == 0 {
        let window = [height / cells[0], width / cells[1]];
        let attributes = vec![Attribute::ints("kernel_shape", &window), Attribute::ints("strides", &window)];
        return unary(to, args, "AveragePool", attributes);
    }
    // Windows of different sizes: a product with the matrix of means from either side.
    let (rows, columns) = (to.name("w"), to.name("w"));
    to.keep(args, rows.clone(), &means(cells[0], height))?;
    to.keep(args, columns.clone(), &means(cells[1], width).transpose(0, 1))?;
    let xs = to.tensor(args, 0)?;
    let ys = to.step("MatMul", &[&rows, &xs], Vec::new());
    to.make(args, "MatMul", &[&ys, &columns], Vec::new());
    Ok(())
}

/// `[cells, side]`: what takes the mean of each cell.
fn means(cells: i64, side: i64) -> Tensor {
    let mut values = vec![0f32; (cells * side) as usize];
    for (i, row) in (0..cells).zip(values.chunks_mut(side as usize)) {
        let (first, end) = (i * side / cells, ((i + 1) * side + cells - 1) / cells);
        row[first as usize..end as usize].fill(1.0 / (end - first) as f32);
    }
    Tensor::from_slice(&values).view([cells, side]).to_kind(Kind::Float)
}

/// `mean(input, dims, keep, dtype)`.
fn mean<'g>(to: &mut Lowering<'g>, args: Args<'g>) -> Done {
    if args.len() != 4 {
        return args.refuse("is over all dimensions, images included");
    }
    if !args.is_none(3) && args.int(3)? != FLOAT {
        return args.refuse("makes another kind of number");
    }
    reduce(to, args, "ReduceMean")
}

/// `reduce(input, dims, keep, …)`.
fn reduce<'g>(to: &mut Lowering<'g>, args: Args<'g>, op: &str) -> Done {
    let attributes =
        vec![Attribute::ints("axes", &args.ints(1)?), Attribute::int("keepdims", args.bool(2)?.into())];
    unary(to, args, op, attributes)
}

/// `elu(input, alpha, scale, input_scale)`.
fn elu<'g>(to: &mut Lowering<'g>, args: Args<'g>) -> Done {
    if args.float(2)? != 1.0 || args.float(3)? != 1.0 {
        return args.refuse("is scaled");
    }
    let alpha = Attribute::float("alpha", args.float(1)?);
    unary(to, args, "Elu", vec![alpha])
}

/// `x · sigmoid(x)`.
fn silu<'g>(to: &mut Lowering<'g>, args: Args<'g>) -> Done {
    let xs = to.tensor(args, 0)?;
    let gate = to.step("Sigmoid", &[&xs], Vec::new());
    to.make(args, "Mul", &[&xs, &gate], Vec::new());
    Ok(())
}

/// `gelu(input, approximate)`: `x / 2 · (1 + erf(x / √2))`; opset 17 has no word for it.
fn gelu<'g>(to: &mut Lowering<'g>, args: Args<'g>) -> Done {
    if args.len() > 1 && args.text(1)? == "tanh" {
        return texts::gelu_tanh(to, args);
    }
    let xs = to.tensor(args, 0)?;
    let (root, one, half) = (to.scalar(2f64.sqrt()), to.scalar(1.0), to.scalar(0.5));
    let ys = to.step("Div", &[&xs, &root], Vec::new());
    let ys = to.step("Erf", &[&ys], Vec::new());
    let ys = to.step("Add", &[&ys, &one], Vec::new());
    let ys = to.step("Mul", &[&xs, &ys], Vec::new());
    to.make(args, "Mul", &[&ys, &half], Vec::new());
    Ok(())
}

/// `hardtanh(input, min, max)`, `clamp_min(input, min)`.
fn clip<'g>(to: &mut Lowering<'g>, args: Args<'g>, has_max: bool) -> Done {
    let xs = to.tensor(args, 0)?;
    let mut bound = |i: usize| match to.kind(args, 0) {
        Some("Long") => to.integer(args, args.int(i)?),
        _ => Ok(to.scalar(args.float(i)?)),
    };
    let least = if args.is_none(1) { String::new() } else { bound(1)? };
    let most = if has_max { Some(bound(2)?) } else { None };
    let mut inputs = vec![xs.as_str(), least.as_str()];
    inputs.extend(most.as_deref());
    to.make(args, "Clip", &inputs, Vec::new());
    Ok(())
}

/// `cat(tensors, dim)`.
fn concat<'g>(to: &mut Lowering<'g>, args: Args<'g>) -> Done {
    let inputs: Result<Vec<String>, _> = to.listed(args, 0)?.iter().map(|&id| to.value(args, id)).collect();
    let inputs = inputs?;
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    to.make(args, "Concat", &inputs, vec![Attribute::int("axis", args.int(1)?)]);
    Ok(())
}

/// `flatten(input, start, end)`.
fn flatten<'g>(to: &mut Lowering<'g>, args: Args<'g>) -> Done {
    let (start, end) = (args.int(1)?, args.int(2)?);
    if (start, end) == (1, -1) {
        return unary(to, args, "Flatten", vec![Attribute::int("axis", 1)]);
    }
    match args.node.shape.as_deref() {
        // 0 is what the input has there.
        Some(shape) if start > 0 && shape.len() as i64 == start + 1 => {
            let shape: Vec<i64> = std::iter::repeat_n(0, start as usize).chain([-1]).collect();
            reshape_to(to, args, &shape)
        }
        Some([_, rest @ ..]) if start > 0 && end != -1 => {
            let shape: Vec<i64> = std::iter::once(0).chain(rest.iter().copied()).collect();
            reshape_to(to, args, &shape)
        }
        _ => args.refuse("joins the images of a batch"),
    }
}

/// `view(input, shape)`. The shape is a constant, -1 where the number of images is.
fn reshape<'g>(to: &mut Lowering<'g>, args: Args<'g>) -> Done {
    let shape = args.ints(1)?;
    reshape_to(to, args, &shape)
}

pub(super) fn reshape_to<'g>(to: &mut Lowering<'g>, args: Args<'g>, shape: &[i64]) -> Done {
    let xs = to.tensor(args, 0)?;
    let shape = to.integers(shape);
    to.make(args, "Reshape", &[&xs, &shape], Vec::new());
    Ok(())
}

/// `permute(input, dims)`.
fn permute<'g>(to: &mut Lowering<'g>, args: Args<'g>) -> Done {
    let dims = args.ints(1)?;
    let rank = dims.len() as i64;
    let dims: Vec<i64> = dims.iter().map(|dim| dim.rem_euclid(rank)).collect();
    unary(to, args, "Transpose", vec![Attribute::ints("perm", &dims)])
}

/// `transpose(input, a, b)`.
fn transpose<'g>(to: &mut Lowering<'g>, args: Args<'g>) -> Done {
    let rank = match &args.node.shape {
        Some(shape) if !shape.is_empty() => shape.len() as i64,
        _ => return args.refuse("has dimensions that libtorch does not say"),
    };
    let (a, b) = (args.int(1)?.rem_euclid(rank), args.int(2)?.rem_euclid(rank));
    let mut dims: Vec<i64> = (0..rank).collect();
    dims.swap(a as usize, b as usize);
    unary(to, args, "Transpose", vec![Attribute::ints("perm", &dims)])
}

/// `select(input, dim, index)`.
fn select<'g>(to: &mut Lowering<'g>, args: Args<'g>) -> Done {
    if let Some(stack) = to.maker(args, 0) {
        return texts::stacked(to, args, stack);
    }
    let index = to.name("c");
    to.keep(args, index.clone(), &Tensor::from(args.int(2)?))?;
    let xs = to.tensor(args, 0)?;
    to.make(args, "Gather", &[&xs, &index], vec![Attribute::int("axis", args.int(1)?)]);
    Ok(())
}

/// `slice(input, dim, start, end, step)`.
fn slice<'g>(to: &mut Lowering<'g>, args: Args<'g>) -> Done {
    let start = if args.is_none(2) { 0 } else { args.int(2)? };
    let end = if args.is_none(3) { i64::MAX } else { args.int(3)? };
    cut(to, args, (args, args.int(1)?), (start, end, args.int(4)?))
}

/// `narrow(input, dim, start, length)`.
fn narrow<'g>(to: &mut Lowering<'g>, args: Args<'g>) -> Done {
    let start = args.int(2)?;
    cut(to, args, (args, args.int(1)?), (start, start + args.int(3)?, 1))
}

/// Part of argument 0 of `from`.
pub(super) fn cut<'g>(
    to: &mut Lowering<'g>,
    args: Args<'g>,
    (from, dim): (Args<'g>, i64),
    (start, end, step): (i64, i64, i64),
) -> Done {
    let xs = to.tensor(from, 0)?;
    let inputs = [start, end, dim, step].map(|n| to.integers(&[n]));
    let inputs: Vec<&str> = std::iter::once(&xs).chain(&inputs).map(String::as_str).collect();
    to.make(args, "Slice", &inputs, Vec::new());
    Ok(())
}

/// `expand_as(input, other)`.
fn expand_as<'g>(to: &mut Lowering<'g>, args: Args<'g>) -> Done {
    let (xs, other) = (to.tensor(args, 0)?, to.tensor(args, 1)?);
    let shape = to.step("Shape", &[&other], Vec::new());
    to.make(args, "Expand", &[&xs, &shape], Vec::new());
    Ok(())
}

/// `squeeze(input, dim)`, `unsqueeze(input, dim)`.
fn axes<'g>(to: &mut Lowering<'g>, args: Args<'g>, name: &str) -> Done {
    let xs = to.tensor(args, 0)?;
    let axes = to.integers(&args.ints(1)?);
    to.make(args, if name == "squeeze" { "Squeeze" } else { "Unsqueeze" }, &[&xs, &axes], Vec::new());
    Ok(())
}

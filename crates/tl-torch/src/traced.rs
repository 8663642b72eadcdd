//! A net that leaves: recorded in f32, for batches of any size, to be saved for others or read node by node.
//!
//! The decision behind it: what leaves is what libtorch recorded of the net itself, with batch-norm folded and constants
//! computed, and nothing that is fused for this machine. One recording serves every format, so no format can say
//! something else than the net does.

#![expect(unsafe_code, reason = "the seam is a C interface")]

use std::collections::BTreeMap;
use std::ffi::c_char;
use std::path::Path;
use std::ptr::{NonNull, null_mut};

use tch::{Device, Tensor};
use torch_sys::C_tensor;

use crate::error::TorchError;
use crate::frozen::Autocast;
use crate::recording::{CModule, Module, borrowed, pointers};
use crate::seam::check;

#[repr(C)]
struct CGraph {
    _private: [u8; 0],
}

unsafe extern "C" {
    fn tl_graph_of(
        module: *mut CModule,
        examples: *const *mut C_tensor,
        n: usize,
        graph: *mut *mut CGraph,
    ) -> *mut c_char;
    fn tl_graph_text(graph: *const CGraph) -> *const c_char;
    fn tl_graph_tensor(graph: *const CGraph, i: usize) -> *mut C_tensor;
    fn tl_graph_free(graph: *mut CGraph);
}

/// A recorded net in f32.
#[derive(Debug)]
pub struct Traced(Module);

/// What a recorded net does, node by node, in order.
#[derive(Debug)]
pub struct Graph {
    /// The values that are its inputs, and libtorch's name of the kind of each: `Float`, `Long`.
    pub inputs: Vec<(usize, String)>,
    /// The value that is its output.
    pub output: usize,
    /// Values that are constants.
    pub constants: BTreeMap<usize, Constant>,
    /// Each after those whose values it takes.
    pub nodes: Vec<GraphNode>,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphNode {
    /// libtorch's name for it: `aten::relu`. `prim::ListUnpack/1` takes the second element of a list.
    pub op: String,
    /// Values it takes.
    pub inputs: Vec<usize>,
    /// The value it makes.
    pub output: usize,
    /// Shape of that value for the example, if it is a tensor.
    pub shape: Option<Vec<i64>>,
    /// libtorch's name of its kind, if it is a tensor: `Float`, `Long`, `Bool`.
    pub kind: Option<String>,
}

/// A constant of a graph.
#[derive(Debug)]
pub enum Constant {
    /// A tensor.
    Tensor(Tensor),
    /// An integer.
    Int(i64),
    /// A number.
    Float(f64),
    /// Yes or no.
    Bool(bool),
    /// A list of integers.
    Ints(Vec<i64>),
    /// A list of numbers.
    Floats(Vec<f64>),
    /// A word.
    Text(String),
    /// Nothing.
    None,
    /// Something else; libtorch's name of its type.
    Other(String),
}

impl Traced {
    /// Records what `forward` does to `example`. Whatever else `forward` uses is a constant from now on, and must not
    /// require gradients. The batch has any size later if `forward` takes none of its shapes from the batch dimension.
    ///
    /// # Errors
    /// libtorch cannot record it: something requires gradients, or the output does not depend on the input.
    pub fn record(example: &Tensor, forward: impl FnOnce(&Tensor) -> Tensor) -> Result<Self, TorchError> {
        let _f32 = Autocast::bf16(false, Device::Cpu);
        Module::record(example, forward).map(Self)
    }

    /// The same of several inputs, each with the name of its argument.
    ///
    /// # Errors
    /// As [`Traced::record`]; a name holds a zero byte.
    pub fn record_named(
        examples: &[(&str, &Tensor)],
        forward: impl FnOnce(&[Tensor]) -> Tensor,
    ) -> Result<Self, TorchError> {
        let _f32 = Autocast::bf16(false, Device::Cpu);
        let examples: Vec<_> = examples.iter().map(|(name, example)| (Some(*name), *example)).collect();
        Module::record_named(&examples, forward).map(Self)
    }

    /// Reads a file that [`Traced::save`] or `torch.jit.save` wrote, and the text in it under `name`; it is empty where
    /// there is none.
    ///
    /// # Errors
    /// The file is missing, cut short or of a newer version of libtorch.
    pub fn load(path: &Path, name: &str) -> Result<(Self, String), TorchError> {
        let (module, text) = Module::load(path, name)?;
        Ok((Self(module), text))
    }

    /// Runs it without gradients.
    ///
    /// # Errors
    /// The input does not fit.
    pub fn run(&self, input: &Tensor) -> Result<Tensor, TorchError> {
        self.0.run(input)
    }

    /// The same of several inputs, in the order in which they were recorded.
    ///
    /// # Errors
    /// The inputs do not fit.
    pub fn run_all(&self, inputs: &[&Tensor]) -> Result<Tensor, TorchError> {
        self.0.run_all(inputs)
    }

    /// Writes it as TorchScript, with a text in it under `name`. What is at `path` is written over; the bytes are a
    /// function of net and text.
    ///
    /// # Errors
    /// The disk refuses; the path is not UTF-8.
    pub fn save(&self, path: &Path, name: &str, text: &str) -> Result<(), TorchError> {
        self.0.save(path, (name, text))
    }

    /// What it does, with the shapes that it makes of the examples, one for each input. Runs it once.
    ///
    /// # Errors
    /// There are nodes with several outputs or with graphs of their own; the examples do not fit.
    pub fn graph(&self, examples: &[&Tensor]) -> Result<Graph, TorchError> {
        let (examples, mut graph) = (pointers(examples.iter().copied()), null_mut());
        // SAFETY: module and tensors are alive, and `graph` is a place for a pointer.
        check(unsafe { tl_graph_of(self.0.as_ptr(), examples.as_ptr(), examples.len(), &raw mut graph) })?;
        let graph = NonNull::new(graph).map(Held).ok_or_else(|| odd("it is empty"))?;
        graph.read()
    }
}

/// A graph of the seam.
struct Held(NonNull<CGraph>);

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: the graph is ours and goes once.
        unsafe { tl_graph_free(self.0.as_ptr()) };
    }
}

impl Held {
    fn read(&self) -> Result<Graph, TorchError> {
        // SAFETY: the graph is alive, and keeps its text as long.
        let text = borrowed(unsafe { tl_graph_text(self.0.as_ptr()) });
        let mut graph =
            Graph { inputs: Vec::new(), output: 0, constants: BTreeMap::new(), nodes: Vec::new() };
        for line in text.lines() {
            self.read_line(line, &mut graph).ok_or_else(|| odd(line))?;
        }
        Ok(graph)
    }

    /// Nothing if the line is none of ours.
    fn read_line(&self, line: &str, graph: &mut Graph) -> Option<()> {
        let mut words = line.splitn(6, '\t');
        let (kind, id) = (words.next()?, words.next()?.parse().ok()?);
        let constant = match kind {
            "input" => {
                graph.inputs.push((id, words.next()?.to_owned()));
                return Some(());
            }
            "output" => {
                graph.output = id;
                return Some(());
            }
            "node" => {
                let (op, shape) = (words.next()?.to_owned(), words.next()?);
                let shape = if shape == "?" { None } else { Some(list(shape)?) };
                let kind = words.next().filter(|kind| *kind != "?").map(str::to_owned);
                let inputs = list(words.next()?)?;
                graph.nodes.push(GraphNode { op, inputs, output: id, shape, kind });
                return Some(());
            }
            "none" => Constant::None,
            "bool" => Constant::Bool(words.next()? == "1"),
            "int" => Constant::Int(words.next()?.parse().ok()?),
            "float" => Constant::Float(words.next()?.parse().ok()?),
            "text" => Constant::Text(words.next()?.to_owned()),
            "ints" => Constant::Ints(list(words.next()?)?),
            "floats" => Constant::Floats(list(words.next()?)?),
            "other" => Constant::Other(words.next()?.to_owned()),
            "tensor" => {
                let i = words.next()?.parse().ok()?;
                // SAFETY: the graph is alive; what comes back is null or a tensor that is ours.
                let tensor = NonNull::new(unsafe { tl_graph_tensor(self.0.as_ptr(), i) })?;
                // SAFETY: as above.
                Constant::Tensor(unsafe { Tensor::from_ptr(tensor.as_ptr()) })
            }
            _ => return None,
        };
        graph.constants.insert(id, constant);
        Some(())
    }
}

/// Items between commas; nothing if one of them is none.
fn list<T: std::str::FromStr>(text: &str) -> Option<Vec<T>> {
    text.split(',').filter(|item| !item.is_empty()).map(|item| item.parse().ok()).collect()
}

fn odd(what: &str) -> TorchError {
    TorchError::Torch(format!("the recorded graph cannot be read: {what}"))
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    fn batch(n: i64) -> Tensor {
        let values = crate::uniform(1, "x", (n * 3 * 8 * 8) as usize, 1.0);
        Tensor::from_slice(&values).view([n, 3, 8, 8])
    }

    fn traced(weight: &Tensor) -> Traced {
        let forward = |xs: &Tensor| {
            let ys = xs.conv2d(weight, None::<Tensor>, [1, 1], [1, 1], [1, 1], 1).relu_();
            ys.mean_dim(&[2_i64, 3][..], false, None::<Kind>)
        };
        Traced::record(&batch(2), forward).unwrap()
    }

    #[test]
    fn a_saved_net_comes_back_for_any_batch_with_its_text() {
        let weight = Tensor::from_slice(&crate::uniform(2, "w", 108, 0.5)).view([4, 3, 3, 3]);
        let (dir, net) = (tempfile::tempdir().unwrap(), traced(&weight));
        let path = dir.path().join("net.pt");
        net.save(&path, "about.json", "{\"é\": 1}").unwrap();
        let (loaded, text) = Traced::load(&path, "about.json").unwrap();
        assert_eq!(text, "{\"é\": 1}");
        for n in [1, 3] {
            let (expected, got) = (net.run(&batch(n)).unwrap(), loaded.run(&batch(n)).unwrap());
            assert_eq!(got.size(), [n, 4]);
            assert!(got.equal(&expected));
        }
        let again = dir.path().join("again.pt");
        net.save(&again, "about.json", "{\"é\": 1}").unwrap();
        assert!(
            std::fs::read(&path).unwrap() == std::fs::read(&again).unwrap(),
            "a function of net and text"
        );

        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&again, &whole[..whole.len() / 2]).unwrap();
        for (path, reason) in
            [(again, "PytorchStreamReader"), (dir.path().join("none.pt"), "open file failed")]
        {
            let error = Traced::load(&path, "about.json").unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_graph_says_what_the_net_does() {
        let weight = Tensor::from_slice(&crate::uniform(2, "w", 108, 0.5)).view([4, 3, 3, 3]);
        let graph = traced(&weight).graph(&[&batch(3)]).unwrap();
        let ops: Vec<&str> = graph.nodes.iter().map(|node| node.op.as_str()).collect();
        assert_eq!(ops, ["aten::_convolution", "aten::relu_", "aten::mean", "aten::to"]);
        let [conv, _, mean, to] = &graph.nodes[..] else { unreachable!() };
        assert_eq!(
            (conv.inputs[0], to.output, mean.shape.as_deref()),
            (graph.inputs[0].0, graph.output, Some(&[3, 4][..]))
        );
        assert!(matches!(&graph.constants[&conv.inputs[1]], Constant::Tensor(w) if w.equal(&weight)));
        assert!(matches!(&graph.constants[&mean.inputs[1]], Constant::Ints(dims) if *dims == [2, 3]));
    }

    /// Two inputs of any size, integers among them, and a list that is taken apart.
    #[test]
    fn a_net_of_several_inputs_has_open_sizes_and_named_arguments() {
        let table = Tensor::from_slice(&crate::uniform(3, "t", 40, 1.0)).view([10, 4]);
        let forward = |inputs: &[Tensor]| {
            let rows = Tensor::embedding(&table, &inputs[0], -1, false, false);
            let parts = rows.chunk(2, -1);
            let kept = (&parts[1] - &parts[0]) * inputs[1].unsqueeze(2);
            kept.unflatten(2, [2, -1]).transpose(1, 2).flatten(2, 3).sum_dim_intlist(2, false, None::<Kind>)
        };
        let inputs = |n: i64, t: i64| {
            let ids = Tensor::arange(n * t, (Kind::Int64, Device::Cpu)).remainder(10).view([n, t]);
            let weights = Tensor::from_slice(&crate::uniform(4, "m", (n * t) as usize, 1.0)).view([n, t]);
            [ids, weights]
        };
        let [ids, weights] = inputs(2, 3);
        let net = Traced::record_named(&[("ids", &ids), ("weights", &weights)], forward).unwrap();
        for (n, t) in [(1, 1), (3, 7)] {
            let inputs = inputs(n, t);
            let got = net.run_all(&inputs.each_ref()).unwrap();
            assert!(got.equal(&forward(&inputs)), "{n} x {t}");
        }
        let graph = net.graph(&[&ids, &weights]).unwrap();
        let kinds: Vec<&str> = graph.inputs.iter().map(|(_, kind)| kind.as_str()).collect();
        assert_eq!(kinds, ["Long", "Float"]);
        let items: Vec<_> =
            graph.nodes.iter().filter(|node| node.op.starts_with("prim::ListUnpack/")).collect();
        assert_eq!((items.len(), items[1].shape.as_deref()), (2, Some(&[2, 3, 2][..])));
        assert!(net.graph(&[&ids]).is_err() && net.run(&ids).is_err());
        assert!(Traced::record_named(&[("i\0", &ids)], |inputs| inputs[0].shallow_clone()).is_err());
    }
}

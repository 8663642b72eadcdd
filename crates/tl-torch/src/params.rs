//! A net's parameters and buffers: an ordered list of named tensors with roles.
//!
//! Layers hold shallow clones of the tensors; the store is where they are found by name, for loading, freezing,
//! optimizing and saving. Names are the published ones (`blocks.0.0.conv_dw.weight`).

use std::cell::RefCell;
use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use crate::error::TorchError;
use crate::layout::channels_last;
use crate::random::uniform;

/// What a tensor is for; decides weight decay and whether it can train at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A kernel or matrix.
    Weight,
    /// A bias.
    Bias,
    /// Scale or shift of a batch-norm.
    Norm,
    /// Whatever else trains with its layer and has no weight decay: layer norms, layer scales, position embeddings.
    Undecayed,
    /// A matrix of a low-rank adapter, which trains beside a weight that stays. Decayed as a weight is.
    Adapter,
    /// A weight, bias or norm that stays as it is in every phase: that of a net with adapters.
    Fixed,
    /// Running statistics: never trained by gradients.
    Buffer,
}

/// How a new parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All zero.
    Zeros,
    /// All one.
    Ones,
    /// Uniform in `±sqrt(gain² · 3 / fan_in)`: He et al. 2015 (arXiv:1502.01852) with `gain = √2`;
    /// PyTorch's default for linear layers with `gain = 1/√3`.
    FanIn {
        /// The gain of the non-linearity.
        gain: f64,
        /// Inputs of one output unit.
        fan_in: i64,
    },
    /// Uniform in `±sqrt(6 / (fan_in + fan_out))`: Glorot and Bengio 2010, the default of Keras's dense layers.
    Glorot {
        /// Inputs of one output unit.
        fan_in: i64,
        /// Outputs of one input unit.
        fan_out: i64,
    },
}

/// Whether initial values are drawn, or left at zero because a file will supply them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Draw values from this seed.
    Seed(u64),
    /// Zeros (ones for norms): weights are about to be loaded over them.
    Later,
    /// Shapes alone: zeros that share one value in memory. For looking at a net; its tensors cannot be written to.
    Shapes,
}

/// A named tensor of a net.
#[derive(Debug)]
pub struct Param {
    /// The published name.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// The value; shares memory with the layer that uses it.
    pub tensor: Tensor,
}

/// All parameters and buffers of a net, in the order of their definition.
#[derive(Debug)]
pub struct ParamStore {
    params: Vec<Param>,
    index: BTreeMap<String, usize>,
}

#[derive(Debug)]
struct Building {
    params: Vec<Param>,
    values: Values,
}

/// Where the values of a net that is being built come from.
#[derive(Debug)]
enum Values {
    New(Device, Fill),
    /// Those of another net of the same definition, the next one first.
    Shared(std::vec::IntoIter<Tensor>),
}

/// A place in the tree of names, to define parameters under.
#[derive(Debug)]
pub struct Scope<'a> {
    building: &'a RefCell<Building>,
    prefix: String,
}

impl ParamStore {
    /// Runs `define` with the root of the names and collects what it defines.
    ///
    /// # Errors
    /// When two parameters have one name.
    pub fn build<T>(
        device: Device,
        fill: Fill,
        define: impl FnOnce(&Scope<'_>) -> T,
    ) -> Result<(T, Self), TorchError> {
        Self::collect(Values::New(device, fill), define)
    }

    /// Runs the `define` that this store was built by once more, and gives what it defines the values of this one: memory
    /// and all, while gradients are its own. Whoever computes with the two in different threads may read from both, and
    /// must write to neither meanwhile.
    ///
    /// # Errors
    /// It defines other names or shapes than it did.
    pub fn twin<T>(&self, define: impl FnOnce(&Scope<'_>) -> T) -> Result<(T, Self), TorchError> {
        let values: Vec<_> = self.params.iter().map(|param| param.tensor.detach()).collect();
        let (net, store) = Self::collect(Values::Shared(values.into_iter()), define)?;
        for (own, twin) in self.params.iter().zip(&store.params) {
            let (expected, got) = (own.tensor.size(), twin.tensor.size());
            if own.name != twin.name {
                return Err(TorchError::Unknown { name: twin.name.clone() });
            } else if expected != got {
                return Err(TorchError::Shape { name: twin.name.clone(), expected, got });
            }
        }
        let (own, twin) = (self.params.len(), store.params.len());
        match self.params.get(twin).or(store.params.get(own)) {
            Some(more) => Err(TorchError::Unknown { name: more.name.clone() }),
            None => Ok((net, store)),
        }
    }

    fn collect<T>(values: Values, define: impl FnOnce(&Scope<'_>) -> T) -> Result<(T, Self), TorchError> {
        let building = RefCell::new(Building { params: Vec::new(), values });
        let net = define(&Scope { building: &building, prefix: String::new() });
        let params = building.into_inner().params;
        let mut index = BTreeMap::new();
        for (i, param) in params.iter().enumerate() {
            if index.insert(param.name.clone(), i).is_some() {
                return Err(TorchError::Duplicate { name: param.name.clone() });
            }
        }
        Ok((net, Self { params, index }))
    }

    /// All of them, in order of definition.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Param> {
        self.params.iter()
    }

    /// The tensors at these places in the order of definition.
    #[must_use]
    pub fn slice(&self, range: std::ops::Range<usize>) -> &[Param] {
        &self.params[range]
    }

    /// The parameter of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Param> {
        self.index.get(name).map(|&i| &self.params[i])
    }

    /// Overwrites a value, keeping the parameter's dtype, device and layout.
    ///
    /// # Errors
    /// Unknown name, other shape.
    pub fn set(&self, name: &str, value: &Tensor) -> Result<(), TorchError> {
        let param = self.get(name).ok_or_else(|| TorchError::Unknown { name: name.to_owned() })?;
        if param.tensor.size() != value.size() {
            let (expected, got) = (param.tensor.size(), value.size());
            return Err(TorchError::Shape { name: name.to_owned(), expected, got });
        }
        tch::no_grad(|| param.tensor.shallow_clone().f_copy_(value))?;
        Ok(())
    }

    /// Overwrites values from the one at `start` on, in row-major order, so that a large matrix need never be in memory
    /// twice.
    ///
    /// # Errors
    /// Unknown name, more values than there are, a tensor that is not row-major in memory.
    pub fn set_part(&self, name: &str, start: usize, values: &[f32]) -> Result<(), TorchError> {
        let param = self.get(name).ok_or_else(|| TorchError::Unknown { name: name.to_owned() })?;
        let (start, n) = (start as i64, values.len() as i64);
        tch::no_grad(|| {
            let flat = param.tensor.f_view([-1])?;
            flat.f_narrow(0, start, n)?.f_copy_(&Tensor::from_slice(values))
        })?;
        Ok(())
    }

    /// Makes [`Role::Fixed`] of all that could train and is not an adapter.
    pub fn fix_all_but_adapters(&mut self) {
        for param in self.params.iter_mut().filter(|p| !matches!(p.role, Role::Adapter | Role::Buffer)) {
            param.role = Role::Fixed;
        }
    }

    /// A copy of every tensor's value, by name.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<String, Tensor> {
        tch::no_grad(|| self.params.iter().map(|p| (p.name.clone(), p.tensor.copy())).collect())
    }

    /// Number of values in parameters (buffers not counted).
    #[must_use]
    pub fn count(&self) -> usize {
        self.params.iter().filter(|p| p.role != Role::Buffer).map(|p| p.tensor.numel()).sum()
    }
}

impl Scope<'_> {
    /// The scope `name` below this one.
    #[must_use]
    pub fn sub(&self, name: impl std::fmt::Display) -> Scope<'_> {
        Scope { building: self.building, prefix: self.full(name) }
    }

    /// Defines a tensor here and returns it; it does not require gradients until a phase says so.
    pub fn param(&self, name: &str, shape: &[i64], role: Role, init: Init) -> Tensor {
        let name = self.full(name);
        let mut building = self.building.borrow_mut();
        let tensor = match &mut building.values {
            Values::New(device, with) => fill(&name, shape, init, *with, *device),
            // What is defined otherwise is found when all of it is there.
            Values::Shared(values) => match values.next() {
                Some(value) if value.size() == shape => value,
                _ => fill(&name, shape, init, Fill::Shapes, Device::Cpu),
            },
        };
        building.params.push(Param { name, role, tensor: tensor.shallow_clone() });
        tensor
    }

    /// The full name of this place.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.prefix
    }

    /// How many tensors the net has defined so far.
    #[must_use]
    pub fn defined(&self) -> usize {
        self.building.borrow().params.len()
    }

    fn full(&self, name: impl std::fmt::Display) -> String {
        if self.prefix.is_empty() { name.to_string() } else { format!("{}.{name}", self.prefix) }
    }
}

fn fill(name: &str, shape: &[i64], init: Init, fill: Fill, device: Device) -> Tensor {
    if fill == Fill::Shapes {
        return Tensor::zeros([1], (Kind::Float, device)).expand(shape, false);
    }
    let bound = match init {
        Init::Ones => return Tensor::ones(shape, (Kind::Float, device)),
        Init::Zeros => return Tensor::zeros(shape, (Kind::Float, device)),
        Init::FanIn { gain, fan_in } => gain * (3.0 / fan_in as f64).sqrt(),
        Init::Glorot { fan_in, fan_out } => (6.0 / (fan_in + fan_out) as f64).sqrt(),
    };
    let values = match fill {
        Fill::Seed(seed) => {
            let n = shape.iter().product::<i64>() as usize;
            Tensor::from_slice(&uniform(seed, name, n, bound)).view(shape).to_device(device)
        }
        Fill::Later | Fill::Shapes => Tensor::zeros(shape, (Kind::Float, device)),
    };
    channels_last(&values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_layers(scope: &Scope<'_>) -> Tensor {
        let fc = scope.sub("fc");
        let _ = fc.param("bias", &[3], Role::Bias, Init::Zeros);
        fc.param("weight", &[3, 4], Role::Weight, Init::Glorot { fan_in: 4, fan_out: 3 })
    }

    #[test]
    fn layers_and_store_share_memory() {
        let (weight, store) = ParamStore::build(Device::Cpu, Fill::Seed(1), two_layers).unwrap();
        store.set("fc.weight", &Tensor::ones([3, 4], (Kind::Float, Device::Cpu))).unwrap();
        assert_eq!(weight.sum(Kind::Float).double_value(&[]), 12.0);
        assert_eq!(store.count(), 15);
        assert_eq!(store.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["fc.bias", "fc.weight"]);
    }

    #[test]
    fn a_twin_shares_values_and_has_its_own_gradients() {
        let (weight, store) = ParamStore::build(Device::Cpu, Fill::Seed(1), two_layers).unwrap();
        let (twin, shared) = store.twin(two_layers).unwrap();
        assert!(twin.equal(&weight) && shared.get("fc.weight").unwrap().role == Role::Weight);
        store.set("fc.weight", &Tensor::ones([3, 4], (Kind::Float, Device::Cpu))).unwrap();
        assert_eq!(twin.sum(Kind::Float).double_value(&[]), 12.0);
        let _ = twin.set_requires_grad(true);
        twin.sum(Kind::Float).backward();
        assert!(twin.grad().defined() && !weight.requires_grad() && !weight.grad().defined());
        let three =
            |scope: &Scope<'_>| (two_layers(scope), scope.param("more", &[1], Role::Bias, Init::Zeros));
        let error = store.twin(three).unwrap_err();
        assert!(error.to_string().contains("`more`"), "{error}");
        assert!(store.twin(|_| ()).is_err());
        let other = |scope: &Scope<'_>| {
            let fc = scope.sub("fc");
            let _ = fc.param("bias", &[3], Role::Bias, Init::Zeros);
            fc.param("weight", &[4, 3], Role::Weight, Init::Zeros)
        };
        let error = store.twin(other).unwrap_err();
        assert_eq!(error.to_string(), "parameter `fc.weight` has shape [3, 4], the tensor given has [4, 3]");
    }

    #[test]
    fn refuses_duplicates_unknown_names_and_other_shapes() {
        let twice = |scope: &Scope<'_>| (two_layers(scope), two_layers(scope));
        let error = ParamStore::build(Device::Cpu, Fill::Later, twice).unwrap_err();
        assert_eq!(error.to_string(), "parameter `fc.bias` is defined twice");
        let (_, store) = ParamStore::build(Device::Cpu, Fill::Later, two_layers).unwrap();
        let ones = Tensor::ones([4, 3], (Kind::Float, Device::Cpu));
        let error = store.set("fc.weight", &ones).unwrap_err();
        assert_eq!(error.to_string(), "parameter `fc.weight` has shape [3, 4], the tensor given has [4, 3]");
        assert!(store.set("fc.gamma", &ones).is_err());
    }

    #[test]
    fn a_double_file_does_not_change_the_dtype() {
        let (weight, store) = ParamStore::build(Device::Cpu, Fill::Later, two_layers).unwrap();
        store.set("fc.weight", &Tensor::ones([3, 4], (Kind::Double, Device::Cpu))).unwrap();
        assert_eq!(weight.kind(), Kind::Float);
    }
}

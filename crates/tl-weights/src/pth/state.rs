//! From the object of a checkpoint to a flat list of named tensors. The decision: what training loops wrap around a
//! state dict is undone here (one of a few keys, nested dicts, the `module.` of `DataParallel`), and everything that
//! is no tensor is left out without a word.

use std::collections::BTreeMap;

use crate::pickle::{Heap, Tensor, Value};

/// Under which a checkpoint may keep its weights, best first.
const WRAPPERS: [&str; 5] = ["state_dict", "model_state_dict", "model", "state_dict_ema", "module"];
/// Dicts within dicts; also ends cycles.
const MAX_DEPTH: usize = 8;
/// More tensors, and more bytes of names, than any net has. Bounds what shared dicts can be blown up to.
const MAX_TENSORS: usize = 1 << 20;
const MAX_NAMES: usize = 1 << 26;
/// Most dict entries looked at.
const MAX_VISITED: usize = 1 << 23;

/// A checkpoint is larger than any net.
pub(super) struct TooLarge;

/// All tensors of `root`, each with its name.
pub(super) fn tensors(heap: &Heap, root: Value) -> Result<Vec<(String, &Tensor)>, TooLarge> {
    let mut walk = Walk { heap, found: Vec::new(), names: 0, visited: 0 };
    walk.dict(unwrapped(heap, root), "", 0)?;
    // In Python, too, the last of two equal keys counts.
    let mut found: Vec<(String, &Tensor)> = Vec::with_capacity(walk.found.len());
    let mut by_name = BTreeMap::new();
    for (name, tensor) in walk.found {
        match by_name.insert(name.clone(), found.len()) {
            Some(earlier) => {
                by_name.insert(name, earlier);
                found[earlier].1 = tensor;
            }
            None => found.push((name, tensor)),
        }
    }
    if !found.is_empty() && found.iter().all(|(name, _)| name.starts_with("module.")) {
        for (name, _) in &mut found {
            name.drain(.."module.".len());
        }
    }
    Ok(found)
}

/// The state dict inside of the dict of a checkpoint.
fn unwrapped(heap: &Heap, mut root: Value) -> Value {
    for _ in 0..MAX_DEPTH {
        let inner = |wrapper: &&str| {
            let entry = heap.dict(root)?.iter().rev().find(|&&(key, _)| heap.str(key) == Some(*wrapper));
            entry.map(|&(_, value)| value).filter(|&value| has_tensor(heap, value))
        };
        match WRAPPERS.iter().find_map(inner) {
            Some(value) => root = value,
            None => break,
        }
    }
    root
}

/// Whether `value` is a dict that has a tensor, or a dict that has one, among the entries that are looked at.
fn has_tensor(heap: &Heap, value: Value) -> bool {
    let items = |value| heap.dict(value).unwrap_or_default().iter().map(|&(_, inner)| inner);
    let inner = items(value).chain(items(value).flat_map(items));
    inner.take(MAX_VISITED).any(|value| heap.tensor(value).is_some())
}

struct Walk<'a> {
    heap: &'a Heap,
    found: Vec<(String, &'a Tensor)>,
    names: usize,
    visited: usize,
}

impl Walk<'_> {
    fn dict(&mut self, dict: Value, prefix: &str, depth: usize) -> Result<(), TooLarge> {
        let Some(items) = self.heap.dict(dict).filter(|_| depth < MAX_DEPTH) else {
            return Ok(());
        };
        for &(key, value) in items {
            self.visited += 1;
            if self.visited > MAX_VISITED {
                return Err(TooLarge);
            }
            let Some(key) = self.heap.str(key) else { continue };
            let tensor = self.heap.tensor(value);
            if tensor.is_none() && self.heap.dict(value).is_none() {
                continue;
            }
            self.names += prefix.len() + key.len() + 1;
            if self.names > MAX_NAMES || self.found.len() >= MAX_TENSORS {
                return Err(TooLarge);
            }
            let name = if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") };
            match tensor {
                Some(tensor) => self.found.push((name, tensor)),
                None => self.dict(value, &name, depth + 1)?,
            }
        }
        Ok(())
    }
}

//! The interpreter loop: one arm per opcode of pickle protocols 0 to 5. The decision: opcodes that only move data are
//! all there, those that look up or build objects end in [`calls`] or in a refusal, and no arm recurses.

use std::collections::BTreeMap;
use std::io::Read;

use super::calls::{self, CallError};
use super::{Heap, Node, PickleError, Source, Value};

/// Longest string kept; longer ones (a configuration saved beside the weights) are passed over.
const MAX_STR: u64 = 1 << 20;
/// Longest line of a protocol-0 opcode.
const MAX_LINE: usize = 1 << 16;
/// Most values on the stack: `APPENDS` and `SETITEMS` come in batches of a thousand.
const MAX_STACK: usize = 1 << 20;
/// Memory of one memo entry, roughly.
const MEMO_COST: usize = 48;

struct Machine<'a, R> {
    source: &'a mut Source<R>,
    heap: &'a mut Heap,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: BTreeMap<u64, Value>,
    /// Where the opcode in hand began.
    at: u64,
}

/// Reads one pickle and leaves `source` just behind it.
pub(crate) fn run<R: Read>(source: &mut Source<R>, heap: &mut Heap) -> Result<Value, PickleError> {
    let at = source.at();
    let mut machine =
        Machine { source, heap, stack: Vec::new(), marks: Vec::new(), memo: BTreeMap::new(), at };
    loop {
        machine.at = machine.source.at();
        let opcode = machine.source.byte()?;
        if opcode == b'.' {
            return machine.pop();
        }
        machine.step(opcode)?;
    }
}

impl<R: Read> Machine<'_, R> {
    fn malformed<T>(&self, what: impl Into<String>) -> Result<T, PickleError> {
        Err(PickleError::Malformed { at: self.at, what: what.into() })
    }

    fn full<T>(&self) -> Result<T, PickleError> {
        self.malformed("more values than tensors need")
    }

    fn push(&mut self, value: Value) -> Result<(), PickleError> {
        if self.stack.len() >= MAX_STACK {
            return self.full();
        }
        self.stack.push(value);
        Ok(())
    }

    fn push_node(&mut self, node: Node) -> Result<(), PickleError> {
        match self.heap.add(node) {
            Some(value) => self.push(value),
            None => self.full(),
        }
    }

    fn pop(&mut self) -> Result<Value, PickleError> {
        // What lies below a mark is out of reach until the mark is taken.
        if self.marks.last().is_none_or(|&mark| self.stack.len() > mark)
            && let Some(value) = self.stack.pop()
        {
            return Ok(value);
        }
        self.malformed("a value is taken from an empty stack")
    }

    fn top(&self) -> Result<Value, PickleError> {
        match self.stack.last() {
            Some(&value) => Ok(value),
            None => self.malformed("a value is read from an empty stack"),
        }
    }

    fn pop_mark(&mut self) -> Result<Vec<Value>, PickleError> {
        match self.marks.pop() {
            Some(mark) if mark <= self.stack.len() => Ok(self.stack.split_off(mark)),
            _ => self.malformed("a mark is missing"),
        }
    }

    fn remember(&mut self, slot: u64) -> Result<(), PickleError> {
        let value = self.top()?;
        if self.memo.insert(slot, value).is_none() && self.heap.spend(MEMO_COST).is_none() {
            return self.full();
        }
        Ok(())
    }

    fn recall(&mut self, slot: u64) -> Result<(), PickleError> {
        match self.memo.get(&slot) {
            Some(&value) => self.push(value),
            None => self.malformed(format!("memo {slot} is read before it is written")),
        }
    }

    fn number(&mut self) -> Result<u64, PickleError> {
        let line = self.source.line(MAX_LINE)?;
        match std::str::from_utf8(&line).ok().and_then(|text| text.trim().parse().ok()) {
            Some(number) => Ok(number),
            None => self.malformed("a number that is none"),
        }
    }

    fn text(&mut self, n: u64) -> Result<(), PickleError> {
        if n > MAX_STR {
            self.source.skip(n)?;
            return self.push(Value::Opaque);
        }
        let bytes = self.source.take(n, MAX_STR)?;
        match String::from_utf8(bytes) {
            Ok(text) => self.push_node(Node::Str(text)),
            // Lone surrogates; no tensor has such a name.
            Err(_) => self.push(Value::Opaque),
        }
    }

    fn opaque(&mut self, n: u64) -> Result<(), PickleError> {
        self.source.skip(n)?;
        self.push(Value::Opaque)
    }

    fn long(&mut self, n: u64) -> Result<(), PickleError> {
        let bytes = self.source.take(n, MAX_STR)?;
        if bytes.len() > 8 {
            return self.push_node(Node::Long(bytes));
        }
        let negative = bytes.last().is_some_and(|&last| last >= 0x80);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        for (to, from) in wide.iter_mut().zip(&bytes) {
            *to = *from;
        }
        self.push(Value::Int(i64::from_le_bytes(wide)))
    }

    fn decimal(&mut self) -> Result<(), PickleError> {
        let line = self.source.line(MAX_LINE)?;
        let text = String::from_utf8_lossy(&line);
        let value = match text.trim().trim_end_matches('L') {
            "00" => Value::Bool(false),
            "01" => Value::Bool(true),
            digits => digits.parse().map_or(Value::Opaque, Value::Int),
        };
        self.push(value)
    }

    fn tuple(&mut self, n: usize) -> Result<(), PickleError> {
        let mut items = Vec::with_capacity(n);
        for _ in 0..n {
            items.push(self.pop()?);
        }
        items.reverse();
        self.push_node(Node::Tuple(items))
    }

    fn name(&mut self, module: &str, name: &str) -> Result<(), PickleError> {
        self.push_node(Node::Name(format!("{module}.{name}")))
    }

    /// Adds to the list on top of the stack; sets are opaque and take anything.
    fn append(&mut self, items: Vec<Value>) -> Result<(), PickleError> {
        let list = self.top()?;
        if self.heap.spend(size_of_val(items.as_slice())).is_none() {
            return self.full();
        }
        match list {
            Value::Opaque => Ok(()),
            Value::Node(id) => match self.heap.nodes.get_mut(id) {
                Some(Node::List(list)) => {
                    list.extend(items);
                    Ok(())
                }
                _ => self.malformed("an item is added to something else than a list"),
            },
            _ => self.malformed("an item is added to something else than a list"),
        }
    }

    fn set_items(&mut self, items: &[Value]) -> Result<(), PickleError> {
        let dict = self.top()?;
        if self.heap.spend(size_of_val(items)).is_none() {
            return self.full();
        }
        let (pairs, rest) = items.as_chunks::<2>();
        if let Value::Node(id) = dict
            && let Some(Node::Dict(dict)) = self.heap.nodes.get_mut(id)
            && rest.is_empty()
        {
            dict.extend(pairs.iter().map(|&[key, value]| (key, value)));
            return Ok(());
        }
        self.malformed("an entry is added to something else than a dict")
    }

    fn called(&mut self, result: Result<Value, CallError>) -> Result<(), PickleError> {
        match result {
            Ok(value) => self.push(value),
            Err(CallError::Arguments(what)) => self.malformed(what),
            Err(CallError::Full) => self.full(),
            Err(CallError::Other(error)) => Err(error),
        }
    }

    /// `class` is to be instantiated.
    fn refuse<T>(&self, class: Value) -> Result<T, PickleError> {
        match self.heap.node(class) {
            Some(Node::Name(name)) => Err(PickleError::Refused { name: name.clone() }),
            _ => self.malformed("an object of something that is no class"),
        }
    }

    /// `BUILD`: the state of a dict (`_metadata`) or of a tensor says nothing that is needed.
    fn build(&mut self) -> Result<(), PickleError> {
        let _state = self.pop()?;
        match self.heap.node(self.top()?) {
            Some(Node::Dict(_) | Node::Tensor(_)) => Ok(()),
            _ => self.malformed("state is given to something else than a dict or a tensor"),
        }
    }

    fn step(&mut self, opcode: u8) -> Result<(), PickleError> {
        match opcode {
            // The frame of the pickle.
            0x80 => match self.source.byte()? {
                0..=5 => Ok(()),
                version => self.malformed(format!("pickle protocol {version} is not known")),
            },
            0x95 => self.source.array::<8>().map(|_| ()),
            // The stack.
            b'(' => {
                if self.marks.len() >= MAX_STACK {
                    return self.full();
                }
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' if self.marks.last() == Some(&self.stack.len()) => self.pop_mark().map(|_| ()),
            b'0' => self.pop().map(|_| ()),
            b'1' => self.pop_mark().map(|_| ()),
            b'2' => self.top().and_then(|value| self.push(value)),
            // The memo.
            b'p' => self.number().and_then(|slot| self.remember(slot)),
            b'q' => self.source.byte().and_then(|slot| self.remember(slot.into())),
            b'r' => self.source.u32().and_then(|slot| self.remember(slot.into())),
            0x94 => self.remember(self.memo.len() as u64),
            b'g' => self.number().and_then(|slot| self.recall(slot)),
            b'h' => self.source.byte().and_then(|slot| self.recall(slot.into())),
            b'j' => self.source.u32().and_then(|slot| self.recall(slot.into())),
            // Plain values.
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'I' | b'L' => self.decimal(),
            b'J' => {
                let bytes = self.source.array()?;
                self.push(Value::Int(i32::from_le_bytes(bytes).into()))
            }
            b'K' => {
                let byte = self.source.byte()?;
                self.push(Value::Int(byte.into()))
            }
            b'M' => {
                let bytes = self.source.array()?;
                self.push(Value::Int(u16::from_le_bytes(bytes).into()))
            }
            0x8a => self.source.byte().and_then(|n| self.long(n.into())),
            0x8b => self.source.u32().and_then(|n| self.long(n.into())),
            b'F' => {
                self.source.line(MAX_LINE)?;
                self.push(Value::Opaque)
            }
            b'G' => self.opaque(8),
            b'S' => {
                let line = self.source.line(MAX_LINE)?;
                let text = String::from_utf8_lossy(&line).trim_matches(['\'', '"']).to_owned();
                self.push_node(Node::Str(text))
            }
            b'V' => {
                let line = self.source.line(MAX_LINE)?;
                self.push_node(Node::Str(String::from_utf8_lossy(&line).into_owned()))
            }
            // Python 2 wrote names as byte strings.
            b'U' | 0x8c => self.source.byte().and_then(|n| self.text(n.into())),
            b'T' | b'X' => self.source.u32().and_then(|n| self.text(n.into())),
            0x8d => self.source.u64().and_then(|n| self.text(n)),
            b'C' => self.source.byte().and_then(|n| self.opaque(n.into())),
            b'B' => self.source.u32().and_then(|n| self.opaque(n.into())),
            0x8e | 0x96 => self.source.u64().and_then(|n| self.opaque(n)),
            // Compound values.
            b')' => self.tuple(0),
            0x85 => self.tuple(1),
            0x86 => self.tuple(2),
            0x87 => self.tuple(3),
            b't' => self.pop_mark().and_then(|items| self.push_node(Node::Tuple(items))),
            b']' => self.push_node(Node::List(Vec::new())),
            b'l' => self.pop_mark().and_then(|items| self.push_node(Node::List(items))),
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])
            }
            b'e' | 0x90 => self.pop_mark().and_then(|items| self.append(items)),
            b'}' => self.push_node(Node::Dict(Vec::new())),
            b'd' => {
                let items = self.pop_mark()?;
                self.push_node(Node::Dict(Vec::new()))?;
                self.set_items(&items)
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set_items(&[key, value])
            }
            b'u' => self.pop_mark().and_then(|items| self.set_items(&items)),
            0x8f => self.push(Value::Opaque),
            0x91 => self.pop_mark().and_then(|_| self.push(Value::Opaque)),
            // Names and calls.
            b'c' => {
                let module = self.source.line(MAX_LINE)?;
                let name = self.source.line(MAX_LINE)?;
                self.name(&String::from_utf8_lossy(&module), &String::from_utf8_lossy(&name))
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (self.heap.str(module), self.heap.str(name)) {
                    (Some(module), Some(name)) => {
                        let (module, name) = (module.to_owned(), name.to_owned());
                        self.name(&module, &name)
                    }
                    _ => self.malformed("a name that is no string"),
                }
            }
            b'R' => {
                let (args, callee) = (self.pop()?, self.pop()?);
                let result = calls::call(self.heap, callee, args);
                self.called(result)
            }
            b'b' => self.build(),
            b'Q' => {
                let id = self.pop()?;
                let result = calls::persistent(self.heap, id);
                self.called(result)
            }
            0x81 => {
                let (_args, class) = (self.pop()?, self.pop()?);
                self.refuse(class)
            }
            0x92 => {
                let (_named, _args, class) = (self.pop()?, self.pop()?, self.pop()?);
                self.refuse(class)
            }
            b'o' => {
                let items = self.pop_mark()?;
                self.refuse(items.first().copied().unwrap_or(Value::None))
            }
            b'i' => {
                let module = self.source.line(MAX_LINE)?;
                let name = self.source.line(MAX_LINE)?;
                let (module, name) = (String::from_utf8_lossy(&module), String::from_utf8_lossy(&name));
                Err(PickleError::Refused { name: format!("{module}.{name}") })
            }
            0x82..=0x84 => {
                Err(PickleError::Refused { name: "an entry of the `copyreg` extension registry".into() })
            }
            b'P' => self.malformed("a persistent id in text form"),
            0x97 | 0x98 => self.malformed("a buffer outside of the pickle"),
            _ => self.malformed(format!("{opcode:#04x} is no opcode")),
        }
    }
}

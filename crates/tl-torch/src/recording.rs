//! A net as libtorch recorded it: what was done to one input, everything else folded to constants.
//!
//! The decision behind it: recording goes through a seam of its own and not through `tch`, because a closure of ours is
//! called in the middle of it, which may panic, and the thread must not go on recording after that.

#![expect(unsafe_code, reason = "the seam is a C interface")]

use std::any::Any;
use std::ffi::{CStr, CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::ptr::{NonNull, null_mut};

use tch::{Kind, Tensor};
use torch_sys::C_tensor;

use crate::error::{TorchError, short};
use crate::seam::{check, take};

#[repr(C)]
pub(crate) struct CModule {
    _private: [u8; 0],
}

unsafe extern "C" {
    fn tl_trace_begin(inputs: *const *mut C_tensor, names: *const *const c_char, n: usize) -> *mut c_char;
    fn tl_trace_end(output: *const C_tensor, module: *mut *mut CModule) -> *mut c_char;
    fn tl_trace_abandon();
    fn tl_module_run(
        module: *mut CModule,
        inputs: *const *mut C_tensor,
        n: usize,
        output: *mut *mut C_tensor,
    ) -> *mut c_char;
    fn tl_module_free(module: *mut CModule);
    fn tl_module_save(
        module: *mut CModule,
        path: *const c_char,
        name: *const c_char,
        text: *const c_char,
    ) -> *mut c_char;
    fn tl_module_load(
        path: *const c_char,
        name: *const c_char,
        module: *mut *mut CModule,
        found: *mut *mut c_char,
    ) -> *mut c_char;
}

/// A module of libtorch, in memory.
#[derive(Debug)]
pub(crate) struct Module(NonNull<CModule>);

// SAFETY: a recorded module has no ties to the thread that made it, and libtorch's interpreter runs the same module on
// several threads at a time.
unsafe impl Send for Module {}
// SAFETY: as above; running it changes nothing that can be seen from outside.
unsafe impl Sync for Module {}

/// Ends a recording that did not come to its end.
struct Recording;

impl Drop for Recording {
    fn drop(&mut self) {
        // SAFETY: drops the thread's recording, if there is one.
        unsafe { tl_trace_abandon() };
    }
}

/// The words of a panic.
fn refused(panic: &(dyn Any + Send)) -> TorchError {
    let words = panic.downcast_ref::<String>().map(String::as_str);
    TorchError::Torch(short(words.or_else(|| panic.downcast_ref().copied()).unwrap_or_default()))
}

impl Module {
    /// Records what `forward` does to `example`, in this thread, without gradients.
    pub(crate) fn record(
        example: &Tensor,
        forward: impl FnOnce(&Tensor) -> Tensor,
    ) -> Result<Self, TorchError> {
        Self::record_named(&[(None, example)], |inputs| forward(&inputs[0]))
    }

    /// The same of several inputs; what has a name is an argument of that name.
    pub(crate) fn record_named(
        examples: &[(Option<&str>, &Tensor)],
        forward: impl FnOnce(&[Tensor]) -> Tensor,
    ) -> Result<Self, TorchError> {
        tch::no_grad(|| {
            let _recording = Recording;
            let inputs: Vec<Tensor> = examples.iter().map(|(_, example)| example.shallow_clone()).collect();
            let names = examples.iter().map(|(name, _)| name.map(c_text).transpose());
            let names: Vec<Option<CString>> = names.collect::<Result<_, _>>()?;
            let words: Vec<*const c_char> = names
                .iter()
                .map(|name| name.as_ref().map_or(std::ptr::null(), |name| name.as_ptr()))
                .collect();
            let pointers = pointers(inputs.iter());
            // SAFETY: tensors and names are alive, and there are as many of both.
            check(unsafe { tl_trace_begin(pointers.as_ptr(), words.as_ptr(), pointers.len()) })?;
            // tch turns what libtorch refuses while it records into panics.
            let recorded = catch_unwind(AssertUnwindSafe(|| forward(&inputs).to_kind(Kind::Float)));
            let output = recorded.map_err(|panic| refused(panic.as_ref()))?;
            let mut module = null_mut();
            // SAFETY: the tensor is alive, and `module` is a place for a pointer.
            check(unsafe { tl_trace_end(output.as_ptr(), &raw mut module) })?;
            Self::of(module)
        })
    }

    /// From a file of libtorch's, with the text that stands in it under `name`.
    pub(crate) fn load(path: &Path, name: &str) -> Result<(Self, String), TorchError> {
        let (path, name) = (c_path(path)?, c_text(name)?);
        let (mut module, mut found) = (null_mut(), null_mut());
        // SAFETY: both texts end in zero, and `module` and `found` are places for pointers.
        check(unsafe { tl_module_load(path.as_ptr(), name.as_ptr(), &raw mut module, &raw mut found) })?;
        Ok((Self::of(module)?, take(found).unwrap_or_default()))
    }

    fn of(module: *mut CModule) -> Result<Self, TorchError> {
        NonNull::new(module).map(Self).ok_or_else(|| TorchError::Torch("nothing was recorded".to_owned()))
    }

    /// Writes it in libtorch's format, with a text in it under `name`.
    pub(crate) fn save(&self, path: &Path, (name, text): (&str, &str)) -> Result<(), TorchError> {
        let (path, name, text) = (c_path(path)?, c_text(name)?, c_text(text)?);
        // SAFETY: the module is alive, and all texts end in zero.
        check(unsafe { tl_module_save(self.as_ptr(), path.as_ptr(), name.as_ptr(), text.as_ptr()) })
    }

    pub(crate) fn run(&self, input: &Tensor) -> Result<Tensor, TorchError> {
        self.run_all(&[input])
    }

    /// The same of several inputs, in the order in which they were recorded.
    pub(crate) fn run_all(&self, inputs: &[&Tensor]) -> Result<Tensor, TorchError> {
        let (inputs, mut output) = (pointers(inputs.iter().copied()), null_mut());
        // SAFETY: module and tensors are alive, and `output` is a place for a pointer.
        check(unsafe { tl_module_run(self.as_ptr(), inputs.as_ptr(), inputs.len(), &raw mut output) })?;
        // SAFETY: the seam returned no error, so `output` is a new tensor that is ours.
        Ok(unsafe { Tensor::from_ptr(output) })
    }

    pub(crate) fn as_ptr(&self) -> *mut CModule {
        self.0.as_ptr()
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // SAFETY: the module is ours and goes once.
        unsafe { tl_module_free(self.as_ptr()) };
    }
}

/// Where tensors are; good as long as they live.
pub(crate) fn pointers<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> Vec<*mut C_tensor> {
    tensors.map(|tensor| tensor.as_ptr().cast_mut()).collect()
}

fn c_text(text: &str) -> Result<CString, TorchError> {
    CString::new(text).map_err(|_| TorchError::Torch(format!("`{}` holds a zero byte", short(text))))
}

fn c_path(path: &Path) -> Result<CString, TorchError> {
    let text =
        path.to_str().ok_or_else(|| TorchError::Torch(format!("`{}` is not UTF-8", path.display())))?;
    c_text(text)
}

/// A borrowed text of the seam.
pub(crate) fn borrowed<'a>(text: *const c_char) -> std::borrow::Cow<'a, str> {
    if text.is_null() {
        return "".into();
    }
    // SAFETY: the seam's texts end in zero, and the caller keeps their owner alive.
    unsafe { CStr::from_ptr(text) }.to_string_lossy()
}

//! What the C functions of `cpp/seam.h` have in common: how they say what went wrong.

#![expect(unsafe_code, reason = "the seam is a C interface")]

use std::ffi::{CStr, c_char};

use crate::error::{TorchError, short};

unsafe extern "C" {
    fn tl_free_text(text: *mut c_char);
}

/// Takes an error text of the seam.
pub(crate) fn check(text: *mut c_char) -> Result<(), TorchError> {
    if text.is_null() {
        return Ok(());
    }
    Err(TorchError::Torch(short(&take_text(text))))
}

/// Takes any text of the seam.
pub(crate) fn take_text(text: *mut c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the seam returns a text that ends in zero and is ours until it is freed, which happens once, here.
    let words = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
    // SAFETY: as above.
    unsafe { tl_free_text(text) };
    words
}

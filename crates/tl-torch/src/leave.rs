//! Ending the process while libtorch works.
//!
//! An orderly exit runs libtorch's destructors under the threads that still compute, which crashes about every second
//! time. So the process ends without them.

#![expect(unsafe_code, reason = "_exit is a C function")]

/// Ends the process at once, without destructors; what was written to files stays as it is.
pub fn leave_at_once(code: u8) -> ! {
    // SAFETY: _exit takes an integer and does not return; it touches no memory of ours.
    unsafe { libc::_exit(i32::from(code)) }
}

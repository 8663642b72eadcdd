//! Several pieces of work at once, one thread of libtorch's for each.
//!
//! The decision behind it: an operation of a small batch is too short to be shared between threads, which wait for each
//! other at the end of every one. Whole forward and backward passes of parts of the batch are not, and wait once. Within
//! its thread a piece of work computes alone.

#![expect(unsafe_code, reason = "the seam is a C interface")]

use std::any::Any;
use std::ffi::{c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, PoisonError};

use tch::Tensor;
use torch_sys::C_tensor;

use crate::error::TorchError;
use crate::seam::check;

unsafe extern "C" {
    fn tl_each(n: usize, call: extern "C" fn(*mut c_void, usize), context: *mut c_void);
    fn tl_alone(call: extern "C" fn(*mut c_void), context: *mut c_void);
    fn tl_threads() -> usize;
    fn tl_add_gradient(to: *const C_tensor, from: *const C_tensor) -> *mut c_char;
}

/// A piece of work before it is done, while, and after.
enum Slot<F, T> {
    Waiting(F),
    Busy,
    Done(Result<T, Box<dyn Any + Send>>),
}

/// How many pieces of work are done at once: as many as libtorch has threads, or one where it cannot lend them.
#[must_use]
pub fn threads_side_by_side() -> usize {
    // SAFETY: asks for a number.
    unsafe { tl_threads() }
}

/// Does all of it, and returns what came out, in the same order. Settings of the calling thread, as autocast, do not hold
/// in the others. What is more than [`threads_side_by_side`] comes after the rest.
///
/// # Panics
/// As the first piece of work that panics; the others are done before.
pub fn side_by_side<F, T>(work: Vec<F>) -> Vec<T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    let slots: Vec<Mutex<Slot<F, T>>> = work.into_iter().map(|f| Mutex::new(Slot::Waiting(f))).collect();
    let context: *const Vec<Mutex<Slot<F, T>>> = &raw const slots;
    // SAFETY: `run` gets back what `context` points to, which outlives the call, shared (it is `Sync`, as the work and what
    // comes out of it may move between threads); it does not unwind.
    unsafe { tl_each(slots.len(), run::<F, T>, context.cast_mut().cast()) };
    let done =
        slots.into_iter().map(|slot| match slot.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Slot::Done(Ok(result)) => result,
            Slot::Done(Err(panic)) => resume_unwind(panic),
            Slot::Waiting(_) | Slot::Busy => unreachable!("every piece of work is called once"),
        });
    done.collect()
}

/// Does it in the calling thread, by itself: operations take one thread, as they do in a piece of work. For what is so small
/// that threads would only wait for each other, and for what is to be planned for one thread.
///
/// # Panics
/// As the work.
pub fn alone<T>(work: impl FnOnce() -> T) -> T {
    let mut slot = Slot::Waiting(work);
    run_alone_of(&mut slot);
    match slot {
        Slot::Done(Ok(result)) => result,
        Slot::Done(Err(panic)) => resume_unwind(panic),
        Slot::Waiting(_) | Slot::Busy => unreachable!("the work is called"),
    }
}

fn run_alone_of<F: FnOnce() -> T, T>(slot: &mut Slot<F, T>) {
    let context: *mut Slot<F, T> = slot;
    // SAFETY: `run_alone` gets back what `context` points to, with the same types, in this thread and before the call
    // returns; it does not unwind.
    unsafe { tl_alone(run_alone::<F, T>, context.cast()) };
}

extern "C" fn run_alone<F: FnOnce() -> T, T>(context: *mut c_void) {
    // SAFETY: it is what `run_alone_of` handed over, and nobody else has it meanwhile.
    let slot = unsafe { &mut *context.cast::<Slot<F, T>>() };
    if let Slot::Waiting(work) = std::mem::replace(slot, Slot::Busy) {
        *slot = Slot::Done(catch_unwind(AssertUnwindSafe(work)));
    }
}

extern "C" fn run<F, T>(context: *mut c_void, i: usize)
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    // SAFETY: it is what `side_by_side` handed over, with the same types.
    let slots = unsafe { &*context.cast::<Vec<Mutex<Slot<F, T>>>>() };
    let slot = || slots[i].lock().unwrap_or_else(PoisonError::into_inner);
    let taken = std::mem::replace(&mut *slot(), Slot::Busy);
    if let Slot::Waiting(work) = taken {
        *slot() = Slot::Done(catch_unwind(AssertUnwindSafe(work)));
    }
}

/// Adds the gradient of `from` to that of `to`, of the same shape, and leaves `from` without one. Nothing happens if it has
/// none.
///
/// # Errors
/// They differ in shape.
pub fn add_gradients(to: &Tensor, from: &Tensor) -> Result<(), TorchError> {
    // SAFETY: both tensors are alive.
    check(unsafe { tl_add_gradient(to.as_ptr(), from.as_ptr()) })
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn gradients_of_parts_add_up() {
        let values = |n: i64| Tensor::arange(n, (Kind::Float, Device::Cpu)).sin();
        let (xs, weight) = (values(40).view([8, 5]), values(15).view([5, 3]).set_requires_grad(true));
        xs.matmul(&weight).tanh().sum(Kind::Float).backward();
        let total = Tensor::zeros_like(&weight).set_requires_grad(true);
        for round in 1..=2 {
            let twins: Vec<Tensor> = (0..4).map(|_| weight.detach().set_requires_grad(true)).collect();
            let job = |(i, twin): (usize, &Tensor)| {
                let (xs, twin) = (xs.narrow(0, 2 * i as i64, 2), twin.shallow_clone());
                move || {
                    let loss = xs.matmul(&twin).tanh().sum(Kind::Float);
                    loss.backward();
                    (i, loss.double_value(&[]))
                }
            };
            let done = side_by_side(twins.iter().enumerate().map(job).collect());
            assert_eq!(done.iter().map(|(i, _)| *i).collect::<Vec<_>>(), [0, 1, 2, 3]);
            for twin in &twins {
                add_gradients(&total, twin).unwrap();
                assert!(!twin.grad().defined());
                add_gradients(&total, twin).unwrap();
            }
            assert!(total.grad().allclose(&(weight.grad() * round), 1e-6, 1e-6, false));
        }
    }

    /// Its gradient by the weight is what oneDNN plans for a number of threads, which then wait for each other.
    #[test]
    fn convolutions_do_not_wait_for_threads_that_are_not_there() {
        let values = |shape: [i64; 4]| {
            Tensor::arange(shape.iter().product::<i64>(), (Kind::Float, Device::Cpu)).sin().view(shape)
        };
        let (xs, kernel) = (values([8, 24, 16, 16]), values([40, 24, 1, 1]));
        let gradient = |xs: Tensor, kernel: Tensor| {
            let kernel = kernel.set_requires_grad(true);
            xs.conv2d(&kernel, None::<&Tensor>, 1, 0, 1, 1).tanh().sum(Kind::Float).backward();
            kernel.grad()
        };
        let half = |i: i64| (xs.narrow(0, 4 * i, 4), kernel.copy());
        let job = |(xs, kernel): (Tensor, Tensor)| move || gradient(xs, kernel);
        let threads = threads_side_by_side();
        let halves = side_by_side(vec![job(half(0)), job(half(1))]);
        let whole = gradient(xs.shallow_clone(), kernel.copy());
        assert!((&halves[0] + &halves[1]).allclose(&whole, 1e-4, 1e-3, false));
        for _ in 0..3 {
            let again = side_by_side(vec![job(half(0)), job(half(1))]);
            assert!(again.iter().zip(&halves).all(|(a, b)| a.equal(b)), "bit for bit");
        }
        assert_eq!(threads_side_by_side(), threads, "as many afterwards");
    }

    #[test]
    fn what_is_done_alone_has_one_thread_and_stays_in_its_own() {
        let (threads, here) = (threads_side_by_side(), std::thread::current().id());
        let mut there = None;
        let sum = alone(|| {
            there = Some((std::thread::current().id(), threads_side_by_side()));
            Tensor::ones([300, 300], (Kind::Float, Device::Cpu))
                .mm(&Tensor::ones([300, 300], (Kind::Float, Device::Cpu)))
        });
        assert_eq!((there, sum.double_value(&[7, 7])), (Some((here, 1)), 300.0));
        assert_eq!(threads_side_by_side(), threads, "as many afterwards");
        let caught = catch_unwind(|| alone(|| panic!("on purpose")));
        assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"on purpose"));
        assert_eq!(alone(|| alone(|| 3)), 3);
    }

    #[test]
    fn a_panic_comes_back_and_the_rest_is_done() {
        let done = Mutex::new(0);
        let job = |i: i32| {
            let done = &done;
            move || match i {
                1 => panic!("one"),
                _ => *done.lock().unwrap() += i,
            }
        };
        let caught = catch_unwind(AssertUnwindSafe(|| side_by_side((0..4).map(job).collect())));
        assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"one"));
        assert_eq!(*done.lock().unwrap(), 5);
        assert!(side_by_side(Vec::<fn()>::new()).is_empty());
    }
}

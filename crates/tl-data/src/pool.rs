//! The worker threads that decode and transform images.
//!
//! The one decision: a pool is a value that is made once and lent to every loader. There is no global pool,
//! so two runs in one process, or a test with 1, 2 and 16 threads, do not see each other.

use std::sync::Arc;

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::DataError;

/// A handle to a set of worker threads; clones share the threads, which end with the last clone.
#[derive(Debug, Clone)]
pub struct DataPool {
    pool: Arc<ThreadPool>,
}

impl DataPool {
    /// Starts `threads` worker threads.
    ///
    /// # Errors
    /// `threads` is 0, or the operating system refuses.
    pub fn new(threads: usize) -> Result<Self, DataError> {
        if threads == 0 {
            let expected = "at least 1".to_owned();
            return Err(DataError::Option { option: "threads", got: "0".to_owned(), expected });
        }
        let builder = ThreadPoolBuilder::new().num_threads(threads).thread_name(|i| format!("data-{i}"));
        let pool = builder.build().map_err(|source| DataError::Threads { threads, source })?;
        Ok(Self { pool: Arc::new(pool) })
    }

    /// How many threads there are.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Runs `work` in the pool, so that its parallel iterators use these threads, and waits for it.
    pub(crate) fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.pool.install(work)
    }

    /// Queues `work` and returns at once; earlier work starts first.
    pub(crate) fn spawn(&self, work: impl FnOnce() + Send + 'static) {
        self.pool.spawn_fifo(work);
    }
}

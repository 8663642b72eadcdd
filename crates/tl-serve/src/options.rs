//! Limits. The decision: every resource that a stranger can use has one, and its default fits a small machine.

use std::time::Duration;

use crate::error::ServeError;

/// How much a server does at once, and for how long.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Most inputs that the model answers at once, 1 to 1024.
    pub batch: usize,
    /// How long a batch waits for inputs that are still being read, up to 10 s.
    pub max_wait: Duration,
    /// Most bytes of a request's body, from 1 on.
    pub max_body: u64,
    /// Most bytes of all bodies that are in memory, from `max_body` on.
    pub max_held: u64,
    /// Within this a body has to arrive, and within this again its answer; above 0, up to an hour.
    pub timeout: Duration,
    /// Within this the head of a request has to arrive, and the next request of an open connection; above 0.
    pub head_timeout: Duration,
    /// Most inputs that are accepted and not answered yet, from `batch` on.
    pub queue: usize,
    /// Most connections at once, 1 to 65535; others wait to be accepted.
    pub connections: usize,
    /// Threads that read inputs, 1 to 1024.
    pub readers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            batch: 16,
            max_wait: Duration::from_millis(5),
            max_body: 32 << 20,
            max_held: 512 << 20,
            timeout: Duration::from_secs(30),
            head_timeout: Duration::from_secs(10),
            queue: 256,
            connections: 256,
            readers: 2,
        }
    }
}

impl Options {
    /// Refuses what makes no sense.
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub fn check(&self) -> Result<(), ServeError> {
        let hour = Duration::from_secs(3600);
        let times = |time: &Duration| !time.is_zero() && *time <= hour;
        let checks: [(bool, &'static str, String, &'static str); 9] = [
            ((1..=1024).contains(&self.batch), "batch", self.batch.to_string(), "1 to 1024"),
            (
                self.max_wait <= Duration::from_secs(10),
                "max-wait",
                format!("{:?}", self.max_wait),
                "up to 10 s",
            ),
            (self.max_body >= 1, "max-body", self.max_body.to_string(), "1 byte or more"),
            (self.max_held >= self.max_body, "max-held", self.max_held.to_string(), "max-body or more"),
            (times(&self.timeout), "timeout", format!("{:?}", self.timeout), "above 0, up to an hour"),
            (
                times(&self.head_timeout),
                "head-timeout",
                format!("{:?}", self.head_timeout),
                "above 0, up to an hour",
            ),
            (
                (self.batch..=1 << 20).contains(&self.queue),
                "queue",
                self.queue.to_string(),
                "as many as a batch has, up to 1048576",
            ),
            (
                (1..=65535).contains(&self.connections),
                "connections",
                self.connections.to_string(),
                "1 to 65535",
            ),
            ((1..=1024).contains(&self.readers), "readers", self.readers.to_string(), "1 to 1024"),
        ];
        match checks.into_iter().find(|(holds, ..)| !holds) {
            Some((_, option, got, expected)) => Err(ServeError::Option { option, got, expected }),
            None => Ok(()),
        }
    }
}

//! Inputs on their way to the model, in batches.
//!
//! The decision: a place in the queue is taken before an input is read and given back when it is answered. So the queue
//! bounds memory, and the model knows what is still on its way: it waits for that, briefly, and else for nobody.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::metrics::Metrics;
use crate::options::Options;

/// How often a batch looks whether what it waits for has failed.
const GLANCE: Duration = Duration::from_millis(1);

/// An input, and where its answer goes.
pub(crate) struct Job<I, O> {
    pub(crate) input: I,
    pub(crate) reply: oneshot::Sender<Result<O, String>>,
    /// Its place in the queue.
    pub(crate) place: OwnedSemaphorePermit,
}

/// Where requests put their inputs.
pub(crate) struct Queue<I, O> {
    jobs: Sender<Job<I, O>>,
    places: Arc<Semaphore>,
    size: usize,
}

impl<I, O> Clone for Queue<I, O> {
    fn clone(&self) -> Self {
        Self { jobs: self.jobs.clone(), places: Arc::clone(&self.places), size: self.size }
    }
}

/// Where the model takes them from.
pub(crate) struct Batches<I, O> {
    jobs: Receiver<Job<I, O>>,
    places: Arc<Semaphore>,
    size: usize,
}

pub(crate) fn queue<I, O>(size: usize) -> (Queue<I, O>, Batches<I, O>) {
    let (sender, receiver) = channel();
    let places = Arc::new(Semaphore::new(size));
    let queue = Queue { jobs: sender, places: Arc::clone(&places), size };
    (queue, Batches { jobs: receiver, places, size })
}

impl<I, O> Queue<I, O> {
    /// Places for so many inputs, or none at all.
    pub(crate) fn places(&self, n: usize) -> Option<Vec<OwnedSemaphorePermit>> {
        let mut all = Arc::clone(&self.places).try_acquire_many_owned(u32::try_from(n).ok()?).ok()?;
        (0..n).map(|_| all.split(1)).collect()
    }

    /// Hands an input over. When the model has gone, so has the receiver of the reply's news.
    pub(crate) fn push(&self, job: Job<I, O>) {
        let _ = self.jobs.send(job);
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Inputs that are accepted and not answered.
    pub(crate) fn waiting(&self) -> usize {
        self.size.saturating_sub(self.places.available_permits())
    }
}

impl<I, O> Batches<I, O> {
    /// The next batch; none when there will be no more.
    fn next(&self, options: &Options) -> Option<Vec<Job<I, O>>> {
        let mut batch = vec![self.jobs.recv().ok()?];
        let deadline = Instant::now() + options.max_wait;
        while batch.len() < options.batch {
            if let Ok(job) = self.jobs.try_recv() {
                batch.push(job);
                continue;
            }
            let on_the_way = self.size.saturating_sub(self.places.available_permits());
            let left = deadline.saturating_duration_since(Instant::now());
            if on_the_way <= batch.len() || left.is_zero() {
                break;
            }
            match self.jobs.recv_timeout(left.min(GLANCE)) {
                Ok(job) => batch.push(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        Some(batch)
    }

    /// Answers batches until there are no more. What nobody waits for any longer is passed over.
    pub(crate) fn answer(
        &self,
        options: &Options,
        metrics: &Metrics,
        mut model: impl FnMut(Vec<I>) -> Result<Vec<O>, String>,
    ) {
        while let Some(batch) = self.next(options) {
            let (mut inputs, mut replies) = (Vec::new(), Vec::new());
            for Job { input, reply, place } in batch.into_iter().filter(|job| !job.reply.is_closed()) {
                inputs.push(input);
                replies.push((reply, place));
            }
            if inputs.is_empty() {
                continue;
            }
            let (begun, n) = (Instant::now(), inputs.len());
            let outputs = model(inputs).and_then(|outputs| match outputs.len() == n {
                true => Ok(outputs),
                false => Err(format!("{} answers to {n} inputs", outputs.len())),
            });
            metrics.batch(n, begun.elapsed());
            match outputs {
                // The place is free before the answer is known: who has it may ask again at once.
                Ok(outputs) => {
                    for ((reply, place), output) in replies.into_iter().zip(outputs) {
                        drop(place);
                        let _ = reply.send(Ok(output));
                    }
                }
                Err(error) => {
                    for (reply, place) in replies {
                        drop(place);
                        let _ = reply.send(Err(error.clone()));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(queue: &Queue<u32, u32>, input: u32) -> (Job<u32, u32>, oneshot::Receiver<Result<u32, String>>) {
        let (reply, answer) = oneshot::channel();
        (Job { input, reply, place: queue.places(1).unwrap().remove(0) }, answer)
    }

    #[test]
    fn a_batch_waits_only_for_what_is_on_its_way() {
        let options = Options { batch: 3, max_wait: Duration::from_secs(5), ..Options::default() };
        let (queue, batches) = queue::<u32, u32>(8);
        let begun = Instant::now();
        let (first, _answer) = job(&queue, 1);
        queue.push(first);
        assert_eq!(batches.next(&options).unwrap().len(), 1);
        assert!(begun.elapsed() < Duration::from_secs(2), "nothing else was accepted");
        // Four are accepted, one of them still being read, and that fails.
        let jobs: Vec<_> = (0..2).map(|i| job(&queue, i)).collect();
        let late = queue.places(1).unwrap();
        let mut kept = Vec::new();
        for (job, answer) in jobs {
            queue.push(job);
            kept.push(answer);
        }
        let waiting = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            drop(late);
        });
        assert_eq!(batches.next(&options).unwrap().len(), 2);
        assert!(begun.elapsed() < Duration::from_secs(4));
        waiting.join().unwrap();
        assert!(queue.places(9).is_none() && queue.places(8).is_some());
        drop(queue);
        assert!(batches.next(&options).is_none());
    }

    #[test]
    fn what_nobody_waits_for_is_not_computed() {
        let options = Options { batch: 8, ..Options::default() };
        let (queue, batches) = queue::<u32, u32>(8);
        let (a, mut answer) = job(&queue, 1);
        let (b, gone) = job(&queue, 2);
        drop(gone);
        queue.push(a);
        queue.push(b);
        assert_eq!(queue.waiting(), 2);
        drop(queue);
        let mut asked = Vec::new();
        batches.answer(&options, &Metrics::default(), |inputs| {
            asked.extend(inputs.clone());
            Ok(inputs.iter().map(|x| x * 10).collect())
        });
        assert_eq!((asked, answer.try_recv().unwrap()), (vec![1], Ok(10)));
    }

    #[test]
    fn whoever_has_an_answer_may_ask_again() {
        let options = Options { batch: 1, ..Options::default() };
        let (queue, batches) = queue::<u32, u32>(1);
        let model = std::thread::spawn(move || {
            batches.answer(&options, &Metrics::default(), |inputs| match inputs[0] % 2 {
                0 => Ok(inputs),
                _ => Err("odd".to_owned()),
            });
        });
        for input in 0..1000 {
            let (job, answer) = job(&queue, input);
            queue.push(job);
            assert_eq!(answer.blocking_recv().unwrap().is_ok(), input % 2 == 0);
        }
        drop(queue);
        model.join().unwrap();
    }
}

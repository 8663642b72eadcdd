//! What the server has done, in the text format of Prometheus.
//!
//! The decision: counters are plain atomics with fixed buckets, so that counting never waits.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the latencies, seconds.
const SECONDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Upper bounds of the sizes of batches.
const SIZES: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];
/// The statuses that are counted by themselves; any other is the last.
const STATUSES: [u16; 12] = [200, 400, 404, 405, 408, 411, 413, 415, 431, 500, 503, 0];

/// Counts by bucket, and the sum.
#[derive(Debug)]
struct Histogram<const N: usize> {
    buckets: [AtomicU64; N],
    count: AtomicU64,
    /// In millionths.
    sum: AtomicU64,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; N], count: AtomicU64::new(0), sum: AtomicU64::new(0) }
    }
}

impl<const N: usize> Histogram<N> {
    fn note(&self, bounds: &[f64; N], value: f64) {
        for (bucket, _) in self.buckets.iter().zip(bounds).filter(|(_, bound)| value <= **bound) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add((value * 1e6) as u64, Ordering::Relaxed);
    }

    fn write(&self, text: &mut String, name: &str, bounds: &[f64; N]) {
        for (bucket, bound) in self.buckets.iter().zip(bounds) {
            let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {}", bucket.load(Ordering::Relaxed));
        }
        let (count, sum) = (self.count.load(Ordering::Relaxed), self.sum.load(Ordering::Relaxed));
        let _ = writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {count}");
        let _ = writeln!(text, "{name}_sum {}", sum as f64 / 1e6);
        let _ = writeln!(text, "{name}_count {count}");
    }
}

/// All counters.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    requests: [AtomicU64; STATUSES.len()],
    latency: Histogram<{ SECONDS.len() }>,
    batches: Histogram<{ SIZES.len() }>,
    model_micros: AtomicU64,
    refused_inputs: AtomicU64,
}

impl Metrics {
    /// A request was answered with this status; how long a prediction took.
    pub(crate) fn request(&self, status: u16, prediction: Option<Duration>) {
        let place = STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len() - 1);
        self.requests[place].fetch_add(1, Ordering::Relaxed);
        if let Some(time) = prediction {
            self.latency.note(&SECONDS, time.as_secs_f64());
        }
    }

    /// A batch was computed.
    pub(crate) fn batch(&self, inputs: usize, time: Duration) {
        self.batches.note(&SIZES, inputs as f64);
        self.model_micros.fetch_add(time.as_micros() as u64, Ordering::Relaxed);
    }

    /// An input could not be read.
    pub(crate) fn refused(&self) {
        self.refused_inputs.fetch_add(1, Ordering::Relaxed);
    }

    /// All of them as text, with what is so now.
    pub(crate) fn text(&self, waiting: usize, connections: usize, held: u64) -> String {
        let mut text = String::new();
        let head = |text: &mut String, name: &str, kind: &str, help: &str| {
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        };
        head(&mut text, "tl_requests_total", "counter", "Requests by status.");
        for (status, count) in STATUSES.iter().zip(&self.requests) {
            let count = count.load(Ordering::Relaxed);
            let status = if *status == 0 { "other".to_owned() } else { status.to_string() };
            if count > 0 || status == "200" {
                let _ = writeln!(text, "tl_requests_total{{status=\"{status}\"}} {count}");
            }
        }
        head(
            &mut text,
            "tl_predict_seconds",
            "histogram",
            "Time from the head of a prediction's request to its answer.",
        );
        self.latency.write(&mut text, "tl_predict_seconds", &SECONDS);
        head(&mut text, "tl_batch_inputs", "histogram", "Inputs that the model answered at once.");
        self.batches.write(&mut text, "tl_batch_inputs", &SIZES);
        head(&mut text, "tl_model_seconds_total", "counter", "Time in which the model computed.");
        let seconds = self.model_micros.load(Ordering::Relaxed) as f64 / 1e6;
        let _ = writeln!(text, "tl_model_seconds_total {seconds}");
        head(&mut text, "tl_refused_inputs_total", "counter", "Inputs that could not be read.");
        let _ = writeln!(text, "tl_refused_inputs_total {}", self.refused_inputs.load(Ordering::Relaxed));
        let now = [
            ("tl_queue_inputs", "Inputs that are accepted and not answered.", waiting as u64),
            ("tl_connections", "Open connections.", connections as u64),
            ("tl_body_bytes", "Bytes of bodies in memory.", held),
        ];
        for (name, help, value) in now {
            head(&mut text, name, "gauge", help);
            let _ = writeln!(text, "{name} {value}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative() {
        let metrics = Metrics::default();
        metrics.request(200, Some(Duration::from_millis(20)));
        metrics.request(418, None);
        metrics.batch(3, Duration::from_millis(10));
        let text = metrics.text(2, 1, 5);
        for line in [
            "tl_requests_total{status=\"200\"} 1",
            "tl_requests_total{status=\"other\"} 1",
            "tl_predict_seconds_bucket{le=\"0.01\"} 0",
            "tl_predict_seconds_bucket{le=\"0.025\"} 1",
            "tl_predict_seconds_bucket{le=\"+Inf\"} 1",
            "tl_batch_inputs_bucket{le=\"4\"} 1",
            "tl_batch_inputs_sum 3",
            "tl_queue_inputs 2",
            "# TYPE tl_predict_seconds histogram",
        ] {
            assert!(text.lines().any(|there| there == line), "`{line}` is not in\n{text}");
        }
    }
}

//! The range test: one step at each of many rising rates, to see from where on the loss falls and where it explodes
//! (Smith 2015, arXiv:1506.01186).
//!
//! The decision behind it: the steps are those of the phase itself, on its batches and from its frontier, with all its
//! rates in proportion. Afterwards every tensor is what it was.

use std::cell::Cell;

use tl_finetune::Plan;

use super::batches::{Epoch, Source};
use super::state::{Seen, State, copies, put};
use super::step::{self, Place, Rules};
use super::{Observer, Options, Tick};
use crate::answers;
use crate::error::TrainError;
use crate::feed::Feed;
use crate::frontier::{Cache, Pass};
use crate::model::Model;

/// The rates to try.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateRange {
    /// The first, above 0.
    pub from: f64,
    /// The last, higher than the first.
    pub to: f64,
    /// How many, at least 2; each is the one before times the same factor.
    pub steps: usize,
}

impl Default for RateRange {
    fn default() -> Self {
        Self { from: 1e-7, to: 1.0, steps: 100 }
    }
}

/// One step of the range test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tried {
    /// The highest rate of the phase in that step.
    pub rate: f64,
    /// The loss of its batch before the step, without weights and label smoothing.
    pub loss: f64,
    /// The losses so far, the later counting more.
    pub smoothed: f64,
}

/// How much of the smoothed loss is kept from one step to the next; fastai's value.
const KEEP: f64 = 0.98;
/// The test ends when the smoothed loss is so many times its lowest value.
const WORSE: f64 = 4.0;

/// Tries rates in phase `phase` of the plan, with the weights as they are now.
///
/// # Errors
/// A sample has not what the model answers, or an image cannot be read.
pub fn lr_find(
    model: &Model,
    (plan, phase): (&Plan, usize),
    feed: &Feed<'_>,
    options: &Options,
    range: RateRange,
    observer: &mut dyn Observer,
) -> Result<Vec<Tried>, TrainError> {
    feed.check(model)?;
    answers::check(model.task, feed.train)?;
    let mut cache =
        Cache::new((model, plan), feed, (options.cache_budget, options.store.clone()), options.seed);
    let planned = &plan.phases[phase];
    if let Some(pass) = Pass::of_epoch(planned, 0)
        && !cache.fill(model, (phase, pass), feed, observer)?
    {
        return Ok(Vec::new());
    }
    let before = copies(model.tensors());
    step::set_trainable(model, planned);
    let tried = climb(&Source { model, feed, options, cache: &cache }, &(plan, phase), range, observer);
    for param in model.tensors() {
        let _ = param.tensor.set_requires_grad(false);
    }
    put(model, &before);
    tried
}

fn climb(
    source: &Source<'_>,
    (plan, phase): &(&Plan, usize),
    range: RateRange,
    observer: &mut dyn Observer,
) -> Result<Vec<Tried>, TrainError> {
    let planned = &plan.phases[*phase];
    let rules = Rules::new(source.model, (planned, *phase), source.options, source.feed.train.len());
    let mut state = State::new(source.model);
    state.optimizer.set_rule(planned.optimizer);
    let highest =
        planned.layer_rates.iter().chain([&planned.head_rate]).flatten().copied().fold(0.0, f64::max);
    let steps = range.steps.max(2);
    let factor = (range.to / range.from).powf(1.0 / (steps - 1) as f64);
    let (mut tried, mut average, mut lowest): (Vec<Tried>, f64, f64) = (Vec::new(), 0.0, f64::INFINITY);
    for epoch in 0.. {
        // The views of the first epoch do for all: the order is another one.
        let waited = Cell::new(0.0);
        let batches = source.batches(planned, Epoch { of_run: epoch, of_phase: 0, start: 0 }, &waited)?;
        for (number, batch) in batches.enumerate() {
            let (batch, place) = (batch?, Place { batch: number, phase_epoch: 0 });
            let mut seen = Seen::default();
            let seed = step::seed(source.options.seed, u64::from(epoch), number as u64);
            let learns = rules.gradients(&batch, place, seed, &mut seen);
            let n = tried.len();
            let loss = seen.loss();
            average = KEEP * average + (1.0 - KEEP) * loss;
            let smoothed = average / (1.0 - KEEP.powi(n as i32 + 1));
            lowest = lowest.min(smoothed);
            if !learns || smoothed > WORSE * lowest || n >= steps || source.feed.stopped() {
                rules.forget_gradients();
                return Ok(tried);
            }
            let rate = range.from * factor.powi(n as i32);
            rules.update(&mut state, rate / highest, None);
            tried.push(Tried { rate, loss, smoothed });
            observer.tick(Tick { what: "trying rates", done: tried.len(), of: steps });
        }
    }
    Ok(tried)
}

/// The rate at which the smoothed loss falls fastest on its way to its lowest value; none if it never falls.
#[must_use]
pub fn steepest(tried: &[Tried]) -> Option<f64> {
    // The first losses are too few to be smooth, and a fall is told over a tenth of the range.
    let from = tried.len() / 10;
    let lowest = (from..tried.len()).min_by(|&a, &b| tried[a].smoothed.total_cmp(&tried[b].smoothed))?;
    let reach = (tried.len() / 20).max(1);
    let fall = |i: usize| tried[i - reach].smoothed - tried[(i + reach).min(lowest)].smoothed;
    let best = (from.max(reach)..lowest).max_by(|&a, &b| fall(a).total_cmp(&fall(b)))?;
    (fall(best) > 0.0).then(|| tried[best].rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(loss: impl Fn(f64) -> f64) -> Vec<Tried> {
        let rates = (0..70).map(|i| 1e-7 * 10f64.powf(f64::from(i) / 10.0));
        rates.map(|rate| Tried { rate, loss: loss(rate), smoothed: loss(rate) }).collect()
    }

    #[test]
    fn the_fall_is_found() {
        // Falls around 1e-3, lowest at about 1e-2, explodes behind it.
        let loss = |rate: f64| 1.0 / (1.0 + (rate / 1e-3).powi(2)) + (rate / 0.05).powi(2);
        let rate = steepest(&curve(loss)).unwrap();
        assert!((3e-4..3e-3).contains(&rate), "{rate}");
        assert_eq!(steepest(&curve(|rate| rate)), None);
        assert_eq!(steepest(&[]), None);
    }
}

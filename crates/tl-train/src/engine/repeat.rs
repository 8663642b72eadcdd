//! Steps of a phase on one batch, over and over: for measuring.
//!
//! The decision behind it: they are computed by the code that a run has, parts side by side and all, so that a figure says
//! what a run gets.

use tl_data::Sample;
use tl_finetune::PlannedPhase;

use super::Options;
use super::batches::Step;
use super::state::{Seen, State};
use super::step::{self, Place, Rules};
use crate::answers::{self, Answers};
use crate::error::TrainError;
use crate::feed::TextInput;
use crate::loss::Shown;
use crate::model::Model;

/// Steps of one phase on a batch that stays.
pub struct Repeat<'a> {
    rules: Rules<'a>,
    batch: Step,
    state: State,
    steps: u64,
}

impl<'a> Repeat<'a> {
    /// `index` is the phase's place in the plan. What it trains requires gradients from here on, and nothing else does.
    /// `input` is what comes in at its frontier, `[N, …]`, of images without a mask; the answers are those of the samples,
    /// of which there are `N`.
    ///
    /// # Errors
    /// A sample has not what the model answers; there are more or fewer than inputs.
    pub fn new(
        model: &'a Model,
        (phase, index): (&'a PlannedPhase, usize),
        options: &'a Options,
        input: TextInput,
        samples: &[Sample],
    ) -> Result<Self, TrainError> {
        answers::check(model.task, samples)?;
        let inputs = input.xs.size().first().map_or(0, |&n| n as usize);
        if inputs != samples.len() {
            return Err(TrainError::Inputs { inputs, samples: samples.len() });
        }
        step::set_trainable(model, phase);
        let mut state = State::new(model);
        state.optimizer.set_rule(phase.optimizer);
        let shown = Shown::plain(Answers::of(model.task, samples.iter()));
        let batch = Step { xs: input.xs, mask: input.mask, shown };
        Ok(Self { rules: Rules::new(model, (phase, index), options, samples.len()), batch, state, steps: 0 })
    }

    /// Forward, back, update; `false` if the loss was none that can be learned from, and nothing was updated.
    pub fn step(&mut self) -> bool {
        self.steps += 1;
        let place = Place { batch: 0, phase_epoch: 0 };
        let seed = step::seed(self.rules.options.seed, 0, self.steps);
        let learned = self.rules.gradients(&self.batch, place, seed, &mut Seen::default());
        if learned {
            self.rules.update(&mut self.state, 1.0, None);
        }
        learned
    }
}

//! What the model says of the validation images: after an epoch, and when the run is over.
//!
//! The decision behind it: where their activations at the frontier are kept, only what is above is computed.

use super::{Ended, Observer, Outcome, Run, Tick};
use crate::answers::Answers;
use crate::error::TrainError;
use crate::evaluate::{EVAL_BATCH, Scored, Tally, evaluate};
use crate::feed::text_batches;
use crate::frontier::{Kept, Pass, Picked, Set};
use crate::loss::Shown;

impl Run<'_> {
    /// `None` if it was stopped.
    pub(super) fn validate(
        &self,
        frontier: usize,
        observer: &mut dyn Observer,
    ) -> Result<Option<Scored>, TrainError> {
        let (model, samples) = (self.model, self.feed.val);
        let Some(kept) = self.cache.get(Pass::VAL, frontier) else {
            let mut tick = |done| observer.tick(Tick { what: "validation", done, of: samples.len() });
            let scored = evaluate(model, samples, self.feed.set(Set::Val), self.feed.stop, &mut tick)?;
            return Ok((scored.images() == samples.len()).then_some(scored));
        };
        self.score(kept, frontier).map(Some)
    }

    /// What the model says of the validation images whose activations at level `frontier` are kept.
    fn score(&self, kept: &Kept, frontier: usize) -> Result<Scored, TrainError> {
        let (model, samples) = (self.model, self.feed.val);
        let mut tally = Tally::new(model);
        let batches = match self.feed.texts(Set::Val) {
            Some(encoded) => text_batches(encoded),
            None => {
                let indices: Vec<u32> = (0..samples.len() as u32).collect();
                indices.chunks(EVAL_BATCH).map(<[u32]>::to_vec).collect()
            }
        };
        for indices in &batches {
            let answers = Answers::of(model.task, indices.iter().map(|&i| &samples[i as usize]));
            let words = self.feed.texts(Set::Val).and_then(|encoded| model.words(encoded, indices));
            let shown = Shown { words, ..Shown::plain(answers) };
            let Picked { xs, mask } = kept.pick(indices, model.device)?;
            let pooled = model.pooled_masked(&xs, mask.as_ref(), frontier);
            tally.add(&model.classify(&shown.asked(pooled)), &shown);
        }
        Ok(tally.finish_in(&batches.concat()))
    }

    /// The outcome of a run that reached its end. Whether it has the validation depends on the plan alone, so that a run
    /// that was taken up again, however late, has it as well.
    pub(super) fn finished(mut self, observer: &mut dyn Observer) -> Result<Outcome, TrainError> {
        let lowest = self.plan.phases.iter().map(|phase| phase.frontier).min();
        let last = self.plan.phases.len().saturating_sub(1);
        let keeps = lowest.filter(|lowest| {
            *lowest == self.plan.phases[last].frontier && self.cache.keeps(last, Pass::VAL, *lowest)
        });
        let mut val = None;
        // Only a run that was taken up after its last step has something to fill.
        if let Some(lowest) = keeps
            && self.fill(last, Pass::VAL, observer)?
        {
            self.state.restore_best(self.model);
            let kept = self.cache.get(Pass::VAL, lowest);
            val = kept.map(|kept| self.score(kept, lowest)).transpose()?;
        }
        Ok(Outcome { val, ..self.outcome(Ended::Finished) })
    }
}

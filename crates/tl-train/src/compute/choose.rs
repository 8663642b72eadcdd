//! Which way of computing a net is the fastest here, found by trying.
//!
//! The decision behind it: what a processor does best is measured on the net itself, on real images, because the same bf16
//! is twice as fast as f32 on one machine and ninety times slower on the next. It costs about a second, and nothing where
//! there is little to compute.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use tl_data::{Loader, LoaderOptions, Sample, View};
use tl_finetune::{Plan, PlannedPhase};

use super::{Compute, Precision, WORTH_COMPILING};
use crate::engine::{Options, training_seconds};
use crate::error::TrainError;
use crate::evaluate::{EVAL_BATCH, batch_tensor};
use crate::feed::{self, Feed, SetInputs, text_tensor};
use crate::frontier::{Cache, Pass, Set};
use crate::model::Model;

/// Work that takes less than this is done at once, in f32.
const WORTH_TRYING: f64 = 2.0;
/// So few images are done at once, in f32.
const WORTH_MEASURING: usize = 64;
/// Most relative error of the pooled features (by their norms) that bf16 may have under `auto`.
const TOLERANCE: f64 = 0.1;
/// How much faster something has to be than the plainer way.
const MARGIN: f64 = 1.1;
/// The same for what trains on images: it is tried on few, and one command should find the same twice.
const TRAINING_MARGIN: f64 = 1.3;
/// Images for trying what is slow.
const FEW: usize = 8;

/// What was chosen, and why.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// How the model is to be computed.
    pub compute: Compute,
    /// What was measured, in words.
    pub why: Vec<String>,
}

/// Seconds for one image, and what the work gave.
fn timed<T>(images: usize, mut work: impl FnMut() -> Result<T, TrainError>) -> Result<(f64, T), TrainError> {
    const ENOUGH: f64 = 0.4;
    let (begun, mut best) = (Instant::now(), f64::INFINITY);
    // The first pays for what is set up once, which matters only where it is short.
    let mut runs = 0;
    loop {
        let start = Instant::now();
        let result = work()?;
        best = best.min(start.elapsed().as_secs_f64());
        runs += 1;
        if runs == 3 || begun.elapsed().as_secs_f64() > ENOUGH {
            return Ok((best / images.max(1) as f64, result));
        }
    }
}

/// Whether bf16 can pay at all: a product of two matrices is not slower than in f32. Where a processor lacks it,
/// libtorch computes it all the same, up to ninety times slower, and trying the net would take minutes.
///
/// # Errors
/// None of its own; those of what is timed are passed on.
pub fn bf16_pays(device: Device) -> Result<bool, TrainError> {
    let n = if device == Device::Cpu { 384 } else { 4096 };
    let time = |kind| {
        let matrix = Tensor::ones([n, n], (kind, device));
        timed(1, || Ok(matrix.mm(&matrix).double_value(&[0, 0])))
    };
    Ok(time(Kind::BFloat16)?.0 < time(Kind::Float)?.0)
}

/// Tries the ways of computing `model` that `precision` allows on some of `samples`, and takes the fastest: for all that a
/// plan has to compute, or for one look at every sample. The model is as before.
///
/// # Errors
/// An image cannot be read, or the inputs are not what the net takes.
pub fn choose(
    model: &mut Model,
    plan: Option<(&Plan, &Options, &Feed<'_>)>,
    (samples, inputs): (&Arc<[Sample]>, SetInputs<'_>),
    precision: Precision,
) -> Result<Choice, TrainError> {
    let before = std::mem::take(&mut model.compute);
    let choice = Trial { model, plan, samples, inputs, precision, why: Vec::new() }.choose();
    model.compute = before;
    choice
}

struct Trial<'a> {
    model: &'a mut Model,
    plan: Option<(&'a Plan, &'a Options, &'a Feed<'a>)>,
    samples: &'a Arc<[Sample]>,
    inputs: SetInputs<'a>,
    precision: Precision,
    why: Vec<String>,
}

impl Trial<'_> {
    /// Images for trying what is slow; a GPU is measured on a whole batch, as it is idle with few.
    fn few(&self) -> usize {
        if self.model.device == Device::Cpu { FEW } else { EVAL_BATCH }
    }

    fn choose(mut self) -> Result<Choice, TrainError> {
        let mut compute = self.frozen()?;
        compute.training_bf16 = self.training()?;
        Ok(Choice { compute, why: self.why })
    }

    /// The levels that are computed first, and how many images go through them.
    fn work(&self) -> (Range<usize>, usize) {
        let Some((plan, options, feed)) = self.plan else {
            return (0..self.model.stages(), self.samples.len());
        };
        let budgets = (options.cache_budget, options.store.clone());
        let cache = Cache::new((self.model, plan), feed, budgets, options.seed);
        let frozen = || plan.phases.iter().map(|phase| phase.frontier).filter(|level| *level > 0);
        // The lowest stage of a text net is a table, which takes no time to speak of.
        let lowest = if feed.texts(Set::Train).is_some() { frozen().max() } else { frozen().min() };
        let anew = plan.phases.iter().filter(|p| p.frontier > 0 && Pass::of_epoch(p, 0).is_none());
        let anew: usize = anew.map(|phase| phase.epochs as usize * feed.train.len()).sum();
        (0..lowest.unwrap_or(self.model.stages()), (cache.samples() + anew).max(feed.val.len()))
    }

    /// About `n` samples; of texts typical ones, and which of their tokens are real.
    fn batch(&self, n: usize) -> Result<(Tensor, Option<Tensor>), TrainError> {
        let pool = match self.inputs {
            SetInputs::Images(pool) => pool,
            SetInputs::Texts(encoded) => {
                let places = feed::typical(encoded, self.inputs.eval_batch());
                let input = text_tensor(encoded, &places, self.model.device)?;
                return Ok((input.xs, input.mask));
            }
        };
        let options = LoaderOptions::in_order(self.samples.len().min(n), n);
        let view = View::Eval(self.model.preprocess()?);
        let mut loader = Loader::new(self.samples.clone(), view, options, pool)?;
        match loader.next() {
            Some(batch) => Ok((batch_tensor(&batch?, self.model.device), None)),
            None => Ok((Tensor::zeros([0], (Kind::Float, self.model.device)), None)),
        }
    }

    /// What does not train.
    fn frozen(&mut self) -> Result<Compute, TrainError> {
        let (levels, images) = self.work();
        let plain = Compute::default();
        if self.precision == Precision::Bf16 {
            if !bf16_pays(self.model.device)? {
                self.why.push("bf16 as asked for; this processor is faster in f32".to_owned());
            }
            return Ok(Compute { bf16: true, compiled: true, ..plain });
        }
        if images < WORTH_MEASURING {
            return Ok(plain);
        }
        let unit = self.inputs.unit();
        let few = self.batch(self.few())?;
        let n = few.0.size()[0] as usize;
        let (f32_seconds, exact) = self.time(&few, &levels, &plain, n)?;
        let total = f32_seconds * images as f64;
        if total < WORTH_TRYING {
            self.why.push(format!("frozen part in f32: {images} {unit} take {total:.1} s"));
            return Ok(plain);
        }
        let mut best = (plain.clone(), f32_seconds, "f32");
        let mut error = 0.0;
        let mut bf16 = self.precision == Precision::Auto && bf16_pays(self.model.device)?;
        if bf16 {
            let way = Compute { bf16, ..plain.clone() };
            let (seconds, rounded) = self.time(&few, &levels, &way, n)?;
            error = ((&rounded - &exact).norm() / exact.norm().clamp_min(1e-12)).double_value(&[]);
            if error > TOLERANCE {
                bf16 = false;
                let percent = error * 100.0;
                self.why
                    .push(format!("frozen part not in bf16, whose activations are off by {percent:.0} %"));
            } else if seconds * MARGIN < best.1 {
                best = (way, seconds, "bf16");
            }
        }
        if let Some((way, seconds)) = self.compiled(bf16, &levels, images)?
            && seconds * MARGIN < best.1
        {
            best = (way, seconds, if bf16 { "bf16, compiled" } else { "f32, compiled" });
        }
        let (compute, seconds, name) = best;
        let mut words = format!("frozen part in {name}: {:.0} {unit}/s", 1.0 / seconds);
        if compute != plain {
            words.push_str(&format!(" ({:.0} in f32)", 1.0 / f32_seconds));
        }
        if compute.bf16 {
            words.push_str(&format!(", activations within {:.1} %", error * 100.0));
        }
        self.why.push(words);
        Ok(compute)
    }

    /// The compiled net, and its seconds for one image; none where that cannot pay or cannot be.
    fn compiled(
        &mut self,
        bf16: bool,
        levels: &Range<usize>,
        images: usize,
    ) -> Result<Option<(Compute, f64)>, TrainError> {
        // Of texts no more than a layout is made.
        let texts = matches!(self.inputs, SetInputs::Texts(_));
        if self.model.device != Device::Cpu || (images < WORTH_COMPILING && !texts) {
            return Ok(None);
        }
        let way = Compute { bf16, compiled: true, ..Compute::default() };
        let many = self.batch(EVAL_BATCH)?;
        let (seconds, _) = self.time(&many, levels, &way, many.0.size()[0] as usize)?;
        // What cannot be compiled was timed step by step.
        let done = self.model.runner(levels.clone(), EVAL_BATCH, usize::MAX).is_compiled();
        Ok(done.then_some((way, seconds)))
    }

    /// Seconds for one image in this way, and the activations.
    fn time(
        &mut self,
        (xs, mask): &(Tensor, Option<Tensor>),
        levels: &Range<usize>,
        compute: &Compute,
        n: usize,
    ) -> Result<(f64, Tensor), TrainError> {
        self.model.compute = compute.clone();
        let runner = self.model.runner(levels.clone(), EVAL_BATCH, usize::MAX);
        timed(n, || {
            let ys = runner.run_masked(xs, mask.as_ref())?;
            // A GPU says when it is done only if it is asked for a number.
            if ys.device() != Device::Cpu {
                let _ = ys.sum(Kind::Float).double_value(&[]);
            }
            Ok(ys)
        })
    }

    /// What trains, by phase.
    fn training(&mut self) -> Result<Vec<bool>, TrainError> {
        let Some((plan, options, data)) = self.plan else { return Ok(Vec::new()) };
        let pays = match self.precision {
            Precision::F32 => return Ok(Vec::new()),
            Precision::Bf16 => return Ok(vec![true; plan.phases.len()]),
            Precision::Auto => bf16_pays(self.model.device)?,
        };
        if !pays {
            return Ok(Vec::new());
        }
        let mut chosen = Vec::new();
        for (index, phase) in plan.phases.iter().enumerate() {
            let images = data.train.len() as f64 * f64::from(phase.epochs);
            if phase.frontier == self.model.stages() {
                chosen.push(false);
                continue;
            }
            let f32_seconds = self.step(false, (phase, index), (options, data))?;
            if f32_seconds * images < WORTH_TRYING {
                chosen.push(false);
                continue;
            }
            let bf16_seconds = self.step(true, (phase, index), (options, data))?;
            // Texts are tried on a whole batch.
            let whole = matches!(self.inputs, SetInputs::Texts(_));
            let margin = if whole { MARGIN } else { TRAINING_MARGIN };
            let faster = bf16_seconds * margin < f32_seconds;
            chosen.push(faster);
            let (f32_rate, bf16_rate) = (1.0 / f32_seconds, 1.0 / bf16_seconds);
            let (name, unit) = (&phase.name, data.unit());
            self.why.push(match faster {
                true => format!("{name} trains in bf16: {bf16_rate:.0} {unit}/s ({f32_rate:.0} in f32)"),
                false => format!("{name} trains in f32: {f32_rate:.0} {unit}/s ({bf16_rate:.0} in bf16)"),
            });
        }
        Ok(chosen)
    }

    /// Seconds for one image of a training step.
    fn step(
        &mut self,
        bf16: bool,
        (phase, index): (&PlannedPhase, usize),
        (options, data): (&Options, &Feed<'_>),
    ) -> Result<f64, TrainError> {
        let mut training_bf16 = vec![false; index + 1];
        training_bf16[index] = bf16;
        self.model.compute = Compute { training_bf16, ..Compute::default() };
        // A step on few texts would be one of rounding weights.
        let n = if matches!(self.inputs, SetInputs::Texts(_)) { options.batch } else { self.few() };
        training_seconds(self.model, (phase, index), options, data, n)
    }
}

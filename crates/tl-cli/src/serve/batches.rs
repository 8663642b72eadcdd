//! A net that answers batches of any size.
//!
//! The decision behind it: a compiled net has one shape, so it is compiled for a few, each is timed once, and a batch is cut
//! into the shapes that take the least time together. One image alone does not pay for sixteen.

use std::time::Instant;

use tch::{Kind, Tensor};
use tl_torch::channels_last;
use tl_train::{Compute, Model, Precision, Runner, TrainError};

/// Most relative error of the features (by their norms) that bf16 may have under `auto`; as for a run.
const TOLERANCE: f64 = 0.1;
/// Images of a shape between one and a whole batch.
const FEW: usize = 4;

/// One image as the net takes it: `[H, W, 3]`, normalised.
pub(super) type Input = Vec<f32>;

/// A net in several shapes.
pub(super) struct Batches<'m> {
    model: &'m Model,
    /// Images of each shape, ascending.
    shapes: Vec<(usize, Runner<'m>)>,
    /// By the number of images, the place of the shape that begins with it.
    begin: Vec<usize>,
}

/// Images that are no images: waves of every length, the same each time.
fn waves(model: &Model, n: usize) -> Result<Tensor, TrainError> {
    let side = i64::from(model.preprocess()?.input);
    let count = n as i64 * 3 * side * side;
    let at = Tensor::arange(count, (Kind::Double, model.device));
    let squares = (&at * &at).remainder(7919.0) * 0.7;
    Ok(channels_last(&squares.sin().to_kind(Kind::Float).view([n as i64, 3, side, side])))
}

/// The faster of f32 and, where it is allowed and close enough, bf16; both compiled.
pub(super) fn choose(
    model: &mut Model,
    precision: Precision,
    batch: usize,
) -> anyhow::Result<(Compute, String)> {
    let f32 = Compute { bf16: false, compiled: true, training_bf16: Vec::new() };
    let bf16 = Compute { bf16: true, ..f32.clone() };
    match precision {
        Precision::F32 => return Ok((f32, "f32, compiled".to_owned())),
        Precision::Bf16 => return Ok((bf16, "bf16, compiled".to_owned())),
        Precision::Auto if !tl_train::bf16_pays(model.device)? => {
            return Ok((f32, "f32, compiled: this processor is not faster in bf16".to_owned()));
        }
        Precision::Auto => {}
    }
    let xs = waves(model, batch)?;
    let mut tried = Vec::new();
    for compute in [f32, bf16] {
        model.compute = compute.clone();
        let runner = model.runner(0..model.stages(), batch, usize::MAX);
        let (seconds, features) = timed(&runner, &xs)?;
        tried.push((compute, batch as f64 / seconds, features));
    }
    let [(f32, slow, exact), (bf16, fast, rounded)] = &tried[..] else {
        return Err(anyhow::anyhow!("nothing was tried"));
    };
    let error = ((rounded - exact).norm() / exact.norm().clamp_min(1e-12)).double_value(&[]);
    let percent = error * 100.0;
    if error > TOLERANCE {
        let why = format!("f32, compiled: {slow:.0} images/s; bf16 is off by {percent:.0} %");
        return Ok((f32.clone(), why));
    }
    match fast > slow {
        true => Ok((
            bf16.clone(),
            format!("bf16, compiled: {fast:.0} images/s ({slow:.0} in f32), features within {percent:.1} %"),
        )),
        false => Ok((f32.clone(), format!("f32, compiled: {slow:.0} images/s ({fast:.0} in bf16)"))),
    }
}

/// The seconds of a batch, and its features; the first rounds are for libtorch to get ready.
fn timed(runner: &Runner<'_>, xs: &Tensor) -> Result<(f64, Tensor), TrainError> {
    let (mut best, mut features) = (f64::INFINITY, runner.run(xs)?);
    for _ in 0..3 {
        let begun = Instant::now();
        features = runner.run(xs)?;
        best = best.min(begun.elapsed().as_secs_f64());
    }
    Ok((best, features))
}

impl<'m> Batches<'m> {
    /// The net in shapes of up to `batch` images.
    pub(super) fn new(model: &'m Model, batch: usize) -> Result<Self, TrainError> {
        let mut sizes = vec![1, FEW.min(batch), batch];
        sizes.dedup();
        let mut shapes = Vec::new();
        let mut seconds = Vec::new();
        for size in sizes {
            let runner = model.runner(0..model.stages(), size, usize::MAX);
            let time = timed(&runner, &waves(model, size)?)?.0;
            seconds.push((size, time));
            shapes.push((size, runner));
        }
        Ok(Self { model, shapes, begin: cheapest(&seconds, batch) })
    }

    /// What the model says of each image.
    pub(super) fn answer(&self, inputs: &[Input]) -> Result<Vec<Vec<f32>>, TrainError> {
        let side = i64::from(self.model.preprocess()?.input);
        let (mut rest, mut rows) = (inputs, Vec::with_capacity(inputs.len()));
        while !rest.is_empty() {
            let place = self.begin.get(rest.len()).or(self.begin.last()).copied().unwrap_or(0);
            let (size, runner) = &self.shapes[place];
            let (now, later) = rest.split_at(rest.len().min(*size));
            let flat = Tensor::from_slice(&now.concat()).view([now.len() as i64, side, side, 3]);
            let xs = flat.permute([0, 3, 1, 2]).to_device(self.model.device);
            rows.extend(self.model.answers(&self.model.classify(&runner.run(&xs)?)));
            rest = later;
        }
        Ok(rows)
    }
}

/// For each number of images up to `most` the place of the shape to begin with, so that all take the least time.
fn cheapest(shapes: &[(usize, f64)], most: usize) -> Vec<usize> {
    let (mut seconds, mut begin) = (vec![0.0], vec![0]);
    for n in 1..=most {
        let with = |place: usize| shapes[place].1 + seconds[n.saturating_sub(shapes[place].0)];
        let best = (0..shapes.len()).min_by(|&a, &b| with(a).total_cmp(&with(b))).unwrap_or(0);
        begin.push(best);
        seconds.push(with(best));
    }
    begin
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_cut_into_what_takes_the_least_time() {
        let begin = cheapest(&[(1, 1.0), (4, 2.5), (16, 6.0)], 16);
        // One alone; two are two; three are as dear as four; from nine on a whole batch is cheaper than what it takes else.
        assert_eq!(&begin[1..6], [0, 0, 1, 1, 0]);
        assert_eq!((begin[8], begin[13], begin[16]), (1, 2, 2));
        // Where there is nothing but one shape, it is filled up.
        assert_eq!(cheapest(&[(4, 1.0)], 3), [0; 4]);
    }
}

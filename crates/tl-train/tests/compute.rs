//! In other precisions and compiled: close to what it is step by step in f32, and as exact on its own terms.

#![expect(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{Epochs, model, model_of, often, options, run_from, short};
use tch::{Device, Kind, Tensor};
use tl_backbones::Mode;
use tl_finetune::Preset;
use tl_train::{Checkpoint, Compute, Model};

/// A model may go to another thread.
const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<Model>();
};

/// Enough for a net to be compiled.
const MANY: usize = 1000;

fn images(n: i64) -> Tensor {
    let values = tl_torch::uniform(5, "images", (n * 3 * 64 * 64) as usize, 1.0);
    tl_torch::channels_last(&Tensor::from_slice(&values).view([n, 3, 64, 64]))
}

fn error(got: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!((got.kind(), got.size(), got.device()), (Kind::Float, expected.size(), Device::Cpu));
    ((got - expected).norm() / expected.norm()).double_value(&[])
}

fn pooled(model: &Model, xs: &Tensor) -> Tensor {
    model.runner(0..model.stages(), 4, MANY).run(xs).unwrap()
}

#[test]
fn a_compiled_prefix_equals_the_plain_one_for_whole_and_short_batches() {
    let mut model = model();
    let xs = images(4);
    let plain = pooled(&model, &xs);
    // Random weights let small errors grow; what matters here is that it is the same net.
    for (bf16, tolerance) in [(false, 1e-5), (true, 0.3)] {
        model.compute = Compute { bf16, compiled: true, ..Compute::default() };
        let whole = pooled(&model, &xs);
        assert!(error(&whole, &plain) < tolerance, "bf16 {bf16}: {}", error(&whole, &plain));
        let short = pooled(&model, &xs.narrow(0, 0, 3));
        assert!(short.equal(&whole.narrow(0, 0, 3)), "bf16 {bf16}: a short batch is filled up");
        assert_eq!(pooled(&model, &xs.narrow(0, 0, 0)).size(), [0, whole.size()[1]]);
        let level = model.stages() - 1;
        let lower = model.runner(0..level, 4, MANY).run(&xs).unwrap();
        let upper = model.runner(level..model.stages(), 4, MANY).run(&lower).unwrap();
        assert!(error(&upper, &plain) < tolerance, "bf16 {bf16}: in two parts");
    }
}

/// Batches are parted between threads, with one image each or more, and a net may have something behind its stages.
#[test]
fn parts_of_a_batch_say_what_the_whole_does() {
    for (net, head) in
        [("efficientnet-lite0", "gap"), ("convnext-tiny", "gap"), ("vit-small-patch16", "flatten")]
    {
        let model = model_of(net, head);
        let xs = match net {
            // It takes one size alone.
            "vit-small-patch16" => images(5).upsample_bilinear2d([224_i64, 224], false, None, None),
            _ => images(5),
        };
        let level = model.stages() - 1;
        for n in [1, 3, 4, 5] {
            let xs = xs.narrow(0, 0, n);
            for to in [1, level, model.stages()] {
                let whole = tch::no_grad(|| model.forward(&xs, 0, to, |_| Mode::EVAL));
                let got = model.runner(0..to, 5, 1).run(&xs).unwrap();
                assert!(error(&got, &whole) < 1e-5, "{net}, {n} images to {to}: {}", error(&got, &whole));
            }
        }
        assert!(model.runner(0..0, 5, 1).run(&xs).unwrap().equal(&xs), "nothing to do");
    }
}

#[test]
fn weights_that_change_are_seen() {
    let mut model = model();
    let xs = images(4);
    let plain = pooled(&model, &xs);
    model.compute = Compute { compiled: true, ..Compute::default() };
    let before = pooled(&model, &xs);
    assert!(error(&before, &plain) < 1e-5);
    let trains = model.backbone.store.iter().find(|param| param.tensor.dim() == 4).unwrap();
    let _ = trains.tensor.set_requires_grad(true);
    tch::no_grad(|| {
        let _ = trains.tensor.shallow_clone().g_mul_scalar_(0.5);
    });
    let after = pooled(&model, &xs);
    assert!(trains.tensor.requires_grad(), "as it was");
    assert!(error(&after, &before) > 1e-3);
    model.compute = Compute::default();
    assert!(error(&after, &pooled(&model, &xs)) < 1e-5);
}

#[test]
fn a_run_in_bf16_learns_and_goes_on_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    let in_bf16 = || {
        let mut model = model();
        model.compute = Compute { bf16: true, compiled: true, training_bf16: vec![true; 3] };
        model
    };
    let (mut epochs, whole) = (Epochs::default(), in_bf16());
    let mut schedule = short(Preset::Gradual, &whole);
    schedule.phases.iter_mut().for_each(|phase| (phase.augment, phase.views) = (false, 0));
    let to = dir.path().join("early");
    std::fs::create_dir(&to).unwrap();
    let (from, copy) = (dir.path().join(tl_train::CHECKPOINT), to.join(tl_train::CHECKPOINT));
    let mut ticks = 0;
    epochs.at_tick = Some(Box::new(move |_| {
        ticks += 1;
        if ticks == 14 {
            std::fs::copy(&from, &copy).unwrap();
        }
    }));
    let with_checkpoints = tl_train::Options { checkpoints: often(dir.path()), ..options(1 << 30) };
    run_from(&whole, &schedule, &with_checkpoints, None, &mut epochs);
    let loss = |i: usize| epochs.results[i].train.loss_sum;
    assert!(loss(epochs.results.len() - 1) < loss(0), "it learns");

    let (mut plain, exact) = (Epochs::default(), model());
    run_from(&exact, &schedule, &options(1 << 30), None, &mut plain);
    let last = |epochs: &Epochs| epochs.results.last().unwrap().train.loss_sum;
    assert!(last(&plain).to_bits() != last(&epochs).to_bits(), "it was bf16");

    let checkpoint = Checkpoint::read(&to).unwrap().unwrap();
    let (mut rest, again) = (Epochs::default(), in_bf16());
    run_from(&again, &schedule, &options(1 << 30), Some(checkpoint), &mut rest);
    for (a, b) in whole.tensors().zip(again.tensors()) {
        assert!(a.tensor.equal(&b.tensor), "{}", a.name);
    }
}

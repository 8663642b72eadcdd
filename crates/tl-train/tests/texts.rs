//! Texts in the loop: batches of different lengths, kept rows, answers in their order, and a run that goes on to the bit.

#![expect(clippy::unwrap_used, reason = "a test")]

mod common;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use common::{Epochs, often, options, store};
use tch::Device;
use tl_backbones::Backbone;
use tl_backbones::text::TextConfig;
use tl_data::Sample;
use tl_finetune::{PartRate, Phase, Preset, PresetOptions, Schedule};
use tl_heads::Task;
use tl_text::tokens::{Encoded, Tokens};
use tl_torch::Fill;
use tl_train::{
    CHECKPOINT, Checkpoint, Compute, Ended, Feed, Inputs, Model, NewHead, Options, SetInputs, Texts,
    cache_bytes, evaluate, predict_texts, price, train,
};

/// The bits are promised for one run at a time in a process, as the program has it.
static ALONE: Mutex<()> = Mutex::new(());

const CONFIG: &str = r#"{ "model_type": "bert", "vocab_size": 60, "hidden_size": 24, "num_hidden_layers": 3,
    "num_attention_heads": 2, "intermediate_size": 48, "max_position_embeddings": 32, "type_vocab_size": 2 }"#;

fn model() -> Model {
    let config = TextConfig::parse(CONFIG.as_bytes()).unwrap();
    let backbone = Backbone::text("tiny", &config, Device::Cpu, Fill::Seed(3)).unwrap();
    let (spec, task) = ("gap".parse().unwrap(), Task::Softmax { classes: 2 });
    let head = NewHead { spec, task, dropout: 0.1, fill: Fill::Seed(3) };
    Model::for_texts(backbone, head, vec!["a".to_owned(), "b".to_owned()], 20, Device::Cpu).unwrap()
}

/// Texts of 3 to 17 tokens, of class 1 where one of them is a 7; the rest is drawn by a sequence that mixes well.
fn texts(n: usize, seed: u64) -> (Arc<[Sample]>, Encoded) {
    let mut state = seed;
    let mut draw = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let (mut samples, mut all) = (Vec::new(), Vec::new());
    for i in 0..n {
        let length = 3 + draw(15) as usize;
        let mut ids: Vec<u32> = (0..length).map(|_| 8 + draw(52) as u32).collect();
        if i % 2 == 1 {
            ids[draw(length as u64) as usize] = 7;
        }
        let rel = format!("texts.csv:{i}");
        samples.push(Sample {
            path: "texts.csv".into(),
            label: (i % 2) as u32,
            target: None,
            id: i as u64,
            rel,
        });
        all.push(Tokens { types: vec![0; length], words: vec![None; length], cut: false, ids });
    }
    (samples.into(), Encoded { texts: all, pad: 0 })
}

/// Head on kept features, then the last layer on kept tokens, then all of it.
fn schedule(model: &Model) -> Schedule {
    let part = |part: &str, rate| PartRate::new(part, rate);
    let mut options = PresetOptions { texts: true, ..PresetOptions::default() };
    options.epochs = Some(vec![2, 2]);
    let mut phases = Preset::Gradual.schedule(&model.net_info(), &options).unwrap().phases;
    let last =
        Phase { ema: Some(0.5), ..Phase::new("last", vec![part("layer2", 1e-3), part("head", 3e-3)], 2) };
    let all = Phase {
        accumulate: 2,
        drop_path: 0.2,
        clip_norm: Some(1.0),
        ..Phase::new("all", vec![part("all", 1e-3), part("head", 1e-3)], 2)
    };
    phases.insert(1, last);
    phases.push(all);
    Schedule { phases }
}

struct Done {
    model: Model,
    epochs: Epochs,
}

fn run(options: &Options, checkpoint: Option<Checkpoint>, epochs: Epochs) -> Done {
    run_in(&Compute::default(), options, checkpoint, epochs)
}

fn run_in(compute: &Compute, options: &Options, checkpoint: Option<Checkpoint>, mut epochs: Epochs) -> Done {
    let mut model = model();
    model.compute = compute.clone();
    let ((train_set, train_tokens), (val, val_tokens)) = (texts(41, 5), texts(18, 9));
    let stop = AtomicBool::new(false);
    let inputs = Inputs::Texts(Texts { train: &train_tokens, val: &val_tokens });
    let feed = Feed {
        train: &train_set,
        val: &val,
        ids: Some(("train", "val")),
        weights: None,
        stop: &stop,
        inputs,
    };
    let plan = schedule(&model).plan(&model.net_info(), model.head.store.count()).unwrap();
    let outcome = train(&model, &plan, &feed, options, checkpoint, &mut epochs).unwrap();
    assert_eq!(outcome.ended, Ended::Finished);
    Done { model, epochs }
}

fn figures(done: &Done) -> Vec<(u32, u64, u64)> {
    let results = done.epochs.results.iter();
    results.map(|r| (r.epoch, r.train.loss_sum.to_bits(), r.val.loss.to_bits())).collect()
}

fn same(a: &Model, b: &Model, what: &str) {
    for (a, b) in a.tensors().zip(b.tensors()) {
        assert!(a.tensor.equal(&b.tensor), "{} {what}", a.name);
    }
}

#[test]
fn kept_rows_are_the_same_in_memory_and_on_disk_and_near_to_new_ones() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().unwrap();
    let memory = run(&options(1 << 30), None, Epochs::default());
    let on_disk = Options { store: store(dir.path()), ..options(0) };
    for what in ["written to disk", "found on disk"] {
        let disk = run(&on_disk, None, Epochs::default());
        assert_eq!(figures(&disk), figures(&memory), "{what}");
        same(&disk.model, &memory.model, what);
    }
    assert!(std::fs::read_dir(dir.path()).unwrap().count() >= 4, "two sets at several levels");
    let anew = run(&options(0), None, Epochs::default());
    for (a, b) in anew.epochs.results.iter().zip(&memory.epochs.results) {
        assert!((a.val.loss - b.val.loss).abs() < 1e-3, "{} {}", a.val.loss, b.val.loss);
    }
    let loss = |i: usize| memory.epochs.results[i].train.loss();
    assert!(loss(memory.epochs.results.len() - 1) < loss(0), "it learns");
}

#[test]
fn a_run_on_texts_goes_on_from_its_checkpoints_to_the_bit() {
    goes_on(&Compute::default());
}

#[test]
fn so_does_one_with_packed_layers() {
    goes_on(&Compute { compiled: true, ..Compute::default() });
}

fn goes_on(compute: &Compute) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().unwrap();
    let points = dir.path().join("points");
    std::fs::create_dir(&points).unwrap();
    let (from, to) = (dir.path().join(CHECKPOINT), points.clone());
    let mut last = Vec::new();
    let copy = move |_| {
        let Ok(bytes) = std::fs::read(&from) else { return };
        if bytes != last {
            let place = to.join(format!("{:03}", std::fs::read_dir(&to).unwrap().count()));
            std::fs::create_dir(&place).unwrap();
            std::fs::write(place.join(CHECKPOINT), &bytes).unwrap();
            last = bytes;
        }
    };
    let watched = Epochs { at_tick: Some(Box::new(copy)), ..Epochs::default() };
    let plain = options(1 << 30);
    let whole = run_in(compute, &Options { checkpoints: often(dir.path()), ..plain.clone() }, None, watched);
    let mut points: Vec<_> = std::fs::read_dir(points).unwrap().map(|entry| entry.unwrap().path()).collect();
    points.sort();
    let mut inside = 0;
    for point in points.iter().step_by((points.len() / 8).max(1)) {
        let checkpoint = Checkpoint::read(point).unwrap().unwrap();
        let done = checkpoint.progress.epochs as usize;
        inside += usize::from(checkpoint.progress.batches > 0);
        let again = run_in(compute, &plain, Some(checkpoint), Epochs::default());
        assert_eq!(figures(&again), figures(&whole)[done..], "from {}", point.display());
        same(&again.model, &whole.model, "after it went on");
    }
    assert!(inside > 1, "{inside} checkpoints in the middle of an epoch");
}

/// With one thread a batch is computed whole, with two each half by its own; dropout and stochastic depth act in both.
#[test]
fn halves_of_a_batch_side_by_side_teach_what_the_whole_does() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let threads = tch::get_num_threads();
    let with = |threads| {
        tch::set_num_threads(threads);
        run(&Options { batch: 8, ..options(1 << 30) }, None, Epochs::default())
    };
    let (whole, halves, again) = (with(1), with(2), with(2));
    tch::set_num_threads(threads);
    let before = model();
    for (i, param) in whole.model.tensors().enumerate() {
        let of = |done: &Done| done.model.tensors().nth(i).unwrap().tensor.shallow_clone();
        let start = &before.tensors().nth(i).unwrap().tensor;
        let (moved, apart) = ((&param.tensor - start).norm(), (&param.tensor - of(&halves)).norm());
        let (moved, apart) = (moved.double_value(&[]), apart.double_value(&[]));
        // A bias of keys changes nothing, and is moved by rounding alone.
        if !param.name.ends_with("key.bias") {
            assert!(apart <= 1e-3 * moved, "{}: moved by {moved}, {apart} apart", param.name);
        }
    }
    same(&halves.model, &again.model, "from run to run");
    assert_eq!(figures(&halves), figures(&again));
    assert_ne!(figures(&whole), figures(&halves), "sums of parts are rounded otherwise");
}

#[test]
fn answers_stand_in_the_order_of_the_texts_and_do_not_depend_on_their_company() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (model, (samples, encoded)) = (model(), texts(37, 2));
    let never = AtomicBool::new(false);
    let scored = evaluate(&model, &samples, SetInputs::Texts(&encoded), &never, &mut |_| ()).unwrap();
    let said = predict_texts(&model, &encoded, false, &mut |_| ()).unwrap();
    assert_eq!(scored.probabilities, said);
    for (i, tokens) in encoded.texts.iter().enumerate() {
        let alone = Encoded { texts: vec![tokens.clone()], pad: 0 };
        let alone = predict_texts(&model, &alone, false, &mut |_| ()).unwrap();
        assert!((alone[0][0] - said[i][0]).abs() < 1e-5, "text {i}");
    }
    let accuracy =
        said.iter().zip(samples.iter()).filter(|(row, sample)| (row[1] > row[0]) == (sample.label == 1));
    assert_eq!(scored.scores.unwrap().right() as usize, accuracy.count());
}

#[test]
fn packed_layers_answer_as_plain_ones_and_see_weights_that_change() {
    let (mut model, (_, encoded)) = (model(), texts(37, 2));
    let answers = |model: &Model| predict_texts(model, &encoded, false, &mut |_| ()).unwrap();
    let near = |a: &[Vec<f32>], b: &[Vec<f32>], most| {
        a.iter().zip(b).all(|(a, b)| a.iter().zip(b).all(|(a, b)| (a - b).abs() < most))
    };
    let plain = answers(&model);
    model.compute = Compute { compiled: true, ..Compute::default() };
    assert!(model.runner(0..model.stages(), 8, 1).is_compiled());
    assert!(near(&answers(&model), &plain, 1e-5));
    let weight = model.backbone.store.get("encoder.layer.1.output.dense.weight").unwrap();
    let _ = tch::no_grad(|| weight.tensor.shallow_clone().g_mul_scalar_(30.0));
    let changed = answers(&model);
    assert!(!near(&changed, &plain, 1e-3));
    model.compute = Compute::default();
    assert!(near(&answers(&model), &changed, 1e-5));
}

#[test]
fn what_is_kept_of_texts_is_priced_by_their_real_lengths() {
    let (model, (samples, encoded)) = (model(), texts(30, 4));
    let stop = AtomicBool::new(false);
    let inputs = Inputs::Texts(Texts { train: &encoded, val: &encoded });
    let feed = Feed { train: &samples, val: &samples, ids: None, weights: None, stop: &stop, inputs };
    let part = |part: &str| PartRate::new(part, 1e-3);
    let schedule = Schedule { phases: vec![Phase::new("last", vec![part("layer2"), part("head")], 3)] };
    let plan = schedule.plan(&model.net_info(), model.head.store.count()).unwrap();
    let tokens: usize = encoded.lengths().iter().sum();
    assert_eq!(cache_bytes(&model, &plan, &feed), (2 * tokens * 24 * 4) as u64);
    let prices = price(&model, &plan, &feed, &options(1 << 30)).unwrap();
    assert!(prices[0].epoch > 0.0 && prices[0].kept == cache_bytes(&model, &plan, &feed));
}

#[test]
fn inputs_that_the_net_does_not_take_are_refused() {
    let (model, (samples, encoded)) = (model(), texts(6, 1));
    let never = AtomicBool::new(false);
    let images = tl_data::DataPool::new(1).unwrap();
    let refused = |samples: &Arc<[Sample]>, inputs: SetInputs<'_>| {
        evaluate(&model, samples, inputs, &never, &mut |_| ()).unwrap_err().to_string()
    };
    assert_eq!(refused(&samples, SetInputs::Images(&images)), "`tiny` takes texts, and got images");
    let fewer: Arc<[Sample]> = samples[..5].into();
    assert!(refused(&fewer, SetInputs::Texts(&encoded)).contains("6 texts for 5 samples"));
    let mut long = encoded.clone();
    long.texts[0].ids = vec![9; 21];
    long.texts[0].types = vec![0; 21];
    assert!(refused(&samples, SetInputs::Texts(&long)).contains("21 tokens"));
}

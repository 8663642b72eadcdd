//! Every preset on nets of every kind: after each phase, what it did not train is bit-identical.

#![expect(clippy::unwrap_used, reason = "a test")]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tch::{Device, Kind, Tensor};
use tl_backbones::{Backbone, CARDS, Card, Mode, NormMode, find};
use tl_data::{Augment, DataPool, Dataset, Preprocess, Sample, SplitOptions};
use tl_finetune::{BatchNorm, Plan, Preset, PresetOptions};
use tl_heads::Task;
use tl_torch::{Fill, Role, channels_last};
use tl_train::{Ended, EpochResult, Feed, Images, Inputs, Model, NewHead, Observer, Options, Tick, train};

/// A small net of each kind.
const SMALL: [&str; 13] = [
    "efficientnet-lite0",
    "efficientnet-b0",
    "mobilenet-v1",
    "mobilenet-v2",
    "mobilenet-v3-small",
    "resnet18",
    "densenet121",
    "googlenet",
    "inception-v3",
    "alexnet",
    "vgg11-bn",
    "convnext-tiny",
    "dinov2-small",
];

/// With this in the environment all presets run on all nets whose names contain its value. All of them take the better
/// part of an hour on two cores:
/// `TL_TEST_NETS= cargo test --release -p tl-train --test frozen_nets -- --nocapture`.
const NETS: &str = "TL_TEST_NETS";

/// Compares the tensors after each epoch, which is a phase, with those before it.
struct Watch<'a> {
    model: &'a Model,
    plan: &'a Plan,
    before: Vec<Tensor>,
    /// Phases seen.
    phases: usize,
    /// What has changed and should not have.
    wrong: Vec<String>,
}

impl<'a> Watch<'a> {
    fn new(model: &'a Model, plan: &'a Plan) -> Self {
        Self { model, plan, before: copies(model), phases: 0, wrong: Vec::new() }
    }
}

impl Observer for Watch<'_> {
    fn tick(&mut self, _: Tick) {}

    fn epoch(&mut self, result: &EpochResult) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let phase = &self.plan.phases[self.phases];
        assert_eq!((phase.name.as_str(), phase.batch_norm), (result.phase.as_str(), BatchNorm::Frozen));
        self.phases += 1;
        let after = copies(self.model);
        // By the plan, not by what requires gradients: the engine sets that.
        let of_net = self.model.params_by_layer().map(|(_, layer)| phase.layer_rates[layer].is_some());
        let of_head = self.model.head.store.iter().map(|_| phase.head_rate.is_some());
        let mut moved = 0;
        for (((param, in_part), before), after) in
            self.model.tensors().zip(of_net.chain(of_head)).zip(&self.before).zip(&after)
        {
            let trains = in_part && !matches!(param.role, Role::Norm | Role::Buffer);
            match (before.equal(after), trains) {
                (false, false) => self.wrong.push(format!("phase `{}`: {}", phase.name, param.name)),
                (false, true) => moved += 1,
                (true, _) => {}
            }
        }
        if moved == 0 {
            self.wrong.push(format!("phase `{}`: nothing has changed", phase.name));
        }
        self.before = after;
        Ok(())
    }
}

fn copies(model: &Model) -> Vec<Tensor> {
    model.tensors().map(|param| param.tensor.detach().copy()).collect()
}

/// Six images of two classes.
fn samples(dir: &Path) -> Vec<Sample> {
    for (class, level) in [("dark", 40), ("light", 200)] {
        std::fs::create_dir(dir.join(class)).unwrap();
        for i in 0..3u8 {
            let pixel = |x: u32, y: u32| image::Rgb([level + i, level + (x * 3) as u8 % 40, (y % 9) as u8]);
            image::RgbImage::from_fn(40, 48, pixel).save(dir.join(class).join(format!("{i}.png"))).unwrap();
        }
    }
    let folder = Dataset::open(dir, &SplitOptions::default()).unwrap();
    folder.train.into_iter().chain(folder.val).collect()
}

/// The net with new weights at the smallest input that it takes. Its running statistics come from a few batches: with
/// those that a norm begins with, the outputs of a hundred random layers are beyond what any loss can be made of.
fn model_of(card: &'static Card) -> Model {
    let backbone = Backbone::new(card, Device::Cpu, Fill::Seed(3)).unwrap();
    let size = (card.min_size..).find(|size| card.check_size(*size).is_ok()).unwrap();
    let task = Task::Softmax { classes: 2 };
    let head = NewHead { spec: "gap".parse().unwrap(), task, dropout: 0.1, fill: Fill::Seed(3) };
    let classes = ["dark", "light"].map(str::to_owned).to_vec();
    let side = i64::from(size);
    let xs =
        Tensor::arange(12 * side * side, (Kind::Float, Device::Cpu)).square().sin().view([4, 3, side, side]);
    let stages = backbone.stages.len();
    for _ in 0..10 {
        let batch = Mode { norm: NormMode::Batch, ..Mode::EVAL };
        let _ = tch::no_grad(|| backbone.forward(&channels_last(&xs), 0..stages, |_| batch));
    }
    Model::new(backbone, head, classes, Preprocess::imagenet(size), Device::Cpu).unwrap()
}

/// What is wrong after a run of the preset with an epoch a phase.
fn wrong(card: &'static Card, preset: Preset, feed: &Feed<'_>) -> Vec<String> {
    let model = model_of(card);
    let mut schedule = preset.schedule(&model.net_info(), &PresetOptions::default()).unwrap();
    for phase in &mut schedule.phases {
        // With the best weights put back, a phase would begin with other tensors than the one before it left.
        (phase.epochs, phase.restore_best) = (1, false);
    }
    let plan = schedule.plan(&model.net_info(), model.head.store.count()).unwrap();
    let mut watch = Watch::new(&model, &plan);
    let options = Options { batch: 2, ..common::options(1 << 30) };
    let outcome = train(&model, &plan, feed, &options, None, &mut watch).unwrap();
    assert_eq!(
        (outcome.ended, watch.phases),
        (Ended::Finished, plan.phases.len()),
        "{} {}",
        card.name,
        preset.name()
    );
    watch.wrong
}

#[test]
#[expect(clippy::print_stderr, reason = "a long run says how far it is")]
fn what_a_preset_freezes_stays_as_it_is_in_every_kind_of_net() {
    let dir = tempfile::tempdir().unwrap();
    let samples = samples(dir.path());
    let (train_set, val): (Arc<[_]>, Arc<[_]>) = (samples[..4].into(), samples[4..].into());
    let (pool, stop) = (DataPool::new(1).unwrap(), AtomicBool::new(false));
    let augmentation = Augment::basic().into();
    let images = Images { pool: &pool, augmentation: &augmentation, shrink: None, decoded: None };
    let feed = Feed {
        train: &train_set,
        val: &val,
        ids: None,
        weights: None,
        stop: &stop,
        inputs: Inputs::Images(images),
    };
    let wanted = std::env::var(NETS).ok();
    let presets = Preset::ALL.len();
    let pairs: Vec<(&'static Card, Preset)> = if let Some(part) = &wanted {
        let cards = CARDS.iter().filter(|card| card.name.contains(part.as_str()));
        cards.flat_map(|card| Preset::ALL.map(|preset| (*card, preset))).collect()
    } else {
        // Two presets for each net, so that every preset runs on several.
        let two = |(i, name): (usize, &&str)| {
            let card = find(name).unwrap();
            [i, i + 4].map(|preset| (card, Preset::ALL[preset % presets]))
        };
        SMALL.iter().enumerate().flat_map(two).collect()
    };
    for (card, preset) in pairs {
        let start = std::time::Instant::now();
        let wrong = wrong(card, preset, &feed);
        if wanted.is_some() {
            eprintln!("{} {}: {:.1} s", card.name, preset.name(), start.elapsed().as_secs_f64());
        }
        assert_eq!(wrong, [""; 0], "{} {}", card.name, preset.name());
    }
}

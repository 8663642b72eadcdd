//! What heads promise: sizes as in Keras, names that saved models rely on, dropout and batch-norm only where they
//! belong, finite values and gradients everywhere.

#![expect(clippy::unwrap_used, reason = "a test")]

use tch::{Device, Kind, Tensor};
use tl_heads::{Features, Head, HeadError, HeadLayer, LossOptions, Task, Training};
use tl_torch::{Fill, Role, uniform};

/// What VGG16 gives for 224 × 224 pixels.
const VGG16: Features = Features::Map { channels: 512, height: 7, width: 7 };
const MAP: Features = Features::Map { channels: 6, height: 3, width: 2 };
const TOKENS: Features = Features::Tokens { tokens: 5, channels: 6, prefix: 1 };

fn build(spec: &str, features: Features, outputs: i64, dropout: f64) -> Result<Head, HeadError> {
    Head::new(spec.parse().unwrap(), features, outputs, dropout, (Device::Cpu, Fill::Seed(1)))
}

fn head(spec: &str, features: Features, outputs: i64, dropout: f64) -> Head {
    build(spec, features, outputs, dropout).unwrap()
}

fn values(name: &str, shape: &[i64]) -> Tensor {
    let n = shape.iter().product::<i64>() as usize;
    Tensor::from_slice(&uniform(7, name, n, 1.0)).view(shape)
}

fn input(features: Features, n: i64) -> Tensor {
    match features {
        Features::Map { channels, height, width } => values("map", &[n, channels, height, width]),
        Features::Tokens { tokens, channels, .. } => values("tokens", &[n, tokens, channels]),
        Features::Text { channels } => values("text", &[n, 7, channels]),
    }
}

fn names(head: &Head) -> Vec<&str> {
    head.store.iter().map(|param| param.name.as_str()).collect()
}

fn buffer(head: &Head, name: &str) -> Tensor {
    head.store.get(name).unwrap().tensor.copy()
}

/// Keras's `model.summary()` for `Sequential([Flatten(), Dense(256, "relu"), Dense(1)])` and
/// `Sequential([GlobalAveragePooling2D(), Dense(1024, "relu"), Dense(1)])` on VGG16's (7, 7, 512).
#[test]
fn parameter_counts_are_those_of_keras() {
    let params = |spec: &str| {
        let head = head(spec, VGG16, 1, 0.0);
        let params: Vec<usize> = head.layers().iter().map(|layer| layer.params).collect();
        assert_eq!(params.iter().sum::<usize>(), head.store.count());
        params
    };
    assert_eq!(params("flatten-256"), [0, 6_422_784, 257]);
    assert_eq!(params("gap-1024"), [0, 525_312, 1_025]);
    assert_eq!(params("gap"), [0, 513]);
    // BatchNormalization on 2048 values: 8192 parameters, half of them non-trainable.
    let concat = head("concat-bn", Features::Map { channels: 1024, height: 7, width: 7 }, 1, 0.0).layers();
    assert_eq!((concat[1].params, concat[1].buffers), (4096, 4096));
}

#[test]
fn layers_are_listed_in_order() {
    let head = head("concat-bn-drop0.25-16-gelu-bn-8", MAP, 3, 0.5);
    let layer = |name: &str, kind: &'static str, output: i64, params: usize, buffers: usize| HeadLayer {
        name: format!("head.{name}"),
        kind,
        output: vec![output],
        params,
        buffers,
    };
    let expected = [
        layer("pool", "max and average pooling", 12, 0, 0),
        layer("bn0", "batch-norm", 12, 24, 24),
        layer("drop0", "dropout", 12, 0, 0),
        layer("0", "dense, gelu", 16, 208, 0),
        layer("bn1", "batch-norm", 16, 32, 32),
        layer("1", "dense, relu", 8, 136, 0),
        layer("dropout", "dropout", 8, 0, 0),
        layer("2", "dense", 3, 27, 0),
    ];
    assert_eq!(head.layers(), expected);
    assert_eq!(head.pooled_width(), 12);
}

#[test]
fn names_are_those_of_saved_models() {
    let old = ["head.0.weight", "head.0.bias", "head.1.weight", "head.1.bias"];
    assert_eq!(names(&head("gap-16", MAP, 2, 0.5)), old);
    let new = head("gap-bn-16-tanh-bn-drop0.5", MAP, 2, 0.5);
    let of_norm = |i: u32| {
        ["weight", "bias", "running_mean", "running_var"].map(|name| format!("head.bn{i}.{name}")).to_vec()
    };
    let of_dense = |i: u32| ["weight", "bias"].map(|name| format!("head.{i}.{name}")).to_vec();
    assert_eq!(names(&new), [of_norm(0), of_dense(0), of_norm(1), of_dense(1)].concat());
    let roles: Vec<Role> = new.store.iter().map(|param| param.role).take(6).collect();
    assert_eq!(roles, [Role::Norm, Role::Norm, Role::Buffer, Role::Buffer, Role::Weight, Role::Bias]);
    // New values are a function of seed and name, so old heads begin as they always did.
    let bound = (6.0f64 / (6.0 + 16.0)).sqrt();
    let expected = Tensor::from_slice(&uniform(1, "head.0.weight", 96, bound)).view([16, 6]);
    assert!(new.store.get("head.0.weight").unwrap().tensor.equal(&expected));
    for (name, value) in [("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)] {
        assert!(buffer(&new, &format!("head.bn0.{name}")).eq(value).all().int64_value(&[]) == 1);
    }
}

#[test]
fn forward_is_dense_layers_with_relu() {
    let head = head("gap-16", MAP, 2, 0.5);
    let xs = input(MAP, 3);
    let get = |name: &str| &head.store.get(name).unwrap().tensor;
    let layer = |i: u32, xs: &Tensor| {
        xs.matmul(&get(&format!("head.{i}.weight")).tr()) + get(&format!("head.{i}.bias"))
    };
    let expected = layer(1, &layer(0, &xs.mean_dim(&[2i64, 3][..], false, Kind::Float)).relu());
    assert!(head.forward(&head.pool(&xs), None).allclose(&expected, 1e-5, 1e-6, false));
}

#[test]
fn dropout_acts_in_training_only_and_follows_the_seed() {
    for (spec, dropout) in [("gap", 0.5), ("gap-drop0.5", 0.0), ("gap-64-drop0.5-64", 0.0)] {
        let head = head(spec, VGG16, 4, dropout);
        let xs = Tensor::ones([4, 512], (Kind::Float, Device::Cpu));
        let run = |train: Option<u64>| head.forward(&xs, train.map(Training::from));
        assert!(run(None).equal(&run(None)) && run(Some(1)).equal(&run(Some(1))), "{spec}");
        assert!(!run(Some(1)).equal(&run(None)) && !run(Some(1)).equal(&run(Some(2))), "{spec}");
    }
    // As it was before there were other dropouts: the mask of the step's own seed.
    let head = head("gap", MAP, 2, 0.5);
    let xs = values("pooled", &[3, 6]);
    let expected = head.forward(&tl_torch::dropout(&xs, 0.5, 9), None);
    assert!(head.forward(&xs, Some(9.into())).equal(&expected));
}

#[test]
fn a_step_may_have_another_dropout_before_the_last_layer() {
    let xs = values("pooled", &[8, 6]);
    let step = |head: &Head, dropout| head.forward(&xs, Some(Training { seed: 9, dropout }));
    for own in [0.0, 0.2] {
        let head = head("gap", MAP, 2, own);
        assert!(step(&head, None).equal(&head.forward(&xs, Some(9.into()))));
        assert!(step(&head, Some(own)).equal(&step(&head, None)));
        assert!(step(&head, Some(0.0)).equal(&head.forward(&xs, None)));
        let half = head.forward(&tl_torch::dropout(&xs, 0.5, 9), None);
        assert!(step(&head, Some(0.5)).equal(&half));
    }
    // The dropouts that the head is written with stay.
    let (with, without) = (head("gap-16-drop0.5-8", MAP, 2, 0.2), head("gap-16-drop0.5-8", MAP, 2, 0.0));
    assert!(step(&with, Some(0.0)).equal(&step(&without, None)));
    assert!(!step(&with, Some(0.0)).equal(&with.forward(&xs, None)));
    assert!(step(&with, None).equal(&step(&without, Some(0.2))));
}

#[test]
fn running_statistics_move_in_training_of_two_or_more() {
    let head = head("gap-bn", MAP, 2, 0.0);
    let stats = || (buffer(&head, "head.bn0.running_mean"), buffer(&head, "head.bn0.running_var"));
    let before = stats();
    let one = values("pooled", &[1, 6]);
    // As a caller may do it who makes all of a head trainable.
    head.store.iter().for_each(|param| drop(param.tensor.set_requires_grad(true)));
    assert!(head.forward(&one, Some(1.into())).equal(&head.forward(&one, None)));
    let many = values("pooled", &[8, 6]);
    let evaluated = head.forward(&many, None);
    assert!(stats().0.equal(&before.0) && stats().1.equal(&before.1));
    assert!(!head.forward(&many, Some(1.into())).equal(&evaluated));
    let moved = |old: &Tensor, new: &Tensor| old * 0.9 + new * 0.1;
    let dim = &[0i64][..];
    let mean = moved(&before.0, &many.mean_dim(dim, false, Kind::Float));
    let var = moved(&before.1, &many.var_dim(dim, true, false));
    assert!(stats().0.allclose(&mean, 1e-5, 1e-6, false) && stats().1.allclose(&var, 1e-5, 1e-6, false));
}

#[test]
fn everything_is_finite_and_gradients_reach_every_parameter() {
    let tasks = [
        Task::Softmax { classes: 3 },
        Task::Binary,
        Task::MultiLabel { labels: 2 },
        Task::Regression { targets: 2 },
    ];
    let rests = ["", "-bn-drop0.2-16-bn-8-gelu", "-8-silu-8-tanh-8-elu-8-leaky-8-none"];
    for pool in ["gap", "max", "concat", "gem", "flatten", "cls"] {
        for (features, rest, task, n) in [MAP, TOKENS]
            .into_iter()
            .flat_map(|features| rests.map(|rest| (features, rest)))
            .flat_map(|(features, rest)| tasks.map(|task| (features, rest, task)))
            .flat_map(|(features, rest, task)| [1, 4].map(|n| (features, rest, task, n)))
        {
            if pool == "cls" && features == MAP {
                continue;
            }
            let head = head(&format!("{pool}{rest}"), features, task.outputs(), 0.2);
            let what = format!("{} on {features}, {task:?}, {n} images", head.spec);
            check_gradients(&head, features, task, n, &what);
        }
    }
}

fn check_gradients(head: &Head, features: Features, task: Task, n: i64, what: &str) {
    let finite = |xs: &Tensor| xs.isfinite().all().int64_value(&[]) == 1;
    let trained = || head.store.iter().filter(|param| param.role != Role::Buffer);
    trained().for_each(|param| drop(param.tensor.set_requires_grad(true)));
    let xs = input(features, n).set_requires_grad(true);
    let logits = head.forward(&head.pool(&xs), Some(3.into()));
    let targets = match task {
        Task::Softmax { .. } | Task::Binary => Tensor::ones([n], (Kind::Int64, Device::Cpu)),
        _ => Tensor::ones([n, task.outputs()], (Kind::Float, Device::Cpu)),
    };
    let loss = task.loss(&logits, &targets, LossOptions { label_smoothing: 0.1, ..LossOptions::default() });
    assert!(finite(&logits) && finite(&loss) && finite(&task.probabilities(&logits)), "{what}");
    loss.backward();
    for param in trained() {
        let grad = param.tensor.grad();
        assert!(grad.defined() && finite(&grad), "{what}: {}", param.name);
    }
    assert!(finite(&xs.grad()), "{what}");
    // The last bias always counts.
    let last = trained().last().unwrap().tensor.grad();
    assert!(last.abs().sum(Kind::Float).double_value(&[]) > 0.0, "{what}");
}

#[test]
fn the_gradient_of_gem_is_its_slope() {
    let head = head("gem", Features::Map { channels: 2, height: 3, width: 3 }, 1, 0.0);
    // Away from the floor, where there is a kink.
    let xs = values("gem", &[1, 2, 3, 3]).abs() + 0.2;
    let pooled = |xs: &Tensor| head.pool(xs).sum(Kind::Double);
    let xs = xs.set_requires_grad(true);
    pooled(&xs).backward();
    let grad = xs.grad().view([-1]);
    let (step, xs) = (1e-2, xs.detach());
    for i in 0..18 {
        let moved = |by: f64| {
            let moved = xs.copy();
            let _ = moved.view([-1]).get(i).g_add_scalar_(by);
            pooled(&moved).double_value(&[])
        };
        let slope = (moved(step) - moved(-step)) / (2.0 * step);
        let got = grad.double_value(&[i]);
        assert!((got - slope).abs() < 2e-4 + 2e-3 * slope, "{i}: {got} and not {slope}");
    }
}

#[test]
fn gem_lies_between_mean_and_maximum_and_survives_dead_channels() {
    let pool = |spec: &str, xs: &Tensor| head(spec, MAP, 1, 0.0).pool(xs);
    let xs = input(MAP, 4).abs();
    let (gap, gem, max) = (pool("gap", &xs), pool("gem", &xs), pool("max", &xs));
    assert!(
        gap.le_tensor(&gem).all().int64_value(&[]) == 1 && gem.le_tensor(&max).all().int64_value(&[]) == 1
    );
    let dead = Tensor::zeros([1, 6, 3, 2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let ys = pool("gem", &dead);
    assert!(ys.allclose(&Tensor::full([1, 6], 1e-6, (Kind::Float, Device::Cpu)), 1e-4, 0.0, false));
    ys.sum(Kind::Float).backward();
    assert_eq!(dead.grad().isfinite().all().int64_value(&[]), 1);
}

#[test]
fn half_precision_is_pooled_in_f32() {
    for pool in ["gap", "max", "concat", "gem", "flatten", "cls"] {
        let head = head(pool, TOKENS, 1, 0.0);
        let half = input(TOKENS, 2).to_kind(Kind::BFloat16);
        let (got, expected) = (head.pool(&half), head.pool(&half.to_kind(Kind::Float)));
        assert!(got.kind() == Kind::Float && got.allclose(&expected, 1e-6, 1e-7, false), "{pool}");
    }
}

#[test]
fn what_cannot_be_built_is_refused() {
    let message = |result: Result<Head, HeadError>| result.unwrap_err().to_string();
    let cls = message(build("cls", MAP, 2, 0.0));
    assert!(
        cls.starts_with("pooling `cls` takes the class token, and the net gives feature maps of 6"),
        "{cls}"
    );
    assert_eq!(message(build("gap", MAP, 0, 0.0)), "a head needs 1 output or more, not 0");
    for dropout in [1.0, -0.1, f64::NAN, 2.0, 0.999_999_999_999] {
        let error = message(build("gap", MAP, 2, dropout));
        assert_eq!(error, format!("dropout {dropout} is not in 0..1 (0 is none, 1 would leave nothing)"));
    }
    let large = message(build("flatten-65536", VGG16, 2, 0.0));
    assert!(
        large.starts_with("the head would have 1644298240 weights, the limit is 1073741824\n"),
        "{large}"
    );
    assert!(message(build("gap", MAP, i64::MAX, 0.0)).starts_with("the head would have 9223372036854775807"));
}

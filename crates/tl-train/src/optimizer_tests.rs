//! Steps against PyTorch and timm: `tests/golden/make_optimizers.py` writes the numbers. And state that is put back.

use serde::Deserialize;
use tch::{Device, Kind};

use super::*;

const GOLDEN: &str = include_str!("../tests/data/optimizers.json");
/// Steps in all, the step before which `q` joins, and that from which the momentum is another.
const STEPS: u64 = 50;
const JOINS: u64 = 20;
const MOVES: u64 = 35;

#[derive(Deserialize)]
struct Case {
    optimizer: Rule,
    rate: f64,
    weight_decay: f64,
    /// After so many steps, the values of `p` and `q`.
    values: Vec<(u64, Vec<f64>)>,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(GOLDEN).unwrap()
}

/// The problem that the script describes.
struct Problem {
    p: Tensor,
    q: Tensor,
}

impl Problem {
    fn new() -> Self {
        let p = Tensor::from_slice(&[0.5, -1.0, 2.0, 1.5, 0.1, -0.3]).view([2, 3]).set_requires_grad(true);
        let q = Tensor::from_slice(&[0.3, -0.2, 0.7]).set_requires_grad(true);
        Self { p, q }
    }

    fn step(&mut self, case: &Case, optimizer: &mut Optimizer, step: u64) {
        self.p.zero_grad();
        self.q.zero_grad();
        let c = Tensor::arange(6, (Kind::Double, Device::Cpu)).sin().view([2, 3]);
        let columns = self.p.sum_dim_intlist([0i64].as_slice(), false, Kind::Double);
        let loss = self.p.pow_tensor_scalar(4).sum(Kind::Double) / 4.0
            + (&self.p * c).sum(Kind::Double)
            + (columns * &self.q).sum(Kind::Double)
            + self.q.square().sum(Kind::Double) * 1.5;
        loss.backward();
        let rate = case.rate * (1.0 - step as f64 / 100.0);
        let p = Target { name: "p", tensor: &self.p, rate, weight_decay: case.weight_decay };
        let q = (step >= JOINS).then_some(Target { name: "q", tensor: &self.q, rate, weight_decay: 0.0 });
        optimizer.step([p].into_iter().chain(q), (step >= MOVES).then_some(0.8));
    }

    fn params(&self) -> [(&str, &Tensor); 2] {
        [("p", &self.p), ("q", &self.q)]
    }

    fn values(&self) -> Vec<f64> {
        let flat = |tensor: &Tensor| Vec::<f64>::try_from(tensor.detach().view([-1])).unwrap();
        [flat(&self.p), flat(&self.q)].concat()
    }
}

#[test]
fn each_steps_as_pytorch_does() {
    let cases = cases();
    assert_eq!(cases.len(), 10);
    for case in cases {
        let (mut problem, mut optimizer) = (Problem::new(), Optimizer::new(case.optimizer));
        let mut checked = 0;
        for step in 0..STEPS {
            problem.step(&case, &mut optimizer, step);
            if let Some((_, expected)) = case.values.iter().find(|(after, _)| *after == step + 1) {
                checked += 1;
                let got = problem.values();
                let worst = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                assert!(worst < 1e-10, "{:?} after {}: {worst:e}", case.optimizer, step + 1);
            }
        }
        assert_eq!(checked, case.values.len());
        let steps: Vec<(&str, u64)> = optimizer.steps().collect();
        assert_eq!(steps, [("p", STEPS), ("q", STEPS - JOINS)]);
    }
}

/// State in plain maps, as a file would have it.
type Saved = (BTreeMap<String, u64>, BTreeMap<(String, String), Tensor>);

fn saved(optimizer: &Optimizer) -> Saved {
    let steps = optimizer.steps().map(|(name, steps)| (name.to_owned(), steps)).collect();
    let tensors = optimizer.state();
    (steps, tensors.map(|(name, slot, t)| ((name.to_owned(), slot.to_owned()), t.copy())).collect())
}

fn restore(optimizer: &mut Optimizer, problem: &Problem, (steps, tensors): &Saved) -> Result<(), StateError> {
    let slot =
        |name: &str, slot: &str| tensors.get(&(name.to_owned(), slot.to_owned())).map(Tensor::shallow_clone);
    optimizer.restore(problem.params().into_iter(), steps, slot)
}

#[test]
fn restored_state_goes_on_bit_for_bit() {
    for case in cases() {
        for pause in [7, JOINS, 41] {
            let (mut problem, mut optimizer) = (Problem::new(), Optimizer::new(case.optimizer));
            let mut paused = None;
            for step in 0..STEPS {
                if step == pause {
                    paused = Some((saved(&optimizer), problem.p.detach().copy(), problem.q.detach().copy()));
                }
                problem.step(&case, &mut optimizer, step);
            }
            let (state, p, q) = paused.unwrap();
            let mut again = Problem { p: p.set_requires_grad(true), q: q.set_requires_grad(true) };
            let mut resumed = Optimizer::new(case.optimizer);
            restore(&mut resumed, &again, &state).unwrap();
            (pause..STEPS).for_each(|step| again.step(&case, &mut resumed, step));
            assert_eq!(again.values(), problem.values(), "{:?} from {pause}", case.optimizer);
            let bits = |saved: Saved| -> Vec<_> {
                let tensors = saved.1.into_iter();
                tensors.map(|(key, t)| (key, Vec::<f64>::try_from(t.view([-1])).unwrap())).collect()
            };
            assert_eq!(bits(saved(&resumed)), bits(saved(&optimizer)));
        }
    }
}

#[test]
fn state_that_does_not_fit_is_refused_and_changes_nothing() {
    let case = cases().into_iter().find(|case| case.optimizer.name() == "adamw").unwrap();
    let (mut problem, mut optimizer) = (Problem::new(), Optimizer::new(case.optimizer));
    (0..3).for_each(|step| problem.step(&case, &mut optimizer, step));
    let key = ("p".to_owned(), "exp_avg_sq".to_owned());
    let mut refused = |spoil: &dyn Fn(&mut Saved), text: &str| {
        let mut state = saved(&optimizer);
        spoil(&mut state);
        let error = restore(&mut optimizer, &problem, &state).unwrap_err().to_string();
        assert!(error.starts_with(text) && error.contains("\n\nhint: "), "{error}");
        assert_eq!(optimizer.steps().collect::<Vec<_>>(), [("p", 3)]);
    };
    refused(
        &|state| drop(state.1.remove(&key)),
        "the state of the optimizer has no `exp_avg_sq` for parameter `p`, which adamw needs",
    );
    refused(
        &|state| {
            state.1.insert(key.clone(), Tensor::zeros([3, 2], (Kind::Double, Device::Cpu)));
        },
        "the state of the optimizer has `exp_avg_sq` for parameter `p` as [3, 2] Double, expected [2, 3] Double",
    );
    refused(
        &|state| {
            state.1.insert(key.clone(), Tensor::zeros([2, 3], (Kind::Float, Device::Cpu)));
        },
        "the state of the optimizer has `exp_avg_sq` for parameter `p` as [2, 3] Float, expected",
    );
    refused(
        &|state| {
            state.0.insert("r".to_owned(), 1);
        },
        "the state of the optimizer has parameter `r`, which the model has not",
    );
}

/// In the type of nets.
#[test]
fn single_precision_is_near_enough() {
    // torch 2.11: p = [1., -2., 0.5]; AdamW(lr=0.1, weight_decay=0.05); loss = (p**3).sum(); 20 steps
    let expected = [-0.240_447_45, -3.818_401_3, -0.913_855_97];
    let mut p = Tensor::from_slice(&[1f32, -2., 0.5]).set_requires_grad(true);
    let mut adam = Optimizer::new(Rule::ADAMW);
    for _ in 0..20 {
        p.zero_grad();
        p.pow_tensor_scalar(3).sum(Kind::Float).backward();
        adam.step([Target { name: "p", tensor: &p, rate: 0.1, weight_decay: 0.05 }].into_iter(), None);
    }
    let got = Vec::<f32>::try_from(&p).unwrap();
    assert!(got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{got:?}");
}

#[test]
fn what_leaves_is_forgotten_and_another_rule_starts_anew() {
    let p = Tensor::from_slice(&[1f32]).set_requires_grad(true);
    p.sum(Kind::Float).backward();
    let target = || [Target { name: "p", tensor: &p, rate: 0.1, weight_decay: 0.0 }].into_iter();
    let mut optimizer = Optimizer::new(Rule::ADAMW);
    let slots = |optimizer: &Optimizer| optimizer.state().map(|(_, slot, _)| slot).collect::<Vec<_>>();
    optimizer.step(target(), None);
    optimizer.retain(|name| name == "p");
    assert_eq!(slots(&optimizer), ["exp_avg", "exp_avg_sq"]);
    optimizer.set_rule(Rule::AdamW { beta1: 0.7, beta2: 0.99, epsilon: 1e-5 });
    assert_eq!(slots(&optimizer), ["exp_avg", "exp_avg_sq"]);
    optimizer.retain(|name| name != "p");
    assert_eq!((slots(&optimizer), optimizer.steps().count()), (vec![], 0));
    optimizer.step(target(), None);
    optimizer.set_rule(Rule::RmsProp { alpha: 0.9, epsilon: 1e-8, momentum: 0.5 });
    assert_eq!((slots(&optimizer), optimizer.steps().count()), (vec![], 0));
    optimizer.step(target(), None);
    assert_eq!(slots(&optimizer), ["momentum_buffer", "square_avg"]);
    optimizer.set_rule(Rule::RmsProp { alpha: 0.9, epsilon: 1e-8, momentum: 0.0 });
    assert_eq!(slots(&optimizer), ["square_avg"]);
}

#[test]
fn without_a_gradient_nothing_happens() {
    let p = Tensor::from_slice(&[1f32]).set_requires_grad(true);
    let mut optimizer = Optimizer::new(Rule::ADAMW);
    optimizer.step([Target { name: "p", tensor: &p, rate: 0.1, weight_decay: 0.5 }].into_iter(), None);
    assert_eq!((p.double_value(&[0]), optimizer.steps().count()), (1.0, 0));
}

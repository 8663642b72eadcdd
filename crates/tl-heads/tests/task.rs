//! What tasks promise beyond the golden values: binary is softmax over two, extremes stay finite, JSON is stable.

use tch::{Device, Kind, Tensor};
use tl_heads::Task;

const TWO: Task = Task::Softmax { classes: 2 };

#[test]
fn binary_is_softmax_over_two_with_one_score_at_zero() {
    let logits = Tensor::from_slice(&[-30f32, -2.0, 0.0, 0.5, 3.0, 20.0]).view([6, 1]);
    let both = Tensor::cat(&[logits.zeros_like(), logits.shallow_clone()], 1);
    let targets = Tensor::from_slice(&[0i64, 1, 1, 0, 1, 0]);
    let weights = Tensor::from_slice(&[0.5f32, 3.0]);
    for (smoothing, weights) in [(0.0, None), (0.2, None), (0.0, Some(&weights)), (0.2, Some(&weights))] {
        let one = Task::Binary.losses(&logits, &targets, smoothing, weights);
        let two = TWO.losses(&both, &targets, smoothing, weights);
        assert!(one.allclose(&two, 1e-5, 1e-6, false), "smoothing {smoothing}, weights {weights:?}");
    }
    assert!(Task::Binary.probabilities(&logits).allclose(&TWO.probabilities(&both), 1e-5, 1e-30, false));
}

#[test]
fn sure_answers_stay_finite() {
    let logits = Tensor::from_slice(&[-500f32, 500.0]).view([2, 1]).set_requires_grad(true);
    let loss = Task::Binary.loss(&logits, &Tensor::from_slice(&[1i64, 0]), 0.1, None);
    loss.backward();
    assert!((loss.double_value(&[]) - 475.0).abs() < 1e-3);
    assert_eq!(logits.grad().isfinite().all().int64_value(&[]), 1);
    // 1 − p would be 0 in f32.
    assert!(
        Task::Binary.probabilities(&Tensor::from_slice(&[40f32]).view([1, 1])).double_value(&[0, 0]) > 0.0
    );
}

#[test]
fn a_loss_is_one_number_per_image_in_the_kind_of_the_logits() {
    let options = (Kind::Float, Device::Cpu);
    for (task, targets) in [
        (Task::Softmax { classes: 3 }, Tensor::zeros([4], (Kind::Int64, Device::Cpu))),
        (Task::Binary, Tensor::zeros([4], (Kind::Int64, Device::Cpu))),
        (Task::MultiLabel { labels: 2 }, Tensor::zeros([4, 2], options)),
        (Task::Regression { targets: 2 }, Tensor::zeros([4, 2], options)),
        (Task::Regression { targets: 1 }, Tensor::zeros([4], options)),
    ] {
        let logits = Tensor::ones([4, task.outputs()], options);
        for (kind, expected) in
            [(Kind::BFloat16, Kind::Float), (Kind::Float, Kind::Float), (Kind::Double, Kind::Double)]
        {
            let logits = logits.to_kind(kind);
            let losses = task.losses(&logits, &targets, 0.0, None);
            assert_eq!((losses.size(), losses.kind()), (vec![4], expected), "{task:?}");
            let loss = task.loss(&logits, &targets, 0.0, None);
            assert_eq!((loss.size(), loss.kind()), (vec![], expected), "{task:?}");
            let probabilities = task.probabilities(&logits);
            assert_eq!((probabilities.size(), probabilities.kind()), (vec![4, task.names()], expected));
        }
    }
}

#[test]
fn an_image_counts_the_same_in_any_batch() {
    let logits = Tensor::from_slice(&[1f32, -1.0, 0.5, 2.0, 0.0, 0.1]).view([3, 2]);
    let targets = Tensor::from_slice(&[0i64, 0, 1]);
    let weights = Tensor::from_slice(&[0.5f32, 3.0]);
    let all = TWO.losses(&logits, &targets, 0.1, Some(&weights));
    for i in 0..3 {
        let alone = TWO.loss(&logits.narrow(0, i, 1), &targets.narrow(0, i, 1), 0.1, Some(&weights));
        assert!((alone.double_value(&[]) - all.double_value(&[i])).abs() < 1e-6);
    }
}

#[test]
fn tasks_are_written_in_kebab_case() {
    for (task, json) in [
        (Task::Softmax { classes: 3 }, r#"{"kind":"softmax","classes":3}"#),
        (Task::Binary, r#"{"kind":"binary"}"#),
        (Task::MultiLabel { labels: 5 }, r#"{"kind":"multi-label","labels":5}"#),
        (Task::Regression { targets: 1 }, r#"{"kind":"regression","targets":1}"#),
    ] {
        assert_eq!(serde_json::to_string(&task).unwrap(), json);
        assert_eq!(serde_json::from_str::<Task>(json).unwrap(), task);
    }
    assert_eq!((Task::Binary.outputs(), Task::Binary.names()), (1, 2));
    assert_eq!((TWO.outputs(), TWO.names()), (2, 2));
}

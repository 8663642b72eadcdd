//! What tasks promise beyond the golden values: binary is softmax over two, extremes stay finite, JSON is stable.

use tch::{Device, Kind, Tensor};
use tl_heads::{LossOptions, Task};

const PLAIN: LossOptions<'static> = LossOptions { label_smoothing: 0.0, class_weights: None, focal: 0.0 };
const TWO: Task = Task::Softmax { classes: 2 };

#[test]
fn binary_is_softmax_over_two_with_one_score_at_zero() {
    let logits = Tensor::from_slice(&[-30f32, -2.0, 0.0, 0.5, 3.0, 20.0]).view([6, 1]);
    let both = Tensor::cat(&[logits.zeros_like(), logits.shallow_clone()], 1);
    let targets = Tensor::from_slice(&[0i64, 1, 1, 0, 1, 0]);
    let weights = Tensor::from_slice(&[0.5f32, 3.0]);
    for options in [
        PLAIN,
        LossOptions { label_smoothing: 0.2, ..PLAIN },
        LossOptions { class_weights: Some(&weights), ..PLAIN },
        LossOptions { label_smoothing: 0.2, class_weights: Some(&weights), focal: 0.0 },
        LossOptions { focal: 2.0, ..PLAIN },
        LossOptions { focal: 0.7, class_weights: Some(&weights), ..PLAIN },
    ] {
        let one = Task::Binary.losses(&logits, &targets, options);
        let two = TWO.losses(&both, &targets, options);
        assert!(one.allclose(&two, 1e-5, 1e-6, false), "{options:?}: {one} {two}");
    }
    assert!(Task::Binary.probabilities(&logits).allclose(&TWO.probabilities(&both), 1e-5, 1e-30, false));
}

#[test]
fn sure_answers_stay_finite() {
    let logits = Tensor::from_slice(&[-500f32, 500.0]).view([2, 1]).set_requires_grad(true);
    let smoothed = LossOptions { label_smoothing: 0.1, ..PLAIN };
    let loss = Task::Binary.loss(&logits, &Tensor::from_slice(&[1i64, 0]), smoothed);
    loss.backward();
    assert!((loss.double_value(&[]) - 475.0).abs() < 1e-3);
    assert_eq!(logits.grad().isfinite().all().int64_value(&[]), 1);
    // 1 − p would be 0 in f32.
    assert!(
        Task::Binary.probabilities(&Tensor::from_slice(&[40f32]).view([1, 1])).double_value(&[0, 0]) > 0.0
    );
}

/// Also where 1 − p is 0 in f32, and a power below 1 has no slope.
#[test]
fn a_focal_loss_and_its_gradient_stay_finite() {
    let finite = |xs: &Tensor| xs.isfinite().all().int64_value(&[]) == 1;
    let bits = Tensor::from_slice(&[0i64, 1, 0, 1, 0, 1]);
    let column = [-100f32, -100.0, 100.0, 100.0, 17.0, 17.0];
    for focal in [1e-3, 0.5, 1.0, 2.0, 5.0] {
        for label_smoothing in [0.0, 0.1] {
            let options = LossOptions { label_smoothing, focal, ..PLAIN };
            let two = column.iter().flat_map(|&x| [-x / 2.0, x / 2.0]).collect::<Vec<_>>();
            for (task, values, targets) in [
                (TWO, two, bits.shallow_clone()),
                (Task::Softmax { classes: 1 }, column.to_vec(), bits.zeros_like()),
                (Task::Binary, column.to_vec(), bits.shallow_clone()),
                (Task::MultiLabel { labels: 1 }, column.to_vec(), bits.to_kind(Kind::Float)),
            ] {
                let logits = Tensor::from_slice(&values).view([6, -1]).set_requires_grad(true);
                let losses = task.losses(&logits, &targets, options);
                losses.sum(Kind::Float).backward();
                let what = format!("{task:?} {options:?}: {losses} {}", logits.grad());
                assert!(finite(&losses) && finite(&logits.grad()), "{what}");
                assert!(losses.ge(0.0).all().int64_value(&[]) == 1, "{what}");
                if label_smoothing == 0.0 && task.names() == 2 {
                    // Sure and wrong, it costs what cross-entropy does; sure and right, nothing.
                    let values = Vec::<f32>::try_from(&losses).unwrap();
                    assert!(values[1..4].iter().zip([100.0, 100.0, 0.0]).all(|(a, b)| (a - b).abs() < 1e-4));
                }
            }
        }
    }
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
        for (kind, expected, options) in [
            (Kind::BFloat16, Kind::Float, PLAIN),
            (Kind::Float, Kind::Float, PLAIN),
            (Kind::Double, Kind::Double, PLAIN),
            (Kind::BFloat16, Kind::Float, LossOptions { focal: 2.0, ..PLAIN }),
            (Kind::Double, Kind::Double, LossOptions { focal: 2.0, ..PLAIN }),
        ] {
            let logits = logits.to_kind(kind);
            let losses = task.losses(&logits, &targets, options);
            assert_eq!((losses.size(), losses.kind()), (vec![4], expected), "{task:?}");
            let loss = task.loss(&logits, &targets, options);
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
    for focal in [0.0, 2.0] {
        let options = LossOptions { label_smoothing: 0.1, class_weights: Some(&weights), focal };
        let all = TWO.losses(&logits, &targets, options);
        for i in 0..3 {
            let alone = TWO.loss(&logits.narrow(0, i, 1), &targets.narrow(0, i, 1), options);
            assert!((alone.double_value(&[]) - all.double_value(&[i])).abs() < 1e-6);
        }
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

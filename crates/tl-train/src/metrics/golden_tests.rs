//! Every metric against scikit-learn: `tests/golden/make_metrics.py` writes the numbers.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::*;
use crate::metrics::{Scores, brier, rmse};

const GOLDEN: &str = include_str!("../../tests/data/metrics.json");

/// By name of the metric.
type Values = BTreeMap<String, Option<f64>>;

#[derive(Deserialize)]
struct Golden {
    classes: Vec<OfClasses>,
    labels: Vec<OfLabels>,
    values: Vec<OfValues>,
}

#[derive(Deserialize)]
struct OfClasses {
    name: String,
    of: u32,
    counts: Vec<Vec<u32>>,
    labels: Vec<u32>,
    values: Values,
    confusion: Vec<Vec<u32>>,
    precision: Vec<Option<f64>>,
    recall: Vec<Option<f64>>,
    f1: Vec<Option<f64>>,
    brier: Option<f64>,
}

#[derive(Deserialize)]
struct OfLabels {
    name: String,
    of: u32,
    counts: Vec<Vec<u32>>,
    present: Vec<Vec<u8>>,
    values: Values,
    micro_f1: f64,
}

#[derive(Deserialize)]
struct OfValues {
    name: String,
    predicted: Vec<Vec<f32>>,
    targets: Vec<Vec<f32>>,
    values: Values,
    rmse: f64,
}

fn golden() -> Golden {
    serde_json::from_str(GOLDEN).unwrap()
}

fn probabilities(counts: &[Vec<u32>], of: u32) -> Vec<Vec<f32>> {
    counts.iter().map(|row| row.iter().map(|count| *count as f32 / of as f32).collect()).collect()
}

fn near(got: Option<f64>, expected: Option<f64>, what: &str) {
    let same = match (got, expected) {
        (Some(got), Some(expected)) => (got - expected).abs() < 1e-9,
        (got, expected) => got == expected,
    };
    assert!(same, "{what}: {got:?}, expected {expected:?}");
}

fn all_near(judged: Judged<'_>, values: &Values, name: &str) {
    for (metric, expected) in values {
        near(judged.value(metric.parse().unwrap()), *expected, &format!("{metric} of {name}"));
    }
}

#[test]
fn classes_are_judged_as_scikit_learn_does() {
    let mut seen = BTreeSet::new();
    for case in golden().classes {
        let (name, rows) = (&case.name, probabilities(&case.counts, case.of));
        let judged = Judged::Classes { probabilities: &rows, labels: &case.labels };
        all_near(judged, &case.values, name);
        seen.extend(case.values.keys().cloned());
        let confusion = Confusion::new(&rows, &case.labels).unwrap();
        assert_eq!(confusion.0, case.confusion, "{name}");
        for (i, class) in confusion.classes().into_iter().enumerate() {
            near(class.precision, case.precision[i], name);
            near(class.recall, case.recall[i], name);
            near(class.f1, case.f1[i], name);
            assert_eq!(class.images, case.confusion[i].iter().sum::<u32>());
        }
        if case.brier.is_some() {
            near(brier(&rows, &case.labels), case.brier, name);
        }
        let scores = Scores { loss: 0.5, confusion: case.confusion };
        near(Some(scores.accuracy()), case.values["accuracy"], name);
        near(Some(scores.balanced_accuracy()), case.values["balanced-accuracy"], name);
    }
    let measured = measured(Task::Softmax { classes: 7 });
    assert!(measured[1..].iter().all(|metric| seen.contains(metric.name())), "{seen:?}");
}

#[test]
fn labels_are_judged_as_scikit_learn_does() {
    for case in golden().labels {
        let rows = probabilities(&case.counts, case.of);
        let present: Vec<Vec<bool>> =
            case.present.iter().map(|row| row.iter().map(|there| *there == 1).collect()).collect();
        all_near(Judged::Labels { probabilities: &rows, present: &present }, &case.values, &case.name);
        assert!(
            measured(Task::MultiLabel { labels: 5 })[1..]
                .iter()
                .all(|metric| case.values.contains_key(metric.name()))
        );
        near(micro_f1(&rows, &present), Some(case.micro_f1), &case.name);
    }
}

#[test]
fn numbers_are_judged_as_scikit_learn_does() {
    for OfValues { name, predicted, targets, values, rmse: root } in golden().values {
        all_near(Judged::Values { predicted: &predicted, targets: &targets }, &values, &name);
        assert!(
            measured(Task::Regression { targets: 1 })[1..]
                .iter()
                .all(|metric| values.contains_key(metric.name()))
        );
        near(rmse(&predicted, &targets), Some(root), &name);
    }
}

#[test]
fn what_cannot_be_judged_has_no_value() {
    let rows = vec![vec![0.5f32, 0.5], vec![0.25, 0.75]];
    let none: &[Vec<f32>] = &[];
    let ragged = vec![vec![0.5f32, 0.5], vec![1.0]];
    let odd = vec![vec![f32::NAN, 0.5], vec![0.25, 0.75]];
    let infinite = vec![vec![f32::INFINITY, 0.5], vec![0.25, 0.75]];
    for metric in Metric::ALL {
        for (probabilities, labels) in [
            (none, [0u32; 0].as_slice()),
            (&rows, &[0]),
            (&rows, &[0, 2]),
            (&ragged, &[0, 1]),
            (&odd, &[0, 1]),
        ] {
            assert_eq!(Judged::Classes { probabilities, labels }.value(metric), None, "{metric} {labels:?}");
        }
        for present in [vec![], vec![vec![true, false]], vec![vec![true], vec![false]]] {
            let judged = Judged::Labels { probabilities: &rows, present: &present };
            assert_eq!(judged.value(metric), None, "{metric} {present:?}");
        }
        for predicted in [none, &ragged, &odd, &infinite] {
            assert_eq!(Judged::Values { predicted, targets: &rows }.value(metric), None, "{metric}");
        }
    }
}

#[test]
fn the_default_suits_task_and_classes() {
    let softmax = Task::Softmax { classes: 3 };
    for (task, counts, expected) in [
        (softmax, [10, 12, 15].as_slice(), Metric::Accuracy),
        (softmax, &[10, 12, 16], Metric::BalancedAccuracy),
        (softmax, &[0, 12, 16], Metric::BalancedAccuracy),
        (Task::Binary, &[10, 90], Metric::BalancedAccuracy),
        (Task::Binary, &[], Metric::Accuracy),
        (Task::MultiLabel { labels: 2 }, &[10, 90], Metric::AveragePrecision),
        (Task::Regression { targets: 1 }, &[], Metric::Mae),
        (Task::Regression { targets: 2 }, &[], Metric::R2),
    ] {
        assert_eq!(default_metric(task, counts), expected, "{task:?} {counts:?}");
        assert!(measured(task).contains(&expected));
    }
}

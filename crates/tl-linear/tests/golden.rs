//! The same numbers as scikit-learn's; `tests/golden/make_linear.py` made the data.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are part of it")]

use serde_json::Value;
use tl_linear::{
    ClassWeights, Csr, Dense, Distance, Knn, KnnOptions, LinearError, LogisticOptions, LogisticRegression,
    Matrix, ProbeOptions, Vote, probe,
};

fn golden() -> Value {
    serde_json::from_str(include_str!("data/golden.json")).unwrap()
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn labels(data: &Value, classes: usize) -> Vec<u32> {
    let labels = data["labels"][classes.to_string()].as_array().unwrap();
    labels.iter().map(|x| x.as_u64().unwrap() as u32).collect()
}

/// The rows of `make_linear.py`, from `first` on.
fn values(first: usize, rows: usize, columns: usize) -> Vec<f64> {
    let value = |i: usize, j: usize| {
        let (x, y) = (i as f64, j as f64);
        let value = (1.0 + x * 1.3 + y * 0.7 + x * y * 0.11).sin() * (1.0 + (j % 4) as f64);
        if (i * 2 + j).is_multiple_of(3) { 0.0 } else { value }
    };
    (first..first + rows).flat_map(|i| (0..columns).map(move |j| value(i, j))).collect()
}

fn both_kinds(first: usize, rows: usize, columns: usize) -> [Matrix; 2] {
    let values = values(first, rows, columns);
    let (mut starts, mut indices, mut kept) = (vec![0], Vec::new(), Vec::new());
    for row in values.chunks(columns) {
        for (column, value) in row.iter().enumerate().filter(|(_, value)| **value != 0.0) {
            indices.push(column as u32);
            kept.push(*value);
        }
        starts.push(indices.len());
    }
    let sparse = Csr::new(columns, starts, indices, kept).unwrap();
    [Dense::new(rows, columns, values).unwrap().into(), sparse.into()]
}

fn sizes(data: &Value) -> [usize; 3] {
    ["train", "held_out", "columns"].map(|key| data[key].as_u64().unwrap() as usize)
}

fn furthest(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn probabilities_are_scikit_learns() {
    let data = golden();
    let [train, held_out, columns] = sizes(&data);
    let weights: Vec<f64> = (0..train).map(|i| 0.2 + (i * 7 % 11) as f64 / 5.0).collect();
    let cases = data["logistic"].as_array().unwrap();
    assert_eq!(cases.len(), 18);
    for case in cases {
        let classes = case["classes"].as_u64().unwrap() as usize;
        let class_weights = match &case["class_weights"] {
            Value::Null => ClassWeights::None,
            Value::Array(_) => ClassWeights::Given(floats(&case["class_weights"])),
            _ => ClassWeights::Balanced,
        };
        let intercept = case["intercept"].as_bool().unwrap();
        let c = case["c"].as_f64().unwrap();
        let options = LogisticOptions { c, class_weights, intercept, tol: 1e-9, max_iter: 10_000 };
        let weights = case["weighed"].as_bool().unwrap().then_some(weights.as_slice());
        let rows = both_kinds(0, train, columns).into_iter().zip(both_kinds(train, held_out, columns));
        for (rows, held_out) in rows {
            let fitted =
                LogisticRegression::fit(&rows, &labels(&data, classes), classes, weights, &options).unwrap();
            assert!(fitted.converged, "{options:?}");
            let off = furthest(&fitted.predict_proba(&held_out).unwrap(), &floats(&case["proba"]));
            assert!(off < 1e-5, "{options:?}: probabilities are off by {off}");
            let off = furthest(&fitted.decision_function(&held_out).unwrap(), &floats(&case["scores"]));
            assert!(off < 1e-4, "{options:?}: scores are off by {off}");
        }
    }
}

#[test]
fn neighbours_are_scikit_learns() {
    let data = golden();
    let [train, held_out, columns] = sizes(&data);
    for case in data["knn"].as_array().unwrap() {
        let distance: Distance = serde_json::from_value(case["distance"].clone()).unwrap();
        let vote: Vote = serde_json::from_value(case["vote"].clone()).unwrap();
        let rows = both_kinds(0, train, columns).into_iter().zip(both_kinds(train, held_out, columns));
        for (rows, held_out) in rows {
            let knn = Knn::fit(rows, labels(&data, 3), 3, KnnOptions { k: 7, distance, vote }).unwrap();
            let off = furthest(&knn.predict_proba(&held_out).unwrap(), &floats(&case["proba"]));
            assert!(off < 1e-8, "{distance:?} {vote:?}: {off}");
        }
    }
}

#[test]
fn threads_do_not_matter_and_json_keeps_the_bits() {
    let data = golden();
    let labels = labels(&data, 5);
    for rows in both_kinds(0, labels.len(), 12) {
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let fitted = LogisticRegression::fit(&rows, &labels, 5, None, &LogisticOptions::default());
                (fitted.unwrap(), probe(&rows, &labels, 5, &ProbeOptions::default()).unwrap())
            })
        };
        let (one, three) = (with(1), with(3));
        assert_eq!(one, three);
        let json = serde_json::to_string(&one.0).unwrap();
        assert_eq!(serde_json::from_str::<LogisticRegression>(&json).unwrap(), one.0);
        let best = one.1.best();
        assert!(best.accuracy > 0.4 && best.standard_error > 0.0 && best.standard_error < 0.1, "{best:?}");
        let right = one.1.right.iter().filter(|right| **right).count() as f64;
        // The mean over the folds weighs them alike, whose sizes differ by one row at most.
        assert!((right / labels.len() as f64 - best.accuracy).abs() < 0.01, "{right} {best:?}");
    }
}

#[test]
fn a_class_without_rows_has_no_probability() {
    let rows = both_kinds(0, 40, 6)[1].clone();
    let labels: Vec<u32> = (0..40).map(|i| [0, 3, 4][i % 3]).collect();
    let fitted = LogisticRegression::fit(&rows, &labels, 6, None, &LogisticOptions::default()).unwrap();
    assert_eq!(fitted.present(), [0, 3, 4]);
    for of_row in fitted.predict_proba(&rows).unwrap().chunks(6) {
        assert!((of_row.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(of_row[1] == 0.0 && of_row[2] == 0.0 && of_row[5] == 0.0 && of_row[3] > 0.0);
    }
}

#[test]
fn what_cannot_be_fitted_is_said() {
    let rows: Matrix = Dense::new(3, 1, vec![1.0, f64::NAN, f64::INFINITY]).unwrap().into();
    let good: Matrix = Dense::new(3, 1, vec![1.0, 2.0, 3.0]).unwrap().into();
    let options = LogisticOptions::default();
    let fit = |rows: &Matrix, labels: &[u32], weights: Option<&[f64]>, options: &LogisticOptions| {
        LogisticRegression::fit(rows, labels, 2, weights, options).unwrap_err().to_string()
    };
    assert_eq!(fit(&rows, &[0, 1, 1], None, &options), "2 values are not finite, the first in row 1");
    assert_eq!(fit(&good, &[0, 1], None, &options), "there are 2 labels (expected 3)");
    assert_eq!(fit(&good, &[0, 2, 1], None, &options), "row 1 has the label 2 (expected less than 2)");
    let weights = [1.0, -1.0, 1.0];
    let said = fit(&good, &[0, 1, 1], Some(&weights), &options);
    assert_eq!(said, "row 1 has the weight -1 (expected a finite number from 0 on)");
    assert_eq!(fit(&good, &[1; 3], None, &options), "the rows are of 1 classes (expected at least 2)");
    let bad = LogisticOptions { c: 0.0, ..options };
    assert_eq!(fit(&good, &[0, 1, 1], None, &bad), "option `c` is 0 (expected above 0)");
    let error = Knn::fit(good.clone(), vec![0; 3], 1, KnnOptions { k: 4, ..KnnOptions::default() });
    assert!(matches!(error, Err(LinearError::Option { option: "k", .. })));
    let error = probe(&good, &[0, 1, 1], 2, &ProbeOptions::default());
    assert!(matches!(error, Err(LinearError::Option { option: "folds", .. })));
}

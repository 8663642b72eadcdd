//! Against scikit-learn, SciPy, statsmodels and cleanlab: `tests/golden/make_analysis.py` writes the numbers.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::*;

const GOLDEN: &str = include_str!("../../tests/data/analysis.json");

#[derive(Deserialize)]
struct Golden {
    classes: Vec<OfClasses>,
    mcnemar: Vec<OfPairs>,
    intervals: Vec<OfSeeds>,
    bootstrap: OfBootstrap,
}

#[derive(Deserialize)]
struct OfClasses {
    name: String,
    of: u32,
    counts: Vec<Vec<u32>>,
    labels: Vec<u32>,
    ece: f64,
    nll: f64,
    temperature: f64,
    ece_scaled: f64,
    nll_scaled: f64,
    reliability: Vec<(usize, f64, f64)>,
    suspects: Vec<usize>,
    roc: Option<Vec<(f64, f64)>>,
    precision_recall: Option<Vec<(f64, f64)>>,
    auroc: Option<f64>,
    average_precision: Option<f64>,
}

#[derive(Deserialize)]
struct OfPairs {
    first: Vec<u8>,
    second: Vec<u8>,
    p: f64,
}

#[derive(Deserialize)]
struct OfSeeds {
    values: Vec<f64>,
    mean: f64,
    half: f64,
}

#[derive(Deserialize)]
struct OfBootstrap {
    first: Vec<f64>,
    second: Vec<f64>,
    low: f64,
    high: f64,
}

fn golden() -> Golden {
    serde_json::from_str(GOLDEN).unwrap()
}

fn near(a: f64, b: f64, what: &str) {
    assert!((a - b).abs() < 1e-6 * b.abs().max(1.0), "{what}: {a} {b}");
}

fn points_near(a: &[(f64, f64)], b: &[(f64, f64)], what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    for (a, b) in a.iter().zip(b) {
        near(a.0, b.0, what);
        near(a.1, b.1, what);
    }
}

#[test]
fn classes_are_those_of_scikit_learn_and_cleanlab() {
    for case in golden().classes {
        let OfClasses { name, of, counts, labels, .. } = &case;
        let rows: Vec<Vec<f32>> =
            counts.iter().map(|row| row.iter().map(|n| *n as f32 / *of as f32).collect()).collect();
        let classes = rows[0].len();
        let files: Vec<String> = (0..rows.len()).map(|i| i.to_string()).collect();
        let names: Vec<String> = (0..classes).map(|i| format!("c{i}")).collect();
        let answered = Answered {
            set: "val",
            names: &names,
            files: files.iter().map(String::as_str).collect(),
            truth: Truth::Classes(labels.clone()),
            rows: &rows,
        };
        let analysis = Analysis::new(&answered, None);
        let calibration = analysis.calibration.as_ref().unwrap();
        near(calibration.ece, case.ece, name);
        near(calibration.nll, case.nll, name);
        let temperature = calibration.temperature.unwrap();
        assert!((temperature / case.temperature - 1.0).abs() < 1e-4, "{name}: {temperature}");
        near(calibration.nll_scaled.unwrap(), case.nll_scaled, name);
        let given = Calibration::new(&rows, labels, Some(case.temperature)).unwrap();
        near(given.ece_scaled.unwrap(), case.ece_scaled, name);
        let bins: Vec<_> =
            calibration.bins.iter().map(|bin| (bin.images, bin.confidence, bin.right)).collect();
        assert_eq!(bins.len(), case.reliability.len(), "{name}");
        for (ours, theirs) in bins.iter().zip(&case.reliability) {
            assert_eq!(ours.0, theirs.0, "{name}");
            near(ours.1, theirs.1, name);
            near(ours.2, theirs.2, name);
        }
        let suspects: BTreeSet<usize> =
            analysis.suspects.iter().map(|suspect| suspect.file.parse().unwrap()).collect();
        assert_eq!(suspects, case.suspects.iter().copied().collect(), "{name}");
        assert_eq!(analysis.rankings.is_empty(), case.roc.is_none(), "{name}");
        if let (Some(ranking), Some(roc)) = (analysis.rankings.first(), &case.roc) {
            points_near(&ranking.roc, roc, name);
            points_near(&ranking.precision_recall, case.precision_recall.as_deref().unwrap(), name);
            near(ranking.auroc, case.auroc.unwrap(), name);
            near(ranking.average_precision, case.average_precision.unwrap(), name);
        }
    }
}

#[test]
fn comparisons_are_those_of_statsmodels_and_scipy() {
    let golden = golden();
    for OfPairs { first, second, p } in &golden.mcnemar {
        let right = |row: &[u8]| row.iter().map(|n| *n == 1).collect::<Vec<_>>();
        near(mcnemar(&right(first), &right(second)).p, *p, "mcnemar");
    }
    for OfSeeds { values, mean, half } in &golden.intervals {
        let (ours, width) = mean_interval(values).unwrap();
        near(ours, *mean, "mean");
        let width = width.unwrap();
        assert!((width / half - 1.0).abs() < 1e-4, "{width} {half}");
    }
    assert_eq!(mean_interval(&[0.5]), Some((0.5, None)));
    // Other random numbers, so only about the same interval.
    let OfBootstrap { first, second, low, high } = &golden.bootstrap;
    let ours = paired_difference(first, second).unwrap();
    let width = high - low;
    assert!((ours.low - low).abs() < 0.05 * width && (ours.high - high).abs() < 0.05 * width, "{ours:?}");
}

#[test]
fn mistakes_are_listed_worst_first() {
    let names = ["a", "b", "c"].map(str::to_owned);
    let rows = vec![
        vec![0.5, 0.25, 0.25],
        vec![0.0625, 0.875, 0.0625],
        vec![0.75, 0.125, 0.125],
        vec![0.25, 0.5, 0.25],
    ];
    let files = vec!["0", "1", "2", "3"];
    let answered =
        Answered { set: "val", names: &names, files, truth: Truth::Classes(vec![0, 0, 1, 1]), rows: &rows };
    let analysis = Analysis::new(&answered, None);
    let files: Vec<&str> = analysis.costly.iter().map(|case| case.file.as_str()).collect();
    assert_eq!(files, ["1", "2", "0", "3"]);
    assert_eq!((analysis.costly[0].right.as_str(), analysis.costly[0].said.as_str()), ("a", "b"));
    assert!(analysis.sure_and_wrong.is_empty(), "all are among the costliest");
    let pair = &analysis.confused[0];
    assert_eq!((pair.label.as_str(), pair.predicted.as_str(), pair.images, pair.of), ("a", "b", 1, 2));

    let present = vec![vec![true, false, false], vec![true, true, false]];
    let answered = Answered {
        set: "val",
        names: &names,
        files: vec!["0", "1"],
        truth: Truth::Labels(present),
        rows: &[vec![0.75, 0.25, 0.5], vec![0.125, 0.875, 0.25]],
    };
    let analysis = Analysis::new(&answered, None);
    assert_eq!((analysis.costly[0].right.as_str(), analysis.costly[0].said.as_str()), ("a", "no a"));
    assert_eq!(analysis.rankings.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["b"]);

    let answered = Answered {
        set: "val",
        names: &names[..1],
        files: vec!["0", "1"],
        truth: Truth::Numbers(vec![vec![1.0], vec![3.0]]),
        rows: &[vec![1.5], vec![1.0]],
    };
    let analysis = Analysis::new(&answered, None);
    assert_eq!((analysis.costly[0].file.as_str(), analysis.costly[0].loss), ("1", 4.0));
    assert_eq!(analysis.numbers[0].pairs, [(1.0, 1.5), (3.0, 1.0)]);
    // Nothing is said of what is no number.
    let answered = Answered { rows: &[vec![f32::NAN], vec![1.0]], ..answered };
    assert!(Analysis::new(&answered, None).costly.is_empty());
}

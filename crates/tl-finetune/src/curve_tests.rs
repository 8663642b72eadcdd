//! Curves and stops against PyTorch, Keras and the equations: `tests/golden/make_curves.py` writes the numbers.

use super::*;
use crate::EarlyStopping;

#[derive(Deserialize)]
struct Golden {
    curves: Vec<Case>,
    plateaus: Vec<Plateau>,
    stops: Vec<Stop>,
}

#[derive(Deserialize)]
struct Case {
    curve: Curve,
    steps_per_epoch: u64,
    epochs: u32,
    factors: Vec<f64>,
    momentums: Option<Vec<f64>>,
}

#[derive(Deserialize)]
struct Plateau {
    curve: Curve,
    history: Vec<f64>,
    factors: Vec<f64>,
}

#[derive(Deserialize)]
struct Stop {
    early_stopping: EarlyStopping,
    history: Vec<f64>,
    after: Option<usize>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../tests/data/curves.json")).unwrap()
}

fn at(step: u64, steps_per_epoch: u64, epochs: u32) -> At<'static> {
    At { step, steps_per_epoch, epochs, history: &[] }
}

fn factors(curve: Curve, steps_per_epoch: u64, epochs: u32) -> Vec<f64> {
    (0..steps_per_epoch * u64::from(epochs))
        .map(|step| curve.factor(at(step, steps_per_epoch, epochs)))
        .collect()
}

#[test]
fn factors_are_those_of_the_originals() {
    let mut names: Vec<&str> = Vec::new();
    for Case { curve, steps_per_epoch, epochs, factors, momentums } in golden().curves {
        assert_eq!(factors.len() as u64, steps_per_epoch * u64::from(epochs), "{curve:?}");
        for (step, expected) in factors.into_iter().enumerate() {
            let got = curve.factor(at(step as u64, steps_per_epoch, epochs));
            assert!((got - expected).abs() < 1e-12, "{curve:?}, step {step}: {got}, expected {expected}");
        }
        let got = |step: usize| curve.momentum(at(step as u64, steps_per_epoch, epochs));
        match momentums {
            None => assert_eq!(got(0), None),
            Some(momentums) => {
                for (step, expected) in momentums.into_iter().enumerate() {
                    let got = got(step).unwrap();
                    assert!(
                        (got - expected).abs() < 1e-12,
                        "{curve:?}, step {step}: {got}, expected {expected}"
                    );
                }
            }
        }
        names.push(curve.name());
    }
    names.dedup();
    assert_eq!(names, ["step", "exponential", "cosine", "linear", "slanted-triangular", "one-cycle"]);
}

#[test]
fn a_plateau_is_that_of_pytorch() {
    for Plateau { curve, history, factors } in golden().plateaus {
        assert_eq!(factors.len(), history.len() + 1);
        for (epoch, expected) in factors.into_iter().enumerate() {
            let at =
                At { step: 3 * epoch as u64, steps_per_epoch: 3, epochs: 20, history: &history[..epoch] };
            let got = curve.factor(at);
            assert!((got - expected).abs() < 1e-12, "{curve:?}, epoch {epoch}: {got}, expected {expected}");
        }
        assert!(curve.metric().is_some());
    }
}

#[test]
fn early_stopping_is_that_of_keras() {
    for Stop { early_stopping, history, after } in golden().stops {
        // What the run watches is of no account where the phase says what it watches.
        let stops = |epochs: &usize| early_stopping.stops(Metric::Mae, &history[..*epochs]);
        assert_eq!((0..=history.len()).find(stops), after, "{early_stopping:?}");
    }
    let stopping = EarlyStopping { patience: 2, min_delta: 0.0, metric: None };
    let rising = [0.1, 0.2, 0.3];
    assert!(!stopping.stops(Metric::Accuracy, &rising) && stopping.stops(Metric::Loss, &rising));
    assert!(stopping.stops(Metric::Loss, &[f64::NAN, f64::NAN]));
    assert!(!stopping.stops(Metric::Loss, &[f64::NAN, f64::NAN, 1.0]));
}

#[test]
fn no_step_of_a_rise_or_a_fall_is_wasted() {
    for curve in [Curve::Cosine { warmup: 0.25 }, Curve::Linear { warmup: 0.25 }] {
        let factors = factors(curve, 100, 1);
        assert!(factors.iter().all(|f| *f > 0.0 && *f <= 1.0));
        assert!(factors[..25].windows(2).all(|w| w[0] < w[1]));
        assert!(factors[25..].windows(2).all(|w| w[0] > w[1]));
        assert!((factors[62] - 0.5).abs() < 0.02);
        assert!(curve.factor(at(0, 1, 1)) > 0.0);
    }
    assert_eq!(factors(Curve::Constant {}, 2, 2), [1.0; 4]);
}

#[test]
fn a_slanted_triangle_ends_with_the_phase_however_its_peak_is_rounded() {
    let curve = Curve::SlantedTriangular { cut: 0.1, ratio: 32.0 };
    // By the equation the last of these would be below 0.
    let factors = factors(curve, 19, 1);
    assert!((factors[0] - 1.0 / 32.0).abs() < 1e-12 && factors[1] == 1.0);
    assert!(factors[1..].windows(2).all(|w| w[0] > w[1]));
    assert!((factors[18] - (1.0 + 31.0 / 18.0) / 32.0).abs() < 1e-12);
    assert_eq!(curve.factor(at(0, 3, 1)), 1.0, "too short for a rise");
}

#[test]
fn a_cycle_of_one_step_is_at_its_peak() {
    for start in [0.0, 0.3, 1.0] {
        let curve = Curve::OneCycle { start, div: 25.0, final_div: 1e4, cycle_momentum: true };
        assert_eq!(curve.factor(at(0, 1, 1)), 1.0);
        assert_eq!(curve.momentum(at(0, 1, 1)), Some(0.85));
        // PyTorch divides by zero here if half of the cycle is the rise.
        assert!(factors(curve, 2, 1).iter().all(|f| f.is_finite() && *f > 0.0));
    }
    let half = Curve::OneCycle { start: 0.5, div: 25.0, final_div: 1e4, cycle_momentum: false };
    assert_eq!(half.factor(at(0, 2, 1)), 1.0);
    assert_eq!(half.momentum(at(0, 2, 1)), None);
}

#[test]
fn nothing_is_out_of_range_at_any_moment() {
    let shapes = [
        r#"{"shape":"constant"}"#,
        r#"{"shape":"step","every":2}"#,
        r#"{"shape":"exponential","gamma":0.5}"#,
        r#"{"shape":"cosine"}"#,
        r#"{"shape":"linear"}"#,
        r#"{"shape":"one-cycle"}"#,
        r#"{"shape":"slanted-triangular"}"#,
        r#"{"shape":"plateau","patience":0}"#,
    ];
    for json in shapes {
        let curve: Curve = serde_json::from_str(json).unwrap();
        assert!(curve.numbers().iter().all(|(_, got, range)| range.holds(*got)), "{json}");
        assert_eq!(serde_json::from_str::<Curve>(&serde_json::to_string(&curve).unwrap()).unwrap(), curve);
        for steps_per_epoch in 0..7 {
            for epochs in 0..5 {
                for step in 0..40 {
                    let at = At { step, steps_per_epoch, epochs, history: &[0.5, f64::NAN, 0.5] };
                    let factor = curve.factor(at);
                    assert!((0.0..=1.0).contains(&factor), "{json} {at:?}: {factor}");
                }
            }
        }
    }
    let error = serde_json::from_str::<Curve>(r#"{"shape":"constant","warmup":0.1}"#).unwrap_err();
    assert!(error.to_string().starts_with("unknown field `warmup`"), "{error}");
}

#[test]
fn curves_are_told_in_few_words() {
    for (json, text) in [
        (r#"{"shape":"constant"}"#, "constant"),
        (r#"{"shape":"step","every":2,"gamma":0.5}"#, "step, times 0.5 every 2 epochs"),
        (r#"{"shape":"step","every":1}"#, "step, times 0.1 an epoch"),
        (r#"{"shape":"exponential","gamma":0.9}"#, "exponential, times 0.9 an epoch"),
        (r#"{"shape":"cosine","warmup":0}"#, "cosine"),
        (r#"{"shape":"cosine"}"#, "cosine, warm-up 10%"),
        (r#"{"shape":"linear","warmup":0.125}"#, "linear, warm-up 12.5%"),
        (r#"{"shape":"one-cycle"}"#, "one-cycle, peak at 30%"),
        (r#"{"shape":"slanted-triangular"}"#, "slanted-triangular, peak at 10%"),
        (r#"{"shape":"plateau","patience":3}"#, "plateau of loss, times 0.1"),
    ] {
        assert_eq!(serde_json::from_str::<Curve>(json).unwrap().to_string(), text);
    }
}

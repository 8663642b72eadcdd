//! L-BFGS: Nocedal and Wright, Numerical Optimization, 2nd edition, algorithms 7.4, 7.5, 3.5 and 3.6.
//!
//! The one decision: the line search asks for the strong Wolfe conditions, so that every pair of steps and
//! gradients can be kept and the inverse Hessian stays positive.

use std::collections::VecDeque;

use crate::matrix::dot;

/// How many pairs are kept.
const MEMORY: usize = 10;
/// The decrease and the curvature that a step must have.
const DECREASE: f64 = 1e-4;
const CURVATURE: f64 = 0.9;
const MOST_TRIALS: usize = 50;

/// Where a search ended.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) at: Vec<f64>,
    pub(crate) steps: usize,
    /// Whether the largest slope is at most the tolerance, or no further decrease can be told from rounding.
    pub(crate) converged: bool,
}

/// One point on the way.
#[derive(Clone)]
struct Point {
    at: Vec<f64>,
    value: f64,
    slope: Vec<f64>,
}

/// Minimises `function`, which returns its value at a point and writes its gradient, from `start` on. Ends where
/// the largest absolute value of the gradient is at most `tol`, or after `most` steps.
pub(crate) fn minimise(
    start: Vec<f64>,
    (tol, most): (f64, usize),
    mut function: impl FnMut(&[f64], &mut [f64]) -> f64,
) -> Found {
    let mut slope = vec![0.0; start.len()];
    let value = function(&start, &mut slope);
    let mut here = Point { at: start, value, slope };
    let mut pairs: VecDeque<Pair> = VecDeque::with_capacity(MEMORY);
    for step in 0..most {
        if largest(&here.slope) <= tol {
            return Found { at: here.at, steps: step, converged: true };
        }
        let mut direction = downhill(&here.slope, &pairs);
        if dot(&direction, &here.slope) >= 0.0 {
            pairs.clear();
            direction = here.slope.iter().map(|slope| -slope).collect();
        }
        let first = if pairs.is_empty() { 1.0 / dot(&direction, &direction).sqrt().max(1.0) } else { 1.0 };
        let Some(there) = search(&here, &direction, first, &mut function) else {
            if pairs.is_empty() {
                // Not even straight downhill: what is left is rounding.
                return Found { at: here.at, steps: step, converged: true };
            }
            pairs.clear();
            continue;
        };
        let pair = Pair::new(&here, &there);
        if let Some(pair) = pair {
            if pairs.len() == MEMORY {
                pairs.pop_front();
            }
            pairs.push_back(pair);
        }
        here = there;
    }
    let converged = largest(&here.slope) <= tol;
    Found { at: here.at, steps: most, converged }
}

/// A step and the change of the gradient over it.
struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
    product: f64,
}

impl Pair {
    fn new(from: &Point, to: &Point) -> Option<Self> {
        let less = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<f64>>();
        let (step, change) = (less(&to.at, &from.at), less(&to.slope, &from.slope));
        let product = dot(&step, &change);
        (product > f64::EPSILON * dot(&change, &change)).then_some(Self { step, change, product })
    }
}

/// Minus the inverse Hessian, as the pairs have it, times the gradient.
fn downhill(slope: &[f64], pairs: &VecDeque<Pair>) -> Vec<f64> {
    let mut direction: Vec<f64> = slope.iter().map(|slope| -slope).collect();
    let mut factors = Vec::with_capacity(pairs.len());
    for pair in pairs.iter().rev() {
        let factor = dot(&pair.step, &direction) / pair.product;
        add(&mut direction, &pair.change, -factor);
        factors.push(factor);
    }
    if let Some(last) = pairs.back() {
        let scale = last.product / dot(&last.change, &last.change);
        direction.iter_mut().for_each(|value| *value *= scale);
    }
    for (pair, factor) in pairs.iter().zip(factors.into_iter().rev()) {
        let back = dot(&pair.change, &direction) / pair.product;
        add(&mut direction, &pair.step, factor - back);
    }
    direction
}

fn add(to: &mut [f64], what: &[f64], times: f64) {
    to.iter_mut().zip(what).for_each(|(to, what)| *to += times * what);
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |most, value| value.abs().max(most))
}

/// A trial on the line: the length of the step, the value and the slope along the direction.
#[derive(Clone, Copy)]
struct Trial {
    length: f64,
    value: f64,
    slope: f64,
}

/// A point with enough decrease and little slope; `None` where rounding hides both.
fn search(
    here: &Point,
    direction: &[f64],
    first: f64,
    function: &mut impl FnMut(&[f64], &mut [f64]) -> f64,
) -> Option<Point> {
    let start = Trial { length: 0.0, value: here.value, slope: dot(&here.slope, direction) };
    let mut there = here.clone();
    let mut try_at = |length: f64, there: &mut Point| {
        there.at.iter_mut().zip(&here.at).zip(direction).for_each(|((to, at), d)| *to = at + length * d);
        there.value = function(&there.at, &mut there.slope);
        Trial { length, value: there.value, slope: dot(&there.slope, direction) }
    };
    let falls = |trial: &Trial| trial.value <= start.value + DECREASE * trial.length * start.slope;
    let is_flat = |trial: &Trial| trial.slope.abs() <= -CURVATURE * start.slope;
    let (mut low, mut high, mut length) = (start, None, first);
    for _ in 0..MOST_TRIALS {
        let trial = try_at(length, &mut there);
        if !trial.value.is_finite() {
            length = low.length + (length - low.length) / 10.0;
            continue;
        }
        if !falls(&trial) || (low.length > 0.0 && trial.value >= low.value) {
            high = Some(trial);
        } else if is_flat(&trial) {
            return Some(there);
        } else {
            // The minimum lies between the old low end and this one.
            let turned = match high {
                None => trial.slope >= 0.0,
                Some(bound) => trial.slope * (bound.length - low.length) >= 0.0,
            };
            if turned {
                high = Some(low);
            }
            low = trial;
        }
        length = match high {
            None => low.length * 2.0,
            Some(bound) => between(&low, &bound),
        };
        if high.is_some_and(|bound| (bound.length - low.length).abs() <= f64::EPSILON * bound.length.abs()) {
            break;
        }
    }
    // Less than was asked for, but less than before.
    if low.length > 0.0 && low.value < start.value {
        try_at(low.length, &mut there);
        return Some(there);
    }
    None
}

/// The minimum of the cubic through two trials, kept away from both.
fn between(low: &Trial, high: &Trial) -> f64 {
    let width = high.length - low.length;
    let theta = low.slope + high.slope - 3.0 * (low.value - high.value) / -width;
    let under_root = theta * theta - low.slope * high.slope;
    let middle = low.length + width / 2.0;
    if under_root < 0.0 {
        return middle;
    }
    let root = under_root.sqrt() * width.signum();
    let length = high.length - width * (high.slope + root - theta) / (high.slope - low.slope + 2.0 * root);
    let (a, b) = (low.length + 0.1 * width, low.length + 0.9 * width);
    if length.is_finite() { length.clamp(a.min(b), a.max(b)) } else { middle }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_valley_of_rosenbrock() {
        let found = minimise(vec![-1.2, 1.0], (1e-9, 200), |x, slope| {
            let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
            slope[0] = -2.0 * a - 400.0 * x[0] * b;
            slope[1] = 200.0 * b;
            a * a + 100.0 * b * b
        });
        assert!(found.converged && found.steps < 60, "{found:?}");
        assert!(found.at.iter().all(|x| (x - 1.0).abs() < 1e-7), "{found:?}");
    }

    #[test]
    fn badly_scaled_and_quartic() {
        let found = minimise(vec![1.0; 40], (1e-10, 1500), |x, slope| {
            let mut value = 0.0;
            for (i, (x, slope)) in x.iter().zip(slope).enumerate() {
                let scale = 10_f64.powf(i as f64 / 10.0);
                value += scale * (x - 3.0).powi(2) + (x - 3.0).powi(4);
                *slope = 2.0 * scale * (x - 3.0) + 4.0 * (x - 3.0).powi(3);
            }
            value
        });
        assert!(found.converged && found.at.iter().all(|x| (x - 3.0).abs() < 1e-9), "{found:?}");
    }

    #[test]
    fn it_stops_where_it_is_told() {
        let bowl = |x: &[f64], slope: &mut [f64]| {
            slope[0] = 4.0 * x[0].powi(3);
            x[0].powi(4)
        };
        let found = minimise(vec![10.0], (1e-12, 3), bowl);
        assert!(!found.converged && found.steps == 3);
        assert_eq!(minimise(vec![0.0], (1e-12, 3), bowl).steps, 0);
    }
}

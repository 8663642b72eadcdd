//! Splines of order 2 to 5, as SciPy's `affine_transform` evaluates them.
//!
//! The one decision: everything is done one channel at a time in 64 bits, for sameness with SciPy rather than
//! for speed; whoever needs speed takes order 1, the default.
//!
//! Source: Unser, Aldroubi and Eden, "Fast B-spline transforms for continuous image representation and
//! interpolation", IEEE PAMI 13(3), 1991: a spline through given values has coefficients that two recursive
//! passes find for each pole of the filter. The borders are SciPy's: `nearest` is padded with 12 copies of
//! the edge and goes on as `reflect`, and the constant and `wrap` as the mirror image without the edge.

use super::affine::{Affine, Border, Level, Shape, fold, index};

/// How many pixels SciPy adds on each side for `nearest`.
const PADDING: usize = 12;

/// The poles of the filter of each order from 2.
fn poles(order: u8) -> Vec<f64> {
    let root = f64::sqrt;
    match order {
        2 => vec![root(8.0) - 3.0],
        3 => vec![root(3.0) - 2.0],
        4 => vec![
            root(664.0 - root(438_976.0)) + root(304.0) - 19.0,
            root(664.0 + root(438_976.0)) - root(304.0) - 19.0,
        ],
        _ => vec![
            root(67.5 - root(4436.25)) + root(26.25) - 6.5,
            root(67.5 + root(4436.25)) - root(26.25) - 6.5,
        ],
    }
}

/// One channel as coefficients.
struct Plane {
    values: Vec<f64>,
    height: usize,
    width: usize,
    padding: usize,
}

impl Plane {
    fn new<T: Level>(source: &[T], shape: Shape, channel: usize, border: Border, order: u8) -> Self {
        let (height, width, channels) = shape;
        let padding = if border == Border::Nearest { PADDING } else { 0 };
        let (rows, columns) = (height + 2 * padding, width + 2 * padding);
        let inner = |at: usize, side: usize| at.saturating_sub(padding).min(side - 1);
        let mut values = Vec::with_capacity(rows * columns);
        for row in 0..rows {
            for column in 0..columns {
                let at = (inner(row, height) * width + inner(column, width)) * channels + channel;
                values.push(f64::from(source[at].to_f32()));
            }
        }
        let mut plane = Self { values, height: rows, width: columns, padding };
        plane.filter(border, order);
        plane
    }

    fn filter(&mut self, border: Border, order: u8) {
        let poles = poles(order);
        let mut line = vec![0.0; self.height];
        for column in 0..self.width {
            for (row, value) in line.iter_mut().enumerate() {
                *value = self.values[row * self.width + column];
            }
            coefficients(&mut line, &poles, border);
            for (row, value) in line.iter().enumerate() {
                self.values[row * self.width + column] = *value;
            }
        }
        for row in self.values.chunks_exact_mut(self.width) {
            coefficients(row, &poles, border);
        }
    }

    /// The value of the spline at a place of the image, or `None` for the constant.
    fn at(&self, row: f64, column: f64, border: Border, order: u8) -> Option<f64> {
        let padding = self.padding as f64;
        let row = fold(row + padding, self.height, border)?;
        let column = fold(column + padding, self.width, border)?;
        let ((top, down), (left, along)) = (weights(row, order), weights(column, order));
        let count = usize::from(order) + 1;
        let columns = [0, 1, 2, 3, 4, 5].map(|i| index(left + i, self.width, border));
        let mut sum = 0.0;
        for (i, weight) in (0_i64..).zip(&down[..count]) {
            let values = &self.values[index(top + i, self.height, border) * self.width..][..self.width];
            let along =
                columns[..count].iter().zip(&along).map(|(&column, along)| values[column] * weight * along);
            sum += along.sum::<f64>();
        }
        Some(sum)
    }
}

pub(super) fn resample<T: Level>(
    source: &[T],
    target: &mut [T],
    shape: Shape,
    affine: &Affine,
    border: Border,
    order: u8,
) {
    for channel in 0..shape.2 {
        let plane = Plane::new(source, shape, channel, border, order);
        affine.for_each(target, shape, |(row, column), out| {
            out[channel] = match (plane.at(row, column, border, order), border) {
                (Some(value), _) => T::from_f32(value as f32),
                (None, Border::Constant(value)) => T::from_f32(value),
                (None, _) => out[channel],
            };
        });
    }
}

/// The values of a line to the coefficients of the spline through them.
fn coefficients(line: &mut [f64], poles: &[f64], border: Border) {
    let n = line.len();
    if n < 2 {
        return;
    }
    let gain: f64 = poles.iter().map(|z| (1.0 - z) * (1.0 - 1.0 / z)).product();
    line.iter_mut().for_each(|value| *value *= gain);
    for &z in poles {
        line[0] = first(line, z, border);
        for i in 1..n {
            line[i] += z * line[i - 1];
        }
        line[n - 1] = last(line, z, border);
        for i in (0..n - 1).rev() {
            line[i] = z * (line[i + 1] - line[i]);
        }
    }
}

/// Where the forward pass starts: the sum over everything before the line, as the border continues it.
fn first(line: &[f64], z: f64, border: Border) -> f64 {
    let n = line.len();
    let (mut sum, mut power) = (0.0, z);
    match border {
        Border::Tile => {
            for i in 1..n {
                sum += power * line[n - i];
                power *= z;
            }
            (line[0] + sum) / (1.0 - power)
        }
        Border::Reflect | Border::Nearest => {
            let whole = z.powi(n as i32);
            sum = line[0] + whole * line[n - 1];
            for i in 1..n {
                sum += power * (line[i] + whole * line[n - 1 - i]);
                power *= z;
            }
            sum * z / (1.0 - whole * whole) + line[0]
        }
        Border::Constant(_) | Border::Wrap => {
            let whole = z.powi(n as i32 - 1);
            sum = line[0] + whole * line[n - 1];
            for i in 1..n - 1 {
                sum += power * (line[i] + whole * line[n - 1 - i]);
                power *= z;
            }
            sum / (1.0 - whole * whole)
        }
    }
}

/// Where the backward pass starts.
fn last(line: &[f64], z: f64, border: Border) -> f64 {
    let n = line.len();
    match border {
        Border::Tile => {
            let (mut sum, mut power) = (line[n - 1], z);
            for value in &line[..n - 1] {
                sum += power * value;
                power *= z;
            }
            sum * z / (power - 1.0)
        }
        Border::Reflect | Border::Nearest => line[n - 1] * z / (z - 1.0),
        Border::Constant(_) | Border::Wrap => (z * line[n - 2] + line[n - 1]) * z / (z * z - 1.0),
    }
}

/// The first pixel under the B-spline at a place, and the weights of it and its followers.
fn weights(at: f64, order: u8) -> (i64, [f64; 6]) {
    let knot = if order % 2 == 1 { at.floor() } else { (at + 0.5).floor() };
    let half = f64::from(order / 2);
    let mut out = [0.0; 6];
    let count = usize::from(order) + 1;
    for (i, weight) in out[..count].iter_mut().enumerate() {
        *weight = b_spline(at - knot + half - i as f64, order);
    }
    (knot as i64 - i64::from(order / 2), out)
}

/// The central B-spline of an order, by the sum over its knots of powers cut off at 0.
fn b_spline(x: f64, order: u8) -> f64 {
    let n = f64::from(order);
    let x = x.abs();
    let (mut sum, mut binomial) = (0.0, 1.0);
    // From the far side, so that only the few knots beyond `x` count.
    for k in 0..=u32::from(order) {
        let reach = (n + 1.0) / 2.0 - f64::from(k) - x;
        if reach <= 0.0 {
            break;
        }
        sum += binomial * reach.powi(i32::from(order));
        binomial *= -(n + 1.0 - f64::from(k)) / f64::from(k + 1);
    }
    let factorial: f64 = (1..=u32::from(order)).map(f64::from).product();
    sum / factorial
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_add_up_to_one() {
        for order in 2..=5 {
            for i in 0..50 {
                let (_, weights) = weights(f64::from(i) / 7.0, order);
                assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-13, "{order} {weights:?}");
                assert!(weights.iter().all(|weight| *weight >= 0.0));
            }
        }
    }

    #[test]
    fn a_spline_goes_through_its_values() {
        let source: Vec<f32> = (0..7 * 9).map(|i| ((i * i * 11 + i * 5) % 256) as f32).collect();
        for border in [Border::Constant(0.0), Border::Nearest, Border::Reflect, Border::Tile] {
            for order in 2..=5 {
                let plane = Plane::new(&source, (7, 9, 1), 0, border, order);
                for (i, value) in source.iter().enumerate() {
                    let got = plane.at((i / 9) as f64, (i % 9) as f64, border, order).unwrap();
                    assert!((got - f64::from(*value)).abs() < 1e-3, "{border:?} {order} {got} {value}");
                }
            }
        }
    }
}

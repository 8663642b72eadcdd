//! Whether two images have the same answer: class, labels or numbers.
//!
//! The one decision: numbers are the same up to rounding, which is a thousandth of the span of the middle nine tenths of
//! their column. Rows of labels are the same only if they are equal.

use std::collections::BTreeMap;

use crate::folder::Sample;
use crate::inspect::Contents;
use crate::table::Task;

/// The part of the span of a column that is rounding.
const ROUNDING: f64 = 1e-3;

/// What 32-bit floats lose by themselves, relative.
const FLOAT: f64 = 1e-6;

/// The answers of all samples.
pub(super) struct Answers<'a> {
    rows: Vec<&'a [f32]>,
    ids: Vec<u32>,
    /// The rounding of each column of numbers; empty for other tasks.
    rounding: Vec<f64>,
}

impl<'a> Answers<'a> {
    pub(super) fn new(contents: &Contents<'_>, samples: impl Iterator<Item = &'a Sample> + Clone) -> Self {
        let rows: Vec<&[f32]> =
            samples.clone().map(|sample| sample.target.as_deref().unwrap_or_default()).collect();
        let (ids, rounding) = match contents.task {
            Task::Class | Task::Nothing => (samples.map(|sample| sample.label).collect(), Vec::new()),
            Task::MultiLabel => {
                let bits = |row: &&[f32]| row.iter().map(|value| value.to_bits()).collect();
                (numbered(rows.iter().map(bits)), Vec::new())
            }
            Task::Number => {
                let columns: Vec<(f64, Vec<u32>)> =
                    (0..contents.classes.len()).map(|column| clusters(&rows, column)).collect();
                let of_row = |place: usize| columns.iter().map(|(_, ids)| ids[place]).collect();
                let ids = numbered((0..rows.len()).map(of_row));
                (ids, columns.into_iter().map(|(rounding, _)| rounding).collect())
            }
        };
        Self { rows, ids, rounding }
    }

    /// A number that files of the same answer share; numbers that are nearly the same may have two.
    pub(super) fn id(&self, place: usize) -> u32 {
        self.ids[place]
    }

    /// Whether some of these files have another answer than others.
    pub(super) fn differ(&self, places: &[usize]) -> bool {
        let Some((&first, others)) = places.split_first() else { return false };
        if self.rounding.is_empty() {
            return others.iter().any(|&place| self.ids[place] != self.ids[first]);
        }
        self.rounding.iter().enumerate().any(|(column, rounding)| {
            let values = places.iter().filter_map(|&place| self.rows[place].get(column).copied());
            let (least, most) =
                values.fold((f32::MAX, f32::MIN), |(a, b), value| (a.min(value), b.max(value)));
            differs(least, most, *rounding)
        })
    }
}

fn differs(least: f32, most: f32, rounding: f64) -> bool {
    // The difference of two finite floats may be none.
    let (least, most) = (f64::from(least), f64::from(most));
    most - least > rounding.max(FLOAT * least.abs().max(most.abs()))
}

/// The same number for equal keys, in the order in which they come.
fn numbered(keys: impl Iterator<Item = Vec<u32>>) -> Vec<u32> {
    let mut known: BTreeMap<Vec<u32>, u32> = BTreeMap::new();
    let mut number = |key| {
        let next = known.len() as u32;
        *known.entry(key).or_insert(next)
    };
    keys.map(&mut number).collect()
}

/// The rounding of a column, and for each of its values a number shared by those within it of the smallest of them.
fn clusters(rows: &[&[f32]], column: usize) -> (f64, Vec<u32>) {
    let value = |place: usize| rows[place].get(column).copied().unwrap_or_default();
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_unstable_by(|&a, &b| value(a).total_cmp(&value(b)));
    let at = |twentieths: usize| {
        order.get(order.len() * twentieths / 20).map_or(0.0, |&place| f64::from(value(place)))
    };
    let rounding = ROUNDING * (at(19) - at(1));
    let (mut ids, mut id, mut start) = (vec![0; rows.len()], 0, None);
    for place in order {
        let from = *start.get_or_insert(value(place));
        if differs(from, value(place), rounding) {
            (id, start) = (id + 1, Some(value(place)));
        }
        ids[place] = id;
    }
    (rounding, ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(rows: &[&[f32]]) -> Vec<Sample> {
        let sample = |row: &&[f32]| Sample {
            target: Some((*row).into()),
            ..Sample::new("x.png".into(), 0, "x.png".to_owned())
        };
        rows.iter().map(sample).collect()
    }

    fn contents(names: &[String], task: Task) -> Contents<'_> {
        Contents { task, classes: names, parts: Vec::new(), drawn: Vec::new() }
    }

    #[test]
    fn numbers_are_the_same_up_to_rounding() {
        let names = ["x", "y"].map(str::to_owned);
        // The span of the middle of `x` is 0..=100, in spite of the one that is far off.
        let mut rows: Vec<Vec<f32>> = (0..=100).map(|i| vec![i as f32, 1.0]).collect();
        rows.extend([vec![50.04, 1.0], vec![50.3, 1.0], vec![50.0, 1.1], vec![9e9, 1.0]]);
        let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
        let samples = samples(&rows);
        let answers = Answers::new(&contents(&names, Task::Number), samples.iter());
        assert!(!answers.differ(&[50, 101]) && answers.id(50) == answers.id(101));
        for other in [51, 102, 103, 104] {
            assert!(answers.differ(&[50, other]) && answers.id(50) != answers.id(other), "{other}");
        }
        assert!(answers.differ(&[50, 101, 102]) && !answers.differ(&[7]) && !answers.differ(&[]));
    }

    #[test]
    fn labels_are_the_same_if_all_are() {
        let names = ["x", "y"].map(str::to_owned);
        let samples = samples(&[&[1.0, 0.0], &[1.0, 1.0], &[1.0, 0.0]]);
        let answers = Answers::new(&contents(&names, Task::MultiLabel), samples.iter());
        assert!(answers.differ(&[0, 1]) && !answers.differ(&[0, 2]) && answers.id(0) == answers.id(2));
    }
}

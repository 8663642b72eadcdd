//! MixUp and CutMix: batches whose images and labels are mixtures of two.
//!
//! The one decision: the first image of a batch is paired with the last, the second with the last but one, and both of a
//! pair get the same mixture of each other. So a batch is mixed in place, pairs in parallel, and needs no second buffer;
//! a shuffled batch is paired at random all the same.

use std::f64::consts::LN_2;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::crop::Crop;
use super::recipe::{Mixing, hits};
use crate::draw::{Operation, Stream, exp, ln};

/// How the images of a batch are mixed: the target of image `i` is
/// `lambda * own + (1 - lambda) * that of image partner[i]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    /// The place in the batch of each image's partner, `[N]`. The middle one of an odd number is its own partner.
    pub partner: Vec<u32>,
    /// The own part of the target, in 0..=1.
    pub lambda: f32,
    /// The rectangle that comes from the partner (CutMix), or `None` where whole images are blended (MixUp).
    pub window: Option<Crop>,
}

impl Mixing {
    /// Draws how to mix batch `batch` (from 0 within its epoch), of `images` images of `side` x `side` pixels; nothing
    /// for fewer than two images.
    pub fn sample(&self, (seed, epoch, batch): (u64, u64, u64), images: usize, side: u32) -> Option<Mix> {
        let mut stream = Stream::new(seed, epoch, batch, Operation::Mixing);
        let (wanted, second) = (hits(&mut stream, self.probability), stream.unit() < 0.5);
        if !wanted || images < 2 {
            return None;
        }
        let cut = match (self.mixup_alpha > 0.0, self.cutmix_alpha > 0.0) {
            (true, true) => second,
            (_, cut) => cut,
        };
        let (x, y) = (stream.below(side), stream.below(side));
        let alpha = if cut { self.cutmix_alpha } else { self.mixup_alpha };
        let lambda = beta(&mut stream, f64::from(alpha));
        let partner = (0..images as u32).rev().collect();
        if !cut {
            return Some(Mix { partner, lambda: lambda as f32, window: None });
        }
        let window = window(lambda, (x, y), side);
        let area = |width: u32, height: u32| f64::from(width) * f64::from(height);
        let lambda = 1.0 - area(window.width, window.height) / area(side, side).max(1.0);
        Some(Mix { partner, lambda: lambda as f32, window: Some(window) })
    }
}

/// A square of `1 - lambda` of the area about a centre, cut off at the edges, as in the paper.
fn window(lambda: f64, (x, y): (u32, u32), side: u32) -> Crop {
    let half = (0.5 * (1.0 - lambda).max(0.0).sqrt() * f64::from(side)) as u32;
    let (left, top) = (x.saturating_sub(half), y.saturating_sub(half));
    Crop { x: left, y: top, width: (x + half).min(side) - left, height: (y + half).min(side) - top }
}

/// Beta(alpha, alpha): Jöhnk's method up to 1, in logarithms, and Cheng's BB (1978) beyond.
fn beta(stream: &mut Stream, alpha: f64) -> f64 {
    // Not 0, whose logarithm there is none of.
    let mut unit = || stream.unit().max(1e-16);
    if alpha <= 1.0 {
        loop {
            let (x, y) = (ln(unit()) / alpha, ln(unit()) / alpha);
            let most = x.max(y);
            let sum = most + ln(exp((x - most).max(-30.0)) + exp((y - most).max(-30.0)));
            if sum <= 0.0 {
                return 1.0 / (1.0 + exp((y - x).clamp(-30.0, 30.0)));
            }
        }
    }
    let spread = alpha.sqrt().recip();
    loop {
        let (first, second) = (unit().min(1.0 - 1e-16), unit());
        let v = spread * ln(first / (1.0 - first));
        let w = alpha * exp(v.clamp(-30.0, 30.0));
        let z = first * first * second;
        let accepted = (alpha + 1.0 / spread) * v - 2.0 * LN_2;
        if accepted + 2.0 * alpha * ln(2.0 * alpha / (alpha + w)) >= ln(z) {
            return w / (alpha + w);
        }
    }
}

impl Mix {
    /// Mixes a batch in place. `length` is that of one image, `3 * side * side`.
    pub(crate) fn apply(&self, images: &mut [f32], length: usize, side: usize) {
        let pairs = images.len() / length.max(1) / 2;
        let (first, rest) = images.split_at_mut(pairs * length);
        // Between the two halves lies the middle one of an odd number.
        let middle = rest.len() - pairs * length;
        let second = rest[middle..].par_chunks_exact_mut(length.max(1)).rev();
        first.par_chunks_exact_mut(length.max(1)).zip(second).with_max_len(1).for_each(|(a, b)| {
            match self.window {
                None => blend(a, b, self.lambda),
                Some(window) => swap(a, b, window, side),
            }
        });
    }
}

fn blend(a: &mut [f32], b: &mut [f32], lambda: f32) {
    for (a, b) in a.iter_mut().zip(b) {
        (*a, *b) = (lambda * *a + (1.0 - lambda) * *b, lambda * *b + (1.0 - lambda) * *a);
    }
}

fn swap(a: &mut [f32], b: &mut [f32], window: Crop, side: usize) {
    let columns = window.x as usize..(window.x + window.width) as usize;
    let rows = window.y as usize..(window.y + window.height) as usize;
    for (a, b) in a.chunks_exact_mut(side * side).zip(b.chunks_exact_mut(side * side)) {
        for row in rows.clone() {
            let part = row * side + columns.start..row * side + columns.end;
            a[part.clone()].swap_with_slice(&mut b[part]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beta_has_its_mean_and_variance() {
        for alpha in [0.05, 0.2, 0.4, 1.0, 1.5, 4.0, 40.0_f64] {
            let mut stream = Stream::new(3, 0, 0, Operation::Mixing);
            let draws: Vec<f64> = (0..20_000).map(|_| beta(&mut stream, alpha)).collect();
            assert!(draws.iter().all(|lambda| (0.0..=1.0).contains(lambda)), "{alpha}");
            let mean = draws.iter().sum::<f64>() / 20_000.0;
            let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 20_000.0;
            let expected = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            assert!((mean - 0.5).abs() < 0.012, "{alpha}: {mean}");
            assert!((variance / expected - 1.0).abs() < 0.04, "{alpha}: {variance} {expected}");
        }
    }

    #[test]
    fn draws_repeat_and_differ_by_batch() {
        let mixing = Mixing { mixup_alpha: 0.2, cutmix_alpha: 1.0, ..Mixing::default() };
        let draw = |batch| mixing.sample((1, 2, batch), 8, 32);
        assert_eq!(draw(0), draw(0));
        let all: Vec<Mix> = (0..400).filter_map(draw).collect();
        assert_eq!(all.len(), 400);
        let cut = all.iter().filter(|mix| mix.window.is_some()).count();
        assert!((160..240).contains(&cut), "{cut}");
        assert_eq!(all[0].partner, [7, 6, 5, 4, 3, 2, 1, 0]);
        assert!(all.iter().any(|mix| mix != &all[0]));
        assert_eq!(mixing.sample((1, 2, 0), 1, 32), None);
        assert_eq!(Mixing { probability: 0.0, ..mixing }.sample((1, 2, 0), 8, 32), None);
        for mix in &all {
            if let Some(Crop { x, y, width, height }) = mix.window {
                assert!(x + width <= 32 && y + height <= 32);
                let part = f64::from(width * height) / 1024.0;
                assert!((f64::from(mix.lambda) + part - 1.0).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn pairs_are_mixed_in_place() {
        let images: Vec<f32> = (0..3 * 12).map(|i| i as f32).collect();
        let partner = vec![2, 1, 0];
        let mut mixed = images.clone();
        Mix { partner: partner.clone(), lambda: 0.25, window: None }.apply(&mut mixed, 12, 2);
        for i in 0..12 {
            assert_eq!(mixed[i], 0.25 * images[i] + 0.75 * images[24 + i]);
            assert_eq!(mixed[12 + i], images[12 + i]);
            assert_eq!(mixed[24 + i], 0.25 * images[24 + i] + 0.75 * images[i]);
        }
        let mut cut = images.clone();
        let window = Some(Crop { x: 1, y: 0, width: 1, height: 2 });
        Mix { partner, lambda: 0.5, window }.apply(&mut cut, 12, 2);
        for i in 0..12 {
            let (own, other) = (images[i], images[24 + i]);
            assert_eq!(cut[i], if i % 2 == 1 { other } else { own });
        }
    }

    /// The data comes from `tests/golden/make_augment.py`.
    #[test]
    fn as_torchvision_mixes() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/augment.json");
        let golden: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let golden = &golden["mixing"];
        let floats =
            |value: &serde_json::Value| -> Vec<f32> { serde_json::from_value(value.clone()).unwrap() };
        for case in golden["mixtures"].as_array().unwrap() {
            let window = serde_json::from_value(case["window"].clone()).unwrap();
            let mix = Mix { partner: vec![1, 0], lambda: case["lambda"].as_f64().unwrap() as f32, window };
            let mut images = floats(&golden["images"]);
            mix.apply(&mut images, 48, 4);
            assert!(images.iter().zip(floats(&case["images"])).all(|(a, b)| (a - b).abs() < 1e-4), "{case}");
            let labels = serde_json::from_value(golden["labels"].clone()).unwrap();
            let images = ndarray::Array4::zeros((2, 3, 4, 4)).into();
            let batch = crate::Batch {
                images,
                labels,
                indices: vec![0, 1],
                targets: None,
                mix: Some(mix),
                weights: None,
            };
            let targets = batch.soft_targets(3).unwrap();
            assert!(
                targets.iter().zip(floats(&case["targets"])).all(|(a, b)| (a - b).abs() < 1e-6),
                "{case}"
            );
        }
        for case in golden["windows"].as_array().unwrap() {
            let centre: [u32; 2] = serde_json::from_value(case["centre"].clone()).unwrap();
            let Crop { x, y, width, height } = window(case["lambda"].as_f64().unwrap(), centre.into(), 224);
            let [left, top, right, bottom]: [u32; 4] = serde_json::from_value(case["box"].clone()).unwrap();
            let theirs = (left, top, right.saturating_sub(left), bottom.saturating_sub(top));
            assert_eq!((x, y, width, height), theirs, "{case}");
        }
    }
}

//! TrivialAugment and RandAugment: one or a few operations out of fourteen, with strengths from a table.
//!
//! The one decision: names, tables and signs are torchvision's, so that a published recipe means the same here. Where
//! torchvision takes the nearest pixel, rotations and the like use the filter of the net's input, in one resampling with
//! the crop.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::params::{Length, Op};
use crate::draw::Stream;
use crate::options::Checks;

/// The steps of a table of strengths.
const BINS: u32 = 31;

/// The operations, in torchvision's order.
const OPS: u32 = 14;

/// A policy that chooses operations at random. As JSON `"rand-augment"` alone is [`Policy::rand_augment`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, remote = "Self")]
pub enum Policy {
    /// One operation of any strength (Müller and Hutter 2021, arXiv:2103.10158): nothing to tune.
    TrivialAugmentWide,
    /// Some operations of one strength (Cubuk et al. 2019, arXiv:1909.13719).
    RandAugment {
        /// Operations for each image, 1..=14.
        #[serde(default = "two")]
        num_ops: u32,
        /// Their strength, 0..=30.
        #[serde(default = "nine")]
        magnitude: u32,
    },
}

fn two() -> u32 {
    2
}

fn nine() -> u32 {
    9
}

impl Policy {
    /// RandAugment with torchvision's defaults: two operations of strength 9.
    pub fn rand_augment() -> Self {
        Self::RandAugment { num_ops: two(), magnitude: nine() }
    }

    pub(super) fn check(&self, checks: &mut Checks) {
        if let Self::RandAugment { num_ops, magnitude } = self {
            checks.require((1..=OPS).contains(num_ops), "policy.num_ops", num_ops, "1 to 14");
            checks.require(*magnitude < BINS, "policy.magnitude", magnitude, "0 to 30");
        }
    }

    pub(super) fn sample(&self, stream: &mut Stream, ops: &mut Vec<Op>) {
        let (times, fixed) = match *self {
            Self::TrivialAugmentWide => (1, None),
            Self::RandAugment { num_ops, magnitude } => (num_ops, Some(magnitude)),
        };
        for _ in 0..times {
            let (index, bin, negative) = (stream.below(OPS), stream.below(BINS), stream.unit() < 0.5);
            ops.extend(self.operation(index, fixed.unwrap_or(bin), negative));
        }
    }

    /// Operation `index` of [`OPS`] with the strength in `bin`; nothing for the identity.
    pub(super) fn operation(&self, index: u32, bin: u32, negative: bool) -> Option<Op> {
        let wide = *self == Self::TrivialAugmentWide;
        // Widths of the tables: of TrivialAugmentWide, and of RandAugment.
        let steps = |of_wide: f32, of_rand: f32| linspace(0.0, if wide { of_wide } else { of_rand }, bin);
        let signed = |strength: f64| if negative { -strength } else { strength };
        let factor = 1.0 + signed(steps(0.99, 0.9));
        let shift = || match wide {
            true => Length::Pixels(signed(linspace(0.0, 32.0, bin)) as i32),
            false => Length::Part(signed(150.0 / 331.0 * f64::from(bin) / f64::from(BINS - 1))),
        };
        Some(match index {
            1 => Op::ShearX(signed(steps(0.99, 0.3))),
            2 => Op::ShearY(signed(steps(0.99, 0.3))),
            3 => Op::TranslateX(shift()),
            4 => Op::TranslateY(shift()),
            5 => Op::Rotate(signed(steps(135.0, 30.0))),
            6 => Op::Brightness(factor),
            7 => Op::Saturation(factor),
            8 => Op::Contrast(factor),
            9 => Op::Sharpness(factor),
            10 => Op::Posterize(bits(bin, if wide { 6.0 } else { 4.0 })),
            11 => Op::Solarize(linspace(255.0, 0.0, bin)),
            12 => Op::Autocontrast,
            13 => Op::Equalize,
            _ => return None,
        })
    }
}

impl Serialize for Policy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

/// The derived form, and the name alone.
impl<'de> Deserialize<'de> for Policy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;

        impl<'de> Visitor<'de> for Written {
            type Value = Policy;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`trivial-augment-wide`, `rand-augment`, or a map with one of them")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Policy, E> {
                match name {
                    "rand-augment" => Ok(Policy::rand_augment()),
                    name => Policy::deserialize(StrDeserializer::new(name)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Policy, A::Error> {
                Policy::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_any(Written)
    }
}

/// Value `bin` of `BINS` evenly spaced ones, in f32 and from both ends to the middle, each rounded once, as
/// `torch.linspace` makes them.
fn linspace(from: f32, to: f32, bin: u32) -> f64 {
    let last = BINS - 1;
    let step = f64::from((to - from) / last as f32);
    let value = match bin < BINS / 2 {
        true => f64::from(from) + step * f64::from(bin),
        false => f64::from(to) - step * f64::from(last - bin),
    };
    f64::from(value as f32)
}

/// 8 bits down to `8 - fewest`.
fn bits(bin: u32, fewest: f32) -> u8 {
    8 - (bin as f32 / ((BINS - 1) as f32 / fewest)).round_ties_even() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against `_augmentation_space` of torchvision, for an input of 224 pixels; the data comes from
    /// `tests/golden/make_augment.py`.
    #[test]
    fn strengths_are_those_of_torchvision() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/augment.json");
        let golden: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let policies =
            [("trivial-augment-wide", Policy::TrivialAugmentWide), ("rand-augment", Policy::rand_augment())];
        for (name, policy) in policies {
            for (index, row) in golden["policies"][name].as_array().unwrap().iter().enumerate() {
                for bin in 0..BINS {
                    let value = row["values"][bin as usize].as_f64().unwrap();
                    for negative in [false, true] {
                        let signed =
                            if negative && row["signed"].as_bool().unwrap() { -value } else { value };
                        let op = policy.operation(index as u32, bin, negative);
                        let expected = expected(row["op"].as_str().unwrap(), signed);
                        // A shift of a part of the input is cut down to whole pixels later.
                        let shift = |length| match length {
                            Length::Pixels(_) => length,
                            Length::Part(part) => Length::Pixels((part * 224.0) as i32),
                        };
                        let op = match op {
                            Some(Op::TranslateX(length)) => Some(Op::TranslateX(shift(length))),
                            Some(Op::TranslateY(length)) => Some(Op::TranslateY(shift(length))),
                            op => op,
                        };
                        assert_eq!(op, expected, "{name}, {index}, {bin}");
                    }
                }
            }
        }
    }

    /// Where 150 / 331 of the side is whole, and where it is not.
    #[test]
    fn shifts_are_cut_down_as_by_torchvision() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/augment.json");
        let golden: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        for row in golden["shifts"].as_array().unwrap() {
            let side = row["side"].as_f64().unwrap();
            for (bin, pixels) in (0..BINS).zip(row["pixels"].as_array().unwrap()) {
                for (negative, sign) in [(false, -1.0), (true, 1.0)] {
                    let op = Policy::rand_augment().operation(3, bin, negative).unwrap();
                    let shift = op.inverse(side).unwrap().x0;
                    assert_eq!(shift, sign * pixels.as_f64().unwrap(), "{side}, {bin}");
                }
            }
        }
    }

    /// What torchvision's `_apply_op` does with a strength.
    fn expected(name: &str, value: f64) -> Option<Op> {
        Some(match name {
            "Identity" => return None,
            "ShearX" => Op::ShearX(value),
            "ShearY" => Op::ShearY(value),
            "TranslateX" => Op::TranslateX(Length::Pixels(value as i32)),
            "TranslateY" => Op::TranslateY(Length::Pixels(value as i32)),
            "Rotate" => Op::Rotate(value),
            "Brightness" => Op::Brightness(1.0 + value),
            "Color" => Op::Saturation(1.0 + value),
            "Contrast" => Op::Contrast(1.0 + value),
            "Sharpness" => Op::Sharpness(1.0 + value),
            "Posterize" => Op::Posterize(value as u8),
            "Solarize" => Op::Solarize(value),
            "AutoContrast" => Op::Autocontrast,
            "Equalize" => Op::Equalize,
            name => panic!("no such operation: {name}"),
        })
    }
}

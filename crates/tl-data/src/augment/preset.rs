//! Named recipes, from nothing to strong.
//!
//! The one decision: a preset is a recipe and no more. It is looked up once and written down in full, so a later change
//! here does not change what an old run meant.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::policy::Policy;
use super::recipe::{ColorJitter, Mixing, RandomErasing};
use super::{Augment, RandomResizedCrop};

/// Below this many images of a class a recipe stays [`AugmentPreset::Light`].
const FEW_OF_A_CLASS: usize = 100;

/// From this many images on they are mixed: BiT's rule (arXiv:1912.11370) fine-tunes with MixUp from 20,000 on.
const MANY: usize = 20_000;

/// A named recipe.
///
/// | name     | crop of the area | beyond crop and flip                          | mixing                   |
/// |----------|------------------|-----------------------------------------------|--------------------------|
/// | `none`   | none             | nothing, not even a flip                      | none                     |
/// | `basic`  | 35 to 100 %      | nothing                                       | none                     |
/// | `light`  | 35 to 100 %      | colour jitter 0.2 (brightness, contrast, saturation) | none              |
/// | `medium` | 25 to 100 %      | TrivialAugmentWide, erasing 0.1               | none                     |
/// | `strong` | 8 to 100 %       | TrivialAugmentWide, erasing 0.1               | MixUp 0.2 or CutMix 1.0  |
///
/// `basic` is what fine-tuning of pretrained nets does in most papers, BiT and ViT (arXiv:2010.11929) among them.
/// `strong` is the augmentation of torchvision's reference training since 2021 (without repeated sampling); `medium` is
/// the same without what needs long training, which is mixing and small crops. `light` allows for another camera and
/// another light. Stronger is not better by itself: how much helps grows with the number of steps rather than with the
/// lack of images (Steiner et al. 2021, arXiv:2106.10270), and a run on few images has few steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AugmentPreset {
    /// [`Augment::none`].
    None,
    /// [`Augment::basic`].
    Basic,
    /// `basic` and colour jitter.
    Light,
    /// A policy and erasing.
    Medium,
    /// As from scratch: small crops, a policy, erasing, MixUp and CutMix.
    Strong,
}

impl AugmentPreset {
    /// All presets, from nothing to strong.
    pub const ALL: [Self; 5] = [Self::None, Self::Basic, Self::Light, Self::Medium, Self::Strong];

    /// The preset for this many training images: `light` below 100 images of a class, `medium` from there on, `strong`
    /// from 20,000 images in all.
    ///
    /// The border to `strong` is BiT's; the other is a rule of thumb.
    pub fn for_size(images: usize, classes: usize) -> Self {
        let per_class = images / classes.max(1);
        match () {
            () if per_class < FEW_OF_A_CLASS => Self::Light,
            () if images < MANY => Self::Medium,
            () => Self::Strong,
        }
    }

    /// The name, as [`AugmentPreset::from_str`] takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Basic => "basic",
            Self::Light => "light",
            Self::Medium => "medium",
            Self::Strong => "strong",
        }
    }

    /// The recipe.
    pub fn recipe(self) -> Augment {
        let crop = |least| RandomResizedCrop { scale: (least, 1.0), ratio: (3.0 / 4.0, 4.0 / 3.0) };
        let medium = Augment {
            random_resized_crop: Some(crop(0.25)),
            policy: Some(Policy::TrivialAugmentWide),
            random_erasing: Some(RandomErasing { probability: 0.1, ..RandomErasing::default() }),
            ..Augment::basic()
        };
        match self {
            Self::None => Augment::none(),
            Self::Basic => Augment::basic(),
            Self::Light => {
                let (brightness, contrast, saturation) = (0.2, 0.2, 0.2);
                let jitter = ColorJitter { brightness, contrast, saturation, ..ColorJitter::default() };
                Augment { color_jitter: Some(jitter), ..Augment::basic() }
            }
            Self::Medium => medium,
            Self::Strong => {
                let mixing = Mixing { mixup_alpha: 0.2, cutmix_alpha: 1.0, ..Mixing::default() };
                Augment { random_resized_crop: Some(crop(0.08)), mixing: Some(mixing), ..medium }
            }
        }
    }
}

impl fmt::Display for AugmentPreset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no preset has.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("there is no augmentation `{name}`\n\nhint: `none`, `basic`, `light`, `medium` or `strong`")]
pub struct UnknownPreset {
    /// The name given.
    pub name: String,
}

impl FromStr for AugmentPreset {
    type Err = UnknownPreset;

    fn from_str(name: &str) -> Result<Self, UnknownPreset> {
        let known = Self::ALL.into_iter().find(|preset| preset.name() == name);
        known.ok_or_else(|| UnknownPreset { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_recipes() {
        for preset in AugmentPreset::ALL {
            assert_eq!(preset.to_string().parse(), Ok(preset));
            preset.recipe().check().unwrap();
        }
        let error = "heavy".parse::<AugmentPreset>().unwrap_err().to_string();
        assert!(error.starts_with("there is no augmentation `heavy`\n\nhint: `none`"), "{error}");
        assert_eq!(AugmentPreset::Basic.recipe(), Augment::basic());
    }

    #[test]
    fn sizes() {
        let name = |images, classes| Augment::preset(images, classes).name();
        assert_eq!(name(0, 0), "light");
        assert_eq!(name(244, 2), "medium");
        assert_eq!(name(150, 2), "light");
        assert_eq!(name(19_999, 10), "medium");
        assert_eq!(name(50_000, 10), "strong");
        assert_eq!(name(50_000, 1000), "light");
    }
}

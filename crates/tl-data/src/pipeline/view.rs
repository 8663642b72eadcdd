//! How images are prepared: as validation images, or changed at random.
//!
//! The one decision: the two are different variants, so what validates cannot be augmented by a flag that someone forgot.
//! As JSON a recipe of our own and the arguments of an `ImageDataGenerator` are told apart by their names.

use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::augment::Augment;
use crate::idg::{IdgOptions, ImageDataGenerator};
use crate::options::Checks;
use crate::preprocess::Preprocess;

/// The key that marks an `ImageDataGenerator` in JSON.
const GENERATOR: &str = "image_data_generator";

/// How images are prepared.
#[derive(Debug, Clone, PartialEq)]
pub enum View {
    /// The validation transform; the seed and the epoch do not matter.
    Eval(Preprocess),
    /// Augmented images, another view of each in every epoch.
    Train(Preprocess, Augmentation),
}

impl View {
    /// Augmented images.
    pub fn train(preprocess: Preprocess, augmentation: impl Into<Augmentation>) -> Self {
        Self::Train(preprocess, augmentation.into())
    }

    /// Size, filter and normalisation.
    pub fn preprocess(&self) -> &Preprocess {
        match self {
            Self::Eval(preprocess) | Self::Train(preprocess, _) => preprocess,
        }
    }

    /// A short side to shrink images to, for [`crate::LoaderOptions::shrink`], at which nothing has to be enlarged: not
    /// the whole image, and not the smallest crop of a square image.
    pub fn shrink_side(&self) -> u32 {
        let preprocess = self.preprocess();
        let (crop, scaled) = match self {
            Self::Train(_, Augmentation::Recipe(augment)) => {
                (augment.random_resized_crop, augment.affine.map_or(1.0, |affine| affine.scale.1.max(1.0)))
            }
            Self::Train(_, Augmentation::Generator(_)) | Self::Eval(_) => (None, 1.0),
        };
        let for_crop = crop.map_or(0.0, |crop| {
            let ratio = f64::from(crop.ratio.1).max(1.0 / f64::from(crop.ratio.0));
            f64::from(preprocess.input) * (ratio / f64::from(crop.scale.0)).sqrt()
        });
        let usual = f64::from(preprocess.resize.max(preprocess.input));
        (for_crop.max(usual) * f64::from(scaled)).ceil() as u32
    }

    pub(super) fn note(&self, checks: &mut Checks) {
        self.preprocess().note(checks);
        if let Self::Train(_, Augmentation::Recipe(augment)) = self {
            augment.note(checks);
        }
    }
}

/// What changes training images at random.
#[derive(Debug, Clone, PartialEq)]
pub enum Augmentation {
    /// A recipe of this crate.
    Recipe(Box<Augment>),
    /// Keras's `ImageDataGenerator`: the image is resized to the net's input without regard to its proportions, as
    /// `flow_from_directory` does with `target_size`, and changed there. Its normalisation is not used, for a pretrained
    /// net has its own; see [`Augmentation::warnings`].
    Generator(Arc<ImageDataGenerator>),
}

impl Augmentation {
    /// What is not done although it was asked for, and where Keras's documentation and code differ; one line each.
    pub fn warnings(&self) -> Vec<String> {
        let Self::Generator(generator) = self else { return Vec::new() };
        let o = generator.options();
        let normalisation = [
            ("rescale", o.rescale.is_some()),
            ("preprocessing_function", o.preprocessing_function.is_some()),
            ("featurewise_center", o.featurewise_center),
            ("featurewise_std_normalization", o.featurewise_std_normalization),
            ("samplewise_center", o.samplewise_center),
            ("samplewise_std_normalization", o.samplewise_std_normalization),
            ("zca_whitening", o.zca_whitening),
        ];
        let used: Vec<String> =
            normalisation.iter().filter(|(_, on)| *on).map(|(name, _)| format!("`{name}`")).collect();
        let mut lines = Vec::new();
        if !used.is_empty() {
            let names = used.join(", ");
            lines.push(format!(
                "{names}: not used, the normalisation that the net was trained with takes its place"
            ));
        }
        if o.validation_split != 0.0 {
            lines.push(
                "`validation_split`: not used, the validation images of the run are split apart before"
                    .to_owned(),
            );
        }
        if !generator.augments() {
            lines.push("this ImageDataGenerator changes nothing at random".to_owned());
        }
        // Its last line is about the split, which does not apply here.
        lines.extend(generator.explain().into_iter().filter(|line| !line.contains("validation subset")));
        lines
    }

    fn of_generator(value: Value) -> Result<Self, String> {
        let args = serde_json::from_value(value).map_err(|error| error.to_string())?;
        let options = IdgOptions::from_args(args).map_err(|error| error.to_string())?;
        let generator = ImageDataGenerator::new(options).map_err(|error| error.to_string())?;
        Ok(Self::Generator(Arc::new(generator)))
    }

    fn of(mut fields: Map<String, Value>) -> Result<Self, String> {
        if fields.len() == 1
            && let Some(value) = fields.remove(GENERATOR)
        {
            return Self::of_generator(value);
        }
        // A name that both have means the same in both; one that only Keras has decides.
        let keras = IdgOptions::default().to_args();
        let own = serde_json::to_value(Augment::default()).unwrap_or_default();
        let only_keras =
            |name: &String| keras.contains_key(name) && name != "vertical_flip" && own.get(name).is_none();
        if fields.keys().any(only_keras) {
            return Self::of_generator(Value::Object(fields));
        }
        let augment: Augment =
            serde_json::from_value(Value::Object(fields)).map_err(|error| error.to_string())?;
        augment.check().map_err(|error| error.to_string())?;
        Ok(augment.into())
    }
}

impl From<Augment> for Augmentation {
    fn from(augment: Augment) -> Self {
        Self::Recipe(Box::new(augment))
    }
}

impl Serialize for Augmentation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Recipe(augment) => augment.serialize(serializer),
            Self::Generator(generator) => {
                let args = generator.options().to_args();
                std::collections::BTreeMap::from([(GENERATOR, args)]).serialize(serializer)
            }
        }
    }
}

/// A recipe, the arguments of an `ImageDataGenerator` as they are, or those under the key `image_data_generator`; checked.
impl<'de> Deserialize<'de> for Augmentation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::of(Map::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipes_and_generators_are_told_apart_and_come_back() {
        let read = |text: &str| serde_json::from_str::<Augmentation>(text);
        assert_eq!(read("{}").unwrap(), Augment::none().into());
        assert!(
            matches!(read(r#"{"vertical_flip": true}"#).unwrap(), Augmentation::Recipe(a) if a.vertical_flip)
        );
        let keras = read(r#"{"rotation_range": 20, "vertical_flip": true, "rescale": 0.5}"#).unwrap();
        let Augmentation::Generator(generator) = &keras else { panic!("{keras:?}") };
        assert!(generator.options().vertical_flip);
        assert!(keras.warnings()[0].starts_with("`rescale`: not used"), "{:?}", keras.warnings());
        for augmentation in [keras, Augment::basic().into()] {
            let text = serde_json::to_string(&augmentation).unwrap();
            assert_eq!(read(&text).unwrap(), augmentation, "{text}");
        }
        let error = read(r#"{"rotation_rnage": 20, "zoom_range": [1]}"#).unwrap_err().to_string();
        assert!(error.contains("rotation_rnage") && error.contains("zoom_range"), "{error}");
        let error = read(r#"{"flip": true, "rotate": 1}"#).unwrap_err().to_string();
        assert!(error.contains("unknown field `rotate`"), "{error}");
        let error = read(r#"{"image_data_generator": 3}"#).unwrap_err().to_string();
        assert!(error.contains("map"), "{error}");
    }
}

//! The arguments of Keras's `ImageDataGenerator`: their names, defaults and ranges.
//!
//! The one decision: arguments are taken as a Python program writes them down (`json.dumps` of its keyword
//! arguments), so that no one has to translate a configuration; `compat` is the only name added. Where Keras
//! takes what cannot mean anything, only [`Compat::Keras3`] follows it.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::args::{Arg, Args, Choice, Named, Reader, choice, fail_if_any};
use super::error::{IdgError, IdgProblem};

/// Whose behaviour to follow where what Keras says and what it does differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compat {
    /// What the documentation says; [`explain`](super::ImageDataGenerator::explain) lists the differences.
    #[default]
    Documented,
    /// What the code of Keras 3 does, with its defects.
    Keras3,
}

choice!(Compat: Documented = "documented", Keras3 = "keras3");

/// What lies outside of an image; `a b c d` are its pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FillMode {
    /// `cval` everywhere; a pixel that needs anything from outside is `cval` as a whole.
    Constant,
    /// The nearest pixel: `a a a | a b c d | d d d`.
    #[default]
    Nearest,
    /// The mirror image, with the edge twice: `c b a | a b c d | d c b`.
    Reflect,
    /// The image again: `b c d | a b c d | a b c`.
    Wrap,
}

choice!(FillMode: Constant = "constant", Nearest = "nearest", Reflect = "reflect", Wrap = "wrap");

/// The order of axes of arrays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DataFormat {
    /// `[H, W, C]` and `[N, H, W, C]`.
    #[default]
    ChannelsLast,
    /// `[C, H, W]` and `[N, C, H, W]`.
    ChannelsFirst,
}

choice!(DataFormat: ChannelsLast = "channels_last", ChannelsFirst = "channels_first");

/// The type of the numbers asked for. Numbers here are always `f32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dtype {
    /// 16 bits.
    Float16,
    /// 32 bits.
    #[default]
    Float32,
    /// 64 bits.
    Float64,
}

choice!(Dtype: Float16 = "float16", Float32 = "float32", Float64 = "float64");

/// The `preprocess_input` functions of Keras's nets, for images in 0..=255.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preprocessing {
    /// RGB to BGR, then the ImageNet mean is subtracted: VGG16, VGG19, ResNet50, 101, 152.
    Caffe,
    /// To -1..=1: ResNetV2, Inception, Xception, MobileNet v1 and v2, NASNet.
    Tf,
    /// To 0..=1, then the ImageNet mean and deviation: DenseNet, and all weights of torchvision.
    Torch,
}

choice!(Preprocessing: Caffe = "caffe", Tf = "tf", Torch = "torch");

/// How far images are shifted.
#[derive(Debug, Clone, PartialEq)]
pub enum ShiftRange {
    /// Evenly from `-x` to `x`: parts of the side if `x < 1`, otherwise pixels.
    Float(f64),
    /// Whole pixels, more than `-n` and less than `n`.
    Int(i64),
    /// One of these: parts of the side if all are below 1, otherwise pixels.
    List(Vec<f64>),
}

impl ShiftRange {
    /// Whether nothing is shifted.
    pub fn is_none(&self) -> bool {
        match self {
            Self::Float(x) => *x == 0.0,
            Self::Int(n) => *n == 0,
            Self::List(values) => values.is_empty(),
        }
    }

    fn read(arg: &Arg) -> Option<Self> {
        match arg {
            Arg::Int(n) => Some(Self::Int(*n)),
            Arg::Float(x) => Some(Self::Float(*x)),
            Arg::List(items) => items.iter().map(Arg::number).collect::<Option<_>>().map(Self::List),
            _ => None,
        }
    }

    fn to_arg(&self) -> Arg {
        match self {
            Self::Int(n) => Arg::Int(*n),
            Self::Float(x) => Arg::Float(*x),
            Self::List(values) => Arg::List(values.iter().copied().map(Arg::Float).collect()),
        }
    }

    fn values(&self) -> Vec<f64> {
        match self {
            Self::Int(n) => vec![*n as f64],
            Self::Float(x) => vec![*x],
            Self::List(values) => values.clone(),
        }
    }
}

/// The arguments of `ImageDataGenerator`, with Keras's names and defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct IdgOptions {
    /// Subtract the mean of the data, channel by channel; needs `fit`.
    pub featurewise_center: bool,
    /// Subtract the mean of each image.
    pub samplewise_center: bool,
    /// Divide by the deviation of the data, channel by channel; needs `fit`.
    pub featurewise_std_normalization: bool,
    /// Divide by the deviation of each image.
    pub samplewise_std_normalization: bool,
    /// Decorrelate all pixels (ZCA); needs `fit`.
    pub zca_whitening: bool,
    /// Added to the singular values before ZCA divides by them.
    pub zca_epsilon: f64,
    /// Rotate by up to so many degrees, either way.
    pub rotation_range: f64,
    /// Shift left or right.
    pub width_shift_range: ShiftRange,
    /// Shift up or down.
    pub height_shift_range: ShiftRange,
    /// Multiply by a number from here to there; 1 changes nothing.
    pub brightness_range: Option<(f64, f64)>,
    /// Shear by an angle of up to so many degrees, either way.
    pub shear_range: f64,
    /// Zoom by factors from here to there, drawn for each axis; above 1 the content shrinks. Keras's single
    /// number `z` is `(1 - z, 1 + z)`.
    pub zoom_range: (f64, f64),
    /// Add up to this much to all channels, or subtract it.
    pub channel_shift_range: f64,
    /// What lies outside of an image.
    pub fill_mode: FillMode,
    /// The value outside for [`FillMode::Constant`].
    pub cval: f64,
    /// Mirror left and right with probability 0.5.
    pub horizontal_flip: bool,
    /// Mirror up and down with probability 0.5.
    pub vertical_flip: bool,
    /// Multiply by this after `preprocessing_function`; `None` or 0 for nothing.
    pub rescale: Option<f64>,
    /// Applied after the random changes and before `rescale`.
    pub preprocessing_function: Option<Preprocessing>,
    /// The order of axes of all arrays that go in and out.
    pub data_format: DataFormat,
    /// The part of the data that validates, in 0..1; 0 for none.
    pub validation_split: f64,
    /// The order of the spline that resamples: 0 for the nearest pixel, 1 for bilinear, up to 5.
    pub interpolation_order: u8,
    /// Only `float32` is computed; others are taken with a warning.
    pub dtype: Dtype,
    /// Whose behaviour to follow. Not an argument of Keras's.
    pub compat: Compat,
}

impl Default for IdgOptions {
    fn default() -> Self {
        Self {
            featurewise_center: false,
            samplewise_center: false,
            featurewise_std_normalization: false,
            samplewise_std_normalization: false,
            zca_whitening: false,
            zca_epsilon: 1e-6,
            rotation_range: 0.0,
            width_shift_range: ShiftRange::Float(0.0),
            height_shift_range: ShiftRange::Float(0.0),
            brightness_range: None,
            shear_range: 0.0,
            zoom_range: (1.0, 1.0),
            channel_shift_range: 0.0,
            fill_mode: FillMode::Nearest,
            cval: 0.0,
            horizontal_flip: false,
            vertical_flip: false,
            rescale: None,
            preprocessing_function: None,
            data_format: DataFormat::ChannelsLast,
            validation_split: 0.0,
            interpolation_order: 1,
            dtype: Dtype::Float32,
            compat: Compat::Documented,
        }
    }
}

/// What the messages call the constructor.
const OF: &str = "ImageDataGenerator";

impl IdgOptions {
    /// Reads Keras's keyword arguments.
    ///
    /// # Errors
    /// Names that are not arguments, values of a wrong kind or out of range; all of them together.
    pub fn from_args(args: Args) -> Result<Self, IdgError> {
        let default = Self::default();
        let mut r = Reader::new(args);
        let shift = "a number or a list of numbers";
        let options = Self {
            featurewise_center: r.flag("featurewise_center", false),
            samplewise_center: r.flag("samplewise_center", false),
            featurewise_std_normalization: r.flag("featurewise_std_normalization", false),
            samplewise_std_normalization: r.flag("samplewise_std_normalization", false),
            zca_whitening: r.flag("zca_whitening", false),
            zca_epsilon: r.number("zca_epsilon", default.zca_epsilon),
            rotation_range: r.number("rotation_range", 0.0),
            width_shift_range: r.take(
                "width_shift_range",
                default.width_shift_range,
                shift,
                ShiftRange::read,
            ),
            height_shift_range: r.take(
                "height_shift_range",
                default.height_shift_range,
                shift,
                ShiftRange::read,
            ),
            brightness_range: r
                .take("brightness_range", None, "two numbers or null", |arg| arg.pair().map(Some)),
            shear_range: r.number("shear_range", 0.0),
            zoom_range: r.take("zoom_range", (1.0, 1.0), "a number or two numbers", |arg| {
                arg.number().map(|z| (1.0 - z, 1.0 + z)).or_else(|| arg.pair())
            }),
            channel_shift_range: r.number("channel_shift_range", 0.0),
            fill_mode: r.choice("fill_mode", FillMode::Nearest),
            cval: r.number("cval", 0.0),
            horizontal_flip: r.flag("horizontal_flip", false),
            vertical_flip: r.flag("vertical_flip", false),
            rescale: r.optional_number("rescale"),
            preprocessing_function: r.optional_choice("preprocessing_function", None),
            data_format: r.choice("data_format", DataFormat::ChannelsLast),
            validation_split: r.number("validation_split", 0.0),
            interpolation_order: r.take("interpolation_order", 1, "0 to 5", |arg| match arg {
                Arg::Int(order) => u8::try_from(*order).ok(),
                _ => None,
            }),
            dtype: r.choice("dtype", Dtype::Float32),
            compat: r.choice("compat", Compat::Documented),
        };
        r.problems.extend(options.problems());
        r.finish(OF, options)
    }

    /// The arguments by name, all of them.
    pub fn to_args(&self) -> Args {
        let pair = |(a, b): (f64, f64)| Arg::List(vec![Arg::Float(a), Arg::Float(b)]);
        let text = |name: &str| Arg::Text(name.to_owned());
        let flag = Arg::Bool;
        let args: [(&str, Arg); 24] = [
            ("featurewise_center", flag(self.featurewise_center)),
            ("samplewise_center", flag(self.samplewise_center)),
            ("featurewise_std_normalization", flag(self.featurewise_std_normalization)),
            ("samplewise_std_normalization", flag(self.samplewise_std_normalization)),
            ("zca_whitening", flag(self.zca_whitening)),
            ("zca_epsilon", Arg::Float(self.zca_epsilon)),
            ("rotation_range", Arg::Float(self.rotation_range)),
            ("width_shift_range", self.width_shift_range.to_arg()),
            ("height_shift_range", self.height_shift_range.to_arg()),
            ("brightness_range", self.brightness_range.map_or(Arg::Null, pair)),
            ("shear_range", Arg::Float(self.shear_range)),
            ("zoom_range", pair(self.zoom_range)),
            ("channel_shift_range", Arg::Float(self.channel_shift_range)),
            ("fill_mode", text(self.fill_mode.name())),
            ("cval", Arg::Float(self.cval)),
            ("horizontal_flip", flag(self.horizontal_flip)),
            ("vertical_flip", flag(self.vertical_flip)),
            ("rescale", self.rescale.map_or(Arg::Null, Arg::Float)),
            (
                "preprocessing_function",
                self.preprocessing_function.map_or(Arg::Null, |mode| text(mode.name())),
            ),
            ("data_format", text(self.data_format.name())),
            ("validation_split", Arg::Float(self.validation_split)),
            ("interpolation_order", Arg::Int(self.interpolation_order.into())),
            ("dtype", text(self.dtype.name())),
            ("compat", text(self.compat.name())),
        ];
        args.into_iter().map(|(name, arg)| (name.to_owned(), arg)).collect()
    }

    /// Checks all ranges.
    ///
    /// # Errors
    /// The fields out of range, together.
    pub fn check(&self) -> Result<(), IdgError> {
        fail_if_any(OF, self.problems())
    }

    fn problems(&self) -> Vec<IdgProblem> {
        let mut found = Vec::new();
        let mut refuse = |name, got: String, expected: &str| {
            found.push(IdgProblem::Value { name, got, expected: expected.to_owned() });
        };
        let strict = self.compat == Compat::Documented;
        let ranges = [
            ("rotation_range", self.rotation_range),
            ("shear_range", self.shear_range),
            ("channel_shift_range", self.channel_shift_range),
            ("zca_epsilon", self.zca_epsilon),
        ];
        for (name, value) in ranges {
            if !value.is_finite() || (strict && value < 0.0) {
                refuse(name, format!("{value:?}"), "a number from 0");
            }
        }
        for (name, range) in
            [("width_shift_range", &self.width_shift_range), ("height_shift_range", &self.height_shift_range)]
        {
            let scalar = !matches!(range, ShiftRange::List(_));
            let bad = |x: &f64| !x.is_finite() || (strict && scalar && *x < 0.0);
            if range.values().iter().any(bad) {
                refuse(name, format!("{range:?}"), "a number from 0, or a list of numbers");
            }
        }
        let in_range = |(a, b): (f64, f64), low: bool| a.is_finite() && b.is_finite() && (!strict || low);
        let (low, high) = self.zoom_range;
        if !in_range(self.zoom_range, low > 0.0 && high > 0.0) {
            refuse("zoom_range", format!("[{low:?}, {high:?}]"), "below 1, or two numbers above 0");
        }
        if let Some((low, high)) = self.brightness_range
            && !in_range((low, high), low >= 0.0 && high >= 0.0)
        {
            refuse("brightness_range", format!("[{low:?}, {high:?}]"), "two numbers from 0");
        }
        for (name, value) in [("cval", Some(self.cval)), ("rescale", self.rescale)] {
            if let Some(value) = value.filter(|value| !value.is_finite()) {
                refuse(name, format!("{value:?}"), "a finite number");
            }
        }
        let split = self.validation_split;
        if split != 0.0 && !(split > 0.0 && split < 1.0) {
            refuse("validation_split", format!("{split:?}"), "more than 0 and less than 1");
        }
        if self.interpolation_order > 5 {
            refuse("interpolation_order", self.interpolation_order.to_string(), "0 to 5");
        }
        found
    }
}

impl<'de> Deserialize<'de> for IdgOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let named = Named::deserialize(deserializer)?;
        named.unique(OF).and_then(Self::from_args).map_err(D::Error::custom)
    }
}

impl Serialize for IdgOptions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_args().serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<IdgOptions, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_object_is_the_default() {
        assert_eq!(read("{}").unwrap(), IdgOptions::default());
        let nulls = r#"{"brightness_range": null, "rescale": null, "data_format": null, "dtype": null,
                        "preprocessing_function": null, "rotation_range": null, "width_shift_range": null,
                        "shear_range": null, "validation_split": null, "horizontal_flip": null,
                        "vertical_flip": 0, "fill_mode": null}"#;
        assert_eq!(read(nulls).unwrap(), IdgOptions::default());
    }

    #[test]
    fn the_forms_of_an_argument() {
        let options = read(
            r#"{"zoom_range": 0.25, "width_shift_range": 3, "height_shift_range": [-0.5, 0, 1],
                "brightness_range": [0.5, 1], "rescale": 0.003921568627450980, "compat": "keras3"}"#,
        )
        .unwrap();
        assert_eq!(options.zoom_range, (0.75, 1.25));
        assert_eq!(options.width_shift_range, ShiftRange::Int(3));
        assert_eq!(options.height_shift_range, ShiftRange::List(vec![-0.5, 0.0, 1.0]));
        assert_eq!(options.brightness_range, Some((0.5, 1.0)));
        assert_eq!(options.compat, Compat::Keras3);
        let again = serde_json::to_string(&options).unwrap();
        assert_eq!(read(&again).unwrap(), options);
        assert_eq!(read(r#"{"width_shift_range": 3.0}"#).unwrap().width_shift_range, ShiftRange::Float(3.0));
        assert_eq!(read(r#"{"zoom_range": [0.5, 1]}"#).unwrap().zoom_range, (0.5, 1.0));
    }

    #[test]
    fn all_problems_are_reported_together() {
        let error = read(
            r#"{"rotation": 20, "zoom_range": [1, 2, 3], "fill_mode": "reflec", "horizontal_flip": 2,
                "validation_split": 1.5, "brightness_range": 0.2, "shear_range": -4, "dtype": "uint8"}"#,
        )
        .unwrap_err();
        for part in [
            "`ImageDataGenerator` cannot be used: 8 problems",
            "`zoom_range` is [1, 2, 3] (expected a number or two numbers)",
            "`fill_mode` is `reflec` (expected one of `constant`, `nearest`, `reflect`, `wrap`)",
            "`horizontal_flip` is 2 (expected true or false)",
            "`validation_split` is 1.5",
            "`brightness_range` is 0.2",
            "`shear_range` is -4.0",
            "there is no argument `rotation`",
            "hint: did you mean `rotation_range`?",
            "did you mean `reflect`?",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn what_means_nothing_is_for_keras3_alone() {
        for json in [r#""zoom_range": 1.5"#, r#""rotation_range": -20"#, r#""brightness_range": [-1, 1]"#] {
            assert!(read(&format!("{{{json}}}")).is_err(), "{json}");
            read(&format!(r#"{{{json}, "compat": "keras3"}}"#)).unwrap();
        }
        assert!(read(r#"{"horizontal_flip": 1}"#).unwrap().horizontal_flip);
        let twice = read(r#"{"shear_range": 1, "zoom_range": 0.1, "shear_range": 2}"#).unwrap_err();
        assert!(twice.contains("`shear_range` is given twice"), "{twice}");
        assert!(IdgOptions { cval: f64::NAN, ..IdgOptions::default() }.check().is_err());
    }
}

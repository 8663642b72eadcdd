//! What can go wrong while a plan runs, and with a saved model.

use std::path::PathBuf;

use tl_backbones::BackboneError;
use tl_data::DataError;
use tl_fetch::FetchError;
use tl_heads::HeadError;
use tl_text::TextError;
use tl_torch::TorchError;
use tl_weights::WeightsError;

/// An error of training, evaluating or loading a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// An image or the loader failed.
    #[error(transparent)]
    Data(#[from] DataError),
    /// libtorch or the parameter store refused.
    #[error(transparent)]
    Torch(#[from] TorchError),
    /// The net could not be built or loaded.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// The head does not fit the net.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// Texts or their tokens.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A net was given what it does not take.
    #[error("`{net}` takes {reads}, and got {got}")]
    Reads {
        /// The net.
        net: String,
        /// What it takes.
        reads: &'static str,
        /// What it was given.
        got: &'static str,
    },
    /// A temperature is none, or there is nothing to divide by it.
    #[error(
        "a temperature of {temperature} for a model of {task}; expected one above 0, for a choice between classes"
    )]
    Temperature {
        /// What was given.
        temperature: f64,
        /// What the model answers.
        task: String,
    },
    /// A text has more tokens than the model was made for.
    #[error("a text has {longest} tokens, and the model on `{net}` takes up to {max_length}")]
    TooLong {
        /// The net.
        net: String,
        /// Tokens of the longest text.
        longest: usize,
        /// Tokens that the model takes.
        max_length: usize,
    },
    /// Texts cannot be so long.
    #[error("texts of up to {max_length} tokens are more than `{net}` takes, expected 1 to {most}")]
    MaxLength {
        /// The net.
        net: String,
        /// What was asked for.
        max_length: usize,
        /// The most that it takes.
        most: i64,
    },
    /// Inputs are not those of the samples.
    #[error("there are {inputs} inputs for {samples} samples")]
    Inputs {
        /// Inputs.
        inputs: usize,
        /// Samples.
        samples: usize,
    },
    /// Tokens are not those of the samples.
    #[error("there are tokens of {texts} texts for {samples} samples")]
    Tokens {
        /// Texts that have tokens.
        texts: usize,
        /// Samples.
        samples: usize,
    },
    /// The outputs do not fit the names.
    #[error(
        "outputs `{task}` do not fit {classes} classes: expected one output for two classes, one each for two or more, or \
         one for each label, number or tag, of which the first is `O`"
    )]
    Task {
        /// What the outputs mean.
        task: String,
        /// Number of names.
        classes: usize,
    },
    /// Tags are for a head that answers for each token, and such a head is for tags.
    #[error("head `{head}` does not fit the answers: pooling `tokens` is for tags, and tags need it")]
    HeadOfTags {
        /// The head.
        head: String,
    },
    /// A text of which no word has a token, or a word has no tag.
    #[error(
        "text `{file}` has {words} words with tags, and tokens of {seen}: expected tokens of one at least, and no more"
    )]
    Words {
        /// Its name.
        file: String,
        /// Words that have tags.
        words: usize,
        /// The last word that has a token, counted from 1.
        seen: usize,
    },
    /// A sample has not what a model of this task answers.
    #[error("image `{file}` has {got}, expected {expected}")]
    Answer {
        /// Its path.
        file: String,
        /// What it has.
        got: String,
        /// What it should have.
        expected: String,
    },
    /// The scale of numbers does not fit them.
    #[error(
        "`{stats}` is no scale for {targets} numbers: expected as many finite means, and deviations above 0"
    )]
    TargetStats {
        /// The scale.
        stats: String,
        /// How many numbers the model answers.
        targets: usize,
    },
    /// A tensor file could not be read or written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A file could not be read.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Views of images are kept, and whole batches are mixed.
    #[error(
        "phase `{phase}` keeps {views} views of each image, and the augmentation mixes images of a batch with each other\n\n\
         hint: set `views` of the phase to 0, or leave `mixing` out of the augmentation"
    )]
    MixedViews {
        /// The phase.
        phase: String,
        /// Its views.
        views: u32,
    },
    /// A phase augments, and there are texts.
    #[error(
        "phase `{phase}` augments, and texts are not augmented\n\nhint: set `augment` of the phase to false"
    )]
    AugmentedTexts {
        /// The phase.
        phase: String,
    },
    /// The folder of kept activations refuses.
    #[error("failed to {what} `{}`: {reason}", .path.display())]
    Store {
        /// The folder or file.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system says.
        reason: String,
    },
    /// A net has no stage or block of that name.
    #[error("`{backbone}` has no stage or block `{name}`\n\nhint: its stages are {}; `tl summary` lists the blocks", .stages.join(", "))]
    NoPlace {
        /// The net.
        backbone: String,
        /// What was asked for.
        name: String,
        /// Its stages.
        stages: Vec<String>,
    },
    /// Where an answer comes from cannot be shown.
    #[error("it cannot be shown where the answer comes from: {reason}")]
    Explain {
        /// Why.
        reason: String,
    },
    /// What was to be recorded could not be.
    #[error(transparent)]
    Observer(Box<dyn std::error::Error + Send + Sync>),
    /// A saved model is not whole, or its two files do not belong together.
    #[error("`{}` is not a usable model: {reason}\n\nhint: {hint}", .path.display())]
    Saved {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
}

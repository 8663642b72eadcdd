//! What a run learns from: samples, and where the net's inputs come from.
//!
//! The decision behind it: a sample is its name and what is right for it, whatever it is of, so answers, losses, metrics
//! and records know nothing of inputs. Images are decoded anew whenever they are looked at; texts are tokens from the
//! start, and a batch of them is as wide as its longest.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tch::{Device, Kind, Tensor};
use tl_data::{Augmentation, DataPool, DecodedCache, Sample};
use tl_heads::Task;
use tl_text::tokens::Encoded;

use crate::error::TrainError;
use crate::evaluate::EVAL_BATCH;
use crate::frontier::Set;
use crate::model::{Model, Reads};

/// The samples of a run, the net's inputs for them, and the flag that stops it.
#[derive(Clone, Copy, Debug)]
pub struct Feed<'a> {
    /// What the net learns from.
    pub train: &'a Arc<[Sample]>,
    /// What it is judged on after every epoch.
    pub val: &'a Arc<[Sample]>,
    /// sha256 over all that the inputs of both depend on (names and bytes of images; tokens), by which activations are
    /// found again.
    pub ids: Option<(&'a str, &'a str)>,
    /// How much each training sample counts in the loss, in the order of `train`; all the same where there is none.
    pub weights: Option<&'a Arc<[f32]>>,
    /// Set from outside to end the run after the current step.
    pub stop: &'a AtomicBool,
    /// What the net is given for the samples.
    pub inputs: Inputs<'a>,
}

/// What the net is given for the samples of both sets.
#[derive(Clone, Copy, Debug)]
pub enum Inputs<'a> {
    /// Images, decoded from the samples' files.
    Images(Images<'a>),
    /// Texts.
    Texts(Texts<'a>),
}

/// How images are read.
#[derive(Clone, Copy, Debug)]
pub struct Images<'a> {
    /// Threads that decode.
    pub pool: &'a DataPool,
    /// What happens to training images in phases that augment.
    pub augmentation: &'a Augmentation,
    /// The short side to which images are shrunk before they are augmented, see [`LoaderOptions::shrink`].
    ///
    /// [`LoaderOptions::shrink`]: tl_data::LoaderOptions::shrink
    pub shrink: Option<u32>,
    /// Where decoded images are kept from one epoch to the next in phases that augment.
    pub decoded: Option<&'a DecodedCache>,
}

/// The tokens of texts.
#[derive(Clone, Copy, Debug)]
pub struct Texts<'a> {
    /// In the order of the training samples.
    pub train: &'a Encoded,
    /// In the order of the validation samples.
    pub val: &'a Encoded,
}

/// What the net is given for the samples of one set.
#[derive(Clone, Copy, Debug)]
pub enum SetInputs<'a> {
    /// Images, decoded from the samples' files by these threads.
    Images(&'a DataPool),
    /// Tokens, in the order of the samples.
    Texts(&'a Encoded),
}

/// Tokens in one forward pass without gradients, those that are filled up counted. The weights are rounded to bf16 anew in
/// every pass, which this many tokens make up for; more leave the processor's caches.
const EVAL_TOKENS: usize = 4096;
/// Texts in one forward pass without gradients, however short.
const EVAL_TEXTS: usize = 128;
/// Batches that are sorted by length together while training, at most; see [`tl_text::tokens::bucketed`].
const WINDOW: usize = 50;
/// Of few batches so many windows are made, or the same texts would always meet.
const WINDOWS: usize = 8;

impl<'a> Feed<'a> {
    pub(crate) fn samples(&self, set: Set) -> &'a Arc<[Sample]> {
        match set {
            Set::Train => self.train,
            Set::Val => self.val,
        }
    }

    pub(crate) fn set(&self, set: Set) -> SetInputs<'a> {
        match (self.inputs, set) {
            (Inputs::Images(images), _) => SetInputs::Images(images.pool),
            (Inputs::Texts(texts), Set::Train) => SetInputs::Texts(texts.train),
            (Inputs::Texts(texts), Set::Val) => SetInputs::Texts(texts.val),
        }
    }

    /// The tokens of a set, where there are any.
    pub(crate) fn texts(&self, set: Set) -> Option<&'a Encoded> {
        match self.set(set) {
            SetInputs::Images(_) => None,
            SetInputs::Texts(encoded) => Some(encoded),
        }
    }

    /// What happens to training images; none of texts.
    pub(crate) fn augmentation(&self) -> Option<&'a Augmentation> {
        match self.inputs {
            Inputs::Images(images) => Some(images.augmentation),
            Inputs::Texts(_) => None,
        }
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// What a sample is called, several of them.
    #[must_use]
    pub fn unit(&self) -> &'static str {
        self.set(Set::Train).unit()
    }

    /// Samples in a pass without gradients, about.
    pub(crate) fn eval_batch(&self) -> usize {
        self.set(Set::Train).eval_batch()
    }

    /// Whether the net takes such inputs, and there is one for each sample.
    ///
    /// # Errors
    /// It does not, or there is not.
    pub(crate) fn check(&self, model: &Model) -> Result<(), TrainError> {
        for set in [Set::Train, Set::Val] {
            self.set(set).check(model, self.samples(set))?;
        }
        Ok(())
    }
}

impl SetInputs<'_> {
    /// What a sample is called, several of them.
    #[must_use]
    pub fn unit(&self) -> &'static str {
        match self {
            Self::Images(_) => "images",
            Self::Texts(_) => "texts",
        }
    }

    /// Samples in a pass without gradients, about.
    pub(crate) fn eval_batch(&self) -> usize {
        match self {
            Self::Images(_) => EVAL_BATCH,
            Self::Texts(encoded) => {
                let lengths = encoded.lengths();
                let mean = lengths.iter().sum::<usize>() / lengths.len().max(1);
                (EVAL_TOKENS / mean.max(1)).clamp(1, EVAL_TEXTS)
            }
        }
    }

    pub(crate) fn check(&self, model: &Model, samples: &[Sample]) -> Result<(), TrainError> {
        let net = || model.backbone.name().to_owned();
        match (self, model.reads) {
            (Self::Images(_), Reads::Images(_)) => Ok(()),
            (Self::Texts(encoded), Reads::Texts { max_length }) => {
                let longest = encoded.lengths().into_iter().max().unwrap_or(0);
                if longest > max_length {
                    return Err(TrainError::TooLong { net: net(), longest, max_length });
                }
                if encoded.texts.len() != samples.len() {
                    return Err(TrainError::Tokens { texts: encoded.texts.len(), samples: samples.len() });
                }
                match model.task {
                    Task::Tagging { .. } => check_words(encoded, samples),
                    _ => Ok(()),
                }
            }
            (Self::Images(_), Reads::Texts { .. }) => {
                Err(TrainError::Reads { net: net(), reads: "texts", got: "images" })
            }
            (Self::Texts(_), Reads::Images(_)) => {
                Err(TrainError::Reads { net: net(), reads: "images", got: "texts" })
            }
        }
    }
}

/// Every text has a word that is answered, and every such word a tag.
fn check_words(encoded: &Encoded, samples: &[Sample]) -> Result<(), TrainError> {
    for (tokens, sample) in encoded.texts.iter().zip(samples) {
        let words = sample.target.as_ref().map_or(0, |tags| tags.len());
        let seen = tokens.firsts().last().map_or(0, |(word, _)| *word as usize + 1);
        if seen == 0 || seen > words {
            return Err(TrainError::Words { file: sample.rel.clone(), words, seen });
        }
    }
    Ok(())
}

/// Tokens as a net takes them.
#[derive(Debug)]
pub struct TextInput {
    /// int64 `[N, T, 2]`: ids of tokens and of segments.
    pub xs: Tensor,
    /// bool `[N, T]`, true for what is real; none where all is.
    pub mask: Option<Tensor>,
}

/// The texts at these places as a net takes them, as wide as the longest.
///
/// # Errors
/// A place is out of range.
pub fn text_tensor(encoded: &Encoded, places: &[u32], device: Device) -> Result<TextInput, TrainError> {
    let batch = encoded.batch(places, 1)?;
    let (n, t) = batch.ids.dim();
    let interleaved: Vec<i64> =
        batch.ids.iter().zip(&batch.types).flat_map(|(id, kind)| [*id, *kind]).collect();
    let xs = Tensor::from_slice(&interleaved).view([n as i64, t as i64, 2]).to_device(device);
    let lengths = places.iter().map(|&place| encoded.texts[place as usize].ids.len() as i64);
    Ok(TextInput { xs, mask: mask(lengths.collect(), t as i64, device) })
}

/// Which tokens of rows of `width` are real; none where all are.
///
/// # Shapes
/// `[N, T]`.
pub(crate) fn mask(lengths: Vec<i64>, width: i64, device: Device) -> Option<Tensor> {
    if lengths.iter().all(|&length| length == width) {
        return None;
    }
    let lengths = Tensor::from_slice(&lengths).unsqueeze(1);
    Some(Tensor::arange(width, (Kind::Int64, Device::Cpu)).unsqueeze(0).lt_tensor(&lengths).to_device(device))
}

/// All texts in batches for a pass without gradients: the longest first, as many as fit.
#[must_use]
pub fn text_batches(encoded: &Encoded) -> Vec<Vec<u32>> {
    let lengths = encoded.lengths();
    let mut places: Vec<u32> = (0..lengths.len() as u32).collect();
    places.sort_by_key(|&place| std::cmp::Reverse(lengths[place as usize]));
    let mut batches: Vec<Vec<u32>> = Vec::new();
    let mut room = 0;
    for place in places {
        match batches.last_mut().filter(|batch| batch.len() < room) {
            Some(batch) => batch.push(place),
            None => {
                room = (EVAL_TOKENS / lengths[place as usize].max(1)).clamp(1, EVAL_TEXTS);
                batches.push(vec![place]);
            }
        }
    }
    batches
}

/// The texts of an epoch, drawn in this order, in batches to train on.
pub(crate) fn training_batches(
    encoded: &Encoded,
    order: Vec<u32>,
    batch: usize,
    (seed, epoch): (u64, u64),
) -> Vec<Vec<u32>> {
    let window = (order.len() / batch.max(1) / WINDOWS).clamp(1, WINDOW);
    tl_text::tokens::bucketed(order, &encoded.lengths(), (batch, window), (seed, epoch))
}

/// `n` texts that stand for all when something is tried: those about the length that a mean batch is wide.
pub(crate) fn typical(encoded: &Encoded, n: usize) -> Vec<u32> {
    let lengths = encoded.lengths();
    let mut places: Vec<u32> = (0..lengths.len() as u32).collect();
    places.sort_by_key(|&place| lengths[place as usize]);
    let mean = lengths.iter().sum::<usize>() / lengths.len().max(1);
    let middle = places.partition_point(|&place| lengths[place as usize] <= mean);
    let n = n.min(places.len());
    let start = middle.saturating_sub(n / 2).min(places.len() - n);
    places[start..start + n].to_vec()
}

#[cfg(test)]
mod tests {
    use tl_text::tokens::Tokens;

    use super::*;

    pub(crate) fn encoded(lengths: &[usize]) -> Encoded {
        let tokens = |&n: &usize| Tokens {
            ids: (0..n as u32).collect(),
            types: vec![1; n],
            words: vec![None; n],
            cut: false,
        };
        Encoded { texts: lengths.iter().map(tokens).collect(), pad: 9 }
    }

    #[test]
    fn texts_are_filled_up_and_masked() {
        let input = text_tensor(&encoded(&[2, 4, 3]), &[2, 1], Device::Cpu).unwrap();
        let values = Vec::<i64>::try_from(input.xs.view([-1])).unwrap();
        assert_eq!(values, [0, 1, 1, 1, 2, 1, 9, 0, 0, 1, 1, 1, 2, 1, 3, 1]);
        let mask = Vec::<bool>::try_from(input.mask.unwrap().view([-1])).unwrap();
        assert_eq!(mask, [true, true, true, false, true, true, true, true]);
        assert!(text_tensor(&encoded(&[2, 2]), &[0, 1], Device::Cpu).unwrap().mask.is_none());
    }

    #[test]
    fn a_pass_sees_every_text_once_and_no_batch_is_too_large() {
        let lengths: Vec<usize> = (0..600).map(|i| 3 + i * 7 % 500).collect();
        let batches = text_batches(&encoded(&lengths));
        let mut all: Vec<u32> = batches.iter().flatten().copied().collect();
        all.sort_unstable();
        assert_eq!(all, (0..600).collect::<Vec<u32>>());
        for batch in &batches {
            assert!(batch.len() * lengths[batch[0] as usize] <= EVAL_TOKENS && batch.len() <= EVAL_TEXTS);
        }
        assert_eq!(text_batches(&encoded(&[5000])), [[0]]);
        assert_eq!(typical(&encoded(&[1, 9, 5, 6, 100]), 2).len(), 2);
        assert_eq!(typical(&encoded(&[1, 9]), 5).len(), 2);
    }
}

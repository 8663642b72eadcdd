//! Published weights into a net.
//!
//! Loading is strict: every tensor of the net is in the file and every tensor of the file is used, or the error names
//! what is not. Whoever wants less has to say so. Values go from the file into the net piece by piece, so that loading
//! takes little more memory than the net itself.

use std::path::Path;

use tch::{Device, Tensor};
use tl_torch::{Fill, ParamStore};
use tl_weights::{Expected, Matched, Rename, WeightFile};

use crate::backbone::{Backbone, Classifier};
use crate::card::{Card, Weights};
use crate::error::BackboneError;

/// Values that are in memory twice while a matrix is loaded.
const CHUNK: usize = 1 << 20;

/// What is to be loaded.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Where to.
    pub device: Device,
    /// Whether the published classifier is wanted, too.
    pub classifier: bool,
    /// Whether a file that fits only in part will do; what it lacks keeps the values of this seed.
    pub partial: Option<u64>,
}

/// A net with its weights.
#[derive(Debug)]
pub struct Loaded {
    /// The net.
    pub backbone: Backbone,
    /// The published classifier, if it was wanted.
    pub classifier: Option<Classifier>,
    /// Number of its classes.
    pub classes: i64,
    /// The row of the card whose names the file has.
    pub weights: &'static Weights,
    /// How the file fits.
    pub matched: Matched,
}

/// Builds the net with the weights in `path`. The file's tensors are named as `weights` says; without it, as any row of
/// the card says: the one that fits best is taken.
///
/// # Errors
/// Unreadable file; missing, extra or misshapen tensors, all named; a classifier wanted of a net that has none.
pub fn load(
    card: &'static Card,
    weights: Option<&'static Weights>,
    path: &Path,
    options: Load,
) -> Result<Loaded, BackboneError> {
    let file = WeightFile::open(path)?;
    let weights = match weights {
        Some(weights) => weights,
        None => best_row(card, &file)?,
    };
    let fill = options.partial.map_or(Fill::Later, Fill::Seed);
    let (backbone, classifier, classes) = if options.classifier {
        let classes = classes_in(card, weights, &file).unwrap_or(weights.classes.max(1));
        let (backbone, classifier) =
            Backbone::with_classifier(card, weights, classes, (options.device, fill))?;
        (backbone, Some(classifier), classes)
    } else {
        (Backbone::for_weights(card, weights, options.device, fill)?, None, 0)
    };
    let matched = match_file(card, &backbone.store, weights, &file, options.classifier);
    let enough = matched.is_full() || (options.partial.is_some() && matched.fits_partly());
    if !enough {
        let (path, report) = (path.to_owned(), matched.to_string());
        return Err(BackboneError::Misfit { path, backbone: card.name.to_owned(), report });
    }
    for (name, file_name) in &matched.applied {
        copy(&backbone.store, name, &file, file_name)?;
    }
    Ok(Loaded { backbone, classifier, classes, weights, matched })
}

pub(crate) fn copy(
    store: &ParamStore,
    name: &str,
    file: &WeightFile,
    file_name: &str,
) -> Result<(), BackboneError> {
    let shape = store.get(name).map(|param| param.tensor.size()).unwrap_or_default();
    // Kernels are channels-last in memory: they are small, and copied whole.
    if shape.len() == 4 {
        let values = file.read_f32(file_name)?;
        store.set(name, &Tensor::from_slice(&values).view(&shape[..]))?;
        return Ok(());
    }
    let mut failed = None;
    file.read_f32_chunks(file_name, CHUNK, &mut |start, values| {
        if let Err(error) = store.set_part(name, start, values) {
            failed.get_or_insert(error);
        }
    })?;
    failed.map_or(Ok(()), |error| Err(error.into()))
}

/// The row of the card whose names fit the file best; the first of equals.
fn best_row(card: &'static Card, file: &WeightFile) -> Result<&'static Weights, BackboneError> {
    let blank = Backbone::new(card, Device::Cpu, Fill::Shapes)?;
    let mut best = &card.weights[0];
    let mut most = 0;
    for weights in card.weights {
        let applied = match_file(card, &blank.store, weights, file, false).applied.len();
        if applied > most {
            (best, most) = (weights, applied);
        }
    }
    Ok(best)
}

fn match_file(
    card: &Card,
    store: &ParamStore,
    weights: &Weights,
    file: &WeightFile,
    classifier: bool,
) -> Matched {
    let shapes: Vec<Vec<usize>> =
        store.iter().map(|param| param.tensor.size().iter().map(|&n| n as usize).collect()).collect();
    let expected: Vec<Expected<'_>> =
        store.iter().zip(&shapes).map(|(param, shape)| Expected { name: &param.name, shape }).collect();
    let rename = |name: &str| match (weights.rename)(name) {
        Rename::To(name) if !classifier && card.top.is_some_and(|top| top.owns(&name)) => Rename::Ignore,
        rename => rename,
    };
    tl_weights::match_names(&expected, file, &rename)
}

/// The number of classes that the file's classifier tells apart.
fn classes_in(card: &Card, weights: &Weights, file: &WeightFile) -> Option<i64> {
    let wanted = format!("{}.weight", card.top?.last);
    let name = file.names().find(|name| (weights.rename)(name) == Rename::To(wanted.clone()))?;
    file.info(name)?.shape.first().map(|&classes| classes as i64)
}

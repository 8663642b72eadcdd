//! Batches of changed and normalised images, as Keras's iterators give them.
//!
//! The one decision: a batch is a pure function of (epoch, number). Keras's iterator has a state that every
//! call moves on and that several workers share; here the iterator only counts, so the batches of an epoch can
//! be made in any order, on any number of threads, and once more after a resume.

mod arrays;
mod batching;
mod directory;
mod frame;
mod frame_rows;
mod listing;
mod save;

use ndarray::{Array1, Array2, Array3, Array4, ArrayD, Axis};
use rayon::prelude::*;

use super::ImageDataGenerator;
use super::error::{DecodeErrors, IdgError};
use super::explain;
use super::layout::{from_hwc, hwc};
use super::load::Loading;
use crate::error::DecodeError;
use crate::{DataPool, Key, shuffle};

pub use arrays::{ArrayData, ArrayOptions};
pub use batching::{Batching, ClassMode, FileOptions, Subset};
pub use directory::DirectoryOptions;
pub use frame::{FrameOptions, TargetColumns};
pub use frame_rows::{Column, Frame};
pub use save::SaveTo;

/// The labels of all samples of a flow.
#[derive(Debug, Clone, PartialEq)]
pub enum Labels {
    /// There are none.
    None,
    /// The class of each.
    One(Vec<u32>),
    /// The classes of each.
    Several(Vec<Vec<u32>>),
}

/// A column of targets as they are, one entry for each sample.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Numbers, `[N]` or `[N, K]` or more.
    Numbers(ArrayD<f64>),
    /// Texts.
    Texts(Vec<String>),
}

impl Values {
    fn pick(&self, places: &[usize]) -> Self {
        match self {
            Self::Numbers(array) => Self::Numbers(array.select(Axis(0), places)),
            Self::Texts(texts) => Self::Texts(places.iter().map(|&at| texts[at].clone()).collect()),
        }
    }
}

/// What a net should say to the images of a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum Targets {
    /// Nothing: the flow is for prediction.
    None,
    /// `[N, K]`: 1 for the classes of each image, 0 for the others.
    Categorical(Array2<f32>),
    /// `[N]`: 0 or 1.
    Binary(Array1<f32>),
    /// `[N]`: the number of the class.
    Sparse(Array1<f32>),
    /// The images of the batch once more.
    Input,
    /// Numbers or texts as they were given.
    Raw(Values),
    /// One for each column.
    MultiOutput(Vec<Values>),
}

/// A batch of a flow.
#[derive(Debug, Clone, PartialEq)]
pub struct FlowBatch {
    /// Changed and normalised images, `[N, H, W, C]`, or `[N, C, H, W]` with `channels_first`; standard layout.
    pub images: Array4<f32>,
    /// What belongs to them.
    pub targets: Targets,
    /// The weight of each, if weights were given.
    pub weights: Option<Vec<f32>>,
    /// The rows of the arrays given beside the images, if any.
    pub misc: Vec<ArrayD<f32>>,
    /// The names of the files, or nothing in a flow of arrays.
    pub filenames: Vec<String>,
    /// The place of each sample in the flow.
    pub indices: Vec<u32>,
}

/// Where the images of a flow come from.
#[derive(Debug, Clone)]
enum Source {
    /// Images as they were given, in the layout of the generator.
    Arrays(Array4<f32>),
    Files {
        paths: Vec<std::path::PathBuf>,
        loading: Loading,
    },
}

/// Where the targets come from.
#[derive(Debug, Clone)]
enum TargetSource {
    Classes(Option<ClassMode>),
    Raw(Values),
    MultiOutput(Vec<Values>),
}

/// Batches without end, epoch after epoch, as Keras's iterators; or one epoch with [`Flow::epoch`].
#[derive(Debug, Clone)]
pub struct Flow {
    generator: ImageDataGenerator,
    source: Source,
    targets: TargetSource,
    labels: Labels,
    classes: Vec<String>,
    filenames: Vec<String>,
    /// What the random changes of a sample depend on.
    ids: Vec<u64>,
    weights: Option<Vec<f32>>,
    misc: Vec<ArrayD<f32>>,
    batching: Batching,
    warnings: Vec<String>,
    /// Where Keras's documentation and code differ for these data.
    differences: Vec<String>,
    pool: Option<DataPool>,
    /// The epoch and the batch that come next, and the order of that epoch once it is known.
    next: (u64, usize),
    order: Option<Vec<u32>>,
    /// Whether a batch could not be made: then the iterator has ended.
    failed: bool,
}

impl Flow {
    /// A flow of images alone.
    fn new(generator: &ImageDataGenerator, source: Source, ids: Vec<u64>, batching: &Batching) -> Self {
        let differences = match &source {
            Source::Files { .. } => explain::files(),
            Source::Arrays(_) => Vec::new(),
        };
        Self {
            generator: generator.clone(),
            source,
            targets: TargetSource::Classes(None),
            labels: Labels::None,
            classes: Vec::new(),
            filenames: Vec::new(),
            ids,
            weights: None,
            misc: Vec::new(),
            batching: batching.clone(),
            warnings: Vec::new(),
            differences,
            pool: None,
            next: (0, 0),
            order: None,
            failed: false,
        }
    }

    /// How many samples there are.
    pub fn samples(&self) -> usize {
        self.ids.len()
    }

    /// How many batches an epoch has: samples by batch size, rounded up.
    pub fn batches(&self) -> usize {
        self.samples().div_ceil(self.batching.batch_size)
    }

    /// The names of the classes; the number of a class is its place. Empty where there are none.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The labels of all samples, in the order without shuffling.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The names of all files as given or below the directory, in the order without shuffling.
    pub fn filenames(&self) -> &[String] {
        &self.filenames
    }

    /// What a person should know, one line each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// [`ImageDataGenerator::explain`], and where these data make a difference as well.
    pub fn explain(&self) -> Vec<String> {
        explain::explain(&self.generator, &self.differences)
    }

    /// Decodes every file, on the threads of a pool, and returns what cannot be; nothing in a flow of arrays.
    pub fn verify(&self, pool: &DataPool) -> Vec<DecodeError> {
        let Source::Files { paths, .. } = &self.source else { return Vec::new() };
        pool.install(|| {
            paths.par_iter().with_max_len(1).filter_map(|path| Loading::verify(path).err()).collect()
        })
    }

    /// The generator that makes the images.
    pub fn generator(&self) -> &ImageDataGenerator {
        &self.generator
    }

    /// Makes the images of a batch on the threads of a pool. The batches do not depend on it.
    #[must_use]
    pub fn on(mut self, pool: &DataPool) -> Self {
        self.pool = Some(pool.clone());
        self
    }

    /// The order of samples in an epoch: a function of seed and epoch, or as they are without `shuffle`.
    pub fn order(&self, epoch: u64) -> Vec<u32> {
        let n = self.samples() as u32;
        if self.batching.shuffle { shuffle(n, self.batching.seed, epoch) } else { (0..n).collect() }
    }

    /// The batches of one epoch, from 0.
    pub fn epoch(&self, epoch: u64) -> Epoch<'_> {
        Epoch { flow: self, epoch, order: self.order(epoch), next: 0 }
    }

    /// One batch of one epoch, both from 0.
    ///
    /// # Errors
    /// There is no such batch, files cannot be decoded (all of the batch are named) or saved, or the
    /// generator's `fit` is missing.
    pub fn batch(&self, epoch: u64, index: usize) -> Result<FlowBatch, IdgError> {
        self.make(epoch, index, &self.order(epoch))
    }

    fn make(&self, epoch: u64, index: usize, order: &[u32]) -> Result<FlowBatch, IdgError> {
        let size = self.batching.batch_size;
        if index >= self.batches() {
            return Err(IdgError::Batch { index, batches: self.batches() });
        }
        let indices = order[index * size..order.len().min((index + 1).saturating_mul(size))].to_vec();
        let places: Vec<usize> = indices.iter().map(|&at| at as usize).collect();
        let images = self.images(epoch, &places)?;
        if let Some(save_to) = &self.batching.save_to {
            for (image, &place) in images.iter().zip(&places) {
                save_to.save(image, self.generator.options().data_format, place, epoch)?;
            }
        }
        let images = stacked(&images)?;
        Ok(FlowBatch {
            images,
            targets: self.targets_of(&places),
            weights: self.weights.as_ref().map(|weights| places.iter().map(|&at| weights[at]).collect()),
            misc: self.misc.iter().map(|array| array.select(Axis(0), &places)).collect(),
            filenames: places.iter().filter_map(|&at| self.filenames.get(at).cloned()).collect(),
            indices,
        })
    }

    /// The finished images of some samples, in the layout of the generator.
    fn images(&self, epoch: u64, places: &[usize]) -> Result<Vec<Array3<f32>>, IdgError> {
        let make = |&at: &usize| self.image(epoch, at);
        let made: Vec<_> = match &self.pool {
            Some(pool) => pool.install(|| places.par_iter().with_max_len(1).map(make).collect()),
            None => places.iter().map(make).collect(),
        };
        let (mut images, mut broken) = (Vec::with_capacity(made.len()), Vec::new());
        for image in made {
            match image {
                Ok(image) => images.push(image),
                Err(IdgError::Decode(error)) => broken.push(error),
                Err(other) => return Err(other),
            }
        }
        match broken.pop() {
            None => Ok(images),
            Some(only) if broken.is_empty() => Err(IdgError::Decode(only)),
            Some(last) => {
                broken.push(last);
                Err(IdgError::Images { errors: DecodeErrors(broken) })
            }
        }
    }

    fn image(&self, epoch: u64, at: usize) -> Result<Array3<f32>, IdgError> {
        let format = self.generator.options().data_format;
        let image = match &self.source {
            Source::Arrays(images) => hwc(&images.index_axis(Axis(0), at), format),
            Source::Files { paths, loading } => loading.load(&paths[at])?.into(),
        };
        let key = Key { seed: self.batching.seed, epoch, sample_id: self.ids[at] };
        let params = self.generator.sample(key, image.dim().0, image.dim().1);
        let image = self.generator.apply_hwc(image, &params);
        Ok(from_hwc(self.generator.standardize_hwc(image)?, format))
    }

    fn targets_of(&self, places: &[usize]) -> Targets {
        match (&self.targets, &self.labels) {
            (TargetSource::Raw(values), _) => Targets::Raw(values.pick(places)),
            (TargetSource::MultiOutput(columns), _) => {
                Targets::MultiOutput(columns.iter().map(|values| values.pick(places)).collect())
            }
            (TargetSource::Classes(Some(ClassMode::Input)), _) => Targets::Input,
            (TargetSource::Classes(Some(ClassMode::Categorical)), labels) => {
                Targets::Categorical(one_hot(labels, self.classes.len(), places))
            }
            (TargetSource::Classes(Some(mode)), Labels::One(labels)) => {
                let numbers = places.iter().map(|&at| labels[at] as f32).collect();
                if *mode == ClassMode::Binary { Targets::Binary(numbers) } else { Targets::Sparse(numbers) }
            }
            (TargetSource::Classes(_), _) => Targets::None,
        }
    }
}

fn one_hot(labels: &Labels, classes: usize, places: &[usize]) -> Array2<f32> {
    let mut rows = Array2::zeros((places.len(), classes));
    for (mut row, &at) in rows.rows_mut().into_iter().zip(places) {
        let of_row = match labels {
            Labels::None => &[][..],
            Labels::One(labels) => std::slice::from_ref(&labels[at]),
            Labels::Several(labels) => &labels[at],
        };
        for &class in of_row {
            row[class as usize] = 1.0;
        }
    }
    rows
}

/// Images of one shape in one array.
fn stacked(images: &[Array3<f32>]) -> Result<Array4<f32>, IdgError> {
    let views: Vec<_> = images.iter().map(Array3::view).collect();
    ndarray::stack(Axis(0), &views).map_err(|_| IdgError::Shape {
        what: "images",
        got: vec![images.len()],
        expected: "images of one shape".to_owned(),
    })
}

impl Iterator for Flow {
    type Item = Result<FlowBatch, IdgError>;

    /// The next batch; after the last of an epoch comes the first of the next. It ends only after an error, or
    /// if there are no samples.
    fn next(&mut self) -> Option<Self::Item> {
        if self.samples() == 0 || self.failed {
            return None;
        }
        let (epoch, index) = self.next;
        let order = self.order.take().unwrap_or_else(|| self.order(epoch));
        let batch = self.make(epoch, index, &order);
        self.failed = batch.is_err();
        if index + 1 < self.batches() {
            self.next = (epoch, index + 1);
            self.order = Some(order);
        } else {
            self.next = (epoch + 1, 0);
        }
        Some(batch)
    }
}

/// The batches of one epoch; it ends after an error.
#[derive(Debug, Clone)]
pub struct Epoch<'a> {
    flow: &'a Flow,
    epoch: u64,
    order: Vec<u32>,
    next: usize,
}

impl Iterator for Epoch<'_> {
    type Item = Result<FlowBatch, IdgError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.flow.batches() {
            return None;
        }
        let batch = self.flow.make(self.epoch, self.next, &self.order);
        self.next = if batch.is_ok() { self.next + 1 } else { self.flow.batches() };
        Some(batch)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.flow.batches() - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Epoch<'_> {}

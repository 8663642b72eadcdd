//! Token ids in batches, each as wide as its longest text.
//!
//! The one decision: which texts are in a batch, and the order of batches, is a function of (lengths, options, epoch)
//! alone. Texts are shuffled, then sorted by length within windows of some batches, so that little is filled up and
//! chance stays.

use ndarray::Array2;
use tl_data::shuffle;

use super::Encoded;
use crate::error::TextError;

/// In which order texts come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batching {
    /// As they are: to predict.
    InOrder,
    /// The longest first: to measure, with the least to fill up. [`TokenBatch::indices`] says which they are.
    ByLength,
    /// Shuffled, and sorted by length within windows of `window` batches; the batches are then shuffled. A window of 1
    /// leaves everything to chance.
    Shuffled {
        /// The seed.
        seed: u64,
        /// How many batches a window has, from 1 on.
        window: usize,
    },
}

/// How to make batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchOptions {
    /// How many texts a batch has; the last one may have fewer.
    pub size: usize,
    /// In which order texts come.
    pub order: Batching,
    /// Widths are multiples of this.
    pub multiple: usize,
}

impl BatchOptions {
    /// Batches to train on: shuffled, in windows of 50 batches.
    pub fn shuffled(size: usize, seed: u64) -> Self {
        Self { size, order: Batching::Shuffled { seed, window: 50 }, multiple: 1 }
    }

    fn check(&self) -> Result<(), TextError> {
        let window = match self.order {
            Batching::Shuffled { window, .. } => window,
            _ => 1,
        };
        for (option, value) in [("size", self.size), ("window", window), ("multiple", self.multiple)] {
            if value == 0 {
                return Err(TextError::option(option, 0, "at least 1"));
            }
        }
        Ok(())
    }
}

/// The texts of each batch of an epoch, by their places.
///
/// # Errors
/// An option is 0, or there are more than 2^32 texts.
pub fn plan_batches(
    lengths: &[usize],
    options: &BatchOptions,
    epoch: u64,
) -> Result<Vec<Vec<u32>>, TextError> {
    options.check()?;
    let Ok(count) = u32::try_from(lengths.len()) else {
        return Err(TextError::option("texts", lengths.len(), "less than 2^32"));
    };
    let longest_first = |places: &mut [u32]| {
        places.sort_by_key(|&place| std::cmp::Reverse(lengths[place as usize]));
    };
    let cut = |places: &[u32]| places.chunks(options.size).map(<[u32]>::to_vec).collect::<Vec<_>>();
    match options.order {
        Batching::InOrder => Ok(cut(&(0..count).collect::<Vec<u32>>())),
        Batching::ByLength => {
            let mut places: Vec<u32> = (0..count).collect();
            longest_first(&mut places);
            Ok(cut(&places))
        }
        Batching::Shuffled { seed, window } => {
            let places = shuffle(count, seed, epoch);
            Ok(bucketed(places, lengths, (options.size, window), (seed, epoch)))
        }
    }
}

/// Batches of `size` texts, drawn in any order: sorted by length within windows of `window` batches, and the batches
/// shuffled, the one that is short last. A window of 1 leaves the order as it is.
pub fn bucketed(
    mut places: Vec<u32>,
    lengths: &[usize],
    (size, window): (usize, usize),
    (seed, epoch): (u64, u64),
) -> Vec<Vec<u32>> {
    let size = size.max(1);
    let cut = |places: &[u32]| places.chunks(size).map(<[u32]>::to_vec).collect::<Vec<_>>();
    if window <= 1 {
        return cut(&places);
    }
    let length = |place: u32| lengths.get(place as usize).copied().unwrap_or_default();
    for window in places.chunks_mut(size.saturating_mul(window)) {
        window.sort_by_key(|&place| std::cmp::Reverse(length(place)));
    }
    let mut batches = cut(&places);
    let short = batches.pop_if(|batch| batch.len() < size);
    // Another order than that of the texts: with few texts the two would be of a kind.
    let order = shuffle(batches.len() as u32, seed ^ 0xB47C_4E5E, epoch);
    order.into_iter().map(|place| batches[place as usize].clone()).chain(short).collect()
}

/// Some texts as arrays `[N, T]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenBatch {
    /// The ids, short texts filled up at their ends.
    pub ids: Array2<i64>,
    /// 1 where there is a token, 0 where it is filled up.
    pub mask: Array2<i64>,
    /// 0 for the first text and what is filled up, 1 for the second.
    pub types: Array2<i64>,
    /// The places of the texts.
    pub indices: Vec<u32>,
}

impl Encoded {
    /// The texts of some places as arrays, as wide as the longest, rounded up to a multiple of `multiple`.
    ///
    /// # Errors
    /// A place is out of range, or `multiple` is 0.
    pub fn batch(&self, places: &[u32], multiple: usize) -> Result<TokenBatch, TextError> {
        if multiple == 0 {
            return Err(TextError::option("multiple", 0, "at least 1"));
        }
        if let Some(place) = places.iter().find(|&&place| place as usize >= self.texts.len()) {
            return Err(TextError::option("places", place, &format!("less than {}", self.texts.len())));
        }
        let tokens = || places.iter().map(|&place| &self.texts[place as usize]);
        let width =
            tokens().map(|tokens| tokens.ids.len()).max().unwrap_or_default().next_multiple_of(multiple);
        let shape = (places.len(), width);
        let mut ids = Array2::from_elem(shape, i64::from(self.pad));
        let (mut mask, mut types) = (Array2::zeros(shape), Array2::zeros(shape));
        for (row, tokens) in tokens().enumerate() {
            for (column, (&id, &kind)) in tokens.ids.iter().zip(&tokens.types).enumerate() {
                ids[(row, column)] = i64::from(id);
                types[(row, column)] = i64::from(kind);
                mask[(row, column)] = 1;
            }
        }
        Ok(TokenBatch { ids, mask, types, indices: places.to_vec() })
    }

    /// All batches of an epoch.
    ///
    /// # Errors
    /// Those of [`plan_batches`].
    pub fn batches(
        &self,
        options: &BatchOptions,
        epoch: u64,
    ) -> Result<impl Iterator<Item = Result<TokenBatch, TextError>> + '_, TextError> {
        let plan = plan_batches(&self.lengths(), options, epoch)?;
        let multiple = options.multiple;
        Ok(plan.into_iter().map(move |places| self.batch(&places, multiple)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Tokens;
    use super::*;

    fn tokens(length: usize) -> Tokens {
        let ids: Vec<u32> = (0..length as u32).map(|id| 100 + id).collect();
        Tokens { types: ids.iter().map(|id| id % 2).collect(), words: vec![None; length], cut: false, ids }
    }

    #[test]
    fn every_text_comes_once_and_little_is_filled_up() {
        let lengths: Vec<usize> = (0..1003).map(|i| 5 + i * i % 97).collect();
        let filled = |order| {
            let options = BatchOptions { size: 16, order, multiple: 1 };
            let plan = plan_batches(&lengths, &options, 3).unwrap();
            let mut all: Vec<u32> = plan.iter().flatten().copied().collect();
            all.sort_unstable();
            assert_eq!(all, (0..1003).collect::<Vec<u32>>());
            let width = |batch: &Vec<u32>| batch.iter().map(|&place| lengths[place as usize]).max().unwrap();
            (plan.iter().map(|batch| width(batch) * batch.len()).sum::<usize>(), plan)
        };
        let (chance, _) = filled(Batching::Shuffled { seed: 1, window: 1 });
        let (bucketed, plan) = filled(Batching::Shuffled { seed: 1, window: 20 });
        let (sorted, _) = filled(Batching::ByLength);
        let least: usize = lengths.iter().sum();
        assert!(sorted >= least && sorted * 100 < least * 105, "{sorted} of {least}");
        assert!(
            bucketed * 100 < least * 110 && chance * 100 > least * 140,
            "{bucketed}, {chance} of {least}"
        );
        assert_eq!(plan, filled(Batching::Shuffled { seed: 1, window: 20 }).1);
        assert_ne!(plan, filled(Batching::Shuffled { seed: 2, window: 20 }).1);
        let options =
            BatchOptions { size: 16, order: Batching::Shuffled { seed: 1, window: 20 }, multiple: 1 };
        assert_ne!(plan, plan_batches(&lengths, &options, 4).unwrap());
    }

    #[test]
    fn arrays_are_as_wide_as_they_must_be() {
        let encoded = Encoded { texts: [3, 5, 2].map(tokens).to_vec(), pad: 9 };
        let batch = encoded.batch(&[2, 0], 4).unwrap();
        assert_eq!(batch.ids, ndarray::array![[100, 101, 9, 9], [100, 101, 102, 9]]);
        assert_eq!(batch.mask, ndarray::array![[1, 1, 0, 0], [1, 1, 1, 0]]);
        assert_eq!(batch.types, ndarray::array![[0, 1, 0, 0], [0, 1, 0, 0]]);
        assert_eq!(encoded.batch(&[1, 0], 1).unwrap().ids.dim(), (2, 5));
        assert!(encoded.batch(&[3], 1).is_err() && encoded.batch(&[0], 0).is_err());
        let options = BatchOptions { size: 2, order: Batching::InOrder, multiple: 1 };
        let batches: Vec<TokenBatch> = encoded.batches(&options, 0).unwrap().map(Result::unwrap).collect();
        assert_eq!(
            batches.iter().map(|batch| batch.indices.clone()).collect::<Vec<_>>(),
            [vec![0, 1], vec![2]]
        );
    }
}

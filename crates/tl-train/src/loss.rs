//! The loss of a batch: what its images show, how much each counts, and how they are mixed.
//!
//! The one decision: one loss an image comes out, and everything that makes an image or a label count more or less is a
//! factor on it. The mean over the batch is taken once, by the caller, so that weights do not change the size of a step
//! from one batch to the next.

use tch::Tensor;
use tl_data::augment::Mix;
use tl_heads::{LossOptions, Task};

/// What a batch shows.
#[derive(Debug)]
pub(crate) struct Shown {
    /// The class of each image, `[N]`.
    pub(crate) labels: Vec<u32>,
    /// How much each image counts, `[N]`.
    pub(crate) weights: Option<Vec<f32>>,
    /// How the images are mixed with each other, if they are.
    pub(crate) mix: Option<Mix>,
}

/// Numbers that every batch of a run shares.
#[derive(Debug)]
pub(crate) struct Loss {
    pub(crate) task: Task,
    pub(crate) label_smoothing: f64,
    /// How much each class counts, `[classes]`.
    pub(crate) class_weights: Option<Tensor>,
    /// Gamma of the focal loss.
    pub(crate) focal: f64,
}

impl Shown {
    /// Plain images.
    pub(crate) fn plain(labels: Vec<u32>) -> Self {
        Self { labels, weights: None, mix: None }
    }

    /// Number of images.
    pub(crate) fn len(&self) -> usize {
        self.labels.len()
    }

    /// The class that most of each image shows.
    pub(crate) fn mostly(&self) -> Vec<u32> {
        match &self.mix {
            Some(mix) if mix.lambda < 0.5 => mix.partner.iter().map(|&i| self.labels[i as usize]).collect(),
            _ => self.labels.clone(),
        }
    }
}

impl Loss {
    /// The loss of each image: of a mixed one, of both its labels by their parts, each times the weight of the image that
    /// it comes from.
    ///
    /// # Shapes
    /// Logits `[N, outputs]` to `[N]`.
    pub(crate) fn of(&self, logits: &Tensor, shown: &Shown) -> Tensor {
        let own = self.weighted(logits, &shown.labels, shown.weights.as_deref());
        let Some(mix) = &shown.mix else { return own };
        let places = || mix.partner.iter().map(|&i| i as usize);
        let labels: Vec<u32> = places().map(|i| shown.labels[i]).collect();
        let weights: Option<Vec<f32>> =
            shown.weights.as_ref().map(|weights| places().map(|i| weights[i]).collect());
        let part = f64::from(mix.lambda);
        own * part + self.weighted(logits, &labels, weights.as_deref()) * (1.0 - part)
    }

    fn weighted(&self, logits: &Tensor, labels: &[u32], weights: Option<&[f32]>) -> Tensor {
        let labels: Vec<i64> = labels.iter().map(|&label| i64::from(label)).collect();
        let targets = Tensor::from_slice(&labels).to_device(logits.device());
        let (label_smoothing, class_weights) = (self.label_smoothing, self.class_weights.as_ref());
        let options = LossOptions { label_smoothing, class_weights, focal: self.focal };
        let losses = self.task.losses(logits, &targets, options);
        match weights {
            None => losses,
            Some(weights) => losses * Tensor::from_slice(weights).to_device(logits.device()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of PyTorch 2.11: `F.cross_entropy(x, y, weight, reduction="none", label_smoothing=0.1)` for both labels,
    /// combined by hand in Python.
    #[test]
    fn weights_classes_and_mixtures_are_those_of_pytorch() {
        let logits = Tensor::from_slice(&[0.2f32, -1.0, 0.5, 1.5, 0.3, -0.2, -0.7, 0.9, 0.1]).view([3, 3]);
        let class_weights = Some(Tensor::from_slice(&[0.5f32, 1.0, 2.0]));
        let loss =
            Loss { task: Task::Softmax { classes: 3 }, label_smoothing: 0.1, class_weights, focal: 0.0 };
        let mut shown = Shown { labels: vec![2, 0, 1], weights: None, mix: None };
        let values = |shown: &Shown| Vec::<f32>::try_from(loss.of(&logits, shown)).unwrap();
        let close = |got: Vec<f32>, expected: [f32; 3]| {
            let worst = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-6, "{got:?} {expected:?}");
        };
        close(values(&shown), PLAIN);
        shown.weights = Some(vec![1.0, 0.0, 3.0]);
        close(values(&shown), [PLAIN[0], 0.0, 3.0 * PLAIN[2]]);
        // An image of weight 0 teaches nothing, as a partner either.
        shown.mix = Some(Mix { partner: vec![1, 2, 0], lambda: 0.75, window: None });
        close(values(&shown), MIXED);
    }

    const PLAIN: [f32; 3] = [1.348_667_4, 0.376_973_3, 0.589_876_4];
    const MIXED: [f32; 3] = [1.011_500_6, 1.225_927_2, 1.947_532_4];
}

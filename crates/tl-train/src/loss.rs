//! The loss of a batch: what its images show, how much each counts, and how they are mixed.
//!
//! The one decision: one loss an image comes out, and everything that makes an image or a label count more or less is a
//! factor on it. The mean over the batch is taken once, by the caller, so that weights do not change the size of a step
//! from one batch to the next.

use tch::Tensor;
use tl_data::TargetStats;
use tl_data::augment::Mix;
use tl_heads::{LossOptions, Task};

use crate::answers::Answers;
use crate::words::Words;

/// What a batch shows.
#[derive(Debug)]
pub(crate) struct Shown {
    /// What is right for each image, `[N]`.
    pub(crate) answers: Answers,
    /// How much each image counts, `[N]`.
    pub(crate) weights: Option<Vec<f32>>,
    /// How the images are mixed with each other, if they are.
    pub(crate) mix: Option<Mix>,
    /// The words that are answered, of tagged texts.
    pub(crate) words: Option<Words>,
}

/// Numbers that every batch of a run shares.
#[derive(Debug)]
pub(crate) struct Loss<'a> {
    pub(crate) task: Task,
    /// The scale of numbers: the loss is that of `(y - mean) / std`.
    pub(crate) target_stats: Option<&'a TargetStats>,
    pub(crate) label_smoothing: f64,
    /// How much each class counts, `[classes]`, or the presence of each label, `[labels]`.
    pub(crate) class_weights: Option<Tensor>,
    /// Gamma of the focal loss.
    pub(crate) focal: f64,
}

impl Shown {
    /// Plain images.
    pub(crate) fn plain(answers: Answers) -> Self {
        Self { answers, weights: None, mix: None, words: None }
    }

    /// The features that the head answers about: of tagged texts those of their words.
    ///
    /// # Shapes
    /// `[N, D]` as it is, or `[N, T, D]` to `[words, D]`.
    pub(crate) fn asked(&self, pooled: Tensor) -> Tensor {
        match &self.words {
            Some(words) => words.pick(&pooled),
            None => pooled,
        }
    }

    /// Number of images.
    pub(crate) fn len(&self) -> usize {
        self.answers.len()
    }

    /// What is right for the larger part of each image.
    pub(crate) fn mostly(&self) -> Answers {
        match &self.mix {
            Some(mix) if mix.lambda < 0.5 => self.answers.pick(&mix.partner),
            _ => self.answers.clone(),
        }
    }
}

impl<'a> Loss<'a> {
    /// The plain one, by which a model is judged.
    pub(crate) fn plain(task: Task, target_stats: Option<&'a TargetStats>) -> Self {
        Self { task, target_stats, label_smoothing: 0.0, class_weights: None, focal: 0.0 }
    }

    /// The loss of each image. Of a mixed one with classes or labels, of both by their parts, each times the weight of the
    /// image that it comes from; with numbers, of the mixed numbers, since the sum of two squares would be a loss that no
    /// answer brings to 0. The gradient is that of the two by their parts all the same.
    ///
    /// Of tagged texts the loss of each word, so that the mean is over words, as in transformers.
    ///
    /// # Shapes
    /// Logits `[N, outputs]` to `[N]`.
    pub(crate) fn of(&self, logits: &Tensor, shown: &Shown) -> Tensor {
        let column = |weights: &[f32]| Tensor::from_slice(weights).to_device(logits.device());
        if let (Some(words), Answers::Tags(tags)) = (&shown.words, &shown.answers) {
            let own = Tensor::from_slice(&words.tags(tags)).to_device(logits.device());
            let weights = shown.weights.as_deref().map(|weights| column(&words.repeat(weights)));
            return self.weighted(logits, &own, weights);
        }
        let own = self.targets(logits, &shown.answers);
        let weights = shown.weights.as_deref().map(column);
        let Some(mix) = &shown.mix else { return self.weighted(logits, &own, weights) };
        let partner = self.targets(logits, &shown.answers.pick(&mix.partner));
        let of_partner =
            |weights: &Vec<f32>| mix.partner.iter().map(|&i| weights[i as usize]).collect::<Vec<f32>>();
        let partner_weights = shown.weights.as_ref().map(|weights| column(&of_partner(weights)));
        let part = f64::from(mix.lambda);
        if !matches!(self.task, Task::Regression { .. }) {
            return self.weighted(logits, &own, weights) * part
                + self.weighted(logits, &partner, partner_weights) * (1.0 - part);
        }
        match weights.zip(partner_weights) {
            None => self.weighted(logits, &(own * part + partner * (1.0 - part)), None),
            Some((weights, partner_weights)) => {
                let weights = weights * part;
                let both = &weights + partner_weights * (1.0 - part);
                let share = (weights / both.clamp_min(f64::from(f32::MIN_POSITIVE))).unsqueeze(1);
                let mixed = own * &share + partner * (1.0 - share);
                self.weighted(logits, &mixed, Some(both))
            }
        }
    }

    /// What the outputs should be, as [`Task::losses`] takes it.
    fn targets(&self, logits: &Tensor, answers: &Answers) -> Tensor {
        match answers {
            Answers::Classes(labels) => {
                let labels: Vec<i64> = labels.iter().map(|&label| i64::from(label)).collect();
                Tensor::from_slice(&labels).to_device(logits.device())
            }
            Answers::Rows(rows) => {
                let row = |row: &Vec<f32>| match self.target_stats {
                    None => row.iter().copied().map(f64::from).collect(),
                    Some(stats) => standardised(row, stats),
                };
                let values: Vec<f64> = rows.iter().flat_map(row).collect();
                Tensor::from_slice(&values).view([rows.len() as i64, -1]).to_device(logits.device())
            }
            Answers::Tags(tags) => {
                let tags: Vec<i64> = tags.iter().flatten().copied().map(i64::from).collect();
                Tensor::from_slice(&tags).to_device(logits.device())
            }
        }
    }

    fn weighted(&self, logits: &Tensor, targets: &Tensor, weights: Option<Tensor>) -> Tensor {
        let (label_smoothing, class_weights) = (self.label_smoothing, self.class_weights.as_ref());
        let options = LossOptions { label_smoothing, class_weights, focal: self.focal };
        let losses = self.task.losses(logits, targets, options);
        match weights {
            None => losses,
            Some(weights) => losses * weights,
        }
    }
}

/// Numbers in units of the training set.
fn standardised(row: &[f32], stats: &TargetStats) -> Vec<f64> {
    let scales = stats.mean.iter().zip(&stats.std);
    row.iter().zip(scales).map(|(&value, (mean, std))| (f64::from(value) - mean) / std).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: &[f32], expected: &[f32]) {
        let worst = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(got.len() == expected.len() && worst < 1e-6, "{got:?} {expected:?}");
    }

    fn values(loss: &Loss<'_>, logits: &Tensor, shown: &Shown) -> Vec<f32> {
        Vec::<f32>::try_from(loss.of(logits, shown).to_kind(tch::Kind::Float)).unwrap()
    }

    /// Numbers of PyTorch 2.11: `F.cross_entropy(x, y, weight, reduction="none", label_smoothing=0.1)` for both labels,
    /// combined by hand in Python.
    #[test]
    fn weights_classes_and_mixtures_are_those_of_pytorch() {
        let logits = Tensor::from_slice(&[0.2f32, -1.0, 0.5, 1.5, 0.3, -0.2, -0.7, 0.9, 0.1]).view([3, 3]);
        let class_weights = Some(Tensor::from_slice(&[0.5f32, 1.0, 2.0]));
        let plain = Loss::plain(Task::Softmax { classes: 3 }, None);
        let loss = Loss { label_smoothing: 0.1, class_weights, ..plain };
        let mut shown = Shown::plain(Answers::Classes(vec![2, 0, 1]));
        close(&values(&loss, &logits, &shown), &PLAIN);
        shown.weights = Some(vec![1.0, 0.0, 3.0]);
        close(&values(&loss, &logits, &shown), &[PLAIN[0], 0.0, 3.0 * PLAIN[2]]);
        // An image of weight 0 teaches nothing, as a partner either.
        shown.mix = Some(Mix { partner: vec![1, 2, 0], lambda: 0.75, window: None });
        close(&values(&loss, &logits, &shown), &MIXED);
    }

    /// Numbers of PyTorch 2.11: `F.cross_entropy(x.view(-1, 3), y.view(-1))` with `y = [[-100, 1, -100, 0, -100],
    /// [-100, 2, 2, -100, -100]]`, as transformers has it where a word's first token is labelled and no other.
    #[test]
    fn the_loss_of_tags_is_that_of_first_tokens() {
        let tokens = |words: &[i64]| tl_text::tokens::Tokens {
            ids: vec![0; 5],
            types: vec![0; 5],
            words: words.iter().map(|word| u32::try_from(*word).ok()).collect(),
            cut: false,
        };
        let texts = vec![tokens(&[-1, 0, 0, 1, -1]), tokens(&[-1, 0, 1, -1, -1])];
        let encoded = tl_text::tokens::Encoded { texts, pad: 0 };
        // The second text has a third word, which was cut off.
        let answers = Answers::Tags(vec![vec![1, 0], vec![2, 2, 1]]);
        let words = Some(Words::of(&encoded, &[0, 1]));
        let mut shown = Shown { words, ..Shown::plain(answers) };
        let values_of = |i: i64| (1.3 * i as f64).sin() as f32;
        let logits = Tensor::from_slice(&(0..30).map(values_of).collect::<Vec<f32>>()).view([2, 5, 3]);
        let logits = shown.asked(logits);
        let mut loss = Loss::plain(Task::Tagging { tags: 3, entities: true }, None);
        let expected = [1.651_737_5, 2.303_467_3, 0.392_416_9, 2.216_910_6];
        close(&values(&loss, &logits, &shown), &expected);
        let mean = |loss: &Loss<'_>, shown: &Shown| {
            loss.of(&logits, shown).mean(None::<tch::Kind>).double_value(&[])
        };
        assert!((mean(&loss, &shown) - 1.641_133_07).abs() < 1e-6);
        loss.label_smoothing = 0.1;
        assert!((mean(&loss, &shown) - 1.609_481_69).abs() < 1e-6);
        (loss.label_smoothing, shown.weights) = (0.0, Some(vec![2.0, 0.0]));
        close(&values(&loss, &logits, &shown), &[2.0 * expected[0], 2.0 * expected[1], 0.0, 0.0]);
    }

    const PLAIN: [f32; 3] = [1.348_667_4, 0.376_973_3, 0.589_876_4];
    const MIXED: [f32; 3] = [1.011_500_6, 1.225_927_2, 1.947_532_4];

    fn logits() -> Tensor {
        Tensor::from_slice(&[0.2f32, -1.0, 0.5, 1.5, 0.3, -0.2]).view([3, 2])
    }

    fn mix() -> Option<Mix> {
        Some(Mix { partner: vec![2, 1, 0], lambda: 0.75, window: None })
    }

    /// Numbers of PyTorch 2.11: the mean over the labels of `F.binary_cross_entropy_with_logits(x, y, pos_weight)`, of a
    /// mixture with `y = 0.75 * own + 0.25 * partner`.
    #[test]
    fn labels_and_mixtures_are_those_of_pytorch() {
        let class_weights = Some(Tensor::from_slice(&[0.5f32, 3.0]));
        let plain = Loss::plain(Task::MultiLabel { labels: 2 }, None);
        let mut loss = Loss { class_weights, ..plain };
        let rows = vec![vec![1.0, 0.0], vec![1.0, 1.0], vec![0.0, 0.0]];
        let mut shown = Shown::plain(Answers::Rows(rows));
        close(&values(&loss, &logits(), &shown), &[0.306_165_56, 0.420_639_16, 0.726_247_1]);
        shown.mix = mix();
        close(&values(&loss, &logits(), &shown), &[0.368_549_24, 0.420_639_16, 0.654_099_8]);
        loss.label_smoothing = 0.1;
        close(&values(&loss, &logits(), &shown), &[0.465_450_7, 0.466_494_46, 0.691_792_1]);
        loss.label_smoothing = 0.0;
        shown.weights = Some(vec![1.0, 0.0, 3.0]);
        close(&values(&loss, &logits(), &shown), &[0.646_399_4, 0.0, 1.743_470_4]);
    }

    /// By hand in Python: the mean over the targets of `(x - (y - mean) / std)²`, of a mixture with
    /// `y = part * own + (1 - part) * partner`, where a weight is as much as so many images.
    #[test]
    fn numbers_are_learned_in_units_of_the_training_set() {
        let stats = TargetStats { mean: vec![20.0, 1.0], std: vec![8.0, 2.0] };
        let loss = Loss::plain(Task::Regression { targets: 2 }, Some(&stats));
        let rows = vec![vec![10.0, 1.0], vec![30.0, -1.0], vec![20.0, 3.0]];
        let mut shown = Shown::plain(Answers::Rows(rows));
        close(&values(&loss, &logits(), &shown), &[1.551_25, 3.406_25, 0.765]);
        shown.mix = mix();
        close(&values(&loss, &logits(), &shown), &[1.428_203_1, 3.406_25, 0.638_828_1]);
        shown.weights = Some(vec![1.0, 0.0, 3.0]);
        close(&values(&loss, &logits(), &shown), &SHARES);
    }

    const SHARES: [f32; 3] = [2.197_968_7, 0.0, 1.738_281_2];
}

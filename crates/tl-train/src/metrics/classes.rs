//! Metrics of one class an image: by what was said, and by how sure it was.
//!
//! The decision behind it: of equally probable classes the first is what was said, here as in predictions.

use super::{mean, width};

/// Rows of `labels.len()` images over as many classes as the confusion has.
type Rows<'a> = &'a [Vec<f32>];

/// `[label][predicted]`, counts; as many of one as of the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion(pub Vec<Vec<u32>>);

/// How a class fares against all others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OneClass {
    /// Images of it.
    pub images: u32,
    /// Share of what was said to be it that is, `0..=1`; none if nothing was.
    pub precision: Option<f64>,
    /// Share of its images that was said to be it, `0..=1`; none if there is no image of it.
    pub recall: Option<f64>,
    /// Harmonic mean of the two, `0..=1`; none if it neither was there nor was said.
    pub f1: Option<f64>,
}

impl Confusion {
    /// None without images, for rows of different lengths, numbers that are not finite, or labels beyond the classes.
    #[must_use]
    pub fn new(probabilities: Rows<'_>, labels: &[u32]) -> Option<Self> {
        let classes = checked(probabilities, labels)?;
        let mut counts = vec![vec![0; classes]; classes];
        for (row, label) in probabilities.iter().zip(labels) {
            counts[*label as usize][said(row)] += 1;
        }
        Some(Self(counts))
    }

    /// Share of images that is right.
    #[must_use]
    pub fn accuracy(&self) -> Option<f64> {
        let images: u32 = self.0.iter().flatten().sum();
        share((0..self.0.len()).map(|i| self.count(i, i)).sum(), images)
    }

    /// Mean over the classes that have images of the share that is right.
    #[must_use]
    pub fn balanced_accuracy(&self) -> Option<f64> {
        mean(&self.classes().iter().filter_map(|class| class.recall).collect::<Vec<_>>())
    }

    /// Mean over the classes that were there or were said of [`OneClass::f1`].
    #[must_use]
    pub fn macro_f1(&self) -> Option<f64> {
        mean(&self.classes().iter().filter_map(|class| class.f1).collect::<Vec<_>>())
    }

    /// Each class against all others, in label order.
    #[must_use]
    pub fn classes(&self) -> Vec<OneClass> {
        let one = |(i, row): (usize, &Vec<u32>)| {
            let (right, images) = (self.count(i, i), row.iter().sum());
            let said: u32 = (0..self.0.len()).map(|label| self.count(label, i)).sum();
            OneClass {
                images,
                precision: share(right, said),
                recall: share(right, images),
                f1: share(2 * right, said + images),
            }
        };
        self.0.iter().enumerate().map(one).collect()
    }

    /// A table that is not square lacks nothing but counts.
    fn count(&self, label: usize, predicted: usize) -> u32 {
        self.0.get(label).and_then(|row| row.get(predicted)).copied().unwrap_or(0)
    }

    /// 95 % interval of [`Confusion::balanced_accuracy`], from the Wilson intervals of the classes by the method of
    /// variance estimates recovery (Zou and Donner 2008, Statistics in Medicine 27:1693). With one class that is
    /// [`wilson`](super::wilson); where a class has few images it is wide, also when all of them are right.
    #[must_use]
    pub fn balanced_accuracy_interval(&self) -> Option<(f64, f64)> {
        let balanced = self.balanced_accuracy()?;
        let recalls: Vec<(f64, (f64, f64))> = (self.classes().into_iter().enumerate())
            .filter_map(|(i, class)| {
                Some((class.recall?, super::wilson(self.count(i, i) as usize, class.images as usize)))
            })
            .collect();
        let distance = |squares: f64| squares.sqrt() / recalls.len() as f64;
        let below = distance(recalls.iter().map(|(recall, (low, _))| (recall - low).powi(2)).sum());
        let above = distance(recalls.iter().map(|(recall, (_, high))| (high - recall).powi(2)).sum());
        Some(((balanced - below).max(0.0), (balanced + above).min(1.0)))
    }
}

/// Share of images whose class is among the `k` most probable; 1 if there are no more classes.
#[must_use]
pub fn top_accuracy(probabilities: Rows<'_>, labels: &[u32], k: usize) -> Option<f64> {
    checked(probabilities, labels)?;
    let among = |(row, label): (&Vec<f32>, &u32)| {
        let own = row[*label as usize];
        let before = |(class, p): (usize, &f32)| *p > own || (*p == own && class < *label as usize);
        let better = row.iter().enumerate().filter(|(class, p)| before((*class, p))).count();
        f64::from(u8::from(better < k))
    };
    mean(&probabilities.iter().zip(labels).map(among).collect::<Vec<_>>())
}

/// Mean negative log-likelihood of the right class. A probability of 0 counts as 2.2e-16, as in scikit-learn, so that
/// one image that is surely wrong does not drown all others.
#[must_use]
pub fn log_loss(probabilities: Rows<'_>, labels: &[u32]) -> Option<f64> {
    checked(probabilities, labels)?;
    let loss = |(row, label): (&Vec<f32>, &u32)| {
        -f64::from(row[*label as usize]).clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln()
    };
    mean(&probabilities.iter().zip(labels).map(loss).collect::<Vec<_>>())
}

/// Expected calibration error (Guo et al. 2017, arXiv:1706.04599): how far the probability of what was said is from the
/// share that is right, on average over 15 bins of equal width.
#[must_use]
pub fn calibration_error(probabilities: Rows<'_>, labels: &[u32]) -> Option<f64> {
    const BINS: usize = 15;
    checked(probabilities, labels)?;
    // Sum of probabilities less the number that is right.
    let mut gaps = [0.0; BINS];
    for (row, label) in probabilities.iter().zip(labels) {
        let said = said(row);
        let p = f64::from(row[said]);
        // A bin holds its upper edge.
        let bin = ((p * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
        gaps[bin] += p - f64::from(u8::from(said == *label as usize));
    }
    Some(gaps.iter().map(|gap| gap.abs()).sum::<f64>() / labels.len() as f64)
}

/// Mean squared distance of the probabilities from the truth (Brier 1950), `0..=2`; of two classes the half of it, that
/// is of the second class alone.
#[must_use]
pub fn brier(probabilities: Rows<'_>, labels: &[u32]) -> Option<f64> {
    let classes = checked(probabilities, labels)?;
    let distance = |(row, label): (&Vec<f32>, &u32)| {
        let truth = |class: usize| f64::from(u8::from(class == *label as usize));
        row.iter().enumerate().map(|(class, p)| (f64::from(*p) - truth(class)).powi(2)).sum::<f64>()
    };
    let brier = mean(&probabilities.iter().zip(labels).map(distance).collect::<Vec<_>>())?;
    Some(if classes == 2 { brier / 2.0 } else { brier })
}

/// The most probable class, the first of equals.
fn said(row: &[f32]) -> usize {
    let better = |best: usize, class: usize| if row[class] > row[best] { class } else { best };
    (0..row.len()).reduce(better).unwrap_or(0)
}

/// Number of classes, if the labels are among them.
fn checked(probabilities: Rows<'_>, labels: &[u32]) -> Option<usize> {
    let classes = width(probabilities, labels.len())?;
    labels.iter().all(|label| (*label as usize) < classes).then_some(classes)
}

fn share(part: u32, whole: u32) -> Option<f64> {
    (whole > 0).then(|| f64::from(part) / f64::from(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_newcombes() {
        // statsmodels.stats.proportion: with a, b = confint_proportions_2indep(45, 50, 10 - 6, 10, method="newcomb",
        // compare="diff"), that of the difference to the opposite, (a + 1) / 2 and (b + 1) / 2.
        let interval = |rows: [[u32; 2]; 2]| {
            Confusion(rows.map(Vec::from).to_vec()).balanced_accuracy_interval().unwrap()
        };
        let near = |(a, b): (f64, f64), (c, d): (f64, f64)| {
            assert!((a - c).abs() < 1e-9 && (b - d).abs() < 1e-9, "{a} {b}");
        };
        near(interval([[45, 5], [4, 6]]), (0.595_515_495_574_493_9, 0.869_305_646_015_962_3));
        near(interval([[50, 0], [0, 10]]), (0.856_721_481_981_920_1, 1.0));
        near(interval([[0, 0], [7, 146]]), super::super::wilson(146, 153));
        assert_eq!(Confusion(vec![vec![0; 2]; 2]).balanced_accuracy_interval(), None);
    }

    #[test]
    fn of_equals_the_first_was_said() {
        let rows = vec![vec![0.25, 0.375, 0.375], vec![0.5, 0.0, 0.5]];
        let confusion = Confusion::new(&rows, &[2, 0]).unwrap();
        assert_eq!(confusion.0, [[1, 0, 0], [0, 0, 0], [0, 1, 0]]);
        let top = |k| top_accuracy(&rows, &[2, 0], k).unwrap();
        assert_eq!((top(1), top(2), top(5)), (confusion.accuracy().unwrap(), 1.0, 1.0));
    }

    #[test]
    fn what_is_sure_lies_in_the_last_bin() {
        let rows = vec![vec![1.0, 0.0], vec![0.0, 1.0]];
        assert_eq!(calibration_error(&rows, &[0, 1]), Some(0.0));
        assert_eq!(calibration_error(&rows, &[1, 1]), Some(0.5));
        assert!((log_loss(&rows, &[1, 1]).unwrap() - 18.021_826_694_558_577).abs() < 1e-9);
    }
}

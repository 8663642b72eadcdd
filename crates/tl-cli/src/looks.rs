//! The pictures of a report that show where some answers came from.
//!
//! The decision behind it: wrong answers and right ones in turn, so that the little time there is for them shows some of
//! both. A picture is about one name: the class that was said, one label of an image, or one number.

use std::time::{Duration, Instant};

use tl_data::sheet::{beside_heat, jpeg};
use tl_data::{Sample, decode_rgb};
use tl_heads::Task;
use tl_run::Look;
use tl_run::analysis::digits;
use tl_train::{Answers, Model, Place, Scored};

use crate::evaluate::PRESENT;
use crate::explain::{explain, map};

/// Pixels of a picture's side in a report.
const SIDE: u32 = 160;
/// Pictures of right answers in a report, and as many of wrong ones.
const MOST: usize = 6;

/// An answer that may be shown.
struct Said {
    image: usize,
    /// Of a class, label or number.
    name: usize,
    text: String,
}

/// Wrong answers and right ones, best to be shown first, and what a report calls them.
struct Choice {
    wrong: (&'static str, Vec<Said>),
    right: (&'static str, Vec<Said>),
}

/// Pictures of some wrong answers and some right ones, as many as there is `time` for. Of wrong classes and labels the surest
/// come first; of right ones one of each class or label in turn; of numbers those that are furthest off, and the nearest.
pub(crate) fn looks(model: &Model, scored: &Scored, samples: &[Sample], time: Duration) -> Vec<Look> {
    let Choice { wrong, right } = match &scored.answers {
        Answers::Classes(labels) => classes(model, scored, labels),
        Answers::Rows(rows) if matches!(model.task, Task::Regression { .. }) => numbers(scored, rows),
        Answers::Rows(_) => labels(scored),
        // Words have no places in a picture.
        Answers::Tags(_) => return Vec::new(),
    };
    let (place, begun) = (Place::usual(&model.backbone), Instant::now());
    let mut looks = Vec::new();
    let turns = (0..MOST).flat_map(|i| [(wrong.0, wrong.1.get(i)), (right.0, right.1.get(i))]);
    for (group, said) in turns.filter_map(|(group, said)| Some((group, said?))) {
        let each = begun.elapsed() / (looks.len() as u32).max(1);
        if !looks.is_empty() && begun.elapsed() + each > time {
            break;
        }
        // A file that has gone meanwhile is no reason to lose a report.
        let sample = &samples[said.image];
        let Some(jpeg) = picture(model, sample, place, said.name) else { continue };
        let (name, text) = (model.classes[said.name].clone(), said.text.clone());
        looks.push(Look { file: sample.rel.clone(), group: group.to_owned(), name, text, jpeg });
    }
    looks
}

fn classes(model: &Model, scored: &Scored, labels: &[u32]) -> Choice {
    let predicted: Vec<u32> = scored.predicted().collect();
    let sure = |i: usize| scored.probabilities[i][predicted[i] as usize];
    let (right, mut wrong): (Vec<usize>, Vec<usize>) =
        (0..labels.len()).partition(|&i| predicted[i] == labels[i]);
    wrong.sort_by(|&a, &b| sure(b).total_cmp(&sure(a)).then(a.cmp(&b)));
    let right = in_turn(right, model.classes.len(), |i| labels[i] as usize);
    let said = |i: usize| {
        let (label, predicted) = (labels[i] as usize, predicted[i] as usize);
        let right =
            if label == predicted { String::new() } else { format!(", {} is right", model.classes[label]) };
        Said { image: i, name: predicted, text: format!("{:.3}{right}", sure(i)) }
    };
    Choice {
        wrong: ("Wrong answers", wrong.into_iter().map(said).collect()),
        right: ("Right answers", right.into_iter().map(said).collect()),
    }
}

/// Of labels those that were said, rightly or not, and those that were missed.
fn labels(scored: &Scored) -> Choice {
    let present = scored.present();
    let all = (0..present.len()).flat_map(|image| (0..present[image].len()).map(move |name| (image, name)));
    let probability = |&(image, name): &(usize, usize)| scored.probabilities[image][name];
    let (mut wrong, mut right) = (Vec::new(), Vec::new());
    for at in all {
        match (present[at.0][at.1], probability(&at) >= PRESENT) {
            (true, true) => right.push(at),
            (false, false) => {}
            _ => wrong.push(at),
        }
    }
    let off = |at: &(usize, usize)| (probability(at) - PRESENT).abs();
    wrong.sort_by(|a, b| off(b).total_cmp(&off(a)).then(a.cmp(b)));
    let names = scored.probabilities.first().map_or(0, Vec::len);
    let right = in_turn(right, names, |(_, name)| name);
    let said = |at: (usize, usize)| {
        let right = match (present[at.0][at.1], probability(&at) >= PRESENT) {
            (true, false) => ", and it is there",
            (false, true) => ", and it is not there",
            _ => "",
        };
        Said { image: at.0, name: at.1, text: format!("{:.3}{right}", probability(&at)) }
    };
    Choice {
        wrong: ("Wrong labels", wrong.into_iter().map(said).collect()),
        right: ("Right labels", right.into_iter().map(said).collect()),
    }
}

/// Errors of each number are measured by their mean over the images, so that numbers of different sizes compare.
fn numbers(scored: &Scored, rows: &[Vec<f32>]) -> Choice {
    let names = rows.first().map_or(0, Vec::len);
    let error =
        |image: usize, name: usize| f64::from((scored.probabilities[image][name] - rows[image][name]).abs());
    let means: Vec<f64> = (0..names)
        .map(|name| (0..rows.len()).map(|image| error(image, name)).sum::<f64>() / rows.len() as f64)
        .collect();
    let share = |&(image, name): &(usize, usize)| error(image, name) / means[name].max(f64::MIN_POSITIVE);
    let mut all: Vec<(usize, usize)> =
        (0..rows.len()).flat_map(|image| (0..names).map(move |name| (image, name))).collect();
    all.sort_by(|a, b| share(b).total_cmp(&share(a)).then(a.cmp(b)));
    let said = |&(image, name): &(usize, usize)| {
        let [said, right] = [&scored.probabilities[..], rows].map(|rows| digits(rows[image][name]));
        let text = format!("{said}, {right} is right");
        Said { image, name, text }
    };
    // What is among the furthest is not also among the nearest.
    let half = all.len() / 2;
    Choice {
        wrong: ("Largest errors", all[..half].iter().take(MOST).map(said).collect()),
        right: ("Smallest errors", all[half..].iter().rev().take(MOST).map(said).collect()),
    }
}

/// The first of each name, then the second of each, and so on.
fn in_turn<T: Copy>(all: Vec<T>, names: usize, name: impl Fn(T) -> usize) -> Vec<T> {
    let mut seen = vec![0usize; names];
    let mut turns: Vec<(usize, usize, T)> = (all.into_iter())
        .map(|one| {
            let before = &mut seen[name(one)];
            *before += 1;
            (*before, name(one), one)
        })
        .collect();
    turns.sort_by_key(|(turn, name, _)| (*turn, *name));
    turns.into_iter().map(|(.., one)| one).collect()
}

fn picture(model: &Model, sample: &Sample, place: Place, name: usize) -> Option<Vec<u8>> {
    let image = model.preprocess().ok()?.eval_transform(&decode_rgb(&sample.path).ok()?).ok()?;
    let heat = explain(model, &image, place, Some(name)).ok()?;
    jpeg(&beside_heat(&image, &[map(&heat)], SIDE).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(task: Task, answers: Answers, probabilities: Vec<Vec<f32>>) -> Scored {
        Scored { task, loss: 0.0, scores: None, answers, probabilities, tags: None }
    }

    fn shown(said: &[Said]) -> Vec<(usize, usize, &str)> {
        said.iter().map(|said| (said.image, said.name, said.text.as_str())).collect()
    }

    #[test]
    fn labels_that_are_missed_or_said_wrongly_come_by_how_far_off_they_are() {
        let present = vec![vec![1.0, 0.0], vec![1.0, 1.0], vec![0.0, 0.0]];
        let said = vec![vec![0.25, 0.125], vec![0.75, 0.5], vec![0.25, 0.875]];
        let all = labels(&scored(Task::MultiLabel { labels: 2 }, Answers::Rows(present), said));
        let wrong = [(2, 1, "0.875, and it is not there"), (0, 0, "0.250, and it is there")];
        assert_eq!(shown(&all.wrong.1), wrong);
        assert_eq!(shown(&all.right.1), [(1, 0, "0.750"), (1, 1, "0.500")]);
    }

    #[test]
    fn errors_of_numbers_are_compared_by_what_is_usual_for_each() {
        let right = vec![vec![1.0, 1000.0], vec![2.0, 2000.0]];
        let said = vec![vec![1.5, 1010.0], vec![2.0, 2100.0]];
        let scored = scored(Task::Regression { targets: 2 }, Answers::Rows(right.clone()), said);
        let all = numbers(&scored, &right);
        let wrong = [(0, 0, "1.5, 1 is right"), (1, 1, "2100, 2000 is right")];
        assert_eq!(shown(&all.wrong.1), wrong);
        assert_eq!(shown(&all.right.1)[0], (1, 0, "2, 2 is right"));
    }

    #[test]
    fn every_name_has_its_turn() {
        assert_eq!(in_turn(vec![0, 1, 2, 10, 20], 2, |i| usize::from(i >= 10)), [0, 10, 1, 20, 2]);
    }
}

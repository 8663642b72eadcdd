//! `tl rank`: which pretrained net suits some images, by probes of its features.
//!
//! The decision behind it: nets are compared on the same images by the same folds, image by image, so that a difference
//! is told from noise; of nets that cannot be told apart the fastest is recommended. Small nets come first, so that any
//! budget has an answer.

mod measure;
mod show;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use clap::Parser;
use serde::Serialize;
use tl_backbones::Card;
use tl_data::{DataPool, Sample, Task};
use tl_run::analysis::mcnemar;
use tl_weights::Cache;

use crate::args::{Cli, Command, FinetuneArgs, RankArgs};
use crate::dataset;
use crate::errors::Problems;
use crate::finetune;
use crate::interrupt::Interrupt;
use crate::machine;
use crate::prepare;
use crate::spec::{DEFAULT_BACKBONE, IMAGES, embedded};
use crate::ui::{self, Ui};

use measure::{Measured, Task as Work};

/// What was found, as `--json` has it.
#[derive(Debug, Serialize)]
struct Ranking {
    data: PathBuf,
    classes: usize,
    /// Images that were looked at.
    images: usize,
    /// Images that `finetune` would train on.
    train_images: usize,
    folds: u32,
    seed: u64,
    seconds: f64,
    /// Best first.
    ranked: Vec<Row>,
    skipped: Vec<SkippedNet>,
    recommended: String,
    why: String,
}

/// A net and how it did.
#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    measured: Measured,
    /// McNemar's p against the best by accuracy; 1 for that one.
    p_against_best: f64,
    /// Whether it cannot be told from the best.
    within_noise: bool,
}

/// A net that was not looked at.
#[derive(Debug, Serialize)]
struct SkippedNet {
    backbone: String,
    reason: String,
}

pub(crate) fn run(args: &RankArgs, interrupt: &Interrupt) -> anyhow::Result<()> {
    let (ui, start) = (RefCell::new(Ui::new()), Instant::now());
    let machine = machine::set_up_cpu(&args.threads)?;
    let mut problems = Problems::default();
    let cards = candidates(args, &mut problems);
    let then = problems.take(then(args));
    check(args, &mut problems);
    let data = match &args.data {
        Some(data) => Some(data.clone()),
        None => problems.take(embedded(IMAGES, "a folder of labelled images")),
    };
    let options = (args.val_fraction, args.seed);
    let opened = data.and_then(|data| {
        Some((dataset::open(&data, &args.source, Task::Class, options, &mut problems)?, data))
    });
    problems.check()?;
    let (Some((dataset, data)), Some(cards), Some(then)) = (opened, cards, then) else {
        return Err(crate::errors::Exit(1).into());
    };
    let pool = DataPool::new(machine.data_threads)?;
    let train_images = dataset.train.len();
    anyhow::ensure!(
        dataset.classes.len() * 2 <= train_images,
        "there are {} classes and {train_images} training images, expected two images of a class or more\n\n\
         hint: `rank` is for one class an image, and not for numbers or several labels",
        dataset.classes.len()
    );
    let samples = verified(dataset.train, &dataset.root, args, &pool, &ui)?;
    let samples = chosen(samples, args)?;
    let median = tl_data::probe(&samples)?.median_short_side;
    let work = Work { args, samples: &samples, classes: dataset.classes.len(), pool: &pool, median, start };
    ui.borrow().line(&format!(
        "ranking    {} {} on {} of {train_images} training images, {} classes, within {}",
        cards.len(),
        if cards.len() == 1 { "net" } else { "nets" },
        samples.len(),
        dataset.classes.len(),
        ui::seconds(args.budget)
    ));
    let (measured, skipped) = measure_all(&cards, &work, interrupt, &ui)?;
    let ranking = Ranking {
        data,
        classes: dataset.classes.len(),
        images: samples.len(),
        train_images,
        folds: args.cv,
        seed: args.seed,
        seconds: start.elapsed().as_secs_f64(),
        skipped,
        ..recommend(measured)
    };
    if args.json {
        ui::print_json(&ranking)?;
    } else {
        ui::print_tables(&show::text(&ranking))?;
    }
    match then {
        Some(more) => go_on(*more, &ranking, args, interrupt),
        None => Ok(()),
    }
}

fn check(args: &RankArgs, problems: &mut Problems) {
    let mut need = |holds: bool, text: String| {
        if !holds {
            problems.add(anyhow::anyhow!(text));
        }
    };
    need(
        args.budget > 0.0 && args.budget.is_finite(),
        format!("--budget is {}, expected above 0", args.budget),
    );
    need((2..=100).contains(&args.cv), format!("--cv is {}, expected 2 to 100", args.cv));
    need(args.most >= 10, format!("--most is {}, expected 10 or more", args.most));
}

/// The nets by what one image costs, cheapest first.
fn candidates(args: &RankArgs, problems: &mut Problems) -> Option<Vec<&'static Card>> {
    let cache = problems.take(Cache::default_location().map_err(anyhow::Error::from))?;
    let mut cards: Vec<&'static Card> = match &args.backbones[..] {
        [] => {
            let cards = tl_backbones::CARDS.iter().copied();
            cards.filter(|card| card.name == DEFAULT_BACKBONE || measure::is_here(card, &cache)).collect()
        }
        [all] if all == "all" => tl_backbones::CARDS.to_vec(),
        names => {
            let found = names.iter().map(|name| tl_backbones::find(name.trim()).map_err(anyhow::Error::from));
            let found: Vec<_> = found.map(|card| problems.take(card)).collect();
            found.into_iter().collect::<Option<_>>()?
        }
    };
    cards.sort_by_key(|card| (card.macs, card.name));
    cards.dedup_by_key(|card| card.name);
    Some(cards)
}

/// What `finetune` is told, if it comes next.
fn then(args: &RankArgs) -> anyhow::Result<Option<Box<FinetuneArgs>>> {
    if args.then.is_none() {
        return Ok(None);
    }
    let words = ["tl", "finetune"].into_iter().chain(args.more.iter().map(String::as_str));
    let parsed = Cli::try_parse_from(words).map_err(|error| {
        let text = error.to_string();
        anyhow::anyhow!("behind --: {}", text.strip_prefix("error: ").unwrap_or(&text).trim_end())
    })?;
    let Command::Finetune(finetune) = parsed.command else { return Ok(None) };
    let settings = &finetune.settings;
    let taken = [
        ("--backbone", settings.backbone.is_some()),
        ("--config", settings.config.is_some()),
        ("--data", settings.data.is_some()),
        ("--resume", finetune.resume.is_some()),
        ("--weights", settings.weights.is_some()),
    ];
    let taken: Vec<&str> = taken.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag).collect();
    anyhow::ensure!(
        taken.is_empty(),
        "behind -- stands {}, which the ranking decides\n\nhint: leave it out there",
        taken.join(", ")
    );
    Ok(Some(finetune))
}

/// Trains the recommended net on the data that was looked at.
fn go_on(
    mut finetune: FinetuneArgs,
    ranking: &Ranking,
    args: &RankArgs,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    let settings = &mut finetune.settings;
    settings.data = Some(ranking.data.clone());
    settings.backbone = Some(ranking.recommended.clone());
    settings.source = args.source.clone();
    settings.seed = settings.seed.or(Some(args.seed));
    settings.precision = settings.precision.or(args.precision);
    settings.image_size = settings.image_size.or(args.image_size);
    settings.val_fraction = settings.val_fraction.or(Some(args.val_fraction));
    settings.skip_bad |= args.skip_bad;
    settings.threads.threads = settings.threads.threads.or(args.threads.threads);
    settings.threads.data_threads = settings.threads.data_threads.or(args.threads.data_threads);
    finetune.json |= args.json;
    finetune::run(&finetune, interrupt)
}

/// The images that can be decoded.
fn verified(
    samples: Vec<Sample>,
    root: &Path,
    args: &RankArgs,
    pool: &DataPool,
    ui: &RefCell<Ui>,
) -> anyhow::Result<Vec<Sample>> {
    let bad = prepare::check_images(&samples, pool, ui);
    prepare::refuse_bad(&bad, root, args.skip_bad)?;
    Ok(prepare::good(samples, &bad).to_vec())
}

/// At most as many images as are wanted, of each class its share, in an order whose beginning has every class as well.
fn chosen(samples: Vec<Sample>, args: &RankArgs) -> anyhow::Result<Arc<[Sample]>> {
    let labels: Vec<u32> = samples.iter().map(|sample| sample.label).collect();
    let present: std::collections::BTreeSet<u32> = labels.iter().copied().collect();
    anyhow::ensure!(
        present.len() >= 2,
        "there are training images of {} class, expected two classes or more",
        present.len()
    );
    // As many piles as make one of the right size: each has of every class its share.
    let piles = samples.len().div_ceil(args.most).max(1) as u32;
    let pile = tl_linear::stratified_folds(&labels, piles, args.seed);
    let kept: Vec<Sample> =
        samples.into_iter().zip(pile).filter(|(_, pile)| *pile == 0).map(|(s, _)| s).collect();
    let labels: Vec<u32> = kept.iter().map(|sample| sample.label).collect();
    let left: std::collections::BTreeSet<u32> = labels.iter().copied().collect();
    anyhow::ensure!(
        kept.len() >= 2 * args.cv as usize && left.len() >= 2,
        "{} images of {} classes are too few for {} folds\n\nhint: lower --cv, or raise --most",
        kept.len(),
        left.len(),
        args.cv
    );
    let of_class = tl_linear::stratified_folds(&labels, kept.len() as u32, args.seed);
    let mut order: Vec<usize> = (0..kept.len()).collect();
    // Every tenth of the list is a small sample of the whole.
    order.sort_by_key(|&i| (of_class[i] % 10, of_class[i]));
    Ok(order.into_iter().map(|i| kept[i].clone()).collect())
}

/// All nets that the budget has room for. A net whose weights cannot be had is named and passed over.
fn measure_all(
    cards: &[&'static Card],
    work: &Work<'_>,
    interrupt: &Interrupt,
    ui: &RefCell<Ui>,
) -> anyhow::Result<(Vec<Measured>, Vec<SkippedNet>)> {
    let (mut measured, mut skipped) = (Vec::<Measured>::new(), Vec::new());
    let (mut failures, cache) = (Vec::new(), Cache::default_location()?);
    for card in cards {
        let mut skip = |reason: String| {
            ui.borrow().line(&format!(
                "skipped    {}: {}",
                card.name,
                reason.lines().next().unwrap_or_default()
            ));
            skipped.push(SkippedNet { backbone: card.name.to_owned(), reason });
        };
        let left = work.args.budget - work.start.elapsed().as_secs_f64();
        let estimate = measured.last().map(|last| work.estimate(card, last));
        if let Some(estimate) = estimate.filter(|estimate| *estimate > left) {
            let (estimate, left) = (ui::seconds(estimate), ui::seconds(left.max(0.0)));
            skip(format!("it would take {estimate} or more, and {left} of the budget are left"));
            continue;
        }
        let cached = measure::is_here(card, &cache);
        let chosen = match prepare::weights(card, "", ui) {
            Ok(chosen) => chosen,
            Err(error) => {
                skip(format!("its weights cannot be had: {}", crate::errors::text(&error)));
                failures.push(error);
                continue;
            }
        };
        match work.measure(card, &chosen, (measured.is_empty(), cached), (&interrupt.stop, ui))? {
            Some(result) => {
                ui.borrow().line(&show::line(&result));
                measured.push(result);
            }
            None => skip("the budget was used up while it computed features".to_owned()),
        }
    }
    match (measured.is_empty(), failures.pop()) {
        (true, Some(error)) => Err(error.context("no net can be looked at; the last one failed")),
        (true, None) => Err(anyhow::anyhow!("no net could be looked at")),
        _ => Ok((measured, skipped)),
    }
}

/// Best first; and of those that cannot be told from the best the one that computes the most images a second.
fn recommend(mut measured: Vec<Measured>) -> Ranking {
    /// Below this a difference is taken for real.
    const SURE: f64 = 0.05;
    measured.sort_by(|a, b| {
        b.accuracy.total_cmp(&a.accuracy).then(b.images_per_second.total_cmp(&a.images_per_second))
    });
    let best = measured[0].right.clone();
    let row = |(place, measured): (usize, Measured)| {
        // A net that saw fewer images than the best is compared on those that both saw.
        let p = if place == 0 { 1.0 } else { mcnemar(&best, &measured.right).p };
        Row { measured, p_against_best: p, within_noise: p >= SURE }
    };
    let ranked: Vec<Row> = measured.into_iter().enumerate().map(row).collect();
    let near = ranked.iter().filter(|row| row.within_noise);
    let pick =
        near.clone().max_by(|a, b| a.measured.images_per_second.total_cmp(&b.measured.images_per_second));
    let (pick, near) = (pick.unwrap_or(&ranked[0]), near.count());
    let (first, name) = (&ranked[0].measured, pick.measured.backbone.clone());
    let why = match (near, ranked.len(), name == first.backbone) {
        (_, 1, _) => "it is the only one that was looked at".to_owned(),
        (1, ..) => "it is better than the others by more than chance".to_owned(),
        (_, _, true) => {
            format!("it is the best and the fastest of the {near} that differ by no more than chance")
        }
        (..) => format!(
            "{} is {:.1} points better, which is within noise (McNemar p {:.2}), and this one computes {:.1} times as many \
             images a second",
            first.backbone,
            (first.accuracy - pick.measured.accuracy) * 100.0,
            pick.p_against_best,
            pick.measured.images_per_second / first.images_per_second
        ),
    };
    Ranking {
        data: PathBuf::new(),
        classes: 0,
        images: 0,
        train_images: 0,
        folds: 0,
        seed: 0,
        seconds: 0.0,
        ranked,
        skipped: Vec::new(),
        recommended: name,
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(name: &str, right: &[u8], rate: f64) -> Measured {
        let right: Vec<bool> = right.iter().map(|right| *right == 1).collect();
        let accuracy = right.iter().filter(|right| **right).count() as f64 / right.len() as f64;
        Measured {
            backbone: name.to_owned(),
            accuracy,
            right,
            images_per_second: rate,
            ..Measured::default()
        }
    }

    #[test]
    fn of_nets_that_cannot_be_told_apart_the_fastest_is_recommended() {
        let (mut all, mut one_off, mut bad) = ([1; 40], [1; 40], [1; 40]);
        all[0] = 0;
        one_off[..2].fill(0);
        bad[..20].fill(0);
        let nets = || vec![net("bad", &bad, 900.0), net("best", &all, 10.0), net("near", &one_off, 80.0)];
        let ranking = recommend(nets());
        assert_eq!(ranking.recommended, "near");
        assert!(
            ranking.why.contains("best is 2.5 points better") && ranking.why.contains("8.0 times"),
            "{}",
            ranking.why
        );
        let names: Vec<&str> = ranking.ranked.iter().map(|row| row.measured.backbone.as_str()).collect();
        assert_eq!(names, ["best", "near", "bad"]);
        assert!(ranking.ranked[1].within_noise && !ranking.ranked[2].within_noise);
        let two = recommend(nets().into_iter().filter(|net| net.backbone != "near").collect());
        assert_eq!((two.recommended.as_str(), two.why.contains("by more than chance")), ("best", true));
    }

    #[test]
    fn the_order_of_the_images_begins_with_every_class() {
        let sample = |i: usize| Sample {
            label: u32::from(i >= 80),
            ..crate::predict::unlabelled(format!("{i:03}.png").into())
        };
        let args = |most: &str| match Cli::parse_from(["tl", "rank", "--most", most]).command {
            Command::Rank(args) => args,
            _ => unreachable!(),
        };
        let all = chosen((0..100).map(sample).collect(), &args("1000")).unwrap();
        let rare = all[..10].iter().filter(|sample| sample.label == 1).count();
        assert_eq!((all.len(), rare), (100, 2));
        let some = chosen((0..100).map(sample).collect(), &args("25")).unwrap();
        assert_eq!((some.len(), some.iter().filter(|sample| sample.label == 1).count()), (25, 5));
        assert!(chosen((0..8).map(sample).collect(), &args("25")).is_err(), "one class");
    }
}

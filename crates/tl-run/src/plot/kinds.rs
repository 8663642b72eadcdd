//! The plots there are: of rates, of epochs, and of answers.

use super::{BLUE, Bar, GREEN, GREY, Line, ORANGE, Plot, ROUND, plain, range};
use crate::analysis::{Bin, Calibration, Points, Ranking};
use crate::records::{EpochRow, metric_title};
use crate::shelf::Run;

/// A picture, its file name without ending, and what it shows in a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlotFile {
    /// As in `plots/NAME.svg`.
    pub name: String,
    /// For who cannot see it.
    pub text: String,
    /// The file.
    pub svg: String,
}

impl PlotFile {
    fn new(name: &str, text: String, plot: &Plot) -> Option<Self> {
        let svg = plot.svg();
        (!svg.is_empty()).then(|| Self { name: name.to_owned(), text, svg })
    }
}

/// The range test: loss over rate, the rate in decades. `tried` has the rate, the loss and the smoothed loss of each
/// step; `suggested` is marked. Empty if there is nothing to draw.
#[must_use]
pub fn rate_plot(tried: &[(f64, f64, f64)], suggested: Option<f64>) -> String {
    let (Some(first), Some(last)) = (tried.first(), tried.last()) else { return String::new() };
    let smoothed = || tried.iter().map(|point| point.2);
    let (low, high) = (smoothed().fold(f64::INFINITY, f64::min), smoothed().fold(0.0, f64::max));
    // What explodes at the end must not flatten the rest.
    let top = high.min(low + 3.0 * (first.2 - low).max(0.1));
    let y = (low - 0.1 * (top - low), top + 0.1 * (top - low));
    let mut plot =
        Plot::new(("learning rate", "loss"), (first.0.log10(), last.0.max(first.0 * 10.0).log10()), y);
    plot.x_label = Box::new(power);
    let line = |of: fn(&(f64, f64, f64)) -> f64| tried.iter().map(move |at| (at.0.log10(), of(at))).collect();
    plot.lines =
        vec![Line::new("measured", GREY, line(|at| at.1)), Line::new("smoothed", BLUE, line(|at| at.2))];
    plot.marks.extend(suggested.map(|rate| (rate.log10(), format!("{rate:.1e}"))));
    plot.svg()
}

fn power(log: &f64) -> String {
    format!("{:.0e}", 10f64.powf(*log))
}

/// Loss, what the run is judged by (and accuracy, where there are classes), and learning rates, by epoch.
pub(crate) fn training_plots(epochs: &[EpochRow]) -> Vec<PlotFile> {
    let Some(monitor) = epochs.first().map(|row| row.monitor.as_str()) else { return Vec::new() };
    let mut plots = vec![epoch_plot(
        epochs,
        ("loss", "loss"),
        &[("training", GREY, &|row| Some(row.train_loss)), ("validation", BLUE, &|row| Some(row.val_loss))],
    )];
    if epochs.iter().any(|row| row.val_accuracy.is_some()) {
        plots.push(epoch_plot(
            epochs,
            ("accuracy", "accuracy"),
            &[("training", GREY, &|row| row.train_accuracy), ("validation", BLUE, &|row| row.val_accuracy)],
        ));
    }
    if !["loss", "accuracy"].contains(&monitor) {
        let title = metric_title(monitor);
        plots.push(epoch_plot(epochs, (monitor, title), &[("validation", BLUE, &|row| row.monitored)]));
    }
    let log = |rate: Option<f64>| rate.filter(|rate| *rate > 0.0).map(f64::log10);
    plots.push(epoch_plot(
        epochs,
        ("learning-rate", "learning rate"),
        &[
            ("head", ORANGE, &|row| log(row.rate_head)),
            ("last stage that trains", GREEN, &|row| log(row.rate_last_stage)),
        ],
    ));
    plots.into_iter().flatten().collect()
}

/// What the runs are judged by and their validation loss, by epoch, a line each of the first six.
pub(crate) fn overlaid_plots(runs: &[Run]) -> Vec<PlotFile> {
    let monitor = runs.iter().flat_map(|run| &run.epochs).map(|row| row.monitor.as_str()).next();
    let same = runs.iter().flat_map(|run| &run.epochs).all(|row| Some(row.monitor.as_str()) == monitor);
    let plot = |name: &str, figure: Figure<'_>| {
        let rows = || runs.iter().flat_map(|run| &run.epochs);
        let last = rows().map(|row| row.epoch).max()?;
        let mut plot = Plot::new(
            ("epoch", metric_title(name)),
            (0.5, f64::from(last) + 0.5),
            range(rows().filter_map(figure))?,
        );
        plot.x_label = Box::new(whole);
        let lines = runs.iter().zip(ROUND).map(|(run, colour)| {
            let points = run.epochs.iter().filter_map(|row| Some((f64::from(row.epoch), figure(row)?)));
            Line::new(&run.name().chars().take(12).collect::<String>(), colour, points.collect())
        });
        plot.lines = lines.collect();
        let text =
            format!("validation {} by epoch of {} runs", metric_title(name), runs.len().min(ROUND.len()));
        PlotFile::new(name, text, &plot)
    };
    let judged = match monitor.filter(|name| same && *name != "loss") {
        Some(name) => plot(name, &|row| row.monitored),
        None => plot("accuracy", &|row| row.val_accuracy),
    };
    judged.into_iter().chain(plot("loss", &|row| Some(row.val_loss))).collect()
}

/// Epochs are whole.
fn whole(value: &f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { String::new() }
}

/// One figure of an epoch, if it can be said.
type Figure<'a> = &'a dyn Fn(&EpochRow) -> Option<f64>;

fn epoch_plot(
    epochs: &[EpochRow],
    (name, title): (&str, &str),
    figures: &[(&str, plotters::style::RGBColor, Figure<'_>)],
) -> Option<PlotFile> {
    let (first, last) = (f64::from(epochs.first()?.epoch), f64::from(epochs.last()?.epoch));
    let y = range(figures.iter().flat_map(|(_, _, figure)| epochs.iter().filter_map(figure)))?;
    let mut plot = Plot::new(("epoch", title), (first - 0.5, last.max(first) + 0.5), y);
    plot.x_label = Box::new(whole);
    if name == "learning-rate" {
        plot.y_label = Box::new(power);
    }
    for (name, colour, figure) in figures {
        let points: Vec<(f64, f64)> =
            epochs.iter().filter_map(|row| Some((f64::from(row.epoch), figure(row)?))).collect();
        if !points.is_empty() {
            plot.lines.push(Line::new(name, *colour, points));
        }
    }
    let begins = epochs.iter().filter(|row| row.phase_epoch == 1);
    let several = epochs.windows(2).any(|pair| pair[0].phase != pair[1].phase);
    plot.marks =
        begins.filter(|_| several).map(|row| (f64::from(row.epoch) - 0.5, row.phase.clone())).collect();
    let ends: Vec<String> = (figures.iter())
        .filter_map(|(name, _, figure)| {
            let values: Vec<f64> = epochs.iter().filter_map(figure).collect();
            let (first, last) = (values.first()?, values.last()?);
            Some(match name {
                _ if title == "learning rate" => {
                    format!("{name} from {:.1e} to {:.1e}", 10f64.powf(*first), 10f64.powf(*last))
                }
                _ => format!("{name} from {first:.4} to {last:.4}"),
            })
        })
        .collect();
    let text = format!("{title} over {} epochs: {}", epochs.len(), ends.join(", "));
    PlotFile::new(name, text, &plot)
}

/// The reliability diagram of a set of images.
pub(crate) fn reliability_plot(set: &str, calibration: &Calibration) -> Option<PlotFile> {
    let mut plot = Plot::new(("probability of what was said", "share that is right"), (0.0, 1.0), (0.0, 1.0));
    let width = 1.0 / 15.0;
    let bar = |bin: &Bin| -> Bar {
        let gap = width * 0.08;
        ((bin.low + gap, 0.0), (bin.low + width - gap, bin.right), BLUE)
    };
    plot.bars = calibration.bins.iter().map(bar).collect();
    // The share of a few images says nothing.
    let images: usize = calibration.bins.iter().map(|bin| bin.images).sum();
    let enough = |bin: &&Bin| bin.images >= 3 && bin.images * 100 >= images;
    let points =
        |bins: &[Bin]| bins.iter().filter(enough).map(|bin| (bin.confidence, bin.right)).collect::<Vec<_>>();
    plot.lines = vec![
        Line::new("perfect", GREY, vec![(0.0, 0.0), (1.0, 1.0)]).dashed(),
        Line::new("as it is", BLUE, points(&calibration.bins)),
    ];
    if !calibration.bins_scaled.is_empty() {
        plot.lines.push(Line::new("scaled", ORANGE, points(&calibration.bins_scaled)));
    }
    let bins: Vec<String> = (calibration.bins.iter())
        .map(|bin| format!("{:.2} sure, {:.2} right, {} answers", bin.confidence, bin.right, bin.images))
        .collect();
    let text = format!("reliability diagram, by confidence: {}", bins.join("; "));
    PlotFile::new(&format!("{set}-reliability"), text, &plot)
}

/// ROC curves, of the first six of several labels.
pub(crate) fn roc_plot(set: &str, rankings: &[Ranking]) -> Option<PlotFile> {
    let mut plot = Plot::new(("false positive rate", "true positive rate"), (0.0, 1.0), (0.0, 1.0));
    plot.lines = curves(rankings, |ranking| (ranking.roc.clone(), ranking.auroc));
    plot.lines.push(Line::new("", GREY, vec![(0.0, 0.0), (1.0, 1.0)]).dashed());
    let areas = rankings.iter().take(ROUND.len()).map(|one| format!("{} {:.4}", one.name, one.auroc));
    let text = format!("ROC, area under the curve: {}", areas.collect::<Vec<_>>().join(", "));
    if rankings.is_empty() { None } else { PlotFile::new(&format!("{set}-roc"), text, &plot) }
}

/// Precision over recall, of the first six of several labels.
pub(crate) fn precision_recall_plot(set: &str, rankings: &[Ranking]) -> Option<PlotFile> {
    let mut plot = Plot::new(("recall", "precision"), (0.0, 1.0), (0.0, 1.02));
    plot.y_label = plain((0.0, 1.0));
    plot.lines = curves(rankings, |one| (one.precision_recall.clone(), one.average_precision));
    let areas =
        rankings.iter().take(ROUND.len()).map(|one| format!("{} {:.4}", one.name, one.average_precision));
    let text = format!("precision over recall, average precision: {}", areas.collect::<Vec<_>>().join(", "));
    if rankings.is_empty() { None } else { PlotFile::new(&format!("{set}-precision-recall"), text, &plot) }
}

fn curves(rankings: &[Ranking], of: impl Fn(&Ranking) -> (Vec<(f64, f64)>, f64)) -> Vec<Line> {
    let line = |(ranking, colour): (&Ranking, _)| {
        let (points, area) = of(ranking);
        // With many names in one row there is no room for figures.
        let name = match rankings.len() {
            1 | 2 => format!("{} {area:.4}", ranking.name),
            _ => ranking.name.chars().take(9).collect(),
        };
        Line::new(&name, colour, points)
    };
    rankings.iter().zip(ROUND).map(line).collect()
}

/// Of one number what was said beside what is right, and the residuals.
pub(crate) fn number_plots(set: &str, points: &Points, place: usize) -> Vec<PlotFile> {
    let pairs: Vec<(f64, f64)> =
        points.pairs.iter().map(|(right, said)| (f64::from(*right), f64::from(*said))).collect();
    let name = &points.name;
    let suffix = if place == 0 { String::new() } else { format!("-{}", place + 1) };
    let Some(both) = range(pairs.iter().flat_map(|(right, said)| [*right, *said])) else { return Vec::new() };
    let mut scatter = Plot::new((&format!("{name}, right"), &format!("{name}, said")), both, both);
    scatter.lines = vec![Line::new("perfect", GREY, vec![(both.0, both.0), (both.1, both.1)]).dashed()];
    scatter.dots = pairs.clone();
    let residuals: Vec<(f64, f64)> = pairs.iter().map(|(right, said)| (*said, said - right)).collect();
    let ranges = (range(residuals.iter().map(|at| at.0)), range(residuals.iter().map(|at| at.1)));
    let text = format!("{name}: what was said over what is right, {} answers", pairs.len());
    let mut files: Vec<PlotFile> =
        PlotFile::new(&format!("{set}-scatter{suffix}"), text, &scatter).into_iter().collect();
    if let (Some(x), Some(y)) = ranges {
        let mut plot = Plot::new((&format!("{name}, said"), "said less right"), x, y);
        plot.lines = vec![Line::new("no error", GREY, vec![(x.0, 0.0), (x.1, 0.0)]).dashed()];
        plot.dots = residuals;
        let text = format!("{name}: error over what was said");
        files.extend(PlotFile::new(&format!("{set}-residuals{suffix}"), text, &plot));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_is_a_whole_svg_file() {
        let tried: Vec<_> =
            (0..50).map(|i| (1e-6 * 1.3f64.powi(i), 2.0, 2.0 - 0.01 * f64::from(i))).collect();
        let svg = rate_plot(&tried, Some(1e-4));
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
        assert!(svg.matches("<polyline").count() >= 3 && svg.contains("learning rate"), "{svg}");
        assert_eq!(rate_plot(&[], None), "");
    }

    #[test]
    fn a_run_has_a_plot_of_each_figure_and_marks_of_its_phases() {
        let row = |epoch: u32, phase: &str, phase_epoch| EpochRow {
            epoch,
            phase: phase.to_owned(),
            phase_epoch,
            train_loss: 1.0 / f64::from(epoch),
            val_loss: 1.2 / f64::from(epoch),
            train_accuracy: Some(0.5),
            val_accuracy: Some(0.5 + 0.1 * f64::from(epoch)),
            monitor: "macro-f1".to_owned(),
            monitored: (epoch > 1).then_some(0.5),
            rate_head: Some(1e-3),
            ..EpochRow::default()
        };
        let plots = training_plots(&[row(1, "head", 1), row(2, "head", 2), row(3, "a<b", 1)]);
        let names: Vec<&str> = plots.iter().map(|plot| plot.name.as_str()).collect();
        assert_eq!(names, ["loss", "accuracy", "macro-f1", "learning-rate"]);
        for plot in &plots {
            assert!(plot.svg.contains("head") && plot.svg.contains("a&lt;b"), "{}", plot.svg);
        }
        assert!(plots[1].text.contains("validation from 0.6000 to 0.8000"), "{}", plots[1].text);
        assert!(!plots[3].svg.contains("last stage"), "no such rate");
        assert!(training_plots(&[]).is_empty());
        // A run of one epoch is a point.
        assert_eq!(training_plots(&[row(1, "head", 1)]).len(), 3);
    }
}

//! Answers as a report takes them: named, analysed, with pictures of the images that are named.
//!
//! The decision behind it: the temperature is fitted on validation images wherever there are any, since on the images that
//! are measured it would flatter itself.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use tl_data::{DataPool, Sample};
use tl_finetune::Metric;
use tl_heads::Task;
use tl_run::analysis::{Analysis, Answered, Truth};
use tl_run::{LabelResult, RunDir};
use tl_train::{Answers, Confusion, SavedModel, Scored};

/// File of the analyses in a run directory.
pub(crate) const ANALYSIS: &str = "analysis.json";
/// Pixels of the longer side of a picture in a report, which shows it about so large.
const SIDE: u32 = 160;

/// What can be seen in the answers for these images.
pub(crate) fn analyse(
    set: &str,
    scored: &Scored,
    (samples, names): (&[Sample], &[String]),
    temperature: Option<f64>,
) -> Analysis {
    let truth = match &scored.answers {
        Answers::Classes(labels) => Truth::Classes(labels.clone()),
        Answers::Rows(rows) => match scored.task {
            Task::Regression { .. } => Truth::Numbers(rows.clone()),
            _ => Truth::Labels(scored.present()),
        },
        // What there is to see of words needs the words, see `texts::analyse`.
        Answers::Tags(_) => Truth::Labels(Vec::new()),
    };
    let files = samples.iter().map(|sample| sample.rel.as_str()).collect();
    Analysis::new(&Answered { set, names, files, truth, rows: &scored.probabilities }, temperature)
}

/// Pictures of the images that the analyses name, by name.
pub(crate) fn pictures<'a>(
    analyses: &[Analysis],
    samples: impl Iterator<Item = &'a Sample>,
    pool: &DataPool,
) -> BTreeMap<String, Vec<u8>> {
    let wanted: std::collections::BTreeSet<&str> = analyses.iter().flat_map(Analysis::files).collect();
    let named: Vec<&Sample> = samples.filter(|sample| wanted.contains(sample.rel.as_str())).collect();
    let paths: Vec<&Path> = named.iter().map(|sample| sample.path.as_path()).collect();
    let pictures = tl_data::sheet::thumbnails(&paths, SIDE, pool);
    let pairs = named.iter().zip(pictures);
    pairs.filter_map(|(sample, jpeg)| Some((sample.rel.clone(), jpeg?))).collect()
}

/// The temperature that a run found on its validation images, if it did.
pub(crate) fn temperature(run: &Path) -> Option<f64> {
    let analyses: Vec<Analysis> = RunDir::read_json(&run.join(ANALYSIS), "analysis of a run").ok()?;
    fitted(&analyses)
}

/// The temperature of the validation samples.
pub(crate) fn fitted(analyses: &[Analysis]) -> Option<f64> {
    analyses.iter().find(|analysis| analysis.set == "val")?.calibration.as_ref()?.temperature
}

/// The temperature that `--calibrated` divides the logits of a model by.
///
/// # Errors
/// The model does not choose between classes, or no temperature was fitted.
pub(crate) fn calibration(run: &Path, saved: &SavedModel, task: Task) -> anyhow::Result<f64> {
    let other = match task {
        Task::Softmax { .. } | Task::Binary => None,
        Task::MultiLabel { .. } => Some("has several labels"),
        Task::Regression { .. } => Some("says numbers"),
        Task::Tagging { .. } => Some("says tags of words"),
    };
    if let Some(other) = other {
        anyhow::bail!(
            "--calibrated is for models that choose between classes, and `{}` {other}: it has no temperature\n\n\
             hint: leave --calibrated out",
            run.display()
        );
    }
    // Runs from before models kept it have it in their analysis.
    saved.temperature.or_else(|| temperature(run)).with_context(|| {
        format!(
            "`{}` has no temperature for --calibrated: none was best, as where every validation answer is right, or the \
             model is older than temperatures in model.json\n\nhint: leave --calibrated out",
            run.display()
        )
    })
}

/// What else is said of classes together, by name.
pub(crate) fn class_metrics(scored: &Scored, classes: usize) -> BTreeMap<String, f64> {
    let mut metrics = vec![Metric::MacroF1, Metric::Auroc, Metric::AveragePrecision, Metric::Ece];
    metrics.extend((classes > 5).then_some(Metric::Top5Accuracy));
    let named = metrics.into_iter().filter_map(|metric| Some((metric.name(), scored.value(metric)?)));
    named.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Each class against all others.
pub(crate) fn class_results(confusion: &[Vec<u32>], names: &[String]) -> Vec<LabelResult> {
    let classes = Confusion(confusion.to_vec()).classes();
    let result = |(i, (class, name)): (usize, (tl_train::OneClass, &String))| {
        let metrics = [("precision", class.precision), ("recall", class.recall), ("f1", class.f1)];
        let metrics = metrics.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        LabelResult {
            label: name.clone(),
            images: class.images as usize,
            predicted: confusion.iter().map(|row| row[i] as usize).sum(),
            right: confusion[i][i] as usize,
            metrics: metrics.collect(),
        }
    };
    classes.into_iter().zip(names).enumerate().map(result).collect()
}

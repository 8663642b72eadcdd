//! The model card of a package: what a person has to know of a model before using it (Mitchell et al. 2018,
//! arXiv:1810.03993), as far as the run knows it. What the model is meant for, nobody but its maker can say, and the card
//! says that.

use tl_run::{Evaluation, Run, metric_title};
use tl_train::{Model, SavedModel};

use crate::ui;

/// `README.md`.
pub(super) fn text(saved: &SavedModel, model: &Model, run: Option<&Run>) -> String {
    let sections = [
        front(saved),
        about(saved, model),
        run.map_or_else(String::new, data),
        run.map_or_else(String::new, results),
        "## Intended use\n\nTo be written by whoever passes this model on: what it is for, whose images it was made with, and \
         what it must not be used for. It answers every image with one of its own classes or labels, also one that shows \
         none of them.\n"
            .to_owned(),
        use_it(saved),
        run.map_or_else(String::new, training),
        licence(saved),
    ];
    sections.into_iter().filter(|section| !section.is_empty()).collect::<Vec<_>>().join("\n")
}

/// What sites that list models read.
fn front(saved: &SavedModel) -> String {
    let task = match &saved.task[..] {
        "image-regression" => "image-feature-extraction",
        _ => "image-classification",
    };
    let licence = match &saved.pretrained.licence[..] {
        "unknown" => "other".to_owned(),
        name => name.to_lowercase(),
    };
    format!("---\nlicense: {licence}\npipeline_tag: {task}\ntags:\n- {task}\n- {}\n---\n", saved.backbone)
}

fn about(saved: &SavedModel, model: &Model) -> String {
    let things = match &saved.task[..] {
        "image-multi-label-classification" => "labels",
        "image-regression" => "numbers",
        _ => "classes",
    };
    let shown: Vec<String> = saved.classes.iter().take(20).map(|class| format!("`{class}`")).collect();
    let more = saved.classes.len().saturating_sub(shown.len());
    let more = if more > 0 { format!(" and {more} more (`classes.txt`)") } else { String::new() };
    let params: usize = model.tensors().map(|param| param.tensor.numel()).sum();
    let size = saved.preprocess.map_or(0, |preprocess| preprocess.input);
    let head = String::from(saved.head.clone());
    let from = &saved.pretrained;
    format!(
        "# {} for {} {things}\n\n\
         {}{more}.\n\n\
         | | |\n|---|---|\n\
         | net | `{}`, head `{head}` |\n\
         | task | {} |\n\
         | values | {params} |\n\
         | input | RGB, {size} × {size} pixels |\n\
         | started from | weights `{}`, {} |\n",
        saved.backbone,
        saved.classes.len(),
        shown.join(", "),
        saved.backbone,
        saved.task,
        from.name,
        from.source,
    )
}

fn data(run: &Run) -> String {
    let data = &run.manifest.data;
    format!(
        "## Data\n\n\
         {} training, {} validation and {} test images. {}\n\n\
         | | sha256 over names and bytes |\n|---|---|\n\
         | training images | `{}` |\n| validation images | `{}` |\n",
        data.train_images, data.val_images, data.test_images, data.split, data.train_sha256, data.val_sha256
    )
}

fn results(run: &Run) -> String {
    let Some(summary) = &run.summary else {
        return "## Results\n\nThe run did not come to its end; nothing was measured.\n".to_owned();
    };
    let mut text = "## Results\n\nOf the model as it is in this folder. The validation images picked its best epoch, so on \
                    them it looks a little better than it is.\n\n| images | measure | value | 95 % interval |\n|---|---|---|---|\n"
        .to_owned();
    for evaluation in &summary.evaluations {
        text += &rows(evaluation);
    }
    text
}

fn rows(evaluation: &Evaluation) -> String {
    let set = format!("{} ({})", evaluation.set, evaluation.images);
    let mut rows = Vec::new();
    let mut row = |name: &str, value: f64, interval: String| {
        rows.push(format!("| {set} | {name} | {value:.4} | {interval} |\n"));
    };
    if let Some(accuracy) = evaluation.accuracy {
        let interval = match (evaluation.accuracy_low, evaluation.accuracy_high) {
            (Some(low), Some(high)) => format!("{low:.3} to {high:.3}"),
            _ => String::new(),
        };
        row("accuracy", accuracy, interval);
    }
    if let Some(balanced) = evaluation.balanced_accuracy {
        row("balanced accuracy", balanced, String::new());
    }
    for (name, value) in &evaluation.metrics {
        row(metric_title(name), *value, String::new());
    }
    for target in &evaluation.targets {
        for (name, value) in &target.metrics {
            row(&format!("{}: {}", target.target, metric_title(name)), *value, String::new());
        }
    }
    row("loss", evaluation.loss, String::new());
    rows.concat()
}

fn use_it(saved: &SavedModel) -> String {
    let evaluate = match &saved.task[..] {
        "image-classification" => "DIR            # DIR/CLASS/*",
        _ => "TABLE.csv",
    };
    format!(
        "## Use\n\n```\ntl predict THIS-FOLDER photo.jpg\ntl evaluate THIS-FOLDER {evaluate}\n\
         tl export THIS-FOLDER --format onnx\n```\n\n\
         `tl.json` says how an image becomes the input of the net, for other programs.\n"
    )
}

fn training(run: &Run) -> String {
    let manifest = &run.manifest;
    let mut text = "## Training\n\n".to_owned();
    if let Some(summary) = &run.summary {
        text += &format!(
            "{} epochs in {}; the weights are those of epoch {} (phase `{}`).\n\n",
            summary.epochs,
            ui::seconds(summary.seconds),
            summary.best.epoch,
            summary.best.phase
        );
    }
    text += &format!(
        "To repeat it on the same images:\n\n```\ntl finetune --config spec.json --data DIR\n```\n\n\
         Version {}, libtorch {}, {} threads on {}.\n",
        manifest.version, manifest.machine.libtorch, manifest.machine.threads, manifest.machine.cpu
    );
    text
}

fn licence(saved: &SavedModel) -> String {
    format!(
        "## Licence\n\nThat of the weights it was made from: {} (`LICENCE.txt`).\n",
        saved.pretrained.licence
    )
}

//! The model card of a package: what a person has to know of a model before using it (Mitchell et al. 2018,
//! arXiv:1810.03993), as far as the run knows it. What the model is meant for, nobody but its maker can say, and the card
//! says that.

use tl_run::{Evaluation, Run, metric_title};
use tl_train::{Model, Pretrained, SavedModel};

use crate::ui;

/// What a folder is for.
#[derive(Clone, Debug)]
pub(super) enum For {
    /// A package.
    Here,
    /// What loads it, in the name of a library and in lines of Python; and what has to be known of that.
    Python { library: &'static str, lines: String, notes: String },
}

/// `README.md`.
pub(super) fn text((saved, model): (&SavedModel, &Model), run: Option<&Run>, whom: For) -> String {
    let of = if saved.text.is_some() { "text" } else { "image" };
    let none = if saved.text.is_some() { "that is about" } else { "that shows" };
    let sections = [
        front(saved, &whom),
        about(saved, model),
        run.map_or_else(String::new, |run| data(run, of)),
        run.map_or_else(String::new, |run| results(run, of)),
        format!(
            "## Intended use\n\nTo be written by whoever passes this model on: what it is for, whose {of}s it was made with, \
             and what it must not be used for. It answers every {of} with one of its own classes or labels, also one \
             {none} none of them.\n"
        ),
        use_it(saved, &whom),
        run.map_or_else(String::new, |run| training(run, of)),
        licence(&saved.pretrained),
    ];
    sections.into_iter().filter(|section| !section.is_empty()).collect::<Vec<_>>().join("\n")
}

/// What sites that list models read.
fn front(saved: &SavedModel, whom: &For) -> String {
    let task = match &saved.task[..] {
        "image-regression" => "image-feature-extraction",
        task if task.starts_with("text-") => "text-classification",
        _ => "image-classification",
    };
    let library = match whom {
        For::Here => String::new(),
        For::Python { library, .. } => format!("library_name: {library}\n"),
    };
    let licence = licence_tag(&saved.pretrained);
    format!(
        "---\nlicense: {licence}\n{library}pipeline_tag: {task}\ntags:\n- {task}\n- {}\n---\n",
        saved.backbone
    )
}

fn licence_tag(from: &Pretrained) -> String {
    match &from.licence[..] {
        "unknown" => "other".to_owned(),
        name => name.to_lowercase(),
    }
}

/// `README.md` of a pretrained net without a head.
pub(super) fn embeddings(net: &str, from: &Pretrained, whom: &For) -> String {
    let For::Python { library, lines, notes } = whom else { return String::new() };
    format!(
        "---\nlicense: {}\nlibrary_name: {library}\npipeline_tag: feature-extraction\n---\n\n\
         # {net}\n\nPooled features of texts. Weights `{}`, {}.\n{notes}\n\
         ## Use\n\n```python\n{lines}\n```\n\n{}",
        licence_tag(from),
        from.name,
        from.source,
        licence(from)
    )
}

fn about(saved: &SavedModel, model: &Model) -> String {
    let things = super::things(&saved.task);
    let shown: Vec<String> = saved.classes.iter().take(20).map(|class| format!("`{class}`")).collect();
    let more = saved.classes.len().saturating_sub(shown.len());
    let more = if more > 0 { format!(" and {more} more (`classes.txt`)") } else { String::new() };
    let params: usize = model.tensors().map(|param| param.tensor.numel()).sum();
    let input = match (&saved.preprocess, &saved.text) {
        (Some(preprocess), _) => format!("RGB, {0} × {0} pixels", preprocess.input),
        (None, text) => {
            format!("texts of up to {} tokens", text.as_ref().map_or(0, |text| text.max_length))
        }
    };
    let head = String::from(saved.head.clone());
    let from = &saved.pretrained;
    format!(
        "# {} for {} {things}\n\n\
         {}{more}.\n\n\
         | | |\n|---|---|\n\
         | net | `{}`, head `{head}` |\n\
         | task | {} |\n\
         | values | {params} |\n\
         | input | {input} |\n\
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

fn data(run: &Run, of: &str) -> String {
    let data = &run.manifest.data;
    format!(
        "## Data\n\n\
         {} training, {} validation and {} test {of}s. {}\n\n\
         | | sha256 over names and bytes |\n|---|---|\n\
         | training {of}s | `{}` |\n| validation {of}s | `{}` |\n",
        data.train_images, data.val_images, data.test_images, data.split, data.train_sha256, data.val_sha256
    )
}

fn results(run: &Run, of: &str) -> String {
    let Some(summary) = &run.summary else {
        return "## Results\n\nThe run did not come to its end; nothing was measured.\n".to_owned();
    };
    let mut text = format!(
        "## Results\n\nOf the model as it is in this folder. The validation {of}s picked its best epoch, so on them it looks \
         a little better than it is.\n\n| {of}s | measure | value | 95 % interval |\n|---|---|---|---|\n"
    );
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

fn use_it(saved: &SavedModel, whom: &For) -> String {
    if let For::Python { lines, notes, .. } = whom {
        return format!("## Use\n\n```python\n{lines}\n```\n{notes}");
    }
    let evaluate = match &saved.task[..] {
        "image-classification" => "DIR            # DIR/CLASS/*",
        _ => "TABLE.csv",
    };
    let (one, becomes) = match saved.text {
        Some(_) => ("\"A text.\"", "the tokens of a text become"),
        None => ("photo.jpg", "an image becomes"),
    };
    format!(
        "## Use\n\n```\ntl predict THIS-FOLDER {one}\ntl evaluate THIS-FOLDER {evaluate}\n\
         tl export THIS-FOLDER --format onnx\n```\n\n\
         `tl.json` says how {becomes} the input of the net, for other programs.\n"
    )
}

fn training(run: &Run, of: &str) -> String {
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
        "To repeat it on the same {of}s:\n\n```\ntl finetune --config spec.json --data DIR\n```\n\n\
         Version {}, libtorch {}, {} threads on {}.\n",
        manifest.version, manifest.machine.libtorch, manifest.machine.threads, manifest.machine.cpu
    );
    text
}

fn licence(from: &Pretrained) -> String {
    format!("## Licence\n\nThat of the weights it was made from: {} (`LICENCE.txt`).\n", from.licence)
}

//! From words to a run: the arguments, or an earlier run's `spec.json`, become a [`Spec`] with every value filled in.
//!
//! All that is wrong is collected and reported together, before anything is fetched or written.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tl_backbones::Card;
use tl_data::{Augment, Augmentation, Task};
use tl_finetune::{Metric, Preset, Schedule};
use tl_heads::{HeadSpec, Part};
use tl_train::{Compute, Precision};

use crate::args::{Of, Pooling, Settings};
use crate::dataset::{Source, absolute};
use crate::errors::Problems;
use crate::prepare;
use crate::texts::{self, TextNet, TextSpec};

/// `spec.json`: everything that decides a run's result but the machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spec {
    /// Version of this format.
    pub(crate) format: u32,
    pub(crate) data: PathBuf,
    /// What is said of texts; none of images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<TextSpec>,
    /// How it is read and split.
    #[serde(default)]
    pub(crate) source: Source,
    pub(crate) val_fraction: f64,
    pub(crate) backbone: String,
    /// A name of the card, or a file.
    pub(crate) weights: String,
    pub(crate) head: HeadSpec,
    /// What its outputs mean.
    #[serde(default)]
    pub(crate) outputs: Outputs,
    pub(crate) dropout: f64,
    /// Height and width of the net's input; chosen from the images where it is not given.
    pub(crate) image_size: Option<u32>,
    pub(crate) augment: Augmentation,
    /// The short side to which images are shrunk before they are augmented; 0 for never, and by their size where it is not
    /// given.
    #[serde(default)]
    pub(crate) shrink: Option<u32>,
    /// The phases; made from the preset where they are not given.
    pub(crate) schedule: Option<Schedule>,
    /// Images in a training step.
    pub(crate) batch: usize,
    pub(crate) label_smoothing: f64,
    /// Gamma of the focal loss; 0 is plain cross-entropy.
    #[serde(default)]
    pub(crate) focal: f64,
    #[serde(default)]
    pub(crate) class_weights: ClassWeights,
    /// Rare classes are drawn more often.
    #[serde(default)]
    pub(crate) balanced_sampling: bool,
    /// What the best weights are picked by; chosen from the classes where it is not given.
    #[serde(default)]
    pub(crate) monitor: Option<Metric>,
    /// What the net may be computed in.
    #[serde(default)]
    pub(crate) precision: Precision,
    /// What was found to be fastest with that; found anew where it is not given.
    #[serde(default)]
    pub(crate) compute: Option<Compute>,
    pub(crate) seed: u64,
    pub(crate) cache_budget_mib: u64,
    pub(crate) skip_bad: bool,
    /// Go on where the weights fit only in part.
    #[serde(default)]
    pub(crate) partial_weights: bool,
}

/// What the head's outputs mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outputs {
    /// One probability a class.
    #[default]
    Softmax,
    /// One sigmoid for two classes.
    Binary,
    /// One sigmoid a label.
    MultiLabel,
    /// Numbers.
    Regression,
    /// One probability a tag, for each word.
    Tags,
}

impl Outputs {
    /// What there is to learn of each image.
    pub(crate) fn of_data(self) -> Task {
        match self {
            Self::Softmax | Self::Binary => Task::Class,
            // A sentence has the kinds of its entities, by which it is split.
            Self::MultiLabel | Self::Tags => Task::MultiLabel,
            Self::Regression => Task::Number,
        }
    }

    /// The word of `--classes`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Softmax => "softmax",
            Self::Binary => "binary",
            Self::MultiLabel => "multi-label",
            Self::Regression => "regression",
            Self::Tags => "tags",
        }
    }

    /// Of classes what is usual; labels are often there and unsure, and numbers have none.
    fn label_smoothing(self) -> f64 {
        if self.of_data() == Task::Class { 0.1 } else { 0.0 }
    }
}

/// How much each class counts in the loss, or the presence of each label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ClassWeights {
    /// As much as it has images.
    #[default]
    None,
    /// All alike; the presence of a label as much as its absence.
    Balanced,
    /// By its effective number of images (Cui et al. 2019, arXiv:1901.05555).
    Effective,
}

fn parse_class_weights(text: &str) -> anyhow::Result<ClassWeights> {
    match text {
        "none" => Ok(ClassWeights::None),
        "balanced" => Ok(ClassWeights::Balanced),
        "effective" => Ok(ClassWeights::Effective),
        _ => anyhow::bail!("--class-weights is `{text}`, expected none, balanced or effective"),
    }
}

/// `softmax`, `binary`, `multi-label`, `regression`, `tags`, or the number of classes that the folder should have.
fn parse_classes(text: &str) -> anyhow::Result<(Outputs, Option<usize>)> {
    match (text, text.parse()) {
        ("softmax", _) => Ok((Outputs::Softmax, None)),
        ("binary", _) => Ok((Outputs::Binary, None)),
        (_, Ok(classes @ 2..)) => Ok((Outputs::Softmax, Some(classes))),
        ("multi-label", _) => Ok((Outputs::MultiLabel, None)),
        ("regression", _) => Ok((Outputs::Regression, None)),
        ("tags", _) => Ok((Outputs::Tags, None)),
        _ => anyhow::bail!(
            "--classes is `{text}`, expected `softmax`, `binary`, `multi-label`, `regression`, `tags`, or a number of classes from 2"
        ),
    }
}

/// The net by its name.
#[derive(Clone, Debug)]
pub(crate) enum Net {
    /// A row of the table.
    Image(&'static Card),
    /// One that takes texts.
    Text(Box<TextNet>),
}

/// A spec whose words have been looked up.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) spec: Spec,
    pub(crate) net: Net,
    /// Makes the schedule when the spec has none yet.
    pub(crate) preset: Preset,
    /// The part of the net that the preset trains after the head.
    pub(crate) unfreeze: Option<String>,
    /// The number of classes that there should be.
    pub(crate) classes: Option<usize>,
    /// Whether the number of images decides the augmentation.
    pub(crate) augment_auto: bool,
    /// Epochs by phase, where the preset's are not wanted.
    pub(crate) epochs: Option<Vec<u32>>,
    /// Views of each image to keep, where the preset's are not wanted.
    pub(crate) views: Option<u32>,
    /// The number of training samples, once it is known.
    pub(crate) samples: Option<usize>,
}

pub(crate) const FORMAT: u32 = 6;
pub(crate) const DEFAULT_BACKBONE: &str = "efficientnet-lite0";

/// Looks up and checks everything that needs neither images nor weights.
pub(crate) fn resolve(args: &Settings, problems: &mut Problems) -> Option<Resolved> {
    let base = match &args.config {
        Some(path) => problems.take(read(path))?,
        None if args.texts.task == Some(Of::Text) => defaults_for_texts(),
        None => defaults(),
    };
    let texts = base.text.is_some();
    texts::check_words(args, base.text.as_ref(), problems);
    let given = |value: &Option<String>, old: &str| value.clone().unwrap_or_else(|| old.to_owned());
    let preset = match &args.preset {
        Some(name) => problems.take(name.parse::<Preset>().map_err(anyhow::Error::from)),
        None => None,
    };
    let (outputs, classes) = match &args.classes {
        Some(text) => problems.take(parse_classes(text)).unwrap_or_default(),
        // Only a new run on texts looks what its data has.
        None if texts && args.config.is_none() && texts::has_tags(args) => (Outputs::Tags, None),
        None => (base.outputs, None),
    };
    let outputs = match outputs {
        Outputs::Tags if !texts => {
            problems.add(anyhow::anyhow!(
                "--classes is tags, and these are images\n\nhint: tags are for words: --task text"
            ));
            base.outputs
        }
        outputs => outputs,
    };
    if preset.is_some_and(|preset| !preset.takes_part()) && args.unfreeze.is_some() {
        let hint = "hint: this preset says itself what trains when; two-step and surgical take a part";
        problems.add(anyhow::anyhow!("--preset and --unfreeze are both given\n\n{hint}"));
    }
    let makes_schedule = args.preset.is_some() || args.unfreeze.is_some();
    if makes_schedule && args.schedule.is_some() {
        let hint =
            "hint: the file says all that trains; a preset is the start of one: tl plan --preset NAME --json";
        problems.add(anyhow::anyhow!("--schedule is given beside --preset or --unfreeze\n\n{hint}"));
    }
    let schedule = args.schedule.as_deref().and_then(|path| problems.take(read_schedule(path)));
    let class_weights = match &args.class_weights {
        Some(text) => problems.take(parse_class_weights(text)).unwrap_or_default(),
        None => base.class_weights,
    };
    let monitor = match &args.monitor {
        Some(name) => {
            problems.take(name.parse::<Metric>().map_err(|error| anyhow::anyhow!("--monitor: {error}")))
        }
        None => base.monitor,
    };
    let augment_auto = args.augment.as_deref() == Some("auto");
    let augment = match args.augment.as_deref().filter(|_| !augment_auto) {
        Some(text) => {
            problems.take(crate::augment::augmentation(text)).unwrap_or_else(|| base.augment.clone())
        }
        None => base.augment.clone(),
    };
    let backbone = given(&args.backbone, &base.backbone);
    // What an earlier run chose for its net says nothing about another one.
    let same_net = backbone == base.backbone;
    let net = problems.take(match texts {
        false => tl_backbones::find(&backbone).map(Net::Image).map_err(anyhow::Error::from),
        true => texts::find(&backbone).map(|net| Net::Text(Box::new(net))),
    });
    let weights = match &args.weights {
        Some(weights) => weights.clone(),
        None if same_net => base.weights.clone(),
        None => String::new(),
    };
    let pooling = texts::pooling(args, base.text.as_ref(), problems);
    let head = match (&args.head, &net) {
        (None, Some(Net::Text(net))) if pooling.is_some() => {
            pooling.and_then(|pooling| problems.take(net.head(pooling, &weights)))
        }
        (Some(text), _) => problems.take(text.parse().map_err(anyhow::Error::from)),
        (None, Some(Net::Image(card))) if args.config.is_none() => Some(prepare::default_head(card)),
        (None, Some(Net::Text(_))) if outputs == Outputs::Tags => Some(tl_heads::Pool::Tokens.into()),
        (None, Some(Net::Text(net))) if args.config.is_none() => Some(net.pool.into()),
        (None, _) => Some(base.head.clone()),
    };
    let card = match &net {
        Some(Net::Image(card)) => Some(*card),
        _ => None,
    };
    let data = data_folder(args, &base, problems).unwrap_or_default();
    let same_data = args.data.is_none() || data == base.data;
    let mut text = base.text.as_ref().map(|text| text.merged(&args.texts, same_data));
    if let Some(text) = &mut text {
        text.pooler = pooling == Some(Pooling::Pooler);
    }
    if let (Some(text), Some(Net::Text(net)), None) = (&mut text, &net, args.texts.max_length) {
        // Where nobody says, no more than the net takes.
        let most = net.config.max_tokens().and_then(|most| usize::try_from(most).ok());
        text.max_length = text.max_length.min(most.unwrap_or(usize::MAX));
    }
    let source = Source { task: outputs.of_data(), ..Source::merged(&args.source, &base.source, same_data) };
    source.check_names(problems);
    if args.val_fraction.is_some() && (source.split.is_some() || source.folds.is_some()) {
        problems.add(anyhow::anyhow!(
            "--val-fraction is given, and --split or --folds already says which images validate"
        ));
    }
    // What was found for one piece of work says nothing about another.
    let same_work = same_net
        && same_data
        && !makes_schedule
        && schedule.is_none()
        && args.precision.is_none()
        && args.texts.max_length.is_none()
        && args.image_size.is_none()
        && args.batch.is_none();
    let epochs = args.epochs.as_deref().map(|text| problems.take(parse_epochs(text)));
    let dropout = args.dropout.unwrap_or_else(|| default_dropout(args, &base));
    let spec = Spec {
        format: FORMAT,
        data,
        text,
        source,
        val_fraction: args.val_fraction.unwrap_or(base.val_fraction),
        backbone,
        weights: match &args.weights {
            Some(weights) => name_or_path(card, weights),
            None if same_net => base.weights.clone(),
            None => String::new(),
        },
        head: head.unwrap_or(base.head),
        outputs,
        dropout,
        image_size: args.image_size.or(base.image_size.filter(|_| same_net)),
        augment,
        shrink: args.shrink.or(base.shrink),
        schedule: schedule.or_else(|| base.schedule.filter(|_| same_net && !makes_schedule)),
        batch: args.batch.unwrap_or(base.batch),
        label_smoothing: args.label_smoothing.unwrap_or(match base.outputs.of_data() == outputs.of_data() {
            true => base.label_smoothing,
            false => outputs.label_smoothing(),
        }),
        focal: args.focal.unwrap_or(base.focal),
        class_weights,
        balanced_sampling: args.balanced_sampling || base.balanced_sampling,
        monitor,
        precision: args.precision.unwrap_or(base.precision),
        compute: base.compute.filter(|_| same_work),
        seed: args.seed.unwrap_or(base.seed),
        cache_budget_mib: args.cache_budget.unwrap_or(base.cache_budget_mib),
        skip_bad: args.skip_bad || base.skip_bad,
        partial_weights: args.partial_weights || base.partial_weights,
    };
    check_ranges(&spec, problems);
    check_task(&spec, problems);
    let (unfreeze, epochs) = (args.unfreeze.clone(), epochs.flatten());
    // One that takes no part is reported already; the part is looked up all the same.
    let preset = preset.filter(|preset| unfreeze.is_none() || preset.takes_part());
    let preset = preset.unwrap_or(if unfreeze.is_some() { Preset::TwoStep } else { Preset::Gradual });
    let views = args.views;
    Some(Resolved { spec, net: net?, preset, unfreeze, classes, augment_auto, epochs, views, samples: None })
}

/// A head that says where it drops out is not given more.
fn default_dropout(args: &Settings, base: &Spec) -> f64 {
    let head = args.head.as_deref().and_then(|text| text.parse::<HeadSpec>().ok());
    let drops = |part: &Part| matches!(part, Part::Dropout(_));
    if head.is_some_and(|head| head.parts().iter().any(drops)) { 0.0 } else { base.dropout }
}

/// What fine-tuning of transformers on texts is usually done with.
fn defaults_for_texts() -> Spec {
    Spec {
        text: Some(TextSpec::default()),
        backbone: texts::DEFAULT_BACKBONE.to_owned(),
        dropout: 0.1,
        augment: Augment::none().into(),
        ..defaults()
    }
}

fn defaults() -> Spec {
    Spec {
        format: FORMAT,
        data: PathBuf::new(),
        text: None,
        source: Source::default(),
        val_fraction: 0.2,
        backbone: DEFAULT_BACKBONE.to_owned(),
        weights: String::new(),
        head: HeadSpec::from(tl_heads::Pool::Average),
        outputs: Outputs::default(),
        dropout: 0.2,
        image_size: None,
        augment: Augment::basic().into(),
        shrink: None,
        schedule: None,
        batch: 16,
        label_smoothing: Outputs::default().label_smoothing(),
        focal: 0.0,
        class_weights: ClassWeights::None,
        balanced_sampling: false,
        monitor: None,
        precision: Precision::Auto,
        compute: None,
        seed: 42,
        cache_budget_mib: 4096,
        skip_bad: false,
        partial_weights: false,
    }
}

fn read(path: &Path) -> anyhow::Result<Spec> {
    const WHAT: &str = "run specification";
    // A newer format is said to be that, whatever else of it is unknown here.
    let mut value: serde_json::Value = tl_run::RunDir::read_json(path, WHAT)?;
    let format = value.get("format").and_then(serde_json::Value::as_u64).unwrap_or(0);
    anyhow::ensure!(
        format <= u64::from(FORMAT),
        "`{}` has format {format}, this version knows up to {FORMAT}\n\nhint: use a newer `tl`",
        path.display(),
    );
    // Read again where nothing had to be changed, so that an error has its line.
    let mut spec: Spec = if format < 4 && rename_optimizer(&mut value) {
        serde_json::from_value(value).map_err(|error| tl_run::RunError::Invalid {
            path: path.to_owned(),
            what: WHAT,
            reason: error.to_string(),
        })?
    } else {
        tl_run::RunDir::read_json(path, WHAT)?
    };
    if format < 3 {
        // Before it was written down, nothing was shrunk.
        spec.shrink = Some(0);
    }
    if format < 5 {
        // Before there was a choice.
        (spec.precision, spec.compute) = (Precision::F32, Some(Compute::default()));
    }
    spec.format = FORMAT;
    spec.source = spec.source.relative_to(path.parent().unwrap_or(Path::new("")));
    Ok(spec)
}

/// The phases in a file of their own.
fn read_schedule(path: &Path) -> anyhow::Result<Schedule> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| anyhow::anyhow!("--schedule `{}` cannot be read: {error}", path.display()))?;
    Schedule::from_json(&text).map_err(|error| {
        anyhow::anyhow!(
            "--schedule `{}` is no list of phases: {error}\n\nhint: `tl plan --preset NAME --json` prints one to edit",
            path.display()
        )
    })
}

/// Before format 4 `optimizer` was `fresh` or `keep`, which is now `optimizer_state`. Whether there was any.
fn rename_optimizer(spec: &mut serde_json::Value) -> bool {
    let phases = spec.get_mut("schedule").and_then(serde_json::Value::as_array_mut);
    let mut renamed = false;
    for phase in phases.into_iter().flatten().filter_map(serde_json::Value::as_object_mut) {
        if let Some(state) = phase.remove("optimizer") {
            phase.insert("optimizer_state".to_owned(), state);
            renamed = true;
        }
    }
    renamed
}

fn data_folder(args: &Settings, base: &Spec, problems: &mut Problems) -> Option<PathBuf> {
    let folder = match &args.data {
        Some(folder) => folder.clone(),
        None if !base.data.as_os_str().is_empty() => base.data.clone(),
        None if base.text.is_some() => problems.take(embedded(texts::TEXTS, "labelled texts"))?,
        None => problems.take(embedded(IMAGES, "a folder of labelled images"))?,
    };
    // What is not there is reported when the folder is opened, under the name that was given.
    let folder = absolute(&folder);
    if folder.to_str().is_none() {
        let hint = "hint: rename the folder, or give a link to it";
        problems.add(anyhow::anyhow!("--data `{}` is not a name in UTF-8\n\n{hint}", folder.display()));
    }
    Some(folder)
}

/// The set of images that comes with the project.
pub(crate) const IMAGES: &str = "datasets/fashion-mnist-small";

/// A published name as it is; a file by its whole path, so that the spec can be repeated from any folder.
fn name_or_path(card: Option<&Card>, weights: &str) -> String {
    if card.is_some_and(|card| card.find_weights(weights).is_some()) {
        return weights.to_owned();
    }
    let path = Path::new(weights).canonicalize().ok();
    path.and_then(|path| path.to_str().map(str::to_owned)).unwrap_or_else(|| weights.to_owned())
}

/// A dataset that comes with the project: below the current folder, or where this program was built.
pub(crate) fn embedded(relative: &str, what: &str) -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("."));
    [PathBuf::from(relative), root.join(relative)].into_iter().find(|path| path.is_dir()).ok_or_else(|| {
        anyhow::anyhow!(
            "no --data given, and the dataset of the project is not here\n\n\
             hint: give {what} with --data PATH, or run this in a checkout of the project"
        )
    })
}

fn parse_epochs(text: &str) -> anyhow::Result<Vec<u32>> {
    let number = |part: &str| part.trim().parse::<u32>().ok().filter(|n| *n > 0);
    text.split(',').map(number).collect::<Option<_>>().ok_or_else(|| {
        anyhow::anyhow!("--epochs is `{text}`, expected one number from 1 for each phase, as `30,8,2`")
    })
}

fn check_ranges(spec: &Spec, problems: &mut Problems) {
    let mut check = |holds: bool, flag: &str, got: String, expected: &str| {
        if !holds {
            problems.add(anyhow::anyhow!("--{flag} is {got}, expected {expected}"));
        }
    };
    let unit = |x: f64| (0.0..1.0).contains(&x);
    check(unit(spec.dropout), "dropout", spec.dropout.to_string(), "0 or more, below 1");
    let smoothing = spec.label_smoothing;
    check(unit(smoothing), "label-smoothing", smoothing.to_string(), "0 or more, below 1");
    check((0.0..=10.0).contains(&spec.focal), "focal", spec.focal.to_string(), "0 to 10");
    let fraction = spec.val_fraction;
    check(fraction > 0.0 && fraction < 1.0, "val-fraction", fraction.to_string(), "above 0, below 1");
    check((1..=65_536).contains(&spec.batch), "batch", spec.batch.to_string(), "1 to 65536");
}

/// What has no meaning for labels or numbers.
fn check_task(spec: &Spec, problems: &mut Problems) {
    let task = spec.outputs.of_data();
    let (several, numbers, tags) = (task != Task::Class, task == Task::Number, spec.outputs == Outputs::Tags);
    let smooths = spec.schedule.iter().flat_map(|schedule| &schedule.phases);
    let smooths = smooths.filter(|phase| phase.label_smoothing.is_some_and(|part| part > 0.0)).count() > 0;
    texts::check_tags(spec, problems);
    let refused = [
        (
            several && spec.balanced_sampling,
            "--balanced-sampling is given, which draws classes alike",
            "leave it out; of labels, --class-weights balanced makes up for rare ones",
        ),
        (
            numbers && spec.class_weights != ClassWeights::None,
            "--class-weights is given, which weighs classes or labels",
            "leave it out; single images are weighed with --weight-column",
        ),
        (
            several && !numbers && !tags && spec.class_weights == ClassWeights::Effective,
            "--class-weights is effective, which is for one class an image",
            "--class-weights balanced",
        ),
        (
            numbers && spec.focal > 0.0,
            "--focal is given, which is a loss of classes or labels",
            "leave it out",
        ),
        (
            numbers && (spec.label_smoothing > 0.0 || smooths),
            "label smoothing is given, which is for classes or labels",
            "leave it out, or set --label-smoothing 0; of a phase, take `label_smoothing` out of the schedule",
        ),
    ];
    for (_, what, hint) in refused.into_iter().filter(|(refused, ..)| *refused) {
        problems.add(anyhow::anyhow!("--classes is {}, and {what}\n\nhint: {hint}", spec.outputs.word()));
    }
}

#[cfg(test)]
mod tests {
    use tl_finetune::OptimizerState;

    use super::*;

    #[test]
    fn phases_of_older_formats_are_read() {
        let phase = |optimizer: &str| {
            serde_json::json!({
                "name": optimizer, "train": [{ "stage": "head", "rate": 0.001 }], "epochs": 3, "augment": false,
                "curve": { "shape": "cosine", "warmup": 0.1 }, "batch_norm": "frozen", "optimizer": optimizer,
                "restore_best": true, "weight_decay": 0.01
            })
        };
        let mut spec = serde_json::to_value(defaults()).unwrap();
        spec["schedule"] = serde_json::json!([phase("fresh"), phase("keep")]);
        let dir = std::env::temp_dir().join(format!("tl-older-spec-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("spec.json");
        let mut read_as = |format: u32| {
            spec["format"] = format.into();
            std::fs::write(&path, spec.to_string()).unwrap();
            read(&path)
        };
        for format in [1, 2, 3] {
            let spec = read_as(format).unwrap();
            assert_eq!((spec.precision, spec.compute), (Precision::F32, Some(Compute::default())));
            let phases = spec.schedule.unwrap().phases;
            let states: Vec<OptimizerState> = phases.iter().map(|phase| phase.optimizer_state).collect();
            assert_eq!(states, [OptimizerState::Fresh, OptimizerState::Keep]);
        }
        // Now `optimizer` is the name of one.
        let error = read_as(FORMAT).unwrap_err().to_string();
        assert!(error.contains("unknown variant `fresh`"), "{error}");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}

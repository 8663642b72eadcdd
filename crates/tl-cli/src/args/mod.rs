//! The command line, as parsed: no side effects, nothing looked up. What the words mean is decided in `spec`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tl_train::{Looks, Precision};

use crate::predict::Format;

mod explain;
mod export;
mod rank;
mod runs;
mod serve;
mod text;
mod texts;
mod train;

pub(crate) use explain::ExplainArgs;
pub(crate) use export::{ExportArgs, ExportFormat};
pub(crate) use rank::RankArgs;
pub(crate) use runs::{CompareArgs, ListArgs, RemoveArgs, ReproduceArgs, RunsCommand, ShowArgs};
pub(crate) use serve::ServeArgs;
pub(crate) use text::{TextArgs, TextCommand, TextDoctorArgs, TextFitArgs, TextPredictArgs, TextSourceArgs};
pub(crate) use texts::{LoraWords, Of, Pooling, TextColumns, TextWords};
pub(crate) use train::{
    CacheArgs, ColumnArgs, FinetuneArgs, LrFindArgs, PlanArgs, Settings, SourceArgs, ThreadArgs,
};

/// Fine-tune pretrained nets on your images or texts.
#[derive(Debug, Parser)]
#[command(name = "tl", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Fine-tune a pretrained net on a folder of labelled images, or on texts.
    ///
    /// With no arguments: on the small Fashion-MNIST set that comes with the project; with --task text alone, on the
    /// movie-review snippets.
    /// The folder is DIR/train/CLASS/*, DIR/val/CLASS/* (and test/), or DIR/CLASS/*, which is then split.
    #[command(after_help = FINETUNE_EXAMPLES)]
    Finetune(Box<FinetuneArgs>),
    /// Say what `finetune` would do and what it would cost, measured in a few seconds, without doing it.
    ///
    /// Takes the settings of `finetune`.
    #[command(after_help = PLAN_EXAMPLES)]
    Plan(Box<PlanArgs>),
    /// Try rising learning rates, and suggest one.
    ///
    /// Takes the settings of `finetune`. Nothing is written, and no weights are kept.
    #[command(after_help = LR_FIND_EXAMPLES)]
    LrFind(Box<LrFindArgs>),
    /// Compare pretrained nets on your images by probes of their features, and recommend one.
    #[command(after_help = rank::EXAMPLES)]
    Rank(RankArgs),
    /// List, show, compare, repeat and delete runs that are there.
    #[command(after_help = runs::EXAMPLES)]
    Runs(RunsArgs),
    /// Measure a fine-tuned model on a folder of labelled images, a table, or texts.
    #[command(after_help = EVALUATE_EXAMPLES)]
    Evaluate(EvaluateArgs),
    /// Say what images show, or texts say.
    #[command(after_help = PREDICT_EXAMPLES)]
    Predict(PredictArgs),
    /// Answer questions about images or texts over HTTP, with a page for people.
    #[command(after_help = serve::EXAMPLES)]
    Serve(ServeArgs),
    /// Draw where in images a model found its answers.
    #[command(after_help = explain::EXAMPLES)]
    Explain(ExplainArgs),
    /// Write the features of images or texts to a file, for use elsewhere.
    #[command(after_help = FEATURES_EXAMPLES)]
    Features(FeaturesArgs),
    /// Write a model for use elsewhere: TorchScript, ONNX, timm's safetensors, or a package with a model card.
    #[command(after_help = export::EXAMPLES)]
    Export(ExportArgs),
    /// List a net's layers: shapes, parameters, what trains; totals and memory.
    #[command(after_help = SUMMARY_EXAMPLES)]
    Summary(SummaryArgs),
    /// List the pretrained nets.
    Backbones(BackbonesArgs),
    /// Look into datasets, and fetch public ones.
    Data(DataArgs),
    /// Classify texts: TF-IDF and logistic regression.
    Text(TextArgs),
    /// Draw a sheet of what an augmentation does to images.
    #[command(after_help = AUGMENT_EXAMPLES)]
    Augment(AugmentArgs),
    /// Print a script that completes the words of this program in a shell.
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions(CompletionsArgs),
    /// Write manual pages, one a command.
    #[command(after_help = "Example: tl man --out ~/.local/share/man/man1; man tl-finetune")]
    Man(ManArgs),
}

const COMPLETIONS_EXAMPLES: &str = "Examples:
  tl completions bash > ~/.local/share/bash-completion/completions/tl
  tl completions zsh > ~/.zfunc/_tl                 a folder in $fpath
  tl completions fish > ~/.config/fish/completions/tl.fish";

const EXAMPLES: &str = "First steps:
  tl data inspect photos                 what is in a folder of labelled images
  tl rank --data photos                  which net suits them
  tl plan --data photos                  what would train, and at what cost
  tl finetune --data photos              train; the run is a folder in runs/
  tl predict RUN photo.jpg               use the model
  tl evaluate RUN DIR --report r.html    measure it on other images
  tl export RUN --format onnx            use it elsewhere
  tl runs list                           what there is

Every command explains itself: tl COMMAND --help. Results are on stdout, all else on stderr.";

const FINETUNE_EXAMPLES: &str = "Examples:
  tl finetune --data photos                         all defaults
  tl finetune --data photos --preset feature-extraction --head gap-1024
  tl finetune --data photos --backbone vgg16 --head flatten-256 --classes binary --unfreeze last-4-layers
  tl finetune --data photos --epochs 30,8,4 --seed 7 --run runs/second
  tl finetune --data labels.csv --classes multi-label --label-separator ';'
  tl finetune --data ages.csv --classes regression --label-column age
  tl finetune --task text --data reviews.csv        texts: MiniLM, and TF-IDF beside it
  tl finetune --task text --data pairs.jsonl --backbone bert-base-uncased --preset ulmfit --max-length 64
  tl finetune --task text --data conll              entities: train.txt, dev.txt, test.txt with a word and a tag a line
  tl finetune --config runs/first/spec.json         repeat a run
  tl finetune --resume runs/first                   go on with a run that was stopped";

const PLAN_EXAMPLES: &str = "Examples:
  tl plan --data photos --preset ulmfit
  tl plan --preset gradual --json > phases.json      the phases, to edit
  tl finetune --data photos --schedule phases.json   and to run";

const LR_FIND_EXAMPLES: &str = "Examples:
  tl lr-find --data photos                           of the first phase
  tl lr-find --data photos --preset full --plot rates.svg
  tl lr-find --data photos --phase all --from 1e-6 --to 1e-2";

const EVALUATE_EXAMPLES: &str = "Examples:
  tl evaluate runs/ants photos/test
  tl evaluate runs/ants photos/test --report test.html     mistakes with pictures, calibration, suspicious labels
  tl evaluate runs/ants labels.csv --json --analysis       all of it for a program
  tl evaluate runs/reviews test.csv                        a model of texts";

const PREDICT_EXAMPLES: &str = "Examples:
  tl predict runs/ants photo.jpg more-photos/
  find photos -name '*.jpg' | tl predict runs/ants - --format csv > said.csv
  tl predict runs/ants photos --tta --threshold 0.8     surer answers, and only sure ones
  tl predict --backbone resnet50 --weights mine.pth --raw photo.jpg
  tl predict --backbone efficientnet-lite0 photo.jpg    the pretrained net's own 1,000 classes
  tl predict runs/reviews \"A wonderful film.\" more.txt
  cut -f2 table.tsv | tl predict runs/reviews - --json    a text on each line";

const AUGMENT_EXAMPLES: &str = "Examples:
  tl augment photos --augment medium --out sheet.png
  tl augment photos --augment recipe.json --views 10 --json --out sheet.png > drawn.jsonl

Without --json the recipe is printed, to save and edit.";

const FEATURES_EXAMPLES: &str = "Examples:
  tl features --backbone resnet50 photos --out features.npy               pooled, one row an image
  tl features --backbone resnet50 --stage stage3 --pool gap photos --out stage3.safetensors
  tl features runs/ants photos --raw --out maps.npy                       feature maps, not pooled
  tl features --backbone minilm texts.csv --normalize --out texts.npy     sentence embeddings

The names of the images go beside a .npy file (features.files.txt) or into the metadata of a .safetensors file.";

const SUMMARY_EXAMPLES: &str = "Examples:
  tl summary vgg16                                                        the net without a head
  tl summary bert-base-uncased --max-length 64                            a net of texts
  tl summary --backbone vgg16 --head flatten-256 --classes binary --unfreeze last-4-layers

A layer is whatever has an output of its own: a convolution, a linear layer, a norm, pooling, an addition, and so on, and
an activation unless it directly follows a convolution or linear layer. For VGG and ResNet the list is that of Keras's
model.layers, the input first, so layers[-4:] and layers[100:] mean the same here as there.";

#[derive(Debug, Args)]
pub(crate) struct EvaluateArgs {
    /// Run directory, a folder with its model.json and model.safetensors, or a package (.zip)
    #[arg(value_name = "RUN")]
    pub(crate) run: PathBuf,
    /// Folder of labelled images: DIR/CLASS/*, or one with test/ or val/ inside; or a table of files and labels, of which
    /// the test part is taken, else the validation part, else all. Of a model of texts: a table or folder of labelled texts
    #[arg(value_name = "DATA")]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) columns: ColumnArgs,
    #[command(flatten)]
    pub(crate) texts: TextColumns,
    /// Go on without the images that cannot be decoded
    #[arg(long)]
    pub(crate) skip_bad: bool,
    /// What the net is computed in: auto (what is fastest here, by trying), f32 or bf16 [default: auto]
    #[arg(long, value_name = "auto|f32|bf16")]
    pub(crate) precision: Option<Precision>,
    /// Divide logits by the temperature that the run fitted on its validation samples (arXiv:1706.04599): probabilities then
    /// mean what they say, and the same is said. For models that choose between classes
    #[arg(long)]
    pub(crate) calibrated: bool,
    /// Write a page with everything that was found: confusion, mistakes with pictures, calibration, labels that look wrong.
    /// The file must not exist
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) threads: ThreadArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// With --json: also what the page shows, under `analysis`
    #[arg(long, requires = "json")]
    pub(crate) analysis: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PredictArgs {
    /// Run directory (left out with --backbone), then images, folders of images, tables or lists of them (.csv, .tsv,
    /// .txt), and - for names on standard input, a line each. For a model of texts: texts in quotes, files of texts (tables,
    /// or .txt with a text on each line), and - for texts on standard input, a line each; a model of tags finds entities in
    /// them, or says the tag of each word, and takes files of words with tags as well
    #[arg(value_name = "RUN IMAGE|TEXT", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) texts: TextColumns,
    /// Ask the pretrained net itself, with its published classes
    #[arg(long, value_name = "NAME")]
    pub(crate) backbone: Option<String>,
    /// Its weights: a name from `tl backbones`, or a file
    #[arg(long, value_name = "NAME|FILE", requires = "backbone")]
    pub(crate) weights: Option<String>,
    /// The K likeliest classes or labels for each image [default: 5 classes; labels with a probability from 0.5]
    #[arg(long, visible_alias = "top-k", value_name = "K", conflicts_with = "raw")]
    pub(crate) top: Option<usize>,
    /// Only classes or labels with at least this probability, 0 to 1 [default: 0 of classes, 0.5 of labels]
    #[arg(long, value_name = "P", conflicts_with = "raw")]
    pub(crate) threshold: Option<f32>,
    /// Look at each image several times and take the mean of the answers: flip (its mirror image too), or crops (the four
    /// corners and the centre, each mirrored too; ten times the work)
    #[arg(long, value_name = "flip|crops", num_args = 0..=1, require_equals = true, default_missing_value = "flip", conflicts_with = "raw")]
    pub(crate) tta: Option<Tta>,
    /// The outputs as they come from the net (logits), of all classes or labels, in the order that --json names them. Of a
    /// model with one sigmoid: one, the log-odds of its second class. Of numbers: the numbers, without their names
    #[arg(long)]
    pub(crate) raw: bool,
    /// Divide logits by the temperature that the run fitted on its validation samples (arXiv:1706.04599): probabilities then
    /// mean what they say, and the same is said. For models that choose between classes
    #[arg(long, conflicts_with_all = ["raw", "backbone"])]
    pub(crate) calibrated: bool,
    /// What the net is computed in: auto (what is fastest here, by trying), f32 or bf16 [default: auto]
    #[arg(long, value_name = "auto|f32|bf16")]
    pub(crate) precision: Option<Precision>,
    #[command(flatten)]
    pub(crate) threads: ThreadArgs,
    /// Form of the output [default: table on a terminal, else lines]
    #[arg(long, value_enum, value_name = "FORM")]
    pub(crate) format: Option<Format>,
    /// Print one JSON object a line: --format json
    #[arg(long, conflicts_with = "format")]
    pub(crate) json: bool,
}

/// How an image is looked at more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tta {
    Flip,
    Crops,
}

impl PredictArgs {
    pub(crate) fn looks(&self) -> Looks {
        match self.tta {
            None => Looks::One,
            Some(Tta::Flip) => Looks::Flip,
            Some(Tta::Crops) => Looks::Crops,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct FeaturesArgs {
    /// Run directory (left out with --backbone), then images and folders of images. For a net that takes texts: texts in
    /// quotes, files of texts, and - for texts on standard input, a line each
    #[arg(value_name = "RUN IMAGE|TEXT", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) texts: TextColumns,
    /// Of texts: scale every vector to length 1
    #[arg(long)]
    pub(crate) normalize: bool,
    /// Of texts: the most tokens of a text; longer ones are cut [default: 128, or the run's]
    #[arg(long, value_name = "N")]
    pub(crate) max_length: Option<usize>,
    /// File to write, .npy or .safetensors, which must not exist
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// A pretrained net in place of a run
    #[arg(long, value_name = "NAME")]
    pub(crate) backbone: Option<String>,
    /// Its weights: a name from `tl backbones`, or a file
    #[arg(long, value_name = "NAME|FILE", requires = "backbone")]
    pub(crate) weights: Option<String>,
    /// Go on where a file of weights fits the net only in part; layers that are not in it are random
    #[arg(long, requires = "weights")]
    pub(crate) partial_weights: bool,
    /// Features after this stage [default: the last]
    #[arg(long, value_name = "STAGE")]
    pub(crate) stage: Option<String>,
    /// How they become one vector: gap, max, concat, gem, flatten or cls; of texts mean, cls, max, last or pooler (the
    /// pretrained dense layer on the first token) [default for the last stage: the run's, else gap, or cls for transformers;
    /// other stages are not pooled; of texts what the net was trained with]
    #[arg(long, value_name = "POOL", conflicts_with = "raw")]
    pub(crate) pool: Option<String>,
    /// Feature maps or tokens as they come out of the stage
    #[arg(long)]
    pub(crate) raw: bool,
    /// Height and width of the net's input in pixels [default: the weights' own]
    #[arg(long, value_name = "PX")]
    pub(crate) image_size: Option<u32>,
    /// What the net is computed in: f32, bf16, or auto (what is fastest here, by trying) [default: f32]
    #[arg(long, value_name = "f32|bf16|auto")]
    pub(crate) precision: Option<Precision>,
    /// Go on without the images that cannot be decoded
    #[arg(long)]
    pub(crate) skip_bad: bool,
    #[command(flatten)]
    pub(crate) threads: ThreadArgs,
    /// Print what was written as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SummaryArgs {
    /// Pretrained net of images or texts (`tl backbones` lists them), a repository of the hub, or a folder; of a text net
    /// only the configuration is fetched
    #[arg(value_name = "NET", required_unless_present = "backbone")]
    pub(crate) net: Option<String>,
    /// The same
    #[arg(long, value_name = "NAME", conflicts_with = "net")]
    pub(crate) backbone: Option<String>,
    /// With this on the net: gap, gap-1024, flatten-256, …
    #[arg(long, value_name = "POOL[-PART…]")]
    pub(crate) head: Option<String>,
    /// Outputs of the head: a number of classes, or binary for one sigmoid
    #[arg(long, value_name = "N|binary", default_value = "2", requires = "head")]
    pub(crate) classes: String,
    /// The part of the net that trains, with the head; head for the head alone [default: all]
    #[arg(long, value_name = "PART")]
    pub(crate) unfreeze: Option<String>,
    /// Height and width of the input in pixels [default: the default weights' own]
    #[arg(long, value_name = "PX")]
    pub(crate) image_size: Option<u32>,
    /// Of texts: tokens of a text [default: 128, or the most that the net takes]
    #[arg(long, value_name = "N")]
    pub(crate) max_length: Option<u32>,
    /// Images or texts in a step, for the memory
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub(crate) batch: u64,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BackbonesArgs {
    /// Only nets whose name, family, language, licence or paper has this in it
    #[arg(value_name = "WORD")]
    pub(crate) word: Option<String>,
    /// Only nets of images, or of texts
    #[arg(long, value_enum, value_name = "image|text")]
    pub(crate) task: Option<Of>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DataArgs {
    #[command(subcommand)]
    pub(crate) command: DataCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// Count classes, sizes, formats and colour types of a dataset; only headers are read.
    #[command(after_help = "Example: tl data inspect photos --sheet classes.png")]
    Inspect(DataInspectArgs),
    /// Find broken files, copies, leaks between the parts, contradicting labels and outliers. Exits with 1 if there are
    /// errors.
    #[command(
        after_help = "Copies are found in another size, quality or brightness, and mirrored ones; not those that were \
                      cropped or turned. Which are nearly the same is a guess: --quarantine lists them as comments.\n\n\
                      Example: tl data doctor photos --quarantine bad.txt; tl finetune --data photos --exclude bad.txt"
    )]
    Doctor(DataDoctorArgs),
    /// List datasets that can be fetched, with their licences.
    List(DataListArgs),
    /// Fetch a dataset and print the folder to give to --data.
    #[command(after_help = "Example: tl finetune --data $(tl data fetch flower-photos)")]
    Fetch(DataFetchArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DataListArgs {
    /// A list of your own, in the form of the project's datasets/cards.json
    #[arg(long, value_name = "FILE")]
    pub(crate) cards: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DataFetchArgs {
    /// Its name (`tl data list`)
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Folder to make, which must not exist [default: datasets/NAME in the folder of downloads]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// A list of your own, in the form of the project's datasets/cards.json
    #[arg(long, value_name = "FILE")]
    pub(crate) cards: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DataInspectArgs {
    /// Folder of labelled images, or a table of files and labels
    #[arg(value_name = "DIR|FILE")]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// What the table has for each image, if not one class: multi-label or regression (numbers)
    #[arg(long, value_name = "multi-label|regression")]
    pub(crate) classes: Option<String>,
    /// Draw images of each class, or with each label or number, into this .png, which must not exist; more pages become NAME-2.png, …
    #[arg(long, value_name = "FILE")]
    pub(crate) sheet: Option<PathBuf>,
    /// Images of each class on the sheet
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(crate) per_class: usize,
    #[command(flatten)]
    pub(crate) threads: ThreadArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DataDoctorArgs {
    /// Folder of labelled images, or a table of files and labels
    #[arg(value_name = "DIR|FILE")]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// What the table has for each image, if not one class: multi-label or regression (numbers)
    #[arg(long, value_name = "multi-label|regression")]
    pub(crate) classes: Option<String>,
    /// Write a list of the files to leave out, for `finetune --exclude`; it must not exist. Nearly the same pictures are
    /// comments in it
    #[arg(long, value_name = "FILE")]
    pub(crate) quarantine: Option<PathBuf>,
    /// Bits of 64 in which the hashes of nearly the same pictures may differ, 0 to 15
    #[arg(long, value_name = "BITS", default_value_t = 10)]
    pub(crate) near: u32,
    /// Look for exact copies only
    #[arg(long, conflicts_with = "near")]
    pub(crate) exact: bool,
    #[command(flatten)]
    pub(crate) threads: ThreadArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AugmentArgs {
    /// Images and folders of images
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) images: Vec<PathBuf>,
    /// none, basic, light, medium, strong, or a JSON file: a recipe, or the arguments of a Keras ImageDataGenerator
    #[arg(long, value_name = "NAME|FILE", default_value = "basic")]
    pub(crate) augment: String,
    /// The .png to write, which must not exist; more pages become NAME-2.png, …
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Views of each image
    #[arg(long, value_name = "N", default_value_t = 7)]
    pub(crate) views: u32,
    /// Most images, evenly out of all
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(crate) most: usize,
    /// Height and width of the net's input in pixels
    #[arg(long, value_name = "PX", default_value_t = 224)]
    pub(crate) image_size: u32,
    /// Everything random is derived from it; another seed shows other views
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) threads: ThreadArgs,
    /// Print what was drawn for each view, one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Folder to write to, made if it is not there
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct RunsArgs {
    #[command(subcommand)]
    pub(crate) command: RunsCommand,
}

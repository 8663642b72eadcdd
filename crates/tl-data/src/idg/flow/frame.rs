//! Batches of the images that a table lists: Keras's `flow_from_dataframe`.
//!
//! The one decision: a row whose file is missing is an error by default, and all such rows are named together;
//! Keras drops them and prints how many there were, which is how a wrong `directory` becomes an empty run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use ndarray::{Array2, ArrayD, Axis, Ix1};

use super::frame_rows::{Column, Frame};
use super::listing::is_image;
use super::{Batching, ClassMode, FileOptions, Flow, Labels, Source, TargetSource, Values};
use crate::idg::ImageDataGenerator;
use crate::idg::args::{Arg, Args, Reader, fail_if_any};
use crate::idg::error::{IdgError, IdgProblem};
use crate::idg::options::Compat;

const OF: &str = "flow_from_dataframe";

/// The columns of targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetColumns {
    /// None: for flows of images alone.
    None,
    /// One column.
    One(String),
    /// A list of columns, for `raw` and `multi_output`; `raw` makes `[N, 1]` of a list of one.
    Several(Vec<String>),
}

impl TargetColumns {
    /// Their names.
    pub fn names(&self) -> &[String] {
        match self {
            Self::None => &[],
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }

    fn read(arg: &Arg) -> Option<Self> {
        match arg {
            Arg::Null => Some(Self::None),
            Arg::Text(name) => Some(Self::One(name.clone())),
            other => other.texts().map(Self::Several),
        }
    }
}

/// Arguments of older versions that Keras takes and does nothing with.
const DEPRECATED: [&str; 3] = ["drop_duplicates", "has_ext", "sort"];

/// The further arguments of Keras's `flow_from_dataframe`.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameOptions {
    /// How images are put together.
    pub batching: Batching,
    /// How files become images.
    pub files: FileOptions,
    /// Goes before the names of files that are not absolute.
    pub directory: Option<PathBuf>,
    /// The column of file names.
    pub x_col: String,
    /// The column of targets, or several.
    pub y_col: TargetColumns,
    /// The column of weights.
    pub weight_col: Option<String>,
    /// The classes in the order of their numbers, rows of others are left out; all, sorted, with `None` or
    /// without any.
    pub classes: Option<Vec<String>>,
    /// What the targets are; none with `None`.
    pub class_mode: Option<ClassMode>,
    /// Whether to check that all files are there, with a name that ends as one of
    /// [`EXTENSIONS`](crate::idg::EXTENSIONS).
    pub validate_filenames: bool,
    /// Arguments that were given and do nothing, for a warning.
    pub deprecated: Vec<&'static str>,
}

impl Default for FrameOptions {
    fn default() -> Self {
        Self {
            batching: Batching::default(),
            files: FileOptions::default(),
            directory: None,
            x_col: "filename".to_owned(),
            y_col: TargetColumns::One("class".to_owned()),
            weight_col: None,
            classes: None,
            class_mode: Some(ClassMode::Categorical),
            validate_filenames: true,
            deprecated: Vec::new(),
        }
    }
}

impl FrameOptions {
    /// Reads Keras's keyword arguments of `flow_from_dataframe`, without the table.
    ///
    /// # Errors
    /// Names that are not arguments and values that cannot be used, together.
    pub fn from_args(mut args: Args) -> Result<Self, IdgError> {
        if args.get("class_mode") == Some(&Arg::Text("other".to_owned())) {
            args.insert("class_mode".to_owned(), Arg::Text("raw".to_owned()));
        }
        let deprecated = DEPRECATED.into_iter().filter(|name| args.remove(*name).is_some()).collect();
        let mut r = Reader::new(args);
        let options = Self {
            batching: Batching::read(&mut r),
            files: FileOptions::read(&mut r),
            directory: r.optional_text("directory").map(PathBuf::from),
            x_col: r.text("x_col", "filename"),
            y_col: r.take_or_null(
                "y_col",
                TargetColumns::One("class".to_owned()),
                "a text, a list of texts or null",
                TargetColumns::read,
            ),
            weight_col: r.optional_text("weight_col"),
            classes: r.optional_texts("classes"),
            class_mode: r.optional_choice("class_mode", Some(ClassMode::Categorical)),
            validate_filenames: r.flag("validate_filenames", true),
            deprecated,
        };
        r.finish(OF, options)
    }

    fn problems(&self, generator: &ImageDataGenerator) -> Vec<IdgProblem> {
        let mut found = self.batching.problems(generator);
        found.extend(self.files.problems(generator));
        let names = self.y_col.names();
        let expected = match self.class_mode {
            None | Some(ClassMode::Input) => None,
            Some(ClassMode::Raw | ClassMode::MultiOutput) => {
                names.is_empty().then_some("the name of a column, or several")
            }
            Some(_) => (names.len() != 1).then_some("the name of one column"),
        };
        if let Some(expected) = expected {
            let (got, expected) = (format!("{names:?}"), expected.to_owned());
            found.push(IdgProblem::Value { name: "y_col", got, expected });
        }
        found
    }

    /// The classes, if any are given.
    fn given_classes(&self) -> Option<&[String]> {
        self.classes.as_deref().filter(|classes| !classes.is_empty())
    }

    fn warnings(&self, compat: Compat) -> Vec<String> {
        let mut lines = Vec::new();
        for name in &self.deprecated {
            lines.push(format!("`{name}` is an argument of older versions and does nothing"));
        }
        if self.given_classes().is_some() && !ClassMode::has_classes(self.class_mode) {
            lines.push("`classes` has no effect with this `class_mode`".to_owned());
        }
        if self.files.keep_aspect_ratio && compat == Compat::Keras3 {
            lines.push(
                "`keep_aspect_ratio` does nothing in `flow_from_dataframe`, as Keras 3 does not hand it on"
                    .to_owned(),
            );
        }
        lines
    }
}

/// The columns that a flow needs, found in a table.
struct Columns<'a> {
    names: &'a [String],
    y: Vec<&'a Column>,
    weights: Option<&'a [f64]>,
}

impl<'a> Columns<'a> {
    fn find(frame: &'a Frame, options: &FrameOptions, problems: &mut Vec<IdgProblem>) -> Self {
        let mut find = |argument: &'static str, name: &str| {
            let column = frame.column(name);
            if column.is_none() {
                let (column, columns) = (name.to_owned(), frame.names().to_vec());
                problems.push(IdgProblem::NoColumn { argument, column, columns });
            }
            column
        };
        let names = find("x_col", &options.x_col);
        let weights = options.weight_col.as_ref().and_then(|name| find("weight_col", name));
        let needs_y = !matches!(options.class_mode, None | Some(ClassMode::Input));
        let mut y = Vec::new();
        if needs_y {
            y.extend(
                options
                    .y_col
                    .names()
                    .iter()
                    .filter_map(|name| find("y_col", name).map(|column| (name, column))),
            );
        }
        let mut refuse = |column: &str, expected| {
            problems.push(IdgProblem::ColumnKind { column: column.to_owned(), expected });
        };
        for (name, column) in &y {
            if let Some(expected) = kind_for(options, column) {
                refuse(name, expected);
            }
        }
        let y = y.into_iter().map(|(_, column)| column).collect();
        let mut found = Self { names: &[], y, weights: None };
        match names {
            Some(Column::Texts(names)) => found.names = names,
            Some(_) => refuse(&options.x_col, "texts"),
            None => {}
        }
        match (weights, &options.weight_col) {
            (Some(Column::Numbers(weights)), _) => found.weights = Some(weights),
            (Some(_), Some(name)) => refuse(name, "numbers"),
            _ => {}
        }
        found
    }
}

/// What a column of targets has to hold, if it does not.
fn kind_for(options: &FrameOptions, column: &Column) -> Option<&'static str> {
    match (options.class_mode?, column) {
        (ClassMode::Binary | ClassMode::Sparse, Column::Texts(_)) => None,
        (ClassMode::Binary | ClassMode::Sparse, _) => Some("texts"),
        (ClassMode::Categorical, Column::Texts(_) | Column::Lists(_)) => None,
        (ClassMode::Categorical, _) => Some("texts, or lists of texts"),
        (_, Column::Lists(_)) => Some("numbers or texts"),
        (ClassMode::Raw, Column::Texts(_) | Column::Vectors(_)) if options.y_col.names().len() > 1 => {
            Some("numbers, as one of several columns for `raw`")
        }
        _ => None,
    }
}

/// The columns of numbers with values that are not finite in some rows.
fn not_finite_columns(frame: &Frame, options: &FrameOptions, rows: &[usize]) -> Vec<IdgProblem> {
    let targets = match options.class_mode {
        Some(ClassMode::Raw | ClassMode::MultiOutput) => options.y_col.names(),
        _ => &[],
    };
    let problem = |name: &String| {
        let finite = frame.column(name)?.finite(rows);
        let bad: Vec<usize> =
            rows.iter().zip(finite).filter(|(_, finite)| !finite).map(|(&row, _)| row).collect();
        (!bad.is_empty()).then(|| IdgProblem::NotFinite { what: format!("column `{name}`"), rows: bad })
    };
    options.weight_col.iter().chain(targets).filter_map(problem).collect()
}

/// With `binary`, the classes that are not two.
fn not_binary(labels: &[Vec<&str>], options: &FrameOptions) -> Option<IdgProblem> {
    if options.class_mode != Some(ClassMode::Binary) || labels.is_empty() {
        return None;
    }
    let found: BTreeSet<&str> = match options.given_classes() {
        Some(classes) => classes.iter().map(String::as_str).collect(),
        None => labels.iter().flatten().copied().collect(),
    };
    (found.len() != 2).then_some(IdgProblem::NotBinary { classes: found.len() })
}

/// The classes of a column, row by row.
fn labels_of(column: &Column) -> Vec<Vec<&str>> {
    match column {
        Column::Texts(texts) => texts.iter().map(|text| vec![text.as_str()]).collect(),
        Column::Lists(lists) => lists.iter().map(|list| list.iter().map(String::as_str).collect()).collect(),
        Column::Numbers(_) | Column::Vectors(_) => Vec::new(),
    }
}

impl ImageDataGenerator {
    /// Batches of the images that a table lists, as Keras's `flow_from_dataframe`. No image is opened before
    /// its batch.
    ///
    /// A subset is cut off from the rows in their order, whatever their classes: a table that is sorted by
    /// class needs to be shuffled first.
    ///
    /// # Errors
    /// Columns that are missing or of the wrong kind, rows whose file is missing (with [`Compat::Keras3`] they
    /// are left out, with a warning), targets or weights that are not finite, no rows, an empty subset (all
    /// three are warnings there), and arguments out of range; all together.
    pub fn flow_from_dataframe(&self, frame: &Frame, options: &FrameOptions) -> Result<Flow, IdgError> {
        let mut problems = options.problems(self);
        let columns = Columns::find(frame, options, &mut problems);
        let mut warnings = self.warnings();
        warnings.extend(options.warnings(self.options.compat));
        let has_classes = ClassMode::has_classes(options.class_mode);
        let labels =
            columns.y.first().filter(|_| has_classes).map(|column| labels_of(column)).unwrap_or_default();
        problems.extend(not_binary(&labels, options));
        let paths: Vec<PathBuf> =
            columns.names.iter().map(|name| joined(options.directory.as_ref(), name)).collect();
        let mut rows: Vec<usize> = (0..columns.names.len()).collect();
        if options.validate_filenames {
            rows = self.rows_with_files(columns.names, &paths, &mut problems, &mut warnings);
        }
        let given = options.given_classes();
        // Keras drops rows without labels if classes are given, and keeps them otherwise.
        let drops_empty = given.is_some() && self.options.compat == Compat::Keras3;
        let numbers = ClassNumbers::new(&labels, &rows, given, !drops_empty);
        if has_classes {
            let before = rows.len();
            rows.retain(|&row| labels.get(row).is_some_and(|labels| numbers.knows(labels)));
            if rows.len() < before {
                warnings
                    .push(format!("{} rows have none of the classes and are left out", before - rows.len()));
            }
        }
        let mut lenient = not_finite_columns(frame, options, &rows);
        let split = self.options.validation_split;
        let part = options.batching.part(rows.len(), split);
        if rows.is_empty() && problems.is_empty() {
            lenient.push(IdgProblem::NoRows);
        } else if part.is_empty() && !rows.is_empty() {
            lenient.push(options.batching.empty_part(rows.len(), split));
        }
        problems.extend(options.files.too_many(&options.batching, part.len()));
        if self.options.compat == Compat::Documented {
            problems.append(&mut lenient);
        }
        fail_if_any(OF, problems)?;
        warnings.extend(lenient.iter().map(ToString::to_string));
        let rows = &rows[part];
        let (labelled, classes) =
            if has_classes { numbers.label(&labels, rows) } else { (Labels::None, Vec::new()) };
        let mut files = options.files;
        files.keep_aspect_ratio &= self.options.compat == Compat::Documented;
        let source = Source::Files {
            paths: rows.iter().map(|&row| paths[row].clone()).collect(),
            loading: files.loading(self.options.compat),
        };
        let ids = rows.iter().map(|&row| row as u64).collect();
        let mut flow = Flow::new(self, source, ids, &options.batching);
        if given.is_some() && labels.iter().any(Vec::is_empty) {
            flow.differences.push(
                "rows without labels: kept, with zeros for all classes; Keras 3 drops them if `classes` is given"
                    .to_owned(),
            );
        }
        if options.files.keep_aspect_ratio {
            flow.differences.push(
                "`keep_aspect_ratio`: documented to cut out the middle; Keras 3 does not hand it on here"
                    .to_owned(),
            );
        }
        Ok(Flow {
            targets: targets(&columns, rows, options),
            labels: labelled,
            classes,
            filenames: rows.iter().map(|&row| columns.names[row].clone()).collect(),
            weights: columns.weights.map(|weights| rows.iter().map(|&row| weights[row] as f32).collect()),
            warnings,
            ..flow
        })
    }

    /// The rows whose files are there.
    fn rows_with_files(
        &self,
        names: &[String],
        paths: &[PathBuf],
        problems: &mut Vec<IdgProblem>,
        warnings: &mut Vec<String>,
    ) -> Vec<usize> {
        let mut rows = Vec::with_capacity(names.len());
        for (row, (name, path)) in names.iter().zip(paths).enumerate() {
            if !is_image(name) {
                problems.push(IdgProblem::Extension { row, name: name.clone() });
            } else if !path.is_file() {
                problems.push(IdgProblem::NoFile { row, path: path.clone() });
            } else {
                rows.push(row);
            }
        }
        if self.options.compat == Compat::Keras3 {
            let is_row = |problem: &IdgProblem| {
                matches!(problem, IdgProblem::Extension { .. } | IdgProblem::NoFile { .. })
            };
            let before = problems.len();
            problems.retain(|problem| !is_row(problem));
            if problems.len() < before {
                warnings
                    .push(format!("{} rows have no image file and are left out", before - problems.len()));
            }
        }
        rows
    }
}

fn joined(directory: Option<&PathBuf>, name: &str) -> PathBuf {
    directory.map_or_else(|| PathBuf::from(name), |directory| directory.join(name))
}

/// Classes and their numbers.
struct ClassNumbers<'a> {
    classes: Vec<&'a str>,
    numbers: BTreeMap<&'a str, u32>,
    /// Whether rows without any label stay.
    keeps_empty: bool,
}

impl<'a> ClassNumbers<'a> {
    /// Those given, without repeats, or else those of the rows, sorted.
    fn new(labels: &[Vec<&'a str>], rows: &[usize], given: Option<&'a [String]>, keeps_empty: bool) -> Self {
        let mut classes = Vec::new();
        match given {
            Some(given) => {
                for class in given {
                    if !classes.contains(&class.as_str()) {
                        classes.push(class.as_str());
                    }
                }
            }
            None => {
                let found: BTreeSet<&str> =
                    rows.iter().filter_map(|&row| labels.get(row)).flatten().copied().collect();
                classes.extend(found);
            }
        }
        let numbers = classes.iter().copied().zip(0..).collect();
        Self { classes, numbers, keeps_empty }
    }

    /// Whether a row stays: any of its labels is a class, or it has none, which is a target as well.
    fn knows(&self, labels: &[&str]) -> bool {
        (labels.is_empty() && self.keeps_empty) || labels.iter().any(|label| self.numbers.contains_key(label))
    }

    fn label(&self, labels: &[Vec<&str>], rows: &[usize]) -> (Labels, Vec<String>) {
        let of_row = |row: usize| -> Vec<u32> {
            labels[row].iter().filter_map(|label| self.numbers.get(label).copied()).collect()
        };
        let several: Vec<Vec<u32>> = rows.iter().map(|&row| of_row(row)).collect();
        let single = labels.iter().all(|labels| labels.len() == 1);
        let labels = if single { Labels::One(several.concat()) } else { Labels::Several(several) };
        (labels, self.classes.iter().map(|class| (*class).to_owned()).collect())
    }
}

fn targets(columns: &Columns<'_>, rows: &[usize], options: &FrameOptions) -> TargetSource {
    let values: Vec<Values> = columns.y.iter().filter_map(|column| column.values(rows)).collect();
    match (options.class_mode, values.as_slice(), &options.y_col) {
        (Some(ClassMode::MultiOutput), ..) => TargetSource::MultiOutput(values),
        (Some(ClassMode::Raw), [Values::Numbers(one)], TargetColumns::Several(_)) if one.ndim() == 1 => {
            TargetSource::Raw(Values::Numbers(one.clone().insert_axis(Axis(1))))
        }
        (Some(ClassMode::Raw), [one], _) => TargetSource::Raw(one.clone()),
        (Some(ClassMode::Raw), several, _) => {
            TargetSource::Raw(Values::Numbers(side_by_side(several, rows.len())))
        }
        (mode, ..) => TargetSource::Classes(mode),
    }
}

/// Columns of numbers as `[N, K]`.
fn side_by_side(columns: &[Values], rows: usize) -> ArrayD<f64> {
    let mut table = Array2::zeros((rows, columns.len()));
    for (mut to, column) in table.columns_mut().into_iter().zip(columns) {
        if let Values::Numbers(from) = column
            && let Ok(from) = from.view().into_dimensionality::<Ix1>()
        {
            to.assign(&from);
        }
    }
    table.into_dyn()
}

//! Batches of the images that a table lists: Keras's `flow_from_dataframe`.
//!
//! The one decision: a row whose file is missing is an error by default, and all such rows are named together;
//! Keras drops them and prints how many there were, which is how a wrong `directory` becomes an empty run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use ndarray::{Array2, Ix1};

use super::frame_rows::{Column, Frame};
use super::listing::is_image;
use super::{Batching, ClassMode, FileOptions, Flow, Labels, Source, TargetSource, Values};
use crate::idg::ImageDataGenerator;
use crate::idg::args::{Arg, Args, Reader, fail_if_any};
use crate::idg::error::{IdgError, IdgProblem};
use crate::idg::options::Compat;

const OF: &str = "flow_from_dataframe";

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
    /// The column of targets, or the columns for `raw` and `multi_output`.
    pub y_col: Vec<String>,
    /// The column of weights.
    pub weight_col: Option<String>,
    /// The classes in the order of their numbers, rows of others are left out; all, sorted, with `None`.
    pub classes: Option<Vec<String>>,
    /// What the targets are; none with `None`.
    pub class_mode: Option<ClassMode>,
    /// Whether to check that all files are there, with a name that ends as one of
    /// [`EXTENSIONS`](crate::idg::EXTENSIONS).
    pub validate_filenames: bool,
}

impl Default for FrameOptions {
    fn default() -> Self {
        Self {
            batching: Batching::default(),
            files: FileOptions::default(),
            directory: None,
            x_col: "filename".to_owned(),
            y_col: vec!["class".to_owned()],
            weight_col: None,
            classes: None,
            class_mode: Some(ClassMode::Categorical),
            validate_filenames: true,
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
        let mut r = Reader::new(args);
        let options = Self {
            batching: Batching::read(&mut r),
            files: FileOptions::read(&mut r),
            directory: r.optional_text("directory").map(PathBuf::from),
            x_col: r.text("x_col", "filename"),
            y_col: r.text_or_texts("y_col", "class"),
            weight_col: r.optional_text("weight_col"),
            classes: r.optional_texts("classes"),
            class_mode: r.optional_choice("class_mode", Some(ClassMode::Categorical)),
            validate_filenames: r.flag("validate_filenames", true),
        };
        r.finish(OF, options)
    }

    fn problems(&self, generator: &ImageDataGenerator) -> Vec<IdgProblem> {
        let mut found = self.batching.problems(generator);
        found.extend(self.files.problems(generator));
        let one = ClassMode::has_classes(self.class_mode);
        if self.y_col.is_empty() || (one && self.y_col.len() != 1) {
            let (got, expected) = (format!("{:?}", self.y_col), "the name of one column".to_owned());
            found.push(IdgProblem::Value { name: "y_col", got, expected });
        }
        found
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
                options.y_col.iter().filter_map(|name| find("y_col", name).map(|column| (name, column))),
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
        (ClassMode::Raw, Column::Texts(_) | Column::Vectors(_)) if options.y_col.len() > 1 => {
            Some("numbers, as one of several columns for `raw`")
        }
        _ => None,
    }
}

/// With `binary`, the classes that are not two.
fn not_binary(labels: &[Vec<&str>], options: &FrameOptions) -> Option<IdgProblem> {
    if options.class_mode != Some(ClassMode::Binary) || labels.is_empty() {
        return None;
    }
    let found: BTreeSet<&str> = match &options.classes {
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
    /// are left out, with a warning), no rows, and arguments out of range; all together.
    pub fn flow_from_dataframe(&self, frame: &Frame, options: &FrameOptions) -> Result<Flow, IdgError> {
        let mut problems = options.problems(self);
        let columns = Columns::find(frame, options, &mut problems);
        let mut warnings = self.warnings();
        let has_classes = ClassMode::has_classes(options.class_mode);
        if options.classes.is_some() && !has_classes {
            warnings.push("`classes` has no effect with this `class_mode`".to_owned());
        }
        let labels =
            columns.y.first().filter(|_| has_classes).map(|column| labels_of(column)).unwrap_or_default();
        problems.extend(not_binary(&labels, options));
        let paths: Vec<PathBuf> =
            columns.names.iter().map(|name| joined(options.directory.as_ref(), name)).collect();
        let mut rows: Vec<usize> = (0..columns.names.len()).collect();
        if options.validate_filenames {
            rows = self.rows_with_files(columns.names, &paths, &mut problems, &mut warnings);
        }
        let numbers = ClassNumbers::new(&labels, &rows, options.classes.as_deref());
        if has_classes {
            let before = rows.len();
            rows.retain(|&row| labels.get(row).is_some_and(|labels| numbers.knows(labels)));
            if rows.len() < before {
                warnings
                    .push(format!("{} rows have none of the classes and are left out", before - rows.len()));
            }
        }
        if rows.is_empty() && problems.is_empty() {
            match self.options.compat {
                Compat::Documented => problems.push(IdgProblem::NoRows),
                Compat::Keras3 => warnings.push(IdgProblem::NoRows.to_string()),
            }
        }
        fail_if_any(OF, problems)?;
        let rows = &rows[options.batching.part(rows.len(), self.options.validation_split)];
        let labels = if has_classes { numbers.label(&labels, rows) } else { (Labels::None, Vec::new()) };
        Ok(self.frame_flow(&columns, rows, &paths, labels, (options, warnings)))
    }

    fn frame_flow(
        &self,
        columns: &Columns<'_>,
        rows: &[usize],
        paths: &[PathBuf],
        (labels, classes): (Labels, Vec<String>),
        (options, warnings): (&FrameOptions, Vec<String>),
    ) -> Flow {
        Flow {
            generator: self.clone(),
            targets: targets(columns, rows, options.class_mode),
            labels,
            classes,
            filenames: rows.iter().map(|&row| columns.names[row].clone()).collect(),
            ids: rows.iter().map(|&row| row as u64).collect(),
            source: Source::Files {
                paths: rows.iter().map(|&row| paths[row].clone()).collect(),
                loading: options.files.loading(self.options.compat),
            },
            weights: columns.weights.map(|weights| rows.iter().map(|&row| weights[row] as f32).collect()),
            misc: Vec::new(),
            batching: options.batching.clone(),
            warnings,
            pool: None,
            next: (0, 0),
            order: None,
        }
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
}

impl<'a> ClassNumbers<'a> {
    /// Those given, without repeats, or else those of the rows, sorted.
    fn new(labels: &[Vec<&'a str>], rows: &[usize], given: Option<&'a [String]>) -> Self {
        let mut classes = Vec::new();
        match given {
            Some(given) if !given.is_empty() => {
                for class in given {
                    if !classes.contains(&class.as_str()) {
                        classes.push(class.as_str());
                    }
                }
            }
            _ => {
                let found: BTreeSet<&str> =
                    rows.iter().filter_map(|&row| labels.get(row)).flatten().copied().collect();
                classes.extend(found);
            }
        }
        let numbers = classes.iter().copied().zip(0..).collect();
        Self { classes, numbers }
    }

    /// Whether a row has any label that is a class. Keras keeps a row with an empty list if no classes are
    /// given; without any label there is nothing to learn from it.
    fn knows(&self, labels: &[&str]) -> bool {
        labels.iter().any(|label| self.numbers.contains_key(label))
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

fn targets(columns: &Columns<'_>, rows: &[usize], mode: Option<ClassMode>) -> TargetSource {
    let values: Vec<Values> = columns.y.iter().filter_map(|column| column.values(rows)).collect();
    match (mode, values.as_slice()) {
        (Some(ClassMode::MultiOutput), _) => TargetSource::MultiOutput(values),
        (Some(ClassMode::Raw), [one]) => TargetSource::Raw(one.clone()),
        (Some(ClassMode::Raw), several) => {
            TargetSource::Raw(Values::Numbers(side_by_side(several, rows.len())))
        }
        _ => TargetSource::Classes(mode),
    }
}

/// Columns of numbers as `[N, K]`.
fn side_by_side(columns: &[Values], rows: usize) -> ndarray::ArrayD<f64> {
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

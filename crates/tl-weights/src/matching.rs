//! How the names in a file fit the names in a net. The decision: matching returns a report and changes nothing, and
//! whatever is not exactly right is in it (missing, left over, of another shape, claimed twice), because a silently
//! skipped tensor is a net that is worse for no visible reason.
//!
//! The one freedom is shapes that hold the same elements in the same order: dimensions of size 1 do not count (a 1×1
//! convolution `[1280, 960, 1, 1]` is the linear layer `[1280, 960]`, a layer scale `[96, 1, 1]` is the `[96]` of another
//! publisher), and a kernel as large as its map `[4096, 512, 7, 7]` is the linear layer `[4096, 25088]`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use crate::error::WeightsError;
use crate::file::WeightFile;

/// Names shown of each kind.
const SHOWN: usize = 8;
/// Below this similarity (0 to 1) a name is not suggested.
const SIMILAR: f64 = 0.6;

/// A parameter or buffer that a net has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected<'a> {
    /// Its name in the net.
    pub name: &'a str,
    /// Its shape.
    pub shape: &'a [usize],
}

/// What a name in a file is called in the net.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rename {
    /// By this name.
    To(String),
    /// Not needed, and nothing to report (`num_batches_tracked`, say).
    Ignore,
}

/// A tensor that the net has, but not the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its name in the net.
    pub name: String,
    /// Its shape in the net.
    pub shape: Vec<usize>,
    /// The left-over name in the file that resembles it most; only looked for among the first few missing.
    pub did_you_mean: Option<String>,
}

/// A tensor that has another shape in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misshapen {
    /// Its name in the net.
    pub name: String,
    /// Its shape in the net.
    pub expected: Vec<usize>,
    /// Its shape in the file.
    pub got: Vec<usize>,
}

/// Several names in the file that mean one tensor of the net.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collision {
    /// The name in the net.
    pub name: String,
    /// The names in the file.
    pub files: Vec<String>,
}

/// How a file fits a net. Its `Display` is a report for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Matched {
    /// Name in the net and name in the file, in the order of the net. The shape in the file may be another one that
    /// holds the same elements in the same order.
    pub applied: Vec<(String, String)>,
    /// Not in the file.
    pub missing: Vec<Missing>,
    /// Names in the file that mean nothing in the net, in the order of the file.
    pub unused: Vec<String>,
    /// Of another shape.
    pub misshapen: Vec<Misshapen>,
    /// Claimed by several names of the file; none of them is applied.
    pub collisions: Vec<Collision>,
}

/// Matches the names of `file`, renamed by `rename`, with what a net expects.
///
/// Shapes are compared without their dimensions of size 1, and a matrix may be a kernel over a whole map. Row-major
/// elements do not change with these, so the caller gives what it reads the shape that the net expects.
pub fn match_names(expected: &[Expected<'_>], file: &WeightFile, rename: &dyn Fn(&str) -> Rename) -> Matched {
    let mut by_name: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut order = Vec::new();
    for name in file.names() {
        if let Rename::To(renamed) = rename(name) {
            by_name.entry(renamed.clone()).or_default().push(name);
            order.push((renamed, name));
        }
    }

    let mut matched = Matched::default();
    for &Expected { name, shape } in expected {
        match by_name.get(name).map(Vec::as_slice) {
            None | Some([]) => {
                matched.missing.push(Missing { name: name.into(), shape: shape.into(), did_you_mean: None });
            }
            Some(&[only]) => {
                let got = file.info(only).map_or(&[][..], |info| &info.shape);
                if same_shape(got, shape) {
                    matched.applied.push((name.into(), only.into()));
                } else {
                    matched.misshapen.push(Misshapen {
                        name: name.into(),
                        expected: shape.into(),
                        got: got.into(),
                    });
                }
            }
            Some(several) => {
                let files = several.iter().map(|&file| file.into()).collect();
                matched.collisions.push(Collision { name: name.into(), files });
            }
        }
    }

    let wanted: BTreeSet<&str> = expected.iter().map(|expected| expected.name).collect();
    order.retain(|(renamed, _)| !wanted.contains(renamed.as_str()));
    for missing in matched.missing.iter_mut().take(SHOWN) {
        let shaped = |file_name: &str| {
            file.info(file_name).is_some_and(|info| same_shape(&info.shape, &missing.shape))
        };
        let scored = order.iter().filter(|(_, file_name)| shaped(file_name)).map(|(renamed, file_name)| {
            (strsim::normalized_damerau_levenshtein(&missing.name, renamed), *file_name)
        });
        let best = scored.max_by(|a, b| a.0.total_cmp(&b.0));
        missing.did_you_mean = best.filter(|&(score, _)| score >= SIMILAR).map(|(_, name)| name.to_owned());
    }
    matched.unused = order.into_iter().map(|(_, name)| name.to_owned()).collect();
    matched
}

/// Whether two shapes are equal but for dimensions of size 1, or one is a matrix with the rows of the other.
fn same_shape(a: &[usize], b: &[usize]) -> bool {
    let long = |&&n: &&usize| n != 1;
    let matrix_of = |matrix: &[usize], kernel: &[usize]| {
        matrix.len() == 2
            && kernel.len() == 4
            && matrix[0] == kernel[0]
            && kernel[1..].iter().try_fold(1, |n: usize, &side| n.checked_mul(side)) == Some(matrix[1])
    };
    a.iter().filter(long).eq(b.iter().filter(long)) || matrix_of(a, b) || matrix_of(b, a)
}

impl Matched {
    /// Whether every tensor of the net is in the file, in the right shape, and nothing is left over.
    pub fn is_full(&self) -> bool {
        self.missing.is_empty()
            && self.unused.is_empty()
            && self.misshapen.is_empty()
            && self.collisions.is_empty()
    }

    /// Whether something fits and nothing is ambiguous, whatever is missing, left over or of another shape.
    ///
    /// For callers that were asked to go on with a part. What is not in [`Matched::applied`] keeps its initial values,
    /// so the report should be shown.
    pub fn fits_partly(&self) -> bool {
        !self.applied.is_empty() && self.collisions.is_empty()
    }

    /// The report for people; the same as `to_string`.
    pub fn report(&self) -> String {
        self.to_string()
    }

    /// The pairs of [`Matched::applied`], if the match [is full](Matched::is_full).
    ///
    /// # Errors
    /// Otherwise; the error names `path` and contains the report.
    pub fn into_result(self, path: impl AsRef<Path>) -> Result<Vec<(String, String)>, WeightsError> {
        if self.is_full() {
            return Ok(self.applied);
        }
        Err(WeightsError::Mismatch { path: path.as_ref().to_owned(), report: self.to_string() })
    }
}

impl fmt::Display for Matched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tensors fit", self.applied.len())?;
        section(f, "missing in the file", &self.missing, |f, missing| {
            write!(f, "`{}` {:?}", missing.name, missing.shape)?;
            match &missing.did_you_mean {
                Some(name) => write!(f, "; did you mean `{name}`?"),
                None => Ok(()),
            }
        })?;
        section(f, "of another shape", &self.misshapen, |f, odd| {
            write!(f, "`{}`: expected {:?}, got {:?}", odd.name, odd.expected, odd.got)
        })?;
        section(f, "claimed more than once", &self.collisions, |f, collision| {
            let files: Vec<_> = collision.files.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
            write!(f, "`{}`: by {}", collision.name, files.join(", "))
        })?;
        section(f, "left over in the file", &self.unused, |f, name| write!(f, "`{name}`"))
    }
}

fn section<T>(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    items: &[T],
    row: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    write!(f, "\n{} {title}:", items.len())?;
    for item in items.iter().take(SHOWN) {
        f.write_str("\n  ")?;
        row(f, item)?;
    }
    match items.len().checked_sub(SHOWN) {
        None | Some(0) => Ok(()),
        Some(more) => write!(f, "\n  … and {more} more"),
    }
}

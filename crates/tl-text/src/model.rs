//! A baseline as one file: vocabulary, weights, classes.
//!
//! The one decision: it is JSON. A vocabulary is text, floats survive, and any language reads it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tl_linear::LogisticRegression;

use crate::baseline::Telling;
use crate::error::TextError;
use crate::tfidf::Tfidf;

/// The format that is written.
pub(crate) const FORMAT: u32 = 1;

/// A vocabulary and a logistic regression on its terms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextModel {
    pub(crate) format: u32,
    /// The names of the classes.
    pub classes: Vec<String>,
    /// What makes rows of texts.
    pub tfidf: Tfidf,
    /// What makes probabilities of rows.
    pub linear: LogisticRegression,
}

impl TextModel {
    /// The probabilities `[texts, classes]`, row by row.
    ///
    /// # Errors
    /// The vocabulary and the regression do not fit, which no model that was read has.
    pub fn predict_proba<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Result<Vec<f64>, TextError> {
        Ok(self.linear.predict_proba(&self.tfidf.transform(texts)?.into())?)
    }

    /// The most probable class of each text.
    ///
    /// # Errors
    /// Those of [`predict_proba`](Self::predict_proba).
    pub fn predict<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Result<Vec<u32>, TextError> {
        Ok(self.linear.predict(&self.tfidf.transform(texts)?.into())?)
    }

    /// For each class the `most` terms with the largest coefficients; of equals the first in order.
    pub fn telling(&self, most: usize) -> Vec<Telling> {
        let of_class = |(number, class): (u32, &String)| {
            let coefficient = |place: usize| self.linear.coefficient(number, place);
            let mut places: Vec<usize> =
                (0..self.tfidf.terms().len()).filter(|&p| coefficient(p) > 0.0).collect();
            places.par_sort_unstable_by(|&a, &b| coefficient(b).total_cmp(&coefficient(a)).then(a.cmp(&b)));
            let terms = places.into_iter().take(most);
            let terms = terms.map(|place| (self.tfidf.terms()[place].clone(), coefficient(place))).collect();
            Telling { class: class.clone(), terms }
        };
        (0..).zip(&self.classes).map(of_class).collect()
    }

    /// Writes the model, whole or not at all.
    ///
    /// # Errors
    /// The disk refuses; the file is then as it was before.
    pub fn save(&self, path: &Path) -> Result<(), TextError> {
        let failed = |source| TextError::Write { path: path.to_owned(), source };
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut temp = tempfile::Builder::new().prefix(".tmp-").tempfile_in(dir).map_err(failed)?;
        let mut write = || -> io::Result<()> {
            let mut buffer = io::BufWriter::new(temp.as_file_mut());
            serde_json::to_writer(&mut buffer, self)?;
            buffer.write_all(b"\n")?;
            buffer.flush()?;
            drop(buffer);
            temp.as_file().sync_all()?;
            make_readable(temp.as_file())
        };
        write().map_err(failed)?;
        temp.persist(path).map_err(|error| failed(error.error))?;
        // The rename itself must survive a power cut; not every file system can sync a directory.
        if let Ok(dir) = File::open(dir) {
            let _ = dir.sync_all();
        }
        Ok(())
    }

    /// Reads what [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// The file cannot be read, is no such model, is of a newer format, or its parts do not fit.
    pub fn read(path: &Path) -> Result<Self, TextError> {
        let bytes = fs::read(path).map_err(|source| TextError::Read { path: path.to_owned(), source })?;
        let refuse =
            |detail: String| TextError::Format { path: path.to_owned(), what: "a model of texts", detail };
        let model: Self = serde_json::from_slice(&bytes).map_err(|error| refuse(error.to_string()))?;
        if model.format != FORMAT {
            return Err(refuse(format!("its format is {} (expected {FORMAT})", model.format)));
        }
        let (terms, columns) = (model.tfidf.terms().len(), model.linear.columns());
        let (classes, outputs) = (model.classes.len(), model.linear.classes());
        if terms != columns || classes != outputs || !model.linear.is_whole() {
            let detail =
                format!("{terms} terms and {columns} columns, {classes} and {outputs} classes do not fit");
            return Err(refuse(detail));
        }
        Ok(model)
    }
}

/// Temporary files are private to their owner; a model is as readable as other files.
#[cfg(unix)]
fn make_readable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn make_readable(_: &File) -> io::Result<()> {
    Ok(())
}

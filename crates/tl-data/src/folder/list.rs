//! Images without labels, to predict on.
//!
//! The one decision: a file is taken at its word, whatever it is called; only folders are searched by
//! extension.

use std::path::PathBuf;
use std::{fs, io};

use super::scan::Scan;
use crate::error::{DataError, FolderProblem, FolderProblems};

/// The image files among `paths`: each file as it is, each folder as the images in it and below, sorted.
///
/// # Errors
/// A path is missing or unreadable, or a folder holds no images; all are reported together.
pub fn list_images(paths: &[PathBuf]) -> Result<Vec<PathBuf>, DataError> {
    let mut scan = Scan::default();
    let mut images = Vec::new();
    for path in paths {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => {}
            // A pipe or a device is no file to decode; the decoder says so.
            Ok(_) => {
                images.push(path.clone());
                continue;
            }
            Err(source) => {
                let path = path.clone();
                scan.problems.push(match source.kind() {
                    io::ErrorKind::NotFound => FolderProblem::Missing { path },
                    _ => FolderProblem::Unreadable { path, source },
                });
                continue;
            }
        }
        let problems = scan.problems.len();
        let files = scan.images(path, "");
        if files.is_empty() && scan.problems.len() == problems {
            scan.problems.push(FolderProblem::NoImages { path: path.clone() });
        }
        images.extend(files.into_iter().map(|file| file.path));
    }
    if scan.problems.is_empty() {
        Ok(images)
    } else {
        Err(DataError::Images { problems: FolderProblems(scan.problems) })
    }
}

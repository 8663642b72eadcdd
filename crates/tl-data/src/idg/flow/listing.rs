//! The image files below a folder, in Keras's order.
//!
//! The one decision: the order is that of sorted strings, whole paths of folders first and then names, which
//! is not the order of a sorted tree (`a-b/` comes before `a/c/`). Loops of links are entered once; Keras goes
//! round them until the system stops it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::idg::EXTENSIONS;
use crate::idg::error::IdgProblem;

/// An image file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct File {
    pub(super) path: PathBuf,
    /// The path below the dataset's folder, `/`-separated.
    pub(super) name: String,
}

/// A folder that is entered.
struct Folder {
    path: PathBuf,
    /// The path below the dataset's folder.
    name: String,
    files: Vec<File>,
}

/// Whether Keras takes a file of this name. As there, `x_png` ends in `png` as well.
pub(super) fn is_image(name: &str) -> bool {
    let name = name.to_lowercase();
    EXTENSIONS.iter().any(|extension| name.ends_with(extension))
}

/// The names of the folders in `dir`, sorted.
pub(super) fn subfolders(dir: &Path) -> Result<Vec<String>, IdgProblem> {
    let problem = |source| IdgProblem::Folder { path: dir.to_owned(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(problem)? {
        let entry = entry.map_err(problem)?;
        // A link to a folder counts as one.
        if entry.path().is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// The image files of a class folder and the folders in it.
pub(super) fn images_below(
    dir: &Path,
    name: &str,
    follow_links: bool,
    complain: &mut impl FnMut(IdgProblem),
) -> Vec<File> {
    let mut folders = Vec::new();
    let mut inside = Vec::new();
    walk(dir, name.to_owned(), follow_links, &mut inside, &mut folders, complain);
    folders.sort_by(|a, b| a.path.as_os_str().cmp(b.path.as_os_str()));
    let mut files = Vec::new();
    for mut folder in folders {
        folder.files.sort_by(|a, b| a.name.cmp(&b.name));
        files.append(&mut folder.files);
    }
    files
}

fn walk(
    dir: &Path,
    name: String,
    follow_links: bool,
    inside: &mut Vec<PathBuf>,
    folders: &mut Vec<Folder>,
    complain: &mut impl FnMut(IdgProblem),
) {
    let entries = dir.canonicalize().and_then(|real| Ok((real, fs::read_dir(dir)?)));
    let (real, entries) = match entries {
        Ok(found) => found,
        Err(source) => return complain(IdgProblem::Folder { path: dir.to_owned(), source }),
    };
    if inside.contains(&real) {
        return;
    }
    inside.push(real);
    let mut folder = Folder { path: dir.to_owned(), name, files: Vec::new() };
    let mut below = Vec::new();
    for entry in entries.flatten() {
        let file_name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        if path.is_dir() {
            if follow_links || !path.is_symlink() {
                below.push((path, format!("{}/{file_name}", folder.name)));
            }
        } else if is_image(&file_name) {
            folder.files.push(File { path, name: format!("{}/{file_name}", folder.name) });
        }
    }
    folders.push(folder);
    for (path, name) in below {
        walk(&path, name, follow_links, inside, folders, complain);
    }
    inside.pop();
}

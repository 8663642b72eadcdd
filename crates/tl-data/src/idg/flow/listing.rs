//! The image files below a folder, in Keras's order.
//!
//! The one decision: the order is that of sorted strings, whole paths of folders first and then names, which
//! is not the order of a sorted tree (`a-b/` comes before `a/c/`). A folder is entered once, by its real path
//! if there is one; Keras enters it by every link, and goes round loops of links until the system stops it.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::folder::escaped;
use crate::idg::EXTENSIONS;
use crate::idg::error::IdgProblem;

/// An image file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct File {
    pub(super) path: PathBuf,
    /// The path below the dataset's folder, `/`-separated; bytes that are not UTF-8 are written as `\xFF`.
    pub(super) name: String,
}

/// What a class folder holds.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) files: Vec<File>,
    /// Links to folders that are listed already, by their names below the dataset's folder.
    pub(super) again: Vec<String>,
    /// What could not be read.
    pub(super) problems: Vec<IdgProblem>,
}

/// A folder that is entered.
struct Folder {
    path: PathBuf,
    /// The path below the dataset's folder.
    name: String,
}

/// Whether Keras takes a file of this name. As there, `x_png` ends in `png` as well.
pub(super) fn is_image(name: &str) -> bool {
    let name = name.to_lowercase();
    EXTENSIONS.iter().any(|extension| name.ends_with(extension))
}

/// The entries of a folder, sorted by their names.
fn entries(dir: &Path, problems: &mut Vec<IdgProblem>) -> Vec<(OsString, PathBuf)> {
    let problem = |source| IdgProblem::Folder { path: dir.to_owned(), source };
    let mut found = Vec::new();
    match fs::read_dir(dir) {
        Ok(entries) => {
            for entry in entries {
                match entry {
                    Ok(entry) => found.push((entry.file_name(), entry.path())),
                    Err(source) => problems.push(problem(source)),
                }
            }
        }
        Err(source) => problems.push(problem(source)),
    }
    found.sort_unstable();
    found
}

/// The names of the folders in `dir`, sorted. A link to a folder counts as one.
pub(super) fn subfolders(dir: &Path, problems: &mut Vec<IdgProblem>) -> Vec<OsString> {
    let folders = entries(dir, problems).into_iter().filter(|(_, path)| path.is_dir());
    folders.map(|(name, _)| name).collect()
}

/// The image files of a class folder and the folders in it.
pub(super) fn images_below(dir: &Path, name: &str, follow_links: bool) -> Listing {
    let mut listing = Listing::default();
    let mut seen = BTreeSet::new();
    let mut found: Vec<(PathBuf, Vec<File>)> = Vec::new();
    // What is a link waits until everything that is none has been entered.
    let mut links = VecDeque::from([Folder { path: dir.to_owned(), name: name.to_owned() }]);
    while let Some(start) = links.pop_front() {
        let mut below = vec![start];
        while let Some(folder) = below.pop() {
            // Without links no folder can be met twice.
            if follow_links {
                match folder.path.canonicalize() {
                    Ok(real) => {
                        if !seen.insert(real) {
                            listing.again.push(folder.name);
                            continue;
                        }
                    }
                    Err(source) => {
                        listing.problems.push(IdgProblem::Folder { path: folder.path, source });
                        continue;
                    }
                }
            }
            let mut files = Vec::new();
            for (file_name, path) in entries(&folder.path, &mut listing.problems) {
                let name = format!("{}/{}", folder.name, escaped(&file_name));
                if !path.is_dir() {
                    if is_image(&file_name.to_string_lossy()) {
                        files.push(File { path, name });
                    }
                } else if !path.is_symlink() {
                    below.push(Folder { path, name });
                } else if follow_links {
                    links.push_back(Folder { path, name });
                }
            }
            found.push((folder.path, files));
        }
    }
    found.sort_by(|a, b| a.0.as_os_str().cmp(b.0.as_os_str()));
    listing.files = found.into_iter().flat_map(|(_, files)| files).collect();
    listing.again.sort_unstable();
    listing
}

#[cfg(all(test, unix))]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn many_links_to_one_another_take_no_time() {
        let dir = tempfile::tempdir().unwrap();
        let class = dir.path().join("c");
        for i in 0..12 {
            fs::create_dir_all(class.join(format!("{i}"))).unwrap();
            fs::write(class.join(format!("{i}/x.png")), b"").unwrap();
            for j in 0..12 {
                symlink(class.join(format!("{j}")), class.join(format!("{i}/to{j}"))).unwrap();
            }
        }
        let found = images_below(&class, "c", true);
        assert_eq!((found.files.len(), found.again.len(), found.problems.len()), (12, 144, 0));
        assert!(found.files.iter().all(|file| !file.name.contains("to")), "real paths come first");
        assert_eq!(images_below(&class, "c", false).files, found.files);
    }

    #[test]
    fn names_that_are_no_text_stay_apart() {
        let dir = tempfile::tempdir().unwrap();
        for byte in [0xE4, 0xF6] {
            let name = [b'a', byte, b'.', b'p', b'n', b'g'];
            fs::write(dir.path().join(OsStr::from_bytes(&name)), b"").unwrap();
        }
        let files = images_below(dir.path(), "c", true).files;
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["c/a\\xE4.png", "c/a\\xF6.png"]);
        assert!(files.iter().all(|file| file.path.is_file()));
    }
}

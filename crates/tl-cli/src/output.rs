//! Places that are written to, looked at before the work and not only after it.

use std::io;
use std::path::Path;

/// Fails unless a file of this name, which `flag` gives, can be made: none is there yet, and its folder takes one.
pub(crate) fn fresh(flag: &str, path: &Path) -> anyhow::Result<()> {
    let exists = path.symlink_metadata().is_ok();
    anyhow::ensure!(!exists, "`{}` exists\n\nhint: give another name with {flag}", path.display());
    place(flag, path)
}

/// Fails unless the folder of this file, which `flag` gives, is there and takes files.
pub(crate) fn place(flag: &str, path: &Path) -> anyhow::Result<()> {
    let folder = folder_of(path);
    anyhow::ensure!(
        folder.is_dir(),
        "cannot write `{}`: there is no folder `{}`\n\nhint: make it, or give another name with {flag}",
        path.display(),
        folder.display()
    );
    takes_files(flag, folder)
}

/// Fails unless this folder, which `flag` gives, is there or can be made, and takes files.
pub(crate) fn folder(flag: &str, path: &Path) -> anyhow::Result<()> {
    let there = path.ancestors().find(|ancestor| ancestor.symlink_metadata().is_ok());
    let there = there.unwrap_or(Path::new("."));
    anyhow::ensure!(
        there.is_dir(),
        "{flag} is `{}`, and `{}` is no folder\n\nhint: give another name with {flag}",
        path.display(),
        there.display()
    );
    takes_files(flag, there)
}

/// The folder of a file.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Tries it: what permissions say is not all there is, as on a disk that is mounted for reading only.
fn takes_files(flag: &str, folder: &Path) -> anyhow::Result<()> {
    tempfile::Builder::new().prefix(".tl-").tempfile_in(folder).map(drop).map_err(|error| {
        // Without the name of a file that nobody asked for.
        anyhow::anyhow!(
            "cannot write into `{}`: {}\n\nhint: give another place with {flag}",
            folder.display(),
            io::Error::from(error.kind())
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_known_to_be_bad_before_the_work() {
        let dir = tempfile::tempdir().unwrap();
        let there = dir.path().join("there");
        std::fs::write(&there, "").unwrap();
        let said = |result: anyhow::Result<()>| result.unwrap_err().to_string();
        assert!(fresh("--out", &dir.path().join("new")).is_ok());
        assert!(said(fresh("--out", &there)).contains("exists\n\nhint: give another name with --out"));
        assert!(said(fresh("--out", &dir.path().join("none/new"))).contains("no folder"));
        assert!(said(fresh("--out", &there.join("new"))).contains("no folder"));
        assert!(folder("--out", dir.path()).is_ok());
        assert!(folder("--out", &dir.path().join("a/b")).is_ok());
        assert!(said(folder("--out", &there.join("a/b"))).contains("there` is no folder"));
        // Nothing is left behind, and no folder was made.
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_folder_that_takes_no_files_is_named_without_ours() {
        let error = fresh("--report", Path::new("/proc/report.html")).unwrap_err().to_string();
        assert!(error.starts_with("cannot write into `/proc`: ") && !error.contains(".tl-"), "{error}");
    }
}

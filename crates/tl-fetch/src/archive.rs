//! Zip archives (wheels are zip archives too), extracted member by member.
//!
//! The caller says where each member goes; what would leave the destination, or is a link, is refused before anything
//! is written, so a hostile archive cannot leave half of itself behind.

use std::fs::{self, File};
use std::io::{BufReader, Read, Write};
use std::path::{Component, Path, PathBuf};

use zip::ZipArchive;

use crate::disk::{parent_of, temporary};
use crate::error::{LEADS_OUT, shortened};
use crate::{FetchError, Observer, Progress};

type Archive = ZipArchive<BufReader<File>>;

/// Extracts the members of `archive` for which `keep` returns a place relative to `dest`, and returns the bytes
/// written. Each file is written whole; an executable stays executable.
///
/// # Errors
/// When the archive is damaged, a kept member is a link or would be written outside `dest`, or `dest` cannot be
/// written.
pub fn unzip(
    archive: &Path,
    dest: &Path,
    keep: &dyn Fn(&str) -> Option<PathBuf>,
    observe: Observer<'_>,
) -> Result<u64, FetchError> {
    let damaged = |source| FetchError::Zip { path: archive.to_owned(), source };
    let file = File::open(archive).map_err(|e| FetchError::io("read", archive, e))?;
    let mut zip = ZipArchive::new(BufReader::with_capacity(1 << 17, file)).map_err(damaged)?;
    let (kept, total) = choose(&mut zip, archive, keep)?;

    let name = archive.file_name().unwrap_or(archive.as_os_str()).to_string_lossy();
    observe(Progress::Start { what: &name, total: Some(total), at: 0 });
    let mut written = 0;
    for (index, place) in kept {
        let place = dest.join(place);
        let mut member = zip.by_index(index).map_err(damaged)?;
        let mode = member.unix_mode();
        let mut out = temporary(parent_of(&place)?).map_err(|e| FetchError::io("write", &place, e))?;
        copy(&mut member, &mut out, &place, archive, &mut |n| {
            written += n;
            observe(Progress::Advance { at: written });
        })?;
        let error = |e| FetchError::io("write", &place, e);
        set_mode(&out, mode).map_err(error)?;
        out.persist(&place).map_err(|e| error(e.error))?;
    }
    observe(Progress::Finish);
    Ok(written)
}

/// The members to extract, with their places, and their length together.
fn choose(
    zip: &mut Archive,
    archive: &Path,
    keep: &dyn Fn(&str) -> Option<PathBuf>,
) -> Result<(Vec<(usize, PathBuf)>, u64), FetchError> {
    let damaged = |source| FetchError::Zip { path: archive.to_owned(), source };
    let (mut kept, mut total) = (Vec::new(), 0);
    for index in 0..zip.len() {
        let member = zip.by_index_raw(index).map_err(damaged)?;
        let name = member.name().map_err(damaged)?.into_owned();
        let Some(place) = keep(&name) else { continue };
        if member.is_dir() {
            continue;
        }
        if member.is_symlink() || !stays_inside(Path::new(&name)) || !stays_inside(&place) {
            let (path, member) = (archive.to_owned(), shortened(&name));
            return Err(FetchError::Unsafe { path, member, why: LEADS_OUT });
        }
        total += member.size();
        kept.push((index, place));
    }
    Ok((kept, total))
}

fn stays_inside(path: &Path) -> bool {
    path.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir))
        && path.file_name().is_some()
}

fn copy(
    from: &mut dyn Read,
    to: &mut dyn Write,
    place: &Path,
    archive: &Path,
    advance: &mut dyn FnMut(u64),
) -> Result<(), FetchError> {
    let mut buffer = vec![0; 1 << 17];
    loop {
        // A wrong checksum is an error of reading, too.
        let n = from.read(&mut buffer).map_err(|e| FetchError::io("read", archive, e))?;
        if n == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..n]).map_err(|e| FetchError::io("write", place, e))?;
        advance(n as u64);
    }
}

#[cfg(unix)]
fn set_mode(file: &tempfile::NamedTempFile, mode: Option<u32>) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = if mode.is_some_and(|m| m & 0o100 != 0) { 0o755 } else { 0o644 };
    file.as_file().set_permissions(fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_: &tempfile::NamedTempFile, _: Option<u32>) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;
    use crate::quiet;

    fn make(path: &Path, members: &[(&str, &str)]) {
        let mut zip = ZipWriter::new(File::create(path).unwrap());
        for (name, text) in members {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
        zip.finish().unwrap();
    }

    fn all(name: &str) -> Option<PathBuf> {
        Some(PathBuf::from(name))
    }

    #[test]
    fn only_what_is_kept_and_where_it_belongs() {
        let dir = tempfile::tempdir().unwrap();
        let (archive, dest) = (dir.path().join("a.whl"), dir.path().join("out"));
        make(&archive, &[("pkg/a.txt", "one"), ("pkg/sub/b.txt", "three"), ("other/c.txt", "no")]);
        let keep = |name: &str| name.strip_prefix("pkg/").map(PathBuf::from);
        assert_eq!(unzip(&archive, &dest, &keep, &quiet).unwrap(), 8);
        assert_eq!(fs::read_to_string(dest.join("sub/b.txt")).unwrap(), "three");
        assert_eq!(fs::read_dir(&dest).unwrap().count(), 2);
    }

    #[test]
    fn a_member_that_leads_out_is_refused_before_anything_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let (archive, dest) = (dir.path().join("a.zip"), dir.path().join("out"));
        for evil in ["../x", "/x", "a/../../x"] {
            make(&archive, &[("good", "1"), (evil, "2")]);
            let error = unzip(&archive, &dest, &all, &quiet).unwrap_err();
            assert!(matches!(error, FetchError::Unsafe { .. }), "{evil}: {error}");
            assert!(!dest.exists() && !dir.path().join("x").exists());
        }
        make(&archive, &[("good", "1")]);
        let outside = |_: &str| Some(PathBuf::from("../y"));
        assert!(matches!(unzip(&archive, &dest, &outside, &quiet), Err(FetchError::Unsafe { .. })));
    }

    #[test]
    fn a_link_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let archive = dir.path().join("a.zip");
        let mut zip = ZipWriter::new(File::create(&archive).unwrap());
        zip.add_symlink("link", "/etc/passwd", SimpleFileOptions::default()).unwrap();
        zip.finish().unwrap();
        let error = unzip(&archive, &dir.path().join("out"), &all, &quiet).unwrap_err();
        assert!(matches!(error, FetchError::Unsafe { .. }), "{error}");
    }

    #[test]
    fn damage_is_an_error_and_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let (archive, dest) = (dir.path().join("a.zip"), dir.path().join("out"));
        let mut zip = ZipWriter::new(File::create(&archive).unwrap());
        let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        zip.start_file("a", stored).unwrap();
        zip.write_all(b"payload-payload").unwrap();
        zip.finish().unwrap();
        let mut bytes = fs::read(&archive).unwrap();
        let at = bytes.windows(7).position(|w| w == b"payload").unwrap();
        bytes[at] ^= 1;
        fs::write(&archive, bytes).unwrap();
        assert!(unzip(&archive, &dest, &all, &quiet).is_err());
        assert_eq!(fs::read_dir(&dest).unwrap().count(), 0);
        fs::write(&archive, b"no zip").unwrap();
        assert!(matches!(unzip(&archive, &dest, &all, &quiet), Err(FetchError::Zip { .. })));
    }
}

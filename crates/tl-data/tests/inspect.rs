//! What is in a dataset, by its headers.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are part of it")]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};

use common::{picture, put, put_bytes};
use tl_data::{Contents, DataPool, Dataset, Inspection, SplitOptions, Task, inspect};

fn inspected(dir: &tempfile::TempDir, threads: usize) -> Inspection {
    let folder = Dataset::open(dir.path(), &SplitOptions::default()).unwrap();
    let done = AtomicUsize::new(0);
    let found = inspect(&Contents::from(&folder), &DataPool::new(threads).unwrap(), &|_| {
        done.fetch_add(1, Ordering::Relaxed);
    });
    assert_eq!(done.into_inner(), found.images);
    found
}

fn dataset() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..12 {
        put(dir.path(), &format!("train/many/{i}.jpg"), &picture(40 + i, 30, i));
    }
    for i in 0..4 {
        put(dir.path(), &format!("train/few/{i}.png"), &picture(20, 60, i));
    }
    put(dir.path(), "val/many/a.bmp", &picture(100, 50, 1));
    put_bytes(dir.path(), "val/many/broken.jpg", b"nothing");
    let data: std::path::PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/data"].iter().collect();
    for name in ["decode_animated.gif", "decode_rgb16.png", "decode_cmyk.jpg"] {
        put_bytes(dir.path(), &format!("val/few/{name}"), &std::fs::read(data.join(name)).unwrap());
    }
    dir
}

#[test]
fn counts_sizes_and_kinds() {
    let dir = dataset();
    let found = inspected(&dir, 2);
    assert_eq!(found.images, 21);
    let counts: Vec<_> = found.classes.iter().map(|c| (c.class.as_str(), c.train, c.val, c.test)).collect();
    assert_eq!(counts, [("few", 4, 3, 0), ("many", 12, 2, 0)]);
    assert_eq!(found.balance, Some(3.0));
    let sizes = found.sizes.unwrap();
    assert_eq!((sizes.width.min, sizes.width.median, sizes.width.max), (20, 43, 100));
    assert_eq!((sizes.height.min, sizes.height.median, sizes.height.max), (16, 30, 60));
    assert_eq!((sizes.aspect.min, sizes.aspect.max), (20.0 / 60.0, 2.0));
    let kinds = |kinds: &[tl_data::inspect::KindCount]| -> Vec<(String, usize)> {
        kinds.iter().map(|kind| (kind.kind.clone(), kind.images)).collect()
    };
    let formats = kinds(&found.formats);
    assert_eq!(formats[0], ("JPEG".to_owned(), 13));
    assert_eq!(formats[1], ("PNG".to_owned(), 5));
    assert!(kinds(&found.colours).contains(&("CMYK, 8 bits".to_owned(), 1)));
    assert!(kinds(&found.colours).contains(&("RGB, 16 bits".to_owned(), 1)));
    assert_eq!((found.animated, found.first_animated[0].as_str()), (1, "val/few/decode_animated.gif"));
    assert_eq!((found.unreadable, found.first_unreadable[0].rel.as_str()), (1, "val/many/broken.jpg"));
    assert!(found.bytes > 3000);
}

#[test]
fn it_reads_well_and_survives_json() {
    let dir = dataset();
    let found = inspected(&dir, 1);
    assert_eq!(found, inspected(&dir, 16));
    let text = found.to_string();
    for line in [
        "class    train      val     test",
        "few          4        3        0",
        "largest to smallest class: 3.00",
        "width, pixels         20        43       100",
        "animated: `val/few/decode_animated.gif`",
        "warning: the classes are skewed: 12 training images of `many`, 4 of `few` (3.0 times as many); look at the \
         recall of each class, not at the accuracy alone",
        "warning: fewer than 10 training images of `few` (4)",
        "warning: animated files: 1 (only the first frame of each is used)",
        "warning: files that are no readable images: 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n\n{text}");
    }
    let json = serde_json::to_string(&found).unwrap();
    assert_eq!(serde_json::from_str::<Inspection>(&json).unwrap(), found);
}

#[test]
fn nothing_to_look_at() {
    let contents = Contents {
        task: Task::Class,
        classes: &["a".to_owned(), "b".to_owned()],
        parts: Vec::new(),
        drawn: Vec::new(),
    };
    assert!(contents.is_empty());
    let found = inspect(&contents, &DataPool::new(1).unwrap(), &|_| {});
    assert_eq!((found.images, found.balance, found.sizes), (0, None, None));
    assert!(found.to_string().contains("0 images, 0 bytes"));
}

#[test]
fn turned_pictures_count_as_they_are_seen() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "a/1.png", &picture(30, 20, 1));
    put(dir.path(), "b/1.png", &picture(30, 20, 2));
    put(dir.path(), "b/2.png", &picture(30, 20, 2));
    let jpeg = put(dir.path(), "a/2.jpg", &picture(30, 20, 3));
    let bytes = std::fs::read(&jpeg).unwrap();
    let exif = b"\xFF\xE1\0\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x08\0\0\0\0\0\0\0";
    std::fs::write(&jpeg, [&bytes[..2], exif, &bytes[2..]].concat()).unwrap();
    let found = inspected(&dir, 2);
    assert_eq!(found.rotated.into_iter().collect::<Vec<_>>(), [(8, 1)]);
    let sizes = found.sizes.unwrap();
    assert_eq!((sizes.width.min, sizes.height.max), (20, 30));
}

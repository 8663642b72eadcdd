//! Datasets with something wrong, and what the doctor says of them.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are part of it")]

mod common;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{put, put_bytes};
use image::{Rgb, RgbImage};
use tl_data::doctor::{Problem, Report, Same, Severity};
use tl_data::split::SplitOptions;
use tl_data::{Contents, DataPool, Dataset, DoctorOptions, Quarantine, Task, examine, inspect};

/// A picture of soft patches that looks like no other: their places and colours depend on `seed` alone.
fn scene(width: u32, height: u32, seed: u64) -> RgbImage {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f64 / f64::from(1 << 24)
    };
    let patches: Vec<[f64; 6]> = (0..40).map(|_| std::array::from_fn(|_| next())).collect();
    RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = ((f64::from(x) + 0.5) / f64::from(width), (f64::from(y) + 0.5) / f64::from(height));
        let mut colour = [110.0_f64; 3];
        for [px, py, size, r, g, b] in &patches {
            let reach = 0.05 + size * 0.1;
            let strength = (1.0 - ((x - px).powi(2) + (y - py).powi(2)) / (reach * reach)).max(0.0);
            for (value, target) in colour.iter_mut().zip([r, g, b]) {
                *value += (target * 255.0 - *value) * strength.min(1.0);
            }
        }
        Rgb(colour.map(|value| value as u8))
    })
}

/// A scene with other levels.
fn toned(seed: u64, level: impl Fn(u8) -> u8) -> RgbImage {
    let mut image = scene(80, 60, seed);
    image.iter_mut().for_each(|value| *value = level(*value));
    image
}

fn examined(dir: &Path, threads: usize) -> Report {
    let folder = Dataset::open_leniently(dir, &SplitOptions::default(), &Default::default()).unwrap();
    let contents = Contents::from(&folder);
    let done = AtomicUsize::new(0);
    let progress = |_| {
        done.fetch_add(1, Ordering::Relaxed);
    };
    let pool = DataPool::new(threads).unwrap();
    let report = examine(&contents, Some(dir), &DoctorOptions::default(), &pool, &progress).unwrap();
    assert_eq!(done.into_inner(), report.images);
    report
}

/// A sound dataset of two classes, split.
fn sound() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..12 {
        for (class, offset) in [("a", 0), ("b", 100)] {
            put(dir.path(), &format!("train/{class}/{i:02}.png"), &scene(80, 60, i + offset));
            put(dir.path(), &format!("val/{class}/{i:02}.png"), &scene(80, 60, i + offset + 1000));
        }
    }
    dir
}

/// The findings of one kind: their files and what to leave out.
fn found(report: &Report, is: impl Fn(&Problem) -> bool) -> Vec<(Vec<&str>, Vec<&str>)> {
    let of = |finding: &'_ tl_data::doctor::Finding| is(&finding.problem);
    let of_kind = report.findings.iter().filter(|finding| of(finding));
    of_kind
        .map(|finding| {
            let files = finding.files.iter().map(|file| file.rel.as_str()).collect();
            (files, finding.leave_out.iter().map(String::as_str).collect())
        })
        .collect()
}

#[test]
fn a_sound_dataset_has_no_findings() {
    let dir = sound();
    let report = examined(dir.path(), 2);
    assert!(report.findings.is_empty(), "{report}");
    assert_eq!(
        report.to_string(),
        "48 images: nothing found\ncopies were looked for that are of another size, quality or brightness, or \
         mirrored; not those that are cropped or turned\n"
    );
}

#[test]
fn broken_files() {
    let dir = sound();
    let whole = fs::read(dir.path().join("train/a/00.png")).unwrap();
    put_bytes(dir.path(), "train/a/cut.png", &whole[..whole.len() / 2]);
    put_bytes(dir.path(), "train/a/empty.jpg", b"");
    put_bytes(dir.path(), "train/a/page.jpg", b"<!DOCTYPE html>");
    put(dir.path(), "train/b/dot.png", &scene(1, 1, 7));
    put(dir.path(), "train/b/line.png", &scene(200, 3, 8));
    let jpeg = put(dir.path(), "train/b/jpeg.jpg", &scene(80, 60, 500));
    let bytes = fs::read(&jpeg).unwrap();
    put_bytes(dir.path(), "train/b/grey_half.jpg", &[&bytes[..bytes.len() * 2 / 3], &[0xFF, 0xD9]].concat());
    fs::write(&jpeg, &bytes[..bytes.len() - 2]).unwrap();
    let report = examined(dir.path(), 2);
    let broken = found(&report, |p| matches!(p, Problem::Broken { .. }));
    assert_eq!(
        broken,
        [
            (vec!["train/a/cut.png"], vec!["train/a/cut.png"]),
            (vec!["train/a/empty.jpg"], vec!["train/a/empty.jpg"]),
            (vec!["train/a/page.jpg"], vec!["train/a/page.jpg"]),
        ]
    );
    let tiny = found(&report, |p| matches!(p, Problem::Tiny { .. }));
    assert_eq!(
        tiny,
        [(vec!["train/b/dot.png"], vec!["train/b/dot.png"]), (vec!["train/b/line.png"], Vec::new())]
    );
    assert_eq!(
        found(&report, |p| matches!(p, Problem::MissingBlocks { .. })),
        [(vec!["train/b/grey_half.jpg"], vec!["train/b/grey_half.jpg"])]
    );
    assert_eq!(
        found(&report, |p| matches!(p, Problem::NoEndMarker)),
        [(vec!["train/b/jpeg.jpg"], Vec::new())]
    );
    let severities: Vec<Severity> = report.findings.iter().map(|finding| finding.severity).collect();
    assert!(severities.is_sorted());
    assert_eq!(report.count(Severity::Error), 5);
    let text = report.to_string();
    assert!(text.starts_with("55 images: 5 errors, "), "{text}");
    assert!(text.contains("\nerror: broken (3)\n  train/a/cut.png: the PNG data ends early\n"), "{text}");
    assert!(text.contains("  train/a/page.jpg: it holds an HTML page"), "{text}");
    assert!(text.contains("  -> copy or download it again, or leave it out\n"), "{text}");
}

#[test]
fn exact_copies() {
    let dir = sound();
    let copy = |from: &str, to: &str| fs::copy(dir.path().join(from), dir.path().join(to)).unwrap();
    copy("train/a/00.png", "train/a/copy.png");
    copy("train/a/00.png", "train/a/another.png");
    // The same pixels in another format.
    put(dir.path(), "train/b/same.bmp", &scene(80, 60, 105));
    copy("val/a/01.png", "train/a/leak.png");
    copy("train/b/02.png", "train/a/wrong.png");
    let report = examined(dir.path(), 2);
    let bytes = Same::Bytes;
    assert_eq!(
        found(&report, |p| *p == Problem::Duplicate { same: bytes }),
        [(
            vec!["train/a/00.png", "train/a/another.png", "train/a/copy.png"],
            vec!["train/a/another.png", "train/a/copy.png"]
        )]
    );
    assert_eq!(
        found(&report, |p| *p == Problem::Duplicate { same: Same::Pixels }),
        [(vec!["train/b/05.png", "train/b/same.bmp"], vec!["train/b/same.bmp"])]
    );
    assert_eq!(
        found(&report, |p| *p == Problem::Leak { same: bytes }),
        [(vec!["train/a/leak.png", "val/a/01.png"], vec!["train/a/leak.png"])]
    );
    let both = vec!["train/a/wrong.png", "train/b/02.png"];
    assert_eq!(found(&report, |p| matches!(p, Problem::Conflict { .. })), [(both.clone(), both)]);
    let conflict = report.findings.iter().find(|f| matches!(f.problem, Problem::Conflict { .. })).unwrap();
    assert_eq!(conflict.problem.detail(), "`a`, `b`");
    assert_eq!(report.findings.len(), 4, "{report}");
}

#[test]
fn near_copies() {
    let dir = sound();
    let small = image::imageops::resize(&scene(80, 60, 3), 57, 41, image::imageops::FilterType::Triangle);
    put(dir.path(), "val/a/small.png", &small);
    put(dir.path(), "train/b/dark.png", &toned(104, |level| level / 4 * 3));
    put(dir.path(), "val/a/other.jpg", &scene(80, 60, 1106));
    let report = examined(dir.path(), 2);
    let near = Same::Near;
    assert_eq!(
        found(&report, |p| *p == Problem::Leak { same: near }),
        [(vec!["train/a/03.png", "val/a/small.png"], vec!["train/a/03.png"])]
    );
    assert_eq!(
        found(&report, |p| *p == Problem::Duplicate { same: near }),
        [(vec!["train/b/04.png", "train/b/dark.png"], Vec::new())]
    );
    let both = vec!["val/a/other.jpg", "val/b/06.png"];
    assert_eq!(
        found(&report, |p| matches!(p, Problem::Conflict { same: Same::Near, .. })),
        [(both.clone(), both)]
    );
    assert_eq!(report.findings.len(), 3, "{report}");
    // A guess is no entry of the list, but a comment.
    let list = Quarantine::of(&report);
    assert!(list.entries.is_empty());
    let doubtful: Vec<&str> = list.doubtful.iter().map(|entry| entry.rel.as_str()).collect();
    assert_eq!(doubtful, ["train/a/03.png", "val/a/other.jpg", "val/b/06.png"]);
    let text = list.to_string();
    let line = "\n#train/a/03.png\tnearly the same picture in several parts of the data: val/a/small.png\n";
    assert!(text.contains(line), "{text}");
    assert!(Quarantine::parse(&text).unwrap().entries.is_empty());
    let taken = Quarantine::parse(&text.replace("#train", "train")).unwrap();
    assert_eq!(taken.entries[0].rel, "train/a/03.png");
}

#[test]
fn mirrored_copies() {
    let dir = sound();
    put(dir.path(), "val/a/mirror.jpg", &image::imageops::flip_horizontal(&scene(120, 90, 3)));
    let report = examined(dir.path(), 2);
    assert_eq!(
        found(&report, |p| *p == Problem::Leak { same: Same::Near }),
        [(vec!["train/a/03.png", "val/a/mirror.jpg"], vec!["train/a/03.png"])]
    );
    assert_eq!(report.findings.len(), 1, "{report}");
    assert_eq!(report.findings[0].kept.as_deref(), Some("val/a/mirror.jpg"));
    let text = report.to_string();
    assert!(text.contains("\n  val/a/mirror.jpg ~ train/a/03.png (the first is kept)\n"), "{text}");
}

#[test]
fn parts_drawn_at_random_are_one() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..20 {
        for (class, offset) in [("a", 0), ("b", 100)] {
            put(dir.path(), &format!("{class}/{i:02}.png"), &scene(80, 60, i + offset));
        }
    }
    for i in 0..10 {
        fs::copy(dir.path().join(format!("a/{i:02}.png")), dir.path().join(format!("a/{i:02}-copy.png")))
            .unwrap();
        put(dir.path(), &format!("b/{i:02}-small.png"), &scene(72, 54, i + 100));
    }
    let report = examined(dir.path(), 2);
    let copies = found(&report, |p| *p == Problem::Duplicate { same: Same::Bytes });
    assert_eq!(copies.len(), 10);
    assert_eq!(copies[3], (vec!["a/03-copy.png", "a/03.png"], vec!["a/03.png"]));
    let near = found(&report, |p| *p == Problem::Duplicate { same: Same::Near });
    assert_eq!(near.len(), 10);
    assert_eq!(near[3], (vec!["b/03-small.png", "b/03.png"], vec!["b/03-small.png"]));
    assert_eq!(report.findings.len(), 20, "{report}");
    assert!(report.findings.iter().all(|finding| finding.files.iter().all(|file| file.part.is_none())));
    assert_eq!(
        report.warnings,
        [
            "leaving out what is listed takes 10 of 60 images (16.7 %)",
            "leaving out all that are nearly the same takes 10 of 60 images (16.7 %)"
        ]
    );
    assert!(
        report.to_string().contains("\n\nWARNING: leaving out what is listed takes 10 of 60"),
        "{report}"
    );
    let folder = Dataset::open(dir.path(), &SplitOptions::default()).unwrap();
    assert_eq!(Contents::from(&folder).drawn.len(), 2);
}

#[test]
fn a_whole_class_would_go() {
    let dir = sound();
    for i in 0..2 {
        for (part, class) in [("train", "c"), ("train", "a"), ("val", "c")] {
            put(dir.path(), &format!("{part}/{class}/new{i}.png"), &scene(80, 60, 5000 + i));
        }
    }
    let report = examined(dir.path(), 2);
    assert!(report.warnings.contains(&"leaving out what is listed takes all images of class `c`".to_owned()));
}

#[test]
fn small_pictures_have_to_be_closer() {
    let dir = sound();
    let base = scene(28, 28, 40);
    let mut other = base.clone();
    for (x, y, pixel) in other.enumerate_pixels_mut() {
        if (8..11).contains(&x) && (4..15).contains(&y) {
            pixel.0 = pixel.0.map(|level| level.wrapping_add(40));
        }
    }
    put(dir.path(), "train/a/small.png", &base);
    put(dir.path(), "val/a/small.png", &other);
    put(dir.path(), "val/a/again.png", &image::imageops::brighten(&base, -6));
    let report = examined(dir.path(), 1);
    let leaks = found(&report, |p| *p == Problem::Leak { same: Same::Near });
    assert_eq!(leaks, [(vec!["train/a/small.png", "val/a/again.png"], vec!["train/a/small.png"])]);
}

#[test]
fn formats_that_are_not_decoded() {
    let dir = sound();
    let at = |rel: &str| dir.path().join(rel);
    put_bytes(dir.path(), "train/a/phone.heic", b"\0\0\0\x18ftypheic\0\0\0\0");
    put_bytes(dir.path(), "train/a/phone.jpg", b"\0\0\0\x18ftypheic\0\0\0\0");
    put_bytes(dir.path(), "train/a/film.mp4", b"\0\0\0\x18ftypmp42\0\0\0\0");
    put_bytes(dir.path(), "train/b/drawing.svg", b"<?xml version=\"1.0\"?><svg width=\"9\">");
    put_bytes(dir.path(), "train/b/scan.dcm", &[&[0; 128][..], b"DICM"].concat());
    put_bytes(dir.path(), "train/b/old.jp2", b"\0\0\0\x0CjP  \r\n\x87\n");
    let data: std::path::PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "tests/data/decode_float.tif"].iter().collect();
    fs::copy(data, at("train/a/float.tif")).unwrap();
    let mut pages = std::io::Cursor::new(Vec::new());
    let mut encoder = tiff::encoder::TiffEncoder::new(&mut pages).unwrap();
    for seed in [700, 701] {
        let page = scene(80, 60, seed);
        encoder.write_image::<tiff::encoder::colortype::RGB8>(80, 60, page.as_raw()).unwrap();
    }
    put_bytes(dir.path(), "train/b/pages.tif", pages.get_ref());

    let report = examined(dir.path(), 2);
    let unsupported = found(&report, |p| matches!(p, Problem::Unsupported { .. }));
    let files: Vec<&str> = unsupported.iter().map(|(files, _)| files[0]).collect();
    assert_eq!(files, ["train/a/float.tif", "train/a/phone.jpg"]);
    let text = report.to_string();
    for line in [
        "error: not supported (2)",
        "  train/a/float.tif: a TIFF of kind grey, 32 bits",
        "  train/a/phone.jpg: a HEIC or AVIF image",
        "  -> convert it to PNG or 8-bit TIFF",
        "  train/a/phone.heic: it is HEIC",
        "  train/b/drawing.svg: it is SVG",
        "  train/b/old.jp2: it is JPEG 2000",
        "  train/b/scan.dcm: it is DICOM",
        "  -> convert it to JPEG or PNG if it should be used",
        "note: a TIFF of which only the first page is used (1)",
        "  train/b/pages.tif",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n\n{text}");
    }
    assert!(!text.contains("film.mp4"), "{text}");

    let dataset = Dataset::open(dir.path(), &SplitOptions::default()).unwrap();
    let found = inspect(&Contents::from(&dataset), &DataPool::new(1).unwrap(), &|_| {});
    assert_eq!(found.paged, 1);
    assert!(
        found.to_string().contains("warning: TIFF files with several pages: 1 (only the first page is used)")
    );
}

#[test]
fn the_worst_comes_first_and_names_do_not_steer_the_terminal() {
    let dir = sound();
    put(dir.path(), "train/a/a.png", &scene(400, 300, 900));
    put(dir.path(), "train/a/b.png", &scene(800, 600, 901));
    for name in ["x1", "x2"] {
        put(dir.path(), &format!("train/a/{name}.png"), &scene(80, 60, 902));
    }
    for name in ["y1", "y2", "y3\u{1b}[2J"] {
        put(dir.path(), &format!("train/a/{name}.png"), &scene(80, 60, 903));
    }
    let report = examined(dir.path(), 1);
    let sizes = found(&report, |p| matches!(p, Problem::Size { .. }));
    assert_eq!(sizes[0].0, ["train/a/b.png"]);
    let copies = found(&report, |p| matches!(p, Problem::Duplicate { same: Same::Bytes }));
    assert_eq!((copies[0].0.len(), copies[1].0.len()), (3, 2));
    let text = report.to_string();
    assert!(!text.contains('\u{1b}') && text.contains("train/a/y3\\u{1b}[2J.png"), "{text}");
}

#[test]
fn a_group_of_copies_in_all_parts_keeps_the_one_tested_on() {
    let dir = sound();
    for (at, size) in
        [("train/a/x.png", 90), ("train/a/y.png", 120), ("val/a/x.png", 100), ("test/a/x.png", 80)]
    {
        put(dir.path(), at, &scene(size, size, 77));
    }
    put(dir.path(), "test/b/z.png", &scene(60, 60, 78));
    let exact = scene(80, 60, 79);
    for at in ["train/b/e.png", "val/b/e.png", "val/b/f.png"] {
        put(dir.path(), at, &exact);
    }
    let report = examined(dir.path(), 2);
    let near = found(&report, |p| *p == Problem::Leak { same: Same::Near });
    assert_eq!(near.len(), 1);
    assert_eq!(near[0].1, ["train/a/x.png", "train/a/y.png", "val/a/x.png"]);
    let exact = found(&report, |p| *p == Problem::Leak { same: Same::Bytes });
    assert_eq!(
        exact,
        [(vec!["train/b/e.png", "val/b/e.png", "val/b/f.png"], vec!["train/b/e.png", "val/b/f.png"])]
    );
}

#[test]
fn pictures_that_stand_out() {
    let dir = sound();
    put(dir.path(), "train/a/huge.png", &scene(800, 600, 900));
    put(dir.path(), "train/a/long.png", &scene(240, 40, 901));
    put(dir.path(), "train/b/paper.png", &toned(902, |level| 180 + level / 4));
    put(dir.path(), "train/b/blank.png", &RgbImage::from_pixel(80, 60, Rgb([120, 121, 119])));
    fs::rename(dir.path().join("train/b/00.png"), dir.path().join("train/b/00.jpg")).unwrap();
    let report = examined(dir.path(), 2);
    let files = |is: fn(&Problem) -> bool| -> Vec<Vec<&str>> {
        found(&report, is).into_iter().map(|(files, _)| files).collect()
    };
    assert_eq!(files(|p| matches!(p, Problem::Size { .. })), [["train/a/huge.png"]]);
    assert_eq!(files(|p| matches!(p, Problem::Aspect { .. })), [["train/a/long.png"]]);
    assert_eq!(files(|p| matches!(p, Problem::Brightness { .. })), [["train/b/paper.png"]]);
    assert_eq!(files(|p| matches!(p, Problem::Uniform { .. })), [["train/b/blank.png"]]);
    assert_eq!(files(|p| matches!(p, Problem::WrongExtension { .. })), [["train/b/00.jpg"]]);
    assert!(report.findings.iter().all(|finding| finding.leave_out.is_empty()));
}

#[test]
fn blank_pages_are_not_copies_of_each_other() {
    let dir = sound();
    for i in 0..5_u8 {
        put(dir.path(), &format!("train/a/blank{i}.png"), &RgbImage::from_pixel(80, 60, Rgb([250 - i; 3])));
    }
    let report = examined(dir.path(), 1);
    assert_eq!(found(&report, |p| matches!(p, Problem::Uniform { .. })).len(), 5);
    assert_eq!((report.findings.len(), report.without_detail), (5, 5), "{report}");
    let line = "\nimages with too little detail to be compared with others: 5\n";
    assert!(report.to_string().contains(line), "{report}");
}

#[cfg(unix)]
#[test]
fn links_names_and_permissions() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{PermissionsExt, symlink};

    let dir = sound();
    let at = |rel: &str| dir.path().join(rel);
    symlink(at("train"), at("train/a/loop")).unwrap();
    symlink(at("train/a/self"), at("train/a/self")).unwrap();
    fs::copy(at("val/b/00.png"), at("photo.dat")).unwrap();
    fs::write(at("train/a/notes.txt"), "no image").unwrap();
    fs::write(at("train/a/.hidden"), [0xFF, 0xD8, 0xFF]).unwrap();
    fs::rename(at("train/a/03.png"), at("train/a").join(OsStr::from_bytes(b"\xE4.png"))).unwrap();
    fs::set_permissions(at("train/a/05.png"), fs::Permissions::from_mode(0o000)).unwrap();
    // To root every file is open.
    let closed = fs::read(at("train/a/05.png")).is_err();
    let folder = Dataset::open(dir.path(), &SplitOptions::default());
    assert!(folder.is_err(), "a link to itself is an error when a folder is opened");
    fs::remove_file(at("train/a/self")).unwrap();
    let report = examined(dir.path(), 2);
    let files = |is: fn(&Problem) -> bool| -> Vec<Vec<&str>> {
        found(&report, is).into_iter().map(|(files, _)| files).collect()
    };
    assert_eq!(files(|p| matches!(p, Problem::LinkLoop)), [["train/a/loop"]]);
    assert_eq!(files(|p| matches!(p, Problem::NotListed { .. })), [["photo.dat"]]);
    assert_eq!(files(|p| matches!(p, Problem::NotUtf8)), [["train/a/\\xE4.png"]]);
    let unreadable = files(|p| matches!(p, Problem::Unreadable { .. }));
    assert_eq!(unreadable.len(), usize::from(closed));
    fs::set_permissions(at("train/a/05.png"), fs::Permissions::from_mode(0o644)).unwrap();

    // What cannot be opened as a dataset can be looked at nevertheless.
    symlink(at("nowhere"), at("train/b/lost.png")).unwrap();
    symlink(at("train/a/self"), at("train/a/self")).unwrap();
    put_bytes(dir.path(), "train/b/broken.png", b"");
    let report = examined(dir.path(), 1);
    assert_eq!(found(&report, |p| *p == Problem::BrokenLink), [(vec!["train/b/lost.png"], Vec::new())]);
    assert_eq!(found(&report, |p| *p == Problem::LinkLoop).len(), 2);
    assert_eq!(found(&report, |p| matches!(p, Problem::Broken { .. })).len(), 1, "the rest is examined");
    assert_eq!(report.images, 49);
    assert!(Dataset::open(dir.path(), &SplitOptions::default()).is_err());
    let nothing = Contents { task: Task::Class, classes: &[], parts: Vec::new(), drawn: Vec::new() };
    let pool = DataPool::new(1).unwrap();
    let report = examine(&nothing, Some(dir.path()), &DoctorOptions::default(), &pool, &|_| {}).unwrap();
    assert_eq!(found(&report, |p| *p == Problem::BrokenLink), [(vec!["train/b/lost.png"], Vec::new())]);
    assert_eq!(found(&report, |p| *p == Problem::LinkLoop).len(), 2);
    let missing = examine(&nothing, Some(&at("gone")), &DoctorOptions::default(), &pool, &|_| {}).unwrap();
    assert!(matches!(missing.findings[0].problem, Problem::Unreadable { .. }));
}

#[test]
fn a_sample_that_vanished() {
    let dir = sound();
    let folder = Dataset::open(dir.path(), &SplitOptions::default()).unwrap();
    fs::remove_file(dir.path().join("val/b/07.png")).unwrap();
    let pool = DataPool::new(2).unwrap();
    let options = DoctorOptions::default();
    let report = examine(&Contents::from(&folder), None, &options, &pool, &|_| {}).unwrap();
    let gone = found(&report, |p| matches!(p, Problem::Unreadable { .. }));
    assert_eq!(gone, [(vec!["val/b/07.png"], vec!["val/b/07.png"])]);
    assert_eq!(report.findings[0].problem.detail(), "it does not exist");
}

#[test]
fn threads_do_not_matter_and_json_comes_back() {
    let dir = sound();
    for i in 0..6 {
        put(dir.path(), &format!("train/a/copy{i}.jpg"), &scene(80, 60, 1000 + i % 3));
        put_bytes(dir.path(), &format!("train/b/bad{i}.png"), b"bad");
        put(dir.path(), &format!("train/b/large{i}.png"), &scene(300 + i as u32, 300, i));
    }
    let report = examined(dir.path(), 1);
    assert!(report.findings.len() > 10, "{report}");
    for threads in [2, 16] {
        assert_eq!(report, examined(dir.path(), threads));
    }
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    let first: serde_json::Value = serde_json::to_value(&report.findings[0]).unwrap();
    assert_eq!(first["severity"], "error");
    assert_eq!(first["problem"], "broken");
    assert!(first["files"][0]["part"] == "train" && first["files"][0]["class"] == "b", "{first}");
}

#[test]
fn options_are_checked() {
    let nothing = Contents { task: Task::Class, classes: &[], parts: Vec::new(), drawn: Vec::new() };
    let pool = DataPool::new(1).unwrap();
    let good = DoctorOptions::default();
    for (options, text) in [
        (DoctorOptions { near: Some(16), ..good }, "option `near` is 16 (expected 0 to 15 bits)"),
        (DoctorOptions { score: f64::NAN, ..good }, "option `score` is NaN (expected a number above 0)"),
        (DoctorOptions { min_side: 0, ..good }, "option `min_side` is 0 (expected at least 1 pixel)"),
    ] {
        let error = examine(&nothing, None, &options, &pool, &|_| {}).unwrap_err();
        assert_eq!(error.to_string(), text);
    }
    let exact = DoctorOptions { near: None, ..good };
    assert!(examine(&nothing, None, &exact, &pool, &|_| {}).unwrap().findings.is_empty());
}

//! Every layout of a dataset folder, and everything that can be wrong with one.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are part of it")]

mod common;

use std::fs;
use std::path::PathBuf;

use common::{put_bytes, tree};
use tl_data::{
    DataPool, Dataset, LabelledFolder, Sample, SplitMode, SplitOptions, SplitSource, fingerprint, list_images,
};

const GIVEN: SplitSource = SplitSource::Given { column: false };

fn rels(samples: &[Sample]) -> Vec<&str> {
    samples.iter().map(|sample| sample.rel.as_str()).collect()
}

fn open(dir: &tempfile::TempDir) -> Dataset {
    Dataset::open(dir.path(), &SplitOptions::default()).unwrap()
}

/// The error with the folder's own path written as `DIR`.
fn error(dir: &tempfile::TempDir) -> String {
    let error = Dataset::open(dir.path(), &SplitOptions::default()).unwrap_err();
    error.to_string().replace(&dir.path().display().to_string(), "DIR")
}

#[test]
fn split_folders() {
    let dir = tree(&[
        "train/b/2.png",
        "train/b/1.PNG",
        "train/a/x.Jpg",
        "val/a/y.gif",
        "val/b/z.bmp",
        "test/a/t.ppm",
    ]);
    put_bytes(dir.path(), "labels.csv", b"");
    put_bytes(dir.path(), "train/a/notes.txt", b"");
    put_bytes(dir.path(), "train/a/Thumbs.db", b"");
    put_bytes(dir.path(), "train/a/.DS_Store", b"");
    put_bytes(dir.path(), "train/.ipynb_checkpoints/x.png", b"");
    let folder = open(&dir);
    assert_eq!(folder.classes, ["a", "b"]);
    assert_eq!(rels(&folder.train), ["train/a/x.Jpg", "train/b/1.PNG", "train/b/2.png"]);
    assert_eq!(folder.train.iter().map(|sample| sample.label).collect::<Vec<_>>(), [0, 1, 1]);
    assert_eq!(rels(&folder.val), ["val/a/y.gif", "val/b/z.bmp"]);
    assert_eq!(rels(&folder.test), ["test/a/t.ppm"]);
    assert_eq!(folder.split, GIVEN);
    assert_eq!((folder.ignored.files, folder.ignored.hidden), (1, 3));
    assert_eq!(folder.ignored.first, ["train/a/notes.txt"]);
    assert_eq!(folder.warnings, ["no test images of `b`"]);
    assert!(folder.train.iter().all(|sample| sample.path.is_file()));
}

#[test]
fn other_names_for_the_parts() {
    for (train, val) in [
        ("Train", "valid"),
        ("training", "Validation"),
        ("TRAIN", "dev"),
        ("training_set", "val_set"),
        ("train-set", "ValidationSet"),
    ] {
        let names = [("a", 1), ("b", 2)]
            .map(|(class, i)| [format!("{train}/{class}/{i}.png"), format!("{val}/{class}/{i}.png")]);
        let names: Vec<&str> = names.iter().flatten().map(String::as_str).collect();
        let folder = open(&tree(&names));
        assert_eq!((folder.train.len(), folder.val.len(), folder.split), (2, 2, GIVEN));
    }
}

#[test]
fn parts_are_not_taken_for_classes() {
    let look_like = |names: &[&str], folders: &str| {
        let text = error(&tree(names));
        let expected = format!(
            "the folders {folders} look like parts of the data, not like classes\n\nhint: rename them to `train`, \
             `val` and `test`, with a folder for each class inside; if they are classes, list the images in a table"
        );
        assert!(text.ends_with(&expected), "{text}");
    };
    look_like(&["val/a/1.png", "val/b/1.png", "test_set/a/1.png", "other/b/2.png"], "`test_set`, `val`");
    look_like(&["train/1.png", "test/2.png"], "`test`, `train`");
    look_like(&["A/cat/1.png", "A/dog/1.png", "B/cat/1.png", "B/dog/1.png", "B/emu/1.png"], "`A`, `B`");
    look_like(&["cat/1.png", "dog/1.png", "test/cat/1.png", "test/dog/1.png"], "`test`");
    let inside = error(&tree(&["cat/train/1.png", "cat/val/2.png", "dog/train/1.png", "dog/val/2.png"]));
    assert!(
        inside.ends_with(
            "the folders `cat`, `dog` hold parts of the data rather than images of a class\n\n\
             hint: put the parts above the classes, as in `DIR/train/<class>/`"
        ),
        "{inside}"
    );
    // Folders inside of classes are no parts where there is an image beside them, or where no two are alike.
    for names in [
        ["a/1.png", "a/x/1.png", "a/y/2.png", "b/x/1.png", "b/y/2.png"],
        ["a/x/1.png", "a/y/2.png", "b/z/1.png", "b/x/2.png", "b/u/3.png"],
    ] {
        assert_eq!(open(&tree(&names)).classes, ["a", "b"]);
    }
}

#[test]
fn data_to_look_at_need_not_validate() {
    let look = SplitOptions { mode: SplitMode::None, ..SplitOptions::default() };
    let flat = Dataset::open(tree(&["a/1.png", "b/1.png"]).path(), &look).unwrap();
    assert_eq!(
        (rels(&flat.train), flat.val.len(), &flat.split),
        (vec!["a/1.png", "b/1.png"], 0, &SplitSource::None)
    );
    let parts = tree(&["train/a/1.png", "train/b/1.png", "test/a/1.png"]);
    let parts = Dataset::open(parts.path(), &look).unwrap();
    assert_eq!((parts.train.len(), parts.val.len(), parts.test.len(), &parts.split), (2, 0, 1, &GIVEN));
}

#[test]
fn a_class_without_validation_images_is_a_warning() {
    let dir = tree(&["train/a/1.png", "train/b/1.png", "train/c/1.png", "val/a/1.png"]);
    fs::create_dir(dir.path().join("val/c")).unwrap();
    fs::create_dir(dir.path().join("models")).unwrap();
    let folder = open(&dir);
    assert_eq!(
        folder.warnings,
        ["folder `models` beside `train` is not used", "no validation images of `b`, `c`"]
    );
}

#[test]
fn class_folders_are_split() {
    let names: Vec<String> =
        ["b", "a", "A"].iter().flat_map(|class| (0..10).map(move |i| format!("{class}/{i}.png"))).collect();
    let dir = tree(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let folder = open(&dir);
    assert_eq!(folder.classes, ["A", "a", "b"]);
    assert_eq!((folder.train.len(), folder.val.len()), (24, 6));
    for label in 0..3 {
        assert_eq!(folder.val.iter().filter(|sample| sample.label == label).count(), 2);
    }
    assert_eq!(folder.split.to_string(), "0.2 for validation, seed 0");
    let mut all = [rels(&folder.train), rels(&folder.val)].concat();
    all.sort();
    let mut names = names.iter().map(String::as_str).collect::<Vec<_>>();
    names.sort();
    assert_eq!(all, names);

    // The same names elsewhere, made in another order, give the same split; another seed does not.
    names.reverse();
    let again = open(&tree(&names));
    assert_eq!(rels(&again.val), rels(&folder.val));
    assert_eq!(again.val[0].id, folder.val[0].id);
    let other = Dataset::open(dir.path(), &SplitOptions { seed: 1, ..SplitOptions::default() }).unwrap();
    assert_ne!(rels(&other.val), rels(&folder.val));
    let half =
        Dataset::open(dir.path(), &SplitOptions { val_fraction: 0.5, ..SplitOptions::default() }).unwrap();
    assert_eq!(half.val.len(), 15);
}

#[test]
fn the_id_of_a_sample_never_changes() {
    let folder = open(&tree(&["a/1.png", "a/2.png", "b/1.png", "b/2.png"]));
    let ids: Vec<(&str, u64)> =
        folder.train.iter().chain(&folder.val).map(|sample| (sample.rel.as_str(), sample.id)).collect();
    // The first 8 bytes of `printf a/1.png | sha256sum`, read from the right.
    assert!(ids.contains(&("a/1.png", 0x8284070893ea3086)), "{ids:x?}");
}

#[test]
fn validation_images_are_made_from_train_when_there_are_none() {
    let folder =
        open(&tree(&["train/a/1.png", "train/a/2.png", "train/b/1.png", "train/b/2.png", "test/a/1.png"]));
    assert_eq!((folder.train.len(), folder.val.len(), folder.test.len()), (2, 2, 1));
    assert!(matches!(folder.split, SplitSource::Made { within_train: true, .. }));
}

#[test]
fn a_single_image_trains() {
    let folder = open(&tree(&["a/1.png", "a/2.png", "b/1.png"]));
    assert_eq!((folder.train.len(), folder.val.len()), (2, 1));
    assert_eq!(folder.warnings, ["no validation images of `b`"]);
}

#[test]
fn a_class_may_be_called_train() {
    let folder = open(&tree(&["bus/1.png", "bus/2.png", "train/1.png", "train/2.png"]));
    assert_eq!(folder.classes, ["bus", "train"]);
}

#[test]
fn folders_inside_a_class_belong_to_it() {
    let dir = tree(&["a/2020/may/1.png", "a/0.png", "b/1.png", "b/2.png", "loose.png"]);
    let folder = open(&dir);
    let mut all = [rels(&folder.train), rels(&folder.val)].concat();
    all.sort();
    assert_eq!(all, ["a/0.png", "a/2020/may/1.png", "b/1.png", "b/2.png"]);
    assert_eq!(
        folder.warnings,
        [format!("1 images beside the class folders of `{}` are not used", dir.path().display())]
    );
}

#[cfg(unix)]
#[test]
fn links_are_followed_once() {
    use std::os::unix::fs::symlink;
    let dir = tree(&["a/deep/er/1.png", "a/2.png", "b/1.png", "b/2.png"]);
    let at = |rel: &str| dir.path().join(rel);
    symlink(at("a"), at("a/deep/loop")).unwrap();
    symlink(dir.path(), at("a/top")).unwrap();
    symlink("..", at("b/up")).unwrap();
    symlink(at("a/deep/er"), at("a/0-first")).unwrap();
    symlink(at("a/2.png"), at("b/3.png")).unwrap();
    let folder = open(&dir);
    let mut all = [rels(&folder.train), rels(&folder.val)].concat();
    all.sort();
    assert_eq!(all, ["a/0-first/1.png", "a/2.png", "b/1.png", "b/2.png", "b/3.png"]);

    symlink(at("nowhere"), at("b/4.png")).unwrap();
    assert!(error(&dir).contains("`DIR/b/4.png` cannot be read: "), "{}", error(&dir));
}

#[cfg(unix)]
#[test]
fn odd_names() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let dir = tree(&["it's \"b\"/a b.png", "it's \"b\"/ü 🦋.png", "Ünïcode/1.png", "Ünïcode/new\nline.png"]);
    let odd = dir.path().join(OsStr::from_bytes(b"Z\xFF"));
    fs::create_dir(&odd).unwrap();
    for name in [&b"\xFE.png"[..], b"\xFD.png"] {
        fs::copy(dir.path().join("Ünïcode/1.png"), odd.join(OsStr::from_bytes(name))).unwrap();
    }
    let folder = open(&dir);
    assert_eq!(folder.classes, ["Z\\xFF", "it's \"b\"", "Ünïcode"]);
    let all: Vec<&Sample> = folder.train.iter().chain(&folder.val).collect();
    assert!(all.iter().any(|sample| sample.rel == "Z\\xFF/\\xFE.png"));
    assert!(all.iter().all(|sample| tl_data::decode_rgb(&sample.path).is_ok()));
    let mut ids: Vec<u64> = all.iter().map(|sample| sample.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 6);
    fingerprint(all, &folder.classes, &DataPool::new(2).unwrap()).unwrap();
}

#[test]
fn what_is_wrong_with_the_folder_itself() {
    let dir = tree(&[]);
    let hint = "hint: put images into `DIR/<class>/` or `DIR/train/<class>/` and `DIR/val/<class>/`";
    assert_eq!(error(&dir), format!("`DIR` cannot be used as an image folder: `DIR` is empty\n\n{hint}"));
    put_bytes(dir.path(), "a/readme.txt", b"");
    assert_eq!(
        error(&dir),
        format!("`DIR` cannot be used as an image folder: `DIR` holds no images\n\n{hint}")
    );

    let missing = Dataset::open("no/such".as_ref(), &SplitOptions::default()).unwrap_err();
    assert_eq!(missing.to_string(), "`no/such` cannot be used as an image folder: `no/such` does not exist");
    let file = put_bytes(dir.path(), "file", b"");
    let file = Dataset::open(&file, &SplitOptions::default()).unwrap_err().to_string();
    assert!(file.ends_with("is a file, not a folder"), "{file}");
    let dir = tree(&["a/1.png", "b/1.png", "b/2.png"]);
    for val_fraction in [0.0, 1.0, -0.1, f64::NAN] {
        let options = SplitOptions { val_fraction, ..SplitOptions::default() };
        let error = Dataset::open(dir.path(), &options).unwrap_err();
        assert!(error.to_string().starts_with("option `val_fraction` is "), "{error}");
    }
}

#[test]
fn the_wrong_level() {
    let dir = tree(&["1.png", "2.png"]);
    let text = error(&dir);
    assert!(
        text.contains("`DIR` holds 2 images but no class folders\n\nhint: give the folder above it"),
        "{text}"
    );

    for names in [["photos/a/1.png", "photos/b/1.png"], ["photos/train/a/1.png", "photos/val/a/1.png"]] {
        let text = error(&tree(&names));
        let expected = "there is only one class, `photos` (expected at least 2)\n\n\
            hint: the classes seem to lie further down; try `DIR/photos`";
        assert!(text.ends_with(expected), "{text}");
    }
    let text = error(&tree(&["a/1.png", "a/2.png"]));
    assert!(text.ends_with("there is only one class, `a` (expected at least 2)"), "{text}");
}

#[test]
fn all_problems_are_reported_together() {
    let dir = tree(&["train/a/1.png", "val/a/1.png", "val/cat/1.png", "val/dog/1.png"]);
    fs::create_dir_all(dir.path().join("train/b")).unwrap();
    fs::create_dir_all(dir.path().join("test/a")).unwrap();
    assert_eq!(
        error(&dir),
        "`DIR` cannot be used as an image folder: 4 problems\
        \n  - class `b` has no images in `DIR/train/b`\
        \n  - class `cat` in `DIR/val` is not one of the 2 classes trained on\
        \n  - class `dog` in `DIR/val` is not one of the 2 classes trained on\
        \n  - `DIR/test` holds no images\
        \n\nhint: add images to the class, or remove its folder\
        \nhint: train has `a`, `b`\
        \nhint: put images into `DIR/<class>/` or `DIR/train/<class>/` and `DIR/val/<class>/`"
    );
}

#[test]
fn two_folders_for_one_part() {
    let text = error(&tree(&["train/a/1.png", "train/b/1.png", "val/a/1.png", "valid/b/1.png"]));
    assert!(text.contains("both `val` and `valid` look like the validation data"), "{text}");
}

#[cfg(unix)]
#[test]
fn an_unreadable_folder() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tree(&["a/1.png", "b/1.png"]);
    let locked = dir.path().join("a");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
    let readable = fs::read_dir(&locked).is_ok();
    // A superuser reads it all the same.
    if !readable {
        assert!(error(&dir).contains("`DIR/a` cannot be read: "), "{}", error(&dir));
    }
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn labelled_folders() {
    let classes = ["b", "a", "c"].map(str::to_owned);
    let open = |names: &[&str]| {
        let dir = tree(names);
        let result = LabelledFolder::open(dir.path(), &classes);
        result.map_err(|error| error.to_string().replace(&dir.path().display().to_string(), "DIR"))
    };
    let flat = open(&["a/1.png", "b/1.png"]).unwrap();
    assert_eq!((rels(&flat.samples), flat.part), (vec!["b/1.png", "a/1.png"], None));
    assert_eq!(flat.samples.iter().map(|sample| sample.label).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(flat.warnings, ["no labelled images of `c`"]);

    let test = open(&["train/a/1.png", "val/b/1.png", "test/c/1.png"]).unwrap();
    assert_eq!((rels(&test.samples), test.part.as_deref()), (vec!["test/c/1.png"], Some("test")));
    let val = open(&["train/a/1.png", "valid/b/1.png"]).unwrap();
    assert_eq!((rels(&val.samples), val.part.as_deref()), (vec!["valid/b/1.png"], Some("valid")));
    let alone = open(&["test/a/1.png"]).unwrap();
    assert_eq!(rels(&alone.samples), ["test/a/1.png"]);

    let unknown = open(&["a/1.png", "cat/1.png"]).unwrap_err();
    assert!(unknown.contains("class `cat` in `DIR` is not one of the 3 classes trained on"), "{unknown}");
    assert!(open(&["1.png"]).unwrap_err().contains("holds 1 images but no class folders"));
    assert!(open(&[]).unwrap_err().contains("`DIR` holds no images"));
}

#[test]
fn lists_of_images() {
    let dir = tree(&["in/b.png", "in/a.png", "in/deep/c.jpg", "one.png"]);
    let odd = put_bytes(dir.path(), "odd.dat", b"x");
    fs::create_dir(dir.path().join("none")).unwrap();
    let at = |rel: &str| dir.path().join(rel);
    let found = list_images(&[odd.clone(), at("in"), at("one.png")]).unwrap();
    assert_eq!(found, [odd, at("in/a.png"), at("in/b.png"), at("in/deep/c.jpg"), at("one.png")]);

    let error = list_images(&[at("in"), at("gone"), at("none")]).unwrap_err().to_string();
    assert!(
        error.contains("2 files and folders cannot be used") && error.contains("gone` does not exist"),
        "{error}"
    );
    assert!(error.contains("none` holds no images"), "{error}");
}

#[test]
fn fingerprints() {
    let dir = tree(&["a/1.png", "a/2.png", "b/1.png", "b/2.png"]);
    let folder = open(&dir);
    let all: Vec<Sample> = folder.train.iter().chain(&folder.val).cloned().collect();
    let pool = DataPool::new(1).unwrap();
    let first = fingerprint(&all, &folder.classes, &pool).unwrap();
    assert_eq!(first.len(), 64);
    for threads in [1, 2, 16] {
        let pool = DataPool::new(threads).unwrap();
        assert_eq!(fingerprint(all.iter().rev(), &folder.classes, &pool).unwrap(), first);
    }
    assert_ne!(fingerprint(&all[1..], &folder.classes, &pool).unwrap(), first);
    let renamed = ["a", "c"].map(str::to_owned);
    assert_ne!(fingerprint(&all, &renamed, &pool).unwrap(), first);
    let mut relabelled = all.clone();
    relabelled[0].label = 1 - relabelled[0].label;
    assert_ne!(fingerprint(&relabelled, &folder.classes, &pool).unwrap(), first);
    let error = fingerprint(&all, &folder.classes[1..], &pool).unwrap_err().to_string();
    assert_eq!(error, "option `label` is 1 (expected less than 1)");
    fs::write(&all[2].path, b"other").unwrap();
    assert_ne!(fingerprint(&all, &folder.classes, &pool).unwrap(), first);
    fs::remove_file(&all[2].path).unwrap();
    let error = fingerprint(&all, &folder.classes, &pool).unwrap_err().to_string();
    assert_eq!(error, format!("file `{}` cannot be read", all[2].path.display()));
}

/// Every dataset in `datasets/` is what its card says.
#[test]
fn the_cards_of_the_datasets_are_true() {
    let datasets: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "..", "datasets"].iter().collect();
    let mut cards = 0;
    for entry in fs::read_dir(datasets).unwrap() {
        let dir = entry.unwrap().path();
        let Ok(card) = fs::read_to_string(dir.join("card.json")) else { continue };
        let card: serde_json::Value = serde_json::from_str(&card).unwrap();
        // Sets of texts are held to their cards by `tl-text`.
        if card["kind"] == "texts" {
            continue;
        }
        cards += 1;
        assert_eq!(card["name"], dir.file_name().unwrap().to_str().unwrap());
        for file in ["README.md", "LICENSE", "make.py"] {
            assert!(dir.join(file).is_file(), "{} lacks {file}", dir.display());
        }
        let folder = Dataset::open(&dir, &SplitOptions::default()).unwrap();
        assert_eq!(card["classes"], serde_json::json!(folder.classes));
        assert_eq!(card["counts"]["train"], folder.train.len());
        assert_eq!(card["counts"]["val"], folder.val.len());
        assert_eq!(folder.split, GIVEN);
        let all: Vec<&Sample> = folder.train.iter().chain(&folder.val).chain(&folder.test).collect();
        let bytes: u64 = all.iter().map(|sample| sample.path.metadata().unwrap().len()).sum();
        assert_eq!(card["bytes"], bytes);
        let sum = fingerprint(all, &folder.classes, &DataPool::new(2).unwrap()).unwrap();
        assert_eq!(card["tree_sha256"], sum);
    }
    assert!(cards > 0);
}

//! From tables and folders to what trains: splits of all origins, checked and repeated.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are part of it")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{put_bytes, tree};
use tempfile::TempDir;
use tl_data::{
    ColumnChoice, DataError, Dataset, GroupPattern, LeftOut, Part, Sample, SplitFile, SplitMode,
    SplitOptions, SplitSource, Table, TableOptions, TargetSpec,
};

fn images(n: u32) -> TempDir {
    let names: Vec<String> =
        (0..n).map(|i| format!("{}/{}_{i}.png", ["x", "y"][i as usize % 2], i / 4)).collect();
    tree(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

fn rels(samples: &[Sample]) -> Vec<&str> {
    samples.iter().map(|sample| sample.rel.as_str()).collect()
}

/// A table of the images of `dir`, the class being the folder, with more columns.
fn table(dir: &TempDir, header: &str, more: impl Fn(&Sample) -> String) -> Table {
    let folder = Dataset::open(dir.path(), &SplitOptions::default()).unwrap();
    let mut text = format!("file,label{header}\n");
    for sample in folder.train.iter().chain(&folder.val).rev() {
        text += &format!("{},{}{}\n", sample.rel, folder.classes[sample.label as usize], more(sample));
    }
    let named = |name: &str| match header.split(',').any(|column| column == name) {
        true => ColumnChoice::Named(name.to_owned()),
        false => ColumnChoice::Guess,
    };
    let options = TableOptions { group: named("group"), weight: named("weight"), ..TableOptions::default() };
    Table::open(&put_bytes(dir.path(), "t.csv", text.as_bytes()), &options).unwrap()
}

fn plain(dir: &TempDir) -> Table {
    table(dir, "", |_| String::new())
}

#[test]
fn a_table_trains_as_its_folders_do() {
    let dir = images(40);
    for seed in 0..4 {
        let options = SplitOptions { seed, val_fraction: 0.3, ..SplitOptions::default() };
        let from_table = plain(&dir).into_dataset(&options).unwrap();
        let folder = Dataset::open(dir.path(), &options).unwrap();
        assert_eq!(
            (&from_table.train, &from_table.val, &from_table.classes),
            (&folder.train, &folder.val, &folder.classes)
        );
        assert_eq!(from_table.split.to_string(), format!("0.3 for validation, seed {seed}"));
        // What was understood is no warning.
        assert!(from_table.warnings.is_empty() && from_table.notes.len() == 3, "{from_table:?}");
    }
}

#[test]
fn the_column_of_the_split_decides() {
    let dir = images(12);
    let part = |sample: &Sample| [",train", ",valid", ",test"][sample.rel.len() % 3].to_owned();
    let dataset = table(&dir, ",split", part).into_dataset(&SplitOptions::default()).unwrap();
    assert_eq!(dataset.split, SplitSource::Given { column: true });
    for (samples, expected) in
        [(&dataset.train, ",train"), (&dataset.val, ",valid"), (&dataset.test, ",test")]
    {
        assert!(samples.iter().all(|sample| part(sample) == expected));
    }
    let mut sorted = dataset.train.clone();
    sorted.sort_by(|a, b| (a.label, &a.rel).cmp(&(b.label, &b.rel)));
    assert_eq!(sorted, dataset.train);
}

#[test]
fn training_images_validate_where_the_column_has_none() {
    let dir = images(40);
    let part = |sample: &Sample| if sample.rel.contains("/0_") { ",test" } else { ",train" }.to_owned();
    let dataset = table(&dir, ",split", part).into_dataset(&SplitOptions::default()).unwrap();
    assert_eq!((dataset.train.len(), dataset.val.len(), dataset.test.len()), (28, 8, 4));
    assert_eq!(dataset.split.to_string(), "0.2 for validation of the training part, seed 0");
}

#[test]
fn what_a_column_can_get_wrong() {
    let dir = images(12);
    let split = |part: &dyn Fn(&Sample) -> &'static str| {
        let table = table(&dir, ",split", |sample| format!(",{}", part(sample)));
        table.into_dataset(&SplitOptions::default()).unwrap_err().to_string()
    };
    let lines: Vec<String> =
        plain(&dir).records.iter().map(|r| format!("{} {}", &r.rel[..1], r.line)).collect();
    let first = |class: &str| {
        let line = lines.iter().find_map(|line| line.strip_prefix(class)).unwrap();
        format!("{}:{}", dir.path().join("t.csv").display(), line.trim())
    };
    let (x, y) = (first("x"), first("y"));
    assert_eq!(
        split(&|sample| if sample.rel.starts_with('x') { "train" } else { "val" }),
        format!(
            "the images cannot be split: class `y` has validation images, the first is `{y}`, but no training \
             images\n\nhint: move some of its images to the training part"
        )
    );
    assert_eq!(
        split(&|_| "test"),
        format!(
            "the images cannot be split: 4 problems\
            \n  - there are no training images\
            \n  - there are no validation images\
            \n  - class `x` has test images, the first is `{x}`, but no training images\
            \n  - class `y` has test images, the first is `{y}`, but no training images\
            \n\nhint: move some of its images to the training part"
        )
    );
    let list = TableOptions {
        classes: Some(["x", "y", "z"].map(str::to_owned).to_vec()),
        ..TableOptions::default()
    };
    let table = Table::open(
        &dir.path().join("t.csv"),
        &TableOptions { split: tl_data::ColumnChoice::Unused, ..list },
    )
    .unwrap();
    let error = table.into_dataset(&SplitOptions::default()).unwrap_err().to_string();
    assert!(error.contains("class `z` has no images"), "{error}");
}

#[test]
fn groups_by_column_and_by_name() {
    let dir = images(40);
    let group = |sample: &Sample| sample.rel[2..].split('_').next().unwrap().to_owned();
    let by_column = table(&dir, ",group", |sample| format!(",{}", group(sample)));
    let column = by_column.into_dataset(&SplitOptions::default()).unwrap();
    let pattern =
        SplitOptions { group: Some(GroupPattern::new(r"^(\d+)_").unwrap()), ..SplitOptions::default() };
    let name = plain(&dir).into_dataset(&pattern).unwrap();
    let folder = Dataset::open(dir.path(), &pattern).unwrap();
    for dataset in [&column, &name, &folder] {
        assert_eq!((&dataset.train, &dataset.val), (&column.train, &column.val));
        let train: BTreeSet<String> = dataset.train.iter().map(group).collect();
        assert!(dataset.val.iter().all(|sample| !train.contains(&group(sample))));
        assert_eq!((dataset.train.len(), dataset.val.len()), (32, 8));
        assert!(dataset.split.to_string().ends_with("groups kept together"));
    }
    let wrong =
        SplitOptions { group: Some(GroupPattern::new(r"^(\w)-").unwrap()), ..SplitOptions::default() };
    let error = plain(&dir).into_dataset(&wrong).unwrap_err().to_string();
    assert!(
        error.contains("40 problems\n  - `")
            && error.contains("has no group (expected a match of `^(\\w)-`)"),
        "{error}"
    );
}

#[test]
fn a_given_split_that_divides_groups_is_a_warning() {
    let dir = images(12);
    let more = |sample: &Sample| {
        let number: u32 = sample.rel.trim_end_matches(".png").rsplit('_').next().unwrap().parse().unwrap();
        format!(",{},g{}", ["train", "val"][usize::from([0, 4, 5, 8].contains(&number))], number / 4)
    };
    let dataset = table(&dir, ",split,group", more).into_dataset(&SplitOptions::default()).unwrap();
    assert_eq!(dataset.warnings, ["groups with images in more than one part: `g0`, `g1`, `g2`"]);
}

#[test]
fn rounds_of_cross_validation() {
    let dir = images(40);
    let mut held_out = Vec::new();
    for round in 0..5 {
        let mode = SplitMode::Fold { folds: 5, held_out: round };
        let dataset = plain(&dir)
            .into_dataset(&SplitOptions { mode: mode.clone(), ..SplitOptions::default() })
            .unwrap();
        assert_eq!((dataset.train.len(), dataset.val.len()), (32, 8));
        assert_eq!(dataset.val.iter().filter(|sample| sample.label == 0).count(), 4);
        assert_eq!(dataset.split.to_string(), format!("fold {round} of 0..5 for validation, seed 0"));
        held_out.extend(dataset.val.into_iter().map(|sample| sample.rel));
    }
    held_out.sort();
    held_out.dedup();
    assert_eq!(held_out.len(), 40);
    let mode = SplitMode::Fold { folds: 5, held_out: 5 };
    let error = plain(&dir).into_dataset(&SplitOptions { mode, ..SplitOptions::default() }).unwrap_err();
    assert_eq!(error.to_string(), "option `fold` is 5 (expected less than the number of folds, 5)");
    let test = |sample: &Sample| if sample.rel.contains("/0_") { ",test" } else { ",train" }.to_owned();
    let mode = SplitMode::Fold { folds: 2, held_out: 0 };
    let dataset =
        table(&dir, ",split", test).into_dataset(&SplitOptions { mode, ..SplitOptions::default() }).unwrap();
    assert_eq!((dataset.train.len(), dataset.val.len(), dataset.test.len()), (18, 18, 4));
    assert!(dataset.warnings.is_empty(), "{:?}", dataset.warnings);
    let val = |sample: &Sample| if sample.rel.contains("/0_") { ",val" } else { ",train" }.to_owned();
    let mode = SplitMode::Fold { folds: 2, held_out: 0 };
    let dataset =
        table(&dir, ",split", val).into_dataset(&SplitOptions { mode, ..SplitOptions::default() }).unwrap();
    assert_eq!(
        dataset.warnings,
        [
            "the folds are made of training and validation images together; of the column of the data only the test \
          images count"
        ]
    );
}

#[test]
fn a_saved_split_pins_the_parts() {
    let dir = images(20);
    let first = plain(&dir);
    let split = first.split(&SplitOptions { seed: 7, ..SplitOptions::default() }).unwrap();
    let text = first.split_file(&split).unwrap().to_json();
    assert!(text.contains("\"made\": \"0.2 for validation, seed 7\""), "{text}");
    let saved = || SplitOptions {
        mode: SplitMode::Saved(SplitFile::from_json(&text).unwrap()),
        ..SplitOptions::default()
    };
    let pinned = plain(&dir).into_dataset(&saved()).unwrap();
    let val: Vec<&str> =
        (0..20).filter(|&i| split.parts[i] == Part::Val).map(|i| first.records[i].rel.as_str()).collect();
    assert_eq!(
        rels(&pinned.val).into_iter().collect::<BTreeSet<_>>(),
        val.into_iter().collect::<BTreeSet<_>>()
    );
    assert!(pinned.split.to_string().starts_with("saved, sha256 "));
    let folder = Dataset::open(dir.path(), &saved()).unwrap();
    assert_eq!((&folder.train, &folder.val), (&pinned.train, &pinned.val));
    let given = table(&dir, ",split", |_| ",train".to_owned()).into_dataset(&saved()).unwrap();
    assert_eq!(given.warnings, ["the split is the saved one; the column of the data do not count"]);

    put_bytes(dir.path(), "x/new.png", b"");
    let error = Dataset::open(dir.path(), &saved()).unwrap_err().to_string();
    assert!(error.contains("`x/new.png` is not in the saved split"), "{error}");
}

#[test]
fn weights_come_along() {
    let dir = images(12);
    let weight = |sample: &Sample| f32::from(sample.rel.as_bytes()[sample.rel.len() - 5] - b'0') + 0.5;
    let dataset = table(&dir, ",weight", |sample| format!(",{}", weight(sample)));
    let dataset = dataset.into_dataset(&SplitOptions::default()).unwrap();
    let weights: Vec<f32> = dataset.train.iter().map(weight).collect();
    let mean = weights.iter().sum::<f32>() / weights.len() as f32;
    for (got, weight) in dataset.train_weights.unwrap().iter().zip(&weights) {
        assert!((got - weight / mean).abs() < 1e-6);
    }
    let same = table(&dir, ",weight", |_| ",3e38".to_owned()).into_dataset(&SplitOptions::default()).unwrap();
    assert_eq!(same.train_weights, None);
    let huge =
        table(&dir, ",weight", |sample| format!(",{}", if sample.label == 0 { "3e38" } else { "1e38" }));
    let huge = huge.into_dataset(&SplitOptions::default()).unwrap().train_weights.unwrap();
    assert!((huge.iter().sum::<f32>() / huge.len() as f32 - 1.0).abs() < 1e-6, "{huge:?}");
    let held_out = plain(&dir).into_dataset(&SplitOptions::default()).unwrap().val;
    let only = |sample: &Sample| format!(",{}", u32::from(held_out.contains(sample)));
    let error = table(&dir, ",weight", only).into_dataset(&SplitOptions::default()).unwrap_err().to_string();
    assert!(error.ends_with("t.csv`: all weights of training images are 0"), "{error}");
    assert_eq!(plain(&dir).into_dataset(&SplitOptions::default()).unwrap().train_weights, None);
}

#[test]
fn tables_of_other_targets_are_split_too() {
    let dir = images(20);
    let open = |text: String, target: TargetSpec| {
        let path = put_bytes(dir.path(), "o.csv", text.as_bytes());
        Table::open(&path, &TableOptions { target, ..TableOptions::default() }).unwrap()
    };
    let rows = plain(&dir).records;
    let row = |f: &dyn Fn(usize) -> String| -> String {
        rows.iter().enumerate().map(|(i, r)| format!("{},{}\n", r.rel, f(i))).collect()
    };
    let flags = open(
        format!("file,a,b\n{}", row(&|i| format!("{},{}", i % 2, u32::from(i == 3)))),
        TargetSpec::Flags { columns: None },
    );
    let split = flags.split(&SplitOptions::default()).unwrap();
    assert_eq!(split.parts.iter().filter(|part| **part == Part::Val).count(), 4);
    assert_eq!(split.warnings, ["no validation images of `b`"]);
    let numbers =
        open(format!("file,y\n{}", row(&|i| (i * i).to_string())), TargetSpec::Numbers { columns: None });
    assert_eq!(
        numbers
            .split(&SplitOptions::default())
            .unwrap()
            .parts
            .iter()
            .filter(|part| **part == Part::Val)
            .count(),
        4
    );
    let nothing = open(format!("file,y\n{}", row(&|i| i.to_string())), TargetSpec::Nothing);
    assert_eq!(
        nothing
            .split(&SplitOptions::default())
            .unwrap()
            .parts
            .iter()
            .filter(|part| **part == Part::Val)
            .count(),
        4
    );
    for (table, parts) in
        [(flags, split), (numbers.clone(), numbers.split(&SplitOptions::default()).unwrap())]
    {
        let dataset = table.into_dataset(&SplitOptions::default()).unwrap();
        assert_eq!((dataset.train.len(), dataset.val.len(), dataset.split), (16, 4, parts.source));
    }
    let error = nothing.into_dataset(&SplitOptions::default()).unwrap_err().to_string();
    assert_eq!(error, "option `target` is nothing (expected classes, labels or numbers)");
}

#[test]
fn a_held_out_folder_without_the_first_class_keeps_its_labels() {
    let dir = tree(&["train/a/1.png", "train/b/2.png", "val/b/3.png", "test/b/4.png"]);
    let folder = Dataset::open(dir.path(), &SplitOptions::default()).unwrap();
    assert_eq!((folder.val[0].label, folder.test[0].label), (1, 1));
    assert_eq!(folder.split, SplitSource::Given { column: false });
    assert_eq!(folder.warnings, ["no validation images of `a`", "no test images of `a`"]);
}

#[cfg(unix)]
#[test]
fn what_cannot_be_looked_at_is_an_error() {
    use std::os::unix::fs::symlink;
    use tl_data::{LabelledFolder, list_images};
    let dir = tree(&["train/a/1.png", "train/a/2.png", "train/b/3.png", "train/b/4.png", "val/a/5.png"]);
    let at = |rel: &str| dir.path().join(rel);
    let folder = || Dataset::open(dir.path(), &SplitOptions::default()).map_err(|error| error.to_string());
    let classes = ["a", "b"].map(str::to_owned);
    symlink("loop.png", at("train/a/loop.png")).unwrap();
    assert!(folder().unwrap_err().contains("train/a/loop.png` cannot be read: "));
    let error = list_images(&[at("train/a/loop.png"), at("gone.png")]).unwrap_err().to_string();
    assert!(
        error.contains("loop.png` cannot be read: ") && error.contains("gone.png` does not exist"),
        "{error}"
    );
    std::fs::remove_file(at("train/a/loop.png")).unwrap();
    assert_eq!(folder().unwrap().split, SplitSource::Given { column: false });

    // A validation or test folder that is a broken link is not the same as none.
    symlink("nowhere", at("test")).unwrap();
    assert!(folder().unwrap_err().contains("test` cannot be read: "));
    let labelled = LabelledFolder::open(dir.path(), &classes).unwrap_err().to_string();
    assert!(labelled.contains("test` cannot be read: "), "{labelled}");
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn with(mode: SplitMode) -> SplitOptions {
    SplitOptions { mode, ..SplitOptions::default() }
}

#[test]
fn what_is_left_out_is_in_no_split() {
    let dir = images(20);
    let (gone, bad) = (set(&["x/0_0.png", "y/0_1.png", "x/none.png"]), set(&["x/0_2.png"]));
    let options = SplitOptions::default();
    let folder = Dataset::open_without(dir.path(), &options, &gone).unwrap();
    let listed = BTreeMap::from(["x/0_0.png", "y/0_1.png"].map(|name| (name.to_owned(), LeftOut::Listed)));
    assert_eq!((folder.train.len() + folder.val.len(), &folder.left_out), (18, &listed));
    let mut rows = plain(&dir);
    assert_eq!(rows.leave_out(&gone), ["x/none.png"]);
    let rows = rows.into_dataset(&options).unwrap();
    assert_eq!((&rows.train, &rows.val, &rows.left_out), (&folder.train, &folder.val, &listed));

    // The split is saved with one more image that is none, and used again.
    let file = folder.split_file(&bad).unwrap();
    assert_eq!((file.parts.len(), file.left_out.len()), (17, 3));
    let saved = with(SplitMode::Saved(SplitFile::from_json(&file.to_json()).unwrap()));
    let again = Dataset::open_without(dir.path(), &saved, &gone).unwrap();
    let good = |samples: &[Sample]| -> Vec<Sample> {
        samples.iter().filter(|sample| !bad.contains(&sample.rel)).cloned().collect()
    };
    assert_eq!((&again.train, &again.val), (&good(&folder.train), &good(&folder.val)));
    assert_eq!(again.left_out, file.left_out);
    assert_eq!(again.warnings, ["left out, as the saved split has them as unreadable: `x/0_2.png`"]);
    assert_eq!(again.split_file(&BTreeSet::new()).unwrap().sha256(), file.sha256());
    let mut rows = plain(&dir);
    rows.leave_out(&gone);
    assert_eq!(rows.into_dataset(&saved).unwrap().train, again.train);

    let error = Dataset::open(dir.path(), &saved).unwrap_err().to_string();
    assert_eq!(
        error,
        "the images cannot be split: 2 problems\
        \n  - `x/0_0.png` was left out when the split was saved, and is in no part of it\
        \n  - `y/0_1.png` was left out when the split was saved, and is in no part of it\
        \n\nhint: leave it out again, or make a new split"
    );
    // Gone from the disk is as good as left out; and a split made of all can be used for less.
    for name in &gone {
        let _ = std::fs::remove_file(dir.path().join(name));
    }
    assert_eq!(Dataset::open(dir.path(), &saved).unwrap().train, again.train);
    let whole = with(SplitMode::Saved(folder.split_file(&BTreeSet::new()).unwrap()));
    let less = Dataset::open_without(dir.path(), &whole, &bad).unwrap();
    assert_eq!((&less.train, &less.val), (&again.train, &again.val));
}

#[test]
fn a_class_that_is_left_out_whole_is_named() {
    let dir = tree(&["a/1.png", "a/2.png", "b/1.png", "c/1.png", "c/2.png"]);
    let names = set(&["a/1.png", "a/2.png", "b/1.png"]);
    let group = Some(GroupPattern::new("^(.)/").unwrap());
    for options in [SplitOptions::default(), SplitOptions { group, ..SplitOptions::default() }] {
        let error = Dataset::open_without(dir.path(), &options, &names).unwrap_err();
        assert!(
            error.to_string().starts_with(
                "the images cannot be split: the files that are left out leave no training images of `a`, `b`\n\n"
            ),
            "{error}"
        );
        assert!(matches!(error, DataError::Split { .. }));
    }
    let parts = tree(&["train/a/1.png", "train/b/1.png", "val/a/1.png"]);
    let error = Dataset::open_without(parts.path(), &SplitOptions::default(), &set(&["train/a/1.png"]));
    assert!(error.unwrap_err().to_string().contains("leave no training images of `a`"));
    // Nor do training images stand in for the validation images that are left out.
    let error = Dataset::open_without(parts.path(), &SplitOptions::default(), &set(&["val/a/1.png"]));
    assert_eq!(error.unwrap_err().to_string(), "the images cannot be split: there are no validation images");
}

//! Tables of several labels and of numbers: as datasets, in batches, looked at and examined.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are part of it")]

mod common;

use std::collections::BTreeSet;

use common::{picture, put, put_bytes, tree};
use tempfile::TempDir;
use tl_data::doctor::{Problem, Same};
use tl_data::{
    Contents, DataPool, Dataset, DoctorOptions, Inspection, Loader, LoaderOptions, Mix, Part, Preprocess,
    Sample, SheetOptions, SplitMode, SplitOptions, SplitSource, Stratified, Table, TableOptions, TargetSpec,
    Task, View, class_labels, examine, fingerprint, inspect, label_counts, sheet, target_stats,
};

const CELLS: TargetSpec = TargetSpec::Labels { column: None, separator: '|', allow_empty: true };
const FLAGS: TargetSpec = TargetSpec::Flags { columns: None };
const NUMBERS: TargetSpec = TargetSpec::Numbers { columns: None };

fn images(n: usize) -> TempDir {
    let names: Vec<String> = (0..n).map(|i| format!("{i:03}.png")).collect();
    tree(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A table of `n` images.
fn table(
    dir: &TempDir,
    target: TargetSpec,
    header: &str,
    n: usize,
    cells: impl Fn(usize) -> String,
) -> Table {
    let rows: String = (0..n).map(|i| format!("{i:03}.png,{}\n", cells(i))).collect();
    let path = put_bytes(dir.path(), "t.csv", format!("file,{header}\n{rows}").as_bytes());
    Table::open(&path, &TableOptions { target, ..TableOptions::default() }).unwrap()
}

fn dataset(table: Table) -> Dataset {
    table.into_dataset(&SplitOptions::default()).unwrap()
}

fn rows(samples: &[Sample]) -> Vec<(&str, Vec<f32>)> {
    samples.iter().map(|sample| (sample.rel.as_str(), sample.target.as_deref().unwrap().to_vec())).collect()
}

fn labels_of(i: usize) -> String {
    let names = ["sun", "sea", "boat"].into_iter().enumerate();
    names.filter(|(k, _)| i.is_multiple_of(k + 2)).map(|(_, name)| name).collect::<Vec<_>>().join("|")
}

#[test]
fn labels_in_a_cell_and_in_columns_are_the_same_dataset() {
    let dir = images(60);
    let cells = dataset(table(&dir, CELLS, "labels", 60, labels_of));
    let flag = |i: usize| [4, 3, 2].map(|k| u8::from(i.is_multiple_of(k)).to_string()).join(",");
    let flags = dataset(table(&dir, FLAGS, "boat,sea,sun", 60, flag));
    assert_eq!(
        (cells.task, &cells.classes),
        (Task::MultiLabel, &["boat", "sea", "sun"].map(str::to_owned).to_vec())
    );
    assert_eq!((&cells.train, &cells.val, &cells.split), (&flags.train, &flags.val, &flags.split));
    assert_eq!(cells.split.to_string(), "0.2 for validation, stratified by labels, seed 0");
    assert!(matches!(cells.split, SplitSource::Made { stratified: Stratified::Labels, .. }));
    // 1, 5, 7, 11, … have none of the labels.
    assert_eq!(
        cells.warnings,
        ["rows without any label: 20, the first in line 3; none of the labels is there"]
    );
    assert!(flags.warnings.is_empty());

    let all = [cells.train.clone(), cells.val.clone()].concat();
    for (rel, row) in rows(&all) {
        let i: usize = rel[..3].parse().unwrap();
        assert_eq!(row, [4, 3, 2].map(|k| f32::from(u8::from(i.is_multiple_of(k)))), "{rel}");
    }
    assert!(all.iter().all(|sample| sample.label == 0));
    assert!(cells.train.windows(2).all(|pair| pair[0].rel < pair[1].rel));
    // Of each label about a fifth validates: 15, 20 and 30 images have it.
    let counts = label_counts(&cells.val, 3).unwrap();
    assert_eq!((cells.val.len(), counts), (12, vec![3, 4, 6]));
    let taken_wrong = table(&dir, CELLS, "labels", 60, |i| (i % 2).to_string());
    assert!(
        taken_wrong.warnings[0].starts_with("the only labels are `0` and `1`: "),
        "{:?}",
        taken_wrong.warnings
    );
    let error = class_labels(&cells.train).unwrap_err().to_string();
    assert!(error.contains("only classes can be drawn evenly"), "{error}");
}

#[test]
fn numbers_of_one_and_of_several_columns() {
    let dir = images(50);
    let one = dataset(table(&dir, NUMBERS, "x,value", 50, |i| format!("9,{}", i as f32 * 0.5)));
    assert_eq!((one.task, one.classes.as_slice()), (Task::Number, &["value".to_owned()][..]));
    assert_eq!(one.split.to_string(), "0.2 for validation, stratified by quantiles, seed 0");
    // One of each tenth validates.
    let tenths: BTreeSet<usize> = rows(&one.val).iter().map(|(_, row)| (row[0] / 2.5) as usize).collect();
    assert_eq!((one.val.len(), tenths.len()), (10, 10));
    let stats = target_stats(&one.train).unwrap();
    assert!((stats.mean[0] - 12.0).abs() < 1.0 && (stats.std[0] - 7.2).abs() < 0.5, "{stats:?}");

    let columns = Some(["y", "x"].map(str::to_owned).to_vec());
    let cells = |i: usize| format!("{i},{}", -(i as f32));
    let two = dataset(table(&dir, TargetSpec::Numbers { columns }, "x,y", 50, cells));
    assert_eq!(two.classes, ["y", "x"]);
    assert!(two.train.iter().chain(&two.val).all(|sample| {
        let row = sample.target.as_deref().unwrap();
        row.len() == 2 && row[0] == -row[1] && row[1] == sample.rel[..3].parse::<f32>().unwrap()
    }));
    assert_eq!((two.train.len(), two.val.len()), (40, 10));
}

#[test]
fn splits_are_seeded_and_every_label_trains() {
    let dir = images(40);
    // Each of `rare 0` to `rare 9` is on one image.
    let cells = |i: usize| if i < 10 { format!("rare {i}|common") } else { "common|other".to_owned() };
    let split =
        |options: &SplitOptions| table(&dir, CELLS, "labels", 40, cells).into_dataset(options).unwrap();
    let mut seen = BTreeSet::new();
    for seed in 0..6 {
        for (val_fraction, test_fraction) in [(0.2, 0.0), (0.6, 0.0), (0.4, 0.4)] {
            let options = SplitOptions { seed, val_fraction, test_fraction, ..SplitOptions::default() };
            let (first, again) = (split(&options), split(&options));
            assert_eq!((&first.train, &first.val, &first.test), (&again.train, &again.val, &again.test));
            let counts = label_counts(&first.train, first.classes.len()).unwrap();
            assert!(counts.iter().all(|&count| count > 0), "{seed} {val_fraction}: {counts:?}");
            assert!(!first.val.is_empty() && first.test.is_empty() == (test_fraction == 0.0));
            seen.insert(first.val.iter().map(|sample| sample.rel.clone()).collect::<Vec<_>>());
        }
    }
    assert!(seen.len() > 12, "{}", seen.len());

    let mode = SplitMode::Fold { folds: 4, held_out: 1 };
    let fold = split(&SplitOptions { mode, ..SplitOptions::default() });
    assert_eq!((fold.train.len(), fold.val.len()), (30, 10));
    assert_eq!(fold.split.to_string(), "fold 1 of 0..4 for validation, stratified by labels, seed 0");
    // Each fold has some of the rare labels, which then do not train.
    assert!(fold.warnings.iter().any(|warning| warning.starts_with("no training images of `rare ")));

    // A saved split is used again.
    let file = fold.split_file(&BTreeSet::new()).unwrap();
    let saved = split(&SplitOptions { mode: SplitMode::Saved(file), ..SplitOptions::default() });
    assert_eq!((&saved.train, &saved.val), (&fold.train, &fold.val));
}

#[test]
fn fingerprints_cover_labels_and_numbers() {
    let dir = images(6);
    let pool = DataPool::new(1).unwrap();
    let of = |table: Table| {
        let data = dataset(table);
        fingerprint(data.train.iter().chain(&data.val), &data.classes, &pool).unwrap()
    };
    let numbers = |last: &str| {
        of(table(&dir, NUMBERS, "y", 6, |i| if i == 5 { last.to_owned() } else { i.to_string() }))
    };
    let first = numbers("5");
    assert_eq!(first, numbers("5.0"));
    assert_ne!(first, numbers("5.000001"));
    assert_eq!(numbers("0"), numbers("-0"));
    assert_ne!(
        first,
        of(table(&dir, TargetSpec::Numbers { columns: Some(vec!["z".to_owned()]) }, "z", 6, |i| i
            .to_string()))
    );
    let labels =
        |last: &str| of(table(&dir, CELLS, "labels", 6, |i| if i == 5 { last } else { "a|b" }.to_owned()));
    assert_ne!(labels("a"), labels("b"));

    // As another program would make it.
    let data =
        dataset(table(&dir, NUMBERS, "y", 6, |i| if i == 0 { "-2.5".to_owned() } else { "1".to_owned() }));
    let sample: Vec<Sample> =
        data.train.iter().chain(&data.val).filter(|sample| sample.rel == "000.png").cloned().collect();
    let sha = |bytes: &[u8]| {
        use sha2::Digest;
        sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let file = sha(&std::fs::read(&sample[0].path).unwrap());
    assert_eq!(
        fingerprint(&sample, &data.classes, &pool).unwrap(),
        sha(format!("class y\n{file}  000.png\0\0c0200000\n").as_bytes())
    );
    let error = fingerprint(&sample, &[], &pool).unwrap_err().to_string();
    assert_eq!(error, "option `target` is 1 values (expected one for each of 0)");
}

#[test]
fn batches_carry_targets() {
    let dir = images(10);
    let data = dataset(table(&dir, CELLS, "labels", 10, labels_of));
    let mut samples = [data.train.clone(), data.val.clone()].concat();
    samples.sort_by(|a, b| a.rel.cmp(&b.rel));
    let pool = DataPool::new(2).unwrap();
    let options = || LoaderOptions { batch: 4, order: vec![9, 4, 0, 3, 7], ..LoaderOptions::default() };
    let view = || View::Eval(Preprocess::imagenet(8));
    let batches: Vec<_> =
        Loader::new(samples.clone(), view(), options(), &pool).unwrap().map(Result::unwrap).collect();
    let targets = batches[0].targets.as_ref().unwrap();
    assert_eq!(targets.dim(), (4, 3));
    let (labels, flat) = (&batches[0].labels, targets.iter().copied().collect::<Vec<f32>>());
    assert_eq!(
        (labels.as_slice(), flat),
        (&[0; 4][..], vec![0., 1., 0., 1., 0., 1., 1., 1., 1., 0., 1., 0.])
    );
    assert_eq!(batches[1].targets.as_ref().unwrap().dim(), (1, 3));

    let mut batch = batches[0].clone();
    batch.mix = Some(Mix { partner: vec![3, 2, 1, 0], lambda: 0.75, window: None });
    let mixed = batch.soft_targets(3).unwrap();
    assert_eq!(mixed.row(1).to_vec(), [1.0, 0.25, 1.0]);

    // Rows of several lengths would be no batch.
    samples[3].target = Some([1.0].into());
    let error = Loader::new(samples.clone(), view(), options(), &pool).unwrap_err().to_string();
    assert_eq!(
        error,
        "option `samples` is a list with 1 targets for `003.png` (expected 3 targets, as the first has)"
    );
    samples[3].target = None;
    let error = Loader::new(samples, view(), options(), &pool).unwrap_err().to_string();
    assert!(error.contains("no targets for `003.png`"), "{error}");
}

fn inspected(data: &Dataset) -> Inspection {
    let found = inspect(&Contents::from(data), &DataPool::new(2).unwrap(), &|_| {});
    let json = serde_json::to_string(&found).unwrap();
    assert_eq!(serde_json::from_str::<Inspection>(&json).unwrap(), found);
    found
}

#[test]
fn what_is_in_a_table_of_labels() {
    let dir = images(60);
    let found = inspected(&dataset(table(&dir, CELLS, "labels", 60, labels_of)));
    let counts: Vec<_> = found.classes.iter().map(|c| (c.class.as_str(), c.train, c.val)).collect();
    assert_eq!(counts, [("boat", 12, 3), ("sea", 16, 4), ("sun", 24, 6)]);
    assert_eq!((found.images, found.parts.train, found.parts.val, found.balance), (60, 48, 12, Some(2.0)));
    let text = found.to_string();
    for line in [
        "label         train      val     test",
        "boat             12        3        0",
        "(no label)       16        4        0",
        "all              48       12        0",
        "largest to smallest label: 2.00",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n\n{text}");
    }
    assert!(text.contains("look at the average precision of each label"), "{text}");
    assert!(found.numbers.is_empty());
}

#[test]
fn what_is_in_a_table_of_numbers() {
    let dir = images(40);
    let columns = Some(["age", "height"].map(str::to_owned).to_vec());
    let cells = |i: usize| format!("{},{}", i, if i == 39 { 1e9 } else { 1.5 + i as f64 / 100.0 });
    let data = dataset(table(&dir, TargetSpec::Numbers { columns }, "age,height", 40, cells));
    let found = inspected(&data);
    assert!(found.classes.is_empty() && found.balance.is_none() && found.warnings.is_empty());
    let age = &found.numbers[0];
    assert_eq!((age.name.as_str(), age.min, age.mean, age.max), ("age", 0.0, 19.5, 39.0));
    assert_eq!(age.histogram.iter().sum::<usize>(), 40);
    let text = found.to_string();
    for line in [
        "         train      val     test",
        "all         32        8        0",
        "number        min       mean        max        std  from min to max",
        "age             0       19.5         39      11.54  █▆█▆█▆█▆▆█▆█▆█▆█",
        "height        1.5     2.50e7     1.00e9     1.56e8  █              ▁",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n\n{text}");
    }

    // A sheet from the smallest to the largest of each.
    let mut pages = 0;
    let (contents, pool) = (Contents::from(&data), DataPool::new(1).unwrap());
    let mut page = |_| {
        pages += 1;
        Ok(())
    };
    sheet::class_sheet(&contents, Part::Train, 8, &SheetOptions::default(), &pool, &mut page).unwrap();
    assert_eq!(pages, 1);
}

/// The problems of copies, with the files.
fn examined(dataset: &Dataset) -> Vec<(Problem, Vec<String>)> {
    let options = DoctorOptions { near: None, ..DoctorOptions::default() };
    let report =
        examine(&Contents::from(dataset), None, &options, &DataPool::new(2).unwrap(), &|_| {}).unwrap();
    let copies = report.findings.into_iter().filter(|finding| {
        matches!(finding.problem, Problem::Conflict { .. } | Problem::Duplicate { .. } | Problem::Leak { .. })
    });
    copies
        .map(|finding| (finding.problem, finding.files.into_iter().map(|file| file.rel).collect()))
        .collect()
}

#[test]
fn copies_with_other_labels_or_numbers() {
    let dir = images(20);
    for (name, of) in [("001.png", 1), ("002.png", 1), ("011.png", 11), ("012.png", 11)] {
        put(dir.path(), name, &picture(30, 20, of));
    }
    let as_it_is = SplitOptions { mode: SplitMode::None, ..SplitOptions::default() };
    let data = |table: Table| table.into_dataset(&as_it_is).unwrap();
    let conflict = |classes: &[&str]| Problem::Conflict {
        same: Same::Bytes,
        classes: classes.iter().map(|class| (*class).to_owned()).collect(),
    };
    let files = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let pairs = [files(&["001.png", "002.png"]), files(&["011.png", "012.png"])];
    let copy = Problem::Duplicate { same: Same::Bytes };

    // The rows are equal or not, and that one label is on both does not matter.
    let labels = data(table(&dir, CELLS, "labels", 20, |i| match i {
        1 => "sea|sun".to_owned(),
        2 => "sun".to_owned(),
        11 | 12 => String::new(),
        _ => "boat".to_owned(),
    }));
    assert_eq!(
        examined(&labels),
        [(conflict(&["sea, sun", "sun"]), pairs[0].clone()), (copy.clone(), pairs[1].clone())]
    );

    let numbers = |of_twelve: &'static str| {
        data(table(&dir, NUMBERS, "y", 20, move |i| match i {
            2 => "1".to_owned(),
            12 => of_twelve.to_owned(),
            _ => i.to_string(),
        }))
    };
    assert_eq!(
        examined(&numbers("11.001")),
        [(copy.clone(), pairs[0].clone()), (copy.clone(), pairs[1].clone())]
    );
    assert_eq!(
        examined(&numbers("11.5")),
        [(conflict(&["y 11", "y 11.5"]), pairs[1].clone()), (copy, pairs[0].clone())]
    );
}

#[test]
fn a_label_that_would_go_is_named() {
    let dir = images(30);
    std::fs::write(dir.path().join("004.png"), b"nothing").unwrap();
    let cells = |i: usize| if i == 4 { "rare|common" } else { "common" }.to_owned();
    let as_it_is = SplitOptions { mode: SplitMode::None, ..SplitOptions::default() };
    let data = table(&dir, CELLS, "labels", 30, cells).into_dataset(&as_it_is).unwrap();
    let report =
        examine(&Contents::from(&data), None, &DoctorOptions::default(), &DataPool::new(1).unwrap(), &|_| {})
            .unwrap();
    let warning = "leaving out what is listed takes all images of label `rare`";
    assert!(report.warnings.iter().any(|w| w == warning), "{:?}", report.warnings);
}

/// Numbers that change from frame to frame are no reason to compare each with each.
#[test]
fn near_copies_of_other_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let scene = |seed: u32, shade: u8| {
        tl_data::RgbImage::from_fn(96, 80, |x, y| {
            let (x, y) = (f64::from(x) / 9.0 + f64::from(seed), f64::from(y) / 7.0);
            let wave = (x * 1.7 + (y * 0.9 + f64::from(seed)).sin() * 3.0).sin()
                * (y * 2.3 + (x * 0.5).cos() * 3.0).cos();
            image::Rgb([(120.0 + 90.0 * wave) as u8 + shade; 3])
        })
    };
    for i in 0..12_u32 {
        put(dir.path(), &format!("{i:03}.png"), &scene(i / 2 * 5, (i % 2) as u8 * 6));
    }
    let as_it_is = SplitOptions { mode: SplitMode::None, ..SplitOptions::default() };
    // Pairs: 0 and 1 are of one number, 2 and 3 too up to rounding, 4 and 5 are not.
    let numbers = ["0", "0", "3", "3.002", "5", "9", "20", "20", "30", "30", "40", "40"];
    let data = table(&dir, NUMBERS, "y", 12, |i| numbers[i].to_owned()).into_dataset(&as_it_is).unwrap();
    let report =
        examine(&Contents::from(&data), None, &DoctorOptions::default(), &DataPool::new(2).unwrap(), &|_| {})
            .unwrap();
    let near = |finding: &&tl_data::doctor::Finding| {
        matches!(finding.problem, Problem::Conflict { same: Same::Near, .. })
    };
    let conflicts: Vec<Vec<&str>> = report
        .findings
        .iter()
        .filter(near)
        .map(|finding| finding.files.iter().map(|file| file.rel.as_str()).collect())
        .collect();
    assert_eq!(conflicts, [["004.png", "005.png"]]);
}

#[test]
fn where_the_labels_stand() {
    let dir = images(4);
    let target = |name: &str, text: &str, columns: &[&str], separator, labels: Option<&[&str]>| {
        let path = put_bytes(dir.path(), name, text.as_bytes());
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let labels = labels.map(owned);
        Table::multi_label_target(
            &path,
            &TableOptions::default(),
            &owned(columns),
            separator,
            labels.as_deref(),
        )
    };
    let cell = |column: Option<&str>, separator| TargetSpec::Labels {
        column: column.map(str::to_owned),
        separator,
        allow_empty: true,
    };
    let flags = |columns: &[&str]| TargetSpec::Flags {
        columns: Some(columns.iter().map(|name| (*name).to_owned()).collect()),
    };
    let (cells, columns) = ("file,Tags\n000.png,a;b\n", "file,cat,dog\n000.png,1,0\n");
    for (got, expected) in [
        (target("t.csv", cells, &[], None, None), cell(None, '|')),
        (target("t.csv", cells, &[], Some(';'), None), cell(None, ';')),
        (target("t.csv", cells, &["Tags"], Some(';'), None), cell(Some("Tags"), ';')),
        (target("t.csv", columns, &[], None, None), FLAGS),
        (target("t.csv", columns, &["cat"], None, None), cell(Some("cat"), '|')),
        (target("t.csv", columns, &["dog", "cat"], None, None), flags(&["dog", "cat"])),
        (target("t.csv", columns, &[], None, Some(&["dog", "cat"])), flags(&["dog", "cat"])),
        // Labels of a model that the table does not have; opening it says which.
        (target("t.csv", columns, &[], None, Some(&["cow", "cat"])), flags(&["cow", "cat"])),
        (target("t.csv", "file,label,cat\n", &[], None, Some(&["dog", "cat"])), cell(None, '|')),
        (target("t.txt", "000.png a b\n", &[], None, None), cell(None, ' ')),
        (target("t.txt", "000.png a,b\n", &[], Some(','), None), cell(None, ',')),
    ] {
        assert_eq!(got.unwrap(), expected);
    }
    let error = target("t.csv", columns, &["cat", "dog"], Some('|'), None).unwrap_err().to_string();
    assert_eq!(error, "option `separator` is `|` (expected none, as there are several columns)");
    assert!(
        Table::multi_label_target(&dir.path().join("no.csv"), &TableOptions::default(), &[], None, None)
            .is_err()
    );
}

#[test]
fn bad_cells_have_a_line_and_a_column() {
    let dir = images(4);
    let error = |text: &str, target: TargetSpec| {
        let path = put_bytes(dir.path(), "t.csv", text.as_bytes());
        Table::open(&path, &TableOptions { target, ..TableOptions::default() }).unwrap_err().to_string()
    };
    let columns = Some(["x", "y"].map(str::to_owned).to_vec());
    let numbers =
        error("file,x,y\n000.png,NaN,\n001.png,1,old\n002.png,inf,2\n", TargetSpec::Numbers { columns });
    for part in [
        "t.csv:2`, column `x`: the cell is `NaN` (expected a finite number)",
        "t.csv:2`, column `y`: the cell is empty (expected a number)",
        "t.csv:3`, column `y`: the cell is `old` (expected a number)",
        "t.csv:4`, column `x`: the cell is `inf` (expected a finite number)",
    ] {
        assert!(numbers.contains(part), "{part}\n\n{numbers}");
    }
    let flags = error("file,cat,dog\n000.png,1,\n001.png,0,0.5\n002.png,NaN,1\n", FLAGS);
    for part in [
        "t.csv:2`, column `dog`: the cell is empty (expected 0 or 1)",
        "t.csv:3`, column `dog`: the cell is `0.5` (expected 0 or 1)",
        "t.csv:4`, column `cat`: the cell is `NaN` (expected 0 or 1)",
    ] {
        assert!(flags.contains(part), "{part}\n\n{flags}");
    }
    let cells = error("file,labels\n000.png,cat|\n001.png,cat|cat\n002.png,NaN\n", CELLS);
    for part in [
        "t.csv:2`, column `labels`: ",
        "t.csv:3`, column `labels`: the label `cat` is there twice",
        "t.csv:4`, column `labels`: the cell is `NaN`",
    ] {
        assert!(cells.contains(part), "{part}\n\n{cells}");
    }
}

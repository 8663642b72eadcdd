//! The list of files to leave out: written, edited, read back.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are part of it")]

mod common;

use std::fs;

use common::{picture, put, put_bytes, tree};
use tl_data::doctor::{Quarantine, QuarantineEntry};
use tl_data::split::SplitOptions;
use tl_data::{Contents, DataPool, Dataset, DoctorOptions, Table, TableOptions, examine};

fn entry(rel: &str, reason: &str, line: usize) -> QuarantineEntry {
    QuarantineEntry { rel: rel.to_owned(), reason: reason.to_owned(), line }
}

#[test]
fn a_report_becomes_a_list_and_the_list_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    for (i, rel) in
        ["train/a/1.png", "train/b/1.png", "train/b/2.png", "val/a/1.png", "val/b/1.png"].iter().enumerate()
    {
        put(dir.path(), rel, &picture(20, 20, i as u32 * 37));
    }
    fs::copy(dir.path().join("val/a/1.png"), dir.path().join("train/a/copy.png")).unwrap();
    put_bytes(dir.path(), "train/a/broken.png", b"");
    let folder = Dataset::open(dir.path(), &SplitOptions::default()).unwrap();
    let pool = DataPool::new(2).unwrap();
    let options = DoctorOptions { near: None, ..DoctorOptions::default() };
    let report = examine(&Contents::from(&folder), Some(dir.path()), &options, &pool, &|_| {}).unwrap();
    let list = Quarantine::of(&report);
    assert_eq!(
        list.entries,
        [
            entry("train/a/broken.png", "broken: the file is empty", 0),
            entry("train/a/copy.png", "the same file in several parts of the data: val/a/1.png", 0),
        ]
    );
    let path = dir.path().join("exclude.txt");
    fs::write(&path, list.to_string()).unwrap();
    let read = Quarantine::read(&path).unwrap();
    assert_eq!(read.entries.iter().map(|e| e.line).collect::<Vec<_>>(), [3, 4]);
    assert!(read.entries.iter().zip(&list.entries).all(|(a, b)| (&a.rel, &a.reason) == (&b.rel, &b.reason)));
    let folder = Dataset::open_without(dir.path(), &SplitOptions::default(), &read.names()).unwrap();
    assert!(read.unmatched(&folder).is_empty());
    assert_eq!(folder.train.len(), 3);
    // Once applied, nothing is left to do.
    let report = examine(&Contents::from(&folder), None, &options, &pool, &|_| {}).unwrap();
    assert!(Quarantine::of(&report).entries.is_empty(), "{report}");
}

#[test]
fn lists_are_made_by_hand() {
    let text = "\u{feff}# a comment\r\ntrain/a/1.png\r\n\r\n  \ntrain/b/2.png\tblurred\ttwice\ntrain/a/1.png\tagain\n\\#x.png";
    let list = Quarantine::parse(text).unwrap();
    assert_eq!(
        list.entries,
        [entry("train/a/1.png", "", 2), entry("train/b/2.png", "blurred\ttwice", 5), entry("#x.png", "", 7)]
    );
    assert!(Quarantine::parse("").unwrap().entries.is_empty());
}

#[test]
fn every_line_at_fault_is_named() {
    let error = Quarantine::parse("ok.png\n\treason\n# fine\n \tr\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the list of files to leave out cannot be used: 2 problems\n  - line 2: there is no path before the tab\n  \
         - line 4: there is no path before the tab\n\n\
         hint: one path below the dataset's folder on each line, the reason behind a tab"
    );
    let one = Quarantine::parse("\tx").unwrap_err().to_string();
    assert!(
        one.starts_with("the list of files to leave out cannot be used: line 1: there is no path"),
        "{one}"
    );

    let dir = tempfile::tempdir().unwrap();
    let path = put_bytes(dir.path(), "list.txt", b"a.png\nb\xFF.png\n");
    let error = Quarantine::read(&path).unwrap_err().to_string();
    assert!(error.contains("list.txt` cannot be used: line 2: it is not UTF-8 text"), "{error}");
    let error = Quarantine::read(&dir.path().join("none.txt")).unwrap_err().to_string();
    assert!(error.ends_with("none.txt` cannot be read"), "{error}");
}

#[test]
fn strange_names_survive() {
    let names = [
        "a\tb.png",
        "a\nb.png",
        "\\xE4.png",
        "a\\tb.png",
        "#1.png",
        "ends with space ",
        " starts",
        "größe.png",
        "a\\",
        "../d2/x.png",
        "/elsewhere/x.png",
        "C:/x.png",
    ];
    let entries = names.iter().map(|name| entry(name, "a\treason\non two lines", 0)).collect();
    let list = Quarantine { entries, ..Quarantine::default() };
    let read = Quarantine::parse(&list.to_string()).unwrap();
    let back: Vec<&str> = read.entries.iter().map(|entry| entry.rel.as_str()).collect();
    assert_eq!(back, names);
    assert!(read.entries.iter().all(|entry| entry.reason == "a reason on two lines"));
    // Written by hand, a single backslash means itself.
    assert_eq!(Quarantine::parse("\\xE4.png").unwrap().entries[0].rel, "\\xE4.png");
}

#[test]
fn entries_that_fit_no_file_are_reported() {
    let dir = tree(&["train/a/1.png", "train/a/2.png", "train/b/1.png", "val/a/3.png", "val/b/3.png"]);
    let list = Quarantine::parse("train/a/2.png\nval/b/3.png\ntrain/a/9.png\tgone\nTRAIN/A/1.PNG").unwrap();
    let dataset = Dataset::open_without(dir.path(), &SplitOptions::default(), &list.names()).unwrap();
    let (gone, other) = (entry("train/a/9.png", "gone", 3), entry("TRAIN/A/1.PNG", "", 4));
    assert_eq!(list.unmatched(&dataset), [&gone, &other]);
    let left: Vec<&str> =
        dataset.train.iter().chain(&dataset.val).map(|sample| sample.rel.as_str()).collect();
    assert_eq!(left, ["train/a/1.png", "train/b/1.png", "val/a/3.png"]);
}

#[test]
fn a_list_made_of_a_table_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("elsewhere.png");
    put(dir.path(), "d1/a.png", &picture(20, 20, 1));
    put(dir.path(), "d2/x.png", &picture(20, 20, 2));
    put_bytes(dir.path(), "d2/broken.png", b"");
    put_bytes(dir.path(), "elsewhere.png", b"bad");
    for i in 0..8 {
        put(dir.path(), &format!("d1/{i}.png"), &picture(20, 20, 10 + i));
    }
    let rows: String = (0..8).map(|i| format!("{i}.png,{}\n", ["p", "q"][i % 2])).collect();
    let text = format!("file,label\n{rows}../d2/broken.png,p\n../d2/gone.png,q\n{},q\n", outside.display());
    let table = put_bytes(dir.path(), "d1/table.csv", text.as_bytes());
    assert!(Table::open(&table, &TableOptions::default()).is_err(), "a file is missing");
    let options = TableOptions { check_files: false, ..TableOptions::default() };
    let dataset = Table::open(&table, &options).unwrap().into_dataset(&SplitOptions::default()).unwrap();
    let (pool, exact) = (DataPool::new(1).unwrap(), DoctorOptions { near: None, ..DoctorOptions::default() });
    let report = examine(&Contents::from(&dataset), None, &exact, &pool, &|_| {}).unwrap();
    let list = Quarantine::parse(&Quarantine::of(&report).to_string()).unwrap();
    let names: Vec<&str> = list.entries.iter().map(|entry| entry.rel.as_str()).collect();
    assert_eq!(names, ["../d2/broken.png", "../d2/gone.png", outside.to_str().unwrap()]);
    let mut table = Table::open(&table, &options).unwrap();
    assert!(table.leave_out(&list.names()).is_empty());
    let dataset = table.into_dataset(&SplitOptions::default()).unwrap();
    assert!(list.unmatched(&dataset).is_empty());
    assert_eq!(dataset.train.len() + dataset.val.len(), 8);
}

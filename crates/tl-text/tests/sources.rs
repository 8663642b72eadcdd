//! Labelled texts in all the ways that they come, and what is said of bad ones.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are part of it")]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;
use tl_data::split::SplitSource;
use tl_data::{ColumnChoice, Part, SplitMode, SplitOptions, Target, TargetSpec, Task};
use tl_text::{TextDataset, TextOptions, Texts};

/// A folder with some files.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    dir
}

fn read(name: &str, bytes: &str, options: &TextOptions) -> Result<Texts, String> {
    let dir = folder(&[(name, bytes.as_bytes())]);
    let path = dir.path().join(name);
    let shown = format!("{}/", dir.path().display());
    Texts::read(&path, options).map_err(|error| error.to_string().replace(&shown, ""))
}

fn rows(texts: &Texts) -> Vec<(&str, Option<&str>, Target)> {
    texts.records.iter().map(|r| (r.text.as_str(), r.pair.as_deref(), r.target.clone())).collect()
}

fn named(name: &str) -> ColumnChoice {
    ColumnChoice::Named(name.to_owned())
}

#[test]
fn tables_of_all_kinds_are_the_same() {
    let quoted = "\u{feff}id,Text,label\r\n1,\"good, really\",pos\r\n\r\n2,\"a \"\"bad\"\"\none\",neg\r\n";
    let lines = "{\"text\": \"good, really\", \"label\": \"pos\"}\n\n{\"label\": \"neg\", \"id\": 2, \"text\": \"a \\\"bad\\\"\\none\"}\n";
    let default = TextOptions::default();
    let all = [
        read("a.csv", quoted, &default).unwrap(),
        read("a.jsonl", lines, &default).unwrap(),
        read(
            "a.tsv",
            &quoted.replace(',', "\t").replace("good\t", "good,"),
            &TextOptions { quotes: Some(true), ..default.clone() },
        )
        .unwrap(),
    ];
    for texts in &all {
        assert_eq!(texts.names, ["neg", "pos"]);
        let wanted = [("good, really", None, Target::Class(1)), ("a \"bad\"\none", None, Target::Class(0))];
        assert_eq!(rows(texts), wanted, "{}", texts.path.display());
        assert_eq!(texts.records[0].name, all[0].records[0].name);
    }
    assert_eq!(all[0].records.iter().map(|r| r.line.unwrap()).collect::<Vec<_>>(), [2, 4]);
    assert_eq!(
        all[0].notes,
        [
            "cells are separated by `,`",
            "`Text` taken for the texts, by name",
            "`label` taken for the classes, by name",
            "columns that are not used: `id`"
        ]
    );
    // In tabs a quote is text; and a file without a header is seen.
    let texts = read("b.tsv", "\"quoted\" is 5\" long\tx\n\"all of it\"\ty\nagain\tx\n", &default).unwrap();
    let wanted = ["\"quoted\" is 5\" long", "all of it", "again"];
    assert_eq!(texts.records.iter().map(|r| r.text.as_str()).collect::<Vec<_>>(), wanted);
    assert_eq!(texts.notes[1], "there is no header; the classes are in column 2");
    let texts = read("c.csv", "ham,see you\nspam,\"win, now\"\nham,ok\n", &default).unwrap();
    assert_eq!(rows(&texts)[1], ("win, now", None, Target::Class(1)));
    let header = Some(["kind", "when", "text"].map(str::to_owned).to_vec());
    let target = TargetSpec::Class { column: Some("kind".to_owned()) };
    let texts = read("d.csv", "1,now,a\n2,then,b\n", &TextOptions { header, target, ..default }).unwrap();
    assert_eq!((texts.records[0].text.as_str(), texts.names.len()), ("a", 2));
}

#[test]
fn pairs_labels_numbers_weights_and_parts() {
    let text =
        "premise\thypothesis\ttags\tscore\tw\tsubset\nA\tB\tx|y\t1.5\t2\ttrain\nC\tD\t\t-1\t0.5\tdev\n";
    let labels = TextOptions {
        target: TargetSpec::Labels { column: None, separator: '|', allow_empty: true },
        weight: named("w"),
        ..TextOptions::default()
    };
    let texts = read("a.tsv", text, &labels).unwrap();
    assert_eq!(texts.task, Task::MultiLabel);
    assert_eq!(
        rows(&texts),
        [("A", Some("B"), Target::Labels(vec![0, 1])), ("C", Some("D"), Target::Labels(vec![]))]
    );
    assert_eq!(
        texts.records.iter().map(|r| (r.weight, r.part)).collect::<Vec<_>>(),
        [(2.0, Some(Part::Train)), (0.5, Some(Part::Val))]
    );
    assert!(texts.by_column);
    let numbers = TextOptions {
        target: TargetSpec::Numbers { columns: None },
        pair: ColumnChoice::Unused,
        ..TextOptions::default()
    };
    let texts = read("a.tsv", text, &numbers).unwrap();
    assert_eq!((texts.task, texts.names.as_slice()), (Task::Number, &["score".to_owned()][..]));
    assert_eq!(rows(&texts)[1], ("C", None, Target::Numbers(vec![-1.0])));
    let json = "{\"text\":\"a\",\"labels\":[\"y\",\"x\"]}\n{\"text\":\"b\",\"labels\":[]}\n";
    let texts = read("a.jsonl", json, &labels_of_json()).unwrap();
    assert_eq!(rows(&texts), [("a", None, Target::Labels(vec![0, 1])), ("b", None, Target::Labels(vec![]))]);
    let flags = TextOptions { target: TargetSpec::Flags { columns: None }, ..TextOptions::default() };
    let texts = read("a.csv", "text,toxic,rude\na,1,0\nb,0,true\n", &flags).unwrap();
    assert_eq!(rows(&texts)[1].2, Target::Labels(vec![1]));
    let nothing = TextOptions { target: TargetSpec::Nothing, ..TextOptions::default() };
    let texts = read("a.txt", "one\n\ntwo\n", &nothing).unwrap();
    assert_eq!((texts.records.len(), texts.records[1].line), (2, Some(3)));
}

fn labels_of_json() -> TextOptions {
    let target = TargetSpec::Labels { column: None, separator: '|', allow_empty: true };
    TextOptions { target, ..TextOptions::default() }
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let default = TextOptions::default();
    let said = |name: &str, text: &str, options: &TextOptions| read(name, text, options).unwrap_err();
    let text = "text,label,split\na,x,train\nb,NaN,train\nc,,tset\nd,x\n";
    assert_eq!(
        said("a.csv", text, &default),
        "`a.csv` cannot be used as labelled texts: 4 problems\
         \n  - `a.csv:5`: the row has 2 cells (expected 3)\
         \n  - `a.csv:4`, column `split`: the cell is `tset` (expected `train`, `val` or `test`)\
         \n  - `a.csv:3`, column `label`: the cell is `NaN`, which stands for a missing value (expected a class)\
         \n  - `a.csv:4`, column `label`: the cell is empty (expected a class)\
         \n\nhint: texts with the delimiter or line breaks in them stand in quotes; in `.tsv` files quotes count \
         only if the option `quotes` says so\
         \nhint: if the column is not the split, say that it is not used\
         \nhint: fill in the cell, or take the row out; call a class otherwise, as in `no-finding`"
    );
    let numbers = TextOptions { target: TargetSpec::Numbers { columns: None }, ..default.clone() };
    let text = "text,score\na,1\nb,inf\nc,\"1,5\"\n";
    let found = said("a.csv", text, &numbers);
    assert!(
        found.contains("`a.csv:3`, column `score`: the cell is `inf` (expected a finite number)"),
        "{found}"
    );
    assert!(found.contains("`a.csv:4`, column `score`: the cell is `1,5` (expected a number)"), "{found}");
    let classes =
        TextOptions { classes: Some(["pos", "neg"].map(str::to_owned).to_vec()), ..default.clone() };
    let found = said("a.csv", "text,label\na,pos\nb,nge\n", &classes);
    assert!(found.ends_with("`nge` is not in the list of classes (did you mean `neg`?)"), "{found}");
    let found = said(
        "a.csv",
        "wert,Labels\na,b\n1,2\n",
        &TextOptions { header: None, text: named("txt"), ..default.clone() },
    );
    assert!(found.contains("`a.csv:1`: there is no column `txt` for the texts"), "{found}");
    let found = said("a.csv", "x,y,z\n1,2,3\n", &default);
    assert!(
        found.contains("no column has a known name for the texts (the columns are `x`, `y`, `z`)"),
        "{found}"
    );
    let found = said("a.csv", "text,label,class\na,b,c\n", &default);
    assert!(found.contains("several columns could be the classes: `label`, `class`"), "{found}");
    let found = said(
        "a.jsonl",
        "{\"text\":\"a\",\"label\":\"x\"}\n[1]\n{\"text\":[1],\"label\":\"y\"}\n{\n",
        &default,
    );
    assert!(found.contains("`a.jsonl:2`: it is no JSON object: it is a list"), "{found}");
    assert!(found.contains("`a.jsonl:3`, column `text`: the value is a list (expected a text)"), "{found}");
    assert!(found.contains("`a.jsonl:4`: it is no JSON object: EOF while parsing"), "{found}");
    let found = said("a.csv", "text,label\na,x\nb,x\n", &default);
    assert!(found.contains("there is only one class, `x`"), "{found}");
    for (text, wanted) in [
        ("", "there are no rows"),
        ("text,label\n", "there are no rows"),
        ("text,label\n\"a,b\n", "a quote in this row is never closed"),
        ("text,label\na,x\nb\0,y\n", "a.csv:3`: there is a zero byte in it"),
    ] {
        assert!(said("a.csv", text, &default).contains(wanted), "{wanted}");
    }
}

#[test]
fn a_first_line_of_unknown_names_is_no_text() {
    let rows = "good,pos\nbad,neg\n".repeat(5);
    let dir = folder(&[
        ("a.csv", format!("wert,art\n{rows}").as_bytes()),
        ("b.csv", format!("odd,new\n{rows}rare,seldom\n").as_bytes()),
        ("c.jsonl", b"[\"a\", \"x\"]\n"),
    ]);
    let read = |name: &str, options: &TextOptions| Texts::read(&dir.path().join(name), options);
    let options = TextOptions::default();
    let error = read("a.csv", &options).unwrap_err().to_string();
    assert!(
        error.contains(
            "a.csv:1`: it seems to be a header with other names: no other line has the class `art`"
        ),
        "{error}"
    );
    let target = TargetSpec::Class { column: Some("art".to_owned()) };
    let texts = read("a.csv", &TextOptions { text: named("wert"), target, ..options.clone() }).unwrap();
    assert_eq!((texts.records.len(), texts.names.join(" ")), (10, "neg pos".to_owned()));
    // Another class is rare as well; and what a model knows is a class.
    assert_eq!(read("b.csv", &options).unwrap().records.len(), 12);
    let classes = Some(["art", "neg", "pos"].map(str::to_owned).to_vec());
    assert_eq!(read("a.csv", &TextOptions { classes, ..options.clone() }).unwrap().records.len(), 11);
    // One thing is wrong, and one thing is said.
    let error = read("c.jsonl", &options).unwrap_err().to_string();
    assert!(
        error.contains("c.jsonl:1`: it is no JSON object: it is a list") && !error.contains("column"),
        "{error}"
    );
}

#[test]
fn what_is_not_utf_8_is_named_by_line() {
    let dir = folder(&[("a.csv", b"text,label\ncaf\xE9,x\nfine,y\n\xFF,x\n"), ("b.csv", b"\xFF\xFEt\0")]);
    let said = |name: &str| {
        let error = Texts::read(&dir.path().join(name), &TextOptions::default()).unwrap_err().to_string();
        error.replace(&format!("{}/", dir.path().display()), "")
    };
    assert_eq!(
        said("a.csv"),
        "`a.csv` cannot be used as labelled texts: 2 problems\
         \n  - `a.csv:2`: it is not UTF-8 text: `caf\\xE9`\
         \n  - `a.csv:4`: it is not UTF-8 text: `\\xFF`\
         \n\nhint: save the file as UTF-8"
    );
    assert!(said("b.csv").contains("it is text in UTF-16 (expected text in UTF-8)"));
    assert!(said("c.csv").contains("`c.csv`: it does not exist"));
}

#[test]
fn empty_texts_can_be_left_out_first() {
    let dir = folder(&[("a.csv", b"text,label\na,x\n  ,y\nb,y\nc,x\nd,y\n")]);
    let path = dir.path().join("a.csv");
    let split = SplitOptions::default();
    let error = TextDataset::open(&path, &TextOptions::default(), &split).unwrap_err().to_string();
    assert!(error.contains("a.csv:3`: the text is empty"), "{error}");
    let texts = Texts::read(&path, &TextOptions::default()).unwrap();
    let names: BTreeSet<String> = [texts.records[1].name.clone(), "unknown".to_owned()].into();
    assert_eq!(texts.clone().leave_out(&names), ["unknown"]);
    let data = TextDataset::open_without(&path, &TextOptions::default(), &split, &names).unwrap();
    assert_eq!((data.train.len(), data.val.len(), data.left_out.len()), (2, 2, 1));
}

/// Twenty texts of two classes, in some order.
fn many(order: impl Iterator<Item = usize>) -> String {
    let row = |i: usize| format!("text number {i}\t{}\n", ["x", "y"][i % 2]);
    "text\tlabel\n".to_owned() + &order.map(row).collect::<String>()
}

#[test]
fn splits_do_not_depend_on_the_order_of_rows() {
    let dir = folder(&[("a.tsv", many(0..40).as_bytes()), ("b.tsv", many((0..40).rev()).as_bytes())]);
    let open = |name: &str, split: &SplitOptions| {
        TextDataset::open(&dir.path().join(name), &TextOptions::default(), split).unwrap()
    };
    let texts = |data: &TextDataset| data.val.iter().map(|s| (s.text.clone(), s.label)).collect::<Vec<_>>();
    let split = SplitOptions { seed: 5, test_fraction: 0.1, ..SplitOptions::default() };
    let (a, b) = (open("a.tsv", &split), open("b.tsv", &split));
    assert_eq!((a.train.len(), a.val.len(), a.test.len()), (28, 8, 4));
    assert_eq!((texts(&a), a.fingerprint()), (texts(&b), b.fingerprint()));
    assert_ne!(texts(&a), texts(&open("a.tsv", &SplitOptions { seed: 6, ..split.clone() })));
    let saved = a.split_file().unwrap();
    let again = open("b.tsv", &SplitOptions { mode: SplitMode::Saved(saved), ..SplitOptions::default() });
    assert_eq!(texts(&a), texts(&again));
    let fold = SplitOptions { mode: SplitMode::Fold { folds: 4, held_out: 1 }, ..split };
    assert_eq!(open("a.tsv", &fold).val.len(), 10);
}

#[test]
fn a_folder_of_tables_has_its_parts() {
    let header = "text\tlabel\n";
    let train = many(0..10);
    let files = [
        ("train.tsv", train.clone()),
        ("dev.tsv", format!("{header}p\tx\nq\ty\n")),
        ("test.tsv", format!("{header}r\tz\n")),
    ];
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
    let dir = folder(&files);
    let error = TextDataset::open(dir.path(), &TextOptions::default(), &SplitOptions::default()).unwrap_err();
    let error = error.to_string();
    let place = dir.path().join("test.tsv");
    let said =
        format!("class `z` has test texts, the first is `{}:2`, but no training texts", place.display());
    assert!(error.starts_with("the texts cannot be split: ") && error.contains(&said), "{error}");
    fs::write(place, format!("{header}r\tx\n")).unwrap();
    let data = TextDataset::open(dir.path(), &TextOptions::default(), &SplitOptions::default()).unwrap();
    assert_eq!((data.train.len(), data.val.len(), data.test.len()), (10, 2, 1));
    assert_eq!(data.split, SplitSource::Given { column: false });
    assert_eq!(data.warnings, ["no test texts of `y`"]);
    fs::write(dir.path().join("valid.csv"), "text,label\na,x\n").unwrap();
    let error = Texts::read(dir.path(), &TextOptions::default()).unwrap_err().to_string();
    assert!(error.contains("`dev.tsv` and `valid.csv` are both the val part"), "{error}");
}

/// Columns of labels are the same in all tables, in any place.
#[test]
fn tables_of_other_labels_are_refused() {
    let dir = folder(&[
        ("train.csv", b"text,toxic,rude\na,1,0\nb,0,1\n"),
        ("test.csv", b"id,text,toxic,rude\n7,c,1,1\n"),
    ]);
    let named = Some(["toxic", "rude"].map(str::to_owned).to_vec());
    let read = |columns| {
        let options = TextOptions { target: TargetSpec::Flags { columns }, ..TextOptions::default() };
        Texts::read(dir.path(), &options).map_err(|error| error.to_string())
    };
    let said = read(None).unwrap_err();
    let wanted = "the labels or numbers are in `id`, `toxic`, `rude` (expected `toxic`, `rude`, as in the first table)";
    assert!(said.contains("test.csv:1`: ") && said.contains(wanted), "{said}");
    assert_eq!(read(named).unwrap().records[2].target, Target::Labels(vec![0, 1]));
}

#[test]
fn folders_of_text_files() {
    let files: [(&str, &[u8]); 7] = [
        ("train/pos/1.txt", b"good"),
        ("train/pos/more/2.TXT", b"fine\n"),
        ("train/neg/1.txt", b"bad"),
        ("train/neg/notes.pdf", b"%PDF"),
        ("test/neg/1.txt", b"worse"),
        ("test/pos/1.txt", b"better"),
        ("unsup/x/1.txt", b"who knows"),
    ];
    let dir = folder(&files);
    let texts = Texts::read(dir.path(), &TextOptions::default()).unwrap();
    let names: Vec<&str> = texts.records.iter().map(|record| record.name.as_str()).collect();
    assert_eq!(
        names,
        ["test/neg/1.txt", "test/pos/1.txt", "train/neg/1.txt", "train/pos/1.txt", "train/pos/more/2.TXT"]
    );
    assert_eq!(
        texts.notes,
        ["folder `unsup` beside the parts is not used", "files that are no `.txt` and were passed over: 1"]
    );
    assert_eq!(texts.records[4].part, Some(Part::Train));
    let flat: Vec<(String, Vec<u8>)> = (0..10)
        .map(|i| (format!("{}/{i}.txt", ["a", "b"][i % 2]), format!("text {i}").into_bytes()))
        .collect();
    let flat: Vec<(&str, &[u8])> =
        flat.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let dir = folder(&flat);
    let data = TextDataset::open(dir.path(), &TextOptions::default(), &SplitOptions::default()).unwrap();
    assert_eq!((data.train.len(), data.val.len()), (8, 2));
    let empty = tempfile::tempdir().unwrap();
    let error = Texts::read(empty.path(), &TextOptions::default()).unwrap_err().to_string();
    assert!(error.contains("there are neither tables"), "{error}");
}

/// The embedded set is what its card says.
#[test]
fn the_card_of_the_embedded_set_is_true() {
    let dir: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "..", "..", "datasets", "movie-review-snippets"].iter().collect();
    let card: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(dir.join("card.json")).unwrap()).unwrap();
    let data = TextDataset::open(&dir, &TextOptions::default(), &SplitOptions::default()).unwrap();
    assert_eq!(card["name"], "movie-review-snippets");
    assert_eq!(card["classes"], serde_json::json!(data.classes));
    assert_eq!(card["counts"]["train"], data.train.len());
    assert_eq!(card["counts"]["val"], data.val.len());
    assert_eq!(card["fingerprint"], data.fingerprint());
    for file in ["README.md", "LICENSE", "make.py"] {
        assert!(dir.join(file).is_file());
    }
}

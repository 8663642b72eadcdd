//! Every way to write a table, and what it means.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are part of it")]

mod common;

use std::fs;

use common::{put_bytes, tree};
use tempfile::TempDir;
use tl_data::{ColumnChoice, Part, Table, TableFormat, TableOptions, Target, TargetSpec, Task};

const IMAGES: [&str; 4] = ["a/1.png", "a/2.png", "b/3.png", "b/4 x.png"];

fn images() -> TempDir {
    tree(&IMAGES)
}

fn read(dir: &TempDir, name: &str, text: &str, options: &TableOptions) -> Table {
    let path = put_bytes(dir.path(), name, text.as_bytes());
    Table::open(&path, options).unwrap_or_else(|error| panic!("{error}"))
}

fn with_target(target: TargetSpec) -> TableOptions {
    TableOptions { target, ..TableOptions::default() }
}

fn classes(table: &Table) -> Vec<(&str, &str)> {
    let name = |target: &Target| match target {
        Target::Class(class) => table.names[*class as usize].as_str(),
        _ => panic!("{target:?}"),
    };
    table.records.iter().map(|record| (record.rel.as_str(), name(&record.target))).collect()
}

fn labels(table: &Table) -> Vec<Vec<&str>> {
    let names = |target: &Target| match target {
        Target::Labels(labels) => labels.iter().map(|&label| table.names[label as usize].as_str()).collect(),
        _ => panic!("{target:?}"),
    };
    table.records.iter().map(|record| names(&record.target)).collect()
}

fn numbers(table: &Table) -> Vec<Vec<f32>> {
    let numbers = |target: &Target| match target {
        Target::Numbers(numbers) => numbers.clone(),
        _ => panic!("{target:?}"),
    };
    table.records.iter().map(|record| numbers(&record.target)).collect()
}

#[test]
fn a_table_of_classes() {
    let dir = images();
    let text = "file,label\nb/3.png,dog\na/1.png,cat\nb/4 x.png,Emu\n";
    let table = read(&dir, "t.csv", text, &TableOptions::default());
    assert_eq!(
        (table.task, table.names.as_slice()),
        (Task::Class, &["Emu", "cat", "dog"].map(str::to_owned)[..])
    );
    assert_eq!(classes(&table), [("b/3.png", "dog"), ("a/1.png", "cat"), ("b/4 x.png", "Emu")]);
    assert_eq!(table.records.iter().map(|record| record.line).collect::<Vec<_>>(), [2, 3, 4]);
    assert!(table.records.iter().all(|record| record.path.is_file() && record.weight == 1.0));
    assert_eq!(table.counts(), [1, 1, 1]);
    // The id is that of a sample of a folder: the first 8 bytes of `printf a/1.png | sha256sum`.
    assert_eq!(table.records[1].id, 0x8284070893ea3086);
    assert_eq!(
        table.notes,
        [
            "cells are separated by `,`",
            "`label` taken for the classes, by name",
            "`file` taken for the files, by name"
        ]
    );
    assert!(table.warnings.is_empty(), "{:?}", table.warnings);
    assert!(table.columns.iter().all(|used| used.guessed));
}

#[test]
fn however_it_is_written() {
    let dir = images();
    let plain = "file,label\na/1.png,cat\nb/3.png,dog\nb/4 x.png,\"big \"\"dog\"\", old\"\n";
    let options = TableOptions::default();
    let expected = read(&dir, "t.csv", plain, &options).records;
    let semicolons = "file;label\na/1.png;cat\nb/3.png;dog\nb/4 x.png;\"big \"\"dog\"\", old\"\n";
    let tabs = "file\tlabel\na/1.png\tcat\nb/3.png\tdog\nb/4 x.png\t\"big \"\"dog\"\", old\"\n";
    for (name, text) in [
        ("crlf.csv", plain.replace('\n', "\r\n")),
        ("cr.csv", plain.replace('\n', "\r")),
        ("bom.csv", format!("\u{feff}{plain}")),
        ("open.csv", plain.trim_end().to_owned()),
        ("spaces.csv", plain.replace(",cat", "  ,  cat  ").replace("file,", " file , ")),
        ("quotes.csv", plain.replace("a/1.png", "\"a/1.png\"").replace("file", "\"file\"")),
        ("steps.csv", plain.replace("a/1.png", "./a//1.png")),
        ("semicolons.csv", semicolons.to_owned()),
        ("semicolons.txt", semicolons.to_owned()),
        ("tabs.csv", tabs.to_owned()),
        ("tabs.tsv", tabs.to_owned()),
        ("upper.CSV", plain.replace("file,label", "FileName,CLASS")),
    ] {
        assert_eq!(read(&dir, name, &text, &options).records, expected, "{name}");
    }
    let blank = read(&dir, "t.csv", "\n\nfile,label\n\na/1.png,cat\n\n\nb/3.png,dog\n\n", &options);
    assert_eq!(blank.records.iter().map(|record| record.line).collect::<Vec<_>>(), [5, 8]);
    let bar = TableOptions { format: Some(TableFormat::Csv { delimiter: Some(b'|') }), ..options };
    assert_eq!(
        read(&dir, "x.data", &plain.replace(",label", "|label").replace("png,", "png|"), &bar).records,
        expected
    );
}

#[test]
fn columns_by_name_and_what_is_left_over() {
    let dir = images();
    let text = "n,where,what,when,set\n1,a/1.png,x,2020,u\n2,a/2.png,y,2021,v\n";
    let options = TableOptions {
        file: ColumnChoice::Named("where".to_owned()),
        target: TargetSpec::Class { column: Some("what".to_owned()) },
        split: ColumnChoice::Unused,
        ..TableOptions::default()
    };
    let table = read(&dir, "t.csv", text, &options);
    assert_eq!(classes(&table), [("a/1.png", "x"), ("a/2.png", "y")]);
    assert_eq!(table.notes[1..], ["columns that are not used: `n`, `when`, `set`"]);
    let guessed = read(&dir, "t.csv", text, &TableOptions { split: ColumnChoice::Guess, ..options });
    assert_eq!(
        guessed.notes[1..],
        [
            "column `set` is not taken for the split: not all of its cells name parts",
            "columns that are not used: `n`, `when`"
        ]
    );
    assert!(guessed.records.iter().all(|record| record.split.is_none()));
    assert!(table.columns.iter().all(|used| !used.guessed));

    let several =
        read(&dir, "t.csv", "image_id,path,Label\n9,a/1.png,x\n8,a/2.png,y\n", &TableOptions::default());
    assert!(several.notes.contains(&"column `path` is taken for the files, not `image_id`".to_owned()));
}

#[test]
fn several_labels_in_a_cell() {
    let dir = images();
    for (separator, text) in [
        ('|', "file,labels\na/1.png,sun | sea\na/2.png,sea\nb/3.png,\n"),
        (';', "file,labels\na/1.png,sun;sea\na/2.png,sea\nb/3.png,\n"),
        (' ', "file,labels\na/1.png,sun   sea\na/2.png, sea\nb/3.png,\n"),
    ] {
        let options = with_target(TargetSpec::Labels { column: None, separator, allow_empty: true });
        let table = read(&dir, "t.csv", text, &options);
        assert_eq!((table.task, table.counts()), (Task::MultiLabel, vec![2, 1]));
        assert_eq!(labels(&table), [vec!["sea", "sun"], vec!["sea"], vec![]]);
        assert_eq!(table.records[0].target.to_row(2), [1.0, 1.0]);
        assert_eq!(table.records[1].target.to_row(2), [1.0, 0.0]);
    }
}

#[test]
fn a_column_for_each_label() {
    let dir = images();
    let text = ",file,cat,dog,weight\n0,a/1.png,1,0,1\n1,a/2.png,True,1.0,2\n2,b/3.png,0,false,0.5\n";
    let unnamed = read(&dir, "t.csv", text, &with_target(TargetSpec::Flags { columns: None }));
    assert_eq!(unnamed.names, ["cat", "dog"]);
    assert_eq!(labels(&unnamed), [vec!["cat"], vec!["cat", "dog"], vec![]]);
    assert!(unnamed.records.iter().all(|record| record.weight == 1.0));
    let weight = ColumnChoice::Named("weight".to_owned());
    let options = TableOptions { weight, ..with_target(TargetSpec::Flags { columns: None }) };
    let table = read(&dir, "t.csv", text, &options);
    assert_eq!((&table.names, labels(&table)), (&unnamed.names, labels(&unnamed)));
    assert_eq!(table.records.iter().map(|record| record.weight).collect::<Vec<_>>(), [1.0, 2.0, 0.5]);
    let named = TargetSpec::Flags { columns: Some(vec!["dog".to_owned()]) };
    let table = read(&dir, "t.csv", text, &with_target(named));
    assert_eq!((table.names.as_slice(), table.counts()), (&["dog".to_owned()][..], vec![1]));
}

#[test]
fn numbers_to_predict() {
    let dir = images();
    let text = "file,x,target\na/1.png,1,-2.5e1\na/2.png,0.25,3\n";
    let table = read(&dir, "t.csv", text, &with_target(TargetSpec::Numbers { columns: None }));
    assert_eq!((table.task, table.names.as_slice()), (Task::Number, &["target".to_owned()][..]));
    assert_eq!(numbers(&table), [[-25.0], [3.0]]);
    let columns = Some(vec!["target".to_owned(), "x".to_owned()]);
    let table = read(&dir, "t.csv", text, &with_target(TargetSpec::Numbers { columns }));
    assert_eq!(numbers(&table), [[-25.0, 1.0], [3.0, 0.25]]);
    assert_eq!(table.records[0].target.to_row(2), [-25.0, 1.0]);
    assert!(table.counts().is_empty());
}

#[test]
fn split_group_and_weight() {
    let dir = images();
    let text = "file,label,Split,patient_id,sample_weight\na/1.png,x,TRAIN,p1,0\na/2.png,y,valid,p1,1.5\nb/3.png,y,testing,p2,2\n";
    let named = |name: &str| ColumnChoice::Named(name.to_owned());
    let options = TableOptions {
        group: named("patient_id"),
        weight: named("sample_weight"),
        ..TableOptions::default()
    };
    let table = read(&dir, "t.csv", text, &options);
    assert!(table.notes.contains(&"`Split` taken for the split, by name".to_owned()), "{:?}", table.notes);
    let parts: Vec<Part> = table.records.iter().map(|record| record.split.unwrap()).collect();
    assert_eq!(parts, Part::ALL);
    let groups: Vec<&str> = table.records.iter().map(|record| record.group.as_deref().unwrap()).collect();
    assert_eq!(groups, ["p1", "p1", "p2"]);
    assert_eq!(table.records.iter().map(|record| record.weight).collect::<Vec<_>>(), [0.0, 1.5, 2.0]);
}

/// They would change what is trained without a sign of it.
#[test]
fn weights_and_groups_are_never_guessed() {
    let dir = images();
    let text = "file,label,group,weight\na/1.png,x,g,0\na/2.png,y,g,7\n";
    let table = read(&dir, "t.csv", text, &TableOptions::default());
    assert!(table.records.iter().all(|record| record.weight == 1.0 && record.group.is_none()));
    assert_eq!(
        table.notes[3..],
        [
            "column `group` is not used; name it to use it for the groups",
            "column `weight` is not used; name it to use it for the weights"
        ]
    );
    let unused = ColumnChoice::Unused;
    let options = TableOptions { group: unused.clone(), weight: unused, ..TableOptions::default() };
    let table = read(&dir, "t.csv", text, &options);
    assert_eq!(table.notes[3..], ["columns that are not used: `group`, `weight`"]);
}

#[test]
fn a_column_is_the_split_by_its_cells() {
    let dir = images();
    let text = "file,label,set,split\na/1.png,x,A,train\na/2.png,y,B,val_set\n";
    let table = read(&dir, "t.csv", text, &TableOptions::default());
    assert_eq!(table.records[1].split, Some(Part::Val));
    let note = "column `set` is not taken for the split: not all of its cells name parts";
    assert!(table.notes.contains(&note.to_owned()), "{:?}", table.notes);
    assert!(table.columns.iter().any(|used| used.column == "split" && used.guessed));
}

#[test]
fn whether_there_is_a_column() {
    let dir = images();
    let options = TableOptions::default();
    let path = put_bytes(dir.path(), "t.csv", b"\nfile,label,patient (id)\na/1.png,x,1\n");
    let has = |name: &str| Table::has_column(&path, &options, name).unwrap();
    assert_eq!((has("patient (id)"), has("patient"), has("Label")), (true, false, false));
    let list = put_bytes(dir.path(), "t.txt", b"a/1.png 0\n");
    assert!(!Table::has_column(&list, &options, "label").unwrap());
    assert!(Table::has_column(&dir.path().join("no.csv"), &options, "x").is_err());
}

#[cfg(unix)]
#[test]
fn a_link_to_a_table_is_a_table_where_it_is() {
    use std::os::unix::fs::symlink;
    let dir = images();
    put_bytes(dir.path(), "store/blob", b"file\tlabel\n1.png\tx\n2.png\ty\n");
    symlink("../store/blob", dir.path().join("a/t.tsv")).unwrap();
    let table = Table::open(&dir.path().join("a/t.tsv"), &TableOptions::default()).unwrap();
    assert_eq!(table.records[0].path, dir.path().join("a/1.png"));

    // Absolute names are below the folder whichever way it was come to.
    symlink(dir.path(), dir.path().join("here")).unwrap();
    let real = dir.path().canonicalize().unwrap();
    let rows =
        |top: &std::path::Path| format!("file,label\n{0}/a/1.png,x\n{0}/b/../a/2.png,y\n", top.display());
    put_bytes(dir.path(), "real.csv", rows(&real).as_bytes());
    put_bytes(dir.path(), "link.csv", rows(&dir.path().join("here")).as_bytes());
    for (folder, name) in [("", "real.csv"), ("here", "real.csv"), ("here", "link.csv")] {
        let table = Table::open(&dir.path().join(folder).join(name), &TableOptions::default()).unwrap();
        let rels: Vec<&str> = table.records.iter().map(|record| record.rel.as_str()).collect();
        assert_eq!((rels, table.warnings.len()), (vec!["a/1.png", "a/2.png"], 0), "{folder}/{name}");
    }
}

#[test]
fn plain_lists() {
    let dir = images();
    let options = TableOptions::default();
    let table = read(&dir, "train.txt", "a/1.png 0\nb/3.png 1\n\nb/4 x.png  1\n", &options);
    assert_eq!(classes(&table), [("a/1.png", "0"), ("b/3.png", "1"), ("b/4 x.png", "1")]);
    assert_eq!(table.records[2].line, 4);
    assert_eq!(table.notes.len(), 3);
    let high = read(&dir, "train.txt", "a/1.png 2\nb/3.png 10\n", &options);
    assert_eq!(
        high.notes.last().unwrap(),
        "class `10` has the number 0: classes are sorted as text, unless a list is given"
    );
    let tabs = read(&dir, "train.lst", "\u{feff}a/1.png\tgreat dane\r\nb/4 x.png\tcat\r\n", &options);
    assert_eq!(classes(&tabs), [("a/1.png", "great dane"), ("b/4 x.png", "cat")]);
    let folders = read(&dir, "list", "a/1.png\nb/4 x.png\n", &with_target(TargetSpec::ParentFolder));
    assert_eq!(classes(&folders), [("a/1.png", "a"), ("b/4 x.png", "b")]);
    let bare = read(&dir, "list", "a/1.png\nb/4 x.png", &with_target(TargetSpec::Nothing));
    assert_eq!((bare.task, bare.records[1].target.clone()), (Task::Nothing, Target::None));
    let spec = with_target(TargetSpec::Numbers { columns: None });
    assert_eq!(numbers(&read(&dir, "l.txt", "a/1.png 1\na/2.png 2", &spec)), [[1.0], [2.0]]);
    let spec = with_target(TargetSpec::Labels { column: None, separator: ' ', allow_empty: false });
    assert_eq!(labels(&read(&dir, "l.txt", "a/1.png x y\na/2.png y\n", &spec)), [vec!["x", "y"], vec!["y"]]);
    let forced = TableOptions { format: Some(TableFormat::List), ..options };
    assert_eq!(read(&dir, "x.csv", "a/1.png 0\nb/3.png 1\n", &forced).records.len(), 2);
}

#[test]
fn several_numbers_in_a_list() {
    let dir = images();
    let spec = TargetSpec::Numbers { columns: None };
    let table = read(&dir, "l.txt", "a/1.png 1 2.5\na/2.png 2  3\n", &with_target(spec));
    assert_eq!(table.names, ["number 1", "number 2"]);
    assert_eq!(numbers(&table), [[1.0, 2.5], [2.0, 3.0]]);
}

#[test]
fn where_the_files_are() {
    let dir = images();
    let folder =
        |images: &str| TableOptions { images: Some(dir.path().join(images)), ..TableOptions::default() };
    let table = read(&dir, "lists/t.csv", "file,label\n1.png,x\n2.png,y\n", &folder("a"));
    assert_eq!(table.records[0].path, dir.path().join("a/1.png"));
    assert_eq!((table.records[0].rel.as_str(), table.root), ("1.png", dir.path().join("a")));
    let up = read(&dir, "lists/t.csv", "file,label\n../a/1.png,x\n../a/2.png,y\n", &TableOptions::default());
    assert_eq!(up.records[0].rel, "../a/1.png");

    let absolute = format!("file,label\n{0}/a/1.png,x\n{0}/a/2.png,y\n", dir.path().display());
    let below = read(&dir, "t.csv", &absolute, &TableOptions::default());
    assert_eq!((below.records[0].rel.as_str(), below.warnings.len()), ("a/1.png", 0));
    let beside = read(&dir, "t.csv", &absolute, &folder("b"));
    assert!(beside.records[0].rel.starts_with('/'));
    assert!(beside.warnings[0].starts_with("2 images have absolute paths"), "{:?}", beside.warnings);

    let ids = TableOptions { extension: Some(".png".to_owned()), ..TableOptions::default() };
    let table = read(&dir, "t.csv", "image_id,label\na/1,x\na/2.png,y\n", &ids);
    assert_eq!(table.records.iter().map(|r| r.rel.as_str()).collect::<Vec<_>>(), ["a/1.png", "a/2.png"]);

    let unchecked = TableOptions { check_files: false, ..TableOptions::default() };
    assert_eq!(read(&dir, "t.csv", "file,label\nno/1.png,x\nno/2.png,y\n", &unchecked).records.len(), 2);
}

#[test]
fn an_explicit_list_of_classes() {
    let dir = images();
    let list = ["dog", "cat", "emu"].map(str::to_owned).to_vec();
    let options = TableOptions { classes: Some(list.clone()), ..TableOptions::default() };
    let table = read(&dir, "t.csv", "file,label\na/1.png,cat\na/2.png,dog\n", &options);
    assert_eq!((&table.names, table.counts()), (&list, vec![1, 1, 0]));
    assert_eq!(table.records[0].target, Target::Class(1));
    assert_eq!(table.warnings, ["no rows of `emu`"]);
}

#[test]
fn what_looks_like_an_oversight() {
    let dir = tree(
        &(0..12)
            .map(|i| format!("{i}.png"))
            .collect::<Vec<_>>()
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
    );
    let rows = |label: &dyn Fn(u32) -> String| {
        (0..12).map(|i| format!("{i}.png,{}\n", label(i))).collect::<String>()
    };
    let warnings = |header: &str, label: &dyn Fn(u32) -> String, target: TargetSpec| {
        read(&dir, "t.csv", &format!("file,{header}\n{}", rows(label)), &with_target(target)).warnings
    };
    let class = TargetSpec::default;
    let case = warnings("label", &|i| if i % 2 == 0 { "Cat" } else { "cat" }.to_owned(), class());
    assert_eq!(case, ["classes that differ only in case: `Cat`, `cat`"]);
    let many = warnings("label", &|i| format!("{i}.5"), class());
    assert_eq!(many, ["there are 12 classes in 12 rows: are they numbers to predict?"]);
    let cells = warnings("label", &|i| if i % 2 == 0 { "a|b" } else { "a" }.to_owned(), class());
    assert_eq!(cells, ["some classes have a `|` in them: `a|b`; if it separates labels, say so"]);
    let flags = warnings("x,y", &|_| "1,0".to_owned(), TargetSpec::Flags { columns: None });
    assert_eq!(flags, ["no rows of `y`", "all rows have `x`"]);
    let same = warnings("value", &|_| "1".to_owned(), TargetSpec::Numbers { columns: None });
    assert_eq!(same, ["the same number in all rows: `value`"]);
}

#[test]
fn the_order_of_rows_changes_nothing_but_their_order() {
    let dir = images();
    let rows = ["a/1.png,x", "a/2.png,y", "b/3.png,x", "b/4 x.png,z"];
    let read = |rows: &[&str]| {
        read(&dir, "t.csv", &format!("file,label\n{}\n", rows.join("\n")), &TableOptions::default())
    };
    let (first, mut turned) = (read(&rows), rows);
    turned.reverse();
    let second = read(&turned);
    assert_eq!(first.names, second.names);
    for record in &first.records {
        let other = second.records.iter().find(|other| other.rel == record.rel).unwrap();
        assert_eq!((&other.target, other.id), (&record.target, record.id));
    }
    fs::remove_file(dir.path().join("t.csv")).unwrap();
}

//! Everything that can be wrong with a table, each with its file, line and column.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are part of it")]

mod common;

use std::fs;

use common::{put_bytes, tree};
use tempfile::TempDir;
use tl_data::{ColumnChoice, DataError, Table, TableOptions, TargetSpec};

fn images() -> TempDir {
    tree(&["a/1.png", "a/2.png", "b/3.png"])
}

/// The error with the folder's own path written as `DIR`, without `table ... cannot be used: `.
fn error_of(dir: &TempDir, name: &str, bytes: &[u8], options: &TableOptions) -> String {
    let path = put_bytes(dir.path(), name, bytes);
    let error = Table::open(&path, options).expect_err("an error");
    let text = error.to_string().replace(&dir.path().display().to_string(), "DIR");
    let start = format!("table `DIR/{name}` cannot be used: ");
    text.strip_prefix(&start).unwrap_or(&text).to_owned()
}

fn error(text: &str) -> String {
    error_of(&images(), "t.csv", text.as_bytes(), &TableOptions::default())
}

fn error_with(text: &str, target: TargetSpec) -> String {
    error_of(&images(), "t.csv", text.as_bytes(), &TableOptions { target, ..TableOptions::default() })
}

#[test]
fn the_file_itself() {
    let dir = images();
    let open = |path: &str| {
        let error = Table::open(&dir.path().join(path), &TableOptions::default()).unwrap_err();
        error.to_string().replace(&dir.path().display().to_string(), "DIR")
    };
    assert_eq!(open("no.csv"), "`DIR/no.csv` does not exist");
    assert_eq!(open("a"), "table `DIR/a` cannot be used: `DIR/a`: it is not a regular file");
    for (bytes, expected) in [
        (
            &b"PK\x03\x04xl"[..],
            "`DIR/t.csv`: it is an Excel or zip file (expected text in UTF-8)\n\nhint: save the sheet as CSV (UTF-8)",
        ),
        (
            b"PAR1\0",
            "`DIR/t.csv`: it is a Parquet file (expected text in UTF-8)\n\nhint: save the table as UTF-8",
        ),
        (
            b"\xFF\xFEf\0",
            "`DIR/t.csv`: it is text in UTF-16 (expected text in UTF-8)\n\nhint: save the table as UTF-8",
        ),
        (
            b"file,\0",
            "`DIR/t.csv`: it is a binary file (expected text in UTF-8)\n\nhint: save the table as UTF-8",
        ),
        (b"", "`DIR/t.csv`: there are no rows"),
        (b"\xEF\xBB\xBF\r\n \n", "`DIR/t.csv`: there are no rows"),
        (b"file,label\n\n", "`DIR/t.csv`: there are no rows"),
    ] {
        let error = error_of(&dir, "t.csv", bytes, &TableOptions::default());
        assert_eq!(error, expected);
    }
    assert_eq!(error_of(&dir, "t.txt", b"\n", &TableOptions::default()), "`DIR/t.txt`: there are no rows");
}

#[test]
fn columns() {
    assert_eq!(
        error("path,lable\na/1.png,x\n"),
        "`DIR/t.csv:1`: no column has a known name for the classes (the columns are `path`, `lable`)\n\n\
         hint: name the column for the classes, or call it one of `label`, `class`, `class_name`, `category`, \
         `category_name`, `target`, `species`"
    );
    let headless = error("a/1.png,x\na/2.png,y\n");
    assert!(
        headless.ends_with("hint: the first line seems to be a row; add a header such as `file,label`"),
        "{headless}"
    );
    assert!(headless.starts_with("2 problems"), "{headless}");
    let below = error("\n\npath,lable\na/1.png,x\n");
    assert!(below.starts_with("`DIR/t.csv:3`: no column has a known name for the classes"), "{below}");
    let splits = error("path,label,split,set\na/1.png,x,train,val\na/2.png,y,val,train\n");
    assert!(
        splits.starts_with("`DIR/t.csv`: several columns could be the split: `split`, `set`"),
        "{splits}"
    );
    let two = error("path,label,class\na/1.png,x,y\n");
    assert_eq!(
        two,
        "`DIR/t.csv:1`: several columns could be the classes: `label`, `class`\n\nhint: name the column for the classes"
    );

    let options = TableOptions {
        file: ColumnChoice::Named("Path".to_owned()),
        target: TargetSpec::Class { column: Some("lable".to_owned()) },
        weight: ColumnChoice::Named("kilos".to_owned()),
        split: ColumnChoice::Named("path".to_owned()),
        group: ColumnChoice::Named("path".to_owned()),
        ..TableOptions::default()
    };
    let all = error_of(&images(), "t.csv", b"path,label,label,zzz\na/1.png,x,y,1\n", &options);
    for expected in [
        "`DIR/t.csv:1`: there is no column `Path` for the files (the columns are `path`, `label`, `label`, `zzz`)",
        "there is no column `lable` for the classes",
        "there is no column `kilos` for the weights",
        "`DIR/t.csv:1`, column `path`: the column is to be used both for the split and for the groups",
        "hint: did you mean `label`?\nhint: did you mean `path`?",
        "`DIR/t.csv:2`, column `path`: the cell is `a/1.png` (expected `train`, `val` or `test`)",
    ] {
        assert!(all.contains(expected), "{expected}: {all}");
    }
    let named = TargetSpec::Class { column: Some("label".to_owned()) };
    let twice = error_with("path,label,label\na/1.png,x,y\na/2.png,y,y\n", named);
    assert_eq!(twice, "`DIR/t.csv:1`, column `label`: the column is there twice, as number 2 and 3");
    let flags = error_with("path,a,a\na/1.png,1,0\n", TargetSpec::Flags { columns: None });
    assert_eq!(flags, "`DIR/t.csv:1`, column `a`: the column is there twice, as number 2 and 3");
    let left = error_with("path,split\na/1.png,train\n", TargetSpec::Flags { columns: None });
    assert_eq!(left, "`DIR/t.csv:1`: no column is left for the labels");
}

#[test]
fn rows() {
    let text =
        error("file,label\na/1.png,x,\na/2.png\nb/3.png,\"y\nb/4.png,z\n\",1\nb/3.png,z\nb/3.png,\"\n");
    assert_eq!(
        text,
        "4 problems\
        \n  - `DIR/t.csv:2`: the row has 3 cells (expected 2)\
        \n  - `DIR/t.csv:3`: the row has 1 cells (expected 2)\
        \n  - `DIR/t.csv:4`: the row has 3 cells (expected 2), and runs to line 6\
        \n  - `DIR/t.csv:8`: a quote in this row is never closed\
        \n\nhint: put cells with the delimiter in them in quotes\
        \nhint: look for a quote that is not closed, or not doubled inside of a quoted cell"
    );
    let duplicate = error("file,label\na/1.png,x\na/2.png,y\n./a/1.png,y\na//1.png,y\n");
    assert!(
        duplicate.starts_with(
            "2 problems\n  - `DIR/t.csv:4`: the image `a/1.png` is already in line 2\
        \n  - `DIR/t.csv:5`: the image `a/1.png` is already in line 2\n\nhint: keep one row for each image;"
        ),
        "{duplicate}"
    );
}

#[test]
fn cells() {
    let text = b"file,label,weight,split,group\n\
        a/1.png,,1,train,g\n\
        ,x,-1,train,g\n\
        a/2.png,x\xFFy,nan,dev,g\n\
        b/3.png,\"x\ny\",inf,holdout,\n\
        a/1.PNG,x,,,g\n";
    let dir = images();
    fs::copy(dir.path().join("a/1.png"), dir.path().join("a/1.PNG")).unwrap();
    let named = |name: &str| ColumnChoice::Named(name.to_owned());
    let options = TableOptions { weight: named("weight"), group: named("group"), ..TableOptions::default() };
    assert_eq!(
        error_of(&dir, "t.csv", text, &options),
        "11 problems\
        \n  - `DIR/t.csv:2`, column `label`: the cell is empty (expected a class)\
        \n  - `DIR/t.csv:3`, column `file`: the cell is empty (expected a file name)\
        \n  - `DIR/t.csv:3`, column `weight`: the weight is `-1` (expected a number from 0 on)\
        \n  - `DIR/t.csv:4`, column `label`: the cell is not UTF-8 text: `x\\xFFy`\
        \n  - `DIR/t.csv:4`, column `weight`: the weight is `nan` (expected a number from 0 on)\
        \n  - `DIR/t.csv:5`, column `label`: the cell has a line break in it\
        \n  - `DIR/t.csv:5`, column `weight`: the weight is `inf` (expected a number from 0 on)\
        \n  - `DIR/t.csv:5`, column `group`: the cell is empty (expected a group)\
        \n  - `DIR/t.csv:7`, column `weight`: the cell is empty (expected a weight)\
        \n  - `DIR/t.csv:5`, column `split`: the cell is `holdout` (expected `train`, `val` or `test`)\
        \n  - `DIR/t.csv:7`, column `split`: the cell is `` (expected `train`, `val` or `test`)\
        \n\nhint: save the table as UTF-8\
        \nhint: if the column is not the split, say that it is not used"
    );
}

#[test]
fn numbers_and_flags() {
    let numbers = TargetSpec::Numbers { columns: Some(vec!["x".to_owned(), "y".to_owned()]) };
    assert_eq!(
        error_with("file,x,y\na/1.png,NaN,-inf\na/2.png,1e39,\nb/3.png,\"1,5\",0x10\n", numbers),
        "6 problems\
        \n  - `DIR/t.csv:2`, column `x`: the cell is `NaN` (expected a finite number)\
        \n  - `DIR/t.csv:2`, column `y`: the cell is `-inf` (expected a finite number)\
        \n  - `DIR/t.csv:3`, column `x`: the cell is `1e39` (expected a finite number)\
        \n  - `DIR/t.csv:3`, column `y`: the cell is empty (expected a number)\
        \n  - `DIR/t.csv:4`, column `x`: the cell is `1,5` (expected a number)\
        \n  - `DIR/t.csv:4`, column `y`: the cell is `0x10` (expected a number)\
        \n\nhint: write numbers with a decimal point"
    );
    assert_eq!(
        error_with("file,x,y\na/1.png,2,-1\na/2.png,,yes\n", TargetSpec::Flags { columns: None }),
        "4 problems\
        \n  - `DIR/t.csv:2`, column `x`: the cell is `2` (expected 0 or 1)\
        \n  - `DIR/t.csv:2`, column `y`: the cell is `-1` (expected 0 or 1)\
        \n  - `DIR/t.csv:3`, column `x`: the cell is empty (expected 0 or 1)\
        \n  - `DIR/t.csv:3`, column `y`: the cell is `yes` (expected 0 or 1)"
    );
    let labels = TargetSpec::Labels { column: None, separator: '|', allow_empty: false };
    assert_eq!(
        error_with("file,labels\na/1.png,x||y\na/2.png,\nb/3.png,x|y| x\n", labels.clone()),
        "3 problems\
        \n  - `DIR/t.csv:2`, column `labels`: the cell is empty (expected a label on each side of a separator)\
        \n  - `DIR/t.csv:3`, column `labels`: the cell is empty (expected at least one label)\
        \n  - `DIR/t.csv:4`, column `labels`: the label `x` is there twice"
    );
}

#[test]
fn classes() {
    assert_eq!(
        error("file,label\na/1.png,x\na/2.png,x\n"),
        "`DIR/t.csv`: there is only one class, `x` (expected at least 2)"
    );
    let classes = Some(["cat", "dog"].map(str::to_owned).to_vec());
    let options = TableOptions { classes: classes.clone(), ..TableOptions::default() };
    let dir = images();
    assert_eq!(
        error_of(&dir, "t.csv", b"file,label\na/1.png,Cat\na/2.png,bird\nb/3.png,dog\n", &options),
        "2 problems\
        \n  - `DIR/t.csv:2`, column `label`: `Cat` is not in the list of classes (did you mean `cat`?)\
        \n  - `DIR/t.csv:3`, column `label`: `bird` is not in the list of classes"
    );
    assert_eq!(
        error_of(&dir, "t.csv", b"file,label\na/1.png,cat\n", &options),
        "`DIR/t.csv`: there is only one class, `cat` (expected at least 2)"
    );
    let folders = TableOptions { classes, target: TargetSpec::ParentFolder, ..TableOptions::default() };
    put_bytes(dir.path(), "1.png", b"");
    let error = error_of(&dir, "t.txt", b"a/1.png\n1.png\n", &folders);
    assert!(error.contains("`DIR/t.txt:1`: `a` is not in the list of classes"), "{error}");
    assert!(error.contains("`DIR/t.txt:2`: `1.png` lies in no folder that could be its class"), "{error}");
    assert_eq!(
        error_with("file,x\na/1.png,0\n", TargetSpec::Flags { columns: None }),
        "`DIR/t.csv`: there are no labels in any row"
    );
    let weights = b"file,label,weight\na/1.png,x,0\na/2.png,y,0\n";
    let weight = ColumnChoice::Named("weight".to_owned());
    let options = TableOptions { weight, ..TableOptions::default() };
    assert_eq!(error_of(&images(), "t.csv", weights, &options), "`DIR/t.csv`: all weights are 0");
}

#[test]
fn words_for_missing_values() {
    let dir = images();
    let text = b"file,label,group\na/1.png,NaN,1\na/2.png,x,<NA>\nb/3.png,None,2\n";
    let group = ColumnChoice::Named("group".to_owned());
    let options = TableOptions { group, ..TableOptions::default() };
    assert_eq!(
        error_of(&dir, "t.csv", text, &options),
        "3 problems\
        \n  - `DIR/t.csv:2`, column `label`: the cell is `NaN`, which stands for a missing value (expected a class)\
        \n  - `DIR/t.csv:3`, column `group`: the cell is `<NA>`, which stands for a missing value (expected a group)\
        \n  - `DIR/t.csv:4`, column `label`: the cell is `None`, which stands for a missing value (expected a class)\
        \n\nhint: fill in the cell, or take the row out; call a class otherwise, as in `no-finding`\
        \nhint: fill in the cell, or take the row out"
    );
    let labels = TargetSpec::Labels { column: None, separator: '|', allow_empty: true };
    let error = error_with("file,labels\na/1.png,x|n/a\na/2.png,x\n", labels);
    assert!(error.starts_with("`DIR/t.csv:2`, column `labels`: the cell is `n/a`, which"), "{error}");
    // In a list of classes it is a name like any other.
    let classes = Some(["None", "x"].map(str::to_owned).to_vec());
    let options = TableOptions { classes, ..TableOptions::default() };
    let path = put_bytes(dir.path(), "t.csv", b"file,label\na/1.png,None\na/2.png,x\n");
    assert_eq!(Table::open(&path, &options).unwrap().counts(), [1, 1]);
}

#[cfg(unix)]
#[test]
fn one_file_by_two_names() {
    let dir = images();
    std::os::unix::fs::symlink("../a/1.png", dir.path().join("b/link.png")).unwrap();
    fs::hard_link(dir.path().join("a/2.png"), dir.path().join("b/hard.png")).unwrap();
    let text = b"file,label\na/1.png,x\na/2.png,y\nb/../a/1.png,x\nb/link.png,y\nb/hard.png,y\n";
    let error = error_of(&dir, "t.csv", text, &TableOptions::default());
    assert!(
        error.starts_with(
            "3 problems\
            \n  - `DIR/t.csv:4`: the image `a/1.png` is already in line 2\
            \n  - `DIR/t.csv:5`: the image `b/link.png` is the same file as `a/1.png` in line 2\
            \n  - `DIR/t.csv:6`: the image `b/hard.png` is the same file as `a/2.png` in line 3\
            \n\nhint: keep one row for each image;"
        ),
        "{error}"
    );
}

#[test]
fn files() {
    let dir = images();
    let check = |text: &str| error_of(&dir, "t.csv", text.as_bytes(), &TableOptions::default());
    assert_eq!(
        check("file,label\na/1.png,x\nno/2.png,y\na,x\na/1.png/x,y\n"),
        "3 problems\
        \n  - `DIR/t.csv:3`, column `file`: the image `DIR/no/2.png` does not exist\
        \n  - `DIR/t.csv:4`, column `file`: the image `DIR/a` is not a regular file\
        \n  - `DIR/t.csv:5`, column `file`: the image `DIR/a/1.png/x` does not exist\
        \n\nhint: names are relative to `DIR`; give the folder of the images if they lie elsewhere"
    );
    let bare = check("file,label\na/1,x\na/2,y\n");
    assert!(
        bare.ends_with("hint: the names lack their extension; give `png` as the one to append"),
        "{bare}"
    );
    let windows = check("file,label\na\\1.png,x\na\\2.png,y\n");
    assert!(windows.ends_with("hint: write `/`, not `\\`, between folders"), "{windows}");
}

#[cfg(unix)]
#[test]
fn links_in_a_loop() {
    use std::os::unix::fs::symlink;
    let dir = images();
    symlink("loop.png", dir.path().join("loop.png")).unwrap();
    symlink("nowhere.png", dir.path().join("broken.png")).unwrap();
    symlink("a/1.png", dir.path().join("good.png")).unwrap();
    let text = b"file,label\nloop.png,x\nbroken.png,y\ngood.png,x\n";
    let error = error_of(&dir, "t.csv", text, &TableOptions::default());
    assert!(
        error.contains("`DIR/t.csv:2`, column `file`: the image `DIR/loop.png` cannot be read: "),
        "{error}"
    );
    assert!(
        error.contains("`DIR/t.csv:3`, column `file`: the image `DIR/broken.png` does not exist"),
        "{error}"
    );
    assert!(error.starts_with("2 problems"), "{error}");
    fs::remove_file(dir.path().join("t.csv")).unwrap();
    symlink("t.csv", dir.path().join("t.csv")).unwrap();
    let table = Table::open(&dir.path().join("t.csv"), &TableOptions::default()).unwrap_err();
    assert!(table.to_string().contains("it cannot be read: "), "{table}");
}

#[test]
fn lists() {
    let dir = images();
    let list = |text: &str| error_of(&dir, "t.txt", text.as_bytes(), &TableOptions::default());
    assert_eq!(
        list("a/1.png 0\na/2.png\nb/9.png 1\n"),
        "2 problems\
        \n  - `DIR/t.txt:2`: the line has 1 entries (expected 2, as the first line has)\
        \n  - `DIR/t.txt:3`, column `file`: the image `DIR/b/9.png` does not exist\
        \n\nhint: names are relative to `DIR`; give the folder of the images if they lie elsewhere"
    );
    let bare = list("a/1.png\na/2.png\n");
    let expected =
        "`DIR/t.txt:1`: the line has nothing behind its path that could be the classes\n\nhint: write";
    assert!(bare.starts_with(expected), "{bare}");
    let bytes = error_of(&dir, "t.txt", b"a/1.png 0\na/\xE9.png 1\n", &TableOptions::default());
    assert!(
        bytes.contains("`DIR/t.txt:2`, column `file`: the cell is not UTF-8 text: `a/\\xE9.png`"),
        "{bytes}"
    );
}

#[test]
fn a_great_many_problems_are_counted() {
    let rows: String = (0..1000).map(|i| format!("no/{i}.png,x\n")).collect();
    let text = error(&format!("file,label\n{rows}"));
    assert!(text.starts_with("1000 problems\n  - `DIR/t.csv:2`, column `file`: "), "{text}");
    assert!(text.contains("\n  - and 950 more\n\nhint: "), "{text}");
    assert_eq!(text.lines().count(), 54);
}

#[test]
fn options() {
    let refused = |options: TableOptions| match Table::open("x.csv".as_ref(), &options).unwrap_err() {
        DataError::Option { option, .. } => option,
        other => panic!("{other}"),
    };
    let base = TableOptions::default;
    let list = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>());
    for classes in [list(&[]), list(&["a", "a"]), list(&["a", " b"]), list(&["", "a"])] {
        assert_eq!(refused(TableOptions { classes, ..base() }), "classes");
    }
    let target = TargetSpec::Flags { columns: None };
    assert_eq!(refused(TableOptions { classes: list(&["a"]), target, ..base() }), "classes");
    for extension in ["", ".", "a/b"] {
        assert_eq!(refused(TableOptions { extension: Some(extension.to_owned()), ..base() }), "extension");
    }
    for delimiter in [b'"', b'\n', 0, 200] {
        let format = Some(tl_data::TableFormat::Csv { delimiter: Some(delimiter) });
        assert_eq!(refused(TableOptions { format, ..base() }), "delimiter");
    }
    assert_eq!(refused(TableOptions { file: ColumnChoice::Unused, ..base() }), "file");
    for separator in ['a', '"'] {
        let target = TargetSpec::Labels { column: None, separator, allow_empty: false };
        assert_eq!(refused(TableOptions { target, ..base() }), "separator");
    }
    let target = TargetSpec::Numbers { columns: Some(Vec::new()) };
    assert_eq!(refused(TableOptions { target, ..base() }), "columns");
    let several = TableOptions { classes: list(&["a", "a"]), extension: Some(String::new()), ..base() };
    assert_eq!(
        Table::open("x.csv".as_ref(), &several).unwrap_err().to_string(),
        "2 problems\
        \n  - option `extension` is `` (expected an extension such as `jpg`)\
        \n  - option `classes` is a list with `a` twice (expected each name once)"
    );
}

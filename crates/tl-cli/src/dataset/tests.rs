//! Words to datasets of several labels and of numbers.

use clap::Parser;

use super::*;
use crate::errors::text;

/// The words as a command has them.
#[derive(Debug, Parser)]
struct Words {
    #[command(flatten)]
    source: SourceArgs,
}

fn words(words: &[&str]) -> SourceArgs {
    Words::try_parse_from(["x"].iter().chain(words)).unwrap().source
}

/// A folder with files that are called images, and a table of them with these cells behind the file name.
fn table(header: &str, cells: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let mut rows = format!("file,{header}\n");
    for (i, cells) in cells.iter().enumerate() {
        std::fs::write(dir.path().join(format!("{i}.png")), b"").unwrap();
        rows += &format!("{i}.png,{cells}\n");
    }
    let path = dir.path().join("t.csv");
    std::fs::write(&path, rows).unwrap();
    (dir, path)
}

fn opened(path: &Path, task: Task, args: &[&str]) -> Result<Dataset, String> {
    let mut problems = Problems::default();
    let dataset = open(path, &words(args), task, (0.25, 1), &mut problems);
    problems.check().map_err(|error| text(&error))?;
    dataset.ok_or_else(String::new)
}

fn targets(samples: &[Sample]) -> Vec<(String, Vec<f32>)> {
    let mut rows: Vec<_> = samples
        .iter()
        .map(|sample| (sample.rel.clone(), sample.target.as_deref().unwrap_or_default().to_vec()))
        .collect();
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    rows
}

fn all(dataset: &Dataset) -> Vec<Vec<f32>> {
    let rows = targets(&[&dataset.train[..], &dataset.val, &dataset.test].concat());
    rows.into_iter().map(|(_, row)| row).collect()
}

#[test]
fn several_labels_for_each_image() {
    let rows = vec![vec![0.0, 1.0], vec![1.0, 1.0], vec![1.0, 0.0], vec![0.0, 0.0]];
    let (_dir, cells) = table("labels", &["sun", "sun;sea", "sea", ""]);
    let data = opened(&cells, Task::MultiLabel, &["--label-separator", ";"]).unwrap();
    assert_eq!(
        (data.task, &data.classes, all(&data)),
        (Task::MultiLabel, &vec!["sea".into(), "sun".into()], rows.clone())
    );
    assert!(data.split.to_string().contains("stratified by labels"));

    let (_dir, flags) = table("sea,sun,x", &["0,1,7", "1,1,8", "1,0,9", "0,0,9"]);
    let both = ["--label-column", "sea", "--label-column", "sun"];
    assert_eq!(all(&opened(&flags, Task::MultiLabel, &both).unwrap()), rows);
    let (_dir, flags) = table("sea,sun", &["0,1", "1,1", "1,0", "0,0"]);
    assert_eq!(all(&opened(&flags, Task::MultiLabel, &[]).unwrap()), rows);
}

#[test]
fn numbers_for_each_image() {
    let (_dir, path) = table("age,height", &["1,1.5", "2,1.75", "3,2", "4,-1"]);
    let data = opened(&path, Task::Number, &["--label-column", "height", "--label-column", "age"]).unwrap();
    assert_eq!((data.task, &data.classes), (Task::Number, &vec!["height".into(), "age".into()]));
    assert_eq!(all(&data), [[1.5, 1.0], [1.75, 2.0], [2.0, 3.0], [-1.0, 4.0]]);
    assert_eq!(
        all(&opened(&path, Task::Number, &["--label-column", "age"]).unwrap()),
        [[1.0], [2.0], [3.0], [4.0]]
    );
    let error = opened(&path, Task::Number, &[]).unwrap_err();
    assert!(error.contains("no column has a known name for the numbers"), "{error}");
}

#[test]
fn words_that_do_not_go_together() {
    let (dir, path) = table("a,b", &["1,0", "0,1", "1,1", "0,0"]);
    for (task, args, expected) in [
        (
            Task::Class,
            &["--label-separator", "|"][..],
            "--label-separator is for several labels for each image",
        ),
        (Task::Number, &["--label-separator", "|"], "--label-separator is for several labels for each image"),
        (
            Task::Class,
            &["--label-column", "a", "--label-column", "b"],
            "--label-column is given 2 times, and one class",
        ),
        (
            Task::MultiLabel,
            &["--label-column", "a", "--label-column", "b", "--label-separator", "|"],
            "--label-separator is for one column of labels, and --label-column is given 2 times",
        ),
        (Task::Number, &["--label-column", "c"], "there is no column `c` for the numbers"),
    ] {
        let error = opened(&path, task, args).unwrap_err();
        assert!(error.contains(expected), "{expected}\n\n{error}");
    }
    for task in [Task::MultiLabel, Task::Number] {
        let error = opened(dir.path(), task, &[]).unwrap_err();
        assert!(
            error.contains("is a folder, which cannot say") && error.contains("hint: give a table"),
            "{error}"
        );
    }
    assert!(
        parse_task(Some("softmax"))
            .unwrap_err()
            .to_string()
            .contains("expected `multi-label` or `regression`")
    );
}

#[test]
fn a_source_keeps_the_task_and_reads_older_ones() {
    let json = |source: &Source| serde_json::to_value(source).unwrap();
    let old: Source = serde_json::from_str(r#"{"label_column":"x","folds":3}"#).unwrap();
    assert_eq!(
        (old.task, old.label_column.as_ref().unwrap().as_slice()),
        (Task::Class, &["x".to_owned()][..])
    );
    assert_eq!(json(&old)["label_column"], "x");
    let base = Source { task: Task::MultiLabel, ..old };
    let args = words(&["--label-column", "a", "--label-column", "b", "--label-separator", "/"]);
    let merged = Source::merged(&args, &base, true);
    assert_eq!((merged.task, merged.folds, merged.label_separator), (Task::MultiLabel, Some(3), Some('/')));
    assert_eq!(
        (&json(&merged)["label_column"], &json(&merged)["task"]),
        (&serde_json::json!(["a", "b"]), &"multi-label".into())
    );
    assert_eq!(serde_json::from_value::<Source>(json(&merged)).unwrap(), merged);
    let other = Source::merged(&words(&[]), &merged, false);
    assert_eq!((other.task, other.label_column, other.label_separator), (Task::MultiLabel, None, None));
}

#[test]
fn tables_for_a_trained_model() {
    let names = ["sea", "sun"].map(str::to_owned);
    let read = |path: &Path, args: &[&str], task, names: &[String]| {
        let columns = words(args).columns;
        labelled_table(path, &columns, (task, names)).map_err(|error| text(&error))
    };
    let labels = |path: &Path, args: &[&str]| read(path, args, Task::MultiLabel, &names);
    let rows = |read: Result<(Vec<Sample>, _), String>| targets(&read.unwrap().0);
    let row = |rel: &str, row: [f32; 2]| (rel.to_owned(), row.to_vec());

    let (_dir, cells) = table("labels,split", &["sun,train", "sun|sea,test", ",test"]);
    let expected = [row("1.png", [1.0, 1.0]), row("2.png", [0.0, 0.0])];
    assert_eq!(rows(labels(&cells, &[])), expected);
    let (_dir, flags) = table("sun,sea,other", &["1,1,0", "0,0,1"]);
    let expected = [row("0.png", [1.0, 1.0]), row("1.png", [0.0, 0.0])];
    assert_eq!(rows(labels(&flags, &[])), expected);
    assert_eq!(rows(labels(&flags, &["--label-column", "sun", "--label-column", "sea"])), expected);
    let error = labels(&flags, &["--label-column", "sun", "--label-column", "other"]).unwrap_err();
    assert!(error.contains("other columns than the model has: `sea`, `sun`"), "{error}");
    let (_dir, unknown) = table("labels", &["sun", "sun|boat"]);
    let error = labels(&unknown, &[]).unwrap_err();
    assert!(error.contains("t.csv:3`, column `labels`: `boat` is not in the list of classes"), "{error}");
    let (_dir, missing) = table("sun,boat", &["1,0", "0,1"]);
    let error = labels(&missing, &[]).unwrap_err();
    assert!(error.contains("t.csv:1`: there is no column `sea` for the labels"), "{error}");

    let (_dir, numbers) = table("years,height", &["3,1.5", "4,x"]);
    let age = ["age".to_owned()];
    let error = read(&numbers, &[], Task::Number, &age).unwrap_err();
    assert!(error.contains("there is no column `age` for the numbers"), "{error}");
    let renamed = rows(read(&numbers, &["--label-column", "years"], Task::Number, &age));
    assert_eq!(renamed, [("0.png".to_owned(), vec![3.0]), ("1.png".to_owned(), vec![4.0])]);
    let error = read(&numbers, &["--label-column", "height"], Task::Number, &age).unwrap_err();
    assert!(error.contains("t.csv:3`, column `height`: the cell is `x` (expected a number)"), "{error}");

    let (_dir, classes) = table("label", &["sun", "sea"]);
    let (samples, part) = read(&classes, &[], Task::Class, &names).unwrap();
    let of: Vec<_> = samples.iter().map(|sample| (sample.label, sample.target.clone())).collect();
    assert_eq!((of, part), (vec![(1, None), (0, None)], None));
}

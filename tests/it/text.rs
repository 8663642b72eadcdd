//! `tl text`: from a table to answers.

use serde_json::Value;

use crate::support::{finish, root, tl};

#[test]
fn the_set_of_the_project_is_fitted_kept_and_asked() {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("model.json");
    let fit = || {
        let mut command = tl();
        command.current_dir(root()).args(["text", "fit", "--json"]);
        command
    };
    let output = finish(fit().arg("--out").arg(&model)).expect_success();
    let found: Value = serde_json::from_str(&output.stdout).unwrap();
    let accuracy = found["baseline"]["val"]["accuracy"].as_f64().unwrap();
    // Half of the texts have each class.
    assert!(accuracy > 0.7, "{found}");
    // The same again, but for the times.
    let again: Value = serde_json::from_str(&finish(&mut fit()).expect_success().stdout).unwrap();
    assert_eq!(again["baseline"]["val"], found["baseline"]["val"]);
    assert_eq!(again["baseline"]["telling"], found["baseline"]["telling"]);

    let output =
        finish(tl().args(["text", "predict"]).arg(&model).args(["--json", "A wonderful film.", "Dull."]));
    let answers: Vec<Value> =
        output.expect_success().stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said: Vec<&str> = answers.iter().map(|answer| answer["top"][0]["class"].as_str().unwrap()).collect();
    assert_eq!(said, ["positive", "negative"]);

    finish(fit().arg("--out").arg(&model)).expect_error(&["model.json` exists"]);
    finish(tl().args(["text", "predict"]).arg(root().join("README.md")).arg("x")).expect_error(&[
        "README.md",
        "a model of texts",
        "hint: give a file that `tl text fit --out` wrote",
    ]);
}

#[test]
fn results_are_one_line_of_json_and_name_paths_as_a_person_would() {
    let dir = tempfile::tempdir().unwrap();
    // From elsewhere, so that the set is found where the program was built.
    let output = finish(tl().current_dir(dir.path()).args(["text", "fit", "--json"])).expect_success();
    let lines: Vec<Value> = output.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let data = lines[0]["data"].as_str().unwrap();
    assert!(lines.len() == 1 && !data.contains("..") && data.ends_with("movie-review-snippets"), "{data}");
    assert!(!(output.stdout + &output.stderr).contains(['\x1b', '\r']));
}

#[test]
fn what_is_wrong_with_texts_is_said_and_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let (table, list) = (dir.path().join("texts.csv"), dir.path().join("out.txt"));
    let mut rows = "text,label,split\n".to_owned();
    for i in 0..40 {
        let (word, class) = if i % 2 == 0 { ("splendid", "good") } else { ("dreadful", "bad") };
        let part = if i < 30 { "train" } else { "val" };
        rows.push_str(&format!("{word} number {i} of them all,{class},{part}\n"));
    }
    rows.push_str("splendid number 0 of them all,good,val\n");
    std::fs::write(&table, &rows).unwrap();
    let mut doctor = tl();
    doctor.args(["text", "doctor", "--data"]).arg(&table).arg("--quarantine").arg(&list);
    let output = finish(&mut doctor);
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    assert!(output.stdout.contains("same text in another part: 1"), "{}", output.stdout);
    assert!(list.is_file());
    let mut fit = tl();
    fit.args(["text", "fit", "--json", "--data"]).arg(&table).arg("--exclude").arg(&list);
    let found: Value = serde_json::from_str(&finish(&mut fit).expect_success().stdout).unwrap();
    assert_eq!(found["baseline"]["val"]["accuracy"], 1.0);
    let texts = |set: &str| found["baseline"][set].clone();
    assert_eq!(texts("train_texts").as_u64().unwrap() + texts("val")["texts"].as_u64().unwrap(), 40);

    std::fs::write(&table, rows.replace("text,label", "words,kind").replace("dreadful number 1 ", "\u{0} "))
        .unwrap();
    finish(tl().args(["text", "fit", "--data"]).arg(&table)).expect_error(&["texts.csv"]);
}

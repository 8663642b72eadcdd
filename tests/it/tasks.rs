//! Several labels for each image, and numbers: trained, measured and asked for.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{Output, epochs, json, names, run};

/// An image of 40 by 40 pixels: a plain ground of some brightness, and on it a red disc, green bars, both or neither.
struct Drawn {
    file: String,
    labels: Vec<&'static str>,
    brightness: u32,
}

/// As many as asked for; without bars all have a disc.
fn draw(dir: &Path, n: u32, bars: bool) -> Vec<Drawn> {
    fs::create_dir(dir.join("images")).unwrap();
    let one = |i: u32| {
        // Neither goes with the brightness or with the other.
        let (disc, bars) = (!bars || i.is_multiple_of(2), bars && (i / 2).is_multiple_of(2));
        let brightness = 20 + i * 37 % n * 200 / n;
        let pixel = |at: u32| {
            let (x, y) = (at % 40, at / 40);
            let far = x.abs_diff(12 + i % 17).pow(2) + y.abs_diff(12 + i % 13).pow(2);
            match (disc && far < 64, bars && (x + i) % 10 < 3) {
                (true, _) => [230, 20, 20],
                (_, true) => [20, 200, 40],
                _ => [brightness as u8; 3],
            }
        };
        let mut bytes = b"P6 40 40 255\n".to_vec();
        bytes.extend((0..1600).flat_map(pixel));
        let file = format!("images/{i:03}.ppm");
        fs::write(dir.join(&file), bytes).unwrap();
        let labels = [("disc", disc), ("bars", bars)].into_iter().filter(|(_, there)| *there);
        Drawn { file, labels: labels.map(|(label, _)| label).collect(), brightness }
    };
    (0..n).map(one).collect()
}

fn table(dir: &Path, name: &str, header: &str, rows: impl Iterator<Item = String>) {
    fs::write(dir.join(name), format!("{header}\n{}\n", rows.collect::<Vec<_>>().join("\n"))).unwrap();
}

const HEAD: [&str; 4] = ["--preset", "feature-extraction", "--epochs", "60"];

fn lines(csv: &Path) -> Vec<Vec<String>> {
    let text = fs::read_to_string(csv).unwrap();
    text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

fn parsed(output: &Output) -> Value {
    serde_json::from_str(&output.stdout).unwrap()
}

#[test]
fn any_number_of_labels() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let drawn = draw(dir, 96, true);
    let rows = drawn.iter().map(|image| format!("{},{}", image.file, image.labels.join(";")));
    table(dir, "labels.csv", "file,labels", rows);
    let args = ["finetune", "--data", "labels.csv", "--classes", "multi-label", "--label-separator", ";"];
    let more = ["--class-weights", "balanced", "--run", "run"];
    let said = run(dir, &[&args[..], &HEAD, &more].concat()).expect_success();
    assert!(said.stderr.contains("2 labels: bars, disc") && said.stdout.contains("macro-F1"), "{said:?}");

    let summary = json(&dir.join("run/summary.json"));
    let result = &summary["evaluations"][0];
    assert!(result["metrics"]["macro-f1"].as_f64().unwrap() > 0.9, "{summary}");
    assert_eq!(summary["best"]["monitor"], "average-precision");
    for absent in ["accuracy", "confusion", "balanced_accuracy", "targets"] {
        assert!(result.get(absent).is_none(), "{result}");
    }
    assert!(summary.get("val_accuracy").is_none() && summary["best"].get("val_accuracy").is_none());
    let row = &epochs(&dir.join("run"))[59];
    assert!(row.get("train_accuracy").is_none() && row["metrics"]["micro-f1"].as_f64().is_some(), "{row}");
    assert_eq!(row["monitored"], row["metrics"]["average-precision"]);
    assert_eq!(json(&dir.join("run/spec.json"))["label_smoothing"], 0.0);
    let report = fs::read_to_string(dir.join("run/report.html")).unwrap();
    assert!(report.contains("<h3>Labels</h3>") && !report.contains("Confusion"));
    assert!(dir.join("run/plots/val-roc.svg").is_file());

    // Counts of a label are those of the predictions.
    let csv = lines(&dir.join("run/val_predictions.csv"));
    assert_eq!(csv[0], ["file", "labels", "predicted", "bars", "disc"]);
    let has = |cell: &str, label: &str| cell.split('|').any(|one| one == label);
    for (i, label) in ["bars", "disc"].into_iter().enumerate() {
        let count = |column: usize| csv[1..].iter().filter(|row| has(&row[column], label)).count();
        let counts = &result["labels"][i];
        assert_eq!((&counts["label"], &counts["images"]), (&label.into(), &count(1).into()));
        assert_eq!(counts["predicted"], count(2));
        let above = csv[1..].iter().filter(|row| row[3 + i].parse::<f32>().unwrap() >= 0.5).count();
        assert_eq!(above, count(2));
    }

    // The saved model says the same of the validation images alone.
    let val: Vec<&Vec<String>> = csv[1..].iter().collect();
    table(dir, "val.csv", "file,labels", val.iter().map(|row| format!("{},{}", row[0], row[1])));
    let again = parsed(&run(dir, &["evaluate", "run", "val.csv", "--json"]).expect_success());
    assert_eq!((&again["metrics"], &again["labels"]), (&result["metrics"], &result["labels"]));
    let text = run(dir, &["evaluate", "run", "val.csv"]).expect_success().stdout;
    assert!(text.contains("macro-F1") && text.contains("recall"), "{text}");

    let answers = run(dir, &["predict", "run", "val.csv", "--json"]).expect_success().stdout;
    assert_eq!(answers.lines().count(), val.len());
    for (line, row) in answers.lines().zip(&val) {
        let answer: Value = serde_json::from_str(line).unwrap();
        let mut said: Vec<&str> =
            answer["labels"].as_array().unwrap().iter().map(|label| label.as_str().unwrap()).collect();
        said.sort_unstable();
        assert_eq!(said.join("|"), row[2]);
        assert_eq!(answer["all"][1]["label"], "disc");
        let p = answer["all"][1]["probability"].as_f64().unwrap();
        assert!((p - row[4].parse::<f64>().unwrap()).abs() < 1e-4, "{answer} {row:?}");
    }
    let top = run(dir, &["predict", "run", &val[0][0], "--top", "2"]).expect_success().stdout;
    assert!(top.contains("bars 0.") && top.contains("disc 0."), "{top}");
    run(dir, &["finetune", "--config", "run/spec.json", "--run", "again"]).expect_success();
    assert_eq!(json(&dir.join("again/summary.json"))["model_sha256"], summary["model_sha256"]);
}

#[test]
fn numbers_in_their_own_units() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let drawn = draw(dir, 96, false);
    // Far from 0 and 1, so that nothing but a scale can learn it.
    let lumen = |image: &Drawn| 5000 + 40 * image.brightness;
    table(
        dir,
        "light.csv",
        "file,lumen",
        drawn.iter().map(|image| format!("{},{}", image.file, lumen(image))),
    );
    let args = ["finetune", "--data", "light.csv", "--classes", "regression", "--label-column", "lumen"];
    let said = run(dir, &[&args[..], &HEAD, &["--dropout", "0", "--run", "run"]].concat()).expect_success();
    assert!(said.stderr.contains("lumen is learned as") && said.stdout.contains("R²"), "{said:?}");

    let summary = json(&dir.join("run/summary.json"));
    let result = &summary["evaluations"][0];
    assert!(result["metrics"]["r2"].as_f64().unwrap() > 0.9, "{summary}");
    assert_eq!(summary["best"]["monitor"], "mae");
    assert!(result.get("confusion").is_none() && result.get("labels").is_none(), "{result}");
    let stats = &json(&dir.join("run/model.json"))["target_stats"];
    assert!(stats["mean"][0].as_f64().unwrap() > 5000.0 && stats["std"][0].as_f64().unwrap() > 1000.0);

    // Figures follow from the predictions, in the units of the table.
    let csv = lines(&dir.join("run/val_predictions.csv"));
    assert_eq!(csv[0], ["file", "lumen", "predicted lumen"]);
    let number = |cell: &String| cell.parse::<f64>().unwrap();
    let errors = csv[1..].iter().map(|row| (number(&row[1]) - number(&row[2])).abs());
    let mae = errors.sum::<f64>() / (csv.len() - 1) as f64;
    assert!((mae - result["metrics"]["mae"].as_f64().unwrap()).abs() < 1e-3 * mae, "{mae} {result}");
    // The loss is the mean squared error over the variance of the training images.
    let std = stats["std"][0].as_f64().unwrap();
    let loss = result["metrics"]["rmse"].as_f64().unwrap().powi(2) / (std * std);
    assert!((loss / result["loss"].as_f64().unwrap() - 1.0).abs() < 1e-3, "{loss} {result}");

    table(dir, "val.csv", "file,lumen", csv[1..].iter().map(|row| format!("{},{}", row[0], row[1])));
    let again = parsed(&run(dir, &["evaluate", "run", "val.csv", "--json"]).expect_success());
    assert_eq!((&again["metrics"], &again["targets"]), (&result["metrics"], &result["targets"]));
    let answers = run(dir, &["predict", "run", "val.csv", "--json"]).expect_success().stdout;
    for (line, row) in answers.lines().zip(&csv[1..]) {
        let answer: Value = serde_json::from_str(line).unwrap();
        assert_eq!(answer["values"][0]["name"], "lumen");
        let value = answer["values"][0]["value"].as_f64().unwrap();
        assert!((value - number(&row[2])).abs() < 0.1, "{answer} {row:?}");
    }
    let text = run(dir, &["predict", "run", &csv[1][0]]).expect_success().stdout;
    assert!(text.contains("\tlumen = "), "{text}");
    run(dir, &["predict", "run", &csv[1][0], "--top", "2"])
        .expect_error(&["--top is for classes and labels"]);
    run(dir, &["predict", "run", &csv[1][0], "--calibrated"])
        .expect_error(&["--calibrated is for models that choose between classes", "`run` says numbers"]);
    let before = names(&dir.join("run"));
    run(dir, &["evaluate", "run", "images"]).expect_error(&["is a folder, which cannot say numbers"]);
    assert_eq!(names(&dir.join("run")), before);

    // Two numbers of different units, mixed images, and weights, from another run's spec.
    let rows = drawn.iter().map(|image| {
        format!("{},{},{},{}", image.file, lumen(image), image.brightness % 3, 1 + image.brightness % 2)
    });
    table(dir, "two.csv", "file,lumen,things,weight", rows);
    fs::write(dir.join("mix.json"), r#"{ "mixing": { "probability": 1, "mixup_alpha": 0.2 } }"#).unwrap();
    let two = ["--label-column", "lumen", "--label-column", "things", "--weight-column", "weight"];
    let args = ["finetune", "--config", "run/spec.json", "--data", "two.csv", "--preset", "full"];
    let more = ["--epochs", "2", "--augment", "mix.json", "--run", "two"];
    let said = run(dir, &[&args[..], &two, &more].concat()).expect_success();
    assert!(said.stdout.contains("lumen: ") && said.stdout.contains("things: "), "{said:?}");
    let summary = json(&dir.join("two/summary.json"));
    assert_eq!(summary["best"]["monitor"], "r2");
    let result = &summary["evaluations"][0];
    assert_eq!(result["targets"][1]["target"], "things");
    assert!(result["metrics"].get("mae").is_none() && result["targets"][1]["metrics"]["mae"].is_number());
}

#[test]
fn what_has_no_meaning_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let drawn = draw(dir, 8, true);
    table(dir, "n.csv", "file,n", drawn.iter().map(|image| format!("{},{}", image.file, image.brightness)));
    table(
        dir,
        "l.csv",
        "file,labels",
        drawn.iter().map(|image| format!("{},{}|x", image.file, image.labels.join("|"))),
    );
    fs::write(dir.join("classes.csv"), "file,label\n").unwrap();
    let before = names(dir);
    let numbers = ["finetune", "--data", "n.csv", "--label-column", "n", "--classes", "regression"];
    let odd =
        ["--balanced-sampling", "--class-weights", "balanced", "--focal", "2", "--label-smoothing", "0.1"];
    run(dir, &[&numbers[..], &odd, &["--monitor", "accuracy"]].concat()).expect_error(&[
        "--classes is regression, and --balanced-sampling is given",
        "--class-weights is given",
        "--focal is given",
        "label smoothing is given",
        "--monitor is accuracy, which cannot be measured with --classes regression",
        "there are loss, mae, r2",
    ]);
    let labels = ["finetune", "--data", "l.csv", "--classes", "multi-label"];
    let odd = ["--balanced-sampling", "--class-weights", "effective", "--monitor", "mae"];
    run(dir, &[&labels[..], &odd].concat()).expect_error(&[
        "--classes is multi-label, and --balanced-sampling is given",
        "--class-weights is effective",
        "--monitor is mae",
    ]);
    run(dir, &["finetune", "--data", "images", "--classes", "multi-label"])
        .expect_error(&["is a folder, which cannot say several labels", "give a table"]);
    run(dir, &["finetune", "--data", "n.csv", "--label-column", "n", "--monitor", "r2"])
        .expect_error(&["--monitor is r2, which cannot be measured with --classes softmax"]);
    run(dir, &["finetune", "--data", "n.csv", "--classes", "numbers"])
        .expect_error(&["expected `softmax`, `binary`, `multi-label`, `regression`"]);
    assert_eq!(names(dir), before);
}

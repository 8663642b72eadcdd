//! What a page shows, whatever the names are.

use super::*;
use crate::analysis::{Answered, Truth};
use crate::records::{Best, DataFacts, Machine, PhaseTime, Skipped, Status, WeightsFacts};

pub(crate) fn manifest() -> Manifest {
    let text = |text: &str| text.to_owned();
    Manifest {
        version: text("0.1.0"),
        started: text("2026-01-31T23:59:58Z"),
        resumed: Vec::new(),
        command: ["tl", "finetune", "--data", "a&b"].map(text).to_vec(),
        data: DataFacts {
            path: text("a&b"),
            train_sha256: text("1"),
            val_sha256: text("2"),
            train_images: 4,
            val_images: 2,
            test_images: 0,
            split: text("given"),
        },
        weights: WeightsFacts { name: text("n"), source: text("s"), sha256: text("3"), licence: text("MIT") },
        machine: Machine {
            platform: text("linux"),
            cpu: text("a processor"),
            cores: 2,
            threads: 2,
            data_threads: 2,
            device: text("cpu"),
            gpu: None,
            libtorch: text("2"),
        },
        compute: Vec::new(),
    }
}

fn summary(evaluation: Evaluation) -> Summary {
    Summary {
        baseline: None,
        status: Status::Interrupted,
        best: Best {
            epoch: 1,
            phase: "head".to_owned(),
            monitor: "accuracy".to_owned(),
            monitored: Some(0.5),
            val_accuracy: Some(0.5),
            val_loss: 1.0,
        },
        val_accuracy: Some(0.5),
        evaluations: vec![evaluation],
        epochs: 1,
        phases: vec![PhaseTime { phase: "head".to_owned(), seconds: 1.0 }],
        seconds: 4.0,
        images_per_second: 10.0,
        wait_seconds: 0.0,
        cache_bytes: 1 << 20,
        peak_memory_bytes: None,
        model_sha256: "4".to_owned(),
        skipped: vec![Skipped { file: "<b>.jpg".to_owned(), reason: "cut off".to_owned() }],
        warnings: vec!["few images".to_owned()],
    }
}

fn evaluation(confusion: Vec<Vec<u32>>) -> Evaluation {
    Evaluation {
        set: "val".to_owned(),
        images: 2,
        accuracy: Some(0.5),
        accuracy_low: Some(0.1),
        accuracy_high: Some(0.9),
        balanced_accuracy: Some(0.5),
        loss: 1.0,
        confusion,
        metrics: BTreeMap::new(),
        classes: Vec::new(),
        labels: Vec::new(),
        targets: Vec::new(),
    }
}

#[test]
fn a_page_needs_nothing_else_and_takes_any_name() {
    let names = ["<script>alert(1)</script>", "b\"'&"].map(str::to_owned);
    let rows = vec![vec![0.25, 0.75], vec![0.25, 0.75]];
    let files = vec!["x/\"><img src=y>.jpg", "b.jpg"];
    let truth = Truth::Classes(vec![0, 1]);
    let answered = Answered { set: "val", names: &names, files, truth, rows: &rows };
    let analyses = [Analysis::new(&answered, None)];
    let pictures = BTreeMap::from([("b.jpg".to_owned(), vec![0xff, 0xd8])]);
    let look = |file: &str, group: &str| Look {
        file: file.to_owned(),
        group: group.to_owned(),
        name: "<b>".to_owned(),
        text: "0.625, <i> is right".to_owned(),
        jpeg: vec![0xff, 0xd9],
    };
    let looks = BTreeMap::from([(
        "val".to_owned(),
        vec![look("1.jpg", "Right answers"), look("2.jpg", "Wrong answers")],
    )]);
    let epoch = EpochRow {
        epoch: 1,
        phase: "head".to_owned(),
        phase_epoch: 1,
        val_accuracy: Some(0.5),
        ..EpochRow::default()
    };
    let report = RunReport {
        title: "net on <data>",
        names: &names,
        plan: "phase & epochs",
        epochs: &[epoch],
        summary: &summary(evaluation(vec![vec![0, 1], vec![0, 1]])),
        manifest: &manifest(),
        repeat: "tl finetune --config 'a b/spec.json'",
        analyses: &analyses,
        pictures: &pictures,
        texts: &BTreeMap::new(),
        unit: "images",
        looks: &looks,
    };
    let page = report.html();
    for there in [
        "net on &lt;data&gt;",
        "&lt;script&gt;alert(1)",
        "data:image/jpeg;base64,/9g=",
        "Labels that look wrong",
        "arXiv:1911.00068",
        "<main>",
        "lang=\"en\"",
        "was stopped before its end",
        "few images",
        "&lt;b&gt;.jpg",
        "95 % interval 10.0 to 90.0 %",
        "tl finetune --config 'a b/spec.json'",
        "Top losses",
        "Where it looked",
        "data:image/jpeg;base64,/9k=",
        "<b>&lt;b&gt;</b> 0.625, &lt;i&gt; is right",
        "Right answers",
    ] {
        assert!(page.contains(there), "`{there}` is not in\n{page}");
    }
    for never in ["<script", "http://", "https://", "<img src=y>", "<link"] {
        let found = page.replace("http://www.w3.org/2000/svg", "").contains(never);
        assert!(!found, "`{never}` is in\n{page}");
    }
    // Headings go down one level at a time, and all anchors lead somewhere.
    let levels: Vec<u8> =
        page.match_indices("<h").filter_map(|(at, _)| page.as_bytes().get(at + 2).copied()).collect();
    let levels: Vec<u8> = levels.into_iter().filter(u8::is_ascii_digit).collect();
    assert_eq!(levels[0], b'1');
    assert!(levels.windows(2).all(|pair| pair[1] <= pair[0] + 1), "{levels:?}");
    for (at, _) in page.match_indices("href=\"#") {
        let id = page[at + 7..].split('"').next().unwrap();
        assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
    }
    let names: Vec<String> = report.plots().into_iter().map(|plot| plot.name).collect();
    assert_eq!(names, ["loss", "accuracy", "val-reliability", "val-roc", "val-precision-recall"]);
}

#[test]
fn tables_of_two_sets_have_names_of_their_own() {
    let names = ["a", "b"].map(str::to_owned);
    let rows = vec![vec![0.25, 0.75], vec![0.25, 0.75]];
    let analysis = |set| {
        let truth = Truth::Classes(vec![0, 1]);
        Analysis::new(&Answered { set, names: &names, files: vec!["1", "2"], truth, rows: &rows }, None)
    };
    let analyses = ["val", "test"].map(analysis);
    let mut summary = summary(evaluation(vec![vec![0, 1], vec![0, 1]]));
    summary.evaluations.push(Evaluation { set: "test".to_owned(), ..summary.evaluations[0].clone() });
    let report = RunReport {
        title: "t",
        names: &names,
        plan: "p",
        epochs: &[],
        summary: &summary,
        manifest: &manifest(),
        repeat: "tl",
        analyses: &analyses,
        pictures: &BTreeMap::new(),
        texts: &BTreeMap::new(),
        unit: "texts",
        looks: &BTreeMap::new(),
    };
    let page = report.html();
    let regions = page.split("role=\"region\" aria-label=\"").skip(1);
    let mut labels: Vec<_> = regions.filter_map(|rest| rest.split('"').next()).collect();
    assert!(labels.contains(&"confusion, Test texts"), "{labels:?}");
    let all = labels.len();
    labels.sort_unstable();
    labels.dedup();
    assert_eq!(labels.len(), all, "{labels:?}");
}

#[test]
fn of_many_classes_the_most_confused_are_shown() {
    let names: Vec<String> = (0..40).map(|i| format!("class number {i}")).collect();
    let mut confusion = vec![vec![0; 40]; 40];
    (0..40).for_each(|i| confusion[i][i] = 5);
    confusion[3][7] = 4;
    let rows: Vec<Vec<f32>> =
        (0..40).map(|_| (0..40).map(|j| if j == 7 { 0.5 } else { 0.0128 }).collect()).collect();
    let files: Vec<String> = (0..40).map(|i| format!("{i}.png")).collect();
    let answered = Answered {
        set: "val",
        names: &names,
        files: files.iter().map(String::as_str).collect(),
        truth: Truth::Classes((0..40).map(|i| if i == 3 { 3 } else { 7 }).collect()),
        rows: &rows,
    };
    let set = SetReport {
        names: &names,
        evaluation: &evaluation(confusion),
        analysis: &Analysis::new(&answered, None),
        pictures: &BTreeMap::new(),
        texts: &BTreeMap::from([("a.csv:7".to_owned(), "bad <b>film</b>".to_owned())]),
        unit: "texts",
        monitor: "accuracy",
        looks: &[],
    };
    let page = EvaluationReport { title: "t", facts: &[("data", "d".to_owned())], set }.html("0.1.0");
    assert!(page.contains("Of 40 classes the 2 that are confused most"), "{page}");
    assert!(page.contains("class number 3") && !page.contains("class number 5<"));
}

//! The baseline on the embedded set, and its model as a file.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are part of it")]

use std::fs;
use std::path::PathBuf;

use tl_data::SplitOptions;
use tl_text::{BaselineOptions, TextDataset, TextModel, TextOptions, baseline};

fn snippets() -> TextDataset {
    let dir: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "..", "..", "datasets", "movie-review-snippets"].iter().collect();
    TextDataset::open(&dir, &TextOptions::default(), &SplitOptions::default()).unwrap()
}

#[test]
fn the_embedded_set_is_learned() {
    let data = snippets();
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| baseline(&data.train, &data.val, &data.classes, &BaselineOptions::default()).unwrap())
    };
    let (model, report) = with(2);
    // The card says how good; an interval of 95 % around it is 0.04 wide on both sides.
    assert!(report.val.accuracy > 0.68 && report.converged, "{report:?}");
    assert_eq!((report.val.texts, report.train_texts, report.majority_accuracy), (500, 2000, 0.5));
    assert_eq!(report.points.len(), 4);
    let telling =
        |class: usize| report.telling[class].terms.iter().map(|(term, _)| term.as_str()).collect::<Vec<_>>();
    assert!(telling(0).contains(&"bad") && telling(1).contains(&"funny"), "{:?}", report.telling);
    assert_eq!(with(1).0, model);

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.json");
    model.save(&path).unwrap();
    let read = TextModel::read(&path).unwrap();
    assert_eq!(read, model);
    let texts: Vec<&str> = data.val.iter().map(|sample| sample.text.as_str()).collect();
    assert_eq!(read.predict_proba(&texts).unwrap(), model.predict_proba(&texts).unwrap());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);

    let text = fs::read_to_string(&path).unwrap();
    for (from, to, wanted) in [
        ("\"format\":1", "\"format\":2", "its format is 2 (expected 1)"),
        ("\"classes\":[\"negative\",", "\"classes\":[", "do not fit"),
        ("{\"format\"", "{\"unknown\":1,\"format\"", "unknown field `unknown`"),
    ] {
        assert!(text.contains(from));
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let error = TextModel::read(&path).unwrap_err().to_string();
        assert!(error.contains("cannot be used as a model of texts") && error.contains(wanted), "{error}");
    }
    assert!(
        model.save(&dir.path().join("no/model.json")).unwrap_err().to_string().ends_with("cannot be written")
    );
}

#[test]
fn what_has_no_class_is_refused() {
    let mut data = snippets();
    data.val[0].label = 2;
    let error =
        baseline(&data.train, &data.val, &data.classes, &BaselineOptions::default()).unwrap_err().to_string();
    assert!(error.ends_with("(expected less than 2)"), "{error}");
    data.train[3].target = Some(vec![1.0, 0.0].into());
    let error =
        baseline(&data.train, &data.val, &data.classes, &BaselineOptions::default()).unwrap_err().to_string();
    assert!(error.contains("(expected one class for each text)"), "{error}");
}

//! The same rows as scikit-learn's; `tests/golden/make_tfidf.py` made the data.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are part of it")]

use serde_json::Value;
use tl_linear::Csr;
use tl_text::tfidf::{Analyzer, Frequency, Norm, StripAccents};
use tl_text::{Tfidf, TfidfOptions};

fn frequency(value: &Value) -> Frequency {
    match value.as_u64() {
        Some(count) => Frequency::Count(count as usize),
        None => Frequency::Fraction(value.as_f64().unwrap()),
    }
}

/// scikit-learn's arguments as ours.
fn options(arguments: &Value) -> TfidfOptions {
    let mut options = TfidfOptions::default();
    for (name, value) in arguments.as_object().unwrap() {
        match (name.as_str(), value.as_str()) {
            ("ngram_range", _) => {
                options.ngrams = (value[0].as_u64().unwrap() as usize, value[1].as_u64().unwrap() as usize);
            }
            ("sublinear_tf", _) => options.sublinear_tf = value.as_bool().unwrap(),
            ("lowercase", _) => options.lowercase = value.as_bool().unwrap(),
            ("binary", _) => options.binary = value.as_bool().unwrap(),
            ("use_idf", _) => options.use_idf = value.as_bool().unwrap(),
            ("smooth_idf", _) => options.smooth_idf = value.as_bool().unwrap(),
            ("max_features", _) => options.max_features = Some(value.as_u64().unwrap() as usize),
            ("min_df", _) => options.min_df = frequency(value),
            ("max_df", _) => options.max_df = frequency(value),
            ("strip_accents", Some("ascii")) => options.strip_accents = Some(StripAccents::Ascii),
            ("strip_accents", Some("unicode")) => options.strip_accents = Some(StripAccents::Unicode),
            ("norm", Some("l1")) => options.norm = Norm::L1,
            ("norm", None) => options.norm = Norm::None,
            ("analyzer", Some("char")) => options.analyzer = Analyzer::Char,
            ("analyzer", Some("char_wb")) => options.analyzer = Analyzer::CharWb,
            ("token_pattern", Some(r"(?u)\b\w+\b")) => options.shortest = 1,
            ("token_pattern", Some(pattern)) => options.token_pattern = Some(pattern.to_owned()),
            ("stop_words", _) => options.stop_words = serde_json::from_value(value.clone()).unwrap(),
            other => panic!("{other:?} is no argument that is known here"),
        }
    }
    options
}

fn sums(rows: &Csr, row: usize) -> [f64; 3] {
    let (columns, values) = rows.row(row);
    let each = || columns.iter().zip(values).map(|(&column, &value)| (f64::from(column), value));
    [
        each().map(|(column, value)| value * (column + 1.0).cos()).sum(),
        each().map(|(column, value)| value * (column * 0.37).sin()).sum(),
        each().map(|(_, value)| value * value).sum(),
    ]
}

#[test]
fn rows_are_scikit_learns() {
    let data: Value = serde_json::from_str(include_str!("data/tfidf.json")).unwrap();
    let texts: Vec<String> = serde_json::from_value(data["texts"].clone()).unwrap();
    let reversed = |text: &String| text.chars().rev().collect::<String>() + " the fox dog";
    let others: Vec<String> = texts.iter().map(reversed).collect();
    let cases = data["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 20);
    for case in cases {
        let tfidf = Tfidf::fit(&texts, &options(&case["options"])).unwrap();
        assert_eq!(case["terms"], tfidf.terms().len(), "{}", case["options"]);
        let crc = crc32fast::hash(tfidf.terms().join("\n").as_bytes());
        assert_eq!(case["crc"], crc, "{}: {:?}", case["options"], tfidf.terms());
        if let Some(idf) = case["idf"].as_f64() {
            assert!((tfidf.idf().iter().sum::<f64>() - idf).abs() < 1e-6, "{}", case["options"]);
        }
        for (texts, wanted) in [(&texts, &case["rows"]), (&others, &case["other"])] {
            let rows = tfidf.transform(texts).unwrap();
            for row in 0..texts.len() {
                for (got, wanted) in sums(&rows, row).into_iter().zip(wanted[row].as_array().unwrap()) {
                    let off = (got - wanted.as_f64().unwrap()).abs();
                    assert!(off < 1e-6, "{}: row {row}, `{}`: off by {off}", case["options"], texts[row]);
                }
            }
        }
    }
}

#[test]
fn threads_do_not_matter_and_json_keeps_the_bits() {
    let texts: Vec<String> = (0..2000).map(|i| format!("w{} w{} w{}", i % 7, i % 113, i * i % 31)).collect();
    let options = TfidfOptions { ngrams: (1, 2), max_features: Some(50), ..TfidfOptions::default() };
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let tfidf = Tfidf::fit(&texts, &options).unwrap();
            (tfidf.transform(&texts).unwrap(), tfidf)
        })
    };
    let one = with(1);
    assert_eq!(one, with(3));
    let json = serde_json::to_string(&one.1).unwrap();
    assert_eq!(serde_json::from_str::<Tfidf>(&json).unwrap(), one.1);
}

#[test]
fn options_that_leave_nothing_are_said() {
    let fit = |texts: &[&str], options: TfidfOptions| Tfidf::fit(texts, &options).unwrap_err().to_string();
    let default = TfidfOptions::default;
    let said = fit(&["a b", "! ?"], default());
    assert!(said.starts_with("the texts leave no terms\n\nhint: the texts have only stop words"), "{said}");
    let said = fit(&["aa", "bb"], TfidfOptions { min_df: Frequency::Count(2), ..default() });
    assert!(said.ends_with("hint: take a lower `min_df` or a higher `max_df`"), "{said}");
    let said = fit(&["aa"], TfidfOptions { ngrams: (2, 1), ..default() });
    assert_eq!(said, "option `ngrams` is 2 to 1 (expected two rising numbers from 1 on)");
    let said = fit(&["aa"], TfidfOptions { max_df: Frequency::Fraction(1.5), ..default() });
    assert_eq!(said, "option `max_df` is 1.5 (expected 0 to 1, or a number of texts)");
    for (pattern, wanted) in [("a(", "a regular expression: unclosed group"), ("(a)(b)", "at most one group")]
    {
        let said = fit(&["aa"], TfidfOptions { token_pattern: Some(pattern.to_owned()), ..default() });
        assert_eq!(said, format!("option `token_pattern` is `{pattern}` (expected {wanted})"));
    }
    let said = fit(
        &["aa bb", "aa", "cc"],
        TfidfOptions { min_df: Frequency::Count(3), max_df: Frequency::Fraction(0.5), ..default() },
    );
    assert_eq!(said, "option `max_df` is 1.5 (expected no fewer texts than `min_df`)");
}

//! Texts with something wrong, and what the doctor says of them.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are part of it")]

use std::fs;

use tl_data::doctor::Severity;
use tl_data::{Part, Quarantine, SplitOptions};
use tl_text::doctor::{DoctorOptions, Problem, examine};
use tl_text::{TextDataset, TextOptions, Texts};

const ROWS: &str = "text\tlabel\tsplit
The plot is thin but the actors carry it\tgood\ttrain
the plot is  thin but the actors carry it\tgood\ttrain
A film to forget before the lights come on\tbad\ttrain
A film to forget before the lights come on\tbad\ttest
Neither funny nor sad nor anything else at all\tbad\ttrain
Neither funny nor sad nor anything else at all\tgood\ttrain
It is one of those stories that you have heard a hundred times and never wanted to hear at all\tbad\ttrain
It is one of those stories that you have heard a hundred times and never wanted to hear at home\tbad\tval
the cafÃ© scene is the best of them\tgood\ttrain
  \tgood\ttrain
?!\tbad\ttrain
Something else again for the other class\tgood\tval
";

#[test]
fn findings_and_the_list() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tsv");
    let long = "word ".repeat(400);
    fs::write(&path, format!("{ROWS}{long}\tbad\ttrain\n")).unwrap();
    let texts = Texts::read(&path, &TextOptions::default()).unwrap();
    let report = examine(&texts, None, &DoctorOptions::default()).unwrap();
    let found: Vec<(&Problem, Vec<&str>, usize)> = report
        .findings
        .iter()
        .map(|finding| {
            let lines = finding.texts.iter().map(|text| text.place.rsplit(':').next().unwrap()).collect();
            (&finding.problem, lines, finding.leave_out.len())
        })
        .collect();
    let near = |problem: &Problem| matches!(problem, Problem::Leak { near: Some(near) } if *near > 0.8 && *near < 1.0);
    assert_eq!(found.len(), 8, "{report}");
    assert_eq!(found[0], (&Problem::Empty, vec!["11"], 1));
    assert_eq!(found[1], (&Problem::Conflict { near: None }, vec!["6", "7"], 2));
    assert_eq!(found[2], (&Problem::Leak { near: None }, vec!["4", "5"], 1));
    assert!(near(found[3].0) && found[3].1 == ["8", "9"] && found[3].2 == 1, "{:?}", found[3]);
    assert_eq!(found[4], (&Problem::Duplicate { near: None }, vec!["2", "3"], 1));
    assert!(matches!(found[5].0, Problem::Encoding { first, .. } if first == "`Ã©`, which was `é`"));
    assert_eq!(found[6], (&Problem::NoWords, vec!["12"], 1));
    assert_eq!(found[7].0, &Problem::Length { words: 400, median: 9 });
    assert_eq!(report.count(Severity::Error), 3);

    let list = report.quarantine().to_string();
    let kept = Quarantine::parse(&list).unwrap();
    assert_eq!(kept.entries.len(), 5, "{list}");
    let reason =
        "same text in another part: a.tsv:5; a.tsv:4, bad: \"A film to forget before the lights come on\"";
    assert_eq!(kept.entries[3].reason, reason);
    let open = |list: &Quarantine| {
        TextDataset::open_without(&path, &TextOptions::default(), &SplitOptions::default(), &list.names())
    };
    // The training copy goes, the test text stays.
    let data = open(&kept).unwrap();
    assert_eq!((data.train.len(), data.val.len(), data.test.len()), (5, 2, 1));
    let all = Quarantine::parse(&list.replace("\n#", "\n")).unwrap_or_default();
    assert!(all.entries.len() >= 7, "{list}");

    let text = report.to_string();
    assert!(text.starts_with("13 texts of 0 to 400 words, the median 9\nerror: empty text: 1\n"), "{text}");
    assert!(text.ends_with("to leave out: 5, and 2 to look at first\n"), "{text}");
}

#[test]
fn parts_of_a_split_count_and_threads_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    let row = |i: usize| format!("this is the text number {} of a few hundred,{}\n", i / 2, i / 2 % 2);
    fs::write(&path, "text,label\n".to_owned() + &(0..600).map(row).collect::<String>()).unwrap();
    let texts = Texts::read(&path, &TextOptions::default()).unwrap();
    let with = |threads: usize, parts: Option<&[Part]>| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            examine(&texts, parts, &DoctorOptions { near: Some(0.7), ..DoctorOptions::default() }).unwrap()
        })
    };
    let alone = with(1, None);
    assert_eq!(alone, with(3, None));
    let leaks = |report: &tl_text::doctor::Report| {
        report.findings.iter().filter(|finding| finding.problem == Problem::Leak { near: None }).count()
    };
    assert_eq!(
        (
            leaks(&alone),
            alone.findings.iter().filter(|f| f.problem == Problem::Duplicate { near: None }).count()
        ),
        (0, 300)
    );
    let split = texts.split(&SplitOptions::default()).unwrap();
    assert!(leaks(&with(2, Some(&split.parts))) > 50);
    let error = examine(&texts, Some(&[Part::Train]), &DoctorOptions::default()).unwrap_err().to_string();
    assert_eq!(error, "option `parts` is 1 entries (expected one for each of 600 texts)");
}

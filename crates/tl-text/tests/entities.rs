//! Entities against seqeval, and sentences with tags from files of every form.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are part of it")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use tl_data::{ColumnChoice, SplitOptions, Target, TargetSpec};
use tl_text::entities::{EntityScores, KindCounts, Scheme, TagSet};
use tl_text::{TextOptions, Texts};

#[derive(Deserialize)]
struct Golden {
    found: Vec<Found>,
    measured: Vec<Measured>,
}

#[derive(Deserialize)]
struct Found {
    tags: String,
    /// Kind, first and last word.
    entities: Vec<(String, u32, u32)>,
}

#[derive(Deserialize)]
struct Measured {
    right: Vec<String>,
    said: Vec<String>,
    accuracy: f64,
    default: [f64; 3],
    strict: [f64; 3],
    /// Precision, recall, F1, entities.
    kinds: BTreeMap<String, (f64, f64, f64, usize)>,
}

fn golden() -> Golden {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/entities.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn close(got: [f64; 3], expected: [f64; 3]) {
    let off = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(off < 1e-12, "{got:?} {expected:?}");
}

fn figures(counts: KindCounts) -> [f64; 3] {
    [counts.precision(), counts.recall(), counts.f1()]
}

#[test]
fn entities_are_those_of_seqeval() {
    for Found { tags, entities } in golden().found {
        let names: Vec<String> = tags.split(' ').map(str::to_owned).collect();
        let set = TagSet::of(&names).unwrap();
        let places: Vec<u32> = (0..names.len() as u32).collect();
        let found = set.entities(&places).into_iter();
        let found: Vec<(String, u32, u32)> =
            found.map(|e| (set.kinds()[e.kind as usize].clone(), e.start, e.end - 1)).collect();
        assert_eq!(found, entities, "{tags}");
    }
}

#[test]
fn figures_are_those_of_seqeval() {
    let set = TagSet::iob2(["PER", "LOC", "ORG"]);
    let numbers = |sentences: &[String]| -> Vec<Vec<u32>> {
        sentences.iter().map(|s| s.split(' ').map(|tag| set.number(tag).unwrap()).collect()).collect()
    };
    for expected in golden().measured {
        let (right, said) = (numbers(&expected.right), numbers(&expected.said));
        let pairs = right.iter().map(Vec::as_slice).zip(said.iter().map(Vec::as_slice));
        let scores = EntityScores::new(&set, pairs);
        assert!((scores.word_accuracy() - expected.accuracy).abs() < 1e-12);
        close(figures(scores.all()), expected.default);
        close(figures(scores.strict), expected.strict);
        for (kind, counts) in set.kinds().iter().zip(&scores.kinds) {
            let (precision, recall, f1, there) = expected.kinds.get(kind).copied().unwrap_or_default();
            close(figures(*counts), [precision, recall, f1]);
            assert_eq!(counts.there, there);
        }
        let cells: u32 = scores.confusion.iter().flatten().sum();
        assert_eq!(cells as usize, scores.words);
    }
}

/// Tags of single words, and what scikit-learn says of them.
#[derive(Deserialize)]
struct Words {
    right: Vec<String>,
    said: Vec<String>,
    accuracy: f64,
    macro_f1: f64,
    /// Precision, recall, F1, words.
    tags: BTreeMap<String, (f64, f64, f64, usize)>,
    confusion: Vec<Vec<u32>>,
}

#[test]
fn figures_of_single_words_are_those_of_scikit_learn() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/words.json");
    let expected: Words = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let set = TagSet::plain(expected.tags.keys().map(String::as_str));
    let numbers = |sentences: &[String]| -> Vec<Vec<u32>> {
        sentences.iter().map(|s| s.split(' ').map(|tag| set.number(tag).unwrap()).collect()).collect()
    };
    let (right, said) = (numbers(&expected.right), numbers(&expected.said));
    let pairs = right.iter().map(Vec::as_slice).zip(said.iter().map(Vec::as_slice));
    let scores = EntityScores::new(&set, pairs);
    close([scores.word_accuracy(), scores.macro_f1(), 0.0], [expected.accuracy, expected.macro_f1, 0.0]);
    assert_eq!(scores.confusion, expected.confusion);
    for (tag, counts) in set.kinds().iter().zip(&scores.kinds) {
        let (precision, recall, f1, there) = expected.tags[tag];
        close(figures(*counts), [precision, recall, f1]);
        assert_eq!(counts.there, there, "{tag}");
    }
}

const SPEECH: &str = "The DET\nfilm NOUN\nruns VERB\n\nIt PRON\nruns VERB\n\nruns NOUN\n";

#[test]
fn tags_that_mark_no_entities_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let columns = read(&write("a.txt", SPEECH));
    let tagging = columns.tagging.clone().unwrap();
    assert_eq!((tagging.scheme, tagging.tags.marks_entities()), (Scheme::Words, false));
    assert_eq!(tagging.tags.names().join(" "), "DET NOUN PRON VERB");
    assert_eq!(columns.records[1].target, Target::Labels(vec![2, 3]));
    assert_eq!(columns.records[1].tagged.as_ref().unwrap().tags, [2, 3]);
    let row = |id: &str, word: &str, tag: &str| format!("{id}\t{word}\t_\t{tag}\t_\t_\t0\troot\t_\t_\n");
    let universal: String = [
        "# sent_id = 1\n".to_owned(),
        row("1-2", "Thefilm", "_"),
        row("1", "The", "DET"),
        row("2", "film", "NOUN"),
        row("2.1", "gone", "VERB"),
        row("3", "runs", "VERB"),
        "\n".to_owned(),
        row("1", "It", "PRON"),
        row("2", "runs", "VERB"),
        "\n".to_owned(),
        row("1", "runs", "NOUN"),
    ]
    .concat();
    let json = "{\"tokens\": [\"The\", \"film\", \"runs\"], \"upos\": [\"DET\", \"NOUN\", \"VERB\"]}\n\
                {\"tokens\": [\"It\", \"runs\"], \"upos\": [\"PRON\", \"VERB\"]}\n\
                {\"tokens\": [\"runs\"], \"upos\": [\"NOUN\"]}\n";
    for path in [write("b.conllu", &universal), write("c.jsonl", json)] {
        let other = read(&path);
        let both = |texts: &Texts| -> Vec<_> {
            texts.records.iter().map(|r| (r.text.clone(), r.tagged.clone())).collect()
        };
        assert_eq!(both(&other), both(&columns), "{}", path.display());
    }
    // A table of texts is no file of words, and a model of such tags knows those it has.
    assert!(!Texts::is_tagged(&write("d.tsv", "text\tlabel\na film\tgood\n\nit runs\tbad\n")));
    let known = TextOptions { classes: Some(tagging.tags.names().to_vec()), ..TextOptions::default() };
    assert_eq!(Texts::read_tagged(&write("e.txt", "It PRON\n"), &known).unwrap().records.len(), 1);
    let error = Texts::read_tagged(&write("f.txt", "It PRON\n\nBonn NON\n"), &known).unwrap_err().to_string();
    assert!(error.contains("f.txt:3`") && error.contains("(did you mean `NOUN`?)"), "{error}");
    // With one tag of an entity the others have to be such tags as well.
    let error = Texts::read_tagged(&write("g.txt", "It PRON\n\nBonn B-LOC\n"), &TextOptions::default());
    assert!(error.unwrap_err().to_string().contains("`PRON` is no tag"));
}

fn read(path: &Path) -> Texts {
    assert!(Texts::is_tagged(path), "{}", path.display());
    Texts::read_tagged(path, &TextOptions::default()).unwrap()
}

const COLUMNS: &str = "-DOCSTART- -X- O O\n\nEU NNP I-NP I-ORG\nrejects VBZ I-VP O\nGerman JJ I-NP I-MISC\n\
                       call NN I-NP O\n\n\nPeter NNP I-NP I-PER\nBlackburn NNP I-NP I-PER\nParis NNP I-NP B-PER\n";

#[test]
fn files_of_every_form_have_the_same_sentences() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let columns = read(&write("eng.conll", COLUMNS));
    let tagging = columns.tagging.clone().unwrap();
    assert_eq!((tagging.scheme, columns.names.join(" ")), (Scheme::Iob1, "MISC ORG PER".to_owned()));
    assert_eq!(tagging.tags.names().join(" "), "O B-MISC I-MISC B-ORG I-ORG B-PER I-PER");
    assert_eq!(columns.records.iter().map(|r| r.line).collect::<Vec<_>>(), [Some(3), Some(9)]);
    let tabs = write("t.tsv", &COLUMNS.replace(' ', "\t").replace("-DOCSTART-", "# a comment\n-DOCSTART-"));
    let json = write(
        "j.jsonl",
        "{\"id\": 1, \"tokens\": [\"EU\", \"rejects\", \"German\", \"call\"], \"ner_tags\": [\"S-ORG\", \"O\", \"S-MISC\", \"O\"]}\n\
         {\"id\": 2, \"tokens\": [\"Peter\", \"Blackburn\", \"Paris\"], \"ner_tags\": [\"B-PER\", \"E-PER\", \"S-PER\"]}\n",
    );
    for path in [tabs, json] {
        let other = read(&path);
        let both = |texts: &Texts| -> Vec<_> {
            texts.records.iter().map(|r| (r.text.clone(), r.tagged.clone(), r.target.clone())).collect()
        };
        assert_eq!(both(&other), both(&columns), "{}", path.display());
    }
    // Other columns, and a folder with a file for each part.
    let swapped = write("swapped.txt", "1 EU B-ORG x\n2 says O y\n\n1 Bonn B-LOC x\n");
    let column = |number: &str| ColumnChoice::Named(number.to_owned());
    let target = TargetSpec::Class { column: Some("3".to_owned()) };
    let options = TextOptions { text: column("2"), target, ..TextOptions::default() };
    let texts = Texts::read_tagged(&swapped, &options).unwrap();
    assert_eq!(texts.records[0].text, "EU says");
    let parts = dir.path().join("parts");
    fs::create_dir(&parts).unwrap();
    let names = ["train.txt", "valid.txt", "test.txt"];
    names.iter().for_each(|name| fs::write(parts.join(name), COLUMNS).unwrap());
    let data = read(&parts).into_dataset(&SplitOptions::default()).unwrap();
    assert_eq!((data.train.len(), data.val.len(), data.test.len()), (2, 2, 2));
    assert_eq!(data.tagging.unwrap().tags, tagging.tags);
    // What is no such file.
    for (name, text) in
        [("a.csv", "text,label\nx,O\n"), ("b.txt", "a text\n"), ("c.jsonl", "{\"text\": \"x\"}\n")]
    {
        assert!(!Texts::is_tagged(&write(name, text)), "{name}");
    }
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let error = |name: &str, text: &str, options: &TextOptions| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        Texts::read_tagged(&path, options).unwrap_err().to_string()
    };
    let plain = TextOptions::default();
    let said = error("a.conll", "EU B-ORG\nis\nin O O\n\nBonn B-LOC\n", &plain);
    assert!(said.contains("a.conll:2`") && said.contains("a.conll:3`"), "{said}");
    let said = error("b.conll", "EU B-ORG\n\nBonn LOC-B\n", &plain);
    assert!(said.contains("b.conll:3`: `LOC-B` is no tag"), "{said}");
    let said = error(
        "c.jsonl",
        "{\"tokens\": [\"EU\", \"is\"], \"tags\": [3]}\n{\"tokens\": \"x\", \"tags\": []}\n",
        &plain,
    );
    assert!(
        said.contains("there are 2 words and 1 tags")
            && said.contains("the value is a text (expected a list)"),
        "{said}"
    );
    let said = error("d.jsonl", "{\"tokens\": [\"EU\"], \"tags\": [3]}\n", &plain);
    assert!(said.contains("`3` is no tag") && said.contains("write the names of the tags"), "{said}");
    let tags = ["O", "B-PER", "I-PER"].map(str::to_owned).to_vec();
    let known = TextOptions { classes: Some(tags), ..plain };
    let said = error("e.conll", "Bonn B-LOC\n", &known);
    assert!(said.contains("LOC"), "{said}");
}

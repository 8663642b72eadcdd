//! Words with tags: what is said of them, and the entities in texts.
//!
//! The one decision: a person is shown entities, with their words and places, and never tags; what is kept in tables is
//! word by word, so that anything else can be counted from it. Where tags mark no entities a word is a unit of its own, and
//! its tag the kind of it.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};
use tl_data::Sample;
use tl_run::analysis::{Analysis, Confused, CostlyWord, Sentence, Span, WordAnswer};
use tl_run::{LabelResult, RunDir};
use tl_text::entities::{TagSet, Word, join, split_words};
use tl_text::tokens::Encoded;
use tl_text::{TextDataset, TextOptions, TextSample, Texts, Tokenizer};
use tl_train::{Model, SavedModel, Scored, SetInputs, likeliest_tags};

use super::predict;
use crate::args::PredictArgs;
use crate::predict::Format;
use crate::ui::{self, Ui};

/// How many entities of each kind there are to learn from, or words of each tag.
pub(super) fn note(data: &TextDataset) -> Option<String> {
    const MOST: usize = 12;
    let set = &data.tagging.as_ref()?.tags;
    let mut counts = vec![0; set.kinds().len()];
    for text in data.train.iter().filter_map(|text| text.tagged.as_ref()) {
        set.entities(&text.tags).iter().for_each(|entity| counts[entity.kind as usize] += 1);
    }
    let all: usize = counts.iter().sum();
    let named = set.kinds().iter().zip(&counts).take(MOST).map(|(kind, n)| format!("{kind} {n}"));
    let more = if counts.len() > MOST { ", …" } else { "" };
    let what = if set.marks_entities() { "entities" } else { "words" };
    Some(format!("{all} {what} to learn from: {}{more}", named.collect::<Vec<_>>().join(", ")))
}

/// Says how many words were cut off, of samples that have a tag for each word.
pub(super) fn say_cut(encoded: &Encoded, samples: &[Sample], ui: &RefCell<Ui>) {
    let words: usize = samples.iter().map(|sample| sample.target.as_ref().map_or(0, |tags| tags.len())).sum();
    let seen: usize = encoded.texts.iter().map(|tokens| tokens.firsts().len()).sum();
    if words > seen {
        say_words(words - seen, words, ui);
    }
}

fn say_words(cut: usize, words: usize, ui: &RefCell<Ui>) {
    ui.borrow().line(&format!(
        "warning: {cut} of {words} words have no token and no answer (they count as `O`, or as wrong without such a tag)"
    ));
}

/// Entities of each kind, or words of each tag: how many there are, were said, and are right.
pub(crate) fn entity_results(scored: &Scored, names: &[String]) -> Vec<LabelResult> {
    let (Some(tags), Ok(set)) = (&scored.tags, TagSet::of(names)) else { return Vec::new() };
    let result = |(kind, counts): (&String, &tl_text::entities::KindCounts)| {
        let metrics = [("precision", counts.precision()), ("recall", counts.recall()), ("f1", counts.f1())];
        LabelResult {
            label: kind.clone(),
            images: counts.there,
            predicted: counts.said,
            right: counts.right,
            metrics: metrics.map(|(name, value)| (name.to_owned(), value)).into(),
        }
    };
    set.kinds().iter().zip(&tags.kinds).map(result).collect()
}

/// The tags that are taken for each other, and the sentences that cost most.
pub(crate) fn analyse(
    set: &str,
    scored: &Scored,
    (samples, texts): (&[Sample], &[TextSample]),
    names: &[String],
) -> Analysis {
    let mut analysis = Analysis { set: set.to_owned(), images: samples.len(), ..Analysis::default() };
    let (Some(tags), Ok(of)) = (&scored.tags, TagSet::of(names)) else { return analysis };
    analysis.confused = confused(&tags.confusion, names);
    let mut sentences = Vec::new();
    for ((sample, text), row) in samples.iter().zip(texts).zip(&scored.probabilities) {
        let Some(tagged) = &text.tagged else { continue };
        let (loss, seen) = loss(row, &tagged.tags, names.len());
        let span = |entity: &tl_text::entities::Entity, probability| Span {
            kind: of.kinds()[entity.kind as usize].clone(),
            start: entity.start,
            end: entity.end,
            probability,
        };
        let said = likeliest_tags(row, &of);
        let sure = |entity| Some(sureness(row, &said, entity, names.len()));
        // Of words that all have a tag those are marked that were answered wrongly.
        let marked = |entity: &&tl_text::entities::Entity| {
            let at = entity.start as usize;
            of.marks_entities() || said[at] != tagged.tags[at]
        };
        sentences.push(Sentence {
            file: sample.rel.clone(),
            loss,
            words: tagged.words.clone(),
            unseen: tagged.words.len() - seen,
            right: of.entities(&tagged.tags).iter().filter(marked).map(|entity| span(entity, None)).collect(),
            said: of.entities(&said).iter().filter(marked).map(|entity| span(entity, sure(entity))).collect(),
        });
    }
    analysis.sentences = Sentence::worst(sentences);
    if !of.marks_entities() {
        analysis.words = costly_words(scored, texts, &of);
    }
    analysis
}

/// The words that cost most, each with all its occurrences.
fn costly_words(scored: &Scored, texts: &[TextSample], set: &TagSet) -> Vec<CostlyWord> {
    let names = set.names();
    let mut answers = Vec::new();
    for (text, row) in texts.iter().zip(&scored.probabilities) {
        let Some(tagged) = &text.tagged else { continue };
        let said = row.chunks(names.len().max(1)).zip(likeliest_tags(row, set));
        for ((word, tag), (row, said)) in tagged.words.iter().zip(&tagged.tags).zip(said) {
            // Words that were not seen cost nothing that could be said.
            let (Some(p), Some(predicted)) = (row.get(*tag as usize), names.get(said as usize)) else {
                continue;
            };
            let loss = -f64::from(*p).max(f64::EPSILON).ln();
            answers.push(WordAnswer { word, tag: &names[*tag as usize], predicted, loss });
        }
    }
    CostlyWord::worst(answers.into_iter())
}

/// The mean cross-entropy of the words that have tokens, and how many have.
fn loss(row: &[f32], tags: &[u32], width: usize) -> (f64, usize) {
    let words = row.chunks(width.max(1)).zip(tags);
    let seen = words.filter(|(word, _)| word.iter().any(|p| *p > 0.0));
    let costs: Vec<f64> = seen
        .map(|(word, tag)| word.get(*tag as usize).copied().map_or(0.0, f64::from))
        .map(|p| -p.max(f64::EPSILON).ln())
        .collect();
    (costs.iter().sum::<f64>() / costs.len().max(1) as f64, costs.len())
}

/// The mean probability of the tags of an entity.
fn sureness(row: &[f32], said: &[u32], entity: &tl_text::entities::Entity, width: usize) -> f32 {
    let words = entity.start as usize..entity.end as usize;
    let n = words.len().max(1) as f32;
    let p = |word: usize| row.get(word * width + said[word] as usize).copied().unwrap_or(0.0);
    words.map(p).sum::<f32>() / n
}

fn confused(confusion: &[Vec<u32>], names: &[String]) -> Vec<Confused> {
    const MOST: usize = 20;
    let mut pairs = Vec::new();
    for (i, row) in confusion.iter().enumerate() {
        let others = row.iter().enumerate().filter(|(j, words)| *j != i && **words > 0);
        pairs.extend(others.map(|(j, words)| Confused {
            label: names[i].clone(),
            predicted: names[j].clone(),
            images: *words,
            of: row.iter().sum(),
        }));
    }
    pairs.sort_by(|a, b| b.images.cmp(&a.images).then(a.of.cmp(&b.of)));
    pairs.truncate(MOST);
    pairs
}

/// A line for each word: its tag, and what was said and how surely; nothing of a word without tokens.
pub(crate) fn write_words(
    (dir, name): (&RunDir, &str),
    scored: &Scored,
    (samples, texts): (&[Sample], &[TextSample]),
    names: &[String],
) -> anyhow::Result<()> {
    let header = ["file", "place", "word", "tag", "predicted", "probability"].map(str::to_owned);
    let mut rows = Vec::new();
    let set = TagSet::of(names)?;
    for ((sample, text), row) in samples.iter().zip(texts).zip(&scored.probabilities) {
        let Some(tagged) = &text.tagged else { continue };
        let said = row.chunks(names.len().max(1)).zip(likeliest_tags(row, &set));
        let words = tagged.words.iter().zip(&tagged.tags).zip(said);
        for (place, ((word, tag), (row, said))) in (1_usize..).zip(words) {
            let (said, p) = match row.get(said as usize).filter(|p| **p > 0.0) {
                Some(p) => (names[said as usize].clone(), p.to_string()),
                None => (String::new(), String::new()),
            };
            let tag = names[*tag as usize].clone();
            rows.push(vec![sample.rel.clone(), place.to_string(), word.clone(), tag, said, p]);
        }
    }
    Ok(dir.write_table(name, &header, &rows)?)
}

/// A text and its words.
struct Asked {
    text: String,
    words: Vec<Word>,
}

/// The texts that are meant: those of files of tagged words as they are parted there, others parted here.
fn asked(words: &[PathBuf], args: &PredictArgs) -> anyhow::Result<Vec<Asked>> {
    let mut asked = Vec::new();
    for word in words {
        if word.as_os_str() != "-" && word.exists() && Texts::is_tagged(word) {
            for record in Texts::read_tagged(word, &TextOptions::default())?.records {
                let words = record.tagged.map(|tagged| tagged.words.clone()).unwrap_or_default();
                let (text, words) = join(&words);
                asked.push(Asked { text, words });
            }
            continue;
        }
        for (text, pair) in predict::texts_of(std::slice::from_ref(word), &args.texts)? {
            anyhow::ensure!(
                pair.is_none(),
                "`{}` has pairs of texts, and the model reads single ones\n\nhint: --pair-column none",
                word.display()
            );
            let words = split_words(&text);
            asked.push(Asked { text, words });
        }
    }
    anyhow::ensure!(!asked.is_empty(), "there are no texts");
    Ok(asked)
}

/// The entities that a model finds in texts, or the tags of their words.
pub(super) fn say(
    args: &PredictArgs,
    (saved, model): (&SavedModel, &mut Model),
    (words, tokenizer): (&[PathBuf], &Tokenizer),
    machine: &tl_run::Machine,
    ui: &RefCell<Ui>,
) -> anyhow::Result<()> {
    anyhow::ensure!(
        !args.raw && args.top.is_none(),
        "--raw and --top are for texts that have an answer each"
    );
    let asked = asked(words, args)?;
    let list = |asked: &Asked| asked.words.iter().map(|word| word.text.clone()).collect::<Vec<_>>();
    let tokens: Result<Vec<_>, _> = asked.iter().map(|asked| tokenizer.encode_words(&list(asked))).collect();
    let encoded = Encoded { texts: tokens?, pad: tokenizer.pad() };
    let (all, seen): (usize, usize) = (
        asked.iter().map(|asked| asked.words.len()).sum(),
        encoded.texts.iter().map(|tokens| tokens.firsts().len()).sum(),
    );
    if all > seen {
        say_words(all - seen, all, ui);
    }
    let sample = |asked: &Asked| {
        // A tag for each word, whichever: nothing is compared.
        let target = Some(vec![0.0; asked.words.len()].into());
        Sample { path: PathBuf::new(), label: 0, target, id: 0, rel: asked.text.clone() }
    };
    let samples: Arc<[Sample]> = asked.iter().map(sample).collect();
    let inputs = SetInputs::Texts(&encoded);
    crate::evaluate::choose((model, &saved.sha256), (&samples, inputs), args.precision, machine, ui)?;
    ui.borrow_mut().start("predicting", samples.len() as u64, false);
    let rows = tl_train::predict_texts(model, &encoded, false, &mut |done| ui.borrow().at(done as u64));
    ui.borrow_mut().stop();
    let set = TagSet::of(&saved.classes)?;
    let least = args.threshold.unwrap_or(0.0);
    let found: Vec<Vec<Found>> =
        asked.iter().zip(rows?).map(|(asked, row)| found(asked, &row, &set, least)).collect();
    ui::print(&said((predict::format(args), set.marks_entities()), &asked, &found)?)
}

/// An entity in a text, or a word whose tag is its kind.
#[derive(Debug)]
struct Found {
    kind: String,
    text: String,
    /// Its first character, and the one behind its last.
    chars: (usize, usize),
    /// The same of words.
    words: (u32, u32),
    probability: f32,
}

fn found(asked: &Asked, row: &[f32], set: &TagSet, least: f32) -> Vec<Found> {
    let width = set.names().len();
    let tags = likeliest_tags(row, set);
    let chars: Vec<char> = asked.text.chars().collect();
    let found = set.entities(&tags).into_iter().filter_map(|entity| {
        let (first, last) =
            (asked.words.get(entity.start as usize)?, asked.words.get(entity.end as usize - 1)?);
        Some(Found {
            kind: set.kinds()[entity.kind as usize].clone(),
            text: chars[first.start..last.end].iter().collect(),
            chars: (first.start, last.end),
            words: (entity.start, entity.end),
            probability: sureness(row, &tags, &entity, width),
        })
    });
    found.filter(|found| found.probability >= least).collect()
}

impl Found {
    fn json(&self, entities: bool) -> Value {
        if !entities {
            return json!({ "text": self.text, "tag": self.kind, "start": self.chars.0, "end": self.chars.1,
                "word": self.words.0, "probability": self.probability });
        }
        json!({ "text": self.text, "type": self.kind, "start": self.chars.0, "end": self.chars.1,
            "first_word": self.words.0, "end_word": self.words.1, "probability": self.probability })
    }
}

fn said((format, entities): (Format, bool), asked: &[Asked], found: &[Vec<Found>]) -> anyhow::Result<String> {
    let pairs = || asked.iter().zip(found);
    let line = |found: &[Found]| {
        let said = |one: &Found| match entities {
            true => format!("{} {} {:.4}", one.kind, one.text, one.probability),
            false => format!("{}/{}", one.text, one.kind),
        };
        let all: Vec<String> = found.iter().map(said).collect();
        if all.is_empty() { "-".to_owned() } else { all.join(if entities { ", " } else { " " }) }
    };
    Ok(match format {
        Format::Json => pairs()
            .map(|(asked, found)| {
                let words: Vec<&str> = asked.words.iter().map(|word| word.text.as_str()).collect();
                let values: Vec<Value> = found.iter().map(|one| one.json(entities)).collect();
                let key = if entities { "entities" } else { "tags" };
                json!({ "text": asked.text, "words": words, key: values }).to_string() + "\n"
            })
            .collect(),
        Format::Lines => pairs()
            .map(|(asked, found)| format!("{}\t{}\n", tl_data::shown(&asked.text), line(found)))
            .collect(),
        Format::Table => table(asked, found),
        Format::Csv => {
            let mut csv = csv::Writer::from_writer(Vec::new());
            let (unit, kind) = if entities { ("entity", "type") } else { ("word", "tag") };
            csv.write_record(["text", unit, kind, "start", "end", "probability"])?;
            for (asked, found) in pairs() {
                for one in found {
                    let (start, end) = (one.chars.0.to_string(), one.chars.1.to_string());
                    let p = one.probability.to_string();
                    csv.write_record([&asked.text, &one.text, &one.kind, &start, &end, &p])?;
                }
                // A text without entities has a row all the same.
                if found.is_empty() {
                    csv.write_record([asked.text.as_str(), "", "", "", "", ""])?;
                }
            }
            String::from_utf8(csv.into_inner().map_err(|error| anyhow::anyhow!("{error}"))?)?
        }
    })
}

/// A text, and below it a line for each of its entities.
fn table(asked: &[Asked], found: &[Vec<Found>]) -> String {
    let all = || found.iter().flatten();
    let width =
        |of: fn(&Found) -> &str| all().map(|one| console::measure_text_width(of(one))).max().unwrap_or(0);
    let (kinds, texts) = (width(|one| &one.kind), width(|one| &one.text));
    let pad = |text: &str, to: usize| {
        format!("{text}{}", " ".repeat(to.saturating_sub(console::measure_text_width(text))))
    };
    let mut out = String::new();
    for (asked, found) in asked.iter().zip(found) {
        out.push_str(&format!("{}\n", tl_data::shown(&asked.text)));
        for Found { kind, text, chars, probability, .. } in found {
            let (start, end) = *chars;
            out.push_str(&format!(
                "    {}  {}  {probability:.4}  {start}..{end}\n",
                pad(kind, kinds),
                pad(text, texts)
            ));
        }
        if found.is_empty() {
            out.push_str("    -\n");
        }
    }
    out
}

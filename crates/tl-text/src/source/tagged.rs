//! Sentences with a tag for each word: columns, as CoNLL-2003 has them, or JSON lines.
//!
//! ```text
//! EU NNP B-NP B-ORG         {"tokens": ["EU", "rejects"], "ner_tags": ["B-ORG", "O"]}
//! rejects VBZ B-VP O
//! ```
//!
//! The one decision: a sentence has the kinds of its entities as labels, or where tags mark none, its tags. So it is split
//! as a text with several labels is, rare kinds into both parts, and the doctor finds the same sentence with other entities.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tl_data::table::TableFault;
use tl_data::{ColumnChoice, Part, Target, TargetSpec, Task};

use super::options::TextOptions;
use super::rows::{self, Cell, Sheet, read_text};
use super::{Record, Report, Texts, folder, name_all};
use crate::entities::{OUTSIDE, Scheme, TagSet, Tagged, scheme};
use crate::error::TextFault;

/// Endings of files of tagged words; others are looked into.
const COLUMNS: &[&str] = &["conll", "conllu", "iob", "iob2", "bio", "bioes", "ner", "txt", "tsv", "tab"];
const JSON: &[&str] = &["jsonl", "ndjson", "json"];
const WORDS: &[&str] = &["tokens", "words"];
const TAGS: &[&str] = &["ner_tags", "tags", "labels", "pos_tags", "upos", "xpos"];
/// The columns of CoNLL-U, and which of them are words and universal parts of speech.
const CONLLU: (usize, usize, usize) = (10, 1, 3);
/// Bytes by which a file is told.
const LOOK: usize = 1 << 16;
const DOCSTART: &str = "-DOCSTART-";

/// How sentences are tagged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tagging {
    /// The way in which the files mark entities.
    pub scheme: Scheme,
    /// The tags that are learned: IOB2, `O` the first; or those that are there, where they mark no entities.
    pub tags: TagSet,
}

/// A sentence as it is in the file.
struct Sentence {
    words: Vec<String>,
    tags: Vec<String>,
    file: Arc<Path>,
    line: u64,
    part: Option<Part>,
}

/// Whether a file, or a folder of files by part, has tagged words in it.
pub(super) fn is_tagged(path: &Path) -> bool {
    if path.is_dir() {
        let files = folder::files_by_part(path, &extensions(), &mut Report::default());
        return files.iter().any(|(file, part)| *part == Some(Part::Train) && is_tagged(file));
    }
    let head = || {
        use std::io::Read;
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).ok()?;
        file.take(LOOK as u64).read_to_end(&mut bytes).ok()?;
        let whole = bytes.len() < LOOK;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        // The last line may be cut.
        let end = if whole { text.len() } else { text.rfind('\n').unwrap_or(0) };
        Some(text[..end].trim_start_matches('\u{feff}').to_owned())
    };
    let Some(text) = head() else { return false };
    if is_json(path) {
        let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let Ok(serde_json::Value::Object(object)) = serde_json::from_str(line) else { return false };
        let list = |names: &[&str]| names.iter().any(|name| object.get(*name).is_some_and(|v| v.is_array()));
        return list(WORDS) && list(TAGS);
    }
    let tabs = parted_by_tabs(&text);
    let mut lines = text.lines().filter(|line| !is_gap(line)).peekable();
    let tagged = |line: &str| {
        let cells = columns(line, tabs);
        cells.len() > 1 && cells.last().is_some_and(|cell| scheme::is_tag(cell))
    };
    lines.peek().is_some()
        && (lines.all(|line| tagged(line) || is_comment(line))
            || (!is_csv(path) && in_sentences(&text, tabs)))
}

/// Whether lines of equally many columns, of which the first and the last are words, stand in groups with gaps between
/// them. Tags can then be anything: a table of texts has neither.
fn in_sentences(text: &str, tabs: bool) -> bool {
    let lines: Vec<&str> = text.trim().lines().collect();
    let rows = lines.iter().filter(|line| !is_gap(line) && !is_comment(line));
    let mut rows = rows.map(|line| columns(line, tabs)).peekable();
    let width = rows.peek().map_or(0, Vec::len);
    let word = |cell: Option<&&str>| cell.is_some_and(|cell| !cell.contains(char::is_whitespace));
    width > 1
        && rows.all(|cells| cells.len() == width && word(cells.first()) && word(cells.last()))
        && lines.iter().any(|line| line.trim().is_empty())
}

/// Whether a row of CoNLL-U is about several words (`1-2`) or one that is not written (`1.1`).
fn is_span(cells: &[&str]) -> bool {
    cells.first().is_some_and(|id| {
        id.contains(['-', '.']) && id.chars().all(|c| c.is_ascii_digit() || c == '-' || c == '.')
    })
}

fn extensions() -> Vec<&'static str> {
    [COLUMNS, JSON].concat()
}

fn is_json(path: &Path) -> bool {
    path.extension().and_then(|e| e.to_str()).is_some_and(|e| JSON.contains(&e.to_ascii_lowercase().as_str()))
}

/// Commas part the cells of such a table, and white space is in them.
fn is_csv(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"))
}

/// What stands between sentences.
fn is_gap(line: &str) -> bool {
    line.trim().is_empty() || line.starts_with(DOCSTART)
}

fn is_comment(line: &str) -> bool {
    line.starts_with("# ") || line == "#"
}

fn columns(line: &str, tabs: bool) -> Vec<&str> {
    match tabs {
        true => line.split('\t').map(str::trim).collect(),
        false => line.split_whitespace().collect(),
    }
}

fn parted_by_tabs(text: &str) -> bool {
    let mut words = text.lines().filter(|line| !is_gap(line) && !is_comment(line)).peekable();
    words.peek().is_some() && words.all(|line| line.contains('\t'))
}

/// Reads a file, or a folder with a file for each part.
pub(super) fn read(path: &Path, options: &TextOptions, report: &mut Report) -> Option<Texts> {
    let files = match path.is_dir() {
        true => folder::files_by_part(path, &extensions(), report),
        false => vec![(path.to_owned(), None)],
    };
    if path.is_dir() && !files.iter().any(|(_, part)| *part == Some(Part::Train)) {
        report.whole(path, TextFault::NoTagged);
        return None;
    }
    let (mut sentences, mut notes) = (Vec::new(), BTreeSet::new());
    for (file, part) in &files {
        match is_json(file) {
            true => json(file, *part, options, &mut sentences, report),
            false => columned(file, *part, options, (&mut sentences, &mut notes), report),
        }
    }
    finish((path, &files), sentences, notes, options, report)
}

/// A column by its number, from 1.
fn number(choice: &ColumnChoice, usual: usize, of: usize) -> Result<usize, TableFault> {
    let ColumnChoice::Named(name) = choice else { return Ok(usual) };
    let known = (1..=of).map(|column| column.to_string()).collect();
    let role = "columns of words and tags, which are numbered from 1";
    name.parse::<usize>()
        .ok()
        .filter(|column| (1..=of).contains(column))
        .map(|column| column - 1)
        .ok_or(TableFault::NoColumn { role, name: name.clone(), known })
}

fn tag_choice(options: &TextOptions) -> ColumnChoice {
    match &options.target {
        TargetSpec::Class { column: Some(name) } => ColumnChoice::Named(name.clone()),
        _ => ColumnChoice::Guess,
    }
}

fn columned(
    file: &Path,
    part: Option<Part>,
    options: &TextOptions,
    (sentences, notes): (&mut Vec<Sentence>, &mut BTreeSet<String>),
    report: &mut Report,
) {
    let Some(text) = read_text(file, report) else { return };
    let tabs = parted_by_tabs(&text);
    let universal = file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("conllu"));
    let shared: Arc<Path> = file.into();
    let (mut width, mut places) = (0, (0, 0));
    let mut open: Option<Sentence> = None;
    for (line, row) in (1..).zip(text.lines()) {
        if is_gap(row) {
            sentences.extend(open.take());
            continue;
        }
        let cells = columns(row, tabs);
        if is_comment(row) && (cells.len() != width || (tabs && !row.contains('\t'))) {
            notes.insert("lines that begin with `# ` are taken for comments".to_owned());
            continue;
        }
        if width == 0 {
            width = cells.len();
            let usual = match universal && width == CONLLU.0 {
                true => (CONLLU.1, CONLLU.2),
                false => (0, width.saturating_sub(1)),
            };
            let columns = number(&options.text, usual.0, width)
                .and_then(|word| Ok((word, number(&tag_choice(options), usual.1, width)?)));
            match columns {
                Ok(found) if width > 1 => places = found,
                Ok(_) => return report.line(file, line, TextFault::OneColumn),
                Err(fault) => return report.line(file, line, fault),
            }
            let by = if tabs { "tabs" } else { "white space" };
            let (word, tag) = (places.0 + 1, places.1 + 1);
            notes.insert(format!(
                "columns are parted by {by}: words in column {word}, tags in column {tag} of {width}"
            ));
        }
        if cells.len() != width {
            report.line(
                file,
                line,
                TableFault::Ragged { got: cells.len(), expected: width, last_line: None },
            );
            continue;
        }
        if universal && is_span(&cells) {
            notes.insert(
                "lines about several words, or about one that is not written, are left out".to_owned(),
            );
            continue;
        }
        let (word, tag) = (cells[places.0], cells[places.1]);
        if word.is_empty() || tag.is_empty() {
            report.line(file, line, TableFault::Empty { expected: "a word and a tag" });
            continue;
        }
        let sentence = open.get_or_insert_with(|| Sentence {
            words: Vec::new(),
            tags: Vec::new(),
            file: shared.clone(),
            line,
            part,
        });
        sentence.words.push(word.to_owned());
        sentence.tags.push(tag.to_owned());
    }
    sentences.extend(open);
}

fn json(
    file: &Path,
    part: Option<Part>,
    options: &TextOptions,
    sentences: &mut Vec<Sentence>,
    report: &mut Report,
) {
    let Some(Sheet { header, header_line, rows, .. }) = rows::read(file, options, report) else { return };
    let mut find = |choice: ColumnChoice, role: &'static str, known: &'static [&'static str]| {
        let name = match &choice {
            ColumnChoice::Named(name) => Some(name.as_str()),
            _ => known.iter().copied().find(|name| header.iter().any(|key| key == name)),
        };
        let place = name.and_then(|name| header.iter().position(|key| key == name));
        if place.is_none() {
            let fault = match choice {
                ColumnChoice::Named(name) => {
                    TableFault::NoColumn { role, name, known: header.clone() }.into()
                }
                _ => TextFault::NoGuess { role, expected: known, known: header.clone() },
            };
            report.line(file, header_line, fault);
        }
        place
    };
    let words = find(options.text.clone(), "the words", WORDS);
    let tags = find(tag_choice(options), "the tags", TAGS);
    let (Some(words), Some(tags)) = (words, tags) else { return };
    let shared: Arc<Path> = file.into();
    for (line, mut cells) in rows {
        let mut list =
            |place: usize, report: &mut Report| match std::mem::replace(&mut cells[place], Cell::Other) {
                Cell::Many(values) => Some(values),
                other => {
                    let (got, expected) = (super::values::kind(&other), "a list");
                    report.cell(file, line, &header[place], TextFault::Kind { got, expected });
                    None
                }
            };
        let (Some(words), Some(tags)) = (list(words, report), list(tags, report)) else { continue };
        if words.len() != tags.len() {
            report.line(file, line, TextFault::Unequal { words: words.len(), tags: tags.len() });
        } else if words.is_empty() {
            report.line(file, line, TextFault::EmptyText);
        } else if words.iter().any(|word| word.trim().is_empty()) {
            report.line(file, line, TableFault::Empty { expected: "words" });
        } else {
            sentences.push(Sentence { words, tags, file: shared.clone(), line, part });
        }
    }
}

fn finish(
    (root, files): (&Path, &[(PathBuf, Option<Part>)]),
    sentences: Vec<Sentence>,
    notes: BTreeSet<String>,
    options: &TextOptions,
    report: &mut Report,
) -> Option<Texts> {
    let known = match &options.classes {
        // Those of a model, which are all that it can say.
        Some(tags) => Some(TagSet::of(tags).map_err(|fault| report.whole(root, fault)).ok()?),
        None => None,
    };
    let found = match &known {
        Some(set) if !set.marks_entities() => Some(scheme::Found { scheme: Scheme::Words, odd: 0 }),
        _ => scheme::find(sentences.iter().map(|sentence| &sentence.tags[..])),
    };
    let Some(found) = found else {
        no_tags(&sentences, report);
        return None;
    };
    if sentences.is_empty() && report.problems.is_empty() {
        report.whole(root, TableFault::NoRows);
    }
    let set = match known {
        Some(set) => set,
        None if found.scheme == Scheme::Words => {
            TagSet::plain(sentences.iter().flat_map(|sentence| &sentence.tags).map(String::as_str))
        }
        None => {
            let tags = sentences.iter().flat_map(|sentence| &sentence.tags);
            TagSet::iob2(tags.filter_map(|tag| scheme::kind(tag, found.scheme)))
        }
    };
    let records: Vec<Record> =
        sentences.into_iter().filter_map(|sentence| record(sentence, found.scheme, &set, report)).collect();
    if !report.problems.is_empty() {
        return None;
    }
    let mut texts = Texts {
        path: root.to_owned(),
        task: Task::MultiLabel,
        names: set.kinds().to_vec(),
        records,
        left_out: Vec::new(),
        by_column: false,
        columns: Vec::new(),
        notes: notes.into_iter().collect(),
        warnings: Vec::new(),
        tagging: None,
    };
    name_all(&mut texts.records);
    if files.len() > 1 {
        texts.notes.push(format!("a file for each of {} parts", files.len()));
    }
    let scheme = found.scheme;
    texts.notes.push(match scheme {
        Scheme::Iob2 => "tags are IOB2".to_owned(),
        Scheme::Words => {
            "tags mark no entities (none is `O`, none begins with `B-` or `I-`): each word has one of its own"
                .to_owned()
        }
        other => format!("tags are {other}, and learned as IOB2"),
    });
    if found.odd > 0 {
        let odd = found.odd;
        texts.warnings.push(format!(
            "{odd} tags stand where {scheme} has none such, as `I-` behind `O`; entities are read as `conlleval` reads them"
        ));
    }
    texts.tagging = Some(Tagging { scheme, tags: set });
    Some(texts)
}

/// Names the cells that are no tags.
fn no_tags(sentences: &[Sentence], report: &mut Report) {
    for sentence in sentences {
        let odd = sentence.tags.iter().filter(|tag| !scheme::is_tag(tag));
        for tag in odd.take(1) {
            report.line(&sentence.file, sentence.line, TextFault::Tag { tag: tag.clone() });
        }
    }
}

fn record(sentence: Sentence, scheme: Scheme, set: &TagSet, report: &mut Report) -> Option<Record> {
    let Sentence { words, tags, file, line, part } = sentence;
    let known = |kind: &&str| set.kinds().iter().any(|known| known == kind);
    let kinds: BTreeSet<&str> = tags.iter().filter_map(|tag| scheme::kind(tag, scheme)).collect();
    if let Some(kind) = kinds.iter().find(|kind| !known(kind)) {
        let near = tl_data::collected::nearest(kind, set.kinds().iter().map(String::as_str));
        let (class, near) = ((*kind).to_owned(), near.map(str::to_owned));
        report.line(&file, line, TableFault::UnknownClass { class, near });
        return None;
    }
    let place = |kind: &&str| set.kinds().iter().position(|known| known == kind).map(|place| place as u32);
    let labels = kinds.iter().filter_map(place).collect();
    let Some(numbers) = scheme::to_numbers(&tags, scheme, set) else {
        report.line(
            &file,
            line,
            TextFault::Tag { tag: tags.first().map_or(OUTSIDE, String::as_str).to_owned() },
        );
        return None;
    };
    Some(Record {
        text: words.join(" "),
        pair: None,
        target: Target::Labels(labels),
        weight: 1.0,
        group: None,
        part,
        name: String::new(),
        file,
        line: Some(line),
        tagged: Some(Arc::new(Tagged { words, tags: numbers })),
    })
}

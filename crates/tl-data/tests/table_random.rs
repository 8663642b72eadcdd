//! Random tables: what is written comes back, damage is reported and never more than that, and size is no
//! obstacle.
#![allow(clippy::unwrap_used, reason = "the helpers of a test are part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::time::Instant;

use tl_data::{ColumnChoice, DataError, Part, SplitOptions, Table, TableOptions, Target, TargetSpec};

/// Numbers for the tests: splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// A word without white space at its ends.
    fn word(&mut self) -> String {
        const LETTERS: [&str; 14] = ["a", "b", "Z", "0", "ü", "🦋", " ", ",", ";", "\"", "'", "#", "\t", "|"];
        let inner: String = (0..self.below(6)).map(|_| self.pick(&LETTERS)).collect();
        format!("{}{inner}{}", self.pick(&["x", "y"]), self.pick(&["x", "ß"]))
    }
}

fn unchecked() -> TableOptions {
    TableOptions { check_files: false, ..TableOptions::default() }
}

/// A cell, in quotes where it has to be and sometimes where it need not.
fn cell(text: &str, delimiter: char, random: &mut Random) -> String {
    if text.contains([delimiter, '"', '\n', '\r']) || random.below(5) == 0 {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    let spaces = if random.below(5) == 0 { " " } else { "" };
    format!("{spaces}{text}{spaces}")
}

#[test]
fn what_is_written_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random(11);
    for round in 0..200 {
        let rows: BTreeMap<String, (String, f32, Part)> = (0..2 + random.below(30))
            .map(|i| {
                let label = if i < 2 { format!("class {i}") } else { random.word() };
                let row = (label, random.below(1000) as f32 / 8.0 + 0.125, random.pick(&Part::ALL));
                (format!("{}/{i}.jpg", random.word()), row)
            })
            .collect();
        let (delimiter, end) = (random.pick(&[',', ';', '\t', '|']), random.pick(&["\n", "\r\n", "\r"]));
        let mut columns = ["file", "label", "weight", "split", "more"];
        for i in (1..columns.len()).rev() {
            columns.swap(i, random.below(i + 1));
        }
        let mut text = if random.below(2) == 0 { "\u{feff}".to_owned() } else { String::new() };
        text += &columns.join(&delimiter.to_string());
        for (name, (label, weight, part)) in &rows {
            (0..1 + random.below(2)).for_each(|_| text += end);
            let cells = columns.map(|column| match column {
                "file" => cell(name, delimiter, &mut random),
                "label" => cell(label, delimiter, &mut random),
                "weight" => weight.to_string(),
                "split" => part.to_string(),
                _ => cell(&random.word(), delimiter, &mut random),
            });
            text += &cells.join(&delimiter.to_string());
        }
        text += random.pick(&["", end]);
        let path = dir.path().join(if delimiter == '\t' { "t.tsv" } else { "t.csv" });
        fs::write(&path, &text).unwrap();
        let weight = ColumnChoice::Named("weight".to_owned());
        let options = TableOptions { weight, ..unchecked() };
        let table = Table::open(&path, &options).unwrap_or_else(|error| panic!("{round}: {error}\n{text}"));
        let classes: BTreeSet<&String> = rows.values().map(|row| &row.0).collect();
        assert!(table.names.iter().eq(classes), "{round}");
        assert_eq!(table.records.len(), rows.len());
        for (record, (name, (label, weight, part))) in table.records.iter().zip(&rows) {
            let Target::Class(class) = record.target else { panic!("{record:?}") };
            assert_eq!((&record.rel, &table.names[class as usize]), (name, label), "{round}");
            assert_eq!((record.weight, record.split), (*weight, Some(*part)));
        }
    }
}

#[test]
fn damage_never_panics_and_errors_name_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let good =
        "file,labels,split,group,y\n1.jpg,a|b,train,g,1\n2.jpg,b,val,h,2.5\n\"3,.jpg\",a,test,\"i\n\",-3\n";
    let specs = [
        TargetSpec::Class { column: None },
        TargetSpec::Class { column: Some("labels".to_owned()) },
        TargetSpec::Labels { column: None, separator: '|', allow_empty: false },
        TargetSpec::Labels { column: None, separator: ' ', allow_empty: true },
        TargetSpec::Flags { columns: None },
        TargetSpec::Numbers { columns: None },
        TargetSpec::Numbers { columns: Some(vec!["y".to_owned()]) },
        TargetSpec::ParentFolder,
        TargetSpec::Nothing,
    ];
    const BYTES: &[u8] = b"\",\n\r\0\xFF|; \tx1\xEF\xBB\xBF-.";
    let mut random = Random(12);
    let (mut fine, mut bad) = (0, 0);
    for round in 0..2000 {
        let mut bytes = good.as_bytes().to_vec();
        for _ in 0..random.below(6) {
            let at = random.below(bytes.len().max(1));
            match random.below(4) {
                _ if bytes.is_empty() => bytes.push(random.pick(BYTES)),
                0 => bytes[at] = random.pick(BYTES),
                1 => bytes.insert(at, random.pick(BYTES)),
                2 => drop(bytes.remove(at)),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let name = random.pick(&["t.csv", "t.tsv", "t.txt", "t"]);
        let path = dir.path().join(name);
        fs::write(&path, &bytes).unwrap();
        let target = specs[random.below(specs.len())].clone();
        match Table::open(&path, &TableOptions { target, ..unchecked() }) {
            Ok(table) => {
                fine += 1;
                let lines = bytes.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() as u64 + 1;
                assert!(table.records.iter().all(|record| record.line <= lines && !record.rel.is_empty()));
                let rels: BTreeSet<&String> = table.records.iter().map(|record| &record.rel).collect();
                assert_eq!(rels.len(), table.records.len());
                let _ = table.split(&SplitOptions::default());
                let _ = table.into_dataset(&SplitOptions::default());
            }
            Err(DataError::Table { problems, .. }) => {
                bad += 1;
                assert!(!problems.is_empty() && problems.to_string().contains(name), "{round}");
            }
            Err(other) => panic!("{round}: {other}"),
        }
    }
    assert!(fine > 100 && bad > 500, "{fine} {bad}");
}

#[test]
fn a_million_rows() {
    const ROWS: usize = 1_000_000;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.csv");
    let mut text = String::with_capacity(40 * ROWS);
    text += "file,label\n";
    for i in 0..ROWS {
        writeln!(text, "images/{:03}/{i:07}.jpg,class {}", i % 1000, i % 997).unwrap();
    }
    fs::write(&path, &text).unwrap();
    let bytes = text.len();
    drop(text);
    let before = resident();
    let start = Instant::now();
    let table = Table::open(&path, &unchecked()).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    assert_eq!((table.records.len(), table.names.len()), (ROWS, 997));
    if let (Some(before), Some(after)) = (before, resident()) {
        let each = after.saturating_sub(before) / ROWS;
        assert!(each < 400, "{each} bytes for each row of {} bytes", bytes / ROWS);
    }
    // A second here; far more only if something grows with the square of the rows.
    assert!(seconds < 20.0, "{seconds} s");
    let start = Instant::now();
    let dataset = table.into_dataset(&SplitOptions::default()).unwrap();
    assert_eq!(dataset.train.len() + dataset.val.len(), ROWS);
    assert!(start.elapsed().as_secs_f64() < 20.0);
}

/// Bytes of memory in use, where the system says.
fn resident() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<usize>().ok().map(|kilobytes| kilobytes * 1024)
}

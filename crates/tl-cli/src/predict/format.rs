//! Answers as text: lines, a table, CSV, or JSON.
//!
//! The decision behind it: people get a table, programs a form that never changes with the terminal. What is piped without
//! a word about its form is lines.

use clap::ValueEnum;
use serde_json::{Value, json};
use tl_data::Sample;
use tl_heads::Task;

use crate::fold::hang;
use crate::ui;

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A name, a tab, the answers
    Lines,
    /// Columns for the eye
    Table,
    /// Comma-separated values with a header
    Csv,
    /// An object a line
    Json,
}

/// What is to be said of each image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Saying<'a> {
    pub(crate) names: &'a [String],
    /// None of outputs as they come from the net, or of a pretrained net's own classes.
    pub(crate) task: Option<Task>,
    pub(crate) raw: bool,
    pub(crate) top: Option<usize>,
    pub(crate) threshold: Option<f32>,
    /// What a sample is called: `file`, or `text`.
    pub(crate) key: &'static str,
}

/// What stands between the texts of a pair in the name of a sample: a record separator, which no text has.
pub(crate) const PAIR: char = '\u{1e}';

/// From this probability on a label counts as said.
const PRESENT: f32 = crate::evaluate::PRESENT;
/// Classes that are listed where nobody says how many.
const USUAL: usize = 5;

impl Saying<'_> {
    /// The places of what is said of an image, likeliest first.
    fn said(&self, row: &[f32]) -> Vec<usize> {
        let labels = matches!(self.task, Some(Task::MultiLabel { .. }));
        let most = self.top.unwrap_or(if labels { row.len() } else { USUAL });
        let least = match (self.threshold, self.top) {
            (Some(threshold), _) => threshold,
            (None, None) if labels => PRESENT,
            (None, _) => f32::MIN,
        };
        let mut order: Vec<usize> = (0..row.len()).filter(|&i| row[i] >= least).collect();
        order.sort_by(|&a, &b| row[b].total_cmp(&row[a]).then(a.cmp(&b)));
        order.truncate(most);
        order
    }

    /// The name of a file as it is; a text on one line.
    fn called(&self, sample: &Sample) -> String {
        match self.key {
            "file" => sample.rel.clone(),
            _ => tl_data::shown(&sample.rel.replace(PAIR, " | ")).to_string(),
        }
    }

    fn is_numbers(&self) -> bool {
        matches!(self.task, Some(Task::Regression { .. }))
    }

    /// All answers in this form.
    pub(crate) fn text(
        &self,
        format: Format,
        samples: &[Sample],
        rows: &[Vec<f32>],
    ) -> anyhow::Result<String> {
        let pairs = samples.iter().zip(rows);
        match format {
            Format::Json => Ok(pairs.map(|(sample, row)| self.json(sample, row)).collect()),
            Format::Lines => Ok(pairs.map(|(sample, row)| self.line(sample, row)).collect()),
            Format::Table => Ok(self.table(samples, rows, ui::width())),
            Format::Csv => self.csv(samples, rows),
        }
    }

    fn json(&self, sample: &Sample, row: &[f32]) -> String {
        self.value(&sample.rel, row).to_string() + "\n"
    }

    /// An answer as JSON; of a pair the second text is `pair`.
    pub(crate) fn value(&self, file: &str, row: &[f32]) -> Value {
        let Some((text, pair)) = file.split_once(PAIR) else { return self.value_of(file, row) };
        let mut value = self.value_of(text, row);
        value["pair"] = pair.into();
        value
    }

    fn value_of(&self, file: &str, row: &[f32]) -> Value {
        let names = self.names;
        match self.task {
            _ if self.raw => json!({ self.key: file, "outputs": row, "classes": names }),
            Some(Task::MultiLabel { .. }) => {
                let said: Vec<&str> = self.said(row).iter().map(|&i| names[i].as_str()).collect();
                let all = names.iter().zip(row).map(|(label, p)| json!({ "label": label, "probability": p }));
                json!({ self.key: file, "labels": said, "all": all.collect::<Vec<_>>() })
            }
            Some(Task::Regression { .. }) => {
                let values =
                    names.iter().zip(row).map(|(name, value)| json!({ "name": name, "value": value }));
                json!({ self.key: file, "values": values.collect::<Vec<_>>() })
            }
            _ => {
                let top = self.said(row).into_iter();
                let top = top.map(|i| json!({ "class": names[i], "probability": row[i] }));
                json!({ self.key: file, "top": top.collect::<Vec<_>>() })
            }
        }
    }

    /// What is said of an image, each with its figure.
    fn answers(&self, row: &[f32]) -> String {
        if self.is_numbers() {
            let pairs = self.names.iter().zip(row).map(|(name, value)| format!("{name} = {value}"));
            return pairs.collect::<Vec<_>>().join(", ");
        }
        let said: Vec<String> =
            self.said(row).into_iter().map(|i| format!("{} {:.4}", self.names[i], row[i])).collect();
        if said.is_empty() { "-".to_owned() } else { said.join(", ") }
    }

    fn line(&self, sample: &Sample, row: &[f32]) -> String {
        if self.raw {
            let row: Vec<String> = row.iter().map(f32::to_string).collect();
            return format!("{}\t{}\n", self.called(sample), row.join("\t"));
        }
        format!("{}\t{}\n", self.called(sample), self.answers(row))
    }

    /// On a terminal of that width names have half of it at most, and answers go on below their beginning.
    fn table(&self, samples: &[Sample], rows: &[Vec<f32>], terminal: Option<usize>) -> String {
        let most = terminal.map_or(usize::MAX, |terminal| terminal / 2);
        let called: Vec<String> =
            samples.iter().map(|sample| shortened(self.called(sample), most, self.key == "file")).collect();
        let width = called.iter().map(|name| console::measure_text_width(name)).max().unwrap_or(0).max(4);
        let head = if self.is_numbers() { "says" } else { "says, and how surely" };
        let head = format!("{:width$}  {head}", self.key);
        let mut text = terminal.map_or(head.clone(), |terminal| hang(&head, terminal, width + 2)) + "\n";
        for (name, row) in called.iter().zip(rows) {
            let room = " ".repeat(width - console::measure_text_width(name));
            let answers = match self.raw {
                true => row.iter().map(|value| format!("{value:10.4}")).collect::<Vec<_>>().join(" "),
                false => self.answers(row),
            };
            let line = format!("{name}{room}  {answers}");
            // Columns of outputs as they are stay columns.
            match terminal.filter(|_| !self.raw) {
                Some(terminal) => text.push_str(&hang(&line, terminal, width + 2)),
                None => text.push_str(&line),
            }
            text.push('\n');
        }
        text
    }

    /// Of classes the likeliest and its probability, then the probability of each; of labels those that are said, then the
    /// same; of numbers, and of outputs as they are, a column each.
    fn csv(&self, samples: &[Sample], rows: &[Vec<f32>]) -> anyhow::Result<String> {
        let plain = self.raw || self.is_numbers();
        let labels = matches!(self.task, Some(Task::MultiLabel { .. }));
        // A thousand classes are no table.
        let every = plain || labels || (self.top.is_none() && self.names.len() <= 100);
        let most = self.top.unwrap_or(USUAL).min(self.names.len());
        let mut csv = csv::Writer::from_writer(Vec::new());
        let mut header = vec![self.key.to_owned()];
        let pairs = samples.iter().any(|sample| sample.rel.contains(PAIR));
        header.extend(pairs.then(|| "pair".to_owned()));
        match (plain, labels, every) {
            (true, ..) => {}
            (_, true, _) => header.push("labels".to_owned()),
            (.., true) => header.extend(["class", "probability"].map(str::to_owned)),
            _ => header.extend((1..=most).flat_map(|i| [format!("class {i}"), format!("probability {i}")])),
        }
        header.extend(self.names.iter().filter(|_| every).cloned());
        csv.write_record(&header)?;
        for (sample, row) in samples.iter().zip(rows) {
            let (text, pair) = sample.rel.split_once(PAIR).unwrap_or((&sample.rel, ""));
            let mut cells = vec![text.to_owned()];
            cells.extend(pairs.then(|| pair.to_owned()));
            let said = self.said(row);
            match (plain, labels, every) {
                (true, ..) => {}
                (_, true, _) => {
                    let said: Vec<&str> = said.iter().map(|&i| self.names[i].as_str()).collect();
                    cells.push(said.join("|"));
                }
                (.., true) => match said.first() {
                    Some(&i) => cells.extend([self.names[i].clone(), row[i].to_string()]),
                    None => cells.extend([String::new(), String::new()]),
                },
                _ => (0..most).for_each(|rank| match said.get(rank) {
                    Some(&i) => cells.extend([self.names[i].clone(), row[i].to_string()]),
                    None => cells.extend([String::new(), String::new()]),
                }),
            }
            cells.extend(row.iter().filter(|_| every).map(f32::to_string));
            csv.write_record(&cells)?;
        }
        Ok(String::from_utf8(csv.into_inner().map_err(|error| anyhow::anyhow!("{error}"))?)?)
    }
}

/// A name in `most` columns: of a file its end, of a text its beginning.
pub(crate) fn shortened(name: String, most: usize, is_file: bool) -> String {
    if console::measure_text_width(&name) <= most {
        return name;
    }
    let mut chars: Vec<char> = name.chars().collect();
    while !chars.is_empty() && console::measure_text_width(&chars.iter().collect::<String>()) >= most {
        chars.remove(if is_file { 0 } else { chars.len() - 1 });
    }
    let rest: String = chars.into_iter().collect();
    if is_file { format!("…{rest}") } else { format!("{rest}…") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_says_the_same() {
        let names = ["a", "b, or c", "d"].map(str::to_owned);
        let samples =
            [crate::predict::unlabelled("x.jpg".into()), crate::predict::unlabelled("ü.jpg".into())];
        let rows = [vec![0.125, 0.625, 0.25], vec![0.5, 0.25, 0.25]];
        let saying =
            Saying { names: &names, task: None, raw: false, top: Some(2), threshold: Some(0.5), key: "file" };
        let text = |saying: Saying<'_>, format| saying.text(format, &samples, &rows).unwrap();
        assert_eq!(text(saying, Format::Lines), "x.jpg\tb, or c 0.6250\nü.jpg\ta 0.5000\n");
        let json = "{\"file\":\"x.jpg\",\"top\":[{\"class\":\"b, or c\",\"probability\":0.625}]}\n";
        assert!(text(saying, Format::Json).starts_with(json));
        assert_eq!(
            text(saying, Format::Table),
            "file   says, and how surely\nx.jpg  b, or c 0.6250\nü.jpg  a 0.5000\n"
        );
        let narrow = Saying { threshold: None, ..saying }
            .table(&samples, &rows, Some(24))
            .lines()
            .collect::<Vec<_>>()
            .join("\n");
        assert_eq!(
            narrow,
            "file   says, and how\n       surely\nx.jpg  b, or c 0.6250, d\n       0.2500\nü.jpg  a 0.5000, b, or c\n       0.2500"
        );
        assert_eq!(shortened("folder/image.jpg".to_owned(), 10, true), "…image.jpg");
        assert_eq!(shortened("A wonderful film.".to_owned(), 10, false), "A wonderf…");
        assert_eq!(shortened("x.jpg".to_owned(), 5, true), "x.jpg");
        let ranked =
            "file,class 1,probability 1,class 2,probability 2\nx.jpg,\"b, or c\",0.625,,\nü.jpg,a,0.5,,\n";
        assert_eq!(text(saying, Format::Csv), ranked);
        let all = Saying { top: None, threshold: None, ..saying };
        assert!(
            text(all, Format::Csv)
                .starts_with("file,class,probability,a,\"b, or c\",d\nx.jpg,\"b, or c\",0.625,0.125,")
        );
        let labels = Saying { task: Some(Task::MultiLabel { labels: 3 }), ..all };
        assert_eq!(text(labels, Format::Lines), "x.jpg\tb, or c 0.6250\nü.jpg\ta 0.5000\n");
        let none = Saying { threshold: Some(0.9), ..labels };
        assert_eq!(text(none, Format::Lines), "x.jpg\t-\nü.jpg\t-\n");
        let numbers = Saying { task: Some(Task::Regression { targets: 3 }), ..all };
        assert_eq!(text(numbers, Format::Csv).lines().next(), Some("file,a,\"b, or c\",d"));
        assert!(text(numbers, Format::Lines).contains("x.jpg\ta = 0.125, b, or c = 0.625"));
    }
}

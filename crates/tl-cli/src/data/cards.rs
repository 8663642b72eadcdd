//! Cards of datasets: what they are, their licence, and where they come from. The decision: a card is data in a JSON
//! file, so that a group can keep its own list beside the one that comes along.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tl_data::collected::nearest;
use tl_data::shown;

/// The list that comes along.
const KNOWN: &str = include_str!("../../../../datasets/cards.json");

/// A public dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Card {
    /// Kebab-case and unique.
    pub(crate) name: String,
    pub(crate) title: String,
    /// Where it is described.
    pub(crate) home: String,
    pub(crate) licence: String,
    pub(crate) classes: u32,
    pub(crate) images: u32,
    pub(crate) archives: Vec<Archive>,
    /// The folder inside of the archives that holds the class folders, or train/ and val/.
    pub(crate) folder: String,
    /// Where the class of a file is, if not in its folder.
    #[serde(default)]
    pub(crate) class_from: Option<ClassFrom>,
}

/// A zip, tar or tar.gz file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Archive {
    pub(crate) url: String,
    #[serde(default)]
    pub(crate) sha256: Option<String>,
    /// What older publishers state.
    #[serde(default)]
    pub(crate) md5: Option<String>,
    /// Its length, for a person to know beforehand.
    #[serde(default)]
    pub(crate) bytes: Option<u64>,
}

/// Where the class of a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ClassFrom {
    /// `Abyssinian_12.jpg` is an `Abyssinian`.
    NameBeforeLastUnderscore,
}

/// The cards of `file`, or those that come along.
pub(crate) fn read(file: Option<&Path>) -> anyhow::Result<Vec<Card>> {
    let cards: Vec<Card> = match file {
        None => serde_json::from_str(KNOWN).context("the list of datasets is damaged")?,
        Some(path) => tl_run::RunDir::read_json(path, "list of datasets")?,
    };
    let problems = problems(&cards);
    if problems.is_empty() {
        return Ok(cards);
    }
    let list = file.map(|path| format!(" `{}`", path.display())).unwrap_or_default();
    anyhow::bail!("the list of datasets{list} cannot be used:\n  - {}", problems.join("\n  - "))
}

/// All that is wrong with a list.
fn problems(cards: &[Card]) -> Vec<String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let inside = |part| matches!(part, std::path::Component::Normal(_));
    let hex = |sum: &Option<String>, length: usize| {
        sum.as_ref().is_none_or(|sum| sum.len() == length && sum.chars().all(|c| c.is_ascii_hexdigit()))
    };
    let mut problems = Vec::new();
    let mut known = BTreeSet::new();
    for card in cards {
        let mut add = |what: String| problems.push(format!("dataset `{}`: {what}", shown(&card.name)));
        if card.name.is_empty() || !card.name.chars().all(plain) {
            add("its name is not of small letters, digits and dashes".to_owned());
        }
        if !known.insert(&card.name) {
            add("its name comes twice".to_owned());
        }
        if card.classes == 0 || card.images < card.classes {
            add(format!("{} images of {} classes", card.images, card.classes));
        }
        if !Path::new(&card.folder).components().all(inside) {
            add(format!("its folder `{}` leads out of the archive", card.folder));
        }
        if card.archives.is_empty() {
            add("it has no archives".to_owned());
        }
        for archive in &card.archives {
            let url = archive.url.to_ascii_lowercase();
            let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
            if host.is_none_or(|host| host.is_empty() || host.starts_with('/')) {
                add(format!("`{}` is no http or https address", archive.url));
            }
            if !hex(&archive.sha256, 64) {
                add(format!("the sha256 of `{}` is not 64 hex digits", archive.url));
            }
            if !hex(&archive.md5, 32) {
                add(format!("the md5 of `{}` is not 32 hex digits", archive.url));
            }
        }
    }
    problems
}

/// The card of that name.
pub(crate) fn find(cards: Vec<Card>, name: &str) -> anyhow::Result<Card> {
    let names: Vec<String> = cards.iter().map(|card| card.name.clone()).collect();
    cards.into_iter().find(|card| card.name == name).with_context(|| {
        let near = nearest(name, names.iter().map(String::as_str));
        let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
        format!("there is no dataset `{name}`\n\nhint: {near}there are: {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_that_comes_along_is_sound() {
        let cards = read(None).unwrap();
        assert!(cards.len() > 10 && cards.iter().all(|card| card.classes > 1));
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let good = serde_json::json!({
            "name": "a", "title": "", "home": "", "licence": "", "classes": 2, "images": 9, "folder": "a/b",
            "archives": [{ "url": "HTTPS://host/a.zip", "sha256": "aB".repeat(32), "bytes": 7 }],
        });
        let with = |key: &str, value: serde_json::Value| {
            let mut card = good.clone();
            card[key] = value;
            card
        };
        let archive = |key: &str, value: &str| {
            let mut archive = serde_json::json!({ "url": "http://host/a.zip" });
            archive[key] = value.into();
            with("archives", serde_json::json!([archive]))
        };
        let cases = [
            (with("name", "A b".into()), "its name is not of small letters"),
            (with("folder", "../x".into()), "its folder `../x` leads out"),
            (with("archives", serde_json::json!([])), "it has no archives"),
            (with("classes", 0.into()), "9 images of 0 classes"),
            (archive("url", "ftp://host/a.zip"), "`ftp://host/a.zip` is no http or https address"),
            (archive("url", "https://"), "`https://` is no http or https address"),
            (archive("sha256", &"g".repeat(64)), "the sha256 of `http://host/a.zip` is not 64 hex digits"),
            (archive("md5", "abc"), "the md5 of `http://host/a.zip` is not 32 hex digits"),
        ];
        let parse = |card: &serde_json::Value| serde_json::from_value::<Card>(card.clone()).unwrap();
        assert!(problems(&[parse(&good)]).is_empty());
        for (card, expected) in &cases {
            let problems = problems(&[parse(card)]);
            assert!(problems.len() == 1 && problems[0].contains(expected), "{expected}: {problems:?}");
        }
        let dir = std::env::temp_dir().join(format!("tl-cards-{}.json", std::process::id()));
        let all: Vec<_> = cases.iter().map(|(card, _)| card.clone()).chain([good.clone()]).collect();
        std::fs::write(&dir, serde_json::to_string(&all).unwrap()).unwrap();
        let error = read(Some(&dir)).unwrap_err().to_string();
        std::fs::remove_file(&dir).unwrap();
        // Those above, and the name that all but one share.
        assert_eq!(error.matches("\n  - ").count(), cases.len() + 7, "{error}");
    }

    #[test]
    fn a_name_that_comes_close() {
        let error = find(read(None).unwrap(), "flower-photo").unwrap_err().to_string();
        assert!(error.contains("did you mean `flower-photos`? there are: hymenoptera"), "{error}");
    }
}

//! Cards of datasets: what they are, their licence, and where they come from. The decision: a card is data in a JSON
//! file, so that a group can keep its own list beside the one that comes along.

use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

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
    for card in &cards {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let inside = |part| matches!(part, std::path::Component::Normal(_));
        anyhow::ensure!(
            !card.name.is_empty() && card.name.chars().all(plain),
            "dataset `{}`: its name is not of small letters, digits and dashes",
            card.name
        );
        anyhow::ensure!(
            Path::new(&card.folder).components().all(inside) && !card.archives.is_empty(),
            "dataset `{}`: it has no archives, or its folder `{}` leads out",
            card.name,
            card.folder
        );
    }
    Ok(cards)
}

/// The card of that name.
pub(crate) fn find(cards: Vec<Card>, name: &str) -> anyhow::Result<Card> {
    let names: Vec<String> = cards.iter().map(|card| card.name.clone()).collect();
    cards
        .into_iter()
        .find(|card| card.name == name)
        .with_context(|| format!("there is no dataset `{name}`\n\nhint: there are: {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_that_comes_along_is_sound() {
        let cards = read(None).unwrap();
        let names: std::collections::BTreeSet<&str> = cards.iter().map(|card| card.name.as_str()).collect();
        assert_eq!(names.len(), cards.len());
        for card in &cards {
            assert!(card.classes > 1 && card.images > card.classes, "{}", card.name);
            for archive in &card.archives {
                let hex = |sum: &Option<String>, n| sum.as_ref().is_none_or(|sum| sum.len() == n);
                assert!(hex(&archive.sha256, 64) && hex(&archive.md5, 32), "{}", card.name);
            }
        }
    }
}

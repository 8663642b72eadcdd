//! `tl data fetch`: a public dataset onto this machine, ready for `--data`.
//!
//! Everything happens in a folder beside the destination, which gets its name only when the images are in place: a
//! download that breaks off is gone on with the next time, and a dataset is there whole or not at all.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::json;
use tl_fetch::Limits;

use super::cards::{self, Archive, Card, ClassFrom};
use crate::args::{DataFetchArgs, DataListArgs};
use crate::ui::{self, Ui, show_fetch};

pub(crate) fn list(args: &DataListArgs) -> anyhow::Result<()> {
    let cards = cards::read(args.cards.as_deref())?;
    let root = default_root()?;
    if args.json {
        let row = |card: &Card| {
            let here = root.join(&card.name);
            json!({ "card": card, "here": here.is_dir().then_some(here) })
        };
        let rows: Vec<_> = cards.iter().map(row).collect();
        return ui::print(&(serde_json::to_string_pretty(&rows)? + "\n"));
    }
    let mut text = String::new();
    for card in &cards {
        let here = if root.join(&card.name).is_dir() { " (here)" } else { "" };
        text.push_str(&format!("{}{here}\n    {}\n    licence: {}\n", card.name, card.title, card.licence));
    }
    ui::print(&text)
}

pub(crate) fn run(args: &DataFetchArgs) -> anyhow::Result<()> {
    let ui = RefCell::new(Ui::new());
    let card = cards::find(cards::read(args.cards.as_deref())?, &args.name)?;
    let dest = match &args.dir {
        Some(dir) => dir.clone(),
        None => default_root()?.join(&card.name),
    };
    if dest.symlink_metadata().is_ok() {
        anyhow::ensure!(args.dir.is_none(), "`{}` exists\n\nhint: give another --dir", dest.display());
        ui.borrow().line(&format!("`{}` is here already", card.name));
        return ui::print(&format!("{}\n", dest.display()));
    }
    ui.borrow().line(&format!("dataset    {}: {}", card.name, card.title));
    ui.borrow().line(&format!("licence    {} ({})", card.licence, card.home));
    let work = beside(&dest)?;
    fs::create_dir_all(&work).with_context(|| format!("failed to make `{}`", work.display()))?;
    let result = bring(&card, &work, &dest, &ui);
    ui.borrow_mut().stop();
    result?;
    let _ = fs::remove_dir_all(&work);
    ui.borrow().line(&format!("use it     tl finetune --data {}", dest.display()));
    ui::print(&format!("{}\n", dest.display()))
}

/// Where datasets are kept.
fn default_root() -> anyhow::Result<PathBuf> {
    Ok(tl_fetch::home()?.join("datasets"))
}

/// The folder to work in: the same for the same destination, so that a broken download is found again.
fn beside(dest: &Path) -> anyhow::Result<PathBuf> {
    let name = dest.file_name().with_context(|| format!("`{}` is no name for a folder", dest.display()))?;
    Ok(dest.with_file_name(format!(".{}.part", name.to_string_lossy())))
}

fn bring(card: &Card, work: &Path, dest: &Path, ui: &RefCell<Ui>) -> anyhow::Result<()> {
    let whole = work.join("images");
    let _ = fs::remove_dir_all(&whole);
    for (i, archive) in card.archives.iter().enumerate() {
        let file = work.join(format!("{i}-{}", file_name(&archive.url)));
        tl_fetch::http(&archive.url, &file, archive.sha256.as_deref(), &show_fetch(ui))?;
        check(archive, &file)?;
        let out = if i == 0 { whole.clone() } else { work.join(format!("more-{i}")) };
        let _ = fs::remove_dir_all(&out);
        tl_fetch::extract(&file, &out, Limits::default(), &show_fetch(ui))?;
        if i > 0 {
            merge(&out, &whole)?;
        }
    }
    let folder = whole.join(&card.folder);
    anyhow::ensure!(
        folder.is_dir(),
        "`{}` was fetched, but has no folder `{}`\n\nhint: it has changed where it is published",
        card.name,
        card.folder
    );
    if card.class_from == Some(ClassFrom::NameBeforeLastUnderscore) {
        into_class_folders(&folder)?;
    }
    fs::rename(&folder, dest).with_context(|| format!("failed to write `{}`", dest.display()))
}

/// A file that is not the published one is removed, so that the next try begins anew.
fn check(archive: &Archive, file: &Path) -> anyhow::Result<()> {
    let Some(expected) = &archive.md5 else { return Ok(()) };
    let got = tl_fetch::md5_file(file)?;
    if got.eq_ignore_ascii_case(expected) {
        return Ok(());
    }
    fs::remove_file(file).with_context(|| format!("failed to remove `{}`", file.display()))?;
    anyhow::bail!(
        "`{}` has MD5 {got}, expected {expected}\n\nhint: it was damaged on the way, or has changed; try again",
        archive.url
    )
}

/// Puts every file into the folder of its class, which its name begins with. Other files stay.
fn into_class_folders(folder: &Path) -> anyhow::Result<()> {
    let failed = || format!("failed to sort `{}` into classes", folder.display());
    for entry in fs::read_dir(folder).with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        let image = path.extension().and_then(|extension| extension.to_str()).is_some_and(|extension| {
            tl_data::folder::EXTENSIONS.contains(&extension.to_ascii_lowercase().as_str())
        });
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        if let (true, Some((class, _)), Some(name)) =
            (image, stem.and_then(|stem| stem.rsplit_once('_')), path.file_name())
        {
            let class = folder.join(class);
            fs::create_dir_all(&class).with_context(failed)?;
            fs::rename(&path, class.join(name)).with_context(failed)?;
        }
    }
    Ok(())
}

/// Moves what is in `from` into `to`; folders of one name become one.
fn merge(from: &Path, to: &Path) -> anyhow::Result<()> {
    let failed = || format!("failed to join `{}` and `{}`", from.display(), to.display());
    fs::create_dir_all(to).with_context(failed)?;
    for entry in fs::read_dir(from).with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        let place = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() && place.is_dir() {
            merge(&path, &place)?;
        } else {
            anyhow::ensure!(!place.exists(), "`{}` comes twice in the archives", place.display());
            fs::rename(&path, &place).with_context(failed)?;
        }
    }
    Ok(())
}

fn file_name(url: &str) -> String {
    let name = url.split(['?', '#']).next().and_then(|url| url.rsplit('/').next()).unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    name.chars().map(plain).collect()
}

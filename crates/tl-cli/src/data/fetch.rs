//! `tl data fetch`: a public dataset onto this machine, ready for `--data`.
//!
//! Everything happens in a folder beside the destination, which gets its name only when the images are in place: a
//! download that breaks off is gone on with the next time, and a dataset is there whole or not at all. All archives are
//! here before the first is extracted, and none is asked for twice.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::json;
use tl_data::folder::EXTENSIONS;
use tl_data::{Dataset, SplitOptions};
use tl_fetch::{Limits, Lock};

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
        return ui::print_json(&rows);
    }
    let mut text = String::new();
    for card in &cards {
        let here = if root.join(&card.name).is_dir() { " (here)" } else { "" };
        let bytes: Option<u64> = card.archives.iter().map(|archive| archive.bytes).sum();
        let size = bytes.map(|bytes| format!("    download: {}\n", ui::bytes(bytes))).unwrap_or_default();
        let Card { name, title, licence, .. } = card;
        text.push_str(&format!("{name}{here}\n    {title}\n{size}    licence: {licence}\n"));
    }
    text.push_str("\nfetch one: tl data fetch NAME\n");
    ui::print_tables(&text)
}

pub(crate) fn run(args: &DataFetchArgs) -> anyhow::Result<()> {
    let ui = RefCell::new(Ui::new());
    let card = cards::find(cards::read(args.cards.as_deref())?, &args.name)?;
    let dest = match &args.dir {
        Some(dir) => dir.clone(),
        None => default_root()?.join(&card.name),
    };
    if is_here(args, &card, &dest, &ui)? {
        return Ok(());
    }
    let work = beside(&dest)?;
    let wait = || ui.borrow().line("waiting    another process is fetching this dataset");
    let _lock = Lock::acquire(&work.with_extension("part.lock"), &wait)?;
    // It may have come while this process waited.
    if is_here(args, &card, &dest, &ui)? {
        return Ok(());
    }
    ui.borrow().line(&format!("dataset    {}: {}", card.name, card.title));
    ui.borrow().line(&format!("licence    {} ({})", card.licence, card.home));
    fs::create_dir_all(&work).with_context(|| format!("failed to make `{}`", work.display()))?;
    let result = bring(&card, &work, &dest, &ui);
    ui.borrow_mut().stop();
    result?;
    let _ = fs::remove_dir_all(&work);
    if let Some(warning) = differs(&card, &dest) {
        ui.borrow().line(&format!("warning: {warning}"));
    }
    ui.borrow().line(&format!("use it     tl finetune --data {}", ui::word(&dest)));
    ui::print(&format!("{}\n", dest.display()))
}

/// Whether there is nothing to do. A folder that was asked for by name must not exist.
fn is_here(args: &DataFetchArgs, card: &Card, dest: &Path, ui: &RefCell<Ui>) -> anyhow::Result<bool> {
    if dest.symlink_metadata().is_err() {
        return Ok(false);
    }
    anyhow::ensure!(args.dir.is_none(), "`{}` exists\n\nhint: give another --dir", dest.display());
    ui.borrow().line(&format!("`{}` is here already", card.name));
    ui::print(&format!("{}\n", dest.display()))?;
    Ok(true)
}

/// What is not as the card says.
fn differs(card: &Card, dest: &Path) -> Option<String> {
    let name = &card.name;
    match Dataset::open(dest, &SplitOptions::default()) {
        Err(error) => Some(format!("`{name}` is not as expected: {error}")),
        Ok(folder) => {
            let images = folder.train.len() + folder.val.len() + folder.test.len();
            let (got, expected) =
                ((images, folder.classes.len()), (card.images as usize, card.classes as usize));
            (got != expected).then(|| {
                format!(
                    "`{name}` has {} images of {} classes (expected {} of {}): it may have changed where it is \
                     published",
                    got.0, got.1, expected.0, expected.1
                )
            })
        }
    }
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
    tidy(work)?;
    let whole = work.join("images");
    let mut files = Vec::new();
    for (i, archive) in card.archives.iter().enumerate() {
        let file = work.join(format!("{i}-{}", file_name(&archive.url)));
        download(archive, &file, ui)?;
        files.push(file);
    }
    for (i, file) in files.iter().enumerate() {
        let out = if i == 0 { whole.clone() } else { work.join(format!("more-{i}")) };
        let _ = fs::remove_dir_all(&out);
        tl_fetch::extract(file, &out, Limits::default(), &ui::show(ui, "extracting"))?;
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

/// Removes what a process that was ended has left half extracted.
fn tidy(work: &Path) -> anyhow::Result<()> {
    let failed = || format!("failed to tidy up `{}`", work.display());
    for entry in fs::read_dir(work).with_context(failed)? {
        let entry = entry.with_context(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(".extract-") || name == "images" {
            fs::remove_dir_all(entry.path()).with_context(failed)?;
        }
    }
    Ok(())
}

/// Gets an archive, unless it is here: with its checksum, or, where the card states none, with the length that it had
/// when it was complete.
fn download(archive: &Archive, file: &Path, ui: &RefCell<Ui>) -> anyhow::Result<()> {
    let Archive { url, sha256, md5, .. } = archive;
    let mut done = file.as_os_str().to_owned();
    done.push(".done");
    let done = PathBuf::from(done);
    let note = |length: u64| format!("{length} {url}\n");
    let length = file.metadata().ok().filter(fs::Metadata::is_file).map(|metadata| metadata.len());
    // With a sha256, the download itself looks.
    let here = match (sha256, md5, length) {
        (None, Some(md5), Some(_)) => tl_fetch::md5_file(file)?.eq_ignore_ascii_case(md5),
        (None, None, Some(length)) => fs::read_to_string(&done).is_ok_and(|text| text == note(length)),
        _ => false,
    };
    if here {
        return Ok(());
    }
    let fetched = tl_fetch::http(url, file, sha256.as_deref(), &show_fetch(ui))?;
    match (sha256, md5) {
        (None, Some(md5)) => check(url, md5, file),
        (None, None) => Ok(tl_fetch::write_whole(&done, note(fetched.bytes).as_bytes())?),
        _ => Ok(()),
    }
}

/// A file that is not the published one is removed, so that the next try begins anew.
fn check(url: &str, expected: &str, file: &Path) -> anyhow::Result<()> {
    let got = tl_fetch::md5_file(file)?;
    if got.eq_ignore_ascii_case(expected) {
        return Ok(());
    }
    fs::remove_file(file).with_context(|| format!("failed to remove `{}`", file.display()))?;
    anyhow::bail!(
        "`{url}` has MD5 {got}, expected {expected}\n\nhint: it was damaged on the way, or has changed; try again"
    )
}

/// Puts every file into the folder of its class, which its name begins with. Other files stay.
fn into_class_folders(folder: &Path) -> anyhow::Result<()> {
    let failed = || format!("failed to sort `{}` into classes", folder.display());
    for entry in fs::read_dir(folder).with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        let image = path
            .extension()
            .and_then(|extension| extension.to_str())
            .is_some_and(|extension| EXTENSIONS.contains(&extension.to_ascii_lowercase().as_str()));
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

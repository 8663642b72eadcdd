//! What was found out about computing a net on this machine, kept from one command to the next.
//!
//! The decision behind it: the figures of a run depend on how its net is computed, down to the last bits, and of two ways
//! that are about equally fast each may win the next time. So the same command finds what it found the first time. A file
//! is named by a hash of all that the choice depends on, and can be deleted at any time.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tl_train::Choice;

use crate::machine;
use crate::ui::Ui;

/// What is in a file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remembered {
    /// What the choice depends on.
    about: Value,
    /// When it was made, UTC.
    found: String,
    choice: Choice,
}

/// What an earlier command found `about` the same, or what `find` finds, and says it.
///
/// # Errors
/// Those of `find`. What cannot be read or written costs time and nothing else.
pub(crate) fn choice(
    about: Value,
    ui: &Ui,
    find: impl FnOnce() -> anyhow::Result<Choice>,
) -> anyhow::Result<Choice> {
    let dir = tl_weights::Cache::default_location().map(|cache| cache.root().with_file_name("choices"));
    let about = serde_json::json!({ "version": machine::version(), "about": about });
    let file = dir.ok().map(|dir| place(&dir, &about));
    if let Some((file, known)) = file.as_ref().and_then(|file| Some((file, read(file, &about)?))) {
        say(&known.choice, ui);
        if !known.choice.why.is_empty() {
            let day = known.found.split('T').next().unwrap_or_default();
            ui.line(&format!("           (found on {day}; delete {} to try again)", file.display()));
        }
        return Ok(known.choice);
    }
    let choice = find()?;
    say(&choice, ui);
    if let Some(file) = file.filter(|_| !choice.why.is_empty()) {
        write(&file, about, &choice);
    }
    Ok(choice)
}

/// A line for each thing that was found.
fn say(choice: &Choice, ui: &Ui) {
    for (i, why) in choice.why.iter().enumerate() {
        ui.line(&format!("{:<10} {why}", if i == 0 { "compute" } else { "" }));
    }
}

fn place(dir: &Path, about: &Value) -> PathBuf {
    let hash = Sha256::digest(about.to_string());
    let name: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    dir.join(name + ".json")
}

fn read(file: &Path, about: &Value) -> Option<Remembered> {
    let known: Remembered = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    (known.about == *about).then_some(known)
}

fn write(file: &Path, about: Value, choice: &Choice) {
    let found = tl_run::utc_now()["long"].clone();
    let known = Remembered { about, found, choice: choice.clone() };
    if let Ok(text) = serde_json::to_vec_pretty(&known) {
        // The next command finds it out again.
        let _ = tl_fetch::write_whole(file, &text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let (about, other) = (serde_json::json!({ "a": 1 }), serde_json::json!({ "a": 2 }));
        let file = place(dir.path(), &about);
        assert_ne!(file, place(dir.path(), &other));
        assert!(read(&file, &about).is_none());
        let choice = Choice { why: vec!["bf16".to_owned()], ..Choice::default() };
        write(&file, about.clone(), &choice);
        assert_eq!(read(&file, &about).unwrap().choice, choice);
        assert!(read(&file, &other).is_none());
        std::fs::write(&file, "{").unwrap();
        assert!(read(&file, &about).is_none());
    }
}

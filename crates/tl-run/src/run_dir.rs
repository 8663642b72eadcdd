//! The directory itself: made only when there is something to say, never written over. Whoever writes to it holds its
//! lock, which the system lets go of when the process ends, however it ends.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::atomic::write_whole;
use crate::error::RunError;
use crate::events::{self, EVENTS};
use crate::plot::PlotFile;
use crate::records::{EpochRow, Prediction};

/// A run directory being written.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    metrics: String,
    /// Held as long as the run is written.
    _lock: File,
}

const METRICS: &str = "metrics.jsonl";
pub(crate) const LOCK: &str = "run.lock";
/// What a run writes before its spec, with which it has begun.
const START: [&str; 6] = [LOCK, "excluded.txt", "plan.txt", "manifest.json", "split.json", "classes.txt"];
/// How the names of files begin that are not whole.
const UNNAMED: [&str; 2] = [".tmp-", ".weights-"];

impl RunDir {
    /// Makes the directory (and those above it). That of a run that never began is taken as if it were not there.
    ///
    /// # Errors
    /// It exists already, or cannot be made.
    pub fn create(path: &Path) -> Result<Self, RunError> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| RunError::io("create", parent, error))?;
        }
        match fs::create_dir(path) {
            Ok(()) => Ok(Self { path: path.to_owned(), metrics: String::new(), _lock: lock(path)? }),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                if !Self::never_began(path) {
                    return Err(RunError::Exists { path: path.to_owned() });
                }
                let dir = Self::reopen(path)?;
                START.iter().filter(|name| **name != LOCK).try_for_each(|name| dir.remove(name))?;
                Ok(dir)
            }
            Err(error) => Err(RunError::io("create", path, error)),
        }
    }

    /// Whether it is the directory of a run that was killed before its spec was written, and holds nothing else.
    #[must_use]
    pub fn never_began(path: &Path) -> bool {
        let Ok(entries) = fs::read_dir(path) else { return false };
        let of_start =
            |name: &str| START.contains(&name) || UNNAMED.iter().any(|prefix| name.starts_with(prefix));
        path.join(LOCK).is_file()
            && entries
                .into_iter()
                .all(|entry| entry.is_ok_and(|e| e.file_name().to_str().is_some_and(of_start)))
    }

    /// Opens the directory of a run that did not reach its end, to go on with it.
    ///
    /// # Errors
    /// It is not there, or another process is writing to it.
    pub fn reopen(path: &Path) -> Result<Self, RunError> {
        let dir = Self { path: path.to_owned(), metrics: String::new(), _lock: lock(path)? };
        // What was being written when the process was killed never got its name.
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if UNNAMED.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(dir)
    }

    /// The epochs of the run in `path`, none if it has none yet.
    ///
    /// # Errors
    /// The record cannot be read, or a line of it is no epoch.
    pub fn read_epochs(path: &Path) -> Result<Vec<EpochRow>, RunError> {
        let file = path.join(METRICS);
        let text = match fs::read_to_string(&file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            text => text.map_err(|error| RunError::io("read", &file, error))?,
        };
        let parse = |(i, line): (usize, &str)| {
            serde_json::from_str(line).map_err(|error| RunError::Invalid {
                path: file.clone(),
                what: "record of epochs",
                reason: format!("line {}: {error}", i + 1),
            })
        };
        text.lines().enumerate().map(parse).collect()
    }

    /// Keeps the first `epochs` epochs of the record and drops those after them.
    ///
    /// # Errors
    /// The records cannot be read or are fewer, or the disk refuses.
    pub fn keep_epochs(&mut self, epochs: u32) -> Result<Vec<EpochRow>, RunError> {
        let file = self.path.join(METRICS);
        let mut rows = Self::read_epochs(&self.path)?;
        rows.truncate(epochs as usize);
        if rows.len() < epochs as usize {
            let reason = format!("it has {} epochs, the checkpoint {epochs}", rows.len());
            return Err(RunError::Invalid { path: file, what: "record of epochs", reason });
        }
        self.metrics = rows.iter().map(|row| to_json(row, &file, false)).collect::<Result<_, _>>()?;
        self.write_text(METRICS, &self.metrics)?;
        self.keep_events(&rows)?;
        Ok(rows)
    }

    /// Cuts the events after these epochs; a file that has not all of them is made again, with the time of now.
    fn keep_events(&self, rows: &[EpochRow]) -> Result<(), RunError> {
        let there = fs::read(self.path.join(EVENTS)).unwrap_or_default();
        let whole = match events::prefix(&there, rows.len() + 1) {
            Some(whole) => whole.to_vec(),
            None => {
                let records = rows.iter().map(|row| events::epoch(row, seconds_now()));
                std::iter::once(events::header(seconds_now())).chain(records).collect::<Vec<_>>().concat()
            }
        };
        write_whole(&self.path.join(EVENTS), |file| file.write_all(&whole))
    }

    /// Adds an epoch to the events, which are not written anew for it: TensorBoard follows the file that it has open.
    fn add_event(&self, row: &EpochRow) -> Result<(), RunError> {
        let path = self.path.join(EVENTS);
        let failed = |error| RunError::io("write", &path, error);
        let mut file = File::options().create(true).append(true).open(&path).map_err(failed)?;
        let mut records = Vec::new();
        if file.metadata().map_err(failed)?.len() == 0 {
            records = events::header(seconds_now());
        }
        records.extend(events::epoch(row, seconds_now()));
        file.write_all(&records).map_err(failed)
    }

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), RunError> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(RunError::io("remove", &path, error))
            }
            _ => Ok(()),
        }
    }

    /// The run has reached its end: nobody will write to it again.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn close(self) -> Result<(), RunError> {
        self.remove(LOCK)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the directory again: a run that has nothing to show leaves nothing behind.
    pub fn discard(&self) {
        // The directory was made here and holds nothing but this run's files. If it will not go, its spec says what it was.
        let _ = fs::remove_dir_all(&self.path);
    }

    /// Writes a text file.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn write_text(&self, name: &str, text: &str) -> Result<(), RunError> {
        write_whole(&self.path.join(name), |file| file.write_all(text.as_bytes()))
    }

    /// Writes indented JSON with a final newline.
    ///
    /// # Errors
    /// The disk refuses, or the value has no JSON form.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), RunError> {
        let json = to_json(value, &self.path.join(name), true)?;
        self.write_text(name, &json)
    }

    /// Adds one epoch to `metrics.jsonl` and to the events for TensorBoard.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn add_epoch(&mut self, row: &EpochRow) -> Result<(), RunError> {
        self.metrics.push_str(&to_json(row, &self.path.join(METRICS), false)?);
        self.write_text(METRICS, &self.metrics)?;
        self.add_event(row)
    }

    /// Writes the epochs as a table, `history.csv`: a row an epoch, metrics by their names. `unit` is what samples are
    /// called, `images` or `texts`.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn write_history(&self, rows: &[EpochRow], unit: &str) -> Result<(), RunError> {
        let (header, rows) = crate::records::history(rows, unit);
        self.write_table("history.csv", &header, &rows)
    }

    /// Writes plots into the folder `plots`.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn write_plots(&self, plots: &[PlotFile]) -> Result<(), RunError> {
        let dir = self.path.join("plots");
        fs::create_dir_all(&dir).map_err(|error| RunError::io("create", &dir, error))?;
        let write = |plot: &PlotFile| {
            let file = dir.join(format!("{}.svg", plot.name));
            write_whole(&file, |file| file.write_all(plot.svg.as_bytes()))
        };
        plots.iter().try_for_each(write)
    }

    /// Writes one line per image to the CSV file `name`.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn write_predictions(&self, name: &str, predictions: &[Prediction]) -> Result<(), RunError> {
        write_whole(&self.path.join(name), |file| {
            let mut csv = csv::Writer::from_writer(std::io::BufWriter::new(file));
            for prediction in predictions {
                csv.serialize(prediction).map_err(std::io::Error::other)?;
            }
            csv.flush()
        })
    }

    /// Writes a CSV file: names of columns, and rows of as many cells.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn write_table(&self, name: &str, header: &[String], rows: &[Vec<String>]) -> Result<(), RunError> {
        write_whole(&self.path.join(name), |file| {
            let mut csv = csv::Writer::from_writer(std::io::BufWriter::new(file));
            for row in std::iter::once(header).chain(rows.iter().map(Vec::as_slice)) {
                csv.write_record(row).map_err(std::io::Error::other)?;
            }
            csv.flush()
        })
    }

    /// Reads a JSON file.
    ///
    /// # Errors
    /// Missing, unreadable, or not what `what` should be; the error says where.
    pub fn read_json<T: DeserializeOwned>(path: &Path, what: &'static str) -> Result<T, RunError> {
        let text = fs::read_to_string(path).map_err(|error| RunError::io("read", path, error))?;
        serde_json::from_str(&text).map_err(|error| RunError::Invalid {
            path: path.to_owned(),
            what,
            reason: error.to_string(),
        })
    }
}

/// Deletes the directory of a run.
///
/// # Errors
/// It is none, a process is writing to it, or the disk refuses.
pub fn remove_run(path: &Path) -> Result<(), RunError> {
    if !crate::shelf::Run::is_at(path) {
        return Err(RunError::NoRun { path: path.to_owned() });
    }
    let _lock = lock(path)?;
    fs::remove_dir_all(path).map_err(|error| RunError::io("remove", path, error))
}

/// The right to write to the directory.
fn lock(path: &Path) -> Result<File, RunError> {
    let file = path.join(LOCK);
    let opened = File::options().create(true).append(true).open(&file);
    let opened = opened.map_err(|error| RunError::io("open", &file, error))?;
    match opened.try_lock() {
        Err(fs::TryLockError::WouldBlock) => Err(RunError::Busy { path: path.to_owned() }),
        // A file system without locks: the user has to see to it.
        Err(fs::TryLockError::Error(_)) | Ok(()) => Ok(opened),
    }
}

fn to_json(value: &impl Serialize, path: &Path, indented: bool) -> Result<String, RunError> {
    let json = if indented { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
    let mut json = json.map_err(|error| RunError::Invalid {
        path: path.to_owned(),
        what: "JSON value",
        reason: error.to_string(),
    })?;
    json.push('\n');
    Ok(json)
}

fn seconds_now() -> f64 {
    OffsetDateTime::now_utc().unix_timestamp_nanos() as f64 / 1e9
}

/// The time now, as `2026-01-31T23:59:58Z` and, for names, `20260131-235958`.
#[must_use]
pub fn utc_now() -> BTreeMap<&'static str, String> {
    let now = OffsetDateTime::now_utc();
    let long = now.format(format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z"));
    let short = now.format(format_description!("[year][month][day]-[hour][minute][second]"));
    BTreeMap::from([("long", long.unwrap_or_default()), ("short", short.unwrap_or_default())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_run_is_never_touched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runs").join("first");
        let run = RunDir::create(&path).unwrap();
        run.write_text("classes.txt", "ants\nbees\n").unwrap();
        let error = RunDir::create(&path).unwrap_err();
        assert!(error.to_string().starts_with("run directory `"), "{error}");
        assert_eq!(fs::read_to_string(path.join("classes.txt")).unwrap(), "ants\nbees\n");
    }

    #[test]
    fn a_run_is_reopened_by_one_at_a_time_and_with_the_epochs_it_had() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        let row = |epoch| EpochRow { epoch, phase: "head".to_owned(), ..EpochRow::default() };
        let mut run = RunDir::create(&path).unwrap();
        (1..=3).for_each(|epoch| run.add_epoch(&row(epoch)).unwrap());
        let error = RunDir::reopen(&path).unwrap_err();
        assert!(matches!(error, RunError::Busy { .. }), "{error}");
        drop(run);
        fs::write(path.join(".weights-x1"), "half").unwrap();
        let mut run = RunDir::reopen(&path).unwrap();
        assert_eq!(run.keep_epochs(2).unwrap(), [row(1), row(2)]);
        run.add_epoch(&row(3)).unwrap();
        assert_eq!(fs::read_to_string(path.join(METRICS)).unwrap().lines().count(), 3);
        let events = || fs::read(path.join(EVENTS)).unwrap();
        let whole = |records| events::prefix(&events(), records).map(<[u8]>::len);
        assert_eq!(whole(4), Some(events().len()), "a header and three epochs");
        // A file that was lost or cut is made again.
        fs::write(path.join(EVENTS), &events()[..30]).unwrap();
        run.keep_epochs(3).unwrap();
        assert_eq!(whole(4), Some(events().len()));
        run.close().unwrap();
        assert_eq!(fs::read_dir(&path).unwrap().count(), 2, "metrics and events alone");
        let error = RunDir::reopen(&path).unwrap().keep_epochs(4).unwrap_err().to_string();
        assert!(error.contains("it has 3 epochs, the checkpoint 4"), "{error}");
        assert!(RunDir::reopen(&dir.path().join("none")).is_err());
    }

    #[test]
    fn the_directory_of_a_run_that_never_began_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        let run = RunDir::create(&path).unwrap();
        run.write_text("plan.txt", "head").unwrap();
        fs::write(path.join(".tmp-x1"), "half").unwrap();
        // It is being written.
        assert!(matches!(RunDir::create(&path), Err(RunError::Busy { .. })));
        drop(run);
        assert!(RunDir::never_began(&path));
        let run = RunDir::create(&path).unwrap();
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "the lock alone");
        run.write_text("spec.json", "{}").unwrap();
        drop(run);
        assert!(matches!(RunDir::create(&path), Err(RunError::Exists { .. })));
        // A file of somebody else's, and a folder without the mark of a run.
        fs::rename(path.join("spec.json"), path.join("notes.txt")).unwrap();
        assert!(matches!(RunDir::create(&path), Err(RunError::Exists { .. })));
        let empty = dir.path().join("empty");
        fs::create_dir(&empty).unwrap();
        assert!(matches!(RunDir::create(&empty), Err(RunError::Exists { .. })));
    }

    #[test]
    fn a_broken_json_file_is_named_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.json");
        fs::write(&path, "{\n  \"classes\": [\n").unwrap();
        let error = RunDir::read_json::<Vec<u32>>(&path, "model description").unwrap_err().to_string();
        assert!(error.contains("model.json") && error.contains("line 1"), "{error}");
    }
}

//! Weights that lie in several files, named by an index (`model.safetensors.index.json`, `pytorch_model.bin.index.json`).
//! The decision: an index is one more file of weights. Who opens it sees all tensors, and need not know how many files
//! there are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use tl_fetch::Observer;

use crate::cache::Cache;
use crate::error::{WeightsError, io_error};
use crate::source::{Located, Source};

/// Longest index: a million tensors have less.
const MAX_INDEX: u64 = 100_000_000;

/// Which tensor is in which file.
#[derive(Debug, Deserialize)]
pub(crate) struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Index {
    /// The files, each once.
    pub(crate) fn files(&self) -> impl Iterator<Item = &String> {
        self.weight_map.values().collect::<BTreeSet<_>>().into_iter()
    }
}

/// The index in `path`; none if it is no text of JSON with a map of weights.
pub(crate) fn read(path: &Path) -> Result<Option<Index>, WeightsError> {
    let mut file = File::open(path).map_err(io_error("open", path))?;
    let about = file.metadata().map_err(io_error("open", path))?;
    let mut first = [0];
    if !about.is_file() || about.len() > MAX_INDEX || file.read_exact(&mut first).is_err() || first != *b"{" {
        return Ok(None);
    }
    let Ok(index) = serde_json::from_slice::<Index>(&fs::read(path).map_err(io_error("read", path))?) else {
        return Ok(None);
    };
    let malformed = |what: String| WeightsError::Malformed { path: path.to_owned(), what };
    if index.weight_map.is_empty() {
        return Err(malformed("it names no tensors".to_owned()));
    }
    // They lie beside it, and nowhere else.
    let inside = |name: &str| !name.contains(['/', '\\']) && !name.starts_with('.') && !name.is_empty();
    let stray = index.files().find(|name| !inside(name)).cloned();
    match stray {
        Some(name) => Err(malformed(format!("it names a file `{name}`, which leads out of its folder"))),
        None => Ok(Some(index)),
    }
}

/// Brings the files that an index names to where it lies, if `located` is an index; its sha256 is then that of all of them.
///
/// # Errors
/// One of them cannot be had.
pub fn fetch_shards(
    cache: &Cache,
    source: &Source,
    located: Located,
    observe: Observer<'_>,
) -> Result<Located, WeightsError> {
    let Some(index) = read(&located.path)? else { return Ok(located) };
    let mut hash = Sha256::new();
    hash.update(&located.sha256);
    let mut bytes = located.bytes;
    for name in index.files() {
        let beside = located.path.with_file_name(name);
        let shard = match source {
            Source::Hub { repo, revision, file } => {
                let file = Path::new(file.as_ref()).with_file_name(name).to_string_lossy().into_owned();
                let (repo, revision) = (repo.clone(), revision.clone());
                cache.fetch(&Source::Hub { repo, revision, file: file.into() }, None, observe)?
            }
            _ => cache.fetch(&Source::File(beside.clone()), None, observe)?,
        };
        if shard.path != beside && !beside.exists() {
            // A hub that does not say enough for its own cache: files have a folder each in ours.
            fs::hard_link(&shard.path, &beside)
                .or_else(|_| fs::copy(&shard.path, &beside).map(|_| ()))
                .map_err(io_error("write", &beside))?;
        }
        hash.update(&shard.sha256);
        bytes += shard.bytes;
    }
    let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Located { sha256, bytes, ..located })
}

#[cfg(test)]
mod tests {
    use crate::{WeightFile, quiet};

    use super::*;

    #[test]
    fn an_index_names_files_beside_it_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors.index.json");
        let fails = |map: &str| {
            fs::write(&path, format!(r#"{{"weight_map": {map}}}"#)).unwrap();
            WeightFile::open(&path).unwrap_err().to_string()
        };
        assert!(fails(r#"{"a": "../secret"}"#).contains("`../secret`, which leads out of its folder"));
        assert!(fails("{}").contains("it names no tensors"));
        assert!(fails(r#"{"a": "part.safetensors"}"#).contains("part.safetensors"));
        assert!(fails("3").contains("JSON text"));
        // Two files with one tensor of the same name.
        let tensor = || [("a".to_owned(), crate::DType::F32, vec![1], vec![0; 4])].into_iter();
        for name in ["x", "y"] {
            crate::write_safetensors(dir.path().join(name), tensor(), &BTreeMap::new()).unwrap();
        }
        assert!(fails(r#"{"a": "x", "b": "y"}"#).contains("tensor `a` is in several of its files"));
        fs::write(&path, r#"{"weight_map": {"a": "x"}}"#).unwrap();
        assert_eq!(WeightFile::open(&path).unwrap().read_f32("a").unwrap(), [0.0]);
        // What is in the files is in the sum.
        let (cache, source) = (Cache::open(dir.path().join("cache")), Source::File(path));
        let sum = |cache: &Cache| {
            let index = cache.fetch(&source, None, &quiet).unwrap();
            fetch_shards(cache, &source, index, &quiet).unwrap().sha256
        };
        let first = sum(&cache);
        fs::remove_file(dir.path().join("x")).unwrap();
        let other = [("a".to_owned(), crate::DType::F32, vec![1], vec![1; 4])].into_iter();
        crate::write_safetensors(dir.path().join("x"), other, &BTreeMap::new()).unwrap();
        assert_ne!(sum(&cache), first);
    }
}

//! Scalars for TensorBoard: records of its event files.
//!
//! The decision behind it: an event is a dozen fields of protocol buffers, written out here by their numbers, because the
//! crates for it bring a code generator or an old protobuf. One epoch is one record, so a file can be cut after any epoch.
//! Records carry checksums: a reader passes over one that is not whole yet.

use crate::records::EpochRow;

/// The file's name in the run directory; TensorBoard knows it by `tfevents`.
pub(crate) const EVENTS: &str = "events.out.tfevents.tl";

/// The record with which a file begins. `time` is in seconds since 1970.
pub(crate) fn header(time: f64) -> Vec<u8> {
    let mut event = Vec::new();
    double(&mut event, 1, time);
    bytes(&mut event, 3, b"brain.Event:2");
    record(&event)
}

/// An epoch as one record with a scalar for each of its figures.
pub(crate) fn epoch(row: &EpochRow, time: f64) -> Vec<u8> {
    let mut summary = Vec::new();
    let mut scalar = |tag: &str, value: Option<f64>| {
        let Some(value) = value else { return };
        let mut entry = Vec::new();
        bytes(&mut entry, 1, tag.as_bytes());
        key(&mut entry, 2, 5);
        entry.extend((value as f32).to_le_bytes());
        bytes(&mut summary, 1, &entry);
    };
    scalar("loss/train", Some(row.train_loss));
    scalar("loss/validation", Some(row.val_loss));
    scalar("accuracy/train", row.train_accuracy);
    scalar("accuracy/validation", row.val_accuracy);
    scalar("balanced-accuracy/validation", row.val_balanced_accuracy);
    for (name, value) in &row.metrics {
        scalar(&format!("{name}/validation"), Some(*value));
    }
    let of_classes = ["loss", "accuracy", "balanced-accuracy"];
    if !of_classes.contains(&row.monitor.as_str()) && !row.metrics.contains_key(&row.monitor) {
        scalar(&format!("{}/validation", row.monitor), row.monitored);
    }
    scalar("rate/head", row.rate_head);
    scalar("rate/last-stage", row.rate_last_stage);
    scalar("speed/images-per-second", Some(row.images_per_second));
    scalar("speed/seconds", Some(row.seconds));
    let mut event = Vec::new();
    double(&mut event, 1, time);
    key(&mut event, 2, 0);
    varint(&mut event, u64::from(row.epoch));
    bytes(&mut event, 5, &summary);
    record(&event)
}

/// The file's beginning up to the end of its `records`-th whole record; none if it has fewer.
pub(crate) fn prefix(file: &[u8], records: usize) -> Option<&[u8]> {
    let mut at = 0;
    for _ in 0..records {
        let length = file.get(at..at + 8)?;
        let length = usize::try_from(u64::from_le_bytes(length.try_into().ok()?)).ok()?;
        let data = file.get(at + 12..(at + 12).checked_add(length)?)?;
        let sum = file.get(at + 12 + length..at + 16 + length)?;
        if masked(data).to_le_bytes() != *sum {
            return None;
        }
        at += 16 + length;
    }
    file.get(..at)
}

/// A TFRecord: length, its checksum, data, its checksum.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked(&length).to_le_bytes(), data, &masked(data).to_le_bytes()].concat()
}

fn masked(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn key(out: &mut Vec<u8>, field: u64, wire: u64) {
    varint(out, field << 3 | wire);
}

fn double(out: &mut Vec<u8>, field: u64, value: f64) {
    key(out, field, 1);
    out.extend(value.to_le_bytes());
}

fn bytes(out: &mut Vec<u8>, field: u64, data: &[u8]) {
    key(out, field, 2);
    varint(out, data.len() as u64);
    out.extend_from_slice(data);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Written by TensorBoard's own classes, see `tests/golden/make_events.py`.
    const GOLDEN: &[u8] = include_bytes!("../tests/data/events.tfevents");

    fn row(epoch: u32) -> EpochRow {
        EpochRow {
            epoch,
            train_loss: 0.5,
            val_loss: 0.75,
            train_accuracy: Some(0.625),
            metrics: BTreeMap::from([("macro-f1".to_owned(), 0.25)]),
            monitor: "loss".to_owned(),
            rate_head: Some(0.001),
            images_per_second: 300.0,
            seconds: 2.0,
            ..EpochRow::default()
        }
    }

    #[test]
    fn files_are_those_of_tensorboard() {
        let ours = [header(1000.5), epoch(&row(1), 1001.5), epoch(&row(300), 1002.5)].concat();
        assert_eq!(ours, GOLDEN);
    }

    #[test]
    fn a_file_is_cut_after_whole_records_only() {
        let first = [header(1.0), epoch(&row(1), 2.0)].concat();
        let file = [&first[..], &epoch(&row(2), 3.0)].concat();
        assert_eq!(prefix(&file, 2), Some(&first[..]));
        assert_eq!(prefix(&file, 3), Some(&file[..]));
        assert_eq!(prefix(&file[..file.len() - 1], 3), None);
        assert_eq!(prefix(&file, 4), None);
        let mut bent = file.clone();
        bent[20] ^= 1;
        assert_eq!(prefix(&bent, 1), None);
        assert_eq!(prefix(&[0xff; 40], 1), None);
    }
}

//! Texts of cells to values: groups, classes, labels, numbers, weights, parts.
//!
//! The one decision: a value comes from a text alone, and what is wrong with it is a [`TableFault`] and no report, so that
//! tables of images and of texts, and whatever else has cells, read them alike. What programs write for a missing value is
//! no class and no group.

use super::names::Names;
use super::problem::TableFault;
use crate::split::Part;

/// What pandas, R, SQL and people write where there is no value.
fn is_missing(text: &str) -> bool {
    const MISSING: [&str; 6] = ["nan", "null", "none", "n/a", "na", "<na>"];
    MISSING.iter().any(|word| word.eq_ignore_ascii_case(text))
}

fn present(text: &str, expected: &'static str) -> Result<(), TableFault> {
    match is_missing(text) {
        true => Err(TableFault::MissingValue { text: text.to_owned(), expected }),
        false => Ok(()),
    }
}

/// A text without white space at its ends, which must not be empty.
///
/// # Errors
/// There is nothing else.
pub fn filled<'t>(text: &'t str, expected: &'static str) -> Result<&'t str, TableFault> {
    match text.trim() {
        "" => Err(TableFault::Empty { expected }),
        text => Ok(text),
    }
}

/// A group.
///
/// # Errors
/// The text is empty, or stands for a missing value.
pub fn group(text: &str) -> Result<&str, TableFault> {
    let expected = "a group";
    let text = filled(text, expected)?;
    present(text, expected)?;
    Ok(text)
}

/// The number of a class or label. A list of classes may have any word in it.
///
/// # Errors
/// The name stands for a missing value, or is not in the list.
pub fn class(name: &str, names: &mut Names) -> Result<u32, TableFault> {
    if !names.is_list() {
        present(name, "a class")?;
    }
    let unknown =
        |names: &Names| TableFault::UnknownClass { class: name.to_owned(), near: names.nearest(name) };
    names.number(name).ok_or_else(|| unknown(names))
}

/// The parts of a text between separators, without white space at their ends; none of an empty text.
pub fn parts(text: &str, separator: char) -> Vec<&str> {
    match (text.trim(), separator) {
        ("", _) => Vec::new(),
        (text, ' ') => text.split_whitespace().collect(),
        (text, _) => text.split(separator).map(str::trim).collect(),
    }
}

/// The numbers of labels, in their order.
///
/// # Errors
/// There are none and some are needed; a name is empty, there twice, or as [`class`] says. All that is wrong.
pub fn labels(parts: &[&str], allow_empty: bool, names: &mut Names) -> Result<Vec<u32>, Vec<TableFault>> {
    if parts.is_empty() && !allow_empty {
        return Err(vec![TableFault::Empty { expected: "at least one label" }]);
    }
    let (mut labels, mut faults) = (Vec::with_capacity(parts.len()), Vec::new());
    for name in parts {
        let label = match name.is_empty() {
            true => Err(TableFault::Empty { expected: "a label on each side of a separator" }),
            false => class(name, names),
        };
        match label {
            Ok(label) if labels.contains(&label) => {
                faults.push(TableFault::SameLabel { label: (*name).to_owned() });
            }
            Ok(label) => labels.push(label),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(labels) } else { Err(faults) }
}

/// Whether a text says 1 (or `1.0`, or `true`) rather than 0.
///
/// # Errors
/// It says neither.
pub fn flag(text: &str) -> Result<bool, TableFault> {
    let text = filled(text, "0 or 1")?;
    match text {
        "1" | "1.0" => Ok(true),
        "0" | "0.0" => Ok(false),
        _ if text.eq_ignore_ascii_case("true") => Ok(true),
        _ if text.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(TableFault::NotAFlag { text: text.to_owned() }),
    }
}

/// A finite number.
///
/// # Errors
/// It is none, or not finite.
pub fn number(text: &str) -> Result<f32, TableFault> {
    let text = filled(text, "a number")?;
    match text.parse::<f64>() {
        Ok(number) if (number as f32).is_finite() => Ok(number as f32),
        Ok(_) => Err(TableFault::NotFinite { text: text.to_owned() }),
        Err(_) => Err(TableFault::NotANumber { text: text.to_owned() }),
    }
}

/// A finite number from 0 on.
///
/// # Errors
/// It is none.
pub fn weight(text: &str) -> Result<f32, TableFault> {
    let text = filled(text, "a weight")?;
    match text.parse::<f64>().map(|weight| weight as f32) {
        // Not `-0`, which would print as a negative weight.
        Ok(weight) if weight.is_finite() && weight >= 0.0 => Ok(weight.abs()),
        _ => Err(TableFault::Weight { text: text.to_owned() }),
    }
}

/// A part of the split.
///
/// # Errors
/// It names none.
pub fn part(text: &str) -> Result<Part, TableFault> {
    let text = filled(text, "`train`, `val` or `test`")?;
    Part::from_name(text).ok_or_else(|| TableFault::Part { text: text.to_owned() })
}

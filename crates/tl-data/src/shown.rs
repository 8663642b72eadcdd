//! Names of files and classes, as a person may see them.
//!
//! The one decision: a name may hold anything, so what would steer a terminal, or hide in it, is written as an
//! escape wherever a report is printed. Data keeps the name as it is.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The text with control characters, and those that turn the direction of writing, as escapes such as `\u{1b}`.
pub fn shown(text: &str) -> Cow<'_, str> {
    let is_plain = |letter: char| {
        !letter.is_control()
            && !matches!(letter, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}')
    };
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        if is_plain(letter) { safe.push(letter) } else { safe.extend(letter.escape_default()) }
    }
    Cow::Owned(safe)
}

/// Columns of a terminal that a text takes.
pub(crate) fn columns(text: &str) -> usize {
    text.width()
}

/// A text in `width` columns: filled up with spaces, or cut with a mark where it is longer.
pub(crate) fn fitted(text: &str, width: usize) -> String {
    let mut fitted = String::with_capacity(width);
    if columns(text) <= width {
        fitted.push_str(text);
    } else {
        let mut used = 1;
        for letter in text.chars() {
            used += letter.width().unwrap_or(0);
            if used > width {
                break;
            }
            fitted.push(letter);
        }
        fitted.push('…');
    }
    let used = columns(&fitted);
    fitted.extend(std::iter::repeat_n(' ', width.saturating_sub(used)));
    fitted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(shown("größe 世界.png"), "größe 世界.png");
        assert_eq!(shown("a\u{1b}[2J\nb\u{202e}gpj.exe"), "a\\u{1b}[2J\\nb\\u{202e}gpj.exe");
    }

    #[test]
    fn wide_letters_take_two_columns() {
        assert_eq!(fitted("世界", 6), "世界  ");
        assert_eq!(fitted("世界世界", 6), "世界… ");
        assert_eq!(fitted("abcdef", 4), "abc…");
        assert_eq!(fitted("ab", 4), "ab  ");
    }
}

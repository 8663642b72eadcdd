//! Signs that a text went through the wrong encoding.
//!
//! The one decision: no list of odd letters. A text that was UTF-8 and was read as Windows-1252 has, taken back to the
//! bytes it was read from, sequences that only UTF-8 has; no language writes those.

/// What is odd about the characters of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Odd {
    /// What it is, for a person.
    pub(super) what: &'static str,
    /// The first of it, and what it was meant to be, where that can be told.
    pub(super) shown: String,
}

/// The first sign, if there is one.
pub(super) fn odd(text: &str) -> Option<Odd> {
    if let Some(shown) = mojibake(text) {
        return Some(Odd { what: "UTF-8 that was read as Windows-1252", shown });
    }
    if text.contains('\u{FFFD}') {
        return Some(Odd { what: "characters that could not be read", shown: "`\u{FFFD}`".to_owned() });
    }
    let control = |c: &char| c.is_control() && !matches!(c, '\t' | '\n' | '\r');
    let control = text.chars().find(control)?;
    Some(Odd { what: "control characters", shown: format!("`{}`", control.escape_unicode()) })
}

fn mojibake(text: &str) -> Option<String> {
    let chars: Vec<char> = text.chars().collect();
    for first in 0..chars.len() {
        let wanted = match byte(chars[first]) {
            Some(0xC2..=0xDF) => 2,
            Some(0xE0..=0xEF) => 3,
            Some(0xF0..=0xF4) => 4,
            _ => continue,
        };
        let Some(run) = chars.get(first..first + wanted) else { continue };
        let bytes: Option<Vec<u8>> = run.iter().map(|&c| byte(c)).collect();
        let meant = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        // Two Latin letters with accents in a row may be meant; what they would stand for is then no letter or sign
        // that texts have.
        if let Some(meant) = meant.filter(|meant| !meant.chars().all(|c| c.is_control())) {
            return Some(format!("`{}`, which was `{meant}`", run.iter().collect::<String>()));
        }
    }
    None
}

/// The byte that Windows-1252 reads as a character.
fn byte(c: char) -> Option<u8> {
    const HIGH: [(char, u8); 27] = [
        ('€', 0x80),
        ('‚', 0x82),
        ('ƒ', 0x83),
        ('„', 0x84),
        ('…', 0x85),
        ('†', 0x86),
        ('‡', 0x87),
        ('ˆ', 0x88),
        ('‰', 0x89),
        ('Š', 0x8A),
        ('‹', 0x8B),
        ('Œ', 0x8C),
        ('Ž', 0x8E),
        ('‘', 0x91),
        ('’', 0x92),
        ('“', 0x93),
        ('”', 0x94),
        ('•', 0x95),
        ('–', 0x96),
        ('—', 0x97),
        ('˜', 0x98),
        ('™', 0x99),
        ('š', 0x9A),
        ('›', 0x9B),
        ('œ', 0x9C),
        ('ž', 0x9E),
        ('Ÿ', 0x9F),
    ];
    match c as u32 {
        // Programs read the five bytes that have no character as control characters.
        code @ 0x80..=0xFF => Some(code as u8),
        _ => HIGH.iter().find(|(high, _)| *high == c).map(|(_, byte)| *byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_found_and_letters_are_not() {
        let found = |text: &str| odd(text).map(|odd| odd.shown);
        assert_eq!(found("the cafÃ© is open").as_deref(), Some("`Ã©`, which was `é`"));
        assert_eq!(found("donâ€™t").as_deref(), Some("`â€™`, which was `’`"));
        assert_eq!(found("no\u{FFFD}pe").as_deref(), Some("`\u{FFFD}`"));
        assert_eq!(found("a\u{1}b\tc").as_deref(), Some("`\\u{1}`"));
        for good in
            ["Ça va à Noël", "São João", "naïve — “quoted” … ©2020 ½", "größer als ÄÖÜ", "日本語", "ÃO É"]
        {
            assert_eq!(odd(good), None, "{good}");
        }
    }
}

//! A text to words, as files of tagged words have them.
//!
//! The one decision: white space parts words, and punctuation at the ends of a word is a word of its own; inside a word it
//! stays (`well-known`, `3.5`, `o'clock`), but for the `'s` of English, and abbreviations keep their dots (`U.N.`).
//! A model meets words then as it met them in training.

/// A word and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The word.
    pub text: String,
    /// Its first character in the text, counted in characters from 0.
    pub start: usize,
    /// The character behind its last.
    pub end: usize,
}

/// The words of a text, with their places.
pub fn split_words(text: &str) -> Vec<Word> {
    let chars: Vec<char> = text.chars().collect();
    let mut words = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        if chars[at].is_whitespace() {
            at += 1;
            continue;
        }
        let end = (at..chars.len()).find(|&i| chars[i].is_whitespace()).unwrap_or(chars.len());
        parts(&chars, at, end, &mut words);
        at = end;
    }
    words
}

/// The words of what stands between white space.
fn parts(chars: &[char], mut start: usize, mut end: usize, words: &mut Vec<Word>) {
    let word = |from: usize, to: usize| Word { text: chars[from..to].iter().collect(), start: from, end: to };
    let is_word = |c: char| c.is_alphanumeric();
    while start < end && !is_word(chars[start]) && !opens_a_number(&chars[start..end]) {
        words.push(word(start, start + 1));
        start += 1;
    }
    let mut behind = Vec::new();
    while end > start && !is_word(chars[end - 1]) && !is_abbreviation(&chars[start..end]) {
        behind.push(word(end - 1, end));
        end -= 1;
    }
    let clitic = end >= start + 3
        && matches!(chars[end - 1], 's' | 'S')
        && matches!(chars[end - 2], '\'' | '\u{2019}');
    let cut = if clitic { end - 2 } else { end };
    if cut > start {
        words.push(word(start, cut));
    }
    if clitic {
        words.push(word(cut, end));
    }
    words.extend(behind.into_iter().rev());
}

/// `-3`, `.5`, `+1`
fn opens_a_number(chars: &[char]) -> bool {
    matches!(chars, ['-' | '+' | '.', digit, ..] if digit.is_ascii_digit())
}

/// `U.N.`, `p.m.`: single letters, each with a dot, more than one of them; or one capital letter, as in a name.
fn is_abbreviation(chars: &[char]) -> bool {
    let dotted = |pair: &[char]| matches!(pair, [letter, '.'] if letter.is_alphabetic());
    let pairs = chars.len() / 2;
    chars.len().is_multiple_of(2)
        && chars.chunks(2).all(dotted)
        && (pairs > 1 || (pairs == 1 && chars[0].is_uppercase()))
}

/// Words as a text, with the place of each.
pub fn join(words: &[String]) -> (String, Vec<Word>) {
    let (mut text, mut places, mut at) = (String::new(), Vec::with_capacity(words.len()), 0);
    for word in words {
        if !text.is_empty() {
            text.push(' ');
            at += 1;
        }
        let end = at + word.chars().count();
        places.push(Word { text: word.clone(), start: at, end });
        text.push_str(word);
        at = end;
    }
    (text, places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_tagged_files() {
        for (text, expected) in [
            ("Ada Lovelace, of London.", "Ada|Lovelace|,|of|London|."),
            (
                "Germany's \"well-known\" U.N. (3.5 %) at 5 p.m.",
                "Germany|'s|\"|well-known|\"|U.N.|(|3.5|%|)|at|5|p.m.",
            ),
            ("J. Smith: -3 °C!?", "J.|Smith|:|-3|°|C|!|?"),
            ("  \u{2019}s …", "\u{2019}|s|…"),
            ("naïve Müller–Lüdenscheidt", "naïve|Müller–Lüdenscheidt"),
            ("", ""),
        ] {
            let words = split_words(text);
            let said: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
            assert_eq!(said.join("|"), expected);
            let chars: Vec<char> = text.chars().collect();
            for word in &words {
                assert_eq!(chars[word.start..word.end].iter().collect::<String>(), word.text);
            }
        }
        let (text, places) = join(&["é".to_owned(), "bc".to_owned()]);
        assert_eq!((text.as_str(), places[1].start, places[1].end), ("é bc", 2, 4));
    }
}

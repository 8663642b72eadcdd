//! Rust text without its comments and strings, line for line: enough to look for words in the code itself.

/// `text` with comments, strings and characters blanked; lines stay where they are.
pub(super) fn only(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = skip(rest, out.chars().next_back());
        let taken = length.unwrap_or(first.len_utf8());
        match length {
            Some(_) => out.extend(rest[..taken].chars().map(|c| if c == '\n' { c } else { ' ' })),
            None => out.push(first),
        }
        rest = &rest[taken..];
    }
    out
}

/// Whether `line` has `word` with nothing that could be part of a name beside it.
pub(super) fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(part) && !line[at + word.len()..].starts_with(part))
}

/// The length of the comment or literal that `rest` begins with.
fn skip(rest: &str, before: Option<char>) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment(rest));
    }
    if rest.starts_with('"') {
        return Some(string(rest));
    }
    let in_name = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with('r') && (!in_name || before == Some('b')) {
        return raw_string(rest);
    }
    if rest.starts_with('\'') {
        return character(rest);
    }
    None
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let step = &rest.as_bytes()[at..];
        if step.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if step.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn raw_string(rest: &str) -> Option<usize> {
    let hashes = rest[1..].len() - rest[1..].trim_start_matches('#').len();
    let body = rest[1 + hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = 2 + hashes;
    Some(body.find(&end).map_or(rest.len(), |at| start + at + end.len()))
}

/// A character literal; a lifetime is none.
fn character(rest: &str) -> Option<usize> {
    let mut chars = rest.char_indices().skip(1);
    let (_, first) = chars.next()?;
    if first == '\\' {
        let (at, _) = chars.skip(1).find(|(_, c)| *c == '\'')?;
        return Some(at + 1);
    }
    let (at, second) = chars.next()?;
    (second == '\'').then_some(at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_is_left() {
        for (text, gone) in [
            ("a // todo!(\nb", "todo"),
            ("a /* x /* todo!( */ y */ b", "todo"),
            (r#"a "to\"do" b"#, "do"),
            ("a r#\"say \"todo\" twice\"# b", "todo"),
            ("a br\"todo\" b", "todo"),
            (r"a '\'' b '\u{61}' b", "u{61"),
            ("a '\"' b", "\""),
        ] {
            let code = only(text);
            assert!(!code.contains(gone) && code.starts_with("a ") && code.ends_with('b'), "{text}: {code}");
            assert_eq!(code.lines().count(), text.lines().count());
        }
        assert_eq!(only("fn f<'a>(x: &'a str) {}"), "fn f<'a>(x: &'a str) {}");
        assert_eq!(only("for r in 0..1 {}"), "for r in 0..1 {}");
    }

    #[test]
    fn words_stand_alone() {
        assert!(has_word("unsafe{", "unsafe") && has_word("x unsafe fn", "unsafe"));
        assert!(!has_word("unsafe_code", "unsafe") && !has_word("may_be_unsafe", "unsafe"));
    }
}

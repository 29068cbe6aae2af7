//! Texts that PostgreSQL cannot hold as they are: its TEXT knows no U+0000, and alerts may hold any character.
//!
//! U+0000 is written as U+001A and `0`, U+001A as U+001A and `1`; all else stays as it is, so that people and other
//! programs read what was sent. Absent on purpose: JSON, which escapes both by itself.

use std::borrow::Cow;

const MARK: char = '\u{1a}';

/// As it is written.
pub(crate) fn escape(text: String) -> String {
    match escaped(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(escaped) => escaped,
    }
}

/// As it is written.
pub(super) fn escaped(text: &str) -> Cow<'_, str> {
    if !is_odd(text) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\0' => escaped.extend([MARK, '0']),
            MARK => escaped.extend([MARK, '1']),
            other => escaped.push(other),
        }
    }
    Cow::Owned(escaped)
}

/// True for a text that is written otherwise than it is given. Blocks, because all of one are compared at once.
fn is_odd(text: &str) -> bool {
    let odd = |block: &[u8]| block.iter().fold(false, |odd, &byte| odd | (byte == 0) | (byte == MARK as u8));
    text.as_bytes().chunks(64).any(odd)
}

/// As it was given.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(MARK) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            MARK if characters.next() == Some('0') => '\0',
            other => other,
        });
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_comes_back() {
        for text in ["", "plain", "\0", "\u{1a}", "a\0b\u{1a}c", "\u{1a}0", "\u{1a}1", "\0\0\u{1a}\u{1a}", "ünï\0✓"]
        {
            let escaped = escape(text.to_owned());
            assert!(!escaped.contains('\0'), "{text:?}");
            assert_eq!(plain(&escaped), text);
        }
    }
}

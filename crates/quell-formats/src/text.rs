//! Strings as senders write them in JSON, borrowed from the body wherever they need no change.
//!
//! Absent on purpose: what a string means.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// Bytes of one annotation that are kept; the rest is cut off and a marker says so.
pub(crate) const MAX_ANNOTATION: usize = 16 * 1024;

/// A string, borrowed unless it holds escapes.
///
/// Control characters other than tab, newline and carriage return become U+FFFD. JSON allows them only as escapes, so
/// a borrowed string never needs a look.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Text<'de>(pub(crate) Cow<'de, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(clean(text))))
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

/// A string that may be `null`, which is the same as not there.
pub(crate) struct MaybeText<'de>(pub(crate) Option<Cow<'de, str>>);

impl<'de> Deserialize<'de> for MaybeText<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text: Option<Text<'de>> = Option::deserialize(deserializer)?;
        Ok(MaybeText(text.map(|Text(text)| text)))
    }
}

/// Replaces control characters that no text needs.
pub(crate) fn clean(text: &str) -> String {
    let needless = |c: char| c < ' ' && !matches!(c, '\t' | '\n' | '\r');
    if text.contains(needless) { text.replace(needless, "\u{fffd}") } else { text.to_owned() }
}

/// An annotation's value, cut at [`MAX_ANNOTATION`] bytes with a marker.
pub(crate) fn cut_annotation(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.len() <= MAX_ANNOTATION {
        return text;
    }
    let mut end = MAX_ANNOTATION;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Cow::Owned(format!("{}… [cut: {} of {} bytes kept]", &text[..end], end, text.len()))
}

/// A body as text: a byte order mark is dropped, bytes that are not UTF-8 become U+FFFD, as Go's decoder does.
pub(crate) fn body_text(body: &[u8]) -> Cow<'_, str> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    // The strict check goes over plain text many bytes at a time, the other one byte by byte.
    std::str::from_utf8(body).map_or_else(|_| String::from_utf8_lossy(body), Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borrows_what_needs_no_change_and_cleans_the_rest() {
        let plain: Text<'_> = serde_json::from_str(r#""plain é""#).expect("valid");
        assert!(matches!(plain.0, Cow::Borrowed("plain é")));
        let escaped: Text<'_> = serde_json::from_str(r#""a\u0000b\nc\u001b""#).expect("valid");
        assert_eq!(escaped.0, "a\u{fffd}b\nc\u{fffd}");
    }

    #[test]
    fn long_annotations_are_cut_at_a_character_and_say_so() {
        let long = "é".repeat(MAX_ANNOTATION);
        let cut = cut_annotation(Cow::Borrowed(&long));
        assert!(cut.ends_with("… [cut: 16384 of 32768 bytes kept]"), "{}", &cut[cut.len() - 60..]);
        assert_eq!(cut_annotation(Cow::Borrowed("short")), "short");
    }

    #[test]
    fn bodies_lose_their_mark_and_their_broken_bytes() {
        assert_eq!(body_text(b"\xef\xbb\xbf[]"), "[]");
        assert_eq!(body_text(b"a\xffb"), "a\u{fffd}b");
    }
}

//! JSON seen from a place in the middle of it: the string around a byte, and the object around that string. So a record is
//! found in an array of gigabytes without reading it from its beginning.
//!
//! It works because a byte inside a string has its opening quote right before it, all quotes between being escaped, and
//! because from a string's quote on, outwards, every quote is again the end of a string.

use std::borrow::Cow;
use std::ops::Range;

/// Whether the quote at `at` is escaped: an odd number of backslashes stands before it.
fn is_escaped(text: &[u8], at: usize) -> bool {
    let before = text.get(..at).unwrap_or_default();
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// Where the string that begins at the beginning of `rest`, after its opening quote, ends: the place of its closing quote.
pub fn string_end(rest: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'"', rest).find(|&at| !is_escaped(rest, at))
}

/// The string around a byte: the places after its opening quote and of its closing one.
pub fn string_around(text: &[u8], at: usize) -> Option<Range<usize>> {
    let open = memchr::memrchr_iter(b'"', text.get(..at)?).find(|&quote| !is_escaped(text, quote))?;
    let close = at + memchr::memchr_iter(b'"', text.get(at..)?).find(|&quote| !is_escaped(text, at + quote))?;
    Some(open + 1..close)
}

/// The object that a string, as [`string_around`] gives it, is a key or a value of, braces included; also where arrays stand
/// between.
pub fn object_around(text: &[u8], string: &Range<usize>) -> Option<Range<usize>> {
    let start = opening_brace(text, string.start.checked_sub(1)?)?;
    let end = closing_brace(text, string.end + 1)?;
    Some(start..end + 1)
}

fn opening_brace(text: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    loop {
        at = memchr::memrchr3(b'"', b'{', b'}', text.get(..at)?)?;
        match text.get(at)? {
            b'{' if depth == 0 => return Some(at),
            b'{' => depth -= 1,
            b'}' => depth += 1,
            _ => at = memchr::memrchr_iter(b'"', text.get(..at)?).find(|&quote| !is_escaped(text, quote))?,
        }
    }
}

fn closing_brace(text: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    loop {
        at += memchr::memchr3(b'"', b'{', b'}', text.get(at..)?)?;
        match text.get(at)? {
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            b'{' => depth += 1,
            _ => at += 1 + string_end(text.get(at + 1..)?)?,
        }
        at += 1;
    }
}

/// What a string between its quotes means. What is no legal escape stays as it is.
pub fn unescape(raw: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memchr(b'\\', raw) else {
        return Cow::Borrowed(raw);
    };
    let (head, mut rest) = raw.split_at(first);
    let mut out = Vec::with_capacity(raw.len());
    out.extend_from_slice(head);
    loop {
        rest = match rest {
            [b'\\', b'u', rest @ ..] => match unicode(rest) {
                Some((c, used)) => {
                    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    rest.get(used..).unwrap_or_default()
                }
                None => {
                    out.extend_from_slice(b"\\u");
                    rest
                }
            },
            [b'\\', escaped, rest @ ..] => {
                match escaped {
                    b'n' => out.push(b'\n'),
                    b't' => out.push(b'\t'),
                    b'r' => out.push(b'\r'),
                    b'b' => out.push(8),
                    b'f' => out.push(12),
                    b'"' | b'\\' | b'/' => out.push(*escaped),
                    _ => out.extend_from_slice(&[b'\\', *escaped]),
                }
                rest
            }
            [b'\\'] => {
                out.push(b'\\');
                &[]
            }
            _ => rest,
        };
        let next = memchr::memchr(b'\\', rest).unwrap_or(rest.len());
        let (plain, escaped) = rest.split_at(next);
        out.extend_from_slice(plain);
        rest = escaped;
        if rest.is_empty() {
            return Cow::Owned(out);
        }
    }
}

/// The character after `\u`, and how many bytes say it. Half a pair is the replacement character.
fn unicode(rest: &[u8]) -> Option<(char, usize)> {
    let hex = |digits: &[u8]| {
        let text = std::str::from_utf8(digits).ok()?;
        text.bytes().all(|b| b.is_ascii_hexdigit()).then_some(())?;
        u32::from_str_radix(text, 16).ok()
    };
    let unit = hex(rest.get(..4)?)?;
    if let Some(c) = char::from_u32(unit) {
        return Some((c, 4));
    }
    let low = match rest.get(4..6) {
        Some(b"\\u") => rest.get(6..10).and_then(hex),
        _ => None,
    };
    match (unit, low) {
        (0xd800..=0xdbff, Some(low @ 0xdc00..=0xdfff)) => {
            let code = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
            Some((char::from_u32(code)?, 10))
        }
        _ => Some((char::REPLACEMENT_CHARACTER, 4)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_object_around_a_byte_is_found_from_its_middle() {
        let text = br#"[{"a":"}{\"x"},{"jsonPayload":{"message":"a \"needle\\\" b","l":[{"q":"}"}]},"z":{}}]"#;
        let at = memchr::memmem::find(text, b"needle").unwrap();
        let string = string_around(text, at).unwrap();
        assert_eq!(&text[string.clone()], br#"a \"needle\\\" b"#);
        assert_eq!(
            &text[object_around(text, &string).unwrap()],
            br#"{"message":"a \"needle\\\" b","l":[{"q":"}"}]}"#
        );
        assert_eq!(object_around(br#"["needle"]"#, &(2..8)), None);
        assert_eq!(string_around(b"needle\"", 2), None);
    }

    proptest! {
        #[test]
        fn what_serde_json_escapes_is_unescaped(text in "\\PC*|[\\x00-\\x20\"\\\\/é😀]*") {
            let escaped = serde_json::to_string(&text).unwrap();
            let inner = &escaped.as_bytes()[1..escaped.len() - 1];
            prop_assert_eq!(unescape(inner).into_owned(), text.as_bytes());
            prop_assert_eq!(string_end(&escaped.as_bytes()[1..]), Some(inner.len()));
            let ascii: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            prop_assert_eq!(unescape(ascii.as_bytes()).into_owned(), text.as_bytes());
        }

        #[test]
        fn nothing_makes_it_panic(text in prop::collection::vec(prop::sample::select(b"\"\\{}[]u0dn:a".to_vec()), 0..64), at in 0..64_usize) {
            unescape(&text);
            if let Some(string) = string_around(&text, at.min(text.len())) {
                object_around(&text, &string);
            }
        }
    }
}

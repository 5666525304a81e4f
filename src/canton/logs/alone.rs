//! Whether a record is the whole of its line, as encoders write it: a few comparisons at fixed places. Where this says no,
//! [`quoting`](super::quoting) looks at all that stands around it.

use super::common::{Common, Kind};

/// What a line of JSON begins with, and one of docker's with such a line in it.
pub const LINES: [&[u8]; 2] = [JSON, INSIDE];
const JSON: &[u8; 15] = b"{\"@timestamp\":\"";
const INSIDE: &[u8; 26] = b"{\"log\":\"{\\\"@timestamp\\\":\\\"";
/// What stands between the time and the message, for each.
const MESSAGE: &[u8; 13] = b"\",\"message\":\"";
const MESSAGE_INSIDE: &[u8; 17] = b"\\\",\\\"message\\\":\\\"";
/// Bytes before a logger's name in text, in which its line begins.
const HEAD: usize = 160;

/// Whether a record that was read is its line, or what docker put into one.
#[inline]
pub fn is_line(bytes: &[u8], common: &Common<'_>) -> bool {
    match common.kind {
        Kind::Json => begins_json(bytes, common.start, JSON, MESSAGE),
        Kind::Inside => begins_json(bytes, common.start, INSIDE, MESSAGE_INSIDE),
        Kind::Text => begins_text(bytes, common.start),
    }
}

/// Whether nothing but its beginning, a time and the name of the message's field stands on a line before `at`.
#[inline]
fn begins_json<const N: usize, const M: usize>(bytes: &[u8], at: usize, begin: &[u8; N], message: &[u8; M]) -> bool {
    let Some(start) = at.checked_sub(N + TIME.len() + M) else {
        return false;
    };
    let is_start = start
        .checked_sub(1)
        .is_none_or(|before| bytes.get(before) == Some(&b'\n'));
    let rest = bytes.get(start..at).and_then(|line| line.split_first_chunk());
    is_start
        && rest.is_some_and(|(head, rest): (&[u8; N], &[u8])| {
            let rest = rest.split_first_chunk();
            head == begin && rest.is_some_and(|(time, rest)| is_time(time, &TIME) && rest == message)
        })
}

/// Times as they are written, a zero for each digit.
const TIME: [u8; 24] = *b"0000-00-00T00:00:00.000Z";
const TIME_OF_TEXT: [u8; 24] = *b"0000-00-00 00:00:00,000 ";

/// Whether a text has digits where a time has them, and its other characters in their places. What comes right after the
/// digits in ASCII passes for one: it is none of what could begin anything.
#[inline]
fn is_time(text: &[u8; 24], time: &[u8; 24]) -> bool {
    let differs = text.iter().zip(time).fold(0, |differs, (byte, of_time)| {
        let mask = if *of_time == b'0' { 0xf0 } else { 0xff };
        differs | ((byte ^ of_time) & mask)
    });
    differs == 0
}

/// Whether `DATE TIME [THREAD] LEVEL ` is all that stands on the line before `at`.
#[inline]
fn begins_text(bytes: &[u8], at: usize) -> bool {
    let from = at.saturating_sub(HEAD);
    let near = bytes.get(from..at).unwrap_or_default();
    let line = match memchr::memrchr(b'\n', near) {
        Some(newline) => near.get(newline + 1..).unwrap_or_default(),
        None if from == 0 => near,
        None => return false,
    };
    let Some((time, [b'[', rest @ ..])) = line.split_first_chunk() else {
        return false;
    };
    let thread = rest.strip_suffix(b"] INFO  ").or_else(|| {
        let level = rest.trim_ascii_end();
        [&b"] INFO"[..], b"] DEBUG", b"] WARN", b"] ERROR", b"] TRACE"]
            .into_iter()
            .find_map(|end| level.strip_suffix(end))
    });
    is_time(time, &TIME_OF_TEXT) && !thread.is_none_or(is_more_than_a_name)
}

/// Whether there are words or strings in it.
fn is_more_than_a_name(text: &[u8]) -> bool {
    has_any(text, b' ' + 1, *b"\"\\")
}

/// Whether one of these bytes stands in a text, or one that is less than `least`, which is at most 128. Eight are looked at
/// together: in names and numbers that is faster than to search.
#[inline]
pub fn has_any<const N: usize>(text: &[u8], least: u8, bytes: [u8; N]) -> bool {
    const ONES: u64 = u64::MAX / 0xff;
    let is_in = |word: &[u8; 8]| {
        let word = u64::from_le_bytes(*word);
        // The highest bit of a byte that is less, if there is any; others may follow the first.
        let less = |word: u64, than: u8| word.wrapping_sub(ONES * u64::from(than)) & !word & (ONES << 7);
        bytes.iter().fold(less(word, least), |found, byte| {
            found | less(word ^ (ONES * u64::from(*byte)), 1)
        }) != 0
    };
    match text.last_chunk() {
        Some(last) => is_in(last) | text.as_chunks().0.iter().any(is_in),
        None => text.iter().any(|byte| *byte < least || bytes.contains(byte)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::common::Reader;
    use super::super::testing::*;
    use super::super::{quoting, search};
    use super::*;

    fn judged(bytes: &[u8]) -> Option<(bool, bool)> {
        let hit = memchr::memmem::find(bytes, search::WORD)?;
        let common = Reader::new().read(bytes, hit)?;
        Some((is_line(bytes, &common), quoting::is_suspect(bytes, hit)))
    }

    #[test]
    fn a_byte_is_found_wherever_it_stands_and_no_other_passes_for_it() {
        for length in 0..40 {
            let text: Vec<u8> = (0..length).map(|at| [b'a', 0x80, 0xff, b'!', b')'][at % 5]).collect();
            assert!(!has_any(&text, 0x21, *b"(\"\\"), "{length}");
            for at in 0..length {
                for byte in *b"(\"\\ \n\x00" {
                    let mut text = text.clone();
                    text[at] = byte;
                    assert!(has_any(&text, 0x21, *b"(\"\\"), "{byte} at {at} of {length}");
                    assert_eq!(has_any(&text, 0, *b"("), byte == b'(', "{byte} at {at} of {length}");
                }
            }
        }
    }

    #[test]
    fn whole_lines_are_known_whatever_stands_on_the_lines_before() {
        for encoder in [Encoder::Json, Encoder::Text] {
            let line = encoder.encode(&correct(1, "PAR::sv-1::12205f1149bc...", 3)) + "\n";
            let docker = serde_json::json!({ "log": line }).to_string();
            for before in ["", "\n", "INFO proxy said {\n"] {
                assert_eq!(judged((before.to_owned() + &line).as_bytes()), Some((true, false)));
            }
            if encoder == Encoder::Json {
                assert_eq!(judged(docker.as_bytes()), Some((true, false)));
            }
        }
    }

    #[test]
    fn what_is_suspect_is_never_taken_for_a_line() {
        let befores = [
            "INFO ",
            "{\"message\":\"",
            "2024-04-21 10:00:00,123 [a] INFO proxy - ",
            "x{",
            " ",
            "{",
            "[",
            "2024-04-21 10:00:00,123 [a] INFO ",
            "level=info msg=",
        ];
        for encoder in Encoder::ALL {
            let line = encoder.encode(&correct(1, "PAR::sv-1::12205f1149bc...", 3)) + "\n";
            for before in befores {
                for at in 0..line.len().min(120) {
                    let (head, tail) = line.split_at(at);
                    let bytes = format!("\n{head}{before}{tail}");
                    if let Some((is_line, is_suspect)) = judged(bytes.as_bytes()) {
                        assert!(!(is_line && is_suspect), "{bytes}");
                    }
                }
            }
        }
    }
}

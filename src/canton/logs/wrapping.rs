//! What container runtimes and their tools put around a line: docker's json-file, CRI, `kubectl logs --prefix --timestamps`,
//! `docker compose logs` (SPEC-CANTON 1.3).

use std::borrow::Cow;

use super::json;

/// Which of its container's outputs a line comes from. Pieces of lines of two outputs may alternate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Not said.
    Unknown,
    /// Its standard output.
    Out,
    /// Its standard error.
    Err,
}

/// A physical line without what was put around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// What was logged, without a line break.
    pub text: Cow<'a, [u8]>,
    /// Where to.
    pub stream: Stream,
    /// Whether the logged line goes on in the next one of the same stream: runtimes cut after 16 KiB.
    pub is_partial: bool,
    /// Whether a runtime that cuts lines wrote it.
    pub is_of_runtime: bool,
    /// Whether a time stood before it that is not the record's own.
    pub is_timed: bool,
}

const DOCKER: &[u8] = br#"{"log":""#;

/// Without the colours that encoders for consoles put into a line: `ESC [ … m` and its like.
pub fn without_colours(text: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memchr(ESCAPE, text) else {
        return Cow::Borrowed(text);
    };
    let (head, mut rest) = text.split_at(first);
    let mut out = Vec::with_capacity(text.len());
    out.extend_from_slice(head);
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match after {
            [b'[', sequence @ ..] if *byte == ESCAPE => {
                let parameters = sequence.iter().take_while(|byte| matches!(byte, 0x20..=0x3f)).count();
                rest = sequence.get(parameters..).unwrap_or_default();
                if let Some((0x40..=0x7e, after)) = rest.split_first() {
                    rest = after;
                }
            }
            _ => out.push(*byte),
        }
    }
    Cow::Owned(out)
}

/// What begins a colour.
pub const ESCAPE: u8 = 0x1b;

/// Takes off whatever is around a line, which is given without its line break.
pub fn unwrap(line: &[u8]) -> Line<'_> {
    match without_colours(line) {
        Cow::Borrowed(line) => without_wrapper(line),
        Cow::Owned(plain) => {
            let unwrapped = without_wrapper(&plain);
            Line {
                text: Cow::Owned(unwrapped.text.into_owned()),
                ..unwrapped
            }
        }
    }
}

fn without_wrapper(line: &[u8]) -> Line<'_> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if let Some(docker) = line.strip_prefix(DOCKER).and_then(docker) {
        return docker;
    }
    let mut text = prefixed(line);
    let timed = without_time(text);
    let mut unwrapped = Line {
        text: Cow::Borrowed(text),
        stream: Stream::Unknown,
        is_partial: false,
        is_of_runtime: false,
        is_timed: timed.is_some(),
    };
    if let Some(rest) = timed {
        text = rest;
        let cri = match rest {
            [b's', b't', b'd', b'o', b'u', b't', b' ', rest @ ..] => Some((Stream::Out, rest)),
            [b's', b't', b'd', b'e', b'r', b'r', b' ', rest @ ..] => Some((Stream::Err, rest)),
            _ => None,
        };
        // The tag is `F` or `P`, to which runtimes may add others after a colon.
        if let Some((stream, [tag @ (b'F' | b'P'), rest @ ..])) = cri
            && let Some(space) = memchr::memchr(b' ', rest.get(..32.min(rest.len())).unwrap_or_default())
            && (space == 0 || rest.first() == Some(&b':'))
        {
            text = rest.get(space + 1..).unwrap_or_default();
            unwrapped.stream = stream;
            unwrapped.is_partial = *tag == b'P';
            unwrapped.is_of_runtime = true;
        }
    }
    unwrapped.text = Cow::Borrowed(text);
    unwrapped
}

/// Docker's: the line itself, escaped and with its line break, is the first field; without a line break it goes on.
fn docker(rest: &[u8]) -> Option<Line<'_>> {
    let end = json::string_end(rest)?;
    let mut text = json::unescape(rest.get(..end)?);
    let after = rest.get(end..)?;
    let is_partial = !text.ends_with(b"\n");
    while text.ends_with(b"\n") || text.ends_with(b"\r") {
        match &mut text {
            Cow::Borrowed(text) => *text = text.get(..text.len() - 1)?,
            Cow::Owned(text) => {
                text.pop();
            }
        }
    }
    let has = |needle: &[u8]| memchr::memmem::find(after, needle).is_some();
    if let Cow::Owned(plain) = without_colours(&text) {
        text = Cow::Owned(plain);
    }
    let stream = match (has(br#""stream":"stdout""#), has(br#""stream":"stderr""#)) {
        (true, _) => Stream::Out,
        (_, true) => Stream::Err,
        _ => Stream::Unknown,
    };
    Some(Line {
        text,
        stream,
        is_partial,
        is_of_runtime: true,
        is_timed: true,
    })
}

/// Without `[pod/NAME/CONTAINER] ` or `NAME | `, which tools put before lines of several containers.
fn prefixed(line: &[u8]) -> &[u8] {
    let head = line.get(..line.len().min(512)).unwrap_or_default();
    if head.starts_with(b"[pod/")
        && let Some(end) = memchr::memmem::find(head, b"] ")
    {
        return line.get(end + 2..).unwrap_or_default();
    }
    let name = head
        .iter()
        .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        .count();
    let spaces = head.iter().skip(name).take_while(|b| **b == b' ').count();
    match head.get(name + spaces..) {
        Some([b'|', b' ', ..]) if name > 0 && spaces > 0 => line.get(name + spaces + 2..).unwrap_or_default(),
        _ => line,
    }
}

/// What follows an RFC 3339 time and a space.
fn without_time(line: &[u8]) -> Option<&[u8]> {
    let [
        _,
        _,
        _,
        _,
        b'-',
        _,
        _,
        b'-',
        _,
        _,
        b'T',
        _,
        _,
        b':',
        _,
        _,
        b':',
        rest @ ..,
    ] = line
    else {
        return None;
    };
    let is_zoned = |b: &u8| b.is_ascii_digit() || matches!(b, b'.' | b'Z' | b'+' | b'-' | b':');
    let length = rest.iter().take(24).take_while(|b| is_zoned(b)).count();
    match rest.get(length..) {
        Some([b' ', rest @ ..]) => Some(rest),
        _ => None,
    }
}

/// Whether a logged line begins a record, rather than going on with one whose message has several lines.
pub fn begins_record(line: &Line<'_>) -> bool {
    let text = line.text.as_ref();
    matches!(
        text,
        [y, _, _, _, b'-', m, _, b'-', _, _, b' ' | b'T', h, _, b':', ..]
            if y.is_ascii_digit() && m.is_ascii_digit() && h.is_ascii_digit()
    ) || text.starts_with(b"{")
        || (line.is_timed && text.starts_with(b"["))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: &str) -> (String, Stream, bool) {
        let line = unwrap(line.as_bytes());
        (
            String::from_utf8(line.text.into_owned()).unwrap(),
            line.stream,
            line.is_partial,
        )
    }

    #[test]
    fn every_wrapper_comes_off_and_what_is_none_stays() {
        let whole = |text: &str, stream| (text.to_owned(), stream, false);
        let plain = r#"{"@timestamp":"2026-09-16T09:31:04.138Z","message":"a"}"#;
        let time = "2026-09-16T09:31:04.138123456Z";
        assert_eq!(text(plain), whole(plain, Stream::Unknown));
        assert_eq!(text(&format!("{plain}\r")), whole(plain, Stream::Unknown));
        assert_eq!(text(&format!("{time} stdout F {plain}")), whole(plain, Stream::Out));
        assert_eq!(text(&format!("{time} stderr F:x {plain}")), whole(plain, Stream::Err));
        assert_eq!(
            text(&format!("{time} stderr P {plain}")),
            (plain.to_owned(), Stream::Err, true)
        );
        assert_eq!(text(&format!("{time} {plain}")), whole(plain, Stream::Unknown));
        assert_eq!(
            text(&format!("[pod/participant-0-x/participant] {time} {plain}")),
            whole(plain, Stream::Unknown)
        );
        assert_eq!(
            text(&format!("participant-1  | {plain}")),
            whole(plain, Stream::Unknown)
        );
        let docker = |log: &str| serde_json::json!({ "log": log, "stream": "stderr", "time": time }).to_string();
        assert_eq!(text(&docker(&format!("{plain}\n"))), whole(plain, Stream::Err));
        assert_eq!(text(&docker(plain)), (plain.to_owned(), Stream::Err, true));
        let text_line = "2024-04-21 23:25:31,123 [env] INFO  c.d.X tid:1 - a | b";
        assert_eq!(text(text_line), whole(text_line, Stream::Unknown));
        for hostile in [
            "\u{1b}",
            "\u{1b}a\u{1b}[",
            "\u{1b}[31",
            "",
            "\r",
            r#"{"log":""#,
            r#"{"log":"a\"#,
            "2026-09-16T09:31:04Z",
            "[pod/",
            " | ",
            "2026-09-16T09:31:04Z stdout F",
        ] {
            unwrap(hostile.as_bytes());
        }
    }

    #[test]
    fn a_record_begins_with_its_time_or_a_brace() {
        let begins = |line: &str| begins_record(&unwrap(line.as_bytes()));
        assert!(begins("2024-04-21 23:25:31,123 [env] INFO x"));
        assert!(begins("{\"@timestamp\":"));
        assert!(begins(
            "2026-09-16T09:31:04Z stdout F 2024-04-21 23:25:31,123 [env] INFO x"
        ));
        assert!(!begins(
            "2026-09-16T09:31:04Z stdout F   sender = PAR::a::12205f1149bc...,"
        ));
        assert!(!begins("  sender = PAR::a::12205f1149bc...,"));
    }
}

//! The record around a hit: pieces and lines of one record put together, or the object or string of JSON that it is.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::Value;

use super::logger::{self, Kind};
use super::message::Record;
use super::quoting::{self, Before};
use super::wrapping::{Line, Stream, begins_record, unwrap, without_colours};
use super::{json, search::WORD};

/// Bytes before a hit in which its record's beginning is looked for, and the longest line that is taken as one: four pieces
/// of 16 KiB. A record of the commitment processor has some hundred bytes, a mismatch of many periods some ten thousand.
pub const BEFORE: usize = 64 << 10;
/// Bytes after a hit in which its record's end is looked for.
pub const LONGEST: usize = 128 << 10;
/// Physical lines that a record is put together from, in each direction.
const MOST_LINES: usize = 256;
/// Bytes around a hit that are read where nothing tells where its record begins and ends.
const BLIND: usize = 2 << 10;

/// A record as its writer made it: a line or lines of text, or a JSON document.
pub struct Found<'a> {
    /// Where it begins in the searched text; none where that is not to be seen.
    pub start: Option<usize>,
    /// Where the search goes on: not necessarily its end, as pieces of another record may stand between its own.
    pub resume: usize,
    /// What was logged.
    pub text: Cow<'a, [u8]>,
}

/// A part of a log in which the record around a hit is looked for.
#[derive(Clone, Copy)]
struct View<'a> {
    text: &'a [u8],
    /// The first byte to look at, and whether a line begins there.
    low: usize,
    begins_line: bool,
    high: usize,
}

struct Physical<'a> {
    range: Range<usize>,
    line: Line<'a>,
}

/// The record around the hit at `hit`. `text` begins at the beginning of a file or [`BEFORE`] before the hit, and ends at the
/// end of one or [`LONGEST`] after it; `floor` is where the last record ended.
pub fn around(text: &[u8], hit: usize, begins_file: bool, floor: usize) -> Found<'_> {
    let low = hit.saturating_sub(BEFORE);
    let view = View {
        text,
        low,
        begins_line: low == 0 && begins_file,
        high: text.len().min(hit + LONGEST),
    };
    match view.line_at(hit) {
        Some(physical) if physical.range.len() <= BEFORE => {
            let content = physical.line.text.trim_ascii_start();
            if let Some(document) = in_csv(content) {
                return Found {
                    start: Some(physical.range.start),
                    resume: physical.range.end,
                    text: Cow::Owned(document),
                };
            }
            match content.first() {
                _ if physical.line.is_of_runtime => view.in_lines(physical),
                // A line of JSON that was printed over several.
                Some(b'"') => view.in_json(hit, floor),
                Some(b'{' | b'[') if is_unfinished(content) => view.in_json(hit, floor),
                // What is wrong with other lines is no matter for this one. It may hold several records.
                Some(b'{' | b'[') => view.only(&physical.range).in_json(hit, floor),
                _ => view.in_lines(physical),
            }
        }
        _ => view.in_json(hit, floor),
    }
}

/// A JSON document in a field of CSV, as log servers export lines of JSON: there each of its quotes stands twice.
fn in_csv(line: &[u8]) -> Option<Vec<u8>> {
    let at = memchr::memmem::find(line, b"\"{\"\"")? + 1;
    let mut rest = line.get(at..)?;
    let mut document = Vec::with_capacity(rest.len());
    loop {
        let (text, quotes) = rest.split_at_checked(memchr::memchr(b'"', rest)?)?;
        document.extend_from_slice(text);
        match quotes {
            [_, b'"', more @ ..] => {
                document.push(b'"');
                rest = more;
            }
            _ => return Some(document),
        }
    }
}

fn is_unfinished(content: &[u8]) -> bool {
    !matches!(content.trim_ascii_end().last(), Some(b'}' | b']'))
}

impl<'a> View<'a> {
    fn only(self, range: &Range<usize>) -> View<'a> {
        View {
            low: range.start,
            high: range.end,
            ..self
        }
    }

    fn line_at(&self, at: usize) -> Option<Physical<'a>> {
        let before = self.text.get(self.low..at)?;
        let start = match memchr::memrchr(b'\n', before) {
            Some(newline) => self.low + newline + 1,
            None if self.begins_line => self.low,
            None => return None,
        };
        self.line_from(start, at)
    }

    /// The line that begins at `start` and holds `at`.
    fn line_from(&self, start: usize, at: usize) -> Option<Physical<'a>> {
        let end = match memchr::memchr(b'\n', self.text.get(at..self.high)?) {
            Some(newline) => at + newline,
            None if self.high == self.text.len() && start < self.high => self.high,
            None => return None,
        };
        let range = start..end;
        Some(Physical {
            line: unwrap(self.text.get(range.clone())?),
            range,
        })
    }

    /// The next line of the same stream.
    fn after(&self, line: &Physical<'_>) -> Option<Physical<'a>> {
        let mut start = line.range.end + 1;
        for _ in 0..MOST_LINES {
            let next = self.line_from(start, start)?;
            if next.line.stream == line.line.stream {
                return Some(next);
            }
            start = next.range.end + 1;
        }
        None
    }

    /// The last line of the same stream before.
    fn before(&self, line: &Physical<'_>) -> Option<Physical<'a>> {
        let mut end = line.range.start.checked_sub(1)?;
        for _ in 0..MOST_LINES {
            let last = self.line_at(end)?;
            if last.line.stream == line.line.stream {
                return Some(last);
            }
            end = last.range.start.checked_sub(1)?;
        }
        None
    }

    /// A logged line, of all its pieces: the first of them, and the last.
    fn whole(&self, piece: Physical<'a>) -> (Physical<'a>, Option<Physical<'a>>) {
        if !piece.line.is_of_runtime {
            return (piece, None);
        }
        let mut first = piece;
        for _ in 0..MOST_LINES {
            match self.before(&first) {
                Some(before) if before.line.is_partial => first = before,
                _ => break,
            }
        }
        let mut last: Option<Physical<'a>> = None;
        for _ in 0..MOST_LINES {
            let end = last.as_ref().unwrap_or(&first);
            if !end.line.is_partial {
                break;
            }
            let Some(next) = self.after(end) else { break };
            first.line.text.to_mut().extend_from_slice(&next.line.text);
            last = Some(next);
        }
        (first, last)
    }

    /// A record of one line, or of text over several.
    fn in_lines(&self, physical: Physical<'a>) -> Found<'a> {
        let resume = physical.range.end;
        let (mut first, mut last) = self.whole(physical);
        if first.line.text.trim_ascii_start().starts_with(b"{") {
            return Found {
                start: Some(first.range.start),
                resume,
                text: first.line.text,
            };
        }
        let mut resume = Some(resume);
        let mut steps = 0;
        let mut candidate = None;
        if !begins_record(&first.line) {
            let mut at = self.before(&first).map(|before| self.whole(before));
            while let Some((line, end)) = at.take() {
                steps += 1;
                if begins_record(&line.line) {
                    candidate = Some((line, end));
                } else if steps < MOST_LINES {
                    at = self.before(&line).map(|before| self.whole(before));
                }
            }
        }
        // A line of JSON goes on in no other.
        if let Some((line, end)) = candidate
            && !line.line.text.starts_with(b"{")
        {
            (first, last) = (line, end);
        }
        let start = first.range.start;
        let mut text = first.line.text.clone();
        let mut end = last.unwrap_or(first);
        for _ in 0..MOST_LINES {
            let Some((next, next_end)) = self.after(&end).map(|next| self.whole(next)) else {
                break;
            };
            if begins_record(&next.line) || text.len() + next.line.text.len() > LONGEST {
                break;
            }
            let text = text.to_mut();
            text.push(b'\n');
            text.extend_from_slice(&next.line.text);
            end = next_end.unwrap_or(next);
        }
        // Lines of another stream may stand between: they are searched too, and this record is known by its beginning.
        let alone = end.line.stream == Stream::Unknown;
        Found {
            start: Some(start),
            resume: match alone {
                true => end.range.end,
                false => resume.take().unwrap_or(end.range.end),
            },
            text,
        }
    }

    /// A record in JSON whose lines are no records.
    fn in_json(&self, hit: usize, floor: usize) -> Found<'a> {
        let part = self.text.get(self.low..self.high).unwrap_or_default();
        let blind = || {
            let start = hit.saturating_sub(BLIND).max(floor).max(self.low).min(hit);
            let end = self.high.min(hit + BLIND);
            Found {
                start: None,
                resume: end,
                text: Cow::Borrowed(self.text.get(start..end).unwrap_or_default()),
            }
        };
        let Some(string) = json::string_around(part, hit - self.low) else {
            return blind();
        };
        let inner = json::unescape(part.get(string.clone()).unwrap_or_default());
        let is_record = |text: &[u8]| text.contains(&b' ') && logger::find(text).is_some();
        // An element of an array is no field of a record, but may be one.
        let before = part.get(..string.start - 1).unwrap_or_default().trim_ascii_end();
        let is_quoted = || {
            let object = json::object_around(part, &string).and_then(|object| part.get(object));
            let object = object.and_then(|object| serde_json::from_slice(object).ok());
            matches!(object, Some(Value::Object(fields)) if quoting::is_of_other_logger(&fields))
        };
        if matches!(before.last(), Some(b'[' | b',')) || (is_record(&inner) && !is_quoted()) {
            return Found {
                start: Some(self.low + string.start),
                resume: self.low + string.end,
                text: inner,
            };
        }
        match json::object_around(part, &string) {
            Some(object) => Found {
                start: Some(self.low + object.start),
                resume: self.low + object.end,
                text: Cow::Borrowed(part.get(object).unwrap_or_default()),
            },
            None => Found {
                start: Some(self.low + string.start),
                resume: self.low + string.end,
                text: inner,
            },
        }
    }
}

/// Nested documents: a log entry in JSON whose message is a record in JSON, whose message may quote another.
const DEEPEST: usize = 6;

/// Takes apart what was logged: gives each record in it.
pub fn each(text: &[u8], sink: &mut dyn FnMut(&Record<'_>)) {
    each_in(text, 0, sink);
}

fn each_in(text: &[u8], depth: usize, sink: &mut dyn FnMut(&Record<'_>)) {
    let text = without_colours(text);
    let trimmed = text.trim_ascii();
    let is_json = |text: &[u8]| text.starts_with(b"{") || text.starts_with(b"[");
    // Tools put words of their own before a line of JSON.
    let document = match is_json(trimmed) {
        true => Some(trimmed),
        false if trimmed.ends_with(b"}") => memchr::memmem::find(trimmed, b"{\"").and_then(|at| trimmed.get(at..)),
        false => None,
    };
    if depth < DEEPEST
        && let Some(document) = document
        && let Ok(value) = serde_json::from_str::<Value>(&String::from_utf8_lossy(document))
    {
        let head = trimmed.len() - document.len();
        return match quoting::before(trimmed.get(..head).unwrap_or_default()) {
            Before::Carrier => each_of(&value, depth, sink),
            Before::Words => each_of(&value, depth, &mut |record| {
                sink(&Record {
                    is_unsure: true,
                    ..*record
                });
            }),
            Before::Logger => quoted(trimmed, sink),
        };
    }
    plain(&text, sink);
}

/// Names of the field that holds what was logged.
const MESSAGE: [&str; 8] = [
    "message",
    "msg",
    "textPayload",
    "log",
    "line",
    "MESSAGE",
    "body",
    "event",
];

fn each_of(value: &Value, depth: usize, sink: &mut dyn FnMut(&Record<'_>)) {
    match value {
        Value::Object(fields) => {
            let message = MESSAGE.iter().find_map(|name| fields.get(*name)?.as_str());
            let Some(message) = message else {
                return fields.values().for_each(|value| each_of(value, depth, sink));
            };
            let Some(logger) = logger_in(value, 0) else {
                if quoting::is_of_other_logger(fields) {
                    return quoted(message.as_bytes(), sink);
                }
                return each_in(message.as_bytes(), depth + 1, sink);
            };
            let text = |name: &str| fields.get(name).and_then(Value::as_str);
            let level = text("level").or_else(|| text("severity")).unwrap_or_default();
            let has_terms = |value: &&str| value.contains("sender = ");
            let terms = text("remote").or_else(|| fields.values().filter_map(Value::as_str).find(has_terms));
            sink(&Record {
                logger: Some(logger),
                level: level.as_bytes(),
                message: &without_colours(message.as_bytes()),
                terms: terms.unwrap_or_default().as_bytes(),
                is_unsure: false,
            });
        }
        Value::Array(values) => values.iter().for_each(|value| each_of(value, depth, sink)),
        Value::String(text) if memchr::memmem::find(text.as_bytes(), WORD).is_some() => {
            each_in(text.as_bytes(), depth + 1, sink);
        }
        _ => {}
    }
}

/// The name of a logger of interest among an object's fields and those of the objects in it: collectors put it under keys of
/// their own.
fn logger_in(value: &Value, depth: usize) -> Option<(&[u8], Kind)> {
    match value {
        Value::String(text) if !text.contains(' ') => {
            let name = text.as_bytes();
            logger::kind(name).map(|kind| (name, kind))
        }
        Value::Object(fields) if depth < 4 => fields.values().find_map(|value| logger_in(value, depth + 1)),
        _ => None,
    }
}

/// A record as text: `… LEVEL logger tid:… - message err-context:{…}`.
fn plain(text: &[u8], sink: &mut dyn FnMut(&Record<'_>)) {
    let found = logger::find(text);
    let (head, tail) = match found {
        Some((_, at)) => text.split_at_checked(at).unwrap_or((text, &[])),
        None => (&[][..], text),
    };
    let mut message = text;
    if let Some(dash) = memchr::memmem::find(tail, b" - ") {
        message = tail.get(dash + 3..).unwrap_or_default();
    }
    // What stands before a dash is no less part of what nobody's logger wrote.
    if found.is_none() {
        message = text;
    }
    let before = quoting::before_logger(head);
    if before == Before::Logger {
        return quoted(text, sink);
    }
    let level = head.trim_ascii_end();
    let level = level.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    sink(&Record {
        logger: found.and_then(|(name, _)| Some((name, logger::kind(name)?))),
        level,
        message,
        terms: message,
        is_unsure: before == Before::Words,
    });
}

/// What another logger says.
fn quoted(text: &[u8], sink: &mut dyn FnMut(&Record<'_>)) {
    sink(&Record {
        logger: None,
        level: &[],
        message: text,
        terms: &[],
        is_unsure: false,
    });
}

//! The commonest of all records of interest, `Commitment correct for sender …` as a line of JSON or of text, read where it
//! stands from one end to the other: no search, no allocation, nothing unescaped. Whatever differs in one byte from what the
//! encoders write is left to the others, which know all forms, and say the same of this one.

use std::sync::atomic::{AtomicU64, Ordering};

use memchr::memmem::Finder;

use super::alone::has_any;
use super::logger;
use super::message::CORRECT;
use crate::canton::Timestamp;
use crate::canton::evidence::Period;

/// What such a record stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// JSON.
    Json,
    /// JSON in a string of JSON.
    Inside,
    /// Text.
    Text,
}

/// Such a record.
pub struct Common<'a> {
    /// What it stands in.
    pub kind: Kind,
    /// The participant, as it was written.
    pub whom: &'a [u8],
    /// For which period.
    pub period: Period,
    /// The name of its logger, of whatever kind.
    pub logger: &'a [u8],
    /// A number that stands for this name: records of one name and different numbers are known anew, nothing else.
    pub logger_number: u64,
    /// Its level; empty where it says none.
    pub level: &'a [u8],
    /// Where it begins.
    pub start: usize,
    /// Where the search goes on.
    pub end: usize,
}

/// Bytes of the longest participant, and of the longest logger's name.
const LONGEST: usize = 320;
/// Bytes after a logger's name in which the level is looked for, as for all other forms.
const NEAR: usize = 512;
/// Bytes of an instant without a fraction.
const INSTANT: usize = 20;

/// What stands around the parts of a record, for JSON and for JSON inside of JSON.
struct Form {
    before: &'static [u8],
    between: &'static [u8],
    quote: &'static [u8],
    level: &'static [u8],
    /// What stands between the logger's name and the thread's where the level follows that.
    thread: &'static [u8],
    /// And between the thread's name and the level.
    level_of_thread: &'static [u8],
}

const FORMS: [Form; 2] = [
    Form {
        before: br#""message":""#,
        between: br#"","logger_name":""#,
        quote: b"\"",
        level: br#""level":""#,
        thread: br#","thread_name":""#,
        level_of_thread: br#"","level":""#,
    },
    Form {
        before: br#"\"message\":\""#,
        between: br#"\",\"logger_name\":\""#,
        quote: b"\\\"",
        level: br#"\"level\":\""#,
        thread: br#",\"thread_name\":\""#,
        level_of_thread: br#"\",\"level\":\""#,
    },
];

/// Reads such records, and remembers what the last one said, as the next one mostly says half of it again.
pub struct Reader {
    levels: [Finder<'static>; 2],
    periods: Periods,
    /// The last logger's name in each form, with the quote after it.
    loggers: [Known; 2],
    /// The same in text, with the blank after it, and where in it the word stands.
    text_logger: (Known, usize),
    /// Where the dash stood behind the last logger's name in text.
    dash: usize,
}

/// A logger's name that was read, and its number.
#[derive(Default)]
struct Known {
    text: Vec<u8>,
    number: u64,
}

impl Known {
    fn remember(&mut self, name: &[u8], end: &[u8]) {
        /// No two readers give the same number to different names.
        static NEXT: AtomicU64 = AtomicU64::new(1);
        self.text.clear();
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(end);
        self.number = NEXT.fetch_add(1, Ordering::Relaxed);
    }
}

impl Reader {
    /// One that has read nothing.
    pub fn new() -> Reader {
        Reader {
            levels: FORMS.map(|form| Finder::new(form.level)),
            periods: Periods::new(),
            loggers: Default::default(),
            text_logger: Default::default(),
            dash: 0,
        }
    }

    /// The record of which the first `Commitment` stands at `at`.
    #[inline]
    pub fn read<'a>(&mut self, bytes: &'a [u8], at: usize) -> Option<Common<'a>> {
        let (before, rest) = bytes.split_at_checked(at)?;
        match before.last() {
            Some(b'"') => self.json(bytes, before, rest.strip_prefix(CORRECT)?),
            Some(b's') => self.text(bytes, before),
            _ => None,
        }
    }

    /// A line of JSON, from what is after [`CORRECT`] on.
    #[inline]
    fn json<'a>(&mut self, bytes: &'a [u8], before: &[u8], rest: &'a [u8]) -> Option<Common<'a>> {
        // The second form does not end like the first: there is a backslash before its last quote.
        let number = FORMS.iter().position(|form| before.ends_with(form.before))?;
        let (form, levels) = (FORMS.get(number)?, self.levels.get(number)?);
        let known = self.loggers.get_mut(number)?;
        let (whom, period, rest) = self.periods.sentence(rest)?;
        let rest = rest.strip_prefix(form.between)?;
        let again = rest.strip_prefix(known.text.as_slice());
        let (logger, rest) = match again.filter(|_| !known.text.is_empty()) {
            Some(after) => (rest.get(..known.text.len().checked_sub(form.quote.len())?)?, after),
            None => {
                let end = string_end(rest.get(..LONGEST.min(rest.len()))?)?;
                let (name, after) = rest.split_at_checked(end)?;
                let after = after.strip_prefix(form.quote)?;
                known.remember(name, form.quote);
                (name, after)
            }
        };
        let near = rest.get(..NEAR.min(rest.len()))?;
        let level = match after_thread(near, form) {
            Some(text) => Some(text),
            None => levels.find(near).and_then(|level| near.get(level + form.level.len()..)),
        };
        Some(Common {
            kind: if number == 0 { Kind::Json } else { Kind::Inside },
            whom,
            period,
            logger,
            logger_number: known.number,
            level: level.and_then(level_at).unwrap_or_default(),
            start: before.len(),
            end: bytes.len() - rest.len(),
        })
    }

    /// A line of text, `… LEVEL logger tid:… - message`, or one that is a string of JSON.
    #[inline]
    fn text<'a>(&mut self, bytes: &'a [u8], before: &[u8]) -> Option<Common<'a>> {
        let (known, word) = &mut self.text_logger;
        let start = before.len().checked_sub(*word)?;
        let again = bytes.get(start..)?.strip_prefix(known.text.as_slice());
        // A longer name may end with the one that is known.
        let again =
            again.filter(|_| !known.text.is_empty() && before.get(..start).is_some_and(|head| head.ends_with(b" ")));
        let (start, rest) = match again {
            Some(rest) => (start, rest),
            None => {
                let near = before.get(before.len().saturating_sub(LONGEST)..)?;
                let class = near.iter().rev().take_while(|byte| !ends_name(byte)).count();
                let start = before.len() - class;
                let rest = bytes.get(start..)?;
                let end = rest.get(..LONGEST.min(rest.len()))?.iter().position(ends_name)?;
                let (name, rest) = (rest.get(..end)?, rest.get(end + 1..)?);
                let is_between_blanks =
                    before.get(..start)?.ends_with(b" ") && bytes.get(start + end) == Some(&b' ') && class < LONGEST;
                (is_between_blanks && near.ends_with(b"Acs") && logger::kind(name).is_some()).then_some(())?;
                known.remember(name, b" ");
                *word = class;
                (start, rest)
            }
        };
        let logger = bytes.get(start..start + known.text.len().checked_sub(1)?)?;
        let near = rest.get(..LONGEST.min(rest.len()))?;
        if !is_dash(near, self.dash) {
            self.dash = memchr::memchr_iter(b'-', near).find(|at| {
                let has_blank_before = at.checked_sub(1).is_none_or(|before| near.get(before) == Some(&b' '));
                has_blank_before && near.get(at + 1) == Some(&b' ')
            })?;
            // All of it on one line, and in one string.
            string_end(near.get(..self.dash)?).is_none().then_some(())?;
        }
        let dash = self.dash;
        let (whom, period, rest) = self.periods.sentence(rest.get(dash + 2..)?.strip_prefix(CORRECT)?)?;
        matches!(rest.first(), Some(b'\n' | b'"' | b'\\')).then_some(())?;
        let head = bytes.get(start.saturating_sub(16)..start)?;
        let level = match head.strip_suffix(b"  ") {
            // As logback pads it.
            Some(padded) if padded.ends_with(b" INFO") => padded.get(padded.len() - 4..)?,
            _ => head.trim_ascii_end().rsplit(|byte| *byte == b' ').next()?,
        };
        Some(Common {
            kind: Kind::Text,
            whom,
            period,
            logger,
            logger_number: known.number,
            level,
            start,
            end: bytes.len() - rest.len(),
        })
    }
}

/// What follows a logger's name, from the level on, where nothing but a thread's name stands between them.
#[inline]
fn after_thread<'a>(near: &'a [u8], form: &Form) -> Option<&'a [u8]> {
    let rest = near.strip_prefix(form.thread)?;
    let end = string_end(rest.get(..64.min(rest.len()))?)?;
    rest.get(end..)?.strip_prefix(form.level_of_thread)
}

/// The level that a text begins with.
#[inline]
fn level_at(text: &[u8]) -> Option<&[u8]> {
    let end = match text {
        [b'I', b'N', b'F', b'O', b'"' | b'\\', ..] => 4,
        [b'D', b'E', b'B', b'U', b'G', b'"' | b'\\', ..] => 5,
        _ => string_end(text.get(..16.min(text.len()))?)?,
    };
    text.get(..end)
}

/// Whether the first dash stands here, between blanks, and behind nothing that ends a line or a string.
#[inline]
fn is_dash(near: &[u8], dash: usize) -> bool {
    let Some((head, [b'-', b' ', ..])) = near.split_at_checked(dash) else {
        return false;
    };
    head.last() == Some(&b' ') && !has_any(head, 0, *b"-\"\\\n")
}

/// What ends a string, or a piece of one.
#[inline]
fn string_end(text: &[u8]) -> Option<usize> {
    memchr::memchr3(b'"', b'\\', b'\n', text)
}

fn ends_name(byte: &u8) -> bool {
    matches!(byte, b' ' | b'"' | b'\\' | b'\n' | b',')
}

/// The last period that was read: its text from its bracket to the other, and what it means.
struct Periods {
    text: Vec<u8>,
    period: Period,
    /// Bytes of the last participant's name.
    whom: usize,
}

impl Periods {
    fn new() -> Periods {
        let never = Period {
            from_exclusive: Timestamp::MIN,
            to_inclusive: Timestamp::MIN,
        };
        Periods {
            text: b"\n".to_vec(),
            period: never,
            whom: 0,
        }
    }

    /// `<participant> and period <period>`, and what follows.
    #[inline]
    fn sentence<'a>(&mut self, text: &'a [u8]) -> Option<(&'a [u8], Period, &'a [u8])> {
        const BETWEEN: &[u8] = b" and period CommitmentPeriod";
        // Names are as long as the one before, or there are few lengths.
        let as_long = text.split_at_checked(self.whom).and_then(|(whom, rest)| {
            let rest = rest.strip_prefix(BETWEEN).filter(|rest| rest.starts_with(b"("))?;
            (!has_any(whom, 0, *b"(")).then_some((whom, rest))
        });
        let (whom, rest) = match as_long {
            Some(found) => found,
            None => {
                // No participant's name holds a bracket.
                let bracket = memchr::memchr(b'(', text.get(..LONGEST.min(text.len()))?)?;
                let (head, rest) = text.split_at_checked(bracket)?;
                let whom = head.strip_suffix(BETWEEN)?;
                self.whom = whom.len();
                (whom, rest)
            }
        };
        if let Some(rest) = rest.strip_prefix(self.text.as_slice()) {
            return Some((whom, self.period, rest));
        }
        let (period, after) = period(rest)?;
        let (text, _) = rest.split_at_checked(rest.len() - after.len())?;
        self.text.clear();
        self.text.extend_from_slice(text);
        self.period = period;
        Some((whom, period, after))
    }
}

/// `(fromExclusive = …, toInclusive = …)`, and what follows.
fn period(text: &[u8]) -> Option<(Period, &[u8])> {
    let (from_exclusive, rest) = instant(text.strip_prefix(b"(fromExclusive = ")?, b',')?;
    let (to_inclusive, rest) = instant(rest.strip_prefix(b" toInclusive = ")?, b')')?;
    let period = Period {
        from_exclusive,
        to_inclusive,
    };
    (from_exclusive < to_inclusive).then_some((period, rest))
}

/// An instant, and what follows the byte after it.
fn instant(text: &[u8], end: u8) -> Option<(Timestamp, &[u8])> {
    let length = match text.get(INSTANT) {
        Some(byte) if *byte == end => INSTANT,
        _ => memchr::memchr(end, text.get(..32.min(text.len()))?)?,
    };
    Some((Timestamp::parse(text.get(..length)?)?, text.get(length + 1..)?))
}

/// Counterparties that are remembered at once. Two in the same place cost time, nothing else.
const SEEN: usize = 256;

/// Where what was read of a counterparty went.
#[derive(Default)]
pub struct Seen {
    logger: u64,
    /// By a number that is made of the name: it, and its list.
    lists: Vec<(Vec<u8>, usize)>,
}

impl Seen {
    /// The list that a record belongs to, if it is known.
    #[inline]
    pub fn list(&self, common: &Common<'_>) -> Option<usize> {
        let (whom, list) = self.lists.get(place(common.whom))?;
        (whom == common.whom && self.logger == common.logger_number).then_some(*list)
    }

    /// Remembers it.
    pub fn remember(&mut self, common: &Common<'_>, list: usize) {
        if self.logger != common.logger_number {
            self.forget();
            self.logger = common.logger_number;
        }
        self.lists.resize(SEEN, (Vec::new(), 0));
        if let Some(place) = self.lists.get_mut(place(common.whom)) {
            *place = (common.whom.to_vec(), list);
        }
    }

    /// Forgets all.
    pub fn forget(&mut self) {
        self.logger = 0;
        self.lists.clear();
    }
}

/// Names differ in the digits before their dots, the last of which is the highest byte: so the highest bits are taken.
#[inline]
fn place(name: &[u8]) -> usize {
    let digits = name.len().checked_sub(7).and_then(|at| name.get(at..)?.first_chunk());
    let mixed = u32::from_le_bytes(*digits.unwrap_or(&[0; 4])).wrapping_mul(0x9e37_79b1);
    (mixed >> 24) as usize % SEEN
}

#[cfg(test)]
mod tests {
    use super::super::message::{Said, read};
    use super::super::search;
    use super::super::testing::*;
    use super::*;
    use crate::canton::evidence::Comparison;
    use crate::canton::name::Participant;

    #[test]
    fn what_is_read_in_one_go_is_what_all_forms_are_read_as() {
        let mut reader = Reader::new();
        let mut last = 0;
        for (number, (whom, minute, level)) in [
            ("PAR::sv-1::12205f1149bc...", 3, "INFO"),
            ("PAR::sv 3:x::122048d430a7...", 3, "DEBUG"),
            ("PAR::sv 3:x::122048d430a7...", 4, "INFO"),
            ("sv and period::122048d430a7...", 5, "INFO"),
        ]
        .into_iter()
        .enumerate()
        {
            let line = Encoder::Json.encode(&correct(1, whom, minute).level(level));
            let inside = serde_json::json!({ "log": line }).to_string();
            let text = Encoder::Text.encode(&correct(1, whom, minute).level(level)) + "\n";
            let text_inside = serde_json::json!({ "log": text }).to_string();
            for line in [line, inside, text, text_inside] {
                let hit = memchr::memmem::find(line.as_bytes(), search::WORD).unwrap();
                let common = reader.read(line.as_bytes(), hit).unwrap();
                let (record, end) = search::fast(line.as_bytes(), hit)
                    .map(|near| (near.record, near.end))
                    .unwrap();
                assert_eq!(common.end, end);
                assert_eq!((common.logger, common.level), (record.logger.unwrap().0, record.level));
                let mut all = Vec::new();
                read(&record, &mut |_, said| all.push(said));
                assert_eq!(all, [Said::Compared(common.whom, common.period, Comparison::Correct)]);
                last = number;
            }
        }
        assert_eq!(last, 3);
    }

    fn is_name(whom: &[u8]) -> bool {
        std::str::from_utf8(whom).is_ok_and(|whom| Participant::parse(whom).is_some())
    }

    #[test]
    fn what_differs_in_one_byte_is_left_to_the_others_or_read_the_same() {
        for encoder in Encoder::ALL {
            differs_in_one_byte(&(encoder.encode(&correct(1, "PAR::sv-1::12205f1149bc...", 3)) + "\n"));
        }
    }

    fn differs_in_one_byte(line: &str) {
        let hit = memchr::memmem::find(line.as_bytes(), search::WORD).unwrap();
        for at in 0..line.len() {
            for byte in [b'"', b'\\', b'\n', b'(', b')', b'x', 0xff] {
                let mut bytes = line.as_bytes().to_vec();
                bytes[at] = byte;
                // Also after a sound one, of which it remembers the parts.
                for warm in [false, true] {
                    let mut reader = Reader::new();
                    if warm {
                        reader.read(line.as_bytes(), hit).unwrap();
                    }
                    // A name that is none is refused by who takes the record.
                    let common = reader.read(&bytes, hit);
                    let Some(common) = common.filter(|common| is_name(common.whom)) else {
                        continue;
                    };
                    let Some(near) = search::fast(&bytes, hit) else {
                        panic!("{}", String::from_utf8_lossy(&bytes));
                    };
                    let mut all = Vec::new();
                    read(&near.record, &mut |_, said| all.push(said));
                    let said = Said::Compared(common.whom, common.period, Comparison::Correct);
                    assert_eq!(all, [said], "{}", String::from_utf8_lossy(&bytes));
                    assert_eq!((common.start, common.end), (near.start, near.end));
                    assert_eq!(common.level, near.record.level);
                    assert!(near.record.logger.is_none_or(|(name, _)| name == common.logger));
                }
            }
            // Where the text breaks off.
            Reader::new().read(&line.as_bytes()[..at], hit.min(at));
        }
    }
}

//! The search for one word, and what is done around each hit.
//!
//! Why this word: `AcsCommitmentProcessor`, `ReceivedAcsCommitmentMatcher`, `Commitment correct …` and `CommitmentPeriod(…)`
//! all hold it, so that one substring search, the fastest there is, finds every record of interest, and what is found tells
//! the rest apart. Searching for a dozen sentences at once would cost every byte of the log, not only the hits.
//!
//! What a hit costs: most records of interest are of one line and a well-known form. They are read where they stand, through
//! all layers of escaping ([`fast`]); the search then goes on behind them. All others are put together by
//! [`record::around`](super::record::around), which costs more.

use std::io::{self, Read};
use std::ops::Range;

use memchr::memmem::Finder;

use super::gathered::Gathered;
use super::message::{CORRECT, Record};
use super::record::{self, BEFORE, LONGEST};
use super::window::Window;
use super::wrapping::{ESCAPE, unwrap};
use super::{alone, common, journal, logger, pieces, quoting};

/// What is searched for.
pub const WORD: &[u8] = b"Commitment";

/// Which records of a log are to be read.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Those that begin here.
    pub own: Range<u64>,
    /// Whether what stands before the first line break is left to [`Edges::head`].
    pub leaves_head: bool,
    /// Whether what stands after the last line break is left to [`Edges::tail`].
    pub leaves_tail: bool,
}

/// The parts of lines at the beginning and the end of a file that is one of several of the same log, left out there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edges {
    /// The file's first bytes, and how many of them belong to a line of the file before.
    pub head: (Vec<u8>, usize),
    /// The file's last bytes, and from which of them on they belong to a line that goes on in the next file.
    pub tail: (Vec<u8>, usize),
    /// Whether there is no line break in the whole file: then `head` holds all of it.
    pub is_one_line: bool,
}

/// Searches logs for a thread.
pub struct Search {
    finder: Finder<'static>,
    common: common::Reader,
    /// Beginnings of the last records that were put together: their other pieces are hits too.
    done: [u64; 4],
    next_done: usize,
    messages: journal::Messages,
}

impl Search {
    /// A new one.
    pub fn new() -> Search {
        Search {
            finder: Finder::new(WORD),
            common: common::Reader::new(),
            done: [u64::MAX; 4],
            next_done: 0,
            messages: journal::Messages::new(),
        }
    }

    /// Reads a log whose bytes from `from` on come out of `source`, and which ends with it or after what a record of the scope
    /// needs. Where reading fails, all before is used. `progress` hears of the bytes read.
    pub fn run(
        &mut self,
        source: &mut dyn Read,
        from: u64,
        scope: Scope,
        gathered: &mut Gathered,
        progress: &(dyn Fn(u64) + Sync),
    ) -> (Edges, io::Result<()>) {
        let mut window = Window::new(from);
        let (_, read, result) = window.slide(0, source);
        progress(read as u64);
        self.windows(window, result, source, scope, gathered, progress)
    }

    /// Reads a log that is in memory from `from` on, as [`Search::run`] does.
    pub fn run_mapped(&mut self, bytes: &[u8], from: u64, scope: Scope, gathered: &mut Gathered) -> Edges {
        let window = Window::whole(bytes, from);
        self.windows(window, Ok(()), &mut io::empty(), scope, gathered, &|_| ())
            .0
    }

    fn windows(
        &mut self,
        mut window: Window<'_>,
        mut result: io::Result<()>,
        source: &mut dyn Read,
        mut scope: Scope,
        gathered: &mut Gathered,
        progress: &(dyn Fn(u64) + Sync),
    ) -> (Edges, io::Result<()>) {
        self.done = [u64::MAX; 4];
        let mut edges = Edges::default();
        let from = window.base();
        gathered.sample(window.bytes(), from == 0);
        if scope.leaves_head {
            leave_head(&window, &mut scope, &mut edges);
        }
        let mut at = usize::try_from(scope.own.start.saturating_sub(from)).unwrap_or(usize::MAX);
        at = at.min(window.bytes().len());
        let mut journal = journal::is_one(window.bytes()).then_some(at);
        loop {
            if window.is_end() && scope.leaves_tail && !edges.is_one_line && result.is_ok() {
                scope.leaves_tail = false;
                leave_tail(&window, &mut scope, &mut edges);
            }
            at = self.window(&window, at, &scope.own, gathered);
            if let Some(journal) = &mut journal {
                *journal = self.messages(&window, *journal, &scope.own, gathered);
            }
            let past = window.base() + at as u64 >= scope.own.end.saturating_add(BEFORE as u64);
            if window.is_end() || past {
                return (edges, result);
            }
            let first = at.min(journal.unwrap_or(at));
            let (now, read, slid) = window.slide(first, source);
            progress(read as u64);
            at -= first - now;
            journal = journal.map(|journal| journal - (first - now));
            result = slid;
        }
    }

    /// Reads a log that is in memory.
    pub fn whole(&mut self, bytes: &[u8], gathered: &mut Gathered) {
        let window = Window::whole(bytes, 0);
        gathered.sample(bytes, true);
        self.window(&window, 0, &(0..u64::MAX), gathered);
    }

    /// Searches a window from `at` on; answers from where it has to go on in the next one.
    fn window(&mut self, window: &Window<'_>, mut at: usize, own: &Range<u64>, gathered: &mut Gathered) -> usize {
        let bytes = window.bytes();
        let safe = match window.is_end() {
            true => bytes.len(),
            false => bytes.len().saturating_sub(LONGEST),
        };
        // Records that begin before the end of the scope may hold the word only after it.
        let last = own.end.saturating_add(BEFORE as u64).saturating_sub(window.base());
        let last = usize::try_from(last).unwrap_or(usize::MAX).min(bytes.len());
        loop {
            let Some(hit) = bytes.get(at..last).and_then(|rest| self.finder.find(rest)) else {
                return at.max(last.saturating_sub(WORD.len() - 1));
            };
            let hit = at + hit;
            if hit >= safe && !window.is_end() {
                return hit;
            }
            let resume = self.hit(window, hit, at, own, gathered);
            at = resume.max(hit + WORD.len());
        }
    }

    /// Reads the messages of bytes in a window of a journal from `at` on; answers from where to go on in the next one.
    fn messages(&mut self, window: &Window<'_>, mut at: usize, own: &Range<u64>, gathered: &mut Gathered) -> usize {
        let bytes = window.bytes();
        let safe = match window.is_end() {
            true => bytes.len(),
            false => bytes.len().saturating_sub(journal::LONGEST),
        };
        while let Some((field, end, message)) = self.messages.next(bytes, at) {
            if field >= safe && !window.is_end() {
                return field;
            }
            at = end;
            if own.contains(&(window.base() + field as u64))
                && let Some(message) = message
            {
                record::each(&message, &mut |record| gathered.take(record));
            }
        }
        at.max(safe)
    }

    fn hit(
        &mut self,
        window: &Window<'_>,
        hit: usize,
        floor: usize,
        own: &Range<u64>,
        gathered: &mut Gathered,
    ) -> usize {
        let bytes = window.bytes();
        let position = window.base() + hit as u64;
        let common = self.common.read(bytes, hit);
        let is_alone = common.as_ref().is_some_and(|common| alone::is_line(bytes, common));
        let is_suspect = !is_alone && quoting::is_suspect(bytes, hit);
        if let Some(common) = common.filter(|_| !is_suspect) {
            let is_own = own.contains(&(window.base() + common.start as u64));
            if !is_own || gathered.take_correct(&common) {
                return common.end;
            }
        }
        if !is_suspect && let Some(near) = fast(bytes, hit) {
            // Whichever of its words was hit, a record begins at one place.
            let is_own = own.contains(&(window.base() + near.start as u64));
            if !is_own || gathered.take_if_sound(&near.record) {
                return near.end;
            }
        }
        let found = record::around(bytes, hit, window.base() == 0, floor);
        let start = found.start.map_or(position, |start| window.base() + start as u64);
        if !own.contains(&start) || self.done.contains(&start) {
            // Its other hits are in it too, but what a record is may differ from hit to hit where JSON is malformed.
            return hit + WORD.len();
        }
        if found.start.is_some() {
            if let Some(slot) = self.done.get_mut(self.next_done % 4) {
                *slot = start;
            }
            self.next_done = (self.next_done + 1) % 4;
        }
        record::each(&found.text, &mut |record| {
            gathered.take(record);
            gathered.doubt(record, start);
        });
        found.resume
    }
}

/// Bytes of what was left out of a file at each side.
const EDGE: usize = BEFORE;
/// Bytes after a file's first line that are kept with it where it begins a record of interest.
const MORE: usize = 16 << 10;

fn leave_head(window: &Window<'_>, scope: &mut Scope, edges: &mut Edges) {
    let bytes = window.bytes();
    let line = bytes.get(..bytes.len().min(EDGE)).unwrap_or_default();
    match memchr::memchr(b'\n', line) {
        Some(newline) => {
            // Lines that go on with the same record are rarely needed, and there may be many files.
            let first = bytes.get(..newline).unwrap_or_default();
            let has_more = memchr::memmem::find(first, WORD).is_some() || pieces::is_piece(&unwrap(first));
            let more = if has_more { MORE } else { 0 };
            let end = bytes.len().min(newline + 1 + more);
            edges.head = (bytes.get(..end).unwrap_or_default().to_vec(), newline + 1);
            scope.own.start = window.base() + newline as u64 + 1;
        }
        None if window.is_end() && bytes.len() <= EDGE => {
            edges.head = (bytes.to_vec(), bytes.len());
            edges.is_one_line = true;
            scope.own.start = scope.own.end;
        }
        // Too long for a line that was cut: it is searched in its place.
        None => {}
    }
}

fn leave_tail(window: &Window<'_>, scope: &mut Scope, edges: &mut Edges) {
    let bytes = window.bytes();
    let from = bytes.len().saturating_sub(EDGE);
    let newline = bytes.get(from..).and_then(|rest| memchr::memrchr(b'\n', rest));
    let line = match newline {
        Some(newline) => from + newline + 1,
        None if from == 0 && window.base() == 0 => 0,
        None => return,
    };
    // A piece of a line is a line of its own, and goes on in the next file all the same.
    let line = match line == bytes.len() && line > 0 {
        true => bytes
            .get(from..)
            .and_then(pieces::open_line)
            .map_or(line, |start| from + start),
        false => line,
    };
    if line < bytes.len() {
        let context = line.saturating_sub(BEFORE);
        edges.tail = (bytes.get(context..).unwrap_or_default().to_vec(), line - context);
        scope.own.end = scope.own.end.min(window.base() + line as u64);
    }
}

/// Bytes of the longest sentence that is read where it stands, and of what is looked through for a level.
const NEAR: usize = 512;

/// A record that is read where it stands.
pub(super) struct Near<'a> {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) record: Record<'a>,
}

/// The record around a hit, if it is of a well-known form and stands on one line: in JSON, a message without escapes and the
/// logger's name right behind it; in text, the logger's name, a dash and the message.
pub(super) fn fast(bytes: &[u8], hit: usize) -> Option<Near<'_>> {
    fast_json(bytes, hit).or_else(|| fast_text(bytes, hit))
}

/// A JSON string's delimiters under so many backslashes, as they are where JSON stands inside of JSON.
struct Quoted<'a> {
    bytes: &'a [u8],
    backslashes: usize,
}

impl<'a> Quoted<'a> {
    /// After `<name>":"` at `at`.
    fn key(&self, at: usize, name: &[u8]) -> Option<usize> {
        let at = self.quote(at)?;
        let end = at + name.len();
        (self.bytes.get(at..end)? == name).then_some(())?;
        let mut at = self.quote(end)?;
        (self.bytes.get(at) == Some(&b':')).then_some(())?;
        at += 1;
        if self.bytes.get(at) == Some(&b' ') {
            at += 1;
        }
        self.quote(at)
    }

    /// After a quote at `at`.
    fn quote(&self, at: usize) -> Option<usize> {
        let end = at + self.backslashes;
        let escapes = self.bytes.get(at..end)?;
        (escapes.iter().all(|byte| *byte == b'\\') && self.bytes.get(end) == Some(&b'"')).then_some(end + 1)
    }

    /// The text from `at` on to the next quote, escape or line break, and where it ends.
    fn text(&self, at: usize) -> Option<(&'a [u8], usize)> {
        let rest = self.bytes.get(at..self.bytes.len().min(at + 2 * NEAR))?;
        // No string goes on in the next line: what does is a piece.
        let end = memchr::memchr3(b'"', b'\\', b'\n', rest)?;
        Some((rest.get(..end)?, at + end))
    }

    /// After a comma at `at`.
    fn comma(&self, at: usize) -> Option<usize> {
        (self.bytes.get(at) == Some(&b',')).then_some(())?;
        Some(match self.bytes.get(at + 1) {
            Some(b' ') => at + 2,
            _ => at + 1,
        })
    }
}

/// Where the string around `at` begins, after its quote, if it has no escape before `at`; and how many backslashes stand
/// before that quote.
fn string_start(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let from = at.saturating_sub(NEAR);
    let quote = from + memchr::memrchr3(b'"', b'\\', b'\n', bytes.get(from..at)?)?;
    (bytes.get(quote) == Some(&b'"')).then_some(())?;
    let before = bytes.get(from..quote)?;
    let backslashes = before.iter().rev().take(16).take_while(|byte| **byte == b'\\').count();
    Some((quote + 1, backslashes))
}

fn fast_json(bytes: &[u8], hit: usize) -> Option<Near<'_>> {
    let (mut start, backslashes) = string_start(bytes, hit)?;
    let quoted = Quoted { bytes, backslashes };
    let before_key = |start: usize, name: &[u8]| {
        // `"name":"`, perhaps with a blank.
        let length = 3 + name.len() + 3 * backslashes + 1;
        [length, length + 1]
            .into_iter()
            .filter_map(|length| start.checked_sub(length))
            .find(|at| quoted.key(*at, name) == Some(start))
    };
    if let Some(key) = before_key(start, b"logger_name") {
        // The message, which doesn't hold the word, stands right before.
        let mut end = key.checked_sub(1)?;
        if bytes.get(end) == Some(&b' ') {
            end = end.checked_sub(1)?;
        }
        let end = end.checked_sub(backslashes + 1)?;
        let before;
        (start, before) = string_start(bytes, end)?;
        (before == backslashes).then_some(())?;
    }
    before_key(start, b"message")?;
    let (message, end) = quoted.text(start)?;
    let at = quoted.comma(quoted.quote(end)?)?;
    let (name, end) = quoted.text(quoted.key(at, b"logger_name")?)?;
    let after = quoted.quote(end)?;
    // A mismatch's terms are in other fields.
    if !message.starts_with(CORRECT) && memchr::memmem::find(message, b"ACS_").is_some() {
        return None;
    }
    let near = bytes.get(after..bytes.len().min(after + NEAR)).unwrap_or_default();
    let level = memchr::memmem::find(near, b"\"level")
        .and_then(|at| quoted.key((after + at).checked_sub(backslashes)?, b"level"))
        .and_then(|at| Some(quoted.text(at)?.0));
    let record = Record {
        logger: logger::kind(name).map(|kind| (name, kind)),
        level: level.unwrap_or_default(),
        message,
        terms: &[],
        is_unsure: false,
    };
    Some(Near {
        start,
        end: after,
        record,
    })
}

fn fast_text(bytes: &[u8], hit: usize) -> Option<Near<'_>> {
    bytes.get(..hit)?.ends_with(b"Acs").then_some(())?;
    let blank = |byte: &u8| matches!(byte, b' ' | b'"' | b'\\' | b'\n' | b',');
    let before = bytes.get(hit.saturating_sub(NEAR)..hit)?;
    let start = hit - before.iter().rev().take_while(|byte| !blank(byte)).count();
    let rest = bytes.get(start..bytes.len().min(start + 2 * NEAR))?;
    let name = rest.get(..rest.iter().position(blank)?)?;
    let kind = logger::kind(name)?;
    // One line: what ends it, or the string that it is in, stands after the message.
    let line = rest.get(..memchr::memchr3(b'\n', b'"', b'\\', rest)?)?;
    // Colours are taken off first.
    let head = bytes.get(start.saturating_sub(16)..start)?;
    if memchr::memchr(ESCAPE, line).is_some() || head.contains(&ESCAPE) {
        return None;
    }
    let dash = memchr::memmem::find(line, b" - ")?;
    let message = line.get(dash + 3..)?;
    let has_terms = |start: &[u8]| message.starts_with(start);
    if has_terms(b"Buffering")
        || has_terms(b"Ignoring")
        || (!message.starts_with(CORRECT) && memchr::memmem::find(message, b"ACS_").is_some())
    {
        return None;
    }
    let head = head.trim_ascii_end();
    let record = Record {
        logger: Some((name, kind)),
        level: head.rsplit(|byte| *byte == b' ').next().unwrap_or_default(),
        message,
        terms: &[],
        is_unsure: false,
    };
    Some(Near {
        start,
        end: start + line.len(),
        record,
    })
}

//! Bytes with a look ahead and their offset: what the reader of SQL stands on. A read that fails is remembered, and ends the
//! input, so that everything read before it still counts.

use std::io::{self, ErrorKind, Read};

use memchr::memmem;

/// Bytes read at first, and later at once: an archive has many short texts, and a dump is a long one.
const FIRST_BUFFER: usize = 1 << 10;
const BUFFER: usize = 256 << 10;

/// The input.
pub(super) struct Input<'r> {
    inner: Box<dyn Read + 'r>,
    buffer: Vec<u8>,
    start: usize,
    /// Offset of the buffer's first byte.
    base: u64,
    next_read: usize,
    ended: bool,
    failed: Option<io::Error>,
}

/// A line that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Whole, with its end.
    Whole,
    /// Longer than the bound: its rest was passed over.
    TooLong,
    /// The input ended in it.
    CutOff,
}

impl<'r> Input<'r> {
    pub fn new(inner: impl Read + 'r) -> Input<'r> {
        Input {
            inner: Box::new(inner),
            buffer: Vec::new(),
            start: 0,
            base: 0,
            next_read: FIRST_BUFFER,
            ended: false,
            failed: None,
        }
    }

    /// Offset of the next byte.
    pub fn offset(&self) -> u64 {
        self.base + self.start as u64
    }

    /// Why the input ended, if not because there is no more.
    pub fn failed(&mut self) -> Option<io::Error> {
        self.failed.take()
    }

    /// Reads until so many bytes are ahead, or the input ends.
    fn fill(&mut self, wanted: usize) {
        while !self.ended && self.buffer.len() - self.start < wanted {
            self.buffer.drain(..self.start);
            self.base += self.start as u64;
            self.start = 0;
            let kept = self.buffer.len();
            self.buffer.resize(kept + self.next_read, 0);
            let read = match self.buffer.get_mut(kept..) {
                Some(room) => self.inner.read(room),
                None => Ok(0),
            };
            self.buffer.truncate(kept + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => self.ended = true,
                // What comes in small pieces needs no large buffer.
                Ok(read) if read >= self.next_read / 2 => self.next_read = (self.next_read * 4).min(BUFFER),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => {
                    self.failed = Some(e);
                    self.ended = true;
                }
            }
        }
    }

    /// What is ahead, at least one byte unless the input has ended.
    pub fn ahead(&mut self) -> &[u8] {
        if self.start >= self.buffer.len() {
            self.fill(1);
        }
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// The next byte but so many.
    pub fn peek_at(&mut self, distance: usize) -> Option<u8> {
        if self.start + distance >= self.buffer.len() {
            self.fill(distance + 1);
        }
        self.buffer.get(self.start + distance).copied()
    }

    /// The next byte.
    pub fn peek(&mut self) -> Option<u8> {
        self.peek_at(0)
    }

    /// Passes so many of the bytes ahead.
    pub fn pass(&mut self, bytes: usize) {
        self.start = (self.start + bytes).min(self.buffer.len());
    }

    /// Takes the next byte.
    pub fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.pass(1);
        Some(byte)
    }

    /// Takes bytes up to the first that is not of the kind, and keeps the first `bound` of them; whether there were more.
    pub fn take_while(&mut self, out: &mut Vec<u8>, bound: usize, kind: impl Fn(u8) -> bool) -> bool {
        let mut more = false;
        loop {
            let ahead = self.ahead();
            let taken = ahead.iter().position(|byte| !kind(*byte)).unwrap_or(ahead.len());
            let is_last = taken < ahead.len() || ahead.is_empty();
            let kept = taken.min(bound.saturating_sub(out.len()));
            out.extend_from_slice(ahead.get(..kept).unwrap_or_default());
            more |= kept < taken;
            self.pass(taken);
            if is_last {
                return more;
            }
        }
    }

    /// Takes a line without its end, and keeps the first `bound` bytes of it.
    pub fn line(&mut self, out: &mut Vec<u8>, bound: usize) -> Line {
        out.clear();
        let more = self.take_while(out, bound, |byte| byte != b'\n');
        match (self.next(), more) {
            (None, _) => Line::CutOff,
            (Some(_), true) => Line::TooLong,
            (Some(_), false) => Line::Whole,
        }
    }

    /// Passes everything up to and with the line that is `\.`; whether there was one. A line begins here.
    pub fn pass_rows(&mut self) -> bool {
        let is_end = |input: &mut Self, at: usize| {
            let two = (input.peek_at(at), input.peek_at(at + 1));
            let after = (input.peek_at(at + 2), input.peek_at(at + 3));
            let ends = matches!(after, (None | Some(b'\n'), _) | (Some(b'\r'), Some(b'\n')));
            two == (Some(b'\\'), Some(b'.')) && ends
        };
        let mut at_line = true;
        loop {
            if at_line && is_end(self, 0) {
                self.pass(2);
                return self.line(&mut Vec::new(), 0) != Line::CutOff;
            }
            at_line = false;
            let ahead = self.ahead();
            if ahead.is_empty() {
                return false;
            }
            match memmem::find(ahead, b"\n\\.") {
                Some(at) => {
                    self.pass(at + 1);
                    at_line = true;
                }
                // The pattern may begin in the last two bytes and go on in what is read next.
                None if ahead.len() > 2 => {
                    let passed = ahead.len() - 2;
                    self.pass(passed);
                }
                None => {
                    let held = ahead.len();
                    if self.peek_at(held).is_none() {
                        self.pass(held);
                        return false;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time.
    struct Drops<'a>(&'a [u8]);

    impl Read for Drops<'_> {
        fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
            let one = self.0.len().min(1).min(room.len());
            room[..one].copy_from_slice(&self.0[..one]);
            self.0 = &self.0[one..];
            Ok(one)
        }
    }

    #[test]
    fn rows_are_passed_however_they_arrive() {
        for (text, rest) in [
            ("a\tb\n\\.\nrest", Some("rest")),
            ("\\.\nrest", Some("rest")),
            ("\\.x\n\\..\n\\.\r\nrest", Some("rest")),
            ("a\n\\\\.\n\n\\.\nrest", Some("rest")),
            ("a\n\\.", None),
            ("a\n\\", None),
            ("", None),
        ] {
            for in_drops in [true, false] {
                let mut input = match in_drops {
                    true => Input::new(Drops(text.as_bytes())),
                    false => Input::new(text.as_bytes()),
                };
                assert_eq!(input.pass_rows(), rest.is_some(), "{text}");
                let mut out = Vec::new();
                input.line(&mut out, 100);
                assert_eq!(out, rest.unwrap_or("").as_bytes(), "{text}");
            }
        }
    }

    #[test]
    fn a_line_is_kept_up_to_the_bound_and_offsets_count_all() {
        let text = [&[b'x'; 1_000_000][..], b"\nab\nc"].concat();
        let mut input = Input::new(text.as_slice());
        let mut out = Vec::new();
        assert_eq!(input.line(&mut out, 10), Line::TooLong);
        assert_eq!((out.len(), input.offset()), (10, 1_000_001));
        assert_eq!((input.line(&mut out, 10), out.as_slice()), (Line::Whole, &b"ab"[..]));
        assert_eq!((input.line(&mut out, 10), out.as_slice()), (Line::CutOff, &b"c"[..]));
    }
}

//! UTF-16 as UTF-8, read piece by piece.

use std::io::{self, BufRead, Read};

/// Reads UTF-16 and gives UTF-8, without the mark at the beginning. Half a pair is the replacement character, and so is the
/// half of a character at the end.
pub(super) struct Decoder<R> {
    source: R,
    big_endian: bool,
    /// A byte whose other half is still to come.
    byte: Option<u8>,
    /// The first half of a pair.
    high: Option<u16>,
    /// What is decoded and not read yet, from `at` on.
    ready: Vec<u8>,
    at: usize,
    is_begun: bool,
}

impl<R: BufRead> Decoder<R> {
    /// A decoder of what begins with the mark.
    pub fn new(source: R, big_endian: bool) -> Decoder<R> {
        Decoder {
            source,
            big_endian,
            byte: None,
            high: None,
            ready: Vec::new(),
            at: 0,
            is_begun: false,
        }
    }

    /// Decodes the next piece; whether there was one.
    fn fill(&mut self) -> io::Result<bool> {
        self.ready.clear();
        self.at = 0;
        let mut source = self.source.fill_buf()?;
        let length = source.len();
        if length == 0 {
            let is_cut = self.byte.take().is_some() | self.high.take().is_some();
            if is_cut {
                push(&mut self.ready, char::REPLACEMENT_CHARACTER);
            }
            return Ok(is_cut);
        }
        let mut unit = |unit: u16| {
            let begins = !std::mem::replace(&mut self.is_begun, true);
            if begins && unit == 0xfeff {
                return;
            }
            let (is_high, is_low) = ((0xd800..0xdc00).contains(&unit), (0xdc00..0xe000).contains(&unit));
            match self.high.take() {
                Some(high) if is_low => {
                    let mut pair = char::decode_utf16([high, unit]);
                    let c = pair.next().and_then(Result::ok);
                    return push(&mut self.ready, c.unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                Some(_) => push(&mut self.ready, char::REPLACEMENT_CHARACTER),
                None => {}
            }
            match is_high {
                true => self.high = Some(unit),
                // The second half of a pair alone is no character.
                false => push(
                    &mut self.ready,
                    char::from_u32(unit.into()).unwrap_or(char::REPLACEMENT_CHARACTER),
                ),
            }
        };
        let of = |two: [u8; 2]| match self.big_endian {
            true => u16::from_be_bytes(two),
            false => u16::from_le_bytes(two),
        };
        if let (Some(first), [second, rest @ ..]) = (self.byte, source) {
            unit(of([first, *second]));
            self.byte = None;
            source = rest;
        }
        let pairs = source.as_chunks::<2>();
        pairs.0.iter().for_each(|two| unit(of(*two)));
        self.byte = pairs.1.first().copied();
        self.source.consume(length);
        Ok(true)
    }
}

fn push(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.ready.len() {
            if !self.fill()? {
                return Ok(0);
            }
        }
        let ready = self.ready.get(self.at..).unwrap_or_default();
        let length = ready.len().min(out.len());
        if let (Some(out), Some(ready)) = (out.get_mut(..length), ready.get(..length)) {
            out.copy_from_slice(ready);
        }
        self.at += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn decoded(bytes: &[u8], big_endian: bool, buffer: usize) -> String {
        let mut out = String::new();
        let source = BufReader::with_capacity(buffer, bytes);
        Decoder::new(source, big_endian).read_to_string(&mut out).unwrap();
        out
    }

    #[test]
    fn every_character_comes_out_however_the_bytes_are_cut() {
        let text = "\u{feff}Commitment é 😀 \r\n\0x";
        let le: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let be: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for buffer in 1..20 {
            assert_eq!(decoded(&le, false, buffer), text.trim_start_matches('\u{feff}'));
            assert_eq!(decoded(&be, true, buffer), text.trim_start_matches('\u{feff}'));
        }
    }

    #[test]
    fn halves_are_replaced_and_lose_nothing_else() {
        let units = [0xd83d_u16, 0x61, 0xde00, 0xd83d, 0xd83d, 0xde00, 0x62, 0xd83d];
        let mut bytes: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        for buffer in 1..9 {
            assert_eq!(decoded(&bytes, false, buffer), "\u{fffd}a\u{fffd}\u{fffd}😀b\u{fffd}");
        }
        bytes.truncate(bytes.len() - 1);
        assert_eq!(decoded(&bytes, false, 3), "\u{fffd}a\u{fffd}\u{fffd}😀b\u{fffd}");
        assert_eq!(decoded(b"", false, 1), "");
    }
}

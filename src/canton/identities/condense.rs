//! A migration dump of any size without its data: what identities are checked for, in little memory.
//!
//! The values of the members that hold data are left out wherever they stand; everything else stays byte for byte, so that
//! the shape is the same and a node can be taken out of what remains. A dump that breaks off in its data still breaks off.

use std::io::{self, Read};

use zeroize::Zeroizing;

use super::LONGEST;

/// The members that hold data, of an SV's dump and of a validator's.
pub(super) const DATA: [&str; 4] = ["acs_snapshot", "genesis_state", "dars", "participant_users"];
/// Bytes read at once.
const READ: usize = 256 << 10;
/// Bytes of the longest name that matters.
const LONGEST_NAME: usize = 32;

/// Reads JSON without its data; at most one byte more than [`LONGEST`] of what remains.
pub(super) fn condense(reader: &mut dyn Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut buffer = Zeroizing::new(vec![0; READ]);
    let mut condenser = Condenser::new();
    while condenser.out.len() <= LONGEST {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => condenser.take(buffer.get(..read).unwrap_or_default()),
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(why),
        }
    }
    Ok(condenser.out)
}

struct Condenser {
    out: Zeroizing<Vec<u8>>,
    depth: usize,
    in_text: bool,
    is_escaped: bool,
    /// The text that was read last, as far as it could be a name.
    last: Zeroizing<Vec<u8>>,
    /// The value that comes next is data.
    data_comes: bool,
    /// The value that is left out, by the depth of the member it belongs to.
    leaving_out: Option<usize>,
}

impl Condenser {
    fn new() -> Condenser {
        Condenser {
            // What remains is small; where it grows, `push` sees to it that no copy stays behind.
            out: Zeroizing::new(Vec::with_capacity(1 << 20)),
            depth: 0,
            in_text: false,
            is_escaped: false,
            last: Zeroizing::new(Vec::with_capacity(LONGEST_NAME + 1)),
            data_comes: false,
            leaving_out: None,
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.out.capacity() - self.out.len() < bytes.len() {
            let room = (2 * self.out.capacity()).max(self.out.len() + bytes.len());
            let mut larger = Zeroizing::new(Vec::with_capacity(room));
            larger.extend_from_slice(&self.out);
            self.out = larger;
        }
        self.out.extend_from_slice(bytes);
    }

    fn take(&mut self, mut bytes: &[u8]) {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.in_text && !self.is_escaped {
                let end = memchr::memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len());
                let (plain, after) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
                if self.leaving_out.is_none() {
                    self.push(plain);
                }
                let room = (LONGEST_NAME + 1).saturating_sub(self.last.len());
                self.last.extend(plain.iter().take(room));
                if let Some((&mark, after)) = after.split_first() {
                    match mark {
                        b'"' => self.end_text(),
                        _ => self.escape(mark),
                    }
                    bytes = after;
                } else {
                    bytes = &[];
                }
                continue;
            }
            bytes = rest;
            match self.in_text {
                // The escaped byte itself, whatever it is.
                true => {
                    self.escape(byte);
                    self.is_escaped = false;
                }
                false => self.outside(byte),
            }
        }
    }

    fn escape(&mut self, byte: u8) {
        if self.leaving_out.is_none() {
            self.push(&[byte]);
        }
        // No name that matters has an escape in it.
        self.last.clear();
        self.last.extend([0; LONGEST_NAME + 1]);
        self.is_escaped = true;
    }

    fn end_text(&mut self) {
        self.in_text = false;
        if self.leaving_out.is_none_or(|depth| depth == self.depth) {
            self.push(b"\"");
        }
    }

    fn outside(&mut self, byte: u8) {
        let is_kept = match byte {
            b'"' => {
                self.in_text = true;
                self.last.clear();
                self.begin_value()
            }
            b'{' | b'[' => {
                let is_kept = self.begin_value();
                self.depth += 1;
                is_kept
            }
            b'}' | b']' => {
                // The end of the member that holds the data, or of the data.
                if self.leaving_out.is_some_and(|depth| depth >= self.depth) {
                    self.leaving_out = None;
                }
                self.depth = self.depth.saturating_sub(1);
                self.leaving_out.is_none_or(|depth| depth == self.depth)
            }
            b',' => {
                if self.leaving_out.is_some_and(|depth| depth >= self.depth) {
                    self.leaving_out = None;
                }
                self.leaving_out.is_none()
            }
            b':' => {
                let is_data = DATA.iter().any(|name| name.as_bytes() == self.last.as_slice());
                self.data_comes = self.leaving_out.is_none() && is_data;
                self.leaving_out.is_none()
            }
            // Space, numbers and words: of data that is one of these nothing is left out.
            _ => {
                self.data_comes &= byte.is_ascii_whitespace();
                self.leaving_out.is_none()
            }
        };
        if is_kept {
            self.push(&[byte]);
        }
    }

    /// A text, a list or an object begins; whether its mark is kept: of what is left out the outermost ones are.
    fn begin_value(&mut self) -> bool {
        let begins = self.data_comes;
        self.data_comes = false;
        if begins {
            self.leaving_out = Some(self.depth);
            return true;
        }
        self.leaving_out.is_none()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn condensed(text: &[u8]) -> String {
        let mut reader = text;
        String::from_utf8(condense(&mut reader).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn only_the_data_is_left_out() {
        for (text, expected) in [
            (
                r#"{"a": "b", "acs_snapshot" : "QUJD" , "c":1}"#,
                r#"{"a": "b", "acs_snapshot" : "", "c":1}"#,
            ),
            (r#"{"dars":[{"x":"]"},[2]],"id":"dars"}"#, r#"{"dars":[],"id":"dars"}"#),
            (
                r#"{"d":{"participant_users":{"u":[1,"\"}"]}},"k":[1]}"#,
                r#"{"d":{"participant_users":{}},"k":[1]}"#,
            ),
            (
                r#"{"acs_snapshot":null,"dars":7,"k":"\\\"x"}"#,
                r#"{"acs_snapshot":null,"dars":7,"k":"\\\"x"}"#,
            ),
            (r#"{"acs_snapshot":"cut off"#, r#"{"acs_snapshot":""#),
            (r#"["dars", {"dars":"x"}]"#, r#"["dars", {"dars":""}]"#),
        ] {
            assert_eq!(condensed(text.as_bytes()), expected);
        }
    }

    #[test]
    fn what_remains_of_gigabytes_is_small() {
        let mut head = br#"{"identities":{"x":1},"data_snapshot":{"acs_snapshot":""#.as_slice();
        let mut tail = br#""},"migration_id":2}"#.as_slice();
        let mut reader = Read::chain(Read::chain(&mut head, io::repeat(b'A').take(1 << 28)), &mut tail);
        let out = condense(&mut reader).unwrap();
        let expected = br#"{"identities":{"x":1},"data_snapshot":{"acs_snapshot":""},"migration_id":2}"#;
        assert_eq!(out.as_slice(), expected);
    }

    proptest! {
        /// Whatever stands in the data, however the reads fall, the rest is as it was.
        #[test]
        fn data_never_leaks_and_never_swallows(data in ".{0,40}", other in ".{0,40}", chunk in 1usize..20) {
            let value = |data: &str| serde_json::json!({
                "a": other, "data_snapshot": {"acs_snapshot": data, "dars": [{"content": data}], "b": other}, "z": [other],
            });
            let text = serde_json::to_vec(&value(&data)).unwrap();
            let mut condenser = Condenser::new();
            text.chunks(chunk).for_each(|chunk| condenser.take(chunk));
            let out: serde_json::Value = serde_json::from_slice(&condenser.out).unwrap();
            let mut expected = value("");
            expected["data_snapshot"]["dars"] = serde_json::json!([]);
            prop_assert_eq!(out, expected);
        }
    }
}

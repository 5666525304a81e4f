//! JSON as spans of the bytes it was read from: nothing is copied, so that a part can be written out as it stands, and
//! what is secret stays where it is. Names given twice are kept, and told.
//!
//! Depth and the number of values are bounded; a document may be of any length that fits in memory already.

use std::borrow::Cow;
use std::ops::Range;

use zeroize::Zeroizing;

/// Values within values that are followed. An identities dump has five levels.
const DEEPEST: usize = 64;
/// Values of one document. A dump has one for each field of each key: dozens.
const MOST_VALUES: usize = 200_000;

/// One value and where it stands.
pub struct Value<'a> {
    /// The bytes it was read from, without the space around it.
    pub raw: &'a [u8],
    /// Where they begin in the document.
    pub at: usize,
    /// What it is.
    pub kind: Kind<'a>,
}

/// What a value is.
pub enum Kind<'a> {
    /// `null`.
    Null,
    /// `true`, `false` or a number: nothing that a dump's checks look into.
    Scalar,
    /// A text, as it is written between its quotation marks.
    Text(&'a str),
    /// A list.
    List(Vec<Value<'a>>),
    /// An object's members, in their order, with what was written twice.
    Object(Vec<(Cow<'a, str>, Value<'a>)>),
}

/// Why a document can't be read. It never quotes what was found: that may be a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// It ends in the middle of a value.
    Ends,
    /// Something else stands here than JSON allows, at this byte.
    At(usize),
    /// After the document another one begins, or something else, at this byte.
    More(usize),
    /// Values within values beyond what is followed, at this byte.
    TooDeep(usize),
    /// More values than any dump has.
    TooMany,
}

impl<'a> Value<'a> {
    /// The value of a member; of one that is written several times the last, as `jq` and the SV app take it.
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.members()
            .iter()
            .rev()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value)
    }

    /// A member that is there and not `null`.
    pub fn given(&self, name: &str) -> Option<&Value<'a>> {
        self.get(name).filter(|value| !matches!(value.kind, Kind::Null))
    }

    /// The members of an object; of anything else none.
    pub fn members(&self) -> &[(Cow<'a, str>, Value<'a>)] {
        match &self.kind {
            Kind::Object(members) => members,
            _ => &[],
        }
    }

    /// Whether it is an object.
    pub fn is_object(&self) -> bool {
        matches!(self.kind, Kind::Object(_))
    }

    /// The text of a member, its escapes resolved.
    pub fn text(&self, name: &str) -> Option<Zeroizing<String>> {
        match self.get(name)?.kind {
            Kind::Text(raw) => unescaped(raw),
            _ => None,
        }
    }

    /// What kind of value it is, in a word.
    pub fn called(&self) -> &'static str {
        match (&self.kind, self.raw.first()) {
            (Kind::Null, _) => "null",
            (Kind::Scalar, Some(b't' | b'f')) => "true or false",
            (Kind::Scalar, _) => "a number",
            (Kind::Text(_), _) => "a text",
            (Kind::List(_), _) => "a list",
            (Kind::Object(_), _) => "an object",
        }
    }

    /// Where it stands in the document.
    pub fn span(&self) -> Range<usize> {
        self.at..self.at + self.raw.len()
    }
}

/// A text without its escapes; `None` where these stand for no text (half of a surrogate pair).
pub fn unescaped(raw: &str) -> Option<Zeroizing<String>> {
    // Room for all of it at once: a text that grows leaves copies behind.
    let mut out = Zeroizing::new(String::with_capacity(raw.len()));
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        out.push_str(rest.get(..at)?);
        let escape = *rest.as_bytes().get(at + 1)?;
        rest = rest.get(at + 2..)?;
        out.push(match escape {
            b'"' | b'\\' | b'/' => char::from(escape),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            _ => {
                let (first, after) = unit(rest)?;
                rest = after;
                let second = match (0xd800..0xdc00).contains(&first) {
                    true => {
                        let (second, after) = unit(rest.strip_prefix("\\u")?)?;
                        rest = after;
                        Some(second)
                    }
                    false => None,
                };
                char::decode_utf16([first].into_iter().chain(second)).next()?.ok()?
            }
        });
    }
    out.push_str(rest);
    Some(out)
}

/// Four hexadecimal digits, and what follows them.
fn unit(text: &str) -> Option<(u16, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    Some((u16::from_str_radix(digits, 16).ok()?, rest))
}

/// Reads a document, all of it.
///
/// # Errors
/// [`Broken`].
pub fn read(bytes: &[u8]) -> Result<Value<'_>, Broken> {
    let mut reader = Reader {
        bytes,
        at: 0,
        values: 0,
    };
    reader.skip_space();
    let value = reader.value(0)?;
    reader.skip_space();
    match reader.at < bytes.len() {
        true => Err(Broken::More(reader.at)),
        false => Ok(value),
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    values: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Result<u8, Broken> {
        self.bytes.get(self.at).copied().ok_or(Broken::Ends)
    }

    fn skip_space(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, Broken> {
        self.values += 1;
        if self.values > MOST_VALUES {
            return Err(Broken::TooMany);
        }
        if depth > DEEPEST {
            return Err(Broken::TooDeep(self.at));
        }
        let at = self.at;
        let kind = match self.peek()? {
            b'{' => Kind::Object(self.object(depth)?),
            b'[' => Kind::List(self.list(depth)?),
            b'"' => Kind::Text(self.text()?),
            b'n' => self.word(b"null").map(|()| Kind::Null)?,
            b't' => self.word(b"true").map(|()| Kind::Scalar)?,
            b'f' => self.word(b"false").map(|()| Kind::Scalar)?,
            _ => self.number().map(|()| Kind::Scalar)?,
        };
        let raw = self.bytes.get(at..self.at).unwrap_or_default();
        Ok(Value { raw, at, kind })
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Broken> {
        for expected in word {
            if self.peek()? != *expected {
                return Err(Broken::At(self.at));
            }
            self.at += 1;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Broken> {
        let from = self.at;
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        match self.at > from {
            true => Ok(()),
            false => Err(self.peek().map_or(Broken::Ends, |_| Broken::At(from))),
        }
    }

    fn number(&mut self) -> Result<(), Broken> {
        if self.peek()? == b'-' {
            self.at += 1;
        }
        match self.peek()? {
            b'0' => self.at += 1,
            _ => self.digits()?,
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// What stands between the quotation marks: UTF-8, with escapes that JSON knows and no control characters.
    fn text(&mut self) -> Result<&'a str, Broken> {
        self.at += 1;
        let from = self.at;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let found = memchr::memchr2(b'"', b'\\', rest).ok_or(Broken::Ends)?;
            self.at += found;
            if self.peek()? == b'"' {
                break;
            }
            let escape = *self.bytes.get(self.at + 1).ok_or(Broken::Ends)?;
            self.at += match escape {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 2,
                b'u' => {
                    let digits = self.bytes.get(self.at + 2..self.at + 6).ok_or(Broken::Ends)?;
                    if !digits.iter().all(u8::is_ascii_hexdigit) {
                        return Err(Broken::At(self.at));
                    }
                    6
                }
                _ => return Err(Broken::At(self.at)),
            };
        }
        let inside = self.bytes.get(from..self.at).unwrap_or_default();
        self.at += 1;
        if let Some(control) = inside.iter().position(|byte| *byte < 0x20) {
            return Err(Broken::At(from + control));
        }
        std::str::from_utf8(inside).map_err(|wrong| Broken::At(from + wrong.valid_up_to()))
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Value<'a>>, Broken> {
        let mut list = Vec::new();
        self.at += 1;
        self.skip_space();
        if self.peek()? == b']' {
            self.at += 1;
            return Ok(list);
        }
        loop {
            self.skip_space();
            list.push(self.value(depth + 1)?);
            self.skip_space();
            let separator = self.peek()?;
            self.at += 1;
            match separator {
                b',' => {}
                b']' => return Ok(list),
                _ => return Err(Broken::At(self.at - 1)),
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Vec<(Cow<'a, str>, Value<'a>)>, Broken> {
        let mut members = Vec::new();
        self.at += 1;
        self.skip_space();
        if self.peek()? == b'}' {
            self.at += 1;
            return Ok(members);
        }
        loop {
            self.skip_space();
            let name_at = self.at;
            if self.peek()? != b'"' {
                return Err(Broken::At(name_at));
            }
            let raw = self.text()?;
            // The same name may be written with escapes: what it stands for counts.
            let name = match raw.contains('\\') {
                true => Cow::Owned(unescaped(raw).ok_or(Broken::At(name_at))?.to_string()),
                false => Cow::Borrowed(raw),
            };
            self.skip_space();
            self.word(b":")?;
            self.skip_space();
            members.push((name, self.value(depth + 1)?));
            self.skip_space();
            let separator = self.peek()?;
            self.at += 1;
            match separator {
                b',' => {}
                b'}' => return Ok(members),
                _ => return Err(Broken::At(self.at - 1)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_part_is_the_bytes_it_was_read_from() {
        let text = br#" { "a" : [1, {"b" :  null}], "a\u0062": "x\"\ud83d\ude00y" } "#;
        let value = read(text).unwrap_or_else(|_| panic!("readable"));
        assert_eq!(value.get("a").unwrap().raw, br#"[1, {"b" :  null}]"#);
        assert_eq!(value.text("ab").unwrap().as_str(), "x\"😀y");
        let part = value.get("a").unwrap();
        assert_eq!(text.get(part.span()).unwrap(), part.raw);
        assert!(value.given("a").is_some() && value.get("b").is_none());
    }

    #[test]
    fn what_is_no_json_is_refused_at_its_place() {
        let broken = |text: &[u8]| read(text).err().unwrap();
        assert_eq!(broken(b""), Broken::Ends);
        assert_eq!(broken(b"{\"a\":\"x"), Broken::Ends);
        assert_eq!(broken(b"{} {}"), Broken::More(3));
        assert_eq!(broken(b"{\"a\":1,}"), Broken::At(7));
        assert_eq!(broken(b"[01]"), Broken::At(2));
        assert_eq!(broken(b"\"a\nb\""), Broken::At(2));
        assert_eq!(broken(b"\"\xff\""), Broken::At(1));
        assert_eq!(broken(b"\"\\ud83d\\q\""), Broken::At(7));
        assert!(matches!(broken(&[b'['; 1_000_000]), Broken::TooDeep(_)));
        let wide = [b"[".as_slice(), &b"0,".repeat(MOST_VALUES), b"0]"].concat();
        assert_eq!(broken(&wide), Broken::TooMany);
    }

    proptest! {
        /// What serde_json takes is taken, what it refuses is refused, whatever the bytes.
        #[test]
        fn agrees_with_another_reader(bytes in "[\\[\\]{}:,\" \\\\nutrl0-9.eE+-]{0,24}") {
            let other = serde_json::from_str::<serde_json::Value>(&bytes);
            let own = read(bytes.as_bytes());
            // Half of a surrogate pair is no text, and a number may be too large for a float: both are let pass here.
            if !bytes.contains("\\u") && !bytes.contains(['e', 'E']) {
                prop_assert_eq!(own.is_ok(), other.is_ok());
            }
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }
    }
}

//! JSON (RFC 8259) read piece by piece: of documents of gigabytes, most of it base64 in a few strings, nothing is kept but where
//! one is.
//!
//! Strict: one document and nothing after it, valid UTF-8, no control characters in strings, no half of a surrogate pair.
//! Depth, keys and numbers have bounds; texts have none, and are given on in pieces, unescaped.

use memchr::memchr2;

/// Containers in containers. A dump has less than ten.
const MOST_DEPTH: usize = 64;
/// Bytes of a key.
const MOST_KEY_BYTES: usize = 4096;
/// Bytes of a number, `true`, `false` or `null`.
const MOST_SCALAR_BYTES: usize = 64;

/// What is wrong with a document, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}: {what}")]
pub struct Fault {
    /// Offset of the byte where it shows.
    pub at: u64,
    /// What was found, and what was expected.
    pub what: String,
}

impl Fault {
    /// A fault at this byte.
    pub fn new(at: u64, what: impl Into<String>) -> Fault {
        Fault { at, what: what.into() }
    }
}

/// An object or an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
}

/// A part of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// A container begins; the offset is its bracket's.
    Open(Container),
    /// It ends; the offset is its bracket's.
    Close(Container),
    /// A key, unescaped.
    Key(&'a str),
    /// A text begins; the offset is its quote's.
    TextStart,
    /// A piece of it, unescaped.
    TextPiece(&'a [u8]),
    /// It ends; the offset is its quote's.
    TextEnd,
    /// A number, `true`, `false` or `null`; the offset is its first byte's.
    Scalar(&'a str),
}

/// Takes the parts of a document.
pub trait Sink {
    /// Takes one, with the offset of where it stands.
    ///
    /// # Errors
    /// It is not what should stand there: reading ends.
    fn take(&mut self, token: Token<'_>, at: u64) -> Result<(), Fault>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A value must follow.
    Value,
    /// A value or the end of the array.
    FirstElement,
    /// A key or the end of the object.
    FirstKey,
    /// A key must follow.
    Key,
    Colon,
    /// A comma, or the container's end.
    Next,
    InText,
    Escape,
    /// So many digits of `\u` have been read.
    Unicode(u32),
    InScalar,
    Done,
}

/// Reads a document that comes in pieces.
pub struct Lexer {
    state: State,
    stack: Vec<Container>,
    at: u64,
    is_key: bool,
    key: Vec<u8>,
    scalar: Vec<u8>,
    scalar_at: u64,
    /// Digits of the `\u` that is being read.
    unit: u32,
    /// The first half of a surrogate pair, whose second half must follow.
    high: Option<u32>,
    /// The beginning of a character whose end is in the next piece.
    carry: Vec<u8>,
}

impl Default for Lexer {
    fn default() -> Lexer {
        Lexer {
            state: State::Value,
            stack: Vec::new(),
            at: 0,
            is_key: false,
            key: Vec::new(),
            scalar: Vec::new(),
            scalar_at: 0,
            unit: 0,
            high: None,
            carry: Vec::new(),
        }
    }
}

impl Lexer {
    /// Bytes that were read.
    pub fn offset(&self) -> u64 {
        self.at
    }

    /// Reads the next piece.
    ///
    /// # Errors
    /// The document is no JSON, passes a bound, or the sink wants no more of it. Nothing may be fed after that.
    pub fn feed(&mut self, piece: &[u8], sink: &mut impl Sink) -> Result<(), Fault> {
        self.check_utf8(piece)?;
        let mut rest = piece;
        while let Some((&byte, after)) = rest.split_first() {
            if self.state == State::InText && self.high.is_none() {
                let run = memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                if run > 0 {
                    let (text, after) = rest.split_at(run);
                    self.text(text, sink)?;
                    rest = after;
                    continue;
                }
            }
            if self.state == State::InScalar && !is_scalar(byte) {
                self.end_scalar(sink)?;
                continue;
            }
            self.byte(byte, sink)?;
            self.at += 1;
            rest = after;
        }
        Ok(())
    }

    /// Says that nothing follows.
    ///
    /// # Errors
    /// The document is not at its end.
    pub fn finish(&mut self, sink: &mut impl Sink) -> Result<(), Fault> {
        if self.state == State::InScalar {
            self.end_scalar(sink)?;
        }
        match self.state {
            State::Done => Ok(()),
            State::Value if self.at == 0 => Err(self.fault("it is empty")),
            _ => Err(self.fault("it ends in the middle")),
        }
    }

    fn fault(&self, what: impl Into<String>) -> Fault {
        Fault::new(self.at, what)
    }

    fn check_utf8(&mut self, piece: &[u8]) -> Result<(), Fault> {
        let wrong = |at: u64| Fault::new(at, "it is no UTF-8");
        let mut rest = piece;
        while !self.carry.is_empty()
            && let Some((&byte, after)) = rest.split_first()
        {
            self.carry.push(byte);
            rest = after;
            match std::str::from_utf8(&self.carry) {
                Ok(_) => self.carry.clear(),
                Err(why) if why.error_len().is_none() => {}
                Err(_) => return Err(wrong(self.at)),
            }
        }
        if let Err(why) = std::str::from_utf8(rest) {
            let valid = why.valid_up_to();
            if why.error_len().is_some() {
                return Err(wrong(self.at + (piece.len() - rest.len() + valid) as u64));
            }
            self.carry.extend_from_slice(rest.get(valid..).unwrap_or_default());
        }
        Ok(())
    }

    fn byte(&mut self, byte: u8, sink: &mut impl Sink) -> Result<(), Fault> {
        match self.state {
            State::InText => self.text_end_or_escape(byte, sink),
            State::Escape => self.escape(byte, sink),
            State::Unicode(digits) => self.unicode(byte, digits, sink),
            State::InScalar => {
                if self.scalar.len() >= MOST_SCALAR_BYTES {
                    return Err(self.fault("a number is longer than any that a dump holds"));
                }
                self.scalar.push(byte);
                Ok(())
            }
            _ if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') => Ok(()),
            State::Value | State::FirstElement => self.value(byte, sink),
            State::FirstKey | State::Key => match byte {
                b'"' => {
                    self.is_key = true;
                    self.key.clear();
                    self.state = State::InText;
                    Ok(())
                }
                b'}' if self.state == State::FirstKey => self.close(Container::Object, sink),
                _ => Err(self.unexpected(byte, "a key in quotes")),
            },
            State::Colon => match byte {
                b':' => {
                    self.state = State::Value;
                    Ok(())
                }
                _ => Err(self.unexpected(byte, "a colon")),
            },
            State::Next => match (byte, self.stack.last()) {
                (b',', Some(Container::Object)) => {
                    self.state = State::Key;
                    Ok(())
                }
                (b',', Some(Container::Array)) => {
                    self.state = State::Value;
                    Ok(())
                }
                (b'}', Some(Container::Object)) => self.close(Container::Object, sink),
                (b']', Some(Container::Array)) => self.close(Container::Array, sink),
                _ => Err(self.unexpected(byte, "a comma or the end of what is open")),
            },
            State::Done => Err(self.unexpected(byte, "nothing more")),
        }
    }

    fn unexpected(&self, byte: u8, expected: &str) -> Fault {
        let found = match byte {
            0x20..=0x7e => format!("'{}'", char::from(byte)),
            _ => format!("the byte 0x{byte:02x}"),
        };
        self.fault(format!("{found} stands where {expected} should"))
    }

    fn value(&mut self, byte: u8, sink: &mut impl Sink) -> Result<(), Fault> {
        match byte {
            b'{' | b'[' => {
                let container = if byte == b'{' {
                    Container::Object
                } else {
                    Container::Array
                };
                if self.stack.len() >= MOST_DEPTH {
                    return Err(self.fault(format!("it is nested deeper than {MOST_DEPTH} levels")));
                }
                self.stack.push(container);
                self.state = match container {
                    Container::Object => State::FirstKey,
                    Container::Array => State::FirstElement,
                };
                sink.take(Token::Open(container), self.at)
            }
            b']' if self.state == State::FirstElement => self.close(Container::Array, sink),
            b'"' => {
                self.is_key = false;
                self.state = State::InText;
                sink.take(Token::TextStart, self.at)
            }
            _ if is_scalar(byte) => {
                self.scalar.clear();
                self.scalar.push(byte);
                self.scalar_at = self.at;
                self.state = State::InScalar;
                Ok(())
            }
            _ => Err(self.unexpected(byte, "a value")),
        }
    }

    fn close(&mut self, container: Container, sink: &mut impl Sink) -> Result<(), Fault> {
        self.stack.pop();
        sink.take(Token::Close(container), self.at)?;
        self.after_value();
        Ok(())
    }

    fn after_value(&mut self) {
        self.state = match self.stack.is_empty() {
            true => State::Done,
            false => State::Next,
        };
    }

    fn end_scalar(&mut self, sink: &mut impl Sink) -> Result<(), Fault> {
        let text = std::str::from_utf8(&self.scalar).unwrap_or_default();
        if !matches!(text, "true" | "false" | "null") && !is_number(text.as_bytes()) {
            return Err(Fault::new(self.scalar_at, format!("{text} is no value of JSON")));
        }
        sink.take(Token::Scalar(text), self.scalar_at)?;
        self.after_value();
        Ok(())
    }

    fn text(&mut self, text: &[u8], sink: &mut impl Sink) -> Result<(), Fault> {
        if let Some(control) = text.iter().position(|byte| *byte < 0x20) {
            return Err(Fault::new(
                self.at + control as u64,
                "a control character stands in a text",
            ));
        }
        self.piece(text, sink)?;
        self.at += text.len() as u64;
        Ok(())
    }

    fn piece(&mut self, text: &[u8], sink: &mut impl Sink) -> Result<(), Fault> {
        if !self.is_key {
            return sink.take(Token::TextPiece(text), self.at);
        }
        if self.key.len() + text.len() > MOST_KEY_BYTES {
            return Err(self.fault(format!("a key is longer than {MOST_KEY_BYTES} bytes")));
        }
        self.key.extend_from_slice(text);
        Ok(())
    }

    fn text_end_or_escape(&mut self, byte: u8, sink: &mut impl Sink) -> Result<(), Fault> {
        match byte {
            b'\\' => {
                self.state = State::Escape;
                Ok(())
            }
            _ if self.high.is_some() => Err(self.fault("a text holds half of a surrogate pair")),
            _ if self.is_key => {
                let key = std::str::from_utf8(&self.key).map_err(|_| Fault::new(self.at, "a key is no UTF-8"))?;
                sink.take(Token::Key(key), self.at)?;
                self.state = State::Colon;
                Ok(())
            }
            _ => {
                sink.take(Token::TextEnd, self.at)?;
                self.after_value();
                Ok(())
            }
        }
    }

    fn escape(&mut self, byte: u8, sink: &mut impl Sink) -> Result<(), Fault> {
        if byte == b'u' {
            self.unit = 0;
            self.state = State::Unicode(0);
            return Ok(());
        }
        if self.high.is_some() {
            return Err(self.fault("a text holds half of a surrogate pair"));
        }
        let unescaped = match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            _ => return Err(self.unexpected(byte, "an escape")),
        };
        self.state = State::InText;
        self.piece(&[unescaped], sink)
    }

    fn unicode(&mut self, byte: u8, digits: u32, sink: &mut impl Sink) -> Result<(), Fault> {
        let digit = char::from(byte)
            .to_digit(16)
            .ok_or_else(|| self.unexpected(byte, "a hexadecimal digit"))?;
        self.unit = self.unit * 16 + digit;
        if digits < 3 {
            self.state = State::Unicode(digits + 1);
            return Ok(());
        }
        self.state = State::InText;
        let code = match (self.high.take(), self.unit) {
            (None, high @ 0xd800..=0xdbff) => {
                self.high = Some(high);
                return Ok(());
            }
            (Some(high), low @ 0xdc00..=0xdfff) => 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00),
            (None, unit) => unit,
            (Some(_), _) => 0xd800,
        };
        let c = char::from_u32(code).ok_or_else(|| self.fault("a text holds half of a surrogate pair"))?;
        self.piece(c.encode_utf8(&mut [0; 4]).as_bytes(), sink)
    }
}

fn is_scalar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.')
}

/// Whether this is a number: `-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?`.
fn is_number(text: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let whole = digits(text);
    if whole == 0 || (whole > 1 && text.first() == Some(&b'0')) {
        return false;
    }
    let mut rest = text.get(whole..).unwrap_or_default();
    if let Some(fraction) = rest.strip_prefix(b".") {
        let count = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = fraction.get(count..).unwrap_or_default();
    }
    if let Some(exponent) = rest.strip_prefix(b"e").or(rest.strip_prefix(b"E")) {
        let exponent = exponent
            .strip_prefix(b"+")
            .or(exponent.strip_prefix(b"-"))
            .unwrap_or(exponent);
        let count = digits(exponent);
        return count > 0 && count == exponent.len();
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests;

//! SQL as tokens, the way `psql` divides a dump: quotes of every kind, comments, and psql's own commands. Every token's text
//! is bounded; of a longer one the rest is passed over, and it is said.

use super::input::Input;

/// Bytes of a string that are kept; a longer one is passed over.
pub(super) const LONGEST_TEXT: usize = 64 << 20;
/// Bytes of a name, a comment or a command that are kept. PostgreSQL's names have 63.
const LONGEST_NAME: usize = 4096;
/// How deep comments may stand in comments; deeper ones end where the first would.
const DEEPEST_COMMENT: u32 = 1 << 20;

/// What kind of token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A keyword, or a name without quotes.
    Word,
    /// A name in double quotes.
    Name,
    /// A string in single quotes, its escapes resolved.
    Text,
    /// A number.
    Number,
    /// A string in dollars, whose text is not kept.
    Body,
    /// Any other character.
    Mark(u8),
    /// `-- …` where a statement could begin.
    Comment,
    /// `\connect …` and the like, where a statement could begin.
    Command,
    /// The input has ended.
    End,
    /// The input ended within a quotation or a comment.
    CutOff,
}

/// Divides an input.
pub(super) struct Tokens<'r> {
    /// What is divided.
    pub input: Input<'r>,
    /// The text of the last token.
    pub text: Vec<u8>,
    /// Whether the last token's text is longer than what is kept of it.
    pub is_too_long: bool,
    /// Whether a backslash means something in strings without E (`standard_conforming_strings` is off).
    pub backslash_escapes: bool,
    /// The last token.
    pub last: Token,
    between_statements: bool,
}

fn begins_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn continues_word(byte: u8) -> bool {
    begins_word(byte) || byte.is_ascii_digit() || byte == b'$'
}

impl<'r> Tokens<'r> {
    pub fn new(input: Input<'r>) -> Tokens<'r> {
        Tokens {
            input,
            text: Vec::new(),
            is_too_long: false,
            backslash_escapes: false,
            last: Token::End,
            between_statements: true,
        }
    }

    /// Whether the last word or name is this keyword.
    pub fn is(&self, token: Token, keyword: &str) -> bool {
        token == Token::Word && self.text.eq_ignore_ascii_case(keyword.as_bytes())
    }

    /// The last token as a name: in lower case, where it had no quotes.
    pub fn name(&self, token: Token) -> Option<String> {
        let text = String::from_utf8_lossy(&self.text);
        match token {
            _ if self.is_too_long => None,
            Token::Word => Some(text.to_ascii_lowercase()),
            Token::Name => Some(text.into_owned()),
            _ => None,
        }
    }

    /// The next token.
    pub fn next(&mut self) -> Token {
        self.last = self.divide();
        self.last
    }

    fn divide(&mut self) -> Token {
        loop {
            self.text.clear();
            self.is_too_long = false;
            let token = match (self.input.peek(), self.input.peek_at(1)) {
                (None, _) => return Token::End,
                (Some(byte), _) if byte.is_ascii_whitespace() => {
                    self.input
                        .take_while(&mut self.text, 0, |byte| byte.is_ascii_whitespace());
                    continue;
                }
                (Some(b'-'), Some(b'-')) => {
                    self.take(|byte| byte != b'\n');
                    match self.between_statements {
                        true => return Token::Comment,
                        false => continue,
                    }
                }
                (Some(b'/'), Some(b'*')) => match self.pass_comment() {
                    true => continue,
                    false => return Token::CutOff,
                },
                (Some(b'\\'), _) if self.between_statements => {
                    self.take(|byte| byte != b'\n');
                    return Token::Command;
                }
                (Some(b'e' | b'E'), Some(b'\'')) => {
                    self.input.pass(1);
                    self.quoted(b'\'', true)
                }
                (Some(b'b' | b'B' | b'n' | b'N'), Some(b'\'')) => {
                    self.input.pass(1);
                    self.quoted(b'\'', false)
                }
                (Some(b'\''), _) => self.quoted(b'\'', self.backslash_escapes),
                (Some(b'"'), _) => self.quoted(b'"', false),
                (Some(byte), _) if begins_word(byte) => {
                    self.take(continues_word);
                    Token::Word
                }
                (Some(b'-' | b'.'), Some(b'0'..=b'9')) | (Some(b'0'..=b'9'), _) => self.number(),
                (Some(b'$'), _) => self.dollars(),
                (Some(byte), _) => {
                    self.input.pass(1);
                    Token::Mark(byte)
                }
            };
            self.between_statements = false;
            return token;
        }
    }

    /// Says that the statement has ended: the next token may be a comment or a command.
    pub fn end_statement(&mut self) {
        self.between_statements = true;
    }

    fn take(&mut self, kind: impl Fn(u8) -> bool) {
        self.is_too_long = self.input.take_while(&mut self.text, LONGEST_NAME, kind);
    }

    fn number(&mut self) -> Token {
        self.text.extend(self.input.next());
        loop {
            self.take(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_');
            let after_exponent = matches!(self.text.last(), Some(b'e' | b'E'));
            match self.input.peek() {
                Some(sign @ (b'+' | b'-')) if after_exponent => {
                    self.text.push(sign);
                    self.input.pass(1);
                }
                _ => return Token::Number,
            }
        }
    }

    fn push(&mut self, bytes: &[u8], bound: usize) {
        let room = bound.saturating_sub(self.text.len());
        self.is_too_long |= bytes.len() > room;
        self.text
            .extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
    }

    fn quoted(&mut self, quote: u8, escapes: bool) -> Token {
        let (token, bound) = match quote {
            b'"' => (Token::Name, LONGEST_NAME),
            _ => (Token::Text, LONGEST_TEXT),
        };
        self.input.pass(1);
        loop {
            let is_plain = |byte| byte != quote && !(escapes && byte == b'\\');
            self.is_too_long |= self.input.take_while(&mut self.text, bound, is_plain);
            match self.input.next() {
                None => return Token::CutOff,
                Some(b'\\') if escapes => match self.escaped() {
                    Some(byte) => self.push(&[byte], bound),
                    None => return Token::CutOff,
                },
                Some(_) if self.input.peek() == Some(quote) => {
                    self.input.pass(1);
                    self.push(&[quote], bound);
                }
                Some(_) => return token,
            }
        }
    }

    /// What stands after a backslash.
    fn escaped(&mut self) -> Option<u8> {
        let byte = self.input.next()?;
        let mut digits = |first: u8, radix: u32, most: usize| {
            let mut value = char::from(first).to_digit(radix).unwrap_or_default();
            for _ in 0..most {
                let Some(digit) = self.input.peek().and_then(|byte| char::from(byte).to_digit(radix)) else {
                    break;
                };
                value = value * radix + digit;
                self.input.pass(1);
            }
            (value & 0xff) as u8
        };
        Some(match byte {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'0'..=b'7' => digits(byte, 8, 2),
            b'x' => digits(b'0', 16, 2),
            other => other,
        })
    }

    /// `$tag$ … $tag$`, or a dollar that is none.
    fn dollars(&mut self) -> Token {
        // The opening mark, from its first dollar to its second.
        let mut mark = vec![b'$'];
        loop {
            match self.input.peek_at(mark.len()) {
                Some(b'$') => break,
                Some(byte)
                    if continues_word(byte) && mark.len() < 128 && !(mark.len() == 1 && byte.is_ascii_digit()) =>
                {
                    mark.push(byte);
                }
                _ => {
                    self.input.pass(1);
                    return Token::Mark(b'$');
                }
            }
        }
        mark.push(b'$');
        self.input.pass(mark.len());
        // A dollar stands only at the mark's ends, so that a failed match can only begin again with its last byte.
        let mut matched = 0;
        loop {
            if matched == 0 {
                self.input.take_while(&mut self.text, 0, |byte| byte != b'$');
            }
            match self.input.next() {
                None => return Token::CutOff,
                Some(byte) if mark.get(matched) == Some(&byte) => matched += 1,
                Some(b'$') => matched = 1,
                Some(_) => matched = 0,
            }
            if matched == mark.len() {
                self.text.clear();
                self.is_too_long = false;
                return Token::Body;
            }
        }
    }

    /// `/* … */`, also within each other; whether it ends.
    fn pass_comment(&mut self) -> bool {
        let mut depth = 0u32;
        loop {
            let passed = match (self.input.peek(), self.input.peek_at(1)) {
                (None, _) => return false,
                (Some(b'/'), Some(b'*')) => {
                    depth = (depth + 1).min(DEEPEST_COMMENT);
                    2
                }
                (Some(b'*'), Some(b'/')) => {
                    depth = depth.saturating_sub(1);
                    2
                }
                _ => 1,
            };
            self.input.pass(passed);
            if depth == 0 {
                return true;
            }
            self.input
                .take_while(&mut Vec::new(), 0, |byte| byte != b'/' && byte != b'*');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<(Token, String)> {
        let mut tokens = Tokens::new(Input::new(text.as_bytes()));
        let mut out = Vec::new();
        loop {
            let token = tokens.next();
            out.push((token, String::from_utf8(tokens.text.clone()).unwrap()));
            match token {
                Token::End | Token::CutOff => return out,
                Token::Mark(b';') => tokens.end_statement(),
                _ => {}
            }
        }
    }

    #[test]
    fn quotations_and_comments_are_told_apart() {
        use Token::*;
        let text = "-- c\n\\connect x\nA -- no\n\"a\"\"b\" 'it''s\\' E'a\\'\\n\\101\\x42' -1.5e-3 /* x /* ; */ ' */ ;";
        let expected = [
            (Comment, "-- c"),
            (Command, "\\connect x"),
            (Word, "A"),
            (Name, "a\"b"),
            (Text, "it's\\"),
            (Text, "a'\nAB"),
            (Number, "-1.5e-3"),
            (Mark(b';'), ""),
            (End, ""),
        ];
        let found = tokens(text);
        assert_eq!(
            found
                .iter()
                .map(|(token, text)| (*token, text.as_str()))
                .collect::<Vec<_>>(),
            expected
        );
    }

    #[test]
    fn bodies_in_dollars_end_with_their_own_mark() {
        use Token::*;
        for body in ["$$;'$$", "$a$ $$ $b$ ; $ $a$", "$_x$$_$_x$", "$a$$a$"] {
            let found = tokens(&format!("AS {body};"));
            let kinds: Vec<_> = found.iter().map(|(token, _)| *token).collect();
            assert_eq!(kinds, [Word, Body, Mark(b';'), End], "{body}");
        }
        assert_eq!(tokens("$1").first().unwrap().0, Mark(b'$'));
    }

    #[test]
    fn what_does_not_end_is_cut_off() {
        for text in ["'a", "\"a", "$a$ $", "/* /* */", "E'\\", "E'\\'", "$$"] {
            assert_eq!(tokens(text).last().unwrap().0, Token::CutOff, "{text}");
        }
    }
}

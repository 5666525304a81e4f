//! Bearer tokens: read from where others can't see them, sent as a header, and never shown.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use reqwest::header::HeaderValue;
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// Bytes of a token: a JWT with many claims has less than a tenth.
const MOST_BYTES: u64 = 64 << 10;

/// A token of OAuth2. It has no `Debug`, and nothing shows it.
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// A token from text: line breaks and a `Bearer ` before it are left out.
    ///
    /// # Errors
    /// It is empty, or holds what a header can't.
    pub fn new(text: &str) -> Result<Token> {
        let text = text.trim();
        let bare = match text.get(..7) {
            Some(scheme) if scheme.eq_ignore_ascii_case("bearer ") => text.get(7..).unwrap_or_default().trim_start(),
            _ => text,
        };
        if bare.is_empty() || bare.eq_ignore_ascii_case("bearer") {
            return Err(Error::Usage("the token is empty".to_owned()));
        }
        match bare.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(Token(Zeroizing::new(bare.to_owned()))),
            false => Err(Error::Usage(
                "the token holds a space, a line break or what is no ASCII: expected one token and nothing else"
                    .to_owned(),
            )),
        }
    }

    /// The token in a file.
    ///
    /// # Errors
    /// The file can't be read, or holds no token.
    pub fn read(path: &Path) -> Result<Token> {
        let bytes = read_secret(path, MOST_BYTES)?;
        let text = std::str::from_utf8(&bytes).unwrap_or("\0");
        Token::new(text)
    }

    /// The header that carries it.
    pub(super) fn header(&self) -> Result<HeaderValue> {
        let mut text = Zeroizing::new(String::with_capacity(self.0.len() + 7));
        text.push_str("Bearer ");
        text.push_str(&self.0);
        let mut value =
            HeaderValue::from_str(&text).map_err(|_| Error::Usage("the token does not fit a header".to_owned()))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// Reads a file of secrets whole, up to a bound, into memory that is wiped.
pub(super) fn read_secret(path: &Path, most: u64) -> Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let size = file.metadata().map_err(Error::io("read", path))?.len();
    let room = usize::try_from(size.min(most)).unwrap_or(0) + 4096;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::io("read", path))?;
    match bytes.len() as u64 > most {
        true => Err(Error::Io {
            doing: "read",
            path: path.to_owned(),
            source: std::io::Error::other(format!("it has more than {most} bytes")),
        }),
        false => Ok(bytes),
    }
}

//! A document read whole: its form, its size and its digest, in one pass and in constant memory.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::crypto::{Digest, Sha256Stream};
use crate::error::{Error, Result};
use crate::shown::Show;

use super::lexer::{Fault, Lexer};
use super::shape::{Found, Shape};

/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;

/// A document that is being read.
#[derive(Default)]
pub struct Reading {
    lexer: Lexer,
    shape: Shape,
    hash: Sha256Stream,
}

/// A document that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// What it says.
    pub found: Found,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of its bytes.
    pub digest: Digest,
}

impl Reading {
    /// For the file that a validator is given.
    pub fn of_snapshot_alone() -> Reading {
        Reading {
            shape: Shape::of_snapshot_alone(),
            ..Reading::default()
        }
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// It is no JSON.
    pub fn feed(&mut self, piece: &[u8]) -> std::result::Result<(), Fault> {
        self.hash.update(piece);
        self.lexer.feed(piece, &mut self.shape)
    }

    /// Bytes taken.
    pub fn size(&self) -> u64 {
        self.lexer.offset()
    }

    /// Says that nothing follows.
    ///
    /// # Errors
    /// The document is not at its end.
    pub fn finish(mut self) -> std::result::Result<Document, Fault> {
        self.lexer.finish(&mut self.shape)?;
        Ok(Document {
            size: self.lexer.offset(),
            found: self.shape.finish(),
            digest: self.hash.finish(),
        })
    }

    /// Reads a whole file into it.
    ///
    /// # Errors
    /// The file can't be read. That it is no JSON is the answer's inner error.
    pub fn file(mut self, path: &Path) -> Result<std::result::Result<Document, Fault>> {
        // It is read twice, and a pipe would be empty, or block, the second time.
        let metadata = std::fs::metadata(path).map_err(Error::io("open", path))?;
        if !metadata.is_file() {
            return Err(Error::Usage(format!("{} is no regular file", path.shown())));
        }
        let mut file = File::open(path).map_err(Error::io("open", path))?;
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let read = file.read(&mut buffer).map_err(Error::io("read", path))?;
            let piece = buffer.get(..read).unwrap_or_default();
            if piece.is_empty() {
                return Ok(self.finish());
            }
            if let Err(fault) = self.feed(piece) {
                return Ok(Err(fault));
            }
        }
    }
}

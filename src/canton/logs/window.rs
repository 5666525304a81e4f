//! A window that slides over a log of any length: so much before and after a place that the record around it can be seen.

use std::io::{self, Read};

use super::record::{BEFORE, LONGEST};

/// Bytes of a window. Twice the second-level cache of usual processors costs nothing measurable, and what is kept from one
/// window to the next, [`BEFORE`], is a sixteenth of it.
pub const SIZE: usize = 1 << 20;

const _: () = assert!(SIZE >= 4 * (BEFORE + LONGEST));

/// Bytes of a log, from `base` on.
pub struct Window<'a> {
    buffer: Vec<u8>,
    /// All of it, where it is in memory already.
    whole: Option<&'a [u8]>,
    filled: usize,
    base: u64,
    is_end: bool,
}

impl<'a> Window<'a> {
    /// A log, or the end of what is to be read of it, that is in memory: it is the only window.
    pub fn whole(bytes: &'a [u8], base: u64) -> Window<'a> {
        Window {
            buffer: Vec::new(),
            whole: Some(bytes),
            filled: 0,
            base,
            is_end: true,
        }
    }

    /// An empty one; what is read next stands at `base`.
    pub fn new(base: u64) -> Window<'a> {
        Window {
            buffer: vec![0; SIZE],
            whole: None,
            filled: 0,
            base,
            is_end: false,
        }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        match self.whole {
            Some(whole) => whole,
            None => self.buffer.get(..self.filled).unwrap_or_default(),
        }
    }

    /// Where the first of them stands.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Whether nothing comes after them.
    pub fn is_end(&self) -> bool {
        self.is_end
    }

    /// Goes on so far that `at` has [`BEFORE`] bytes before it, where there are so many, and reads. Answers where `at` is
    /// then, and how many bytes were read. After an error, what was read before it is the end.
    pub fn slide(&mut self, at: usize, source: &mut dyn Read) -> (usize, usize, io::Result<()>) {
        let drop = at.saturating_sub(BEFORE).min(self.filled);
        self.buffer.copy_within(drop..self.filled, 0);
        self.filled -= drop;
        self.base += drop as u64;
        let before = self.filled;
        let mut result = Ok(());
        while !self.is_end {
            let Some(room) = self.buffer.get_mut(self.filled..).filter(|room| !room.is_empty()) else {
                break;
            };
            match source.read(room) {
                Ok(0) => self.is_end = true,
                Ok(read) => self.filled += read,
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) => {
                    self.is_end = true;
                    result = Err(why);
                }
            }
        }
        (at - drop, self.filled - before, result)
    }
}

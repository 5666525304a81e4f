//! Files, opened and told apart by what is in them.

use std::io::{self, Read};
use std::path::Path;

use crate::canton::unpack::{self, Packing};

/// Bytes that are enough to tell dumps apart: a tar's mark stands at 257.
const FIRST: usize = 8 << 10;
/// How a custom archive and a `toc.dat` begin.
pub(super) const ARCHIVE: &[u8] = b"PGDMP";

/// What a file holds, unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// An archive of `pg_dump -Fc`, or a `toc.dat`.
    Archive,
    /// A tar.
    Tar,
    /// SQL.
    Sql,
    /// Nothing at all.
    Nothing,
    /// Something else.
    Other,
}

/// An open file.
pub(super) struct Opened {
    pub holds: Holds,
    /// Whether it is an ordinary file that can be opened again and read from any place.
    pub is_plain_file: bool,
    /// Whether it is an ordinary file, packed or not.
    pub is_file: bool,
    /// What is in it, from the beginning.
    pub content: Box<dyn Read + Send>,
}

pub(super) fn open(path: &Path) -> io::Result<Opened> {
    // A pipe must not be opened twice.
    let is_file = path.metadata()?.is_file();
    let (packing, mut content) = unpack::open(path)?;
    let mut first = Vec::with_capacity(FIRST);
    // An error here comes again where the content is read: what was read before it counts.
    let failed = content.by_ref().take(FIRST as u64).read_to_end(&mut first).err();
    let holds = holds(&first);
    let rest: Box<dyn Read + Send> = match failed {
        Some(e) => Box::new(Failing(Some(e))),
        None => content,
    };
    Ok(Opened {
        holds,
        is_plain_file: is_file && packing == Packing::Plain,
        is_file,
        content: Box::new(io::Cursor::new(first).chain(rest)),
    })
}

/// Fails once, and then is at its end.
struct Failing(Option<io::Error>);

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

pub(super) fn holds(first: &[u8]) -> Holds {
    let begins_sql = |line: &[u8]| {
        let line = line.trim_ascii_start();
        let words: [&[u8]; 10] = [
            b"--", b"/*", b"SET ", b"COPY ", b"INSERT ", b"CREATE ", b"SELECT ", b"BEGIN", b"DROP ", b"\\",
        ];
        words.iter().any(|word| {
            line.get(..word.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(word))
        })
    };
    match first {
        _ if first.starts_with(ARCHIVE) => Holds::Archive,
        _ if first.get(257..262) == Some(b"ustar") => Holds::Tar,
        _ if first.trim_ascii().is_empty() => Holds::Nothing,
        _ if first.contains(&0) => Holds::Other,
        // A byte order mark may stand before it.
        _ if first
            .strip_prefix("\u{feff}".as_bytes())
            .unwrap_or(first)
            .split(|byte| *byte == b'\n')
            .find(|line| !line.trim_ascii().is_empty())
            .is_some_and(begins_sql) =>
        {
            Holds::Sql
        }
        _ => Holds::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dumps_are_told_from_other_files() {
        for (text, expected) in [
            ("", Holds::Nothing),
            ("\n \n", Holds::Nothing),
            ("PGDMP\x01", Holds::Archive),
            ("\n--\n-- PostgreSQL database dump\n", Holds::Sql),
            ("\u{feff}copy a from stdin;", Holds::Sql),
            ("\\connect x", Holds::Sql),
            ("{\"error\":\"not found\"}", Holds::Other),
            ("<!doctype html>", Holds::Other),
            ("-- a\0", Holds::Other),
        ] {
            assert_eq!(holds(text.as_bytes()), expected, "{text}");
        }
        let mut tar = vec![b'x'; 512];
        tar.splice(257..262, *b"ustar");
        assert_eq!(holds(&tar), Holds::Tar);
    }
}

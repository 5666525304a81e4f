//! Data in a custom archive: blocks, one an entry, in pieces that a length of zero ends.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};

use super::archive::{Archive, Compression, Data, Entry, Numbers};
use super::contents::Contents;
use super::sql::Sql;
use crate::canton::Code;

/// A block of a table's data.
const TABLE: u8 = 1;
/// A block of large objects.
const OBJECTS: u8 = 3;
/// Logarithm of the largest window of zstd: 128 MiB, which `--compress=zstd:long` uses.
const ZSTD_WINDOW_LOG: u32 = 27;

/// A custom archive's bytes.
pub(super) enum Body {
    /// Of which every place can be read.
    File(BufReader<File>),
    /// Which comes once.
    Stream(Box<dyn Read + Send>),
}

impl Read for Body {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Body::File(file) => file.read(room),
            Body::Stream(stream) => stream.read(room),
        }
    }
}

impl Body {
    fn pass(&mut self, bytes: u64) -> io::Result<()> {
        let passed = match (&mut *self, i64::try_from(bytes)) {
            (Body::File(file), Ok(distance)) => return file.seek_relative(distance),
            (body, _) => io::copy(&mut body.take(bytes), &mut io::sink())?,
        };
        match passed == bytes {
            true => Ok(()),
            false => Err(ErrorKind::UnexpectedEof.into()),
        }
    }

    /// The kind of the next block and the entry it is of; nothing at the end.
    fn block(&mut self, numbers: Numbers) -> io::Result<Option<(u8, i64)>> {
        let mut kind = [0];
        match self.read(&mut kind) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some((kind[0], numbers.integer(self)?))),
            Err(e) if e.kind() == ErrorKind::Interrupted => self.block(numbers),
            Err(e) => Err(e),
        }
    }

    /// Passes the rest of a block whose kind and entry were read.
    fn pass_block(&mut self, kind: u8, numbers: Numbers) -> io::Result<()> {
        while kind == TABLE || numbers.integer(self)? != 0 {
            loop {
                match u64::try_from(numbers.integer(self)?) {
                    Ok(0) => break,
                    Ok(length) => self.pass(length)?,
                    Err(_) => return Err(damaged("a piece of data has a negative length")),
                }
            }
            if kind == TABLE {
                break;
            }
        }
        Ok(())
    }
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

/// The pieces of one block as one.
struct Pieces<'b> {
    body: &'b mut Body,
    numbers: Numbers,
    left: u64,
    ended: bool,
}

impl Read for Pieces<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if self.ended || room.is_empty() {
            return Ok(0);
        }
        if self.left == 0 {
            let length = self.numbers.integer(self.body)?;
            self.left = u64::try_from(length).map_err(|_| damaged("a piece of data has a negative length"))?;
            self.ended = self.left == 0;
            if self.ended {
                return Ok(0);
            }
        }
        let read = self.body.take(self.left).read(room)?;
        self.left -= read as u64;
        match read {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            read => Ok(read),
        }
    }
}

/// Unpacks data as custom archives pack them; None for what can't be unpacked.
fn unpacked<'r>(packed: impl Read + 'r, compression: Compression) -> Option<io::Result<Box<dyn Read + 'r>>> {
    Some(match compression {
        Compression::None => Ok(Box::new(packed)),
        Compression::Gzip => Ok(Box::new(flate2::read::ZlibDecoder::new(packed))),
        Compression::Zstd => zstd::stream::read::Decoder::new(packed).and_then(|mut decoder| {
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Ok(Box::new(decoder) as Box<dyn Read>)
        }),
        Compression::Lz4 => return None,
    })
}

/// Reads the wanted data of a custom archive whose contents were read from `body`.
pub(super) fn read(mut body: Body, archive: &Archive, sql: &mut Sql<'_>) {
    let contents = Contents::of(archive, sql);
    let with_data = archive
        .entries
        .iter()
        .filter(|entry| entry.has_data && entry.data != Data::None);
    let at = |entry: &Entry| match entry.data {
        Data::At(offset) => Some(offset),
        _ => None,
    };
    let places: Option<BTreeMap<u64, &Entry>> = with_data.clone().map(|entry| Some((at(entry)?, entry))).collect();
    let ended = match (&mut body, places) {
        (Body::File(file), Some(places)) => {
            let end = file.get_ref().metadata().map(|metadata| metadata.len());
            end.and_then(|end| in_places(&mut body, archive, &contents, &places, end, sql))
        }
        _ => one_by_one(
            &mut body,
            archive,
            &contents,
            with_data.map(|entry| entry.id).collect(),
            sql,
        ),
    };
    match ended {
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => {
            sql.found(Code::DumpCutOff, None, "the archive ends within its data");
        }
        Err(e) => sql.found(Code::DumpCutOff, None, format!("the archive's data can't be read: {e}")),
        Ok(()) => {}
    }
}

/// Goes to each wanted block, and passes the last one, behind which nothing may be.
fn in_places(
    body: &mut Body,
    archive: &Archive,
    contents: &Contents<'_>,
    places: &BTreeMap<u64, &Entry>,
    end: u64,
    sql: &mut Sql<'_>,
) -> io::Result<()> {
    let seek = |body: &mut Body, offset: u64| match body {
        Body::File(file) => file.seek(SeekFrom::Start(offset)).map(drop),
        Body::Stream(_) => Ok(()),
    };
    let begin = |body: &mut Body, offset: u64, entry: &Entry| {
        seek(body, offset)?;
        match body.block(archive.numbers)? {
            Some((kind @ (TABLE | OBJECTS), id)) if id == entry.id => Ok(kind),
            Some(_) => Err(damaged("a block of data is not where the table of contents says")),
            None => Err(ErrorKind::UnexpectedEof.into()),
        }
    };
    for (offset, entry) in places {
        if contents.is_wanted(entry.id) {
            begin(body, *offset, entry)?;
            give(body, archive, entry, sql)?;
        }
    }
    if let Some((offset, entry)) = places.last_key_value() {
        let kind = begin(body, *offset, entry)?;
        body.pass_block(kind, archive.numbers)?;
        if let Body::File(file) = body {
            // Had it ended before, the last piece's end could not have been read.
            if file.stream_position()? < end {
                return Err(damaged("something stands behind the last block of data"));
            }
        }
    }
    Ok(())
}

/// Passes from block to block to the end, where all must have been seen.
fn one_by_one(
    body: &mut Body,
    archive: &Archive,
    contents: &Contents<'_>,
    mut missing: BTreeSet<i64>,
    sql: &mut Sql<'_>,
) -> io::Result<()> {
    while let Some((kind, id)) = body.block(archive.numbers)? {
        missing.remove(&id);
        match (kind, contents.entry(id)) {
            (TABLE, Some(entry)) => give(body, archive, entry, sql)?,
            (TABLE | OBJECTS, _) => body.pass_block(kind, archive.numbers)?,
            _ => return Err(damaged("what should be a block of data is none")),
        }
    }
    match missing.len() {
        0 => Ok(()),
        _ => Err(ErrorKind::UnexpectedEof.into()),
    }
}

/// Gives the rows of one block away, and passes what may be left of it.
fn give(body: &mut Body, archive: &Archive, entry: &Entry, sql: &mut Sql<'_>) -> io::Result<()> {
    let mut pieces = Pieces {
        body,
        numbers: archive.numbers,
        left: 0,
        ended: false,
    };
    match unpacked(&mut pieces, archive.compression) {
        Some(content) => super::contents::give(content?, entry, sql),
        None => super::contents::unsupported(entry, sql),
    }
    io::copy(&mut pieces, &mut io::sink()).map(drop)
}

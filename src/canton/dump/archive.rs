//! The head and the table of contents of `pg_dump`'s archives: what custom files begin with, and what directories and tars have
//! as `toc.dat`. Archive versions 1.12 (PostgreSQL 9.0) to 1.16 (PostgreSQL 17).
//!
//! | part | content |
//! |---|---|
//! | magic | `PGDMP`, major, minor, revision: one byte each |
//! | sizes | bytes of an integer, of an offset; the format (1 custom, 3 tar and directory): one byte each |
//! | compression | from 1.15 one byte: 0 none, 1 gzip, 2 lz4, 3 zstd; before an integer, the level |
//! | created | seconds, minutes, hours, day, month from 0, year from 1900, daylight saving: integers, of the dumper's wall |
//! | names | database, server's version, dumper's version: strings |
//! | contents | an integer, and so many entries |
//!
//! An integer is a sign (0 or 1) and its bytes, little-endian; a string an integer, its length or negative for none, and bytes.

use std::io::{self, ErrorKind, Read};

use super::moment::Wall;

/// Entries of a table of contents. A database of a hundred thousand tables has less than a million.
const MOST_ENTRIES: i64 = 10_000_000;
/// Bytes kept of a string: a name, a statement with columns, a table's definition.
const LONGEST_STRING: usize = 1 << 20;
/// Bytes kept of all entries.
const MOST_KEPT: usize = 256 << 20;

/// How an archive's data are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Lz4,
    Zstd,
}

/// Where an entry's data are, in a custom archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Data {
    /// There are none.
    None,
    /// Somewhere: the archive was written where one can't go back.
    Somewhere,
    /// At this offset.
    At(u64),
}

/// An entry that has data, or a table's definition.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub id: i64,
    /// Its name.
    pub tag: String,
    /// `TABLE DATA`, `TABLE`, `BLOBS` …
    pub kind: String,
    pub schema: String,
    /// What defines it, of a table.
    pub definition: String,
    /// `COPY … FROM stdin;`, or nothing where the data are `INSERT`s.
    pub copy: String,
    /// Whether it has data.
    pub has_data: bool,
    pub data: Data,
    /// The file of its data, in directories and tars.
    pub file: Option<String>,
}

/// The head and the contents.
#[derive(Clone, Debug)]
pub(super) struct Archive {
    /// Revision of the format, as in 1.14.
    pub version: (u8, u8),
    pub numbers: Numbers,
    /// 1: custom; 3: tar, or a directory's.
    pub format: u8,
    pub compression: Compression,
    pub created: Option<Wall>,
    pub database: Option<String>,
    pub server_version: Option<String>,
    pub dumper_version: Option<String>,
    pub entries: Vec<Entry>,
}

/// How long numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    integer: usize,
    offset: usize,
}

/// Why an archive is not read.
#[derive(Debug)]
pub(super) enum Wrong {
    /// It is damaged or ends early: what was found.
    Damaged(String),
    /// Its version is not known.
    Version(u8, u8),
    /// The machine failed.
    Failed(io::Error),
}

impl From<io::Error> for Wrong {
    fn from(e: io::Error) -> Wrong {
        match e.kind() {
            ErrorKind::UnexpectedEof => Wrong::Damaged("it ends within its table of contents".to_owned()),
            _ => Wrong::Failed(e),
        }
    }
}

fn damaged<T>(what: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong::Damaged(what.into()))
}

/// One byte.
pub(super) fn byte(input: &mut dyn Read) -> io::Result<u8> {
    let mut byte = [0];
    input.read_exact(&mut byte)?;
    Ok(byte[0])
}

impl Numbers {
    /// An integer. One that has more bytes than 64 bits hold is as large as that can say.
    pub fn integer(self, input: &mut dyn Read) -> io::Result<i64> {
        let is_negative = byte(input)? != 0;
        let value = i64::try_from(little_endian(input, self.integer)?).unwrap_or(i64::MAX);
        Ok(if is_negative { -value } else { value })
    }

    fn string(self, input: &mut dyn Read, bound: usize) -> Result<Option<String>, Wrong> {
        let Ok(length) = u64::try_from(self.integer(input)?) else {
            return Ok(None);
        };
        let mut text = Vec::new();
        let kept = length.min(bound as u64);
        input.take(kept).read_to_end(&mut text)?;
        let passed = io::copy(&mut input.take(length - kept), &mut io::sink())?;
        if text.len() as u64 + passed < length {
            return Err(io::Error::from(ErrorKind::UnexpectedEof).into());
        }
        Ok(Some(String::from_utf8_lossy(&text).into_owned()))
    }

    fn data(self, input: &mut dyn Read) -> Result<Data, Wrong> {
        let state = byte(input)?;
        let offset = little_endian(input, self.offset)?;
        match state {
            1 => Ok(Data::Somewhere),
            2 => Ok(Data::At(offset)),
            3 => Ok(Data::None),
            other => damaged(format!("the place of an entry's data has the state {other}")),
        }
    }
}

fn little_endian(input: &mut dyn Read, bytes: usize) -> io::Result<u64> {
    let mut value = 0u64;
    for at in 0..bytes {
        let byte = u64::from(byte(input)?);
        match u32::try_from(at * 8).ok().and_then(|shift| byte.checked_shl(shift)) {
            Some(shifted) => value |= shifted,
            None if byte != 0 => value = u64::MAX,
            None => {}
        }
    }
    Ok(value)
}

/// Reads head and contents; `in_files`: of a directory or a tar, whose entries name files.
pub(super) fn read(input: &mut dyn Read) -> Result<Archive, Wrong> {
    let mut magic = [0; 5];
    input.read_exact(&mut magic)?;
    if magic != *super::origin::ARCHIVE {
        return damaged("it does not begin with PGDMP");
    }
    let version = (byte(input)?, byte(input)?);
    byte(input)?;
    if version.0 != 1 || !(12..=16).contains(&version.1) {
        return Err(Wrong::Version(version.0, version.1));
    }
    let numbers = Numbers {
        integer: usize::from(byte(input)?),
        offset: usize::from(byte(input)?),
    };
    if !(1..=16).contains(&numbers.integer) || !(1..=16).contains(&numbers.offset) {
        return damaged("its integers or offsets are of a size that no machine has");
    }
    let format = byte(input)?;
    let compression = match version.1 {
        15.. => match byte(input)? {
            0 => Compression::None,
            1 => Compression::Gzip,
            2 => Compression::Lz4,
            3 => Compression::Zstd,
            other => return damaged(format!("its data are packed in the unknown way {other}")),
        },
        _ => match numbers.integer(input)? {
            0 => Compression::None,
            _ => Compression::Gzip,
        },
    };
    let mut time = [0; 7];
    for part in &mut time {
        *part = numbers.integer(input)?;
    }
    let [second, minute, hour, day, month, year, _] = time;
    let year = year.saturating_add(1900);
    let mut archive = Archive {
        version,
        numbers,
        format,
        compression,
        created: Wall::of(year, month.saturating_add(1), day, hour, minute, second),
        database: numbers.string(input, LONGEST_STRING)?,
        server_version: numbers.string(input, LONGEST_STRING)?,
        dumper_version: numbers.string(input, LONGEST_STRING)?,
        entries: Vec::new(),
    };
    let count = numbers.integer(input)?;
    if !(0..=MOST_ENTRIES).contains(&count) {
        return damaged(format!("its table of contents has {count} entries"));
    }
    let mut kept = 0;
    for _ in 0..count {
        let entry = archive.entry(input)?;
        if !entry.has_data && entry.kind != "TABLE" {
            continue;
        }
        let texts = [&entry.tag, &entry.kind, &entry.schema, &entry.definition, &entry.copy];
        kept += size_of::<Entry>() + texts.iter().map(|text| text.len()).sum::<usize>();
        if kept > MOST_KEPT {
            return damaged(format!("its table of contents has more than {} MiB", MOST_KEPT >> 20));
        }
        archive.entries.push(entry);
    }
    Ok(archive)
}

impl Archive {
    fn entry(&self, input: &mut dyn Read) -> Result<Entry, Wrong> {
        let numbers = self.numbers;
        let id = numbers.integer(input)?;
        if id <= 0 {
            return damaged(format!("an entry of its table of contents has the number {id}"));
        }
        let has_data = numbers.integer(input)? != 0;
        let pass = |input: &mut dyn Read| numbers.string(input, 0).map(drop);
        let text = |input: &mut dyn Read| Ok::<_, Wrong>(numbers.string(input, LONGEST_STRING)?.unwrap_or_default());
        // Numbers of the catalog.
        pass(input)?;
        pass(input)?;
        let (tag, kind) = (text(input)?, text(input)?);
        // Section.
        numbers.integer(input)?;
        let definition = match kind.as_str() {
            "TABLE" => text(input)?,
            _ => pass(input).map(|()| String::new())?,
        };
        // The statement that drops it.
        pass(input)?;
        let (copy, schema) = (text(input)?, text(input)?);
        // Tablespace; from 1.14 the access method, from 1.16 the kind of relation.
        pass(input)?;
        if self.version.1 >= 14 {
            pass(input)?;
        }
        if self.version.1 >= 16 {
            numbers.integer(input)?;
        }
        // Owner, whether it has row numbers, and what it depends on.
        pass(input)?;
        pass(input)?;
        while numbers.string(input, 0)?.is_some() {}
        let (data, file) = match self.format {
            1 => (numbers.data(input)?, None),
            _ => (
                Data::Somewhere,
                numbers.string(input, 4096)?.filter(|name| !name.is_empty()),
            ),
        };
        Ok(Entry {
            id,
            tag,
            kind,
            schema,
            definition,
            copy,
            has_data,
            data,
            file,
        })
    }
}

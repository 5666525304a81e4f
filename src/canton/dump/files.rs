//! Data in files of their own: `pg_dump -Fd`, and `-Ft` or a tar of such a directory.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use super::archive::{self, Archive, Wrong};
use super::contents::{self, Contents};
use super::origin;
use super::sql::Sql;
use crate::canton::Code;
use crate::canton::unpack::{self, Packing};

/// How the files of data are packed, by the ends of their names.
const PACKED: [(&str, Option<Packing>); 4] = [
    ("", Some(Packing::Plain)),
    (".gz", Some(Packing::Gzip)),
    (".zst", Some(Packing::Zstd)),
    (".lz4", None),
];

/// Whether a name in a table of contents is one that `pg_dump` gives, and stays in the directory.
fn is_safe(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !name.starts_with('.') && name.len() < 256 && name.bytes().all(legal)
}

/// Reads the wanted data of a directory.
pub(super) fn directory(directory: &Path, archive: &Archive, sql: &mut Sql<'_>) {
    let contents = Contents::of(archive, sql);
    for entry in archive.entries.iter().filter(|entry| entry.has_data) {
        let Some(name) = entry.file.as_deref() else {
            continue;
        };
        if !is_safe(name) {
            sql.found(
                Code::DumpCutOff,
                None,
                format!("the table of contents names {name:?} as a file of data"),
            );
            continue;
        }
        let found = PACKED.iter().find_map(|(end, packing)| {
            let path = directory.join(format!("{name}{end}"));
            path.metadata()
                .is_ok_and(|metadata| metadata.is_file())
                .then_some((path, packing))
        });
        let Some((path, packing)) = found else {
            let message = format!(
                "the file {name}, the data of {}.{}, is missing",
                entry.schema, entry.tag
            );
            sql.found(Code::DumpCutOff, None, message);
            continue;
        };
        if !contents.is_wanted(entry.id) {
            continue;
        }
        let Some(packing) = packing else {
            contents::unsupported(entry, sql);
            continue;
        };
        match File::open(&path).and_then(|file| unpack::reader(file, *packing)) {
            Ok(content) => contents::give(content, entry, sql),
            Err(e) => sql.found(Code::DumpCutOff, None, format!("the file {name} can't be read: {e}")),
        }
    }
}

/// Bytes of a tar's blocks.
const BLOCK: usize = 512;

/// A member of a tar.
struct Member {
    name: String,
    size: u64,
    is_file: bool,
}

fn member(input: &mut dyn Read) -> io::Result<Option<Member>> {
    let mut header = [0; BLOCK];
    match input.read_exact(&mut header) {
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    if header.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let damaged = || io::Error::new(ErrorKind::InvalidData, "the header of a member of the tar is damaged");
    let field = |from: usize, to: usize| header.get(from..to).unwrap_or_default();
    let name = field(0, 100).split(|byte| *byte == 0).next().unwrap_or_default();
    let octal = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).ok()?;
        u64::from_str_radix(text.trim_matches(['\0', ' ']), 8).ok()
    };
    let size = match field(124, 136) {
        // Sizes from 8 GiB on are binary.
        [first, rest @ ..] if first & 0x80 != 0 => rest.iter().try_fold(u64::from(first & 0x7f), |value, byte| {
            Some(value.checked_mul(256)? + u64::from(*byte))
        }),
        bytes => octal(bytes),
    };
    let kind = field(156, 157);
    Ok(Some(Member {
        name: String::from_utf8_lossy(name).into_owned(),
        size: size.filter(|size| *size < 1 << 62).ok_or_else(damaged)?,
        is_file: kind == b"0" || kind == b"\0",
    }))
}

/// Goes through the members of a tar until `visit` has enough.
fn members(input: &mut dyn Read, mut visit: impl FnMut(&Member, &mut dyn Read) -> bool) -> io::Result<()> {
    while let Some(member) = member(input)? {
        let mut content = input.take(member.size);
        if member.is_file && visit(&member, &mut content) {
            return Ok(());
        }
        let padding = (BLOCK as u64 - member.size % BLOCK as u64) % BLOCK as u64;
        let left = content.limit() + padding;
        if io::copy(&mut input.take(left), &mut io::sink())? < left {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// Splits the name of a member into its directory and itself.
fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('/').unwrap_or(("", name))
}

/// Finds the contents of a tar, wherever in it they are, and the directory they are of.
pub(super) fn tar_contents(input: &mut dyn Read) -> Result<Option<(String, Archive)>, Wrong> {
    let mut found = None;
    members(input, |member, content| {
        let (directory, name) = split(&member.name);
        if name == "toc.dat" {
            found = Some(archive::read(content).map(|archive| (directory.to_owned(), archive)));
        }
        found.is_some()
    })?;
    found.transpose()
}

/// Reads the wanted data of a tar.
pub(super) fn tar(path: &Path, directory: &str, archive: &Archive, sql: &mut Sql<'_>) {
    let contents = Contents::of(archive, sql);
    let mut missing: BTreeSet<&str> = archive
        .entries
        .iter()
        // Large objects are in files that no entry names.
        .filter(|entry| entry.has_data && entry.kind == "TABLE DATA")
        .filter_map(|entry| entry.file.as_deref())
        .collect();
    let mut input = match origin::open(path) {
        Ok(opened) => opened.content,
        Err(e) => return sql.found(Code::DumpCutOff, None, format!("the tar can't be read again: {e}")),
    };
    let ended = members(&mut input, |member, content| {
        let (of, name) = split(&member.name);
        if of != directory {
            return false;
        }
        for (end, packing) in PACKED {
            let Some(name) = name.strip_suffix(end).filter(|name| missing.contains(name)) else {
                continue;
            };
            missing.remove(name);
            match (contents.in_file(name), packing) {
                (None, _) => {}
                (Some(entry), None) => contents::unsupported(entry, sql),
                (Some(entry), Some(Packing::Plain)) => contents::give(content, entry, sql),
                (Some(entry), Some(packing)) => match unpacked(content, packing) {
                    Ok(content) => contents::give(content, entry, sql),
                    Err(e) => sql.found(Code::DumpCutOff, None, format!("{name} can't be read: {e}")),
                },
            }
            return false;
        }
        false
    });
    if let Err(e) = ended {
        sql.found(Code::DumpCutOff, None, format!("the tar can't be read to its end: {e}"));
    }
    if let Some(name) = missing.first() {
        let message = format!(
            "{} files of data are missing in the tar, the first is {name}",
            missing.len()
        );
        sql.found(Code::DumpCutOff, None, message);
    }
}

/// Unpacks a member; other than [`unpack::reader`], of a reader that stays on its thread.
fn unpacked<'r>(content: &'r mut dyn Read, packing: Packing) -> io::Result<Box<dyn Read + 'r>> {
    Ok(match packing {
        Packing::Gzip => Box::new(flate2::read::MultiGzDecoder::new(content)),
        Packing::Zstd => Box::new(zstd::stream::read::Decoder::new(content)?),
        Packing::Plain | Packing::Xz | Packing::Utf16 { .. } => Box::new(content),
    })
}

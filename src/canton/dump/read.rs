//! Reads a source of whatever kind.

use std::fs::File;
use std::io::{BufReader, ErrorKind};
use std::path::Path;

use time::UtcOffset;

use super::archive::{self, Archive, Wrong};
use super::blocks::{self, Body};
use super::origin::{self, Holds, Opened};
use super::outcome::{finish, header};
use super::sql::{End, Sql};
use super::{Format, Header, Options, Read, Rows, Source, files};
use crate::canton::Code;
use crate::error::{Error, Result};
use crate::shown::Show;

pub(super) fn read(source: &Source, options: &Options, rows: &mut dyn Rows) -> Result<Read> {
    match source {
        Source::File(path) => file(path, options, rows),
        Source::Directory(path) => directory(path, options, rows),
        Source::Running(address) => super::running::read(address, rows),
    }
}

pub(super) fn bytes(bytes: &[u8], options: &Options, rows: &mut dyn Rows) -> Read {
    let mut sql = Sql::new(rows, "memory".to_owned(), options.zone);
    let mut opened = Opened {
        holds: origin::holds(bytes),
        is_plain_file: false,
        is_file: false,
        content: Box::new(std::io::Cursor::new(bytes.to_vec())),
    };
    let header = match opened.holds {
        Holds::Sql => plain(opened, &mut sql),
        Holds::Archive => of_custom(Body::Stream(opened.content), options, &mut sql),
        Holds::Tar => match files::tar_contents(&mut opened.content) {
            Ok(Some((_, archive))) => of_archive(&archive, Format::Tar, options.zone, &mut sql),
            Ok(None) => header(Format::Tar),
            Err(e) => wrong(e, Format::Tar, &mut sql),
        },
        Holds::Nothing | Holds::Other => {
            sql.found(Code::NotADump, 0, "this is no dump of pg_dump");
            header(Format::Plain)
        }
    };
    finish(sql, header)
}

fn file(path: &Path, options: &Options, rows: &mut dyn Rows) -> Result<Read> {
    let opened = origin::open(path).map_err(Error::io("read", path))?;
    let mut sql = Sql::new(rows, path.shown().to_string(), options.zone);
    let header = match opened.holds {
        Holds::Sql => plain(opened, &mut sql),
        Holds::Archive => custom(path, opened, options, &mut sql)?,
        Holds::Tar if !opened.is_file => {
            let message = "a tar is read twice, which can't be done here; give it as an ordinary file";
            return Err(Error::Usage(message.to_owned()));
        }
        Holds::Tar => tar(path, opened, options, &mut sql),
        Holds::Nothing => {
            sql.found(Code::NotADump, 0, "the file is empty");
            header(Format::Plain)
        }
        Holds::Other => {
            let message = "expected a dump of pg_dump: SQL, an archive (PGDMP) or a tar, also packed with gzip, zstd or xz; \
                           found something else";
            sql.found(Code::NotADump, 0, message);
            header(Format::Plain)
        }
    };
    Ok(finish(sql, header))
}

fn plain(opened: Opened, sql: &mut Sql<'_>) -> Header {
    let ended = sql.run(opened.content);
    let offset = sql.offset;
    let is_whole = match ended {
        End::Whole => true,
        End::CutOff => {
            sql.found(Code::DumpCutOff, offset, "the dump ends in the middle of a statement");
            false
        }
        End::Failed(e) if e.kind() == ErrorKind::UnexpectedEof => {
            sql.found(Code::DumpCutOff, offset, "the packed file ends in the middle");
            false
        }
        End::Failed(e) => {
            sql.found(Code::DumpCutOff, offset, format!("the file can't be read further: {e}"));
            false
        }
    };
    if is_whole && !sql.about.is_complete() {
        let message = match sql.about.is_dump() {
            true => "the dump ends without the line \"PostgreSQL database dump complete\"",
            false => "nothing in the file says that it is a dump of PostgreSQL, and that it is complete",
        };
        sql.found(Code::DumpCutOff, offset, message);
    }
    let about = sql.about.clone();
    let format = match about.is_cluster {
        true => Format::PlainAll,
        false => Format::Plain,
    };
    let mut databases = about.databases.clone();
    databases.dedup();
    Header {
        started: about.started,
        completed: about.completed,
        zone_known: about.zones.unwrap_or(false),
        database: databases.pop().filter(|_| databases.is_empty() && !about.is_cluster),
        server_version: about.server_version.clone(),
        dumper_version: about.dumper_version.clone(),
        complete: is_whole && about.is_complete(),
        format,
    }
}

fn of_archive(archive: &Archive, format: Format, zone: Option<UtcOffset>, sql: &mut Sql<'_>) -> Header {
    sql.database.clone_from(&archive.database);
    Header {
        format,
        started: archive.created.and_then(|created| created.span(zone)),
        completed: None,
        zone_known: zone.is_some() && archive.created.is_some(),
        database: archive.database.clone(),
        server_version: archive.server_version.clone(),
        dumper_version: archive.dumper_version.clone(),
        complete: true,
    }
}

fn wrong(wrong: Wrong, format: Format, sql: &mut Sql<'_>) -> Header {
    match wrong {
        Wrong::Damaged(what) => sql.found(Code::NotADump, None, format!("the archive is damaged: {what}")),
        Wrong::Failed(e) => sql.found(Code::NotADump, None, format!("the archive can't be read: {e}")),
        Wrong::Version(major, minor) => {
            let message = format!("the archive is of version {major}.{minor}; 1.12 to 1.16 are known");
            sql.found(Code::DumpUnsupported, None, message);
        }
    }
    header(format)
}

fn custom(path: &Path, opened: Opened, options: &Options, sql: &mut Sql<'_>) -> Result<Header> {
    let body = match opened.is_plain_file {
        true => Body::File(BufReader::with_capacity(
            256 << 10,
            File::open(path).map_err(Error::io("open", path))?,
        )),
        false => Body::Stream(opened.content),
    };
    Ok(of_custom(body, options, sql))
}

fn of_custom(mut body: Body, options: &Options, sql: &mut Sql<'_>) -> Header {
    let archive = match archive::read(&mut body) {
        Ok(archive) => archive,
        Err(e) => return wrong(e, Format::Custom, sql),
    };
    if archive.format != 1 {
        sql.found(
            Code::NotADump,
            0,
            "this is the table of contents of a dump in files; give the directory that it is in",
        );
        return header(Format::Directory);
    }
    let header = of_archive(&archive, Format::Custom, options.zone, sql);
    blocks::read(body, &archive, sql);
    header
}

fn tar(path: &Path, mut opened: Opened, options: &Options, sql: &mut Sql<'_>) -> Header {
    match files::tar_contents(&mut opened.content) {
        Ok(Some((directory, archive))) if archive.format != 1 => {
            let header = of_archive(&archive, Format::Tar, options.zone, sql);
            files::tar(path, &directory, &archive, sql);
            header
        }
        Ok(_) => {
            sql.found(
                Code::NotADump,
                None,
                "the tar is none of pg_dump's: there is no toc.dat in it",
            );
            header(Format::Tar)
        }
        Err(e) => wrong(e, Format::Tar, sql),
    }
}

/// Names in a directory that are shown, and entries that are looked at.
const NAMED: usize = 8;
const LOOKED_AT: usize = 1000;

/// What lies in a directory that is no dump itself, so that one of it can be picked.
fn held(path: &Path) -> String {
    let entries = path.read_dir().into_iter().flatten().take(LOOKED_AT);
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| Path::new(&entry.file_name()).shown().to_string())
        .collect();
    names.sort_unstable();
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    match (names.is_empty(), more) {
        (true, _) => "it is empty".to_owned(),
        (false, 0) => format!("it holds {}: give one of them", names.join(", ")),
        (false, more) => format!("it holds {} and {more} more: give one of them", names.join(", ")),
    }
}

fn directory(path: &Path, options: &Options, rows: &mut dyn Rows) -> Result<Read> {
    let mut sql = Sql::new(rows, path.shown().to_string(), options.zone);
    let contents = path.join("toc.dat");
    let file = match File::open(&contents) {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            sql.found(
                Code::NotADump,
                None,
                format!(
                    "the directory is no dump of pg_dump -Fd: there is no toc.dat in it; {}",
                    held(path)
                ),
            );
            return Ok(finish(sql, header(Format::Directory)));
        }
        other => other.map_err(Error::io("open", &contents))?,
    };
    let header = match archive::read(&mut BufReader::new(file)) {
        Ok(archive) if archive.format != 1 => {
            let header = of_archive(&archive, Format::Directory, options.zone, &mut sql);
            files::directory(path, &archive, &mut sql);
            header
        }
        Ok(_) => wrong(
            Wrong::Damaged("its toc.dat is of another format".to_owned()),
            Format::Directory,
            &mut sql,
        ),
        Err(e) => wrong(e, Format::Directory, &mut sql),
    };
    Ok(finish(sql, header))
}

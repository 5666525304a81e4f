//! PostgreSQL databases as rows: from dumps of `pg_dump` (plain, custom, directory, tar; `--inserts`; `pg_dumpall`), compressed
//! or not, and from running databases, read-only. Rows of the tables that somebody wants are given to them one by one;
//! nothing else is kept, so that memory does not grow with the database (SPEC-CANTON 1.6, 2.4).
//!
//! All forms lead through one reader of SQL: an archive's data and a running database's rows are what stands between
//! `COPY … FROM stdin;` and `\.` in a plain dump.

mod about;
mod archive;
mod blocks;
mod contents;
mod data;
mod files;
mod input;
mod moment;
mod origin;
mod outcome;
mod read;
mod rows;
mod running;
mod secure;
mod source;
mod sql;
mod token;

use time::UtcOffset;

use crate::canton::finding::Ending;
use crate::canton::{Findings, Timestamp};
use crate::error::Result;

pub use source::{Address, Host, Source, TlsMode};

/// A table of a database.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Table {
    /// The database that a dump of several, or a running server, says it belongs to.
    pub database: Option<String>,
    /// Its schema, such as `participant` or `sv`.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// The names of its columns, in the order of the rows' fields.
    pub columns: Vec<String>,
}

impl Table {
    /// Where a column stands in the rows' fields.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column == name)
    }
}

/// One field of a row: its text as PostgreSQL prints it, or `None` for NULL.
pub type Field<'a> = Option<&'a [u8]>;

/// Wants rows.
pub trait Rows {
    /// Whether the rows of a table are wanted. Columns may be in any order, some missing, others added. The same table may be
    /// asked for more than once, and also where it has no rows.
    fn wants(&mut self, table: &Table) -> bool;

    /// Whether a column of a wanted table is needed. Of a running database the others are not asked for, and come as NULL.
    fn needs(&mut self, _table: &Table, _column: &str) -> bool {
        true
    }

    /// Takes one row of a wanted table, with a field for each of its columns.
    fn row(&mut self, table: &Table, fields: &[Field<'_>]);
}

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// SQL, as `pg_dump` and `pg_restore -f` write it.
    Plain,
    /// SQL of several databases, as `pg_dumpall` writes it.
    PlainAll,
    /// `pg_dump -Fc`.
    Custom,
    /// `pg_dump -Fd`.
    Directory,
    /// `pg_dump -Ft`.
    Tar,
    /// A running database.
    Running,
}

/// Between when and when something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Span {
    /// Not before this.
    pub earliest: Timestamp,
    /// Not after this.
    pub latest: Timestamp,
}

/// What a dump says about itself, or a running database about its transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it is.
    pub format: Format,
    /// When the dump was begun, by the clock of the machine that made it; a running database's transaction. A dump's content
    /// is as of an instant shortly after. Plain dumps say it only where they were made with `--verbose`.
    pub started: Option<Span>,
    /// When the dump was complete, where it says so: plain dumps made with `--verbose`.
    pub completed: Option<Span>,
    /// Whether the times are of a known time zone, by their own word or [`Options::zone`]. Where not, a time spans as far as
    /// zones go.
    pub zone_known: bool,
    /// The database that was dumped; of dumps of several and plain ones without `--create` it is not known.
    pub database: Option<String>,
    /// The server's release, as it says it.
    pub server_version: Option<String>,
    /// The release of `pg_dump`, as it says it.
    pub dumper_version: Option<String>,
    /// Whether it was read to an end that says that it is the end, and nothing of it is missing. Of an archive's tables that
    /// nobody wanted the data are only looked for, not unpacked.
    pub complete: bool,
}

/// What is known beforehand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The time zone of the machines that made the dumps: for times that do not say theirs.
    pub zone: Option<UtcOffset>,
}

/// What came of reading a source; its rows were given away meanwhile.
#[derive(Clone, Debug)]
pub struct Read {
    /// What it says about itself.
    pub header: Header,
    /// What is wrong with it.
    pub findings: Findings,
    /// Clean, or partial (it breaks off, or rows of it could not be read), refused (by a server), or unreadable.
    pub ending: Ending,
}

/// Reads a source, and gives the rows of the wanted tables to `rows`.
///
/// # Errors
/// The source does not exist, is not readable by this process, or (a password in an address, no user) was named wrongly. What
/// is wrong with what it holds is a finding; so is a server that refuses.
pub fn read(source: &Source, options: &Options, rows: &mut dyn Rows) -> Result<Read> {
    read::read(source, options, rows)
}

/// Reads a dump that is in memory and not packed: SQL, a custom archive, or the table of contents of others.
pub fn read_bytes(bytes: &[u8], options: &Options, rows: &mut dyn Rows) -> Read {
    read::bytes(bytes, options, rows)
}

#[cfg(test)]
mod tests;

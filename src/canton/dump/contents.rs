//! What of an archive is wanted, and its data given away.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};

use super::archive::{Archive, Entry};
use super::sql::{End, Sql};
use crate::canton::Code;

/// The wanted tables' data.
pub(super) struct Contents<'e> {
    wanted: BTreeMap<i64, &'e Entry>,
}

impl<'e> Contents<'e> {
    /// Asks for each table.
    pub fn of(archive: &'e Archive, sql: &mut Sql<'_>) -> Contents<'e> {
        // Where data are INSERTs, only the tables' definitions name the columns.
        let data = archive
            .entries
            .iter()
            .filter(|entry| entry.kind == "TABLE DATA" && entry.has_data);
        let has_inserts = data.clone().any(|entry| entry.copy.trim_ascii().is_empty());
        for entry in archive
            .entries
            .iter()
            .filter(|entry| has_inserts && entry.kind == "TABLE")
        {
            sql.in_schema(&entry.schema);
            sql.run(entry.definition.as_bytes());
        }
        let wanted = data.filter(|entry| {
            sql.in_schema(&entry.schema);
            let table = sql.table_of(&entry.copy, &entry.schema, &entry.tag);
            table.is_some_and(|table| sql.wants(&table))
        });
        Contents {
            wanted: wanted.map(|entry| (entry.id, entry)).collect(),
        }
    }

    pub fn is_wanted(&self, id: i64) -> bool {
        self.wanted.contains_key(&id)
    }

    pub fn entry(&self, id: i64) -> Option<&'e Entry> {
        self.wanted.get(&id).copied()
    }

    /// The entry whose data are in this file.
    pub fn in_file(&self, file: &str) -> Option<&'e Entry> {
        self.wanted
            .values()
            .find(|entry| entry.file.as_deref() == Some(file))
            .copied()
    }
}

/// Gives the rows of one table's data away: what `COPY` begins, or `INSERT`s.
pub(super) fn give(content: impl Read, entry: &Entry, sql: &mut Sql<'_>) {
    sql.in_schema(&entry.schema);
    let statement = entry.copy.trim_end().to_owned() + "\n";
    let ended = sql.run(statement.as_bytes().chain(content));
    let table = format!("{}.{}", entry.schema, entry.tag);
    let why = match ended {
        End::Whole => return,
        End::CutOff => "end early".to_owned(),
        End::Failed(e) if e.kind() == ErrorKind::UnexpectedEof => "end early".to_owned(),
        End::Failed(e) => format!("can't be read: {e}"),
    };
    sql.found(Code::DumpCutOff, None, format!("the data of {table} {why}"));
}

/// Says that a table's data can't be unpacked.
pub(super) fn unsupported(entry: &Entry, sql: &mut Sql<'_>) {
    let message = format!(
        "the data of {}.{} are packed with lz4, which is not read here",
        entry.schema, entry.tag
    );
    sql.found(Code::DumpUnsupported, None, message);
}

//! PostgreSQL databases as rows: from dumps of `pg_dump` (plain, custom, directory; `--inserts`; `pg_dumpall`), compressed or
//! not, and from running databases, read-only. Rows of the tables that somebody wants are given to them one by one; nothing
//! else is kept.

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

/// One field of a row: its text as PostgreSQL prints it, or `None` for NULL.
pub type Field<'a> = Option<&'a [u8]>;

/// Wants rows.
pub trait Rows {
    /// Whether the rows of a table are wanted. Columns may be in any order, some missing, others added.
    fn wants(&mut self, table: &Table) -> bool;

    /// Takes one row of a wanted table, with a field for each of its columns.
    fn row(&mut self, table: &Table, fields: &[Field<'_>]);
}

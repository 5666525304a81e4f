//! Running databases.

use super::read::{finish, header};
use super::sql::Sql;
use super::{Address, Format, Read, Rows};
use crate::error::Result;

pub(super) fn read(address: &Address, rows: &mut dyn Rows) -> Result<Read> {
    let sql = Sql::new(rows, address.to_string(), None);
    Ok(finish(sql, header(Format::Running)))
}

//! A participant's database as it is named on the command line: a dump or an address, with the SV's name before it.

use std::path::PathBuf;

use crate::canton::dump;
use crate::error::{Error, Result};

/// An SV's participant database.
pub struct Database {
    /// The SV's name.
    pub name: String,
    /// Where it is.
    pub source: dump::Source,
    /// Its file or directory, where it is one.
    pub path: Option<PathBuf>,
}

impl Database {
    /// Parses `NAME=FILE` or `NAME=postgres://…`.
    ///
    /// # Errors
    /// [`Error::Usage`]. What is wrong is said without repeating it: there may be a password in it.
    pub fn parse(given: &str) -> Result<Database> {
        let is_name = |name: &&str| !name.is_empty() && !name.contains(['/', ':']);
        let named = given
            .split_once('=')
            .filter(|(name, source)| is_name(name) && !source.is_empty());
        let (name, source) = named.ok_or_else(|| {
            Error::Usage("whose is each --participant-db? Give it as NAME=FILE or NAME=postgres://…".to_owned())
        })?;
        Ok(Database {
            name: name.to_owned(),
            // Addresses of databases name no file.
            path: Some(PathBuf::from(source)).filter(|path| path.exists()),
            source: dump::Source::parse(source.as_ref())?,
        })
    }
}

//! What went wrong with the machine or the request; what is wrong with a ledger is a finding instead.

use std::path::{Path, PathBuf};

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory could not be read or written.
    #[error("could not {doing} {}: {source}", path.display())]
    Io {
        /// What was being done: "open", "write".
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the machine answered.
        source: std::io::Error,
    },
    /// What was named is not what the command needs; the sentence says what was found, expected, and what to do.
    #[error("{0}")]
    Unreadable(String),
    /// The request can't be carried out as it was made.
    #[error("{0}")]
    Usage(String),
}

/// The result of most of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An I/O error with what was being done to what.
    pub fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { doing, path, source }
    }

    /// The process's exit code: 2 for usage, 3 for what could not be read or written.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) => 2,
            Error::Io { .. } | Error::Unreadable(_) => 3,
        }
    }
}

//! What went wrong with the machine or the request; what is wrong with a ledger is a finding instead.
//!
//! An error may repeat what a file, a name or a server said. However it was made, it is displayed as [`crate::shown`] shows
//! such text: one line, or the lines that [`Error::Listed`] has.

use std::path::{Path, PathBuf};

use crate::shown::{Show, Shown, line};

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory could not be read or written.
    #[error("could not {doing} {}: {}", path.shown(), Shown(source))]
    Io {
        /// What was being done: "open", "write".
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the machine answered.
        source: std::io::Error,
    },
    /// What was named is not what the command needs; the sentence says what was found, expected, and what to do.
    #[error("{}", line(.0))]
    Unreadable(String),
    /// The request can't be carried out as it was made.
    #[error("{}", line(.0))]
    Usage(String),
    /// A sentence with lines below it: the problems of a configuration, the end of a log.
    #[error("{}{}", line(what), below(lines))]
    Listed {
        /// What happened.
        what: String,
        /// The lines, each with its own indentation.
        lines: Vec<String>,
        /// Whether the request was wrong, as in [`Error::Usage`].
        usage: bool,
    },
}

fn below(lines: &[String]) -> String {
    lines.iter().map(|text| format!("\n{}", line(text))).collect()
}

/// The result of most of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An I/O error with what was being done to what.
    pub fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { doing, path, source }
    }

    /// A wrong request, whose explanation has lines of its own: the caller answers for what these hold.
    pub fn usage_in_lines(text: &str) -> Error {
        let mut lines = text.split('\n').map(str::to_owned);
        Error::Listed {
            what: lines.next().unwrap_or_default(),
            lines: lines.collect(),
            usage: true,
        }
    }

    /// What went wrong with the machine, but not where on it: for those whom its paths are no business of.
    pub fn without_path(&self) -> String {
        match self {
            Error::Io { doing, source, .. } => format!("could not {doing}: {}", Shown(source)),
            other => other.to_string(),
        }
    }

    /// The process's exit code: 2 for usage, 3 for what could not be read or written.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) | Error::Listed { usage: true, .. } => 2,
            Error::Io { .. } | Error::Unreadable(_) | Error::Listed { usage: false, .. } => 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_never_shows_what_a_terminal_would_act_on() {
        let hostile = "x\u{1b}[2J\nverdict ok\u{202e}";
        let io = Error::io("open", Path::new(hostile))(std::io::Error::other(hostile));
        for error in [io, Error::Unreadable(hostile.into()), Error::Usage(hostile.into())] {
            let text = error.to_string();
            assert!(text.chars().all(crate::shown::is_plain), "{text}");
        }
        let error = Error::Listed {
            what: hostile.into(),
            lines: vec!["  one".into(), hostile.into()],
            usage: true,
        };
        assert_eq!(error.to_string().lines().count(), 3);
        assert_eq!(Error::usage_in_lines("a\nb\u{7}").to_string(), "a\nb\\u{7}");
    }
}

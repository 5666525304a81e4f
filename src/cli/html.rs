//! `--html FILE`: a report as one file with pictures, which is there as a whole or not at all.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::format::whole_file::{PUBLIC, Target, WholeFile, directory_of, target};
use crate::report::output::refuse_ledger_directories;
use crate::shown::Show;

/// The file that was asked for, held open while the work is done: whoever waits an hour should not learn then that it can't be
/// written.
pub struct Html {
    path: PathBuf,
    file: WholeFile,
}

impl Html {
    /// Begins the file, if one was asked for: nowhere in `directories`, which are read, and in the place of none of `inputs`.
    ///
    /// # Errors
    /// If it may not stand there, or can't be created.
    pub fn begin(path: Option<&Path>, directories: &[PathBuf], inputs: &[&Path]) -> Result<Option<Html>> {
        let Some(path) = path else { return Ok(None) };
        if target(path)? != Target::File {
            return Err(Error::Usage(format!(
                "{} is a device or a pipe; give the name of a file",
                path.shown()
            )));
        }
        refuse_ledger_directories(path, directories)?;
        let own = place(path);
        if let Some(input) = inputs.iter().find(|input| own.is_some() && place(input) == own) {
            return Err(Error::Usage(format!(
                "{} is {}, which is read or kept; name another file",
                path.shown(),
                input.shown()
            )));
        }
        let file = WholeFile::create(path, PUBLIC)?.ends_with_process();
        Ok(Some(Html {
            path: path.to_owned(),
            file,
        }))
    }

    /// Writes the document, and gives the file its name.
    ///
    /// # Errors
    /// Whatever writing answers.
    pub fn finish(mut self, document: &str) -> Result<()> {
        self.file
            .write_all(document.as_bytes())
            .map_err(Error::io("write", &self.path))?;
        self.file.finish()
    }
}

/// Where a file is or would be, by whichever name.
fn place(path: &Path) -> Option<PathBuf> {
    let directory = directory_of(path).canonicalize().ok()?;
    let place = directory.join(path.file_name()?);
    Some(place.canonicalize().unwrap_or(place))
}

/// The command that this process runs, as it can be shown.
pub fn command() -> String {
    let arguments = std::env::args_os().skip(1);
    let arguments = arguments.map(|argument| Path::new(&argument).shown().to_string());
    std::iter::once("rekindle".to_owned())
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Seconds since 1970.
pub fn now_unix_s() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

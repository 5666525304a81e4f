//! Reading what the command line names: small files, of which every one that is not what it should be gets a sentence.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::archive::mounting::{self, ledgers};
use crate::crypto::x509::Certificate;
use crate::error::{Error, Result};
use crate::format::directory::LedgerFiles;
use crate::recovery::against::Earlier;
use crate::recovery::snapshots;
use crate::shown::Show;

/// Largest file that is read whole: keys, certificates, shares are kilobytes, earlier reports a few megabytes.
const MAX_SIZE_BYTES: u64 = 64 << 20;

/// Reads a whole small file.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let metadata = std::fs::metadata(path).map_err(Error::io("read", path))?;
    if metadata.is_dir() {
        return Err(Error::Usage(format!(
            "{} is a directory, expected a file",
            path.shown()
        )));
    }
    if metadata.len() > MAX_SIZE_BYTES {
        return Err(Error::Usage(format!(
            "{} has {} bytes, which is more than any key, certificate, share or report has",
            path.shown(),
            metadata.len()
        )));
    }
    // What says nothing of its size, such as a pipe or a device, may never end.
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_SIZE_BYTES + 1).read_to_end(&mut bytes));
    match read.map_err(Error::io("read", path))? as u64 {
        0..=MAX_SIZE_BYTES => Ok(bytes),
        _ => Err(Error::Usage(format!(
            "{} goes on after {MAX_SIZE_BYTES} bytes, which is more than any key, certificate, share or report has",
            path.shown()
        ))),
    }
}

/// Reads a whole small text file.
pub fn read_text(path: &Path) -> Result<String> {
    String::from_utf8(read(path)?)
        .map_err(|_| Error::Usage(format!("{} is not text, expected PEM or JSON", path.shown())))
}

/// Reads a certificate.
pub fn certificate(path: &Path) -> Result<Certificate> {
    Certificate::from_pem(&read_text(path)?)
        .map_err(|why| Error::Usage(format!("{} is not a service certificate in PEM: {why}", path.shown())))
}

/// Reads the JSON of an earlier verification.
pub fn earlier(path: &Path) -> Result<Earlier> {
    serde_json::from_str(&read_text(path)?).map_err(|why| {
        Error::Usage(format!(
            "{} is not a whole report of `rekindle verify --json`, expected the document as an earlier run printed it: {why}",
            path.shown()
        ))
    })
}

/// Lists a ledger's directories.
pub fn ledger(directories: &[PathBuf], recovery: bool) -> Result<LedgerFiles> {
    LedgerFiles::list(directories, recovery)
}

/// The copies of a ledger: each directory is one; an archive is all that are in it.
pub fn copies(directories: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut copies = Vec::new();
    for directory in directories {
        match ledgers(directory)? {
            Some(ledgers) => copies.extend(ledgers),
            None => copies.push(directory.clone()),
        }
    }
    Ok(copies)
}

/// Directories with whatever nodes left behind; an archive is all the folders in it.
pub fn folders(directories: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for directory in directories {
        match mounting::folders(directory)? {
            Some(folders) => all.extend(folders),
            None => all.push(directory.clone()),
        }
    }
    Ok(all)
}

/// The snapshot to start from: a file, or `latest` for the newest committed one of the directories.
pub fn start_snapshot(choice: &Path, directories: &[PathBuf]) -> Result<PathBuf> {
    if choice != Path::new("latest") {
        return Ok(choice.to_owned());
    }
    if directories.is_empty() {
        return Err(Error::Usage("--from-snapshot latest needs --snapshots DIR".to_owned()));
    }
    let newest = snapshots::list(directories)?
        .into_iter()
        .rev()
        .find(|file| file.name.committed);
    newest.map(|file| file.path).ok_or_else(|| {
        Error::Usage(
            "--from-snapshot latest: there is no committed snapshot (snapshot_S_E.committed) in the directories given"
                .to_owned(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_ends_is_not_read_for_ever() {
        let why = read(Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(why.contains("/dev/zero goes on after"), "{why}");
        assert!(read(Path::new("/dev/null")).unwrap().is_empty());
    }
}

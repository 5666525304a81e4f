//! A directory of sealed files: listed, read and written. Recovery specification, section 6.1.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::choice::{Choice, choose};
use super::file::{MAX_FILE_BYTES, SealedSecret};
use super::names::{Listed, file_name};
use super::{Refusal, Refused, SealingKey, Unsealed};
use crate::error::{Error, Result};
use crate::format::Seqno;
use crate::format::whole_file::{PRIVATE, write_whole};

/// Names that are looked at in a directory.
const MAX_NAMES: usize = 100_000;
/// What is said of the directory itself. Where it is stands in ledgers and answers of nodes to anybody, if it is said here.
const THE_DIRECTORY: &str = "the directory";
/// Files that are kept in mind of those.
const MAX_LISTED: usize = 10_000;

/// What is in a directory.
#[derive(Default)]
pub struct Listing {
    /// Files with names of sealed files, in no order.
    pub files: Vec<Listed>,
    /// There was more in it than is ever looked at.
    pub is_cut: bool,
}

impl Listing {
    /// Lists a directory. Names of anything else are passed over.
    ///
    /// # Errors
    /// [`Error::Io`] where it can't be read, or is none.
    pub fn of(directory: &Path) -> Result<Listing> {
        let io = || Error::io("list the directory", directory);
        let mut listing = Listing::default();
        for (number, item) in std::fs::read_dir(directory).map_err(io())?.enumerate() {
            if number >= MAX_NAMES || listing.files.len() >= MAX_LISTED {
                listing.is_cut = true;
                break;
            }
            listing
                .files
                .extend(Listed::of(directory, &item.map_err(io())?.file_name()));
        }
        Ok(listing)
    }
}

/// What looking for one version gave.
pub struct Search<T> {
    /// The file that was taken, and what became of its secret.
    pub found: Option<(Listed, T)>,
    /// Every other file, and why it was not. Where the directory itself can't be read, that is said of it here.
    pub refused: Vec<Refused>,
}

/// Looks in `directory` for the secret of version `wanted`. A file counts only if `accept` takes its secret; else why not.
pub fn search<T>(
    directory: &Path,
    wanted: Seqno,
    key: &dyn SealingKey,
    mut accept: impl FnMut(Unsealed) -> std::result::Result<T, String>,
) -> Search<T> {
    let mut listing = match Listing::of(directory) {
        Ok(listing) => listing,
        Err(why) => {
            let refusal = Refusal::Unreadable(why.without_path());
            return Search {
                found: None,
                refused: vec![Refused::new(THE_DIRECTORY, &refusal)],
            };
        }
    };
    // Whoever fills a directory with names does not hide the right one.
    let named = Listed::of(directory, OsStr::new(&file_name(wanted))).filter(|named| named.path.exists());
    if listing.is_cut && !named.as_ref().is_some_and(|named| listing.files.contains(named)) {
        listing.files.extend(named);
    }
    let Choice { tried, mut refused } = choose(listing.files, wanted);
    for listed in tried {
        let opened = open(&listed, key);
        let accepted = opened.and_then(|unsealed| accept(unsealed).map_err(Refusal::NotOfThisLedger));
        match accepted {
            Ok(taken) => {
                return Search {
                    found: Some((listed, taken)),
                    refused,
                };
            }
            // Of most interest, so first.
            Err(refusal) => refused.insert(0, Refused::new(&listed.name, &refusal)),
        }
    }
    Search { found: None, refused }
}

/// Reads a file and opens it.
///
/// # Errors
/// [`Refusal`].
pub fn open(listed: &Listed, key: &dyn SealingKey) -> std::result::Result<Unsealed, Refusal> {
    let sealed = SealedSecret::parse(&read(&listed.path)?)?;
    if sealed.version != listed.version {
        return Err(Refusal::Renamed { inside: sealed.version });
    }
    sealed.open(key)
}

/// Opens a file for reading that may be anything: waits for nobody who would write to a pipe.
fn open_file(path: &Path) -> io::Result<File> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(ErrorKind::InvalidInput, "it is not a file")),
    }
}

fn read(path: &Path) -> std::result::Result<Vec<u8>, Refusal> {
    let unreadable = |why: io::Error| Refusal::Unreadable(why.to_string());
    let file = open_file(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    match bytes.len() as u64 > MAX_FILE_BYTES {
        true => Err(Refusal::Malformed(format!("it is longer than {MAX_FILE_BYTES} bytes"))),
        false => Ok(bytes),
    }
}

/// Writes a sealed file, for nobody but its owner, as a whole and to disk. The directory is made if it is missing. A file
/// with that name and other contents is of another life of the service (a copy of an older ledger was recovered once
/// more), and may be the only one that opens what was written then: it is kept under a name that no search takes.
///
/// # Errors
/// [`Error::Io`], [`Error::Usage`]; there is then no file, or the one that was there.
pub fn write(directory: &Path, version: Seqno, bytes: &[u8]) -> Result<PathBuf> {
    if !directory.is_dir() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(Error::io("make the directory", directory))?;
    }
    let path = directory.join(file_name(version));
    if let Ok(there) = path.symlink_metadata() {
        if !there.is_file() {
            return Err(Error::Usage(format!(
                "{} is no file, and nothing can be sealed into it: move it away",
                file_name(version)
            )));
        }
        keep(directory, version, &path, &there)?;
    }
    write_whole(&path, bytes, PRIVATE)?;
    sync(directory)?;
    Ok(path)
}

/// Gives a file that is to be replaced a second name, if it has none yet: at no time there is none.
fn keep(directory: &Path, version: Seqno, path: &Path, there: &Metadata) -> Result<()> {
    for number in 1..=MAX_LISTED {
        let kept = directory.join(format!("replaced-{number}.{}", file_name(version)));
        match kept.symlink_metadata() {
            // From an attempt before this one, which had no room for the new file.
            Ok(same) if (same.dev(), same.ino()) == (there.dev(), there.ino()) => return Ok(()),
            Ok(_) => {}
            Err(_) => return std::fs::hard_link(path, &kept).map_err(Error::io("keep", path)),
        }
    }
    Err(Error::Usage(format!(
        "there are {MAX_LISTED} files that were replaced beside {}: move some away",
        file_name(version)
    )))
}

/// Brings the names in a directory to disk, where its file system can do that.
///
/// # Errors
/// [`Error::Io`].
pub fn sync(directory: &Path) -> Result<()> {
    match File::open(directory).and_then(|directory| directory.sync_all()) {
        Err(why) if matches!(why.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        synced => synced.map_err(Error::io("write the directory to disk", directory)),
    }
}

#[cfg(test)]
mod tests;

//! An archive read like directories: `verify DEST/node0` without restoring anything.
//!
//! Blocks are decompressed when a file is read, on all threads, and held to their CRC-32. What is damaged reads as zeros, which
//! pass for no entry: whoever reads a ledger proves what is in it anyway, and says which entries are lost.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::block::BLOCK_BYTES;
use super::manifest::{File, NAMES};
use super::open::Archive;
use super::path::{unescape, unescape_part};
use super::store::{self, is_url};
use crate::error::{Error, Result};
use crate::format::mounts::{Container, Mount};

/// The archive's files by their paths, and the names in its folders.
struct Mounted {
    archive: Archive,
    /// Source and file, by their numbers.
    files: HashMap<PathBuf, (usize, usize)>,
    folders: HashMap<PathBuf, Vec<OsString>>,
}

impl Mounted {
    fn new(archive: Archive) -> std::result::Result<Mounted, String> {
        let (mut files, mut folders): (HashMap<_, _>, HashMap<PathBuf, Vec<OsString>>) = Default::default();
        let add = |path: &Path, folders: &mut HashMap<PathBuf, Vec<OsString>>| {
            if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
                folders.entry(parent.to_owned()).or_default().push(name.to_owned());
            }
        };
        for (i, source) in archive.manifest.document.sources.iter().enumerate() {
            let root = PathBuf::from(unescape_part(&source.name)?);
            for folder in &source.directories {
                let path: PathBuf = root.join(unescape(&folder.path)?).components().collect();
                add(&path, &mut folders);
                folders.entry(path).or_default();
            }
            for (j, file) in source.files.iter().enumerate() {
                let path = root.join(unescape(&file.path)?);
                add(&path, &mut folders);
                files.insert(path, (i, j));
            }
        }
        Ok(Mounted {
            archive,
            files,
            folders,
        })
    }

    fn file(&self, path: &Path) -> Option<&File> {
        let (source, file) = self.files.get(path)?;
        self.archive.manifest.document.sources.get(*source)?.files.get(*file)
    }
}

impl Container for Mounted {
    fn list(&self, directory: &Path) -> Option<Vec<OsString>> {
        self.folders.get(directory).cloned()
    }

    fn size(&self, file: &Path) -> Option<u64> {
        self.file(file).map(|file| file.size)
    }

    fn read(&self, file: &Path, into: &mut [u8]) -> io::Result<()> {
        let file = self
            .file(file)
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let numbers: Vec<u64> = file.block_numbers().collect();
        into.par_chunks_mut(BLOCK_BYTES)
            .zip(numbers)
            .for_each(|(room, number)| {
                // Nothing waits for a store that is gone.
                if self.archive.reachable().is_ok()
                    && let Ok(block) = self.archive.block(number)
                    && block.len() == room.len()
                {
                    room.copy_from_slice(&block);
                }
            });
        self.archive
            .reachable()
            .map_err(|why| io::Error::other(why.to_string()))
    }
}

/// The archive that holds a path, if one of the directories above it, or of the prefixes of a URL, is one.
///
/// # Errors
/// If it is one and can't be read, or the store can't be asked.
pub fn find(path: &Path) -> io::Result<Option<Mount>> {
    let mut refused = None;
    for root in path.ancestors() {
        match archive_at(root, is_url(path)) {
            Ok(Some(archive)) => {
                let mounted = Mounted::new(archive).map_err(io::Error::other)?;
                return Ok(Some((root.to_owned(), Arc::new(mounted))));
            }
            Ok(None) => {}
            // Whoever may read objects and not list them is told "forbidden" of what is not there: the archive may be above.
            Err(why) if is_url(path) && is_forbidden(&why) => {
                refused.get_or_insert(why);
            }
            Err(why) => return Err(io::Error::other(why.to_string())),
        }
    }
    match refused {
        None => Ok(None),
        Some(why) => Err(io::Error::other(why.to_string())),
    }
}

fn is_forbidden(why: &Error) -> bool {
    matches!(why, Error::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
}

/// The archive whose destination this is, if it is one.
fn archive_at(root: &Path, in_url: bool) -> Result<Option<Archive>> {
    let may_be = match in_url {
        true => is_url(root),
        false => NAMES.iter().any(|name| root.join(name).is_file()),
    };
    match may_be {
        true => Archive::find(store::open(root)?),
        false => Ok(None),
    }
}

/// The ledgers of an archive, as paths in it; none if it is no archive.
///
/// # Errors
/// If it is one and can't be read.
pub fn ledgers(path: &Path) -> Result<Option<Vec<PathBuf>>> {
    let Some(archive) = archive_at(path, is_url(path))? else {
        return Ok(None);
    };
    let mut ledgers = Vec::new();
    for source in &archive.manifest.document.sources {
        let root = path.join(unescape_part(&source.name).map_err(Error::Unreadable)?);
        for copy in &source.copies {
            let Some(main) = copy.directories.first() else { continue };
            let inside = unescape(main).map_err(Error::Unreadable)?;
            ledgers.push(if main.is_empty() {
                root.clone()
            } else {
                root.join(inside)
            });
        }
    }
    Ok(Some(ledgers))
}

/// The folders of an archive, one for each node or whatever was copied, as paths in it; none if it is no archive.
///
/// # Errors
/// If it is one and can't be read.
pub fn folders(path: &Path) -> Result<Option<Vec<PathBuf>>> {
    let Some(archive) = archive_at(path, is_url(path))? else {
        return Ok(None);
    };
    let sources = archive.manifest.document.sources.iter();
    let roots = sources.map(|source| Ok(path.join(unescape_part(&source.name).map_err(Error::Unreadable)?)));
    roots.collect::<Result<Vec<_>>>().map(Some)
}

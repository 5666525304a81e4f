//! Which files there are, in every copy, whatever they are called.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::format::mounts;
use crate::format::names::{ChunkName, FileName};
use crate::shown::Show;

/// Directories within directories that are looked into: a node's own are two or three deep.
const MAX_DEPTH: usize = 16;
/// Files that are looked at; a ledger of a million chunks is beyond anything that a node could start with.
const MAX_FILES: usize = 1 << 20;

/// One file of one copy.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where it is.
    pub path: PathBuf,
    /// Which of the copies it is in.
    pub copy: usize,
    /// Its size.
    pub size: u64,
    /// What its name says of it as a chunk, if anything; `.ignored` and the like aside.
    pub name: Option<ChunkName>,
    /// An earlier source with the same bytes, which is read instead.
    pub same_as: Option<usize>,
    /// What the file system said of it; nothing for what is in an archive.
    pub stamp: Option<Stamp>,
}

/// What changes with a file's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    size: u64,
    changed: (i64, i64),
}

impl Stamp {
    /// Of a file.
    pub fn of(metadata: &std::fs::Metadata) -> Stamp {
        Stamp {
            size: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Source {
    /// Written by a recovery that did not open, as its name says.
    pub fn is_recovery(&self) -> bool {
        self.name.as_ref().is_some_and(|name| name.kind.is_recovery())
    }

    /// Known to be committed, as its name says.
    pub fn is_committed(&self) -> bool {
        self.name.as_ref().is_some_and(|name| name.kind.is_committed())
    }
}

/// What the name of a chunk says, also where somebody has set the file aside.
fn name_of(path: &Path) -> Option<ChunkName> {
    let name = path.file_name()?.to_str()?;
    let mut name = name;
    for suffix in [".ignored", ".corrupted", "_prefix"] {
        while let Some(shorter) = name.strip_suffix(suffix) {
            name = shorter;
        }
    }
    match FileName::parse(name) {
        FileName::Chunk(chunk) => Some(chunk),
        _ => None,
    }
}

/// Every file of every copy, copy by copy, in the order of their names. Links to directories are not followed, and a file
/// that has several names counts once.
///
/// # Errors
/// If a directory can't be read, or there are too many files.
pub fn list(copies: &[PathBuf]) -> Result<Vec<Source>> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    for (copy, directory) in copies.iter().enumerate() {
        let mut waiting = vec![(directory.clone(), 0)];
        while let Some((directory, depth)) = waiting.pop() {
            let listing = mounts::list(&directory).map_err(Error::io("list directory", &directory))?;
            let mut paths: Vec<_> = listing.into_iter().map(|(_, path)| path).collect();
            if found.len() + paths.len() > MAX_FILES {
                let text = format!(
                    "there are more than {MAX_FILES} files below {}; name directories with ledger files alone",
                    directory.shown()
                );
                return Err(Error::Unreadable(text));
            }
            paths.sort_unstable();
            for path in paths {
                if mounts::is_mounted(&path) {
                    match mounts::size(&path) {
                        Some(size) => found.push(Source {
                            name: name_of(&path),
                            path,
                            copy,
                            size,
                            same_as: None,
                            stamp: None,
                        }),
                        None if depth < MAX_DEPTH => waiting.push((path, depth + 1)),
                        None => {}
                    }
                    continue;
                }
                let is_link = path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
                // What vanished, or is a link that leads nowhere, holds no entries.
                let Ok(metadata) = path.metadata() else { continue };
                if metadata.is_dir() {
                    if depth < MAX_DEPTH && !is_link {
                        waiting.push((path, depth + 1));
                    }
                } else if metadata.is_file() && seen.insert((metadata.dev(), metadata.ino())) {
                    found.push(Source {
                        name: name_of(&path),
                        path,
                        copy,
                        size: metadata.len(),
                        same_as: None,
                        stamp: Some(Stamp::of(&metadata)),
                    });
                }
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_also_where_a_file_was_set_aside() {
        let of = |name: &str| name_of(Path::new(name)).map(|name| (name.first, name.last, name.kind.is_recovery()));
        assert_eq!(of("ledger_7-9.committed.ignored"), Some((7, Some(9), false)));
        assert_eq!(of("ledger_501.recovery.ignored"), Some((501, None, true)));
        assert_eq!(of("ledger_5.corrupted"), Some((5, None, false)));
        assert_eq!(of("ledger_5-8.committed_prefix"), Some((5, Some(8), false)));
        assert_eq!(of("core.1234"), None);
    }

    #[test]
    fn a_file_that_changes_has_another_stamp_also_where_it_keeps_size_and_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger_1");
        std::fs::write(&path, "before").unwrap();
        let before = list(&[directory.path().to_owned()]).unwrap().remove(0);
        let time = path.metadata().unwrap().modified().unwrap();
        assert_eq!(before.stamp, Some(Stamp::of(&path.metadata().unwrap())));
        std::thread::sleep(std::time::Duration::from_millis(20));
        std::fs::write(&path, "after!").unwrap();
        std::fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(time)
            .unwrap();
        assert_ne!(before.stamp, Some(Stamp::of(&path.metadata().unwrap())));
    }
}

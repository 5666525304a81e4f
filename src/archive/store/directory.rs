//! Objects as files of a directory.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::{MAX_OBJECTS, Store, too_many};
use crate::error::{Error, Result};
use crate::format::whole_file::{PRIVATE, write_whole};
use crate::shown::Show;

/// A directory with an archive's objects.
pub struct DirectoryStore {
    root: PathBuf,
    // Holds the lock, which ends with the process however that ends.
    _lock: Option<File>,
}

impl DirectoryStore {
    /// One that is there.
    ///
    /// # Errors
    /// If it is not, or no directory.
    pub fn open(root: &Path) -> Result<DirectoryStore> {
        let found = std::fs::metadata(root).map_err(Error::io("open the archive", root))?;
        match found.is_dir() {
            true => Ok(DirectoryStore {
                root: root.to_owned(),
                _lock: None,
            }),
            false => Err(Error::Unreadable(format!(
                "{} is a file, expected the directory of an archive",
                root.shown()
            ))),
        }
    }

    /// One to be written, which nobody else writes meanwhile.
    ///
    /// # Errors
    /// If it can't be made, or is being written.
    pub fn create(root: &Path) -> Result<DirectoryStore> {
        let io = || Error::io("create the archive", root);
        std::fs::create_dir_all(root).map_err(io())?;
        let lock = File::open(root).map_err(io())?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(Error::Usage(format!(
                "another process is writing an archive to {}; wait for it, or name another destination",
                root.shown()
            )));
        }
        let blocks = root.join("blocks");
        std::fs::create_dir_all(&blocks).map_err(io())?;
        Ok(DirectoryStore {
            root: root.to_owned(),
            _lock: Some(lock),
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn open_file(&self, name: &str) -> Result<Option<(File, u64)>> {
        let path = self.path(name);
        // A pipe must not block; a link leads out of the archive.
        let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
        let file = match File::options().read(true).custom_flags(flags).open(&path) {
            Err(why) if why.kind() == ErrorKind::NotFound => return Ok(None),
            file => file.map_err(Error::io("open", &path))?,
        };
        let found = file.metadata().map_err(Error::io("open", &path))?;
        match found.is_file() {
            true => Ok(Some((file, found.len()))),
            false => Err(Error::Unreadable(format!("{} is not a file", path.shown()))),
        }
    }
}

impl Store for DirectoryStore {
    fn name(&self) -> String {
        self.root.shown().to_string()
    }

    fn get(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>> {
        let Some((file, size)) = self.open_file(name)? else {
            return Ok(None);
        };
        let mut bytes = Vec::with_capacity(usize::try_from(size.min(most)).unwrap_or_default());
        file.take(most)
            .read_to_end(&mut bytes)
            .map_err(Error::io("read", &self.path(name)))?;
        Ok(Some(bytes))
    }

    fn get_part(&self, name: &str, part: Range<u64>) -> Result<Vec<u8>> {
        let gone = || Error::io("open", &self.path(name))(ErrorKind::NotFound.into());
        let (file, size) = self.open_file(name)?.ok_or_else(gone)?;
        let length = part.end.min(size).saturating_sub(part.start);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        file.read_exact_at(&mut bytes, part.start)
            .map_err(Error::io("read", &self.path(name)))?;
        Ok(bytes)
    }

    fn put(&self, name: &str, bytes: Vec<u8>) -> Result<()> {
        let path = self.path(name);
        write_whole(&path, &bytes, PRIVATE)?;
        let parent = path.parent().unwrap_or(&self.root);
        // The name too must outlive a power cut: what is named in a manifest is there.
        File::open(parent)
            .and_then(|directory| directory.sync_all())
            .map_err(Error::io("sync", parent))
    }

    fn put_new(&self, name: &str, bytes: Vec<u8>) -> Result<bool> {
        // Nobody else writes here: this process holds the lock.
        if self.path(name).symlink_metadata().is_ok() {
            return Ok(false);
        }
        self.put(name, bytes).map(|()| true)
    }

    fn list(&self) -> Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        for (directory, prefix) in [(self.root.clone(), ""), (self.path("blocks"), "blocks/")] {
            let listing = match std::fs::read_dir(&directory) {
                Err(why) if why.kind() == ErrorKind::NotFound => continue,
                listing => listing.map_err(Error::io("list directory", &directory))?,
            };
            for item in listing {
                let item = item.map_err(Error::io("list directory", &directory))?;
                let Ok(metadata) = item.metadata() else { continue };
                if prefix.is_empty() && metadata.is_dir() && item.file_name() == "blocks" {
                    continue;
                }
                found.push((
                    format!("{prefix}{}", item.file_name().to_string_lossy()),
                    metadata.len(),
                ));
                if found.len() > MAX_OBJECTS {
                    return Err(too_many(&self.name()));
                }
            }
        }
        found.sort();
        Ok(found)
    }

    fn directory(&self) -> Option<&Path> {
        Some(&self.root)
    }

    fn is_far(&self) -> bool {
        false
    }
}

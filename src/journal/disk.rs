//! The calls to a file system that writing a ledger takes: those of the machine, and of whoever makes up another.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Result};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::format::whole_file::create_anew;
/// A file system. Each call may fail, and may have done a part of its work then.
pub trait Disk {
    /// A file that is open for writing.
    type File;

    /// Makes a file, where there is none of that name.
    fn create(&self, path: &Path) -> Result<Self::File>;
    /// Makes a file, or empties the one that is there.
    fn replace(&self, path: &Path) -> Result<Self::File>;
    /// Opens a file that is there, to write more to it.
    fn open(&self, path: &Path) -> Result<Self::File>;
    /// Writes all of `bytes`.
    fn write_at(&self, file: &mut Self::File, offset: u64, bytes: &[u8]) -> Result<()>;
    /// Cuts a file, or makes it longer with zeros.
    fn set_len(&self, file: &mut Self::File, len: u64) -> Result<()>;
    /// Brings a file's bytes to the disk. Where it fails, nothing is known of any byte since the last call that did not.
    fn sync(&self, file: &mut Self::File) -> Result<()>;
    /// Renames a file, over another one if there is one of that name.
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> Result<()>;
    /// Brings the names in a directory to the disk.
    fn sync_directory(&self, directory: &Path) -> Result<()>;
    /// The names in a directory.
    fn list(&self, directory: &Path) -> Result<Vec<OsString>>;
    /// Whether there is a file of that name.
    fn exists(&self, path: &Path) -> bool;
}

/// The machine's own.
#[derive(Clone, Copy, Debug)]
pub struct Files {
    durability: Durability,
}

/// When bytes reach the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Whenever the machine likes: for ledgers that can be made again.
    Buffered,
    /// When they are synced.
    Synced,
}

/// Bytes that are collected before a file of [`Durability::Buffered`] is written to.
const BUFFER_SIZE: usize = 1 << 20;

/// A file of the machine's.
pub struct Written {
    file: File,
    buffer: Vec<u8>,
    buffer_at: u64,
}

impl Written {
    fn new(file: File) -> Written {
        Written {
            file,
            buffer: Vec::new(),
            buffer_at: 0,
        }
    }

    /// Brings everything into the file.
    ///
    /// # Errors
    /// Whatever writing answers.
    pub fn flush(&mut self) -> Result<()> {
        self.file.write_all_at(&self.buffer, self.buffer_at)?;
        self.buffer.clear();
        Ok(())
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        // Who wants to know calls it before.
        let _ = self.flush();
    }
}

impl Files {
    /// Files that are written as `durability` says.
    pub fn new(durability: Durability) -> Files {
        Files { durability }
    }
}

impl Disk for Files {
    type File = Written;

    fn create(&self, path: &Path) -> Result<Written> {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)
            .map(Written::new)
    }

    fn replace(&self, path: &Path) -> Result<Written> {
        create_anew(path).map(Written::new)
    }

    fn open(&self, path: &Path) -> Result<Written> {
        OpenOptions::new().write(true).open(path).map(Written::new)
    }

    fn write_at(&self, file: &mut Written, offset: u64, bytes: &[u8]) -> Result<()> {
        if self.durability == Durability::Synced {
            return file.file.write_all_at(bytes, offset);
        }
        if file.buffer_at + file.buffer.len() as u64 != offset || file.buffer.len() >= BUFFER_SIZE {
            file.flush()?;
            file.buffer_at = offset;
        }
        file.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, file: &mut Written, len: u64) -> Result<()> {
        file.flush()?;
        file.file.set_len(len)
    }

    fn sync(&self, file: &mut Written) -> Result<()> {
        file.flush()?;
        match self.durability {
            Durability::Buffered => Ok(()),
            Durability::Synced => file.file.sync_data(),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_directory(&self, directory: &Path) -> Result<()> {
        if self.durability == Durability::Buffered {
            return Ok(());
        }
        match File::open(directory).and_then(|directory| directory.sync_all()) {
            // Its file system can't do that.
            Err(why) if matches!(why.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
            synced => synced,
        }
    }

    fn list(&self, directory: &Path) -> Result<Vec<OsString>> {
        std::fs::read_dir(directory)?
            .map(|entry| Ok(entry?.file_name()))
            .collect()
    }

    fn exists(&self, path: &Path) -> bool {
        path.symlink_metadata().is_ok()
    }
}

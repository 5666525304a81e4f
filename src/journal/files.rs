//! The chunk files of a journal: their names from the first entry to the opening of a recovered service.
//!
//! A chunk is `ledger_S` while it grows and `ledger_S-E.committed` once it is complete. What a recovering service
//! writes has `.recovery` after it until that service opens: a crash before leaves files that the next recovery sets
//! aside. Format specification, sections 1.1, 1.2 and 1.6.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::disk::{Disk, Durability, Files, Written};
use crate::error::{Error, Result};
use crate::format::Seqno;
use crate::format::chunk_writer::{OPEN_HEADER, completed_header, positions_table};
use crate::format::names::{ChunkKind, ChunkName, FileName};
use crate::shown::Show;

/// Makes sure that `directory` exists and holds nothing.
///
/// # Errors
/// [`Error::Usage`] if it holds anything; [`Error::Io`] if it can't be made or read.
pub fn claim_directory(directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory).map_err(Error::io("make the directory", directory))?;
    let mut entries = std::fs::read_dir(directory).map_err(Error::io("read the directory", directory))?;
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(Error::Usage(format!(
            "{} is not empty: nothing is written over, give a directory that is new or empty",
            directory.shown()
        ))),
    }
}

/// Renames a file within its directory, and brings the new name to disk: a power cut does not bring the old one back.
///
/// # Errors
/// [`Error::Io`]; the file may have its new name then.
pub fn rename_durably(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to).map_err(Error::io("rename", from))?;
    sync_names(to)
}

/// Brings the names of the directory that `path` is in to disk, where its file system can do that.
///
/// # Errors
/// [`Error::Io`].
pub fn sync_names(path: &Path) -> Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let synced = Files::new(Durability::Synced).sync_directory(directory);
    synced.map_err(Error::io("write the directory to disk", directory))
}

/// Takes `.recovery` off the names of a directory's chunks. May be called again where it failed.
///
/// The last chunk comes first: wherever this is interrupted, a chunk with its final name after one without tells that
/// the service had opened, and that the rest may follow.
///
/// # Errors
/// [`Error::Io`]; [`Error::Unreadable`] if a name is taken: nothing is renamed over another file.
pub fn name_recovered(disk: &impl Disk, directory: &Path) -> Result<()> {
    rename_recovered(disk, directory, |_, _| ())?;
    sync_directory(disk, directory)
}

fn rename_recovered(disk: &impl Disk, directory: &Path, mut renamed: impl FnMut(&Path, &Path)) -> Result<()> {
    let listing = disk
        .list(directory)
        .map_err(Error::io("read the directory", directory))?;
    let mut found = Vec::new();
    for file_name in listing {
        let Some(FileName::Chunk(mut name)) = file_name.to_str().map(FileName::parse) else {
            continue;
        };
        name.kind = match name.kind {
            ChunkKind::CommittedRecovery => ChunkKind::Committed,
            ChunkKind::OpenRecovery => ChunkKind::Open,
            ChunkKind::Committed | ChunkKind::Open => continue,
        };
        found.push((name.first, directory.join(file_name), directory.join(name.to_string())));
    }
    found.sort_unstable();
    for (_, from, to) in found.into_iter().rev() {
        if disk.exists(&to) {
            return Err(Error::Unreadable(format!(
                "{} can't get its name: {} is there already; one of the two belongs to another recovery, move it away",
                from.shown(),
                to.shown()
            )));
        }
        disk.rename(&from, &to).map_err(Error::io("rename the chunk", &from))?;
        renamed(&from, &to);
    }
    Ok(())
}

fn sync_directory(disk: &impl Disk, directory: &Path) -> Result<()> {
    disk.sync_directory(directory)
        .map_err(Error::io("write the directory to disk", directory))
}

/// A change of a ledger's files. Each may be carried out again after it was carried out in part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A chunk's file is made, with a header of eight zero bytes.
    Create {
        /// First seqno of the chunk.
        chunk: Seqno,
        /// Its name says that the service is not open yet.
        recovering: bool,
    },
    /// Entries are written to an open chunk.
    Write {
        /// First seqno of the chunk.
        chunk: Seqno,
        /// Where the bytes begin.
        offset: u64,
        /// Whole entries, one after the other.
        entries: Vec<Bytes>,
    },
    /// An open chunk reaches the disk, and its name.
    Sync {
        /// First seqno of the chunk.
        chunk: Seqno,
    },
    /// A chunk gets its positions table and its committed name.
    Complete {
        /// First seqno of the chunk.
        chunk: Seqno,
        /// Last seqno.
        last: Seqno,
        /// Where its entries end and the table begins.
        end: u64,
        /// Where each entry begins.
        positions: Arc<[u32]>,
    },
    /// An open chunk ends here from now on, and on the disk too.
    Cut {
        /// First seqno of the chunk.
        chunk: Seqno,
        /// Its new end.
        end: u64,
    },
    /// An open chunk is removed: nothing in it is left.
    Remove {
        /// First seqno of the chunk.
        chunk: Seqno,
    },
    /// The files of a recovered service lose their suffix `.recovery`.
    NameRecovered,
}

/// What an operation brings to the disk with a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synced {
    /// The bytes of a chunk, which its first seqno names.
    Chunk(Seqno),
    /// Names alone.
    Names,
}

impl Operation {
    /// What it syncs, if it does. Where it has failed, that may be why.
    pub fn syncs(&self) -> Option<Synced> {
        match self {
            Operation::Sync { chunk } | Operation::Complete { chunk, .. } | Operation::Cut { chunk, .. } => {
                Some(Synced::Chunk(*chunk))
            }
            Operation::Remove { .. } | Operation::NameRecovered => Some(Synced::Names),
            Operation::Create { .. } | Operation::Write { .. } => None,
        }
    }
}

/// A change of names that is not on the disk.
enum Renaming {
    Made(PathBuf),
    Renamed(PathBuf, PathBuf),
    Removed(PathBuf),
}

impl Renaming {
    /// Makes the change again: where bringing it to the disk has failed, nothing says that the next call would try.
    fn repeat(&self, disk: &impl Disk) -> Result<()> {
        let (from, to) = match self {
            Renaming::Made(path) => (path.with_extension("again"), path),
            Renaming::Renamed(from, to) => (from.clone(), to),
            Renaming::Removed(path) => {
                if !disk.exists(path) {
                    disk.create(path).map_err(Error::io("create the chunk", path))?;
                }
                return disk.remove(path).map_err(Error::io("remove the chunk", path));
            }
        };
        let io = || Error::io("rename the chunk", to);
        match (disk.exists(to), disk.exists(&from)) {
            (true, _) => disk.rename(to, &from).map_err(io())?,
            (false, true) => {}
            // A later change has taken it away again.
            (false, false) => return Ok(()),
        }
        disk.rename(&from, to).map_err(io())
    }
}

struct OpenChunk<F> {
    path: PathBuf,
    file: F,
    recovering: bool,
    /// Its name is on the disk.
    is_named: bool,
    /// Bringing its length to the disk has failed.
    is_length_doubtful: bool,
}

/// The chunk files that are not completed: what is decided elsewhere is done here.
pub struct ChunkFiles<D: Disk> {
    disk: D,
    directory: PathBuf,
    open: BTreeMap<Seqno, OpenChunk<D::File>>,
    /// Names that are changed, and not brought to the disk.
    unsynced: Vec<Renaming>,
    /// Bringing them there has failed: nothing is known of them any more.
    are_names_doubtful: bool,
}

impl<D: Disk> ChunkFiles<D> {
    /// Files in `directory`, which is there.
    pub fn new(disk: D, directory: &Path) -> ChunkFiles<D> {
        ChunkFiles {
            disk,
            directory: directory.to_owned(),
            open: BTreeMap::new(),
            unsynced: Vec::new(),
            are_names_doubtful: false,
        }
    }

    /// Carries out an operation.
    ///
    /// # Errors
    /// [`Error::Io`]; it may be carried out in part then, and may be tried again. [`Error::Unreadable`] if a name is taken.
    pub fn perform(&mut self, operation: &Operation) -> Result<()> {
        match operation {
            Operation::Create { chunk, recovering } => self.create(*chunk, *recovering),
            Operation::Write { chunk, offset, entries } => self.write(*chunk, *offset, entries),
            Operation::Sync { chunk } => self.sync(*chunk),
            Operation::Complete {
                chunk,
                last,
                end,
                positions,
            } => self.complete(*chunk, *last, *end, positions),
            Operation::Cut { chunk, end } => self.cut(*chunk, *end),
            Operation::Remove { chunk } => self.remove(*chunk),
            Operation::NameRecovered => self.name_recovered(),
        }
    }

    fn create(&mut self, chunk: Seqno, recovering: bool) -> Result<()> {
        let name = ChunkName {
            first: chunk,
            last: None,
            kind: match recovering {
                true => ChunkKind::OpenRecovery,
                false => ChunkKind::Open,
            },
        };
        let path = self.directory.join(name.to_string());
        // It is there where its header could not be written the last time.
        if !self.open.contains_key(&chunk) {
            let file = self.disk.create(&path).map_err(Error::io("create the chunk", &path))?;
            let open = OpenChunk {
                path: path.clone(),
                file,
                recovering,
                is_named: false,
                is_length_doubtful: false,
            };
            self.open.insert(chunk, open);
            self.unsynced
                .retain(|renaming| !matches!(renaming, Renaming::Removed(removed) if *removed == path));
            self.unsynced.push(Renaming::Made(path));
        }
        self.write_at(chunk, 0, &OPEN_HEADER)
    }

    fn chunk(&mut self, chunk: Seqno) -> (&D, &mut OpenChunk<D::File>) {
        match self.open.get_mut(&chunk) {
            Some(open) => (&self.disk, open),
            None => unreachable!("chunk {chunk} was made before it is changed"),
        }
    }

    fn write_at(&mut self, chunk: Seqno, offset: u64, bytes: &[u8]) -> Result<()> {
        let (disk, open) = self.chunk(chunk);
        let written = disk.write_at(&mut open.file, offset, bytes);
        written.map_err(Error::io("write to the chunk", &open.path))
    }

    fn write(&mut self, chunk: Seqno, offset: u64, entries: &[Bytes]) -> Result<()> {
        match entries {
            [entry] => self.write_at(chunk, offset, entry),
            entries => self.write_at(chunk, offset, &entries.concat()),
        }
    }

    fn sync(&mut self, chunk: Seqno) -> Result<()> {
        let (disk, open) = self.chunk(chunk);
        sync_file(disk, open)?;
        if !open.is_named {
            self.sync_names()?;
        }
        Ok(())
    }

    /// Brings every name to the disk.
    fn sync_names(&mut self) -> Result<()> {
        if self.are_names_doubtful {
            self.unsynced
                .iter()
                .try_for_each(|renaming| renaming.repeat(&self.disk))?;
        }
        self.are_names_doubtful = true;
        sync_directory(&self.disk, &self.directory)?;
        self.are_names_doubtful = false;
        self.unsynced.clear();
        self.open.values_mut().for_each(|chunk| chunk.is_named = true);
        Ok(())
    }

    fn complete(&mut self, chunk: Seqno, last: Seqno, end: u64, positions: &[u32]) -> Result<()> {
        let table = positions_table(positions);
        self.write_at(chunk, end, &table)?;
        let directory = self.directory.clone();
        let (disk, open) = self.chunk(chunk);
        let cut = disk.set_len(&mut open.file, end + table.len() as u64);
        cut.map_err(Error::io("cut the chunk", &open.path))?;
        // The header points at the table, which therefore is there before it.
        sync_file(disk, open)?;
        let pointed = disk.write_at(&mut open.file, 0, &completed_header(end));
        pointed.map_err(Error::io("write to the chunk", &open.path))?;
        sync_file(disk, open)?;
        let name = ChunkName {
            first: chunk,
            last: Some(last),
            kind: match open.recovering {
                true => ChunkKind::CommittedRecovery,
                false => ChunkKind::Committed,
            },
        };
        let to = directory.join(name.to_string());
        if open.path != to {
            let renamed = disk.rename(&open.path, &to);
            renamed.map_err(Error::io("rename the chunk", &open.path))?;
            let from = std::mem::replace(&mut open.path, to.clone());
            self.unsynced.push(Renaming::Renamed(from, to));
        }
        self.sync_names()?;
        self.open.remove(&chunk);
        Ok(())
    }

    fn cut(&mut self, chunk: Seqno, end: u64) -> Result<()> {
        let (disk, open) = self.chunk(chunk);
        if open.is_length_doubtful {
            // It has that length already, so nothing would be done.
            let longer = disk.set_len(&mut open.file, end + 1);
            longer.map_err(Error::io("cut the chunk", &open.path))?;
        }
        let cut = disk.set_len(&mut open.file, end);
        cut.map_err(Error::io("cut the chunk", &open.path))?;
        open.is_length_doubtful = true;
        sync_file(disk, open)?;
        open.is_length_doubtful = false;
        Ok(())
    }

    fn remove(&mut self, chunk: Seqno) -> Result<()> {
        let Some(open) = self.open.get(&chunk) else {
            return Ok(()); // it was not even made
        };
        if self.disk.exists(&open.path) {
            let removed = self.disk.remove(&open.path);
            removed.map_err(Error::io("remove the chunk", &open.path))?;
            let path = open.path.clone();
            self.unsynced
                .retain(|renaming| !matches!(renaming, Renaming::Made(made) if *made == path));
            self.unsynced.push(Renaming::Removed(path));
        }
        self.sync_names()?;
        self.open.remove(&chunk);
        Ok(())
    }

    fn name_recovered(&mut self) -> Result<()> {
        let (open, unsynced) = (&mut self.open, &mut self.unsynced);
        rename_recovered(&self.disk, &self.directory, |from, to| {
            unsynced.push(Renaming::Renamed(from.to_owned(), to.to_owned()));
            for chunk in open.values_mut().filter(|chunk| chunk.path == from) {
                to.clone_into(&mut chunk.path);
                chunk.recovering = false;
            }
        })?;
        self.sync_names()
    }
}

impl ChunkFiles<Files> {
    /// Brings every entry into its file, for somebody who copies them.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn flush(&mut self) -> Result<()> {
        let mut open = self.open.values_mut();
        open.try_for_each(|chunk| Written::flush(&mut chunk.file).map_err(Error::io("write to the chunk", &chunk.path)))
    }
}

fn sync_file<D: Disk>(disk: &D, chunk: &mut OpenChunk<D::File>) -> Result<()> {
    let synced = disk.sync(&mut chunk.file);
    synced.map_err(Error::io("write the chunk to disk", &chunk.path))
}

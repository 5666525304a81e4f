//! The chunk files of a journal: their names from the first entry to the opening of a recovered service.
//!
//! A chunk is `ledger_S` while it grows and `ledger_S-E.committed` once it is complete. What a recovering service
//! writes has `.recovery` behind it until that service opens: a crash before leaves files that the next recovery sets
//! aside. Format specification, sections 1.1, 1.2 and 1.6.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

/// Takes `.recovery` off the names of a directory's chunks, and tells `renamed` each old and new path. May be called again
/// where it failed.
///
/// The last chunk comes first: wherever this is interrupted, a chunk with its final name behind one without tells that
/// the service had opened, and that the rest may follow.
///
/// # Errors
/// [`Error::Io`]; [`Error::Unreadable`] if a name is taken: nothing is renamed over another file.
pub fn name_recovered(disk: &impl Disk, directory: &Path, mut renamed: impl FnMut(&Path, &Path)) -> Result<()> {
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
        entries: Vec<Arc<[u8]>>,
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

/// Whether a chunk's name is on the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    New,
    /// Syncing the directory has failed: nothing is known of the name any more.
    Doubtful,
    Durable,
}

struct OpenChunk<F> {
    path: PathBuf,
    file: F,
    recovering: bool,
    name: Name,
}

/// The chunk files that are not completed: what is decided elsewhere is done here.
pub struct ChunkFiles<D: Disk> {
    disk: D,
    directory: PathBuf,
    open: BTreeMap<Seqno, OpenChunk<D::File>>,
}

impl<D: Disk> ChunkFiles<D> {
    /// Files in `directory`, which is there.
    pub fn new(disk: D, directory: &Path) -> ChunkFiles<D> {
        ChunkFiles {
            disk,
            directory: directory.to_owned(),
            open: BTreeMap::new(),
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
            let name = Name::New;
            let open = OpenChunk {
                path: path.clone(),
                file,
                recovering,
                name,
            };
            self.open.insert(chunk, open);
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

    fn write(&mut self, chunk: Seqno, offset: u64, entries: &[Arc<[u8]>]) -> Result<()> {
        match entries {
            [entry] => self.write_at(chunk, offset, entry),
            entries => self.write_at(chunk, offset, &entries.concat()),
        }
    }

    fn sync(&mut self, chunk: Seqno) -> Result<()> {
        let (disk, open) = self.chunk(chunk);
        sync_file(disk, open)?;
        if open.name == Name::Durable {
            return Ok(());
        }
        if open.name == Name::Doubtful {
            // The name is made again, or the next call could succeed without it.
            let again = open.path.with_extension("again");
            let renamed = disk
                .rename(&open.path, &again)
                .and_then(|()| disk.rename(&again, &open.path));
            renamed.map_err(Error::io("rename the chunk", &open.path))?;
        }
        open.name = Name::Doubtful;
        sync_names_of(disk, &open.path)?;
        open.name = Name::Durable;
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
            open.path = to;
        }
        sync_names_of(disk, &open.path)?;
        self.open.remove(&chunk);
        Ok(())
    }

    fn cut(&mut self, chunk: Seqno, end: u64) -> Result<()> {
        let (disk, open) = self.chunk(chunk);
        let cut = disk.set_len(&mut open.file, end);
        cut.map_err(Error::io("cut the chunk", &open.path))?;
        sync_file(disk, open)
    }

    fn remove(&mut self, chunk: Seqno) -> Result<()> {
        let Some(open) = self.open.get(&chunk) else {
            return Ok(()); // it was not even made
        };
        if self.disk.exists(&open.path) {
            let removed = self.disk.remove(&open.path);
            removed.map_err(Error::io("remove the chunk", &open.path))?;
        }
        sync_names_of(&self.disk, &open.path)?;
        self.open.remove(&chunk);
        Ok(())
    }

    fn name_recovered(&mut self) -> Result<()> {
        let open = &mut self.open;
        name_recovered(&self.disk, &self.directory, |from, to| {
            for chunk in open.values_mut().filter(|chunk| chunk.path == from) {
                to.clone_into(&mut chunk.path);
                chunk.recovering = false;
            }
        })
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

fn sync_names_of(disk: &impl Disk, path: &Path) -> Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let _ = disk.sync_directory(directory);
    Ok(())
}

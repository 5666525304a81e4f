//! The chunk files of a journal: their names from the first entry to the opening of a recovered service.
//!
//! A chunk is `ledger_S` while it grows and `ledger_S-E.committed` once it is complete. What a recovering service
//! writes has `.recovery` behind it until that service opens: a crash before leaves files that the next recovery sets
//! aside. Format specification, sections 1.1, 1.2 and 1.6.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::format::Seqno;
use crate::format::chunk_writer::ChunkWriter;
use crate::format::names::{ChunkKind, ChunkName, FileName};
use crate::shown::Show;

/// Bytes that are collected before the file is written to.
const BUFFER_SIZE: usize = 1 << 20;

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
    sync_directory(directory.unwrap_or(Path::new(".")))
}

fn sync_directory(directory: &Path) -> Result<()> {
    match File::open(directory).and_then(|directory| directory.sync_all()) {
        Err(why) if !matches!(why.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => {
            Err(Error::io("write the directory to disk", directory)(why))
        }
        _ => Ok(()),
    }
}

/// Takes `.recovery` off the names of a directory's chunks, and tells `renamed` each old and new path. May be called again
/// where it failed.
///
/// The last chunk comes first: wherever this is interrupted, a chunk with its final name behind one without tells that
/// the service had opened, and that the rest may follow.
///
/// # Errors
/// [`Error::Io`]; [`Error::Unreadable`] if a name is taken: nothing is renamed over another file.
pub fn name_recovered(directory: &Path, mut renamed: impl FnMut(&Path, &Path)) -> Result<()> {
    let listing = std::fs::read_dir(directory).map_err(Error::io("read the directory", directory))?;
    let mut found = Vec::new();
    for entry in listing {
        let entry = entry.map_err(Error::io("read the directory", directory))?;
        let Some(FileName::Chunk(mut name)) = entry.file_name().to_str().map(FileName::parse) else {
            continue;
        };
        name.kind = match name.kind {
            ChunkKind::CommittedRecovery => ChunkKind::Committed,
            ChunkKind::OpenRecovery => ChunkKind::Open,
            ChunkKind::Committed | ChunkKind::Open => continue,
        };
        found.push((name.first, entry.path(), directory.join(name.to_string())));
    }
    found.sort_unstable();
    for (_, from, to) in found.into_iter().rev() {
        if to.exists() {
            return Err(Error::Unreadable(format!(
                "{} can't get its name: {} is there already; one of the two belongs to another recovery, move it away",
                from.shown(),
                to.shown()
            )));
        }
        std::fs::rename(&from, &to).map_err(Error::io("rename the chunk", &from))?;
        renamed(&from, &to);
    }
    sync_directory(directory)
}

struct OpenChunk {
    first: Seqno,
    path: PathBuf,
    writer: ChunkWriter<BufWriter<File>>,
    /// Its name is on the disk.
    named: bool,
}

/// When bytes reach the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Whenever the machine likes: for ledgers that can be made again.
    Buffered,
    /// Entries reach the file when they are written, the disk when a signature covers them.
    Signed,
}

/// The chunk files, written in order.
pub struct ChunkFiles {
    directory: PathBuf,
    durability: Durability,
    /// Whether a recovered service writes that is not open yet.
    recovering: bool,
    open: Option<OpenChunk>,
}

impl ChunkFiles {
    /// Takes an empty directory.
    ///
    /// # Errors
    /// As [`claim_directory`].
    pub fn create(directory: &Path) -> Result<Self> {
        claim_directory(directory)?;
        Ok(ChunkFiles {
            directory: directory.to_owned(),
            durability: Durability::Buffered,
            recovering: false,
            open: None,
        })
    }

    /// Goes on behind the chunks of a service that a new one recovers: its own get `.recovery` behind their names.
    pub fn recovering(directory: &Path) -> Self {
        ChunkFiles {
            directory: directory.to_owned(),
            durability: Durability::Signed,
            recovering: true,
            open: None,
        }
    }

    /// Size in bytes of the chunk that is open; 8 before its first entry.
    pub fn open_size(&self) -> u64 {
        self.open.as_ref().map_or(8, |chunk| chunk.writer.size())
    }

    /// Appends the raw entry of `seqno`, which starts a chunk where none is open. Where that fails, as on a full disk,
    /// the chunk is as it was.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn append(&mut self, seqno: Seqno, raw: &[u8]) -> Result<()> {
        if self.open.is_none() {
            self.open = Some(self.start(seqno)?);
        }
        let Some(chunk) = &mut self.open else {
            return Ok(()); // it was opened above
        };
        let appended = chunk
            .writer
            .append(raw)
            .map_err(Error::io("write to the chunk", &chunk.path));
        if appended.is_err() {
            // Part of the entry may be there: cut it off, so that the next one does not come behind it.
            let kept = chunk.writer.size();
            let _ = chunk.writer.repair().and_then(|file| file.get_ref().set_len(kept));
        }
        appended
    }

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sync(&mut self) -> Result<()> {
        let Some(chunk) = self.open.as_mut().filter(|_| self.durability == Durability::Signed) else {
            return Ok(());
        };
        let synced = chunk.writer.out().get_ref().sync_data();
        synced.map_err(Error::io("write the chunk to disk", &chunk.path))?;
        if !chunk.named {
            sync_names(&chunk.path)?;
            chunk.named = true;
        }
        Ok(())
    }

    fn start(&self, first: Seqno) -> Result<OpenChunk> {
        let kind = if self.recovering {
            ChunkKind::OpenRecovery
        } else {
            ChunkKind::Open
        };
        let name = ChunkName {
            first,
            last: None,
            kind,
        };
        let path = self.directory.join(name.to_string());
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let file = file.map_err(Error::io("create the chunk", &path))?;
        let buffer = match self.durability {
            Durability::Buffered => BUFFER_SIZE,
            Durability::Signed => 0,
        };
        match ChunkWriter::create(BufWriter::with_capacity(buffer, file)) {
            Ok(writer) => Ok(OpenChunk {
                first,
                path,
                writer,
                named: false,
            }),
            Err(why) => {
                // An empty file under this name would be in the way of the next attempt.
                let _ = std::fs::remove_file(&path);
                Err(Error::io("write to the chunk", &path)(why))
            }
        }
    }

    /// Completes the open chunk, whose last entry must be a signature, and gives it its committed name. May be called
    /// again where it failed.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn complete(&mut self) -> Result<()> {
        let Some(OpenChunk {
            first, path, writer, ..
        }) = &mut self.open
        else {
            return Ok(());
        };
        let length = writer.size() + 4 * writer.len();
        writer.complete().map_err(Error::io("complete the chunk", path))?;
        let file = writer.out().get_ref();
        // Only longer where entries were dropped.
        file.set_len(length).map_err(Error::io("cut the chunk", path))?;
        if self.durability == Durability::Signed {
            file.sync_data().map_err(Error::io("write the chunk to disk", path))?;
        }
        let kind = match self.recovering {
            true => ChunkKind::CommittedRecovery,
            false => ChunkKind::Committed,
        };
        let name = ChunkName {
            first: *first,
            last: Some(*first + writer.len() - 1),
            kind,
        };
        let to = self.directory.join(name.to_string());
        std::fs::rename(&*path, &to).map_err(Error::io("rename the chunk", path))?;
        *path = to;
        if self.durability == Durability::Signed {
            sync_names(path)?;
        }
        self.open = None;
        Ok(())
    }

    /// Brings every entry of the open chunk into its file, and nothing else.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn flush(&mut self) -> Result<()> {
        let Some(chunk) = &mut self.open else {
            return Ok(());
        };
        let size = chunk.writer.size();
        let out = chunk.writer.out();
        let flushed = out.flush().and_then(|()| out.get_ref().set_len(size));
        flushed.map_err(Error::io("write to the chunk", &chunk.path))
    }

    /// Drops the entries after `last` from the open chunk; removes the chunk if none is left. Committed chunks are
    /// never cut: what they hold is signed.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn truncate(&mut self, last: Seqno) -> Result<()> {
        let Some(chunk) = &mut self.open else {
            return Ok(());
        };
        if last < chunk.first {
            let path = chunk.path.clone();
            self.open = None;
            return std::fs::remove_file(&path).map_err(Error::io("remove the chunk", &path));
        }
        let kept = last - chunk.first + 1;
        chunk
            .writer
            .rewind(kept)
            .map_err(Error::io("cut the chunk", &chunk.path))
    }

    /// From here on a recovered service writes, in new files with `.recovery` behind their names.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn start_recovery(&mut self) -> Result<()> {
        self.complete()?;
        self.recovering = true;
        Ok(())
    }

    /// The recovered service is open: its files lose their `.recovery`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish_recovery(&mut self) -> Result<()> {
        self.recovering = false;
        name_recovered(&self.directory, |from, to| {
            if let Some(open) = &mut self.open
                && open.path == from
            {
                open.path = to.to_owned();
            }
        })
    }

    /// Ends the writing; the last chunk stays open, as a crash or a stop leaves it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn close(mut self) -> Result<()> {
        let Some(OpenChunk { path, writer, .. }) = self.open.take() else {
            return Ok(());
        };
        let length = writer.size();
        let file = writer.leave_open().map_err(Error::io("write to the chunk", &path))?;
        file.get_ref()
            .set_len(length)
            .map_err(Error::io("cut the chunk", &path))
    }
}

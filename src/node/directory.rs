//! The ledger's main directory, made ready for a new service: the only place where files of the old one change.
//!
//! CCF's rules (recovery specification, section 2.2; format specification, sections 1.4 to 1.6), but nothing is deleted:
//! what CCF would delete gets `.ignored` after its name, which CCF does not read either. Every step leaves a directory
//! that a reader takes for the same ledger, so a process may end anywhere in here.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::opening::InterruptedOpening;
use crate::error::{Error, Result};
use crate::format::Seqno;
use crate::format::chunk::{Layout, Step, Walker};
use crate::format::chunk_writer::ChunkWriter;
use crate::format::directory::{ChunkFile, LedgerFiles, Note, PlannedChunk};
use crate::format::map::MappedFile;
use crate::format::names::{ChunkKind, ChunkName, FileName};
use crate::format::whole_file::create_anew;
use crate::journal::files::rename_durably;
use crate::recovery::foundation::Foundation;
use crate::recovery::segments::Windows;
use crate::recovery::snapshots;
use crate::recovery::writes::is_signature;
use crate::shown::Show;

/// Takes the main directory for this process, for as long as the answer lives: a second node would set aside what the
/// first one writes. A process that is killed holds nothing.
///
/// # Errors
/// [`Error::Unreadable`] if another process has it. A file system that knows no locks is no reason to refuse.
pub fn claim(main: &Path) -> Result<File> {
    let directory = File::open(main).map_err(Error::io("open the directory", main))?;
    match directory.try_lock() {
        Ok(()) => Ok(directory),
        Err(TryLockError::WouldBlock) => Err(Error::Unreadable(format!(
            "another node works in {}: stop it first, or give this one a copy of the ledger",
            main.shown()
        ))),
        Err(TryLockError::Error(why)) => {
            tracing::warn!(
                "{} can't be locked ({why}): make sure that no other node works in it",
                main.shown()
            );
            Ok(directory)
        }
    }
}

/// Sets aside what failed recoveries left behind.
///
/// # Errors
/// [`Error::Io`].
pub fn set_aside_leftovers(files: &LedgerFiles, main: &Path) -> Result<()> {
    for note in &files.notes {
        match note {
            Note::UnfinishedRecovery(path) | Note::EmptyChunk(path) | Note::CutChunk { path, .. }
                if path.parent() == Some(main) =>
            {
                set_aside(path)?;
            }
            _ => {}
        }
    }
    // Complete chunks that were never named committed, though a committed one has their entries.
    for spare in files
        .spares
        .iter()
        .filter(|spare| spare.main && !spare.name.kind.is_committed())
    {
        set_aside(&spare.path)?;
    }
    Ok(())
}

/// Appends `.ignored` to a file's name, and a number where that is taken.
fn set_aside(path: &Path) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut to = path.with_file_name(format!("{name}.ignored"));
    let mut number = 2;
    // Also where a link leads nowhere.
    while to.symlink_metadata().is_ok() {
        to = path.with_file_name(format!("{name}.{number}.ignored"));
        number += 1;
    }
    tracing::info!(from = %path.shown(), to = %to.shown(), "set aside");
    rename_durably(path, &to)
}

/// Whether a committed chunk holds entries after `last`: dropping those needs a person's word.
pub fn has_committed_tail(files: &LedgerFiles, last: Seqno) -> bool {
    let after = |chunk: &PlannedChunk| chunk.file.last > last && chunk.file.name.kind.is_committed();
    files.chunks.iter().any(after)
}

/// The chunks that end after the last signature, or are open.
fn concerned(files: &LedgerFiles, last: Seqno) -> impl Iterator<Item = &ChunkFile> {
    let chunks = files.chunks.iter().map(|chunk| &chunk.file);
    chunks.filter(move |file| file.last > last || !file.name.kind.is_committed())
}

/// Whether [`end_ledger`] may and can do what it will; nothing is changed.
///
/// # Errors
/// [`Error::Usage`] if a committed chunk would have to be cut without the word for that (`drops_signed`), or lies in a
/// read-only directory; [`Error::Io`] if a file can't be written.
pub fn check_ending(files: &LedgerFiles, foundation: &Foundation, drops_signed: bool) -> Result<()> {
    let last = foundation.signed.txid.seqno;
    for file in concerned(files, last).filter(|file| file.main) {
        let opened = OpenOptions::new().write(true).open(&file.path);
        opened.map_err(Error::io("open the chunk to write to it", &file.path))?;
    }
    for file in concerned(files, last).filter(|file| file.name.kind.is_committed()) {
        if !drops_signed {
            return Err(Error::Usage(format!(
                "{} is committed and holds entries after the last proven signature, {last}",
                file.path.shown()
            )));
        }
        if !file.main {
            return Err(Error::Usage(format!(
                "{} is in a read-only directory and holds entries after {last}, where the ledger would end: take that \
                 directory out of the configuration, and put the chunks before it into the main one",
                file.path.shown()
            )));
        }
    }
    Ok(())
}

/// A file that is not read, because it is not committed and lies in a read-only directory, though it holds a signature after
/// `last`; with the seqno of its last one.
///
/// # Errors
/// [`Error::Io`].
pub fn signed_but_not_read(files: &LedgerFiles, last: Seqno) -> Result<Option<(PathBuf, Seqno)>> {
    for note in &files.notes {
        let Note::OpenInReadOnly(path) = note else { continue };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let FileName::Chunk(name) = FileName::parse(&name) else {
            continue;
        };
        if !path.is_file() {
            continue;
        }
        let map = MappedFile::open(path).map_err(Error::io("open", path))?;
        let layout = Layout::read_or_unusable(map.bytes());
        let mut walker = Walker::over(&map, layout, name.first);
        let (mut faults, mut signed) = (Vec::new(), None);
        loop {
            match walker.step(&mut faults) {
                Step::Entry(located) if located.seqno > last && is_signature(&located) => signed = Some(located.seqno),
                Step::Entry(_) => {}
                Step::Lost(_) | Step::End => break,
            }
        }
        if let Some(seqno) = signed {
            return Ok(Some((path.clone(), seqno)));
        }
    }
    Ok(None)
}

/// Ends the old ledger with the signature that is built upon: files after it are set aside, the open chunk that holds it is
/// cut, completed and named committed, and so is one before it: a chunk may have ended, and the next be begun, before what is
/// in it was known to be committed. Where more than an unsigned tail is dropped (`drops_signed`), of a committed chunk, and
/// of a file that is also somewhere else, a part is copied and the whole kept aside: [`check_ending`] must have allowed that.
///
/// # Errors
/// [`Error::Io`].
pub fn end_ledger(files: &LedgerFiles, main: &Path, foundation: &Foundation, drops_signed: bool) -> Result<()> {
    let signed = foundation.signed.txid.seqno;
    for file in concerned(files, signed) {
        let end = (signed, foundation.end_offset);
        if Some(&file.path) == foundation.chunk.as_ref() {
            // What another directory has too is not changed there.
            let is_copied = file.name.kind.is_committed() || (file.main && (drops_signed || is_shared(&file.path)?));
            match is_copied {
                true => keep_part(&file.path, main, file.first, end)?,
                false => drop(complete(&file.path, file.first, end)?),
            }
        } else if file.main && file.last < signed {
            match end_of(files, file.last)?.map(|end| (file.last, end)) {
                Some(end) if is_shared(&file.path)? => keep_part(&file.path, main, file.first, end)?,
                Some(end) => drop(complete(&file.path, file.first, end)?),
                // Only where it is below a snapshot: it is found to be damaged, and said, when it is read.
                None => {
                    tracing::warn!(path = %file.path.shown(), "it is not complete, and its end can't be read: left as it is")
                }
            }
        } else if file.main {
            set_aside(&file.path)?;
        }
    }
    Ok(())
}

/// Where the entry of `seqno` ends in the file that it is read from.
fn end_of(files: &LedgerFiles, seqno: Seqno) -> Result<Option<u64>> {
    let mut end = None;
    let mut windows = Windows::new(files, seqno, seqno);
    while let Some(window) = windows.next_window()? {
        for segment in &window {
            segment.for_each(|located| {
                if located.seqno == seqno {
                    end = Some(located.offset + located.entry.raw.len() as u64);
                }
            });
        }
    }
    Ok(end)
}

/// Cuts an open chunk after its last entry, which ends at an offset, writes its table, and names it committed. Answers its
/// new path.
fn complete(path: &Path, first: Seqno, (last, end): (Seqno, u64)) -> Result<PathBuf> {
    let io = |doing| Error::io(doing, path);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(io("open the chunk"))?;
    // First the header word: from here on the file is an open chunk, whatever it was.
    let mut writer = ChunkWriter::reopen(file, end).map_err(io("read the chunk"))?;
    if writer.len() != last - first + 1 {
        return Err(Error::Unreadable(format!(
            "{} holds {} entries up to offset {end}, expected {first} to {last}; does something else write to it?",
            path.shown(),
            writer.len()
        )));
    }
    writer.out().set_len(end).map_err(io("cut the chunk"))?;
    writer.complete().map_err(io("complete the chunk"))?;
    writer.out().sync_all().map_err(io("write the chunk to disk"))?;
    let to = path.with_file_name(ChunkName::committed(first, last).to_string());
    // Such as a chunk that another recovery ended here, which was read from this file too.
    if to.symlink_metadata().is_ok() {
        set_aside(&to)?;
    }
    rename_durably(path, &to)?;
    Ok(to)
}

/// Whether a file's bytes are also those of a file elsewhere: it is a link, or one of several names.
fn is_shared(path: &Path) -> Result<bool> {
    let meta = path.symlink_metadata().map_err(Error::io("look at the chunk", path))?;
    Ok(meta.is_symlink() || meta.nlink() > 1)
}

/// Sets aside the snapshots of states after `last`, which is the ledger's end from now on: they are of another history than
/// what will be written there.
///
/// # Errors
/// [`Error::Io`].
pub fn set_aside_snapshots(directory: &Path, last: Seqno) -> Result<()> {
    for snapshot in snapshots::list(&[directory.to_owned()])? {
        if snapshot.name.seqno > last {
            set_aside(&snapshot.path)?;
        }
    }
    Ok(())
}

/// Copies the part of a chunk up to the signature that is built upon to a chunk of its own, and sets the whole one aside.
fn keep_part(path: &Path, main: &Path, first: Seqno, (last, end): (Seqno, u64)) -> Result<()> {
    // A name that nothing reads until the copy is complete.
    let copy = main.join(format!("{}.part.ignored", ChunkName::committed(first, last)));
    // No more of it than is kept: what is after may be large, and sparse.
    let mut part = File::open(path).map_err(Error::io("open the chunk", path))?.take(end);
    let mut to = create_anew(&copy).map_err(Error::io("create", &copy))?;
    std::io::copy(&mut part, &mut to).map_err(Error::io("copy the chunk", path))?;
    drop(to);
    // A name that promised less than the file held is set aside by now.
    match complete(&copy, first, (last, end))? == path {
        true => Ok(()),
        false => set_aside(path),
    }
}

/// The name under which a new service's first chunk will be written must be free, or that of a file which gets another.
///
/// # Errors
/// [`Error::Unreadable`] if it is not.
pub fn check_next_is_free(main: &Path, next: Seqno, files: &LedgerFiles, opening: &InterruptedOpening) -> Result<()> {
    let name = ChunkName {
        first: next,
        last: None,
        kind: ChunkKind::OpenRecovery,
    };
    let path = main.join(name.to_string());
    debug_assert!(matches!(FileName::parse(&name.to_string()), FileName::Chunk(_)));
    let set_aside = |note: &Note| matches!(note, Note::UnfinishedRecovery(left) if *left == path);
    let goes = opening.has(&path) || files.notes.iter().any(set_aside);
    match path.symlink_metadata().is_ok() && !goes {
        true => Err(Error::Unreadable(format!(
            "{} is there already; another node may be recovering this ledger: stop it first",
            path.shown()
        ))),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_belongs_to_one_process_for_as_long_as_it_holds_it() {
        let scratch = tempfile::tempdir().unwrap();
        let first = claim(scratch.path()).unwrap();
        let refused = claim(scratch.path()).unwrap_err().to_string();
        assert!(refused.contains("another node works in"), "{refused}");
        drop(first);
        claim(scratch.path()).unwrap();
    }
}

//! The ledger's main directory, made ready for a new service: the only place where files of the old one change.
//!
//! CCF's rules (recovery specification, section 2.2; format specification, sections 1.4 to 1.6), but nothing is deleted:
//! what CCF would delete gets `.ignored` behind its name, which CCF does not read either. Every step leaves a directory
//! that a reader takes for the same ledger, so a process may end anywhere in here.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::format::Seqno;
use crate::format::chunk::{Layout, Step, Walker};
use crate::format::chunk_writer::ChunkWriter;
use crate::format::directory::{ChunkFile, LedgerFiles, Note, PlannedChunk};
use crate::format::domain::Maps;
use crate::format::map::MappedFile;
use crate::format::names::{ChunkKind, ChunkName, FileName};
use crate::journal::disk::{Durability, Files};
use crate::journal::files::{name_recovered, rename_durably};
use crate::recovery::foundation::Foundation;
use crate::recovery::progress::Silent;
use crate::recovery::segments::Windows;
use crate::recovery::verify::{Options, verify};
use crate::recovery::writes::is_signature;
use crate::shown::Show;
use crate::tables::names;
use crate::tables::values::{ServiceInfo, ServiceStatus, from_json};

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

/// Finishes what a node was killed in when its service had opened: chunks lose their `.recovery` newest first, so one that
/// still has it, just before one that has not, is of an open service. Nothing is renamed over another file. Answers
/// whether any other `.recovery` chunk is there.
///
/// # Errors
/// [`Error::Io`].
fn finish_interrupted(main: &Path) -> Result<bool> {
    let io = || Error::io("list the directory", main);
    let mut chunks: Vec<(ChunkName, PathBuf)> = Vec::new();
    for item in std::fs::read_dir(main).map_err(io())? {
        let item = item.map_err(io())?;
        if let FileName::Chunk(name) = FileName::parse(&item.file_name().to_string_lossy()) {
            chunks.push((name, item.path()));
        }
    }
    chunks.sort_by_key(|(name, _)| std::cmp::Reverse(name.first));
    let open: Vec<ChunkName> = chunks
        .iter()
        .map(|(name, _)| name.clone())
        .filter(|name| !name.kind.is_recovery())
        .collect();
    let taken = |first: Seqno, last: Seqno| {
        let overlaps = |other: &ChunkName| other.first <= last && other.last.is_none_or(|end| end >= first);
        open.iter().any(overlaps)
    };
    // First seqno of what certainly belongs to the ledger.
    let mut known = None;
    let mut left = false;
    for (name, path) in chunks {
        match (name.kind, name.last) {
            (ChunkKind::CommittedRecovery, Some(last)) if known == Some(last + 1) && !taken(name.first, last) => {
                let to = main.join(committed_name(name.first, last));
                tracing::warn!(from = %path.shown(), to = %to.shown(), "its service had opened: the name is put right");
                rename_durably(&path, &to)?;
                known = Some(name.first);
            }
            (kind, _) if !kind.is_recovery() => known = Some(name.first),
            _ => left = true,
        }
    }
    Ok(left)
}

/// Finishes an opening that was interrupted: where the chunks of a recovery say, under a signature, that their service
/// is open, it is, and they get their names. CCF would set them aside, and with them what that service has signed.
///
/// # Errors
/// [`Error::Io`].
pub fn finish_opening(directories: &[PathBuf], main: &Path) -> Result<()> {
    if !finish_interrupted(main)? {
        return Ok(());
    }
    let Ok(files) = LedgerFiles::list(directories, true) else {
        return Ok(()); // what can't be listed is said when the ledger itself is
    };
    let of_recovery = files
        .chunks
        .iter()
        .filter(|chunk| chunk.file.main && chunk.file.name.kind.is_recovery());
    let Some(first) = of_recovery.map(|chunk| chunk.file.first).min() else {
        return Ok(());
    };
    if let Some(signature) = says_open(&files, first)? {
        if !is_proven(&files, first, signature)? {
            tracing::warn!(
                first,
                signature,
                "the .recovery files say that their service had opened, but that is torn or damaged before the signature \
                 over it: they are set aside"
            );
            return Ok(());
        }
        tracing::warn!(
            first,
            "the service of these .recovery files had opened: they get their names now"
        );
        name_recovered(&Files::new(Durability::Synced), main)?;
    }
    Ok(())
}

/// Whether everything up to `signature` is proven, or else what stands before `first` is not either: that is said when the
/// ledger itself is verified. What was not brought to disk before the power was lost may be there in part, also where a
/// signature behind it is whole; a service that opened by such entries has never told anybody.
fn is_proven(files: &LedgerFiles, first: Seqno, signature: Seqno) -> Result<bool> {
    let report = verify(files, &Options::default(), &Silent)?;
    let proven = report.last_signed.map_or(0, |txid| txid.seqno);
    Ok(proven >= signature || proven + 1 < first)
}

/// The first signature over the last status of the service written from `first` on, if that is open.
fn says_open(files: &LedgerFiles, first: Seqno) -> Result<Option<Seqno>> {
    let mut windows = Windows::new(files, first, Seqno::MAX);
    let (mut status, mut signed): (Option<ServiceStatus>, Option<(ServiceStatus, Seqno)>) = (None, None);
    while let Some(window) = windows.next_window()? {
        for segment in window
            .iter()
            .filter(|segment| segment.chunk.file.name.kind.is_recovery())
        {
            segment.for_each(|located| {
                if is_signature(&located) && status != signed.map(|(status, _)| status) {
                    signed = status.map(|status| (status, located.seqno));
                }
                status = status_in(located.maps).or(status);
            });
        }
    }
    Ok(signed
        .filter(|(status, _)| *status == ServiceStatus::Open)
        .map(|(_, signature)| signature))
}

fn status_in(mut maps: Maps<'_>) -> Option<ServiceStatus> {
    let mut status = None;
    while let Some(table) = maps.next_name().ok()? {
        maps.writes(|write| {
            if table == names::SERVICE_INFO
                && let Some(Ok(info)) = write.value.map(from_json::<ServiceInfo>)
            {
                status = Some(info.status);
            }
        })
        .ok()?;
    }
    status
}

/// Appends `.ignored` to a file's name, and a number where that is taken.
fn set_aside(path: &Path) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut to = path.with_file_name(format!("{name}.ignored"));
    let mut number = 2;
    while to.exists() {
        to = path.with_file_name(format!("{name}.{number}.ignored"));
        number += 1;
    }
    tracing::info!(from = %path.shown(), to = %to.shown(), "set aside");
    rename_durably(path, &to)
}

/// Whether a committed chunk holds entries behind `last`: dropping those needs a person's word.
pub fn has_committed_tail(files: &LedgerFiles, last: Seqno) -> bool {
    let behind = |chunk: &PlannedChunk| chunk.file.last > last && chunk.file.name.kind.is_committed();
    files.chunks.iter().any(behind)
}

/// The chunks that end behind the last signature, or are open.
fn concerned(files: &LedgerFiles, last: Seqno) -> impl Iterator<Item = &ChunkFile> {
    let chunks = files.chunks.iter().map(|chunk| &chunk.file);
    chunks.filter(move |file| file.last > last || !file.name.kind.is_committed())
}

/// Whether [`end_ledger`] may and can do what it will; nothing is changed.
///
/// # Errors
/// [`Error::Usage`] if a committed chunk would have to be cut without the word for that (`drop_committed`), or lies in a
/// read-only directory; [`Error::Io`] if a file can't be written.
pub fn check_ending(files: &LedgerFiles, foundation: &Foundation, drop_committed: bool) -> Result<()> {
    let last = foundation.signed.txid.seqno;
    for file in concerned(files, last).filter(|file| file.main) {
        let opened = OpenOptions::new().write(true).open(&file.path);
        opened.map_err(Error::io("open the chunk to write to it", &file.path))?;
    }
    for file in concerned(files, last).filter(|file| file.name.kind.is_committed()) {
        if !drop_committed {
            return Err(Error::Usage(format!(
                "{} is committed and holds entries behind the last proven signature, {last}",
                file.path.shown()
            )));
        }
        if !file.main {
            return Err(Error::Usage(format!(
                "{} is in a read-only directory and holds entries behind the last proven signature, {last}: take that \
                 directory out of the configuration, and put the chunks before it into the main one",
                file.path.shown()
            )));
        }
    }
    Ok(())
}

/// A file that is not read, because it is not committed and lies in a read-only directory, though it holds a signature behind
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
        let layout = Layout::read(map.bytes()).unwrap_or_else(|_| Layout::unusable(map.bytes()));
        let mut walker = Walker::new(map.bytes(), layout, name.first).sharing(map.search());
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

/// Ends the old ledger with its last signature: files behind it are set aside, the open chunk that holds it is cut,
/// completed and named committed. A committed chunk is cut too, and the whole of it is kept aside: [`check_ending`] must
/// have allowed that.
///
/// # Errors
/// [`Error::Io`].
pub fn end_ledger(files: &LedgerFiles, main: &Path, foundation: &Foundation) -> Result<()> {
    for file in concerned(files, foundation.signed.txid.seqno) {
        if Some(&file.path) == foundation.chunk.as_ref() {
            match file.name.kind.is_committed() {
                true => keep_part(&file.path, main, file.first, foundation)?,
                false => complete(&file.path, file.first, foundation)?,
            }
        } else if file.main {
            set_aside(&file.path)?;
        }
    }
    Ok(())
}

/// Cuts an open chunk behind the last signature, writes its table, and names it committed.
fn complete(path: &Path, first: Seqno, foundation: &Foundation) -> Result<()> {
    let io = |doing| Error::io(doing, path);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(io("open the chunk"))?;
    let last = foundation.signed.txid.seqno;
    // First the header word: from here on the file is an open chunk, whatever it was.
    let mut writer = ChunkWriter::reopen(file, foundation.end_offset).map_err(io("read the chunk"))?;
    if writer.len() != last - first + 1 {
        return Err(Error::Unreadable(format!(
            "{} holds {} entries up to offset {}, expected {first} to {last}; does something else write to it?",
            path.shown(),
            writer.len(),
            foundation.end_offset
        )));
    }
    writer
        .out()
        .set_len(foundation.end_offset)
        .map_err(io("cut the chunk"))?;
    writer.complete().map_err(io("complete the chunk"))?;
    writer.out().sync_all().map_err(io("write the chunk to disk"))?;
    let to = path.with_file_name(committed_name(first, last));
    rename_durably(path, &to)
}

fn committed_name(first: Seqno, last: Seqno) -> String {
    ChunkName {
        first,
        last: Some(last),
        kind: ChunkKind::Committed,
    }
    .to_string()
}

/// Copies the part of a committed chunk up to the last signature to a chunk of its own, and sets the whole one aside.
fn keep_part(path: &Path, main: &Path, first: Seqno, foundation: &Foundation) -> Result<()> {
    // A name that nothing reads until the copy is complete.
    let copy = main.join(format!(
        "{}.part.ignored",
        committed_name(first, foundation.signed.txid.seqno)
    ));
    // No more of it than is kept: what is behind may be large, and sparse.
    let mut part = File::open(path)
        .map_err(Error::io("open the chunk", path))?
        .take(foundation.end_offset);
    let mut to = File::create(&copy).map_err(Error::io("create", &copy))?;
    std::io::copy(&mut part, &mut to).map_err(Error::io("copy the chunk", path))?;
    drop(to);
    complete(&copy, first, foundation)?;
    set_aside(path)
}

/// The name under which a new service's first chunk will be written must be free, or that of a file which is set aside.
///
/// # Errors
/// [`Error::Unreadable`] if it is not.
pub fn check_next_is_free(main: &Path, next: Seqno, files: &LedgerFiles) -> Result<()> {
    let name = ChunkName {
        first: next,
        last: None,
        kind: ChunkKind::OpenRecovery,
    };
    let path = main.join(name.to_string());
    debug_assert!(matches!(FileName::parse(&name.to_string()), FileName::Chunk(_)));
    let set_aside = |note: &Note| matches!(note, Note::UnfinishedRecovery(left) if *left == path);
    match path.symlink_metadata().is_ok() && !files.notes.iter().any(set_aside) {
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

    fn names(directory: &Path) -> Vec<String> {
        let files = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<String> = files
            .map(|file| file.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    fn finished(before: &[&str]) -> Vec<String> {
        let scratch = tempfile::tempdir().unwrap();
        for name in before {
            std::fs::write(scratch.path().join(name), name).unwrap();
        }
        finish_interrupted(scratch.path()).unwrap();
        names(scratch.path())
    }

    #[test]
    fn an_opening_that_was_cut_off_between_two_names_is_finished() {
        let found = finished(&[
            "ledger_1-9.committed",
            "ledger_10-12.committed.recovery",
            "ledger_13-15.committed.recovery",
            "ledger_16-18.committed",
            "ledger_19",
        ]);
        let expected = [
            "ledger_1-9.committed",
            "ledger_10-12.committed",
            "ledger_13-15.committed",
            "ledger_16-18.committed",
            "ledger_19",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_an_unfinished_recovery_left_is_not_taken_for_an_opening() {
        for left in [
            &[
                "ledger_1-9.committed",
                "ledger_10-12.committed.recovery",
                "ledger_13.recovery",
            ][..],
            // The chunk that a first recovery did not have came back.
            &[
                "ledger_1-9.committed",
                "ledger_10-12.committed",
                "ledger_10-12.committed.recovery",
                "ledger_13",
            ],
            &[
                "ledger_1-9.committed",
                "ledger_10",
                "ledger_10-12.committed.recovery",
                "ledger_13",
            ],
            &["ledger_1-9.committed", "ledger_10-11.committed.recovery", "ledger_13"],
        ] {
            assert_eq!(finished(left), left);
        }
    }

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

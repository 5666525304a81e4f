//! A ledger's directories: which files are read, in which order, and what was found beside them.
//!
//! Several directories are one ledger: the first is the main one, the others count only committed chunks, as CCF's
//! read-only directories do. Committed chunks are preferred; open ones extend past them. Names are hints: a chunk is
//! placed by the seqno of its first entry. Format specification, sections 1.3 and 1.4.

use std::path::{Path, PathBuf};

use super::Seqno;
use super::chunk::Layout;
use super::cursor::Cursor;
use super::domain::PublicHeader;
use super::entry::Entry;
use super::map::MappedFile;
use super::mounts;
use super::names::{ChunkKind, ChunkName, FileName};
use crate::error::{Error, Result};
use crate::shown::Show;

mod count;

use count::count_entries;

/// One chunk file of a ledger.
#[derive(Clone, Debug)]
pub struct ChunkFile {
    /// Where it is.
    pub path: PathBuf,
    /// What its name says.
    pub name: ChunkName,
    /// Its size when it was listed.
    pub size: u64,
    /// First seqno, by its first entry where that can be read, else by its name.
    pub first: Seqno,
    /// Last seqno, by the positions table, else by its name, else by walking its headers.
    pub last: Seqno,
    /// Whether it lies in the main directory.
    pub main: bool,
}

/// A chunk and the part of it that is read.
#[derive(Clone, Debug)]
pub struct PlannedChunk {
    /// The file.
    pub file: ChunkFile,
    /// First seqno that is read from it; those before come from an earlier chunk.
    pub use_from: Seqno,
}

/// Something noteworthy about the directories themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Set aside by CCF (`.ignored` and the like); not read.
    SetAside(PathBuf),
    /// Left after by a recovery that never opened; not read.
    UnfinishedRecovery(PathBuf),
    /// Named like a chunk, but not parseable.
    UnreadableName(PathBuf),
    /// Not committed and in a read-only directory; not read, as CCF doesn't.
    OpenInReadOnly(PathBuf),
    /// The name and the first entry disagree about the first seqno.
    NameDisagrees {
        /// The file.
        path: PathBuf,
        /// First seqno by its name.
        named: Seqno,
        /// First seqno by its first entry.
        found: Seqno,
    },
    /// Named like a chunk, but a directory, a pipe or the like; not read.
    NotAFile(PathBuf),
    /// Nothing but a header word in it, where its name doesn't promise any entry.
    EmptyChunk(PathBuf),
    /// Cut inside its header word or its first entry, where its name doesn't promise any entry.
    CutChunk {
        /// The file.
        path: PathBuf,
        /// First seqno by its name.
        seqno: Seqno,
    },
    /// Seqnos that no file has.
    Gap {
        /// First missing seqno.
        from: Seqno,
        /// Last missing seqno.
        to: Seqno,
    },
}

/// The files of one ledger, in reading order.
#[derive(Clone, Debug)]
pub struct LedgerFiles {
    /// What to read, in order.
    pub chunks: Vec<PlannedChunk>,
    /// Files that hold seqnos which are read from another file; their bytes should be the same.
    pub spares: Vec<ChunkFile>,
    /// What else was seen.
    pub notes: Vec<Note>,
}

impl LedgerFiles {
    /// Lists directories. With `recovery`, chunks of an unfinished recovery are read as part of the ledger.
    ///
    /// # Errors
    /// If a directory can't be read, is none, or none of them holds a chunk.
    pub fn list(directories: &[PathBuf], recovery: bool) -> Result<LedgerFiles> {
        Self::list_any(directories, recovery)?.or_none_found(directories)
    }

    /// The same files, of which there must be one.
    ///
    /// # Errors
    /// If there is none.
    pub fn or_none_found(self, directories: &[PathBuf]) -> Result<LedgerFiles> {
        match self.chunks.is_empty() {
            true => Err(no_ledger(directories, &self.notes)),
            false => Ok(self),
        }
    }

    /// The same, for whoever can do without a chunk: there is a snapshot.
    ///
    /// # Errors
    /// If a directory can't be read or is none.
    pub fn list_any(directories: &[PathBuf], recovery: bool) -> Result<LedgerFiles> {
        Self::list_choosing(directories, &|_| recovery)
    }

    /// The same; `reads` says which files of an unfinished recovery are read as part of the ledger.
    ///
    /// # Errors
    /// If a directory can't be read or is none.
    pub fn list_choosing(directories: &[PathBuf], reads: &dyn Fn(&Path) -> bool) -> Result<LedgerFiles> {
        let mut notes = Vec::new();
        let mut found = Vec::new();
        for (index, directory) in directories.iter().enumerate() {
            list_directory(directory, index == 0, reads, &mut found, &mut notes)?;
        }
        let (chunks, spares) = plan(found, &mut notes);
        Ok(LedgerFiles { chunks, spares, notes })
    }

    /// First seqno in the ledger.
    pub fn first_seqno(&self) -> Seqno {
        self.chunks.first().map_or(1, |chunk| chunk.use_from)
    }

    /// Last seqno that the files' names and tables promise.
    pub fn last_seqno(&self) -> Seqno {
        self.chunks.last().map_or(0, |chunk| chunk.file.last)
    }

    /// Bytes in the files that are read.
    pub fn size_bytes(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.file.size).sum()
    }

    /// The chunk that holds `seqno`.
    pub fn chunk_of(&self, seqno: Seqno) -> Option<&PlannedChunk> {
        let after = self.chunks.partition_point(|chunk| chunk.use_from <= seqno);
        let chunk = self.chunks.get(after.checked_sub(1)?)?;
        (seqno <= chunk.file.last).then_some(chunk)
    }
}

fn no_ledger(directories: &[PathBuf], notes: &[Note]) -> Error {
    let names: Vec<String> = directories.iter().map(|d| d.shown().to_string()).collect();
    let unread = notes
        .iter()
        .filter(|note| {
            matches!(
                note,
                Note::UnfinishedRecovery(_) | Note::SetAside(_) | Note::OpenInReadOnly(_)
            )
        })
        .count();
    let aside = match unread {
        0 => String::new(),
        n => format!(" ({n} files there are of an unfinished recovery or set aside and don't count)"),
    };
    let advice = match directories.iter().any(|directory| directory.join("manifest").is_file()) {
        true => "if it is an archive, name one of the ledgers that `rekindle archive list` tells of",
        false => "give the directory that holds the chunk files, the node's ledger.directory",
    };
    Error::Unreadable(format!(
        "no ledger in {}: found no file named ledger_<seqno>{aside}; {advice}",
        names.join(", ")
    ))
}

fn list_directory(
    directory: &Path,
    main: bool,
    reads: &dyn Fn(&Path) -> bool,
    found: &mut Vec<ChunkFile>,
    notes: &mut Vec<Note>,
) -> Result<()> {
    if directory.is_file() {
        return Err(Error::Unreadable(format!(
            "{} is a file, expected a directory of ledger chunks; give the directory it is in",
            directory.shown()
        )));
    }
    let listing = mounts::list(directory).map_err(Error::io("list directory", directory))?;
    let mut names: Vec<(String, PathBuf)> = listing
        .into_iter()
        .map(|(name, path)| (name.to_string_lossy().into_owned(), path))
        .collect();
    names.sort();
    let mut chunks = Vec::new();
    for (name, path) in names {
        let chunk = match FileName::parse(&name) {
            FileName::Other => continue,
            FileName::SetAside => {
                notes.push(Note::SetAside(path));
                continue;
            }
            FileName::Unreadable => {
                notes.push(Note::UnreadableName(path));
                continue;
            }
            FileName::Chunk(chunk) => chunk,
        };
        if chunk.kind.is_recovery() && !reads(&path) {
            notes.push(Note::UnfinishedRecovery(path));
        } else if !main && !chunk.kind.is_committed() {
            notes.push(Note::OpenInReadOnly(path));
        } else {
            chunks.push((path, chunk));
        }
    }
    for examined in examine_all(chunks, main) {
        let (file, more) = examined?;
        notes.extend(more);
        found.extend(file);
    }
    Ok(())
}

/// Files examined on one thread at least: starting one takes as long as a few files in the page cache.
const FILES_PER_THREAD: usize = 16;
/// Threads at most. They wait for the disk, not for a processor: what is fetched is one page at either end of each file, and
/// a disk brings many such pages in the time of one.
const EXAMINERS: usize = 32;

/// What is known of one file: what it holds, if it counts, and what is noteworthy.
type Examined = Result<(Option<ChunkFile>, Vec<Note>)>;

/// Examines chunks on several threads, and answers in their order.
fn examine_all(chunks: Vec<(PathBuf, ChunkName)>, main: bool) -> Vec<Examined> {
    let examine_some = |chunks: &[(PathBuf, ChunkName)]| -> Vec<Examined> {
        let each = chunks.iter().map(|(path, name)| {
            let mut notes = Vec::new();
            let file = examine(path.clone(), name.clone(), main, &mut notes)?;
            Ok((file, notes))
        });
        each.collect()
    };
    let threads = (chunks.len() / FILES_PER_THREAD).clamp(1, EXAMINERS);
    let mut parts = chunks.chunks(chunks.len().div_ceil(threads).max(1));
    let own = parts.next().unwrap_or_default();
    std::thread::scope(|scope| {
        let others: Vec<_> = parts
            .map(|part| {
                (
                    part,
                    std::thread::Builder::new().spawn_scoped(scope, || examine_some(part)),
                )
            })
            .collect();
        let mut examined = examine_some(own);
        for (part, thread) in others {
            // Where no thread could be started, or it panicked, there is still this one.
            let answer = thread.ok().and_then(|thread| thread.join().ok());
            examined.extend(answer.unwrap_or_else(|| examine_some(part)));
        }
        examined
    })
}

/// Opens a chunk briefly to see which seqnos it holds.
fn examine(path: PathBuf, name: ChunkName, main: bool, notes: &mut Vec<Note>) -> Result<Option<ChunkFile>> {
    if !mounts::is_file(&path).map_err(Error::io("open", &path))? {
        notes.push(Note::NotAFile(path));
        return Ok(None);
    }
    let map = MappedFile::open(&path).map_err(Error::io("open", &path))?;
    map.is_peeked_into();
    let bytes = map.bytes();
    let layout = Layout::read_or_unusable(bytes);
    let first = first_seqno(bytes).unwrap_or(name.first);
    if first != name.first {
        notes.push(Note::NameDisagrees {
            path: path.clone(),
            named: name.first,
            found: first,
        });
    }
    let named_len = name.last.map(|last| last - name.first + 1);
    // Where the header word and the name disagree, a table that fits the name says which one is damaged.
    let mended = named_len.filter(|&named| Layout::by_count(bytes, named).is_some());
    // Where it fits neither, the entries themselves may agree with the name.
    let counted = || {
        named_len.filter(|_| {
            map.will_need();
            Layout::count_entries(bytes, layout.entries_end) == named_len
        })
    };
    let len = mended
        .or_else(counted)
        .or(layout.table_len.filter(|&len| len > 0))
        .or(named_len)
        .unwrap_or_else(|| {
            map.will_need();
            count_entries(&map, layout, first)
        });
    if len == 0 && named_len.is_none() {
        notes.push(match bytes.len() {
            8 => Note::EmptyChunk(path),
            _ => Note::CutChunk {
                path,
                seqno: name.first,
            },
        });
        return Ok(None);
    }
    // A name that promises entries is planned for them, so that their absence is found.
    let len = len.max(named_len.unwrap_or(0)).max(1);
    Ok(Some(ChunkFile {
        size: bytes.len() as u64,
        path,
        first,
        last: first.saturating_add(len - 1),
        name,
        main,
    }))
}

/// The seqno of the first entry, if public domain and nonce agree on it.
fn first_seqno(bytes: &[u8]) -> Option<Seqno> {
    let entry = Entry::parse(bytes.get(8..)?).ok()?;
    let public = PublicHeader::read(&mut Cursor::new(entry.public)).ok()?;
    (public.seqno == entry.iv().seqno && public.seqno > 0).then_some(public.seqno)
}

/// Chooses, for every seqno, the file it is read from.
fn plan(mut files: Vec<ChunkFile>, notes: &mut Vec<Note>) -> (Vec<PlannedChunk>, Vec<ChunkFile>) {
    files.sort_by(|a, b| (a.first, &a.path).cmp(&(b.first, &b.path)));
    let mut planned: Vec<PlannedChunk> = Vec::new();
    let mut used = vec![false; files.len()];
    let mut active: Vec<usize> = Vec::new();
    let mut upcoming = 0;
    let mut next = files.first().map_or(1, |file| file.first);
    loop {
        while let Some(file) = files.get(upcoming).filter(|file| file.first <= next) {
            if file.last >= next {
                active.push(upcoming);
            }
            upcoming += 1;
        }
        active.retain(|&i| files.get(i).is_some_and(|file| file.last >= next));
        let best = active.iter().copied().max_by_key(|&i| {
            files.get(i).map(|file| {
                let committed = file.name.kind == ChunkKind::Committed;
                (
                    committed,
                    file.first == next,
                    file.last,
                    file.main,
                    std::cmp::Reverse(i),
                )
            })
        });
        match best.and_then(|i| Some((i, files.get(i)?))) {
            Some((i, file)) => {
                planned.push(PlannedChunk {
                    file: file.clone(),
                    use_from: next,
                });
                if let Some(used) = used.get_mut(i) {
                    *used = file.first == next;
                }
                next = match file.last.checked_add(1) {
                    Some(next) => next,
                    None => break,
                };
            }
            None => match files.get(upcoming) {
                Some(file) => {
                    notes.push(Note::Gap {
                        from: next,
                        to: file.first - 1,
                    });
                    next = file.first;
                }
                None => break,
            },
        }
    }
    let spares = files
        .into_iter()
        .zip(used)
        .filter_map(|(file, used)| (!used).then_some(file))
        .collect();
    (planned, spares)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(first: Seqno, last: Seqno, committed: bool, main: bool) -> ChunkFile {
        let kind = if committed {
            ChunkKind::Committed
        } else {
            ChunkKind::Open
        };
        let name = ChunkName {
            first,
            last: committed.then_some(last),
            kind,
        };
        ChunkFile {
            path: PathBuf::from(format!("{main}/{name}")),
            name,
            size: 0,
            first,
            last,
            main,
        }
    }

    fn planned(files: Vec<ChunkFile>) -> (Vec<(Seqno, Seqno, bool)>, usize, Vec<Note>) {
        let mut notes = Vec::new();
        let (chunks, spares) = plan(files, &mut notes);
        let chunks = chunks
            .iter()
            .map(|c| (c.use_from, c.file.last, c.file.name.kind.is_committed()))
            .collect();
        (chunks, spares.len(), notes)
    }

    #[test]
    fn files_examined_on_many_threads_are_those_examined_one_by_one_in_their_order() {
        let directory = tempfile::tempdir().unwrap();
        let mut chunks = Vec::new();
        for i in 1..=5 * FILES_PER_THREAD as u64 {
            // Every third holds nothing, which is a note; the others promise entries.
            let name = match i % 3 {
                0 => format!("ledger_{i}"),
                _ => format!("ledger_{i}-{}.committed", i + 7),
            };
            let path = directory.path().join(&name);
            std::fs::write(&path, [0; 8]).unwrap();
            let FileName::Chunk(name) = FileName::parse(&name) else {
                panic!("{name} is a chunk's name");
            };
            chunks.push((path, name));
        }
        let shown = |file: Option<ChunkFile>, notes: Vec<Note>| format!("{file:?} {notes:?}");
        let mut one_by_one = Vec::new();
        for (path, name) in &chunks {
            let mut notes = Vec::new();
            let file = examine(path.clone(), name.clone(), true, &mut notes).unwrap();
            one_by_one.push(shown(file, notes));
        }
        let together = examine_all(chunks, true).into_iter().map(|examined| {
            let (file, notes) = examined.unwrap();
            shown(file, notes)
        });
        assert_eq!(together.collect::<Vec<_>>(), one_by_one);
    }

    #[test]
    fn committed_chunks_win_over_a_stale_open_one() {
        let (chunks, spares, notes) = planned(vec![
            file(1, 10, true, true),
            file(11, 30, false, true),
            file(11, 20, true, false),
            file(21, 40, true, false),
        ]);
        assert_eq!(chunks, [(1, 10, true), (11, 20, true), (21, 40, true)]);
        assert_eq!((spares, notes.len()), (1, 0));
    }

    #[test]
    fn an_open_chunk_extends_past_the_committed_ones() {
        let (chunks, spares, _) = planned(vec![file(1, 10, true, true), file(5, 14, false, true)]);
        assert_eq!(chunks, [(1, 10, true), (11, 14, false)]);
        assert_eq!(spares, 1);
    }

    #[test]
    fn a_missing_chunk_is_a_gap() {
        let (chunks, _, notes) = planned(vec![file(1, 10, true, true), file(21, 30, true, true)]);
        assert_eq!(chunks.len(), 2);
        assert_eq!(notes, [Note::Gap { from: 11, to: 20 }]);
    }
}

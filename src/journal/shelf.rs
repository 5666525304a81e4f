//! Entries of a ledger by their seqnos, as they stand in its chunk files: for nodes that lack them.
//!
//! Somebody else writes and renames these files at the same time: `ledger_S` grows and becomes `ledger_S-E.committed`,
//! `.recovery` falls off, an open chunk is cut and written again. So a name is a hint, looked up again where it has gone; and
//! whatever is given out was walked entry by entry in the moment of reading: the sizes in the headers lead exactly from one
//! start to the next, and each nonce holds the expected seqno. A positions table that says otherwise is passed over, as a
//! recovery has passed over it. Contents are not verified: whoever gets them does that.
//!
//! Memory: a few mapped files, and eight bytes for each entry of one among them that is open, or whose table is damaged.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};
use crate::format::Seqno;
use crate::format::cursor::Cursor;
use crate::format::entry::{EntryHeader, EntryIv, GCM_HEADER_SIZE, HEADER_SIZE, VERSION};
use crate::format::layout::{FIRST_ENTRY, Layout};
use crate::format::map::MappedFile;
use crate::format::names::{ChunkName, FileName};
use crate::shown::Show;

/// Files that stay mapped.
const OPENED: usize = 8;
/// How often names are looked up again for one chunk.
const TRIES: usize = 4;

/// The ledger's files, as somewhere to read entries.
pub struct Shelf {
    directories: Vec<PathBuf>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    listed: Vec<Listed>,
    /// The one that was used last comes first.
    opened: Vec<Opened>,
}

/// A chunk by its name.
#[derive(Clone)]
struct Listed {
    name: ChunkName,
    path: PathBuf,
}

/// Which file it is, and how long.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
}

impl Stamp {
    fn of(path: &Path) -> std::io::Result<Stamp> {
        let metadata = std::fs::metadata(path)?;
        Ok(Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
        })
    }
}

/// A chunk that is mapped.
struct Opened {
    name: ChunkName,
    map: MappedFile,
    stamp: Stamp,
    layout: Layout,
    /// Of a chunk without a positions table: where its first entry begins, and where each that was walked over ends.
    ends: Vec<u64>,
}

/// What came of looking for an entry in a chunk.
enum Sought<T> {
    Found(T),
    /// The chunk ends before it.
    Beyond,
}

impl Shelf {
    /// A ledger in `directories`, the main one first: of the others only committed chunks are read.
    pub fn new(directories: Vec<PathBuf>) -> Shelf {
        Shelf {
            directories,
            known: Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // What is known is looked at again before it is used.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entries `after + 1 ..= through`, whole and one after the other, exactly as they stand in the files.
    ///
    /// # Errors
    /// [`Error::Unreadable`] if one is not there, if a file is not what it says (with its place), or if they are of more than
    /// `max_bytes` together; [`Error::Io`].
    pub fn read(&self, after: Seqno, through: Seqno, max_bytes: usize) -> Result<Vec<u8>> {
        let mut known = self.known();
        let mut out = Vec::new();
        let mut last = after;
        while last < through {
            let next = last.saturating_add(1);
            last = known.with_chunk(&self.directories, next, |chunk| {
                chunk.copy(next, through, max_bytes, &mut out)
            })?;
        }
        Ok(out)
    }

    /// The greatest seqno up to `at_most` so that the entries after `after` are of `bytes` together, or the one after `after`
    /// where that alone is greater, or can't be found.
    pub fn reach(&self, after: Seqno, at_most: Seqno, bytes: u64) -> Seqno {
        let mut known = self.known();
        let (mut reached, mut left) = (after, bytes);
        while reached < at_most {
            let next = reached.saturating_add(1);
            let extent = known.with_chunk(&self.directories, next, |chunk| chunk.extent(next, at_most, left));
            let Ok((last, used, is_all)) = extent else { break };
            reached = reached.max(last);
            left = left.saturating_sub(used);
            if !is_all {
                break;
            }
        }
        reached.max(after.saturating_add(1)).min(at_most.max(after))
    }
}

impl Known {
    /// Has `act` done with the chunk that holds `seqno`. Where it is not where it was, the directories are listed again.
    fn with_chunk<T>(
        &mut self,
        directories: &[PathBuf],
        seqno: Seqno,
        mut act: impl FnMut(&mut Opened) -> Result<Sought<T>>,
    ) -> Result<T> {
        for attempt in 0..TRIES {
            if attempt > 0 || self.listed.is_empty() {
                self.listed = list(directories)?;
            }
            let Some(listed) = choose(&self.listed, seqno).cloned() else {
                continue;
            };
            let Some(chunk) = self.open(&listed)? else { continue };
            if let Sought::Found(found) = act(chunk)? {
                return Ok(found);
            }
        }
        let names: Vec<String> = directories.iter().map(|at| at.shown().to_string()).collect();
        Err(Error::Unreadable(format!(
            "entry {seqno} is in no chunk file of {}: the ledger begins after it, ends before it, or a chunk is missing; put the \
             chunk back, or let nodes that need it start from a snapshot",
            names.join(", ")
        )))
    }

    /// The chunk, mapped as it is now; `None` where there is no such name any more.
    fn open(&mut self, listed: &Listed) -> Result<Option<&mut Opened>> {
        let at = self
            .opened
            .iter()
            .position(|opened| opened.map.path() == listed.path && opened.name == listed.name);
        let mut before = at.map(|at| self.opened.remove(at));
        let is_final = listed.name.kind.is_committed();
        if !is_final || before.is_none() {
            let stamp = match Stamp::of(&listed.path) {
                Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                stamp => stamp.map_err(Error::io("look at the chunk", &listed.path))?,
            };
            if before.as_ref().is_none_or(|before| before.stamp != stamp) {
                let map = match MappedFile::open(&listed.path) {
                    Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                    map => map.map_err(Error::io("open the chunk", &listed.path))?,
                };
                let ends = before.map_or_else(Vec::new, |before| before.ends);
                before = Some(Opened::new(listed.name.clone(), map, stamp, ends)?);
            }
        }
        self.opened.truncate(OPENED - 1);
        self.opened.splice(..0, before);
        Ok(self.opened.first_mut())
    }
}

/// The chunks in the directories, by their names.
fn list(directories: &[PathBuf]) -> Result<Vec<Listed>> {
    let mut listed = Vec::new();
    for (index, directory) in directories.iter().enumerate() {
        for item in std::fs::read_dir(directory).map_err(Error::io("list the directory", directory))? {
            let item = item.map_err(Error::io("list the directory", directory))?;
            let Some(FileName::Chunk(name)) = item.file_name().to_str().map(FileName::parse) else {
                continue;
            };
            // What an unfinished recovery left is set aside in the main directory before anything is read here.
            let counts = index == 0 || name.kind.is_committed() && !name.kind.is_recovery();
            if counts {
                listed.push(Listed {
                    name,
                    path: item.path(),
                });
            }
        }
    }
    // Of two that are the same by their names, the main directory's counts.
    listed.reverse();
    Ok(listed)
}

/// Where `seqno` is looked for: in a committed chunk whose name promises it, else in the one that began last before it.
fn choose(listed: &[Listed], seqno: Seqno) -> Option<&Listed> {
    let may_hold = |name: &ChunkName| name.first <= seqno && name.last.is_none_or(|last| seqno <= last);
    listed
        .iter()
        .filter(|listed| may_hold(&listed.name))
        .max_by_key(|listed| (listed.name.kind.is_committed(), listed.name.first))
}

impl Opened {
    fn new(name: ChunkName, map: MappedFile, stamp: Stamp, mut ends: Vec<u64>) -> Result<Opened> {
        let promised = name.last.map(|last| last.saturating_sub(name.first).saturating_add(1));
        let layout = match Layout::read(map.bytes()) {
            Ok(layout) if layout.table_len.is_none() || promised.is_none() || layout.table_len == promised => layout,
            read => {
                let by_count = || Layout::by_count(map.bytes(), promised?);
                let usable = by_count().or_else(|| Layout::by_headers(map.bytes()));
                match usable {
                    Some(layout) => layout,
                    None => read.map_err(|why| complaint(&map, why.offset, &why.what))?,
                }
            }
        };
        if ends.is_empty() {
            ends.push(FIRST_ENTRY);
        }
        Ok(Opened {
            name,
            map,
            stamp,
            layout,
            ends,
        })
    }

    /// The last seqno of a complete chunk.
    fn last(&self) -> Option<Seqno> {
        let length = self.layout.table_len?;
        Some(self.name.first.saturating_add(length).saturating_sub(1))
    }

    /// Where entry `index` begins; for the one after the last where that ends. `None` where the chunk ends before.
    fn bound(&mut self, index: u64) -> Option<u64> {
        if self.layout.table_len.is_some() {
            return self.layout.position(self.map.bytes(), index);
        }
        let wanted = usize::try_from(index).ok()?;
        while self.ends.len() <= wanted {
            let at = *self.ends.last()?;
            let seqno = self.name.first.checked_add(self.ends.len() as u64 - 1)?;
            let end = self.entry_end(at, seqno).ok()?;
            self.ends.push(end);
        }
        self.ends.get(wanted).copied()
    }

    /// Where the entry at `at` ends, which must be that of `seqno`.
    fn entry_end(&self, at: u64, seqno: Seqno) -> Result<u64> {
        let wrong = |what: String| complaint(&self.map, at as usize, &what);
        let end = self.layout.entries_end as usize;
        let rest = self.map.bytes().get(at as usize..end).unwrap_or_default();
        let mut cursor = Cursor::new(rest);
        let mut parts = || {
            let header = EntryHeader::from_bytes(cursor.array::<HEADER_SIZE>("entry header")?);
            cursor.take(16, "GCM tag")?;
            Ok((header, EntryIv::from_bytes(cursor.array("GCM IV")?)))
        };
        let (header, iv) = parts().map_err(|why: crate::format::Malformed| wrong(why.what))?;
        let left = (rest.len() - HEADER_SIZE) as u64;
        if header.version != VERSION || header.size < GCM_HEADER_SIZE as u64 || header.size > left {
            return Err(wrong(format!(
                "an entry of version {} and {} bytes, expected version {VERSION} and {GCM_HEADER_SIZE} to {left} bytes",
                header.version, header.size
            )));
        }
        if iv.seqno != seqno || iv.snapshot {
            return Err(wrong(format!(
                "the entry of seqno {}, expected that of {seqno}",
                iv.seqno
            )));
        }
        Ok(at + HEADER_SIZE as u64 + header.size)
    }

    /// Whether the entries from `seqno` on lead exactly from `start` to `end` and are `count`.
    fn check(&self, seqno: Seqno, count: u64, start: u64, end: u64) -> Result<()> {
        let mut at = start;
        for index in 0..count {
            at = self.entry_end(at, seqno.saturating_add(index))?;
        }
        if at != end {
            let what = format!("entries that end here, expected them to end at byte {end}");
            return Err(complaint(&self.map, at as usize, &what));
        }
        Ok(())
    }

    /// Appends the entries from `from` up to `through`, or up to the chunk's last, and answers the last.
    fn copy(&mut self, from: Seqno, through: Seqno, max_bytes: usize, out: &mut Vec<u8>) -> Result<Sought<Seqno>> {
        let copied = self.copy_once(from, through, max_bytes, out);
        if copied.is_ok() {
            return copied;
        }
        if self.layout.table_len.is_some() {
            // The entries themselves may know better than their table where they are.
            let Some(layout) = Layout::by_headers(self.map.bytes()) else {
                return copied;
            };
            self.layout = layout;
        }
        // An open chunk that was cut and written again has other entries where these were.
        self.ends = vec![FIRST_ENTRY];
        self.copy_once(from, through, max_bytes, out)
    }

    fn copy_once(&mut self, from: Seqno, through: Seqno, max_bytes: usize, out: &mut Vec<u8>) -> Result<Sought<Seqno>> {
        let Some(index) = from.checked_sub(self.name.first) else {
            return Ok(Sought::Beyond);
        };
        let (Some(start), Some(_)) = (self.bound(index), self.bound(index + 1)) else {
            return match self.name.last {
                Some(last) if from <= last => {
                    let end = self.layout.entries_end as usize;
                    let what = format!("no entry {from}, although the file's name says that it goes up to {last}");
                    Err(complaint(&self.map, end, &what))
                }
                _ => Ok(Sought::Beyond),
            };
        };
        let mut last = through.min(self.last().unwrap_or(through));
        let mut end = self.bound(last.saturating_sub(self.name.first).saturating_add(1));
        if end.is_none() {
            // The chunk was walked up to its end.
            last = self.name.first.saturating_add(self.ends.len() as u64).saturating_sub(2);
            end = self.ends.last().copied();
        }
        let end = end.filter(|_| last >= from).unwrap_or(start);
        if end < start || end > self.layout.entries_end {
            let what = format!(
                "entries {from} to {last} end at byte {end} by the positions table, expected a place after them"
            );
            return Err(complaint(&self.map, start as usize, &what));
        }
        let room = max_bytes.saturating_sub(out.len()) as u64;
        if end.saturating_sub(start) > room {
            return Err(Error::Unreadable(format!(
                "the entries from {from} to {last} in {} have {} bytes, and only {room} are left of {max_bytes}",
                self.map.path().shown(),
                end.saturating_sub(start)
            )));
        }
        self.check(from, (last + 1).saturating_sub(from), start, end)?;
        let entries = self.map.bytes().get(start as usize..end as usize).unwrap_or_default();
        let before = out.len();
        out.extend_from_slice(entries);
        if self.map.shrank() {
            out.truncate(before);
            let what = "the file became shorter while it was read";
            return Err(complaint(&self.map, start as usize, what));
        }
        Ok(Sought::Found(last))
    }

    /// The last entry up to `at_most` so that those from `from` on are of `bytes` together, how many bytes they have, and
    /// whether the chunk has no more of them.
    fn extent(&mut self, from: Seqno, at_most: Seqno, bytes: u64) -> Result<Sought<(Seqno, u64, bool)>> {
        let Some(index) = from.checked_sub(self.name.first) else {
            return Ok(Sought::Beyond);
        };
        let (Some(start), Some(_)) = (self.bound(index), self.bound(index.saturating_add(1))) else {
            return Ok(Sought::Beyond);
        };
        let most = at_most
            .min(self.last().unwrap_or(at_most))
            .saturating_sub(self.name.first);
        let fits = |end: Option<u64>| end.is_some_and(|end| end.saturating_sub(start) <= bytes);
        // In ever longer steps, then between the last two: an open chunk is not walked further than it must be.
        let (mut good, mut step) = (index, 1);
        while good <= most && fits(self.bound(good.saturating_add(step).min(most + 1))) {
            good = good.saturating_add(step).min(most + 1);
            step = step.saturating_mul(2);
        }
        let mut bad = good.saturating_add(step).min(most.saturating_add(2));
        while bad - good > 1 {
            let middle = good + (bad - good) / 2;
            match fits(self.bound(middle)) {
                true => good = middle,
                false => bad = middle,
            }
        }
        let used = self.bound(good).map_or(0, |end| end.saturating_sub(start));
        let ends_here = good > most || self.bound(good.saturating_add(1)).is_none();
        let last = self.name.first.saturating_add(good).saturating_sub(1);
        Ok(Sought::Found((last, used, ends_here && good > index)))
    }
}

/// What is wrong with a chunk, and where.
fn complaint(map: &MappedFile, offset: usize, what: &str) -> Error {
    Error::Unreadable(format!(
        "{} at byte {offset}: {what}; verify the ledger, and put a good copy of the chunk there",
        map.path().shown()
    ))
}

#[cfg(test)]
mod tests;

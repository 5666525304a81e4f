//! Where chunks begin and end, by what any copy still says of it.
//!
//! Flags in the entries are signed, and decide wherever they are. Nodes before 7.0 cut chunks elsewhere too: then the first
//! entry of a file, its positions table and its name tell, if the last entry is a signature. A chunk that nothing completes
//! stays open, as one is whose end is lost.

use std::collections::{BTreeMap, BTreeSet};

use super::history::Grown;
use super::pool::{Found, Pool, changed};
use crate::error::Result;
use crate::format::Seqno;
use crate::format::chunk::FIRST_ENTRY;
use crate::format::entry::{FLAG_CHUNK_AFTER, FLAG_CHUNK_BEFORE};
use crate::format::names::{ChunkKind, ChunkName};

/// A chunk to be written.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Its name.
    pub name: ChunkName,
    /// Last seqno.
    pub last: Seqno,
    /// Whether it gets a positions table.
    pub is_complete: bool,
    /// Its entries: file, offset and end.
    pub parts: Vec<(usize, u64, u64)>,
    /// Offset of each entry.
    pub positions: Vec<u32>,
    /// Offset after the last.
    pub end: u64,
}

/// What is said of a chunk that ends at one seqno.
#[derive(Clone, Debug, Default)]
struct Said {
    copies: BTreeSet<usize>,
    is_committed: bool,
    /// Whether a name says that it is not known to be.
    is_named_open: bool,
    /// Whether its last entry is known to be the one of the result.
    agrees: bool,
}

/// What the files say of chunks.
pub struct Boundaries {
    /// By first and last seqno.
    ends: BTreeMap<Seqno, BTreeMap<Seqno, Said>>,
    /// First seqnos of files that are open as far as they can be read, and their last.
    open: BTreeMap<Seqno, Seqno>,
    /// First seqnos of all files.
    begun: BTreeSet<Seqno>,
}

impl Boundaries {
    /// What all files say.
    ///
    /// # Errors
    /// If a file can't be read.
    pub fn of(pool: &Pool, grown: &Grown) -> Result<Boundaries> {
        let mut found = Boundaries {
            ends: BTreeMap::new(),
            open: BTreeMap::new(),
            begun: BTreeSet::new(),
        };
        let mut begins: BTreeMap<usize, (Seqno, Seqno)> = BTreeMap::new();
        let mut inside: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (number, run) in pool.runs.iter().enumerate() {
            if run.offset == FIRST_ENTRY {
                begins.insert(run.source, (run.first, run.last));
            }
            inside.entry(run.source).or_default().push(number);
        }
        for (index, source) in pool.sources.iter().enumerate() {
            let read = source.same_as.unwrap_or(index);
            let runs = inside.get(&read).map_or(&[][..], Vec::as_slice);
            let named = source.name.as_ref().map(|name| (name.first, name.last));
            let holds = |first: Seqno, last: Seqno| {
                let runs = runs.iter().filter_map(|&run| pool.runs.get(run));
                runs.clone().count() > 0 && runs.into_iter().all(|run| run.first >= first && run.last <= last)
            };
            let first = match (begins.get(&read), named) {
                (Some(&(first, _)), _) => first,
                (None, Some((first, last))) if holds(first, last.unwrap_or(Seqno::MAX)) => first,
                _ => continue,
            };
            found.begun.insert(first);
            let mut ends = BTreeSet::new();
            let table = pool.surveys.get(read).and_then(|survey| survey.table_len);
            ends.extend(table.and_then(|len| first.checked_add(len)?.checked_sub(1)));
            ends.extend(named.filter(|named| named.0 == first).and_then(|named| named.1));
            if ends.is_empty()
                && let Some(&(_, last)) = begins.get(&read)
            {
                let known = found.open.entry(first).or_insert(last);
                *known = last.max(*known);
            }
            for last in ends.into_iter().filter(|last| *last >= first) {
                // A chunk ends with a signature; another history's may end elsewhere.
                let signed = grown.signed.binary_search_by_key(&last, |signed| signed.seqno).is_ok();
                if !signed {
                    continue;
                }
                let agrees = agrees(pool, grown, runs, last)?;
                if agrees == Some(false) {
                    continue;
                }
                let said = found.ends.entry(first).or_default().entry(last).or_default();
                said.copies.insert(source.copy);
                let is_own_name = source.name.as_ref().is_some_and(|name| name.first == first);
                said.is_committed |= is_own_name && source.is_committed();
                said.is_named_open |= is_own_name && !source.is_committed();
                said.agrees |= agrees.is_some();
            }
        }
        Ok(found)
    }

    /// Where a chunk that begins here ends, if anything says so.
    fn end_of(&self, first: Seqno) -> Option<Seqno> {
        let ends = self.ends.get(&first)?;
        let best = ends
            .iter()
            .max_by_key(|(last, said)| (said.agrees, said.copies.len(), **last));
        best.map(|(last, _)| *last)
    }

    /// Where a chunk that begins here ends because another is known to begin after it.
    fn end_by_next(&self, first: Seqno, grown: &Grown) -> Option<Seqno> {
        let next = self.ends.range(first + 1..).next().map(|(next, _)| *next);
        let open = self.open.range(first + 1..).next().map(|(next, _)| *next);
        let next = [next, open].into_iter().flatten().min()?;
        let last = next - 1;
        let signed = grown.signed.binary_search_by_key(&last, |signed| signed.seqno).is_ok();
        signed.then_some(last)
    }

    fn said(&self, first: Seqno, last: Seqno) -> Option<&Said> {
        self.ends.get(&first)?.get(&last)
    }
}

/// Whether a file's entry of this seqno is the one of the result; nothing where it can't be read.
fn agrees(pool: &Pool, grown: &Grown, runs: &[usize], seqno: Seqno) -> Result<Option<bool>> {
    let mut own = runs.iter().filter_map(|&run| pool.runs.get(run));
    let Some(run) = own.find(|run| (run.first..=run.last).contains(&seqno)) else {
        return Ok(None);
    };
    let Some((source, offset, end)) = grown.place_of(pool, seqno)? else {
        return Ok(None);
    };
    let (chunk, other) = (pool.open(run.source)?, pool.open(source)?);
    let bytes = chunk.map.bytes();
    let range = (run.offset_of(bytes, seqno), run.offset_of(bytes, seqno + 1));
    let (Some(from), Some(to)) = range else { return Ok(None) };
    Ok(Some(
        bytes.get(from as usize..to as usize) == other.map.bytes().get(offset as usize..end as usize),
    ))
}

/// Cuts a history into chunks, and hands each to `each`.
///
/// # Errors
/// What `each` answers; if a file can't be read, or is not any more what it was.
pub fn cut(
    pool: &Pool,
    grown: &Grown,
    boundaries: &Boundaries,
    mut each: impl FnMut(Chunk) -> Result<()>,
) -> Result<()> {
    let mut open: Option<Chunk> = None;
    let mut end: Option<Seqno> = None;
    for piece in &grown.pieces {
        let chunk = pool.open(piece.source)?;
        let bytes = chunk.map.bytes();
        let mut at = piece.offset;
        for seqno in piece.first..=piece.last {
            let Some(found) = Found::at(bytes, at).filter(|found| found.seqno == seqno) else {
                return Err(changed(&chunk.file.path));
            };
            let size = found.entry.raw.len() as u64;
            let flags = found.entry.flags;
            let is_full = open.as_ref().is_some_and(|open| open.end + size > u64::from(u32::MAX));
            if (flags & FLAG_CHUNK_BEFORE != 0 || is_full)
                && let Some(done) = open.take()
            {
                each(finished(done, boundaries, true))?;
            }
            let current = open.get_or_insert_with(|| {
                end = boundaries
                    .end_of(seqno)
                    .or_else(|| boundaries.end_by_next(seqno, grown));
                Chunk {
                    name: ChunkName {
                        first: seqno,
                        last: None,
                        kind: ChunkKind::Open,
                    },
                    last: seqno,
                    is_complete: false,
                    parts: Vec::new(),
                    positions: Vec::new(),
                    end: FIRST_ENTRY,
                }
            });
            current.last = seqno;
            current.positions.push(current.end as u32);
            current.end += size;
            match current.parts.last_mut() {
                Some((source, _, until)) if *source == piece.source && *until == at => *until += size,
                _ => current.parts.push((piece.source, at, at + size)),
            }
            at += size;
            // Of what comes after, at least that it was begun may be known.
            let goes_on = grown.last() != Some(seqno) || boundaries.begun.contains(&(seqno + 1));
            if (flags & FLAG_CHUNK_AFTER != 0 || end == Some(seqno))
                && let Some(done) = open.take()
            {
                each(finished(done, boundaries, goes_on))?;
            }
        }
    }
    match open {
        Some(done) => each(done),
        None => Ok(()),
    }
}

/// A chunk that ends here. The last one of the result is complete if some file says so, or none says that it is not.
fn finished(mut chunk: Chunk, boundaries: &Boundaries, goes_on: bool) -> Chunk {
    let (first, last) = (chunk.name.first, chunk.last);
    let said = boundaries.said(first, last);
    let is_open = boundaries.open.get(&first).is_some_and(|&open| open >= last);
    chunk.is_complete = goes_on || said.is_some() || !is_open;
    // Whoever has another one after it, or was told by a name, knows that it was committed.
    let says = |said: &Said| said.is_committed || (goes_on && !said.is_named_open);
    let is_committed = said.map_or(goes_on, says);
    if chunk.is_complete && is_committed {
        chunk.name = ChunkName::committed(first, last);
    }
    chunk
}

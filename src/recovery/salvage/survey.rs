//! One file walked as far as anything in it looks like an entry: its runs of entries that follow each other.
//!
//! Nothing is digested here and nothing believed: a place is a candidate if what stands there parses, and its public domain
//! and nonce name one seqno. Where the next entry does not stand where this one says it ends, the bytes inside are looked
//! through too: its size may be what is damaged. Every place is looked at once and the walk only goes forward, so it takes time in
//! proportion to the file, whatever the file says.

use std::ops::Range;

use crate::format::Seqno;
use crate::format::cursor::Cursor;
use crate::format::domain::{EntryType, PublicHeader};
use crate::format::entry::{Entry, FLAG_CHUNK_AFTER, FLAG_CHUNK_BEFORE, GCM_HEADER_SIZE, HEADER_SIZE, VERSION};
use crate::format::layout::{FIRST_ENTRY, Layout};

/// Fewest bytes of an entry.
const MIN_ENTRY: u64 = (HEADER_SIZE + GCM_HEADER_SIZE) as u64;
/// Between two remembered places in a run: finding an entry walks no further. 16 bytes each, so 256 KiB for a gigabyte.
const ANCHOR_BYTES: u64 = 64 << 10;
/// And no more entries: of the smallest there are a thousand in so many bytes, and each is found from the last such place.
const ANCHOR_ENTRIES: u64 = 64;
/// Runs of one file: one with more is made to be searched for ever. A thousand bad sectors make a thousand runs.
pub const MAX_RUNS: usize = 1 << 18;

/// Entries that follow each other in a file, without a gap in seqnos or bytes.
#[derive(Clone, Debug)]
pub struct Run {
    /// Which file.
    pub source: usize,
    /// First seqno.
    pub first: Seqno,
    /// Last seqno.
    pub last: Seqno,
    /// Offset of the first entry.
    pub offset: u64,
    /// Offset after the last one.
    pub end: u64,
    /// Seqnos and offsets on the way.
    pub anchors: Vec<(Seqno, u64)>,
}

/// What one file holds.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// Its runs, in file order.
    pub runs: Vec<Run>,
    /// Whether it has more of them than are looked at.
    pub is_cut_short: bool,
    /// Number of entries by its positions table, where header word and table are usable.
    pub table_len: Option<u64>,
    /// Whether it begins with a snapshot instead of entries.
    pub is_snapshot: bool,
}

/// An entry that stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its seqno.
    pub seqno: Seqno,
    /// Offset after it.
    pub end: u64,
}

/// What stands at `at`, if it looks like an entry.
pub fn look(bytes: &[u8], at: u64) -> Option<Standing> {
    let from = bytes.get(usize::try_from(at).ok()?..)?;
    let [VERSION, flags, ..] = from else { return None };
    if flags & !(FLAG_CHUNK_AFTER | FLAG_CHUNK_BEFORE) != 0 {
        return None;
    }
    let entry = Entry::parse(from).ok()?;
    let public = PublicHeader::read(&mut Cursor::new(entry.public)).ok()?;
    let iv = entry.iv();
    let fits = public.seqno == iv.seqno && !iv.snapshot && iv.view > 0 && public.entry_type != EntryType::Snapshot;
    (fits && (1..u64::MAX >> 1).contains(&iv.seqno)).then(|| Standing {
        seqno: iv.seqno,
        end: at.saturating_add(entry.raw.len() as u64),
    })
}

/// Walks a file, whose `holes` were never written, as its file system says.
pub fn survey(source: usize, bytes: &[u8], holes: impl Iterator<Item = Range<u64>>) -> Survey {
    let size = bytes.len() as u64;
    let layout = Layout::read(bytes).ok();
    let mut found = Survey {
        is_snapshot: crate::format::snapshot::Snapshot::parse(bytes).is_ok(),
        table_len: layout.and_then(|layout| layout.table_len),
        ..Survey::default()
    };
    if found.is_snapshot {
        return found;
    }
    let has_table = |layout: &Layout| layout.position(bytes, 0) == Some(FIRST_ENTRY);
    let entries_end = layout.filter(has_table).map(|layout| layout.entries_end);
    let mut holes = holes.peekable();
    let mut at = FIRST_ENTRY;
    let mut here = look(bytes, at);
    if here.is_none() {
        at = 0;
    }
    // The run that the entry at `at` would continue.
    let mut open: Option<Run> = None;
    while at < size {
        let Some(standing) = here.or_else(|| look(bytes, at)) else {
            found.runs.extend(open.take());
            if found.runs.len() >= MAX_RUNS {
                found.is_cut_short = true;
                break;
            }
            at += 1;
            while holes.next_if(|hole| hole.end <= at).is_some() {}
            if let Some(hole) = holes.peek().filter(|hole| hole.contains(&at)) {
                at = hole.end;
            }
            let rest = bytes.get(at as usize..).unwrap_or(&[]);
            // A hole is not read through: reading makes pages of it.
            let until = holes.peek().map_or(size, |hole| hole.start.max(at));
            let rest = rest.get(..(until.saturating_sub(at)) as usize).unwrap_or(rest);
            at += memchr::memchr(VERSION, rest).unwrap_or(rest.len()) as u64;
            if rest.is_empty() && at < size {
                continue;
            }
            here = None;
            continue;
        };
        match &mut open {
            Some(run) if run.end == at && run.last + 1 == standing.seqno => {
                run.last = standing.seqno;
                run.end = standing.end;
                let (seqno, offset) = run.anchors.last().copied().unwrap_or((run.first, run.offset));
                if offset + ANCHOR_BYTES <= at || seqno + ANCHOR_ENTRIES <= standing.seqno {
                    run.anchors.push((standing.seqno, at));
                }
            }
            _ => {
                found.runs.extend(open.take());
                if found.runs.len() >= MAX_RUNS {
                    found.is_cut_short = true;
                    break;
                }
                open = Some(Run {
                    source,
                    first: standing.seqno,
                    last: standing.seqno,
                    offset: at,
                    end: standing.end,
                    anchors: Vec::new(),
                });
            }
        }
        let next = look(bytes, standing.end);
        let follows = next.is_some_and(|next| next.seqno == standing.seqno + 1);
        if follows {
            (at, here) = (standing.end, next);
        } else if standing.end == size || (Some(standing.end) == entries_end && next.is_none()) {
            // The last one; what follows is the positions table.
            break;
        } else {
            at = at.saturating_add(MIN_ENTRY);
            here = None;
            found.runs.extend(open.take());
        }
    }
    found.runs.extend(open);
    found
}

impl Run {
    /// Where the entry of a seqno in this run stands in its file.
    pub fn offset_of(&self, bytes: &[u8], seqno: Seqno) -> Option<u64> {
        if seqno == self.last + 1 {
            return Some(self.end);
        }
        if !(self.first..=self.last).contains(&seqno) {
            return None;
        }
        let before = self.anchors.partition_point(|&(at, _)| at <= seqno);
        let (mut at, mut offset) = match before.checked_sub(1).and_then(|index| self.anchors.get(index)) {
            Some(&anchor) => anchor,
            None => (self.first, self.offset),
        };
        while at < seqno {
            let standing = look(bytes, offset)?;
            offset = standing.end;
            at += 1;
        }
        Some(offset)
    }
}

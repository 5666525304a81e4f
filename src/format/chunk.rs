//! A chunk file: u64 LE offset of the positions table (0 while the chunk is open), entries, positions table.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | u64 LE | T, offset of the positions table; 0: not complete |
//! | 8 | … | entries, back to back |
//! | T | 4·n | positions table: u32 LE file offset of each entry |
//!
//! [`Walker`] reads a chunk as far as anything in it can be read. Headers and table say the same thing twice; where
//! they disagree it finds out which one is damaged, says so, and goes on. Format specification, sections 1.2 and 1.5.

use std::ops::Range;
use std::sync::Arc;

use super::entry::{EntryHeader, HEADER_SIZE, VERSION};
use super::layout::MIN_ENTRY;
use super::located::{read_at, read_extent};
use super::map::MappedFile;
use super::search::Search;
use super::{Malformed, Seqno};

pub use super::layout::{FIRST_ENTRY, Layout};
pub use super::located::Located;

/// Something in a chunk's structure that isn't as it should be. Offsets are from the start of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The positions table points elsewhere than the entry headers, and the headers are right.
    Position {
        /// Seqno of the entry whose position is wrong.
        seqno: Seqno,
        /// Where the table's word is.
        offset: u64,
        /// What the table says.
        found: u64,
        /// Where the entry is.
        expected: u64,
    },
    /// The size in an entry's header is not the entry's extent, which the positions table knows.
    Size {
        /// The entry.
        seqno: Seqno,
        /// Where it is.
        offset: u64,
        /// Extent by its header.
        found: u64,
        /// Extent by the table.
        expected: u64,
    },
    /// Entries that can't be read, between others that can.
    Lost {
        /// First seqno that can't be read.
        from: Seqno,
        /// First seqno that can be read again.
        to: Seqno,
        /// Where reading failed.
        offset: u64,
        /// Why.
        why: Malformed,
    },
    /// Nothing after this place can be read.
    End {
        /// Seqno that was expected there.
        seqno: Seqno,
        /// Where reading failed.
        offset: u64,
        /// Why.
        why: Malformed,
    },
    /// The writes of an entry can't be parsed; its digest can be computed all the same.
    Writes {
        /// The entry.
        seqno: Seqno,
        /// Where it goes wrong.
        offset: u64,
        /// Why.
        why: Malformed,
    },
}

/// Walks a chunk's entries in order, resolving disagreements between headers and positions table.
pub struct Walker<'a> {
    bytes: &'a [u8],
    layout: Layout,
    first_seqno: Seqno,
    offset: u64,
    seqno: Seqno,
    /// Offset of the entry handed out last, if the next one should follow it.
    previous: Option<u64>,
    /// Where reading goes on after entries that were lost.
    resume: Option<(u64, Seqno)>,
    /// What is known of where entries begin.
    search: Option<Arc<Search>>,
    /// Cleared once no entry could be found through the table, so that hostile tables are not searched again.
    table_is_useful: bool,
    done: bool,
}

/// The seqno of the entry at `at`, if what stands there looks like one.
#[inline]
fn seqno_if_entry(bytes: &[u8], at: usize) -> Option<Seqno> {
    let [VERSION, 0..=3, header @ ..] = bytes.get(at..)?.first_chunk::<44>()? else {
        return None;
    };
    Some(u64::from_le_bytes(*header.get(22..)?.first_chunk::<8>()?))
}

/// The seqno of the entry at `at`, if all of it can be read.
#[inline(never)]
fn readable_at(bytes: &[u8], at: u64, end: u64) -> Option<Seqno> {
    let seqno = seqno_if_entry(bytes, usize::try_from(at).ok()?)?;
    read_at(bytes, at, end, seqno).is_ok().then_some(seqno)
}

/// What [`Walker::step`] found.
pub enum Step<'a> {
    /// A whole entry.
    Entry(Located<'a>),
    /// A seqno that can't be read; the fault was reported when it was met.
    Lost(Seqno),
    /// Nothing more in this chunk.
    End,
}

/// An entry that is longer is not believed before something follows it: digesting this much is nothing.
const FAR_BYTES: u64 = 4 << 10;

impl<'a> Walker<'a> {
    /// Walks from the first entry, whose seqno should be `first_seqno`.
    pub fn new(bytes: &'a [u8], layout: Layout, first_seqno: Seqno) -> Self {
        Self::starting_at(bytes, layout, first_seqno, FIRST_ENTRY, first_seqno)
    }

    /// Walks from the entry of `seqno`, which stands at `offset`.
    pub fn starting_at(bytes: &'a [u8], layout: Layout, first_seqno: Seqno, offset: u64, seqno: Seqno) -> Self {
        Walker {
            bytes,
            layout,
            first_seqno,
            offset,
            seqno,
            previous: None,
            resume: None,
            search: None,
            table_is_useful: true,
            done: false,
        }
    }

    /// A walk from the first entry of a mapped file, which shares what is known of it with others.
    pub fn over(map: &'a MappedFile, layout: Layout, first: Seqno) -> Self {
        Walker::new(map.bytes(), layout, first).sharing(map.search())
    }

    /// The same walk, which shares what is known of the file with others.
    pub fn sharing(self, search: &Arc<Search>) -> Self {
        Walker {
            search: Some(Arc::clone(search)),
            ..self
        }
    }

    /// Offset of the next entry.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Seqno of the next entry.
    pub fn seqno(&self) -> Seqno {
        self.seqno
    }

    /// The next entry. Faults go to `faults` in the order in which they are met.
    #[inline(always)] // as `Entry::parse`
    pub fn step(&mut self, faults: &mut Vec<Fault>) -> Step<'a> {
        if self.done {
            return Step::End;
        }
        if let Some((offset, seqno)) = self.resume {
            return self.skip_lost(offset, seqno);
        }
        let index = self.seqno.wrapping_sub(self.first_seqno);
        let hint = self.layout.position(self.bytes, index.wrapping_add(1));
        let end_of_entries = match self.layout.table_len {
            Some(len) => index >= len,
            None => self.offset >= self.layout.entries_end,
        };
        if end_of_entries {
            self.done = true;
            return Step::End;
        }
        match read_at(self.bytes, self.offset, self.layout.entries_end, self.seqno) {
            Ok(located) => {
                let end = self.offset + located.entry.raw.len() as u64;
                if let Some(at) = self.reaches_over(end) {
                    return self.cut_down(end, at, faults);
                }
                if hint.is_none_or(|hint| hint == end) {
                    self.advance_to(end);
                    Step::Entry(located)
                } else {
                    self.resolve(located, end, hint.unwrap_or(end), faults)
                }
            }
            Err(why) => self.recover(why, hint, faults),
        }
    }

    #[inline]
    fn advance_to(&mut self, offset: u64) {
        self.previous = Some(self.offset);
        self.offset = offset;
        self.seqno += 1;
    }

    /// An entry that can be read, but ends elsewhere than the table says.
    #[cold]
    fn resolve(&mut self, located: Located<'a>, end: u64, hint: u64, faults: &mut Vec<Fault>) -> Step<'a> {
        let seqno = self.seqno;
        let offset = self.offset;
        if self.follows(end) || !self.follows(hint) {
            faults.push(Fault::Position {
                seqno: seqno + 1,
                offset: self.layout.entries_end + (seqno + 1 - self.first_seqno) * 4,
                found: hint,
                expected: end,
            });
            self.advance_to(end);
            return Step::Entry(located);
        }
        faults.push(Fault::Size {
            seqno,
            offset,
            found: end - offset,
            expected: hint.saturating_sub(offset),
        });
        self.advance_to(hint);
        match read_extent(self.bytes, offset, hint, seqno) {
            Ok(located) => Step::Entry(located),
            Err(_) => Step::Lost(seqno),
        }
    }

    /// An entry that reaches over the next one, which stands at `next`.
    #[cold]
    fn cut_down(&mut self, end: u64, next: u64, faults: &mut Vec<Fault>) -> Step<'a> {
        let (seqno, offset) = (self.seqno, self.offset);
        faults.push(Fault::Size {
            seqno,
            offset,
            found: end - offset,
            expected: next - offset,
        });
        self.advance_to(next);
        match read_extent(self.bytes, offset, next, seqno) {
            Ok(located) => Step::Entry(located),
            Err(_) => Step::Lost(seqno),
        }
    }

    /// Whether the entry after the present one (or the end of the entries) stands at `offset`.
    #[inline(never)]
    fn follows(&self, offset: u64) -> bool {
        let index = self.seqno + 1 - self.first_seqno;
        if self.layout.table_len == Some(index) {
            return offset == self.layout.entries_end;
        }
        read_at(self.bytes, offset, self.layout.entries_end, self.seqno + 1).is_ok()
    }

    /// An entry that can't be read: finds the next one that can.
    #[cold]
    fn recover(&mut self, why: Malformed, hint: Option<u64>, faults: &mut Vec<Fault>) -> Step<'a> {
        let offset = self.offset;
        let seqno = self.seqno;
        // The table may know the extent of an entry whose header or size is damaged.
        if let Some(end) = hint
            && end > offset
            && self.follows(end)
            && let Ok(located) = read_extent(self.bytes, offset, end, seqno)
        {
            let header = located.entry.raw.first_chunk().map(EntryHeader::from_bytes);
            let claimed = HEADER_SIZE as u64 + header.map_or(0, |header| header.size);
            if claimed != end - offset {
                faults.push(Fault::Size {
                    seqno,
                    offset,
                    found: claimed,
                    expected: end - offset,
                });
            } else {
                faults.push(Fault::Lost {
                    from: seqno,
                    to: seqno + 1,
                    offset: offset.saturating_add(why.offset as u64),
                    why,
                });
            }
            self.advance_to(end);
            return Step::Entry(located);
        }
        let next = self.next_readable();
        let limit = next.map_or(self.layout.entries_end, |(offset, _)| offset);
        if let Some((previous, at)) = self.mis_sized(limit) {
            faults.push(Fault::Size {
                seqno: seqno - 1,
                offset: previous,
                found: offset - previous,
                expected: at - previous,
            });
            self.offset = at;
            return self.step(faults);
        }
        match next {
            Some((next_offset, next_seqno)) => {
                faults.push(Fault::Lost {
                    from: seqno,
                    to: next_seqno,
                    offset: offset.saturating_add(why.offset as u64),
                    why,
                });
                self.resume = Some((next_offset, next_seqno));
                self.skip_lost(next_offset, next_seqno)
            }
            None => {
                faults.push(Fault::End {
                    seqno,
                    offset: offset.saturating_add(why.offset as u64),
                    why,
                });
                self.done = true;
                Step::End
            }
        }
    }

    /// Gives up one seqno of a lost range; at its end the walk goes on at `offset`.
    #[cold]
    fn skip_lost(&mut self, offset: u64, until: Seqno) -> Step<'a> {
        let lost = self.seqno;
        self.seqno += 1;
        if self.seqno >= until {
            self.offset = offset;
            self.resume = None;
        }
        Step::Lost(lost)
    }

    /// The entry of `seqno`, if it can be read anywhere in `range`.
    fn find(&mut self, seqno: Seqno, range: Range<u64>) -> Option<u64> {
        let (bytes, end) = (self.bytes, self.layout.entries_end);
        let read = |at| readable_at(bytes, at, end);
        let found = self.search().entry(bytes, range, read, |_, found| found == seqno);
        found.map(|(at, _)| at)
    }

    /// The entry that should stand here, if it stands elsewhere before `limit`: then the size of the one before is
    /// wrong. Answers where that is, and where this one stands. Where there is a table, that has told already.
    fn mis_sized(&mut self, limit: u64) -> Option<(u64, u64)> {
        let previous = self.previous.take().filter(|_| self.layout.table_len.is_none())?;
        let at = self.find(self.seqno, previous.checked_add(MIN_ENTRY)?..limit)?;
        Some((previous, at))
    }

    /// Where the next entry really stands, if the one just read claims to reach over it. Without a table nothing else says
    /// so, and a size that reaches far must not make anybody digest or decrypt what it reaches over.
    #[inline]
    fn reaches_over(&mut self, end: u64) -> Option<u64> {
        let far = end - self.offset > FAR_BYTES && self.layout.table_len.is_none();
        match far {
            false => None,
            true => self.next_in(end),
        }
    }

    /// Where the next entry stands before `end`, if it does not begin there.
    #[cold]
    fn next_in(&mut self, end: u64) -> Option<u64> {
        if end == self.layout.entries_end || self.follows(end) {
            return None;
        }
        self.find(self.seqno + 1, self.offset + MIN_ENTRY..end)
    }

    /// The nearest entry after the present one that can be read: by the table, else by looking at every byte.
    fn next_readable(&mut self) -> Option<(u64, Seqno)> {
        let (bytes, layout, end) = (self.bytes, self.layout, self.layout.entries_end);
        let (here, seqno, first_seqno) = (self.offset, self.seqno, self.first_seqno);
        if let Some(len) = layout.table_len.filter(|_| self.table_is_useful) {
            let read = |index: u64| {
                let (offset, seqno) = (layout.position(bytes, index)?, first_seqno.checked_add(index)?);
                read_at(bytes, offset, end, seqno).is_ok().then_some((offset, seqno))
            };
            let range = seqno + 1 - first_seqno..len;
            let by_table = self.search().index(range, read, |&(offset, _)| offset > here);
            if by_table.is_some() {
                return by_table;
            }
            self.table_is_useful = false;
        }
        let fits = |at: u64, found: Seqno| {
            let lost = found.checked_sub(seqno).filter(|&lost| lost > 0);
            let taken = lost.and_then(|lost| lost.checked_mul(MIN_ENTRY));
            taken.is_some_and(|taken| taken <= at - here)
        };
        let read = |at| readable_at(bytes, at, end);
        self.search().entry(bytes, here.saturating_add(1)..end, read, fits)
    }

    fn search(&mut self) -> Arc<Search> {
        let size = self.bytes.len() as u64;
        let new = || Arc::new(Search::new(size, std::iter::empty()));
        Arc::clone(self.search.get_or_insert_with(new))
    }
}

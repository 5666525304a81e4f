//! Cutting a ledger into pieces of work: by bytes, not by files.
//!
//! A [`Window`] is a run of consecutive segments that is mapped, worked on by all threads, and dropped: memory follows
//! the window, not the ledger. A segment is about [`SEGMENT_BYTES`] of one chunk. Complete chunks are cut by their
//! positions table; the walk through a segment must end where the next one starts, so a wrong table is noticed.

use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::Seqno;
use crate::format::ahead::ReadAhead;
use crate::format::chunk::{FIRST_ENTRY, Fault, Layout, Located, Step, Walker};
use crate::format::directory::{ChunkFile, LedgerFiles, PlannedChunk};
use crate::format::layout::Headers;
use crate::format::map::MappedFile;

/// Work unit: at 1.4 GB/s about 0.4 ms, a hundred times what handing it out costs; two hundred of them balance two
/// threads to half a percent.
pub const SEGMENT_BYTES: u64 = 512 << 10;
/// What is mapped and worked on at once: 128 segments.
pub const WINDOW_BYTES: u64 = 64 << 20;
/// Where a domain or value is longer than this, and part of it is a hole in its file, it is not copied or decrypted.
pub const SPARSE_BYTES: usize = 64 << 10;
/// Chunks in one window at most: each takes a mapping, of which a process has a limited number.
const WINDOW_CHUNKS: usize = 512;

/// A mapped chunk.
pub struct OpenChunk {
    /// The file.
    pub file: ChunkFile,
    /// Its bytes.
    pub map: MappedFile,
    /// Where its parts are; mended where the header word is damaged and the name tells the number of entries.
    pub layout: Layout,
    /// What is wrong with the chunk's header word or the size of its table, in words.
    pub layout_fault: Option<(u64, String)>,
}

impl OpenChunk {
    /// A walker over all entries.
    pub fn walker(&self) -> Walker<'_> {
        Walker::over(&self.map, self.layout, self.file.first)
    }

    /// Maps a chunk and reads its layout.
    ///
    /// # Errors
    /// If it can't be opened or mapped.
    pub fn open(file: &ChunkFile) -> Result<OpenChunk> {
        let map = MappedFile::open(&file.path).map_err(Error::io("open", &file.path))?;
        let (layout, layout_fault) = read_layout(map.bytes(), file);
        map.will_need();
        Ok(OpenChunk {
            file: file.clone(),
            map,
            layout,
            layout_fault,
        })
    }
}

/// Reads the layout and holds it against the number of entries that the name promises. Where they disagree, the entries'
/// own headers decide where the entries end.
fn read_layout(bytes: &[u8], file: &ChunkFile) -> (Layout, Option<(u64, String)>) {
    let promised = file
        .name
        .last
        .map(|last| last.saturating_sub(file.name.first).saturating_add(1));
    let (read, fault) = match Layout::read(bytes) {
        Err(why) => (None, (why.offset as u64, why.what)),
        Ok(layout) => match complaint(bytes, file, layout, promised) {
            None => return (layout, None),
            Some(what) => (Some(layout), (0, what)),
        },
    };
    let by_name = promised.and_then(|count| Layout::by_count(bytes, count));
    let agrees = |layout: &Layout| Layout::count_entries(bytes, layout.entries_end) == layout.table_len;
    let mended = by_name
        .filter(agrees)
        .or_else(|| Layout::by_headers(bytes))
        .or(by_name)
        .or(read)
        .unwrap_or_else(|| Layout::unusable(bytes));
    (mended, Some(fault))
}

/// What is wrong with a layout that could be read.
fn complaint(bytes: &[u8], file: &ChunkFile, layout: Layout, promised: Option<u64>) -> Option<String> {
    let Some(found) = layout.table_len else {
        let what = "the chunk is named committed, but its header word says it is not complete";
        return file.name.kind.is_committed().then(|| what.to_owned());
    };
    if let Some(promised) = promised.filter(|&promised| promised != found) {
        return Some(format!(
            "positions table has {found} entries, the file's name promises {promised}"
        ));
    }
    let first = layout.position(bytes, 0).filter(|_| found > 0);
    if first != Some(FIRST_ENTRY) {
        let first = first.map_or("nowhere".to_owned(), |first| format!("at {first}"));
        return Some(format!(
            "positions table says the first entry stands {first}, expected at {FIRST_ENTRY}"
        ));
    }
    // Nothing else says how many entries there are.
    let by_headers = || Layout::count_entries(bytes, layout.entries_end);
    match promised.is_none().then(by_headers) {
        Some(Some(count)) if count != found => Some(format!(
            "positions table has {found} entries, the entries' headers make {count}"
        )),
        _ => None,
    }
}

/// A run of entries in one chunk.
#[derive(Clone)]
pub struct Segment {
    /// The chunk.
    pub chunk: Arc<OpenChunk>,
    /// Index of the chunk in [`LedgerFiles::chunks`].
    pub chunk_index: usize,
    /// First seqno.
    pub from: Seqno,
    /// Offset of its entry.
    pub offset: u64,
    /// The seqno after the last one; `None` for a chunk's last segment, which goes on as far as anything can be read.
    pub until: Option<Seqno>,
    /// Size, for progress.
    pub size_bytes: u64,
}

impl Segment {
    /// A walker over the segment's entries; the caller stops it at `until`.
    pub fn walker(&self) -> Walker<'_> {
        Walker::starting_at(
            self.chunk.map.bytes(),
            self.chunk.layout,
            self.chunk.file.first,
            self.offset,
            self.from,
        )
        .sharing(self.chunk.map.search())
    }

    /// A walker over the entries from `seqno` on, where the positions table says that it is; none without a table.
    pub fn walker_at(&self, seqno: Seqno) -> Option<Walker<'_>> {
        let bytes = self.chunk.map.bytes();
        let index = seqno.checked_sub(self.chunk.file.first)?;
        let offset = self.chunk.layout.position(bytes, index)?;
        let walker = Walker::starting_at(bytes, self.chunk.layout, self.chunk.file.first, offset, seqno);
        Some(walker.sharing(self.chunk.map.search()))
    }

    /// Whether part of what `bytes` of this chunk say was never written. Short stretches are not asked for: they cost
    /// hardly more to read.
    pub fn is_sparse_in(&self, bytes: &[u8]) -> bool {
        bytes.len() > SPARSE_BYTES && self.chunk.map.is_sparse_in(bytes)
    }

    /// Hands every entry that can be read to `each`, in order.
    pub fn for_each<'a>(&'a self, mut each: impl FnMut(Located<'a>)) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut walker = self.walker();
        while self.until.is_none_or(|until| walker.seqno() < until) {
            match walker.step(&mut faults) {
                Step::Entry(located) => each(located),
                Step::Lost(_) => {}
                Step::End => break,
            }
        }
        faults
    }
}

/// Consecutive segments, mapped together.
pub type Window = Vec<Segment>;

/// Cuts a ledger into windows, mapping chunks as it goes.
pub struct Windows<'a> {
    files: &'a LedgerFiles,
    /// Number of chunks that have been taken, from the start or, newest first, from the end.
    taken: usize,
    newest_first: bool,
    /// Segments already cut from a chunk that did not fit the last window.
    pending: std::collections::VecDeque<Segment>,
    from: Seqno,
    until: Seqno,
    /// Fetches the files before they are mapped.
    ahead: Option<ReadAhead>,
    /// Size of all chunks that were opened.
    opened_bytes: u64,
    window_bytes: u64,
}

impl<'a> Windows<'a> {
    /// All segments that hold seqnos from `from` up to and including `until`.
    pub fn new(files: &'a LedgerFiles, from: Seqno, until: Seqno) -> Self {
        Windows {
            files,
            taken: 0,
            newest_first: false,
            pending: Default::default(),
            from,
            until,
            ahead: None,
            opened_bytes: 0,
            window_bytes: WINDOW_BYTES,
        }
    }

    /// The same segments from the last one back to the first; within each, entries are in order of time as ever.
    pub fn newest_first(files: &'a LedgerFiles, from: Seqno, until: Seqno) -> Self {
        Windows {
            newest_first: true,
            ..Self::new(files, from, until)
        }
    }

    /// Windows of another size, so that a small ledger has many.
    #[cfg(test)]
    pub fn of_bytes(mut self, window_bytes: u64) -> Self {
        self.window_bytes = window_bytes;
        self
    }

    /// For who reads all of it: the disk is kept busy ahead of the reading.
    pub fn reading_ahead(mut self) -> Self {
        let chunks = (0..self.files.chunks.len()).filter_map(|taken| self.chunk_after(taken));
        let used = chunks.filter(|(index, planned)| self.uses(*index, planned));
        let files: Vec<(PathBuf, u64)> = used
            .map(|(_, planned)| (planned.file.path.clone(), planned.file.size))
            .collect();
        if files.iter().map(|(_, size)| size).sum::<u64>() > SEGMENT_BYTES {
            self.ahead = Some(ReadAhead::start(files));
        }
        self
    }

    /// The chunk that follows `taken` others, and its index.
    fn chunk_after(&self, taken: usize) -> Option<(usize, &'a PlannedChunk)> {
        let index = match self.newest_first {
            false => taken,
            true => self.files.chunks.len().checked_sub(taken + 1)?,
        };
        Some((index, self.files.chunks.get(index)?))
    }

    /// Whether anything is read from a chunk.
    fn uses(&self, index: usize, planned: &PlannedChunk) -> bool {
        self.last_used(index, planned) >= self.from && planned.use_from <= self.until
    }

    /// The next window, or `None` at the end.
    ///
    /// # Errors
    /// If a chunk can't be opened.
    pub fn next_window(&mut self) -> Result<Option<Window>> {
        let mut window = Window::new();
        let mut bytes = 0;
        let mut chunks = 0;
        while bytes < self.window_bytes && chunks < WINDOW_CHUNKS {
            if let Some(segment) = self.pending.pop_front() {
                bytes += segment.size_bytes;
                window.push(segment);
                continue;
            }
            let Some((index, planned)) = self.chunk_after(self.taken) else {
                break;
            };
            self.taken += 1;
            if !self.uses(index, planned) {
                continue;
            }
            chunks += 1;
            let last = self.last_used(index, planned);
            let chunk = Arc::new(OpenChunk::open(&planned.file)?);
            self.opened_bytes = self.opened_bytes.saturating_add(planned.file.size);
            let from = planned.use_from.max(self.from);
            let mut segments = cut(&chunk, index, from, last.min(self.until));
            if self.newest_first {
                segments.reverse();
            }
            self.pending = segments.into();
        }
        if let Some(ahead) = &self.ahead {
            let pending: u64 = self.pending.iter().map(|segment| segment.size_bytes).sum();
            ahead.reads_to(self.opened_bytes.saturating_sub(pending));
        }
        Ok((!window.is_empty()).then_some(window))
    }

    /// Last seqno read from a chunk. The ledger's last chunk is read to whatever end it has.
    fn last_used(&self, index: usize, planned: &PlannedChunk) -> Seqno {
        match self.files.chunks.get(index + 1) {
            Some(next) => next.use_from.saturating_sub(1).min(planned.file.last),
            None => Seqno::MAX,
        }
    }
}

/// Cuts the part `from..=last` of a chunk into segments.
fn cut(chunk: &Arc<OpenChunk>, chunk_index: usize, from: Seqno, last: Seqno) -> Vec<Segment> {
    let bounds = match chunk.layout.table_len {
        Some(len) => bounds_by_table(chunk, len),
        None => bounds_by_headers(chunk),
    };
    let whole_chunk_is_read = last >= chunk.file.last;
    let mut segments: Vec<Segment> = Vec::new();
    for (i, &(seqno, offset)) in bounds.iter().enumerate() {
        let next = bounds.get(i + 1);
        if next.is_some_and(|&(next, _)| next <= from) || seqno > last {
            continue;
        }
        let end = next.map_or(chunk.layout.entries_end, |&(_, offset)| offset);
        let until = match next {
            Some(&(next, _)) => Some(next.min(last.saturating_add(1))),
            None if whole_chunk_is_read => None,
            None => Some(last.saturating_add(1)),
        };
        segments.push(Segment {
            chunk: Arc::clone(chunk),
            chunk_index,
            from: seqno,
            offset,
            until,
            size_bytes: end.saturating_sub(offset),
        });
    }
    if let Some(first) = segments.first_mut()
        && first.from < from
    {
        skip_to(first, from);
    }
    segments
}

/// Moves a segment's start to `from`, walking over the entries before it.
fn skip_to(segment: &mut Segment, from: Seqno) {
    let (seqno, offset) = {
        let mut walker = segment.walker();
        let mut faults = Vec::new();
        while walker.seqno() < from {
            if matches!(walker.step(&mut faults), Step::End) {
                break;
            }
        }
        (walker.seqno(), walker.offset())
    };
    segment.size_bytes = segment.size_bytes.saturating_sub(offset.saturating_sub(segment.offset));
    segment.from = seqno;
    segment.offset = offset;
}

/// (seqno, offset) of each segment's start, by binary search in the positions table.
fn bounds_by_table(chunk: &OpenChunk, len: u64) -> Vec<(Seqno, u64)> {
    let bytes = chunk.map.bytes();
    let end = chunk.layout.entries_end;
    let mut bounds = vec![(chunk.file.first, FIRST_ENTRY)];
    let mut target = FIRST_ENTRY + SEGMENT_BYTES;
    let mut low = 1;
    while target < end && low < len {
        let (mut a, mut b) = (low, len);
        while a < b {
            let middle = a + (b - a) / 2;
            match chunk.layout.position(bytes, middle) {
                Some(position) if position < target => a = middle + 1,
                _ => b = middle,
            }
        }
        match chunk
            .layout
            .position(bytes, a)
            .filter(|&p| a < len && p >= target && p < end)
        {
            Some(position) => {
                bounds.push((chunk.file.first + a, position));
                low = a + 1;
                target = position + SEGMENT_BYTES;
            }
            None => break,
        }
    }
    bounds
}

/// The same for a chunk without a table: by the sizes in the entries' headers alone.
fn bounds_by_headers(chunk: &OpenChunk) -> Vec<(Seqno, u64)> {
    let mut bounds = vec![(chunk.file.first, FIRST_ENTRY)];
    let mut target = FIRST_ENTRY + SEGMENT_BYTES;
    for (offset, seqno) in Headers::of(chunk.map.bytes()).zip(chunk.file.first..=Seqno::MAX) {
        if offset >= target {
            bounds.push((seqno, offset));
            target = offset + SEGMENT_BYTES;
        }
    }
    bounds
}
